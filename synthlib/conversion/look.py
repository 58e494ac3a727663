"""The audit of an archive, before or without any synthesis."""

from __future__ import annotations

import dataclasses
import html
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthlib import __version__, archive, audit, runs
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
        out: folder for a picture (PNG, PDF, with its record) of every series with findings, and
            a page of all (index.html).
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
    page: list[str] = []
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

            name = f"series_{number:04d}"
            run = runs.start("audit", Path(out).absolute(), seed=0, findings=report.to_dict())
            # as messages name it, but paths stay out of what is written
            title = name if show_names else f"{name}: {series.where}"
            named = dataclasses.replace(volume, name=title)
            run.save_figure(audits.audit_pictures(named, report), name)
            say(f"  picture: figures/{name}.png")
            page.append(_section(title, f"figures/{name}.png", report))
    for other in found.set_aside:
        say(f"{other.where}: set aside, {other.reason}")
    index = private.write_index(_filed_by(inputs), found.places)
    if +advice:  # those that are more than notes
        say("what to do:")
    for check, n in (+advice).most_common():
        say(f"  {check} ({n} series): {audit.CHECKS[check].advice}")
    if out is not None and page:
        path = Path(out).absolute() / "index.html"
        runs.write_text(path, _page(page, len(found.series)))
        say(f"pictures, findings and what to do: {path}")
    refused = sum(max(1, other.n_files) for other in found.set_aside if other.fault)
    others = sum(other.n_files for other in found.set_aside if not other.fault)
    say(
        f"{len(found.series)} series, {flagged} with findings, {broken} that cannot be read; "
        f"files damaged or refused: {refused}, of another kind: {others}"
    )
    return Looked(len(found.series), broken, serious, refused, index)


STYLE = """body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px;
padding: 0 1rem; } img { max-width: 100%; }"""


def _section(title: str, picture: str, report: audit.Audit) -> str:
    """One series with findings: what was found, what to do, the picture."""
    lines = "".join(
        f"<li>{html.escape(finding.line)}<br>"
        f"<i>{html.escape('' if finding.grade == audit.NOTE else finding.advice)}</i></li>"
        for finding in report.found
    )
    title = html.escape(title)
    return f'<h2>{title}</h2><ul>{lines}</ul><img src="{picture}" alt="{title}">'


def _page(sections: Sequence[str], n_series: int) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>synthlib: audit</title>'
        f"<style>{STYLE}</style></head><body><h1>How were these images processed?</h1>"
        f"<p>{n_series} series, {len(sections)} with findings. synthlib {__version__}.</p>"
        f"{''.join(sections)}</body></html>\n"
    )


def _filed_by(inputs: Sequence[str | Path]) -> str:
    """One list of files for each set of inputs; an audit has no folder of results."""
    places = sorted(str(Path(i).expanduser().resolve()) for i in inputs)
    return str(Path("/audit") / runs.fingerprint(places))  # no folder, and the same from anywhere
