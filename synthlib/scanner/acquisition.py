"""One subject's visit to the simulated scanner: from a head to raw k-space and its truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib import arrays, runs
from synthlib.records import RawVolume
from synthlib.scanner import anatomy, contrast, fields, receivers
from synthlib.scanner.settings import ScanSettings, Subject


@dataclass(frozen=True)
class Scan:
    """One contrast of one subject.

    Attributes:
        volume: the raw data, as a scanner gives them; its units are water's
            proton density.
        truth: what no scanner tells, on the reconstruction matrix:
            "magnitude" float32 (slice, y, x), of the object, without coils;
            "phase" float32 (slice, y, x), of the object, without receive, in
            (-pi, pi]; "phase_conductivity", "phase_background", "phase_timing",
            its parts, not wrapped, zero when left out;
            "maps" complex64 (slice, coil, y, x), which hold the receive phase;
            "labels" uint8 (slice, y, x), index into anatomy.TISSUES.
            Noise-free coil images are magnitude * exp(i phase) * maps.
    """

    volume: RawVolume
    truth: dict[str, Tensor]


def scan_subject(settings: ScanSettings, subject: Subject) -> list[Scan]:
    """Scan one subject with every contrast of the settings.

    Head, tissue values, conductivity, B0 field, coils and the transmit field's
    shading are the subject's; echo timing, eddy currents and noise are the
    scan's own.
    """

    def rng(*names: object) -> torch.Generator:
        return runs.rng(settings.seed, subject.patient_id, *names)

    z_mm = settings.slice_positions_mm
    points = anatomy.positions(settings.matrix, settings.fov_mm, z_mm)  # (slice, y, x, 3)
    fractions = anatomy.tissue_fractions(
        anatomy.draw_head(rng("head")),
        settings.matrix,
        settings.fov_mm,
        z_mm,
        settings.thickness_mm,
    )
    brain = anatomy.brain_fraction(fractions)
    table = contrast.tissue_table(settings.field_t, rng("tissue"))
    shading = contrast.transmit_shading(points, settings.field_t, rng("shading"))
    loops = receivers.draw_loops(subject.n_coils, rng("loops"))
    maps = receivers.sensitivities(loops, points, brain, rng("channels"))
    if "receive" not in settings.mechanisms:
        maps = maps.abs().to(maps.dtype)
    sigma = fields.conductivity(fractions, settings.field_t, rng("conductivity"))
    tissue_phase = fields.transceive_phase(sigma, settings.spacing_mm, settings.field_t)
    field_hz = fields.residual_field_hz(points, settings.field_t, rng("field"))

    scans = []
    for name in settings.contrasts:
        protocol = contrast.PROTOCOLS[name]
        magnitude = contrast.magnitude_image(fractions, table, protocol) * shading
        parts = {
            "conductivity": tissue_phase,
            "background": fields.background_phase(points, field_hz, rng(name, "background")),
            "timing": fields.timing_phase(points, settings.fov_mm, rng(name, "timing")),
        }
        for left_out in parts.keys() - set(settings.mechanisms):
            parts[left_out] = torch.zeros_like(magnitude)
        phase = arrays.wrap(torch.stack(list(parts.values())).sum(0))
        coil_images = torch.polar(magnitude, phase)[:, None] * maps  # (slice, coil, y, x)
        noise_sd = float((arrays.rss(coil_images) * brain).sum() / brain.sum()) / settings.snr
        kspace = acquire(coil_images, settings.oversampling, noise_sd, rng(name, "noise"))
        volume = RawVolume(
            name=f"{subject.patient_id}_{name}",
            patient_id=subject.patient_id,
            contrast=name,
            kspace=kspace,
            recon_shape=settings.matrix,
            acquired=(0, settings.matrix[1]),
            spacing_mm=settings.spacing_mm,
            rss=arrays.rss(arrays.crop_or_pad(arrays.ifft2c(kspace), settings.matrix)),
            attributes={
                "field_t": settings.field_t,
                "te_ms": protocol.te_ms,
                "tr_ms": protocol.tr_ms,
            },
        )
        truth = {"magnitude": magnitude, "phase": phase, "maps": maps}
        truth |= {f"phase_{part}": value for part, value in parts.items()}
        scans.append(Scan(volume, truth | {"labels": anatomy.label_map(fractions)}))
    return scans


def acquire(
    coil_images: Tensor, oversampling: int, noise_sd: float, generator: torch.Generator
) -> Tensor:
    """K-space of coil images on an oversampled readout, with white receiver noise.

    Args:
        coil_images: complex64 (..., coil, y, x); air beyond the field of view.
        oversampling: how many times longer the readout axis y becomes.
        noise_sd: s.d. of the real and of the imaginary part of the noise, the
            same in k-space and in the image.

    Returns:
        complex64 (..., coil, oversampling * y, x), centred orthonormal FFT.
    """
    ny, nx = coil_images.shape[-2:]
    kspace = arrays.fft2c(arrays.crop_or_pad(coil_images, (oversampling * ny, nx)))
    noise = torch.randn((*kspace.shape, 2), generator=generator)
    return kspace + noise_sd * torch.view_as_complex(noise)
