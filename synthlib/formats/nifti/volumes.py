"""Volumes of a NIfTI file for an archive: slices as they were cut, facts, label maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.formats import words
from synthlib.formats.nifti import parts, sidecar
from synthlib.formats.nifti.header import Head, read_head
from synthlib.formats.nifti.voxels import (
    phase_encoding,
    placement,
    slice_side,
    slice_sizes,
    slices,
)
from synthlib.formats.phase import (
    COMPLEX,
    PARTS,
    PhaseImages,
    angle_of,
    radians,
    unit_of,
    with_phase,
)
from synthlib.formats.refusals import Refusal, require_magnitude
from synthlib.records import ImageVolume


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


def not_magnitude(path: str | Path) -> str:
    """What name and sidecar call an image that is no magnitude (T1map, ADC ...); "" if neither."""
    content = sidecar.read(path)
    described = (words.not_magnitude(text)[0] for text in sidecar.descriptions(content))
    return words.not_magnitude_name(sidecar.stem(Path(path).name)) or next(
        filter(None, described), ""
    )


def image_codes(path: str | Path) -> list[str]:
    """The codes of ImageType in a file's sidecar, in capitals."""
    return sidecar.codes(sidecar.read(path))


def read_volume(
    path: str | Path,
    volume: int = 0,
    labels: Mapping[str, str] | None = None,
    phase: PhaseImages | None = None,
) -> ImageVolume:
    """One volume of a file; its slices lie across the side of the thickest voxels.

    Args:
        path: .nii, .nii.gz, or .hdr beside its .img.
        volume: of a 4-D file, from 0.
        labels: further NIfTI files on the same grid, by name.
        phase: measured with it; of kind COMPLEX the magnitude is made of it, too. Where phase
            cannot be used a note says why.

    Returns:
        An ImageVolume; name, patient and contrast are left to the caller.

    Raises:
        Refusal: damaged, no magnitude, or labels on another grid.
        OSError: a file cannot be opened or read.
    """
    head = read_head(path)
    if volume >= head.n_volumes:
        raise Refusal(f"it has {head.n_volumes} volumes; number {volume + 1} was expected")
    side = slice_side(head)
    if phase is not None and phase.kind == COMPLEX:
        image = _complex(phase, head, side)
        values, angle_of_image = image.abs(), arrays.wrap(image.angle()).nan_to_num()
    else:
        _require_plain(path, head)
        values, angle_of_image = slices(head, volume, side, signal=True), None
    mended = require_magnitude(values)
    found, angle = plane(head)
    step_mm, y, x = slice_sizes(head, side)
    beside = sidecar.read(path)
    told: dict[str, object] = {"format": "nifti"}
    if head.dtype.kind in "iu" and (phase is None or phase.kind != COMPLEX):
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
    images = ImageVolume(
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
        phase=angle_of_image,
        notes=(*mended, *notes),
        placement=placement(head, side),
    )
    if phase is None or phase.kind == COMPLEX:
        return images
    return with_phase(images, lambda: _phase(phase, head, side))


def _require_plain(path: str | Path, head: Head) -> None:
    """Refuse what is no magnitude by itself."""
    kind = parts.part_of(path, head).kind
    if kind != parts.MAGNITUDE:
        raise Refusal(parts.REASONS[kind])


def _phase(images: PhaseImages, head: Head, side: int) -> Tensor:
    """Radians (slice, y, x) on the grid of a magnitude."""
    if images.kind == PARTS:
        real, imaginary = (_on_grid(images, which, head, side) for which in ("real", "imaginary"))
        return angle_of(real, imaginary)
    beside = sidecar.read(images.files[images.parts[0][0]])
    unit = beside.get("Units")
    values = _on_grid(images, "phase", head, side)
    return radians(values, unit_of(unit) if isinstance(unit, str) else "")


def _complex(images: PhaseImages, head: Head, side: int) -> Tensor:
    """Complex64 (slice, y, x) of one complex file, or of a real and an imaginary one."""
    image = _on_grid(images, "real", head, side)
    if images.imaginary:
        imaginary = _on_grid(images, "imaginary", head, side)
        angle_of(image, imaginary)  # refuses parts whose zero is not known
        return torch.complex(image, imaginary)
    if not image.is_complex():
        raise Refusal("it holds real numbers; expected complex ones")
    return image


def _on_grid(images: PhaseImages, which: str, head: Head, side: int) -> Tensor:
    """One component as slices; refused on another grid."""
    file, volume = (images.imaginary if which == "imaginary" else images.parts)[0]
    other = read_head(images.files[file])
    if not same_grid(head, other):
        raise Refusal("it lies on another grid than its magnitude")
    if volume >= other.n_volumes:
        raise Refusal(f"it has {other.n_volumes} volumes; number {volume + 1} was expected")
    return slices(other, volume, side)


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
    if other.is_complex:
        raise Refusal("its label map holds complex numbers")
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
    steps = Path(path).parts
    if not known and "anat" in steps[:-1] and steps[-1].startswith("sub-"):
        return "head"
    return known[0] if known else "unknown"
