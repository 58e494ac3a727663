"""Same seed, same bytes: with any number of threads and workers, in any order, whatever ran before.

Run as a script, this file makes what is kept and prints a hash of every array; the tests below
do so in fresh processes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from synthlib import (
    bank,
    coils,
    datasets,
    formats,
    likeness,
    mapstore,
    pairs,
    phase,
    scanner,
    tasks,
)
from synthlib.bank import building
from synthlib.phase import polynomial, sources, training
from synthlib.records import RawVolume

# Odd, unequal sizes; five slices are two blocks of coil maps, estimated at the same time.
SETTINGS = scanner.ScanSettings(
    n_subjects=2, n_slices=5, matrix=(45, 38), coil_counts=(3,), contrasts=("AXFLAIR",), seed=3
)
TRAINING = training.GanSettings(ngf=4, ndf=4, depth=5, epochs=1, accelerator="cpu")
Arrays = dict[str, np.ndarray]


def main(folder: Path, threads: int, backwards: bool) -> None:
    """Make everything below `folder` and print {name: hash}."""
    torch.set_num_threads(threads)
    turn = reversed if backwards else list
    if backwards:  # other work came before
        image = torch.randn(1, 3, 77, 50, requires_grad=True)
        torch.nn.functional.conv2d(image, torch.randn(5, 3, 3, 3)).square().sum().backward()
    people = list(turn(scanner.subjects(SETTINGS)))
    scan = partial(datasets._scan_to_files, folder=folder, settings=SETTINGS)
    tasks.run_all(scan, people, label="scans")
    ready = pairs.prepare(raw_files(folder, people), folder / "prepared")
    ready.sort(key=lambda volume: volume.name)
    kept = {}
    for one in ready:
        kept[f"scan {one.name}"] = arrays_of(Path(one.raw.source))
        kept[f"pairs {one.name}"] = arrays_of(one.path)
        kept[f"maps {one.name}"] = arrays_of(one.map_file.path)
    steps = {"network": phases, "donor": donor, "portrait": portrait}
    for name in turn(steps):
        kept[name] = steps[name](ready, folder)
    assert torch.get_num_threads() == threads
    print(json.dumps({key: hashes(arrays) for key, arrays in kept.items()}))


def raw_files(folder: Path, people: list[scanner.Subject]) -> list[RawVolume]:
    return [formats.read_raw(folder / f"{one.patient_id}_AXFLAIR.h5") for one in people]


def hashes(arrays: Arrays) -> dict[str, str]:
    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}


def phases(ready: list[pairs.PreparedVolume], folder: Path) -> Arrays:
    """Weights of a generator, phases of all sources, a fitted surface."""
    generator = training.train(training.Job(ready, [], folder / "gan", TRAINING))
    slices = pairs.all_pairs(ready)
    flow = phase.load("flow-head-v1")
    context = sources.Context(generator, ready, polynomial.fit_statistics(slices), flow)
    return {
        **{name: value.numpy() for name, value in generator.network.state_dict().items()},
        **{
            name: sources.write(name, slices[2], context, seed=1).numpy()
            for name in sources.REGISTRY
        },
        "surface": polynomial.surface_fit(slices[2].phase, slices[2].magnitude).numpy(),
    }


def donor(ready: list[pairs.PreparedVolume], folder: Path) -> Arrays:
    """A donor of the coil bank."""
    path, place = folder / "donor.h5", bank.Place("axial", "head", 5.0)
    settings = coils.EspiritSettings()
    building.make(path, ready[0].raw, settings=settings, place=place, name="donor", key="key")
    return arrays_of(path)


def portrait(ready: list[pairs.PreparedVolume], folder: Path) -> Arrays:
    """The statistics of one slice, to the last digit."""
    numbers = dataclasses.asdict(likeness.portrait(ready[1].raw, 2))
    return {name: np.array(repr(value)) for name, value in numbers.items()}


def arrays_of(path: Path) -> Arrays:
    """All data sets of an HDF5 file."""
    datasets_of: dict[str, h5py.Dataset] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, entry: (
                datasets_of.update({name: entry}) if isinstance(entry, h5py.Dataset) else None
            )
        )
        return {name: np.asarray(entry[()]) for name, entry in datasets_of.items()}


def made_in_a_process(folder: Path, *, threads: int, backwards: bool) -> dict:
    arguments = [str(folder), str(threads), str(int(backwards))]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the process of one thread writes."""
    return tmp_path_factory.mktemp("one_thread")


@pytest.fixture(scope="module")
def expected(folder):
    """Hashes of one thread, from the first piece of work to the last."""
    return made_in_a_process(folder, threads=1, backwards=False)


def test_three_threads_and_the_other_order_give_the_same_bytes(expected, tmp_path):
    made = made_in_a_process(tmp_path, threads=3, backwards=True)
    assert made.keys() == expected.keys()
    for key, arrays in expected.items():
        assert made[key] == arrays, f"{key} differs"


def test_two_workers_estimate_the_same_maps(folder, expected, tmp_path):
    volumes = raw_files(folder, scanner.subjects(SETTINGS))
    store = mapstore.build(volumes, tmp_path, workers=2)
    for file in store.files:
        assert hashes(arrays_of(file.path)) == expected[f"maps {file.name}"]
    assert len(store.files) == len(volumes) == 2


def test_every_kind_of_what_is_kept_is_compared(expected):
    kinds = {"scan sim-03coil-001_AXFLAIR", "pairs sim-03coil-002_AXFLAIR", "network", "donor"}
    assert kinds < expected.keys()
    scan = expected["scan sim-03coil-001_AXFLAIR"]
    assert {"kspace", "reconstruction_rss", "truth/phase"} < scan.keys()
    assert {"gan", "polynomial", "up.0.1.weight", "surface"} < expected["network"].keys()


if __name__ == "__main__":
    where, n_threads, in_reverse = sys.argv[1:]
    main(Path(where).resolve(), int(n_threads), bool(int(in_reverse)))
