"""Can a small network distinguish a source's phase from measured phase? As the gallery's game.

A network sees the magnitude of single slices and their phase's steps from pixel to pixel,
and learns which were measured; it is tested on patients that it never saw. An AUROC of
0.5 means that it guesses, 1 that it is never wrong. Steps know no constant, their mean is
taken off (the tilt), and those in air, which are noise, are masked: what is no property of
the head gives no source away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from synthlib import arrays, runs, tasks
from synthlib.phase import sources
from synthlib.records import PhasePair
from synthlib.study.roc import Auroc, Scores, clustered_auroc

SLOPE = 0.1  # of the leaky ReLU
STEP_RAD = 0.2  # steps of phase are given to the network in this unit


@dataclass(frozen=True)
class Settings:
    """The network and how often the game is played.

    Attributes:
        channels: of the convolutions of stride 2.
        steps, batch: batches, and slices in each, half of them measured.
        learning_rate: at the beginning; it falls to 0 along a cosine.
        test_share: of the patients; the others are learned from. Patients are
            parted once: were everybody tested by networks that learned from the others
            (cross-validation), the interval would be too narrow.
        n_networks: that are trained, from other beginnings; their AUROCs are averaged.
        smooth_px: standard deviation (pixels) of a Gaussian that smooths the complex
            images, measured and synthetic, before steps are taken: then a source is
            not distinguished by the noise that its phase lacks. 0 leaves them as they are.
    """

    channels: tuple[int, ...] = (16, 32, 48)
    steps: int = 150
    batch: int = 16
    learning_rate: float = 3e-3
    test_share: float = 0.5
    n_networks: int = 3
    smooth_px: float = 0.0


@dataclass(frozen=True)
class Example:
    """One slice with one phase.

    Attributes:
        patient_id: who was scanned.
        is_measured: what is to be found from the image.
        image: float32 (3, y, x), magnitude (0 to 1) and steps of the phase along y and x,
            0 in air.
    """

    patient_id: str
    is_measured: bool
    image: Tensor


# --- the game --------------------------------------------------------------------------


def auroc(
    slices: Sequence[PhasePair],
    synthetic: Sequence[Tensor],
    *,
    seed: int,
    settings: Settings | None = None,
) -> Auroc:
    """How well a network distinguishes synthetic from measured phase of the same slices.

    Args:
        slices: with their measured phase, of several patients.
        synthetic: radians (y, x), one for each of the slices.
        seed: of the parts of the patients and of the networks.
        settings: see Settings.

    Raises:
        ValueError: numbers of slices and phases differ, grids do, or there are too few
            patients for two of them in either part.
    """
    if len(slices) != len(synthetic):
        raise ValueError(f"{len(synthetic)} phases for {len(slices)} slices; expected one for each")
    settings = settings or Settings()
    examples = [example(pair, pair.phase, settings, is_measured=True) for pair in slices]
    examples += [
        example(pair, phase, settings, is_measured=False)
        for pair, phase in zip(slices, synthetic, strict=True)
    ]
    return clustered_auroc(play(examples, seed, settings))


def auroc_of_same(
    slices: Sequence[PhasePair], *, seed: int, settings: Settings | None = None
) -> Auroc:
    """Control: measured phase throughout, and one half of the patients is called synthetic.

    There is nothing to be learned: 0.5 is to lie in the interval.
    """
    settings = settings or Settings()
    patients = sorted({pair.patient_id for pair in slices})
    order = torch.randperm(len(patients), generator=runs.rng(seed, "halves")).tolist()
    half = {patients[which] for which in order[: len(patients) // 2]}
    examples = [
        example(pair, pair.phase, settings, is_measured=pair.patient_id in half) for pair in slices
    ]
    return clustered_auroc(play(examples, seed, settings))


def discriminate(
    names: Sequence[str],
    slices: Sequence[PhasePair],
    context: sources.Context,
    *,
    seed: int,
    settings: Settings | None = None,
    workers: int = 1,
) -> dict[str, Auroc]:
    """Play the game with several sources of phase, on the same slices and parts of patients.

    Args:
        names: of phase.sources; "measured" is played as :func:`auroc_of_same`.
        slices: of patients that no source has learned from.
        context: see phase.sources.
        seed, settings: as :func:`auroc` takes them.
        workers: as tasks.run_all takes them.
    """
    work = partial(_play_one, slices=slices, context=context, seed=seed, settings=settings)
    label = "sources of phase distinguished from measured"
    return dict(zip(names, tasks.run_all(work, names, label=label, workers=workers), strict=True))


def _play_one(
    name: str,
    *,
    slices: Sequence[PhasePair],
    context: sources.Context,
    seed: int,
    settings: Settings | None,
) -> Auroc:
    if name == sources.MEASURED:
        return auroc_of_same(slices, seed=seed, settings=settings)
    phases = [sources.write(name, pair, context, seed=seed) for pair in slices]
    return auroc(slices, phases, seed=seed, settings=settings)


def discrimination_table(results: Mapping[str, Auroc]) -> list[dict[str, str]]:
    """Rows for tables.from_dicts: every source with its AUROC and interval.

    Args:
        results: name of a source to its AUROC, as :func:`discriminate` gives them.
    """
    return [
        {
            "phase": "Measured, other patients (control)"
            if name == sources.MEASURED
            else sources.label(name),
            "AUROC": f"{result.value:.2f}",
            "95 % interval": f"{result.low:.2f} to {result.high:.2f}",
            "distinguished from measured": "yes" if result.is_distinguished else "no",
            "patients": str(result.n_patients),
            "slices": str(result.n_slices),
        }
        for name, result in results.items()
    ]


# --- networks --------------------------------------------------------------------------


def play(examples: Sequence[Example], seed: int, settings: Settings) -> list[Scores]:
    """Train some networks on one part of the patients and test them on the other."""
    examples = _on_one_grid(examples)
    tested = part_for_tests(examples, settings.test_share, seed)
    learn = [example for example in examples if example.patient_id not in tested]
    test = [example for example in examples if example.patient_id in tested]
    with tasks.threads_of_our_own():
        return [
            _test(train(learn, settings, runs.seed_for(seed, "network", number)), test)
            for number in range(settings.n_networks)
        ]


def part_for_tests(examples: Sequence[Example], share: float, seed: int) -> set[str]:
    """Patients that are tested; of those of each kind (measured, synthetic, both) one share."""
    kinds: dict[str, tuple[bool, ...]] = {}
    for example in examples:
        before = kinds.get(example.patient_id, ())
        kinds[example.patient_id] = tuple(sorted({*before, example.is_measured}))
    draw = runs.rng(seed, "test patients")
    tested: set[str] = set()
    for kind in sorted(set(kinds.values())):
        patients = sorted(patient for patient, of in kinds.items() if of == kind)
        order = torch.randperm(len(patients), generator=draw).tolist()
        tested |= {patients[which] for which in order[: round(share * len(patients))]}
    return tested


def example(pair: PhasePair, phase: Tensor, settings: Settings, *, is_measured: bool) -> Example:
    """What the network sees of one slice with one phase (y, x), radians."""
    arrays.require_same_grid(magnitude=pair.magnitude, phase=phase)
    magnitude = pair.magnitude / pair.magnitude.max().clamp(min=1e-20)
    image = torch.polar(magnitude, phase.float())
    if settings.smooth_px > 0:
        values = image.numpy(force=True)
        image = torch.from_numpy(ndimage.gaussian_filter(values, settings.smooth_px))
    unit = torch.polar(pair.head.float(), image.angle())
    steps = [_steps(unit, axis) / STEP_RAD for axis in (0, 1)]
    return Example(pair.patient_id, is_measured, torch.stack([magnitude * pair.head, *steps]))


def _steps(unit: Tensor, axis: int) -> Tensor:
    """Steps of phase along an axis, less their mean, where both pixels lie in the head.

    Args:
        unit: complex64 (y, x), exp(i phase), 0 in air.

    Returns:
        float32 (y, x), radians in (-pi, pi]; 0 elsewhere and in the last row or column.
    """
    n = unit.shape[axis] - 1
    turn = unit.narrow(axis, 1, n) * unit.narrow(axis, 0, n).conj()
    tilt = turn.sum().angle()
    steps = torch.zeros(unit.shape)
    inside = turn.abs() > 0  # the angle of 0 is pi where the zero is negative
    level = (turn * torch.polar(torch.ones_like(tilt), -tilt)).angle()
    steps.narrow(axis, 0, n).copy_(torch.where(inside, level, 0.0))
    return steps


def _on_one_grid(examples: Sequence[Example]) -> list[Example]:
    """All on one matrix, as large as the largest head needs; pixels stay as they are."""
    reach = [1, 1]  # from the matrix's centre
    for example in examples:
        for axis, which in enumerate(torch.nonzero(example.image[0] > 0).T):
            centre = example.image.shape[1 + axis] // 2
            if len(which):
                reach[axis] = max(reach[axis], int((which - centre).abs().max()) + 1)
    grid = (2 * reach[0], 2 * reach[1])
    return [
        Example(
            example.patient_id, example.is_measured, arrays.crop_or_pad_image(example.image, grid)
        )
        for example in examples
    ]


def build_network(channels: Sequence[int], n_inputs: int = 3) -> nn.Sequential:
    """(slice, n_inputs, y, x) to (slice, 1): 19,009 weights by default."""
    layers: list[nn.Module] = []
    for before, after in zip((n_inputs, *channels[:-1]), channels, strict=True):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], 1)]
    network = nn.Sequential(*layers)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def train(examples: Sequence[Example], settings: Settings, seed: int) -> nn.Module:
    """A network that scores measured examples (all of one grid) higher than the others."""
    with runs.seeded(seed, "weights"):
        network = build_network(settings.channels, examples[0].image.shape[0])
    draw = runs.rng(seed, "batches")
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    images = _stacked(examples)
    truth = torch.tensor([example.is_measured for example in examples])
    # as many measured as synthetic slices in every batch, whatever the numbers there are
    kinds = [torch.nonzero(truth == kind).flatten() for kind in (True, False)]
    for _ in range(settings.steps):
        half = settings.batch // 2
        chosen = torch.cat(
            [kind[torch.randint(len(kind), (half,), generator=draw)] for kind in kinds]
        )
        scores = network(images[chosen])[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(scores, truth[chosen].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network


@torch.no_grad()
def _test(network: nn.Module, examples: Sequence[Example]) -> Scores:
    return Scores(
        patients=np.array([example.patient_id for example in examples]),
        is_measured=np.array([example.is_measured for example in examples]),
        values=network(_stacked(examples))[:, 0].numpy(force=True),
    )


def _stacked(examples: Sequence[Example]) -> Tensor:
    images = torch.stack([example.image for example in examples])
    return images.contiguous(memory_format=torch.channels_last)
