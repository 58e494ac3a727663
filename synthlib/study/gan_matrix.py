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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthlib import pairs, runs, tasks
from synthlib.phase import scores, sources, tissue
from synthlib.phase.generator import PhaseGenerator
from synthlib.phase.settings import GanSettings
from synthlib.phase.training import Job
from synthlib.records import PhasePair

PAPER = "as in the paper"
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
        ValueError: a cure has the paper's name, or changes what is no cure, or no seeds.
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
    made = {}
    for name, changes in {PAPER: {}, **cures}.items():
        for unknown in changes.keys() - set(CURABLE):
            raise ValueError(
                f"cure {name!r} sets {unknown}; expected some of {', '.join(CURABLE)}. Sizes, "
                "rates and epochs are those of all rows: set them in the notebook's parameters."
            )
        for seed in seeds:
            cured = dataclasses.replace(
                settings, **{**paper, **changes, "epochs": epochs, "seed": seed}
            )
            made[name, seed] = Job(volumes, [], runs.resolve(folder), cured, f"{name}, seed {seed}")
    return made


def scored_slices(
    volumes: Sequence[pairs.PreparedVolume], most: int = MAX_SLICES
) -> list[ScoredSlice]:
    """The slices of some scans, each with its truth where there is one.

    Args:
        volumes: scans that no generator learns from.
        most: slices; of more, whole scans are left out, every so many, and some are kept.
    """
    n_slices = sum(volume.n_slices for volume in volumes)
    made = []
    for volume in volumes[:: max(1, math.ceil(n_slices / most))]:
        if volume.raw.attributes.get("simulated"):
            made += [ScoredSlice(known.pair, known) for known in tissue.known_slices([volume])]
        else:
            made += [ScoredSlice(pair, None) for pair in pairs.all_pairs([volume])]
    return made


def score_all(
    trained: Mapping[tuple[str, int], PhaseGenerator],
    slices: Sequence[ScoredSlice],
    donors: Sequence[pairs.PreparedVolume],
    *,
    seed: int,
) -> list[Row]:
    """Score every generator, the controls and the measured phase on every slice.

    Args:
        trained: (name, seed) to generator, in the order of the rows.
        slices: of patients that no generator has seen.
        donors: scans of others, from which the controls take phase and its statistics.
        seed: of the draws.

    Returns:
        A row for each generator, seed and slice, then for each control, then for the
        measured phase, whose spread is that between patients (:func:`patient_spreads`).

    Raises:
        ValueError: no slices.
    """
    if not slices:
        raise ValueError("no slices to score generators on; expected scans of other patients")
    context = sources.open_context(None, donors)
    work = len(trained) + len(CONTROLS) + 1
    rows: list[Row] = []
    with tasks.Progress("generators scored", work) as progress:
        for (name, of), writer in trained.items():
            rows += [
                _row(name, of, one, draw_many(writer, one.pair, seed), one.known) for one in slices
            ]
            progress.step(name)
        for source in CONTROLS:
            rows += [
                _row(
                    sources.label(source),
                    seed,
                    one,
                    control_draws(source, one.pair, context, seed),
                    one.known,
                )
                for one in slices
            ]
            progress.step(source)
        spreads = patient_spreads([one.pair for one in slices])
        for one in slices:
            row = _row(measured_label(), seed, one, one.pair.phase[None], one.known)
            rows.append(row | spreads)
        progress.step(sources.MEASURED)
    return rows


def measured_label() -> str:
    """Of the measured phase's rows."""
    return sources.label(sources.MEASURED)


def _row(
    name: str, seed: int, one: ScoredSlice, draws: Tensor, known: tissue.KnownSlice | None
) -> Row:
    found = scores.score(draws, one.pair, known)
    return {"generator": name, "seed": seed, "slice": one.pair.name, **found}


def draw_many(writer: PhaseGenerator, pair: PhasePair, seed: int) -> Tensor:
    """N_DRAWS phases of a generator for one slice: float32 (draw, y, x), radians."""
    return torch.stack(
        [writer(pair.magnitude, seed=seed, name=f"{pair.name}/{i}") for i in range(N_DRAWS)]
    )


def control_draws(source: str, pair: PhasePair, context: sources.Context, seed: int) -> Tensor:
    """The same of a source without a network."""
    return torch.stack(
        [
            sources.write(source, pair, context, seed=runs.seed_for(seed, "draw", i))
            for i in range(N_DRAWS)
        ]
    )


def patient_spreads(slices: Sequence[PhasePair]) -> dict[str, float]:
    """How much measured phase differs between patients: what draws of one slice stand beside.

    Patients are compared where the heads of all of them are, at one slice of one
    contrast and matrix; their agreement is averaged over such slices. Heads that differ in
    size and place make the spreads upper bounds.

    Returns:
        "spread" and "fine_spread" as scores.spread defines them, radians; empty where no
        slice is that of two patients.
    """
    groups = defaultdict(list)
    for pair in slices:
        groups[pair.contrast, pair.slice_index, tuple(pair.magnitude.shape)].append(pair)
    found: dict[str, list[float]] = {"spread": [], "fine_spread": []}
    for group in groups.values():
        common = torch.stack([pair.head for pair in group]).all(0).double()
        if len({pair.patient_id for pair in group}) < 2 or not bool(common.any()):
            continue
        fine = [scores.fine_part(pair.phase, pair.magnitude * pair.head) for pair in group]
        whole = [pair.phase for pair in group]
        for name, phases in (("spread", whole), ("fine_spread", fine)):
            found[name].append(scores.agreement(torch.stack(phases), common))
    return {
        name: scores.circular_sd(sum(values) / len(values))
        for name, values in found.items()
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
    one = max(slices, key=lambda one: -1 if one.known is None else int(one.known.ventricles.sum()))
    context = sources.open_context(None, donors)
    phases: dict[str, Tensor] = {}
    for (name, _), writer in trained.items():
        if name not in phases:
            phases[name] = draw_many(writer, one.pair, seed)[0]
    for source in CONTROLS:
        phases[sources.label(source)] = control_draws(source, one.pair, context, seed)[0]
    phases[measured_label()] = one.pair.phase
    head = one.pair.head
    weight = one.pair.magnitude * head
    return {
        name: {
            "phase": torch.where(head, phase, torch.nan),
            "fine": torch.where(head, scores.fine_part(phase, weight), torch.nan),
        }
        for name, phase in phases.items()
    }
