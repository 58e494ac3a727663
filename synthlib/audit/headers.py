"""What the header admits: facts of records.FACTS as evidence."""

from __future__ import annotations

from collections.abc import Mapping

CORRECTED = {"NORM", "NORMALIZED", "PRESCAN_NORM", "FILTERED_NORM"}
DISTORTION = {"DIS2D", "DIS3D"}
REFORMATTED = {"MPR", "REFORMATTED", "RESAMPLED", "PROJECTION IMAGE"}
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


def evidence(facts: Mapping[str, object], grid: tuple[int, int]) -> dict[str, str]:
    """Check to one sentence about what the header says; only checks that it speaks of."""
    said: dict[str, str] = {}
    kinds = facts.get("image_type") or ()
    codes = {str(one).upper() for one in (kinds if isinstance(kinds, list | tuple) else (kinds,))}
    rows, columns = encoded(facts, grid)
    if (rows, columns) != grid:
        said["zero_filled"] = (
            f"the header tells that {rows} x {columns} were encoded of {grid[0]} x {grid[1]}"
        )
    elif facts.get("interpolated") is True or codes & INTERPOLATED:
        said["zero_filled"] = "the header tells that the matrix was interpolated"
    if facts.get("partial_fourier") is True:
        said["partial_fourier"] = "the header tells partial Fourier"
    if facts.get("lossy") is True:
        said["lossy"] = "the header tells lossy compression"
    bits = facts.get("bits_stored")
    if isinstance(bits, int | float) and not isinstance(bits, bool) and 0 < bits <= 8:
        said["quantised"] = f"the header tells {int(bits)} bits a pixel"
    if facts.get("normalised") is True or codes & CORRECTED:
        said["intensity_corrected"] = "the header tells an intensity correction"
    if facts.get("distortion_corrected") is True or codes & DISTORTION:
        said["resampled"] = "the header tells a correction of distortion"
    elif codes & REFORMATTED:
        said["resampled"] = "the header tells that the slices were reformatted"
    if facts.get("burned_in") is True:
        said["burned_in"] = "the header tells text in the pixels"
    return said
