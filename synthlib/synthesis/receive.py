"""A slice as a donor's coils receive it, with their noise: made to be fast.

What is written for one pixel in synthesis.model is done here for whole scans,
in place and with as few passes over the coil images as can be.
"""

from __future__ import annotations

import math
import threading

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from synthlib import arrays, bank, runs
from synthlib.synthesis.coil_noise import NoiseLevel, kept_signal

LEVELS = 2**16
# The middles of 65536 intervals of equal probability: up to 4.3 standard deviations.
QUANTILES = ndtri((np.arange(LEVELS) + 0.5) / LEVELS)
QUANTILES = (QUANTILES / QUANTILES.std()).astype(np.float32)


class Workspace:
    """Arrays that are used again for every slice: making them anew would take half of the time."""

    def __init__(self, n_coils: int, shape: tuple[int, int]) -> None:
        full = (n_coils, *shape)
        self.noise = torch.empty((*full, 2))
        self.half = torch.empty((2, n_coils, shape[0], bank.POINTS))
        self.parts = torch.empty((2, *full))
        self.maps = torch.empty(full, dtype=torch.complex64)
        self.images = torch.empty(full, dtype=torch.complex64)
        self.kspace = torch.empty(full, dtype=torch.complex64)

    def spread(self, few: Tensor, wy: Tensor, wx: Tensor) -> Tensor:
        """Values on the grid of head coordinates, (2, coil, POINTS, POINTS), at pixels: `maps`."""
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
        self._signs = _checkerboard(shape) if self._even else torch.ones(shape)
        self._last_signs = self._signs * ((-1) ** (sum(shape) // 2) if self._even else 1)
        self._threads = threading.local()

    @property
    def noisy(self) -> bool:
        return self.level is not None and self.std > 0

    @property
    def _space(self) -> Workspace:
        """This thread's own."""
        if not hasattr(self._threads, "space"):
            self._threads.space = Workspace(self.n_coils, self.shape)
        return self._threads.space

    def draw(self, seed: int, *names: object) -> Tensor:
        """White complex noise of unit variance per part, (coil, ny, nx); this thread's buffer.

        Uniform 16-bit numbers choose among the normal distribution's quantiles:
        no draw is beyond 4.3 standard deviations, and it takes a third of the time.
        """
        numbers = np.random.Generator(np.random.SFC64(runs.seed_for(seed, "noise", *names)))
        noise = self._space.noise
        n = noise.numel()
        words = numbers.integers(0, 2**64, size=-(-n // 4), dtype=np.uint64).view(np.uint16)[:n]
        np.take(QUANTILES, words, mode="clip", out=noise.numpy().reshape(-1))
        return torch.view_as_complex(noise)

    def slice(
        self,
        magnitude: Tensor,
        phase: Tensor,
        *,
        index: int,
        donor_slice: int,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One slice of k-space, and the root sum of squares of its coil images.

        Args:
            magnitude: float (y, x), >= 0.
            phase: float (y, x), radians.
            index: of the slice, for the head's outline.
            donor_slice: of the donor's maps.
            noise: of :meth:`draw`; overwritten. Needed when the receiver is noisy.

        Returns:
            complex64 (coil, ny, nx), valid until this thread's next call; float32 (ny, nx).
        """
        space = self._space
        wy, wx = bank.weights(self.head, index, self.shape)
        few = self.coils.maps[donor_slice]  # (coil, POINTS, POINTS)
        grid = (magnitude.shape[-2], magnitude.shape[-1])
        # k-space is centred by a checkerboard of signs, without a shift of the images
        signs = arrays.crop_or_pad(self._signs, grid)
        unit = arrays.crop_or_pad(torch.polar(signs, phase), self.shape)  # (ny, nx)
        if not self.noisy or self.level is None or noise is None:
            maps = space.spread(_parts(few), wy, wx)
            image = arrays.crop_or_pad(magnitude, self.shape) * unit / _norm(maps)
            torch.mul(maps, image, out=space.images)
        else:
            signal, share = kept_signal(magnitude, self.level)
            share = arrays.crop_or_pad(share, self.shape)
            self._add_noise(noise, few, wy, wx, unit, share)
            maps = space.spread(_parts(few), wy, wx)
            image = arrays.crop_or_pad(signal, self.shape) * unit / _norm(maps)
            space.images.addcmul_(maps, image.expand_as(maps))
        return self._to_kspace(space), _norm(space.images)

    def _add_noise(
        self, white: Tensor, few: Tensor, wy: Tensor, wx: Tensor, unit: Tensor, share: Tensor
    ) -> None:
        """Correlated noise of the coils, less what the magnitude has already.

        n = L z with L L^H the covariance. Along the signal u = exp(i phase) S lies
        Re(u^H n) = Re(b^H z), b = L^H u; this part of z is what the image has.
        """
        space = self._space
        seen = self.root.mH @ few.flatten(1)  # L^H S, (coil, points)
        # mean over the head of S^H C S: noise along the signal is to have `std`
        gain = self.std / float(seen[:, _inside()].abs().square().sum(0).mean().sqrt())
        along = space.spread(_parts(seen.reshape(few.shape)), wy, wx)  # b less exp(i phase)
        overlap = torch.zeros_like(unit)
        for one, other in zip(along, white, strict=True):  # a coil at a time stays in the cache
            overlap.addcmul_(one.conj(), other)
        part = (unit.conj() * overlap).real * share * (1 - self.remaining)
        part = part / _norm(along).square()
        white.addcmul_(along, (-part * unit).expand_as(along))
        torch.matmul(gain * self.root, white.flatten(1), out=space.images.view(self.n_coils, -1))

    def _to_kspace(self, space: Workspace) -> Tensor:
        if not self._even:
            return arrays.fft2c(space.images)
        torch.fft.fft2(space.images, norm="ortho", out=space.kspace)
        return space.kspace.mul_(self._last_signs)


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
    """Root sum of squares over coils, (coil, ny, nx) to (ny, nx); one coil at a time, in cache."""
    power = torch.zeros((*images.shape[1:], 2))
    for one in torch.view_as_real(images):
        power.addcmul_(one, one)
    return power.sum(-1).sqrt().clamp(min=1e-20)
