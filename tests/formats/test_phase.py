"""Stored numbers as radians: every range that scanners and converters use, refused otherwise."""

from __future__ import annotations

import math

import pytest
import torch

from synthlib.formats import phase
from synthlib.formats.refusals import Refusal

TRUE = torch.linspace(-3.1, 3.1, 35).reshape(1, 7, 5)


@pytest.mark.parametrize(
    ("stored", "unit", "full_scale"),
    [
        (TRUE, "", None),
        (TRUE / 10 + 0.1, "rad", None),
        (TRUE + 4 * math.pi, "rad", None),
        (torch.where(TRUE < 0, TRUE + 2 * math.pi, TRUE), "", None),
        (1000 * TRUE, "", None),
        (1000 * TRUE, "mrad", None),
        (TRUE.rad2deg(), "deg", None),
        (4096 / math.pi * TRUE, "", None),
        (2048 / math.pi * TRUE, "", None),
        (2048 / math.pi * TRUE + 2048, "", None),
        (2048 / math.pi * TRUE / 9 + 2048, "", (0, 4095)),
        (4096 / math.pi * TRUE / 9, "", (-4096, 4094)),
    ],
)
def test_every_range_gives_radians(stored, unit, full_scale):
    expected = TRUE
    if full_scale:
        expected = TRUE / 9
    elif unit == "rad" and float(stored.max()) < 1:
        expected = TRUE / 10 + 0.1
    torch.testing.assert_close(phase.radians(stored, unit, full_scale), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("stored", "unit", "message"),
    [
        (TRUE / 9, "", r"phase from -0\.344.* to 0\.344.* without a unit; expected .*-pi to pi"),
        (TRUE * 20, "", "without a unit"),
        (TRUE * 9000, "", "without a unit"),
        (TRUE * 1304, "rad", "called rad; expected at most 20 turns"),
        (0 * TRUE, "rad", "one value everywhere"),
    ],
)
def test_numbers_of_no_certain_unit_are_refused(stored, unit, message):
    with pytest.raises(Refusal, match=message):
        phase.radians(stored, unit)


def test_parts_whose_zero_is_not_known_are_refused():
    real, imaginary = 100 * TRUE.cos(), 100 * TRUE.sin()
    torch.testing.assert_close(phase.angle_of(real, imaginary), TRUE, rtol=0, atol=1e-5)
    with pytest.raises(Refusal, match=r"imaginary parts from .* expected values of both signs"):
        phase.angle_of(real, imaginary + 2048)
