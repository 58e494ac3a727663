"""One series of magnitude images to one file of raw data."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import math
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthlib import archive, arrays, audit, bank, runs, synthesis, tasks
from synthlib.conversion.settings import (
    FOLDERS,
    FORMATS,
    IMAGES,
    MATCH,
    MEASURED,
    NONE,
    WRITTEN,
    Settings,
)
from synthlib.figures import thumbnails
from synthlib.formats import nifti
from synthlib.formats.bart_cfl import CflWriter
from synthlib.formats.fastmri_writer import FastmriWriter
from synthlib.formats.mrd import MrdWriter
from synthlib.formats.raw_header import RawHeader
from synthlib.formats.raw_writer import RawWriter
from synthlib.phase import generator, sources
from synthlib.records import SYNTHETIC, ImageVolume, PhasePair

WRITERS: dict[str, type[RawWriter]] = {
    "fastmri": FastmriWriter,
    "mrd": MrdWriter,
    "cfl": CflWriter,
}
NOISE_SAMPLES = 8192  # of each coil: a covariance to one per cent
_OPENING = threading.Lock()
NO_PHASE = "no measured phase that could be used (--phase measured)"
MADE, THERE, ASIDE = "made", "already there", "set aside"


@dataclass(frozen=True)
class Job:
    """One series and what becomes of it.

    Attributes:
        series: of the archive.
        settings: see Settings.
        out: folder of the raw data.
        key: of series, settings and code.
        annotations: boxes and remarks of this series, one mapping each.
        upright: they lie on images that were turned as in DICOM's views, as fastMRI+ does.
    """

    series: archive.Series
    settings: Settings
    out: Path
    key: str = ""
    annotations: tuple[Mapping[str, object], ...] = ()
    upright: bool = False

    @property
    def target(self) -> Path:
        """The file that tells that the raw data are complete."""
        folder = self.out / FOLDERS[self.settings.format]
        return folder / (self.series.name + FORMATS[self.settings.format])


@dataclass(frozen=True)
class Outcome:
    """How a series ended; plain values, for reports.

    Attributes:
        name, patient_id, contrast, where: of the series.
        status: MADE, THERE or ASIDE.
        reason: why it was set aside.
        facts: matrix, slices, donor, noise and the like, by heading.
        findings: of the audit, "check (grade): what was seen" each, worst first.
        notes: what was mended or left out on the way.
        picture: PNG, base64.
        seconds: that it took.
    """

    name: str
    patient_id: str
    contrast: str
    where: str
    status: str
    reason: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    findings: Sequence[str] = ()
    notes: Sequence[str] = ()
    picture: str = ""
    seconds: float = 0.0
    key: str = ""


@dataclass(frozen=True)
class Prepared:
    """A series that was read and looked at: all that comes before its slices are made.

    Attributes:
        outcome: what is known so far.
        volume: magnitudes, None where the series is set aside.
        report, head, level: of the volume; pixels: hash of its magnitudes as they were read.
        annotations: on the volume's pixels.
    """

    outcome: Outcome
    volume: ImageVolume | None = None
    report: audit.Audit | None = None
    head: bank.Outline | None = None
    level: synthesis.NoiseLevel | None = None
    pixels: str = ""
    annotations: tuple[Mapping[str, object], ...] = ()


class Stopped(KeyboardInterrupt):
    """The run was given up: no failure of the series."""


def convert(job: Job, n_threads: int = 0, stop: threading.Event | None = None) -> Outcome:
    """Read, audit, pair with a donor, write phase, receive, and write the raw data.

    Whatever is wrong with a series sets it aside with a reason that names no
    person; only a full disk is an error.

    Args:
        job: the series.
        n_threads: on which slices are made; 0: as many as torch would take.
        stop: once it is set, the series is given up before its next slice.

    Raises:
        OSError: the disk is full.
        Stopped: `stop` was set.
    """
    begin, series, stop = time.perf_counter(), job.series, stop or threading.Event()
    outcome = Outcome(
        series.name, series.patient_id, series.contrast, series.where, ASIDE, key=job.key
    )
    if stop.is_set():
        raise Stopped
    try:
        prepared = _look(job, outcome)
        outcome = prepared.outcome
        if not outcome.reason:
            how = _make_images if job.settings.format in IMAGES else _make
            outcome = how(job, prepared, n_threads, stop)
    except Exception as error:  # one bad series stops no other
        if isinstance(error, OSError) and error.errno in runs.DISK_FULL:
            raise
        outcome = dataclasses.replace(outcome, reason=reason(error, series.where))
    return dataclasses.replace(outcome, seconds=round(time.perf_counter() - begin, 3))


def read_images(series: archive.Series, *, phase: bool = False) -> ImageVolume:
    """Read a series; a phantom has a note that says so.

    Args:
        phase: read its measured phase, too, where the archive has it.

    Raises:
        ValueError: as archive.read, or it is noise alone.
    """
    volume = archive.read(series, phase=phase)
    bank.require_object(volume.magnitude)
    note = bank.phantom_note(volume)
    return dataclasses.replace(volume, notes=(*volume.notes, *([note] if note else [])))


def _look(job: Job, outcome: Outcome) -> Prepared:
    settings = job.settings
    volume = read_images(job.series, phase=settings.phase != WRITTEN)
    report = audit.examine(volume)
    findings = [finding.line for finding in report.found]
    outcome = dataclasses.replace(outcome, findings=findings, notes=volume.notes)
    if settings.strict and report.serious:
        names = ", ".join(finding.check for finding in report.serious)
        return Prepared(dataclasses.replace(outcome, reason=f"the audit found {names} (--strict)"))
    if settings.phase == MEASURED and volume.phase is None:
        return Prepared(dataclasses.replace(outcome, reason=NO_PHASE))
    annotations, pixels = job.annotations, pixels_hash(volume)
    if job.upright and volume.upside_down:
        annotations = _turned(annotations, volume.magnitude.shape[1])
    ky, kx = (true / n for true, n in zip(report.true_matrix, report.grid, strict=True))
    if settings.repair:
        ky = kx = 1.0
        before = volume.magnitude.shape
        volume = audit.repair(volume, report)
        annotations = _rescaled(annotations, before, volume.magnitude.shape)
    head = bank.outline(volume.magnitude)
    return Prepared(
        outcome=outcome,
        volume=volume,
        report=report,
        head=head,
        level=synthesis.estimate_noise(volume.magnitude, head.mask, (ky, kx)),
        pixels=pixels,
        annotations=annotations,
    )


def reason(error: Exception, where: str = "") -> str:
    """Our own messages as they are; of foreign ones the kind and place, for they may hold names."""
    frames = traceback.extract_tb(error.__traceback__)
    room = Path(__file__).parents[1]
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(room)]
    if isinstance(error, (ValueError, OSError)) and frames and frames[-1] in ours:
        return str(error).removeprefix(f"{where}: ")
    place = f"{Path(ours[-1].filename).stem}.{ours[-1].name}" if ours else "unknown"
    return f"unexpected {type(error).__name__} in {place}; please report this"


def _make(job: Job, prepared: Prepared, n_threads: int, stop: threading.Event) -> Outcome:
    settings, volume = job.settings, prepared.volume
    head, level = prepared.head, prepared.level
    assert volume is not None and head is not None and level is not None
    match = bank.choose(
        prepared.pixels,
        volume,
        head,
        _donors(settings, volume),
        n_coils=settings.n_coils,
        pairing=settings.pairing,
        seed=settings.seed,
    )
    inside = volume.magnitude[head.mask] if bool(head.mask.any()) else volume.magnitude
    mean = float(inside.mean())
    std, note = _noise_std(settings, level, mean)
    notes = [*volume.notes, *match.notes, *([note] if note else [])]
    n_slices, ny, nx = volume.magnitude.shape
    shape = settings.oversampling * ny, nx
    coils = _coils(match.donor.path, settings.n_coils, volume.upside_down, _stamp(match.donor.path))
    receiver = synthesis.Receiver(coils, head, shape, level=level if std else None, std=std)
    donor_slice = match.slices[head.widest]
    noise, covariance = _noise_scan(receiver, donor_slice, prepared.pixels, settings)
    writer = WRITERS[settings.format](
        job.target,
        shape=(n_slices, settings.n_coils, *shape),
        header=dataclasses.replace(
            _header(job, prepared, volume, notes, match, std),
            noise=noise,
            noise_covariance=covariance,
        ),
    )
    picture = _write(writer, receiver, volume, prepared.pixels, match, settings, n_threads, stop)
    return dataclasses.replace(
        prepared.outcome,
        status=MADE,
        notes=notes,
        picture=base64.b64encode(picture).decode(),
        facts={
            "matrix": f"{ny} x {nx}",
            "slices": n_slices,
            "phase": phase_source(volume, settings),
            "coils": settings.n_coils,
            "pixel (mm)": " x ".join(_digits(mm) for mm in volume.spacing_mm),
            "donor": match.donor.name,
            "SNR in": _digits(mean / level.std if level.std else level.snr),
            "SNR out": _digits(mean / std if std else level.snr),
            "noise from": level.source,
            "noise error": f"{100 * level.error:.0f} %",
        },
    )


def _write(
    writer: RawWriter,
    receiver: synthesis.Receiver,
    volume: ImageVolume,
    pixels: str,
    match: bank.Match,
    settings: Settings,
    n_threads: int,
    stop: threading.Event,
) -> bytes:
    """All slices, on several threads; the picture of the middle one."""
    shape = volume.magnitude.shape[1], volume.magnitude.shape[2]
    middle = int(receiver.head.area.argmax())
    writing = threading.Lock()  # HDF5 takes one at a time

    def make(index: int) -> bytes:
        if stop.is_set():
            raise Stopped
        magnitude = volume.magnitude[index]
        phase = write_phase(volume, pixels, index, settings)
        kspace, rss = receiver.slice(
            magnitude,
            phase,
            index=index,
            donor_slice=match.slices[index],
            seed=runs.seed_for(settings.seed, "noise", pixels, index),
            measured=volume.phase is not None,
        )
        rss = arrays.crop_or_pad_image(rss, shape)
        with writing:
            writer.put(index, kspace, rss)
        return thumbnails.thumbnail(magnitude, phase, rss) if index == middle else b""

    # the network's dropout takes torch's global state
    if settings.weights and volume.phase is None:
        with writer:
            return b"".join([make(index) for index in range(volume.n_slices)])
    if n_threads == 1:
        with writer, tasks.threads_of_our_own():
            return b"".join(map(make, range(volume.n_slices)))
    with writer, tasks.threads_of_our_own() as most, ThreadPoolExecutor(n_threads or most) as pool:
        pictures = list(pool.map(make, range(volume.n_slices)))
    return b"".join(pictures)


def _make_images(job: Job, prepared: Prepared, n_threads: int, stop: threading.Event) -> Outcome:
    """Magnitude and phase without coils and noise, as NIfTI."""
    settings, volume, level = job.settings, prepared.volume, prepared.level
    assert volume is not None and prepared.head is not None and level is not None
    slices = []
    for index in range(volume.n_slices):
        if stop.is_set():
            raise Stopped
        slices.append(write_phase(volume, prepared.pixels, index, settings))
    phase = torch.stack(slices)
    middle = int(prepared.head.area.argmax())
    nifti.write_images(
        job.target.with_name(job.series.name),
        volume,
        phase,
        facts=_image_facts(job, prepared, volume),
        as_complex=settings.format == "nifti-complex",
    )
    _, ny, nx = volume.magnitude.shape
    picture = thumbnails.thumbnail(volume.magnitude[middle], phase[middle])
    return dataclasses.replace(
        prepared.outcome,
        status=MADE,
        notes=volume.notes,
        picture=base64.b64encode(picture).decode(),
        facts={
            "matrix": f"{ny} x {nx}",
            "slices": volume.n_slices,
            "phase": phase_source(volume, settings),
            "pixel (mm)": " x ".join(_digits(mm) for mm in volume.spacing_mm),
            "SNR in": _digits(level.snr),
            "noise from": level.source,
            "noise error": f"{100 * level.error:.0f} %",
        },
    )


def _image_facts(job: Job, prepared: Prepared, volume: ImageVolume) -> dict[str, object]:
    """What the sidecars of images say: how they were made, whose (a pseudonym), and of what."""
    assert prepared.report is not None
    source = phase_source(volume, job.settings)
    record = runs.make_record({"synthesize": job.settings.record()})
    record["inputs"] = {"pixels_sha256": prepared.pixels}
    record["audit"] = prepared.report.to_dict()
    record["notes"] = list(volume.notes)
    record["phase"] = source
    if job.settings.weights and source != MEASURED:
        record["generator"] = _generator_record(job.settings.weights)
    return {
        "contrast": volume.contrast,
        "patient_id": volume.patient_id,
        "phase_source": source,
        "annotations": list(prepared.annotations),
        "key": job.key,
        "record": record,
    }


def phase_source(volume: ImageVolume, settings: Settings) -> str:
    """ "measured", or what wrote the phase: "written: gan", "written: zero" ..."""
    if volume.phase is not None:
        return MEASURED
    return f"{WRITTEN}: {'gan' if settings.weights else settings.generator}"


def pixels_hash(volume: ImageVolume) -> str:
    """What every draw follows from, beside the seed: pseudonyms change from run to run.

    Of the pixels as they were read, before any repair: sums of another machine
    may differ in their last bits.
    """
    return hashlib.sha256(volume.magnitude.numpy(force=True).tobytes()).hexdigest()


def write_phase(volume: ImageVolume, pixels: str, index: int, settings: Settings) -> Tensor:
    """Phase of one slice, float32 (y, x), radians; the same whenever it is asked for.

    As it was measured, where the volume has it; else the generator's.
    """
    if volume.phase is not None:
        return volume.phase[index]
    magnitude, name = volume.magnitude[index], f"{pixels}#{index}"
    if settings.weights:
        write = _generator(settings.weights, _stamp(settings.weights))
        return write.at_pixels(
            magnitude,
            volume.spacing_mm,
            seed=settings.seed,
            name=name,
            upside_down=volume.upside_down,
        )
    pair = PhasePair(
        name=name,
        volume=volume.name,
        patient_id=volume.patient_id,
        contrast=volume.contrast,
        slice_index=index,
        position=index / max(1, volume.n_slices - 1),
        magnitude=magnitude,
        phase=torch.zeros_like(magnitude),
        support=magnitude > 0,
        recon_shape=(magnitude.shape[0], magnitude.shape[1]),
        acquired=(0, magnitude.shape[1]),
        spacing_mm=volume.spacing_mm,
    )
    return sources.write(settings.generator, pair, sources.Context(), seed=settings.seed)


def _stamp(path: Path) -> int:
    """Changes with the file, so that nothing of an older one is taken from a cache."""
    return path.stat().st_mtime_ns


@lru_cache(maxsize=2)
def _generator(weights: Path, stamp: int) -> generator.PhaseGenerator:
    return generator.load(weights)


@lru_cache(maxsize=8)
def _coils(path: Path, n_coils: int, upside_down: bool, stamp: int) -> bank.Coils:
    found = bank.Donor.open(path).read(n_coils)
    return dataclasses.replace(found, maps=found.maps.flip(2)) if upside_down else found


def _donors(settings: Settings, volume: ImageVolume) -> tuple[bank.Donor, ...]:
    if settings.maps == bank.SIMULATED:
        strength = 1.5 if abs(volume.field_t - 1.5) < 0.5 else 3.0
        with _OPENING:  # donors that are not there yet are simulated once
            return _opened(settings.maps, settings.n_coils, volume.orientation, strength, ())
    stamps = tuple(_stamp(path) for path in sorted(Path(settings.maps).glob("*.h5")))
    return _opened(settings.maps, 0, "", 0.0, stamps)


@lru_cache(maxsize=16)
def _opened(
    maps: str, n_coils: int, orientation: str, field_t: float, stamps: tuple[int, ...]
) -> tuple[bank.Donor, ...]:
    return bank.open_bank(maps, n_coils=n_coils, orientation=orientation, field_t=field_t).donors


def _noise_std(settings: Settings, level: synthesis.NoiseLevel, mean: float) -> tuple[float, str]:
    """Noise along the signal that the result is to have, and what to say about it."""
    if settings.noise == NONE:
        return 0.0, ""
    if settings.noise == MATCH:
        return level.std, "" if level.std else "the images hold no noise; none was added"
    snr = float(settings.noise)
    return max(level.std, mean / snr), synthesis.require_reachable(snr, level)


def _noise_scan(
    receiver: synthesis.Receiver, donor_slice: int, pixels: str, settings: Settings
) -> tuple[Tensor | None, Tensor | None]:
    """A header's noise and noise_covariance, as the widest slice has them.

    The gain of the receivers follows each slice of the donor, as the SNR of the image asks.
    """
    covariance = receiver.covariance(donor_slice)
    if not bool(covariance.any()):
        return None, None
    rng = runs.rng(settings.seed, "noise scan", pixels)
    n_samples = receiver.shape[0]  # of a line, as long as the others
    shape = math.ceil(NOISE_SAMPLES / n_samples), receiver.n_coils, n_samples
    white = torch.randn(shape, generator=rng, dtype=torch.complex64)
    root = torch.linalg.cholesky(covariance.to(torch.complex128)).to(torch.complex64)
    return root @ white, covariance


def _header(
    job: Job,
    prepared: Prepared,
    volume: ImageVolume,
    notes: Sequence[str],
    match: bank.Match,
    std: float,
) -> RawHeader:
    settings, report, level = job.settings, prepared.report, prepared.level
    assert report is not None and level is not None
    record: dict[str, Any] = runs.make_record({"synthesize": settings.record()})
    source = phase_source(volume, settings)
    what = "coils and noise" if source == MEASURED else "phase, coils and noise"
    record[SYNTHETIC] = f"{what} were written by synthlib; not measured"
    record["phase"] = source
    record["inputs"] = {"pixels_sha256": prepared.pixels}
    record["audit"] = report.to_dict()
    record["notes"] = list(notes)
    record["donor"] = {
        "name": match.donor.name,
        "fingerprint": match.donor.fingerprint,
        "slices": match.slices,
        "distance": match.distance,
    }
    record["noise"] = {**dataclasses.asdict(level), "std_out": std}
    if settings.weights and source != MEASURED:
        record["generator"] = _generator_record(settings.weights)
    n_samples = settings.oversampling * volume.magnitude.shape[1]
    return RawHeader(
        contrast=volume.contrast,
        patient_id=volume.patient_id,
        recon_shape=(volume.magnitude.shape[1], volume.magnitude.shape[2]),
        spacing_mm=volume.spacing_mm,
        thickness_mm=volume.thickness_mm,
        step_mm=volume.step_mm,
        orientation=volume.orientation,
        field_t=volume.field_t,
        te_ms=_number(volume, "te_ms"),
        tr_ms=_number(volume, "tr_ms"),
        ti_ms=_number(volume, "ti_ms"),
        flip_deg=_number(volume, "flip_deg"),
        # the time of a readout is that of all its samples
        dwell_us=1e6 / _number(volume, "pixel_bandwidth_hz") / n_samples,
        frequency_hz=1e6 * _number(volume, "frequency_mhz"),
        vendor=str(volume.facts.get("vendor", "")),
        placement=volume.placement,
        record=record,
        attributes={
            SYNTHETIC: True,
            "key": job.key,
            "upside_down": volume.upside_down,
            "phase_source": source,
            "anatomy": volume.anatomy,
        },
        labels={name: label.long() for name, label in volume.labels.items()},
        annotations=prepared.annotations,
    )


def _generator_record(weights: Path) -> dict[str, object]:
    architecture = _generator(weights, _stamp(weights)).architecture
    return {
        "weights_sha256": _sha256(weights, _stamp(weights)),
        "architecture": dataclasses.asdict(architecture),
    }


def _number(volume: ImageVolume, name: str) -> float:
    return float(str(volume.facts.get(name, math.nan)))


@lru_cache(maxsize=2)
def _sha256(path: Path, stamp: int) -> str:
    return runs.sha256(path)


def _rescaled(
    annotations: Sequence[Mapping[str, object]], before: Sequence[int], after: Sequence[int]
) -> tuple[Mapping[str, object], ...]:
    """Boxes on the pixels of a cropped matrix."""
    found = []
    for row in annotations:
        changed = dict(row)
        for names, axis in ((("y", "height"), 1), (("x", "width"), 2)):
            for name in names:
                if name in changed:
                    changed[name] = float(str(changed[name])) * after[axis] / before[axis]
        found.append(changed)
    return tuple(found)


def _turned(
    annotations: Sequence[Mapping[str, object]], n_rows: int
) -> tuple[Mapping[str, object], ...]:
    """Boxes on rows that run the other way."""
    found = []
    for row in annotations:
        changed = dict(row)
        if "y" in changed:
            height = float(str(changed.get("height", 1)))
            changed["y"] = n_rows - float(str(changed["y"])) - height
        found.append(changed)
    return tuple(found)


def _digits(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "unknown"
