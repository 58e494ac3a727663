"""The grid: what is run, what is kept, and the tables that come of it."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from synthlib import arrays, metrics, tables
from synthlib.formats import prepared_hdf5
from synthlib.recon import benchmark, samples, varnet

TINY = varnet.VarNetSettings(
    cascades=1,
    chans=2,
    pools=1,
    sens_chans=2,
    sens_pools=1,
    epochs=1,
    learning_rate=3e-3,
    accelerator="cpu",
)
NAMES = ["ground_truth", "zero", "other_patient", "polynomial"]


@pytest.fixture(scope="module")
def parts(study):
    """The study with one scan to learn from, so that a network takes a moment."""
    return {**study, "train": study["train"][:1], "val": study["val"][:1]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("benchmark")


def all_cells(parts, folder, **changes):
    grid = benchmark.Grid(**{"sources": NAMES, "accelerations": [4], "seeds": [1], **changes})
    return benchmark.cells(grid, parts, TINY, folder, weights=None, seed=7)


@pytest.fixture(scope="module")
def done(parts, folder):
    cells = all_cells(parts, folder)
    return cells, benchmark.run(cells)


def times(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_every_source_has_a_row_for_every_test_volume(done, parts):
    cells, rows = done
    assert [cell.data.source for cell in cells] == ["zero_filled", *NAMES]
    expected = [(name, v.name) for name in ["zero_filled", *NAMES] for v in parts["test"]]
    assert [(row["source"], row["volume"]) for row in rows] == expected
    assert {(row["n_coils"], row["acceleration"], row["seed"]) for row in rows} == {(8, 4, 1)}
    assert len({row["PSNR"] for row in rows}) == len(rows)  # five networks, five answers


def test_a_second_run_reads_the_results(done, parts, folder):
    _, rows = done
    before = times(folder)
    assert benchmark.run(all_cells(parts, folder)) == rows
    assert times(folder) == before


def test_an_added_acceleration_costs_only_itself(done, parts, folder):
    _, rows = done
    before = times(folder)
    more = benchmark.run(all_cells(parts, folder, accelerations=[4, 8], sources=["zero"]))
    after = times(folder)
    assert {path: after[path] for path in before} == before
    assert {p.parts[-3] for p in set(after) - set(before)} == {
        "08coil_R8_zero_seed1",
        "08coil_R8_zero_filled_seed1",
    }
    old = [row for row in rows if row["source"] in ("zero", "zero_filled")]
    assert [row for row in more if row["acceleration"] == 4] == old
    # Less is measured, so that zero-filling is worse: on the mean, for where the lines beside the
    # centre fall is drawn per scan, and of 40 columns a lucky one holds much of the energy.
    mean = {
        acceleration: metrics.seed_means(more, 8, "zero_filled", acceleration, "PSNR")[0]
        for acceleration in (4, 8)
    }
    assert mean[8] < mean[4]


def test_all_networks_are_tested_on_the_same_measured_data(done, parts):
    cells, _ = done
    (expected,) = {tuple(v.name for v in cell.test) for cell in cells}
    assert expected == tuple(v.name for v in parts["test"])
    targets, inputs = (
        [prepared_hdf5.read(cell.path / "example.h5", name) for cell in cells]
        for name in ("target", "zero_filled")
    )
    assert all(torch.equal(target, targets[0]) for target in targets)
    assert all(torch.equal(image, inputs[0]) for image in inputs)
    raw = parts["test"][0].raw
    measured = arrays.rss(raw.coil_images(raw.n_slices // 2))
    torch.testing.assert_close(targets[0], measured, rtol=1e-4, atol=1e-4 * float(measured.max()))


def test_networks_never_learn_from_patients_they_are_tested_on(done):
    cells, _ = done
    for cell in cells:
        learnt = {v.raw.patient_id for v in [*cell.data.volumes, *cell.val]}
        assert not learnt & {v.raw.patient_id for v in cell.test}


def test_networks_of_all_sources_begin_with_the_same_weights_and_masks(done, parts):
    cells, _ = done
    trained = [cell for cell in cells if cell.data.source != "zero_filled"]
    masks = [
        samples.TrainingSamples(cell.data, 4, 0.04, cell.seed, 0)[0].mask.columns
        for cell in trained
    ]
    assert all(torch.equal(mask, masks[0]) for mask in masks)
    assert len({cell.seed for cell in trained}) == 1


def test_several_seeds_train_every_network_once_more(parts, folder):
    cells = all_cells(
        parts,
        folder,
        sources=["zero", "polynomial"],
        accelerations=[4, 8],
        seeds=[1, 2],
        repeat_sources=["zero"],
        repeat_seeds=[2, 5],
    )
    places = [(c.data.source, c.acceleration, c.seed) for c in cells]
    assert places == [
        ("zero_filled", 4, 1),
        ("zero_filled", 8, 1),
        ("zero", 4, 1),
        ("zero", 4, 2),
        ("zero", 4, 5),
        ("zero", 8, 1),
        ("zero", 8, 2),
        ("polynomial", 4, 1),
        ("polynomial", 4, 2),
        ("polynomial", 8, 1),
        ("polynomial", 8, 2),
    ]
    assert len({cell.path for cell in cells}) == len(cells)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": ["zero", "perlin"]}, "'perlin' is unknown"),
        ({"accelerations": [4, 25]}, "R = 25 and centre fraction 0.04"),
        ({"sources": ["gan"]}, "'gan' needs a trained generator"),
    ],
)
def test_an_impossible_grid_is_refused_before_any_network(parts, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        all_cells(parts, tmp_path, **changes)
    assert not (tmp_path / "networks").exists()


def test_the_mask_table_tells_the_r_that_was_reached(done, parts):
    cells, _ = done
    (row,) = benchmark.mask_table(cells)
    reached = np.mean(
        [40 / int(samples.measured_volume(v, 4, 0.04)[0].mask.columns.sum()) for v in parts["test"]]
    )
    assert (row["coils"], row["columns"], row["nominal R"], row["centre lines"]) == (8, 40, 4, 2)
    assert float(row["achieved R"]) == pytest.approx(reached, abs=0.006)


def test_examples_are_kept_by_acceleration_and_label(done):
    cells, _ = done
    found = benchmark.examples(cells, 8, ["ground_truth", "zero"])
    assert list(found) == [4]
    assert list(found[4]) == ["Ground truth", "Zero"]
    assert set(found[4]["Zero"]) == {"target", "zero_filled", "image"}
    assert not torch.equal(found[4]["Zero"]["image"], found[4]["Ground truth"]["image"])
    assert benchmark.examples(cells, 16, ["zero"]) == {}


# --- tables from rows -----------------------------------------------------------------

LABELS = {
    "zero_filled": "Zero-filled",
    "ground_truth": "Ground truth",
    "gan": "GAN",
    "zero": "Zero",
}


def made_up_rows():
    """Two coil counts, two R, two volumes; GAN is best of the synthetic but at 20 coils, R 8."""
    rows = []
    for n_coils in (20, 16):
        for acceleration in (4, 8):
            for source, psnr in (("zero_filled", 40.0), ("ground_truth", 35.0), ("gan", 33.0)):
                rows += two_volumes(n_coils, acceleration, source, psnr - acceleration / 4)
            better = n_coils == 20 and acceleration == 8
            rows += two_volumes(n_coils, acceleration, "zero", 34.0 if better else 20.0)
    return rows


def two_volumes(n_coils, acceleration, source, psnr, seed=1):
    place = {"n_coils": n_coils, "acceleration": acceleration, "source": source, "seed": seed}
    return [
        {**place, "volume": f"v{n}", "PSNR": psnr + step, "NMSE": 1 / (psnr + step), "SSIM": psnr
         / 100} for n, step in enumerate((-1, 2))
    ]  # fmt: skip


def test_tables_s1_to_s6_are_the_papers_three_metrics_at_two_coil_counts():
    tables = benchmark.paper_tables(made_up_rows(), LABELS, [20, 16])
    assert [table.name for table in tables] == [
        "tab_S1_PSNR_16coil",
        "tab_S2_PSNR_20coil",
        "tab_S3_NMSE_16coil",
        "tab_S4_NMSE_20coil",
        "tab_S5_SSIM_16coil",
        "tab_S6_SSIM_20coil",
    ]
    assert all(set(table.text) == {"csv", "md", "tex"} for table in tables)


def test_cells_are_means_over_volumes_and_the_best_synthetic_phase_is_bold():
    texts = {table.name: table.text for table in benchmark.paper_tables(
        made_up_rows(), LABELS, [16, 20])}  # fmt: skip
    assert texts["tab_S1_PSNR_16coil"]["csv"].splitlines() == [
        '"PSNR (dB), 16 coils",R = 4,R = 8',
        "Zero-filled,39.50,38.50",
        "Ground truth,34.50,33.50",
        "GAN,32.50,31.50",
        "Zero,20.50,20.50",
    ]
    bold = {name: text["md"].count("**") // 2 for name, text in texts.items()}
    assert set(bold.values()) == {2}  # one for each R
    assert "| GAN | **32.50** | **31.50** |" in texts["tab_S1_PSNR_16coil"]["md"]
    assert "| GAN | **32.50** | 31.50 |" in texts["tab_S2_PSNR_20coil"]["md"]
    assert "| Zero | 20.50 | **34.50** |" in texts["tab_S2_PSNR_20coil"]["md"]
    gan = np.mean([1 / 31.0, 1 / 34.0])  # the smallest NMSE is the best
    assert f"| GAN | **{gan:.4f}**" in texts["tab_S3_NMSE_16coil"]["md"]
    assert "\\textbf{32.50}" in texts["tab_S1_PSNR_16coil"]["tex"]


def test_the_comparison_is_paired_by_volume():
    rows = benchmark.comparison_table(made_up_rows(), "gan", LABELS)
    against = {row["GAN less"]: row for row in rows}
    assert set(against) == {"Zero-filled", "Ground truth", "Zero"}
    assert against["Ground truth"]["mean (dB)"] == "-2.00"
    assert against["Ground truth"]["95 % interval"] == "-2.00 to -2.00"
    assert against["Ground truth"]["pairs"] == "8"
    assert against["Zero"]["mean (dB)"] == f"{np.mean([12, 11, 12, -3]):+.2f}"


def test_the_spread_between_seeds_stands_beside_that_between_sources():
    rows = [
        *two_volumes(8, 4, "gan", 30.0, seed=1),
        *two_volumes(8, 4, "gan", 30.5, seed=2),
        *two_volumes(8, 4, "zero", 25.0, seed=1),
        *two_volumes(8, 4, "zero_filled", 10.0, seed=1),
    ]
    (row,) = benchmark.seed_spread(rows, "PSNR")
    assert row["between seeds (PSNR)"] == "0.50"
    assert row["between sources (PSNR)"] == "5.00"


def test_the_share_of_wins_counts_volumes_and_knows_which_way_is_better():
    rows = made_up_rows()
    assert benchmark.share_better(rows, "ground_truth", "gan", "PSNR") == 1
    assert benchmark.share_better(rows, "ground_truth", "gan", "NMSE") == 1
    assert benchmark.share_better(rows, "gan", "zero", "PSNR") == 6 / 8
    assert benchmark.share_better(rows, "gan", "ground_truth", "SSIM") == 0


def test_labels_name_every_row_of_a_table():
    names = ["zero_filled", *NAMES]
    assert len({benchmark.label(name) for name in names}) == 5
    with pytest.raises(ValueError, match="'perlin' is unknown"):
        benchmark.label("perlin")


def test_a_cell_is_filed_under_its_place_in_the_grid(done):
    cells, _ = done
    assert cells[1].path.parts[-2] == "08coil_R4_ground_truth_seed1"
    moved = dataclasses.replace(cells[1], acceleration=10)
    assert moved.path.parts[-2] == "08coil_R10_ground_truth_seed1"


def test_a_grid_without_repeats_or_gan_still_makes_all_tables(parts, folder):
    cells = all_cells(parts, folder, sources=["zero"])
    rows = benchmark.run(cells)
    labels = {name: benchmark.label(name) for name in ["zero_filled", "zero"]}
    (spread,) = benchmark.seed_spread(rows, "PSNR")
    assert spread["between seeds (PSNR)"] == "-"
    assert (
        "nothing to compare"
        in tables.from_dicts(benchmark.comparison_table(rows, "gan", labels))["md"]
    )
    assert math.isnan(benchmark.share_better(rows, "measured", "zero_filled", "PSNR"))
    assert list(benchmark.examples(cells, 8, ["ground_truth", "gan"])[4]) == ["Zero"]
