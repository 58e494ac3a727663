"""The matrix of cures: what is trained, who is scored, and what the rows are said to say."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from synthlib import arrays, figures, runs, tables
from synthlib.phase import scores, sources, training
from synthlib.phase.settings import GanSettings
from synthlib.study import gan_matrix, gan_scores

SETTINGS = GanSettings("vector", ngf=4, ndf=4, depth=6, l1_weight="signal", accelerator="cpu")
CURES = {"bilinear": {"upsampling": "bilinear"}, "jitter": {"jitter": True, "scale": "percentile"}}
MEASURED = "Measured phase"


def jobs(study, folder, cures=CURES, **changes):
    asked = {"epochs": 1, "seeds": [3, 4], **changes}
    return gan_matrix.jobs(SETTINGS, cures, study["gan"][:2], folder, **asked)


def test_every_cure_is_the_papers_gan_with_its_changes_alone(study, tmp_path):
    made = jobs(study, tmp_path)
    names = ["as in the paper", "bilinear", "jitter"]
    assert list(made) == [(name, seed) for name in names for seed in (3, 4)]
    paper = dataclasses.asdict(made["as in the paper", 4].settings)
    own = {"ngf": 4, "ndf": 4, "depth": 6, "accelerator": "cpu", "epochs": 1, "seed": 4}
    assert paper == {**dataclasses.asdict(GanSettings()), **own}  # also not SETTINGS' own cures
    for name, changes in CURES.items():
        assert dataclasses.asdict(made[name, 4].settings) == {**paper, **changes}
    assert len({job.path for job in made.values()}) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cures": {"wide": {"ngf": 8}}}, "cure 'wide' sets ngf; expected some of mode, "),
        ({"cures": {"as in the paper": {}}}, "named 'as in the paper'.*another name"),
        ({"cures": {"soft": {"upsampling": "soft"}}}, "upsampling 'soft' is unknown"),
        ({"seeds": []}, "no seeds"),
    ],
)
def test_what_is_no_cure_is_refused(study, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        jobs(study, tmp_path, **changes)


def test_without_cures_nothing_is_trained_and_the_controls_are_scored(study, slices, tmp_path):
    assert jobs(study, tmp_path, {}) == {}
    rows = gan_matrix.score_all({}, slices[:2], study["gan"], seed=5)
    assert [row["generator"] for row in gan_scores.rendered(rows)][-1] == MEASURED
    assert " of 1" in gan_scores.verdict(rows).split("\n")[0]  # the flow's


@pytest.fixture(scope="module")
def slices(study):
    return gan_matrix.scored_slices(study["test"] + study["val"])


def test_simulated_slices_bring_their_truth_and_others_do_not(study, slices):
    assert len(slices) == 12
    assert all(one.known is not None and one.known.pair is one.pair for one in slices)
    few = gan_matrix.scored_slices(study["test"] + study["val"], max_slices=6)
    # one of two patients, in all contrasts
    assert len(few) == 6 and len({one.pair.patient_id for one in few}) == 1
    assert {one.pair.contrast for one in few} == {one.pair.contrast for one in slices}
    raw = dataclasses.replace(study["val"][0].raw, attributes={})
    measured = gan_matrix.scored_slices([dataclasses.replace(study["val"][0], raw=raw)])
    assert [one.known for one in measured] == [None, None]
    assert torch.equal(measured[1].pair.phase, study["val"][0].pair(1).phase)


def planted(slices, change):
    """A "generator" that writes the measured phase of the slice it is given, changed."""

    def write(magnitude, *, seed, name=""):
        (one,) = [one for one in slices if torch.equal(one.pair.magnitude, magnitude)]
        return arrays.wrap(change(one.pair.phase, runs.rng(seed, name)))

    return write


@pytest.fixture(scope="module")
def writers(slices):
    def weave(phase, rng):
        return phase + 0.15 * (-1.0) ** torch.arange(phase.shape[1])

    def noise(phase, rng):
        return phase + 0.5 * torch.randn(phase.shape, generator=rng)

    return {
        ("same", 0): planted(slices, lambda phase, rng: phase + 1.0),
        ("weave", 0): planted(slices, weave),
        ("noise", 0): planted(slices, noise),
        ("noise", 1): planted(slices, noise),
    }


@pytest.fixture(scope="module")
def rows(writers, slices, study):
    return gan_matrix.score_all(writers, slices, study["gan"], seed=5)


def entries(rows):
    return {entry["generator"]: entry for entry in gan_scores.summary(rows)}


def test_planted_faults_show_in_their_scores_and_no_others(rows):
    found = entries(rows)
    assert list(found) == ["same", "weave", "noise", "Flow (synthetic)", "Another patient's",
                           "Smooth polynomial", MEASURED]  # fmt: skip
    same, measured = found["same"], found[MEASURED]
    for name in ("period_2", "period_4", "fine_correlation", "ventricle_step"):
        assert same[name][0] == pytest.approx(measured[name][0], abs=1e-3)
    assert same["distance"][0] < 1e-3 and same["spread"][0] < 1e-3
    assert found["weave"]["period_2"][0] > measured["period_2"][0] + 0.1
    assert found["weave"]["spread"][0] < 1e-3
    assert found["noise"]["spread"] == pytest.approx([0.5, 0.5], rel=0.1)
    assert found["noise"]["distance"] == pytest.approx([0.5, 0.5], rel=0.15)
    assert found["noise"]["fine_correlation"][0] < same["fine_correlation"][0]
    # the controls know no anatomy, a polynomial has no fine part
    assert abs(found["Another patient's"]["fine_correlation"][0]) < 0.3
    assert math.isnan(found["Smooth polynomial"]["fine_correlation"][0])
    assert found["Smooth polynomial"]["residues"] == [0.0]


def test_rows_are_one_for_each_slice_seed_and_generator(rows, slices):
    assert len(rows) == (4 + 1 + 2 + 1) * len(slices)
    noise = [row for row in rows if row["generator"] == "noise"]
    assert {row["seed"] for row in noise} == {0, 1}
    assert {row["slice"] for row in noise} == {one.pair.name for one in slices}
    assert set(noise[0]) == {"generator", "seed", "slice", *scores.LABELS}


def test_scoring_again_gives_the_same_and_leaves_the_random_state(writers, rows, slices, study):
    before = torch.get_rng_state()
    again = gan_matrix.score_all(writers, slices, study["gan"], seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert gan_scores.rendered(again) == gan_scores.rendered(rows)


def test_no_slices_are_refused(study):
    with pytest.raises(ValueError, match="no slices to score"):
        gan_matrix.score_all({}, [], study["gan"], seed=1)


def test_the_spread_between_patients_is_that_of_planted_phases(slices, draw):
    base = slices[0].pair
    group = [
        dataclasses.replace(
            base,
            name=f"{k}",
            patient_id=f"patient {k}",
            phase=arrays.wrap(base.phase + k + 0.7 * torch.randn(base.phase.shape, generator=draw)),
        )
        for k in range(5)
    ]
    found = gan_matrix.patient_spreads(group)
    assert found["spread"] == pytest.approx(0.7, rel=0.1)
    assert found["fine_spread"] == pytest.approx(0.7, rel=0.1)
    assert gan_matrix.patient_spreads(group[:1]) == {}
    other_slices = [dataclasses.replace(one, slice_index=k) for k, one in enumerate(group)]
    assert gan_matrix.patient_spreads(other_slices) == {}
    one_patient = [dataclasses.replace(one, patient_id="a") for one in group]
    assert gan_matrix.patient_spreads(one_patient) == {}


def test_dark_noisy_pixels_count_among_patients_as_among_draws(slices, draw):
    base = slices[0].pair
    dark = torch.rand(base.phase.shape, generator=draw) < 0.5
    magnitude = torch.where(dark, 0.02, 1.0) * base.head
    pair = dataclasses.replace(base, magnitude=magnitude, support=base.head)
    noise = 2.0 * dark + 0.1
    group = [
        dataclasses.replace(
            pair,
            patient_id=f"patient {k}",
            phase=arrays.wrap(base.phase + noise * torch.randn(base.phase.shape, generator=draw)),
        )
        for k in range(5)
    ]
    common = torch.stack([one.head for one in group]).all(0)
    draws = torch.stack([one.phase for one in group])
    expected = scores.spread(draws, (magnitude * common).double())
    assert gan_matrix.patient_spreads(group)["spread"] == pytest.approx(expected, rel=1e-6)
    assert expected < 0.5


# --- what the rows say ------------------------------------------------------------------


def made_rows(by_name):
    """Rows of 11 slices; a number, or a function of slice and seed, for each score."""
    rows = []
    for name, (seeds, values) in by_name.items():
        for seed in seeds:
            for index in range(11):
                numbers = {
                    score: float(value(index, seed) if callable(value) else value)
                    for score, value in (dict.fromkeys(scores.LABELS, math.nan) | values).items()
                }
                rows.append({"generator": name, "seed": seed, "slice": f"{index}", **numbers})
    return rows


MADE = made_rows(
    {
        "woven": ([0], {"period_2": 0.2, "period_4": 0.2, "residues": 0, "fine_correlation": 0.02,
                        "ventricle_step": 0.01, "spread": 0.1}),
        "cured": ([0, 1], {"period_2": lambda i, s: 0.03 + 0.01 * s, "period_4": 0.05,
                           "residues": 1, "fine_correlation": 0.2,
                           "ventricle_step": lambda i, s: -0.02 if i else math.nan,
                           "spread": 0.9}),
        "Another patient's": ([0], {"fine_correlation": 0.1}),
        "Smooth polynomial": ([0], {"fine_correlation": math.nan}),
        MEASURED: ([0], {"period_2": lambda i, s: i / 100, "period_4": lambda i, s: i / 100,
                         "residues": lambda i, s: i / 10 + 0.5, "fine_correlation": 0.9,
                         "ventricle_step": -0.05, "spread": 0.8, "distance": 0}),
    }
)  # fmt: skip


def test_means_are_over_slices_that_have_a_number_and_each_seed_has_its_own():
    found = entries(MADE)
    assert found["cured"]["period_2"] == pytest.approx([0.03, 0.04])
    assert found["cured"]["ventricle_step"] == pytest.approx([-0.02, -0.02])
    assert math.isnan(found["cured"]["distance"][0])


def test_the_measured_range_is_that_of_its_slices():
    found = gan_scores.measured_range(MADE)
    assert found["period_2"] == pytest.approx((0.01, 0.09))  # 10th and 90th percentile of 0 to 0.1
    assert found["residues"] == pytest.approx((0.6, 1.4))
    assert "fine_spread" not in found


def test_the_table_has_the_span_of_the_seeds_and_signs_where_they_tell():
    woven, cured, _, polynomial, measured = gan_scores.rendered(MADE)
    assert cured["period-2 index"] == "0.035 ± 0.005"
    assert woven["period-2 index"] == "0.200"
    assert cured["ventricles (rad)"] == "-0.020 ± 0.000"
    assert woven["fine part's correlation"] == "+0.02"
    assert polynomial["fine part's correlation"] == woven["distance (rad)"] == "-"
    assert measured["residues per 1000"] == "1.00"
    assert "| cured | 0.035 ± 0.005 |" in tables.from_dicts(gan_scores.rendered(MADE))["md"]


def test_the_verdict_names_who_reached_what():
    lines = gan_scores.verdict(MADE).split("\n")
    assert lines == [
        "period-2 index at most 0.090: 1 of 2: cured",
        "period-4 index at most 0.090: 1 of 2: cured",
        "residues per 1000 at most 1.400: 2 of 2: woven; cured",
        "fine part's correlation above the controls' 0.10: 1 of 2: cured",
        "ventricles' step of the measured sign (-0.050 rad): 1 of 2: cured",
        "spread within 20 % of patients' 0.80 rad: 1 of 2: cured",
    ]
    without = [{**row, "ventricle_step": math.nan, "spread": math.nan} for row in MADE]
    assert len(gan_scores.verdict(without).split("\n")) == 4


def test_the_figure_shows_every_number_and_each_generators_phase(writers, rows, slices, study):
    pictures = gan_matrix.pictures(writers, slices, study["gan"], seed=5)
    summary = gan_scores.summary(rows)
    assert list(pictures) == [entry["generator"] for entry in summary]
    brightest = max(slices, key=lambda one: int(one.known.ventricles.sum())).pair
    shown = pictures[MEASURED]["phase"]
    assert torch.equal(shown.isnan(), ~brightest.head)
    assert torch.equal(shown[brightest.head], brightest.phase[brightest.head])
    assert pictures["Smooth polynomial"]["fine"][brightest.head].abs().max() < 1e-4
    figure = figures.generator_matrix(
        summary, scores.LABELS, pictures, gan_scores.measured_range(rows)
    )
    images = [axes for axes in figure.axes if axes.images]
    panels = [axes for axes in figure.axes if not axes.images]
    assert len(images) == 2 * len(summary) and len(panels) == len(scores.LABELS)
    for panel, name in zip(panels, scores.LABELS, strict=True):
        dots = {
            (x, y)
            for line in panel.lines if line.get_marker() == "o"
            for x, y in zip(*map(np.asarray, line.get_data()), strict=True)
        }  # fmt: skip
        expected = {
            (value, row)
            for row, entry in enumerate(summary)
            for value in entry[name]
            if not math.isnan(value)
        }
        assert dots == expected
    assert figures.generator_matrix(summary, {}, pictures, {}).axes  # pictures alone


def test_a_matrix_runs_from_its_jobs_to_its_table(study, slices, tmp_path):
    made = jobs(study, tmp_path, {"bilinear": CURES["bilinear"]}, seeds=[3])
    trained = dict(zip(made, training.train_all(list(made.values())), strict=True))
    rows = gan_matrix.score_all(trained, slices[:2], study["gan"], seed=5)
    table = gan_scores.rendered(rows)
    assert [row["generator"] for row in table] == [
        "as in the paper",
        "bilinear",
        *map(sources.label, (gan_matrix.SUCCESSOR, *gan_matrix.CONTROLS)),
        MEASURED,
    ]
    assert trained["bilinear", 3].architecture.upsampling == "bilinear"
