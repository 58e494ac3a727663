"""Receive arrays around a head: what their channels see, and their noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from torch import Tensor

from synthlib.scanner.induction import loop_field
from synthlib.scanner.loops import Loops, design_of, draw_loops
from synthlib.scanner.receiver_noise import noise_covariance
from synthlib.scanner.volume import normal, uniform

COARSE_MM = 8.0  # fields of the loops vary on the scale of their distance, which is larger
GAIN_SPREAD = 0.12  # relative s.d. of the channels' gains, of amplifiers and cables; chosen


@dataclass(frozen=True)
class Array:
    """A receive array around one head.

    Attributes:
        loops: the wires.
        channels: complex64 (coil, loop): coupling, gains and cable phases, from
            the loops' own signals to the channels', scaled so that the root sum
            of squares averages 1 over the brain. A volume coil has one channel:
            all loops added in phase at the isocentre.
        covariance: complex64 (coil, coil) of the channels' noise, Hermitian,
            the mean of its diagonal 1.
    """

    loops: Loops
    channels: Tensor
    covariance: Tensor

    def sensitivities(self, points_mm: Tensor) -> Tensor:
        """Complex receive sensitivities, by reciprocity.

        Args:
            points_mm: (slice, y, x, 3), a regular grid in y and x.

        Returns:
            complex64 (slice, coil, y, x).

        Source: Hoult, Concepts Magn Reson 12:173 (2000).
        """
        coarse, rows, columns = _thinned(points_mm)
        seen = _seen(loop_field(self.loops, coarse))  # (loop, slice, y, x)
        mixed = torch.einsum("cl,lsyx->scyx", self.channels, seen)
        return rows @ mixed @ columns.mT


def build(
    n_coils: int,
    places_mm: Tensor,
    sigma: Tensor,
    brain: Tensor,
    rng: torch.Generator,
    field_t: float = 3.0,
) -> Array:
    """An array on a head: where its loops are, how they couple, their noise and gains.

    Every channel has a gain and a constant phase of its own, as cables and
    amplifiers give them, on what :func:`receiver_noise.noise_covariance` says.

    Args:
        n_coils: channels; 1 is a volume coil.
        places_mm: (z, y, x, 3) regular grid of equal steps over the head and around it.
        sigma: S/m (z, y, x), 0 outside of the body.
        brain: (z, y, x) weights of the mean that sets the scale, >= 0.
        rng: of everything drawn.

    Raises:
        ValueError: fewer than one coil.
    """
    loops = draw_loops(n_coils, rng).to(places_mm.device)
    n_loops = len(loops.radii_mm)
    own_noise = design_of(n_coils).own_noise
    coupling, noise = noise_covariance(loops, places_mm, sigma, own_noise, field_t)
    if n_coils == 1:
        centre = _seen(loop_field(loops, torch.zeros(1, 3, device=places_mm.device)))[:, 0]
        channels = (coupling @ centre).conj().sgn()[None] @ coupling
    else:
        gain = (1 + GAIN_SPREAD * normal(rng, n_loops)).to(places_mm.device)
        turn = (2 * math.pi * uniform(rng, 0, 1, n_loops)).to(places_mm.device)
        channels = torch.polar(gain, turn)[:, None] * coupling
    covariance = channels @ noise.to(channels.dtype) @ channels.mH
    covariance = covariance / covariance.diagonal().real.mean()
    inside, share = places_mm[brain > 0], brain[brain > 0]
    seen = channels @ _seen(loop_field(loops, inside))  # (coil, place)
    combined = seen.abs().square().sum(0).sqrt()
    channels = channels * (share.sum() / (combined * share).sum())
    return Array(loops, channels, covariance)


def _seen(field: Tensor) -> Tensor:
    """What a loop receives where it would make this field (..., 3): B1- = Bx - i By."""
    return torch.complex(field[..., 0], -field[..., 1])


def _thinned(points_mm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every few rows and columns of a regular grid, and the cubic splines that lead back."""
    ny, nx = points_mm.shape[1:3]
    chosen, back = [], []
    for axis, n in ((1, ny), (2, nx)):
        first = points_mm.select(axis, 0)[0, 0]
        step = float((points_mm.select(axis, 1)[0, 0] - first).norm())
        stride = max(1, int(COARSE_MM / step))
        n_coarse = max(4, -(-(n - 1) // stride) + 1)
        knots = np.linspace(0, n - 1, n_coarse)
        chosen.append(torch.from_numpy(knots))
        spline = make_interp_spline(knots, np.eye(n_coarse), k=3)(np.arange(n))
        back.append(torch.from_numpy(spline).to(points_mm.device, torch.complex64))
    rows, columns = (index.to(points_mm.device, points_mm.dtype) for index in chosen)
    origin = points_mm[:, :1, :1]
    down = points_mm[:, 1:2, :1] - origin
    right = points_mm[:, :1, 1:2] - origin
    coarse = origin + rows[:, None, None] * down + columns[:, None] * right
    return coarse, back[0], back[1]
