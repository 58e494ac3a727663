"""Axial slices as a NIfTI file, for examples of archives: synthlib's results are no NIfTI."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from torch import Tensor

from synthlib import runs


def write(
    path: str | Path, values: Tensor, spacing_mm: tuple[float, float], step_mm: float
) -> None:
    """Write axial slices so that :func:`read_values` gives them back, in one atomic step.

    Args:
        path: ends in .nii or .nii.gz.
        values: real (slice, y, x), lowest slice first, rows from front to back,
            columns from the patient's right to left; whole numbers stay whole.
        spacing_mm: (y, x) of a pixel.
        step_mm: between slices.
    """
    stored = values.numpy(force=True)[:, ::-1, ::-1].transpose(2, 1, 0)  # x right, y front, z crown
    if stored.dtype.kind in "iu":
        stored = stored.astype(np.int16)
    affine = np.diag([spacing_mm[1], spacing_mm[0], step_mm, 1.0])
    image = nibabel.Nifti1Image(np.ascontiguousarray(stored), affine)
    path = Path(path)
    with runs.atomic_path(path) as scratch:  # its name ends like the path's: nibabel goes by that
        nibabel.save(image, scratch)
