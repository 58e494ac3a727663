"""Variance of the mean of a table whose patients and seeds are both random, and what it can see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from synthlib import runs

Table = NDArray[np.float64]

CAUTION = 0.85  # confidence of the mean squares' upper limits in the degrees of freedom
POWER = 0.8
ALPHA = 0.05
N_SIMULATED_DESIGNS = 4000


def mean_squares(table: Table) -> tuple[Table, Table, Table, Table]:
    """Mean, and mean squares of patients, seeds and residual, of (..., patient, seed).

    With one seed the last two are 0 and that of the patients holds the residual.
    """
    n_patients, n_seeds = table.shape[-2:]
    mean = table.mean((-2, -1), keepdims=True)
    by_patient = table.mean(-1, keepdims=True) - mean
    by_seed = table.mean(-2, keepdims=True) - mean
    rest = table - mean - by_patient - by_seed
    patients = n_seeds * np.square(by_patient).sum((-2, -1)) / (n_patients - 1)
    seeds = n_patients * np.square(by_seed).sum((-2, -1)) / max(n_seeds - 1, 1)
    residual = np.square(rest).sum((-2, -1)) / max((n_patients - 1) * (n_seeds - 1), 1)
    return mean[..., 0, 0], patients, seeds, residual if n_seeds > 1 else 0 * residual


@dataclass(frozen=True)
class Shares:
    """What patients, seeds and residual contribute to the variance of a mean.

    Each is a mean square over (patients x seeds): its expectation holds the
    residual's share, too, which is therefore subtracted once.
    """

    patients: float
    df_patients: float
    seeds: float
    df_seeds: float
    residual: float
    df_residual: float

    def variance_and_df(self) -> tuple[Table, Table]:
        """Variance of the mean, and the degrees of freedom of its t interval."""
        return self._variance_and_df(
            np.asarray(self.patients), np.asarray(self.seeds), np.asarray(self.residual)
        )

    def _variance_and_df(
        self, patients: Table, seeds: Table, residual: Table
    ) -> tuple[Table, Table]:
        def total(a: Table, b: Table) -> Table:
            return np.maximum(a + b - residual, np.maximum(a, b))

        high_patients = patients * _upper_factor(self.df_patients)
        high_seeds = seeds * _upper_factor(self.df_seeds)
        spread = np.square(high_patients) / self.df_patients + np.square(high_seeds) / self.df_seeds
        fewest, most = sorted((self.df_patients, self.df_seeds))
        ratio = np.square(total(high_patients, high_seeds)) / np.where(spread > 0, spread, np.inf)
        return total(patients, seeds), np.clip(ratio, fewest, most)

    def smallest_detectable(self) -> float:
        """Difference found with probability POWER, the shares taken as the truth.

        Mean and mean squares of a normal table are independent, so the power is
        that of a normal mean, averaged over simulated mean squares.
        """
        residual = self.residual
        patients, seeds = max(self.patients, residual), max(self.seeds, residual)
        sigma = float(np.sqrt(patients + seeds - residual))
        if sigma == 0:
            return 0.0
        draw = np.random.default_rng(runs.seed_for(0, "smallest detectable difference"))

        def simulated(value: float, df: float) -> Table:
            return value * draw.chisquare(max(df, 1), N_SIMULATED_DESIGNS) / max(df, 1)

        variance, df = self._variance_and_df(
            simulated(patients, self.df_patients),
            simulated(seeds, self.df_seeds),
            simulated(residual, self.df_residual),
        )
        threshold = np.sqrt(variance) * stats.t.ppf(1 - ALPHA / 2, df) / sigma

        def power(shift: float) -> float:
            both = stats.norm.sf(threshold - shift) + stats.norm.sf(threshold + shift)
            return float(both.mean())

        highest = 2 * float(threshold.max()) + 10
        return sigma * float(optimize.brentq(lambda shift: power(shift) - POWER, 0, highest))


def _upper_factor(df: float) -> float:
    """From a mean square to its upper confidence limit."""
    return float(df / stats.chi2.ppf(1 - CAUTION, df))
