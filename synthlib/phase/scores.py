"""Scores of a phase image: the marks that a network leaves, and what it knows of the tissue.

Phase is radians (y, x), wrapped or not; whatever is compared is compared on the circle.
A head is bool (y, x), a weight >= 0 (y, x): the magnitude inside the head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from synthlib import arrays, metrics
from synthlib.likeness import measures
from synthlib.phase import polynomial, tissue
from synthlib.records import PhasePair

LEAST_FINE_RAD = 1e-5  # rms; less is the rounding of a phase that is a surface
LEAST_RESULTANT = 1e-6  # squared; draws that agree less have a spread of 3.7 rad
# Name to heading of a table, with its unit.
LABELS = {
    "period_2": "period-2 index",
    "period_4": "period-4 index",
    "residues": "residues per 1000",
    "fine_correlation": "fine part's correlation",
    "ventricle_step": "ventricles (rad)",
    "spread": "spread of draws (rad)",
    "fine_spread": "fine spread (rad)",
    "distance": "distance (rad)",
}


def period_index(phase: Tensor, head: Tensor, period: int) -> float:
    """How much steps of phase between neighbours depend on their place modulo a period.

    Along one axis, the mean of |step| is taken over the pairs of neighbours inside the
    head, by the place of the first one modulo the period; the index of the axis is
    (largest - smallest) / mean of these means. 0 for a phase that knows no grid, up to
    noise, which makes it larger: 0.02 to 0.08 at a period of 2 in measured heads.
    Transposed convolutions of stride 2 leave 0.18 to 0.28.

    Args:
        phase: radians (y, x); head: bool (y, x); period: pixels, 2 or more.

    Returns:
        the larger of both axes' indices, 0 to `period`; nan where a place has no pair.

    Raises:
        ValueError: grids differ, or a period below 2.

    Source: the project's own measure of the weave that Odena et al., Distill 2016, describe.
    """
    arrays.require_same_grid(phase=phase, head=head)
    if period < 2:
        raise ValueError(f"a period of {period} pixels; expected 2 or more. 2 and 4 are usual.")
    return max(
        _axis_index(phase, head, period), _axis_index(phase.mT, head.mT, period), key=_nan_last
    )


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _axis_index(phase: Tensor, head: Tensor, period: int) -> float:
    """The index of steps along the last axis."""
    step = arrays.wrap(phase.double().diff(dim=-1)).abs()  # (y, x - 1)
    both = head[:, :-1] & head[:, 1:]
    means = torch.stack(
        [step[:, k::period][both[:, k::period]].mean() for k in range(period)]
    )  # nan where there is no pair
    mean = means.mean()
    return 0.0 if mean == 0 else float((means.max() - means.min()) / mean)


def residues_per_1000(phase: Tensor, head: Tensor) -> float:
    """Points that the phase winds round, per 1000 squares of 2 x 2 pixels of the head.

    See likeness.measures.residues_per_1000. Measured heads have 0 to 1.6 at 2.4 mm.
    """
    arrays.require_same_grid(phase=phase, head=head)
    return measures.residues_per_1000(phase, head)


def fine_correlation(phase: Tensor, truth: Tensor, weight: Tensor) -> float:
    """Weighted correlation on the circle of two phases' fine parts, -1 to 1.

    r = sum w sin(a) sin(b) / sqrt(sum w sin(a)^2 sum w sin(b)^2), each fine part turned by
    its weighted circular mean first. For small angles that is Pearson's r; a pixel that
    wraps does not jump. The real part of a complex correlation would also count
    cos(a) cos(b), which is alike wherever both are noisy, whatever their signs.

    Args:
        phase, truth: radians (y, x), each of which loses a surface of its own.
        weight: >= 0 (y, x).

    Returns:
        the correlation; nan where one of them has no fine part (zero phase, a polynomial).

    Source: Jammalamadaka & Sarma, Statistical Theory and Data Analysis II, 349 (1988), with
    weights.
    """
    arrays.require_same_grid(phase=phase, truth=truth, weight=weight)
    weight = weight.double()
    a, b = (polynomial.fine_part(whole, weight) for whole in (phase, truth))
    return correlation(a, b, weight)


def correlation(one: Tensor, other: Tensor, weight: Tensor) -> float:
    """The correlation of :func:`fine_correlation` for phases whose surfaces are off already.

    Args:
        one, other: radians (y, x); each is turned by its weighted circular mean first.
        weight: >= 0 (y, x).
    """
    weight = weight.double()
    a, b = (
        metrics.align_constant(fine.double(), torch.zeros_like(fine).double(), weight).sin()
        for fine in (one, other)
    )
    rms_a, rms_b = (((weight * part.square()).sum() / weight.sum()).sqrt() for part in (a, b))
    if min(rms_a, rms_b) < LEAST_FINE_RAD:
        return math.nan
    return float((weight * a * b).sum() / weight.sum() / (rms_a * rms_b))


def ventricle_step(phase: Tensor, known: tissue.KnownSlice) -> float:
    """Phase of the ventricles less that of the brain around them, the brain's surface off.

    Negative in a spin echo: fluid conducts four times as well as brain, and its phase
    lags. Only where fluid is at least as bright as the brain (T2): in T1 its weak signal
    is partly that of its neighbours, and steps of either sign are measured. See
    tissue.ventricle_step; unlike tissue.ventricle_table, this one is for phase that wraps.

    Returns:
        radians; nan for a slice that shows no ventricles, or dark ones.
    """
    if not tissue.shows_ventricles(known) or not _fluid_is_bright(known):
        return math.nan
    return tissue.ventricle_step(polynomial.fine_part(phase, known.weights["brain"]), known)


def _fluid_is_bright(known: tissue.KnownSlice) -> bool:
    """Whether the ventricles' mean magnitude is at least that of the brain around them."""
    fluid, matter = (
        known.weights["brain"][where].mean() for where in (known.ventricles, known.matter)
    )
    return bool(fluid >= matter)


