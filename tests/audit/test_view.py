"""Which slices of a stack the audit looks at, and that facts of the file rest on all of them."""

import numpy as np
import pytest
import torch

from synthlib import audit
from synthlib.audit import defects, view
from synthlib.records import ImageVolume


def head_stack(n: int, ny: int, nx: int, *, empty: int = 0, noise: float = 0.02) -> torch.Tensor:
    """An ellipsoid with texture in noise, `empty` slices of air before and behind it."""
    draw = torch.Generator().manual_seed(n + ny)
    z = torch.linspace(-1, 1, n)[:, None, None]
    y, x = torch.linspace(-1, 1, ny)[:, None], torch.linspace(-1, 1, nx)
    inside = ((y / 0.8) ** 2 + (x / 0.7) ** 2 + z**2 < 1).float()
    texture = torch.nn.functional.avg_pool2d(
        torch.rand(n, 1, ny, nx, generator=draw), 3, stride=1, padding=1
    )[:, 0]
    stack = inside * (0.6 + 0.8 * texture)
    stack = torch.nn.functional.pad(stack, (0, 0, 0, 0, empty, empty))
    parts = noise * torch.randn(2, *stack.shape, generator=draw)
    return torch.hypot(stack + parts[0], parts[1])


def volume(magnitude: torch.Tensor) -> ImageVolume:
    return ImageVolume("a", "p", "AXT2", magnitude, step_mm=3.0)


@pytest.mark.parametrize(
    ("shape", "n_chosen"), [((35, 256, 256), 4), ((41, 97, 83), 12), ((60, 220, 214), 4)]
)
@pytest.mark.parametrize("empty", [0, 9])
def test_slices_are_pairs_spread_through_the_wide_part_of_the_head(shape, n_chosen, empty):
    stack = head_stack(*shape, empty=empty)
    chosen = view.slices_to_look_at(stack)
    assert len(set(chosen)) == n_chosen == len(chosen)
    assert chosen == tuple(sorted(chosen))
    assert all(b == a + 1 for a, b in zip(chosen[::2], chosen[1::2], strict=True))
    # an ellipsoid has 0.7 of its largest area up to 0.55 of its half height
    place = (np.array(chosen) - empty) / (shape[0] - 1) * 2 - 1
    assert np.abs(place).max() < 0.57
    assert place.min() < -0.2 and place.max() > 0.2
    assert view.look(volume(stack)).index == chosen


def test_small_stacks_are_looked_at_whole_and_empty_ones_somewhere():
    assert view.slices_to_look_at(torch.rand(3, 256, 256)) == (0, 1, 2)
    assert len(view.slices_to_look_at(torch.zeros(50, 64, 64))) == 12
    single = torch.zeros(40, 256, 256)
    single[39, 60:200, 60:200] = 1.0  # all signal lies in the last slice
    assert view.slices_to_look_at(single) == (36, 37, 38, 39)


def test_compression_is_found_in_a_whole_head_as_in_its_middle():
    stack = head_stack(35, 256, 256)
    assert not audit.examine(volume(stack))["lossy"].found
    for part in (stack, stack[12:23]):
        assert audit.examine(volume(defects.jpeg(part, 60)))["lossy"].found


def test_grey_values_are_counted_in_all_slices():
    stack = (head_stack(35, 256, 256) * 2500).round()
    assert len(stack.unique()) > 1500
    coarse = (stack / 100).round() * 100
    seen = list(view.slices_to_look_at(stack))
    mixed = stack.clone()
    mixed[seen] = coarse[seen]  # those that other checks look at have few, the file has many
    assert not audit.examine(volume(mixed))["quantised"].found
    report = audit.examine(volume(coarse))["quantised"]
    assert report.found and "only" in report.detail.lower()


def test_a_clipped_slice_is_named_wherever_it_is():
    stack = head_stack(35, 256, 256)
    stack[29] = defects.clip(stack[29], 0.05)
    assert 29 not in view.slices_to_look_at(stack)
    report = audit.examine(volume(stack))["quantised"]
    assert report.found and report.slices == (29,)
    assert "highest grey value" in report.detail


def test_text_alone_does_not_count_as_clipped():
    stack = head_stack(20, 128, 128)
    with_text = defects.burn_text(stack)
    assert not audit.examine(volume(with_text))["quantised"].found


@pytest.mark.parametrize("air_sd", [0.5, 0.7, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("masked", [False, True])
def test_whole_numbers_of_quiet_air_are_not_a_mask(air_sd, masked):
    """Noise of a grey value or two is often alike by chance; a mask always is."""
    sharp = head_stack(8, 160, 130, noise=0.0) * 300
    draw = torch.Generator().manual_seed(5)
    parts = air_sd / 0.655 * torch.randn(2, *sharp.shape, generator=draw)  # Rayleigh's s.d.
    noisy = torch.hypot(sharp + parts[0], parts[1])
    stored = (noisy * (sharp > 0) if masked else noisy).round()
    report = audit.examine(volume(stored))["masked"]
    assert report.found == masked
    if masked:
        assert report.measure > 95
