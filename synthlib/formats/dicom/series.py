"""Images of DICOM files sorted into series, from headers alone."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from synthlib.formats import quiet, words
from synthlib.formats.dicom import facts, kinds, mosaic
from synthlib.formats.dicom.header import Header
from synthlib.formats.dicom.pairing import COLUMNS, Group, Image, Match, Pairing
from synthlib.formats.dicom.pixels import shape
from synthlib.formats.phase import Component
from synthlib.formats.refusals import OtherKind, Refusal

SPLITTERS = ("time", "acquisition", "b", "ti", "flip")
SAME_PLACE_MM = 0.01
MOST_VOLUMES = 8  # of one series, at the same places: echoes and the like, no time series


@dataclass
class Bundle:
    """Images that belong together: one volume, sorted by place.

    Attributes:
        images: (file, frame) of each, files as they were counted by the caller.
        patient: what `pseudonym` made of who was scanned.
        weighting, orientation: words of fixed lists.
        order: for sorting a patient's series, not to be shown.
        notes: what was left out or taken apart.
        phase, imaginary: (file, frame) of each image's phase, or of its real and
            imaginary part; empty where they were not measured.
        echo: echo time in ms, to a tenth.
    """

    images: list[Image]
    patient: str
    weighting: str
    orientation: str
    order: tuple[str, ...]
    notes: tuple[str, ...] = ()
    phase: tuple[Image, ...] = ()
    imaginary: tuple[Image, ...] = ()
    echo: str = ""


class _Image(NamedTuple):
    """One image before it is sorted in: digests of what it shares, and its row of numbers."""

    series: bytes
    apart: bytes
    place: facts.Place
    group: Group  # if it is the first of its kind
    source: tuple[int, int]
    later: tuple[float, ...]


class Sorter:
    """Collects headers; :meth:`bundles` then tells the series that they make."""

    def __init__(self, pseudonym: Callable[[str], str]) -> None:
        self._pseudonym = pseudonym
        self._groups: dict[bytes, list[Group]] = {}  # of one series, by what else must agree
        self._parts: dict[bytes, list[Group]] = {}  # the same of phase, real and imaginary images
        self._frames: dict[int, int] = {}  # of files that hold some of those
        self._pairing = Pairing((), ())
        self._planes: dict[bytes, set[str]] = {}  # that the images of one series UID lie in

    @quiet.hush()
    def add(self, file: int, header: Header) -> Refusal | None:
        """Take in the images of a file; how many of its frames were left out and why, or None.

        Raises:
            Refusal: none of them is a magnitude of a slice.
        """
        kinds.refuse_file(header)
        refused: Counter[str] = Counter()
        kind: type[Refusal] = OtherKind  # unless a frame is refused for another reason
        images = []
        for number, frame in enumerate(mosaic.images(header)):
            try:
                images.append(self._image(file, number, frame, kinds.component(frame)))
            except Refusal as error:
                refused[str(error)] += 1
                kind = OtherKind if isinstance(error, OtherKind) and kind is OtherKind else Refusal
        if refused and not images:
            raise kind(next(reversed(refused)))
        n_frames = len(images) + refused.total()
        for image in images:  # not before all are known: a damaged file leaves no trace
            if image.group.component == "magnitude":
                self._planes.setdefault(image.series, set()).add(image.group.orientation)
                _take(image, self._groups)
            else:
                self._frames[file] = n_frames
                _take(image, self._parts)
        lines = (f"{n} of {n_frames} frames left out: {reason}" for reason, n in refused.items())
        return kind("; ".join(lines)) if refused else None

    def bundles(self) -> list[Bundle]:
        """The series, each image in one of them or left out with a note."""
        groups = [group for several in self._groups.values() for group in several]
        parts = [group for several in self._parts.values() for group in several]
        self._pairing = Pairing(parts, groups)
        bundles, matches = [], []
        for group in groups:
            for bundle, table in _bundles(group):
                match, reason = self._pairing.of(group, table) if parts else (None, "")
                bundles.append(_noted(bundle, reason))
                matches.append(match)
        reasons = self._pairing.settle(matches)
        return [
            _noted(bundle, reason) if reason or match is None else _with_phase(bundle, match)
            for bundle, match, reason in zip(bundles, matches, reasons, strict=True)
        ]

    def left_over(self) -> Iterator[tuple[int, str]]:
        """After :meth:`bundles`: files whose phase images belong to no magnitude, and why."""
        left: dict[int, Counter[str]] = {}
        for (file, _), reason in self._pairing.left_over():
            left.setdefault(file, Counter())[reason] += 1
        for file, reasons in sorted(left.items()):
            n_frames = self._frames[file]
            if n_frames == 1:
                yield file, next(iter(reasons))
            else:
                lines = (f"{n} of {n_frames} frames left out: {why}" for why, n in reasons.items())
                yield file, "; ".join(lines)

    def scouts(self) -> set[int]:
        """Files of series that lie in all three planes; their images are forgotten."""
        several = {key for key, planes in self._planes.items() if len(planes) >= 3}
        files: set[int] = set()
        for key in [key for key in self._groups if key[:16] in several]:
            for group in self._groups.pop(key):
                files.update(int(file) for file in group.rows[:: len(COLUMNS)])
        return files

    def _image(self, file: int, number: int, frame: Header, component: Component) -> _Image:
        shape(frame)
        place = facts.place(frame)
        patient = self._pseudonym(_identity(frame))
        uid = frame.text("SeriesInstanceUID") or frame.text("SeriesNumber")
        study = frame.text("StudyInstanceUID")
        series = _digest(patient, study, uid)
        te, spacing = frame.number("EffectiveEchoTime") or frame.number("EchoTime"), "PixelSpacing"
        apart = _digest(
            frame.text("Rows"), frame.text("Columns"), str(frame.numbers("Rows")),
            str(frame.numbers("Columns")), frame.text(spacing), f"{te or 0:.1f}",
            frame.text("EchoNumbers"), frame.text("ImageType"), frame.text("FrameType"),
            frame.text("ComplexImageComponent"), frame.text("StackID"),
            frame.text("PhotometricInterpretation"), component,  # GE tells it in a field of its own
        )  # fmt: skip
        plane, _ = words.orientation(place.normal)
        order = (
            frame.text("StudyDate"), frame.text("StudyTime"),
            f"{frame.whole('SeriesNumber'):09d}", uid, f"{te or 0:09.2f}", apart.hex(),
        )  # fmt: skip
        uid_of_image = frame.text("SOPInstanceUID") or f"file {file}"
        # some anonymisers give one UID to all images: copies share their place and number, too
        same = (uid_of_image, str(number), f"{place.along:.2f}", frame.text("InstanceNumber"))
        copy = int.from_bytes(_digest(*same)[:6], "big")
        time = frame.whole("TemporalPositionIndex", frame.whole("TemporalPositionIdentifier"))
        later = (
            frame.n_bytes, frame.whole("InstanceNumber", number), copy, time,
            frame.whole("AcquisitionNumber"),
            frame.number("DiffusionBValue") or 0, frame.number("InversionTime") or 0,
            frame.number("FlipAngle") or 0, *place.corner, _clock(frame),
        )  # fmt: skip
        sizes = f"{frame.numbers('Rows')} {frame.numbers('Columns')} {frame.numbers(spacing)}"
        echo = f"{te or 0:.1f}"
        group = Group(
            place.directions, patient, facts.weighting(frame), plane, order, component, series,
            _digest(patient, study, sizes, echo), echo,
            bool({"DIS2D", "DIS3D"} & {*frame.codes("ImageType"), *frame.codes("FrameType")}),
        )  # fmt: skip
        return _Image(series, apart, place, group, (file, number), later)


def _take(image: _Image, into: dict[bytes, list[Group]]) -> None:
    groups = into.setdefault(image.series + image.apart, [])
    fits = (one for one in groups if image.place.is_parallel(one.directions))
    group = next(fits, None)
    if group is None:
        group = image.group
        groups.append(group)
    # one normal for all, or their places could not be compared
    shared = facts.Place(group.directions, image.place.corner)
    group.rows.extend((*image.source, shared.along, *image.later))


def _noted(bundle: Bundle, note: str) -> Bundle:
    return replace(bundle, notes=(*bundle.notes, note)) if note else bundle


def _with_phase(bundle: Bundle, match: Match) -> Bundle:
    return replace(bundle, phase=tuple(match.images), imaginary=tuple(match.imaginary))


def _clock(frame: Header) -> float:
    """When an image was acquired, as a number that is the same for what was acquired together."""
    for keyword in ("FrameAcquisitionDateTime", "AcquisitionTime", "AcquisitionDateTime"):
        text = frame.text(keyword).split("+")[0].split("-")[0]
        try:
            return float(text)
        except ValueError:
            continue
    return math.nan


def _bundles(group: Group) -> Iterator[tuple[Bundle, np.ndarray]]:
    """Volumes, each with the rows of its images."""
    table = group.table
    notes: list[str] = []
    # of copies the longest file is kept: a copy that was cut off must not hide a whole one
    table = table[np.argsort(-table[:, COLUMNS.index("bytes")], kind="stable")]
    _, first = np.unique(table[:, COLUMNS.index("copy")], return_index=True)
    if len(first) < len(table):
        notes.append(f"{len(table) - len(first)} copies of the same images were left out")
        table = table[first]
    table = table[np.argsort(table[:, COLUMNS.index("file")], kind="stable")]
    parts, how = _apart(table)
    if len(parts) > 1:
        notes.append(f"{len(parts)} volumes at the same places, told apart by {how}")
    if len(parts) > MOST_VOLUMES:
        notes.append("of more than 8, only the first was taken")
        parts = parts[:1]
    for part in parts:
        kept, twice = _single(part)
        more = [f"slice {number} is there twice; the first was taken" for number in twice[:10]]
        if len(twice) > 10:
            more.append(f"{len(twice) - 10} more slices are there twice")
        images = [(int(file), int(frame)) for file, frame in kept[:, :2]]
        yield Bundle(
            images, group.patient, group.weighting, group.orientation, group.order,
            (*notes, *more), echo=group.echo,
        ), kept  # fmt: skip


def _ranks(table: np.ndarray) -> np.ndarray:
    """Number of each image's place, counted along the normal."""
    places = table[:, COLUMNS.index("place")]
    order = np.argsort(places, kind="stable")
    ranks = np.empty(len(places), int)
    ranks[order] = np.concatenate([[0], np.cumsum(np.diff(places[order]) > SAME_PLACE_MM)])
    return ranks


