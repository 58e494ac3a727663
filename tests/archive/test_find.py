"""Series found in folders of all sorts: grouped, named, set aside with the reason."""

from __future__ import annotations

import pickle
import re
import shutil

import nibabel
import numpy as np
import pytest
import samples
import torch

from synthlib import archive

SALT = b"salt of a test"


def find(*inputs, **keywords) -> archive.Found:
    return archive.find(inputs, salt=SALT, **keywords)


def reasons(found: archive.Found) -> list[str]:
    return [aside.reason for aside in found.set_aside]


# --- DICOM ----------------------------------------------------------------------------


def test_a_series_comes_out_in_the_order_of_its_places(tmp_path):
    found = find(samples.write_series(tmp_path / "a"))
    (series,) = found.series
    volume = archive.read(series)
    assert not found.set_aside
    assert volume.magnitude[:, 0, 0].tolist() == [1, 101, 201, 301]
    assert volume.magnitude[2, 6, 4] == 1 + 200 + 64
    assert (volume.spacing_mm, volume.thickness_mm, volume.step_mm) == ((0.9, 1.1), 2.5, 3.0)
    assert (volume.orientation, volume.anatomy, series.n_slices) == ("axial", "unknown", 4)
    assert (volume.name, volume.patient_id) == (series.name, series.patient_id)
    assert volume.notes == ()


def test_series_are_told_apart_by_all_that_makes_a_volume(tmp_path):
    differences = {
        "study": {"StudyInstanceUID": "1.9"},
        "series": {"SeriesInstanceUID": "1.9.9"},
        "patient": {"PatientID": "another"},
        "echo": {"EchoTime": 80, "EchoNumbers": 2},
        "size": {"Rows": 5, "Columns": 7},
        "water": {"ImageType": ["ORIGINAL", "PRIMARY", "M", "WATER"]},
        "direction": {"ImageOrientationPatient": samples.SAGITTAL},
    }
    samples.write_series(tmp_path / "plain", 3)
    for number, (name, changes) in enumerate(differences.items()):
        samples.write_series(tmp_path / name, 3 if name != "direction" else 1, **changes)
        found = find(tmp_path)
        assert len(found.series) == number + 2, name
    assert len({series.name for series in found.series}) == len(differences) + 1
    assert not found.set_aside


def test_a_series_may_be_spread_over_folders_and_mixed_with_others(tmp_path):
    for number in range(5):
        for uid in ("1.1", "1.2"):
            image = samples.dicom_image(number, SeriesInstanceUID=uid)
            samples.write_dicom(tmp_path / f"part{number % 2}" / f"{uid}_{number}", image)
    found = find(tmp_path)
    assert [series.n_slices for series in found.series] == [5, 5]
    assert {series.where for series in found.series} == {
        "input 1, files 1 to 3 and 7 to 8",
        "input 1, files 4 to 6 and 9 to 10",
    }


def test_times_at_the_same_places_become_volumes_of_their_own(tmp_path):
    for word in ("TemporalPositionIdentifier", "AcquisitionNumber"):
        for time in (1, 2, 3):
            for number in range(4):
                changes = {word: time, "SeriesInstanceUID": f"1.{len(word)}"}
                image = samples.dicom_image(number, **changes, InstanceNumber=10 * time + number)
                image.PixelData = (samples.stored_pixels(number) + 1000 * time).tobytes()
                samples.write_dicom(tmp_path / word / f"{time}_{number}", image)
        found = find(tmp_path / word)
        assert [series.n_slices for series in found.series] == [4, 4, 4]
        first = sorted(archive.read(series).magnitude[0, 0, 0].item() for series in found.series)
        assert first == [1001, 2001, 3001]
        assert "3 volumes at the same places" in found.series[0].notes[0]


def test_of_a_long_time_series_the_first_volume_is_taken(tmp_path):
    for time in range(10):
        for number in range(2):
            image = samples.dicom_image(number, TemporalPositionIdentifier=time + 1)
            samples.write_dicom(tmp_path / f"{time}_{number}", image)
    (series,) = find(tmp_path).series
    assert series.n_slices == 2
    assert "only the first" in series.notes[-1]


