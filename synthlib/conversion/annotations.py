"""Boxes and remarks that come along with images; their labels are words of a list, or numbers.

A label is free text: a name may stand in it. Words of the list below go into the results; for
any other text stands a number that the secret of the pseudonyms makes, and the text itself stays
with the user.
"""

from __future__ import annotations

import csv
import errno
import hmac
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

BOX = ("x", "y", "width", "height")
# The labels of fastMRI+ as its files spell them. Source: Zhao et al., Scientific Data 9:152 (2022),
# github.com/microsoft/fastmri-plus, Annotations/knee.csv and brain.csv.
KNEE = (
    "Meniscus Tear", "Displaced Meniscal Tissue", "Bone- Subchondral edema", "Bone - Lesion",
    "Bone-Fracture/Contusion/dislocation", "Ligament - ACL High Grade Sprain",
    "Ligament - ACL Low Grade sprain", "Ligament - MCL High Grade sprain",
    "Ligament - MCL Low-Mod Grade Sprain", "Ligament - PCL High Grade",
    "Ligament - PCL Low-Mod grade sprain", "LCL Complex- High Grade Sprain",
    "LCL Complex - Low-Mod Grade Sprain", "Cartilage - Full Thickness loss/defect",
    "Cartilage - Partial Thickness loss/defect", "Joint Effusion", "Joint Bodies",
    "Periarticular cysts", "Muscle Strain", "Soft Tissue Lesion",
    "Patellar Retinaculum - High grade sprain", "Artifact",
)  # fmt: skip
BRAIN = (
    "Absent septum pellucidum", "Craniectomy", "Craniectomy with Cranioplasty", "Craniotomy",
    "Craniotomy with Cranioplasty", "Dural thickening", "Edema", "Encephalomalacia",
    "Enlarged ventricles", "Extra-axial mass", "Intraventricular substance", "Likely cysts",
    "Lacunar infarct", "Mass", "Nonspecific lesion", "Nonspecific white matter lesion",
    "Normal variant", "Paranasal sinus opacification", "Pineal cyst", "Possible artifact",
    "Posttreatment change", "Resection cavity", "Global Ischemia",
    "Global label: Small vessel chronic white matter ischemic change", "Motion artifact",
    "Small vessel chronic white matter ischemic change", "Possible demyelinating disease",
    "Colpocephaly", "Global white matter disease", "White matter disease",
    "Innumerable bilateral focal brain lesions", "Extra-axial collection", "Normal for age",
)  # fmt: skip
# What people mark besides, in words that name nobody.
COMMON = (
    "Aneurysm", "Atrophy", "Bleeding", "Calcification", "Cyst", "Enhancing tumor", "Fracture",
    "Glioma", "Hematoma", "Hemorrhage", "Hydrocephalus", "Infarct", "Ischemia", "Lesion",
    "Meningioma", "Metastasis", "Microbleed", "MS lesion", "Necrosis", "Normal", "Stroke", "Tumor",
    "Tumour", "White matter hyperintensity",
)  # fmt: skip


def _words(label: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", label.casefold()))


LABELS = {_words(label): label for label in (*COMMON, *BRAIN, *KNEE)}


@dataclass(frozen=True)
class Annotations:
    """What a table of annotations holds.

    Attributes:
        boxes: rows by the stem of the file they belong to.
        upright: they were drawn on images of fastMRI that had been turned upside up.
        texts: labels that are no words of the list: what stands for each, and its own text.
    """

    boxes: dict[str, list[Mapping[str, object]]] = field(default_factory=dict)
    upright: bool = False
    texts: dict[str, str] = field(default_factory=dict, repr=False)


def public_label(label: str, salt: bytes) -> str:
    """A label of the list in its own spelling; for any other text "label-" and ten digits.

    Args:
        label: as the annotations say it.
        salt: secret of the run; the same text gives the same digits.
    """
    listed = LABELS.get(_words(label))
    if listed:
        return listed
    digest = hmac.new(salt, f"label {label.strip()}".encode("utf-8", "replace"), sha256)
    return f"label-{digest.hexdigest()[:10]}"


def read(path: str | Path | None, salt: bytes) -> Annotations:
    """Read a CSV of the columns file, slice, x, y, width, height, label.

    That of fastMRI+ is known by its column study_level.

    Args:
        path: None: there are none.
        salt: as :func:`public_label` takes it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8, a column lacks, or a slice or box is no number.
    """
    if path is None:
        return Annotations()
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "annotations: there is no such file", str(path))
    try:
        table = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(
            "the annotations are text of another encoding than UTF-8; expected UTF-8. Save the "
            'table as "CSV UTF-8".'
        ) from None
    boxes: dict[str, list[Mapping[str, object]]] = {}
    texts: dict[str, str] = {}
    with io.StringIO(table, newline="") as file:
        reader = csv.DictReader(file)
        rows = _rows(reader)
        missing = {"file", "slice", "label"} - set(_columns(reader))
        if missing:
            raise ValueError(
                f"the annotations lack the column {', '.join(sorted(missing))}; expected file, "
                "slice, x, y, width, height, label, as in fastMRI+"
            )
        for number, row in enumerate(rows, start=2):
            try:
                entry: dict[str, object] = {"slice": int(row["slice"] or -1)}
                entry |= {name: _finite(row[name]) for name in BOX if row.get(name)}
            except ValueError:
                raise ValueError(
                    f"line {number} of the annotations has a slice or box that is no number"
                ) from None
            text = row["label"] or ""
            entry["label"] = label = public_label(text, salt)
            if label not in LABELS.values():
                texts[label] = text
            boxes.setdefault(stem(row["file"] or ""), []).append(entry)
    return Annotations(boxes, "study_level" in (reader.fieldnames or ()), texts)


def _columns(reader: csv.DictReader[str]) -> Sequence[str]:
    try:
        return reader.fieldnames or ()
    except csv.Error as error:
        raise _unreadable(reader, error) from error


def _rows(reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise _unreadable(reader, error) from error


def _unreadable(reader: csv.DictReader[str], error: csv.Error) -> ValueError:
    return ValueError(
        f"the annotations cannot be read after line {reader.line_num} ({error}); expected a "
        "CSV of file, slice, x, y, width, height, label. Mend the line, or save it again."
    )


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{value} is no place")
    return value


def stem(path: str) -> str:
    """What files and rows are paired by: "scan" of "folder/scan.nii.gz"."""
    return Path(Path(path).name.removesuffix(".gz")).stem


def rescaled(
    annotations: Sequence[Mapping[str, object]], before: Sequence[int], after: Sequence[int]
) -> tuple[Mapping[str, object], ...]:
    """Boxes on the pixels of a cropped matrix."""
    found = []
    for row in annotations:
        changed = dict(row)
        for names, axis in ((("y", "height"), 1), (("x", "width"), 2)):
            for name in names:
                if name in changed:
                    changed[name] = float(str(changed[name])) * after[axis] / before[axis]
        found.append(changed)
    return tuple(found)


def turned(
    annotations: Sequence[Mapping[str, object]], n_rows: int
) -> tuple[Mapping[str, object], ...]:
    """Boxes on rows that run the other way."""
    found = []
    for row in annotations:
        changed = dict(row)
        if "y" in changed:
            height = float(str(changed.get("height", 1)))
            changed["y"] = n_rows - float(str(changed["y"])) - height
        found.append(changed)
    return tuple(found)
