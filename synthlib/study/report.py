"""What notebook 05 shows of its results: names, tables of the paper, examples, convergence."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from synthlib import metrics, tables
from synthlib.formats import prepared_hdf5
from synthlib.phase import sources
from synthlib.recon import grid, samples, training
from synthlib.study import marks, statistics, worth
from synthlib.study.experiments import label

# rows of a table that do not compete for the best synthetic phase
NOT_SYNTHETIC = (*grid.CLASSICAL, samples.GROUND_TRUTH, sources.MEASURED)


@dataclasses.dataclass(frozen=True)
class NamedTable:
    """A table as tables.render gives it, with the name of its file."""

    name: str
    text: dict[str, str]


def labels_of(names: Sequence[str]) -> dict[str, str]:
    """Source or method to name, the classical methods first."""
    return {name: label(name) for name in [*grid.CLASSICAL, *names]}


def gains_of(
    results: Sequence[Mapping[str, Any]],
) -> dict[tuple[int, int, str, int], float]:
    """(n_coils, R, source, seed) to what the last quarter of a training gained, dB."""
    return {
        (r["n_coils"], r["acceleration"], r["source"], r["seed"]): training.late_gain(r["history"])
        for r in results
        if r["history"]
    }


def examples(
    cells: Sequence[grid.Cell], n_coils: int, names: Sequence[str]
) -> dict[int, dict[str, dict[str, Tensor]]]:
    """One test slice by some methods, first seed.

    Args:
        cells: that have run.
        n_coils: which coil count.
        names: sources and methods to show, in this order; those that were not run are left out.

    Returns:
        R to label to {"target", "image"} of (y, x).
    """
    first: dict[tuple[int, str], grid.Cell] = {}
    for cell in cells:
        if cell.n_coils == n_coils:
            first.setdefault((cell.acceleration, cell.source), cell)
    return {
        acceleration: {
            label(name): {
                kind: prepared_hdf5.read(first[acceleration, name].path / "example.h5", kind)
                for kind in ("target", "image")
            }
            for name in names
            if (acceleration, name) in first
        }
        for acceleration in dict.fromkeys(acceleration for acceleration, _ in first)
    }


def in_second_set(n_coils: int, coil_counts: Sequence[int]) -> bool:
    """Whether a coil count takes the place of the paper's 20-coil set, not of its 16-coil set.

    The larger of two counts does; of a single one, only 20 does.
    """
    return n_coils == 20 or (len(coil_counts) > 1 and n_coils == max(coil_counts))


def figure_name(n_coils: int, coil_counts: Sequence[int]) -> str:
    """Name for the reconstructions: the paper's Figure 3 is its 20-coil set, 4 its 16-coil set."""
    number = 3 if in_second_set(n_coils, coil_counts) else 4
    return f"fig_{number}_reconstructions_{n_coils}coil"


def paper_tables(
    rows: Sequence[dict[str, Any]],
    labels: dict[str, str],
    coil_counts: Sequence[int],
    excluded: Collection[tuple[int, int, str]] = (),
) -> list[NamedTable]:
    """Tables S1 to S6: odd numbers for the 16-coil set, even ones for the 20-coil set.

    And a table of the PSNR in the head for each. Classical methods that were not run (an
    end-to-end network has no start to show) have no row.
    """
    run = {row["source"] for row in rows}
    labels = {s: name for s, name in labels.items() if s in run or s not in grid.CLASSICAL}
    synthetic = [name for name in labels if name not in NOT_SYNTHETIC]
    named = []
    for row, metric in enumerate(metrics.ALL_NAMES):
        for n_coils in sorted(coil_counts):
            number = 2 * row + (2 if in_second_set(n_coils, coil_counts) else 1)
            prefix = f"tab_S{number}" if metric in metrics.NAMES else "tab_05"
            text = tables.benchmark(rows, labels, metric, n_coils, synthetic, excluded)
            named.append(NamedTable(f"{prefix}_{metric}_{n_coils}coil", text))
    return named


def convergence_rows(
    results: Sequence[Mapping[str, Any]], labels: Mapping[str, str]
) -> list[dict[str, str]]:
    """Rows: validation PSNR at 25, 50, 75 and 100 % of the steps of every network."""
    lines = []
    for result in results:
        if not result["history"]:
            continue
        gain = training.late_gain(result["history"])
        lines.append(
            {
                "coils": str(result["n_coils"]),
                "R": str(result["acceleration"]),
                "trained on": labels.get(result["source"], result["source"]),
                "seed": str(result["seed"]),
                **{f"{100 * p['share']:.0f} %": f"{p['PSNR']:.2f}" for p in result["history"]},
                "last quarter (dB)": f"{gain:+.2f}",
                "flag": _flag(gain),
            }
        )
    return lines


def _flag(gain: float) -> str:
    if gain > marks.CONVERGED_GAIN_DB:
        return "still improving"
    return "falling" if gain < -marks.CONVERGED_GAIN_DB else ""


