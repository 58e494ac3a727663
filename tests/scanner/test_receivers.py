"""Loops and arrays against closed forms."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import special

from synthlib.scanner import anatomy, induction, receiver_noise, receivers
from synthlib.scanner.loops import Loops, design_of, draw_loops
from synthlib.scanner.volume import grid_points
from tests.benchmarks import receiver_noise as references


def array_on_a_ball(n_coils: int, seed: int = 3) -> receivers.Array:
    """An array around a ball of 80 mm radius and 0.5 S/m; its inner 60 mm count as brain."""
    places = grid_points((-96, -96, -96), (96, 96, 96), 12.0)
    r = places.norm(dim=-1)
    sigma, brain = 0.5 * (r < 80).float(), (r < 60).float()
    return receivers.build(n_coils, places, sigma, brain, torch.Generator().manual_seed(seed))


def round_loops(centres_mm, normals, radii_mm) -> Loops:
    return Loops(centres_mm, normals, radii_mm, radii_mm)


def head(n_coils: int, seed: int, field_t: float = 3.0) -> receivers.Array:
    """An array around an ellipsoid of a head's size on a neck, 0.5 S/m; the brain inside it."""
    places = grid_points((-96, -108, -144), (96, 108, 108), 12.0)
    out = (places / torch.tensor([78.0, 97.0, 92.0])).norm(dim=-1)
    neck = (places[..., :2] - torch.tensor([0.0, -20.0])).norm(dim=-1) < 60
    sigma = 0.5 * ((out < 1) | (neck & (places[..., 2] < -50))).float()
    rng = torch.Generator().manual_seed(seed)
    return receivers.build(n_coils, places, sigma, (out < 0.75).float(), rng, field_t)


def correlations(array: receivers.Array) -> torch.Tensor:
    """|Correlation| of the noise of any two channels."""
    sd = array.covariance.diagonal().real.sqrt()
    away = ~torch.eye(len(sd), dtype=torch.bool)
    return (array.covariance / sd / sd[:, None]).abs()[away]


def test_field_on_the_axis_of_a_loop_is_the_closed_form():
    normal = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -0.5]), dim=0)
    centre, radius = torch.tensor([10.0, -20.0, 30.0]), 50.0
    loops = round_loops(centre[None], normal[None], torch.tensor([radius]))
    z = torch.tensor([-80.0, -20.0, 0.0, 35.0, 120.0])  # mm along the axis
    field = induction.loop_field(loops, centre + z[:, None] * normal)[0]  # (point, 3)
    strength = 4e-7 * math.pi * (radius / 1e3) ** 2 / 2
    expected = strength / ((radius / 1e3) ** 2 + (z / 1e3) ** 2) ** 1.5
    torch.testing.assert_close(field @ normal, expected, rtol=1e-4, atol=0)
    across = field - (field @ normal)[:, None] * normal
    assert across.norm(dim=-1).max() < 1e-4 * expected.min()


def test_field_of_loops_is_the_curl_of_their_potential_and_has_no_sources():
    loops = draw_loops(3, torch.Generator().manual_seed(2))
    step = 2.0  # mm
    offsets = torch.cat([step * torch.eye(3), -step * torch.eye(3)])
    point = torch.tensor([12.0, 30.0, -8.0])

    def slopes(of):  # [coil, d/d axis, component] per metre
        values = of(loops, point + offsets)
        return (values[:, :3] - values[:, 3:]) / (2 * step / 1000)

    field = slopes(induction.loop_field)
    divergence = field.diagonal(dim1=1, dim2=2).sum(-1)
    assert (divergence.abs() < 1e-2 * field.abs().amax((1, 2))).all()
    d = slopes(induction.loop_potential)
    curl = torch.stack([d[:, 1, 2] - d[:, 2, 1], d[:, 2, 0] - d[:, 0, 2], d[:, 0, 1] - d[:, 1, 0]])
    found = induction.loop_field(loops, point[None])[:, 0]
    assert (curl.T - found).abs().max() < 1e-2 * found.abs().max()


def test_mutual_inductance_of_distant_coaxial_loops_is_that_of_dipoles():
    axis = torch.tensor([0.0, 0.0, 1.0])
    apart, a, b = 300.0, 20.0, 30.0
    loops = round_loops(
        torch.stack([torch.zeros(3), apart * axis]), torch.stack([axis, axis]), torch.tensor([a, b])
    )
    found = induction.mutual_inductance(loops)
    # flux of one loop's on-axis field through the other, both small beside the distance
    reach = ((a / 1e3) ** 2 + (apart / 1e3) ** 2) ** 1.5
    expected = 4e-7 * math.pi * math.pi * (a / 1e3) ** 2 * (b / 1e3) ** 2 / (2 * reach)
    assert found[0, 1] == pytest.approx(expected, rel=0.02)
    torch.testing.assert_close(found, found.T)
    assert found[0, 0] > 10 * found[0, 1]


