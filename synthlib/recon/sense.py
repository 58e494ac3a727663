"""SENSE with given maps, row by row: the mask thins kx, so no row of the image sees another.

After one inverse FFT along ky the data of row y are F_x S[:, y] x[y], thinned;
A^H A couples the pixels of that row only. Conjugate gradients therefore need
FFTs along x alone, and every row takes its own step lengths.

Source: Pruessmann et al., MRM 46:638 (2001); data consistency between the steps
of a network: Aggarwal et al. (MoDL), IEEE TMI 38:394 (2019).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from synthlib import arrays

N_ITERATIONS = 12  # of conjugate gradients in a network; with 6, quiet scans lose 0.4 dB
SMALLEST = 1e-30  # a row without signal is solved by zero; its 0 / 0 must be 0
OUTER_KY, OUTER_KX = 0.7, 0.5  # share of half the grid, beyond which k-space is mostly noise
NOISE_RANGE = (1e-5, 1e-1)  # of the relative noise power, so that no weight runs away


class SenseRows:
    """The encoding of some slices: maps, mask and data, kept as the FFT along x wants them.

    Images that go in and come out have their x axis rolled by half (see `roll`),
    which saves a shift of every coil image at every step.
    """

    def __init__(
        self, kspace: Tensor, columns: Tensor, maps: Tensor, level: Tensor | None = None
    ) -> None:
        """
        Args:
            kspace: complex (..., coil, ky, kx), zero where nothing was measured.
            columns: bool (kx,), or (..., kx) for a mask of each slice.
            maps: complex (..., coil, y, x), unit root sum of squares.
            level: float (..., 2), noise power of a sample of k-space and mean power
                of A^H k of the whole slice; None: both are estimated from the data.

        Raises:
            ValueError: grids differ.
        """
        arrays.require_same_grid(kspace=kspace, maps=maps)
        if columns.shape[-1] != kspace.shape[-1]:
            raise ValueError(
                f"a mask of {columns.shape[-1]} columns for k-space of {kspace.shape[-1]}; "
                "expected one value for each column of kx"
            )
        self.maps = self.roll(maps)
        mask = columns.to(maps.real.dtype)[..., None, None, :]
        self.mask = torch.fft.ifftshift(mask, dim=-1)
        self.hybrid = self.roll(_along_y(kspace))  # (..., coil, y, kx)
        self.adjoint = self._combined(torch.fft.ifft(self.hybrid, norm="ortho"))  # A^H k
        if level is None:
            level = torch.stack((outer_power(kspace), mean_power(self.adjoint)), -1)
        self.noise_power, self.image_power = level[..., None, None, :].unbind(-1)

    @staticmethod
    def roll(image: Tensor) -> Tensor:
        """Centre of x to index 0."""
        return torch.fft.ifftshift(image, dim=-1)

    @staticmethod
    def unroll(image: Tensor) -> Tensor:
        """The way back."""
        return torch.fft.fftshift(image, dim=-1)

    def normal(self, image: Tensor) -> Tensor:
        """A^H A of a rolled image (..., y, x)."""
        seen = torch.fft.fft(self.maps * image.unsqueeze(-3), norm="ortho")
        return self._combined(torch.fft.ifft(self.mask * seen, norm="ortho"))

    def solve(
        self, prior: Tensor, weight: Tensor | float, n_iterations: int = N_ITERATIONS
    ) -> Tensor:
        """argmin_x |A x - k|^2 + weight |x - prior|^2, by conjugate gradients from the prior.

        Gradients reach the prior and the weight through a second solution instead
        of through the iterations.

        Args:
            prior: complex (..., y, x), rolled; zero for Tikhonov's regularisation.
            weight: above 0, one number or (..., 1, 1).
            n_iterations: fixed, so that the same input takes the same steps everywhere.
        """
        weight = torch.as_tensor(weight, dtype=self.mask.dtype, device=prior.device)
        return _Solve.apply(prior, weight, self, n_iterations)

    def noise(self) -> Tensor:
        """Noise power of a sample of k-space over the mean power of A^H k: (..., 1, 1).

        As given, or estimated from the samples far from the centre, which hold noise
        and some signal. (The misfit of the least-squares solution would tell noise from signal,
        but not in synthetic k-space: there the data fit the maps exactly.)
        """
        return (self.noise_power / self.image_power.clamp(min=SMALLEST)).clamp(*NOISE_RANGE)

    def _combined(self, coil_images: Tensor) -> Tensor:
        return (self.maps.conj() * coil_images).sum(-3)


class _Solve(torch.autograd.Function):
    """x = (A^H A + w)^-1 (A^H k + w z). A^H A is Hermitian: its gradient is a solution, too."""

    @staticmethod
    def forward(ctx: Any, prior: Tensor, weight: Tensor, rows: SenseRows, n: int) -> Tensor:
        image = _conjugate_gradients(rows, rows.adjoint + weight * prior, weight, prior, n)
        ctx.save_for_backward(prior, weight, image)
        ctx.rows, ctx.n = rows, n
        return image

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (gradient,) = gradients
        prior, weight, image = ctx.saved_tensors
        start = torch.zeros_like(gradient)
        solved = _conjugate_gradients(ctx.rows, gradient, weight, start, ctx.n)
        to_weight = (solved.conj() * (prior - image)).real.sum_to_size(weight.shape)
        return weight * solved, to_weight, None, None


def _conjugate_gradients(
    rows: SenseRows, right: Tensor, weight: Tensor, start: Tensor, n_iterations: int
) -> Tensor:
    """Solve (A^H A + weight) x = right, every row with its own step lengths."""
    image = start
    residual = right - rows.normal(start) - weight * start
    direction, power = residual, _power(residual)
    for _ in range(n_iterations):
        applied = rows.normal(direction) + weight * direction
        curvature = (direction.conj() * applied).real.sum(-1, keepdim=True)
        step = power / curvature.clamp(min=SMALLEST)
        image = image + step * direction
        residual = residual - step * applied
        remaining = _power(residual)
        direction = residual + remaining / power.clamp(min=SMALLEST) * direction
        power = remaining
    return image


def _power(image: Tensor) -> Tensor:
    """(..., y, 1) sum of squares of every row."""
    return _square(image).sum(-1, keepdim=True)


def _square(image: Tensor) -> Tensor:
    return image.real.square() + image.imag.square()


def mean_power(image: Tensor) -> Tensor:
    """(...) mean of |x|^2 over an image (..., y, x)."""
    return _square(image).mean((-2, -1))


def outer_power(kspace: Tensor) -> Tensor:
    """(...) noise power of a sample, from the median of the measured ones far from the centre.

    The power of complex noise is exponentially distributed, its median is ln 2 of
    its mean. Samples that are exactly zero were never measured.
    """
    ny, nx = kspace.shape[-2:]
    far_y = (torch.arange(ny, device=kspace.device) - ny // 2).abs() >= OUTER_KY * ny / 2
    far_x = (torch.arange(nx, device=kspace.device) - nx // 2).abs() >= OUTER_KX * nx / 2
    power = _square(kspace[..., far_y, :][..., far_x]).flatten(-3)
    missing = torch.full_like(power, torch.nan)
    median = torch.where(power > 0, power, missing).nanmedian(-1).values
    return torch.nan_to_num(median / math.log(2), nan=math.inf)


def _along_y(kspace: Tensor) -> Tensor:
    """Centred orthonormal inverse FFT along ky alone."""
    shifted = torch.fft.ifftshift(kspace, dim=-2)
    return torch.fft.fftshift(torch.fft.ifft(shifted, dim=-2, norm="ortho"), dim=-2)


def cg_sense(
    kspace: Tensor, columns: Tensor, maps: Tensor, weight: float, *, n_iterations: int = 30
) -> Tensor:
    """Linear reconstruction: argmin_x |A x - k|^2 + weight |x|^2.

    Args:
        kspace: complex (..., coil, ky, kx), zero where nothing was measured.
        columns: bool (kx,) or (..., kx).
        maps: complex (..., coil, y, x), unit root sum of squares.
        weight: of Tikhonov's regularisation, above 0; data of unit scale or any
            other: the problem is linear in k.
        n_iterations: of conjugate gradients; 30 solve rows of several hundred pixels.

    Returns:
        complex (..., y, x).

    Raises:
        ValueError: grids differ.
    """
    with torch.no_grad():
        rows = SenseRows(kspace, columns, maps)
        return rows.unroll(rows.solve(torch.zeros_like(rows.adjoint), weight, n_iterations))
