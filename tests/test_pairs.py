"""Pairs: no patient in two parts, no work done twice, a phase that explains what coils see."""

import hashlib
import math
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from synthlib import arrays, coils, formats, mapstore, pairs
from synthlib.records import RawVolume

# --- split ---------------------------------------------------------------------------


def scans(n_patients: int, contrasts: tuple[str, ...] = ("AXT1", "AXT2")) -> list:
    """Prepared scans without files: a split looks at names only."""
    return [
        pairs.PreparedVolume(
            RawVolume(
                name=f"{patient:03d}_{contrast}",
                patient_id=f"patient-{patient:03d}",
                contrast=contrast,
                kspace=torch.zeros(2, 4, 9, 8),
                recon_shape=(9, 8),
                acquired=(0, 8),
            ),
            Path(f"{patient}.h5"),
        )
        for patient in range(n_patients)
        for contrast in contrasts
    ]


def patients(volumes: list) -> set[str]:
    return {volume.raw.patient_id for volume in volumes}


@pytest.mark.parametrize("n_patients", [4, 5, 11, 40, 137])
@pytest.mark.parametrize("gan_fraction", [0.01, 0.375, 0.7, 0.99])
def test_no_patient_is_in_two_parts_and_no_scan_is_lost(n_patients, gan_fraction):
    volumes = scans(n_patients)
    parts = pairs.split_by_patient(volumes, gan_fraction=gan_fraction, seed=1)
    assert list(parts) == list(pairs.PARTS)
    assert all(parts.values())
    kept = [patients(part) for part in parts.values()]
    assert sum(map(len, kept)) == len(set.union(*kept)) == n_patients
    names = [volume.name for part in parts.values() for volume in part]
    assert sorted(names) == sorted(volume.name for volume in volumes)


def test_patients_are_shared_out_80_10_10_after_the_generators():
    parts = pairs.split_by_patient(scans(160), gan_fraction=0.375, seed=1)
    assert {part: len(patients(found)) for part, found in parts.items()} == {
        "gan": 60,
        "train": 80,
        "val": 10,
        "test": 10,
    }


@pytest.mark.parametrize(
    ("n_patients", "test_fraction", "counts"),
    [  # of 100 - 28 = 72: round(0.46 * 72) = 33 tests, round(7.2) = 7 watched
        (100, 0.46, {"gan": 28, "train": 32, "val": 7, "test": 33}),
        (10, 0.46, {"gan": 3, "train": 3, "val": 1, "test": 3}),
        (10, 0.99, {"gan": 3, "train": 1, "val": 1, "test": 5}),  # one is left to learn from
        (4, 0.5, {"gan": 1, "train": 1, "val": 1, "test": 1}),
    ],
)
def test_more_test_patients_are_taken_from_those_to_learn_from(n_patients, test_fraction, counts):
    parts = pairs.split_by_patient(
        scans(n_patients), gan_fraction=0.28, test_fraction=test_fraction, seed=1
    )
    assert {part: len(patients(volumes)) for part, volumes in parts.items()} == counts


def test_the_generators_patients_do_not_depend_on_the_number_of_tests():
    few, many = (
        pairs.split_by_patient(scans(40), gan_fraction=0.3, test_fraction=share, seed=1)
        for share in (0.1, 0.5)
    )
    assert patients(few["gan"]) == patients(many["gan"])
    assert patients(few["test"]) < patients(many["test"])


def test_a_split_depends_on_the_seed_and_not_on_the_order_of_the_files():
    volumes = scans(40)
    base, again, shuffled, other = (
        {
            part: patients(found)
            for part, found in pairs.split_by_patient(v, gan_fraction=0.4, seed=seed).items()
        }
        for v, seed in ((volumes, 1), (volumes, 1), (volumes[::-1], 1), (volumes, 2))
    )
    assert base == again == shuffled
    assert base != other


def test_a_split_is_not_the_order_of_the_patients():
    gan = patients(pairs.split_by_patient(scans(40), gan_fraction=0.5, seed=1)["gan"])
    assert gan != {f"patient-{n:03d}" for n in range(20)}
    assert gan != {f"patient-{n:03d}" for n in range(20, 40)}


