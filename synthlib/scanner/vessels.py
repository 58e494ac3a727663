"""Blood: sinuses, deep and cortical veins, large arteries and their branches in the sulci.

Where they are (:func:`outside`), and where the blood in them goes (:func:`vein_course`,
:func:`artery_course`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner import atlas, template
from synthlib.scanner.shapes import Bodies, Tube
from synthlib.scanner.volume import Volume, band_noise, finer, uniform

LOW_MM, HIGH_MM = (-100.0, -136.0, -76.0), (100.0, 104.0, 120.0)
GRID_MM = 4.0
VEINS_MM, ARTERIES_MM = 30.0, 34.0  # from one vein or artery of the cortex to the next but one
SINUS_MM = 4.5  # half the width of the superior sagittal sinus below the skull
SINUS_SPREAD = 0.35  # of its width along its course: "a ruler-straight sinus" is none
UNEVEN_MM = 0.35  # s.d. of the radius of named veins along their course
FALX_MM = 0.35  # half its thickness
SINUS_LOW = (-0.35, -25.0)  # slope over y and height of the line that the sagittal sinus ends at
# Blood runs in the sagittal sinus around this point (y, z), from the forehead to the occiput.
SINUS_CENTRE_MM = (-18.0, 10.0)
CIRCLE_OF_WILLIS_MM = (0.0, 0.0, -18.0)  # branches of arteries lead away from it
DRAINED_UPWARDS_MM = 10.0  # z above which veins of the cortex run to the sagittal sinus
STEP_MM = 0.5  # of the differences that give a surface's normal
BLUR_MM = 1.0  # around a vessel, within which a sample may hold some of its blood


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
    surface = _from_surface(where, depth)
    far = (depth < -20).to(depth.dtype) * 10
    vein_mm = vein_field.abs() * (VEINS_MM / 6.28)
    # veins run along some sulci only, and grow towards the sinus
    veins = torch.hypot(surface, vein_mm) - _vein_radius(vessels, artery_field) + far
    aside, wide = _sinus(vessels, x, y, wander)
    below = -skull  # mm below the skull
    triangle = torch.maximum(aside.abs() * 1.3 + 0.9 * below - wide, -below - 0.3)
    above = SINUS_LOW[0] * y + SINUS_LOW[1] - z
    veins = torch.minimum(veins, torch.maximum(triangle, above))
    named = bodies.outside(atlas.SINUSES) + UNEVEN_MM * vein_field.clamp(-2, 2)
    veins = torch.minimum(veins, named)
    veins = torch.minimum(veins, bodies.outside(atlas.SEPTAL_VEINS))
    artery_mm = artery_field.abs() * (ARTERIES_MM / 6.28)
    low = z - 10.0 - 0.4 * x.abs()  # the branches on the convexity are thin
    arteries = torch.hypot(surface, artery_mm) - vessels.artery_mm + far + 0.02 * low.clamp(min=0)
    arteries = torch.minimum(arteries, bodies.outside(atlas.ARTERIES))
    falx = torch.maximum((x - 1.2 * wander).abs() - FALX_MM, above)
    return veins, arteries, torch.maximum(falx, -depth - 34)


def vein_course(vessels: Vessels, where: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Where venous blood goes: unit vectors (n, 3), in template axes, and the vessel's radius (n,).

    Named veins follow their courses, the sagittal sinus the skull from front to back, veins of
    the cortex the brain's surface towards the sinus above or below.

    Args:
        where: (n, 3) in template mm; depth: (n,) mm outside the brain's hull.
    """
    _, artery_field, wander = vessels.fields.at(where)
    x, y, z = where.unbind(-1)
    upwards = torch.where(z > DRAINED_UPWARDS_MM, 1.0, -1.0)
    wanted = torch.stack([-x.sign() * upwards, torch.zeros_like(z), upwards], dim=-1)
    direction = _on_cortex(vessels, 0, where, wanted)
    radius = _vein_radius(vessels, artery_field)
    aside, wide = _sinus(vessels, x, y, wander)
    above = SINUS_LOW[0] * y + SINUS_LOW[1] - z
    sagittal = (aside.abs() < wide) & (depth > -3) & (above < 0)
    backwards = torch.stack(
        [torch.zeros_like(x), SINUS_CENTRE_MM[1] - z, y - SINUS_CENTRE_MM[0]], dim=-1
    )
    direction = torch.where(sagittal[:, None], _unit(backwards), direction)
    radius = torch.where(sagittal, wide, radius)
    return _named(atlas.SINUSES + atlas.SEPTAL_VEINS, where, direction, radius)


