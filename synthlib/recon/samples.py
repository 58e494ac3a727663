"""Undersampled slices with their targets: what a reconstruction is given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from synthlib import arrays, coils, pairs, runs, synthesis
from synthlib.formats import prepared_hdf5
from synthlib.recon import masks, sense

GROUND_TRUTH = "ground_truth"  # the k-space of the files as it is, no synthesis
CACHE_BYTES = 2**28  # of full slices that a training keeps in memory


@dataclasses.dataclass(frozen=True)
class Sample:
    """One slice.

    Attributes:
        kspace: complex64 (coil, ky, kx), undersampled.
        mask: see masks.Mask.
        maps: complex64 (coil, y, x), unit root sum of squares.
        target: float32 (y, x), root sum of squares of the full k-space's coil
            images (of the synthetic ones where the k-space is synthetic).
        data_range: maximum of the volume that the slice is from.
        crop: (ny, nx) that loss and metrics look at, the scanner's own image.
        name: of what was undersampled how, for caches; "" for none.
        level: as sense.SenseRows takes it; None: estimated from the data.
    """

    kspace: Tensor
    mask: masks.Mask
    maps: Tensor
    target: Tensor
    data_range: float
    crop: tuple[int, int]
    name: str = ""
    level: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Scans, and where the phases written for them lie.

    Attributes:
        source: GROUND_TRUTH, or the name of a phase source.
        volumes: scans to learn from.
        phases: folder of files <volume>.h5 that phases.write_phases made; not
            looked at for GROUND_TRUTH.
        measured: the scans that `volumes` were made of, in their order; none: `volumes`.
    """

    source: str
    volumes: Sequence[pairs.PreparedVolume]
    phases: Path
    measured: Sequence[pairs.PreparedVolume] = ()


def relative_noise(volume: pairs.PreparedVolume, index: int) -> float:
    """Noise power of a sample of measured k-space over the mean power of the image.

    Synthetic slices are trained with that of the scan they were made of: estimated
    from the synthetic k-space itself, rough phase would count as noise, smooth phase
    as the lack of it, and a comparison of phases would be one of noise estimates.
    """
    images = volume.raw.coil_images(index)
    image = coils.combine(images, volume.maps(index))
    return float(sense.outer_power(arrays.fft2c(images)) / sense.mean_power(image))


def full_kspace(data: TrainingData, volume: pairs.PreparedVolume, index: int) -> Tensor:
    """Complex64 (coil, ky, kx) of one slice, measured or synthetic."""
    if data.source == GROUND_TRUTH:
        return arrays.fft2c(volume.raw.coil_images(index))
    phase = prepared_hdf5.read(data.phases / f"{volume.name}.h5", "phase", index)
    return synthesis.multicoil_kspace(volume.pair(index).magnitude, phase, volume.maps(index))


def undersample(
    kspace: Tensor,
    maps: Tensor,
    volume: pairs.PreparedVolume,
    mask: masks.Mask,
    data_range: float,
) -> Sample:
    """A sample from full k-space (coil, ky, kx) and maps (coil, y, x) of one grid."""
    target = arrays.rss(arrays.ifft2c(kspace))
    crop = tuple(map(min, volume.raw.recon_shape, target.shape))
    kept = kspace * mask.columns.to(kspace.device)
    return Sample(kept, mask, maps, target, data_range, (crop[0], crop[1]))


