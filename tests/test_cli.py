"""The command that fills the map store, as a person at the terminal sees it."""

from __future__ import annotations

import csv
import dataclasses
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from synthlib import cli, coils, formats, mapstore, runs

NUMBERS = ["--threshold", "0.02", "--crop", "0.9"]  # whatever the defaults are
SMALL = ["--calib-width", "16", "--kernel-width", "4", *NUMBERS]


@pytest.fixture
def raw(tmp_path, odd_scan, monkeypatch) -> Path:
    """The user stands beside a folder raw/ of two scans, one with a dead coil."""
    for name in ("good", "dead"):
        formats.write_raw(
            tmp_path / "raw" / f"{name}.h5",
            odd_scan.volume.kspace,
            contrast="AXT2",
            patient_id="p",
            recon_shape=(45, 38),
        )
    with h5py.File(tmp_path / "raw" / "dead.h5", "a") as file:
        file["kspace"][:, 2] = 0
    monkeypatch.chdir(tmp_path)
    return tmp_path / "raw"


def run(capfd: pytest.CaptureFixture, *options: str) -> tuple[int, list[str], str]:
    """Exit status, lines of the output, errors."""
    status = cli.main(["maps", "raw", "--out", "maps", *options])
    out, err = capfd.readouterr()
    return status, out.splitlines(), err


def test_the_settings_the_count_and_the_warnings_are_printed(raw, capfd):
    status, lines, err = run(capfd, *SMALL, "--gauge", "coil0")
    assert (status, err) == (0, "")
    assert lines[0] == f"coil maps of {raw}, kept in {raw.parent / 'maps'}"
    settings = coils.EspiritSettings(
        calib_width=16, kernel_width=4, threshold=0.02, crop=0.9, gauge="coil0"
    )
    given = dataclasses.asdict(settings)
    assert lines[1] == "settings: " + ", ".join(f"{k} {v}" for k, v in given.items())
    assert lines[2] == "volumes: 2, of which 2 estimated, 0 already there, 0 that cannot be used"
    assert "  dead: coil 2 of 4 holds no signal: its map is zero" in lines
    (dead, good) = (raw.parent / "maps" / f"{name}.h5" for name in ("dead", "good"))
    assert mapstore.MapFile("good", good).settings == settings
    assert dead.is_file()

    status, lines, _ = run(capfd, *SMALL, "--gauge", "coil0")
    assert (status, lines[2]) == (
        0,
        "volumes: 2, of which 0 estimated, 2 already there, 0 that cannot be used",
    )
    assert "  dead: coil 2 of 4 holds no signal: its map is zero" in lines


def test_what_auto_chose_is_printed(raw, capfd):
    _, lines, _ = run(capfd, "--threshold", "auto", "--crop", "auto")
    settings = coils.EspiritSettings(threshold="auto", crop="auto")
    store = mapstore.build_folder(raw, raw.parent / "maps", settings=settings)
    assert store.made == frozenset()
    for name, used in (
        ("threshold", [float(f.thresholds) for f in store.files]),
        ("crop", [float(f.crops) for f in store.files]),
    ):
        (line,) = [line for line in lines if line.startswith(f"{name} chosen: ")]
        numbers = line.removeprefix(f"{name} chosen: ").split(" to ")
        assert float(numbers[0]) == pytest.approx(min(used), abs=6e-4)
        assert float(numbers[-1]) == pytest.approx(max(used), abs=6e-4)


def test_numbers_that_were_asked_for_are_not_printed_as_chosen(raw, capfd):
    _, lines, _ = run(capfd, *SMALL, "--threshold", "0.05")
    assert not [line for line in lines if "chosen" in line]
    assert "threshold 0.05" in lines[1]


def test_a_broken_file_is_exit_status_1_and_its_reason_is_printed(raw, capfd):
    (raw / "text.h5").write_text("no HDF5")
    status, lines, err = run(capfd, *SMALL)
    assert (status, err) == (1, "")
    assert lines[2] == "volumes: 3, of which 2 estimated, 0 already there, 1 that cannot be used"
    place = lines.index("cannot be used:")
    assert lines[place + 1].startswith("  text: it is a text file. Expected")


def test_flagged_slices_are_named_and_above_a_number_counted(raw, capfd, monkeypatch):
    bad = ["--threshold", "0.02", "--crop", "0.001"]  # support everywhere
    _, lines, _ = run(capfd, *bad)
    place = lines.index("slices: 2, of which 2 flagged:")
    assert lines[place + 1] == "  dead: coil 2 of 4 holds no signal: its map is zero"
    assert lines[place + 2].startswith("  dead: support everywhere")
    assert lines[place + 3].startswith("  good: support everywhere")
    monkeypatch.setattr(cli, "NAMED", 1)
    _, lines, _ = run(capfd, *bad)
    assert lines[place + 2] == "  and 2 more"


def test_the_quality_of_every_slice_is_in_a_table(raw, capfd):
    _, lines, _ = run(capfd, *SMALL)
    path = raw.parent / "maps" / "quality.csv"
    assert lines[-1] == f"quality of every slice: {path}"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["volume"], row["slice_index"]) for row in rows] == [("dead", "0"), ("good", "0")]
    for row in rows:
        (quality,) = mapstore.MapFile("", path.with_name(f"{row['volume']}.h5")).qualities
        assert float(row["residual"]) == pytest.approx(quality.residual, rel=1e-3)
        assert row["flags"] == "; ".join(quality.flags)
        assert float(row["crop"]) == pytest.approx(0.9)


