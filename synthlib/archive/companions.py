"""Label maps that lie beside NIfTI images, by their names."""

from __future__ import annotations

from pathlib import Path

from synthlib.archive.walking import Place
from synthlib.formats.nifti.sidecar import stem

ENDINGS = ("_dseg", "_seg", "_labels", "_label", "_mask")


class Companions:
    """Which files of a folder are images, and which are labels of them.

    A label map has the image's name and one of ENDINGS; or, as in BIDS and BraTS,
    the name without its last part, which tells the contrast (sub-01_dseg of sub-01_T1w).

    Attributes:
        images: all but label maps.
        lonely: label maps without an image.
    """

    def __init__(self, places: list[Place]) -> None:
        self.images: list[Place] = []
        self.lonely: list[Place] = []
        found: list[tuple[str, str, Place]] = []
        for place in places:
            base, ending = _apart(place.path)
            if ending:
                found.append((base, ending, place))
            else:
                self.images.append(place)
        stems = [stem(Path(place.path).name) for place in self.images]
        bases = {name for one in stems for name in (one, one.rpartition("_")[0]) if name}
        self._labels: dict[str, dict[str, str]] = {}
        for base, ending, place in found:
            if base in bases:
                self._labels.setdefault(base, {})[ending] = place.path
            else:
                self.lonely.append(place)

    def labels(self, image: Place) -> dict[str, str]:
        """Paths of an image's label maps by a word of ENDINGS, without its line."""
        name = stem(Path(image.path).name)
        shared = self._labels.get(name.rpartition("_")[0], {})
        return {**shared, **self._labels.get(name, {})}


def _apart(path: str) -> tuple[str, str]:
    name = stem(Path(path).name)
    ending = next((one for one in ENDINGS if name.lower().endswith(one)), "")
    return (name[: len(name) - len(ending)], ending[1:]) if ending else (name, "")
