"""Labels and file names stay with the user; what goes out are words of a list, and numbers."""

from __future__ import annotations

import csv
import json
import os
import re

import h5py
import pytest

from synthlib import conversion
from synthlib.conversion import annotations, private


@pytest.fixture(autouse=True)
def state(place, monkeypatch):
    """A state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))


@pytest.fixture
def boxed(make, place):
    """A NIfTI with three boxes, converted; the labels of the raw data and the result."""

    def run(out: str = "out"):
        from synthlib.formats import dicom, nifti

        (place / "n").mkdir(exist_ok=True)
        image = dicom.read_images(place / "archive" / "one")
        nifti.write(place / "n" / "scan.nii.gz", image.magnitude, (3.0, 3.0), 10.0)
        labels = "edema", "ERIKA M. 1970", "Meniscus tear", "Erika m. 1970"
        rows = [f"scan.nii.gz,{number},1,2,3,4,{label}" for number, label in enumerate(labels)]
        lines = ["file,slice,x,y,width,height,label", *rows]
        (place / "boxes.csv").write_text("\n".join(lines))
        result = make(out, inputs=[place / "n"], annotations=place / "boxes.csv")
        with h5py.File(result.jobs[0].target) as file:
            return [row["label"] for row in json.loads(file["annotations"][()])], result

    return run


def test_labels_of_the_list_come_out_in_its_spelling_and_others_as_numbers(boxed):
    labels, result = boxed()
    assert labels[0] == "Edema" and labels[2] == "Meniscus Tear"
    assert all(re.fullmatch(r"label-[0-9a-f]{10}", label) for label in (labels[1], labels[3]))
    assert labels[1] != labels[3]  # no text is read into another
    with result.labels.open(newline="") as file:
        kept = {row["label"]: row["text"] for row in csv.DictReader(file)}
    assert kept == {labels[1]: "ERIKA M. 1970", labels[3]: "Erika m. 1970"}
    assert boxed("again")[0] == labels  # the same secret, the same numbers
    assert annotations.public_label("ERIKA M. 1970", b"another secret...") != labels[1]


def test_texts_of_earlier_runs_are_kept(place):
    private.keep_labels(place / "out", {"label-1": "a, b"})
    path = private.keep_labels(place / "out", {"label-2": "c"})
    assert path.read_text() == 'label,text\nlabel-1,"a, b"\nlabel-2,c\n'


def test_every_number_of_a_message_is_a_path_of_the_private_list(make, place):
    (place / "archive" / "two" / "x.zip").write_bytes(b"PK\3\4" + bytes(50))
    result = make(inputs=[place / "archive", place / "nothing"])
    assert result.count(conversion.MADE) == 2
    with result.index.open(newline="") as file:
        paths = {(row["input"], row["file"]): row["path"] for row in csv.DictReader(file)}
    assert len(paths) == 3 + 3 + 1 + 1
    assert result.index.stat().st_mode & 0o777 == 0o600
    assert result.index.parent.parent.parent == place / "state"
    wheres = {aside.where: aside.reason for aside in result.set_aside}
    (zipped,) = [where for where, reason in wheres.items() if "zip" in reason]
    number = re.fullmatch(r"input 1, file (\d+)", zipped)[1]
    assert paths["1", number] == str(place / "archive" / "two" / "x.zip")
    assert paths["2", ""] == str(place / "nothing")
    page = result.report.read_text()
    assert "Which number is which file" in page and "x.zip" not in page
    assert str(place) not in page + result.table.read_text()


def test_where_the_state_folder_cannot_be_written_the_run_goes_on(make, place):
    (place / "state").write_text("a file where a folder should be")
    result = make()
    assert result.index is None and result.count(conversion.MADE) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_a_table_of_boxes_that_is_not_utf_8_is_told(tmp_path, encoding):
    table = "file,slice,x,y,width,height,label\none,1,4,5,6,7,T\u00fcmor\n"
    (tmp_path / "boxes.csv").write_bytes(table.encode(encoding))
    if encoding.startswith("utf-8"):
        assert list(annotations.read(tmp_path / "boxes.csv", b"salt").boxes) == ["one"]
        return
    with pytest.raises(ValueError, match=r"than UTF-8; expected UTF-8\. Save") as caught:
        annotations.read(tmp_path / "boxes.csv", b"salt")
    assert type(caught.value) is ValueError


@pytest.mark.parametrize(
    ("row", "message"),
    [("one,1,nan,2,3,4,a", "no number"), ("one,1,2,inf,3,4,a", "no number"),
     (f"one,1,2,2,3,4,{'a' * 200_000}", "cannot be read after line 1")],
)  # fmt: skip
def test_boxes_that_are_nowhere_and_labels_without_an_end_are_refused(tmp_path, row, message):
    (tmp_path / "boxes.csv").write_text(f"file,slice,x,y,width,height,label\n{row}\n")
    with pytest.raises(ValueError, match=message):
        annotations.read(tmp_path / "boxes.csv", b"salt")


def test_the_list_of_an_audit_is_the_same_from_any_folder(place, tmp_path, monkeypatch):
    lists = set()
    for folder in (place, tmp_path):
        monkeypatch.chdir(folder)
        lists.add(
            conversion.look([os.path.relpath(place / "archive")], say=lambda text: None).index
        )
    assert len(lists) == 1 and None not in lists


def test_a_secret_that_cannot_be_kept_points_to_a_file_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match="--salt-file"):
        conversion.pseudonym_salt(tmp_path / "out")


def test_a_quotation_mark_without_its_end_in_the_first_line_is_named(tmp_path):
    text = 'file,slice,label,"x\n' + "a" * 200_000
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(ValueError, match="annotations cannot be read"):
        annotations.read(tmp_path / "boxes.csv", b"salt")
