"""The audit in pictures: what each check looked at, the defects that were found marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from synthlib.audit import CHECKS, NOTE, Audit, Finding, greys, grids, heads, view, witnesses
from synthlib.figures.style import aspect_of, show
from synthlib.figures.style import greys as grey_scale
from synthlib.records import ImageVolume

FOUND, NOTED, FINE = "C3", "C1", "0.35"
COLUMNS = 4


def audit_pictures(volume: ImageVolume, report: Audit, at: int | None = None) -> Figure:
    """One slice, and the picture that belongs to each check.

    Titles of findings are red, of notes (which the header alone tells) orange.

    Args:
        volume: the one that was examined; report: its audit.
        at: which of report.slices is shown, None takes the middle one. Spectra
            and correlations are those of all slices that were looked at.
    """
    seen = view.look(volume)
    at = len(seen.index) // 2 if at is None else at
    rows = math.ceil((1 + len(CHECKS)) / COLUMNS)
    figure = Figure(figsize=(3.0 * COLUMNS, 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    image = seen.magnitude[at]
    show(panels[0], image, f"{volume.name}\nslice {seen.index[at]}", **grey_scale(image))
    for panel, (name, draw) in zip(panels[1:], DRAWINGS.items(), strict=False):
        draw(panel, seen, at, report)
        _title(panel, report[name])
    for panel in panels[1 + len(DRAWINGS) :]:
        panel.axis("off")
    return figure


def audit_overview(volumes: Sequence[ImageVolume], reports: Sequence[Audit]) -> Figure:
    """A row of middle slices, below each what was found in its volume."""
    aspect = max(aspect_of(volume.magnitude) for volume in volumes)
    figure = Figure(figsize=(2.1 * len(volumes), 2.1 * aspect + 1.6), layout="constrained")
    panels = figure.subplots(1, len(volumes), squeeze=False)[0]
    for panel, volume, report in zip(panels, volumes, reports, strict=True):
        image = volume.magnitude[volume.n_slices // 2].float()
        show(panel, image, volume.name, **grey_scale(image))
        found = [CHECKS[finding.check].title for finding in report.found]
        text = "\n".join(found) or "nothing found"
        panel.set_xlabel(text, fontsize=8, color=FOUND if found else FINE)
    return figure


def _title(panel: Axes, finding: Finding) -> None:
    if math.isnan(finding.measure):
        said = "cannot be judged" if not finding.found else "by the header"
    else:
        short = finding.unit.partition(" ")[0]
        value, limit = f"{finding.measure:.3g} {finding.unit}", f"{finding.threshold:.3g} {short}"
        said = f"{value.strip()} (limit {limit.strip()})"
        if finding.found and "image" not in finding.evidence:
            said += ", by the header"
    mark, colour = "", FINE
    if finding.found:
        mark, colour = ("note: ", NOTED) if finding.grade == NOTE else ("FOUND: ", FOUND)
    title = f"{mark}{CHECKS[finding.check].title}\n{said}"
    panel.set_title(title, fontsize=8, color=colour)


def _empty(panel: Axes, why: str) -> None:
    """Words where there is nothing to draw."""
    panel.axis("off")
    panel.text(0.5, 0.5, why, ha="center", va="center", transform=panel.transAxes, fontsize=8)


def _curves(panel: Axes, x_label: str, y_label: str) -> None:
    panel.tick_params(labelsize=7)
    panel.grid(alpha=0.3)
    panel.set_xlabel(x_label, fontsize=7)
    panel.set_ylabel(y_label, fontsize=7)


def _decibel(power: Tensor) -> Tensor:
    return 10 * torch.log10(power.clamp(min=1e-12 * float(power.max()) + 1e-30))


def _zero_filled(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    decibel = _decibel(seen.spectrum)
    top = float(decibel.max())
    show(panel, decibel, cmap="magma", vmin=top - 80, vmax=top)
    ny, nx = report.grid
    true_y, true_x = report.true_matrix
    corner = (nx // 2 - true_x // 2 - 0.5, ny // 2 - true_y // 2 - 0.5)
    panel.add_patch(Rectangle(corner, true_x, true_y, fill=False, edgecolor="cyan", linewidth=1))
    panel.set_xlabel(f"k-space of the head; box: true matrix {true_y} x {true_x}", fontsize=7)


def _corner_filter(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    for axis, name in enumerate(("ky", "kx")):
        profile = witnesses.profile_db(seen.spectrum, axis)
        share = np.linspace(0, 1, len(profile))
        panel.plot(share, profile - profile.max(), color=f"C{axis}", linewidth=1, label=name)
        if report.true_matrix[axis] < report.grid[axis]:
            edge = report.true_matrix[axis] / report.grid[axis]
            panel.axvline(edge, color=f"C{axis}", linestyle=":")
    panel.legend(fontsize=7)
    _curves(panel, "share of the axis", "dB")


def _partial_fourier(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    noise = witnesses.air_noise(seen)
    if not noise.known:
        _empty(panel, "no noisy air: it was masked, or there is none")
        return
    for axis, name in enumerate("yx"):
        panel.bar(np.arange(2) + 1 + 0.3 * axis, noise.along[axis], 0.28, label=f"along {name}")
    panel.axhspan(-2 * noise.error, 2 * noise.error, color="0.85", label="chance")
    panel.legend(fontsize=7)
    panel.set_xticks([1.15, 2.15], ["1", "2"])
    _curves(panel, "lag (pixels)", "correlation of air")


def _lossy(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    steps = seen.magnitude.diff(dim=-1).abs().mean((0, 1))
    steps = steps[: len(steps) // greys.BLOCK * greys.BLOCK].reshape(-1, greys.BLOCK).mean(0)
    panel.bar(range(greys.BLOCK), (steps / steps.mean().clamp(min=1e-12)).tolist(), color="0.5")
    panel.set_ylim(0.5, 1.5)
    _curves(panel, "column modulo 8", "step to the next pixel / mean")


def _quantised(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    values = seen.magnitude[at][seen.magnitude[at] > 0].numpy()
    if not len(values):
        _empty(panel, "an empty slice")
        return
    top = float(values.max())
    panel.hist(values, bins=512, range=(0, top), color="0.3")
    panel.set_yscale("log")
    _curves(panel, "brightness / bright tissue", "pixels")


def _masked(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    image = seen.magnitude[at]
    outside = image[seen.outside[at] & (image > 0)]
    top = 3 * float(outside.median()) if len(outside) else 0.1
    show(panel, image, cmap="gray", vmin=0, vmax=max(top, 1e-3))
    constant = heads.constant_air(seen)[at]
    if constant.any():
        shown = torch.where(constant, 1.0, torch.nan)
        panel.imshow(shown.numpy(), cmap="autumn", alpha=0.4, interpolation="nearest")
    panel.set_xlabel("air window; constant air in red", fontsize=7)


def _skull_stripped(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    lines, there = heads.rays(seen)
    if not there.any():
        _empty(panel, "no outline of a head")
        return
    depth = np.linspace(0.5, 1.05, lines.shape[-1])
    for one in lines[there].median(1).values:
        panel.plot(depth, one.numpy(), color="0.6", linewidth=0.7)
    _curves(panel, "distance from the centre / outline", "median over directions")


def _intensity(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    noise = seen.noise.mean(0)
    show(panel, noise, cmap="viridis", vmin=0, vmax=3 * float(noise.median()) + 1e-6)
    panel.set_xlabel("local noise and texture, mean over slices", fontsize=7)


def _resampled(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    if min(seen.shape) < grids.SMALLEST:
        _empty(panel, f"fewer than {grids.SMALLEST} pixels")
        return
    decibel = _decibel(grids.level_spectrum(seen))
    middle = float(decibel.median())
    show(panel, decibel, cmap="magma", vmin=middle - 5, vmax=middle + 20)
    panel.set_xlabel("spectrum of the noise's level; points: interpolation", fontsize=7)


def _slices(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    other = at + 1 if at + 1 < len(seen.index) else at - 1
    difference = seen.magnitude[at] - seen.magnitude[max(other, 0)]
    show(panel, difference, cmap="RdBu_r", vmin=-0.3, vmax=0.3)
    panel.set_xlabel("less the neighbouring slice", fontsize=7)


def _burned_in(panel: Axes, seen: view.View, at: int, report: Audit) -> None:
    image = seen.magnitude[at]
    show(panel, image, **grey_scale(image))
    y, x = torch.nonzero(greys.strokes(seen)[at], as_tuple=True)
    panel.scatter(x.numpy(), y.numpy(), s=2, color=FOUND)


DRAWINGS: dict[str, Callable[[Axes, view.View, int, Audit], None]] = {
    "zero_filled": _zero_filled,
    "corner_filter": _corner_filter,
    "partial_fourier": _partial_fourier,
    "lossy": _lossy,
    "quantised": _quantised,
    "masked": _masked,
    "skull_stripped": _skull_stripped,
    "intensity_corrected": _intensity,
    "resampled": _resampled,
    "slices_interpolated": _slices,
    "burned_in": _burned_in,
}
