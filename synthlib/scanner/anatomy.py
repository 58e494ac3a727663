"""Heads: the MNI152 tissue maps made into individuals, with skull, scalp, face and neck.

Scanner coordinates are millimetres from the isocentre, in the order (x, y, z):
x to the subject's right, y to the front, z to the crown. The template's are
those of MNI space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from synthlib.scanner import template
from synthlib.scanner.volume import Volume, grid_points, uniform

Ellipsoid = tuple[tuple[float, float, float], tuple[float, float, float]]

TISSUES = ("air", "csf", "grey", "white", "blood", "bone", "fat", "muscle", "eye", "lesion")
TEMPLATE_CENTRE_MM = (0.0, -17.0, 16.0)  # the point of MNI space at the isocentre: mid-ventricle
VENTRICLES_MM = (0.0, -12.0, 14.0)
VENTRICLES_WIDTH_MM = 24.0
SKIN_MM = 1.5
SCALP_FAT = 0.7  # of the layer below the skin: fibrous septa hold the fat, and count as muscle
BLUR_MM = 20.0  # beyond an ellipsoid, more than skin, fat and the blur of a surface
# The direction of an image's rows, of its columns, and from slice to slice, as (x, y, z).
ORIENTATIONS = {
    "axial": ((0.0, -1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "coronal": ((0.0, 0.0, -1.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "sagittal": ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
}

FOLDS_MM = 26.0  # from one sulcus to the next but one
FOLDS_GRID_MM = 4.0
FOLDS_LOW_MM, FOLDS_HIGH_MM = (-100.0, -136.0, -76.0), (100.0, 104.0, 120.0)
CORTEX_MM = 22.0  # how deep below the hull folds reach
# Exponents on the population's fractions, deep in the brain and at its surface, where heads differ.
CERTAINTY_DEEP, CERTAINTY_CORTEX = 4.0, 2.0

# In MNI mm. Ellipsoids are (centre, semi-axes), those beside the midline on both sides;
# their extent is that of adults in anatomy atlases, to a few millimetres.
FACE = ((0.0, 28.0, -62.0), (64.0, 62.0, 54.0))
NECK = ((0.0, -24.0, -160.0), (56.0, 60.0, 110.0))
SINUSES = (
    ((8.0, 78.0, -2.0), (10.0, 5.0, 10.0)),  # frontal
    ((0.0, 44.0, -36.0), (10.0, 17.0, 9.0)),  # ethmoid
    ((0.0, 16.0, -40.0), (13.0, 12.0, 9.0)),  # sphenoid
    ((0.0, 62.0, -58.0), (10.0, 26.0, 14.0)),  # nose
    ((29.0, 46.0, -60.0), (12.0, 14.0, 15.0)),  # maxillary
    ((56.0, -34.0, -38.0), (8.0, 11.0, 13.0)),  # mastoid cells
    ((62.0, -18.0, -38.0), (16.0, 3.5, 3.5)),  # ear canal
    ((0.0, 0.0, -84.0), (10.0, 8.0, 32.0)),  # pharynx
    ((0.0, 4.0, -140.0), (9.0, 8.0, 40.0)),  # windpipe
)
EYE = ((32.0, 59.0, -36.0), (12.0, 12.0, 12.0))
ORBIT = ((29.0, 46.0, -36.0), (16.0, 22.0, 15.0))
# Veins as tubes from one point to another with a radius; the sagittal sinus follows the skull.
VEINS = (
    ((0.0, -38.0, 6.0), (0.0, -92.0, -6.0), 2.6),  # straight sinus
    ((2.5, 0.0, 16.0), (2.5, -38.0, 8.0), 1.3),  # internal cerebral
    ((0.0, -92.0, -6.0), (52.0, -58.0, -34.0), 3.2),  # transverse sinus
)
SAGITTAL_SINUS_MM = 3.5


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
        folds: the subject's own sulci: they lie where these values cross zero.
        lesions: (lesion, 4) centre in template mm and radius in mm.
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
    folds: Volume
    lesions: Tensor

    def to(self, device: torch.device | str) -> Head:
        moved = {name: value for name, value in vars(self).items() if hasattr(value, "to")}
        return Head(**{**vars(self), **{name: value.to(device) for name, value in moved.items()}})


def draw_head(rng: torch.Generator, n_lesions: int = 0) -> Head:
    """Draw one subject's head.

    The warp cannot fold: the gradients of its waves add up to at most 0.3 and
    that of the ventricles to at most 0.3, so that the Jacobian of warp and
    identity stays positive.

    Args:
        rng: CPU generator; it alone decides the head.
        n_lesions: lesions in the white matter.
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
    return Head(
        affine=rotation / size,
        shift_mm=uniform(rng, -3, 3, 3),
        waves=waves,
        amplitudes_mm=amplitudes * number(0.15, 0.3) / slopes,
        starts=uniform(rng, 0, 2 * math.pi, 10),
        ventricles=number(-0.15, 0.3),
        rim_mm=number(0.5, 2.0),
        skull_mm=number(4.5, 7.5),
        scalp_mm=number(2.5, 6.0),
        temporalis_mm=number(6, 12),
        folds=_draw_folds(rng),
        lesions=_draw_lesions(rng, n_lesions),
    )


