"""A DICOM series as an archive would hold it, for examples: synthlib's results are no DICOM."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from synthlib.records import ImageVolume

LARGEST = 4000  # stored value of the brightest pixel, as 12-bit scanners have it
AXES = {
    "axial": [1, 0, 0, 0, 1, 0],
    "coronal": [1, 0, 0, 0, 0, -1],
    "sagittal": [0, 1, 0, 0, 0, -1],
}
NORMALS = {"axial": (0, 0, 1), "coronal": (0, -1, 0), "sagittal": (-1, 0, 0)}


def write_series(
    folder: str | Path, volume: ImageVolume, texts: Mapping[str, str], *, number: int = 1
) -> list[Path]:
    """Write one file per slice, single-frame MR images without compression.

    Args:
        folder: made if it is not there; files are IM<number>_<slice>.
        volume: magnitudes and geometry; te_ms, tr_ms, ti_ms, flip_deg,
            acquisition_matrix (rows, columns) and image_type of its facts are written.
        texts: further elements by keyword, for example {"PatientName": "Example^Eve"}.
        number: of the series.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    source = [folder.name, volume.name, str(number)]
    study, series = (generate_uid(entropy_srcs=[what, *source]) for what in ("study", "series"))
    scale = LARGEST / float(volume.magnitude.max())
    paths = []
    for index, magnitude in enumerate(volume.magnitude):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID = MRImageStorage
        image.SOPInstanceUID = generate_uid(entropy_srcs=["image", *source, str(index)])
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.Modality, image.BodyPartExamined = "MR", "HEAD"
        image.SeriesNumber, image.InstanceNumber = number, index + 1
        image.MRAcquisitionType = "2D"
        _describe(image, volume)
        step = volume.step_mm if math.isfinite(volume.step_mm) else 1.0
        place = np.array(NORMALS[volume.orientation]) * index * step
        image.ImageOrientationPatient = AXES[volume.orientation]
        image.ImagePositionPatient = [float(mm) for mm in place]
        for word, text in texts.items():
            setattr(image, word, text)
        _set_pixels(image, (magnitude * scale).round().numpy(force=True))
        path = folder / f"IM{number}_{index + 1:03d}"
        image.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _describe(image: pydicom.Dataset, volume: ImageVolume) -> None:
    facts = volume.facts
    image.ImageType = list(facts.get("image_type", ("ORIGINAL", "PRIMARY", "M")))  # type: ignore[call-overload]
    for word, name in (
        ("EchoTime", "te_ms"),
        ("RepetitionTime", "tr_ms"),
        ("InversionTime", "ti_ms"),
        ("FlipAngle", "flip_deg"),
    ):
        if name in facts:
            setattr(image, word, facts[name])
    image.ScanningSequence = ["SE", "IR"] if "ti_ms" in facts else ["SE"]
    if math.isfinite(volume.field_t):
        image.MagneticFieldStrength = volume.field_t
    image.PixelSpacing = [round(mm, 5) for mm in volume.spacing_mm]
    if math.isfinite(volume.thickness_mm):
        image.SliceThickness = volume.thickness_mm
    encoded = facts.get("acquisition_matrix")
    if isinstance(encoded, tuple):
        image.InPlanePhaseEncodingDirection = "ROW"
        image.AcquisitionMatrix = [0, *encoded, 0]  # frequency, then phase, as vendors have it


def _set_pixels(image: pydicom.Dataset, stored: np.ndarray) -> None:
    image.Rows, image.Columns = stored.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored = 16, 12
    image.HighBit, image.PixelRepresentation = 11, 0
    image.PixelData = stored.clip(0, LARGEST).astype("<u2").tobytes()
