"""K-space that lies in a file as one array: NumPy's .npy and BART's pairs of .hdr and .cfl.

Both are read slice by slice through a memory map, and nothing is unpickled. A .npy
has (slice, coil, ky, kx) or (coil, ky, kx), a pair BART's dimensions: readout 0, phase
encoding 1 and, of a 3-D scan, 2; coils 3, slices 13. Averages (14) are averaged;
echoes (5) and times (10, 11) are volumes of their own. K-space is centred at n // 2
and scaled as `bart fft -u` scales it, that is orthonormally; a pair's third
encoding gets its FFT here.
Source: NumPy's format.py; BART 0.8, src/misc/mri.h.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synthlib.formats import acquisitions, bart_cfl, npy_header, raw_header
from synthlib.formats.bart_cfl import COIL, N_DIMENSIONS, PHASE, READOUT, SLICE
from synthlib.records import SYNTHETIC, RawVolume

PARTITION, AVERAGE = 2, 14
VOLUMES = {"echo": 5, "time": 10, "second time": 11}  # dimensions whose entries are volumes
DIMENSIONS = {READOUT, PHASE, PARTITION, COIL, SLICE, AVERAGE, *VOLUMES.values()}
EXPECTED_NPY = (
    "Expected complex k-space (slice, coil, ky, kx) or (coil, ky, kx). Save it with numpy.save, or "
    "leave it out."
)


@dataclass(frozen=True)
class NpySlices:
    """Slices of a .npy file, mapped into memory while one is read."""

    path: str
    shape: tuple[int, ...]

    def __getitem__(self, index: int) -> Tensor:
        _require_index(index, self.shape[0])
        array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        kspace = array[index] if array.ndim == len(self.shape) else array
        return torch.from_numpy(np.array(kspace, np.complex64, order="C"))


@dataclass(frozen=True)
class CflSlices:
    """Slices of one volume of a pair, mapped into memory while one is read."""

    path: str
    sizes: tuple[int, ...]
    entry: tuple[int, ...]  # of VOLUMES

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = self.sizes
        return sizes[SLICE] * sizes[PARTITION], sizes[COIL], sizes[READOUT], sizes[PHASE]

    def __getitem__(self, index: int) -> Tensor:
        _require_index(index, self.shape[0])
        number, partition = divmod(index, self.sizes[PARTITION])
        slab = self._slab(number)  # (average, kz, coil, ky, kx)
        n = slab.shape[1]
        if n == 1:
            return torch.from_numpy(_averaged(slab[:, 0]))
        # a row of the centred, orthonormal inverse FFT along kz
        kz = np.arange(n) - n // 2
        weights = np.exp(2j * np.pi * kz * (partition - n // 2) / n) / math.sqrt(n)
        kspace = np.zeros(slab.shape[2:], np.complex64)
        for plane, weight in enumerate(weights.astype(np.complex64)):
            kspace += weight * _averaged(slab[:, plane])
        return torch.from_numpy(kspace)

    @property
    def is_3d(self) -> bool:
        """Whether one slice takes all lines of a slab."""
        return self.sizes[PARTITION] > 1

    def central_plane(self) -> Tensor:
        """The lines of the middle slab nearest to kz = 0, complex64 (coil, ky, kx)."""
        slab = self._slab(self.sizes[SLICE] // 2)  # (average, kz, coil, ky, kx)
        middle = slab.shape[1] // 2
        outwards = sorted(range(slab.shape[1]), key=lambda kz: abs(kz - middle))
        nearest = next((kz for kz in outwards if slab[:, kz].any()), middle)
        return torch.from_numpy(_averaged(slab[:, nearest]))

    def measured(self) -> np.ndarray:
        """How often each line (kz, kx) of the middle slab was measured: one of zeros was not."""
        slab = self._slab(self.sizes[SLICE] // 2)  # (average, kz, coil, ky, kx)
        # plane by plane, for all of them may not fit into memory
        planes = [(slab[:, kz] != 0).any((1, 2)).sum(0) for kz in range(slab.shape[1])]
        return np.stack(planes)

    def _slab(self, number: int) -> np.ndarray:
        """A slab as the file has it, (average, kz, coil, ky, kx), mapped into memory."""
        mapped = np.memmap(self.path, "<c8", "r", shape=self.sizes, order="F")
        place: list[int | slice] = [0] * N_DIMENSIONS
        for dimension in (READOUT, PHASE, PARTITION, COIL, AVERAGE):
            place[dimension] = slice(None)
        place[SLICE] = number
        for dimension, value in zip(VOLUMES.values(), self.entry, strict=True):
            place[dimension] = value
        return mapped[tuple(place)].transpose(4, 2, 3, 0, 1)


def _averaged(kspace: np.ndarray) -> np.ndarray:
    """Mean over the first axis of (average, coil, ky, kx), each line over those that have it."""
    if len(kspace) == 1:
        return np.array(kspace[0], np.complex64, order="C")
    times = np.maximum((kspace != 0).any((1, 2)).sum(0), 1)  # columns that were left out
    return (kspace.sum(0) / times.astype(np.float32)).astype(np.complex64)


def read_npy(path: str | Path) -> RawVolume:
    """A .npy file of k-space; its columns of zeros at either end count as not acquired.

    Raises:
        FileNotFoundError, PermissionError: there is no such file, or it may not be opened.
        ValueError: not .npy, truncated, objects, real numbers, or other axes.
    """
    path = Path(path)
    try:
        shape, dtype, start = npy_header.read(path)
    except ValueError as error:
        raise ValueError(f"{path.name}: it is {error}. {EXPECTED_NPY}") from None
    if dtype.hasobject or dtype.kind != "c":
        raise ValueError(f"{path.name}: it holds {_kind(dtype)}. {EXPECTED_NPY}")
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(f"{path.name}: its shape is {shape}. {EXPECTED_NPY}")
    required, there = start + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if required > there:
        raise ValueError(
            f"{path.name}: it claims {required} bytes and has {there}; it is truncated. "
            f"{EXPECTED_NPY}"
        )
    slices = NpySlices(str(path), (1, *shape) if len(shape) == 3 else shape)
    return _volume(path, path.stem, slices)


def read_cfl(path: str | Path, number: int = 0) -> RawVolume:
    """One volume of a pair <name>.hdr and <name>.cfl; see the module for its dimensions.

    Raises:
        FileNotFoundError, PermissionError: a file of the pair is missing, or may not be opened.
        ValueError: sizes and bytes differ, or dimensions that are no scan's.
        IndexError: the pair has fewer volumes.
    """
    base = bart_cfl.base(path)
    sizes, creator = bart_cfl.read_sizes(base, DIMENSIONS)
    counts = tuple(sizes[dimension] for dimension in VOLUMES.values())
    n_volumes = math.prod(counts)
    raw_header.require_volume(bart_cfl.beside(base, ".cfl").name, number, n_volumes)
    entry = tuple(int(n) for n in np.unravel_index(number, counts))
    data = bart_cfl.beside(base, ".cfl")
    notes = []
    if n_volumes > 1:
        notes.append(
            f"{n_volumes} volumes in one file, of which this is number {number + 1}; "
            "`synthlib convert-raw` writes each to a file of its own"
        )
    if sizes[AVERAGE] > 1:
        notes.append(f"lines were measured {sizes[AVERAGE]} times and are averaged")
    slices = CflSlices(str(data), tuple(sizes), entry)
    volume = _volume(data, base.name, slices, notes)
    if slices.is_3d and (times := slices.measured()).any():
        # after the FFT along kz no line of a slice is zero
        covered = acquisitions.coverage_of(times[None])
        volume = dataclasses.replace(
            volume, acquired=covered.acquired, undersampled=covered.n_missing > 0
        )
    if bart_cfl.beside(base, ".json").is_file():
        noise = bart_cfl.read_noise(base)
        if noise is not None:
            volume = dataclasses.replace(volume, noise=noise[0])
        return raw_header.applied(volume, bart_cfl.read_header(base))
    if creator.startswith(bart_cfl.MADE_BY_US):
        volume = raw_header.with_attributes(volume, {SYNTHETIC: True})
    return volume


def n_volumes_cfl(path: str | Path) -> int:
    """How many volumes a pair has; raises as :func:`read_cfl`."""
    sizes, _ = bart_cfl.read_sizes(bart_cfl.base(path), DIMENSIONS)
    return math.prod(sizes[dimension] for dimension in VOLUMES.values())


def _volume(
    path: Path, name: str, slices: NpySlices | CflSlices, notes: list[str] | None = None
) -> RawVolume:
    rows, columns = slices.shape[-2:]
    return RawVolume(
        name=name,
        patient_id=name,
        contrast="unknown",
        kspace=slices,
        recon_shape=(rows, columns),
        acquired=(0, columns),
        source=str(path),
        notes=tuple(notes or ()),
    )


def _kind(dtype: np.dtype) -> str:
    return "objects, which are never unpickled" if dtype.hasobject else f"{dtype} numbers"


def _require_index(index: int, n_slices: int) -> None:
    if not 0 <= index < n_slices:
        raise IndexError(f"slices 0 to {n_slices - 1}; {index} was asked for")
