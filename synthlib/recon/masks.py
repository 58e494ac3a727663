"""Cartesian undersampling: which columns of kx are measured.

fastMRI's equispaced_fraction masks: equal spacing, thinned so that the centre
lines and the others together reach the nominal acceleration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastmri.data.subsample import EquispacedMaskFractionFunc
from torch import Tensor


@dataclass(frozen=True)
class Mask:
    """Columns of kx that are measured.

    Attributes:
        columns: bool (kx,), true where a column is measured.
        n_center: how many of them are the centre.
        n_acquired: columns that the full scan measured, the others are zero-padding;
            None: all of them.
    """

    columns: Tensor
    n_center: int
    n_acquired: int | None = None

    @property
    def acceleration(self) -> float:
        """The achieved R over all columns, zero-padding included: n_columns / n_measured."""
        return len(self.columns) / int(self.columns.sum())

    @property
    def acquired_acceleration(self) -> float:
        """The achieved R over acquired columns: how many times faster than the full scan."""
        n_acquired = len(self.columns) if self.n_acquired is None else self.n_acquired
        return n_acquired / int(self.columns.sum())


def require_possible(acceleration: int, center_fraction: float) -> None:
    """Raise ValueError when the centre alone holds more lines than 1/R of them."""
    if acceleration <= 1 or not 0 < center_fraction < 1 / acceleration:
        raise ValueError(
            f"mask with R = {acceleration} and centre fraction {center_fraction}; expected R above "
            f"1 and a centre fraction between 0 and 1/R = {1 / max(acceleration, 1):.3f}, because "
            "the centre lines count towards R. Lower the centre fraction or R."
        )


def equispaced(
    n_columns: int,
    acceleration: int,
    *,
    center_fraction: float = 0.04,
    seed: int | str,
    acquired: tuple[int, int] | None = None,
) -> Mask:
    """An equispaced_fraction mask as fastMRI makes it.

    The spacing follows from R over all columns, zero-padded ones included, as in
    fastMRI. Zero-padding is cut away afterwards, so that R over the acquired
    columns is a little below the nominal one, for they hold all centre lines.

    Args:
        n_columns: kx samples.
        acceleration: nominal R.
        center_fraction: share of columns always measured in the centre.
        seed: of the offset; a number in training, the file's name in tests, so
            that every slice of a volume has one mask (as fastMRI does).
        acquired: first and one-past-last measured column; zero-padding is never sampled.

    Raises:
        ValueError: see :func:`require_possible`; or too few columns for a centre line,
            or `acquired` lies outside of the columns or leaves centre lines out.
    """
    require_possible(acceleration, center_fraction)
    n_center = round(n_columns * center_fraction)
    if n_center < 1 or n_center * acceleration >= n_columns:
        raise ValueError(
            f"{n_columns} columns with centre fraction {center_fraction} give {n_center} centre "
            f"lines at R = {acceleration}; expected at least 1 and fewer than {n_columns}/R. "
            "Change the centre fraction."
        )
    make = EquispacedMaskFractionFunc([center_fraction], [acceleration])
    # numpy's RandomState takes 32-bit words
    words = (
        tuple(map(ord, seed)) if isinstance(seed, str) else (seed % 2**32, seed >> 32 & 2**32 - 1)
    )
    mask, n_center = make((1, n_columns, 2), seed=words)
    columns = mask.flatten() > 0
    first, end = (0, n_columns) if acquired is None else acquired
    center_first = (n_columns - n_center + 1) // 2  # as in fastMRI
    if not 0 <= first <= center_first < center_first + n_center <= end <= n_columns:
        raise ValueError(
            f"columns {first} to {end - 1} of {n_columns} were acquired; expected a part of all "
            f"columns that holds the {n_center} centre lines, {center_first} to "
            f"{center_first + n_center - 1}. Check the scan's header, or leave it out."
        )
    columns[:first] = False
    columns[end:] = False
    return Mask(columns, int(n_center), end - first)


def seed_of(volume_name: str) -> str:
    """The seed of a volume's mask, which is the name of its file, as in fastMRI's loaders."""
    return f"{volume_name}.h5"


def of_volume(
    volume_name: str,
    n_columns: int,
    acceleration: int,
    *,
    center_fraction: float,
    acquired: tuple[int, int] | None = None,
) -> Mask:
    """The mask of a test volume, whose offset follows from its name; see :func:`equispaced`."""
    return equispaced(
        n_columns,
        acceleration,
        center_fraction=center_fraction,
        seed=seed_of(volume_name),
        acquired=acquired,
    )


def mean_acceleration(
    n_columns: int,
    acceleration: int,
    names: Sequence[str],
    *,
    center_fraction: float,
    acquired: tuple[int, int] | None = None,
) -> float:
    """The achieved R over all columns, mean over the masks of test volumes of one matrix."""
    drawn = [
        of_volume(name, n_columns, acceleration, center_fraction=center_fraction, acquired=acquired)
        for name in names
    ]
    return sum(mask.acceleration for mask in drawn) / len(drawn)


def mean_acquired_acceleration(
    n_columns: int,
    acceleration: int,
    names: Sequence[str],
    *,
    center_fraction: float,
    acquired: tuple[int, int],
) -> float:
    """The same over acquired columns: how many times faster than the full scans."""
    share = (acquired[1] - acquired[0]) / n_columns
    over_all = mean_acceleration(
        n_columns, acceleration, names, center_fraction=center_fraction, acquired=acquired
    )
    return share * over_all
