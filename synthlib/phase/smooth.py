"""Smooth phase of a whole scan: one draw for all its slices, of the statistics of a population.

Timing, shims, receivers and conduction turn phase by some turns across a head, and no magnitude
tells how. Every slice of a scan has a polynomial in y and x; its coefficients change along the
stack as a straight line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib import arrays, tasks
from synthlib.phase import polynomial

UNIT_MM = 100.0  # of y and x, here and in what the flow's networks see
USUAL_FOV_MM = 230.0  # of images whose pixel size is unknown, along their longer edge
FEWEST_SCANS = 8
# of mm from mid-ventricle along each orientation's normal: where archives have slices
REACH_MM = {"axial": (-55.0, 60.0), "coronal": (-60.0, 55.0), "sagittal": (-50.0, 50.0)}
FARTHEST = 1.5  # height; beyond it lines would be drawn too far
LATE_MS = 10.0  # echo time of gradient echoes


@dataclass(frozen=True)
class SliceOfScan:
    """A slice to fit: phase radians (y, x), weight >= 0 (y, x), its pixel (y, x) and height.

    Attributes:
        height: -1 to 1 through the stack.
    """

    phase: Tensor
    weight: Tensor
    spacing_mm: tuple[float, float]
    height: float


@dataclass(frozen=True)
class ScanStatistics:
    """Coefficients of scans: mean (value,) and covariance (value, value).

    A value is a term at the middle of the stack, then its change to the stack's end, the last
    one that of the constant.
    """

    mean: Tensor
    covariance: Tensor

    @tasks.torch_threads(1)
    def draw(self, rng: torch.Generator) -> Tensor:
        """Coefficients (2, term + 1) of one scan: at its middle, and their change to its end.

        The constant comes last; at the middle it is uniform on the circle.
        """
        # Symmetric root: the sign of an eigenvector is another with another LAPACK.
        values, vectors = torch.linalg.eigh(self.covariance)
        normal = torch.randn(len(values), generator=rng, dtype=torch.float64)
        values = self.mean + vectors * values.clamp(min=0).sqrt() @ (vectors.mT @ normal)
        constant = math.pi * (2 * torch.rand(1, generator=rng, dtype=torch.float64) - 1)
        n_terms = (len(values) - 1) // 2
        return torch.stack([torch.cat([values[:n_terms], constant]), values[n_terms:]])


def surface(
    coefficients: Tensor, shape: tuple[int, int], spacing_mm: tuple[float, float], height: float
) -> Tensor:
    """The smooth phase of one slice of a scan: float32 (y, x), radians, not wrapped.

    Args:
        coefficients: (2, term + 1) of :meth:`ScanStatistics.draw`.
        spacing_mm: (y, x); nan is unknown. height: -1 to 1 through the stack.
    """
    terms = _terms(shape, spacing_mm)
    here = coefficients[0] + height * coefficients[1]
    return (terms @ here[:-1] + here[-1]).reshape(shape).float()


@tasks.torch_threads(1)
def fit_scan(slices: Sequence[SliceOfScan]) -> Tensor:
    """Values (value,) of one scan, as ScanStatistics has them.

    Raises:
        ValueError: fewer than two slices.
    """
    if len(slices) < 2:
        raise ValueError(f"{len(slices)} slices of a scan; expected two or more to see its change")
    ordered = sorted(slices, key=lambda part: part.height)
    heights = torch.tensor([part.height for part in ordered], dtype=torch.float64)
    bases = [_along(part) for part in ordered]  # (y, x, 2 terms) each
    # All slices at once: a small one would leave high orders to chance.
    equations = [
        polynomial.difference_equations(part.phase, part.weight, basis)
        for part, basis in zip(ordered, bases, strict=True)
    ]
    rows, values = (torch.cat(parts) for parts in zip(*equations, strict=True))
    start = arrays.least_squares(rows, values)
    constants = torch.stack(
        [
            _constant(part.phase - (basis @ start).float(), part.weight)
            for part, basis in zip(ordered, bases, strict=True)
        ]
    ).double()
    own = [_indicator(basis, index, len(ordered)) for index, basis in enumerate(bases)]
    closest = polynomial.closest_on_circle(
        torch.cat([part.phase.flatten() for part in ordered]),
        torch.cat([part.weight.flatten() for part in ordered]),
        torch.cat(own),
        torch.cat([start, constants[1:] - constants[0]]),
    )
    n_values = len(start)
    constants = torch.cat([constants.new_zeros(1), closest[n_values:]])
    steps = arrays.wrap(constants.diff()).cumsum(0)
    course = torch.cat([steps.new_zeros(1), steps])
    columns = torch.stack([torch.ones_like(heights), heights], 1)
    change = arrays.least_squares(columns, course)[1]
    return torch.cat([closest[:n_values], change[None]])


def _along(part: SliceOfScan) -> Tensor:
    """Terms at the middle of the stack, and their change with the height: (y, x, 2 terms)."""
    shape = part.phase.shape[0], part.phase.shape[1]
    terms = _terms(shape, part.spacing_mm)
    return torch.cat([terms, part.height * terms], 1).reshape(*shape, -1)


def _constant(rest: Tensor, weight: Tensor) -> Tensor:
    """Circular mean of a phase (y, x)."""
    return (weight * torch.polar(torch.ones_like(rest), rest)).sum().angle()


def _indicator(basis: Tensor, index: int, n_slices: int) -> Tensor:
    """(pixel, term) of a slice, with a constant of its own for each slice but the first."""
    flat = basis.flatten(0, 1)
    own = flat.new_zeros(len(flat), n_slices - 1)
    if index:
        own[:, index - 1] = 1
    return torch.cat([flat, own], 1)


def fit_statistics(scans: Sequence[Tensor]) -> ScanStatistics:
    """Statistics of what :func:`fit_scan` gave for each scan.

    Raises:
        ValueError: fewer than FEWEST_SCANS.
    """
    if len(scans) < FEWEST_SCANS:
        raise ValueError(
            f"{len(scans)} scans to learn the statistics of smooth phase from; expected at least "
            f"{FEWEST_SCANS}"
        )
    values = torch.stack(list(scans))
    return ScanStatistics(values.mean(0), values.mT.cov())


def kind(orientation: str, *, gradient_echo: bool, te_ms: float = math.nan) -> str:
    """Name of scans of like statistics: phase of gradient echoes follows the field, for TE.

    Args:
        te_ms: nan is unknown, and taken for a short one.
    """
    if not gradient_echo:
        return f"{orientation} spin echo"
    return f"{orientation} {'late' if te_ms >= LATE_MS else 'early'} gradient echo"


def height(position: float, extent_mm: float, orientation: str) -> float:
    """Where a slice lies along the stack that statistics were taken over: -1 to 1, or beyond.

    Args:
        position: 0 to 1 through the scan's own stack.
        extent_mm: from its first slice to its last; nan: all that statistics were taken over.
    """
    reach = REACH_MM.get(orientation, REACH_MM["axial"])
    usual = reach[1] - reach[0]
    share = extent_mm / usual if math.isfinite(extent_mm) else 1.0
    return max(-FARTHEST, min(FARTHEST, (2 * position - 1) * share))


def to_tensors(statistics: Mapping[str, ScanStatistics]) -> dict[str, Tensor]:
    """By kind, as entries of a file of weights."""
    return {
        f"smooth.{name}.{part}": getattr(of, part)
        for name, of in statistics.items()
        for part in ("mean", "covariance")
    }


def from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, ScanStatistics]:
    """The way back from :func:`to_tensors`; other entries are left alone."""
    names = {name.split(".")[1] for name in tensors if name.startswith("smooth.")}
    return {
        name: ScanStatistics(tensors[f"smooth.{name}.mean"], tensors[f"smooth.{name}.covariance"])
        for name in sorted(names)
    }


def known_spacing(spacing_mm: tuple[float, float], shape: tuple[int, int]) -> tuple[float, float]:
    """The spacing, or for one that is unknown that of a head that fills the usual field of view."""
    if all(math.isfinite(mm) and mm > 0 for mm in spacing_mm):
        return spacing_mm
    return (USUAL_FOV_MM / max(shape),) * 2


def _terms(shape: tuple[int, int], spacing_mm: tuple[float, float]) -> Tensor:
    """Products of powers (pixel, term) of y and x in UNIT_MM from the middle, degree 1 to 4."""
    y, x = (
        (torch.arange(n, dtype=torch.float64) - n // 2) * mm / UNIT_MM
        for n, mm in zip(shape, known_spacing(spacing_mm, shape), strict=True)
    )
    degree = polynomial.DEGREE
    terms = [
        (y**i)[:, None] * (x**j)[None, :]
        for i in range(degree + 1)
        for j in range(degree + 1 - i)
        if i + j > 0
    ]
    return torch.stack(terms, -1).flatten(0, 1)
