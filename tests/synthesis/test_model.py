"""Synthetic k-space against physics, and its files against stock fastMRI."""

import dataclasses
import json
import math

import h5py
import numpy as np
import pytest
import torch
from fastmri.data import SliceDataset
from fastmri.data.subsample import EquispacedMaskFractionFunc
from fastmri.data.transforms import VarNetDataTransform

from synthlib import formats, runs, synthesis
from synthlib.phase import sources


@pytest.fixture
def unit_slice(one_slice):
    """One slice with maps of unit root sum of squares, as ESPIRiT gives them."""
    magnitude, phase, maps = one_slice
    return magnitude, phase, maps / maps.abs().square().sum(0).sqrt()


def numpy_images(kspace):
    """Coil images of centred orthonormal k-space, by numpy alone."""
    axes = (-2, -1)
    shifted = np.fft.ifftshift(np.asarray(kspace), axes)
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes)


def test_kspace_keeps_the_energy_of_the_object(unit_slice):
    magnitude, phase, maps = unit_slice
    kspace = synthesis.multicoil_kspace(magnitude, phase, maps)
    assert kspace.dtype == torch.complex64
    assert kspace.shape == (4, 45, 38)
    energy = magnitude.square().sum()
    torch.testing.assert_close(kspace.abs().square().sum(), energy, rtol=1e-5, atol=0)


def test_phase_survives_the_round_trip(unit_slice):
    magnitude, phase, maps = unit_slice
    coil_images = torch.from_numpy(numpy_images(synthesis.multicoil_kspace(magnitude, phase, maps)))
    image = (maps.conj() * coil_images).sum(-3)
    torch.testing.assert_close(image.abs(), magnitude, rtol=1e-4, atol=1e-5 * magnitude.max())
    object_ = magnitude > 0.01 * magnitude.max()
    error = (image * torch.polar(torch.ones_like(phase), -phase)).angle()[object_]  # on the circle
    assert error.abs().max() < 1e-3


def test_wrapped_and_unwrapped_phase_give_the_same_kspace(unit_slice):
    magnitude, phase, maps = unit_slice
    turns = 2 * math.pi * torch.randint(-2, 3, phase.shape, generator=torch.Generator())
    torch.testing.assert_close(
        synthesis.multicoil_kspace(magnitude, phase + turns, maps),
        synthesis.multicoil_kspace(magnitude, phase, maps),
        rtol=1e-3,
        atol=1e-4,
    )


def test_slices_in_leading_axes_are_synthesised_one_by_one(unit_slice):
    magnitude, phase, maps = unit_slice
    stack = [torch.stack([a, a.flip(0)]) for a in (magnitude, phase)]
    both = synthesis.multicoil_kspace(*stack, torch.stack([maps, maps.flip(1)]))
    torch.testing.assert_close(both[0], synthesis.multicoil_kspace(magnitude, phase, maps))


def test_noise_has_the_std_asked_for_and_is_white():
    kspace = torch.zeros(7, 61, 53, dtype=torch.complex64)
    noise = synthesis.add_noise(kspace, 0.3, torch.Generator().manual_seed(1))
    n = noise.numel()
    for part in (noise.real, noise.imag):
        assert abs(part.mean()) < 4 * 0.3 / math.sqrt(n)
        assert part.std().item() == pytest.approx(0.3, rel=4 / math.sqrt(2 * n))
    for one, other in (
        (noise[1:], noise[:-1]),  # coils
        (noise[:, 1:], noise[:, :-1]),
        (noise[:, :, 1:], noise[:, :, :-1]),
        (noise.real, noise.imag),
    ):
        assert abs((one * other.conj()).mean()) < 4 * 2 * 0.09 / math.sqrt(one.numel())


