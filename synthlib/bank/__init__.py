"""The coil bank: maps of measured or simulated scans, for images without raw data of their own."""

from synthlib.bank.building import (
    SIMULATED,
    SIMULATED_SEED,
    Bank,
    Place,
    anatomy_of,
    build_folder,
    header_numbers,
    make,
    open_bank,
)
from synthlib.bank.choosing import MATCHED, PAIRINGS, RANDOM, Match, choose
from synthlib.bank.donor import (
    POINTS,
    REACH,
    Coils,
    Donor,
    Taps,
    compress,
    maps_at,
    taps,
    to_head,
    weights,
)
from synthlib.bank.outline import Outline, outline

__all__ = [
    "MATCHED",
    "PAIRINGS",
    "POINTS",
    "RANDOM",
    "REACH",
    "SIMULATED",
    "SIMULATED_SEED",
    "Bank",
    "Coils",
    "Donor",
    "Match",
    "Outline",
    "Place",
    "Taps",
    "anatomy_of",
    "build_folder",
    "choose",
    "compress",
    "header_numbers",
    "make",
    "maps_at",
    "open_bank",
    "outline",
    "taps",
    "to_head",
    "weights",
]
