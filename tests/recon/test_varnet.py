"""One network: that it learns, goes on after a stop, and is judged as fastMRI judges."""

import dataclasses
import json
import math

import h5py
import numpy as np
import pytest
import torch
from fastmri.losses import SSIMLoss
from safetensors import safe_open
from safetensors.torch import load_file
from skimage.metrics import structural_similarity

from synthlib import metrics, runs
from synthlib.formats import prepared_hdf5
from synthlib.phase import sources
from synthlib.recon import phases, samples, varnet

TINY = varnet.VarNetSettings(
    cascades=1,
    chans=2,
    pools=1,
    sens_chans=2,
    sens_pools=1,
    epochs=2,
    learning_rate=3e-3,
    schedule="one_cycle",
    accelerator="cpu",
)


@pytest.fixture(scope="module")
def base(study, tmp_path_factory):
    """A cell on zero phase of two scans, with one scan each to watch and test it."""
    folder, volumes = tmp_path_factory.mktemp("varnet"), study["train"][:2]
    at = phases.write_phases("zero", volumes, sources.Context(), folder / "phases", seed=3)
    cell = varnet.Cell(
        n_coils=8,
        acceleration=4,
        seed=1,
        data=samples.TrainingData("zero", volumes, at),
        val=study["val"][:1],
        test=study["test"][:2],
        settings=TINY,
        folder=folder / "networks",
    )
    return varnet.with_key(cell, "the phases' hash")


@pytest.fixture(scope="module")
def whole(base):
    """The cell run without a stop, and its result."""
    return base, varnet.run_cell(base)


