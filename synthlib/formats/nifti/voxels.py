"""Voxels of a NIfTI file as slices; no more is read or inflated than its header claims."""

from __future__ import annotations

import math
import zlib
from typing import IO

import numpy as np
import torch
from torch import Tensor

from synthlib.formats.nifti.header import Head, open_stream
from synthlib.formats.refusals import Refusal
from synthlib.records import Placement

PIECE = 2**21  # numbers at a time
REST = 2**20  # bytes beyond the voxels that are still read, so that gzip checks what it gave
# How slices lie, as DICOM's own: stored after nibabel's closest directions (to the right, to the
# front, to the crown): order of the axes as (slice, y, x), and which of them are turned over.
LAYOUTS = {
    "axial": ((2, 1, 0), (1, 2)),  # lowest first; rows front to back, columns right to left
    "coronal": ((1, 2, 0), (0, 1, 2)),  # frontmost first; rows crown to foot, right to left
    "sagittal": ((0, 2, 1), (1, 2)),  # leftmost first; rows crown to foot, front to back
}
SHEARED = 0.02  # cosine between rows and columns from which they are not at right angles
SIDES = ("sagittal", "coronal", "axial")  # by the axis across the slices


def slice_side(head: Head) -> int:
    """Across the slices: 0 left-right, 1 front-back, 2 foot-crown.

    The side of the thickest voxels; axial where they differ by less than 10 %.
    """
    sizes = np.empty(3)
    for axis, (side, _) in enumerate(head.ornt):
        sizes[int(side)] = head.spacing_mm[axis]
    thickest = int(np.argmax(sizes))
    others = np.delete(sizes, thickest)
    return thickest if sizes[thickest] > 1.1 * others.max() else 2


def slices(head: Head, volume: int, side: int, *, signal: bool = False) -> Tensor:
    """One volume as slices across `side`, without resampling.

    Args:
        signal: refuse a volume of zeros before any more time is spent on it.

    Returns:
        float32 (slice, y, x); how they lie is told by LAYOUTS.

    Raises:
        Refusal: the file ends too early, its gzip is damaged, or there is no signal.
        OSError: it cannot be read.
    """
    order, turned = LAYOUTS[SIDES[side]]
    axes = {int(side): axis for axis, (side, _) in enumerate(head.ornt)}
    signs = {int(side): int(sign) for side, sign in head.ornt}
    stored = _volume(head, volume)
    if signal and not stored.any():
        raise Refusal("only zeros; expected a magnitude image")
    stored = stored.transpose([axes[side] for side in order])
    for axis, canonical in enumerate(order):
        if (signs[canonical] < 0) != (axis in turned):
            stored = np.flip(stored, axis)
    return torch.from_numpy(np.ascontiguousarray(stored))


def slice_sizes(head: Head, side: int) -> tuple[float, float, float]:
    """Millimetres along (slice, y, x)."""
    order, _ = LAYOUTS[SIDES[side]]
    axes = {int(side): axis for axis, (side, _) in enumerate(head.ornt)}
    step, y, x = (float(head.spacing_mm[axes[side]]) for side in order)
    return step, y, x


def placement(head: Head, side: int) -> Placement | None:
    """Where :func:`slices` lie; None where the header tells no directions, or a sheared grid."""
    if not head.is_placed:
        return None
    order, turned = LAYOUTS[SIDES[side]]
    axes = {int(side): axis for axis, (side, _) in enumerate(head.ornt)}
    signs = {int(side): int(sign) for side, sign in head.ornt}
    to_dicom = np.diag([-1.0, -1.0, 1.0])  # NIfTI counts to the right and to the front
    steps, corner = to_dicom @ head.affine[:3, :3], to_dicom @ head.affine[:3, 3]
    along, sizes = [], []
    for axis, canonical in enumerate(order):
        step, n = steps[:, axes[canonical]], head.shape[axes[canonical]]
        if (signs[canonical] < 0) != (axis in turned):
            corner, step = corner + (n - 1) * step, -step
        along.append(step)
        sizes.append(n)
    (to_next, column, row), (n_slices, ny, nx) = along, sizes
    unit_row, unit_column = row / np.linalg.norm(row), column / np.linalg.norm(column)
    if abs(unit_row @ unit_column) > SHEARED:
        return None
    middles = corner + np.arange(n_slices)[:, None] * to_next + ny // 2 * column + nx // 2 * row
    x, y = (tuple(part.tolist()) for part in (unit_row, unit_column))
    return Placement(x, y, tuple(tuple(middle) for middle in middles.tolist()))


def phase_encoding(head: Head, side: int) -> str:
    """ "row" or "column" as in DICOM, "" where it is not told or lies across the slices."""
    if head.phase_axis is None:
        return ""
    order, _ = LAYOUTS[SIDES[side]]
    along = order.index(int(head.ornt[head.phase_axis][0]))
    return ("", "column", "row")[along]


def _volume(head: Head, volume: int) -> np.ndarray:
    """float32 as stored, three axes."""
    count = math.prod(head.shape[:3])
    values = np.empty(count, np.float32)
    width = head.dtype.itemsize
    try:
        with open_stream(head.path, head.packed) as file:
            if head.packed:
                _skip(file, head.offset + volume * count * width)
            else:
                file.seek(head.offset + volume * count * width)
            for first in range(0, count, PIECE):
                size = min(PIECE, count - first)
                data = _exactly(file, size * width)
                with np.errstate(all="ignore"):
                    values[first : first + size] = np.frombuffer(data, head.dtype)
            if head.packed and volume == head.n_volumes - 1:
                file.read(REST)
    except (EOFError, zlib.error):
        raise Refusal("it is truncated, or its compression is damaged") from None
    except OSError as error:
        if error.errno is None:  # gzip's own: a wrong checksum, or another kind of file
            raise Refusal("its compression is damaged") from None
        raise
    if (head.slope, head.inter) != (1.0, 0.0):
        with np.errstate(all="ignore"):
            values *= np.float32(head.slope)
            values += np.float32(head.inter)
    return values.reshape(head.shape[:3], order="F")


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise Refusal("it ends before its last voxel; it is truncated")
    return data


def _skip(file: IO[bytes], size: int) -> None:
    while size > 0:
        size -= len(_exactly(file, min(size, 2**22)))
