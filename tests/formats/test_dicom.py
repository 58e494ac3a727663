"""DICOM series that the test writes, with a name in every text tag; the name must not come out."""

from __future__ import annotations

from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

from synthlib.formats import dicom
from synthlib.formats.dicom import facts, pixels
from synthlib.formats.refusals import Refusal
from synthlib.records import ImageVolume

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


# --- series of an archive ---------------------------------------------------------------


def read_one(path: Path):
    return dicom.read_series([str(path)])


def saved(path: Path, image: FileDataset) -> Path:
    image.save_as(path, enforce_file_format=True)
    return path


def test_monochrome1_is_turned_over_at_the_brightest(tmp_path):
    made = series(PhotometricInterpretation="MONOCHROME1", RescaleSlope=2)
    write(tmp_path, made)
    volume = dicom.read_series([str(path) for path in sorted(tmp_path.iterdir())])
    largest = 2 * (3000 + 64)
    assert volume.magnitude.min() == 0
    assert volume.magnitude[1, 2, 3] == largest - 2 * (1000 + 23)
    assert "MONOCHROME1" in volume.notes[0]


@pytest.mark.parametrize(
    ("bits", "high", "signed"), [(12, 11, 0), (12, 15, 0), (10, 11, 0), (12, 11, 1), (16, 15, 1)]
)
def test_bits_beside_the_pixel_are_not_taken_for_it(tmp_path, bits, high, signed):
    wanted = np.arange(1, 1 + ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 7
    low = high + 1 - bits
    mask = ((1 << bits) - 1) << low
    stored = ((wanted << low) & mask) | (0xFFFF & ~mask)  # overlays of ones all around
    image = series(BitsStored=bits, HighBit=high, PixelRepresentation=signed)[0]
    image.PixelData = stored.astype("<u2").tobytes()
    volume = read_one(saved(tmp_path / "a", image))
    np.testing.assert_array_equal(volume.magnitude[0], wanted)


def test_negative_pixels_of_signed_images_are_seen(tmp_path):
    image = series(BitsStored=12, HighBit=11, PixelRepresentation=1)[1]
    stored = np.full((ROWS, COLUMNS), 5, np.int16)
    stored[3, 2] = -7 & 0xFFF
    image.PixelData = stored.astype("<i2").tobytes()
    with pytest.raises(Refusal, match="negative values \\(from -7 to 5\\)"):
        read_one(saved(tmp_path / "a", image))


def test_padding_outside_of_the_picture_becomes_zero(tmp_path):
    image = series(PixelRepresentation=1)[1]
    stored = np.full((ROWS, COLUMNS), 5, np.int16)
    stored[:, 0] = -2000
    image.PixelData = stored.tobytes()
    image.add_new("PixelPaddingValue", "SS", -2000)
    volume = read_one(saved(tmp_path / "a", image))
    assert volume.magnitude[0, 2].tolist() == [0, 5, 5, 5, 5]


def test_every_way_of_storing_an_image_gives_the_same_numbers():
    names = ("", "_RLE", "_bigendian", "_expb", "_implicit", "_jp2klossless", "_padded")
    plain = pydicom.dcmread(str(get_testdata_file("MR_small.dcm"))).pixel_array
    for name in names:
        volume = read_one(Path(str(get_testdata_file(f"MR_small{name}.dcm"))))
        np.testing.assert_array_equal(volume.magnitude[0], plain.astype(np.float32))
        assert volume.facts["lossy"] is False


def test_a_deflated_file_is_read(tmp_path):
    image = series()[2]
    expected = image.pixel_array.copy()
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    volume = read_one(saved(tmp_path / "a", image))
    np.testing.assert_array_equal(volume.magnitude[0], expected.astype(np.float32))


def test_lossless_jpeg_ls_is_the_plain_file():
    packed, plain = (
        read_one(Path(get_testdata_file(name)))
        for name in ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm")
    )
    assert torch.equal(packed.magnitude, plain.magnitude)


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14"])
def test_lossless_jpeg_is_the_plain_file(tmp_path, syntax):
    """As most archives of hospitals keep it; encoded here by GDCM."""
    image = series()[1]
    plain, packed = saved(tmp_path / "plain", image), tmp_path / "packed"
    reader, change, writer = (
        gdcm.ImageReader(),
        gdcm.ImageChangeTransferSyntax(),
        gdcm.ImageWriter(),
    )
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(packed))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert pydicom.dcmread(packed).file_meta.TransferSyntaxUID.is_compressed
    assert torch.equal(read_one(packed).magnitude, read_one(plain).magnitude)
    assert read_one(packed).facts["lossy"] is False


