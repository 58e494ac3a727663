"""What lies around the brain: dura, skull with marrow, scalp, face, neck, cavities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner import atlas
from synthlib.scanner.shapes import Bodies, blended
from synthlib.scanner.volume import Volume, band_noise, finer, uniform

RELIEF_LOW_MM, RELIEF_HIGH_MM = (-112.0, -140.0, -216.0), (112.0, 124.0, 120.0)
RELIEF_GRID_MM = 8.0
RELIEF_MM = 90.0  # wavelength at which layers grow thicker and thinner
TEXTURE_GRID_MM, TEXTURE_MM = 4.0, 18.0  # of marrow, septa of fat, bundles of muscle
SKIN_MM = 2.0
GALEA_MM = 0.9  # the tendon below the scalp's fat
DURA_MM = 0.8
THINNEST_MM = 2.0  # of the skull
TABLE_MM, TABLE_SPREAD = 1.3, 0.2  # of compact bone on either side of marrow
# How marrow's share varies: slowly along the skull, and little from one trabecula to the next.
MARROW_SLOW, MARROW_FINE = 0.3, 0.1
CELL_WALL_MM = 0.2  # half the thickness of the walls of air cells
# Where the layers differ from their mean, as (centre, radii) of a Gaussian, in MNI mm: the temporal
# muscle fills its fossa, where the skull is thin; the occiput and forehead are thick.
TEMPLES = ((66.0, 16.0, -14.0), (26.0, 30.0, 36.0))
OCCIPUT = ((0.0, -108.0, -6.0), (44.0, 30.0, 28.0))
FOREHEAD = ((0.0, 78.0, 18.0), (44.0, 30.0, 30.0))
BLEND_MM = 16.0  # over which face, nape and neck pass into each other and into the scalp
NAPE = ((0.0, -100.0, -66.0), (60.0, 40.0, 36.0))
SINUS = ((0.0, 78.0, -4.0), (26.0, 20.0, 16.0))  # the frontal
CROWN = ((0.0, -20.0, 84.0), (60.0, 70.0, 30.0))


@dataclass(frozen=True)
class Covers:
    """A subject's layers around the brain.

    Attributes:
        rim_mm: fluid between the brain and the dura; skull_mm, scalp_mm: mean
            thickness of the skull and of the fat below the skin.
        temporalis_mm: greatest thickness of the temporal muscle.
        marrow: its mean share of the room between the skull's tables; the rest is bone.
        relief: how rim, skull and scalp vary from place to place, (3, ...) of s.d. 1.
        texture: (2, ...) of s.d. 1: muscles part where the first crosses zero.
    """

    rim_mm: float
    skull_mm: float
    scalp_mm: float
    temporalis_mm: float
    marrow: float
    relief: Volume
    texture: Volume


def draw(rng: torch.Generator, atrophy: float) -> Covers:
    """One subject's layers; `atrophy` from 0 to 1 widens the rim of fluid."""

    def number(low: float, high: float) -> float:
        return float(uniform(rng, low, high))

    ends = RELIEF_LOW_MM, RELIEF_HIGH_MM
    relief = [band_noise(rng, *ends, RELIEF_GRID_MM, RELIEF_MM, 0.5) for _ in range(3)]
    texture = [band_noise(rng, *ends, TEXTURE_GRID_MM, TEXTURE_MM, 0.4) for _ in range(2)]
    return Covers(
        rim_mm=number(0.6, 1.6) + 2.0 * atrophy,
        skull_mm=number(5.0, 8.0),
        scalp_mm=number(2.0, 4.5),
        temporalis_mm=number(9, 15),
        marrow=number(0.35, 0.75),
        relief=Volume(torch.stack(relief), RELIEF_LOW_MM, RELIEF_GRID_MM),
        texture=finer(Volume(torch.stack(texture), RELIEF_LOW_MM, TEXTURE_GRID_MM)),
    )


