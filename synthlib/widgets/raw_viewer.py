"""Raw data of every format before one's eyes: coil images, their phase, their spectrum."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch

from synthlib import arrays, formats
from synthlib.records import RawVolume
from synthlib.widgets.cases import Case
from synthlib.widgets.viewer import ComplexViewer

RSS, COIL = "Root sum of squares", "Coil image"
NOTHING = (16, 16)  # pixels, where a scan cannot be read


class RawViewer(ComplexViewer):
    """Scans of one or many files, one case each; a scan is read when it is first shown.

    Where a scan cannot be read, an empty picture stands with the reason below.

    Args:
        volumes: name to scan.
        n_slices: at most so many of a scan, evenly spread, the middle one among them.

    Raises:
        ValueError: no scans, or fewer than one slice of each.
    """

    def __init__(self, volumes: Mapping[str, RawVolume], *, n_slices: int = 8) -> None:
        if not volumes:
            raise ValueError("no scans were given; expected at least one to look at")
        if n_slices < 1:
            raise ValueError(f"n_slices is {n_slices}; expected at least 1")
        self._volumes, self._n_slices = dict(volumes), n_slices
        self._case = lru_cache(maxsize=1)(self._read)
        super().__init__(
            list(self._volumes),
            panels=[
                (RSS, "magnitude"), (COIL, "magnitude"), (COIL, "phase"), (COIL, "kspace"),
            ],
            compute=lambda case: self._case(case),
            reference=COIL,
            title="Raw data",
            case_label="scan",
        )  # fmt: skip

    def _read(self, name: str) -> tuple[Case, str]:
        try:
            return self._images(self._volumes[name])
        except (ValueError, OSError) as error:  # the other scans can be looked at all the same
            warnings.warn(str(error), BrokenFile, stacklevel=2)
            nothing = torch.zeros(1, 1, *NOTHING)
            return Case({RSS: nothing[:, 0], COIL: nothing.to(torch.complex64)}), str(error)

    def _images(self, volume: RawVolume) -> tuple[Case, str]:
        shown = spread(volume.n_slices, self._n_slices)
        images = torch.stack([volume.coil_images(index) for index in shown])
        notes = [*volume.notes]
        if len(shown) < volume.n_slices:
            which = ", ".join(map(str, shown))
            notes.insert(0, f"slices {which} of {volume.n_slices}")
        if volume.undersampled:
            notes.append("undersampled: lines that were not measured are zero")
        case = Case({RSS: arrays.rss(images), COIL: images}, volume.spacing_mm)
        return case, "; ".join(notes)


def spread(n: int, most: int) -> list[int]:
    """At most so many of the numbers below n, at equal steps, with n // 2."""
    step = -(-n // most)
    return list(range(n // 2 % step, n, step))[:most]


class BrokenFile(UserWarning):
    """A file that cannot be read; the others are shown."""


def raw_viewer(source: str | Path, *, n_slices: int = 8, n_files: int = 24) -> RawViewer:
    """Look at a file or a folder of raw data of any format; nothing is written.

    Args:
        source: a file, or a folder, searched with its subfolders; undersampled scans are
            shown, too. Of a file of several volumes each is a case.
        n_slices: at most so many of a scan.
        n_files: at most so many of a folder, the first by name.

    Raises:
        ValueError, OSError: no raw data, or none that can be read.

    Warns:
        BrokenFile: a file cannot be read.
        UserWarning: how many files are left out.
    """
    paths = formats.raw_files(source)
    if not paths:
        raise ValueError(f"no raw data in {source}; {formats.EXPECTED}. Check the path.")
    names = formats.names_below(source, paths)
    volumes: dict[str, RawVolume] = {}
    broken = []
    for name, path in list(names.items())[:n_files]:
        try:
            volumes |= _volumes(name, path)
        except (ValueError, OSError) as error:
            broken.append(str(error))
    if not volumes:
        raise ValueError("\n".join(broken))
    if len(names) > n_files:
        left_out = f"{len(names) - n_files} of {len(names)} files are left out; name a subfolder"
        warnings.warn(left_out, stacklevel=2)
    for text in broken:
        warnings.warn(text, BrokenFile, stacklevel=2)
    return RawViewer(volumes, n_slices=n_slices)


def _volumes(name: str, path: Path) -> dict[str, RawVolume]:
    n = formats.n_volumes(path)
    found = {}
    for number in range(n):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes stand beside the pictures
            volume = formats.read_raw(path, undersampled=True, number=number)
        found[name if n == 1 else f"{name} ({number + 1} of {n})"] = volume
    return found