def test_too_few_patients_are_told():
    with pytest.raises(
        ValueError, match=r"6 scans are those of 3 patients; expected.* 4.*Add pati"
    ):
        pairs.split_by_patient(scans(3), gan_fraction=0.4, seed=1)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match=r"gan_fraction is .*; expected a share between 0 and 1"):
        pairs.split_by_patient(scans(8), gan_fraction=share, seed=1)
    with pytest.raises(ValueError, match=r"test_fraction is .*; expected a share between 0 and 1"):
        pairs.split_by_patient(scans(8), gan_fraction=0.4, test_fraction=share, seed=1)


def test_the_first_scans_differ_in_contrast():
    volumes = scans(3, ("AXT1", "AXT2", "AXFLAIR"))
    chosen = pairs.one_of_each(volumes, 4)
    assert [volume.raw.contrast for volume in chosen[:3]] == ["AXT1", "AXT2", "AXFLAIR"]
    assert len({volume.name for volume in chosen}) == 4
    assert len(pairs.one_of_each(volumes, 99)) == 9


def test_tables_count_patients_scans_and_slices():
    parts = pairs.split_by_patient(scans(40), gan_fraction=0.25, seed=1)
    rows = {row["part"]: row for row in pairs.summary(parts)}
    assert rows["gan"] == {"part": "gan", "patients": 10, "scans": 20, "slices": 40}
    assert sum(row["slices"] for row in rows.values()) == 160
    (first, second) = pairs.scan_table(scans(5))
    assert (first["contrast"], second["contrast"]) == ("AXT1", "AXT2")
    assert (first["patients"], first["scans"], first["slices"], first["coils"]) == (5, 5, 10, 4)


# --- preparing -----------------------------------------------------------------------

SMALL = coils.EspiritSettings(calib_width=16, kernel_width=4)


@pytest.fixture
def raw_path(tmp_path, odd_scan) -> Path:
    """The odd-sized scan as a file."""
    path = tmp_path / "raw" / "scan.h5"
    volume = odd_scan.volume
    formats.write_raw(
        path, volume.kspace, contrast="AXT2", patient_id="p", recon_shape=volume.recon_shape
    )
    return path


def prepare(raw_path: Path, settings: coils.EspiritSettings = SMALL) -> pairs.PreparedVolume:
    folder = raw_path.parent.parent / "prepared"
    return pairs.prepare([formats.read_raw(raw_path)], folder, espirit=settings)[0]


def stamp(volume: pairs.PreparedVolume) -> tuple[int, int]:
    return volume.path.stat().st_mtime_ns, volume.path.stat().st_ino


def test_what_is_current_is_not_prepared_again(raw_path):
    first = stamp(prepare(raw_path))
    assert stamp(prepare(raw_path)) == first


def test_other_settings_prepare_again(raw_path):
    first = prepare(raw_path)
    maps, before = first.maps(0), stamp(first)
    second = prepare(raw_path, replace(SMALL, gauge="coil0"))
    assert stamp(second) != before
    assert second.path == first.path
    assert not torch.equal(second.maps(0), maps)


