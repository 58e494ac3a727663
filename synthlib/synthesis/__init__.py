"""Magnitude, phase and coil maps to the k-space that a coil array would record, with its noise."""

from synthlib.core.noise_level import NoiseLevel, estimate_noise
from synthlib.synthesis.coil_noise import kept_signal, require_reachable
from synthlib.synthesis.model import add_noise, multicoil_kspace, write_volume
from synthlib.synthesis.receive import Receiver

__all__ = [
    "NoiseLevel",
    "Receiver",
    "add_noise",
    "estimate_noise",
    "kept_signal",
    "multicoil_kspace",
    "require_reachable",
    "write_volume",
]
