"""Planned comparisons: Holm by hand, planted effects, and sentences that say no more."""

import dataclasses
import re

import numpy as np
import pytest
from scipy import stats

from synthlib import tables
from synthlib.study import marks, sentences, statistics, verdicts

LEVELS = {
    "measured": 30.0,
    "gan": 30.0,
    "zero": 28.0,
    "random": 27.0,
    "sinusoidal": 28.5,
    "polynomial": 31.5,
    "other_patient": 30.1,
    "cg_sense": 26.0,
    "ceiling": 35.0,
}
LABELS = {
    "measured": "Measured phase",
    "gan": "GAN",
    "zero": "Zero phase",
    "random": "Random phase",
    "sinusoidal": "Sinusoidal phase",
    "polynomial": "Smooth polynomial",
    "other_patient": "Another patient's",
    "cg_sense": "CG-SENSE",
    "ceiling": "Ceiling",
}
SPREADS = {"patient": 0.3, "seed": 0.02, "residual": 0.05}


def outcomes(results: list[verdicts.Verdict]) -> dict[str, str]:
    return {verdict.planned.second: verdict.outcome for verdict in results}


@pytest.fixture
def rows(simulate) -> list[dict[str, object]]:
    return simulate(LEVELS, np.random.default_rng(1), **SPREADS)


# --- Holm ----------------------------------------------------------------------------


def test_holm_by_hand():
    # sorted 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, never falling
    assert verdicts.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert verdicts.holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert verdicts.holm([0.7, 0.6, 0.5]) == [1.0, 1.0, 1.0]
    assert verdicts.holm([]) == []


def test_hypotheses_that_contradict_each_other_count_once():
    # of three hypotheses at most two are true: 0.01 x 2, then (0.02 may still be true) 0.02 x 2
    assert verdicts.holm([0.01, 0.02, 0.03], [0, 0, 1]) == pytest.approx([0.02, 0.04, 0.04])
    assert verdicts.holm([0.01, 0.02, 0.03], [0, 1, 1]) == pytest.approx([0.02, 0.02, 0.03])


def test_no_difference_anywhere_raises_few_false_alarms_in_the_family(simulate):
    draw, n_studies = np.random.default_rng(2), 100
    spreads = {"patient": 0.3, "seed": 0.3, "residual": 0.1}
    levels = dict.fromkeys([*LEVELS][:7], 30.0)
    alarms = 0
    for _ in range(n_studies):
        family = verdicts.planned_comparisons(simulate(levels, draw, **spreads), {}, floor=None)
        alarms += any(v.outcome in (verdicts.BETTER, verdicts.WORSE) for v in family)
    assert alarms <= stats.binom.ppf(0.995, n_studies, 0.05)


# --- outcomes ------------------------------------------------------------------------


def test_planted_effects_get_their_outcomes(rows):
    assert outcomes(verdicts.planned_comparisons(rows, LABELS)) == {
        "measured": verdicts.EQUIVALENT,
        "zero": verdicts.BETTER,
        "random": verdicts.BETTER,
        "sinusoidal": verdicts.BETTER,
        "polynomial": verdicts.WORSE,
        "other_patient": verdicts.NOT_DECIDED,
    }


def test_a_source_worse_than_measured_phase_is_called_worse(simulate):
    rows = simulate(LEVELS | {"measured": 31.0}, np.random.default_rng(3), **SPREADS)
    assert outcomes(verdicts.planned_comparisons(rows, LABELS))["measured"] == verdicts.WORSE


def test_where_little_is_better_the_outcome_turns(rows):
    turned = [row | {"NMSE": row["PSNR"]} for row in rows]
    results = verdicts.planned_comparisons(turned, LABELS, metric="NMSE", margin=0.3)
    assert outcomes(results)["zero"] == verdicts.WORSE
    assert outcomes(results)["polynomial"] == verdicts.BETTER
    with pytest.raises(ValueError, match="no margin of equivalence is stated for NMSE"):
        verdicts.planned_comparisons(turned, LABELS, metric="NMSE")


