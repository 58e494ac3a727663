"""Measured scans as tests: which are taken, what is kept, and gains counted by hand."""

import dataclasses

import pytest
import torch

from synthlib import arrays, formats, metrics, pairs, runs, scanner
from synthlib.recon import grid, networks
from synthlib.study import experiments, heads, measured_scans

SETTINGS = networks.NetworkSettings(
    network="unrolled", cascades=1, chans=4, fine_chans=2, steps=2, learning_rate=1e-3,
    accelerator="cpu",
)  # fmt: skip


# --- which scans are taken ------------------------------------------------------------


@pytest.fixture
def write_scan(odd_scan):
    """A function that writes a simulated head of a matrix in fastMRI's layout, as if measured."""
    raw = odd_scan.volume

    def write(folder, name, n_coils, matrix=(45, 38), thin=1):
        (ny, nx), kspace = matrix, raw.kspace[0][None, :n_coils]
        kspace = arrays.crop_or_pad(kspace, (2 * ny, nx))  # coarser pixels
        if thin > 1:
            columns = torch.arange(nx)
            kspace = kspace * ((columns % thin == 0) | ((columns - nx // 2).abs() < 4))
        path = folder / f"{name}.h5"
        formats.write_raw(path, kspace, contrast="AXT2", patient_id=name, recon_shape=matrix)

    return write


def test_no_folder_is_no_scan_and_no_work(tmp_path):
    assert measured_scans.open_scans("", tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    test = heads.HeadTest([], 4, 0.04, (1, 2))
    assert heads.all_rows(test, [], {}, tmp_path) == []


def test_coils_and_matrices_may_be_mixed_and_what_is_no_test_is_passed_over(tmp_path, write_scan):
    write_scan(tmp_path / "scans", "b_four", 4)
    write_scan(tmp_path / "scans", "a_three", 3, (40, 33))
    write_scan(tmp_path / "scans", "lonely", 1)
    write_scan(tmp_path / "scans", "thinned", 3, thin=2)
    scans = measured_scans.open_scans(str(tmp_path / "scans"), tmp_path / "out")
    assert [(s.name, s.raw.n_coils, s.raw.image_shape) for s in scans] == [
        ("a_three", 3, (40, 33)), ("b_four", 4, (45, 38)),
    ]  # fmt: skip
    for scan in scans:
        assert scan.maps(0).shape == (scan.raw.n_coils, *scan.raw.image_shape)
        assert (tmp_path / "out" / "prepared_test") in scan.path.parents
    test = heads.HeadTest(scans, 4, 0.04, (1,))
    for scan in scans:  # one method serves them all
        assert set(test.score(grid.zero_filled, scan, 1)) == set(metrics.ALL_NAMES)


def test_a_folder_of_single_coil_or_thinned_files_is_refused(tmp_path, write_scan):
    write_scan(tmp_path / "scans", "lonely", 1)
    write_scan(tmp_path / "scans", "thinned", 3, thin=2)
    message = r"holds 2 scans, none of them fully sampled by several coils; expected.*test_data"
    with pytest.raises(ValueError, match=message):
        measured_scans.open_scans(str(tmp_path / "scans"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_or_empty_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, message in (("empty", "has no file of raw data"), ("none", "is not a folder")):
        with pytest.raises(FileNotFoundError, match=f"{folder} {message}; expected measured"):
            measured_scans.open_scans(str(tmp_path / folder), tmp_path / "out")


def test_two_scans_of_one_name_are_refused(tmp_path, write_scan):
    for folder in ("t1", "t2"):
        write_scan(tmp_path / "scans" / folder, "head", 3)
    with pytest.raises(ValueError, match="names occur twice, for example head"):
        measured_scans.open_scans(str(tmp_path / "scans"), tmp_path / "out")


def test_a_scan_of_the_study_or_of_its_patients_is_refused(study):
    parts = {8: study}
    measured_scans.require_unseen([], parts)
    own, other = study["test"][0], study["train"][0]
    without_test = {8: {"train": study["train"], "gan": study["gan"]}}
    measured_scans.require_unseen([own], without_test)
    with pytest.raises(ValueError, match=rf"test scan {own.name}: the same file is in part 'test'"):
        measured_scans.require_unseen([own], parts)
    # another file of a patient of the training part
    named = {**own.raw.attributes, "patient_id": other.raw.patient_id}
    raw = dataclasses.replace(own.raw, patient_id=other.raw.patient_id, attributes=named)
    again = dataclasses.replace(own, raw=raw)
    with pytest.raises(ValueError, match=r"the same patient is in part 'train'.*Take the scan out"):
        measured_scans.require_unseen([again], without_test)


@pytest.mark.parametrize("attributes", [{}, {"patient_id": "unknown"}])
def test_files_that_name_no_patient_are_compared_by_content(study, attributes):
    def nameless(scan):
        raw = dataclasses.replace(scan.raw, patient_id="scan1", attributes=attributes)
        return dataclasses.replace(scan, raw=raw)

    parts = {8: {"train": [nameless(study["train"][0])]}}
    measured_scans.require_unseen([nameless(study["test"][0])], parts)
    with pytest.raises(ValueError, match="the same file is in part 'train'"):
        measured_scans.require_unseen([nameless(study["train"][0])], parts)


def test_a_weight_at_the_end_of_those_tried_is_marked(study, monkeypatch):
    monkeypatch.setattr(grid, "WEIGHTS", {"m": (2.0, 3.0)})
    monkeypatch.setattr(grid, "SMALLER_WEIGHTS", {"m": (1.0,)})
    monkeypatch.setattr(grid, "with_weight", lambda name, weight: weight)
    test = heads.HeadTest([], 4, 0.04, (1,))
    for optimum, at_end in ((1.0, True), (2.0, False), (9.0, True)):
        monkeypatch.setattr(
            heads.HeadTest, "score", lambda _, w, *__, best=optimum: {"PSNR": -abs(w - best)}
        )
        chosen, hindsight = heads._weighted(test, study["test"][0], 1, "m", 2.5)
        assert chosen["weight"] == 2.5
        assert hindsight["weight_at_end"] == at_end


def test_the_record_of_scans_holds_no_names(study):
    assert measured_scans.scan_hashes([]) == {}
    record = measured_scans.scan_hashes(study["test"][:2])
    assert list(record) == ["2 measured test scans"]
    assert measured_scans.scan_hashes(study["test"][:2][::-1]) == record
    assert measured_scans.scan_hashes([study["test"][0], study["train"][0]]) != record


# --- further simulated scans ----------------------------------------------------------


@pytest.fixture
def simulated(study, tmp_path):
    return experiments.Study(study, None, SETTINGS, tmp_path, seed=7)


def test_further_scans_have_their_own_coils_matrix_and_snr(simulated, tmp_path):
    simulate = scanner.ScanSettings(n_subjects=1, n_slices=1, contrasts=("AXT2",))
    more = dataclasses.replace(SETTINGS, steps=9)
    first, second = heads.simulated_studies(
        simulated, [[3, 44, 36, 200]], more, simulate, out_dir=tmp_path
    )
    assert first.parts == simulated.parts
    assert first.settings == second.settings == more
    (scan,) = second.parts["train"]
    assert (scan.raw.n_coils, scan.raw.image_shape) == (3, (44, 36))
    assert second.parts["gan"] == simulated.parts["gan"]  # donors of its phases
    record = scan.raw.attributes["record"]
    assert '"snr": 200' in str(record)
    others = {v.raw.patient_id for part in simulated.parts.values() for v in part}
    assert scan.raw.patient_id not in others


@pytest.mark.parametrize("counts", [(8,), (3, 3)])
def test_two_sets_of_one_coil_count_are_refused(simulated, tmp_path, counts):
    sets = [[n, 44, 36, 30] for n in counts]
    with pytest.raises(ValueError, match=r"coils; expected different numbers.*Change a set's"):
        heads.simulated_studies(
            simulated, sets, SETTINGS, scanner.ScanSettings(n_subjects=1), out_dir=tmp_path
        )


# --- the test -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_slices", "expected"),
    [(1, [0]), (2, [0, 1]), (4, [0, 1, 2, 3]), (5, [0, 1, 3, 4]), (7, [0, 2, 4, 6]),
     (15, [1, 5, 9, 13])],
)  # fmt: skip
def test_slices_that_are_looked_at_are_spread_evenly(study, n_slices, expected):
    scan = study["test"][0]
    raw = dataclasses.replace(scan.raw, kspace=torch.zeros(n_slices, 2, 9, 8))
    indices = heads.HeadTest.indices(pairs.PreparedVolume(raw, scan.path))
    assert indices == expected


def test_the_key_follows_scans_masks_r_and_packages(study, monkeypatch):
    test = heads.HeadTest(study["test"][:2], 4, 0.04, (1, 2))
    same = heads.HeadTest(study["test"][:2][::-1], 4, 0.04, (1, 2))
    assert same.key == test.key
    changes = [{"scans": study["test"][:1]}, {"acceleration": 6}, {"mask_seeds": (1, 3)}]
    keys = {dataclasses.replace(test, **change).key for change in changes}
    keys.add(test.key)
    monkeypatch.setattr(runs, "package_versions", lambda *_: {"torch": "another"})
    assert len(keys | {test.key}) == 5


@pytest.fixture(scope="module")
def tried(study, tmp_path_factory):
    """Rows of two networks and the classical methods on a test scan under two masks."""
    folder = tmp_path_factory.mktemp("heads")
    parts = {part: scans[:1] for part, scans in study.items()}
    tiny = experiments.Study(parts, None, SETTINGS, folder, seed=7)
    cells = experiments.heads_cells([tiny], ["zero"], [4, 6], 4, [1, 2])
    test = heads.HeadTest(study["test"][1:2], 4, 0.04, (1, 2))
    weights = {grid.CG_SENSE: 0.5, grid.L1_WAVELET: 1e-3}  # of CG-SENSE a bad one
    with pytest.MonkeyPatch.context() as patch:  # fewer weights: seconds
        patch.setattr(grid, "WEIGHTS", {name: grid.WEIGHTS[name][1:4:2] for name in weights})
        smaller = {name: grid.SMALLER_WEIGHTS[name][-1:] for name in weights}
        patch.setattr(grid, "SMALLER_WEIGHTS", smaller)
        rows = heads.all_rows(test, cells, weights, folder)
    return test, cells, weights, folder, rows


def test_every_method_has_a_row_for_every_mask_and_seed(tried, study):
    _, _, weights, _, rows = tried
    places = [(row["source"], row["seed"], row["mask"]) for row in rows]
    classical = [*heads.UNWEIGHTED, *weights, *(name + heads.HINDSIGHT for name in weights)]
    expected = [(name, 0, mask) for name in classical for mask in (1, 2)]
    expected += [("zero", seed, mask) for seed in (1, 2) for mask in (1, 2)]
    assert sorted(places) == sorted(expected)
    scan = study["test"][1]
    assert {(row["scan"], row["patient"]) for row in rows} == {(scan.name, scan.raw.patient_id)}
    for name in classical[:1]:  # another mask is another problem
        assert len({row["PSNR"] for row in rows if row["source"] == name}) == 2


def test_rows_are_kept_and_read_back(tried, monkeypatch):
    test, cells, weights, folder, rows = tried

    def fail(*_):
        raise AssertionError("a scan was reconstructed again")

    monkeypatch.setattr(heads.HeadTest, "score", fail)
    assert heads.all_rows(test, cells, weights, folder) == rows
    assert heads.network_rows(test, cells[:1]) == [
        row for row in rows if (row["source"], row["seed"]) == ("zero", 1)
    ]
    with pytest.raises(AssertionError, match="again"):  # under another mask they are others
        heads.network_rows(dataclasses.replace(test, mask_seeds=(3,)), cells[:1])
    with pytest.raises(AssertionError, match="again"):
        heads.classical_rows(test, {**weights, grid.CG_SENSE: 0.4}, folder)


def test_a_networks_row_is_its_own_score(tried):
    test, cells, _, _, rows = tried
    score = test.score(grid.method_of(cells[1]), test.scans[0], 2)
    (row,) = (r for r in rows if (r["source"], r["seed"], r["mask"]) == ("zero", 2, 2))
    assert {name: row[name] for name in score} == pytest.approx(score, rel=1e-6)


def test_the_weight_in_hindsight_is_at_least_as_good_as_the_chosen_one(tried):
    _, _, weights, _, rows = tried
    by_place = {(row["source"], row["mask"]): row for row in rows if "weight" in row}
    for name, chosen in weights.items():
        for mask in (1, 2):
            own, best = by_place[name, mask], by_place[name + heads.HINDSIGHT, mask]
            assert own["weight"] == chosen
            assert best["PSNR"] >= own["PSNR"]
            assert best["weight"] in {*grid.WEIGHTS[name], *grid.SMALLER_WEIGHTS[name], chosen}
            assert isinstance(best["weight_at_end"], bool)
    bad = by_place[grid.CG_SENSE, 1]["PSNR"]
    assert by_place[grid.CG_SENSE + heads.HINDSIGHT, 1]["PSNR"] > bad + 0.5


def test_weights_that_were_not_chosen_at_this_r_are_told(tried, tmp_path):
    test, cells, weights, _, _ = tried
    results = [
        {"source": name, "n_coils": 8, "acceleration": 6, "weight": 0.1} for name in weights
    ] + [{"source": "zero", "n_coils": 8, "acceleration": 4}]
    chosen = heads.chosen_weights(results, 8, 4)
    assert chosen == {}
    with pytest.raises(ValueError, match="no weights of cg_sense, l1_wavelet at R = 4; expected"):
        heads.all_rows(test, cells, chosen, tmp_path)
    assert heads.chosen_weights(results, 8, 6) == dict.fromkeys(weights, 0.1)


def test_kept_rows_are_those_of_the_code_that_made_them(tried):
    test, cells, _, _, _ = tried
    kept = sorted(path.name for path in cells[0].path.glob("measured_scans_*.json"))
    assert kept == [f"measured_scans_{test.key}.json"]
    assert runs.read_json(cells[0].path / kept[0])


def test_equal_masks_count_once(study):
    scans = study["test"]
    test = heads.HeadTest(scans, 4, 0.05, tuple(range(1, 31)))
    for scan in scans:
        seeds = test.seeds_of(scan)
        drawn = {
            tuple(test.samples(scan, seed)[0].mask.columns.tolist()) for seed in test.mask_seeds
        }
        assert len(seeds) == len(drawn) < len(test.mask_seeds)
        assert seeds[0] == 1
