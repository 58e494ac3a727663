"""BART's files, judged by BART itself, and what the writer refuses."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from synthlib import arrays, runs
from synthlib.formats import bart_cfl
from synthlib.formats.raw_header import RawHeader

SHAPE = (3, 5, 90, 37)  # two-fold oversampled readout of 45 rows; odd and unequal
RECON = (45, 33)
FILES = ["sub-1.5T.cfl", "sub-1.5T.hdr", "sub-1.5T.json"]
LABELS = ["sub-1.5T_labels_tissue.cfl", "sub-1.5T_labels_tissue.hdr"]

Bart = Callable[..., Tensor]


@pytest.fixture
def bart(tmp_path) -> Bart:
    """Run BART in tmp_path; its last argument names the result, which is read back."""
    if shutil.which("bart") is None:
        reason = "BART is needed (Debian: apt install bart), and there is none"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    def run(*arguments: object) -> Tensor:
        command = ["bart", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return bart_cfl.read_kspace(tmp_path / str(arguments[-1]))

    return run


def make_kspace(shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=runs.rng(7, "k-space"))


def make_header(**changes) -> RawHeader:
    labels = torch.randint(-5, 300, (SHAPE[0], *RECON), generator=runs.rng(7, "labels"))
    header = RawHeader(
        contrast="AXT2",
        patient_id="p-3f9",
        recon_shape=RECON,
        spacing_mm=(0.9, 1.1),
        thickness_mm=4.0,
        te_ms=90.0,
        record={"SYNTHETIC": True, "snr": float("nan")},
        attributes={"phase_source": "sinusoidal"},
        labels={"tissue": labels},
        annotations=[{"label": "lesion", "slice": 1}],
    )
    return dataclasses.replace(header, **changes)


def write(path: Path, kspace: Tensor | None = None, header: RawHeader | None = None) -> Path:
    kspace = make_kspace() if kspace is None else kspace
    with bart_cfl.CflWriter(
        path, shape=tuple(kspace.shape), header=header or make_header()
    ) as writer:
        for index in reversed(range(len(kspace))):
            writer.put(index, kspace[index])
    return path


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_bare_pair_is_read_back(tmp_path):
    array = make_kspace((1, 3, 9, 7))[0]
    bart_cfl.write_array(tmp_path / "maps.cfl", array)
    assert names(tmp_path) == ["maps.cfl", "maps.hdr"]
    torch.testing.assert_close(bart_cfl.read_kspace(tmp_path / "maps")[0], array, rtol=0, atol=0)


# --- judged by BART ------------------------------------------------------------------


def test_images_by_bart_are_those_of_arrays(tmp_path, bart):
    write(tmp_path / "scan")
    images = bart("fft", "-u", "-i", 3, "scan", "images")
    expected = arrays.ifft2c(make_kspace())
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)
    rss = bart("rss", 8, "images", "rss")
    assert rss.shape == (3, 1, 90, 37)
    torch.testing.assert_close(rss[:, 0].real, arrays.rss(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 6), (9, 6), (8, 7), (9, 7)])
def test_the_centre_is_barts_centre_at_all_sizes(tmp_path, bart, size):
    kspace = make_kspace((1, 2, *size))
    write(tmp_path / "scan", kspace, make_header(labels={}))
    images = bart("fft", "-u", "-i", 3, "scan", "images")
    torch.testing.assert_close(images, arrays.ifft2c(kspace), rtol=0, atol=1e-5)


def test_bart_sees_the_dimensions_that_it_expects(tmp_path, bart):
    write(tmp_path / "scan")
    for dimension, expected in {0: 90, 1: 37, 2: 1, 3: 5, 4: 1, 13: 3, 15: 1}.items():
        shown = subprocess.check_output(
            ["bart", "show", "-d", str(dimension), "scan"], cwd=tmp_path
        )
        assert int(shown) == expected


def test_bart_whitens_with_the_noise_scan_of_a_set(tmp_path, bart):
    mixing = torch.tril(torch.randn(5, 5, dtype=torch.complex64, generator=runs.rng(7, "L")))
    mixing += 2 * torch.eye(5)
    white = torch.randn(60, 5, 90, dtype=torch.complex64, generator=runs.rng(7, "noise"))
    noise = mixing @ white
    write(tmp_path / "scan", header=make_header(noise=noise, labels={}))
    samples = bart_cfl.read_noise(tmp_path / "scan")[0]
    assert torch.equal(samples, noise.movedim(1, 0).flatten(1))
    whitened = bart("whiten", "scan_noise", "scan_noise", "white")[0].flatten(1)
    covariance = whitened @ whitened.mH / whitened.shape[1]
    level = covariance.diagonal().real.mean()
    torch.testing.assert_close(covariance / level, torch.eye(5) + 0j, atol=1e-3, rtol=0)
    write(tmp_path / "scan", header=make_header(labels={}))  # no noise of an older set stays
    assert bart_cfl.read_noise(tmp_path / "scan") is None


def test_one_slice_taken_out_by_bart_is_that_slice(tmp_path, bart):
    write(tmp_path / "scan")
    found = bart("slice", bart_cfl.SLICE, 2, "scan", "one")
    assert torch.equal(found[0], make_kspace()[2])


def test_labels_lie_over_barts_reconstruction(tmp_path, bart):
    # the object is its own label map
    labels = torch.randint(0, 9, (2, 45, 38), generator=runs.rng(7, "object"))
    kspace = arrays.fft2c(labels.to(torch.complex64))[:, None]
    write(tmp_path / "scan", kspace, make_header(recon_shape=(45, 38), labels={"tissue": labels}))
    bart("fft", "-u", "-i", 3, "scan", "image")
    difference = bart("saxpy", "--", -1, "scan_labels_tissue", "image", "difference")
    assert difference.abs().max() < 1e-4
    assert labels.max() == 8


def test_espirit_and_parallel_imaging_by_bart_give_the_image(tmp_path, bart, odd_scan):
    volume = odd_scan.volume
    kspace = volume.kspace[0][None]
    header = RawHeader(volume.contrast, "p", volume.recon_shape)
    write(tmp_path / "scan", kspace, header)
    maps = bart("ecalib", "-m", 1, "-c", 0, "-r", 20, "scan", "maps")
    image = bart("pics", "-S", "-l2", "-r", 1e-4, "-i", 50, "scan", "maps", "image")
    coil_images = arrays.ifft2c(kspace)
    rss = arrays.rss(coil_images)[0]
    head = rss > 0.2 * rss.max()
    assert relative_error(image[0, 0].abs()[head], rss[head]) < 0.01
    # one image times four maps explains all but the noise, of which the image takes a quarter
    noise = odd_scan.truth["noise_covariance"].diagonal().real.mean().sqrt()
    residual = (maps * image - coil_images)[..., head].abs().square().mean().sqrt()
    assert residual == pytest.approx(float(noise * (3 / 4) ** 0.5), rel=0.1)
    # and from half of the lines, around a fully sampled centre
    columns = torch.arange(kspace.shape[-1]) - kspace.shape[-1] // 2
    thinned = kspace * ((columns % 2 == 0) | (columns.abs() < 8))
    write(tmp_path / "thinned", thinned, header)
    bart("ecalib", "-m", 1, "-c", 0, "-r", 15, "thinned", "maps")
    image = bart("pics", "-S", "-l2", "-r", 1e-3, "-i", 50, "thinned", "maps", "image")
    unfolded = relative_error(image[0, 0].abs()[head], rss[head])
    folded = relative_error(arrays.rss(arrays.ifft2c(thinned))[0][head], rss[head])
    assert unfolded < min(0.1, folded / 2)


def relative_error(found: Tensor, true: Tensor) -> float:
    return float((found - true).norm() / true.norm())


def test_a_pair_that_bart_wrote_is_read(tmp_path, bart):
    image = bart("phantom", "-x", 32, "-s", 3, "phantom")
    assert image.shape == (1, 3, 32, 32)
    assert image.dtype == torch.complex64
    assert image.abs().max() > 0.1


# --- the set of files ----------------------------------------------------------------


def test_bytes_are_complex_floats_with_the_readout_fastest(tmp_path):
    write(tmp_path / "scan")
    assert (tmp_path / "scan.hdr").read_text().splitlines()[:2] == [
        "# Dimensions",
        "90 37 1 5 1 1 1 1 1 1 1 1 1 3 1 1",
    ]
    stored = np.fromfile(tmp_path / "scan.cfl", "<c8").reshape((90, 37, 5, 3), order="F")
    np.testing.assert_array_equal(stored.transpose(3, 2, 0, 1), make_kspace().numpy())


@pytest.mark.parametrize("ending", ["", ".hdr", ".cfl", ".json"])
def test_a_name_may_hold_dots_and_come_with_an_ending(tmp_path, ending):
    path = write(tmp_path / f"sub-1.5T{ending}")
    assert names(tmp_path) == sorted(FILES + LABELS)
    assert torch.equal(bart_cfl.read_kspace(path), make_kspace())


def test_kspace_and_header_come_back(tmp_path):
    path = write(tmp_path / "scan")
    torch.testing.assert_close(bart_cfl.read_kspace(path), make_kspace(), rtol=0, atol=0)
    found, expected = bart_cfl.read_header(path), make_header()
    assert torch.equal(found.labels["tissue"], expected.labels["tissue"])
    unknown = ("step_mm", "field_t", "tr_ms", "ti_ms", "flip_deg")
    assert all(getattr(found, name) != getattr(found, name) for name in unknown)  # nan
    assert found.record == {"SYNTHETIC": True, "snr": None}
    bare = {"labels": {}, "record": {}} | dict.fromkeys(unknown, 0.0)
    assert dataclasses.replace(found, **bare) == dataclasses.replace(expected, **bare)


def test_every_text_says_synthetic(tmp_path):
    write(tmp_path / "scan")
    for text in ("scan.hdr", "scan.json", "scan_labels_tissue.hdr"):
        assert "SYNTHETIC" in (tmp_path / text).read_text()


def test_labels_of_an_older_set_of_that_name_are_not_read(tmp_path):
    write(tmp_path / "scan")
    write(tmp_path / "scan", header=make_header(labels={}))
    assert bart_cfl.read_header(tmp_path / "scan").labels == {}


# --- bad input -----------------------------------------------------------------------

BAD_SLICES = {
    "shape": (lambda k: k[:, :-1], r"slice 1: k-space of shape \(5, 89, 37\).*\(5, 90, 37\)"),
    "NaN": (lambda k: k.index_fill(0, torch.tensor(2), torch.nan), "slice 1: k-space holds 3330"),
}


@pytest.mark.parametrize("kind", BAD_SLICES)
def test_a_bad_slice_is_refused_and_nothing_is_left(tmp_path, kind):
    damage, message = BAD_SLICES[kind]
    with (
        pytest.raises(ValueError, match=rf"scan {message}"),
        bart_cfl.CflWriter(tmp_path / "scan", shape=SHAPE, header=make_header()) as writer,
    ):
        writer.put(0, make_kspace()[0])
        writer.put(1, damage(make_kspace()[1]))
    assert not list(tmp_path.iterdir())


def test_missing_slices_are_named(tmp_path):
    with (
        pytest.raises(ValueError, match=r"scan: 1 of 3 slices were not put: 1\."),
        bart_cfl.CflWriter(tmp_path / "scan", shape=SHAPE, header=make_header()) as writer,
    ):
        writer.put(0, make_kspace()[0])
        writer.put(2, make_kspace()[2])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [2**24 + 1, -(2**24) - 1])
def test_labels_that_a_float_would_change_are_refused(tmp_path, value):
    labels = torch.zeros(3, *RECON, dtype=torch.int64)
    labels[0, 0, 0] = value
    with pytest.raises(ValueError, match=r"label map big holds 16777217; .*Number the labels anew"):
        bart_cfl.CflWriter(tmp_path / "x", shape=SHAPE, header=make_header(labels={"big": labels}))


def test_a_name_that_cannot_be_taken_leaves_nothing_of_the_set(tmp_path):
    (tmp_path / "scan.json" / "full").mkdir(parents=True)  # k-space gets its name, this cannot
    with pytest.raises(OSError, match=r"scan\.json"):
        write(tmp_path / "scan")
    assert names(tmp_path) == ["scan.json"]


BAD_SETS = {
    "truncated": (".cfl", lambda b: b[:-8], r"scan\.cfl: it has 399592 bytes where 399600 belong"),
    "no sizes": (".hdr", lambda _: b"# Dimensions\n", r"scan\.hdr: it has no line of sizes"),
    "words": (".hdr", lambda _: b"# Dimensions\nx y\n", r"scan\.hdr: it has no line of sizes"),
    "binary": (".hdr", lambda _: bytes(range(256)), r"scan\.hdr: it has no line of sizes"),
    "other axes": (".hdr", lambda _: b"# Dimensions\n90 37 2 5\n", r"scan\.hdr: its sizes are"),
    "negative": (".hdr", lambda _: b"# Dimensions\n-90 -37\n", r"scan\.hdr: its sizes are"),
    "huge": (".hdr", lambda _: b"# Dimensions\n9999999999 9999999999\n", "799999999840000000008"),
}


@pytest.mark.parametrize("kind", BAD_SETS)
def test_a_damaged_set_is_named_with_what_was_found(tmp_path, kind):
    ending, edit, message = BAD_SETS[kind]
    file = write(tmp_path / "scan").with_suffix(ending)
    file.write_bytes(edit(file.read_bytes()))
    with pytest.raises(ValueError, match=rf"{message}.*Expected BART's sizes.*leave it out"):
        bart_cfl.read_kspace(tmp_path / "scan")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"labels": ["tissue"], "recon_shape": 3}'])
def test_a_damaged_header_is_told(tmp_path, text):
    (write(tmp_path / "scan").with_suffix(".json")).write_text(text)
    with pytest.raises(ValueError, match="not the header of a raw data file"):
        bart_cfl.read_header(tmp_path / "scan")


def test_a_missing_file_of_a_set_is_named(tmp_path):
    write(tmp_path / "scan")
    for ending, read in {".json": bart_cfl.read_header, ".hdr": bart_cfl.read_kspace}.items():
        (tmp_path / f"scan{ending}").unlink()
        with pytest.raises(FileNotFoundError, match=rf"scan\{ending} is not a file; expected"):
            read(tmp_path / "scan")


# --- disk, kill ----------------------------------------------------------------------

# No file of this process may grow beyond the limit: writing more fails in the kernel, as on a
# full disk.
FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from synthlib.formats import bart_cfl
from synthlib.formats.raw_header import RawHeader

path, limit, n = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
labels = {"tissue": torch.zeros(9, n, n, dtype=torch.int64)}
put = 0
try:
    header = RawHeader("AXT2", "p", (n, n), labels=labels)
    with bart_cfl.CflWriter(path, shape=(9, 1, n, n), header=header) as writer:
        for index in range(9):
            writer.put(index, torch.ones(1, n, n, dtype=torch.complex64))
            put += 1
except Exception as error:
    print(put, f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize(
    ("limit", "n"), [(0, 64), (100_000, 64)], ids=["the header", "the label maps"]
)
def test_a_full_disk_says_so_and_leaves_the_old_set(tmp_path, limit, n):
    write(tmp_path / "scan", header=make_header(labels={}))
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "scan"), str(limit), str(n)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.match(r"0 OSError: .*the disk is full: writing scan\S* failed", done.stdout)
    assert names(tmp_path) == ["scan.cfl", "scan.hdr", "scan.json"]
    assert torch.equal(bart_cfl.read_kspace(tmp_path / "scan"), make_kspace())


def test_a_disk_that_is_full_half_way_through_kspace_leaves_nothing(tmp_path):
    code = FULL_DISK.replace('{"tissue": torch.zeros(9, n, n, dtype=torch.int64)}', "{}")
    command = [sys.executable, "-c", code, str(tmp_path / "scan"), "100000", "64"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # three of the nine slices fit
    assert re.match(r"3 OSError: .*the disk is full: writing scan\S* failed", done.stdout)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("older", [False, True])
def test_a_writer_that_is_killed_while_it_names_its_files_leaves_no_complete_set(tmp_path, older):
    if older:
        write(tmp_path / "scan", header=make_header(labels={}))
    for nth in range(
        1, 6
    ):  # k-space, two of labels, json, hdr: killed after each name but the last
        child = os.fork()
        if child == 0:
            _killed_after_names(tmp_path / "scan", nth)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == -signal.SIGKILL
        assert (tmp_path / "scan.cfl").exists()
        assert (tmp_path / "scan.hdr").exists() == (nth == 5)
    assert torch.equal(bart_cfl.read_kspace(tmp_path / "scan"), make_kspace())
    write(tmp_path / "scan")
    assert len(names(tmp_path)) == 5  # and the next writer cleans up


def _killed_after_names(path: Path, n: int) -> None:
    """Write, and die right after the n-th file got its name."""
    rename, done = Path.replace, []

    def replace(self: Path, target: Path) -> None:
        rename(self, target)
        done.append(target)
        if len(done) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    Path.replace = replace  # type: ignore[method-assign]
    write(path)


def test_labels_of_an_older_set_go_with_it(tmp_path):
    def names():
        return {path.name for path in tmp_path.iterdir()}

    write(tmp_path / "scan")
    before = names()
    assert any("scan_labels_" in name for name in before)
    kept = {"scan_labels_my_own.cfl", "scan2_labels_x.cfl"}
    for name in kept:
        (tmp_path / name).write_bytes(b"of somebody else")
    for text in ('{"labels": 5}', "[", "[]"):  # a header that somebody damaged
        (tmp_path / "scan.json").write_text(text)
        write(tmp_path / "scan")
    write(tmp_path / "scan", header=make_header(labels={}))
    assert names() == kept | {name for name in before if not name.startswith("scan_labels_")}
