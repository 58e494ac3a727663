"""Measured heads that nothing of the simulated scanner was set by, and twins processed alike.

Four subjects, T2, coronal and sagittal (SIAT_MRIdata200). Their makers combined twelve coils
adaptively, which takes the smooth part of the phase away, and keep one complex image. A twin
goes the same way, so that nobody can tell the two by their processing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from scipy import ndimage
from torch import Tensor

from synthlib import arrays, formats, likeness, scanner
from synthlib.likeness import Portrait, Twin
from synthlib.records import RawVolume

N_COILS = 12
# Box and iterations were set after these heads had been looked at: they leave twins as much smooth
# phase as the files have. Phase in the brain after Gaussians of 1.5, 3, 6 and 12 pixels has an rms
# of 0.06, 0.06, 0.05, 0.03 rad (coronal), that of twins 0.06, 0.06, 0.04, 0.03; a box of 9 pixels
# leaves half of it. What is compared is less than smooth phase, and moves little: boxes of 7 to 31
# pixels change the brain phase left by at most 0.002 rad and its share beyond 0.3 rad by 0.04 %
# (two heads of either orientation).
BOX_PIXELS = 15
N_ITERATIONS = 4
# Their fine phase across phase encoding, which decay along a train makes of an echo's odd part,
# ends at 0.6 of the highest frequency, and the other side of k-space is the weaker one: beyond the
# first echoes' lines come the last echoes', as in a train of which TE lies at 0.3.
CONTRAST = "AXT2LONG"
SMOOTH_PIXELS = 3.0  # s.d. of the Gaussian whose phase is taken off measured and simulated alike


class View(NamedTuple):
    """One orientation of the four subjects.

    Attributes:
        slices: of the file; levels_mm: where twins are cut, by eye beside simulated heads.
        turns: quarter turns, counter-clockwise, until the head stands upright.
        pixel_mm: not told. With it heads are as wide (coronal) or as long (sagittal) in the
            mean as simulated ones at the same levels: 150 and 192 mm.
    """

    orientation: str
    slices: tuple[int, ...]
    levels_mm: tuple[float, ...]
    turns: int
    pixel_mm: float


VIEWS = (
    View("coronal", (6, 8), (27.0, 15.0), 1, 0.67),
    View("sagittal", (5, 7), (24.0, 6.0), -1, 0.81),
)
N_SUBJECTS = 4


class KeptBack(NamedTuple):
    """A measured head with its smooth phase taken off, and the portrait of its middle slice."""

    view: View
    volume: RawVolume
    portrait: Portrait


def paths(view: View) -> list[str]:
    """Files of one orientation, relative to the folder of measured heads."""
    names = range(1, N_SUBJECTS + 1)
    return [f"complex_t2/subject{number}_{view.orientation}.h5" for number in names]


def measured(folder: Path, view: View) -> Iterator[KeptBack]:
    """The subjects of one orientation, upright."""
    for path in paths(view):
        whole = formats.read_raw(folder / path)
        images = torch.stack([whole.coil_images(index)[0] for index in view.slices])
        images = without_smooth_phase(torch.rot90(images, view.turns, (1, 2)))
        volume = dataclasses.replace(_one_channel(whole, images), spacing_mm=(view.pixel_mm,) * 2)
        middle = likeness.portrait(volume, len(view.slices) // 2)
        facts = {"level_mm": view.levels_mm[len(view.slices) // 2], "n_elements": N_COILS}
        yield KeptBack(view, volume, dataclasses.replace(middle, **facts))


def twin(
    head: KeptBack,
    seed: int,
    mechanisms: Sequence[str] = scanner.ScanSettings.mechanisms,
    contrast: str = CONTRAST,
) -> Twin:
    """A simulated subject, scanned and processed as the head was, of the same SNR thereafter."""
    settings = dataclasses.replace(
        likeness.twin_settings(head.portrait, seed),
        contrasts=(contrast,),
        positions_mm=head.view.levels_mm,
        mechanisms=tuple(mechanisms),
    )
    assert isinstance(settings, scanner.ScanSettings)
    return likeness.matched_twin(head.portrait, settings, as_their_makers_did)


def as_their_makers_did(volume: RawVolume) -> RawVolume:
    """Coils combined adaptively, then the smooth phase taken off as of the measured heads."""
    coils = [volume.coil_images(index) for index in range(volume.n_slices)]
    return _one_channel(
        volume, without_smooth_phase(torch.stack([combined_adaptively(c) for c in coils]))
    )


def combined_adaptively(coil_images: Tensor, box: int = BOX_PIXELS) -> Tensor:
    """Complex (y, x) of coil images (coil, y, x); smooth phase goes into the weights.

    Every coil's weight is its mean, over a box, of its image times the conjugate of the
    combined one; both are made in turns.

    Source: Inati et al., Proc. ISMRM 22:4407 (2014); Walsh et al., MRM 43:682 (2000).
    """
    image = arrays.rss(coil_images).to(coil_images.dtype)
    for _ in range(N_ITERATIONS):
        weights = _box_mean(coil_images * image.conj(), box)
        weights = weights / arrays.rss(weights).clamp(min=1e-30)
        image = (weights.conj() * coil_images).sum(0)
    return image


def without_smooth_phase(images: Tensor) -> Tensor:
    """Complex images (slice, y, x) less the phase of themselves after a Gaussian of 3 pixels."""
    sigma = (0.0, SMOOTH_PIXELS, SMOOTH_PIXELS)
    smooth = torch.from_numpy(ndimage.gaussian_filter(images.numpy(), sigma))
    return images * torch.polar(torch.ones_like(smooth.real), -smooth.angle())


def _box_mean(images: Tensor, box: int) -> Tensor:
    return torch.from_numpy(ndimage.uniform_filter(images.numpy(), (0, box, box)))


def _one_channel(volume: RawVolume, images: Tensor) -> RawVolume:
    """Raw data of one coil whose images (slice, y, x) are these."""
    shape = (images.shape[1], images.shape[2])
    return dataclasses.replace(
        volume, kspace=arrays.fft2c(images)[:, None], recon_shape=shape, acquired=(0, shape[1]),
        rss=images.abs(),
    )  # fmt: skip