def to_template(head: Head, points_mm: Tensor) -> Tensor:
    """Where in the template (MNI mm) a scanner position (..., 3) of this head lies."""
    centre = torch.tensor(TEMPLATE_CENTRE_MM, device=points_mm.device)
    points = (points_mm - head.shift_mm) @ head.affine.T + centre
    around = points - torch.tensor(VENTRICLES_MM, device=points_mm.device)
    near = torch.exp(-around.square().sum(-1, keepdim=True) / (2 * VENTRICLES_WIDTH_MM**2))
    warp = torch.sin(points @ head.waves.T + head.starts) @ head.amplitudes_mm
    return points + warp - head.ventricles * near * around  # reading nearer the centre: larger


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


def fractions_at(head: Head, points_mm: Tensor, sample_mm: float = 1.0) -> Tensor:
    """How much of each tissue there is around scanner positions (..., 3).

    Painted from the outside in: each tissue covers what was there before.

    Args:
        points_mm: scanner positions.
        sample_mm: edge of the region that each of them stands for; surfaces
            fade over it.

    Returns:
        float32 (tissue, ...) in the order of TISSUES; sums to 1.
    """

    def inside(distance_mm: Tensor) -> Tensor:
        """1 inside a surface and 0 outside."""
        return (0.5 - distance_mm / sample_mm).clamp(0, 1)

    where = to_template(head, points_mm)
    grey, white, depth = template.sample(where)  # each (...)
    skull = depth - head.rim_mm  # mm outside the skull's inner surface
    muscle_mm = head.temporalis_mm * _temporal(where)
    scalp = skull - (head.skull_mm + muscle_mm + head.scalp_mm + SKIN_MM)
    near = partial(_overlaps, where.flatten(0, -2).aminmax(dim=0))  # most are in no slice
    surface = scalp  # of the body: scalp over the skull, face and neck below it
    for shape in filter(near, (FACE, NECK)):
        surface = torch.minimum(surface, _ellipsoid(where, shape))

    parts = torch.zeros((len(TISSUES), *depth.shape), device=depth.device)
    parts[TISSUES.index("air")] = 1
    _paint(parts, "muscle", inside(surface))  # skin counts as muscle
    _paint(parts, "fat", SCALP_FAT * inside(surface + SKIN_MM))
    _paint(parts, "muscle", inside(surface + SKIN_MM + head.scalp_mm))
    for name, shape in (("fat", ORBIT), ("eye", EYE)):
        if near(shape):
            _paint(parts, name, inside(_both_sides(where, shape)))
    bone = inside(skull - head.skull_mm)
    _paint(parts, "bone", bone)
    # Marrow between the two tables of the skull, half of it at mid-thickness.
    _paint(parts, "fat", bone * 0.5 * (1 - 2.5 * (skull / head.skull_mm - 0.5).abs()).clamp(min=0))
    under_skin = inside(surface + SKIN_MM)
    for sinus in filter(near, SINUSES):
        _paint(parts, "air", inside(_both_sides(where, sinus)) * under_skin)
    cranium = inside(skull)
    fluid_grey_white = _brain(head, where, grey, white, depth)
    _paint(parts, "csf", cranium)
    for name, share in zip(("grey", "white"), fluid_grey_white[1:], strict=True):
        parts[TISSUES.index(name)] = share * cranium
    parts[TISSUES.index("csf")] = fluid_grey_white[0] * cranium
    if len(head.lesions):
        matter = parts[TISSUES.index("white")] + parts[TISSUES.index("grey")]
        _paint(parts, "lesion", inside(_lesions(head, where)) * matter)
    _paint(parts, "blood", inside(_veins(where, skull)))
    return parts


