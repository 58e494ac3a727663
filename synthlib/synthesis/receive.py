"""A slice as a donor's coils receive it, with their noise: made to be fast.

What is written for one pixel in synthesis.model is done here for whole scans,
in place and with as few passes over the coil images as can be.
"""

from __future__ import annotations

import math

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


class Receiver:
    """The coils of one donor around the head of one volume."""

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
        self.maps = coils.maps
        self.root = coils.root
        self.std = std
        self.remaining = 0.0  # share of the noise along the signal that the image lacks
        if level is not None and std > 0:
            self.remaining = math.sqrt(max(0.0, 1 - (level.std / std) ** 2))
        n_coils = coils.maps.shape[1]
        self._images = torch.empty((n_coils, *shape), dtype=torch.complex64)
        # the last result may still be written while the next one is made
        self._results = [torch.empty_like(self._images), torch.empty_like(self._images)]
        self._even = all(n % 2 == 0 for n in shape)
        self._signs = _checkerboard(shape) if self._even else torch.ones(shape)
        self._global_sign = (-1) ** (sum(shape) // 2) if self._even else 1

    def draw(self, seed: int, *names: object) -> Tensor:
        """White complex noise of unit variance per part, (coil, ny, nx).

        Uniform 16-bit numbers choose among the normal distribution's quantiles:
        no draw is beyond 4.3 standard deviations, and it takes a third of the time.
        """
        numbers = np.random.Generator(np.random.SFC64(runs.seed_for(seed, "noise", *names)))
        n = 2 * self._images.numel()
        words = numbers.integers(0, 2**64, size=-(-n // 4), dtype=np.uint64).view(np.uint16)[:n]
        noise = np.take(QUANTILES, words, mode="clip")
        return torch.view_as_complex(torch.from_numpy(noise).reshape(*self._images.shape, 2))

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
            noise: of :meth:`draw`; overwritten. Needed when the receiver has a level.

        Returns:
            complex64 (coil, ny, nx), valid until the call after the next; float32 (ny, nx).
        """
        self._results.reverse()
        wy, wx = bank.weights(self.head, index, self.shape)
        few = self.maps[donor_slice]  # (coil, POINTS, POINTS)
        maps = _spread(few, wy, wx)
        unit = arrays.crop_or_pad(torch.polar(self._signs_like(magnitude), phase), self.shape)
        norm = _norm(maps)
        if self.level is None or self.std == 0 or noise is None:
            image = arrays.crop_or_pad(magnitude, self.shape) * unit / norm
            torch.mul(maps, image, out=self._images)
        else:
            signal, share = kept_signal(magnitude, self.level)
            image = arrays.crop_or_pad(signal, self.shape) * unit / norm
            self._add_noise(noise, few, wy, wx, unit, arrays.crop_or_pad(share, self.shape))
            self._images.addcmul_(maps, image.expand_as(maps))
        found = _norm(self._images)
        return self._to_kspace(), found

    def _add_noise(
        self, white: Tensor, few: Tensor, wy: Tensor, wx: Tensor, unit: Tensor, share: Tensor
    ) -> None:
        """Correlated noise of the coils, less what the magnitude has already.

        n = L z with L L^H the covariance. Along the signal u = exp(i phase) S lies
        Re(u^H n) = Re(b^H z), b = L^H u; this part of z is what the image has.
        """
        n_coils = len(white)
        seen = self.root.mH @ few.flatten(1)  # L^H S, (coil, points)
        inside = _inside()
        # mean over the head of S^H C S: noise along the signal is to have `std`
        gain = self.std / float(seen[:, inside].abs().square().sum(0).mean().sqrt())
        along = _spread(seen.reshape(few.shape), wy, wx)  # b less exp(i phase)
        overlap = torch.mul(along.conj(), white, out=self._results[0]).sum(0)  # (ny, nx)
        size = _norm(along).square()
        part = (unit.conj() * overlap).real * share * (1 - self.remaining) / size
        white.addcmul_(along, (-part * unit).expand_as(along))
        torch.matmul(gain * self.root, white.flatten(1), out=self._images.view(n_coils, -1))

    def _signs_like(self, magnitude: Tensor) -> Tensor:
        """Of the image's pixels: k-space is centred by a checkerboard of signs, without a shift."""
        return arrays.crop_or_pad(self._signs, (magnitude.shape[-2], magnitude.shape[-1]))

    def _to_kspace(self) -> Tensor:
        if not self._even:
            return arrays.fft2c(self._images)
        torch.fft.fft2(self._images, norm="ortho", out=self._results[0])
        return self._results[0].mul_(self._signs * self._global_sign)


def _checkerboard(shape: tuple[int, int]) -> Tensor:
    y, x = (torch.arange(n) for n in shape)
    return 1.0 - 2.0 * ((y[:, None] + x) % 2)


def _inside() -> Tensor:
    along = torch.linspace(-bank.REACH, bank.REACH, bank.POINTS)
    return ((along[:, None].square() + along.square()) <= 1).flatten()


def _spread(few: Tensor, wy: Tensor, wx: Tensor) -> Tensor:
    """Values on the grid of head coordinates, complex (coil, POINTS, POINTS), at pixels."""
    parts = wy @ torch.stack([few.real, few.imag]) @ wx.T  # (2, coil, ny, nx)
    return torch.complex(parts[0], parts[1])


def _norm(images: Tensor) -> Tensor:
    """Root sum of squares over coils, (coil, ny, nx) to (ny, nx); one coil at a time, in cache."""
    power = torch.zeros((*images.shape[1:], 2))
    for one in torch.view_as_real(images):
        power.addcmul_(one, one)
    return power.sum(-1).sqrt().clamp(min=1e-20)