def test_a_missing_decoder_is_named(monkeypatch):
    path = Path(str(get_testdata_file("MR_small_jpeg_ls_lossless.dcm")))
    decoder = pydicom.pixels.get_decoder("1.2.840.10008.1.2.4.80")
    monkeypatch.setattr(type(decoder), "is_available", property(lambda self: False))
    with pytest.raises(Refusal, match=r"JPEG-LS.*no decoder is installed; install python-gdcm"):
        read_one(path)


def test_a_picture_of_another_size_than_the_header_is_refused(tmp_path):
    image = pydicom.dcmread(str(get_testdata_file("MR_small_jp2klossless.dcm")))
    image.Rows = 32
    with pytest.raises(Refusal, match="64 x 64 pixels in one of 32 x 64"):
        read_one(saved(tmp_path / "a", image))


def test_streams_tell_their_size():
    for name, size in (("MR_small_jp2klossless.dcm", (64, 64)), ("JPEG-lossy.dcm", (1024, 256))):
        image = pydicom.dcmread(str(get_testdata_file(name)))
        assert (
            pixels.stream_size(pydicom.encaps.get_frame(image.PixelData, 0, number_of_frames=1))
            == size
        )
    assert pixels.stream_size(b"\0" * 100) is None


def item(**values: object) -> pydicom.Dataset:
    made = pydicom.Dataset()
    for word, value in values.items():
        setattr(made, word, value)
    return made


def enhanced(echoes: tuple[float, ...], n_slices: int = 3) -> FileDataset:
    """Slices from the top down, all echoes of a slice together; the echoes' slopes are 1, 2 ..."""
    image = series()[0]
    image.SOPClassUID, image.Modality, image.PatientID = EnhancedMRImageStorage, "MR", "one"
    for word in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"):
        delattr(image, word)
    for word in ("SeriesDescription", "ProtocolName"):
        setattr(image, word, "t2 star")
    frames, stored = [], []
    for number in reversed(range(n_slices)):
        for echo, te in enumerate(echoes):
            values = {
                "PlanePositionSequence": {"ImagePositionPatient": [0, 0, 4 * number]},
                "MREchoSequence": {"EffectiveEchoTime": te},
                "PixelValueTransformationSequence": {
                    "RescaleSlope": echo + 1, "RescaleIntercept": 0,
                },
            }  # fmt: skip
            frames.append(item(**{word: Sequence([item(**one)]) for word, one in values.items()}))
            y, x = np.mgrid[:ROWS, :COLUMNS]
            stored.append((1000 * number + 10 * y + x).astype("<u2"))
    shared = {
        "PixelMeasuresSequence": {"PixelSpacing": [0.9, 1.1], "SliceThickness": 3.5},
        "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        "MRImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "T2_STAR", "NONE"]},
        "MRModifierSequence": {"PartialFourier": "YES"},
        "MRFOVGeometrySequence": {
            "InPlanePhaseEncodingDirection": "ROW", "MRAcquisitionFrequencyEncodingSteps": 6,
            "MRAcquisitionPhaseEncodingStepsInPlane": 4,
        },
    }  # fmt: skip
    image.SharedFunctionalGroupsSequence = Sequence(
        [item(**{word: Sequence([item(**one)]) for word, one in shared.items()})]
    )
    image.PerFrameFunctionalGroupsSequence = Sequence(frames)
    image.NumberOfFrames, image.PixelData = len(frames), np.stack(stored).tobytes()
    return image


