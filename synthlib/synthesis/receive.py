"""A slice as a donor's coils receive it, with their noise: made to be fast.

What is written for one pixel in synthesis.model is done here for whole scans, in
strips of rows that stay in the processor's cache, and without shifts around the FFT.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from synthlib import arrays, bank
from synthlib.synthesis.coil_noise import NoiseLevel, kept_signal

STRIP = 32  # rows
LEVELS = 2**16
# The middles of 65536 intervals of equal probability: up to 4.3 standard deviations.
QUANTILES = ndtri((np.arange(LEVELS) + 0.5) / LEVELS)
QUANTILES = (QUANTILES / QUANTILES.std()).astype(np.float32)


def draw_normal(numbers: np.random.Generator, out: Tensor) -> None:
    """Fill float32 `out` with standard normal numbers.

    Uniform 16-bit numbers choose among the normal distribution's quantiles: no
    draw is beyond 4.3 standard deviations, and it takes a third of the time.
    """
    n = out.numel()
    words = numbers.integers(0, 2**64, size=-(-n // 4), dtype=np.uint64).view(np.uint16)[:n]
    np.take(QUANTILES, words, mode="clip", out=out.numpy().reshape(-1))


@dataclass(frozen=True)
class Noise:
    """Noise of one slice.

    Attributes:
        mixing: complex (coil, coil), L times the standard deviation.
        numbers: of the draws.
    """

    mixing: Tensor
    numbers: np.random.Generator


class Workspace:
    """Arrays that are used again for every slice: making them anew would take half of the time."""

    def __init__(self, n_coils: int, shape: tuple[int, int]) -> None:
        self.rows = min(STRIP, shape[0])
        full, strip = (n_coils, *shape), (n_coils, self.rows, shape[1])
        self.noise = torch.empty((*strip, 2))
        self.half = torch.empty((2, n_coils, self.rows, bank.POINTS))
        self.parts = torch.empty((2, *strip))
        self.maps = torch.empty(strip, dtype=torch.complex64)
        self.product = torch.empty(strip, dtype=torch.complex64)
        self.strip = torch.empty(strip, dtype=torch.complex64)
        self.images = torch.empty(full, dtype=torch.complex64)
        self.kspace = torch.empty(full, dtype=torch.complex64)

    def strips(self, ny: int) -> Iterator[slice]:
        """Rows of one strip after the other; the last one reaches back to be as high as all."""
        for first in range(0, ny, self.rows):
            start = min(first, ny - self.rows)
            yield slice(start, start + self.rows)

    def spread(self, few: Tensor, wy: Tensor, wx: Tensor) -> Tensor:
        """Values on the grid of head coordinates, (2, coil, POINTS, POINTS), at a strip's pixels.

        Args:
            wy: (rows, POINTS); wx: (nx, POINTS).

        Returns:
            complex64 (coil, rows, nx), valid until the next call.
        """
        torch.matmul(wy, few, out=self.half)
        torch.matmul(self.half, wx.T, out=self.parts)
        return torch.complex(self.parts[0], self.parts[1], out=self.maps)


class Receiver:
    """The coils of one donor around the head of one volume; several threads may use it at once."""

    def __init__(
        self,
        coils: bank.Coils,
        head: bank.Outline,
        shape: tuple[int, int],
        *,
        level: NoiseLevel | None = None,
        std: float = 0.0,
    ) -> None:
        """Prepare for slices of one volume.

        Args:
            coils: of the donor.
            head: outline of the volume.
            shape: (ny, nx) of k-space, rows above the image's are readout oversampling.
            level: of the magnitude's own noise; None: the magnitude is taken as
                it is, and no noise is added.
            std: noise of the result, along the signal; at least level.std.
        """
        self.head, self.shape, self.level = head, shape, level
        self.coils, self.root, self.std = coils, coils.root, std
        self.remaining = 0.0  # share of the noise along the signal that the image lacks
        if level is not None and std > 0:
            self.remaining = math.sqrt(max(0.0, 1 - (level.std / std) ** 2))
        self.n_coils = coils.maps.shape[1]
        self._even = all(n % 2 == 0 for n in shape)
        self._threads = threading.local()

    def slice(
        self, magnitude: Tensor, phase: Tensor, *, index: int, donor_slice: int, seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """One slice of k-space, and the root sum of squares of its coil images.

        Args:
            magnitude: float (y, x), >= 0.
            phase: float (y, x), radians.
            index: of the slice, for the head's outline.
            donor_slice: of the donor's maps.
            seed: of the noise.

        Returns:
            complex64 (coil, ny, nx), valid until this thread's next call; float32 (ny, nx).
        """
        space = self._space()
        few = self.coils.maps[donor_slice]  # (coil, POINTS, POINTS)
        noise, share = None, torch.zeros_like(magnitude)
        if self.level is not None and self.std > 0:
            noise = self._noise(few, seed)
            magnitude, share = kept_signal(magnitude, self.level)
        unit = torch.polar(torch.ones_like(magnitude), phase)
        signal, unit, share = (
            arrays.crop_or_pad(one, self.shape) for one in (magnitude, unit, share)
        )
        if self._even:
            unit = unit * (_checkerboard(self.shape) * (-1) ** (sum(self.shape) // 2))
        wy, wx = bank.weights(self.head, index, self.shape)
        few, rss = _parts(few), torch.empty(self.shape)
        for rows in space.strips(self.shape[0]):
            turned, images = unit[rows], space.strip
            maps = space.spread(few, wy[rows], wx)
            size = _norm(maps)
            image = signal[rows]
            if noise:
                draw_normal(noise.numbers, space.noise)
                white = torch.view_as_complex(space.noise).flatten(1)
                torch.matmul(noise.mixing, white, out=images.view(self.n_coils, -1))
                # Along the signal u = exp(i phase) S lies Re(u^H n): the image has it already.
                overlap = torch.mul(maps.conj(), images, out=space.product).sum(0)
                had = (turned.conj() * overlap).real / size
                image = image - share[rows] * (1 - self.remaining) * had
            image = (image * turned / size).expand_as(maps)
            if noise:
                images.addcmul_(maps, image)
            else:
                torch.mul(maps, image, out=images)
            rss[rows] = _norm(images)
            self._put(space, range(rows.start, rows.stop))
        if not self._even:
            return arrays.fft2c(space.images), rss
        torch.fft.fft2(space.images, norm="ortho", out=space.kspace)
        return space.kspace, rss

    def _space(self) -> Workspace:
        """This thread's own."""
        if not hasattr(self._threads, "space"):
            self._threads.space = Workspace(self.n_coils, self.shape)
        return self._threads.space

    def _noise(self, few: Tensor, seed: int) -> Noise:
        seen = self.root.mH @ few.flatten(1)  # L^H S, (coil, points)
        # mean over the head of S^H C S: noise along the signal is to have `std`
        gain = self.std / float(seen[:, _inside()].abs().square().sum(0).mean().sqrt())
        numbers = np.random.Generator(np.random.SFC64(seed))
        return Noise(gain * self.root, numbers)

    def _put(self, space: Workspace, rows: range) -> None:
        """A strip at its place in the images, whose halves are swapped for the FFT.

        Swapped images have their centre first, and a checkerboard of signs brings
        zero frequency to the centre of k-space: no shift is needed.
        """
        if not self._even:
            space.images[:, rows] = space.strip
            return
        ny, nx = self.shape
        for y, to_y in _swapped(range(rows.start, rows.stop), ny):
            for x, to_x in _swapped(range(nx), nx):
                inner = space.strip[:, y.start - rows.start : y.stop - rows.start, x.start : x.stop]
                space.images[:, to_y : to_y + len(y), to_x : to_x + len(x)] = inner


def _swapped(indices: range, n: int) -> Iterator[tuple[range, int]]:
    """Parts of some indices, and where they begin when the halves of n change places."""
    middle = n // 2
    for part in (
        range(indices.start, min(indices.stop, middle)),
        range(max(indices.start, middle), indices.stop),
    ):
        if part:
            yield part, (part.start + middle) % n


def _checkerboard(shape: tuple[int, int]) -> Tensor:
    y, x = (torch.arange(n) for n in shape)
    return 1.0 - 2.0 * ((y[:, None] + x) % 2)


def _inside() -> Tensor:
    along = torch.linspace(-bank.REACH, bank.REACH, bank.POINTS)
    return ((along[:, None].square() + along.square()) <= 1).flatten()


def _parts(few: Tensor) -> Tensor:
    """Real and imaginary part of complex (coil, y, x), (2, coil, y, x)."""
    return torch.stack([few.real, few.imag])


def _norm(images: Tensor) -> Tensor:
    """Root sum of squares over coils, (coil, y, x) to (y, x)."""
    power = torch.view_as_real(images).square().sum(0)
    return power.sum(-1).sqrt().clamp(min=1e-20)
