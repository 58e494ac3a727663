"""From a folder of images to raw data, looked at with other people's loaders."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import threading

import fastmri.data
import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from fastmri.data.subsample import EquiSpacedMaskFunc
from fastmri.data.transforms import VarNetDataTransform

from synthlib import archive, arrays, bank, conversion, formats, runs
from synthlib.conversion import one
from synthlib.formats import dicom, mrd, nifti
from synthlib.formats.fastmri_writer import FastmriWriter
from synthlib.formats.nifti import images
from synthlib.phase import generator, pix2pix
from synthlib.recon import stock


def raw(result):
    return sorted(job.target for job in result.jobs)


def test_every_series_becomes_a_file_that_stock_fastmri_opens(make, place, head):
    result = make()
    assert result.count(conversion.MADE) == 2
    folder = place / "out" / conversion.RAW
    mask = EquiSpacedMaskFunc(center_fractions=[0.08], accelerations=[4])
    dataset = fastmri.data.SliceDataset(
        folder, challenge="multicoil", transform=VarNetDataTransform(mask_func=mask)
    )
    assert len(dataset) == 6
    sample = dataset[1]
    assert tuple(sample.masked_kspace.shape) == (5, 77, 66, 2)
    assert tuple(sample.target.shape) == (77, 66)
    assert {path.name for path in folder.iterdir()} == {path.name for path in raw(result)}
    # 1 - SSIM of stock training goes down
    losses = stock.train_some_steps(folder, n_steps=8, seed=1)
    assert len(losses) == 8 and np.isfinite(losses).all()


def test_without_noise_the_rss_of_the_raw_data_is_the_image(make, head):
    result = make(noise="none")
    volume = archive.read(result.jobs[0].series)
    kspace = formats.read_raw(raw(result)[0]).kspace
    found = torch.stack([arrays.rss(arrays.ifft2c(kspace[i])) for i in range(3)])
    torch.testing.assert_close(found, volume.magnitude, rtol=1e-4, atol=1e-3)


def test_with_noise_it_is_the_image_within_its_noise_inside_the_head(make):
    result = make()
    for reviewed in conversion.review(result):
        apart = (reviewed.received - reviewed.magnitude)[reviewed.head] / reviewed.noise
        assert float(apart.abs().quantile(0.9)) < 1
        assert reviewed.snr_out == pytest.approx(reviewed.snr, rel=0.1)


def test_a_chosen_snr_is_reached_and_a_higher_one_is_told(make):
    low = next(iter(conversion.review(make("low", noise=8.0))))
    assert low.snr_out == pytest.approx(8, rel=0.15)
    high = make("high", noise=500.0)
    assert any("SNR 500 was asked for" in note for note in high.outcomes[0].notes)


def test_the_file_says_what_it_is_and_what_it_was_made_of(make):
    result = make()
    with h5py.File(raw(result)[0]) as file:
        assert bool(file.attrs["SYNTHETIC"])
        record = json.loads(file.attrs["record"])
        assert file.attrs["acquisition"] == "AXT2"
        assert file.attrs["max"] == pytest.approx(float(file["reconstruction_rss"][()].max()))
    assert record["SYNTHETIC"].startswith("phase, coils and noise were written by synthlib")
    assert record["parameters"]["synthesize"]["generator"] == "sinusoidal"
    assert record["parameters"]["synthesize"]["seed"] == 2023
    assert record["donor"]["name"].startswith("simulated-05coil")
    assert len(record["inputs"]["pixels_sha256"]) == 64
    assert record["audit"] and record["packages"]["torch"] and record["git_commit"]
    assert record["noise"]["std_out"] == pytest.approx(record["noise"]["std"])


def test_the_noise_scan_has_the_covariance_of_the_air(make):
    result = make("out", format="mrd", oversampling=2)
    noise = mrd.read_noise(raw(result)[0]).movedim(1, 0).flatten(1)
    with h5py.File(raw(make("fastmri", oversampling=2))[0]) as file:
        told = file["noise_covariance"][()]
    drawn = (noise @ noise.mH / noise.shape[1]).numpy()
    np.testing.assert_allclose(drawn, told, atol=0.05 * abs(told).max())
    kspace = mrd.read_kspace(raw(result)[0])
    beyond = arrays.ifft2c(kspace)[:, :, :30].movedim(1, 0).flatten(1)  # above the head
    air = (beyond @ beyond.mH / beyond.shape[1]).numpy()
    # the gain follows the slice of the donor, here by a few per cent
    np.testing.assert_allclose(air, told, atol=0.1 * abs(told).max())


def test_without_noise_there_is_no_noise_scan(make):
    assert mrd.read_noise(raw(make("mrd", format="mrd", noise="none"))[0]) is None
    with h5py.File(raw(make("fastmri", noise="none"))[0]) as file:
        assert "noise_covariance" not in file


def test_what_the_header_knows_of_place_and_scanner_comes_along(make, place, head):
    texts = {
        "PatientID": "one", "Manufacturer": "SIEMENS", "PixelBandwidth": 130,
        "ImagingFrequency": 123.258417, "DeviceSerialNumber": "4711",
        "InstitutionName": "Somewhere", "StudyDate": "20200102",
    }  # fmt: skip
    dicom.write_series(place / "s", dataclasses.replace(head, orientation="coronal"), texts)
    result = make(inputs=[place / "s"], format="mrd", oversampling=2)
    with ismrmrd.Dataset(raw(result)[0], "dataset", create_if_needed=False) as file:
        text = file.read_xml_header().decode()
        line = file.read_acquisition(file.number_of_acquisitions() - 1)
    document = ismrmrd.xsd.CreateFromDocument(text)
    assert document.acquisitionSystemInformation.systemVendor == "Siemens Healthineers"
    assert document.experimentalConditions.H1resonanceFrequency_Hz == 123_260_000
    # 154 samples in the time of one period of 130 Hz
    assert line.sample_time_us == pytest.approx(1e6 / 130 / 154)
    # rows run down from the first pixel's place, which is 0, columns to the left; slices by 10 mm
    assert tuple(line.read_dir) == (0, 0, -1) and tuple(line.phase_dir) == (1, 0, 0)
    assert sorted(map(abs, line.position)) == pytest.approx(sorted([32.5 * 3, 38 * 3, 0]), abs=1e-3)
    for word in ("4711", "Somewhere", "2020", "258417"):
        assert word.encode() not in raw(result)[0].read_bytes()


def test_same_seed_same_bytes_whatever_the_workers(make):
    files = [
        [h5py.File(path)["kspace"][()] for path in raw(make(out, **how))]
        for out, how in (("a", {}), ("b", {}), ("c", {"workers": 2}), ("d", {"seed": 7}))
    ]
    for one_file, other in zip(files[0], files[1], strict=True):
        assert np.array_equal(one_file, other)
    for one_file, other in zip(files[0], files[2], strict=True):
        np.testing.assert_allclose(one_file, other, rtol=1e-4, atol=1e-3)
    assert not np.allclose(files[0][0], files[3][0])


def test_oversampling_adds_rows_and_the_image_stays(make, head):
    result = make(oversampling=2, noise="none")
    volume = formats.read_raw(raw(result)[0])
    assert tuple(volume.kspace.shape) == (3, 5, 154, 66)
    assert volume.recon_shape == (77, 66)
    image = arrays.rss(volume.coil_images(1))
    expected = archive.read(result.jobs[0].series).magnitude[1]
    torch.testing.assert_close(image, expected, rtol=1e-3, atol=1e-2)
    # stock fastMRI's fully sampled reconstruction, cropped as it crops, is its target
    dataset = fastmri.data.SliceDataset(raw(result)[0].parent, challenge="multicoil")
    kspace, _, target, attributes, *_ = dataset[1]
    images = fastmri.complex_abs(fastmri.ifft2c(fastmri.data.transforms.to_tensor(kspace)))
    whole = fastmri.rss(images)
    theirs = fastmri.data.transforms.center_crop(whole, attributes["recon_size"][:2])
    torch.testing.assert_close(theirs, torch.from_numpy(target), rtol=1e-3, atol=1e-2)


def test_mrd_is_opened_by_the_ismrmrd_package(make):
    result = make(format="mrd", noise="none")
    image = archive.read(result.jobs[0].series).magnitude[2].numpy()
    file = ismrmrd.Dataset(str(raw(result)[0]), "dataset", create_if_needed=False)
    header = ismrmrd.xsd.CreateFromDocument(file.read_xml_header())
    assert header.encoding[0].encodedSpace.matrixSize.x == 77
    kspace = np.zeros((5, 77, 66), np.complex64)
    for number in range(file.number_of_acquisitions()):
        line = file.read_acquisition(number)
        if line.idx.slice == 2:
            kspace[:, :, line.idx.kspace_encode_step_1] = line.data
    file.close()
    shifted = np.fft.ifftshift(kspace, axes=(1, 2))
    images = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(1, 2))
    np.testing.assert_allclose(np.linalg.norm(images, axis=0), image, rtol=1e-3, atol=1e-2)


def test_cfl_is_opened_by_bart(make, tmp_path):
    if shutil.which("bart") is None:
        reason = "BART is needed (Debian: apt install bart), and there is none"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    result = make(format="cfl", noise="none")
    image = archive.read(result.jobs[0].series).magnitude
    base = str(raw(result)[0]).removesuffix(".hdr")
    for command in (f"fft -u -i 3 {base} {tmp_path}/i", f"rss 8 {tmp_path}/i {tmp_path}/r"):
        subprocess.run(["bart", *command.split()], check=True)
    values = np.fromfile(tmp_path / "r.cfl", np.complex64).reshape(3, 66, 77).swapaxes(1, 2)
    np.testing.assert_allclose(values.real, image.numpy(), rtol=1e-3, atol=1e-2)


def test_a_generator_writes_the_phase(make, place):
    architecture = generator.Architecture("scalar", ngf=4, depth=5)
    network = architecture.build()
    pix2pix.initialise(network)
    weights = place / "g.safetensors"
    record = {"parameters": {generator.PIXELS: [4.5, 4.5]}}
    generator.save(weights, network, architecture, record)
    result = make(generator=str(weights), noise="none")
    assert result.count(conversion.MADE) == 2
    record = json.loads(h5py.File(raw(result)[0]).attrs["record"])
    assert record["parameters"]["synthesize"]["generator"] == "a file of weights"
    assert record["phase"] == "written: gan"
    assert len(record["generator"]["weights_sha256"]) == 64
    reviewed = next(iter(conversion.review(result)))
    assert float(reviewed.phase.std()) > 0.01


def test_weights_that_are_no_weights_are_told_before_any_work(make, place):
    (place / "g.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"g\.safetensors is truncated or not safetensors"):
        make(generator=str(place / "g.safetensors"))
    assert not (place / "out" / conversion.RAW).exists()


# --- running again -------------------------------------------------------------------


def test_what_is_there_is_not_made_again(make):
    first = make()
    times = [path.stat().st_mtime_ns for path in raw(first)]
    second = make()
    assert second.count(conversion.THERE) == 2
    assert [path.stat().st_mtime_ns for path in raw(second)] == times
    assert second.outcomes[0].facts == first.outcomes[0].facts


def test_what_was_made_otherwise_is_replaced_by_force_only(make):
    first = make()
    before = raw(first)[0].read_bytes()
    report = first.report.read_bytes()
    with pytest.raises(ValueError, match=r"every series \(2\), made otherwise .* give --force"):
        make(seed=8)
    assert raw(first)[0].read_bytes() == before and first.report.read_bytes() == report
    raw(first)[1].unlink()
    again = make(seed=8)
    assert (again.count(conversion.ASIDE), again.count(conversion.MADE)) == (1, 1)
    assert "give --force to replace it" in again.outcomes[0].reason
    forced = make(seed=8, force=True)
    assert (forced.count(conversion.MADE), forced.count(conversion.THERE)) == (1, 1)
    assert raw(first)[0].read_bytes() != before


def test_a_run_that_was_stopped_goes_on(make, place, monkeypatch):
    first, real = threading.Lock(), one.convert

    def stops(*arguments):
        if not first.acquire(blocking=False):
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(one, "convert", stops)
        with pytest.raises(KeyboardInterrupt):
            make()
    assert len(list((place / "out" / conversion.RAW).glob("*.h5"))) == 1
    result = make()
    assert (result.count(conversion.THERE), result.count(conversion.MADE)) == (1, 1)


def test_pseudonyms_of_another_salt_are_refused(make, place):
    make()
    (place / "salt").write_bytes(b"another salt of some length")
    with pytest.raises(ValueError, match="patients have other pseudonyms"):
        make()


def test_pseudonyms_are_stable_and_follow_the_salt(make, place):
    first = make("a")
    assert len({outcome.patient_id for outcome in first.outcomes}) == 2
    assert {o.patient_id for o in make("b").outcomes} == {o.patient_id for o in first.outcomes}
    (place / "salt").write_bytes(b"another salt of some length")
    assert not {o.patient_id for o in make("c").outcomes} & {o.patient_id for o in first.outcomes}


def test_without_a_salt_file_one_is_kept_out_of_the_results(make, place, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    settings = conversion.Settings(generator="zero", n_coils=5)
    for _ in range(2):
        result = conversion.synthesize([place / "archive"], place / "out", settings)
    assert result.count(conversion.THERE) == 2
    salts = [path for path in (place / "state").rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in salts) == ["", ".csv"]  # and the list of its files
    assert all(path.stat().st_mode & 0o077 == 0 for path in salts)
    secret = min(salts, key=lambda path: path.suffix).read_bytes()
    assert len(secret) == 32
    for path in (place / "out").rglob("*"):
        assert path.is_dir() or secret not in path.read_bytes()


# --- what is wrong -------------------------------------------------------------------


def test_one_bad_series_stops_no_other(make, place):
    bad = next((place / "archive" / "one").iterdir())
    bad.write_bytes(bad.read_bytes()[:900])
    (place / "archive" / "notes.txt").write_text("hello")
    result = make()
    assert result.count(conversion.MADE) >= 1
    rows = result.table.read_text()
    assert "set aside" in rows and "of no image format" in rows


def test_strict_sets_findings_aside_and_repair_mends_them(make, place, head):
    big = arrays.resample(head.magnitude.to(torch.complex64), (154, 132)).abs()
    shutil.rmtree(place / "archive")
    volume = dataclasses.replace(
        head, magnitude=big, spacing_mm=(1.5, 1.5),
        facts={**head.facts, "acquisition_matrix": (77, 66)},
    )  # fmt: skip
    from synthlib.formats import dicom

    dicom.write_series(place / "archive", volume, {"PatientID": "x"})
    strict = make("strict", strict=True)
    assert strict.count(conversion.ASIDE) == 1
    assert "the audit found zero_filled" in strict.outcomes[0].reason
    mended = make("mended", repair=True)
    with h5py.File(raw(mended)[0]) as file:
        assert file["kspace"].shape == (3, 5, 77, 66)
        assert json.loads(file.attrs["record"])["audit"]
    plain = make("plain")
    assert h5py.File(raw(plain)[0])["kspace"].shape == (3, 5, 154, 132)


def test_labels_and_boxes_come_along(make, place, head):
    labels = (head.magnitude > head.magnitude.mean()).long()
    nifti.write(place / "n" / "scan.nii.gz", head.magnitude, (3.0, 3.0), 10.0)
    nifti.write(place / "n" / "scan_seg.nii.gz", labels, (3.0, 3.0), 10.0)
    boxes = place / "boxes.csv"
    boxes.write_text("file,slice,study_level,x,y,width,height,label\nscan,1,No,10,12,5,6,Lesion\n")
    result = make(inputs=[place / "n"], annotations=boxes, n_coils=5)
    assert result.count(conversion.MADE) == 1
    with h5py.File(raw(result)[0]) as file:
        (name,) = (name for name in file if name.startswith("labels_"))
        assert np.array_equal(file[name][()], labels.numpy())
        (box,) = json.loads(file["annotations"][()])
    assert box == {"slice": 1, "x": 10.0, "y": 12.0, "width": 5.0, "height": 6.0, "label": "Lesion"}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"generator": "measured"}, "is no generator: choose phase measured"),
        ({"generator": "nonsense"}, "generator 'nonsense' is unknown"),
        ({"generator": "gan"}, "generator 'gan' needs phase of other scans; expected one of flow"),
        ({"phase": "best"}, "phase .best. is unknown; choose one of auto, measured, written"),
        ({"format": "nifti", "noise": 5.0}, "noise 5.0 with format nifti"),
        ({"format": "dicom"}, "format 'dicom' is unknown; choose one of fastmri, mrd, cfl"),
        ({"noise": -3.0}, "noise -3.0; expected match, none, or an SNR above 0"),
        ({"noise": "loud"}, "noise 'loud'; expected match"),
        ({"n_coils": 1}, "n_coils is 1; expected 2 or more"),
        ({"pairing": "best"}, "pairing 'best' is unknown"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(make, how, message):
    with pytest.raises(ValueError, match=message):
        make(**how)


def test_a_bank_of_measured_heads_serves(make, place, real):
    found = bank.build_folder(real / "multicoil", place / "bank")
    assert found.made == 3 and not found.broken
    again = bank.build_folder(real / "multicoil", place / "bank")
    assert again.made == 0 and len(again.donors) == 3
    result = make(maps=str(place / "bank"), n_coils=8, noise="none")
    assert result.count(conversion.MADE) == 2
    names = {donor.name for donor in found.donors if donor.n_coils >= 8}
    assert {outcome.facts["donor"] for outcome in result.outcomes} <= names
    with pytest.raises(FileNotFoundError, match="holds no donor"):
        bank.open_bank(place / "archive", n_coils=4)


def test_the_report_shows_every_series_and_no_reason_is_lost(make, place):
    (place / "archive" / "x.zip").write_bytes(b"PK\x03\x04" + b"\0" * 40)
    result = make()
    page = result.report.read_text()
    assert page.count("data:image/png;base64,") == 2
    for outcome in result.outcomes:
        assert outcome.name in page
    assert "unpack it first" in page and "SYNTHETIC" in page
    table = result.table.read_text().splitlines()
    assert len(table) == 1 + 2 + 1


def test_a_full_disk_stops_the_run_and_leaves_nothing_half_written(make, place, monkeypatch):
    import errno

    def full(self, index, kspace, rss=None):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FastmriWriter, "put", full)
    with pytest.raises(OSError, match="the disk is full"):
        make()
    assert not list((place / "out").rglob("*.h5"))


def test_the_audit_of_clean_images_finds_nothing(place, capsys):
    looked = conversion.look([place / "archive"], out=place / "pictures")
    assert (looked.n_series, looked.broken, looked.found) == (2, 0, 0)
    assert "2 series, 0 with findings, 0 that cannot be read" in capsys.readouterr().out
    assert not (place / "pictures").exists()  # pictures are of findings


def test_paths_are_for_messages_only(make, place):
    result = make(show_names=True)
    assert any("archive" in path for path in result.paths.values())
    for path in (place / "out").rglob("*"):
        assert path.is_dir() or str(place).encode() not in path.read_bytes()


def test_another_donor_in_the_bank_makes_the_raw_data_anew(make, place, real):
    found = bank.build_folder(real / "multicoil", place / "bank")
    make(maps=str(place / "bank"), n_coils=4)
    found.donors[0].path.unlink()
    with pytest.raises(ValueError, match=r"made otherwise .* give --force"):
        make(maps=str(place / "bank"), n_coils=4)


def test_a_run_killed_before_its_notes_knows_its_files(make, place):
    make()
    shutil.rmtree(place / "out" / ".synthlib")
    (place / "out" / conversion.RAW / ".part-4194303-x.h5").write_bytes(b"half")
    assert make().count(conversion.THERE) == 2
    assert not list((place / "out" / conversion.RAW).glob(".part-*"))


def test_formats_keep_apart(make, place):
    make()
    make(format="mrd")
    assert make().count(conversion.THERE) == 2


def test_noise_can_be_added_to_images_that_have_none(make, place, head):
    shutil.rmtree(place / "archive")
    flat = torch.zeros_like(head.magnitude)
    flat[:, 20:60, 15:50] = 100.0
    nifti.write(place / "archive" / "flat.nii.gz", flat, (3.0, 3.0), 10.0)
    result = make(noise=10.0)
    kspace = formats.read_raw(raw(result)[0]).kspace
    found = arrays.rss(arrays.ifft2c(kspace[1]))[25:55, 20:45]
    assert float(found.std()) == pytest.approx(10, rel=0.2)


def test_boxes_that_belong_to_no_series_are_told(make, place):
    boxes = place / "boxes.csv"
    boxes.write_text("file,slice,x,y,width,height,label\nnosuch.nii.gz,1,1,1,1,1,Lesion\n")
    lines = list(conversion.summary(make(annotations=boxes)))
    assert lines[-1] == "rows of the annotations whose file is no series: 1"


def test_fastmris_layout_tells_place_and_vendor_beside_the_images(make, place, head):
    texts = {"PatientID": "one", "Manufacturer": "Philips Medical Systems"}
    dicom.write_series(place / "s", dataclasses.replace(head, orientation="sagittal"), texts)
    with h5py.File(raw(make(inputs=[place / "s"]))[0]) as file:
        assert file.attrs["vendor"] == "Philips Healthcare"
        np.testing.assert_array_equal(file["row_direction"], [0, 1, 0])
        np.testing.assert_array_equal(file["column_direction"], [0, 0, -1])
        # pixels of 3 mm, 77 x 66, whose first lies at 0; slices of 10 mm to the right
        expected = [[-10.0 * z, 32.5 * 3, -38 * 3] for z in range(3)]
        np.testing.assert_allclose(file["slice_centres_mm"], expected, atol=1e-4)
        assert not any(isinstance(file[name], h5py.Group) for name in file)


def test_more_coils_than_the_bank_has_are_told_before_any_image_is_read(make, place, real):
    bank.build_folder(real / "multicoil", place / "bank")
    with pytest.raises(ValueError, match=r"no donor of the bank has 40 coils, the most is 16"):
        make(maps=str(place / "bank"), n_coils=40)
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("format", "breaks_at"),
    [(name, "the note") for name in ("nifti", "nifti-complex", "cfl", "mrd", "fastmri")]
    # the others' one file gets its name when it is whole
    + [(name, "the image") for name in ("nifti", "nifti-complex")],
)
def test_a_replacement_that_breaks_off_does_not_pass_for_the_first_result(
    make, monkeypatch, format, breaks_at
):
    """Zero phase, then sinusoidal by force until the disk is full, then zero again."""
    make(generator="zero", format=format)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if breaks_at == "the note":
            patch.setattr(runs, "write_json", full)
        else:
            real = images._save
            last = "_part-mag.nii.gz" if format == "nifti" else "_complex.nii.gz"
            patch.setattr(
                images, "_save", lambda path, *a: (full if last in path.name else real)(path, *a)
            )
        with pytest.raises(OSError, match="No space"):
            make(generator="sinusoidal", format=format, force=True)
    try:
        again = make(generator="zero", format=format)
    except ValueError as error:  # both series
        assert "give --force to replace them" in str(error)
    else:
        assert again.outcomes[0].status in (conversion.ASIDE, conversion.MADE)