@pytest.mark.parametrize("packed", [False, True])
def test_enhanced_images_fall_apart_into_their_echoes(tmp_path, packed):
    image = enhanced((5.0, 12.0))
    if packed:
        image.compress(RLELossless, generate_instance_uid=False)
    path = saved(tmp_path / "a", image)
    sorter = dicom.Sorter(lambda identity: f"p-{len(identity)}")
    header, _ = dicom.read_header(path, pixels=False)
    sorter.add(0, header)
    bundles = sorted(sorter.bundles(), key=lambda bundle: bundle.order)
    assert [bundle.weighting for bundle in bundles] == ["GRE", "GRE"]
    for echo, bundle in enumerate(bundles):
        volume = dicom.read_series([str(path)], bundle.images)
        assert volume.magnitude[:, 6, 4].tolist() == [
            (echo + 1) * (1000 * n + 64) for n in range(3)
        ]
        assert (volume.spacing_mm, volume.step_mm, volume.thickness_mm) == ((0.9, 1.1), 4.0, 3.5)
        assert volume.facts["te_ms"] == (5.0, 12.0)[echo]
        assert volume.facts["acquisition_matrix"] == (6, 4)
        assert volume.facts["partial_fourier"] is True
        assert volume.facts["interpolated"] is True  # 7 x 5 pixels were made of 6 x 4


# vendor, AcquisitionMatrix, phase encoding, (rows, columns) encoded: as real files have it
LAYOUTS = [
    ("Siemens", [0, 64, 42, 0], "ROW", (64, 42)),
    ("Siemens", [0, 256, 230, 0], "ROW", (256, 230)),
    ("Siemens", [256, 0, 0, 208], "COL", (208, 256)),
    ("Philips", [80, 0, 0, 80], "COL", (80, 80)),
    ("UIH", [0, 256, 0, 230], "ROW", (256, 230)),
    ("UIH", [64, 0, 0, 48], "COL", (48, 64)),
    ("no direction, but square", [0, 128, 128, 0], None, (128, 128)),
    ("no direction", [0, 256, 230, 0], None, None),
    ("not told", [0, 0, 0, 0], "ROW", None),
    ("one number", [0, 256, 0, 0], "ROW", None),
    ("three numbers", [256, 256, 230, 0], "ROW", None),
]


@pytest.mark.parametrize(("vendor", "matrix", "direction", "expected"), LAYOUTS)
def test_the_encoded_matrix_follows_the_direction_of_phase(
    tmp_path, vendor, matrix, direction, expected
):
    image = series()[0]
    image.Manufacturer, image.AcquisitionMatrix = vendor, matrix
    if direction:
        image.InPlanePhaseEncodingDirection = direction
    elif "InPlanePhaseEncodingDirection" in image:
        del image.InPlanePhaseEncodingDirection
    facts = read_one(saved(tmp_path / "a", image)).facts
    assert facts.get("acquisition_matrix") == expected
    rows, columns = expected or (image.Rows, image.Columns)
    assert facts.get("interpolated", False) == (rows < image.Rows or columns < image.Columns)


@pytest.mark.parametrize("encoded", [(6, 4), (5, 5)])
def test_the_encoded_matrix_is_written_as_it_is_read(tmp_path, encoded):
    magnitude = torch.rand(2, 7, 5, generator=torch.Generator().manual_seed(1)) * 1000
    volume = ImageVolume(
        "a", "p", "AXT1", magnitude, spacing_mm=(1.0, 1.0), step_mm=3.0, orientation="axial",
        facts={"acquisition_matrix": encoded},
    )  # fmt: skip
    dicom.write_series(tmp_path / "s", volume, {"PatientID": "x"})
    paths = sorted(map(str, (tmp_path / "s").iterdir()))
    facts = dicom.read_series(paths).facts
    assert (facts["acquisition_matrix"], facts["phase_encoding"]) == (encoded, "row")


