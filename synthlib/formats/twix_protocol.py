"""What a Siemens protocol says of a scan: values by their names, and the encoded space.

A protocol is text of two kinds, ASCCONV (name = value) and XProtocol
(<Param."name"> { value }). A few values are looked up; parsing the whole, as twixtools
does, can take for ever and all memory where a file is damaged.
"""

from __future__ import annotations

import math
import re

import numpy as np

from synthlib.formats import acquisitions
from synthlib.formats.acquisitions import Encoding

TRAJECTORIES = {2: "radial", 4: "spiral", 8: "BLADE"}  # ucTrajectory; 1 is Cartesian
DIMENSION_3D = 4  # ucDimension


class Protocol:
    """Values of a protocol's text by their names."""

    def __init__(self, text: str) -> None:
        self._text = text

    def number(self, name: str) -> float:
        """A number, nan where there is none."""
        try:
            value = float(self._find(name, r"-?(?:0x[0-9a-fA-F]+|[\d.]+(?:[eE][-+]?\d+)?)"))
        except ValueError:
            text = self._find(name, r"0x[0-9a-fA-F]+")
            return float(int(text, 16)) if text else math.nan
        return value if math.isfinite(value) else math.nan

    def text(self, name: str) -> str:
        """Printable text, "" where there is none."""
        value = self._find(name, r"\"+([^\"\n]{1,200})\"")
        return value.strip('" ') if value.isprintable() else ""

    def _find(self, name: str, value: str) -> str:
        """The first of name = value (ASCCONV) and <Param."name"> { value } (XProtocol)."""
        bare = re.escape(name)
        asc = rf"(?:^|\n){bare}[ \t]*=[ \t]*({value})"
        xml = (
            rf"<Param\w{{1,20}}\.\"{bare}\">\s{{0,20}}{{(?:\s{{0,20}}<\w{{1,20}}>[^\n<]{{1,40}}\n)?"
        )
        for pattern in (asc, rf"{xml}\s{{0,20}}({value})"):
            match = re.search(pattern, self._text)
            if match:
                return match.group(match.lastindex or 1)
        return ""

    def attributes(self) -> dict[str, object]:
        """What is known of field and timing, by RawHeader's names."""
        values = {
            "field_t": self.number("sProtConsistencyInfo.flNominalB0"),
            "te_ms": self.number("alTE[0]") / 1000,
            "tr_ms": self.number("alTR[0]") / 1000,
            "ti_ms": self.number("alTI[0]") / 1000,
            "flip_deg": self.number("adFlipAngleDegree[0]"),
        }
        return {name: value for name, value in values.items() if value == value}


def encoding(protocol: Protocol, table: np.ndarray, heads: np.ndarray) -> Encoding:
    """The encoded space of a measurement, the centre of k-space in its middle.

    Args:
        table: acquisitions.ACQUISITION of its lines; heads: their headers.

    Raises:
        ValueError: its trajectory is not Cartesian.
    """
    image: np.ndarray = np.flatnonzero(
        np.isin(table["kind"], (acquisitions.IMAGE, acquisitions.BOTH))
    )
    lines = table[image]
    trajectory = protocol.number("sKSpace.ucTrajectory")
    if trajectory in TRAJECTORIES:
        raise ValueError(
            f"its trajectory is {TRAJECTORIES[int(trajectory)]}, and only Cartesian is read"
        )
    n_samples = int(lines["n_samples"].max())
    base = _positive(protocol.number("sKSpace.lBaseResolution"), n_samples)
    oversampling = 1 if n_samples <= base else 2  # Siemens samples twice as densely, or has cut it
    rows = max(oversampling * base, n_samples)
    is_3d = protocol.number("sKSpace.ucDimension") == DIMENSION_3D and lines["partition"].any()
    sizes, recon = [rows], [rows // oversampling]
    centres: list[int] = []
    for counter, centre, count, more in (
        ("line", "CenterLin", "lPhaseEncodingLines", "dPhaseOversamplingForDialog"),
        ("partition", "CenterPar", "lPartitions", "dSliceOversamplingForDialog"),
    ):
        if counter == "partition" and not is_3d:
            sizes, centres, recon = [*sizes, 1], [*centres, 0], [*recon, 1]
            continue
        middle = int(np.median(heads[centre][image]))
        last = int(lines[counter].max())
        n = _positive(protocol.number(f"sKSpace.{count}"), last + 1)
        n = max(n, 2 * middle, 2 * (last - middle) + 1)  # the centre in the middle, all lines in
        extra = protocol.number(f"sKSpace.{more}")
        kept = round(n / (1 + extra)) if extra > 0 else n
        sizes, centres, recon = [*sizes, n], [*centres, middle], [*recon, max(kept, 1)]
    fields_mm = [
        protocol.number(f"sSliceArray.asSlice[0].{name}") for name in ("dReadoutFOV", "dPhaseFOV")
    ]
    thickness = protocol.number("sSliceArray.asSlice[0].dThickness")
    return Encoding(
        matrix=(sizes[0], sizes[1], sizes[2]),
        recon=(recon[0], recon[1], recon[2]),
        spacing_mm=(fields_mm[0] / recon[0], fields_mm[1] / recon[1]),
        thickness_mm=thickness / recon[2],
        centre=(centres[0], centres[1]),
    )


def _positive(value: float, otherwise: int) -> int:
    return int(value) if 1 <= value < 2**16 else otherwise
