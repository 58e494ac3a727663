"""What a raw data file says beside its k-space, whatever its format."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthlib.formats import ismrmrd_xml
from synthlib.records import SYNTHETIC, UNDERSAMPLED, UNKNOWN_MM, Placement, RawVolume, is_synthetic

UNKNOWN = float("nan")
PROTON_HZ_PER_T = 42.577478518e6
WRITTEN_ANEW = ("acquisition", "patient_id", "max", "norm", "record")  # attributes of files
LABELS = "labels_"  # and its name: a label map in HDF5
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")  # safe as part of a file's or a group's name
NUMBERS = (
    "thickness_mm", "step_mm", "field_t", "te_ms", "tr_ms", "ti_ms", "flip_deg", "dwell_us",
    "frequency_hz",
)  # fmt: skip
IN_OTHER_PLACES = ("labels", "noise", "noise_covariance")  # each format has its own for them


@dataclass(frozen=True)
class RawHeader:
    """One scan's facts, labels and annotations, and the record of how it was made.

    Attributes:
        contrast: acquisition label, for example "AXT2".
        patient_id: pseudonym of who was scanned.
        recon_shape: (ny, nx) of the image; ky beyond ny is readout oversampling.
        spacing_mm: (y, x) pixel size of the image.
        thickness_mm: of a slice; step_mm: between the centres of neighbours.
        field_t: of the magnet; te_ms, tr_ms, ti_ms, flip_deg: of the sequence.
            What is not known is nan.
        dwell_us: between two samples of the readout, as k-space holds them.
        frequency_hz: of the protons' resonance.
        vendor: of the scanner, one of words.VENDORS, or as a file of raw data says it; ""
            if unknown.
        placement: of the slices in the patient; None: not known.
        orientation: of the slices, "axial", "coronal" or "sagittal"; anything else
            counts as axial where a format must tell directions.
        acquired: first and one-past-last column of kx that was measured; the
            columns outside are zero. None: all.
        record: what the file was made from.
        attributes: further facts: text, numbers, lists of them.
        labels: integer (slice, ny, nx) label maps by name.
        annotations: boxes, remarks and the like, one mapping each.
        noise: complex64 (line, coil, sample), a scan of the receivers' noise alone, on the
            scale of k-space; None: there is none.
        noise_covariance: complex64 (coil, coil), what its samples were drawn from.

    Raises:
        ValueError: texts, names or shapes that no file could hold.
    """

    contrast: str
    patient_id: str
    recon_shape: tuple[int, int]
    spacing_mm: tuple[float, float] = UNKNOWN_MM
    thickness_mm: float = UNKNOWN
    step_mm: float = UNKNOWN
    field_t: float = UNKNOWN
    te_ms: float = UNKNOWN
    tr_ms: float = UNKNOWN
    ti_ms: float = UNKNOWN
    flip_deg: float = UNKNOWN
    dwell_us: float = UNKNOWN
    frequency_hz: float = UNKNOWN
    vendor: str = ""
    orientation: str = "axial"
    placement: Placement | None = None
    acquired: tuple[int, int] | None = None
    record: Mapping[str, object] = field(default_factory=dict)
    attributes: Mapping[str, object] = field(default_factory=dict)
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    annotations: Sequence[Mapping[str, object]] = ()
    noise: Tensor | None = None
    noise_covariance: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("contrast", "patient_id"):
            value = getattr(self, name)
            if not value or not value.isprintable():
                raise ValueError(f"{name} is {value!r}; expected printable text on one line")
        if min(self.recon_shape) < 1:
            raise ValueError(f"recon_shape is {self.recon_shape}; expected (ny, nx), both >= 1")
        for name, labels in self.labels.items():
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"a label map is called {name!r}; expected letters, digits and _ . + - only, "
                    "for its name becomes part of a file's or a group's name. Rename it."
                )
            if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
                raise ValueError(f"label map {name} holds {labels.dtype}; expected integers")
            if labels.ndim != 3 or tuple(labels.shape[1:]) != tuple(self.recon_shape):
                raise ValueError(
                    f"label map {name} has shape {tuple(labels.shape)}; expected (slice, "
                    f"{self.recon_shape[0]}, {self.recon_shape[1]}), the image's grid"
                )

    @property
    def synthetic(self) -> bool:
        """Whether the k-space was made of magnitude images, as attributes or record say."""
        return is_synthetic(self.attributes) or is_synthetic(self.record)

    def columns(self, n_columns: int) -> tuple[int, int]:
        """First and one-past-last measured column of a k-space of `n_columns`."""
        return self.acquired or (0, n_columns)

    def require_fits(self, shape: Sequence[int]) -> None:
        """Raise ValueError unless the header belongs to a k-space (slice, coil, ky, kx)."""
        if len(shape) != 4 or min(shape) < 1:
            raise ValueError(f"k-space of shape {tuple(shape)}; expected (slice, coil, ky, kx)")
        first, end = self.columns(shape[3])
        if not 0 <= first <= shape[3] // 2 < end <= shape[3]:
            raise ValueError(
                f"columns {first} to {end - 1} of {shape[3]} were acquired, says the header; "
                f"expected a range that holds column {shape[3] // 2}, the centre of k-space"
            )
        for name, labels in self.labels.items():
            if len(labels) != shape[0]:
                raise ValueError(f"label map {name} has {len(labels)} slices, k-space {shape[0]}")
        if self.placement and len(self.placement.middles_mm) != shape[0]:
            raise ValueError(
                f"{len(self.placement.middles_mm)} slices are placed, k-space has {shape[0]}"
            )
        for name in ("noise", "noise_covariance"):
            values = getattr(self, name)
            if values is not None and values.shape[-2] != shape[1]:
                raise ValueError(
                    f"{name} of shape {tuple(values.shape)}; expected {shape[1]} coils, as k-space"
                )

    def to_json(self) -> str:
        """JSON that any reader takes: what is not finite becomes null; of labels only the names."""
        fields = [f.name for f in dataclasses.fields(self) if f.name not in IN_OTHER_PLACES]
        facts = {name: getattr(self, name) for name in fields}
        facts["labels"] = sorted(self.labels)
        facts["placement"] = dataclasses.asdict(self.placement) if self.placement else None
        return json.dumps(plain(facts), sort_keys=True, allow_nan=False, indent=1)


def from_json(text: str | bytes, read_labels: Callable[[str], Tensor]) -> RawHeader:
    """The header that :meth:`RawHeader.to_json` wrote; tuples in free fields come as lists.

    Args:
        text: the JSON.
        read_labels: gives the label map of a name.

    Raises:
        ValueError: not such a text.
    """
    try:
        facts = json.loads(text)
        names = [str(name) for name in facts["labels"]]
        known = {f.name for f in dataclasses.fields(RawHeader)}
        facts = {name: value for name, value in facts.items() if name in known}
        for name in NUMBERS:
            facts[name] = _number(facts.get(name))
        facts["spacing_mm"] = tuple(_number(mm) for mm in facts["spacing_mm"])
        facts["recon_shape"] = tuple(facts["recon_shape"])
        facts["acquired"] = tuple(facts["acquired"]) if facts.get("acquired") else None
        facts["placement"] = _placement(facts.get("placement"))
        facts["labels"] = {name: read_labels(name) for name in names}
        return RawHeader(**facts)
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"not the header of a raw data file that synthlib wrote: {error}"
        ) from error


def _placement(facts: Mapping[str, Any] | None) -> Placement | None:
    if facts is None:
        return None
    middles = tuple((float(x), float(y), float(z)) for x, y, z in facts["middles_mm"])
    row, column = (
        (float(x), float(y), float(z)) for x, y, z in (facts["along_row"], facts["along_column"])
    )
    return Placement(row, column, middles)


def _number(value: float | None) -> float:
    return UNKNOWN if value is None else float(value)


def plain(value: Any) -> Any:
    """Whatever a record holds, as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # arrays, tensors and their numbers
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


