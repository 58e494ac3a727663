"""Raw files: round trips, measured files, the stock loader, and every bad file by its message."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from fastmri.data import SliceDataset, transforms

from synthlib import arrays, formats, runs

MULTICOIL = {  # file: coils, matrix, contrast
    "head_axial_t1_8coil": (8, (230, 180), "AXT1"),
    "head_axial_mprage_4coil": (4, (256, 256), "MPRAGE"),
    "head_axial_16coil_lowres": (16, (96, 96), "AX"),
}
SINGLECOIL = {
    "head_axial_t2_1coil": (1, (256, 340), "AXT2"),
    "head_sagittal_t1_1coil": (1, (256, 256), "SAGT1"),
}


def make_kspace(n_slices: int = 3, n_coils: int = 4, ny: int = 90, nx: int = 38) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n_coils)
    shape = (n_slices, n_coils, ny, nx)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


def write(path: Path, kspace: torch.Tensor | None = None, **changes: object) -> Path:
    settings = {"contrast": "AXT2", "patient_id": "sub-1", "recon_shape": (45, 38)} | changes
    formats.write_raw(path, make_kspace() if kspace is None else kspace, **settings)
    return path


# --- good files ----------------------------------------------------------------------


def test_what_is_written_comes_back(tmp_path):
    kspace = make_kspace()
    path = write(
        tmp_path / "scan.h5",
        kspace,
        spacing_mm=(5.0, 4.5),
        record={"seed": 7},
        attributes={"te_ms": 90.0},
        extra={"truth/phase": torch.arange(6.0).reshape(2, 3)},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a full file is nothing to warn about
        volume = formats.read_raw(path)
    assert (volume.name, volume.patient_id, volume.contrast) == ("scan", "sub-1", "AXT2")
    assert (volume.n_slices, volume.n_coils) == (3, 4)
    assert volume.recon_shape == (45, 38)
    assert volume.acquired == (0, 38)
    assert volume.spacing_mm == pytest.approx((5.0, 4.5), abs=1e-5)
    assert volume.attributes["te_ms"] == 90.0
    assert volume.attributes["record"] == '{"seed": 7}'
    assert volume.source == str(path)
    for index in range(3):
        assert volume.kspace[index].dtype == torch.complex64
        torch.testing.assert_close(volume.kspace[index], kspace[index], rtol=0, atol=0)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["truth/phase"], np.arange(6.0).reshape(2, 3))


def test_the_files_own_magnitude_is_the_root_sum_of_squares_of_the_cropped_image(tmp_path):
    kspace = make_kspace()
    volume = formats.read_raw(write(tmp_path / "scan.h5", kspace))
    shifted = np.fft.ifftshift(kspace.numpy(), axes=(-2, -1))
    images = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))
    cropped = transforms.center_crop(torch.from_numpy(images), (45, 38)).numpy()  # rows 22 to 66
    expected = np.sqrt((np.abs(cropped) ** 2).sum(1))
    for index in range(3):
        np.testing.assert_allclose(volume.rss[index], expected[index], rtol=1e-4)
    assert volume.attributes["max"] == pytest.approx(expected.max(), rel=1e-5)
    assert volume.attributes["norm"] == pytest.approx(np.linalg.norm(expected), rel=1e-5)


@pytest.mark.parametrize("rows", [45, 44])
@pytest.mark.parametrize("oversampled", [88, 90, 91, 45])
def test_readout_oversampling_goes_and_the_image_stays(tmp_path, rows, oversampled, draw):
    image = torch.randn(4, rows, 38, dtype=torch.complex64, generator=draw)
    large = np.zeros((4, oversampled, 38), np.complex64)
    first = (oversampled - rows) // 2  # as fastMRI and ISMRMRD crop
    large[:, first : first + rows] = image.numpy()
    shifted = np.fft.ifftshift(large, axes=(-2, -1))
    kspace = np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1))
    kspace = torch.from_numpy(kspace.astype(np.complex64))[None]
    volume = formats.read_raw(write(tmp_path / "scan.h5", kspace, recon_shape=(rows, 38)))
    assert volume.image_shape == (rows, 38)
    torch.testing.assert_close(volume.coil_images(0), image, rtol=0, atol=1e-5)


def test_phase_encoding_columns_are_not_cropped(tmp_path):
    path = write(tmp_path / "scan.h5", recon_shape=(45, 31))
    assert formats.read_raw(path).image_shape == (45, 38)


def test_written_files_are_the_same_bytes_every_time(tmp_path):
    first, second = (write(tmp_path / name) for name in ("a.h5", "b.h5"))
    assert first.read_bytes() == second.read_bytes()


def test_the_stock_loader_opens_a_written_file(tmp_path):
    kspace = make_kspace()
    write(tmp_path / "scan.h5", kspace)
    volume = formats.read_raw(tmp_path / "scan.h5")
    dataset = SliceDataset(tmp_path, challenge="multicoil")
    assert len(dataset) == 3
    found, mask, target, attributes, name, index = dataset[1]
    np.testing.assert_array_equal(found, kspace[1])
    np.testing.assert_array_equal(target, volume.rss[1])
    assert (mask, name, index) == (None, "scan.h5", 1)
    assert attributes["encoding_size"] == (90, 38, 1)
    assert attributes["recon_size"] == (45, 38, 1)
    assert (attributes["padding_left"], attributes["padding_right"]) == volume.acquired
    assert attributes["acquisition"] == "AXT2"


def test_a_field_strength_that_nobody_knows_is_not_invented(tmp_path):
    for field_t, told in ((float("nan"), None), (1.5, 1.5)):
        path = write(tmp_path / "scan.h5", field_t=field_t)
        header = ismrmrd.xsd.CreateFromDocument(formats.read_raw(path).header)
        assert header.acquisitionSystemInformation.systemFieldStrength_T == told
        frequency = header.experimentalConditions.H1resonanceFrequency_Hz
        assert frequency == pytest.approx(42.577e6 * (told or 0), rel=1e-4)
        assert SliceDataset(tmp_path, challenge="multicoil")[0][3]["recon_size"] == (45, 38, 1)


def test_header_of_a_written_file_tells_its_geometry(tmp_path):
    path = write(tmp_path / "scan.h5", spacing_mm=(5.0, 4.5), field_t=1.5, thickness_mm=3)
    header = formats.read_raw(path).header
    for text in (
        "<systemFieldStrength_T>1.5<",
        "<receiverChannels>4<",
        "<x>450.0000</x><y>171.0000</y><z>3</z>",  # encoded: 90 rows of 5 mm, 38 columns
        "<x>225.0000</x><y>171.0000</y><z>3</z>",  # recon: 45 rows
        "<maximum>37</maximum><center>19</center>",
    ):
        assert text in header
    hertz = float(header.split("<H1resonanceFrequency_Hz>")[1].split("<")[0])
    assert hertz == pytest.approx(42.577e6 * 1.5, rel=1e-4)


def test_a_file_without_header_is_read_by_its_shapes(tmp_path):
    path = write(tmp_path / "scan.h5")
    with h5py.File(path, "a") as file:
        del file["ismrmrd_header"]
    volume = formats.read_raw(path)
    assert volume.recon_shape == (45, 38)
    assert all(np.isnan(volume.spacing_mm))


def test_a_single_coil_file_gains_a_coil_axis(tmp_path):
    kspace = make_kspace(n_coils=1)
    path = tmp_path / "single.h5"
    with h5py.File(path, "w") as file:  # as fastMRI stores it: [slice, ky, kx]
        file["kspace"] = kspace[:, 0].numpy()
        file["reconstruction_esc"] = np.ones((3, 45, 38), np.float32)
    volume = formats.read_raw(path)
    assert volume.n_coils == 1
    assert volume.recon_shape == (45, 38)
    torch.testing.assert_close(volume.kspace[2], kspace[2], rtol=0, atol=0)
    assert volume.coil_images(2).shape == (1, 45, 38)


def test_a_slice_that_is_not_there_is_refused(tmp_path):
    volume = formats.read_raw(write(tmp_path / "scan.h5"))
    for index in (3, -1):
        with pytest.raises(IndexError, match=f"scan.h5 has slices 0 to 2, {index} was asked for"):
            volume.kspace[index]


# --- measured files ------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MULTICOIL, *SINGLECOIL])
def test_measured_files_are_read_and_their_own_magnitude_comes_out(real, name):
    folder = "multicoil" if name in MULTICOIL else "singlecoil"
    n_coils, shape, contrast = (MULTICOIL | SINGLECOIL)[name]
    volume = formats.read_raw(real / folder / f"{name}.h5")
    assert (volume.n_slices, volume.n_coils, volume.contrast) == (1, n_coils, contrast)
    assert volume.recon_shape == volume.image_shape == shape
    assert volume.acquired == (0, shape[1])
    assert volume.patient_id == name
    assert volume.spacing_mm == pytest.approx((220 / shape[0], 220 / shape[0]))
    found, own = arrays.rss(volume.coil_images(0)), volume.rss[0]
    # the 16-coil file's magnitude was computed in lower precision
    torch.testing.assert_close(found, own, rtol=0, atol=3e-4 * float(own.max()))


# --- bad files -----------------------------------------------------------------------


def change(path: Path, edit: Callable[[np.ndarray], object]) -> Path:
    """A written file whose k-space is edited, in place or by what `edit` returns."""
    write(path)
    with h5py.File(path, "a") as file:
        kspace = file["kspace"][()]
        edited = edit(kspace)
        del file["kspace"]
        file["kspace"] = kspace if edited is None else edited
    return path


def truncated(path: Path) -> Path:
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def text_file(path: Path) -> Path:
    path.write_text("not HDF5\n")
    return path


def empty_file(path: Path) -> Path:
    path.touch()
    return path


def without_kspace(path: Path) -> Path:
    write(path)
    with h5py.File(path, "a") as file:
        del file["kspace"]
    return path


def headed(text: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        write(path)
        with h5py.File(path, "a") as file:
            del file["ismrmrd_header"]
            file["ismrmrd_header"] = text
        return path

    return make


def put(value: complex) -> Callable[[Path], Path]:
    def edit(kspace: np.ndarray) -> None:
        kspace[1, 2, 5, 7] = value  # in the middle slice

    return lambda path: change(path, edit)


def thinned(kspace: np.ndarray) -> None:
    kspace[..., 1:30:4] = 0


BOMB = b'<!DOCTYPE r [<!ENTITY a "x">]><ismrmrdHeader>&a;</ismrmrdHeader>'
BAD = {
    "truncated": (truncated, r"truncated or damaged. Expected whole HDF5 \(fastMRI or MRD\)"),
    "text": (text_file, "it is a text file"),
    "empty": (empty_file, "it is empty"),
    "without kspace": (without_kspace, r"has no 'kspace'; it holds \['ismrmrd_header', 'recon"),
    "rank 2": (lambda p: change(p, lambda k: k[0, 0]), r"kspace has shape \(90, 38\)"),
    "rank 5": (lambda p: change(p, lambda k: k[None]), r"kspace has shape \(1, 3, 4, 90, 38\)"),
    "no slice": (lambda p: change(p, lambda k: k[:0]), r"kspace has shape \(0, 4, 90, 38\)"),
    "real": (lambda p: change(p, lambda k: k.real), "kspace holds float32 numbers"),
    "NaN": (put(complex("nan")), "k-space of the middle slice holds 1 NaN or Inf"),
    "Inf": (put(complex("inf")), "k-space of the middle slice holds 1 NaN or Inf"),
    "all zero": (lambda p: change(p, np.zeros_like), "all zero"),
    "undersampled": (lambda p: change(p, thinned), "8 of 38 columns .* undersampled"),
    "bad header": (headed(b"<ismrmrdHeader"), r"its XML header is broken \(ismrmrd_header\)"),
    "entities": (headed(BOMB), r"its XML header declares entities \(ismrmrd_header\)"),
}
EXPECTED = r"[Ee]xpected|need fully sampled"
ADVICE = r"Download|Export|[Ll]eave (it|this file) out|leave it out"


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_with_what_was_found_expected_and_to_do(tmp_path, kind):
    make, found = BAD[kind]
    path = make(tmp_path / "bad_scan.h5")
    with pytest.raises(ValueError, match=rf"(?s)bad_scan.*{found}") as caught:
        formats.read_raw(path)
    for part in (EXPECTED, ADVICE):
        caught.match(part)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.h5 is not a file; expected raw data"):
        formats.read_raw(tmp_path / "none.h5")


def test_a_bad_slice_away_from_the_middle_is_refused_when_it_is_read(tmp_path):
    def edit(kspace: np.ndarray) -> None:
        kspace[0, 2, 5, 7] = np.nan
        kspace[2] = 0

    volume = formats.read_raw(change(tmp_path / "scan.h5", edit))
    assert volume.coil_images(1).isfinite().all()
    with pytest.raises(ValueError, match="scan slice 0: k-space holds 1 NaN"):
        volume.coil_images(0)
    with pytest.raises(ValueError, match="scan slice 2: k-space is all zero; expected signal"):
        volume.coil_images(2)


def test_a_file_that_breaks_after_opening_is_named_when_a_slice_is_read(tmp_path):
    volume = formats.read_raw(write(tmp_path / "scan.h5"))
    truncated(tmp_path / "scan.h5")
    with pytest.raises(ValueError, match=r"scan\.h5: slice 1 of kspace cannot be read.*Download"):
        volume.kspace[1]


def padded(kspace: np.ndarray) -> None:
    kspace[..., :5] = 0
    kspace[..., 35:] = 0


def test_zero_padded_columns_are_told_and_left_out_of_acquired(tmp_path):
    path = change(tmp_path / "scan.h5", padded)
    with pytest.warns(UserWarning, match="scan.h5: 8 of 38 columns .* unlike its header.* 5 to 34"):
        volume = formats.read_raw(path)
    assert volume.acquired == (5, 35)
    assert volume.image_shape == (45, 38)


def test_padding_that_the_header_tells_is_where_the_stock_loader_sees_it(tmp_path):
    path = change(tmp_path / "scan.h5", padded)
    with h5py.File(path, "a") as file:
        header = file["ismrmrd_header"][()].replace(
            b"<maximum>37</maximum><center>19</center>", b"<maximum>29</maximum><center>14</center>"
        )
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = header
    with pytest.warns(UserWarning, match="as its header says"):
        volume = formats.read_raw(path)
    attributes = SliceDataset(tmp_path, challenge="multicoil")[0][3]
    assert volume.acquired == (attributes["padding_left"], attributes["padding_right"]) == (5, 35)


@pytest.mark.parametrize(
    ("kspace", "message"),
    [
        (torch.zeros(4, 9, 8, dtype=torch.complex64), r"shape \(4, 9, 8\).*expected complex \[sli"),
        (torch.ones(1, 4, 9, 8), "float32; expected complex"),
        (torch.full((1, 4, 9, 8), complex("nan")), "holds 288 NaN or Inf of 288 values"),
        (torch.zeros(1, 4, 9, 8, dtype=torch.complex64), "all zero; expected signal"),
    ],
    ids=["rank", "real", "NaN", "zero"],
)
def test_bad_kspace_is_not_written(tmp_path, kspace, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "new" / "scan.h5", kspace, recon_shape=(9, 8))
    assert not list(tmp_path.rglob("*.h5"))


# --- folders -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two contrasts of 4 coils and one of 6, in subfolders."""
    write(tmp_path / "val" / "b_t2.h5")
    write(tmp_path / "train" / "a_t2.h5")
    write(tmp_path / "train" / "c_t1.h5", contrast="AXT1")
    write(tmp_path / "train" / "d_t2_6coil.h5", make_kspace(n_coils=6))
    return tmp_path


