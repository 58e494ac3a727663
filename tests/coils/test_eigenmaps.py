"""Eigenvectors of the pixel matrices against a dense solver, and splines against polynomials."""

import pytest
import torch
from torch import Tensor

from synthlib.coils import eigenmaps


def some_kernels(n_kernels: int, n_coils: int, k: int, seed: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    kernels = torch.randn((2, n_kernels, n_coils, k, k), dtype=torch.complex64, generator=draw)
    fall = torch.linspace(1, 0.1, n_kernels)[:, None, None, None]
    return kernels * fall / (n_coils * k**2) ** 0.5


def pixel_matrices(kernels: Tensor, shape: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Double precision, from the definition: kernels zero-padded to images, (slice, y, x, c, c)."""
    k = kernels.shape[-1]
    steps = torch.arange(k, dtype=torch.float64)
    waves = []
    for n, g in zip(shape, grid, strict=True):
        at = (torch.linspace(0, n - 1, g, dtype=torch.float64) - n // 2) / n
        waves.append(torch.exp(2j * torch.pi * at[:, None] * steps))
    images = torch.einsum("yd,xe,nkcde->nkcyx", *waves, kernels.to(torch.complex128)) / k
    return torch.einsum("nkcyx,nkdyx->nyxcd", images, images.conj())


def solve(kernels, shape, grid, n_sets, floor=0.0, memory_mb=64.0):
    start = torch.randn(
        (len(kernels), kernels.shape[2], *grid),
        dtype=torch.complex64,
        generator=torch.Generator().manual_seed(1),
    )
    coefficients = eigenmaps.correlation(kernels)
    return eigenmaps.solve(
        coefficients, start, shape, n_sets=n_sets, floor=floor, memory_mb=memory_mb
    )


@pytest.mark.parametrize("n_sets", [1, 2])
@pytest.mark.parametrize("n_coils", [3, 6])
def test_eigenpairs_are_those_of_a_dense_solver(n_coils, n_sets):
    kernels, shape, grid = some_kernels(7, n_coils, 4), (31, 26), (13, 11)
    vectors, values = solve(kernels, shape, grid, n_sets)
    expected, basis = torch.linalg.eigh(pixel_matrices(kernels, shape, grid))
    expected, basis = expected.flip(-1), basis.flip(-1)
    size = values.shape[1]
    torch.testing.assert_close(
        values.permute(0, 2, 3, 1)[..., :n_sets].double(),
        expected[..., :n_sets],
        rtol=1e-4,
        atol=1e-5,
    )
    # the one more is a lower bound that comes near
    assert (values[:, -1].double() < expected[..., size - 1] + 1e-5).all()
    # the space that the sets span
    together = basis[..., :n_sets].mH @ vectors.permute(0, 3, 4, 2, 1).to(torch.complex128)
    smallest = torch.linalg.svdvals(together)[..., -1]
    assert smallest.min() > 1 - 1e-5


def test_two_coils_are_solved_exactly_at_once():
    kernels, shape, grid = some_kernels(5, 2, 3), (12, 17), (12, 17)
    vectors, values = solve(kernels, shape, grid, 1)
    expected, basis = torch.linalg.eigh(pixel_matrices(kernels, shape, grid))
    torch.testing.assert_close(
        values.permute(0, 2, 3, 1).double(), expected.flip(-1), rtol=1e-4, atol=1e-5
    )
    aligned = (basis[..., -1].conj() * vectors[:, 0].permute(0, 2, 3, 1)).sum(-1).abs()
    assert aligned.min() > 1 - 1e-5


def test_equal_eigenvalues_give_unit_vectors_without_nan():
    kernels = torch.zeros(1, 4, 4, 2, 2, dtype=torch.complex64)
    for i in range(4):
        kernels[0, i, i, 0, 0] = 1  # every pixel's matrix is a multiple of the identity
    vectors, values = solve(kernels, (8, 9), (8, 9), 1)
    torch.testing.assert_close(vectors.abs().square().sum(2), torch.ones(1, 1, 8, 9))
    torch.testing.assert_close(values, torch.full_like(values, 0.25))


def test_pixels_worked_on_in_small_blocks_give_the_same():
    kernels, shape, grid = some_kernels(6, 5, 4), (23, 19), (23, 19)
    (vectors, values), (same, also) = (
        solve(kernels, shape, grid, 1, memory_mb=memory) for memory in (64.0, 0.05)
    )
    torch.testing.assert_close(also[:, :1], values[:, :1], rtol=1e-4, atol=1e-5)
    aligned = (vectors.conj() * same).sum(2).abs()
    assert aligned.min() > 1 - 1e-5


def test_splines_are_exact_on_cubics_and_at_the_grid_points():
    ny, nx, gy, gx = 37, 46, 13, 10
    y, x = torch.linspace(-1, 1, gy).double(), torch.linspace(-1, 1, gx).double()
    fine_y, fine_x = torch.linspace(-1, 1, ny).double(), torch.linspace(-1, 1, nx).double()

    def field(y: Tensor, x: Tensor) -> Tensor:
        y, x = y[:, None], x[None]
        return torch.complex(y**3 - x * y + 0.2, 0.5 * x**3 + y * x**2).to(torch.complex64)

    out = torch.empty(2, ny, nx, dtype=torch.complex64)
    coarse = torch.stack([field(y, x), 2j * field(y, x)])
    found = eigenmaps.interpolate(coarse, (ny, nx), out=out)
    assert found is out
    expected = field(fine_y, fine_x)
    torch.testing.assert_close(out, torch.stack([expected, 2j * expected]), rtol=0, atol=2e-6)
    real = eigenmaps.interpolate(coarse.imag, (ny, nx), out=torch.empty(2, ny, nx))
    torch.testing.assert_close(real, out.imag, rtol=0, atol=2e-6)


def test_low_resolution_images_are_those_of_zero_padded_kspace():
    from synthlib import arrays

    calib = torch.randn(3, 8, 7, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    found = eigenmaps.low_resolution(calib, (21, 18), (21, 18))
    padded = arrays.ifft2c(arrays.crop_or_pad(calib, (21, 18))) * (21 * 18) ** 0.5
    torch.testing.assert_close(found, padded, rtol=0, atol=1e-5)
