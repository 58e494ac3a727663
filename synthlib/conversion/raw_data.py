"""Prepared magnitudes to one file of multi-coil raw data."""

from __future__ import annotations

import base64
import dataclasses
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from synthlib import arrays, bank, runs, synthesis, tasks
from synthlib.conversion.coils import coils_of, donors_for, noise_scan, noise_std
from synthlib.conversion.job import MADE, Job, Outcome, Prepared, Stopped, digits
from synthlib.conversion.phase import (
    generator_record,
    phase_notes,
    phase_source,
    stamp,
    takes_global_state,
    write_phase,
)
from synthlib.conversion.settings import MEASURED, Settings
from synthlib.figures import thumbnails
from synthlib.formats.raw_header import RawHeader
from synthlib.formats.raw_writer import RawWriter
from synthlib.formats.writers import WRITERS
from synthlib.records import SYNTHETIC, ImageVolume


def make_raw_data(job: Job, prepared: Prepared, n_threads: int, stop: threading.Event) -> Outcome:
    settings, volume = job.settings, prepared.volume
    head, level = prepared.head, prepared.level
    assert volume is not None and head is not None and level is not None
    match = bank.choose(
        prepared.pixels,
        volume,
        head,
        donors_for(settings, volume),
        n_coils=settings.n_coils,
        pairing=settings.pairing,
        seed=settings.seed,
    )
    inside = volume.magnitude[head.mask] if bool(head.mask.any()) else volume.magnitude
    mean = float(inside.mean())
    std, note = noise_std(settings, level, mean)
    notes = [*volume.notes, *match.notes, *([note] if note else [])]
    notes += phase_notes(volume, settings)
    n_slices, ny, nx = volume.magnitude.shape
    shape = settings.oversampling * ny, nx
    coils = coils_of(
        match.donor.path, settings.n_coils, volume.upside_down, stamp(match.donor.path)
    )
    receiver = synthesis.Receiver(coils, head, shape, level=level if std else None, std=std)
    donor_slice = match.slices[head.widest]
    noise, covariance = noise_scan(receiver, donor_slice, prepared.pixels, settings)
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
            "pixel (mm)": " x ".join(digits(mm) for mm in volume.spacing_mm),
            "donor": match.donor.name,
            "SNR in": digits(mean / level.std if level.std else level.snr),
            "SNR out": digits(mean / std if std else level.snr),
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

    if volume.phase is None and takes_global_state(settings):
        with writer:
            return b"".join([make(index) for index in range(volume.n_slices)])
    if n_threads == 1:
        with writer, tasks.threads_of_our_own():
            return b"".join(map(make, range(volume.n_slices)))
    with writer, tasks.threads_of_our_own() as most, ThreadPoolExecutor(n_threads or most) as pool:
        pictures = list(pool.map(make, range(volume.n_slices)))
    return b"".join(pictures)


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
    if settings.network and source != MEASURED:
        record["generator"] = generator_record(settings)
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


def _number(volume: ImageVolume, name: str) -> float:
    return float(str(volume.facts.get(name, math.nan)))
