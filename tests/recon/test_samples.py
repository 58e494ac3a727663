"""What a network is given, against numpy and stock fastMRI."""

import dataclasses
import shutil

import h5py
import numpy as np
import pytest
import torch
from fastmri.data import SliceDataset
from fastmri.data.subsample import create_mask_for_mask_type
from fastmri.data.transforms import VarNetDataTransform

from synthlib import arrays, formats, pairs
from synthlib.phase import sources
from synthlib.recon import masks, phases, samples

AXES = (-2, -1)


def to_image(kspace):
    shifted = np.fft.ifftshift(np.asarray(kspace), AXES)
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), AXES)


def rss(coil_images):
    return np.sqrt((np.abs(coil_images) ** 2).sum(-3))


def raw_images(volume, index):
    """Coil images of the file, readout oversampling cropped, by numpy alone."""
    with h5py.File(volume.raw.source) as file:
        images = to_image(file["kspace"][index])
    ny = volume.raw.recon_shape[0]
    first = images.shape[-2] // 2 - ny // 2
    return images[..., first : first + ny, :]


def close(actual, expected, rtol=1e-3):
    size = float(np.abs(np.asarray(expected)).max())
    np.testing.assert_allclose(
        np.asarray(actual), np.asarray(expected), rtol=rtol, atol=rtol * size
    )


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    """Phases of some sources for two scans: source to TrainingData."""
    folder, volumes = tmp_path_factory.mktemp("phases"), study["train"][:2]
    written = {samples.GROUND_TRUTH: samples.TrainingData(samples.GROUND_TRUTH, volumes, folder)}
    for name in ("measured", "zero", "random"):
        place = phases.write_phases(name, volumes, sources.Context(), folder, seed=3)
        written[name] = samples.TrainingData(name, volumes, place)
    return written


def slices(data, accelerations=(4,), seed=5, epoch=0, rows=0):
    dataset = samples.TrainingSamples([data], accelerations, 0.04, seed, rows=rows)
    dataset.epoch = epoch
    return dataset


@pytest.mark.parametrize("name", ["ground_truth", "measured", "zero", "random"])
def test_masked_columns_are_zero_and_the_others_untouched(written, name):
    data = written[name]
    dataset = slices(data)
    assert len(dataset) == 4
    for item, (volume, index) in enumerate(pairs.slices_of(data.volumes)):
        sample = dataset[item]
        full = samples.full_kspace(data, volume, index)
        measured = sample.mask.columns
        assert sample.kspace.shape == (8, 48, 40)
        assert sample.kspace.dtype == torch.complex64
        assert (sample.kspace[..., ~measured] == 0).all()
        assert torch.equal(sample.kspace[..., measured], full[..., measured])
        assert (full.abs().amax((0, 1)) > 0).all()  # it was not empty before
        assert 5 <= measured.sum() <= 13


@pytest.mark.parametrize("name", ["measured", "zero", "random"])
def test_the_target_is_the_rss_of_the_synthetic_coil_images(written, name):
    data = written[name]
    for item, (volume, index) in enumerate(pairs.slices_of(data.volumes)):
        pair, maps = volume.pair(index), volume.maps(index).numpy()
        with h5py.File(data.phases / f"{volume.name}.h5") as file:
            phase = file["phase"][index]
        expected = rss(pair.magnitude.numpy() * np.exp(1j * phase) * maps)
        close(slices(data)[item].target, expected)
        close(to_image(samples.full_kspace(data, volume, index)), pair.magnitude.numpy()
              * np.exp(1j * phase) * maps)  # fmt: skip


def test_the_target_follows_the_synthetic_data_and_not_the_source_files_rss(written, tmp_path):
    data = written["zero"]
    volume = data.volumes[0]
    shaded = dataclasses.replace(volume, path=tmp_path / "shaded.h5")
    shaded.map_file.path.parent.mkdir()
    shutil.copy(volume.path, shaded.path)
    shutil.copy(volume.map_file.path, shaded.map_file.path)
    shade = np.linspace(0.5, 2, 40, dtype=np.float32)
    with h5py.File(shaded.map_file.path, "r+") as file:
        file["maps"][...] = file["maps"][()] * shade
    sample = slices(dataclasses.replace(data, volumes=[shaded]))[1]
    close(sample.target, volume.pair(1).magnitude.numpy() * shade)


