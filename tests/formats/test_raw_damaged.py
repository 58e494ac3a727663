"""Damaged raw data of every format: each ends in a message or in a volume that can be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import damaged_raw
import pytest

from synthlib import formats, runs

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


def test_no_reader_of_fastmri_files_goes_round_in_a_damaged_heap(tmp_path):
    """The first entry of a heap says that it has no length; each reader in a process of its own."""
    path = damaged_raw.sources(tmp_path)["fastmri"][0]
    data = bytearray(path.read_bytes())
    place = data.index(b"GCOL") + 16
    data[place : place + 16] = bytes(16)
    path.write_bytes(data)
    script = (
        "import sys; from synthlib import archive, formats; "
        "from synthlib.formats import fastmri_images, refusals\n"
        "assert formats.read_label(sys.argv[1]) is None\n"
        "try: fastmri_images.read_volume(sys.argv[1])\n"
        "except refusals.Refusal as refusal: assert 'damaged' in str(refusal), refusal\n"
        "else: raise AssertionError\n"
        "found = archive.find([sys.argv[1]], salt=b'0123456789abcdef')\n"
        "assert not found.series, found"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=60)


def test_endings_in_capitals_are_the_same_formats(tmp_path):
    path = damaged_raw.sources(tmp_path)["npy"][0]
    path.rename(path.with_suffix(".NPY"))
    names = [path.name for path in formats.raw_files(tmp_path)]
    assert "npy.NPY" in names
    assert formats.read_raw(tmp_path / "npy.NPY").n_coils == 3
