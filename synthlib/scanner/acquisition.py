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
from synthlib.scanner import anatomy, flow, lines
from synthlib.scanner.kspace import acquire
from synthlib.scanner.measurement import Measurement, draw_measurement
from synthlib.scanner.patient import Patient, admit, subject_rng
from synthlib.scanner.settings import ScanSettings, Subject
from synthlib.scanner.slices import Images, Slice, image_slice

FEWEST_PIXELS = 1  # of brain in a scan
OBJECT_PHASES = (
    "susceptibility", "conductivity", "timing", "eddy_currents", "concomitant", "flow",
    "refocusing", "chemical_shift", "mixture",
)  # fmt: skip


@dataclass(frozen=True)
class Scan:
    """One contrast of one subject.

    Attributes:
        volume: the raw data, as a scanner gives them; its units are water's
            proton density.
        truth: what no scanner tells, on the reconstruction matrix:
            "magnitude" float32 (slice, y, x), of the object, without coils;
            "phase" float32 (slice, y, x), of the object, without receive, in
            (-pi, pi]; "phase_" and each of OBJECT_PHASES, its parts, none wrapped but
            that of chemical shift, all zero when left out. Those of flow and refocusing
            are means over a pixel. "phase_mixture" is what signs of tissue signals, mixed
            pixels, displacement, echo trains and the truncation of k-space add: together
            they are "phase" up to whole turns;
            "maps" complex64 (slice, coil, y, x), which hold the receive phase;
            "noise_covariance" complex64 (coil, coil), E[n n^H] of noise samples;
            "labels" uint8 (slice, y, x), index into anatomy.TISSUES.
            Noise-free coil images are magnitude * exp(i phase) * maps, wherever
            all of k-space is measured. Exceptions change while k-space is filled, and no
            image has them: pulsation ("flow"), "motion" and the steps of "gain" (which
            the truth leaves out; a weak channel is in its maps).
    """

    volume: RawVolume
    truth: dict[str, Tensor]


@dataclass(frozen=True)
class CoilImages:
    """Coil images (slice, coil, y, x) as k-space sees them, made when a slice is asked for.

    Attributes:
        image, pulsatile: complex (slice, y, x), the object and what of it pulsates.
        maps: complex (slice, coil, y, x).
        modulation: (x,) of what pulsates, column of kx by column; None: nothing does.
        motion: None where the head lies still.
        spacing_mm: (y, x); times_ms: (x,) when each column of kx is measured.
    """

    image: Tensor
    pulsatile: Tensor
    maps: Tensor
    modulation: Tensor | None
    motion: lines.Motion | None
    spacing_mm: tuple[float, float]
    times_ms: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.maps.shape

    def __getitem__(self, index: int) -> Tensor:
        image, maps = self.image[index], self.maps[index]
        if self.motion is None:
            coil_images = image * maps
        else:
            coil_images = lines.with_motion(
                image, maps, self.motion, self.spacing_mm, self.times_ms
            )
        if self.modulation is not None:
            coil_images += lines.ghosts(self.pulsatile[index], maps, self.modulation)
        return coil_images


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
    measurements = {name: draw_measurement(settings, subject, name) for name in settings.contrasts}
    slices = list(
        tasks.spread(
            partial(image_slice, settings, patient, measurements),
            list(centres),
            at_most=tasks.MAX_THREADS if device == "cpu" else 1,
        )
    )
    brain = torch.stack([one.brain for one in slices])  # (slice, y, x)
    brain *= anatomy.in_cranium(patient.head, points)
    if not bool(brain.sum() >= FEWEST_PIXELS):
        raise ValueError(
            f"no brain in the slices at {centres.tolist()} mm ({settings.orientation}); the SNR is "
            "that of the brain, so at least one slice must hold some. Move positions_mm, or widen "
            "fov_mm."
        )
    tasks.give_back_memory()  # of the samples: coil images and k-space are of other sizes
    with tasks.torch_threads(1):
        maps = patient.array.sensitivities(points)  # (slice, coil, y, x)
    if "receive" not in settings.mechanisms:
        maps = maps.abs().to(maps.dtype)
    if "gain" in settings.mechanisms:
        maps *= patient.channels.to(maps.device)[:, None, None]
    for name, measurement in measurements.items():
        smooth = measurement.smooth_phases(settings, points)
        yield _scan(settings, subject, patient, name, measurement, smooth, slices, maps, brain)