def test_an_image_that_its_vendor_calls_interpolated_is(tmp_path):
    image = series(ImageType=["ORIGINAL", "PRIMARY", "M", "UCA", "IF"])[0]
    assert read_one(saved(tmp_path / "a", image)).facts["interpolated"] is True


def test_facts_are_those_of_the_header(tmp_path):
    image = series()[0]
    for word, value in {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D", "ERIKA"],
        "AcquisitionMatrix": [0, 256, 192, 0], "InPlanePhaseEncodingDirection": "COL",
        "Rows": 256, "Columns": 256, "PixelData": np.arange(256**2, dtype="<u2").tobytes(),
        "ScanOptions": ["PFP", "FS"], "LossyImageCompression": "01", "BurnedInAnnotation": "YES",
        "EchoTime": 90.5, "RepetitionTime": 4000, "InversionTime": 0, "FlipAngle": 150,
        "MagneticFieldStrength": "15000", "BodyPartExamined": "SKULL",
    }.items():  # fmt: skip
        setattr(image, word, value)
    volume = read_one(saved(tmp_path / "a", image))
    assert dict(volume.facts) == {
        "format": "dicom", "bits_stored": 16, "lossy": True,
        "image_type": ("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"), "normalised": True,
        "distortion_corrected": True, "phase_encoding": "column", "acquisition_matrix": (192, 256),
        "interpolated": True, "partial_fourier": True, "burned_in": True, "te_ms": 90.5,
        "tr_ms": 4000.0, "flip_deg": 150.0,
    }  # fmt: skip
    assert (volume.field_t, volume.anatomy) == (1.5, "head")


def test_slices_are_placed_by_their_corners_and_directions(tmp_path):
    turn = np.radians(20)
    row, column = [np.cos(turn), np.sin(turn), 0], [0, 0, -1]
    normal = np.cross(row, column)
    images = series(ImageOrientationPatient=[*row, *column])
    for number, image in enumerate(images):
        image.ImagePositionPatient = list(np.array([5.0, -8, 3]) + 3 * number * normal)
    found = dicom.read_images(write(tmp_path, images)).placement
    np.testing.assert_allclose([found.along_row, found.along_column], [row, column], atol=1e-6)
    for number, middle in enumerate(found.middles_mm):
        corner = np.array([5.0, -8, 3]) + 3 * number * normal
        expected = corner + 3 * 0.9 * np.array(column) + 2 * 1.1 * np.array(row)  # of 7 x 5 pixels
        np.testing.assert_allclose(middle, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("maker", "expected"),
    [
        ("SIEMENS", "Siemens Healthineers"),
        ("GE MEDICAL SYSTEMS", "GE HealthCare"),
        ("Philips Medical Systems", "Philips Healthcare"),
        ("TOSHIBA_MEC", "Canon Medical Systems"),
        ("UIH", "United Imaging Healthcare"),
        (IDENTITY, None),
        ("General Hospital", None),
    ],
)
def test_the_vendor_is_a_word_of_a_fixed_list(tmp_path, maker, expected):
    images = series(Manufacturer=maker, ImagingFrequency=123.258417, PixelBandwidth=130)
    told = dicom.read_images(write(tmp_path, images)).facts
    assert told.get("vendor") == expected
    assert told["frequency_mhz"] == 123.26  # no more digits: they would tell the magnet
    assert told["pixel_bandwidth_hz"] == 130


def test_another_nucleus_tells_no_frequency_of_protons(tmp_path):
    images = series(ImagedNucleus="31P", ImagingFrequency=49.9)
    assert "frequency_mhz" not in dicom.read_images(write(tmp_path, images)).facts


