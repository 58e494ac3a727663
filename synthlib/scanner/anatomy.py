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

from synthlib.scanner import atlas, brain, covers, template, vessels
from synthlib.scanner.brain import Inside
from synthlib.scanner.shapes import Bodies
from synthlib.scanner.volume import uniform

TISSUES = (
    "air", "csf", "grey", "white", "blood", "bone", "fat", "muscle", "eye", "lesion",
    "deep", "artery", "mucosa", "skin", "dura",
)  # fmt: skip
TEMPLATE_CENTRE_MM = (0.0, -17.0, 16.0)  # the point of MNI space at the isocentre: mid-ventricle
FORAMEN_MM = -66.0  # z of the foramen magnum, where the cord begins
VENTRICLES_MM = (0.0, -12.0, 14.0)
VENTRICLES_WIDTH_MM = 24.0
UNEVEN_MM = 1.0  # standard deviation of the surfaces of bodies in face and neck
SCALP_FAT = 0.8  # of the layer below the skin: fibrous septa hold the fat, and count as dura
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
    paint = Painter()
    _soft_tissue(paint, inside, bodies, layer)
    _bones(paint, inside, head, bodies, layer)
    _cavities(paint, inside, head, bodies, layer)
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
    veins, arteries, falx = vessels.outside(head.vessels, bodies, depth, layer.skull_inner)
    paint(dura=inside(falx) * inside(layer.dura))
    paint(artery=inside(arteries))
    paint(blood=inside(veins))
    return paint.shares()


def label_map(fractions: Tensor) -> Tensor:
    """uint8 (...): index into TISSUES of the tissue that fills most, of fractions (tissue, ...)."""
    return fractions.argmax(0).to(torch.uint8)


def brain_fraction(fractions: Tensor) -> Tensor:
    """Share (...) of grey and white matter, healthy or not, of (tissue, ...); the cord has both."""
    return fractions[[TISSUES.index(name) for name in ("grey", "white", "deep", "lesion")]].sum(0)


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


def _soft_tissue(paint: Painter, inside: Inside, bodies: Bodies, layer: covers.Layers) -> None:
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


def _bones(
    paint: Painter, inside: Inside, head: Head, bodies: Bodies, layer: covers.Layers
) -> None:
    """The skull with its marrow, bones of the face and the neck, orbits and eyes."""
    paint(bone=inside(layer.skull_outer))
    paint(fat=inside(layer.diploe) * layer.marrow)
    if bodies.any_near(atlas.BONES):
        under = inside(layer.skin + covers.SKIN_MM)
        bones = bodies.outside(atlas.BONES) + 0.5 * UNEVEN_MM * layer.texture[0]
        paint(bone=inside(bones) * under)
        z = bodies.where[..., 2]
        disc = (torch.cos(z * (2 * math.pi / atlas.DISC_MM)) > 0.85) & (z < -104)
        marrow = 0.7 * inside(bones + atlas.BONE_WALL_MM) * under * ~disc
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


def _cavities(
    paint: Painter, inside: Inside, head: Head, bodies: Bodies, layer: covers.Layers
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
    _cells(paint, inside, head, bodies, layer)
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
    paint: Painter, inside: Inside, head: Head, bodies: Bodies, layer: covers.Layers
) -> None:
    """Bone with air in it: the ethmoid and the mastoids."""
    for body, cell_mm, solid in atlas.CELLS:
        if not bodies.near(body):
            continue
        outside = bodies.outside([body]) + atlas.CELLS_UNEVEN_MM * layer.texture[1]
        near = outside < 2.0
        air = torch.full_like(outside, torch.inf)
        cells = covers.cells(head.covers, bodies.where[near], body.centre, cell_mm, solid)
        air[near] = torch.maximum(outside[near] + atlas.CELLS_WALL_MM, cells)
        within = inside(layer.skin + covers.SKIN_MM)
        paint(bone=inside(outside) * within)
        paint(mucosa=inside(air - atlas.CELLS_LINING_MM) * within)
        paint(air=inside(air) * within)


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
