"""Do the numbers and flags tell good maps from bad ones?"""

import dataclasses
import warnings

import pytest
import torch
from torch import Tensor

from synthlib import arrays, coils, formats, scanner
from synthlib.coils import EspiritSettings


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Coil images of two slices, complex (2, 6, 91, 76)."""
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(6,), contrasts=("AXT2",), n_slices=2, matrix=(91, 76)
    )
    volume = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0].volume
    return torch.stack([volume.coil_images(i) for i in range(2)])


def loud(images: Tensor, share: float) -> Tensor:
    draw = torch.Generator().manual_seed(8)
    kspace = arrays.fft2c(images)
    noise = torch.randn(kspace.shape, dtype=torch.complex64, generator=draw)
    return arrays.ifft2c(kspace + share * kspace.abs().max() * noise)


def judged(images: Tensor, settings: EspiritSettings | None = None) -> list[coils.SliceQuality]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return coils.judge(images, coils.espirit_maps(arrays.fft2c(images), settings))


@pytest.mark.parametrize("name", ["t1_8coil", "mprage_4coil", "16coil_lowres"])
@pytest.mark.parametrize("automatic", [False, True], ids=["as SigPy", "auto"])
def test_measured_heads_have_no_flag(real, name, automatic):
    volume = formats.read_raw(real / "multicoil" / f"head_axial_{name}.h5")
    settings = EspiritSettings() if automatic else EspiritSettings(threshold=0.02, crop=0.9)
    (quality,) = judged(volume.coil_images(0)[None], settings)
    assert quality.flags == ()
    assert quality.inside > 0.98


def test_right_maps_leave_the_noise_and_nothing_else(images):
    for share in (0.0, 0.005):
        for quality in judged(loud(images, share), EspiritSettings(threshold="auto")):
            assert quality.flags == ()
            assert quality.residual == pytest.approx(quality.noise, rel=0.2)


def test_numbers_are_those_of_the_definition(images):
    found = coils.espirit_maps(arrays.fft2c(images))
    quality = coils.judge(images, found)[1]
    inside, maps, seen = found.support[1], found.maps[1], images[1]
    projected = torch.einsum("cyx,dyx,dyx->cyx", maps, maps.conj(), seen)
    left = (seen - projected)[:, inside].norm() / seen[:, inside].norm()
    assert quality.slice_index == 1
    assert quality.residual == pytest.approx(float(left), rel=1e-4)
    assert quality.support == pytest.approx(float(inside.float().mean()))
    assert quality.not_finite == 0


def test_wrong_maps_are_flagged_and_are_the_worst(images):
    found = coils.espirit_maps(arrays.fft2c(images))
    maps = found.maps.clone()
    maps[1] = maps[1].roll(1, 0)  # each coil has its neighbour's map
    qualities = coils.judge(images, dataclasses.replace(found, maps=maps))
    assert qualities[0].flags == ()
    assert "residual above the noise" in qualities[1].flags
    assert coils.worst(qualities) == 1


def test_maps_that_change_from_pixel_to_pixel_are_rough(images):
    found = coils.espirit_maps(arrays.fft2c(images))
    draw = torch.Generator().manual_seed(9)
    maps = torch.randn(found.maps.shape, dtype=torch.complex64, generator=draw)
    noisy = dataclasses.replace(found, maps=maps / arrays.rss(maps).unsqueeze(1))
    smooth, rough = (coils.judge(images, one)[0] for one in (found, noisy))
    assert smooth.roughness < 8 < 40 < rough.roughness
    assert "rough maps" in rough.flags
    # the gauge is not roughness
    turn = torch.randn(found.support.shape, generator=draw)
    turned = found.maps * torch.polar(torch.ones_like(turn), turn).unsqueeze(1)
    again = coils.judge(images, dataclasses.replace(found, maps=turned))[0]
    assert again.roughness == pytest.approx(smooth.roughness, rel=1e-2)


def test_nan_is_counted(images):
    found = coils.espirit_maps(arrays.fft2c(images))
    maps = found.maps.clone()
    maps[0, 2, 40, 30:33] = torch.nan
    quality = coils.judge(images, dataclasses.replace(found, maps=maps))[0]
    assert quality.not_finite == 3
    assert any("NaN" in flag for flag in quality.flags)


def test_noise_kernels_taken_for_signal_are_flagged(images):
    spoiled = loud(images, 0.01)
    for fixed in judged(spoiled, EspiritSettings(threshold=0.005)):
        assert any("threshold too low" in flag for flag in fixed.flags)
    for automatic in judged(spoiled, EspiritSettings(threshold="auto", crop="auto")):
        assert not any("threshold" in flag for flag in automatic.flags)


def test_too_few_kernels_are_flagged(images):
    for quality in judged(images, EspiritSettings(threshold=0.6)):
        assert any("threshold too high" in flag for flag in quality.flags)


def test_rows_say_all_in_the_order_of_the_table(images):
    rows = [quality.row() for quality in judged(images)]
    assert [row["slice"] for row in rows] == ["0", "1"]
    assert {row["flags"] for row in rows} == {"none"}
    assert list(rows[0])[:2] == ["slice", "support"]


def test_images_on_another_grid_are_refused(images):
    found = coils.espirit_maps(arrays.fft2c(images))
    with pytest.raises(ValueError, match=r"grids differ.*coil_images 90x76, maps 91x76"):
        coils.judge(images[..., :90, :], found)
