"""Echo trains against sums over their echoes, refocusing against rotations of spins."""

import math
from dataclasses import replace

import pytest
import torch

from synthlib.scanner import echoes
from synthlib.scanner.contrast import PROTOCOLS, Protocol, draw_shading

TRAIN = Protocol(tr_ms=4000.0, te_ms=50.0, train=9, spacing_ms=10.0)


def test_the_echo_at_te_measures_the_centre_and_bands_follow_each_other():
    number = echoes.echo_numbers(81, TRAIN)
    assert number[40] == 5
    assert number[[0, -1]].tolist() == [1, 9]
    assert (number.diff() >= 0).all()
    assert torch.bincount(number)[1:].tolist() == [9] * 9
    late = Protocol(tr_ms=4000.0, te_ms=80.0, train=9, spacing_ms=10.0)
    assert echoes.echo_numbers(80, late).max() == 9  # no echo after the last


def test_columns_decay_with_t2_from_the_echo_at_te():
    weight = echoes.decay(81, TRAIN, 70.0)
    assert weight[40] == 1
    assert float(weight[0]) == pytest.approx(math.exp(40 / 70))
    assert float(weight[-1]) == pytest.approx(math.exp(-40 / 70))
    assert torch.equal(echoes.decay(81, TRAIN, math.inf), torch.ones(81))


@pytest.mark.parametrize("n", [44, 45])
def test_an_image_is_the_sum_of_what_each_echo_measures(n):
    """Every echo's own lines by a direct Fourier sum, with its decay and its eddy currents."""
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, n, generator=draw, dtype=torch.complex128)
    difference = torch.linspace(-0.4, 0.9, 3 * n, dtype=torch.float64).reshape(3, n)
    found = echoes.through_train(images, (60.0, 900.0), TRAIN, difference)
    place = torch.arange(n, dtype=torch.float64) - n // 2
    number = echoes.echo_numbers(n, TRAIN).tolist()
    expected = torch.zeros(3, n, dtype=torch.complex128)
    for index, k in enumerate(place):
        echo = number[index]
        turned = images * torch.polar(torch.ones_like(difference), difference * ((echo - 5) % 2))
        wave = torch.polar(torch.ones_like(place), 2 * math.pi * k * place / n)
        for image, t2 in zip(turned, (60.0, 900.0), strict=True):
            sample = (image * wave.conj()).sum(-1, keepdim=True) / n
            expected += sample * math.exp(-(10 * echo - 50) / t2) * wave
    torch.testing.assert_close(found.to(torch.complex128), expected, atol=1e-5, rtol=0)


def test_fluid_keeps_its_edges_where_muscle_loses_them():
    """Over many echoes short T2 takes the outer lines on one side: a wider point."""
    point = torch.zeros(1, 1, 81, dtype=torch.complex64)
    point[..., 40] = 1.0
    width = []
    for t2 in (1e6, 30.0):
        spread = echoes.through_train(point, (t2,), TRAIN, None)[0].abs().square()
        width.append(float(spread[40] / spread.sum()))
    assert width[0] == pytest.approx(1, abs=1e-3)
    assert width[1] < 0.7


@pytest.mark.parametrize("flip_deg", [180.0, 150.0, 110.0, 210.0])
def test_what_a_pulse_does_not_refocus_follows_from_the_rotation(flip_deg, monkeypatch):
    """About x by b: the transverse spin (1, i y) keeps cos^2(b/2) of its sense of rotation."""
    b = math.radians(flip_deg)
    # M+ = cos^2(b/2) M+ + sin^2(b/2) conj(M+), from the rotation of x (kept) and y (times cos b)
    kept = []
    for angle in torch.linspace(0, 2 * math.pi, 9)[:-1].tolist():
        after = complex(math.cos(angle), math.cos(b) * math.sin(angle))
        kept.append(after * complex(math.cos(angle), -math.sin(angle)))
    share = sum(kept).real / len(
        kept
    )  # what turns with the spin averages; what is refocused does not

    shading = draw_shading(3.0, torch.Generator().manual_seed(1))
    monkeypatch.setattr(type(shading), "at", lambda self, points: relative[: len(points)])
    relative = torch.tensor([1.0])
    place = torch.tensor([1 + (flip_deg / 180 - 1) / echoes.B1_BY_SHADING])
    calls = iter([relative, place])
    monkeypatch.setattr(type(shading), "at", lambda self, points: next(calls))
    found = echoes.unrefocused_share(shading, torch.zeros(1, 3))
    assert float(found) == pytest.approx(share, abs=1e-6)


def test_refocusing_is_right_at_the_isocentre_and_worse_at_the_rim():
    shading = draw_shading(3.0, torch.Generator().manual_seed(4))
    shading = type(shading)(shading.height, torch.zeros(3))
    points = torch.tensor([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [0.0, 80.0, 0.0]])
    share = echoes.unrefocused_share(shading, points)
    assert share[0] == pytest.approx(0, abs=1e-6)
    assert 0.01 < share[1] < share[2] < 0.3


