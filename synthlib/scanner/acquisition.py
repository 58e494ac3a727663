"""One subject's visit to the simulated scanner: from a head to raw k-space and its truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from synthlib import arrays, tasks
from synthlib.records import RawVolume
from synthlib.scanner import anatomy, contrast, fields
from synthlib.scanner.kspace import acquire
from synthlib.scanner.patient import Patient, admit, subject_rng
from synthlib.scanner.settings import ScanSettings, Subject
from synthlib.scanner.slices import Slice, image_slice

FEWEST_PIXELS = 1  # of brain in a scan
OBJECT_PHASES = ("susceptibility", "conductivity", "timing", "chemical_shift", "mixture")


@dataclass(frozen=True)
class Scan:
    """One contrast of one subject.

    Attributes:
        volume: the raw data, as a scanner gives them; its units are water's
            proton density.
        truth: what no scanner tells, on the reconstruction matrix:
            "magnitude" float32 (slice, y, x), of the object, without coils;
            "phase" float32 (slice, y, x), of the object, without receive, in
            (-pi, pi]; "phase_susceptibility", "phase_conductivity",
            "phase_timing" and "phase_chemical_shift", its parts, all but the last
            not wrapped, zero when left out; and "phase_mixture", what signs of tissue signals,
            mixed pixels and the truncation of k-space add: together they are
            "phase" up to whole turns;
            "maps" complex64 (slice, coil, y, x), which hold the receive phase;
            "noise_covariance" complex64 (coil, coil), E[n n^H] of noise samples;
            "labels" uint8 (slice, y, x), index into anatomy.TISSUES.
            Noise-free coil images are magnitude * exp(i phase) * maps, wherever
            all of k-space is measured.
    """

    volume: RawVolume
    truth: dict[str, Tensor]


@dataclass(frozen=True)
class RootSumOfSquares:
    """Magnitudes of k-space (slice, coil, ky, kx) on a matrix, made when a slice is asked for."""

    kspace: Tensor
    matrix: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.kspace), *self.matrix)

    def __getitem__(self, index: int) -> Tensor:
        coil_images = arrays.crop_or_pad_image(arrays.ifft2c(self.kspace[index]), self.matrix)
        return arrays.rss(coil_images)


def scan_subject(settings: ScanSettings, subject: Subject, device: str = "auto") -> list[Scan]:
    """Scan one subject with every contrast of the settings: :func:`scans`, gathered."""
    return list(scans(settings, subject, device))


def scans(settings: ScanSettings, subject: Subject, device: str = "auto") -> Iterator[Scan]:
    """Scan one subject with one contrast after the other.

    Head, tissue values, fields, coils and the transmit field are the subject's;
    timing and noise are the scan's own.

    Args:
        device: "cpu", "cuda", or "auto": a GPU where there is one. Draws are
            the same on both; results come on the CPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    patient = admit(settings, subject, torch.device(device))
    centres = settings.slice_positions_mm.to(device)
    points = anatomy.positions(
        settings.matrix, settings.fov_mm, centres, settings.orientation
    )  # (slice, y, x, 3)
    timings = {
        name: fields.draw_timing(
            settings.fov_mm, settings.orientation, subject_rng(settings, subject, name, "timing")
        )
        for name in settings.contrasts
    }
    slices = list(
        tasks.spread(
            partial(image_slice, settings, patient, timings),
            list(centres),
            at_most=tasks.MAX_THREADS if device == "cpu" else 1,
        )
    )
    brain = anatomy.brain_fraction(torch.stack([one.shares for one in slices], dim=1))
    if not bool(brain.sum() >= FEWEST_PIXELS):
        raise ValueError(
            f"no brain in the slices at {centres.tolist()} mm ({settings.orientation}); the SNR is "
            "that of the brain, so at least one slice must hold some. Move positions_mm, or widen "
            "fov_mm."
        )
    with tasks.torch_threads(1):
        maps = patient.array.sensitivities(points)  # (slice, coil, y, x)
        planes = {name: timing.at(points) for name, timing in timings.items()}
    if "receive" not in settings.mechanisms:
        maps = maps.abs().to(maps.dtype)
    for name, plane in planes.items():
        yield _scan(settings, subject, patient, name, plane, slices, maps)


@tasks.torch_threads(1)
def _scan(
    settings: ScanSettings,
    subject: Subject,
    patient: Patient,
    name: str,
    plane: Tensor,
    slices: Sequence[Slice],
    maps: Tensor,
) -> Scan:
    """One contrast from its timing's phase (slice, y, x) and the maps (slice, coil, y, x)."""
    protocol = contrast.PROTOCOLS[name]
    shares = torch.stack([one.shares for one in slices], dim=1)  # (tissue, slice, y, x)
    field_hz = torch.stack([one.field_hz for one in slices])
    brain = anatomy.brain_fraction(shares)
    on_resonance, image = (
        torch.stack([one.images[name][which] for one in slices]) for which in (0, 1)
    )  # (slice, y, x)
    parts = {
        "susceptibility": 2 * math.pi * field_hz * protocol.dephasing_ms / 1000,
        "conductivity": torch.stack([one.conductive for one in slices]),
        "timing": plane,
    }
    parts = {
        part: value if part in settings.mechanisms else torch.zeros_like(value)
        for part, value in parts.items()
    }
    smooth = sum(parts.values(), torch.zeros_like(field_hz))
    shifted = "chemical_shift" in settings.mechanisms
    parts["chemical_shift"] = (image * on_resonance.conj()).angle() * shifted
    parts["mixture"] = (on_resonance * torch.polar(torch.ones_like(smooth), -smooth)).angle()
    coil_images = image[:, None] * maps
    signal = float((arrays.rss(coil_images) * brain).sum() / brain.sum())
    noise_sd = signal / settings.snr if "noise" in settings.mechanisms else 0.0
    kspace = acquire(
        coil_images,
        settings,
        noise_sd,
        patient.array.covariance,
        subject_rng(settings, subject, name, "noise"),
    ).cpu()
    volume = RawVolume(
        name=f"{subject.patient_id}_{name}",
        patient_id=subject.patient_id,
        contrast=name,
        kspace=kspace,
        recon_shape=settings.matrix,
        acquired=settings.acquired,
        spacing_mm=settings.spacing_mm,
        rss=RootSumOfSquares(kspace, settings.matrix),
        attributes={
            "field_t": settings.field_t,
            "te_ms": protocol.te_ms,
            "tr_ms": protocol.tr_ms,
        },
    )
    truth = {
        "magnitude": image.abs(),
        "phase": arrays.wrap(image.angle()),
        "maps": maps,
        "noise_covariance": 2 * noise_sd**2 * patient.array.covariance,
        "labels": anatomy.label_map(shares),
    }
    truth |= {f"phase_{part}": value for part, value in parts.items()}
    return Scan(volume, {key: value.cpu() for key, value in truth.items()})
