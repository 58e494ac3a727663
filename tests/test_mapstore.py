"""The map store: every slice's own maps, no work twice, and no file that stops another."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from synthlib import arrays, coils, formats, mapstore, runs, scanner, tasks
from synthlib.formats import prepared_hdf5
from synthlib.mapstore import estimation

SMALL = coils.EspiritSettings(calib_width=16, kernel_width=4, threshold=0.02, crop=0.9)
USUAL = dataclasses.replace(SMALL, calib_width=24, kernel_width=6)
N_SLICES = 6  # one block and a half
PATIENT = "patient-4711"


@pytest.fixture(scope="module")
def kspace(odd_scan: scanner.Scan) -> Tensor:
    """Six different slices of one head, complex (6, 4, 90, 38): other units, other noise."""
    one = odd_scan.volume.kspace[0]
    noise_std = 0.02 * float(one.abs().square().mean().sqrt())
    draw = torch.Generator().manual_seed(3)
    noise = torch.randn((N_SLICES, *one.shape), dtype=torch.complex64, generator=draw)
    units = torch.logspace(-3, 2, N_SLICES)[:, None, None, None]
    return units * (one + noise_std * noise)


@pytest.fixture
def write(tmp_path: Path, kspace: Tensor) -> Callable[..., Path]:
    """Makes a raw file below raw/; `edit` may change its k-space."""

    def made(name: str, edit: Callable[[np.ndarray], object] | None = None, **more: object) -> Path:
        path = tmp_path / "raw" / f"{name}.h5"
        settings = {"contrast": "AXT2", "patient_id": PATIENT, "recon_shape": (45, 38)} | more
        formats.write_raw(path, kspace, **settings)
        if edit:
            with h5py.File(path, "a") as file:
                values = file["kspace"][()]
                edited = edit(values)
                del file["kspace"]
                file["kspace"] = values if edited is None else edited
        return path

    return made


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., mapstore.Store]:
    """Builds the store of raw/ in maps/."""

    def built(settings: coils.EspiritSettings = SMALL, **more: object) -> mapstore.Store:
        return mapstore.build_folder(tmp_path / "raw", tmp_path / "maps", settings=settings, **more)

    return built


def names(store: mapstore.Store) -> list[str]:
    return [file.name for file in store.files]


def stamps(store: mapstore.Store) -> dict[str, tuple[int, int]]:
    """Time and inode: both change when a file is written again."""
    return {f.name: (f.path.stat().st_mtime_ns, f.path.stat().st_ino) for f in store.files}


def content(file: mapstore.MapFile) -> coils.CoilMaps:
    """All that was kept of the maps."""
    kept = {name: prepared_hdf5.read(file.path, name) for name in coils.CoilMaps.tensors()}
    return coils.CoilMaps(**kept, calib_shape=(0, 0))


# --- what is kept --------------------------------------------------------------------


@pytest.mark.parametrize("n_sets", [1, 2])
def test_every_slice_has_the_maps_that_it_would_have_alone(write, build, kspace, n_sets):
    settings = dataclasses.replace(SMALL, n_sets=n_sets, threshold="auto", crop="auto")
    write("scan")
    (file,) = build(settings).files
    assert file.thresholds.shape == file.crops.shape == (N_SLICES,)
    for index in range(N_SLICES):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            alone = coils.espirit_maps(kspace[index], settings, image_shape=(45, 38))
        assert file.maps(index).shape == ((4, 45, 38) if n_sets == 1 else (2, 4, 45, 38))
        assert file.maps(index).dtype == torch.complex64
        # complex, phase and all; slices differ by far more
        torch.testing.assert_close(file.maps(index), alone.maps, rtol=0, atol=2e-3)
        torch.testing.assert_close(file.eigenvalues(index), alone.eigenvalues, rtol=0, atol=1e-3)
        # in some pixels it has not settled, and depends on when the neighbours have
        assert (file.further(index) - alone.further).abs().mean() < 0.02
        assert (file.support(index) != alone.support).float().mean() < 0.01
        torch.testing.assert_close(file.thresholds[index], alone.threshold, rtol=1e-3, atol=0)
        torch.testing.assert_close(file.crops[index], alone.crop, rtol=1e-3, atol=0)
    assert (file.maps(0) - file.maps(5)).abs().max() > 0.02


def test_qualities_are_those_of_the_slices_in_their_order(write, build, kspace):
    def noisy(values: np.ndarray) -> None:
        rng = np.random.default_rng(1)
        values[4] = rng.normal(size=values[4].shape) + 1j * rng.normal(size=values[4].shape)

    path = write("scan", noisy)
    (file,) = build(USUAL).files
    assert [quality.slice_index for quality in file.qualities] == list(range(N_SLICES))
    assert [bool(quality.flags) for quality in file.qualities] == [False] * 4 + [True, False]
    volume = formats.read_raw(path)
    found = content(file)
    for index in (0, 4, 5):
        (expected,) = coils.judge(volume.coil_images(index)[None], found[index : index + 1])
        assert file.qualities[index] == dataclasses.replace(expected, slice_index=index)
    rows = mapstore.quality_rows(mapstore.Store([file], {}))
    assert [row["slice_index"] for row in rows] == list(range(N_SLICES))
    assert rows[4]["flags"] == "; ".join(file.qualities[4].flags)
    assert {row["volume"] for row in rows} == {"scan"}
    assert [row["threshold"] for row in rows] == pytest.approx([0.02] * N_SLICES)


def test_the_record_names_settings_raw_file_and_packages(write, build):
    path = write("scan")
    (file,) = build().files
    record = file.attributes["record"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["inputs"] == {"scan.h5": digest}
    assert file.source_sha256 == digest
    assert record["parameters"] == {"espirit": dataclasses.asdict(SMALL)}
    assert file.settings == SMALL
    assert record["packages"]["torch"] == torch.__version__
    assert record["git_commit"] == runs.git_commit()


def test_a_map_file_says_nothing_of_the_patient_nor_of_this_machine(write, build, tmp_path):
    write("scan")
    (file,) = build().files
    stored = file.path.read_bytes()
    for secret in (PATIENT, str(tmp_path), str(runs.project_root())):
        assert secret.encode() not in stored


def test_attributes_of_a_volume_of_many_slices_come_back(tmp_path):
    # more than the 64 KiB that HDF5 has for an attribute of fixed size
    long = {"qualities": [f"slice {n}" for n in range(20_000)], "key": "k"}
    prepared_hdf5.write(tmp_path / "long.h5", {"maps": torch.zeros(2)}, long)
    assert prepared_hdf5.read_attributes(tmp_path / "long.h5") == long


def test_a_map_file_of_another_version_says_so(tmp_path):
    old = {"fingerprint": "f", "qualities": [{"slice_index": 0, "glow": 1.0, "flags": []}]}
    prepared_hdf5.write(tmp_path / "old.h5", {}, old)
    with pytest.raises(ValueError, match=r"old\.h5: made by another version.*glow.*Run again"):
        _ = mapstore.MapFile("old", tmp_path / "old.h5").qualities


# --- what is not repeated ------------------------------------------------------------


def test_what_is_current_is_not_estimated_again(write, build):
    write("a")
    write("b")
    first = build()
    assert first.made == {"a", "b"}
    second = build()
    assert (second.made, stamps(second)) == (frozenset(), stamps(first))


def test_changed_settings_or_raw_files_are_estimated_again_and_the_others_stay(write, build):
    write("a")
    path = write("b")
    first = build()
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    second = build()
    assert second.made == {"b"}
    assert stamps(second)["a"] == stamps(first)["a"]
    # the same content: what rests on the maps need not be made again
    assert second.files[1].fingerprint == first.files[1].fingerprint
    other = build(dataclasses.replace(SMALL, crop=0.8))
    assert other.made == {"a", "b"}
    assert other.files[0].settings.crop == 0.8


def test_a_changed_raw_file_has_another_fingerprint(write, build):
    write("a")
    before = build().files[0].fingerprint
    write("a", lambda values: values[::-1].copy())
    assert build().files[0].fingerprint != before


def test_a_damaged_map_file_is_made_anew(write, build):
    write("a")
    (file,) = build().files
    maps = file.maps(3)
    file.path.write_bytes(file.path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"a\.h5: .*damaged\. Delete this file and run again"):
        _ = file.qualities
    assert build().made == {"a"}
    assert torch.equal(file.maps(3), maps)


KILLED = """
import os, signal, sys
from synthlib import coils, mapstore

