"""Undersampled slices with their targets: what a Variational Network is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from synthlib import arrays, pairs, runs, synthesis
from synthlib.formats import prepared_hdf5
from synthlib.recon import masks

GROUND_TRUTH = "ground_truth"  # the measured k-space itself, no synthesis


@dataclasses.dataclass(frozen=True)
class Sample:
    """One slice.

    Attributes:
        kspace: complex64 (coil, ky, kx), undersampled.
        mask: see masks.Mask.
        target: float32 (y, x), root sum of squares of the full k-space's coil
            images (of the synthetic ones where the k-space is synthetic).
        data_range: maximum of the volume that the slice is from.
        crop: (ny, nx) that loss and metrics look at, the scanner's own image.
    """

    kspace: Tensor
    mask: masks.Mask
    target: Tensor
    data_range: float
    crop: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Scans, and where the phases written for them lie.

    Attributes:
        source: GROUND_TRUTH, or the name of a phase source.
        volumes: scans to learn from.
        phases: folder of files <volume>.h5 that phases.write_phases made; not
            looked at for GROUND_TRUTH.
    """

    source: str
    volumes: Sequence[pairs.PreparedVolume]
    phases: Path


def full_kspace(data: TrainingData, volume: pairs.PreparedVolume, index: int) -> Tensor:
    """Complex64 (coil, ky, kx) of one slice, measured or synthetic."""
    if data.source == GROUND_TRUTH:
        return arrays.fft2c(volume.raw.coil_images(index))
    phase = prepared_hdf5.read(data.phases / f"{volume.name}.h5", "phase", index)
    return synthesis.multicoil_kspace(volume.pair(index).magnitude, phase, volume.maps(index))


def undersample(
    kspace: Tensor, volume: pairs.PreparedVolume, mask: masks.Mask, data_range: float
) -> Sample:
    target = arrays.rss(arrays.ifft2c(kspace))
    crop = tuple(map(min, volume.raw.recon_shape, target.shape))
    kept = kspace * mask.columns.to(kspace.device)
    return Sample(kept, mask, target, data_range, (crop[0], crop[1]))


class TrainingSamples(Dataset):
    """Slices of one epoch; every slice gets a mask of its own."""

    def __init__(
        self, data: TrainingData, acceleration: int, center_fraction: float, seed: int, epoch: int
    ) -> None:
        self.data = data
        self.slices = pairs.slices_of(data.volumes)
        self.how = (acceleration, center_fraction)
        self.seed, self.epoch = seed, epoch
        self._ranges: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, item: int) -> Sample:
        volume, index = self.slices[item]
        kspace = full_kspace(self.data, volume, index)
        acceleration, center_fraction = self.how
        mask = masks.equispaced(
            kspace.shape[-1],
            acceleration,
            center_fraction=center_fraction,
            seed=runs.seed_for(self.seed, "mask", self.epoch, volume.name, index),
            acquired=volume.raw.acquired,
        )
        return undersample(kspace, volume, mask, self._data_range(volume))

    def _data_range(self, volume: pairs.PreparedVolume) -> float:
        # Maps have unit root sum of squares, so that the synthetic volume's
        # maximum is that of its magnitude, which is the measured one's, too.
        if volume.name not in self._ranges:
            top = max(float(volume.pair(i).magnitude.max()) for i in range(volume.n_slices))
            self._ranges[volume.name] = top
        return self._ranges[volume.name]


def measured_volume(
    volume: pairs.PreparedVolume, acceleration: int, center_fraction: float
) -> list[Sample]:
    """All slices of a scan as measured, under one mask that follows from its name."""
    kspaces = [arrays.fft2c(volume.raw.coil_images(i)) for i in range(volume.n_slices)]
    mask = masks.equispaced(
        kspaces[0].shape[-1],
        acceleration,
        center_fraction=center_fraction,
        seed=masks.seed_of(volume.name),
        acquired=volume.raw.acquired,
    )
    samples = [undersample(kspace, volume, mask, 0.0) for kspace in kspaces]
    top = float(torch.stack([sample.target for sample in samples]).max())
    return [dataclasses.replace(sample, data_range=top) for sample in samples]


def zero_filled(sample: Sample) -> Tensor:
    """Root sum of squares (y, x) with zeros where nothing was measured."""
    return arrays.rss(arrays.ifft2c(sample.kspace))
