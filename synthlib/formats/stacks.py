"""Stacks of plain pictures, PNG or NPY: the only door to pillow.

JPEG is not read: its loss is worse than what any audit could find useful. PNG
and NPY tell no size of a pixel, so it must be given.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import torch
from torch import Tensor

from synthlib import runs
from synthlib.formats import npy_header, quiet
from synthlib.formats.refusals import Refusal, by, require_magnitude, require_voxels
from synthlib.records import ImageVolume

quiet.teach((PIL.Image, PIL.PngImagePlugin), ("PIL",))

PNG, NPY = b"\x89PNG\r\n\x1a\n", b"\x93NUMPY"
DEFLATE_AT_MOST = 1032  # times that PNG can shrink anything
NEEDS_SPACING = "pixels of unknown size; give their spacing in mm with --spacing Y X"
GREY = {"1", "L", "I;16", "I;16B", "I"}
MAX_PIXELS = 2**25  # of one picture, which pillow holds several times


def png_size(path: str | Path) -> tuple[int, int]:
    """(rows, columns) from a PNG's first bytes.

    Raises:
        Refusal: it is no PNG, or claims more than its length can hold.
        OSError: it cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(33)
    if start[:8] != PNG or start[12:16] != b"IHDR" or len(start) < 33:
        raise Refusal("a damaged PNG; export it again")
    columns, rows = (int.from_bytes(start[at : at + 4], "big") for at in (16, 20))
    require_voxels(rows, columns)
    if rows * columns > MAX_PIXELS:
        raise Refusal(f"a picture of {by((rows, columns))} pixels; at most {MAX_PIXELS} are read")
    required, there = rows * columns * start[24] // 8, path.stat().st_size
    if required > there * DEFLATE_AT_MOST:
        raise Refusal(f"a PNG that claims {by((rows, columns))} pixels in {there} bytes")
    return rows, columns


def read_pngs(
    paths: Sequence[str | Path], spacing_mm: tuple[float, float], slice_mm: float | None
) -> ImageVolume:
    """PNGs of one size as slices, in the order given.

    Args:
        paths: one grey picture each; colours are taken where red, green and blue are equal.
        spacing_mm: (y, x) of a pixel.
        slice_mm: between slices, None: unknown.

    Raises:
        Refusal: colours, several sizes or depths, damaged, or no magnitude.
        OSError: a file cannot be opened or read.
    """
    sizes = {png_size(path) for path in paths}
    if len(sizes) != 1:
        raise Refusal(f"pictures of {len(sizes)} sizes; expected one for a stack")
    (size,) = sizes
    require_voxels(len(paths), *size)
    volume = np.empty((len(paths), *size), np.float32)
    depths = set()
    for at, path in enumerate(paths):
        volume[at], depth = _grey(path)
        depths.add(depth)
    if len(depths) != 1:
        raise Refusal("pictures of 8 and of 16 bits in one stack; expected one kind")
    return _volume(volume, spacing_mm, slice_mm, depths.pop())


def write_png(path: str | Path, grey: Tensor) -> None:
    """Write one grey picture, uint8 (y, x), in one atomic step."""
    memory = io.BytesIO()
    PIL.Image.fromarray(grey.numpy(force=True)).save(memory, "png")
    runs.write_bytes(path, memory.getvalue())


def npy_head(path: str | Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of a .npy file.

    Raises:
        Refusal: not 2-D or 3-D real numbers, or fewer bytes than it claims.
        OSError: it cannot be read.
    """
    path = Path(path)
    try:
        shape, dtype, start = npy_header.read(path)
    except ValueError as error:
        raise Refusal(str(error)) from None
    if dtype.hasobject or dtype.kind not in "iufb":
        raise Refusal("a NPY file of other things than real numbers")
    if len(shape) not in (2, 3):
        raise Refusal(f"a NPY file of {len(shape)} axes; expected (y, x) or (slice, y, x)")
    require_voxels(*shape)
    required, there = start + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if required > there:
        raise Refusal(f"a NPY file that claims {required} bytes and has {there}; it is truncated")
    return shape, dtype


def read_npy(
    path: str | Path, spacing_mm: tuple[float, float], slice_mm: float | None
) -> ImageVolume:
    """A .npy file of (y, x) or (slice, y, x) as slices; nothing is unpickled.

    Raises:
        Refusal: as :func:`npy_head`, or no magnitude.
        OSError: it cannot be opened or read.
    """
    shape, dtype = npy_head(path)
    stored = np.load(path, mmap_mode="r", allow_pickle=False)
    with np.errstate(all="ignore"):
        values = np.array(stored, np.float32, order="C").reshape((-1, *shape[-2:]))
    bits = dtype.itemsize * 8 if dtype.kind in "iu" else None
    return _volume(values, spacing_mm, slice_mm, bits)


def _volume(
    values: np.ndarray, spacing_mm: tuple[float, float], slice_mm: float | None, bits: int | None
) -> ImageVolume:
    magnitude = torch.from_numpy(values)
    notes = require_magnitude(magnitude)
    facts: dict[str, object] = {"format": "stack"}
    if bits is not None:
        facts["bits_stored"] = bits
    return ImageVolume(
        name="stack",
        patient_id="unknown",
        contrast="unknown",
        magnitude=magnitude,
        spacing_mm=spacing_mm,
        thickness_mm=math.nan if slice_mm is None else slice_mm,
        step_mm=math.nan if slice_mm is None else slice_mm,
        facts=facts,
        notes=notes,
    )


def _grey(path: str | Path) -> tuple[np.ndarray, int]:
    """Numbers of one picture, and their bits."""
    try:
        with quiet.hush(), PIL.Image.open(path, formats=("PNG",)) as picture:
            if picture.mode in GREY:
                values = np.asarray(picture)
                return values.astype(np.float32), 16 if picture.mode.startswith("I") else 8
            coloured = np.asarray(picture.convert("RGB"))
    except OSError as error:
        if error.errno is not None:
            raise
        raise Refusal("a damaged PNG; export it again") from None
    except Exception:  # pillow raises many kinds for damaged chunks
        raise Refusal("a damaged PNG; export it again") from None
    red, green, blue = coloured[..., 0], coloured[..., 1], coloured[..., 2]
    if not (np.array_equal(red, green) and np.array_equal(red, blue)):
        raise Refusal("a coloured picture; expected grey ones")
    return red.astype(np.float32), 8
