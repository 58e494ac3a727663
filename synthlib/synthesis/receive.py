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

STRIP = 8  # rows: the random bits of their noise stay in the cache
SILENCE = np.empty(0, np.uint32)


def random_words(numbers: np.random.BitGenerator, n: int) -> np.ndarray:
    """uint32 (n,), n even, all bits random; the next ones at every call."""
    return numbers.random_raw(n // 2).view(np.uint32)


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
                arrays.crop_or_pad(one, self.shape).contiguous().numpy(force=True)
                for one in (magnitude, share, phase.cos(), phase.sin())
            )
        )
        ny, nx = self.shape
        # Swapped halves bring the centre first, and a checkerboard of signs brings zero frequency
        # to the centre of k-space: even sizes need no shift.
        shift = (ny // 2, nx // 2) if self._even else (0, 0)
        if self._even:
            signs = _checkerboard(self.shape) * (-1) ** (sum(self.shape) // 2)
            seen = seen._replace(cos=seen.cos * signs, sin=seen.sin * signs)
        images = torch.view_as_real(space.images).numpy()
        along_y, along_x = bank.taps(self.head, index, self.shape)
        few = self.coils.splines[donor_slice].reshape(bank.POINTS, -1)
        for first in range(0, ny, STRIP):
            rows = first, min(first + STRIP, ny)
            n_words = 2 * self.n_coils * nx * (rows[1] - rows[0])
            words = SILENCE if numbers is None else random_words(numbers, n_words)
            kernel.receive(
                few, along_y, along_x, mixing, seen, words, rows, shift, images, rss.numpy()
            )
        if not self._even:
            return arrays.fft2c(space.images), rss
        torch.fft.fft2(space.images, norm="ortho", out=space.kspace)
        return space.kspace, rss

    def _space(self) -> Workspace:
        """This thread's own."""
        if not hasattr(self._threads, "space"):
            self._threads.space = Workspace(self.n_coils, self.shape)
        return self._threads.space

    def _mixing(self, donor_slice: int) -> np.ndarray:
        """What makes white noise that of the coils, as kernel.receive takes it."""
        few = self.coils.maps[donor_slice]  # (coil, POINTS, POINTS)
        seen = self.coils.root.mH @ few.flatten(1)  # L^H S, (coil, points)
        # mean over the head of S^H C S: noise along the signal is to have `std`
        gain = self.std / float(seen[:, _inside()].abs().square().sum(0).mean().sqrt())
        return self._padded(gain * self.coils.root)

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
