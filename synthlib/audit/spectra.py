"""Edges of k-space: zero-filling, filters of the corners, partial Fourier."""

from __future__ import annotations

import math

import numpy as np

from synthlib.audit.findings import Reading
from synthlib.audit.witnesses import Spectra, find_edge, outer_edge

AXES = ("ky", "kx")
STEP_DB, STEP_WITH_AIR_DB = 9.0, 6.0  # thresholds of the drop, alone and when air agrees
STEP_WITH_HEADER_DB = 5.0  # where the header tells an edge; measured heads without one have up to 4
FAR, FAR_STEP_DB, FAR_STEP_WITH_AIR_DB = 0.8, 7.0, 5.0  # beyond, partial Fourier makes no steps
NEARLY_ALL = 0.9  # of an axis: beyond, the mirror image of a missing side is too near
BEFORE = 0.1  # of an axis: a filter lets k-space fade before it ends
OUTWARD = 0.008  # of what is kept, that is kept beyond it: rather empty lines than cut ones
SAME_PLACE = 0.03  # of an axis: the header's edge and the image's are one
ONE_SIDE_DB = 7.0  # of a drop; half of k-space beyond it leaves 3 to 6 dB
LEAST_ERRORS = 2.5  # standard errors of a correlation of noise in air that agrees with an edge
# As rare for the largest of four correlations (two axes; one lag, or two) as 3 are for one
LARGEST_ERRORS = 3.4
FLAT = 0.45  # share of the whole fall from an edge to the end that is the edge's, when it is sharp
MISSING = 0.18  # of the finest noise, in the head
NOT_MISSING = 0.15  # measured images without a filter have up to 0.13: contradicts air
STRONG = 0.10  # correlation of noise in air that nothing contradicts
FILLED = 0.08  # added to thresholds of noise in air where an axis is zero-filled: ghosts, ringing
BEYOND = " beyond what zero-filling makes"
AGREES_PERCENT = 1.5  # by which noise in the head is weaker along an axis that air tells, too
AGREES = 0.06  # share of an axis by which head and air may differ


def zero_filled(
    found: Spectra,
    axis: int,
    header: float | None = None,
    denied: bool = False,
    one_sided: bool = False,
) -> Reading:
    """Does k-space end before the grid does, along one axis?

    A drop where the header says so counts from 5 dB on. Any other that air contradicts
    (its noise is whiter than such a k-space allows) does not count; one that it
    confirms counts from 6 dB on. A k-space of which a side is missing drops, too, at the
    mirror image of where it begins, and leaves as much noise as one that fills the
    measured share: between the two, air decides.

    Args:
        header: share of the axis that the header says was encoded; None if it does not say.
        denied: the header says that nothing was interpolated.
        one_sided: the header says that a side of k-space was left out.

    Returns:
        Its share is the header's where the image agrees, else that of the last drop: nothing
        that was measured lies beyond.
    """
    edge, air = found.edges[axis], found.air
    if not found.judged:
        return Reading(float("nan"), STEP_DB, "dB", "")
    shortened = header is not None and header < 1
    if header is not None and header < 1:
        named = find_edge(edge.profile_db, near=header)
        if -BEFORE < named.at - header < SAME_PLACE and named.drop_db > edge.drop_db / 2:
            edge = named
    end = min(1.0, (1 + OUTWARD) * outer_edge(edge.profile_db, edge.at))
    agrees = header is not None and header < 1 and -BEFORE < end - header < SAME_PLACE
    if header is not None and header < 1 and edge.drop_db > STEP_DB:  # its own place is as good
        agrees = agrees or abs(edge.at - header) < SAME_PLACE / 2
    threshold, value = FAR_STEP_DB if edge.at > FAR else STEP_DB, edge.drop_db
    told = ""
    one_side = False
    if air.known:
        correlation = air.along[axis][0]
        low = float(np.sinc(min(edge.at + AGREES, 1.0)) ** 2)
        one_side = _one_side_missing(correlation, edge.at) and value < ONE_SIDE_DB
        if not agrees and (one_side or correlation < low - 3 * air.error):
            value = min(value, 0.0)
        elif not denied and correlation > LEAST_ERRORS * air.error and edge.flat > FLAT:
            threshold = FAR_STEP_WITH_AIR_DB if edge.at > FAR else STEP_WITH_AIR_DB
            told = ", and noise in air agrees"
    if one_sided and header is not None and not agrees and end < header:
        value = min(value, 0.0)  # the mirror image of where the missing side ends
    if agrees and header is not None:
        mirror = abs(edge.at - (2 * header - 1)) < 1.5 * SAME_PLACE  # of a missing side's beginning
        end = header
        threshold = STEP_DB if mirror or header > NEARLY_ALL else STEP_WITH_HEADER_DB
        if one_sided and header > NEARLY_ALL:  # the header may have counted measured lines
            value = min(value, 0.0)
    said = (
        f"k-space ends at {100 * end:.0f} % of {AXES[axis]}: the log power drops by {value:.0f} dB"
    )
    against = (denied or shortened or header == 1) and not agrees
    return Reading(value, threshold, "dB", said + told, share=end, against_header=against)