def test_interval_and_p_come_from_one_model(simulate):
    draw = np.random.default_rng(4)
    levels = LEVELS | {"zero": 29.8, "random": 29.7, "sinusoidal": 29.6}
    results = [
        verdict
        for _ in range(10)
        for verdict in verdicts.planned_comparisons(simulate(levels, draw), LABELS)
    ]
    decided = 0
    for verdict in results:
        result = verdict.difference
        assert verdict.p_holm >= verdict.p_value
        assert (result.p_value < 0.05) == (not result.low <= 0 <= result.high)
        if verdict.outcome == verdicts.BETTER:
            assert result.low > 0
            decided += 1
        if verdict.outcome == verdicts.EQUIVALENT:
            reach = result.standard_error * stats.t.ppf(0.95, result.df)  # TOST is a 90 % interval
            assert abs(result.mean) + reach < verdict.margin
    assert 5 < decided < 40  # the planted effects lie where some are found


def test_networks_below_the_floor_are_out_and_stay_in_the_family(simulate):
    rows = simulate(LEVELS | {"random": 25.0}, np.random.default_rng(1), **SPREADS)
    assert marks.excluded(rows) == {(8, 4, "random")}
    results = {v.planned.second: v for v in verdicts.planned_comparisons(rows, LABELS)}
    assert results["random"].outcome == verdicts.NOT_TRAINED_ENOUGH
    assert results["random"].difference is None
    p_values = {name: v.difference.p_value for name, v in results.items() if v.difference}
    undecided = p_values.pop("other_patient")
    # Holm's factor: itself, the one that was not tested, and those with a larger p
    factor = 2 + sum(p_value > undecided for p_value in p_values.values())
    assert results["other_patient"].p_holm == pytest.approx(min(1, factor * undecided))
    with pytest.raises(ValueError, match="no rows of source 'cg_sense'"):
        marks.excluded([row for row in rows if row["source"] != "cg_sense"])


def test_a_gain_late_in_training_is_marked_but_does_not_exclude(rows):
    gains = {(8, 4, "gan", s): gain for s, gain in enumerate((0.2, 0.05, 0.11))}
    gains |= {(8, 4, "zero", s): 0.09 for s in range(3)}
    (mark,) = marks.training_marks(rows, gains=gains)
    assert (mark.source, mark.excluded, mark.still_improving) == ("gan", False, True)
    assert mark.gain == pytest.approx(0.12)


# --- one training, several accelerations -----------------------------------------------


@pytest.fixture
def two_places(simulate) -> list[dict[str, object]]:
    """R = 4 with three seeds, R = 8 with one."""
    draw = np.random.default_rng(5)
    spreads = SPREADS | {"seed": 0.15}
    return simulate(LEVELS, draw, **spreads) + simulate(
        LEVELS, draw, **spreads, n_seeds=1, acceleration=8
    )


def test_where_networks_were_trained_once_another_place_gives_the_spread_or_it_is_named(two_places):
    given = verdicts.planned_comparisons(two_places, LABELS)[6:]
    left_out = verdicts.planned_comparisons(two_places, LABELS, use_other_places=False)[6:]
    for wide, narrow in zip(given, left_out, strict=True):
        other = statistics.difference(
            two_places, "gan", wide.planned.second, n_coils=8, acceleration=4
        ).own_seed_variance
        assert wide.difference.given_seed_variance == other == narrow.left_out
        assert wide.difference.high > narrow.difference.high
        assert not narrow.difference.seeds_seen
    text = sentences.summaries(left_out, two_places, LABELS)[0]["what follows"]
    assert "one training each: the interval leaves out the spread between trainings" in text
    spreads = sorted(verdict.left_out.spread for verdict in left_out)
    assert f"which at R = 4, 8 coils was {spreads[0]:.2f} to {spreads[-1]:.2f} dB" in text
    text = sentences.summaries(given, two_places, LABELS)[0]["what follows"]
    assert f"({spreads[0]:.2f} to {spreads[-1]:.2f} dB) taken from R = 4, 8 coils" in text
    single = [row for row in two_places if row["acceleration"] == 8]
    alone = verdicts.planned_comparisons(single, LABELS)
    for verdict in alone:
        assert "spread between trainings, which was not measured" in sentences.sentence(verdict)


