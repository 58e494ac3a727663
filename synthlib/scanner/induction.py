"""Fields of loops by Biot-Savart, and the inductances between them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synthlib.scanner.loops import Loops

MU_0_OVER_4_PI = 1e-7  # V s / (A m)
NEAREST_MM = 15.0  # field strength is levelled off closer to a wire: no head is there
WIRE_MM = 2.0  # radius of the conductor


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