def _apart(table: np.ndarray) -> tuple[list[np.ndarray], str]:
    """Volumes of images at the same places, and by what they were told apart."""
    ranks = _ranks(table)
    n_places, n_images = int(ranks.max()) + 1, len(table)
    if n_places == n_images:
        return [table], ""
    for splitter in SPLITTERS:
        values = table[:, COLUMNS.index(splitter)]
        chosen = [values == value for value in np.unique(values)]
        whole = all(len(set(ranks[one])) == one.sum() >= 0.5 * n_places for one in chosen)
        if len(chosen) > 1 and whole:
            return [table[one] for one in chosen], {
                "time": "time", "acquisition": "acquisition number", "b": "b-value",
                "ti": "inversion time", "flip": "flip angle",
            }[splitter]  # fmt: skip
    count = np.bincount(ranks)
    if count.min() == count.max() and n_places > 1:
        order = np.lexsort((table[:, COLUMNS.index("number")], ranks))
        turns = table[order].reshape(n_places, -1, table.shape[1])
        return list(turns.transpose(1, 0, 2)), "order"
    return [table], ""


def _single(table: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """One image for each place, sorted by place, and the numbers of places that had more."""
    ranks = _ranks(table)
    order = np.lexsort((table[:, COLUMNS.index("number")], ranks))
    table, ranks = table[order], ranks[order]
    _, first, count = np.unique(ranks, return_index=True, return_counts=True)
    return table[first], [int(rank) + 1 for rank in np.flatnonzero(count > 1)]


def _identity(frame: Header) -> str:
    """Who was scanned: what stands for a person in this header, never to be shown."""
    number = frame.text("PatientID").casefold()
    if number:
        return f"id {number}"
    name = frame.text("PatientName").casefold()
    if name:
        return f"name {name} {frame.text('PatientBirthDate')}"
    return f"study {frame.text('StudyInstanceUID')}"


def _digest(*texts: str) -> bytes:
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=16).digest()