def test_measured_phase_with_uncropped_maps_reproduces_the_measured_rss(written):
    data = written["measured"]
    for item, (volume, index) in enumerate(pairs.slices_of(data.volumes)):
        sample = slices(data)[item]
        close(sample.target, rss(raw_images(volume, index)))  # everywhere, air included
        with h5py.File(volume.raw.source) as file:
            close(sample.target, file["reconstruction_rss"][index])
        # and where there is signal, coil by coil and with its phase
        synthetic = to_image(samples.full_kspace(data, volume, index))
        measured = raw_images(volume, index)
        head = volume.pair(index).head.numpy()
        left = np.linalg.norm((synthetic - measured)[:, head]) / np.linalg.norm(measured[:, head])
        assert left < 0.25  # the noise that no phase of one image can carry; other phase: above 1


def test_other_phase_gives_other_data_with_the_same_target(written):
    measured, random = (slices(written[name])[1] for name in ("measured", "random"))
    close(random.target, measured.target)
    assert torch.equal(random.mask.columns, measured.mask.columns)
    apart = (random.kspace - measured.kspace).abs().square().sum()
    assert apart > measured.kspace.abs().square().sum()


def test_ground_truth_is_the_measured_kspace_without_its_oversampling(written):
    data = written["ground_truth"]
    for item, (volume, index) in enumerate(pairs.slices_of(data.volumes)):
        close(to_image(samples.full_kspace(data, volume, index)), raw_images(volume, index))
        close(slices(data)[item].target, rss(raw_images(volume, index)))


def stock_samples(volume, folder, acceleration, name=None):
    """The file as stock fastMRI gives it to VarNet."""
    path = folder / f"{name or volume.name}.h5"
    shutil.copy(volume.raw.source, path)
    mask = create_mask_for_mask_type("equispaced_fraction", [0.04], [acceleration])
    return list(SliceDataset(folder, "multicoil", transform=VarNetDataTransform(mask)))


@pytest.mark.parametrize("acceleration", [4, 8])
def test_a_ground_truth_sample_is_stock_fastmris_of_the_same_file_and_mask(
    study, tmp_path, acceleration
):
    volume = study["test"][0]
    stock = stock_samples(volume, tmp_path, acceleration)
    assert len(stock) == volume.n_slices
    data = samples.TrainingData(samples.GROUND_TRUTH, [volume], tmp_path)
    for index, theirs in enumerate(stock):
        columns = theirs.mask.flatten()
        full = samples.full_kspace(data, volume, index)
        ours = samples.undersample(
            full,
            volume.maps(index),
            volume,
            masks.Mask(columns, theirs.num_low_frequencies),
            theirs.max_value,
        )
        # the mask thins kx and the crop takes y: they do not touch each other
        images = to_image(torch.view_as_complex(theirs.masked_kspace).numpy())
        assert images.shape[-2] == 96
        close(to_image(ours.kspace), images[..., 24:72, :])
        close(ours.target, theirs.target)
        assert ours.crop == theirs.crop_size == (48, 40)


def test_the_evaluation_mask_is_the_one_stock_fastmri_gives_the_same_file(study, tmp_path):
    for volume in study["test"] + study["val"]:
        folder = tmp_path / volume.name
        folder.mkdir()
        for ours, theirs in zip(
            samples.measured_volume(volume, 8, 0.04), stock_samples(volume, folder, 8), strict=True
        ):
            assert torch.equal(ours.mask.columns, theirs.mask.flatten())
            assert ours.mask.n_center == theirs.num_low_frequencies


def test_a_measured_volume_has_one_mask_and_its_own_maximum(study):
    for volume in study["test"]:
        first, second = samples.measured_volume(volume, 4, 0.04)
        assert torch.equal(first.mask.columns, second.mask.columns)
        top = max(float(rss(raw_images(volume, i)).max()) for i in (0, 1))
        assert first.data_range == second.data_range == pytest.approx(top, rel=1e-4)
        again, _ = samples.measured_volume(volume, 4, 0.04)
        assert torch.equal(again.kspace, first.kspace)
        (alone,) = samples.measured_volume(volume, 4, 0.04, indices=[1])
        assert torch.equal(alone.kspace, second.kspace)
        assert alone.name == second.name


