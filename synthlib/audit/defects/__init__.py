"""Known defects, made from clean data: ground truth for the checks and their error rates."""

from synthlib.audit.defects.kspace import (
    elliptical,
    fermi,
    hamming,
    homodyne,
    partial_fourier,
    tukey,
    zero_fill,
)
from synthlib.audit.defects.pixels import (
    burn_text,
    clip,
    deface,
    jpeg,
    mask_background,
    quantise,
    shade,
    skull_strip,
)
from synthlib.audit.defects.resampling import rotate, thick_slices, zoom

__all__ = [
    "burn_text",
    "clip",
    "deface",
    "elliptical",
    "fermi",
    "hamming",
    "homodyne",
    "jpeg",
    "mask_background",
    "partial_fourier",
    "quantise",
    "rotate",
    "shade",
    "skull_strip",
    "thick_slices",
    "tukey",
    "zero_fill",
    "zoom",
]
