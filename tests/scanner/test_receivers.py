"""Loops against Biot-Savart's closed forms."""

import math

import pytest
import torch

from synthlib.scanner import anatomy, receivers


def test_field_on_the_axis_of_a_loop_is_the_closed_form():
    normal = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -0.5]), dim=0)
    centre, radius = torch.tensor([10.0, -20.0, 30.0]), 50.0
    loops = receivers.Loops(centre[None], normal[None], torch.tensor([radius]))
    z = torch.tensor([-80.0, -20.0, 0.0, 35.0, 120.0])  # mm along the axis
    field = receivers.loop_field(loops, centre + z[:, None] * normal)[0]  # (point, 3)
    strength = 4e-7 * math.pi * (radius / 1e3) ** 2 / 2
    expected = strength / ((radius / 1e3) ** 2 + (z / 1e3) ** 2) ** 1.5
    torch.testing.assert_close(field @ normal, expected, rtol=1e-4, atol=0)
    across = field - (field @ normal)[:, None] * normal
    assert across.norm(dim=-1).max() < 1e-4 * expected.min()


def test_field_of_loops_has_no_sources():
    loops = receivers.draw_loops(3, torch.Generator().manual_seed(2))
    step = 2.0  # mm
    offsets = torch.cat([step * torch.eye(3), -step * torch.eye(3)])
    point = torch.tensor([12.0, 30.0, -8.0])
    field = receivers.loop_field(loops, point + offsets)  # (coil, 6, 3)
    slopes = (field[:, :3] - field[:, 3:]) / (2 * step)  # [coil, d/d axis, component]
    divergence = slopes.diagonal(dim1=1, dim2=2).sum(-1)
    assert (divergence.abs() < 1e-2 * slopes.abs().amax((1, 2))).all()


@pytest.mark.parametrize("n_coils", [1, 2, 4, 8, 12, 16, 20, 32])
def test_any_number_of_coils_surrounds_the_head(n_coils):
    loops = receivers.draw_loops(n_coils, torch.Generator().manual_seed(n_coils))
    assert loops.centres_mm.shape == (n_coils, 3)
    assert (loops.centres_mm[:, :2].norm(dim=-1) > 100).all()
    torch.testing.assert_close(loops.normals.norm(dim=-1), torch.ones(n_coils))


def test_root_sum_of_squares_averages_one_over_the_brain():
    points = anatomy.positions((25, 20), (230.0, 192.0), torch.tensor([0.0, 10.0]))
    brain = (points[..., :2].norm(dim=-1) < 70).float()
    generator = torch.Generator().manual_seed(3)
    loops = receivers.draw_loops(5, generator)
    maps = receivers.sensitivities(loops, points, brain, generator)
    assert maps.shape == (2, 5, 25, 20)
    combined = maps.abs().square().sum(1).sqrt()
    assert abs((combined * brain).sum() / brain.sum() - 1) < 1e-5


def test_no_coils_is_refused():
    with pytest.raises(ValueError, match=r"0 coils .* at least 1"):
        receivers.draw_loops(0, torch.Generator())
