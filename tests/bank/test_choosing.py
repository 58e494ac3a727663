"""Whose coils for which head."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import torch

from synthlib import bank
from synthlib.records import ImageVolume

NAN = float("nan")


def donor(name, half_mm=(100.0, 80.0), **changes):
    facts = {
        "n_coils": 16, "n_slices": 3, "contrast": "AXT2", "orientation": "axial",
        "anatomy": "head", "field_t": 3.0, "levels_mm": (-20.0, 0.0, 20.0), "quality": {},
        "path": Path("nowhere"),
    }  # fmt: skip
    return bank.Donor(name=name, half_mm=half_mm, **{**facts, **changes})


def volume(n_slices=5, **changes):
    facts = {
        "name": "v", "patient_id": "p", "contrast": "AXT1", "spacing_mm": (2.0, 2.5),
        "step_mm": 10.0, "orientation": "axial", "anatomy": "head", "field_t": 3.0,
    }  # fmt: skip
    return ImageVolume(magnitude=torch.ones(n_slices, 60, 50), **{**facts, **changes})


def head(n_slices=5, widest=2, half=(50.0, 32.0)):
    area = -(torch.arange(n_slices) - widest).abs().float() + 100
    ones = torch.ones(n_slices, 1)
    return bank.Outline(
        ones * torch.tensor([30.0, 25.0]), ones * torch.tensor(half), area,
        torch.ones(n_slices, 60, 50).bool(),
    )  # fmt: skip


def choose(donors, images=None, outline=None, name="v", **how):
    how = {"n_coils": 8, "pairing": "matched", "seed": 1, **how}
    return bank.choose(name, images or volume(), outline or head(), donors, **how)


def test_heads_of_the_same_size_are_taken():
    sizes = [(100.0, 80.0), (101.0, 80.0), (99.0, 81.0), (70.0, 60.0), (130.0, 100.0)]
    donors = [donor(str(n), size) for n, size in enumerate(sizes)]
    drawn = {choose(donors, seed=seed).donor.name for seed in range(40)}
    assert drawn == {"0", "1", "2"}  # the three nearest, each at some time


def test_random_pairing_draws_among_all():
    donors = [donor(str(n), (60.0 + 20 * n, 50.0 + 10 * n)) for n in range(5)]
    drawn = Counter(choose(donors, pairing="random", seed=s).donor.name for s in range(100))
    assert len(drawn) == 5 and min(drawn.values()) > 5


def test_the_draw_follows_from_seed_and_name_alone():
    donors = [donor(str(n)) for n in range(3)]
    assert choose(donors).donor == choose(donors[::-1]).donor
    names = {choose(donors, name=f"v{n}").donor.name for n in range(20)}
    assert len(names) > 1


def test_the_same_field_is_preferred():
    donors = [donor(f"a{n}", field_t=1.5) for n in range(3)]
    donors += [donor(f"b{n}", (104.0, 82.0)) for n in range(3)]
    assert {choose(donors, seed=s).donor.name[0] for s in range(20)} == {"b"}


def test_slices_are_paired_by_their_distance_from_the_widest():
    found = choose([donor("a")], volume(7), head(7, widest=4))
    # the volume's slices lie at -40 to +20 mm, the donor's at -20, 0 and 20
    assert found.slices == (0, 0, 0, 1, 1, 2, 2) or found.slices == (0, 0, 0, 0, 1, 1, 2)
    assert found.slices[4] == 1


def test_without_known_steps_slices_are_paired_by_their_share_of_the_stack():
    found = choose([donor("a")], volume(5, step_mm=NAN))
    assert found.slices == (0, 0, 1, 2, 2)
    alone = choose([donor("a")], volume(1, step_mm=NAN), head(1, 0))
    assert alone.slices == (1,)


def test_unknown_anatomy_and_orientation_fit_all():
    assert choose([donor("a")], volume(anatomy="unknown", orientation="unknown")).donor.name == "a"
    assert choose([donor("a", orientation="unknown")]).donor.name == "a"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anatomy": "knee"}, "no donor of the bank has anatomy knee, there is head"),
        ({"orientation": "sagittal"}, "no donor of the bank has orientation sagittal"),
    ],
)
def test_other_anatomy_or_orientation_is_refused_unless_any_is_asked_for(changes, message):
    with pytest.raises(ValueError, match=message):
        choose([donor("a")], volume(**changes))
    assert choose([donor("a")], volume(**changes), pairing="random").donor.name == "a"


def test_too_many_coils_are_refused():
    few = dataclasses.replace(donor("a"), n_coils=4)
    with pytest.raises(ValueError, match="no donor of the bank has 8 coils, the most is 4"):
        choose([few])


def test_of_a_mixed_bank_only_coils_of_the_same_part_are_taken_and_known_ones_first():
    donors = [donor("a"), donor("k", anatomy="knee"), donor("u", anatomy="unknown")]
    drawn = {choose(donors, volume(anatomy="knee"), seed=seed).donor.name for seed in range(20)}
    assert drawn == {"k"}
    only_unknown = choose([donors[0], donors[2]], volume(anatomy="knee"))
    assert only_unknown.donor.name == "u"
    assert "the bank does not tell whether its coils were around a knee" in only_unknown.notes[0]
    assert choose(donors).notes == ()
