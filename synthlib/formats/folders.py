"""Folders of raw files: found, opened, chosen by contrast and coils."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from synthlib.formats.fastmri_hdf5 import read_raw
from synthlib.records import MADE_BY_US, RawVolume


def raw_files(folder: str | Path) -> list[Path]:
    """Every .h5 file of a folder and its subfolders, sorted by name; none is opened."""
    paths = sorted(Path(folder).rglob("*.h5"), key=lambda path: (path.stem, path))
    return [path for path in paths if not path.name.startswith(".")]  # a file under way


def find_raw(
    folder: str | Path,
    *,
    contrasts: Iterable[str] = (),
    n_coils: int | None = None,
    skip_broken: bool = False,
) -> list[RawVolume]:
    """Open every .h5 file below a folder, sorted by name.

    Args:
        folder: searched with its subfolders (multicoil_train, multicoil_val ...).
        contrasts: keep these acquisition labels, for example ("AXT1", "AXT2"); none: all.
        n_coils: keep this number of coils; None: all, as long as they agree.
        skip_broken: warn about files that cannot be used instead of stopping.

    Raises:
        FileNotFoundError: no such folder, or no file in it that fits.
        ValueError: broken files (all are named), files of one name, or coil
            counts that differ where none was chosen.
    """
    folder = Path(folder)
    paths = raw_files(folder)
    if not paths:
        what = "has no .h5 file" if folder.is_dir() else "is not a folder"
        raise FileNotFoundError(
            f"{folder} {what}; expected a folder of fastMRI HDF5 files. "
            'Check the path, or use data = "simulated" for the embedded scanner.'
        )
    volumes, broken, padded = [], [], []
    for path in paths:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                volume = read_raw(path)
            except ValueError as error:
                broken.append(str(error))
            else:
                if volume.synthetic:
                    broken.append(f"{path.name}: {MADE_BY_US}; expected measured k-space")
                else:
                    volumes.append(volume)
        padded += [str(warning.message) for warning in caught]
    if broken:
        text = f"{len(broken)} of {len(paths)} files cannot be used:\n  " + "\n  ".join(broken)
        if not skip_broken:
            raise ValueError(f"{text}\nMove them away, or set skip_broken to leave them out.")
        warnings.warn(text, stacklevel=2)
    if padded:
        more = f" (and {len(padded) - 1} more files like it)" if len(padded) > 1 else ""
        warnings.warn(padded[0] + more, stacklevel=2)
    return _choose(volumes, folder.name, tuple(contrasts), n_coils)


def _choose(
    volumes: list[RawVolume], folder: str, contrasts: tuple[str, ...], n_coils: int | None
) -> list[RawVolume]:
    there = Counter((volume.contrast, volume.n_coils) for volume in volumes)
    kept = [
        volume
        for volume in volumes
        if (not contrasts or volume.contrast in contrasts) and n_coils in (None, volume.n_coils)
    ]
    listing = ", ".join(
        f"{n} x {label} {coils} coils" for (label, coils), n in sorted(there.items())
    )
    if not kept:
        wanted = f"contrasts {list(contrasts) or 'any'} with {n_coils or 'any number of'} coils"
        raise FileNotFoundError(
            f"no file in {folder} has {wanted}; there are: {listing or 'none'}. "
            "Choose contrasts and coil counts that are there."
        )
    if len({volume.n_coils for volume in kept}) > 1:
        raise ValueError(
            f"files in {folder} mix coil counts: {listing}. One network is trained for one count: "
            "choose it with n_coils (coil_counts in a params file)."
        )
    twice = [name for name, n in Counter(volume.name for volume in kept).items() if n > 1]
    if twice:
        raise ValueError(
            f"{len(twice)} file names in {folder} occur twice, for example {twice[0]}.h5; "
            "names must be unique because results are filed under them. Rename one of each."
        )
    return kept
