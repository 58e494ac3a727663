"""The coarse grid of the flow's first stage, and what both stages see of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthlib import arrays
from synthlib.phase.smooth import UNIT_MM

MM = 2.5  # pixel of the coarse grid
BRIGHT = 0.99  # quantile of the pixels that are not dark, which counts as 1


@dataclass(frozen=True)
class View:
    """How an image is brought to the unit and the place that the networks know.

    Attributes:
        bright: what counts as 1; middle_mm: (y, x) of the head's centre from the image's corner.
    """

    bright: float
    middle_mm: tuple[float, float]


def view(image: Tensor, spacing_mm: tuple[float, float]) -> View:
    """Of a magnitude (y, x); an empty one is seen as it is."""
    lit = image > arrays.dark_level(image)
    if not bool(lit.any()):
        ny, nx = image.shape
        return View(1.0, (ny / 2 * spacing_mm[0], nx / 2 * spacing_mm[1]))
    rows, columns = torch.nonzero(lit, as_tuple=True)
    middle = tuple(
        float(place.double().mean() + 0.5) * mm
        for place, mm in zip((rows, columns), spacing_mm, strict=True)
    )
    bright = max(float(image[lit].float().quantile(BRIGHT)), 1e-20)
    return View(bright, (middle[0], middle[1]))


def coarse_shape(shape: tuple[int, int], spacing_mm: tuple[float, float]) -> tuple[int, int]:
    """(y, x) of the coarse grid over the same field of view."""
    ny, nx = (max(1, round(n * mm / MM)) for n, mm in zip(shape, spacing_mm, strict=True))
    return ny, nx


def resize(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Real (image, channel, y, x) on another grid over the same field of view, antialiased."""
    if images.shape[-2:] == shape:
        return images
    return functional.interpolate(
        images, shape, mode="bilinear", align_corners=False, antialias=True
    )


def places(
    shape: tuple[int, int], spacing_mm: tuple[float, float], middle_mm: tuple[float, float]
) -> Tensor:
    """(2, y, x): where each pixel lies from the head's centre, in UNIT_MM."""
    y, x = (
        ((torch.arange(n) + 0.5) * mm - middle) / UNIT_MM
        for n, mm, middle in zip(shape, spacing_mm, middle_mm, strict=True)
    )
    return torch.stack(torch.broadcast_tensors(y[:, None], x[None, :]))


def log_mm(spacing_mm: tuple[float, float]) -> float:
    """log2 of a pixel's edge in mm."""
    return 0.5 * math.log2(spacing_mm[0] * spacing_mm[1])


def unit(pairs: Tensor) -> Tensor:
    """(image, 2, y, x) on the unit circle; (1, 0) where there is nothing."""
    length = pairs.norm(dim=1, keepdim=True)
    none = pairs.new_tensor([1.0, 0.0])[:, None, None]
    return torch.where(length > 1e-6, pairs / length.clamp(min=1e-6), none)
