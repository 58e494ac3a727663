"""Which phase images belong to which magnitudes of a DICOM archive, from headers alone."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from synthlib.formats import phase

# What is kept of an image, as float64: one row in an array for each.
COLUMNS = (
    "file", "frame", "place", "bytes", "number", "copy", "time", "acquisition", "b", "ti", "flip",
    "x", "y", "z", "clock",
)  # fmt: skip
SAME_CORNER_MM = 0.1
SAME_DIRECTION = 1e-3  # of the cosines
SAME_CLOCK = 0.5  # seconds
AMBIGUOUS = "phase images of several scans fit it; none was taken"
DISTORTED = "its phase images were not corrected for distortion as it was, and were left out"
SOME = "only some of its slices have phase images; none was taken"
OTHER_TIME = "phase images of other times fit its place; none was taken"

Image = tuple[int, int]  # file, frame


@dataclass
class Group:
    """Images of one series that share all but their place.

    Attributes:
        component: of a complex image; "magnitude" for most.
        series, kin: digests of the series, and of what a magnitude and its phase share (patient,
            study, matrix, pixel size, echo).
        echo: echo time in ms, to a tenth.
        corrected: for distortion.
    """

    directions: tuple[float, ...]
    patient: str
    weighting: str
    orientation: str
    order: tuple[str, ...]
    component: phase.Component = "magnitude"
    series: bytes = b""
    kin: bytes = b""
    echo: str = ""
    corrected: bool = False
    rows: array = field(default_factory=lambda: array("d"))

    @property
    def table(self) -> np.ndarray:
        return np.frombuffer(self.rows, np.float64).reshape(-1, len(COLUMNS))


@dataclass
class Match:
    """The phase of one volume of magnitudes.

    Attributes:
        images: (file, frame) of the phase or the real part of each magnitude, in their order.
        imaginary: of the imaginary part; empty for phase.
        sources: the groups that they are from; sure: they share the magnitudes' series or time.
    """

    images: list[Image]
    imaginary: list[Image]
    sources: tuple[int, ...]
    sure: bool


class Pairing:
    """Phase images by what they share with magnitudes.

    An image of phase fits a magnitude of the same patient, study, matrix, pixel size, echo time,
    place and volume. Of several series that fit, that of the magnitude's own series is taken,
    or the one acquired at the same moment; a guess is never made.
    """

    def __init__(self, parts: Sequence[Group], magnitudes: Sequence[Group]) -> None:
        self._parts = list(parts)
        self._by_kin: dict[bytes, list[int]] = defaultdict(list)
        for number, group in enumerate(self._parts):
            self._by_kin[group.kin].append(number)
        self._echoes: dict[bytes, set[str]] = defaultdict(set)
        self._phase_echoes: dict[bytes, set[str]] = defaultdict(set)
        for group in magnitudes:
            self._echoes[group.series].add(group.echo)
        for group in self._parts:
            if group.component == "phase":
                self._phase_echoes[group.series].add(group.echo)
        self._used: set[int] = set()
        self._differences: set[int] = set()
        self._claims: dict[int, set[bytes]] = defaultdict(set)

    def of(self, group: Group, table: np.ndarray) -> tuple[Match | None, str]:
        """The phase of a table's images (rows as COLUMNS), or why there is none ("": no images).

        Real and imaginary parts are taken where there is no phase image.
        """
        near = [n for n in self._by_kin.get(group.kin, ()) if self._is_parallel(group, n)]
        reasons = []
        for components in (("phase",), ("real", "imaginary")):
            chosen, reason = [], ""
            for component in components:
                numbers = [n for n in near if self._parts[n].component == component]
                images, number, sure, reason = self._choose(group, table, numbers)
                if number is None:
                    break
                chosen.append((images, number, sure))
            if len(chosen) == len(components):
                return self._matched(group, chosen), ""
            reasons.append(reason)
        return None, next((reason for reason in reasons if reason), "")

    def settle(self, matches: Sequence[Match | None]) -> list[str]:
        """Take back what several series claim and nothing decides; the reason for each, or ""."""
        reasons = []
        for match in matches:
            shared = (
                match is not None
                and not match.sure
                and any(len(self._claims[number]) > 1 for number in match.sources)
            )
            reasons.append(AMBIGUOUS if shared else "")
            if match is not None and not shared:
                self._used.update(match.sources)
        return reasons

    def left_over(self) -> list[tuple[Image, str]]:
        """Images that belong to no magnitude, and why."""
        left = []
        for number, group in enumerate(self._parts):
            if number in self._used:
                continue
            reason = phase.ALONE if group.component == "phase" else phase.PART_ALONE
            if number in self._differences:
                reason = phase.DIFFERENCE
            left += [((int(file), int(frame)), reason) for file, frame in group.table[:, :2]]
        return left

    def _is_parallel(self, group: Group, number: int) -> bool:
        other = self._parts[number].directions
        return all(
            abs(a - b) < SAME_DIRECTION for a, b in zip(group.directions, other, strict=True)
        )

    def _matched(self, group: Group, chosen: list[tuple[list[Image], int, bool]]) -> Match:
        sources = tuple(number for _, number, _ in chosen)
        sure = all(one for _, _, one in chosen)
        if not sure:
            for number in sources:
                self._claims[number].add(group.series)
        imaginary = chosen[1][0] if len(chosen) > 1 else []
        return Match(chosen[0][0], imaginary, sources, sure)

    def _choose(
        self, group: Group, table: np.ndarray, numbers: list[int]
    ) -> tuple[list[Image], int | None, bool, str]:
        """The images of one component; the group, whether it is sure, or the reason."""
        reason, fits = "", []
        own = [n for n in numbers if self._parts[n].series == group.series]
        for number in own or numbers:
            part = self._parts[number]
            if part.component == "phase" and self._is_difference(group, part):
                self._differences.add(number)
                continue
            if part.corrected != group.corrected:
                reason = DISTORTED
                continue
            images, same_time, why = _images(table, part.table, bool(own))
            reason = why or reason
            if images:
                fits.append((images, number, bool(own) or same_time))
        if len(fits) > 1:
            fits = [fit for fit in fits if fit[2]] if not own else fits
            if len(fits) != 1:
                return [], None, False, AMBIGUOUS
        return (*fits[0], "") if fits else ([], None, False, reason)

    def _is_difference(self, group: Group, part: Group) -> bool:
        """Magnitudes of several echoes and phase of fewer: Siemens' differences look like that."""
        echoes, of_phase = self._echoes[group.series], self._phase_echoes[part.series]
        return len(echoes) > 1 and of_phase < echoes


