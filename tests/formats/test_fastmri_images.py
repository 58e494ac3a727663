"""Magnitudes of fastMRI files: their own, or those that their k-space makes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from synthlib import formats
from synthlib.formats import fastmri_images
from synthlib.formats.refusals import Refusal


def make_kspace(ny: int = 90, nx: int = 38) -> torch.Tensor:
    draw = torch.Generator().manual_seed(3)
    return torch.randn((3, 4, ny, nx), dtype=torch.complex64, generator=draw)


def write(path: Path, **changes: object) -> Path:
    settings = {
        "contrast": "AXT2",
        "patient_id": "someone",
        "recon_shape": (45, 38),
        "spacing_mm": (5.0, 4.5),
        "field_t": 1.5,
    } | changes
    formats.write_raw(path, make_kspace(), **settings)
    return path


def test_the_files_own_magnitude_and_header_come_out(tmp_path):
    path = write(tmp_path / "scan.h5")
    volume = fastmri_images.read_volume(path)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(volume.magnitude, file["reconstruction_rss"])
    assert volume.spacing_mm == pytest.approx((5.0, 4.5), abs=1e-4)
    assert (volume.field_t, volume.thickness_mm) == (1.5, 5.0)
    assert (volume.contrast, volume.orientation, volume.anatomy) == ("AXT2", "axial", "head")
    assert volume.facts["acquisition_matrix"] == (45, 38)
    assert volume.facts["phase_encoding"] == "row"
    found = fastmri_images.summary(path)
    assert (found.shape, found.patient, found.contrast) == ((3, 45, 38), "someone", "AXT2")


def test_without_it_the_root_sum_of_squares_of_kspace_is_the_magnitude(tmp_path):
    path = write(tmp_path / "scan.h5")
    expected = fastmri_images.read_volume(path).magnitude
    with h5py.File(path, "a") as file:
        del file["reconstruction_rss"]
    torch.testing.assert_close(
        fastmri_images.read_volume(path).magnitude, expected, rtol=1e-5, atol=1e-6
    )


def test_a_single_coil_file_gives_its_magnitude(tmp_path):
    kspace = make_kspace()[:, 0]
    path = tmp_path / "single.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.numpy()
    shifted = np.fft.ifftshift(kspace.numpy(), axes=(-2, -1))
    expected = np.abs(np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1)))
    np.testing.assert_allclose(
        fastmri_images.read_volume(path).magnitude, expected, rtol=1e-4, atol=1e-5
    )
    with h5py.File(path, "a") as file:
        file["reconstruction_esc"] = np.arange(90, dtype=np.float32).reshape(3, 5, 6)
    assert fastmri_images.read_volume(path).magnitude.shape == (3, 5, 6)


def test_columns_that_were_not_measured_show_in_the_acquisition_matrix(tmp_path):
    path = write(tmp_path / "scan.h5", acquired=(0, 25))
    facts = fastmri_images.read_volume(path).facts
    assert facts["acquisition_matrix"] == (45, 25)
    assert facts["partial_fourier"] is True


def test_an_acquisition_that_is_not_listed_does_not_come_out(tmp_path):
    path = write(tmp_path / "scan.h5", contrast="brain of Erika")
    assert fastmri_images.summary(path).contrast == "unknown"
    assert "Erika" not in repr(fastmri_images.read_volume(path))


def test_what_is_no_fastmri_file_is_refused_without_its_name(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["signal"] = np.ones(3)
    (tmp_path / "text.h5").write_text("no HDF5 at all")
    for name, reason in (("other.h5", "without reconstruction_rss"), ("text.h5", "a text file")):
        with pytest.raises(Refusal, match=reason) as caught:
            fastmri_images.read_volume(tmp_path / name)
        assert name not in str(caught.value)


def test_measured_files_give_their_own_magnitudes(real):
    for path in sorted(real.glob("*coil/*.h5")):
        volume = fastmri_images.read_volume(path)
        with h5py.File(path) as file:
            np.testing.assert_array_equal(volume.magnitude, file["reconstruction_rss"])
        assert volume.spacing_mm == pytest.approx([220 / volume.magnitude.shape[1]] * 2)
