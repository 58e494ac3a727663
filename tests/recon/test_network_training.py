"""One network: that it learns, goes on after a stop, and gives the same bytes everywhere."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from synthlib import formats, pairs, runs, scanner, tasks
from synthlib.phase import sources
from synthlib.recon import networks, phases, samples, testing, training

TINY = networks.NetworkSettings(
    network=networks.UNROLLED,
    cascades=1,
    chans=4,
    fine_chans=3,
    steps=8,
    learning_rate=3e-3,
    center_fraction=0.1,
    schedule="one_cycle",
    loss="l2",
    rows=24,
    accelerator="cpu",
)
SCANS = scanner.ScanSettings(
    n_subjects=2, n_slices=2, matrix=(45, 38), coil_counts=(4,), contrasts=("AXT2",), seed=3
)


def main(folder: Path, threads: int) -> None:
    """Train on the prepared scans of a folder, below it: for fresh processes."""
    torch.set_num_threads(threads)
    if threads > 1:  # other work came before
        torch.randn(300, 300).mm(torch.randn(300, 300))
    ready = pairs.prepare(formats.find_raw(folder / "raw"), folder / "prepared")
    training.train(job(ready, folder), folder / f"{threads}_threads")
    assert torch.get_num_threads() == threads


def job(ready, folder, **changes):
    ready = sorted(ready, key=lambda volume: volume.name)
    data = samples.TrainingData(samples.GROUND_TRUTH, ready[:1], folder)
    settings = dataclasses.replace(TINY, **changes)
    return training.Training((data,), (3, 4), 5, ready[1:], settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With two scans of 45x38, 4 coils, one to learn from and one to watch, in raw/."""
    folder = tmp_path_factory.mktemp("training")
    for subject in scanner.subjects(SCANS):
        for scan in scanner.scan_subject(SCANS, subject):
            volume = scan.volume
            formats.write_raw(
                folder / "raw" / f"{volume.name}.h5",
                volume.kspace[:],
                contrast=volume.contrast,
                patient_id=volume.patient_id,
                recon_shape=volume.recon_shape,
            )
    return folder


@pytest.fixture(scope="module")
def ready(folder):
    return pairs.prepare(formats.find_raw(folder / "raw"), folder / "prepared")


@pytest.fixture(scope="module")
def whole(ready, folder):
    """A training without a stop and where it lies."""
    return training.train(job(ready, folder), folder / "whole"), folder / "whole"


