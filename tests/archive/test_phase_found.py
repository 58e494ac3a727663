"""Which phase images are taken for the phase of which magnitudes, and what is left alone."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import samples

from synthlib import archive

SALT = b"salt of a test"
TURN = (np.arange(35).reshape(7, 5) * 117 % 4096).astype("<u2")  # covers 0 to 4095
P = {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"], "BitsStored": 12, "HighBit": 11}


def find(*inputs, **keywords) -> archive.Found:
    return archive.find(inputs, salt=SALT, **keywords)


def reasons(found: archive.Found) -> list[str]:
    return [aside.reason for aside in found.set_aside]


def phase_series(folder, n_slices: int = 4, uid: str = "1.2.3.5", **changes) -> None:
    for number in range(n_slices):
        stored = {"PixelData": (TURN + number).astype("<u2").tobytes(), "SeriesInstanceUID": uid}
        image = samples.dicom_image(number, **{**P, **stored, **changes})
        samples.write_dicom(folder / f"P{uid}_{number}_{changes.get('EchoTime', 0)}", image)


def test_phase_of_another_series_of_the_study_is_the_magnitudes(tmp_path):
    samples.write_series(tmp_path / "m", AcquisitionTime="101112.5")
    phase_series(tmp_path / "p", AcquisitionTime="101112.5", SeriesNumber=2)
    found = find(tmp_path)
    (series,) = found.series
    assert not found.set_aside and series.where == "input 1, files 1 to 4"
    volume = archive.read(series)
    expected = (float(TURN[3, 2]) + 2 - 2048) * np.pi / 2048
    assert float(volume.phase[2, 3, 2]) == pytest.approx(expected, abs=1e-6)
    before = series.stamp
    path = tmp_path / "p" / "P1.2.3.5_0_0"
    path.write_bytes(path.read_bytes() + b"\0\0")
    assert find(tmp_path).series[0].stamp != before  # another phase is another input
    assert archive.read(series, phase=False).phase is None


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"StudyInstanceUID": "1.9"}, ""),
        ({"PatientID": "another"}, ""),
        ({"EchoTime": 80}, ""),
        ({"PixelSpacing": [0.9, 1.2]}, ""),
        ({"ImagePositionPatient": [-10, -11, -5]}, ""),
        ({"ImageOrientationPatient": samples.CORONAL}, ""),
        ({"AcquisitionTime": "101312.5"}, "phase images of other times fit its place"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "DIS2D"]}, "not corrected for distortion"),
    ],
)
def test_phase_of_another_image_is_not_taken(tmp_path, changes, note):
    samples.write_series(tmp_path / "m", 1, AcquisitionTime="101112.5", EchoTime=4)
    phase_series(tmp_path / "p", 1, **{"AcquisitionTime": "101112.5", "EchoTime": 4, **changes})
    found = find(tmp_path)
    (series,) = found.series
    assert series.phase is None
    assert note in " ".join(series.notes) and bool(note) == bool(series.notes)
    (reason,) = reasons(found)
    assert reason.startswith("a phase image; expected a magnitude beside it")


def test_each_run_gets_its_own_phase_and_without_times_neither_gets_one(tmp_path):
    for times, n_phases in ((("101112.5", "101312.5"), 2), ((None, None), 0)):
        place = tmp_path / str(n_phases)
        for number, time in enumerate(times):
            clock = {"AcquisitionTime": time} if time else {}
            samples.write_series(place / f"m{number}", 2, SeriesInstanceUID=f"1.{number}", **clock)
            phase_series(place / f"p{number}", 2, uid=f"2.{number}", **clock)
        found = find(place)
        assert len(found.series) == 2
        with_phase = [series for series in found.series if series.phase]
        assert len(with_phase) == n_phases
        for series in with_phase:
            assert series.phase.files[0].split("/")[-2][1] == series.files[0].split("/")[-2][1]
        if not n_phases:
            assert all("of several scans fit it" in series.notes[0] for series in found.series)


def test_normalised_and_plain_magnitudes_of_one_scan_share_its_phase(tmp_path):
    for number, codes in enumerate((["ND"], ["ND", "NORM"])):
        kind = ["ORIGINAL", "PRIMARY", "M", *codes]
        samples.write_series(
            tmp_path / str(number), 2, SeriesInstanceUID=f"1.{number}", ImageType=kind,
            AcquisitionTime="101112.5",
        )  # fmt: skip
    phase_series(tmp_path / "p", 2, AcquisitionTime="101112.5")
    assert [bool(series.phase) for series in find(tmp_path).series] == [True, True]


def test_phase_of_some_slices_only_is_left_out(tmp_path):
    samples.write_series(tmp_path / "m", 4)
    phase_series(tmp_path / "p", 3)
    found = find(tmp_path)
    assert found.series[0].phase is None
    assert found.series[0].notes == ("only some of its slices have phase images; none was taken",)


def test_a_difference_of_two_echoes_is_no_phase(tmp_path):
    for te, number in ((4.9, 1), (7.4, 2)):
        for index in range(3):
            image = samples.dicom_image(index, EchoTime=te, EchoNumbers=number)
            samples.write_dicom(tmp_path / "siemens" / f"m{te}_{index}", image)
    phase_series(tmp_path / "siemens", 3, EchoTime=7.4)
    samples.write_series(tmp_path / "sequence", 3, EchoTime=7.4)
    phase_series(tmp_path / "sequence", 3, EchoTime=7.4, SequenceName="*fm2d2r")
    values = samples.head_values().astype(np.float32)
    for name in ("a_e1", "a_e2"):
        samples.write_nifti(tmp_path / "nifti" / f"{name}.nii", values)
    samples.write_nifti(tmp_path / "nifti" / "a_e2_ph.nii", values - 70)
    samples.write_nifti(tmp_path / "bids" / "sub-1_magnitude1.nii", values)
    samples.write_nifti(tmp_path / "bids" / "sub-1_phasediff.nii", values - 70)
    for kind, n_series in (("siemens", 2), ("sequence", 1), ("nifti", 2), ("bids", 1)):
        found = find(tmp_path / kind)
        assert [series.phase for series in found.series] == [None] * n_series, kind
        assert reasons(found) == ["a phase difference of two echoes, no phase of a magnitude"], kind


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "VELOCITY MAP", "P", "PCA"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "PCA"]},
        {"SequenceName": "*fl2d1_v150in"},
        {"PhaseContrast": "YES"},
    ],
)
def test_a_map_of_velocity_is_no_phase(tmp_path, changes):
    samples.write_series(tmp_path / "m", 2)
    phase_series(tmp_path / "p", 2, **changes)
    found = find(tmp_path)
    assert found.series[0].phase is None
    assert reasons(found) == ["a map of velocity (phase contrast), no phase of a magnitude"]


def test_filtered_phase_of_swi_is_not_taken(tmp_path):
    samples.write_series(tmp_path / "m", 2, SeriesDescription="Mag_Images")
    phase_series(tmp_path / "p", 2, SeriesDescription="Pha_Images")
    found = find(tmp_path)
    assert found.series[0].phase is None
    assert reasons(found) == ["a phase image of SWI, filtered; expected one as it was measured"]


def test_every_echo_keeps_its_own_phase(tmp_path):
    values = samples.head_values().astype(np.float32)
    for echo in (1, 2):
        samples.write_nifti(tmp_path / f"sub-1_magnitude{echo}.nii", values + echo)
        turned = (values / 140 * 2 - 1) * np.pi
        samples.write_nifti(tmp_path / f"sub-1_phase{echo}.nii", turned / echo, (1, 1, 4))
    found = find(tmp_path)
    assert not found.set_aside
    paired = {series.files[0][-5]: series.phase.files[0][-5] for series in found.series}
    assert paired == {"1": "1", "2": "2"}


def test_a_map_of_the_field_is_called_one_though_it_is_real(tmp_path):
    samples.write_series(
        tmp_path, 2, ImageType=["ORIGINAL", "PRIMARY", "T1", "FIELD_MAP"],
        ComplexImageComponent="REAL",
    )  # fmt: skip
    assert reasons(find(tmp_path)) == ["a map of the field, computed from other images"]


@pytest.mark.parametrize("change", ["grid", "volumes", "two"])
def test_nifti_phase_that_does_not_fit_is_left_out(tmp_path, change):
    values = samples.head_values().astype(np.float32)
    samples.write_nifti(tmp_path / "a.nii", values)
    spacing = (1, 1, 5) if change == "grid" else (1, 1, 4)
    beside = np.stack([values] * 2, -1) if change == "volumes" else values
    image = nibabel.Nifti1Image(beside, np.diag([*spacing, 1.0]))
    nibabel.save(image, tmp_path / "a_ph.nii")
    if change == "two":
        nibabel.save(image, tmp_path / "a_phase.nii")
    found = find(tmp_path)
    assert found.series[0].phase is None
    (aside,) = found.set_aside
    assert aside.reason.startswith("a phase image; expected a magnitude beside it")
    assert bool(found.series[0].notes) == (change != "two")


def test_volumes_of_a_complex_file_are_series_each_with_its_phase(tmp_path):
    values = samples.head_values((7, 5, 4, 2)).astype(np.complex64) * np.exp(0.7j)
    values[..., 1] *= 1j
    samples.write_nifti(tmp_path / "a.nii.gz", values)
    volumes = [archive.read(series) for series in find(tmp_path).series]
    assert len(volumes) == 2
    angles = [float(volume.phase.mean()) for volume in volumes]
    assert angles == pytest.approx([0.7, 0.7 + np.pi / 2], abs=1e-5)
    assert float(volumes[1].magnitude.max()) == pytest.approx(280, rel=1e-5)


def test_a_damaged_phase_image_costs_the_phase_not_the_series(tmp_path):
    samples.write_series(tmp_path / "m", 2)
    phase_series(tmp_path / "p", 2)
    path = tmp_path / "p" / "P1.2.3.5_1_0"
    path.write_bytes(path.read_bytes()[:-30])
    volume = archive.read(find(tmp_path).series[0])
    assert volume.phase is None and volume.n_slices == 2
    (note,) = volume.notes
    assert note.startswith("measured phase was not used: pixels that cannot be decoded")


def test_phase_may_be_unknown_where_there_is_no_signal(tmp_path):
    values = samples.head_values().astype(np.float32)
    values[0, 0] = 0
    turned = (values / 70 - 1) * np.pi
    turned[0, 0] = np.nan
    samples.write_nifti(tmp_path / "a.nii", values)
    samples.write_nifti(tmp_path / "a_ph.nii", turned)
    volume = archive.read(find(tmp_path).series[0])
    assert float(volume.phase[volume.magnitude == 0].abs().max()) == 0
    turned[3, 3, 1] = np.nan
    samples.write_nifti(tmp_path / "a_ph.nii", turned)
    volume = archive.read(find(tmp_path).series[0])
    assert volume.phase is None
    assert "it is NaN or Inf in 1 pixels of signal" in volume.notes[-1]