def names(volumes: list) -> list[str]:
    return [volume.name for volume in volumes]


def test_a_folder_is_searched_filtered_and_sorted(folder):
    assert sorted(names(formats.find_raw(folder, n_coils=4))) == ["a_t2", "b_t2", "c_t1"]
    assert names(formats.find_raw(folder, n_coils=4, contrasts=["AXT1"])) == ["c_t1"]
    assert names(formats.find_raw(folder, n_coils=6)) == ["d_t2_6coil"]


def test_volumes_are_sorted_by_name_whatever_their_subfolder(tmp_path):
    write(tmp_path / "z" / "a.h5")
    write(tmp_path / "a" / "z.h5")
    assert names(formats.find_raw(tmp_path)) == ["a", "z"]


def test_mixed_coil_counts_need_a_choice(folder):
    with pytest.raises(ValueError, match=r"1 x AXT1 4 coils, 2 x AXT2 4 coils, 1 x AXT2 6 coils.*"):
        formats.find_raw(folder)


def test_what_is_not_there_is_answered_with_what_is(folder):
    with pytest.raises(FileNotFoundError, match=r"FLAIR.* 20 coils; there are: 1 x AXT1 4 coils"):
        formats.find_raw(folder, contrasts=["AXFLAIR"], n_coils=20)


