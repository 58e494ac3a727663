"""Siemens raw data: VB17 files laid out by hand, VD files written by twixtools.

No measured .dat was at hand; both writers follow the layout that twixtools and mapVBVD read.
"""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from line_files import Line, kspace_lines, random_kspace, read, whole

from synthlib import formats

SHAPE = (3, 4, 54, 21)  # 27 rows, sampled twice as densely
PROTOCOL = """### ASCCONV BEGIN ###
tProtocolName = ""t2 tse""
sProtConsistencyInfo.flNominalB0 = 2.89362
alTR[0] = 3200000
alTE[0] = 92500
adFlipAngleDegree[0] = 150.0
sRXSPEC.alDwellTime[0] = 9000
sKSpace.lBaseResolution = {base}
sKSpace.lPhaseEncodingLines = {lines}
sKSpace.lPartitions = {partitions}
sKSpace.ucDimension = {dimension}
sKSpace.ucTrajectory = {trajectory}
sSliceArray.asSlice[0].dThickness = 5.0
sSliceArray.asSlice[0].dReadoutFOV = 243.0
sSliceArray.asSlice[0].dPhaseFOV = 210.0
### ASCCONV END ###
"""
CONFIG = '<ParamString."PatientID">  { "0815-x"  }\n<ParamLong."alRegridMode">  { 1 }\n'
FLAGS = {"PHASCOR": 21, "PATREFSCAN": 22, "PATREFANDIMASCAN": 23, "REFLECT": 24, "NOISEADJSCAN": 25}
COUNTERS = ("kspace_encode_step_1", "average", "slice", "kspace_encode_step_2", "contrast", "phase",
            "repetition", "set")  # fmt: skip


def header(**changes) -> bytes:
    """Length, number of parts, and the parts: name, length, text."""
    values = {"base": 27, "lines": 21, "partitions": 1, "dimension": 2, "trajectory": 1,
              "patient": "0815-x", **changes}  # fmt: skip
    parts = b""
    config = CONFIG.replace("0815-x", values["patient"])
    for name, text in (("Config", config), ("MeasYaps", PROTOCOL.format(**values))):
        parts += name.encode() + b"\0" + struct.pack("<I", len(text)) + text.encode()
    size = 12_288  # real ones have some 100 kB; below 10,000 VB and VD cannot be told apart
    return struct.pack("<II", size, 2) + parts + bytes(size - 8 - len(parts))


def vb_line(line: Line, centre: tuple[int, int, int], flags: int | None = None) -> bytes:
    """One line of VB17: a header of 128 bytes before the samples of each channel."""
    n_coils, n_samples = line.data.shape
    if flags is None:
        flags = sum(1 << FLAGS[name] for name in line.flags)
    counters = [line.counters.get(name, 0) for name in COUNTERS] + [0] * 6
    position = line.head.get("position", (0.0, 0.0, 0.0))
    data = b""
    for channel in range(n_coils):
        head = struct.pack("<IiIIIQHH", 128 + 8 * n_samples, 1, 1, 0, 0, flags, n_samples, n_coils)
        head += struct.pack("<14H", *counters)
        head += struct.pack("<HHHHfIHH", 0, 0, centre[0], 0, 0.0, 0, centre[1], centre[2])
        head += bytes(16) + struct.pack("<3f4f", *position, 1.0, 0.0, 0.0, 0.0)
        head += struct.pack("<HH", channel, 0)
        assert len(head) == 128
        data += head + line.data[channel].astype("<c8").tobytes()
    return data


def write_vb(path: Path, readouts: list[Line], *, centre=(27, 10, 0), end=True, **changes) -> Path:
    body = b"".join(vb_line(line, centre) for line in readouts)
    if end:
        body += vb_line(Line(np.zeros((1, 2), np.complex64)), centre, flags=1)
    path.write_bytes(header(**changes) + body)
    return path


def write_vd(path: Path, measurements: list[list[Line]], **changes) -> Path:
    """By twixtools, one list of lines a measurement."""
    import twixtools
    from twixtools.mdb import Mdb_local

    scans = []
    for lines in measurements:
        blocks = []
        for line in lines:
            block = Mdb_local(np.ascontiguousarray(line.data))
            for name, tag in zip(COUNTERS, ("Lin", "Ave", "Sli", "Par", "Eco", "Phs", "Rep", "Set"),
                                 strict=True):  # fmt: skip
                setattr(block.mdh.Counter, tag, line.counters.get(name, 0))
            block.mdh.CenterCol, block.mdh.CenterLin = 27, 10
            position = line.head.get("position", (0.0, 0.0, 0.0))
            block.mdh.SliceData.SlicePos.Tra = position[2]
            block.mdh.SliceData.Quaternion[0] = 1.0
            for name in line.flags:
                block.add_flag(name)
            blocks.append(block)
        scans.append({"mdb": blocks, "hdr_str": np.frombuffer(header(**changes), "S1")})
    with contextlib.redirect_stdout(io.StringIO()):
        twixtools.write_twix(scans, str(path))
    return path


