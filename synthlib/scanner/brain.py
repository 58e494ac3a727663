"""What is inside the skull: a folded ribbon of cortex, deep nuclei, cerebellum, ventricles.

The template says where the population has its sulci, its white matter and its deep
nuclei; a subject's own folds, warps, width of the sulci and lesions make it one brain.
All distances are mm in the template's space; shares fade over one sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner import cerebellum, template
from synthlib.scanner.shapes import Tube
from synthlib.scanner.volume import Volume, band_noise, finer, uniform

Inside = Callable[[Tensor], Tensor]

FOLDS_MM = 17.0  # from one own sulcus to the next but one
FOLDS_GRID_MM = 4.0
FOLDS_LOW_MM, FOLDS_HIGH_MM = (-100.0, -136.0, -76.0), (100.0, 104.0, 120.0)
NEVER_FOLDED = 0.88  # of the population, where white matter is nobody's gyrus
# The mean of many heads has straight sulci; a subject's wind.
WANDER_MM, WANDER_LENGTH_MM = 1.3, 30.0
ALONE_MM = 4.5  # between a sulcus of all heads and own ones
WHITE = 0.5  # of the population, where white matter begins
OWN_DEPTH_MM = 15.0  # of a subject's own sulci, on average
# Cortex is 2.5 mm thick on average, 1 to 4.5 mm from place to place; Fischl & Dale, PNAS 97:11050
# (2000). It is thicker on crowns than in the depth of sulci.
CORTEX_MM, CORTEX_SPREAD_MM = 2.5, 0.35
THINNEST_MM = 1.3
DEEPEST_CORTEX_MM = -46.0  # below the brain's hull: the cingulate gyrus, the insula
THICKER_MM = 0.6  # than its mean at most
# The population's fraction of white matter rises by so much a mm at a border that all heads share.
SHARE_PER_MM = 0.3
VENTRICLE = 0.5  # of the population: fluid in most heads
# Deep nuclei by the population's grey matter, in these regions: centres and semi-axes on the right,
# mirrored; thalamus, caudate's head and body, putamen with pallidum (Mai & Paxinos, Atlas of the
# Human Brain, to a few millimetres).
NUCLEI = (
    ((12.0, -18.0, 8.0), (13.0, 19.0, 12.0)),
    ((13.0, 14.0, 6.0), (9.0, 14.0, 16.0)),
    ((16.0, -4.0, 20.0), (8.0, 18.0, 9.0)),
    ((25.0, 3.0, 0.0), (11.0, 21.0, 14.0)),
)
# Midbrain, pons and medulla: bundles of fibres and nuclei too fine to be told apart, no cortex.
STEM = Tube(((0.0, -24.0, -12.0), (0.0, -27.0, -32.0), (0.0, -38.0, -64.0)), 19.0, 12.0)
STEM_WHITE = (0.45, 0.5)  # of it, and more where most heads have white matter
VENTRICLE_AT_MM, VENTRICLE_ENDS_MM = (17.0, 20.0), (-45.0, 28.0)  # |x|, z; y of the lateral ones
OLD_LESIONS = 14.0  # on average at 80
UNEVEN_WHITE = 0.05  # of grey matter's contrast: fibre tracts differ


@dataclass(frozen=True)
class Brain:
    """What is one subject's own inside the skull.

    Attributes:
        folds: channel 0: own sulci lie where it crosses zero; channel 1, slowly varying,
            how thick the cortex and how wide the sulci are; 2 to 4, where in the template a
            place is read, x, y, z, in units of WANDER_MM; all of unit variance.
        sulcus_mm: half the width of the sulci.
        depth_mm: how deep own sulci reach.
        lesions: (lesion, 4) centre in template mm and radius in mm.
    """

    folds: Volume
    sulcus_mm: float
    depth_mm: float
    lesions: Tensor


def draw(rng: torch.Generator, atrophy: float) -> Brain:
    """One subject's brain; `atrophy` from 0 (young) to 1 (old) widens sulci."""
    own = band_noise(rng, FOLDS_LOW_MM, FOLDS_HIGH_MM, FOLDS_GRID_MM, FOLDS_MM, 0.3)
    slow = band_noise(rng, FOLDS_LOW_MM, FOLDS_HIGH_MM, FOLDS_GRID_MM, 60.0, 0.5)
    wander = [
        band_noise(rng, FOLDS_LOW_MM, FOLDS_HIGH_MM, FOLDS_GRID_MM, WANDER_LENGTH_MM, 0.3)
        for _ in range(3)
    ]
    return Brain(
        folds=finer(Volume(torch.stack([own, slow, *wander]), FOLDS_LOW_MM, FOLDS_GRID_MM)),
        sulcus_mm=float(uniform(rng, 0.25, 0.5)) + 0.6 * atrophy,
        depth_mm=OWN_DEPTH_MM * float(uniform(rng, 0.7, 1.3)),
        lesions=torch.zeros(0, 4),
    )


