"""The average head: MNI152 tissue maps as nilearn packages them, held once in memory."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from synthlib.scanner.volume import Volume

CLOSING_MM = 10  # bridges the sulci: the skull does not follow them
MARGIN_MM = 50  # of the distances around the packaged box
DEPTH_MM = 2  # voxel of the distances


@lru_cache(maxsize=2)
def tissue_maps(device: str = "cpu") -> Volume:
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
    """Signed distance (1, z, y, x) in mm outside the brain's hull, negative inside, 2 mm voxels.

    Below the packaged box the brain stem goes on as the spinal cord.
    """
    from nilearn import datasets

    mask = datasets.load_mni152_brain_mask(resolution=DEPTH_MM)
    margin = MARGIN_MM // DEPTH_MM
    brain = np.pad(mask.get_fdata() > 0.5, margin)
    brain[:, :, :margin] = brain[:, :, margin : margin + 1]
    closing = CLOSING_MM // DEPTH_MM
    brain = ndimage.binary_closing(
        brain, ndimage.generate_binary_structure(3, 1), iterations=closing
    )
    brain = ndimage.binary_fill_holes(brain)
    outside = ndimage.distance_transform_edt(~brain) - ndimage.distance_transform_edt(brain)
    depth = ndimage.gaussian_filter(outside.astype(np.float32) * DEPTH_MM, 1.0)
    first = mask.affine[:3, 3] - margin * DEPTH_MM
    return _volume(depth[None], first, float(DEPTH_MM)).to(device)


def _volume(values: np.ndarray, first_mm: np.ndarray, spacing_mm: float) -> Volume:
    """From nilearn's (channel, x, y, z) to (channel, z, y, x)."""
    ordered = np.ascontiguousarray(values.transpose(0, 3, 2, 1), dtype=np.float32)
    x, y, z = (float(v) for v in first_mm)
    return Volume(torch.from_numpy(ordered), (x, y, z), spacing_mm)


def sample(where_mm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Read the template at positions (..., 3) in MNI mm.

    Returns:
        fraction of grey and of white matter, and depth: mm outside the surface
        of the brain, negative inside; float32 (...) each.
    """
    device = str(where_mm.device)
    grey, white = tissue_maps(device).at(where_mm)
    return grey, white, depth_map(device).at(where_mm)[0]
