"""What changes from line to line while k-space is filled: pulsation, motion, receiver gain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner.echoes import from_lines, lines, weighted_lines
from synthlib.scanner.volume import normal, uniform

GROUPS = 8  # of lines, between which a head moves or a receiver's gain steps
MOVED_MM, TURNED_RAD = 1.0, 0.017  # s.d. of motion between groups: 1 mm, 1 degree
GAIN_STEP = 0.01  # s.d. of the receivers' complex gain between groups
ONE_IN = 12  # subjects have a weak channel
DEAD = 0.33  # of those, how many have a dead one
WEAK = (0.05, 0.4)  # gain of a weak channel
FEWEST_CHANNELS = 4  # of an array that is used with a broken channel


@dataclass(frozen=True)
class Motion:
    """Where the head is in each group of lines: moved_mm (group, 2) along y, x; turned_rad."""

    moved_mm: Tensor
    turned_rad: Tensor


def group_of(times_ms: Tensor) -> Tensor:
    """Which of GROUPS, in time, each column of kx belongs to: (n_lines,)."""
    order = times_ms.argsort(stable=True).argsort(stable=True)
    return order * GROUPS // len(times_ms)


def draw_motion(rng: torch.Generator, times_ms: Tensor) -> Motion:
    """One scan's motion; the centre of k-space shows the head where the truth has it."""
    moved, turned = MOVED_MM * normal(rng, GROUPS, 2), TURNED_RAD * normal(rng, GROUPS)
    central = int(group_of(times_ms)[len(times_ms) // 2])
    return Motion(moved - moved[central], turned - turned[central])


def with_motion(
    image: Tensor,
    maps: Tensor,
    motion: Motion,
    spacing_mm: tuple[float, float],
    times_ms: Tensor,
) -> Tensor:
    """Coil images (..., coil, y, x) of an object that moves between groups of lines.

    The object moves and the coils do not: every group's lines are those of the
    moved object, seen by the same maps.

    Args:
        image: complex (..., y, x); maps: complex (..., coil, y, x).
        times_ms: (x,) when each column of kx is measured.
    """
    group = group_of(times_ms).to(image.device)
    spectrum = torch.zeros_like(maps)
    for index in range(GROUPS):
        here = moved(image, motion.moved_mm[index], float(motion.turned_rad[index]), spacing_mm)
        seen = lines(here[..., None, :, :] * maps)
        spectrum[..., group == index] = seen[..., group == index]
    return from_lines(spectrum)


def moved(
    image: Tensor, by_mm: Tensor, turned_rad: float, spacing_mm: tuple[float, float]
) -> Tensor:
    """A complex image (..., y, x) turned about pixel [ny // 2, nx // 2], then moved by (y, x) mm.

    Turned from the y axis towards the x axis, by three shears in k-space.

    Source: Unser et al., IEEE Trans Image Process 4:1371 (1995).
    """
    ny, nx = image.shape[-2:]
    y = (torch.arange(ny, device=image.device) - ny // 2) * spacing_mm[0]
    x = (torch.arange(nx, device=image.device) - nx // 2) * spacing_mm[1]
    along_x, along_y = math.tan(turned_rad / 2), -math.sin(turned_rad)
    image = _shifted(image, along_x * y / spacing_mm[1])
    image = _shifted(image.mT, along_y * x / spacing_mm[0]).mT
    image = _shifted(image, along_x * y / spacing_mm[1])
    down, right = (by_mm / torch.tensor(spacing_mm)).to(image.device)
    image = _shifted(image, right.expand(ny))
    return _shifted(image.mT, down.expand(nx)).mT


def _shifted(image: Tensor, pixels: Tensor) -> Tensor:
    """Every row of (..., y, x) moved by its own number of pixels (y,) to higher x."""
    n = image.shape[-1]
    k = (torch.arange(n, device=image.device) - n // 2) / n
    angle = -2 * math.pi * pixels[:, None] * k
    return from_lines(lines(image) * torch.polar(torch.ones_like(angle), angle))


def ghosts(pulsatile: Tensor, maps: Tensor, modulation: Tensor) -> Tensor:
    """What pulsating signal (..., y, x) adds to coil images (..., coil, y, x).

    Its columns of kx are multiplied with the modulation (x,). Rows without any are passed by.
    """
    rows = (pulsatile.abs().amax(-1) > 0).reshape(-1, pulsatile.shape[-2]).any(0)
    added = torch.zeros_like(maps)
    if bool(rows.any()):
        seen = pulsatile[..., None, rows, :] * maps[..., rows, :]
        added[..., rows, :] = weighted_lines(seen, modulation.to(maps.device))
    return added


def draw_gains(rng: torch.Generator, n_coils: int, times_ms: Tensor) -> Tensor:
    """Complex gain (coil, kx) of each channel, constant for a while, 1 at the centre of kx."""
    step = torch.complex(normal(rng, n_coils, GROUPS), normal(rng, n_coils, GROUPS))
    group = group_of(times_ms)
    gain = 1 + GAIN_STEP * step
    return (gain / gain[:, group[len(group) // 2]][:, None])[:, group]


def draw_channels(rng: torch.Generator, n_coils: int) -> Tensor:
    """Sensitivity (coil,) of each channel by its proper one; one array in twelve has a fault."""
    channels = torch.ones(n_coils)
    fault, dead, gain = uniform(rng, 0, 1, 3).tolist()
    index = int(torch.randint(n_coils, (1,), generator=rng))
    if n_coils >= FEWEST_CHANNELS and fault < 1 / ONE_IN:
        channels[index] = 0.0 if dead < DEAD else WEAK[0] + gain * (WEAK[1] - WEAK[0])
    return channels
