"""HDF5 files that are whole or not there."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from synthlib import runs


@contextmanager
def atomic_file(path: str | Path) -> Iterator[h5py.File]:
    """A new HDF5 file, built in memory and put on the disk in one plain, atomic step.

    HDF5 keeps unwritten pieces of its own; when the disk is full it fails while
    the file is being closed, which can take the interpreter down. Memory for
    one copy of the file is the price.

    Raises:
        OSError: no space is left; nothing half-written stays.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        yield file
    runs.write_bytes(path, memory.getbuffer())