def test_missing_and_double_slices_are_named(tmp_path):
    for number in (0, 1, 2, 5, 6):
        samples.write_dicom(tmp_path / f"{number}", samples.dicom_image(number))
    again = samples.dicom_image(2, InstanceNumber=99)
    again.PixelData = samples.stored_pixels(9).tobytes()
    samples.write_dicom(tmp_path / "again", again)
    (series,) = find(tmp_path).series
    volume = archive.read(series)
    assert volume.magnitude[:, 0, 0].tolist() == [1, 101, 201, 501, 601]
    assert "slice 3 is there twice; the first was taken" in volume.notes
    assert "2 slices are missing between slices 3 and 4" in volume.notes
    assert volume.step_mm == 3


def test_copies_of_the_same_images_count_once(tmp_path):
    samples.write_series(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (series,) = find(tmp_path).series
    assert series.n_slices == 4
    assert series.notes == ("4 copies of the same images were left out",)


def test_of_copies_the_whole_one_is_kept_and_images_without_uid_are_no_copies(tmp_path):
    folder = samples.write_series(tmp_path / "b", 3)
    (tmp_path / "a").mkdir()
    for path in folder.iterdir():
        (tmp_path / "a" / path.name).write_bytes(path.read_bytes()[:-20])
    (series,) = find(tmp_path).series
    assert archive.read(series).n_slices == 3
    for number, (folder_name, uid) in enumerate({"none": None, "one": "1.2.3"}.items()):
        samples.write_series(
            tmp_path / folder_name, 3, SOPInstanceUID=uid, SeriesInstanceUID=f"1.{number}"
        )
        found = find(tmp_path / folder_name)
        assert [(one.n_slices, one.notes) for one in found.series] == [(3, ())]


def test_uneven_steps_are_told_and_the_series_goes_on(tmp_path):
    for number, place in enumerate((0, 3, 5.5, 9)):
        image = samples.dicom_image(number, ImagePositionPatient=[0, 0, place])
        samples.write_dicom(tmp_path / f"{number}", image)
    volume = archive.read(find(tmp_path).series[0])
    assert volume.n_slices == 4
    assert "steps between slices from 2.50 to 3.50 mm" in volume.notes


def test_a_localizer_is_told_by_its_code_its_name_or_its_three_planes(tmp_path):
    samples.write_series(tmp_path / "code", 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    samples.write_series(tmp_path / "name", 1, SeriesDescription="3-Plane_Loc")
    found = find(tmp_path)
    assert not found.series
    assert [(aside.reason, aside.n_files) for aside in found.set_aside] == [("a localizer", 2)]
    for number, turn in enumerate((samples.AXIAL, samples.SAGITTAL, samples.CORONAL)):
        image = samples.dicom_image(number, ImageOrientationPatient=turn)
        samples.write_dicom(tmp_path / "planes" / str(number), image)
    found = find(tmp_path / "planes")
    assert not found.series
    assert reasons(found) == ["a localizer: slices in all three planes"]


def test_blocks_that_are_tilted_each_their_own_way_are_no_localizer(tmp_path):
    for number, angle in enumerate(np.radians([-15, 0, 15])):
        turn = [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))]
        image = samples.dicom_image(number, ImageOrientationPatient=turn)
        samples.write_dicom(tmp_path / str(number), image)
    found = find(tmp_path)
    assert len(found.series) == 3
    assert not found.set_aside


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "a mosaic"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "a phase image"),
        ({"ComplexImageComponent": "PHASE"}, "a phase image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "REAL"]}, "a real or imaginary part"),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, "diffusion"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "reformatted"),
        ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}, "a projection"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "a secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "a segmentation"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, "a structured report"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, "a presentation state"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, "of modality CT"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "a colour image"),
        ({"ImagePositionPatient": None}, "no place or direction"),
        ({"NumberOfFrames": 3}, "does not tell the place of each"),
    ],
)
def test_what_is_no_plain_magnitude_is_set_aside_with_the_reason(tmp_path, changes, reason):
    found = find(samples.write_series(tmp_path / "a", 2, **changes))
    assert not found.series
    (aside,) = found.set_aside
    assert reason in aside.reason
    assert (aside.where, aside.n_files) == ("input 1, files 1 to 2", 2)


