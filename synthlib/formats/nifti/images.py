"""Results without coils: magnitude and phase as NIfTI, marked as synthetic, with BIDS sidecars."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np
import torch
from torch import Tensor

from synthlib import runs
from synthlib.formats.raw_header import plain
from synthlib.records import SYNTHETIC, ImageVolume

DESCRIP = f"{SYNTHETIC}, made by synthlib"  # at most 79 bytes; an image without its sidecar has it
# Along a row, along a column, from slice to slice: to the right, to the front, to the crown.
DIRECTIONS = {
    "axial": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "coronal": ((-1, 0, 0), (0, 0, -1), (0, -1, 0)),
    "sagittal": ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
}
SCANNER, ALIGNED, UNKNOWN = 1, 2, 0  # NIfTI's codes of what the axes are
TIMES = {"te_ms": "EchoTime", "tr_ms": "RepetitionTime", "ti_ms": "InversionTime"}
RAD = 3.1415927  # largest phase as float32


def write_images(
    base: Path,
    volume: ImageVolume,
    phase: Tensor,
    *,
    facts: Mapping[str, object],
    as_complex: bool = False,
) -> None:
    """Write <base>_part-mag and _part-phase, or one <base>_complex (.nii.gz, each with its .json).

    The image of the magnitude, or the complex one, gets its name last: a result that
    has it is complete.

    Args:
        base: path without the ending.
        volume: magnitude, geometry, labels (<base>_<name>) and facts of the header.
        phase: float32 (slice, y, x), radians.
        facts: what the sidecars say beside that.
    """
    affine, code = affine_of(volume)
    content = {SYNTHETIC: True, **_told(volume), **facts}
    for name, labels in volume.labels.items():
        _save(base.with_name(f"{base.name}_{name}.nii.gz"), labels, affine, code)
    if as_complex:
        parts = {"_complex": (torch.polar(volume.magnitude, phase), {"Units": "arbitrary"})}
    else:
        parts = {
            "_part-phase": (phase, {"Units": "rad"}),
            "_part-mag": (volume.magnitude, {"Units": "arbitrary"}),
        }
    # what is there of another run is no result while a part of it is replaced
    base.with_name(f"{base.name}{list(parts)[-1]}.nii.gz").unlink(missing_ok=True)
    for ending, (values, units) in parts.items():
        path = base.with_name(f"{base.name}{ending}.nii.gz")
        text = json.dumps(plain({**content, **units}), sort_keys=True, allow_nan=False, indent=1)
        runs.write_text(base.with_name(f"{base.name}{ending}.json"), text)
        _save(path, values, affine, code)


def affine_of(volume: ImageVolume) -> tuple[np.ndarray, int]:
    """The affine of arrays (x, y, slice) as synthlib keeps them, and NIfTI's code for it.

    Directions follow the orientation; what is not known of sizes counts as 1 mm, and the
    middle of the volume lies at zero. Where the volume tells its place in the patient, that
    is taken.
    """
    n_slices, ny, nx = volume.magnitude.shape
    y_mm, x_mm = (mm if math.isfinite(mm) else 1.0 for mm in volume.spacing_mm)
    step_mm = next((mm for mm in (volume.step_mm, volume.thickness_mm) if mm > 0), 1.0)
    placement = volume.placement
    if placement is not None:
        to_nifti = np.array([-1.0, -1.0, 1.0])  # DICOM counts to the left and to the back
        row, column = (
            np.array(d) * to_nifti for d in (placement.along_row, placement.along_column)
        )
        middles = np.array(placement.middles_mm) * to_nifti
        step = (middles[-1] - middles[0]) / max(1, n_slices - 1)
        if n_slices == 1:
            step = np.array(placement.normal) * to_nifti * step_mm
        return placed(row * x_mm, column * y_mm, step, middles[0], (nx // 2, ny // 2, 0)), SCANNER
    row, column, normal = map(np.array, DIRECTIONS.get(volume.orientation, DIRECTIONS["axial"]))
    if volume.upside_down:
        column = -column
    middle = (nx - 1) / 2, (ny - 1) / 2, (n_slices - 1) / 2
    affine = placed(row * x_mm, column * y_mm, normal * step_mm, np.zeros(3), middle)
    return affine, ALIGNED if volume.orientation in DIRECTIONS else UNKNOWN


def placed(
    row: np.ndarray,
    column: np.ndarray,
    step: np.ndarray,
    place: np.ndarray,
    index: tuple[float, float, float],
) -> np.ndarray:
    """The affine (4, 4) of steps along (x, y, slice) in mm, and of the place of one index."""
    affine = np.eye(4)
    affine[:3, :3] = np.stack([row, column, step], axis=1)
    affine[:3, 3] = place - affine[:3, :3] @ np.array(index)
    return affine


def _save(path: Path, values: Tensor, affine: np.ndarray, code: int) -> None:
    stored = values.numpy(force=True).transpose(2, 1, 0)  # (x, y, slice)
    if stored.dtype.kind in "iu":
        stored = stored.astype(np.int32)
    image = nibabel.Nifti1Image(np.ascontiguousarray(stored), affine)
    image.header["descrip"] = DESCRIP.encode()
    image.header.set_xyzt_units("mm", "sec")
    if values.dtype == torch.float32 and float(values.min()) < 0:
        image.header["cal_min"], image.header["cal_max"] = -RAD, RAD
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    with runs.atomic_path(path) as scratch:  # its name ends like the path's: nibabel goes by that
        nibabel.save(image, scratch)


def _told(volume: ImageVolume) -> dict[str, object]:
    """BIDS' words for what is known of the scan: numbers and words of fixed lists."""
    told: dict[str, object] = {"BodyPart": volume.anatomy.upper()}
    for name, keyword in TIMES.items():
        if name in volume.facts:
            told[keyword] = float(str(volume.facts[name])) / 1e3
    if "flip_deg" in volume.facts:
        told["FlipAngle"] = volume.facts["flip_deg"]
    numbers = {"MagneticFieldStrength": volume.field_t, "SliceThickness": volume.thickness_mm}
    return told | {word: value for word, value in numbers.items() if math.isfinite(value)}