def test_field_in_the_middle_of_an_ellipse_is_that_of_its_perimeter():
    # on the axis of an ellipse, at its centre: mu0 I / (4 pi) times the integral of ab dt / r^3
    a, b = 40.0, 90.0
    loops = Loops(
        torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([a]), torch.tensor([b])
    )
    field = induction.loop_field(loops, torch.zeros(1, 3))[0, 0]
    t = torch.linspace(0, 2 * math.pi, 100001, dtype=torch.float64)[:-1]
    r = torch.hypot(a * t.cos(), b * t.sin()) / 1000
    expected = 1e-7 * (a * b * 1e-6 / r**3).mean() * 2 * math.pi
    assert field[0] == pytest.approx(float(expected), rel=2e-3)
    assert field[1:].abs().max() < 1e-5 * field[0]
    assert loops.circumferences_mm()[0] == pytest.approx(  # Ramanujan's second approximation
        math.pi * (a + b) * (1 + 3 * (h := ((a - b) / (a + b)) ** 2) / (10 + math.sqrt(4 - 3 * h))),
        rel=1e-3,
    )


def test_a_tall_loop_is_tall_along_the_body():
    loops = draw_loops(6, torch.Generator().manual_seed(1))
    wire, _ = loops.wires()
    reach = 1000 * (wire.amax(1) - wire.amin(1))
    torch.testing.assert_close(reach[:, 2], 2 * loops.heights_mm, rtol=0.01, atol=0)
    assert (loops.heights_mm > 1.1 * loops.radii_mm).all()


@pytest.mark.parametrize("n_coils", [2, 4, 8, 12, 16, 20, 24, 32, 34])
def test_any_number_of_coils_surrounds_the_head(n_coils):
    loops = draw_loops(n_coils, torch.Generator().manual_seed(n_coils))
    assert loops.centres_mm.shape == (n_coils, 3)
    assert ((loops.centres_mm / torch.tensor([85.0, 105.0, 110.0])).norm(dim=-1) > 1).all()
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
    field = induction.loop_field(array.loops, points)
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
    array = head(n_coils, seed=n_coils)
    covariance = array.covariance
    torch.testing.assert_close(covariance, covariance.mH)
    assert torch.linalg.eigvalsh(covariance.to(torch.complex128)).min() > 0
    assert covariance.diagonal().real.mean() == pytest.approx(1, abs=1e-5)
    correlation = correlations(array)
    assert 0.02 < correlation.mean() < 0.45
    assert 0.1 < correlation.max() < 0.6
    assert covariance.imag.abs().max() > 0.01  # coupling turns it


def test_an_array_around_a_trunk_has_the_noise_of_a_measured_one():
    # the scan is of a hip, not a head: 18 channels above it, 16 in the table
    expected = references.MEASURED["hip, 34 channels"]
    rows = [references.statistics(references.trunk_covariance(seed)) for seed in range(4)]
    median, high, largest, ratio = torch.tensor(rows).mean(0).tolist()
    assert median == pytest.approx(expected[0], abs=0.01)
    assert high == pytest.approx(expected[1], abs=0.03)
    assert largest == pytest.approx(expected[2], abs=0.05)
    assert ratio == pytest.approx(expected[3], abs=0.2)


def test_eight_channels_on_a_head_at_half_the_field_have_the_noise_of_measured_ones():
    expected = references.MEASURED["head, 8 channels, air"]
    rows = [references.statistics(head(8, seed, field_t=1.5).covariance) for seed in range(4)]
    median, high, largest, ratio = torch.tensor(rows).mean(0).tolist()
    assert median == pytest.approx(expected[0], abs=0.08)
    assert high == pytest.approx(expected[1], abs=0.05)
    assert largest == pytest.approx(expected[2], abs=0.05)
    assert ratio == pytest.approx(expected[3], abs=0.2)


def test_noise_of_loops_around_a_ball_is_correlated_as_spherical_harmonics_say():
    # A of a loop on its cone of half angle alpha about a ball is a sum over l of
    # sin(alpha) P_l1(cos alpha) P_l1(cos theta) (r / R)^l / (l (l + 1)), and tangential: no
    # charges. Turned loops: P_l of the angle between their axes.
    radius, distance, half_mm = 81.0, 115.0, 38.0
    turns = torch.tensor([0.0, 35.0, 60.0, 110.0, 180.0]).deg2rad()
    normals = torch.stack([turns.sin(), torch.zeros_like(turns), turns.cos()], dim=1)
    height = math.sqrt(distance**2 - half_mm**2)
    loops = round_loops(height * normals, normals, torch.full((5,), half_mm))
    places = grid_points((-88, -88, -88), (88, 88, 88), 8.0)
    sigma = 0.6 * (places.norm(dim=-1) < radius).float()
    found = receiver_noise.body_resistance(loops, places, sigma)
    weights, degrees = [], range(1, 31)
    for degree in degrees:
        cone = half_mm / distance * special.lpmv(1, degree, height / distance)
        shell = (radius / distance) ** (2 * degree) / (2 * degree + 3)
        weights.append(cone**2 * shell / (degree * (degree + 1) * (2 * degree + 1)))
    expected = [
        sum(
            w * special.eval_legendre(degree, math.cos(turn))
            for w, degree in zip(weights, degrees, strict=True)
        )
        / sum(weights)
        for turn in turns.tolist()
    ]
    relative = found[0] / (found[0, 0] * found.diagonal()).sqrt()
    torch.testing.assert_close(relative, torch.tensor(expected).float(), rtol=0, atol=0.02)
    assert expected[-1] < -0.15  # what is opposite is not independent


