"""What one slice looks like before any coil: tissue, its signal and its phase, in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.scanner import anatomy, contrast, fields
from synthlib.scanner.contrast import Protocol
from synthlib.scanner.patient import FIELD_GRID_MM, Patient
from synthlib.scanner.settings import ScanSettings

FINE_MM = 0.8  # largest step at which a slice is sampled in its plane
THROUGH = 3  # samples through a slice
BODY_MARGIN_MM = 6.0  # of air around the body that is sampled with it
AIR, FAT = anatomy.TISSUES.index("air"), anatomy.TISSUES.index("fat")


@dataclass(frozen=True)
class Slice:
    """One slice on the reconstruction matrix, before any coil.

    Attributes:
        shares: (tissue, y, x); field_hz: (y, x) error of B0; conductive: (y, x) rad.
        images: contrast to complex (y, x) with fat on resonance, and as it is.
    """

    shares: Tensor
    field_hz: Tensor
    conductive: Tensor
    images: dict[str, tuple[Tensor, Tensor]]


def image_slice(
    settings: ScanSettings,
    patient: Patient,
    timings: dict[str, fields.Timing],
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
    box = _body_box(patient, points, min(settings.spacing_mm) / finer)
    points = points[:, *box]  # half of a picture is air around the head
    shares = anatomy.fractions_at(patient.head, points, step_mm)  # (tissue, through, y, x)
    steady, jump, conductive, _ = patient.fields.at(points)  # (through, y, x) each
    field_hz = steady + jump * torch.tensordot(patient.chi_hz, shares, dims=1)
    shading = patient.shading.at(points)
    fat_hz = fields.fat_shift_hz(settings.field_t)
    on = settings.mechanisms
    found = {}
    for name, timing in timings.items():
        protocol = contrast.PROTOCOLS[name]
        signal = contrast.signals(patient.table, protocol).to(points.device)
        fat = signal[FAT] * shares[FAT] * shading
        water = torch.tensordot(signal, shares, dims=1) * shading - fat
        late_s = protocol.dephasing_ms / 1000
        phase = torch.zeros_like(shading)
        if "susceptibility" in on:
            phase = phase + 2 * math.pi * late_s * field_hz
        if "conductivity" in on:
            phase = phase + conductive
        if "timing" in on:
            phase = phase + timing.at(points)
        turned = torch.polar(torch.ones_like(phase), phase)
        of_water, of_fat = (
            arrays.resample(_embed((part * turned).mean(0), box, fine), settings.matrix)
            for part in (water, fat)
        )  # (y, x)
        shifted = of_fat
        if "chemical_shift" in on:
            shifted = _shift_fat(of_fat, fat_hz, late_s, protocol)
        found[name] = (of_water + of_fat, of_water + shifted)
    body = 1 - shares[AIR]  # what is air has a field, too, but no signal
    sums = torch.cat([shares, (body * field_hz)[None], (body * conductive)[None]]).mean(1)
    sums = _embed(sums, box, fine)
    sums[AIR] += 1 - _embed(torch.ones_like(sums[AIR, *box]), box, fine)
    *pooled, of_field, of_phase = _to_pixels(sums, finer, settings.matrix)
    weight = (1 - pooled[AIR]).clamp(min=1e-6)
    return Slice(torch.stack(pooled), of_field / weight, of_phase / weight, found)


def _body_box(patient: Patient, points: Tensor, step_mm: float) -> tuple[slice, slice]:
    """Rows and columns of (through, y, x, 3) that hold the body and some air around it."""
    every = max(1, int(FIELD_GRID_MM / step_mm))
    body = patient.fields.at(points[:, ::every, ::every])[3].amax(0) > 0  # (y, x)
    found = []
    for axis, n in ((1, points.shape[1]), (0, points.shape[2])):
        there = body.any(axis).nonzero().flatten()
        margin = int(BODY_MARGIN_MM / step_mm) + every
        first, last = (int(there[0]), int(there[-1])) if len(there) else (0, 0)
        found.append(slice(max(0, first * every - margin), min(n, last * every + margin + 1)))
    return found[0], found[1]


def _embed(part: Tensor, box: tuple[slice, slice], shape: tuple[int, int]) -> Tensor:
    """Put what was sampled in a box (..., y, x) into the whole picture, zeros around it."""
    whole = part.new_zeros((*part.shape[:-2], *shape))
    whole[..., box[0], box[1]] = part
    return whole


def _shift_fat(image: Tensor, fat_hz: float, late_s: float, protocol: Protocol) -> Tensor:
    """Fat (y, x) off resonance: turned by frequency times delay, displaced along the readout."""
    ny = image.shape[-2]
    pixels = ny * fat_hz / (1000 * protocol.bandwidth_khz)
    k = (torch.arange(ny, device=image.device) - ny // 2) / ny
    ramp = torch.polar(torch.ones_like(k), -2 * math.pi * (k * pixels - fat_hz * late_s))
    return arrays.ifft2c(arrays.fft2c(image) * ramp[:, None])


def _to_pixels(fine: Tensor, finer: int, matrix: tuple[int, int]) -> Tensor:
    """Means over pixels of what is sampled `finer` times per pixel, (..., y, x)."""
    ny, nx = matrix
    # the fine sample at index finer * (i - n // 2) + fine_n // 2 is the centre of pixel i
    for axis, n in ((-2, ny), (-1, nx)):
        start = (finer * n) // 2 - finer * (n // 2) - finer // 2
        ends = finer % 2 == 0  # an even window takes half of either end
        index = start + finer * torch.arange(n)[:, None] + torch.arange(finer + ends)
        weight = torch.ones(finer + ends)
        if ends:
            weight[[0, -1]] = 0.5
        index = index.clamp(0, finer * n - 1).to(fine.device)
        picked = fine.movedim(axis, -1)[..., index]  # (..., n, window)
        fine = (picked @ (weight / finer).to(fine.device)).movedim(-1, axis)
    return fine