@pytest.fixture
def kspace() -> np.ndarray:
    return random_kspace(SHAPE)


def noise_line(samples: np.ndarray) -> Line:
    return Line(samples, flags=("NOISEADJSCAN",))


@pytest.mark.parametrize("number", ["xxxxxxxx", "X", "xXxX", "----", "000", "99999", ""])
def test_a_number_that_was_overwritten_is_no_patient(tmp_path, kspace, number):
    for name in ("a", "b"):
        write_vb(tmp_path / f"{name}.dat", kspace_lines(kspace), patient=number)
    patients = [formats.read_raw(tmp_path / f"{name}.dat").patient_id for name in ("a", "b")]
    assert patients == ["a", "b"]


@pytest.mark.parametrize("number", ["11", "7", "xxxxy", "0001", "A7"])
def test_files_of_one_number_are_one_patient(tmp_path, kspace, number):
    for name, patient in (("a", number), ("b", number), ("c", "0815")):
        write_vb(tmp_path / f"{name}.dat", kspace_lines(kspace), patient=patient)
    first, second, other = (
        formats.read_raw(tmp_path / f"{name}.dat").patient_id for name in ("a", "b", "c")
    )
    assert first == second != other and first.startswith("patient-")


@pytest.mark.parametrize("version", ["VB", "VD"])
def test_a_scan_is_sorted_and_its_protocol_kept(tmp_path, kspace, version):
    lines = kspace_lines(kspace)
    write = write_vb if version == "VB" else lambda path, lines: write_vd(path, [lines])
    volume = formats.read_raw(write(tmp_path / "meas.dat", lines))
    np.testing.assert_array_equal(whole(volume), kspace)
    assert volume.recon_shape == (27, 21) and volume.acquired == (0, 21)
    assert volume.spacing_mm == pytest.approx((9.0, 10.0))
    assert volume.contrast == "t2 tse" and volume.patient_id.startswith("patient-")
    assert "0815" not in volume.patient_id
    expected = {"field_t": 2.89362, "te_ms": 92.5, "tr_ms": 3200.0, "flip_deg": 150.0,
                "thickness_mm": 5.0, "step_mm": 5.0}  # fmt: skip
    assert {name: volume.attributes[name] for name in expected} == pytest.approx(expected)
    assert volume.attributes["orientation"] == "axial"


def test_pymapvbvd_reads_the_same_lines(tmp_path, kspace):
    mapvbvd = pytest.importorskip("mapvbvd", reason="pymapVBVD is an independent reader")
    path = write_vd(tmp_path / "meas.dat", [kspace_lines(kspace)])
    with contextlib.redirect_stdout(io.StringIO()):
        twix = mapvbvd.mapVBVD(str(path), quiet=True)
    twix = twix[-1] if isinstance(twix, list) else twix
    twix.image.squeeze, twix.image.flagRemoveOS = True, False
    found = twix.image[""].transpose(3, 1, 0, 2)  # (sample, coil, line, slice)
    np.testing.assert_array_equal(found, whole(read(path)))


def test_flags_averages_and_repetitions(tmp_path, kspace):
    lines = [Line(np.full((4, 54), 60, np.complex64), flags=("PHASCOR",))]
    for average in range(2):
        for line in kspace_lines(kspace * np.float32(1 + 2 * average)):
            line.counters["average"] = average
            if average:
                line.data, line.flags = line.data[:, ::-1], ("REFLECT",)
            lines.append(line)
    later = kspace_lines(kspace[::-1])
    for line in later:
        line.counters["repetition"] = 1
    path = write_vb(tmp_path / "meas.dat", lines + later)
    assert formats.n_volumes(path) == 2
    np.testing.assert_allclose(whole(read(path)), 2 * kspace, rtol=1e-6)
    np.testing.assert_array_equal(whole(read(path, number=1)), kspace[::-1])