def test_own_noise_counts_more_at_a_lower_field():
    high, low = (correlations(head(8, 2, field_t)).median() for field_t in (3.0, 1.5))
    # own noise by that of the body grows 2^1.5 times
    own = design_of(8).own_noise
    assert low / high == pytest.approx((1 + own) / (1 + own * 2**1.5), rel=0.05)


def test_few_tall_coils_light_the_scalp_less_than_a_helmet():
    # beside the ears, where the array is nearest
    below = torch.tensor([[78.0 - mm, 0.0, 5.0] for mm in (5.0, 20.0, 50.0)])
    below = torch.cat([below, -below])

    def light(n_coils):
        values = []
        for seed in range(4):
            array = head(n_coils, seed)
            seen = array.channels @ receivers._seen(induction.loop_field(array.loops, below))
            values.append(seen.abs().square().sum(0).sqrt().reshape(2, 3).mean(0))
        return torch.stack(values).mean(0)

    scalp, cortex, deep = light(8).tolist()
    assert 1.1 < cortex / deep < 1.6
    assert 1.3 < scalp / deep < 2.2
    assert light(32)[0] / light(32)[2] > scalp / deep


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.0, 0.6, 0.8)])
def test_a_small_ball_far_from_a_loop_has_the_currents_of_an_even_field(direction):
    # the ball lies beside the loop, not on its axis: most of the vector potential there is
    # even, and charges at the ball's surface cancel it. Currents circle about B:
    # integral of sigma (B r / 2)^2 = 2 pi sigma B^2 a^5 / 15
    a_mm, sigma = 62.0, 0.7
    places = grid_points((-70, -65, -65), (70, 65, 65), 5.0)
    inside = (places.norm(dim=-1) < a_mm).float()
    axis = torch.tensor(direction)
    beside = torch.nn.functional.normalize(
        torch.linalg.cross(axis, torch.tensor([1.0, 2.0, 2.0])), dim=0
    )
    loops = round_loops((900.0 * beside)[None], axis[None], torch.tensor([60.0]))
    found = float(receiver_noise.body_resistance(loops, places, sigma * inside)[0, 0])
    field = induction.loop_field(loops, torch.zeros(1, 3))[0, 0].norm()
    radius = (3 * inside.sum() * 0.005**3 / (4 * math.pi)) ** (1 / 3)  # of the ball's volume
    expected = 2 * math.pi * sigma * field**2 * radius**5 / 15
    assert found == pytest.approx(float(expected), rel=0.02)
    # the vector potential alone would dissipate many times as much
    alone = induction.loop_potential(loops, places[inside > 0]).square().sum() * sigma * 0.005**3
    assert alone > 10 * expected


def test_bodies_apart_add_up_and_a_body_of_insulated_halves_has_less():
    loops = draw_loops(5, torch.Generator().manual_seed(4))
    places = grid_points((-80, -70, -60), (80, 70, 60), 10.0)
    ball = 0.5 * (places.norm(dim=-1) < 75).float()
    left, right = ball * (places[..., 0] < -1), ball * (places[..., 0] > 1)
    halves = [receiver_noise.body_resistance(loops, places, half) for half in (left, right)]
    apart = receiver_noise.body_resistance(loops, places, left + right)
    torch.testing.assert_close(apart, halves[0] + halves[1], rtol=1e-3, atol=1e-3 * apart.max())
    # currents that may cross do so where it costs most power by induction
    whole = receiver_noise.body_resistance(loops, places, ball)
    assert torch.linalg.eigvalsh(whole - apart).min() > 0


def test_without_head_and_coupling_the_noise_is_the_loops_own(monkeypatch):
    monkeypatch.setattr(receiver_noise, "COUPLING", 0.0)
    design = replace(design_of(6), own_noise=1e6)
    monkeypatch.setattr("synthlib.scanner.loops.DESIGNS", ((1, design),))
    covariance = array_on_a_ball(6).covariance
    off = covariance - torch.diag(covariance.diagonal())
    assert off.abs().max() < 1e-4


def test_no_coils_is_refused():
    with pytest.raises(ValueError, match=r"0 coils .* at least 1"):
        draw_loops(0, torch.Generator())