def test_the_data_range_of_training_is_the_maximum_of_the_whole_volume(written):
    for data in written.values():
        dataset = slices(data)
        for item, (volume, _) in enumerate(pairs.slices_of(data.volumes)):
            top = max(float(rss(raw_images(volume, i)).max()) for i in range(volume.n_slices))
            assert dataset[item].data_range == pytest.approx(top, rel=1e-4)


def test_training_masks_change_from_epoch_to_epoch_and_follow_from_the_seed(written):
    data = written["zero"]

    def drawn(seed, epoch):
        dataset = slices(data, [8], seed, epoch)
        return [tuple(dataset[item].mask.columns.tolist()) for item in range(len(dataset))]

    assert drawn(1, 0) == drawn(1, 0)
    epochs = [drawn(1, epoch) for epoch in range(6)]
    assert len({masks_[0] for masks_ in epochs}) > 1  # one slice, several epochs
    assert any(len(set(masks_)) > 1 for masks_ in epochs)  # one epoch, several slices
    assert any(drawn(2, epoch) != epochs[epoch] for epoch in range(3))


def test_names_of_test_samples_tell_everything_apart_that_changes_them(study):
    volume = study["test"][0]
    drawn = [
        *samples.measured_volume(volume, 4, 0.04),
        *samples.measured_volume(volume, 8, 0.04),
        *samples.measured_volume(volume, 4, 0.08),
        *samples.measured_volume(volume, 4, 0.04, mask_seed=3),
        *samples.measured_volume(study["test"][1], 4, 0.04),
    ]
    assert len({sample.name for sample in drawn}) == len(drawn) == 10
    assert "" not in {sample.name for sample in drawn}


def test_r_of_1_leaves_all_columns(study):
    volume = study["test"][0]
    for index, sample in enumerate(samples.measured_volume(volume, 1, 0.04)):
        assert sample.mask.columns.all()
        assert sample.mask.acceleration == 1
        close(to_image(sample.kspace), raw_images(volume, index))


# --- training samples ----------------------------------------------------------------


def same(sample, other):
    return (
        torch.equal(sample.kspace, other.kspace)
        and torch.equal(sample.maps, other.maps)
        and torch.equal(sample.target, other.target)
        and torch.equal(sample.mask.columns, other.mask.columns)
    )


def test_masks_rows_and_order_are_those_of_all_sources(written):
    drawn = {
        name: list(samples.prefetched(slices(data, (4, 8), rows=13), 0, 8))
        for name, data in written.items()
    }
    for drawn_from in drawn.values():
        for sample, other in zip(drawn_from, drawn["ground_truth"], strict=True):
            assert torch.equal(sample.mask.columns, other.mask.columns)
            assert torch.equal(sample.maps, other.maps)


def test_several_accelerations_are_drawn(written):
    dataset = slices(written["zero"], (2, 4, 8))
    counts = []
    for dataset.epoch in range(8):
        counts += [int(dataset[item].mask.columns.sum()) for item in range(4)]
    reached = 40 / np.array(counts)
    for acceleration in (2, 4, 8):
        near = np.abs(reached / acceleration - 1) < 0.3
        assert 4 <= near.sum() <= 20  # of 32


@pytest.mark.parametrize("name", ["zero", "random", "ground_truth"])
def test_some_rows_are_a_sense_problem_of_their_own(written, name):
    data = written[name]
    firsts = set()
    for epoch in range(3):
        dataset, whole = slices(data, epoch=epoch, rows=13), slices(data, epoch=epoch)
        for item, (volume, index) in enumerate(pairs.slices_of(data.volumes)):
            sample, full = dataset[item], whole[item]
            assert sample.kspace.shape == sample.maps.shape == (8, 13, 40)
            assert sample.crop == (13, 40)
            assert torch.equal(sample.mask.columns, full.mask.columns)
            all_maps = volume.maps(index)
            (first,) = (
                first for first in range(36)
                if torch.equal(all_maps[:, first : first + 13], sample.maps)
            )  # fmt: skip
            firsts.add(first)
            rows = slice(first, first + 13)
            close(sample.target, full.target[rows])
            images = to_image(samples.full_kspace(data, volume, index))[:, rows]
            encoded = arrays.fft2c(torch.from_numpy(images)) * sample.mask.columns
            close(sample.kspace, encoded)
            if name != "ground_truth":  # the maps explain synthetic data
                image = (sample.maps.conj() * torch.from_numpy(images)).sum(0)
                close(arrays.fft2c(sample.maps * image) * sample.mask.columns, sample.kspace)
    assert len(firsts) > 4


