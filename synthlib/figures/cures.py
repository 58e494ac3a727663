"""Generators side by side: what each writes, and how it scores."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from synthlib.figures.style import PHASE, row_label, show

FINE_RAD = 0.4  # end of the grey scale of fine parts
TITLE_CHARACTERS = 14  # of a line above a score
ROW_INCHES, PICTURE_INCHES, PANEL_INCHES = 0.85, 0.75, 1.25


def generator_matrix(
    entries: Sequence[Mapping[str, object]],
    labels: Mapping[str, str],
    pictures: Mapping[str, Mapping[str, Tensor]],
    measured: Mapping[str, tuple[float, float]],
) -> Figure:
    """A row a generator: its phase of one slice, the fine part of it, then a dot for each score.

    Args:
        entries: in the order of the rows, each with "generator" and, by the names of
            `labels`, a list of numbers, one for each seed; nan is not drawn.
        labels: score to the title of its panel, with its unit.
        pictures: generator to {"phase", "fine"}, radians (y, x), nan outside the head.
        measured: score to the (low, high) that is shaded: where measured phase lies.
    """
    n_rows, n_scores = len(entries), len(labels)
    widths = [PICTURE_INCHES] * 2 + [PANEL_INCHES] * n_scores
    figure = Figure(figsize=(2.6 + sum(widths), 0.9 + ROW_INCHES * n_rows))
    places = figure.add_gridspec(
        n_rows, 2 + n_scores, width_ratios=widths, hspace=0.06, wspace=0.16
    )
    for row, entry in enumerate(entries):
        name = str(entry["generator"])
        first = figure.add_subplot(places[row, 0])
        second = figure.add_subplot(places[row, 1])
        titles = ("phase", "fine part") if row == 0 else ("", "")
        show(first, pictures[name]["phase"], titles[0], **PHASE)
        fine = {"cmap": "gray", "vmin": -FINE_RAD, "vmax": FINE_RAD}
        show(second, pictures[name]["fine"], titles[1], **fine)
        row_label(first, name)
        first.yaxis.label.set(rotation=0, ha="right", va="center", wrap=True)
    for column, (score, label) in enumerate(labels.items()):
        panel = figure.add_subplot(places[:, 2 + column])
        _score_panel(panel, [entry[score] for entry in entries], label, measured.get(score))
    return figure


def _score_panel(
    panel: Axes, values: Sequence[object], label: str, measured: tuple[float, float] | None
) -> None:
    """One score of all generators, a dot for each seed, a line at the mean of several."""
    if measured is not None:
        panel.axvspan(*measured, color="tab:green", alpha=0.2, lw=1)  # lw: one number is a line
    for row, numbers in enumerate(values):
        drawn = [value for value in np.ravel(np.asarray(numbers, float)) if not np.isnan(value)]
        panel.plot(drawn, [row] * len(drawn), "o", ms=4, color="tab:blue")
        if len(drawn) > 1:
            panel.plot([np.mean(drawn)], [row], "|", ms=12, color="tab:blue")
    low, high = panel.get_xlim()
    if low < 0 < high:
        panel.axvline(0, color="grey", lw=0.8)
    panel.set_ylim(len(values) - 0.5, -0.5)
    panel.set_yticks(range(len(values)), labels=[])
    panel.grid(alpha=0.3)
    panel.tick_params(labelsize=7)
    panel.set_title(textwrap.fill(label, TITLE_CHARACTERS), fontsize=8)
