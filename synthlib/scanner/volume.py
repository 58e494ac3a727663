"""Numbers on a grid in space, read at any position; draws that are the same on every device."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Volume:
    """Values on an isotropic grid.

    Attributes:
        values: float32 (channel, z, y, x).
        first_mm: (x, y, z) of voxel [0, 0, 0].
        spacing_mm: edge of a voxel.
    """

    values: Tensor
    first_mm: tuple[float, float, float]
    spacing_mm: float

    def at(self, points_mm: Tensor) -> Tensor:
        """Linear interpolation at positions (..., 3); beyond the grid its border goes on.

        Returns:
            float32 (channel, ...).
        """
        size = torch.tensor(self.values.shape[:0:-1], device=points_mm.device)  # (x, y, z)
        first = torch.tensor(self.first_mm, device=points_mm.device)
        grid = (points_mm - first) * (2 / self.spacing_mm / (size - 1)) - 1
        found = torch.nn.functional.grid_sample(
            self.values[None],
            grid.reshape(1, 1, 1, -1, 3),
            padding_mode="border",
            align_corners=True,
        )
        return found.reshape(len(self.values), *points_mm.shape[:-1])

    def on_lattice(self, points_mm: Tensor) -> Tensor:
        """As :meth:`at`, many times as fast, at places (a, b, c, 3) on axes along x, y and z.

        Args:
            points_mm: each of the three coordinates changes along one axis alone.

        Returns:
            float32 (channel, a, b, c).
        """
        free = [0, 1, 2]
        varying: dict[int, int] = {}  # coordinate to the axis along which it changes
        for axis in range(3):
            change = points_mm.select(axis, -1)[0, 0] - points_mm.select(axis, 0)[0, 0]
            if float(change.abs().max()) > 0:
                varying[int(change.abs().argmax())] = axis
                free.remove(axis)
        for coordinate in range(3):
            if coordinate not in varying:
                varying[coordinate] = free.pop(0)
        result = self.values
        for coordinate, axis in sorted(varying.items(), reverse=True):  # x, the longest rows, last
            others = [0 if other != axis else slice(None) for other in range(3)]
            places = points_mm[(*others, coordinate)]
            dim = 3 - coordinate
            last = self.values.shape[dim] - 1
            where = ((places - self.first_mm[coordinate]) / self.spacing_mm).clamp(0, last)
            below = where.floor().clamp(max=last - 1)
            share = (where - below).reshape(-1, *[1] * coordinate)
            low, high = (result.index_select(dim, below.long() + step) for step in (0, 1))
            result = low + share * (high - low)
        order = sorted(range(3), key=lambda coordinate: varying[coordinate])
        return result.permute(0, *(3 - coordinate for coordinate in order)).contiguous()

    def to(self, device: torch.device | str) -> Volume:
        return Volume(self.values.to(device), self.first_mm, self.spacing_mm)


def grid_points(
    low_mm: tuple[float, float, float],
    high_mm: tuple[float, float, float],
    spacing_mm: float,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Positions (z, y, x, 3) of an isotropic grid from low to at least high, both (x, y, z)."""
    axes = []
    for low, high in zip(low_mm, high_mm, strict=True):
        n = int((high - low) / spacing_mm + 0.999) + 1
        axes.append(low + spacing_mm * torch.arange(n, device=device, dtype=torch.float32))
    z, y, x = torch.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def uniform(rng: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Uniform draws, on the CPU so that every device gets the same."""
    return low + (high - low) * torch.rand(shape, generator=rng)


def normal(rng: torch.Generator, *shape: int) -> Tensor:
    """Standard normal draws cut at two s.d.: no subject is a monster. On the CPU."""
    return torch.randn(shape, generator=rng).clamp(-2, 2)


def finer(volume: Volume, times: int = 2) -> Volume:
    """The same periodic field on a grid of so many times more points along each axis.

    Between points that are a quarter of a wavelength apart linear interpolation kinks, and
    kinks along every line of a grid show in the spectrum of an image; zeros around the
    field's own spectrum interpolate it exactly.
    """
    shape = volume.values.shape[1:]
    fine = [times * n for n in shape]
    spectrum = torch.fft.rfftn(volume.values, dim=(1, 2, 3))
    padded = spectrum.new_zeros((len(spectrum), fine[0], fine[1], fine[2] // 2 + 1))
    parts = [(slice(0, (n + 1) // 2), slice(-(n // 2), None)) for n in shape[:2]]
    for z, y in itertools.product(*parts):  # positive and negative frequencies
        padded[:, z, y, : spectrum.shape[3]] = spectrum[:, z, y]
    values = torch.fft.irfftn(padded, s=fine, dim=(1, 2, 3)) * times**3
    return Volume(values, volume.first_mm, volume.spacing_mm / times)


def band_noise(
    rng: torch.Generator,
    low_mm: tuple[float, float, float],
    high_mm: tuple[float, float, float],
    spacing_mm: float,
    wavelength_mm: float,
    width: float,
) -> Tensor:
    """A random field (z, y, x) of unit variance and of wavelengths around one.

    Args:
        rng: CPU generator.
        low_mm, high_mm, spacing_mm: as :func:`grid_points` takes them.
        width: of the band of wave numbers, relative to its centre.
    """
    shape = grid_points(low_mm, high_mm, spacing_mm).shape[:3]
    noise = torch.randn(shape, generator=rng)
    k = [torch.fft.fftfreq(n, spacing_mm) for n in shape[:2]]
    k.append(torch.fft.rfftfreq(shape[2], spacing_mm))
    wave_number = torch.sqrt(k[0][:, None, None] ** 2 + k[1][:, None] ** 2 + k[2] ** 2)  # 1/mm
    band = torch.exp(-(((wave_number * wavelength_mm - 1) / width) ** 2))
    field = torch.fft.irfftn(torch.fft.rfftn(noise) * band, s=shape)
    return field / field.std()
