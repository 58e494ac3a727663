"""The floor and the ceiling of the benchmark: SigPy and BART against physics and each other."""

from __future__ import annotations

import dataclasses
import os
import shutil

import numpy as np
import pytest
import sigpy as sp
import torch
from sigpy.mri.app import L1WaveletRecon
from torch import Tensor

from synthlib import arrays, coils, formats, runs
from synthlib.recon import classical, masks


@dataclasses.dataclass(frozen=True)
class Slice:
    kspace: Tensor  # (coil, ky, kx), all columns
    columns: Tensor
    maps: Tensor
    target: Tensor
    data_range: float
    crop: tuple[int, int]


def as_slice(kspace: Tensor, maps: Tensor, acceleration: int = 3) -> Slice:
    columns = masks.equispaced(kspace.shape[-1], acceleration, center_fraction=0.08, seed=1).columns
    target = arrays.rss(arrays.ifft2c(kspace))
    return Slice(kspace, columns, maps, target, float(target.max()), tuple(target.shape))


@pytest.fixture(scope="module")
def scanned(odd_scan) -> Slice:
    """45x38, 4 coils, with noise; the true maps at unit root sum of squares."""
    maps = odd_scan.truth["maps"][0]
    kspace = arrays.fft2c(odd_scan.volume.coil_images(0))
    return as_slice(kspace, maps / arrays.rss(maps))


def psnr(sample: Slice, image: Tensor) -> float:
    error = sample.target.numpy() - np.abs(image.numpy())
    return 20 * np.log10(sample.data_range / np.sqrt(np.mean(error**2)))


def undersampled(sample: Slice) -> tuple[Tensor, Tensor, Tensor]:
    return sample.kspace * sample.columns, sample.columns, sample.maps


def l1_norm(image: Tensor) -> float:
    transform = sp.linop.Wavelet(image.shape, wave_name=classical.WAVELET)
    return float(np.abs(transform(image.numpy())).sum())


# --- full sampling -------------------------------------------------------------------


@pytest.mark.parametrize("shifts", [True, False])
def test_full_sampling_without_weight_gives_the_sense_combination(scanned, shifts):
    every = torch.ones_like(scanned.columns)
    image = classical.l1_wavelet(
        scanned.kspace, every, scanned.maps, 0, n_iterations=3, shifts=shifts
    )
    expected = coils.combine(arrays.ifft2c(scanned.kspace), scanned.maps)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-5 * scanned.data_range)
    ceiling = classical.sense_combined(scanned.kspace, scanned.maps)
    torch.testing.assert_close(image.abs(), ceiling, rtol=0, atol=1e-5 * scanned.data_range)


def test_maps_of_any_power_reproduce_what_they_explain(one_slice):
    magnitude, phase, maps = one_slice  # the scanner's own: far from unit root sum of squares
    image = torch.polar(magnitude, phase)
    kspace = arrays.fft2c(coils.expand(image, 3 * maps))
    ceiling = classical.sense_combined(kspace, 3 * maps)
    torch.testing.assert_close(ceiling, magnitude, rtol=1e-4, atol=1e-5)
    every = torch.ones(kspace.shape[-1], dtype=torch.bool)
    # Without noise, and with maps of one power, the zero-weight minimum is the image itself.
    unit = 3 * maps / arrays.rss(maps)
    kspace = arrays.fft2c(coils.expand(image, unit))
    solved = classical.l1_wavelet(kspace, every, unit, 0, n_iterations=3)
    torch.testing.assert_close(solved, image, rtol=0, atol=1e-5 * float(magnitude.max()))


def test_the_combination_is_never_above_the_rss(scanned):
    """Cauchy and Schwarz; noise, which the maps do not explain, makes the difference."""
    below = scanned.target - classical.sense_combined(scanned.kspace, scanned.maps)
    assert below.min() > -1e-5 * scanned.data_range
    assert below.max() > 1e-3 * scanned.data_range


def test_zero_filled_is_numpys_root_sum_of_squares(scanned):
    kspace = undersampled(scanned)[0]
    shifted = np.fft.ifftshift(kspace.numpy(), axes=(-2, -1))
    images = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))
    expected = np.sqrt((np.abs(images) ** 2).sum(0))
    np.testing.assert_allclose(classical.zero_filled(kspace).numpy(), expected, rtol=1e-4)


# --- undersampling -------------------------------------------------------------------


