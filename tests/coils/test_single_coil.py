"""The emulated single coil, against least squares by NumPy and what it must do by itself."""

from __future__ import annotations

import numpy as np
import torch

from synthlib import arrays, coils, runs

SHAPE = (5, 45, 38)


def images(n_coils: int = 5) -> torch.Tensor:
    draw = runs.rng(3, "single coil")
    return torch.randn((n_coils, *SHAPE[1:]), dtype=torch.complex64, generator=draw)


def test_the_weights_are_those_of_numpys_least_squares():
    coil_images = images()
    columns = coil_images.flatten(1).T.numpy().astype(np.complex128)
    target = np.sqrt((np.abs(columns) ** 2).sum(1))
    expected = np.linalg.lstsq(columns, target.astype(np.complex128), rcond=None)[0]
    np.testing.assert_allclose(coils.emulated_weights(coil_images).numpy(), expected, atol=1e-6)


def test_a_scan_of_one_phase_and_one_sensitivity_is_its_own_root_sum_of_squares():
    magnitude = images(1)[0].abs()
    gains = torch.tensor([1.0, 2.0j, -0.5 + 1.0j])
    coil_images = gains[:, None, None] * magnitude
    kspace = coils.emulated_kspace(arrays.fft2c(coil_images), (45, 38))
    assert kspace.shape == (1, 45, 38)
    torch.testing.assert_close(
        arrays.ifft2c(kspace)[0].abs(), arrays.rss(coil_images), rtol=1e-4, atol=1e-4
    )


def test_the_fit_is_to_the_image_that_is_kept_not_to_the_oversampling():
    coil_images = images()
    kept = arrays.crop_or_pad_image(coil_images, (22, 38))
    kspace = coils.emulated_kspace(arrays.fft2c(coil_images), (22, 38))
    expected = torch.einsum("c,cyx->yx", coils.emulated_weights(kept), coil_images)
    torch.testing.assert_close(arrays.ifft2c(kspace)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_dead_coil_and_an_empty_slice_do_no_harm():
    coil_images = images()
    coil_images[2] = 0
    assert coils.emulated_weights(coil_images)[2].abs() < 1e-12
    assert not coils.emulated_kspace(torch.zeros_like(coil_images), (45, 38)).any()
