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

from synthlib import bank, coils, datasets, formats, likeness, pairs, scanner, tasks
from synthlib.bank import building
from synthlib.phase import polynomial, sources, training

# Odd, unequal sizes; five slices are two blocks of coil maps, estimated at the same time.
SETTINGS = scanner.ScanSettings(
    n_subjects=2, n_slices=5, matrix=(45, 38), coil_counts=(3,), contrasts=("AXFLAIR",), seed=3
)
TRAINING = training.GanSettings(ngf=4, ndf=4, depth=5, epochs=1, accelerator="cpu")
Arrays = dict[str, np.ndarray]


def main(folder: Path, threads: int, workers: int, backwards: bool) -> None:
    """Make everything below `folder` and print {name: hash}; with more workers the scans only."""
    torch.set_num_threads(threads)
    turn = reversed if backwards else list
    if backwards:  # other work came before
        image = torch.randn(1, 3, 77, 50, requires_grad=True)
        torch.nn.functional.conv2d(image, torch.randn(5, 3, 3, 3)).square().sum().backward()
    people = list(turn(scanner.subjects(SETTINGS)))
    scan = partial(datasets._scan_to_files, folder=folder, settings=SETTINGS)
    tasks.run_all(scan, people, label="scans", workers=workers)
    paths = [folder / f"{one.patient_id}_AXFLAIR.h5" for one in people]
    kept = {path.stem: arrays_of(path) for path in paths}
    if workers == 1:
        ready = pairs.prepare([formats.read_raw(path) for path in paths], folder / "prepared")
        kept |= {f"pairs of {one.name}": arrays_of(one.path) for one in ready}
        kept |= {f"maps of {one.name}": arrays_of(one.map_file.path) for one in ready}
        ready.sort(key=lambda volume: volume.name)
        steps = {"network": phases, "donor": donor, "portrait": portrait}
        for name in turn(steps):
            kept[name] = steps[name](ready, folder)
    assert torch.get_num_threads() == threads
    hashes = {
        f"{file}: {name}": hashlib.sha256(array.tobytes()).hexdigest()
        for file, arrays in kept.items()
        for name, array in arrays.items()
    }
    print(json.dumps(hashes))


def phases(ready: list[pairs.PreparedVolume], folder: Path) -> Arrays:
    """Weights of a generator, phases of all sources, a fitted surface."""
    generator = training.train(training.Job(ready, [], folder / "gan", TRAINING))
    slices = pairs.all_pairs(ready)
    context = sources.Context(generator, ready, polynomial.fit_statistics(slices))
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


def hashes_of_a_process(folder: Path, *, threads: int, workers: int, backwards: bool) -> dict:
    arguments = [str(folder), str(threads), str(workers), str(int(backwards))]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Hashes of one thread, from the first piece of work to the last."""
    folder = tmp_path_factory.mktemp("one thread")
    return hashes_of_a_process(folder, threads=1, workers=1, backwards=False)


def test_three_threads_and_the_other_order_give_the_same_bytes(expected, tmp_path):
    hashes = hashes_of_a_process(tmp_path, threads=3, workers=1, backwards=True)
    assert hashes.keys() == expected.keys()
    assert not [name for name in hashes if hashes[name] != expected[name]]


def test_two_workers_scan_the_same_bytes(expected, tmp_path):
    hashes = hashes_of_a_process(tmp_path, threads=2, workers=2, backwards=False)
    assert len(hashes) > 20
    assert not [name for name in hashes if hashes[name] != expected[name]]


def test_every_kind_of_what_is_kept_is_compared(expected):
    names = "\n".join(expected)
    for kind in ("kspace", "truth/phase", "reconstruction_rss", "pairs of sim", "maps of sim"):
        assert kind in names
    for kind in ("network: up.0.1.weight", "network: gan", "network: polynomial", "donor: maps"):
        assert kind in names
    assert len(set(expected.values())) > 50  # no hash of empty arrays


if __name__ == "__main__":
    where, n_threads, n_workers, in_reverse = sys.argv[1:]
    main(Path(where).resolve(), int(n_threads), int(n_workers), bool(int(in_reverse)))