def shares(brain: Brain, where: Tensor, depth: Tensor, inside: Inside) -> dict[str, Tensor]:
    """Fluid, grey, white, deep and lesion (...), which sum to 1 inside the skull.

    Args:
        where: (..., 3) in template mm; depth: (...) mm outside the brain's hull.
        inside: from mm outside a surface (...) to the share that is inside it (...).
    """
    own, slow, *wander = brain.folds.at(where)
    read_at = where + WANDER_MM * torch.stack(wander, -1).clamp(-2, 2) * _off_midline(where)
    grey, white = template.tissue_maps(str(where.device)).at(read_at)
    sulcus = template.sulcus_map(str(where.device)).at(read_at)[0]
    nuclei = _nuclei(where)  # mm outside the deep nuclei's regions
    own_mm = own.abs() * (FOLDS_MM / (2 * math.pi))  # nearly
    too_deep = (-depth - brain.depth_mm * (1 + 0.2 * slow)).clamp(min=0)
    beside = (ALONE_MM - sulcus).clamp(min=0)  # those of all heads: no own ones there
    nobody = (white - NEVER_FOLDED).clamp(min=0)
    own_mm = own_mm + 3 * (too_deep + beside) + 40 * nobody
    width = brain.sulcus_mm * (1 + 0.4 * slow.clamp(-2, 2)) + 0.4 * torch.exp(depth / 3)
    often = 1 - grey - white  # fluid, in the population
    population = (VENTRICLE - often) / SHARE_PER_MM + 25 * (0.25 - often).clamp(min=0)
    fluid = torch.minimum(torch.minimum(sulcus, own_mm) - width, population)
    fluid = torch.minimum(fluid, -depth)  # mm away from fluid, negative in it
    cortex = CORTEX_MM + CORTEX_SPREAD_MM * slow.clamp(-2, 2)
    outside_white = (WHITE - white) / SHARE_PER_MM
    in_cortex = (nuclei > 0) & (depth > DEEPEST_CORTEX_MM)
    outside_white = torch.where(
        in_cortex, torch.minimum(outside_white, cortex + THICKER_MM - fluid), outside_white
    )
    by_ventricle = (population < sulcus.clamp(max=6)) & (depth < -18)
    outside_white = torch.where(
        by_ventricle, outside_white, torch.maximum(outside_white, THINNEST_MM - fluid)
    )
    small = cerebellum.outside(where) < 0
    if bool(small.any()):
        core = (0.45 - white[small]) / SHARE_PER_MM
        fissure, leaf = cerebellum.surfaces(where[small], core, own[small], slow[small])
        fluid[small] = torch.minimum(population, -depth)[small].minimum(fissure)
        outside_white[small] = leaf.maximum(cerebellum.CORTEX_MM - fluid[small])
    stem = _stem(where) & ~small
    fluid[stem] = torch.minimum(population, -depth)[stem]
    wet = inside(fluid)
    pale = inside(outside_white)
    pale[stem] = STEM_WHITE[0] + STEM_WHITE[1] * white[stem]
    pale = pale * (1 - wet)
    dark = 1 - wet - pale
    tracts = pale * UNEVEN_WHITE * (1 + own.clamp(-1, 1))
    pale, dark = pale - tracts, dark + tracts
    deep = dark * inside(nuclei)
    found = {"csf": wet, "grey": dark - deep, "white": pale, "deep": deep}
    if len(brain.lesions):
        healthy = 1 - inside(_lesions(brain, where))
        found = {name: share * (1 if name == "csf" else healthy) for name, share in found.items()}
        found["lesion"] = (1 - wet) * (1 - healthy)
    return found