def test_noise_adds_to_the_signal_and_follows_from_its_generator(unit_slice):
    kspace = synthesis.multicoil_kspace(*unit_slice)
    before = kspace.clone()
    first, second = (
        synthesis.add_noise(kspace, 0.1, torch.Generator().manual_seed(s)) for s in (1, 1)
    )
    assert torch.equal(first, second)
    assert torch.equal(kspace, before)
    assert (first - kspace).real.std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(synthesis.add_noise(kspace, 0.0, torch.Generator()), kspace)
    with pytest.raises(ValueError, match=r"-0\.1; expected 0 or more"):
        synthesis.add_noise(kspace, -0.1, torch.Generator())


def test_a_negative_magnitude_is_refused(unit_slice):
    magnitude, phase, maps = unit_slice
    magnitude[3, 5] = -0.25
    with pytest.raises(ValueError, match=r"magnitude must be >= 0, its smallest is -0\.25"):
        synthesis.multicoil_kspace(magnitude, phase, maps)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_inf_are_refused_by_the_name_of_their_array(unit_slice, which, bad):
    inputs = list(unit_slice)
    inputs[which][..., 3, 5] = bad
    with pytest.raises(ValueError, match=f"^{('magnitude', 'phase', 'maps')[which]} holds"):
        synthesis.multicoil_kspace(*inputs)


def test_grids_that_differ_are_refused_with_their_sizes(unit_slice):
    magnitude, phase, maps = unit_slice
    with pytest.raises(ValueError, match=r"magnitude 45x38, phase 45x38, maps 45x37"):
        synthesis.multicoil_kspace(magnitude, phase, maps[..., :-1])
    with pytest.raises(ValueError, match=r"phase 38x45"):
        synthesis.multicoil_kspace(magnitude, phase.mT, maps)


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    """A volume with sinusoidal phase in a folder of its own, and what it was made from."""
    volume = study["test"][0]
    phases = torch.stack(
        [
            sources.write("sinusoidal", volume.pair(i), sources.Context(), seed=3)
            for i in range(volume.n_slices)
        ]
    )
    path = tmp_path_factory.mktemp("multicoil_synthetic") / "head_sinusoidal.h5"
    record = runs.make_record({"source": "sinusoidal", "seed": 3})
    synthesis.write_volume(path, volume, phases, record=record)
    return path, volume, phases


def test_stock_fastmri_opens_a_written_volume_unmodified(written):
    path, volume, _ = written
    mask_func = EquispacedMaskFractionFunc([0.04], [4])
    dataset = SliceDataset(path.parent, "multicoil", transform=VarNetDataTransform(mask_func))
    assert len(dataset) == volume.n_slices
    with h5py.File(path) as file:
        kspace = file["kspace"][()]
        top = file.attrs["max"]
    rss = np.sqrt((np.abs(numpy_images(kspace)) ** 2).sum(1))
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.fname == path.name
        assert sample.masked_kspace.shape == (8, 48, 40, 2)
        mask = sample.mask.flatten().numpy()
        # 40 columns: two in the centre, and equal spacing outside
        assert sample.num_low_frequencies == 2
        assert 0.15 < mask.mean() < 0.35
        stored = torch.view_as_complex(sample.masked_kspace).numpy()
        assert (stored == kspace[index] * mask).all()
        assert sample.crop_size == (48, 40)
        np.testing.assert_allclose(sample.target, rss[index], rtol=1e-4, atol=1e-4 * rss.max())
        assert sample.max_value == pytest.approx(top)
    assert top == pytest.approx(rss.max(), rel=1e-5)


def test_a_written_volume_holds_the_phase_and_magnitude_it_was_made_from(written):
    path, volume, phases = written
    with h5py.File(path) as file:
        kspace = file["kspace"][()]
    for index, coil_images in enumerate(torch.from_numpy(numpy_images(kspace))):
        maps, pair = volume.maps(index), volume.pair(index)
        image = (maps.conj() * coil_images).sum(0)
        size = float(pair.magnitude.max())
        torch.testing.assert_close(image.abs(), pair.magnitude, rtol=1e-3, atol=1e-4 * size)
        error = (image * torch.polar(torch.ones_like(phases[index]), -phases[index])).angle()
        assert error[pair.head].abs().max() < 1e-3


