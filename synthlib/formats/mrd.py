"""ISMRM raw data (MRD), version 1 of its HDF5 layout, which the ismrmrd package opens.

One acquisition is one line of the readout: column kx of one slice, all coils.
The first axis of an MRD matrix, x, is the readout, here ky, the rows of the
image; y is phase encoding, here kx. What a scanner would have written and
MRD has no place for lies in "dataset/synthlib_header": clients take the only group of a file,
or its last.
Source: Inati et al., MRM 77:411 (2017); https://ismrmrd.readthedocs.io.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from synthlib.formats import hdf5, hdf5_stream, mrd_heads, raw_header
from synthlib.formats.mrd_heads import layout, xsd
from synthlib.formats.raw_header import LABELS, RawHeader
from synthlib.formats.raw_writer import RawWriter

GROUP = "dataset"
OWN = f"{GROUP}/synthlib_header"
OWN_BEFORE = "synthlib/header"  # in files of the first versions
MOST_CHANNELS = 1024  # bits of channel_mask
MOST = 2**16 - 1  # samples, lines and slices are counted in 16 bits


class MrdWriter(RawWriter):
    """An MRD file under way; see :class:`RawWriter`.

    The acquisitions lie in "dataset/data", sorted by slice and column, label
    maps as images in "dataset/labels_<name>" with the axes that a stock
    reconstruction has (y of MRD first: the image's columns), so that they lie
    over it. Columns of kx outside `acquired` are not written. A noise scan comes
    first, its lines flagged as noise and as long as the others: a reader that looks at
    no flags, as the C++ library's example, lays the first column over them. The user
    parameter "assumed" names what the XML and the positions had to assume.
    """

    def __init__(
        self, path: str | Path, *, shape: tuple[int, int, int, int], header: RawHeader
    ) -> None:
        super().__init__(path, shape=shape, header=header)
        if max(shape) > MOST or shape[1] > MOST_CHANNELS:
            raise ValueError(
                f"{self.path.name}: k-space (slice, coil, ky, kx) of {shape}; an MRD file holds "
                f"{MOST_CHANNELS} coils and {MOST} of the others at most. Write another format."
            )

    @contextmanager
    def _files(self) -> Iterator[None]:
        first, end = self.header.columns(self.shape[3])
        heads = mrd_heads.acquisition_heads(self.shape, self.header)
        with hdf5_stream.atomic_stream(self.path) as stream:
            file = stream.file
            file[OWN] = self.header.to_json().encode()
            group = file[GROUP]
            text = group.create_dataset("xml", (1,), dtype=h5py.special_dtype(vlen=bytes))
            text[0] = mrd_heads.xml_header(self.shape, self.header).encode()
            for name, labels in self.header.labels.items():
                _write_labels(group, name, labels, self.header)
            noise_heads = mrd_heads.noise_heads(self.header, heads[0])
            self._stream, self._heads, self._n_noise = stream, heads, len(noise_heads)
            self._data = group.create_dataset(
                "data",
                (len(noise_heads) + len(heads),),
                maxshape=(None,),  # the package appends to it
                chunks=(end - first,),
                dtype=layout.acquisition_dtype,
            )
            if self.header.noise is not None:
                self._data[: len(noise_heads)] = _lines(noise_heads, self.header.noise.numpy())
            yield

    def _write(self, index: int, kspace: np.ndarray) -> None:
        first, end = self.header.columns(self.shape[3])
        n_lines = end - first
        start, values = index * n_lines, kspace[..., first:end].transpose(2, 0, 1)
        acquisitions = _lines(self._heads[start : start + n_lines], values)
        start += self._n_noise
        self._data[start : start + n_lines] = acquisitions
        self._stream.check()


def _lines(heads: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Acquisitions of complex64 (line, coil, sample) as the file holds them."""
    numbers = np.ascontiguousarray(values).view(np.float32).reshape(len(heads), -1)
    acquisitions = np.empty(len(heads), layout.acquisition_dtype)
    acquisitions["head"] = heads
    no_trajectory = np.empty(0, np.float32)
    for line in range(len(heads)):
        acquisitions["traj"][line] = no_trajectory
        acquisitions["data"][line] = numbers[line]
    return acquisitions


def read_kspace(path: str | Path) -> Tensor:
    """K-space of a Cartesian 2-D MRD file with one line for each column at most, beside noise.

    Returns:
        complex64 (slice, coil, ky, kx); columns that the file lacks are zero.

    Raises:
        ValueError: not MRD, damaged, or another kind of scan.
    """
    path = Path(path)
    with _opened(path) as file:
        try:
            encoding = xsd.CreateFromDocument(file[GROUP]["xml"][0]).encoding[0]
        except Exception as error:  # whatever the parser trips over
            raise _broken(path.name, f"its XML header cannot be read ({error})") from error
        data = file[GROUP]["data"]
        heads = data.fields("head")[:]
        at_line = np.flatnonzero((heads["flags"] & mrd_heads.NOISE) == 0)
        heads = heads[at_line]
        rows, columns = encoding.encodedSpace.matrixSize.x, encoding.encodedSpace.matrixSize.y
        limits = encoding.encodingLimits
        left = columns // 2 - limits.kspace_encoding_step_1.center
        n_slices = int(limits.slice.maximum) + 1 if limits.slice else 1
        kx = heads["idx"]["kspace_encode_step_1"].astype(int) + left
        z = heads["idx"]["slice"].astype(int)
        n_coils = int(heads["active_channels"][0]) if len(heads) else 0
        whole = (heads["number_of_samples"] == rows) & (heads["active_channels"] == n_coils)
        inside = (kx >= 0) & (kx < columns) & (z < n_slices)
        places = len(set(zip(z.tolist(), kx.tolist(), strict=True)))
        if not n_coils or not (whole & inside).all() or places < len(heads):
            raise _broken(path.name, "its lines do not make one plain Cartesian stack of slices")
        kspace = np.zeros((n_slices, n_coils, rows, columns), np.complex64)
        for start in range(0, len(heads), columns):
            part = slice(start, start + columns)
            numbers = data.fields("data")[at_line[part]]
            for line, at_z, at_kx in zip(numbers, z[part], kx[part], strict=True):
                kspace[at_z, :, :, at_kx] = line.view(np.complex64).reshape(n_coils, rows)
    return torch.from_numpy(kspace)


def read_noise(path: str | Path) -> Tensor | None:
    """The noise scan of a file, complex64 (line, coil, sample); None if it has none.

    Raises:
        ValueError: not MRD, damaged, or noise lines of several lengths.
    """
    path = Path(path)
    with _opened(path) as file:
        heads = file[GROUP]["data"].fields("head")[:]
        at_line = np.flatnonzero((heads["flags"] & mrd_heads.NOISE) != 0)
        if not len(at_line):
            return None
        numbers = file[GROUP]["data"].fields("data")[at_line]
        n_coils = int(heads["active_channels"][at_line[0]])
        if len({len(line) for line in numbers}) > 1:
            raise _broken(path.name, "its noise lines have several lengths")
        lines = np.stack([line.view(np.complex64).reshape(n_coils, -1) for line in numbers])
    return torch.from_numpy(lines)


def read_header(path: str | Path) -> RawHeader:
    """The header, labels and record of a file that :class:`MrdWriter` wrote.

    Raises:
        ValueError: not such a file, or damaged.
    """
    path = Path(path)
    with _opened(path) as file:
        place = next((name for name in (OWN, OWN_BEFORE) if name in file), None)
        if place is None:
            raise _broken(path.name, "it was not written by synthlib")

        def labels(name: str) -> Tensor:
            values = file[GROUP][LABELS + name]["data"][:, 0, 0].transpose(0, 2, 1)
            return torch.from_numpy(values.astype(np.int64))

        return raw_header.from_json(file[place][()], labels)


def has_own_header(path: str | Path) -> bool:
    """Whether :class:`MrdWriter` wrote an MRD file; raises as :func:`read_header`."""
    with _opened(Path(path)) as file:
        return OWN in file or OWN_BEFORE in file


def _write_labels(group: h5py.Group, name: str, labels: Tensor, header: RawHeader) -> None:
    """One label map as MRD images (slice, 1, 1, x, y), packed."""
    values = labels.numpy(force=True).transpose(0, 2, 1)[:, None, None]
    code, kind = mrd_heads.label_type(name, int(values.min()), int(values.max()))
    attributes = mrd_heads.label_attributes(name)
    images = group.create_group(LABELS + name)
    images["header"] = mrd_heads.image_heads(len(values), header, code, attributes)
    images.create_dataset("data", data=values.astype(kind), compression="gzip")
    texts = images.create_dataset("attributes", (len(values),), h5py.special_dtype(vlen=bytes))
    texts[:] = [attributes] * len(values)


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; expected an MRD file (.h5)")
    try:
        with hdf5.open_whole(path) as file:
            if not {"xml", "data"} <= set(file.get(GROUP, ())):
                raise _broken(path.name, f"it has no {GROUP}/xml and {GROUP}/data")
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # HDF5 tells of damage in all three ways
        raise _broken(path.name, "it is truncated, damaged, or not HDF5 at all") from error


def _broken(name: str, problem: str) -> ValueError:
    return ValueError(
        f"{name}: {problem}. Expected an MRD file of one Cartesian 2-D scan, as synthlib writes "
        "it. Write or export it again, or leave it out."
    )
