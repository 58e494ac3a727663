"""What one slice looks like before any coil: tissue, its signal and its phase, in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.scanner import anatomy, contrast, distortion, echoes, flow, gradients
from synthlib.scanner.constants import fat_shift_hz
from synthlib.scanner.contrast import Protocol
from synthlib.scanner.measurement import Measurement
from synthlib.scanner.patient import Patient
from synthlib.scanner.samples import Samples, body_box, embed, sample, to_pixels
from synthlib.scanner.settings import ScanSettings

FINE_MM = 0.8  # largest step at which a slice is sampled in its plane
THROUGH = 3  # samples through a slice
AIR, FAT, CSF, BLOOD, ARTERY = (
    anatomy.TISSUES.index(name) for name in ("air", "fat", "csf", "blood", "artery")
)


@dataclass(frozen=True)
class Images:
    """One contrast of a slice on the reconstruction matrix, complex (y, x), before any coil.

    Attributes:
        on_resonance: with fat on resonance; image: as it is; pulsatile: what of it
            comes and goes with the heart.
        flow, refocusing: (y, x) rad, the phase that each adds, mean over a pixel's body.
    """

    on_resonance: Tensor
    image: Tensor
    pulsatile: Tensor
    flow: Tensor
    refocusing: Tensor


@dataclass(frozen=True)
class Slice:
    """One slice on the reconstruction matrix, before any coil.

    Attributes:
        labels: uint8 (y, x), as anatomy.label_map; brain: (y, x) share of anatomy.brain_fraction.
        field_hz: (y, x) error of B0; conductive: (y, x) rad.
        images: by contrast.
    """

    labels: Tensor
    brain: Tensor
    field_hz: Tensor
    conductive: Tensor
    images: dict[str, Images]


def image_slice(
    settings: ScanSettings,
    patient: Patient,
    measurements: dict[str, Measurement],
    centre: Tensor,
) -> Slice:
    """One slice, in all contrasts, before any coil.

    The slice is sampled finer than its pixels and through its thickness; what
    is within a pixel adds up with its phase, and k-space ends where the
    scanner's ends, so that edges ring as in measured images.
    """
    finer = max(2, math.ceil(max(settings.spacing_mm) / FINE_MM))
    fine = (finer * settings.matrix[0], finer * settings.matrix[1])
    depths = ((torch.arange(THROUGH) + 0.5) / THROUGH - 0.5) * settings.thickness_mm
    points = anatomy.positions(
        fine, settings.fov_mm, centre + depths.to(centre.device), settings.orientation
    )  # (through, y, x, 3)
    step_mm = max(settings.spacing_mm) / finer
    box = body_box(patient, points, min(settings.spacing_mm) / finer)
    row_mm = settings.spacing_mm[0] / finer
    samples = sample(patient, points[:, *box], step_mm, row_mm)  # beyond the box is air
    body = 1 - samples.shares[AIR]  # what is air has a field, too, but no signal
    means = [
        samples.shares.mean(1),
        (body * torch.stack([samples.field_hz, samples.conductive])).mean(1),
    ]
    by_contrast = {}
    for name, measurement in measurements.items():
        parts, turned, kinds = _parts(settings, patient, measurement, samples)
        whole = arrays.resample(embed(parts, box, fine), settings.matrix)  # (part, y, x)
        by_contrast[name] = _joined(settings, measurement, whole, kinds, centre)
        means.append((turned * body).mean(1))
    pooled = embed(torch.cat(means), box, fine)
    pooled[AIR] += 1 - embed(torch.ones_like(pooled[AIR, *box]), box, fine)
    pooled = to_pixels(pooled, finer, settings.matrix)
    n = len(anatomy.TISSUES)
    field_hz, conductive, *phases = pooled[n:] / (1 - pooled[AIR]).clamp(min=1e-6)
    images = {
        name: Images(*pictures, phases[2 * i], phases[2 * i + 1])
        for i, (name, pictures) in enumerate(by_contrast.items())
    }
    shares = pooled[:n]
    return Slice(
        anatomy.label_map(shares), anatomy.brain_fraction(shares), field_hz, conductive, images
    )


def _parts(
    settings: ScanSettings, patient: Patient, measurement: Measurement, samples: Samples
) -> tuple[Tensor, Tensor, list[float]]:
    """What adds up to one contrast, complex (part, y, x): water by its T2, fat, what pulsates.

    Returns:
        the parts; the phases of flow and of refocusing (2, through, y, x); T2 in ms of
        each part of water.
    """
    on, protocol = settings.mechanisms, measurement.protocol
    shares = samples.shares
    signal = contrast.signals(patient.table, protocol, settings.field_t).to(shares.device)
    lipid = contrast.lipid_signal(patient.table, protocol, settings.field_t)
    signal[FAT] -= lipid  # the water of fat tissue
    if "chemical_shift" not in on:
        lipid = contrast.lipid_signal(patient.table, protocol, settings.field_t, displaced=False)
    train = "echo_train" in on and protocol.is_spin_echo and protocol.train > 1
    t2_ms = list(echoes.T2_CLASSES_MS) if train else [math.inf]
    kind = torch.zeros(len(signal), dtype=torch.long)
    if train:
        apart = patient.table[2].log()[:, None] - torch.tensor(t2_ms).log()
        kind = apart.abs().argmin(1)
    weights = torch.nn.functional.one_hot(kind, len(t2_ms)).to(signal) * signal[:, None]
    water = torch.tensordot(weights.mT.contiguous(), shares, dims=1)  # (t2, through, y, x)
    parts = torch.cat([water, lipid * shares[FAT][None], torch.zeros_like(shares[:1])])
    parts = torch.complex(parts, torch.zeros_like(parts))
    phases = torch.zeros(2, *samples.field_hz.shape, device=shares.device)
    if "flow" in on:
        _add_flow(settings, patient, measurement, samples, signal, kind, parts, phases[0])
    factor = samples.shading
    phase = sum(measurement.smooth_phases(settings, samples.points).values(), phases[1])
    if "susceptibility" in on:
        phase = phase + 2 * math.pi * protocol.dephasing_ms / 1000 * samples.field_hz
        factor = factor * samples.coherent(protocol.dephasing_ms)
    if "conductivity" in on:
        phase = phase + samples.conductive
    turned = torch.polar(factor, phase)
    if "refocusing" in on and protocol.is_spin_echo:
        echo = echoes.refocusing(samples.unrefocused, samples.field_hz, protocol)
        turned = turned * echo
        phases[1] = echo.angle()
    images = torch.stack([(part * turned).mean(0) for part in parts])
    if "distortion" in on:
        per_hz = settings.fov_mm[0] / samples.row_mm / (1000 * protocol.bandwidth_khz)  # samples
        images = distortion.displace(images, samples.water_hz * per_hz)
    return images, phases, t2_ms


def _add_flow(
    settings: ScanSettings,
    patient: Patient,
    measurement: Measurement,
    samples: Samples,
    signal: Tensor,
    kind: Tensor,
    parts: Tensor,
    phase: Tensor,
) -> None:
    """Give vessels (in `parts`, `phase`) their flow, CSF its inflow, and what pulsates its part.

    Only the few samples that hold any blood or fluid are looked at.
    """
    protocol, moving = measurement.protocol, measurement.flow
    down, _, through = (
        torch.tensor(axis, device=phase.device)
        for axis in anatomy.ORIENTATIONS[settings.orientation]
    )
    excited_mm = protocol.slab_mm or settings.thickness_mm
    along_read, along_slice = gradients.first_moments(
        protocol, settings.fov_mm[0], excited_mm, settings.matrix[0]
    )
    for tissue in (BLOOD, ARTERY):
        system = anatomy.TISSUES[tissue]
        here = samples.shares[tissue] > 0
        if not bool(here.any()):
            continue
        share, points = samples.shares[tissue][here], samples.points[here]
        course, radius_mm = anatomy.blood_course(patient.head, points, system)
        peak = moving.peak_m_per_s(system, radius_mm)
        across = peak * (course @ through)
        along = (peak.square() - across.square()).clamp(min=0).sqrt()
        peak_rad = along_read * peak * (course @ down) + along_slice * across
        resting = signal[tissue] * share
        if tissue == ARTERY or protocol.slab_mm is None:
            t1_ms = patient.table[1, tissue]
            resting = resting * flow.inflow_gain(protocol, t1_ms, across / 2, excited_mm)
        lost = flow.escaped(protocol, across, excited_mm, along)
        flowing = flow.laminar(peak_rad, lost)
        parts[int(kind[tissue])][here] += resting * flowing - signal[tissue] * share
        phase[here] += share * flowing.angle()
        if tissue == ARTERY:
            parts[-1][here] += moving.arterial_share(radius_mm) * resting * flowing
    here = samples.shares[CSF] > 0
    share, points = samples.shares[CSF][here], samples.points[here]
    where = anatomy.to_template(patient.head, points)
    motion = contrast.csf_motion(where)
    added = share * patient.pulsation.added_signal(where, patient.table, protocol)
    course = torch.tensor(flow.FLUID_COURSE, device=phase.device)
    per_m_per_s = float(along_read * course @ down + along_slice * course @ through)
    angle = moving.fluid_m_per_s * flow.fluid_speed(motion) * per_m_per_s
    still = signal[CSF] * share
    wet = torch.polar(torch.ones_like(angle), angle) * (still + added)
    parts[int(kind[CSF])][here] += wet - still
    phase[here] += share * angle
    parts[-1][here] += moving.fluid * motion * wet


def _joined(
    settings: ScanSettings,
    measurement: Measurement,
    parts: Tensor,
    t2_ms: list[float],
    centre: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Parts (part, y, x) on the matrix to the image with fat on resonance, as it is, and pulsating.

    Echoes of a train have each their decay and their eddy currents.
    """
    on, protocol = settings.mechanisms, measurement.protocol
    *water, fat, pulsatile = parts
    shifted = fat
    if "chemical_shift" in on:
        shifted = _shift_fat(
            fat, fat_shift_hz(settings.field_t), protocol.dephasing_ms / 1000, protocol
        )
    if not protocol.is_spin_echo or protocol.train == 1:
        return sum(water, fat), sum(water, shifted), pulsatile
    difference = None
    if "eddy_currents" in on:
        points = anatomy.positions(
            settings.matrix, settings.fov_mm, centre[None], settings.orientation
        )[0]
        difference = measurement.eddy_currents.at(points, 1)
    elif "echo_train" not in on:
        return sum(water, fat), sum(water, shifted), pulsatile
    brain_ms = echoes.T2_CLASSES_MS[1] if "echo_train" in on else math.inf
    wet, *lipids = (
        echoes.through_train(torch.stack(images), times, protocol, difference)
        for images, times in (
            (water, tuple(t2_ms)),
            ([fat], (brain_ms,)),
            ([shifted], (brain_ms,)),
        )
    )
    return wet + lipids[0], wet + lipids[1], pulsatile


def _shift_fat(image: Tensor, fat_hz: float, late_s: float, protocol: Protocol) -> Tensor:
    """Fat (y, x) off resonance: turned by frequency times delay, displaced along the readout."""
    ny = image.shape[-2]
    pixels = ny * fat_hz / (1000 * protocol.bandwidth_khz)
    k = (torch.arange(ny, device=image.device) - ny // 2) / ny
    ramp = torch.polar(torch.ones_like(k), -2 * math.pi * (k * pixels - fat_hz * late_s))
    return arrays.ifft2c(arrays.fft2c(image) * ramp[:, None])