def test_another_raw_file_of_the_same_name_is_prepared_again(raw_path):
    before = stamp(prepare(raw_path))
    stat = raw_path.stat()
    os.utime(raw_path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert stamp(prepare(raw_path)) != before


def test_a_damaged_file_of_pairs_or_maps_is_made_anew(raw_path):
    volume = prepare(raw_path)
    maps, phase = volume.maps(0), volume.pair(0).phase
    for path, read, named in (
        (volume.path, volume.pair, "magnitude"),
        (volume.map_file.path, volume.maps, "maps"),
    ):
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(
            ValueError, match=rf"scan\.h5: {named} cannot be read back.*Delete this"
        ):
            read(0)
    again = prepare(raw_path)
    assert torch.equal(again.maps(0), maps)
    assert torch.equal(again.pair(0).phase, phase)


def test_pairs_follow_their_maps(raw_path):
    first = prepare(raw_path)
    phase, before = first.pair(0).phase, stamp(first)
    # maps of another gauge in the same place, as somebody else's run would leave them
    other = replace(SMALL, gauge="coil0")
    mapstore.build([first.raw], first.map_file.path.parent, settings=other)
    assert prepare(raw_path).map_file.settings == SMALL
    assert stamp(first) == before  # pairs of these maps were there already
    assert torch.equal(first.pair(0).phase, phase)
    second = prepare(raw_path, other)
    assert not torch.equal(second.pair(0).phase, phase)


def test_pairs_of_two_sets_of_maps_are_refused(raw_path):
    with pytest.raises(ValueError, match=r"2 sets of maps.*needs one set.*mapstore\.build"):
        prepare(raw_path, replace(SMALL, n_sets=2))
    assert not (raw_path.parent.parent / "prepared").exists()


def test_warnings_of_the_maps_are_told_once_per_run(raw_path):
    with h5py.File(raw_path, "a") as file:
        file["kspace"][:, 2] = 0
    for _ in range(2):  # of maps made now, and of maps that were there
        with pytest.warns(RuntimeWarning, match=r"^scan: coil 2 of 4 holds no signal") as caught:
            prepare(raw_path)
        assert len(caught) == 1


def test_a_scan_of_one_coil_is_refused_by_name(tmp_path):
    kspace = torch.ones(1, 1, 45, 38, dtype=torch.complex64)
    path = tmp_path / "raw" / "lonely.h5"
    formats.write_raw(path, kspace, contrast="AXT2", patient_id="p", recon_shape=(45, 38))
    with pytest.raises(
        ValueError, match=r"lonely slice 0: .*one coil; coil maps need at least two"
    ):
        prepare(path)
    assert not list((tmp_path / "prepared").rglob("*.h5"))


def test_a_bad_slice_is_refused_by_name_and_nothing_is_kept(raw_path):
    with h5py.File(raw_path, "a") as file:
        good = file["kspace"][()]
        del file["kspace"]
        file["kspace"] = good.repeat(3, axis=0)
        file["kspace"][2, 1, 4, 4] = float("nan")  # not the middle slice, which opening checks
    with pytest.raises(ValueError, match="scan slice 2: k-space holds 1 NaN or Inf"):
        prepare(raw_path)
    assert not list((raw_path.parent.parent / "prepared").rglob("*.h5"))


# --- what a pair says ----------------------------------------------------------------


def test_a_pair_is_magnitude_and_phase_of_the_combined_coils(raw_path):
    volume = prepare(raw_path)
    coil_images = volume.raw.coil_images(0)
    found = coils.espirit_maps(volume.raw.kspace[0], SMALL, image_shape=(45, 38))
    pair = volume.pair(0)
    torch.testing.assert_close(pair.magnitude, arrays.rss(coil_images))
    torch.testing.assert_close(volume.maps(0), found.maps)
    assert torch.equal(pair.support, found.support)
    image = (found.maps.conj() * coil_images).sum(0)
    error = arrays.wrap(pair.phase - image.angle())
    assert error.abs().max() < 1e-5
    assert (pair.name, pair.volume, pair.patient_id) == ("scan#0", "scan", "p")


def test_magnitude_phase_and_maps_explain_the_coil_images_within_noise(study):
    for volume in [part[0] for part in study.values()]:
        pair, maps = volume.pair(0), volume.maps(0)
        coil_images = volume.raw.coil_images(0)
        # the oversampled readout sees nothing but noise beyond the field of view
        air = arrays.ifft2c(volume.raw.kspace[0])[:, :20]
        noise = air.abs().square().mean() * len(maps)  # of a pixel, all coils together
        head = pair.support & (pair.magnitude > 5 * noise.sqrt())
        assert head.sum() > 300
        left = (coil_images - coils.expand(pair.image, maps)).abs().square().sum(0)[head].mean()
        assert left < 1.1 * noise
        turned = torch.polar(pair.magnitude, pair.phase + 0.5)  # half a radian would show
        wrong = (coil_images - coils.expand(turned, maps)).abs().square().sum(0)[head].mean()
        assert wrong > 5 * noise


def test_prepared_slices_keep_the_scans_own_matrix(raw_path):
    volume = prepare(raw_path)
    pair = volume.pair(0)
    assert pair.magnitude.shape == pair.phase.shape == pair.support.shape == (45, 38)
    assert volume.eigenvalues(0).shape == (45, 38)
    assert pair.phase.max() <= torch.tensor(torch.pi)
    assert pair.phase.min() > -torch.tensor(torch.pi)


def test_position_runs_from_0_to_1_through_the_volume(study):
    volume = study["train"][0]
    assert [pair.position for pair in pairs.all_pairs([volume])] == [0.0, 1.0]
    assert [pair.name for pair in pairs.all_pairs([volume])] == [
        f"{volume.name}#0",
        f"{volume.name}#1",
    ]


def test_middle_pairs_are_of_the_middle_slice_and_of_different_contrasts(study):
    found = pairs.middle_pairs(study["train"], 3)
    assert [pair.slice_index for pair in found] == [1, 1, 1]
    assert len({pair.contrast for pair in found}) == 3


def test_the_study_has_every_scan_once(study):
    names = [volume.name for part in study.values() for volume in part]
    assert len(names) == len(set(names)) == 18
    assert {part: len(patients(found)) for part, found in study.items()} == {
        "gan": 2,
        "train": 2,
        "val": 1,
        "test": 1,
    }


def test_the_hash_of_inputs_changes_with_the_scans_and_not_with_their_order(study):
    volumes = study["train"]
    base = pairs.input_hashes(volumes)
    assert list(base) == ["6 raw files of 8 coils"]
    assert pairs.input_hashes(volumes[::-1]) == base
    others = [*volumes[:-1], study["test"][0]]
    assert pairs.input_hashes(others) != base


# --- scaling -------------------------------------------------------------------------


def test_magnitude_is_scaled_slice_by_slice_to_minus_one_and_one(draw):
    magnitude = (
        torch.rand(3, 45, 38, generator=draw) * torch.tensor([1e-5, 1.0, 1e4])[:, None, None]
    )
    magnitude[:, 0, 0] = 0
    scaled = pairs.scale_magnitude(magnitude)
    torch.testing.assert_close(scaled.amin((1, 2)), -torch.ones(3))
    torch.testing.assert_close(scaled.amax((1, 2)), torch.ones(3))
    torch.testing.assert_close(scaled[1], pairs.scale_magnitude(magnitude[1]))
    back = (scaled + 1) / 2 * magnitude.amax((1, 2), keepdim=True)
    torch.testing.assert_close(back, magnitude, rtol=1e-4, atol=1e-7 * 1e4)


def test_an_empty_slice_is_scaled_to_black():
    assert (pairs.scale_magnitude(torch.zeros(5, 4)) == -1).all()


def head_with_a_vessel(peak):
    """Air of 0 to 0.02, tissue of 0.5 to 1 in a third of the pixels, one bright vessel."""
    magnitude = torch.linspace(0, 0.02, 45 * 38, dtype=torch.float64).reshape(45, 38)
    tissue = torch.linspace(0.5, 1, 570, dtype=torch.float64)
    magnitude[15:30] = tissue.reshape(15, 38)
    magnitude[20, 5] = peak
    return magnitude


def test_by_percentile_a_vessel_does_not_darken_the_brain():
    dim, bright = (pairs.scale_magnitude(head_with_a_vessel(p), "percentile") for p in (1.1, 9.0))
    others = torch.ones(45, 38, dtype=torch.bool)
    others[20, 5] = False
    torch.testing.assert_close(dim[others], bright[others])
    image = head_with_a_vessel(9.0)
    top = np.percentile(image[15:30].numpy(), 99)
    torch.testing.assert_close(bright[29, 0], 2 * image[29, 0] / top - 1)
    assert bright[20, 5] == 1 and bright.max() == 1
    assert pairs.scale_magnitude(head_with_a_vessel(9.0))[29, 0] < -0.75  # by the maximum


def test_by_percentile_each_slice_has_a_scale_of_its_own_and_units_do_not_matter():
    slices = torch.stack([head_with_a_vessel(p) for p in (1.1, 5.0, 9.0)])
    units = torch.tensor([1e-4, 1.0, 1e5], dtype=torch.float64)[:, None, None]
    together = pairs.scale_magnitude(slices[None] * units, "percentile")
    assert together.shape == (1, 3, 45, 38)
    for image, scaled in zip(slices, together[0], strict=True):
        torch.testing.assert_close(scaled, pairs.scale_magnitude(image, "percentile"))
    assert (pairs.scale_magnitude(torch.zeros(5, 4), "percentile") == -1).all()


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match=r"scale 'mean' .*expected one of maximum, percentile"):
        pairs.scale_magnitude(torch.ones(5, 4), "mean")


