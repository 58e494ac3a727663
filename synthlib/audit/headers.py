"""What the header admits: facts of records.FACTS as evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CORRECTED = {"NORM", "NORMALIZED", "PRESCAN_NORM", "FILTERED_NORM"}
DISTORTION = {"DIS2D", "DIS3D"}
REFORMATTED = {"MPR", "REFORMATTED", "RESAMPLED", "PROJECTION IMAGE"}
# What the header says of these counts for itself: the images cannot show all of it.
KNOWS_BEST = {"burned_in", "lossy"}
INTERPOLATED = {"ZIP", "INTERPOLATED"}


def encoded(facts: Mapping[str, object], grid: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) that the header says were encoded; the grid's where it does not say.

    More samples than the grid has pixels are oversampling, and no finding.
    """
    matrix = facts.get("acquisition_matrix")
    if not isinstance(matrix, list | tuple) or len(matrix) != 2:
        return grid
    found = []
    for said, n in zip(matrix, grid, strict=True):
        try:
            lines = int(said)
        except (TypeError, ValueError, OverflowError):
            lines = 0
        found.append(lines if 1 < lines < n else n)
    return found[0], found[1]


@dataclass(frozen=True)
class Statement:
    """What the header says of one check.

    Attributes:
        affirms: it says that the images were processed so; False: that they were not.
        text: for people, to stand after "the header says".
    """

    affirms: bool
    text: str


def statements(facts: Mapping[str, object], grid: tuple[int, int]) -> dict[str, Statement]:
    """Check to what the header says about it, for or against; only checks that it speaks of."""
    said: dict[str, Statement] = {}
    kinds = facts.get("image_type") or ()
    codes = {str(one).upper() for one in (kinds if isinstance(kinds, list | tuple) else (kinds,))}
    matrix = _matrix(facts, grid, codes)
    if matrix:
        said["zero_filled"] = matrix
    for check, fact, yes, no in (
        ("partial_fourier", "partial_fourier", "partial Fourier", "no partial Fourier"),
        ("corner_filter", "filtered", "a filter of k-space", "no filter of k-space"),
        ("lossy", "lossy", "lossy compression", "no lossy compression"),
        ("burned_in", "burned_in", "text in the pixels", "no text in the pixels"),
    ):
        if isinstance(facts.get(fact), bool):
            there = bool(facts[fact])
            said[check] = Statement(there, yes if there else no)
    bits = facts.get("bits_stored")
    if isinstance(bits, int | float) and not isinstance(bits, bool) and 0 < bits <= 8:
        said["quantised"] = Statement(True, f"{int(bits)} bits a pixel")
    if facts.get("normalised") is True or codes & CORRECTED:
        said["intensity_corrected"] = Statement(True, "an intensity correction")
    if facts.get("distortion_corrected") is True or codes & DISTORTION:
        said["resampled"] = Statement(True, "a correction of distortion")
    elif codes & REFORMATTED:
        said["resampled"] = Statement(True, "reformatted slices")
    return said


def _matrix(
    facts: Mapping[str, object], grid: tuple[int, int], codes: set[str]
) -> Statement | None:
    """What the header says of interpolation in the plane."""
    rows, columns = encoded(facts, grid)
    if (rows, columns) != grid:
        return Statement(True, f"{rows} x {columns} encoded of {grid[0]} x {grid[1]}")
    if facts.get("interpolated") is True or codes & INTERPOLATED:
        return Statement(True, "an interpolated matrix")
    if "acquisition_matrix" in facts:
        return Statement(False, f"all of {grid[0]} x {grid[1]} encoded")
    return None


def remarks(facts: Mapping[str, object]) -> tuple[str, ...]:
    """What the header says that no check asks, but that shapes noise: one phrase each."""
    averages = facts.get("averages")
    if isinstance(averages, int | float) and not isinstance(averages, bool) and averages > 0:
        return (f"{averages:g} average{'' if averages == 1 else 's'}",)
    return ()
