"""Straight paths from noise to fine phase: where they start, how they are learned and followed."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from synthlib.phase.flow.network import Architecture, FlowNetwork, Given

BEGINNINGS = 0.4  # share of the paths that are learned at their beginning
LEAST_ERROR = 0.02  # of the stage's own, for images without any fine phase
LAST = 0.98  # time that is learned: at 1 nothing is left to expect


@dataclass(frozen=True)
class Stage:
    """One of the flow's two networks with the noise that its paths start from.

    Attributes:
        noise_rad: s.d. of that noise around the guess; phase_rad: of what it becomes.
        scales: pixels between the independent values of the noise's parts.
        steps: of Euler's method on the way from noise to phase.
    """

    architecture: Architecture = field(default_factory=Architecture)
    noise_rad: float = 0.4
    phase_rad: float = 0.4
    scales: tuple[int, ...] = (1, 4, 16)
    steps: int = 6


COARSE = Stage()
FINE = Stage(Architecture((16, 32, 64), 2), 0.15, 0.12, scales=(1, 3), steps=2)


def start(guess: Tensor, stage: Stage, rng: torch.Generator) -> Tensor:
    """Where paths start: (image, 2, y, x) around the guess, coarse and fine noise in equal parts.

    White noise alone would leave the low frequencies of the phase to few values.

    Args:
        guess: (image, 2, y, x).
    """
    n, _, ny, nx = guess.shape
    parts = []
    for scale in stage.scales:
        coarse = torch.randn(n, 2, -(-ny // scale) + 1, -(-nx // scale) + 1, generator=rng)
        if scale > 1:
            coarse = functional.interpolate(coarse, scale_factor=scale, mode="bilinear")
        parts.append(coarse[..., :ny, :nx])
    noise = sum(parts, torch.zeros(())) / len(stage.scales) ** 0.5
    return guess + stage.noise_rad * noise.to(guess.device)  # drawn alike for every device


def expected(
    network: FlowNetwork, state: Tensor, given: Given, time: Tensor, stage: Stage
) -> Tensor:
    """(cos, sin) of the fine phase that is expected at the end of the path: (image, 2, y, x).

    The best linear guess from the state, and what the network adds to it, in units of
    that guess's error: near the end of the path the network need not learn to copy.

    Args:
        state: (image, 2, y, x), on the way from noise to (cos, sin); time: (image,), 0 to 1.

    Source: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models,
    NeurIPS 2022, whose noise is added, and not mixed in.
    """
    off = _linear(state - given.guess, time, stage)
    # seen so, the state has nothing but noise at the beginning, and no weight
    added = network(off / stage.phase_rad, given, time)
    return given.guess + off + _error(time, stage).view(-1, 1, 1, 1) * added


def _linear(away: Tensor, time: Tensor, stage: Stage) -> Tensor:
    """The best linear guess of the phase off the guess, from a state that is off by so much."""
    kept = time * stage.phase_rad**2 / _spread(time, stage).square()
    return kept.view(-1, 1, 1, 1) * away


def _spread(time: Tensor, stage: Stage) -> Tensor:
    """S.d. of a state around the guess."""
    return torch.sqrt((time * stage.phase_rad) ** 2 + ((1 - time) * stage.noise_rad) ** 2)


def _error(time: Tensor, stage: Stage) -> Tensor:
    """S.d. of the phase around the best linear guess from the state."""
    return stage.phase_rad * stage.noise_rad * (1 - time) / _spread(time, stage)


def follow(network: FlowNetwork, given: Given, state: Tensor, stage: Stage) -> Tensor:
    """From noise to (cos, sin) of a draw, by Euler's method: (image, 2, y, x).

    Raises:
        ValueError: fewer than one step.
    """
    if stage.steps < 1:
        raise ValueError(
            f"{stage.steps} steps from noise to phase; expected 1 or more. 2 to 6 are usual."
        )
    ny, nx = state.shape[-2:]
    given = given.padded(network.multiple)
    padded_y, padded_x = given.magnitude.shape[-2:]
    state = functional.pad(state, (0, padded_x - nx, 0, padded_y - ny))
    for step in range(stage.steps):
        time = torch.full((len(state),), step / stage.steps, device=state.device)
        end = expected(network, state, given, time, stage)
        state = state + (end - state) / (stage.steps - step)
    return state[..., :ny, :nx]


def loss_of(
    network: FlowNetwork,
    given: Given,
    target: Tensor,
    weight: Tensor,
    stage: Stage,
    rng: torch.Generator,
) -> Tensor:
    """Weighted mean square error of what the network expects, by that of the best linear guess.

    Each image by its own: the phase of a gradient echo is ten times that of a spin echo, and
    would count a hundred times. Paths are straight, so that the expected end gives the
    velocity, too; a share of them is seen at their beginning, where the magnitude alone tells.

    Args:
        target: (image, 2, y, x), (cos, sin); weight: >= 0 (image, 1, y, x).

    Source: Lipman et al., Flow Matching for Generative Modeling, ICLR 2023; Liu et al., ICLR 2023.
    """
    first = start(given.guess, stage, rng)
    drawn = LAST * torch.rand(len(target), generator=rng)
    at_first = torch.rand(len(target), generator=rng) < BEGINNINGS
    time = torch.where(at_first, 0.0, drawn).to(target.device)
    state = first + time[:, None, None, None] * (target - first)
    off = expected(network, state, given, time, stage).float() - target
    linear = given.guess + _linear(state - given.guess, time, stage) - target
    error, usual = (
        (weight * one.square()).sum((1, 2, 3)) / weight.sum((1, 2, 3)) for one in (off, linear)
    )
    return (error / (usual + LEAST_ERROR * _error(time, stage).square())).mean()
