"""NIfTI files that the test writes: numbers, directions, and what is refused."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from synthlib.formats import nifti
from synthlib.formats.refusals import Refusal


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


# --- volumes of an archive ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "spacing", "plane", "corner", "row", "column", "step"),
    [
        # where the first pixel lies, and where rows (down), columns (right) and slices go
        ("RAS", (1, 2, 5), "axial", "RAI", "P", "L", "S"),
        ("PSR", (1, 2, 5), "sagittal", "LAS", "I", "P", "R"),
        ("RAS", (1, 5, 2), "coronal", "RAS", "I", "L", "P"),
        ("SLA", (1, 2, 5), "coronal", "RAS", "I", "L", "P"),
        ("LPS", (2, 2, 2), "axial", "RAI", "P", "L", "S"),
    ],
)
def test_slices_lie_across_the_thickest_voxels_as_dicom_would_have_them(
    tmp_path, stored, codes, spacing, plane, corner, row, column, step
):
    """Every voxel holds where it lies, in a world that nibabel's affine tells."""
    path = write(tmp_path / "a.nii", stored, codes, spacing)
    image = nibabel.load(path)
    grid = np.stack(np.meshgrid(*map(np.arange, stored.shape), indexing="ij"), -1)
    world = nibabel.affines.apply_affine(image.affine, grid)
    sides = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    for side in range(3):
        values = (world[..., side] + 1000).astype(np.float32)
        named = tmp_path / f"{side}.nii"
        nibabel.save(nibabel.Nifti1Image(values, image.affine), named)
        volume = nifti.read_volume(named)
        assert volume.orientation == plane
        found = volume.magnitude - 1000
        end = next(c for c in corner if sides[c] == side)
        at = world[..., side].max() if end in "RAS" else world[..., side].min()
        assert found[0, 0, 0] == pytest.approx(at, abs=1e-3)
        for axis, direction, mm in (
            (0, step, volume.step_mm), (1, row, volume.spacing_mm[0]),
            (2, column, volume.spacing_mm[1]),
        ):  # fmt: skip
            change = float((found.narrow(axis, 1, 1) - found.narrow(axis, 0, 1)).mean())
            expected = 0.0
            if sides[direction] == side:
                expected = mm if direction in "RAS" else -mm
            assert change == pytest.approx(expected, abs=1e-3)


def test_a_phase_image_is_told_by_its_name_its_sidecar_or_its_values(tmp_path, stored):
    for name in ("gre_phasediff.nii", "sub-1_part-phase_T2w.nii"):
        with pytest.raises(Refusal, match="phase"):
            nifti.read_volume(write(tmp_path / name, stored + 1, "RAS"))
    path = write(tmp_path / "x.nii", stored + 1, "RAS")
    (tmp_path / "x.json").write_text('{"ImageType": ["ORIGINAL", "PRIMARY", "P"]}')
    with pytest.raises(Refusal, match="phase"):
        nifti.read_volume(path)
    with pytest.raises(Refusal, match="negative values"):
        nifti.read_volume(write(tmp_path / "y.nii", stored - 9, "RAS"))


def test_numbers_of_the_header_and_the_sidecar_are_facts(tmp_path, stored):
    image = nibabel.Nifti1Image(stored + 1, np.diag([1, 1, 3, 1]))
    image.header["descrip"] = b"3T 2D GR TR=1020ms/TE=10ms/FA=90deg/SO=no 28-Feb-2018"
    image.header.set_dim_info(freq=1, phase=0, slice=2)
    nibabel.save(image, tmp_path / "a.nii")
    volume = nifti.read_volume(tmp_path / "a.nii")
    assert volume.field_t == 3
    assert dict(volume.facts) == {
        "format": "nifti", "bits_stored": 16, "te_ms": 10, "tr_ms": 1020, "flip_deg": 90,
        "phase_encoding": "row",
    }  # fmt: skip
    (tmp_path / "a.json").write_text('{"EchoTime": 0.025, "MagneticFieldStrength": 7, "x": "y"}')
    volume = nifti.read_volume(tmp_path / "a.nii")
    assert (volume.field_t, volume.facts["te_ms"]) == (7, 25)


