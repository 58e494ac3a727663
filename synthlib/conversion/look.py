"""The audit of an archive, before or without any synthesis."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthlib import archive, audit, runs
from synthlib.conversion import one, private


@dataclass(frozen=True)
class Looked:
    """How many series were looked at, could not be read, and have findings beyond notes.

    Attributes:
        broken: series that cannot be read; refused: files that are damaged or refused.
        index: list of the files by their numbers, in the user's own state folder; None where it
            cannot be written.
    """

    n_series: int
    broken: int
    found: int
    refused: int = 0
    index: Path | None = None


def look(
    inputs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    spacing_mm: tuple[float, float] | None = None,
    show_names: bool = False,
    say: Callable[[str], object] = print,
) -> Looked:
    """Audit every series of some inputs, one after the other.

    Args:
        inputs, spacing_mm, show_names: as :func:`synthlib.conversion.synthesize` takes them.
        out: folder for a picture (PNG, PDF, with its record) of every series with findings.
        say: gets every line of the result.

    Raises:
        FileNotFoundError: no input of that name.
    """
    archive.require_inputs(inputs)
    # pseudonyms of this look alone: nothing is kept that they could be compared with
    salt = secrets.token_bytes(32)
    found = archive.find(inputs, salt=salt, spacing_mm=spacing_mm, show_names=show_names)
    broken = flagged = serious = 0
    advice: Counter[str] = Counter()
    ordered = sorted(found.series, key=lambda series: archive.natural(series.where))
    for number, series in enumerate(ordered, start=1):
        say(f"{series.where}: {series.contrast}")
        try:
            volume = one.read_images(series)
            report = audit.examine(volume)
        except Exception as error:  # one bad series stops no other
            broken += 1
            say(f"  cannot be read: {one.reason(error, series.where)}")
            continue
        flagged += bool(report.found)
        serious += bool(report.serious)
        for note in volume.notes:
            say(f"  note: {note}")
        if report.remarks:
            say(f"  header: {', '.join(report.remarks)}")
        for finding in report.found:
            say(f"  {finding.line}")
            advice[finding.check] += finding.grade != audit.NOTE
        if not report.found:
            say("  nothing found")
        elif out is not None:
            from synthlib.figures import audits

            run = runs.start("audit", Path(out).absolute(), seed=0, findings=report.to_dict())
            run.save_figure(audits.audit_pictures(volume, report), f"series_{number:04d}")
    for other in found.set_aside:
        say(f"{other.where}: set aside, {other.reason}")
    index = private.write_index(_filed_by(inputs), found.places)
    if +advice:  # those that are more than notes
        say("what to do:")
    for check, n in (+advice).most_common():
        say(f"  {check} ({n} series): {audit.CHECKS[check].advice}")
    refused = sum(max(1, other.n_files) for other in found.set_aside if other.fault)
    others = sum(other.n_files for other in found.set_aside if not other.fault)
    say(
        f"{len(found.series)} series, {flagged} with findings, {broken} that cannot be read; "
        f"files damaged or refused: {refused}, of another kind: {others}"
    )
    return Looked(len(found.series), broken, serious, refused, index)


def _filed_by(inputs: Sequence[str | Path]) -> str:
    """One list of files for each set of inputs; an audit has no folder of results."""
    places = sorted(str(Path(i).expanduser().resolve()) for i in inputs)
    return str(Path("/audit") / runs.fingerprint(places))  # no folder, and the same from anywhere