def weights(folder):
    with safe_open(folder / "network.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def assert_same_weights(folder, other):
    first, second = weights(folder), weights(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.numpy().tobytes() == second[name].numpy().tobytes(), name


def images(trained, ready):
    method = testing.learned(trained.network, trained.device)
    return testing.images_of(method, samples.measured_volume(ready[1], 4, 0.1))


# --- what is kept --------------------------------------------------------------------


def test_the_history_tells_four_shares_of_the_training(whole):
    trained, folder = whole
    assert [row["share"] for row in trained.history] == [0.25, 0.5, 0.75, 1.0]
    assert [row["step"] for row in trained.history] == [2, 4, 6, 8]
    assert all(math.isfinite(row["PSNR"]) and 0 < row["SSIM"] < 1 for row in trained.history)
    assert runs.read_json(folder / "history.json") == trained.history
    gain = trained.history[3]["PSNR"] - trained.history[2]["PSNR"]
    assert training.late_gain(trained.history) == gain != 0
    assert math.isnan(training.late_gain(trained.history[:1]))


def test_the_last_share_is_what_the_network_scores_on_the_watched_scans(whole, ready, folder):
    trained, _ = whole
    method = testing.learned(trained.network, trained.device)
    (row,) = testing.score_all(method, ready[1:], 4, TINY.center_fraction, middle_slices=True)
    assert trained.history[-1]["PSNR"] == pytest.approx(row["PSNR"], abs=1e-4)


def test_middle_slices_are_scored_under_the_mask_of_their_volume(whole, ready):
    method = testing.learned(whole[0].network, whole[0].device)
    middle = [samples.measured_volume(ready[1], 4, 0.1)[ready[1].n_slices // 2]]
    image, target = testing.images_of(method, middle), testing.targets_of(middle)
    error = float((image - target).double().square().mean())
    (row,) = testing.score_all(method, ready[1:], 4, 0.1, middle_slices=True)
    expected = 10 * math.log10(float(target.max()) ** 2 / error)
    assert row["PSNR"] == pytest.approx(expected, abs=1e-3)
    (all_slices,) = testing.score_all(method, ready[1:], 4, 0.1)
    assert abs(all_slices["PSNR"] - row["PSNR"]) > 1e-3


def test_weights_are_safetensors_with_their_record(whole, ready):
    _, folder = whole
    with safe_open(folder / "network.safetensors", "pt") as file:
        record = json.loads(file.metadata()["record"])
    assert record["parameters"]["network"]["chans"] == 4
    assert record["inputs"] == pairs.input_hashes([min(ready, key=lambda volume: volume.name)])
    built = TINY.build().state_dict()
    assert {k: v.shape for k, v in weights(folder).items()} == {
        k: v.shape for k, v in built.items()
    }
    assert not (folder / "checkpoint.pt").exists()


@pytest.mark.parametrize("network", [networks.UNROLLED, networks.GIVEN_MAPS])
def test_a_second_call_takes_the_weights_and_gives_the_same_images(
    ready, tmp_path, monkeypatch, network
):
    wanted = job(ready, tmp_path, network=network, chans=18, steps=1)
    trained = training.train(wanted, tmp_path)
    monkeypatch.setattr(training, "_steps", None)  # is not called
    again = training.train(wanted, tmp_path)
    assert again.history == trained.history
    assert torch.equal(images(again, ready), images(trained, ready))


# --- stops ---------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", ["second validation", "fifth step"])
def test_a_stopped_training_goes_on_to_the_same_weights(
    whole, ready, tmp_path, monkeypatch, stop_at
):
    calls = {"_validate": 0, "_loss": 0}
    name, n_calls = ("_validate", 2) if stop_at == "second validation" else ("_loss", 6)
    if name == "_loss":
        monkeypatch.setattr(training, "CHECKPOINT_EVERY", 5)
    working = {key: getattr(training, key) for key in calls}

    def stopping(key):
        def call(*arguments):
            calls[key] += 1
            if key == name and calls[key] == n_calls:
                raise KeyboardInterrupt
            return working[key](*arguments)

        return call

    for key in calls:
        monkeypatch.setattr(training, key, stopping(key))
    with pytest.raises(KeyboardInterrupt):
        training.train(job(ready, tmp_path), tmp_path)
    assert not (tmp_path / "network.safetensors").exists()
    steps_before = calls["_loss"]
    torch.rand(3)
    again = training.train(job(ready, tmp_path), tmp_path)
    # the second validation came after step 4, the last checkpoint after step 2
    assert calls["_loss"] - steps_before == (6 if name == "_validate" else 3)
    assert again.history == whole[0].history
    assert_same_weights(tmp_path, whole[1])


def test_a_damaged_checkpoint_is_named_with_what_to_do(ready, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match=r"(?s)checkpoint\.pt.*[Dd]elete"):
        training.train(job(ready, tmp_path), tmp_path)


# --- the same bytes ------------------------------------------------------------------


def test_weights_have_the_same_bytes_in_a_fresh_process_with_more_threads(whole, folder):
    assert torch.get_num_threads() == 1
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, __file__, str(folder), "2"]
    subprocess.run(command, check=True, env=environment)
    assert_same_weights(folder / "2_threads", whole[1])


def test_sums_of_a_training_are_made_on_one_thread(ready, tmp_path, monkeypatch):
    loss_of, n_threads = training._loss, []

    def watched(*arguments):
        n_threads.append(torch.get_num_threads())
        return loss_of(*arguments)

    monkeypatch.setattr(training, "_loss", watched)
    with tasks.torch_threads(2):
        training.train(job(ready, tmp_path, steps=2), tmp_path)
        assert torch.get_num_threads() == 2
    assert n_threads == [1, 1]


def test_another_seed_gives_other_weights_and_the_global_state_stays(whole, ready, tmp_path):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002  # the global state is what is watched
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    other = dataclasses.replace(job(ready, tmp_path, steps=1), seed=6)
    training.train(other, tmp_path)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert any((weights(tmp_path)[n] != v).any() for n, v in weights(whole[1]).items())


# --- learning ------------------------------------------------------------------------


@pytest.mark.parametrize("network", networks.NETWORKS)
@pytest.mark.parametrize("loss", networks.LOSSES)
def test_every_network_lowers_every_loss_on_what_it_learns_from(ready, tmp_path, network, loss):
    changes = {"network": network, "loss": loss, "steps": 24, "learning_rate": 1e-2}
    if network == networks.UNROLLED:  # it starts from a good image: there is less to gain
        changes["steps"] = 96
    small = {"chans": 2, "pools": 2, "sens_chans": 2, "sens_pools": 2, "schedule": "constant"}
    wanted = job(ready, tmp_path, **changes, **small)
    trained = training.train(dataclasses.replace(wanted, val=()), tmp_path)
    with runs.seeded(wanted.seed, "network"):
        untrained = wanted.settings.build()
    assert math.isnan(trained.history[-1]["PSNR"])  # nothing was watched
    assert _mean_loss(trained.network, wanted) < 0.99 * _mean_loss(untrained, wanted)


@torch.no_grad()
def _mean_loss(network, wanted):
    """On all rows, with masks of an epoch that the training did not come to."""
    learned = samples.TrainingSamples(wanted.data, wanted.accelerations, 0.1, wanted.seed)
    learned.epoch = 100
    loss_of = training.LOSSES[wanted.settings.loss]()
    losses = [
        training._loss(network, learned[item], loss_of, torch.device("cpu"))
        for item in range(len(learned))
    ]
    return float(torch.stack(losses).mean())


def test_networks_that_saw_all_global_phases_do_not_care_for_that_of_a_scan(
    ready, folder, tmp_path
):
    """The reference of a receiver's phase is arbitrary: nothing measured depends on it."""
    place = phases.write_phases("zero", ready[:1], sources.Context(), tmp_path, seed=3)
    data = samples.TrainingData("zero", ready[:1], place)
    tested = samples.measured_volume(ready[1], 4, 0.1)
    quarter = [dataclasses.replace(s, kspace=1j * s.kspace, name="") for s in tested]
    differences = {}
    for seen in (False, True):
        wanted = job(ready, tmp_path, steps=200, chans=8, global_phases=seen)
        wanted = dataclasses.replace(wanted, data=(data,), accelerations=(4,), val=())
        trained = training.train(wanted, tmp_path / f"seen_{seen}")
        method = testing.learned(trained.network, trained.device)
        first, second = (testing.images_of(method, slices) for slices in (tested, quarter))
        differences[seen] = float((first - second).norm() / first.norm())
    assert differences[True] < 0.6 * differences[False], differences


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
