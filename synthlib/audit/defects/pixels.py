"""Defects of grey values; each takes and gives magnitudes, real (..., y, x), >= 0."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import fft, ndimage
from torch import Tensor

BLOCK = 8  # pixels, of JPEG
# Luminance table of the JPEG standard (ITU-T T.81, Annex K), row by row.
LUMINANCE = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float64,
)
FONT = {  # 5 x 3 strokes of a digit, a row after the other
    "0": "111101101101111",
    "1": "010110010010111",
    "2": "111001111100111",
    "3": "111001111001111",
    "4": "101101111001001",
    "5": "111100111001111",
    "7": "111001010010010",
    "8": "111101111101111",
    "9": "111101111001111",
    "A": "010101111101101",
    "E": "111100111100111",
    "R": "110101110101101",
}


def jpeg(magnitude: Tensor, quality: int) -> Tensor:
    """Compress as baseline JPEG does: 8 bits, 8 x 8 cosine transform, quantised.

    The entropy coding that follows in a file loses nothing and is left out.
    Tables are scaled as libjpeg scales them.

    Args:
        magnitude: (..., y, x); each image's maximum becomes 255.
        quality: 1 to 100.

    Returns:
        (..., y, x), whole numbers 0 to 255, times maximum / 255.
    """
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = ((LUMINANCE * scale + 50) / 100).floor().clamp(1, 255).numpy()
    ny, nx = magnitude.shape[-2:]
    top = magnitude.amax((-2, -1), keepdim=True).clamp(min=1e-30)
    grey = (magnitude / top * 255).round().numpy() - 128.0
    edges = [(0, 0)] * (grey.ndim - 2) + [(0, -ny % BLOCK), (0, -nx % BLOCK)]
    grey = np.pad(grey, edges, mode="edge")
    rows, columns = grey.shape[-2] // BLOCK, grey.shape[-1] // BLOCK
    blocks = grey.reshape(*grey.shape[:-2], rows, BLOCK, columns, BLOCK).swapaxes(-3, -2)
    coefficients = fft.dctn(blocks, axes=(-2, -1), norm="ortho")
    # halves away from zero, as libjpeg rounds
    kept = np.sign(coefficients) * np.floor(np.abs(coefficients) / table + 0.5) * table
    back = fft.idctn(kept, axes=(-2, -1), norm="ortho").swapaxes(-3, -2).reshape(grey.shape)
    grey = np.clip(np.round(back + 128.0), 0, 255)[..., :ny, :nx]
    return torch.from_numpy(np.ascontiguousarray(grey)).to(magnitude.dtype) * top / 255


def quantise(magnitude: Tensor, levels: int) -> Tensor:
    """Round to `levels` grey values from 0 to the volume's maximum, as an export of few bits."""
    step = float(magnitude.max()) / (levels - 1)
    return (magnitude / step).round() * step if step > 0 else magnitude.clone()


def clip(magnitude: Tensor, share: float) -> Tensor:
    """Cut at the value that a share of the volume's pixels exceeds, as a narrow window does."""
    flat = magnitude.flatten().sort().values
    return magnitude.clamp(max=float(flat[round((1 - share) * (len(flat) - 1))]))


def mask_background(magnitude: Tensor, head: Tensor) -> Tensor:
    """Set everything outside the head to zero; head: bool (..., y, x)."""
    return magnitude * head


def skull_strip(magnitude: Tensor, brain: Tensor) -> Tensor:
    """Keep the brain alone; brain: bool (..., y, x)."""
    return magnitude * brain


def deface(magnitude: Tensor, head: Tensor, share: float = 0.25) -> Tensor:
    """Set everything in front of a slanted line to zero; the first rows are the front.

    Args:
        magnitude, head: (slice, y, x).
        share: of the head's length from front to back that is cut off.
    """
    ny, nx = magnitude.shape[-2:]
    rows = head.flatten(0, -3).any(0).any(-1).nonzero().flatten()
    first, last = int(rows[0]), int(rows[-1])
    cut = first + share * (last - first) + 0.1 * (torch.arange(nx) - nx // 2)
    return magnitude * (torch.arange(ny)[:, None] > cut)


def shade(magnitude: Tensor, contrast: float) -> Tensor:
    """Multiply by a smooth field that is `contrast` times higher in the centre than at the rim.

    What a correction of a surface array's sensitivities does to signal and noise.
    """
    ny, nx = magnitude.shape[-2:]
    y = (torch.arange(ny) - ny / 2) / (0.42 * ny)
    x = (torch.arange(nx) - nx / 2) / (0.42 * nx)
    square = y[:, None] ** 2 + x**2
    return magnitude * torch.exp(-math.log(contrast) * square.clamp(max=1.5))


def burn_text(magnitude: Tensor, text: str = "1970 A", height: int = 0) -> Tensor:
    """Write text into the upper left corner of every image, at its maximum.

    Args:
        height: of a letter in pixels, a multiple of 5; 0 takes 1/25 of the image.
    """
    scale = max(1, (height or magnitude.shape[-2] // 25) // 5)
    letters = [
        np.array([int(bit) for bit in FONT[letter]]).reshape(5, 3)
        for letter in text
        if letter in FONT
    ]
    line = np.concatenate([np.pad(letter, ((0, 0), (0, 1))) for letter in letters], axis=1)
    stroke = torch.from_numpy(np.kron(line, np.ones((scale, scale)))) > 0
    stroke = stroke[: magnitude.shape[-2] - 2, : magnitude.shape[-1] - 2]
    written = magnitude.clone()
    corner = written[..., 2 : 2 + stroke.shape[0], 2 : 2 + stroke.shape[1]]
    corner[..., stroke] = magnitude.amax((-2, -1))[..., None]
    return written


def outline(labels: Tensor) -> Tensor:
    """The head from a label map (slice, y, x), 0 outside: holes of each slice filled, bool."""
    filled = [ndimage.binary_fill_holes(one) for one in (labels > 0).numpy()]
    return torch.from_numpy(np.stack(filled))
