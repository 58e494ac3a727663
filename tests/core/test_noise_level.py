"""How noisy magnitude images are: from air, from the head, from both."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from synthlib import archive, arrays, bank, scanner
from synthlib.audit import defects, view
from synthlib.core.noise_level import estimate_noise

SHAPE = (90, 77)


def head_mask(n_slices=1):
    y, x = (torch.arange(n) - n // 2 for n in SHAPE)
    ellipse = (y[:, None] / 33).square() + (x / 26).square() <= 1
    return ellipse.expand(n_slices, *SHAPE)


def image(std, channels, seed=5):
    """A flat head of unit brightness in chi distributed noise of `channels` complex channels."""
    rng = torch.Generator().manual_seed(seed)
    noise = std * torch.randn(2 * channels, 3, *SHAPE, generator=rng)
    noise[0] += head_mask(3).float()
    return noise.square().sum(0).sqrt()


@pytest.mark.parametrize("channels", [1, 4, 16])
@pytest.mark.parametrize("std", [0.01, 0.04])
def test_noise_and_channels_of_a_flat_head_are_those_of_its_air(std, channels):
    level = estimate_noise(image(std, channels), head_mask(3))
    assert level.source == "air"
    assert level.std == pytest.approx(std, rel=0.06)
    assert level.air_power == pytest.approx(2 * channels * std**2, rel=0.25)
    assert level.snr == pytest.approx(1 / std, rel=0.1)


@pytest.mark.parametrize("std", [0.01, 0.04])
def test_noise_of_a_masked_image_is_that_of_its_head(std):
    level = estimate_noise(image(std, 1) * head_mask(3), head_mask(3))
    assert level.source == "head" and level.air_power == 0
    assert level.std == pytest.approx(std, rel=0.05)


def test_denoised_air_does_not_tell_the_noise():
    magnitude = image(0.03, 1)
    quiet = torch.where(head_mask(3), magnitude, 0.05 * magnitude)
    level = estimate_noise(quiet, head_mask(3))
    assert level.source == "head" and level.std == pytest.approx(0.03, rel=0.05)


def test_the_level_follows_air_without_a_jump():
    """However strongly air is damped, a little more of it moves the level a little."""
    magnitude = image(0.03, 1)
    damping = torch.logspace(0, -1.5, 60)
    levels = [
        estimate_noise(torch.where(head_mask(3), magnitude, by * magnitude), head_mask(3)).std
        for by in damping
    ]
    steps = np.abs(np.diff(np.log(levels)))
    assert steps.max() < 0.12  # of log; a switch would make log(5) = 1.6
    assert levels[0] == pytest.approx(0.03, rel=0.1)
    assert levels[-1] == pytest.approx(0.03, rel=0.1)


@pytest.mark.parametrize(
    ("snr", "matrix"), [(12.0, (154, 132)), (40.0, (154, 132)), (100.0, (96, 80))]
)
@pytest.mark.parametrize("contrast", ["AXT1", "AXT2"])
@pytest.mark.parametrize("masked", [False, True])
def test_noise_of_a_simulated_scan_is_that_along_its_signal(snr, matrix, contrast, masked):
    """Where pixels are large and noise is low, most of what varies in the head is structure."""
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(8,), contrasts=(contrast,), matrix=matrix, snr=snr
    )
    scan = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]
    magnitude = torch.stack([arrays.rss(scan.volume.coil_images(i)) for i in range(3)])
    head = bank.outline(magnitude).mask
    clean = arrays.rss(scan.truth["magnitude"][:, None] * scan.truth["maps"])
    bright = head & (clean > 0.3 * clean[head].mean())
    true = float((magnitude - clean)[bright].std())
    level = estimate_noise(magnitude * head if masked else magnitude, head)
    assert level.source == ("head" if masked else "air")
    if not masked:
        # steps of decay between the echoes of a train ring in air: without them 3 % at this SNR
        rings = contrast == "AXT2" and snr == 100
        assert level.std == pytest.approx(true, rel=0.25 if rings else 0.15)
    elif snr < 100:
        assert abs(math.log(level.std / true)) < math.log(1.3)
    assert abs(math.log(level.std / true)) < 3 * level.error


def test_noise_of_a_masked_interpolated_image_is_that_of_its_measured_grid():
    settings = scanner.ScanSettings(
        n_subjects=1, contrasts=("AXT2",), matrix=(151, 133), snr=25.0, seed=62
    )
    scan = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]
    kspace = torch.stack([arrays.fft2c(scan.volume.coil_images(i)) for i in range(3)])
    filled = defects.zero_fill(kspace, (1.5, 1.4))
    before = torch.stack([arrays.rss(arrays.ifft2c(one)) for one in kspace])
    after = torch.stack([arrays.rss(arrays.ifft2c(one)) for one in filled])
    ratio = math.sqrt(after[0].numel() / before[0].numel())  # orthonormal: energy is kept
    head, band = view.outline(after), (1 / 1.5, 1 / 1.4)
    level = estimate_noise(after * head, head, band)
    true = estimate_noise(before, view.outline(before)).std / ratio
    assert level.std == pytest.approx(true, rel=0.25)
    assert estimate_noise(after * head, head).std < 0.6 * true  # without the band it is missed


def test_an_image_without_noise_has_none():
    level = estimate_noise(head_mask(2).float(), head_mask(2))
    assert level.std == 0 and math.isinf(level.snr)


def test_the_smallest_images_have_an_upper_bound():
    magnitude = torch.rand(1, 9, 7)
    level = estimate_noise(magnitude, torch.zeros(1, 9, 7).bool())
    assert level.std > 0 and level.source == "head" and level.error > 0.5


def test_four_repeats_of_one_scan_have_the_level_that_their_differences_tell(real):
    """The SNR that differences of repeats tell is 180 to 241."""
    listing = archive.find([real / "cases/repeats_of_one_scan"], salt=b"0123456789abcdef")
    assert len(listing.series) == 4
    for series in listing.series:
        magnitude = archive.read(series).magnitude
        head = view.outline(magnitude)
        level = estimate_noise(magnitude, head)
        assert 150 < level.snr < 260
        masked = estimate_noise(magnitude * head, head)
        assert abs(math.log(masked.snr / level.snr)) < 2.5 * masked.error
