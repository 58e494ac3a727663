"""All damaged inputs in one archive, through the whole command as it is typed."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import warnings

import h5py
import mutator
import numpy as np
import pytest

from synthlib import runs

SEED = 6
TYPED = """
import sys
from synthlib import cli
from tests.peak_memory import peak_mib
status = cli.main()
print("peak", peak_mib())
sys.exit(status)
"""
PEAK_MIB = 2048


@pytest.fixture(scope="module")
def run(real, tmp_path_factory):
    """The folder, what was typed out, and the rows of the report."""
    folder = tmp_path_factory.mktemp("archive")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom complains, rightly, of what we write
        for number, case in enumerate(mutator.cases(real)):
            place = folder / "in" / f"{number:03d}"
            place.mkdir(parents=True)
            case.build(place, np.random.default_rng([SEED, number]))
    command = [sys.executable, "-c", TYPED, "synthesize", "in", "--out", "out"]
    command += ["--generator", "zero", "--coils", "4", "--spacing", "1", "1"]
    environment = {"XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": str(runs.project_root())}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=900,
        env={**os.environ, **environment},
    )  # fmt: skip
    done.stdout, _, peak = done.stdout.rpartition("peak ")
    (folder / "peak").write_text(peak)
    with (folder / "out" / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    return folder, done, rows


def test_the_command_goes_through_and_tells_each_reason(run):
    _, done, rows = run
    assert done.returncode == 1 and "Traceback" not in done.stderr + done.stdout
    made = [row for row in rows if row["status"] == "made"]
    aside = [row for row in rows if row["status"] == "set aside"]
    assert len(made) > 50 and len(aside) > 100 and len(made) + len(aside) == len(rows)
    assert all(row["reason"] and row["input"].startswith("input 1, file") for row in aside)
    assert [row["reason"] for row in rows if "unexpected" in row["reason"]] == []


def test_what_was_made_is_whole_and_nothing_else_is_there(run):
    folder, _, rows = run
    made = [row for row in rows if row["status"] == "made"]
    files = sorted((folder / "out" / "multicoil").iterdir())
    assert sorted(row["series"] + ".h5" for row in made) == [path.name for path in files]
    for path in files:
        with h5py.File(path) as file:
            kspace, rss = file["kspace"][()], file["reconstruction_rss"][()]
            assert bool(file.attrs["SYNTHETIC"])
        assert np.isfinite(kspace).all() and np.isfinite(rss).all() and rss.max() > 0
    assert {path.name for path in (folder / "out").iterdir()} == {
        ".synthlib", "multicoil", "report.csv", "report.html",
    }  # fmt: skip


def test_it_takes_no_more_memory_than_a_laptop_has(run):
    assert 100 < float((run[0] / "peak").read_text()) < PEAK_MIB
