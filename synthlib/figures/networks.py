"""Trainings and reconstructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from synthlib import metrics
from synthlib.figures.style import aspect_of, greys, grid, row_label, show


def losses(rows_by_name: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Losses and the samples' phase error over the epochs, a line for every generator."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    panels = figure.subplots(1, 4)
    columns = ["d_loss", "g_gan_loss", "g_l1_loss", "sample_phase_error_rad"]
    titles = ["Discriminator loss", "Generator, adversarial", "Generator, L1", "Phase error (rad)"]
    for panel, column, title in zip(panels, columns, titles, strict=True):
        for name, rows in rows_by_name.items():
            panel.plot([r["epoch"] for r in rows], [r[column] for r in rows], ".-", label=name)
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("epoch", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    return figure


def reconstructions(examples: Mapping[int, Mapping[str, Mapping[str, Tensor]]]) -> Figure:
    """The paper's Figures 3 and 4: one test slice by several networks, at several R.

    Args:
        examples: R to label to {"target", "zero_filled", "image"} of (y, x).
    """
    first = next(iter(next(iter(examples.values())).values()))
    target = first["target"]
    names = list(next(iter(examples.values())))
    figure, axes = grid(2 * len(examples), len(names) + 2, panel=1.7, aspect=aspect_of(target))
    grey = greys(target)
    top = 0.2 * grey["vmax"]
    for band, (acceleration, by_name) in enumerate(examples.items()):
        images = {"Target": target, "Zero-filled": next(iter(by_name.values()))["zero_filled"]}
        images |= {f"Trained on:\n{name}": found["image"] for name, found in by_name.items()}
        for column, (name, image) in enumerate(images.items()):
            show(axes[2 * band, column], image, name if band == 0 else "", **grey)
            error = axes[2 * band + 1, column]
            if column == 0:
                error.axis("off")
                continue
            shown = show(error, (image - target).abs(), cmap="inferno", vmin=0, vmax=top)
            nmse = float((image - target).square().sum() / target.square().sum())
            error.set_xlabel(f"NMSE {nmse:.3f}", fontsize=8)
        row_label(axes[2 * band, 0], f"R = {acceleration}")
        row_label(axes[2 * band + 1, 1], "|error|")
    figure.colorbar(
        shown, ax=axes[1::2].ravel().tolist(), shrink=0.6, aspect=25, label="|error| (image units)"
    )
    return figure


def benchmark_curves(
    rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str], emphasis: Sequence[str]
) -> Figure:
    """The paper's Figure 5: PSNR, NMSE and SSIM over R, a row of panels for every coil count.

    Lines are means over the test volumes and seeds; bars span the seeds' means.

    Args:
        rows: one per network and test volume, as recon.benchmark.run gives them.
        labels: source to name, in the order of the legend.
        emphasis: sources drawn thick.
    """
    coil_counts = sorted({row["n_coils"] for row in rows})
    figure = Figure(figsize=(10.5, 2.9 * len(coil_counts) + 0.4), layout="constrained")
    panels = figure.subplots(len(coil_counts), 3, squeeze=False)
    accelerations = sorted({row["acceleration"] for row in rows})
    for band, n_coils in enumerate(coil_counts):
        for panel, metric in zip(panels[band], metrics.NAMES, strict=True):
            for number, (source, name) in enumerate(labels.items()):
                by_seed = [
                    metrics.seed_means(rows, n_coils, source, acceleration, metric) or [np.nan]
                    for acceleration in accelerations
                ]
                means, low, high = (
                    np.array([of(values) for values in by_seed]) for of in (np.mean, min, max)
                )
                thick = source in emphasis
                panel.errorbar(
                    np.asarray(accelerations) + 0.05 * (number - len(labels) / 2),
                    means,
                    yerr=[means - low, high - means],
                    marker="o",
                    markersize=4,
                    linewidth=2.2 if thick else 1.1,
                    linestyle="-" if thick else "--",
                    color=f"C{number % 10}" if number < 10 else "black",
                    capsize=2,
                    label=name,
                )
            unit = f" ({metrics.UNITS[metric]})" if metrics.UNITS[metric] else ""
            panel.set_title(f"{metric}, {n_coils} coils", fontsize=9)
            panel.set_ylabel(f"{metric}{unit}", fontsize=8)
            panel.set_xlabel("acceleration R", fontsize=8)
            panel.set_xticks(accelerations)
            if metric == "NMSE":  # a network that learned from random phase is off by factors
                panel.set_yscale("log")
            panel.tick_params(labelsize=8)
            panel.grid(alpha=0.3)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=8, title="trained on")
    return figure
