"""Defects of the grid; each takes and gives magnitudes, real (slice, y, x), >= 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


def zoom(magnitude: Tensor, factor: float, order: int = 1) -> Tensor:
    """Interpolate every slice onto a grid finer by `factor`; the field of view stays.

    Args:
        order: 1 linear, 3 cubic spline.
    """
    ny, nx = magnitude.shape[-2:]
    places = [
        (np.arange(round(factor * n)) - round(factor * n) // 2) / factor + n // 2 for n in (ny, nx)
    ]
    return _sample(magnitude, np.meshgrid(*places, indexing="ij"), order)


def rotate(magnitude: Tensor, degrees: float, order: int = 1) -> Tensor:
    """Turn every slice about its centre, on its own grid."""
    ny, nx = magnitude.shape[-2:]
    y, x = np.meshgrid(np.arange(ny) - ny // 2, np.arange(nx) - nx // 2, indexing="ij")
    turn = np.deg2rad(degrees)
    places = [
        np.cos(turn) * y - np.sin(turn) * x + ny // 2,
        np.sin(turn) * y + np.cos(turn) * x + nx // 2,
    ]
    return _sample(magnitude, places, order)


def thick_slices(magnitude: Tensor, factor: int) -> Tensor:
    """Interpolate slices linearly from slices `factor` times as thick: (slice, y, x).

    Thick slices are means of `factor` neighbours; as many thin ones as before
    are read between their centres.
    """
    n = len(magnitude) // factor
    thick = magnitude[: n * factor].unflatten(0, (n, factor)).mean(1)
    place = ((torch.arange(n * factor) + 0.5) / factor - 0.5).clamp(0, n - 1)
    below = place.floor().long().clamp(max=max(n - 2, 0))
    weight = (place - below)[:, None, None]
    above = (below + 1).clamp(max=n - 1)
    return thick[below] * (1 - weight) + thick[above] * weight


def _sample(magnitude: Tensor, places: Sequence[np.ndarray], order: int) -> Tensor:
    """Every slice at places (y, x), zero beyond the picture, never below zero."""
    read = [
        ndimage.map_coordinates(one, places, order=order, mode="constant")
        for one in magnitude.numpy()
    ]
    return torch.from_numpy(np.stack(read)).clamp(min=0).to(magnitude.dtype)
