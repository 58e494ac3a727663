"""The shipped flow on subjects that it never saw: `python -m tests.benchmarks.flow FOLDER`.

FOLDER keeps the subjects' slices. For each contrast: correlation of the fine part's draws with
the noise-free truth, and with each other (alike where draws are as the truth is); rms of both;
period index and residues per 1000 pixels where the magnitude is not dark. Then by how far
what is no head is told from heads (AUROC), and the time of a slice of 320 x 320.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from synthlib import arrays, phase, runs, tasks
from synthlib.phase import flow, scores
from synthlib.phase.flow import batches, grids, recipe
from synthlib.phase.flow.examples import Example
from synthlib.study import roc
from tests.conversion import knees

SEED = 77
N_SUBJECTS = 10
N_DRAWS = 2
EVERY = 2  # slice is looked at
STRIPPED_MM = 14.0  # of scalp and skull


def main(folder: Path) -> None:
    writer = phase.load("flow-head-v1")
    assert isinstance(writer, flow.PhaseFlow)
    usual = recipe.Recipe()
    fresh = range(usual.last + 1, usual.last + 1 + N_SUBJECTS)  # nothing was set by them
    paths = recipe.make_examples(usual, folder, fresh)
    examples = recipe.read_examples(paths)[::EVERY]
    with tasks.torch_threads(1):
        _fine_part(writer, examples)
        _familiarity(writer, examples)
    _speed(writer)


def _measured(example: Example, number: int) -> Tensor:
    """The magnitude as it would be measured: (y, x), 1 is bright."""
    magnitude = example.magnitude.float()
    bright = grids.view(magnitude, example.spacing_mm).bright
    rng = runs.rng(SEED, "measured", number)
    return batches.as_measured(magnitude / bright, batches.Degrading(), rng)


def _fine_part(writer: flow.PhaseFlow, examples: Sequence[Example]) -> None:
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for number, example in enumerate(examples):
        image = _measured(example, number)
        known = flow.Conditions.of_protocol(example.label, example.orientation, example.field_t)
        draws = writer.fine_phase(
            image.expand(N_DRAWS, -1, -1), example.spacing_mm, runs.rng(SEED, number),
            conditions=known,
        )  # fmt: skip
        truth = example.fine.float()
        seen = example.head & (image > arrays.dark_level(image))
        weight = example.magnitude.float() * example.head
        rows[example.label].append(
            [
                float(np.mean([scores.correlation(draw, truth, weight) for draw in draws])),
                scores.correlation(draws[0], draws[1], weight),
                _rms(truth, weight),
                _rms(draws[0], weight),
                scores.period_index(truth, seen, 2),
                scores.period_index(draws[0], seen, 2),
                scores.residues_per_1000(truth, seen),
                scores.residues_per_1000(draws[0], seen),
            ]
        )
    print("contrast slices  with truth, draws | rms true, drawn | period-2 | residues")
    every = [row for of in rows.values() for row in of]
    for label, of in [*sorted(rows.items()), ("all", every)]:
        a, b, c, d, e, f, g, h = np.nanmean(of, 0)
        print(
            f"{label:9s} {len(of):4d}    {a:+.2f} {b:+.2f} | {c:.2f} {d:.2f} | {e:.3f} {f:.3f} | "
            f"{g:.1f} {h:.1f}",
            flush=True,
        )


def _rms(phase_rad: Tensor, weight: Tensor) -> float:
    return float(((weight * phase_rad.square()).sum() / weight.sum()).sqrt())


def _familiarity(writer: flow.PhaseFlow, examples: Sequence[Example]) -> None:
    assert writer.familiar is not None
    heads = _distances(writer, examples, lambda image, example, rng: image)
    print(f"limit {writer.familiar.limit:.2f}; heads {np.median(heads):.2f} (median), "
          f"{100 * np.mean(heads > writer.familiar.limit):.0f} % beyond it")  # fmt: skip
    for name, change in STRANGE.items():
        others = _distances(writer, examples, change)
        print(
            f"{name:20s} AUROC {roc.area(others, heads):.3f}, "
            f"{100 * np.mean(others > writer.familiar.limit):.0f} % beyond the limit",
            flush=True,
        )


Change = Callable[[Tensor, Example, torch.Generator], Tensor]


def _distances(writer: flow.PhaseFlow, examples: Sequence[Example], change: Change) -> np.ndarray:
    found = []
    for number, example in enumerate(examples):
        rng = runs.rng(SEED, "strange", number)
        image = change(_measured(example, number), example, rng)
        found.append(float(writer.unfamiliarity(image[None], example.spacing_mm)))
    return np.array(found)


def _noise(image: Tensor, example: Example, rng: torch.Generator) -> Tensor:
    pair = torch.randn(2, *image.shape, generator=rng)
    return pair.square().sum(0).sqrt()


def _stripped(image: Tensor, example: Example, rng: torch.Generator) -> Tensor:
    head = ndimage.binary_fill_holes(example.head.numpy())
    inside = ndimage.distance_transform_edt(head, sampling=example.spacing_mm) > STRIPPED_MM
    return image * torch.from_numpy(inside)


def _inverted(image: Tensor, example: Example, rng: torch.Generator) -> Tensor:
    return (1.2 - image).clamp(min=0) * example.head


def _knee(image: Tensor, example: Example, rng: torch.Generator) -> Tensor:
    volume, _ = knees.knee(int(torch.randint(1000, (), generator=rng)), 1.0)
    knee = arrays.rss(volume.coil_images(0))
    ny, nx = image.shape
    scaled = arrays.resample(torch.complex(knee, torch.zeros_like(knee)), (ny, nx)).abs()
    return scaled / scaled.quantile(0.99)


STRANGE: dict[str, Change] = {
    "noise": _noise,
    "skull-stripped": _stripped,
    "contrast inverted": _inverted,
    "knee": _knee,
    "upside down": lambda image, example, rng: image.flip(0),
}


def _speed(writer: flow.PhaseFlow) -> None:
    scan = torch.rand(6, 320, 320, generator=runs.rng(SEED))

    def write(index: int) -> Tensor:
        return writer.slice(
            scan[index], (0.72, 0.72), seed=1, scan="speed", index=index, position=0.5
        )

    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        list(tasks.spread(write, range(len(scan))))
        best = min(best, (time.perf_counter() - begin) / len(scan))
    print(f"320 x 320: {best:.3f} s a slice on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
