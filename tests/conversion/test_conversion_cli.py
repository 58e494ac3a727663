"""`synthlib synthesize`, `audit` and `bank` as they are typed."""

from __future__ import annotations

import html
import json
import re

import pytest

from synthlib import audit, cli, conversion


@pytest.fixture
def typed(place, capfd, monkeypatch):
    """Run a command line with the archive's paths; status, stdout and stderr come back."""
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))

    def run(text: str) -> tuple[int, str, str]:
        words = [word.replace("@", f"{place}/") for word in text.split()]
        capfd.readouterr()
        status = cli.main(words)
        return status, *capfd.readouterr()

    return run


def test_a_folder_becomes_raw_data_and_a_report(typed, place):
    status, out, err = typed("synthesize @archive --out @out --generator zero --coils 5")
    assert status == 0
    progress = re.compile(r".* \d+/\d+, (took )?.+")  # a line every 30 s on a slow machine
    assert [line for line in err.splitlines() if not progress.fullmatch(line)] == []
    assert "series: 2, of which 2 made, 0 already there, 0 set aside" in out
    assert len(list((place / "out" / "multicoil").glob("*.h5"))) == 2
    assert (place / "out" / "report.html").is_file() and (place / "out" / "report.csv").is_file()
    again = typed("synthesize @archive --out @out --generator zero --coils 5")
    assert again[0] == 0 and "0 made, 2 already there" in again[1]


def test_what_is_set_aside_is_told_and_is_exit_status_1(typed, place):
    for path in (place / "archive" / "one").iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    status, out, err = typed("synthesize @archive --out @out --generator zero --coils 5")
    assert status == 1 and "1 made, 0 already there" in out
    assert err.startswith("  input 1, ") and "Traceback" not in err
    (place / "archive" / "x.zip").write_bytes(b"PK\x03\x04" + bytes(50))
    _, _, err = typed("synthesize @archive --out @other --generator zero --coils 5")
    assert "a zip archive; unpack it first" in err and "x.zip" not in err
    _, _, err = typed("synthesize @archive --out @o3 --generator zero --coils 5 --show-names")
    assert "x.zip" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--generator nonsense", "generator 'nonsense' is unknown"),
        ("--generator zero --format jpeg", "format 'jpeg' is unknown"),
        ("--generator zero --noise 0", "noise 0.0; expected match, none, or an SNR above 0"),
        ("--generator @g.safetensors", "g.safetensors is not there"),
        ("--generator zero --maps @archive", "holds no donor"),
        ("--generator zero --salt-file @no", "is not there; expected a file of at least 16"),
    ],
)
def test_what_cannot_be_is_one_message(typed, options, message, place):
    status, _out, err = typed(f"synthesize @archive --out @out {options} --coils 5")
    file_at_fault = any(word in options for word in ("@", "--maps", "--salt-file"))
    assert status == (1 if file_at_fault else 2) and "Traceback" not in err
    assert message in err and not (place / "out" / "multicoil").exists()


def test_an_input_that_is_not_there_is_told(typed):
    status, _, err = typed("synthesize @nothing --out @out --generator zero")
    assert status == 1 and "input 1: there is no such file or folder" in err


def test_inputs_of_which_none_is_there_replace_no_report(typed, place):
    typed("synthesize @archive/one --out @out --generator zero --coils 5")
    before = {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()}
    status, _, err = typed("synthesize @mistyped @nothing --out @out --generator zero --coils 5")
    after = {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()}
    assert status == 1 and "input 2: there is no such file" in err and "Nothing was written" in err
    assert after == before
    typed("synthesize @mistyped --out @elsewhere --generator zero")
    assert not (place / "elsewhere").exists()
    status, _, err = typed("audit @mistyped")
    assert status == 1 and "input 1: there is no such file" in err


def test_an_empty_folder_makes_nothing_and_is_exit_status_1(typed, place):
    (place / "empty").mkdir()
    status, out, err = typed("synthesize @empty --out @out --generator zero")
    assert status == 1 and "Traceback" not in err
    assert out or err


