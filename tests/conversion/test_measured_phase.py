"""Phase that was measured with the magnitudes comes out of the raw data as it went in."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import h5py
import nibabel
import numpy as np
import phase_archives
import pytest
import torch
from torch import Tensor

from synthlib import archive, arrays, audit, bank, conversion, formats, runs
from synthlib.records import ImageVolume

SALT = b"0123456789abcdef"


@pytest.fixture(scope="module")
def phase(head: ImageVolume) -> Tensor:
    """Smooth and wrapped, another slope along each axis and in each slice, noise in air."""
    z, y, x = (torch.linspace(-1, 1, n) for n in head.magnitude.shape)
    smooth = 2.5 + z[:, None, None] + 4 * y[:, None] * (1 + 0.3 * x) - 2.2 * x
    noise = 2 * math.pi * torch.rand(head.magnitude.shape, generator=runs.rng(3, "phase"))
    return arrays.wrap(torch.where(signal(head.magnitude), smooth, noise))


def signal(magnitude: Tensor) -> Tensor:
    return magnitude > 0.1 * magnitude.max()


def apart(phase: Tensor, other: Tensor) -> Tensor:
    """Absolute difference on the circle."""
    return torch.polar(torch.ones_like(phase), phase - other).angle().abs()


def combined(job, index: int) -> Tensor:
    """The complex image (y, x) of one slice of the raw data, by the maps it was received with."""
    raw = formats.read_raw(job.target)
    record = json.loads(str(raw.attributes["record"]))
    volume = archive.read(job.series)
    outline = bank.outline(volume.magnitude)
    field_t = 1.5 if abs(volume.field_t - 1.5) < 0.5 else 3.0
    opened = bank.open_bank(
        "simulated", n_coils=raw.n_coils, orientation=volume.orientation, field_t=field_t
    )
    donor = next(one for one in opened.donors if one.name == record["donor"]["name"])
    few = donor.read(raw.n_coils).maps[record["donor"]["slices"][index]]
    maps = bank.maps_at(few, outline, index, tuple(volume.magnitude.shape[1:]))
    return (maps.conj() * raw.coil_images(index)).sum(0)


def test_every_kind_of_archive_gives_its_phase_back(place, make, head, phase):
    kinds = phase_archives.write_all(place / "kinds", head, phase)
    result = make(inputs=[place / "kinds"], noise="none", oversampling=2)
    assert not result.set_aside
    found = {kind: [] for kind in kinds}
    for job, outcome in zip(result.jobs, result.outcomes, strict=True):
        kind = next(kind for kind in kinds if f"/kinds/{kind}/" in job.series.files[0])
        found[kind].append(outcome.facts.get("phase"))
        volume = archive.read(job.series)
        inside = signal(head.magnitude)
        assert float(apart(volume.phase, phase)[inside].max()) < 2.5e-3, kind  # as it was rounded
        for index in range(3):
            error = apart(combined(job, index).angle(), volume.phase[index])
            assert float(error[inside[index]].max()) < 1e-3, kind
    assert found == {kind: ["measured"] for kind in kinds}


def test_the_report_and_every_file_say_whose_phase_it_is(place, make, head, phase):
    phase_archives.write_dicom_phase(
        place / "archive" / "three", head,
        {"phase": phase_archives.whole((phase / math.pi * 4096 + 4096) / 2).clip(0, 4095)},
        describe=phase_archives.siemens,
    )  # fmt: skip
    result = make()
    sources = {outcome.name: outcome.facts["phase"] for outcome in result.outcomes}
    assert sorted(sources.values()) == ["measured", "written: sinusoidal", "written: sinusoidal"]
    assert "Phase was measured in 1 of 3 series" in result.report.read_text()
    for job in result.jobs:
        with h5py.File(job.target) as file:
            assert file.attrs["phase_source"] == sources[job.series.name]
            assert json.loads(file.attrs["record"])["phase"] == sources[job.series.name]
    only = make("only", phase="measured")
    assert (only.count(conversion.MADE), only.count(conversion.ASIDE)) == (1, 2)
    assert "no measured phase that could be used" in only.outcomes[-1].reason + str(only.outcomes)
    written = make("written", phase="written")
    assert {outcome.facts["phase"] for outcome in written.outcomes} == {"written: sinusoidal"}
    with pytest.raises(ValueError, match=r"made otherwise .* give --force"):
        make(phase="written")  # another choice is another result
    assert make().count(conversion.THERE) == 3


def test_measured_phase_goes_to_workers_and_the_audit_may_refuse_it(place, make, head, phase):
    folder = place / "four"
    phase_archives.write_nifti(folder / "a_T2.nii", torch.polar(head.magnitude, phase))
    alone, spread = (make(out, inputs=[folder], workers=n) for out, n in (("a", 1), ("b", 2)))
    kspaces = [h5py.File(run.jobs[0].target)["kspace"][()] for run in (alone, spread)]
    np.testing.assert_allclose(kspaces[0], kspaces[1], rtol=1e-4, atol=1e-3)
    masked = torch.where(signal(head.magnitude), head.magnitude, 0.0)
    phase_archives.write_nifti(place / "five" / "b_T2.nii", torch.polar(masked, phase))
    (outcome,) = make("c", inputs=[place / "five"], strict=True).outcomes
    assert "(--strict)" in outcome.reason


def test_phase_of_an_unknown_unit_is_written_instead_and_the_note_tells_the_range(
    place, make, head
):
    folder = place / "unit"
    phase_archives.write_nifti(folder / "a.nii", head.magnitude)
    half = torch.linspace(0, 1, head.magnitude.numel()).reshape(head.magnitude.shape)
    phase_archives.write_nifti(folder / "a_ph.nii", half)
    (outcome,) = make(inputs=[folder]).outcomes
    assert outcome.facts["phase"] == "written: sinusoidal"
    (note,) = [note for note in outcome.notes if "measured phase was not used" in note]
    assert "phase from 0 to 1 without a unit; expected" in note and "-pi to pi" in note


@pytest.mark.parametrize("form", ["nifti", "nifti-complex"])
def test_images_come_out_as_nifti_that_is_no_input(place, make, head, phase, form):
    folder = place / "one"
    phase_archives.write_nifti(folder / "a_T2.nii", torch.polar(head.magnitude, phase))
    result = make(inputs=[folder], format=form)
    (outcome,), (job,) = result.outcomes, result.jobs
    assert (outcome.status, outcome.facts["phase"]) == (conversion.MADE, "measured")
    files = sorted(job.target.parent.glob("*.nii.gz"))
    assert len(files) == (2 if form == "nifti" else 1)
    image = nibabel.load(job.target)
    values = image.get_fdata(dtype=np.complex64 if form == "nifti-complex" else np.float32)
    source = nibabel.load(folder / "a_T2.nii")
    same = nibabel.as_closest_canonical(nibabel.Nifti1Image(values, image.affine))
    assert np.allclose(same.affine[:3, :3], source.affine[:3, :3])
    theirs = np.asarray(source.dataobj)
    if form == "nifti":
        np.testing.assert_allclose(np.asarray(same.dataobj), np.abs(theirs), rtol=1e-5)
        sidecar = json.loads(Path(str(files[1]).replace(".nii.gz", ".json")).read_text())
        assert sidecar["SYNTHETIC"] is True and sidecar["Units"] == "rad"
        assert sidecar["phase_source"] == "measured" and sidecar["record"]["audit"]
        turned = nibabel.as_closest_canonical(nibabel.load(files[1])).get_fdata()
        assert np.abs(np.angle(np.exp(1j * turned) * theirs.conj()))[theirs != 0].max() < 1e-5
    else:
        np.testing.assert_allclose(np.asarray(same.dataobj), theirs, rtol=1e-5, atol=1e-4)
    before = {path: path.read_bytes() for path in job.target.parent.iterdir()}
    assert make(inputs=[folder], format=form).count(conversion.THERE) == 1
    make(inputs=[folder], format=form, force=True)
    assert {path: path.read_bytes() for path in before} == before
    found = archive.find([job.target.parent], salt=SALT)
    assert not found.series
    assert {one.reason for one in found.set_aside} == {
        "SYNTHETIC, made by synthlib of magnitude images; keep the folder of results out of the "
        "inputs"
    }


def test_repair_crops_the_k_space_of_the_complex_image(head, phase):
    """An image that is band-limited keeps magnitude and phase; a magnitude by itself would not."""
    image = arrays.resample(torch.polar(head.magnitude, phase), (61, 66))
    filled = arrays.resample(image, (105, 66))
    volume = dataclasses.replace(head, magnitude=filled.abs(), phase=filled.angle())
    report = dataclasses.replace(audit.examine(volume), true_matrix=(61, 66))
    repaired = audit.repair(volume, report)
    assert repaired.magnitude.shape == repaired.phase.shape == (3, 61, 66)
    torch.testing.assert_close(repaired.magnitude, image.abs(), rtol=1e-3, atol=1e-3)
    inside = signal(image.abs())
    assert float(apart(repaired.phase, image.angle())[inside].max()) < 1e-3


def test_classic_and_enhanced_files_of_one_measured_scan_give_the_same_bits(make, real):
    kspaces, names = [], []
    for kind in ("classic", "enhanced"):
        result = make(kind, inputs=[real / "dicom_philips_gre" / kind], generator="zero")
        assert [outcome.facts["phase"] for outcome in result.outcomes] == ["measured"] * 2
        targets = [job.target for job in result.jobs]
        by_echo = {formats.read_raw(path).attributes["te_ms"]: path for path in targets}
        kspaces.append([h5py.File(by_echo[te])["kspace"][()] for te in sorted(by_echo)])
        names.append(sorted(by_echo))
    assert names[0] == names[1] == [2.3, 4.6]
    for classic, enhanced in zip(*kspaces, strict=True):
        assert np.array_equal(classic, enhanced)


def test_dicom_and_nifti_of_one_measured_scan_agree(real):
    """dcm2niix turned rows over; Philips' milliradians are whole numbers at zero: 0.41 mrad off."""
    volumes = [
        sorted(
            (archive.read(series) for series in archive.find([real / path], salt=SALT).series),
            key=lambda volume: volume.facts["te_ms"],
        )
        for path in ("dicom_philips_gre/classic", "gre_head")
    ]
    for of_dicom, of_nifti in zip(*volumes, strict=True):
        inside = signal(of_dicom.magnitude)
        assert float(apart(of_dicom.phase, of_nifti.phase)[inside].max()) < 1e-3
