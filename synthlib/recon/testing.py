"""Any reconstruction on measured scans: its images, and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from synthlib import arrays, metrics, pairs
from synthlib.recon import networks, samples

Method = Callable[[samples.Sample], Tensor]  # a sample to its magnitude image, float (y, x)


def learned(network: Any, device: torch.device) -> Method:
    """A network as a method."""

    def method(sample: samples.Sample) -> Tensor:
        with torch.no_grad():
            return networks.reconstruct(network, sample, device).float().cpu()

    return method


def images_of(method: Method, slices: Sequence[samples.Sample]) -> Tensor:
    """Float (slice, y, x), cropped to what metrics look at."""
    return torch.stack([arrays.crop_or_pad_image(method(sample), sample.crop) for sample in slices])


def targets_of(slices: Sequence[samples.Sample]) -> Tensor:
    """Float (slice, y, x), cropped to what metrics look at."""
    return torch.stack([arrays.crop_or_pad_image(sample.target, sample.crop) for sample in slices])


def score(
    method: Method,
    volume: pairs.PreparedVolume,
    slices: Sequence[samples.Sample],
    indices: Sequence[int] | None = None,
) -> dict[str, Any]:
    """One row of results: the volume, its patient, and the metrics of metrics.ALL_NAMES.

    Args:
        method: what reconstructs.
        volume: the scan.
        slices: undersampled ones of it.
        indices: their numbers in the volume; None: they are all that it has.
    """
    indices = range(volume.n_slices) if indices is None else indices
    head = metrics.volume_head([volume.pair(index) for index in indices], slices[0].crop)
    quality = metrics.image_quality(targets_of(slices), images_of(method, slices), head)
    return {"volume": volume.name, "patient": volume.raw.patient_id, **quality}


def score_all(
    method: Method,
    volumes: Sequence[pairs.PreparedVolume],
    acceleration: int,
    center_fraction: float,
    *,
    middle_slices: bool = False,
) -> list[dict[str, Any]]:
    """Rows of :func:`score`, every volume under the mask that follows from its name.

    Args:
        method: what reconstructs.
        volumes: scans.
        acceleration, center_fraction: of the masks.
        middle_slices: look at the middle slice of each volume alone.
    """
    rows = []
    for volume in volumes:
        indices = [volume.n_slices // 2] if middle_slices else None
        slices = samples.measured_volume(volume, acceleration, center_fraction, indices=indices)
        rows.append(score(method, volume, slices, indices))
    return rows