def test_more_rows_than_there_are_take_all(written):
    assert same(slices(written["zero"], rows=64)[0], slices(written["zero"])[0])


def test_a_cached_slice_gives_the_same_samples(written, monkeypatch):
    dataset = slices(written["random"], (4, 8), rows=13)
    first = [dataset[item] for item in range(4)]
    monkeypatch.setattr(samples, "full_kspace", None)  # from memory now
    assert all(same(dataset[item], first[item]) for item in range(4))
    monkeypatch.undo()
    monkeypatch.setattr(samples, "CACHE_BYTES", 0)
    without = slices(written["random"], (4, 8), rows=13)
    assert all(same(without[item], first[item]) for item in range(4))
    assert not without._cache


def test_prefetched_samples_are_those_of_the_dataset_from_any_step_on(written):
    data, direct = written["random"], slices(written["random"], (4, 8))
    drawn = list(samples.prefetched(slices(data, (4, 8)), 0, 10))
    assert len(drawn) == 10
    taken = []
    for step, sample in enumerate(drawn):
        direct.epoch = step // 4
        (item,) = (item for item in range(4) if same(direct[item], sample))
        taken.append(item)
    assert sorted(taken[:4]) == sorted(taken[4:8]) == [0, 1, 2, 3]  # all once in an epoch
    resumed = list(samples.prefetched(slices(data, (4, 8)), 7, 10))
    assert all(same(sample, other) for sample, other in zip(resumed, drawn[7:], strict=True))
    assert list(samples.prefetched(slices(data), 10, 10)) == []


def test_parts_of_several_sources_are_mixed(written):
    parts = [written["zero"], written["random"]]
    mixed = samples.TrainingSamples(parts, (4,), 0.04, 5)
    assert len(mixed) == 8
    for item in range(4):
        assert same(mixed[item], slices(written["zero"])[item])
        assert same(mixed[4 + item], slices(written["random"])[item])


# --- files ---------------------------------------------------------------------------


def test_zero_padded_columns_are_not_sampled_in_training_and_tests(study, tmp_path):
    source = study["test"][0].raw
    kspace = torch.stack([source.kspace[i] for i in range(source.n_slices)])
    kspace[..., :5] = 0
    kspace[..., 36:] = 0
    formats.write_raw(
        tmp_path / "padded.h5",
        kspace,
        contrast="AXT2",
        patient_id="p1",
        recon_shape=source.recon_shape,
    )
    with pytest.warns(UserWarning, match="9 of 40 columns of kx are zero-padding"):
        raw = formats.read_raw(tmp_path / "padded.h5")
    (volume,) = pairs.prepare([raw], tmp_path / "prepared")
    data = samples.TrainingData(samples.GROUND_TRUTH, [volume], tmp_path)
    for sample in [*samples.measured_volume(volume, 4, 0.04), slices(data)[0], slices(data)[1]]:
        assert not sample.mask.columns[:5].any()
        assert not sample.mask.columns[36:].any()
        assert sample.mask.columns[5:36].any()


def test_phases_that_are_current_stay_and_others_are_written_again(study, tmp_path):
    volumes = study["train"][:2]

    def write(seed=3, depends_on=()):
        place = phases.write_phases(
            "random", volumes, sources.Context(), tmp_path, seed=seed, depends_on=depends_on
        )
        assert sorted(p.name for p in place.iterdir()) == sorted(f"{v.name}.h5" for v in volumes)
        times = [(place / f"{v.name}.h5").stat().st_mtime_ns for v in volumes]
        return times, phases.fingerprint(place, volumes)

    first = write()
    assert write() == first
    other_seed = write(seed=4)
    assert other_seed[0] != first[0]
    assert other_seed[1] != first[1]
    again = write()
    assert again[1] == first[1]
    assert write(depends_on=["weights"])[1] != first[1]


