"""The training loop: pix2pix's own step, and runs that stop and go on."""

import copy
import csv
import dataclasses
import io
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from synthlib import pairs
from synthlib.phase import consistency, generator, jitter, pix2pix, steps, training
from tests.benchmarks import original_pix2pix

# six layers down: the smallest network with dropout, so that its draws matter, too
TINY = training.GanSettings(ngf=4, ndf=4, depth=6, epochs=4, seed=3, accelerator="cpu")


@pytest.fixture(scope="module")
def job(study, tmp_path_factory):
    """Four slices of two scans, watched on a slice of another patient."""
    return training.Job(
        study["gan"][:2],
        pairs.middle_pairs(study["val"], 1),
        tmp_path_factory.mktemp("uninterrupted"),
        TINY,
    )


@pytest.fixture(scope="module")
def trained(job):
    return training.train(job)


@pytest.fixture
def uninterrupted(job, trained):
    """The trained generator as the file has it, for each test anew."""
    return generator.load(weights_file(job, 4))


def elsewhere(job, folder, **changes):
    return dataclasses.replace(
        job, folder=folder, settings=dataclasses.replace(job.settings, **changes)
    )


def only_folder(job):
    (folder,) = job.folder.iterdir()
    return folder


def weights_file(job, epochs):
    return only_folder(job) / f"generator_epoch{epochs:03d}.safetensors"


def assert_same_weights(first, second):
    one, other = first.network.state_dict(), second.network.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


# --- one step -------------------------------------------------------------------------


@pytest.fixture
def step_parts():
    torch.manual_seed(0)
    network, judge = pix2pix.UNetGenerator(1, 4, 6), pix2pix.PatchDiscriminator(2, 4)
    pix2pix.initialise(network)
    pix2pix.initialise(judge)
    batch = torch.rand(1, 1, 48, 40) * 2 - 1, torch.rand(1, 1, 48, 40) * 2 - 1
    return network, judge, batch


def test_a_step_is_pix2pixs_own_written_out(step_parts):
    network, judge, (magnitude, target) = step_parts
    g, d = copy.deepcopy(network), copy.deepcopy(judge)
    opt_g = torch.optim.Adam(g.parameters(), 2e-4, (0.5, 0.999))
    opt_d = torch.optim.Adam(d.parameters(), 2e-4, (0.5, 0.999))
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    settings = dataclasses.replace(TINY, lambda_l1=37.0)
    fabric = Fabric(accelerator="cpu", devices=1)
    ours = fabric.setup(network, steps.adam(network, settings))
    theirs = fabric.setup(judge, steps.adam(judge, settings))
    for number in range(2):
        torch.manual_seed(number)
        fake = g(magnitude)
        on_real, on_fake = d(magnitude, target), d(magnitude, fake.detach())
        d_loss = bce(on_real, torch.ones_like(on_real)) / 2
        d_loss = d_loss + bce(on_fake, torch.zeros_like(on_fake)) / 2
        d.zero_grad()
        d_loss.backward()
        opt_d.step()
        judged = d(magnitude, fake)
        g_gan, g_l1 = bce(judged, torch.ones_like(judged)), (fake - target).abs().mean()
        g.zero_grad()
        (g_gan + 37.0 * g_l1).backward()
        opt_g.step()

        torch.manual_seed(number)
        found = steps.train_step(
            fabric, ours[0], theirs[0], ours[1], theirs[1], (magnitude, target), settings
        )
        torch.testing.assert_close(found, torch.stack([d_loss, g_gan, g_l1]).detach())
    for mine, expected in ((network, g), (judge, d)):
        for one, other in zip(mine.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


class PlainBackward:
    """Instead of Fabric, which rounds what double networks give to single precision."""

    @staticmethod
    def backward(loss):
        loss.backward()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-3)])
