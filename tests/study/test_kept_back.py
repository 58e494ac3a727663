"""Twins of the kept-back heads: what their processing takes away, and what it leaves."""

from __future__ import annotations

import pytest
import torch

from synthlib import arrays
from synthlib.likeness import measures
from tests.benchmarks import blind_look, kept_back, likeness_text

SHAPE = (91, 78)


@pytest.fixture
def grid():
    return torch.linspace(-1, 1, SHAPE[0])[:, None], torch.linspace(-1, 1, SHAPE[1])


@pytest.fixture
def coil_images(grid):
    """Five coils with smooth maps around an object with a smooth phase and a dot of 0.8 rad."""
    y, x = grid
    tissue = torch.ones(SHAPE)  # a mean over a box is weighted by magnitude
    dot = torch.zeros(SHAPE)
    dot[40:42, 30:32] = 0.8
    image = torch.polar(tissue, 2 * y - 3 * x + y * x + dot)
    centres = [(-1.5, 0.2), (1.4, 0.5), (0.1, -1.6), (-0.3, 1.5), (1.0, -1.2)]
    maps = torch.stack(
        [torch.polar(1 / (0.5 + (y - a) ** 2 + (x - b) ** 2), a * x - b * y) for a, b in centres]
    )
    return maps * image


def test_coils_are_combined_to_their_root_sum_of_squares_without_a_smooth_phase(coil_images):
    image = kept_back.combined_adaptively(coil_images, 9)
    inner = (slice(14, -14), slice(14, -14))  # the Gaussian and the box reach beyond the edge
    ratio = (image.abs() / arrays.rss(coil_images))[inner]
    assert ratio.min() > 0.99 and ratio.max() < 1.001
    # what is left of several radians is smooth, and goes with the smooth phase of the image
    assert image.angle()[inner].std() < 0.3
    phase = kept_back.without_smooth_phase(image[None])[0].angle()
    assert float(phase[40:42, 30:32].mean()) == pytest.approx(0.8, abs=0.12)
    phase[33:49, 23:39] = 0  # around the dot
    assert phase[inner].abs().max() < 0.03


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


def result(question, *aurocs):
    by_head = {f"head {number}": value for number, value in enumerate(aurocs)}
    return likeness_text.Result("some", question, by_head, [0.6, 0.7])


def test_the_interval_over_heads_is_students():
    low, high = result("phase, a head left out", 0.6, 0.7, 0.8, 0.9).interval
    # mean 0.75, s.d. 0.1291, t of 3 degrees of freedom 3.182
    assert (low, high) == pytest.approx((0.75 - 0.2054, 0.75 + 0.2054), abs=1e-3)


def test_sentences_follow_the_numbers():
    results = [
        result("phase, a head left out", 0.70, 0.72, 0.74, 0.76),
        result("phase, a head left out, smoothed by 2 pixels", 0.6, 0.7, 0.8, 0.95),
        result("phase, a subject left out", 0.85, 0.86, 0.9, 0.95),
        result("phase, a head left out", 0.2, 0.3, 0.6, 0.7),
        result("magnitude, a head left out", 0.1, 0.1, 0.1, 0.2),
        result("control: phase, a head left out", 0.5, 0.5, 0.5, 0.51),
    ]
    lines = likeness_text.of_blind_look(results).splitlines()
    assert len(lines) == 5
    assert lines[0].endswith("at most 0.8 with all of the interval.")
    assert lines[1].endswith("but the interval reaches beyond.")
    assert lines[2].endswith("told apart better than wanted.")
    assert lines[4].startswith("  In 2 of 4 heads the network is wrong")
    rows = blind_look.result_rows(results)
    assert rows[0]["single heads"] == "0.70, 0.72, 0.74, 0.76"
    assert rows[0]["seeds"] == "0.60, 0.70"


def test_the_record_names_inputs_and_seeds_and_no_folder(real):
    text = blind_look.record_of(real, (101, 102, 103))
    assert "complex_t2/subject3_sagittal.h5" in text and "git_commit" in text
    assert str(real) not in text
