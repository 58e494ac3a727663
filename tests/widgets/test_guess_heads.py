"""The game with whole heads: measured ones beside their simulated twins."""

import pytest
import torch

from synthlib import widgets
from synthlib.study.patches import Heads, Look

SHAPES = {"first": (45, 40), "second": (36, 52)}


def look(head, subject, is_measured, scale):
    image = scale * torch.polar(torch.rand(SHAPES[head]) + 0.5, torch.rand(SHAPES[head]))
    brain = torch.zeros(SHAPES[head], dtype=torch.bool)
    brain[10:30, 12:30] = True
    return Look(head, subject, is_measured, image, brain, 0.02, (1.1, 0.9))


@pytest.fixture
def looks():
    torch.manual_seed(3)
    return [
        look(head, subject, subject == head, scale)
        for head in SHAPES
        for subject, scale in ((head, 7.0), (f"{head} 0", 0.01), (f"{head} 1", 1.0))
    ]


@pytest.mark.parametrize(("are_measured", "name"), [(True, "measured"), (False, "plays measured")])
def test_every_head_stands_beside_its_twin_at_the_same_brightness(looks, are_measured, name):
    game = widgets.guess_heads(Heads(looks, are_measured, ""))
    assert list(game._cases) == ["first", "second"]
    for head, shape in SHAPES.items():
        game.case = head
        assert list(game.shown.stacks) == [name, "simulated"]
        for label, subject in ((name, head), ("simulated", f"{head} 0")):
            (own,) = [one for one in looks if one.subject == subject]
            shown = game.shown.stacks[label].image(0, 0)
            assert shown.shape == shape
            expected = own.image / own.image.abs()[own.brain].median()
            assert (shown - expected).abs().max() < 1e-3
    rules = game._layout["guess"]
    assert (rules["measured"], rules["against"]) == (name, "simulated")
    assert set(rules["views"]) == {"magnitude", "phase", "colour"}


def test_heads_without_a_twin_are_left_out(looks):
    alone = [one for one in looks if one.is_measured or one.head == "first"]
    game = widgets.guess_heads(Heads(alone, True, ""))
    assert list(game._cases) == ["first"]


def test_air_far_from_the_head_is_cut_off(looks):
    wide = [
        Look(
            one.head, one.subject, one.is_measured,
            torch.nn.functional.pad(one.image, (30, 50, 40, 60)),
            torch.nn.functional.pad(one.brain, (30, 50, 40, 60)),
            one.noise_sd, one.pixel_mm,
        )
        for one in looks
    ]  # fmt: skip
    game = widgets.guess_heads(Heads(wide, True, ""))
    game.case = "first"
    # the brain's 20 x 18 pixels of 1.1 x 0.9 mm, 22 mm on every side: 20 rows, 25 columns
    assert game.shown.stacks["measured"].image(0, 0).shape == (20 + 2 * 20, 18 + 2 * 25)


def test_without_a_head_and_its_twin_there_is_nothing_to_guess(looks):
    for some in ([], [one for one in looks if one.is_measured]):
        with pytest.raises(ValueError, match=rf"none of {len(some)} looks.*nothing to guess"):
            widgets.guess_heads(Heads(some, True, ""))
