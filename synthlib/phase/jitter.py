"""pix2pix's jitter: every image of a training enlarged, cut at a random place, and mirrored or not.

The complex image is what is enlarged, never its wrapped phase. A mirror image has
the mirrored phase, of the same sign: fluid still lags behind the tissue around it,
and the field of a mirrored head is the mirrored field (the magnet's field lies in the
mirror's plane). A conjugate image would turn both round. Where a scan's phase leans to
one side, as eddy currents and receivers may have it, a mirrored one leans to the other.

Source: Isola et al., CVPR 2017, appendix: from 256 x 256 to 286 x 286, cut back to
256 x 256, mirrored in half of the cases.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synthlib import arrays, records, runs
from synthlib.records import PhasePair

ENLARGED = 286 / 256  # edge of the enlarged image over that of the image
SAGITTAL = records.ORIENTATIONS["SA"]


def jitter_image(image: Tensor, rng: torch.Generator, *, mirror: bool = True) -> Tensor:
    """A part of an enlarged complex image, on the matrix of the image.

    Args:
        image: complex (y, x).
        rng: draws the place of the part, and whether it is mirrored.
        mirror: whether x may be reversed.

    Returns:
        complex (y, x): 256 / 286 of the field of view along each axis.
    """
    ny, nx = image.shape
    larger = arrays.resample(image, (round(ny * ENLARGED), round(nx * ENLARGED)))
    top, left = (
        int(torch.randint(large - small + 1, (), generator=rng))
        for large, small in zip(larger.shape, image.shape, strict=True)
    )
    part = larger[top : top + ny, left : left + nx]
    mirrored = bool(torch.rand((), generator=rng) < 0.5)  # drawn always: same places either way
    return part.flip(-1) if mirror and mirrored else part


def jitter_pair(pair: PhasePair, index: int, *, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """Magnitude and phase of a slice for one epoch.

    Sagittal slices are not mirrored: a head has a front and a back.

    Args:
        pair: the slice; index: its number in the training; seed, epoch: fix the draw.

    Returns:
        (magnitude, phase), float32 (y, x) each; radians in (-pi, pi].
    """
    mirror = records.orientation_of(pair.contrast, "unknown") != SAGITTAL
    rng = runs.rng(seed, "jitter", epoch, index)
    image = jitter_image(pair.image, rng, mirror=mirror)
    return image.abs(), arrays.wrap(image.angle())
