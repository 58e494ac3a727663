"""A slice as a donor's coils receive it, with their noise: made to be fast.

What is written for one pixel in synthesis.model is done here by one pass of machine
code over the slice (synthesis.kernel), and without shifts around the FFT.
"""

from __future__ import annotations

import math
import threading

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays, bank
from synthlib.synthesis import kernel
from synthlib.synthesis.coil_noise import NoiseLevel, kept_signal


class Workspace:
    """Arrays that are used again for every slice: making them anew would take half of the time."""

    def __init__(self, n_coils: int, shape: tuple[int, int]) -> None:
        self.images = torch.empty((n_coils, *shape), dtype=torch.complex64)
        self.kspace = torch.empty((n_coils, *shape), dtype=torch.complex64)


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
        self.coils, self.std = coils, std
        self.remaining = 0.0  # share of the noise along the signal that the image lacks
        if level is not None and std > 0:
            self.remaining = math.sqrt(max(0.0, 1 - (level.std / std) ** 2))
        self.n_coils = coils.maps.shape[1]
        self._silent = self._padded(torch.zeros((self.n_coils, self.n_coils)) + 0j)
        self._even = all(n % 2 == 0 for n in shape)
        self._signs = _checkerboard(self.shape) * (-1) ** (sum(self.shape) // 2)
        self._mixings: dict[int, np.ndarray] = {}  # by slice of the donor
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
        space, rss = self._space(), torch.empty(self.shape)
        mixing, numbers, share = self._silent, None, torch.zeros_like(magnitude)
        if self.level is not None and self.std > 0:
            mixing, numbers = self._mixing(donor_slice), np.random.SFC64(seed)
            magnitude, share = kept_signal(magnitude, self.level)
            share = (1 - self.remaining) * share
        seen = kernel.Object(
            *(
                arrays.crop_or_pad_image(one, self.shape).contiguous().numpy(force=True)
                for one in (magnitude, share, phase.cos(), phase.sin())
            )
        )
        # Swapped halves bring the centre first, and a checkerboard of signs brings zero frequency
        # to the centre of k-space: even sizes need no shift.
        shift = (self.shape[0] // 2, self.shape[1] // 2) if self._even else (0, 0)
        if self._even:
            seen = seen._replace(cos=seen.cos * self._signs, sin=seen.sin * self._signs)
        images = torch.view_as_real(space.images).numpy()
        along_y, along_x = bank.taps(self.head, index, self.shape)
        few = self.coils.splines[donor_slice].reshape(bank.POINTS, -1)
        state = numbers.ctypes.state_address if numbers else 0
        kernel.receive(few, along_y, along_x, mixing, seen, state, shift, images, rss.numpy())
        if not self._even:
            return arrays.fft2c(space.images), rss
        torch.fft.fft2(space.images, norm="ortho", out=space.kspace)
        return space.kspace, rss

    def covariance(self, donor_slice: int) -> Tensor:
        """Covariance of the receivers' noise in k-space, as :meth:`slice` adds it.

        Returns:
            complex64 (coil, coil), E[n n^H]; zero where no noise is added.
        """
        if self.level is None or not self.std > 0:
            return torch.zeros_like(self.coils.root)
        root = self._gain(donor_slice) * self.coils.root
        return 2 * root @ root.mH  # real and imaginary part each have a variance of 1

    def _gain(self, donor_slice: int) -> float:
        """What scales the coils' noise such that along the signal it is `std`."""
        few = self.coils.maps[donor_slice].flatten(1)[:, _inside()]  # (coil, points of the head)
        seen = self.coils.root.mH @ few  # L^H S
        # mean over the head of S^H C S
        return self.std / float(torch.view_as_real(seen).square().sum((0, 2)).mean().sqrt())

    def _space(self) -> Workspace:
        """This thread's own."""
        if not hasattr(self._threads, "space"):
            self._threads.space = Workspace(self.n_coils, self.shape)
        return self._threads.space

    def _mixing(self, donor_slice: int) -> np.ndarray:
        """What makes white noise that of the coils, as kernel.receive takes it."""
        if donor_slice in self._mixings:
            return self._mixings[donor_slice]
        mixing = self._padded(self._gain(donor_slice) * self.coils.root)
        self._mixings[donor_slice] = mixing
        return mixing

    def _padded(self, mixing: Tensor) -> np.ndarray:
        """Complex (coil, coil) as kernel.receive takes it."""
        more = -self.n_coils % kernel.UNROLLED
        parts = torch.stack([mixing.real, mixing.imag])
        return torch.nn.functional.pad(parts, (0, more)).numpy(force=True)


def _checkerboard(shape: tuple[int, int]) -> np.ndarray:
    y, x = (np.arange(n) for n in shape)
    return (1 - 2 * ((y[:, None] + x) % 2)).astype(np.float32)


def _inside() -> Tensor:
    along = torch.linspace(-bank.REACH, bank.REACH, bank.POINTS)
    return ((along[:, None].square() + along.square()) <= 1).flatten()
