"""A series on its way to raw data: what is asked, what was read, how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from synthlib import archive, audit, bank, synthesis
from synthlib.conversion.settings import FOLDERS, FORMATS, Settings
from synthlib.records import ImageVolume

MADE, THERE, ASIDE = "made", "already there", "set aside"


@dataclass(frozen=True)
class Job:
    """One series and what becomes of it.

    Attributes:
        series: of the archive.
        settings: see Settings.
        out: folder of the raw data.
        key: of series, settings and code.
        annotations: boxes and remarks of this series, one mapping each.
        upright: they lie on images that were turned as in DICOM's views, as fastMRI+ does.
    """

    series: archive.Series
    settings: Settings
    out: Path
    key: str = ""
    annotations: tuple[Mapping[str, object], ...] = ()
    upright: bool = False

    @property
    def target(self) -> Path:
        """The file that tells that the raw data are complete."""
        folder = self.out / FOLDERS[self.settings.format]
        return folder / (self.series.name + FORMATS[self.settings.format])


@dataclass(frozen=True)
class Outcome:
    """How a series ended; plain values, for reports.

    Attributes:
        name, patient_id, contrast, where: of the series.
        status: MADE, THERE or ASIDE.
        reason: why it was set aside.
        facts: matrix, slices, donor, noise and the like, by heading.
        findings: of the audit, "check (grade): what was seen" each, worst first.
        notes: what was mended or left out on the way.
        picture: PNG, base64.
        seconds: that it took.
    """

    name: str
    patient_id: str
    contrast: str
    where: str
    status: str
    reason: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    findings: Sequence[str] = ()
    notes: Sequence[str] = ()
    picture: str = ""
    seconds: float = 0.0
    key: str = ""


@dataclass(frozen=True)
class Prepared:
    """A series that was read and looked at: all that comes before its slices are made.

    Attributes:
        outcome: what is known so far.
        volume: magnitudes, None where the series is set aside.
        report, head, level: of the volume; pixels: hash of its magnitudes as they were read.
        annotations: on the volume's pixels.
    """

    outcome: Outcome
    volume: ImageVolume | None = None
    report: audit.Audit | None = None
    head: bank.Outline | None = None
    level: synthesis.NoiseLevel | None = None
    pixels: str = ""
    annotations: tuple[Mapping[str, object], ...] = ()


class Stopped(KeyboardInterrupt):
    """The run was given up: no failure of the series."""


def digits(value: float) -> str:
    """Three digits, without an exponent where the number is of a usual size."""
    if not math.isfinite(value):
        return "unknown"
    return f"{float(f'{value:.3g}'):.10g}" if abs(value) < 1e6 else f"{value:.3g}"
