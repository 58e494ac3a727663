"""Scores of phase whose faults were planted: closed forms on odd, unequal sizes."""

import math

import numpy as np
import pytest
import torch

from synthlib import arrays, datasets, pairs, scanner
from synthlib.phase import polynomial, scores, tissue

NY, NX = 47, 38
Y, X = torch.meshgrid(
    torch.arange(NY, dtype=torch.float64), torch.arange(NX, dtype=torch.float64), indexing="ij"
)
DISC = (Y - 22.3).square() / 20**2 + (X - 18.6).square() / 16**2 < 1
EVERYWHERE = torch.ones(NY, NX, dtype=torch.bool)


# --- period ---------------------------------------------------------------------------


@pytest.mark.parametrize("head", [DISC, EVERYWHERE], ids=["disc", "everywhere"])
@pytest.mark.parametrize(("along", "across"), [(X, Y), (Y, X)])
@pytest.mark.parametrize("weave", [0.0, 0.01, 0.06])
def test_a_planted_weave_has_its_index(head, along, across, weave):
    """Slope s and a weave of +-w / 2: steps are s - w and s + w in turn, the index 2 w / s."""
    slope = 0.2
    phase = slope * along + weave / 2 * (-1) ** along + 0.3 * across  # wraps many times
    phase = arrays.wrap(phase)
    expected = 2 * weave / slope
    # every second place of a period of 4 is alike, so that it shows there, too
    for period in (2, 4):
        assert scores.period_index(phase, head, period) == pytest.approx(expected, abs=1e-9)


def test_a_period_of_four_shows_at_four_and_less_at_two():
    """Steps s + (w, 0, -w, 0): by four (2 w) / s; by two they have one mean each, s and s."""
    slope, weave = 0.3, 0.1
    ramp = torch.cumsum(torch.tensor([weave, 0.0, -weave, 0.0] * 12, dtype=torch.float64), 0)[:NY]
    phase = slope * Y + torch.cat([torch.zeros(1, dtype=torch.float64), ramp[:-1]])[:, None]
    assert scores.period_index(phase, EVERYWHERE, 4) == pytest.approx(2 * weave / slope)
    assert scores.period_index(phase, EVERYWHERE, 2) < 0.02  # 46 steps, not whole periods
    assert scores.period_index(phase[:45], EVERYWHERE[:45], 2) < 1e-9


def test_steps_that_leave_the_head_do_not_count():
    noise = torch.where(DISC, 0.0, (-1.0) ** X)
    assert scores.period_index(0.1 * X + noise, DISC, 2) < 1e-9
    assert scores.period_index(0.1 * X + noise, EVERYWHERE, 2) > 0.1


def test_a_flat_phase_has_no_period_and_an_empty_head_no_index():
    assert scores.period_index(torch.full((NY, NX), 2.0), DISC, 2) == 0
    assert math.isnan(scores.period_index(X, ~EVERYWHERE, 2))
    one_column = EVERYWHERE & (X == 4)
    assert math.isnan(scores.period_index(X, one_column, 2))


def test_the_index_is_that_of_a_loop_over_pixels(draw):
    phase = torch.rand(NY, NX, generator=draw, dtype=torch.float64) * 6 - 3
    for period in (2, 4):
        indices = []
        for axis in (0, 1):
            steps = {k: [] for k in range(period)}
            for y in range(NY - (axis == 0)):
                for x in range(NX - (axis == 1)):
                    y2, x2 = (y + 1, x) if axis == 0 else (y, x + 1)
                    if DISC[y, x] and DISC[y2, x2]:
                        turn = np.exp(1j * float(phase[y2, x2] - phase[y, x]))
                        steps[(y, x)[axis] % period].append(abs(np.angle(turn)))
            means = [np.mean(steps[k]) for k in range(period)]
            indices.append((max(means) - min(means)) / np.mean(means))
        assert scores.period_index(phase, DISC, period) == pytest.approx(max(indices))


@pytest.mark.parametrize("period", [1, 0, -2])
def test_a_period_below_two_is_refused(period):
    with pytest.raises(ValueError, match=f"a period of {period} pixels; expected 2 or more"):
        scores.period_index(X, DISC, period)


# --- residues -------------------------------------------------------------------------


