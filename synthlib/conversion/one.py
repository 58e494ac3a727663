"""One series of magnitude images to one file of raw data."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
import traceback
from pathlib import Path

from synthlib import archive, audit, bank, runs, synthesis
from synthlib.conversion.annotations import rescaled, turned
from synthlib.conversion.images import make_images
from synthlib.conversion.job import ASIDE, MADE, THERE, Job, Outcome, Prepared, Stopped
from synthlib.conversion.phase import phase_source, write_phase
from synthlib.conversion.raw_data import make_raw_data
from synthlib.conversion.settings import IMAGES, MEASURED, WRITTEN
from synthlib.records import ImageVolume

__all__ = [
    "ASIDE",
    "MADE",
    "THERE",
    "Job",
    "Outcome",
    "Stopped",
    "convert",
    "phase_source",
    "pixels_hash",
    "read_images",
    "reason",
    "write_phase",
]

NO_PHASE = "no measured phase that could be used (--phase measured)"


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
            how = make_images if job.settings.format in IMAGES else make_raw_data
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
        annotations = turned(annotations, volume.magnitude.shape[1])
    level = None if report.repairable else report.noise  # else the measured grid tells it
    ky, kx = (true / n for true, n in zip(report.true_matrix, report.grid, strict=True))
    if settings.repair:
        ky = kx = 1.0
        before = volume.magnitude.shape
        volume = audit.repair(volume, report)
        annotations = rescaled(annotations, before, volume.magnitude.shape)
    head = bank.outline(volume.magnitude)
    return Prepared(
        outcome=outcome,
        volume=volume,
        report=report,
        head=head,
        level=level or synthesis.estimate_noise(volume.magnitude, head.mask, (ky, kx)),
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


def pixels_hash(volume: ImageVolume) -> str:
    """What every draw follows from, beside the seed: pseudonyms change from run to run.

    Of the pixels as they were read, before any repair: sums of another machine
    may differ in their last bits.
    """
    return hashlib.sha256(volume.magnitude.numpy(force=True).tobytes()).hexdigest()
