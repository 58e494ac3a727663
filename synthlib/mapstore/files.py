"""What the map store holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor

from synthlib import coils
from synthlib.formats import prepared_hdf5


@dataclasses.dataclass(frozen=True)
class MapFile:
    """The maps of one volume, read slice by slice.

    Attributes:
        name: of the volume.
        path: of the map file.
    """

    name: str
    path: Path

    def maps(self, index: int) -> Tensor:
        """Complex64 (coil, y, x) on the volume's image_shape; (set, coil, y, x) if n_sets > 1.

        Unit root sum of squares in every pixel; beyond the support as the settings say.
        """
        return prepared_hdf5.read(self.path, "maps", index)

    def eigenvalues(self, index: int) -> Tensor:
        """float32 (y, x), about 1 in the object; (set, y, x) if n_sets > 1."""
        return prepared_hdf5.read(self.path, "eigenvalues", index)

    def support(self, index: int) -> Tensor:
        """Bool (y, x), where there is an object."""
        return prepared_hdf5.read(self.path, "support", index)

    def further(self, index: int) -> Tensor:
        """float32 (y, x), the largest eigenvalue that the sets leave over."""
        return prepared_hdf5.read(self.path, "further", index)

    @property
    def thresholds(self) -> Tensor:
        """float32 (slice,), the thresholds that were used."""
        return prepared_hdf5.read(self.path, "threshold")

    @property
    def crops(self) -> Tensor:
        """float32 (slice,), the crops that were used."""
        return prepared_hdf5.read(self.path, "crop")

    @property
    def attributes(self) -> dict[str, Any]:
        """What the file says of itself; "record" names parameters, raw file and packages.

        Raises:
            ValueError: the file was damaged after it was made.
        """
        found = prepared_hdf5.read_attributes(self.path)
        if "fingerprint" not in found:
            raise ValueError(
                f"{self.path.name}: not a map file, or damaged. Delete this file and run again; "
                "it will be made anew."
            )
        return found

    @property
    def qualities(self) -> list[coils.SliceQuality]:
        """How good the maps of each slice are.

        Raises:
            ValueError: the file is damaged, or was made when other things were judged.
        """
        rows = self.attributes["qualities"]
        try:
            return [coils.SliceQuality(**{**row, "flags": tuple(row["flags"])}) for row in rows]
        except TypeError as error:
            raise ValueError(
                f"{self.path.name}: made by another version of synthlib, which judged maps by "
                f"{', '.join(rows[0])}. Run again; it will be made anew."
            ) from error

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the maps, each flag once, with the slices that have it."""
        return list(self.attributes["warnings"])

    @property
    def calib_shape(self) -> tuple[int, int]:
        """(ky, kx) samples that calibrated the maps, the fewest of any slice."""
        ky, kx = self.attributes["calib_shape"]
        return int(ky), int(kx)

    @property
    def settings(self) -> coils.EspiritSettings:
        """The parameters that were asked for."""
        return coils.EspiritSettings(**self.attributes["record"]["parameters"]["espirit"])

    @property
    def key(self) -> str:
        """Changes with the raw file's size and time, the parameters and the code."""
        return str(self.attributes["key"])

    @property
    def fingerprint(self) -> str:
        """Changes with the raw file's content, the parameters and the code."""
        return str(self.attributes["fingerprint"])

    @property
    def source_sha256(self) -> str:
        """Hash of the raw file."""
        return str(self.attributes["source_sha256"])


@dataclasses.dataclass(frozen=True)
class Store:
    """What a build found and made.

    Attributes:
        files: of the volumes that have maps, in the volumes' order.
        broken: name of each other volume to the reason, which names it, too.
        made: names of the volumes that were estimated this time.
        left_out: which files were not asked for, by contrast and coil count; "" if none.
    """

    files: list[MapFile]
    broken: dict[str, str]
    made: frozenset[str] = frozenset()
    left_out: str = ""


def quality_rows(store: Store) -> list[dict[str, object]]:
    """Rows for a table: every slice of every volume, its settings, quality and flags."""
    return [
        {
            "volume": file.name,
            **dataclasses.asdict(quality),
            "threshold": threshold,
            "crop": crop,
            "flags": "; ".join(quality.flags),
        }
        for file in store.files
        for quality, threshold, crop in zip(
            file.qualities, file.thresholds.tolist(), file.crops.tolist(), strict=True
        )
    ]
