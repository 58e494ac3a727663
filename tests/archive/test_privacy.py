"""A marker in every text of every format and in every path: it must never come out."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import threading
import traceback
import warnings
from pathlib import Path

import h5py
import nibabel
import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest
import samples
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from synthlib import archive

MARK = "QXMARKERXQ"
NUMBER = "77665544"  # where only digits may stand: dates, times, UIDs
VALUES = {
    **dict.fromkeys(("PN", "LO", "LT", "ST", "UT", "UC", "SH", "UR"), MARK),
    "CS": MARK, "AE": MARK, "DA": NUMBER, "TM": "776655", "DT": NUMBER, "UI": f"1.2.{NUMBER}",
    "AS": "776Y", "IS": NUMBER,
}  # fmt: skip
NEEDED = {  # texts that decide whether it is an image at all; ImageType gains the marker below
    "SOPClassUID", "Modality", "PhotometricInterpretation", "SpecificCharacterSet", "ImageType",
    "ComplexImageComponent", "NumberOfFrames", "DirectoryRecordSequence",
}  # fmt: skip


def marked_image(number: int) -> Dataset:
    """Every standard element of a text type holds the marker; so do private ones and sequences."""
    image = samples.dicom_image(number)
    for tag, entry in DicomDictionary.items():
        vr, word = entry[0], keyword_for_tag(tag)
        group = tag >> 16
        if vr in VALUES and word and word not in NEEDED and 0x0008 <= group < 0x7000:
            image.add_new(tag, vr, VALUES[vr])
    image.SeriesInstanceUID, image.InstanceNumber = f"1.2.{NUMBER}", number + 1
    image.SOPInstanceUID = f"1.2.{NUMBER}.{number}"
    image.ImageType = ["ORIGINAL", "PRIMARY", "M", MARK]
    image.SeriesDescription = f"t2_tse {MARK}"
    image.BodyPartExamined = f"{MARK} BRAIN"
    block = image.private_block(0x0051, MARK, create=True)
    block.add_new(0x08, "LO", MARK)
    block.add_new(0x09, "SQ", Sequence([samples.item(PatientName=MARK)]))
    image.ReferencedImageSequence = Sequence(
        [samples.item(PatientComments=MARK, ReferencedSOPInstanceUID=f"1.2.{NUMBER}")]
    )
    image.EchoTime = 90
    return image


def build(root: Path) -> Path:
    """Good files of all formats and broken ones of the same, under marked names."""
    place = root / f"{MARK}^folder"
    dicoms = place / f"{MARK} dicom"
    for number in range(3):
        samples.write_dicom(dicoms / f"{MARK}_{number}.dcm", marked_image(number))
    with h5py.File(samples.write_fastmri(place / f"{MARK}.h5", patient_id=MARK), "a") as file:
        file.attrs["acquisition"], file.attrs[MARK] = MARK, MARK
        file["ismrmrd_header"] = f"<x><studyInformation><a>{MARK}</a></studyInformation></x>"
        file[MARK] = 5
    image = nibabel.Nifti1Image(samples.head_values(), np.diag([1, 1, 4, 1]))
    image.header["descrip"], image.header["aux_file"] = MARK, MARK
    image.header["intent_name"], image.header["db_name"] = MARK, MARK
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", MARK.encode()))
    nibabel.save(image, place / f"{MARK}_T1.nii")
    nibabel.save(image, place / f"sub-{MARK}_T2w.nii.gz")
    (place / f"{MARK}_T1.json").write_text(f'{{"PatientName": "{MARK}", "EchoTime": "{MARK}"}}')
    told = PIL.PngImagePlugin.PngInfo()
    told.add_text("Comment", MARK)
    told.add_itxt(MARK, MARK)
    samples.write_png(
        place / f"{MARK}s" / f"{MARK}1.png",
        samples.head_values((9, 8)).astype(np.uint8),
        pnginfo=told,
    )
    np.save(place / f"{MARK}.npy", samples.head_values((9, 8)))
    broken = place / f"{MARK} broken"
    broken.mkdir()
    for path in [path for path in sorted(place.rglob("*")) if path.is_file()]:
        data = path.read_bytes()
        for part, at in (("half", len(data) // 2), ("start", 700), ("end", len(data) - 20)):
            (broken / f"{part}{path.name}").write_bytes(data[:at])
        for at in range(1, 6):  # a marker where it hurts: lengths, tags, texts
            to = min(len(data) - 20, 380 * at)
            changed = data[:to] + MARK.encode() + data[to + len(MARK) :]
            (broken / f"{at}{path.name}").write_bytes(changed)
    (broken / f"{MARK}.txt").write_text(MARK)
    (broken / f"{MARK} link").symlink_to(place / f"{MARK} nowhere")
    samples.write_series(place / f"{MARK} negative", 2, RescaleIntercept=-5000, PatientID=MARK)
    samples.write_series(
        place / f"{MARK} strange", 2, PatientName=f"{MARK}\\{MARK}", BitsAllocated=12
    )
    return place


def everything(folder: Path) -> list[str]:
    """All that finding and reading tells: results, pickles, errors with what hangs on to them."""
    told: list[str] = []
    found = archive.find([folder], salt=b"salt", spacing_mm=(1, 1))
    told.append(repr(found))
    for series in found.series:
        told.append(str(vars(dataclasses.replace(series, files=(), label_files=()))))
        told.append(str(pickle.dumps(dataclasses.replace(series, files=(), label_files=()))))
        try:
            volume = archive.read(series)
            told += [repr(volume), str(pickle.dumps(volume))]
        except (ValueError, OSError) as error:
            told += [repr(error), str(error.__context__), str(error.__cause__)]
            told.append("".join(traceback.format_exception(error)).replace(__file__, ""))
    return told


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build(tmp_path_factory.mktemp("private"))


def test_no_marker_comes_out_in_results_errors_logs_warnings_or_on_the_screen(
    folder, caplog, capfd
):
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        told = everything(folder)
    shown = capfd.readouterr()
    caught_texts = [str(warning.message) for warning in caught]
    for text in [*told, caplog.text, shown.out, shown.err, *caught_texts]:
        for mark in (MARK, MARK.lower(), NUMBER, "776655", "776Y"):
            assert mark not in text
    assert (caught_texts, shown.out, shown.err) == ([], "", "")
    assert not [record for record in caplog.records if record.name.startswith(("pydicom", "PIL"))]


def test_the_marked_files_were_really_read(folder):
    found = archive.find([folder], salt=b"salt", spacing_mm=(1, 1))
    read, refused = [], 0
    for series in found.series:
        try:
            read.append((series.kind, archive.read(series)))
        except ValueError:
            refused += 1
    assert {kind for kind, _ in read} == {"dicom", "nifti", "fastmri", "stack"}
    assert refused > 3
    assert sum(aside.n_files for aside in found.set_aside) > 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = marked_image(0)
    planted = [element for element in image.iterall() if MARK in str(element.value)]
    assert len(planted) > 1000  # of the standard's dictionary
    (volume,) = [one for kind, one in read if kind == "dicom" and one.n_slices == 3]
    assert (volume.contrast, volume.anatomy) == ("AXT2", "head")
    assert volume.facts["image_type"] == ("ORIGINAL", "PRIMARY", "M")


def test_paths_come_out_where_they_are_asked_for(folder):
    found = archive.find([folder], salt=b"salt", show_names=True)
    assert all(MARK in aside.where for aside in found.set_aside)
    assert MARK not in str([(aside.reason, aside.n_files) for aside in found.set_aside])


def test_other_threads_keep_their_warnings_while_one_reads(folder):
    """Silence by warnings.catch_warnings would be for the whole process."""
    import pydicom.misc

    heard: list[str] = []
    stop = threading.Event()

    def reader() -> None:
        while not stop.is_set():
            archive.find([folder], salt=b"salt")

    thread = threading.Thread(target=reader)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread.start()
        for number in range(200):
            pydicom.misc.warn_and_log(f"of mine {number}", UserWarning)
            stop.wait(0.001)
        stop.set()
        thread.join()
        heard = [str(warning.message) for warning in caught]
    assert heard == [f"of mine {number}" for number in range(200)]
