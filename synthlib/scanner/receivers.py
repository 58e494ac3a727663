"""Receive arrays: loops around the head and their sensitivities by Biot-Savart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MU_0_OVER_4_PI = 1e-7  # V s / (A m)
FORMER_MM = (116.0, 136.0)  # semi-axes x, y of the elliptical former
ROW_MM = 42.0  # height of each of two rows above and below the isocentre
SEGMENTS = 24  # of a loop's wire
NEAREST_MM = 15.0  # field strength is levelled off closer to a wire: no head is there
TWO_ROWS_FROM = 12  # coils


@dataclass(frozen=True)
class Loops:
    """Circular loops: centres_mm (coil, 3), unit normals (coil, 3), radii_mm (coil,)."""

    centres_mm: Tensor
    normals: Tensor
    radii_mm: Tensor


def draw_loops(n_coils: int, generator: torch.Generator) -> Loops:
    """Loops evenly spread over a head-shaped former, jittered by a few millimetres.

    One row around the head, two rows in brick order from 12 coils on.

    Raises:
        ValueError: fewer than one coil.
    """
    if n_coils < 1:
        raise ValueError(f"{n_coils} coils were asked for; expected at least 1. Set coil_counts.")
    rows = 2 if n_coils >= TWO_ROWS_FROM else 1
    sizes = [n_coils - n_coils // 2, n_coils // 2] if rows == 2 else [n_coils]
    angles = torch.cat([2 * math.pi * (torch.arange(n) + 0.5 * r) / n for r, n in enumerate(sizes)])
    heights = torch.cat([torch.full((n,), (2.0 * r - rows + 1)) for r, n in enumerate(sizes)])

    def jitter(spread: float) -> Tensor:
        return spread * torch.randn(n_coils, generator=generator).clamp(-2, 2)

    angles = angles + jitter(0.03) + 0.1 * torch.randn(1, generator=generator)
    out = 1 + jitter(0.02)
    a, b = FORMER_MM
    x, y = a * out * angles.sin(), b * out * angles.cos()
    z = heights * ROW_MM + jitter(3.0)
    normals = torch.stack([x / a**2, y / b**2, jitter(0.05) / a], dim=-1)
    around = math.pi * (a + b)  # the former's circumference, nearly
    radius = min(0.58 * around / max(sizes), 70.0)
    return Loops(
        centres_mm=torch.stack([x, y, z], dim=-1),
        normals=normals / normals.norm(dim=-1, keepdim=True),
        radii_mm=radius * (1 + jitter(0.03)),
    )


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
    theta = 2 * math.pi * torch.arange(SEGMENTS) / SEGMENTS
    fields = []
    for centre, normal, radius in zip(
        loops.centres_mm / 1000, loops.normals, loops.radii_mm / 1000, strict=True
    ):
        across = torch.linalg.cross(normal, torch.eye(3)[normal.abs().argmin()])
        across = across / across.norm()
        upright = torch.linalg.cross(normal, across)
        outward = theta.cos()[:, None] * across + theta.sin()[:, None] * upright
        wire = centre + radius * outward  # (segment, 3)
        step = torch.linalg.cross(normal.expand_as(outward), outward)
        step = step * (2 * math.pi * radius / SEGMENTS)
        # dl x (p - w) = dl x p - dl x w, so that the sum over the wire is a matrix product
        distance = torch.cdist(points, wire, compute_mode="donot_use_mm_for_euclid_dist")
        weight = distance.clamp(min=NEAREST_MM / 1000).pow(-3)  # (point, segment)
        own = torch.linalg.cross(step, wire)
        fields.append(torch.linalg.cross(weight @ step, points) - weight @ own)
    return MU_0_OVER_4_PI * torch.stack(fields).reshape(len(fields), *points_mm.shape)


def sensitivities(
    loops: Loops, points_mm: Tensor, brain: Tensor, generator: torch.Generator
) -> Tensor:
    """Complex receive sensitivities, by reciprocity B1- = (Bx - i By) / 2 of each loop.

    Every channel has a gain (5 % s.d.) and a constant phase of its own, as
    cables and amplifiers give them. The scale is set so that the root sum of
    squares over the coils averages 1 over the brain; its shading stays.

    Args:
        points_mm: (slice, y, x, 3).
        brain: (slice, y, x) weights of the average, >= 0.

    Returns:
        complex64 (slice, coil, y, x).

    Source: Hoult, Concepts Magn Reson 12:173 (2000).
    """
    field = loop_field(loops, points_mm)  # (coil, slice, y, x, 3)
    maps = torch.complex(field[..., 0], -field[..., 1]).transpose(0, 1)
    n_coils = maps.shape[1]
    gain = 1 + 0.05 * torch.randn(n_coils, generator=generator).clamp(-2, 2)
    turn = 2 * math.pi * torch.rand(n_coils, generator=generator)
    maps = maps * torch.polar(gain, turn)[:, None, None]
    combined = maps.abs().square().sum(1).sqrt()
    return maps * (brain.sum() / (combined * brain).sum())