@pytest.mark.parametrize("version", ["VB", "VD"])
def test_noise_scans_of_the_same_or_an_earlier_measurement(tmp_path, kspace, version):
    samples = random_kspace((40, 4, 64), 2)
    noise = [noise_line(part) for part in samples]
    path = tmp_path / "meas.dat"
    if version == "VB":
        write_vb(path, noise + kspace_lines(kspace))
    else:
        write_vd(path, [noise, kspace_lines(kspace)])
    volume = read(path)
    np.testing.assert_array_equal(whole(volume), kspace)
    # the noise scan of 64 samples has 130 Hz a pixel; the image's dwell time is 9 us
    scale = np.sqrt((1e6 / 130 / 64) / 9)
    expected = np.concatenate(list(samples), 1) * scale
    np.testing.assert_allclose(volume.noise.numpy(), expected, rtol=1e-5)


def test_partial_fourier_and_calibration_lines(tmp_path, kspace):
    lines = []
    for line in kspace_lines(kspace, range(5, 21), first=5):  # the centre is line 5
        if line.counters["kspace_encode_step_1"] % 2:
            if not 2 <= line.counters["kspace_encode_step_1"] <= 8:
                continue
            line.flags = ("PATREFSCAN",)
        elif 2 <= line.counters["kspace_encode_step_1"] <= 8:
            line.flags = ("PATREFANDIMASCAN",)
        lines.append(line)
    volume = read(write_vb(tmp_path / "meas.dat", lines, centre=(27, 5, 0)), undersampled=True)
    assert volume.undersampled and volume.acquired == (5, 20)
    thinned, calibration = np.zeros_like(kspace), np.zeros_like(kspace)
    thinned[..., 5:21:2] = kspace[..., 5:21:2]
    calibration[..., 7:14] = kspace[..., 7:14]
    np.testing.assert_array_equal(whole(volume), thinned)
    np.testing.assert_array_equal(volume.calibration_signal(1).numpy(), calibration[1])


def test_a_scan_that_was_cut_short_is_read_and_says_so(tmp_path, kspace):
    path = write_vb(tmp_path / "meas.dat", kspace_lines(kspace), end=False)
    with pytest.warns(UserWarning, match="no end mark"):
        np.testing.assert_array_equal(whole(formats.read_raw(path)), kspace)


BAD = {
    "cut": (lambda data: data[:-3000], "it is truncated"),
    "text": (lambda data: b"a text" * 40, "it does not begin as Siemens raw data do"),
    "header": (lambda data: b"\xff\xff\xff\x7f" + data[4:], "its header is damaged"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_named_with_what_is_wrong(tmp_path, kspace, kind):
    edit, message = BAD[kind]
    path = write_vb(tmp_path / "meas.dat", kspace_lines(kspace))
    path.write_bytes(edit(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"meas\.dat: {message}"):
        read(path)


def test_other_trajectories_are_refused_by_their_names(tmp_path, kspace):
    path = write_vb(tmp_path / "meas.dat", kspace_lines(kspace), trajectory=2)
    with pytest.raises(ValueError, match=r"meas\.dat: its trajectory is radial"):
        read(path)


def test_a_3d_scan_becomes_slices(tmp_path):
    kspace = random_kspace((6, 2, 18, 11))  # (kz, coil, ky, kx)
    lines = [
        Line(kspace[z, :, :, x], {"kspace_encode_step_1": x, "kspace_encode_step_2": z})
        for z in range(6)
        for x in range(11)
    ]
    path = write_vb(
        tmp_path / "meas.dat", lines, centre=(9, 5, 3), base=9, lines=11, partitions=6, dimension=4
    )
    shifted = np.fft.ifft(np.fft.ifftshift(kspace, 0), axis=0, norm="ortho")
    np.testing.assert_allclose(whole(read(path)), np.fft.fftshift(shifted, 0), atol=1e-6)


@pytest.mark.parametrize(("partitions", "thickness_mm"), [(6, 5 / 6), (5, 1.0), (1, 5.0)])
def test_a_3d_slab_is_as_thick_as_its_partitions_together(tmp_path, partitions, thickness_mm):
    kspace = random_kspace((partitions, 2, 18, 11))
    lines = [
        Line(kspace[z, :, :, x], {"kspace_encode_step_1": x, "kspace_encode_step_2": z})
        for z in range(partitions)
        for x in range(11)
    ]
    changes = {"base": 9, "lines": 11, "partitions": partitions, "dimension": 4}
    path = write_vb(tmp_path / "slab.dat", lines, centre=(9, 5, partitions // 2), **changes)
    volume = read(path)
    assert volume.n_slices == partitions
    assert volume.attributes["thickness_mm"] == pytest.approx(thickness_mm)
    if partitions > 1:  # of one slice no step is known
        assert volume.attributes["step_mm"] == pytest.approx(thickness_mm)
