"""NIfTI images: the only door to nibabel."""

from synthlib.formats.nifti.axial import read_images, read_values
from synthlib.formats.nifti.header import Head, looks_like, read_head, unpacked_start
from synthlib.formats.nifti.volumes import (
    image_codes,
    is_phase,
    n_slices,
    not_magnitude,
    plane,
    read_volume,
    same_grid,
)
from synthlib.formats.nifti.writing import write

__all__ = [
    "Head",
    "image_codes",
    "is_phase",
    "looks_like",
    "n_slices",
    "not_magnitude",
    "plane",
    "read_head",
    "read_images",
    "read_values",
    "read_volume",
    "same_grid",
    "unpacked_start",
    "write",
]
