"""What all checks look at: some slices, where the head and the air are, noise, spectra."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from synthlib.core.noise_level import NoiseLevel, estimate_noise
from synthlib.records import ImageVolume

MOST_SLICES = 12  # are looked at, in pairs of neighbours spread through the middle
MOST_PIXELS = 2**18  # are looked at, if four slices or more have no more than that
LIT = 0.25  # of bright tissue: head, not air
MIDDLE = 0.7  # of the largest area of all slices: vertex and chin have less
COARSE = 64  # pixels along the shorter axis where the head is outlined
CLOSE = 2  # coarse pixels: gaps of the outline that are closed
OPEN = 3  # coarse pixels: what is thinner is no head (text, wraps)
AIR_BOX = 9  # pixels, of the local mean of power in air
QUIET_AIR = 1.6  # times the lower decile of local power: more is ringing, ghosts or tissue
BLOCK = 8  # pixels, of the noise map
MEAN_ABS = 0.7979  # of normal numbers of unit s.d.
AIR_SD = 0.69  # s.d. of a magnitude in air over the noise's s.d.: 0.655 (one coil) to 0.707 (many)


@dataclass(frozen=True)
class View:
    """Some slices of a volume and what several checks need of them.

    Attributes:
        magnitude: float32 (slice, y, x), of unit bright tissue, finite.
        index: number of each of them in the volume.
        bright: 98th percentile of the volume's pixels, in its own units.
        facts: the header's.
        stack: all slices of the volume, in its own units.
    """

    magnitude: Tensor
    index: tuple[int, ...]
    bright: float
    facts: Mapping[str, object] = field(default_factory=dict)
    stack: Tensor = field(default_factory=lambda: torch.zeros(0, 1, 1))

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.magnitude.shape[-2]), int(self.magnitude.shape[-1])

    @cached_property
    def coarse(self) -> Coarse:
        """The slices on a grid of about 64 pixels, where the head is outlined."""
        return coarse_view(self.magnitude)

    @cached_property
    def head(self) -> Tensor:
        """Bool (slice, y, x): the largest bright object of each slice, its holes filled."""
        return self.coarse.fine(self.coarse.head, self.shape)

    @cached_property
    def outside(self) -> Tensor:
        """Bool (slice, y, x): clear of the head by 4 % of the picture."""
        return self.coarse.fine(self.coarse.outside, self.shape)

    @cached_property
    def power(self) -> Tensor:
        """Float32 (slice, y, x): squared magnitude."""
        return self.magnitude.square()

    @cached_property
    def local_power(self) -> Tensor:
        """Float32 (slice, y, x): mean of the squared magnitude around each pixel."""
        return mean_box(self.power, AIR_BOX)

    @cached_property
    def air(self) -> Tensor:
        """Bool (slice, y, x): air with nothing but noise in it; none where it was masked."""
        found = torch.zeros_like(self.outside)
        noisy = self.outside & ~self.coarse.fine(self.coarse.void, self.shape)
        for one, outside, local in zip(found, noisy, self.local_power, strict=True):
            values = local[outside & (local > 1e-12)]
            if len(values) > 8 * AIR_BOX**2:
                low = values[:: max(1, len(values) // 4096)].quantile(0.1)
                one |= outside & (local < QUIET_AIR * low) & (local > low / QUIET_AIR**2)
        return found

    @cached_property
    def air_pattern(self) -> Tensor:
        """Float32 (slice, y, x): squared magnitude less its local mean, over it; else 0.

        In pure noise its autocorrelation is the squared autocorrelation of the
        complex noise, whatever the number of coils.
        """
        pattern = self.power / self.local_power.clamp(min=1e-12) - 1
        return torch.where(self.air, pattern, 0.0)

    @cached_property
    def window(self) -> Tensor:
        """Float32 (slice, y, x): 0 to 1, smooth, inside bright parts of the head.

        There the magnitude is linear in the complex image, so that its
        spectrum is that of the image as far as phase is smooth.
        """
        soft = (self.coarse.magnitude > 0.35) & self.coarse.head
        soft = mean_box(mean_box(soft.float(), 5), 5)
        inside = ((soft - 0.3) / 0.7).clamp(min=0)
        return self.coarse.smooth(inside, self.shape)

    @cached_property
    def spectrum(self) -> Tensor:
        """Float32 (ky, kx): power of k-space of the windowed magnitudes, summed over slices."""
        kspace = torch.fft.rfft2(self.magnitude * self.window, norm="ortho")  # kx from 0 on
        power = torch.view_as_real(kspace).square().sum((0, -1))
        ny, nx = self.shape
        whole = power.new_empty(ny, nx)
        whole[:, : nx // 2 + 1] = power
        turned = power.roll(-1, 0).flip(0)  # that of -ky, for -kx
        whole[:, nx // 2 + 1 :] = turned[:, 1 : (nx + 1) // 2].flip(1)
        return torch.fft.fftshift(whole)

    @cached_property
    def detail(self) -> Tensor:
        """Float32 (slice, y - 1, x - 1): diagonal differences, of the noise's s.d."""
        step = self.magnitude[:, :, 1:] - self.magnitude[:, :, :-1]
        return (step[:, 1:] - step[:, :-1]) / 2

    @cached_property
    def noise(self) -> Tensor:
        """Float32 (slice, block y, block x): s.d. of noise and texture in blocks of 8 x 8."""
        return block_means(self.detail.abs(), self.block) / MEAN_ABS

    @property
    def block(self) -> int:
        return min(BLOCK, *(max(1, n - 1) for n in self.shape))

    def in_blocks(self, mask: Tensor, share: float = 0.99) -> Tensor:
        """Bool (slice, block y, block x): blocks of the noise map that a mask fills."""
        return block_means(mask[:, :-1, :-1].float(), self.block) >= share

    @cached_property
    def quiet(self) -> Tensor:
        """Bool (slice, y - 1, x - 1): the head's quietest third of blocks: mostly noise."""
        head = self.in_blocks(self.head) & (self.noise > 1e-6)
        result = torch.zeros_like(self.detail, dtype=torch.bool)
        if head.any():
            chosen = head & (self.noise <= self.noise[head].quantile(0.33))
            wide = chosen.repeat_interleave(self.block, 1).repeat_interleave(self.block, 2)
            result[:, : wide.shape[1], : wide.shape[2]] = wide
        return result

    @cached_property
    def head_noise(self) -> float:
        """S.d. of the noise in the head, from its quietest blocks; nan without a head."""
        values = self.noise[self.in_blocks(self.head)]
        return float(values.quantile(0.1)) if len(values) >= 8 else float("nan")

    @cached_property
    def level(self) -> NoiseLevel:
        """The noise level of these slices, in units of bright tissue."""
        return estimate_noise(self.magnitude, self.head)

    @property
    def anatomy(self) -> float:
        """How many times the head's quietest details exceed noise: above 1 they are anatomy."""
        known = self.level.std > 0 and not math.isnan(self.head_noise)
        return self.head_noise / self.level.std if known else float("nan")

    @cached_property
    def air_noise(self) -> float:
        """S.d. of the noise as air tells it, 0 where it was masked; nan without air."""
        values = self.noise[self.in_blocks(self.outside)]
        return float(values.median()) / AIR_SD if len(values) >= 4 else float("nan")


