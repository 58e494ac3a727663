"""Defects are what they claim to be, by definitions of their own."""

import numpy as np
import pytest
import torch
from PIL import Image

from synthlib import arrays
from synthlib.audit import defects


@pytest.fixture
def noise(draw):
    return torch.randn(2, 3, 33, 40, dtype=torch.complex64, generator=draw)


def test_zero_filling_interpolates_and_keeps_every_other_pixel(noise):
    image = arrays.ifft2c(noise)
    fine = arrays.ifft2c(defects.zero_fill(noise, (2.0, 2.0)))
    assert fine.shape[-2:] == (66, 80)
    # pixel n // 2 stays: of 33 it is 16, of 66 it is 33; orthonormal transforms halve
    torch.testing.assert_close(2 * fine[..., 1::2, ::2], image, rtol=0, atol=1e-4)


def test_windows_are_one_in_the_centre_and_small_at_the_ends():
    ones = torch.ones(32, 40)
    for defect, corner, end in (
        (defects.hamming, 0.08**2, 0.08),
        (defects.tukey, 0.0, 0.0),
        (defects.fermi, 0.0, 0.16),
        (defects.elliptical, 0.0, 1.0),
    ):
        window = defect(ones)
        assert window[16, 20] == pytest.approx(1, abs=1e-3)
        assert window[0, 0] == pytest.approx(corner, abs=1e-3)
        assert window[0, 20] == pytest.approx(end, abs=0.01)


def test_partial_fourier_leaves_out_the_beginning_of_an_axis(noise):
    assert not defects.partial_fourier(noise, 0.75)[..., :10].any()
    assert torch.equal(defects.partial_fourier(noise, 0.75)[..., 10:], noise[..., 10:])
    assert not defects.partial_fourier(noise, 0.75, axis=-2)[..., :8, :].any()


def test_homodyne_gives_a_real_image_back_whatever_its_smooth_phase(draw):
    y, x = torch.linspace(-1, 1, 64)[:, None], torch.linspace(-1, 1, 60)
    image = torch.exp(-4 * (y**2 + x**2)) * (1 + 0.3 * torch.cos(60 * x))  # beyond the overlap
    whole = arrays.fft2c(torch.polar(image, (0.6 * x + 0.4 * y).expand(64, 60)))
    found = arrays.ifft2c(defects.homodyne(whole, 0.7)).abs()
    zeros = arrays.ifft2c(defects.partial_fourier(whole, 0.7)).abs()
    assert (found - image).norm() < 0.02 * image.norm()
    assert (found - image).norm() < 0.2 * (zeros - image).norm()


@pytest.mark.parametrize("quality", [30, 75, 92])
def test_own_jpeg_is_that_of_libjpeg(quality, draw, tmp_path):
    y, x = torch.linspace(0, 6, 61)[:, None], torch.linspace(0, 5, 45)
    grey = (110 + 90 * torch.sin(y) * torch.cos(x * y / 3)).clamp(0, 250)
    grey = (grey + 5 * torch.randn(61, 45, generator=draw)).clamp(0, 254).round()
    grey[30, 20] = 255  # what the defect scales to
    ours = defects.jpeg(grey[None], quality)[0]
    Image.fromarray(grey.numpy().astype(np.uint8)).save(tmp_path / "a.jpg", quality=quality)
    theirs = torch.from_numpy(np.asarray(Image.open(tmp_path / "a.jpg"), np.float32))
    # libjpeg's cosine transform is one of whole numbers: now and then a coefficient that
    # lies between two steps of the table goes the other way
    inner = (slice(0, 56), slice(0, 40))  # it also fills unfinished blocks in its own way
    differs = (ours - theirs)[inner].abs()
    assert (differs > 1).float().mean() < 0.1
    assert differs.mean() < 0.2 * (grey - theirs)[inner].abs().mean()
    assert (grey - theirs)[inner].abs().mean() > 0.3


def test_grey_values_are_as_many_as_asked_for(draw):
    image = torch.rand(2, 50, 60, generator=draw)
    assert len(defects.quantise(image, 16).unique()) == 16
    cut = defects.clip(image, 0.1)
    assert (cut == cut.max()).float().mean() == pytest.approx(0.1, abs=0.002)
    assert torch.equal(cut[cut < cut.max()], image[cut < cut.max()])


def test_linear_zoom_reads_a_plane_exactly_and_thick_slices_a_ramp():
    plane = (torch.arange(20.0)[:, None] + 2 * torch.arange(17.0)).expand(2, -1, -1)
    fine = defects.zoom(plane, 2.0)
    assert fine.shape == (2, 40, 34)
    steps = fine[0, 5:30, 5:25].diff(dim=0)
    torch.testing.assert_close(steps, torch.full_like(steps, 0.5))
    ramp = torch.arange(8.0)[:, None, None].expand(-1, 3, 3)
    found = defects.thick_slices(ramp, 2)
    torch.testing.assert_close(found[1:-1], ramp[1:-1])  # a line stays a line, its ends are cut
    assert found[0, 0, 0] == 0.5


def test_a_turn_there_and_back_is_nearly_nothing(draw):
    y, x = torch.linspace(-1, 1, 48)[:, None], torch.linspace(-1, 1, 48)
    image = torch.exp(-6 * (y**2 + (x - 0.2) ** 2))[None]
    there = defects.rotate(image, 20.0, order=3)
    assert (there - image).abs().max() > 0.1
    assert (defects.rotate(there, -20.0, order=3) - image)[:, 8:-8, 8:-8].abs().max() < 0.005


def test_text_is_written_at_the_maximum_and_nowhere_else(draw):
    image = torch.rand(2, 60, 70, generator=draw)
    written = defects.burn_text(image, "8", height=5)
    changed = written != image
    assert 0 < changed.sum() <= 2 * 13  # the strokes of an eight
    assert (written[0][changed[0]] == image[0].max()).all()
    assert not changed[:, 8:].any()
