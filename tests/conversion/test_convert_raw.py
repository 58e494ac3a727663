"""Raw data from one format to another and back: the bits, the facts, the mark, the single coil."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from fastmri.data import SliceDataset

from synthlib import arrays, cli, conversion, formats, runs
from synthlib.conversion.raw_files import ZERO_FILLED
from synthlib.formats import mrd, own_facts
from synthlib.formats.fastmri_writer import FastmriWriter
from synthlib.formats.raw_header import RawHeader
from synthlib.records import Placement
from tests.formats.line_files import Line, kspace_lines, random_kspace, write_mrd

SHAPE, RECON = (3, 5, 54, 21), (27, 19)
# the padding of this fastMRI file is told at every reading
pytestmark = pytest.mark.filterwarnings("ignore:.*zero-padding")


def kspace() -> torch.Tensor:
    values = torch.randn(SHAPE, dtype=torch.complex64, generator=runs.rng(4, "convert-raw"))
    values[..., :3] = 0  # not acquired
    return values


def write(path: Path, **changes) -> Path:
    labels = torch.randint(0, 9, (SHAPE[0], *RECON), generator=runs.rng(4, "labels"))
    facts = {
        "contrast": "AXT2", "patient_id": "p-3f9", "recon_shape": RECON, "spacing_mm": (0.9, 1.1),
        "thickness_mm": 4.0, "te_ms": 90.0, "acquired": (3, 21), "labels": {"tissue": labels},
        "annotations": [{"label": "lesion", "slice": 1}], "attributes": {"upside_down": True},
    }  # fmt: skip
    header = RawHeader(**{**facts, **changes})
    with FastmriWriter(path, shape=SHAPE, header=header) as writer:
        for index, values in enumerate(kspace()):
            writer.put(index, values)
    return path


def convert(source: Path, out: Path, format: str, **options) -> list[conversion.Converted]:
    return conversion.convert_raw(source, out, format=format, **options)


def whole(path: Path) -> torch.Tensor:
    volume = formats.read_raw(path)
    return torch.stack([volume.kspace[index] for index in range(volume.n_slices)])


@pytest.fixture
def chain(tmp_path) -> list[Path]:
    """One scan as fastMRI, MRD, BART, and fastMRI again."""
    first = write(tmp_path / "a" / "scan.h5")
    for source, format, out in (("a", "mrd", "b"), ("b", "cfl", "c"), ("c", "fastmri", "d")):
        (entry,) = convert(tmp_path / source, tmp_path / out, format)
        assert (entry.name, entry.status, entry.reason) == ("scan", "written", "")
    return [first, *(tmp_path / p for p in ("b/scan.mrd.h5", "c/scan.cfl", "d/scan.h5"))]


def test_the_bits_of_k_space_come_back_from_every_format(chain):
    for path in chain:
        assert torch.equal(torch.view_as_real(whole(path)), torch.view_as_real(kspace())), path


def test_what_the_file_says_is_kept_and_what_it_does_not_say_stays_unknown(chain):
    for path in chain:
        volume = formats.read_raw(path)
        assert (volume.contrast, volume.patient_id) == ("AXT2", "p-3f9")
        assert volume.recon_shape == RECON and volume.acquired == (3, 21) and volume.upside_down
        assert volume.spacing_mm == pytest.approx((0.9, 1.1), abs=1e-4)
        assert volume.attributes["te_ms"] == 90.0 and volume.attributes["thickness_mm"] == 4.0
        assert "field_t" not in volume.attributes and not volume.synthetic
    header = mrd.read_header(chain[1])
    assert math.isnan(header.field_t) and header.annotations == [{"label": "lesion", "slice": 1}]
    labels = [own_facts.header_of(formats.read_raw(path)).labels["tissue"] for path in chain]
    assert all(torch.equal(found, labels[0]) for found in labels)
    with h5py.File(chain[1]) as file, h5py.File(chain[3]) as last, h5py.File(chain[0]) as first:
        assert b"systemFieldStrength" not in file["dataset/xml"][0]
        assert b"systemFieldStrength" not in last["ismrmrd_header"][()]
        assert b"SYNTHETIC" not in file["dataset/xml"][0]
        np.testing.assert_array_equal(last["reconstruction_rss"], first["reconstruction_rss"])


def test_the_mark_of_synthetic_data_is_kept(tmp_path):
    write(tmp_path / "a" / "scan.h5", attributes={"SYNTHETIC": True})
    for source, format, out in (("a", "mrd", "b"), ("b", "cfl", "c"), ("c", "fastmri", "d")):
        convert(tmp_path / source, tmp_path / out, format)
        (path,) = formats.raw_files(tmp_path / out)
        assert formats.read_raw(path).synthetic
    assert "SYNTHETIC" in (tmp_path / "c" / "scan.hdr").read_text()


def test_the_same_command_goes_on_and_never_replaces_unasked(tmp_path):
    source = write(tmp_path / "a" / "scan.h5")
    out = tmp_path / "a" / "out"  # inside the source: not taken for a source
    assert [entry.status for entry in convert(tmp_path / "a", out, "mrd")] == ["written"]
    before = (out / "scan.mrd.h5").stat().st_mtime_ns
    assert [entry.status for entry in convert(tmp_path / "a", out, "mrd")] == ["present"]
    assert (out / "scan.mrd.h5").stat().st_mtime_ns == before
    write(source, contrast="AXT1")
    (entry,) = convert(tmp_path / "a", out, "mrd")
    assert entry.status == "failed" and "give --force to replace it" in entry.reason
    (entry,) = convert(tmp_path / "a", out, "mrd", force=True)
    assert entry.status == "written" and mrd.read_header(out / "scan.mrd.h5").contrast == "AXT1"
    (entry,) = convert(source, source.parent, "fastmri", force=True)
    assert entry.status == "failed" and "overwrite" in entry.reason


def test_a_bad_file_stops_no_other_and_leaves_nothing(tmp_path, capsys):
    write(tmp_path / "a" / "scan.h5")
    (tmp_path / "a" / "broken.h5").write_bytes(b"no HDF5")
    np.save(tmp_path / "a" / "few.npy", np.full((2, 3, 9, 8), np.nan, np.complex64))
    np.save(tmp_path / "a" / "mask.npy", np.ones((7, 5)))
    status = cli.main(
        ["convert-raw", str(tmp_path / "a"), "--format", "cfl", "--out", str(tmp_path / "b")]
    )
    out, err = capsys.readouterr()
    assert status == 1
    assert "volumes: 3, of which 1 written, 0 already there, 2 failed" in out
    assert "passed by, as no raw data: mask.npy" in out
    assert "broken: " in err and "few: " in err and "NaN or Inf" in err
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert {name.split(".")[0].split("_labels")[0] for name in names} == {"scan"}


def write_two_volumes(stem: Path) -> np.ndarray:
    """A BART pair of two volumes; its array with BART's dimensions."""
    shape = [1] * 16
    shape[0], shape[1], shape[3], shape[5] = 9, 8, 3, 2
    values = (np.arange(np.prod(shape)) + 1j).astype(np.complex64)
    stem.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, shape))}\n")
    stem.with_suffix(".cfl").write_bytes(values.tobytes())
    return values.reshape(shape, order="F")


