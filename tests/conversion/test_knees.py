"""Coils of knees for knees: a bank of simulated limbs, and what happens without one."""

from __future__ import annotations

import dataclasses
import json

import h5py
import knees
import pytest
import torch

from synthlib import arrays, bank, cli, conversion, formats
from synthlib.formats import dicom, fastmri_hdf5
from synthlib.records import ImageVolume


@pytest.fixture(scope="module")
def knee_bank(tmp_path_factory):
    """Four donors, made of raw files by the command."""
    folder = tmp_path_factory.mktemp("knees")
    for number, size in enumerate((0.92, 0.98, 1.04, 1.1), 1):
        volume, _ = knees.knee(number, size)
        fastmri_hdf5.write_raw(
            folder / "raw" / f"knee{number}.h5",
            volume.kspace,
            contrast=volume.contrast,
            patient_id=volume.patient_id,
            recon_shape=volume.recon_shape,
            spacing_mm=volume.spacing_mm,
            thickness_mm=8.0,
        )
    assert cli.main(["bank", str(folder / "raw"), "--out", str(folder / "bank")]) == 0
    return folder / "bank"


@pytest.fixture
def patient(place):
    """A fifth knee as a DICOM series, and its true maps."""
    volume, maps = knees.knee(5, 1.01)
    images = ImageVolume(
        name="knee",
        patient_id="p",
        contrast="CORPD",
        magnitude=torch.stack([arrays.rss(volume.coil_images(index)) for index in range(5)]),
        spacing_mm=volume.spacing_mm,
        thickness_mm=8.0,
        step_mm=8.0,
        orientation="coronal",
    )

    def write(part: str):
        texts = {"PatientID": "knee", "BodyPartExamined": part}
        dicom.write_series(place / "series", images, texts)
        return place / "series"

    return write, maps


def raw(result):
    (path,) = [job.target for job in result.jobs]
    return path


def test_a_bank_of_knees_says_so(knee_bank):
    donors = bank.open_bank(knee_bank, n_coils=6).donors
    assert {(d.anatomy, d.orientation, d.n_slices) for d in donors} == {("knee", "coronal", 5)}
    assert len(donors) == 4


def test_a_knee_is_received_by_the_coils_of_another_knee(make, patient, knee_bank):
    write, true = patient
    result = make(inputs=[write("KNEE")], maps=str(knee_bank), n_coils=6, noise="none")
    assert result.count(conversion.MADE) == 1 and not result.outcomes[0].notes
    with h5py.File(raw(result)) as file:
        assert file.attrs["anatomy"] == "knee"
        assert json.loads(file.attrs["record"])["donor"]["name"].startswith("donor-")
    images = formats.read_raw(raw(result)).coil_images(2)
    image = arrays.rss(images)
    inside = knees.proton_density(knees.grid()[2], 1.01) > 0
    found = images.abs()[:, inside] / image[inside]
    # arrays are alike but for some millimetres: each loop sees most where its fellow does
    alike = (found * true[2].abs()[:, inside]).sum(0)
    assert float(alike.mean()) > 0.97
    shuffled = (found.roll(1, 0) * true[2].abs()[:, inside]).sum(0)
    assert float(shuffled.mean()) < 0.9


def test_without_a_bank_of_knees_a_knee_is_set_aside_and_it_is_told_what_to_do(make, patient):
    result = make(inputs=[patient[0]("KNEE")], n_coils=6)
    (outcome,) = result.outcomes
    assert outcome.status == conversion.ASIDE
    for words in ("anatomy knee", "there is head", "--anatomy knee", "--maps"):
        assert words in outcome.reason


def test_coils_around_a_head_are_taken_for_a_knee_only_if_asked_for_and_said(make, patient):
    result = make(inputs=[patient[0]("KNEE")], n_coils=6, pairing="random")
    (outcome,) = result.outcomes
    assert outcome.status == conversion.MADE
    assert any("knee, received by coils around a head" in note for note in outcome.notes)


def test_a_part_that_is_not_told_is_made_with_a_note(make, patient, knee_bank):
    result = make(inputs=[patient[0]("")], maps=str(knee_bank), n_coils=6)
    (outcome,) = result.outcomes
    assert outcome.status == conversion.MADE
    assert any("the part of the body is not told" in note for note in outcome.notes)


def test_a_head_is_not_received_by_coils_of_knees(make, head, place, knee_bank):
    result = make(inputs=[place / "archive"], maps=str(knee_bank), n_coils=6)
    reasons = {outcome.reason.split(".")[0] for outcome in result.outcomes}
    assert reasons == {"no donor of the bank has anatomy head, there is knee"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "knee"),
        ({"contrast": "CORPDFS_FBK"}, "knee"),
        ({"contrast": "AXT2"}, "head"),
        ({"contrast": "scan"}, "unknown"),
        ({"contrast": "scan", "attributes": {"anatomy": "knee"}}, "knee"),
        (
            {
                "contrast": "AXT2",
                "header": '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><studyInformation>'
                "<bodyPartExamined>KNEE</bodyPartExamined></studyInformation></ismrmrdHeader>",
            },
            "knee",
        ),
    ],
)
def test_raw_data_tell_their_part_of_the_body(changes, expected):
    volume = dataclasses.replace(knees.knee(1, 1.0)[0], **changes)
    assert bank.anatomy_of(volume) == expected


def test_an_anatomy_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="anatomy 'kneee' is unknown; choose one of head"):
        bank.Place(anatomy="kneee")
