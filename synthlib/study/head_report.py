"""Rows of measured scans (see study.heads) as tables, gains with intervals, and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthlib import metrics, tables
from synthlib.recon import grid
from synthlib.study import report, statistics
from synthlib.study.experiments import OTHER_SCANS, label
from synthlib.study.heads import CLASSICAL_ROWS, HINDSIGHT
from synthlib.study.measured_scans import patient_or_scan

GAIN_TITLE = "Networks less l1-wavelet of best PSNR in hindsight, measured scans"
NO_SCANS = (
    "No measured scans were given. Set test_data to a folder of fully sampled multi-coil scans in "
    "the fastMRI layout, for example fastMRI's multicoil_val."
)


def method_label(name: str) -> str:
    """For figures and tables."""
    if name.endswith(HINDSIGHT):
        return f"{label(name.removesuffix(HINDSIGHT))}, best PSNR in hindsight"
    return label(name)


def means(rows: Sequence[Mapping[str, Any]], scan: str, source: str, metric: str) -> np.ndarray:
    """(mask, seed) of one method on one scan."""
    chosen = [row for row in rows if (row["scan"], row["source"]) == (scan, source)]
    masks = sorted({row["mask"] for row in chosen})
    seeds = sorted({row["seed"] for row in chosen})
    values = {(row["mask"], row["seed"]): float(row[metric]) for row in chosen}
    return np.array([[values[mask, seed] for seed in seeds] for mask in masks])


def head_table(rows: Sequence[Mapping[str, Any]], metric: str, digits: int) -> list[dict[str, str]]:
    """Rows: every method; columns: every scan, mean over masks and seeds, and s.d. of seeds."""
    scans = list(dict.fromkeys(row["scan"] for row in rows))
    lines = []
    for source in dict.fromkeys(row["source"] for row in rows):
        line = {f"{metrics.LABELS[metric]}": method_label(source)}
        for scan in scans:
            by_seed = means(rows, scan, source, metric).mean(0)
            spread = f" ± {by_seed.std(ddof=1):.{digits}f}" if len(by_seed) > 1 else ""
            line[scan] = f"{by_seed.mean():.{digits}f}{spread}"
        lines.append(line)
    return lines


def gain_table(
    rows: Sequence[Mapping[str, Any]], sources: Sequence[str], against: str, metric: str = "PSNR"
) -> list[dict[str, Any]]:
    """Gain of networks over one classical method: per scan, interval over masks and seeds.

    Returns:
        Dicts of source, scan, mean, low, high; nan limits with fewer than two masks.
    """
    lines = []
    for source in sources:
        for scan in dict.fromkeys(row["scan"] for row in rows):
            gain = means(rows, scan, source, metric) - means(rows, scan, against, metric)
            low = high = float("nan")
            if len(gain) > 1:
                result = statistics.crossed(gain)
                low, high = result.low, result.high
            lines.append(
                {"source": source, "scan": scan, "mean": float(gain.mean()), "low": low,
                 "high": high}
            )  # fmt: skip
    return lines


def tables_of(rows: Sequence[Mapping[str, Any]]) -> list[report.NamedTable]:
    """One table for every metric, methods by scans; none without scans."""
    if not rows:
        return []
    return [
        report.NamedTable(
            f"tab_05_measured_heads_{metric}",
            tables.from_dicts(head_table(rows, metric, tables.DIGITS[metric])),
        )
        for metric in metrics.ALL_NAMES
        if metric != "NMSE"  # PSNR says the same of one scan
    ]


@dataclass(frozen=True)
class MeanGain:
    """Gain over one classical method in the mean, with an interval where there can be one.

    Attributes:
        mean: over patients (each by the mean of its scans, these over their masks) and seeds.
        interval: of the mean; None where neither patients nor masks are several.
        drawn: what the interval counts as drawn, or why there is none.
    """

    mean: float
    interval: tuple[float, float] | None
    drawn: str

    @property
    def text(self) -> str:
        if self.interval is None:
            return f"{self.mean:+.2f} dB ({self.drawn})"
        return f"{self.mean:+.2f} dB ({self.interval[0]:+.2f} to {self.interval[1]:+.2f})"


def mean_gain(
    rows: Sequence[Mapping[str, Any]], source: str, against: str, metric: str = "PSNR"
) -> MeanGain:
    """Mean gain of one source's networks: patients x seeds, or masks x seeds of a single scan.

    Masks of a scan are averaged first where there are several patients: scans differ
    in their masks, and each counts once however many it has. Networks of OTHER_SCANS
    differ from patient to patient: their seeds are averaged, patients are what is drawn.
    """
    by_patient: dict[str, list[np.ndarray]] = {}
    for scan, patient in {row["scan"]: row["patient"] for row in rows}.items():
        patient = patient_or_scan(patient, scan)
        gain = means(rows, scan, source, metric) - means(rows, scan, against, metric)
        by_patient.setdefault(patient, []).append(gain)  # (mask, seed)
    table = np.array([np.mean([g.mean(0) for g in gains], 0) for gains in by_patient.values()])
    what = f"{len(table)} patients"
    if len(table) == 1:
        (gains,) = by_patient.values()
        if len(gains) > 1 or len(gains[0]) == 1:
            reason = "one mask" if len(gains) == 1 else "scans of one patient"
            return MeanGain(float(table.mean()), None, f"{reason}: no interval")
        table = gains[0]
        what = f"{len(table)} masks of one scan"
    drawn = f"{what} x {table.shape[1]} seeds"
    if source == OTHER_SCANS and len(by_patient) > 1:
        table = table.mean(1, keepdims=True)
        drawn = f"{what}, tested by networks of their own"
    elif table.shape[1] == 1:
        drawn = f"{what} alone; one seed: the spread between trainings is left out"
    result = statistics.crossed(table)
    return MeanGain(result.mean, (result.low, result.high), drawn)


def summary(rows: Sequence[Mapping[str, Any]], sources: Sequence[str]) -> str:
    """What the networks of every source are worth on measured scans, method by method."""
    if not rows:
        return NO_SCANS
    run = {row["source"] for row in rows}
    methods = [*CLASSICAL_ROWS, *(name + HINDSIGHT for name in CLASSICAL_ROWS), grid.SPARSE]
    against = [name for name in methods if name in run]
    lines = [_sentence(rows, source, against) for source in sources]
    drawn = dict.fromkeys(mean_gain(rows, source, against[0]).drawn for source in sources)
    n_masks = len({(row["scan"], row["mask"]) for row in rows})
    lines.append(f"Intervals (95 %, of the mean): {'; '.join(drawn)}. Masks: {n_masks} in all.")
    return "\n".join([*lines, *_weights_at_end(rows)])


def _sentence(rows: Sequence[Mapping[str, Any]], source: str, against: Sequence[str]) -> str:
    parts = []
    for method in against:
        gains = gain_table(rows, [source], method)
        won = sum(gain["mean"] > 0 for gain in gains)
        worst = min(gains, key=lambda gain: gain["mean"])
        parts.append(
            f"  {method_label(method)}: better in {won} of {len(gains)} scans, "
            f"{mean_gain(rows, source, method).text} in the mean, {worst['mean']:+.2f} dB in the "
            f"worst ({worst['scan']})"
        )
    return "\n".join([f"Networks trained on {label(source)} against", *parts])


def _weights_at_end(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence where the weight in hindsight is the smallest or largest that was tried."""
    counts = []
    for name in CLASSICAL_ROWS:
        here = [row for row in rows if row["source"] == name + HINDSIGHT]
        n_ends = sum(row["weight_at_end"] for row in here)
        if n_ends:
            counts.append(f"{label(name)} {n_ends} of {len(here)} times")
    if not counts:
        return []
    return [
        "The weight of best PSNR in hindsight was the smallest or largest of those tried, so that "
        f"another might do better: {', '.join(counts)}."
    ]