estimate, calls = coils.espirit_maps, []

def killed_in_the_second_volume(*arguments, **more):
    calls.append(1)
    if len(calls) == 4:  # its second block of slices
        os.kill(os.getpid(), signal.SIGKILL)
    return estimate(*arguments, **more)

coils.espirit_maps = killed_in_the_second_volume
settings = coils.EspiritSettings(calib_width=16, kernel_width=4, threshold=0.02, crop=0.9)
mapstore.build_folder(sys.argv[1], sys.argv[2], settings=settings)
"""


def test_a_killed_run_goes_on_where_it_was(write, build, tmp_path):
    for name in "abc":
        write(name)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "raw"), str(tmp_path / "maps")]
    assert subprocess.run(command).returncode == -9
    assert [path.name for path in (tmp_path / "maps").rglob("*")] == ["a.h5"]
    kept = (tmp_path / "maps" / "a.h5").stat()
    store = build()
    assert names(store) == ["a", "b", "c"]
    assert store.made == {"b", "c"}
    assert stamps(store)["a"] == (kept.st_mtime_ns, kept.st_ino)


# --- broken files --------------------------------------------------------------------


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def single_coil(path: Path) -> None:
    with h5py.File(path, "a") as file:
        values = file["kspace"][:, 0]
        del file["kspace"]
        file["kspace"] = values


def put(index: int, value: complex) -> Callable[[Path], None]:
    """Spoils a whole slice, or one of its samples with NaN."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "a") as file:
            if value != value:
                file["kspace"][index, 1, 4, 4] = value
            else:
                file["kspace"][index] = value

    return spoil


