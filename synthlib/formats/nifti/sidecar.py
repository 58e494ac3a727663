"""Numbers from the JSON file beside a NIfTI image (BIDS); its texts stay in it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from synthlib.formats import words

MAX_BYTES = 2**22


def stem(name: str) -> str:
    """A file's name without .nii, .nii.gz, .hdr or .npy."""
    low = name.lower()
    for ending in (".nii.gz", ".nii", ".hdr", ".npy"):
        if low.endswith(ending):
            return name[: -len(ending)]
    return name


def sidecar(path: str | Path) -> Path:
    path = Path(path)
    return path.with_name(f"{stem(path.name)}.json")


def read(path: str | Path) -> dict[str, Any]:
    """What the sidecar of an image holds; {} where there is none, or none that can be read."""
    beside = sidecar(path)
    try:
        if not beside.is_file() or beside.stat().st_size > MAX_BYTES:
            return {}
        content = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def facts(content: dict[str, Any]) -> dict[str, object]:
    """Facts by names of records.FACTS; BIDS keeps times in seconds."""
    told: dict[str, object] = {}
    for name, keyword, scale in (
        ("te_ms", "EchoTime", 1e3),
        ("tr_ms", "RepetitionTime", 1e3),
        ("ti_ms", "InversionTime", 1e3),
        ("flip_deg", "FlipAngle", 1.0),
        ("pixel_bandwidth_hz", "PixelBandwidth", 1.0),
        ("frequency_mhz", "ImagingFrequency", 1.0),
    ):
        value = number(content, keyword)
        if value > 0:
            told[name] = value * scale
    if "frequency_mhz" in told:
        told["frequency_mhz"] = round(number(content, "ImagingFrequency"), 2)
    maker = content.get("Manufacturer")
    if isinstance(maker, str) and words.vendor(maker):
        told["vendor"] = words.vendor(maker)
    fraction = number(content, "PartialFourier")
    if not math.isnan(fraction):
        told["partial_fourier"] = fraction < 0.99
    kinds = content.get("ImageType")
    if isinstance(kinds, list):
        codes = {str(code).upper() for code in kinds}
        told["normalised"] = "NORM" in codes
        told["distortion_corrected"] = bool({"DIS2D", "DIS3D"} & codes)
    return told


def is_phase(content: dict[str, Any]) -> bool:
    kinds = content.get("ImageType")
    codes = {str(code).upper() for code in kinds} if isinstance(kinds, list) else set()
    return bool(codes & {"P", "PHASE", "PHASE MAP", "REAL", "IMAGINARY", "R", "I"})


def field_t(content: dict[str, Any]) -> float:
    value = number(content, "MagneticFieldStrength")
    return value if 0.001 < value < 25 else math.nan


def anatomy(content: dict[str, Any]) -> str:
    found = [content.get(key) for key in ("BodyPartExamined", "BodyPart")]
    return words.anatomy(*(text for text in found if isinstance(text, str)))


def number(content: dict[str, Any], keyword: str) -> float:
    """A finite number; nan where there is none."""
    value = content.get(keyword)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        value = float(value)
    except OverflowError:
        return math.nan
    return value if math.isfinite(value) else math.nan
