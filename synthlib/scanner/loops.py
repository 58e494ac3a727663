"""Receive loops: how arrays are built around a head."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner.volume import normal

SEGMENTS = 24  # of a loop's wire
WIDEST_MM = 70.0  # of a loop's half width
VOLUME_COIL_LOOPS = 8


@dataclass(frozen=True)
class Design:
    """How an array is built: rows of loops around a former that closes as a dome above.

    Attributes:
        former_mm: semi-axes x, y of the elliptical former, to the wires.
        rows_mm: height of each row's centres from the isocentre.
        half_height_mm: of a loop, along the former; 0 for round loops.
        overlap: half width of a loop by the distance to its neighbour in the row;
            0.5 touches.
        dome_mm: vertical semi-axis of the former above DOME_FROM_MM; infinite for a tube.
        own_noise: mean noise power of a loop, its cable and amplifier by that of the head
            it sees, at 3 T: of the loop alone 1 / (Q unloaded / Q loaded - 1).
    """

    former_mm: tuple[float, float]
    rows_mm: tuple[float, ...]
    half_height_mm: float
    overlap: float
    dome_mm: float
    own_noise: float

    def narrowing(self, height_mm: float) -> float:
        """The former's semi-axes at a height, by those of its tube."""
        up = max(0.0, height_mm - DOME_FROM_MM) / self.dome_mm
        return math.sqrt(max(0.05, 1 - up * up))


DOME_FROM_MM = -20.0
# From so many coils on. Up to 11: elements as tall as the brain around a wide tube, as 8-channel
# head coils have them. From 12: two rows, as in 16- and 20-channel arrays. From 24: round loops on
# a close helmet, as Wiggins et al., MRM 56:216 (2006), and Keil et al., MRM 70:248 (2013), build
# them. Sizes are rough and chosen: those of the tube after the fall-off of maps within a measured
# head and the correlation of its noise (`docs/references.md`), those of the helmet after the
# papers' pictures.
DESIGNS = (
    (24, Design((103.0, 123.0), (-65.0, 0.0, 65.0), 0.0, 0.56, 122.0, own_noise=0.8)),
    (12, Design((112.0, 132.0), (-45.0, 46.0), 57.0, 0.6, 138.0, own_noise=0.5)),
    (1, Design((125.0, 145.0), (0.0,), 100.0, 0.62, math.inf, own_noise=0.45)),
)


@dataclass(frozen=True)
class Loops:
    """Elliptical loops, their heights along the body's axis as nearly as they can.

    Attributes:
        centres_mm: (coil, 3); normals: (coil, 3) of unit length.
        radii_mm: (coil,) half the width; heights_mm: (coil,) half the height.
    """

    centres_mm: Tensor
    normals: Tensor
    radii_mm: Tensor
    heights_mm: Tensor

    def to(self, device: torch.device | str) -> Loops:
        return Loops(*(part.to(device) for part in vars(self).values()))

    def wires(self) -> tuple[Tensor, Tensor]:
        """Points on the wires and their elements dl, in metres: (coil, segment, 3) each."""
        theta = torch.arange(SEGMENTS, device=self.normals.device) * (2 * math.pi / SEGMENTS)
        z = self.normals.new_tensor([0.0, 0.0, 1.0])
        lying = self.normals[:, 2:].abs() > 0.99  # no direction across is better than another
        axis = torch.where(lying, self.normals.new_tensor([0.0, 1.0, 0.0]), z)
        across = torch.nn.functional.normalize(torch.linalg.cross(axis, self.normals), dim=1)
        upright = torch.linalg.cross(self.normals, across)
        width = across[:, None] * (self.radii_mm[:, None, None] / 1000)
        height = upright[:, None] * (self.heights_mm[:, None, None] / 1000)
        cos, sin = theta.cos()[:, None], theta.sin()[:, None]
        wire = self.centres_mm[:, None] / 1000 + width * cos + height * sin
        return wire, (height * cos - width * sin) * (2 * math.pi / SEGMENTS)

    def circumferences_mm(self) -> Tensor:
        """(coil,) lengths of the wires."""
        return 1000 * self.wires()[1].norm(dim=-1).sum(-1)


def design_of(n_coils: int) -> Design:
    """How an array of so many channels is built.

    Raises:
        ValueError: fewer than one coil.
    """
    if n_coils < 1:
        raise ValueError(f"{n_coils} coils were asked for; expected at least 1. Set coil_counts.")
    return next(design for least, design in DESIGNS if n_coils >= least)


def draw_loops(n_coils: int, rng: torch.Generator) -> Loops:
    """Loops of the array's design, spread evenly along its rows, jittered by a few millimetres.

    A row has loops in proportion to its circumference, in brick order with the
    row below. One "coil" is a volume coil: see :class:`Array`.

    Raises:
        ValueError: fewer than one coil.
    """
    design = design_of(n_coils)
    if n_coils == 1:
        n_coils = VOLUME_COIL_LOOPS
    heights, angles, widths = [], [], []
    for row, n in enumerate(_row_sizes(design, n_coils)):
        heights += [design.rows_mm[row]] * n
        angles.append(2 * math.pi * (torch.arange(n) + 0.5 * row) / n)
        around = math.pi * sum(design.former_mm) * design.narrowing(design.rows_mm[row])  # nearly
        widths += [min(design.overlap * around / n, WIDEST_MM)] * n
    angle = torch.cat(angles) + 0.03 * normal(rng, n_coils) + 0.1 * normal(rng, 1)
    narrow = torch.tensor([design.narrowing(height) for height in heights])
    out = narrow * (1 + 0.02 * normal(rng, n_coils))
    a, b = design.former_mm
    x, y = a * out * angle.sin(), b * out * angle.cos()
    z = torch.tensor(heights) + 3.0 * normal(rng, n_coils)
    up = (z - DOME_FROM_MM).clamp(min=0) / design.dome_mm**2
    normals = torch.stack([x / a**2, y / b**2, up + 0.05 * normal(rng, n_coils) / a], dim=-1)
    size = 1 + 0.03 * normal(rng, n_coils)
    radii = torch.tensor(widths) * size
    tall = torch.full_like(radii, design.half_height_mm) * size
    return Loops(
        centres_mm=torch.stack([x, y, z], dim=-1),
        normals=normals / normals.norm(dim=-1, keepdim=True),
        radii_mm=radii,
        heights_mm=tall if design.half_height_mm else radii,
    )


def _row_sizes(design: Design, n_coils: int) -> list[int]:
    """Loops of each row, in proportion to the rows' circumferences."""
    shares = torch.tensor([design.narrowing(height) for height in design.rows_mm]).cumsum(0)
    ends = [0, *(shares / shares[-1] * n_coils).round().int().tolist()]
    return [last - first for first, last in itertools.pairwise(ends)]