def without_centre(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["kspace"][5, :, 25:65, 9:29] = 0


BROKEN = {
    "truncated": (truncated, ": it is truncated or damaged"),
    "text": (lambda path: path.write_text("no HDF5"), ": it is a text file"),
    "NaN when opened": (put(3, complex("nan")), ": k-space of the middle slice holds 1 NaN"),
    "NaN in a slice": (put(5, complex("nan")), " slice 5: k-space holds 1 NaN or Inf"),
    "silent slice": (put(1, 0), " slice 1: k-space is all zero; expected signal"),
    "slice without centre": (without_centre, " slice 5: .*calibration region"),
    "one coil": (single_coil, " slice 0: k-space of one coil; coil maps need at least two"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_with_its_reason_and_stops_no_other(write, build, kind):
    spoil, reason = BROKEN[kind]
    write("a")
    spoil(write("sub/b"))
    write("c")
    store = build()
    assert names(store) == ["a", "c"]
    assert list(store.broken) == ["sub/b"]
    assert re.match(rf"sub/b{reason}", store.broken["sub/b"])
    assert not list((store.files[0].path.parent / "sub").glob("*"))
    assert build().broken == store.broken  # tried again, told again


def test_a_slice_of_noise_is_named_by_its_number_in_the_volume(write, build):
    def noisy(values: np.ndarray) -> None:
        draw = np.random.default_rng(1)
        values[5] = draw.normal(size=values[5].shape) + 1j * draw.normal(size=values[5].shape)

    write("scan", noisy)
    (file,) = build(dataclasses.replace(USUAL, threshold="auto")).files
    silent = [q.slice_index for q in file.qualities if "nothing but noise: leave it out" in q.flags]
    assert silent == [5]
    assert "slice 5: nothing but noise: leave it out" in file.warnings


def test_an_undersampled_file_has_the_maps_of_its_centre(write, build):
    """fastMRI's test folders: lines are missing, but not about the centre."""

    def thin(values: np.ndarray) -> None:
        kept = np.arange(38) % 3 == 1
        kept[19 - 12 : 19 + 12] = True
        values[..., ~kept] = 0

    write("full")
    with pytest.raises(ValueError, match="the scan is undersampled"):
        formats.read_raw(write("thin", thin))
    full, thin_file = build(USUAL).files
    assert (full.name, thin_file.name) == ("full", "thin")
    inside = full.support(0)
    assert coils.alignment(thin_file.maps(0), full.maps(0))[inside].min() > 1 - 1e-5
    # judged by the centre that it has, not by folded images
    assert thin_file.qualities[0].flags == ()
    assert thin_file.qualities[0].residual < 1.5 * full.qualities[0].residual


def test_a_file_that_disappears_after_it_was_opened_is_broken_and_stops_no_other(write, tmp_path):
    paths = [write(name) for name in "ab"]
    volumes = [formats.read_raw(path) for path in paths]
    paths[0].unlink()
    store = mapstore.build(volumes, tmp_path / "maps", settings=SMALL)
    assert names(store) == ["b"]
    assert "No such file" in store.broken["a"]


def test_an_error_that_nobody_foresaw_is_told_by_its_kind_and_stops_no_other(
    write, build, monkeypatch
):
    estimate = coils.espirit_maps

    def fails_for_large_values(
        kspace: Tensor, *arguments: object, **more: object
    ) -> coils.CoilMaps:
        if kspace.abs().max() > 1e6:
            raise RuntimeError("the solver did not converge")
        return estimate(kspace, *arguments, **more)

    monkeypatch.setattr(coils, "espirit_maps", fails_for_large_values)
    write("a", lambda values: values * 1e8)
    write("b")
    store = build()
    assert store.broken == {"a": "a: RuntimeError: the solver did not converge"}
    assert names(store) == ["b"]


def test_a_full_disk_stops_at_once(write, build, monkeypatch):
    tried = []

    def full(path: Path, *arguments: object, **more: object) -> None:
        tried.append(path.name)
        raise OSError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr(estimation, "write_maps", full)
    for name in "ab":
        write(name)
    with pytest.raises(OSError, match="the disk is full"):
        build()
    assert tried == ["a.h5"]


# --- warnings ------------------------------------------------------------------------


def test_warnings_are_kept_with_the_volume_and_not_shown(write, build):
    def dead(values: np.ndarray) -> None:
        values[:, 2] = 0

    def dead_at_first(values: np.ndarray) -> None:
        values[:4, 2] = 0

    write("all", dead)
    write("first", dead_at_first)
    write("padded", lambda values: values[..., :3].fill(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = build(USUAL)
    told = {file.name: file.warnings for file in store.files}
    message = "coil 2 of 4 holds no signal: its map is zero"
    assert told == {"all": [message], "first": [f"slices 0 to 3: {message}"], "padded": []}


@pytest.mark.parametrize(
    ("slices", "expected"),
    [({0, 1, 2, 3, 8}, "slices 0 to 3, 8: bad"), ({2}, "slice 2: bad"), (set(range(10)), "bad")],
)
def test_a_flag_is_told_once_with_its_slices(slices, expected):
    numbers = dict.fromkeys(["support", "inside", "outside", "residual", "noise", "roughness"], 0.5)
    qualities = [
        coils.SliceQuality(
            index, **numbers, folded=0, poles=0, not_finite=0,
            flags=("bad",) if index in slices else (),
        )
        for index in range(10)
    ]  # fmt: skip
    assert estimation._once(qualities) == [expected]


# --- other processes -----------------------------------------------------------------


@pytest.fixture(params=["processes", "scheduler"])
def elsewhere(request, tmp_path, monkeypatch):
    """Arguments that send the work to two processes, or to the threads of a cluster."""
    runs.git_commit()  # of this project, before the root moves
    monkeypatch.setattr(tasks.runs, "project_root", lambda: tmp_path)  # Dask's scratch files
    if request.param == "processes":
        yield {"workers": 2}
        return
    from dask.distributed import LocalCluster

    with LocalCluster(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
    ) as cluster:
        yield {"scheduler": cluster.scheduler_address}


def test_maps_made_elsewhere_are_the_same_and_broken_files_are_told(write, tmp_path, elsewhere):
    def dead(values: np.ndarray) -> None:
        values[:, 2] = 0

    write("a")
    write("b", dead)
    truncated(write("c"))
    store, other = (
        mapstore.build_folder(tmp_path / "raw", tmp_path / folder, settings=SMALL, **more)
        for folder, more in (("maps", {}), ("elsewhere", elsewhere))
    )
    assert names(store) == names(other) == ["a", "b"]
    assert list(store.broken) == ["c"]
    assert other.broken == store.broken
    for one, two in zip(store.files, other.files, strict=True):
        found, same = content(one), content(two)
        for name in coils.CoilMaps.tensors():
            torch.testing.assert_close(
                getattr(same, name), getattr(found, name), rtol=1e-5, atol=1e-5
            )
        assert two.warnings == one.warnings
        for name in ("key", "fingerprint", "source_sha256", "contrast", "n_coils"):
            assert two.attributes[name] == one.attributes[name]
        assert two.settings == one.settings


# --- folders -------------------------------------------------------------------------


def test_files_of_one_name_in_two_folders_keep_apart(write, build, tmp_path):
    write("train/scan")
    write("val/scan", lambda values: values[::-1].copy())
    store = build()
    assert names(store) == ["train/scan", "val/scan"]
    first, second = store.files
    assert second.path == tmp_path / "maps" / "val" / "scan.h5"
    torch.testing.assert_close(second.maps(0), first.maps(5), rtol=0, atol=2e-3)
    assert not torch.allclose(second.maps(0), first.maps(0), rtol=0, atol=1e-2)


def test_volumes_of_one_name_are_refused_where_there_is_no_folder_to_tell_them_apart(
    write, tmp_path
):
    volumes = [formats.read_raw(write(f"{part}/scan")) for part in ("train", "val")]
    with pytest.raises(ValueError, match=r"1 volume names occur twice, for example scan.*Rename"):
        mapstore.build(volumes, tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(("source", "out"), [("raw", "raw"), ("raw/val", "raw")])
def test_raw_files_are_never_overwritten(write, tmp_path, source, out):
    paths = [write("scan"), write("val/scan")]
    before = [path.read_bytes() for path in paths]
    with pytest.raises(ValueError, match=r"would overwrite .*scan\.h5.*no map file.*Choose a fol"):
        mapstore.build_folder(tmp_path / source, tmp_path / out, settings=SMALL)
    assert [path.read_bytes() for path in paths] == before


def test_map_files_within_the_raw_folder_are_not_taken_for_raw_data(write, tmp_path):
    write("scan")
    for made in ({"scan"}, set()):
        store = mapstore.build_folder(tmp_path / "raw", tmp_path / "raw" / "maps", settings=SMALL)
        assert (names(store), store.broken, store.made) == (["scan"], {}, made)


def test_contrasts_and_coil_counts_are_chosen_and_the_others_told(write, build):
    write("t1", contrast="AXT1")
    write("t2")
    write("two", lambda values: values[:, :2].copy())
    store = build(contrasts=["AXT2"], n_coils=4)
    assert (names(store), store.left_out) == (["t2"], "1 x AXT1 4 coils, 1 x AXT2 2 coils")
    build()  # and so it is when all have maps
    again = build(contrasts=["AXT2"], n_coils=4)
    assert (names(again), again.left_out, again.made) == (["t2"], store.left_out, frozenset())
    with pytest.raises(FileNotFoundError, match=r"\['AXFLAIR'\].*there are: 1 x AXT1 4 coils, 1 x"):
        build(contrasts=["AXFLAIR"])


def test_an_empty_and_a_missing_folder_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no file of raw data; expected raw data"):
        mapstore.build_folder(tmp_path, tmp_path / "maps")
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder; expected raw data"):
        mapstore.build_folder(tmp_path / "nowhere", tmp_path / "maps")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"device": "abacus"}, r'device "abacus" cannot be used.*expected "cpu"'),
        ({"settings": dataclasses.replace(SMALL, gauge="body")}, "gauge 'body' is unknown"),
    ],
)
def test_what_no_file_can_mend_is_refused_at_once(write, build, tmp_path, more, message):
    write("scan")
    with pytest.raises(ValueError, match=message):
        build(**more)
    assert not (tmp_path / "maps").exists()


def test_a_volume_in_memory_is_refused(odd_scan, tmp_path):
    volume = dataclasses.replace(odd_scan.volume, source="")
    with pytest.raises(ValueError, match=r"lives in memory only; expected .* from a file\. Write"):
        mapstore.build([volume], tmp_path)


# --- measured data -------------------------------------------------------------------


def test_measured_heads_have_maps_without_flags_that_explain_them(real, tmp_path):
    store = mapstore.build_folder(real, tmp_path, settings=coils.EspiritSettings())
    assert names(store) == [
        "multicoil/head_axial_16coil_lowres",
        "multicoil/head_axial_mprage_4coil",
        "multicoil/head_axial_t1_8coil",
    ]
    # whatever else lies there has one coil
    assert len(store.broken) == len(formats.raw_files(real)) - 3 >= 2
    assert all("one coil" in reason for reason in store.broken.values()), store.broken
    for file in store.files:
        (quality,) = file.qualities
        assert quality.flags == ()
        volume = formats.read_raw(real / f"{file.name}.h5")
        assert arrays.rss(file.maps(0)).shape == volume.image_shape
        left = coils.unexplained(volume.coil_images(0), content(file)[0])
        inside = file.support(0)
        share = left[:, inside].norm() / volume.coil_images(0)[:, inside].norm()
        assert float(share) == pytest.approx(quality.residual, rel=1e-4)
        assert share < 0.15
