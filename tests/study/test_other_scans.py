"""Networks of other measured scans: nobody is tested by a network that saw the same patient."""

import dataclasses

import pytest

from synthlib.recon import networks
from synthlib.study import experiments, heads, other_scans

SETTINGS = networks.NetworkSettings(
    network="unrolled", cascades=1, chans=4, fine_chans=2, steps=2, learning_rate=1e-3,
    accelerator="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny(study, tmp_path_factory):
    parts = {part: scans[:1] for part, scans in study.items()}
    return experiments.Study(parts, None, SETTINGS, tmp_path_factory.mktemp("others"), seed=7)


def of_patients(scan, *patients):
    return [
        dataclasses.replace(
            scan, raw=dataclasses.replace(scan.raw, name=f"{i}", patient_id=patient)
        )
        for i, patient in enumerate(patients)
    ]


@pytest.mark.parametrize(
    ("patients", "expected"),
    [
        ("", []),
        ("aaa", []),
        ("ab", ["a", "b"]),
        ("abab", ["aa", "bb"]),
        ("abc", ["a", "b", "c"]),
        ("abcdefg", ["adg", "be", "cf"]),
    ],
)
def test_scans_are_dealt_by_patient(study, patients, expected):
    folds = other_scans.folds(of_patients(study["test"][0], *patients))
    assert ["".join(scan.raw.patient_id for scan in fold) for fold in folds] == expected


def test_networks_learn_from_all_other_patients_and_from_none_of_the_test(study, tiny):
    scans = of_patients(study["test"][0], *"abcab")
    test = heads.HeadTest(scans, 4, 0.04, (1,))
    tested = []
    for fold, cells in other_scans.tests_and_cells(tiny, test, [4], [1, 2]):
        held_back = {scan.raw.patient_id for scan in fold.scans}
        assert [cell.seed for cell in cells] == [1, 2]
        for cell in cells:
            assert cell.training.settings.global_phases
            (data,) = cell.training.data
            learned = {scan.raw.patient_id for scan in data.volumes}
            assert learned == {"a", "b", "c"} - held_back
        tested += [scan.raw.name for scan in fold.scans]
    assert sorted(tested) == ["0", "1", "2", "3", "4"]


def test_rows_are_those_of_every_scan_under_every_seed(study, tiny):
    scans = [study["test"][0], study["train"][1]]
    assert scans[0].raw.patient_id != scans[1].raw.patient_id
    test = heads.HeadTest(scans, 4, 0.04, (1,))
    rows, results = other_scans.run(tiny, test, [4], [1, 2])
    assert len(results) == 4  # two folds, two seeds
    assert all(result["history"] for result in results)
    places = sorted((row["scan"], row["seed"]) for row in rows)
    assert places == sorted((scan.name, seed) for scan in scans for seed in (1, 2))
    names = other_scans.sources(rows, ["zero"])
    assert names == [experiments.OTHER_SCANS, "zero"]
    assert experiments.label(names[0]) == "Other measured scans"
    assert other_scans.sources([], ["zero"]) == ["zero"]
    alone = heads.HeadTest(scans[:1], 4, 0.04, (1,))
    assert other_scans.run(tiny, alone, [4], [1]) == ([], [])


def test_it_says_how_much_was_learned_from(study):
    scans = of_patients(study["test"][0], *"aab")
    n = scans[0].n_slices
    counts = f"1 scans ({n} slices), 2 scans ({2 * n} slices)"
    assert f"2 folds of patients learned from {counts}" in other_scans.learned_sentence(scans)
    assert other_scans.learned_sentence(scans[:2]) == ""


def test_scans_that_name_no_patient_count_each_for_itself(study):
    scans = of_patients(study["test"][0], "unknown", "", "b", "b", "Anonymous")
    folds = other_scans.folds(scans)
    assert [len(fold) for fold in folds] == [2, 1, 2]
    (both,) = [fold for fold in folds if any(scan.raw.patient_id == "b" for scan in fold)]
    assert [scan.raw.patient_id for scan in both] == ["b", "b"]