def test_a_pooled_spread_says_so(two_places):
    results = verdicts.planned_comparisons(two_places, LABELS, pooled=True)
    assert {v.difference.given_seed_variance.df for v in results} == {12}  # (7 - 1) x (3 - 1)
    texts = [s["what follows"] for s in sentences.summaries(results, two_places, LABELS)]
    assert "trainings of all sources taken to spread alike" in texts[0]
    assert "taken from R = 4, 8 coils, 7 sources" in texts[1]


# --- words ---------------------------------------------------------------------------


def test_a_summary_holds_the_numbers_and_one_sentence_a_place(rows):
    results = verdicts.planned_comparisons(rows, LABELS)
    (line,) = sentences.summaries(results, rows, LABELS, marks=marks.training_marks(rows))
    text = line["what follows"]
    assert text.startswith("R = 4, 8 coils: GAN ")
    assert "GAN is equivalent to measured phase within 0.3 dB (" in text
    assert "12 patients x 3 seeds, both counted as drawn" in text
    assert "not trained enough" not in text
    for verdict in results:
        result = verdict.difference
        numbers = f"{result.mean:+.2f} dB, 95 % interval {result.low:+.2f} to {result.high:+.2f}"
        assert numbers in text
        assert numbers in sentences.sentence(verdict)
    floor = np.mean([row["PSNR"] for row in rows if row["source"] == "cg_sense"])
    assert f"CG-SENSE {floor:.2f} dB" in text


def test_what_is_not_decided_says_what_could_have_been_seen(rows):
    results = verdicts.planned_comparisons(rows, LABELS)
    (verdict,) = [v for v in results if v.outcome == verdicts.NOT_DECIDED]
    visible = f"{verdict.difference.smallest_detectable:.2f} dB"
    assert f"the smallest difference that this design detects is {visible}" in sentences.sentence(
        verdict
    )
    before_holm = dataclasses.replace(verdict, p_value=0.02, p_holm=0.08)
    assert "p = 0.020 alone, 0.080 after Holm" in sentences.sentence(before_holm)


def test_a_generator_below_the_floor_decides_nothing(simulate):
    rows = simulate(LEVELS | {"gan": 25.0}, np.random.default_rng(6), **SPREADS)
    results = verdicts.planned_comparisons(rows, LABELS)
    assert set(outcomes(results).values()) == {verdicts.NOT_TRAINED_ENOUGH}
    (line,) = sentences.summaries(results, rows, LABELS, marks=marks.training_marks(rows))
    assert (
        "nothing follows; not trained enough and not compared (below the floor's PSNR of "
        in (line["what follows"])
    )
    assert not re.search("better|worse|equivalent", line["what follows"])
    assert sentences.sentence(results[0]).endswith("R = 4, 8 coils: not trained enough")


def test_the_table_of_comparisons_has_a_row_for_each(two_places):
    results = verdicts.planned_comparisons(two_places, LABELS)
    lines = sentences.comparison_rows(results)
    text = tables.from_dicts(lines)["csv"].splitlines()
    assert len(text) == 1 + 12
    assert text[0].startswith(
        "coils,R,PSNR of,less that of,difference (dB),95 % interval,p (Holm),p is of"
    )
    first = results[0].difference
    assert lines[0]["s.d. of patients"] == f"{first.patient**0.5:.2f}"
    assert lines[0]["patients x seeds"] == "12 patients x 3 seeds"
    assert (lines[6]["of seeds"], lines[6]["patients x seeds"]) == (
        "-",
        "12 patients, one training each",
    )


