"""A volume of DICOM images, read in one pass over its files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from synthlib.formats import quiet, words
from synthlib.formats.dicom import facts, kinds
from synthlib.formats.dicom.header import Header, frames, read
from synthlib.formats.dicom.pixels import magnitude, shape
from synthlib.formats.refusals import Refusal, by, require_magnitude, require_voxels
from synthlib.records import ImageVolume

GAP, UNEVEN = 1.5, 0.02  # of the common step: a slice is missing; steps are not alike


@quiet.hush()
def read_series(files: Sequence[str], images: Sequence[tuple[int, int]] = ()) -> ImageVolume:
    """Magnitude images of one series, sorted along the slices' normal.

    Rows and columns stay as stored. Name, patient and contrast are left to the
    caller: nothing that names a person leaves this room.

    Args:
        files: paths.
        images: (index in `files`, frame) of each image; empty: one image a file.

    Raises:
        Refusal: the images do not make one volume of magnitudes, or a file is damaged.
        OSError: a file cannot be opened or read.
    """
    chosen = list(images) or [(number, 0) for number in range(len(files))]
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
        every = list(frames(header))
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
            volume[at] = magnitude(frame, dataset, index)
    if volume is None or first is None:
        raise Refusal("no images")
    order = np.argsort(places, kind="stable")
    if (order != np.arange(len(order))).any():
        volume, places, corners = volume[order], places[order], corners[order]
    return _volume(first, torch.from_numpy(volume), places, corners)


def _volume(
    first: Header, values: torch.Tensor, places: np.ndarray, corners: np.ndarray
) -> ImageVolume:
    notes: list[str] = []
    if first.text("PhotometricInterpretation") == "MONOCHROME1":
        # bright means little: turned over at the brightest, so that air becomes zero
        values = values.max() - values
        notes.append("MONOCHROME1: turned over, the largest value became zero")
    require_magnitude(values)
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
