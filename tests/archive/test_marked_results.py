"""The marker of test_privacy, from the command line to the last byte that it writes."""

from __future__ import annotations

import logging
import warnings

import pytest
from test_privacy import MARK, NUMBER, build

from synthlib import cli


@pytest.mark.parametrize("form", ["fastmri", "mrd", "cfl"])
def test_no_marker_is_in_any_byte_of_the_results_or_on_the_screen(
    form, tmp_path_factory, capfd, caplog, monkeypatch
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom complains, rightly, of what we write
        source = build(tmp_path_factory.mktemp("marked"))
    caplog.clear()
    capfd.readouterr()
    caplog.set_level(logging.DEBUG)
    place = tmp_path_factory.mktemp("results")
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    boxes = place / "boxes.csv"
    boxes.write_text(
        f"file,slice,x,y,width,height,label,{MARK}\n"
        f"{MARK}_T1.nii,1,0,1,2,3,{MARK} tumour,{MARK}\n{MARK}_T1.nii,0,,,,,Edema,\n"
        f"{MARK}.h5,1,0,1,2,3,{MARK},{MARK}\n"
    )
    common = ["synthesize", str(source), "--generator", "zero", "--coils", "5"]
    common += ["--annotations", str(boxes)]
    cli.main([*common, "--out", str(place / "out"), "--format", form, "--spacing", "1", "1"])
    cli.main(["audit", str(source), "--out", str(place / "pictures"), "--spacing", "1", "1"])
    private = list((place / "state" / "synthlib" / "salts").iterdir())
    assert MARK in "".join(path.read_text() for path in private if path.suffix == ".csv")
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    boxes.unlink()
    folders = place / "out", place / "pictures"
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    raw = [path for path in files if path.parent.name in ("multicoil", "mrd", "cfl")]
    assert len(raw) >= 3  # it was not by refusing everything that nothing came out
    for path in files:
        data = path.read_bytes()
        for secret in (MARK, MARK.lower(), NUMBER):
            assert secret.encode() not in data, path.name
            assert secret.encode("utf-16-le") not in data, path.name
            assert secret not in str(path.relative_to(place))
    shown = capfd.readouterr()
    for text in (shown.out, shown.err, caplog.text):
        assert MARK not in text and NUMBER not in text
    assert "series:" in shown.out and "set aside" in shown.out
