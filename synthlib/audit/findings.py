"""What an audit says: checks, findings, and the whole of them, ready for a record."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from synthlib.core.noise_level import NoiseLevel

EVIDENCE = ("image", "header", "image and header", "")
# How a finding matters, worst first.
TOO_GOOD = "too good"  # scores of reconstructions come out better than a scanner allows
RISK = "risk"  # it may mislead training or testing, or name a person
NOTE = "note"  # told by the header alone, against what the images show
GRADES = (TOO_GOOD, RISK, NOTE)


@dataclass(frozen=True)
class Check:
    """One question that is asked of every volume.

    Attributes:
        name: key in CHECKS.
        title: for people.
        unit: of the main measure, "" for a ratio.
        threshold: of the main measure; above it the defect counts as found.
        measure: what is measured, in one sentence.
        advice: what to do when it is found.
        limits: what this check cannot see, in one sentence.
        grade: of GRADES, how it matters when it is found.
        repairable: repair() can do something about it.
    """

    name: str
    title: str
    unit: str
    threshold: float
    measure: str
    advice: str
    limits: str
    grade: str = RISK
    repairable: bool = False


@dataclass(frozen=True)
class Reading:
    """One measure of one check in one volume.

    Attributes:
        value: nan if the images do not allow it to be judged.
        threshold: above it the defect is there.
        unit: of both.
        said: one sentence for people that holds when the defect is found.
        slices: those in which it was seen; none means all alike.
        harmless: it is there, but nothing comes of it: a note.
        share: of the axis that is left, for what ends an axis of k-space.
        against_header: the header speaks of it, but says otherwise.
    """

    value: float
    threshold: float
    unit: str
    said: str
    slices: tuple[int, ...] = ()
    harmless: bool = False
    share: float = 1.0
    against_header: bool = False

    @property
    def found(self) -> bool:
        return self.value > self.threshold  # nan is not


@dataclass(frozen=True)
class Finding:
    """The answer to one check.

    Attributes:
        check: name of the check.
        found: the defect is there, by the image, by the header, or by both.
        measure: of the image, the one that is furthest above its threshold; nan
            if the image cannot be judged.
        threshold: of that measure, in the same unit.
        evidence: "image", "header", "image and header", or "" when nothing was found.
        detail: one sentence for people.
        advice: what to do, "" when nothing was found.
        slices: those in which it was seen, () when all are alike or nothing was found.
        unit: of measure and threshold, "" for a ratio.
        grade: of GRADES, "" when nothing was found.
        header: what the header says of it, for or against; "" if it is silent.
    """

    check: str
    found: bool
    measure: float
    threshold: float
    evidence: str
    detail: str
    advice: str = ""
    slices: tuple[int, ...] = ()
    unit: str = ""
    grade: str = ""
    header: str = ""

    @property
    def line(self) -> str:
        """One line for people: the check, how it matters, what was seen."""
        return f"{self.check} ({self.grade or 'nothing found'}): {self.detail}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: nan becomes None, tuples become lists."""
        entry = dataclasses.asdict(self)
        entry["measure"] = None if math.isnan(self.measure) else round(self.measure, 5)
        entry["slices"] = list(self.slices)
        return entry


@dataclass(frozen=True)
class Audit:
    """What was found in one volume.

    Attributes:
        findings: one for each check, in the order of CHECKS.
        grid: (ny, nx) of the images.
        true_matrix: (ny, nx) believed to be really encoded; the grid if nothing was found.
        slices: those that were looked at.
        remarks: what the header says beside the checks, averages for example.
        noise: level of the images, in their own units; None if nobody asked for it.
    """

    findings: tuple[Finding, ...]
    grid: tuple[int, int]
    true_matrix: tuple[int, int]
    slices: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()
    noise: NoiseLevel | None = None

    @property
    def found(self) -> list[Finding]:
        """The findings that say yes, worst first."""
        return sorted(
            (finding for finding in self.findings if finding.found),
            key=lambda finding: GRADES.index(finding.grade),
        )

    @property
    def serious(self) -> list[Finding]:
        """Those that are more than a note: what --strict refuses."""
        return [finding for finding in self.found if finding.grade != NOTE]

    @property
    def repairable(self) -> bool:
        """Cropping k-space to the true matrix would change the images."""
        return self.true_matrix != self.grid

    def __getitem__(self, check: str) -> Finding:
        """The finding of one check.

        Raises:
            KeyError: no such check.
        """
        for finding in self.findings:
            if finding.check == check:
                return finding
        known = ", ".join(finding.check for finding in self.findings)
        raise KeyError(f"no check is called {check!r}; expected one of {known}")

    def to_dict(self) -> dict[str, Any]:
        """For JSON and for the record that every output carries."""
        return {
            "grid": list(self.grid),
            "true_matrix": list(self.true_matrix),
            "slices": list(self.slices),
            "header": list(self.remarks),
            "found": [finding.check for finding in self.found],
            "findings": [finding.to_dict() for finding in self.findings],
        }