@pytest.mark.parametrize("force", [False, True])
def test_two_sources_never_make_one_file(tmp_path, force):
    (tmp_path / "a").mkdir()
    write_two_volumes(tmp_path / "a" / "scan")
    write(tmp_path / "a" / "scan_v2.h5")
    write(tmp_path / "a" / "other.h5")
    entries = convert(tmp_path / "a", tmp_path / "b", "mrd", force=force)
    assert sorted((entry.name, entry.status) for entry in entries) == [
        ("other", "written"), ("scan", "written"), ("scan_v2", "failed"), ("scan_v2", "failed"),
    ]  # fmt: skip
    for entry in entries:
        if entry.status == "failed":
            assert entry.reason.startswith(
                "scan.cfl and scan_v2.h5 would both become scan_v2.mrd.h5; expected one source"
            )
    assert {p.name for p in (tmp_path / "b").iterdir()} == {"other.mrd.h5", "scan.mrd.h5"}


def test_volumes_of_one_file_become_files_of_their_own(tmp_path):
    values = write_two_volumes(tmp_path / "scan")
    entries = convert(tmp_path / "scan.cfl", tmp_path / "out", "mrd")
    assert [(entry.name, entry.notes) for entry in entries] == [("scan", ()), ("scan_v2", ())]
    expected = values[:, :, 0, :, 0, 1].squeeze().transpose(2, 0, 1)
    np.testing.assert_array_equal(whole(tmp_path / "out" / "scan_v2.mrd.h5")[0], expected)


