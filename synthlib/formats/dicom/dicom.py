"""A DICOM series: the only door to pydicom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import torch
from pydicom.errors import InvalidDicomError

from synthlib import arrays
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
    images = [image for path in files if path.is_file() and (image := _read(path)) is not None]
    if not images:
        raise FileNotFoundError(f"{folder} has no DICOM file; expected a folder with one series")
    directions = np.array([image.ImageOrientationPatient for image in images], float)
    of_files: dict[str, set] = {
        "series": {str(image.SeriesInstanceUID) for image in images},
        "sizes of image": {(image.Rows, image.Columns) for image in images},
        "directions": {tuple(np.abs(turn).round(2)) for turn in directions - directions[0]},
    }
    for what, kinds in of_files.items():
        if len(kinds) > 1:
            raise _unfit(f"{len(kinds)} {what}", "one")
    normal = np.cross(directions[0, :3], directions[0, 3:])
    places = np.array([image.ImagePositionPatient for image in images], float) @ normal  # mm
    order = np.argsort(places)
    if (np.diff(places[order]) < 1e-3).any():
        raise _unfit("two images of one place", "one echo, one time point")
    magnitude = torch.stack([torch.from_numpy(_pixels(images[at])) for at in order])
    arrays.require_finite("the DICOM series", magnitude)
    if magnitude.min() < 0 or not magnitude.max() > 0:
        raise _unfit("negative values, or only zeros", "a magnitude")
    y, x = images[0].get("PixelSpacing") or ("nan", "nan")
    return ImageVolume("dicom", "unknown", "unknown", magnitude, (float(y), float(x)))


def _read(path: Path) -> pydicom.Dataset | None:
    try:
        image = pydicom.dcmread(path)
    except InvalidDicomError:
        return None
    missing = [name for name in NEEDED if name not in image]
    frames, colours = int(image.get("NumberOfFrames", 1)), image.get("PhotometricInterpretation")
    if missing or frames != 1 or colours != "MONOCHROME2":
        found = f"a file of {frames} frames in {colours} without {missing or 'nothing'}"
        raise _unfit(found, f"single-frame MONOCHROME2 images with {', '.join(NEEDED)}")
    return image


def _pixels(image: pydicom.Dataset) -> np.ndarray:
    """Float32 (y, x), slope and intercept applied."""
    try:
        stored = image.pixel_array.astype(np.float32)
    except Exception as error:  # pydicom raises many kinds for pixels that it cannot decode
        raise _unfit(f"pixels that cannot be decoded ({error})", "whole, plain images") from error
    return stored * float(image.get("RescaleSlope", 1)) + float(image.get("RescaleIntercept", 0))


def _unfit(found: str, expected: str) -> ValueError:
    return ValueError(
        f"the DICOM folder has {found}; expected {expected}. Sort the files or export them again."
    )
