"""One coil that stands for many, as fastMRI emulates single-coil data (ESC).

The linear combination of the coils, with one complex weight each, whose image comes
closest to the root sum of squares in the least-squares sense: minimise over w
|| sum_c w_c m_c - rss ||. That is a complex fit to a real image: phase is fitted, too, and where
the coils cannot turn all of it to zero, parts of the image are dark. The weights
are fitted to each slice by itself.
Source: Tygert and Zbontar, CAMCoS 15:115 (2020); Zbontar et al., arXiv:1811.08839, section 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synthlib import arrays


def emulated_weights(coil_images: Tensor) -> Tensor:
    """Weights of the coils of one slice.

    By the normal equations in double precision, their eigenvalues below rounding left
    out, so that a coil without signal, or two that are alike, do no harm.

    Args:
        coil_images: complex (coil, y, x), on the grid of the image that is to be reached.

    Returns:
        complex64 (coil,); zeros for a slice without signal.

    Raises:
        ValueError: the images hold NaN or Inf.
    """
    arrays.require_finite("coil images", coil_images)
    images = coil_images.flatten(1).to(torch.complex128)  # (coil, pixel)
    target = arrays.rss(coil_images).flatten().to(torch.complex128)
    strength, vectors = torch.linalg.eigh(images.conj() @ images.mT)
    floor = len(strength) * torch.finfo(strength.dtype).eps * strength[-1]
    inverse = torch.where(strength > floor, 1 / strength, 0.0)
    projected = vectors.mH @ (images.conj() @ target)
    return (vectors @ (inverse * projected)).to(torch.complex64)


def emulated_kspace(kspace: Tensor, recon_shape: tuple[int, int]) -> Tensor:
    """K-space of the one coil, complex (1, ky, kx).

    Args:
        kspace: complex (coil, ky, kx), fully sampled.
        recon_shape: (ny, nx) of the image that is to be reached, cut out of the middle.

    Raises:
        ValueError: as :func:`emulated_weights`.
    """
    images = arrays.crop_or_pad_image(arrays.ifft2c(kspace), recon_shape)
    weights = emulated_weights(images)
    return torch.einsum("c,cyx->yx", weights, kspace.to(torch.complex64))[None]
