"""MRD files written by the ismrmrd package and by Debian's tools, read as raw volumes."""

from __future__ import annotations

import pickle
import shutil
import subprocess

import h5py
import numpy as np
import pytest
import torch
from line_files import Line, image_by_numpy, kspace_lines, random_kspace, read, whole, write_mrd

from synthlib import arrays, formats
from synthlib.formats import hdf5_heaps, ismrmrd_xml

SHAPE = (3, 4, 54, 21)  # two-fold oversampled readout of 27 rows; odd and unequal
MATRIX, RECON = (54, 21, 1), (27, 21, 1)


@pytest.fixture
def kspace() -> np.ndarray:
    return random_kspace(SHAPE)


def test_an_interleaved_scan_is_sorted_and_its_header_kept(tmp_path, kspace):
    volume = formats.read_raw(
        write_mrd(tmp_path / "scan.mrd", kspace_lines(kspace), MATRIX, recon=RECON)
    )
    np.testing.assert_array_equal(whole(volume), kspace)
    assert (volume.name, volume.contrast, volume.patient_id) == ("scan", "AXT2 tse", "p-17")
    assert volume.recon_shape == (27, 21) and volume.image_shape == (27, 21)
    assert volume.spacing_mm == pytest.approx((0.9, 1.1))
    assert volume.acquired == (0, 21) and not volume.undersampled and not volume.synthetic
    expected = {"field_t": 1.5, "te_ms": 92.5, "tr_ms": 3200.0, "step_mm": 5.0, "thickness_mm": 4.0}
    assert {name: volume.attributes[name] for name in expected} == pytest.approx(expected)
    assert volume.noise is None and volume.calibration is None and volume.notes == ()


def test_coil_images_are_those_of_an_independent_fft_without_the_oversampling(tmp_path, kspace):
    path = write_mrd(tmp_path / "scan.h5", kspace_lines(kspace), MATRIX, recon=RECON)
    images = formats.read_raw(path).coil_images(1).numpy()
    start = (54 - 27) // 2
    np.testing.assert_allclose(images, image_by_numpy(kspace[1])[:, start : start + 27], atol=1e-5)


def test_a_volume_travels_to_another_process_and_reads_there(tmp_path, kspace):
    volume = formats.read_raw(write_mrd(tmp_path / "scan.h5", kspace_lines(kspace), MATRIX))
    np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(volume))), kspace)


def test_partial_fourier_is_zero_filled_and_told(tmp_path, kspace):
    lines = kspace_lines(kspace, range(6, 21), first=6)
    path = write_mrd(tmp_path / "scan.h5", lines, MATRIX, centre=10 - 6)
    volume = formats.read_raw(path)
    assert volume.acquired == (6, 21) and not volume.undersampled
    kspace[..., :6] = 0
    np.testing.assert_array_equal(whole(volume), kspace)


