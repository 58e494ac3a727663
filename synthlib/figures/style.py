"""One look for all figures.

Magnitude grey from 0, phase in the cyclic twilight colours from -pi to pi,
errors on the circle in twilight_shifted (0 is white), colour bars with units.
Figures are made without pyplot, so that no state is shared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

PHASE: dict[str, Any] = {"cmap": "twilight", "vmin": -np.pi, "vmax": np.pi}
CIRCLE_ERROR: dict[str, Any] = {"cmap": "twilight_shifted", "vmin": -np.pi, "vmax": np.pi}
PI_TICKS = ([-np.pi, 0, np.pi], ["$-\\pi$", "0", "$\\pi$"])


def show(axes: Axes, image: Tensor, title: str = "", **how: Any) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=9)
    return axes.imshow(image.numpy(force=True), interpolation="nearest", **how)


def greys(image: Tensor) -> dict[str, Any]:
    """Grey from 0 to the 98th percentile, so that one bright pixel does not darken a head."""
    return {"cmap": "gray", "vmin": 0, "vmax": float(torch.quantile(image.flatten(), 0.98))}


def phase_bar(figure: Figure, image: Any, axes: Any, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, label=label)
    bar.set_ticks(PI_TICKS[0], labels=PI_TICKS[1])


def grid(rows: int, columns: int, *, panel: float, aspect: float) -> tuple[Figure, np.ndarray]:
    """Rows x columns of panels for images of aspect y / x, room for a colour bar on the right."""
    figure = Figure(
        figsize=(panel * columns + 1.0, panel * aspect * rows + 0.5), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def row_label(axes: Axes, text: str) -> None:
    axes.set_ylabel(text, fontsize=9)


def aspect_of(image: Tensor) -> float:
    return image.shape[-2] / image.shape[-1]
