"""Stored numbers of DICOM phase images as radians: what each vendor's header tells of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synthlib.formats import phase
from synthlib.formats.dicom.header import Header

# Philips: slope, intercept and unit of what its console shows; and its own scaling, in which
# phase is (stored number - intercept) / slope radians.
PHILIPS_SLOPE, PHILIPS_INTERCEPT, PHILIPS_UNIT = (
    (0x2005, 0x140A),
    (0x2005, 0x1409),
    (0x2005, 0x140B),
)
PHILIPS_OWN_SLOPE, PHILIPS_OWN_INTERCEPT = (0x2005, 0x100E), (0x2005, 0x100D)


class Scaling(NamedTuple):
    """From stored numbers to values: slope * number + intercept, and the unit that is told."""

    slope: float
    intercept: float
    unit: str  # a key of phase.PER_TURN, or ""


def scaling(frame: Header) -> Scaling:
    """How one phase image's numbers are stored.

    The modality's slope and intercept come first; where they are missing, the real
    world mapping's, then Philips' private ones. The unit is that of any of them which
    tells one, for enhanced images call the modality's "US" whatever it is.
    """
    slope, intercept = frame.number("RescaleSlope"), frame.number("RescaleIntercept")
    unit = phase.unit_of(frame.text("RescaleType"))
    world = _real_world(frame)
    if slope is not None:
        if world is not None and not unit and _alike(world, slope, intercept or 0.0):
            unit = world.unit
        return Scaling(slope, intercept or 0.0, unit or _private_unit(frame, slope))
    if world is not None:
        return world
    slope, intercept = (frame.private_number(tag) for tag in (PHILIPS_SLOPE, PHILIPS_INTERCEPT))
    if slope:
        unit = phase.unit_of(frame.private_text(PHILIPS_UNIT))
        return Scaling(slope, intercept or 0.0, unit)
    own, shift = (
        frame.private_number(tag, binary=True) for tag in (PHILIPS_OWN_SLOPE, PHILIPS_OWN_INTERCEPT)
    )
    if own:
        return Scaling(1 / own, -(shift or 0.0) / own, "rad")
    return Scaling(1.0, 0.0, "")


def full_scale(frame: Header, scaling: Scaling) -> tuple[float, float] | None:
    """Smallest and largest value that the stored bits can hold; None for all 16 or more bits."""
    bits = frame.whole("BitsStored")
    if not 8 <= bits < 16:
        return None
    signed = frame.whole("PixelRepresentation") == 1
    first, last = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = sorted(scaling.slope * number + scaling.intercept for number in (first, last))
    return ends[0], ends[1]


def scaled(stored: np.ndarray, scaling: Scaling) -> np.ndarray:
    """float32 values of one image."""
    values = stored.astype(np.float64) * scaling.slope + scaling.intercept
    return values.astype(np.float32)


def _real_world(frame: Header) -> Scaling | None:
    for item in frame.items("RealWorldValueMappingSequence"):
        mapping = frame.below(item)
        slope = mapping.number("RealWorldValueSlope")
        for code in mapping.items("MeasurementUnitsCodeSequence"):
            unit = phase.unit_of(mapping.below(code).text("CodeValue"))
            if unit and slope:
                return Scaling(slope, mapping.number("RealWorldValueIntercept") or 0.0, unit)
    return None


def _private_unit(frame: Header, slope: float) -> str:
    """Philips' private unit, where it is that of the same slope."""
    told = frame.private_number(PHILIPS_SLOPE)
    same = told is not None and abs(told - slope) <= 1e-5 * abs(slope)
    return phase.unit_of(frame.private_text(PHILIPS_UNIT)) if same else ""


def _alike(world: Scaling, slope: float, intercept: float) -> bool:
    return abs(world.slope - slope) <= 1e-5 * abs(slope) and abs(
        world.intercept - intercept
    ) <= 1e-5 * abs(intercept)