def test_an_asymmetric_echo_and_discarded_samples_come_to_their_places(tmp_path, kspace):
    rows, cut = 54, 16  # the first 16 samples were not measured; 2 at either end are of no use
    lines = kspace_lines(kspace)
    for line in lines:
        junk = np.full((4, 2), 99, np.complex64)
        line.data = np.concatenate([junk, line.data[:, cut:], junk], 1)
        line.head |= {"center_sample": rows // 2 - cut + 2, "discard_pre": 2, "discard_post": 2}
    volume = formats.read_raw(write_mrd(tmp_path / "scan.h5", lines, MATRIX))
    kspace[:, :, :cut] = 0
    np.testing.assert_array_equal(whole(volume), kspace)


def test_turned_readouts_are_turned_back(tmp_path, kspace):
    lines = kspace_lines(kspace)
    for line in lines[1::2]:
        line.data, line.flags = line.data[:, ::-1], ("IS_REVERSE",)
    volume = formats.read_raw(write_mrd(tmp_path / "scan.h5", lines, MATRIX))
    np.testing.assert_array_equal(whole(volume), kspace)


def test_averages_are_averaged_and_repetitions_are_volumes(tmp_path, kspace):
    lines = []
    for repetition in range(2):
        for average in range(3):
            for line in kspace_lines(kspace * np.float32(1 + average + 10 * repetition)):
                line.counters |= {"average": average, "repetition": repetition}
                lines.append(line)
    path = write_mrd(tmp_path / "scan.h5", lines, MATRIX)
    assert formats.n_volumes(path) == 2
    volume = read(path)
    assert any("2 volumes in one file (2 repetitions), of which" in note for note in volume.notes)
    assert any("measured 3 times and are averaged" in note for note in volume.notes)
    np.testing.assert_allclose(whole(volume), 2 * kspace, rtol=1e-6)
    np.testing.assert_allclose(whole(read(path, number=1)), 12 * kspace, rtol=1e-6)
    with pytest.raises(IndexError):
        read(path, number=2)


def test_lines_that_are_no_image_are_passed_by(tmp_path, kspace):
    lines = kspace_lines(kspace)
    others = ("NAVIGATION_DATA", "PHASECORR_DATA", "DUMMYSCAN_DATA", "RTFEEDBACK_DATA",
              "HPFEEDBACK_DATA", "SURFACECOILCORRECTIONSCAN_DATA", "PHASE_STABILIZATION",
              "PHASE_STABILIZATION_REFERENCE")  # fmt: skip
    junk = np.full((4, 54), 50, np.complex64)
    lines += [Line(junk, {"kspace_encode_step_1": 3}, (f"IS_{name}",)) for name in others]
    volume = formats.read_raw(write_mrd(tmp_path / "scan.h5", lines, MATRIX))
    np.testing.assert_array_equal(whole(volume), kspace)


def test_calibration_lines_make_maps_of_an_accelerated_scan_possible(tmp_path, kspace):
    centre = range(6, 15)
    lines = []
    for line in kspace_lines(kspace):
        column = line.counters["kspace_encode_step_1"]
        if column % 2 == 0:
            line.flags = ("IS_PARALLEL_CALIBRATION_AND_IMAGING",) if column in centre else ()
            lines.append(line)
        elif column in centre:
            line.flags = ("IS_PARALLEL_CALIBRATION",)
            lines.append(line)
    path = write_mrd(tmp_path / "scan.h5", lines, MATRIX)
    with pytest.raises(ValueError, match=r"scan\.h5: the scan is undersampled.*leave it out"):
        formats.read_raw(path)
    volume = formats.read_raw(path, undersampled=True)
    thinned, calibration = np.zeros_like(kspace), np.zeros_like(kspace)
    thinned[..., ::2] = kspace[..., ::2]
    calibration[..., 6:15] = kspace[..., 6:15]
    np.testing.assert_array_equal(whole(volume), thinned)
    np.testing.assert_array_equal(volume.calibration_signal(2).numpy(), calibration[2])


def test_interleaved_slice_numbers_are_sorted_by_position(tmp_path, kspace):
    lines = kspace_lines(kspace)
    numbers = (1, 2, 0)  # the middle slice was measured first
    for line in lines:
        line.counters["slice"] = numbers[line.counters["slice"]]
    with pytest.warns(UserWarning, match="sorted by their positions"):
        volume = formats.read_raw(write_mrd(tmp_path / "scan.h5", lines, MATRIX))
    np.testing.assert_array_equal(whole(volume), kspace)
    assert volume.attributes["step_mm"] == 5.0


@pytest.mark.parametrize("kept", [7, 4])
def test_a_3d_scan_becomes_slices_by_a_second_fft(tmp_path, kept):
    kspace = random_kspace((7, 3, 18, 11))  # (kz, coil, ky, kx)
    lines = [
        Line(
            kspace[z, :, :, column],
            {"kspace_encode_step_1": column, "kspace_encode_step_2": z},
            head={"center_sample": 9},
        )
        for z in range(7)
        for column in range(11)
    ]
    path = write_mrd(tmp_path / "scan.h5", lines, (18, 11, 7), recon=(9, 11, kept))
    volume = formats.read_raw(path)
    image = image_by_numpy(kspace, (0, 2, 3))[(7 - kept) // 2 :][:kept]
    assert volume.kspace.shape == (kept, 3, 18, 11) and volume.attributes["step_mm"] == 4.0
    found = np.stack([arrays.ifft2c(volume.kspace[z]).numpy() for z in range(kept)])
    np.testing.assert_allclose(found, image, atol=1e-5)


def test_an_elliptical_shutter_is_not_undersampling_and_a_lattice_is(tmp_path):
    def volume(name, measured):
        lines = [
            Line(np.ones((2, 16), np.complex64),
                 {"kspace_encode_step_1": x, "kspace_encode_step_2": z}, head={"center_sample": 8})
            for z in range(9) for x in range(13) if measured(z, x)
        ]  # fmt: skip
        path = write_mrd(tmp_path / name, lines, (16, 13, 9))
        return read(path, undersampled=True)

    assert not volume(
        "a.h5", lambda z, x: ((z - 4) / 4.6) ** 2 + ((x - 6) / 6.6) ** 2 <= 1
    ).undersampled
    assert volume("b.h5", lambda z, x: (z + x) % 2 == 0).undersampled


def test_the_noise_scan_has_the_level_of_the_image_noise(tmp_path):
    mixing = random_kspace((4, 4), 1)
    drawn = random_kspace((4, 60 * 54), 2)
    noise = (mixing @ drawn).astype(np.complex64)
    lines = [
        Line(part, flags=("IS_NOISE_MEASUREMENT",), head={"sample_time_us": 2.0})
        for part in np.split(noise, 60, 1)
    ]
    # the image's dwell time is 4 times as long: half the noise, and that of two averages less
    for average in range(2):
        for line in kspace_lines(random_kspace(SHAPE), sample_time_us=8.0):
            line.counters["average"] = average
            lines.append(line)
    path = write_mrd(tmp_path / "scan.h5", lines, MATRIX, bandwidth=0.8)
    volume = read(path)
    assert volume.noise.shape == (4, 60 * 54)
    expected = 2 * mixing @ mixing.conj().T * (2 / 8) / 0.8 / 2  # of a complex sample
    error = np.abs(volume.noise_covariance().numpy() - expected)
    assert error.max() < 0.08 * np.abs(expected).max()


def test_echo_planar_says_what_is_not_done_and_others_are_refused(tmp_path, kspace):
    lines = kspace_lines(kspace)
    with pytest.warns(UserWarning, match="echo-planar: .* ghosts are not corrected"):
        formats.read_raw(write_mrd(tmp_path / "epi.h5", lines, MATRIX, trajectory="epi"))
    for trajectory in ("radial", "spiral", "goldenangle", "other"):
        path = write_mrd(tmp_path / f"{trajectory}.h5", lines, MATRIX, trajectory=trajectory)
        with pytest.raises(ValueError, match=rf"{trajectory}\.h5: its trajectory is {trajectory}"):
            formats.read_raw(path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("no xml", "has no 'kspace'"),
        ("cut", "truncated or damaged|truncated, or not HDF5"),
        ("xml", "its XML header is broken"),
        ("bomb", "declares entities"),
        ("matrix", "do not fit into the 11 that its header says"),
        ("coils", "its lines have 2 and 4 coils"),
        ("noise only", "it has no line of an image"),
        ("compressed", "its lines are compressed"),
        ("nan", "holds 1 NaN or Inf"),
        ("zero", "all zero; expected signal"),
    ],
)
def test_bad_files_are_named_with_what_is_wrong(tmp_path, kspace, edit, message):
    path, lines = tmp_path / "bad.h5", kspace_lines(kspace)
    options = {}
    if edit == "xml":
        options["xml"] = "<ismrmrdHeader><encoding>"
    elif edit == "bomb":
        options["xml"] = '<!DOCTYPE a [<!ENTITY b "c">]><ismrmrdHeader>&b;</ismrmrdHeader>'
    elif edit == "coils":
        lines[5].data = lines[5].data[:2]
    elif edit == "noise only":
        lines = [Line(line.data, flags=("IS_NOISE_MEASUREMENT",)) for line in lines]
    elif edit == "compressed":
        lines[0].flags = ("COMPRESSION2",)
    elif edit == "nan":
        kspace[1, 2, 3, 4] = np.nan
    elif edit == "zero":
        kspace[1] = 0
    write_mrd(path, lines, (54, 11, 1) if edit == "matrix" else MATRIX, **options)
    if edit == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif edit == "no xml":
        with h5py.File(path, "a") as file:
            del file["dataset/xml"]
    with pytest.raises(ValueError, match=message):
        read(path)


def test_big_endian_files_and_other_groups_are_read(tmp_path, kspace):
    path = write_mrd(tmp_path / "scan.h5", kspace_lines(kspace), MATRIX, group="scan_2")
    np.testing.assert_array_equal(whole(formats.read_raw(path)), kspace)
    with h5py.File(path, "a") as file:
        data = file["scan_2/data"][()]
        for name in ("traj", "data"):  # h5py stores the bytes of such arrays as they are
            data[name] = [values.astype(">f4") for values in data[name]]
        swapped = h5py.special_dtype(vlen=np.dtype(">f4"))
        head = data.dtype["head"].newbyteorder(">")
        del file["scan_2/data"]
        kind = np.dtype([("head", head), ("traj", swapped), ("data", swapped)])
        file.create_dataset("scan_2/data", data.shape, kind)[:] = data
    np.testing.assert_array_equal(whole(formats.read_raw(path)), kspace)


def test_a_heap_without_length_is_found_before_hdf5_goes_round_in_it(tmp_path, kspace):
    path = write_mrd(tmp_path / "bad.mrd", kspace_lines(kspace), MATRIX)
    assert hdf5_heaps.are_whole(path)
    data = bytearray(path.read_bytes())
    entry = data.find(b"GCOL") + 16
    data[entry : entry + 16] = bytes(16)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"bad\.mrd: it is truncated or damaged"):
        read(path)


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
@pytest.mark.parametrize("kind", ["<u2", "S14", [("a", "<u4"), ("b", "<f8")]])
@pytest.mark.parametrize("chunks", [None, (3,)])
def test_the_mark_of_a_heap_among_plain_values_is_no_damage(tmp_path, kspace, depth, kind, chunks):
    path = write_mrd(tmp_path / "scan.h5", kspace_lines(kspace), MATRIX)
    values = np.zeros(7, kind)
    data = bytearray(values.tobytes())
    data[5:9] = b"GCOL"
    place = "/".join([*(("dataset", "image_0", "a", "b", "c")[:depth]), "values"])
    with h5py.File(path, "a") as file:
        file.create_dataset(place, data=np.frombuffer(bytes(data), kind), chunks=chunks)
    assert path.read_bytes().count(b"GCOL") > 1
    np.testing.assert_array_equal(whole(formats.read_raw(path)), kspace)