def convergence_sentence(results: Sequence[Mapping[str, Any]]) -> str:
    """How many trainings had not ended, and what the last quarter still gained."""
    gains = [training.late_gain(result["history"]) for result in results if result["history"]]
    if not gains:
        return "No network was trained."
    late = sum(gain > marks.CONVERGED_GAIN_DB for gain in gains)
    falling = sum(gain < -marks.CONVERGED_GAIN_DB for gain in gains)
    return (
        f"{late} of {len(gains)} networks gained more than {marks.CONVERGED_GAIN_DB} dB in the "
        f"last quarter of their training, {falling} lost more; the mean gain there was "
        f"{sum(gains) / len(gains):+.3f} dB."
    )


def histories(
    results: Sequence[Mapping[str, Any]], labels: Mapping[str, str], n_coils: int, acceleration: int
) -> dict[str, list[list[dict[str, float]]]]:
    """Label to the histories of its networks at one coil count and R."""
    by_name: dict[str, list[list[dict[str, float]]]] = {}
    for result in results:
        if result["history"] and (result["n_coils"], result["acceleration"]) == (
            n_coils, acceleration,
        ):  # fmt: skip
            name = labels.get(result["source"], result["source"])
            by_name.setdefault(name, []).append(result["history"])
    return by_name


def floor_sentences(
    rows: Sequence[Mapping[str, Any]],
    labels: Mapping[str, str],
    names: Sequence[str],
    metric: str = "PSNR",
) -> list[str]:
    """Per coil count and R: how many sources beat CG-SENSE, and the best classical method."""
    lines = []
    for n_coils, r in sorted({(row["n_coils"], row["acceleration"]) for row in rows}):
        floor = metrics.seed_means(rows, n_coils, grid.CG_SENSE, r, metric)
        if not floor:
            continue
        levels = {
            name: sum(values) / len(values)
            for name in names
            if (values := metrics.seed_means(rows, n_coils, name, r, metric))
        }
        above = [name for name, level in levels.items() if level > floor[0]]
        below = [labels[name] for name, level in levels.items() if level < floor[0]]  # as marks
        behind = f"; below it: {', '.join(below)}" if below else ""
        classical = {
            name: values[0]
            for name in (grid.CG_SENSE, grid.L1_WAVELET, grid.SPARSE, grid.UNTRAINED)
            if (values := metrics.seed_means(rows, n_coils, name, r, metric))
        }
        best = max(classical, key=lambda name: classical[name])
        n_best = sum(level > classical[best] for level in levels.values())
        lines.append(
            f"{metrics.LABELS[metric]}, {n_coils} coils, R = {r}: {len(above)} of {len(levels)} "
            f"sources train networks better than CG-SENSE ({floor[0]:.2f} dB), {n_best} better "
            f"than the best of the methods without training ({label(best)}, "
            f"{classical[best]:.2f} dB){behind}"
        )
    return lines


def levels(
    rows: Sequence[Mapping[str, Any]], n_coils: int, acceleration: int, names: Sequence[str]
) -> dict[str, float]:
    """Label to mean PSNR over patients and seeds, of the methods that were run there."""
    means = {name: metrics.seed_means(rows, n_coils, name, acceleration, "PSNR") for name in names}
    return {label(name): sum(values) / len(values) for name, values in means.items() if values}


def worth_sentence(rows: Sequence[Mapping[str, Any]], n_archive: int, n_generator: int) -> str:
    """What synthetic scans are worth in measured patients; or why nothing can be said.

    Args:
        rows, n_archive: as worth.exchange_rate takes them.
        n_generator: measured patients that the generator of the scans had learned from.
    """
    if len({row["n_real"] for row in rows if row["n_synthetic"] == 0}) < 2:
        return "One number of measured patients is no curve; name further worth_numbers."
    return (
        f"{worth.exchange_rate(rows, n_archive).sentence()}. Their generator had learned from "
        f"{n_generator} other measured patients; which patients were taken for training was "
        "not drawn anew."
    )


def same_seeds(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bool:
    """Whether at every coil count and R all sources were trained with the same seeds."""
    seeds: dict[tuple[int, int], dict[str, set[int]]] = {}
    for row in rows:
        if row["source"] in names:
            place = seeds.setdefault((row["n_coils"], row["acceleration"]), {})
            place.setdefault(row["source"], set()).add(row["seed"])
    return all(
        set(by_source) == set(names) and len({frozenset(s) for s in by_source.values()}) == 1
        for by_source in seeds.values()
    )


def difference_lines(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], against: str
) -> list[dict[str, Any]]:
    """PSNR of every source less that of one, with intervals over patients and seeds.

    Returns:
        Dicts of n_coils, acceleration, source, mean, low, high, seeds_seen (False:
        one training each, the interval is over patients alone).
    """
    lines = []
    for n_coils, r in sorted({(row["n_coils"], row["acceleration"]) for row in rows}):
        run = {
            row["source"] for row in rows if (row["n_coils"], row["acceleration"]) == (n_coils, r)
        }
        for name in names:
            if name != against and {name, against} <= run:
                result = statistics.difference(rows, name, against, n_coils=n_coils, acceleration=r)
                lines.append(
                    {"n_coils": n_coils, "acceleration": r, "source": name, "mean": result.mean,
                     "low": result.low, "high": result.high, "seeds_seen": result.n_seeds > 1}
                )  # fmt: skip
    return lines
