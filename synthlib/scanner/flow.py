"""Moving blood: its phase, its brightness in gradient echoes, its ghosts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner.contrast import MOST_INFLOW
from synthlib.scanner.sequences import Protocol
from synthlib.scanner.tissues import TISSUE_TIMES
from synthlib.scanner.volume import normal, uniform

SYSTEMS = ("blood", "artery", "csf")  # tissues that flow: veins, arteries, fluid
FLUID_M_PER_S = 0.015  # s.d., where it moves most, while the centre of k-space is measured; rough
FLUID_REST = 0.3  # of this, elsewhere
WAVES = 6
# The large vessels' course: veins of the midline (sagittal and straight sinus, internal cerebral
# veins) flow backwards, the arteries below the circle of Willis upwards. Scanner mm; LARGE is how
# much this counts beside the drawn course of branches.
MIDLINE_MM, NECK_MM, LARGE = 12.0, -32.0, 6.0
COURSE_MM = (40.0, 120.0)  # wavelengths at which a system's vessels change their direction
SPEED_SPREAD = 0.3  # relative s.d. of subjects
# Pulse: 50 to 90 beats a minute; share of its signal by which a vessel comes and goes with it.
BEATS_PER_MIN = (50.0, 90.0)
ARTERIAL_SHARE, FLUID_SHARE = (0.3, 0.8), (0.05, 0.25)


@dataclass(frozen=True)
class Flow:
    """What moves in one scan.

    Attributes:
        peak_m_per_s: (system,) speed in the middle of the vessels of SYSTEMS, of fluid where
            it moves most.
        waves: (system, wave, 3) rad per mm; starts: (system, wave) rad; directions:
            (system, wave, 3): their sum is the course of the vessels.
        beats_per_s: of the heart; start_rad: where it is at the first line.
        arterial, fluid: share of their signal that pulsates.
    """

    peak_m_per_s: Tensor
    waves: Tensor
    starts: Tensor
    directions: Tensor
    beats_per_s: float
    start_rad: float
    arterial: float
    fluid: float

    def course(self, system: int, points_mm: Tensor) -> Tensor:
        """Unit vectors (..., 3) along the vessels of a system at scanner positions (..., 3)."""
        waves, starts, directions = (
            part[system].to(points_mm.device) for part in (self.waves, self.starts, self.directions)
        )
        course = torch.sin(points_mm @ waves.T + starts) @ directions
        x, _, z = points_mm.unbind(-1)
        if SYSTEMS[system] == "blood":
            course[..., 1] -= LARGE * torch.exp(-(x / MIDLINE_MM).square())
        elif SYSTEMS[system] == "artery":
            course[..., 2] += LARGE * torch.sigmoid((NECK_MM - z) / 8)
        return torch.nn.functional.normalize(course, dim=-1)


def draw_flow(rng: torch.Generator) -> Flow:
    """One scan's speeds, courses of the vessels and heart."""
    n = len(SYSTEMS)
    peak = torch.tensor([TISSUE_TIMES[name].peak_mm_per_s / 1000 for name in SYSTEMS])
    waves = torch.nn.functional.normalize(torch.randn(n, WAVES, 3, generator=rng), dim=-1)
    peak = peak * (1 + SPEED_SPREAD * normal(rng, n))
    peak[SYSTEMS.index("csf")] = FLUID_M_PER_S * float(normal(rng, 1))
    return Flow(
        peak_m_per_s=peak,
        waves=waves * 2 * math.pi / uniform(rng, *COURSE_MM, n, WAVES, 1),
        starts=uniform(rng, 0, 2 * math.pi, n, WAVES),
        directions=torch.randn(n, WAVES, 3, generator=rng),
        beats_per_s=float(uniform(rng, *BEATS_PER_MIN)) / 60,
        start_rad=float(uniform(rng, 0, 2 * math.pi)),
        arterial=float(uniform(rng, *ARTERIAL_SHARE)),
        fluid=float(uniform(rng, *FLUID_SHARE)),
    )


def laminar(peak_rad: Tensor) -> Tensor:
    """Complex signal (...) of a vessel whose middle is turned by peak_rad (...) and its wall not.

    Speeds are spread evenly over the cross-section of a laminar flow: the mean of
    exp(i u) for u from 0 to the peak p is exp(i p / 2) sin(p / 2) / (p / 2).

    Source: Moran, Magn Reson Imaging 1:197 (1982).
    """
    return torch.polar(torch.sinc(peak_rad / (2 * math.pi)).abs(), laminar_phase(peak_rad))


def laminar_phase(peak_rad: Tensor) -> Tensor:
    """Radians (...) of :func:`laminar`, half the peak's and in every other lobe half a turn."""
    flipped = torch.sinc(peak_rad / (2 * math.pi)) < 0
    return peak_rad / 2 + math.pi * flipped


def fluid_speed(inflow: Tensor) -> Tensor:
    """Speed of CSF by its greatest (...), from the share that flows in (contrast.Pulsation)."""
    return FLUID_REST + (1 - FLUID_REST) * inflow / MOST_INFLOW


def inflow_gain(
    protocol: Protocol, t1_ms: Tensor | float, speed_m_per_s: Tensor, excited_mm: float
) -> Tensor:
    """How much brighter flowing blood is than resting blood in a spoiled gradient echo (...).

    Blood that has seen n pulses has M = M* + (1 - M*) q^n, q = cos(a) exp(-TR/T1), M* the
    steady state; in a slice of d mm there is blood of n = 0 to N = d / (v TR) pulses, in
    equal shares. 1 for other sequences.

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
