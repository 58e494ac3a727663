"""What a sample of a slice stands for: the mean over its part of the thickness."""

import math

import pytest
import torch

from synthlib.scanner.samples import Samples


def samples_of(smooth_hz: torch.Tensor) -> Samples:
    """Samples (through, y, x) of a field alone."""
    none = torch.empty(0)
    return Samples(
        points=none, shares=none, field_hz=smooth_hz, smooth_hz=smooth_hz, water_hz=none,
        conductive=none, shading=none, unrefocused=none, row_mm=1.0,
    )  # fmt: skip


def turned(hz: torch.Tensor, ms: float) -> torch.Tensor:
    return torch.polar(torch.ones_like(hz), 2 * math.pi * hz * ms / 1000)


@pytest.mark.parametrize("n_samples", [3, 5])
@pytest.mark.parametrize("hz", [7.0, 40.0, 90.0])
def test_a_field_linear_through_the_slice_dephases_it_as_a_sum_over_spins(n_samples, hz):
    """The field changes by `hz` across the slice, and is another one in every pixel (2 x 3)."""
    mean_hz = torch.arange(6, dtype=torch.float64).reshape(2, 3) * 11
    middles = (torch.arange(n_samples, dtype=torch.float64) + 0.5) / n_samples - 0.5
    smooth_hz = mean_hz + hz * middles[:, None, None]
    found = (samples_of(smooth_hz).coherent(20.0) * turned(smooth_hz, 20.0)).mean(0)
    spins = (torch.arange(3000, dtype=torch.float64) + 0.5) / 3000 - 0.5
    expected = turned(mean_hz + hz * spins[:, None, None], 20.0).mean(0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_beyond_a_turn_across_a_sample_nothing_is_left_and_one_sample_keeps_all():
    smooth_hz = torch.tensor([-60.0, 0.0, 60.0])[:, None, None]  # 1.2 turns a sample in 20 ms
    assert samples_of(smooth_hz).coherent(20.0).abs().max() == 0
    assert samples_of(smooth_hz[:1]).coherent(20.0) == 1
