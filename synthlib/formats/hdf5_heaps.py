"""A look at HDF5's global heaps, in which texts and MRD's lines lie, before HDF5 reads them.

Where an entry of a heap says that it has no length, HDF5 2.0 and earlier go round in a
circle for ever; where a reference claims 4 GiB, that much memory is taken. Nothing in
Python can stop either. Only the heads of entries are looked at, never numbers.
Source: HDF5 File Format Specification 3.0, III.E (Global Heap) and IV.A.2.d (datatypes).
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import h5py
import numpy as np

MARK, VERSION = b"GCOL", 1
HEAD = struct.Struct("<4sB3xQ")  # mark, version, size of the heap with this head
ENTRY = struct.Struct("<HH4xQ")  # number (0: free space), references, size
ALIGNED = 8


def are_whole(path: str | Path) -> bool:
    """Whether every global heap of a file leads to its end, and no reference claims too much.

    Raises:
        OSError, RuntimeError, KeyError: HDF5 cannot open the file, or its lists are damaged.
    """
    with (
        h5py.File(path, "r") as hdf5,
        Path(path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        datasets = _datasets(hdf5)
        numbers = sorted(part for d in datasets if not d.dtype.hasobject for part in _parts(d))
        return all(_lengths_fit(d, data) for d in datasets) and _heaps_end(data, numbers)


def _datasets(file: h5py.File) -> list[h5py.Dataset]:
    """Every data set of the file at whatever depth, once; links into other files are passed by."""
    datasets: list[h5py.Dataset] = []

    def add(_: str, entry: object) -> None:
        if isinstance(entry, h5py.Dataset):
            datasets.append(entry)

    file.visititems(add)
    return datasets


def _parts(dataset: h5py.Dataset) -> list[tuple[int, int]]:
    """(start, end) in the file of what a data set stores."""
    if dataset.chunks is None:
        start = dataset.id.get_offset()
        return [] if start is None else [(start, start + dataset.id.get_storage_size())]
    parts: list[tuple[int, int]] = []

    def add(info: h5py.h5d.StoreInfo) -> None:
        parts.append((info.byte_offset, info.byte_offset + info.size))

    dataset.id.chunk_iter(add)
    return parts


def _heaps_end(data: mmap.mmap, numbers: list[tuple[int, int]]) -> bool:
    """Whether the entries of each heap lead to its end; parts that hold plain values (`numbers`)
    are passed over."""
    place = 0
    for start, end in [*numbers, (len(data), len(data))]:
        while (place := data.find(MARK, place, max(start, place))) >= 0:
            if place + HEAD.size > len(data):
                return False
            _, version, size = HEAD.unpack_from(data, place)
            if version != VERSION or size < HEAD.size or place + size > len(data):
                return False
            if not _leads_to(data, place + HEAD.size, place + size):
                return False
            place += size
        place = end
    return True


def _leads_to(data: mmap.mmap, place: int, end: int) -> bool:
    while place + ENTRY.size <= end:
        number, _, size = ENTRY.unpack_from(data, place)
        length = size if number == 0 else ENTRY.size + -(-size // ALIGNED) * ALIGNED
        if length < ENTRY.size or place + length > end:
            return False
        place += length
    return True


def _lengths_fit(dataset: h5py.Dataset, data: mmap.mmap) -> bool:
    """Whether the references of a data set claim no more than the file holds."""
    offsets = _references(dataset)
    if not offsets or dataset.id.get_create_plist().get_nfilters():
        return True
    n_bytes = dataset.id.get_type().get_size()
    parts = _parts(dataset)
    if any(not 0 <= start <= end <= len(data) for start, end in parts):
        return False
    whole = [data[start : end - (end - start) % n_bytes] for start, end in parts]
    raw = np.frombuffer(b"".join(whole), np.uint8).reshape(-1, n_bytes)
    for offset, item in offsets:
        lengths = np.ascontiguousarray(raw[:, offset : offset + 4]).view("<u4")
        if lengths.size and int(lengths.max()) * item > len(data):
            return False
    return True


def _references(dataset: h5py.Dataset) -> list[tuple[int, int]]:
    """Where in an element of the file references stand, and the bytes of what they count."""
    kind = dataset.id.get_type()
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        numbers = range(kind.get_nmembers())
        members = [(kind.get_member_offset(k), kind.get_member_type(k)) for k in numbers]
    else:
        members = [(0, kind)]
    return [
        (offset, member.get_super().get_size() if isinstance(member, h5py.h5t.TypeVlenID) else 1)
        for offset, member in members
        if isinstance(member, h5py.h5t.TypeVlenID)
        or (isinstance(member, h5py.h5t.TypeStringID) and member.is_variable_str())
    ]
