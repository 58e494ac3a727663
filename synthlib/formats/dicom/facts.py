"""What a DICOM header says of an image: facts of records.FACTS, weighting, anatomy, geometry."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from synthlib.formats import words
from synthlib.formats.dicom import kinds
from synthlib.formats.dicom.header import Header
from synthlib.formats.dicom.pixels import is_lossy
from synthlib.formats.refusals import Refusal
from synthlib.records import Placement

PARALLEL = 0.02  # largest difference of direction cosines that are taken as one direction
HEADS = {"T-D1100", "T-A0100", "69536005", "12738006", "T-D1400", "89546000"}  # head, brain, skull
NO_AGENT = {"NO", "NONE", "N", "N/A", "NA", "WITHOUT", "NOT", "0", "-", "NO CONTRAST", "OHNE"}


class Place(NamedTuple):
    """Where a slice lies, millimetres in the patient's coordinates."""

    directions: tuple[float, ...]  # cosines along a row, then along a column
    corner: tuple[float, ...]  # centre of the first pixel

    @property
    def normal(self) -> tuple[float, float, float]:
        a, b, c, d, e, f = self.directions
        return b * f - c * e, c * d - a * f, a * e - b * d

    @property
    def along(self) -> float:
        """Position along the normal."""
        return sum(a * b for a, b in zip(self.normal, self.corner, strict=True))

    def is_parallel(self, directions: tuple[float, ...]) -> bool:
        return all(abs(a - b) < PARALLEL for a, b in zip(self.directions, directions, strict=True))


def place(frame: Header) -> Place:
    """Raises a Refusal where the header does not tell it, or tells what is no place."""
    directions = frame.numbers("ImageOrientationPatient", 6)
    corner = frame.numbers("ImagePositionPatient", 3)
    if directions is None or corner is None:
        raise Refusal(
            "no place or direction of the slice (ImagePositionPatient, -OrientationPatient)"
        )
    found = Place(tuple(directions), tuple(corner))
    right = abs(math.hypot(*found.normal) - 1) < 0.05 and max(map(abs, corner)) < 1e5
    if not right or abs(math.hypot(*directions[:3]) - 1) > 0.05:
        raise Refusal("directions of the slice that are not at right angles, or a place far away")
    return found


def placement(frame: Header, corners: np.ndarray, shape: tuple[int, int]) -> Placement | None:
    """Of slices in the directions of one, None without a pixel size.

    Args:
        frame: the first image of the volume.
        corners: (slice, 3) centres of the first pixels.
        shape: (ny, nx) of the image.
    """
    (mm_y, mm_x), cosines = spacing_mm(frame), np.array(place(frame).directions)
    if math.isnan(mm_y * mm_x):
        return None
    row, column = (part / np.linalg.norm(part) for part in (cosines[:3], cosines[3:]))
    middles = corners + shape[1] // 2 * mm_x * row + shape[0] // 2 * mm_y * column
    x, y = (tuple(part.tolist()) for part in (row, column))
    return Placement(x, y, tuple(tuple(middle) for middle in middles.tolist()))


def spacing_mm(frame: Header) -> tuple[float, float]:
    """(y, x); nan where it is not told."""
    found = frame.numbers("PixelSpacing", 2) or [math.nan, math.nan]
    y, x = (value if 0 < value < 1e3 else math.nan for value in found)
    return y, x


def positive(frame: Header, *keywords: str) -> float:
    """The first of these that is a number > 0; nan if there is none."""
    for keyword in keywords:
        value = frame.number(keyword)
        if value is not None and value > 0:
            return value
    return math.nan


def field_t(frame: Header) -> float:
    """Of the magnet in tesla; some write gauss."""
    value = positive(frame, "MagneticFieldStrength")
    value = value / 1e4 if value > 100 else value
    return value if 0.001 < value < 25 else math.nan


def anatomy(frame: Header) -> str:
    for item in frame.items("AnatomicRegionSequence"):
        if frame.below(item).text("CodeValue") in HEADS:
            return "head"
    found = words.anatomy(frame.text("BodyPartExamined"))
    if found != "unknown":
        return found
    return words.anatomy(*(frame.text(word) for word in ("StudyDescription", "SeriesDescription")))


def weighting(frame: Header) -> str:
    """T1, T1POST, T2 ... by keywords of the description, else by times; "" if neither tells."""
    described = [frame.text(word) for word in ("SeriesDescription", "ProtocolName")]
    found = words.weight(described[0]) or words.weight(described[1]) or _by_times(frame)
    agent = frame.text("ContrastBolusAgent").upper()
    given = bool(agent) and agent not in NO_AGENT
    if found == "T1" and (given or words.is_post(*described)):
        return "T1POST"
    return found


