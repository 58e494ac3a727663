"""What synthlib wrote is no input: results among the images, in a bank, in a study, in a test."""

import pytest

from synthlib import archive, bank, conversion, formats
from synthlib.study import measured_scans


@pytest.mark.parametrize("kind", ["fastmri", "mrd", "cfl"])
def test_results_among_the_inputs_are_not_converted_again(make, place, kind):
    out = place / "archive" / "results"
    first = make(inputs=[place / "archive"], out=out, format=kind)
    assert first.count(conversion.MADE) == 2
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if "raw" in path.parts}
    second = make(inputs=[place / "archive"], out=out, format=kind)
    assert len(second.jobs) == 2 and second.count(conversion.MADE) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    found = archive.find([place / "archive"], salt=b"0123456789abcdef")
    assert len(found.series) == 2
    reasons = " ".join(one.reason for one in found.set_aside)
    assert "SYNTHETIC, made by synthlib" in reasons and "NIfTI, but" not in reasons


def test_no_bank_study_or_test_takes_results_for_measured_scans(make, place, tmp_path):
    make()
    raw = place / "out" / conversion.RAW
    with pytest.raises(ValueError, match=r"2 of 2 files cannot be used(.|\n)*SYNTHETIC, made by"):
        formats.find_raw(raw)
    with pytest.raises(ValueError, match="2 files that are SYNTHETIC, made by synthlib"):
        measured_scans.open_scans(str(raw), tmp_path / "test")
    made = bank.build_folder(raw, tmp_path / "bank")
    assert made.made == 0 and len(made.broken) == 2
    assert all("SYNTHETIC, made by synthlib" in reason for reason in made.broken)