@tasks.torch_threads(1)
def _scan(
    settings: ScanSettings,
    subject: Subject,
    patient: Patient,
    name: str,
    measurement: Measurement,
    smooth: dict[str, Tensor],
    slices: Sequence[Slice],
    maps: Tensor,
    brain: Tensor,
) -> Scan:
    """One contrast from its smooth phases, the maps (slice, coil, y, x), the share of brain."""
    protocol = measurement.protocol
    pictures = [one.images[name] for one in slices]
    image = torch.stack([picture.image for picture in pictures])  # (slice, y, x)
    combined = torch.stack([arrays.rss(one * seen) for one, seen in zip(image, maps, strict=True)])
    signal = float((combined * brain).sum() / brain.sum())
    noise_sd = signal / settings.snr if "noise" in settings.mechanisms else 0.0
    kspace = acquire(
        _while_filling(settings, subject, name, measurement, pictures, image, maps),
        settings,
        noise_sd,
        patient.array.covariance,
        subject_rng(settings, subject, name, "noise"),
        lines.draw_gains(
            subject_rng(settings, subject, name, "gain"),
            subject.n_coils,
            measurement.times_ms(settings),
        )
        if "gain" in settings.mechanisms
        else None,
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
        "labels": torch.stack([one.labels for one in slices]),
    }
    truth |= _phase_parts(settings, measurement, slices, pictures, smooth)
    return Scan(volume, {key: value.cpu() for key, value in truth.items()})


def _while_filling(
    settings: ScanSettings,
    subject: Subject,
    name: str,
    measurement: Measurement,
    pictures: Sequence[Images],
    image: Tensor,
    maps: Tensor,
) -> CoilImages:
    """Coil images with what changes from line to line."""
    times_ms = measurement.times_ms(settings)
    rng = subject_rng(settings, subject, name, "motion")
    return CoilImages(
        image=image,
        pulsatile=torch.stack([picture.pulsatile for picture in pictures]),
        maps=maps,
        modulation=flow.pulsation(measurement.flow, times_ms)
        if "flow" in settings.mechanisms
        else None,
        motion=lines.draw_motion(rng, times_ms) if "motion" in settings.mechanisms else None,
        spacing_mm=settings.spacing_mm,
        times_ms=times_ms,
    )


def _phase_parts(
    settings: ScanSettings,
    measurement: Measurement,
    slices: Sequence[Slice],
    pictures: Sequence[Images],
    smooth: dict[str, Tensor],
) -> dict[str, Tensor]:
    """ "phase_" and each of OBJECT_PHASES to (slice, y, x) in rad."""
    field_hz = torch.stack([one.field_hz for one in slices])
    turned_s = measurement.protocol.dephasing_ms / 1000
    parts = {
        "susceptibility": 2 * math.pi * field_hz * turned_s,
        "conductivity": torch.stack([one.conductive for one in slices]),
        "flow": torch.stack([picture.flow for picture in pictures]),
        "refocusing": torch.stack([picture.refocusing for picture in pictures]),
        **smooth,
    }
    parts = {
        part: value if part in settings.mechanisms else torch.zeros_like(value)
        for part, value in parts.items()
    }
    known = sum(parts.values(), torch.zeros_like(field_hz))
    image, on_resonance = (
        torch.stack([getattr(picture, which) for picture in pictures])
        for which in ("image", "on_resonance")
    )
    shifted = "chemical_shift" in settings.mechanisms
    parts["chemical_shift"] = (image * on_resonance.conj()).angle() * shifted
    parts["mixture"] = (on_resonance * torch.polar(torch.ones_like(known), -known)).angle()
    return {f"phase_{part}": parts[part] for part in OBJECT_PHASES}
