"""From coil images to one image and back."""

import numpy as np
import pytest
import torch

from synthlib import arrays, coils


def test_combining_what_was_expanded_returns_the_image(one_slice):
    magnitude, phase, maps = one_slice
    image = torch.polar(magnitude, phase)
    for scale in (1 / arrays.rss(maps), 1):  # unit maps, and the scanner's own
        back = coils.combine(coils.expand(image, scale * maps), scale * maps)
        torch.testing.assert_close(back, image, rtol=0, atol=1e-5)


def test_expanding_is_the_product_with_every_coil(one_slice):
    magnitude, phase, maps = one_slice
    image = torch.polar(magnitude, phase)
    seen = coils.expand(image, maps)
    assert seen.shape == maps.shape
    torch.testing.assert_close(seen[2, 7, 30], image[7, 30] * maps[2, 7, 30])


def test_combination_is_the_least_squares_image(one_slice, draw):
    maps = one_slice[2]
    images = torch.randn(maps.shape, dtype=torch.complex64, generator=draw)
    found = coils.combine(images, maps)
    for y, x in ((0, 0), (22, 19), (44, 37), (10, 30)):
        columns, values = maps[:, y, x, None].numpy(), images[:, y, x].numpy()
        best = np.linalg.lstsq(columns, values, rcond=None)[0][0]
        np.testing.assert_allclose(found[y, x], best, rtol=1e-4)


def test_leading_axes_are_combined_one_by_one(one_slice, draw):
    maps = one_slice[2]
    images = torch.randn((3, *maps.shape), dtype=torch.complex64, generator=draw)
    together = coils.combine(images, maps)
    torch.testing.assert_close(together[1], coils.combine(images[1], maps))
    image = torch.randn((3, 45, 38), dtype=torch.complex64, generator=draw)
    torch.testing.assert_close(coils.expand(image, maps)[2], coils.expand(image[2], maps))


def test_the_image_is_zero_where_the_maps_are(one_slice):
    maps = one_slice[2]
    images = torch.ones_like(maps)
    maps[:, 5] = 0
    image = coils.combine(images, maps)
    assert (image[5] == 0).all()
    assert (image[6].abs() > 0).all()


def test_the_phase_of_the_image_is_in_the_maps_gauge(one_slice):
    magnitude, phase, maps = one_slice
    gauge = torch.linspace(-2, 2, 38).expand(45, 38)
    turned = maps * torch.polar(torch.ones_like(gauge), gauge)
    image = coils.combine(torch.polar(magnitude, phase) * maps, turned)
    inside = magnitude > 0.05 * magnitude.max()
    error = arrays.wrap(image.angle() - (phase - gauge))[inside]
    assert error.abs().max() < 1e-4


def test_coil_counts_and_grids_that_differ_are_refused(one_slice):
    maps = one_slice[2]
    with pytest.raises(ValueError, match="3 coil images but 4 coil maps; expected maps estimated"):
        coils.combine(maps[:3], maps)
    with pytest.raises(ValueError, match="coil_images 38x45, maps 45x38"):
        coils.combine(maps.mT, maps)
    with pytest.raises(ValueError, match="image 38x45, maps 45x38"):
        coils.expand(maps[0].mT, maps)
