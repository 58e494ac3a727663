"""Receive-coil sensitivity maps: estimate, choose their phase, combine and expand."""

from synthlib.coils.combine import combine, expand
from synthlib.coils.espirit import CoilMaps, EspiritSettings, espirit_maps
from synthlib.coils.quality import against_sigpy, alignment, parameter_table, residual

__all__ = [
    "CoilMaps",
    "EspiritSettings",
    "against_sigpy",
    "alignment",
    "combine",
    "espirit_maps",
    "expand",
    "parameter_table",
    "residual",
]
