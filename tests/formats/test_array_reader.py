"""K-space of BART and NumPy read as raw volumes; BART itself is the judge of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest
import torch
from line_files import image_by_numpy, random_kspace, read, whole

from synthlib import arrays, conversion, formats
from synthlib.formats import bart_cfl

SHAPE = (3, 5, 18, 11)


def write_pair(path, sizes: dict[int, int], seed: int = 3) -> np.ndarray:
    """A bare pair of random numbers, as BART writes it; the array has all 16 dimensions."""
    shape = [sizes.get(dimension, 1) for dimension in range(16)]
    array = random_kspace(tuple(shape), seed)
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, shape))}\n")
    path.with_suffix(".cfl").write_bytes(array.tobytes("F"))
    return array


def bart(folder, *arguments) -> None:
    if not shutil.which("bart"):
        pytest.skip("BART is needed (Debian: apt install bart)")
    subprocess.run(["bart", *map(str, arguments)], cwd=folder, check=True, capture_output=True)


def test_a_phantom_of_bart_has_the_image_that_bart_reconstructs(tmp_path):
    bart(tmp_path, "phantom", "-k", "-x", "45", "-s", "4", "kspace")
    bart(tmp_path, "resize", "-c", "1", "38", "kspace", "cut")  # odd, unequal sizes
    bart(tmp_path, "fft", "-u", "-i", "3", "cut", "image")
    volume = formats.read_raw(tmp_path / "cut.cfl")
    assert volume.kspace.shape == (1, 4, 45, 38) and volume.name == "cut"
    expected = bart_cfl.read_kspace(tmp_path / "image")[0]
    largest = float(expected.abs().max())
    torch.testing.assert_close(volume.coil_images(0), expected, rtol=0, atol=1e-5 * largest)


def test_a_3d_phantom_of_bart_becomes_slices_by_a_second_fft(tmp_path):
    bart(tmp_path, "phantom", "-3", "-k", "-x", "21", "-s", "3", "kspace")
    bart(tmp_path, "resize", "-c", "1", "18", "2", "7", "kspace", "cut")
    bart(tmp_path, "fft", "-u", "-i", "7", "cut", "image")
    volume = formats.read_raw(tmp_path / "cut.hdr")
    assert volume.kspace.shape == (7, 3, 21, 18)
    image = np.fromfile(tmp_path / "image.cfl", np.complex64).reshape(3, 7, 18, 21)
    found = np.stack([volume.coil_images(z).numpy() for z in range(7)])  # (z, coil, y, x)
    np.testing.assert_allclose(
        found, image.transpose(1, 0, 3, 2), rtol=0, atol=1e-5 * np.abs(image).max()
    )


def test_slices_echoes_and_averages_of_a_pair(tmp_path):
    array = write_pair(tmp_path / "scan", {0: 18, 1: 11, 3: 5, 5: 2, 13: 3, 14: 4})
    assert formats.n_volumes(tmp_path / "scan.cfl") == 2
    with pytest.warns(UserWarning):
        volume = formats.read_raw(tmp_path / "scan.cfl", number=1)
    expected = array.mean(14)[:, :, 0, :, 0, 1].squeeze().transpose(3, 2, 0, 1)
    np.testing.assert_allclose(whole(volume), expected, rtol=1e-5, atol=1e-6)
    assert "measured 4 times" in " ".join(volume.notes) and "2 volumes" in volume.notes[0]


@pytest.mark.parametrize("n_partitions", [1, 6, 7])
def test_a_line_is_averaged_over_the_times_that_it_was_measured(tmp_path, n_partitions):
    sizes = {0: 18, 1: 11, 2: n_partitions, 3: 3, 13: 2}
    once = write_pair(tmp_path / "once", sizes)
    times = np.random.default_rng(1).integers(1, 5, (11, n_partitions, 2))  # as lines are repeated
    several = np.zeros((*once.shape[:14], 4, 1), np.complex64)
    for average in range(4):
        measured = (times > average)[None, :, :, None].reshape(1, 11, n_partitions, *[1] * 10, 2)
        several[..., average, 0] = once[..., 0, 0] * measured
    (tmp_path / "several.hdr").write_text(f"# Dimensions\n{' '.join(map(str, several.shape))}\n")
    (tmp_path / "several.cfl").write_bytes(several.tobytes("F"))
    expected = whole(read(tmp_path / "once.cfl"))
    np.testing.assert_allclose(whole(read(tmp_path / "several.cfl")), expected, atol=1e-5)


SHARE = np.random.default_rng(4).random((7, 11))  # of (kz, kx)
RADIUS = ((np.arange(7)[:, None] - 3) / 3.6) ** 2 + ((np.arange(11) - 5) / 5.6) ** 2
MASKS = {  # of (kz, kx): what is measured, whether lines are missing, and columns of kx
    "all": (SHARE >= 0, False, (0, 11)),
    "random": ((SHARE < 0.3) | (RADIUS < 0.1), True, None),
    "every second": (np.indices((7, 11)).sum(0) % 2 == 0, True, (0, 11)),
    "every second plane": (np.indices((7, 11))[0] % 2 == 1, True, (0, 11)),
    "ellipse": (RADIUS <= 1, False, (0, 11)),
    "partial Fourier": (np.indices((7, 11))[1] > 2, False, (3, 11)),
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("n_slabs", [1, 2])
def test_lines_missing_of_a_3d_pair_are_seen_before_the_fft_along_kz(tmp_path, kind, n_slabs):
    mask, is_undersampled, acquired = MASKS[kind]
    array = write_pair(tmp_path / "scan", {0: 18, 1: 11, 2: 7, 3: 3, 13: n_slabs})
    array = array * mask.T.reshape(1, 11, 7, *[1] * 13)
    (tmp_path / "scan.cfl").write_bytes(array.astype(np.complex64).tobytes("F"))
    volume = read(tmp_path / "scan.cfl", undersampled=True)
    assert volume.undersampled is is_undersampled
    if acquired:
        assert volume.acquired == acquired
    if is_undersampled:
        with pytest.raises(ValueError, match="the scan is undersampled"):
            formats.read_raw(tmp_path / "scan.cfl")


@pytest.mark.parametrize("n_sizes", [1, 4, 17, 23])
def test_a_header_may_have_fewer_or_more_sizes_than_bart_has_dimensions(tmp_path, n_sizes):
    sizes = [18, 11, 1, 5][:n_sizes] + [1] * (n_sizes - 4)
    array = random_kspace(tuple(sizes))
    (tmp_path / "scan.hdr").write_text(f"# Dimensions\n{' '.join(map(str, sizes))}\n")
    (tmp_path / "scan.cfl").write_bytes(array.tobytes("F"))
    ky, kx, _, coil = (*array.shape, 1, 1, 1)[:4]
    expected = array.reshape(ky, kx, coil).transpose(2, 0, 1)
    np.testing.assert_array_equal(whole(formats.read_raw(tmp_path / "scan.cfl")), [expected])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["c8", "c16", ">c8"])
def test_npy_of_any_order_and_precision(tmp_path, order, kind):
    kspace = random_kspace(SHAPE)
    np.save(tmp_path / "scan.npy", np.array(kspace, kind, order=order))
    np.save(tmp_path / "one.npy", np.array(kspace[1], kind, order=order))
    volume = formats.read_raw(tmp_path / "scan.npy")
    np.testing.assert_array_equal(whole(volume), kspace)
    np.testing.assert_array_equal(whole(formats.read_raw(tmp_path / "one.npy")), kspace[1:2])
    found = volume.coil_images(2).numpy()
    np.testing.assert_allclose(found, image_by_numpy(kspace[2]), atol=1e-5)
    assert arrays.fft2c(torch.from_numpy(found)).shape == SHAPE[1:]


def test_columns_of_zeros_at_the_ends_are_not_acquired_and_between_are_missing(tmp_path):
    kspace = random_kspace(SHAPE)
    kspace[..., :2] = kspace[..., 10:] = 0
    np.save(tmp_path / "scan.npy", kspace)
    assert formats.read_raw(tmp_path / "scan.npy").acquired == (2, 10)
    kspace[..., 5] = 0
    np.save(tmp_path / "scan.npy", kspace)
    with pytest.raises(ValueError, match=r"scan\.npy: the scan is undersampled"):
        formats.read_raw(tmp_path / "scan.npy")
    assert formats.read_raw(tmp_path / "scan.npy", undersampled=True).undersampled


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


BAD = {
    "objects": (lambda p: np.save(p, np.array([Trap(p.with_name("sprung"))])), "never unpickled"),
    "real": (lambda p: np.save(p, np.ones(SHAPE)), "it holds float64 numbers"),
    "axes": (lambda p: np.save(p, np.ones((1, *SHAPE), "c8")), "its shape is .1, 3, 5, 18, 11."),
    "2-D": (lambda p: np.save(p, np.ones((5, 6), "c8")), "its shape is .5, 6."),
    "empty": (lambda p: np.save(p, np.ones((0, 5, 6), "c8")), "its shape is"),
    "cut": (lambda p: p.write_bytes(saved(p)[:-9]), "it is truncated"),
    "text": (lambda p: p.write_text("kspace"), "damaged NPY file, or one of a version"),
    "NaN": (lambda p: np.save(p, np.full(SHAPE, np.nan, "c8")), "NaN or Inf"),
    "swapped": (lambda p: np.save(p, np.ones(SHAPE, "c8").byteswap()), "another order"),
}


def saved(path) -> bytes:
    np.save(path, np.ones(SHAPE, "c8"))
    return path.read_bytes()


@pytest.mark.parametrize("kind", BAD)
def test_bad_npy_files_are_named_with_what_is_wrong(tmp_path, kind):
    make, message = BAD[kind]
    make(tmp_path / "bad.npy")
    with pytest.raises(ValueError, match=rf"(?s)bad\.npy: .*{message}"):
        formats.read_raw(tmp_path / "bad.npy")
    assert not (tmp_path / "sprung").exists()


def test_bad_pairs_are_named_with_what_is_wrong(tmp_path):
    write_pair(tmp_path / "scan", {0: 18, 1: 11, 3: 5, 6: 2})
    with pytest.raises(ValueError, match=r"scan\.hdr: its sizes are"):
        formats.read_raw(tmp_path / "scan.cfl")
    write_pair(tmp_path / "scan", {0: 18, 1: 11, 3: 5})
    (tmp_path / "scan.cfl").write_bytes(bytes(8 * 18 * 11))
    with pytest.raises(ValueError, match=r"scan\.cfl: it has 1584 bytes where 7920 belong"):
        formats.read_raw(tmp_path / "scan.cfl")
    (tmp_path / "scan.hdr").unlink()
    with pytest.raises(ValueError, match=r"scan\.cfl: half of a BART pair: scan\.hdr is not"):
        formats.read_raw(tmp_path / "scan.cfl")


def test_a_folder_is_searched_for_what_may_be_raw_data(tmp_path):
    np.save(tmp_path / "scan.npy", random_kspace(SHAPE))
    np.save(tmp_path / "mask.npy", np.ones((18, 11)))  # no k-space, passed by
    write_pair(tmp_path / "pair", {0: 18, 1: 11, 3: 5})
    write_pair(tmp_path / "pair_labels_tissue", {0: 18, 1: 11})  # a label map beside it
    write_pair(tmp_path / "pair_noise", {0: 18, 3: 5})
    (tmp_path / "nifti.hdr").write_bytes(bytes(348))
    (tmp_path / "notes.dat").write_text("a text")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "scan.mrd").write_bytes(b"")
    found = [path.relative_to(tmp_path).as_posix() for path in formats.raw_files(tmp_path)]
    assert found == ["pair.cfl", "scan.npy", "sub/scan.mrd"]
    assert formats.raw_files(tmp_path / "pair.hdr") == [tmp_path / "pair.cfl"]
    assert len(formats.passed_by(tmp_path)) == 2


def test_broken_files_of_a_folder_are_named_by_their_reader(tmp_path):
    for name in ("data", "sizes"):
        write_pair(tmp_path / name, {0: 18, 1: 11, 3: 5})
    (tmp_path / "data.hdr").unlink()
    (tmp_path / "sizes.cfl").unlink()
    (tmp_path / "text.npy").write_text("no numbers")
    (tmp_path / "none.npy").touch()
    (tmp_path / "folder.npy").mkdir()
    names = [path.name for path in formats.raw_files(tmp_path)]
    assert names == ["data.cfl", "none.npy", "sizes.hdr", "text.npy"]
    assert formats.raw_files(tmp_path / "sizes.hdr") == [tmp_path / "sizes.hdr"]
    with pytest.raises(ValueError, match=r"4 of 4 files cannot be used") as caught:
        formats.find_raw(tmp_path)
    for text in (
        "data.cfl: half of a BART pair: data.hdr is not beside it",
        "sizes.hdr: half of a BART pair: sizes.cfl is not beside it",
        "text.npy: it is a damaged NPY file, or one of a version",
        "none.npy: it is a damaged NPY file, or one of a version",
    ):
        assert text in str(caught.value)
    entries = conversion.convert_raw(tmp_path, tmp_path / "out", format="mrd")
    assert [entry.status for entry in entries] == ["failed"] * 4


def test_two_formats_of_one_name_keep_apart(tmp_path):
    for name in ("a.npy", "a.cfl", "b.npy"):
        (tmp_path / name).touch()
    paths = [tmp_path / "a.cfl", tmp_path / "a.npy", tmp_path / "b.npy"]
    assert list(formats.names_below(tmp_path, paths)) == ["a.cfl", "a.npy", "b"]


def test_a_file_that_may_not_be_opened_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "scan.npy"
    np.save(path, random_kspace(SHAPE))

    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(ValueError, match=r"scan\.npy: it may not be opened.*permissions"):
        formats.read_raw(path)


def test_find_raw_takes_one_file_of_any_format(tmp_path):
    np.save(tmp_path / "scan.npy", random_kspace(SHAPE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (volume,) = formats.find_raw(tmp_path / "scan.npy")
    assert (volume.name, volume.n_coils, volume.n_slices) == ("scan", 5, 3)


def test_a_locked_hdf5_file_is_not_called_damaged(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:  # open for writing, so that it is locked
        file["kspace"] = random_kspace(SHAPE)
        file.flush()
        code = (
            "import sys; from synthlib import formats\n"
            "try: formats.read_raw(sys.argv[1])\n"
            "except ValueError as error: print(error)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "scan.h5")]
        done = subprocess.run(command, capture_output=True, text=True)
    assert "scan.h5: another program holds it open and has locked it" in done.stdout, done.stderr


def analyze(mark: bytes) -> bytes:
    """A header of 348 bytes and two axes; `mark` at its end tells NIfTI's from Analyze's."""
    axes = np.array([2, 9, 7, 1, 1, 1, 1, 1], "<i2").tobytes()
    head = bytearray(348)
    head[:4], head[40:56], head[344:348] = (348).to_bytes(4, "little"), axes, mark
    return bytes(head)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (analyze(bytes(4)), "an Analyze 7.5 image"),
        (analyze(b"ni1\0"), "a NIfTI image"),
        (b"ENVI\nsamples = 9\n", "a text file"),
        (bytes(range(64)), "of another format"),
        (b"", "empty"),
    ],
)
def test_a_header_of_another_program_is_no_half_of_a_pair(tmp_path, start, what):
    path = tmp_path / "scan.hdr"
    path.write_bytes(start)
    with pytest.raises(ValueError, match=rf"scan\.hdr: it is {what}.*no header of BART's"):
        formats.read_raw(path)


def test_half_of_a_pair_says_which_half_is_missing(tmp_path):
    write_pair(tmp_path / "scan", {0: 18, 1: 11, 3: 5})
    (tmp_path / "scan.cfl").rename(tmp_path / "other.cfl")
    with pytest.raises(ValueError, match=r"scan\.hdr: half of a BART pair: scan\.cfl is not"):
        formats.read_raw(tmp_path / "scan.hdr")
    with pytest.raises(ValueError, match=r"other\.cfl: half of a BART pair: other\.hdr is not"):
        formats.read_raw(tmp_path / "other.cfl")
