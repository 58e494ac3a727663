"""All small cases of real scanners, and the measured archives: each with its right outcome.

Each folder of shared/real/cases shows one trap; what is right follows from what its images are.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from synthlib import archive


class Right(NamedTuple):
    """What must come out of a folder.

    Attributes:
        shapes: of the series that are made.
        contrast: of each.
        aside: number of files and reason of what is set aside, one each.
        note: that each series must have; "" for no notes at all.
    """

    shapes: tuple[tuple[int, int, int], ...] = ()
    contrast: str = ""
    aside: tuple[tuple[int, str], ...] = ()
    note: str = ""


CASES = {
    # a sagittal T1 of 512 x 460 pixels, 256 x 230 encoded, the steps in United Imaging's slots
    "acquisition_matrix_other_slots": Right(((1, 512, 460),), "SAGT1"),
    "adc_told_by_description": Right(aside=((4, "a map of diffusion (ADC)"),)),
    "enhanced_magnitude_and_field_map": Right(
        ((32, 64, 64),), "AXT1", ((1, "32 of 64 frames left out: a map of the field"),)
    ),
    "g_factor_told_by_description": Right(aside=((4, "a g-factor map"),)),
    "jpeg_lossless": Right(((1, 128, 128),), "SAGT1"),
    "mp2rage_uni": Right(aside=((4, "a ratio of images (MP2RAGE UNI)"),)),
    "phase_told_by_comment": Right(aside=((10, "a map of flip angles"), (10, "a phase image"))),
    "phase_told_by_description": Right(aside=((4, "a phase image"),)),
    "repeats_of_one_scan": Right(
        4 * ((6, 64, 64),), "AXGRE", note="4 volumes at the same places, told apart by time"
    ),
    "single_slices_called_mosaic": Right(((6, 64, 64),), "AXGRE"),
    "subtraction_told_by_description": Right(aside=((4, "a difference of images"),)),
    "swi": Right(aside=((4, "magnitude times a mask of phase (SWI)"),)),
    # 20 tiles of 64 x 64 in a picture of 256 x 320
    "uih_mosaic": Right(((20, 64, 64),), "AXDWI"),
}


def found_in(folder: Path) -> tuple[archive.Found, list]:
    found = archive.find([folder], salt=b"salt of a test")
    return found, [archive.read(series) for series in found.series]


def test_every_case_has_its_right_outcome_here(real):
    assert {path.name for path in (real / "cases").iterdir()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_case_of_a_real_scanner_ends_as_it_must(name, real):
    right = CASES[name]
    found, volumes = found_in(real / "cases" / name)
    assert tuple(tuple(volume.magnitude.shape) for volume in volumes) == right.shapes
    for volume in volumes:
        assert volume.contrast == right.contrast
        assert volume.notes == ((right.note,) if right.note else ())
        assert volume.magnitude.min() >= 0 and volume.magnitude.std() > 0
        assert all(mm > 0 for mm in volume.spacing_mm)
    # phase images may be taken with their magnitudes some day; alone they are set aside
    reasons = sorted((aside.n_files, aside.reason) for aside in found.set_aside)
    assert len(reasons) == len(right.aside)
    for (n_files, reason), (n_expected, expected) in zip(reasons, right.aside, strict=True):
        assert n_files == n_expected and reason.startswith(expected), reason


def test_repeats_of_one_scan_differ_by_noise_alone(real):
    _, volumes = found_in(real / "cases" / "repeats_of_one_scan")
    mean = torch.stack([volume.magnitude for volume in volumes]).mean(0)
    for volume in volumes:
        assert 0 < float((volume.magnitude - mean).std()) < 0.1 * float(mean.std())


def test_tiles_of_a_mosaic_are_neighbouring_slices_of_one_head(real):
    _, (volume,) = found_in(real / "cases" / "uih_mosaic")
    assert (volume.step_mm, volume.orientation) == (pytest.approx(4.2, abs=1e-3), "axial")
    flat = volume.magnitude.flatten(1)
    alike = [float(torch.corrcoef(flat[[k, k + 1]])[0, 1]) for k in range(12)]
    assert min(alike) > 0.8  # cut at wrong places they would not be
    area = (volume.magnitude > 0.2 * volume.magnitude.quantile(0.99)).sum((1, 2))
    assert area[-1] < 0.3 * area[:10].min()  # the last is the highest


@pytest.mark.parametrize(
    ("folder", "shapes"),
    [
        ("dicom_t1_axial", {(10, 384, 274)}),
        ("gre_head", {(53, 80, 80)}),
        ("nifti", {(60, 224, 224), (64, 64, 64)}),
        ("dicom_philips_gre/classic", {(53, 80, 80)}),
        ("dicom_philips_gre/enhanced", {(53, 80, 80)}),
    ],
)
def test_the_measured_archives_give_their_magnitudes(folder, shapes, real):
    found, volumes = found_in(real / folder)
    assert {tuple(volume.magnitude.shape) for volume in volumes} == shapes
    two_echoes = folder.startswith(("gre_head", "dicom_philips"))
    assert len(volumes) == (1 if folder == "dicom_t1_axial" else 3 if folder == "nifti" else 2)
    if two_echoes:
        assert volumes[0].magnitude.mean() != volumes[1].magnitude.mean()
    reasons = [aside.reason for aside in found.set_aside]
    assert all("phase" in reason or "read with" in reason for reason in reasons), reasons
