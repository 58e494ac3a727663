"""The noise level of magnitude images, from air and from the head together, with its uncertainty.

Two witnesses tell it. Air holds noise alone, but it may have been masked or
denoised. In the head noise lies on structure: the smallest eigenvalues of small
patches are noise, and how far the larger ones stand above them tells how much
structure the smallest still hold. Both are weighted by their uncertainty; how
probable it is that air was denoised follows from how far the two disagree. There
is no switch: four repeats of one scan get one level.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import gammaln
from torch import Tensor

from synthlib import arrays

BLOCK = 8  # pixels along the edge of a block of air
FEWEST_BLOCKS = 12
MOST_SLICES = 4  # of a volume, evenly spread: they tell as much as all
RIM = 5  # pixels around the head that are neither head nor air
MOST_CHANNELS = 64
PATCH = 5  # pixels along the edge of a patch of the head
PLANE = 3  # components of a patch that a plane takes: they are taken off
SMOOTHEST = 0.03  # share of the head's patches that is looked at
FEWEST_PATCHES, MOST_PATCHES = 300, 20_000
ROUNDING = 1e-6  # of the largest pixel: what is less is no noise, but float32's last digits
FULL_BAND = 0.97  # share of k-space along an axis from which on images count as not interpolated
# Eigenvalues of n patches of white noise spread: the least quarter lies exp(-3.4 / sqrt(n)) below
# the noise, the largest exp(3 / sqrt(n)) above. Measured on white noise, n = 150 to 4000.
LEAST_BY, LARGEST_BY = 3.4, 3.0
# log(noise / least quarter of eigenvalues, as s.d.) is the sum of two curves, of the structure
# in the least varying patches and in the flattest ones; ERROR is the s.d. of what they miss.
# Fitted by tests/benchmarks/noise_levels.py to simulated heads whose noise is known.
VARYING = (-0.02, 0.0, 0.03, 0.19, 0.5, 0.81)
CURVE_VARYING = (0.15, 0.17, 0.11, -0.02, -0.13, -0.49)
FLAT = (-0.01, 0.01, 0.32, 0.86, 1.12, 1.48)
CURVE_FLAT = (0.27, 0.22, 0.0, -0.04, -0.13, -0.53)
DIFFERENCES_ERROR = 0.7  # of log noise, where the head is too small for patches: an upper bound
GAUSSIAN_MAD = 0.6745  # median of |x|, x standard normal
ERROR_AT, ERROR = (0.0, 0.1, 0.3, 0.5, 0.8, 1.6), (0.1, 0.1, 0.19, 0.28, 0.47, 1.2)
FLAT_AT, FLAT_ERROR = (0.3, 0.8, 1.5), (0.1, 0.2, 0.4)
AIR_ERROR = 0.08  # of log noise: g-factors, combinations of coils, ghosts
DENOISED_SHARE = 0.05  # of archives' series with noise in air: the air was damped
FILTERED_SHARE = 0.025  # the head's finest noise was filtered away
GHOSTS_SHARE = 0.025  # air holds ghosts, or was made brighter
MOST_DAMPED = math.log(100.0)  # log of how far either may be damped, all alike


@dataclass(frozen=True)
class NoiseLevel:
    """Noise of a magnitude image.

    Attributes:
        std: along the signal, that is of the image itself where it is bright.
        channels: independent complex channels whose root sum of squares the air
            looks like; 1 for a Rician image.
        source: "air", or "head" where air holds no honest noise; what weighs more.
        snr: mean over the head divided by std.
        error: s.d. of log(std): 0.1 is 10 %.
        air_std: as air alone tells it; 0 where it was masked.
        head_std, head_error: as the head alone tells it, and s.d. of its logarithm.
    """

    std: float
    channels: float
    source: str
    snr: float
    error: float = 0.0
    air_std: float = 0.0
    head_std: float = 0.0
    head_error: float = 0.0

    @property
    def air_power(self) -> float:
        """Mean square of the noise's magnitude in air; 0 where air was masked."""
        return 2 * self.channels * min(self.air_std, self.std) ** 2

    def scaled(self, by: float) -> NoiseLevel:
        """The level of the same images, every pixel times `by`."""
        return dataclasses.replace(
            self, std=by * self.std, air_std=by * self.air_std, head_std=by * self.head_std
        )


