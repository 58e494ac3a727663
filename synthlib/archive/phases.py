"""NIfTI files of one folder as images: magnitudes with their phase, complex images of two parts."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace

from synthlib.archive.walking import Place
from synthlib.formats import nifti, phase
from synthlib.formats.nifti import parts
from synthlib.formats.phase import COMPLEX, PARTS, PHASE, PhaseImages
from synthlib.formats.refusals import OtherKind
from synthlib.records import MADE_BY_US

SAME_ECHO_S = 1e-5
OTHER_GRID = "its phase lies on another grid, or has another number of volumes, and was left out"


@dataclass(frozen=True)
class Image:
    """One image that is a series, or several of one file.

    Attributes:
        phase: of its first volume; that of others by :func:`of_volume`.
    """

    place: Place
    head: nifti.Head
    part: nifti.Part
    phase: PhaseImages | None = None
    notes: tuple[str, ...] = ()


class _Named:
    """Images of one kind, and those of one base."""

    def __init__(self, images: list[Image]) -> None:
        self.images = images
        self._by_base: dict[str, list[Image]] = defaultdict(list)
        for image in images:
            self._by_base[image.part.base].append(image)

    def of(self, base: str) -> list[Image]:
        return self._by_base.get(base, [])


class Images:
    """Which files of a folder are images, which are their phase, and what is set aside.

    A phase has its magnitude's name but for what names the part (BIDS part-mag and part-phase,
    dcm2niix's _ph, _real and _imaginary); or their sidecars tell one echo time and one
    moment. Where a scan of several echoes has phase of fewer, that is a difference.

    Attributes:
        images: in the order of the places; aside: (place, reason).
    """

    def __init__(self, places: list[Place]) -> None:
        self.aside: list[tuple[Place, Exception]] = []
        read = [image for place in places if (image := self._read(place))]
        kinds: dict[str, list[Image]] = defaultdict(list)
        for image in read:
            kinds[image.part.kind].append(image)
        self._partners: dict[Place, PhaseImages] = {}
        self._notes: dict[Place, str] = {}
        magnitudes, phases, reals, imaginaries = (
            _Named(kinds[kind])
            for kind in (parts.MAGNITUDE, parts.PHASE, parts.REAL, parts.IMAGINARY)
        )
        used = self._phases(magnitudes, phases)
        used |= self._pairs(magnitudes, reals, imaginaries)
        self.images = []
        for image in read:
            own = image.part.kind
            if own == parts.COMPLEX:
                files = PhaseImages(COMPLEX, (image.place.path,), ((0, 0),))
                self.images.append(replace(image, phase=files))
            elif own == parts.MAGNITUDE or image.place in self._partners:
                notes = (self._notes[image.place],) if image.place in self._notes else ()
                partner = self._partners.get(image.place)
                self.images.append(replace(image, phase=partner, notes=notes))
            elif image.place not in used:
                self.aside.append((image.place, OtherKind(parts.REASONS[own])))

    def _read(self, place: Place) -> Image | None:
        try:
            head = nifti.read_head(place.path)
            part = nifti.part_of(place.path, head)
            if part.synthetic:
                raise OtherKind(f"{MADE_BY_US}; keep the folder of results out of the inputs")
            return Image(place, head, part)
        except Exception as error:  # damaged headers make packages raise anything
            self.aside.append((place, error))
            return None

    def _phases(self, magnitudes: _Named, phases: _Named) -> set[Place]:
        """Give magnitudes their phase; the places of phase images that are accounted for."""
        pairs = [
            (magnitude, image)
            for image in phases.images
            if (magnitude := _magnitude_of(image, magnitudes, phases))
        ]
        echoes, with_phase = defaultdict(set), defaultdict(set)
        for image in magnitudes.images:
            echoes[image.part.family].add(image.part.base)
        for magnitude, _ in pairs:
            with_phase[magnitude.part.family].add(magnitude.part.base)
        used = set()
        for magnitude, image in pairs:
            family = magnitude.part.family
            used.add(image.place)
            if len(with_phase[family]) < len(echoes[family]):
                self.aside.append((image.place, OtherKind(phase.DIFFERENCE)))
            elif _fits(magnitude, image):
                files = PhaseImages(PHASE, (image.place.path,), ((0, 0),))
                self._partners[magnitude.place] = files
            else:
                self._notes[magnitude.place] = OTHER_GRID
                self.aside.append((image.place, OtherKind(phase.ALONE)))
        return used

    def _pairs(self, magnitudes: _Named, reals: _Named, imaginaries: _Named) -> set[Place]:
        """Real and imaginary parts: of a magnitude, or an image of their own."""
        used = set()
        for real in reals.images:
            others = imaginaries.of(real.part.base)
            if len(others) != 1 or not _fits(real, others[0]):
                continue
            files = real.place.path, others[0].place.path
            magnitude = _magnitude_of(real, magnitudes, reals)
            if magnitude is not None and _fits(magnitude, real):
                pair = PhaseImages(PARTS, files, ((0, 0),), ((1, 0),))
                self._partners.setdefault(magnitude.place, pair)
                used.add(real.place)
            else:
                self._partners[real.place] = PhaseImages(COMPLEX, files, ((0, 0),), ((1, 0),))
            used.add(others[0].place)
        return used


def of_volume(images: PhaseImages | None, volume: int) -> PhaseImages | None:
    """The phase of another volume of the same files."""
    if images is None:
        return None
    return replace(
        images,
        parts=tuple((file, volume) for file, _ in images.parts),
        imaginary=tuple((file, volume) for file, _ in images.imaginary),
    )


def _magnitude_of(image: Image, magnitudes: _Named, alike: _Named) -> Image | None:
    """The magnitude of a part: by its name, else by its sidecar; None where none is certain.

    Args:
        alike: all images of its kind, of which only one may be the magnitude's.
    """
    by_name = magnitudes.of(image.part.base)
    by_name = [other for other in by_name if other.part.named] or by_name
    if by_name:
        n_rivals = len(alike.of(image.part.base))
        return by_name[0] if len(by_name) == n_rivals == 1 else None
    partners = [other for other in magnitudes.images if _same_moment(other, image)]
    if len(partners) != 1 or sum(_same_moment(partners[0], other) for other in alike.images) != 1:
        return None
    return partners[0]


def _same_moment(one: Image, other: Image) -> bool:
    """Do the sidecars of two files tell one echo of one scan?"""
    echoes, clocks = (one.part.echo_s, other.part.echo_s), (one.part.clock, other.part.clock)
    if any(map(math.isnan, echoes)) or not all(clocks):
        return False
    near = abs(echoes[0] - echoes[1]) < SAME_ECHO_S
    return near and clocks[0] == clocks[1] and _fits(one, other)


def _fits(one: Image, other: Image) -> bool:
    return nifti.same_grid(one.head, other.head) and one.head.n_volumes == other.head.n_volumes
