"""Raw k-space: which samples a scan measures, and the noise of its receivers."""

from __future__ import annotations

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.records import Slices
from synthlib.scanner.settings import ScanSettings


def acquire(
    coil_images: Slices,
    settings: ScanSettings,
    noise_sd: float,
    covariance: Tensor,
    rng: torch.Generator,
    gains: Tensor | None = None,
) -> Tensor:
    """K-space of coil images on an oversampled readout, with correlated receiver noise.

    Args:
        coil_images: complex64 (slice, coil, y, x); air beyond the field of view.
        settings: oversampling, and which part of k-space is measured; the rest is zero.
        noise_sd: s.d. of the real and of the imaginary part of the noise, its
            variance averaged over the coils, the same in k-space and in the image.
        covariance: complex64 (coil, coil), Hermitian, mean of its diagonal 1.
        rng: CPU generator.
        gains: complex (coil, x) of the receivers in each column of kx, signal and noise
            alike; None is 1.

    Returns:
        complex64 (slice, coil, oversampling * y, x), centred orthonormal FFT.
    """
    n_slices, n_coils, ny, nx = coil_images.shape
    shape = (settings.oversampling * ny, nx)
    device = covariance.device
    mixing = torch.linalg.cholesky(covariance.to(torch.complex128)).to(torch.complex64)
    measured = sampled(shape, settings).to(device)
    whole = bool(measured.all())
    kspace = torch.empty((n_slices, n_coils, *shape), dtype=torch.complex64, device=device)
    for index in range(n_slices):  # one at a time: large matrices stay small in memory
        kspace[index] = arrays.fft2c(arrays.crop_or_pad_image(coil_images[index], shape))
        if noise_sd > 0:
            white = torch.randn((n_coils, *shape, 2), generator=rng)
            noise = torch.view_as_complex(white).to(device).flatten(1)
            kspace[index] += noise_sd * (mixing @ noise).unflatten(1, shape)
        if gains is not None:
            kspace[index] *= gains[:, None].to(device)
        if not whole:
            kspace[index] *= measured
    return kspace


def sampled(shape: tuple[int, int], settings: ScanSettings) -> Tensor:
    """Bool (ky, kx): which samples the settings' scan measures."""
    ky, kx = ((torch.arange(n) - n // 2) / (n / 2) for n in shape)
    measured = torch.ones(shape, dtype=torch.bool)
    measured[:, : settings.acquired[0]] = False
    if settings.elliptical:
        measured &= ky[:, None] ** 2 + kx**2 <= 1
    return measured