def _images(
    table: np.ndarray, parts: np.ndarray, own_series: bool
) -> tuple[list[Image], bool, str]:
    """One image of `parts` for each row of a table; whether acquired with them; why not."""
    column = {name: number for number, name in enumerate(COLUMNS)}
    corner = [column[name] for name in "xyz"]
    alike = [column[name] for name in ("time", "b", "ti", "flip")]
    images, same_time, other_time = [], True, False
    for row in table:
        near = np.abs(parts[:, corner] - row[corner]).max(1) < SAME_CORNER_MM
        fits = parts[near & (parts[:, alike] == row[alike]).all(1)]
        clocks = np.abs(fits[:, column["clock"]] - row[column["clock"]])
        if not own_series:
            other_time |= bool(len(fits)) and bool((clocks > SAME_CLOCK).all())
            fits = fits[~(clocks > SAME_CLOCK)]  # an unknown time (nan) is no other time
        for name in ("acquisition", "clock"):
            apart = np.abs(fits[:, column[name]] - row[column[name]])
            fits = fits[apart < SAME_CLOCK] if (apart < SAME_CLOCK).any() else fits
        _, first = np.unique(fits[:, column["copy"]], return_index=True)
        fits = fits[first]
        if len(fits) > 1:
            return [], False, AMBIGUOUS
        if len(fits):
            images.append((int(fits[0, 0]), int(fits[0, 1])))
            same_time &= bool(abs(fits[0, column["clock"]] - row[column["clock"]]) < SAME_CLOCK)
    if len(images) < len(table):
        return [], False, SOME if images else OTHER_TIME if other_time else ""
    return images, same_time, ""
