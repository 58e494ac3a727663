"""What an MRD file says beside its numbers: the XML, the headers of lines and images.

The first axis of an MRD matrix, x, is the readout, here ky, the rows of the
image; y is phase encoding, here kx. With formats.mrd the only door to the
ismrmrd package.
Source: Inati et al., MRM 77:411 (2017); https://ismrmrd.readthedocs.io.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np

from synthlib.formats import raw_header
from synthlib.formats.raw_header import PROTON_HZ_PER_T, RawHeader
from synthlib.records import SYNTHETIC

with warnings.catch_warnings():  # the package changes the filters when it is imported
    import ismrmrd
    from ismrmrd import hdf5 as layout
    from ismrmrd import xsd
    from xsdata.formats.dataclass.context import XmlContext
    from xsdata.formats.dataclass.serializers import XmlSerializer
    from xsdata.formats.dataclass.serializers.config import SerializerConfig

# In DICOM's axes (to the left, to the back, to the head): where ky, kx and the slices run to.
DIRECTIONS = {
    "axial": ((0, 1, 0), (1, 0, 0), (0, 0, 1)),
    "coronal": ((0, 0, -1), (1, 0, 0), (0, 1, 0)),
    "sagittal": ((0, 0, -1), (0, 1, 0), (-1, 0, 0)),
}
NOISE = np.uint64(1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1))  # flag of a line
MADE_FROM_IMAGES = f"{SYNTHETIC}: made from magnitude images, not measured"
NAMESPACE = "http://www.ismrm.org/ISMRMRD"
_CLASSES = XmlContext()
LABEL_TYPES: dict[int, type[np.integer]] = {
    ismrmrd.DATATYPE_USHORT: np.uint16,
    ismrmrd.DATATYPE_SHORT: np.int16,
    ismrmrd.DATATYPE_UINT: np.uint32,
    ismrmrd.DATATYPE_INT: np.int32,
}


def xml_header(shape: tuple[int, int, int, int], header: RawHeader) -> str:
    """The ISMRMRD XML of one scan.

    Args:
        shape: (slice, coil, ky, kx) of the whole k-space.
        header: its facts. Lengths that are nan become 1 mm, an unknown frequency 0 Hz,
            unknown positions a stack around the magnet's centre, for MRD has no word for
            unknown; the user parameter "assumed" names them. An unknown frequency
            follows from the field, if that is known.
    """
    n_slices, n_coils, rows, columns = shape
    first, end = header.columns(columns)
    (mm_y, mm_x), thickness, _, assumed = lengths(header)
    known = header.field_t == header.field_t
    frequency_hz = header.frequency_hz
    if frequency_hz != frequency_hz:
        frequency_hz = PROTON_HZ_PER_T * header.field_t if known else 0.0
    if not frequency_hz:
        assumed = [*assumed, "H1resonanceFrequency_Hz"]
    if header.placement is None:
        assumed = [*assumed, "position", "patientPosition"]  # HFS, head first and supine

    def space(ny: int, nx: int) -> xsd.encodingSpaceType:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=ny, y=nx, z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=ny * mm_y, y=nx * mm_x, z=thickness),
        )

    def limits(n: int, centre: int) -> xsd.limitType:
        return xsd.limitType(minimum=0, maximum=n - 1, center=centre)

    single = ("kspace_encoding_step_2", "average", "contrast", "phase", "repetition", "set")
    sequence = {"TR": "tr_ms", "TE": "te_ms", "TI": "ti_ms", "flipAngle_deg": "flip_deg"}
    document = xsd.ismrmrdHeader(
        version=2,
        subjectInformation=xsd.subjectInformationType(patientID=header.patient_id),
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType.HFS,
            protocolName=header.contrast,
            seriesDescription=MADE_FROM_IMAGES if header.synthetic else None,
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor=header.vendor or None,
            systemFieldStrength_T=header.field_t if known else None,
            # of the noise lines, which are sampled like the others
            relativeReceiverNoiseBandwidth=None if header.noise is None else 1.0,
            receiverChannels=n_coils,
        ),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=round(frequency_hz)
        ),
        encoding=[
            xsd.encodingType(
                encodedSpace=space(rows, columns),
                reconSpace=space(*header.recon_shape),
                encodingLimits=xsd.encodingLimitsType(
                    kspace_encoding_step_0=limits(rows, rows // 2),
                    kspace_encoding_step_1=limits(end - first, columns // 2 - first),
                    slice=limits(n_slices, n_slices // 2),
                    segment=limits(1, 0),
                    **{name: limits(1, 0) for name in single},
                ),
                trajectory=xsd.trajectoryType.CARTESIAN,
            )
        ],
        sequenceParameters=xsd.sequenceParametersType(
            **{tag: _if_known(getattr(header, name)) for tag, name in sequence.items()}
        ),
        userParameters=_user_parameters(header, assumed),
    )
    # as ismrmrd's ToXML, which learns its own classes anew at every call (12 ms)
    config = SerializerConfig(encoding="utf-8", indent=" ")
    serializer = XmlSerializer(config=config, context=_CLASSES)
    return serializer.render(document, ns_map={"": NAMESPACE})


def lengths(
    header: RawHeader,
) -> tuple[tuple[float, float], float, float, list[str]]:
    """Pixel size (y, x), thickness and step in mm, and the names of those that are assumed."""
    known = {
        "spacing_mm": all(mm == mm for mm in header.spacing_mm),
        "thickness_mm": header.thickness_mm == header.thickness_mm,
        "step_mm": header.step_mm == header.step_mm,
    }
    spacing = header.spacing_mm if known["spacing_mm"] else (1.0, 1.0)
    thickness = header.thickness_mm if known["thickness_mm"] else 1.0
    step = header.step_mm if known["step_mm"] else thickness  # without a gap
    return spacing, thickness, step, [name for name, told in known.items() if not told]


def _place(heads: np.ndarray, header: RawHeader) -> None:
    """Directions and positions of (slice, ...) headers; a stack around the magnet's centre
    where they are not known."""
    shape = len(heads), *(1,) * (heads.ndim - 1), 3
    if header.placement:
        heads["read_dir"] = header.placement.along_column
        heads["phase_dir"] = header.placement.along_row
        heads["slice_dir"] = header.placement.normal
        centres = header.placement.centres_mm(header.recon_shape, lengths(header)[0])
        heads["position"] = np.reshape(centres, shape)
        return
    rows, columns, slices = DIRECTIONS.get(header.orientation, DIRECTIONS["axial"])
    if header.attributes.get("upside_down"):
        rows = -rows[0], -rows[1], -rows[2]
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = rows, columns, slices
    at = (np.arange(len(heads)) - (len(heads) - 1) / 2) * lengths(header)[2]
    positions = at[:, None] * np.array(slices)
    heads["position"] = positions.reshape(shape)


def acquisition_heads(shape: tuple[int, int, int, int], header: RawHeader) -> np.ndarray:
    """Headers of all lines that make the images, sorted by slice and column."""
    n_slices, n_coils, rows, columns = shape
    first, end = header.columns(columns)
    heads = _lines((n_slices, end - first), n_coils, rows, header)
    heads["center_sample"] = rows // 2
    heads["scan_counter"] += 0 if header.noise is None else len(header.noise)
    _place(heads, header)
    heads["idx"]["kspace_encode_step_1"] = np.arange(end - first)
    heads["idx"]["slice"] = np.arange(n_slices)[:, None]
    marks: list[tuple[Any, tuple[str, ...]]] = [
        (np.s_[:, 0], ("FIRST_IN_ENCODE_STEP1", "FIRST_IN_SLICE")),
        (np.s_[:, -1], ("LAST_IN_ENCODE_STEP1", "LAST_IN_SLICE")),
        (np.s_[0, 0], ("FIRST_IN_REPETITION",)),
        (np.s_[-1, -1], ("LAST_IN_REPETITION", "LAST_IN_MEASUREMENT")),
    ]
    for place, names in marks:
        for name in names:
            heads["flags"][place] |= np.uint64(1 << (getattr(ismrmrd, f"ACQ_{name}") - 1))
    return heads.reshape(-1)


def noise_heads(header: RawHeader, first: np.void) -> np.ndarray:
    """Headers of the noise scan's lines, which come before all others.

    Args:
        first: the header of the first line of the images, whose place they take.
    """
    if header.noise is None:
        return np.zeros(0, layout.acquisition_header_dtype)
    n_lines, n_coils, n_samples = header.noise.shape
    heads = _lines((n_lines,), n_coils, n_samples, header)
    heads["flags"] = NOISE
    for name in ("position", "read_dir", "phase_dir", "slice_dir"):
        heads[name] = first[name]
    return heads


def _lines(shape: tuple[int, ...], n_coils: int, n_samples: int, header: RawHeader) -> np.ndarray:
    """What headers of all kinds of lines share, numbered from 0."""
    heads = np.zeros(shape, layout.acquisition_header_dtype)
    heads["version"] = 1
    heads["scan_counter"] = np.arange(heads.size).reshape(shape)
    heads["number_of_samples"] = n_samples
    heads["available_channels"] = heads["active_channels"] = n_coils
    for word in range(16):
        bits = min(max(n_coils - 64 * word, 0), 64)
        heads["channel_mask"][..., word] = 2**bits - 1
    if header.dwell_us == header.dwell_us:
        heads["sample_time_us"] = header.dwell_us
    return heads


def _user_parameters(header: RawHeader, assumed: list[str]) -> xsd.userParametersType:
    """The mark of synthetic data, what is assumed, and the header's attributes by their type."""
    texts: dict[str, str] = {}
    longs: dict[str, int] = {}
    doubles: dict[str, float] = {}
    for name, value in header.attributes.items():
        if isinstance(value, int) and abs(value) < 2**63:
            longs[name] = int(value)
        elif isinstance(value, float) and np.isfinite(value):
            doubles[name] = float(value)
        elif isinstance(value, str) and value.isprintable():
            texts[name] = value
        else:
            texts[name] = json.dumps(raw_header.plain(value))
    if header.synthetic:
        texts["synthetic"] = SYNTHETIC
    if assumed:
        texts["assumed"] = " ".join(assumed)
    return xsd.userParametersType(
        userParameterString=[
            xsd.userParameterStringType(name=n, value=v) for n, v in texts.items()
        ],
        userParameterLong=[xsd.userParameterLongType(name=n, value=v) for n, v in longs.items()],
        userParameterDouble=[
            xsd.userParameterDoubleType(name=n, value=v) for n, v in doubles.items()
        ],
    )