def agreement(draws: Tensor, weight: Tensor) -> float:
    """How alike draws of a phase are: rho^2, rho the length of the mean of exp(i phase).

    Each draw is turned by its own weighted circular mean first: its constant says
    nothing. The mean of n draws is longer than that over all possible ones,
    |mean|^2 = rho^2 + (1 - rho^2) / n on average, which is taken off; then rho^2 is averaged
    over the pixels with their weight, so that a few draws will do.

    Args:
        draws: radians (draw, y, x), two or more.
        weight: >= 0 (y, x).

    Returns:
        1 for draws that are alike, about 0, also below it, for such as have nothing in common.

    Raises:
        ValueError: fewer than two draws, or grids that differ.
    """
    arrays.require_same_grid(draws=draws, weight=weight)
    n = len(draws)
    if draws.ndim != 3 or n < 2:
        raise ValueError(
            f"draws of shape {tuple(draws.shape)}; expected (draw, y, x) with two draws or more"
        )
    draws, weight = draws.double(), weight.double()
    zero = torch.zeros_like(draws[0])
    turned = torch.stack([metrics.align_constant(draw, zero, weight) for draw in draws])
    mean = torch.polar(torch.ones_like(turned), turned).mean(0)  # (y, x)
    squared = (n * mean.abs().square() - 1) / (n - 1)
    return float((weight * squared).sum() / weight.sum())


def circular_sd(squared: float) -> float:
    """sqrt(-2 ln rho) of an :func:`agreement` rho^2: for wrapped normal phases their s.d., radians.

    0 to 3.7, which stands for no agreement.

    Source: Mardia & Jupp, Directional Statistics (2000), section 2.3.
    """
    return math.sqrt(max(0.0, -math.log(min(1.0, max(squared, LEAST_RESULTANT)))))


def spread(draws: Tensor, weight: Tensor) -> float:
    """How much draws of a phase for one slice differ: circular standard deviation, radians.

    Arguments and errors as of :func:`agreement`.
    """
    return circular_sd(agreement(draws, weight))


def fine_spread(draws: Tensor, weight: Tensor) -> float:
    """:func:`spread` of the draws' fine parts, each without a surface of its own: radians."""
    return spread(torch.stack([polynomial.fine_part(draw, weight) for draw in draws]), weight)


def distance(phase: Tensor, truth: Tensor, weight: Tensor) -> float:
    """Weighted rms of the difference on the circle, after the best constant: radians.

    pi / sqrt(3) = 1.81 for phases that have nothing in common. See metrics.rms_phase_error.
    """
    arrays.require_same_grid(phase=phase, truth=truth, weight=weight)
    return metrics.rms_phase_error(phase, truth, weight)


def score(
    draws: Tensor, pair: PhasePair, known: tissue.KnownSlice | None = None
) -> dict[str, float]:
    """All scores of a generator's draws for one slice.

    Args:
        draws: radians (draw, y, x) for pair.magnitude.
        pair: the slice as measured; distance is that to its phase.
        known: the same slice with its truth, where it was simulated: the fine part is
            compared to that of the object's noise-free phase, else to the measured one.

    Returns:
        names of LABELS to numbers, means over the draws; nan for the ventricles without
        truth, and for both spreads of a single draw.
    """
    weight = pair.magnitude * pair.head
    truth = pair.phase if known is None else known.phase
    rows = [
        {
            "period_2": period_index(draw, pair.head, 2),
            "period_4": period_index(draw, pair.head, 4),
            "residues": residues_per_1000(draw, pair.head),
            "fine_correlation": fine_correlation(draw, truth, weight),
            "ventricle_step": math.nan if known is None else ventricle_step(draw, known),
            "distance": distance(draw, pair.phase, weight),
        }
        for draw in draws
    ]
    several = len(draws) > 1
    spreads = {
        "spread": spread(draws, weight) if several else math.nan,
        "fine_spread": fine_spread(draws, weight) if several else math.nan,
    }
    means = {name: _mean([row[name] for row in rows]) for name in rows[0]} | spreads
    return {name: means[name] for name in LABELS}


def _mean(values: Sequence[float]) -> float:
    """Of the numbers there are."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def mean_scores(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean over slices of :func:`score`'s rows, of every score over those that have it."""
    return {name: _mean([row[name] for row in rows]) for name in LABELS}
