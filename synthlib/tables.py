"""Rows in, a table as CSV, Markdown and LaTeX out. Nothing here writes a file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from synthlib import metrics

DAGGER = " †"  # not trained enough
TEX_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%#_${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", "†": r"$\dagger$"}
)
DIGITS = {"PSNR": 2, "NMSE": 4, "SSIM": 4, metrics.HEAD_PSNR: 2}


def render(
    columns: Sequence[str], rows: Sequence[Sequence[str]], bold: Sequence[tuple[int, int]] = ()
) -> dict[str, str]:
    """The three kinds of table.

    Args:
        columns: headings.
        rows: cells as text; columns of numbers are right-aligned, the others left.
        bold: (row, column) of cells to be set bold in Markdown and LaTeX.

    Returns:
        {"csv": ..., "md": ..., "tex": ...}.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    marked = {(r, c): cell for r, row in enumerate(rows) for c, cell in enumerate(row)}
    plain = {at: cell.replace("|", "\\|") for at, cell in marked.items()}
    md = {at: f"**{cell}**" if at in set(bold) else cell for at, cell in plain.items()}
    tex = {
        at: f"\\textbf{{{_tex(cell)}}}" if at in set(bold) else _tex(cell)
        for at, cell in marked.items()
    }
    span = range(len(columns))
    numeric = [all(_is_number(row[c]) for row in rows) for c in span]
    rule = "".join("|---:" if right else "|---" for right in numeric)
    md_lines = ["| " + " | ".join(columns) + " |", f"{rule}|"]
    md_lines += ["| " + " | ".join(md[r, c] for c in span) + " |" for r in range(len(rows))]
    places = "".join("r" if right else "l" for right in numeric)
    tex_lines = [f"\\begin{{tabular}}{{{places}}}", "\\hline"]
    tex_lines += [" & ".join(map(_tex, columns)) + " \\\\", "\\hline"]
    tex_lines += [" & ".join(tex[r, c] for c in span) + " \\\\" for r in range(len(rows))]
    tex_lines += ["\\hline", "\\end{tabular}"]
    return {
        "csv": text.getvalue(),
        "md": "\n".join(md_lines) + "\n",
        "tex": "\n".join(tex_lines) + "\n",
    }


def _is_number(cell: str) -> bool:
    """Also for cells such as "22.5 ± 0.3", "+1.2", "99 %" and "-"."""
    return re.fullmatch(r"[-+]?[\d.,]*( ± [\d.]+)?( ?%)?( †)?", cell) is not None


def _tex(text: str) -> str:
    return text.translate(TEX_SIGNS)


def from_dicts(rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """A table of dicts with the same keys, as they are; without rows it says so."""
    if not rows:
        return render(["nothing to compare"], [])
    columns = list(rows[0])
    return render(columns, [[str(row[name]) for name in columns] for row in rows])


def benchmark(
    rows: Sequence[Mapping[str, Any]],
    labels: Mapping[str, str],
    metric: str,
    n_coils: int,
    synthetic: Sequence[str],
    excluded: Collection[tuple[int, int, str]] = (),
) -> dict[str, str]:
    """One of the paper's Tables S1 to S6: a metric for every source and R at one coil count.

    Cells hold the mean over the test patients; with several seeds, the mean over
    the seeds and ± half the span between them. The best of the synthetic
    sources of each R is bold; what was not trained enough has a dagger and does not compete.

    Args:
        rows: one per reconstruction and test scan, as recon.grid.rows_of gives them.
        labels: source to name, in the order of the rows.
        metric: a name of metrics.ALL_NAMES.
        n_coils: which coil count.
        synthetic: sources that compete for bold.
        excluded: (coils, R, source) of networks that were not trained enough.
    """
    accelerations = sorted({row["acceleration"] for row in rows})
    cells, values = [], {}
    for source, name in labels.items():
        line = [name]
        for acceleration in accelerations:
            means = metrics.seed_means(rows, n_coils, source, acceleration, metric)
            values[source, acceleration] = float(np.mean(means)) if means else float("nan")
            dagger = DAGGER if (n_coils, acceleration, source) in excluded else ""
            line.append(_cell(means, DIGITS[metric]) + dagger)
        cells.append(line)
    bold = []
    for column, acceleration in enumerate(accelerations, start=1):
        rivals = {
            s: values[s, acceleration]
            for s in labels
            if s in synthetic and (n_coils, acceleration, s) not in excluded
        }
        rivals = {s: value for s, value in rivals.items() if value == value}
        if rivals:
            choose = max if metrics.HIGHER_IS_BETTER[metric] else min
            best = choose(rivals, key=lambda source: rivals[source])
            bold.append((list(labels).index(best), column))
    unit = f" ({metrics.UNITS[metric]})" if metrics.UNITS[metric] else ""
    columns = [
        f"{metrics.LABELS[metric]}{unit}, {n_coils} coils",
        *(f"R = {r}" for r in accelerations),
    ]
    return render(columns, cells, bold)


def _cell(means: Sequence[float], digits: int) -> str:
    if not means:
        return "-"
    text = f"{np.mean(means):.{digits}f}"
    if len(means) > 1:
        text += f" ± {(max(means) - min(means)) / 2:.{digits}f}"
    return text