def test_derived_alone_is_no_reason(tmp_path):
    kinds = (["DERIVED", "SECONDARY"], ["DERIVED", "PRIMARY", "M", "NORM", "DIS2D"])
    for number, codes in enumerate(kinds):
        samples.write_series(
            tmp_path / str(number), 2, ImageType=codes, SeriesInstanceUID=f"1.{number}"
        )
    assert len(find(tmp_path).series) == 2


# --- labels ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "contrast"),
    [
        ({"SeriesDescription": "ax T2 FLAIR fs"}, "AXFLAIR"),
        ({"SeriesDescription": "t2_tse_tra"}, "AXT2"),
        ({"SeriesDescription": "T1w_MPRAGE"}, "AXT1"),
        ({"SeriesDescription": "t2* gre"}, "AXGRE"),
        ({"SeriesDescription": "t1_se", "ContrastBolusAgent": "Gadovist"}, "AXT1POST"),
        ({"SeriesDescription": "t1_se", "ContrastBolusAgent": "NONE"}, "AXT1"),
        ({"SeriesDescription": "t1_se", "ContrastBolusAgent": ""}, "AXT1"),
        ({"SeriesDescription": "T1 post Gd"}, "AXT1POST"),
        ({"SeriesDescription": "T2 sag", "ImageOrientationPatient": samples.SAGITTAL}, "SAGT2"),
        ({"SeriesDescription": "x", "ImageOrientationPatient": samples.CORONAL}, "COR"),
        ({"ScanningSequence": "SE", "EchoTime": 90, "RepetitionTime": 4000}, "AXT2"),
        ({"ScanningSequence": "SE", "EchoTime": 12, "RepetitionTime": 600}, "AXT1"),
        ({"ScanningSequence": "SE", "EchoTime": 15, "RepetitionTime": 3000}, "AXPD"),
        (
            {"ScanningSequence": ["SE", "IR"], "EchoTime": 90, "RepetitionTime": 9000,
             "InversionTime": 2500},
            "AXFLAIR",
        ),
        ({"ScanningSequence": "GR", "EchoTime": 25, "RepetitionTime": 600}, "AXGRE"),
        ({}, "AX"),
    ],
)  # fmt: skip
def test_contrast_comes_from_keywords_and_times(tmp_path, changes, contrast):
    (series,) = find(samples.write_series(tmp_path / "a", 2, **changes)).series
    assert series.contrast == contrast
    assert re.fullmatch(rf"p-[0-9a-f]{{8,}}_{contrast}_[0-9a-f]{{6}}", series.name)


# --- patients and names -------------------------------------------------------------------


def test_pseudonyms_follow_the_person_and_the_salt(tmp_path):
    for number, (person, name) in enumerate(
        [("A1", "x"), (" a1 ", "y"), ("", "x"), ("", "x"), ("", "y")]
    ):
        samples.write_series(
            tmp_path / str(number),
            1,
            PatientID=person,
            PatientName=name,
            SeriesInstanceUID=f"1.{number}",
        )
    ids = {series.files[0].split("/")[-2]: series.patient_id for series in find(tmp_path).series}
    assert ids["0"] == ids["1"]  # blanks and capitals are no other person
    assert ids["2"] == ids["3"] != ids["4"]
    assert len(set(ids.values())) == 3
    other = archive.find([tmp_path], salt=b"another")
    assert not {series.patient_id for series in other.series} & set(ids.values())


