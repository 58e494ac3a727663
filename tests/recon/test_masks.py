"""Masks against fastMRI's own, and the R that they reach."""

import numpy as np
import pytest
import torch
from fastmri.data.subsample import create_mask_for_mask_type

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
    assert masks.Mask(columns, 1).acceleration == 45 / 4


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