def label_map(fractions: Tensor) -> Tensor:
    """uint8 (...): index into TISSUES of the tissue that fills most, of fractions (tissue, ...)."""
    return fractions.argmax(0).to(torch.uint8)


def brain_fraction(fractions: Tensor) -> Tensor:
    """(...): grey and white matter, healthy or not, of fractions (tissue, ...)."""
    return fractions[[TISSUES.index(name) for name in ("grey", "white", "lesion")]].sum(0)


def _paint(parts: Tensor, name: str, amount: Tensor) -> None:
    """Cover all tissues with one, in place, as far as `amount` (0 to 1) says."""
    if not bool(amount.any()):  # most slices meet no sinus and no eye
        return
    parts *= 1 - amount
    parts[TISSUES.index(name)] += amount


def _brain(head: Head, where: Tensor, grey: Tensor, white: Tensor, depth: Tensor) -> Tensor:
    """(3, ...): fluid, grey and white matter, as shares of what is inside the cranium.

    The template says how often each tissue lies at a place in 152 heads; one
    head has one tissue there. Deep in the brain that is the most frequent one.
    In the cortex, where heads differ, the subject's own folds decide: fluid
    lies on the surfaces where the field `folds` crosses zero, grey matter
    around them and on the hull.
    """
    often = torch.stack([(1 - grey - white).clamp(min=0), grey, white]).clamp(min=0.01).log()
    outer = (1 + depth / CORTEX_MM).clamp(0, 1)  # 1 at the hull, 0 deep in the brain
    often *= CERTAINTY_DEEP + outer * (CERTAINTY_CORTEX - CERTAINTY_DEEP)
    sulcus_mm = head.folds.at(where)[0].abs() * (FOLDS_MM / (2 * math.pi))  # distance, nearly
    often[0] += 9.0 * outer * torch.exp(-(sulcus_mm / 0.8).square())
    ribbon = torch.maximum(
        torch.exp(-((sulcus_mm / 2.6) ** 4)), torch.exp(-(((depth + 1.5) / 2.5) ** 4))
    )
    often[1] += 6.0 * outer * (ribbon - 0.5)
    return torch.softmax(often, dim=0)


def _draw_folds(rng: torch.Generator) -> Volume:
    """A random field of unit variance around the brain whose wavelength is that of the folds."""
    points = grid_points(FOLDS_LOW_MM, FOLDS_HIGH_MM, FOLDS_GRID_MM)
    shape = points.shape[:3]
    noise = torch.randn(shape, generator=rng)
    k = [torch.fft.fftfreq(n, FOLDS_GRID_MM) for n in shape]
    wave_number = torch.sqrt(k[0][:, None, None] ** 2 + k[1][:, None] ** 2 + k[2] ** 2)  # 1/mm
    band = torch.exp(-(((wave_number * FOLDS_MM - 1) / 0.25) ** 2))
    field = torch.fft.ifftn(torch.fft.fftn(noise) * band).real
    return Volume((field / field.std())[None], FOLDS_LOW_MM, FOLDS_GRID_MM)


