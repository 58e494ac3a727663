"""Whether a profile's data can serve its notebooks, told from headers before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from synthlib import datasets, formats, pairs, runs
from synthlib.pipeline.profiles import Stage


def require(stages: Iterable[Stage]) -> None:
    """Refuse too few patients, and coil counts or contrasts that no file has.

    Only headers are read. Where a file is of another kind than fastMRI's HDF5, nothing is said:
    the notebook that reads it does.

    Raises:
        ValueError: what a notebook asks for is not there.
    """
    surveys: dict[str, list[tuple[str, str, int]] | None] = {}
    for stage in stages:
        data = str(stage.parameters.get("data", datasets.SIMULATED))
        if data == datasets.SIMULATED:
            n_patients = stage.parameters.get("n_subjects")
            if isinstance(n_patients, int):
                pairs.require_patients(n_patients, f"n_subjects of {stage.name} is")
            continue
        if data not in surveys:
            surveys[data] = _survey(data)
        scans = surveys[data]
        if scans:
            _require_scans(stage.name, stage.parameters, scans)


def _survey(data: str) -> list[tuple[str, str, int]] | None:
    """(patient, contrast, coils) of every file; None where one of them is of another kind."""
    labels = [formats.read_label(path) for path in formats.raw_files(runs.resolve(data))]
    scans = [label for label in labels if label is not None]
    return scans if len(scans) == len(labels) else None


def _require_scans(
    name: str, parameters: Mapping[str, Any], scans: Iterable[tuple[str, str, int]]
) -> None:
    contrasts = parameters.get("contrasts") or ()
    fitting = [scan for scan in scans if not contrasts or scan[1] in contrasts]
    if not fitting:
        labels = sorted({contrast for _, contrast, _ in scans})
        raise ValueError(
            f"{name}: no file of the data has one of the contrasts {list(contrasts)}; there are "
            f"{', '.join(labels)}. Change contrasts in the params file or by --set."
        )
    patients: dict[int, set[str]] = {}
    for patient, _, n_coils in fitting:
        patients.setdefault(n_coils, set()).add(patient)
    for n_coils in parameters.get("coil_counts") or ():
        if n_coils not in patients:
            there = ", ".join(f"{n} coils: {len(patients[n])} patients" for n in sorted(patients))
            raise ValueError(
                f"{name}: no file of the data has {n_coils} coils; there are {there}. Choose by "
                f'--set "coil_counts=[{max(patients, key=lambda n: len(patients[n]))}]".'
            )
        pairs.require_patients(
            len(patients[n_coils]), f"{name}: scans of {n_coils} coils are those of"
        )
