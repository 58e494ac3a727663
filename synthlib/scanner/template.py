"""The average head: MNI152 tissue maps as nilearn packages them, held once in memory.

Of the 152 heads' mean only the large sulci are fluid; the others are left as
valleys between blades of white matter. Where they run is found from the blades.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from synthlib import tasks
from synthlib.scanner.volume import Volume

CLOSING_MM = 10  # bridges the sulci: the skull does not follow them
OUTER_CLOSING_MM, OUTER_SMOOTH_MM = 30, 6  # of the shape that skull and scalp follow
MARGIN_MM = 50  # of the distances around the packaged box
DEPTH_MM = 2  # voxel of the distances
WHITE = 0.5  # of the population: a blade of white matter
SOME_FLUID = 0.06  # of the population, where a sulcus is and no deep grey matter
APART_MM = 2.5  # between the nearest white of neighbouring voxels: two banks of a sulcus
FACING = 0.3  # largest cosine between the directions to the two banks
SMALLEST_SHEET = 30  # voxels
# On the midline the hemispheres part above this line, (y, z) in mm: the skull's base, and behind it
# the tentorium's crest with the straight sinus; and above the callosum.
TENTORIUM_MM = ((-94.0, -40.0, -30.0, 10.0, 40.0), (-8.0, 6.0, 20.0, 20.0, -18.0))
CALLOSUM = 0.35  # of the population: white on the midline
CALLOSUM_LOWEST_MM = -5.0
FURTHEST_MM = 12.0  # from a sulcus: more is not kept apart


@lru_cache(maxsize=2)
def prepare(device: str) -> None:
    """Make all maps of the template, if that is still to be done.

    Each of them takes several times its memory for a moment: best before there is anything else.
    """
    for maps in (tissue_maps, depth_map, sulcus_map):
        maps(device)
    tasks.give_back_memory()


@lru_cache(maxsize=2)
def tissue_maps(device: str) -> Volume:
    """Grey and white matter fractions (2, z, y, x) of the population, 1 mm, in MNI space."""
    from nilearn import datasets  # slow to import, needed once

    maps = [
        load(resolution=1)
        for load in (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    ]
    values = np.stack([image.get_fdata(dtype=np.float32) for image in maps])
    return _volume(values, maps[0].affine[:3, 3], 1.0).to(device)


@lru_cache(maxsize=2)
def depth_map(device: str = "cpu") -> Volume:
    """Signed distances (2, z, y, x) in mm outside the brain, negative inside, 2 mm voxels.

    Channel 0 is the brain's hull, which bridges sulci; channel 1 is smoother, as the
    outside of the head is. Below the packaged box the brain stem goes on as the spinal cord.
    """
    from nilearn import datasets

    mask = datasets.load_mni152_brain_mask(resolution=DEPTH_MM)
    margin = MARGIN_MM // DEPTH_MM
    brain = np.pad(mask.get_fdata() > 0.5, margin)
    brain[:, :, :margin] = brain[:, :, margin : margin + 1]
    hull = ndimage.binary_fill_holes(_closed(brain, CLOSING_MM / DEPTH_MM))
    outer = _closed(hull, OUTER_CLOSING_MM / DEPTH_MM)
    depth = [
        ndimage.gaussian_filter(_signed(body) * DEPTH_MM, sigma)
        for body, sigma in ((hull, 1.0), (outer, OUTER_SMOOTH_MM / DEPTH_MM))
    ]
    first = mask.affine[:3, 3] - margin * DEPTH_MM
    return _volume(np.stack(depth), first, float(DEPTH_MM)).to(device)


def _closed(body: np.ndarray, radius: float) -> np.ndarray:
    """A body after closing with a ball of so many voxels."""
    grown = ndimage.distance_transform_edt(~body) <= radius
    return ndimage.distance_transform_edt(grown) > radius


def _signed(body: np.ndarray) -> np.ndarray:
    """Voxels outside its surface, negative inside."""
    outside = ndimage.distance_transform_edt(~body) - ndimage.distance_transform_edt(body)
    return outside.astype(np.float32)


@lru_cache(maxsize=2)
def sulcus_map(device: str) -> Volume:
    """Distance (1, z, y, x) in mm to the middle of the nearest sulcus, at most 12, 1 mm voxels.

    That is the medial axis of what is not white, where some heads have fluid. MNI152 is
    symmetric; one half is worked on.
    """
    maps = tissue_maps("cpu")
    grey, white = (values.numpy() for values in maps.values)
    half = grey.shape[2] // 2  # the midline
    grey, white = grey[..., half - 2 :], white[..., half - 2 :]
    blades, _ = ndimage.label(white > WHITE)
    sheet = medial_axis(blades == np.bincount(blades.ravel())[1:].argmax() + 1)
    sheet &= 1 - grey - white > SOME_FLUID
    pieces, _ = ndimage.label(sheet, np.ones((3, 3, 3)))
    sheet &= np.bincount(pieces.ravel())[pieces] > SMALLEST_SHEET
    sheet[..., 2] |= _midline(white[..., 2], maps.first_mm)
    distance = ndimage.distance_transform_edt(~sheet).clip(max=FURTHEST_MM)[..., 2:]
    both = np.concatenate([distance[..., :0:-1], distance], -1).astype(np.float32)
    return Volume(torch.from_numpy(both)[None], maps.first_mm, maps.spacing_mm).to(device)


def _midline(white: np.ndarray, first_mm: tuple[float, float, float]) -> np.ndarray:
    """The fissure between the hemispheres, above the callosum and the tentorium, as bool (z, y).

    Its banks touch in many heads, so the population's mean shows little fluid there.

    Args:
        white: (z, y) of the plane x = 0; first_mm: (x, y, z) of its first voxel.
    """
    z, y = (np.indices(white.shape) + np.array(first_mm)[[2, 1], None, None]).astype(np.float32)
    tentorium = np.interp(y, *TENTORIUM_MM)
    callosum = (white > CALLOSUM) & (z > tentorium) & (z > CALLOSUM_LOWEST_MM)
    return (z > tentorium) & ~np.logical_or.accumulate(callosum[::-1])[::-1]


def medial_axis(body: np.ndarray) -> np.ndarray:
    """Voxels outside a body where its nearest part changes from one side to another, as bool.

    Both sides are at least APART_MM away from each other and seen at an angle whose cosine is
    below FACING, in voxels of 1 mm.

    Source: the integer medial axis of Hesselink & Roerdink, IEEE TPAMI 30:2204 (2008).
    """
    nearest = ndimage.distance_transform_edt(~body, return_distances=False, return_indices=True)
    towards = nearest.astype(np.int16) - np.indices(body.shape, dtype=np.int16)
    axis_of = np.zeros_like(body)
    for axis in range(body.ndim):
        here, next_ = ((slice(None),) * axis + (part,) for part in (slice(-1), slice(1, None)))
        first = towards[(slice(None), *here)].astype(np.float32)
        second = towards[(slice(None), *next_)].astype(np.float32)
        second[axis] += 1  # both from the same voxel
        away = np.sqrt(np.square(first - second).sum(0))
        lengths = np.sqrt(np.square(first).sum(0) * np.square(second).sum(0))
        facing = (first * second).sum(0) < FACING * lengths
        axis_of[here] |= (away > APART_MM) & facing & ~body[here] & ~body[next_]
    return axis_of


@lru_cache(maxsize=1)
def white_voxels() -> Tensor:
    """Positions (voxel, 3) in MNI mm around the ventricles that are white in nearly every head."""
    maps = tissue_maps("cpu")
    z, y, x = torch.nonzero(maps.values[1, ::3, ::3, ::3] > 0.9, as_tuple=True)
    points = 3 * maps.spacing_mm * torch.stack([x, y, z], -1) + torch.tensor(maps.first_mm)
    return points[(points[:, 2] > 0) & (points[:, 2] < 45)]


def _volume(values: np.ndarray, first_mm: np.ndarray, spacing_mm: float) -> Volume:
    """From nilearn's (channel, x, y, z) to (channel, z, y, x)."""
    ordered = np.ascontiguousarray(values.transpose(0, 3, 2, 1), dtype=np.float32)
    x, y, z = (float(v) for v in first_mm)
    return Volume(torch.from_numpy(ordered), (x, y, z), spacing_mm)
