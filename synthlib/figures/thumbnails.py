"""Small pictures for reports, as bytes of a PNG."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.image import imsave
from torch import Tensor

EDGE = 112  # pixels


def thumbnail(magnitude: Tensor, phase: Tensor, received: Tensor | None = None) -> bytes:
    """Magnitude, phase and the root sum of squares of the result, side by side.

    Args:
        magnitude, phase, received: float (y, x), one grid; phase in radians; received
            None for results without coils.

    Returns:
        A PNG, at most some 100 kB.
    """
    top = float(np.quantile(magnitude.numpy(force=True), 0.99)) or 1.0
    greys, circle = matplotlib.colormaps["gray"], matplotlib.colormaps["twilight"]
    panels = [
        greys(_small(magnitude) / top),
        circle(_small(phase) / (2 * np.pi) + 0.5),
        *([] if received is None else [greys(_small(received) / top)]),
    ]
    picture = np.concatenate(panels, axis=1)[..., :3]
    file = io.BytesIO()
    colours = (255 * picture).round().astype(np.uint8)
    imsave(file, colours, format="png", pil_kwargs={"compress_level": 1})  # a third of the time
    return file.getvalue()


def phase_scale() -> str:
    """The colours of phase from -pi to pi, as a gradient of CSS."""
    circle = matplotlib.colormaps["twilight"]
    return f"linear-gradient(90deg, {', '.join(to_hex(circle(i / 16)) for i in range(17))})"


def _small(image: Tensor) -> np.ndarray:
    """Every so many pixels: wrapped phase must not be averaged."""
    step = max(1, -(-max(image.shape) // EDGE))
    return image[::step, ::step].numpy(force=True)
