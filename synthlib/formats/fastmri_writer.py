"""The fastMRI HDF5 layout, written slice by slice; fastmri_hdf5 tells the layout."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays
from synthlib.formats import hdf5_stream, mrd_heads, raw_header
from synthlib.formats.raw_writer import RawWriter


class FastmriWriter(RawWriter):
    """A fastMRI file under way; see :class:`RawWriter`.

    Labels are data sets labels_<name>, annotations a data set of JSON; stock loaders pass
    them by. There are no groups: MONAI's reader takes whatever lies at the top for an array.
    The covariance of the receivers' noise is the data set noise_covariance, complex64 (coil,
    coil), on the scale of k-space; where the slices lie is told by the data sets row_direction
    and column_direction (3) and slice_centres_mm (slice, 3), in DICOM's axes: as attributes they
    could not be put in one batch with those of another scan. What is not known is left out.
    """

    @contextmanager
    def _files(self) -> Iterator[None]:
        n_slices, header = self.shape[0], self.header
        ny, nx = header.recon_shape
        known = {name: value for name, value in _numbers(header).items() if math.isfinite(value)}
        with hdf5_stream.atomic_stream(self.path) as self._stream:
            file = self._stream.file
            self._kspace = file.create_dataset("kspace", self._stored_shape(), np.complex64)
            self._rss = np.zeros((n_slices, ny, nx), np.float32)
            file["ismrmrd_header"] = mrd_heads.xml_header(self.shape, header).encode()
            if header.noise_covariance is not None:
                file["noise_covariance"] = header.noise_covariance.numpy(force=True)
            if header.placement:
                spacing_mm = mrd_heads.lengths(header)[0]
                centres_mm = header.placement.centres_mm(header.recon_shape, spacing_mm)
                file["slice_centres_mm"] = np.array(centres_mm)
                file["row_direction"] = np.array(header.placement.along_row)
                file["column_direction"] = np.array(header.placement.along_column)
            if header.vendor:
                file.attrs["vendor"] = header.vendor
            for name, labels in header.labels.items():
                file.create_dataset(
                    raw_header.LABELS + name, data=labels.numpy(), compression="gzip"
                )
            if header.annotations:
                file["annotations"] = json.dumps(raw_header.plain(header.annotations))
            file.attrs["acquisition"] = header.contrast
            file.attrs["patient_id"] = header.patient_id
            for name, value in {**known, **header.attributes}.items():
                file.attrs[name] = value
            file.attrs["record"] = json.dumps(raw_header.plain(header.record), sort_keys=True)
            yield
            file["reconstruction_rss"] = self._rss
            self._describe(self._rss)

    def _stored_shape(self) -> tuple[int, ...]:
        return self.shape

    def _describe(self, target: np.ndarray) -> None:
        """What loaders want to know of the images that networks are to reach."""
        largest = float(target.max())
        if not largest > 0:
            raise ValueError(f"{self.path.name}: k-space to write is all zero; expected signal")
        self._stream.file.attrs["max"] = largest
        self._stream.file.attrs["norm"] = float(np.linalg.norm(target))

    def put(self, index: int, kspace: Tensor, rss: Tensor | None = None) -> None:
        """Write one slice; see :class:`RawWriter`. A known `rss` saves an inverse FFT."""
        super().put(index, kspace)
        if rss is None:
            images = arrays.crop_or_pad_image(arrays.ifft2c(kspace), self.header.recon_shape)
            rss = arrays.rss(images)
        self._rss[index] = rss.to(torch.float32).numpy(force=True)

    def _write(self, index: int, kspace: np.ndarray) -> None:
        self._kspace[index] = kspace
        self._stream.check()


class SingleCoilWriter(FastmriWriter):
    """A single-coil fastMRI file under way: kspace [slice, ky, kx] and reconstruction_esc.

    Slices are put as those of one coil, (1, ky, kx), with the root sum of squares of the
    coils that the one coil stands for, which becomes reconstruction_rss.
    """

    @contextmanager
    def _files(self) -> Iterator[None]:
        self._esc = np.zeros((self.shape[0], *self.header.recon_shape), np.float32)
        with super()._files():
            yield
            self._stream.file["reconstruction_esc"] = self._esc

    def _stored_shape(self) -> tuple[int, ...]:
        return self.shape[0], self.shape[2], self.shape[3]

    def _describe(self, target: np.ndarray) -> None:
        super()._describe(self._esc)

    def put(self, index: int, kspace: Tensor, rss: Tensor | None = None) -> None:
        """Write one slice; see :class:`RawWriter`."""
        super().put(index, kspace, rss)
        images = arrays.crop_or_pad_image(arrays.ifft2c(kspace), self.header.recon_shape)
        self._esc[index] = images[0].abs().to(torch.float32).numpy(force=True)

    def _write(self, index: int, kspace: np.ndarray) -> None:
        super()._write(index, kspace[0])


def _numbers(header: raw_header.RawHeader) -> dict[str, float]:
    return {name: float(getattr(header, name)) for name in raw_header.NUMBERS}
