"""What every epoch of a training leaves: a checkpoint, a row of losses, a picture of samples."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from synthlib import figures, metrics, runs
from synthlib.phase import generator
from synthlib.phase.settings import Architecture
from synthlib.records import PhasePair

# of losses.csv; the last one only where the settings give it a weight
COLUMNS = (
    "epoch",
    "d_loss",
    "g_gan_loss",
    "g_l1_loss",
    "sample_phase_error_rad",
    "g_kspace_loss",
)


def resume(checkpoint: Path, parts: dict[str, Any]) -> list[list[float]]:
    """Load the last epoch's state into the parts; the rows of losses so far.

    Args:
        checkpoint: where :func:`save` wrote it; nothing is done where there is none.
        parts: name to networks and optimisers; "generator" must be one.

    Raises:
        ValueError: the file is damaged, or holds weights of another architecture.
    """
    state = runs.read_checkpoint(checkpoint)
    if state is None:
        return []
    generator.require_fit(checkpoint.name, parts["generator"], state["generator"])
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return list(state["rows"])


def save(folder: Path, parts: dict[str, Any], rows: list[list[float]]) -> None:
    """Write checkpoint.pt, then losses.csv."""
    state = {name: part.state_dict() for name, part in parts.items()}
    runs.write_checkpoint(folder / "checkpoint.pt", {**state, "rows": rows})
    write_losses(folder, rows)


def write_losses(folder: Path, rows: list[list[float]]) -> None:
    """Write losses.csv, a row an epoch, in the order of COLUMNS."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[: len(rows[0])])
    writer.writerows([int(row[0]), *(f"{value:.6f}" for value in row[1:])] for row in rows)
    runs.write_text(folder / "losses.csv", text.getvalue())


def read_losses(folder: Path) -> list[dict[str, float]]:
    """The rows of losses.csv."""
    with (folder / "losses.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def show_samples(
    network: torch.nn.Module,
    architecture: Architecture,
    samples: Sequence[PhasePair],
    path: Path,
    *,
    seed: int,
    title: str,
) -> float:
    """Draw the samples' phase to a PNG; their mean phase error in radians, nan without samples."""
    writer = generator.PhaseGenerator(network, architecture)
    phases = [writer(pair.magnitude, seed=seed, name=pair.name) for pair in samples]
    if not phases:
        return float("nan")
    figure = figures.phase_samples(samples, phases, title=title)
    with runs.atomic_path(path) as scratch:
        figure.savefig(scratch, format="png", dpi=100)
    errors = [
        metrics.mean_abs_phase_error(phase, pair.phase, pair.magnitude * pair.head)
        for pair, phase in zip(samples, phases, strict=True)
    ]
    return sum(errors) / len(errors)