def artery_course(vessels: Vessels, where: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`vein_course`, of arteries: branches lead away from the circle of Willis."""
    wanted = where - torch.tensor(CIRCLE_OF_WILLIS_MM, device=where.device)
    direction = _on_cortex(vessels, 1, where, wanted)
    radius = torch.full_like(depth, vessels.artery_mm)
    return _named(atlas.ARTERIES, where, direction, radius)


def _named(
    tubes: Iterable[Tube], where: Tensor, direction: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Direction and radius, replaced where the nearest of the tubes is."""
    mirrored = torch.cat([where[..., :1].abs(), where[..., 1:]], dim=-1)
    side = torch.cat([where[..., :1].sign(), torch.ones_like(where[..., 1:])], dim=-1)
    nearest = torch.full_like(radius, BLUR_MM)
    for tube in tubes:
        away, its_radius, along = tube.course(mirrored)
        here = away < nearest
        nearest = torch.where(here, away, nearest)
        radius = torch.where(here, its_radius, radius)
        direction = torch.where(here[:, None], along * side, direction)
    return direction, radius


def _on_cortex(vessels: Vessels, channel: int, where: Tensor, wanted: Tensor) -> Tensor:
    """Unit vectors (n, 3) along the vessels of the cortex, to the side of `wanted` (n, 3).

    They lie where a field crosses zero on a surface: across both gradients.
    """
    depths = template.depth_map(str(where.device))

    def field(at: Tensor) -> Tensor:
        return vessels.fields.at(at)[channel]

    def surface(at: Tensor) -> Tensor:
        return _from_surface(at, depths.at(at)[0])

    along = torch.linalg.cross(_gradient(field, where), _gradient(surface, where))
    return _unit(along * torch.where((along * wanted).sum(-1, keepdim=True) < 0, -1.0, 1.0))


def _gradient(function: Callable[[Tensor], Tensor], where: Tensor) -> Tensor:
    """Central differences (n, 3) of a function of positions (n, 3)."""
    steps = STEP_MM * torch.eye(3, device=where.device)
    return torch.stack([function(where + step) - function(where - step) for step in steps], -1)


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def _from_surface(where: Tensor, depth: Tensor) -> Tensor:
    """Mm (...) from the brain's surface or the nearest sulcus."""
    sulcus = template.sulcus_map(str(where.device)).at(where)[0]
    return torch.minimum(depth.abs(), sulcus + (depth.abs() - 14).clamp(min=0))


def _vein_radius(vessels: Vessels, artery_field: Tensor) -> Tensor:
    """Mm (...); veins run along some sulci only, and grow towards the sinus."""
    return vessels.vein_mm * (0.5 + 0.5 * torch.sigmoid(3 * artery_field))


def _sinus(vessels: Vessels, x: Tensor, y: Tensor, wander: Tensor) -> tuple[Tensor, Tensor]:
    """Mm (...) to the side of the sagittal sinus' middle, and half its width there (...)."""
    wide = SINUS_MM * vessels.sinus * (1 + SINUS_SPREAD * wander.clamp(-2, 2))
    grow = ((80.0 - y) / 130.0).clamp(0.45, 1.25)  # small at the forehead, large at the occiput
    return x - 2.0 * wander, wide * grow
