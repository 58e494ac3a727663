"""From simulated heads to shipped weights; every step is kept, so that a killed run goes on."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthlib import runs, tasks
from synthlib.phase import smooth
from synthlib.phase.flow import (
    batches,
    examples,
    familiarity,
    grids,
    smooth_examples,
    training,
    weights,
)
from synthlib.phase.flow.conditions import ORIENTATIONS, USUAL_FIELD_T, Conditions
from synthlib.phase.flow.examples import Example
from synthlib.phase.flow.model import PhaseFlow
from synthlib.phase.flow.network import FlowNetwork
from synthlib.phase.flow.paths import FINE

WEIGHTS = "flow.safetensors"
EXAMPLES_ROOMS = "scanner", "arrays", "phase.polynomial", "phase.flow.examples"
SMOOTH_ROOMS = (
    "scanner",
    "coils",
    "arrays",
    "phase.polynomial",
    "phase.smooth",
    "phase.flow.smooth_examples",
)
COARSE_SETTINGS = training.TrainingSettings(steps=4_500)
FINE_SETTINGS = training.TrainingSettings("fine", FINE, steps=4_000, batch=8)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What shipped weights follow from.

    Attributes:
        first, last: numbers of the subjects that teach; those below are kept for scores.
        smooth_subjects: of each orientation, for the statistics of smooth phase.
        seed: of subjects and scans.
    """

    first: int = 17
    last: int = 300
    smooth_subjects: int = 24
    seed: int = 90210
    coarse: training.TrainingSettings = COARSE_SETTINGS
    fine: training.TrainingSettings = FINE_SETTINGS

    def subjects(self) -> range:
        """That teach."""
        return range(self.first, self.last + 1)

    def kept_back(self) -> range:
        """That tell how unlike a usual head may be, and on which scores are taken."""
        return range(1, self.first)


def make(
    recipe: Recipe, folder: Path, *, stage: str = "", workers: int = 1, device: str = "cpu"
) -> PhaseFlow | None:
    """All of it, or up to one stage of the training.

    Args:
        folder: of examples, statistics and checkpoints; what is there is not made again.
        stage: "coarse" or "fine": train that one alone and return None.
        workers: processes for the subjects; device: of the training.
    """
    learned = read_examples(make_examples(recipe, folder, recipe.subjects(), workers))
    trained = {
        name: training.train(learned, settings, folder, device)
        for name, settings in (("coarse", recipe.coarse), ("fine", recipe.fine))
        if stage in ("", name)
    }
    if stage:
        return None
    kept_back = read_examples(make_examples(recipe, folder, recipe.kept_back(), workers))
    statistics = make_statistics(recipe, folder, workers)
    losses = {name: [round(value, 5) for value in of] for name, (_, of) in trained.items()}
    networks = rounded(trained["coarse"][0]), rounded(trained["fine"][0])
    writer = assemble(recipe, networks, statistics, {"losses": losses})
    return with_familiarity(writer, learned, kept_back, recipe.seed)


def rounded(network: FlowNetwork) -> FlowNetwork:
    """As a file in half precision gives it back, on the CPU."""
    return network.half().float().cpu().eval().requires_grad_(False)


def make_examples(
    recipe: Recipe, folder: Path, subjects: Sequence[int], workers: int = 1
) -> list[Path]:
    """The subjects' files in a subfolder of this code; those that are there are not made again."""
    place = folder / f"examples-{runs.code_fingerprint(*EXAMPLES_ROOMS)}"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{recipe.seed}_{number:04d}.safetensors" for number in subjects]
    missing = [
        (path, number, recipe.seed)
        for path, number in zip(paths, subjects, strict=True)
        if not path.is_file()
    ]
    tasks.run_all(_make_subject, missing, label="subjects", workers=workers)
    return paths


def _make_subject(item: tuple[Path, int, int]) -> None:
    path, number, seed = item
    examples.write(path, list(examples.examples(number, seed=seed)))


def make_statistics(
    recipe: Recipe, folder: Path, workers: int = 1
) -> dict[str, smooth.ScanStatistics]:
    """Of smooth phase, by smooth.kind; its scans are kept in a subfolder of this code."""
    place = folder / f"smooth-{runs.code_fingerprint(*SMOOTH_ROOMS)}"
    place.mkdir(parents=True, exist_ok=True)
    statistics: dict[str, smooth.ScanStatistics] = {}
    for orientation in ORIENTATIONS:
        items = [
            (
                place / f"{recipe.seed}_{orientation}_{number:04d}.safetensors",
                number,
                orientation,
                recipe.seed,
            )
            for number in range(1, recipe.smooth_subjects + 1)
        ]
        missing = [item for item in items if not item[0].is_file()]
        tasks.run_all(_make_smooth, missing, label=f"{orientation} scans", workers=workers)
        by_kind: dict[str, list[Tensor]] = defaultdict(list)
        for path, *_ in items:
            metadata, kept = weights.read_weights(path, "smooth phase of scans")
            for label, scan in zip(json.loads(metadata["labels"]), kept["scans"], strict=True):
                known = Conditions.of_protocol(label, orientation, USUAL_FIELD_T)
                by_kind[known.smooth_kind].append(scan)
        statistics |= {name: smooth.fit_statistics(scans) for name, scans in by_kind.items()}
    return statistics


def _make_smooth(item: tuple[Path, int, str, int]) -> None:
    import torch

    path, number, orientation, seed = item
    labels, scans = zip(*smooth_examples.scans_of(number, orientation, seed=seed), strict=True)
    runs.write_weights(path, {"scans": torch.stack(scans)}, {"labels": json.dumps(labels)})


def n_scans(recipe: Recipe) -> int:
    return examples.CONTRASTS_EACH * len(recipe.subjects())


def read_examples(paths: Sequence[Path]) -> list[Example]:
    return [example for path in paths for example in examples.read(path)]


def assemble(
    recipe: Recipe,
    networks: tuple[FlowNetwork, FlowNetwork],
    statistics: dict[str, smooth.ScanStatistics],
    record: dict[str, Any],
) -> PhaseFlow:
    """A flow with its record of what it was made of."""
    stages = recipe.coarse.stage, recipe.fine.stage
    parameters = {"recipe": dataclasses.asdict(recipe), "n_scans": n_scans(recipe)}
    facts = runs.make_record(parameters) | record
    return PhaseFlow(*networks, stages, statistics, None, facts)


def with_familiarity(
    writer: PhaseFlow, learned: Sequence[Example], kept_back: Sequence[Example], seed: int
) -> PhaseFlow:
    """The flow with what heads look like to it, shaded and noisy as they are measured."""

    def seen(some: Sequence[Example], name: str) -> Tensor:
        made = []
        for number, example in enumerate(some):
            magnitude = example.magnitude.float()
            bright = grids.view(magnitude, example.spacing_mm).bright
            rng = runs.rng(seed, "familiar", name, number)
            image = batches.as_measured(magnitude / bright, batches.Degrading(), rng)
            made.append(writer.activations(image[None], example.spacing_mm))
        return torch.cat(made)

    familiar = familiarity.fit(seen(learned, "learned"), seen(kept_back, "kept back"))
    return dataclasses.replace(writer, familiar=familiar)
