"""Which samples calibrate, and where their noise ends."""

import pytest
import torch
from torch import Tensor

from synthlib import arrays, coils
from synthlib.coils import EspiritSettings, calibration


@pytest.fixture
def kspace(odd_scan) -> Tensor:
    """Complex (4, 45, 38)."""
    return arrays.fft2c(odd_scan.volume.coil_images(0))


def noise(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


# --- the region ----------------------------------------------------------------------


def test_a_full_kspace_gives_the_region_asked_for_or_what_the_matrix_holds(kspace):
    assert coils.find_region(kspace, (24, 21)) == (24, 21)
    assert coils.find_region(kspace, (99, 99)) == (45, 38)


@pytest.mark.parametrize("lines", [12, 13])
def test_lines_missing_outside_the_centre_bound_the_region_along_their_axis(kspace, lines):
    mask = torch.arange(38) % 4 == 1
    mask[19 - lines // 2 : 19 - lines // 2 + lines] = True  # the centre column is 19
    # the regular spacing may lengthen the block by a line at either side
    mask[19 - lines // 2 - 1] = mask[19 - lines // 2 + lines] = False
    assert coils.find_region(kspace * mask, (24, 24)) == (24, lines)


def test_a_block_in_a_random_mask_is_found_at_odd_sizes(kspace):
    mask = torch.rand(45, 38, generator=torch.Generator().manual_seed(2)) < 0.3
    mask[22 - 8 : 22 + 9, 19 - 6 : 19 + 7] = True  # 17 x 13 about [22, 19]
    mask[22 - 9, 19] = mask[22, 19 - 7] = False
    assert coils.find_region(kspace * mask, (24, 24)) == (17, 13)


def test_a_missing_centre_is_refused_with_the_numbers(kspace):
    kspace = kspace.clone()
    kspace[:, :, 19] = 0
    with pytest.raises(ValueError, match=r"calibration region of 24x0 samples.*kernel of 6"):
        coils.espirit_maps(kspace)


def test_undersampled_kspace_gives_the_maps_of_the_full_one(kspace):
    mask = torch.arange(38) % 3 == 0
    mask[19 - 12 : 19 + 12] = True
    full, thin = coils.espirit_maps(kspace), coils.espirit_maps(kspace * mask)
    assert thin.calib_shape == (24, 24)
    torch.testing.assert_close(thin.maps, full.maps, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_fewer_lines_than_asked_for_still_give_maps_and_say_so(kspace):
    mask = torch.zeros(38)
    mask[19 - 7 : 19 + 7] = 1
    full, thin = coils.espirit_maps(kspace), coils.espirit_maps(kspace * mask)
    assert thin.calib_shape == (24, 14)
    both = full.support & thin.support
    assert coils.alignment(full.maps, thin.maps)[both].quantile(0.1) > 0.99


@pytest.mark.parametrize("shape", [(23, 38), (45, 21), (31, 29)])
def test_the_middle_of_the_field_of_view_is_calibrated_without_a_full_transform(kspace, shape):
    settings = EspiritSettings(calib_width=18)
    found = calibration.calibrate(kspace[None], shape, settings)[0]
    cropped = arrays.fft2c(arrays.crop_or_pad_image(arrays.ifft2c(kspace), shape))
    torch.testing.assert_close(found, arrays.crop_or_pad(cropped, (18, 18)), rtol=0, atol=1e-5)


# --- the noise -----------------------------------------------------------------------


def singular_values(calib: Tensor, k: int) -> Tensor:
    """Of the calibration matrix, built patch by patch."""
    ny, nx = calib.shape[-2:]
    rows = [
        calib[:, y : y + k, x : x + k].flatten()
        for y in range(ny - k + 1)
        for x in range(nx - k + 1)
    ]
    return torch.linalg.svdvals(torch.stack(rows).to(torch.complex128))


def test_kernels_are_the_singular_vectors_above_the_threshold(kspace):
    calib = arrays.crop_or_pad(kspace, (19, 17))
    settings = EspiritSettings(kernel_width=5, threshold=0.05)
    kernels, _ = calibration.signal_kernels(calib[None], settings)
    singular = singular_values(calib, 5)
    assert kernels.shape[1] == (singular > 0.05 * singular[0]).sum()
    rows = kernels[0].flatten(1)
    gram = rows @ rows.mH
    torch.testing.assert_close(gram, torch.eye(len(rows), dtype=gram.dtype), rtol=0, atol=1e-4)
    # what they do not span of the patches is below the threshold
    patches = calib.unfold(1, 5, 1).unfold(2, 5, 1).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
    left = patches - (patches @ rows.mH) @ rows
    assert torch.linalg.matrix_norm(left, 2) < 0.0501 * float(singular[0])


@pytest.mark.parametrize("sigma", [0.01, 0.03])
def test_automatic_threshold_stands_above_the_largest_singular_value_of_the_noise(kspace, sigma):
    """Noise is the only thing that is drawn; its own singular values are the answer."""
    clean = arrays.crop_or_pad(kspace, (24, 24))
    clean = clean / clean.abs().max()
    drawn = sigma * noise(4, 24, 24)
    calib = clean + drawn
    _, threshold = calibration.signal_kernels(calib[None], EspiritSettings(threshold="auto"))
    highest = float(singular_values(drawn, 6)[0] / singular_values(calib, 6)[0])
    assert highest < float(threshold) < 2.2 * highest


def test_a_slice_of_nothing_but_noise_is_told_and_has_no_support():
    """Volumes reach beyond the head: one such slice must not cost the others their maps."""
    loud, silent = noise(5, 40, 37) + 90 * peak(5, 40, 37), noise(5, 40, 37, seed=6)
    with pytest.warns(RuntimeWarning, match="nothing stands above the noise in slice 1"):
        found = coils.espirit_maps(torch.stack([loud, silent]))
    assert found.support[0].float().mean() > 0.5
    assert not found.support[1].any()
    size = arrays.rss(found.maps)
    torch.testing.assert_close(size, torch.ones_like(size), rtol=0, atol=1e-3)
    (quality,) = coils.judge(arrays.ifft2c(silent)[None], found[1:])
    assert quality.flags == ("nothing but noise: leave it out",)


def peak(n_coils: int, ny: int, nx: int) -> Tensor:
    """K-space of an even object seen by coils of different gain."""
    kspace = torch.zeros(n_coils, ny, nx, dtype=torch.complex64)
    kspace[:, ny // 2, nx // 2] = torch.arange(1, n_coils + 1) + 0j
    return kspace


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_noise_that_spoils_the_fixed_threshold_is_met_by_the_automatic_one(kspace):
    loud = kspace + 0.02 * kspace.abs().max() * noise(*kspace.shape)
    fixed, automatic = (
        coils.espirit_maps(loud, EspiritSettings(threshold=t)) for t in (0.02, "auto")
    )
    clean = coils.espirit_maps(kspace, EspiritSettings(threshold=0.02))
    object_pixels = clean.eigenvalues > 0.98
    air = clean.eigenvalues < 0.7
    assert air.sum() > 50
    assert fixed.eigenvalues[air].median() > 0.8  # noise kernels pass for signal
    assert automatic.eigenvalues[air].median() < 0.6
    assert automatic.eigenvalues[object_pixels].median() > 0.95


def test_automatic_crop_stays_below_the_object_and_is_recorded(kspace):
    found = coils.espirit_maps(kspace, EspiritSettings(threshold=0.3, crop="auto"))
    bright = arrays.rss(arrays.ifft2c(kspace))
    bright = bright > 0.5 * bright.quantile(0.98)
    fixed = coils.espirit_maps(kspace, EspiritSettings(threshold=0.3, crop=0.95))
    assert 0.5 <= float(found.crop) < 0.95
    assert found.support[bright].float().mean() > 0.97
    assert fixed.support[bright].float().mean() < found.support[bright].float().mean()


def test_dead_and_mixed_coils_do_not_pass_for_a_scan_without_noise(kspace):
    """Their singular values are zero, which says nothing of the noise."""
    clean = torch.cat([kspace, kspace.roll(1, -1), kspace.flip(-2)[:2]])  # ten coils
    loud = clean + 0.02 * kspace.abs().max() * noise(*clean.shape)
    dead = loud.clone()
    dead[[1, 4, 7, 8]] = 0
    alive = loud[[0, 2, 3, 5, 6, 9]]
    mixed = torch.einsum("cd,dyx->cyx", noise(10, 6), alive)
    with pytest.warns(RuntimeWarning, match="coil 7 of 10 holds no signal: its map is zero"):
        found = coils.espirit_maps(dead)
    alone = coils.espirit_maps(alive)
    assert float(found.threshold) == pytest.approx(float(alone.threshold), rel=0.15)
    assert float(coils.espirit_maps(mixed).threshold) > 0.5 * float(alone.threshold)


def test_a_shortened_field_of_view_is_exact_where_outer_samples_are_missing(kspace):
    """A readout that ends early is zero there: an odd number of rows must not change the scale."""
    short = kspace.clone()
    short[:, :6] = short[:, -5:] = 0  # 39 and fewer of 45 rows about the centre
    settings = EspiritSettings(calib_width=16)
    found = calibration.calibrate(short[None], (30, 38), settings)[0]
    rows = calibration.find_region(short, (45, 38))[0]
    whole = arrays.crop_or_pad(arrays.crop_or_pad(short, (rows, 38)), (45, 38))
    cropped = arrays.fft2c(arrays.crop_or_pad_image(arrays.ifft2c(whole), (30, 38)))
    torch.testing.assert_close(found, arrays.crop_or_pad(cropped, (16, 16)), rtol=0, atol=1e-5)


def test_fewer_samples_than_asked_for_are_told(kspace):
    mask = torch.zeros(38)
    mask[19 - 7 : 19 + 7] = 1
    with pytest.warns(RuntimeWarning, match="by 24x14 samples .* of the 24x24 asked for"):
        coils.espirit_maps(kspace * mask)
