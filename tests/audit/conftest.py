"""Small clean scans that the audit's tests put defects into.

Their seed is neither that of the scans on which thresholds were chosen nor the benchmark's.
"""

from __future__ import annotations

import pytest
import torch

from synthlib import scanner
from synthlib.audit import trials

BRAIN = [
    scanner.TISSUES.index(name)
    for name in ("csf", "grey", "white", "deep", "blood", "artery", "lesion")
]


def clean(contrasts: tuple[str, ...], seed: int, **settings: object) -> list[trials.Clean]:
    asked = scanner.ScanSettings(n_subjects=1, contrasts=contrasts, seed=seed, **settings)
    found = []
    for scan in scanner.scans(asked, scanner.subjects(asked)[0]):
        brain = torch.isin(scan.truth["labels"], torch.tensor(BRAIN, dtype=torch.uint8))
        found.append(trials.clean_scan(scan.volume, brain))
    return found


@pytest.fixture(scope="session")
def scans() -> list[trials.Clean]:
    """Five clean scans: three contrasts, odd and even grids, one and more coils, SNR 15 to 40."""
    near = tuple(-4.0 + 4.0 * i for i in range(4))
    return [
        *clean(
            ("AXT1", "AXT2"),
            501,
            matrix=(161, 132),
            coil_counts=(6,),
            positions_mm=near,
            thickness_mm=4.0,
            snr=25.0,
        ),
        *clean(
            ("AXFLAIR", "AXGRE"),
            502,
            matrix=(144, 120),
            coil_counts=(8,),
            positions_mm=near,
            thickness_mm=4.0,
            field_t=1.5,
            snr=15.0,
        ),
        *clean(
            ("AXT2",),
            503,
            matrix=(150, 129),
            coil_counts=(1,),
            positions_mm=near,
            thickness_mm=4.0,
            snr=40.0,
        ),
    ]


@pytest.fixture(scope="session")
def scan(scans: list[trials.Clean]) -> trials.Clean:
    """The T1 scan of 161 x 132."""
    return scans[0]