def _off_midline(where: Tensor) -> Tensor:
    """(..., 1): 0 at the midline, where the falx holds the fissure, to 1."""
    return torch.tanh(where[..., :1].abs() / 8)


def _stem(where: Tensor) -> Tensor:
    """Whether a position is in the brain stem, as bool (...)."""
    x, y, z = where.unbind(-1)
    near = (x.abs() < 22) & (z < 8) & ((y + 28).abs() < 30)
    stem = torch.zeros_like(near)
    stem[near] = STEM.outside(where[near]) < 0
    return stem


def _nuclei(where: Tensor) -> Tensor:
    """About mm outside the regions of deep nuclei."""
    found = torch.full_like(where[..., 0], torch.inf)
    mirrored = torch.cat([where[..., :1].abs(), where[..., 1:]], dim=-1)
    for shape in NUCLEI:
        found = torch.minimum(found, _ellipsoid(mirrored, shape))
    return found


def _ellipsoid(where: Tensor, shape: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """About mm outside an ellipsoid, negative inside."""
    centre, axes = (torch.tensor(numbers, device=where.device) for numbers in shape)
    return (((where - centre) / axes).norm(dim=-1) - 1) * float(axes.min())


def draw_lesions(
    rng: torch.Generator, n: int, radius_mm: tuple[float, float] = (2.0, 6.0), choices: int = 1
) -> Tensor:
    """(n, 4) in white matter: centre in template mm, radius in mm.

    Of `choices` places drawn for each, it lies at the nearest to the lateral ventricles.
    """
    places = template.white_voxels()
    drawn = places[torch.randint(len(places), (n, choices), generator=rng)]
    x, y, z = drawn.abs()[..., 0], drawn[..., 1], drawn[..., 2]
    along = (y - y.clamp(*VENTRICLE_ENDS_MM)).abs()
    away = torch.hypot(torch.hypot(x - VENTRICLE_AT_MM[0], z - VENTRICLE_AT_MM[1]), along)
    chosen = drawn[torch.arange(n), away.argmin(1)]
    return torch.cat([chosen, uniform(rng, *radius_mm, n, 1)], dim=1)


def aged_lesions(rng: torch.Generator, age: float) -> Tensor:
    """(n, 4) of draw_lesions: the white matter hyperintensities of a healthy head of that age.

    Few before 40, more later, most of them small and beside the lateral ventricles; Fazekas
    et al., AJR 149:351 (1987). The numbers are chosen, between his grades 1 and 2 at 80.
    """
    mean = OLD_LESIONS * max(0.0, (age - 35) / 45) ** 2
    n = int(torch.poisson(torch.tensor(mean), generator=rng))
    return draw_lesions(rng, n, (0.9, 2.6), choices=3)


def _lesions(brain: Brain, where: Tensor) -> Tensor:
    """Distance in mm to the nearest lesion's surface, made uneven by the folds' field."""
    uneven = 1 + 0.25 * brain.folds.at(1.7 * where)[0].clamp(-2, 2)
    found = torch.full_like(uneven, torch.inf)
    low, high = (end.tolist() for end in where.flatten(0, -2).aminmax(dim=0))
    for x, y, z, radius in brain.lesions.tolist():
        reach = 2 * radius + 2
        if any(
            at < least - reach or at > most + reach
            for at, least, most in zip((x, y, z), low, high, strict=True)
        ):
            continue
        away = (where - torch.tensor([x, y, z], device=where.device)).norm(dim=-1)
        found = torch.minimum(found, away - radius * uneven)
    return found
