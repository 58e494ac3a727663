"""Phase pictures: measured, written, and their difference on the circle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from synthlib import metrics
from synthlib.figures.style import (
    CIRCLE_ERROR,
    PHASE,
    aspect_of,
    greys,
    grid,
    phase_bar,
    row_label,
    show,
)
from synthlib.records import PhasePair


def phase_samples(
    pairs: Sequence[PhasePair],
    phases: Sequence[Tensor],
    *,
    title: str = "",
    synthetic_name: str = "Synthetic phase",
) -> Figure:
    """A row a slice: magnitude, measured phase, synthetic phase, their difference on the circle.

    The difference is shown inside the head and after the constant phase that
    fits best was taken off: a constant says nothing about the object.
    """
    figure, axes = grid(len(pairs), 4, panel=2.0, aspect=aspect_of(pairs[0].magnitude))
    names = ["Magnitude", "Measured phase", synthetic_name, "Difference in the head"]
    for row, (pair, phase) in enumerate(zip(pairs, phases, strict=True)):
        weight = pair.magnitude * pair.head
        aligned = metrics.align_constant(phase, pair.phase, weight)
        error = metrics.phase_error(aligned, pair.phase)
        titles = names if row == 0 else [""] * 4
        show(axes[row, 0], pair.magnitude, titles[0], **greys(pair.magnitude))
        show(axes[row, 1], pair.phase, titles[1], **PHASE)
        image = show(axes[row, 2], phase, titles[2], **PHASE)
        masked = torch.where(pair.head, error, torch.nan)
        difference = show(axes[row, 3], masked, titles[3], **CIRCLE_ERROR)
        row_label(axes[row, 0], pair.contrast)
    phase_bar(figure, image, axes, "phase (rad)")
    phase_bar(figure, difference, axes, "difference (rad)")
    figure.suptitle(title, fontsize=10)
    return figure


def tissue_phase(
    slices: Sequence[Mapping[str, Tensor]], names: Sequence[str], limit: float = 0.15
) -> Figure:
    """A row a slice: magnitude, true and written phase, then both without their best surfaces.

    Args:
        slices: each with "magnitude", "true", "written" (rad), and "true_fine",
            "written_fine" (rad, nan outside the brain), all (y, x).
        names: of the rows.
        limit: end of the grey scale of the fine parts, radians.
    """
    figure, axes = grid(len(slices), 5, panel=1.9, aspect=aspect_of(slices[0]["magnitude"]))
    titles = ["Magnitude", "True phase", "Generator's", "True, less surface", "Gen., less surface"]
    fine: dict[str, Any] = {"cmap": "gray", "vmin": -limit, "vmax": limit}
    for row, (one, name) in enumerate(zip(slices, names, strict=True)):
        shown = titles if row == 0 else [""] * 5
        show(axes[row, 0], one["magnitude"], shown[0], **greys(one["magnitude"]))
        for column, key in ((1, "true"), (2, "written")):
            image = show(axes[row, column], one[key], shown[column], **PHASE)
        for column, key in ((3, "true_fine"), (4, "written_fine")):
            small = show(axes[row, column], one[key], shown[column], **fine)
        row_label(axes[row, 0], name)
    phase_bar(figure, image, axes[:, :3], "phase (rad)")
    figure.colorbar(small, ax=axes[:, 3:], shrink=0.8, aspect=25, label="fine part (rad)")
    return figure


def phase_view(
    pair: PhasePair, phase: Tensor, name: str, *, limit: float = np.pi, brightness: float = 1.0
) -> Figure:
    """One slice: magnitude, a phase and its difference from the measured one, with colour bars.

    Args:
        pair: the slice.
        phase: radians (y, x).
        name: of the phase.
        limit: end of the phase colours, radians.
        brightness: above 1 shows dark tissue.
    """
    figure, axes = grid(1, 3, panel=3.0, aspect=aspect_of(pair.magnitude))
    weight = pair.magnitude * pair.head
    error = metrics.phase_error(metrics.align_constant(phase, pair.phase, weight), pair.phase)
    mean = metrics.mean_abs_phase_error(phase, pair.phase, weight)
    grey = greys(pair.magnitude)
    grey["vmax"] /= brightness
    title = f"{pair.patient_id}, {pair.contrast}, slice {pair.slice_index}"
    shown = show(axes[0, 0], pair.magnitude, title, **grey)
    figure.colorbar(shown, ax=axes[0, 0], shrink=0.8, aspect=25, label="magnitude (image units)")
    span = {"vmin": -limit, "vmax": limit}
    image = show(axes[0, 1], phase, name, **(PHASE | span))
    figure.colorbar(image, ax=axes[0, 1], shrink=0.8, aspect=25, label="phase (rad)")
    masked = torch.where(pair.head, error, torch.nan)
    difference = show(
        axes[0, 2], masked, f"difference, mean {mean:.2f} rad", **(CIRCLE_ERROR | span)
    )
    figure.colorbar(difference, ax=axes[0, 2], shrink=0.8, aspect=25, label="difference (rad)")
    return figure


def phase_gallery(pair: PhasePair, phases: Mapping[str, Tensor], measured: str = "") -> Figure:
    """One slice with every source's phase above its difference from the measured one.

    Args:
        pair: the slice; its magnitude stands in the first column.
        phases: label to phase (y, x), in the order shown.
        measured: the label of the measured phase, whose difference is not shown.
    """
    figure, axes = grid(2, len(phases) + 1, panel=1.55, aspect=aspect_of(pair.magnitude))
    show(axes[0, 0], pair.magnitude, "Magnitude", **greys(pair.magnitude))
    show(axes[1, 0], pair.head.float(), "Head", cmap="gray", vmin=0, vmax=1)
    weight = pair.magnitude * pair.head
    for column, (name, phase) in enumerate(phases.items(), start=1):
        image = show(axes[0, column], phase, name, **PHASE)
        error = metrics.phase_error(metrics.align_constant(phase, pair.phase, weight), pair.phase)
        if name == measured:
            axes[1, column].axis("off")
            continue
        masked = torch.where(pair.head, error, torch.nan)
        mean = metrics.mean_abs_phase_error(phase, pair.phase, weight)
        difference = show(axes[1, column], masked, f"mean {mean:.2f} rad", **CIRCLE_ERROR)
    phase_bar(figure, image, axes[0, :], "phase (rad)")
    phase_bar(figure, difference, axes[1, :], "difference (rad)")
    return figure


def phase_statistics(steps: metrics.PhaseSteps) -> Figure:
    """Histogram of the steps of phase between neighbours, in the head and in air."""
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    panel = figure.subplots()
    bins = np.linspace(0, np.pi, 60).tolist()
    for values, name in ((steps.head, "head"), (steps.air, "air (outside the support)")):
        panel.hist(values.numpy(force=True), bins=bins, density=True, alpha=0.6, label=name)
    panel.set_yscale("log")
    panel.set_xlabel("step of phase between neighbouring pixels (rad)")
    panel.set_ylabel("density (1/rad)")
    panel.legend()
    panel.grid(alpha=0.3)
    return figure