def test_the_single_coil_file_is_what_stock_loaders_expect(tmp_path):
    write(tmp_path / "a" / "scan.h5")
    (entry,) = convert(tmp_path / "a", tmp_path / "b", "fastmri", single_coil=True)
    assert entry.status == "written"
    data = SliceDataset(tmp_path / "b", challenge="singlecoil")
    values = kspace()
    for index, (measured, _, target, *_) in enumerate(data):
        images = arrays.crop_or_pad_image(arrays.ifft2c(values[index]), RECON)
        columns = images.flatten(1).T.numpy().astype(np.complex128)
        weights = np.linalg.lstsq(columns, np.linalg.norm(columns, axis=1) + 0j, rcond=None)[0]
        expected = np.einsum("c,cyx->yx", weights, values[index].numpy())
        np.testing.assert_allclose(measured, expected, atol=2e-5)
        np.testing.assert_allclose(target, np.abs(columns @ weights).reshape(RECON), atol=2e-5)
    assert len(data) == 3 and data[0][3]["max"] == pytest.approx(target_max(tmp_path / "b"))
    with h5py.File(tmp_path / "b" / "scan.h5") as file, h5py.File(tmp_path / "a/scan.h5") as many:
        np.testing.assert_array_equal(file["reconstruction_rss"], many["reconstruction_rss"])
        assert file["kspace"].shape == (3, 54, 21)
    assert formats.read_raw(tmp_path / "b" / "scan.h5").n_coils == 1


def target_max(folder: Path) -> float:
    with h5py.File(folder / "scan.h5") as file:
        return float(file["reconstruction_esc"][()].max())


def test_the_noise_scan_goes_along_as_strong_as_the_image_noise(tmp_path):
    noise = torch.randn((40, 5, 54), dtype=torch.complex64, generator=runs.rng(4, "noise"))
    header = RawHeader(
        contrast="AXT2", patient_id="p", recon_shape=RECON, noise=noise, dwell_us=8.0
    )
    with mrd.MrdWriter(tmp_path / "a" / "scan.mrd.h5", shape=SHAPE, header=header) as writer:
        for index, values in enumerate(kspace()):
            writer.put(index, values)
    expected = noise.transpose(0, 1).reshape(5, -1)
    for source, format, out in (("a", "cfl", "b"), ("b", "mrd", "c")):
        (entry,) = convert(tmp_path / source, tmp_path / out, format)
        assert (entry.status, entry.notes) == ("written", ())
        (path,) = formats.raw_files(tmp_path / out)
        volume = formats.read_raw(path)
        torch.testing.assert_close(volume.noise, expected, rtol=1e-6, atol=1e-6)
        assert torch.equal(whole(path), kspace()) and volume.attributes["dwell_us"] == 8.0


TURN = np.radians(17.0)
ROW = np.array([np.cos(TURN), np.sin(TURN), 0.0])
COLUMN = np.array([-np.sin(TURN) * 0.8, np.cos(TURN) * 0.8, 0.6])
NORMAL = np.cross(ROW, COLUMN)


def oblique(path: Path, n_partitions: int = 1) -> Path:
    """An MRD file of another program: slices (or one slab) that lie oblique in the patient."""
    n_slices = 3 if n_partitions == 1 else 1
    values = random_kspace((n_slices, n_partitions, 4, 18, 11))
    head = {"center_sample": 9, "read_dir": tuple(COLUMN), "phase_dir": tuple(ROW)}
    lines = [
        Line(
            values[z, kz, :, :, x],
            {"slice": z, "kspace_encode_step_1": x, "kspace_encode_step_2": kz},
            head={**head, "slice_dir": tuple(NORMAL), "position": tuple(PLACE + 5.5 * z * NORMAL)},
        )
        for z in range(n_slices)
        for kz in range(n_partitions)
        for x in range(11)
    ]
    path.parent.mkdir()
    return write_mrd(path, lines, (18, 11, n_partitions), recon=(9, 11, n_partitions))


PLACE = np.array([4.5, -5.5, 14.9])


