"""Blood: sinuses, deep and cortical veins, large arteries and their branches in the sulci."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner import atlas, template
from synthlib.scanner.shapes import Bodies
from synthlib.scanner.volume import Volume, band_noise, finer, uniform

LOW_MM, HIGH_MM = (-100.0, -136.0, -76.0), (100.0, 104.0, 120.0)
GRID_MM = 4.0
VEINS_MM, ARTERIES_MM = 30.0, 34.0  # from one vein or artery of the cortex to the next but one
SINUS_MM = 4.5  # half the width of the superior sagittal sinus below the skull
SINUS_SPREAD = 0.35  # of its width along its course: "a ruler-straight sinus" is none
FALX_MM = 0.35  # half its thickness


@dataclass(frozen=True)
class Vessels:
    """A subject's vessels.

    Attributes:
        vein_mm, artery_mm: radii on the cortex; sinus: relative width of the sagittal sinus.
        fields: (3, ...) of s.d. 1; cortical veins and arteries lie where the first and
            second cross zero on the brain's surface and in its sulci; the third moves
            the sagittal sinus from the midline and changes its width.
    """

    vein_mm: float
    artery_mm: float
    sinus: float
    fields: Volume


def draw(rng: torch.Generator) -> Vessels:
    ends = LOW_MM, HIGH_MM
    fields = [band_noise(rng, *ends, GRID_MM, mm, 0.3) for mm in (VEINS_MM, ARTERIES_MM, 45.0)]
    return Vessels(
        vein_mm=float(uniform(rng, 0.7, 1.2)),
        artery_mm=float(uniform(rng, 0.4, 0.7)),
        sinus=float(uniform(rng, 0.7, 1.2)),
        fields=finer(Volume(torch.stack(fields), LOW_MM, GRID_MM)),
    )


def outside(vessels: Vessels, bodies: Bodies, depth: Tensor, skull: Tensor) -> tuple[Tensor, ...]:
    """Mm outside veins, outside arteries, outside the falx (...), negative inside.

    Args:
        depth: (...) mm outside the brain's hull; skull: mm outside the skull's inner surface.
    """
    where = bodies.where
    x, y, z = where.unbind(-1)
    vein_field, artery_field, wander = vessels.fields.at(where)
    sulcus = template.sulcus_map(str(where.device)).at(where)[0]
    surface = torch.minimum(depth.abs(), sulcus + (depth.abs() - 14).clamp(min=0))
    far = (depth < -20).to(depth.dtype) * 10
    vein_mm = vein_field.abs() * (VEINS_MM / 6.28)
    # veins run along some sulci only, and grow towards the sinus
    radius = vessels.vein_mm * (0.5 + 0.5 * torch.sigmoid(3 * artery_field))
    veins = torch.hypot(surface, vein_mm) - radius + far
    aside = x - 2.0 * wander
    wide = SINUS_MM * vessels.sinus * (1 + SINUS_SPREAD * wander.clamp(-2, 2))
    below = -skull  # mm below the skull
    grow = ((80.0 - y) / 130.0).clamp(0.45, 1.25)  # small at the forehead, large at the occiput
    triangle = torch.maximum(aside.abs() * 1.3 + 0.9 * below - wide * grow, -below - 0.3)
    above = -0.35 * y - 25 - z
    veins = torch.minimum(veins, torch.maximum(triangle, above))
    veins = torch.minimum(veins, bodies.outside(atlas.SINUSES))
    veins = torch.minimum(veins, bodies.outside(atlas.SEPTAL_VEINS))
    artery_mm = artery_field.abs() * (ARTERIES_MM / 6.28)
    low = z - 10.0 - 0.4 * x.abs()  # the branches on the convexity are thin
    arteries = torch.hypot(surface, artery_mm) - vessels.artery_mm + far + 0.02 * low.clamp(min=0)
    arteries = torch.minimum(arteries, bodies.outside(atlas.ARTERIES))
    falx = torch.maximum((x - 1.2 * wander).abs() - FALX_MM, above)
    return veins, arteries, torch.maximum(falx, -depth - 34)
