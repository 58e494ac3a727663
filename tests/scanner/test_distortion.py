"""Displacement off resonance against Fourier sums over the readout."""

import math

import torch

from synthlib.scanner.distortion import displace


def field(n, nx=5):
    y = torch.arange(n)[:, None] / n
    return 1.8 * torch.sin(2 * math.pi * y + torch.linspace(0, 2, nx))


def test_a_constant_field_moves_a_smooth_image_and_whole_samples_exactly():
    image = torch.randn(2, 31, 5, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    found = displace(image, torch.full((31, 5), 3.0))
    torch.testing.assert_close(found[:, 3:], image[:, :-3])
    assert torch.equal(displace(image, torch.zeros(31, 5)), image)


def test_an_image_is_what_a_readout_of_spins_off_resonance_gives():
    """Every spin adds exp(-2 pi i k (y + d(y)) / n); many spins a sample, then the inverse sum."""
    n, finer = 96, 8
    away = field(n)
    place = (torch.arange(finer * n, dtype=torch.float64) / finer - n // 2)[:, None]
    spins = torch.exp(-((place + 11) ** 2) / 200) + 0.7 * torch.exp(-((place - 14) ** 2) / 60)
    spins = spins * torch.polar(torch.ones_like(place), 0.05 * place)
    moved = place + 1.8 * torch.sin(
        2 * math.pi * (place + n // 2) / n + torch.linspace(0, 2, 5).double()
    )
    k = torch.arange(n, dtype=torch.float64) - n // 2
    waves = torch.polar(
        torch.ones(n, finer * n, 5, dtype=torch.float64),
        -2 * math.pi * k[:, None, None] * moved / n,
    )
    signal = (waves * spins).sum(1) / finer  # (k, x)
    back = torch.polar(torch.ones(n, n, dtype=torch.float64), 2 * math.pi * k[:, None] * k / n)
    expected = (back @ signal) / n
    found = displace(spins[::finer].expand(n, 5).to(torch.complex64), away)
    error = (found - expected).abs()
    undisturbed = (spins[::finer] - expected).abs()
    assert undisturbed.max() > 0.1
    assert error.max() < 0.01


def test_the_sum_of_a_column_stays():
    y = torch.arange(80)[:, None] - 40.0
    image = torch.exp(-(y**2) / 150).expand(80, 5).to(torch.complex64)
    found = displace(image, field(80))
    torch.testing.assert_close(found.sum(0), image.sum(0), rtol=2e-3, atol=0)
    assert (found - image).abs().max() > 0.05


def test_nothing_blows_up_where_the_image_folds():
    image = torch.ones(40, 5, dtype=torch.complex64)
    steep = 30 * torch.sin(torch.arange(40.0))[:, None].expand(40, 5)
    assert displace(image, steep).abs().max() < 10
