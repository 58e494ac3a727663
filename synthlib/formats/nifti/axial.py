"""A NIfTI file of one volume as axial slices."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from synthlib import arrays
from synthlib.formats.nifti.header import read_head
from synthlib.formats.nifti.voxels import slice_sizes, slices
from synthlib.formats.refusals import Refusal
from synthlib.records import ImageVolume

FOOT_CROWN = 2


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
        head = read_head(path)
        if len(head.shape) != 3:
            raise Refusal(f"it has shape {head.shape}")
        if head.is_complex:
            raise Refusal(f"it holds {head.dtype.name} numbers")
        values = slices(head, 0, FOOT_CROWN)
    except (Refusal, OSError) as error:
        found = str(error) if isinstance(error, Refusal) else "it cannot be read"
        raise ValueError(
            f"{path.name} cannot be used: {found}. Expected one 3-D NIfTI image of real numbers; "
            "convert it again, or leave it out."
        ) from error
    arrays.require_finite(path.name, values)
    _, y, x = slice_sizes(head, FOOT_CROWN)
    return values, (y, x)
