"""Smooth phase of the same statistics as measured phase: polynomials in x and y."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib import arrays, metrics, tasks
from synthlib.records import PhasePair

DEGREE = 4
MOST_ITERATIONS, CONVERGED_RAD = 20, 1e-3  # of the fit on the circle


@dataclass(frozen=True)
class PolynomialStatistics:
    """Mean (term,) and covariance (term, term) of coefficients, without the constant."""

    mean: Tensor
    covariance: Tensor

    @tasks.torch_threads(1)
    def draw(self, shape: tuple[int, int], rng: torch.Generator) -> Tensor:
        """A random smooth phase (y, x) in radians; its constant is uniform on the circle."""
        # Eigenvectors, not Cholesky: few scans give a covariance that is not of full rank. And the
        # symmetric root: the sign of an eigenvector is another with another LAPACK.
        values, vectors = torch.linalg.eigh(self.covariance)
        normal = torch.randn(len(values), generator=rng, dtype=torch.float64)
        root = vectors * values.clamp(min=0).sqrt() @ vectors.mT
        coefficients = self.mean + root @ normal
        constant = torch.pi * (2 * torch.rand((), generator=rng, dtype=torch.float64) - 1)
        return arrays.wrap((_basis(shape) @ coefficients + constant).reshape(shape)).float()


@tasks.torch_threads(1)
def fit_statistics(pairs_of_phase: Sequence[PhasePair]) -> PolynomialStatistics:
    """Fit a polynomial to the phase of every slice; mean and spread of the coefficients.

    Raises:
        ValueError: fewer than two slices.
    """
    if len(pairs_of_phase) < 2:
        raise ValueError(
            f"{len(pairs_of_phase)} slices to learn the statistics of phase from; expected two"
            " or more"
        )
    fits = torch.stack([fit(pair.phase, pair.magnitude * pair.head) for pair in pairs_of_phase])
    return PolynomialStatistics(fits.mean(0), fits.mT.cov())


def fine_part(phase: Tensor, weight: Tensor) -> Tensor:
    """A phase less its smooth surface of DEGREE and its constant: float32 (y, x), radians.

    Fitted on the circle (:func:`fit`), so that a tilt of several turns does no harm.

    Args:
        phase: radians (y, x), wrapped or not; weight: >= 0 (y, x), the magnitude in the head.
    """
    arrays.require_same_grid(phase=phase, weight=weight)
    rest = phase.double() - surface(fit(phase, weight), (phase.shape[0], phase.shape[1]))
    mean = (weight * torch.polar(torch.ones_like(rest), rest)).sum().angle()
    return arrays.wrap(rest - mean).float()


@tasks.torch_threads(1)
def fit(phase: Tensor, weight: Tensor, terms: Tensor | None = None) -> Tensor:
    """Coefficients (term,) of the smooth polynomial closest to a wrapped phase.

    First least squares on the differences between neighbours, which are taken on the
    circle: wraps do no harm and no unwrapping is needed. Steps at edges of tissue pull
    that surface aside, by radians where signs of signals change; from it on, the distance
    on the circle, sum of weight * (1 - cos(phase - surface)), is made smaller, to its nearest
    minimum unless noise of more than a radian makes that slow (MOST_ITERATIONS).

    Args:
        phase: radians (y, x), wrapped or not.
        weight: >= 0 (y, x); a difference counts with the product of its two ends.
        terms: float64 (pixel, term), what is added up; None: those of :func:`surface`.
    """
    ny, nx = phase.shape
    basis = (_basis((ny, nx)) if terms is None else terms).reshape(ny, nx, -1)
    start = arrays.least_squares(*difference_equations(phase, weight, basis))
    return closest_on_circle(phase.flatten(), weight.flatten(), basis.flatten(0, 1), start)


def difference_equations(phase: Tensor, weight: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """What coefficients have to fulfil so that differences of neighbours are as the phase's.

    Args:
        phase: radians (y, x), wrapped or not; weight: >= 0 (y, x).
        basis: float64 (y, x, term).

    Returns:
        columns (equation, term) and values (equation,) for arrays.least_squares.
    """
    rows, values = [], []
    for axis in (0, 1):
        ends = torch.diff(phase, dim=axis), torch.diff(basis, dim=axis)
        both = weight.narrow(axis, 0, phase.shape[axis] - 1) * weight.narrow(
            axis, 1, phase.shape[axis] - 1
        )
        root = both.double().sqrt().flatten()
        rows.append(ends[1].flatten(0, 1) * root[:, None])
        values.append(arrays.wrap(ends[0]).double().flatten() * root)
    return torch.cat(rows), torch.cat(values)


def closest_on_circle(phase: Tensor, weight: Tensor, basis: Tensor, start: Tensor) -> Tensor:
    """Coefficients (term,) at the nearest minimum of sum w (1 - cos(phase - surface)).

    A constant is fitted, too, and left out of the result.

    Its gradient is that of a weighted least squares fit of the wrapped rest r whose weights
    are w sin(r) / r: what lies across the circle counts nothing.

    Args:
        phase, weight: (pixel,).
        basis: float64 (pixel, term), without the constant; start: (term,) to begin with.

    Source: iteratively reweighted least squares, Holland & Welsch, Commun Stat A6:813 (1977).
    """
    inside = weight > 0
    if not bool(inside.any()):
        return start
    weights, values = weight[inside].double(), phase[inside].double()
    columns = basis[inside]
    columns = torch.cat([columns, torch.ones_like(columns[:, :1])], 1)
    rest = arrays.wrap(values - columns[:, :-1] @ start)
    constant = (weights * torch.polar(torch.ones_like(rest), rest)).sum().angle()
    coefficients = torch.cat([start, constant[None]])
    for _ in range(MOST_ITERATIONS):
        rest = arrays.wrap(values - columns @ coefficients)
        root = (weights * torch.sinc(rest / torch.pi).clamp(min=0)).sqrt()
        change = arrays.least_squares(columns * root[:, None], rest * root)
        coefficients = coefficients + change
        if (columns @ change).abs().max() < CONVERGED_RAD:
            break
    return coefficients[:-1]


@tasks.torch_threads(1)
def surface_fit(phase: Tensor, weight: Tensor, degree: int = DEGREE) -> Tensor:
    """Coefficients (term,) of the polynomial closest to a phase, without the constant.

    Weighted least squares of the phase itself, turned by its weighted circular
    mean first: for phase that does not wrap where there is weight.

    Args:
        phase: radians (y, x); weight: >= 0 (y, x).
    """
    turned = metrics.align_constant(phase, torch.zeros_like(phase), weight)
    ny, nx = phase.shape
    root = weight.double().flatten().sqrt()
    terms = torch.cat([torch.ones(ny * nx, 1, dtype=torch.float64), _basis((ny, nx), degree)], 1)
    return arrays.least_squares(terms * root[:, None], turned.double().flatten() * root)[1:]


def surface(coefficients: Tensor, shape: tuple[int, int], degree: int = DEGREE) -> Tensor:
    """Polynomial of :func:`surface_fit`: float32 (y, x), radians, not wrapped."""
    return (_basis(shape, degree) @ coefficients).reshape(shape).float()


def _basis(shape: tuple[int, int], degree: int = DEGREE) -> Tensor:
    """Products of Legendre polynomials (pixel, term) of total degree 1 to `degree`, on [-1, 1]."""
    axes = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape]
    legendre = [
        torch.stack(
            [torch.special.legendre_polynomial_p(axis, order) for order in range(degree + 1)]
        )
        for axis in axes
    ]
    terms = [
        legendre[0][i][:, None] * legendre[1][j][None, :]
        for i in range(degree + 1)
        for j in range(degree + 1 - i)
        if i + j > 0
    ]
    return torch.stack(terms, dim=-1).reshape(-1, len(terms))
