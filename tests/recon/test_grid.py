"""Cells: what is run, what is kept, and that nothing is chosen on the test."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest
import torch
from fastmri.data.subsample import create_mask_for_mask_type
from skimage.metrics import structural_similarity

from synthlib.formats import prepared_hdf5
from synthlib.phase import sources
from synthlib.recon import classical, grid, networks, phases, samples, testing, training

TINY = networks.NetworkSettings(
    network=networks.UNROLLED,
    cascades=1,
    chans=4,
    fine_chans=3,
    steps=4,
    learning_rate=3e-3,
    loss="l2",
    accelerator="cpu",
)
ZERO = "zero"  # the source of the network


@pytest.fixture(scope="module")
def data(study, tmp_path_factory):
    """Zero phase of two scans."""
    folder, volumes = tmp_path_factory.mktemp("phases"), study["train"][:2]
    place = phases.write_phases(ZERO, volumes, sources.Context(), folder, seed=3)
    return samples.TrainingData(ZERO, volumes, place)


@pytest.fixture(scope="module")
def make(study, data, tmp_path_factory):
    """A cell of the study's scans; `settings` for a network, other fields as they are."""
    folder = tmp_path_factory.mktemp("grid")

    def cell(source, acceleration=4, settings=TINY, **changes):
        taught = None
        if source not in grid.CLASSICAL:
            taught = training.Training((data,), (acceleration,), 1, study["val"][:1], settings)
        fields = {
            "experiment": "grid",
            "source": source,
            "n_coils": 8,
            "acceleration": acceleration,
            "seed": 1 if taught else 0,
            "training": taught,
            "val": study["val"][:1],
            "test": study["test"][:2],
            "center_fraction": 0.04,
            "folder": folder,
            "tags": (("n_real", 2),),
        }
        return grid.Cell(**{**fields, **changes})

    return cell


@pytest.fixture(scope="module")
def done(make):
    """All classical methods at two R and a network: cells, results."""
    cells = [make(name, r) for r in (4, 8) for name in grid.CLASSICAL] + [make(ZERO)]
    return cells, grid.run(cells)


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# --- results -------------------------------------------------------------------------


def test_every_cell_has_a_row_for_every_test_scan_with_its_place(done):
    cells, results = done
    assert len(results) == len(cells) == 13
    for cell, result in zip(cells, results, strict=True):
        assert [row["volume"] for row in result["rows"]] == [v.name for v in cell.test]
        assert [row["patient"] for row in result["rows"]] == [v.raw.patient_id for v in cell.test]
        for row in result["rows"]:
            place = (row["experiment"], row["source"], row["acceleration"], row["n_real"])
            assert place == ("grid", cell.source, cell.acceleration, 2)
            assert 0 < row["SSIM"] < 1
    rows = grid.rows_of(results)
    assert len(rows) == 26
    # two volumes each of another quality, but the ceiling, which knows no R
    assert len({row["PSNR"] for row in rows}) == 24


def test_the_ceiling_is_above_every_method_at_every_r(done):
    rows = grid.rows_of(done[1])
    for ceiling in (row for row in rows if row["source"] == grid.CEILING):
        below = [
            row["PSNR"]
            for row in rows
            if row["source"] != grid.CEILING
            and (row["volume"], row["acceleration"]) == (ceiling["volume"], ceiling["acceleration"])
        ]
        assert len(below) >= 4
        assert ceiling["PSNR"] > max(below) + 1


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


def test_zero_filling_is_scored_as_computed_from_the_files_with_numpy(done):
    cells, results = done
    axes = (-2, -1)
    make_mask = create_mask_for_mask_type("equispaced_fraction", [0.04], [4])
    for row, volume in zip(results[0]["rows"], cells[0].test, strict=True):
        seed = tuple(map(ord, f"{volume.name}.h5"))  # as fastMRI's loaders seed it
        columns = make_mask((1, 1, 40, 2), seed=seed)[0].flatten().numpy()
        with h5py.File(volume.raw.source) as file:
            kspace = file["kspace"][()].astype(np.complex128)
        images = []
        for kept in (kspace, kspace * columns):
            coils = np.fft.ifft2(np.fft.ifftshift(kept, axes), norm="ortho")
            coils = np.fft.fftshift(coils, axes)[..., 24:72, :]  # readout oversampling off
            images.append(np.sqrt((np.abs(coils) ** 2).sum(1)))
        for name, value in numpy_quality(*images).items():
            assert row[name] == pytest.approx(value, rel=1e-4)


def test_a_second_run_reads_the_results_and_new_cells_cost_only_themselves(done, make, tmp_path):
    cells, results = done
    folder = cells[0].folder
    before = times(folder)
    more = grid.run([*cells, make(grid.ZERO_FILLED, 6)])
    assert more[:-1] == results
    after = times(folder)
    assert {path: after[path] for path in before} == before
    assert {path.parts[-3] for path in set(after) - set(before)} == {"08coil_R6_zero_filled_seed0"}
    kept = dataclasses.replace(cells[0], folder=tmp_path)
    kept.path.mkdir(parents=True)
    (kept.path / "result.json").write_text('{"rows": "read back"}')
    assert grid.run([kept]) == [{"rows": "read back"}]


def test_the_example_is_the_middle_slice_of_the_first_test_scan(done):
    for cell in done[0]:
        path = cell.path / "example.h5"
        volume = cell.test[0]
        expected = samples.measured_volume(volume, cell.test_acceleration, 0.04)[1]
        assert prepared_hdf5.read_attributes(path)["volume"] == volume.name
        assert prepared_hdf5.read_attributes(path)["slice"] == 1
        assert torch.equal(prepared_hdf5.read(path, "target"), expected.target)
        image = prepared_hdf5.read(path, "image")
        assert image.shape == expected.crop == (48, 40)
        if cell.source == grid.ZERO_FILLED:
            assert torch.equal(image, classical.zero_filled(expected.kspace))


