"""Heads: no folds, whole pixels, tissues where they belong."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial import ConvexHull

from synthlib.scanner import anatomy, atlas, brain, covers, shapes, template, volume
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
        labels = anatomy.label_map(fractions(head(seed), (320, 267)))
        row = [TISSUES[i] for i in labels[1, 160].tolist()]  # through mid-ventricle
        inward = [t for t in dict.fromkeys(row) if t not in ("muscle", "dura")]
        assert inward[:4] == ["air", "skin", "fat", "bone"]
        assert "csf" in row and "white" in row and "grey" in row
        assert row[0] == row[-1] == "air"


def test_brain_has_a_plausible_share_of_its_tissues():
    parts = fractions(head(4))
    grey, white, fluid = (
        share(parts, *names).sum() for names in (("grey", "deep"), ("white",), ("csf",))
    )
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
    levels = torch.tensor([4.0, 8.0, 12.0])  # through the bodies of the lateral ventricles
    points = anatomy.positions((96, 80), FOV_MM, levels)
    deep = template.depth_map().at(anatomy.to_template(head(2), points))[0] < -25
    small, large = (
        share(fractions(replace(head(2), ventricles=size), (96, 80), levels), "csf")[deep].sum()
        for size in (-0.15, 0.3)
    )
    assert large > 1.3 * small


def test_every_head_has_its_own_folds_and_the_same_deep_tissue():
    plain = head(5)
    folds = plain.brain.folds.values.clone()
    folds[0] = head(6).brain.folds.values[0]  # the others say where in the template a place is
    other = replace(
        plain, brain=replace(plain.brain, folds=replace(plain.brain.folds, values=folds))
    )
    first, second = (fractions(h, (96, 80)).argmax(0) for h in (plain, other))
    points = anatomy.positions((96, 80), FOV_MM, LEVELS_MM)
    depth = template.depth_map().at(anatomy.to_template(plain, points))[0]
    cortex, deep = (depth < -1) & (depth > -18), depth < brain.DEEPEST_CORTEX_MM
    assert (first != second)[cortex].float().mean() > 0.05
    assert (first != second)[deep].float().mean() < 0.03
    assert deep.sum() > 100


def cube(of: anatomy.Head, edge_mm: float = 1.0) -> torch.Tensor:
    """Labels (z, y, x) of a block of one hemisphere's convexity, from the midline outwards."""
    axes = [torch.arange(low, high, edge_mm) for low, high in ((10, 58), (-70, 50), (4, 66))]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return anatomy.label_map(anatomy.fractions_at(of, torch.stack([x, y, z], -1), edge_mm))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_cortex_is_a_ribbon_of_constant_thickness(seed):
    """At its middle, the distances to fluid and to white matter add up to 2 to 4 mm.

    Measured: 2.5 mm on average, nine tenths of it between 1 and 4.5 (Fischl & Dale 2000).
    """
    labels = cube(head(seed), 0.75).numpy()
    grey, white = (labels == TISSUES.index(name) for name in ("grey", "white"))
    thickness = 0.75 * sum(
        ndimage.distance_transform_edt(~side) for side in (white, ~(grey | white))
    )
    ridge = grey & (ndimage.maximum_filter(ndimage.distance_transform_edt(grey), 3)
                    == ndimage.distance_transform_edt(grey))  # fmt: skip
    low, middle, high = np.quantile(thickness[ridge], [0.1, 0.5, 0.9])
    assert low > 1.0 and 2.0 < middle < 4.0 and high < 6.0


@pytest.mark.parametrize("seed", [1, 2])
def test_the_cortex_is_folded_as_much_as_measured_cortices(seed):
    """Length of the cortex' inner border over that of the brain's convex outline, slice by slice.

    Zilles et al., Anat Embryol 179:173 (1988): the outer border 2.2 to 2.8 over all slices.
    """
    points = anatomy.positions((240, 200), (200.0, 166.7), torch.tensor([-5.0, 15.0, 30.0]))
    labels = anatomy.label_map(anatomy.fractions_at(head(seed), points, 0.83)).numpy()
    for plane in labels:
        white = np.isin(plane, [TISSUES.index(name) for name in ("white", "deep", "lesion")])
        brain = ndimage.binary_fill_holes(white | (plane == TISSUES.index("grey")))
        outline = ConvexHull(np.argwhere(brain))
        folded = np.hypot(*np.gradient(ndimage.gaussian_filter(white.astype(float), 1.0))).sum()
        assert 1.6 < folded / outline.area < 4.5


