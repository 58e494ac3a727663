"""A found series as a volume of magnitudes."""

from __future__ import annotations

import dataclasses

from synthlib.archive.series import Series
from synthlib.formats import dicom, fastmri_images, nifti, quiet, stacks
from synthlib.formats.phase import COMPLEX, PhaseImages
from synthlib.formats.refusals import Refusal, reason_of
from synthlib.records import ImageVolume


def read(series: Series, *, phase: bool = True) -> ImageVolume:
    """Read one series; safe to call from several threads and processes.

    Args:
        series: as :func:`synthlib.archive.find` found it.
        phase: read the phase that was measured with it, too, where there is one.

    Returns:
        ImageVolume under the series' name, pseudonym and contrast.

    Raises:
        ValueError: it cannot be used; the message names `where` and the reason, and repeats no
            text of the files.
    """
    reason = ""
    try:
        with quiet.hush():
            # a magnitude that is made of complex numbers needs them all
            wanted = phase or (series.phase is not None and series.phase.kind == COMPLEX)
            volume = _read(series, series.phase if wanted else None)
    except (
        Exception
    ) as error:  # whatever a damaged file makes a package raise, one file stops nothing
        reason = reason_of(error)
    if reason:  # raised here, so that no foreign error with its texts hangs on to it
        raise ValueError(f"{series.where}: {reason}.")
    return dataclasses.replace(
        volume,
        name=series.name,
        patient_id=series.patient_id,
        contrast=series.contrast,
        phase=volume.phase if phase else None,
        notes=(*series.notes, *volume.notes),
    )


def _read(series: Series, phase: PhaseImages | None) -> ImageVolume:
    if series.kind == "dicom":
        return dicom.read_series(series.files, series.parts, phase)
    if series.kind == "nifti":
        volume = series.parts[0][1] if series.parts else 0
        return nifti.read_volume(series.files[0], volume, dict(series.label_files), phase)
    if series.kind == "fastmri":
        return fastmri_images.read_volume(series.files[0])
    if series.spacing_mm is None:
        raise Refusal(stacks.NEEDS_SPACING)
    if series.files[0].lower().endswith(".npy"):
        return stacks.read_npy(series.files[0], series.spacing_mm, series.slice_mm)
    return stacks.read_pngs(series.files, series.spacing_mm, series.slice_mm)
