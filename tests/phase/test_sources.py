"""Sources of phase: closed forms, distributions, and who is never asked."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats

from synthlib import pairs
from synthlib.phase import sources

EIGHT = {"flow", "measured", "gan", "sinusoidal", "random", "zero", "other_patient", "polynomial"}


def reshaped(pair, shape, name):
    """The pair as if it were another slice of another matrix."""
    return dataclasses.replace(pair, name=name, magnitude=torch.rand(shape) + 0.1)


def on_circle(phase, reference):
    return torch.polar(torch.ones_like(phase), phase - reference).angle()


def test_the_registry_has_the_papers_sources_and_two_controls():
    assert set(sources.REGISTRY) == EIGHT
    assert len({entry.label for entry in sources.REGISTRY.values()}) == 8


def test_an_unknown_name_is_refused_with_those_that_are_known(study, context):
    pair = study["test"][0].pair(0)
    for refuse in (
        lambda: sources.write("perlin", pair, context, seed=1),
        lambda: sources.require_known(["zero", "perlin"]),
        lambda: sources.label("perlin"),
    ):
        with pytest.raises(ValueError, match=r"'perlin' is unknown; expected one of .*zero") as e:
            refuse()
        assert all(name in str(e.value) for name in EIGHT)


@pytest.mark.parametrize("name", ["gan", "flow", "other_patient", "polynomial"])
def test_a_source_whose_context_is_missing_says_what_it_needs(study, name):
    with pytest.raises(ValueError, match=f"'{name}' needs"):
        sources.write(name, study["test"][0].pair(0), sources.Context(), seed=1)


@pytest.mark.parametrize("name", sorted(EIGHT))
def test_every_source_gives_radians_on_the_circle_and_the_magnitudes_matrix(study, context, name):
    pair = study["test"][0].pair(0)
    for seed in range(3):
        phase = sources.write(name, pair, context, seed=seed)
        assert phase.dtype == torch.float32
        assert phase.shape == pair.magnitude.shape
        assert phase.min() > -math.pi
        assert phase.max() <= np.float32(math.pi)


@pytest.mark.parametrize("name", sorted(EIGHT))
def test_a_slices_phase_follows_from_seed_and_name_not_from_the_order_of_work(study, context, name):
    slices = pairs.all_pairs(study["test"])
    torch.manual_seed(1)
    forwards = [sources.write(name, pair, context, seed=5) for pair in slices]
    torch.manual_seed(2)
    backwards = [sources.write(name, pair, context, seed=5) for pair in slices[::-1]][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert torch.equal(one, other)
    together = sources.write_many([name], slices, context, seed=5)[name]
    assert torch.equal(torch.stack(together), torch.stack(forwards))


@pytest.mark.parametrize("name", sorted(EIGHT - {"measured", "zero"}))
def test_another_seed_gives_another_phase(study, context, name):
    pair = study["test"][0].pair(0)
    drawn = [sources.write(name, pair, context, seed=seed) for seed in range(8)]
    assert any(not torch.allclose(drawn[0], other) for other in drawn[1:])


@pytest.mark.parametrize(
    "name", sorted(EIGHT - {"measured", "zero", "other_patient", "polynomial"})
)
def test_two_slices_of_one_magnitude_get_different_phases(study, context, name):
    pair = study["test"][0].pair(0)
    twin = dataclasses.replace(pair, name="another slice")
    first, second = (sources.write(name, p, context, seed=5) for p in (pair, twin))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("name", sorted(EIGHT))
def test_global_random_state_is_untouched(study, context, name):
    pair = study["test"][0].pair(0)
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002  # the global state is what is watched
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    sources.write(name, pair, context, seed=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def test_adding_a_source_is_adding_one_function(study, context):
    @sources.source("ramp", "Ramp")
    def ramp(pair, context, rng):
        return torch.linspace(0, 7, pair.magnitude.numel()).reshape(pair.magnitude.shape)

    try:
        sources.require_known(["ramp"])
        assert sources.label("ramp") == "Ramp"
        pair = study["test"][0].pair(0)
        phase = sources.write("ramp", pair, context, seed=1)
        assert on_circle(phase, ramp(pair, context, None)).abs().max() < 1e-5
        assert phase.max() <= np.float32(math.pi)  # wrapped for it
    finally:
        sources.REGISTRY.pop("ramp")


def test_a_source_that_loses_the_matrix_is_refused(study, context):
    sources.source("small", "Small")(lambda pair, context, rng: torch.zeros(3, 4))
    try:
        with pytest.raises(ValueError, match=r"phase 3x4"):
            sources.write("small", study["test"][0].pair(0), context, seed=1)
    finally:
        sources.REGISTRY.pop("small")


def test_measured_phase_is_the_scans_own(study, context):
    pair = study["test"][0].pair(1)
    assert on_circle(sources.write("measured", pair, context, seed=1), pair.phase).abs().max() == 0


def test_zero_phase_is_zero(study, context):
    assert (sources.write("zero", study["test"][0].pair(0), context, seed=1) == 0).all()


def test_random_phase_is_uniform_on_the_circle_and_independent_between_pixels(study, context):
    pair = reshaped(study["test"][0].pair(0), (95, 78), "random")
    phase = sources.write("random", pair, context, seed=1)
    assert stats.kstest(phase.flatten(), stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 0.01
    turn = torch.polar(torch.ones_like(phase), phase)
    limit = 4 / math.sqrt(phase.numel())
    assert abs((turn[1:] * turn[:-1].conj()).mean()) < limit
    assert abs((turn[:, 1:] * turn[:, :-1].conj()).mean()) < limit
    assert abs(turn.mean()) < limit


def test_the_generator_sees_a_slice_at_the_pixel_size_that_it_was_trained_on(study, context):
    pair = dataclasses.replace(study["test"][0].pair(0), spacing_mm=(1.5, 1.5))
    alike = {"parameters": {"pixels_mm": (1.6, 1.4)}}
    fine = {"parameters": {"pixels_mm": (1.0, 1.2)}}
    seen = []

    def watched(record):
        made = dataclasses.replace(context.generator, record=record)
        made.network.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-2:]))
        phase = sources.write("gan", pair, dataclasses.replace(context, generator=made), seed=1)
        made.network._forward_pre_hooks.clear()
        return phase

    own, same, resampled = watched({}), watched(alike), watched(fine)
    assert [tuple(shape) for shape in seen] == [(48, 40), (48, 40), (72, 50)]
    assert torch.equal(own, same)
    assert resampled.shape == own.shape
    assert on_circle(resampled, own).abs().max() > 0.01


def angular_step(wave, axis_y, axis_x):
    """|w| of a pure sinusoid along a grid direction, from s(+1) + s(-1) = 2 cos(w) s(0).

    Returns:
        w in radians per step, and the largest violation of the recurrence, both
        without the pixels next to a trough, where -pi is the same phase as pi.
    """
    wave = torch.where(wave.abs() > 1 - 1e-6, math.nan, wave)
    ny, nx = wave.shape
    dy, dx = axis_y, axis_x
    here = wave[dy : ny - dy, dx : nx - dx]
    after = wave[2 * dy :, 2 * dx :]
    before = wave[: ny - 2 * dy, : nx - 2 * dx]
    seen = ~(here + after + before).isnan()
    both = (after + before)[seen], here[seen]
    twice_cos = (both[0] * both[1]).sum() / both[1].square().sum()
    residual = (both[0] - twice_cos * both[1]).abs().max()
    return math.acos(min(1.0, max(-1.0, float(twice_cos) / 2))), float(residual)


def test_sinusoidal_phase_is_one_plane_wave_of_at_most_two_periods_per_axis(study, context):
    ny, nx = 45, 38
    frequencies = {"y": [], "x": []}
    starts = []
    for number in range(150):
        pair = reshaped(study["test"][0].pair(0), (ny, nx), f"slice {number}")
        wave = sources.write("sinusoidal", pair, context, seed=1).double() / math.pi
        assert wave.abs().max() <= 1 + 1e-6
        (wy, off_y), (wx, off_x) = angular_step(wave, 1, 0), angular_step(wave, 0, 1)
        diagonal, off_diagonal = angular_step(wave, 1, 1)
        assert max(off_y, off_x, off_diagonal) < 1e-5  # not a product of two waves
        fy, fx = wy * ny / (2 * math.pi), wx * nx / (2 * math.pi)
        assert fy < 2.01
        assert fx < 2.01
        assert min(abs(diagonal - abs(wy - wx)), abs(diagonal - (wy + wx))) < 1e-2
        frequencies["y"].append(fy)
        frequencies["x"].append(fx)
        starts.append(float(wave[0, 0]))
    for found in frequencies.values():  # |f| is uniform up to two periods
        assert stats.kstest(found, stats.uniform(0, 2).cdf).pvalue > 0.01
    # sin of a uniform angle has the arcsine distribution
    assert stats.kstest(starts, stats.arcsine(-1, 2).cdf).pvalue > 0.01


def test_sinusoids_run_along_either_diagonal(study, context):
    signs = set()
    for number in range(40):
        pair = reshaped(study["test"][0].pair(0), (45, 38), f"slice {number}")
        wave = sources.write("sinusoidal", pair, context, seed=2).double() / math.pi
        (wy, _), (wx, _) = angular_step(wave, 1, 0), angular_step(wave, 0, 1)
        diagonal, _ = angular_step(wave, 1, 1)
        if min(wy, wx) > 0.05:
            signs.add(diagonal > max(wy, wx))
    assert signs == {True, False}


@pytest.fixture(scope="module")
def everybody(study):
    """Every scan, the patient's own among them, and all their slices."""
    volumes = [volume for part in study.values() for volume in part]
    return volumes, pairs.all_pairs(volumes)


