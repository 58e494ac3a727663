"""From a magnitude image to raw data: the donor's coils, and what was received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from synthlib import arrays
from synthlib.figures.style import PHASE, aspect_of, greys, grid, phase_bar, row_label, show

MOST_COILS = 4


@dataclass(frozen=True)
class Made:
    """One slice before and after.

    Attributes:
        title: of its row.
        magnitude: float (y, x), the archive's.
        phase: float (y, x), measured or written.
        received: float (y, x), root sum of squares of the raw data.
        kspace: complex (ky, kx) of one coil.
        noise: of the magnitude, along its signal.
    """

    title: str
    magnitude: Tensor
    phase: Tensor
    received: Tensor
    kspace: Tensor
    noise: float


def received(rows: Sequence[Made]) -> Figure:
    """Magnitude, phase, what was received, their difference in units of noise, k-space."""
    titles = [
        "magnitude of the archive",
        "phase",
        "received (RSS of the coils)",
        "difference / noise of the image",
        "|k-space|, one coil (log)",
    ]
    aspect = max(aspect_of(row.magnitude) for row in rows)
    figure, axes = grid(len(rows), 5, panel=2.3, aspect=aspect)
    for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
        titled = titles if number == 0 else [""] * 5
        how = greys(row.magnitude)
        show(line[0], row.magnitude, titled[0], **how)
        row_label(line[0], row.title)
        turned = show(line[1], row.phase, titled[1], **PHASE)
        show(line[2], row.received, titled[2], **how)
        difference = (row.received - row.magnitude) / (row.noise or float("nan"))
        scaled = show(line[3], difference, titled[3], cmap="RdBu_r", vmin=-4, vmax=4)
        logarithm = row.kspace.abs().clamp(min=1e-12).log10()
        top = float(logarithm.max())
        show(line[4], logarithm, titled[4], cmap="magma", vmin=top - 4, vmax=top)
    phase_bar(figure, turned, axes[:, 1], "rad")
    figure.colorbar(scaled, ax=axes[:, 3], shrink=0.8, aspect=25)
    return figure


def paired(magnitude: Tensor, maps: Tensor, donor: str, centre: Tensor, half: Tensor) -> Figure:
    """Some coils of a donor around the head of an image.

    Args:
        magnitude: float (y, x).
        maps: complex (coil, y, x) on the image's grid.
        donor: its name.
        centre, half: (2,) of the head's outline, (y, x) in pixels.
    """
    n_coils = min(MOST_COILS, len(maps))
    figure, axes = grid(2, 1 + n_coils, panel=2.1, aspect=aspect_of(magnitude))
    turn = np.linspace(0, 2 * np.pi, 200)
    (cy, cx), (hy, hx) = centre.tolist(), half.tolist()
    show(axes[0, 0], magnitude, "image and outline", **greys(magnitude))
    for panel in axes.flat:
        panel.plot(cx + hx * np.cos(turn), cy + hy * np.sin(turn), color="tab:orange", lw=0.8)
    show(axes[1, 0], arrays.rss(maps), "root sum of squares", cmap="gray", vmin=0, vmax=1.2)
    chosen = torch.linspace(0, len(maps) - 1, n_coils).round().long()
    for column, coil in enumerate(chosen.tolist(), start=1):
        size = show(axes[0, column], maps[coil].abs(), f"coil {coil + 1}", cmap="viridis",
                    vmin=0, vmax=1)  # fmt: skip
        turned = show(axes[1, column], maps[coil].angle(), "", **PHASE)
    row_label(axes[0, 1], "magnitude")
    row_label(axes[1, 1], "phase")
    figure.colorbar(size, ax=axes[0, :], shrink=0.8, aspect=20, label="|map|")
    phase_bar(figure, turned, axes[1, :], "rad")
    figure.suptitle(f"coils of {donor}", fontsize=10)
    return figure
