"""Sparse reconstruction on SenseRows: where networks start from, and fast enough to be in them.

FISTA with soft thresholds on Haar wavelets, whose grid is shifted at every
iteration (cycle spinning), and a threshold that follows the noise of the data.
classical.l1_wavelet is the same idea by SigPy, the peer to compare with.

Source: Beck and Teboulle, SIAM J. Imaging Sci. 2:183 (2009); Lustig et al., MRM
58:1182 (2007); shifts: Coifman and Donoho, Lect. Notes Stat. 103:125 (1995).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from synthlib.recon.sense import SenseRows

LEVELS = 3
N_ITERATIONS = 70  # within 0.1 dB of 100 at R = 4
THRESHOLD = 0.1  # of wavelet coefficients, in units of the noise s.d. of A^H k
LINEAR_WEIGHT, LINEAR_ITERATIONS = 0.01, 6  # of CG-SENSE, the first guess
TILE = 2**LEVELS
SHIFTS = [((5 * i) % TILE, (3 * i) % TILE) for i in range(TILE)]  # every one once, (y, x)


@torch.no_grad()
def linear_sense(rows: SenseRows) -> Tensor:
    """A quick CG-SENSE, complex (..., y, x), rolled: where the sparse iterations start."""
    return rows.solve(torch.zeros_like(rows.adjoint), LINEAR_WEIGHT, LINEAR_ITERATIONS)


@torch.no_grad()
def sparse_sense(
    rows: SenseRows,
    n_iterations: int = N_ITERATIONS,
    threshold: float = THRESHOLD,
    *,
    first: Tensor | None = None,
) -> Tensor:
    """argmin_x |A x - k|^2 / 2 + t |W x|_1, complex (..., y, x), rolled as SenseRows has it.

    The largest eigenvalue of A^H A is 1 at most (maps of unit root sum of squares,
    orthonormal FFT), so that gradient steps have length 1.

    Args:
        rows: the encoding, with its data.
        n_iterations: of FISTA.
        threshold: in units of the noise s.d. of rows.noise().
        first: :func:`linear_sense` of these rows, where the iterations start; None: it is computed.
    """
    limit = threshold * (rows.noise() * rows.image_power).sqrt()
    image = linear_sense(rows) if first is None else first
    extrapolated, momentum = image, 1.0
    for iteration in range(n_iterations):
        stepped = extrapolated - (rows.normal(extrapolated) - rows.adjoint)
        following = _shrunk(stepped, limit, SHIFTS[iteration % TILE])
        grown = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        extrapolated = following + (momentum - 1) / grown * (following - image)
        image, momentum = following, grown
    return image


def _shrunk(rolled: Tensor, limit: Tensor, shift: tuple[int, int]) -> Tensor:
    """Soft thresholds on the Haar coefficients of a rolled image, on a shifted grid."""
    image = SenseRows.unroll(rolled)  # what is padded must be an edge, not the head's middle
    ny, nx = image.shape[-2:]
    padded = functional.pad(image, (0, -nx % TILE, 0, -ny % TILE))
    moved = torch.roll(padded, shift, (-2, -1))
    back = torch.roll(_haar_shrunk(moved, limit, LEVELS), (-shift[0], -shift[1]), (-2, -1))
    return SenseRows.roll(back[..., :ny, :nx])


def _haar_shrunk(image: Tensor, limit: Tensor, levels: int) -> Tensor:
    """One level of the orthonormal 2-D Haar transform, its details shrunk, the rest recursively."""
    even, odd = image[..., 0::2, :], image[..., 1::2, :]
    low, high = even + odd, even - odd
    coarse = 0.5 * (low[..., 0::2] + low[..., 1::2])
    details = 0.5 * torch.stack(
        (
            low[..., 0::2] - low[..., 1::2],
            high[..., 0::2] + high[..., 1::2],
            high[..., 0::2] - high[..., 1::2],
        )
    )
    along_x, along_y, both = details * (1 - limit / details.abs().clamp(min=1e-30)).clamp(min=0)
    if levels > 1:
        coarse = _haar_shrunk(coarse, limit, levels - 1)
    result = torch.empty_like(image)
    left, right = coarse + along_x, coarse - along_x
    left_change, right_change = along_y + both, along_y - both
    result[..., 0::2, 0::2] = 0.5 * (left + left_change)
    result[..., 1::2, 0::2] = 0.5 * (left - left_change)
    result[..., 0::2, 1::2] = 0.5 * (right + right_change)
    result[..., 1::2, 1::2] = 0.5 * (right - right_change)
    return result