def _by_times(frame: Header) -> str:
    te, tr = _te_ms(frame), positive(frame, "RepetitionTime")
    ti = positive(frame, "InversionTime", "InversionTimes")
    kinds_of = {*frame.codes("ScanningSequence"), *frame.codes("EchoPulseSequence")}
    if positive(frame, "DiffusionBValue") > 0:
        return "DWI"
    if kinds_of & {"GR", "GRADIENT"}:
        if "EP" in kinds_of:
            return "BOLD" if te > 15 else ""
        if ti > 0 or te < 6:
            return "T1"
        return "GRE" if te >= 12 else ""
    if not kinds_of & {"SE", "IR", "SPIN"} or math.isnan(te) or math.isnan(tr):
        return ""
    if ti > 1500 and te > 60:
        return "FLAIR"
    if 80 < ti < 300:
        return "STIR"
    if te < 40 and (tr < 1100 or 300 <= ti <= 1500):
        return "T1"
    if tr > 1500:
        return "T2" if te >= 60 else "PD" if te < 40 else ""
    return ""


def _te_ms(frame: Header) -> float:
    return positive(frame, "EffectiveEchoTime", "EchoTime")


def facts(frame: Header) -> dict[str, object]:
    """Facts by names of records.FACTS; what the header does not tell is left out."""
    rows, columns = frame.whole("Rows"), frame.whole("Columns")
    codes = [*frame.codes("ImageType"), *frame.codes("FrameType")]
    options = set(frame.codes("ScanOptions"))
    told: dict[str, object] = {
        "format": "dicom",
        "bits_stored": frame.whole("BitsStored"),
        "lossy": is_lossy(frame.syntax) or frame.text("LossyImageCompression") == "01",
        "image_type": tuple(dict.fromkeys(code for code in codes if code in kinds.CODES)),
        "normalised": "NORM" in codes,
        "distortion_corrected": bool({"DIS2D", "DIS3D"} & set(codes)),
    }
    phase = (frame.codes("InPlanePhaseEncodingDirection") or [""])[0]
    if phase in ("ROW", "COL", "COLUMN"):
        told["phase_encoding"] = "row" if phase == "ROW" else "column"
    matrix = _acquired(frame, phase)
    if matrix:
        told["acquisition_matrix"] = matrix
        told["interpolated"] = matrix[0] < rows or matrix[1] < columns
    if options & {"ZIP", "ZIP2", "ZIP4", "ZIP512", "ZIP1024"} or "IF" in codes:
        told["interpolated"] = True
    if options & {"PFP", "PFF"} or frame.text("PartialFourier") == "YES":
        told["partial_fourier"] = True
    elif frame.text("PartialFourier") == "NO":
        told["partial_fourier"] = False
    if frame.text("BurnedInAnnotation") in ("YES", "NO"):
        told["burned_in"] = frame.text("BurnedInAnnotation") == "YES"
    numbers = {
        "te_ms": _te_ms(frame),
        "tr_ms": positive(frame, "RepetitionTime"),
        "ti_ms": positive(frame, "InversionTime", "InversionTimes"),
        "flip_deg": positive(frame, "FlipAngle"),
        "pixel_bandwidth_hz": positive(frame, "PixelBandwidth"),
        "frequency_mhz": _frequency_mhz(frame),
    }
    if maker := words.vendor(frame.text("Manufacturer")):
        told["vendor"] = maker
    return told | {name: value for name, value in numbers.items() if not math.isnan(value)}


def _frequency_mhz(frame: Header) -> float:
    """Of protons, rounded to 10 kHz: its further digits are those of one magnet alone."""
    nuclei = {*frame.codes("ImagedNucleus"), *frame.codes("ResonantNucleus")}
    value = positive(frame, "ImagingFrequency", "TransmitterFrequency")
    if nuclei - {"1H", "H1", "H"} or not 0.05 < value < 1000:
        return math.nan
    return round(value, 2)


def _acquired(frame: Header, phase: str) -> tuple[int, int] | None:
    """(rows, columns) that were encoded; None where the header does not tell which is which.

    AcquisitionMatrix has a slot for rows and for columns of frequency, then of phase.
    Vendors agree on the order, frequency first, and on nothing else: of 256 x 230
    steps with phase along the rows Siemens makes 0, 256, 230, 0 and United Imaging
    0, 256, 0, 230. Which axis is phase's is told by InPlanePhaseEncodingDirection alone.
    """
    matrix = frame.numbers("AcquisitionMatrix", 4)
    if matrix:
        steps = [int(n) for n in matrix if n > 0]
        if len(steps) != 2:
            return None
        frequency, across = steps
    else:
        frequency = frame.whole("MRAcquisitionFrequencyEncodingSteps")
        across = frame.whole("MRAcquisitionPhaseEncodingStepsInPlane")
    if phase not in ("ROW", "COL", "COLUMN") and frequency != across:
        return None
    rows, columns = (frequency, across) if phase == "ROW" else (across, frequency)
    return (rows, columns) if 0 < rows < 2**15 and 0 < columns < 2**15 else None
