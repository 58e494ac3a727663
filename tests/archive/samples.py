"""Files that the tests of the archive write: DICOM, enhanced DICOM, NIfTI, HDF5, stacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import PIL.Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

ROWS, COLUMNS = 7, 5
AXIAL, SAGITTAL, CORONAL = [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1]


def stored_pixels(number: int, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """uint16 (y, x), every pixel of every slice another number."""
    y, x = np.mgrid[:rows, :columns]
    return (1 + 100 * number + 10 * y + x).astype("<u2")


def dicom_image(number: int = 0, **changes: Any) -> FileDataset:
    """One axial MR image, 3 mm above the one before; changed as a test wants it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
    image.Modality, image.PatientID, image.PatientName = "MR", "patient 1", "Muster^Max"
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    image.SeriesNumber, image.InstanceNumber = 1, number + 1
    image.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    image.ImageOrientationPatient = AXIAL
    image.ImagePositionPatient = [-10, -12, 3 * number - 5]
    image.PixelSpacing, image.SliceThickness = [0.9, 1.1], 2.5
    image.Rows, image.Columns = ROWS, COLUMNS
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.PixelData = stored_pixels(number).tobytes()
    for word, value in changes.items():
        if value is None:
            delattr(image, word)
        else:
            setattr(image, word, value)
    return image


def write_dicom(path: Path, image: FileDataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, n_slices: int = 4, **changes: Any) -> Path:
    """Files whose names are in another order than their places."""
    for number in range(n_slices):
        name = f"IM{(3 * number + 1) % n_slices if n_slices % 3 else number}"
        write_dicom(folder / name, dicom_image(number, **changes))
    return folder


def item(**values: Any) -> Dataset:
    made = Dataset()
    for word, value in values.items():
        setattr(made, word, value)
    return made


def enhanced(
    n_slices: int = 3, echoes: tuple[float, ...] = (4.6, 9.2), **changes: Any
) -> FileDataset:
    """An enhanced MR image: every slice at every echo, echoes of one slice together."""
    image = dicom_image(SOPClassUID=EnhancedMRImageStorage)
    for word in (
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "PixelSpacing",
        "SliceThickness",
    ):
        delattr(image, word)
    shared = item(
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.9, 1.1], SliceThickness=2.5)]),
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=AXIAL)]),
        MRTimingAndRelatedParametersSequence=Sequence([item(RepetitionTime=25, FlipAngle=20)]),
    )
    frames, pixels = [], []
    for number in reversed(range(n_slices)):
        for echo, te in enumerate(echoes):
            frames.append(
                item(
                    PlanePositionSequence=Sequence(
                        [item(ImagePositionPatient=[-10, -12, 3 * number - 5])]
                    ),
                    MREchoSequence=Sequence([item(EffectiveEchoTime=te)]),
                    PixelValueTransformationSequence=Sequence(
                        [item(RescaleSlope=echo + 1, RescaleIntercept=0, RescaleType="US")]
                    ),
                )
            )
            pixels.append(stored_pixels(number))
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    image.PerFrameFunctionalGroupsSequence = Sequence(frames)
    image.NumberOfFrames = len(frames)
    image.PixelData = np.stack(pixels).tobytes()
    for word, value in changes.items():
        setattr(image, word, value)
    return image


def write_nifti(path: Path, values: np.ndarray, spacing: tuple[float, ...] = (1, 1, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spacing, 1.0])
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def head_values(shape: tuple[int, ...] = (7, 5, 4)) -> np.ndarray:
    return np.arange(1, 1 + np.prod(shape), dtype=np.int16).reshape(shape)


def write_png(path: Path, values: np.ndarray, **keywords: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(values).save(path, **keywords)
    return path


def write_fastmri(path: Path, **attributes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["reconstruction_rss"] = np.arange(1, 1 + 2 * 7 * 5, dtype=np.float32).reshape(2, 7, 5)
        for name, value in attributes.items():
            file.attrs[name] = value
    return path