def places(path: Path) -> dict[str, np.ndarray]:
    """Positions and directions of the first line of every slice of an MRD file."""
    with h5py.File(path) as file:
        heads = file["dataset/data"].fields("head")[:]
    first = np.unique(heads["idx"]["slice"], return_index=True)[1]
    names = ("position", "read_dir", "phase_dir", "slice_dir")
    return {name: heads[name][first] for name in names}


@pytest.mark.parametrize("ways", [("mrd",), ("fastmri", "mrd"), ("cfl", "mrd", "mrd"),
                                  ("fastmri", "fastmri", "cfl", "mrd")])  # fmt: skip
def test_where_oblique_slices_lie_and_the_vendor_are_kept(tmp_path, ways):
    source = oblique(tmp_path / "0" / "scan.mrd")
    for step, format in enumerate(ways):
        (entry,) = convert(tmp_path / str(step), tmp_path / str(step + 1), format)
        assert entry.status == "written"
    path = tmp_path / str(len(ways)) / "scan.mrd.h5"
    expected = places(source)
    for name, values in places(path).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-4, err_msg=name)
    with h5py.File(path) as file:
        text = file["dataset/xml"][0].decode()
    assert "<systemVendor>nobody</systemVendor>" in text
    assert "position" not in "".join(re.findall(r"<name>assumed</name>\s*<value>([^<]*)", text))


@pytest.mark.parametrize("n_partitions", [4, 7])
def test_the_slices_of_an_oblique_slab_lie_side_by_side_around_its_position(tmp_path, n_partitions):
    oblique(tmp_path / "a" / "scan.mrd", n_partitions)
    convert(tmp_path / "a", tmp_path / "b", "mrd")
    found = places(tmp_path / "b" / "scan.mrd.h5")["position"]
    steps = 4.0 * (np.arange(n_partitions) - (n_partitions - 1) / 2)  # 4 mm thick
    np.testing.assert_allclose(found, PLACE + steps[:, None] * NORMAL, atol=1e-4)


@pytest.mark.parametrize("head", [
    {},  # no directions
    {"read_dir": (0.0, 1.0, 0.0), "phase_dir": (0.0, 1.0, 0.0)},
    {"read_dir": (0.0, 1.0, 0.0), "phase_dir": (float("nan"), 0.0, 0.0)},
    {"read_dir": (0.0, 1.0, 0.0), "phase_dir": (1.0, 0.0, 0.0), "position": (0.0, 0.0, 0.0)},
])  # fmt: skip
def test_where_slices_lie_stays_unknown_if_lines_do_not_tell_it(tmp_path, head):
    (tmp_path / "a").mkdir()
    lines = kspace_lines(random_kspace((3, 4, 18, 11)), **head)
    write_mrd(tmp_path / "a" / "scan.mrd", lines, (18, 11, 1))
    for step, (source, out) in enumerate(("ab", "bc")):
        convert(tmp_path / source, tmp_path / out, "mrd")
        path = tmp_path / out / "scan.mrd.h5"
        assert mrd.read_header(path).placement is None, step
    with h5py.File(path, "a") as file:
        del file[mrd.OWN]  # what the XML says was assumed is no fact
    assert formats.read_raw(path).placement is None


def test_our_own_fastmri_files_come_back_whole(tmp_path):
    mixing = torch.from_numpy(random_kspace((5, 5)))
    middles = tuple(tuple(PLACE + 5.5 * z * NORMAL) for z in range(SHAPE[0]))
    first = write(
        tmp_path / "a" / "scan.h5", noise_covariance=mixing @ mixing.mH, vendor="Esaote",
        placement=Placement(tuple(ROW), tuple(COLUMN), middles),
    )  # fmt: skip
    convert(tmp_path / "a", tmp_path / "b", "fastmri")
    with h5py.File(first) as file, h5py.File(tmp_path / "b" / "scan.h5") as last:
        assert set(file) == set(last) and set(file.attrs) == set(last.attrs)
        np.testing.assert_array_equal(last["noise_covariance"], file["noise_covariance"])
        for name in ("slice_centres_mm", "row_direction", "column_direction"):
            np.testing.assert_allclose(last[name], file[name], atol=1e-9)
        assert last.attrs["vendor"] == "Esaote"
        centres_mm = file["slice_centres_mm"][()]
    (entry,) = convert(tmp_path / "a", tmp_path / "c", "mrd")
    assert "the covariance of the receivers' noise is not in the new file" in entry.notes
    found = places(tmp_path / "c" / "scan.mrd.h5")
    np.testing.assert_allclose(found["position"], centres_mm, atol=1e-4)
    np.testing.assert_allclose(found["read_dir"], [COLUMN] * SHAPE[0], atol=1e-6)


