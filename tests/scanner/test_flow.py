"""Moving blood against spins followed one by one."""

import math

import pytest
import torch

from synthlib.scanner import anatomy, contrast, echoes, flow
from synthlib.scanner.contrast import Protocol
from synthlib.scanner.echoes import from_lines, lines
from synthlib.scanner.lines import ghosts


@pytest.mark.parametrize("peak", [0.3, 2.5, 5.0, 7.5])
def test_a_vessel_has_the_mean_signal_of_a_laminar_flow(peak):
    radius = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    angle = peak * (1 - radius**2)  # a parabola of speeds over a round vessel
    expected = (torch.polar(2 * radius, angle)).mean()
    found = flow.laminar(torch.tensor(peak, dtype=torch.float64))
    assert abs(complex(found) - complex(expected)) < 1e-6
    backwards = flow.laminar(torch.tensor(-peak, dtype=torch.float64))
    assert abs(complex(backwards) - complex(expected).conjugate()) < 1e-6


@pytest.mark.parametrize("speed", [0.0001, 0.02, 0.11, 0.4, 3.0])
def test_inflowing_blood_is_as_bright_as_spins_that_enter_one_by_one(speed):
    protocol = Protocol(tr_ms=30.0, te_ms=5.0, flip_deg=25.0)
    t1, slice_mm = 1600.0, 5.0
    e1, cos = math.exp(-30 / t1), math.cos(math.radians(25))
    depth = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000 * slice_mm
    pulses = (depth / (speed * 30.0)).floor()  # seen before by blood at this depth
    magnetisation = torch.ones_like(depth)
    for n in range(min(500, int(pulses.max()) + 1)):
        magnetisation = torch.where(pulses > n, magnetisation * cos * e1 + 1 - e1, magnetisation)
    steady = (1 - e1) / (1 - cos * e1)
    found = flow.inflow_gain(protocol, t1, torch.tensor(speed), slice_mm)
    assert float(found) == pytest.approx(float(magnetisation.mean()) / steady, rel=0.01)


def test_only_gradient_echoes_without_inversion_show_inflow():
    speed = torch.tensor([0.0, 0.2])
    spin_echo = Protocol(tr_ms=500.0, te_ms=10.0)
    assert torch.equal(flow.inflow_gain(spin_echo, 1600.0, speed, 5.0), torch.ones(2))
    fast = Protocol(tr_ms=20.0, te_ms=5.0, flip_deg=25.0)
    resting, moving = flow.inflow_gain(fast, 1600.0, speed, 5.0)
    assert resting == pytest.approx(1, abs=1e-2)
    assert moving > 3


