"""Where a head is: ellipses whose place and size are known."""

import pytest
import torch

from synthlib import bank


def ellipse(shape, centre, half, hole=0.0):
    """1 within an ellipse, 0 in the middle `hole` share of it and outside; noise of 0.02."""
    y, x = (torch.arange(n, dtype=torch.float32) for n in shape)
    radius = (
        ((y[:, None] - centre[0]) / half[0]).square() + ((x - centre[1]) / half[1]).square()
    ).sqrt()
    image = ((radius <= 1) & (radius >= hole)).float()
    noise = torch.randn(2, *shape, generator=torch.Generator().manual_seed(3))
    return torch.hypot(image + 0.02 * noise[0], 0.02 * noise[1])


@pytest.mark.parametrize("shape", [(61, 47), (256, 201), (128, 128)])
def test_centre_and_half_axes_are_found_within_a_cell(shape):
    ny, nx = shape
    centre, half = (0.53 * ny, 0.46 * nx), (0.36 * ny, 0.31 * nx)
    found = bank.outline(ellipse(shape, centre, half)[None])
    cell = max(1, max(shape) / 64)
    assert found.centre[0].tolist() == pytest.approx(centre, abs=0.6 * cell)
    assert found.half[0].tolist() == pytest.approx(half, abs=0.8 * cell)
    area = torch.pi * half[0] * half[1]
    assert float(found.area[0]) == pytest.approx(area, rel=0.08)


def test_what_is_dark_inside_belongs_to_the_head():
    image = ellipse((90, 71), (45, 35), (33, 26), hole=0.6)
    found = bank.outline(image[None])
    assert bool(found.mask[0, 45, 35])
    assert float(found.mask.sum()) == pytest.approx(torch.pi * 33 * 26, rel=0.08)


def test_a_bright_spot_in_air_is_not_the_head():
    image = ellipse((90, 71), (45, 35), (30, 22))
    image[2:5, 2:5] = 1
    found = bank.outline(image[None])
    assert found.centre[0].tolist() == pytest.approx((45, 35), abs=1.2)
    assert not found.mask[0, :8, :8].any()


def test_a_slice_without_a_head_takes_its_neighbours_outline():
    slices = torch.stack(
        [
            ellipse((61, 47), (30, 23), (20, 15)),
            ellipse((61, 47), (30, 23), (26, 18)),
            0.02 * torch.rand(61, 47, generator=torch.Generator().manual_seed(1)),
        ]
    )
    found = bank.outline(slices)
    assert float(found.area[2]) == 0
    assert torch.equal(found.half[2], found.half[1])
    assert found.widest == 1


def test_an_image_of_nothing_gives_the_field_of_view():
    found = bank.outline(torch.zeros(1, 31, 27))
    assert float(found.area[0]) == 0
    assert found.half[0].tolist() == [15.5, 13.5]
    assert found.centre[0].tolist() == [15.0, 13.0]
