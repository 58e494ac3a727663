"""What was made and what was set aside and why: a table and a page."""

from __future__ import annotations

import csv
import html
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from synthlib import __version__, archive, audit, runs
from synthlib.conversion.one import ASIDE, Outcome
from synthlib.conversion.private import PARTS
from synthlib.conversion.settings import FOLDERS, FORMATS, IMAGES, MEASURED, WRITTEN, Settings
from synthlib.figures import thumbnails

Picture = Callable[[str], str]  # name of a series to a base64 PNG, "" if there is none
FACTS = (
    "matrix", "slices", "phase", "coils", "pixel (mm)", "donor", "SNR in", "SNR out", "noise from",
    "noise error",
)  # fmt: skip
COLUMNS = ("status", "series", "patient", "contrast", "input", "reason", *FACTS, "audit", "notes")
WHICH = (
    "Which number is which file is told by a list in the state folder of whoever made this page, "
    "beside the secret of the pseudonyms (~/.local/state/synthlib); it is no part of the results."
)
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px;
  padding: 0 1rem; color: #222; background: #fff; }
h2 { border-bottom: 1px solid #ccc; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #ddd; padding: .35rem .6rem; text-align: left;
  vertical-align: top; }
td.w { min-width: 15rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.scale { display: inline-block; width: 8rem; height: .8rem; vertical-align: middle; }
th { background: #f3f3f3; }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
img { display: block; image-rendering: pixelated; background: #000; height: 112px; }
ul { margin: 0; padding-left: 1.1rem; }
.found { color: #8a3b00; }
summary { cursor: pointer; }
.small { color: #666; font-size: 13px; }
"""


def write(
    out: Path,
    outcomes: Sequence[Outcome],
    set_aside: Sequence[archive.SetAside],
    picture: Picture,
    settings: Settings,
) -> tuple[Path, Path]:
    """Write report.html and report.csv; one picture at a time is in memory.

    Returns:
        The paths of the page and of the table.
    """
    page, table = out / "report.html", out / "report.csv"
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows(_row(outcome) for outcome in outcomes)
    for other in set_aside:
        head = [ASIDE, "", "", "", _files(other), other.reason]
        rows.writerow(head + [""] * (len(COLUMNS) - len(head)))
    runs.write_text(table, text.getvalue())
    with runs.atomic_path(page) as scratch, scratch.open("w", encoding="utf-8") as file:
        others = _others(out, settings.format)
        file.writelines(_page(outcomes, set_aside, picture, settings, others))
    return page, table


def _others(out: Path, format: str) -> dict[str, int]:
    """How many results of other formats earlier runs left in the same folder."""
    found: Counter[str] = Counter()
    for part in (out / PARTS).glob("*.json"):
        fits = [name for name, ending in FORMATS.items() if part.stem.endswith(ending)]
        if fits:
            longest = max(fits, key=lambda name: len(FORMATS[name]))  # .mrd.h5, not .h5
            found[longest] += (out / FOLDERS[longest] / part.stem).is_file()
    return {name: n for name, n in sorted(found.items()) if n and name != format}


def _row(outcome: Outcome) -> list[object]:
    return [
        outcome.status,
        outcome.name,
        outcome.patient_id,
        outcome.contrast,
        outcome.where,
        outcome.reason,
        *(outcome.facts.get(name, "") for name in FACTS),
        "; ".join(outcome.findings),
        "; ".join(outcome.notes),
    ]


def _files(other: archive.SetAside) -> str:
    return other.where if other.n_files <= 1 else f"{other.where} ({other.n_files} files)"


def _page(
    outcomes: Sequence[Outcome],
    set_aside: Sequence[archive.SetAside],
    picture: Picture,
    settings: Settings,
    others: Mapping[str, int],
) -> Iterable[str]:
    good = [outcome for outcome in outcomes if outcome.status != ASIDE]
    bad = [outcome for outcome in outcomes if outcome.status == ASIDE]
    patients = len({outcome.patient_id for outcome in good})
    images = settings.format in IMAGES
    what = "Images with phase" if images else "Raw data"
    n_others = sum(other.n_files for other in set_aside)
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>synthlib: raw data from '
        f"magnitude images</title><style>{STYLE}</style></head><body>"
        f"<h1>{what} from magnitude images</h1>"
        f"<p><b>SYNTHETIC.</b> {what} of {len(good)} series, patients: {patients}. "
        f"Set aside: {len(bad)} series, {n_others} other files. "
        f"{_phases(good, images)}</p>"
    )
    if others:
        there = ", ".join(f"{name} ({n})" for name, n in others.items())
        yield (
            f"<p>This page shows the last run, of format {settings.format}. Files of other formats "
            f"from earlier runs lie in the same folder: {there}.</p>"
        )
    shown = {name: value for name, value in settings.record().items() if value not in (False, ())}
    facts = ", ".join(
        name if value is True else f"{name}: {value}" for name, value in shown.items()
    ).replace("n_coils", "coils")
    yield f'<p class="small">{_text(facts)}. synthlib {__version__}.</p>'
    if good:
        heading = "magnitude, phase" if images else "magnitude, phase, received"
        yield (
            f'<h2>Made</h2><p class="small">phase: -&pi; <span class="scale" '
            f'style="background: {thumbnails.phase_scale()}"></span> &pi;</p>'
            f'<div class="scroll"><table><tr><th>{heading}</th><th>series</th>'
            "<th>how</th><th>audit and notes</th></tr>"
        )
        for outcome in good:
            yield _made(outcome, picture(outcome.name), heading)
        yield "</table></div>"
    if bad or set_aside:
        yield "<h2>Set aside</h2><div class='scroll'><table><tr><th>what</th><th>why</th></tr>"
        for outcome in bad:
            yield (
                f"<tr><td>{_text(outcome.name)} ({_text(outcome.where)})</td>"
                f"<td>{_text(outcome.reason)}</td></tr>"
            )
        for other in set_aside:
            yield f"<tr><td>{_text(_files(other))}</td><td>{_text(other.reason)}</td></tr>"
        yield "</table></div>"
        yield f'<p class="small">{WHICH}</p>'
    tally = Counter(finding.split(":")[0] for outcome in outcomes for finding in outcome.findings)
    if tally:
        yield (
            "<h2>What the audit found</h2><div class='scroll'><table><tr><th>check</th>"
            "<th>series</th><th>what to do</th></tr>"
        )
        for graded, n in tally.most_common():
            check = audit.CHECKS[graded.partition(" ")[0]]
            advice = "" if f"({audit.NOTE})" in graded else check.advice
            yield (
                f"<tr><td>{_text(check.title)}<br><span class='small'>{_text(graded)}</span></td>"
                f"<td>{n}</td><td class='w'>{_text(advice)}</td></tr>"
            )
        yield "</table></div>"
    yield "</body></html>\n"


def _phases(outcomes: Sequence[Outcome], images: bool) -> str:
    """What was measured in the results, and what synthlib wrote."""
    measured = sum(outcome.facts.get("phase") == MEASURED for outcome in outcomes)
    if images:
        which = f"Phase was measured in {measured} of {len(outcomes)} series; " if measured else ""
        return f"{which}{'all other' if measured else 'All'} phase was written by synthlib."
    if not measured:
        return "Phase, coils and noise were written by synthlib; the magnitude alone was measured."
    which = "all" if measured == len(outcomes) else f"{measured} of {len(outcomes)}"
    return (
        f"Phase was measured in {which} series; coils, noise and all other phase were written by "
        "synthlib."
    )


def _made(outcome: Outcome, picture: str, alt: str) -> str:
    shown = f'<img alt="{alt}" src="data:image/png;base64,{picture}">' if picture else ""
    facts = {name: str(outcome.facts[name]) for name in FACTS if name in outcome.facts}
    if (source := facts.get("phase", "")).startswith(WRITTEN):
        facts["phase"] = f"{WRITTEN} ({source.removeprefix(WRITTEN).strip(' :')})"
    how = "<br>".join(f"{name}: {_text(value)}" for name, value in facts.items())
    return (
        f'<tr><td>{shown}</td><td class="n">{_text(outcome.name)}<br>{_text(outcome.contrast)}<br>'
        f'<span class="small">{_text(outcome.where)}</span></td><td class="n">{how}</td>'
        f"<td class='w'>{_findings(outcome.findings)}{_list(outcome.notes, '')}</td></tr>\n"
    )


def _findings(lines: Sequence[str]) -> str:
    """How many there are of each grade; they unfold to one line each."""
    if not lines:
        return "nothing found"
    counts = Counter(line.partition("(")[2].partition(")")[0] for line in lines)
    summary = ", ".join(f"{n} {grade}" for grade, n in counts.items())
    names = ", ".join(audit.CHECKS[line.partition(" ")[0]].title.lower() for line in lines)
    return (
        f'<details class="found"><summary>{_text(summary)}: {_text(names)}</summary>'
        f"{_list(lines, '')}</details>"
    )


def _list(lines: Sequence[str], none: str) -> str:
    if not lines:
        return none
    return "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>"


def _text(value: str) -> str:
    return html.escape(value)
