"""Receive-coil sensitivity maps: estimate, choose their phase, combine and expand."""

from synthlib.coils.combine import combine, expand
from synthlib.coils.espirit import CoilMaps, EspiritSettings, espirit_maps

__all__ = ["CoilMaps", "EspiritSettings", "combine", "espirit_maps", "expand"]
