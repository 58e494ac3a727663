"""HDF5 whose heap of texts is damaged: HDF5 itself would go round in it for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from synthlib import formats, runs
from synthlib.formats import prepared_hdf5

READERS = {
    "label": "from synthlib import formats as f; assert f.read_label(path) is None",
    "kept": "from synthlib.formats import prepared_hdf5 as p; assert p.read_attributes(path) == {}",
    "donor": "from synthlib import bank\ntry: bank.Donor.open(path)\nexcept ValueError: pass",
    "images": "from synthlib.formats import fastmri_images as f, refusals\n"
    "try: f.read_volume(path)\nexcept refusals.Refusal: pass",
    "archive": "from synthlib import archive; found = archive.find([path], salt=b'0' * 32)\n"
    "assert 'damaged' in found.set_aside[0].reason",
    "kind": "from synthlib.formats import reading; reading.kind_of(path)",
}


def damage(path: Path) -> None:
    """Take the length from the first entry of the first heap."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"GCOL") + 16
    data[entry : entry + 16] = bytes(16)
    path.write_bytes(data)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("maker", ["fastmri", "prepared"])
def test_a_damaged_heap_stops_no_reader(tmp_path, reader, maker):
    path = tmp_path / "scan.h5"
    if maker == "fastmri":
        kspace = torch.randn((2, 3, 20, 11), dtype=torch.complex64, generator=runs.rng(2, "heap"))
        formats.write_raw(path, kspace, contrast="AXT2", patient_id="p", recon_shape=(20, 11))
    else:
        prepared_hdf5.write(path, {"maps": torch.ones(2, 3)}, {"fingerprint": "f"})
    damage(path)
    code = f"from pathlib import Path\npath = Path({str(path)!r})\n{READERS[reader]}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
