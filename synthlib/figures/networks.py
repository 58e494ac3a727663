"""Trainings and reconstructions."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter
from torch import Tensor

from synthlib import metrics
from synthlib.figures.style import aspect_of, greys, grid, row_label, show

LINEAR_DB = 0.5  # differences beyond it are drawn on a logarithmic scale
WORST_GAIN_DB = -3.0  # gains below it are written at the edge instead of stretching the axis
N_COLOURS = 10  # of matplotlib's cycle; further lines differ in dashes or markers
MARKERS = "osv"
SPREAD = 0.24  # of all curves along R, so that intervals do not hide each other
TITLE_CHARACTERS = 18  # of a line above a small picture


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
    """The paper's Figures 3 and 4: one test slice by several methods, at several R.

    Args:
        examples: R to label to {"target", "image"} of (y, x).
    """
    names = list(next(iter(examples.values())))
    target = examples[next(iter(examples))][names[0]]["target"]
    figure, axes = grid(2 * len(examples), len(names) + 1, panel=1.6, aspect=aspect_of(target))
    grey = greys(target)
    top = 0.2 * grey["vmax"]
    for band, (acceleration, by_name) in enumerate(examples.items()):
        images = {"Target": target, **{name: by_name[name]["image"] for name in names}}
        for column, (name, image) in enumerate(images.items()):
            title = textwrap.fill(name, TITLE_CHARACTERS) if band == 0 else ""
            show(axes[2 * band, column], image, title, **grey)
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
    rows: Sequence[Mapping[str, Any]],
    labels: Mapping[str, str],
    *,
    emphasis: Sequence[str] = (),
    untrained: Sequence[str] = (),
    excluded: Collection[tuple[int, int, str]] = (),
) -> Figure:
    """The paper's Figure 5: a metric a panel over R, a row of panels for every coil count.

    Lines are means over the test patients and seeds; bars span the seeds' means.

    Args:
        rows: one per reconstruction and test scan, as recon.grid.rows_of gives them.
        labels: source to name, in the order of the legend.
        emphasis: sources drawn thick.
        untrained: methods without training, drawn in black.
        excluded: (coils, R, source) below the floor, drawn as open circles.
    """
    coil_counts = sorted({row["n_coils"] for row in rows})
    names = [name for name in metrics.ALL_NAMES if name in rows[0]]
    figure = Figure(
        figsize=(3.1 * len(names) + 1.6, 2.9 * len(coil_counts) + 0.6), layout="constrained"
    )
    panels = figure.subplots(len(coil_counts), len(names), squeeze=False)
    accelerations = sorted({row["acceleration"] for row in rows})
    trained = [source for source in labels if source not in untrained]
    styles = {source: _line_style(source, trained, emphasis, untrained) for source in labels}
    for band, n_coils in enumerate(coil_counts):
        for panel, metric in zip(panels[band], names, strict=True):
            for number, (source, name) in enumerate(labels.items()):
                style = styles[source]
                shift = SPREAD * (number / max(1, len(labels) - 1) - 0.5)
                _curve(panel, rows, (n_coils, source, metric), accelerations, shift, name, style)
                for n, acceleration, out in excluded:
                    if (n, out) == (n_coils, source):
                        means = metrics.seed_means(rows, n, source, acceleration, metric)
                        panel.plot(acceleration + shift, np.mean(means), "o", markersize=8,
                                   fillstyle="none", color=style["color"])  # fmt: skip
            unit = f" ({metrics.UNITS[metric]})" if metrics.UNITS[metric] else ""
            panel.set_title(f"{metrics.LABELS[metric]}, {n_coils} coils", fontsize=9)
            panel.set_ylabel(f"{metrics.LABELS[metric]}{unit}", fontsize=8)
            panel.set_xlabel("acceleration R", fontsize=8)
            panel.set_xticks(accelerations)
            if metric == "NMSE":  # a network that learned from random phase is off by factors
                panel.set_yscale("log")
            panel.tick_params(labelsize=8)
            panel.grid(alpha=0.3)
    handles, texts = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside right center", fontsize=8, title="trained on")
    return figure


def _line_style(
    source: str, trained: Sequence[str], emphasis: Sequence[str], untrained: Sequence[str]
) -> dict[str, Any]:
    """Colour and dashes of a line, no two alike among 20 trained sources and 8 others."""
    if source in untrained:
        number = list(untrained).index(source)
        return {
            "color": ("black", "0.5")[number // 4 % 2],
            "linestyle": ("-", "--", ":", "-.")[number % 4],
            "linewidth": 1.2,
        }
    thick = source in emphasis
    cycle, number = divmod(trained.index(source), N_COLOURS)
    return {
        "color": f"C{number}",
        "linestyle": (("-", "-.") if thick else ("--", ":"))[cycle % 2],
        "linewidth": 2.2 if thick else 1.1,
    }


def _curve(
    panel: Any,
    rows: Sequence[Mapping[str, Any]],
    which: tuple[int, str, str],
    accelerations: Sequence[int],
    shift: float,
    name: str,
    style: Mapping[str, Any],
) -> None:
    """One line of :func:`benchmark_curves`; R without results are passed over."""
    n_coils, source, metric = which
    by_r = {r: metrics.seed_means(rows, n_coils, source, r, metric) for r in accelerations}
    shown = [r for r in accelerations if by_r[r]]
    means, low, high = (np.array([of(by_r[r]) for r in shown]) for of in (np.mean, min, max))
    panel.errorbar(
        np.asarray(shown, float) + shift,
        means,
        yerr=[means - low, high - means],
        marker="o",
        markersize=3.5,
        capsize=2,
        label=name,
        **style,
    )


def differences(
    lines: Sequence[Mapping[str, Any]], labels: Mapping[str, str], against: str
) -> Figure:
    """PSNR of every source less that of one over R, with 95 % intervals; a panel a coil count.

    Args:
        lines: as study.report.difference_lines gives them; open circles: one training each.
        labels: source to name, in the order of the legend.
        against: name of what is taken off.
    """
    coil_counts = sorted({line["n_coils"] for line in lines})
    figure = Figure(figsize=(4.6 * len(coil_counts) + 2.2, 3.6), layout="constrained")
    panels = figure.subplots(1, len(coil_counts), squeeze=False)[0]
    shown = [source for source in labels if any(line["source"] == source for line in lines)]
    for panel, n_coils in zip(panels, coil_counts, strict=True):
        accelerations = sorted({x["acceleration"] for x in lines if x["n_coils"] == n_coils})
        for number, source in enumerate(shown):
            for line in lines:
                if (line["n_coils"], line["source"]) == (n_coils, source):
                    place = accelerations.index(line["acceleration"])
                    reach = [[line["mean"] - line["low"]], [line["high"] - line["mean"]]]
                    panel.errorbar(
                        place + 0.08 * (number - (len(shown) - 1) / 2), line["mean"], yerr=reach,
                        marker=MARKERS[number // N_COLOURS % len(MARKERS)], markersize=4,
                        capsize=2, color=f"C{number % N_COLOURS}",
                        markerfacecolor=None if line["seeds_seen"] else "white",
                        label=labels[source],
                    )  # fmt: skip
        panel.axhline(0, color="black", linewidth=1)
        panel.set_xticks(range(len(accelerations)), [f"R = {r}" for r in accelerations])
        panel.set_title(f"{n_coils} coils", fontsize=9)
        panel.set_yscale("symlog", linthresh=LINEAR_DB)  # random phase is off by many dB
        panel.yaxis.set_major_formatter(ScalarFormatter())
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3, axis="y")
    panels[0].set_ylabel(f"PSNR less that of {against} (dB)", fontsize=8)
    entries: dict[
        str, Any
    ] = {}  # a source may have been left out of the first panel, or of its first R
    for panel in panels:
        for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    names = [labels[source] for source in shown]
    figure.legend(
        [entries[name] for name in names], names, loc="outside right center", fontsize=8,
        title="trained on",
    )  # fmt: skip
    return figure


def convergence(histories: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> Figure:
    """PSNR of the validation scans over the share of the training, a line for every network.

    Args:
        histories: label to the histories of its networks ({"share", "PSNR"}).
    """
    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    panel = figure.subplots()
    for number, (name, networks) in enumerate(histories.items()):
        for index, history in enumerate(networks):
            panel.plot(
                [100 * point["share"] for point in history],
                [point["PSNR"] for point in history],
                (".-", ".--", ".:")[number // N_COLOURS % 3],
                color=f"C{number % N_COLOURS}",
                linewidth=1,
                label=name if index == 0 else None,
            )
    panel.set_xlabel("share of the training (%)", fontsize=8)
    panel.set_ylabel("PSNR of the validation scans (dB)", fontsize=8)
    panel.set_xticks([25, 50, 75, 100])
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=8, title="trained on")
    return figure


def worth(rows: Sequence[Mapping[str, Any]], levels: Mapping[str, float]) -> Figure:
    """PSNR over the number of measured training patients, with and without synthetic scans.

    Points are means over test patients, one for every seed; lines go through the means.

    Args:
        rows: with n_real, n_synthetic, seed, patient, volume and PSNR.
        levels: name to PSNR of what needs no training, drawn as horizontal lines.
    """
    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    panel = figure.subplots()
    for number, m in enumerate(sorted({row["n_synthetic"] for row in rows})):
        numbers = sorted({row["n_real"] for row in rows if row["n_synthetic"] == m})
        means = []
        for n in numbers:
            here = [row for row in rows if (row["n_real"], row["n_synthetic"]) == (n, m)]
            seeds = metrics.means_of_seeds(here, "PSNR")
            panel.plot([n] * len(seeds), seeds, ".", color=f"C{number}", alpha=0.6)
            means.append(np.mean(seeds))
        name = f"with {m} synthetic scans" if m else "measured scans only"
        panel.plot(numbers, means, "o-", color=f"C{number}", label=name)
    for number, (name, level) in enumerate(levels.items()):
        panel.axhline(level, color="black", linewidth=1, linestyle=["--", ":"][number % 2])
        panel.text(0, level, name, fontsize=7, va="bottom")
    panel.set_xlabel("measured training patients", fontsize=8)
    panel.set_ylabel("PSNR of the test scans (dB)", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)
    return figure


def gains(lines: Sequence[Mapping[str, Any]], labels: Mapping[str, str], title: str) -> Figure:
    """Gain over a classical method, scan by scan, with intervals: a row for every source.

    What lies below WORST_GAIN_DB stands at the edge, with its number.

    Args:
        lines: source, scan, mean, low, high in dB, as study.head_report.gain_table gives them.
        labels: source to name.
        title: what is compared.
    """
    scans = list(dict.fromkeys(line["scan"] for line in lines))
    figure = Figure(figsize=(7.0, 0.9 + 0.36 * len(labels)), layout="constrained")
    panel = figure.subplots()
    entries: dict[str, Any] = {}  # a scan's point may stand at the edge in some rows
    for row, source in enumerate(labels):
        for number, scan in enumerate(scans):
            here = [line for line in lines if (line["source"], line["scan"]) == (source, scan)]
            for line in here:
                place = -row + 0.22 * (len(scans) / 2 - number - 0.5)
                entries.setdefault(scan, _gain(panel, line, place, f"C{number % N_COLOURS}"))
    panel.axvline(0, color="black", linewidth=1)
    if any(line["mean"] < WORST_GAIN_DB for line in lines):
        panel.set_xlim(left=WORST_GAIN_DB - 0.1)
    panel.set_yticks([-row for row in range(len(labels))], list(labels.values()), fontsize=8)
    panel.set_xlabel("gain in PSNR (dB)", fontsize=8)
    panel.set_title(title, fontsize=9)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3, axis="x")
    shown = [scan for scan in scans if scan in entries]
    figure.legend(
        [entries[scan] for scan in shown], shown, loc="outside lower center", fontsize=8, ncols=3
    )
    return figure


def _gain(panel: Any, line: Mapping[str, Any], place: float, color: str) -> Any:
    """One point of :func:`gains`, drawn; its handle for the legend."""
    if line["mean"] < WORST_GAIN_DB:
        (edge,) = panel.plot(
            WORST_GAIN_DB, place, "<", color=color, markersize=4, label=line["scan"]
        )
        panel.annotate(
            f"{line['mean']:.1f} dB", (WORST_GAIN_DB, place), xytext=(5, -2.5),
            textcoords="offset points", fontsize=6,
        )  # fmt: skip
        return edge
    reach = [[line["mean"] - line["low"]], [line["high"] - line["mean"]]]
    return panel.errorbar(
        line["mean"], place, xerr=reach, marker="o", markersize=4, capsize=2, color=color,
        label=line["scan"],
    )  # fmt: skip
