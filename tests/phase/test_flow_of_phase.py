"""The flow for fine phase: what it learns from, how it learns, and what it writes."""

import dataclasses
import math
import shutil

import pytest
import torch

from synthlib import arrays, runs
from synthlib.phase import flow, flow_examples, flow_training, smooth
from synthlib.phase.flow_network import FlowArchitecture
from synthlib.phase.flow_training import Batch, FlowSettings

SMALL = FlowArchitecture(widths=(8, 16), inner=1)
SETTINGS = FlowSettings(architecture=SMALL, steps=4, batch=2, patch=32, warm_up=2, save_every=2)
SHAPE = (45, 38)


def disc(shape=SHAPE, radius=0.8):
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    return y**2 + x**2 < radius**2


def example(seed=0, shape=SHAPE):
    """A head of two tissues: the bright one is turned by 0.6 rad, the dark one is not."""
    rng = torch.Generator().manual_seed(seed)
    blobs = torch.nn.functional.interpolate(
        torch.randn(1, 1, 9, 8, generator=rng), shape, mode="bicubic"
    )[0, 0]
    head, bright = disc(shape), blobs > 0.3
    magnitude = head * torch.where(bright, 1.0, 0.5)
    fine = head * bright * 0.6
    return flow_examples.Example("AXT2", 3.0, (2.0, 2.2), "axial", magnitude, fine, head)


def random_network(seed=1):
    """A network whose last layer is drawn, too: it answers to what it sees."""
    with runs.seeded(seed, "test"):
        network = SMALL.build()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


# --- examples --------------------------------------------------------------------------


def test_plans_cover_orientations_contrasts_and_pixels_and_are_the_same_again():
    plans = [flow_examples.plan(number, seed=5) for number in range(1, 61)]
    assert plans[:3] == [flow_examples.plan(number, seed=5) for number in (1, 2, 3)]
    assert plans[0] != flow_examples.plan(1, seed=6)
    assert {one.orientation for one in plans} == set(flow_examples.REACH_MM)
    assert {name for one in plans for name in one.contrasts} == set(flow_examples.CONTRASTS)
    pixels = [math.sqrt(math.prod(one.spacing_mm)) for one in plans]
    low, high = flow_examples.PIXEL_MM
    assert low * 0.95 < min(pixels) < 0.9 and 2.0 < max(pixels) < high * 1.05
    assert len({one.seed for one in plans}) == 60  # no head twice


def test_examples_are_slices_whose_phase_has_no_smooth_part(monkeypatch):
    monkeypatch.setattr(flow_examples, "PIXEL_MM", (4.8, 5.2))
    made = list(flow_examples.examples(2, seed=5))
    settings = flow_examples.plan(2, seed=5)
    assert 0 < len(made) <= len(settings.contrasts) * flow_examples.N_SLICES
    for one in made:
        assert one.magnitude.shape == one.fine.shape == one.head.shape == settings.matrix
        weight = one.magnitude * one.head
        again = flow_examples.fine_part(one.fine, weight)
        moved = arrays.wrap(again - one.fine)
        assert float((weight * moved.square()).sum() / weight.sum()) < 0.01**2


def test_the_fine_part_is_what_a_surface_leaves():
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    inside = disc()
    detail = 0.2 * torch.sin(9 * math.pi * x) * torch.sin(8 * math.pi * y)
    whole = arrays.wrap(7 * y - 5 * x + 3 * x * y + 2 * x**3 + 1.3 + detail)
    fine = flow_examples.fine_part(whole, inside.float())
    assert (fine - detail)[inside].abs().max() < 0.05


# --- network ---------------------------------------------------------------------------


def test_the_network_has_no_grid_of_its_own():
    network = random_network()
    shape = (1, 1, 64, 48)
    state = torch.full((1, 2, 64, 48), 0.3)
    given = torch.full(shape, 0.7), torch.tensor([0.4]), torch.tensor([2]), torch.tensor([0.5])
    with torch.no_grad():
        expected = network(state, *given)[..., 20:-20, 20:-20]
        y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
        wave = 0.5 + 0.3 * torch.sin(0.3 * y + 0.2 * x)
        phase = torch.atan2(*network(state, wave[None, None], *given[1:])[0].flip(0))
    assert (expected - expected[..., :1, :1]).abs().max() < 1e-4
    steps = arrays.wrap(phase.diff(dim=0)).abs()[16:48, 12:36]
    odd, even = steps[::2].mean(), steps[1::2].mean()
    assert float((odd - even).abs() / (odd + even)) < 0.05


def test_an_untrained_network_expects_no_fine_phase():
    network = SMALL.build()
    batch = flow_training.draw_batch([example()], SETTINGS, 0)
    with torch.no_grad():
        given = batch.magnitude, torch.zeros(2), batch.label, batch.log_mm
        expected = network(torch.randn(2, 2, 32, 32), *given)
    assert torch.equal(expected[:, 0], torch.ones(2, 32, 32)) and not expected[:, 1].any()


# --- training --------------------------------------------------------------------------


