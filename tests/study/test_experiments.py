"""Experiments as lists of cells: who is learned from, by which seeds, and what is refused."""

import copy
import dataclasses

import pytest
import torch

from synthlib import metrics, runs
from synthlib.phase import generator, sources
from synthlib.recon import grid, networks, samples
from synthlib.study import conventions, experiments, report

SETTINGS = networks.NetworkSettings(
    network="unrolled", cascades=1, chans=4, fine_chans=2, steps=2, learning_rate=1e-3,
    accelerator="cpu",
)  # fmt: skip


@pytest.fixture
def small(study, tmp_path):
    """A study without a generator, with five patients to learn from, two scans of one of them."""
    everybody = [scan for part in study.values() for scan in part]
    patients = sorted({scan.raw.patient_id for scan in everybody})[:5]
    train = [scan for scan in everybody if scan.raw.patient_id in patients]
    train = [s for s in train if s.raw.contrast == "AXT2" or s.raw.patient_id == patients[1]]
    parts = {**study, "train": train, "val": study["val"][:1], "test": study["test"][:1]}
    return experiments.Study(parts, None, SETTINGS, tmp_path, seed=7)


def patients_of(volumes):
    return {volume.raw.patient_id for volume in volumes}


def tagged(cell):
    tags = dict(cell.tags)
    return tags["n_real"], tags["n_synthetic"]


# --- what networks learn from ---------------------------------------------------------


def test_ground_truth_is_the_measured_k_space_without_any_phase(small):
    data, key = small.training_data(samples.GROUND_TRUTH, small.parts["train"])
    assert (data.source, key) == (samples.GROUND_TRUTH, "")
    assert list(data.volumes) == small.parts["train"]
    assert list(small.folder.iterdir()) == []  # nothing was written


def test_a_source_is_written_once_and_its_hash_follows_its_phases(small):
    volumes = small.parts["train"][:2]
    data, key = small.training_data("random", volumes)
    written = {path: path.stat().st_mtime_ns for path in data.phases.rglob("*.h5")}
    assert {path.stem for path in written} == {volume.name for volume in volumes}
    assert small.training_data("random", volumes)[1] == key
    assert {path: path.stat().st_mtime_ns for path in data.phases.rglob("*.h5")} == written
    other = dataclasses.replace(small, seed=8)
    assert other.training_data("random", volumes)[1] != key


@pytest.mark.parametrize("name", sorted(experiments.PRODUCTS))
def test_a_product_without_weights_says_how_to_get_them(small, name):
    with pytest.raises(ValueError, match=f"'{name}' needs a trained generator.*02_gan_training"):
        small.training_data(name, small.parts["train"])


def test_the_gan_without_weights_says_how_to_get_them(small):
    with pytest.raises(ValueError, match=r"'gan' needs a trained generator.*02_gan_training"):
        small.training_data("gan", small.parts["train"][:1])


def test_phases_follow_the_generators_weights(small, context, tmp_path):
    """With another file of weights the same source is another training set."""
    keys, network = [], copy.deepcopy(context.generator.network)
    for number in range(2):
        weights = tmp_path / f"generator_{number}.safetensors"
        with torch.no_grad():
            next(iter(network.parameters())).add_(0.01)
        generator.save(weights, network, context.generator.architecture, {})
        with_weights = dataclasses.replace(small, weights=weights)
        keys.append(with_weights.training_data("gan", small.parts["train"][:1])[1])
    assert keys[0] != keys[1]


@pytest.mark.parametrize("name", ["perlin", grid.CG_SENSE, grid.CEILING])
def test_what_cannot_be_learned_from_is_refused_before_any_work(name):
    with pytest.raises(ValueError, match=f"'{name}' is unknown"):
        experiments.require_possible(["zero", name], [4], 0.04)


def test_a_misspelt_suffix_is_refused_with_all_names_that_there_are():
    with pytest.raises(ValueError, match=r"'zero_globalphase' is unknown.*product"):
        experiments.require_possible(["zero_globalphase"], [4], 0.04)
    experiments.require_possible(["zero_global_phase", "product_global_phase"], [4], 0.04)


