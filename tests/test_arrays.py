"""Grids and transforms against fastMRI, sums written out, and closed forms."""

import itertools

import fastmri
import numpy as np
import pytest
import torch
from fastmri.data import transforms as fastmri_transforms

from synthlib import arrays

SIZES = [(45, 38), (44, 39), (7, 8), (5, 5), (6, 4)]


def draw_complex(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


@pytest.mark.parametrize("shape", SIZES)
def test_transforms_are_those_of_fastmri(shape, draw):
    image = draw_complex((3, *shape), draw)
    theirs = torch.view_as_complex(fastmri.fft2c(torch.view_as_real(image)))
    torch.testing.assert_close(arrays.fft2c(image), theirs, rtol=1e-5, atol=1e-5)
    theirs = torch.view_as_complex(fastmri.ifft2c(torch.view_as_real(image)))
    torch.testing.assert_close(arrays.ifft2c(image), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SIZES)
def test_inverse_transform_is_the_sum_over_plane_waves_about_the_centre(shape, draw):
    kspace = draw_complex(shape, draw).to(torch.complex128)
    waves = []
    for n in shape:
        centred = torch.arange(n, dtype=torch.float64) - n // 2
        angle = 2 * torch.pi * centred[:, None] * centred / n
        waves.append(torch.polar(torch.full_like(angle, n**-0.5), angle))
    summed = waves[0] @ kspace @ waves[1].mT
    torch.testing.assert_close(arrays.ifft2c(kspace), summed)
    torch.testing.assert_close(arrays.fft2c(summed), kspace)


@pytest.mark.parametrize("shape", SIZES)
def test_transforms_keep_the_energy_and_leave_leading_axes_alone(shape, draw):
    image = draw_complex((2, 3, *shape), draw)
    kspace = arrays.fft2c(image)
    torch.testing.assert_close(kspace.abs().square().sum(), image.abs().square().sum())
    torch.testing.assert_close(kspace[1, 2], arrays.fft2c(image[1, 2]))


@pytest.mark.parametrize("old", [(4, 7), (5, 8), (9, 6), (8, 5)])
@pytest.mark.parametrize("new", [(4, 7), (5, 8), (9, 6), (8, 5), (1, 12)])
def test_crop_or_pad_keeps_every_index_counted_from_the_centre(old, new):
    y, x = (torch.arange(n) - n // 2 for n in old)
    labels = 100 * (y[:, None] + 50) + (x + 50)  # names each index by its distance to the centre
    found = arrays.crop_or_pad(labels, new)
    for row in range(new[0]):
        for column in range(new[1]):
            y, x = row - new[0] // 2, column - new[1] // 2
            inside = all(-(n // 2) <= i < n - n // 2 for i, n in zip((y, x), old, strict=True))
            assert found[row, column] == (100 * (y + 50) + (x + 50) if inside else 0)


@pytest.mark.parametrize("small", [(4, 7), (5, 8)])
@pytest.mark.parametrize("large", [(9, 12), (8, 13)])
def test_cropping_undoes_padding(small, large, draw):
    image = draw_complex((2, *small), draw)
    back = arrays.crop_or_pad(arrays.crop_or_pad(image, large), small)
    torch.testing.assert_close(back, image, rtol=0, atol=0)


@pytest.mark.parametrize("large", [12, 13])
@pytest.mark.parametrize("small", [6, 7])
def test_images_are_cropped_as_fastmri_and_ismrmrd_crop_them(large, small):
    image = torch.arange(large * (large + 3)).reshape(large, large + 3)
    expected = fastmri_transforms.center_crop(image, (small, small))
    assert torch.equal(arrays.crop_or_pad_image(image, (small, small)), expected)
    first = (large - small) // 2  # ismrmrd-python-tools: (encoded - recon) // 2 of the readout
    assert torch.equal(expected[:, 0], image[first : first + small, (large + 3 - small) // 2])
    back = arrays.crop_or_pad_image(arrays.crop_or_pad_image(expected, image.shape), (small, small))
    assert torch.equal(back, expected)
    assert int(arrays.crop_or_pad_image(expected, image.shape)[first].max()) == expected[0].max()


@pytest.mark.parametrize(("old", "new"), [((9, 12), (4, 15)), ((8, 5), (11, 5)), ((7, 7), (6, 8))])
def test_an_image_is_placed_where_its_shift_says(old, new):
    image = 1 + torch.arange(old[0] * old[1]).reshape(old)
    placed = arrays.crop_or_pad_image(image, new)
    dy, dx = (arrays.image_shift(a, b) for a, b in zip(old, new, strict=True))
    for y, x in itertools.product(range(new[0]), range(new[1])):
        inside = 0 <= y - dy < old[0] and 0 <= x - dx < old[1]
        assert placed[y, x] == (image[y - dy, x - dx] if inside else 0)


def test_crop_or_pad_returns_a_new_tensor(draw):
    image = torch.randn(5, 6, generator=draw)
    before = image.clone()
    arrays.crop_or_pad(image, (5, 6)).zero_()
    torch.testing.assert_close(image, before, rtol=0, atol=0)


def test_crop_or_pad_refuses_an_empty_grid():
    with pytest.raises(ValueError, match="0x4 was asked for; both must be >= 1"):
        arrays.crop_or_pad(torch.zeros(5, 5), (0, 4))


@pytest.mark.parametrize("old", [(24, 21), (25, 20)])
@pytest.mark.parametrize("new", [(24, 21), (31, 27), (30, 33), (15, 14), (14, 17)])
def test_resampling_keeps_the_values_and_the_phase_of_a_band_limited_image(old, new, draw):
    waves = [(-3, 2), (0, 0), (1, -4), (4, 3)]  # within the smallest grid's band
    weights = draw_complex((len(waves),), draw)

    def on_grid(shape: tuple[int, int]) -> torch.Tensor:
        y, x = ((torch.arange(n) - n // 2) / n for n in shape)  # of the field of view
        angles = [2 * torch.pi * (ky * y[:, None] + kx * x) for ky, kx in waves]
        return sum(
            w * torch.polar(torch.ones_like(a), a) for w, a in zip(weights, angles, strict=True)
        )

    found = arrays.resample(on_grid(old), new)
    torch.testing.assert_close(found, on_grid(new), rtol=0, atol=1e-5)


def test_root_sum_of_squares_goes_over_the_coil_axis(draw):
    coil_images = draw_complex((2, 3, 5, 4), draw)
    theirs = fastmri.rss_complex(torch.view_as_real(coil_images), dim=1)
    torch.testing.assert_close(arrays.rss(coil_images), theirs)


def test_wrapping_keeps_the_point_on_the_circle(draw):
    phase = 100 * (torch.rand(10_000, generator=draw, dtype=torch.float64) - 0.5)
    torch.testing.assert_close(
        arrays.wrap(phase), torch.polar(torch.ones_like(phase), phase).angle(), rtol=0, atol=1e-12
    )


def test_both_ends_of_the_circle_are_plus_pi():
    for dtype in (torch.float32, torch.float64):
        ends = torch.tensor([-torch.pi, torch.pi], dtype=dtype)
        torch.testing.assert_close(arrays.wrap(ends), ends.abs(), rtol=0, atol=0)
    assert arrays.wrap(torch.tensor(0.0)) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wrapped_phase_never_leaves_the_circle(dtype):
    ends = torch.arange(-21, 22, dtype=torch.float64).mul(torch.pi).to(dtype)
    near = [torch.nextafter(ends, ends + sign) for sign in (-1, 1)]
    wrapped = arrays.wrap(torch.cat([ends, *near]))
    pi = torch.tensor(torch.pi, dtype=dtype)
    assert wrapped.min() > -pi
    assert wrapped.max() <= pi


def test_grids_that_differ_are_named_with_their_sizes():
    arrays.require_same_grid(magnitude=torch.zeros(4, 5), maps=torch.zeros(8, 4, 5))
    with pytest.raises(ValueError, match=r"magnitude 4x5, maps 5x4.*crop_or_pad.*resample"):
        arrays.require_same_grid(magnitude=torch.zeros(4, 5), maps=torch.zeros(8, 5, 4))


def test_nan_and_inf_are_counted():
    arrays.require_finite("phase", torch.zeros(3))
    arrays.require_finite("k-space", torch.zeros(3, dtype=torch.complex64))
    bad = torch.tensor([0.0, float("nan"), float("inf"), -float("inf")])
    with pytest.raises(ValueError, match=r"phase holds 3 NaN or Inf of 4 values.*Export"):
        arrays.require_finite("phase", bad)


def test_large_numbers_whose_sum_is_not_finite_pass():
    arrays.require_finite("k-space", torch.full((3,), 3e38))


def test_a_complex_number_with_two_bad_parts_is_one_bad_value():
    bad = torch.tensor([1j, complex("nan+nanj")])
    with pytest.raises(ValueError, match="k-space holds 1 NaN or Inf of 2 values"):
        arrays.require_finite("k-space", bad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_least_squares_are_numpys(dtype, draw):
    y, x = (torch.linspace(-1, 1, n, dtype=dtype) for n in (45, 38))
    grid = torch.meshgrid(y, x, indexing="ij")
    columns = torch.stack(
        [(grid[0] ** i * grid[1] ** j).flatten() for i in (0, 1, 2) for j in (0, 1)], 1
    )
    values = torch.randn(len(columns), generator=draw, dtype=dtype)
    expected = np.linalg.lstsq(columns.double().numpy(), values.double().numpy(), rcond=None)[0]
    np.testing.assert_allclose(arrays.least_squares(columns, values), expected, rtol=1e-10)


def test_least_squares_take_the_shortest_where_columns_leave_a_choice(draw):
    columns = torch.randn(31, 4, generator=draw, dtype=torch.float64)
    columns[:, 3] = columns[:, 0] - 2 * columns[:, 1]
    values = torch.randn(31, generator=draw, dtype=torch.float64)
    expected = np.linalg.lstsq(columns.numpy(), values.numpy(), rcond=None)[0]
    np.testing.assert_allclose(arrays.least_squares(columns, values), expected, rtol=1e-8)
    assert not arrays.least_squares(torch.zeros(7, 3), torch.ones(7)).any()
