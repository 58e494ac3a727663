"""Grey values: blocks of JPEG, few values, clipping, text."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import fft, ndimage
from torch import Tensor

from synthlib.audit.findings import Reading
from synthlib.audit.view import LIT, View, outline

BLOCK = 8
COSINES = torch.from_numpy(fft.dct(np.eye(BLOCK), norm="ortho", axis=0)).float()
FINE = (torch.arange(BLOCK)[:, None] + torch.arange(BLOCK)) >= 4  # coefficients that JPEG damps
JPEG_SLICES = 2  # are enough: one history holds for a volume
JPEG_DB = 2.5
OFF_GRID = ((4, 4), (2, 6), (6, 2))  # shifts of blocks to compare with
BINS = 4096  # of grey values up to bright tissue
STEP_PERCENT, CLIPPED_PERCENT = 0.3, 0.1
LEAST_HEAD = 500  # pixels of a slice's head, to tell that it was clipped
STROKE_PIXELS = 20.0
LETTERS = 3  # of alike height beside each other make a word
LETTER_PIXELS = 5  # of strokes, at least
ALIKE_HEIGHT, ALIKE_ROW = 1.6, 0.7  # times; share of the height by which their rows may differ
APART = 4.0  # heights from one letter to the next
CORE = 8  # coarse pixels, radius of an opening that leaves no text at the head


def lossy(view: View) -> Reading:
    """Are 8 x 8 cosine coefficients smaller on one grid of blocks than on the grid between?

    JPEG rounds them to multiples of a table, most of them to zero. The natural
    grid is tried, and the one whose block edges stand out, for a cropped image.
    """
    unknown = Reading(float("nan"), JPEG_DB, "dB", "")
    if min(view.shape) < 3 * BLOCK:
        return unknown
    some = view.magnitude[:: max(1, len(view.magnitude) // JPEG_SLICES)][:JPEG_SLICES]
    jumps = [_edge_offset(some, axis) for axis in (-2, -1)]
    found = []
    for dy, dx in {(0, 0), (jumps[0], jumps[1])}:
        on = _coefficients(some, dy, dx)
        off = [_coefficients(some, (dy + by) % 8, (dx + bx) % 8) for by, bx in OFF_GRID]
        if on is None or None in off:
            return unknown
        found.append(20 * (min(one for one in off if one is not None) - on) / math.log(10))
    value = max(found)
    said = f"8 x 8 cosine coefficients are {value:.1f} dB smaller on a grid of blocks than off it"
    return Reading(value, JPEG_DB, "dB", said)


def _edge_offset(images: Tensor, axis: int) -> int:
    """Where blocks begin, 0 to 7, if differences across their edges are the largest."""
    step = images.diff(dim=axis).abs().mean(0).mean(-1 if axis == -2 else -2)
    excess = step.clone()  # over both neighbours: blocks end where a step stands out
    excess[1:-1] -= (step[:-2] + step[2:]) / 2
    excess = excess / step.mean().clamp(min=1e-12)
    n = len(excess) // BLOCK * BLOCK
    return (int(excess[:n].reshape(-1, BLOCK).mean(0).argmax()) + 1) % BLOCK


def _coefficients(images: Tensor, dy: int, dx: int) -> float | None:
    """Mean log of the fine coefficients of blocks that are not constant."""
    ny, nx = ((n - by) // BLOCK * BLOCK for n, by in zip(images.shape[-2:], (dy, dx), strict=True))
    part = images[:, dy : dy + ny, dx : dx + nx]
    rows = COSINES @ part.unflatten(-2, (-1, BLOCK))  # (slice, block y, frequency y, x)
    both = rows.unflatten(-1, (-1, BLOCK)) @ COSINES.T  # (..., frequency y, block x, frequency x)
    fine = both.abs().transpose(2, 3)[..., FINE]  # (slice, block y, block x, coefficient)
    textured = fine.amax(-1) > 3e-3
    if int(textured.sum()) < 8:
        return None
    return float((fine[textured] + 1e-3).log().mean())


def quantised(view: View) -> list[Reading]:
    """How coarse are the grey values, and how many pixels share the highest?

    Both are facts of the whole file: all its pixels are counted.
    """
    if view.bright == 0:
        return [Reading(float("nan"), STEP_PERCENT, "% of bright tissue", "")]
    values, n_lit = torch.zeros(BINS, dtype=torch.long), 0
    clipped: dict[int, float] = {}
    largest = 0
    for at, one in enumerate(view.stack):
        scaled = (one.flatten().float() / view.bright).nan_to_num(0.0, 0.0, 0.0)
        lit = scaled[(scaled > 0) & (scaled < 1)]
        values += torch.bincount((lit * BINS).int(), minlength=BINS)
        n_lit += len(lit)
        clipped[at], n_head = _share_at_top(scaled.view(one.shape))
        largest = max(largest, n_head)
    n_values = int((values > 0).sum())
    step = 100 / max(n_values, 1)
    if n_lit < 10 * n_values:  # too few pixels to have met all values
        step = 0.0 if n_values > 100 / STEP_PERCENT else float("nan")
    fine = step < 50 * view.level.std  # half the noise
    readings = [
        Reading(
            step,
            STEP_PERCENT,
            "% of bright tissue",
            f"only {n_values} grey values lie between zero and bright tissue"
            f"{', finer than half the noise' if fine else ''}",
            harmless=fine,
        )
    ]
    where = tuple(at for at, share in clipped.items() if share > CLIPPED_PERCENT)
    value = max(clipped.values()) if largest > LEAST_HEAD else float("nan")
    readings.append(
        Reading(
            value,
            CLIPPED_PERCENT,
            "% of the head",
            f"{value:.1f} % of the head's pixels share the highest grey value: it was clipped",
            where,
        )
    )
    return readings


def _share_at_top(image: Tensor) -> tuple[float, int]:
    """Percent of a slice's head that shares its highest value, and the number of lit pixels.

    The head is outlined only where enough pixels of the whole slice share it: text does, too.
    """
    if not bool(image.max() > image.min()):  # an empty slice was not clipped
        return 0.0, 0
    at_top = image >= float(image.max()) * (1 - 1e-6)
    n_lit, n_top = int((image > LIT).sum()), int(at_top.sum()) - 1  # one is natural
    if n_lit <= LEAST_HEAD or 100 * n_top <= CLIPPED_PERCENT * n_lit:
        return 0.0, n_lit
    head = outline(image[None])[0]
    n_top = max(int((at_top & head).sum()) - 1, 0)
    return 100 * n_top / max(int(head.sum()), 1), n_lit


def burned_in(view: View) -> Reading:
    """How many pixels belong to thin bright strokes of one grey value outside the head?"""
    marks = strokes(view)
    counts = marks.sum((1, 2))
    where = tuple(view.index[at] for at in torch.nonzero(counts > STROKE_PIXELS).flatten())
    value = float(counts.max())
    return Reading(
        value if view.bright > 0 else float("nan"),
        STROKE_PIXELS,
        "pixels",
        f"{value:.0f} pixels outside the head look like strokes of text",
        where if len(where) < len(view.index) else (),
    )


def strokes(view: View) -> Tensor:
    """Bool (slice, y, x): bright, thinner than an opening, of one grey value, beside the head."""
    size = 2 * (min(view.shape) // 64) + 3
    marks = torch.zeros_like(view.head)
    bright = view.magnitude > 0.5
    beside = bright & ~view.coarse.fine(_core(view), view.shape)
    counts = beside.sum((1, 2)).tolist()
    for mark, image, there, count in zip(marks, view.magnitude, beside, counts, strict=True):
        if count > STROKE_PIXELS / 2:
            opened = torch.from_numpy(ndimage.grey_opening(image.numpy(), size))
            mark |= there & (image - opened > 0.5 * image)
            values = image[mark]
            if len(values):
                mark &= (image - values.median()).abs() < 0.03 * values.median()
            mark &= _words(mark)
    return marks


def _words(mark: Tensor) -> Tensor:
    """What of a mask (y, x) stands in rows of letters: a rim of skin or fat does not."""
    pieces, _ = ndimage.label(mark.numpy(), np.ones((3, 3)))
    counts = np.bincount(pieces.ravel())
    boxes = [
        (number, rows.start, rows.stop, columns.start, columns.stop)
        for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1)
        if counts[number] >= LETTER_PIXELS
    ]
    letters = np.array(boxes, float).reshape(-1, 5)
    height, middle = letters[:, 2] - letters[:, 1], letters[:, 1:3].mean(1)
    centre = letters[:, 3:5].mean(1)
    kept = []
    for at, number in enumerate(letters[:, 0].astype(int)):
        alike = (height < ALIKE_HEIGHT * height[at]) & (height > height[at] / ALIKE_HEIGHT)
        in_row = abs(middle - middle[at]) < ALIKE_ROW * height[at]
        near = np.sort(abs(centre - centre[at])[alike & in_row])  # 0 is the letter itself
        if len(near) >= LETTERS and near[LETTERS - 1] < (LETTERS - 1) * APART * height[at]:
            kept.append(number)
    return torch.from_numpy(np.isin(pieces, kept))


def _core(view: View) -> Tensor:
    """Bool (slice, y, x) on the coarse grid: the head without thin parts (text beside it)."""
    core = np.zeros(view.coarse.head.shape, bool)
    for target, head in zip(core, view.coarse.head.numpy(), strict=True):
        deep = ndimage.distance_transform_edt(np.pad(head, CORE, mode="edge")) > CORE
        if deep.any():
            grown = ndimage.distance_transform_edt(~deep) <= CORE + 1
            target |= grown[CORE:-CORE, CORE:-CORE]
    return torch.from_numpy(core)
