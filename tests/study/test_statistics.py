"""Differences: analysis of variance by hand, false alarms and power in simulated studies."""

import math

import numpy as np
import pytest
from scipy import stats

from synthlib.study import crossed, statistics

PLACE = {"n_coils": 8, "acceleration": 4}
N_STUDIES = 200
# standard deviations patient : seed : residual, of a difference in dB
RATIOS = [(0.3, 0.0, 0.1), (0.3, 0.1, 0.1), (0.3, 0.3, 0.1), (0.1, 0.3, 0.1), (0.0, 0.3, 0.03),
          (0.0, 0.1, 0.3)]  # fmt: skip


def expected_counts(probability: float) -> tuple[int, int]:
    """99 % of the counts that N_STUDIES tests of this probability give."""
    low, high = stats.binom.interval(0.99, N_STUDIES, probability)
    return int(low), int(high)


def tables(ratio: tuple[float, float, float], shift: float = 0.0) -> np.ndarray:
    """(study, 12 patients, 3 seeds) from the crossed model."""
    draw = np.random.default_rng([round(100 * part) for part in ratio])
    patient, seed, residual = ratio
    return (
        shift
        + patient * draw.standard_normal((N_STUDIES, 12, 1))
        + seed * draw.standard_normal((N_STUDIES, 1, 3))
        + residual * draw.standard_normal((N_STUDIES, 12, 3))
    )


# --- by hand -------------------------------------------------------------------------


def test_analysis_of_variance_by_hand():
    # mean 4; patients 2, 4, 6; seeds 3, 5; residuals 0 0 / -1 1 / 1 -1
    result = statistics.crossed(np.array([[1.0, 3.0], [2.0, 6.0], [6.0, 6.0]]))
    # mean squares 8, 6 and 2 with 2, 1 and 2 degrees of freedom
    assert result.mean == 4
    assert (result.patient, result.seed, result.residual) == pytest.approx((3, 4 / 3, 2))
    assert result.standard_error == pytest.approx(math.sqrt((8 + 6 - 2) / 6))
    # upper 85 % limits: chi-square with 2 degrees is exponential, with 1 a squared normal number
    patients = 8 * 2 / (-2 * math.log(0.85))
    seeds = 6 / stats.norm.ppf(0.5 + 0.15 / 2) ** 2
    df = (patients + seeds - 2) ** 2 / (patients**2 / 2 + seeds**2)
    assert result.df == pytest.approx(df)
    reach = math.sqrt(2) * stats.t.ppf(0.975, df)
    assert (result.low, result.high) == pytest.approx((4 - reach, 4 + reach))
    assert result.p_value == pytest.approx(2 * stats.t.sf(4 / math.sqrt(2), df))
    assert result.p_equivalent(5) == pytest.approx(stats.t.sf(1 / math.sqrt(2), df))
    assert (result.n_patients, result.n_seeds, result.seeds_seen) == (3, 2, True)


def test_where_only_patients_or_only_seeds_vary_it_is_the_t_test_of_those():
    by_patient = np.random.default_rng(1).normal(0.3, 1, 11)
    for table in (np.repeat(by_patient[:, None], 3, 1), by_patient[:, None]):
        result = statistics.crossed(table)
        expected = stats.ttest_1samp(by_patient, 0).confidence_interval(0.95)
        assert (result.low, result.high) == pytest.approx((expected.low, expected.high))
    by_seed = by_patient[:3]
    result = statistics.crossed(np.repeat(by_seed[None], 11, 0))
    expected = stats.ttest_1samp(by_seed, 0).confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))


def test_the_same_networks_under_two_names_differ_by_nothing():
    result = statistics.crossed(np.zeros((5, 3)))
    assert (result.mean, result.low, result.high, result.p_value) == (0, 0, 0, 1)
    assert result.p_equivalent(0.3) == 0


# --- false alarms and power ----------------------------------------------------------


@pytest.mark.parametrize("ratio", RATIOS)
def test_one_source_under_two_names_raises_five_percent_of_alarms(simulate, ratio):
    draw = np.random.default_rng([round(1000 * part) for part in ratio])
    patient, seed, residual = ratio
    results = [
        statistics.difference(
            simulate({"a": 30.0, "b": 30.0}, draw, patient=patient, seed=seed, residual=residual),
            "a", "b", **PLACE,
        )
        for _ in range(N_STUDIES)
    ]  # fmt: skip
    alarms = sum(result.p_value < 0.05 for result in results)
    assert alarms <= expected_counts(0.05)[1]
    assert alarms == sum(not result.low <= 0 <= result.high for result in results)
    if 0 in (patient, seed) and max(patient, seed) > residual:  # exact; else it may be cautious
        assert alarms >= expected_counts(0.05)[0]


