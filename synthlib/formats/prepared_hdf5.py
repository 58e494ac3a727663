"""What this project keeps between runs: named arrays of slices, and a JSON of attributes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import torch
from torch import Tensor

from synthlib.formats import hdf5


class Blocks:
    """A file under way, whose arrays are filled from the first slice to the last."""

    def __init__(self, file: h5py.File, n_slices: int) -> None:
        self._file, self._n_slices = file, n_slices

    def put(self, first: int, arrays: Mapping[str, Tensor]) -> None:
        """Slices from `first` on of some arrays, whose leading axis is that of the slices."""
        for name, array in arrays.items():
            values = array.numpy(force=True)
            shape = (self._n_slices, *values.shape[1:])
            stored = self._file.require_dataset(name, shape, values.dtype)
            stored[first : first + len(values)] = values

    def describe(self, attributes: Mapping[str, object]) -> None:
        """What :func:`read_attributes` gives back; once per file."""
        self._file.attrs["json"] = json.dumps(attributes, sort_keys=True, default=str)


@contextmanager
def blocks(path: str | Path, n_slices: int) -> Iterator[Blocks]:
    """Write a file block by block; it is there in one atomic step when the block of code ends well.

    Raises:
        OSError: no space is left; nothing half-written stays.
    """
    with hdf5.atomic_file(path) as file:
        yield Blocks(file, n_slices)


def write(path: str | Path, arrays: Mapping[str, Tensor], attributes: Mapping[str, object]) -> None:
    """Write named arrays and a JSON of attributes in one atomic step."""
    with hdf5.atomic_file(path) as file:
        for name, array in arrays.items():
            file[name] = array.numpy(force=True)
        Blocks(file, 0).describe(attributes)


def read_attributes(path: str | Path) -> dict[str, Any]:
    """The attributes of a file; empty if there is no such file or it is no longer readable."""
    try:
        with hdf5.open_whole(path) as file:
            return json.loads(file.attrs["json"])
    except (OSError, RuntimeError, KeyError, ValueError):
        return {}


def is_foreign(path: str | Path) -> bool:
    """Whether there is an HDF5 file that was not written here: somebody's data, no leftover."""
    try:
        with h5py.File(path, "r") as file:
            return "json" not in file.attrs
    except OSError:
        return False


def read(path: str | Path, name: str, index: int | None = None) -> Tensor:
    """One array, or one slice of it.

    Raises:
        ValueError: the file was damaged after it was made; it says to delete it.
    """
    try:
        with h5py.File(path, "r") as file:
            return torch.from_numpy(file[name][()] if index is None else file[name][index])
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{Path(path).name}: {name} cannot be read back ({error}). Delete this file and run "
            "again; it will be made anew."
        ) from error
