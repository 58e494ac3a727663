"""Files of fastMRI itself run from chin to nose: banks, generators and boxes must know."""

from __future__ import annotations

import dataclasses
import json

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

from synthlib import archive, arrays, bank, conversion, formats, records, scanner, synthesis
from synthlib.conversion import one
from synthlib.formats import dicom
from synthlib.phase import generator, pix2pix

NYU = "file_brain_AXT2_200_2000001"


def images(path, magnitude):
    """A file of magnitudes as fastMRI has them."""
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file["reconstruction_rss"] = magnitude.numpy()
        file.attrs["acquisition"], file.attrs["patient_id"] = "AXT2", "x"
    return path


@pytest.mark.parametrize(
    ("name", "turned"),
    [
        (NYU, True),
        ("file1000001", True),
        ("file_prostate_AXT2_001", False),
        ("head_axial_t1_8coil", False),
        ("p-0cc34d6722_AXT2_9c04e1", False),
    ],
)
def test_they_are_known_by_their_names(name, turned):
    assert records.stored_upside_down(name, {}) == turned
    assert records.stored_upside_down(name, {"upside_down": True})
    assert not records.stored_upside_down(name, {"upside_down": False})  # somebody turned them


@pytest.fixture(scope="module")
def one_donor(tmp_path_factory):
    """Banks of one head, its raw data stored both ways."""
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(5,), contrasts=("AXT2",), positions_mm=(-10.0, 0.0, 10.0),
        matrix=(77, 66), fov_mm=(231.0, 198.0), oversampling=1, snr=80.0,
    )  # fmt: skip
    volume = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0].volume
    coil_images = torch.stack([volume.coil_images(index) for index in range(3)])
    found = []
    for name, stored in (("upright", coil_images), (NYU, coil_images.flip(2))):
        place = tmp_path_factory.mktemp("raw")
        formats.write_raw(
            place / f"{name}.h5", arrays.fft2c(stored), contrast="AXT2", patient_id="x",
            recon_shape=(77, 66), spacing_mm=(3.0, 3.0),
        )  # fmt: skip
        bank.build_folder(place, place / "bank")
        found.append(place / "bank")
    return found


def test_a_donor_is_upright_however_its_raw_data_were_stored(one_donor):
    upright, turned = (bank.open_bank(place, n_coils=5).donors[0].read(5) for place in one_donor)
    inside = torch.linspace(-2, 2, bank.POINTS).abs() < 0.6
    few = [c.maps[1][:, inside][:, :, inside] for c in (upright, turned)]
    alike = (few[0].conj() * few[1]).sum(0).abs()  # of unit norm, free up to one phase
    other = (few[0].conj() * few[1].flip(1)).sum(0).abs()
    assert float(alike.min()) > 0.99 and float(other.min()) < 0.9


def test_images_that_are_upside_down_are_received_so(make, place, head, one_donor):
    plain = make("a", inputs=[images(place / "u" / "scan.h5", head.magnitude)],
                 maps=str(one_donor[0]), noise="none", generator="zero")  # fmt: skip
    turned = make("b", inputs=[images(place / "d" / f"{NYU}.h5", head.magnitude.flip(1))],
                  maps=str(one_donor[0]), noise="none", generator="zero")  # fmt: skip
    assert archive.read(turned.jobs[0].series).upside_down
    found = []
    for result in (plain, turned):
        raw = formats.read_raw(result.jobs[0].target)
        found.append(torch.stack([raw.coil_images(index) for index in range(3)]))
    assert formats.read_raw(turned.jobs[0].target).upside_down  # what was made of them knows it
    top = float(found[0].abs().max())
    torch.testing.assert_close(found[1].flip(2), found[0], rtol=0, atol=0.05 * top)  # outlines
    assert float((found[1] - found[0]).abs().max()) > 0.1 * top


def test_a_generator_sees_the_side_that_it_knows():
    torch.manual_seed(3)
    architecture = generator.Architecture("scalar", ngf=4, depth=5)
    network = architecture.build()
    pix2pix.initialise(network)
    magnitude = torch.rand(45, 38)
    plain, turned = (
        generator.PhaseGenerator(
            network, architecture, {"parameters": {generator.UPSIDE_DOWN: side}}
        )
        for side in (False, True)
    )
    how = {"spacing_mm": (1.0, 1.0), "seed": 4, "name": "x"}
    straight = plain.at_pixels(magnitude, **how)
    assert torch.equal(turned.at_pixels(magnitude, **how, upside_down=True), straight)
    twice = turned.at_pixels(magnitude.flip(0), **how).flip(0)
    assert torch.equal(twice, straight) and not torch.equal(twice, twice.flip(0))
    assert torch.equal(
        plain.at_pixels(magnitude.flip(0), **how, upside_down=True).flip(0), straight
    )


