"""The noise that a magnitude image still has, and what is missing of its receivers' noise.

A magnitude image keeps one of the 2 n_coils components of its coils' noise:
along the signal, where signal is strong. Adding white noise to its synthetic
k-space would count that component twice. Here it is taken out of what is
added, so that the result has all components and the SNR of the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import gammaln
from torch import Tensor

BLOCK = 8  # pixels along the edge of a block in which noise is level
FEWEST_BLOCKS = 12
MOST_SLICES = 4  # of a volume, evenly spread: they tell as much as all
RIM = 5  # pixels around the head that are neither head nor air
MOST_CHANNELS = 64
DENOISED = 0.3  # air with less than this share of the head's noise was denoised or masked
AROUND = 5  # pixels along the edge of a neighbourhood
# Excess of a neighbourhood's mean power over that of air, in the units of one pixel's spread,
# at which half of the magnitude is taken for signal.
OBJECT_FROM = 0.75
GAUSSIAN_MAD = 0.6745  # median of |x|, x standard normal
GAUSSIAN_DECILE = 0.455  # first decile of the medians of 16 such |x|
GAUSSIAN_SPREAD = 1.46  # their median over it
ANATOMY = 1.35  # times that spread: what is wider is fine structure, not noise


@dataclass(frozen=True)
class NoiseLevel:
    """Noise of a magnitude image.

    Attributes:
        std: along the signal, that is of the image itself where it is bright.
        channels: independent complex channels whose root sum of squares the air
            looks like; 1 for a Rician image.
        source: "air", or "head" where air holds no honest noise.
        snr: mean over the head divided by std.
    """

    std: float
    channels: float
    source: str
    snr: float

    @property
    def air_power(self) -> float:
        """Mean square of the magnitude in air."""
        return 2 * self.channels * self.std**2 if self.source == "air" else 0.0


def estimate_noise(magnitude: Tensor, head: Tensor) -> NoiseLevel:
    """Noise level of a volume of magnitude images.

    In air the magnitude of complex noise in n channels is chi distributed with
    2 n degrees of freedom: n follows from the mean and the mean square, the
    standard deviation from the local variance, which hardly depends on n. Where
    air was masked or denoised, the diagonal differences of neighbouring pixels
    in the head tell the noise, with some fine structure. Air is taken for denoised
    if it is much quieter than a head whose differences are those of noise, alike
    everywhere: in sharp images of high SNR they are structure.

    Args:
        magnitude: float (slice, y, x), >= 0.
        head: bool (slice, y, x).

    Returns:
        NoiseLevel; std is 0 for an image without any noise.

    Source: Constantinides et al., MRM 38:852 (1997); Donoho, Biometrika 81:425 (1994).
    """
    n_slices = len(magnitude)
    some = np.linspace(0, n_slices - 1, min(n_slices, MOST_SLICES)).round().astype(int)
    magnitude, head = magnitude[some], head[some]
    inside = magnitude[head] if bool(head.any()) else magnitude.flatten()
    mean = float(inside.mean())
    in_head, spread = _of_differences(magnitude, head)
    outside = ~_grown(head)
    air = _noisy(_blocks(magnitude, outside, BLOCK))
    if len(air) < FEWEST_BLOCKS:  # small pictures
        air = _noisy(_blocks(magnitude, outside, BLOCK // 2))
    if len(air) >= FEWEST_BLOCKS:
        channels = _channels(air)
        std = math.sqrt(float(np.median(air.var(1, ddof=1))) / _chi_variance(channels))
        if std > DENOISED * in_head or (std > 0 and spread > ANATOMY):
            return NoiseLevel(std, channels, "air", mean / std if std else math.inf)
    return NoiseLevel(in_head, 1.0, "head", mean / in_head if in_head else math.inf)


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


def _of_differences(magnitude: Tensor, head: Tensor) -> tuple[float, float]:
    """Standard deviation of noise from diagonal differences where the head is smoothest.

    Returns:
        It, and how much wider the differences spread over the head than those of noise.
    """
    a, b = magnitude[:, :-1:2, :-1:2], magnitude[:, :-1:2, 1::2]
    c, d = magnitude[:, 1::2, :-1:2], magnitude[:, 1::2, 1::2]
    detail = ((a - b - c + d) / 2).abs()  # of 2 x 2 pixels
    inside = head[:, :-1:2, :-1:2]
    blocks = _blocks(detail, inside, BLOCK // 2)
    if len(blocks) < FEWEST_BLOCKS:
        chosen = detail[inside] if bool(inside.any()) else detail.flatten()
        return float(chosen.median()) / GAUSSIAN_MAD, 1.0
    # blocks of fine structure have large medians, those of plain tissue show the noise
    low, middle = (float(value) for value in np.quantile(np.median(blocks, axis=1), [0.1, 0.5]))
    return low / GAUSSIAN_DECILE, middle / low / GAUSSIAN_SPREAD if low else math.inf


def _grown(head: Tensor) -> Tensor:
    """Everything within RIM pixels of the head, along either axis."""
    for axis in (-2, -1):
        head = _box_sum(head.to(torch.uint8), 2 * RIM + 1, axis) > 0
    return head


def _blocks(values: Tensor, where: Tensor, edge: int) -> np.ndarray:
    """(block, edge * edge) values of (slice, y, x) in square blocks that lie in a mask."""
    n_slices, ny, nx = values.shape
    rows, columns = ny // edge, nx // edge
    cut = slice(None), slice(None, rows * edge), slice(None, columns * edge)

    def blocks(array: Tensor) -> Tensor:
        split = array[cut].reshape(n_slices, rows, edge, columns, edge)
        return split.permute(0, 1, 3, 2, 4).flatten(3)

    found = blocks(values)[blocks(where).all(-1)]
    return found.numpy(force=True).astype(np.float64)


def _noisy(air: np.ndarray) -> np.ndarray:
    """Blocks that hold noise, not a constant."""
    return air[(air != air[:, :1]).mean(1) > 0.5]


def _channels(air: np.ndarray) -> float:
    """Number of channels whose chi distribution has the mean and mean square found in air."""
    mean, power = np.median(air.mean(1)), np.median((air**2).mean(1))
    ratio = mean**2 / power if power else 1.0
    counts = range(1, MOST_CHANNELS + 1)
    return float(np.interp(ratio, [1 - _chi_variance(n) / (2 * n) for n in counts], counts))


def _chi_variance(channels: float) -> float:
    """Variance of the magnitude of unit complex noise in so many channels, 0.43 to 0.5."""
    mean = math.sqrt(2) * math.exp(gammaln(channels + 0.5) - gammaln(channels))
    return 2 * channels - mean**2
