"""Portraits of measured heads: those that the package keeps, and those of a folder."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synthlib import formats, runs
from synthlib.formats import dicom, nifti
from synthlib.likeness.portraits import (
    UNKNOWN_FIELD_T,
    Portrait,
    portrait,
    portrait_of_images,
    portrait_of_phase_difference,
)
from synthlib.records import RawVolume

STORE = Path(__file__).parents[1] / "measured_heads.json"
MOST = 12  # files of a folder
DIGITS = 4


class Head(NamedTuple):
    """A measured head: where it lies, what it is, where it comes from, which level is shown."""

    path: str
    what: str
    source: str
    licence: str
    level_mm: float  # of the slice above mid-ventricle, by eye beside simulated heads
    n_elements: int | None = None  # of the array, where the channels are fewer
    field_t: float = UNKNOWN_FIELD_T


FACTS = ("what", "level_mm", "n_elements", "field_t", "source", "licence")  # no pixel says them
LORAKS = "LORAKS 2.0 (Kim & Haldar, University of Southern California)"
RESEARCH, UNSTATED = "research and non-profit", "none stated"
RAW = (
    # Its phase turns above the sinuses as a gradient echo's does, not a spin echo's. Matrix and
    # looks are those of the inversion-prepared gradient echo at 1.5 T of Uecker et al., MRM 71:990
    # (2014), whose authors keep the repository; the file itself does not say so.
    Head(
        "multicoil/head_axial_t1_8coil.h5",
        "T1 GRE",
        "mikgroup/espirit-matlab-examples",
        UNSTATED,
        -24.0,
        field_t=1.5,
    ),
    # Four channels that see the head as combinations of many do; of how many is not told.
    Head("multicoil/head_axial_mprage_4coil.h5", "MPRAGE", LORAKS, RESEARCH, -10.0, 12),
    Head("multicoil/head_axial_16coil_lowres.h5", "GRE", "mchiew/SENSE-tutorial", UNSTATED, 22.0),
    Head("singlecoil/head_axial_t2_1coil.h5", "AXT2", LORAKS, RESEARCH, 8.0),
    Head(
        "singlecoil/head_sagittal_t1_1coil.h5",
        "SAGT1",
        "LarsonLab/MRI-education-resources",
        "MIT",
        0.0,
    ),
)
DICOM = Head(
    "dicom_t1_axial",
    "T1 GRE",
    "studyforrest (Hanke et al. 2014), datalad/example-dicom-structural",
    "PDDL (public domain)",
    -16.0,
)
NIFTI = Head(
    "nifti/head_t2w.nii.gz",
    "AXT2",
    "niivue/niivue-demo-images",
    "origin not told; repository BSD-2",
    -8.0,
)
FIELD = Head("nifti", "phase difference", "hMRI-group/hMRI-toolbox-demodata", "CC BY 4.0", 0.0)
# The middle slice, 32, lies at the air of the nose; this one at the ventricles, as the twin does.
FIELD_SLICE, FIELD_DELTA_TE_MS, FIELD_PI = 42, 2.46, 4096


def measured(folder: str | Path = "") -> list[Portrait]:
    """Portraits of measured heads: the stored ones, or the middle slices of a folder's files.

    Args:
        folder: raw data of any format, searched with subfolders; of more than 12,
            12 are taken evenly from the sorted names.

    Raises:
        FileNotFoundError: a folder without raw data.
        ValueError: a file is broken; it is named.
    """
    stored = [_from_json(entry) for entry in runs.read_json(STORE)]
    if not str(folder):
        return stored
    known = {(one.name, one.matrix): one for one in stored}
    portraits = [portrait(volume, volume.n_slices // 2) for volume in volumes_of(folder)]
    return [_as_known(one, known.get((one.name, one.matrix))) for one in portraits]


def volumes_of(folder: str | Path) -> list[RawVolume]:
    """Raw data of a folder that :func:`measured` looks at, in its order.

    Raises:
        FileNotFoundError, ValueError: as there.
    """
    place = runs.resolve(folder)
    paths = formats.raw_files(place)
    if not paths:
        raise FileNotFoundError(
            f"{place} has no file of raw data; {formats.EXPECTED}. Check the path, or name no "
            "folder for the portraits that synthlib keeps."
        )
    chosen = np.linspace(0, len(paths) - 1, min(MOST, len(paths))).round().astype(int)
    return [formats.read_raw(paths[at]) for at in chosen]


def _as_known(one: Portrait, stored: Portrait | None) -> Portrait:
    """With what headers do not tell, where the package knows the scan."""
    if stored is None:
        return one
    return _with_facts(one, stored)


def _with_facts(one: Portrait, known: Portrait | Head) -> Portrait:
    return dataclasses.replace(one, **{name: getattr(known, name) for name in FACTS})


def measure_all(real: str | Path) -> list[Portrait]:
    """Portraits of every head of a folder laid out like the project's shared/real.

    Args:
        real: the folder; its README tells sources and licences.

    Raises:
        FileNotFoundError, ValueError: a file is missing or broken.
    """
    real = Path(real)
    found = [
        (head, portrait(volume, volume.n_slices // 2))
        for head in RAW
        for volume in [formats.read_raw(real / head.path)]
    ]
    for head, images in (
        (DICOM, dicom.read_images(real / DICOM.path)),
        (NIFTI, nifti.read_images(real / NIFTI.path)),
    ):
        found.append((head, portrait_of_images(images, len(images.magnitude) // 2)))
    echo = nifti.read_images(real / FIELD.path / "gre_mag_te10.nii")
    stored, _ = nifti.read_values(real / FIELD.path / "gre_phasediff.nii")
    difference = stored * (math.pi / FIELD_PI)
    of_field = portrait_of_phase_difference(difference, echo, FIELD_SLICE, FIELD_DELTA_TE_MS)
    found.append((FIELD, dataclasses.replace(of_field, name="gre_phasediff")))
    return [_with_facts(one, head) for head, one in found]


def store(portraits: Sequence[Portrait], path: str | Path = STORE) -> None:
    """Keep portraits as JSON, one a line, numbers rounded to 4 digits; no pixel is in them."""
    lines = [json.dumps(_rounded(dataclasses.asdict(one))) for one in portraits]
    runs.write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _from_json(entry: dict[str, Any]) -> Portrait:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()
    }
    return Portrait(**fields)
