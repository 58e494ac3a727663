"""The difference between two sources, with an interval that counts only what was drawn.

Two things are drawn independently: patients to test on, and trainings (seeds).
Scans of one patient are not, and neither are patients that one network
reconstructs. So the mean per patient comes first, and a difference is a table
(patient, seed), crossed: every network is tested on every patient, and one seed
fixes initial weights, order and masks for all sources.

    difference[p, s] = mean + patient[p] + seed[s] + residual[p, s]

all three random. Analysis of variance gives their mean squares; the variance of
the mean is (MS_patient + MS_seed - MS_residual) / (P S), and at least what
patients or seeds alone say. The t interval has Satterthwaite's degrees of
freedom, taken at the mean squares' upper 85 % limits: three seeds that happen
to agree would otherwise pretend both a small variance and many degrees of freedom.
They are never more than those of the larger of the two samples.

False alarms of a two-sided 5 % test at 12 patients x 3 seeds, lowest to highest over
18 ratios of the standard deviations patient : seed : residual, from 0:0:1 and 0:1:0.1
to 1:0:0.3 and 1:3:0.3 (40,000 simulated tables each; the last four lines: 8 ratios,
1000 to 1500 tables each):

    this interval                                   0.5 to 5.2 %   (one-sided 1.0 to 5.0 %)
    Satterthwaite's degrees of freedom, plugged in  0.5 to 7.3 %
    two-way bootstrap, studentised                  4.1 to 8.9 %
    two-way bootstrap, percentiles, rescaled        0.2 to 19.8 %
    two-way bootstrap, percentiles                  1.4 to 25.9 %
    t interval over all 36 cells                    5 to 66 %

Other designs, highest: 12 x 2: 4.9 %, 12 x 5: 5.3 %, 6 x 3: 5.5 %, 3 x 3: 4.9 %.

Source: Satterthwaite, Biometrics Bull. 2:110 (1946); Searle, Casella and
McCulloch, Variance Components (1992), chapter 4; Owen, Ann. Appl. Stat. 1:386
(2007) on why crossed bootstraps go wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from synthlib.study.crossed import ALPHA, Shares, mean_squares
from synthlib.study.paired import UNTRAINED, Row, Table, difference_table, patient_tables


@dataclass(frozen=True)
class SeedVariance:
    """How much a difference, averaged over the patients, moves from training to training.

    Attributes:
        variance: of one training, squared units of the metric. It holds the
            residual's share too (residual / patients), so using it elsewhere is cautious.
        df: its degrees of freedom.
        origin: where it was seen, for sentences: "R = 4, 8 coils".
    """

    variance: float
    df: float
    origin: str = ""

    @property
    def spread(self) -> float:
        """Standard deviation between trainings, in units of the metric."""
        return float(np.sqrt(self.variance))


@dataclass(frozen=True)
class Difference:
    """Mean of first less second, and what is sure about it.

    Attributes:
        mean: over patients and seeds, units of the metric.
        low, high: 95 % interval; excludes zero where the two-sided p is below 0.05.
        standard_error, df: of the t distribution behind interval and p values.
        n_patients, n_seeds: how many were drawn; n_seeds is 0 where nothing was trained.
        patient, seed, residual: variance components, not below zero; nan where
            the design cannot separate them (with one seed `patient` holds the residual).
        seeds_seen: whether the interval covers the spread between trainings
            (own seeds, a given variance, or nothing trained).
        own_seed_variance: for use at other accelerations; None with one seed.
        given_seed_variance: what was used instead of the table's own.
        shares: what the variance of the mean consists of.
    """

    mean: float
    low: float
    high: float
    standard_error: float
    df: float
    n_patients: int
    n_seeds: int
    patient: float
    seed: float
    residual: float
    seeds_seen: bool
    own_seed_variance: SeedVariance | None
    given_seed_variance: SeedVariance | None
    shares: Shares = field(repr=False)

    @property
    def smallest_detectable(self) -> float:
        """Difference that such a design finds in 80 % of its repetitions.

        Two-sided at 5 %, one comparison, these variance components.
        """
        return self.shares.smallest_detectable()

    @property
    def p_value(self) -> float:
        """Two-sided p of no difference."""
        return 2 * self._tail(abs(self.mean))

    def p_equivalent(self, margin: float) -> float:
        """p of two one-sided tests (TOST): the true difference is not within +- margin."""
        if not margin > 0:
            raise ValueError(f"margin of equivalence {margin}; expected a number above 0")
        return self._tail(margin - abs(self.mean))

    def _tail(self, distance: float) -> float:
        if self.standard_error == 0:  # identical tables: nothing varies
            return 0.0 if distance > 0 else (0.5 if distance == 0 else 1.0)
        return float(stats.t.sf(distance / self.standard_error, self.df))


def difference(
    rows: Sequence[Row],
    first: str,
    second: str,
    *,
    metric: str = "PSNR",
    n_coils: int,
    acceleration: int,
    seed_variance: SeedVariance | None = None,
    untrained: Collection[str] = UNTRAINED,
) -> Difference:
    """First less second at one coil count and R; see the module for the model.

    Args:
        rows: one per network and test scan, with n_coils, acceleration, source,
            seed, patient, volume and the metric.
        first, second: sources.
        seed_variance: used instead of what this table's own seeds say: from another
            R where there is one seed here, or from :func:`pooled_seed_variance`.
        untrained: sources without seeds; their row is compared with every seed.

    Raises:
        ValueError: fewer than two patients, missing rows, or values that are not finite.
    """
    table = difference_table(
        rows, first, second, metric=metric, n_coils=n_coils, acceleration=acceleration,
        untrained=untrained,
    )  # fmt: skip
    trained = not (first in untrained and second in untrained)
    origin = f"R = {acceleration}, {n_coils} coils"
    return crossed(table, seed_variance=seed_variance, trained=trained, origin=origin)


def crossed(
    table: Table,
    *,
    seed_variance: SeedVariance | None = None,
    trained: bool = True,
    origin: str = "",
) -> Difference:
    """Mean of a table (patient, seed) of differences, both taken as random; see the module.

    With one seed and no `seed_variance` the interval is over patients only.

    Args:
        table: float (patient, seed), at least two patients.
        trained: False where neither source has seeds.
        origin: where the table comes from, kept with its seed variance.

    Raises:
        ValueError: fewer than two patients, or values that are not finite.
    """
    table = np.asarray(table, dtype=float)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 1:
        raise ValueError(
            f"table of differences {table.shape}; expected (patient, seed) with two patients or "
            "more: the spread between patients cannot be seen in one. Test on more patients."
        )
    if not np.isfinite(table).all():
        raise ValueError("the table of differences holds values that are not finite")
    n_patients, n_seeds = table.shape
    mean, patients, seeds, residual = (float(value) for value in mean_squares(table))
    count = n_patients * n_seeds
    own = SeedVariance(seeds / n_patients, n_seeds - 1, origin) if n_seeds > 1 else None
    between = seed_variance if trained and seed_variance else own
    shares = Shares(
        patients=patients / count,
        df_patients=n_patients - 1,
        seeds=between.variance / n_seeds if between else 0.0,
        df_seeds=between.df if between else n_patients - 1,
        residual=residual / count,
        df_residual=(n_patients - 1) * (n_seeds - 1),
    )
    variance, df = shares.variance_and_df()
    reach = float(np.sqrt(variance) * stats.t.ppf(1 - ALPHA / 2, df))
    visible = n_seeds > 1
    return Difference(
        mean=mean,
        low=mean - reach,
        high=mean + reach,
        standard_error=float(np.sqrt(variance)),
        df=float(df),
        n_patients=n_patients,
        n_seeds=n_seeds if trained else 0,
        patient=max(0.0, patients - residual) / n_seeds,
        seed=max(0.0, seeds - residual) / n_patients if visible else float("nan"),
        residual=residual if visible else float("nan"),
        shares=shares,
        seeds_seen=not trained or between is not None,
        own_seed_variance=own,
        given_seed_variance=between if between is not own else None,
    )


def pooled_seed_variance(
    rows: Sequence[Row],
    sources: Sequence[str],
    *,
    metric: str = "PSNR",
    n_coils: int,
    acceleration: int,
) -> SeedVariance:
    """Seed variance of a difference of two of these sources, from all of them together.

    More degrees of freedom, (sources - 1) (seeds - 1), for one assumption: that
    trainings of all these sources spread alike. Where they do, 5 % tests keep
    5 % (7 sources, 12 patients x 3 seeds) with intervals 0.6 to 0.7 times as wide; where
    one of the two compared spreads twice (three times) as much as the others,
    false alarms rise to 13 % (19 %). So it is never taken unasked.

    Args:
        sources: trained ones, two or more.

    Raises:
        ValueError: fewer than two sources or seeds, or as patient_tables.
    """
    means = patient_tables(
        rows, sources, metric=metric, n_coils=n_coils, acceleration=acceleration, untrained=()
    ).mean(1)  # (source, seed)
    n_sources, n_seeds = means.shape
    if n_sources < 2 or n_seeds < 2:
        raise ValueError(
            f"{n_sources} sources with {n_seeds} seeds each; expected two or more of both to see "
            "the spread between trainings"
        )
    rest = means - means.mean(0) - means.mean(1, keepdims=True) + means.mean()
    df = (n_sources - 1) * (n_seeds - 1)
    origin = f"R = {acceleration}, {n_coils} coils, {n_sources} sources"
    return SeedVariance(2 * float(np.square(rest).sum()) / df, df, origin)
