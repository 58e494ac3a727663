"""The flow for fine phase: what it learns from, how it learns, and what it writes."""

import dataclasses
import math
import shutil

import pytest
import torch

from synthlib import arrays, runs
from synthlib.phase import flow, polynomial, smooth
from synthlib.phase.flow import (
    Conditions,
    batches,
    conditions,
    examples,
    familiarity,
    grids,
    paths,
    recipe,
    training,
)
from synthlib.phase.flow.network import Architecture, Given
from synthlib.phase.flow.paths import Stage

SMALL = Architecture(widths=(8, 16), inner=1)
COARSE = Stage(SMALL, 0.4, 0.4, (1, 4), steps=3)
FINE = Stage(SMALL, 0.2, 0.1, (1, 3), steps=2)
SETTINGS = training.TrainingSettings(
    "coarse", COARSE, steps=4, batch=2, warm_up=2, save_every=2, half=False
)
SHAPE, SPACING_MM = (45, 38), (2.0, 2.2)
AXIAL, CORONAL = (smooth.kind(name, gradient_echo=False) for name in ("axial", "coronal"))
QUIET = batches.Degrading(noise=(1e-6, 2e-6), shading=0.0, unknown=0.0)


def disc(shape=SHAPE, radius=0.8):
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    return y**2 + x**2 < radius**2


def example(seed=0, shape=SHAPE, orientation="axial"):
    """A head of two tissues: the bright one is turned by 0.6 rad, the dark one is not."""
    rng = torch.Generator().manual_seed(seed)
    blobs = torch.nn.functional.interpolate(
        torch.randn(1, 1, 9, 8, generator=rng), shape, mode="bicubic"
    )[0, 0]
    head, bright = disc(shape), blobs > 0.3
    magnitude = head * torch.where(bright, 1.0, 0.5)
    fine = head * bright * 0.6
    return examples.Example("AXT2", 3.0, SPACING_MM, orientation, magnitude, fine, head)


def random_network(seed=1):
    """A network whose last layer is drawn, too: it answers to what it sees."""
    with runs.seeded(seed, "test"):
        network = SMALL.build()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return network.eval().requires_grad_(False)


def given(magnitude, seed=None):
    """All that a network sees of (image, 1, y, x), with no guess and unknown conditions."""
    n, _, ny, nx = magnitude.shape
    guess = torch.zeros(n, 2, ny, nx)
    guess[:, 0] = 1
    return Given(magnitude, guess, torch.zeros(n, 2, ny, nx), torch.zeros(n, conditions.LENGTH + 1))


# --- examples --------------------------------------------------------------------------


def test_plans_cover_orientations_contrasts_and_pixels_and_are_the_same_again():
    plans = [examples.plan(number, seed=5) for number in range(1, 61)]
    assert plans[:3] == [examples.plan(number, seed=5) for number in (1, 2, 3)]
    assert plans[0] != examples.plan(1, seed=6)
    assert {one.orientation for one in plans} == set(smooth.REACH_MM)
    assert {name for one in plans for name in one.contrasts} == set(examples.LABELS)
    pixels = [math.sqrt(math.prod(one.spacing_mm)) for one in plans]
    low, high = examples.PIXEL_MM
    assert low * 0.95 < min(pixels) < 0.9 and 2.0 < max(pixels) < high * 1.05
    assert len({one.seed for one in plans}) == 60  # no head twice


def test_examples_are_slices_whose_phase_has_no_smooth_part_and_are_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(examples, "PIXEL_MM", (4.8, 5.2))
    made = list(examples.examples(2, seed=5))
    settings = examples.plan(2, seed=5)
    assert 0 < len(made) <= len(settings.contrasts) * examples.N_SLICES
    for one in made:
        assert one.magnitude.shape == one.fine.shape == one.head.shape == settings.matrix
        weight = one.magnitude * one.head
        again = polynomial.fine_part(one.fine, weight)
        moved = arrays.wrap(again - one.fine)
        assert float((weight * moved.square()).sum() / weight.sum()) < 0.01**2
    path = tmp_path / "subject.safetensors"
    examples.write(path, made)
    for one, back in zip(made, examples.read(path), strict=True):
        assert (back.label, back.orientation, back.spacing_mm) == (
            one.label, one.orientation, one.spacing_mm,
        )  # fmt: skip
        assert torch.equal(back.head, one.head)
        assert arrays.wrap(back.fine.float() - one.fine).abs().max() < 2e-3
        ratio = back.magnitude.float() * one.magnitude.max() - one.magnitude
        assert ratio.abs().max() < 1e-3 * one.magnitude.max()


