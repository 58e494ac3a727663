"""How often the audit errs: known defects put into clean scans, and what it says of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from synthlib import arrays
from synthlib.audit.cases import Case, Clean, cases, magnitude_of
from synthlib.audit.checks import CHECKS
from synthlib.audit.examining import examine
from synthlib.audit.findings import Audit
from synthlib.records import ImageVolume, RawVolume

__all__ = [
    "Case",
    "Clean",
    "Row",
    "Trial",
    "as_text",
    "cases",
    "clean_scan",
    "error_rates",
    "examined",
    "magnitude_of",
    "run",
]
CLEAN = "clean"
TOP = 4095


@dataclass(frozen=True)
class Trial:
    """What the audit said of one scan with one defect; `case` is None for the clean scan."""

    case: Case | None
    scan: str
    report: Audit


@dataclass(frozen=True)
class Row:
    """Error rates of one check at one defect, over scans.

    Attributes:
        check, defect, strength: as in Case; "clean" and "" for false positives.
        n: scans that could be judged; n_unjudged: whose measure was nan.
        measure: median; threshold: median.
        n_errors: of n: scans whose defect was missed, or clean scans in which the check
            found something.
        interval: (low, high), 95 % confidence interval of n_errors / n (Clopper and Pearson),
            right if scans are of different subjects.
        others: other checks that found something in more than half of the scans.
    """

    check: str
    defect: str
    strength: str
    n: int
    n_unjudged: int
    measure: float
    threshold: float
    n_errors: int
    interval: tuple[float, float]
    others: tuple[str, ...]

    @property
    def false_negatives(self) -> float:
        """Share of n in which the defect was missed, nan for clean scans."""
        return float("nan") if self.defect == CLEAN else self._share

    @property
    def false_positives(self) -> float:
        """Share of n clean scans in which the check found something, nan for defects."""
        return self._share if self.defect == CLEAN else float("nan")

    @property
    def _share(self) -> float:
        return self.n_errors / self.n if self.n else float("nan")


def clean_scan(volume: RawVolume, brain: Tensor | None = None) -> Clean:
    """A fully measured scan, as a ground for defects.

    Args:
        volume: without zero-padding and undersampling.
        brain: bool (slice, y, x) on its image_shape.

    Raises:
        ValueError: part of k-space was not measured.
    """
    if volume.undersampled or volume.acquired != (0, int(volume.kspace.shape[-1])):
        raise ValueError(
            f"{volume.name} was not measured in whole; expected a clean scan as ground truth. "
            "Choose another one."
        )
    images = [volume.coil_images(index) for index in range(volume.n_slices)]
    return Clean(volume.name, torch.stack([arrays.fft2c(one) for one in images]), brain)


def stored(magnitude: Tensor) -> Tensor:
    """As scanners store images: whole numbers of 12 bits, the volume's maximum 4095."""
    return (magnitude * (TOP / magnitude.max().clamp(min=1e-30))).round()


def examined(name: str, magnitude: Tensor) -> Audit:
    """Audit magnitudes alone, stored as whole numbers, with nothing from a header."""
    return examine(ImageVolume(name, name, "unknown", stored(magnitude)))


def run(scans: Iterable[Clean], chosen: Sequence[Case] | None = None) -> Iterator[Trial]:
    """Examine each scan clean, then with every defect that it allows.

    Args:
        chosen: of :func:`cases`; None takes all.
    """
    for scan in scans:
        yield Trial(None, scan.name, examined(scan.name, scan.magnitude))
        for case in cases() if chosen is None else chosen:
            if case.check != "skull_stripped" or scan.brain is not None:
                yield Trial(case, scan.name, examined(scan.name, case.make(scan)))


def error_rates(trials: Iterable[Trial]) -> list[Row]:
    """One row for each defect and strength, then one for each check on clean scans."""
    groups: dict[tuple[str, str, str], list[Audit]] = {}
    for trial in trials:
        case = trial.case
        keys = (
            [(case.check, case.defect, case.strength)]
            if case
            else [(name, CLEAN, "") for name in CHECKS]
        )
        for key in keys:
            groups.setdefault(key, []).append(trial.report)
    rows = [_row(*key, reports) for key, reports in groups.items()]
    return sorted(rows, key=lambda row: (row.defect == CLEAN, list(CHECKS).index(row.check)))


def _row(check: str, defect: str, strength: str, reports: Sequence[Audit]) -> Row:
    findings = [report[check] for report in reports]
    judged = [finding for finding in findings if not math.isnan(finding.measure)]
    n_found = sum(finding.found for finding in judged)
    n_errors = n_found if defect == CLEAN else len(judged) - n_found
    others = tuple(
        name
        for name in CHECKS
        if name != check
        and defect != CLEAN
        and 2 * sum(report[name].found for report in reports) > len(reports)
    )
    return Row(
        check,
        defect,
        strength,
        len(judged),
        len(findings) - len(judged),
        _median([finding.measure for finding in judged]),
        _median([finding.threshold for finding in judged]),
        n_errors,
        exact_interval(n_errors, len(judged)),
        others,
    )


def exact_interval(n_errors: int, n: int) -> tuple[float, float]:
    """95 % interval of a share by Clopper and Pearson, Biometrika 26:404 (1934); (0, 1) of none."""
    low = float(stats.beta.ppf(0.025, n_errors, n - n_errors + 1)) if n_errors else 0.0
    high = float(stats.beta.ppf(0.975, n_errors + 1, n - n_errors)) if n_errors < n else 1.0
    return low, high


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else float("nan")


def as_text(rows: Sequence[Row]) -> str:
    """A table for people: one line a row."""
    lines = [
        f"{'check':20s} {'defect':26s} {'strength':16s} {'n':>3s} {'unjudged':>8s} "
        f"{'measure':>8s} {'threshold':>9s} {'errors':>7s} {'interval':>12s}  also found"
    ]
    for row in rows:
        errors = row.false_positives if row.defect == CLEAN else row.false_negatives
        low, high = (100 * share for share in row.interval)
        kind = "false +" if row.defect == CLEAN else "missed"
        lines.append(
            f"{row.check:20s} {row.defect:26s} {row.strength:16s} {row.n:3d} {row.n_unjudged:8d} "
            f"{row.measure:8.3g} {row.threshold:9.3g} {100 * errors:5.1f} % "
            f"{low:3.0f} to {high:3.0f} % {kind:8s}"
            f"{', '.join(row.others)}"
        )
    return "\n".join(lines)
