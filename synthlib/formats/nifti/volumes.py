"""Volumes of a NIfTI file for an archive: slices as they were cut, facts, label maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthlib.formats import words
from synthlib.formats.nifti import sidecar
from synthlib.formats.nifti.header import Head, read_head
from synthlib.formats.nifti.voxels import (
    phase_encoding,
    placement,
    slice_side,
    slice_sizes,
    slices,
)
from synthlib.formats.refusals import Refusal, require_magnitude
from synthlib.records import ImageVolume

PHASE = ("phase", "phasediff", "fieldmap", "ph", "phasemap", "realpart", "imag", "imaginary")


def plane(head: Head) -> tuple[str, float]:
    """The plane closest to the slices, and degrees between; "unknown" if no direction is told."""
    if not head.is_placed:
        return "unknown", math.nan
    side = slice_side(head)
    axis = next(axis for axis, (of, _) in enumerate(head.ornt) if int(of) == side)
    return words.orientation([float(part) for part in head.affine[:3, axis]])


def n_slices(head: Head) -> int:
    side = slice_side(head)
    return next(head.shape[axis] for axis, (of, _) in enumerate(head.ornt) if int(of) == side)


def is_phase(path: str | Path) -> bool:
    """Do the file's name or its sidecar say phase, or a part of a complex image?"""
    named = words.plain(sidecar.stem(Path(path).name)).split()
    return bool(set(named) & set(PHASE)) or sidecar.is_phase(sidecar.read(path))


def read_volume(
    path: str | Path, volume: int = 0, labels: Mapping[str, str] | None = None
) -> ImageVolume:
    """One volume of a file; its slices lie across the side of the thickest voxels.

    Args:
        path: .nii, .nii.gz, or .hdr beside its .img.
        volume: of a 4-D file, from 0.
        labels: further NIfTI files on the same grid, by name.

    Returns:
        An ImageVolume; name, patient and contrast are left to the caller.

    Raises:
        Refusal: damaged, no magnitude, or labels on another grid.
        OSError: a file cannot be opened or read.
    """
    head = read_head(path)
    if volume >= head.n_volumes:
        raise Refusal(f"it has {head.n_volumes} volumes; number {volume + 1} was expected")
    if is_phase(path):
        raise Refusal("a phase image, or a part of a complex one; expected a magnitude")
    side = slice_side(head)
    values = slices(head, volume, side, signal=True)
    require_magnitude(values)
    found, angle = plane(head)
    step_mm, y, x = slice_sizes(head, side)
    beside = sidecar.read(path)
    told: dict[str, object] = {"format": "nifti"}
    if head.dtype.kind in "iu":
        told["bits_stored"] = head.dtype.itemsize * 8
    told |= {name: value for name, value in head.numbers.items() if name != "field_t"}
    if phase_encoding(head, side):
        told["phase_encoding"] = phase_encoding(head, side)
    notes = (
        words.oblique_note(found, angle)
        if head.is_placed
        else ("the header tells no directions; slices lie along the third axis",)
    )
    field_t = sidecar.field_t(beside)
    return ImageVolume(
        name="nifti",
        patient_id="unknown",
        contrast="unknown",
        magnitude=values,
        spacing_mm=(y, x),
        thickness_mm=step_mm,
        step_mm=step_mm,
        orientation=found,
        anatomy=_anatomy(path, beside),
        field_t=head.numbers.get("field_t", math.nan) if math.isnan(field_t) else field_t,
        facts=told | sidecar.facts(beside),
        labels={name: _labels(one, head, side) for name, one in (labels or {}).items()},
        notes=notes,
        placement=placement(head, side),
    )


def same_grid(one: Head, other: Head) -> bool:
    """Do two files share their voxels' places, to a tenth of a voxel?"""
    if one.shape[:3] != other.shape[:3]:
        return False
    size = float(one.spacing_mm.min())
    corners = torch.tensor(
        [
            [x, y, z, 1.0]
            for x in (0, one.shape[0])
            for y in (0, one.shape[1])
            for z in (0, one.shape[2])
        ],
        dtype=torch.float64,
    )
    apart = corners @ torch.from_numpy(one.affine - other.affine).T
    return float(apart.abs().max()) < 0.1 * size


def _labels(path: str, head: Head, side: int) -> Tensor:
    other = read_head(path)
    if not same_grid(head, other):
        raise Refusal("its label map lies on another grid than the image")
    values = slices(other, 0, side)
    whole = values.round()
    if not torch.isfinite(values).all() or not torch.equal(whole, values):
        raise Refusal("its label map holds numbers that are not whole")
    return whole.to(torch.int32)


def _anatomy(path: str | Path, beside: dict[str, Any]) -> str:
    """From the sidecar, else the file's name, else from BIDS, whose anat is of the head."""
    found = [sidecar.anatomy(beside), words.anatomy(sidecar.stem(Path(path).name))]
    known = [word for word in found if word != "unknown"]
    parts = Path(path).parts
    if not known and "anat" in parts[:-1] and parts[-1].startswith("sub-"):
        return "head"
    return known[0] if known else "unknown"
