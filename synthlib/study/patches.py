"""Patches of measured brains and of simulated ones, alike in everything that a setting tells.

Every measured head has simulated scans of its own matrix, pixel, coils, kind of sequence
and level in the head (likeness.twin_settings); noise is added until all patches of a head
have the same SNR.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays, likeness, runs, tasks
from synthlib.likeness import Twin
from synthlib.records import RawVolume, orientation_of

COARSE_MM = 1.5  # larger pixels are interpolated, so that a patch shows as much of every brain
BETTER_SHARE = 0.75  # of patches have at least the SNR at which all of a head are looked at


@dataclass(frozen=True)
class Look:
    """One slice of one head.

    Attributes:
        head: name of the measured head, which its twins share; subject: who was scanned.
        image: complex (y, x), coils combined; brain: bool (y, x).
        noise_sd: of the real part of the noise, in units of the image.
        pixel_mm: (y, x).
    """

    head: str
    subject: str
    is_measured: bool
    image: Tensor
    brain: Tensor
    noise_sd: float
    pixel_mm: tuple[float, float]


class Heads(NamedTuple):
    """Looks at measured heads and at simulated ones.

    Attributes:
        are_measured: False where simulated subjects play the measured heads.
        text: who is compared with whom, in a line.
    """

    looks: list[Look]
    are_measured: bool
    text: str


@dataclass(frozen=True)
class Patch:
    """Part (y, x) of an image, complex, with unit noise of its band.

    Attributes:
        side: of the brain's middle column, -1 or 1; 0 on both.
        level: noise over the patch's median magnitude.
    """

    look: Look
    image: Tensor
    white: Tensor
    side: int
    level: float


# --- images ----------------------------------------------------------------------------


@tasks.torch_threads(1)
def look_at(volume: RawVolume, index: int, head: str = "", *, is_measured: bool = True) -> Look:
    """One slice of raw data, coils combined.

    Args:
        head: name of the measured head; empty is the volume's own.

    Raises:
        ValueError: the slice has no head.
    """
    combined = likeness.combine(volume, index)
    orientation = orientation_of(volume.contrast, "axial")
    return Look(
        head=head or volume.name,
        subject=volume.patient_id,
        is_measured=is_measured,
        image=combined.image,
        brain=likeness.measures.brain(combined.head, combined.pixel_mm, orientation),
        noise_sd=combined.noise_sd,
        pixel_mm=combined.pixel_mm,
    )


def measured_looks(volumes: Sequence[RawVolume]) -> list[Look]:
    """Middle slices of measured raw data, for example those of likeness.survey.

    Raises:
        ValueError: as :func:`look_at`.
    """
    return [look_at(volume, volume.n_slices // 2) for volume in volumes]


def twin_looks(twin_sets: Sequence[Sequence[Twin]]) -> list[Look]:
    """All slices of simulated scans (likeness.twin_scans), of those with phase.

    Args:
        twin_sets: each with other subjects for the same heads.
    """
    looks = []
    for number, twins in enumerate(twin_sets):
        for twin in (twin for twin in twins if twin.portrait.n_coils):
            name, volume = twin.portrait.name, twin.volume
            for index in range(volume.n_slices):
                look = look_at(volume, index, name, is_measured=False)
                looks.append(dataclasses.replace(look, subject=f"{name} {number}"))
    return looks


def control(looks: Sequence[Look]) -> list[Look]:
    """Simulated looks of which the first subject of every head plays the measured one.

    There is nothing to be told apart: an AUROC of 0.5 is to lie in the interval.
    """
    first: dict[str, str] = {}
    for look in looks:
        first.setdefault(look.head, look.subject)
    return [
        dataclasses.replace(look, is_measured=look.subject == first[look.head]) for look in looks
    ]


def heads_of(volumes: Sequence[RawVolume], twin_sets: Sequence[Sequence[Twin]]) -> Heads:
    """Measured heads and the simulated ones made after them.

    Args:
        volumes: of measured heads; where there are none, the first of the twin sets plays them.
        twin_sets: as :func:`twin_looks` takes them.

    Raises:
        ValueError: there is no set for the measured heads to be compared with.
    """
    n_sets = len(twin_sets) if volumes else len(twin_sets) - 1
    if n_sets < 1:
        raise ValueError(
            f"number of sets of simulated twins: {len(twin_sets)}; expected one, and another that "
            "plays the measured heads where there are none. Raise the number of twin sets."
        )
    made = twin_looks(twin_sets)
    against = f"against {n_sets} simulated subject{'s' * (n_sets > 1)}"
    if volumes:
        looks = measured_looks(volumes)
        heads = f"{len(looks)} measured head{'s' * (len(looks) > 1)}"
        return Heads(looks + made, True, f"{heads}, each {against}")
    text = (
        "No folder of measured heads is named in `measured`: a simulated subject plays each, "
        f"{against}, so an AUROC of 0.5 is expected."
    )
    return Heads(control(made), False, text)


# --- patches ---------------------------------------------------------------------------


def draw(looks: Sequence[Look], *, size: int, n_patches: int, snr: float, seed: int) -> list[Patch]:
    """So many patches of every head, measured and simulated, all of a head at the same SNR.

    Args:
        size: edge in pixels; a patch lies in the brain with all of it.
        n_patches: at most, of a head and of its twins.
        snr: highest, of a patch's median magnitude to the s.d. of real noise.
    """
    by_head: dict[str, list[Patch]] = {}
    for number, look in enumerate(looks):
        rng = runs.rng(seed, "matching noise", number)
        by_head.setdefault(look.head, []).extend(_patches_of(look, size, rng))
    chosen = []
    for head, patches in sorted(by_head.items()):
        patches = matched(patches, snr) if patches else []
        for is_measured in (True, False):
            of_kind = [patch for patch in patches if patch.look.is_measured == is_measured]
            rng = runs.rng(seed, "patches", head, is_measured)
            order = torch.randperm(len(of_kind), generator=rng)[:n_patches].tolist()
            chosen += [of_kind[which] for which in order]
    return chosen


def _patches_of(look: Look, size: int, rng: torch.Generator) -> list[Patch]:
    """All patches of size x size, on a grid of a quarter of it, that lie in the brain."""
    look, white = _fine(look, rng)
    step = max(1, size // 4)
    images, noises, inside = (
        values.unfold(0, size, step).unfold(1, size, step)
        for values in (look.image, white, look.brain)
    )  # (row, column, y, x)
    whole = inside.flatten(2).all(2)  # (row, column)
    if not whole.any():
        return []
    middle = float(look.brain.any(0).nonzero().double().mean())
    first = torch.arange(images.shape[1]) * step
    side = (first >= middle).int() - (first + size <= middle).int()
    images, noises, side = images[whole], noises[whole], side.expand(whole.shape)[whole]
    medians = images.abs().flatten(1).median(1).values.clamp(min=1e-20)
    return [
        Patch(look, image / median, noise, int(of_side), look.noise_sd / float(median))
        for image, noise, of_side, median in zip(images, noises, side, medians, strict=True)
    ]


def _fine(look: Look, rng: torch.Generator) -> tuple[Look, Tensor]:
    """A look whose pixels are about 1 mm where they were coarse, and unit noise of its band."""
    white = torch.randn((*look.image.shape, 2), generator=rng)
    both = torch.stack([look.image, torch.view_as_complex(white)])
    if not max(look.pixel_mm) > COARSE_MM:
        return look, both[1]
    times = [max(1, round(mm)) for mm in look.pixel_mm]
    ny, nx = (n * k for n, k in zip(look.image.shape, times, strict=True))
    both = arrays.resample(both, (ny, nx))
    brain = look.brain.repeat_interleave(times[0], 0).repeat_interleave(times[1], 1)
    pixel_mm = (look.pixel_mm[0] / times[0], look.pixel_mm[1] / times[1])
    return dataclasses.replace(look, image=both[0], brain=brain, pixel_mm=pixel_mm), both[1]


def matched(patches: Sequence[Patch], snr: float) -> list[Patch]:
    """Patches of one head, measured and simulated, that all have the same SNR.

    It is that which three in four measured ones and three in four simulated ones have, at
    most `snr`; better ones get noise, worse ones go.
    """
    target = 1 / snr
    for is_measured in (True, False):
        levels = [patch.level for patch in patches if patch.look.is_measured == is_measured]
        if levels:
            target = max(target, float(np.quantile(levels, BETTER_SHARE)))
    return [
        dataclasses.replace(
            patch,
            image=patch.image + math.sqrt(target**2 - patch.level**2) * patch.white,
            level=target,
        )
        for patch in patches
        if patch.level <= target
    ]


def level_phase(patches: Tensor) -> Tensor:
    """Radians (patch, y, x) of complex patches, less the plane that turns with each of them."""
    for axis in (-2, -1):
        n = patches.shape[axis]
        turn = patches.narrow(axis, 1, n - 1) * patches.narrow(axis, 0, n - 1).conj()
        slope = turn.sum((-2, -1)).angle()  # (patch,)
        ramp = torch.arange(n) * slope[:, None]
        away = torch.polar(torch.ones_like(ramp), -ramp)
        patches = patches * (away[:, :, None] if axis == -2 else away[:, None, :])
    middle = patches.sum((-2, -1), keepdim=True)
    return (patches * middle.conj()).angle()