def test_thin_fluid_lies_between_gyri():
    """Half of the sulci's fluid is at most 3 mm wide (twice the distance to its wall)."""
    labels = cube(head(3), 0.75).numpy()
    fluid = np.isin(labels, [TISSUES.index(name) for name in ("csf", "blood", "artery")])
    inside = ndimage.binary_closing(~np.isin(labels, [0, TISSUES.index("bone")]), iterations=2)
    width = 2 * 0.75 * ndimage.distance_transform_edt(fluid)[fluid & inside]
    assert 0.3 < np.median(width) < 3


def test_layers_around_the_brain_are_no_rings():
    """Thickness of the skull and of scalp fat along rays differs by a quarter at least."""
    for seed in range(2):
        of = head(seed)
        angle = torch.arange(0, 2 * math.pi, 2 * math.pi / 72)
        radius = torch.arange(40.0, 130.0, 0.25)
        points = torch.stack(
            [radius * angle.sin()[:, None], radius * angle.cos()[:, None],
             torch.full((72, len(radius)), 20.0)], -1,
        )  # fmt: skip
        parts = anatomy.fractions_at(of, points, 0.25)
        for names in (("bone",), ("fat",)):
            mm = 0.25 * share(parts, *names).sum(-1)
            assert mm.std() / mm.mean() > 0.15
        left, right = 0.25 * share(parts, "bone").sum(-1)[1:36], 0.25 * share(parts, "bone").sum(-1)
        assert (left - right.flip(0)[:35]).abs().mean() > 0.2  # and no mirror image


def test_the_axis_between_two_walls_is_their_middle():
    walls = np.zeros((9, 31, 14), bool)
    walls[:, :8], walls[:, 21:] = True, True  # 13 voxels apart: the middle is row 14
    axis = template.medial_axis(walls)
    rows = np.argwhere(axis)[:, 1]
    assert set(rows) <= {13, 14} and axis.any(1).mean() > 0.9


def test_most_of_the_brain_is_one_tissue_and_edges_are_mixed():
    parts = fractions(head(3), (192, 160))
    inside = share(parts, "csf", "grey", "white") > 0.99
    purest = parts.amax(0)[inside]
    assert (purest > 0.9).float().mean() > 0.6
    assert (purest < 0.7).float().mean() > 0.05


def test_lesions_lie_in_the_brain_and_keep_their_label():
    whole, wounded = head(7), head(7, 5)
    own = len(whole.brain.lesions)  # of age
    assert len(wounded.brain.lesions) == own + 5
    assert torch.equal(wounded.brain.lesions[:own], whole.brain.lesions)
    whole, wounded = (
        replace(h, brain=replace(h.brain, lesions=h.brain.lesions[own:])) for h in (whole, wounded)
    )
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


def test_surfaces_across_a_slice_fade_over_its_samples():
    """Three samples through 6 mm give the mean of many, also where a surface lies in the plane."""
    centres = torch.tensor([55.0])  # near the vertex, where most surfaces do

    def mean(n, through):
        depths = ((torch.arange(n) + 0.5) / n - 0.5) * 6.0
        where = anatomy.positions((61, 53), FOV_MM, centres + depths)
        return anatomy.fractions_at(head(4), where, 1.0, through=through).mean(1)

    truth = mean(40, False)
    hard, faded = ((mean(3, through) - truth).square().mean().sqrt() for through in (False, True))
    assert faded < 0.65 * hard


