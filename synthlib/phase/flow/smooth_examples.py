"""Scans by several coils, coarse and quick, that tell how smooth phase is distributed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from synthlib import arrays, coils, runs, scanner
from synthlib.phase import smooth
from synthlib.phase.flow.examples import CONTRASTS_EACH, LABELS

N_SLICES = 5
PIXEL_MM = 3.2
FOV_MM = (230.0, 230.0)
COILS = (4, 8, 12, 16)
# positions rise from back to front, and readers of images count from front to back
BACKWARDS = ("coronal",)


def scans_of(number: int, orientation: str, *, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Each contrast of a subject, and what :func:`smooth.fit_scan` tells of it: float64 (value,).

    Args:
        number: of the subject, from 1; seed: of all draws.
    """
    rng = runs.rng(seed, "smooth", "plan", orientation, number)
    order = torch.randperm(len(LABELS), generator=rng)[:CONTRASTS_EACH].tolist()
    low, high = smooth.REACH_MM[orientation]
    side = round(FOV_MM[0] / PIXEL_MM)
    settings = scanner.ScanSettings(
        n_subjects=number,
        coil_counts=(COILS[int(torch.randint(len(COILS), (), generator=rng))],),
        contrasts=tuple(LABELS[i] for i in sorted(order)),
        positions_mm=tuple(torch.linspace(low, high, N_SLICES).tolist()),
        orientation=orientation,
        matrix=(side, side),
        fov_mm=FOV_MM,
        oversampling=1,
        field_t=(1.5, 3.0, 3.0)[int(torch.randint(3, (), generator=rng))],
        seed=runs.seed_for(seed, "smooth", "scan", orientation, number),
    )
    subject = scanner.subjects(settings)[-1]
    for label, scan in zip(settings.contrasts, scanner.scans(settings, subject), strict=True):
        yield (
            label,
            smooth.fit_scan([_slice(scan, index, orientation) for index in range(N_SLICES)]),
        )


def _slice(scan: scanner.Scan, index: int, orientation: str) -> smooth.SliceOfScan:
    coil_images = scan.volume.coil_images(index)
    maps = coils.espirit_maps(arrays.fft2c(coil_images))
    image = coils.combine(coil_images, maps.maps)
    weight = image.abs() * maps.support * (scan.truth["labels"][index] > 0)
    height = 2 * index / (N_SLICES - 1) - 1
    if orientation in BACKWARDS:
        height = -height
    return smooth.SliceOfScan(image.angle(), weight, scan.volume.spacing_mm, height)
