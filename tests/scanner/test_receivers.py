"""Loops and arrays against closed forms."""

import math

import pytest
import torch

from synthlib.scanner import anatomy, receivers
from synthlib.scanner.volume import grid_points


def array_on_a_ball(n_coils: int, seed: int = 3) -> receivers.Array:
    """An array around a ball of 80 mm radius and 0.5 S/m; its inner 60 mm count as brain."""
    places = grid_points((-96, -96, -96), (96, 96, 96), 12.0).reshape(-1, 3)
    r = places.norm(dim=-1)
    sigma, brain = 0.5 * (r < 80).float(), (r < 60).float()
    return receivers.build(n_coils, places, sigma, brain, torch.Generator().manual_seed(seed))


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


def test_field_of_loops_is_the_curl_of_their_potential_and_has_no_sources():
    loops = receivers.draw_loops(3, torch.Generator().manual_seed(2))
    step = 2.0  # mm
    offsets = torch.cat([step * torch.eye(3), -step * torch.eye(3)])
    point = torch.tensor([12.0, 30.0, -8.0])

    def slopes(of):  # [coil, d/d axis, component] per metre
        values = of(loops, point + offsets)
        return (values[:, :3] - values[:, 3:]) / (2 * step / 1000)

    field = slopes(receivers.loop_field)
    divergence = field.diagonal(dim1=1, dim2=2).sum(-1)
    assert (divergence.abs() < 1e-2 * field.abs().amax((1, 2))).all()
    d = slopes(receivers.loop_potential)
    curl = torch.stack([d[:, 1, 2] - d[:, 2, 1], d[:, 2, 0] - d[:, 0, 2], d[:, 0, 1] - d[:, 1, 0]])
    found = receivers.loop_field(loops, point[None])[:, 0]
    assert (curl.T - found).abs().max() < 1e-2 * found.abs().max()


def test_mutual_inductance_of_distant_coaxial_loops_is_that_of_dipoles():
    axis = torch.tensor([0.0, 0.0, 1.0])
    apart, a, b = 300.0, 20.0, 30.0
    loops = receivers.Loops(
        torch.stack([torch.zeros(3), apart * axis]), torch.stack([axis, axis]), torch.tensor([a, b])
    )
    found = receivers.mutual_inductance(loops)
    # flux of one loop's on-axis field through the other, both small beside the distance
    reach = ((a / 1e3) ** 2 + (apart / 1e3) ** 2) ** 1.5
    expected = 4e-7 * math.pi * math.pi * (a / 1e3) ** 2 * (b / 1e3) ** 2 / (2 * reach)
    assert found[0, 1] == pytest.approx(expected, rel=0.02)
    torch.testing.assert_close(found, found.T)
    assert found[0, 0] > 10 * found[0, 1]


@pytest.mark.parametrize("n_coils", [2, 4, 8, 12, 16, 20, 32])
def test_any_number_of_coils_surrounds_the_head(n_coils):
    loops = receivers.draw_loops(n_coils, torch.Generator().manual_seed(n_coils))
    assert loops.centres_mm.shape == (n_coils, 3)
    assert (loops.centres_mm[:, :2].norm(dim=-1) > 100).all()
    torch.testing.assert_close(loops.normals.norm(dim=-1), torch.ones(n_coils))
    apart = (loops.centres_mm[:, None] - loops.centres_mm).norm(dim=-1) + 1e3 * torch.eye(n_coils)
    assert apart.min() > 20  # no two on one place


@pytest.mark.parametrize("n_coils", [1, 4, 16])
def test_root_sum_of_squares_averages_one_over_the_brain(n_coils):
    array = array_on_a_ball(n_coils)
    points = grid_points((-60, -60, -60), (60, 60, 60), 7.0)  # (z, y, x, 3)
    maps = array.sensitivities(points)
    combined = maps.abs().square().sum(1).sqrt()
    inside = points.norm(dim=-1) < 60
    assert maps.shape == (len(points), n_coils, *points.shape[1:3])
    assert combined[inside].mean() == pytest.approx(1, abs=0.03)  # two grids, one mean


def test_splines_between_coarse_places_give_the_field_itself():
    array = array_on_a_ball(5)
    points = anatomy.positions((83, 70), (220.0, 190.0), torch.tensor([-20.0, 33.0]))
    maps = array.sensitivities(points)
    field = receivers.loop_field(array.loops, points)
    seen = torch.complex(field[..., 0], -field[..., 1])
    direct = torch.einsum("cl,lsyx->scyx", array.channels, seen)
    head = (points[..., :2] / torch.tensor([80.0, 100.0])).norm(dim=-1)[:, None] < 1
    error = ((maps - direct).abs() * head).amax()
    assert error < 2e-3 * (direct.abs() * head).amax()


def test_a_volume_coil_sees_the_whole_head_evenly():
    array = array_on_a_ball(1)
    points = grid_points((-56, -56, 0), (56, 56, 0), 8.0)[None, 0]
    seen = array.sensitivities(points)[0, 0]
    inside = points[0].norm(dim=-1) < 60
    assert seen.abs()[inside].std() < 0.2 * seen.abs()[inside].mean()
    assert array.covariance.shape == (1, 1)


@pytest.mark.parametrize("n_coils", [4, 8, 16, 32])
def test_noise_of_an_array_is_correlated_as_that_of_measured_arrays(n_coils):
    covariance = array_on_a_ball(n_coils).covariance
    torch.testing.assert_close(covariance, covariance.mH)
    assert torch.linalg.eigvalsh(covariance.to(torch.complex128)).min() > 0
    assert covariance.diagonal().real.mean() == pytest.approx(1, abs=1e-5)
    sd = covariance.diagonal().real.sqrt()
    correlation = (covariance / sd / sd[:, None]).abs() - torch.eye(n_coils)
    mean = correlation.sum() / (n_coils * (n_coils - 1))
    assert 0.02 < mean < 0.45
    assert 0.1 < correlation.max() < 0.8
    assert covariance.imag.abs().max() > 0.01  # coupling turns it


def test_without_head_and_coupling_the_noise_is_the_loops_own(monkeypatch):
    monkeypatch.setattr(receivers, "COUPLING", 0.0)
    monkeypatch.setattr(receivers, "COIL_TO_SAMPLE_NOISE", 1e6)
    covariance = array_on_a_ball(6).covariance
    off = covariance - torch.diag(covariance.diagonal())
    assert off.abs().max() < 1e-4


def test_no_coils_is_refused():
    with pytest.raises(ValueError, match=r"0 coils .* at least 1"):
        receivers.draw_loops(0, torch.Generator())
