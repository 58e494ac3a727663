"""What synthlib wrote beside the k-space of a file: labels, annotations, record."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import torch

from synthlib.formats import bart_cfl, hdf5, mrd, raw_header, reading
from synthlib.formats.raw_header import LABELS, RawHeader
from synthlib.records import Placement, RawVolume

# as FastmriWriter writes them
COVARIANCE = "noise_covariance"
PLACES = ("row_direction", "column_direction", "slice_centres_mm")


def header_of(volume: RawVolume) -> RawHeader:
    """The header of a volume, with the labels, annotations and record of our own files.

    Raises:
        ValueError: what lies beside the k-space is damaged.
    """
    header = dataclasses.replace(raw_header.of_volume(volume), noise=_noise_lines(volume))
    path = Path(volume.source)
    kind = reading.kind_of(path)
    if kind == reading.FASTMRI:
        return dataclasses.replace(header, **_of_fastmri(path, volume))
    if kind == reading.MRD and mrd.has_own_header(path):
        return _with(header, mrd.read_header(path))
    if kind == reading.CFL and bart_cfl.beside(bart_cfl.base(path), ".json").is_file():
        return _with(header, bart_cfl.read_header(path))
    return header


def _noise_lines(volume: RawVolume) -> torch.Tensor | None:
    """The noise scan as lines (line, coil, sample) that are as long as the image's."""
    if volume.noise is None:
        return None
    n_samples = min(int(volume.kspace.shape[-2]), volume.noise.shape[1])
    n_lines = volume.noise.shape[1] // n_samples
    whole = volume.noise[:, : n_lines * n_samples].reshape(-1, n_lines, n_samples)
    return whole.transpose(0, 1).contiguous()


def record_of(path: Path, kind: str) -> dict[str, Any]:
    """The record in a file that synthlib wrote; empty where there is none."""
    try:
        if kind == reading.MRD:
            return dict(mrd.read_header(path).record)
        if kind == reading.CFL:
            return dict(bart_cfl.read_header(path).record)
        with hdf5.open_whole(path) as file:
            return dict(json.loads(file.attrs["record"]))
    except (ValueError, OSError, KeyError, TypeError, RuntimeError):
        return {}


def _with(header: RawHeader, own: RawHeader) -> RawHeader:
    return dataclasses.replace(
        header,
        orientation=own.orientation,
        placement=own.placement,
        vendor=own.vendor,
        record=own.record,
        labels=own.labels,
        annotations=own.annotations,
    )


def _of_fastmri(path: Path, volume: RawVolume) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        group = file.get("labels")
        maps = dict(group.items()) if isinstance(group, h5py.Group) else {}
        maps |= {name.removeprefix(LABELS): file[name] for name in file if name.startswith(LABELS)}
        if maps:
            facts["labels"] = {
                name: torch.from_numpy(values[()]).long() for name, values in maps.items()
            }
        if "annotations" in file:
            facts["annotations"] = json.loads(file["annotations"][()])
        shapes = {name: getattr(file[name], "shape", ()) for name in (COVARIANCE, *PLACES)
                  if name in file}  # fmt: skip
        if shapes.get(COVARIANCE) == (volume.n_coils, volume.n_coils):
            covariance = torch.from_numpy(file[COVARIANCE][()])
            facts["noise_covariance"] = covariance.to(torch.complex64)
        if [shapes.get(name) for name in PLACES] == [(3,), (3,), (volume.n_slices, 3)]:
            row, column, centres_mm = (file[name][()] for name in PLACES)
            facts["placement"] = Placement.of_centres(
                row, column, centres_mm, volume.recon_shape, volume.spacing_mm
            )
    return facts