def estimate_noise(
    magnitude: Tensor, head: Tensor, band: tuple[float, float] = (1.0, 1.0)
) -> NoiseLevel:
    """Noise level of a volume of magnitude images.

    In air the magnitude of complex noise in n channels is chi distributed with
    2 n degrees of freedom: n follows from the mean and the mean square, the
    standard deviation from the local variance, which hardly depends on n. Noise that
    differs from place to place (parallel imaging) is told where it is lowest in the head.

    Args:
        magnitude: float (slice, y, x), >= 0.
        head: bool (slice, y, x).
        band: share of (ky, kx) that was measured; 1 if images were not interpolated.

    Returns:
        NoiseLevel; std is 0 for an image without any noise.

    Source: Constantinides et al., MRM 38:852 (1997); Pyatykh et al., IEEE Trans Image
    Process 22:687 (2013), for the smallest eigenvalues of patches.
    """
    n_slices = len(magnitude)
    chosen = np.linspace(0, n_slices - 1, min(n_slices, MOST_SLICES)).round().astype(int)
    magnitude, head = magnitude[chosen], head[chosen]
    inside = magnitude[head] if bool(head.any()) else magnitude.flatten()
    mean = float(inside.mean())
    air_std, channels = _of_air(magnitude, head)
    head_std, head_error = _of_head(magnitude, head, band)
    std, error, honest = _together(air_std, head_std, head_error)
    source = "air" if honest > 0.5 else "head"
    return NoiseLevel(
        std,
        channels,
        source,
        mean / std if std else math.inf,
        error,
        air_std,
        head_std,
        head_error,
    )


def _together(air_std: float, head_std: float, head_error: float) -> tuple[float, float, float]:
    """The level that both tell, the s.d. of its logarithm, and how probably air is honest.

    Nothing may have happened, and both tell the same noise; air may have been damped
    or hold ghosts, and the head alone tells it; or the head's finest noise was filtered
    away, and air alone tells it. The result is the mean over these cases.
    """
    if not air_std:
        return head_std, head_error, 0.0
    if not head_std:
        return air_std, AIR_ERROR, 1.0
    log_air, log_head = math.log(air_std), math.log(head_std)
    variance = AIR_ERROR**2 + head_error**2
    apart = log_head - log_air
    wide = math.sqrt(variance)
    untouched = (1 - DENOISED_SHARE - FILTERED_SHARE - GHOSTS_SHARE) * _normal(apart, wide)
    damped = DENOISED_SHARE * _blurred_range(apart, wide)
    louder = _blurred_range(-apart, wide)
    filtered, ghosts = FILTERED_SHARE * louder, GHOSTS_SHARE * louder
    weight = head_error**2 / variance  # of air, where both tell the same
    cases = (
        (untouched, weight * log_air + (1 - weight) * log_head, AIR_ERROR * head_error / wide),
        (damped, log_head, head_error),
        (ghosts, log_head, head_error),
        (filtered, log_air, AIR_ERROR),
    )
    total = untouched + damped + ghosts + filtered
    mean = sum(share * log_std for share, log_std, _ in cases) / total
    spread = sum(share * (error**2 + (log - mean) ** 2) for share, log, error in cases) / total
    return math.exp(mean), math.sqrt(spread), 1 - (damped + ghosts) / total


def _normal(value: float, error: float) -> float:
    return math.exp(-0.5 * (value / error) ** 2) / (math.sqrt(2 * math.pi) * error)


def _blurred_range(value: float, error: float) -> float:
    """Density of what is alike from 0 to MOST_DAMPED, blurred by a normal error; never 0."""
    scale = error * math.sqrt(2)
    inside = math.erf(value / scale) - math.erf((value - MOST_DAMPED) / scale)
    return max(0.5 * inside, 1e-12) / MOST_DAMPED


