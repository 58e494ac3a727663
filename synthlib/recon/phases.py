"""Write every source's phase for the scans that the networks learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from synthlib import pairs, runs, tasks
from synthlib.formats import prepared_hdf5
from synthlib.phase import sources


def write_phases(
    source: str,
    volumes: Sequence[pairs.PreparedVolume],
    context: sources.Context,
    folder: Path,
    *,
    seed: int,
    depends_on: Sequence[str] = (),
) -> Path:
    """One file per scan with `phase` (slice, y, x); files that are current stay.

    Args:
        source: a name of phase.sources.REGISTRY.
        volumes: scans to write phase for.
        context: what the source draws on.
        folder: its subfolder of the source's name is filled.
        seed: of all draws.
        depends_on: hashes of what the context was made from (weights, donors).

    Returns:
        The subfolder.
    """
    sources.require_known([source])
    code = runs.code_fingerprint("phase", "arrays", "pairs", "metrics", "tasks")
    target = folder / source
    todo = []
    for volume in volumes:
        key = runs.fingerprint(source, seed, volume.fingerprint, list(depends_on), code)
        path = target / f"{volume.name}.h5"
        if prepared_hdf5.read_attributes(path).get("key") != key:
            todo.append((volume, path, key))
    with tasks.Progress(f"{source} phase of scans", len(todo), leave=False) as progress:
        for volume, path, key in todo:
            phase = torch.stack(
                [
                    sources.write(source, volume.pair(index), context, seed=seed)
                    for index in range(volume.n_slices)
                ]
            )
            record = runs.make_record(
                {"source": source, "seed": seed, "depends_on": list(depends_on)},
                {volume.name: volume.source_sha256},
            )
            prepared_hdf5.write(path, {"phase": phase}, {"key": key, "record": record})
            progress.step()
    return target


def fingerprint(folder: Path, volumes: Sequence[pairs.PreparedVolume]) -> str:
    """Changes when any of the phases does."""
    return runs.fingerprint(
        [prepared_hdf5.read_attributes(folder / f"{v.name}.h5").get("key") for v in volumes]
    )