@dataclass(frozen=True)
class Layers:
    """Mm outside each surface, negative inside (...), of one subject at some positions.

    `marrow` is its share of what lies inside of `diploe`.
    """

    dura: Tensor
    skull_inner: Tensor
    skull_outer: Tensor
    skull_mm: Tensor
    diploe: Tensor
    marrow: Tensor
    galea: Tensor
    skin: Tensor
    fat_mm: Tensor
    texture: Tensor


def layers(covers: Covers, bodies: Bodies, depth: Tensor, outer_depth: Tensor) -> Layers:
    """Surfaces from inside to outside.

    Args:
        depth: (...) mm outside the brain's hull; outer_depth: of the smoother shape that
            skull and scalp follow.
    """
    where = bodies.mirrored
    relief = covers.relief.at(bodies.where).clamp(-2, 2)
    temple, occiput, forehead, nape, crown, sinus = (
        _bump(where, place) for place in (TEMPLES, OCCIPUT, FOREHEAD, NAPE, CROWN, SINUS)
    )
    rim = covers.rim_mm * (1 + 0.4 * relief[0] + 0.6 * crown)
    skull_mm = covers.skull_mm * (
        1 + 0.12 * relief[1] - 0.5 * temple + 0.3 * occiput + 0.2 * forehead + 0.5 * sinus
    )
    fat_mm = covers.scalp_mm * (1 + 0.15 * relief[2] + 0.2 * crown + 0.9 * nape - 0.35 * temple)
    muscle_mm = covers.temporalis_mm * temple + 2.0 * (forehead + occiput) + 6.0 * nape
    dura = depth - rim.clamp(min=0.3)
    inner = dura - DURA_MM
    outer = outer_depth - covers.rim_mm - DURA_MM - skull_mm
    outer = torch.minimum(outer, inner - THINNEST_MM)
    galea = outer - muscle_mm - GALEA_MM
    skin = galea - fat_mm.clamp(min=1.0) - SKIN_MM
    face = bodies.outside_blended(atlas.FACE, BLEND_MM, among=outer > 0)
    if face is not None:
        fat_mm = torch.where(face < skin, covers.scalp_mm * (1 + 0.3 * relief[2]), fat_mm)
        skin = blended(skin, face + 1.2 * relief[2], BLEND_MM)
    texture = covers.texture.at(bodies.where)
    # marrow lies between the tables, all round but where the skull is thin
    diploe = torch.maximum(outer, -inner) + TABLE_MM * (1 + TABLE_SPREAD * relief[2])
    varied = 1 + MARROW_SLOW * relief[0] + MARROW_FINE * texture[0].clamp(-2, 2)
    marrow = (covers.marrow * varied * (1 - temple.clamp(max=1))).clamp(0, 1)
    return Layers(dura, inner, outer, inner - outer, diploe, marrow, galea, skin, fat_mm, texture)


def cells(
    covers: Covers,
    where: Tensor,
    centre: tuple[float, float, float],
    cell_mm: float,
    solid: float,
) -> Tensor:
    """Mm outside the air cells of a honeycombed bone (n,).

    Cells have any shape; walls of bone part them, and some were never filled with air, on
    either side others.

    Args:
        where: (n, 3) positions; centre: of the bone at right.
        cell_mm: from one cell to the next but one.
        solid: where the texture is lower than -solid, in s.d., there is no air.
    """
    side = where[:, :1].sign()
    mirrored = torch.cat([where[:, :1].abs(), where[:, 1:]], dim=1)
    # each side reads another part of the texture, as much finer as cells are
    apart = where.new_tensor([48.0, 0.0, 0.0])
    at = (mirrored - where.new_tensor(centre)) * (TEXTURE_MM / cell_mm) + side * apart
    walls, filled = covers.texture.at(at) * (cell_mm / (2 * math.pi))
    return torch.maximum(CELL_WALL_MM - walls.abs(), -filled - solid * cell_mm / (2 * math.pi))


def _bump(where: Tensor, place: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """1 at a place to 0 far from it."""
    centre, radii = (torch.tensor(numbers, device=where.device) for numbers in place)
    return torch.exp(-((where - centre) / radii).square().sum(-1))
