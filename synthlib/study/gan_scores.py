"""What the rows of study.gan_matrix say: means, a table, sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from synthlib.phase import scores, sources
from synthlib.study.gan_matrix import CONTROLS, Row, measured_label

SHARE = 0.8  # of the measured slices, whose range the others are compared to
DIGITS = {"period_2": 3, "period_4": 3, "ventricle_step": 3}  # two of the others
UNWANTED = ("period_2", "period_4", "residues")  # less is better
SAME_SPREAD = 0.2  # relative
SIGNED = ("fine_correlation", "ventricle_step")
Entry = Mapping[str, object]


def summary(rows: Sequence[Row]) -> list[dict[str, object]]:
    """One entry for each generator: every score's mean over slices, one number for each seed.

    Returns:
        "generator", and names of scores.LABELS to a list, a number for each seed, nan
        where no slice has that score.
    """
    by_name: dict[str, dict[int, list[dict[str, float]]]] = {}
    for row in rows:
        values = {name: float(str(row[name])) for name in scores.LABELS}
        by_seed = by_name.setdefault(str(row["generator"]), {})
        by_seed.setdefault(int(str(row["seed"])), []).append(values)
    entries: list[dict[str, object]] = []
    for generator, by_seed in by_name.items():
        means = [scores.mean_scores(of_slices) for of_slices in by_seed.values()]
        numbers = {name: [mean[name] for mean in means] for name in scores.LABELS}
        entries.append({"generator": generator, **numbers})
    return entries


def measured_range(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """Between which numbers the middle SHARE of the measured slices lies, for every score.

    Scores that no measured slice has are left out.
    """
    ranges = {}
    measured = [row for row in rows if row["generator"] == measured_label()]
    for name in scores.LABELS:
        values = [float(str(row[name])) for row in measured]
        numbers = [value for value in values if not math.isnan(value)]
        if numbers:
            low, high = np.quantile(numbers, [(1 - SHARE) / 2, (1 + SHARE) / 2])
            ranges[name] = float(low), float(high)
    return ranges


def rendered(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The rows as a table shows them: means over slices and seeds, ± half the span of the seeds."""
    return [
        {
            "generator": str(entry["generator"]),
            **{label: _cell(_numbers(entry, name), name) for name, label in scores.LABELS.items()},
        }
        for entry in summary(rows)
    ]


def _numbers(entry: Entry, name: str) -> list[float]:
    values = entry[name]
    assert isinstance(values, list)
    return values


def _cell(values: Sequence[float], name: str) -> str:
    if any(math.isnan(value) for value in values):
        return "-"
    digits, sign = DIGITS.get(name, 2), "+" if name in SIGNED else ""
    text = f"{np.mean(values):{sign}.{digits}f}"
    if len(values) > 1:
        text += f" ± {(max(values) - min(values)) / 2:.{digits}f}"
    return text


def verdict(rows: Sequence[Row]) -> str:
    """What the trained generators have reached, in words: a line for each question.

    A period or residues are as in measured phase where their mean is at most that of 90 %
    of the measured slices; the spread, where it is within 20 % of that between patients;
    a step at the ventricles, where it has the sign of the measured one; the fine part is
    known where it correlates better than every control's.
    """
    means = {
        str(entry["generator"]): {
            name: float(np.mean(_numbers(entry, name))) for name in scores.LABELS
        }
        for entry in summary(rows)
    }
    measured = means.pop(measured_label())
    controls = [means.pop(sources.label(source)) for source in CONTROLS]
    lines = []
    for name, (_, high) in measured_range(rows).items():
        if name in UNWANTED:
            reached = [who for who, mean in means.items() if mean[name] <= high]
            lines.append(_line(f"{scores.LABELS[name]} at most {high:.3f}", reached, means))
    # max keeps its first number beside a nan
    floor = max([0.0, *(control["fine_correlation"] for control in controls)])
    reached = [who for who, mean in means.items() if mean["fine_correlation"] > floor]
    lines.append(_line(f"fine part's correlation above the controls' {floor:.2f}", reached, means))
    step, spread = measured["ventricle_step"], measured["spread"]
    if not math.isnan(step):
        reached = [who for who, mean in means.items() if mean["ventricle_step"] * step > 0]
        what = f"ventricles' step of the measured sign ({step:+.3f} rad)"
        lines.append(_line(what, reached, means))
    if not math.isnan(spread):
        reached = [
            who for who, mean in means.items() if abs(mean["spread"] / spread - 1) <= SAME_SPREAD
        ]
        lines.append(_line(f"spread within 20 % of patients' {spread:.2f} rad", reached, means))
    return "\n".join(lines)


def _line(what: str, reached: Sequence[str], trained: Mapping[str, object]) -> str:
    names = f": {'; '.join(reached)}" if reached else ""
    return f"{what}: {len(reached)} of {len(trained)}{names}"