# --- headers and volumes -----------------------------------------------------------------


def volume_name(path: str | Path) -> str:
    """Name of a file's first volume: "scan" of scan.h5, scan.mrd.h5, scan.cfl ..."""
    path = Path(path)
    return path.name.removesuffix(path.suffix).removesuffix(".mrd")


def require_volume(name: str, number: int, n_volumes: int) -> None:
    """Raise IndexError unless the file `name` has a volume of that number, counted from 0."""
    if not 0 <= number < n_volumes:
        has = "one volume, number 0" if n_volumes == 1 else f"volumes 0 to {n_volumes - 1}"
        raise IndexError(f"{name} has {has}; {number} was asked for")


def applied(volume: RawVolume, header: RawHeader) -> RawVolume:
    """A volume with the facts of the header that synthlib wrote beside its k-space.

    Raises:
        ValueError: the header is that of another k-space.
    """
    header.require_fits(volume.kspace.shape)
    numbers = {name: getattr(header, name) for name in NUMBERS}
    known = {name: value for name, value in numbers.items() if value == value}
    synthetic = {SYNTHETIC: True} if header.synthetic else {}
    return dataclasses.replace(
        volume,
        contrast=header.contrast,
        patient_id=header.patient_id,
        recon_shape=header.recon_shape,
        spacing_mm=header.spacing_mm,
        acquired=header.columns(volume.kspace.shape[-1]),
        undersampled=volume.undersampled or bool(header.attributes.get(UNDERSAMPLED)),
        attributes={**known, **synthetic, **header.attributes},
        placement=header.placement,
    )


