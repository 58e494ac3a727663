"""Moving blood and fluid: phase, loss in spin echoes, brightness in gradient echoes, ghosts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner.sequences import Protocol
from synthlib.scanner.volume import normal, uniform

# Mean speed grows with a vessel's radius where branching costs least work (Murray, PNAS 12:207,
# 1926). Speeds in the middle of veins and arteries, m/s per mm of radius and at most, such that
# the sagittal sinus has some 0.3 and the carotid 1 m/s; rough.
SYSTEMS = ("blood", "artery")  # tissues: of veins, of arteries
M_PER_S_PER_MM = {"blood": (0.075, 0.4), "artery": (0.4, 1.0)}
SPEED_SPREAD = 0.3  # relative s.d. of scans
FLUID_M_PER_S = 0.015  # s.d., where it moves most, while the centre of k-space is measured; rough
FLUID_REST = 0.3  # of this, elsewhere
FLUID_COURSE = (0.0, 0.0, 1.0)  # it moves up and down the canal, cisterns and aqueduct
# Pulse: 50 to 90 beats a minute; share of its signal by which a vessel comes and goes with it.
BEATS_PER_MIN = (50.0, 90.0)
ARTERIAL_SHARE, FLUID_SHARE = (0.3, 0.8), (0.01, 0.06)
PULSATILE_MM = 2.0  # radius below which arteries damp the pulse, in proportion; rough
LEAST_RAD = 1e-3  # a phase of resting blood, which the closed form divides by


@dataclass(frozen=True)
class Flow:
    """What moves in one scan; where it goes is the head's (anatomy.blood_course).

    Attributes:
        speeds: relative to M_PER_S_PER_MM, of each of SYSTEMS.
        fluid_m_per_s: along FLUID_COURSE, of fluid where it moves most; to and fro.
        beats_per_s: of the heart; start_rad: where it is at the first line.
        arterial, fluid: share of their signal that pulsates, of arteries of PULSATILE_MM and more.
    """

    speeds: dict[str, float]
    fluid_m_per_s: float
    beats_per_s: float
    start_rad: float
    arterial: float
    fluid: float

    def peak_m_per_s(self, system: str, radius_mm: Tensor) -> Tensor:
        """Speed (...) in the middle of a vessel of a radius (...)."""
        per_mm, most = M_PER_S_PER_MM[system]
        return self.speeds[system] * (per_mm * radius_mm).clamp(max=most)

    def arterial_share(self, radius_mm: Tensor) -> Tensor:
        """Share (...) of its signal by which an artery of a radius (...) comes and goes."""
        return self.arterial * (radius_mm / PULSATILE_MM).clamp(max=1)


def draw_flow(rng: torch.Generator) -> Flow:
    """One scan's speeds and heart."""
    spread = SPEED_SPREAD * normal(rng, len(SYSTEMS))
    return Flow(
        speeds={name: 1 + float(off) for name, off in zip(SYSTEMS, spread, strict=True)},
        fluid_m_per_s=FLUID_M_PER_S * float(normal(rng, 1)),
        beats_per_s=float(uniform(rng, *BEATS_PER_MIN)) / 60,
        start_rad=float(uniform(rng, 0, 2 * math.pi)),
        arterial=float(uniform(rng, *ARTERIAL_SHARE)),
        fluid=float(uniform(rng, *FLUID_SHARE)),
    )


def laminar(peak_rad: Tensor, escaped: Tensor | float = 0.0) -> Tensor:
    """Complex signal (...) of a vessel by that of resting blood.

    Speeds are spread evenly over the cross-section of a laminar flow, from 0 to the peak.
    Blood of the share u of the peak's speed is turned by u p and is out of the slice, for
    its last pulse, by a share u q: the mean of exp(i u p) (1 - u q) over u from 0 to
    U = min(1, 1 / q) is ((1 - q U) exp(i p U) - 1) / (i p) - q (exp(i p U) - 1) / p^2.
    Without losses it is exp(i p / 2) sin(p / 2) / (p / 2).

    Args:
        peak_rad: p (...), what the middle of the vessel is turned by.
        escaped: q (...) of :func:`escaped`.

    Source: Moran, Magn Reson Imaging 1:197 (1982), for the phase; Axel, AJR 143:1157 (1984),
    for the loss.
    """
    p = peak_rad.double()
    p = torch.where(p.abs() < LEAST_RAD, torch.where(p < 0, -LEAST_RAD, LEAST_RAD), p)
    q = torch.as_tensor(escaped, dtype=p.dtype, device=p.device).expand_as(p)
    until = 1 / q.clamp(min=1)
    turn = torch.polar(torch.ones_like(p), p * until)
    signal = ((1 - q * until) * turn - 1) / (1j * p) - q * (turn - 1) / p.square()
    return signal.to(torch.complex64 if peak_rad.dtype == torch.float32 else torch.complex128)