def test_links_in_a_circle_and_to_other_files_do_not_hide_a_damaged_heap(tmp_path, kspace):
    path = write_mrd(tmp_path / "scan.h5", kspace_lines(kspace), MATRIX)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["values"] = np.zeros(200_000)  # as long as the first file
    with h5py.File(path, "a") as file:
        file["dataset/up"] = file["dataset"]
        file["dataset/soft"] = h5py.SoftLink("/dataset")
        file["dataset/nowhere"] = h5py.SoftLink("/nothing")
        file["dataset/other"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "values")
    np.testing.assert_array_equal(whole(formats.read_raw(path)), kspace)
    data = bytearray(path.read_bytes())
    entry = data.find(b"GCOL") + 16
    data[entry : entry + 16] = bytes(16)
    path.write_bytes(data)
    assert not hdf5_heaps.are_whole(path)


NAMED = (
    '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><measurementInformation><protocolName>'
    "{}</protocolName></measurementInformation></ismrmrdHeader>"
)


def declared(encoding: str, text: str) -> bytes:
    """XML in an encoding, declared in letters that any parser takes."""
    line = f'<?xml version="1.0" encoding="{encoding}"?>'
    return (
        (line + text).encode(encoding)
        if "16" in encoding
        else line.encode() + text.encode(encoding)
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be",
                                      "utf-7", "cp037", "iso-8859-1"])  # fmt: skip