def test_counting_every_cell_as_independent_would_not_pass():
    cells = tables((0.1, 0.3, 0.1)).reshape(N_STUDIES, -1)
    alarms = int((stats.ttest_1samp(cells, 0, axis=1).pvalue < 0.05).sum())
    assert alarms > 5 * expected_counts(0.05)[1]


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_smallest_detectable_difference_is_found_at_the_stated_power(ratio):
    patient, seed, residual = (deviation**2 for deviation in ratio)
    n_cells = 12 * 3
    shift = crossed.Shares(
        patients=(residual + 3 * patient) / n_cells,
        df_patients=11,
        seeds=(residual + 12 * seed) / n_cells,
        df_seeds=2,
        residual=residual / n_cells,
        df_residual=22,
    ).smallest_detectable()
    powered = sum(statistics.crossed(table).p_value < 0.05 for table in tables(ratio, shift))
    low, high = expected_counts(crossed.POWER)
    assert low <= powered <= high


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("side", [-1, 1])
def test_a_difference_as_large_as_the_margin_is_seldom_called_equivalent(ratio, side):
    margin = 2.0
    calls = sum(
        statistics.crossed(table).p_equivalent(margin) < 0.05
        for table in tables(ratio, side * margin)
    )
    assert calls <= expected_counts(0.05)[1]
    equal = [statistics.crossed(table).p_equivalent(margin) < 0.05 for table in tables(ratio)]
    assert sum(equal) > 0.8 * N_STUDIES


def test_smallest_detectable_difference_of_patients_alone_is_that_of_the_t_test():
    table = np.random.default_rng(3).normal(size=(9, 1))
    result = statistics.crossed(table)
    shift = result.smallest_detectable / result.standard_error  # noncentrality
    threshold = stats.t.ppf(0.975, 8)
    power = stats.nct.sf(threshold, 8, shift) + stats.nct.cdf(-threshold, 8, shift)
    assert power == pytest.approx(crossed.POWER, abs=0.01)


# --- rows ----------------------------------------------------------------------------


def test_order_of_rows_does_not_matter(simulate):
    draw = np.random.default_rng(4)
    rows = simulate({"a": 30.0, "b": 29.0}, draw, contrasts=("T1", "T2"))
    turned = [rows[i] for i in draw.permutation(len(rows))]
    assert statistics.difference(rows, "a", "b", **PLACE) == statistics.difference(
        turned, "a", "b", **PLACE
    )


def test_patients_count_and_not_their_scans(simulate):
    rows = simulate({"a": 30.0, "b": 29.0}, np.random.default_rng(5))
    result = statistics.difference(rows, "a", "b", **PLACE)
    again = [row | {"volume": f"{row['volume']}-again"} for row in rows]
    for more in (rows + rows, rows + again, rows + again[:12] + again[36:48]):
        doubled = statistics.difference(more, "a", "b", **PLACE)
        assert (doubled.low, doubled.high) == pytest.approx((result.low, result.high))
        assert (doubled.n_patients, doubled.n_seeds) == (12, 3)


def test_scans_of_a_patient_are_averaged_first():
    scans = [("p", "p1", 1.0), ("p", "p2", 3.0), ("p", "p3", 8.0), ("q", "q1", 5.0)]
    rows = [
        PLACE
        | {"source": source, "seed": seed, "patient": patient, "volume": volume}
        | {"PSNR": value if source == "a" else 0.0}
        for source in ("a", "b")
        for seed in (3, 8)
        for patient, volume, value in scans
    ]
    assert statistics.difference(rows, "a", "b", **PLACE).mean == (4 + 5) / 2  # not 17 / 4


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (
            {"source": "b", "seed": 2},
            "b with seed 2 on scan patient0-T2 of patient patient0.* more",
        ),
        ({"source": "a", "patient": "patient7", "seed": 0}, "a with seed 0 on .* patient7"),
        ({"source": "b"}, "no rows of source 'b' at 8 coils, R = 4; sources there: a"),
    ],
)
def test_missing_rows_are_named(simulate, drop, message):
    rows = simulate({"a": 30.0, "b": 29.0}, np.random.default_rng(6))
    some = [row for row in rows if any(row[key] != value for key, value in drop.items())]
    with pytest.raises(ValueError, match=message):
        statistics.difference(some, "a", "b", **PLACE)