def donors_of(phase, slices):
    """The slices whose measured phase this is."""
    return [
        pair
        for pair in slices
        if on_circle(phase, pair.phase)[pair.magnitude > 0].abs().max() < 1e-3
    ]


def test_another_patients_phase_never_comes_from_the_same_patient(everybody):
    volumes, slices = everybody
    context = sources.Context(donors=volumes)
    for pair in slices[1::4]:
        for seed in range(4):
            found = donors_of(sources.write("other_patient", pair, context, seed=seed), slices)
            assert [p.patient_id == pair.patient_id for p in found] == [False]
            assert found[0].contrast == pair.contrast
            assert found[0].slice_index == pair.slice_index


def test_every_other_patient_is_asked_in_time(everybody):
    volumes, slices = everybody
    pair, context = slices[0], sources.Context(donors=volumes)
    asked = set()
    for seed in range(40):
        phase = sources.write("other_patient", pair, context, seed=seed)
        asked |= {p.patient_id for p in donors_of(phase, slices)}
    assert asked == {p.patient_id for p in slices} - {pair.patient_id}


def test_without_the_same_contrast_another_contrast_of_another_patient_serves(study):
    donors = [v for v in study["gan"] if v.raw.contrast == "AXT2"]
    flair = next(v for v in study["test"] if v.raw.contrast == "AXFLAIR")
    phase = sources.write("other_patient", flair.pair(0), sources.Context(donors=donors), seed=1)
    assert len(donors_of(phase, pairs.all_pairs(donors))) == 1


