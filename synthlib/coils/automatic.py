"""Where the object ends: the crop of eigenvalues that suits the data."""

from __future__ import annotations

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.coils.settings import AUTO, EspiritSettings

CROP_LIMITS = (0.5, 0.95)
BRIGHT = 0.25  # of the brightest tissue: surely object, even at low resolution
LOWEST = 0.01  # quantile of the eigenvalues there that the crop is measured by
MARGIN = 4.0  # times as far below 1 as that quantile


def lowest_crop(settings: EspiritSettings) -> float:
    """The least that :func:`crop` can give."""
    return CROP_LIMITS[0] if settings.crop == AUTO else float(settings.crop)


def crop(eigenvalues: Tensor, coil_images: Tensor, settings: EspiritSettings) -> Tensor:
    """The crop of each slice: as set, or well below the eigenvalues of its bright tissue.

    Noise and few samples push the eigenvalues of an object below 1, in some
    scans below a crop that suits others (SigPy's issue 73). "auto" looks at the
    pixels that are surely object and leaves them room.

    Args:
        eigenvalues: (slice, y, x).
        coil_images: complex (slice, coil, y, x), at low resolution.

    Returns:
        float32 (slice,).
    """
    if settings.crop != AUTO:
        return torch.full((len(eigenvalues),), float(settings.crop), device=eigenvalues.device)
    found = []
    for values, magnitude in zip(eigenvalues, arrays.rss(coil_images), strict=True):
        object_values = values[magnitude > BRIGHT * magnitude.quantile(0.98)]
        found.append(1 - MARGIN * (1 - object_values.quantile(LOWEST)))
    return torch.stack(found).clamp(*CROP_LIMITS)