def test_paths_start_around_no_phase_with_coarse_and_fine_noise():
    rng = torch.Generator().manual_seed(0)
    noise = flow_training.source_noise((40, 65, 58), rng)
    assert noise.shape == (40, 2, 65, 58)
    assert torch.allclose(noise.mean((0, 2, 3)), torch.tensor([1.0, 0.0]), atol=0.03)
    away = noise - torch.tensor([1.0, 0.0])[:, None, None]
    # a third of the variance is white; bilinear interpolation keeps 4/9 to 1 of the others
    total = float(away.var()) / flow_training.NOISE_RAD**2
    assert 1 / 3 + 2 / 3 * 4 / 9 - 0.05 < total < 1
    neighbours = float((away[..., 1:] * away[..., :-1]).mean() / away.square().mean())
    assert 0.3 < neighbours < 0.7  # white alone: 0


def test_batches_depend_on_the_step_alone():
    examples = [example(seed) for seed in range(3)]
    once, again, other = (flow_training.draw_batch(examples, SETTINGS, step) for step in (3, 3, 4))
    for first, second in zip(vars(once).values(), vars(again).values(), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(once.magnitude, other.magnitude)


def test_a_patch_shows_one_place_in_magnitude_and_target():
    """Mirrored or not, what is bright is what is turned; air has no fine phase and no say."""
    settings = dataclasses.replace(SETTINGS, noise=(1e-6, 2e-6), shading=0.0, batch=16)
    batch = flow_training.draw_batch([example()], settings, 0)
    head = batch.weight > flow_training.FLOOR
    turned = batch.target[:, 1:] > 0.3
    seen = batch.magnitude / batch.magnitude.amax((-2, -1), keepdim=True)
    assert (turned == (seen > 0.75)).float().mean() > 0.999
    assert torch.equal(batch.target[:, :1][~head], torch.ones(int((~head).sum())))
    assert torch.allclose(batch.target.square().sum(1), torch.ones(16, 32, 32), atol=1e-6)


def test_a_patch_has_the_conditions_of_its_example():
    settings = dataclasses.replace(SETTINGS, unknown=0.0, batch=12)
    batch = flow_training.draw_batch([example()], settings, 0)
    assert batch.label.tolist() == [flow_examples.CONTRASTS.index("AXT2")] * 12
    assert torch.allclose(batch.log_mm, torch.tensor(0.5 * math.log2(2.0 * 2.2)))
    # half the magnitude of the median or less counts less; all that is brighter as much
    weights = {round(float(value), 2) for value in (batch.weight - flow_training.FLOOR).unique()}
    bright = float(example().magnitude[example().head].median())
    assert weights == {0.0, round(0.5 / bright, 2), 1.0}
    unnamed = dataclasses.replace(settings, unknown=1.0)
    labels = flow_training.draw_batch([example()], unnamed, 0).label
    assert labels.tolist() == [flow_training.UNKNOWN] * 12


def test_sagittal_heads_are_not_mirrored():
    whole = dataclasses.replace(example(), orientation="sagittal")
    quiet = {"noise": (1e-6, 2e-6), "shading": 0.0, "patch": 64, "batch": 8}
    batch = flow_training.draw_batch([whole], dataclasses.replace(SETTINGS, **quiet), 0)
    assert (batch.target == batch.target[:1]).all()
    axial = flow_training.draw_batch([example()], dataclasses.replace(SETTINGS, **quiet), 0)
    assert not (axial.target == axial.target[:1]).all()


def test_heads_smaller_than_a_patch_are_padded_with_air():
    batch = flow_training.draw_batch([example(shape=(21, 40))], SETTINGS, 0)
    assert batch.magnitude.shape == (2, 1, 32, 32)
    rows = (batch.weight > flow_training.FLOOR).any(-1)[:, 0]
    assert (rows.sum(-1) <= 21).all()


def test_the_loss_is_none_for_who_knows_the_phase():
    batch = flow_training.draw_batch([example()], SETTINGS, 1)

    def knowing(state, magnitude, time, label, log_mm):
        return batch.target

    assert float(flow_training.loss_of(knowing, batch, torch.Generator().manual_seed(1))) == 0
    off = Batch(batch.magnitude, -batch.target, batch.weight, batch.label, batch.log_mm)
    # half a turn away: |2|^2 everywhere
    opposite = flow_training.loss_of(knowing, off, torch.Generator().manual_seed(1))
    assert float(opposite) == pytest.approx(4, rel=1e-5)


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path):
    examples = [example(seed) for seed in range(2)]
    whole, losses = flow_training.train_flow(examples, SETTINGS, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(path, state):
        keep(path, state)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        keep = runs.write_checkpoint
        patch.setattr(runs, "write_checkpoint", kill)
        with pytest.raises(Killed):
            flow_training.train_flow(examples, SETTINGS, tmp_path / "killed")
    resumed, again = flow_training.train_flow(examples, SETTINGS, tmp_path / "killed")
    assert losses == again and len(losses) == 2
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    flow_training.train_flow([example()], SETTINGS, tmp_path)
    other = dataclasses.replace(SETTINGS, steps=6)
    with pytest.raises(ValueError, match="other settings"):
        flow_training.train_flow([example()], other, tmp_path)
    with pytest.raises(ValueError, match="other settings, examples"):
        flow_training.train_flow([example(5)], SETTINGS, tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(ValueError, match="no examples"):
        flow_training.train_flow([], SETTINGS, tmp_path)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A small flow that has seen twelve heads of two tissues."""
    settings = dataclasses.replace(SETTINGS, steps=220, batch=4, warm_up=20, learning_rate=4e-3)
    examples = [example(seed) for seed in range(12)]
    network, losses = flow_training.train_flow(examples, settings, tmp_path_factory.mktemp("flow"))
    assert losses[-1] < 0.5 * losses[0]
    return flow.PhaseFlow(network, SMALL)


def test_what_the_magnitude_tells_is_learned(learned):
    unseen = example(99)
    draws = torch.stack(
        [
            learned.fine(unseen.magnitude, (2.0, 2.2), runs.rng(0, i), contrast="AXT2")
            for i in range(4)
        ]
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
    return flow.PhaseFlow(random_network(), SMALL, {"axial": statistics}, {"seed": 7})


def test_slices_of_a_scan_share_their_smooth_phase():
    magnitude = torch.stack([example(seed).magnitude for seed in range(5)])
    given = {"seed": 3, "name": "series", "contrast": "AXT2"}
    phase = writer().scan(magnitude, (2.0, 2.2), **given)
    fine = dataclasses.replace(writer(), smooth={}).scan(magnitude, (2.0, 2.2), **given)
    surface = torch.polar(torch.ones_like(phase), phase - fine)
    assert phase.abs().max() <= math.pi
    # coefficients are straight lines along the stack: second differences vanish, on the circle
    bend = surface[2:] * surface[:-2] * surface[1:-1].conj().square()
    assert bend.angle().abs().max() < 1e-3
    assert (surface[1:] * surface[:-1].conj()).angle().abs().max() > 0.1  # they do change
    assert torch.equal(phase, writer().scan(magnitude, (2.0, 2.2), **given))
    assert not torch.equal(phase, writer().scan(magnitude, (2.0, 2.2), **(given | {"seed": 4})))


@pytest.mark.parametrize("shape", [(45, 38), (33, 64)])
def test_phase_does_not_depend_on_the_unit_of_the_magnitude(shape):
    magnitude = example(shape=shape).magnitude
    one, thousand = (
        writer().fine(factor * magnitude, (math.nan, math.nan), runs.rng(0, "x"))
        for factor in (1, 1000)
    )
    assert one.shape == shape
    assert arrays.wrap(one - thousand).abs().max() < 1e-3


def test_phase_depends_on_contrast_pixel_size_and_orientation():
    magnitude = example().magnitude
    given = {"seed": 1, "scan": "a", "index": 0, "position": 0.5}
    usual = writer().slice(magnitude, (2.0, 2.0), contrast="AXT2", **given)
    for spacing_mm, contrast in (((2.0, 2.0), "AXT1"), ((2.0, 2.0), "mine"), ((1.0, 1.0), "AXT2")):
        other = dataclasses.replace(writer(), smooth={})
        same = other.slice(magnitude, (2.0, 2.0), contrast="AXT2", **given)
        assert not torch.equal(other.slice(magnitude, spacing_mm, contrast=contrast, **given), same)
    statistics = writer().smooth["axial"]
    wider = smooth.ScanStatistics(statistics.mean, 9 * statistics.covariance)
    alone = dataclasses.replace(writer(), smooth={"coronal": wider})
    coronal = alone.slice(magnitude, (2.0, 2.0), contrast="AXT2", orientation="coronal", **given)
    assert not torch.equal(coronal, usual)
    one = writer().scan(magnitude[None], (2.0, 2.0), seed=1, name="a", contrast="AXT2")
    assert torch.equal(one[0], usual)  # a single slice lies in the middle of its stack


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="0 steps"):
        writer().fine(example().magnitude, (1.0, 1.0), runs.rng(0, "x"), steps=0)
    with pytest.raises(ValueError, match="multiples of 8"):
        FlowArchitecture(widths=(4, 16))


def test_an_empty_slice_gets_a_phase():
    phase = writer().fine(torch.zeros(SHAPE), (1.0, 1.0), runs.rng(0, "x"))
    assert phase.isfinite().all()


def test_a_flow_is_saved_and_loaded(tmp_path):
    path = tmp_path / "flow.safetensors"
    flow.save(path, writer())
    back = flow.load(path)
    assert back.record == {"seed": 7} and back.architecture == SMALL
    magnitude = example().magnitude
    given = {"seed": 1, "scan": "a", "index": 2, "position": 0.25}
    first, second = (one.slice(magnitude, (2.0, 2.0), **given) for one in (writer(), back))
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
    wrong = dataclasses.replace(writer(), architecture=FlowArchitecture(widths=(8, 24), inner=1))
    flow.save(other, wrong)
    with pytest.raises(ValueError, match="another architecture"):
        flow.load(other)
