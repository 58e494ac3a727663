"""What a stage sees in a step: whole heads on the coarse grid, or patches at their own pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthlib import runs
from synthlib.phase.flow import grids
from synthlib.phase.flow.conditions import Conditions, forget
from synthlib.phase.flow.examples import Example
from synthlib.phase.flow.network import Given

FLOOR = 0.02  # weight of what gives no signal: there the phase is to be none
EDGE = 96  # of a batch's images, in pixels
CENTRE_MM = 4.0  # s.d. of how far a head's centre is missed
GUESS_RAD = 0.15  # most noise of a guess while the fine stage learns


@dataclass(frozen=True)
class Degrading:
    """How a magnitude without noise becomes one as it is measured.

    Attributes:
        noise: smallest and largest s.d. of its noise, by the bright end.
        shading: s.d. of the logarithm of what receivers make uneven.
        unknown: share of the images for which a condition, or all, is unknown.
    """

    noise: tuple[float, float] = (0.003, 0.06)
    shading: float = 0.25
    unknown: float = 0.15


@dataclass(frozen=True)
class Prepared:
    """An example with what does not change from step to step.

    Attributes:
        bright, middle_mm: of grids.view.
        conditions: (conditions.LENGTH,).
        magnitude, target, weight: (y, x), (2, y, x), (y, x) on the coarse grid, unit bright.
        native: the example itself, None where only the coarse stage learns.
    """

    spacing_mm: tuple[float, float]
    mirrored: bool  # may it be?
    bright: float
    middle_mm: tuple[float, float]
    conditions: Tensor
    magnitude: Tensor
    target: Tensor
    weight: Tensor
    native: Example | None = None


@dataclass(frozen=True)
class Batch:
    """Images, what they should become (image, 2, y, x), and how much each pixel counts."""

    given: Given
    target: Tensor
    weight: Tensor


def prepare(example: Example, *, native: bool) -> Prepared:
    """An example for the coarse stage, or with native=True for both."""
    magnitude, fine = example.magnitude.float(), example.fine.float()
    seen = grids.view(magnitude, example.spacing_mm)
    inside = magnitude * example.head
    sums = torch.stack([magnitude, inside, inside * fine.cos(), inside * fine.sin()])
    shape = grids.coarse_shape((magnitude.shape[0], magnitude.shape[1]), example.spacing_mm)
    whole, inside, *pair = grids.resize(sums[None], shape)[0]
    head = grids.resize(example.head.float()[None, None], shape)[0, 0] > 0.5
    weight = _weight(inside, head, magnitude[example.head].median())
    return Prepared(
        example.spacing_mm,
        example.orientation != "sagittal",  # a head has a front and a back
        seen.bright,
        seen.middle_mm,
        Conditions.of_protocol(example.label, example.orientation, example.field_t).vector(),
        whole / seen.bright,
        _target(grids.unit(torch.stack(pair)[None])[0], head),
        weight,
        example if native else None,
    )


def _weight(magnitude: Tensor, head: Tensor, median: Tensor) -> Tensor:
    """Signal counts, up to the median's: a bright vessel no more than tissue."""
    return (magnitude / median).clamp(max=1) * head


def _target(pair: Tensor, head: Tensor) -> Tensor:
    """(2, y, x), (1, 0) outside the head."""
    none = pair.new_tensor([1.0, 0.0])[:, None, None]
    return torch.where(head, pair, none)


def coarse_batch(
    prepared: Sequence[Prepared], size: int, degrading: Degrading, seed: int, step: int
) -> Batch:
    """Whole heads on the coarse grid; the guess is no phase."""
    rng = runs.rng(seed, "flow", "coarse", step)
    return _batch([_whole_head(_one_of(prepared, rng), degrading, rng) for _ in range(size)])


def fine_batch(
    prepared: Sequence[Prepared], size: int, degrading: Degrading, seed: int, step: int
) -> Batch:
    """Patches at the images' own pixels; the guess is the coarse truth, a little noisy."""
    rng = runs.rng(seed, "flow", "fine", step)
    return _batch([_patch(_one_of(prepared, rng), degrading, rng) for _ in range(size)])


def _one_of(prepared: Sequence[Prepared], rng: torch.Generator) -> Prepared:
    return prepared[int(torch.randint(len(prepared), (), generator=rng))]


def _whole_head(one: Prepared, degrading: Degrading, rng: torch.Generator) -> tuple[Tensor, ...]:
    """As _image gives it."""
    shape = one.magnitude.shape[0], one.magnitude.shape[1]
    place = grids.places(shape, (grids.MM, grids.MM), _missed(one.middle_mm, rng))
    guess = _target(torch.zeros_like(one.target), torch.zeros(shape, dtype=torch.bool))
    stacked = _stack(one.magnitude, guess, place, one.target, one.weight)
    return _image(_fitted(stacked), one, grids.MM, degrading, rng)


