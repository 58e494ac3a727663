"""A volume of DICOM images, read in one pass over its files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from pydicom.dataset import Dataset
from torch import Tensor

from synthlib.formats import quiet, words
from synthlib.formats.dicom import facts, kinds, mosaic
from synthlib.formats.dicom import phase as dicom_phase
from synthlib.formats.dicom.header import Header, read
from synthlib.formats.dicom.pairing import SAME_CORNER_MM
from synthlib.formats.dicom.phase import Scaling
from synthlib.formats.dicom.pixels import magnitude, shape, stored_numbers
from synthlib.formats.phase import (
    PARTS,
    Parts,
    PhaseImages,
    angle_of,
    radians,
    with_phase,
)
from synthlib.formats.refusals import Refusal, by, require_magnitude, require_voxels
from synthlib.records import ImageVolume

GAP, UNEVEN = 1.5, 0.02  # of the common step: a slice is missing; steps are not alike


class _Stack(NamedTuple):
    """Images in the order asked for, and where they lie.

    Attributes:
        places: (slice,) along the normal in mm; corners: (slice, 3) of the first pixels.
        first: the header of the first.
    """

    values: np.ndarray
    places: np.ndarray
    corners: np.ndarray
    first: Header


Pixels = Callable[[Header, Dataset, int], np.ndarray]  # of one frame


@quiet.hush()
def read_series(
    files: Sequence[str],
    images: Sequence[tuple[int, int]] = (),
    phase: PhaseImages | None = None,
) -> ImageVolume:
    """Magnitude images of one series, sorted along the slices' normal.

    Rows and columns stay as stored. Name, patient and contrast are left to the
    caller: nothing that names a person leaves this room.

    Args:
        files: paths.
        images: (index in `files`, frame) of each image; empty: one image a file.
        phase: measured with them, in their order. Where it cannot be used a note says why.

    Raises:
        Refusal: the images do not make one volume of magnitudes, or a file is damaged.
        OSError: a file cannot be opened or read.
    """
    chosen = list(images) or [(number, 0) for number in range(len(files))]
    stack = _stack(files, chosen, magnitude)
    order = np.argsort(stack.places, kind="stable")
    in_order = bool((order == np.arange(len(order))).all())
    values, places, corners = stack.values, stack.places, stack.corners
    if not in_order:
        values, places, corners = values[order], places[order], corners[order]
    volume = _volume(stack.first, torch.from_numpy(values), places, corners)
    if phase is None:
        return volume
    return with_phase(volume, lambda: _phase(phase, stack.corners)[order])


def _stack(files: Sequence[str], chosen: Sequence[tuple[int, int]], pixels: Pixels) -> _Stack:
    by_file: dict[int, list[int]] = {}
    for at, (file, _) in enumerate(chosen):
        by_file.setdefault(file, []).append(at)
    volume: np.ndarray | None = None
    places, corners = np.zeros(len(chosen)), np.zeros((len(chosen), 3))
    first: Header | None = None
    directions: tuple[float, ...] = ()
    for file, wanted in by_file.items():
        header, dataset = read(files[file], pixels=True)
        kinds.refuse_file(header)
        every = list(mosaic.images(header))
        for at in wanted:
            index = chosen[at][1]
            if index >= len(every):
                raise Refusal(f"{len(every)} frames in a file; frame {index + 1} was expected")
            frame = every[index]
            place, size = facts.place(frame), shape(frame)
            if volume is None or first is None:
                require_voxels(len(chosen), *size)
                volume = np.empty((len(chosen), *size), np.float32)
                first, directions = frame, place.directions
            if size != volume.shape[1:] or not place.is_parallel(directions):
                raise Refusal(
                    f"slices of {by(size)} and of {by(volume.shape[1:])} pixels, or of several "
                    "directions; expected one series"
                )
            places[at] = facts.Place(directions, place.corner).along
            corners[at] = place.corner
            volume[at] = pixels(frame, dataset, index)
    if volume is None or first is None:
        raise Refusal("no images")
    return _Stack(volume, places, corners, first)


def _phase(images: PhaseImages, corners: np.ndarray) -> Tensor:
    """Radians (slice, y, x) in the order of the magnitudes, whose corners are given.

    Raises:
        Refusal: they lie elsewhere, or their unit cannot be decided.
    """

    def stack(parts: Parts) -> tuple[Tensor, set[Scaling], Header]:
        scalings: set[Scaling] = set()

        def pixels(frame: Header, dataset: Dataset, index: int) -> np.ndarray:
            scalings.add(scaling := dicom_phase.scaling(frame))
            return dicom_phase.scaled(stored_numbers(frame, dataset, index), scaling)

        part = _stack(images.files, parts, pixels)
        if np.abs(part.corners - corners).max() > SAME_CORNER_MM:
            raise Refusal("it lies at other places than the magnitudes")
        return torch.from_numpy(part.values), scalings, part.first

    if images.kind == PARTS:
        real, of_real, _ = stack(images.parts)
        imaginary, of_imaginary, _ = stack(images.imaginary)
        if len({scaling.slope for scaling in of_real | of_imaginary}) > 1:
            raise Refusal("its real and imaginary parts have several slopes; expected one")
        return angle_of(real, imaginary)
    values, scalings, first = stack(images.parts)
    units = {scaling.unit for scaling in scalings}
    if len(units) > 1:
        raise Refusal("its slices tell several units; expected one")
    ends = dicom_phase.full_scale(first, next(iter(scalings))) if len(scalings) == 1 else None
    return radians(values, units.pop(), ends)


def _volume(
    first: Header, values: torch.Tensor, places: np.ndarray, corners: np.ndarray
) -> ImageVolume:
    notes: list[str] = []
    if first.text("PhotometricInterpretation") == "MONOCHROME1":
        # bright means little: turned over at the brightest, so that air becomes zero
        values = values.max() - values
        notes.append("MONOCHROME1: turned over, the largest value became zero")
    notes.extend(require_magnitude(values))
    step_mm, of_steps = steps(places)
    plane, angle = words.orientation(facts.place(first).normal)
    thickness_mm = facts.positive(first, "SliceThickness")
    if math.isnan(step_mm):
        step_mm = facts.positive(first, "SpacingBetweenSlices")
    return ImageVolume(
        name="dicom",
        patient_id="unknown",
        contrast="unknown",
        magnitude=values,
        spacing_mm=facts.spacing_mm(first),
        thickness_mm=thickness_mm,
        step_mm=step_mm,
        orientation=plane,
        anatomy=facts.anatomy(first),
        field_t=facts.field_t(first),
        facts=facts.facts(first),
        notes=(*notes, *of_steps, *words.oblique_note(plane, angle)),
        placement=facts.placement(first, corners, (values.shape[1], values.shape[2])),
    )


def steps(places: np.ndarray) -> tuple[float, tuple[str, ...]]:
    """The common step between slices in mm, nan for one slice, and what is not as it should be.

    Args:
        places: positions along the normal in mm, sorted.
    """
    if len(places) < 2:
        return math.nan, ()
    apart = np.diff(places)
    step = float(np.median(apart))
    if step <= 0:
        return 0.0, ("slices at one place",)
    notes = []
    for at in np.flatnonzero(apart > GAP * step):
        missing = max(1, round(float(apart[at]) / step) - 1)
        what = "a slice is" if missing == 1 else f"{missing} slices are"
        notes.append(f"{what} missing between slices {at + 1} and {at + 2}")
    if len(notes) > 10:
        notes = [*notes[:10], f"{len(notes) - 10} more gaps"]
    regular = apart[apart <= GAP * step]
    if len(regular) and np.ptp(regular) > UNEVEN * step + 0.02:
        notes.append(f"steps between slices from {regular.min():.2f} to {regular.max():.2f} mm")
    return step, tuple(notes)
