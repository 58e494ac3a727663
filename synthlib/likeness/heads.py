"""Portraits of measured heads: those that the package keeps, and those of a folder."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synthlib import arrays, formats, runs
from synthlib.formats import dicom, nifti
from synthlib.likeness import measures
from synthlib.likeness.portraits import (
    UNKNOWN_FIELD_T,
    Portrait,
    portrait,
    portrait_of_images,
    portrait_of_phase_difference,
)
from synthlib.records import RawVolume, orientation_of

STORE = Path(__file__).parents[1] / "measured_heads.json"
MOST = 12  # heads of a folder
LARGEST_CHOICE = 200  # files of a folder, of which these are chosen
FLATTEST_SLOPE = -0.5  # of the power of a head's image; that of noise is 0
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
    pixel_mm: float | None = None  # where the header's makes no head


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
    # Four channels that see the head as combinations of many do; of how many is not told. The
    # header's field of view of 220 mm is that of whoever converted the file: the head would be
    # 139 x 167 mm. At 1 mm, as MPRAGE usually has, it is 162 x 194 mm.
    Head(
        "multicoil/head_axial_mprage_4coil.h5",
        "MPRAGE",
        LORAKS,
        RESEARCH,
        -10.0,
        12,
        pixel_mm=1.0,
    ),
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


class Survey(NamedTuple):
    """Measured heads to compare with.

    Attributes:
        portraits: of the heads, in the order of their names.
        volumes: their raw data, in the same order; none where portraits alone are kept.
        left_out: a line for each file that is not compared with, and why.
    """

    portraits: list[Portrait]
    volumes: list[RawVolume]
    left_out: list[str]


def measured(folder: str | Path = "") -> list[Portrait]:
    """Portraits of measured heads, those of :func:`survey`; what is left out is printed.

    Raises:
        FileNotFoundError, ValueError: as there.
    """
    found = survey(folder)
    for line in found.left_out:
        print(line)
    return found.portraits


def survey(folder: str | Path = "") -> Survey:
    """Measured heads: the stored portraits, or the middle slices of a folder's files.

    Args:
        folder: raw data of any format, searched with subfolders. Of more than 12 heads
            those count of which contrast, orientation and number of coils are not there
            yet, or seldom. Left out are files that are broken, of unknown pixel size,
            without a brain, of noise alone, of axial heads that lie on their side, or of
            coronal or sagittal ones that do not stand upright.

    Raises:
        FileNotFoundError: a folder without raw data.
        ValueError: no file shows a head.
    """
    stored = [_from_json(entry) for entry in runs.read_json(STORE)]
    if not str(folder):
        return Survey(stored, [], [])
    known = {(one.name, one.matrix): one for one in stored}
    portraits: dict[str, tuple[Portrait, RawVolume]] = {}
    waiting, left_out = _opened(folder)
    taken: Counter[Any] = Counter()
    while waiting and len(portraits) < MOST:
        rank = [_seen(volume, taken) for volume in waiting.values()]
        path = list(waiting)[rank.index(min(rank))]
        volume = waiting.pop(path)
        try:
            one = _usable(portrait(volume, volume.n_slices // 2), volume)
        except (ValueError, OSError) as error:
            left_out.append(f"left out: {error}")
            continue
        taken.update(_kinds(volume))
        portraits[path] = (_as_known(one, known.get((one.name, one.matrix))), volume)
    if not portraits:
        raise ValueError(
            f"{Path(folder).name}: none of its {len(left_out)} files shows a head to compare with; "
            f"expected heads with air around, and their pixel size. {left_out[0]}"
        )
    if waiting:
        names = [volume.name for volume in waiting.values()]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        left_out.append(
            f"left out: {', '.join(names[:5])}{more}: at most {MOST} heads are compared with. "
            "Name a smaller folder to compare with these."
        )
    chosen = [portraits[path] for path in sorted(portraits)]
    return Survey([one for one, _ in chosen], [volume for _, volume in chosen], left_out)


def _opened(folder: str | Path) -> tuple[dict[str, RawVolume], list[str]]:
    """Raw data of a folder by their paths, at most LARGEST_CHOICE, and lines on broken files."""
    place = runs.resolve(folder)
    paths = formats.raw_files(place)
    if not paths:
        raise FileNotFoundError(
            f"{place} has no file of raw data; {formats.EXPECTED}. Check the path, or name no "
            "folder for the portraits that synthlib keeps."
        )
    volumes: dict[str, RawVolume] = {}
    left_out: list[str] = []
    n_looked_at = min(LARGEST_CHOICE, len(paths))
    if n_looked_at < len(paths):
        left_out.append(
            f"left out: {len(paths) - n_looked_at} of {len(paths)} files, evenly by name; "
            f"at most {LARGEST_CHOICE} are looked at. Name a smaller folder to choose others."
        )
    for index in np.linspace(0, len(paths) - 1, n_looked_at).round().astype(int):
        try:
            volumes[str(paths[index])] = _of_natural_size(formats.read_raw(paths[index]))
        except (ValueError, OSError) as error:
            left_out.append(f"left out: {error}")
    return volumes, left_out


def read(real: str | Path, head: Head) -> RawVolume:
    """Raw data of one of RAW in a folder laid out like the project's shared/real.

    Raises:
        FileNotFoundError, ValueError: the file is missing or broken.
    """
    return _of_natural_size(formats.read_raw(Path(real) / head.path))


def _of_natural_size(volume: RawVolume) -> RawVolume:
    """With the pixel size that the package knows better than the file's header."""
    for head in RAW:
        if head.pixel_mm and Path(head.path).stem == volume.name:
            return dataclasses.replace(volume, spacing_mm=(head.pixel_mm, head.pixel_mm))
    return volume


