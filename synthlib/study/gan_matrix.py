"""The GAN's known cures side by side: trained alike, scored alike, in one table and one figure.

A cure is a name and the settings that differ from the paper's (phase.settings). Every
one is trained on the same slices from the same seeds, and scored on the same slices of
patients that none has seen, beside phases that need no training. study.gan_scores says
what the rows say.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthlib import pairs, runs, tasks
from synthlib.phase import polynomial, scores, sources, tissue
from synthlib.phase.generator import PhaseGenerator
from synthlib.phase.settings import GanSettings
from synthlib.phase.training import Job
from synthlib.records import PhasePair

PAPER = "as in the paper"
SUCCESSOR = "flow"  # the source beside the generators that are trained here
CONTROLS = ("other_patient", "polynomial")  # sources that need no training
MAX_SLICES = 200  # to score on
N_DRAWS = 4  # of every generator and control for a slice
# settings that a cure may change, and the paper's row has as the paper does
CURABLE = (
    "mode",
    "l1_weight",
    "upsampling",
    "downsampling",
    "norm",
    "discriminator_norm",
    "discriminator_rate",
    "scale",
    "lambda_kspace",
    "jitter",
)
Row = dict[str, object]  # "generator", "seed", "slice", and the names of scores.LABELS


@dataclasses.dataclass(frozen=True)
class ScoredSlice:
    """One slice of the tests, with its truth where the scanner was simulated."""

    pair: PhasePair
    known: tissue.KnownSlice | None


def jobs(
    settings: GanSettings,
    cures: Mapping[str, Mapping[str, Any]],
    volumes: Sequence[pairs.PreparedVolume],
    folder: str | Path,
    *,
    epochs: int,
    seeds: Sequence[int],
) -> dict[tuple[str, int], Job]:
    """The trainings of a matrix: the paper's GAN, then each cure, from every seed.

    Args:
        settings: sizes, rates and device of all; what can be cured is set to the paper's.
        cures: name to settings that differ from the paper's, CURABLE alone; without any
            there is nothing to train, not the paper's either.
        volumes: scans to learn from.
        folder: where trainings leave their files; relative to the project root.
        epochs, seeds: of every training.

    Returns:
        (name, seed) to job, PAPER first; names in the order of the cures.

    Raises:
        ValueError: a cure has the paper's name, changes nothing or what is no cure, or no seeds.
    """
    if not seeds:
        raise ValueError("no seeds to train the cures from; expected at least one")
    if not cures:
        return {}
    if PAPER in cures:
        raise ValueError(
            f"a cure is named {PAPER!r}, as the row without any; expected another name"
        )
    defaults = {field.name: field.default for field in dataclasses.fields(GanSettings)}
    paper: dict[str, Any] = {name: defaults[name] for name in CURABLE}
    made: dict[tuple[str, int], Job] = {}
    for name, changes in {PAPER: {}, **cures}.items():
        for unknown in changes.keys() - set(CURABLE):
            raise ValueError(
                f"cure {name!r} sets {unknown}; expected some of {', '.join(CURABLE)}. Sizes, "
                "rates and epochs are those of all rows: set them in the notebook's parameters."
            )
        if name != PAPER and {**paper, **changes} == paper:
            raise ValueError(f"cure {name!r} changes nothing of the paper's; expected a difference")
        for seed in seeds:
            cured = dataclasses.replace(
                settings, **{**paper, **changes, "epochs": epochs, "seed": seed}
            )
            made[name, seed] = Job(volumes, [], runs.resolve(folder), cured, f"{name}, seed {seed}")
    return made


def scored_slices(
    volumes: Sequence[pairs.PreparedVolume], max_slices: int = MAX_SLICES
) -> list[ScoredSlice]:
    """The slices of some scans, each with its truth where there is one.

    Args:
        volumes: scans that no generator learns from.
        max_slices: of more, whole patients are left out, evenly; one stays.
    """
    n_slices = sum(volume.n_slices for volume in volumes)
    patients = sorted({volume.raw.patient_id for volume in volumes})
    # whole patients: every so many scans would be scans of one contrast
    kept = set(patients[:: max(1, math.ceil(n_slices / max_slices))])
    chosen = [volume for volume in volumes if volume.raw.patient_id in kept]
    slices: list[ScoredSlice] = []
    for volume in chosen:
        if volume.raw.attributes.get("simulated"):
            slices += [ScoredSlice(known.pair, known) for known in tissue.known_slices([volume])]
        else:
            slices += [ScoredSlice(pair, None) for pair in pairs.all_pairs([volume])]
    return slices


def score_all(
    trained: Mapping[tuple[str, int], PhaseGenerator],
    slices: Sequence[ScoredSlice],
    donors: Sequence[pairs.PreparedVolume],
    *,
    seed: int,
) -> list[Row]:
    """Score every generator, the flow, the controls and the measured phase on every slice.

    Args:
        trained: (name, seed) to generator, in the order of the rows.
        slices: of patients that no generator has seen.
        donors: scans of others, from which the controls take phase and its statistics.
        seed: of the draws.

    Returns:
        A row for each generator, seed and slice, then for the flow, each control, then for the
        measured phase, whose spread is that between patients (:func:`patient_spreads`).

    Raises:
        ValueError: no slices.
    """
    if not slices:
        raise ValueError("no slices to score generators on; expected scans of other patients")
    context = sources.open_context(None, donors)
    drawn: list[tuple[str, int, Callable[[PhasePair], Tensor]]] = [
        (name, training_seed, partial(generator_draws, writer, seed=seed))
        for (name, training_seed), writer in trained.items()
    ]
    drawn += [
        (sources.label(source), seed, partial(control_draws, source, context, seed=seed))
        for source in (SUCCESSOR, *CONTROLS)
    ]
    rows: list[Row] = []
    with tasks.Progress("generators scored", len(drawn) + 1) as progress:
        for name, row_seed, draw in drawn:
            rows += [_row(name, row_seed, scored, draw(scored.pair)) for scored in slices]
            progress.step(name)
        spreads = patient_spreads([scored.pair for scored in slices])
        for scored in slices:
            row = _row(measured_label(), seed, scored, scored.pair.phase[None])
            rows.append(row | spreads)
        progress.step(measured_label())
    return rows


def measured_label() -> str:
    """Of the measured phase's rows."""
    return sources.label(sources.MEASURED)


