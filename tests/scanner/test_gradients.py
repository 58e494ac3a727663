"""Phase of the gradients against Maxwell's equations and integrals over their lobes."""

import math

import pytest
import torch

from synthlib.scanner import gradients
from synthlib.scanner.contrast import PROTOCOLS, Protocol


@pytest.mark.parametrize("field_t", [1.5, 3.0])
def test_concomitant_field_is_the_length_of_the_field_vector_less_its_linear_part(field_t):
    """B = (Gx z - Gz x / 2, Gy z - Gz y / 2, B0 + G r) has neither sources nor curl."""
    draw = torch.Generator().manual_seed(3)
    points = 200 * torch.rand(50, 3, generator=draw, dtype=torch.float64) - 100
    for gradient in ([0.0, 0.0, 0.03], [0.02, 0.0, 0.0], [0.011, -0.02, 0.017]):
        gx, gy, gz = gradient
        x, y, z = (points / 1000).unbind(-1)
        along = field_t + gx * x + gy * y + gz * z
        field = torch.stack([gx * z - gz * x / 2, gy * z - gz * y / 2, along])
        expected = 42.577e6 * (field.norm(dim=0) - along)
        found = gradients.concomitant_hz(torch.tensor(gradient), points, field_t)
        assert expected.max() > 1
        torch.testing.assert_close(found, expected, rtol=0.005, atol=1e-3)  # third order is left


def test_a_slice_gradient_gives_a_parabola_across_the_field_and_a_readout_one_along_it():
    points = torch.tensor([[60.0, 80.0, 0.0], [0.0, 0.0, 50.0]])
    along_z = gradients.concomitant_hz(torch.tensor([0.0, 0.0, 0.01]), points, 1.5)
    along_y = gradients.concomitant_hz(torch.tensor([0.0, 0.01, 0.0]), points, 1.5)
    assert along_z[0] == pytest.approx(42.577e6 * 1e-4 * 0.01 / (8 * 1.5), rel=1e-5)
    assert along_y[1] == pytest.approx(42.577e6 * 1e-4 * 0.0025 / (2 * 1.5), rel=1e-5)
    assert along_z[1] == 0 and along_y[0] == 0


def test_concomitant_phase_doubles_at_half_the_field_and_is_the_same_on_both_sides():
    points = torch.tensor([[70.0, -30.0, 40.0], [-70.0, 30.0, -40.0]])
    low, high = (
        gradients.concomitant_phase(PROTOCOLS["AXT1"], "axial", b0, 230.0, 5.0, 256, points)
        for b0 in (1.5, 3.0)
    )
    torch.testing.assert_close(low, 2 * high)
    torch.testing.assert_close(low[0], low[1])
    assert 0.05 < low[0] < 0.6


def test_first_moments_are_the_integral_of_gradient_times_time_over_the_lobes():
    protocol = Protocol(tr_ms=30.0, te_ms=5.0, flip_deg=20.0, bandwidth_khz=64.0)
    fov_mm, thickness_mm, rows = 240.0, 4.0, 192
    step_s = 1e-7
    half_s = rows / 64e3 / 2
    time = (torch.arange(round(2 * half_s / step_s), dtype=torch.float64) + 0.5) * step_s
    strength = 64e3 / (42.577e6 * 0.240)  # T/m: bandwidth over the field of view
    lobes = torch.where(time < half_s, -strength, strength)
    assert float(lobes.sum().abs()) * step_s < 1e-9  # an echo
    expected = 2 * math.pi * 42.577e6 * float((lobes * time).sum()) * step_s
    read, across = gradients.first_moments(protocol, fov_mm, thickness_mm, rows)
    assert read == pytest.approx(expected, rel=1e-4)
    assert 1 < read < 20 and across < 0  # rad per m/s


