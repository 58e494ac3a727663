"""Complex stacks in 16 bits, as a viewer keeps them.

16-bit phase overflows where the circle does: the difference of two phases needs
no wrapping. 16-bit magnitude is exact to 1/65535 of a stack's maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthlib import arrays

LEVELS = 65535  # steps of magnitude, 0 to a stack's maximum
HALF_TURN = 32768  # steps of phase in pi
PHASE_STEP = np.pi / HALF_TURN  # radians


@dataclass(frozen=True)
class Stack:
    """Complex images with what is needed to show them.

    Attributes:
        images: complex, or real >= 0: (y, x), (slice, y, x) or (slice, coil, y, x).
        unit: of the magnitude.
        top: the magnitude shown white; None: the 99th percentile.
        dark: the magnitude below which phase is mostly noise; None: by the air, as
            records.PhasePair.head does.
        colours: matplotlib's name of the magnitude's colours.
    """

    images: Tensor | NDArray[Any]
    unit: str = "a.u."
    top: float | None = None
    dark: float | None = None
    colours: str = "gray"


@dataclass
class Pixels:
    """A stack in 16 bits.

    Attributes:
        magnitude: uint16 (slice, coil, y, x), 65535 being `scale`.
        phase: int16 of the same shape, 32768 being pi; None for real images.
        scale, top, dark: magnitudes in `unit`.
    """

    magnitude: NDArray[np.uint16]
    phase: NDArray[np.int16] | None
    scale: float
    top: float
    dark: float
    unit: str = "a.u."
    colours: str = "gray"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(slice, coil, y, x)."""
        slices, n_coils, ny, nx = self.magnitude.shape
        return slices, n_coils, ny, nx

    def at(self, slice_index: int, coil: int) -> tuple[NDArray[np.uint16], NDArray[np.int16]]:
        """16-bit magnitude and phase (y, x); a stack of one slice or coil shows it always."""
        where = min(slice_index, self.shape[0] - 1), min(coil, self.shape[1] - 1)
        size = self.magnitude[where]
        turn = np.zeros(size.shape, np.int16) if self.phase is None else self.phase[where]
        return size, turn

    def image(self, slice_index: int, coil: int) -> Tensor:
        """Complex64 (y, x), as exact as 16 bits are."""
        size, turn = self.at(slice_index, coil)
        magnitude = torch.from_numpy(size.astype(np.float32) * (self.scale / LEVELS))
        return torch.polar(magnitude, torch.from_numpy(turn.astype(np.float32)) * PHASE_STEP)


def quantise(stack: Stack | Tensor | NDArray[Any], name: str = "images") -> Pixels:
    """Bring a stack to 16 bits.

    Raises:
        ValueError: not two to four axes, NaN or Inf, or real with negative pixels.
    """
    if not isinstance(stack, Stack):
        stack = Stack(stack)
    images = stack.images
    if not isinstance(images, Tensor):
        images = torch.from_numpy(np.ascontiguousarray(images))  # torch knows no steps backwards
    images = images.detach().cpu()
    if not 2 <= images.ndim <= 4 or not images.numel():
        raise ValueError(
            f"{name} is of shape {tuple(images.shape)}; expected (y, x), (slice, y, x) or "
            "(slice, coil, y, x)"
        )
    arrays.require_finite(name, images)
    if images.ndim == 2:
        images = images[None]
    if images.ndim == 3:
        images = images[:, None]
    phase = None
    if images.dtype == torch.bool:
        images = images.to(torch.float32)
    if images.is_complex():
        phase = quantise_phase(images.angle())
    elif images.min() < 0:
        raise ValueError(
            f"{name} is real and has negative pixels, {float(images.min()):.3g}; expected "
            "magnitudes, or complex images: images.to(torch.complex64)"
        )
    magnitude = images.abs()
    if not magnitude.max() < 1e38:
        raise ValueError(f"{name} reaches {float(magnitude.max()):.3g}; expected below 1e38")
    magnitude = magnitude.to(torch.float32)
    scale = float(magnitude.max()) or 1.0
    return Pixels(
        magnitude=(magnitude.double() / scale * LEVELS).round().numpy().astype(np.uint16),
        phase=phase,
        scale=scale,
        top=stack.top or float(_quantile(magnitude, 0.99)) or scale,
        dark=arrays.dark_level(magnitude) if stack.dark is None else stack.dark,
        unit=stack.unit,
        colours=stack.colours,
    )


def quantise_phase(phase: Tensor) -> NDArray[np.int16]:
    """Radians to 16 bits: 32768 steps in pi, pi itself being -32768."""
    steps = (phase.to(torch.float64) * (HALF_TURN / np.pi)).round().to(torch.int64)
    return ((steps + HALF_TURN) % (2 * HALF_TURN) - HALF_TURN).numpy().astype(np.int16)


def _quantile(values: Tensor, share: float) -> Tensor:
    flat = values.flatten()
    return torch.quantile(flat[:: max(1, flat.numel() // 2**20)], share)  # it refuses many values