def test_an_r_that_is_not_on_the_grid_is_refused_for_the_curve():
    experiments.require_on_grid(4, [4, 8], 8)
    with pytest.raises(ValueError, match="is 4, the grid of 8 coils has R = 6, 8; expected"):
        experiments.require_on_grid(4, [6, 8], 8)


@pytest.mark.parametrize("seeds", [[], [1, 2, 1]])
def test_seeds_that_are_missing_or_would_count_twice_are_refused(seeds):
    with pytest.raises(ValueError, match=r"head_seeds is .*expected one or more seeds, all diff"):
        experiments.require_seeds(network_seeds=[1], head_seeds=seeds)
    experiments.require_seeds(network_seeds=[1], head_seeds=(2, 1))


def test_what_can_be_learned_from_is_possible_and_masks_are_looked_at():
    names = [samples.GROUND_TRUTH, *experiments.PRODUCTS, *sources.REGISTRY]
    experiments.require_possible(names, [4, 6, 8, 10], 0.04)
    with pytest.raises(ValueError, match="25"):
        experiments.require_possible(names, [4, 25], 0.04)


def test_every_name_of_the_notebook_has_a_label_of_its_own():
    names = [*grid.CLASSICAL, samples.GROUND_TRUTH, *experiments.PRODUCTS, *sources.REGISTRY]
    labels = report.labels_of([name for name in names if name not in grid.CLASSICAL])
    assert list(labels)[: len(grid.CLASSICAL)] == list(grid.CLASSICAL)
    assert set(labels) == set(names)
    assert len(set(labels.values())) == len(names)


# --- cells ----------------------------------------------------------------------------


def test_classical_methods_stand_at_every_r_with_seed_0_and_learn_nothing(small):
    cells = experiments.floor_cells(small, [4, 8])
    assert [(c.acceleration, c.source) for c in cells] == [
        (r, name) for r in (4, 8) for name in grid.CLASSICAL
    ]
    assert {c.seed for c in cells} == {0}
    assert all(c.training is None for c in cells)
    assert {c.test_acceleration for c in cells if c.source == grid.CEILING} == {1}


def test_every_source_of_the_grid_gets_the_same_seeds_scans_and_tests(small):
    names = [samples.GROUND_TRUTH, "zero", "random"]
    cells = experiments.grid_cells(small, names, {4: [1, 2, 5], 8: [1]})
    places = {name: [(c.acceleration, c.seed) for c in cells if c.source == name] for name in names}
    assert all(places[name] == [(4, 1), (4, 2), (4, 5), (8, 1)] for name in names)
    for cell in cells:
        assert cell.training.seed == cell.seed
        assert cell.training.accelerations == (cell.acceleration,)
        (data,) = cell.training.data
        assert (data.source, list(data.volumes)) == (cell.source, small.parts["train"])
        assert cell.test == small.parts["test"]
    assert len({c.path for c in cells}) == len({c.key for c in cells}) == len(cells)


@pytest.mark.parametrize("numbers", [[], [1], [-1, 0, 1, 2, 3, 99]])
def test_the_curve_of_worth_halves_the_patients_and_mixes_nobody(small, numbers):
    cells = experiments.worth_cells(small, "zero", numbers, 4, [3, 4])
    measured_half, archive = set(), set()
    for cell in cells:
        n_real, n_synthetic = tagged(cell)
        kinds = {part.source: part.volumes for part in cell.training.data}
        assert set(kinds) <= {samples.GROUND_TRUTH, "zero"}
        real = kinds.get(samples.GROUND_TRUTH, [])
        assert len(patients_of(real)) == n_real
        assert len(kinds.get("zero", [])) == n_synthetic
        measured_half |= patients_of(real)
        archive |= patients_of(kinds.get("zero", []))
    assert (len(measured_half), len(archive)) == (2, 3)
    assert not measured_half & archive
    middle = [1] if 1 in numbers else []
    m = sum(volume.raw.patient_id in archive for volume in small.parts["train"])
    expected = [(0, m), *((n, k) for n in [*middle, 2] for k in (0, m))]
    assert [tagged(c) for c in cells] == [place for place in expected for _ in range(2)]
    assert [c.seed for c in cells] == [3, 4] * len(expected)
    assert m > 3  # scans, not patients
    assert len({c.path for c in cells}) == len(cells)
    assert {c.experiment for c in cells} == {experiments.WORTH}


