"""Receive arrays: loops around the head, what they see by Biot-Savart, and their noise."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from torch import Tensor

from synthlib.scanner.volume import normal, uniform

MU_0_OVER_4_PI = 1e-7  # V s / (A m)
SEGMENTS = 24  # of a loop's wire
NEAREST_MM = 15.0  # field strength is levelled off closer to a wire: no head is there
WIRE_MM = 2.0  # radius of the conductor
WIDEST_MM = 70.0  # of a loop's half width
VOLUME_COIL_LOOPS = 8
COARSE_MM = 8.0  # fields of the loops vary on the scale of their distance, which is larger

# Amplifiers and cables: relative s.d. of the channels' gains.
GAIN_SPREAD = 0.12
# Share of the current that preamplifier decoupling lets flow in a neighbour's field, by
# inductances; Roemer et al., MRM 16:192 (1990).
COUPLING = 0.25


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
        own_noise: mean noise power of a loop itself, by that of the head it sees:
            1 / (Q unloaded / Q loaded - 1).
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
# them. Sizes are rough; measured heads set them: the fall-off of single-channel and 8-channel
# images within the head, and the noise correlation of a 34-channel array.
DESIGNS = (
    (24, Design((103.0, 123.0), (-65.0, 0.0, 65.0), 0.0, 0.56, 122.0, own_noise=0.8)),
    (12, Design((112.0, 132.0), (-45.0, 46.0), 57.0, 0.6, 138.0, own_noise=0.3)),
    (1, Design((116.0, 136.0), (0.0,), 90.0, 0.62, math.inf, own_noise=0.2)),
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


def loop_field(loops: Loops, points_mm: Tensor) -> Tensor:
    """Magnetic field in tesla of one ampere in each loop.

    The wire is summed in equal steps of arc, which is exact to rounding for
    points farther from it than a step; nearer than 15 mm it is levelled off.

    Args:
        points_mm: (..., 3).

    Returns:
        float32 (coil, ..., 3).

    Source: Biot-Savart, B = mu0 I / 4 pi sum dl x r / |r|^3.
    """
    points = points_mm.reshape(-1, 3) / 1000  # m
    fields = []
    for wire, step in zip(*loops.wires(), strict=True):
        # dl x (p - w) = dl x p - dl x w, so that the sum over the wire is a matrix product
        weight = _distances(points, wire).pow(-3)  # (point, segment)
        own = torch.linalg.cross(step, wire)
        fields.append(torch.linalg.cross(weight @ step, points) - weight @ own)
    return MU_0_OVER_4_PI * torch.stack(fields).reshape(len(fields), *points_mm.shape)


def loop_potential(loops: Loops, points_mm: Tensor) -> Tensor:
    """Magnetic vector potential in V s / m of one ampere in each loop: (coil, ..., 3).

    Its rate of change is the electric field that drives currents in the head.
    """
    points = points_mm.reshape(-1, 3) / 1000
    fields = [_distances(points, w).reciprocal() @ dl for w, dl in zip(*loops.wires(), strict=True)]
    return MU_0_OVER_4_PI * torch.stack(fields).reshape(len(fields), *points_mm.shape)


def _distances(points: Tensor, wire: Tensor) -> Tensor:
    """(point, segment) in metres, at least NEAREST_MM."""
    found = torch.cdist(points, wire, compute_mode="donot_use_mm_for_euclid_dist")
    return found.clamp(min=NEAREST_MM / 1000)


@dataclass(frozen=True)
class Array:
    """A receive array around one head.

    Attributes:
        loops: the wires.
        channels: complex64 (coil, loop): coupling, gains and cable phases, from
            the loops' own signals to the channels', scaled so that the root sum
            of squares averages 1 over the brain. A volume coil has one channel:
            all loops added in phase at the isocentre.
        covariance: complex64 (coil, coil) of the channels' noise, Hermitian,
            the mean of its diagonal 1.
    """

    loops: Loops
    channels: Tensor
    covariance: Tensor

    def sensitivities(self, points_mm: Tensor) -> Tensor:
        """Complex receive sensitivities, by reciprocity.

        Args:
            points_mm: (slice, y, x, 3), a regular grid in y and x.

        Returns:
            complex64 (slice, coil, y, x).

        Source: Hoult, Concepts Magn Reson 12:173 (2000).
        """
        coarse, rows, columns = _thinned(points_mm)
        seen = _seen(loop_field(self.loops, coarse))  # (loop, slice, y, x)
        mixed = torch.einsum("cl,lsyx->scyx", self.channels, seen)
        return rows @ mixed @ columns.mT


def build(
    n_coils: int, places_mm: Tensor, sigma: Tensor, brain: Tensor, rng: torch.Generator
) -> Array:
    """An array on a head: where its loops are, how they couple, their noise and gains.

    Noise of the head: R_ij = integral of sigma A_i A_j over the head (A the
    vector potential; charges at interfaces are left out), to which each loop
    adds its own, in proportion to its wire's length. Mutual inductances couple
    the loops, C = (1 + i k M / L)^-1; signals become C s and the noise covariance
    C R C^H, which is complex. Every channel then has a gain and a constant phase
    of its own, as cables and amplifiers give them.

    Args:
        n_coils: channels; 1 is a volume coil.
        places_mm: (place, 3) evenly spread over the head and around it.
        sigma: (place,) conductivity in S/m.
        brain: (place,) weights of the mean that sets the scale, >= 0.
        rng: of everything drawn.

    Raises:
        ValueError: fewer than one coil.

    Source: Roemer et al., MRM 16:192 (1990).
    """
    loops = draw_loops(n_coils, rng).to(places_mm.device)
    n_loops = len(loops.radii_mm)
    loaded, weight = places_mm[sigma > 0], sigma[sigma > 0]
    potential = loop_potential(loops, loaded)  # (loop, place, 3)
    noise = torch.einsum("lpk,p,mpk->lm", potential, weight, potential)
    eye = torch.eye(n_loops, device=places_mm.device)
    wire = loops.circumferences_mm()
    own = design_of(n_coils).own_noise * noise.diagonal().mean() * wire / wire.mean()
    noise = noise + torch.diag(own)
    inductance = mutual_inductance(loops)
    relative = inductance / inductance.diagonal().mean()
    coupling = torch.linalg.inv(torch.complex(eye, COUPLING * relative * (1 - eye)))
    if n_coils == 1:
        centre = _seen(loop_field(loops, torch.zeros(1, 3, device=places_mm.device)))[:, 0]
        channels = (coupling @ centre).conj().sgn()[None] @ coupling
    else:
        gain = (1 + GAIN_SPREAD * normal(rng, n_loops)).to(places_mm.device)
        turn = (2 * math.pi * uniform(rng, 0, 1, n_loops)).to(places_mm.device)
        channels = torch.polar(gain, turn)[:, None] * coupling
    covariance = channels @ noise.to(channels.dtype) @ channels.mH
    covariance = covariance / covariance.diagonal().real.mean()
    inside, share = places_mm[brain > 0], brain[brain > 0]
    seen = channels @ _seen(loop_field(loops, inside))  # (coil, place)
    combined = seen.abs().square().sum(0).sqrt()
    channels = channels * (share.sum() / (combined * share).sum())
    return Array(loops, channels, covariance)


def _seen(field: Tensor) -> Tensor:
    """What a loop receives where it would make this field (..., 3): B1- = Bx - i By."""
    return torch.complex(field[..., 0], -field[..., 1])


def mutual_inductance(loops: Loops) -> Tensor:
    """Inductances in henry (loop, loop), by Neumann's double sum; the diagonal is a loop's own.

    A circular loop of radius a and wire radius w has mu0 a (ln(8 a / w) - 2); an
    ellipse is taken for the circle of its area.

    Source: Grover, Inductance Calculations (1946).
    """
    wire, step = loops.wires()
    apart = (wire[:, None, :, None] - wire[None, :, None]).norm(dim=-1)  # (i, j, s, t)
    facing = torch.einsum("isk,jtk->ijst", step, step)
    found = MU_0_OVER_4_PI * (facing / apart.clamp(min=NEAREST_MM / 1000)).sum((-2, -1))
    radii = (loops.radii_mm * loops.heights_mm).sqrt() / 1000
    own = 4 * math.pi * MU_0_OVER_4_PI * radii * ((8000 * radii / WIRE_MM).log() - 2)
    return found - torch.diag(found.diagonal()) + torch.diag(own)


def _thinned(points_mm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every few rows and columns of a regular grid, and the cubic splines that lead back."""
    ny, nx = points_mm.shape[1:3]
    chosen, back = [], []
    for axis, n in ((1, ny), (2, nx)):
        first = points_mm.select(axis, 0)[0, 0]
        step = float((points_mm.select(axis, 1)[0, 0] - first).norm())
        stride = max(1, int(COARSE_MM / step))
        n_coarse = max(4, -(-(n - 1) // stride) + 1)
        knots = np.linspace(0, n - 1, n_coarse)
        chosen.append(torch.from_numpy(knots))
        spline = make_interp_spline(knots, np.eye(n_coarse), k=3)(np.arange(n))
        back.append(torch.from_numpy(spline).to(points_mm.device, torch.complex64))
    rows, columns = (index.to(points_mm.device, points_mm.dtype) for index in chosen)
    origin = points_mm[:, :1, :1]
    down = points_mm[:, 1:2, :1] - origin
    right = points_mm[:, :1, 1:2] - origin
    coarse = origin + rows[:, None, None] * down + columns[:, None] * right
    return coarse, back[0], back[1]
