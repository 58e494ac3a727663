"""HDF5 files that are whole or not there."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from synthlib import runs
from synthlib.formats import foreign, hdf5_heaps

SIGNATURE = b"\x89HDF\r\n\x1a\n"


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


def open_whole(path: str | Path) -> h5py.File:
    """A file to read, whose texts can be read: in some damaged heaps HDF5 goes round for ever.

    Raises:
        OSError, RuntimeError, KeyError: it is damaged, or HDF5 cannot open it.
    """
    if not hdf5_heaps.are_whole(path):
        raise OSError(f"{Path(path).name}: a heap of texts is damaged")
    return h5py.File(path, "r")


def unreadable(path: str | Path, error: OSError) -> ValueError:
    """Why HDF5 cannot open a file, which its library calls truncated whatever it is.

    Args:
        path: of a file that is there.
        error: as h5py raised it.

    Returns:
        An error that says whether it is locked, of another format, or damaged.
    """
    name = Path(path).name
    try:
        with Path(path).open("rb") as file:
            start = file.read(1024)
    except PermissionError:
        return ValueError(
            f"{name}: it may not be opened. Expected a file that you may read; change its "
            "permissions (chmod u+r), or leave it out."
        )
    except OSError as disk:
        return ValueError(f"{name}: the disk cannot read it ({disk.strerror}); leave it out.")
    if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
        return ValueError(
            f"{name}: another program holds it open and has locked it. Expected a file at rest; "
            "close it there, or wait until it is written, or leave it out."
        )
    if start and not start.startswith(SIGNATURE):
        what = foreign.any_name(start) or "of another format, not HDF5"
        return ValueError(
            f"{name}: it is {what}. Expected a fastMRI file (HDF5); leave it out, or export "
            "its k-space."
        )
    return ValueError(
        f"{name}: {'it is truncated or damaged' if start else 'it is empty'}. Expected whole "
        "HDF5 (fastMRI or MRD). Download or export it again, or leave it out."
    )
