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
    """Columns (kx,) that are measured, and how many of them are the centre."""

    columns: Tensor
    n_center: int

    @property
    def acceleration(self) -> float:
        """The achieved R: all columns over measured ones."""
        return len(self.columns) / int(self.columns.sum())


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

    Args:
        n_columns: kx samples.
        acceleration: nominal R.
        center_fraction: share of columns always measured in the centre.
        seed: of the offset; a number in training, the file's name in tests, so
            that every slice of a volume has one mask (as fastMRI does).
        acquired: first and one-past-last measured column; zero-padding is never sampled.

    Raises:
        ValueError: see :func:`require_possible`; or too few columns for a centre line.
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
    if acquired is not None:
        columns[: acquired[0]] = False
        columns[acquired[1] :] = False
    return Mask(columns, int(n_center))


def seed_of(volume_name: str) -> str:
    """The seed of a volume's mask, which is the name of its file, as in fastMRI's loaders."""
    return f"{volume_name}.h5"


def mean_acceleration(
    n_columns: int, acceleration: int, names: Sequence[str], *, center_fraction: float
) -> float:
    """The achieved R over the masks of some volumes."""
    reached = [
        equispaced(
            n_columns, acceleration, seed=seed_of(name), center_fraction=center_fraction
        ).acceleration
        for name in names
    ]
    return sum(reached) / len(reached)