def _one_side_missing(correlation: float, at: float) -> bool:
    """Whether noise in air fits a k-space that lacks one side beyond `at` better than both."""
    both, one = (float(np.sinc(share) ** 2) for share in (at, (1 + at) / 2))
    return correlation < (both + one) / 2


def _excess(found: Spectra, axis: int, share: float, both_lags: bool = False) -> float:
    """Correlation of noise in air beyond that of a k-space that fills `share` of the axis."""
    first, second = found.air.along[axis]
    first -= float(np.sinc(share) ** 2)
    second -= float(np.sinc(2 * share) ** 2)
    return max(first, (first + second) / 2**0.5) if both_lags else first


def corner_filter(found: Spectra, shares: tuple[float, float]) -> list[Reading]:
    """Were the corners of k-space left out, or its edges damped?

    Noise in air is then correlated along both axes, and noise in the head lacks
    its finest part. Zero-filling does the same: where it was found along an
    axis, only what air tells beyond it counts. A filter that air tells and the
    head contradicts does not count: ghosts in air are correlated, too.
    """
    readings = []
    filled = min(shares) < 1
    if found.judged and found.air.known:
        one, other = (_excess(found, axis, share) for axis, share in enumerate(shares))
        white = found.texture.missing < NOT_MISSING  # nan is not: ghosts in air are correlated, too
        value = (one + other) / 2 if min(one, other) > 0.3 * max(one, other) else min(one, other)
        white = white and value < STRONG
        readings.append(
            Reading(
                min(value, 0.0) if white and not filled else value,
                0.008 + 2.0 * found.air.error + FILLED * filled,
                "correlation",
                f"noise in air is correlated along y and x ({value:.3f}{BEYOND * filled}), as a "
                "filter of k-space makes it",
            )
        )
    if found.judged and not filled and not math.isnan(found.texture.missing):
        missing, stronger = found.texture.missing, found.texture.stronger
        readings.append(
            Reading(
                missing,
                MISSING + (0.0 if math.isnan(stronger) else 0.1 * (stronger - 1)),
                "",
                f"the finest noise in the head lacks {100 * missing:.0f} % of its strength",
            )
        )
    return readings


def partial_fourier(found: Spectra, shares: tuple[float, float]) -> Reading:
    """Was a side of k-space left out along one axis?

    The measured share is less than the axis, and the noise in air tells it; a
    filter acts along both axes and is told apart by that. Without air nothing tells.
    """
    unknown = Reading(float("nan"), 0.01, "correlation", "")
    uneven = found.texture.uneven_percent
    if not found.judged:
        return unknown
    if not found.air.known:  # a texture finer along one axis is anatomy's as often
        return unknown
    excess = [_excess(found, axis, share, both_lags=True) for axis, share in enumerate(shares)]
    axis = int(np.argmax(excess))
    value = excess[axis] - 2 * max(excess[1 - axis] - found.air.error, 0.0)
    filled = min(shares) < 1
    threshold = 0.006 + LARGEST_ERRORS * found.air.error + FILLED * filled
    if not filled and (uneven if axis == 1 else -uneven) > AGREES_PERCENT:
        threshold *= 0.7  # the head agrees
    return Reading(
        value,
        threshold,
        "correlation",
        f"noise in air is correlated along {'yx'[axis]} alone ({excess[axis]:.3f}"
        f"{BEYOND * filled}), as if part of that axis of k-space had not been measured",
    )