def test_boxes_of_fastmri_plus_are_turned_with_the_images(make, place, head):
    boxes = place / "brain.csv"
    boxes.write_text(
        f"file,slice,study_level,x,y,width,height,label\n{NYU},1,No,10,12,5,6,Lesion\n"
    )
    source = images(place / "d" / f"{NYU}.h5", head.magnitude.flip(1))
    result = make(inputs=[source], annotations=boxes)
    with h5py.File(result.jobs[0].target) as file:
        (box,) = json.loads(file["annotations"][()])
        kept = file["reconstruction_rss"].shape
    # drawn on img[:, ::-1, :]; rows 12 to 17 from the top are 59 to 64 of the 77 that are stored
    assert kept == (3, 77, 66) and (box["x"], box["y"]) == (10, 77 - 12 - 6)
    boxes.write_text(f"file,slice,x,y,width,height,label\n{NYU},1,10,12,5,6,Lesion\n")
    result = make("own", inputs=[source], annotations=boxes)
    with h5py.File(result.jobs[0].target) as file:
        assert json.loads(file["annotations"][()])[0]["y"] == 12


def test_mrd_tells_the_direction_of_the_rows(make, place, head):
    source = images(place / "d" / f"{NYU}.h5", head.magnitude.flip(1))
    result = make(inputs=[source], format="mrd")
    file = ismrmrd.Dataset(str(result.jobs[0].target), "dataset", create_if_needed=False)
    np.testing.assert_array_equal(tuple(file.read_acquisition(0).read_dir), (0, -1, 0))
    file.close()
    assert result.count(conversion.MADE) == 1


def test_a_generators_phase_is_turned_with_the_images_from_file_to_file(
    make, place, head, one_donor, monkeypatch
):
    """Weights that know upright heads; the raw data, and their review, of both kinds of file."""
    monkeypatch.setattr(one, "pixels_hash", lambda volume: "the same draws of dropout")
    architecture = generator.Architecture("scalar", ngf=4, depth=5)
    network = architecture.build()
    pix2pix.initialise(network)
    weights = place / "g.safetensors"
    generator.save(weights, network, architecture, {"parameters": {generator.UPSIDE_DOWN: False}})
    how = {"maps": str(one_donor[0]), "noise": "none", "generator": str(weights)}
    plain = make("a", inputs=[images(place / "u" / "scan.h5", head.magnitude)], **how)
    turned = make("b", inputs=[images(place / "d" / f"{NYU}.h5", head.magnitude.flip(1))], **how)
    (first,), (second,) = conversion.review(plain), conversion.review(turned)
    assert torch.equal(second.phase.flip(0), first.phase)
    assert not torch.equal(second.phase, first.phase)
    found = [formats.read_raw(result.jobs[0].target).coil_images(1) for result in (plain, turned)]
    found[1] = found[1].flip(1)
    assert float((found[1] - found[0]).abs().max()) < 0.05 * float(found[0].abs().max())


def test_what_notebook_05_makes_of_them_knows_it_too(study, tmp_path):
    volume = study["test"][0]
    for name, turned in (("file1000001", True), (volume.raw.name, False)):
        renamed = dataclasses.replace(volume, raw=dataclasses.replace(volume.raw, name=name))
        path = tmp_path / f"synthetic_{turned}.h5"
        phases = torch.zeros(volume.n_slices, *volume.raw.image_shape)
        synthesis.write_volume(path, renamed, phases, record={})
        assert formats.read_raw(path).upside_down == turned


def test_views_of_dicom_become_directions_of_mrd(make, place, head):
    volume = dataclasses.replace(head, orientation="coronal")
    dicom.write_series(place / "coronal", volume, {"PatientID": "x"})
    result = make(inputs=[place / "coronal"], format="mrd")
    assert result.jobs[0].series.contrast.startswith("COR")
    file = ismrmrd.Dataset(str(result.jobs[0].target), "dataset", create_if_needed=False)
    line = file.read_acquisition(0)
    assert tuple(line.slice_dir) == (0, 1, 0) and tuple(line.read_dir) == (0, 0, -1)
    file.close()
