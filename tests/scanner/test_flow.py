"""Moving blood against spins followed one by one."""

import math

import pytest
import torch

from synthlib.scanner import contrast, echoes, flow
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


def test_large_veins_of_the_midline_flow_backwards_and_arteries_of_the_neck_upwards():
    down_the_neck = torch.tensor([[20.0, -5.0, -90.0], [-22.0, 8.0, -70.0], [0.0, -20.0, -60.0]])
    midline = torch.tensor([[0.0, 50.0, 40.0], [2.0, -20.0, 80.0], [-1.0, -70.0, -5.0]])
    for seed in range(5):
        draw = flow.draw_flow(torch.Generator().manual_seed(seed))
        assert draw.course(flow.SYSTEMS.index("blood"), midline)[:, 1].max() < -0.5
        assert draw.course(flow.SYSTEMS.index("artery"), down_the_neck)[:, 2].min() > 0.5


def test_courses_are_unit_vectors_that_turn_slowly():
    draw = flow.draw_flow(torch.Generator().manual_seed(5))
    points = torch.stack([torch.linspace(-80, 80, 161), torch.zeros(161), torch.zeros(161)], -1)
    for system in range(len(flow.SYSTEMS)):
        course = draw.course(system, points)
        torch.testing.assert_close(course.norm(dim=-1), torch.ones(161))
        assert (course[1:] * course[:-1]).sum(-1).median() > 0.95  # of a millimetre
    assert draw.peak_m_per_s[1] > draw.peak_m_per_s[0] > 0.05


def test_fluid_moves_a_few_millimetres_a_second_to_and_fro():
    speeds = torch.tensor(
        [
            float(flow.draw_flow(torch.Generator().manual_seed(seed)).peak_m_per_s[2])
            for seed in range(200)
        ]
    )
    assert speeds.mean().abs() < 0.004 and 0.009 < speeds.std() < 0.018
    slow, fast = flow.fluid_speed(torch.tensor([0.0, contrast.MOST_INFLOW]))
    assert float(slow) == pytest.approx(0.3) and float(fast) == pytest.approx(1)
