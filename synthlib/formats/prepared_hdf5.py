"""Prepared volumes: magnitude, phase and coil maps of one scan, as this project keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import torch
from torch import Tensor

from synthlib.formats import hdf5


def write(path: str | Path, arrays: Mapping[str, Tensor], attributes: Mapping[str, object]) -> None:
    """Write named arrays and a JSON of attributes in one atomic step."""
    with hdf5.atomic_file(path) as file:
        for name, array in arrays.items():
            file[name] = array.numpy(force=True)
        file.attrs["json"] = json.dumps(attributes, sort_keys=True, default=str)


def read_attributes(path: str | Path) -> dict[str, Any]:
    """The attributes of a file; empty if there is no such file or it is no longer readable."""
    try:
        with h5py.File(path, "r") as file:
            return json.loads(file.attrs["json"])
    except (OSError, KeyError, ValueError):
        return {}


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
