"""Raw data beside the magnitudes they were made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib import archive, arrays, audit, bank, formats, synthesis
from synthlib.conversion import one
from synthlib.conversion.run import Result
from synthlib.conversion.settings import WRITTEN
from synthlib.records import ImageVolume


@dataclass(frozen=True)
class Reviewed:
    """The middle slice of one series, before and after; all (y, x) on one grid.

    Attributes:
        where, contrast: of the series.
        magnitude, phase: what the raw data were made of.
        received: root sum of squares of the raw data's coil images.
        kspace: (ky, kx) of the first coil.
        head: where the head is.
        noise: of the magnitude along its signal.
        snr, snr_out: of all slices of the magnitude and of what was received.
    """

    where: str
    contrast: str
    magnitude: Tensor
    phase: Tensor
    received: Tensor
    kspace: Tensor
    head: Tensor
    noise: float
    snr: float
    snr_out: float

    @property
    def apart(self) -> float:
        """Median difference of image and raw data in the head, in units of the image's noise."""
        difference = (self.received - self.magnitude)[self.head].abs()
        return float(difference.median()) / self.noise if self.noise else float("nan")

    def row(self) -> dict[str, str]:
        """For a table: noise levels, and how far the images are apart inside the head."""
        apart = ((self.received - self.magnitude)[self.head] / (self.noise or float("nan"))).abs()
        return {
            "input": self.where,
            "contrast": self.contrast,
            "SNR of the image": _number(self.snr),
            "SNR of the raw data": _number(self.snr_out),
            "difference in the head / noise (median)": _number(self.apart),
            "within the noise": f"{100 * float((apart <= 1).float().mean()):.0f} %",
        }


def review(result: Result) -> Iterator[Reviewed]:
    """Read fastMRI files back and set them beside their images, in the order of the inputs.

    Raises:
        ValueError: the raw data have another format, or were damaged.
    """
    whole = zip(result.jobs, result.outcomes, strict=True)
    for job, outcome in sorted(whole, key=lambda pair: archive.natural(pair[1].where)):
        if outcome.status == one.ASIDE:
            continue
        if job.settings.format != "fastmri":
            raise ValueError(f"format {job.settings.format}; a review reads fastmri files only")
        volume = archive.read(job.series, phase=job.settings.phase != WRITTEN)
        pixels = one.pixels_hash(volume)
        if job.settings.repair:
            volume = audit.repair(volume, audit.examine(volume))
        yield _reviewed(job, volume, pixels)


def _reviewed(job: one.Job, volume: ImageVolume, pixels: str) -> Reviewed:
    head = bank.outline(volume.magnitude)
    middle = int(head.area.argmax())
    kspace = formats.read_raw(job.target).kspace
    shape = (volume.magnitude.shape[-2], volume.magnitude.shape[-1])
    images = [arrays.rss(arrays.ifft2c(kspace[index])) for index in range(volume.n_slices)]
    out = torch.stack([arrays.crop_or_pad_image(image, shape) for image in images])
    before = synthesis.estimate_noise(volume.magnitude, head.mask)
    after = synthesis.estimate_noise(out, head.mask)
    return Reviewed(
        where=job.series.where,
        contrast=volume.contrast,
        magnitude=volume.magnitude[middle],
        phase=one.write_phase(volume, pixels, middle, job.settings),
        received=out[middle],
        kspace=kspace[middle][0],
        head=head.mask[middle],
        noise=before.std,
        snr=before.snr,
        snr_out=after.snr,
    )


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
