"""The area under the ROC curve of a few tests, with an interval that counts patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Scores:
    """What one network says of the patients that it did not learn from.

    Attributes:
        patients: (example,) who; is_measured: (example,) bool.
        values: (example,) float, the larger the more like measured phase.
    """

    patients: np.ndarray
    is_measured: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Auroc:
    """Area under the ROC curve, mean over networks, with its 95 % interval.

    Attributes:
        value: probability that a measured phase scores higher than a synthetic one.
        low, high: of the interval, which counts patients, not slices.
        n_patients: that were tested, with measured or synthetic phase.
        n_slices: of measured phase among theirs.
        n_networks: that were trained.
    """

    value: float
    low: float
    high: float
    n_patients: int
    n_slices: int
    n_networks: int

    @property
    def is_distinguished(self) -> bool:
        """Whether guessing lies outside of the interval."""
        return not self.low <= 0.5 <= self.high


def area(higher: np.ndarray, lower: np.ndarray) -> float:
    """Share of pairs of scores (n,), (m,) in the right order, ties counted half."""
    return float(_order(higher, lower).mean())


def _order(higher: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """(n, m): 1 where a pair is in the right order, 0.5 where it ties."""
    return (higher[:, None] > lower) + 0.5 * (higher[:, None] == lower)


def clustered_auroc(tests: Sequence[Scores]) -> Auroc:
    """Mean AUROC of several tests of the same slices, and its t-interval over patients.

    Each patient is left out in turn, with all slices and in all tests (the jackknife);
    so many slices or networks of few patients do not narrow the interval.
    An interval without width means that all slices of all patients were distinguished.

    Raises:
        ValueError: a test without two patients of each kind.

    Source: DeLong et al., Biometrics 44:837 (1988), and Obuchowski, Biometrics 53:567
    (1997), whose variances the jackknife approaches.
    """
    patients = sorted({str(patient) for test in tests for patient in test.patients})
    counted = [_wins(test, patients) for test in tests]

    def mean(weights: np.ndarray) -> float:
        """With every patient counted so often."""
        values = [
            weights @ wins @ weights / ((weights @ measured) * (weights @ synthetic))
            for wins, measured, synthetic in counted
        ]
        return float(np.mean(values))

    n = len(patients)
    everybody = np.ones(n)
    value = mean(everybody)
    without = np.array([mean(everybody - np.eye(n)[index]) for index in range(n)])
    error = np.sqrt((n - 1) / n * np.square(without - without.mean()).sum())
    reach = float(stats.t.ppf(0.975, n - 1) * error)
    return Auroc(
        value=value,
        low=max(0.0, value - reach),
        high=min(1.0, value + reach),
        n_patients=n,
        n_slices=int(counted[0][1].sum()),
        n_networks=len(tests),
    )


def _wins(test: Scores, patients: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of measured and synthetic slices that are ordered rightly, ties counted half.

    Returns:
        (patient, patient) of the measured and the synthetic one; (patient,) number of
        measured slices, and of synthetic ones.
    """
    member = test.patients[None, :] == np.array(patients)[:, None]  # (patient, example)
    measured, synthetic = member[:, test.is_measured], member[:, ~test.is_measured]
    for kind, members in (("measured", measured), ("synthetic", synthetic)):
        if members.any(1).sum() < 2:
            raise ValueError(
                f"a test has {members.any(1).sum()} patients with {kind} phase; expected two or "
                "more, for the interval counts patients. Add patients."
            )
    right = _order(test.values[test.is_measured], test.values[~test.is_measured])
    return (
        measured.astype(float) @ right @ synthetic.T.astype(float),
        measured.sum(1).astype(float),
        synthetic.sum(1).astype(float),
    )