def test_a_cells_method_gives_the_images_of_its_test(done, monkeypatch):
    cells, results = done
    monkeypatch.setattr(training, "_steps", None)  # nothing is trained again
    monkeypatch.setattr(classical, "best_weight", None)  # nor chosen
    for cell, result in zip(cells, results, strict=True):
        method = grid.method_of(cell)
        volume = cell.test[0]
        slices = samples.measured_volume(volume, cell.test_acceleration, 0.04)
        example = prepared_hdf5.read(cell.path / "example.h5", "image")
        assert torch.equal(testing.images_of(method, slices)[1], example), cell.source
        assert testing.score(method, volume, slices)["PSNR"] == result["rows"][0]["PSNR"]


def test_a_stop_between_training_and_testing_does_not_train_again(done, tmp_path, monkeypatch):
    cells, results = done
    stopped = dataclasses.replace(cells[-1], folder=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(grid, "_keep_example", None)
        with pytest.raises(TypeError):
            grid.run_cell(stopped)
    monkeypatch.setattr(training, "_steps", None)
    assert grid.run_cell(stopped)["rows"] == results[-1]["rows"]


# --- weights -------------------------------------------------------------------------


@pytest.mark.parametrize("name", [grid.CG_SENSE, grid.L1_WAVELET])
def test_a_weight_is_the_best_on_validation_slices(done, study, name):
    (result,) = (r for r in done[1] if (r["source"], r["acceleration"]) == (name, 4))
    slices = samples.measured_volume(study["val"][0], 4, 0.04)

    def psnr(weight):
        images = [grid.SOLVERS[name](sample, weight).double() for sample in slices]
        errors = [
            float((image - sample.target).square().mean())
            for image, sample in zip(images, slices, strict=True)
        ]
        return np.mean([-10 * np.log10(error) for error in errors])

    weight = result["weight"]
    assert all(psnr(weight) >= psnr(other) for other in grid.WEIGHTS[name])
    if not result["weight_at_end"]:
        assert psnr(weight) > max(psnr(0.7 * weight), psnr(1.6 * weight)) - 0.02


def test_a_weight_never_looks_at_the_test_scans(make, study, tmp_path, monkeypatch):
    """Other test scans, the same weight; and only slices of validation scans are reconstructed."""
    seen = []
    choose = classical.best_weight

    def watched(solve, slices, weights):
        seen.extend(sample.name for sample in slices)
        return choose(solve, slices, weights)

    monkeypatch.setattr(classical, "best_weight", watched)
    weights = {
        grid.run_cell(make(grid.CG_SENSE, test=test, folder=tmp_path))["weight"]
        for test in (study["test"][:1], study["test"][1:2])
    }
    assert len(weights) == 1
    validation = [s.name for s in samples.measured_volume(study["val"][0], 4, 0.04)]
    assert seen == 2 * validation


def test_a_weight_is_chosen_on_few_slices_of_all_validation_scans(make, study, monkeypatch):
    volumes = [*study["train"], *study["val"]][:5]
    taken = []
    monkeypatch.setattr(classical, "best_weight", lambda _, slices, __: taken.extend(slices) or
                        classical.BestWeight(0.1, 20.0, False, ()))  # fmt: skip
    grid._weighted(make(grid.CG_SENSE, val=volumes))
    tops = {sample.data_range for sample in taken}
    assert len(taken) <= grid.N_VALIDATION_SLICES
    assert len(tops) == 5


# --- keys ----------------------------------------------------------------------------


def test_the_key_changes_with_everything_the_result_rests_on(make, study, data):
    base = make(ZERO)
    taught = base.training
    others = [
        make(ZERO, settings=dataclasses.replace(TINY, steps=5)),
        make(ZERO, settings=dataclasses.replace(TINY, loss="ssim")),
        make(ZERO, 8),
        make(ZERO, seed=2),
        make(ZERO, experiment="worth"),
        make(ZERO, test=study["test"][:1]),
        make(ZERO, val=study["val"][1:2]),
        make(ZERO, phases="other phases"),
        make(ZERO, center_fraction=0.08),
        make(ZERO, training=dataclasses.replace(taught, accelerations=(4, 8))),
        make(ZERO, training=dataclasses.replace(
            taught, data=(dataclasses.replace(data, volumes=data.volumes[:1]),)
        )),
        make(ZERO, training=dataclasses.replace(
            taught, data=(dataclasses.replace(data, source="random"),)
        )),
        make(grid.CG_SENSE, seed=1),
    ]  # fmt: skip
    assert len({cell.key for cell in [base, *others]}) == 14
    same = [
        make(ZERO, settings=dataclasses.replace(TINY, accelerator="auto")),
        make(ZERO, show_progress=True),
        make(ZERO),
    ]
    assert {cell.key for cell in same} == {base.key}


def test_a_cell_is_filed_under_its_place_in_the_grid(make):
    assert make(ZERO).path.parts[-3:-1] == ("grid", "08coil_R4_zero_seed1")
    assert make(grid.CEILING, 10).path.parts[-2] == "08coil_R10_ceiling_seed0"
    assert make(grid.CEILING, 10).test_acceleration == 1


def test_unknown_classical_methods_are_refused(make):
    with pytest.raises(ValueError, match="'grappa' is no classical method; expected one of zero"):
        grid.run_cell(make("grappa", training=None))
