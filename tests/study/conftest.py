"""Rows of results from a known model: patients and trainings both drawn."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

N_PATIENTS, N_SEEDS = 12, 3
UNTRAINED = ("cg_sense", "ceiling")


def simulated_rows(
    levels: Mapping[str, float],
    draw: np.random.Generator,
    *,
    patient: float = 0.3,
    seed: float = 0.1,
    residual: float = 0.1,
    n_patients: int = N_PATIENTS,
    n_seeds: int = N_SEEDS,
    n_coils: int = 8,
    acceleration: int = 4,
    contrasts: Sequence[str] = ("T2",),
) -> list[dict[str, object]]:
    """Levels (dB) by source, plus effects drawn for every source.

    Standard deviations are those of the difference of two sources. Patients also
    differ by 2 dB, and trainings of one seed by 0.5 dB, alike for all sources.
    """
    of_patient, of_seed = 2 * draw.standard_normal(n_patients), 0.5 * draw.standard_normal(n_seeds)
    rows = []
    for source, level in levels.items():
        trained = source not in UNTRAINED
        own_patient = patient / np.sqrt(2) * draw.standard_normal(n_patients)
        own_seed = seed / np.sqrt(2) * draw.standard_normal(n_seeds)
        rest = residual / np.sqrt(2) * draw.standard_normal((n_patients, n_seeds))
        for p in range(n_patients):
            for s in range(n_seeds if trained else 1):
                value = level + of_patient[p] + own_patient[p]
                if trained:
                    value += of_seed[s] + own_seed[s] + rest[p, s]
                rows += [
                    {
                        "n_coils": n_coils,
                        "acceleration": acceleration,
                        "source": source,
                        "seed": s,
                        "patient": f"patient{p}",
                        "volume": f"patient{p}-{contrast}",
                        "PSNR": value + 3 * i,
                    }
                    for i, contrast in enumerate(contrasts)
                ]
    return rows


@pytest.fixture
def simulate() -> Callable[..., list[dict[str, object]]]:
    return simulated_rows