def test_names_and_stamps_outlast_a_move_and_stamps_see_a_change(tmp_path):
    for number in range(3):
        samples.write_series(
            tmp_path / "old" / f"z{9 - number}",
            2,
            SeriesNumber=number,
            SeriesInstanceUID=f"1.{number}",
        )
    before = find(tmp_path / "old").series
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new" / "z9").rename(tmp_path / "new" / "a")
    after = find(tmp_path / "new").series
    assert [one.name for one in before] == [one.name for one in after]
    assert [one.stamp for one in before] == [one.stamp for one in after]
    changed = tmp_path / "new" / "a" / "IM1"
    changed.write_bytes(changed.read_bytes() + b"\0\0")
    stamps = [one.stamp for one in find(tmp_path / "new").series]
    assert [a == b for a, b in zip(stamps, [one.stamp for one in after], strict=True)] == [
        False, True, True,
    ]  # fmt: skip


def test_names_stay_when_other_scans_come_to_the_archive(tmp_path):
    for number in (5, 7):
        samples.write_series(
            tmp_path / str(number), SeriesNumber=number, SeriesInstanceUID=f"1.{number}"
        )
    np.save(tmp_path / "sub-1_run-2_T1w.npy", np.ones((2, 5, 4), np.float32))
    for session in ("ses-2", "ses-3"):
        (tmp_path / "b" / session / "anat").mkdir(parents=True)
        np.save(tmp_path / "b" / session / "anat" / "T1w.npy", np.ones((2, 5, 4), np.float32))
    few = {s.files: s.name for s in find(tmp_path, spacing_mm=(1, 1)).series}
    samples.write_series(tmp_path / "0", SeriesNumber=1, SeriesInstanceUID="1.1")
    np.save(tmp_path / "sub-1_run-1_T1w.npy", np.ones((2, 5, 4), np.float32))
    (tmp_path / "b" / "ses-1" / "anat").mkdir(parents=True)
    np.save(tmp_path / "b" / "ses-1" / "anat" / "T1w.npy", np.ones((2, 5, 4), np.float32))
    many = {s.files: s.name for s in find(tmp_path, spacing_mm=(1, 1)).series}
    assert len(few) == 5 and len(many) == 8
    assert {files: many[files] for files in few} == few
    assert len(set(many.values())) == 8


def test_a_series_can_be_sent_to_another_process(tmp_path):
    (series,) = find(samples.write_series(tmp_path / "a")).series
    volume = archive.read(pickle.loads(pickle.dumps(series)))
    torch.testing.assert_close(volume.magnitude, archive.read(series).magnitude, rtol=0, atol=0)


# --- folders ----------------------------------------------------------------------------------


def test_each_real_file_counts_once_whatever_the_links_say(tmp_path):
    folder = samples.write_series(tmp_path / "in" / "a")
    (folder / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "again").symlink_to(folder / "IM0")
    (tmp_path / "elsewhere").mkdir()
    samples.write_series(tmp_path / "elsewhere" / "b", 3, SeriesInstanceUID="1.7")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    found = find(tmp_path / "in", folder, folder / "IM0")
    assert sorted(series.n_slices for series in found.series) == [3, 4]
    assert all(not series.notes for series in found.series)
    assert reasons(found) == ["no file in this folder"]  # the folder was read as part of the first


def test_files_and_folders_are_named_by_their_numbers_or_their_paths(tmp_path):
    folder = tmp_path / "scans"
    samples.write_series(folder / "b", 3)
    (folder / "a.txt").write_text("text")
    found = find(folder / "a.txt", folder)
    assert [series.where for series in found.series] == ["input 2, files 1 to 3"]
    assert [aside.where for aside in found.set_aside] == ["input 1"]
    shown = find(folder, show_names=True)
    assert shown.series[0].where == f"{folder}/b/IM0 and 2 more"
    assert shown.set_aside[0].where == f"{folder}/a.txt"


