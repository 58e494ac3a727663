"""The realism card against distributions that are known."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from synthlib import arrays, figures, phase, runs
from synthlib.figures import flows
from synthlib.phase import sources
from synthlib.study import gan_matrix, realism

SHAPE = (37, 30)
N_DRAWS = realism.N_DRAWS


def disc(radius=0.8):
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return y**2 + x**2 < radius**2


def population(rng, wide=1.0):
    """Phases with a constant of their own: a random tilt and bend, radians (y, x)."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    a, b, c, d = (wide * torch.randn(4, generator=rng)).tolist()
    return arrays.wrap(a * y + b * x + c * x * y + 9 * d)


WEIGHT = disc().float() * 2.0


def test_ranks_of_one_population_are_flat_and_those_of_a_narrow_one_are_not():
    rng = runs.rng(1, "ranks")
    counts = {1.0: [], 0.2: []}
    for _ in range(240):
        truth = population(rng)
        for wide, found in counts.items():
            draws = torch.stack([population(rng, wide) for _ in range(N_DRAWS)])
            found.append(realism.rank(draws, truth, WEIGHT, rng))
    empty = realism.Card("flow", {}, {}, 0.0, (), None)
    flat = dataclasses.replace(empty, ranks=tuple(counts[1.0]))
    narrow = dataclasses.replace(empty, ranks=tuple(counts[0.2]))
    assert set(flat.ranks) == set(range(N_DRAWS + 1))
    assert flat.ranks_p > 0.01 and narrow.ranks_p < 1e-6
    ends = np.bincount(narrow.ranks, minlength=N_DRAWS + 1)[[0, -1]].sum()
    assert ends > 0.5 * len(narrow.ranks)  # the truth lies outside of draws that are too alike
    assert math.isnan(empty.ranks_p)


def test_the_energy_score_prefers_the_true_distribution():
    rng = runs.rng(1, "energy")
    means = {}
    for wide in (0.3, 1.0, 3.0):
        scores = [
            realism.energy_score(
                torch.stack([population(rng, wide) for _ in range(N_DRAWS)]),
                population(rng), WEIGHT,
            )
            for _ in range(150)
        ]  # fmt: skip
        means[wide] = sum(scores) / len(scores)
    assert means[1.0] < means[0.3] and means[1.0] < means[3.0]


def test_the_energy_score_of_draws_that_are_the_truth_is_zero_and_constants_do_not_count():
    truth = population(runs.rng(0))
    draws = torch.stack([arrays.wrap(truth + turn) for turn in (0.0, 1.0, 3.0)])
    assert realism.energy_score(draws, truth, WEIGHT) == pytest.approx(0, abs=1e-6)


def test_noise_is_that_of_the_receivers(study):
    pair = study["test"][0].pair(0)
    rng = runs.rng(2)
    sigma, n_coils = 0.02, 6
    channels = sigma * torch.randn(2 * n_coils, *SHAPE, generator=rng)
    head = disc()
    channels[0] += head  # one coil's real part
    magnitude = channels.square().sum(0).sqrt()
    pair = dataclasses.replace(pair, magnitude=magnitude, phase=torch.zeros(SHAPE), support=head)
    noisy = realism.with_noise(torch.zeros(40, *SHAPE), pair, n_coils, rng)
    assert float(noisy[:, head].std()) == pytest.approx(sigma, rel=0.1)
    masked = dataclasses.replace(pair, magnitude=magnitude * head)
    assert not realism.with_noise(torch.zeros(1, *SHAPE), masked, n_coils, rng).any()


def test_cards_of_a_study(study, context):
    every = gan_matrix.scored_slices(study["test"] + study["val"])
    slices = [scored for scored in every if scored.pair.contrast == "AXT2"]
    names = [sources.MEASURED, "flow", "polynomial", "zero"]
    made = realism.cards(names, slices, context, n_coils=8, seed=3, network=None)
    assert [card.source for card in made] == names
    measured, flow, polynomial, zero = made
    assert measured.ranks == () and math.isnan(measured.energy)
    scans = {scored.pair.volume for scored in slices}
    assert len(flow.ranks) == len(scans) and set(flow.ranks) <= set(range(N_DRAWS + 1))
    patients = {scored.pair.patient_id for scored in slices}
    assert set(flow.correlations) == patients
    # no fine part, nothing to correlate; and all of its draws are one
    assert all(math.isnan(value) for value in zero.correlations.values())
    assert zero.means["spread"] < 0.01 < polynomial.means["spread"]
    rows = realism.rendered(made)
    assert rows[0]["phase"] == sources.label(sources.MEASURED) and rows[3]["spread (rad)"] == "0.00"
    text = realism.verdict(made, "flow")
    assert "fine part's correlation with the truth" in text and "spread of draws" in text
    with pytest.raises(ValueError, match="no card of 'gan'"):
        realism.verdict(made, "gan")
    with pytest.raises(ValueError, match="no slices"):
        realism.cards(names, [], context, n_coils=8, seed=3)


class Doubtful:
    """A flow whose draws are normal around nothing, wide where the magnitude is bright."""

    def __init__(self, factor):
        self.factor = factor

    def fine_phase(self, magnitude, spacing_mm, rng, *, conditions):
        wide = 0.3 + 0.3 * (magnitude > magnitude.median())
        return arrays.wrap(self.factor * wide * torch.randn(magnitude.shape, generator=rng))


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_calibration_tells_a_flow_that_is_too_sure(study, factor):
    """The truth is drawn as a flow of factor 1 says; half of that is too sure by a factor of 2."""
    scored = gan_matrix.scored_slices(study["test"])[0]
    true = Doubtful(1.0)
    slices = []
    for number in range(6):
        rng = runs.rng(3, number)
        magnitude = torch.rand(45, 38, generator=rng) + 0.5
        head = torch.ones(45, 38, dtype=torch.bool)
        pair = dataclasses.replace(
            scored.pair, magnitude=magnitude, support=head, phase=torch.zeros(45, 38)
        )
        truth = true.fine_phase(magnitude[None], (1, 1), rng, conditions=None)[0]
        known = dataclasses.replace(scored.known, pair=pair, phase=truth)
        slices.append(gan_matrix.ScoredSlice(pair, known))
    rows = realism.calibration(slices, Doubtful(factor), seed=1)
    assert len(rows) >= 2
    assert sum(float(row["share of the head"].split()[0]) for row in rows) > 95
    for row in rows:
        ratio = float(row["draws to truth"]) / float(row["between draws"])
        if float(row["share of the head"].split()[0]) > 5:
            # sqrt of the mean of 1 and factor^2 over factor
            expected = ((1 + factor**2) / 2) ** 0.5 / factor
            assert ratio == pytest.approx(expected, rel=0.12)
    with pytest.raises(ValueError, match="no slice whose truth is known"):
        realism.calibration([gan_matrix.ScoredSlice(scored.pair, None)], true, seed=1)


def test_pictures_have_a_row_a_contrast(study, context):
    slices = gan_matrix.scored_slices(study["test"])
    writer = phase.load("flow-head-v1")
    shown, labels = realism.pictures(slices, context, writer, seed=1)
    assert labels == sorted({scored.pair.contrast for scored in slices})
    for images in shown:
        assert set(images) == set(flows.COLUMNS)
        head = ~images["measured"].isnan()
        assert 0.05 < head.float().mean() < 0.95
        assert images["uncertainty"][head].isfinite().all()
    figure = figures.flow_phase(shown, labels)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) >= len(labels) * len(flows.COLUMNS)