def weights(cell):
    with safe_open(cell.path / "varnet.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_the_papers_network_has_29_936_966_parameters():
    with torch.device("meta"):
        network = varnet.VarNetSettings().build()
    assert sum(p.numel() for p in network.parameters()) == 29_936_966


def test_the_defaults_are_the_papers():
    paper = varnet.VarNetSettings()
    assert (paper.cascades, paper.chans, paper.pools) == (12, 18, 4)
    assert (paper.sens_chans, paper.sens_pools, paper.epochs) == (8, 4, 10)
    assert (paper.center_fraction, paper.schedule) == (0.04, "constant")
    assert paper.learning_rate in (3e-4, 1e-3)


def test_a_result_holds_a_row_for_every_test_volume_and_a_score_for_every_epoch(whole):
    cell, result = whole
    assert [row["volume"] for row in result["rows"]] == [volume.name for volume in cell.test]
    for row in result["rows"]:
        assert math.isfinite(row["PSNR"])
        assert 0 < row["NMSE"] < 1
        assert 0 < row["SSIM"] < 1
    assert len(result["val_ssim"]) == 2
    place = {k: result[k] for k in ("n_coils", "acceleration", "source", "seed")}
    assert place == {"n_coils": 8, "acceleration": 4, "source": "zero", "seed": 1}
    assert result["record"]["parameters"]["varnet"]["epochs"] == 2


def test_weights_are_safetensors_with_their_record(whole):
    cell, _ = whole
    with safe_open(cell.path / "varnet.safetensors", "pt") as file:
        record = json.loads(file.metadata()["record"])
    assert record["parameters"]["varnet"]["chans"] == 2
    assert record["parameters"]["cell"] == cell.label == "8 coils, R = 4, zero, seed 1"
    built = cell.settings.build().state_dict()
    assert {k: v.shape for k, v in weights(cell).items()} == {k: v.shape for k, v in built.items()}


def test_a_second_call_reads_the_result_and_does_not_train(whole):
    cell, result = whole
    files = {p: p.stat().st_mtime_ns for p in cell.path.rglob("*")}
    assert varnet.run_cell(cell) == result
    assert {p: p.stat().st_mtime_ns for p in cell.path.rglob("*")} == files
    kept = (cell.path / "result.json").read_text()
    try:
        (cell.path / "result.json").write_text('{"rows": "read back"}')
        assert varnet.run_cell(cell) == {"rows": "read back"}
    finally:
        (cell.path / "result.json").write_text(kept)


@pytest.mark.parametrize(("last", "every"), [(3, 100), (6, 100), (3, 2), (6, 5)])
def test_a_stopped_run_goes_on_to_the_same_result(whole, tmp_path, monkeypatch, last, every):
    """`last` samples before the stop, in the first or second epoch of four; `every` steps
    there is a checkpoint."""
    cell, result = whole
    stopped = dataclasses.replace(cell, folder=tmp_path)
    monkeypatch.setattr(varnet, "CHECKPOINT_EVERY", every)
    read, count = samples.TrainingSamples.__getitem__, []

    def interrupted(self, item):
        count.append(item)
        if len(count) == last + 1:
            raise KeyboardInterrupt
        return read(self, item)

    monkeypatch.setattr(samples.TrainingSamples, "__getitem__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        varnet.run_cell(stopped)
    assert not (stopped.path / "result.json").exists()
    torch.rand(3)
    again = varnet.run_cell(stopped)
    steps_kept = max(last - last % every, last - last % 4)
    assert len(count) == last + 1 + (8 - steps_kept)  # nothing that was kept is repeated
    assert again["rows"] == result["rows"]
    assert again["val_ssim"] == result["val_ssim"]
    for name, value in weights(cell).items():
        assert torch.equal(weights(stopped)[name], value)


def test_a_stop_between_training_and_testing_does_not_train_again(whole, tmp_path, monkeypatch):
    cell, result = whole
    stopped = dataclasses.replace(cell, folder=tmp_path)
    test, stop = metrics.image_quality, [False]

    def interrupted(target, image):
        if (stopped.path / "varnet.safetensors").exists() and not stop[0]:
            stop[0] = True
            raise KeyboardInterrupt
        return test(target, image)

    monkeypatch.setattr(metrics, "image_quality", interrupted)
    with pytest.raises(KeyboardInterrupt):
        varnet.run_cell(stopped)
    trained = (stopped.path / "checkpoint.pt").stat().st_mtime_ns
    assert varnet.run_cell(stopped)["rows"] == result["rows"]
    assert (stopped.path / "checkpoint.pt").stat().st_mtime_ns == trained


def test_a_damaged_checkpoint_is_named_with_what_to_do(base, tmp_path):
    cell = dataclasses.replace(base, folder=tmp_path)
    cell.path.mkdir(parents=True)
    (cell.path / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match=r"(?s)checkpoint\.pt.*[Dd]elete"):
        varnet.run_cell(cell)


def test_training_lowers_the_loss_on_what_it_learns_from(base, tmp_path):
    longer = dataclasses.replace(base.settings, epochs=6, learning_rate=1e-2)
    cell = varnet.with_key(dataclasses.replace(base, folder=tmp_path, settings=longer), "")
    varnet.run_cell(cell)
    trained = longer.build()
    trained.load_state_dict(load_file(cell.path / "varnet.safetensors"))
    with runs.seeded(cell.seed, "varnet"):
        untrained = longer.build()
    assert _mean_loss(trained, cell) < 0.98 * _mean_loss(untrained, cell)


@torch.no_grad()
def _mean_loss(network, cell):
    learned = samples.TrainingSamples(cell.data, cell.acceleration, 0.04, cell.seed, 0)
    losses = []
    for item in range(len(learned)):
        sample = learned[item]
        image = varnet._forward(network, sample, torch.device("cpu"))
        data_range = torch.tensor([sample.data_range])
        losses.append(SSIMLoss()(image[None, None], sample.target[None, None], data_range))
    return float(torch.stack(losses).mean())


def numpy_quality(target, image):
    """PSNR, NMSE over the volume and slice-wise SSIM, as fastMRI defines them."""
    target, image = (np.asarray(x, np.float64) for x in (target, image))
    error = ((target - image) ** 2).sum()
    ssim = [
        structural_similarity(t, i, data_range=target.max(), win_size=7)
        for t, i in zip(target, image, strict=True)
    ]
    return {
        "PSNR": 10 * np.log10(target.max() ** 2 / (error / target.size)),
        "NMSE": error / (target**2).sum(),
        "SSIM": np.mean(ssim),
    }


def test_zero_filling_is_scored_as_computed_with_numpy(base, tmp_path):
    from fastmri.data.subsample import create_mask_for_mask_type

    data = dataclasses.replace(base.data, source=varnet.ZERO_FILLED)
    cell = varnet.with_key(dataclasses.replace(base, data=data, folder=tmp_path), "")
    result = varnet.run_cell(cell)
    assert result["val_ssim"] == []
    assert not (cell.path / "checkpoint.pt").exists()
    axes = (-2, -1)
    for row, volume in zip(result["rows"], cell.test, strict=True):
        (sample, *_) = samples.measured_volume(volume, 4, 0.04)
        make = create_mask_for_mask_type("equispaced_fraction", [0.04], [4])
        possible = [
            make((1, 1, 40, 2), offset)[0].flatten().numpy() for offset in range(5)
        ]  # which offset, test_samples says
        columns = sample.mask.columns.numpy().astype(np.float32)
        assert any((columns == mask).all() for mask in possible)
        with h5py.File(volume.raw.source) as file:
            kspace = file["kspace"][()].astype(np.complex128)
        images = {}
        for name, kept in (("target", kspace), ("image", kspace * columns)):
            coils = np.fft.ifft2(np.fft.ifftshift(kept, axes), norm="ortho")
            coils = np.fft.fftshift(coils, axes)[..., 24:72, :]  # readout oversampling off
            images[name] = np.sqrt((np.abs(coils) ** 2).sum(1))
        expected = numpy_quality(images["target"], images["image"])
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-4)


def test_the_example_is_the_middle_slice_of_the_first_test_volume(whole):
    cell, _ = whole
    volume = cell.test[0]
    expected = samples.measured_volume(volume, 4, 0.04)[1]
    read = {n: prepared_hdf5.read(cell.path / "example.h5", n) for n in ("target", "zero_filled")}
    torch.testing.assert_close(read["target"], expected.target)
    torch.testing.assert_close(read["zero_filled"], samples.zero_filled(expected))
    attributes = prepared_hdf5.read_attributes(cell.path / "example.h5")
    assert attributes["volume"] == volume.name
    assert attributes["slice"] == 1
    image = prepared_hdf5.read(cell.path / "example.h5", "image")
    assert image.shape == (48, 40)
    assert not torch.allclose(image, read["zero_filled"])


def test_the_key_changes_with_everything_the_result_rests_on(base, study):
    settings = dataclasses.replace(base.settings, epochs=3)
    others = [
        varnet.with_key(dataclasses.replace(base, settings=settings), "the phases' hash"),
        varnet.with_key(dataclasses.replace(base, seed=2), "the phases' hash"),
        varnet.with_key(dataclasses.replace(base, acceleration=8), "the phases' hash"),
        varnet.with_key(dataclasses.replace(base, test=base.test[:1]), "the phases' hash"),
        varnet.with_key(dataclasses.replace(base, val=study["val"][1:2]), "the phases' hash"),
        varnet.with_key(base, "other phases"),
    ]
    assert len({cell.key for cell in [base, *others]}) == 7
    elsewhere = dataclasses.replace(base.settings, accelerator="auto")
    same = varnet.with_key(dataclasses.replace(base, settings=elsewhere), "the phases' hash")
    assert same.key == base.key


def test_learning_rates_of_the_schedules():
    constant = varnet.VarNetSettings(learning_rate=3e-4)
    assert {constant.rate(done) for done in (0.0, 0.3, 0.99)} == {3e-4}
    cycle = varnet.VarNetSettings(learning_rate=5e-3, schedule="one_cycle")
    rates = np.array([cycle.rate(done) for done in np.linspace(0, 1, 101)])
    assert 0 < rates[0] < 1e-3
    assert rates.max() == pytest.approx(5e-3)
    assert 0.1 < rates.argmax() / 100 < 0.3
    assert rates[-1] < 1e-9
    assert (np.diff(rates[25:]) < 0).all()
    with pytest.raises(ValueError, match="'cosine' is unknown; choose constant or one_cycle"):
        varnet.VarNetSettings(schedule="cosine").rate(0.5)


def test_global_random_state_is_untouched(base, tmp_path):
    cell = dataclasses.replace(base, folder=tmp_path)
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002  # the global state is what is watched
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    varnet.run_cell(cell)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
