"""Raw data of every format, looked at through the viewer and the `view` command."""

import json
import re

import h5py
import numpy as np
import pytest

from synthlib import cli, widgets
from synthlib.widgets.raw_viewer import COIL, RSS, spread

SHAPE = (5, 3, 21, 34)  # slice, coil, ky, kx; odd and unequal


@pytest.fixture
def kspace():
    draw = np.random.default_rng(5)
    parts = draw.standard_normal((2, *SHAPE))
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def images(kspace):
    """NumPy's centred orthonormal inverse FFT."""
    axes = (-2, -1)
    shifted = np.fft.ifftshift(kspace, axes)
    return np.fft.fftshift(np.fft.ifft2(shifted, axes=axes, norm="ortho"), axes)


def test_a_scan_shows_its_coil_images_and_their_root_sum_of_squares(tmp_path, kspace):
    np.save(tmp_path / "scan.npy", kspace)
    loaded = widgets.raw_viewer(tmp_path / "scan.npy", n_slices=2).shown
    assert spread(5, 2) == [2] and spread(5, 3) == [0, 2, 4] and spread(4, 4) == [0, 1, 2, 3]
    expected = images(kspace)[2]
    assert loaded.shape == (1, 3, 21, 34) and "slices 2 of 5" in loaded.text
    for coil in range(3):
        shown = loaded.stacks[COIL].image(0, coil).numpy()
        assert abs(shown - expected[coil]).max() < 1e-4 * abs(expected).max()
    rss = np.sqrt((abs(expected) ** 2).sum(0))
    assert abs(loaded.stacks[RSS].image(0, 0).numpy() - rss).max() < 1e-4 * rss.max()


def test_a_folder_shows_each_scan_and_names_what_cannot_be_read(tmp_path, kspace):
    np.save(tmp_path / "a.npy", kspace)
    np.save(tmp_path / "b.npy", kspace[:1])
    (tmp_path / "c.h5").write_bytes(b"no HDF5")
    with pytest.warns(UserWarning, match="c.h5"):
        viewer = widgets.raw_viewer(tmp_path)
    assert [case["name"] for case in viewer._layout["cases"]] == ["a", "b"]
    with pytest.warns(UserWarning, match="2 of 3 files are left out"):
        widgets.raw_viewer(tmp_path, n_files=1)


def test_the_command_writes_a_page_and_touches_nothing_else(tmp_path, kspace, capfd):
    np.save(tmp_path / "in.npy", kspace)
    (tmp_path / "bad.dat").write_bytes(b"no raw data")
    page = tmp_path / "page.html"
    assert cli.main(["view", str(tmp_path), "--html", str(page)]) == 0
    out, err = capfd.readouterr()
    assert str(page) in out and "passed by, as no raw data: bad.dat" in out and not err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.dat", "in.npy", "page.html"]
    text = page.read_text()
    state = re.search(r'id="state">(.*?)</script>', text, re.DOTALL)
    assert json.loads(state[1])["_layout"]["cases"] == [{"name": "in"}]


def test_a_broken_file_beside_others_is_exit_status_1(tmp_path, kspace, capfd):
    np.save(tmp_path / "a.npy", kspace)
    (tmp_path / "c.h5").write_bytes(b"no HDF5")
    page = tmp_path / "page.html"
    assert cli.main(["view", str(tmp_path), "--html", str(page)]) == 1
    assert "c.h5" in capfd.readouterr().err and page.is_file()


def test_no_raw_data_is_an_error_that_says_what_is_read(tmp_path, capfd):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["values"] = np.zeros(3)
    for source, words in ((tmp_path, "other.h5"), (tmp_path / "none", "no raw data in")):
        assert cli.main(["view", str(source), "--html", str(tmp_path / "page.html")]) == 1
        assert words in capfd.readouterr().err
        assert not (tmp_path / "page.html").exists()


def test_a_scan_that_cannot_be_read_does_not_hide_the_others(tmp_path, kspace):
    np.save(tmp_path / "a.npy", kspace)
    kspace[0, 1, 3, 5] = np.nan
    np.save(tmp_path / "b.npy", kspace)
    viewer = widgets.raw_viewer(tmp_path, n_slices=5)
    with pytest.warns(UserWarning, match="b"):
        text = viewer.to_html(max_mb=20)
    assert '"name": "a"' in text and '"name": "b"' in text
    viewer.case = "b"
    assert "b" in viewer.shown.text and "NaN" in viewer.shown.text
