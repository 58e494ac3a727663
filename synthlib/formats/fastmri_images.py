"""Magnitudes of a fastMRI HDF5 file: its own images, or root sums of squares of its k-space."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import torch

from synthlib import arrays
from synthlib.formats import foreign, hdf5, mrd, quiet, words
from synthlib.formats.refusals import OtherKind, Refusal, by, require_magnitude, require_voxels
from synthlib.records import (
    MADE_BY_US,
    UNKNOWN_MM,
    ImageVolume,
    is_synthetic,
    stored_upside_down,
)

quiet.teach((), ("h5py",))

BRAIN = {"AXT1", "AXT1PRE", "AXT1POST", "AXT2", "AXFLAIR"}  # fastMRI's own labels of brain scans
SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAGNITUDES = ("reconstruction_rss", "reconstruction_esc")
DAMAGED = "a damaged or truncated HDF5 file; copy or download it again"
MAX_CHUNK = 2**28  # bytes that HDF5 holds at once
MAX_HEADER = 2**20
MAX_SLICE = 2**25  # complex numbers of one slice's k-space
SHRINK_AT_MOST = 1032  # times that gzip can shrink anything


@dataclass(frozen=True)
class Summary:
    """What an archive needs before the pixels: `patient` is not to be shown."""

    dataset: str
    shape: tuple[int, ...]
    patient: str
    contrast: str


def summary(path: str | Path) -> Summary:
    """Which data set holds the magnitudes, its shape, who was scanned, the contrast.

    The contrast is the file's own where it is one of words.CONTRASTS, else "unknown".

    Raises:
        Refusal: not HDF5, damaged, without magnitudes, or too large.
        OSError: it cannot be opened.
    """
    return _guarded(path, _summary)


def read_volume(path: str | Path) -> ImageVolume:
    """All slices; name and patient are left to the caller.

    Raises:
        Refusal: as :func:`summary`, or no magnitude.
        OSError: it cannot be opened or read.
    """
    volume, attributes = _guarded(path, _volume)
    return dataclasses.replace(volume, upside_down=stored_upside_down(Path(path).stem, attributes))


def _guarded(path: str | Path, work: Any) -> Any:
    with Path(path).open(
        "rb"
    ) as file:  # whether it may be opened at all: HDF5 tells it in its text
        start = file.read(1024)
        size = file.seek(0, 2)
    if not start.startswith(SIGNATURE):
        raise OtherKind(foreign.name(start) or "not an HDF5 file; expected a fastMRI file")
    try:
        with quiet.hush(), hdf5.open_whole(path) as opened:
            return work(opened, size)
    except Refusal:
        raise
    except MemoryError:
        raise
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EAGAIN):
            raise Refusal("the file is locked by another program; close it there") from None
        raise Refusal(DAMAGED) from None
    except Exception:  # HDF5 raises many kinds for damaged files, some with their text
        raise Refusal(DAMAGED) from None


def _summary(file: h5py.File, size: int) -> Summary:
    if is_synthetic(file.attrs) or _is_our_mrd(file):
        raise OtherKind(f"{MADE_BY_US}; keep the folder of results out of the inputs")
    name, shape = _dataset(file, size)
    contrast = _text(file.attrs.get("acquisition", ""))
    return Summary(
        dataset=name,
        shape=shape,
        patient=_text(file.attrs.get("patient_id", "")),
        contrast=contrast if contrast in words.CONTRASTS else "unknown",
    )


def _is_our_mrd(file: h5py.File) -> bool:
    """Does the header that synthlib writes beside MRD say that images were its source?"""
    try:
        place = next(name for name in (mrd.OWN, mrd.OWN_BEFORE) if name in file)
        header = json.loads(file[place][()])
        return is_synthetic(header["attributes"]) or is_synthetic(header["record"])
    except (StopIteration, ValueError, KeyError, TypeError, AttributeError):
        return False


def _dataset(file: h5py.File, size: int) -> tuple[str, tuple[int, ...]]:
    for name in (*MAGNITUDES, "kspace"):
        if name not in file:
            continue
        if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
            raise Refusal("its images lie in another file; expected them in this one")
        stored = file[name]
        if not isinstance(stored, h5py.Dataset):
            raise Refusal("a group where images were expected")
        if stored.external or stored.is_virtual:
            raise Refusal("its images lie in another file; expected them in this one")
        shape = tuple(int(n) for n in stored.shape)
        axes = (3, 4) if name == "kspace" else (3,)
        kinds = "c" if name == "kspace" else "fiu"
        if len(shape) not in axes or stored.dtype.kind not in kinds or stored.dtype.itemsize > 16:
            raise Refusal(f"images of {by(shape)} numbers of another kind than fastMRI's")
        require_voxels(shape[0], *shape[-2:])
        if name == "kspace" and math.prod(shape[1:]) > MAX_SLICE:
            raise Refusal(f"k-space of {by(shape[1:])} numbers for one slice; that is too much")
        if stored.chunks and math.prod(stored.chunks) * stored.dtype.itemsize > MAX_CHUNK:
            raise Refusal("pieces (chunks) that are too large to be read")
        if math.prod(shape) * stored.dtype.itemsize > size * SHRINK_AT_MOST:
            raise Refusal(f"images of {by(shape)} numbers in a file of {size} bytes")
        return name, shape
    what = foreign.hdf5_name(set(file))
    raise Refusal(
        what
        or "HDF5 without reconstruction_rss, reconstruction_esc or kspace; expected a fastMRI file"
    )


def _volume(file: h5py.File, size: int) -> tuple[ImageVolume, dict[str, object]]:
    found = _summary(file, size)
    stored = file[found.dataset]
    header = _header(file)
    rows, columns = found.shape[-2:]
    told = _pair(header, "reconSpace/matrixSize")
    if found.dataset == "kspace" and told is not None:
        rows, columns = min(rows, told[0]), min(columns, told[1])
    values = torch.empty(found.shape[0], rows, columns)
    for at in range(found.shape[0]):
        one = stored[at]
        if found.dataset == "kspace":
            kspace = torch.from_numpy(one.astype(np.complex64)).reshape(-1, *one.shape[-2:])
            arrays.require_finite("k-space", kspace)
            values[at] = arrays.rss(
                arrays.crop_or_pad_image(arrays.ifft2c(kspace), (rows, columns))
            )
        else:
            with np.errstate(all="ignore"):
                values[at] = torch.from_numpy(one.astype(np.float32))
    notes = require_magnitude(values)
    spacing_mm = UNKNOWN_MM
    fov = _pair(header, "reconSpace/fieldOfView_mm", whole=False)
    if fov is not None and told is not None:
        spacing_mm = fov[0] / told[0], fov[1] / told[1]
    depth = _number(header, "encoding/reconSpace/fieldOfView_mm/z")
    n_depth = _number(header, "encoding/reconSpace/matrixSize/z")
    planes = [plane for plane, short in words.PLANES.items() if short]
    starts = [plane for plane in planes if found.contrast.startswith(words.PLANES[plane])]
    anatomy = "head" if found.contrast in BRAIN else "unknown"
    attributes: dict[str, object] = {}
    if "upside_down" in file.attrs:
        attributes["upside_down"] = bool(file.attrs["upside_down"])
    volume = ImageVolume(
        name="fastmri",
        patient_id="unknown",
        contrast=found.contrast,
        magnitude=values,
        spacing_mm=spacing_mm,
        thickness_mm=depth if n_depth == 1 else math.nan,
        orientation=starts[0] if starts else "unknown",
        anatomy="knee" if found.contrast.endswith("_FBK") else anatomy,
        field_t=_number(header, "acquisitionSystemInformation/systemFieldStrength_T"),
        facts=_facts(header, (rows, columns)),
        notes=notes,
    )
    return volume, attributes


def _facts(header: ElementTree.Element | None, shape: tuple[int, int]) -> dict[str, object]:
    told: dict[str, object] = {"format": "fastmri"}
    for name, keyword in (
        ("te_ms", "TE"), ("tr_ms", "TR"), ("ti_ms", "TI"), ("flip_deg", "flipAngle_deg"),
    ):  # fmt: skip
        value = _number(header, f"sequenceParameters/{keyword}")
        if value > 0:
            told[name] = value
    encoded = _pair(header, "encodedSpace/matrixSize")
    last = _number(header, "encoding/encodingLimits/kspace_encoding_step_1/maximum")
    centre = _number(header, "encoding/encodingLimits/kspace_encoding_step_1/center")
    fovs = [
        _pair(header, f"{space}/fieldOfView_mm", whole=False)
        for space in ("encodedSpace", "reconSpace")
    ]
    if encoded is None or not last > 0 or fovs[0] is None or fovs[1] is None:
        return told
    told["phase_encoding"] = "row"  # columns of kx are fastMRI's phase encoding
    acquired = (last + 1) * fovs[1][1] / fovs[0][1]  # within the field of view of the image
    if acquired <= 2 * shape[1]:
        told["acquisition_matrix"] = (shape[0], min(shape[1], round(acquired)))
        told["partial_fourier"] = bool(centre > 0 and abs(2 * centre - last) > 0.1 * last)
    return told


def _header(file: h5py.File) -> ElementTree.Element | None:
    if "ismrmrd_header" not in file or not isinstance(
        file.get("ismrmrd_header", getlink=True), h5py.HardLink
    ):
        return None
    stored = file["ismrmrd_header"]
    if (
        not isinstance(stored, h5py.Dataset)
        or stored.shape != ()
        or stored.dtype.itemsize > MAX_HEADER
    ):
        return None
    text = _text(stored[()])
    if len(text) > MAX_HEADER or "<!" in text:  # no document type: entities could swell
        return None
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        return None
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    return root


def _pair(
    header: ElementTree.Element | None, path: str, *, whole: bool = True
) -> tuple[Any, Any] | None:
    """x and y, which are fastMRI's rows and columns; None where they are not both > 0."""
    x, y = (_number(header, f"encoding/{path}/{axis}") for axis in "xy")
    if not (0 < x < 1e5 and 0 < y < 1e5):
        return None
    return (max(1, int(x)), max(1, int(y))) if whole else (x, y)


def _number(header: ElementTree.Element | None, path: str) -> float:
    """nan where there is none."""
    text = header.findtext(path) if header is not None else None
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return value.strip() if isinstance(value, str) else ""
