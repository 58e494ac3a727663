"""One volume of a file of single lines: what MRD and twix readers have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synthlib.formats import acquisitions, raw_header
from synthlib.formats.acquisitions import Encoding, LineSlices, LineSource
from synthlib.records import UNDERSAMPLED, Placement, RawVolume

# Image rows run to the back in an axial slice as DICOM shows it, else to the feet.
ROWS_TOWARDS = {"axial": (0, 1, 0), "coronal": (0, 0, -1), "sagittal": (0, 0, -1)}
NORMALS = {"sagittal": 0, "coronal": 1, "axial": 2}
MAX_SPARSE = 64  # times that a k-space may be larger than what was measured of it
SIDEWAYS = "sideways"  # attribute of volumes whose rows run where a head's columns should
STRAIGHT = 1e-3  # of directions: how far from unit length and right angles
SURE = 0.7  # cosine of less than 45 degrees


@dataclass(frozen=True)
class Scan:
    """A file of lines, opened: its table, where the lines are, and what its header says.

    Attributes:
        table: acquisitions.ACQUISITION, a row for each line.
        source: reads lines by their row.
        encodings: of the encoded spaces, by number.
        contrast, patient_id: as in RawVolume.
        noise_bandwidth: relative bandwidth of the receivers in the noise scan, nan: 1.
        attributes: further facts for the volume.
        notes: what is true of all its volumes.
    """

    table: np.ndarray
    source: LineSource
    encodings: tuple[Encoding, ...]
    contrast: str
    patient_id: str
    noise_bandwidth: float
    attributes: Mapping[str, object]
    notes: tuple[str, ...] = ()


def raw_volume(path: Path, name: str, scan: Scan, number: int) -> RawVolume:
    """One volume of a scan.

    Args:
        path: of the file, for messages and `source`; name: of the volume.
        scan: the file, opened.
        number: which of its volumes, from 0.

    Raises:
        ValueError: no lines of an image, or lines that are not one Cartesian image; the
            text begins with what was found.
        IndexError: there are fewer volumes.
    """
    counters = acquisitions.volumes(scan.table)
    if not counters:
        raise ValueError("it has no line of an image")
    raw_header.require_volume(path.name, number, len(counters))
    chosen = counters[number]
    rows = acquisitions.of_volume(scan.table, chosen, acquisitions.IMAGE, acquisitions.BOTH)
    encoding = _encoding(scan, chosen[0], rows)
    n_coils = _coils(scan.table[rows])
    slices, step_mm, sorted_by_place = acquisitions.slice_order(scan.table, rows)
    _require_measured(scan.table[rows], encoding, len(slices))
    placed, assumed = acquisitions.place(scan.table, rows, encoding, slices)
    covered = acquisitions.coverage(placed, encoding, len(slices))
    notes = list(scan.notes)
    if len(counters) > 1:
        notes.append(_several(counters, number))
    if sorted_by_place:
        notes.append("slices were sorted by their positions: their numbers are interleaved")
    if assumed:
        notes.append("the echo is taken to be in the middle of the readout: no line says where")
    if covered.n_averages > 1:
        notes.append(f"lines were measured {covered.n_averages:g} times and are averaged")
    noise, text = _noise(scan, rows, n_coils, covered.n_averages)
    notes += [text] if text else []
    lines = LineSlices(scan.source, placed, n_coils, encoding, len(slices))
    attributes = dict(scan.attributes)
    dwell_us = float(np.median(scan.table["dwell_us"][rows]))
    if dwell_us > 0:
        attributes.setdefault("dwell_us", dwell_us)
    thickness_mm = encoding.thickness_mm
    if encoding.matrix[2] > 1:
        step_mm = thickness_mm
    for word, length_mm in (("thickness_mm", thickness_mm), ("step_mm", step_mm)):
        if length_mm == length_mm:
            attributes.setdefault(word, length_mm)
    attributes = {**_directions(scan.table[rows]), **attributes}
    return RawVolume(
        name=name,
        patient_id=scan.patient_id or name,
        contrast=scan.contrast or "unknown",
        kspace=lines,
        recon_shape=encoding.recon[:2],
        acquired=covered.acquired,
        spacing_mm=encoding.spacing_mm,
        attributes=attributes,
        placement=_placement(scan.table[rows], slices, encoding, lines.shape[0] // len(slices)),
        source=str(path),
        undersampled=covered.n_missing > 0 or bool(attributes.get(UNDERSAMPLED)),
        noise=noise,
        calibration=_calibration(scan, chosen, encoding, slices, n_coils),
        notes=tuple(notes),
    )


def _several(counters: list[tuple[int, ...]], number: int) -> str:
    """Which counters tell the volumes apart."""
    names = [
        f"{len(set(values))} {name}s"
        for name, values in zip(acquisitions.COUNTERS, zip(*counters, strict=True), strict=True)
        if len(set(values)) > 1
    ]
    return (
        f"{len(counters)} volumes in one file ({', '.join(names)}), of which this is number "
        f"{number + 1}; `synthlib convert-raw` writes each to a file of its own"
    )


def _encoding(scan: Scan, number: int, rows: np.ndarray) -> Encoding:
    if not 0 <= number < len(scan.encodings):
        raise ValueError(f"its lines name encoded space {number}, its header has none of it")
    encoding = scan.encodings[number]
    if encoding.matrix[2] > 1 and not scan.table["partition"][rows].any():
        # some writers count the slices of a 2-D scan as partitions of the encoded matrix
        matrix, recon = (*encoding.matrix[:2], 1), (*encoding.recon[:2], 1)
        thickness = encoding.thickness_mm / encoding.matrix[2]
        return Encoding(matrix, recon, encoding.spacing_mm, thickness, (encoding.centre[0], None))
    return encoding


def _require_measured(lines: np.ndarray, encoding: Encoding, n_slabs: int) -> None:
    """Refuse a matrix that a damaged header makes far larger than what was measured."""
    claimed = math.prod(encoding.matrix) * n_slabs
    if claimed > MAX_SPARSE * int(lines["n_samples"].astype(np.int64).sum()):
        by = " x ".join(map(str, encoding.matrix))
        raise ValueError(f"its header says a matrix of {by} for {len(lines)} lines")


def _coils(lines: np.ndarray) -> int:
    counts = np.unique(lines["n_coils"])
    if len(counts) > 1 or counts[0] < 1:
        raise ValueError(f"its lines have {' and '.join(map(str, counts))} coils")
    return int(counts[0])


def _noise(
    scan: Scan, rows: np.ndarray, n_coils: int, n_averages: float
) -> tuple[Tensor | None, str]:
    """Noise samples (coil, sample) as strong as the noise of a sample of k-space, and a note.

    A sample's noise power is proportional to the receiver's bandwidth: one over the dwell
    time. Source: Kellman and McVeigh, MRM 54:1439 (2005); Gadgetron's noise adjustment.
    """
    noisy = np.flatnonzero(scan.table["kind"] == acquisitions.NOISE)
    if not len(noisy):
        return None, ""
    usable = noisy[scan.table["n_coils"][noisy] == n_coils]
    if not len(usable):
        return None, "its noise scan has another number of coils and was left out"
    image_us = float(np.median(scan.table["dwell_us"][rows]))
    noise_us = float(np.median(scan.table["dwell_us"][usable]))
    known = image_us > 0 and noise_us > 0
    bandwidth = scan.noise_bandwidth if scan.noise_bandwidth > 0 else 1.0
    power = (noise_us / image_us if known else 1.0) / bandwidth / n_averages
    samples = np.concatenate(list(scan.source.read(usable)), axis=1) * np.float32(math.sqrt(power))
    if not np.isfinite(samples).all() or not (np.abs(samples).max(1) > 0).all():
        return None, "its noise scan holds no noise in some coil and was left out"
    text = "" if known else "its noise scan tells no dwell time: its level may be another"
    return torch.from_numpy(samples.astype(np.complex64)), text


def _calibration(
    scan: Scan, chosen: tuple[int, ...], encoding: Encoding, slices: list[int], n_coils: int
) -> LineSlices | None:
    """Calibration lines of all the volumes of one encoded space, if there are any apart."""
    apart = scan.table["kind"] == acquisitions.CALIBRATION
    apart &= (scan.table["encoding"] == chosen[0]) & np.isin(scan.table["slice"], slices)
    if not apart.any():
        return None
    same = np.zeros_like(apart)
    same[acquisitions.of_volume(scan.table, chosen, acquisitions.BOTH)] = True
    rows = np.flatnonzero((apart | same) & (scan.table["n_coils"] == n_coils))
    if set(np.unique(scan.table["slice"][rows]).tolist()) != set(slices):
        return None
    try:
        placed, _ = acquisitions.place(scan.table, rows, encoding, slices)
    except ValueError:  # a reference scan of a matrix of its own
        return None
    return LineSlices(scan.source, placed, n_coils, encoding, len(slices))


def _directions(lines: np.ndarray) -> dict[str, object]:
    """Orientation, and whether rows run against DICOM's views, where the lines tell directions."""
    first = lines[0]
    normal, rows = first["slice_dir"].astype(float), first["read_dir"].astype(float)
    if not (np.isfinite(normal).all() and np.isfinite(rows).all()) or not normal.any():
        return {}
    orientation = next((word for word, axis in NORMALS.items() if abs(normal[axis]) > SURE), "")
    if not orientation:
        return {}
    if not rows.any():
        return {"orientation": orientation}
    along = float(np.dot(rows, ROWS_TOWARDS[orientation]))
    if abs(along) < SURE:  # phase was encoded along the rows of DICOM's views
        return {"orientation": orientation, SIDEWAYS: True}
    return {"orientation": orientation, "upside_down": along < -SURE}


