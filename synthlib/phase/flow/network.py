"""The network of a stage: where a noisy fine phase should move, given the magnitude."""

from __future__ import annotations

import dataclasses
import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthlib.phase.flow import conditions

N_TIMES = 16  # numbers that write a time
GROUP = 8  # channels of a norm's group
SEEN = 8  # channels at the entrance: state 2, guess 2, magnitude and its root, place 2


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What must agree for weights to fit.

    Attributes:
        widths: channels at the full, half, quarter ... resolution.
        inner: blocks at the lowest resolution.

    Raises:
        ValueError: widths that groups of channels do not divide.
    """

    widths: tuple[int, ...] = (24, 48, 96, 128)
    inner: int = 3

    def __post_init__(self) -> None:
        uneven = [width for width in self.widths if width < GROUP or width % GROUP]
        if uneven or len(self.widths) < 2:
            raise ValueError(
                f"widths {self.widths}; expected two or more multiples of {GROUP}. A small network "
                "has (16, 32)."
            )

    def build(self) -> FlowNetwork:
        """Weights drawn by torch's global state; laid out channels last, a fifth faster."""
        network = FlowNetwork(self)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@dataclasses.dataclass(frozen=True)
class Given:
    """What a network sees besides the state.

    Attributes:
        magnitude: (image, 1, y, x), 1 is bright.
        guess: (image, 2, y, x), (cos, sin) of what is known of the fine phase, on the unit circle.
        place: (image, 2, y, x), of grids.places.
        conditions: (image, conditions.LENGTH + 1), the last the log2 of a pixel's mm.
    """

    magnitude: Tensor
    guess: Tensor
    place: Tensor
    conditions: Tensor

    def to(self, device: torch.device | str) -> Given:
        return Given(
            self.magnitude.to(device),
            self.guess.to(device),
            self.place.to(device),
            self.conditions.to(device),
        )

    def padded(self, multiple: int) -> Given:
        """Behind and below, to edges that divide; air and no phase in what is new."""
        ny, nx = self.magnitude.shape[-2:]
        margin = (0, -nx % multiple, 0, -ny % multiple)
        cosine = functional.pad(self.guess[:, :1], margin, value=1.0)
        return Given(
            functional.pad(self.magnitude, margin),
            torch.cat([cosine, functional.pad(self.guess[:, 1:], margin)], 1),
            functional.pad(self.place, margin),
            self.conditions,
        )


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut; the conditions scale and shift what is between."""

    def __init__(self, channels: int, n_conditions: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(channels // GROUP, channels)
        self.condition = nn.Linear(n_conditions, 2 * channels)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.condition.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.condition(condition)[..., None, None].chunk(2, dim=1)
        between = self.norm(self.first(functional.silu(x))) * (1 + scale) + shift
        return x + self.second(functional.silu(between))


class FlowNetwork(nn.Module):
    """A small U-Net that knows no grid of its own.

    Down by averages of two by two, up by bilinear interpolation with a convolution behind it,
    so that no stride leaves a period in the phase.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        widths = architecture.widths
        hidden = 4 * widths[0]
        self.known = nn.Sequential(
            nn.Linear(2 * N_TIMES + conditions.LENGTH + 1, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
        )
        self.enter = nn.Conv2d(SEEN, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Block(width, hidden) for width in widths[:-1])
        self.wider = nn.ModuleList(
            nn.Conv2d(low, high, 1) for low, high in itertools.pairwise(widths)
        )
        self.inner = nn.ModuleList(Block(widths[-1], hidden) for _ in range(architecture.inner))
        self.narrower = nn.ModuleList(
            nn.Conv2d(high, low, 1) for low, high in itertools.pairwise(widths)
        )
        self.up = nn.ModuleList(Block(width, hidden) for width in widths[:-1])
        self.leave = nn.Conv2d(widths[0], 2, 3, padding=1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    @property
    def multiple(self) -> int:
        """Edges of an image must divide by it."""
        return 2 ** len(self.down)

    def forward(self, state: Tensor, given: Given, time: Tensor) -> Tensor:
        """What is to be added to the best linear guess; see paths.expected.

        Args:
            state: (image, 2, y, x), the best linear guess, off the guess, by the phase's s.d.
            time: (image,), 0 is noise, 1 the phase.

        Returns:
            (image, 2, y, x).
        """
        added, _ = self._run(state, given, time)
        return added

    def activations(self, given: Given) -> Tensor:
        """Mean over the image of what every level sees of it at the path's beginning.

        Returns:
            (image, sum of the widths).
        """
        nothing = torch.zeros_like(given.guess)
        _, seen = self._run(nothing, given, given.conditions.new_zeros(len(nothing)))
        return torch.cat([level.mean((-2, -1)) for level in seen], 1)

    def _run(self, state: Tensor, given: Given, time: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What is to be added, and the levels on the way down with the innermost."""
        turns = torch.arange(1, N_TIMES + 1, device=time.device) * time[:, None] * (torch.pi / 2)
        numbers = torch.cat([turns.cos(), turns.sin(), given.conditions], 1)
        condition = functional.silu(self.known(numbers))
        root = given.magnitude.clamp(min=0).sqrt()
        x = self.enter(torch.cat([state, given.guess, given.magnitude, root, given.place], 1))
        kept = []
        for block, wider in zip(self.down, self.wider, strict=True):
            x = block(x, condition)
            kept.append(x)
            x = functional.avg_pool2d(wider(x), 2)
        for block in self.inner:
            x = block(x, condition)
        seen = [*kept, x]
        for level in reversed(range(len(self.up))):
            coarse = self.narrower[level](x)
            x = kept[level] + functional.interpolate(
                coarse, scale_factor=2, mode="bilinear", align_corners=False
            )
            x = self.up[level](x, condition)
        return self.leave(functional.silu(x)), seen
