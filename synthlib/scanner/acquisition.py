"""One subject's visit to the simulated scanner: from a head to raw k-space and its truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from synthlib import arrays, runs, tasks
from synthlib.records import RawVolume
from synthlib.scanner import anatomy, contrast, fields, receivers
from synthlib.scanner.contrast import Protocol
from synthlib.scanner.settings import ScanSettings, Subject
from synthlib.scanner.volume import Volume, grid_points

FIELD_GRID_MM = 3.0  # of susceptibility and conductivity
FIELD_LOW_MM, FIELD_HIGH_MM = (-108.0, -132.0, -144.0), (108.0, 126.0, 111.0)  # the head in it
PLACES = 4  # every so many grid points along an axis tell the noise of the receivers
FINE_MM = 0.8  # largest step at which a slice is sampled in its plane
THROUGH = 3  # samples through a slice
BODY_MARGIN_MM = 6.0  # of air around the body that is sampled with it
FEWEST_PIXELS = 1  # of brain in a scan
AIR, FAT = anatomy.TISSUES.index("air"), anatomy.TISSUES.index("fat")
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


@dataclass(frozen=True)
class Patient:
    """What is the subject's own, in all contrasts.

    Attributes:
        head: the anatomy; table: (4, tissue) of contrast.tissue_table.
        fields: channel 0 the error of B0 in Hz but for its jumps at tissue
            borders, channel 1 fields.jump_share, channel 2 the phase of
            conductivity in rad, channel 3 the share that is not air.
        chi_hz: (tissue,) susceptibility times B0.
        shading: of the transmit field; array: the receivers.
    """

    head: anatomy.Head
    table: Tensor
    fields: Volume
    chi_hz: Tensor
    shading: contrast.Shading
    array: receivers.Array


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
            settings.fov_mm, settings.orientation, _rng(settings, subject, name, "timing")
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
        _rng(settings, subject, name, "noise"),
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


@tasks.torch_threads(1)
def admit(settings: ScanSettings, subject: Subject, device: torch.device) -> Patient:
    """Draw who is in the scanner, and solve the fields of this head."""
    head = anatomy.draw_head(_rng(settings, subject, "head"), settings.n_lesions).to(device)
    points = grid_points(FIELD_LOW_MM, FIELD_HIGH_MM, FIELD_GRID_MM, device)  # (z, y, x, 3)
    shares = anatomy.fractions_at(head, points, FIELD_GRID_MM)
    brain = anatomy.brain_fraction(shares)
    chi_hz = fields.draw_susceptibility(_rng(settings, subject, "susceptibility")).to(device)
    chi_hz = chi_hz * fields.LARMOR_HZ_PER_T * settings.field_t
    on_grid = torch.tensordot(chi_hz, shares, dims=1)
    field_hz = fields.dipole_field(on_grid)
    # The grid blurs the jumps: they are taken off here and added where a slice is sampled.
    jump = fields.jump_share(on_grid)
    steady = field_hz + fields.shim(field_hz, points, brain) - on_grid * jump
    sigma = fields.conductivity(shares, settings.field_t, _rng(settings, subject, "conductivity"))
    conductive = fields.transceive_phase(sigma, FIELD_GRID_MM, settings.field_t)
    few = (slice(None, None, PLACES),) * 3
    return Patient(
        head=head,
        table=contrast.tissue_table(settings.field_t, _rng(settings, subject, "tissue")),
        fields=Volume(
            torch.stack([steady, jump, conductive, 1 - shares[AIR]]), FIELD_LOW_MM, FIELD_GRID_MM
        ),
        chi_hz=chi_hz,
        shading=contrast.draw_shading(settings.field_t, _rng(settings, subject, "shading")),
        array=receivers.build(
            subject.n_coils,
            points[few].reshape(-1, 3),
            sigma[few].flatten(),
            brain[few].flatten(),
            _rng(settings, subject, "array"),
        ),
    )


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


def acquire(
    coil_images: Tensor,
    settings: ScanSettings,
    noise_sd: float,
    covariance: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """K-space of coil images on an oversampled readout, with correlated receiver noise.

    Args:
        coil_images: complex64 (slice, coil, y, x); air beyond the field of view.
        settings: oversampling, and which part of k-space is measured; the rest is zero.
        noise_sd: s.d. of the real and of the imaginary part of the noise, its
            variance averaged over the coils, the same in k-space and in the image.
        covariance: complex64 (coil, coil), Hermitian, mean of its diagonal 1.
        rng: CPU generator.

    Returns:
        complex64 (slice, coil, oversampling * y, x), centred orthonormal FFT.
    """
    n_slices, n_coils, ny, nx = coil_images.shape
    shape = (settings.oversampling * ny, nx)
    device = coil_images.device
    mixing = torch.linalg.cholesky(covariance.to(torch.complex128)).to(torch.complex64)
    measured = sampled(shape, settings).to(device)
    whole = bool(measured.all())
    kspace = torch.empty((n_slices, n_coils, *shape), dtype=torch.complex64, device=device)
    for index in range(n_slices):  # one at a time: large matrices stay small in memory
        kspace[index] = arrays.fft2c(arrays.crop_or_pad_image(coil_images[index], shape))
        if noise_sd > 0:
            white = torch.randn((n_coils, *shape, 2), generator=rng)
            noise = torch.view_as_complex(white).to(device).flatten(1)
            kspace[index] += noise_sd * (mixing @ noise).unflatten(1, shape)
        if not whole:
            kspace[index] *= measured
    return kspace


def sampled(shape: tuple[int, int], settings: ScanSettings) -> Tensor:
    """Bool (ky, kx): which samples the settings' scan measures."""
    ky, kx = ((torch.arange(n) - n // 2) / (n / 2) for n in shape)
    measured = torch.ones(shape, dtype=torch.bool)
    measured[:, : settings.acquired[0]] = False
    if settings.elliptical:
        measured &= ky[:, None] ** 2 + kx**2 <= 1
    return measured


def _rng(settings: ScanSettings, subject: Subject, *names: object) -> torch.Generator:
    return runs.rng(settings.seed, subject.patient_id, *names)
