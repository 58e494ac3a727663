"""How alike are two scans? Their portraits side by side: measured heads, and simulated twins."""

from synthlib.likeness import measures
from synthlib.likeness.comparison import compressed, rows, spread, twin_scan, twin_settings, twins
from synthlib.likeness.heads import measure_all, measured, store, volumes_of
from synthlib.likeness.portraits import (
    Combined,
    Portrait,
    combine,
    portrait,
    portrait_of_images,
    portrait_of_phase_difference,
)

__all__ = [
    "Combined",
    "Portrait",
    "combine",
    "compressed",
    "measure_all",
    "measured",
    "measures",
    "portrait",
    "portrait_of_images",
    "portrait_of_phase_difference",
    "rows",
    "spread",
    "store",
    "twin_scan",
    "twin_settings",
    "twins",
    "volumes_of",
]