def test_the_readout_of_a_spin_echo_turns_what_moves_by_its_prephasing_an_echo_before():
    """Prephasing after the excitation, inverted by the 180, and half the readout, in steps."""
    protocol = Protocol(tr_ms=600.0, te_ms=12.0, bandwidth_khz=64.0)
    fov_mm, rows, step_s = 220.0, 176, 1e-7
    half_s, prephasing_s = rows / 64e3 / 2, gradients.PREPHASING_MS / 1000
    strength = 64e3 / (42.577e6 * 0.220)
    time = (torch.arange(round(12e-3 / step_s), dtype=torch.float64) + 0.5) * step_s
    early = (time >= 1.5e-3) & (time < 1.5e-3 + prephasing_s)
    lobes = torch.where(time >= 12e-3 - half_s, strength, 0.0)
    lobes = lobes - early * strength * half_s / prephasing_s
    assert float(lobes.sum().abs()) * step_s < 1e-8  # an echo
    expected = 2 * math.pi * 42.577e6 * float((lobes * time).sum()) * step_s
    read, _ = gradients.first_moments(protocol, fov_mm, 5.0, rows)
    assert read == pytest.approx(expected, rel=1e-3)


def test_a_moving_spin_passes_the_slice_and_the_crushers_of_a_spin_echo():
    """The lobes along the slice, those before the refocusing pulse turned over, in steps."""
    step_s = 1e-7
    pulse_s, crusher_s = 1.5e-3, gradients.CRUSHER_MS / 1000
    time = (torch.arange(round(14e-3 / step_s), dtype=torch.float64) + 0.5) * step_s
    half_turn = 8e-3  # the middle of the refocusing pulse, which lasts 3 ms

    def lobe(start, length, strength):
        return strength * ((time >= start) & (time < start + length))

    selection = 4 / 3e-3 / (42.577e6 * 0.005)  # T/m
    gradient = lobe(0, pulse_s, selection) + lobe(pulse_s, pulse_s, -selection)
    gradient += lobe(half_turn - pulse_s, 2 * pulse_s, selection)
    for start in (half_turn - pulse_s - crusher_s, half_turn + pulse_s):
        gradient += lobe(start, crusher_s, gradients.CRUSHER_T_PER_M)
    gradient = torch.where(time < half_turn, -gradient, gradient)
    assert abs(float(gradient.sum())) * step_s < 1e-9  # an echo
    expected = 2 * math.pi * 42.577e6 * float((gradient * time).sum()) * step_s
    _, across = gradients.first_moments(Protocol(tr_ms=600.0, te_ms=16.0), 230.0, 5.0, 256)
    assert across == pytest.approx(expected, rel=1e-3)
    assert across > 25  # rad per m/s


def test_flow_compensation_leaves_no_moment_and_even_echoes_half_of_it():
    single = Protocol(tr_ms=600.0, te_ms=10.0)
    train = Protocol(tr_ms=600.0, te_ms=10.0, train=8, spacing_ms=10.0)
    compensated = Protocol(tr_ms=600.0, te_ms=10.0, flip_deg=20.0, flow_compensated=True)
    alone = gradients.first_moments(single, 230.0, 5.0, 256)
    assert gradients.first_moments(compensated, 230.0, 5.0, 256) == (0, 0)
    assert gradients.first_moments(train, 230.0, 5.0, 256)[0] == pytest.approx(alone[0] / 2)


def test_eddy_currents_are_of_second_order_asymmetric_and_differ_between_echoes():
    eddies = gradients.draw_eddy_currents(torch.Generator().manual_seed(2))
    steps = torch.arange(-5.0, 6.0) * 10
    line = torch.stack([steps, 0.7 * steps, -0.4 * steps], -1)
    phase = eddies.at(line)
    assert phase.diff(n=3).abs().max() < 1e-4
    assert phase.diff(n=2).abs().min() > 1e-4
    assert (phase - phase.flip(0)).abs().max() > 0.05
    sizes = torch.stack(
        [
            gradients.draw_eddy_currents(torch.Generator().manual_seed(seed)).linear
            for seed in range(60)
        ]
    )
    assert 0.2 < sizes[:, 1].std() / sizes[:, 0].std() < 0.5
