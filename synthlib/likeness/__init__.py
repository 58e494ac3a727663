"""How alike are two scans? Their portraits side by side: measured heads, and simulated twins."""

from synthlib.likeness.comparison import rows, spread, twin_settings, twins
from synthlib.likeness.heads import measure_all, measured, store
from synthlib.likeness.portraits import (
    Portrait,
    portrait,
    portrait_of_images,
    portrait_of_phase_difference,
)

__all__ = [
    "Portrait",
    "measure_all",
    "measured",
    "portrait",
    "portrait_of_images",
    "portrait_of_phase_difference",
    "rows",
    "spread",
    "store",
    "twin_settings",
    "twins",
]
