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
    common = ["synthesize", str(source), "--generator", "zero", "--coils", "5"]
    cli.main([*common, "--out", str(place / "out"), "--format", form, "--spacing", "1", "1"])
    cli.main(["audit", str(source), "--out", str(place / "pictures"), "--spacing", "1", "1"])
    files = [path for path in place.rglob("*") if path.is_file()]
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
