"""Measured phase beside magnitude images: where it lies, and its stored numbers as radians."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.formats.refusals import Refusal, by, reason_of
from synthlib.records import ImageVolume

Component = Literal["magnitude", "phase", "real", "imaginary"]
Parts = tuple[tuple[int, int], ...]

# Why a phase image is left alone.
ALONE = "a phase image; expected a magnitude beside it (one study, place and echo time)"
PART_ALONE = (
    "a real or imaginary part; expected a magnitude and the other part beside it (one study, "
    "place and echo time)"
)
DIFFERENCE = "a phase difference of two echoes, no phase of a magnitude"
FIELD_MAP = "a map of the field, no phase of a magnitude"
NOT_USED = "measured phase was not used"

COVERED = 0.8  # of a turn: values that cover less may have any unit
TOLERANCE = 1e-3  # of a turn, beyond the ends of a range
MOST_TURNS = 20.0  # of phase whose unit is told, unwrapped
PER_TURN = {"rad": 2 * math.pi, "mrad": 2000 * math.pi, "deg": 360.0}
UNITS = {
    "rad": "rad", "radian": "rad", "radians": "rad",
    "mrad": "mrad", "milliradian": "mrad", "milliradians": "mrad",
    "deg": "deg", "degree": "deg", "degrees": "deg",
}  # fmt: skip
PHASE, PARTS, COMPLEX = "phase", "parts", "complex"


class Range(NamedTuple):
    """Numbers that one turn of phase is stored as."""

    first: float
    last: float
    zero: float  # stored for a phase of 0
    name: str

    @property
    def turn(self) -> float:
        return self.last - self.first


# Told apart by their ends. Siemens stores 0 to 4095, and with its slope of 2 and intercept of
# -4096 -4096 to 4094; GE stores milliradians; Philips stores what its slope makes milliradians.
RANGES = (
    Range(-math.pi, math.pi, 0, "-pi to pi"),
    Range(0, 2 * math.pi, 0, "0 to 2 pi"),
    Range(-1000 * math.pi, 1000 * math.pi, 0, "-3142 to 3142 (mrad)"),
    Range(0, 2000 * math.pi, 0, "0 to 6283 (mrad)"),
    Range(-4096, 4096, 0, "-4096 to 4094"),
    Range(-2048, 2048, 0, "-2048 to 2047"),
    Range(0, 4096, 2048, "0 to 4095"),
)


@dataclass(frozen=True)
class PhaseImages:
    """Where the measured phase of a series lies.

    Attributes:
        kind: PHASE; PARTS: real and imaginary images; COMPLEX: in the magnitude's own file.
        files: paths, private: only for reading, never shown.
        parts: (index in `files`, frame or volume) of the phase or real part of each image,
            in the order of the magnitudes.
        imaginary: as `parts`, of the imaginary parts.
    """

    kind: str
    files: tuple[str, ...] = field(default=(), repr=False)
    parts: Parts = field(default=(), repr=False)
    imaginary: Parts = field(default=(), repr=False)


def with_phase(volume: ImageVolume, read: Callable[[], Tensor]) -> ImageVolume:
    """A volume with what `read` gives as its phase; without, and with a note, where it cannot.

    Args:
        read: gives float32 (slice, y, x) radians, or raises; NaN where there is no signal.
    """
    try:
        phase = read()
        if phase.shape != volume.magnitude.shape:
            raise Refusal(f"it has {by(tuple(phase.shape))} pixels")
        unknown = ~torch.isfinite(phase)
        n_bad = int((unknown & (volume.magnitude > 0)).sum())
        if n_bad:
            raise Refusal(f"it is NaN or Inf in {n_bad} pixels of signal; expected finite numbers")
        phase[unknown] = 0
    except Exception as error:  # damaged files make packages raise anything; magnitudes stand alone
        note = f"{NOT_USED}: {reason_of(error)}"
        return dataclasses.replace(volume, notes=(*volume.notes, note))
    return dataclasses.replace(volume, phase=phase)


def unit_of(text: str) -> str:
    """A key of PER_TURN from what a header calls a unit; "" for any other text."""
    return UNITS.get(text.strip().lower(), "")


def radians(
    values: Tensor, unit: str = "", full_scale: tuple[float, float] | None = None
) -> Tensor:
    """Stored phase as radians.

    Args:
        values: real, any shape, slope and intercept applied.
        unit: a key of PER_TURN where the header tells it, else "".
        full_scale: smallest and largest value that could have been stored, where known.

    Returns:
        float32, in (-pi, pi]; NaN where a value is none.

    Raises:
        Refusal: one value everywhere, or a unit that cannot be decided.
    """
    low, high = _ends(values)
    if low == high:
        raise Refusal(f"phase of one value everywhere ({low:.4g}); expected one that varies")
    if unit:
        turn, zero = _told(low, high, unit), 0.0
    else:
        found = _fitting(low, high, full_scale)
        turn, zero = found.turn, found.zero
    return arrays.wrap((values.to(torch.float32) - zero) * (2 * math.pi / turn))


def angle_of(real: Tensor, imaginary: Tensor) -> Tensor:
    """Phase of a real and an imaginary part, float32 in (-pi, pi].

    Raises:
        Refusal: a part without negative values: its zero is not known.
    """
    for name, part in (("real", real), ("imaginary", imaginary)):
        low, high = _ends(part)
        if not low < 0 < high:
            raise Refusal(
                f"{name} parts from {low:.4g} to {high:.4g}; expected values of both signs, or a "
                "slope and intercept that give them"
            )
    return arrays.wrap(torch.atan2(imaginary, real)).to(torch.float32)


def _ends(values: Tensor) -> tuple[float, float]:
    """Smallest and largest of the finite values, 0 where there are none."""
    low, high = (float(value) for value in torch.aminmax(values))
    if not (math.isfinite(low) and math.isfinite(high)):
        finite = values[torch.isfinite(values)]
        low, high = (float(v) for v in torch.aminmax(finite)) if finite.numel() else (0.0, 0.0)
    return low, high


def _told(low: float, high: float, unit: str) -> float:
    turn = PER_TURN[unit]
    if max(-low, high) > MOST_TURNS * turn:
        raise Refusal(
            f"phase from {low:.5g} to {high:.5g}, called {unit}; expected at most {MOST_TURNS:g} "
            "turns. Correct the unit or the values"
        )
    return turn


def _fitting(low: float, high: float, full_scale: tuple[float, float] | None) -> Range:
    """The one range that values without a unit fit."""

    def fits(range_: Range, first: float, last: float) -> bool:
        slack = TOLERANCE * range_.turn
        return range_.first - slack <= first and last <= range_.last + slack

    for range_ in RANGES if full_scale else ():
        first, last = full_scale or (low, high)
        if fits(range_, first, last) and last - first > (1 - TOLERANCE) * range_.turn:
            return range_
    for range_ in RANGES:
        if fits(range_, low, high) and high - low >= COVERED * range_.turn:
            return range_
    names = "; ".join(range_.name for range_ in RANGES)
    raise Refusal(
        f"phase from {low:.5g} to {high:.5g} without a unit; expected values that cover "
        f"{COVERED:.0%} of one of these ranges: {names}. Tell the unit in the header or "
        "the sidecar (Units: rad)"
    )
