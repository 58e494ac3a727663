"""Heads: no folds, whole pixels, tissues where they belong."""

from dataclasses import replace

import torch

from synthlib.scanner import anatomy
from synthlib.scanner.anatomy import TISSUES

FOV_MM = (230.0, 192.0)
LEVELS_MM = torch.tensor([-14.0, 0.0, 26.0])


def head(seed: int) -> anatomy.Head:
    return anatomy.draw_head(torch.Generator().manual_seed(seed))


def fractions(seed: int, matrix: tuple[int, int] = (48, 40)) -> torch.Tensor:
    return anatomy.tissue_fractions(head(seed), matrix, FOV_MM, LEVELS_MM, 5.0)


def test_no_head_is_folded():
    axes = [torch.arange(-100.0, 101.0, 8.0)] * 3
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    for seed in range(30):
        columns = [
            anatomy.to_template(head(seed), points + 0.5 * axis)
            - anatomy.to_template(head(seed), points - 0.5 * axis)
            for axis in torch.eye(3)
        ]
        jacobian = torch.linalg.det(torch.stack(columns, -1))
        assert jacobian.min() > 0.2
        assert jacobian.max() < 4


def test_tissues_fill_every_pixel():
    parts = fractions(1)
    assert parts.shape == (len(TISSUES), 3, 48, 40)
    assert parts.min() >= 0
    torch.testing.assert_close(parts.sum(0), torch.ones(3, 48, 40))


def test_isocentre_lies_on_the_centre_pixel_at_odd_and_even_sizes():
    for matrix in [(48, 40), (45, 38), (46, 39)]:
        points = anatomy.positions(matrix, FOV_MM, torch.tensor([7.0]))
        centre = points[0, matrix[0] // 2, matrix[1] // 2]
        torch.testing.assert_close(centre, torch.tensor([0.0, 0.0, 7.0]))


def test_finer_positions_average_to_the_pixel():
    coarse = anatomy.positions((9, 6), (90.0, 72.0), torch.zeros(1))
    fine = anatomy.positions((9, 6), (90.0, 72.0), torch.zeros(1), finer=2)
    mean = torch.nn.functional.avg_pool2d(fine.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    torch.testing.assert_close(mean, coarse, atol=1e-5, rtol=0)


def test_the_front_of_the_head_is_at_the_top():
    points = anatomy.positions((10, 8), FOV_MM, torch.zeros(1))[0]
    assert points[0, 0, 1] > points[-1, 0, 1]  # y falls along the rows
    assert points[0, 0, 0] > points[0, -1, 0]  # the right side is on the left


def test_skin_and_fat_surround_bone_which_surrounds_the_brain():
    for seed in range(3):
        labels = anatomy.label_map(fractions(seed, (96, 80)))
        row = [TISSUES[i] for i in labels[1, 48].tolist()]  # through mid-ventricle
        inward = [tissue for tissue in dict.fromkeys(row) if tissue != "muscle"]
        assert inward[:3] == ["air", "fat", "bone"]
        assert "csf" in row and "white" in row and "grey" in row
        assert row[0] == row[-1] == "air"


def test_brain_has_a_plausible_share_of_its_tissues():
    grey, white, fluid = (fractions(4)[TISSUES.index(t)].sum() for t in ("grey", "white", "csf"))
    assert 0.6 < white / grey < 1.4
    assert 0.05 < fluid / (grey + white) < 0.4


def test_larger_ventricles_hold_more_fluid():
    small, large = (
        anatomy.tissue_fractions(
            replace(head(2), ventricles=size), (48, 40), FOV_MM, LEVELS_MM[1:2], 5.0
        )[TISSUES.index("csf"), 0, 14:34, 12:28].sum()
        for size in (-0.15, 0.3)
    )
    assert large > 1.15 * small