@pytest.mark.parametrize("degrees", [0, 15, 30])
def test_oblique_slices_are_of_the_closest_plane_and_said_to_be_oblique(tmp_path, degrees):
    c, s = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))
    image = series(ImageOrientationPatient=[0, c, s, 0, s, -c])[1]  # sagittal, turned in its plane
    assert read_one(saved(tmp_path / "in", image)).notes == ()
    image = series(ImageOrientationPatient=[s, c, 0, 0, 0, -1])[1]  # turned out of its plane
    volume = read_one(saved(tmp_path / "out", image))
    assert volume.orientation == "sagittal"
    told = (f"oblique: {degrees} degrees off the sagittal plane",) if degrees > 20 else ()
    assert volume.notes == told


def test_a_place_is_measured_along_the_normal():
    place = facts.Place((0.0, 1, 0, 0, 0, -1), (3.0, 40, -7))
    assert place.normal == (-1, 0, 0)
    assert place.along == -3


# --- not magnitudes, and frames that are slices --------------------------------------


@pytest.mark.parametrize(
    ("element", "value", "reason"),
    [
        (
            "SeriesDescription",
            "ADC (10^-6 mm2/s)",
            'a map of diffusion (ADC): "adc" in its SeriesDescription',
        ),
        (
            "SeriesDescription",
            "T1 SUB post-pre",
            'a difference of images: "sub" in its SeriesDescription',
        ),
        (
            "ImageComments",
            "flip angle map",
            'a map of flip angles: "flip angle map" in its ImageComments',
        ),
        (
            "ImageComments",
            "relative phase map",
            'a phase image: "relative phase" in its ImageComments',
        ),
        ("ImageType", ["DERIVED", "PRIMARY", "M", "UNI", "ND"], "a ratio of images (MP2RAGE UNI)"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M", "SWI"], "magnitude times a mask of phase"),
    ],
)
def test_images_that_only_words_tell_from_magnitudes_are_set_aside(
    tmp_path, element, value, reason
):
    image = series()[0]
    image.SeriesDescription = image.ProtocolName = image.ImageComments = "t1 se"
    sorter = dicom.Sorter(lambda identity: "p")
    sorter.add(0, dicom.read_header(saved(tmp_path / "plain", image), pixels=False)[0])
    setattr(image, element, value)
    header = dicom.read_header(saved(tmp_path / "a", image), pixels=False)[0]
    with pytest.raises(Refusal) as caught:
        sorter.add(1, header)
    assert reason in str(caught.value)
    assert len(list(sorter.bundles())) == 1


def test_frames_of_one_slice_each_are_no_mosaic_whatever_the_image_type_says(real):
    path = real / "cases" / "single_slices_called_mosaic" / "00.dcm"
    sorter = dicom.Sorter(lambda identity: "p")
    sorter.add(0, dicom.read_header(path, pixels=False)[0])
    (bundle,) = sorter.bundles()
    volume = dicom.read_series([str(path)], bundle.images)
    assert tuple(volume.magnitude.shape) == (6, 64, 64)


def test_lossless_jpeg_of_an_archive_is_read(real):
    volume = read_one(real / "cases" / "jpeg_lossless" / "00.dcm")
    assert tuple(volume.magnitude.shape) == (1, 128, 128)
    assert volume.facts["acquisition_matrix"] == (128, 128)


def test_frames_that_are_left_out_of_a_file_are_counted(tmp_path):
    image = enhanced((5.0, 12.0))
    assert dicom.Sorter(lambda identity: "p").add(
        0, dicom.read_header(saved(tmp_path / "a", image), pixels=False)[0]
    ) is None  # fmt: skip
    for frame in list(image.PerFrameFunctionalGroupsSequence)[:2]:
        kind = {"FrameType": ["ORIGINAL", "PRIMARY", "B0 MAP", "NONE"]}
        frame.MRImageFrameTypeSequence = Sequence([item(**kind)])
    sorter = dicom.Sorter(lambda identity: "p")
    header = dicom.read_header(saved(tmp_path / "b", image), pixels=False)[0]
    assert str(sorter.add(0, header)).startswith("2 of 6 frames left out: a map of the field")
    assert sum(len(bundle.images) for bundle in sorter.bundles()) == 4
