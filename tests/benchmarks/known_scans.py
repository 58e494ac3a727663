"""Scans whose k-space is known: ground truth for the audit's thresholds and error rates.

Every simulated scan is of a subject of its own, so that scans are independent
and intervals may count them. The design covers what archives hold: 0.5 to 1.2 mm,
three planes, four contrasts, 1 to 16 coils, SNR 10 to 120, slices from the skull
base to the vertex, and images of whole numbers as scanners store them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from synthlib import runs, scanner
from synthlib.audit import trials

CHOOSING, STATING = 9001, 9002  # seeds: thresholds are chosen on one set, rates stated on the other
BRAIN = [
    scanner.TISSUES.index(name)
    for name in ("csf", "grey", "white", "deep", "blood", "artery", "lesion")
]
CONTRASTS = ("AXT1", "AXT2", "AXFLAIR", "AXGRE")
PLANES = ("axial", "coronal", "sagittal")
PIXELS_MM = (0.5, 0.7, 0.9, 1.2)
FOV_MM = {"axial": (230.0, 186.0), "coronal": (226.0, 192.0), "sagittal": (240.0, 234.0)}
MIDDLES_MM = {"axial": (-40.0, 55.0), "coronal": (-55.0, 60.0), "sagittal": (-45.0, 45.0)}
N_SLICES = 6


@dataclass(frozen=True)
class Known:
    """A clean scan, and what was asked of the scanner.

    Attributes:
        clean: its k-space, without defects; settings: of the scanner.
        noise_std: of the real part of the noise in a coil's image, mean of the coils; along the
            signal it differs where coils' noise is correlated.
    """

    clean: trials.Clean
    settings: scanner.ScanSettings
    noise_std: float


def settings_of(number: int, seed: int) -> scanner.ScanSettings:
    """Scan `number` of the design; every twelve scans hold all pairs of contrast and plane."""
    rng = runs.rng(seed, "known scan", number)

    def draw(low: float, high: float) -> float:
        return float(low + (high - low) * torch.rand((), generator=rng))

    plane = PLANES[number % 3]
    pixel = PIXELS_MM[number // 12 % 4]
    fov = FOV_MM[plane]
    coils = (1, 4, 8, 16)[int(draw(0, 4))] if pixel > 0.6 else (1, 4, 8)[int(draw(0, 3))]
    step = draw(2.0, 5.0)
    middle = draw(*MIDDLES_MM[plane])
    return scanner.ScanSettings(
        n_subjects=1,
        coil_counts=(coils,),
        contrasts=(CONTRASTS[number // 3 % 4],),
        orientation=plane,
        matrix=(round(fov[0] / pixel), round(fov[1] / pixel / draw(1.0, 1.15))),
        fov_mm=fov,
        thickness_mm=step,
        positions_mm=tuple(middle + step * (i - N_SLICES / 2 + 0.5) for i in range(N_SLICES)),
        field_t=(1.5, 3.0)[int(draw(0, 2))],
        snr=math.exp(draw(math.log(10.0), math.log(120.0))),
        seed=1000 * seed + number,
    )


def known_scans(seed: int, n_scans: int, first: int = 0) -> Iterator[Known]:
    """The scans of the design, one after the other, whole numbers not yet made of them."""
    for number in range(first, first + n_scans):
        settings = settings_of(number, seed)
        subject = scanner.subjects(settings)[0]
        for scan in scanner.scans(settings, subject):
            brain = torch.isin(scan.truth["labels"], torch.tensor(BRAIN, dtype=torch.uint8))
            covariance = scan.truth["noise_covariance"].diagonal().real.mean()
            yield Known(
                trials.clean_scan(scan.volume, brain), settings, math.sqrt(float(covariance) / 2)
            )
