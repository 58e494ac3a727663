"""Who is in the scanner: what is the subject's own in every contrast."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from synthlib import runs, tasks
from synthlib.scanner import anatomy, contrast, fields, lines, receivers, template
from synthlib.scanner.constants import LARMOR_HZ_PER_T
from synthlib.scanner.settings import ScanSettings, Subject
from synthlib.scanner.volume import Volume, grid_points

FIELD_GRID_MM = 3.0  # of susceptibility and conductivity
FIELD_LOW_MM, FIELD_HIGH_MM = (-108.0, -132.0, -144.0), (108.0, 126.0, 111.0)  # the head in it
PLACES = 4  # every so many grid points along an axis tell the noise of the receivers
AIR = anatomy.TISSUES.index("air")


@dataclass(frozen=True)
class Patient:
    """What is the subject's own, in all contrasts.

    Attributes:
        head: the anatomy; table: (4, tissue) of contrast.tissue_table.
        fields: channel 0 the error of B0 in Hz but for its jumps at tissue
            borders, channel 1 fields.jump_share, channel 2 the phase of
            conductivity in rad, channel 3 the share that is not air.
        chi_hz: (tissue,) susceptibility times B0.
        shading: of the transmit field; array: the receivers; channels: (coil,) the
            sensitivity of each by what it should be.
        pulsation: of the fluid.
    """

    head: anatomy.Head
    table: Tensor
    fields: Volume
    chi_hz: Tensor
    shading: contrast.Shading
    array: receivers.Array
    channels: Tensor
    pulsation: contrast.Pulsation


def admit(settings: ScanSettings, subject: Subject, device: torch.device) -> Patient:
    """Draw who is in the scanner, and solve the fields of this head.

    The last patient is kept: one who is scanned again, with other slices, contrasts or
    noise, need not be solved again.
    """
    own = ScanSettings(
        seed=settings.seed,
        field_t=settings.field_t,
        n_lesions=settings.n_lesions,
        mechanisms=tuple(name for name in settings.mechanisms if name == "shim"),
    )
    return _solve(own, subject, device)


@lru_cache(maxsize=1)
@tasks.torch_threads(1)
def _solve(settings: ScanSettings, subject: Subject, device: torch.device) -> Patient:
    template.prepare(str(torch.empty(0, device=device).device))  # "cuda:0", as of points
    head = anatomy.draw_head(subject_rng(settings, subject, "head"), settings.n_lesions).to(device)
    points = grid_points(FIELD_LOW_MM, FIELD_HIGH_MM, FIELD_GRID_MM, device)  # (z, y, x, 3)
    shares = anatomy.fractions_at(head, points, FIELD_GRID_MM)
    brain = anatomy.brain_share(head, shares, points)
    chi_hz = fields.draw_susceptibility(subject_rng(settings, subject, "susceptibility")).to(device)
    chi_hz = chi_hz * LARMOR_HZ_PER_T * settings.field_t
    on_grid = torch.tensordot(chi_hz, shares, dims=1)
    field_hz = fields.dipole_field(on_grid)
    # The grid blurs the jumps: they are taken off here and added where a slice is sampled.
    jump = fields.jump_share(on_grid)
    steady = field_hz + fields.shim(field_hz, points, brain) - on_grid * jump
    left_hz = fields.draw_shim_error(settings.field_t, subject_rng(settings, subject, "shim"))
    if "shim" in settings.mechanisms:
        steady = steady + fields.shim_error(left_hz, points)
    sigma = fields.conductivity(
        shares, settings.field_t, subject_rng(settings, subject, "conductivity")
    )
    conductive = fields.transceive_phase(sigma, FIELD_GRID_MM, settings.field_t)
    few = (slice(None, None, PLACES),) * 3
    return Patient(
        head=head,
        table=contrast.tissue_table(settings.field_t, subject_rng(settings, subject, "tissue")),
        fields=Volume(
            torch.stack([steady, jump, conductive, 1 - shares[AIR]]), FIELD_LOW_MM, FIELD_GRID_MM
        ),
        chi_hz=chi_hz,
        shading=contrast.draw_shading(settings.field_t, subject_rng(settings, subject, "shading")),
        array=receivers.build(
            subject.n_coils,
            points[few],
            sigma[few],
            brain[few],
            subject_rng(settings, subject, "array"),
            settings.field_t,
        ),
        channels=lines.draw_channels(subject_rng(settings, subject, "channels"), subject.n_coils),
        pulsation=contrast.draw_pulsation(subject_rng(settings, subject, "pulsation")),
    )


def subject_rng(settings: ScanSettings, subject: Subject, *names: object) -> torch.Generator:
    """The generator of one draw of one subject: no draw depends on another."""
    return runs.rng(settings.seed, subject.patient_id, *names)
