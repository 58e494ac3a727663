"""SENSE row by row, against dense matrices and the FFTs of arrays."""

from __future__ import annotations

import pytest
import torch

from synthlib import arrays, coils
from synthlib.recon import sense
from synthlib.recon.sense import SenseRows
from tests.recon.conftest import random_encoding


def dense_rows(maps, columns):
    """A^H A of every row, (y, x, x), from the definition of the centred FFT."""
    nx = maps.shape[-1]
    position = torch.arange(nx, dtype=torch.float64) - nx // 2
    angle = -2 * torch.pi * torch.outer(position, position) / nx
    fourier = torch.polar(torch.full_like(angle, nx**-0.5), angle)[columns]
    encoding = fourier[:, None, None, :] * maps  # (k, coil, y, x)
    return torch.einsum("kcyi,kcyj->yij", encoding.conj(), encoding)


def dense_solution(kspace, columns, maps, prior, weight):
    """(A^H A + w)^-1 (A^H k + w z) of arrays that are not rolled, (y, x)."""
    right = (maps.conj() * arrays.ifft2c(kspace)).sum(-3) + weight * prior
    identity = torch.eye(maps.shape[-1], dtype=maps.dtype)
    return torch.linalg.solve(dense_rows(maps, columns) + weight * identity, right)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_normal_is_expand_fft_mask_and_back(batch):
    kspace, columns, maps = random_encoding(*batch, 45, 38, n_coils=4)
    image = random_encoding(*batch, 45, 38, n_coils=1).image
    rows = SenseRows(kspace, columns, maps)
    seen = arrays.fft2c(maps * image.unsqueeze(-3)) * columns
    expected = (maps.conj() * arrays.ifft2c(seen)).sum(-3)
    torch.testing.assert_close(rows.unroll(rows.normal(rows.roll(image))), expected)
    combined = (maps.conj() * arrays.ifft2c(kspace)).sum(-3)
    torch.testing.assert_close(rows.unroll(rows.adjoint), combined)


def test_every_slice_has_the_mask_of_its_own():
    kspace, columns, maps = random_encoding(2, 45, 38, n_coils=4)
    both = torch.stack([columns, columns.roll(1)])
    full = arrays.fft2c(maps * random_encoding(2, 45, 38, n_coils=1).image.unsqueeze(-3))
    together = sense.cg_sense(full * both[:, None, None, :], both, maps, 0.03)
    for number in range(2):
        alone = full[number] * both[number]
        expected = sense.cg_sense(alone, both[number], maps[number], 0.03)
        torch.testing.assert_close(together[number], expected, rtol=1e-4, atol=1e-5)
    assert (together[0] - sense.cg_sense(kspace, columns, maps, 0.03)[1]).norm() > 1


@pytest.mark.parametrize("weight", [1e-2, 0.3, 5.0])
def test_solve_is_the_dense_solution(weight):
    kspace, columns, maps = random_encoding(45, 38, n_coils=4, noise=0.3, dtype=torch.complex128)
    prior = random_encoding(45, 38, n_coils=1, dtype=torch.complex128).image
    rows = SenseRows(kspace, columns, maps)
    solved = rows.unroll(rows.solve(rows.roll(prior), weight, 60))
    expected = dense_solution(kspace, columns, maps, prior, weight)
    torch.testing.assert_close(solved, expected, rtol=1e-8, atol=1e-8)
    without = sense.cg_sense(kspace, columns, maps, weight, n_iterations=60)
    expected = dense_solution(kspace, columns, maps, torch.zeros_like(prior), weight)
    torch.testing.assert_close(without, expected, rtol=1e-8, atol=1e-8)


def test_gradients_are_those_through_a_dense_solution():
    kspace, columns, maps = random_encoding(2, 5, 7, n_coils=3, noise=0.3, dtype=torch.complex128)
    prior = random_encoding(2, 5, 7, n_coils=1, dtype=torch.complex128).image.requires_grad_()
    weight = torch.tensor([0.2, 1.7], dtype=torch.float64).view(2, 1, 1).requires_grad_()
    loss_weights = torch.linspace(0.3, 2.1, 70, dtype=torch.float64).sin().view(2, 5, 7)

    rows = SenseRows(kspace, columns, maps)
    solved = rows.unroll(rows.solve(rows.roll(prior), weight, 20))
    expected = torch.stack(
        [
            dense_solution(kspace[i], columns, maps[i], prior[i], weight[i].squeeze())
            for i in range(2)
        ]
    )
    torch.testing.assert_close(solved, expected)
    ours, theirs = (
        torch.autograd.grad((image.abs() * loss_weights).sum(), (prior, weight))
        for image in (solved, expected)
    )
    for gradient, other in zip(ours, theirs, strict=True):
        assert gradient.shape == other.shape
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-9)