def test_natural_order_and_hidden_files(tmp_path):
    for number in (1, 2, 10):
        values = np.full((4, 3), number, np.uint8)
        samples.write_png(tmp_path / f"slice{number}.png", values)
    (tmp_path / ".DS_Store").write_text("hidden")
    found = find(tmp_path, spacing_mm=(1, 1))
    assert not found.set_aside
    assert archive.read(found.series[0]).magnitude[:, 0, 0].tolist() == [1, 2, 10]


def test_what_is_not_there_is_set_aside_and_the_rest_goes_on(tmp_path):
    folder = samples.write_series(tmp_path / "a", 2)
    found = find(tmp_path / "absent", folder)
    assert len(found.series) == 1
    assert found.set_aside[0].where == "input 1"
    assert "no such file or folder" in found.set_aside[0].reason


@pytest.mark.parametrize(
    ("inputs", "keywords"),
    [("scans", {}), ([], {}), (["x"], {"spacing_mm": (0, 1)}), (["x"], {"slice_mm": -1})],
)
def test_questions_that_make_no_sense_are_refused(inputs, keywords):
    with pytest.raises(ValueError, match="expected"):
        archive.find(inputs, salt=SALT, **keywords)


def test_a_file_that_went_away_is_told_when_it_is_read(tmp_path):
    (series,) = find(samples.write_series(tmp_path / "a", 2)).series
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(ValueError, match=r"^input 1, files 1 to 2: the file is no longer there\.$"):
        archive.read(series)


# --- other formats ----------------------------------------------------------------------------


def test_volumes_of_a_nifti_file_are_series_and_of_many_the_first(tmp_path):
    values = samples.head_values((7, 5, 4))
    four = np.stack([values, 2 * values, 3 * values], -1)
    samples.write_nifti(tmp_path / "echoes.nii.gz", four)
    samples.write_nifti(tmp_path / "dynamic.nii", np.stack([values] * 9, -1))
    found = find(tmp_path)
    assert len(found.series) == 4
    largest = sorted(archive.read(series).magnitude.max().item() for series in found.series)
    assert largest == [140, 140, 280, 420]
    assert sum("more than 8 volumes" in " ".join(series.notes) for series in found.series) == 1


def test_bids_tells_person_contrast_and_numbers(tmp_path):
    for sub in ("01", "02"):
        for name in ("T1w", "acq-T1prep_T2w", "FLAIR"):
            path = tmp_path / f"sub-{sub}" / "ses-1" / "anat" / f"sub-{sub}_ses-1_{name}.nii.gz"
            samples.write_nifti(path, samples.head_values())
            numbers = '{"EchoTime": 0.09, "MagneticFieldStrength": 1.5, "PartialFourier": 0.75}'
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text(numbers)
    found = find(tmp_path)
    assert not found.set_aside
    assert (
        sorted(series.contrast for series in found.series)
        == ["AXFLAIR"] * 2 + ["AXT1"] * 2 + ["AXT2"] * 2
    )
    assert len({series.patient_id for series in found.series}) == 2
    volume = archive.read(found.series[0])
    assert (volume.field_t, volume.anatomy) == (1.5, "head")
    assert volume.facts["te_ms"] == pytest.approx(90)
    assert volume.facts["partial_fourier"] is True


@pytest.mark.parametrize(
    ("name", "beside", "reason"),
    [
        ("sub-1_T1map.nii.gz", "", "a map of relaxation by its name or its sidecar; expected"),
        ("sub-1_T2w.nii", '{"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}', "ADC"),
        ("sub-1_T2w.nii", '{"SeriesDescription": "g-factor map"}', "a g-factor map"),
        ("sub-1_T2w.nii", '{"SeriesDescription": 5, "ImageType": "ADC"}', ""),
    ],
)
def test_maps_are_told_by_their_names_and_sidecars(tmp_path, name, beside, reason):
    samples.write_nifti(tmp_path / name, samples.head_values())
    if beside:
        (tmp_path / f"{name.partition('.')[0]}.json").write_text(beside)
    found = find(tmp_path)
    assert len(found.series) == (reason == "")
    assert reason in " ".join(reasons(found))