@pytest.mark.parametrize(("mode", "channels"), [("scalar", 1), ("vector", 2)])
def test_phase_survives_the_way_to_the_target_and_back(mode, channels):
    pi = torch.tensor(torch.pi)
    near = torch.nextafter(pi, torch.tensor(0.0))
    phase = torch.cat([torch.linspace(-3.1415, 3.1415, 17), torch.stack([pi, near, -near])])
    phase = phase.reshape(4, 5).expand(3, 4, 5)
    target = pairs.phase_to_target(phase, mode)
    assert target.shape == (3, channels, 4, 5)
    assert target.abs().max() <= 1
    back = pairs.target_to_phase(target, mode)
    assert arrays.wrap(back - phase).abs().max() < 1e-5


def test_scalar_targets_are_phase_over_pi_and_vector_targets_have_no_jump():
    phase = torch.tensor([[math.pi / 2, -math.pi + 1e-3, math.pi - 1e-3]])
    scalar = pairs.phase_to_target(phase, "scalar")
    torch.testing.assert_close(scalar, phase[None] / math.pi)
    assert (scalar[0, 0, 1] - scalar[0, 0, 2]).abs() > 1.99
    vector = pairs.phase_to_target(phase, "vector")
    torch.testing.assert_close(vector, torch.stack([phase.cos(), phase.sin()]))
    assert (vector[:, 0, 1] - vector[:, 0, 2]).abs().max() < 3e-3


