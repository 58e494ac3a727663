"""Jitter: where the pixels of an image go, and what becomes of its phase."""

import dataclasses
import math
from collections import Counter

import pytest
import torch

from synthlib import arrays, pairs
from synthlib.phase import jitter

NY, NX = 45, 38


def rng(seed):
    return torch.Generator().manual_seed(seed)


def wave(ny, nx, cycles_y, cycles_x):
    """exp(i 2 pi (cycles_y y / ny + cycles_x x / nx)), index n // 2 is at phase 0."""
    y, x = ((torch.arange(n, dtype=torch.float64) - n // 2) / n for n in (ny, nx))
    angle = 2 * math.pi * (cycles_y * y[:, None] + cycles_x * x[None, :])
    return torch.polar(torch.ones_like(angle), angle)


def place_of(part, larger):
    """The (top, left, mirrored) at which a part lies in a larger image."""
    (ny, nx), found = part.shape, []
    for mirrored in (False, True):
        sought = part.flip(-1) if mirrored else part
        for top in range(larger.shape[0] - ny + 1):
            for left in range(larger.shape[1] - nx + 1):
                if torch.allclose(larger[top : top + ny, left : left + nx], sought, atol=1e-9):
                    found.append((top, left, mirrored))
    assert len(found) == 1
    return found[0]


def test_a_part_is_cut_from_the_wave_that_a_larger_grid_would_have_sampled():
    """A plane wave is known on every grid: enlarging by sinc gives it exactly."""
    larger = wave(round(NY * 286 / 256), round(NX * 286 / 256), 3, -5)
    assert larger.shape == (50, 42)
    places = [
        place_of(jitter.jitter_image(wave(NY, NX, 3, -5), rng(seed)), larger) for seed in range(60)
    ]
    tops, lefts, mirrored = zip(*places, strict=True)
    assert set(tops) == set(range(6)) and set(lefts) == set(range(5))
    assert 15 < sum(mirrored) < 45


def test_a_mirror_image_has_the_mirrored_phase_and_not_its_negative():
    angle = torch.linspace(0.2, 1.5, NX, dtype=torch.float64).expand(NY, NX)
    image = torch.polar(torch.ones_like(angle), angle)
    turned = 0
    for seed in range(20):
        kept = jitter.jitter_image(image, rng(seed), mirror=False)
        other = jitter.jitter_image(image, rng(seed))
        if not torch.equal(kept, other):
            torch.testing.assert_close(other, kept.flip(-1))
            assert other[20, 10:-10].angle().diff().max() < 0  # falls where it rose
            assert other[:, 10:-10].angle().min() > 0  # its sign is as it was
            turned += 1
    assert 4 < turned < 16


def test_wrapped_phase_is_not_interpolated():
    """A steep plane wave wraps 7 times; its jittered phase has one slope and no other step."""
    image = wave(NY, NX, 0, 7)
    part = jitter.jitter_image(image, rng(3), mirror=False)
    steps = arrays.wrap(part.angle().diff(dim=1))
    slope = 2 * math.pi * 7 / round(NX * 286 / 256)
    torch.testing.assert_close(steps, torch.full_like(steps, slope), rtol=0, atol=1e-9)
    torch.testing.assert_close(part.abs(), torch.ones_like(part.abs()))


@pytest.fixture(scope="module")
def pair(study):
    return study["gan"][0].pair(1)


def test_a_pairs_magnitude_and_phase_are_those_of_one_image(pair):
    magnitude, phase = jitter.jitter_pair(pair, 3, seed=1, epoch=2)
    assert magnitude.shape == phase.shape == pair.magnitude.shape
    assert magnitude.dtype == phase.dtype == torch.float32
    assert magnitude.min() >= 0 and phase.abs().max() <= math.pi
    shape = tuple(round(n * 286 / 256) for n in pair.magnitude.shape)
    larger = arrays.resample(pair.image.to(torch.complex128), shape)
    image = torch.polar(magnitude.double(), phase.double())
    scale = float(pair.magnitude.max())
    found = [
        (top, left)
        for top in range(shape[0] - image.shape[0] + 1)
        for left in range(shape[1] - image.shape[1] + 1)
        for sought in (image, image.flip(-1))
        if torch.allclose(
            larger[top : top + image.shape[0], left : left + image.shape[1]],
            sought,
            rtol=0,
            atol=1e-4 * scale,
        )
    ]
    assert len(found) == 1


def test_every_slice_of_every_epoch_is_altered_anew_and_the_same_again(pair):
    def altered(index, epoch, seed=1):
        return jitter.jitter_pair(pair, index, seed=seed, epoch=epoch)[1]

    before = torch.get_rng_state()
    base = altered(0, 0)
    assert torch.equal(base, altered(0, 0))
    assert torch.equal(torch.get_rng_state(), before)
    draws = [altered(i, e, s) for s in (1, 2) for e in range(3) for i in range(3)]
    different = {draw.numpy().tobytes() for draw in draws}
    assert len(different) > 14


def test_a_sagittal_head_keeps_its_face_in_front(pair):
    contrasts = {}
    for contrast in ("AXT1", "SAGT1", "CORT1"):
        one = dataclasses.replace(pair, contrast=contrast)
        contrasts[contrast] = [
            jitter.jitter_pair(one, i, seed=5, epoch=0)[0].numpy().tobytes() for i in range(24)
        ]
    assert contrasts["AXT1"] == contrasts["CORT1"]
    same = Counter(
        one == other for one, other in zip(contrasts["AXT1"], contrasts["SAGT1"], strict=True)
    )
    assert 5 < same[False] < 19  # about half were mirrored


def test_the_dataset_gives_what_was_altered_and_scales_it(study):
    def alter(pair, index):
        return pair.magnitude * (index + 1), torch.full_like(pair.phase, 0.5)

    dataset = pairs.PairDataset(study["val"], "scalar", "percentile", alter)
    magnitude, target = dataset[3]
    expected = pairs.scale_magnitude(study["val"][1].pair(1).magnitude, "percentile")
    torch.testing.assert_close(magnitude[0], expected)
    torch.testing.assert_close(target, torch.full_like(target, 0.5 / math.pi))