def test_what_is_left_of_it_is_little_wherever_a_body_can_be():
    share = torch.linspace(0, 1, 41)
    for field_hz in (0.0, -60.0, 35.0):
        echo = echoes.refocusing(share, torch.full_like(share, field_hz), PROTOCOLS["AXT1"])
        assert (echo - 1).abs().max() <= 2 * echoes.UNCRUSHED + 1e-6
        assert echo.angle().abs().max() < 0.21
    assert complex(echo[0]) == 1


def test_what_is_not_refocused_turns_by_the_field_for_te_or_between_echoes(monkeypatch):
    monkeypatch.setattr(echoes, "UNCRUSHED", 1.0)
    share, field = torch.tensor([0.0, 0.2, 0.2]), torch.tensor([70.0, 0.0, 25.0])
    slow_train = replace(PROTOCOLS["AXT2"], spacing_ms=12.5)
    single, train = (echoes.refocusing(share, field, p) for p in (PROTOCOLS["AXT1"], slow_train))
    # by what is refocused: shading has the strength of the echo itself
    assert single[:2].tolist() == [1, 1.25]
    # a quarter of a turn in a TE of 10 ms: tan = 0.2 / 0.8
    assert float(single[2].angle()) == pytest.approx(math.atan(0.25), abs=1e-5)
    turn = 2 * math.pi * 25 * 0.0125  # in 12.5 ms, from echo to echo
    expected = (0.8 + 0.2 * complex(math.cos(turn), math.sin(turn))) / 0.8
    assert complex(train[2]) == pytest.approx(expected, abs=1e-5)


def test_a_train_measures_a_line_of_every_band_in_each_shot():
    """An excitation after the other, a loop as a scanner runs it: who is measured when."""
    protocol = Protocol(tr_ms=1000.0, te_ms=20.0, train=3, spacing_ms=10.0)
    number = echoes.echo_numbers(7, protocol).tolist()
    waiting = {echo: [i for i in range(7) if number[i] == echo] for echo in (1, 2, 3)}
    expected = [0.0] * 7
    for shot in range(7):
        for echo, columns in waiting.items():
            if columns:
                expected[columns.pop(0)] = 1000.0 * shot + 10.0 * echo
    found = echoes.line_times_ms(7, protocol, 5.0)
    assert found.tolist() == expected
    # neighbours at the centre of k-space are of one band, measured a TR apart
    assert abs(found[3] - found[2]) == 1000
    steps = echoes.line_times_ms(256, PROTOCOLS["AXT2"], 5.0).diff().abs()
    assert steps[123:133].max() == PROTOCOLS["AXT2"].tr_ms


@pytest.mark.parametrize("n_lines", [96, 128, 230, 255, 256, 320])
@pytest.mark.parametrize("name", ["AXT2", "AXFLAIR"])
def test_a_train_takes_no_more_shots_than_it_must_and_measures_the_centre_at_te(n_lines, name):
    protocol = PROTOCOLS[name]
    number = echoes.echo_numbers(n_lines, protocol)
    assert number.bincount().max() == math.ceil(n_lines / protocol.train)
    assert (number.diff() >= 0).all()  # decay falls from one end of k-space to the other
    assert number[n_lines // 2] * protocol.spacing_ms == protocol.te_ms
    near = number[n_lines // 2 - 2 : n_lines // 2 + 3]
    assert (near == near[0]).all()


def test_a_slab_measures_all_partitions_of_a_column_before_the_next():
    slab = Protocol(tr_ms=10.0, te_ms=4.0, flip_deg=12.0, slab_mm=150.0)
    assert echoes.line_times_ms(4, slab, 1.5).tolist() == [0, 1000, 2000, 3000]
    assert echoes.line_times_ms(3, PROTOCOLS["AXMPRAGE"], 1.0).tolist() == [0, 2530, 5060]
    assert echoes.line_times_ms(3, PROTOCOLS["AXT1"], 5.0).tolist() == [0, 600, 1200]


@pytest.mark.parametrize("n_lines", [230, 255, 256])
def test_beyond_the_first_echoes_of_a_long_train_come_the_last(n_lines):
    number = echoes.echo_numbers(n_lines, PROTOCOLS["AXT2LONG"])
    assert number[n_lines // 2] == 10
    falls = (number.diff() < 0).nonzero()
    assert len(falls) == 1  # from the last echo to the first
    first = int(falls[0]) + 1
    assert (number[first - 1], number[first]) == (33, 1)
    # nine and a half of thirty-three bands lie between the first echo's and the centre
    assert (n_lines // 2 - first) / n_lines == pytest.approx(9.5 / 33, abs=1.5 / n_lines)
    assert sorted(number.unique().tolist()) == list(range(1, 34))
