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


SINGLE_ECHOES = tuple(name for name in scanner.settings.USUAL if name != "echo_train")
NEAR_MM = tuple(-4.0 + 4.0 * i for i in range(4))
SIX_COILS = {"matrix": (161, 132), "coil_counts": (6,), "snr": 25.0}
EIGHT_COILS = {"matrix": (144, 120), "coil_counts": (8,), "field_t": 1.5, "snr": 15.0}
ONE_COIL = {"matrix": (150, 129), "coil_counts": (1,), "snr": 40.0}


def five(**settings: object) -> list[trials.Clean]:
    near = {"positions_mm": NEAR_MM, "thickness_mm": 4.0} | settings
    return [
        *clean(("AXT1", "AXT2"), 501, **SIX_COILS, **near),
        *clean(("AXFLAIR", "AXGRE"), 502, **EIGHT_COILS, **near),
        *clean(("AXT2",), 503, **ONE_COIL, **near),
    ]


@pytest.fixture(scope="session")
def scans() -> list[trials.Clean]:
    """Five clean scans: three contrasts, odd and even grids, one and more coils, SNR 15 to 40."""
    return five()


@pytest.fixture(scope="session")
def singles() -> list[trials.Clean]:
    """The five scans, every line of k-space from the first echo: both sides are as strong."""
    return five(mechanisms=SINGLE_ECHOES)


@pytest.fixture(scope="session")
def trains(scans: list[trials.Clean]) -> list[trials.Clean]:
    """Nine scans by echo trains of many echoes, of six subjects."""
    settings = {"positions_mm": NEAR_MM, "thickness_mm": 4.0}
    return [
        *(scan for scan in scans if scan.name.endswith(("T2", "FLAIR"))),
        *clean(("AXT2", "AXFLAIR"), 504, **SIX_COILS, **settings),
        *clean(("AXT2", "AXFLAIR"), 505, **EIGHT_COILS, **settings),
        *clean(("AXT2", "AXFLAIR"), 506, **ONE_COIL, **settings),
    ]


@pytest.fixture(scope="session")
def scan(scans: list[trials.Clean]) -> trials.Clean:
    """The T1 scan of 161 x 132."""
    return scans[0]
