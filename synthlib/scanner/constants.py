"""Physical constants that several parts of the scanner use."""

from __future__ import annotations

import math

LARMOR_HZ_PER_T = 42.577e6  # of protons
MU_0 = 4e-7 * math.pi  # V s / (A m)
FAT_PPM = -3.4  # chemical shift of fat's main peak from water


def fat_shift_hz(field_t: float) -> float:
    """How far fat precesses from water; negative, as it is slower."""
    return FAT_PPM * 1e-6 * LARMOR_HZ_PER_T * field_t
