"""MRD files opened by the ismrmrd package alone, and what the writer refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from synthlib import runs
from synthlib.formats import hdf5_stream, mrd
from synthlib.formats.raw_header import RawHeader
from synthlib.records import Placement

with warnings.catch_warnings():
    import ismrmrd
    import ismrmrd.xsd

SHAPE = (3, 5, 90, 37)  # two-fold oversampled readout of 45 rows; odd and unequal
RECON = (45, 33)


def make_kspace(shape: tuple[int, ...] = SHAPE, *, acquired: tuple[int, int] | None = None):
    kspace = torch.randn(shape, dtype=torch.complex64, generator=runs.rng(7, "k-space"))
    if acquired:
        kspace[..., : acquired[0]] = 0
        kspace[..., acquired[1] :] = 0
    return kspace


def make_header(**changes) -> RawHeader:
    labels = torch.randint(0, 300, (SHAPE[0], *RECON), generator=runs.rng(7, "labels"))
    header = RawHeader(
        contrast="AXT2",
        patient_id="p-3f9 <ü&>",
        recon_shape=RECON,
        spacing_mm=(0.9, 1.1),
        thickness_mm=4.0,
        step_mm=5.5,
        field_t=1.5,
        te_ms=90.0,
        tr_ms=4000.0,
        flip_deg=120.0,
        record={"SYNTHETIC": True, "snr": float("nan"), "seed": 7},
        attributes={"phase_source": "sinusoidal", "seed": 7, "snr": 21.5, "list": [1, "a"]},
        labels={"tissue": labels, "signed": labels - 150},
        annotations=[{"label": "lesion", "slice": 1, "box": [3, 4, 5, 6]}],
    )
    return dataclasses.replace(header, **changes)


def write(path: Path, kspace: Tensor | None = None, header: RawHeader | None = None) -> Path:
    kspace = make_kspace() if kspace is None else kspace
    with mrd.MrdWriter(path, shape=tuple(kspace.shape), header=header or make_header()) as writer:
        for index in reversed(range(len(kspace))):
            writer.put(index, kspace[index])
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("mrd") / "scan.h5")


def by_the_package(path: Path) -> tuple[ismrmrd.xsd.ismrmrdHeader, list[ismrmrd.Acquisition]]:
    with ismrmrd.Dataset(path, "dataset", create_if_needed=False) as file:
        document = ismrmrd.xsd.CreateFromDocument(file.read_xml_header())
        lines = [file.read_acquisition(i) for i in range(file.number_of_acquisitions())]
    return document, lines


def sorted_kspace(path: Path) -> np.ndarray:
    """K-space [slice, coil, readout, phase] as a reconstruction sorts it: by the XML and the lines.

    The centre of k-space, which the limits name, comes to the middle of the encoded matrix.
    """
    document, lines = by_the_package(path)
    encoding = document.encoding[0]
    size, limits = encoding.encodedSpace.matrixSize, encoding.encodingLimits
    n_coils = document.acquisitionSystemInformation.receiverChannels
    kspace = np.zeros((limits.slice.maximum + 1, n_coils, size.x, size.y), np.complex64)
    for line in lines:
        column = line.idx.kspace_encode_step_1 - limits.kspace_encoding_step_1.center + size.y // 2
        start = size.x // 2 - line.center_sample
        kspace[line.idx.slice, :, start : start + line.number_of_samples, column] = line.data
    return kspace


def image_by_numpy(kspace: np.ndarray) -> np.ndarray:
    axes = (-2, -1)
    image = np.fft.ifft2(np.fft.ifftshift(kspace, axes), norm="ortho")
    return np.fft.fftshift(image, axes)


# --- read by the ismrmrd package -----------------------------------------------------


def test_the_package_reads_the_values_that_were_put_in(written):
    np.testing.assert_array_equal(sorted_kspace(written), make_kspace().numpy())


def test_both_ways_of_the_package_read_the_same_lines(written):
    with ismrmrd.File(written, "r") as file:
        assert file.find_data() == {"dataset"}
        found = file["dataset"].acquisitions[:]
        document = file["dataset"].header
    expected, lines = by_the_package(written)
    assert document == expected
    assert len(found) == len(lines) == SHAPE[0] * SHAPE[3]
    assert all(a == b for a, b in zip(found, lines, strict=True))


def test_a_point_source_comes_out_where_it_was_in_the_object(tmp_path):
    # independent of synthlib's own FFT: the k-space of a pixel, by its formula
    (ny, nx), (y, x) = SHAPE[2:], (51, 9)
    ky, kx = np.mgrid[:ny, :nx]
    angle = (ky - ny // 2) * (y - ny // 2) / ny + (kx - nx // 2) * (x - nx // 2) / nx
    pixel = np.exp(-2j * np.pi * angle) / np.sqrt(ny * nx)
    kspace = torch.from_numpy(pixel.astype(np.complex64)).expand(1, 2, ny, nx)
    header = make_header(labels={})
    images = image_by_numpy(sorted_kspace(write(tmp_path / "scan.h5", kspace, header)))
    expected = np.zeros((ny, nx))
    expected[y, x] = 1
    np.testing.assert_allclose(images[0, 1], expected, atol=1e-5)


@pytest.mark.parametrize("acquired", [(4, 37), (0, 30), (9, 28)])
def test_padding_is_not_written_and_the_centre_stays_the_centre(tmp_path, acquired):
    kspace = make_kspace(acquired=acquired)
    path = write(tmp_path / "scan.h5", kspace, make_header(acquired=acquired))
    document, lines = by_the_package(path)
    limits = document.encoding[0].encodingLimits.kspace_encoding_step_1
    assert len(lines) == 3 * (acquired[1] - acquired[0])
    assert (limits.minimum, limits.maximum) == (0, acquired[1] - acquired[0] - 1)
    assert limits.center == 37 // 2 - acquired[0]
    np.testing.assert_array_equal(sorted_kspace(path), kspace.numpy())


def test_limits_and_geometry_fit_the_matrix(written):
    document, _ = by_the_package(written)
    encoding = document.encoding[0]
    sizes = {
        name: [(getattr(space.matrixSize, a), getattr(space.fieldOfView_mm, a)) for a in "xyz"]
        for name, space in (("encoded", encoding.encodedSpace), ("recon", encoding.reconSpace))
    }
    assert [n for n, _ in sizes["encoded"]] == [90, 37, 1]
    assert [n for n, _ in sizes["recon"]] == [45, 33, 1]
    for name in sizes:  # one pixel size, whatever the field of view
        assert [mm / n for n, mm in sizes[name]] == pytest.approx([0.9, 1.1, 4.0])
    limits = encoding.encodingLimits
    found = {
        name: (limit.minimum, limit.maximum, limit.center)
        for name in ("kspace_encoding_step_0", "kspace_encoding_step_1", "slice", "average")
        if (limit := getattr(limits, name))
    }
    assert found == {
        "kspace_encoding_step_0": (0, 89, 45),
        "kspace_encoding_step_1": (0, 36, 18),
        "slice": (0, 2, 1),
        "average": (0, 0, 0),
    }
    assert encoding.trajectory.value == "cartesian"


def test_lines_tell_their_place_and_which_are_first_and_last(written):
    _, lines = by_the_package(written)
    for number, line in enumerate(lines):
        z, column = divmod(number, 37)
        assert (line.scan_counter, line.idx.slice) == (number, z)
        assert line.idx.kspace_encode_step_1 == column
        assert line.data.shape == (5, 90)
        assert (line.center_sample, line.trajectory_dimensions) == (45, 0)
        assert (line.available_channels, line.active_channels) == (5, 5)
        assert [line.isChannelActive(c) for c in range(6)] == 5 * [True] + [False]
        assert tuple(line.position) == pytest.approx((0, 0, 5.5 * (z - 1)))  # step_mm apart
        flags = {
            name: line.is_flag_set(getattr(ismrmrd, f"ACQ_{name}"))
            for name in ("FIRST_IN_SLICE", "LAST_IN_SLICE", "LAST_IN_MEASUREMENT")
        }
        assert flags == {
            "FIRST_IN_SLICE": column == 0,
            "LAST_IN_SLICE": column == 36,
            "LAST_IN_MEASUREMENT": number == len(lines) - 1,
        }
        assert line.is_flag_set(ismrmrd.ACQ_FIRST_IN_ENCODE_STEP1) == (column == 0)
        assert line.is_flag_set(ismrmrd.ACQ_LAST_IN_ENCODE_STEP1) == (column == 36)
        assert not line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    axes = np.array([lines[0].read_dir, lines[0].phase_dir, lines[0].slice_dir])
    np.testing.assert_array_equal(axes @ axes.T, np.eye(3))


@pytest.mark.parametrize(
    ("orientation", "cosines"),  # DICOM's, along a row and along a column of the plain views
    [
        ("axial", (1, 0, 0, 0, 1, 0)),
        ("coronal", (1, 0, 0, 0, 0, -1)),
        ("sagittal", (0, 1, 0, 0, 0, -1)),
    ],
)
def test_directions_and_places_are_those_of_the_dicom_views(tmp_path, orientation, cosines):
    path = write(tmp_path / "scan.h5", header=make_header(orientation=orientation))
    _, lines = by_the_package(path)
    along_row, along_column = cosines[:3], cosines[3:]
    normal = np.cross(along_row, along_column)
    for z, line in enumerate(lines[::37]):
        assert tuple(line.phase_dir) == along_row and tuple(line.read_dir) == along_column
        np.testing.assert_array_equal(line.slice_dir, normal)
        np.testing.assert_allclose(line.position, 5.5 * (z - 1) * normal)


@pytest.mark.parametrize("n_coils", [64, 65, 130])
def test_the_channel_mask_counts_as_many_bits_as_coils(tmp_path, n_coils):
    path = write(tmp_path / "scan.h5", make_kspace((1, n_coils, 4, 3)), make_header(labels={}))
    mask = by_the_package(path)[1][0].channel_mask
    assert [word.bit_count() for word in mask][:3] == [
        min(max(n_coils - 64 * i, 0), 64) for i in range(3)
    ]


def test_the_xml_tells_the_scan_and_that_it_is_synthetic(written):
    document, _ = by_the_package(written)
    system, sequence = document.acquisitionSystemInformation, document.sequenceParameters
    assert (system.systemFieldStrength_T, system.receiverChannels) == (1.5, 5)
    assert document.experimentalConditions.H1resonanceFrequency_Hz == pytest.approx(63.866e6, 1e-4)
    assert (sequence.TE, sequence.TR, sequence.TI) == ([90.0], [4000.0], [])
    assert sequence.flipAngle_deg == [120.0]
    assert document.measurementInformation.protocolName == "AXT2"
    assert "SYNTHETIC" in document.measurementInformation.seriesDescription
    user = document.userParameters
    texts = {p.name: p.value for p in user.userParameterString}
    assert texts == {
        "synthetic": "SYNTHETIC",
        "phase_source": "sinusoidal",
        "list": '[1, "a"]',
        "assumed": "position patientPosition",
    }
    assert [(p.name, p.value) for p in user.userParameterLong] == [("seed", 7)]
    assert [(p.name, p.value) for p in user.userParameterDouble] == [("snr", 21.5)]


def test_the_pseudonym_is_all_that_the_xml_says_of_the_subject(written):
    document, _ = by_the_package(written)
    subject = dataclasses.asdict(document.subjectInformation)
    assert {k: v for k, v in subject.items() if v is not None} == {"patientID": "p-3f9 <ü&>"}
    assert document.studyInformation is None


def test_what_is_not_known_is_left_out_or_named_as_assumed(tmp_path):
    header = RawHeader("AXT1", "p", (9, 8))
    document, lines = by_the_package(write(tmp_path / "scan.h5", make_kspace((2, 2, 9, 8)), header))
    assert document.acquisitionSystemInformation.systemFieldStrength_T is None
    assert document.sequenceParameters.TE == []
    texts = {p.name: p.value for p in document.userParameters.userParameterString}
    assert texts["assumed"].split() == [
        "spacing_mm",
        "thickness_mm",
        "step_mm",
        "H1resonanceFrequency_Hz",
        "position",
        "patientPosition",
    ]
    assert document.acquisitionSystemInformation.systemVendor is None
    assert {line.sample_time_us for line in lines} == {0.0}
    assert np.isfinite([tuple(line.position) for line in lines]).all()


def test_places_of_an_oblique_stack_are_the_centres_of_its_images(tmp_path):
    # DICOM: a pixel's place is the corner's, x pixels along the row and y along the column on
    turn = np.radians(25)
    row, column = np.array([np.cos(turn), 0, -np.sin(turn)]), np.array([0, 1.0, 0])
    normal, corners = np.cross(row, column), []
    for z in range(3):
        corners.append(np.array([-30.0, -40, 7]) + 5.5 * z * normal)
    (ny, nx), (mm_y, mm_x) = RECON, (0.9, 1.1)
    middles = [c + ny // 2 * mm_y * column + nx // 2 * mm_x * row for c in corners]
    placement = Placement(tuple(row), tuple(column), tuple(map(tuple, middles)))
    header = make_header(placement=placement, frequency_hz=63.68e6, vendor="Esaote", dwell_us=5.5)
    path = write(tmp_path / "scan.h5", header=header)
    document, lines = by_the_package(path)
    for z, line in enumerate(lines[::37]):
        centre = corners[z] + (ny - 1) / 2 * mm_y * column + (nx - 1) / 2 * mm_x * row
        np.testing.assert_allclose(line.position, centre, atol=1e-5)
        np.testing.assert_allclose(line.read_dir, column, atol=1e-6)
        np.testing.assert_allclose(line.phase_dir, row, atol=1e-6)
        np.testing.assert_allclose(line.slice_dir, normal, atol=1e-6)
        assert line.sample_time_us == 5.5
    assert document.experimentalConditions.H1resonanceFrequency_Hz == 63_680_000
    assert document.acquisitionSystemInformation.systemVendor == "Esaote"
    assert "assumed" not in {p.name for p in document.userParameters.userParameterString}
    assert mrd.read_header(path).placement == placement


def test_a_noise_scan_comes_first_flagged_and_is_no_part_of_kspace(tmp_path):
    noise = torch.randn(4, 5, 90, dtype=torch.complex64, generator=runs.rng(7, "noise"))
    path = write(tmp_path / "scan.h5", header=make_header(noise=noise))
    document, lines = by_the_package(path)
    flags = [line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT) for line in lines]
    assert flags == 4 * [True] + 3 * 37 * [False]
    assert [line.scan_counter for line in lines] == list(range(len(lines)))
    np.testing.assert_array_equal(np.stack([line.data for line in lines[:4]]), noise.numpy())
    assert tuple(lines[0].position) == tuple(lines[4].position)
    assert document.acquisitionSystemInformation.relativeReceiverNoiseBandwidth == 1.0
    assert torch.equal(mrd.read_kspace(path), make_kspace())
    assert torch.equal(mrd.read_noise(path), noise)
    assert mrd.read_noise(write(tmp_path / "none.h5")) is None
    with pytest.raises(ValueError, match="noise of shape"):
        write(tmp_path / "bad.h5", header=make_header(noise=noise[:, :3]))


# --- labels, record ------------------------------------------------------------------


def test_labels_are_images_that_lie_over_a_stock_reconstruction(tmp_path):
    # the object is its own label map: a reconstruction in MRD's order (phase, readout) finds it
    labels = torch.randint(0, 9, (2, 45, 38), generator=runs.rng(7, "object"))
    image = labels.numpy().astype(np.complex64)
    axes = (-2, -1)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes), norm="ortho"), axes)
    kspace = torch.from_numpy(kspace.astype(np.complex64))[:, None]
    header = make_header(recon_shape=(45, 38), labels={"tissue": labels})
    path = write(tmp_path / "scan.h5", kspace, header)
    stock = np.abs(image_by_numpy(sorted_kspace(path)))[:, 0].transpose(0, 2, 1)  # (phase, readout)
    with ismrmrd.File(path, "r") as file:
        assert file.find_images() == {"dataset/labels_tissue"}
        found = file["dataset"]["labels_tissue"].images[:]
    for z, label in enumerate(found):
        np.testing.assert_allclose(label.data[0, 0], stock[z], atol=1e-4)
        assert label.slice == z
        assert label.meta["labels"] == "tissue"
        assert tuple(label.getHead().matrix_size) == (45, 38, 1)
        assert tuple(label.getHead().field_of_view) == pytest.approx((45 * 0.9, 38 * 1.1, 4))
        assert tuple(label.getHead().position) == pytest.approx((0, 0, 5.5 * (z - 0.5)))


def test_the_other_reader_of_the_package_opens_the_labels_too(written):
    with ismrmrd.Dataset(written, "dataset", create_if_needed=False) as file:
        assert file.number_of_images("labels_signed") == 3
        found = file.read_image("labels_signed", 2).data[0, 0].T
    np.testing.assert_array_equal(found, make_header().labels["signed"][2].numpy())


def test_the_record_is_json_that_any_reader_takes(written):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    with h5py.File(written) as file:
        told = json.loads(file["dataset/synthlib_header"][()], parse_constant=refuse)
    assert told["record"] == {"SYNTHETIC": True, "snr": None, "seed": 7}
    assert told["annotations"] == [{"label": "lesion", "slice": 1, "box": [3, 4, 5, 6]}]


def test_kspace_and_header_come_back(written):
    torch.testing.assert_close(mrd.read_kspace(written), make_kspace(), rtol=0, atol=0)
    found, expected = mrd.read_header(written), make_header()
    for name, labels in expected.labels.items():
        assert torch.equal(found.labels[name], labels)
    bare = {"labels": {}, "record": {}, "ti_ms": 0.0}  # nan is not equal to itself
    assert dataclasses.replace(found, **bare) == dataclasses.replace(expected, **bare)
    assert found.ti_ms != found.ti_ms


def test_a_file_without_its_padding_comes_back_padded(tmp_path):
    kspace = make_kspace(acquired=(4, 35))
    path = write(tmp_path / "scan.h5", kspace, make_header(acquired=(4, 35)))
    torch.testing.assert_close(mrd.read_kspace(path), kspace, rtol=0, atol=0)
    assert mrd.read_header(path).acquired == (4, 35)


def test_a_file_that_the_package_wrote_is_read(tmp_path):
    path, kspace = tmp_path / "scan.h5", make_kspace((1, 2, 6, 5))
    header = make_header(labels={}, patient_id="p")
    with mrd.MrdWriter(tmp_path / "x.h5", shape=(1, 2, 6, 5), header=header) as own:
        own.put(0, kspace[0])
    with ismrmrd.Dataset(path, "dataset") as file:
        file.write_xml_header(by_the_package(tmp_path / "x.h5")[0].toXML().encode())
        for column in (3, 0, 4, 2):  # in any order, one line missing
            line = ismrmrd.Acquisition.from_array(kspace[0, :, :, column].numpy())
            line.idx.kspace_encode_step_1 = column
            file.append_acquisition(line)
    kspace[..., 1] = 0
    torch.testing.assert_close(mrd.read_kspace(path), kspace, rtol=0, atol=0)


# --- bad input -----------------------------------------------------------------------

BAD_SLICES = {
    "shape": (lambda k: k[:, :-1], r"slice 1: k-space of shape \(5, 89, 37\).*\(5, 90, 37\)"),
    "real": (lambda k: k.real, "float32; expected complex"),
    "NaN": (lambda k: k.index_fill(0, torch.tensor(2), torch.nan), "slice 1: k-space holds 3330"),
    "Inf": (lambda k: k.to(torch.complex128) * 1e300, "slice 1: k-space holds .* NaN or Inf"),
}


@pytest.mark.parametrize("kind", BAD_SLICES)
def test_a_bad_slice_is_refused_and_nothing_is_left(tmp_path, kind):
    damage, message = BAD_SLICES[kind]
    with (
        pytest.raises(ValueError, match=rf"scan\.h5 .*{message}"),
        mrd.MrdWriter(tmp_path / "scan.h5", shape=SHAPE, header=make_header()) as writer,
    ):
        writer.put(0, make_kspace()[0])
        writer.put(1, damage(make_kspace()[1]))
    assert not list(tmp_path.iterdir())


def test_missing_slices_are_named(tmp_path):
    with (
        pytest.raises(ValueError, match=r"scan\.h5: 2 of 3 slices were not put: 0, 2\."),
        mrd.MrdWriter(tmp_path / "scan.h5", shape=SHAPE, header=make_header()) as writer,
    ):
        writer.put(1, make_kspace()[1])
    assert not list(tmp_path.iterdir())


def test_a_slice_is_put_once_and_inside_the_block(tmp_path):
    writer = mrd.MrdWriter(
        tmp_path / "scan.h5", shape=(1, *SHAPE[1:]), header=make_header(labels={})
    )
    kspace = make_kspace()[0]
    with pytest.raises(ValueError, match="outside of the writer's with block"):
        writer.put(0, kspace)
    with writer:
        with pytest.raises(ValueError, match="slice 1: expected slices 0 to 0"):
            writer.put(1, kspace)
        writer.put(0, kspace)
        with pytest.raises(ValueError, match="slice 0 was put twice"):
            writer.put(0, kspace)
    with pytest.raises(ValueError, match="outside of the writer's with block"):
        writer.put(0, kspace)


def test_signal_in_columns_that_were_not_acquired_is_not_lost_silently(tmp_path):
    header = make_header(acquired=(4, 37))
    with pytest.raises(ValueError, match=r"signal outside of columns 4 to 36.*widen the header"):
        write(tmp_path / "scan.h5", make_kspace(), header)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        ({}, (3, 5, 90), r"shape \(3, 5, 90\); expected \(slice, coil, ky, kx\)"),
        ({}, (4, 5, 90, 37), "label map tissue has 3 slices, k-space 4"),
        ({"acquired": (0, 18)}, SHAPE, "columns 0 to 17 of 37 .*holds column 18, the centre"),
        ({"acquired": (4, 38)}, SHAPE, "columns 4 to 37 of 37"),
        ({"labels": {}}, (3, 1025, 9, 8), "holds 1024 coils"),
        ({"labels": {}}, (3, 5, 65536, 8), "65535 of the others"),
        ({"labels": {"big": torch.full((3, *RECON), 2**31)}}, SHAPE, "big holds 2147483648 .*32 b"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path, changes, shape, message):
    header = make_header(**changes)
    if "big" in header.labels:  # 2**31 fits unsigned; with a negative one nothing does
        header.labels["big"][0, 0, 0] = -1
        message = "big holds -1 to 2147483648; .*32 bits"
    with (
        pytest.raises(ValueError, match=message),
        mrd.MrdWriter(tmp_path / "scan.h5", shape=shape, header=header),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrast": "AX\x00T2"}, r"contrast is 'AX\\x00T2'; expected printable text"),
        ({"patient_id": ""}, "patient_id is ''"),
        ({"recon_shape": (0, 4)}, "recon_shape is"),
        ({"labels": {"../x": torch.zeros(3, *RECON, dtype=int)}}, "called '../x'; expected lett"),
        (
            {"labels": {"x": torch.zeros(3, *RECON)}},
            "label map x holds torch.float32; expected int",
        ),
        (
            {"labels": {"x": torch.zeros(3, 9, 9, dtype=int)}},
            r"\(3, 9, 9\); expected \(slice, 45, 3",
        ),
    ],
)
def test_a_header_that_no_file_could_hold_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_header(**changes)


def damaged(path: Path, edit) -> Path:
    write(path)
    with h5py.File(path, "a") as file:
        edit(file)
    return path


def other_samples(file: h5py.File) -> None:
    lines = file["dataset/data"][:2]
    lines["head"]["number_of_samples"] = 80
    file["dataset/data"][:2] = lines


def twice(file: h5py.File) -> None:
    file["dataset/data"][1:2] = file["dataset/data"][:1]


def no_xml(file: h5py.File) -> None:
    file["dataset/xml"][0] = b"<ismrmrdHeader"


BAD_FILES = {
    "without data": (lambda f: f.pop("dataset/data"), "has no dataset/xml and dataset/data"),
    "bad xml": (no_xml, "XML header cannot be read"),
    "ragged": (other_samples, "do not make one plain Cartesian stack"),
    "line twice": (twice, "do not make one plain Cartesian stack"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_no_plain_scan_is_refused(tmp_path, kind):
    edit, message = BAD_FILES[kind]
    with pytest.raises(ValueError, match=rf"scan\.h5: .*{message}.*Expected an MRD file.*leave it"):
        mrd.read_kspace(damaged(tmp_path / "scan.h5", edit))


def test_dataset_is_the_only_group_and_older_files_are_still_read(tmp_path):
    path = write(tmp_path / "scan.h5")
    with h5py.File(path) as file:  # clients take the first, the last or the only one
        assert list(file) == ["dataset"]
    stock = ismrmrd.Dataset(str(path), list(h5py.File(path))[-1], create_if_needed=False)
    assert stock.number_of_acquisitions() > 0
    stock.close()
    expected = mrd.read_header(path)
    older = damaged(tmp_path / "older.h5", lambda file: file.move(mrd.OWN, "synthlib/header"))
    assert mrd.read_header(older).to_json() == expected.to_json()


def test_a_truncated_and_a_foreign_and_a_missing_file_are_told_apart(tmp_path):
    path = write(tmp_path / "scan.h5")
    path.write_bytes(path.read_bytes()[:20_000])
    for read in (mrd.read_kspace, mrd.read_header):
        with pytest.raises(ValueError, match=r"scan\.h5: it is truncated"):
            read(path)
    with pytest.raises(ValueError, match="it was not written by synthlib"):
        mrd.read_header(damaged(tmp_path / "a.h5", lambda file: file.pop(mrd.OWN)))
    with pytest.raises(FileNotFoundError, match="expected an MRD file"):
        mrd.read_kspace(tmp_path / "none.h5")


# --- disk, kill, memory, speed -------------------------------------------------------

# No file of this process may grow beyond the limit: writing more fails in the kernel, as on a
# full disk.
FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from synthlib.formats import mrd
from synthlib.formats.raw_header import RawHeader

path, limit, n = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
put = 0
try:
    header = RawHeader("AXT2", "p", (n, n))
    with mrd.MrdWriter(path, shape=(9, 4, n, n), header=header) as writer:
        for index in range(9):
            writer.put(index, torch.ones(4, n, n, dtype=torch.complex64))
            put += 1
except Exception as error:
    print(put, f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize(
    ("limit", "n", "slices"),
    # at once; half-way; only while HDF5 closes the file, which fits into its own buffers
    [(0, 64, "0"), (2_000_000, 128, "[1-8]"), (500_000, 64, "9")],
)
def test_a_full_disk_says_so_and_leaves_the_old_file(tmp_path, limit, n, slices):
    path = tmp_path / "scan.h5"
    path.write_text("old")
    command = [sys.executable, "-c", FULL_DISK, str(path), str(limit), str(n)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    message = rf"{slices} OSError: .*the disk is full: writing scan\.h5 failed"
    assert re.match(message, done.stdout), done.stdout
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_disk_did_not_take_can_still_be_read_back_by_hdf5(tmp_path):
    disk = hdf5_stream._Disk(tmp_path / "x")
    disk.write(b"0123456789")
    disk.error = OSError(28, "No space left on device")
    disk.seek(8)
    disk.write(b"abcd")
    disk.seek(6)
    assert disk.read(8) == b"67abcd\0\0"
    assert disk.seek(0, os.SEEK_END) == 12
    disk.close()
    assert (tmp_path / "x").read_bytes() == b"0123456789"


def test_a_killed_writer_leaves_nothing_that_looks_like_a_scan(tmp_path):
    path = tmp_path / "scan.h5"
    child = os.fork()
    if child == 0:
        with mrd.MrdWriter(path, shape=SHAPE, header=make_header()) as writer:
            for index in range(3):
                writer.put(index, make_kspace()[index])
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not path.exists()
    write(path)  # and the next writer cleans up
    assert list(tmp_path.iterdir()) == [path]


MEMORY = """
import sys
from pathlib import Path
import torch
from synthlib.formats import mrd
from synthlib.formats.raw_header import RawHeader
from tests.peak_memory import peak_mib

