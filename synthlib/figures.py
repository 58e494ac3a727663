"""Arrays in, a matplotlib Figure out. Nothing here reads or writes a file.

One look for all: magnitude grey from 0, phase in the cyclic twilight colours
from -pi to pi, errors on the circle in twilight_shifted (0 is white), colour
bars with units. Figures are made without pyplot, so that no state is shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from synthlib import arrays, metrics
from synthlib.likeness import Portrait, measures
from synthlib.records import PhasePair

PHASE: dict[str, Any] = {"cmap": "twilight", "vmin": -np.pi, "vmax": np.pi}
CIRCLE_ERROR: dict[str, Any] = {"cmap": "twilight_shifted", "vmin": -np.pi, "vmax": np.pi}
PI_TICKS = ([-np.pi, 0, np.pi], ["$-\\pi$", "0", "$\\pi$"])


def _show(axes: Axes, image: Tensor, title: str = "", **how: Any) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=9)
    return axes.imshow(image.numpy(force=True), interpolation="nearest", **how)


def _grey(image: Tensor) -> dict[str, Any]:
    """Grey from 0 to the 98th percentile, so that one bright pixel does not darken a head."""
    return {"cmap": "gray", "vmin": 0, "vmax": float(torch.quantile(image.flatten(), 0.98))}


def _phase_bar(figure: Figure, image: Any, axes: Any, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, label=label)
    bar.set_ticks(PI_TICKS[0], labels=PI_TICKS[1])


def _grid(rows: int, columns: int, *, panel: float, aspect: float) -> tuple[Figure, np.ndarray]:
    """Rows x columns of panels for images of aspect y / x, room for a colour bar on the right."""
    figure = Figure(
        figsize=(panel * columns + 1.0, panel * aspect * rows + 0.5), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def _row_label(axes: Axes, text: str) -> None:
    axes.set_ylabel(text, fontsize=9)


def _aspect(image: Tensor) -> float:
    return image.shape[-2] / image.shape[-1]


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
    figure, axes = _grid(len(pairs), 4, panel=2.0, aspect=_aspect(pairs[0].magnitude))
    names = ["Magnitude", "Measured phase", synthetic_name, "Difference in the head"]
    for row, (pair, phase) in enumerate(zip(pairs, phases, strict=True)):
        weight = pair.magnitude * pair.head
        aligned = metrics.align_constant(phase, pair.phase, weight)
        error = metrics.phase_error(aligned, pair.phase)
        titles = names if row == 0 else [""] * 4
        _show(axes[row, 0], pair.magnitude, titles[0], **_grey(pair.magnitude))
        _show(axes[row, 1], pair.phase, titles[1], **PHASE)
        image = _show(axes[row, 2], phase, titles[2], **PHASE)
        masked = torch.where(pair.head, error, torch.nan)
        difference = _show(axes[row, 3], masked, titles[3], **CIRCLE_ERROR)
        _row_label(axes[row, 0], pair.contrast)
    _phase_bar(figure, image, axes, "phase (rad)")
    _phase_bar(figure, difference, axes, "difference (rad)")
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
    figure, axes = _grid(len(slices), 5, panel=1.9, aspect=_aspect(slices[0]["magnitude"]))
    titles = ["Magnitude", "True phase", "Generator's", "True, less surface", "Gen., less surface"]
    fine: dict[str, Any] = {"cmap": "gray", "vmin": -limit, "vmax": limit}
    for row, (one, name) in enumerate(zip(slices, names, strict=True)):
        shown = titles if row == 0 else [""] * 5
        _show(axes[row, 0], one["magnitude"], shown[0], **_grey(one["magnitude"]))
        for column, key in ((1, "true"), (2, "written")):
            image = _show(axes[row, column], one[key], shown[column], **PHASE)
        for column, key in ((3, "true_fine"), (4, "written_fine")):
            small = _show(axes[row, column], one[key], shown[column], **fine)
        _row_label(axes[row, 0], name)
    _phase_bar(figure, image, axes[:, :3], "phase (rad)")
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
    figure, axes = _grid(1, 3, panel=3.0, aspect=_aspect(pair.magnitude))
    weight = pair.magnitude * pair.head
    error = metrics.phase_error(metrics.align_constant(phase, pair.phase, weight), pair.phase)
    mean = metrics.mean_abs_phase_error(phase, pair.phase, weight)
    grey = _grey(pair.magnitude)
    grey["vmax"] /= brightness
    title = f"{pair.patient_id}, {pair.contrast}, slice {pair.slice_index}"
    shown = _show(axes[0, 0], pair.magnitude, title, **grey)
    figure.colorbar(shown, ax=axes[0, 0], shrink=0.8, aspect=25, label="magnitude (image units)")
    span = {"vmin": -limit, "vmax": limit}
    image = _show(axes[0, 1], phase, name, **(PHASE | span))
    figure.colorbar(image, ax=axes[0, 1], shrink=0.8, aspect=25, label="phase (rad)")
    masked = torch.where(pair.head, error, torch.nan)
    difference = _show(
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
    figure, axes = _grid(2, len(phases) + 1, panel=1.55, aspect=_aspect(pair.magnitude))
    _show(axes[0, 0], pair.magnitude, "Magnitude", **_grey(pair.magnitude))
    _show(axes[1, 0], pair.head.float(), "Head", cmap="gray", vmin=0, vmax=1)
    weight = pair.magnitude * pair.head
    for column, (name, phase) in enumerate(phases.items(), start=1):
        image = _show(axes[0, column], phase, name, **PHASE)
        error = metrics.phase_error(metrics.align_constant(phase, pair.phase, weight), pair.phase)
        if name == measured:
            axes[1, column].axis("off")
            continue
        masked = torch.where(pair.head, error, torch.nan)
        mean = metrics.mean_abs_phase_error(phase, pair.phase, weight)
        difference = _show(axes[1, column], masked, f"mean {mean:.2f} rad", **CIRCLE_ERROR)
    _phase_bar(figure, image, axes[0, :], "phase (rad)")
    _phase_bar(figure, difference, axes[1, :], "difference (rad)")
    return figure


def data_overview(pairs: Sequence[PhasePair], kspaces: Sequence[Tensor]) -> Figure:
    """A column a scan: magnitude, phase, log k-space of its first coil, with what it is.

    Args:
        pairs: one slice of each scan.
        kspaces: complex (ky, kx) of one coil of the same slices, as stored.
    """
    figure, axes = _grid(3, len(pairs), panel=1.9, aspect=_aspect(pairs[0].magnitude))
    for column, (pair, kspace) in enumerate(zip(pairs, kspaces, strict=True)):
        title = f"{pair.patient_id}\n{pair.contrast}, slice {pair.slice_index}"
        _show(axes[0, column], pair.magnitude, title, **_grey(pair.magnitude))
        image = _show(axes[1, column], pair.phase, **PHASE)
        decibel = 20 * torch.log10(kspace.abs() / kspace.abs().max() + 1e-6)
        power = _show(axes[2, column], decibel, cmap="magma", vmin=-90, vmax=0, aspect="auto")
    for row, name in enumerate(["Magnitude", "Phase", "k-space, coil 0"]):
        _row_label(axes[row, 0], name)
    _phase_bar(figure, image, axes[1, :], "phase (rad)")
    figure.colorbar(power, ax=axes[2, :], shrink=0.8, aspect=25, label="dB of maximum")
    return figure


def coil_maps(maps: Tensor, eigenvalues: Tensor, support: Tensor, crop: float) -> Figure:
    """Every coil's map, magnitude above phase, and the eigenvalue with the support's outline.

    Args:
        maps: complex (coil, y, x).
        eigenvalues: (y, x).
        support: bool (y, x).
        crop: the eigenvalue at the support's edge.
    """
    per_row = min(8, len(maps))
    bands = -(-len(maps) // per_row)
    figure = Figure(
        figsize=(1.25 * per_row + 3.4, 2.5 * _aspect(maps) * bands + 0.6), layout="constrained"
    )
    halves = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.25 * per_row + 0.9, 2.5])
    left, right = halves[0]
    axes = left.subplots(2 * bands, per_row, squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    for number, coil_map in enumerate(maps):
        row, column = 2 * (number // per_row), number % per_row
        size = _show(
            axes[row, column], coil_map.abs(), f"coil {number}", cmap="viridis", vmin=0, vmax=1
        )
        angle = _show(axes[row + 1, column], coil_map.angle(), **PHASE)
    left.colorbar(size, ax=axes[0::2].ravel().tolist(), shrink=0.8, aspect=25, label="|S|")
    bar = left.colorbar(angle, ax=axes[1::2].ravel().tolist(), shrink=0.8, aspect=25)
    bar.set_ticks(PI_TICKS[0], labels=PI_TICKS[1])
    bar.set_label("phase of S (rad)")
    panel = right.subplots()
    image = _show(panel, eigenvalues, "Largest eigenvalue", cmap="viridis", vmin=0, vmax=1)
    panel.contour(support.numpy(force=True), levels=[0.5], colors="white", linewidths=0.8)
    right.colorbar(image, ax=panel, orientation="horizontal", shrink=0.9, label="eigenvalue")
    panel.set_xlabel(f"white: support, eigenvalue > {crop:g}", fontsize=8)
    return figure


def combination(coil_images: Tensor, combined: Tensor, maps: Tensor, support: Tensor) -> Figure:
    """One slice combined with its maps: magnitude, phase, and what the maps do not explain."""
    rss = arrays.rss(coil_images)
    residual = arrays.rss(coil_images - combined[None] * maps)
    figure, axes = _grid(1, 4, panel=2.3, aspect=_aspect(rss))
    _show(axes[0, 0], rss, "Root sum of squares", **_grey(rss))
    _show(axes[0, 1], combined.abs(), "Combined with maps", **_grey(rss))
    image = _show(axes[0, 2], torch.where(support, combined.angle(), torch.nan), "Phase", **PHASE)
    share = residual / rss.clamp(min=1e-12)
    masked = torch.where(support, share, torch.nan)
    left_over = _show(axes[0, 3], masked, "Not explained", cmap="magma", vmin=0, vmax=0.5)
    _phase_bar(figure, image, axes[0, 2], "phase (rad)")
    figure.colorbar(left_over, ax=axes[0, 3], shrink=0.8, aspect=25, label="share of signal")
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
    figure, axes = _grid(len(truths), 2 + len(parts), panel=1.55, aspect=_aspect(first))
    for row, (contrast, truth) in enumerate(truths.items()):
        magnitude, labels = truth["magnitude"][index], truth["labels"][index]
        lit = (labels > 0) & (magnitude > 0.1 * magnitude[labels > 0].median())
        titles = ["Magnitude", "Phase"] if row == 0 else ["", ""]
        _show(axes[row, 0], magnitude, titles[0], **_grey(magnitude))
        phase = torch.where(lit, truth["phase"][index], torch.nan)
        image = _show(axes[row, 1], phase, titles[1], **PHASE)
        _row_label(axes[row, 0], contrast)
        for column, part in enumerate(parts, start=2):
            values = truth[f"phase_{part}"][index]
            values = values - values[lit].median()
            top = max(float(values[lit].abs().quantile(0.98)), 0.01)
            shown = torch.where(lit, values / top, torch.nan)
            title = part.replace("_", "\n").capitalize() if row == 0 else ""
            panel = axes[row, column]
            scaled = _show(panel, shown, title, cmap="RdBu_r", vmin=-1, vmax=1)
            panel.set_xlabel(f"± {top:.2f} rad", fontsize=8)
    _phase_bar(figure, image, axes[:, 1], "phase (rad)")
    bar = figure.colorbar(scaled, ax=axes[:, 2:], shrink=0.8, aspect=25, label="part of the phase")
    bar.set_ticks([-1, 0, 1], labels=["-", "0", "+"])
    return figure


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
    figure, axes = _grid(2 * len(examples), len(names) + 2, panel=1.7, aspect=_aspect(target))
    grey = _grey(target)
    top = 0.2 * grey["vmax"]
    for band, (acceleration, by_name) in enumerate(examples.items()):
        images = {"Target": target, "Zero-filled": next(iter(by_name.values()))["zero_filled"]}
        images |= {f"Trained on:\n{name}": found["image"] for name, found in by_name.items()}
        for column, (name, image) in enumerate(images.items()):
            _show(axes[2 * band, column], image, name if band == 0 else "", **grey)
            error = axes[2 * band + 1, column]
            if column == 0:
                error.axis("off")
                continue
            shown = _show(error, (image - target).abs(), cmap="inferno", vmin=0, vmax=top)
            nmse = float((image - target).square().sum() / target.square().sum())
            error.set_xlabel(f"NMSE {nmse:.3f}", fontsize=8)
        _row_label(axes[2 * band, 0], f"R = {acceleration}")
        _row_label(axes[2 * band + 1, 1], "|error|")
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