def test_a_written_volume_says_that_it_is_synthetic_and_what_it_was_made_from(written):
    path, volume, _ = written
    with h5py.File(path) as file:
        assert bool(file.attrs["SYNTHETIC"])
        assert file.attrs["patient_id"] == volume.raw.patient_id
        assert file.attrs["acquisition"] == volume.raw.contrast
        record = json.loads(file.attrs["record"])
    assert record["parameters"] == {"source": "sinusoidal", "seed": 3}
    assert record["packages"]["torch"] == torch.__version__.split("+")[0] or record["packages"]
    assert record["git_commit"]
    again = formats.read_raw(path)
    assert again.attributes["SYNTHETIC"]
    assert again.recon_shape == volume.raw.recon_shape
    assert again.n_coils == 8


def test_noise_of_a_written_volume_fills_the_air(study, tmp_path):
    volume = study["test"][0]
    phases = torch.zeros(volume.n_slices, *volume.raw.image_shape)
    files = {}
    for std in (0.0, 0.5):
        files[std] = tmp_path / f"{std}.h5"
        rng = torch.Generator().manual_seed(1)
        synthesis.write_volume(files[std], volume, phases, record={}, noise_std=std, rng=rng)
    clean, noisy = (formats.read_raw(file) for file in files.values())
    noise = torch.stack([noisy.kspace[i] - clean.kspace[i] for i in range(volume.n_slices)])
    assert noise.real.std().item() == pytest.approx(0.5, rel=0.02)
    assert noise.imag.std().item() == pytest.approx(0.5, rel=0.02)
    assert abs(noise[0] * noise[1].conj()).mean() > 0  # slices have noise of their own
    assert not torch.equal(noise[0], noise[1])


def test_what_cannot_be_written_is_refused_and_leaves_no_file(study, tmp_path):
    volume = study["test"][0]
    right = torch.zeros(volume.n_slices, *volume.raw.image_shape)
    path = tmp_path / "new.h5"
    for phases, more, message in (
        (right[:1], {}, r"1 slices of phase for 2"),
        (right[:, :-1], {}, r"grids differ .* phase 47x40"),
        (right, {"noise_std": 0.1}, r"needs a random generator"),
        (right * math.nan, {}, r"phase holds"),
    ):
        with pytest.raises(ValueError, match=message):
            synthesis.write_volume(path, volume, phases, record={}, **more)
    assert list(tmp_path.iterdir()) == []


def test_a_synthetic_volume_of_measured_data_keeps_its_magnitude(real, tmp_path):
    from synthlib import pairs

    raw = formats.read_raw(real / "multicoil" / "head_axial_16coil_lowres.h5")
    (volume,) = pairs.prepare([raw], tmp_path / "prepared")
    phases = torch.zeros(volume.n_slices, *raw.image_shape)
    synthesis.write_volume(tmp_path / "zero.h5", volume, phases, record={})
    again = formats.read_raw(tmp_path / "zero.h5")
    assert (again.n_coils, again.n_slices) == (raw.n_coils, raw.n_slices)
    for index in range(raw.n_slices):
        before, after = (
            np.sqrt((np.abs(v.coil_images(index).numpy()) ** 2).sum(0)) for v in (raw, again)
        )
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4 * before.max())


def test_maps_of_other_coils_change_the_data_but_not_the_combined_magnitude(study, tmp_path):
    volume = study["test"][0]
    other = dataclasses.replace(volume, path=study["val"][0].path)
    magnitude = volume.pair(0).magnitude
    phase = torch.zeros_like(magnitude)
    first, second = (
        synthesis.multicoil_kspace(magnitude, phase, v.maps(0)) for v in (volume, other)
    )
    assert not torch.allclose(first, second, rtol=0.1)
    for kspace in (first, second):
        rss = np.sqrt((np.abs(numpy_images(kspace)) ** 2).sum(0))
        np.testing.assert_allclose(rss, magnitude, rtol=1e-3, atol=1e-4 * float(magnitude.max()))
