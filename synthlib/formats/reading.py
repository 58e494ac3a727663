"""The one door for raw data of every format: what a file is, and what it holds.

| format | file | read by |
|---|---|---|
| fastMRI | .h5 with kspace | fastmri_hdf5 |
| ISMRMRD (MRD) | .h5, .mrd with xml and data | mrd_reader |
| BART | a pair .hdr and .cfl | array_reader |
| NumPy | .npy, complex (slice, coil, ky, kx) | array_reader |
| Siemens | .dat of VB, VD, VE, XA | twix |

One file is one volume. Of a file that holds several (contrasts, repetitions ...) it is
the first, and RawVolume.notes says so.
"""

from __future__ import annotations

import dataclasses
import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from torch import Tensor

from synthlib import arrays
from synthlib.formats import (
    array_reader,
    bart_cfl,
    fastmri_hdf5,
    foreign,
    mrd_reader,
    raw_header,
)
from synthlib.formats.acquisitions import LineSlices
from synthlib.formats.array_reader import CflSlices
from synthlib.records import RawVolume

FASTMRI, MRD, CFL, NPY, TWIX = "fastmri", "mrd", "cfl", "npy", "twix"
ENDINGS = (".h5", ".hdf5", ".mrd", ".cfl", ".hdr", ".npy", ".dat")
HDF5 = (".h5", ".hdf5", ".mrd")
EXPECTED = (
    "expected raw data: fastMRI HDF5, ISMRMRD (MRD), BART (.cfl with its .hdr), .npy or Siemens "
    ".dat"
)
LARGEST, SMALLEST = 1e18, 1e-25  # of a slice's largest value: beyond, bytes were swapped


def kind_of(path: str | Path) -> str:
    """FASTMRI, MRD, CFL, NPY or TWIX.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none of these, may not be opened, or is locked by another program.
    """
    path = Path(path)
    if path.suffix.lower() in (".cfl", ".hdr"):
        pair = path.with_suffix(".cfl"), path.with_suffix(".hdr")
        missing = [half.name for half in pair if not half.is_file()]
        if len(missing) == 1:
            _require_of_bart(path)
            raise ValueError(
                f"{path.name}: half of a BART pair: {missing[0]} is not beside it. Expected .cfl "
                "and .hdr side by side; copy the other there, or leave this one out."
            )
        for half in pair:
            require_readable(half)
        return CFL
    require_readable(path)
    if path.suffix.lower() == ".npy":
        return NPY
    if path.suffix.lower() == ".dat":
        from synthlib.formats import twix  # its package is needed for no other format

        if not twix.is_twix(path):
            raise ValueError(f"{path.name}: it does not begin as Siemens raw data do; {EXPECTED}.")
        return TWIX
    return _hdf5_kind(path)


def _require_of_bart(path: Path) -> None:
    """Refuse a .hdr of Analyze, NIfTI or ENVI by its own name: no .cfl is missing beside it."""
    if path.suffix != ".hdr" or not path.is_file():
        return
    require_readable(path)
    if not bart_cfl.is_header(path):
        with path.open("rb") as file:
            start = file.read(1024)
        what = foreign.any_name(start) or ("of another format" if start else "empty")
        raise ValueError(f"{path.name}: it is {what}, no header of BART's; {EXPECTED}.")


def _hdf5_kind(path: Path) -> str:
    try:
        with h5py.File(path, "r") as file:
            if "kspace" in file:
                return FASTMRI
            groups = [file.get(name) for name in file]
            if any(isinstance(g, h5py.Group) and {"xml", "data"} <= set(g) for g in groups):
                return MRD
    except (OSError, RuntimeError, KeyError) as error:
        if getattr(error, "errno", None) in (errno.EAGAIN, errno.EACCES):
            raise ValueError(
                f"{path.name}: another program holds it open and has locked it. Expected a file "
                "at rest; close it there, or wait until it is written, or leave it out."
            ) from error
        if path.suffix.lower() == ".mrd":
            raise ValueError(
                f"{path.name}: it is truncated, or not HDF5: streams of MRD version 2 are not "
                "read. Expected an MRD file in HDF5; convert it with mrd's own tools."
            ) from error
    return FASTMRI  # whose reader says what is wrong


