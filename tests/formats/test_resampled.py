"""What resampling leaves around and in an image is made zero; what is no magnitude is refused."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from synthlib.formats.refusals import Refusal, require_magnitude


def ball(n_slices: int = 9) -> np.ndarray:
    """float32 (slice, 41, 33), a ball of 5 to 9 with a darker core, 0 around it."""
    z, y, x = np.mgrid[-1 : 1 : n_slices * 1j, -1:1:41j, -1:1:33j]
    radius = np.sqrt(0.5 * z**2 + y**2 + x**2)
    return np.where(radius < 0.7, 5 + 4 * (radius > 0.3), 0).astype(np.float32)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_turned_image_keeps_its_object_and_gets_zeros_for_what_lay_outside(bad):
    turned = ndimage.rotate(ball(), 17, axes=(1, 2), reshape=False, order=1, cval=bad)
    turned[-1] = bad  # a slice beyond the field of view
    expected = np.where(np.isfinite(turned), turned, 0)
    volume = torch.from_numpy(turned.copy())
    (note,) = require_magnitude(volume)
    assert note == f"{int((~np.isfinite(turned)).sum())} NaN or Inf around the object were made 0"
    np.testing.assert_array_equal(volume, expected)
    assert (expected == 0).sum() > 100 and expected.max() == turned[np.isfinite(turned)].max()


def test_nan_for_all_air_of_a_stripped_head_is_zero():
    volume = torch.from_numpy(np.where(ball() > 0, ball(), np.nan))
    require_magnitude(volume)
    np.testing.assert_array_equal(volume, ball())


@pytest.mark.parametrize("where", [(4, 20, 16), (0, 20, 16)])
def test_nan_within_the_object_is_refused_also_in_the_lowest_slice(where):
    volume = ball()
    volume[:, 0, 0] = volume[where] = np.nan
    with pytest.raises(Refusal, match=r"^10 NaN or Inf of 12177 values, 1 of them within"):
        require_magnitude(torch.from_numpy(volume))


@pytest.mark.parametrize("order", [2, 3])
def test_the_ringing_of_splines_at_hard_edges_is_made_zero(order):
    moved = ndimage.shift(ball(), (0, 0.5, 0.5), order=order)
    assert moved.min() < -0.02 * moved.max()
    volume = torch.from_numpy(moved.copy())
    (note,) = require_magnitude(volume)
    assert note.startswith(f"{int((moved < 0).sum())} small negative values, as interpolation")
    np.testing.assert_array_equal(volume, moved.clip(min=0))


def test_differences_real_parts_and_offsets_stay_refused():
    rng = np.random.default_rng(3)
    first, second = (ball() + np.abs(rng.normal(0, 0.3, ball().shape)) for _ in range(2))
    inverted = np.where(ball() == 9, -4, ball())  # inversion recovery with its sign
    for values in (first - second, inverted, ball() - 1):
        with pytest.raises(Refusal, match="negative values"):
            require_magnitude(torch.from_numpy(values.astype(np.float32)))


@pytest.mark.parametrize(("value", "reason"), [(0, "only zeros"), (7, "one value everywhere")])
def test_an_image_of_one_value_is_refused(value, reason):
    with pytest.raises(Refusal, match=reason):
        require_magnitude(torch.full((3, 7, 5), float(value)))