def accelerated(path: Path) -> Path:
    """A 3-D MRD file of 7 partitions with every second line of (ky, kz)."""
    values = random_kspace((7, 3, 18, 11))
    lines = [
        Line(values[z, :, :, x], {"kspace_encode_step_1": x, "kspace_encode_step_2": z})
        for z in range(7)
        for x in range(11)
        if (x + z) % 2 == 0
    ]
    path.parent.mkdir()
    return write_mrd(path, lines, (18, 11, 7))


@pytest.mark.parametrize("ways", [("fastmri", "mrd"), ("mrd", "cfl"), ("cfl", "fastmri")])
@pytest.mark.filterwarnings("ignore:.*the echo is taken to be")
def test_an_accelerated_3d_scan_stays_one_in_every_format(tmp_path, ways):
    accelerated(tmp_path / "0" / "fast.mrd")
    for step, format in enumerate(ways):
        (entry,) = convert(tmp_path / str(step), tmp_path / str(step + 1), format)
        assert (entry.status, ZERO_FILLED in entry.notes) == ("written", format == "fastmri")
        (path,) = formats.raw_files(tmp_path / str(step + 1))
        with pytest.raises(ValueError, match="the scan is undersampled"):
            formats.read_raw(path)
        assert formats.read_raw(path, undersampled=True).undersampled
        if format == "mrd":
            with h5py.File(path, "a") as file:
                kept = file[mrd.OWN][()]
                del file[mrd.OWN]
            assert formats.read_raw(path, undersampled=True).undersampled
            with h5py.File(path, "a") as file:
                file[mrd.OWN] = kept
        (entry,) = convert(path, tmp_path / "one" / format, "fastmri", single_coil=True)
        assert entry.status == "failed" and "a single coil needs all lines" in entry.reason


def test_a_single_coil_is_made_of_a_scan_with_noise_and_says_that_it_is_left_out(tmp_path):
    noise = torch.randn((7, 5, 54), dtype=torch.complex64, generator=runs.rng(4, "noise"))
    header = RawHeader(
        contrast="AXT2", patient_id="p", recon_shape=RECON, noise=noise, dwell_us=8.0
    )
    with mrd.MrdWriter(tmp_path / "a" / "scan.mrd.h5", shape=SHAPE, header=header) as writer:
        for index, values in enumerate(kspace()):
            writer.put(index, values)
    (entry,) = convert(tmp_path / "a", tmp_path / "b", "fastmri", single_coil=True)
    assert (entry.status, entry.reason) == ("written", "")
    assert entry.notes == ("the noise scan is not in the new file",)
    volume = formats.read_raw(tmp_path / "b" / "scan.h5")
    assert volume.n_coils == 1 and volume.noise_covariance() is None


def test_what_cannot_be_asked_for_is_refused(tmp_path):
    write(tmp_path / "a" / "scan.h5")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="format is 'dicom'; expected one of fastmri, mrd, cfl"):
        convert(tmp_path / "a", tmp_path / "b", "dicom")
    with pytest.raises(ValueError, match="single coil was asked for in the format mrd"):
        convert(tmp_path / "a", tmp_path / "b", "mrd", single_coil=True)
    with pytest.raises(FileNotFoundError, match="has no file of raw data; expected raw data"):
        convert(tmp_path / "none", tmp_path / "b", "mrd")


def test_measured_scans_go_round(real, tmp_path):
    source = real / "multicoil" / "head_axial_t1_8coil.h5"
    shutil.copy(source, tmp_path / "scan.h5")
    convert(tmp_path / "scan.h5", tmp_path / "b", "mrd")
    assert torch.equal(whole(tmp_path / "b" / "scan.mrd.h5"), whole(source))


def test_the_folder_of_the_sources_is_no_place_for_results(tmp_path):
    path = write(tmp_path / "scan.h5")
    with pytest.raises(ValueError, match="--out is the folder of the raw data"):
        convert(tmp_path, tmp_path / "." / "", "mrd")
    assert list(tmp_path.iterdir()) == [path]
