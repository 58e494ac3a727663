"""The automated guessing game: its networks, its statistics, and who is tested."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from synthlib import arrays, runs, tables
from synthlib.phase import sources
from synthlib.records import PhasePair
from synthlib.study import discrimination, roc
from synthlib.study.discrimination import Settings
from synthlib.study.roc import Scores

N_PATIENTS, N_SLICES, SHAPE = 17, 3, (33, 28)
QUICK = Settings(channels=(8, 16, 24), steps=60, n_networks=2)


def smooth_phase(*names, noise=0.1):
    """A random wave across the field of view, with noise (rad)."""
    draw = runs.rng(3, *names)
    size = torch.randn((2, 1, 1), generator=draw)
    y = torch.linspace(-1, 1, SHAPE[0])[:, None]
    x = torch.linspace(-1, 1, SHAPE[1])
    surface = size[0] * torch.sin(2 * y + x) + size[1] * torch.cos(x - y)
    return arrays.wrap(surface + noise * torch.randn(SHAPE, generator=draw))


def pair(patient, index):
    y = torch.linspace(-1, 1, SHAPE[0])[:, None]
    x = torch.linspace(-1, 1, SHAPE[1])
    head = (y.square() / 0.7 + x.square() / 0.5) < 1
    draw = runs.rng(4, patient, index)
    return PhasePair(
        name=f"{patient}#{index}",
        volume=patient,
        patient_id=patient,
        contrast="AXT2",
        slice_index=index,
        position=index / 2,
        magnitude=head * (1 + 0.3 * torch.rand(SHAPE, generator=draw)),
        phase=smooth_phase(patient, index),
        support=head,
        recon_shape=SHAPE,
        acquired=(0, SHAPE[1]),
    )


@pytest.fixture(scope="module")
def slices():
    patients = [f"patient-{number:02d}" for number in range(N_PATIENTS)]
    return [pair(patient, index) for patient in patients for index in range(N_SLICES)]


def drawn_anew(slices):
    """Phases of the same distribution as the measured ones."""
    return [smooth_phase("again", one.name) for one in slices]


def test_measured_against_measured_is_a_guess(slices):
    result = discrimination.auroc_of_same(slices, seed=1, settings=QUICK)
    assert result.low < 0.5 < result.high and not result.is_distinguished
    assert 0.1 < result.high - result.low < 0.9
    assert (result.n_patients, result.n_networks) == (8, 2)


def test_phases_of_the_same_distribution_are_a_guess(slices):
    result = discrimination.auroc(slices, drawn_anew(slices), seed=1, settings=QUICK)
    assert result.low < 0.5 < result.high
    assert (result.n_patients, result.n_slices) == (8, 24)


def test_noise_in_phase_is_seen_and_a_constant_is_not(slices):
    noisy = [
        arrays.wrap(phase + 0.3 * torch.randn(SHAPE, generator=runs.rng(5, number)))
        for number, phase in enumerate(drawn_anew(slices))
    ]
    result = discrimination.auroc(slices, noisy, seed=1, settings=QUICK)
    assert result.value > 0.95 and result.low > 0.8
    # a constant alone is nothing to see: every score is the same
    turned = [arrays.wrap(one.phase + 2.0) for one in slices]
    result = discrimination.auroc(slices, turned, seed=1, settings=QUICK)
    assert result.value == pytest.approx(0.5, abs=0.05)


def test_smoothing_both_hides_that_a_source_has_no_noise(slices):
    quiet = [smooth_phase("again", one.name, noise=0.0) for one in slices]
    values = [
        discrimination.auroc(
            slices, quiet, seed=1, settings=dataclasses.replace(QUICK, smooth_px=px)
        ).value
        for px in (0.0, 3.0)
    ]
    assert values[0] > 0.95 and values[1] < 0.8


def test_neither_air_nor_constant_nor_tilt_reach_the_network(slices):
    one = slices[0]
    ramp = 0.11 * torch.arange(SHAPE[0])[:, None] - 0.07 * torch.arange(SHAPE[1])
    other = torch.where(one.head, arrays.wrap(one.phase + ramp + 2.5), torch.tensor(1.0))
    images = [
        discrimination.example(one, phase, Settings(), is_measured=True).image
        for phase in (one.phase, other)
    ]
    torch.testing.assert_close(images[0], images[1], rtol=0, atol=1e-4)
    assert not images[0][:, ~one.head].any()


def test_patients_are_learned_from_or_tested(slices, monkeypatch):
    seen = {}
    train, test = discrimination.train, discrimination._test

    def watch_train(examples, settings, seed):
        seen["learned"] = {example.patient_id for example in examples}
        return train(examples, settings, seed)

    def watch_test(network, examples):
        seen["tested"] = {example.patient_id for example in examples}
        return test(network, examples)

    monkeypatch.setattr(discrimination, "train", watch_train)
    monkeypatch.setattr(discrimination, "_test", watch_test)
    few = dataclasses.replace(QUICK, steps=1, n_networks=1)
    discrimination.auroc(slices, drawn_anew(slices), seed=1, settings=few)
    assert not seen["learned"] & seen["tested"]
    assert len(seen["learned"] | seen["tested"]) == N_PATIENTS


def scores(rng, n_patients, separation, between):
    """Scores of a few slices of every patient, who share a part of their value."""
    patients, truth, values = [], [], []
    for number in range(n_patients):
        for kind in (True, False):
            shared = between * rng.normal()
            for _ in range(int(rng.integers(1, 6))):
                patients.append(f"p{number}")
                truth.append(kind)
                values.append(shared + rng.normal() + separation * kind)
    return Scores(np.array(patients), np.array(truth), np.round(np.array(values), 1))


def test_auroc_is_that_of_mann_and_whitney_ties_included():
    test = scores(np.random.default_rng(0), 9, 1.0, 0.5)
    measured, synthetic = test.values[test.is_measured], test.values[~test.is_measured]
    u = stats.mannwhitneyu(measured, synthetic).statistic
    result = roc.clustered_auroc([test])
    assert result.value == pytest.approx(u / (len(measured) * len(synthetic)), abs=1e-12)
    # several tests: the mean
    other = scores(np.random.default_rng(1), 9, 0.0, 0.5)
    both = roc.clustered_auroc([test, other]).value
    alone = roc.clustered_auroc([other]).value
    assert both == pytest.approx((result.value + alone) / 2, abs=1e-12)


def test_the_interval_holds_the_truth_in_95_of_100_studies():
    """Patients' slices are alike: an interval that counted slices would be too narrow."""
    rng = np.random.default_rng(2)
    n, between, separation = 300, 1.5, 1.0
    truth = stats.norm.cdf(separation / np.sqrt(2 * (1 + between**2)))
    held = 0
    for _ in range(n):
        result = roc.clustered_auroc([scores(rng, 12, separation, between)])
        held += result.low <= truth <= result.high
    low, high = stats.binom.ppf([0.001, 0.999], n, 0.95)
    assert low <= held <= high


