"""Twins of the kept-back heads: what their processing takes away, and what it leaves."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from synthlib import arrays, likeness
from synthlib.likeness import measures
from synthlib.study import blind_look as study_blind_look
from synthlib.study import patches
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


def result(question, *aurocs, seeds=(0.0, 0.0), group="some"):
    by_head = {
        f"head {number}": [value + shift for shift in seeds] for number, value in enumerate(aurocs)
    }
    return likeness_text.Result(group, question, by_head)


def test_the_interval_over_heads_is_students_where_seeds_agree():
    low, high = result("phase, a head left out", 0.6, 0.7, 0.8, 0.9, seeds=(0.0,)).interval
    # mean 0.75, s.d. 0.1291, t of 3 degrees of freedom 3.182
    assert (low, high) == pytest.approx((0.75 - 0.2054, 0.75 + 0.2054), abs=1e-3)


def test_seeds_widen_the_interval():
    heads = (0.5, 0.6, 0.7, 0.8)
    alike = result("phase", *heads, seeds=(0.0, 0.0, 0.0))
    apart = result("phase", *heads, seeds=(-0.08, 0.0, 0.08))
    assert apart.mean == pytest.approx(alike.mean)
    assert apart.seeds == pytest.approx([0.57, 0.65, 0.73])
    assert apart.heads == pytest.approx(heads)
    width = [high - low for low, high in (alike.interval, apart.interval)]
    # the variance of the mean is that of heads plus that of seeds: 0.0645 and 0.0462 squared,
    # its degrees of freedom lie between those of seeds and of heads, t 4.303 and 3.182
    error = (0.0645**2 + 0.0462**2) ** 0.5
    assert width[0] == pytest.approx(2 * 3.182 * 0.0645, rel=1e-2)
    assert 2 * 3.18 * error < width[1] < 2 * 4.31 * error
    low, high = result("phase", 0.97, 0.98, 0.99, seeds=(-0.01, 0.01)).interval
    assert 0 < low < high <= 1


def test_an_interval_covers_the_mean_as_often_as_it_says():
    # heads and seeds both random, as large as each other; over heads alone it would be 60 %
    draw = torch.Generator().manual_seed(2)
    n_trials, inside = 400, 0
    for _ in range(n_trials):
        heads = 0.02 * torch.randn(4, 1, generator=draw)
        values = 0.7 + heads + 0.02 * torch.randn(1, 3, generator=draw)
        by_head = {str(number): row for number, row in enumerate(values.tolist())}
        low, high = likeness_text.Result("some", "phase", by_head).interval
        inside += low <= 0.7 <= high
    assert inside / n_trials > 0.92


def test_sentences_follow_the_numbers():
    question = "phase, a head left out"
    results = [
        result(question, 0.70, 0.72, 0.74, 0.76, group="low"),
        result(question, 0.6, 0.7, 0.8, 0.95, group="wide"),
        result(question, 0.85, 0.86, 0.9, 0.95, group="high"),
        result(question, 0.2, 0.3, 0.6, 0.7, group="mixed"),
        result("magnitude, a head left out", 0.1, 0.1, 0.1, 0.2),
        result(likeness_text.EARLIER_SCANNER + question, 0.9, 0.9, 0.96, group="low", seeds=(0.0,)),
        result(likeness_text.LONGER + question, 0.7, 0.8, 0.84, group="high", seeds=(0.0,)),
        result(likeness_text.MIDDLE + question, 0.9, 0.8, 0.85, group="mixed", seeds=(0.0,)),
    ]
    lines = likeness_text.of_blind_look(results).splitlines()
    assert len(lines) == 8
    assert lines[7].startswith("  By a train with TE in its middle: 0.85 (")
    assert lines[0].endswith("at most 0.8 with all of the interval.")
    assert lines[1].startswith("  Without the later mechanisms: 0.92 (")
    assert lines[1].endswith("over heads), against 0.73 of the same seed.")
    assert lines[2].endswith("but the interval reaches beyond.")
    assert lines[3].endswith("told apart better than wanted.")
    assert lines[4].startswith("  After twice as many batches: 0.78 (")
    assert lines[6].startswith("  In 2 of 4 heads the network is wrong")
    rows = blind_look.result_rows(results)
    assert rows[0]["single heads"] == "0.70, 0.72, 0.74, 0.76"
    assert rows[0]["seeds"] == "0.73, 0.73"


def test_a_control_that_misses_a_guess_is_named():
    control = likeness_text.CONTROL
    right = result(f"{control}phase", 0.45, 0.5, 0.56)
    wrong = result(f"{control}magnitude", 0.42, 0.43, 0.44, group="these")
    (line,) = likeness_text.of_blind_look([right]).splitlines()
    assert line == "- Controls: 0.5 lies in the interval of 1 of 1; single seeds give 0.50 to 0.50."
    first, second = likeness_text.of_blind_look([right, wrong]).splitlines()
    assert first.endswith("1 of 2; single seeds give 0.43 to 0.50.")
    assert second.startswith("  these: control: magnitude: 0.43 (") and "misses 0.5" in second


def test_tails_that_twins_do_not_reach_are_said():
    one = likeness.measured()[0]

    def heads(*tails):
        return [dataclasses.replace(one, brain_phase_tail=tail) for tail in tails]

    line = likeness_text.of_tails("kept back, sagittal", heads(0.7, 2.0), heads(0.0, 0.1))
    assert "0.7 to 2.0 % measured, 0.0 to 0.1 % simulated" in line
    assert "no twin reaches" in line and "sagittal sinus" in line
    line = likeness_text.of_tails("kept back, sagittal", heads(0.7, 2.0), heads(0.0, 0.7, 3.0))
    assert "2 of 3 twins reach" in line and "sinus" not in line


def test_two_sets_of_a_seed_are_of_other_subjects_than_those_of_another():
    seeds = [number for seed in (101, 102, 103) for number in blind_look.subjects(seed)]
    assert len(set(seeds)) == 6


def head_with_phase():
    return dataclasses.replace(
        next(one for one in likeness.measured() if one.n_coils == 1),
        matrix=(45, 40), pixel_mm=(5.0, 5.0),
    )  # fmt: skip


def test_a_control_has_subjects_that_no_other_seed_has(monkeypatch):
    head = head_with_phase()
    sets = [
        [blind_look._twins([head], number) for number in blind_look.subjects(seed)]
        for seed in (4, 5)
    ]
    group = blind_look.Group("some", "head", [head], [], sets, {})
    played = []

    def watched(looks, **_):
        played.append(looks)
        return study_blind_look.BlindLook("phase", [])

    monkeypatch.setattr(study_blind_look, "blind_look", watched)
    question = f"{likeness_text.CONTROL}phase"
    blind_look.asked(
        group, question, blind_look.OF_CONTROL,
        lambda number: patches.control(patches.twin_looks(group.sets[number])), [4, 5],
    )  # fmt: skip
    first, second = played
    for looks in played:
        assert sorted({one.is_measured for one in looks}) == [False, True]
    images = [one.image for looks in (first, second) for one in looks[::2]]
    pairs = [(a, b) for which, a in enumerate(images) for b in images[which + 1 :]]
    assert len(images) == 4 and not any(torch.equal(a, b) for a, b in pairs)


def test_the_record_names_inputs_and_seeds_and_no_folder(real):
    text = blind_look.record_of(real, (101, 102, 103))
    assert "complex_t2/subject3_sagittal.h5" in text and "git_commit" in text
    assert str(real) not in text
