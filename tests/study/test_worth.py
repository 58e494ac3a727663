"""Worth of synthetic scans: curves without noise read by hand, intervals in simulated studies."""

import math

import numpy as np
import pytest
from scipy import stats

from synthlib.recon import grid
from synthlib.study import worth

NUMBERS = (2, 5, 11)


def curve(n: float) -> float:
    """Rising as log(1 + n), dB."""
    return 26 + 1.2 * math.log1p(n)


def rows(
    synthetic_psnr: float, noise: float = 0.0, draw: np.random.Generator | None = None
) -> list[dict[str, object]]:
    """Measured-only networks of NUMBERS patients, synthetic-only ones, and both together."""
    draw = draw or np.random.default_rng(0)
    of_patient = 2 * draw.standard_normal(12)
    levels = {(n, 0): curve(n) for n in NUMBERS} | {(n, 60): curve(n + 1) for n in NUMBERS}
    levels[0, 60] = synthetic_psnr
    made = []
    for (n_real, n_synthetic), level in levels.items():
        by_patient = noise * draw.standard_normal(12)
        by_seed = noise * draw.standard_normal(3)
        made += [
            {"n_real": n_real, "n_synthetic": n_synthetic, "seed": seed, "patient": f"p{p}",
             "PSNR": level + of_patient[p] + by_patient[p] + by_seed[seed]
             + noise / 2 * draw.standard_normal()}
            for p in range(12)
            for seed in range(3)
        ]  # fmt: skip
    return made


@pytest.mark.parametrize("n", [2.0, 3.5, 5.0, 9.0])
def test_a_curve_without_noise_gives_the_number_back(n):
    rate = worth.exchange_rate(rows(curve(n)), 20)
    assert rate.worth == pytest.approx(n, abs=1e-6)
    assert (rate.n_synthetic, rate.n_patients, rate.n_seeds) == (60, 12, 3)
    assert (rate.n_min, rate.n_max) == (2, 11)
    if n in (3.5, 9.0):  # the interval closes up, to the width of its grid
        assert n / 1.06 <= rate.low <= n * 1.06
        assert n / 1.06 <= rate.high <= n * 1.06


def test_beyond_the_curve_it_says_at_least_and_below_it_less():
    above = worth.exchange_rate(rows(curve(30)), 20)
    assert (above.worth, above.low, above.high) == (math.inf,) * 3
    assert (
        "Synthetic scans of 20 patients (60 scans) are worth more than 11 measured patients"
        in above.sentence()
    )
    below = worth.exchange_rate(rows(curve(1)), 20)
    assert (below.worth, below.low, below.high) == (0, 0, 0)
    assert (
        "Synthetic scans of 20 patients (60 scans) are worth fewer than 2 measured patients"
        in below.sentence()
    )
    wide = worth.exchange_rate(rows(curve(10), noise=0.5), 20)
    assert wide.high == math.inf
    assert re_interval(wide).endswith("to more than 11")


def test_the_untrained_network_is_the_curves_point_at_no_patient():
    untrained = [
        {**row, "source": source, "seed": 0, "n_coils": 8, "acceleration": r, "PSNR": psnr}
        for row in rows(curve(1))
        if (row["n_real"], row["n_synthetic"], row["seed"]) == (2, 0, 0)
        for source, r, psnr in (
            (grid.UNTRAINED, 4, row["PSNR"] - curve(2) + curve(0)),
            (grid.UNTRAINED, 8, 0.0),
            (grid.CG_SENSE, 4, 0.0),
        )
    ]
    zero = worth.untrained_rows(untrained, 8, 4)
    assert len(zero) == 12
    here = [{**row, "n_coils": 8, "acceleration": 4} for row in rows(curve(1))]
    rate = worth.exchange_rate([*here, *zero], 20)
    assert rate.worth == pytest.approx(1, abs=1e-6)
    assert (rate.n_min, rate.n_first, rate.n_seeds) == (0, 2, 3)
    assert "are worth fewer than 2 measured patients (" in rate.sentence()  # none between 0 and 2
    harmful = [{**row, "n_coils": 8, "acceleration": 4} for row in rows(curve(-0.5))]
    text = worth.exchange_rate([*harmful, *zero], 20).sentence()
    assert "train networks no better than the untrained one (95 % interval none to none" in text
    line = worth.curve_rows([*here, *zero], 20)[0]
    assert line["PSNR, measured only"] != "-"
    assert line["gain"] == f"{curve(1) - curve(0):+.2f}"


def re_interval(rate: worth.ExchangeRate) -> str:
    return rate.sentence().split("interval ")[1].split(";")[0]


@pytest.mark.parametrize("n", [3.5, 7.0])
def test_the_interval_holds_the_truth_in_95_percent(monkeypatch, n):
    monkeypatch.setattr(worth, "POINTS_PER_SEGMENT", 12)
    draw, n_studies = np.random.default_rng(round(n)), 60
    rates = [worth.exchange_rate(rows(curve(n), 0.1, draw), 20) for _ in range(n_studies)]
    held = sum(rate.low <= n <= rate.high for rate in rates)
    assert held >= stats.binom.ppf(0.005, n_studies, 0.95)
    assert sum(rate.low > 2 and rate.high < 11 for rate in rates) > n_studies / 2  # not vacuous


def test_a_dip_of_the_curve_does_not_matter_once_it_is_monotone():
    numbers = np.array([2.0, 5.0, 11.0])
    assert worth._crossing(numbers, np.array([28.0, 28.0, 30.0]), 29.0) == pytest.approx(
        math.expm1((math.log(6) + math.log(12)) / 2)
    )
    dipped = [
        row | {"PSNR": row["PSNR"] - (1.0 if (row["n_real"], row["n_synthetic"]) == (5, 0) else 0)}
        for row in rows(curve(9))
    ]
    assert 5 < worth.exchange_rate(dipped, 20).worth < 11


def test_one_training_is_named_in_the_sentence():
    single = [row for row in rows(curve(4), 0.1) if row["seed"] == 0]
    assert "one training each: the spread between trainings is left out" in (
        worth.exchange_rate(single, 20).sentence()
    )


def test_the_table_shows_both_curves_and_what_synthetic_scans_add():
    lines = worth.curve_rows(rows(curve(4)), 20)
    assert [line["measured patients"] for line in lines] == ["0", "2", "5", "11"]
    assert (lines[0]["PSNR, measured only"], lines[0]["gain"]) == ("-", "-")
    for n, line in zip(NUMBERS, lines[1:], strict=True):
        assert line["gain"] == f"{curve(n + 1) - curve(n):+.2f}"
        assert line["95 % interval"] == f"{line['gain']} to {line['gain']}"


def test_what_gives_no_curve_is_refused():
    made = rows(curve(4))
    with pytest.raises(ValueError, match="rows of 2 settings"):
        worth.exchange_rate([made[0] | {"acceleration": 4}, *made[1:]], 20)
    with pytest.raises(ValueError, match=r"trained with \[5\] patients"):
        worth.exchange_rate([row for row in made if row["n_real"] in (0, 5)], 20)
    with pytest.raises(ValueError, match=r"numbers of synthetic scans: \[60, 90\]"):
        worth.exchange_rate([*made, made[-1] | {"n_synthetic": 90}], 20)
    with pytest.raises(ValueError, match=r"2 measured \+ 0 synthetic with seed 0 .* patient p0"):
        worth.exchange_rate(made[1:], 20)
