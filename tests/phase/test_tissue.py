"""The judge of tissue phase, with generators whose phase is known."""

import dataclasses

import h5py
import pytest
import torch

from synthlib import datasets, figures, formats, pairs, scanner
from synthlib.phase import polynomial, tissue

SETTINGS = scanner.ScanSettings(
    n_subjects=4,
    contrasts=("AXT2", "AXFLAIR"),
    n_slices=2,
    matrix=(62, 51),
    mechanisms=tissue.MECHANISMS,
)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Eight scans of four subjects, without the phases of receivers and timing."""
    raw = datasets.raw_volumes("simulated", n_coils=4, simulate=SETTINGS)
    return pairs.prepare(raw, tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def slices(volumes):
    return tissue.known_slices(volumes[:4])


@pytest.fixture(scope="module")
def others(volumes):
    return tissue.known_slices(volumes[4:])


def oracle(slices):
    """A "generator" that writes the true phase of the slice whose magnitude it is given."""

    def write(magnitude, *, seed, name=""):
        (one,) = [one for one in slices if torch.equal(one.pair.magnitude, magnitude)]
        return one.phase

    return write


def flat(magnitude, *, seed, name=""):
    return torch.zeros_like(magnitude)


def by_name(rows):
    return {row["phase"]: row for row in rows}


def test_the_truth_itself_has_no_error_and_beats_every_surface(slices, others):
    rows = tissue.error_table(slices, others, oracle(slices), seed=1)
    found = by_name(rows)
    assert found[tissue.GENERATOR]["brain"] < 1e-3
    assert found[tissue.GENERATOR]["head"] < 1e-3
    assert "closer than 4 of 4 surfaces" in tissue.verdict(rows)


def test_zero_phase_is_as_far_off_as_a_generator_of_zeros(slices, others):
    rows = tissue.error_table(slices, others, flat, seed=1)
    found = by_name(rows)
    assert found[tissue.GENERATOR] == {**found["zero"], "phase": tissue.GENERATOR}
    assert "closer than 0 of 4 surfaces" in tissue.verdict(rows)


def test_surfaces_of_higher_degree_are_closer_and_the_mean_surface_is_not_the_best(slices, others):
    found = by_name(tissue.error_table(slices, others, flat, seed=1))
    for region in ("brain", "head"):
        errors = [found[tissue.best_name(degree)][region] for degree in tissue.DEGREES]
        assert errors[0] > errors[1] > errors[2] > 0
        assert found["zero"][region] > found[tissue.MEAN_SURFACE][region] > errors[1]
        assert found["zero"][region] > 2 * errors[0]  # most of it is a smooth bowl


def test_a_polynomial_phase_is_its_own_best_surface(draw):
    coefficients = torch.randn(14, generator=draw, dtype=torch.float64) * 0.2
    phase = polynomial.surface(coefficients, (31, 24)) + 2.5  # wraps, but for the constant
    weight = torch.rand(31, 24, generator=draw)
    torch.testing.assert_close(
        polynomial.surface_fit(phase, weight), coefficients, rtol=0, atol=1e-5
    )
    assert tissue.fine_part(phase, weight).abs().max() < 1e-4


def test_ventricles_are_seen_in_the_phase_of_a_spin_echo(slices):
    (row,) = tissue.ventricle_table(slices, oracle(slices), seed=1)
    assert row["contrast"] == "AXT2"  # fluid has no signal in FLAIR
    true, _, error = row["true (rad)"].partition(" ± ")
    assert row["generator (rad)"] == row["true (rad)"]
    assert -0.12 < float(true) < -0.01  # fluid conducts more: the phase dips
    assert float(true) < -2 * float(error)
    measured = float(row["measured (rad)"].split(" ± ")[0])
    assert measured == pytest.approx(float(true), abs=0.02)


def test_without_conductivity_the_ventricles_do_not_dip(tmp_path):
    without = dataclasses.replace(
        SETTINGS, mechanisms=("noise",), contrasts=("AXT2",), n_subjects=2
    )
    raw = datasets.raw_volumes("simulated", n_coils=4, simulate=without)
    found = tissue.known_slices(pairs.prepare(raw, tmp_path))
    (row,) = tissue.ventricle_table(found, flat, seed=1)
    assert abs(float(row["true (rad)"].split(" ± ")[0])) < 0.005


def test_pictures_show_the_fine_part_in_the_brain_only(slices):
    picked = tissue.one_of_each_contrast(slices)
    assert [one.pair.contrast for one in picked] == ["AXFLAIR", "AXT2"]
    pictures = tissue.pictures(picked, oracle(slices), seed=1)
    for one, shown in zip(picked, pictures, strict=True):
        assert torch.equal(shown["true_fine"].isnan(), one.weights["brain"] == 0)
        torch.testing.assert_close(shown["true"], shown["written"], equal_nan=True)
    figure = figures.tissue_phase(pictures, ["AXFLAIR", "AXT2"])
    assert len(figure.axes) == 12  # 2 x 5 panels, 2 colour bars


def test_measured_scans_have_no_truth(tmp_path):
    path = tmp_path / "measured.h5"
    formats.write_raw(
        path,
        torch.ones(1, 2, 9, 8, dtype=torch.complex64),
        contrast="AXT2",
        patient_id="a",
        recon_shape=(9, 8),
    )
    with pytest.raises(ValueError, match=r'measured holds no ground truth; .*data = "simulated"'):
        datasets.truth(formats.read_raw(path))


def test_truth_lies_beside_the_scan_and_not_in_it(volumes):
    with h5py.File(volumes[0].raw.source) as file:
        assert "truth" in file and "kspace" in file
        assert {"phase", "maps", "labels", "noise_covariance"} <= set(file["truth"])
    assert datasets.truth(volumes[0].raw)["labels"].dtype == torch.uint8