def vortex(y, x, sign=1):
    return sign * torch.atan2(Y - y, X - x)


@pytest.mark.parametrize(
    ("phase", "n"),
    [
        (arrays.wrap(0.9 * X - 1.1 * Y), 0),
        (vortex(20.4, 17.7), 1),
        (arrays.wrap(vortex(20.4, 17.7) + vortex(30.5, 12.5, -1) + 0.2 * X), 2),
        (arrays.wrap(vortex(20.4, 17.7) + vortex(20.4, 17.7)), 2),  # winds twice round one point
        (vortex(0.5, 0.5), 0),  # outside the head
    ],
)
def test_each_planted_vortex_is_one_residue(phase, n):
    squares = DISC[:-1, :-1] & DISC[1:, :-1] & DISC[:-1, 1:] & DISC[1:, 1:]
    found = scores.residues_per_1000(phase, DISC) * int(squares.sum()) / 1000
    assert found == pytest.approx(n)


# --- fine part ------------------------------------------------------------------------


def surface(seed, size=2.0):
    rng = torch.Generator().manual_seed(seed)
    coefficients = torch.randn(14, generator=rng, dtype=torch.float64) * size
    return polynomial.surface(coefficients, (NY, NX)).double()


WEIGHT = DISC * (1 + 0.5 * torch.cos(0.3 * X) * torch.sin(0.2 * Y))
DETAIL = 0.2 * torch.cos(1.7 * X + 0.4 * Y)  # no surface of degree 4 comes near


def test_a_surface_that_wraps_many_times_has_no_fine_part():
    steep = surface(1, 8.0)[DISC]
    assert steep.max() - steep.min() > 4 * math.pi
    phase = arrays.wrap(surface(1, 8.0) + 2.5)
    assert polynomial.fine_part(phase, WEIGHT)[DISC].abs().max() < 1e-4


def test_detail_stays_when_the_surface_goes():
    fine = polynomial.fine_part(arrays.wrap(surface(1) + DETAIL), WEIGHT)[DISC].double()
    assert (fine - DETAIL[DISC]).square().mean().sqrt() < 0.1 * DETAIL[DISC].square().mean().sqrt()


@pytest.mark.parametrize(
    ("other", "expected", "tolerance"),
    [
        (DETAIL, 1.0, 1e-6),
        (0.3 * DETAIL, 1.0, 0.01),  # sin of angles of 0.2
        (-DETAIL, -1.0, 1e-6),
        (0.2 * torch.sin(1.7 * X + 0.4 * Y), 0.0, 0.05),  # a quarter of a period on
        (0.2 * torch.cos(1.1 * X - 1.4 * Y), 0.0, 0.1),
    ],
)
def test_the_correlation_of_planted_detail_is_known_whatever_the_surfaces(
    other, expected, tolerance
):
    truth = arrays.wrap(surface(1) + DETAIL)
    phase = arrays.wrap(surface(2) + other - 1.3)
    found = scores.fine_correlation(phase, truth, WEIGHT)
    assert found == pytest.approx(expected, abs=tolerance)
    assert scores.fine_correlation(truth, phase, WEIGHT) == pytest.approx(found)


def test_noise_brings_the_correlation_down_by_its_share(draw):
    """r = 1 / sqrt(1 + noise power / detail power)."""
    noise = torch.randn(NY, NX, generator=draw, dtype=torch.float64)
    detail = DETAIL / DETAIL[DISC].std()
    for ratio in (0.5, 2.0):
        phase = arrays.wrap(surface(2) + 0.1 * (detail + ratio * noise))
        truth = arrays.wrap(surface(1) + 0.1 * detail)
        found = scores.fine_correlation(phase, truth, DISC.double())
        assert found == pytest.approx(1 / math.sqrt(1 + ratio**2), abs=0.05)


