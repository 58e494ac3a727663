"""Results as NIfTI: where their voxels lie, what the header says."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch

from synthlib import archive, conversion, records
from synthlib.formats.nifti import images
from synthlib.records import ImageVolume

SALT = b"0123456789abcdef"


def volume(**changes) -> ImageVolume:
    facts = {"spacing_mm": (0.9, 1.1), "step_mm": 3.3, "thickness_mm": 3.0, "orientation": "axial"}
    return ImageVolume("a", "p", "AXT1", torch.ones(4, 7, 5), **{**facts, **changes})


@pytest.mark.parametrize(
    ("orientation", "upside_down", "axes"),
    [
        ("axial", False, "LPS"),
        ("axial", True, "LAS"),
        ("coronal", False, "LIP"),
        ("sagittal", False, "PIR"),
    ],
)
def test_axes_follow_the_orientation_and_sizes_the_spacing(orientation, upside_down, axes):
    affine, code = images.affine_of(volume(orientation=orientation, upside_down=upside_down))
    assert "".join(nibabel.aff2axcodes(affine)) == axes and code == 2
    np.testing.assert_allclose(nibabel.affines.voxel_sizes(affine), (1.1, 0.9, 3.3))
    np.testing.assert_allclose(affine @ [2, 3, 1.5, 1], [0, 0, 0, 1], atol=1e-12)
    assert images.affine_of(volume(orientation="unknown"))[1] == 0


def test_a_known_place_in_the_patient_is_kept():
    turned = np.deg2rad(20)
    row = (np.cos(turned), np.sin(turned), 0.0)
    column = (-np.sin(turned), np.cos(turned), 0.0)
    middles = tuple((10.0, -4.0, 3.3 * index) for index in range(4))
    placement = records.Placement(row, column, middles)
    affine, code = images.affine_of(volume(placement=placement))
    assert code == 1
    # DICOM's left and back are NIfTI's minus right and minus front
    np.testing.assert_allclose(affine @ [2, 3, 2, 1], [-10, 4, 6.6, 1], atol=1e-6)
    np.testing.assert_allclose(affine[:2, 0], [-1.1 * row[0], -1.1 * row[1]])


def test_phase_of_dicom_lies_where_dcm2niix_puts_it(real, tmp_path):
    """The same scan, converted by dcm2niix: voxels in the closest canonical order agree."""
    (tmp_path / "salt").write_bytes(SALT)
    result = conversion.synthesize(
        [real / "dicom_philips_gre" / "enhanced"], tmp_path / "out",
        conversion.Settings(phase="measured", format="nifti-complex"),
        salt_file=tmp_path / "salt",
    )  # fmt: skip
    assert result.count(conversion.MADE) == 2
    echoes = {archive.read(job.series).facts["te_ms"]: job.target for job in result.jobs}
    for number, te in enumerate((2.3, 4.6), start=1):
        image = nibabel.as_closest_canonical(nibabel.load(echoes[te]))
        expected = [
            nibabel.as_closest_canonical(
                nibabel.load(real / "gre_head" / f"philips_3t_field_map_e{number}{part}.nii.gz")
            )
            for part in ("", "_ph")
        ]
        np.testing.assert_allclose(image.affine, expected[0].affine, atol=2e-3)  # mm
        theirs = [one.get_fdata() for one in expected]
        ours = np.asarray(image.dataobj)
        inside = theirs[0] > 0.1 * theirs[0].max()
        error = np.angle(ours * np.exp(-1j * theirs[1]))[inside]
        assert np.abs(error).max() < 1e-3
