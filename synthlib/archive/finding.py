"""Series in files and folders of any kind, found from headers alone."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synthlib.archive import kinds, names, phases, walking
from synthlib.archive.companions import Companions
from synthlib.archive.series import Found, Kind, Series, SetAside
from synthlib.archive.walking import Place
from synthlib.formats import dicom, fastmri_images, nifti, quiet, stacks, words
from synthlib.formats.nifti import sidecar
from synthlib.formats.phase import PARTS, PHASE, PhaseImages
from synthlib.formats.refusals import OtherKind, Refusal, reason_of

PLACE_PARTS = 3  # of a path: sessions and the like lie in folders of their own
SCOUT = "a localizer: slices in all three planes"
MANY_VOLUMES = "of more than 8 volumes, only the first was taken"


@dataclass(frozen=True)
class _Draft:
    """A series without its name.

    Attributes:
        order: sorts a patient's series; identity: tells them apart whatever else is
            found, wherever they lie. Neither is shown.
        mark: what may tell it from others of the same files, for people.
    """

    series: Series
    order: tuple[str, ...]
    identity: tuple[str, ...]
    mark: str = ""


def find(
    inputs: Sequence[str | Path],
    *,
    salt: bytes,
    spacing_mm: tuple[float, float] | None = None,
    slice_mm: float | None = None,
    show_names: bool = False,
) -> Found:
    """Find the series of magnitude images in files and folders; no pixel is read.

    What a file is, is told by its first bytes. One bad file stops nothing: it
    is set aside with the reason. Nothing in the result tells a name, a date or
    an identifier, except the paths in the fields that say so.

    Args:
        inputs: files or folders of DICOM, NIfTI, fastMRI HDF5, PNG, NPY.
        salt: secret of this run; the same salt gives the same pseudonyms.
        spacing_mm: (y, x) of a pixel, for PNG and NPY.
        slice_mm: between slices, for PNG and NPY.
        show_names: name files by their paths in `where` instead of numbers.

    Raises:
        ValueError: no inputs, or sizes that are not > 0.
    """
    if isinstance(inputs, str | Path) or not len(inputs):
        raise ValueError("no inputs in a list; expected files or folders, for example ['scans']")
    if min(*(spacing_mm or (1, 1)), slice_mm or 1) <= 0:
        raise ValueError(f"spacing {spacing_mm}, {slice_mm} mm; expected numbers > 0")
    search = _Search(salt, spacing_mm, slice_mm, show_names, inputs)
    with quiet.hush():
        for places in walking.files(inputs, search.set_aside):
            search.folder(places)
        return search.found()


class _Search:
    def __init__(
        self,
        salt: bytes,
        spacing_mm: tuple[float, float] | None,
        slice_mm: float | None,
        show_names: bool,
        inputs: Sequence[str | Path],
    ) -> None:
        self.salt, self.show_names = salt, show_names
        self.spacing_mm, self.slice_mm = spacing_mm, slice_mm
        self.is_file = [Path(one).expanduser().is_file() for one in inputs]
        self.sorter = dicom.Sorter(functools.partial(names.pseudonym, salt))
        self.dicoms: list[Place] = []
        self.drafts: list[_Draft] = []
        self.aside: dict[tuple[int, str, bool], list[Place]] = {}
        self.places: dict[Place, None] = {}  # in order, each once

    # --- one folder after the other ---------------------------------------------------

    def folder(self, places: list[Place]) -> None:
        """Take in the files of one folder."""
        self.places.update(dict.fromkeys(places))
        pngs: list[Place] = []
        niftis: list[Place] = []
        for place in places:
            try:
                found = kinds.kind(place.path)
                if found == "dicom":
                    self.dicoms.append(place)
                    header, _ = dicom.read_header(place.path, pixels=False)
                    left_out = self.sorter.add(len(self.dicoms) - 1, header)
                    if left_out:
                        self.set_aside(place, left_out)
                elif found == "nifti":
                    niftis.append(place)
                elif found == "fastmri":
                    self._fastmri(place)
                elif found == "npy":
                    self._npy(place)
                elif found == "png":
                    pngs.append(place)
            except Exception as error:  # damaged headers make packages raise anything
                self.set_aside(place, error)
        self._niftis(niftis)
        if pngs:
            self._pngs(pngs)

    def set_aside(self, place: Place, why: str | BaseException) -> None:
        """Leave a file out; a fault, unless it is of another kind by its own account."""
        self.places[place] = None
        reason = why if isinstance(why, str) else reason_of(why)
        key = place.input, reason, not isinstance(why, OtherKind)
        self.aside.setdefault(key, []).append(place)

    def _fastmri(self, place: Place) -> None:
        found = fastmri_images.summary(place.path)
        person = f"id {found.patient.casefold()}" if found.patient else names.person_of(place.path)
        self._draft("fastmri", [place], person, found.contrast, n_slices=found.shape[0])

    def _npy(self, place: Place) -> None:
        shape, _ = stacks.npy_head(place.path)
        if self.spacing_mm is None:
            raise Refusal(stacks.NEEDS_SPACING)
        weight = names.weight_of(place.path)
        n_slices = shape[0] if len(shape) == 3 else 1
        self._draft("stack", [place], names.person_of(place.path), weight or "unknown", n_slices)

    def _pngs(self, places: list[Place]) -> None:
        good, sizes = [], set()
        for place in places:
            try:
                sizes.add(stacks.png_size(place.path))
                good.append(place)
            except (Refusal, OSError) as error:
                self.set_aside(place, error)
        reason = ""
        if len(sizes) > 1:
            reason = f"pictures of {len(sizes)} sizes in one folder; expected one stack of one size"
        elif self.spacing_mm is None:
            reason = stacks.NEEDS_SPACING
        if reason:
            for place in good:
                self.set_aside(place, reason)
        elif good:
            person = names.person_of(good[0].path, folder_is_one=True)
            self._draft("stack", good, person, "unknown", len(good))

    def _niftis(self, places: list[Place]) -> None:
        companions = Companions(places)
        for place in companions.lonely:
            lonely = "a label map or mask without its image in the same folder"
            self.set_aside(place, OtherKind(lonely))
        images = phases.Images(companions.images)
        for place, error in images.aside:
            self.set_aside(place, error)
        for image in images.images:
            try:
                self._nifti(image, companions.labels(image.place))
            except Exception as error:  # as above
                self.set_aside(image.place, error)

    def _nifti(self, image: phases.Image, labels: dict[str, str]) -> None:
        place, head = image.place, image.head
        codes = (dicom.COMPUTED.get(code) for code in nifti.image_codes(place.path))
        what = next(filter(None, codes), "") or nifti.not_magnitude(place.path)
        if what:
            raise OtherKind(f"{what} by its name or its sidecar; expected a magnitude")
        plane, _ = nifti.plane(head)
        label = words.contrast(plane, names.weight_of(place.path))
        notes, kept = list(image.notes), {}
        for name, path in labels.items():
            try:
                if nifti.same_grid(head, nifti.read_head(path)):
                    kept[name] = path
                else:
                    notes.append(f"its {name} lies on another grid and was left out")
            except (Refusal, OSError) as error:
                notes.append(f"its {name} was left out: {reason_of(error)}")
        volumes = range(head.n_volumes)
        if head.n_volumes > dicom.MOST_VOLUMES:
            notes.append(MANY_VOLUMES)
            volumes = range(1)
        for volume in volumes:
            self._draft(
                "nifti", [place], names.person_of(place.path), label, nifti.n_slices(head),
                labels=tuple(kept.items()), parts=((0, volume),), notes=tuple(notes),
                phase=phases.of_volume(image.phase, volume),
            )  # fmt: skip

    def _draft(
        self,
        kind: Kind,
        places: list[Place],
        person: str,
        contrast: str,
        n_slices: int = 0,
        labels: tuple[tuple[str, str], ...] = (),
        parts: tuple[tuple[int, int], ...] = (),
        notes: tuple[str, ...] = (),
        phase: PhaseImages | None = None,
    ) -> None:
        files = [place.path for place in places]
        beside = [str(sidecar.sidecar(files[0]))] if kind == "nifti" else []
        watched = [*files, *(path for _, path in labels), *beside, *_watched(phase)]
        given = (self.spacing_mm, self.slice_mm) if kind == "stack" else (None, None)
        series = Series(
            name="",
            patient_id=names.pseudonym(self.salt, person),
            contrast=contrast,
            kind=kind,
            where=self._where(places),
            stamp=names.stamp(self.salt, watched, kind, parts, given),
            notes=notes,
            n_slices=n_slices,
            files=tuple(files),
            label_files=labels,
            parts=parts,
            spacing_mm=given[0],
            slice_mm=given[1],
            phase=phase,
        )
        order = f"{places[0].input:06d}", f"{places[0].number:09d}"
        identity = *Path(files[0]).absolute().parts[-PLACE_PARTS:], str(parts)
        mark = f"volume {parts[0][1] + 1}" if parts else ""
        self.drafts.append(_Draft(series, order, identity, mark))

    # --- at the end --------------------------------------------------------------------

    def found(self) -> Found:
        for file in sorted(self.sorter.scouts()):
            self.set_aside(self.dicoms[file], OtherKind(SCOUT))
        for bundle in self.sorter.bundles():
            self._bundle(bundle)
        for file, reason in self.sorter.left_over():
            self.set_aside(self.dicoms[file], OtherKind(reason))
        counts: Counter[str] = Counter()
        series = []
        for draft in _told_apart(sorted(self.drafts, key=lambda draft: draft.order)):
            one = draft.series
            name = names.series(self.salt, one.patient_id, one.contrast, draft.identity)
            counts[name] += 1
            again = f"-{counts[name]}" if counts[name] > 1 else ""
            series.append(replace(one, name=name + again))
        series.sort(key=lambda one: (one.patient_id, one.contrast))
        aside = [
            SetAside(self._where(places), reason, sum(place.number > 0 for place in places), fault)
            for (_, reason, fault), places in sorted(
                self.aside.items(), key=lambda item: item[1][0][:2]
            )
        ]
        return Found(tuple(series), tuple(aside), tuple(sorted(self.places)))

    def _bundle(self, bundle: dicom.Bundle) -> None:
        numbers = list(dict.fromkeys(file for file, _ in bundle.images))
        places = [self.dicoms[number] for number in numbers]
        index = {number: at for at, number in enumerate(numbers)}
        parts = tuple((index[file], frame) for file, frame in bundle.images)
        if all(frame == 0 for _, frame in parts):
            parts = ()
        files = tuple(place.path for place in places)
        phase = self._phase(bundle)
        series = Series(
            name="",
            patient_id=bundle.patient,
            contrast=words.contrast(bundle.orientation, bundle.weighting),
            kind="dicom",
            where=self._where(places),
            stamp=names.stamp(self.salt, [*files, *(phase.files if phase else ())], "dicom", parts),
            notes=bundle.notes,
            n_slices=len(bundle.images),
            files=files,
            parts=parts,
            phase=phase,
        )
        self.drafts.append(_Draft(series, bundle.order, bundle.order, f"TE {bundle.echo} ms"))

    def _phase(self, bundle: dicom.Bundle) -> PhaseImages | None:
        images = [*bundle.phase, *bundle.imaginary]
        if not images:
            return None
        numbers = list(dict.fromkeys(file for file, _ in images))
        index = {number: at for at, number in enumerate(numbers)}
        first, second = (
            tuple((index[file], frame) for file, frame in part)
            for part in (bundle.phase, bundle.imaginary)
        )
        files = tuple(self.dicoms[number].path for number in numbers)
        return PhaseImages(PARTS if second else PHASE, files, first, second)

    def _where(self, places: list[Place]) -> str:
        if self.show_names:
            first = names.printable(places[0].path)
            return first if len(places) == 1 else f"{first} and {len(places) - 1} more"
        listed = sorted(places)[0].input
        numbers = [place.number for place in places if place.number and place.input == listed]
        return names.where(listed, names.ranges(numbers), is_file=self.is_file[listed - 1])


def _told_apart(drafts: Sequence[_Draft]) -> Iterator[_Draft]:
    """The same drafts; those of the same files with what tells them apart in their `where`."""
    alike: dict[str, list[str]] = {}
    for draft in drafts:
        alike.setdefault(draft.series.where, []).append(draft.mark)
    counts: Counter[str] = Counter()
    for draft in drafts:
        marks = alike[draft.series.where]
        counts[draft.series.where] += 1
        if len(marks) == 1:
            yield draft
            continue
        mark = draft.mark
        if len(set(marks)) < len(marks):
            mark = f"series {counts[draft.series.where]} of {len(marks)}"
        where = f"{draft.series.where}, {mark}"
        yield replace(draft, series=replace(draft.series, where=where))


def _watched(phase: PhaseImages | None) -> list[str]:
    """Files whose change changes a NIfTI series' phase."""
    files = phase.files if phase else ()
    return [*files, *(str(sidecar.sidecar(path)) for path in files)]
