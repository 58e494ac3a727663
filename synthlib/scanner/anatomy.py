"""Heads: the MNI152 tissue maps, deformed for each subject, with a skull and a scalp.

Scanner coordinates are millimetres from the isocentre, in the order (x, y, z):
x to the subject's right, y to the front, z to the crown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from synthlib.scanner import template

TISSUES = ("air", "csf", "grey", "white", "bone", "fat", "muscle")
TEMPLATE_CENTRE_MM = (0.0, -17.0, 16.0)  # the point of MNI space at the isocentre: mid-ventricle
VENTRICLES_MM = (0.0, -12.0, 14.0)
VENTRICLES_WIDTH_MM = 24.0
SKIN_MM = 1.5
SHARPNESS = 2.0  # exponent on the population's averaged tissue fractions
IN_PLANE, THROUGH = 2, 3  # sub-positions per pixel and axis, and through the slice


@dataclass(frozen=True)
class Head:
    """What makes one subject's head differ from the template.

    Attributes:
        affine: (3, 3), scanner mm to template mm.
        shift_mm: (3,), where the template's centre lies in the scanner.
        waves: (wave, 3) wave vectors of the smooth warp, radians per mm.
        amplitudes_mm: (wave, 3) its displacements; starts: (wave,) its phases.
        ventricles: relative growth of the region around the ventricles.
        rim_mm, skull_mm, scalp_mm: thickness of the fluid outside the brain, of
            the skull, and of the fat below the skin.
        temporalis_mm: greatest thickness of the temporal muscle.
    """

    affine: Tensor
    shift_mm: Tensor
    waves: Tensor
    amplitudes_mm: Tensor
    starts: Tensor
    ventricles: float
    rim_mm: float
    skull_mm: float
    scalp_mm: float
    temporalis_mm: float


def draw_head(generator: torch.Generator) -> Head:
    """Draw one subject's head.

    The warp cannot fold: the gradients of its waves add up to at most 0.3 and
    that of the ventricles to at most 0.3, so that the Jacobian of warp and
    identity stays positive.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    rotation = torch.matrix_exp(_cross_matrix(uniform(-0.08, 0.08, 3)))  # within 5 degrees per axis
    # MNI152 is larger than the average head (Lancaster et al., Hum Brain Mapp 28:1194, 2007).
    size = uniform(0.90, 0.98) * uniform(0.97, 1.03, 3)
    waves = torch.randn(10, 3, generator=generator)
    waves *= 2 * math.pi / uniform(45, 150, 10, 1) / waves.norm(dim=1, keepdim=True)
    amplitudes = torch.randn(10, 3, generator=generator)
    slopes = (amplitudes.norm(dim=1) * waves.norm(dim=1)).sum()
    return Head(
        affine=rotation / size,
        shift_mm=uniform(-3, 3, 3),
        waves=waves,
        amplitudes_mm=amplitudes * uniform(0.15, 0.3) / slopes,
        starts=uniform(0, 2 * math.pi, 10),
        ventricles=float(uniform(-0.15, 0.3)),
        rim_mm=float(uniform(0.5, 2.0)),
        skull_mm=float(uniform(4.5, 7.5)),
        scalp_mm=float(uniform(2.5, 6.0)),
        temporalis_mm=float(uniform(4, 9)),
    )


def to_template(head: Head, points_mm: Tensor) -> Tensor:
    """Where in the template (MNI mm) a scanner position (..., 3) of this head lies."""
    points = (points_mm - head.shift_mm) @ head.affine.T + torch.tensor(TEMPLATE_CENTRE_MM)
    around = points - torch.tensor(VENTRICLES_MM)
    near = torch.exp(-around.square().sum(-1, keepdim=True) / (2 * VENTRICLES_WIDTH_MM**2))
    warp = torch.sin(points @ head.waves.T + head.starts) @ head.amplitudes_mm
    return points + warp - head.ventricles * near * around  # reading nearer the centre: larger


