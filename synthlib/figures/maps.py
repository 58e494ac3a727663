"""Coil maps, their gauge, and what they leave unexplained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from synthlib import arrays, coils
from synthlib.figures.style import (
    PHASE,
    PI_TICKS,
    aspect_of,
    greys,
    grid,
    phase_bar,
    row_label,
    show,
)


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
        figsize=(1.25 * per_row + 3.4, 2.5 * aspect_of(maps) * bands + 0.6),
        layout="constrained",
    )
    halves = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.25 * per_row + 0.9, 2.5])
    left, right = halves[0]
    axes = left.subplots(2 * bands, per_row, squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    for number, coil_map in enumerate(maps):
        row, column = 2 * (number // per_row), number % per_row
        size = show(
            axes[row, column], coil_map.abs(), f"coil {number}", cmap="viridis", vmin=0, vmax=1
        )
        angle = show(axes[row + 1, column], coil_map.angle(), **PHASE)
    left.colorbar(size, ax=axes[0::2].ravel().tolist(), shrink=0.8, aspect=25, label="|S|")
    bar = left.colorbar(angle, ax=axes[1::2].ravel().tolist(), shrink=0.8, aspect=25)
    bar.set_ticks(PI_TICKS[0], labels=PI_TICKS[1])
    bar.set_label("phase of S (rad)")
    panel = right.subplots()
    image = show(panel, eigenvalues, "Largest eigenvalue", cmap="viridis", vmin=0, vmax=1)
    panel.contour(support.numpy(force=True), levels=[0.5], colors="white", linewidths=0.8)
    right.colorbar(image, ax=panel, orientation="horizontal", shrink=0.9, label="eigenvalue")
    panel.set_xlabel(f"white: support, eigenvalue > {crop:.2f}", fontsize=8)
    return figure


def coil_view(
    found: coils.CoilMaps, coil: int, coil_images: Tensor, reference: Tensor | None = None
) -> Figure:
    """One coil of one slice: its map, the eigenvalue, and what all maps leave unexplained.

    Args:
        found: maps of the slice, one set.
        coil: which.
        coil_images: complex (coil, y, x).
        reference: somebody else's maps (coil, y, x) for a second row; their
            phase is brought to our gauge, pixel by pixel.
    """
    rows = 1 if reference is None else 2
    figure, axes = grid(rows, 4, panel=2.3, aspect=aspect_of(found.maps))
    crop = float(found.crop)
    outline = found.support.numpy(force=True)
    left = arrays.rss(coils.unexplained(coil_images, found)) / arrays.rss(coil_images).clamp(
        min=1e-20
    )
    masked = torch.where(found.support, left, torch.nan)
    size = show(
        axes[0, 0], found.maps[coil].abs(), f"|S|, coil {coil}", cmap="viridis", vmin=0, vmax=1
    )
    angle = show(axes[0, 1], found.maps[coil].angle(), "Phase of S", **PHASE)
    value = show(
        axes[0, 2], found.eigenvalues, "Largest eigenvalue", cmap="viridis", vmin=0, vmax=1
    )
    share = show(axes[0, 3], masked, "Not explained", cmap="magma", vmin=0, vmax=0.5)
    for panel in axes[0, :3]:
        panel.contour(outline, levels=[0.5], colors="white", linewidths=0.7)
    axes[0, 2].set_xlabel(f"white: support, eigenvalue > {crop:.2f}", fontsize=8)
    axes[0, 3].set_xlabel(f"{coils.residual(coil_images, found):.3f} in the support", fontsize=8)
    if reference is not None:
        turn = (reference.conj() * found.maps).sum(0)
        turned = reference * torch.polar(torch.ones_like(turn.abs()), turn.angle())
        show(axes[1, 0], turned[coil].abs(), "SigPy's |S|", cmap="viridis", vmin=0, vmax=1)
        show(axes[1, 1], turned[coil].angle(), "SigPy's phase, our gauge", **PHASE)
        close = coils.alignment(found.maps, reference)
        apart = torch.where(found.support, 1 - close, torch.nan)
        apart = show(axes[1, 2], apart, "1 - |<ours, SigPy's>|", cmap="magma", vmin=0, vmax=0.01)
        figure.colorbar(apart, ax=axes[1, 2], shrink=0.8, aspect=25)
        axes[1, 3].axis("off")
        agreed = float((close[found.support] > 0.999).float().mean())
        axes[1, 3].text(0.5, 0.5, f"{agreed:.1%} of the support\naligned above 0.999", ha="center",
                        va="center", fontsize=9, transform=axes[1, 3].transAxes)  # fmt: skip
    figure.colorbar(size, ax=axes[:, 0], shrink=0.8, aspect=25, location="left")
    phase_bar(figure, angle, axes[:, 1], "rad")
    figure.colorbar(value, ax=axes[0, 2], shrink=0.8, aspect=25)
    figure.colorbar(share, ax=axes[0, 3], shrink=0.8, aspect=25, label="share of signal")
    return figure


def gauges(
    coil_images: Tensor, by_gauge: Mapping[str, coils.CoilMaps], names: Mapping[str, str]
) -> Figure:
    """A column a gauge: the phase of one coil's map and of the combined image, poles ringed.

    Args:
        coil_images: complex (coil, y, x).
        by_gauge: maps of the slice in each gauge.
        names: what to call them.
    """
    figure, axes = grid(2, len(by_gauge), panel=2.3, aspect=aspect_of(coil_images))
    for column, (gauge, found) in enumerate(by_gauge.items()):
        inside = found.support
        combined = coils.combine(coil_images, found.maps)
        brightest = int(found.maps[:, inside].abs().square().mean(1).argmax())
        show(axes[0, column], found.maps[brightest].angle(), names[gauge], **PHASE)
        image = show(axes[1, column], torch.where(inside, combined.angle(), torch.nan), **PHASE)
        where = (
            (coils.poles(found.maps) & inside[:-1, :-1] & inside[1:, 1:])
            .nonzero()
            .numpy(force=True)
        )
        for panel in axes[:, column]:
            panel.contour(inside.numpy(force=True), levels=[0.5], colors="white", linewidths=0.7)
            panel.plot(
                where[:, 1] + 0.5, where[:, 0] + 0.5, "o", mfc="none", mec="red", ms=9, mew=1.5
            )
        count = f"{len(where)} pole{'s' * (len(where) != 1)} in the object"
        axes[1, column].set_xlabel(count, fontsize=8)
    row_label(axes[0, 0], "map of the\nbrightest coil")
    row_label(axes[1, 0], "combined image")
    phase_bar(figure, image, axes, "phase (rad)")
    return figure


def beyond_the_support(by_name: Mapping[str, Tensor], support: Tensor, coil: int) -> Figure:
    """A column a way to go on beyond the object: one coil's map, magnitude above phase.

    Args:
        by_name: name to maps, complex (coil, y, x), of unit root sum of squares or zero.
        support: bool (y, x), outlined.
        coil: which.
    """
    first = next(iter(by_name.values()))
    figure, axes = grid(2, len(by_name), panel=2.3, aspect=aspect_of(first))
    for column, (name, maps) in enumerate(by_name.items()):
        size = show(axes[0, column], maps[coil].abs(), name, cmap="viridis", vmin=0, vmax=1)
        shown = torch.where(maps[coil].abs() > 0, maps[coil].angle(), torch.nan)
        angle = show(axes[1, column], shown, **PHASE)
        for panel in axes[:, column]:
            panel.contour(support.numpy(force=True), levels=[0.5], colors="white", linewidths=0.7)
    figure.colorbar(size, ax=axes[0], shrink=0.8, aspect=25, label=f"|S|, coil {coil}")
    phase_bar(figure, angle, axes[1], "phase of S (rad)")
    return figure


def combination(coil_images: Tensor, combined: Tensor, maps: Tensor, support: Tensor) -> Figure:
    """One slice combined with its maps: magnitude, phase, and what the maps do not explain."""
    rss = arrays.rss(coil_images)
    residual = arrays.rss(coil_images - combined[None] * maps)
    figure, axes = grid(1, 4, panel=2.3, aspect=aspect_of(rss))
    show(axes[0, 0], rss, "Root sum of squares", **greys(rss))
    show(axes[0, 1], combined.abs(), "Combined with maps", **greys(rss))
    image = show(axes[0, 2], torch.where(support, combined.angle(), torch.nan), "Phase", **PHASE)
    share = residual / rss.clamp(min=1e-12)
    masked = torch.where(support, share, torch.nan)
    left_over = show(axes[0, 3], masked, "Not explained", cmap="magma", vmin=0, vmax=0.5)
    phase_bar(figure, image, axes[0, 2], "phase (rad)")
    figure.colorbar(left_over, ax=axes[0, 3], shrink=0.8, aspect=25, label="share of signal")
    return figure
