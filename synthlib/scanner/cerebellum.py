"""The cerebellum: a few deep fissures, folia on the walls of its lobules, branching white matter.

Fissures run from left to right and curve forward at the sides. In a sagittal plane the main
ones are rays from the white core; each lobule between two of them has a branch of white
matter in its middle, from which folia point outwards as the leaflets of a fern do. All
distances are mm in the template's space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# An ellipsoid below the tentorium, behind the stem: centre, semi-axes.
CENTRE_MM, AXES_MM = (0.0, -62.0, -38.0), (60.0, 36.0, 30.0)
CORE_MM = (-46.0, -34.0)  # y, z of the roof of the fourth ventricle, from which fissures point
CURVE_PER_MM = 0.011  # the hemispheres curve forward: mm by the square of the distance
# Main fissures: degrees from straight back, up positive; mm from the core at which each ends;
# half its width in mm. From the front of the upper surface to that of the lower: precentral,
# preculminate, primary, posterior superior, one within the lobule behind it, horizontal,
# prebiventral, secondary, posterolateral; Schmahmann et al., NeuroImage 10:233 (1999), read to
# some degrees.
FISSURES = (
    (150.0, 10.0, 0.2),
    (118.0, 12.0, 0.25),
    (88.0, 13.0, 0.25),
    (56.0, 7.0, 0.55),
    (27.0, 14.0, 0.3),
    (-2.0, 9.0, 0.5),
    (-36.0, 12.0, 0.35),
    (-70.0, 11.0, 0.4),
    (-112.0, 12.0, 0.3),
)
TURNED_RAD, SHIFTED_RAD = 0.07, 0.015  # by a subject's slow and fast fields
CORTEX_MM = 1.0  # Andersen et al., J Comp Neurol 326:549 (1992)
FOLIUM_MM, FOLIA_SHIFT = 2.7, 0.35  # between folia; how uneven, in folia
FOLIA_FLUID_MM = 0.1
SLANT = 0.8  # mm outwards for each mm from the branch to the wall
BRANCH_MM, BRANCH_TAPER = 2.6, 0.12  # half the width of a branch at the core, less by a mm outwards
TWIG_MM = 0.3  # half its least width
UNFOLDED_MM, UNFOLDED_SPREAD = 1.0, 1.0  # beside a branch, where folia do not reach
TOO_WHITE_MM = 1.0  # within the core, where no fissure reaches


def outside(where: Tensor) -> Tensor:
    """About mm outside the cerebellum: positions (..., 3) to (...)."""
    x, y, z = where.unbind(-1)
    tentorium = z - (-8.0 - 0.32 * x.abs() + 0.10 * (y + 50).clamp(max=0))
    stem = 15.0 - torch.hypot(x, (y + 30) / 1.15)
    centre, axes = (torch.tensor(numbers, device=where.device) for numbers in (CENTRE_MM, AXES_MM))
    ellipsoid = (((where - centre) / axes).norm(dim=-1) - 1) * float(axes.min())
    return torch.maximum(torch.maximum(ellipsoid, tentorium), stem)


def surfaces(where: Tensor, core: Tensor, own: Tensor, slow: Tensor) -> tuple[Tensor, Tensor]:
    """Mm from the walls of the fissures, negative in their fluid; mm outside white matter.

    Args:
        where: (n, 3) positions; core: (n,) mm outside the population's white matter.
        own, slow: (n,) a subject's fields of unit variance, which make both uneven.
    """
    radius, angle = _polar(where)
    angle = angle + TURNED_RAD * slow + SHIFTED_RAD * own
    degrees, ends, widths = torch.tensor(FISSURES, device=where.device).flip(0).T.contiguous()
    rays = degrees.deg2rad()
    lobule = torch.bucketize(angle, rays).clamp(1, len(rays) - 1)
    middle = 0.5 * (rays[lobule - 1] + rays[lobule])
    nearest = lobule - (angle < middle).long()
    across = (angle - rays[nearest]).abs().clamp(max=math.pi / 2).sin() * radius
    # each fissure bends, is deeper here and shallower there
    short = (ends[nearest] + 2.5 * own - radius).clamp(min=0)
    main = torch.hypot(across, short) - widths[nearest] * (1 + 0.4 * own.clamp(-2, 2))
    aside = (angle - middle).abs() * radius  # mm from the branch in the middle of the lobule
    branch = aside - (BRANCH_MM - BRANCH_TAPER * radius).clamp(min=TWIG_MM)
    turn = (radius - SLANT * aside) / FOLIUM_MM + FOLIA_SHIFT * own + slow
    apart = (turn - turn.round()).abs() * (FOLIUM_MM / math.hypot(1, SLANT))
    # every other folium is shallower, and depths vary
    other = (turn.round() % 2) * UNFOLDED_SPREAD
    unfolded = (UNFOLDED_MM + other + UNFOLDED_SPREAD * own.clamp(-1, 1) - branch).clamp(min=0)
    fissure = torch.minimum(main, torch.hypot(apart, unfolded) - FOLIA_FLUID_MM)
    white = torch.minimum(core, torch.minimum(branch, CORTEX_MM - fissure))
    return torch.maximum(fissure, -core - TOO_WHITE_MM), white


def _polar(where: Tensor) -> tuple[Tensor, Tensor]:
    """Mm from the core and radians from straight back, up positive, along the curved folia."""
    x, y, z = where.unbind(-1)
    back = CORE_MM[0] - y - CURVE_PER_MM * x.square()
    up = z - CORE_MM[1]
    return torch.hypot(back, up), torch.atan2(up, back)