def positions(
    matrix: tuple[int, int], fov_mm: tuple[float, float], z_mm: Tensor, finer: int = 1
) -> Tensor:
    """Scanner positions in mm of every pixel of axial slices.

    Row 0 is the front of the head, column 0 its right side; pixel
    [ny // 2, nx // 2] is the isocentre.

    Args:
        matrix: (ny, nx); fov_mm: (y, x); z_mm: (slice,) slice centres.
        finer: sub-positions per pixel and axis, centred on the pixel.

    Returns:
        float32 (slice, finer * ny, finer * nx, 3).
    """
    sub = (torch.arange(finer) + 0.5) / finer - 0.5  # pixels
    rows, columns = (
        -((torch.arange(n) - n // 2)[:, None] + sub).flatten() * fov / n
        for n, fov in zip(matrix, fov_mm, strict=True)
    )
    z, y, x = torch.meshgrid(z_mm.float(), rows.float(), columns.float(), indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def tissue_fractions(
    head: Head,
    matrix: tuple[int, int],
    fov_mm: tuple[float, float],
    z_mm: Tensor,
    thickness_mm: float,
) -> Tensor:
    """How much of each pixel every tissue fills, averaged over its volume.

    Args:
        matrix, fov_mm, z_mm: as in :func:`positions`.
        thickness_mm: slice thickness.

    Returns:
        float32 (tissue, slice, y, x) in the order of TISSUES; sums to 1.
    """
    offsets = ((torch.arange(THROUGH) + 0.5) / THROUGH - 0.5) * thickness_mm
    slices = []
    for z in z_mm:  # one at a time bounds the memory of large matrices
        fine = _fractions_at(head, positions(matrix, fov_mm, z + offsets, IN_PLANE))
        slices.append(torch.nn.functional.avg_pool2d(fine.mean(1), IN_PLANE))
    return torch.stack(slices, dim=1)


def label_map(fractions: Tensor) -> Tensor:
    """uint8 (slice, y, x): index into TISSUES of the tissue that fills most of each pixel."""
    return fractions.argmax(0).to(torch.uint8)


def brain_fraction(fractions: Tensor) -> Tensor:
    """(slice, y, x): grey plus white matter."""
    return fractions[TISSUES.index("grey")] + fractions[TISSUES.index("white")]


def _fractions_at(head: Head, points_mm: Tensor) -> Tensor:
    """(tissue, ...) at scanner positions (..., 3)."""
    where = to_template(head, points_mm)
    grey, white, depth = template.sample(where)  # each (...)
    muscle_mm = head.temporalis_mm * _temporal(where)
    # One surface inside the other; each holds all that lies below it.
    within = [depth - head.rim_mm]
    for thickness in (head.skull_mm, muscle_mm, head.scalp_mm, SKIN_MM):
        within.append(within[-1] - thickness)
    skull, muscle, fat, skin = (
        (_inside(outer) - _inside(inner)).clamp(min=0) for inner, outer in pairwise(within)
    )
    cranium = _inside(within[0])
    brain = torch.stack([(1 - grey - white).clamp(min=0), grey, white]) ** SHARPNESS
    brain = brain / brain.sum(0).clamp(min=1e-6) * cranium
    # Marrow between the two tables of the skull, a quarter of it at mid-thickness.
    middle = (within[0] / head.skull_mm - 0.5).abs()
    marrow = 0.5 * skull * (1 - 2.5 * middle).clamp(min=0)
    outside = 1 - cranium - skull - muscle - fat - skin
    tissues = [outside.clamp(min=0), *brain, skull - marrow, fat + marrow, muscle + skin]
    result = torch.stack(tissues)
    return result / result.sum(0)


def _inside(depth_mm: Tensor) -> Tensor:
    """1 inside a surface and 0 outside, over a ramp of 1 mm."""
    return (0.5 - depth_mm).clamp(0, 1)


def _temporal(where: Tensor) -> Tensor:
    """1 in the middle of the temples, where the temporal muscle lies, to 0 far from them."""
    side = (where[..., 0].abs() - 70) / 30
    front, height = (where[..., 1] - 15) / 28, (where[..., 2] + 15) / 28
    return torch.exp(-(side**2 + front**2 + height**2))


def _cross_matrix(axis: Tensor) -> Tensor:
    x, y, z = axis.tolist()
    return torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