def test_independent_noise_does_not_correlate_though_it_is_large_at_the_same_place(draw):
    """A complex correlation takes it for likeness: both are noisy in one half, quiet elsewhere."""
    sd = torch.where(Y < 22, 1.2, 0.05)
    weight = DISC.double()
    ours, complex_r = [], []
    for _ in range(8):
        noise = sd * torch.randn(2, NY, NX, generator=draw, dtype=torch.float64)
        phases = [arrays.wrap(surface(k) + part) for k, part in zip((3, 4), noise, strict=True)]
        ours.append(scores.fine_correlation(*phases, weight))
        phasors = (torch.exp(1j * polynomial.fine_part(p, weight)[DISC].double()) for p in phases)
        a, b = (phasor - phasor.mean() for phasor in phasors)
        complex_r.append(float((a * b.conj()).sum().real / (a.norm() * b.norm())))
    assert np.mean(complex_r) > 0.12
    assert abs(np.mean(ours)) < 0.04  # each has an s.d. of 0.045: 500 noisy pixels


def test_fine_parts_near_half_a_turn_do_not_jump(draw):
    """A few pixels at +-3.1 and -+3.1 rad: 6.2 rad apart on a line, 0.08 rad on the circle."""
    some = DISC & (torch.rand(NY, NX, generator=draw, dtype=torch.float64) < 0.01)
    sign = torch.where(torch.rand(NY, NX, generator=draw, dtype=torch.float64) < 0.5, -1.0, 1.0)
    one = torch.where(some, 3.1 * sign, DETAIL)
    other = torch.where(some, -3.1 * sign, DETAIL)
    weight = DISC.double()
    found = scores.fine_correlation(one, other, weight)
    lines = [polynomial.fine_part(phase, weight)[DISC].double() for phase in (one, other)]
    assert torch.corrcoef(torch.stack(lines))[0, 1] < 0.5
    assert found > 0.9


def test_zero_phase_has_no_correlation():
    truth = arrays.wrap(surface(1) + DETAIL)
    assert math.isnan(scores.fine_correlation(torch.zeros(NY, NX), truth, WEIGHT))
    assert math.isnan(scores.fine_correlation(surface(2), truth, WEIGHT))


def test_air_does_not_count(draw):
    truth = arrays.wrap(surface(1) + DETAIL)
    noise = torch.rand(NY, NX, generator=draw, dtype=torch.float64) * 6
    phase = torch.where(DISC, truth, noise)
    assert scores.fine_correlation(phase, truth, WEIGHT) == pytest.approx(1)
    assert scores.distance(phase, truth, WEIGHT) < 1e-4
    other = torch.where(DISC, truth, -noise)
    assert scores.spread(torch.stack([phase, other]), WEIGHT) < 1e-4


# --- spread and distance ---------------------------------------------------------------


def draws_of(sd, n, seed=5):
    """Normal around a common surface, each with a constant of its own."""
    rng = torch.Generator().manual_seed(seed)
    noise = sd * torch.randn(n, NY, NX, generator=rng, dtype=torch.float64)
    constant = 6.3 * torch.rand(n, 1, 1, generator=rng, dtype=torch.float64)
    return arrays.wrap(0.3 * torch.cos(0.2 * X) + noise + constant)


