"""Complex images as colours: what a viewer paints in the browser, painted here.

Both look the same 16-bit pixels up in the same tables, so that a picture of record
shows what the viewer shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from synthlib import arrays
from synthlib.figures.pixels import LEVELS, PHASE_STEP, Pixels
from synthlib.figures.style import PI_TICKS

FADES = 16  # steps from the colour of a phase to grey
BRIGHTS = 63  # steps of brightness of a coloured magnitude
GREY = 128  # what phase fades to where it is noise
VIEWS = {
    "magnitude": "Magnitude",
    "phase": "Phase",
    "colour": "Phase, magnitude as brightness",
    "real": "Real part",
    "imaginary": "Imaginary part",
    "kspace": "k-space (log)",
    "difference": "Phase difference",
}
COLOURS = {"phase": "twilight", "colour": "twilight", "difference": "twilight_shifted"}


class Limits(NamedTuple):
    """Ends of the colours.

    Attributes:
        magnitude: shares of a stack's `top`; also of "colour".
        phase, difference: radians.
        signed: of real and imaginary part, share of `top` to either side.
        kspace: decibels below the largest sample.
        fade: phase turns grey below this many times a stack's `dark`; 0 never.
    """

    magnitude: tuple[float, float] = (0.0, 1.0)
    phase: tuple[float, float] = (-np.pi, np.pi)
    difference: tuple[float, float] = (-np.pi, np.pi)
    signed: float = 1.0
    kspace: tuple[float, float] = (-80.0, 0.0)
    fade: float = 1.0


def table(name: str) -> NDArray[np.uint8]:
    """The colours of matplotlib's map of that name: (n, 3)."""
    colours = matplotlib.colormaps[name]
    return colours(np.arange(colours.N), bytes=True)[:, :3]


def level(values: NDArray[Any], ends: tuple[float, float], n: int) -> NDArray[np.int64]:
    """Index into a table of n colours, as matplotlib counts: the upper end is the last colour."""
    share = (values - ends[0]) / max(ends[1] - ends[0], 1e-12)
    return np.clip(np.floor(share * n), 0, n - 1).astype(np.int64)


def phase_level(turn: NDArray[Any], ends: tuple[float, float], n: int) -> NDArray[np.int64]:
    """:func:`level` on the circle: phases outside the ends take the nearer end's colour.

    Args:
        turn: 16-bit phase.
    """
    middle = round((ends[0] + ends[1]) / 2 / PHASE_STEP)
    apart = (turn.astype(np.int64) - middle).astype(np.int16)  # overflow is the wrap
    half = (ends[1] - ends[0]) / 2
    return level(apart * PHASE_STEP, (-half, half), n)


def best_constant(first: tuple[Any, Any], second: tuple[Any, Any]) -> int:
    """Steps of phase to add to the first image to bring it closest to the second.

    Args:
        first, second: 16-bit magnitude and phase, as :meth:`Pixels.at` gives them.
    """
    weight = first[0].astype(np.float64) * second[0]
    apart = (second[1].astype(np.int64) - first[1]) * PHASE_STEP
    return round(float(np.angle((weight * np.exp(1j * apart)).sum())) / PHASE_STEP)


def kspace_decibels(image: Tensor) -> NDArray[np.float32]:
    """log magnitude of k-space of an image (y, x): 20 log10 of the share of its largest sample."""
    size = arrays.fft2c(image).abs()
    share = size / size.max().clamp(min=1e-30)
    return (20 * torch.log10(share.clamp(min=1e-8))).numpy()


