"""Maps of one volume, block by block, into its file."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from synthlib import arrays, coils, tasks
from synthlib.formats import prepared_hdf5
from synthlib.records import RawVolume

BLOCK = 4  # slices estimated at once; more would only take memory
# Python catches warnings for the whole process: the threads of a Dask worker take turns.
_catching = threading.Lock()


def write_maps(
    path: Path,
    volume: RawVolume,
    settings: coils.EspiritSettings,
    *,
    device: str,
    attributes: Mapping[str, object],
) -> None:
    """Estimate and judge the maps of every slice; the file is there when all are.

    Args:
        path: of the map file.
        volume: a multi-coil scan.
        settings: parameters of the maps.
        device: where the maps are estimated.
        attributes: what else the file says of itself.

    Raises:
        ValueError: a slice without maps; volume and slice are named.
        OSError: the disk is full.
    """
    qualities: list[coils.SliceQuality] = []
    shapes: list[tuple[int, int]] = []
    blocks = [
        range(first, min(first + BLOCK, volume.n_slices))
        for first in range(0, volume.n_slices, BLOCK)
    ]
    estimates = tasks.spread(
        partial(_estimate, volume, settings=settings, device=device),
        blocks,
        at_most=tasks.MAX_THREADS if device == "cpu" else 1,
    )
    with (
        prepared_hdf5.blocks(path, volume.n_slices) as file,
        caught_warnings(),  # the qualities say the same, slice by slice
        closing(estimates),
    ):
        for indices, (found, judged) in zip(blocks, estimates, strict=True):
            qualities += judged
            shapes.append(found.calib_shape)
            tensors = {name: getattr(found, name) for name in coils.CoilMaps.tensors()}
            file.put(indices.start, tensors)
        file.describe(
            {
                **attributes,
                "contrast": volume.contrast,
                "n_coils": volume.n_coils,
                "qualities": [dataclasses.asdict(quality) for quality in qualities],
                "calib_shape": min(shapes),
                "warnings": [*volume.notes, *_once(qualities)],
            }
        )


@contextmanager
def caught_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """All warnings of what is done within; none is shown."""
    with _catching, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def _estimate(
    volume: RawVolume, indices: range, settings: coils.EspiritSettings, device: str
) -> tuple[coils.CoilMaps, list[coils.SliceQuality]]:
    """Maps of some slices, and how good they are."""
    shape = (len(indices), *volume.kspace.shape[1:])
    kspace = torch.empty(shape, dtype=torch.complex64, device=device)  # (slice, coil, ky, kx)
    for row, index in enumerate(indices):
        kspace[row] = volume.calibration_signal(index)
    found = _maps(volume, kspace, indices, settings)
    if volume.undersampled:  # whole images would be folded: judged by what calibrated the maps
        full = (kspace.shape[-2], kspace.shape[-1])
        block = coils.find_region(kspace, full)
        kspace = arrays.crop_or_pad(arrays.crop_or_pad(kspace, block), full)
    images = torch.stack([volume.images_of(one) for one in kspace])  # (slice, coil, y, x)
    judged = [
        dataclasses.replace(quality, slice_index=index)
        for index, quality in zip(indices, coils.judge(images, found), strict=True)
    ]
    return found, judged


def _maps(
    volume: RawVolume, kspace: Tensor, indices: range, settings: coils.EspiritSettings
) -> coils.CoilMaps:
    try:
        return coils.espirit_maps(kspace, settings, image_shape=volume.image_shape)
    except ValueError as error:
        # a block fails as one: its slices by themselves tell which of them it was
        for index, one in zip(indices, kspace, strict=True):
            try:
                coils.espirit_maps(one, settings, image_shape=volume.image_shape)
            except ValueError as own:
                raise ValueError(f"{volume.name} slice {index}: {own}") from own
        raise ValueError(f"{volume.name}: {error}") from error


def _once(qualities: Sequence[coils.SliceQuality]) -> list[str]:
    """One line for each flag, with the slices that have it."""
    slices: dict[str, set[int]] = {}
    for quality in qualities:
        for flag in quality.flags:
            slices.setdefault(flag, set()).add(quality.slice_index)
    return [
        flag
        if len(flagged) == len(qualities)
        else f"slice{'s' if len(flagged) > 1 else ''} {_spans(flagged)}: {flag}"
        for flag, flagged in slices.items()
    ]


def _spans(numbers: set[int]) -> str:
    """ "0 to 3, 8" of 0, 1, 2, 3 and 8."""
    spans = []
    for _, group in itertools.groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        span = [number for _, number in group]
        spans.append(f"{span[0]} to {span[-1]}" if len(span) > 1 else str(span[0]))
    return ", ".join(spans)
