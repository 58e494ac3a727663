"""A folder that holds one plain DICOM series, and nothing else that is DICOM."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from synthlib.formats.dicom.header import PIXELS, Header, read
from synthlib.formats.dicom.reading import read_series
from synthlib.formats.refusals import Refusal
from synthlib.records import ImageVolume

NEEDED = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelData")


def read_images(folder: str | Path) -> ImageVolume:
    """Magnitude images of one series, sorted by position along the slices' normal.

    Rows and columns stay as stored (axial: front to back, the patient's right
    to left). Nothing that names a person leaves this room: the name is "dicom",
    patient and contrast are "unknown".

    Args:
        folder: the files of one series; files that are not DICOM are passed by.

    Raises:
        FileNotFoundError: no such folder, or no DICOM file in it.
        ValueError: several series, sizes, directions or frames, no geometry or
            pixels, two slices at one place, not grey, negative, NaN or no signal.
    """
    folder = Path(folder)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [(path, header) for path in files if path.is_file() and (header := _header(path))]
    if not found:
        raise FileNotFoundError(f"{folder} has no DICOM file; expected a folder with one series")
    headers = [header for _, header in found]
    directions = np.array([header.numbers("ImageOrientationPatient", 6) for header in headers])
    of_files: dict[str, set] = {
        "series": {header.text("SeriesInstanceUID") for header in headers},
        "sizes of image": {(header.whole("Rows"), header.whole("Columns")) for header in headers},
        "directions": {tuple(np.abs(turn).round(2)) for turn in directions - directions[0]},
    }
    for what, kinds in of_files.items():
        if len(kinds) > 1:
            raise _unfit(f"{len(kinds)} {what}", "one")
    normal = np.cross(directions[0, :3], directions[0, 3:])
    corners = np.array([header.numbers("ImagePositionPatient", 3) for header in headers])
    if (np.diff(np.sort(corners @ normal)) < 1e-3).any():  # mm
        raise _unfit("two images of one place", "one echo, one time point")
    try:
        images = read_series([str(path) for path, _ in found])
    except Refusal as refusal:
        raise _unfit(str(refusal), "whole, plain magnitude images") from None
    return dataclasses.replace(images, name="dicom", patient_id="unknown", contrast="unknown")


def _header(path: Path) -> Header | None:
    try:
        header, dataset = read(path, pixels=True)
    except Refusal:
        return None
    missing = [name for name in NEEDED[:-1] if name not in header]
    if not any(tag in dataset for tag in PIXELS):
        missing.append(NEEDED[-1])
    colours = header.text("PhotometricInterpretation")
    frames = header.whole("NumberOfFrames", 1)
    if missing or frames != 1 or colours != "MONOCHROME2":
        known = colours if colours in ("MONOCHROME1", "MONOCHROME2", "RGB") else "another scale"
        found = f"a file of {frames} frames in {known} without {missing or 'nothing'}"
        raise _unfit(found, f"single-frame MONOCHROME2 images with {', '.join(NEEDED)}")
    return header


def _unfit(found: str, expected: str) -> ValueError:
    return ValueError(
        f"the DICOM folder has {found}; expected {expected}. Sort the files or export them again."
    )