def slices_to_look_at(magnitude: Tensor) -> tuple[int, ...]:
    """At most 12 slices of a stack (slice, y, x), pairs of neighbours spread through its middle.

    The middle is where heads are wide: vertex and chin hold little but air, ears and
    skull. Of large slices there are four, of smaller ones up to twelve.
    """
    n, ny, nx = magnitude.shape
    most = max(4, min(MOST_SLICES, MOST_PIXELS // (ny * nx) // 2 * 2))
    if n <= most:
        return tuple(range(n))
    step = 1 + min(ny, nx) // COARSE
    some = magnitude[:, ::step, ::step].float().nan_to_num(0.0, 0.0, 0.0)
    lit = some[some > 0]
    if not len(lit):
        return tuple(range(most))
    bright = float(lit[:: 1 + len(lit) // 2**15].quantile(0.95))
    areas = (some > LIT * bright).float().mean((1, 2))
    wide = (areas >= MIDDLE * areas.max()).nonzero().flatten()
    first, last = int(wide[0]), int(wide[-1])
    missing = max(0, most - (last + 1 - first))  # a few wide slices alone: their neighbours, too
    first = max(0, min(first - missing // 2, n - most))
    last = max(last, min(n, first + most) - 1)
    parts = most // 2
    starts = [first + round((at + 0.5) * (last + 1 - first) / parts - 1) for at in range(parts)]
    return tuple(at for start in starts for at in (start, start + 1))


def look(volume: ImageVolume) -> View:
    """The slices to look at, bright tissue scaled to 1."""
    index = list(slices_to_look_at(volume.magnitude))
    chosen = volume.magnitude[index].float().nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
    few = chosen.flatten()[:: 1 + chosen.numel() // 2**15]
    bright = float(few[few > 0].quantile(0.95)) if bool((few > 0).any()) else 0.0
    return View(
        chosen / bright if bright > 0 else chosen, tuple(index), bright, volume.facts,
        volume.magnitude,
    )  # fmt: skip


@dataclass(frozen=True)
class Coarse:
    """Slices whose pixels are means of `every` x `every` pixels.

    Attributes:
        every: pixels of the fine grid along a coarse pixel.
        magnitude: float32 (slice, y, x).
        head, outside: bool (slice, y, x): the head, and what is clear of it.
        void: bool (slice, y, x): what is exactly zero, and its neighbours.
    """

    every: int
    magnitude: Tensor
    head: Tensor
    outside: Tensor
    void: Tensor

    def fine(self, mask: Tensor, shape: tuple[int, int]) -> Tensor:
        """A mask of this grid on the fine one, whose shape is given."""
        wide = mask.repeat_interleave(self.every, 1).repeat_interleave(self.every, 2)
        return wide[:, : shape[0], : shape[1]]

    def smooth(self, weights: Tensor, shape: tuple[int, int]) -> Tensor:
        """Weights (slice, y, x) on the fine grid, blurred by a Gaussian of a coarse pixel."""
        across = [
            _gaussians(n, n_coarse, self.every)
            for n, n_coarse in zip(shape, weights.shape[-2:], strict=True)
        ]
        return across[0] @ (weights @ across[1].T)


def _gaussians(n: int, n_coarse: int, every: int) -> Tensor:
    """(n, n_coarse) weights of coarse pixels at fine ones; each fine pixel's add up to 1."""
    distance = (torch.arange(n)[:, None] + 0.5) / every - (torch.arange(n_coarse) + 0.5)
    weights = torch.exp(-0.5 * distance.square())
    return weights / weights.sum(1, keepdim=True)


def coarse_view(magnitude: Tensor) -> Coarse:
    """Outline the largest bright object of each slice (slice, y, x): gaps closed, holes filled.

    A slice without a bright object gets an empty head.
    """
    ny, nx = magnitude.shape[-2:]
    every = max(1, -(-min(ny, nx) // COARSE))
    padded = torch.nn.functional.pad(
        magnitude[:, None], (0, -nx % every, 0, -ny % every), mode="replicate"
    )[:, 0]
    coarse = padded.unflatten(2, (-1, every)).mean(3).unflatten(1, (-1, every)).mean(2)
    head, outside = np.zeros(coarse.shape, bool), np.ones(coarse.shape, bool)
    reach = max(1, round(0.04 * min(coarse.shape[-2:])))
    for at, one in enumerate(mean_box(coarse, 3).numpy()):
        some = one[one > 0]  # what was set to zero tells nothing of air
        if not len(some):
            continue
        air, bright = np.quantile(some, [0.1, 0.95])
        lit = one > max(0.15 * bright, min(1.4 * air, 0.5 * bright))
        wide = np.pad(lit, CLOSE, mode="edge")  # a closing would eat what touches the border
        closed = ndimage.binary_closing(wide, iterations=CLOSE)[CLOSE:-CLOSE, CLOSE:-CLOSE]
        filled = np.pad(ndimage.binary_fill_holes(closed), OPEN, mode="edge")
        filled = ndimage.binary_opening(filled, iterations=OPEN)[OPEN:-OPEN, OPEN:-OPEN]
        pieces, n_pieces = ndimage.label(filled)
        if n_pieces:
            head[at] = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
        outside[at] = ~ndimage.binary_dilation(head[at] | lit & (pieces > 0), iterations=reach)
    zero = ndimage.binary_opening(coarse.numpy() == 0, np.ones((1, 3, 3)))
    void = ndimage.binary_dilation(zero, np.ones((1, 5, 5)))
    return Coarse(every, coarse, *(torch.from_numpy(one) for one in (head, outside, void)))


def outline(magnitude: Tensor) -> Tensor:
    """Bool (slice, y, x): the head in magnitudes (slice, y, x), as all checks see it."""
    coarse = coarse_view(magnitude)
    return coarse.fine(coarse.head, (magnitude.shape[-2], magnitude.shape[-1]))


def mean_box(images: Tensor, size: int) -> Tensor:
    """Mean over size x size pixels (odd) around each one, (slice, y, x); fewer at the borders."""
    for axis in (1, 2):
        n = images.shape[axis]
        reach = min(size // 2, n - 1)
        zero = torch.zeros_like(images.narrow(axis, 0, 1))
        sums = torch.cat([zero, images.cumsum(axis)], axis)  # sums[i] is that of the first i
        last = sums.narrow(axis, n, 1).expand_as(sums.narrow(axis, 0, reach))
        end = torch.cat([sums.narrow(axis, reach + 1, n - reach), last], axis)
        start = torch.cat([zero.expand_as(last), sums.narrow(axis, 0, n - reach)], axis)
        at = torch.arange(n)
        count = ((at + reach + 1).clamp(max=n) - (at - reach).clamp(min=0)).float()
        images = (end - start) / (count if axis == 2 else count[:, None])
    return images


def block_means(images: Tensor, size: int) -> Tensor:
    """Means (slice, block y, block x) over blocks of size x size; what is left over is cut."""
    ny, nx = (n // size * size for n in images.shape[-2:])
    return (
        images[:, :ny, :nx].unflatten(2, (-1, size)).sum(3).unflatten(1, (-1, size)).sum(2)
        / size**2
    )
