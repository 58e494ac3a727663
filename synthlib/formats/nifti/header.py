"""A NIfTI header, checked against the length of its file before room is made for anything."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import nibabel
import nibabel.orientations
import numpy as np

from synthlib.formats.refusals import Refusal, by, require_voxels
from synthlib.records import SYNTHETIC

GZIP = b"\x1f\x8b"
SIZES = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
MAX_OFFSET = 2**26  # bytes of extensions before the voxels
DEFLATE_AT_MOST = 1032  # times that gzip can shrink anything
MAX_SHEAR = 0.02  # cosine between axes: 89 degrees; what rounding leaves is below 1e-3
MM = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}
# SPM and dcm2niix write times into `descrip`; numbers are all that is taken from it.
TIMES = {
    "te_ms": re.compile(r"\bTE=(\d+(?:\.\d+)?)(?:ms)?(?=[/;\s]|$)"),
    "tr_ms": re.compile(r"\bTR=(\d+(?:\.\d+)?)ms(?=[/;\s]|$)"),
    "flip_deg": re.compile(r"\bFA=(\d+(?:\.\d+)?)deg(?=[/;\s]|$)"),
    "field_t": re.compile(r"^(\d+(?:\.\d+)?)T\s"),
}


@dataclass(frozen=True)
class Head:
    """What is needed to read a file's voxels.

    Attributes:
        path: of the voxels; packed: through gzip.
        shape: 3 or 4 axes as stored; dtype of a stored number.
        offset: of the first voxel in bytes; slope and inter turn stored numbers to values.
        spacing_mm: (3,), along the stored axes.
        affine: (4, 4) from voxels to millimetres, to the right, to the front, to the crown.
        is_placed: the header tells directions (qform or sform).
        phase_axis: stored axis along which phase was encoded, None if it is not told.
        numbers: times and field that `descrip` tells, by name.
        synthetic: it carries the mark of what synthlib made.
    """

    path: str
    packed: bool
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    slope: float
    inter: float
    spacing_mm: np.ndarray
    affine: np.ndarray
    is_placed: bool
    phase_axis: int | None
    numbers: dict[str, float]
    synthetic: bool = False

    @property
    def is_complex(self) -> bool:
        return self.dtype.kind == "c"

    @property
    def n_volumes(self) -> int:
        return math.prod(self.shape[3:])

    @property
    def ornt(self) -> np.ndarray:
        """nibabel's orientation of the stored axes: (3, 2), the side and the sign of each."""
        return nibabel.orientations.io_orientation(self.affine)


def looks_like(start: bytes) -> bool:
    """Do the first 348 bytes (unpacked) say NIfTI, as one file or as a pair?"""
    return len(start) >= 348 and (
        start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2")
    )


def unpacked_start(path: str | Path, size: int = 544) -> bytes:
    """The first bytes of a file, inflated if it is gzip; what is damaged gives fewer."""
    with Path(path).open("rb") as file:
        start = file.read(4096)
    if start[:2] != GZIP:
        return start[:size]
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, size)
    except zlib.error:
        return b""


