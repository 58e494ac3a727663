"""Twins of the kept-back heads: what their processing takes away, and what it leaves."""

from __future__ import annotations

import pytest
import torch

from synthlib import arrays
from synthlib.likeness import measures
from tests.benchmarks import kept_back

SHAPE = (91, 78)


@pytest.fixture
def grid():
    return torch.linspace(-1, 1, SHAPE[0])[:, None], torch.linspace(-1, 1, SHAPE[1])


@pytest.fixture
def coil_images(grid):
    """Five coils with smooth maps around an object with a smooth phase and a dot of 0.8 rad."""
    y, x = grid
    tissue = 1 + 0.3 * torch.cos(9 * y) * torch.cos(7 * x)
    dot = torch.zeros(SHAPE)
    dot[40:42, 30:32] = 0.8
    image = torch.polar(tissue, 2 * y - 3 * x + y * x + dot)
    centres = [(-1.5, 0.2), (1.4, 0.5), (0.1, -1.6), (-0.3, 1.5), (1.0, -1.2)]
    maps = torch.stack(
        [torch.polar(1 / (0.5 + (y - a) ** 2 + (x - b) ** 2), a * x - b * y) for a, b in centres]
    )
    return maps * image


def test_coils_are_combined_to_their_root_sum_of_squares_without_a_smooth_phase(coil_images):
    image = kept_back.combined_adaptively(coil_images)
    inner = (slice(8, -8), slice(8, -8))
    ratio = (image.abs() / arrays.rss(coil_images))[inner]
    assert ratio.min() > 0.99 and ratio.max() < 1.001
    phase = image.angle()
    away = phase.clone()
    away[33:49, 23:39] = 0  # around the dot
    assert away[inner].abs().max() < 0.03
    assert float(phase[40:42, 30:32].mean()) == pytest.approx(0.8, abs=0.12)


def test_noise_that_is_combined_so_has_the_phase_that_the_box_gives_it():
    draw = torch.Generator().manual_seed(4)
    noise = torch.view_as_complex(torch.randn((12, 128, 128, 2), generator=draw))
    means = []
    for box in (5, 9, 15):
        image = kept_back.combined_adaptively(noise, box)
        means.append(float(torch.exp(1j * image.angle()).mean().abs()))
    assert means == sorted(means, reverse=True)  # a smaller box takes more of the phase away


def test_the_smooth_phase_goes_and_the_fine_one_stays(grid):
    y, x = grid
    fine = 0.4 * ((torch.arange(SHAPE[0])[:, None] + torch.arange(SHAPE[1])) % 2 - 0.5)
    images = torch.polar(torch.ones(2, *SHAPE), (1.5 * y - 2 * x * y + fine).expand(2, *SHAPE))
    left = kept_back.without_smooth_phase(images)
    torch.testing.assert_close(left.abs(), images.abs())
    error = (left.angle() - fine)[:, 10:-10, 10:-10]
    assert error.abs().max() < 0.03


@pytest.mark.parametrize("view", kept_back.VIEWS, ids=lambda view: view.orientation)
def test_measured_heads_stand_upright_and_their_levels_are_given(real, view):
    heads = list(kept_back.measured(real, view))
    assert len(heads) == kept_back.N_SUBJECTS
    for head in heads:
        assert head.volume.n_slices == len(view.slices) == len(view.levels_mm)
        assert head.portrait.level_mm == view.levels_mm[len(view.levels_mm) // 2]
        assert head.portrait.n_elements == kept_back.N_COILS
        outline = measures.outline(head.volume.coil_images(0)[0].abs())
        assert not measures.lies_on_its_side(outline)
        assert outline[-1].any()
