"""The data that a params file names: simulated files made once, or a folder."""

import hashlib
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch

from synthlib import arrays, datasets, formats, scanner

TINY = scanner.ScanSettings(
    n_subjects=2, coil_counts=(2,), contrasts=("AXT1", "AXT2"), n_slices=1, matrix=(23, 18)
)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A project of its own, so that the project's data stay as they are."""
    monkeypatch.setattr(datasets.runs, "resolve", lambda path: tmp_path / path)
    return tmp_path


def state(root: Path) -> dict[str, tuple[int, str]]:
    """When every file was written, and its hash."""
    return {
        str(path.relative_to(root)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in root.rglob("*.h5")
    }


def scan(root: Path, settings: scanner.ScanSettings = TINY) -> list:
    return datasets.raw_volumes("simulated", n_coils=2, simulate=settings)


def test_simulated_files_are_made_once(root):
    names = [volume.name for volume in scan(root)]
    assert names == [f"sim-02coil-00{n}_{label}" for n in (1, 2) for label in ("AXT1", "AXT2")]
    before = state(root)
    assert [volume.name for volume in scan(root)] == names
    assert state(root) == before


def test_more_subjects_only_add_files(root):
    scan(root)
    before = state(root)
    assert len(scan(root, replace(TINY, n_subjects=3))) == 6
    after = state(root)
    assert len(after) == len(before) + 2
    assert {name: after[name] for name in before} == before
    assert len(scan(root, replace(TINY, n_subjects=1))) == 2  # and fewer take what is there
    assert state(root) == after


def test_a_subject_is_the_same_whoever_else_is_scanned(root):
    alone = scan(root, replace(TINY, n_subjects=1))[1].kspace[0]
    for path in root.rglob("*.h5"):
        path.unlink()
    torch.testing.assert_close(scan(root)[1].kspace[0], alone, rtol=0, atol=0)


def test_a_lost_file_is_made_again_as_it_was(root):
    lost = Path(scan(root)[2].source)
    before = hashlib.sha256(lost.read_bytes()).hexdigest()
    lost.unlink()
    scan(root)
    assert hashlib.sha256(lost.read_bytes()).hexdigest() == before


def test_other_settings_go_to_another_folder(root):
    first = Path(scan(root)[0].source)
    second = Path(scan(root, replace(TINY, snr=10.0))[0].source)
    assert first.parent != second.parent
    assert first.is_file()


def test_files_hold_the_scan_and_its_truth(root):
    volume = scan(root)[0]
    made = scanner.scan_subject(TINY, scanner.subjects(TINY)[0])[0]
    torch.testing.assert_close(volume.kspace[0], made.volume.kspace[0], rtol=0, atol=0)
    torch.testing.assert_close(volume.rss[0], made.volume.rss[0])
    assert volume.recon_shape == (23, 18)
    assert volume.kspace.shape == (1, 2, 46, 18)  # the readout is oversampled
    assert volume.spacing_mm == pytest.approx(TINY.spacing_mm, rel=1e-4)
    assert volume.attributes["simulated"]
    with h5py.File(volume.source) as file:
        truth = torch.from_numpy(file["truth/phase"][()])
    assert arrays.wrap(truth - made.truth["phase"]).abs().max() < 1e-6


def test_coil_count_and_contrasts_replace_those_of_the_settings(root):
    (volume,) = datasets.raw_volumes(
        "simulated", n_coils=3, contrasts=["AXFLAIR"], simulate=replace(TINY, n_subjects=1)
    )
    assert (volume.n_coils, volume.contrast) == (3, "AXFLAIR")


def test_a_folder_of_files_is_read_as_it_is(root):
    for name, n_coils in (("a", 2), ("b", 2), ("c", 3)):
        formats.write_raw(
            root / "mine" / f"{name}.h5",
            torch.ones(1, n_coils, 9, 8, dtype=torch.complex64),
            contrast="AXT2",
            patient_id=name,
            recon_shape=(9, 8),
        )
    found = datasets.raw_volumes("mine", n_coils=2)
    assert [volume.name for volume in found] == ["a", "b"]
    with pytest.raises(FileNotFoundError, match="there are: 2 x AXT2 2 coils, 1 x AXT2 3 coils"):
        datasets.raw_volumes("mine", n_coils=16)
    with pytest.raises(FileNotFoundError, match=r"elsewhere is not a folder; .*\"simulated\""):
        datasets.raw_volumes("elsewhere", n_coils=2)


def test_unknown_contrasts_of_the_simulated_scanner_are_refused(root):
    with pytest.raises(ValueError, match="unknown contrast 'AXT3'; expected one of"):
        datasets.raw_volumes("simulated", n_coils=2, contrasts=["AXT3"], simulate=TINY)
