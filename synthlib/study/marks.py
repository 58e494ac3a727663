"""Which networks are good enough to rank anything, and which had not finished learning."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from synthlib.recon import grid
from synthlib.study.paired import UNTRAINED, Row, mean_of, places, sources_at

FLOOR = grid.CG_SENSE
CONVERGED_GAIN_DB = 0.1


@dataclass(frozen=True)
class Mark:
    """A source whose networks should be read with care at one coil count and R.

    Attributes:
        mean, floor_mean: PSNR over patients and seeds, dB, its own and the floor's.
        gain: in the last quarter of training, dB, mean over seeds; None if not given.
    """

    n_coils: int
    acceleration: int
    source: str
    mean: float
    floor_mean: float
    gain: float | None

    @property
    def excluded(self) -> bool:
        """Below the floor: it takes no part in rankings and comparisons."""
        return self.mean < self.floor_mean

    @property
    def still_improving(self) -> bool:
        return self.gain is not None and self.gain > CONVERGED_GAIN_DB


def training_marks(
    rows: Sequence[Row],
    floor: str = FLOOR,
    *,
    gains: Mapping[tuple[int, int, str, int], float] | None = None,
    untrained: Collection[str] = UNTRAINED,
) -> list[Mark]:
    """Trained sources whose mean PSNR lies below the floor's, or that still improved.

    Args:
        rows: one per network and test scan.
        floor: the source that every network must beat before it may rank anything.
        gains: (n_coils, acceleration, source, seed) to what the last quarter of
            the training added in validation, dB.

    Raises:
        ValueError: the floor is missing somewhere, or as patient_tables.
    """
    by_source: dict[tuple[int, int, str], list[float]] = {}
    for (n_coils, acceleration, source, _), gain in (gains or {}).items():
        by_source.setdefault((n_coils, acceleration, source), []).append(gain)
    marks = []
    for n_coils, acceleration in places(rows):
        floor_mean = mean_of(rows, floor, n_coils=n_coils, acceleration=acceleration)
        for source in sorted(sources_at(rows, n_coils, acceleration) - set(untrained)):
            listed = by_source.get((n_coils, acceleration, source))
            mark = Mark(
                n_coils,
                acceleration,
                source,
                mean_of(rows, source, n_coils=n_coils, acceleration=acceleration),
                floor_mean,
                sum(listed) / len(listed) if listed else None,
            )
            if mark.excluded or mark.still_improving:
                marks.append(mark)
    return marks


def excluded(
    rows: Sequence[Row], floor: str = FLOOR, *, untrained: Collection[str] = UNTRAINED
) -> set[tuple[int, int, str]]:
    """(n_coils, acceleration, source) that lie below the floor: not trained enough to count."""
    marks = training_marks(rows, floor, untrained=untrained)
    return {(mark.n_coils, mark.acceleration, mark.source) for mark in marks if mark.excluded}