def _row(name: str, seed: int, scored: ScoredSlice, draws: Tensor) -> Row:
    values = scores.score(draws, scored.pair, scored.known)
    return {"generator": name, "seed": seed, "slice": scored.pair.name, **values}


def generator_draws(writer: PhaseGenerator, pair: PhasePair, *, seed: int) -> Tensor:
    """N_DRAWS phases of a generator for one slice: float32 (draw, y, x), radians."""
    return torch.stack(
        [writer(pair.magnitude, seed=seed, name=f"{pair.name}/{i}") for i in range(N_DRAWS)]
    )


def control_draws(source: str, context: sources.Context, pair: PhasePair, *, seed: int) -> Tensor:
    """The same of a source without a network."""
    seeds = [runs.seed_for(seed, "draw", i) for i in range(N_DRAWS)]
    return torch.stack([sources.write(source, pair, context, seed=draw) for draw in seeds])


def patient_spreads(slices: Sequence[PhasePair]) -> dict[str, float]:
    """How much measured phase differs between patients: what draws of one slice stand beside.

    Patients are compared where the heads of all of them are, weighted by their mean magnitude
    (each by its median), as draws are, at one slice of one contrast and matrix; their
    agreement is averaged over such slices. Heads that differ in size and place make the
    spreads upper bounds.

    Returns:
        "spread" and "fine_spread" as scores.spread defines them, radians; empty where no
        slice is that of two patients.
    """
    groups = defaultdict(list)
    for pair in slices:
        groups[pair.contrast, pair.slice_index, tuple(pair.magnitude.shape)].append(pair)
    agreements: dict[str, list[float]] = {"spread": [], "fine_spread": []}
    for group in groups.values():
        common = torch.stack([pair.head for pair in group]).all(0).double()
        if len({pair.patient_id for pair in group}) < 2 or not bool(common.any()):
            continue
        brightness = [pair.magnitude / pair.magnitude[pair.head].median() for pair in group]
        common = common * torch.stack(brightness).mean(0)
        fine = [polynomial.fine_part(pair.phase, pair.magnitude * pair.head) for pair in group]
        whole = [pair.phase for pair in group]
        for name, phases in (("spread", whole), ("fine_spread", fine)):
            agreements[name].append(scores.agreement(torch.stack(phases), common))
    return {
        name: scores.circular_sd(sum(values) / len(values))
        for name, values in agreements.items()
        if values
    }


def pictures(
    trained: Mapping[tuple[str, int], PhaseGenerator],
    slices: Sequence[ScoredSlice],
    donors: Sequence[pairs.PreparedVolume],
    *,
    seed: int,
) -> dict[str, dict[str, Tensor]]:
    """One slice's phase by every generator (its first seed), the controls, and as measured.

    The slice is that with the most fluid around the isocentre, where the truth is
    known; else the first.

    Returns:
        name to {"phase", "fine"}: radians (y, x), nan outside the head.
    """
    shown = max(slices, key=_fluid_pixels).pair
    context = sources.open_context(None, donors)
    phases: dict[str, Tensor] = {}
    for (name, _), writer in trained.items():
        if name not in phases:
            phases[name] = generator_draws(writer, shown, seed=seed)[0]
    for source in (SUCCESSOR, *CONTROLS):
        phases[sources.label(source)] = control_draws(source, context, shown, seed=seed)[0]
    phases[measured_label()] = shown.phase
    weight = shown.magnitude * shown.head
    return {
        name: {
            "phase": torch.where(shown.head, phase, torch.nan),
            "fine": torch.where(shown.head, polynomial.fine_part(phase, weight), torch.nan),
        }
        for name, phase in phases.items()
    }


def _fluid_pixels(scored: ScoredSlice) -> int:
    return -1 if scored.known is None else int(scored.known.ventricles.sum())
