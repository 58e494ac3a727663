"""The dominant eigenvectors of every pixel's matrix, and smooth grids between pixels.

A pixel's matrix G(y, x) is a trigonometric polynomial of few terms; its
eigenvectors are smooth. They are solved on a coarse grid by block
power iteration and interpolated by cubic splines.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from torch import Tensor

CACHE_MB = 16.0  # of pixel matrices worked on at once on a CPU; more is slower, not faster
ROUNDS = 8  # of power iteration before what has not settled is solved exactly
SQUARINGS = 2  # of the matrices first: four steps of power iteration for the price of one
TOLERANCE = 1e-3  # rad, between a pixel's vector and the true eigenvector


def correlation(kernels: Tensor) -> Tensor:
    """Fourier coefficients of the pixel matrices, zero shift in the middle.

    Args:
        kernels: complex (slice, kernel, coil, k, k).

    Returns:
        complex (slice, coil, coil, 2k-1, 2k-1).
    """
    k = kernels.shape[-1]
    wide = 2 * k - 1
    spectrum = torch.fft.fft2(kernels, s=(wide, wide))  # (slice, kernel, coil, wide, wide)
    flat = spectrum.permute(0, 3, 4, 2, 1).flatten(1, 2)  # (slice, frequency, coil, kernel)
    power = (flat @ flat.mH).unflatten(1, (wide, wide)).permute(0, 3, 4, 1, 2)
    # Unit eigenvalue for a perfectly consistent pixel: divide by the kernel's area.
    return torch.fft.fftshift(torch.fft.ifft2(power), dim=(-2, -1)) / k**2


def solve(
    coefficients: Tensor,
    start: Tensor,
    shape: tuple[int, int],
    *,
    n_sets: int,
    floor: float,
    memory_mb: float,
) -> tuple[Tensor, Tensor]:
    """Leading eigenpairs of the pixel matrices on a coarse grid.

    Args:
        coefficients: complex (slice, coil, coil, 2k-1, 2k-1), see :func:`correlation`.
        start: complex (slice, coil, gy, gx), a first guess: low-resolution coil images.
        shape: (ny, nx) pixels of the field of view that the grid spans.
        n_sets: eigenvectors wanted.
        floor: pixels of a smaller eigenvalue are air and need not settle.
        memory_mb: working memory.

    Returns:
        vectors, complex64 (slice, set, coil, gy, gx), of unit length and
        arbitrary phase; values, float32 (slice, set + 1, gy, gx), descending;
        one more than there are sets, where there are coils enough.
    """
    n_slices, n_coils, gy, gx = start.shape
    reach = coefficients.shape[-1] // 2
    shifts = torch.arange(-reach, reach + 1, device=start.device)
    waves_y, waves_x = (waves(n, g, shifts) for n, g in zip(shape, (gy, gx), strict=True))
    along_x = torch.einsum("xe,nijde->nxdij", waves_x, coefficients)
    along_x = along_x.flatten(3).flatten(0, 1)  # (slice*x, 2k-1, coil*coil)
    guess = start.permute(0, 3, 2, 1).flatten(0, 1)  # (slice*x, y, coil)
    size = min(n_sets + 1, n_coils)
    vectors = start.new_empty((len(along_x), gy, n_sets, n_coils))
    values = torch.empty((len(along_x), gy, size), device=start.device)
    budget = memory_mb / 4 if start.is_cuda else min(CACHE_MB, memory_mb / 4)
    rows = max(1, int(budget * 1e6 / (8 * n_coils**2 * gy)))
    for first in range(0, len(along_x), rows):
        block = slice(first, first + rows)
        matrices = (waves_y @ along_x[block]).flatten(0, 1).unflatten(-1, (n_coils, n_coils))
        found, at = _leading(matrices, guess[block].flatten(0, 1), n_sets, size, floor)
        vectors[block], values[block] = found.unflatten(0, (-1, gy)), at.unflatten(0, (-1, gy))
    vectors = vectors.unflatten(0, (n_slices, gx)).permute(0, 3, 4, 2, 1)
    values = values.unflatten(0, (n_slices, gx)).permute(0, 3, 2, 1)
    return vectors, values


def waves(n: int, g: int, shifts: Tensor) -> Tensor:
    """exp(2 pi i d t) at g points t (rows), the first and last pixel's included, for shifts d.

    t counts fields of view from pixel n // 2.
    """
    at = (torch.linspace(0, n - 1, g, dtype=torch.float64, device=shifts.device) - n // 2) / n
    angle = 2 * torch.pi * at[:, None] * shifts
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def low_resolution(calib: Tensor, shape: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Coil images (slice, coil, gy, gx) of the calibration region at the points of a grid."""
    for_axis = []
    for n, g, samples in zip(shape, grid, calib.shape[-2:], strict=True):
        shifts = torch.arange(samples, device=calib.device) - samples // 2
        for_axis.append(waves(n, g, shifts))
    return for_axis[0] @ calib @ for_axis[1].mT


