"""Receive-coil sensitivity maps: estimate, choose their phase, judge, combine and expand."""

from synthlib.coils.calibration import find_region
from synthlib.coils.combine import combine, expand
from synthlib.coils.espirit import espirit_maps
from synthlib.coils.gauge import poles
from synthlib.coils.quality import (
    SliceQuality,
    against_sigpy,
    alignment,
    judge,
    parameter_table,
    residual,
    sigpy_maps,
    unexplained,
    worst,
)
from synthlib.coils.settings import AUTO, CoilMaps, EspiritSettings
from synthlib.coils.single_coil import emulated_kspace, emulated_weights

__all__ = [
    "AUTO",
    "CoilMaps",
    "EspiritSettings",
    "SliceQuality",
    "against_sigpy",
    "alignment",
    "combine",
    "emulated_kspace",
    "emulated_weights",
    "espirit_maps",
    "expand",
    "find_region",
    "judge",
    "parameter_table",
    "poles",
    "residual",
    "sigpy_maps",
    "unexplained",
    "worst",
]