@pytest.mark.parametrize("command", ["audit @archive", "synthesize @archive --out @out"])
def test_what_is_of_another_kind_is_no_fault_and_what_is_damaged_is(typed, place, head, command):
    how = " --generator zero --coils 5" if command.startswith("synth") else ""
    from synthlib.formats import dicom

    dicom.write_series(place / "archive" / "map", head, {"SeriesDescription": "ADC"})
    assert typed(command + how)[0] == 0
    (place / "archive" / "readme.txt").write_text("Read me")
    status, out, err = typed(command + how)
    assert status == 0 and "(ADC)" in out + err
    (place / "archive" / "empty.dcm").write_bytes(b"")
    status, out, err = typed(command + how)
    assert status == 1 and "an empty file" in out + err
    if command.startswith("audit"):
        assert "files damaged or refused: 1, of another kind: 4" in out
    assert typed(command.replace("archive", "archive/map") + how)[0] == 1  # nothing was made


def test_the_audit_prints_every_series(typed):
    status, out, _ = typed("audit @archive")
    assert status == 0
    assert "2 series" in out and "input 1" in out


def test_a_strict_audit_of_findings_is_exit_status_1(typed, place, head):
    import dataclasses

    from synthlib.formats import dicom

    masked = head.magnitude * (head.magnitude > 0.1 * head.magnitude.max())
    volume = dataclasses.replace(head, magnitude=masked)
    dicom.write_series(place / "masked", volume, {"PatientID": "x"})
    assert typed("audit @masked")[0] == 0
    status, out, _ = typed("audit @masked --strict --out @pictures")
    assert status == 1 and "masked" in out
    assert list((place / "pictures" / "figures").glob("*.png"))
    assert "  picture: figures/series_0001.png" in out and "pictures/index.html" in out
    page = (place / "pictures" / "index.html").read_text()
    assert 'src="figures/series_0001.png"' in page and "series_0001: input 1, file" in page
    assert audit.CHECKS["masked"].advice in html.unescape(page)
    typed("audit @masked --out @named --show-names")
    assert str(place) not in (place / "named" / "index.html").read_text()


@pytest.mark.parametrize("form", ["nifti", "nifti-complex"])
def test_images_without_coils_speak_of_no_coils_and_no_noise(typed, place, form):
    status, _, _ = typed(f"synthesize @archive --out @out --generator zero --format {form}")
    page = (place / "out" / "report.html").read_text()
    assert status == 0 and "magnitude, phase</th>" in page and "received" not in page
    assert "coils" not in page and "noise: match" not in page
    for path in (place / "out" / "nifti").glob("*.json"):
        asked = json.loads(path.read_text())["record"]["parameters"]["synthesize"]
        assert asked["format"] == form and not {"n_coils", "noise", "maps"} & set(asked)


def test_the_report_names_other_formats_in_the_folder_and_says_what_to_do(typed, place):
    typed("synthesize @archive --out @out --generator zero --coils 5 --format mrd")
    typed("synthesize @archive --out @out --generator zero --coils 5")
    page = (place / "out" / "report.html").read_text()
    assert "earlier runs lie in the same folder: mrd (2)." in page
    assert "written (zero)" in page and "written: zero" not in page
    assert "linear-gradient" in page and "overflow-x: auto" in page


def test_a_bank_is_made_once(typed, place, real):
    status, out, _ = typed(f"bank {real}/multicoil --out @bank")
    assert status == 0 and "donors: 3, of which 3 made now" in out
    assert "donors: 3, of which 0 made now" in typed(f"bank {real}/multicoil --out @bank")[1]
    status, _, err = typed("bank @archive --out @bank2")
    assert status == 1 and "has no file of raw data" in err


def test_ctrl_c_is_exit_status_130(typed, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "synthesize", stop)
    status, _, err = typed("synthesize @archive --out @out --generator zero")
    assert status == 130 and "the same command goes on from there" in err
