"""Sparse SENSE, against a dense Haar matrix and another solver."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthlib import arrays
from synthlib.recon import sense, sparse
from synthlib.recon.sense import SenseRows
from tests.recon.conftest import random_encoding

ONE_GRID = [(0, 0)] * sparse.TILE


def haar(image: np.ndarray, levels: int = sparse.LEVELS) -> np.ndarray:
    """Orthonormal 2-D Haar coefficients (y, x), coarse ones in the corner."""
    ny, nx = image.shape
    coefficients = _haar_step(ny) @ image @ _haar_step(nx).T
    if levels > 1:
        corner = np.s_[: ny // 2, : nx // 2]
        coefficients[corner] = haar(coefficients[corner], levels - 1)
    return coefficients


def _haar_step(n: int) -> np.ndarray:
    step = np.zeros((n, n))
    for i in range(n // 2):
        step[i, 2 * i : 2 * i + 2] = np.array([1, 1]) / np.sqrt(2)
        step[n // 2 + i, 2 * i : 2 * i + 2] = np.array([1, -1]) / np.sqrt(2)
    return step


def haar_matrix(ny: int, nx: int) -> np.ndarray:
    units = np.eye(ny * nx).reshape(-1, ny, nx)
    return np.stack([haar(unit).ravel() for unit in units], axis=1)


def are_details(ny: int, nx: int) -> np.ndarray:
    """Bool (ny nx,), all but the coarsest coefficients, which are never shrunk."""
    details = np.ones((ny, nx), bool)
    details[: ny // sparse.TILE, : nx // sparse.TILE] = False
    return details.ravel()


def soft(coefficients: np.ndarray, limit: np.ndarray | float) -> np.ndarray:
    size = np.abs(coefficients)
    return coefficients * np.maximum(1 - limit / np.maximum(size, 1e-30), 0)


def on_grid(image: torch.Tensor, limit: torch.Tensor, shift: tuple[int, int]) -> torch.Tensor:
    return SenseRows.unroll(sparse._shrunk(SenseRows.roll(image), limit, shift))


def random_image(*shape: int) -> torch.Tensor:
    return random_encoding(*shape, n_coils=1).image


# --- the transform -------------------------------------------------------------------


def test_shrinkage_is_that_of_a_dense_orthonormal_haar_matrix():
    matrix, details = haar_matrix(16, 24), are_details(16, 24)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(384), atol=1e-12)
    image = random_image(2, 16, 24)
    limits = torch.tensor([0.4, 1.1]).view(2, 1, 1)
    shrunk = on_grid(image, limits, (0, 0))
    for number, limit in enumerate((0.4, 1.1)):
        coefficients = matrix @ image[number].numpy().ravel()
        expected = matrix.T @ soft(coefficients, limit * details)
        np.testing.assert_allclose(shrunk[number].numpy().ravel(), expected, atol=1e-5)


@pytest.mark.parametrize("shift", [(0, 0), (5, 3), (2, 7)])
def test_without_a_limit_nothing_changes_on_any_grid_and_size(shift):
    image = random_image(45, 38)
    kept = on_grid(image, torch.zeros(1, 1), shift)
    torch.testing.assert_close(kept, image, rtol=0, atol=1e-5)


def test_a_huge_limit_leaves_the_means_of_tiles_and_their_energy():
    image = random_image(48, 40)
    means = on_grid(image, torch.full((1, 1), 1e6), (0, 0))
    tiles = image.view(6, 8, 5, 8).mean((1, 3))
    expected = tiles.repeat_interleave(8, 0).repeat_interleave(8, 1)
    torch.testing.assert_close(means, expected, rtol=0, atol=1e-6)
    moved = on_grid(image, torch.full((1, 1), 1e6), (5, 3))
    torch.testing.assert_close(moved.sum(), image.sum(), rtol=1e-4, atol=1e-3)
    assert (moved - means).norm() > 1  # another grid


def test_padding_lies_at_the_edge_and_not_in_the_heads_middle():
    """Of 45x38 only tiles that reach over the last row or column see padding."""
    image = torch.ones(45, 38, dtype=torch.complex64)
    shrunk = on_grid(image, torch.full((1, 1), 0.3), (0, 0))
    torch.testing.assert_close(shrunk[:40, :32], image[:40, :32])
    assert (shrunk[40:] - 1).abs().max() > 0.01


def test_shifts_take_every_row_and_column_of_a_tile_once():
    down, right = zip(*sparse.SHIFTS, strict=True)
    assert sorted(down) == sorted(right) == list(range(sparse.TILE))


# --- the minimum ---------------------------------------------------------------------


def objective(kspace, columns, maps, image, limit, shift=(0, 0)) -> float:
    """|A x - k|^2 / 2 + t |W x|_1 of details, by numpy; sides are multiples of the tile."""
    left = arrays.fft2c(maps * image) * columns - kspace
    moved = np.roll(image.numpy(), shift, (-2, -1))
    details = np.abs(haar(moved)).ravel()[are_details(*moved.shape)]
    return float(left.abs().square().sum()) / 2 + limit * details.sum()


def by_admm(kspace, columns, maps, limit, n_iterations=400) -> torch.Tensor:
    """The same minimum by another method: dense matrices, split variables, numpy."""
    ny, nx = maps.shape[-2:]
    units = torch.eye(ny * nx, dtype=maps.dtype).view(-1, 1, ny, nx)
    seen = arrays.fft2c(maps * units) * columns
    encoding = seen.flatten(1).numpy().T.astype(np.complex128)  # (data, pixel)
    matrix, details, rho = haar_matrix(ny, nx), are_details(ny, nx), 0.3
    normal = encoding.conj().T @ encoding
    inverse = np.linalg.inv(normal + rho * np.eye(ny * nx))
    right = encoding.conj().T @ kspace.numpy().ravel()
    split = dual = np.zeros(ny * nx, np.complex128)
    for _ in range(n_iterations):
        image = inverse @ (right + rho * matrix.T @ (split - dual))
        split = soft(matrix @ image + dual, limit * details / rho)
        dual = dual + matrix @ image - split
    return torch.from_numpy((matrix.T @ split).reshape(ny, nx)).to(maps.dtype)


def test_on_one_grid_it_is_the_minimum_that_another_solver_finds(monkeypatch):
    monkeypatch.setattr(sparse, "SHIFTS", ONE_GRID)
    encoding = random_encoding(16, 24, n_coils=3, noise=0.1)
    rows = SenseRows(*encoding)
    noise_std = float((rows.noise() * rows.adjoint.abs().square().mean()).sqrt())
    image = rows.unroll(sparse.sparse_sense(rows, 400, threshold=0.5))
    theirs = by_admm(*encoding, 0.5 * noise_std)
    best = objective(*encoding, theirs, 0.5 * noise_std)
    reached = objective(*encoding, image, 0.5 * noise_std)
    assert reached == pytest.approx(best, rel=1e-4)
    assert (
        objective(*encoding, rows.unroll(sparse.linear_sense(rows)), 0.5 * noise_std) > 1.1 * best
    )


def test_on_shifted_grids_the_mean_objective_falls(odd_scan):
    """48x40 of the head's own maps and coil images, padded."""
    truth = odd_scan.truth["maps"][0]
    maps = arrays.crop_or_pad(truth / arrays.rss(truth), (48, 40)).contiguous()
    full = arrays.fft2c(arrays.crop_or_pad(odd_scan.volume.coil_images(0), (48, 40)))
    columns = torch.arange(40) % 4 == 1
    columns[18:23] = True
    rows = SenseRows(full * columns, columns, maps)
    limit = sparse.THRESHOLD * float((rows.noise() * rows.adjoint.abs().square().mean()).sqrt())

    def mean(image):
        values = [
            objective(full * columns, columns, maps, rows.unroll(image), limit, shift)
            for shift in sparse.SHIFTS
        ]
        return np.mean(values)

    means = [mean(sparse.sparse_sense(rows, n)) for n in (0, 10, 70)]
    assert means[0] > 1.05 * means[1]
    assert means[1] > means[2]


