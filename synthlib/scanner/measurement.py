"""One scan of one contrast: its sequence, and what timing, gradients and blood are in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from synthlib.scanner import echoes, fields, flow, gradients
from synthlib.scanner.patient import subject_rng
from synthlib.scanner.sequences import Protocol, protocol_at
from synthlib.scanner.settings import ScanSettings, Subject
from synthlib.scanner.volume import normal

LATE_MS = 0.1  # s.d. between scans of how late the readout of a spin echo is


@dataclass(frozen=True)
class Measurement:
    """A scan's protocol, with its own late_ms, and what was drawn for it."""

    protocol: Protocol
    timing: fields.Timing
    eddy_currents: gradients.EddyCurrents
    flow: flow.Flow

    def times_ms(self, settings: ScanSettings) -> Tensor:
        """(x,) when each column of kx is measured."""
        return echoes.line_times_ms(settings.matrix[1], self.protocol, settings.thickness_mm)

    def smooth_phases(self, settings: ScanSettings, points_mm: Tensor) -> dict[str, Tensor]:
        """Mechanism to its phase in rad (...), at scanner positions (..., 3); zero when off."""
        parts = {
            "timing": lambda: self.timing.at(points_mm),
            "eddy_currents": lambda: self.eddy_currents.at(points_mm),
            "concomitant": lambda: gradients.concomitant_phase(
                self.protocol,
                settings.orientation,
                settings.field_t,
                settings.fov_mm[0],
                self.protocol.slab_mm or settings.thickness_mm,
                settings.matrix[0],
                points_mm,
            ),
        }
        return {
            name: part()
            if name in settings.mechanisms
            else torch.zeros(points_mm.shape[:-1], device=points_mm.device)
            for name, part in parts.items()
        }


def draw_measurement(settings: ScanSettings, subject: Subject, name: str) -> Measurement:
    """What is one scan's own; no draw depends on which mechanisms are on."""
    protocol = protocol_at(name, settings.field_t)
    off_ms = LATE_MS * float(normal(subject_rng(settings, subject, name, "late"), 1))
    if protocol.is_spin_echo and "timing" in settings.mechanisms:
        protocol = replace(protocol, late_ms=protocol.late_ms + off_ms)
    return Measurement(
        protocol=protocol,
        timing=fields.draw_timing(
            settings.fov_mm, settings.orientation, subject_rng(settings, subject, name, "timing")
        ),
        eddy_currents=gradients.draw_eddy_currents(
            subject_rng(settings, subject, name, "eddy currents")
        ),
        flow=flow.draw_flow(subject_rng(settings, subject, name, "flow")),
    )