def test_gradients_survive_finite_differences_for_one_weight_of_all_slices():
    encoding = random_encoding(2, 5, 7, n_coils=3, dtype=torch.complex128)
    prior = random_encoding(2, 5, 7, n_coils=1, dtype=torch.complex128).image.requires_grad_()
    weight = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    rows = SenseRows(*encoding)
    assert torch.autograd.gradcheck(lambda z, w: rows.solve(z, w, 20), (prior, weight))


def test_rows_do_not_see_each_other():
    kspace, columns, maps = random_encoding(45, 38, n_coils=4, noise=0.3)
    images = arrays.ifft2c(kspace)
    some = slice(7, 20)
    part = arrays.fft2c(images[:, some]) * columns
    expected = sense.cg_sense(kspace, columns, maps, 0.01)[some]
    torch.testing.assert_close(
        sense.cg_sense(part, columns, maps[:, some], 0.01), expected, rtol=1e-3, atol=1e-4
    )


def test_all_columns_without_weight_give_the_sense_combination(scanned, odd_scan):
    kspace = arrays.fft2c(odd_scan.volume.coil_images(0))
    image = sense.cg_sense(kspace, torch.ones(38, dtype=torch.bool), scanned.maps, 1e-7)
    expected = coils.combine(arrays.ifft2c(kspace), scanned.maps)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_cg_sense_is_linear_in_the_data(scanned):
    image = sense.cg_sense(*scanned, 0.01)
    scaled = sense.cg_sense(3e-6j * scanned.kspace, scanned.columns, scanned.maps, 0.01)
    torch.testing.assert_close(scaled, 3e-6j * image, rtol=1e-3, atol=1e-9 * 3)


# --- noise ---------------------------------------------------------------------------


def smooth_encoding(noise):
    """A head-sized Gaussian, whose k-space has its signal in the centre, plus white noise."""
    y, x = (torch.linspace(-1, 1, n) for n in (96, 81))
    image = torch.exp(-4 * (y[:, None] ** 2 + x**2)).to(torch.complex64)
    maps = torch.ones(4, 96, 81, dtype=torch.complex64) / 2
    full = arrays.fft2c(maps * image)
    white = torch.randn(full.shape, dtype=full.dtype, generator=torch.Generator().manual_seed(5))
    columns = torch.arange(81) % 3 == 1
    return (full + noise * white) * columns, columns, maps


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_the_noise_of_white_noise_is_its_variance_over_the_images_power(noise):
    kspace, columns, maps = smooth_encoding(noise)  # randn has unit power in complex numbers
    rows = SenseRows(kspace, columns, maps)
    power = float((maps.conj() * arrays.ifft2c(kspace)).sum(-3).abs().square().mean())
    assert rows.noise().shape == (1, 1)
    assert float(rows.noise()) == pytest.approx(noise**2 / power, rel=0.2)


def test_the_noise_is_of_each_slice_and_does_not_change_with_the_scale():
    quiet, columns, maps = smooth_encoding(0.01)
    noisy, _, _ = smooth_encoding(0.05)
    both = SenseRows(torch.stack([quiet, 2e-5 * noisy]), columns, torch.stack([maps, maps])).noise()
    assert both.shape == (2, 1, 1)
    torch.testing.assert_close(both[0], SenseRows(quiet, columns, maps).noise())
    torch.testing.assert_close(both[1], SenseRows(noisy, columns, maps).noise(), rtol=1e-4, atol=0)
    assert both[1] > 10 * both[0]


def test_zero_padding_does_not_count_as_a_quiet_scan():
    kspace, columns, maps = smooth_encoding(0.05)
    padded = kspace.clone()
    padded[:, :9], padded[:, 87:] = 0, 0  # of the far rows (34 above and below) some remain
    expected = SenseRows(kspace, columns, maps).noise()
    torch.testing.assert_close(
        SenseRows(padded, columns, maps).noise(), expected, rtol=0.15, atol=0
    )


def test_scans_without_far_samples_and_empty_ones_stay_within_the_range():
    kspace, columns, maps = smooth_encoding(0.05)
    centre = kspace.clone()
    centre[:, :30], centre[:, 66:] = 0, 0
    low, high = sense.NOISE_RANGE
    for odd in (centre, torch.zeros_like(kspace)):
        noise = float(SenseRows(odd, columns, maps).noise())
        assert low * 0.999 <= noise <= high * 1.001
        assert SenseRows(odd, columns, maps).solve(odd.new_zeros(96, 81), 0.1).isfinite().all()


def test_other_grids_are_refused(scanned):
    with pytest.raises(ValueError, match="grids differ"):
        SenseRows(scanned.kspace, scanned.columns, scanned.maps[..., :-1])
    with pytest.raises(ValueError, match="37 columns for k-space of 38"):
        SenseRows(scanned.kspace, scanned.columns[:-1], scanned.maps)