@pytest.mark.parametrize("sd", [0.08, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("n", [2, 4, 8])
def test_the_spread_of_normal_draws_is_their_standard_deviation_however_few(sd, n):
    found = scores.spread(draws_of(sd, n), WEIGHT)
    assert found == pytest.approx(sd, rel=0.06 if sd < 1.2 else 0.15)


def test_draws_that_differ_by_a_constant_have_no_spread():
    assert scores.spread(draws_of(0.0, 4), WEIGHT) < 1e-5


def test_draws_without_anything_in_common_have_a_large_spread(draw):
    draws = torch.rand(8, NY, NX, generator=draw, dtype=torch.float64) * 2 * math.pi
    assert scores.spread(draws, WEIGHT) > 2


def test_smooth_draws_spread_as_a_whole_and_not_in_their_fine_part():
    draws = torch.stack([arrays.wrap(surface(k, 0.5) + DETAIL) for k in range(6)])
    assert scores.spread(draws, WEIGHT) > 0.5
    assert scores.fine_spread(draws, WEIGHT) < 1e-3
    rough = draws_of(0.4, 6) + surface(1)
    assert scores.fine_spread(rough, WEIGHT) == pytest.approx(0.4, rel=0.06)


@pytest.mark.parametrize("shape", [(1, NY, NX), (NY, NX)])
def test_a_spread_of_one_draw_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(draw, y, x\) with two draws or more"):
        scores.spread(torch.zeros(shape), DISC.double())


def test_the_distance_of_what_has_nothing_in_common_is_that_of_the_uniform_circle(draw):
    noise = torch.rand(201, 198, generator=draw, dtype=torch.float64) * 2 * math.pi
    weight = torch.ones_like(noise)
    found = scores.distance(noise, torch.zeros_like(noise), weight)
    assert found == pytest.approx(math.pi / math.sqrt(3), abs=0.02)
    assert scores.distance(DETAIL + 9.0, torch.zeros(NY, NX), DISC.double()) == pytest.approx(
        float(DETAIL[DISC].std(correction=0)), abs=0.01
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda short: scores.period_index(short, DISC, 2),
        lambda short: scores.residues_per_1000(short, DISC),
        lambda short: scores.fine_correlation(short, X, WEIGHT),
        lambda short: scores.spread(torch.stack([short, short]), WEIGHT),
        lambda short: scores.distance(short, X, WEIGHT),
    ],
)
def test_grids_that_differ_are_refused(call):
    with pytest.raises(ValueError, match=r"grids differ .* 46x38"):
        call(X[:-1])


# --- ventricles, and all together ------------------------------------------------------


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    settings = scanner.ScanSettings(
        n_subjects=1, contrasts=("AXT2", "AXFLAIR", "AXT1"), n_slices=2, matrix=(62, 51)
    )
    raw = datasets.raw_volumes("simulated", n_coils=4, simulate=settings)
    slices = tissue.known_slices(pairs.prepare(raw, tmp_path_factory.mktemp("scores")))
    return tissue.one_of_each_contrast(slices)


def test_a_planted_step_is_found_with_its_sign(known):
    flair, t1, t2 = known
    where = t2.ventricles & (t2.weights["brain"] > 0)
    for step in (-0.08, 0.05):
        tilt = arrays.wrap(0.4 * torch.arange(51.0).expand(62, 51))
        flat = scores.ventricle_step(tilt, t2)
        stepped = scores.ventricle_step(arrays.wrap(tilt + step * where), t2)
        assert abs(flat) < 1e-3
        # the surface follows a part of it
        assert 0.5 < stepped / step < 1.05
    assert math.isnan(scores.ventricle_step(tilt, flair))  # fluid without signal
    assert math.isnan(scores.ventricle_step(tilt, t1))  # and with little
    assert tissue.shows_ventricles(t1)


def test_the_simulated_truth_has_its_step_though_receivers_tilt_the_measured_phase(known):
    t2 = known[2]
    true = scores.ventricle_step(t2.phase, t2)
    assert -0.15 < true < -0.01
    assert scores.ventricle_step(t2.pair.phase, t2) == pytest.approx(true, abs=0.04)


def test_all_scores_of_the_measured_phase_itself(known):
    t2 = known[2]
    row = scores.score(t2.pair.phase[None], t2.pair, t2)
    assert list(row) == list(scores.LABELS)
    assert row["distance"] < 1e-3
    assert row["period_2"] < 0.15
    assert 0.5 < row["fine_correlation"] < 1
    assert row["ventricle_step"] < 0
    assert math.isnan(row["spread"]) and math.isnan(row["fine_spread"])
    without = scores.score(t2.pair.phase[None], t2.pair)
    assert without["fine_correlation"] == pytest.approx(1)
    assert math.isnan(without["ventricle_step"])


def test_all_scores_are_means_over_the_draws_and_slices(known):
    t2 = known[2]
    rng = torch.Generator().manual_seed(3)
    draws = t2.pair.phase + 0.3 * torch.randn(4, 62, 51, generator=rng)
    row = scores.score(draws, t2.pair, t2)
    single = [scores.score(draw[None], t2.pair, t2) for draw in draws]
    for name in ("period_2", "residues", "fine_correlation", "ventricle_step", "distance"):
        assert row[name] == pytest.approx(np.mean([one[name] for one in single]))
    assert row["spread"] == pytest.approx(0.3, rel=0.1)
    means = scores.mean_scores([{**row, "residues": 3.0}, {**row, "ventricle_step": math.nan}])
    assert means["ventricle_step"] == row["ventricle_step"]
    assert means["residues"] == pytest.approx((3 + row["residues"]) / 2)
