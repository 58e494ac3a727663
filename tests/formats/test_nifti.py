"""NIfTI files that the test writes: numbers, directions, and what is refused."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from synthlib.formats import nifti


@pytest.fixture
def stored() -> np.ndarray:
    """int16 (7, 5, 4), every voxel another number, so that swapped or turned axes show."""
    return np.arange(7 * 5 * 4, dtype=np.int16).reshape(7, 5, 4)


def write(
    path: Path, values: np.ndarray, codes: str, spacing: tuple[float, ...] = (2, 3, 4)
) -> Path:
    """Write values whose axes run towards the patient's sides named, such as "LAS"."""
    affine = np.zeros((4, 4))
    for axis, (code, mm) in enumerate(zip(codes, spacing, strict=True)):
        side = next(i for i, pair in enumerate(("RL", "AP", "SI")) if code in pair)
        affine[side, axis] = mm if code in "RAS" else -mm
    affine[3, 3] = 1
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def test_rows_run_from_front_to_back_and_columns_from_right_to_left(tmp_path, stored):
    images = nifti.read_images(write(tmp_path / "head.nii.gz", stored, "RAS"))
    assert images.magnitude.shape == (4, 5, 7)  # slice, y, x
    assert images.magnitude.dtype == torch.float32
    assert images.spacing_mm == (3.0, 2.0)
    assert images.name == "head"
    # the lowest slice; its first row is the frontmost, its first column the rightmost
    assert images.magnitude[0, 0, 0] == stored[6, 4, 0]
    assert images.magnitude[3, 4, 6] == stored[0, 0, 3]


@pytest.mark.parametrize("codes", ["LAS", "LPI", "PIR", "SLA", "ASR"])
def test_however_the_file_is_turned_the_head_is_the_same(tmp_path, stored, codes):
    expected, spacing = nifti.read_values(write(tmp_path / "upright.nii", stored, "RAS"))
    order = [next(i for i, pair in enumerate(("RL", "AP", "SI")) if c in pair) for c in codes]
    turned = stored.transpose(order)
    for axis, code in enumerate(codes):
        turned = turned if code in "RAS" else np.flip(turned, axis)
    path = write(tmp_path / "turned.nii", turned, codes, tuple((2, 3, 4)[side] for side in order))
    found, found_spacing = nifti.read_values(path)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert found_spacing == spacing


def test_slope_and_offset_are_applied(tmp_path, stored):
    image = nibabel.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "scaled.nii")
    values, _ = nifti.read_values(tmp_path / "scaled.nii")
    assert values.min() == pytest.approx(10)
    assert values.max() == pytest.approx(10 + 0.5 * stored.max())


def test_a_phase_image_is_no_magnitude_but_its_values_can_be_read(tmp_path, stored):
    path = write(tmp_path / "phase.nii", stored - 50, "RAS")
    with pytest.raises(ValueError, match=r"phase: values from -50 to 89; expected a magnitude"):
        nifti.read_images(path)
    assert nifti.read_values(path)[0].min() == -50


def test_what_is_no_single_volume_is_refused(tmp_path, stored):
    with pytest.raises(FileNotFoundError, match="expected a NIfTI image"):
        nifti.read_values(tmp_path / "absent.nii")
    nibabel.save(
        nibabel.Nifti1Image(stored[..., None].repeat(2, -1), np.eye(4)), tmp_path / "4d.nii"
    )
    with pytest.raises(ValueError, match=r"4d.nii cannot be used: it has shape \(7, 5, 4, 2\)"):
        nifti.read_images(tmp_path / "4d.nii")
    nibabel.save(nibabel.Nifti1Image(stored.astype(np.complex64), np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(ValueError, match="it holds complex64 numbers"):
        nifti.read_images(tmp_path / "c.nii")
    nibabel.save(
        nibabel.Nifti1Image(np.full((3, 4, 5), np.nan, np.float32), np.eye(4)), tmp_path / "n.nii"
    )
    with pytest.raises(ValueError, match="60 NaN or Inf"):
        nifti.read_images(tmp_path / "n.nii")
    nibabel.save(nibabel.Nifti1Image(0 * stored, np.eye(4)), tmp_path / "empty.nii")
    with pytest.raises(ValueError, match="not all zero"):
        nifti.read_images(tmp_path / "empty.nii")


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_truncated_and_foreign_files_are_named(tmp_path, stored, ending):
    path = write(tmp_path / f"whole.{ending}", stored, "RAS")
    (tmp_path / f"cut.{ending}").write_bytes(path.read_bytes()[:-60])
    (tmp_path / f"text.{ending}").write_text("not an image at all")
    for name in ("cut", "text"):
        with pytest.raises(ValueError, match=rf"{name}.{ending} cannot be used.*convert it again"):
            nifti.read_images(tmp_path / f"{name}.{ending}")


def test_the_measured_head_looks_forward(real):
    images = nifti.read_images(real / "nifti" / "head_t2w.nii.gz")
    assert images.magnitude.shape == (60, 224, 224)
    assert images.spacing_mm == (1.0, 1.0)
    # a head is longer than wide: its rows run along its length
    bright = images.magnitude[30] > 300
    assert bright.any(1).sum() > bright.any(0).sum()