def test_what_holds_no_examples_is_named(tmp_path):
    runs.write_weights(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match="holds no examples"):
        examples.read(tmp_path / "other.safetensors")


def test_the_fine_part_is_what_a_surface_leaves():
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    inside = disc()
    detail = 0.2 * torch.sin(9 * math.pi * x) * torch.sin(8 * math.pi * y)
    whole = arrays.wrap(7 * y - 5 * x + 3 * x * y + 2 * x**3 + 1.3 + detail)
    fine = polynomial.fine_part(whole, inside.float())
    assert (fine - detail)[inside].abs().max() < 0.05


# --- conditions ------------------------------------------------------------------------


def test_conditions_tell_scans_apart_and_unknown_ones_are_zero():
    assert not Conditions().vector().any()
    assert not Conditions("mine", "oblique", None, math.nan, math.nan).vector().any()
    known = [
        Conditions.of_protocol(label, orientation, field_t).vector()
        for label in examples.LABELS
        for orientation in conditions.ORIENTATIONS
        for field_t in (1.5, 3.0)
    ]
    assert len({tuple(vector.tolist()) for vector in known}) == len(known)
    later = [Conditions(gradient_echo=True, te_ms=te_ms).vector() for te_ms in (5.0, 20.0)]
    # two octaves, of the three that are 1
    assert float((later[1] - later[0]).sum()) == pytest.approx(2 / 3)


def test_conditions_are_forgotten_by_groups():
    vector = Conditions.of_protocol("AXSWI", "sagittal", 1.5).vector()
    assert torch.equal(conditions.forget(vector, 0.0, runs.rng(0, "x")), vector)
    assert not conditions.forget(vector, 1.0, runs.rng(0, "x")).any()
    drawn = [conditions.forget(vector, 0.3, runs.rng(0, i)) for i in range(400)]
    # a group is lost with 1 - 0.7^2, and all of one group or nothing
    for group in conditions.GROUPS:
        lost = sum(not bool(one[group].any()) for one in drawn) / len(drawn)
        assert lost == pytest.approx(0.51, abs=0.08)
        assert all(torch.equal(one[group], vector[group]) or not one[group].any() for one in drawn)


# --- grids -----------------------------------------------------------------------------


def test_a_view_finds_the_head_and_its_bright_end():
    image = torch.zeros(61, 40)
    image[10:31, 5:20] = 2.0
    image[20, 10] = 900.0  # a bright vessel
    seen = grids.view(image, (1.5, 2.0))
    assert seen.middle_mm == (pytest.approx(20.5 * 1.5), pytest.approx(12.5 * 2.0))
    assert seen.bright == pytest.approx(2.0)
    empty = grids.view(torch.zeros(6, 8), (1.0, 1.0))
    assert empty.bright == 1 and empty.middle_mm == (3, 4)


def test_places_are_millimetres_from_the_middle():
    place = grids.places((5, 4), (10.0, 20.0), (25.0, 40.0))
    assert torch.allclose(place[0, :, 0], torch.tensor([-0.2, -0.1, 0, 0.1, 0.2]), atol=1e-6)
    assert torch.allclose(place[1, 0], torch.tensor([-0.3, -0.1, 0.1, 0.3]), atol=1e-6)


# --- network ---------------------------------------------------------------------------


def test_the_network_has_no_grid_of_its_own():
    network = random_network()
    state = torch.full((1, 2, 64, 48), 0.3)
    time = torch.tensor([0.4])
    flat = network(state, given(torch.full((1, 1, 64, 48), 0.7)), time)[..., 20:-20, 20:-20]
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    wave = 0.5 + 0.3 * torch.sin(0.3 * y + 0.2 * x)
    phase = torch.atan2(*network(state, given(wave[None, None]), time)[0].flip(0))
    assert (flat - flat[..., :1, :1]).abs().max() < 1e-4
    steps = arrays.wrap(phase.diff(dim=0)).abs()[16:48, 12:36]
    odd, even = steps[::2].mean(), steps[1::2].mean()
    assert float((odd - even).abs() / (odd + even)) < 0.05


