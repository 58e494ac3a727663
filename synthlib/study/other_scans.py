"""The reference of networks for measured scans: networks trained on other measured scans.

A network of the same size and number of steps, trained on the measured scans of the
folder's other patients: what can be had from measured data of this kind. It is a
reference and separates no causes, for it also sees far fewer scans, of other
anatomies, contrasts, coils and noise than the simulated ones: how much was
learned from differs together with where it came from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthlib import pairs
from synthlib.recon import grid, samples
from synthlib.study import heads
from synthlib.study.experiments import HEADS, OTHER_SCANS, Study, label
from synthlib.study.measured_scans import patient_or_scan

N_FOLDS = 3  # patients are dealt into so many; each is tested by networks of the others


def folds(scans: Sequence[pairs.PreparedVolume]) -> list[list[pairs.PreparedVolume]]:
    """Scans by patient in N_FOLDS parts or as many as there are patients; none of one patient."""
    named = [patient_or_scan(scan.raw.patient_id, scan.name) for scan in scans]
    patients = list(dict.fromkeys(named))
    if len(patients) < 2:
        return []
    n_folds = min(N_FOLDS, len(patients))
    place = {patient: number % n_folds for number, patient in enumerate(patients)}
    return [
        [scan for scan, patient in zip(scans, named, strict=True) if place[patient] == number]
        for number in range(n_folds)
    ]


def tests_and_cells(
    study: Study, test: heads.HeadTest, accelerations: Sequence[int], seeds: Sequence[int]
) -> list[tuple[heads.HeadTest, list[grid.Cell]]]:
    """For every fold: its scans as a test, and networks that learn from all other folds.

    Args:
        study: settings, validation scans and folder of the networks.
        test: all measured scans.
        accelerations: R of the training masks.
        seeds: of the networks.
    """
    parts = folds(test.scans)
    pairs_of = []
    for held_back in parts:
        learned = [scan for part in parts if part is not held_back for scan in part]
        data = samples.TrainingData(samples.GROUND_TRUTH, learned, Path(study.folder))
        cells = [
            study.cell(
                HEADS, OTHER_SCANS, test.acceleration, seed, [(data, "")],
                accelerations=accelerations,
            )
            for seed in seeds
        ]  # fmt: skip
        pairs_of.append((dataclasses.replace(test, scans=held_back), cells))
    return pairs_of


def run(
    study: Study,
    test: heads.HeadTest,
    accelerations: Sequence[int],
    seeds: Sequence[int],
    *,
    workers: int = 1,
    scheduler: str = "",
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Train and test; nothing with scans of one patient.

    Returns:
        Rows as heads.network_rows gives them, and results as grid.run gives them.
    """
    pairs_of = tests_and_cells(study, test, accelerations, seeds)
    cells = [cell for _, some in pairs_of for cell in some]
    results = grid.run(
        cells, label="networks of other measured scans", workers=workers, scheduler=scheduler
    )
    return [row for fold, some in pairs_of for row in heads.network_rows(fold, some)], results


def learned_sentence(scans: Sequence[pairs.PreparedVolume]) -> str:
    """How many scans and slices the networks of each fold learned from; "" without folds."""
    parts = folds(scans)
    if not parts:
        return ""
    counts = []
    for held_back in parts:
        learned = [scan for part in parts if part is not held_back for scan in part]
        counts.append(f"{len(learned)} scans ({sum(scan.n_slices for scan in learned)} slices)")
    return (
        f"{label(OTHER_SCANS)}: the networks of {len(parts)} folds of patients learned from "
        f"{', '.join(counts)} of the other folds."
    )


def sources(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Names of sources, with OTHER_SCANS in front where there are rows of it."""
    there = any(row["source"] == OTHER_SCANS for row in rows)
    return [*([OTHER_SCANS] if there else []), *names]
