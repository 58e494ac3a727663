"""Encodings of odd, unequal sizes whose answer is known."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from synthlib import arrays


@dataclasses.dataclass(frozen=True)
class Encoding:
    """Undersampled k-space of an image: (..., coil, ky, kx), its mask (kx,) or (b, kx), maps."""

    kspace: Tensor
    columns: Tensor
    maps: Tensor
    image: Tensor

    def __iter__(self):
        return iter((self.kspace, self.columns, self.maps))


def random_encoding(
    *shape: int, n_coils: int, noise: float = 0.0, dtype: torch.dtype = torch.complex64
) -> Encoding:
    """Random maps of unit root sum of squares and a random image (..., y, x), every 3rd column."""
    draw = torch.Generator().manual_seed(11)
    *batch, ny, nx = shape
    maps = torch.randn(*batch, n_coils, ny, nx, dtype=torch.complex128, generator=draw)
    maps = maps / arrays.rss(maps).unsqueeze(-3)
    image = torch.randn(*batch, ny, nx, dtype=torch.complex128, generator=draw)
    columns = torch.arange(nx) % 3 == 1
    columns[nx // 2] = True
    full = arrays.fft2c(maps * image.unsqueeze(-3))
    full = full + noise * torch.randn(full.shape, dtype=torch.complex128, generator=draw)
    return Encoding((full * columns).to(dtype), columns, maps.to(dtype), image.to(dtype))


@pytest.fixture(scope="session")
def scanned(odd_scan) -> Encoding:
    """The 45x38 head of 4 coils, with the scanner's noise, R about 3; true maps of unit power."""
    maps = odd_scan.truth["maps"][0]
    maps = maps / arrays.rss(maps)
    columns = torch.arange(38) % 3 == 1
    columns[17:22] = True
    coil_images = odd_scan.volume.coil_images(0)
    kspace = arrays.fft2c(coil_images) * columns
    return Encoding(kspace, columns, maps, (maps.conj() * coil_images).sum(-3))
