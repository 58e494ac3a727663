"""What a head is painted with: tissues over each other, from the skin inwards."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synthlib.scanner import atlas, covers
from synthlib.scanner.brain import Inside
from synthlib.scanner.shapes import Bodies

TISSUES = (
    "air", "csf", "grey", "white", "blood", "bone", "fat", "muscle", "eye", "lesion",
    "deep", "artery", "mucosa", "skin", "dura",
)  # fmt: skip
UNEVEN_MM = 1.0  # standard deviation of the surfaces of bodies in face and neck
SCALP_FAT = 0.8  # of the layer below the skin: fibrous septa hold the fat, and count as dura


class Painter:
    """Tissues laid over each other, the last on top; air is below all."""

    def __init__(self) -> None:
        self._layers: list[dict[str, Tensor]] = []

    def __call__(self, **amounts: Tensor) -> None:
        """Cover what was there with tissues, as far as their amounts (...), 0 to 1, say."""
        self._layers.append(amounts)

    def shares(self) -> Tensor:
        """(tissue, ...) in the order of TISSUES; sums to 1."""
        first = next(iter(self._layers[0].values()))
        found = first.new_zeros((len(TISSUES), *first.shape))
        rest = torch.ones_like(first)  # what the layers above leave to be seen
        for amounts in reversed(self._layers):
            covered = torch.zeros_like(first)
            for name, amount in amounts.items():
                amount = amount.clamp(min=0)  # of rounding
                found[TISSUES.index(name)].addcmul_(amount, rest)
                covered += amount
            rest *= (1 - covered).clamp(min=0)
        found[TISSUES.index("air")] += rest
        return found


def soft_tissue(paint: Painter, inside: Inside, bodies: Bodies, layer: covers.Layers) -> None:
    """Skin, fat below it, muscles parted by fat, eyes and what moves them, ears."""
    paint(skin=inside(layer.skin))
    if bodies.any_near(atlas.EARS):
        paint(skin=inside(bodies.outside(atlas.EARS)))
        paint(air=inside(bodies.outside(atlas.CONCHA)) * inside(-layer.skin))
    under = layer.skin + covers.SKIN_MM
    fat = inside(under) * SCALP_FAT * (1 - 0.2 * layer.texture[1].clamp(-1, 1))
    paint(fat=fat, dura=0.3 * (inside(under) - fat))
    deeper = under + layer.fat_mm
    paint(dura=inside(deeper))  # the galea, fasciae
    paint(muscle=inside(deeper + covers.GALEA_MM))
    if bodies.any_near(atlas.FACE):
        # between named bodies face and neck are fat with bundles of muscle
        face = inside(bodies.outside(atlas.FACE) + covers.SKIN_MM + 2)
        septa = torch.minimum(layer.texture[0].abs() - 0.1, layer.texture[0] + 0.8)
        septa = septa * (covers.TEXTURE_MM / (2 * math.pi))
        paint(fat=0.85 * inside(septa) * face * inside(3 - layer.skull_outer))
        covered = inside(under)
        uneven = UNEVEN_MM * layer.texture[1]
        paint(fat=inside(bodies.outside(atlas.FAT_PADS) + 2 * uneven) * covered)
        paint(muscle=inside(bodies.outside(atlas.MUSCLES) + uneven) * covered)
        glands = 0.5 * inside(bodies.outside(atlas.GLANDS) + uneven) * covered
        paint(fat=glands, mucosa=glands)


def bones(paint: Painter, inside: Inside, bodies: Bodies, layer: covers.Layers) -> None:
    """The skull with its marrow, bones of the face and the neck, orbits and eyes."""
    paint(bone=inside(layer.skull_outer))
    paint(fat=inside(layer.diploe) * layer.marrow)
    if bodies.any_near(atlas.BONES):
        under = inside(layer.skin + covers.SKIN_MM)
        outside = bodies.outside(atlas.BONES) + 0.5 * UNEVEN_MM * layer.texture[0]
        paint(bone=inside(outside) * under)
        z = bodies.where[..., 2]
        disc = (torch.cos(z * (2 * math.pi / atlas.DISC_MM)) > 0.85) & (z < -104)
        marrow = 0.7 * inside(outside + atlas.BONE_WALL_MM) * under * ~disc
        paint(fat=(marrow * (1 + 0.2 * layer.texture[1].clamp(-2, 2))).clamp(max=1))
    if bodies.any_near(atlas.ORBIT):
        eye = inside(bodies.outside(atlas.EYE))
        paint(fat=inside(bodies.outside(atlas.ORBIT)))
        paint(muscle=inside(bodies.outside(atlas.EYE_MUSCLES)))
        nerve = bodies.outside(atlas.OPTIC_NERVE)
        paint(csf=inside(nerve - 1.0))
        paint(white=inside(nerve))
        paint(eye=eye)
        paint(dura=inside(bodies.outside(atlas.LENS)))


def cavities(
    paint: Painter, inside: Inside, head_covers: covers.Covers, bodies: Bodies, layer: covers.Layers
) -> None:
    """Air in sinuses, nose, ears, throat, with its lining."""
    body = inside(layer.skin)
    if bodies.any_near(atlas.FRONTAL_SINUS):
        tables = torch.maximum(layer.skull_outer, -layer.skull_inner) + covers.TABLE_MM
        frontal = torch.maximum(
            bodies.outside(atlas.FRONTAL_SINUS) + 3 * UNEVEN_MM * layer.texture[1], tables
        )
        paint(mucosa=inside(frontal))
        paint(air=inside(frontal + 0.6))
    if not bodies.any_near((*atlas.CAVITIES, *(cells[0] for cells in atlas.CELLS))):
        return
    _cells(paint, inside, head_covers, bodies, layer)
    hollow = bodies.outside(atlas.CAVITIES) + UNEVEN_MM * layer.texture[0]
    paint(mucosa=inside(hollow - atlas.LINING_MM) * body)
    paint(air=inside(hollow) * body)
    turbinates = bodies.outside(atlas.TURBINATES) + UNEVEN_MM * layer.texture[1]
    paint(mucosa=inside(turbinates) * body)
    plate = bodies.mirrored[..., 0] + 0.3 * UNEVEN_MM * layer.texture[0]
    septum = inside(bodies.outside(atlas.SEPTUM) + UNEVEN_MM * layer.texture[1]) * body
    paint(mucosa=inside(plate - atlas.SEPTUM_MM) * septum)
    paint(dura=inside(plate - atlas.SEPTUM_MM + atlas.LINING_MM / 2) * septum)  # cartilage, bone


def _cells(
    paint: Painter, inside: Inside, head_covers: covers.Covers, bodies: Bodies, layer: covers.Layers
) -> None:
    """Bone with air in it: the ethmoid and the mastoids."""
    for body, cell_mm, solid in atlas.CELLS:
        if not bodies.near(body):
            continue
        outside = bodies.outside([body]) + atlas.CELLS_UNEVEN_MM * layer.texture[1]
        near = outside < 2.0
        air = torch.full_like(outside, torch.inf)
        cells = covers.cells(head_covers, bodies.where[near], body.centre, cell_mm, solid)
        air[near] = torch.maximum(outside[near] + atlas.CELLS_WALL_MM, cells)
        within = inside(layer.skin + covers.SKIN_MM)
        paint(bone=inside(outside) * within)
        paint(mucosa=inside(air - atlas.CELLS_LINING_MM) * within)
        paint(air=inside(air) * within)
