"""What an ISMRMRD header says of a scan: that of an MRD file, or of a fastMRI file.

Read by names, without the schema: headers of other programs have elements of later
or earlier versions, and lack some that the schema asks for.
Source: Inati et al., MRM 77:411 (2017), schema/ismrmrd.xsd.
"""

from __future__ import annotations

import codecs
import math
import re
from dataclasses import dataclass, field
from xml.etree import ElementTree

from synthlib.formats.acquisitions import Encoding

MAX_MATRIX = 2**16 - 1
DECLARED = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*["']([\w.-]+)""", re.ASCII)
MAX_ENLARGED = 4  # times that an image may be larger than what was encoded


@dataclass(frozen=True)
class Facts:
    """A header's facts; what it does not say is nan or "".

    Attributes:
        encodings: of the encoded spaces, by number.
        trajectories: of the same, in lower case ("cartesian", "epi", "radial" ...).
        noise_bandwidth: relative bandwidth of the receivers in the noise scan.
        user: user parameters that are text or whole numbers, as text, by name.
    """

    contrast: str = ""
    patient_id: str = ""
    vendor: str = ""
    field_t: float = math.nan
    te_ms: float = math.nan
    tr_ms: float = math.nan
    ti_ms: float = math.nan
    flip_deg: float = math.nan
    frequency_hz: float = math.nan
    noise_bandwidth: float = math.nan
    encodings: tuple[Encoding, ...] = ()
    trajectories: tuple[str, ...] = ()
    user: dict[str, str] = field(default_factory=dict)


def facts(text: str | bytes) -> Facts:
    """Read a header.

    Raises:
        ValueError: it is not XML, or its encoded matrix cannot be; the text says which.
    """
    root = parsed(text)
    encodings = root.findall("{*}encoding")
    measured = "{*}measurementInformation/{*}"
    return Facts(
        contrast=_text(root, f"{measured}protocolName"),
        patient_id=_text(root, "{*}subjectInformation/{*}patientID"),
        vendor=_text(root, "{*}acquisitionSystemInformation/{*}systemVendor"),
        field_t=_number(root, "{*}acquisitionSystemInformation/{*}systemFieldStrength_T"),
        te_ms=_number(root, "{*}sequenceParameters/{*}TE"),
        tr_ms=_number(root, "{*}sequenceParameters/{*}TR"),
        ti_ms=_number(root, "{*}sequenceParameters/{*}TI"),
        flip_deg=_number(root, "{*}sequenceParameters/{*}flipAngle_deg"),
        # a must of the schema: 0 where it is not known
        frequency_hz=_number(root, "{*}experimentalConditions/{*}H1resonanceFrequency_Hz")
        or math.nan,
        noise_bandwidth=_number(
            root, "{*}acquisitionSystemInformation/{*}relativeReceiverNoiseBandwidth"
        ),
        encodings=tuple(_encoding(node) for node in encodings),
        trajectories=tuple(_text(node, "{*}trajectory").lower() for node in encodings),
        user={
            _text(node, "{*}name"): _text(node, "{*}value")
            for kind in ("Long", "String")
            for node in root.findall(f"{{*}}userParameters/{{*}}userParameter{kind}")
        },
    )


def parsed(text: str | bytes) -> ElementTree.Element:
    """The root of a header, whatever its encoding; no entity of its own is expanded.

    Raises:
        ValueError: it is not XML, or declares entities; the text says which.
    """
    letters = text if isinstance(text, str) else _decoded(text)
    if "<!DOCTYPE" in letters or "<!ENTITY" in letters:  # no header needs them; bombs do
        raise ValueError("its XML header declares entities")
    try:
        if "\0" in letters:  # for the parser UTF-16, in which it would see what we do not
            raise ValueError
        return ElementTree.fromstring(letters)  # text: whatever encoding it claims is passed by
    except (ElementTree.ParseError, ValueError):
        raise ValueError("its XML header is broken") from None


def _decoded(data: bytes) -> str:
    """Text of UTF-16 by its first bytes, else as the declaration says, else of UTF-8."""
    encoding = "utf-8"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif declared := DECLARED.match(data):
        encoding = declared[1].decode()
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except (ValueError, LookupError):  # LookupError: unheard-of encodings
        raise ValueError("its XML header is broken") from None


def lenient(text: str) -> Facts:
    """Facts of a header, none where it is missing or broken."""
    try:
        return facts(text) if text else Facts()
    except ValueError:
        return Facts()


def _encoding(node: ElementTree.Element) -> Encoding:
    encoded = [_number(node, f"{{*}}encodedSpace/{{*}}matrixSize/{{*}}{axis}") for axis in "xyz"]
    if not all(1 <= n <= MAX_MATRIX and n == int(n) for n in encoded[:2]):
        raise ValueError("its header has no encoded matrix")
    if not 1 <= encoded[2] <= MAX_MATRIX:
        encoded[2] = 1
    matrix = int(encoded[0]), int(encoded[1]), int(encoded[2])
    fields_mm = [
        [_number(node, f"{{*}}{space}/{{*}}fieldOfView_mm/{{*}}{axis}") for axis in "xyz"]
        for space in ("encodedSpace", "reconSpace")
    ]
    image = [_number(node, f"{{*}}reconSpace/{{*}}matrixSize/{{*}}{axis}") for axis in "xyz"]
    pixels, recon = [], []
    for n, n_image, field_mm, image_mm in zip(matrix, image, *fields_mm, strict=True):
        both = field_mm > 0 and image_mm > 0
        # the image's field of view in pixels as they were encoded: interpolation is no measurement
        size = round(image_mm / field_mm * n) if both else n_image
        recon.append(int(size) if 1 <= size <= MAX_ENLARGED * n else n)
        pixels.append(field_mm / n if field_mm > 0 else math.nan)
    limits = "{*}encodingLimits/{*}kspace_encoding_step_"
    centre = [_number(node, f"{limits}{step}/{{*}}center") for step in (1, 2)]
    if any(math.isnan(mm) for mm in pixels[:2]):
        pixels[:2] = [math.nan, math.nan]
    return Encoding(
        matrix=matrix,
        recon=(recon[0], recon[1], recon[2]),
        spacing_mm=(pixels[0], pixels[1]),
        thickness_mm=pixels[2],
        centre=(_counter(centre[0]), _counter(centre[1])),
    )


def _counter(value: float) -> int | None:
    return int(value) if 0 <= value <= MAX_MATRIX else None


def _text(node: ElementTree.Element, path: str) -> str:
    text = (node.findtext(path) or "").strip()
    return text if text.isprintable() else ""


def _number(node: ElementTree.Element, path: str) -> float:
    """The first number at a path; nan if there is none, or it is not finite."""
    try:
        value = float(node.findtext(path) or "nan")
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
