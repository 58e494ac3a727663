"""Scans as they are: an overview, likeness of simulated and measured heads, parts of the phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from synthlib.figures.style import PHASE, aspect_of, greys, grid, phase_bar, row_label, show
from synthlib.likeness import Portrait, measures
from synthlib.records import PhasePair


def data_overview(pairs: Sequence[PhasePair], kspaces: Sequence[Tensor]) -> Figure:
    """A column a scan: magnitude, phase, log k-space of its first coil, with what it is.

    Args:
        pairs: one slice of each scan.
        kspaces: complex (ky, kx) of one coil of the same slices, as stored.
    """
    figure, axes = grid(3, len(pairs), panel=1.9, aspect=aspect_of(pairs[0].magnitude))
    for column, (pair, kspace) in enumerate(zip(pairs, kspaces, strict=True)):
        title = f"{pair.patient_id}\n{pair.contrast}, slice {pair.slice_index}"
        show(axes[0, column], pair.magnitude, title, **greys(pair.magnitude))
        image = show(axes[1, column], pair.phase, **PHASE)
        decibel = 20 * torch.log10(kspace.abs() / kspace.abs().max() + 1e-6)
        power = show(axes[2, column], decibel, cmap="magma", vmin=-90, vmax=0, aspect="auto")
    for row, name in enumerate(["Magnitude", "Phase", "k-space, coil 0"]):
        row_label(axes[row, 0], name)
    phase_bar(figure, image, axes[1, :], "phase (rad)")
    figure.colorbar(power, ax=axes[2, :], shrink=0.8, aspect=25, label="dB of maximum")
    return figure


def likeness(measured: Sequence[Portrait], simulated: Sequence[Portrait]) -> Figure:
    """A column a head, measured beside its simulated twin; rows: brightness, spectrum, phase.

    Args:
        measured, simulated: in the same order.
    """
    curves = [
        ("brightness", measures.BRIGHTNESS_EDGES, (0, 4), "x median", "density of\nbrightness"),
        ("spectrum_db", measures.FREQUENCY_EDGES, (0, 0.5), "cycles/pixel", "power\n(dB)"),
        ("steps", measures.STEP_EDGES, (0, 0.6), "rad/pixel", "density of\nsteps of phase"),
    ]
    figure = Figure(figsize=(max(5.0, 1.1 * len(measured) + 0.7), 5.4), layout="constrained")
    panels = figure.subplots(len(curves), len(measured), squeeze=False, sharey="row")
    for row, (name, edges, span, x_label, y_label) in enumerate(curves):
        for panel, one, twin in zip(panels[row], measured, simulated, strict=True):
            _two_curves(panel, edges, getattr(one, name), getattr(twin, name))
            panel.set_xlim(*span)
            panel.set_xlabel(x_label, fontsize=8)
        panels[row, 0].set_ylabel(y_label, fontsize=8)
    panels[1, 0].set_ylim(-60, 5)  # dB; scans differ in where their noise begins
    for panel, one in zip(panels[0], measured, strict=True):
        kind = f"{one.n_coils} coil{'s' * (one.n_coils > 1)}" if one.n_coils else "magnitude"
        panel.set_title(f"{one.what}\n{kind}\n{one.matrix[0]} x {one.matrix[1]}", fontsize=8)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _two_curves(panel: Axes, edges: Tensor, measured: Any, simulated: Any) -> None:
    """A measured curve filled grey, a simulated one as a line; None in a curve is a gap."""
    panel.tick_params(labelsize=7)
    panel.grid(alpha=0.3)
    if measured is None or simulated is None:
        panel.text(0.5, 0.5, "magnitudes\nonly", ha="center", transform=panel.transAxes, fontsize=8)
        panel.axis("off")
        return
    middles = ((edges[1:] + edges[:-1]) / 2).numpy()
    first, second = np.array(measured, float), np.array(simulated, float)
    floor = -60 if np.nanmin(first) < 0 else 0  # dB go down, densities start at 0
    panel.fill_between(middles, floor, first, color="0.75", label="measured")
    panel.plot(middles, first, color="black", linewidth=0.8)
    panel.plot(middles, second, color="C3", linewidth=1.3, label="simulated twin")


def mechanisms(
    truths: Mapping[str, Mapping[str, Tensor]], parts: Sequence[str], index: int = 0
) -> Figure:
    """A row a contrast: magnitude, phase of the object, then what each mechanism adds to it.

    Parts are shown less their median in the head, each on its own scale, which
    is told below it.

    Args:
        truths: contrast to the truth of a simulated scan (scanner.Scan).
        parts: names after "phase_" in the truth.
        index: slice.
    """
    first = next(iter(truths.values()))["magnitude"]
    figure, axes = grid(len(truths), 2 + len(parts), panel=1.55, aspect=aspect_of(first))
    for row, (contrast, truth) in enumerate(truths.items()):
        magnitude, labels = truth["magnitude"][index], truth["labels"][index]
        lit = (labels > 0) & (magnitude > 0.1 * magnitude[labels > 0].median())
        titles = ["Magnitude", "Phase"] if row == 0 else ["", ""]
        show(axes[row, 0], magnitude, titles[0], **greys(magnitude))
        phase = torch.where(lit, truth["phase"][index], torch.nan)
        image = show(axes[row, 1], phase, titles[1], **PHASE)
        row_label(axes[row, 0], contrast)
        for column, part in enumerate(parts, start=2):
            values = truth[f"phase_{part}"][index]
            values = values - values[lit].median()
            top = max(float(values[lit].abs().quantile(0.98)), 0.01)
            shown = torch.where(lit, values / top, torch.nan)
            title = part.replace("_", "\n").capitalize() if row == 0 else ""
            panel = axes[row, column]
            scaled = show(panel, shown, title, cmap="RdBu_r", vmin=-1, vmax=1)
            panel.set_xlabel(f"± {top:.2f} rad", fontsize=8)
    phase_bar(figure, image, axes[:, 1], "phase (rad)")
    bar = figure.colorbar(scaled, ax=axes[:, 2:], shrink=0.8, aspect=25, label="part of the phase")
    bar.set_ticks([-1, 0, 1], labels=["-", "0", "+"])
    return figure


def blind_look(surest: Mapping[str, Sequence[tuple[Tensor, Tensor]]], part: str) -> Figure:
    """Patches that a network was surest of, and below each what moved its score most.

    Args:
        surest: what is true and was called, to pairs of a patch and its importance, (y, x)
            each, as study.blind_look gives them.
        part: "phase", shown red and blue around 0, or "magnitude", shown grey.
    """
    how: dict[str, Any] = (
        {"cmap": "RdBu_r", "vmin": -2, "vmax": 2}
        if part == "phase"
        else {"cmap": "gray", "vmin": -0.8, "vmax": 1.2}
    )
    n = max(len(shown) for shown in surest.values())
    figure, axes = grid(2 * len(surest), n, panel=1.1, aspect=1.0)
    for row, (name, shown) in enumerate(surest.items()):
        for panel in axes[2 * row : 2 * row + 2].flat:
            panel.axis("off")
        for column, (patch, importance) in enumerate(shown):
            for panel in axes[2 * row : 2 * row + 2, column]:
                panel.axis("on")
            show(axes[2 * row, column], patch, **how)
            show(axes[2 * row + 1, column], importance, cmap="magma", vmin=0, vmax=4)
        axes[2 * row, 0].set_title(name, fontsize=9, loc="left")
        row_label(axes[2 * row, 0], part)
        row_label(axes[2 * row + 1, 0], "looked at")
    return figure