def test_files_that_were_not_asked_for_are_told(raw, capfd):
    with h5py.File(raw / "good.h5", "a") as file:
        file.attrs["acquisition"] = "AXT1"
    status, lines, _ = run(capfd, *SMALL, "--contrast", "AXT2", "--coils", "4")
    assert status == 0
    assert lines[2:4] == [
        "volumes: 1, of which 1 estimated, 0 already there, 0 that cannot be used",
        "not asked for: 1 x AXT1 4 coils",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "2"], 'threshold is 2.0; expected a number between 0 and 1, or "auto"'),
        (["--gauge", "body"], "gauge 'body' is unknown"),
        (["--coils", "20"], "no file has contrasts any with 20 coils; there are: 2 x AXT2 4 coils"),
        (["--device", "abacus"], 'device "abacus" cannot be used'),
        (["--out", "raw"], "would overwrite"),
    ],
)
def test_what_cannot_be_is_one_message_and_a_bad_value_exit_status_2(raw, capfd, options, message):
    status, _, err = run(capfd, *options)
    assert status == (2 if options[0] in ("--threshold", "--gauge") else 1)
    assert err.startswith("synthlib: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_word_that_is_no_number_is_refused(raw, capfd):
    with pytest.raises(SystemExit):
        run(capfd, "--crop", "high")
    assert "'high' is neither a number nor auto" in capfd.readouterr().err


def test_every_parameter_of_the_maps_is_an_option():
    assert list(cli.ESPIRIT) == [field.name for field in dataclasses.fields(coils.EspiritSettings)]


def test_ctrl_c_is_exit_status_130_and_says_that_work_is_kept(raw, capfd, monkeypatch):
    def stopped(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mapstore, "build_folder", stopped)
    status, _, err = run(capfd)
    assert status == 130
    assert "the same command goes on" in err


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from synthlib import cli\n"
        "try: cli.main(['maps', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=runs.project_root()
    )
    assert "--calib-width" in done.stdout
    assert done.stdout.endswith("False\n"), done.stderr


COMMANDS = ("reproduce", "gallery", "maps", "synthesize", "audit", "bank")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_tells_what_an_exit_status_means(command, capfd):
    with pytest.raises(SystemExit) as ended:
        cli.main([*([command] if command else []), "--help"])
    text = " ".join(capfd.readouterr().out.split())
    assert ended.value.code == 0 and cli.EXIT_STATUS in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("bank x --out y --orientation foo", "choose one of axial, sagittal, coronal"),
        ("bank x --out y --anatomy foo", "choose one of head"),
        ("convert-raw x --out y --format foo", "expected one of fastmri, mrd, cfl"),
        ("convert-raw x --out y --format mrd --single-coil", "Choose --format fastmri"),
        ("maps x --out y --outside foo", "'foo' is unknown"),
        ("synthesize x --out y --format foo", "format 'foo' is unknown"),
        ("synthesize x --out y --generator zero --phase foo", "phase 'foo' is unknown"),
        ("synthesize x --out y --generator zero --noise foo", "noise 'foo'; expected match"),
        ("synthesize x --out y --generator zero --format nifti --coils 4", "--coils with --format"),
        ("synthesize x --out y --generator foo", "generator 'foo' is unknown"),
        ("synthesize x --out y --coils 0.3", "'0.3'; expected a whole number of at least 1"),
        ("maps x --out y --workers x", "'x'; expected a whole number of at least 1"),
        ("audit x --spacing 0 1", "expected millimetres, a number above 0"),
    ],
)
def test_a_bad_value_is_exit_status_2_and_says_what_is_expected(words, message, capfd):
    try:
        status = cli.main(words.split())
    except SystemExit as ended:  # argparse's own way
        status = ended.code
    err = capfd.readouterr().err
    assert status == 2 and message in err and "_count" not in err


@pytest.mark.parametrize(
    "words",
    [
        "maps raw --out file",
        "maps raw --out file/below",
        "bank raw --out file",
        "convert-raw raw --out file --format mrd",
        "synthesize raw --out file --generator zero",
        "audit raw --out file",
        "view raw --html file/page.html",
        "view raw --html raw",
    ],
)
def test_a_place_for_results_that_cannot_be_is_told_once_before_any_work(
    raw, capfd, words, monkeypatch
):
    (raw.parent / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(raw.parent / "state"))
    assert cli.main(words.split()) == 1
    out, err = capfd.readouterr()
    assert "expected" in err and "Errno" not in err and len(err.splitlines()) == 1 and not out
    assert (raw.parent / "file").read_text() == "" and not (raw.parent / "state").exists()


def test_a_place_that_may_not_be_written_is_told(raw, capfd, monkeypatch):
    monkeypatch.setattr("os.access", lambda place, mode: False)  # root may write everywhere
    assert cli.main(["maps", "raw", "--out", "new"]) == 1
    assert "may not be written; expected a folder of yours" in capfd.readouterr().err


@pytest.mark.parametrize("words", [[], ["nonsense"], ["maps"], ["audit", "x", "--no-such-option"]])
def test_a_command_line_that_cannot_be_understood_is_exit_status_2(words, capfd):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2 and "usage: synthlib" in capfd.readouterr().err


@pytest.mark.parametrize("module", ["synthlib", "synthlib.cli"])
def test_modules_run_as_the_command_does(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("synthlib ")
