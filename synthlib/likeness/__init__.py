"""How alike are two scans? Their portraits side by side: measured heads, and simulated twins."""

from synthlib.likeness import measures
from synthlib.likeness.comparison import rows, spread, spread_sentences
from synthlib.likeness.heads import Survey, measure_all, measured, store, survey
from synthlib.likeness.matching import (
    Twin,
    compressed,
    matched_twin,
    twin_scans,
    twin_settings,
    twins,
)
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
    "Survey",
    "Twin",
    "combine",
    "compressed",
    "matched_twin",
    "measure_all",
    "measured",
    "measures",
    "portrait",
    "portrait_of_images",
    "portrait_of_phase_difference",
    "rows",
    "spread",
    "spread_sentences",
    "store",
    "survey",
    "twin_scans",
    "twin_settings",
    "twins",
]
