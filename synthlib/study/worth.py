"""How many measured patients are synthetic scans worth? Curves over the number of patients.

The measured-only curve says which PSNR n real training patients give; synthetic
scans alone are worth the n at which that curve reaches their PSNR. The interval
holds every n whose point on the curve does not differ significantly from the
synthetic scans' PSNR, by the interval of statistics.crossed over test patients and seeds. In 300
simulated curves each of 12 patients x 3 seeds, at eight settings, it held the
truth in 94 to 98 %; percentiles of a two-way bootstrap did so in 72 to 93 %.

Which patients were taken for training is drawn anew only if it changes with the seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from synthlib.recon import grid
from synthlib.study import statistics
from synthlib.study.paired import Row, Table, patient_tables
from synthlib.study.verdicts import higher_is_better

POINTS_PER_SEGMENT = 32


@dataclass(frozen=True)
class ExchangeRate:
    """Synthetic scans of some patients are worth n measured patients.

    Attributes:
        n_synthetic, n_archive: synthetic scans, and the patients that they are of.
        worth: n; 0 where it lies below the smallest number measured, infinity beyond the largest.
        low, high: 95 % interval, the same way.
        n_min, n_max: smallest and largest number of the measured-only curve.
        n_first: its smallest number above 0: between 0 and it nothing was trained, so that
            the text gives no number there.
        n_patients, n_seeds: test patients and trainings behind every point.
    """

    n_synthetic: int
    n_archive: int
    worth: float
    low: float
    high: float
    n_min: int
    n_max: int
    n_first: int
    n_patients: int
    n_seeds: int

    def sentence(self) -> str:
        """ "Synthetic scans of 6 patients (18 scans) are worth 3.4 measured patients (95 % ..."."""
        if self.n_seeds == 1:
            design = f"{self.n_patients} test patients, one training each: the spread between "
            design += "trainings is left out"
        else:
            design = f"{self.n_patients} test patients x {self.n_seeds} seeds"
        what = f"Synthetic scans of {self.n_archive} patients ({self.n_synthetic} scans)"
        interval = f"95 % interval {self._number(self.low)} to {self._number(self.high)}; {design}"
        if self.worth <= 0 == self.n_min:
            return f"{what} train networks no better than the untrained one ({interval})"
        return f"{what} are worth {self._number(self.worth)} measured patients ({interval})"

    def _number(self, n: float) -> str:
        if math.isinf(n):
            return f"more than {self.n_max}"
        if n <= 0 == self.n_min:
            return "none"
        if n < self.n_first:
            return f"fewer than {self.n_first}"
        return f"{n:.1f}"


def archive_patients(cells: Sequence[grid.Cell]) -> int:
    """Patients whose scans the synthetic ones are of, from the cells that learn from them alone."""
    return len(
        {
            volume.raw.patient_id
            for cell in cells
            if cell.training is not None and dict(cell.tags)["n_real"] == 0
            for data in cell.training.data
            for volume in data.volumes
        }
    )


def untrained_rows(rows: Sequence[Row], n_coils: int, acceleration: int) -> list[dict[str, Any]]:
    """The point of no patient on the measured-only curve: rows of the untrained network there.

    Args:
        rows: with those of grid.UNTRAINED, the unrolled network before its first
            step: it is the start of unrolled networks alone.
    """
    place = (n_coils, acceleration, grid.UNTRAINED)
    return [
        {**row, "n_real": 0, "n_synthetic": 0}
        for row in rows
        if (row["n_coils"], row["acceleration"], row["source"]) == place
    ]


def exchange_rate(
    rows: Sequence[Row],
    n_archive: int,
    *,
    n_synthetic: int | None = None,
    metric: str = "PSNR",
) -> ExchangeRate:
    """How many measured patients give the PSNR of training on synthetic scans alone.

    The mean curve is made monotone (isotonic regression) and read linearly in
    log(1 + n).

    Args:
        rows: one per network and test scan at one coil count and R, with n_real,
            n_synthetic, seed, patient and the metric; rows of networks trained
            on both kinds may be there and are not used, those of
            :func:`untrained_rows` are the curve's point at n = 0.
        n_archive: patients that the synthetic scans are of.
        n_synthetic: which number of synthetic scans; None where there is only one.

    Raises:
        ValueError: several coil counts or R, no unique n_synthetic, fewer than
            two numbers of measured patients, or as patient_tables.
    """
    named = _named(rows)
    n_synthetic = _only_number(rows) if n_synthetic is None else n_synthetic
    numbers = sorted({row["n_real"] for row in rows if row["n_synthetic"] == 0})
    if len(numbers) < 2:
        raise ValueError(
            f"measured-only networks were trained with {numbers} patients; expected two numbers "
            "or more to draw a curve through"
        )
    tables = _tables(named, [(n, 0) for n in numbers] + [(0, n_synthetic)], metric)
    sign = 1.0 if higher_is_better(metric) else -1.0
    curve, level = sign * tables[:-1], sign * tables[-1]
    means = optimize.isotonic_regression(curve.mean((1, 2))).x
    low, high = _interval(np.array(numbers, float), curve, level)
    return ExchangeRate(
        n_synthetic=n_synthetic,
        n_archive=n_archive,
        worth=_crossing(np.array(numbers, float), means, float(level.mean())),
        low=low,
        high=high,
        n_min=numbers[0],
        n_max=numbers[-1],
        n_first=next(n for n in numbers if n > 0),
        n_patients=curve.shape[1],
        n_seeds=curve.shape[2],
    )


def _crossing(numbers: Table, means: Table, level: float) -> float:
    """Smallest n where a rising curve reaches the level: 0 before it, infinity beyond it."""
    reached = np.flatnonzero(means >= level)
    if not len(reached):
        return math.inf
    i = int(reached[0])
    if i == 0:
        return float(numbers[0]) if means[0] == level else 0.0
    part = (level - means[i - 1]) / (means[i] - means[i - 1])
    left, right = np.log1p(numbers[i - 1 : i + 1])
    return float(np.expm1(left + part * (right - left)))


def _interval(numbers: Table, curve: Table, level: Table) -> tuple[float, float]:
    """All n from the first that is not surely too few to the last not surely too many.

    Args:
        numbers: (n,) of measured patients, rising.
        curve: (n, patient, seed).
        level: (patient, seed) of the synthetic scans.
    """
    knots = np.log1p(numbers)
    points = np.unique(
        np.concatenate(
            [np.linspace(a, b, POINTS_PER_SEGMENT) for a, b in itertools.pairwise(knots)]
        )
    )
    results = []
    for point in points:
        i = min(int(np.searchsorted(knots, point, side="right")) - 1, len(knots) - 2)
        part = (point - knots[i]) / (knots[i + 1] - knots[i])
        results.append(statistics.crossed((1 - part) * curve[i] + part * curve[i + 1] - level))
    not_too_few = [i for i, result in enumerate(results) if result.high >= 0]
    not_too_many = [i for i, result in enumerate(results) if result.low <= 0]
    low = high = 0.0
    if not not_too_few:
        low = math.inf
    elif not_too_few[0] > 0:
        i = not_too_few[0]
        low = _root(points[i - 1 : i + 1], results[i - 1].high, results[i].high)
    if not_too_many and not_too_many[-1] == len(points) - 1:
        high = math.inf
    elif not_too_many:
        i = not_too_many[-1]
        high = _root(points[i : i + 2], results[i].low, results[i + 1].low)
    return low, high


def _root(points: Table, left: float, right: float) -> float:
    """Number of patients where a limit changes its sign between two points of log(1 + n)."""
    return float(np.expm1(points[0] + (points[1] - points[0]) * left / (left - right)))


def curve_rows(
    rows: Sequence[Row],
    n_archive: int,
    *,
    n_synthetic: int | None = None,
    metric: str = "PSNR",
) -> list[dict[str, str]]:
    """Rows of a table: n real patients, without and with synthetic scans, and what these add.

    Args:
        rows, n_archive: as for :func:`exchange_rate`.

    Raises:
        ValueError: as there.
    """
    named = _named(rows)
    m = _only_number(rows) if n_synthetic is None else n_synthetic
    run = {(row["n_real"], row["n_synthetic"]) for row in rows}
    lines = []
    for n in sorted({real for real, _ in run}):
        cells = dict.fromkeys(("without", "with", "gain", "interval"), "-")
        if (n, 0) in run:
            cells["without"] = f"{_tables(named, [(n, 0)], metric).mean():.2f}"
        if (n, m) in run:
            cells["with"] = f"{_tables(named, [(n, m)], metric).mean():.2f}"
        if {(n, 0), (n, m)} <= run:
            with_m, without = _tables(named, [(n, m), (n, 0)], metric)
            result = statistics.crossed(with_m - without)
            cells["gain"] = f"{result.mean:+.2f}"
            cells["interval"] = f"{result.low:+.2f} to {result.high:+.2f}"
        lines.append(
            {
                "measured patients": str(n),
                f"{metric}, measured only": cells["without"],
                f"with synthetic scans of {n_archive} patients ({m} scans)": cells["with"],
                "gain": cells["gain"],
                "95 % interval": cells["interval"],
            }
        )
    return lines


def _tables(named: Sequence[Row], trainings: Sequence[tuple[int, int]], metric: str) -> Table:
    """(training, patient, seed); a training is named by its measured and synthetic numbers."""
    names = [_name(*training) for training in trainings]
    untrained = (_name(0, 0),)
    return patient_tables(
        named, names, metric=metric, n_coils=0, acceleration=0, untrained=untrained
    )


def _name(n_real: int, n_synthetic: int) -> str:
    return f"{n_real} measured + {n_synthetic} synthetic"


def _named(rows: Sequence[Row]) -> list[Row]:
    """The same rows with the training set as their source."""
    settings = {(row.get("n_coils"), row.get("acceleration")) for row in rows}
    if len(settings) != 1:
        raise ValueError(
            f"rows of {len(settings)} settings (n_coils, acceleration): "
            f"{sorted(settings, key=str)}; expected one. Pass the rows of one coil count and R."
        )
    return [
        {"volume": row["patient"], **row, "n_coils": 0, "acceleration": 0,
         "source": _name(row["n_real"], row["n_synthetic"])}
        for row in rows
    ]  # fmt: skip


def _only_number(rows: Sequence[Row]) -> int:
    numbers = sorted({row["n_synthetic"] for row in rows} - {0})
    if len(numbers) != 1:
        raise ValueError(f"numbers of synthetic scans: {numbers}; pass n_synthetic to choose one")
    return int(numbers[0])
