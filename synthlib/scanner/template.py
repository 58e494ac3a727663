"""The average head: MNI152 tissue maps as nilearn packages them, held once in memory."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

VOXEL_MM = 2
CLOSING_VOXELS = 5  # bridges the sulci: the skull does not follow them


@lru_cache(maxsize=1)
def _template() -> tuple[Tensor, Tensor]:
    """(3, z, y, x) of grey, white and mm outside the brain, and where its first voxel lies."""
    from nilearn import datasets  # slow to import, needed once

    grey, white, mask = (
        load(resolution=VOXEL_MM)
        for load in (
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
            datasets.load_mni152_brain_mask,
        )
    )
    margin = CLOSING_VOXELS + 1
    brain = np.pad(mask.get_fdata() > 0.5, margin, mode="edge")
    brain = ndimage.binary_closing(
        brain, ndimage.generate_binary_structure(3, 1), iterations=CLOSING_VOXELS
    )
    brain = ndimage.binary_fill_holes(brain)[(slice(margin, -margin),) * 3]
    outside = ndimage.distance_transform_edt(~brain) - ndimage.distance_transform_edt(brain)
    depth = ndimage.gaussian_filter(outside * VOXEL_MM, 1.5)
    stack = np.stack([grey.get_fdata(), white.get_fdata(), depth]).transpose(0, 3, 2, 1)
    first = torch.tensor(mask.affine[:3, 3], dtype=torch.float32)
    return torch.from_numpy(np.ascontiguousarray(stack, dtype=np.float32)), first


def sample(where_mm: Tensor) -> Tensor:
    """Read the template at positions (..., 3) in MNI mm, linearly interpolated.

    Returns:
        float32 (3, ...): fraction of grey and of white matter, and depth: mm
        outside the surface of the brain, negative inside.
    """
    template, first = _template()
    size = torch.tensor(template.shape[:0:-1])  # (x, y, z)
    grid = 2 * (where_mm - first) / VOXEL_MM / (size - 1) - 1
    values = torch.nn.functional.grid_sample(
        template[None], grid.reshape(1, 1, 1, -1, 3), padding_mode="border", align_corners=True
    )
    return values.reshape(3, *where_mm.shape[:-1])
