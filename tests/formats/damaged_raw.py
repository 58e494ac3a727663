"""Damage raw data files of every format in many ways, and say how each attempt to read them ends.

A script of its own, for damaged HDF5 can take an interpreter down:
    python damaged_raw.py FOLDER SEED TIMES
prints one JSON line a case.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from line_files import Line, kspace_lines, random_kspace, write_mrd
from test_array_reader import write_pair
from test_twix import write_vb, write_vd

from synthlib import formats
from synthlib.formats import fastmri_hdf5
from tests.peak_memory import peak_mib

EXPECTED = (ValueError, OSError)


def sources(folder: Path) -> dict[str, list[Path]]:
    """Files by their kind, all of one small scan."""
    kspace = random_kspace((2, 3, 20, 11))
    lines = kspace_lines(kspace)
    noise = [Line(kspace[0, :, :, 0], flags=("IS_NOISE_MEASUREMENT",))]
    write_mrd(folder / "mrd.mrd", noise + lines, (20, 11, 1), recon=(10, 11, 1))
    np.save(folder / "npy.npy", kspace)
    write_pair(folder / "cfl", {0: 20, 1: 11, 3: 3, 13: 2})
    changes = {"centre": (10, 5, 0), "base": 10, "lines": 11}
    write_vb(folder / "vb.dat", lines, **changes)
    write_vd(folder / "vd.dat", [lines, lines])
    fastmri_hdf5.write_raw(
        folder / "fastmri.h5",
        torch.from_numpy(kspace),
        contrast="AXT2",
        patient_id="p",
        recon_shape=(10, 11),
    )
    return {
        "mrd": [folder / "mrd.mrd"], "npy": [folder / "npy.npy"],
        "cfl": [folder / "cfl.cfl", folder / "cfl.hdr"], "vb": [folder / "vb.dat"],
        "vd": [folder / "vd.dat"], "fastmri": [folder / "fastmri.h5"],
    }  # fmt: skip


def cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(0, len(data)))]


def flipped(data: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(0, len(data), 12):
        data[place] ^= 1 << int(rng.integers(8))
    return data


def flipped_early(data: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(0, min(len(data), 2048), 4):
        data[place] ^= 1 << int(rng.integers(8))
    return data


def blanked(data: bytearray, rng: np.random.Generator) -> bytearray:
    start, n = int(rng.integers(len(data))), int(rng.integers(1, 3000))
    data[start : start + n] = bytes(len(data[start : start + n]))
    return data


def scrambled(data: bytearray, rng: np.random.Generator) -> bytearray:
    start, n = int(rng.integers(len(data))), int(rng.integers(1, 400))
    data[start : start + n] = rng.bytes(len(data[start : start + n]))
    return data


def cut_out(data: bytearray, rng: np.random.Generator) -> bytearray:
    start, n = int(rng.integers(len(data))), int(rng.integers(1, 300))
    return data[:start] + data[start + n :]


def large_numbers(data: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(0, max(1, len(data) - 8), 6):
        data[place : place + 4] = b"\xff\xff\xff\x7f"
    return data


def digits(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Numbers in texts (XML, protocols, .hdr) become others."""
    places = [k for k in range(min(len(data), 40_000)) if chr(data[k]).isdigit()]
    for place in rng.choice(places, min(3, len(places)), replace=False) if places else ():
        data[place] = ord("0") + int(rng.integers(10))
    return data


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], bytearray], ...] = (
    cut, flipped, flipped_early, blanked, scrambled, cut_out, large_numbers, digits,
)  # fmt: skip


def attempt(path: Path) -> dict[str, object]:
    """Open and read everything; what came of it."""
    begin = time.monotonic()
    outcome: dict[str, object] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            n_volumes = formats.n_volumes(path)
            for number in range(min(n_volumes, 2)):
                volume = formats.read_raw(path, undersampled=True, number=number)
                for index in range(volume.n_slices):
                    volume.coil_images(index)
                    volume.calibration_signal(index)
        outcome["read"] = n_volumes
    except EXPECTED as error:
        outcome["text"] = str(error)
    except Exception:
        outcome["failure"] = traceback.format_exc()[-1500:]
    outcome["seconds"] = time.monotonic() - begin
    return outcome


def main(folder: Path, seed: int, times: int) -> None:
    whole = folder / "whole"
    whole.mkdir()
    for kind, paths in sources(whole).items():
        for path in paths:
            for damage in DAMAGES:
                for k in range(times):
                    rng = np.random.default_rng([seed, len(kind), len(path.suffix), k])
                    case = f"{kind} {path.suffix} {damage.__name__} {k}"
                    print(json.dumps({"begin": case}), flush=True)
                    target = folder / "case"
                    target.mkdir()
                    for other in paths:
                        (target / other.name).write_bytes(other.read_bytes())
                    data = damage(bytearray(path.read_bytes()), rng)
                    (target / path.name).write_bytes(data)
                    outcome = attempt(target / paths[0].name)
                    peak = peak_mib()
                    print(json.dumps({"case": case, "peak_mib": peak, **outcome}), flush=True)
                    for file in target.iterdir():
                        file.unlink()
                    target.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
