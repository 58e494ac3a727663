"""The fastMRI HDF5 layout: the only door to h5py for raw data.

kspace [slice, coil, ky, kx] complex64 (single-coil files: [slice, ky, kx]),
centred orthonormal FFT; reconstruction_rss or reconstruction_esc; the ISMRMRD
XML header; attributes acquisition, max, norm, patient_id.
Source: Zbontar et al., arXiv:1811.08839.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import torch
from torch import Tensor

from synthlib import arrays, tasks
from synthlib.formats import foreign, hdf5, hdf5_heaps, hdf5_stream, ismrmrd_xml
from synthlib.formats.raw_header import PROTON_HZ_PER_T
from synthlib.records import UNDERSAMPLED, UNKNOWN_MM, RawVolume, Slices

MAGNITUDES = ("reconstruction_rss", "reconstruction_esc")  # multi-coil, single-coil
LABEL = ("patient_id", "acquisition")
XML = {"h": "http://www.ismrm.org/ISMRMRD"}


@dataclass(frozen=True)
class FileSlices:
    """One data set of a file, read slice by slice; the file is closed in between."""

    path: str
    dataset: str
    shape: tuple[int, ...]

    def __getitem__(self, index: int) -> Tensor:
        name = Path(self.path).name
        if not 0 <= index < self.shape[0]:
            raise IndexError(f"{name} has slices 0 to {self.shape[0] - 1}, {index} was asked for")
        try:
            with h5py.File(self.path, "r") as file:
                values = file[self.dataset][index]
        except (OSError, RuntimeError, KeyError) as error:
            raise _broken(name, f"slice {index} of {self.dataset} cannot be read") from error
        kind = np.complex64 if values.dtype.kind == "c" else np.float32
        # a single-coil slice gains its coil axis here
        return torch.from_numpy(values.astype(kind, copy=False)).reshape(self.shape[1:])


@dataclass(frozen=True)
class _Geometry:
    recon_shape: tuple[int, int] | None = None
    acquired: tuple[int, int] | None = None
    spacing_mm: tuple[float, float] = UNKNOWN_MM


def read_raw(path: str | Path, *, undersampled: bool = False) -> RawVolume:
    """Open one file; its k-space is read slice by slice when asked for.

    Args:
        path: a multi-coil or single-coil fastMRI file.
        undersampled: accept a file whose columns of kx are thinned (fastMRI's
            *_test folders); coil maps need only its centre.

    Returns:
        RawVolume; a single-coil file has n_coils 1. `acquired` leaves out the
        zero-padded columns of kx.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not HDF5, truncated, without kspace, of the wrong rank or
            type, NaN or all zero in the middle slice, or undersampled where
            that was not accepted.

    Warns:
        UserWarning: columns of kx are zero-padding.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; expected a fastMRI HDF5 file (.h5)")
    try:
        with h5py.File(path, "r") as file:
            if not hdf5_heaps.are_whole(path):
                raise _broken(path.name, "it is damaged")
            layout = _layout(path.name, file)
            middle = file["kspace"][layout[0] // 2]
            header = _text(file["ismrmrd_header"][()]) if "ismrmrd_header" in file else ""
            attributes = {name: _plain(value) for name, value in file.attrs.items()}
            magnitudes = {n: tuple(map(int, file[n].shape)) for n in MAGNITUDES if n in file}
    except OSError as error:
        raise hdf5.unreadable(path, error) from error
    except (RuntimeError, KeyError) as error:  # HDF5 tells of damage in these ways, too
        raise _broken(path.name, "it is truncated, or not HDF5 at all") from error

    geometry = _geometry(path.name, header)
    rss: Slices | None = None
    recon_shape = geometry.recon_shape or (layout[-2], layout[-1])
    for name, shape in magnitudes.items():
        rss = FileSlices(str(path), name, shape)
        recon_shape = (shape[-2], shape[-1])  # the image itself knows its size best
    acquired, missing = _acquired(path.name, middle, geometry)
    marked = bool(attributes.get(UNDERSAMPLED))
    if (missing or marked) and not undersampled:
        seen = (
            f"{missing} of {acquired[1] - acquired[0]} columns between the first and the last "
            "measured one are zero"
            if missing
            else f"its attribute {UNDERSAMPLED} is set"
        )
        raise ValueError(
            f"{path.name}: {seen}: the scan is undersampled. Training and tests need fully "
            "sampled scans (fastMRI's *_train and *_val folders); leave it out."
        )
    return RawVolume(
        name=path.stem,
        patient_id=str(attributes.get("patient_id", path.stem)),
        contrast=str(attributes.get("acquisition", "unknown")),
        kspace=FileSlices(str(path), "kspace", layout),
        recon_shape=recon_shape,
        acquired=acquired,
        spacing_mm=geometry.spacing_mm,
        rss=rss,
        header=header,
        attributes=attributes,
        source=str(path),
        undersampled=missing > 0 or marked,
    )


def read_label(path: str | Path) -> tuple[str, str, int] | None:
    """(patient, contrast, coils) from a file's header alone; None where it is no fastMRI file."""
    try:
        with hdf5.open_whole(path) as file:
            shape = file["kspace"].shape
            attributes = {name: _plain(file.attrs.get(name, "")) for name in LABEL}
    except (OSError, RuntimeError, KeyError, AttributeError):
        return None
    patient, contrast = (str(attributes[name]) for name in LABEL)
    return patient or Path(path).stem, contrast, int(shape[1]) if len(shape) == 4 else 1


def read_truth(path: str | Path) -> dict[str, Tensor]:
    """Data sets of the group "truth" that simulated files have beside their k-space; else none."""
    with h5py.File(path, "r") as file:
        group = file.get("truth", {})
        return {name: torch.from_numpy(values[()]) for name, values in group.items()}


@tasks.torch_threads(1)
def write_raw(
    path: str | Path,
    kspace: Tensor,
    *,
    contrast: str,
    patient_id: str,
    recon_shape: tuple[int, int],
    spacing_mm: tuple[float, float] = UNKNOWN_MM,
    field_t: float = math.nan,
    thickness_mm: float = 5.0,
    acquired: tuple[int, int] | None = None,
    record: Mapping[str, object] | None = None,
    attributes: Mapping[str, object] | None = None,
    extra: Mapping[str, Tensor] | None = None,
) -> None:
    """Write one volume so that stock fastMRI loaders open it, in one atomic step.

    Args:
        path: file to make, ending in .h5.
        kspace: complex64 (slice, coil, ky, kx).
        contrast: acquisition label, for example "AXT2".
        patient_id: pseudonym of who was scanned; splits go by it.
        recon_shape: (ny, nx) of reconstruction_rss; ky beyond it is readout oversampling.
        spacing_mm: (y, x) pixel size of the reconstruction.
        field_t: of the magnet; nan: unknown, and left out of the header.
        thickness_mm: for the header.
        acquired: first and one-past-last measured column of kx, for the header; None: all.
        record: what the file was made from, kept as attribute "record" (JSON).
        attributes: further file attributes.
        extra: further data sets, for example {"truth/phase": tensor}; loaders pass them by.

    Raises:
        ValueError: wrong rank, or NaN, Inf or all zero in k-space.
    """
    if kspace.ndim != 4 or not kspace.is_complex():
        raise ValueError(
            f"k-space of shape {tuple(kspace.shape)}, {kspace.dtype}; "
            "expected complex [slice, coil, ky, kx]"
        )
    arrays.require_finite("k-space to write", kspace)
    # slice by slice: the images of a whole volume would need several times its memory
    rss = torch.stack(
        [arrays.rss(arrays.crop_or_pad_image(arrays.ifft2c(k), recon_shape)) for k in kspace]
    )
    if not bool(rss.max() > 0):
        raise ValueError("k-space to write is all zero; expected signal")
    with hdf5_stream.atomic_stream(path) as stream:
        file = stream.file
        file["kspace"] = kspace.to(torch.complex64).numpy(force=True)
        file["reconstruction_rss"] = rss.to(torch.float32).numpy(force=True)
        file["ismrmrd_header"] = header_xml(
            tuple(kspace.shape), recon_shape, spacing_mm, thickness_mm, field_t, acquired
        ).encode()
        for name, array in (extra or {}).items():
            # labels shrink, noise and phases do not and would only take time
            packing = None if array.is_floating_point() or array.is_complex() else "gzip"
            file.create_dataset(name, data=array.numpy(force=True), compression=packing)
        file.attrs["acquisition"] = contrast
        file.attrs["patient_id"] = patient_id
        file.attrs["max"] = float(rss.max())
        file.attrs["norm"] = float(rss.square().sum().sqrt())
        for name, value in (attributes or {}).items():
            file.attrs[name] = value
        file.attrs["record"] = json.dumps(record or {}, sort_keys=True, default=str)


def _layout(name: str, file: h5py.File) -> tuple[int, int, int, int]:
    if "kspace" not in file:
        found = f"it has no 'kspace'; it holds {sorted(file) or 'nothing'}"
        what = foreign.hdf5_name(set(file))
        if what:  # whole, so that another copy would be no better
            raise ValueError(
                f"{name}: {found}: {what.partition(';')[0]}. Expected a fastMRI file with complex "
                "'kspace'; leave it out, or export fastMRI's layout."
            )
        raise _broken(name, found)
    stored = file["kspace"]
    shape = tuple(int(n) for n in stored.shape)
    if len(shape) not in (3, 4) or 0 in shape:
        raise _broken(name, f"kspace has shape {shape}")
    if stored.dtype.kind != "c":
        raise _broken(name, f"kspace holds {stored.dtype} numbers")
    if len(shape) == 3:
        return shape[0], 1, shape[1], shape[2]
    return shape[0], shape[1], shape[2], shape[3]


def _acquired(name: str, middle: np.ndarray, geometry: _Geometry) -> tuple[tuple[int, int], int]:
    """Measured columns of kx, and how many between them are missing, from the middle slice."""
    arrays.require_finite(f"{name}: k-space of the middle slice", torch.from_numpy(middle))
    n_columns = middle.shape[-1]
    filled = np.flatnonzero(np.abs(middle).reshape(-1, n_columns).max(0))
    if filled.size == 0:
        raise _broken(name, "k-space of the middle slice is all zero")
    first, end = int(filled[0]), int(filled[-1]) + 1
    missing = end - first - int(filled.size)
    if (first, end) != (0, n_columns) and not missing:  # a mask may leave out the outermost, too
        told = "as its header says" if geometry.acquired == (first, end) else "unlike its header"
        warnings.warn(
            f"{name}: {n_columns - (end - first)} of {n_columns} columns of kx are zero-padding, "
            f"{told}; measured are {first} to {end - 1}. Masks thin the measured columns only; "
            "leave the file out if the padding was added after the scan.",
            stacklevel=3,
        )
    return (first, end), missing


def _geometry(name: str, header: str) -> _Geometry:
    if not header:
        return _Geometry()
    try:
        root = ismrmrd_xml.parsed(header)
    except ValueError as error:
        raise _broken(name, f"{error} (ismrmrd_header)") from error
    number = _Numbers(root)
    rows, columns = number("reconSpace/matrixSize/x"), number("reconSpace/matrixSize/y")
    fov = number("reconSpace/fieldOfView_mm/x"), number("reconSpace/fieldOfView_mm/y")
    encoded = number("encodedSpace/matrixSize/y")
    limits = [number(f"encodingLimits/kspace_encoding_step_1/{n}") for n in ("center", "maximum")]
    if not rows or not columns:
        return _Geometry()
    spacing = (fov[0] / rows, fov[1] / columns) if fov[0] and fov[1] else UNKNOWN_MM
    acquired = None
    if encoded and limits[0] is not None and limits[1] is not None:
        left = int(encoded) // 2 - int(limits[0])
        acquired = (left, left + int(limits[1]) + 1)
    return _Geometry((int(rows), int(columns)), acquired, spacing)


class _Numbers:
    """Numbers of a header by their path below <encoding>; None where there is none."""

    def __init__(self, root: ElementTree.Element) -> None:
        self.root = root

    def __call__(self, path: str) -> float | None:
        tags = "/".join(f"h:{tag}" for tag in ["encoding", *path.split("/")])
        text = self.root.findtext(tags, namespaces=XML)
        try:
            return float(text) if text else None
        except ValueError:
            return None


def header_xml(
    shape: tuple[int, ...],
    recon_shape: tuple[int, int],
    spacing_mm: tuple[float, float],
    thickness_mm: float,
    field_t: float,
    acquired: tuple[int, int] | None,
) -> str:
    """The ISMRMRD header of one volume; see :func:`write_raw`."""
    _, n_coils, rows, columns = shape
    first, end = acquired or (0, columns)
    strength, frequency = "", 0  # unknown (nan): the element is left out; the frequency is a must
    if field_t == field_t:
        strength = f"<systemFieldStrength_T>{field_t:g}</systemFieldStrength_T>"
        frequency = round(PROTON_HZ_PER_T * field_t)
    spacing = [mm if mm == mm else 1.0 for mm in spacing_mm]  # unknown (nan): 1 mm
    oversampled = rows / recon_shape[0]
    recon_fov = [n * mm for n, mm in zip(recon_shape, spacing, strict=True)]
    encoded_fov = [recon_fov[0] * oversampled, columns * spacing[1]]

    def space(tag: str, size: Iterable[int], fov: Iterable[float]) -> str:
        (x, y), (fov_x, fov_y) = size, fov
        return (
            f"<{tag}><matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize><fieldOfView_mm>"
            f"<x>{fov_x:.4f}</x><y>{fov_y:.4f}</y><z>{thickness_mm:g}</z></fieldOfView_mm></{tag}>"
        )

    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<ismrmrdHeader xmlns="{XML["h"]}">'
        f"<acquisitionSystemInformation>{strength}<receiverChannels>{n_coils}</receiverChannels>"
        "</acquisitionSystemInformation><experimentalConditions><H1resonanceFrequency_Hz>"
        f"{frequency}</H1resonanceFrequency_Hz></experimentalConditions>"
        f"<encoding>{space('encodedSpace', (rows, columns), encoded_fov)}"
        f"{space('reconSpace', recon_shape, recon_fov)}"
        "<encodingLimits><kspace_encoding_step_1><minimum>0</minimum>"
        f"<maximum>{end - first - 1}</maximum><center>{columns // 2 - first}</center>"
        "</kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory>"
        "</encoding></ismrmrdHeader>"
    )


def _broken(name: str, problem: str) -> ValueError:
    return ValueError(
        f"{name}: {problem}. Expected a fastMRI file: HDF5 with complex 'kspace' "
        "[slice, coil, ky, kx] that holds signal. Download or export it again, or leave it out."
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> object:
    """An HDF5 attribute as a plain Python value."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
