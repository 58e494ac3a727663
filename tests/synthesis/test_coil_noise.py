"""How noisy an image is, and receivers' noise that makes it no noisier."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from synthlib import arrays, bank, runs, synthesis
from synthlib.synthesis import kernel

SHAPE = (90, 77)


def head_mask(n_slices=1):
    y, x = (torch.arange(n) - n // 2 for n in SHAPE)
    one = (y[:, None] / 33).square() + (x / 26).square() <= 1
    return one.expand(n_slices, *SHAPE)


def image(std, channels, signal=1.0, n_slices=3, seed=5):
    """A flat head in chi distributed noise of `channels` complex channels, its truth beside it."""
    rng = torch.Generator().manual_seed(seed)
    truth = signal * head_mask(n_slices).float()
    noise = std * torch.randn(2 * channels, n_slices, *SHAPE, generator=rng)
    noise[0] += truth
    return noise.square().sum(0).sqrt(), truth


def donor_coils(n_coils=5):
    """Smooth maps that differ, and strongly correlated noise."""
    along = torch.linspace(-bank.REACH, bank.REACH, bank.POINTS)
    v, u = along[:, None], along[None, :]
    angles = torch.arange(n_coils) * 2 * math.pi / n_coils
    maps = torch.stack(
        [
            torch.polar(1 + 0.4 * (u * a.cos() + v * a.sin()), 0.8 * u * a.sin() + 0.5 * v + a)
            for a in angles
        ]
    )
    maps = (maps / arrays.rss(maps))[None]
    rng = runs.rng(3, "covariance")
    mix = torch.randn(n_coils, n_coils, dtype=torch.complex64, generator=rng)
    covariance = mix @ mix.mH / n_coils + 0.5 * torch.eye(n_coils)
    return bank.Coils(maps, covariance / covariance.diagonal().real.mean())


def outline():
    ny, nx = SHAPE
    return bank.Outline(
        torch.tensor([[ny // 2, nx // 2]]).float(), torch.tensor([[33.0, 26.0]]),
        torch.ones(1), head_mask(),
    )  # fmt: skip


def phase():
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return 2 * x * y - 3 * y + x


def maps_at(coils, shape):
    wy, wx = bank.weights(outline(), 0, shape)
    few = coils.maps[0]
    maps = torch.complex(wy @ few.real @ wx.T, wy @ few.imag @ wx.T)
    return maps / arrays.rss(maps)


@pytest.mark.parametrize("shape", [SHAPE, (180, 77), (90, 76), (180, 78)])
def test_without_noise_it_is_the_sense_model(shape):
    size = (SHAPE[0], shape[1])
    magnitude = torch.rand(size, generator=torch.Generator().manual_seed(2))
    angle = arrays.crop_or_pad(phase(), size)
    coils = donor_coils()
    head = bank.Outline(
        outline().centre, outline().half, torch.ones(1), torch.ones((1, *size)).bool()
    )
    receiver = synthesis.Receiver(coils, head, shape)
    kspace, rss = receiver.slice(magnitude, angle, index=0, donor_slice=0)
    wy, wx = bank.weights(head, 0, shape)
    few = coils.maps[0]
    maps = torch.complex(wy @ few.real @ wx.T, wy @ few.imag @ wx.T)
    expected = synthesis.multicoil_kspace(
        arrays.crop_or_pad(magnitude, shape),
        arrays.crop_or_pad(angle, shape),
        maps / arrays.rss(maps),
    )
    torch.testing.assert_close(kspace, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rss, arrays.crop_or_pad(magnitude, shape), rtol=1e-5, atol=1e-6)


def received(magnitude, level, std, *, n=1, seed=0, coils=None, shape=SHAPE):
    """Coil images (draw, coil, y, x) of n draws of the noise."""
    receiver = synthesis.Receiver(coils or donor_coils(), outline(), shape, level=level, std=std)
    found = []
    for draw in range(n):
        number = runs.seed_for(seed, draw)
        kspace, _ = receiver.slice(magnitude, phase(), index=0, donor_slice=0, seed=number)
        found.append(arrays.ifft2c(kspace.clone()))
    return torch.stack(found)


def level_of(std, channels=1.0):
    return synthesis.NoiseLevel(std, channels, "air", 1 / std, air_std=std)


def test_the_result_has_the_snr_of_the_image():
    """Adding white noise would make it worse by sqrt 2."""
    std = 0.02
    magnitude, truth = image(std, 1, n_slices=1)
    rss = arrays.rss(received(magnitude[0], level_of(std), std, n=4))
    inside = head_mask()[0]
    assert float((magnitude[0] - truth[0])[inside].std()) == pytest.approx(std, rel=0.05)
    error = (rss - truth[0])[:, inside]
    assert float(error.std()) == pytest.approx(std, rel=0.06)
    # and it is the image's own noise, pixel by pixel
    difference = (rss - magnitude[0])[:, inside]
    assert float(difference.std()) < 0.35 * std
    assert float(difference.mean().abs()) < 0.35 * std


@pytest.mark.parametrize("measured", [True, False])
def test_measured_phase_keeps_its_noise_and_gets_no_more(measured):
    """Of a complex image both parts have the noise already: phase would lose sqrt 2 in SNR."""
    std, coils = 0.02, donor_coils()
    rng = torch.Generator().manual_seed(11)
    noise = torch.view_as_complex(std * torch.randn(*SHAPE, 2, generator=rng))
    image = torch.polar(head_mask()[0].float(), phase()) + noise
    receiver = synthesis.Receiver(coils, outline(), SHAPE, level=level_of(std), std=std)
    kspace, _ = receiver.slice(
        image.abs(), image.angle(), index=0, donor_slice=0, seed=3, measured=measured
    )
    combined = (maps_at(coils, SHAPE).conj() * arrays.ifft2c(kspace)).sum(0)
    across = (combined * torch.polar(torch.ones(SHAPE), -phase())).imag[head_mask()[0]]
    expected = std if measured else std * math.sqrt(2)
    assert float(across.std()) == pytest.approx(expected, rel=0.08)


def test_root_sum_of_squares_equals_the_magnitude_within_the_noise():
    std = 0.02
    for channels in (1, 8):
        magnitude, _ = image(std, channels, n_slices=1)
        rss = arrays.rss(received(magnitude[0], level_of(std, channels), std))[0]
        inside = head_mask()[0]
        assert float((rss - magnitude[0])[inside].abs().quantile(0.99)) < std


def test_all_noise_together_has_the_donors_covariance():
    """That of the image along the signal, and what was added in all other directions."""
    std, coils = 0.02, donor_coils()
    inside = head_mask()[0]
    maps = maps_at(coils, SHAPE)
    direction = torch.polar(torch.ones(SHAPE), phase()) * maps
    errors = []
    for seed in range(30):
        magnitude, truth = image(std, 1, n_slices=1, seed=seed)
        images = received(magnitude[0], level_of(std), std, seed=seed, coils=coils)[0]
        errors.append((images - truth[0] * direction)[:, inside])
    noise = torch.cat(errors, 1)
    found = noise @ noise.mH / noise.shape[1]
    along = (direction.conj() * torch.einsum("cd,dyx->cyx", coils.covariance, direction)).sum(0)
    expected = 2 * std**2 * coils.covariance / along.real[inside].mean()
    # what the image holds along the signal is taken as white: with coils as correlated as these
    # that is seen in the covariance
    assert (found - expected).abs().max() < 0.15 * expected.diagonal().real.mean()
    off = expected - torch.diag(expected.diagonal())
    assert off.abs().max() > 0.3 * expected.diagonal().real.mean()  # else white noise would pass


def test_air_is_noise_of_all_coils_with_their_covariance():
    std, coils = 0.03, donor_coils()
    magnitude, _ = image(std, 1, n_slices=1)
    images = received(magnitude[0], level_of(std), std, n=20, coils=coils)
    y, x = (torch.arange(n) - n // 2 for n in SHAPE)
    far = (y[:, None] / 33).square() + (x / 26).square() > 1.3
    noise = images[:, :, far].movedim(1, 0).flatten(1)
    found = noise @ noise.mH / noise.shape[1]
    found = found / found.diagonal().real.mean()
    assert (found - coils.covariance).abs().max() < 0.12


def test_a_masked_background_gets_the_noise_that_it_lost():
    std = 0.03
    magnitude, _ = image(std, 1, n_slices=1)
    level = synthesis.NoiseLevel(std, 1.0, "head", 1 / std)
    images = received(magnitude[0] * head_mask()[0], level, std)
    corner = arrays.rss(images)[0, :12, :12]
    # the mean square of ten real components, in units where the head's mean noise is std
    assert float(corner.square().mean().sqrt()) > 2 * std


@pytest.mark.parametrize("snr", [10.0, 25.0])
def test_a_lower_snr_is_reached(snr):
    std = 0.02
    magnitude, truth = image(std, 1, n_slices=1)
    target = 1 / snr
    rss = arrays.rss(received(magnitude[0], level_of(std), target, n=4))
    inside = head_mask()[0]
    assert float((rss - truth[0])[:, inside].std()) == pytest.approx(target, rel=0.08)


def test_a_higher_snr_than_the_images_cannot_be_had():
    assert synthesis.require_reachable(40.0, level_of(0.02)) == ""
    assert "the images have 50" in synthesis.require_reachable(60.0, level_of(0.02))


def drawn(seed, n=200_001):
    """2 n numbers as the kernel draws them, in parts of an uneven size."""
    numbers, found = np.random.SFC64(seed), []
    for size in (999, n - 999):
        words, parts = np.empty(size, np.uint64), np.empty((3, size), np.float32)
        kernel.draw(numbers.ctypes.state_address, words)
        kernel.normals(words, *parts)
        found.append(parts[1:])
    return np.concatenate(found, axis=1).astype(np.float64)


def test_words_are_numpys():
    words, numbers = np.empty(77, np.uint64), np.random.SFC64(5)
    kernel.draw(numbers.ctypes.state_address, words)
    assert (words == np.random.SFC64(5).random_raw(77)).all()
    assert numbers.random_raw() != words[0]  # its state went on


def test_draws_are_normal_to_the_tails():
    values = drawn(1)
    n = values.size
    assert stats.kstest(values.ravel(), "norm").pvalue > 0.01
    assert values.mean() == pytest.approx(0, abs=4 / math.sqrt(n))
    assert values.var() == pytest.approx(1, abs=4 * math.sqrt(2 / n))
    assert (values**4).mean() == pytest.approx(3, abs=4 * math.sqrt(96 / n))
    for size in (2, 3, 4):
        expected = 2 * stats.norm.sf(size)
        tolerance = 4 * math.sqrt(expected / n)
        assert (abs(values) > size).mean() == pytest.approx(expected, abs=tolerance)


def test_draws_are_independent():
    """Of their neighbours, and the two of one pair: their direction is even, too."""
    first, second = drawn(2)
    n = len(first)
    for one, other in (
        (first[1:], first[:-1]),
        (second[1:], second[:-1]),
        (first, second),
        (first**2 - 1, second**2 - 1),
        (first[1:] ** 2 - 1, first[:-1] ** 2 - 1),
    ):
        assert np.corrcoef(one, other)[0, 1] == pytest.approx(0, abs=4 / math.sqrt(n))
    angle = np.arctan2(first, second) / (2 * math.pi) + 0.5
    assert stats.kstest(angle, "uniform").pvalue > 0.01
    assert stats.kstest((first**2 + second**2) / 2, "expon").pvalue > 0.01


def test_draws_return_with_their_seed_and_leave_the_global_state_alone():
    state = torch.get_rng_state()
    assert (drawn(1) == drawn(1)).all() and not (drawn(1) == drawn(2)).any()
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("shape", [(70, 200), (71, 193)])
def test_no_noise_is_used_twice_within_a_slice(shape):
    """Tiles of 64 pixels, rows and coils each draw their own."""
    n_coils = 6
    coils = donor_coils(n_coils)
    coils = bank.Coils(coils.maps, torch.eye(n_coils, dtype=torch.complex64))
    head = bank.Outline(
        torch.tensor([[35.0, 100.0]]), torch.tensor([[30.0, 80.0]]), torch.ones(1),
        torch.ones(1, *shape).bool(),
    )  # fmt: skip
    receiver = synthesis.Receiver(coils, head, shape, level=level_of(0.1), std=0.1)
    zero = torch.zeros(shape)
    kspace, _ = receiver.slice(zero, zero, index=0, donor_slice=0, seed=5)
    noise = arrays.ifft2c(kspace.clone())
    assert len(torch.unique(noise.abs())) > 0.9 * noise.numel()
    size = noise.abs().square().mean()
    for coil, y, x in ((0, 0, 64), (0, 0, 128), (0, 1, 0), (0, 0, 1), (1, 0, 0), (1, 0, 64)):
        moved = noise.roll((coil, y, x), (0, 1, 2))
        found = (moved.conj() * noise).mean() / size
        assert abs(found) < 5 / math.sqrt(noise.numel()), (coil, y, x)
    assert abs((noise**2).mean() / size) < 5 / math.sqrt(noise.numel())  # real and imaginary part


def test_noise_differs_from_slice_to_slice_and_returns_with_its_seed():
    magnitude, _ = image(0.02, 1, n_slices=1)
    first, again = (received(magnitude[0], level_of(0.02), 0.02, seed=3) for _ in range(2))
    other = received(magnitude[0], level_of(0.02), 0.02, seed=4)
    assert torch.equal(first, again) and not torch.allclose(first, other)


def test_the_smallest_images_pass_through():
    magnitude = torch.rand(1, 9, 7)
    found = synthesis.estimate_noise(magnitude, torch.zeros(1, 9, 7).bool())
    assert found.std > 0 and found.source == "head"
