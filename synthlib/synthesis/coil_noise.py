"""The noise that a magnitude image still has, and what is missing of its receivers' noise.

A magnitude image keeps one of the 2 n_coils components of its coils' noise:
along the signal, where signal is strong. Adding white noise to its synthetic
k-space would count that component twice. Here it is taken out of what is
added, so that the result has all components and the SNR of the image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synthlib.core.noise_level import NoiseLevel

AROUND = 5  # pixels along the edge of a neighbourhood
# Excess of a neighbourhood's mean power over that of air, in the units of one pixel's spread,
# at which half of the magnitude is taken for signal.
OBJECT_FROM = 0.75


def kept_signal(magnitude: Tensor, level: NoiseLevel) -> tuple[Tensor, Tensor]:
    """The part of a magnitude that is signal, and how far its noise lies along that signal.

    The mean square of air is taken off, so that dark places do not shine: a root
    sum of squares puts it back when the coils' noise is added. Where a pixel and
    its neighbours are no brighter than air nothing is kept.

    Args:
        magnitude: float (..., y, x).
        level: of its noise.

    Returns:
        float (..., y, x) signal; float (..., y, x) share, 0 in air to 1 in bright tissue.
    """
    power = magnitude.square()
    noise = level.air_power or 2 * level.std**2
    if not noise:
        return magnitude, torch.ones_like(magnitude)
    kept = (power - noise).clamp(min=0)
    # Of air's pixels half are brighter than their mean: whether there is an object is asked of a
    # neighbourhood, whose mean hardly leaves that of air.
    around = _box_sum(_box_sum(power, AROUND, -2), AROUND, -1)
    ones = torch.ones(power.shape[-2:])
    local = around / _box_sum(_box_sum(ones, AROUND, -2), AROUND, -1)
    excess = ((local / noise - 1).clamp(min=0)) * math.sqrt(level.channels)
    fourth = excess.square().square()
    object_there = fourth / (fourth + OBJECT_FROM**4)
    return kept.sqrt() * object_there, object_there * kept / (kept + noise)


def _box_sum(images: Tensor, size: int, axis: int) -> Tensor:
    """Sums over `size` (odd) neighbours along an axis, fewer at its ends.

    Neighbour by neighbour: running sums of float32 would bring a bright pixel's
    rounding errors into the air beside it.
    """
    n, total = images.shape[axis], images.clone()
    for step in range(1, min(size // 2, n - 1) + 1):
        ends = (0, n - step), (step, n - step)
        for (to, length), (start, _) in (ends, ends[::-1]):
            total.narrow(axis, to, length).add_(images.narrow(axis, start, length))
    return total


def require_reachable(snr: float, level: NoiseLevel) -> str:
    """ "" if images of this noise can get that SNR by adding noise, else what to tell."""
    if snr <= level.snr:
        return ""
    return f"SNR {snr:g} was asked for, the images have {level.snr:.0f} and keep it"