def test_twenty_steps_have_the_losses_of_the_original_order_of_work(dtype, tolerance):
    torch.manual_seed(0)
    network, discriminator = TINY.architecture.build(), pix2pix.PatchDiscriminator(2, 4)
    pix2pix.initialise(network)
    pix2pix.initialise(discriminator)
    original = original_pix2pix.Trainer(4, depth=6)
    kinds = original_pix2pix.layers_with_weights
    outside_in = [*network.down, *reversed(network.up)]
    original_pix2pix.copy_weights(
        [layer for level in outside_in for layer in kinds(level)], kinds(original.g)
    )
    original_pix2pix.copy_weights(kinds(discriminator), kinds(original.d))
    for part in (network, discriminator, original.g, original.d):
        part.to(dtype)
    adams = steps.adam(network, TINY), steps.adam(discriminator, TINY)
    ours, theirs = [], []
    for number in range(20):
        pair = tuple(torch.rand(2, 1, 1, 64, 128, dtype=dtype) * 2 - 1)
        torch.manual_seed(number)  # the same draws of dropout
        ours.append(steps.train_step(PlainBackward, network, discriminator, *adams, pair, TINY))
        torch.manual_seed(number)
        theirs.append(original.step(*pair))
    ours, theirs = torch.stack(ours), torch.stack(theirs)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=0)
    assert ours[-1, 2] < ours[0, 2]  # something was learned


def test_each_network_learns_only_from_its_own_loss(step_parts):
    network, judge, batch = step_parts
    fabric = Fabric(accelerator="cpu", devices=1)
    g, g_adam = fabric.setup(network, steps.adam(network, TINY))
    d, d_adam = fabric.setup(judge, steps.adam(judge, TINY))
    seen = []

    def gradients(module):
        return [p.grad.clone() for p in module.parameters() if p.grad is not None]

    def watch(optimizer, who):
        step = optimizer.step

        def watched(*args, **kwargs):
            seen.append((who, gradients(network), gradients(judge)))
            return step(*args, **kwargs)

        optimizer.step = watched

    watch(d_adam, "d")
    watch(g_adam, "g")
    steps.train_step(fabric, g, d, g_adam, d_adam, batch, TINY)
    (first, of_g, of_d), (second, of_g_later, of_d_later) = seen
    assert (first, second) == ("d", "g")  # D steps before G
    assert of_g == []  # the loss of D stops at the synthetic phase
    assert all(bool(grad.abs().max() > 0) for grad in of_d[:1] + of_g_later)
    assert all(torch.equal(*both) for both in zip(of_d, of_d_later, strict=True))


def test_the_optimisers_and_defaults_are_the_papers():
    paper = training.GanSettings()
    assert (paper.mode, paper.ngf, paper.ndf, paper.depth) == ("scalar", 64, 64, 8)
    assert (paper.epochs, paper.batch_size, paper.lambda_l1) == (50, 1, 100.0)
    (group,) = steps.adam(torch.nn.Linear(1, 1), paper).param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (2e-4, (0.5, 0.999), 0)


# --- runs that stop and go on ---------------------------------------------------------


def test_two_and_two_epochs_give_the_weights_of_four(job, uninterrupted, tmp_path):
    part = elsewhere(job, tmp_path, epochs=2)
    halfway = training.train(part)
    torch.rand(5)  # whatever else the day brings
    resumed = training.train(elsewhere(job, tmp_path))
    assert_same_weights(resumed, uninterrupted)
    assert weights_file(part, 2).is_file()
    changed = halfway.network.state_dict()["up.0.1.weight"]
    assert not torch.equal(changed, resumed.network.state_dict()["up.0.1.weight"])