def require_readable(path: Path) -> None:
    """Raise the error that tells a missing file from one that may not be opened."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; {EXPECTED}. Check the path.")
    try:
        with path.open("rb"):
            pass
    except PermissionError as error:
        raise ValueError(
            f"{path.name}: it may not be opened. Expected a file that you may read; change its "
            "permissions (chmod u+r), or leave it out."
        ) from error


def read_raw(path: str | Path, *, undersampled: bool = False, number: int = 0) -> RawVolume:
    """Open one volume of a file of any format; its k-space is read slice by slice when asked for.

    Args:
        path: of a file; of a pair .hdr and .cfl either one.
        undersampled: accept scans that lack lines between the measured ones; coil
            maps need only the centre of k-space, or lines for calibration.
        number: which volume of a file that holds several, from 0.

    Returns:
        RawVolume; a single-coil file has n_coils 1. `acquired` leaves out the columns
        of kx that were not measured (partial Fourier, zero-padding).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another format, not to be opened, locked, damaged, not Cartesian, NaN
            or all zero in the middle slice (of a 3-D scan in the middle plane of k-space: its
            slices are looked at when they are asked for), or undersampled where that was not
            accepted.
        IndexError: the file has fewer volumes.

    Warns:
        UserWarning: the volume's notes; columns of a fastMRI file are zero-padding.
    """
    path = Path(path)
    with _damage_named(path.name):
        kind = kind_of(path)
        if kind == FASTMRI:
            raw_header.require_volume(path.name, number, 1)
            return fastmri_hdf5.read_raw(path, undersampled=undersampled)
        volume = _checked(path.name, _open(path, kind, number))
    if volume.undersampled and not undersampled:
        raise ValueError(
            f"{path.name}: the scan is undersampled: lines between the first and the last measured "
            "one are missing. Training and tests need fully sampled scans; leave it out."
        )
    for note in volume.notes:
        warnings.warn(f"{path.name}: {note}", stacklevel=2)
    return volume


def n_volumes(path: str | Path) -> int:
    """How many volumes a file holds; raises as :func:`read_raw`."""
    with _damage_named(Path(path).name):
        kind = kind_of(path)
        if kind == MRD:
            return mrd_reader.n_volumes(path)
        if kind == CFL:
            return array_reader.n_volumes_cfl(path)
        if kind == TWIX:
            from synthlib.formats import twix

            return twix.n_volumes(path)
    return 1


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """What h5py raises of damaged names, types and links becomes a message."""
    try:
        yield
    except (UnicodeDecodeError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{name}: it is damaged; {EXPECTED}. Export or download it again, or leave it out."
        ) from error


def _open(path: Path, kind: str, number: int) -> RawVolume:
    if kind == CFL:
        return array_reader.read_cfl(path, number)
    if kind == MRD:
        return mrd_reader.read_raw(path, number)
    if kind == NPY:
        raw_header.require_volume(path.name, number, 1)
        return array_reader.read_npy(path)
    from synthlib.formats import twix

    return twix.read_raw(path, number)


def _checked(name: str, volume: RawVolume) -> RawVolume:
    """A volume whose middle holds signal, with the columns that its zeros leave out.

    An array does not say which columns were measured, and files of lines may hold lines of
    zeros. Of a 3-D scan, which must be read whole for one slice, the plane kz = 0 is looked at,
    and its reader knows what was measured.
    """
    if isinstance(volume.kspace, LineSlices | CflSlices) and volume.kspace.is_3d:
        _require_signal(f"{name}: k-space of the middle plane", volume.kspace.central_plane())
        return volume
    middle = volume.kspace[volume.n_slices // 2]
    _require_signal(f"{name}: k-space of the middle slice", middle)
    filled = np.flatnonzero(middle.abs().amax((0, 1)).numpy())
    first, end = int(filled[0]), int(filled[-1]) + 1
    missing = end - first - len(filled)
    acquired = max(first, volume.acquired[0]), min(end, volume.acquired[1])
    if volume.undersampled or missing:  # a mask may leave out the outermost columns, too
        acquired = volume.acquired
    return dataclasses.replace(
        volume, acquired=acquired, undersampled=volume.undersampled or missing > 0
    )


def _require_signal(what: str, kspace: Tensor) -> None:
    arrays.require_finite(what, kspace)
    largest = float(kspace.abs().max())
    if not largest > 0:
        raise ValueError(f"{what} is all zero; expected signal. Leave it out.")
    if not SMALLEST < largest < LARGEST:
        raise ValueError(
            f"{what} has values up to {largest:.3g}; expected something between {SMALLEST:g} and "
            f"{LARGEST:g}. Most likely the bytes are in another order: write it on a "
            "little-endian machine."
        )