class TrainingSamples(Dataset):
    """Slices of one training; every slice gets a mask of its own in every epoch.

    Full slices are kept in memory as far as CACHE_BYTES reach.
    """

    def __init__(
        self,
        data: Sequence[TrainingData],
        accelerations: Sequence[int],
        center_fraction: float,
        seed: int,
        *,
        rows: int = 0,
        global_phases: bool = False,
    ) -> None:
        """
        Args:
            data: what to learn from, one after the other.
            accelerations: nominal R; with several, every sample draws one of them.
            center_fraction: of the masks.
            seed: of the order and of all that is drawn for a sample. Draws are named by the
                measured scan: they are the same whatever was made of it.
            rows: neighbouring rows of a sample, at random; 0: all.
            global_phases: turn every sample by a phase of its own, uniform on the circle.
                A receiver's reference is arbitrary, and networks that see it at one value
                alone fail at others. Otherwise phases stay as measured or written.
        """
        self.slices = [
            (part, volume, index)
            for part in data
            for volume, index in pairs.slices_of(part.volumes)
        ]
        self._measured = [
            place for part in data for place in pairs.slices_of(part.measured or part.volumes)
        ]
        self.accelerations, self.center_fraction = tuple(accelerations), center_fraction
        self.seed, self.rows = seed, rows
        self.global_phases = global_phases
        self.epoch = 0
        self._ranges: dict[str, float] = {}
        self._cache: dict[int, tuple[Tensor, Tensor, float]] = {}
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, item: int) -> Sample:
        volume, (measured, index) = self.slices[item][1], self._measured[item]
        kspace, maps, noise = self._full(item)
        name = (self.epoch, measured.name, index)
        which = 0
        if len(self.accelerations) > 1:
            rng = runs.rng(self.seed, "acceleration", *name)
            which = int(torch.randint(len(self.accelerations), (), generator=rng))
        mask = masks.equispaced(
            kspace.shape[-1],
            self.accelerations[which],
            center_fraction=self.center_fraction,
            seed=runs.seed_for(self.seed, "mask", *name),
            acquired=volume.raw.acquired,
        )
        if self.global_phases:
            kspace = kspace * _random_turn(runs.rng(self.seed, "global phase", *name))
        level = _level(kspace, maps, mask, noise)
        if 0 < self.rows < kspace.shape[-2]:
            kspace, maps = self._some_rows(kspace, maps, name)
        sample = undersample(kspace, maps, volume, mask, self._data_range(volume))
        return dataclasses.replace(sample, level=level)

    def _full(self, item: int) -> tuple[Tensor, Tensor, float]:
        """K-space, maps and the noise power of a sample of this k-space."""
        if item in self._cache:
            return self._cache[item]
        data, volume, index = self.slices[item]
        kspace, maps = full_kspace(data, volume, index), volume.maps(index)
        image = coils.combine(arrays.ifft2c(kspace), maps)
        noise = relative_noise(*self._measured[item]) * float(sense.mean_power(image))
        full = kspace, maps, noise
        size = sum(array.numel() * array.element_size() for array in (kspace, maps))
        if self._cached_bytes + size <= CACHE_BYTES:
            self._cache[item] = full
            self._cached_bytes += size
        return full

    def _some_rows(
        self, kspace: Tensor, maps: Tensor, name: tuple[object, ...]
    ) -> tuple[Tensor, Tensor]:
        """Neighbouring rows of the coil images: a problem of its own, as rows are independent."""
        rng = runs.rng(self.seed, "rows", *name)
        first = int(torch.randint(kspace.shape[-2] - self.rows + 1, (), generator=rng))
        images = arrays.ifft2c(kspace).narrow(-2, first, self.rows)
        return arrays.fft2c(images), maps.narrow(-2, first, self.rows)

    def _data_range(self, volume: pairs.PreparedVolume) -> float:
        # Maps have unit root sum of squares, so that the synthetic volume's
        # maximum is that of its magnitude, which is the measured one's, too.
        if volume.name not in self._ranges:
            top = max(float(volume.pair(i).magnitude.max()) for i in range(volume.n_slices))
            self._ranges[volume.name] = top
        return self._ranges[volume.name]


def _random_turn(rng: torch.Generator) -> Tensor:
    """exp(i a), a uniform on the circle."""
    angle = 2 * math.pi * torch.rand((), generator=rng)
    return torch.polar(torch.ones(()), angle)


def _level(kspace: Tensor, maps: Tensor, mask: masks.Mask, noise: float) -> Tensor:
    """(2,) as SenseRows takes it, of a whole slice under its mask; noise: power of a sample."""
    thinned = sense.mean_power(coils.combine(arrays.ifft2c(kspace * mask.columns), maps))
    return torch.stack((torch.as_tensor(noise, dtype=thinned.dtype), thinned))


def prefetched(samples: TrainingSamples, first_step: int, n_steps: int) -> Iterator[Sample]:
    """The samples of a training from one step on; the next is made while one is used.

    Every epoch takes all slices once, in an order that follows from seed and epoch.
    """

    def make(step: int) -> Sample:
        samples.epoch, number = divmod(step, len(samples))
        rng = runs.rng(samples.seed, "order", samples.epoch)
        return samples[int(torch.randperm(len(samples), generator=rng)[number])]

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(make, first_step) if first_step < n_steps else None
        for step in range(first_step, n_steps):
            assert following is not None
            sample = following.result()
            following = pool.submit(make, step + 1) if step + 1 < n_steps else None
            yield sample


def measured_volume(
    volume: pairs.PreparedVolume,
    acceleration: int,
    center_fraction: float,
    *,
    mask_seed: int | None = None,
    indices: Sequence[int] | None = None,
) -> list[Sample]:
    """Slices of a scan as measured, under one mask.

    Args:
        volume: the scan.
        acceleration, center_fraction: of the mask; R = 1 leaves all columns.
        mask_seed: of its offset; None: it follows from the scan's name.
        indices: of the slices; None: all.
    """
    indices = range(volume.n_slices) if indices is None else indices
    kspaces = [arrays.fft2c(volume.raw.coil_images(index)) for index in indices]
    n_columns = kspaces[0].shape[-1]
    if acceleration == 1:
        mask = masks.Mask(torch.ones(n_columns, dtype=torch.bool), n_columns)
    else:
        mask = masks.equispaced(
            n_columns,
            acceleration,
            center_fraction=center_fraction,
            seed=masks.seed_of(volume.name) if mask_seed is None else mask_seed,
            acquired=volume.raw.acquired,
        )
    samples = [
        undersample(kspace, volume.maps(index), volume, mask, 0.0)
        for index, kspace in zip(indices, kspaces, strict=True)
    ]
    top = max(float(volume.pair(i).magnitude.max()) for i in range(volume.n_slices))
    seen = (volume.name, volume.fingerprint, center_fraction, acceleration, mask_seed)
    return [
        dataclasses.replace(sample, data_range=top, name=runs.fingerprint(*seen, index))
        for index, sample in zip(indices, samples, strict=True)
    ]
