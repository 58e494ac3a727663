"""Which NIfTI files are parts of one complex image, by their names and sidecars."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from synthlib.formats import phase, words
from synthlib.formats.nifti import sidecar
from synthlib.formats.nifti.header import Head

MAGNITUDE, PHASE, REAL, IMAGINARY = "magnitude", "phase", "real", "imaginary"
COMPLEX, DIFFERENCE, FIELD_MAP = "complex", "difference", "field map"
REASONS = {
    PHASE: phase.ALONE,
    REAL: phase.PART_ALONE,
    IMAGINARY: phase.PART_ALONE,
    COMPLEX: "a complex image; expected a magnitude",
    DIFFERENCE: phase.DIFFERENCE,
    FIELD_MAP: phase.FIELD_MAP,
}
BIDS = re.compile(r"(?:^|_)part-(mag|phase|real|imag)(?=_|$)", re.IGNORECASE)
NUMBERED = re.compile(r"(phase|magnitude)([12])", re.IGNORECASE)  # BIDS: echoes of a field map
ECHO = re.compile(r"(e|echo-?|te)\d+([p.]\d+)?|#\d", re.IGNORECASE)
# Words between underlines: some anywhere, the short ones of dcm2niix at the end only.
ANYWHERE = {"phase": PHASE, "mag": MAGNITUDE, "magnitude": MAGNITUDE}
ENDINGS = {
    "ph": PHASE, "pha": PHASE, "phasemap": PHASE, "real": REAL, "realpart": REAL, "imag": IMAGINARY,
    "imaginary": IMAGINARY, "imagpart": IMAGINARY,
}  # fmt: skip
BIDS_PARTS = {"mag": MAGNITUDE, "phase": PHASE, "real": REAL, "imag": IMAGINARY}
NOT_PARTS = {
    "phasediff": DIFFERENCE, "phasedifference": DIFFERENCE, "fieldmap": FIELD_MAP,
    "fieldmaphz": FIELD_MAP, "b0map": FIELD_MAP,
}  # fmt: skip
# In older names, without underlines around them: no magnitudes, but of nothing by name.
WORDS = {"phase": PHASE, "ph": PHASE, "phasemap": PHASE, "realpart": REAL, "imag": IMAGINARY,
         "imaginary": IMAGINARY}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """What one file is.

    Attributes:
        kind: a component of a complex image, COMPLEX, DIFFERENCE or FIELD_MAP.
        base: its name without what names the kind: parts of one image share it.
        family: its base without the echo: echoes of one scan share it.
        named: the name says that it is a magnitude.
        echo_s, clock: of its sidecar, nan and "" where that does not tell them.
        synthetic: header or sidecar carry the mark of what synthlib made.
    """

    kind: str
    base: str
    family: str
    named: bool
    echo_s: float
    clock: str
    synthetic: bool


def part_of(path: str | Path, head: Head) -> Part:
    """By the file's name, its sidecar, and whether its numbers are complex."""
    content = sidecar.read(path)
    name, kind = sidecar.stem(Path(path).name), ""
    tokens = []
    if match := BIDS.search(name):
        kind, name = BIDS_PARTS[match[1].lower()], BIDS.sub("", name)
    pieces = [piece for piece in re.split(r"[_\s]+", name) if piece]
    for number, piece in enumerate(pieces):
        low, is_last = piece.lower(), number == len(pieces) - 1
        meaning = NOT_PARTS.get(low) or ANYWHERE.get(low) or (ENDINGS.get(low) if is_last else None)
        if numbered := NUMBERED.fullmatch(piece):
            meaning = ANYWHERE[numbered[1].lower()]
            tokens.append(f"#{numbered[2]}")
        elif meaning is None:
            tokens.append(piece)
        kind = kind or meaning or ""
    named = kind == MAGNITUDE
    told = sidecar.component(content)
    if not kind:
        kind = next((WORDS[w] for w in words.plain(name).split() if w in WORDS), MAGNITUDE)
    if kind == MAGNITUDE and told != "magnitude":
        kind = told
    if head.is_complex:
        kind = COMPLEX
    elif kind == PHASE and sidecar.is_difference(content):
        kind = DIFFERENCE
    family = [token for token in tokens if not ECHO.fullmatch(token)]
    return Part(
        kind=kind,
        base="_".join(tokens),
        family="_".join(family),
        named=named,
        echo_s=sidecar.number(content, "EchoTime"),
        clock=sidecar.clock(content),
        synthetic=head.synthetic or sidecar.is_synthetic(content),
    )