def escaped(
    protocol: Protocol,
    across_m_per_s: Tensor,
    thickness_mm: float,
    along_m_per_s: Tensor | float = 0,
) -> Tensor:
    """Which part of a slice's thickness blood has crossed by its last refocusing pulse (...).

    What has left the slice between excitation and refocusing gives no echo. The last pulse
    of a train comes half a spacing before TE. In a train the moments of the phase encoding
    differ from echo to echo, so that what moves in the plane loses its coherence, too: half as
    soon is chosen, for angiograms show it void in the sinuses. Zero in gradient echoes.

    Args:
        across_m_per_s: speed (...) along the slice's normal; along_m_per_s: in its plane.

    Source: Axel, AJR 143:1157 (1984).
    """
    if not protocol.is_spin_echo:
        return torch.zeros_like(across_m_per_s)
    last_pulse_ms = protocol.te_ms - protocol.interval_ms / 2
    moved = across_m_per_s.abs()
    if protocol.train > 1:
        moved = torch.hypot(moved, torch.as_tensor(along_m_per_s) / 2)
    return moved * last_pulse_ms / thickness_mm


def fluid_speed(motion: Tensor) -> Tensor:
    """Speed of CSF by its greatest (...), from contrast.csf_motion (...)."""
    return FLUID_REST + (1 - FLUID_REST) * motion


def inflow_gain(
    protocol: Protocol, t1_ms: Tensor | float, speed_m_per_s: Tensor, excited_mm: float
) -> Tensor:
    """How much brighter flowing blood is than resting blood in a spoiled gradient echo (...).

    Blood that has seen n pulses has M = M* + (1 - M*) q^n, q = cos(a) exp(-TR/T1), M* the
    steady state; in a slice of d mm there is blood of n = 0 to N = d / (v TR) pulses, in
    equal shares. 1 for other sequences. (Blood in the veins of a slab that holds the head has
    rested in its capillaries for longer than T1: it has no inflow.)

    Args:
        speed_m_per_s: (...) across the slice; excited_mm: d, of the slice or slab.

    Source: Haacke, Brown et al., Magnetic Resonance Imaging (1999), chapter 24.
    """
    if protocol.flip_deg is None or protocol.ti_ms is not None:
        return torch.ones_like(speed_m_per_s)
    flip = math.radians(protocol.flip_deg)
    after_tr = torch.exp(-protocol.tr_ms / torch.as_tensor(t1_ms))
    kept = math.cos(flip) * after_tr
    steady = (1 - after_tr) / (1 - kept)
    pulses = excited_mm / (speed_m_per_s.abs() * protocol.tr_ms).clamp(min=1e-4)
    whole = pulses.floor()
    fresh = (1 - kept**whole) / (1 - kept) + (pulses - whole) * kept**whole
    return (steady + (1 - steady) * fresh / pulses) / steady


def pulsation(flow: Flow, times_ms: Tensor) -> Tensor:
    """By how much pulsating signal is off its mean in each column of kx: float32 (n_lines,).

    sin(2 pi f t + start), t of echoes.line_times_ms. With one line a TR the ghosts lie f TR
    n_lines pixels (modulo n_lines) on both sides of the vessel, each half as strong as the
    modulation.

    Source: Wood & Henkelman, Med Phys 12:143 (1985).
    """
    seconds = times_ms.double() / 1000
    return torch.sin(2 * math.pi * flow.beats_per_s * seconds + flow.start_rad).float()