def open_stream(path: str, packed: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else Path(path).open("rb")


def read_head(path: str | Path) -> Head:
    """The header of a .nii, .nii.gz, or .hdr beside its .img.

    Raises:
        Refusal: not NIfTI, not real or complex numbers, not 3-D or 4-D, larger than what is
            read, or larger than the file can be.
        OSError: it cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    start = unpacked_start(path)
    if not looks_like(start):
        raise Refusal("it is not NIfTI")
    two = start[4:7] in (b"n+2", b"ni2")
    kind, size = (nibabel.Nifti2Header, 540) if two else (nibabel.Nifti1Header, 348)
    pair = (start[4:7] if two else start[344:347])[:2] == b"ni"
    if len(start) < size:
        raise Refusal("it ends within its header")
    header = kind(start[:size], check=False)
    if int(header["sizeof_hdr"]) != size:
        raise Refusal("its header is damaged: it tells a wrong length of itself")
    shape = _shape(header)
    dtype = _dtype(header)
    if pair:
        path = path.with_name(path.name.removesuffix(".gz").removesuffix(".hdr") + ".img")
        if not path.is_file():
            raise Refusal("its voxels are missing: a .hdr without an .img of the same name")
        packed = False
    offset = _offset(header, size, pair)
    required, there = offset + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if required > there * (DEFLATE_AT_MOST if packed else 1):
        raise Refusal(
            f"it claims {by(shape)} voxels, {required} bytes, and has {there}; it is truncated"
        )
    slope, inter = _scaling(header)
    spacing_mm, affine, placed = _affine(header)
    phase = header.get_dim_info()[1]
    descrip = bytes(header["descrip"].item()).decode("latin-1")
    if dtype.kind == "c" and inter != 0:
        raise Refusal("it holds complex numbers with scl_inter, whose meaning is not defined")
    return Head(
        path=str(path),
        packed=packed,
        shape=shape,
        dtype=dtype,
        offset=offset,
        slope=slope,
        inter=inter,
        spacing_mm=spacing_mm,
        affine=affine,
        is_placed=placed,
        phase_axis=phase,
        numbers=_numbers(descrip),
        synthetic=descrip.startswith(SYNTHETIC),
    )


def _shape(header: nibabel.Nifti1Header) -> tuple[int, ...]:
    dim = [int(n) for n in header["dim"]]
    if not 1 <= dim[0] <= 7:
        raise Refusal("its header is damaged: it tells no number of axes")
    shape = dim[1 : 1 + dim[0]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    shape += [1] * (3 - len(shape))
    if len(shape) > 4 or min(shape) < 1:
        raise Refusal(f"it has shape {tuple(shape)}")
    require_voxels(*shape[:3])
    return tuple(shape)


def _dtype(header: nibabel.Nifti1Header) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except Exception:  # a code that nibabel does not know
        raise Refusal("it holds numbers of an unknown type") from None
    complex_of_two = dtype.kind == "c" and dtype.itemsize <= 16
    if not complex_of_two and (dtype.kind not in "iuf" or dtype.itemsize > 8):
        name = dtype.name if dtype.names is None else "coloured"
        raise Refusal(f"it holds {name} numbers")
    return dtype


def _offset(header: nibabel.Nifti1Header, size: int, pair: bool) -> int:
    told = float(header["vox_offset"])
    offset = int(told) if math.isfinite(told) and 0 <= told <= MAX_OFFSET else -1
    if offset < 0:
        raise Refusal("its header is damaged: voxels at an impossible place of the file")
    # zero stands for the first place that there is
    return offset if pair or offset >= size else size + 4


def _scaling(header: nibabel.Nifti1Header) -> tuple[float, float]:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0  # as the standard says: not scaled
    if not math.isfinite(inter) or abs(slope) > 1e30 or abs(inter) > 1e30:
        raise Refusal("its header is damaged: scl_slope or scl_inter is no useful number")
    return slope, inter


def _affine(header: nibabel.Nifti1Header) -> tuple[np.ndarray, np.ndarray, bool]:
    """Sizes of voxels in mm, the affine in mm, and whether the header tells directions."""
    placed = bool(int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0)
    scale = MM.get(_unit(header), 1.0)
    try:
        affine = np.array(header.get_best_affine(), float)
    except Exception:  # quaternions that are no rotation
        affine = np.full((4, 4), np.nan)
    affine[:3] *= scale
    lengths = np.sqrt((affine[:3, :3] ** 2).sum(0))
    volume = abs(np.linalg.det(affine[:3, :3])) if np.isfinite(affine).all() else 0.0
    if not (volume > 0.1 * lengths.prod() > 0) or lengths.max() > 1e4:
        raise Refusal("its header is damaged: directions or sizes of voxels that cannot be")
    directions = affine[:3, :3] / lengths
    cosines = np.abs(directions.T @ directions - np.eye(3))
    if cosines.max() > MAX_SHEAR:
        degrees = math.degrees(math.acos(min(1.0, cosines.max())))
        raise Refusal(
            f"its axes are sheared: they meet at {degrees:.0f} degrees instead of 90. Resample it "
            "onto a straight grid"
        )
    told = np.abs(header["pixdim"][1:4].astype(float)) * scale  # without the affine's rounding
    return np.where(np.isclose(told, lengths, rtol=1e-3, atol=0), told, lengths), affine, placed


def _unit(header: nibabel.Nifti1Header) -> str:
    try:
        return header.get_xyzt_units()[0]
    except KeyError:
        return "unknown"


def _numbers(descrip: str) -> dict[str, float]:
    found = {name: pattern.search(descrip) for name, pattern in TIMES.items()}
    numbers = {name: float(match[1]) for name, match in found.items() if match}
    return {name: number for name, number in numbers.items() if 0 < number < 1e5}
