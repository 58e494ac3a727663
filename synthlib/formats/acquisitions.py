"""From single lines of readout, in any order, to slices of k-space: what MRD and twix share.

A reader brings a table with one row for each line (ACQUISITION) and a source that
reads lines by their row. Lines of one image are sorted by slice, phase encoding and
partition; lines measured several times are averaged; what was not measured is zero.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

IMAGE, CALIBRATION, BOTH, NOISE, OTHER = range(5)  # what a line was measured for
COUNTERS = ("encoding", "contrast", "phase", "repetition", "set")  # tell volumes apart
ACQUISITION = np.dtype(
    [
        ("kind", "u1"),
        *((name, "i4") for name in COUNTERS),
        *((name, "i4") for name in ("slice", "line", "partition", "average")),
        *((name, "i4") for name in ("n_coils", "n_samples", "centre", "pre", "post")),
        ("reversed", "?"),
        ("dwell_us", "f4"),
        *((name, "f4", (3,)) for name in ("position", "read_dir", "phase_dir", "slice_dir")),
    ]
)
_PLACED = np.dtype(
    [(name, "i8") for name in ("row", "slice", "kx", "kz", "start", "skip", "n")]
    + [("reversed", "?")]
)


@dataclass(frozen=True)
class Encoding:
    """One encoded space.

    Attributes:
        matrix: samples along (readout, phase encoding, partition).
        recon: pixels of the same size that the image keeps along (y, x, z).
        spacing_mm: (y, x) of such a pixel; thickness_mm: of a slice or partition.
        centre: counters of the centre of k-space along (phase encoding, partition);
            None: in the middle of the matrix.
    """

    matrix: tuple[int, int, int]
    recon: tuple[int, int, int]
    spacing_mm: tuple[float, float]
    thickness_mm: float
    centre: tuple[int | None, int | None] = (None, None)


class LineSource(Protocol):
    """Lines of a file by their row in the table, each complex64 (coil, sample); picklable."""

    def read(self, rows: np.ndarray) -> Iterator[np.ndarray]: ...


class LineSlices:
    """K-space of one volume, sorted when a slice is asked for.

    Of a 3-D encoding all lines of a slab are read at the first slice, brought to
    slices by the FFT along kz (centred, orthonormal, as along ky and kx), and kept.
    """

    def __init__(
        self, source: LineSource, lines: np.ndarray, n_coils: int, encoding: Encoding, n_slabs: int
    ) -> None:
        rows, columns, partitions = encoding.matrix
        self._source, self._lines, self._partitions = source, lines, partitions
        self._per_slab = min(encoding.recon[2], partitions)
        self.shape: tuple[int, ...] = (n_slabs * self._per_slab, n_coils, rows, columns)
        self._kept: tuple[int, Tensor] | None = None
        self._lock = threading.Lock()

    @property
    def is_3d(self) -> bool:
        """Whether one slice takes all lines of a slab."""
        return self._partitions > 1

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < self.shape[0]:
            raise IndexError(f"slices 0 to {self.shape[0] - 1}; {index} was asked for")
        slab, inside = divmod(index, self._per_slab)
        if self._partitions == 1:
            return self._measured(self._lines_of(slab))[0]
        with self._lock:
            if self._kept is None or self._kept[0] != slab:
                self._kept = slab, self._slices(slab)
            return self._kept[1][inside].clone()

    def central_plane(self) -> Tensor:
        """The lines of the middle slab nearest to kz = 0, complex64 (coil, ky, kx)."""
        lines = self._lines_of(self.shape[0] // self._per_slab // 2)
        distance = np.abs(lines["kz"] - self._partitions // 2)
        plane = lines[lines["kz"] == lines["kz"][distance.argmin()]]
        plane["kz"] = 0
        return self._measured(plane, n_partitions=1)[0]

    def _lines_of(self, slab: int) -> np.ndarray:
        return self._lines[self._lines["slice"] == slab]

    def _slices(self, slab: int) -> Tensor:
        """All slices of a slab, complex64 (z, coil, ky, kx)."""
        shifted = torch.fft.ifftshift(self._measured(self._lines_of(slab)), dim=0)
        slices = torch.fft.fftshift(torch.fft.ifft(shifted, dim=0, norm="ortho"), dim=0)
        first = (self._partitions - self._per_slab) // 2  # as images are cropped
        return slices[first : first + self._per_slab].clone()

    def _measured(self, lines: np.ndarray, n_partitions: int = 0) -> Tensor:
        """Lines of a slab in their places, complex64 (kz, coil, ky, kx)."""
        _, n_coils, rows, columns = self.shape
        n_partitions = n_partitions or self._partitions
        kspace = np.zeros((n_partitions, columns, n_coils, rows), np.complex64)
        times = np.zeros((n_partitions, columns), np.int64)
        for line, values in zip(lines, self._source.read(lines["row"]), strict=True):
            samples = values[:, line["skip"] : line["skip"] + line["n"]]
            if line["reversed"]:
                samples = samples[:, ::-1]
            place = line["kz"], line["kx"], slice(None), slice(line["start"], _end(line))
            if times[line["kz"], line["kx"]]:
                kspace[place] += samples
            else:
                kspace[place] = samples
            times[line["kz"], line["kx"]] += 1
        several = times > 1
        kspace[several] /= times[several][:, None, None].astype(np.float32)
        return torch.from_numpy(kspace.transpose(0, 2, 3, 1).copy())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OWN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _kept=None, _lock=threading.Lock())


_OWN = ("_kept", "_lock")  # stay in their process


def _end(line: np.void) -> int:
    return int(line["start"] + line["n"])


def volumes(table: np.ndarray) -> list[tuple[int, ...]]:
    """COUNTERS of every volume that has lines of an image, sorted."""
    image = table[np.isin(table["kind"], (IMAGE, BOTH))]
    counters = np.stack([image[name] for name in COUNTERS], 1)
    return [tuple(map(int, row)) for row in np.unique(counters, axis=0)]


def of_volume(table: np.ndarray, counters: tuple[int, ...], *kinds: int) -> np.ndarray:
    """Rows of the lines of some kinds that belong to a volume."""
    belongs = np.isin(table["kind"], kinds)
    for name, value in zip(COUNTERS, counters, strict=True):
        belongs &= table[name] == value
    return np.flatnonzero(belongs)


def place(
    table: np.ndarray, rows: np.ndarray, encoding: Encoding, slices: list[int]
) -> tuple[np.ndarray, bool]:
    """Where lines belong in k-space.

    Args:
        table: ACQUISITION; rows: those of the lines.
        encoding: their encoded space.
        slices: the slice counters in the order of the volume.

    Returns:
        The lines placed, in the file's order, and whether the centre of any readout
        had to be assumed.

    Raises:
        ValueError: a line lies outside of the encoded matrix; the text says how.
    """
    lines = table[rows]
    n_rows, n_columns, n_partitions = encoding.matrix
    order = {number: index for index, number in enumerate(slices)}
    placed = np.zeros(len(rows), _PLACED)
    placed["row"], placed["reversed"] = rows, lines["reversed"]
    placed["slice"] = [order[int(number)] for number in lines["slice"]]
    for name, counter, n, centre in (
        ("kx", "line", n_columns, encoding.centre[0]),
        ("kz", "partition", n_partitions, encoding.centre[1]),
    ):
        if n == 1:
            continue
        placed[name] = lines[counter].astype(int) - (n // 2 if centre is None else centre) + n // 2
        if placed[name].min() < 0 or placed[name].max() >= n:
            middle = "in the middle" if centre is None else f"at {centre}"
            raise ValueError(
                f"its {counter}s {int(lines[counter].min())} to {int(lines[counter].max())} with "
                f"the centre {middle} do not fit into the {n} that its header says"
            )
    placed["skip"] = lines["pre"]
    placed["n"] = lines["n_samples"] - lines["pre"] - lines["post"]
    start, assumed = _starts(lines, n_rows)
    placed["start"] = start
    if placed["n"].min() < 1 or start.min() < 0 or (start + placed["n"]).max() > n_rows:
        raise ValueError(
            f"its readouts of {int(lines['n_samples'].max())} samples with the centre at "
            f"{int(lines['centre'].max())} do not fit into the {n_rows} that its header says"
        )
    return placed, assumed


def _starts(lines: np.ndarray, n_rows: int) -> tuple[np.ndarray, bool]:
    """Row of each line's first sample that is kept, and whether a centre was assumed."""
    n, pre, post = (lines[name].astype(int) for name in ("n_samples", "pre", "post"))
    centre = lines["centre"].astype(int)
    unset = (centre == 0) & (n == n_rows)  # a full readout whose centre nobody wrote down
    centre = np.where(unset, n_rows // 2, centre)
    start = n_rows // 2 - centre + pre
    # turned round, a symmetric readout keeps its place, as all readers do it; of an asymmetric
    # one the centre is that many samples from the other end
    turned = lines["reversed"] & (centre != n // 2)
    start = np.where(turned, n_rows // 2 - (n - 1 - centre) + post, start)
    start = np.where(lines["reversed"] & ~turned, n_rows // 2 - centre + post, start)
    return start, bool(unset.any())


def slice_order(table: np.ndarray, rows: np.ndarray) -> tuple[list[int], float, bool]:
    """Slice counters as the slices lie, their distance in mm (nan: unknown), whether reordered.

    Counters that run along the stack, either way, stay; those of an interleaved scan are
    sorted by position.
    """
    lines = table[rows]
    numbers, first = np.unique(lines["slice"], return_index=True)
    along = (lines["position"][first] * lines["slice_dir"][first]).sum(-1).astype(float)
    steps = np.diff(along)
    plain = [int(number) for number in numbers]
    if len(numbers) < 2 or not np.isfinite(along).all() or len(np.unique(along)) < len(along):
        return plain, float("nan"), False
    if (steps > 0).all() or (steps < 0).all():
        return plain, float(np.median(np.abs(steps))), False
    order = np.argsort(along, kind="stable")
    return [plain[k] for k in order], float(np.median(np.diff(along[order]))), True


@dataclass(frozen=True)
class Coverage:
    """What a volume's lines leave out.

    Attributes:
        acquired: first and one-past-last measured column of kx.
        n_missing: places between the outermost ones that were not measured: columns
            of a 2-D scan; lines within the ellipse of a 3-D one, whose corners may
            be left out on purpose.
        n_averages: how often a place was measured, the median.
    """

    acquired: tuple[int, int]
    n_missing: int
    n_averages: float


def coverage(placed: np.ndarray, encoding: Encoding, n_slabs: int) -> Coverage:
    """What lines leave out, the slice that lacks most counting."""
    _, n_columns, n_partitions = encoding.matrix
    times = np.zeros((n_slabs, n_partitions, n_columns), int)
    np.add.at(times, (placed["slice"], placed["kz"], placed["kx"]), 1)
    return coverage_of(times)


def coverage_of(times: np.ndarray) -> Coverage:
    """What is left out of (slab, kz, kx), of which `times` says how often each was measured."""
    _, n_partitions, n_columns = times.shape
    columns = np.flatnonzero(times.any((0, 1)))
    first, end = int(columns[0]), int(columns[-1]) + 1
    wanted = np.zeros((n_partitions, n_columns), bool)
    if n_partitions == 1:
        wanted[:, first:end] = True
    else:
        planes = np.flatnonzero(times.any((0, 2)))
        z, x = np.ogrid[:n_partitions, :n_columns]
        # partial Fourier moves an edge; the ellipse is that of the whole
        radius = [max(n // 2 - a, b - 1 - n // 2, 1) for n, a, b in (
            (n_partitions, int(planes[0]), int(planes[-1]) + 1), (n_columns, first, end),
        )]  # fmt: skip
        wanted = ((z - n_partitions // 2) / radius[0]) ** 2 + (
            (x - n_columns // 2) / radius[1]
        ) ** 2 < 0.9
        wanted &= (z >= planes[0]) & (z <= planes[-1]) & (x >= first) & (x < end)
    missing = max(int((wanted & (slab == 0)).sum()) for slab in times)
    return Coverage((first, end), missing, float(np.median(times[times > 0])))