def test_more_measured_patients_hold_the_fewer_ones(small):
    cells = experiments.worth_cells(small, "zero", [1], 4, [3])
    one, two = (
        patients_of(c.training.data[0].volumes) for c in cells if tagged(c) in ((1, 0), (2, 0))
    )
    assert one < two


def test_one_patient_cannot_be_halved(small):
    patient = small.parts["train"][0].raw.patient_id
    alone = [v for v in small.parts["train"] if v.raw.patient_id == patient]
    single = dataclasses.replace(small, parts={**small.parts, "train": alone})
    with pytest.raises(ValueError, match=r"1 training patients; expected two or more.*Add pat"):
        experiments.worth_cells(single, "zero", [], 4, [1])


def test_networks_for_heads_learn_from_all_sets_at_all_r_and_are_tested_at_one(small):
    other = dataclasses.replace(small, parts={**small.parts, "train": small.parts["gan"][:1]})
    cells = experiments.heads_cells([small, other], ["zero", "random"], [4, 6], 8, [1, 2])
    assert [(c.source, c.seed) for c in cells] == [
        (name, seed) for name in ("zero", "random") for seed in (1, 2)
    ]
    for cell in cells:
        assert (cell.acceleration, cell.training.accelerations) == (8, (4, 6))
        assert [list(part.volumes) for part in cell.training.data] == [
            small.parts["train"], other.parts["train"],
        ]  # fmt: skip


# --- cells that have run --------------------------------------------------------------


@pytest.fixture(scope="module")
def done(study, tmp_path_factory):
    """A network and two classical methods, as kept; the study they are of."""
    parts = {part: scans[:1] for part, scans in study.items()}
    folder = tmp_path_factory.mktemp("cells")
    tiny = experiments.Study(parts, None, SETTINGS, folder, seed=7)
    cells = [
        cell
        for cell in experiments.floor_cells(tiny, [4])
        if cell.source in (grid.ZERO_FILLED, grid.CG_SENSE)
    ]
    cells += experiments.grid_cells(tiny, ["zero"], {4: [1]})
    return cells, grid.run(cells), folder


def test_rows_know_their_place_and_patient(done, study):
    _, results, _ = done
    rows = grid.rows_of(results)
    assert [row["source"] for row in rows] == [grid.ZERO_FILLED, grid.CG_SENSE, "zero"]
    assert {row["patient"] for row in rows} == {study["test"][0].raw.patient_id}
    assert {row["experiment"] for row in rows} == {experiments.GRID}
    assert report.gains_of(results).keys() == {(8, 4, "zero", 1)}


def test_examples_are_the_kept_images_and_what_was_not_run_is_left_out(done):
    cells, _, _ = done
    shown = report.examples(cells, 8, [grid.CG_SENSE, "gan", "zero"])
    assert {r: list(by_name) for r, by_name in shown.items()} == {4: ["CG-SENSE", "Zero"]}
    images = shown[4]["Zero"]
    assert images["target"].shape == images["image"].shape == (48, 40)
    assert report.examples(cells, 4, ["zero"]) == {}


def test_the_convention_of_fastmri_scores_a_kept_network_as_its_rows_do(done):
    cells, results, _ = done
    chosen = {cell.source: cell for cell in cells if cell.source != grid.ZERO_FILLED}
    spreads = conventions.spread_of_cells(chosen)
    assert list(spreads) == [grid.CG_SENSE, "zero"]
    for row in grid.rows_of(results)[1:]:
        scores = spreads[row["source"]][conventions.FASTMRI]
        assert scores == {name: pytest.approx(row[name], rel=1e-5) for name in ("PSNR", "SSIM")}


def test_nothing_is_trained_or_reconstructed_twice(done):
    cells, results, folder = done
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert grid.run(cells) == [runs.read_json(cell.path / "result.json") for cell in cells]
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert before == after
    assert metrics.seed_means(grid.rows_of(results), 8, "zero", 4, "PSNR")
