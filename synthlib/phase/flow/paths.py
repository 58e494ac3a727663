"""Straight paths from noise to fine phase: where they start, how they are learned and followed."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from synthlib.phase.flow.network import Architecture, FlowNetwork, Given

EARLY = 1.5  # times are uniform numbers to this power


@dataclass(frozen=True)
class Stage:
    """One of the flow's two networks with the noise that its paths start from.

    Attributes:
        noise_rad: s.d. of that noise around the guess, about as wide as what it becomes.
        scales: pixels between the independent values of the noise's parts.
        steps: of Euler's method on the way from noise to phase.
    """

    architecture: Architecture = field(default_factory=Architecture)
    noise_rad: float = 0.5
    scales: tuple[int, ...] = (1, 4, 16)
    steps: int = 6


COARSE = Stage()
FINE = Stage(Architecture((16, 32, 64), 2), noise_rad=0.25, scales=(1, 3), steps=2)


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


def follow(network: FlowNetwork, given: Given, state: Tensor, steps: int) -> Tensor:
    """From noise to (cos, sin) of a draw, by Euler's method: (image, 2, y, x).

    Raises:
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"{steps} steps from noise to phase; expected 1 or more. 2 to 6 are usual.")
    ny, nx = state.shape[-2:]
    given = given.padded(network.multiple)
    padded_y, padded_x = given.magnitude.shape[-2:]
    state = functional.pad(state, (0, padded_x - nx, 0, padded_y - ny))
    for step in range(steps):
        time = torch.full((len(state),), step / steps, device=state.device)
        state = state + (network(state, given, time) - state) / (steps - step)
    return state[..., :ny, :nx]


def loss_of(
    network: FlowNetwork,
    given: Given,
    target: Tensor,
    weight: Tensor,
    stage: Stage,
    rng: torch.Generator,
) -> Tensor:
    """Weighted mean square error of the phase that the network expects at the end of a path.

    Paths are straight, so that it gives the velocity, too; early times, where little but the
    magnitude tells the phase, are drawn more often.

    Args:
        target: (image, 2, y, x), (cos, sin); weight: >= 0 (image, 1, y, x).

    Source: Lipman et al., Flow Matching for Generative Modeling, ICLR 2023; Liu et al., ICLR 2023.
    """
    first = start(given.guess, stage, rng)
    time = torch.rand(len(target), generator=rng).pow(EARLY).to(target.device)
    state = first + time[:, None, None, None] * (target - first)
    expected = network(state, given, time).float()
    error = (expected - target).square().sum(1, keepdim=True)
    return (error * weight).sum() / weight.sum()