def test_an_untrained_network_expects_its_guess():
    """At first its guess; then, as the noise fades, more and more of the state."""
    known = given(torch.rand(2, 1, 64, 48))
    state = torch.randn(2, 2, 64, 48)
    with torch.no_grad():
        first, later = (
            paths.expected(SMALL.build(), state, known, torch.full((2,), time), COARSE)
            for time in (0.0, 0.999)
        )
    assert torch.equal(first, known.guess)
    assert (later - state).abs().max() < 0.02


# --- batches ---------------------------------------------------------------------------


def test_paths_start_around_the_guess_with_coarse_and_fine_noise():
    rng = torch.Generator().manual_seed(0)
    guess = torch.zeros(40, 2, 65, 58)
    guess[:, 0] = 1
    stage = Stage(SMALL, 0.5, 0.4, (1, 4, 16))
    noise = paths.start(guess, stage, rng)
    assert noise.shape == (40, 2, 65, 58)
    assert torch.allclose(noise.mean((0, 2, 3)), torch.tensor([1.0, 0.0]), atol=0.03)
    away = noise - guess
    # a third of the variance is white; bilinear interpolation keeps 4/9 to 1 of the others
    total = float(away.var()) / stage.noise_rad**2
    assert 1 / 3 + 2 / 3 * 4 / 9 - 0.05 < total < 1
    neighbours = float((away[..., 1:] * away[..., :-1]).mean() / away.square().mean())
    assert 0.3 < neighbours < 0.7  # white alone: 0


@pytest.mark.parametrize("make", [batches.coarse_batch, batches.fine_batch])
def test_batches_depend_on_the_step_alone(make):
    prepared = [batches.prepare(example(seed), native=True) for seed in range(3)]
    once, again, other = (make(prepared, 2, batches.Degrading(), 7, step) for step in (3, 3, 4))
    for first, second in zip(vars(once.given).values(), vars(again.given).values(), strict=True):
        assert torch.equal(first, second)
    assert torch.equal(once.target, again.target) and torch.equal(once.weight, again.weight)
    assert not torch.equal(once.given.magnitude, other.given.magnitude)


@pytest.mark.parametrize("make", [batches.coarse_batch, batches.fine_batch])
def test_a_batch_shows_one_place_in_magnitude_and_target(make):
    """Mirrored or not, what is bright is what is turned; air has no fine phase and no say."""
    batch = make([batches.prepare(example(), native=True)], 16, QUIET, 0, 0)
    head = batch.weight > batches.FLOOR
    seen = batch.given.magnitude / batch.given.magnitude.amax((-2, -1), keepdim=True)
    turned = torch.atan2(batch.target[:, 1:], batch.target[:, :1])
    assert (turned[seen > 0.9] > 0.3).float().mean() > 0.97
    assert (turned[head & (seen < 0.6)] < 0.3).float().mean() > 0.97
    assert torch.equal(batch.target[:, :1][~head], torch.ones(int((~head).sum())))
    assert torch.allclose(batch.target.square().sum(1), torch.ones(16, 96, 96), atol=1e-5)
    # in a mirrored head, too, what lies to the right has the larger place
    assert (batch.given.place[:, 1].diff(dim=-1)[:, 40:56, 40:56] > 0).all()
    if make is batches.fine_batch:  # the coarse truth is near the fine one
        away = (batch.given.guess - batch.target).square().sum(1, keepdim=True)
        assert away[head].mean() < 0.1