def _leading(
    matrices: Tensor, guess: Tensor, n_sets: int, size: int, floor: float
) -> tuple[Tensor, Tensor]:
    """Leading eigenpairs of Hermitian (pixel, coil, coil): (pixel, set, coil), (pixel, size).

    Block power iteration with a Rayleigh-Ritz step: with one vector more than
    is wanted, a pixel settles at the rate of the gap after next, which lies
    far off even at the object's rim. A pixel is settled when its residual over
    the gap, a bound of the vector's angle, is small (Parlett, The Symmetric
    Eigenvalue Problem, theorem 11.7.1).

    Vectors are kept as rows, conjugated: r = v^H, r G = (G v)^H. Multiplying
    small matrices from the left is twice as fast for MKL as from the right.
    """
    # The guess and its copies with the coils in turn: never parallel by structure.
    ballast = 0.01 * guess.abs().sum(1, keepdim=True).clamp(min=1e-20)
    rows = torch.stack([torch.roll(guess, i, 1) + ballast for i in range(size)], 1).conj_physical()
    vectors = guess.new_empty((len(guess), n_sets, guess.shape[1]))
    values = torch.empty((len(guess), size), device=guess.device)
    open_pixels = torch.arange(len(guess), device=guess.device)
    power = matrices
    for _ in range(SQUARINGS):
        power = power @ power
    for _ in range(ROUNDS):
        rows = _orthonormal(rows @ power)
        image = rows @ matrices
        ritz, turn = _small_eigh(image @ rows.mH)  # descending, (pixel, size), (pixel, size, size)
        rows, image = turn.mH @ rows, turn.mH @ image
        vectors[open_pixels], values[open_pixels] = rows[:, :n_sets], ritz
        if size == guess.shape[1]:  # the block is the whole space
            return vectors.conj_physical_(), values
        moved = image[:, :n_sets] - rows[:, :n_sets] * ritz[:, :n_sets, None]
        # sets that are air in this pixel need not settle
        trusted = ritz[:, :n_sets] > floor
        number = trusted.sum(1, keepdim=True)  # they come first
        gap = ritz.gather(1, (number - 1).clamp(min=0)) - ritz.gather(1, number)
        angle = _length((moved * trusted[..., None]).flatten(1)) / gap[:, 0].clamp(min=1e-6)
        restless = angle > TOLERANCE
        if not bool(restless.any()):
            return vectors.conj_physical_(), values
        rows = image
        if int(restless.sum()) < 0.5 * len(restless):
            open_pixels = open_pixels[restless]
            matrices, power, rows = matrices[restless], power[restless], rows[restless]
            restless = restless[restless]
    exact_values, exact = torch.linalg.eigh(matrices[restless])
    rest = open_pixels[restless]
    vectors[rest] = exact[..., -n_sets:].flip(-1).mH
    values[rest] = exact_values[..., -size:].flip(-1)
    return vectors.conj_physical_(), values


def _orthonormal(rows: Tensor) -> Tensor:
    """Gram-Schmidt over the rows of (pixel, size, coil).

    Twice: what is left of a row that lay almost along another is mostly
    rounding, and not yet at right angles to it.
    """
    done: list[Tensor] = []
    for row in rows.unbind(1):
        row = _unit(row)
        for other in 2 * done:
            row = _unit(row - other * (other.conj() * row).sum(1, keepdim=True))
        done.append(row)
    return torch.stack(done, 1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / _length(vectors)[:, None].clamp(min=1e-30)


def _length(vectors: Tensor) -> Tensor:
    """Lengths of complex (pixel, n); torch's own norm of complex vectors is ten times slower."""
    return torch.view_as_real(vectors).square().sum((1, 2)).sqrt()


def _small_eigh(hermitian: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, descending, and eigenvectors (columns) of (pixel, size, size)."""
    if hermitian.shape[-1] != 2:
        values, vectors = torch.linalg.eigh(hermitian)
        return values.flip(-1), vectors.flip(-1)
    a, d, c = hermitian[:, 0, 0].real, hermitian[:, 1, 1].real, hermitian[:, 0, 1]
    half, mean = (a - d) / 2, (a + d) / 2
    root = torch.sqrt(half.square() + c.real.square() + c.imag.square())
    # of two equivalent forms the one without cancellation
    first = torch.where(half >= 0, torch.stack([root + half + 0j, c.conj()]),
                        torch.stack([c, root - half + 0j]))  # fmt: skip
    length = _length(first.mT)
    unit = torch.zeros_like(first)
    unit[0] = 1
    first = torch.where(length > 1e-20, first / length.clamp(min=1e-20), unit)
    second = torch.stack([-first[1].conj(), first[0].conj()])
    vectors = torch.stack([first, second], -1).permute(1, 0, 2)
    return torch.stack([mean + root, mean - root], -1), vectors


@lru_cache(maxsize=32)
def spline(n: int, g: int) -> Tensor:
    """Weights (n, g) of cubic splines from g grid points to n pixels, first and last in common."""
    points, pixels = np.linspace(0, n - 1, g), np.arange(n)
    return torch.from_numpy(make_interp_spline(points, np.eye(g), k=3)(pixels)).float()


def interpolate(coarse: Tensor, shape: tuple[int, int], *, out: Tensor) -> Tensor:
    """Real or complex (..., gy, gx) on the coarse grid to (..., ny, nx) by cubic splines.

    Args:
        out: contiguous (..., ny, nx), filled and returned.
    """
    (gy, gx), (ny, nx) = coarse.shape[-2:], shape
    if (gy, gx) == (ny, nx):
        return out.copy_(coarse)
    rows = spline(ny, gy).to(coarse.device)
    # contiguous: a batch of small transposed products takes ten times as long
    columns = spline(nx, gx).to(coarse.device).mT.contiguous()
    if not coarse.is_complex():
        torch.matmul(rows, coarse @ columns, out=out)
        return out
    parts = torch.view_as_real(coarse).transpose(-1, -2).contiguous()  # (..., gy, 2, gx)
    wide = (parts @ columns).transpose(-1, -2).flatten(-2)  # (..., gy, nx*2)
    torch.matmul(rows, wide, out=torch.view_as_real(out).flatten(-2))
    return out
