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
