"""The cerebellum is a tree: few deep fissures, short uneven folia, white matter that branches."""

import math

import pytest
import torch

from synthlib.scanner import anatomy, cerebellum
from synthlib.scanner.anatomy import TISSUES


def head(seed: int) -> anatomy.Head:
    return anatomy.draw_head(torch.Generator().manual_seed(seed))


def fissures_along_an_arc(of: anatomy.Head, x_mm: float, radius_mm: float) -> torch.Tensor:
    """Degrees at which an arc about the core meets the middle of a fissure with fluid in it."""
    degrees = torch.arange(-60.0, 80.0, 0.05)
    angle = degrees.deg2rad()
    y, z = cerebellum.CORE_MM
    forward = cerebellum.CURVE_PER_MM * x_mm**2
    where = torch.stack(
        [torch.full_like(angle, x_mm), y - forward - radius_mm * angle.cos(),
         z + radius_mm * angle.sin()], -1,
    )  # fmt: skip
    own, slow, *_ = of.brain.folds.at(where)
    grey = torch.full_like(own, 30.0)  # no white matter near
    fissure, _ = cerebellum.surfaces(where, grey, own, slow)
    least = (fissure[1:-1] < fissure[:-2]) & (fissure[1:-1] <= fissure[2:])
    return degrees[1:-1][least & (fissure[1:-1] < 0)]


@pytest.mark.parametrize("seed", [3, 5, 8])
def test_few_fissures_are_deep_and_many_shallow(seed):
    """Rays from the core would be as many on every arc, and evenly spaced."""
    deep, shallow = [], []
    for x_mm in (1.0, -17.0, 30.0):
        deep.append(len(fissures_along_an_arc(head(seed), x_mm, 9.0)))
        rim = fissures_along_an_arc(head(seed), x_mm, 22.0)
        shallow.append(len(rim))
        apart = rim.diff()
        assert apart.std() / apart.mean() > 0.3
    assert sum(deep) / 3 <= 4
    assert sum(shallow) > 3 * sum(deep)


@pytest.mark.parametrize("seed", [3, 5, 8])
def test_white_matter_branches_outwards_from_a_trunk(seed):
    """In sagittal slices the inner part is mostly white, the rim mostly grey."""
    of = head(seed)
    for x_mm in (1.0, 16.0, -29.0):
        points = anatomy.positions((110, 101), (82.5, 75.75), torch.tensor([x_mm]), "sagittal")
        points = points + torch.tensor([0.0, -45.0, -55.0])
        parts = anatomy.fractions_at(of, points, 0.75)[:, 0]
        where = anatomy.to_template(of, points)[0]
        inside = cerebellum.outside(where) < -2
        y, z = cerebellum.CORE_MM
        radius = torch.hypot(
            where[..., 1] - y + cerebellum.CURVE_PER_MM * where[..., 0] ** 2, where[..., 2] - z
        )
        white = parts[TISSUES.index("white")]
        trunk = white[inside & (radius > 7) & (radius < 13)].mean()
        rim = white[inside & (radius > 19)].mean()
        assert 0.25 < trunk < 0.8
        assert trunk > 1.6 * rim > 0.05


def test_the_horizontal_fissure_points_straight_back_and_curves_forward_at_the_sides():
    """Where no field moves it: at the angle, the depth and the width that it is given."""
    degrees, end_mm, half_mm = cerebellum.FISSURES[5]
    y, z = cerebellum.CORE_MM
    for x_mm in (0.0, -35.0):
        radius = torch.tensor([end_mm - 3.0, end_mm + 6.0, end_mm + 15.0])
        angle = torch.tensor(degrees).deg2rad()
        forward = cerebellum.CURVE_PER_MM * x_mm**2
        where = torch.stack(
            [torch.full((3,), x_mm), y - forward - radius * angle.cos(), z + radius * angle.sin()],
            -1,
        )
        nothing = torch.zeros(3)
        fissure, _ = cerebellum.surfaces(where, nothing + 30, nothing, nothing)
        torch.testing.assert_close(fissure[1:], torch.tensor([-half_mm, -half_mm]))
        assert fissure[0] > 0  # it ends here; a folium may lie nearer than its end
        aside = where + 0.8 * torch.tensor([0.0, math.sin(angle), math.cos(angle)])
        wall, _ = cerebellum.surfaces(aside, nothing + 30, nothing, nothing)
        assert (wall[1:] <= 0.8 - half_mm + 0.01).all()
