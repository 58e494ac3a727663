"""Measured scans as tests: which files of a folder are taken, and that no study has seen them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from synthlib import formats, pairs, runs
from synthlib.records import MADE_BY_US

MIN_COILS = 2
NO_PATIENT = ("", "unknown", "none", "anonymous")  # what files say that name no patient


def open_scans(
    test_data: str, out_dir: str | Path, *, workers: int = 1
) -> list[pairs.PreparedVolume]:
    """Measured multi-coil scans of a folder, with their maps; none where no folder is given.

    Args:
        test_data: folder of raw data of any format, "": no scans; those of one coil and
            undersampled ones are passed over.
        out_dir: prepared files go to its subfolder "prepared_test".

    Raises:
        FileNotFoundError: no such folder, or no raw data in it.
        ValueError: no scan of the folder can be used, or as formats.read_raw.
    """
    if not test_data:
        return []
    folder = runs.resolve(test_data)
    paths = formats.raw_files(folder)
    if not paths:
        what = "has no file of raw data" if folder.is_dir() else "is not a folder"
        raise FileNotFoundError(
            f"{test_data} {what}; expected measured multi-coil scans of any raw data format. Check "
            'test_data, or leave it empty ("") to do without measured scans.'
        )
    raw = [formats.read_raw(path, undersampled=True) for path in paths]
    ours = [volume.name for volume in raw if volume.synthetic]
    if ours:
        raise ValueError(
            f"{test_data} holds {len(ours)} files that are {MADE_BY_US}, for example {ours[0]}; "
            "expected measured scans alone, for a test on our own phase and coils tests nothing. "
            "Move them away."
        )
    usable = [volume for volume in raw if volume.n_coils >= MIN_COILS and not volume.undersampled]
    if not usable:
        raise ValueError(
            f"{test_data} holds {len(raw)} scans, none of them fully sampled by several coils; "
            "expected measured multi-coil scans in the fastMRI layout. Check test_data, or leave "
            'it empty ("") to do without measured scans.'
        )
    return pairs.prepare(
        usable,
        Path(out_dir) / "prepared_test",
        workers=workers,
    )


def require_unseen(
    scans: Sequence[pairs.PreparedVolume],
    parts: Mapping[int, Mapping[str, Sequence[pairs.PreparedVolume]]],
) -> None:
    """Raise ValueError if a test scan, or its patient, is among the scans of the studies.

    Files without a patient's name are compared by their content alone: the loader
    names such a patient after the file.

    Args:
        scans: from :func:`open_scans`.
        parts: coil count to part ("gan", "train", ...) to its scans.
    """
    patients: dict[str, str] = {}
    contents: dict[str, str] = {}
    for n_coils, by_part in parts.items() if scans else ():
        for part, volumes in by_part.items():
            for volume in volumes:
                place = f"part {part!r} of the {n_coils}-coil study, scan {volume.name}"
                contents.setdefault(volume.source_sha256, place)
                if _names_its_patient(volume):
                    patients.setdefault(volume.raw.patient_id, place)
    for scan in scans:
        what = "the same file"
        where = contents.get(scan.source_sha256)
        if where is None and _names_its_patient(scan):
            what = "the same patient"
            where = patients.get(scan.raw.patient_id)
        if where is not None:
            raise ValueError(
                f"test scan {scan.name}: {what} is in {where}; expected patients that neither "
                "networks nor generator have seen. Take the scan out of the folder test_data, or "
                "its patient out of data."
            )


def _names_its_patient(scan: pairs.PreparedVolume) -> bool:
    patient = str(scan.raw.attributes.get("patient_id", ""))
    return patient.strip().lower() not in NO_PATIENT


def patient_or_scan(patient: str, scan: str) -> str:
    """Who counts as drawn: the patient, or the scan itself where its file names none."""
    return scan if patient.strip().lower() in NO_PATIENT else patient


def scan_hashes(scans: Sequence[pairs.PreparedVolume]) -> dict[str, str]:
    """One line for a record: how many scans, and the hash over all of theirs; no names."""
    if not scans:
        return {}
    digest = runs.fingerprint(sorted(scan.source_sha256 for scan in scans))
    return {f"{len(scans)} measured test scans": digest}