def test_entities_are_refused_in_every_encoding(encoding):
    bomb = '<!DOCTYPE r [<!ENTITY a "x"><!ENTITY b "&a;&a;">]>' + NAMED.format("&b;")
    for data in (declared(encoding, bomb), bomb.encode(encoding)):
        with pytest.raises(ValueError, match=r"declares entities|is broken"):
            ismrmrd_xml.facts(data)
        assert ismrmrd_xml.lenient(data.decode(errors="replace")).contrast == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_names_are_read_in_the_encoding_that_the_header_declares(encoding):
    assert ismrmrd_xml.facts(declared(encoding, NAMED.format("Schädel"))).contrast == "Schädel"
    for text in (NAMED.format("Schädel"), "\ufeff" + NAMED.format("Schädel")):
        assert ismrmrd_xml.facts(text.encode()).contrast == "Schädel"


def test_the_mark_of_synthetic_data_is_seen_where_only_the_xml_was_kept(tmp_path, kspace):
    mark = (
        "<userParameters><userParameterString><name>synthetic</name><value>SYNTHETIC</value>"
        "</userParameterString></userParameters></ismrmrdHeader>"
    )
    path = write_mrd(tmp_path / "scan.mrd", kspace_lines(kspace), MATRIX)
    with h5py.File(path, "a") as file:
        text = file["dataset/xml"][0].replace(b"</ismrmrdHeader>", mark.encode())
        file["dataset/xml"][0] = text
    assert formats.read_raw(path).synthetic


def test_debians_tools_reconstruct_the_same_image(tmp_path):
    make, recon = "ismrmrd_generate_cartesian_shepp_logan", "ismrmrd_recon_cartesian_2d"
    if not (shutil.which(make) and shutil.which(recon)):
        pytest.skip("Debian's ismrmrd-tools are needed")
    run = [make, "-m", "48", "-c", "5", "-O", "2", "-o", "scan.h5"]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    volume = formats.read_raw(tmp_path / "scan.h5")
    subprocess.run([recon, "scan.h5"], cwd=tmp_path, check=True, capture_output=True)
    with h5py.File(tmp_path / "scan.h5") as file:
        expected = np.squeeze(file["dataset/cpp/data"][()]).T  # their first axis is phase encoding
    found = arrays.rss(volume.coil_images(0)).numpy()
    assert found.shape == expected.shape == (48, 48)
    scale = float((found * expected).sum() / (expected**2).sum())
    np.testing.assert_allclose(found, scale * expected, atol=1e-4 * found.max())
    assert torch.isfinite(volume.kspace[0]).all()