def _kinds(volume: RawVolume) -> list[Any]:
    """What heads differ in: all of it together, then each; who it is last."""
    contrast, n_coils = volume.contrast.upper(), volume.n_coils
    # the contrast begins with the orientation
    return [(contrast, n_coils), contrast, n_coils, ("patient", volume.patient_id)]


def _seen(volume: RawVolume, taken: Counter[Any]) -> tuple[int, int]:
    """How often heads like this one are taken already: such heads, then what they share."""
    whole, *parts = _kinds(volume)
    return taken[whole], sum(taken[part] for part in parts)


def _usable(one: Portrait, volume: RawVolume) -> Portrait:
    """The portrait, if it shows a head that a twin can be made of."""
    if not all(mm > 0 for mm in one.pixel_mm):
        raise ValueError(
            f"{one.name}: the pixel size is unknown; expected one in its header. Store it as "
            "fastMRI HDF5 or MRD, whose headers tell the field of view."
        )
    if one.spectrum_slope is None or one.spectrum_slope > FLATTEST_SLOPE:
        raise ValueError(
            f"{one.name}: its middle slice is noise; expected a head. Put such files elsewhere."
        )
    if one.detail is None:
        raise ValueError(
            f"{one.name}: its middle slice holds no brain ({measures.COVER_MM:g} mm and more "
            "inside the outline); expected a head of natural size. Check the pixel size, "
            f"{one.pixel_mm[0]:.2g} x {one.pixel_mm[1]:.2g} mm."
        )
    orientation = orientation_of(one.what, "axial")
    magnitude = arrays.rss(volume.coil_images(volume.n_slices // 2))
    head = measures.outline(magnitude)
    if orientation == "axial" and measures.is_turned(magnitude, head, one.pixel_mm):
        raise ValueError(
            f"{one.name}: axial, and its halves above and below are more alike than those beside "
            "each other; expected a head with its nose above or below, as its twin has. Turn its "
            "k-space, or name the orientation in its contrast if it is not axial."
        )
    if orientation != "axial" and measures.lies_on_its_side(head):
        raise ValueError(
            f"{one.name}: {orientation}, and its neck does not leave the picture below; "
            "expected a head that stands upright, as its twin does. Turn its k-space."
        )
    return one


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
        for volume in [read(real, head)]
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
