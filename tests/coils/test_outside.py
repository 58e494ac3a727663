"""Maps beyond the object, judged by the simulated scanner's own maps, which know the air too."""

import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from synthlib import arrays, coils, scanner
from synthlib.coils import EspiritSettings, outside

PIXEL_MM = 2.5


@pytest.fixture(scope="module")
def scan() -> scanner.Scan:
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(8,), contrasts=("AXT1",), n_slices=1, matrix=(91, 76), seed=11
    )
    return scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]


def disc(ny: int = 41, nx: int = 36) -> Tensor:
    """Eigenvalues that fall from 1 to 0 across the rim of a disc."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, ny), torch.linspace(-1, 1, nx), indexing="ij")
    return (1 - 8 * ((y**2 + x**2).sqrt() - 0.6)).clamp(0, 1)


def anything(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))


def test_the_continuation_is_nearer_to_the_truth_than_what_is_found_in_air(scan):
    kspace = arrays.fft2c(scan.volume.coil_images(0))
    truth = scan.truth["maps"][0]
    truth = truth / arrays.rss(truth)
    found, raw = (
        coils.espirit_maps(kspace, EspiritSettings(outside=o)) for o in ("extrapolate", "estimate")
    )
    distance = torch.from_numpy(distance_transform_edt(~found.support.numpy())) * PIXEL_MM
    for low, high, least in ((0, 10, 0.93), (10, 20, 0.85), (20, 40, 0.6)):
        band = (distance > low) & (distance <= high)
        assert band.sum() > 50
        ours, eigen = (coils.alignment(maps.maps, truth)[band].mean() for maps in (found, raw))
        assert ours > least
        assert ours > eigen - 0.005


def test_inside_the_support_nothing_changes():
    values = disc()[None]
    maps = torch.randn(
        1, 3, 41, 36, dtype=torch.complex64, generator=torch.Generator().manual_seed(1)
    )
    found = outside.extrapolate(maps, values, torch.tensor([0.9]))
    inside = values[0] > 0.9
    torch.testing.assert_close(found[..., inside], maps[..., inside], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found[..., ~inside], maps[..., ~inside])


def test_a_slope_goes_on_as_a_slope():
    """A thin plate has no reason to bend."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 41), torch.linspace(-1, 1, 36), indexing="ij")
    maps = torch.stack([0.6 + 0.15 * y + 0.1j * x, torch.full_like(y, 0.7) + 0j])[None]
    values = disc()[None]
    spoiled = torch.where(values > 0.8, maps, torch.zeros_like(maps))
    found = outside.extrapolate(spoiled, values, torch.tensor([0.9]))
    near = ((y**2 + x**2).sqrt() < 0.85) & (values[0] < 0.9)
    assert (found - maps)[0][:, near].abs().max() < 0.02
    # and in the corners it has not run away
    assert (found - maps)[0].abs().max() < 0.2


def test_no_support_leaves_the_maps_as_they_are():
    maps = torch.randn(
        2, 3, 20, 17, dtype=torch.complex64, generator=torch.Generator().manual_seed(2)
    )
    values = torch.stack([torch.full((20, 17), 0.5), disc(20, 17)])
    found = outside.extrapolate(maps, values, torch.tensor([0.9, 0.9]))
    assert torch.equal(found[0], maps[0])
    assert torch.isfinite(torch.view_as_real(found)).all()


def test_zero_leaves_nothing_beyond_the_support(scan):
    kspace = arrays.fft2c(scan.volume.coil_images(0))
    smooth, zero = (
        coils.espirit_maps(kspace, EspiritSettings(outside=o)) for o in ("extrapolate", "zero")
    )
    assert zero.maps[:, ~zero.support].abs().max() == 0
    torch.testing.assert_close(zero.maps[:, zero.support], smooth.maps[:, zero.support])


def test_synthetic_noise_in_air_has_the_phase_of_a_smooth_map(scan):
    """Continued maps change little from pixel to pixel where eigenvectors are noise."""
    kspace = arrays.fft2c(scan.volume.coil_images(0))
    air = coils.espirit_maps(kspace).eigenvalues < 0.5
    steps = {}
    for kind in ("extrapolate", "estimate"):
        maps = coils.espirit_maps(kspace, EspiritSettings(outside=kind)).maps
        inner = (maps[..., :-1].conj() * maps[..., 1:]).sum(0)
        steps[kind] = 1 - inner[air[:, 1:] & air[:, :-1]].abs().mean()
    assert steps["extrapolate"] < 0.5 * steps["estimate"]