def test_a_finer_grid_holds_the_same_waves():
    axes = [torch.arange(n, dtype=torch.float32) for n in (6, 9, 10)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")

    def wave(z, y, x):
        return torch.cos(2 * math.pi * (z / 6 - 2 * y / 9 + x / 10) + 0.4)

    coarse = volume.Volume(wave(z, y, x)[None], (1.0, 2.0, 3.0), 4.0)
    fine = volume.finer(coarse)
    assert (fine.spacing_mm, fine.first_mm) == (2.0, coarse.first_mm)
    axes = [torch.arange(2 * n, dtype=torch.float32) / 2 for n in (6, 9, 10)]
    expected = wave(*torch.meshgrid(*axes, indexing="ij"))
    torch.testing.assert_close(fine.values[0], expected, rtol=0, atol=1e-5)


def test_small_lesions_come_with_age_and_lie_by_the_ventricles():
    rng = torch.Generator().manual_seed(3)
    young, old = ([brain.aged_lesions(rng, age) for _ in range(200)] for age in (30.0, 80.0))
    assert sum(map(len, young)) == 0
    numbers = torch.tensor([len(lesions) for lesions in old], dtype=torch.float64)
    assert abs(float(numbers.mean()) - brain.OLD_LESIONS) < 4 * (brain.OLD_LESIONS / 200) ** 0.5
    anywhere = brain.draw_lesions(rng, 2000)[:, :3].abs()
    places = torch.cat(old)[:, :3].abs()

    def from_ventricles(points):
        return (points[:, [0, 2]] - torch.tensor(brain.VENTRICLE_AT_MM)).norm(dim=1).median()

    assert from_ventricles(places) < 0.8 * from_ventricles(anywhere)


def test_the_hemispheres_part_at_the_midline_above_the_callosum():
    levels = torch.tensor([28.0])
    for seed in (2, 8):
        parts = fractions(head(seed), (200, 160), levels)
        parting = share(parts, "csf", "dura", "blood")[0]
        matter = share(parts, "grey", "white")[0] > 0.9
        rows = (matter.sum(1) > 40).nonzero().flatten()[6:-6]
        # in every row of the brain something parts the hemispheres, near the middle of its width
        middle = [int(matter[row].nonzero().float().mean()) for row in rows]
        widths = zip(rows, middle, strict=True)
        parted = [float(parting[row, m - 8 : m + 9].max()) for row, m in widths]
        assert np.mean(np.array(parted) > 0.4) > 0.95


def test_the_frontal_sinus_lies_between_the_tables_of_the_skull():
    n_sinus = 0
    where = anatomy.positions((200, 160), FOV_MM, torch.arange(-34.0, -6.0, 2.0))
    for seed in (1, 5, 9):
        subject = head(seed)
        template_mm = anatomy.to_template(subject, where)
        layer = covers.layers(
            subject.covers, shapes.Bodies(template_mm), *template.depth_map().at(template_mm)
        )
        forehead = (template_mm[..., 1] > 60) & (template_mm[..., 2] > -18)
        air = share(anatomy.fractions_at(subject, where, 0.8), "air") > 0.5
        sinus = air & forehead & (layer.skin < -3)
        n_sinus += int(sinus.sum())
        assert layer.skull_outer[sinus].max() < 0 < layer.skull_inner[sinus].min()
    assert n_sinus > 100


def test_bodies_out_of_reach_are_skipped_without_a_trace():
    everything = [*atlas.BONES, *atlas.MUSCLES, *atlas.SINUSES, *atlas.CAVITIES, *atlas.FACE]
    for name in ORIENTATIONS:
        where = anatomy.positions((31, 40), FOV_MM, torch.tensor([-50.0, 10.0]), name)
        bodies = shapes.Bodies(where)
        plain = torch.stack([body.outside(bodies.mirrored) for body in everything]).amin(0)
        expected = plain.clamp(max=shapes.REACH_MM)
        near = expected < 2.0
        torch.testing.assert_close(bodies.outside(everything)[near], expected[near])
        assert (bodies.outside(everything)[~near] > 1.9).all()


def test_distances_from_bodies_are_those_to_points_of_their_surface():
    rng = torch.Generator().manual_seed(4)
    tube = shapes.Tube(((1.0, -3.0, 2.0), (9.0, 4.0, 2.0), (9.0, 12.0, -6.0)), 2.5)
    pieces = zip(torch.tensor(tube.points), torch.tensor(tube.points[1:]), strict=False)
    along = torch.cat([torch.lerp(a, b, torch.rand(4000, 1, generator=rng)) for a, b in pieces])
    where = 30 * torch.rand(50, 3, generator=rng) - 10
    expected = torch.cdist(where, along).amin(1) - 2.5
    torch.testing.assert_close(tube.outside(where), expected, atol=0.02, rtol=0)
    ball = shapes.Ellipsoid((1.0, 2.0, 3.0), (4.0, 4.0, 4.0))
    expected = (where - torch.tensor([1.0, 2.0, 3.0])).norm(dim=1) - 4
    torch.testing.assert_close(ball.outside(where), expected)


def test_marrow_is_continuous_but_in_the_temples_and_varies_slowly():
    """Along rays 3 mm apart at the skull; a string of beads has steps as large as its mean."""
    angle = torch.arange(0, 2 * math.pi, 2 * math.pi / 180)
    radius = torch.arange(40.0, 130.0, 0.25)
    direction = torch.stack([angle.sin(), angle.cos(), torch.zeros_like(angle)], -1)
    for seed in (17, 18, 3):
        subject = head(seed)
        points = radius[:, None] * direction[:, None] + torch.tensor([0.0, 0.0, 45.0])
        where = anatomy.to_template(subject, points)
        layer = covers.layers(subject.covers, shapes.Bodies(where), *template.depth_map().at(where))
        skull = (layer.skull_outer < 0) & (layer.skull_inner > 0)
        fat = share(anatomy.fractions_at(subject, points, 0.25), "fat") * skull
        marrow_mm = 0.25 * fat.sum(-1)  # (ray,)
        midline = (angle.sin().abs() < 0.4) & (skull.sum(-1) > 4 / 0.25)
        assert marrow_mm[midline].min() > 0.1
        apart = (marrow_mm - marrow_mm.roll(3)).abs().mean()  # 9 mm, half a bead
        assert apart < 0.2 * marrow_mm.mean()
    low = anatomy.positions((3, 150), (6.0, 150.0), torch.tensor([-25.0]))
    thin = share(anatomy.fractions_at(subject, low + torch.tensor([0.0, 24.0, 0.0]), 1.0), "fat")
    where = anatomy.to_template(subject, low + torch.tensor([0.0, 24.0, 0.0]))
    layer = covers.layers(subject.covers, shapes.Bodies(where), *template.depth_map().at(where))
    assert thin[(layer.skull_outer < -0.5) & (layer.skull_inner > 0.5)].max() < 0.2


def test_mastoids_are_honeycombed_and_no_mirror_images():
    for seed in (15, 21):
        subject = head(seed)
        x, y, z = atlas.CELLS[1][0].centre
        axes = [torch.arange(c - reach, c + reach, 0.7) for c, reach in ((z, 12), (y, 11), (x, 8))]
        z, y, x = torch.meshgrid(*axes, indexing="ij")
        centre = torch.tensor(anatomy.TEMPLATE_CENTRE_MM)
        still = replace(
            subject, affine=torch.eye(3), shift_mm=torch.zeros(3), amplitudes_mm=torch.zeros(10, 3)
        )
        sides = []
        for sign in (1, -1):
            points = torch.stack([sign * x, y, z], -1) - centre
            air = share(anatomy.fractions_at(still, points, 0.7), "air").numpy() > 0.5
            sides.append(air)
            _, n = ndimage.label(ndimage.binary_erosion(air))
            assert n > 10
            assert 0.1 < air.mean() < 0.6
        right, left = sides
        assert (right & left).sum() / (right | left).sum() < 0.6


def test_no_slice_holds_a_free_piece_of_the_body():
    """The lobe of an ear may be one: pieces of 1 cm^2 may not."""
    where = {"axial": (-85.0, -70.0, -60.0), "coronal": (-50.0, 70.0), "sagittal": (-50.0, 50.0)}
    for seed in (41, 44, 47, 54):
        for orientation, levels in where.items():
            points = anatomy.positions(
                (125, 119), (250.0, 238.0), torch.tensor(levels), orientation
            )
            air = share(anatomy.fractions_at(head(seed), points, 2.0), "air")
            for body in (air < 0.5).numpy():
                pieces, _ = ndimage.label(body)
                areas_mm2 = np.sort(4.0 * np.bincount(pieces.ravel())[1:])
                assert areas_mm2[-1] > 8000
                assert (areas_mm2[:-1] < 100).all()


def test_bodies_blend_without_a_crease():
    """Two half spaces at a right angle: a distance apart as far as they alone are, and smooth."""
    x, y = torch.meshgrid(torch.linspace(-30, 30, 121), torch.linspace(-30, 30, 121), indexing="ij")
    both = shapes.blended(x, y, 12.0)
    apart = (x - y).abs() > 12
    torch.testing.assert_close(both[apart], torch.minimum(x, y)[apart])
    assert float((torch.minimum(x, y) - both).max()) == pytest.approx(3.0)
    steps = both.diff(dim=0)  # of 0.5 mm: from 0 to 0.5
    assert steps.min() > -1e-5 and steps.max() < 0.5 + 1e-5
    assert steps.diff(dim=0).abs().max() < 0.5 * 0.5 / 12 * 1.1  # no jump from one to the other


def test_the_brain_stem_has_no_folds_and_its_artery_lies_before_it():
    axes = [torch.arange(low, high, 1.0) for low, high in ((-38, -26), (-30, -19), (-8, 9))]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    pons = torch.stack([x, y, z], -1) - torch.tensor(anatomy.TEMPLATE_CENTRE_MM)
    before = pons + torch.tensor([0.0, 12.0, 0.0])
    for seed in (12, 13, 21):
        still = replace(
            head(seed),
            affine=torch.eye(3),
            shift_mm=torch.zeros(3),
            amplitudes_mm=torch.zeros(10, 3),
        )
        parts = anatomy.fractions_at(still, pons, 1.0)
        assert share(parts, "csf", "artery", "blood", "dura").max() < 0.05
        assert share(parts, "white").std() < 0.15
        assert share(parts, "white").min() > 0.3
        artery = share(anatomy.fractions_at(still, before, 1.0), "artery") > 0.5
        assert artery.any(-1).any(-1).all()  # at every level


@pytest.mark.parametrize("thickness_mm", [5.0, 10.0])
def test_vessels_are_as_wide_in_thick_slices_as_in_thin_ones(thickness_mm):
    """Shares in a slice of three samples against the mean of 30 thin slices that fill it."""
    subject = head(3)

    def share(n: int, through: bool) -> torch.Tensor:
        depths = ((torch.arange(n) + 0.5) / n - 0.5) * thickness_mm
        points = anatomy.positions((128, 112), (230.0, 200.0), 20.0 + depths)
        return anatomy.fractions_at(subject, points, 0.9, through=through).mean((1, 2, 3))

    found, expected = share(3, True), share(30, False)
    for name in ("blood", "artery"):
        at = anatomy.TISSUES.index(name)
        assert found[at] == pytest.approx(float(expected[at]), rel=0.12)


def test_the_brain_ends_at_the_foramen_magnum_and_the_cord_goes_on():
    subject = head(3)
    above = anatomy.positions((51, 45), (230.0, 200.0), torch.tensor([0.0]))
    below = anatomy.positions((51, 45), (230.0, 200.0), torch.tensor([-110.0]))
    for points, is_brain in ((above, True), (below, False)):
        shares = anatomy.fractions_at(subject, points, 4.0)
        matter = anatomy.brain_fraction(shares)
        assert matter.max() > 0.5
        expected = matter if is_brain else torch.zeros_like(matter)
        assert torch.equal(anatomy.brain_share(subject, shares, points), expected)
