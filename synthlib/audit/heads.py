"""Background, skull and noise of the head: masks, stripping, intensity correction."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from synthlib.audit.findings import Reading
from synthlib.audit.view import View

CONSTANT_PERCENT, DAMPED = 10.0, 4.0
SURE = 3.0  # s.d. by which noise in the head must exceed that of air
ANATOMY = 1.8  # times the noise: details of the head that are stronger are anatomy
WHOLE = 0.8  # of the air: more than a part
RAYS, DEPTHS = 72, 48
SKULL_PERCENT = 85.0  # of the darker side of the dip: less is a skull
FAINT = 0.15  # of the brightest depth: less is no scalp
SKULL_DEPTH, SCALP_DEPTH = 0.75, 0.88  # of the outline, where they begin at the earliest
UNEVEN = 1.35
UNEVEN_AIR = 2.3  # ghosts and ringing make 1.3 to 2.1 in measured slices; that of few is added


def constant_air(view: View) -> Tensor:
    """Bool (slice, y, x): air in a 3 x 3 neighbourhood of one value.

    Of four pixels alike there are many by chance where noise is a grey value or two;
    of nine there are few.
    """
    columns, rows = (_as_neighbours(view.magnitude, axis) for axis in (1, 2))
    alike = columns & rows
    alike[..., 1:] &= columns[..., :-1]
    alike[..., :-1] &= columns[..., 1:]
    return alike & view.outside & (view.local_power < 0.01)


def _as_neighbours(images: Tensor, axis: int) -> Tensor:
    """Bool, where a pixel has the value of both its neighbours along an axis (one at a border)."""
    n = images.shape[axis]
    same = images.diff(dim=axis).abs() < 1e-7
    alike = torch.ones_like(images, dtype=torch.bool)
    alike.narrow(axis, 0, n - 1).logical_and_(same)
    alike.narrow(axis, 1, n - 1).logical_and_(same)
    return alike


def masked(view: View) -> list[Reading]:
    """Is air exactly constant, or far quieter than the head?"""
    outside = view.outside
    n_outside = outside.sum((1, 2))
    constant = constant_air(view)
    if int(n_outside.sum()) < 100:
        return [Reading(float("nan"), CONSTANT_PERCENT, "% of air", "")]
    share = float(constant.sum() / n_outside.sum())
    rows, columns = (bool(line) for line in _padded(view))
    cause = "defacing, cropping or a scanner's own masking"
    if share > WHOLE:
        cause = "masking or skull stripping"
    elif rows or columns:
        cause = "padding, defacing or cropping"
    readings = [
        Reading(
            100 * share,
            CONSTANT_PERCENT,
            "% of air",
            f"{100 * share:.0f} % of the air has one value, as {cause} leaves it",
        )
    ]
    level = view.level
    if share < WHOLE and level.air_std > 0 and level.head_std > 0:
        ratio = level.head_std / level.air_std
        if math.log(ratio) < SURE * level.head_error:  # structure, not noise
            ratio = min(ratio, 1.0)
        readings.append(
            Reading(
                ratio,
                DAMPED,
                "times",
                f"air is {ratio:.1f} times quieter than the head: it was denoised",
            )
        )
    return readings


def _padded(view: View) -> tuple[bool, bool]:
    """Are whole rows, whole columns at the border constant in all slices?"""
    flat = view.magnitude.amax(0) == view.magnitude.amin(0)
    return bool(flat[[0, -1]].all(1).any()), bool(flat[:, [0, -1]].all(0).any())


def rays(view: View) -> tuple[Tensor, Tensor]:
    """Brightness along lines from the centre of each head to beyond its outline.

    Returns:
        (slice, ray, depth) brightness from 0.5 to 1.05 of the outline's distance,
        and bool (slice,), which slices have a head.
    """
    ny, nx = view.shape
    there = view.head.flatten(1).any(1)
    y, x = torch.arange(ny, dtype=torch.float32), torch.arange(nx, dtype=torch.float32)
    n = view.head.sum((1, 2)).clamp(min=1)
    cy = (view.head.sum(2) * y).sum(1) / n
    cx = (view.head.sum(1) * x).sum(1) / n
    angle = torch.linspace(0, 2 * math.pi, RAYS + 1)[:-1]
    furthest = math.hypot(ny, nx) / 2
    reach = torch.linspace(0, furthest, 96)

    def sample(image: Tensor, distance: Tensor) -> Tensor:
        py = cy[:, None, None] + distance * angle.sin()[None, :, None]
        px = cx[:, None, None] + distance * angle.cos()[None, :, None]
        grid = torch.stack([2 * px / max(nx - 1, 1) - 1, 2 * py / max(ny - 1, 1) - 1], dim=-1)
        return grid_sample(image[:, None], grid, align_corners=True)[:, 0]

    inside = sample(view.head.float(), reach.expand(len(n), RAYS, -1)) > 0.5
    edge = torch.where(inside, reach, 0.0).amax(-1)  # (slice, ray)
    depth = torch.linspace(0.5, 1.05, DEPTHS)
    return sample(view.magnitude, edge[..., None] * depth), there


def skull_stripped(view: View, background: Reading) -> Reading:
    """Does the brightness, median over all directions, dip between scalp and brain?

    Args:
        background: the first reading of :func:`masked`: where air has its noise
            nobody stripped the skull.
    """
    unit = "% of both sides"
    if not view.head.any() or math.isnan(background.value):
        return Reading(float("nan"), SKULL_PERCENT, unit, "")
    if background.value < 100 * WHOLE:
        return Reading(0.0, SKULL_PERCENT, unit, "")
    lines, there = rays(view)
    profile = lines[there].median(1).values  # (slice, depth), from 0.5 to 1.05 of the outline
    scalp, skull = _from_depth(SCALP_DEPTH), _from_depth(SKULL_DEPTH)
    ratios = []
    for line in profile:
        # beside a bright brain the scalp is not the brightest there: the deepest dip counts
        least = math.inf
        for top in range(scalp, len(line)):
            if line[top] < FAINT * line.max():
                continue
            low = skull + int(line[skull : top + 1].argmin())
            shoulders = torch.minimum(line[top], line[: low + 1].max()).clamp(min=1e-6)
            least = min(least, float(line[low] / shoulders))
        ratios.append(min(least, 1.0))
    value = 100 * sorted(ratios)[len(ratios) // 2]
    return Reading(
        value,
        SKULL_PERCENT,
        unit,
        "from outside to inside brightness does not dip (to "
        f"{value:.0f} %) as it does in the skull",
    )


def _from_depth(depth: float) -> int:
    return round((depth - 0.5) / 0.55 * (DEPTHS - 1))


def intensity_corrected(view: View) -> Reading:
    """How much noisier is the centre of the head than its rim, or than air?"""
    unknown = Reading(float("nan"), UNEVEN, "", "")
    head = view.in_blocks(view.head)
    if int(head.sum()) < 40 or view.anatomy > ANATOMY:
        return unknown
    depth = _depth(view, head)
    centre, rim = view.noise[depth > 0.6], view.noise[(depth <= 0.35) & head]
    if min(len(centre), len(rim)) < 10:
        return unknown
    value = float(centre.quantile(0.2) / rim.quantile(0.2).clamp(min=1e-9))
    return Reading(
        value, UNEVEN, "", f"noise is {value:.1f} times as strong in the centre as at the rim"
    )


def uneven_air(view: View) -> Reading:
    """How uneven is noise in air? That of a root sum of squares is the same everywhere."""
    unknown = Reading(float("nan"), UNEVEN_AIR, "", "")
    air = view.in_blocks(view.outside & ~view.coarse.fine(view.coarse.void, view.shape))
    n = air.sum(0)
    level = (view.noise * air).sum(0) / n.clamp(min=1)  # mean over slices
    values = level[n >= max(1, len(air) // 2)]
    if len(values) < 24 or not bool((values > 0).all()):
        return unknown
    low, high = values.quantile(torch.tensor([0.15, 0.85])).tolist()
    value = high / low
    return Reading(
        value,
        UNEVEN_AIR + 0.2 * len(air) ** -0.5,
        "",
        f"noise in air differs {value:.1f} times between places",
    )


def _depth(view: View, head: Tensor) -> Tensor:
    """How deep a block lies in its head: 1 in the centre, 0 at the rim, -1 outside."""
    depth = torch.full(head.shape, -1.0)
    for one, inside in zip(depth, head, strict=True):
        if inside.any():
            place = inside.nonzero().float()
            centre = (place.amax(0) + place.amin(0)) / 2
            half = (place.amax(0) - place.amin(0)).clamp(min=1) / 2
            radius = ((place - centre) / half).norm(dim=1)
            one[inside] = (1 - radius).clamp(min=0, max=1)
    return depth
