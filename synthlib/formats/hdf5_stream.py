"""HDF5 files that grow on the disk, where the whole would be too much for memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from synthlib import runs


class _Disk(io.RawIOBase):
    """A file for HDF5 to write to, which never fails while HDF5 looks.

    HDF5 keeps unwritten pieces of its own and cannot give up on them: a disk
    that is full while it closes a file can take the interpreter down. Here the
    first error is kept; what comes after it goes to memory, so that HDF5 can
    read it back and close in order.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = io.FileIO(path, "w+")
        self.error: OSError | None = None
        self.unwritten: list[tuple[int, bytes]] = []
        self.place = self.size = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        self.place = start + offset
        return self.place

    def tell(self) -> int:
        return self.place

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        data = memoryview(data).cast("B")
        try:
            if self.error is None:
                self.file.seek(self.place)
                rest = data
                while rest:
                    rest = rest[self.file.write(rest) :]
        except OSError as error:
            self.error = error
        if self.error is not None:
            self.unwritten.append((self.place, bytes(data)))
        self.place += len(data)
        self.size = max(self.size, self.place)
        return len(data)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))  # what was never written reads as zero
        self.file.seek(self.place)
        self.file.readinto(view)
        start, end = self.place, self.place + len(view)
        for place, data in self.unwritten:
            low, high = max(start, place), min(end, place + len(data))
            if low < high:
                view[low - start : high - start] = data[low - place : high - place]
        self.place = end
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self.size = self.place if size is None else size
        if self.error is None:
            try:
                self.file.truncate(self.size)
            except OSError as error:
                self.error = error
        return self.size

    def flush(self) -> None:
        pass

    def check(self) -> None:
        """Raise the error that was kept, if there is one."""
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.file.close()
        super().close()


class Stream:
    """An HDF5 file under way, and a look at whether the disk took all of it so far."""

    def __init__(self, file: h5py.File, disk: _Disk) -> None:
        self.file = file
        self._disk = disk

    def check(self) -> None:
        """Raise the OSError of the first write that failed, if one did."""
        self._disk.check()


@contextmanager
def atomic_stream(path: str | Path) -> Iterator[Stream]:
    """A new HDF5 file that grows on the disk and gets its name when the block ends well.

    Where hdf5.atomic_file needs memory for the whole file, this needs HDF5's
    own buffers only.

    Raises:
        OSError: no space is left; nothing half-written stays.
    """
    with runs.atomic_path(path) as scratch:
        disk = _Disk(scratch)
        try:
            with h5py.File(disk, "w") as file:
                yield Stream(file, disk)
            disk.check()
        finally:
            disk.close()
