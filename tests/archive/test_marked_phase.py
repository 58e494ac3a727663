"""The marker of test_privacy in phase images, complex files and their sidecars."""

from __future__ import annotations

import gzip
import json
import warnings

import nibabel
import numpy as np
import pytest
import samples
from test_privacy import MARK, NUMBER, marked_image

from synthlib import cli


def build(place):
    """A DICOM series with phase, a NIfTI pair, one with phase of no unit, a complex file."""
    for number in range(3):
        image = marked_image(number)
        samples.write_dicom(place / f"{MARK} dicom" / f"{MARK}_{number}", image)
        image.ImageType = ["ORIGINAL", "PRIMARY", "P", MARK]
        image.SOPInstanceUID += ".1"
        image.add_new((0x2005, 0x0010), "LO", MARK)
        image.add_new((0x2005, 0x140B), "LO", MARK)
        stored = np.arange(35).reshape(7, 5) * 120
        image.BitsStored, image.HighBit, image.PixelData = 12, 11, stored.astype("<u2").tobytes()
        samples.write_dicom(place / f"{MARK} dicom" / f"{MARK}_{number}_ph", image)
    values = samples.head_values().astype(np.float32)
    for name, phase in (("a", values / 70 * np.pi - np.pi), ("b", values), ("c", None)):
        kept = values if phase is not None else values * np.exp(1j)
        files = {f"{name}{MARK}": kept, f"{name}{MARK}_ph": phase}
        for stem, content in files.items():
            if content is None:
                continue
            image = nibabel.Nifti1Image(content.astype(np.result_type(content, np.float32)),
                                        np.diag([1, 1, 4, 1]))  # fmt: skip
            image.header["descrip"], image.header["intent_name"] = MARK, MARK
            nibabel.save(image, place / f"{stem}.nii")
            texts = {"SeriesDescription": MARK, "Units": MARK, "PatientName": MARK}
            (place / f"{stem}.json").write_text(json.dumps(texts))
    return place


@pytest.mark.parametrize("form", ["fastmri", "nifti"])
def test_no_marker_of_a_phase_image_comes_out(form, tmp_path, capfd, monkeypatch):
    source = tmp_path / MARK
    source.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom complains, rightly, of what we write
        build(source)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    out = tmp_path / "out"
    coils = [] if form == "nifti" else ["--coils", "5"]
    words = ["synthesize", str(source), "--out", str(out), "--generator", "zero", "--format", form]
    cli.main([*words, *coils])
    table = (out / "report.csv").read_text()
    assert table.count("made,") == 4 and table.count(",measured,") == 3
    assert "measured phase was not used: phase from 1 to 140 without a unit" in table
    for path in (path for path in out.rglob("*") if path.is_file()):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        for secret in (MARK, MARK.lower(), NUMBER):
            assert secret.encode() not in data, path.name
            assert secret not in str(path.relative_to(out))
    shown = capfd.readouterr()
    assert MARK not in shown.out + shown.err and NUMBER not in shown.out + shown.err
