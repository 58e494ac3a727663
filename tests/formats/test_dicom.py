"""DICOM series that the test writes, with a name in every text tag; the name must not come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from synthlib.formats import dicom

IDENTITY = "Erika^Musterfrau"
TEXT = ("PN", "LO", "SH", "LT", "ST", "UT")
N_SLICES, ROWS, COLUMNS = 4, 7, 5
ORDER = (2, 0, 3, 1)  # in which the slices' files are named


def series(**changes: object) -> list[FileDataset]:
    """Slices 3 mm apart, of pixels 1000 * slice + 10 * y + x; changed as a test wants it."""
    uid = generate_uid()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    images = []
    for number in range(N_SLICES):
        image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        for group in (0x0008, 0x0010, 0x0018, 0x0020, 0x0032, 0x0040):
            for element in range(0x0010, 0x2200, 0x0010):
                word = keyword_for_tag((group << 16) | element)
                if word and dictionary_VR((group << 16) | element) in TEXT:
                    setattr(image, word, IDENTITY)
        image.SeriesDescription = image.ProtocolName = image.PatientComments = IDENTITY
        image.PatientName = image.PatientID = image.OtherPatientNames = IDENTITY
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
        image.SeriesInstanceUID = uid
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.ImagePositionPatient = [-10, -12, 3 * number - 5]
        image.PixelSpacing = [0.9, 1.1]
        image.Rows, image.Columns = ROWS, COLUMNS
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 0
        y, x = np.mgrid[:ROWS, :COLUMNS]
        image.PixelData = (1000 * number + 10 * y + x).astype("<u2").tobytes()
        for word, value in changes.items():
            setattr(image, word, value)
        images.append(image)
    return images


def write(folder: Path, images: list[FileDataset]) -> Path:
    folder.mkdir(exist_ok=True)
    for place, image in zip(ORDER, images, strict=False):
        image.save_as(folder / f"IM{place}", enforce_file_format=True)
    return folder


def test_slices_come_in_the_order_of_their_places(tmp_path):
    images = dicom.read_images(write(tmp_path, series()))
    assert images.magnitude.shape == (N_SLICES, ROWS, COLUMNS)
    assert images.magnitude.dtype == torch.float32
    assert images.spacing_mm == (0.9, 1.1)
    expected = 1000 * torch.arange(N_SLICES) + 10 * 6 + 4
    torch.testing.assert_close(images.magnitude[:, 6, 4], expected.float())


def test_places_count_along_the_normal_whatever_the_direction(tmp_path):
    made = series(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])  # sagittal: the normal is -x
    for number, image in enumerate(made):
        image.ImagePositionPatient = [
            -3 * number,
            40 - number % 2,
            7,
        ]  # in-plane parts do not count
    found = dicom.read_images(write(tmp_path, made))
    assert found.magnitude[:, 0, 0].tolist() == [0, 1000, 2000, 3000]


def test_slope_and_intercept_are_those_of_every_file(tmp_path):
    made = series(RescaleIntercept=5)
    for number, image in enumerate(made):
        image.RescaleSlope = number + 1
    found = dicom.read_images(write(tmp_path, made))
    expected = [5 + (n + 1) * 1000 * n for n in range(N_SLICES)]
    assert found.magnitude[:, 0, 0].tolist() == expected


def test_nobody_is_named(tmp_path):
    made = series()
    planted = [element for element in made[0].iterall() if IDENTITY in str(element.value)]
    assert len(planted) > 15  # names, descriptions, comments, institutions
    found = dicom.read_images(write(tmp_path / IDENTITY, made))
    assert (found.name, found.patient_id, found.contrast) == ("dicom", "unknown", "unknown")
    for part in IDENTITY.split("^"):
        assert part not in repr(found)


def test_other_files_are_passed_by_and_an_empty_folder_is_told(tmp_path):
    (tmp_path / "README.txt").write_text("not DICOM")
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match="has no DICOM file"):
            dicom.read_images(folder)
    assert len(dicom.read_images(write(tmp_path, series())).magnitude) == N_SLICES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"NumberOfFrames": 3}, "a file of 3 frames"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "in MONOCHROME1"),
        ({"ImagePositionPatient": [0, 0, 1]}, "two images of one place"),
        ({"RescaleIntercept": -50}, "negative values"),
        ({"RescaleSlope": 0}, "only zeros"),
        ({"PixelData": b"\0\0"}, "cannot be decoded"),
    ],
)
def test_what_is_no_single_magnitude_series_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=rf"the DICOM folder has .*{message}.*expected"):
        dicom.read_images(write(tmp_path, series(**changes)))


def test_what_differs_between_the_files_is_told(tmp_path):
    for word, value, message in (
        ("SeriesInstanceUID", generate_uid(), "2 series"),
        ("ImageOrientationPatient", [1, 0, 0, 0, 0.9, 0.436], "2 directions"),
        ("Columns", COLUMNS - 1, "2 sizes of image"),
    ):
        made = series()
        setattr(made[1], word, value)
        with pytest.raises(ValueError, match=message):
            dicom.read_images(write(tmp_path / word, made))


def test_an_image_without_a_place_is_refused(tmp_path):
    made = series()
    del made[2].ImagePositionPatient
    with pytest.raises(ValueError, match=r"without \['ImagePositionPatient'\]"):
        dicom.read_images(write(tmp_path, made))


def test_the_measured_series_has_ten_slices_and_no_name(real):
    folder = real / "dicom_t1_axial"
    found = dicom.read_images(folder)
    assert found.magnitude.shape == (10, 384, 274)
    assert found.spacing_mm == pytest.approx((0.6667, 0.7), rel=1e-3)
    assert str(pydicom.dcmread(next(folder.glob("*.dcm"))).PatientName) not in repr(found)
