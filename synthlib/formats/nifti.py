"""NIfTI images of one head: the only door to nibabel."""

from __future__ import annotations

import zlib
from pathlib import Path

import nibabel
import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError
from torch import Tensor

from synthlib import arrays
from synthlib.records import ImageVolume


def read_images(path: str | Path) -> ImageVolume:
    """Magnitude images of a NIfTI file as axial slices, lowest first.

    The file tells neither patient nor contrast: the first is taken from the
    file's name, the second is "unknown".

    Args:
        path: .nii or .nii.gz with one 3-D image of numbers >= 0.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as :func:`read_values`, or a value is negative, or none is positive.
    """
    values, spacing_mm = read_values(path)
    name = Path(path).name.removesuffix(".gz").removesuffix(".nii")
    if values.min() < 0 or not values.max() > 0:
        raise ValueError(
            f"{name}: values from {float(values.min()):.4g} to {float(values.max()):.4g}; expected "
            "a magnitude image, >= 0 and not all zero. A phase or difference image cannot be taken."
        )
    return ImageVolume(name, name, "unknown", values, spacing_mm)


def read_values(path: str | Path) -> tuple[Tensor, tuple[float, float]]:
    """The numbers of a NIfTI file with scl_slope and scl_inter applied, and the pixel size.

    The stored axes are swapped and turned to those closest to the patient's,
    without resampling.

    Returns:
        float32 (slice, y, x), lowest slice first, rows from front to back,
        columns from the patient's right to left; (y, x) pixel size in mm.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not NIfTI, truncated, not 3-D, not real numbers, or NaN or Inf.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; expected a NIfTI image (.nii, .nii.gz)")
    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):  # NIfTI-2 is one, too
            raise ValueError(f"it is {type(image).__name__}, not NIfTI")
        if len(image.shape) != 3 or 0 in image.shape:
            raise ValueError(f"it has shape {tuple(image.shape)}")
        if image.get_data_dtype().kind not in "iuf":
            raise ValueError(f"it holds {image.get_data_dtype()} numbers")
        turned = nibabel.as_closest_canonical(image)  # x right, y front, z crown
        stored = turned.get_fdata(dtype=np.float32)  # (x, y, z)
    except (ImageFileError, ValueError, OSError, EOFError, zlib.error) as error:
        found = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"{path.name} cannot be used: {found}. Expected one 3-D NIfTI image of real numbers; "
            "convert it again, or leave it out."
        ) from error
    values = torch.from_numpy(stored.transpose(2, 1, 0)[:, ::-1, ::-1].copy())
    arrays.require_finite(path.name, values)
    across, along = (float(mm) for mm in turned.header.get_zooms()[:2])
    return values, (along, across)