def _of_air(magnitude: Tensor, head: Tensor) -> tuple[float, float]:
    """Noise and channels from blocks of air that hold noise; (0, 1) without."""
    outside = ~_grown(head)
    for edge in (BLOCK, BLOCK // 2):  # the smaller for small pictures
        air = _noisy(_blocks(magnitude, outside, edge))
        if len(air) >= FEWEST_BLOCKS:
            channels = _channels(air)
            return math.sqrt(
                float(np.median(air.var(1, ddof=1))) / _chi_variance(channels)
            ), channels
    return 0.0, 1.0


def _of_head(magnitude: Tensor, head: Tensor, band: tuple[float, float]) -> tuple[float, float]:
    """Noise from the smallest eigenvalues of the head's smoothest patches, and its error.

    In a head of too few pixels diagonal differences tell an upper bound. Interpolated images
    are first brought to the grid that was measured: between its points noise is no news,
    and eigenvalues vanish.
    """
    if min(band) < FULL_BAND:
        magnitude, head = _measured_grid(magnitude, head, band)
    rounding = ROUNDING * float(magnitude.max())
    structure = patch_structure(magnitude.numpy(force=True), head.numpy(force=True))
    if structure is None:
        std = _of_differences(magnitude, head)
        return (std if std > rounding else 0.0), DIFFERENCES_ERROR
    least, varying, flat = structure
    if not least > rounding:
        return 0.0, ERROR[0]
    log_std = math.log(least)
    log_std += float(np.interp(varying, VARYING, CURVE_VARYING))
    log_std += float(np.interp(flat, FLAT, CURVE_FLAT))
    error = max(np.interp(varying, ERROR_AT, ERROR), np.interp(flat, FLAT_AT, FLAT_ERROR))
    return math.exp(log_std), float(error)


def _of_differences(magnitude: Tensor, head: Tensor) -> float:
    """Noise from the median diagonal difference of 2 x 2 pixels, of the head if there is any."""
    step = magnitude.diff(dim=-1).diff(dim=-2).abs() / 2
    inside = step[head[:, :-1, :-1]]
    values = inside if len(inside) else step.flatten()
    return float(values.median()) / GAUSSIAN_MAD if len(values) else 0.0


def _measured_grid(
    magnitude: Tensor, head: Tensor, band: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Images (slice, y, x) on the grid that was measured, and the head on it."""
    ny, nx = magnitude.shape[-2:]
    shape = max(1, round(band[0] * ny)), max(1, round(band[1] * nx))
    coarse = torch.stack(
        [arrays.resample(image.to(torch.complex64), shape).real for image in magnitude]
    )
    share = torch.nn.functional.interpolate(head[:, None].float(), shape, mode="area")[:, 0]
    return coarse, share > 0.99


def patch_structure(images: np.ndarray, head: np.ndarray) -> tuple[float, float, float] | None:
    """What small patches of a head, less their planes, tell of its noise.

    Those that vary least hold little structure, but their noise is low by chance, too;
    those on the flattest ground are chosen by their planes and by their neighbours'
    means, which white noise within a patch knows nothing of.

    Args:
        images: (slice, y, x); head: bool, the same.

    Returns:
        Root mean of the least quarter of eigenvalues of the patches that vary least; log of the
        largest quarter over the least, as s.d., in these; the same in the flattest
        ones. 0 in white noise, but for the choice. None: the head holds too few patches.
    """
    if min(images.shape[-2:]) < 2 * PATCH:
        return None
    inside = np.argwhere(_window_sums(head.astype(np.uint8)) == PATCH**2)
    if len(inside) < FEWEST_PATCHES:
        return None
    slices, rows, columns = inside[:: -(-len(inside) // MOST_PATCHES)].T
    whole = np.lib.stride_tricks.sliding_window_view(images, (PATCH, PATCH), axis=(1, 2))
    patches = whole[slices, rows, columns].reshape(len(rows), PATCH**2).astype(np.float64)
    means = _window_sums(images.astype(np.float32)) / np.float32(PATCH**2)
    means = np.pad(means, ((0, 0), (PATCH,) * 2, (PATCH,) * 2), "edge")
    mean = means[slices, rows + PATCH, columns + PATCH]
    slope = np.zeros(len(rows))
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        beside = means[slices, rows + (1 + dy) * PATCH, columns + (1 + dx) * PATCH]
        slope += (beside - mean) ** 2
    patches -= mean[:, None]
    ramp = np.arange(PATCH) - PATCH // 2
    for plane in (np.repeat(ramp, PATCH), np.tile(ramp, PATCH)):
        unit = plane / np.sqrt((plane**2).sum())
        part = np.einsum("np,p->n", patches, unit)
        patches -= part[:, None] * unit
        slope += PATCH * part**2
    least, varying = _quarters(patches, np.einsum("np,np->n", patches, patches))
    return least, varying, _quarters(patches, slope)[1]


def _window_sums(images: np.ndarray) -> np.ndarray:
    """Sums over PATCH x PATCH pixels from each one on, of (slice, y, x)."""
    for axis in (1, 2):
        n = images.shape[axis] - PATCH + 1
        parts = [images.take(range(by, by + n), axis) for by in range(PATCH)]
        images = sum(parts[1:], start=parts[0])
    return images


def _quarters(patches: np.ndarray, order: np.ndarray) -> tuple[float, float]:
    """Least quarter of the eigenvalues of the patches that come first, and log largest over it.

    As s.d., freed of how far eigenvalues of white noise spread. Sums are numpy's own, in one
    order on any number of threads.
    """
    n_chosen = min(len(patches), max(FEWEST_PATCHES, round(SMOOTHEST * len(patches))))
    chosen = patches[np.argsort(order, kind="stable")[:n_chosen]]
    covariance = np.einsum("np,nq->pq", chosen, chosen) / n_chosen
    values = np.linalg.eigvalsh(covariance)[PLANE:].clip(min=0)
    quarter = len(values) // 4
    least = math.sqrt(values[:quarter].mean()) * math.exp(LEAST_BY / math.sqrt(n_chosen))
    largest = math.sqrt(values[-quarter:].mean()) * math.exp(-LARGEST_BY / math.sqrt(n_chosen))
    return least, math.log(max(largest, 1e-30) / max(least, 1e-30))


def _grown(head: Tensor) -> Tensor:
    """Everything within RIM pixels of the head, along either axis."""
    for axis in (-2, -1):
        n, grown = head.shape[axis], head.clone()
        for step in range(1, min(RIM, n - 1) + 1):
            ends = (0, n - step), (step, n - step)
            for (to, length), (start, _) in (ends, ends[::-1]):
                grown.narrow(axis, to, length).logical_or_(head.narrow(axis, start, length))
        head = grown
    return head


def _blocks(values: Tensor, where: Tensor, edge: int) -> np.ndarray:
    """(block, edge * edge) values of (slice, y, x) in square blocks that lie in a mask."""
    n_slices, ny, nx = values.shape
    rows, columns = ny // edge, nx // edge
    cut = slice(None), slice(None, rows * edge), slice(None, columns * edge)

    def blocks(array: Tensor) -> Tensor:
        split = array[cut].reshape(n_slices, rows, edge, columns, edge)
        return split.permute(0, 1, 3, 2, 4).flatten(3)

    chosen = blocks(values)[blocks(where).all(-1)]
    return chosen.numpy(force=True).astype(np.float64)


def _noisy(air: np.ndarray) -> np.ndarray:
    """Blocks that hold noise, not a constant."""
    return air[(air != air[:, :1]).mean(1) > 0.5]


def _channels(air: np.ndarray) -> float:
    """Number of channels whose chi distribution has the mean and mean square of air."""
    mean, power = np.median(air.mean(1)), np.median((air**2).mean(1))
    ratio = mean**2 / power if power else 1.0
    counts = range(1, MOST_CHANNELS + 1)
    return float(np.interp(ratio, [1 - _chi_variance(n) / (2 * n) for n in counts], counts))


def _chi_variance(channels: float) -> float:
    """Variance of the magnitude of unit complex noise in so many channels, 0.43 to 0.5."""
    mean = math.sqrt(2) * math.exp(gammaln(channels + 0.5) - gammaln(channels))
    return 2 * channels - mean**2