def test_one_grid_of_wavelets_is_sigpys_own_reconstruction(scanned):
    """SigPy finds step and sampled columns by itself, from its own random numbers."""
    kspace, columns, maps = undersampled(scanned)
    found = classical.l1_wavelet(
        kspace, columns, maps, 2e-3, n_iterations=300, shifts=False, wavelet="db4"
    )
    scale = (maps.conj() * arrays.ifft2c(kspace)).sum(0).abs().max().numpy()
    state = np.random.get_state()  # noqa: NPY002  # SigPy draws from it
    app = L1WaveletRecon(kspace.numpy() / scale, maps.numpy(), 2e-3, max_iter=300, show_pbar=False)
    expected = app.run() * scale
    np.random.set_state(state)  # noqa: NPY002
    assert np.abs(found.numpy() - expected).max() < 2e-3 * scanned.data_range


def test_columns_that_were_not_measured_are_not_looked_at(scanned):
    kspace, columns, maps = undersampled(scanned)
    clean, other = (
        classical.l1_wavelet(data, columns, maps, 2e-3, n_iterations=5)
        for data in (kspace, scanned.kspace + 7 * ~columns)
    )
    torch.testing.assert_close(other, clean, rtol=0, atol=0)


def test_it_is_better_than_zero_filling(scanned):
    kspace, columns, maps = undersampled(scanned)
    image = classical.l1_wavelet(kspace, columns, maps, 2e-3)
    assert psnr(scanned, image) > psnr(scanned, classical.zero_filled(kspace)) + 2


def test_more_weight_leaves_less_in_the_wavelets(scanned):
    images = [
        classical.l1_wavelet(*undersampled(scanned), weight, shifts=False)
        for weight in (1e-4, 1e-3, 1e-2, 1e-1)
    ]
    norms = [l1_norm(image) for image in images]
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 0.8 * norms[0]


@pytest.mark.parametrize("factor", [2.0**-20, 3e5])
def test_the_weight_means_the_same_at_every_scale(scanned, factor):
    kspace, columns, maps = undersampled(scanned)
    small, large = (
        classical.l1_wavelet(data, columns, maps, 2e-3, n_iterations=30)
        for data in (kspace, kspace * factor)
    )
    torch.testing.assert_close(large / factor, small, rtol=0, atol=1e-4 * scanned.data_range)


def test_same_bytes_and_random_states_untouched(scanned):
    def draws() -> tuple[list[float], list[float]]:
        return np.random.rand(3).tolist(), torch.rand(3).tolist()  # noqa: NPY002

    def reconstruct() -> bytes:
        image = classical.l1_wavelet(*undersampled(scanned), 2e-3, n_iterations=5)
        return image.numpy().tobytes()

    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    expected = draws()
    first = reconstruct()
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(torch_state)
    assert reconstruct() == first
    assert draws() == expected
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(torch_state)


def test_no_signal_gives_a_black_image(scanned):
    kspace, columns, maps = undersampled(scanned)
    assert not classical.l1_wavelet(0 * kspace, columns, maps, 2e-3).any()


# --- against BART --------------------------------------------------------------------


@pytest.fixture
def bart() -> None:
    if shutil.which("bart") is None:
        reason = "BART is needed (Debian: apt install bart), and there is none"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


WEIGHTS = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)


@pytest.mark.usefixtures("bart")
@pytest.mark.parametrize("head", ["simulated", "measured"])
def test_sigpy_and_bart_agree(scanned, head, request):
    if head == "measured":
        folder = request.getfixturevalue("real") / "multicoil"
        volume = formats.read_raw(folder / "head_axial_t1_8coil.h5")
        kspace = arrays.crop_or_pad(volume.kspace[0], (91, 76))
        scanned = as_slice(kspace, coils.espirit_maps(kspace).maps)

    def best(method) -> classical.BestWeight:
        return classical.best_weight(
            lambda sample, weight: method(*undersampled(sample), weight), [scanned], WEIGHTS
        )

    by_sigpy, by_bart = best(classical.l1_wavelet), best(classical.bart_l1_wavelet)
    assert not by_sigpy.at_end
    assert abs(by_sigpy.psnr - by_bart.psnr) < 0.3
    assert 0.5 <= by_sigpy.weight / by_bart.weight <= 2  # the same scale: neighbours at most
    images = [
        method(*undersampled(scanned), by_sigpy.weight)
        for method in (classical.l1_wavelet, classical.bart_l1_wavelet)
    ]
    # in phase, too, which magnitudes would not tell
    apart = (images[0] - images[1]).abs().square().mean().sqrt()
    wrong = (images[0].abs() - scanned.target).square().mean().sqrt()
    assert apart < 0.5 * wrong