def test_a_stop_in_the_middle_of_an_epoch_gives_the_weights_of_an_uninterrupted_run(
    job, uninterrupted, tmp_path, monkeypatch
):
    again = elsewhere(job, tmp_path)
    step, count = steps.train_step, []

    def interrupted(*args):
        count.append(1)
        if len(count) == 4 + 4 + 3:  # third slice of the third epoch
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(steps, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.train(again)
    assert len(training.losses(again)) == 2
    assert not list(only_folder(again).rglob(".part-*"))
    monkeypatch.undo()
    assert_same_weights(training.train(again), uninterrupted)
    assert training.losses(again) == training.losses(job)


TRAIN_IN_A_PROCESS = """
import json, sys
from pathlib import Path
import torch
from synthlib import formats, pairs
from synthlib.phase import training

torch.set_num_threads(1)

def main():
    told = json.loads(sys.argv[1])
    volumes, watched = (
        [pairs.PreparedVolume(formats.read_raw(raw), Path(ready)) for raw, ready in told[part]]
        for part in ("volumes", "watched")
    )
    samples = pairs.middle_pairs(watched, 1)
    settings = training.GanSettings(**told["settings"])
    training.train(training.Job(volumes, samples, Path(told["folder"]), settings))

if __name__ == "__main__":
    main()
"""


def start_process(script, job, watched, folder, **changes):
    settings = dataclasses.replace(job.settings, **changes)
    told = {
        "volumes": [(v.raw.source, str(v.path)) for v in job.volumes],
        "watched": [(v.raw.source, str(v.path)) for v in watched],
        "settings": dataclasses.asdict(settings),
        "folder": str(folder),
    }
    # a group of its own, so that what is killed is this process and its children
    return subprocess.Popen(
        [sys.executable, str(script), json.dumps(told)],
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_killed_run_goes_on_to_the_weights_of_an_uninterrupted_one(study, job, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAIN_IN_A_PROCESS)
    killed = elsewhere(job, tmp_path / "killed", epochs=2000)
    process = start_process(script, job, study["val"], killed.folder, epochs=2000)
    try:
        deadline = time.monotonic() + 120
        while not list(killed.folder.glob("*/samples/epoch_003.png")):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline, "no third epoch within two minutes"
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    finally:
        process.kill()
        process.stdout.close()
    done = len(training.losses(killed))
    assert 2 <= done < 1000
    n = done + 2
    resumed = training.train(elsewhere(job, killed.folder, epochs=n))
    whole = elsewhere(job, tmp_path / "whole", epochs=n)
    assert_same_weights(resumed, training.train(whole))
    # the two processes may differ in the last bit that is printed, no more
    for one, other in zip(training.losses(killed), training.losses(whole), strict=True):
        assert one == pytest.approx(other, abs=2e-6)
    assert not list(killed.folder.rglob(".part-*"))


def test_a_kill_between_the_checkpoint_and_its_row_of_losses_loses_no_row(
    job, uninterrupted, tmp_path
):
    again = elsewhere(job, tmp_path)
    training.train(again)
    losses = only_folder(again) / "losses.csv"
    whole = losses.read_text()
    weights_file(again, 4).unlink()  # as after a kill right after the last checkpoint
    losses.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    training.train(again)
    assert losses.read_text() == whole


def test_a_finished_run_is_read_back_and_not_trained_again(job, uninterrupted, monkeypatch):
    def fail(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(steps, "train_step", fail)
    assert_same_weights(training.train(job), uninterrupted)


def test_fewer_epochs_than_an_earlier_run_are_refused(job, uninterrupted):
    with pytest.raises(ValueError, match=r"went on to epoch 4, 3 epochs were asked for"):
        training.train(elsewhere(job, job.folder, epochs=3))


def test_another_setting_or_other_scans_train_a_network_of_their_own(job, study, tmp_path):
    first = elsewhere(job, tmp_path, epochs=1)
    others = [
        elsewhere(job, tmp_path, epochs=1, lambda_l1=10.0),
        elsewhere(job, tmp_path, epochs=1, seed=4),
        dataclasses.replace(first, volumes=study["gan"][1:3]),
    ]
    trained = [training.train(one) for one in [first, *others]]
    assert len(list(tmp_path.iterdir())) == 4
    ends = [t.network.state_dict()["up.0.1.weight"] for t in trained]
    assert not any(torch.equal(ends[0], end) for end in ends[1:])


def test_global_random_state_is_untouched(job, tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    training.train(elsewhere(job, tmp_path, epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


# --- what a run leaves ----------------------------------------------------------------


def test_every_epoch_leaves_a_row_of_losses(job, uninterrupted):
    with (only_folder(job) / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    names = {"epoch", "d_loss", "g_gan_loss", "g_l1_loss", "sample_phase_error_rad"}
    assert set(rows[0]) == names
    values = training.losses(job)
    assert all(math.isfinite(value) for row in values for value in row.values())
    assert values[-1]["g_l1_loss"] < values[0]["g_l1_loss"]
    assert all(0 < row["sample_phase_error_rad"] <= math.pi / 2 + 0.2 for row in values)


def test_every_epoch_leaves_a_picture_of_the_samples(job, uninterrupted):
    pictures = sorted((only_folder(job) / "samples").iterdir())
    assert [p.name for p in pictures] == [f"epoch_{n:03d}.png" for n in (1, 2, 3, 4)]
    seen = []
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100
            seen.append(picture.convert("L").tobytes())
    assert len(set(seen)) == 4


def test_weights_carry_their_architecture_and_record(job, uninterrupted, study):
    with safe_open(weights_file(job, 4), "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["architecture"]) == {
        "mode": "scalar",
        "ngf": 4,
        "depth": 6,
        "upsampling": "transposed",
        "downsampling": "strided",
        "norm": "batch",
        "scale": "maximum",
    }
    record = json.loads(metadata["record"])
    assert record["parameters"]["gan"]["epochs"] == 4
    assert record["parameters"]["gan"]["seed"] == 3
    assert list(record["inputs"]) == ["2 raw files of 8 coils"]
    assert record["packages"]["torch"]
    assert uninterrupted.record == record


def test_published_weights_are_the_trained_ones(uninterrupted, tmp_path):
    path = training.publish(uninterrupted, tmp_path, 8)
    assert path == tmp_path / "models" / "generator_8coil.safetensors"
    again = generator.load(path)
    assert_same_weights(again, uninterrupted)
    magnitude = torch.rand(45, 38)  # another matrix than it learned on
    assert torch.equal(again(magnitude, seed=1), uninterrupted(magnitude, seed=1))
    assert again.record == uninterrupted.record


def test_the_vector_mode_learns_cosine_and_sine(job, tmp_path):
    trained = training.train(elsewhere(job, tmp_path, epochs=1, mode="vector"))
    assert trained.architecture.mode == "vector"
    assert trained.network(torch.zeros(1, 1, 45, 38)).shape == (1, 2, 45, 38)
    phase = trained(torch.rand(45, 38), seed=1)
    assert phase.abs().max() <= math.pi + 1e-6


CURES = {
    "nearest": {"upsampling": "nearest"},
    "bilinear, blur": {"upsampling": "bilinear", "downsampling": "blur"},
    "sub-pixel, instance norm": {
        "upsampling": "subpixel",
        "norm": "instance",
        "discriminator_norm": "instance",
    },
    "spectral norm, two time scales": {
        "discriminator_norm": "spectral",
        "discriminator_rate": 8e-4,
    },
    "jitter, percentile, k-space": {"jitter": True, "scale": "percentile", "lambda_kspace": 50.0},
}


@pytest.mark.parametrize("cure", CURES.values(), ids=CURES.keys())
def test_every_cure_trains_stops_and_goes_on_to_the_same_weights(job, trained, tmp_path, cure):
    whole = training.train(elsewhere(job, tmp_path / "whole", epochs=2, **cure))
    part = elsewhere(job, tmp_path / "part", epochs=1, **cure)
    training.train(part)
    torch.rand(5)
    resumed = training.train(elsewhere(job, tmp_path / "part", **{**cure, "epochs": 2}))
    assert_same_weights(resumed, whole)
    assert part.key != job.key
    assert whole.architecture == part.settings.architecture
    values = training.losses(part)
    assert all(math.isfinite(value) for row in values for value in row.values())
    told = whole.record["parameters"]["gan"]
    assert {name: told[name] for name in cure} == cure
    phase = whole(torch.rand(45, 38), seed=1)
    assert phase.shape == (45, 38) and phase.abs().max() <= math.pi


def first_steps(job, monkeypatch, n):
    """What the first n steps of a training are given: the discriminator, optimisers, batches."""
    given = []

    def watched(fabric, g, d, g_adam, d_adam, batch, settings):
        given.append((d, g_adam, d_adam, batch))
        if len(given) == n:
            raise KeyboardInterrupt
        return torch.zeros(3)

    with monkeypatch.context() as patch:
        patch.setattr(steps, "train_step", watched)
        with pytest.raises(KeyboardInterrupt):
            training.train(job)
    return given


@pytest.mark.parametrize(("norm", "limited"), [("batch", 0), ("instance", 0), ("spectral", 5)])
def test_a_training_limits_the_discriminators_spectrum_where_asked(
    job, tmp_path, monkeypatch, norm, limited
):
    settings = elsewhere(job, tmp_path, discriminator_norm=norm, discriminator_rate=8e-4)
    ((d, g_adam, d_adam, _),) = first_steps(settings, monkeypatch, 1)
    n_limited = sum(torch.nn.utils.parametrize.is_parametrized(m) for m in d.modules())
    assert n_limited == limited
    assert g_adam.param_groups[0]["lr"] == 2e-4
    assert d_adam.param_groups[0]["lr"] == 8e-4
    trainable = {id(p) for p in d.parameters()}
    assert {id(p) for p in d_adam.param_groups[0]["params"]} == trainable


def test_without_a_rate_of_its_own_the_discriminator_has_the_generators(job, tmp_path, monkeypatch):
    one_rate = elsewhere(job, tmp_path, learning_rate=3e-4)
    ((_, g_adam, d_adam, _),) = first_steps(one_rate, monkeypatch, 1)
    assert g_adam.param_groups[0]["lr"] == d_adam.param_groups[0]["lr"] == 3e-4


@pytest.mark.parametrize("jittered", [False, True])
def test_a_training_learns_from_slices_scaled_and_jittered_anew_in_every_epoch(
    job, tmp_path, monkeypatch, jittered
):
    settings = elsewhere(job, tmp_path, jitter=jittered, scale="percentile", mode="vector")
    given = first_steps(settings, monkeypatch, 8)  # two epochs of four slices
    slices = pairs.all_pairs(job.volumes)
    for epoch in (0, 1):
        expected = []
        for index, pair in enumerate(slices):
            magnitude, phase = pair.magnitude, pair.phase
            if jittered:
                magnitude, phase = jitter.jitter_pair(pair, index, seed=3, epoch=epoch)
            scaled = pairs.scale_magnitude(magnitude, "percentile")
            expected.append((scaled[None, None], pairs.phase_to_target(phase, "vector")[None]))
        batches = [batch for _, _, _, batch in given[4 * epoch : 4 * epoch + 4]]
        for x, y in expected:  # in whatever order
            assert sum(torch.equal(x, a) and torch.equal(y, b) for a, b in batches) == 1


def test_the_discriminators_rate_moves_the_discriminator_alone(step_parts):
    network, judge, batch = step_parts
    before = [copy.deepcopy(part.state_dict()) for part in (network, judge)]
    settings = dataclasses.replace(TINY, learning_rate=1e-5, discriminator_rate=3e-3)
    fabric = Fabric(accelerator="cpu", devices=1)
    g, g_adam = fabric.setup(network, steps.adam(network, settings))
    d_adam = steps.adam(judge, settings, settings.discriminator_rate)
    d, d_adam = fabric.setup(judge, d_adam)
    steps.train_step(fabric, g, d, g_adam, d_adam, batch, settings)
    for part, state, rate in zip((network, judge), before, (1e-5, 3e-3), strict=True):
        # Adam's first step is the learning rate, whatever the gradient
        moved = torch.cat([
            (value - state[name]).abs().flatten()
            for name, value in part.state_dict().items()
            if value.is_floating_point() and "running" not in name
        ])  # fmt: skip
        assert float(moved.max()) == pytest.approx(rate, rel=0.02)


def test_the_loss_in_k_space_is_added_with_its_weight_and_has_a_column(job, step_parts, tmp_path):
    network, judge, batch = step_parts
    gradients = []
    for weight in (0.0, 30.0):
        settings = dataclasses.replace(TINY, lambda_kspace=weight)
        torch.manual_seed(4)
        g, d = copy.deepcopy(network), copy.deepcopy(judge)
        adams = steps.adam(g, settings), steps.adam(d, settings)
        losses = steps.train_step(PlainBackward, g, d, *adams, batch, settings)
        gradients.append(torch.cat([p.grad.flatten() for p in g.parameters()]))
    assert len(losses) == 4
    torch.manual_seed(4)
    g = copy.deepcopy(network)
    loss = consistency.kspace_loss(g(batch[0]), batch[1], batch[0], "scalar")
    torch.testing.assert_close(losses[3], loss.detach())
    (30 * loss).backward()
    expected = torch.cat([p.grad.flatten() for p in g.parameters()])
    torch.testing.assert_close(gradients[1] - gradients[0], expected, rtol=1e-3, atol=1e-5)
    (tmp_path / "column").mkdir()
    with_column = elsewhere(job, tmp_path / "column", epochs=1, lambda_kspace=5.0)
    training.train(with_column)
    (row,) = training.losses(with_column)
    assert list(row)[-1] == "g_kspace_loss" and row["g_kspace_loss"] > 0


def test_jittered_images_are_told_to_have_smaller_pixels(job, uninterrupted, tmp_path):
    trained = training.train(elsewhere(job, tmp_path, epochs=1, jitter=True))
    plain, enlarged = (
        one.record["parameters"][generator.PIXELS] for one in (uninterrupted, trained)
    )
    assert enlarged == pytest.approx([mm * 256 / 286 for mm in plain])


def test_several_jobs_train_one_after_the_other_in_their_order(job, uninterrupted, tmp_path):
    jobs = [job, elsewhere(job, tmp_path, epochs=1, seed=5)]
    first, second = training.train_all(jobs)
    assert_same_weights(first, uninterrupted)
    assert second.record["parameters"]["gan"]["seed"] == 5


# --- bad input ------------------------------------------------------------------------


def test_a_batch_of_unequal_sizes_is_refused(job):
    raw = dataclasses.replace(job.volumes[0].raw, recon_shape=(46, 40))
    odd = dataclasses.replace(job.volumes[0], raw=raw)
    mixed = dataclasses.replace(
        job,
        volumes=[*job.volumes, odd],
        settings=dataclasses.replace(job.settings, batch_size=2),
    )
    with pytest.raises(ValueError, match=r"batch_size 2 with images of 2 sizes .*Use batch_size 1"):
        training.train(mixed)


def test_no_scans_are_refused(job):
    with pytest.raises(ValueError, match="no scans to train"):
        training.train(dataclasses.replace(job, volumes=[]))


def test_images_too_small_for_the_depth_are_refused(job, tmp_path):
    with pytest.raises(ValueError, match="Choose a depth of at most 6"):
        training.train(elsewhere(job, tmp_path, depth=8))


def test_missing_weights_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Train one with notebook 02_gan_training"):
        generator.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 60, 0.9])
def test_truncated_weights_are_told(job, uninterrupted, tmp_path, keep):
    whole = weights_file(job, 4).read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(ValueError, match=r"cut\.safetensors is truncated or not safetensors"):
        generator.load(cut)


def test_weights_of_another_architecture_are_told(uninterrupted, tmp_path):
    path = tmp_path / "other.safetensors"
    wrong = dataclasses.replace(uninterrupted.architecture, ngf=8)
    generator.save(path, uninterrupted.network, wrong, {})
    with pytest.raises(ValueError, match=r"weights of another architecture: .* expected \(") as e:
        generator.load(path)
    assert "other.safetensors" in str(e.value)


def test_weights_without_their_architecture_are_told(job, uninterrupted, tmp_path):
    path = tmp_path / "bare.safetensors"
    save_file(load_file(weights_file(job, 4)), path)
    with pytest.raises(ValueError, match=r"bare\.safetensors does not say which architecture"):
        generator.load(path)


class Evil:
    def __reduce__(self):
        return (os.mkdir, (os.environ["EVIL_FOLDER"],))


def pickled_trap(path):
    """A checkpoint that makes a folder when it is unpickled."""
    text = io.BytesIO()
    torch.save({"generator": {}}, text)
    with (
        zipfile.ZipFile(io.BytesIO(text.getvalue())) as source,
        zipfile.ZipFile(path, "w") as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, pickle.dumps(Evil(), 2) if name.endswith("data.pkl") else data)


def test_nothing_is_unpickled(job, tmp_path, monkeypatch):
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "evil"))
    again = elsewhere(job, tmp_path / "run", epochs=1)
    training.train(again)
    weights = weights_file(again, 1)
    pickled_trap(only_folder(again) / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"(?s)checkpoint\.pt .*cannot be read.*Delete it"):
        training.train(elsewhere(job, tmp_path / "run", epochs=2))
    pickled_trap(weights)
    with pytest.raises(ValueError, match="not safetensors"):
        generator.load(weights)
    assert not (tmp_path / "evil").exists()
    with pytest.raises(FileExistsError):  # the trap works where pickles are trusted
        (tmp_path / "evil").mkdir()
        torch.load(only_folder(again) / "checkpoint.pt", weights_only=False)


def test_a_truncated_checkpoint_is_told(job, tmp_path):
    again = elsewhere(job, tmp_path, epochs=1)
    training.train(again)
    checkpoint = only_folder(again) / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"(?s)checkpoint\.pt .*cannot be read.*Delete it"):
        training.train(elsewhere(job, tmp_path, epochs=2))


def test_weights_that_a_notebook_asks_for_are_found_or_missed_with_advice(
    study, uninterrupted, tmp_path
):
    with pytest.raises(FileNotFoundError, match=r"no generator for 8 coils .*02_gan_training"):
        training.find_or_train("trained", study, tmp_path, 1)
    published = training.publish(uninterrupted, tmp_path, 8)
    assert training.find_or_train("trained", study, tmp_path, 1) == published
    pattern = str(tmp_path / "models" / "generator_{n_coils}coil.safetensors")
    assert training.find_or_train(pattern, study, tmp_path, 1) == published
    with pytest.raises(FileNotFoundError, match="no generator for 8 coils"):
        training.find_or_train(str(tmp_path / "else.safetensors"), study, tmp_path, 1)


# --- several processes ----------------------------------------------------------------

REPORT_EVERY_RANK = """
import hashlib, os
from lightning_fabric import Fabric
from synthlib.phase import pix2pix

networks = []
initialise, barrier = pix2pix.initialise, Fabric.barrier

def remember(network):
    networks.append(network)
    initialise(network)

def report(self, *args, **kwargs):  # every rank comes here after every epoch
    values = [v for n in networks for v in n.parameters()]
    digest = hashlib.sha256(b"".join(v.detach().numpy().tobytes() for v in values)).hexdigest()
    with open(os.environ["REPORT"] + str(self.global_rank), "a") as file:
        file.write(digest + "\\n")
    return barrier(self, *args, **kwargs)

pix2pix.initialise, Fabric.barrier = remember, report
"""


def test_two_processes_train_one_set_of_weights(study, job, tmp_path, monkeypatch):
    script = tmp_path / "train.py"
    script.write_text(REPORT_EVERY_RANK + TRAIN_IN_A_PROCESS)
    monkeypatch.setenv("REPORT", str(tmp_path / "rank"))
    pair = elsewhere(job, tmp_path / "pair", epochs=2)
    process = start_process(script, job, study["val"], pair.folder, epochs=2, devices=2)
    try:
        text, _ = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, text
    ranks = [(tmp_path / f"rank{rank}").read_text().split() for rank in (0, 1)]
    assert len(ranks[0]) == 2  # epochs
    assert ranks[0] == ranks[1]
    assert len(set(ranks[0])) == 2  # and both learned
    assert len(training.losses(pair)) == 2
    assert weights_file(pair, 2).is_file()
    # the number of devices may change between two runs of one training
    resumed = training.train(elsewhere(job, pair.folder, epochs=3))
    assert resumed.record["parameters"]["gan"]["epochs"] == 3
    assert len(training.losses(pair)) == 3
