"""Where the head is in an image: the coordinates in which coil maps travel between heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from synthlib import arrays

COARSE = 64  # cells along the longer axis: an outline needs no more
LEAST_SHARE = 0.02  # of the field of view that a head fills at least


@dataclass(frozen=True)
class Outline:
    """The head in every slice as an ellipse along the image's axes.

    Attributes:
        centre: float32 (slice, 2), (y, x) in pixels, 0 the centre of the first.
        half: float32 (slice, 2), half axes (y, x) in pixels.
        area: float32 (slice,), filled head in pixels; 0 where no head was found
            (its ellipse is then that of the nearest slice with one).
        mask: bool (slice, y, x), the head with everything inside it filled.
    """

    centre: Tensor
    half: Tensor
    area: Tensor
    mask: Tensor

    @property
    def widest(self) -> int:
        """The slice of the largest head: a landmark that stacks of one orientation share."""
        return int(self.area.argmax())


def outline(magnitude: Tensor) -> Outline:
    """Find the head in every slice.

    What is brighter than the dark level, its largest connected part, holes
    filled; the ellipse has the part's centre of mass and second moments.

    Args:
        magnitude: float (slice, y, x), >= 0.

    Returns:
        Outline; without a head in any slice its ellipses fill the field of view.
    """
    n_slices, ny, nx = magnitude.shape
    cell = max(1, -(-max(ny, nx) // COARSE))  # pixels along the edge of a cell
    coarse = torch.nn.functional.avg_pool2d(
        magnitude[:, None], cell, ceil_mode=True, count_include_pad=False
    )[:, 0]
    bright = (coarse > arrays.dark_level(coarse)).numpy(force=True)
    filled = np.stack([largest_filled(one) for one in bright])
    area = filled.sum((1, 2))
    share = LEAST_SHARE * filled[0].size
    good = np.flatnonzero(area >= share)
    centre = np.tile(((np.array([ny, nx]) - 1) / 2).astype(np.float32), (n_slices, 1))
    half = np.tile((np.array([ny, nx]) / 2).astype(np.float32), (n_slices, 1))
    for index in good:
        places = np.argwhere(filled[index])
        centre[index] = (places.mean(0) + 0.5) * cell - 0.5
        # the second moment of an ellipse is a quarter of its half axis squared
        half[index] = 2 * np.sqrt(places.var(0) + 1 / 12) * cell
    for index in np.flatnonzero(area < share):
        if good.size:
            nearest = good[np.abs(good - index).argmin()]
            centre[index], half[index] = centre[nearest], half[nearest]
    mask = torch.from_numpy(filled).repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    return Outline(
        centre=torch.from_numpy(centre),
        half=torch.from_numpy(half),
        area=torch.from_numpy(np.where(area >= share, area, 0).astype(np.float32)) * cell**2,
        mask=mask[:, :ny, :nx].contiguous(),
    )


def largest_filled(bright: np.ndarray) -> np.ndarray:
    """The largest connected part of a bool (y, x), holes filled."""
    closed = ndimage.binary_closing(np.pad(bright, 1), iterations=1)[1:-1, 1:-1] | bright
    parts, n_parts = ndimage.label(closed)
    if n_parts == 0:
        return closed
    largest = 1 + np.bincount(parts.ravel())[1:].argmax()
    return ndimage.binary_fill_holes(parts == largest)
