"""NIfTI images: the only door to nibabel."""

from synthlib.formats.nifti.axial import read_images, read_values
from synthlib.formats.nifti.header import Head, looks_like, read_head, unpacked_start
from synthlib.formats.nifti.images import write_images
from synthlib.formats.nifti.parts import Part, part_of
from synthlib.formats.nifti.volumes import (
    image_codes,
    n_slices,
    not_magnitude,
    plane,
    read_volume,
    same_grid,
)
from synthlib.formats.nifti.writing import write

__all__ = [
    "Head",
    "Part",
    "image_codes",
    "looks_like",
    "n_slices",
    "not_magnitude",
    "part_of",
    "plane",
    "read_head",
    "read_images",
    "read_values",
    "read_volume",
    "same_grid",
    "unpacked_start",
    "write",
    "write_images",
]
