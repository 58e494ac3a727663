"""More than 500 damaged inputs: each ends in a reason or in a volume that others read alike."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import mutator
import pytest
import run_cases

from synthlib import runs

SEED = 6
N_PROCESSES = 3
PEAK_MIB, ALL_S = 2048, 90


@pytest.fixture(scope="module")
def outcomes(real, tmp_path_factory) -> list[dict]:
    """What the processes told of each case, run one after the other in an empty folder."""
    n_cases = len(mutator.cases(real))
    at = [n_cases * k // N_PROCESSES for k in range(N_PROCESSES + 1)]
    told: list[dict] = []
    for first, last in itertools.pairwise(at):
        folder, home = (tmp_path_factory.mktemp(name) for name in ("cases", "home"))
        command = [sys.executable, run_cases.__file__, real, folder, first, last, SEED]
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            timeout=10 * ALL_S,
            cwd=home,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(runs.project_root())},
        )
        lines = list(run_cases.outcomes(done.stdout))
        told += [line for line in lines if "begin" not in line]
        assert done.returncode == 0, (lines[-1], done.stderr[-2000:])  # a hang, or a crash
        assert not list(home.iterdir())  # nothing is written beside the inputs either
    return told


def test_more_than_five_hundred_were_made_and_damaged_files_of_every_kind_stay_whole(outcomes):
    assert len(outcomes) > 500
    assert len({told["case"].split()[0] for told in outcomes}) > 40


def test_each_ends_in_a_clear_reason_or_in_a_correct_volume(outcomes):
    failures = [(told["case"], told["failure"]) for told in outcomes if "failure" in told]
    assert failures == []
    silent = [told["case"] for told in outcomes if not told["texts"] and not told["volumes"]]
    assert silent == []
    assert sum(told["volumes"] > 0 for told in outcomes) > 50  # they are not simply refused
    assert sum(bool(told["texts"]) for told in outcomes) > 250


def test_reasons_name_the_input_and_tell_no_path(outcomes):
    texts = [text for told in outcomes for text in told["texts"]]
    assert all(text.startswith("input 1") for text in texts)
    for part in ("/", ".dcm", ".nii", ".h5", ".png", "Errno", "Error", "<"):
        found = [text for text in texts if part in text.replace("h5py", "")]
        assert found == [], part


def test_none_hangs_swells_or_writes(outcomes):
    assert max(told["seconds"] for told in outcomes) < run_cases.LIMIT_S
    assert max(told["peak_mib"] for told in outcomes) < PEAK_MIB
    assert all(told["untouched"] for told in outcomes)
    assert sum(told["seconds"] for told in outcomes) < ALL_S


def test_what_lies_around_the_image_does_not_matter(outcomes, real):
    whole = {told["case"]: told for told in outcomes if "sum" in told}
    assert set(whole) == {
        "dicom0 longer", "dicom0 preamble", "nifti longer", "hdf5 longer",
    }  # fmt: skip
    assert whole["dicom0 longer"]["sum"] == whole["dicom0 preamble"]["sum"]
    assert all(told["volumes"] == 1 and not told["texts"] for told in whole.values())
