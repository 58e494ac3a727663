"""Phase that the gradients leave: eddy currents and concomitant fields."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner.anatomy import ORIENTATIONS
from synthlib.scanner.constants import LARMOR_HZ_PER_T
from synthlib.scanner.sequences import Protocol
from synthlib.scanner.volume import normal

# Rad at 10 cm from the coil's centre, s.d. between scans: smooth phase of the first and second
# order in space that scanners leave after pre-emphasis; Bernstein, King, Zhou, Handbook of MRI
# Pulse Sequences (2004), 10.3, gives its form, the amounts are rough.
LINEAR_RAD, QUADRATIC_RAD = 0.3, 0.25
ECHO_DIFFERENCE = 0.35  # of this, s.d. between odd and even echoes
CENTRE_MM = 15.0  # s.d. of its centre along each axis
# Lobes that are alike on both sides of a refocusing pulse cancel, those of a gradient echo do not.
# What is left in a spin echo: a crusher that is bridged with the slice's rephasing, and the
# readout's strong prephasing against its flat top; rough.
BRIDGED_T_PER_M, BRIDGED_MS = 0.025, 1.5
PREPHASING_T_PER_M, PREPHASING_MS = 0.020, 1.0
# Crushers that dephase a slice of 5 mm by eight half turns (Bernstein, King, Zhou, 10.2: four at
# least).
CRUSHER_T_PER_M, CRUSHER_MS = 0.020, 1.0
SLICE_HALF_PULSE_MS = 1.5  # from the middle of the excitation to its end
SLICE_TIME_BANDWIDTH = 4.0


@dataclass(frozen=True)
class EddyCurrents:
    """Smooth phase of one scan, a polynomial of second order about a centre of its own.

    Attributes:
        centre_mm: (3,); linear: (2, 3) rad per 10 cm; quadratic: (2, 3, 3) rad per (10 cm)^2,
            symmetric; the first of both holds in the echo at the centre of k-space, the
            second is added in echoes of the other parity.
    """

    centre_mm: Tensor
    linear: Tensor
    quadratic: Tensor

    def at(self, points_mm: Tensor, which: int = 0) -> Tensor:
        """Radians at scanner positions (..., 3): 0 of the central echo, 1 what others add."""
        away = (points_mm - self.centre_mm.to(points_mm.device)) / 100
        form = away @ self.quadratic[which].to(points_mm.device)
        form = form + self.linear[which].to(points_mm.device)
        return (form * away).sum(-1)


def draw_eddy_currents(rng: torch.Generator) -> EddyCurrents:
    """One scan's, asymmetric about the isocentre."""
    share = torch.tensor([1.0, ECHO_DIFFERENCE])
    linear = LINEAR_RAD * normal(rng, 2, 3) * share[:, None]
    form = QUADRATIC_RAD * normal(rng, 2, 3, 3) * share[:, None, None]
    return EddyCurrents(CENTRE_MM * normal(rng, 3), linear, (form + form.mT) / 2)


def concomitant_hz(gradient_t_per_m: Tensor, points_mm: Tensor, field_t: float) -> Tensor:
    """Frequency of the field that Maxwell's equations add to a gradient, to second order.

    ((Gx z - Gz x / 2)^2 + (Gy z - Gz y / 2)^2) gamma / (2 B0); for Gz alone
    Gz^2 (x^2 + y^2) / (8 B0), for Gx alone Gx^2 z^2 / (2 B0).

    Args:
        gradient_t_per_m: (3,) along x, y, z; points_mm: (..., 3), z along B0.

    Returns:
        Hz (...), >= 0.

    Source: Bernstein et al., MRM 39:300 (1998).
    """
    x, y, z = (points_mm / 1000).unbind(-1)
    gx, gy, gz = gradient_t_per_m.tolist()
    across = (gx * z - gz * x / 2).square() + (gy * z - gz * y / 2).square()
    return LARMOR_HZ_PER_T * across / (2 * field_t)


def concomitant_phase(
    protocol: Protocol,
    orientation: str,
    field_t: float,
    fov_mm: float,
    thickness_mm: float,
    rows: int,
    points_mm: Tensor,
) -> Tensor:
    """Radians (...) of a sequence's lobes that nothing cancels, at scanner positions (..., 3).

    Args:
        fov_mm: along the readout; rows: of the image.
    """
    down, _, through = (torch.tensor(axis) for axis in ORIENTATIONS[orientation])
    if protocol.is_spin_echo:
        lobes = [
            (BRIDGED_T_PER_M * through, BRIDGED_MS),
            (PREPHASING_T_PER_M * down, PREPHASING_MS),
        ]
    else:
        # each lobe and the one that undoes its area, of the same strength
        half_ms = rows / (2 * protocol.bandwidth_khz)
        lobes = [
            (slice_gradient(thickness_mm) * through, 2 * SLICE_HALF_PULSE_MS),
            (readout_gradient(protocol, fov_mm) * down, 2 * half_ms),
        ]
    turns = [concomitant_hz(g, points_mm, field_t) * ms / 1000 for g, ms in lobes]
    return 2 * math.pi * (turns[0] + turns[1])


def readout_gradient(protocol: Protocol, fov_mm: float) -> float:
    """T/m: the bandwidth over the field of view."""
    return protocol.bandwidth_khz * 1e6 / (LARMOR_HZ_PER_T * fov_mm)


def slice_gradient(thickness_mm: float) -> float:
    """T/m: the pulse's bandwidth over the slice."""
    hertz = SLICE_TIME_BANDWIDTH / (2 * SLICE_HALF_PULSE_MS / 1000)
    return hertz * 1000 / (LARMOR_HZ_PER_T * thickness_mm)


def first_moments(
    protocol: Protocol, fov_mm: float, thickness_mm: float, rows: int
) -> tuple[float, float]:
    """Radians per m/s along the readout and along the slice's normal.

    A lobe -G of length T followed by G, the echo after T: M1 = G T^2. The slice's: G
    for T after the middle of the pulse, then -G for T: -G T^2. Of spin echoes, whose
    refocusing pulse inverts what was before it: the slice's lobes, G T^2; the gradient during
    the refocusing pulse, G for T on either side, G T^2 again; a prephasing lobe right after the
    excitation and the readout's half, an echo later, each of the area A = G T: A times the time
    between their middles; crushers, G for d around the refocusing pulse, their middles D apart:
    G d D. Even echoes of a train rephase what odd ones turn, and pulses below 180 degrees mix
    both: half of it is taken.

    Source: Waluch & Bradley, J Comput Assist Tomogr 8:594 (1984); Bernstein et al. (2004), 10.4.
    """
    if protocol.flow_compensated:
        return 0.0, 0.0
    share = 0.5 if protocol.is_spin_echo and protocol.train > 1 else 1.0
    half_s = rows / (2000 * protocol.bandwidth_khz)
    pulse_s = SLICE_HALF_PULSE_MS / 1000
    per_tesla = 2 * math.pi * LARMOR_HZ_PER_T * share
    area = readout_gradient(protocol, fov_mm) * half_s
    across = -slice_gradient(thickness_mm) * pulse_s**2
    along = area * half_s
    if protocol.is_spin_echo:
        echo_s = protocol.interval_ms / 1000
        along = area * (echo_s - half_s / 2 - pulse_s - PREPHASING_MS / 2000)
        crusher_s = CRUSHER_MS / 1000
        across = 2 * slice_gradient(thickness_mm) * pulse_s**2
        across += CRUSHER_T_PER_M * crusher_s * (crusher_s + 2 * pulse_s)
    return per_tesla * along, per_tesla * across