@lru_cache(maxsize=1)
def _white_voxels() -> Tensor:
    """Positions (voxel, 3) in MNI mm around the ventricles that are white in nearly every head."""
    maps = template.tissue_maps()
    z, y, x = torch.nonzero(maps.values[1, ::3, ::3, ::3] > 0.9, as_tuple=True)
    points = 3 * maps.spacing_mm * torch.stack([x, y, z], -1) + torch.tensor(maps.first_mm)
    return points[(points[:, 2] > 0) & (points[:, 2] < 45)]


def _draw_lesions(rng: torch.Generator, n: int) -> Tensor:
    """(n, 4): centre in template mm, radius in mm."""
    if n == 0:
        return torch.zeros(0, 4)
    places = _white_voxels()
    chosen = places[torch.randint(len(places), (n,), generator=rng)]
    return torch.cat([chosen, uniform(rng, 2.0, 6.0, n, 1)], dim=1)


def _lesions(head: Head, where: Tensor) -> Tensor:
    """Distance in mm to the nearest lesion's surface, made uneven by the folds' field."""
    uneven = 1 + 0.25 * head.folds.at(1.7 * where)[0].clamp(-2, 2)
    found = torch.full_like(uneven, torch.inf)
    for x, y, z, radius in head.lesions.tolist():
        away = (where - torch.tensor([x, y, z], device=where.device)).norm(dim=-1)
        found = torch.minimum(found, away - radius * uneven)
    return found


def _veins(where: Tensor, skull_mm: Tensor) -> Tensor:
    """Distance in mm to the large veins: the sagittal sinus under the skull, and tubes."""
    x, y, z = where.unbind(-1)
    midline = torch.maximum(x.abs() - SAGITTAL_SINUS_MM, (skull_mm + 2.0).abs() - 2.5)
    above = -0.35 * y - 25 - z  # behind and above a line from the forehead to the occiput
    found = torch.maximum(midline, above)
    across = torch.stack([x.abs(), y, z], -1)
    for start, end, radius in VEINS:
        first = torch.tensor(start, device=where.device)
        along = torch.tensor(end, device=where.device) - first
        share = (((across - first) @ along) / along.dot(along)).clamp(0, 1)
        away = (across - first - share[..., None] * along).norm(dim=-1)
        found = torch.minimum(found, away - radius)
    return found


def _overlaps(box: tuple[Tensor, Tensor], shape: Ellipsoid) -> bool:
    """Whether an ellipsoid, its mirror image or their neighbourhood reaches into a box."""
    centre, axes = (torch.tensor(numbers, device=box[0].device) for numbers in shape)
    mirror = centre * torch.tensor([-1.0, 1.0, 1.0], device=centre.device)
    reach = axes + BLUR_MM
    low, high = torch.minimum(centre, mirror) - reach, torch.maximum(centre, mirror) + reach
    return bool(((low < box[1]) & (high > box[0])).all())


def _ellipsoid(where: Tensor, shape: Ellipsoid) -> Tensor:
    """About the distance in mm to an ellipsoid's surface, negative inside."""
    centre, axes = (torch.tensor(numbers, device=where.device) for numbers in shape)
    return (((where - centre) / axes).norm(dim=-1) - 1) * float(axes.min())


def _both_sides(where: Tensor, shape: Ellipsoid) -> Tensor:
    """The same for an ellipsoid and its mirror image on the other side of the head."""
    mirrored = torch.cat([where[..., :1].abs(), where[..., 1:]], dim=-1)
    return _ellipsoid(mirrored, shape)


def _temporal(where: Tensor) -> Tensor:
    """1 in the middle of the temples, where the temporal muscle lies, to 0 far from them."""
    side = (where[..., 0].abs() - 62) / 32
    front, height = (where[..., 1] - 26) / 28, (where[..., 2] + 24) / 30
    return torch.exp(-(side**2 + front**2 + height**2))


def _cross_matrix(axis: Tensor) -> Tensor:
    x, y, z = axis.tolist()
    return torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