def _placement(
    lines: np.ndarray, slices: list[int], encoding: Encoding, per_slab: int
) -> Placement | None:
    """Where the slices lie, of parallel ones whose lines tell positions and directions.

    A position is that of the field of view's centre. Partitions lie along slice_dir.
    """
    numbers, first = np.unique(lines["slice"], return_index=True)
    heads = lines[[first[numbers.searchsorted(number)] for number in slices]]
    names = ("phase_dir", "read_dir", "slice_dir")
    axes = np.stack([heads[name] for name in names], 1).astype(float)  # (slice, axis, 3)
    centres_mm = heads["position"].astype(float)
    is_3d = encoding.matrix[2] > 1
    used = axes[:, : 3 if is_3d else 2]
    if not (np.isfinite(used).all() and np.isfinite(centres_mm).all()):
        return None
    gram = used @ used.transpose(0, 2, 1)
    if np.abs(gram - np.eye(used.shape[1])).max() > STRAIGHT or np.ptp(used, 0).max() > STRAIGHT:
        return None  # directions are unset, oblique to each other, or not those of one stack
    if len(np.unique(centres_mm, axis=0)) < len(centres_mm):
        return None
    if is_3d:
        if encoding.thickness_mm != encoding.thickness_mm:
            return None
        steps = (np.arange(per_slab) - (per_slab - 1) / 2) * encoding.thickness_mm
        centres_mm = (centres_mm[:, None] + steps[:, None] * axes[:, None, 2]).reshape(-1, 3)
    row, column = axes[0, :2]
    return Placement.of_centres(row, column, centres_mm, encoding.recon[:2], encoding.spacing_mm)


@contextmanager
def naming(name: str, broken: Callable[[str, str], ValueError]) -> Iterator[None]:
    """What a reader finds wrong becomes broken(name, what it is), unless it has the name."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(name):
            raise
        raise broken(name, str(error)) from error
