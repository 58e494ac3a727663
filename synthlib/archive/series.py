"""What is found in an archive. Paths are kept to read from; nothing shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from synthlib.archive.names import natural
from synthlib.archive.walking import Place
from synthlib.formats.phase import PhaseImages

Kind = Literal["dicom", "nifti", "fastmri", "stack"]


@dataclass(frozen=True)
class Series:
    """One volume to read, of files that stay where they are.

    Attributes:
        name: pseudonym, contrast and digits, for example "p-3fa2c19005_AXT1_9c04e1";
            unique, and the same when other series come to the archive.
        patient_id: pseudonym of who was scanned.
        contrast: label of a fixed list, for example "AXT1POST"; "unknown".
        kind: of the files.
        where: how messages name it: by the numbers of input and files, or by
            its path if that was asked for.
        stamp: changes when the files, or what is asked of them, change; tells nothing else.
        notes: what was left out or taken apart when it was found.
        n_slices: expected number.
        files, label_files: paths, private: only for reading, never shown.
        parts: (index in `files`, frame or volume) of each image; empty: all.
        spacing_mm, slice_mm: given for files that do not tell them.
        phase: where the phase that was measured with it lies, None where there is none.
    """

    name: str
    patient_id: str
    contrast: str
    kind: Kind
    where: str
    stamp: str
    notes: tuple[str, ...] = ()
    n_slices: int = 0
    files: tuple[str, ...] = field(default=(), repr=False)
    label_files: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    parts: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    spacing_mm: tuple[float, float] | None = None
    slice_mm: float | None = None
    phase: PhaseImages | None = None


@dataclass(frozen=True)
class SetAside:
    """Files that are no series, where they lie as messages name it, and why.

    Attributes:
        n_files: 0 where an input is not there, or is an empty folder.
        fault: damaged or refused; else of another kind (maps, localizers, texts ...), which are
            the rule in archives.
    """

    where: str
    reason: str
    n_files: int
    fault: bool = True


@dataclass(frozen=True)
class Found:
    """Series by patient, contrast and time; what was set aside in the order of the inputs.

    Attributes:
        places: every file that was looked at, private: never shown.
    """

    series: tuple[Series, ...]
    set_aside: tuple[SetAside, ...]
    places: tuple[Place, ...] = field(default=(), repr=False)


def rows(found: Found) -> list[dict[str, str]]:
    """Rows for a table: every series and what was set aside, in the order of the inputs."""
    series = [
        {
            "input": one.where,
            "kind": f"{one.kind}, with phase" if one.phase else one.kind,
            "contrast": one.contrast,
            "slices": str(one.n_slices or "unread"),
            "set aside": "-",
        }
        for one in found.series
    ]
    others = [
        {"input": o.where, "kind": "-", "contrast": "-", "slices": "-", "set aside": o.reason}
        for o in found.set_aside
    ]
    return sorted(series + others, key=lambda row: natural(row["input"]))