def paint(
    view: str,
    pixels: Pixels,
    slice_index: int,
    coil: int,
    limits: Limits,
    *,
    reference: Pixels | None = None,
    align: bool = True,
) -> NDArray[np.uint8]:
    """One panel: uint8 (y, x, 3).

    Args:
        view: a name of VIEWS.
        pixels: the stack; slice_index, coil: which of its images.
        limits: ends of the colours.
        reference: for "difference"; align: take the best constant off.
    """
    size, turn = pixels.at(slice_index, coil)
    share = size * (pixels.scale / LEVELS / pixels.top)
    colours = table(COLOURS.get(view, pixels.colours if view == "magnitude" else "gray"))
    n = len(colours)
    if view == "magnitude":
        return colours[level(share, limits.magnitude, n)]
    if view in ("real", "imaginary"):
        part = np.cos if view == "real" else np.sin
        ends = (-limits.signed, limits.signed)
        return colours[level(share * part(turn * PHASE_STEP), ends, n)]
    if view == "kspace":
        return colours[level(kspace_decibels(pixels.image(slice_index, coil)), limits.kspace, n)]
    if view == "colour":
        bright = level(share, limits.magnitude, BRIGHTS + 1)[..., None]
        hue = colours[phase_level(turn, limits.phase, n)]
        return ((hue * bright + BRIGHTS // 2) // BRIGHTS).astype(np.uint8)
    shown = fades(pixels, size, limits.fade)
    ends = limits.phase
    if view == "difference":
        if reference is None:
            raise ValueError("a difference needs a reference stack")
        other = reference.at(slice_index, coil)
        shift = best_constant((size, turn), other) if align else 0
        turn = (turn.astype(np.int64) - other[1] + shift).astype(np.int16)  # overflow is the wrap
        shown = np.minimum(shown, fades(reference, other[0], limits.fade))
        ends = limits.difference
    shown = shown[..., None]
    hue = colours[phase_level(turn, ends, n)].astype(np.int64)
    return ((hue * shown + GREY * (FADES - shown) + FADES // 2) // FADES).astype(np.uint8)


def fades(pixels: Pixels, size: NDArray[np.uint16], fade: float) -> NDArray[np.int64]:
    """0 (grey) at the dark level to 16 (full colour) half as far above it again."""
    dark = fade * pixels.dark / pixels.scale * LEVELS
    if dark <= 0:
        return np.full(size.shape, FADES)
    ramp = (size / dark - 1) / 0.5
    return np.clip(np.floor(ramp * (FADES + 1)), 0, FADES).astype(np.int64)


@dataclass(frozen=True)
class Panel:
    """What one panel shows: a stack by its name, and a view."""

    name: str
    view: str
    pixels: Pixels
    reference: Pixels | None = None


def complex_panels(
    panels: Sequence[Panel],
    *,
    slice_index: int = 0,
    coil: int = 0,
    limits: Limits | None = None,
    align: bool = True,
    spacing_mm: tuple[float, float] = (float("nan"), float("nan")),
    title: str = "",
    columns: int = 6,
) -> Figure:
    """The panels of a viewer as a picture of record: same colours, same limits.

    Args:
        panels: what to show, in order.
        slice_index, coil, limits, align: as :func:`paint` takes them.
        spacing_mm: (y, x) pixel size; with it pixels have their true aspect and a
            scale bar is drawn.
        title: above all.
        columns: at most so many panels beside each other.
    """
    limits = limits or Limits()
    ny, nx = panels[0].pixels.shape[-2:]
    ratio = spacing_mm[0] / spacing_mm[1] if np.isfinite(spacing_mm).all() else 1.0
    rows = -(-len(panels) // columns)
    columns = -(-len(panels) // rows)  # rows of equal length, as far as that goes
    figure = Figure(
        figsize=(2.25 * columns + 0.2, (2.1 * ratio * ny / nx + 1.0) * rows + 0.5),
        layout="constrained",
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for place in axes.flat:
        place.axis("off")
    for place, panel in zip(axes.flat, panels, strict=False):
        rgb = paint(
            panel.view, panel.pixels, slice_index, coil, limits,
            reference=panel.reference, align=align,
        )  # fmt: skip
        place.imshow(rgb, interpolation="nearest", aspect=ratio)
        kind = "phase, brightness" if panel.view == "colour" else VIEWS[panel.view]
        place.set_title(f"{panel.name}\n{kind[0].lower()}{kind[1:]}", fontsize=8)
        _bar(figure, place, panel, limits)
        if panel.view != "kspace" and np.isfinite(spacing_mm).all():
            _scale_bar(place, nx, ny, spacing_mm[1])
    if title:
        figure.suptitle(title, fontsize=9)
    return figure


def bar_of(view: str, pixels: Pixels, limits: Limits) -> tuple[str, float, float, str]:
    """A panel's colour bar: colours, lower end, upper end, label with unit."""
    low, high = (end * pixels.top for end in limits.magnitude)
    end = limits.signed * pixels.top
    unit = f" ({pixels.unit})" if pixels.unit else ""
    return {
        "magnitude": (pixels.colours, low, high, f"magnitude{unit}"),
        "phase": ("twilight", *limits.phase, "phase (rad)"),
        "colour": ("twilight", *limits.phase, "phase (rad)"),
        "difference": ("twilight_shifted", *limits.difference, "difference (rad)"),
        "real": ("gray", -end, end, f"real part{unit}"),
        "imaginary": ("gray", -end, end, f"imaginary part{unit}"),
        "kspace": ("gray", *limits.kspace, "dB of the largest"),
    }[view]


def _bar(figure: Figure, place: Any, panel: Panel, limits: Limits) -> None:
    colours, low, high, label = bar_of(panel.view, panel.pixels, limits)
    mappable = ScalarMappable(Normalize(low, high), colours)
    bar = figure.colorbar(mappable, ax=place, orientation="horizontal", shrink=0.85, aspect=20)
    bar.set_label(label, fontsize=7)
    bar.ax.tick_params(labelsize=7)
    if "rad" in label and np.allclose((low, high), (-np.pi, np.pi)):
        bar.set_ticks(PI_TICKS[0], labels=PI_TICKS[1])
    else:
        bar.set_ticks([low, (low + high) / 2, high])
        bar.ax.set_xticklabels([f"{tick:.3g}" for tick in (low, (low + high) / 2, high)])


def nice_length(width_mm: float) -> float:
    """The largest of 1, 2, 5, 10, ... mm that is at most a third of a width."""
    limit = width_mm / 3
    power = 10.0 ** np.floor(np.log10(limit))
    return float(max(step * power for step in (1, 2, 5) if step * power <= limit * (1 + 1e-9)))


def _scale_bar(place: Any, nx: int, ny: int, mm: float) -> None:
    length = nice_length(nx * mm)
    left, line = 0.04 * nx, 0.95 * ny
    for width, colour in ((3.5, "black"), (1.8, "white")):
        place.plot([left, left + length / mm], [line, line], color=colour, lw=width)
    place.text(
        left, line - 0.02 * ny, f"{length:g} mm", color="white", fontsize=7, va="bottom",
        bbox={"facecolor": "black", "alpha": 0.5, "pad": 0.8, "lw": 0},
    )  # fmt: skip
