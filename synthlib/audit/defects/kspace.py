"""Defects of k-space; each takes and gives complex (..., ky, kx), zero frequency at n // 2."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synthlib import arrays


def waves(n: int) -> Tensor:
    """Frequency of every sample along an axis of n, -1 to 1 at the ends of k-space: (n,)."""
    return (torch.arange(n) - n // 2) / (n / 2)


def radius(shape: tuple[int, int]) -> Tensor:
    """Distance from the centre, 1 at the ends of both axes: (ky, kx)."""
    return torch.hypot(waves(shape[0])[:, None], waves(shape[1]))


def zero_fill(kspace: Tensor, factors: tuple[float, float]) -> Tensor:
    """Interpolate by zeros around k-space, by factors along (y, x), each >= 1."""
    ny, nx = kspace.shape[-2:]
    return arrays.crop_or_pad(kspace, (round(factors[0] * ny), round(factors[1] * nx)))


def elliptical(kspace: Tensor) -> Tensor:
    """Leave the corners of k-space out."""
    return kspace * (radius(_shape(kspace)) <= 1)


def fermi(kspace: Tensor, edge: float = 0.9, width: float = 0.06) -> Tensor:
    """Fermi filter 1 / (1 + exp((r - edge) / width)) of the distance r from the centre."""
    return kspace * torch.sigmoid((edge - radius(_shape(kspace))) / width)


def hamming(kspace: Tensor, strength: float = 1.0) -> Tensor:
    """Hamming window along both axes, weighed against none: strength from 0 to 1."""
    for axis in (-2, -1):
        window = 1 - strength * 0.46 * (1 - torch.cos(math.pi * waves(kspace.shape[axis])))
        kspace = kspace * (window[:, None] if axis == -2 else window)
    return kspace


def tukey(kspace: Tensor, share: float = 0.5) -> Tensor:
    """Tukey window along both axes: `share` of each axis is tapered to zero by a cosine."""
    for axis in (-2, -1):
        away = (waves(kspace.shape[axis]).abs() - (1 - share)).clamp(min=0) / max(share, 1e-6)
        window = 0.5 * (1 + torch.cos(math.pi * away.clamp(max=1)))
        kspace = kspace * (window[:, None] if axis == -2 else window)
    return kspace


def partial_fourier(kspace: Tensor, share: float, axis: int = -1) -> Tensor:
    """Measure only a share (0.5 to 1) of an axis; the samples at its beginning are zero."""
    n = kspace.shape[axis]
    measured = torch.arange(n) >= n - round(share * n)
    return kspace * (measured[:, None] if axis == -2 else measured)


def homodyne(kspace: Tensor, share: float) -> Tensor:
    """Partial Fourier along x, its missing part filled in by conjugate symmetry.

    Args:
        kspace: (..., coil, ky, kx) of which the first columns are left out.
        share: that is measured, above 0.5.

    Returns:
        K-space of real images, one for each coil, whose magnitudes are the
        coils'.

    Source: Noll, Nishimura, Macovski, IEEE TMI 10:154 (1991).
    """
    n = kspace.shape[-1]
    measured = partial_fourier(kspace, share)
    overlap = round(share * n) - n // 2  # columns beyond the centre that are measured twice
    place = torch.arange(n) - n // 2
    middle = (place.abs() < overlap).float()
    ramp = (1 + place / max(overlap, 1)).clamp(0, 2)  # 0 where missing, 2 opposite to it
    smooth = torch.cos(math.pi / 2 * (place / max(overlap, 1)).clamp(-1, 1)).square() * middle
    phase = arrays.ifft2c(measured * smooth).angle()
    image = arrays.ifft2c(measured * ramp)
    real = (image * torch.polar(torch.ones_like(phase), -phase)).real
    return arrays.fft2c(real.to(kspace.dtype))


def _shape(kspace: Tensor) -> tuple[int, int]:
    return int(kspace.shape[-2]), int(kspace.shape[-1])