def test_vectors_of_any_length_keep_their_direction():
    target = torch.tensor([-0.3, 0.4]).reshape(2, 1, 1)
    found = pairs.target_to_phase(target, "vector")
    assert found.item() == pytest.approx(math.atan2(0.4, -0.3))


@pytest.mark.parametrize(("mode", "channels"), [("scalar", 1), ("vector", 2)])
def test_the_dataset_gives_every_slice_scaled(study, mode, channels):
    dataset = pairs.PairDataset(study["val"], mode)
    assert len(dataset) == 6
    magnitude, target = dataset[3]  # the second slice of the second scan
    pair = study["val"][1].pair(1)
    assert magnitude.shape == (1, 48, 40)
    assert target.shape == (channels, 48, 40)
    torch.testing.assert_close(magnitude[0], pairs.scale_magnitude(pair.magnitude))
    phase = pairs.target_to_phase(target, mode)
    assert arrays.wrap(phase - pair.phase).abs().max() < 1e-5


# --- measured data -------------------------------------------------------------------


def test_measured_scans_are_prepared_and_explain_their_coils(real, tmp_path):
    source = real / "multicoil" / "head_axial_16coil_lowres.h5"
    (volume,) = pairs.prepare([formats.read_raw(source)], tmp_path, espirit=SMALL)
    pair = volume.pair(0)
    coil_images = volume.raw.coil_images(0)
    left = coil_images - coils.expand(pair.image, volume.maps(0))
    share = left[:, pair.head].norm() / coil_images[:, pair.head].norm()
    assert share < 0.1
    assert volume.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
