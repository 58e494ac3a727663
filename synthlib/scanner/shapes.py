"""Bodies by their distance: ellipsoids and tubes, alone or on both sides of the head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Point = tuple[float, float, float]
REACH_MM = 8.0  # around a body, more than any lining and the blur of a surface


@dataclass(frozen=True)
class Ellipsoid:
    """Centre and semi-axes in mm."""

    centre: Point
    axes: Point

    def box(self) -> tuple[Point, Point]:
        low = tuple(c - a for c, a in zip(self.centre, self.axes, strict=True))
        high = tuple(c + a for c, a in zip(self.centre, self.axes, strict=True))
        return low, high  # type: ignore[return-value]

    def outside(self, where: Tensor) -> Tensor:
        """About mm outside its surface, negative inside: positions (..., 3) to (...)."""
        centre, axes = (torch.tensor(v, device=where.device) for v in (self.centre, self.axes))
        return (((where - centre) / axes).norm(dim=-1) - 1) * float(axes.min())


@dataclass(frozen=True)
class Tube:
    """A line through points in mm, with a radius, or one at either end; of vessels, downstream."""

    points: tuple[Point, ...]
    radius: float
    last_radius: float | None = None

    def box(self) -> tuple[Point, Point]:
        most = max(self.radius, self.last_radius or 0.0)
        low = tuple(min(values) - most for values in zip(*self.points, strict=True))
        high = tuple(max(values) + most for values in zip(*self.points, strict=True))
        return low, high

    def outside(self, where: Tensor) -> Tensor:
        """Mm outside its surface, negative inside: positions (..., 3) to (...)."""
        found = torch.full_like(where[..., 0], torch.inf)
        for away, radius, _ in self._pieces(where):
            found = torch.minimum(found, away - radius)
        return found

    def course(self, where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`outside`, with the radius there (...) and the unit vector along it (..., 3)."""
        found = torch.full_like(where[..., 0], torch.inf)
        radii, directions = torch.zeros_like(found), torch.zeros_like(where)
        for away, radius, along in self._pieces(where):
            nearer = away - radius < found
            found = torch.where(nearer, away - radius, found)
            radii = torch.where(nearer, radius, radii)
            directions = torch.where(nearer[..., None], along, directions)
        return found, radii, directions

    def _pieces(self, where: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Distance (...) from each straight piece's axis, its radius (...), its direction (3,)."""
        n = len(self.points) - 1
        last = self.radius if self.last_radius is None else self.last_radius
        for index, (start, end) in enumerate(zip(self.points, self.points[1:], strict=False)):
            first = torch.tensor(start, device=where.device)
            along = torch.tensor(end, device=where.device) - first
            share = (((where - first) @ along) / along.dot(along)).clamp(0, 1)
            away = (where - first - share[..., None] * along).norm(dim=-1)
            radius = self.radius + (last - self.radius) * (index + share) / n
            yield away, radius, along / along.norm()


Body = Ellipsoid | Tube


def blended(first: Tensor, second: Tensor, blend_mm: float) -> Tensor:
    """Mm outside two bodies whose surfaces pass into each other over blend_mm.

    The smaller distance, but where the two are alike less, by blend_mm / 4 at most.

    Source: the polynomial smooth minimum of Quilez, iquilezles.org/articles/smin (2013).
    """
    alike = (blend_mm - (first - second).abs()).clamp(min=0)
    return torch.minimum(first, second) - alike.square() / (4 * blend_mm)


class Bodies:
    """Positions, and which bodies reach them: most are in no slice, and then in a part of it.

    Args:
        where: (..., 3) in template mm.
    """

    def __init__(self, where: Tensor) -> None:
        self.where = where
        self.mirrored = torch.cat([where[..., :1].abs(), where[..., 1:]], dim=-1)
        self._flat = self.mirrored.flatten(0, -2)
        width = where.shape[-2] if where.ndim > 1 else 1
        # (row, column); most bodies are in few rows
        self._axes = [axis.reshape(-1, width) for axis in self._flat.T.contiguous()]
        self._row_ends = [axis.aminmax(dim=1) for axis in self._axes]
        self._ends = [(float(ends.min.min()), float(ends.max.max())) for ends in self._row_ends]

    def near(self, body: Body, reach_mm: float = REACH_MM) -> bool:
        """Whether a body's neighbourhood reaches any position."""
        low, high = body.box()
        return all(
            bottom - reach_mm < most and top + reach_mm > least
            for bottom, top, (least, most) in zip(low, high, self._ends, strict=True)
        )

    def any_near(self, bodies: Iterable[Body]) -> bool:
        return any(self.near(body) for body in bodies)

    def outside(self, bodies: Iterable[Body]) -> Tensor:
        """About mm outside the nearest of them and their mirror images, at most REACH_MM."""
        nearest = torch.full_like(self._flat[:, 0], REACH_MM)
        for body in filter(self.near, bodies):
            at = self._around(body, REACH_MM)
            nearest[at] = torch.minimum(nearest[at], body.outside(self._flat[at]))
        return nearest.reshape(self.where.shape[:-1])

    def outside_blended(
        self, bodies: Iterable[Body], blend_mm: float, among: Tensor
    ) -> Tensor | None:
        """As :meth:`outside`, of one body without creases where two meet, up to 2 blend_mm.

        Args:
            among: (...) bool, where it is asked for; elsewhere it is 2 blend_mm.

        Returns:
            (...), or None where no body is near.
        """
        bodies = [body for body in bodies if self.near(body, blend_mm)]
        if not bodies:
            return None
        nearest = torch.full_like(self._flat[:, 0], 2 * blend_mm)
        for body in bodies:
            at = self._around(body, blend_mm, among)
            nearest[at] = blended(nearest[at], body.outside(self._flat[at]), blend_mm)
        return nearest.reshape(self.where.shape[:-1])

    def _around(self, body: Body, reach_mm: float, among: Tensor | None = None) -> Tensor:
        """Indices of the positions, of those asked for, in a body's box and so far around it."""
        low, high = body.box()
        box = [(b - reach_mm, t + reach_mm) for b, t in zip(low, high, strict=True)]
        reached = torch.ones_like(self._row_ends[0].min, dtype=torch.bool)
        for (bottom, top), ends in zip(box, self._row_ends, strict=True):
            reached &= (ends.max > bottom) & (ends.min < top)
        rows = reached.nonzero().flatten()
        width = self._axes[0].shape[1]
        there = torch.ones(len(rows), width, dtype=torch.bool, device=rows.device)
        if among is not None:
            there &= among.reshape(-1, width)[rows]
        for (bottom, top), axis in zip(box, self._axes, strict=True):
            here = axis[rows]
            there &= (here > bottom) & (here < top)
        row, column = there.nonzero(as_tuple=True)
        return rows[row] * width + column
