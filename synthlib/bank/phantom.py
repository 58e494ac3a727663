"""Is it a head at all? What pixels tell of noise alone, and of phantoms.

A phantom is a vessel of one liquid: below its wall it is even but for the receivers' shading,
whatever structures lie deeper, and its outline is round or straight. Heads have skull, fat and
fluid there, stripped ones folds. Both signs are asked for, in the median of the slices of the
wide part, so that a vertex decides nothing.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from synthlib import arrays
from synthlib.bank.outline import largest_filled
from synthlib.records import ImageVolume

BLOCKS, MIN_BLOCK = 12, 8  # along the shorter axis; pixels, so that noise averages out
MIN_SIDE = 32  # pixels: in smaller pictures nothing is judged
MAX_CONTRAST_OF_NOISE = 1.6  # of the brightest blocks to the darkest; heads have 3 and more
CELLS_EVEN, CELLS_SHAPE = 80, 128  # along the longer axis
WIDE, MAX_SLICES = 0.5, 9  # of the largest area; spread through the volume
ORDER, TOLERANCE = 4, 0.1  # of the shading's polynomial; of what is as bright as it says
RIM = 0.35  # of the inside, its outermost part
# Of the rim, as bright as the shading: measured phantoms 0.94 and 0.98, heads at most 0.39,
# stripped ones 0.73. Of the outline: phantoms 0.96 and 0.97, heads 0.92 to 0.985.
MIN_EVEN, MIN_ROUND = 0.85, 0.95
GLANCE_EVEN = 0.5  # of the rim of either of two slices; less is no phantom
MIN_CELLS = 60
HEADS = ("head", "unknown")  # a knee has outlines of its own
NOTE = (
    "it looks like a phantom, not like a head ({even:.0f} % of its rim is as even as a liquid, its "
    "outline {shape:.0f} % that of a vessel); coils are fitted to it as to a head"
)


def require_object(magnitude: Tensor) -> None:
    """Refuse a volume in which nothing stands out.

    Args:
        magnitude: float (slice, y, x), >= 0.

    Raises:
        ValueError: all places are alike: noise alone.
    """
    side = min(magnitude.shape[-2:])
    if side < MIN_SIDE:
        return
    block = max(MIN_BLOCK, side // BLOCKS)
    means = torch.nn.functional.avg_pool2d(magnitude[:, None], block)
    low, high = np.quantile(means.numpy(force=True), (0.02, 0.98))
    if high < MAX_CONTRAST_OF_NOISE * low:
        raise ValueError(
            "nothing stands out in it: its brightest parts are "
            f"{high / low:.2f} times as bright as its darkest, as in noise alone. Expected images "
            "of a head; leave it out"
        )


def phantom_note(volume: ImageVolume) -> str:
    """What to say of a volume that looks like a phantom; "" for heads and other parts of a body."""
    if volume.anatomy not in HEADS or min(volume.magnitude.shape[-2:]) < MIN_SIDE:
        return ""
    n_slices = volume.n_slices
    glances = [volume.magnitude[n_slices * part // 3] for part in (1, 2)]
    if max(map(_evenness, glances)) < GLANCE_EVEN:  # nearly all heads end here
        return ""
    spread = np.unique(np.linspace(0, n_slices - 1, min(n_slices, MAX_SLICES)).round().astype(int))
    shapes = [_roundness(volume.magnitude[int(index)]) for index in spread]
    largest = max(area for _, area in shapes)
    wide = [
        (int(index), shape)
        for index, (shape, area) in zip(spread, shapes, strict=True)
        if area > 0 and area >= WIDE * largest
    ]
    shape = float(np.median([shape for _, shape in wide])) if wide else 0.0
    if shape < MIN_ROUND:
        return ""
    even = float(np.median([_evenness(volume.magnitude[index]) for index, _ in wide]))
    if not even >= MIN_EVEN:
        return ""
    return NOTE.format(even=100 * even, shape=100 * shape)


def _object(image: Tensor, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and the largest filled part on a coarse grid."""
    cell = max(1, math.ceil(max(image.shape) / cells))
    coarse = torch.nn.functional.avg_pool2d(
        image[None, None], cell, ceil_mode=True, count_include_pad=False
    )[0, 0]
    bright = (coarse > arrays.dark_level(coarse)).numpy(force=True)
    return coarse.numpy(force=True).astype(float), largest_filled(bright)


def _evenness(image: Tensor) -> float:
    """Share of the rim that is as bright as a smooth shading; 0 where there is too little.

    The shading is a polynomial through the 70 % that fit it best.
    """
    coarse, inside = _object(image, CELLS_EVEN)
    depth = ndimage.distance_transform_edt(inside)
    wall = max(2, round(0.06 * math.sqrt(float(inside.sum()))))
    inside = ndimage.binary_erosion(inside, iterations=wall)
    if inside.sum() < MIN_CELLS:
        return 0.0
    y, x = (2 * (axis - axis.mean()) / max(np.ptp(axis), 1) for axis in np.nonzero(inside))
    values = coarse[inside]
    powers = [(i, j) for i in range(ORDER + 1) for j in range(ORDER + 1 - i)]
    columns = np.stack([y**i * x**j for i, j in powers], axis=1)
    fitting = np.ones(len(values), bool)
    error = np.zeros(len(values))
    for _ in range(4):
        # einsum: a matrix product would wake BLAS's threads, which then wait beside ours
        part = columns[fitting]
        gram = np.einsum("np,nq->pq", part, part)
        weights = np.linalg.solve(gram, np.einsum("np,n->p", part, values[fitting]))
        shading = np.maximum(np.einsum("np,p->n", columns, weights), 1e-6 * values.max())
        error = np.abs(values / shading - 1)
        fitting = error <= np.quantile(error, 0.7)
    rim = depth[inside] <= np.quantile(depth[inside], RIM)
    return float((error[rim] < TOLERANCE).mean())


def _covariance(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(0)
    return np.einsum("np,nq->pq", centred, centred) / (len(values) - 1)


def _roundness(image: Tensor) -> tuple[float, int]:
    """Overlap (intersection over union) with the ellipse or box of its moments; area in cells."""
    _, inside = _object(image, CELLS_SHAPE)
    inside = ndimage.binary_opening(inside, iterations=2)
    if inside.sum() < MIN_CELLS:
        return 0.0, 0
    cells = np.argwhere(inside).astype(float)
    variances, directions = np.linalg.eigh(_covariance(cells))
    if variances[0] <= 0:
        return 0.0, 0
    every = np.indices(inside.shape).reshape(2, -1).T - cells.mean(0)
    turned = np.einsum("nk,kj->nj", every, directions) / np.sqrt(variances)
    ellipse = (turned**2).sum(1) <= 4  # a quarter of its half axis squared is its variance
    box = (np.abs(turned) <= math.sqrt(3)).all(1)  # a third for a box
    flat = inside.ravel()
    overlap = max(float((flat & of).sum() / (flat | of).sum()) for of in (ellipse, box))
    return overlap, int(inside.sum())
