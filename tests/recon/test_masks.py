"""Masks against fastMRI's own, and the R that they reach."""

import numpy as np
import pytest
import torch
from fastmri.data.subsample import create_mask_for_mask_type
from fastmri.data.transforms import apply_mask

from synthlib.recon import masks


def fastmri_mask(n_columns, acceleration, seed, center_fraction=0.04):
    make = create_mask_for_mask_type("equispaced_fraction", [center_fraction], [acceleration])
    columns, n_center = make((1, 1, n_columns, 2), seed=seed)
    return columns.flatten() > 0, n_center


@pytest.mark.parametrize("n_columns", [320, 321, 180, 77])
@pytest.mark.parametrize("acceleration", [4, 6, 8, 10])
@pytest.mark.parametrize("name", ["file_brain_AXT2_200_2000019", "head#1", "ü"])
def test_masks_are_fastmris_own_of_the_same_name(n_columns, acceleration, name):
    mask = masks.equispaced(n_columns, acceleration, seed=name)
    expected, n_center = fastmri_mask(n_columns, acceleration, tuple(map(ord, name)))
    assert mask.columns.dtype == torch.bool
    assert torch.equal(mask.columns, expected)
    assert mask.n_center == n_center == round(0.04 * n_columns)


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 7, 2**55 + 1])
def test_masks_take_seeds_of_any_size(seed):
    low, high = seed & 0xFFFFFFFF, seed >> 32
    expected, _ = fastmri_mask(320, 4, (low, high))
    assert torch.equal(masks.equispaced(320, 4, seed=seed).columns, expected)


def test_seeds_that_differ_give_every_offset():
    seen = {tuple(masks.equispaced(320, 4, seed=seed << 32).columns.tolist()) for seed in range(60)}
    assert len(seen) in (4, 5)  # one for every offset below the spacing


@pytest.mark.parametrize("acceleration", [4, 6, 8, 10])
def test_the_achieved_acceleration_is_the_nominal_one_at_320_columns(acceleration):
    names = [f"file{number}" for number in range(40)]
    seeds = [masks.seed_of(name) for name in names]
    reached = [masks.equispaced(320, acceleration, seed=seed).acceleration for seed in seeds]
    assert np.mean(reached) == pytest.approx(acceleration, rel=0.04)
    mean = masks.mean_acceleration(320, acceleration, names, center_fraction=0.04)
    assert mean == pytest.approx(np.mean(reached))


def test_the_achieved_acceleration_counts_columns():
    columns = torch.zeros(45, dtype=torch.bool)
    columns[[3, 20, 22, 40]] = True
    whole, padded = masks.Mask(columns, 1), masks.Mask(columns, 1, n_acquired=38)
    assert (whole.acceleration, whole.acquired_acceleration) == (45 / 4, 45 / 4)
    assert (padded.acceleration, padded.acquired_acceleration) == (45 / 4, 38 / 4)


def fastmri_means(n_columns, acquired, names):
    """Means of R over all and over acquired columns, counted after fastMRI's own apply_mask."""
    make = create_mask_for_mask_type("equispaced_fraction", [0.04], [4])
    lines = torch.ones(1, n_columns, 2)
    measured = [
        int(apply_mask(lines, make, seed=tuple(map(ord, f"{name}.h5")), padding=acquired)[0].sum())
        // 2
        for name in names
    ]
    n_acquired = acquired[1] - acquired[0]
    return np.mean([n_columns / n for n in measured]), np.mean([n_acquired / n for n in measured])


# both sides alike as in fastMRI's files, one side as after partial Fourier (5/8 and 7/8), none
@pytest.mark.parametrize(
    ("n_columns", "acquired"),
    [(320, (19, 301)), (320, (38, 320)), (181, (68, 181)), (181, (0, 158)), (77, (0, 77))],
)
def test_zero_padding_counts_in_one_acceleration_only(n_columns, acquired):
    names = [f"file{number}" for number in range(40)]
    over_all, over_acquired = fastmri_means(n_columns, acquired, names)
    how = {"center_fraction": 0.04, "acquired": acquired}
    assert masks.mean_acceleration(n_columns, 4, names, **how) == pytest.approx(over_all)
    reached = masks.mean_acquired_acceleration(n_columns, 4, names, **how)
    assert reached == pytest.approx(over_acquired)
    drawn = [masks.of_volume(name, n_columns, 4, **how) for name in names]
    assert np.mean([mask.acquired_acceleration for mask in drawn]) == pytest.approx(over_acquired)
    assert {mask.n_acquired for mask in drawn} == {acquired[1] - acquired[0]}