@pytest.mark.usefixtures("bart")
@pytest.mark.parametrize("shape", [(45, 38), (44, 37), (45, 37), (46, 38)])
def test_barts_centre_is_ours_at_all_sizes(scanned, shape):
    """All columns and hardly a weight: one answer, complex, whatever the parity."""
    kspace = arrays.crop_or_pad(scanned.kspace, shape)
    maps = arrays.crop_or_pad(scanned.maps, shape)
    maps = torch.where(arrays.rss(maps) > 0, maps, 0.5)  # four coils: unit root sum of squares
    every = torch.ones(shape[1], dtype=torch.bool)
    image = classical.bart_l1_wavelet(kspace, every, maps, 1e-7, n_iterations=30)
    expected = coils.combine(arrays.ifft2c(kspace), maps)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_without_bart_the_error_says_how_to_get_it(scanned, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="apt install bart"):
        classical.bart_l1_wavelet(*undersampled(scanned), 1e-3)


# --- the weight ----------------------------------------------------------------------


def with_error(sample: Slice, weight: float) -> Tensor:
    """An image whose mean square error is (log10 weight + 2)^2 + 1, in millionths of the range."""
    error = 1e-3 * ((np.log10(weight) + 2) ** 2 + 1) ** 0.5
    return sample.target + error * sample.data_range


def test_the_best_weight_is_that_of_the_smallest_error(scanned):
    best = classical.best_weight(with_error, [scanned, scanned], [1e-1, 1e-4, 1e-2, 1e-3])
    assert best.weight == 1e-2
    assert best.psnr == pytest.approx(60, abs=1e-3)
    assert not best.at_end
    assert [weight for weight, _ in best.curve] == [1e-4, 1e-3, 1e-2, 1e-1]
    assert best.curve[1][1] == pytest.approx(60 - 10 * np.log10(2), abs=1e-3)


@pytest.mark.parametrize("weights", [[1e-4, 1e-3], [1e-1, 1], [1e-6, 1e-5]])
def test_a_grid_whose_best_weight_is_at_its_end_is_continued(scanned, weights):
    best = classical.best_weight(with_error, [scanned], weights)
    assert best.weight == pytest.approx(1e-2)
    assert not best.at_end
    tried = [weight for weight, _ in best.curve]
    np.testing.assert_allclose(np.diff(np.log10(tried)), 1, rtol=1e-6)
    assert tried[0] == pytest.approx(min(1e-3, *weights))
    assert tried[-1] == pytest.approx(max(1e-1, *weights))


@pytest.mark.parametrize(("weights", "weight"), [([1e-9, 1e-8], 1e-4), ([1e4, 1e5], 1)])
def test_a_best_weight_that_is_still_at_the_end_is_flagged(scanned, weights, weight):
    best = classical.best_weight(with_error, [scanned], weights)
    assert best.weight == pytest.approx(weight)
    assert best.at_end
    with_zero = classical.best_weight(
        lambda sample, w: with_error(sample, max(w, 1e-9)), [scanned], [0, 1e-3]
    )
    assert (with_zero.weight, with_zero.at_end) == (1e-3, True)
    alone = classical.best_weight(with_error, [scanned], weights[:1])
    assert (alone.weight, alone.at_end) == (weights[0], True)


def test_only_the_crop_counts(scanned):
    draw = runs.rng(7, "border")
    inner = dataclasses.replace(scanned, crop=(31, 22))

    def border(sample: Slice, weight: float) -> Tensor:
        image = sample.target + weight * torch.rand(sample.target.shape, generator=draw)
        image[7:38, 8:30] = sample.target[7:38, 8:30] + 1e-2 * sample.data_range
        return image

    best = classical.best_weight(border, [inner], [1.0, 2.0])
    assert all(value == pytest.approx(40, abs=1e-3) for _, value in best.curve)


# --- refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(("n_slices", "weights"), [(0, [1e-3]), (1, [])])
def test_nothing_to_choose_by_is_refused(scanned, n_slices, weights):
    with pytest.raises(ValueError, match="validation slices"):
        classical.best_weight(with_error, [scanned] * n_slices, weights)


def test_a_psnr_that_is_not_a_number_is_refused(scanned):
    with pytest.raises(ValueError, match=r"weight 0\.5 is not a number"):
        classical.best_weight(lambda sample, weight: sample.target * np.nan, [scanned], [0.5])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda kspace, columns, maps: (kspace[:3], columns, maps, 0), "same sizes"),
        (lambda kspace, columns, maps: (kspace, columns, maps[..., 1:], 0), "same sizes"),
        (lambda kspace, columns, maps: (kspace, columns[1:], maps, 0), "same sizes"),
        (lambda kspace, columns, maps: (kspace, columns.float(), maps, 0), "expected bool"),
        (lambda kspace, columns, maps: (kspace, columns, maps, -1), "weight of 0 or more"),
        (lambda kspace, columns, maps: (kspace, columns, maps, float("nan")), "0 or more"),
    ],
)
def test_what_does_not_fit_is_refused(scanned, change, match):
    with pytest.raises(ValueError, match=match):
        classical.l1_wavelet(*change(*undersampled(scanned)))
