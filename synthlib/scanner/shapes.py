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


class Bodies:
    """Positions, and which bodies reach them: most are in no slice, and then in a part of it.

    Args:
        where: (..., 3) in template mm.
    """

    def __init__(self, where: Tensor) -> None:
        self.where = where
        self.mirrored = torch.cat([where[..., :1].abs(), where[..., 1:]], dim=-1)
        self._flat = self.mirrored.flatten(0, -2)
        self._axes = [axis.contiguous() for axis in self._flat.unbind(-1)]
        self._ends = [axis.aminmax() for axis in self._axes]

    def near(self, body: Body) -> bool:
        """Whether a body's neighbourhood reaches any position."""
        low, high = body.box()
        return all(
            bottom - REACH_MM < float(ends.max) and top + REACH_MM > float(ends.min)
            for bottom, top, ends in zip(low, high, self._ends, strict=True)
        )

    def any_near(self, bodies: Iterable[Body]) -> bool:
        return any(self.near(body) for body in bodies)

    def outside(self, bodies: Iterable[Body]) -> Tensor:
        """About mm outside the nearest of them and their mirror images, at most REACH_MM."""
        found = torch.full_like(self._axes[0], REACH_MM)
        for body in filter(self.near, bodies):
            low, high = body.box()
            there = torch.ones_like(found, dtype=torch.bool)
            for bottom, top, axis in zip(low, high, self._axes, strict=True):
                there &= (axis > bottom - REACH_MM) & (axis < top + REACH_MM)
            at = there.nonzero().flatten()
            found[at] = torch.minimum(found[at], body.outside(self._flat[at]))
        return found.reshape(self.where.shape[:-1])