def test_people_of_other_files_are_told_by_what_is_no_contrast_in_their_names(tmp_path):
    for name in ("ann_T1.nii", "ann_flair.nii", "IXI002-0828-T2.nii", "IXI003-0829-T2.nii"):
        samples.write_nifti(tmp_path / "flat" / name, samples.head_values())
    for name in ("t1.nii", "t2.nii", "gre_mag_te10.nii"):
        samples.write_nifti(tmp_path / "bob" / name, samples.head_values())
    who = {series.files[0].split("/")[-1]: series.patient_id for series in find(tmp_path).series}
    assert who["ann_T1.nii"] == who["ann_flair.nii"]
    assert who["t1.nii"] == who["t2.nii"] == who["gre_mag_te10.nii"]
    assert len(set(who.values())) == 4


def test_label_maps_beside_an_image_go_with_it(tmp_path):
    values, labels = samples.head_values(), (samples.head_values() % 3).astype(np.uint8)
    for name in ("brats_t1", "brats_flair"):
        samples.write_nifti(tmp_path / f"{name}.nii.gz", values)
    samples.write_nifti(tmp_path / "brats_seg.nii.gz", labels)
    samples.write_nifti(tmp_path / "brats_t1_mask.nii", labels)
    samples.write_nifti(tmp_path / "brats_flair_labels.nii", labels[:-1])
    samples.write_nifti(tmp_path / "nobody_dseg.nii", labels)
    found = find(tmp_path)
    assert reasons(found) == ["a label map or mask without its image in the same folder"]
    volumes = {series.contrast: archive.read(series) for series in found.series}
    assert set(volumes["AXT1"].labels) == {"seg", "mask"}
    assert set(volumes["AXFLAIR"].labels) == {"seg"}
    assert "its labels lies on another grid and was left out" in volumes["AXFLAIR"].notes
    for volume in volumes.values():  # voxel by voxel with the image
        torch.testing.assert_close(
            volume.labels["seg"].float(), volume.magnitude % 3, rtol=0, atol=0
        )
        assert volume.labels["seg"].dtype == torch.int32


def test_stacks_need_a_spacing(tmp_path):
    samples.write_png(tmp_path / "png" / "1.png", samples.head_values((4, 3)).astype(np.uint8))
    np.save(tmp_path / "x.npy", samples.head_values((4, 3)))
    found = find(tmp_path)
    assert not found.series
    assert all("--spacing Y X" in reason for reason in reasons(found))
    found = find(tmp_path, spacing_mm=(0.5, 0.7), slice_mm=5)
    assert [series.kind for series in found.series] == ["stack", "stack"]
    for series in found.series:
        volume = archive.read(series)
        assert (volume.spacing_mm, volume.step_mm) == ((0.5, 0.7), 5)
        assert volume.magnitude.tolist() == [samples.head_values((4, 3)).tolist()]


def test_the_measured_archive_is_sorted(real):
    found = find(*(real / name for name in ("dicom_t1_axial", "multicoil", "nifti", "singlecoil")))
    kinds = sorted((series.kind, series.contrast, series.n_slices) for series in found.series)
    assert kinds == [
        ("dicom", "AXT1", 10), ("fastmri", "AX", 1), ("fastmri", "AXT1", 1),
        ("fastmri", "AXT2", 1), ("fastmri", "MPRAGE", 1), ("fastmri", "SAGT1", 1),
        ("nifti", "AXGRE", 64), ("nifti", "AXGRE", 64), ("nifti", "AXT2", 60),
    ]  # fmt: skip
    assert [aside.n_files for aside in found.set_aside] == [1]  # a phase difference
    assert "phase" in found.set_aside[0].reason


def test_series_of_one_file_are_told_apart(tmp_path):
    values = np.random.default_rng(1).integers(1, 99, (12, 11, 4, 3)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 4.0, 1.0])), tmp_path / "t1.nii")
    found = find(tmp_path)
    names = sorted(series.where for series in found.series)
    assert names == [f"input 1, file 1, volume {n}" for n in (1, 2, 3)]
