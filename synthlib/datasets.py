"""The raw data that a params file names: a folder of measured files, or the simulated scanner."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from synthlib import formats, runs, scanner, tasks
from synthlib.records import RawVolume

SIMULATED = "simulated"


def raw_volumes(
    data: str,
    *,
    n_coils: int,
    contrasts: Sequence[str] = (),
    simulate: scanner.ScanSettings | None = None,
    workers: int = 1,
    skip_broken: bool = False,
) -> list[RawVolume]:
    """Open the scans of one coil count, sorted by name.

    Args:
        data: a folder of fastMRI HDF5 files (searched with its subfolders), or
            "simulated" for the embedded scanner, whose files are made on first
            use and kept under data/ in the project.
        n_coils: keep files with this number of coils.
        contrasts: keep these acquisition labels; none keeps all.
        simulate: what the scanner does; its coil counts are replaced by `n_coils`.
        workers: processes that simulate.
        skip_broken: leave out unreadable files with a warning instead of stopping.

    Raises:
        FileNotFoundError, ValueError: as formats.find_raw says.
    """
    if data != SIMULATED:
        return formats.find_raw(
            runs.resolve(data), contrasts=contrasts, n_coils=n_coils, skip_broken=skip_broken
        )
    settings = dataclasses.replace(simulate or scanner.ScanSettings(), coil_counts=(n_coils,))
    if contrasts:
        settings = dataclasses.replace(settings, contrasts=tuple(contrasts))
    return simulated_volumes(settings, workers=workers)


def simulated_volumes(settings: scanner.ScanSettings, *, workers: int = 1) -> list[RawVolume]:
    """Scan every subject of the settings, or take the files of an earlier time.

    Files lie under data/simulated-<key>/, the key being that of the settings
    (but for the number of subjects, so that more subjects only add files) and
    of the source of scanner and file format.
    """
    shared = {k: v for k, v in dataclasses.asdict(settings).items() if k != "n_subjects"}
    key = runs.fingerprint(
        shared, runs.code_fingerprint("scanner", "arrays", "formats.fastmri_hdf5")
    )
    folder = runs.resolve("data") / f"simulated-{key}"
    people = scanner.subjects(settings)
    missing = [
        person
        for person in people
        if not all(path.is_file() for path in _files(folder, person, settings))
    ]
    scan = partial(_scan_to_files, folder=folder, settings=settings)
    tasks.run_all(scan, missing, label="simulated subjects", workers=workers)
    paths = [path for person in people for path in _files(folder, person, settings)]
    return [formats.read_raw(path) for path in sorted(paths)]


def truth(volume: RawVolume) -> dict[str, Tensor]:
    """What the simulated scanner alone knows of a scan; see scanner.Scan for its entries.

    For judging results, never for making them.

    Raises:
        ValueError: the scan was not simulated.
    """
    found = formats.read_truth(volume.source)
    if not found:
        raise ValueError(
            f"{volume.name} holds no ground truth; expected a scan of the simulated scanner. "
            f'Use data = "{SIMULATED}" where truth is needed.'
        )
    return found


def _files(folder: Path, person: scanner.Subject, settings: scanner.ScanSettings) -> list[Path]:
    return [folder / f"{person.patient_id}_{contrast}.h5" for contrast in settings.contrasts]


def _scan_to_files(
    person: scanner.Subject, *, folder: Path, settings: scanner.ScanSettings
) -> None:
    """Scan one subject; ground truth goes into a group of its own that no loader reads."""
    record = runs.make_record({"simulated": dataclasses.asdict(settings)})
    paths = _files(folder, person, settings)
    for scan, path in zip(scanner.scans(settings, person), paths, strict=True):
        volume = scan.volume
        formats.write_raw(
            path,
            volume.kspace[:],  # type: ignore[index]  # a tensor in memory
            contrast=volume.contrast,
            patient_id=volume.patient_id,
            recon_shape=volume.recon_shape,
            spacing_mm=volume.spacing_mm,
            field_t=settings.field_t,
            thickness_mm=settings.thickness_mm,
            acquired=volume.acquired,
            record=record,
            attributes={"simulated": True, **volume.attributes},
            extra={f"truth/{name}": array for name, array in scan.truth.items()},
        )