def test_a_damaged_phase_file_is_named(written, tmp_path):
    volume = written["zero"].volumes[0]
    data = samples.TrainingData("zero", [volume], tmp_path)
    (tmp_path / f"{volume.name}.h5").write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match=rf"{volume.name}\.h5: phase cannot be read back"):
        slices(data)[0]


def test_the_noise_level_is_that_of_the_measured_scan_whatever_the_phase(study, tmp_path):
    """Random phase spreads the image over k-space, which must not count as noise."""
    volumes = study["train"][:1]
    context = sources.Context()
    levels = {}
    for name in ("measured", "random", "zero"):
        place = phases.write_phases(name, volumes, context, tmp_path, seed=3)
        data = samples.TrainingData(name, volumes, place)
        (sample, *_) = [samples.TrainingSamples([data], [4], 0.05, 1)[0]]
        levels[name] = float(sample.level[0])
    measured = samples.TrainingData(samples.GROUND_TRUTH, volumes, tmp_path)
    truth = float(samples.TrainingSamples([measured], [4], 0.05, 1)[0].level[0])
    for name, level in levels.items():
        assert level == pytest.approx(truth, rel=0.05), name  # the maps leave some air's noise out


# --- global phase --------------------------------------------------------------------


def turned(data, seed=5, epoch=0, rows=0):
    dataset = samples.TrainingSamples([data], (4,), 0.04, seed, rows=rows, global_phases=True)
    dataset.epoch = epoch
    return dataset


@pytest.mark.parametrize("rows", [0, 31])
def test_a_global_phase_turns_the_whole_sample_and_nothing_else(written, rows):
    for name in ("ground_truth", "zero"):
        plain, other = slices(written[name], rows=rows), turned(written[name], rows=rows)
        for item in range(len(plain)):
            first, second = plain[item], other[item]
            assert torch.equal(first.mask.columns, second.mask.columns)
            assert torch.equal(first.maps, second.maps)
            close(second.target, first.target, rtol=1e-5)
            close(second.level, first.level, rtol=1e-5)
            turn = torch.linalg.vecdot(first.kspace.flatten(), second.kspace.flatten())
            turn = turn / turn.abs()
            close(second.kspace, first.kspace * turn, rtol=1e-5)


def test_global_phases_are_uniform_on_the_circle_and_differ_by_slice_epoch_and_seed(written):
    data = written["zero"]
    angles = []
    for seed in range(5):
        for epoch in range(10):
            plain, other = slices(data, seed=seed, epoch=epoch), turned(data, seed, epoch)
            for item in range(len(plain)):
                product = torch.linalg.vecdot(
                    plain[item].kspace.flatten(), other[item].kspace.flatten()
                )
                angles.append(float(product.angle()))
    assert len(set(angles)) == len(angles) == 200
    resultants = [abs(np.exp(1j * order * np.array(angles)).mean()) for order in (1, 2, 3)]
    assert max(resultants) < 0.22  # of 200 uniform angles: 1e-4 of all draws are above
    again = turned(data, 3, 4)[2].kspace
    assert torch.equal(again, turned(data, 3, 4)[2].kspace)


def test_draws_are_those_of_the_measured_scan_whatever_was_made_of_it(written, study):
    """Scans of another name, made of the same ones, get the same masks and phases."""
    data = written["ground_truth"]
    renamed = [
        dataclasses.replace(v, raw=dataclasses.replace(v.raw, name=f"{v.raw.name}_product"))
        for v in data.volumes
    ]
    made = dataclasses.replace(data, volumes=renamed, measured=data.volumes)
    how = {"rows": 31, "global_phases": True}
    first = samples.TrainingSamples([data], (4, 6), 0.04, 5, **how)
    second = samples.TrainingSamples([made], (4, 6), 0.04, 5, **how)
    for item in range(len(first)):
        assert torch.equal(first[item].kspace, second[item].kspace)
        assert torch.equal(first[item].mask.columns, second[item].mask.columns)
