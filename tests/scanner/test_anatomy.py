"""Heads: no folds, whole pixels, tissues where they belong."""

from dataclasses import replace

import pytest
import torch

from synthlib.scanner import anatomy, template
from synthlib.scanner.anatomy import ORIENTATIONS, TISSUES

FOV_MM = (230.0, 192.0)
LEVELS_MM = torch.tensor([-14.0, 0.0, 26.0])


def head(seed: int, n_lesions: int = 0) -> anatomy.Head:
    return anatomy.draw_head(torch.Generator().manual_seed(seed), n_lesions)


def fractions(
    of: anatomy.Head,
    matrix: tuple[int, int] = (48, 40),
    centres: torch.Tensor = LEVELS_MM,
    orientation: str = "axial",
) -> torch.Tensor:
    points = anatomy.positions(matrix, FOV_MM, centres, orientation)
    return anatomy.fractions_at(of, points, FOV_MM[0] / matrix[0])


def share(parts: torch.Tensor, *names: str) -> torch.Tensor:
    return parts[[TISSUES.index(name) for name in names]].sum(0)


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


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_tissues_fill_every_pixel(orientation):
    parts = fractions(head(1, 3), orientation=orientation)
    assert parts.shape == (len(TISSUES), 3, 48, 40)
    assert parts.min() >= 0
    torch.testing.assert_close(parts.sum(0), torch.ones(3, 48, 40))


def test_isocentre_lies_on_the_centre_pixel_at_odd_and_even_sizes():
    for matrix in [(48, 40), (45, 38), (46, 39)]:
        for orientation, normal in (
            ("axial", [0.0, 0.0, 7.0]),
            ("coronal", [0.0, 7.0, 0.0]),
            ("sagittal", [7.0, 0.0, 0.0]),
        ):
            points = anatomy.positions(matrix, FOV_MM, torch.tensor([7.0]), orientation)
            centre = points[0, matrix[0] // 2, matrix[1] // 2]
            torch.testing.assert_close(centre, torch.tensor(normal))


def test_front_and_crown_are_at_the_top_and_the_right_side_on_the_left():
    first, last = (0, 0), (-1, -1)
    axial, coronal, sagittal = (
        anatomy.positions((10, 8), FOV_MM, torch.zeros(1), name)[0]
        for name in ("axial", "coronal", "sagittal")
    )
    assert axial[first][1] > axial[last][1] and axial[first][0] > axial[last][0]
    assert coronal[first][2] > coronal[last][2] and coronal[first][0] > coronal[last][0]
    assert sagittal[first][2] > sagittal[last][2] and sagittal[first][1] > sagittal[last][1]


def test_slices_of_all_orientations_cut_the_same_head():
    of, at = head(4), torch.tensor([12.0])
    size, fov = (61, 61), (240.0, 240.0)  # odd: pixel 30 is the isocentre in every direction
    planes = {
        name: anatomy.fractions_at(of, anatomy.positions(size, fov, at, name), 4.0)[:, 0]
        for name in ORIENTATIONS
    }
    step = round(12.0 / (240.0 / 61))  # 12 mm is 3.05 pixels: nearly the same line
    line = planes["axial"][:, :, 30 - step]  # from front to back at x = 12 mm, z = 12 mm
    same = planes["sagittal"][:, 30 - step, :]
    assert (line - same).abs().mean() < 0.02
    other = planes["sagittal"][:, 30 + step, :]
    assert (line - other).abs().mean() > 0.02


def test_skin_and_fat_surround_bone_which_surrounds_the_brain():
    for seed in range(3):
        labels = anatomy.label_map(fractions(head(seed), (192, 160)))
        row = [TISSUES[i] for i in labels[1, 96].tolist()]  # through mid-ventricle
        inward = [tissue for tissue in dict.fromkeys(row) if tissue != "muscle"]
        assert inward[:3] == ["air", "fat", "bone"]
        assert "csf" in row and "white" in row and "grey" in row
        assert row[0] == row[-1] == "air"


def test_brain_has_a_plausible_share_of_its_tissues():
    grey, white, fluid = (share(fractions(head(4)), t).sum() for t in ("grey", "white", "csf"))
    assert 0.6 < white / grey < 1.4
    assert 0.05 < fluid / (grey + white) < 0.4


def test_below_the_brain_there_are_eyes_sinuses_muscle_and_the_cord():
    low = fractions(head(2), (96, 80), torch.tensor([-52.0, -90.0]))
    eyes, neck = low[:, 0], low[:, 1]
    assert share(eyes, "eye")[:48].sum() > 20 and share(eyes, "eye")[48:].sum() == 0
    inside_air = share(eyes, "air") * (share(eyes, "air") > 0.9)
    assert inside_air[20:60, 30:50].sum() > 20  # nose and sinuses, between the eyes
    assert share(neck, "muscle").sum() > share(neck, "bone").sum() > 0
    assert share(neck, "white", "grey").sum() > 0


def test_larger_ventricles_hold_more_fluid():
    small, large = (
        share(fractions(replace(head(2), ventricles=size)), "csf")[1, 14:34, 12:28].sum()
        for size in (-0.15, 0.3)
    )
    assert large > 1.15 * small


def test_every_head_has_its_own_folds_and_the_same_deep_tissue():
    plain = head(5)
    other = replace(plain, folds=head(6).folds)
    first, second = (fractions(h, (96, 80)).argmax(0) for h in (plain, other))
    points = anatomy.positions((96, 80), FOV_MM, LEVELS_MM)
    depth = template.sample(anatomy.to_template(plain, points))[2]
    cortex, deep = (depth < -1) & (depth > -18), depth < -30
    assert (first != second)[cortex].float().mean() > 0.1
    assert (first != second)[deep].float().mean() < 0.02


def test_most_of_the_brain_is_one_tissue_and_edges_are_mixed():
    parts = fractions(head(3), (192, 160))
    inside = share(parts, "csf", "grey", "white") > 0.99
    purest = parts.amax(0)[inside]
    assert (purest > 0.9).float().mean() > 0.6
    assert (purest < 0.7).float().mean() > 0.05


def test_lesions_lie_in_the_brain_and_keep_their_label():
    whole, wounded = head(7), head(7, 5)
    assert len(wounded.lesions) == 5
    levels = torch.arange(-20.0, 40.0, 4.0)
    before, after = (fractions(h, (96, 80), levels) for h in (whole, wounded))
    lesion = share(after, "lesion")
    assert (anatomy.label_map(after) == TISSUES.index("lesion")).sum() > 5
    assert share(before, "lesion").sum() == 0
    assert share(before, "grey", "white")[lesion > 0.5].min() > 0.5
    assert torch.equal(before[:, lesion == 0], after[:, lesion == 0])  # nothing else moved
    assert torch.equal(
        anatomy.brain_fraction(after)[lesion == 0], anatomy.brain_fraction(before)[lesion == 0]
    )


def test_shapes_out_of_reach_are_skipped_without_a_trace(monkeypatch):
    expected = {
        name: fractions(head(3), centres=torch.tensor([-50.0, 10.0]), orientation=name)
        for name in ORIENTATIONS
    }
    monkeypatch.setattr(anatomy, "_overlaps", lambda box, shape: True)
    for name, found in expected.items():
        again = fractions(head(3), centres=torch.tensor([-50.0, 10.0]), orientation=name)
        assert torch.equal(found, again)