def test_an_empty_and_a_missing_folder_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no file of raw data; expected.*simulated"):
        formats.find_raw(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder; expected.*simulated"):
        formats.find_raw(tmp_path / "nowhere")


def test_all_broken_files_of_a_folder_are_named_at_once(folder):
    truncated(folder / "val" / "x.h5")
    text_file(folder / "val" / "y.h5")
    with pytest.raises(ValueError, match=r"(?s)2 of 6 files.*x\.h5.*y\.h5.*skip_broken"):
        formats.find_raw(folder, n_coils=4)
    with pytest.warns(UserWarning, match=r"(?s)2 of 6 files.*x\.h5.*y\.h5"):
        volumes = formats.find_raw(folder, n_coils=4, skip_broken=True)
    assert len(volumes) == 3


def test_one_warning_tells_of_all_padded_files(tmp_path):
    for name in "abc":
        change(tmp_path / f"{name}.h5", padded)
    with pytest.warns(UserWarning) as caught:
        formats.find_raw(tmp_path)
    assert len(caught) == 1
    assert "a.h5: 8 of 38 columns" in str(caught[0].message)
    assert "(and 2 more files like it)" in str(caught[0].message)


def test_two_files_of_one_name_are_refused(tmp_path):
    for part in ("train", "val"):
        write(tmp_path / part / "scan.h5")
    with pytest.raises(ValueError, match=r"1 file names .* twice, for example scan\.h5.*Rename"):
        formats.find_raw(tmp_path)


def test_a_file_under_way_is_not_taken_for_data(tmp_path):
    write(tmp_path / "scan.h5")
    with runs.atomic_path(tmp_path / "other.h5") as scratch:
        write(scratch)
        assert names(formats.find_raw(tmp_path)) == ["scan"]


def test_a_file_of_another_format_is_named_and_not_to_be_downloaded_again(tmp_path):
    path = tmp_path / "scan.h5"
    path.write_bytes(bytes(344) + b"n+1\0" + bytes(9))
    with pytest.raises(ValueError, match=r"scan\.h5: it is a NIfTI image\. Expected") as caught:
        formats.read_raw(path)
    assert "again" not in str(caught.value) and "truncated" not in str(caught.value)


def test_a_file_that_may_not_be_opened_is_not_called_truncated(tmp_path, monkeypatch):
    path = tmp_path / "scan.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)  # root may open anything
    with pytest.raises(ValueError, match=r"it may not be opened.*chmod"):
        formats.read_raw(path)


def test_a_file_that_another_program_writes_is_locked(tmp_path):
    path = tmp_path / "scan.h5"
    hold = (
        "import h5py, sys; f = h5py.File(sys.argv[1], 'w'); f['x'] = 1; f.flush(); print(1, "
        "flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(ValueError, match=r"scan\.h5: another program holds it open"):
            formats.read_raw(path)
        other.communicate()
