"""A whole scan: its grid, its noise, its phase by mechanism, its draws."""

from dataclasses import replace

import pytest
import torch

from synthlib import arrays, scanner
from synthlib.scanner import acquisition
from synthlib.scanner.settings import MECHANISMS

SMALL = scanner.ScanSettings(
    n_subjects=2, coil_counts=(4,), contrasts=("AXT2", "AXFLAIR"), n_slices=2, matrix=(45, 38)
)


def scan(settings: scanner.ScanSettings = SMALL, which: int = 0) -> scanner.Scan:
    return scanner.scan_subject(settings, scanner.subjects(settings)[0])[which]


@pytest.mark.parametrize("matrix", [(45, 38), (32, 41), (48, 40)])
@pytest.mark.parametrize("oversampling", [1, 2, 3])
def test_every_grid_is_that_asked_for(matrix, oversampling):
    volume = scan(replace(SMALL, matrix=matrix, oversampling=oversampling)).volume
    assert volume.kspace.shape == (2, 4, oversampling * matrix[0], matrix[1])
    assert volume.kspace[0].dtype == torch.complex64
    assert volume.image_shape == volume.recon_shape == matrix
    assert volume.acquired == (0, matrix[1])


def test_scans_carry_the_names_of_subject_and_contrast():
    settings = replace(SMALL, coil_counts=(4, 12))
    assert [s.patient_id for s in scanner.subjects(settings)] == [
        "sim-04coil-001",
        "sim-04coil-002",
        "sim-12coil-001",
        "sim-12coil-002",
    ]
    volume = scan(settings).volume
    assert (volume.name, volume.patient_id) == ("sim-04coil-001_AXT2", "sim-04coil-001")
    assert volume.spacing_mm == (230.0 / 45, 192.0 / 38)


def test_without_noise_the_truth_gives_the_coil_images():
    found = scan(replace(SMALL, snr=1e7))
    truth = found.truth
    image = torch.polar(truth["magnitude"], truth["phase"])
    expected = image[:, None] * truth["maps"]
    for index in range(2):
        torch.testing.assert_close(
            found.volume.coil_images(index), expected[index], rtol=0, atol=1e-5
        )
    torch.testing.assert_close(found.volume.rss[0], arrays.rss(expected)[0], rtol=0, atol=1e-5)


def test_readout_runs_along_the_first_axis_of_an_image():
    volume = scan(replace(SMALL, snr=1e7)).volume
    wide = arrays.ifft2c(volume.kspace[0])  # (coil, 2 * ny, nx)
    assert wide.shape[-2:] == (90, 38)
    outside = wide.clone()
    outside[:, 23:68] = 0  # index 45 // 2 lands on 90 // 2
    assert outside.abs().max() < 1e-5 * wide.abs().max()


def test_noise_in_air_has_the_strength_asked_for():
    settings = replace(SMALL, matrix=(64, 52), snr=25.0)
    noisy, clean = scan(settings), scan(replace(settings, snr=1e7))
    air = noisy.truth["labels"][0] == 0
    far = -torch.nn.functional.max_pool2d(-air[None].float(), 7, 1, 3)[0] > 0  # clear of the head
    noise = noisy.volume.coil_images(0)[:, far]
    parts = torch.view_as_real(noise)
    labels = clean.truth["labels"]
    brain = (labels == 2) | (labels == 3)
    signal = clean.volume.rss[brain].mean()
    assert far.sum() > 300
    assert abs(parts.std() * 25.0 / signal - 1) < 0.06  # 3000 samples, and hard labels
    assert parts.mean().abs() < 0.1 * parts.std()


def test_acquired_noise_has_the_standard_deviation_given():
    kspace = acquisition.acquire(
        torch.zeros(3, 60, 50, dtype=torch.complex64), 2, 0.7, torch.Generator().manual_seed(1)
    )
    assert abs(torch.view_as_real(kspace).std() / 0.7 - 1) < 0.02


def test_kspace_keeps_the_energy_of_the_object():
    image = torch.randn(2, 3, 21, 14, dtype=torch.complex64, generator=torch.Generator())
    kspace = acquisition.acquire(image, 2, 0.0, torch.Generator())
    torch.testing.assert_close(kspace.abs().square().sum(), image.abs().square().sum())


def test_phases_of_the_mechanisms_add_up():
    truth = scan().truth
    parts = [truth[f"phase_{name}"] for name in MECHANISMS if name != "receive"]
    assert all(part.std() > 0.01 for part in parts)
    difference = arrays.wrap(torch.stack(parts).sum(0) - truth["phase"])
    assert difference.abs().max() < 1e-4


@pytest.mark.parametrize("left_out", ["conductivity", "background", "timing"])
def test_a_mechanism_left_out_takes_away_its_own_phase_only(left_out):
    rest = tuple(name for name in MECHANISMS if name != left_out)
    whole, less = scan().truth, scan(replace(SMALL, mechanisms=rest)).truth
    assert not less[f"phase_{left_out}"].any()
    difference = arrays.wrap(whole["phase"] - less["phase"] - whole[f"phase_{left_out}"])
    assert difference.abs().max() < 1e-4
    assert torch.equal(whole["maps"], less["maps"])
    assert torch.equal(whole["magnitude"], less["magnitude"])


def test_without_receive_the_maps_are_real_and_of_the_same_magnitude():
    whole, less = scan().truth, scan(replace(SMALL, mechanisms=("conductivity",))).truth
    assert not less["maps"].imag.any()
    torch.testing.assert_close(less["maps"].real, whole["maps"].abs())


def test_without_mechanisms_the_object_is_real():
    truth = scan(replace(SMALL, mechanisms=())).truth
    assert not truth["phase"].any()


def test_conductivity_phase_belongs_to_the_subject_and_timing_to_the_scan():
    first, second = scan(which=0).truth, scan(which=1).truth
    assert torch.equal(first["phase_conductivity"], second["phase_conductivity"])
    assert torch.equal(first["maps"], second["maps"])
    assert not torch.allclose(first["phase_timing"], second["phase_timing"])
    assert not torch.allclose(first["phase_background"], second["phase_background"])


def test_same_seed_same_numbers_and_another_seed_differs():
    assert torch.equal(scan().volume.kspace[:], scan().volume.kspace[:])
    other = replace(SMALL, seed=SMALL.seed + 1)
    assert not torch.allclose(scan().volume.kspace[:], scan(other).volume.kspace[:])


def test_more_subjects_and_other_contrasts_leave_a_scan_unchanged():
    alone = replace(SMALL, n_subjects=1, contrasts=("AXFLAIR",))
    more = replace(SMALL, n_subjects=5, coil_counts=(4, 8), contrasts=("AXT1", "AXFLAIR"))
    assert torch.equal(scan(alone).volume.kspace[:], scan(more, which=1).volume.kspace[:])


def test_scanning_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    scan()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contrasts": ("AXPD",)}, "unknown contrast 'AXPD'; expected one of .*'AXT2'"),
        ({"mechanisms": ("magic",)}, "unknown mechanism 'magic'; expected one of .*'timing'"),
        ({"field_t": 7.0}, "unknown field_t 7.0; expected one of"),
        ({"coil_counts": (8, 0)}, r"coil_counts is \(8, 0\); expected at least 1"),
        ({"matrix": (96, 8)}, r"matrix is \(96, 8\); expected at least 16"),
        ({"oversampling": 0}, "oversampling is 0; expected at least 1"),
        ({"n_slices": 0}, "n_slices is 0; expected at least 1"),
        ({"snr": 0.0}, "snr is 0.0; expected more than 0"),
    ],
)
def test_settings_that_cannot_be_scanned_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)