def test_a_batch_has_the_conditions_of_its_example():
    prepared = [batches.prepare(example(), native=True)]
    coarse = batches.coarse_batch(prepared, 5, QUIET, 0, 0).given.conditions
    fine = batches.fine_batch(prepared, 5, QUIET, 0, 0).given.conditions
    told = Conditions.of_protocol("AXT2", "axial", 3.0).vector()
    assert torch.equal(coarse[:, :-1], told.expand(5, -1)) and torch.equal(
        fine[:, :-1], told.expand(5, -1)
    )
    assert torch.allclose(coarse[:, -1], torch.tensor(math.log2(grids.MM)))
    assert torch.allclose(fine[:, -1], torch.tensor(0.5 * math.log2(2.0 * 2.2)))


def test_sagittal_heads_are_not_mirrored():
    whole = batches.prepare(example(orientation="sagittal"), native=True)
    batch = batches.coarse_batch([whole], 8, QUIET, 0, 0)
    assert (batch.target == batch.target[:1]).all()
    axial = batches.coarse_batch([batches.prepare(example(), native=True)], 8, QUIET, 0, 0)
    assert not (axial.target == axial.target[:1]).all()


def test_the_loss_is_none_for_who_knows_the_phase():
    batch = batches.coarse_batch([batches.prepare(example(), native=True)], 2, QUIET, 0, 1)

    def loss(network, target):
        rng = torch.Generator().manual_seed(1)
        return float(paths.loss_of(network, batch.given, target, batch.weight, COARSE, rng))

    def knowing(state, given, time):
        """What is missing to the target, from the state in units of its s.d."""
        time = time.view(-1, 1, 1, 1)
        spread = ((0.4 * time) ** 2 + (0.4 * (1 - time)) ** 2).sqrt()
        linear = given.guess + 0.4 * state
        return (batch.target - linear) / (0.4 * 0.4 * (1 - time) / spread)

    assert loss(knowing, batch.target) < 1e-8
    # an untrained network makes the error of the linear guess
    assert 0.8 < loss(SMALL.build(), batch.target) < 1