n = int(sys.argv[2])
kspace = torch.ones(16, 192, 192, dtype=torch.complex64)
with mrd.MrdWriter(sys.argv[1], shape=(n, 16, 192, 192), header=RawHeader("a", "p", (9, 9))) as w:
    for index in range(n):
        w.put(index, kspace)
print(peak_mib())
"""


def test_memory_does_not_grow_with_the_number_of_slices(tmp_path):
    peaks = [
        float(subprocess.check_output([sys.executable, "-c", MEMORY, str(tmp_path / "x.h5"), n]))
        for n in ("4", "40")
    ]
    assert peaks[1] - peaks[0] < 30  # MiB; 36 slices more are 162 MiB


def test_a_slice_is_written_well_below_a_tenth_of_a_second(tmp_path):
    kspace = torch.ones(16, 256, 256, dtype=torch.complex64)
    header = RawHeader("AXT2", "p", (256, 256))
    seconds = []
    with mrd.MrdWriter(tmp_path / "scan.h5", shape=(5, 16, 256, 256), header=header) as writer:
        for index in range(5):
            start = time.perf_counter()
            writer.put(index, kspace)
            seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1


def test_the_package_leaves_the_filters_of_warnings_alone():
    code = (
        "import warnings; before = list(warnings.filters); import h5py, torch; "
        "import synthlib.formats.raw_header; between = list(warnings.filters); "
        "import synthlib.formats.mrd; assert list(warnings.filters) == between"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