def test_values_that_cannot_be_compared_are_refused(simulate):
    rows = simulate({"a": 30.0, "b": 29.0}, np.random.default_rng(7))
    with pytest.raises(ValueError, match="is nan; expected a number"):
        statistics.difference([*rows[:-1], rows[-1] | {"PSNR": math.nan}], "a", "b", **PLACE)
    with pytest.raises(ValueError, match="has no 'head_PSNR'"):
        statistics.difference(rows, "a", "b", metric="head_PSNR", **PLACE)
    alone = [row for row in rows if row["patient"] == "patient3"]
    with pytest.raises(ValueError, match=r"two patients or more"):
        statistics.difference(alone, "a", "b", **PLACE)


# --- seeds ---------------------------------------------------------------------------


def test_a_source_without_seeds_is_compared_with_every_seed(simulate):
    rows = simulate({"a": 30.0, "cg_sense": 27.0, "ceiling": 35.0}, np.random.default_rng(8))
    values = {(row["source"], row["patient"], row["seed"]): row["PSNR"] for row in rows}
    table = np.array(
        [
            [values["a", f"patient{p}", s] - values["cg_sense", f"patient{p}", 0] for s in range(3)]
            for p in range(12)
        ]
    )
    result = statistics.difference(rows, "a", "cg_sense", **PLACE)
    expected = statistics.crossed(table)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))
    untrained = statistics.difference(rows, "ceiling", "cg_sense", **PLACE)
    assert (untrained.n_seeds, untrained.seeds_seen, untrained.n_patients) == (0, True, 12)


def test_one_training_does_not_show_its_spread_but_can_use_that_of_another_place(simulate):
    draw = np.random.default_rng(9)
    several = statistics.difference(simulate({"a": 30.0, "b": 29.0}, draw), "a", "b", **PLACE)
    rows = simulate({"a": 30.0, "b": 29.0}, draw, n_seeds=1, acceleration=8)
    alone = statistics.difference(rows, "a", "b", n_coils=8, acceleration=8)
    assert (alone.seeds_seen, alone.n_seeds, alone.own_seed_variance) == (False, 1, None)
    assert math.isnan(alone.seed) and math.isnan(alone.residual)
    other = several.own_seed_variance
    assert other is not None
    assert other.df == 2
    assert other.variance == pytest.approx(several.seed + several.residual / 12)
    widened = statistics.difference(rows, "a", "b", n_coils=8, acceleration=8, seed_variance=other)
    assert widened.seeds_seen
    assert widened.given_seed_variance == other
    assert widened.standard_error**2 == pytest.approx(alone.standard_error**2 + other.variance)
    assert widened.low < alone.low < alone.high < widened.high
    assert 2 <= widened.df <= 13


def test_a_given_seed_variance_keeps_five_percent():
    alarms = 0
    for other_table, table in zip(tables((0.2, 0.3, 0.1)), tables((0.3, 0.3, 0.1)), strict=True):
        other = statistics.crossed(other_table).own_seed_variance
        alarms += statistics.crossed(table[:, :1], seed_variance=other).p_value < 0.05
    assert alarms <= expected_counts(0.05)[1]


def test_seed_variance_pooled_over_two_sources_is_their_own_and_over_more_its_mean(simulate):
    draw = np.random.default_rng(10)
    levels = {"a": 30.0, "b": 29.0, "c": 28.0, "d": 31.0}
    rows = simulate(levels, draw)
    own = statistics.difference(rows, "a", "b", **PLACE).own_seed_variance
    two = statistics.pooled_seed_variance(rows, ["b", "a"], **PLACE)
    assert own is not None
    assert (two.variance, two.df) == pytest.approx((own.variance, own.df))
    many = [
        statistics.pooled_seed_variance(simulate(levels, draw), list(levels), **PLACE)
        for _ in range(100)
    ]
    assert {variance.df for variance in many} == {6}
    mean = np.mean([variance.variance for variance in many])
    assert mean == pytest.approx(0.1**2 + 0.1**2 / 12, rel=0.15)  # seed + residual / patients
    with pytest.raises(ValueError, match="1 sources with 3 seeds"):
        statistics.pooled_seed_variance(rows, ["a"], **PLACE)
