"""Damaged raw data of every format: each ends in a message or in a volume that can be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import damaged_raw
import pytest

from synthlib import runs

SEED, TIMES = 16, 4
LIMIT_S, PEAK_MIB = 5, 1024


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("damaged")
    command = [sys.executable, damaged_raw.__file__, folder, SEED, TIMES]
    paths = os.pathsep.join([str(runs.project_root()), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1], done.stderr[-2000:])  # HDF5 took the process down
    return [line for line in lines if "case" in line]


def test_no_damage_raises_what_is_not_told(outcomes):
    assert len(outcomes) == 7 * len(damaged_raw.DAMAGES) * TIMES
    failures = [(line["case"], line["failure"]) for line in outcomes if "failure" in line]
    assert failures == []
    assert sum("read" in line for line in outcomes) > 30  # they are not simply refused
    assert sum("text" in line for line in outcomes) > 80


def test_messages_name_the_file_and_say_what_to_do(outcomes):
    kinds = ("mrd", "npy", "cfl", "meas", "vb", "vd", "fastmri")
    texts = [line["text"] for line in outcomes if "text" in line]
    assert [text for text in texts if not text.lstrip().startswith(kinds)] == []
    assert [text for text in texts if "xpected" not in text and "need" not in text] == []


def test_none_hangs_or_swells(outcomes):
    assert max(line["seconds"] for line in outcomes) < LIMIT_S
    assert max(line["peak_mib"] for line in outcomes) < PEAK_MIB
