"""Pseudonyms, stamps, and how messages name files without their names."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from synthlib.formats import words
from synthlib.formats.nifti.sidecar import stem

DIGITS = 10
SERIES_DIGITS = 6
MOST_RANGES = 4
SUBJECT = re.compile(r"^sub-([A-Za-z0-9+]+)")
# Parts of a file's name that say what is shown, not who: without them the person's part is left.
NOT_A_PERSON = re.compile(
    r"^(t[12](w|wi|ce|c|gd|star|s|n)?|flair|pdw?|gre|swi|dwi|dti|adc|tof|mra|mprage|mp2rage|bravo|spgr|"
    r"mag|magnitude|phase|phasediff|ph|part|real|imag|imaginary|te[0-9p]*|echo[0-9]*|e[0-9]|run[0-9]*|acq[a-z0-9]*|anat|"
    r"head|brain|skull|mri?|image|images|img|scan|series|vol|volume|ax|axial|sag|sagittal|cor|"
    r"coronal|tra|3d|2d|post|pre|contrast|stir|tse|fse|se|ffe|nii|data|raw|orig|n4|bet|mask|seg|"
    r"inplane[a-z0-9]*|defaced|stripped|w|slice|slices|png|npy|dicom|dcm)$"
)


def pseudonym(salt: bytes, identity: str) -> str:
    """A name for a person that the salt alone can repeat: "p-" and ten hexadecimal digits."""
    digest = hmac.new(salt, identity.encode("utf-8", "replace"), hashlib.sha256)
    return f"p-{digest.hexdigest()[:DIGITS]}"


def series(salt: bytes, patient_id: str, contrast: str, identity: Sequence[str]) -> str:
    """A name that stays when other series come to the archive: a number would move on.

    Args:
        salt: secret of the run.
        patient_id, contrast: shown in the name.
        identity: what tells the series from all others, however many there are.
    """
    digest = hmac.new(salt, repr(identity).encode("utf-8", "replace"), hashlib.sha256)
    return f"{patient_id}_{contrast}_{digest.hexdigest()[:SERIES_DIGITS]}"


def stamp(salt: bytes, files: Sequence[str], *more: object) -> str:
    """Changes with the sizes, the times and the order of files, and with `more`."""
    digest = hmac.new(salt, repr(more).encode("utf-8", "replace"), hashlib.sha256)
    for path in files:
        try:
            state = Path(path).stat()
            digest.update(f"{state.st_size} {state.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(b"absent\n")
    return digest.hexdigest()[:32]


def person_of(path: str, *, folder_is_one: bool = False) -> str:
    """Who a file belongs to, by its path; not to be shown.

    BIDS says sub-...; two data sets with the same label are taken for one
    person, which keeps a split by patient safe. Else the file's name without what names
    a contrast; where nothing is left of it, the folder's name.

    Args:
        path: of the file.
        folder_is_one: its folder holds one person's pictures, whatever their names.
    """
    parts = Path(path).absolute().parts
    for part in reversed(parts):
        match = SUBJECT.match(part)
        if match:
            return f"sub {match[1]}"
    if not folder_is_one:
        pieces = [piece for piece in re.split(r"[^A-Za-z0-9]+", stem(parts[-1])) if piece]
        person = [piece for piece in pieces if not NOT_A_PERSON.match(piece.lower())]
        if person:
            return f"file {' '.join(person).casefold()}"
    return f"folder {parts[-2] if len(parts) > 1 else ''}"


def weight_of(path: str) -> str:
    """The weighting that a file's name tells, one of words.WEIGHTS; "" if it tells none."""
    name = stem(Path(path).name)
    label = words.weight(name.rpartition("_")[2]) or words.weight(name)  # BIDS: the suffix tells
    if label == "T1" and words.is_post(name):
        return "T1POST"
    return label


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each run of neighbours."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def where(input_number: int, runs: Sequence[tuple[int, int]], *, is_file: bool) -> str:
    """For example "input 1, files 3 to 12 and 15"; for an input that is a file, "input 1"."""
    if is_file or not runs:
        return f"input {input_number}"
    told = [str(a) if a == b else f"{a} to {b}" for a, b in runs[:MOST_RANGES]]
    more = sum(b - a + 1 for a, b in runs[MOST_RANGES:])
    if more:
        told.append(f"{more} more")
    single = len(runs) == 1 and runs[0][0] == runs[0][1]
    listing = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
    return f"input {input_number}, file{'' if single else 's'} {listing}"


def printable(path: str) -> str:
    """A path as text that any terminal and any file can take."""
    text = path.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else "?" for c in text)


def natural(name: str) -> list[tuple[int, int, str]]:
    """For sorting: IM2 before IM10."""
    parts = re.split(r"(\d+)", name)
    return [
        (1, int(part[:300]), "") if part.isdecimal() and part.isascii() else (0, 0, part)
        for part in parts
    ]