# --- training --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coarse", "fine"])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, name):
    settings = dataclasses.replace(SETTINGS, name=name)
    some = [example(seed) for seed in range(2)]
    whole, losses = training.train(some, settings, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(path, state):
        keep(path, state)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        keep = runs.write_checkpoint
        patch.setattr(runs, "write_checkpoint", kill)
        with pytest.raises(Killed):
            training.train(some, settings, tmp_path / "killed")
    resumed, again = training.train(some, settings, tmp_path / "killed")
    assert losses == again and len(losses) == 2
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    training.train([example()], SETTINGS, tmp_path)
    other = dataclasses.replace(SETTINGS, steps=6)
    with pytest.raises(ValueError, match="other settings"):
        training.train([example()], other, tmp_path)
    with pytest.raises(ValueError, match="other settings, examples"):
        training.train([example(5)], SETTINGS, tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(ValueError, match="no examples"):
        training.train([], SETTINGS, tmp_path)
    with pytest.raises(ValueError, match="stage 'medium'"):
        training.TrainingSettings("medium")


def test_convolutions_in_half_precision_learn_the_same(tmp_path):
    some = [example(seed) for seed in range(2)]
    _, full = training.train(some, SETTINGS, tmp_path / "full")
    _, half = training.train(some, dataclasses.replace(SETTINGS, half=True), tmp_path / "half")
    assert half == pytest.approx(full, rel=0.05)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A small flow that has seen twelve heads of two tissues."""
    folder = tmp_path_factory.mktemp("flow")
    usual = {"steps": 400, "batch": 4, "warm_up": 20, "learning_rate": 4e-3, "save_every": 100}
    networks = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "EDGE", 48)
        for name, stage in (("coarse", COARSE), ("fine", FINE)):
            settings = dataclasses.replace(SETTINGS, name=name, stage=stage, **usual)
            some = [example(seed) for seed in range(12)]
            network, losses = training.train(some, settings, folder)
            assert losses[-1] < 0.6 * losses[0], name
            networks.append(network)
    return flow.PhaseFlow(*networks, (COARSE, FINE))


def test_what_the_magnitude_tells_is_learned(learned):
    unseen = example(99)
    known = Conditions.of_protocol("AXT2", "axial", 3.0)
    draws = learned.fine_phase(
        unseen.magnitude.expand(4, -1, -1), SPACING_MM, runs.rng(0), conditions=known
    )
    bright = unseen.fine > 0
    step = draws[:, bright].mean(1) - draws[:, unseen.head & ~bright].mean(1)
    assert (step - 0.6).abs().max() < 0.2
    assert not torch.equal(draws[0], draws[1])


# --- use -------------------------------------------------------------------------------


def writer():
    n = 29
    covariance = torch.eye(n, dtype=torch.float64) * 4
    statistics = smooth.ScanStatistics(torch.zeros(n, dtype=torch.float64), covariance)
    return flow.PhaseFlow(
        random_network(1),
        random_network(2),
        (COARSE, FINE),
        {AXIAL: statistics},
        None,
        {"seed": 7},
    )


def without_surface():
    return dataclasses.replace(writer(), smooth={})


def test_phase_along_the_stack_goes_by_millimetres():
    """A stack of half the length turns half as far; its middle is the same."""
    known = writer()
    place = {"seed": 1, "scan": "a"}
    reach = smooth.REACH_MM["axial"][1] - smooth.REACH_MM["axial"][0]

    def ends(extent_mm):
        return [
            known.surface(SHAPE, SPACING_MM, position=position, extent_mm=extent_mm, **place)
            for position in (0.0, 0.5, 1.0)
        ]

    usual, half, unknown = ends(reach), ends(reach / 2), ends(math.nan)
    assert torch.allclose(usual[1], half[1])
    assert torch.allclose(2 * (half[2] - half[0]), usual[2] - usual[0], atol=1e-3)
    assert all(torch.equal(one, other) for one, other in zip(usual, unknown, strict=True))
    assert smooth.height(1.0, 1e4, "axial") == smooth.FARTHEST


def test_slices_of_a_scan_share_their_smooth_phase():
    magnitude = torch.stack([example(seed).magnitude for seed in range(5)])
    scan = {"seed": 3, "name": "series"}
    phase = writer().scan(magnitude, SPACING_MM, **scan)
    fine = without_surface().scan(magnitude, SPACING_MM, **scan)
    surface = torch.polar(torch.ones_like(phase), phase - fine)
    assert phase.abs().max() <= math.pi
    # coefficients are straight lines along the stack: second differences vanish, on the circle
    bend = surface[2:] * surface[:-2] * surface[1:-1].conj().square()
    assert bend.angle().abs().max() < 1e-3
    assert (surface[1:] * surface[:-1].conj()).angle().abs().max() > 0.1  # they do change
    assert torch.equal(phase, writer().scan(magnitude, SPACING_MM, **scan))
    assert not torch.equal(phase, writer().scan(magnitude, SPACING_MM, **(scan | {"seed": 4})))


@pytest.mark.parametrize("shape", [(45, 38), (33, 64), (90, 101)])
def test_phase_does_not_depend_on_the_unit_of_the_magnitude(shape):
    magnitude = example(shape=shape).magnitude[None]
    usual, thousand = (
        writer().fine_phase(factor * magnitude, (math.nan, math.nan), runs.rng(0, "x"))
        for factor in (1, 1000)
    )
    assert usual.shape == (1, *shape)
    assert arrays.wrap(usual - thousand).abs().max() < 1e-3


def test_phase_depends_on_conditions_pixel_size_and_orientation():
    magnitude = example().magnitude
    place = {"seed": 1, "scan": "a", "index": 0, "position": 0.5}
    known = Conditions.of_protocol("AXT2", "axial", 3.0)
    same = without_surface().slice(magnitude, (2.0, 2.0), conditions=known, **place)
    for spacing_mm, other in (
        ((2.0, 2.0), Conditions()),
        ((2.0, 2.0), dataclasses.replace(known, field_t=1.5)),
        ((1.0, 1.0), known),
    ):
        changed = without_surface().slice(magnitude, spacing_mm, conditions=other, **place)
        assert not torch.equal(changed, same)
    usual = writer().slice(magnitude, (2.0, 2.0), conditions=known, **place)
    statistics = writer().smooth[AXIAL]
    wider = smooth.ScanStatistics(statistics.mean, 9 * statistics.covariance)
    alone = dataclasses.replace(writer(), smooth={AXIAL: statistics, CORONAL: wider})
    front = dataclasses.replace(known, orientation="coronal")
    assert not torch.equal(alone.slice(magnitude, (2.0, 2.0), conditions=front, **place), usual)
    single = writer().scan(magnitude[None], (2.0, 2.0), seed=1, name="a", conditions=known)
    assert torch.equal(single[0], usual)  # a single slice lies in the middle of its stack


def test_an_image_upside_down_gets_the_same_phase_upside_down():
    magnitude = example().magnitude
    place = {"seed": 1, "scan": "a", "index": 0, "position": 0.5}
    usual = writer().slice(magnitude, SPACING_MM, **place)
    turned = writer().slice(magnitude.flip(0), SPACING_MM, upside_down=True, **place)
    assert torch.equal(turned.flip(0), usual)


def test_no_steps_are_refused():
    standing = dataclasses.replace(COARSE, steps=0)
    with pytest.raises(ValueError, match="0 steps"):
        paths.follow(
            random_network(), given(torch.ones(1, 1, 8, 8)), torch.ones(1, 2, 8, 8), standing
        )
    with pytest.raises(ValueError, match="multiples of 8"):
        Architecture(widths=(4, 16))


def test_an_empty_slice_gets_a_phase():
    phase = writer().fine_phase(torch.zeros(1, *SHAPE), (1.0, 1.0), runs.rng(0, "x"))
    assert phase.isfinite().all()


def test_a_flow_is_saved_and_loaded(tmp_path):
    path = tmp_path / "flow.safetensors"
    flow.save(path, writer())
    back = flow.load(path)
    assert back.record == {"seed": 7} and back.stages == (COARSE, FINE)
    magnitude = example().magnitude
    place = {"seed": 1, "scan": "a", "index": 2, "position": 0.25}
    first, second = (one.slice(magnitude, (2.0, 2.0), **place) for one in (writer(), back))
    assert torch.equal(first, second)


def test_what_is_no_flow_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there"):
        flow.load(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="truncated"):
        flow.load(broken)
    other = tmp_path / "other.safetensors"
    runs.write_weights(other, {"a": torch.zeros(1)}, {"architecture": "{}"})
    with pytest.raises(ValueError, match="holds no flow"):
        flow.load(other)
    wider = Stage(Architecture(widths=(8, 24), inner=1), 0.4, 0.4, (1, 4), steps=3)
    flow.save(other, dataclasses.replace(writer(), stages=(wider, FINE)))
    with pytest.raises(ValueError, match="another architecture"):
        flow.load(other)


# --- recipe ----------------------------------------------------------------------------


@pytest.fixture
def small_recipe(monkeypatch):
    """Of drawn heads instead of simulated ones."""

    def slices(number, *, seed):
        return [example(100 * number + i) for i in range(12)]

    def scans(number, orientation, *, seed):
        rng = runs.rng(seed, number)
        for label in ("AXT1", "AXFLAIR", "AXGRE", "AXSWI", "AXT1GRE", "AXMPRAGE"):
            yield label, torch.randn(29, dtype=torch.float64, generator=rng)

    monkeypatch.setattr(examples, "examples", slices)
    monkeypatch.setattr(recipe.smooth_examples, "scans_of", scans)
    fine = dataclasses.replace(SETTINGS, name="fine", stage=FINE)
    return recipe.Recipe(3, 5, smooth_subjects=4, seed=1, coarse=SETTINGS, fine=fine)


def test_a_recipe_is_followed_to_weights_and_nothing_is_made_twice(
    tmp_path, small_recipe, monkeypatch
):
    made = recipe.make(small_recipe, tmp_path)
    names = sorted(path.name for path in tmp_path.glob("examples-*/*"))
    assert names == [f"1_{number:04d}.safetensors" for number in range(1, 6)]
    kinds = [
        smooth.kind(name, gradient_echo=echo, te_ms=te_ms)
        for name in conditions.ORIENTATIONS
        for echo, te_ms in ((False, 100.0), (True, 4.6), (True, 20.0))
    ]
    assert set(made.smooth) == set(kinds) and made.familiar is not None
    assert made.record["parameters"]["n_scans"] == 9
    for room, name in ((examples, "examples"), (recipe.smooth_examples, "scans_of")):
        monkeypatch.delattr(room, name)
    again = recipe.make(small_recipe, tmp_path)
    for key, value in made.coarse.state_dict().items():
        assert torch.equal(value, again.coarse.state_dict()[key]), key
    path = tmp_path / recipe.WEIGHTS
    flow.save(path, made, half=True)
    magnitude = example().magnitude
    assert torch.equal(flow.load(path)(magnitude, seed=1), made(magnitude, seed=1))


def test_stages_can_be_trained_side_by_side(tmp_path, small_recipe):
    assert recipe.make(small_recipe, tmp_path, stage="fine") is None
    assert (tmp_path / "fine.ckpt").is_file() and not (tmp_path / "coarse.ckpt").is_file()


# --- what the flow knows of its own limits -----------------------------------------------


def test_uncertainty_is_none_for_draws_that_agree_and_large_for_those_that_do_not():
    magnitude = example().magnitude

    def untrained(phase_rad):
        """Networks that add nothing: draws are as wide as the stages say."""
        stages = tuple(Stage(SMALL, 0.4, rad, (1, 4), steps=8) for rad in phase_rad)
        return flow.PhaseFlow(SMALL.build(), SMALL.build(), stages)

    certain = untrained((1e-4, 1e-4)).uncertainty(magnitude, SPACING_MM, seed=1)
    assert certain.shape == SHAPE and certain.max() < 1e-2
    wide = untrained((1e-4, 0.3))
    uncertain = wide.uncertainty(magnitude, SPACING_MM, seed=1, n_draws=32)
    # interpolation keeps 4/9 to 1 of the coarser half of the noise, steps of Euler a little less
    assert 0.3 * 0.65 < float(uncertain.square().mean().sqrt()) < 0.3 * 1.1
    again = wide.uncertainty(magnitude, SPACING_MM, seed=1, n_draws=32)
    assert torch.equal(uncertain, again)
    known = without_surface()
    with pytest.raises(ValueError, match="1 draws; expected two"):
        known.uncertainty(magnitude, SPACING_MM, seed=1, n_draws=1)


def test_what_is_no_head_is_unfamiliar(tmp_path):
    some = [example(seed) for seed in range(60)]
    knows = recipe.with_familiarity(writer(), some[:45], some[45:], seed=1)
    rng = runs.rng(5)
    noise = torch.randn(4, *SHAPE, generator=rng).abs()
    heads = torch.stack([one.magnitude for one in some[45:]])
    heads = (heads + 0.02 * torch.randn(heads.shape, generator=rng)).abs()
    apart = knows.unfamiliarity(noise, SPACING_MM)
    assert apart.min() > knows.familiar.limit
    usual = knows.unfamiliarity(heads, SPACING_MM)
    assert 0.7 < usual.median() < 1.6 and usual.max() < knows.familiar.limit
    turned = knows.unfamiliarity(heads.flip(1), SPACING_MM, upside_down=True)
    assert torch.equal(turned, knows.unfamiliarity(heads, SPACING_MM))
    flow.save(tmp_path / "f.safetensors", knows)
    back = flow.load(tmp_path / "f.safetensors")
    assert torch.equal(back.unfamiliarity(noise, SPACING_MM), apart)
    with pytest.raises(ValueError, match="do not know what they learned from"):
        writer().unfamiliarity(noise, SPACING_MM)
    with pytest.raises(ValueError, match="3 heads for 24 activations"):
        familiarity.fit(torch.ones(3, 24), torch.ones(3, 24))


def test_a_volume_hangs_together():
    """Slices of one magnitude differ by the fine stage's noise alone, two scans by all of it."""
    still = Stage(SMALL, 1e-6, 1e-6, (1, 3), steps=2)
    scans = [
        dataclasses.replace(without_surface(), stages=(COARSE, still), fine=SMALL.build()).scan(
            example().magnitude.expand(3, -1, -1), SPACING_MM, seed=1, name=name
        )
        for name in ("a", "b")
    ]
    assert arrays.wrap(scans[0] - scans[0][:1]).abs().max() < 1e-3
    assert arrays.wrap(scans[0] - scans[1]).abs().max() > 0.1