def _patch(one: Prepared, degrading: Degrading, rng: torch.Generator) -> tuple[Tensor, ...]:
    """As _image gives it."""
    example = one.native
    assert example is not None
    cut = _place_of_patch(example.head, rng)
    head = example.head[cut]
    fine, magnitude = example.fine[cut].float(), example.magnitude[cut].float()
    median = example.magnitude[example.head].float().median()
    shape = example.head.shape[0], example.head.shape[1]
    place = grids.places(shape, one.spacing_mm, _missed(one.middle_mm, rng))[:, *cut]
    guess = grids.resize(_noisy(one.target, rng)[None], shape)
    guess = grids.unit(guess)[0][:, *cut]
    target = _target(torch.stack([fine.cos(), fine.sin()]), head)
    weight = _weight(magnitude, head, median)
    stacked = _stack(magnitude / one.bright, guess, place, target, weight)
    return _image(_fitted(stacked), one, math.prod(one.spacing_mm) ** 0.5, degrading, rng)


def _stack(
    magnitude: Tensor, guess: Tensor, place: Tensor, target: Tensor, weight: Tensor
) -> Tensor:
    """(8, y, x), as _image takes it apart."""
    return torch.cat([magnitude[None], guess, place, target, weight[None]])


def _image(
    stacked: Tensor, one: Prepared, mm: float, degrading: Degrading, rng: torch.Generator
) -> tuple[Tensor, ...]:
    """Mirrored or not, degraded: magnitude, guess, place, conditions, target, weight."""
    if float(torch.rand((), generator=rng)) < 0.5 and one.mirrored:
        stacked = stacked.flip(-1)
        stacked[4] = -stacked[4]  # what lay to the left lies to the right
    magnitude, guess, place, target, weight = stacked.split([1, 2, 2, 2, 1])
    conditions = forget(one.conditions, degrading.unknown, rng)
    conditions = torch.cat([conditions, torch.tensor([math.log2(mm)])])
    seen = as_measured(magnitude[0], degrading, rng)
    return seen[None], guess, place, conditions, target, weight + FLOOR


def _batch(drawn: Sequence[tuple[Tensor, ...]]) -> Batch:
    magnitude, guess, place, conditions, target, weight = (
        torch.stack(values) for values in zip(*drawn, strict=True)
    )
    return Batch(Given(magnitude, guess, place, conditions), target, weight)


def _missed(middle_mm: tuple[float, float], rng: torch.Generator) -> tuple[float, float]:
    """A centre that noise and a neck have moved a little."""
    y, x = (CENTRE_MM * torch.randn(2, generator=rng)).tolist()
    return middle_mm[0] + y, middle_mm[1] + x


def _noisy(pair: Tensor, rng: torch.Generator) -> Tensor:
    """(2, y, x) turned by noise, for what the coarse stage draws is not the truth."""
    most = GUESS_RAD * float(torch.rand((), generator=rng))
    turn = most * torch.randn(pair.shape[1:], generator=rng)
    cosine, sine = pair
    return torch.stack(
        [cosine * turn.cos() - sine * turn.sin(), sine * turn.cos() + cosine * turn.sin()]
    )


def _place_of_patch(head: Tensor, rng: torch.Generator) -> tuple[slice, slice]:
    """Rows and columns around a pixel of the head that is drawn."""
    rows, columns = torch.nonzero(head, as_tuple=True)
    centre = int(torch.randint(len(rows), (), generator=rng))
    starts = (
        min(max(int(place[centre]) - EDGE // 2, 0), max(0, n - EDGE))
        for place, n in zip((rows, columns), head.shape, strict=True)
    )
    top, left = starts
    return slice(top, top + EDGE), slice(left, left + EDGE)


def _fitted(stacked: Tensor) -> Tensor:
    """(8, y, x) as _stack makes it, cut or padded to EDGE around its middle."""
    ny, nx = stacked.shape[-2:]
    top, left = max(0, (ny - EDGE) // 2), max(0, (nx - EDGE) // 2)
    stacked = stacked[:, top : top + EDGE, left : left + EDGE]
    rows, columns = (EDGE - n for n in stacked.shape[-2:])
    above, before = rows // 2, columns // 2
    padded = functional.pad(stacked, (before, columns - before, above, rows - above))
    outside = torch.ones(EDGE, EDGE, dtype=torch.bool)
    outside[above : EDGE - (rows - above), before : EDGE - (columns - before)] = False
    for cosine in (1, 5):  # no phase there
        padded[cosine][outside] = 1.0
    return padded


def as_measured(magnitude: Tensor, degrading: Degrading, rng: torch.Generator) -> Tensor:
    """A magnitude (y, x) with the receivers' shading and noise, scaled a little wrongly."""
    coarse = torch.randn(1, 1, 3, 3, generator=rng)
    size = magnitude.shape[0], magnitude.shape[1]
    uneven = functional.interpolate(coarse, size, mode="bicubic", align_corners=True)[0, 0]
    low, high = (math.log(value) for value in degrading.noise)
    share, scale = torch.rand(2, generator=rng).tolist()
    noise = math.exp(low + (high - low) * share) * torch.randn(2, *size, generator=rng)
    shaded = magnitude * torch.exp(degrading.shading * uneven) * 1.5 ** (scale - 0.5)
    return ((shaded + noise[0]).square() + noise[1].square()).sqrt()