def test_282_of_320_columns_reach_more_than_4_of_all_and_less_than_4_of_the_acquired():
    # In closed form: 13 centre lines; elsewhere one column in 4 * 307 / 268 = 4.58 is measured,
    # and of 282 acquired columns 269 are elsewhere.
    n_measured = 13 + (282 - 13) / (4 * (320 - 13) / (320 - 4 * 13))
    names = [f"file{number}" for number in range(100)]
    how = {"center_fraction": 0.04, "acquired": (19, 301)}
    over_all = masks.mean_acceleration(320, 4, names, **how)
    assert over_all == pytest.approx(320 / n_measured, rel=0.01)
    assert over_all == pytest.approx(4.46, abs=0.02)
    assert masks.mean_acquired_acceleration(320, 4, names, **how) == pytest.approx(3.93, abs=0.02)


@pytest.mark.parametrize("acquired", [(-1, 181), (0, 182), (100, 60), (88, 181), (0, 93)])
def test_acquired_columns_without_the_centre_or_beyond_the_ends_are_refused(acquired):
    first, end = acquired  # the 7 centre lines are 87 to 93
    with pytest.raises(ValueError, match=rf"columns {first} to {end - 1} of 181 were .* 87 to 93"):
        masks.equispaced(181, 4, seed="file", acquired=acquired)


def test_acquired_columns_that_end_with_the_centre_serve():
    for acquired in ((87, 181), (0, 94)):
        mask = masks.equispaced(181, 8, seed="file", acquired=acquired)
        assert mask.columns[87:94].all()
        assert mask.n_center == 7


def test_the_centre_of_kspace_is_always_measured():
    for n_columns in (320, 181, 76):
        for number in range(10):
            mask = masks.equispaced(n_columns, 8, seed=f"file{number}")
            middle = torch.arange(n_columns) - n_columns // 2
            reach = mask.n_center // 2
            assert mask.columns[(middle > -reach) & (middle < reach)].all()
            assert mask.columns[n_columns // 2]


@pytest.mark.parametrize(
    ("acceleration", "center_fraction"), [(4, 0.25), (4, 0.3), (10, 0.1), (8, 0.0), (1, 0.04)]
)
def test_a_centre_that_reaches_the_whole_share_of_lines_is_refused(acceleration, center_fraction):
    for refuse in (
        lambda: masks.require_possible(acceleration, center_fraction),
        lambda: masks.equispaced(320, acceleration, center_fraction=center_fraction, seed=1),
    ):
        with pytest.raises(ValueError, match=f"R = {acceleration} and centre fraction"):
            refuse()


@pytest.mark.parametrize(("n_columns", "fraction"), [(11, 0.04), (12, 0.04), (15, 0.249)])
def test_too_few_columns_for_the_centre_are_refused(n_columns, fraction):
    with pytest.raises(ValueError, match=f"{n_columns} columns .* centre lines"):
        masks.equispaced(n_columns, 4, center_fraction=fraction, seed="file")


def test_a_centre_fraction_below_the_limit_serves():
    masks.require_possible(10, 0.099)
    masks.require_possible(4, 0.249)


@pytest.mark.parametrize("acquired", [(26, 154), (0, 150), (25, 180)])
def test_zero_padded_columns_are_never_sampled(acquired):
    first, end = acquired
    for seed in ("a", "b", "c", "d"):
        padded = masks.equispaced(180, 4, seed=seed, acquired=acquired).columns
        assert not padded[:first].any()
        assert not padded[end:].any()
        whole = masks.equispaced(180, 4, seed=seed).columns
        assert torch.equal(padded[first:end], whole[first:end])
        assert whole[:first].any() or whole[end:].any()


def test_global_random_states_are_untouched():
    np.random.seed(3)  # noqa: NPY002  # the global state is what is watched
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    masks.equispaced(320, 4, seed="file")
    masks.equispaced(320, 4, seed=12345678901234)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
