"""Raw data of every format in: maps, banks and studies see the same scan whatever its format."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from line_files import Line, kspace_lines, random_kspace, read, write_mrd
from test_array_reader import write_pair
from test_twix import write_vb

from synthlib import bank, cli, coils, conversion, datasets, formats, mapstore, scanner
from synthlib.formats import own_facts, prepared_hdf5, raw_header
from synthlib.formats.mrd import MrdWriter

SETTINGS = coils.EspiritSettings(calib_width=16, kernel_width=5)


@pytest.fixture(scope="module")
def scan() -> scanner.Scan:
    """Two slices of 72 x 63, four coils, the readout twice as long."""
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(4,), contrasts=("AXT2",), n_slices=2, matrix=(72, 63),
        oversampling=2,
    )  # fmt: skip
    return scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]


@pytest.fixture(scope="module")
def folder(scan, tmp_path_factory) -> Path:
    """The scan as fastMRI, MRD and .npy."""
    folder = tmp_path_factory.mktemp("raw")
    volume = scan.volume
    kspace = volume.kspace[:]
    formats.write_raw(
        folder / "fastmri.h5", kspace, contrast="AXT2", patient_id="p", recon_shape=(72, 63)
    )
    write_mrd(folder / "mrd.mrd", kspace_lines(kspace.numpy()), (144, 63, 1), recon=(72, 63, 1))
    np.save(folder / "npy.npy", kspace.numpy())
    return folder


def difference(maps: torch.Tensor, others: torch.Tensor, support: torch.Tensor) -> float:
    """Largest difference of complex maps in the head; phase counts as magnitude does."""
    return float((maps - others).abs().amax(0)[support].max())


def test_maps_are_the_same_whatever_the_format(scan, folder, tmp_path, capsys):
    status = cli.main(
        ["maps", str(folder), "--out", str(tmp_path), "--calib-width", "16", "--kernel-width", "5"]
    )
    assert status == 0 and "volumes: 3, of which 3 estimated" in capsys.readouterr().out
    store = mapstore.build_folder(folder, tmp_path, settings=SETTINGS)
    files = {file.name: file for file in store.files}
    assert set(files) == {"fastmri", "mrd", "npy"} and store.made == frozenset()
    assert torch.equal(files["mrd"].maps(1), files["fastmri"].maps(1))
    # a .npy does not say what is oversampling: its image is twice as high
    expected = coils.espirit_maps(scan.volume.kspace[1], SETTINGS, image_shape=(144, 63))
    assert difference(files["npy"].maps(1), expected.maps, expected.support) < 1e-4


def test_one_file_may_be_named_itself(folder, tmp_path):
    store = mapstore.build_folder(folder / "mrd.mrd", tmp_path, settings=SETTINGS)
    assert [file.name for file in store.files] == ["mrd"]
    assert [v.name for v in datasets.raw_volumes(str(folder / "mrd.mrd"), n_coils=4)] == ["mrd"]


@pytest.mark.parametrize("format", ["fastmri.h5", "mrd.mrd", "npy.npy", "cfl.cfl", "vb.dat"])
@pytest.mark.parametrize("n_volumes", [1, 3])
def test_a_volume_that_a_file_does_not_have_is_refused_in_every_format(tmp_path, format, n_volumes):
    kspace = random_kspace((2, 3, 18, 11))
    lines = [
        dataclasses.replace(line, counters={**line.counters, "contrast": echo})
        for echo in range(n_volumes)
        for line in kspace_lines(kspace)
    ]
    path = tmp_path / format
    if format == "mrd.mrd":
        write_mrd(path, lines, (18, 11, 1))
    elif format == "cfl.cfl":
        write_pair(path, {0: 18, 1: 11, 3: 3, 5: n_volumes, 13: 2})
    elif format == "vb.dat":
        write_vb(path, lines, centre=(9, 5, 0), base=9, lines=11)
    elif n_volumes > 1:
        pytest.skip("one file is one volume")
    elif format == "npy.npy":
        np.save(path, kspace)
    else:
        formats.write_raw(
            path, torch.from_numpy(kspace), contrast="T2", patient_id="p", recon_shape=(9, 11)
        )
    assert formats.n_volumes(path) == n_volumes
    read(path, number=n_volumes - 1)
    has = "one volume, number 0" if n_volumes == 1 else "volumes 0 to 2"
    for number in (-1, n_volumes, 99):
        with pytest.raises(IndexError, match=rf"{format} has {has}; {number} was asked for"):
            read(path, number=number)


@pytest.mark.parametrize("format", ["mrd", "cfl", "dat"])
@pytest.mark.parametrize(("value", "message"), [(np.nan, "NaN or Inf"), (0, "all zero"),
                                                (1e30, "bytes are in another order")])  # fmt: skip
@pytest.mark.parametrize("measured", [range(7), (0, 2, 4, 6)])
def test_a_3d_scan_without_signal_does_not_open(tmp_path, format, value, message, measured):
    kspace = np.full((7, 3, 18, 11), value, np.complex64)  # (kz, coil, ky, kx)
    lines = [
        Line(
            kspace[z, :, :, x],
            {"kspace_encode_step_1": x, "kspace_encode_step_2": z},
            head={"center_sample": 9},
        )
        for z in measured
        for x in range(11)
    ]
    path = tmp_path / f"scan.{format}"
    if format == "mrd":
        write_mrd(path, lines, (18, 11, 7))
    elif format == "dat":
        changes = {"base": 9, "lines": 11, "partitions": 7, "dimension": 4}
        write_vb(path, lines, centre=(9, 5, 3), **changes)
    else:
        array = write_pair(path, {0: 18, 1: 11, 2: 7, 3: 3})
        array[:] = 0
        array[:, :, list(measured)] = value
        path.write_bytes(array.tobytes("F"))
    with pytest.raises(ValueError, match=rf"scan\.{format}: .*{message}"):
        read(path, undersampled=True)


def test_an_accelerated_scan_is_calibrated_by_its_calibration_lines(scan, tmp_path):
    kspace = scan.volume.kspace[:].numpy()
    lines = []
    for line in kspace_lines(kspace):
        column = line.counters["kspace_encode_step_1"]
        if 21 <= column < 42:
            line.flags = (
                "IS_PARALLEL_CALIBRATION" if column % 3 else "IS_PARALLEL_CALIBRATION_AND_IMAGING",
            )
        elif column % 3:
            continue
        lines.append(line)
    path = write_mrd(tmp_path / "fast.mrd", lines, (144, 63, 1), recon=(72, 63, 1))
    (fast,) = mapstore.build_folder(path, tmp_path / "maps", settings=SETTINGS).files
    whole = coils.espirit_maps(scan.volume.kspace[0], SETTINGS, image_shape=(72, 63))
    assert difference(fast.maps(0), whole.maps, whole.support) < 0.05


def test_a_banks_covariance_is_that_of_the_noise_scan(scan, tmp_path):
    rng = np.random.default_rng(2)
    mixing = rng.standard_normal((4, 4)) + 1j * rng.standard_normal((4, 4))
    drawn = rng.standard_normal((4, 9000)) + 1j * rng.standard_normal((4, 9000))
    noise = [
        Line(part.astype(np.complex64), flags=("IS_NOISE_MEASUREMENT",))
        for part in np.split(mixing @ drawn, 30, 1)
    ]
    lines = noise + kspace_lines(scan.volume.kspace[:].numpy())
    source = write_mrd(tmp_path / "scan.mrd", lines, (144, 63, 1), recon=(72, 63, 1))
    made = bank.build_folder(source, tmp_path / "bank", place=bank.Place(anatomy="head"))
    assert made.broken == ()
    (donor,) = made.donors
    assert (donor.anatomy, donor.orientation) == ("head", "axial")
    assert donor.quality["noise"] == "noise scan"
    expected = mixing @ mixing.conj().T
    expected /= np.trace(expected).real / 4
    found = prepared_hdf5.read(donor.path, "covariance").numpy()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_a_bank_refuses_synthetic_data_of_every_format_and_maps_take_them(scan, tmp_path):
    volume = raw_header.with_attributes(scan.volume, {"SYNTHETIC": True})
    header = raw_header.of_volume(volume)
    shape = tuple(volume.kspace.shape)
    with MrdWriter(tmp_path / "raw" / "one.mrd.h5", shape=shape, header=header) as writer:
        for index in range(volume.n_slices):
            writer.put(index, volume.kspace[index])
    conversion.convert_raw(tmp_path / "raw", tmp_path / "raw" / "cfl", format="cfl")
    made = bank.build_folder(tmp_path / "raw", tmp_path / "bank")
    assert made.donors == () and len(made.broken) == 2
    assert all("SYNTHETIC, made by synthlib" in reason for reason in made.broken)
    store = mapstore.build_folder(tmp_path / "raw", tmp_path / "maps", settings=SETTINGS)
    assert sorted(file.name for file in store.files) == ["cfl/one", "one"]
    assert own_facts.record_of(tmp_path / "raw" / "cfl" / "one.cfl", "cfl")["convert_raw"]["key"]


def test_a_head_on_its_side_or_upside_down_is_told_by_the_lines_directions(scan, tmp_path):
    kspace = scan.volume.kspace[:].numpy()
    found = {}
    for name, direction in (("side", (1, 0, 0)), ("up", (0, -1, 0)), ("down", (0, 1, 0))):
        lines = kspace_lines(kspace, read_dir=direction)
        write_mrd(tmp_path / f"{name}.mrd", lines, (144, 63, 1), recon=(72, 63, 1))
        found[name] = formats.read_raw(tmp_path / f"{name}.mrd").upside_down
    assert found == {"side": False, "up": True, "down": False}
    made = bank.build_folder(tmp_path, tmp_path / "bank")
    assert len(made.donors) == 2 and "from side to side" in made.broken[0]
    maps = [prepared_hdf5.read(donor.path, "maps") for donor in made.donors]
    # both are kept upright: the same head, once turned
    assert (maps[0].flip(-2) - maps[1]).abs().median() < 0.05


def test_fully_sampled_test_files_of_fastmri_2_are_accepted(folder, tmp_path):
    path = tmp_path / "brain_multicoil_test_full" / "file_brain_AXT2_210_6001944.h5"
    path.parent.mkdir()
    path.write_bytes((folder / "fastmri.h5").read_bytes())
    with h5py.File(path, "a") as file:
        for name in ("max", "norm", "record", "acquisition"):
            del file.attrs[name]
    (volume,) = formats.find_raw(path.parent)
    assert not volume.undersampled and volume.upside_down and volume.contrast == "unknown"
    with h5py.File(path, "a") as file:
        del file["reconstruction_rss"], file["ismrmrd_header"]
        file.attrs["acquisition"] = "AXT2"
    (volume,) = formats.find_raw(path.parent)
    assert volume.contrast == "AXT2" and volume.rss is None and volume.recon_shape == (144, 63)
