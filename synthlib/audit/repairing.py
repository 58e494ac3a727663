"""What can be mended: images on a finer grid than k-space had."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.audit import headers
from synthlib.audit.findings import Audit
from synthlib.records import ImageVolume


def repair(volume: ImageVolume, report: Audit) -> ImageVolume:
    """Crop k-space to the true matrix; spacing and labels follow, a note is added.

    Where phase was measured it is the k-space of the complex image that is cropped.

    Args:
        volume: the one that was examined.
        report: its audit.

    Returns:
        The volume itself if its grid is the true matrix.

    Raises:
        ValueError: the report is of another grid.
    """
    ny, nx = (int(n) for n in volume.magnitude.shape[-2:])
    if (ny, nx) != report.grid:
        raise ValueError(
            f"the audit is of a grid of {report.grid[0]}x{report.grid[1]}, {volume.name} has "
            f"{ny}x{nx}; expected the volume that was examined. Examine this one."
        )
    if not report.repairable:
        return volume
    shape = report.true_matrix
    magnitude, phase = _cropped(volume, shape)
    spacing = tuple(
        mm * n / new for mm, n, new in zip(volume.spacing_mm, (ny, nx), shape, strict=True)
    )
    note = f"repaired: k-space cropped from {ny}x{nx} to the true matrix {shape[0]}x{shape[1]}"
    said = headers.encoded(volume.facts, report.grid)
    left = [
        f"{axis} was left: the header says {n} encoded of {whole}, but its edge was not seen"
        for axis, n, kept, whole in zip(("ky", "kx"), said, shape, report.grid, strict=True)
        if n < kept == whole
    ]
    note = "; ".join([note, *left])
    facts = {
        name: value
        for name, value in volume.facts.items()
        if name not in ("interpolated", "acquisition_matrix")
    }
    return dataclasses.replace(
        volume,
        magnitude=magnitude,
        phase=phase,
        spacing_mm=(spacing[0], spacing[1]),
        labels={name: nearest(label, shape) for name, label in volume.labels.items()},
        facts=facts,
        notes=(*volume.notes, note),
    )


def _cropped(volume: ImageVolume, shape: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """Magnitude and phase on a smaller matrix, slice by slice."""
    if volume.phase is None:
        images = [arrays.resample(one.to(torch.complex64), shape).real for one in volume.magnitude]
        return torch.stack(images).clamp(min=0), None
    pairs = zip(volume.magnitude, volume.phase, strict=True)
    image = torch.stack([arrays.resample(torch.polar(*pair), shape) for pair in pairs])
    return image.abs(), arrays.wrap(image.angle())


def nearest(labels: Tensor, shape: tuple[int, int]) -> Tensor:
    """Label maps (slice, y, x) on another grid of the same field of view, pixel n // 2 kept."""
    for axis, new in zip((-2, -1), shape, strict=True):
        old = labels.shape[axis]
        place = (torch.arange(new) - new // 2) * (old / new) + old // 2
        index = place.round().long().clamp(0, old - 1)
        labels = labels.index_select(labels.ndim + axis, index)
    return labels