def test_the_patients_own_scans_alone_are_refused(study):
    volume = study["test"][0]
    own = [v for v in study["test"] if v.raw.patient_id == volume.raw.patient_id]
    with pytest.raises(ValueError, match="needs scans of another patient"):
        sources.write("other_patient", volume.pair(0), sources.Context(donors=own), seed=1)


@pytest.mark.parametrize("shape", [(45, 38), (61, 51), (33, 62)])
def test_another_matrix_takes_the_phase_of_the_resampled_complex_image(study, shape):
    donor = study["gan"][0]
    pair = reshaped(study["test"][0].pair(1), shape, "other matrix")
    phase = sources.write("other_patient", pair, sources.Context(donors=[donor]), seed=1)
    image = donor.pair(1).image.numpy().astype(complex)
    # trigonometric interpolation written as two matrices of plane waves
    moved = image
    for axis, new in enumerate(shape):
        old = image.shape[axis]
        kept = min(old, new)
        waves = np.arange(kept) - kept // 2
        analysis = np.exp(-2j * np.pi * np.outer(waves, np.arange(old) - old // 2) / old) / old
        synthesis = np.exp(2j * np.pi * np.outer(np.arange(new) - new // 2, waves) / new)
        moved = np.moveaxis(np.tensordot(synthesis @ analysis, moved, (1, axis)), 0, axis)
    bright = torch.from_numpy(np.abs(moved) > 0.05 * np.abs(moved).max())
    error = on_circle(phase, torch.from_numpy(np.angle(moved)).float())
    assert error[bright].abs().max() < 1e-3


def test_polynomial_phase_is_smooth_where_random_phase_is_not(study, context):
    pair = study["test"][0].pair(0)

    def median_step(name):
        phase = sources.write(name, pair, context, seed=3)
        return float(on_circle(phase[1:], phase[:-1]).abs().median())

    assert median_step("polynomial") < 0.6
    assert median_step("random") == pytest.approx(math.pi / 2, abs=0.2)