def test_nothing_is_equivalent_where_training_itself_gains_less_than_the_margin():
    """Untrained, measured and GAN lie within 0.1 dB: a TOST alone would call all equivalent."""
    rng = np.random.default_rng(5)
    levels = {"measured": 30.0, "gan": 30.0, "untrained_network": 29.9}

    def rows_of(levels):
        return [
            {"n_coils": 8, "acceleration": 4, "source": source, "seed": seed, "patient": patient,
             "volume": patient, "PSNR": level + 0.01 * rng.standard_normal()}
            for source, level in levels.items()
            for patient in "abcdefgh"
            for seed in ((0,) if source == "untrained_network" else (1, 2, 3))
        ]  # fmt: skip

    labels = {"gan": "GAN", "measured": "Measured phase"}
    (blind,) = verdicts.planned_comparisons(rows_of(levels), labels, floor=None)
    assert not blind.is_sensitive and blind.outcome == verdicts.NOT_DECIDED
    text = sentences.sentence(blind)
    assert "gains 0.1" in text and "does not gain 0.60 dB" in text
    assert "over the untrained network, and" in text
    assert blind.test == verdicts.DIFFERENCE
    assert blind.p_value == blind.difference.p_value
    (seeing,) = verdicts.planned_comparisons(
        rows_of({**levels, "untrained_network": 28.0}), labels, floor=None
    )
    assert (seeing.outcome, seeing.test) == (verdicts.EQUIVALENT, verdicts.EQUIVALENCE)
    # nearness says nothing here, but a difference that is clear is still one
    for level, outcome in ((29.9, verdicts.WORSE), (30.1, verdicts.BETTER)):
        clear_rows = rows_of({**levels, "gan": level})
        (clear,) = verdicts.planned_comparisons(clear_rows, labels, floor=None)
        assert not clear.is_sensitive
        assert clear.difference.p_equivalent(clear.margin) < 0.01
        assert (clear.outcome, clear.test) == (outcome, verdicts.DIFFERENCE)
        assert clear.p_value == clear.difference.p_value
        assert "of difference after Holm" in sentences.sentence(clear)
        assert "gains 0.1" in sentences.sentence(clear)
        (line,) = sentences.comparison_rows([clear])
        assert (line["verdict"], line["p is of"]) == (outcome, "difference")


def test_without_an_untrained_network_the_floor_shows_what_training_gains(simulate):
    """End-to-end networks have no start of any use: CG-SENSE, 4 dB or less than 0.6 dB below."""
    for floor, outcome in ((26.0, verdicts.EQUIVALENT), (29.4, verdicts.NOT_DECIDED)):
        levels = {"measured": 30.0, "gan": 30.0, "cg_sense": floor}
        rows = simulate(levels, np.random.default_rng(3), patient=0.02, seed=0.0, residual=0.01)
        (verdict,) = verdicts.planned_comparisons(rows, LABELS)
        assert (verdict.outcome, verdict.gain_over) == (outcome, "CG-SENSE")
        # trainings differ by 0.5 dB
        assert verdict.gain.mean == pytest.approx(30.0 - floor, abs=1.0)
        said = "over CG-SENSE, and where it does not gain 0.60 dB" in sentences.sentence(verdict)
        assert said == (outcome == verdicts.NOT_DECIDED)


def test_the_spread_between_trainings_from_elsewhere_is_the_largest_there_is(simulate):
    """Of two places with seeds, the nearer one would be the tie-break's choice."""
    draw = np.random.default_rng(5)
    rows = simulate(LEVELS, draw, **(SPREADS | {"seed": 0.02}))  # R = 4
    rows += simulate(LEVELS, draw, **(SPREADS | {"seed": 0.4}), acceleration=8)
    rows += simulate(LEVELS, draw, **SPREADS, n_seeds=1, acceleration=6)
    decided = [
        verdict
        for verdict in verdicts.planned_comparisons(rows, {}, floor=None)
        if verdict.acceleration == 6 and verdict.difference is not None
    ]
    assert decided
    for verdict in decided:
        assert verdict.difference.given_seed_variance.origin.startswith("R = 8")
