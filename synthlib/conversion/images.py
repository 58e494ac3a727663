"""Prepared magnitudes to images with phase, without coils and noise."""

from __future__ import annotations

import base64
import dataclasses
import threading

import torch

from synthlib import runs
from synthlib.conversion.job import MADE, Job, Outcome, Prepared, Stopped, digits
from synthlib.conversion.phase import generator_record, phase_notes, phase_source, write_phase
from synthlib.conversion.settings import MEASURED
from synthlib.figures import thumbnails
from synthlib.formats import nifti
from synthlib.records import ImageVolume


def make_images(job: Job, prepared: Prepared, n_threads: int, stop: threading.Event) -> Outcome:
    """Magnitude and phase without coils and noise, as NIfTI."""
    settings, volume, level = job.settings, prepared.volume, prepared.level
    assert volume is not None and prepared.head is not None and level is not None
    slices = []
    for index in range(volume.n_slices):
        if stop.is_set():
            raise Stopped
        slices.append(write_phase(volume, prepared.pixels, index, settings))
    phase = torch.stack(slices)
    notes = [*volume.notes, *phase_notes(volume, settings)]
    middle = int(prepared.head.area.argmax())
    nifti.write_images(
        job.target.with_name(job.series.name),
        volume,
        phase,
        facts=_image_facts(job, prepared, volume, notes),
        as_complex=settings.format == "nifti-complex",
    )
    _, ny, nx = volume.magnitude.shape
    picture = thumbnails.thumbnail(volume.magnitude[middle], phase[middle])
    return dataclasses.replace(
        prepared.outcome,
        status=MADE,
        notes=notes,
        picture=base64.b64encode(picture).decode(),
        facts={
            "matrix": f"{ny} x {nx}",
            "slices": volume.n_slices,
            "phase": phase_source(volume, settings),
            "pixel (mm)": " x ".join(digits(mm) for mm in volume.spacing_mm),
            "SNR in": digits(level.snr),
            "noise from": level.source,
            "noise error": f"{100 * level.error:.0f} %",
        },
    )


def _image_facts(
    job: Job, prepared: Prepared, volume: ImageVolume, notes: list[str]
) -> dict[str, object]:
    """What the sidecars of images say: how they were made, whose (a pseudonym), and of what."""
    assert prepared.report is not None
    source = phase_source(volume, job.settings)
    record = runs.make_record({"synthesize": job.settings.record()})
    record["inputs"] = {"pixels_sha256": prepared.pixels}
    record["audit"] = prepared.report.to_dict()
    record["notes"] = notes
    record["phase"] = source
    if job.settings.network and source != MEASURED:
        record["generator"] = generator_record(job.settings)
    return {
        "contrast": volume.contrast,
        "patient_id": volume.patient_id,
        "phase_source": source,
        "annotations": list(prepared.annotations),
        "key": job.key,
        "record": record,
    }
