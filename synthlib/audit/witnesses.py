"""Witnesses of what k-space went through, in a magnitude image.

Three are heard. In bright parts of the head a magnitude is linear in
the complex image, so its spectrum ends where the scanner's k-space ended. In
air the autocorrelation of the squared magnitude is the squared autocorrelation
of the complex noise, that is of the filter that k-space went through: for a
share w of an axis, sinc(w lag)^2, wherever in k-space the share lies. And
noise in even tissue keeps its spectrum: white unless something filtered it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthlib.audit.view import AIR_BOX, View

LEAST_MATRIX = 32  # pixels along an axis, of images whose spectrum says something
NEAR = 0.06  # share of an axis
TOLD_DB = 4.0  # of a drop where air tells one
TELLING = 0.05  # correlation in air from which on it tells where to look for an edge
EDGE_DB = 2.5  # below the inside: at the edge of a blurred band
LATER_DB = 3.0  # of a step behind the first, beyond the slope before it
BLUR = 3  # samples: window and magnitude blur a step so far
SKIRT, SKIRT_DB = 8, 10.0  # samples, and dB below the inside: so near and low a step is blur's
LEAST_AIR = 2500  # pixels of air, or of quiet tissue, that can tell a correlation
ANATOMY = 1.8  # times the noise in air: what is stronger in the head is not noise


@dataclass(frozen=True)
class Edge:
    """Where k-space seems to end along one axis.

    Attributes:
        drop_db: how far the log power drops there, less the trend before it.
        at: share of the axis that lies inside, 0 to 1.
        flat: share of the fall from the edge to the end of the axis that is the drop.
        profile_db: (frequency,) log power from 0 to the end of the axis.
    """

    drop_db: float
    at: float
    flat: float
    profile_db: np.ndarray


def profile_db(spectrum: Tensor, axis: int) -> np.ndarray:
    """Log power from the centre to the end of an axis: (n // 2,) dB, both sides averaged.

    The mean over the middle half of the other axis.

    Args:
        spectrum: power (ky, kx); axis: 0 along ky, 1 along kx.
    """
    power = spectrum if axis == 0 else spectrum.T
    n, across = power.shape
    mean = power[:, across // 2 - across // 4 : across // 2 + across // 4 + 1].mean(1)
    centre, half = n // 2, (n - 1) // 2
    folded = mean[centre : centre + half + 1].clone()
    folded[1:] = (folded[1:] + mean[centre - half : centre].flip(0)) / 2
    return (10 * torch.log10(folded.clamp(min=1e-30))).numpy().astype(float)


def find_edge(profile: np.ndarray, near: float | None = None) -> Edge:
    """The steepest drop of a profile beyond the trend before it, from 30 % of the axis on.

    Args:
        near: share of the axis; only drops within NEAR of it are looked at.
    """
    n = len(profile)
    width, guard = max(2, round(0.05 * n)), max(1, round(0.025 * n))
    sums = np.concatenate([[0.0], np.cumsum(profile)])
    at = np.arange(max(round(0.3 * n), guard + 2 * width), n - guard - max(2, width // 2) + 1)
    if near is not None:
        at = at[abs(at - near * n) <= NEAR * n]
    if not len(at):
        return Edge(0.0, 1.0, 0.0, profile)
    inside = (sums[at - guard] - sums[at - guard - width]) / width
    before = (sums[at - guard - width] - sums[at - guard - 2 * width]) / width
    end = np.minimum(n, at + guard + width)
    outside = (sums[end] - sums[at + guard]) / (end - at - guard)
    trend = np.maximum(before - inside, 0) * (2 * guard + width) / width
    drop = inside - outside - trend
    best = int(np.argmax(drop))
    # The window's blur is symmetric: at the edge itself half of the power is left.
    start = max(int(at[best]) - guard - 1, 0)
    below = np.flatnonzero(profile[start:] < inside[best] - EDGE_DB)
    place = float(at[best])
    if len(below):
        upper = start + int(below[0])
        level, above, under = inside[best] - EDGE_DB, profile[upper - 1], profile[upper]
        crossing = upper - 1 + (above - level) / max(above - under, 1e-6)
        place = float(np.clip(crossing, at[best] - 2 * guard, at[best] + 2 * guard))
    fall = float(inside[best] - profile[-max(2, width // 2) :].mean())
    flat = float(drop[best]) / max(fall, 1e-6)
    return Edge(float(drop[best]), min(1.0, (place + 0.5) / (n - 0.5)), flat, profile)


def outer_edge(profile: np.ndarray, at: float) -> float:
    """Share of an axis that was measured, where a profile drops at `at`: up to its last step.

    A missing side of k-space makes a step at its mirror image, further in than k-space ends:
    what lies between was measured. Where signal decays along an echo train the sides differ,
    so that either step may be the larger one. The last step counts that stands out by
    LATER_DB beyond the slope before it, and the edge is where the power has fallen by EDGE_DB.
    """
    n = len(profile)
    width, before = max(2, round(0.025 * n)), max(2, round(0.05 * n))
    sums = np.concatenate([[0.0], np.cumsum(profile)])
    place = np.arange(max(width + before, math.ceil(at * n) - width), n - width + 1)
    if not len(place):
        return at
    step = 2 * sums[place] - sums[place - width] - sums[place + width]
    share = _fallen(profile, int(place[int(np.argmax(step))]) - width, before)
    last, width = _last_step(profile, at)
    if last is not None:
        share = max(share or 0.0, _fallen(profile, last - 1, width) or 0.0)
    return at if share is None else share


def _last_step(profile: np.ndarray, at: float) -> tuple[int | None, int]:
    """Where a profile has its last step beyond `at`, None without; samples of either side of it."""
    n = len(profile)
    width = min(5, max(2, round(0.03 * n)))
    sums = np.concatenate([[0.0], np.cumsum(profile)])
    place = np.arange(max(width + 1, math.ceil(at * n + BLUR)), n - width)
    if not len(place):
        return None, width
    inside = (sums[place - 1] - sums[place - 1 - width]) / width
    outside = (sums[place + 1 + width] - sums[place + 1]) / width
    slope = np.maximum(profile[place - 1 - width] - profile[place - 2], 0) / (width - 1)
    step = inside - outside - slope * (width + 2)
    highest = np.array([step[max(0, i - 2) : i + 3].max() for i in range(len(step))])
    first = max(2 * width, math.floor(at * n) - BLUR)
    low = inside < profile[first - 2 * width : first].mean() - SKIRT_DB
    skirt = (place < at * n + SKIRT) & low
    steps = np.flatnonzero((step >= LATER_DB) & (step == highest) & ~skirt)
    return (int(place[steps[-1]]) if len(steps) else None), width


def _fallen(profile: np.ndarray, inside: int, before: int) -> float | None:
    """Share of an axis where power is EDGE_DB below its mean over `before` samples up to `inside`.

    Three quarters of a sample more: of an even number of lines one side has one less.
    """
    start = max(0, inside - before)
    level = float(profile[start:inside].mean()) - EDGE_DB
    below = np.flatnonzero(profile[start:] < level)
    if not len(below):
        return None
    under = start + int(below[0])
    above = profile[under - 1] if under else level
    crossing = under - (level - profile[under]) / max(float(above - profile[under]), 1e-6)
    return float(min(1.0, (crossing + 0.75) / len(profile)))


@dataclass(frozen=True)
class AirNoise:
    """Autocorrelation of complex noise, squared, from air.

    Attributes:
        along: (axis, lag - 1) for lags 1 and 2; diagonal: at lag (1, 1).
        error: standard error of each; inf without air.
    """

    along: tuple[tuple[float, float], tuple[float, float]]
    diagonal: float
    error: float

    @property
    def known(self) -> bool:
        return self.error < 1

    def share(self, axis: int) -> float:
        """Share w of an axis that sinc(w)^2 of the first lag tells."""
        shares = np.linspace(0.3, 1, 701)
        return float(shares[np.argmin(abs(np.sinc(shares) ** 2 - self.along[axis][0]))])


def air_noise(view: View) -> AirNoise:
    """Correlate the pattern of squared magnitudes in air with itself."""
    pattern, air = view.air_pattern, view.air
    n_air = int(air.sum())
    if n_air < LEAST_AIR:
        return AirNoise(((float("nan"),) * 2,) * 2, float("nan"), float("inf"))
    variance = pattern.square().sum() / n_air
    ny, nx = view.shape

    def correlation(dy: int, dx: int) -> float:
        first = (slice(None), slice(0, ny - dy), slice(max(0, -dx), nx - max(0, dx)))
        second = (slice(None), slice(dy, ny), slice(max(0, dx), nx - max(0, -dx)))
        pairs = (air[first] & air[second]).sum().clamp(min=1)
        found = (pattern[first] * pattern[second]).sum() / pairs / variance
        return float(found) + 1 / AIR_BOX**2  # what the local mean took away

    along = tuple((correlation(lag, 0), correlation(2 * lag, 0)) for lag in (1,)) + tuple(
        (correlation(0, lag), correlation(0, 2 * lag)) for lag in (1,)
    )
    diagonal = (correlation(1, 1) + correlation(1, -1)) / 2
    return AirNoise((along[0], along[1]), diagonal, n_air**-0.5)


@dataclass(frozen=True)
class Texture:
    """Noise in quiet tissue, where the magnitude is linear in the complex image.

    Attributes:
        missing: 1 less the ratio of second to first differences along both
            axes, over that of white noise: 0 if white, more if its finest part is damped.
        uneven_percent: how much weaker differences are along kx than along ky.
        stronger: times that they are as strong as noise in air, at least 1; nan without air.
    """

    missing: float
    uneven_percent: float
    stronger: float = math.nan


def texture(view: View) -> Texture:
    """Compare differences of the quietest third of the head's blocks.

    nan if they are too few, or much stronger than noise in air: then they are anatomy.
    """
    first = view.detail
    quiet = view.quiet[:, :-1, :-1]
    stronger = float("nan")
    if bool(view.air.any()) and view.air_noise > 0:
        stronger = max(view.head_noise / view.air_noise, 1.0)
    if int(quiet.sum()) < LEAST_AIR or stronger > ANATOMY:
        return Texture(float("nan"), float("nan"))
    along_x = first[:, :, 1:] - first[:, :, :-1]
    along_y = first[:, 1:] - first[:, :-1]
    named = {"first": first[:, :-1, :-1], "x": along_x[:, :-1], "y": along_y[:, :, :-1]}
    named["both"] = along_x[:, 1:] - along_x[:, :-1]
    counted = quiet.float() / quiet.sum()
    strength = {name: float((values.abs() * counted).sum()) for name, values in named.items()}
    missing = 1 - strength["both"] / (3 * max(strength["first"], 1e-12))
    uneven = 100 * math.log(max(strength["y"], 1e-12) / max(strength["x"], 1e-12))
    return Texture(missing, uneven, stronger)


@dataclass(frozen=True)
class Spectra:
    """All witnesses on one volume."""

    edges: tuple[Edge, Edge]
    air: AirNoise
    texture: Texture
    spectrum: Tensor
    judged: bool


def spectra(view: View) -> Spectra:
    power, air = view.spectrum, air_noise(view)
    edges = []
    for axis in (0, 1):
        profile = profile_db(power, axis)
        edge = find_edge(profile)
        if air.known and air.along[axis][0] > TELLING and abs(edge.at - air.share(axis)) > NEAR:
            told = find_edge(profile, near=air.share(axis))
            edge = told if told.drop_db > TOLD_DB else edge
        edges.append(edge)
    judged = min(view.shape) >= LEAST_MATRIX and bool(view.window.any())
    judged = judged and bool(view.magnitude.amax() > view.magnitude.amin())
    return Spectra((edges[0], edges[1]), air, texture(view), power, judged)
