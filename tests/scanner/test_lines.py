"""Motion, gain and broken channels."""

import math
from dataclasses import replace

import pytest
import torch

from synthlib import arrays, scanner
from synthlib.scanner import lines
from synthlib.scanner.kspace import acquire
from synthlib.scanner.settings import MECHANISMS

SPACING = (1.5, 1.1)


def blob(centre_mm, ny=61, nx=74, along=0.0):
    """A Gaussian of 14 x 8 mm, its long axis turned by `along` from y towards x."""
    y = ((torch.arange(ny) - ny // 2) * SPACING[0] - centre_mm[0])[:, None].double()
    x = ((torch.arange(nx) - nx // 2) * SPACING[1] - centre_mm[1]).double()
    long = y * math.cos(along) + x * math.sin(along)
    short = x * math.cos(along) - y * math.sin(along)
    return torch.exp(-(long**2) / (2 * 7**2) - short**2 / (2 * 4**2)).to(torch.complex128)


def test_a_moved_object_is_where_and_how_it_was_put():
    start, angle, shift = (9.0, -4.0), 0.3, torch.tensor([3.3, -5.2])
    turned = (
        start[0] * math.cos(angle) - start[1] * math.sin(angle),
        start[0] * math.sin(angle) + start[1] * math.cos(angle),
    )
    found = lines.moved(blob(start), shift, angle, SPACING)
    expected = blob((turned[0] + 3.3, turned[1] - 5.2), along=angle)
    assert (found - expected).abs().max() < 2e-3
    assert (lines.moved(blob(start), torch.zeros(2), 0.0, SPACING) - blob(start)).abs().max() < 1e-6


def test_a_shift_between_groups_is_a_phase_ramp_on_their_lines():
    image = torch.randn(1, 9, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    maps = torch.ones(1, 2, 9, 32, dtype=torch.complex64)
    moved = torch.zeros(lines.GROUPS, 2)
    moved[2, 1] = 3 * SPACING[1]  # 3 pixels to the right
    motion = lines.Motion(moved, torch.zeros(lines.GROUPS))
    found = lines.lines(lines.with_motion(image, maps, motion, SPACING, torch.arange(32)))[:, 0]
    ramp = torch.ones(32, dtype=torch.complex64)
    k = torch.arange(8, 12) - 16  # the third of eight groups
    ramp[8:12] = torch.polar(torch.ones(4), -2 * math.pi * 3 * k / 32)
    torch.testing.assert_close(found, lines.lines(image) * ramp, atol=1e-4, rtol=0)


def test_the_centre_of_k_space_shows_no_motion():
    for n in (40, 41):
        times_ms = torch.arange(n)
        motion = lines.draw_motion(torch.Generator().manual_seed(n), times_ms)
        central = int(lines.group_of(times_ms)[n // 2])
        assert not motion.moved_mm[central].any() and motion.turned_rad[central] == 0
        assert motion.moved_mm.abs().max() > 0.2


def test_gain_steps_between_groups_and_takes_signal_and_noise_alike():
    gains = lines.draw_gains(torch.Generator().manual_seed(1), 3, torch.arange(41))
    assert gains.shape == (3, 41)
    torch.testing.assert_close(gains[:, 20], torch.ones(3, dtype=torch.complex64))
    steps = gains.diff(dim=1).abs()
    assert int((steps > 0).any(0).sum()) == lines.GROUPS - 1
    assert 0.002 < steps[steps > 0].mean() < 0.04
    images = torch.randn(1, 3, 12, 41, dtype=torch.complex64, generator=torch.Generator())
    settings = scanner.ScanSettings(matrix=(16, 41), oversampling=1)
    plain, stepped = (
        acquire(
            images, settings, 0.3, torch.eye(3, dtype=torch.complex64),
            torch.Generator().manual_seed(1), which,
        )
        for which in (None, gains)
    )  # fmt: skip
    torch.testing.assert_close(stepped, plain * gains[:, None])


def test_one_array_in_twelve_has_a_weak_or_dead_channel():
    arrays_of = torch.stack(
        [lines.draw_channels(torch.Generator().manual_seed(seed), 8) for seed in range(1200)]
    )
    broken = (arrays_of < 1).sum(1)
    assert set(broken.tolist()) == {0, 1}
    assert 70 < int(broken.sum()) < 130  # 100, s.d. 10
    gains = arrays_of[arrays_of < 1]
    assert 0.2 < float((gains == 0).double().mean()) < 0.5
    assert gains.max() < 0.4
    assert lines.draw_channels(torch.Generator(), 2).tolist() == [1, 1]


@pytest.mark.parametrize("name", ["flow", "motion", "gain"])
def test_what_changes_from_line_to_line_is_in_k_space_and_not_in_the_truth(name):
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(4,), contrasts=("AXT2",), n_slices=1, matrix=(45, 38),
        mechanisms=tuple(m for m in MECHANISMS if m not in ("noise", "flow", "motion", "gain")),
    )  # fmt: skip
    person = scanner.subjects(settings)[0]
    (with_it,) = scanner.scan_subject(
        replace(settings, mechanisms=(*settings.mechanisms, name)), person
    )
    truth = with_it.truth
    image = torch.polar(truth["magnitude"], truth["phase"])[:, None] * truth["maps"]
    difference = (with_it.volume.coil_images(0) - image[0]).norm() / image.norm()
    assert 1e-4 < difference < 0.4
    kspace = arrays.fft2c(arrays.crop_or_pad_image(image[0], (90, 38)))
    centre = (with_it.volume.kspace[0] - kspace)[..., 19].norm() / kspace[..., 19].norm()
    assert name == "flow" or centre < 1e-4