def of_volume(volume: RawVolume) -> RawHeader:
    """The header with which a volume's k-space is written to any format.

    What the file says is kept: numbers and the vendor from its attributes or its ISMRMRD
    header, and where its slices lie; what is in neither stays unknown. Attributes that a
    writer makes anew are left out.
    """
    header_facts = ismrmrd_xml.lenient(volume.header)
    numbers: dict[str, float] = {}
    for name in NUMBERS:
        value = volume.attributes.get(name, getattr(header_facts, name, UNKNOWN))
        numbers[name] = float(value) if isinstance(value, int | float) else UNKNOWN
    if "thickness_mm" not in volume.attributes and header_facts.encodings:
        numbers["thickness_mm"] = header_facts.encodings[0].thickness_mm
    columns = int(volume.kspace.shape[-1])
    extra = {n: v for n, v in volume.attributes.items() if n not in (*NUMBERS, *WRITTEN_ANEW)}
    if volume.upside_down:  # no longer told by the name that the file will have
        extra["upside_down"] = True
    if volume.undersampled:  # of a 3-D scan, no line is zero after the FFT along kz
        extra[UNDERSAMPLED] = True
    header = RawHeader(
        contrast=_one_line(volume.contrast),
        patient_id=_one_line(volume.patient_id),
        recon_shape=volume.recon_shape,
        spacing_mm=volume.spacing_mm,
        vendor=str(extra.pop("vendor", "") or header_facts.vendor),
        orientation=str(extra.get("orientation", "axial")),
        placement=volume.placement,
        acquired=None if volume.acquired == (0, columns) else volume.acquired,
        record=_record(volume),
        attributes=extra,
    )
    changes: dict[str, Any] = dict(numbers)
    return dataclasses.replace(header, **changes)


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip() or "unknown"


def _record(volume: RawVolume) -> dict[str, object]:
    try:
        record = json.loads(str(volume.attributes.get("record", "{}")))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def with_attributes(volume: RawVolume, more: Mapping[str, object]) -> RawVolume:
    """A volume with further attributes."""
    return dataclasses.replace(volume, attributes={**volume.attributes, **more})
