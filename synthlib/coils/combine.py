"""From coil images to one image and back."""

from __future__ import annotations

from torch import Tensor

from synthlib import arrays


def combine(coil_images: Tensor, maps: Tensor) -> Tensor:
    """The image that explains all coils best: sum_c conj(S_c) m_c / sum_c |S_c|^2.

    Args:
        coil_images: complex (..., coil, y, x).
        maps: complex (..., coil, y, x); of several sets (set, coil, y, x), which
            are orthogonal in every pixel, each gives an image of its own.

    Returns:
        complex (..., y, x), zero where the maps are zero; its phase is in the maps' gauge.

    Raises:
        ValueError: grids or coil counts differ.

    Source: Roemer et al., MRM 16:192 (1990), with white noise.
    """
    arrays.require_same_grid(coil_images=coil_images, maps=maps)
    if coil_images.shape[-3] != maps.shape[-3]:
        raise ValueError(
            f"{coil_images.shape[-3]} coil images but {maps.shape[-3]} coil maps; "
            "expected maps estimated from the same coils"
        )
    power = maps.abs().square().sum(-3)
    return (maps.conj() * coil_images).sum(-3) / power.clamp(min=1e-12)


def expand(image: Tensor, maps: Tensor) -> Tensor:
    """What each coil sees of an image: complex (..., y, x) to (..., coil, y, x).

    Images of several sets (set, y, x) give (set, coil, y, x): their sum is what is seen.
    """
    arrays.require_same_grid(image=image, maps=maps)
    return image[..., None, :, :] * maps