def test_ghosts_lie_where_tr_heart_rate_and_lines_put_them():
    """Ten beats in 100 lines: ghosts ten pixels on either side, half the modulation high."""
    draw = flow.draw_flow(torch.Generator().manual_seed(1))
    beat = flow.Flow(**(vars(draw) | {"beats_per_s": 0.2, "start_rad": 0.4}))
    protocol = Protocol(tr_ms=500.0, te_ms=10.0)
    modulation = flow.pulsation(beat, echoes.line_times_ms(100, protocol, 5.0))
    vessel = torch.zeros(1, 7, 100, dtype=torch.complex64)
    vessel[0, 3, 42] = 1.0
    maps = torch.ones(1, 2, 7, 100, dtype=torch.complex64)
    maps[:, 1] = 0.5j
    added = ghosts(vessel, maps, modulation)
    expected = torch.zeros(100)
    expected[[32, 52]] = 0.5
    torch.testing.assert_close(added[0, 0, 3].abs(), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(added[0, 1], 0.5j * added[0, 0])
    assert not added[0, :, :3].any()


def test_ghosts_leave_the_mean_signal_and_add_in_every_line():
    modulation = torch.linspace(-1, 1, 9)
    image = torch.randn(1, 4, 9, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    maps = torch.ones(1, 1, 4, 9, dtype=torch.complex64)
    found = lines(image + ghosts(image, maps, modulation)[:, 0])
    torch.testing.assert_close(found, lines(image) * (1 + modulation), atol=1e-5, rtol=0)
    torch.testing.assert_close(from_lines(lines(image)), image, atol=1e-6, rtol=0)


def test_blood_that_leaves_the_slice_gives_no_echo():
    """Spins all over a slice and a vessel, those that are beyond it at the last pulse taken out."""
    protocol = Protocol(tr_ms=4000.0, te_ms=84.0, train=7, spacing_ms=12.0)
    thick, last_pulse_ms, per_m_per_s = 4.0, 78.0, 31.0
    depth = (torch.arange(700, dtype=torch.float64) + 0.5) / 700 * thick
    radius = (torch.arange(900, dtype=torch.float64) + 0.5) / 900
    for peak in (0.02, -0.05, 0.3):  # m/s
        speed = peak * (1 - radius**2)
        at_pulse = depth[:, None] + speed * last_pulse_ms
        stays = ((at_pulse > 0) & (at_pulse < thick)).double().mean(0)
        expected = (torch.polar(2 * radius * stays, speed * per_m_per_s)).mean()
        p = torch.tensor(peak, dtype=torch.float64)
        q = flow.escaped(protocol, p, thick)
        assert abs(complex(flow.laminar(p * per_m_per_s, q)) - complex(expected)) < 2e-3
    single = Protocol(tr_ms=600.0, te_ms=10.0)
    assert float(flow.escaped(single, torch.tensor(0.5), 5.0)) == pytest.approx(0.5)  # 2.5 of 5 mm
    gradient_echo = Protocol(tr_ms=20.0, te_ms=5.0, flip_deg=25.0)
    assert not flow.escaped(gradient_echo, torch.tensor([0.5, -2.0]), 5.0).any()


def test_resting_blood_keeps_its_signal():
    still = flow.laminar(torch.zeros(3), torch.zeros(3))
    torch.testing.assert_close(still, torch.ones(3, dtype=torch.complex64), atol=1e-3, rtol=0)


def head(seed: int) -> anatomy.Head:
    return anatomy.draw_head(torch.Generator().manual_seed(seed))


def in_scanner(head: anatomy.Head, where: list[tuple[float, float, float]]) -> torch.Tensor:
    """Scanner positions of template positions, by steps towards them."""
    wanted = torch.tensor(where)
    points = wanted - torch.tensor(anatomy.TEMPLATE_CENTRE_MM)
    for _ in range(30):
        points = points + 0.7 * (wanted - anatomy.to_template(head, points))
    return points


def test_named_vessels_run_their_course_on_both_sides():
    """Template positions in them, and an axis with the way that blood takes along it."""
    veins = {
        (0.0, -62.0, 1.7): (1, -1),  # straight sinus: backwards
        (-31.0, -14.0, -88.0): (2, -1),  # jugular: down
        (31.0, -14.0, -88.0): (2, -1),
        (20.0, -91.0, -14.5): (0, 1),  # transverse sinus: outwards
        (-20.0, -91.0, -14.5): (0, -1),
    }
    arteries = {
        (0.7, -11.5, -32.0): (2, 1),  # basilar: up
        (-24.7, -3.0, -90.0): (2, 1),  # carotid: up
        (25.0, 7.0, -18.2): (0, 1),  # middle cerebral: outwards
        (-25.0, 7.0, -18.2): (0, -1),
    }
    for seed in range(3):
        subject = head(seed)
        for system, places in (("blood", veins), ("artery", arteries)):
            points = in_scanner(subject, list(places))
            course, radius = anatomy.blood_course(subject, points, system)
            torch.testing.assert_close(course.norm(dim=-1), torch.ones(len(places)))
            for way, (axis, sign) in zip(course, places.values(), strict=True):
                assert sign * way[axis] > 0.6
            assert radius.min() > 1 and radius.max() < 6


def test_blood_of_the_sagittal_sinus_runs_around_the_head_from_front_to_back():
    subject = head(4)
    points = anatomy.positions((120, 120), (216.0, 216.0), torch.arange(-6.0, 7.0, 2), "sagittal")
    blood = anatomy.fractions_at(subject, points, 1.0)[anatomy.TISSUES.index("blood")]
    points = points[blood > 0.9]
    course, radius = anatomy.blood_course(subject, points, "blood")
    high = (points[:, 2] > 15) & (radius > 1.5)  # above the straight sinus
    points, course = points[high], course[high]
    assert len(points) > 80
    angle = torch.atan2(points[:, 2], -points[:, 1])  # from the occiput over the crown
    tangent = torch.stack([torch.zeros_like(angle), -angle.sin(), -angle.cos()], -1)
    follows = (course * tangent).sum(-1)
    for part in (angle < 1.0, (angle >= 1.0) & (angle < 2.0), angle >= 2.0):
        assert part.sum() > 5 and follows[part].median() > 0.8


@pytest.mark.parametrize("system", ["blood", "artery"])
def test_vessels_of_the_cortex_are_followed_by_their_course(system):
    """A step along the course stays in the vessel; one across it, in the mean, does not."""
    subject, tissue = head(7), anatomy.TISSUES.index(system)
    points = anatomy.positions((220, 180), (198.0, 162.0), torch.arange(-6.0, 45.0, 6))
    full = anatomy.fractions_at(subject, points, 0.9)[tissue] > 0.5
    vessel = points[full]
    course, radius = anatomy.blood_course(subject, vessel, system)
    thin = radius < 1.3
    vessel, course = vessel[thin], course[thin]
    assert len(vessel) > 50
    across = torch.linalg.cross(course, torch.tensor([0.36, 0.48, 0.8]).expand_as(course))
    across = torch.nn.functional.normalize(across, dim=-1)

    def held(way: torch.Tensor) -> float:
        return float(anatomy.fractions_at(subject, vessel + 1.5 * way, 0.9)[tissue].mean())

    assert held(course) > 0.65 * held(torch.zeros_like(course))
    assert held(course) > 1.8 * held(across)


def test_wide_vessels_are_faster_up_to_a_limit():
    draw = flow.draw_flow(torch.Generator().manual_seed(5))
    radius = torch.tensor([0.5, 1.0, 2.0, 9.0])
    for system, (per_mm, most) in flow.M_PER_S_PER_MM.items():
        speed = draw.peak_m_per_s(system, radius)
        assert speed[1] == pytest.approx(2 * float(speed[0]))
        assert speed[1] == pytest.approx(draw.speeds[system] * per_mm)
        assert speed[3] == pytest.approx(draw.speeds[system] * most)


def test_small_arteries_damp_the_pulse():
    draw = flow.draw_flow(torch.Generator().manual_seed(5))
    half, whole, wide = draw.arterial_share(torch.tensor([1.0, 2.0, 3.0])).tolist()
    assert whole == pytest.approx(draw.arterial) == wide
    assert half == pytest.approx(draw.arterial / 2)


def test_fluid_moves_a_few_millimetres_a_second_to_and_fro():
    speeds = torch.tensor(
        [flow.draw_flow(torch.Generator().manual_seed(s)).fluid_m_per_s for s in range(200)]
    )
    assert speeds.mean().abs() < 0.004 and 0.009 < speeds.std() < 0.018
    places = torch.tensor([[0.0, -33.0, -10.0], [25.0, -60.0, 45.0]])  # aqueduct; a sulcus
    fast, slow = flow.fluid_speed(contrast.csf_motion(places))
    assert float(slow) == pytest.approx(0.3, abs=0.01)
    assert float(fast) == pytest.approx(1, abs=0.01)