def test_more_slices_of_the_same_patients_or_more_networks_narrow_nothing():
    test = scores(np.random.default_rng(3), 8, 0.7, 1.0)
    again = Scores(*(np.tile(array, 4) for array in (test.patients, test.is_measured, test.values)))
    widths = [
        result.high - result.low
        for result in map(roc.clustered_auroc, ([test], [again], [test] * 5))
    ]
    assert widths[1] == pytest.approx(widths[0]) and widths[2] == pytest.approx(widths[0])


def test_too_few_patients_are_refused(slices):
    with pytest.raises(ValueError, match="the interval counts patients"):
        discrimination.auroc(slices[:6], drawn_anew(slices[:6]), seed=1, settings=QUICK)
    with pytest.raises(ValueError, match="1 phases for 2 slices"):
        discrimination.auroc(slices[:2], drawn_anew(slices[:1]), seed=1)


def test_the_network_is_small():
    network = discrimination.build_network(Settings().channels)
    assert sum(weights.numel() for weights in network.parameters()) == 19_009


def test_sources_are_played_by_name_and_fill_a_table(slices):
    names = [sources.MEASURED, "random", "zero"]
    results = discrimination.discriminate(names, slices, sources.Context(), seed=1, settings=QUICK)
    assert results["random"].value > 0.95
    rows = discrimination.discrimination_table(results)
    assert [row["phase"] for row in rows[1:]] == ["Random", "Zero"]
    assert (
        rows[0]["distinguished from measured"] == "no"
        and rows[1]["distinguished from measured"] == "yes"
    )
    assert "Random" in tables.from_dicts(rows)["md"]


SCRIPT = """
import torch
torch.set_num_threads(2)
import test_discrimination as here
from synthlib.study import discrimination
slices = [here.pair(f"patient-{n:02d}", 0) for n in range(8)]
result = discrimination.auroc(slices, here.drawn_anew(slices), seed=2, settings=here.QUICK)
print(repr((result.value, result.low)))
"""


def test_same_seed_same_number_in_a_fresh_process_whatever_the_threads():
    state = torch.random.get_rng_state()
    slices = [pair(f"patient-{number:02d}", 0) for number in range(8)]
    result = discrimination.auroc(slices, drawn_anew(slices), seed=2, settings=QUICK)
    assert torch.equal(state, torch.random.get_rng_state())
    folders = f"{Path(__file__).parent}:{runs.project_root()}"
    fresh = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": folders},
    )
    assert fresh.stdout.strip() == repr((result.value, result.low))