# --- as a reconstruction -------------------------------------------------------------


def error(image, truth):
    return float((image.abs() - truth.abs()).norm() / truth.norm())


def test_it_is_nearer_to_the_full_scan_than_cg_sense_with_any_weight(scanned):
    rows = SenseRows(*scanned)
    image = rows.unroll(sparse.sparse_sense(rows))
    weights = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    linear = min(error(sense.cg_sense(*scanned, weight), scanned.image) for weight in weights)
    assert error(image, scanned.image) < 0.95 * linear


def test_the_image_follows_the_datas_scale_and_phase(scanned):
    rows = SenseRows(*scanned)
    scaled = SenseRows(3e-6j * scanned.kspace, scanned.columns, scanned.maps)
    expected = 3e-6j * sparse.sparse_sense(rows)
    torch.testing.assert_close(
        sparse.sparse_sense(scaled), expected, rtol=0, atol=1e-4 * float(expected.abs().max())
    )


def test_slices_of_a_batch_do_not_see_each_other(scanned):
    other = scanned.kspace.flip(-2) * 40
    both = SenseRows(
        torch.stack([scanned.kspace, other]),
        scanned.columns.expand(2, -1),
        torch.stack([scanned.maps, scanned.maps.flip(-2)]),
    )
    together = sparse.sparse_sense(both)
    alone = sparse.sparse_sense(SenseRows(*scanned))
    torch.testing.assert_close(together[0], alone, rtol=0, atol=1e-4 * float(alone.abs().max()))