def label_type(name: str, low: int, high: int) -> tuple[int, type[np.integer]]:
    """MRD's code and NumPy's type of the first integers that hold labels from low to high."""
    for code, kind in LABEL_TYPES.items():
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return code, kind
    raise ValueError(
        f"label map {name} holds {low} to {high}; MRD images hold integers of 32 bits. "
        "Number the labels anew."
    )


def image_heads(n_slices: int, header: RawHeader, data_type: int, attributes: bytes) -> np.ndarray:
    """Headers of one image of the reconstruction's size for each slice.

    Args:
        data_type: MRD's code of a pixel's type.
        attributes: the text (Meta) that goes with each.
    """
    (ny, nx), (mm_y, mm_x) = header.recon_shape, lengths(header)[0]
    thickness = lengths(header)[1]
    heads = np.zeros(n_slices, layout.image_header_dtype)
    heads["version"], heads["data_type"], heads["channels"] = 1, data_type, 1
    heads["matrix_size"] = ny, nx, 1
    heads["field_of_view"] = ny * mm_y, nx * mm_x, thickness
    heads["image_type"] = ismrmrd.IMTYPE_MAGNITUDE
    _place(heads, header)
    heads["slice"] = heads["image_index"] = np.arange(n_slices)
    heads["attribute_string_len"] = len(attributes)
    return heads


def label_attributes(name: str) -> bytes:
    """The attributes (Meta) of a label map's images."""
    text = ismrmrd.Meta({"labels": name}).serialize()
    return text if isinstance(text, bytes) else text.encode()


def _if_known(value: float) -> list[float]:
    return [value] if value == value else []
