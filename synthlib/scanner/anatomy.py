"""Heads: the MNI152 tissue maps made into individuals, with skull, scalp, face and neck.

Scanner coordinates are millimetres from the isocentre, in the order (x, y, z):
x to the subject's right, y to the front, z to the crown. The template's are
those of MNI space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from synthlib.scanner import atlas, brain, covers, painting, template, vessels
from synthlib.scanner.painting import TISSUES
from synthlib.scanner.shapes import Bodies
from synthlib.scanner.volume import uniform

TEMPLATE_CENTRE_MM = (0.0, -17.0, 16.0)  # the point of MNI space at the isocentre: mid-ventricle
FORAMEN_MM = -66.0  # z of the foramen magnum, where the cord begins
VENTRICLES_MM = (0.0, -12.0, 14.0)
VENTRICLES_WIDTH_MM = 24.0
SUBSAMPLES = 4  # of thin bodies, along each step through a slice
# The direction of an image's rows, of its columns, and from slice to slice, as (x, y, z).
ORIENTATIONS = {
    "axial": ((0.0, -1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "coronal": ((0.0, 0.0, -1.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "sagittal": ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
}


@dataclass(frozen=True)
class Head:
    """What makes one subject's head differ from the template.

    Attributes:
        affine: (3, 3), scanner mm to template mm.
        shift_mm: (3,), where the template's centre lies in the scanner.
        waves: (wave, 3) wave vectors of the smooth warp, radians per mm.
        amplitudes_mm: (wave, 3) its displacements; starts: (wave,) its phases.
        ventricles: relative growth of the region around the ventricles.
        brain, covers, vessels: what is inside the skull, around it, and blood.
    """

    affine: Tensor
    shift_mm: Tensor
    waves: Tensor
    amplitudes_mm: Tensor
    starts: Tensor
    ventricles: float
    brain: brain.Brain
    covers: covers.Covers
    vessels: vessels.Vessels

    def to(self, device: torch.device | str) -> Head:
        return _moved(self, device)


def draw_head(rng: torch.Generator, n_lesions: int = 0) -> Head:
    """Draw one subject's head.

    The warp cannot fold: the gradients of its waves add up to at most 0.3 and
    that of the ventricles to at most 0.3, so that the Jacobian of warp and
    identity stays positive.

    Args:
        rng: CPU generator; it alone decides the head.
        n_lesions: lesions in the white matter, besides the small ones of age.
    """

    def number(low: float, high: float) -> float:
        return float(uniform(rng, low, high))

    rotation = torch.matrix_exp(_cross_matrix(uniform(rng, -0.08, 0.08, 3)))  # 5 degrees per axis
    # MNI152 is larger than the average head (Lancaster et al., Hum Brain Mapp 28:1194, 2007).
    size = number(0.90, 0.98) * uniform(rng, 0.97, 1.03, 3)
    waves = torch.randn(10, 3, generator=rng)
    waves *= 2 * math.pi / uniform(rng, 45, 150, 10, 1) / waves.norm(dim=1, keepdim=True)
    amplitudes = torch.randn(10, 3, generator=rng)
    slopes = (amplitudes.norm(dim=1) * waves.norm(dim=1)).sum()
    age = number(20, 85)
    atrophy = max(0.0, (age - 45) / 40) * number(0.4, 1.0)
    head = Head(
        affine=rotation / size,
        shift_mm=uniform(rng, -3, 3, 3),
        waves=waves,
        amplitudes_mm=amplitudes * number(0.15, 0.3) / slopes,
        starts=uniform(rng, 0, 2 * math.pi, 10),
        ventricles=number(-0.15, 0.15) + 0.2 * atrophy,
        brain=brain.draw(rng, atrophy),
        covers=covers.draw(rng, atrophy),
        vessels=vessels.draw(rng),
    )
    # drawn last, so that the head is the same with any number of them
    lesions = torch.cat([brain.aged_lesions(rng, age), brain.draw_lesions(rng, n_lesions)])
    return replace(head, brain=replace(head.brain, lesions=lesions))


def to_template(head: Head, points_mm: Tensor) -> Tensor:
    """Where in the template (MNI mm) a scanner position (..., 3) of this head lies."""
    centre = torch.tensor(TEMPLATE_CENTRE_MM, device=points_mm.device)
    points = (points_mm - head.shift_mm) @ head.affine.T + centre
    around = points - torch.tensor(VENTRICLES_MM, device=points_mm.device)
    near = torch.exp(-around.square().sum(-1, keepdim=True) / (2 * VENTRICLES_WIDTH_MM**2))
    warp = torch.sin(points @ head.waves.T + head.starts) @ head.amplitudes_mm
    return points + warp - head.ventricles * near * around  # reading nearer the centre: larger


def in_cranium(head: Head, points_mm: Tensor) -> Tensor:
    """Whether scanner positions (..., 3) lie above the foramen magnum: bool (...)."""
    return to_template(head, points_mm)[..., 2] > FORAMEN_MM


def blood_course(head: Head, points_mm: Tensor, system: str) -> tuple[Tensor, Tensor]:
    """Where blood goes at scanner positions in vessels, and how wide the vessels are.

    Args:
        points_mm: (n, 3); system: "blood" (veins) or "artery".

    Returns:
        unit vectors (n, 3) in scanner axes; radii in mm (n,). Warps turn them by a few
        degrees, which is left out.
    """
    where = to_template(head, points_mm)
    depth = template.depth_map(str(where.device)).at(where)[0]
    course = vessels.vein_course if system == "blood" else vessels.artery_course
    direction, radius = course(head.vessels, where, depth)
    direction = torch.linalg.solve(head.affine, direction.T).T
    return torch.nn.functional.normalize(direction, dim=-1), radius


def positions(
    matrix: tuple[int, int],
    fov_mm: tuple[float, float],
    centres_mm: Tensor,
    orientation: str = "axial",
) -> Tensor:
    """Scanner positions in mm of every pixel of parallel slices.

    Pixel [ny // 2, nx // 2] lies on the axis through the isocentre. Row 0 is
    the front of the head (axial) or its crown, column 0 its right side or, in
    sagittal slices, its front.

    Args:
        matrix: (ny, nx); fov_mm: (y, x).
        centres_mm: (slice,) of the slices, from the isocentre along their normal.
        orientation: a name of ORIENTATIONS.

    Returns:
        float32 (slice, ny, nx, 3).
    """
    down, right, normal_axis = (
        torch.tensor(axis, device=centres_mm.device) for axis in ORIENTATIONS[orientation]
    )
    rows, columns = (
        (torch.arange(n, device=centres_mm.device) - n // 2) * (fov / n)
        for n, fov in zip(matrix, fov_mm, strict=True)
    )
    return (
        centres_mm[:, None, None, None].float() * normal_axis
        + rows[:, None, None] * down
        + columns[:, None] * right
    )


def fractions_at(
    head: Head, points_mm: Tensor, sample_mm: float = 1.0, through: bool = False
) -> Tensor:
    """How much of each tissue there is around scanner positions (..., 3).

    Painted from the outside in: each tissue covers what was there before.

    Args:
        points_mm: scanner positions.
        sample_mm: edge of the region that each of them stands for; surfaces
            fade over it.
        through: the first axis goes through a slice, in steps that are longer than
            sample_mm; surfaces that cross it fade over such a step.

    Returns:
        float32 (tissue, ...) in the order of TISSUES; sums to 1.
    """

    through = through and len(points_mm) > 1
    step_mm = float((points_mm[1] - points_mm[0]).flatten()[:3].norm()) if through else 0.0
    apart_mm = max(sample_mm, step_mm)  # distances change no faster

    def inside(distance_mm: Tensor) -> Tensor:
        """1 inside a surface and 0 outside."""
        if not through:
            return (0.5 - distance_mm / sample_mm).clamp(0, 1)
        steps = distance_mm.diff(dim=0).abs().nan_to_num(0.0)  # inf where nothing is near
        longest = torch.cat([steps[:1], torch.maximum(steps[1:], steps[:-1]), steps[-1:]])
        return (0.5 - distance_mm / longest.clamp(sample_mm, apart_mm)).clamp(0, 1)

    where = to_template(head, points_mm)
    bodies = Bodies(where)
    depth, outer_depth = template.depth_map(str(where.device)).at(where)
    layer = covers.layers(head.covers, bodies, depth, outer_depth)
    paint = painting.Painter()
    painting.soft_tissue(paint, inside, bodies, layer)
    painting.bones(paint, inside, bodies, layer)
    painting.cavities(paint, inside, head.covers, bodies, layer)
    paint(dura=inside(layer.skull_inner))
    canal = inside(bodies.outside(atlas.CORD_CANAL))
    paint(csf=torch.maximum(inside(layer.dura), canal))
    cord = bodies.outside(atlas.CORD)
    paint(white=inside(cord))
    paint(grey=inside(cord + atlas.CORD_WHITE_MM))
    matter = inside(depth)
    tissues = brain.shares(head.brain, where, depth, inside)
    plexus = inside(bodies.outside(atlas.CHOROID_PLEXUS)) * tissues["csf"]
    tissues |= {"csf": tissues["csf"] - plexus, "mucosa": plexus}
    paint(**{name: share * matter for name, share in tissues.items()})
    thin = [
        inside(body) for body in vessels.outside(head.vessels, bodies, depth, layer.skull_inner)
    ]
    if through:
        _sample_finer(head, thin, points_mm, sample_mm)
    blood, artery, falx = thin
    paint(dura=falx * inside(layer.dura))
    paint(artery=artery)
    paint(blood=blood)
    return paint.shares()


def _sample_finer(head: Head, thin: list[Tensor], points_mm: Tensor, sample_mm: float) -> None:
    """Shares of thin bodies (through, y, x), where there are any, by SUBSAMPLES of each step."""
    near = torch.stack(thin).amax(0) > 0
    if not bool(near.any()):
        return
    depths = (torch.arange(SUBSAMPLES, device=near.device) + 0.5) / SUBSAMPLES - 0.5
    along = (points_mm[1] - points_mm[0]).flatten(0, -2)[0]
    finer = points_mm[near] + depths[:, None, None] * along
    for coarse, fine in zip(thin, _thin_bodies(head, finer, sample_mm), strict=True):
        coarse[near] = fine.mean(0)


def _thin_bodies(head: Head, points_mm: Tensor, sample_mm: float) -> list[Tensor]:
    """Shares (...) of veins, arteries and falx at scanner positions (..., 3).

    Vessels are thinner than the steps through a slice, over which a surface that fades would
    make them wider than they are.
    """
    bodies = Bodies(to_template(head, points_mm))
    depth, outer_depth = template.depth_map(str(points_mm.device)).at(bodies.where)
    skull = covers.layers(head.covers, bodies, depth, outer_depth).skull_inner
    return [
        (0.5 - body / sample_mm).clamp(0, 1)
        for body in vessels.outside(head.vessels, bodies, depth, skull)
    ]


def label_map(fractions: Tensor) -> Tensor:
    """uint8 (...): index into TISSUES of the tissue that fills most, of fractions (tissue, ...)."""
    return fractions.argmax(0).to(torch.uint8)


def brain_share(head: Head, fractions: Tensor, points_mm: Tensor) -> Tensor:
    """Share (...) of the brain, without cord, of (tissue, ...) at scanner positions (..., 3)."""
    return brain_fraction(fractions) * in_cranium(head, points_mm)


def brain_fraction(fractions: Tensor) -> Tensor:
    """Share (...) of grey and white matter, healthy or not, of (tissue, ...); the cord has both."""
    return fractions[[TISSUES.index(name) for name in ("grey", "white", "deep", "lesion")]].sum(0)


def _moved(thing: Any, device: torch.device | str) -> Any:
    """A dataclass with every tensor and volume in it on another device."""
    moved = {}
    for name, value in vars(thing).items():
        if hasattr(value, "to"):
            moved[name] = value.to(device)
        elif is_dataclass(value):
            moved[name] = _moved(value, device)
        else:
            moved[name] = value
    return type(thing)(**moved)


def _cross_matrix(axis: Tensor) -> Tensor:
    x, y, z = axis.tolist()
    return torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