@pytest.mark.parametrize("codes", ["RAS", "LPI", "PIR", "SLA"])
@pytest.mark.parametrize("spacing", [(2, 3, 4), (9, 3, 2), (2, 9, 3)])
def test_every_voxel_keeps_its_place_in_the_patient(tmp_path, stored, codes, spacing):
    path = write(tmp_path / "head.nii", stored, codes, spacing)
    volume = nifti.read_volume(path)
    place, (mm_y, mm_x) = volume.placement, volume.spacing_mm
    _, ny, nx = volume.magnitude.shape
    affine = nibabel.load(path).affine
    for s, y, x in ((0, 0, 0), (volume.n_slices - 1, ny - 1, 1), (1, 2, nx - 1)):
        voxel = np.argwhere(stored == int(volume.magnitude[s, y, x]))[0]
        right, front, up = (affine @ [*voxel, 1])[:3]
        found = (
            np.array(place.middles_mm[s])
            + (y - ny // 2) * mm_y * np.array(place.along_column)
            + (x - nx // 2) * mm_x * np.array(place.along_row)
        )
        np.testing.assert_allclose(found, [-right, -front, up], atol=1e-4)
    to_next = np.subtract(place.middles_mm[1], place.middles_mm[0])
    assert to_next @ np.array(place.normal) > 0  # slices are counted along the normal


def test_gzip_that_gives_other_bytes_than_were_packed_is_refused(tmp_path, stored):
    path = write(tmp_path / "a.nii.gz", stored + 1, "RAS")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # of the checksum
    path.write_bytes(bytes(data))
    with pytest.raises(Refusal, match="compression is damaged"):
        nifti.read_volume(path)


def test_pairs_and_nifti2_are_read(tmp_path, stored):
    affine = np.diag([1, 1, 3, 1])
    nibabel.save(nibabel.Nifti1Pair(stored + 1, affine), tmp_path / "pair.hdr")
    nibabel.save(nibabel.Nifti2Image(stored + 1, affine), tmp_path / "two.nii.gz")
    nibabel.save(nibabel.Nifti1Image((stored + 1).astype(">i2"), affine), tmp_path / "big.nii")
    expected = nifti.read_values(write(tmp_path / "one.nii", stored + 1, "RAS", (1, 1, 3)))[0]
    for name in ("pair.hdr", "two.nii.gz", "big.nii"):
        torch.testing.assert_close(nifti.read_volume(tmp_path / name).magnitude, expected)


def test_a_label_map_on_another_grid_or_of_fractions_is_refused(tmp_path, stored):
    image = write(tmp_path / "a.nii", stored + 1, "RAS")
    shifted = write(tmp_path / "b.nii", stored, "LAS")
    half = write(tmp_path / "c.nii", stored.astype(np.float32) / 2, "RAS")
    for path, reason in ((shifted, "another grid"), (half, "not whole")):
        with pytest.raises(Refusal, match=reason):
            nifti.read_volume(image, labels={"seg": str(path)})


@pytest.mark.parametrize("kind", [torch.float32, torch.int32, torch.uint8])
def test_what_is_written_comes_back(tmp_path, kind):
    values = torch.arange(1, 1 + 4 * 7 * 5).reshape(4, 7, 5).to(kind)
    nifti.write(tmp_path / "new" / "a.nii.gz", values, (0.9, 1.1), 4.0)
    found, spacing_mm = nifti.read_values(tmp_path / "new" / "a.nii.gz")
    torch.testing.assert_close(found, values.float(), rtol=0, atol=0)
    assert spacing_mm == pytest.approx((0.9, 1.1), rel=1e-6)
    assert nifti.read_volume(tmp_path / "new" / "a.nii.gz").step_mm == 4
