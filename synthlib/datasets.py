"""The raw data that a params file names: a folder of measured files, or the simulated scanner."""

from __future__ import annotations

import dataclasses
import tempfile
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from synthlib import arrays, formats, runs, scanner, tasks
from synthlib.formats import dicom, nifti, stacks
from synthlib.records import ImageVolume, RawVolume

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
        data: a folder of raw data of any format (searched with its subfolders), a file, or
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
    return [_file(folder, person, contrast) for contrast in settings.contrasts]


def _file(folder: Path, person: scanner.Subject, contrast: str) -> Path:
    return folder / f"{person.patient_id}_{contrast}.h5"


def _scan_to_files(
    person: scanner.Subject, *, folder: Path, settings: scanner.ScanSettings
) -> None:
    """Scan one subject; ground truth goes into a group of its own that no loader reads."""
    record = runs.make_record({"simulated": dataclasses.asdict(settings)})
    for scan in scanner.scans(settings, person):
        volume = scan.volume
        formats.write_raw(
            _file(folder, person, volume.contrast),
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
        del scan, volume  # before the next contrast is made


def example_archive(*, seed: int = 358) -> Path:
    """A small archive as a clinic might have it, of three simulated heads, made on first use.

    In patient-1 a DICOM study: T2, a FLAIR that the scanner interpolated to
    twice its matrix, and a localizer. In sub-02 a NIfTI of BIDS names with its
    sidecar and a label map. In stack a folder of 8-bit PNGs whose air is set to
    zero. And what else lies around: a text and a zip file.

    Returns:
        The folder, under data/ in the project.
    """
    key = runs.fingerprint(
        seed, runs.code_fingerprint("scanner", "arrays", "formats", "datasets"), EXAMPLE
    )
    folder = runs.resolve("data") / f"archive-{key}"
    if folder.is_dir():
        return folder
    settings = scanner.ScanSettings(**EXAMPLE, seed=seed)  # type: ignore[arg-type]
    people = scanner.subjects(settings)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-archive-") as scratch:
        place = Path(scratch) / "archive"
        _write_example(place, [scanner.scan_subject(settings, person) for person in people])
        place.replace(folder)
    return folder


EXAMPLE_SALT = ".salt"
EXAMPLE: dict[str, object] = {
    "n_subjects": 3,
    "coil_counts": (6,),
    "contrasts": ("AXT1", "AXT2", "AXFLAIR"),
    "positions_mm": (-10.0, 0.0, 10.0, 20.0, 30.0),
    "matrix": (144, 120),
    "fov_mm": (230.0, 192.0),
    "oversampling": 1,
    "n_lesions": 2,
}


@tasks.torch_threads(1)
def _write_example(place: Path, scans: Sequence[Sequence[scanner.Scan]]) -> None:
    first, second, third = ({scan.volume.contrast: scan for scan in one} for one in scans)
    texts = {
        "PatientName": "Example^Eve",
        "PatientID": "0815",
        "PatientBirthDate": "19700101",
        "InstitutionName": "Example Hospital",
    }
    dicom_folder = place / "patient-1"
    dicom.write_series(dicom_folder, _images(first["AXT2"]), texts, number=2)
    flair = _images(first["AXFLAIR"], zoom=2)
    dicom.write_series(dicom_folder, flair, texts, number=3)
    scout = dataclasses.replace(
        _images(first["AXT2"]), facts={"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}
    )
    scout = dataclasses.replace(scout, magnitude=scout.magnitude[:1])
    dicom.write_series(dicom_folder, scout, texts, number=1)
    anat = place / "sub-02" / "anat"
    images = _images(second["AXT1"])
    labels = second["AXT1"].truth["labels"]
    step = float(images.step_mm)
    nifti.write(anat / "sub-02_T1w.nii.gz", images.magnitude, images.spacing_mm, step)
    nifti.write(anat / "sub-02_T1w_dseg.nii.gz", labels, images.spacing_mm, step)
    facts = {"EchoTime": 0.01, "RepetitionTime": 0.6, "MagneticFieldStrength": 3.0}
    runs.write_json(anat / "sub-02_T1w.json", facts)
    stack = _images(third["AXT2"]).magnitude
    head = stack > 0.08 * stack.max()
    grey = (255 * stack * head / stack.max()).round().to(torch.uint8)
    for index, one in enumerate(grey):
        stacks.write_png(place / "stack" / f"slice{index + 1}.png", one)
    runs.write_text(place / "readme.txt", "Simulated heads; nobody was scanned.\n")
    # nobody to protect: everybody may get the same pseudonyms
    runs.write_text(place / EXAMPLE_SALT, "a salt that anybody may know")
    with zipfile.ZipFile(place / "more.zip", "w") as packed:
        packed.writestr("readme.txt", "Nothing in here.\n")


def _images(scan: scanner.Scan, zoom: int = 1) -> ImageVolume:
    """Magnitudes of a scan; with zoom the scanner's matrix is interpolated by zeros in k-space."""
    volume = scan.volume
    ny, nx = volume.recon_shape
    shape = zoom * ny, zoom * nx
    kspace = [arrays.crop_or_pad(volume.kspace[i], shape) for i in range(volume.n_slices)]
    magnitude = torch.stack([arrays.rss(arrays.ifft2c(one)) for one in kspace])
    facts = {
        name: value
        for name, value in volume.attributes.items()
        if name in ("te_ms", "tr_ms", "ti_ms", "flip_deg")
    }
    if volume.contrast == "AXFLAIR":
        facts["ti_ms"] = 2500.0
    return ImageVolume(
        name=volume.name,
        patient_id=volume.patient_id,
        contrast=volume.contrast,
        magnitude=magnitude,
        spacing_mm=(volume.spacing_mm[0] / zoom, volume.spacing_mm[1] / zoom),
        thickness_mm=5.0,
        step_mm=10.0,
        orientation="axial",
        anatomy="head",
        field_t=3.0,
        facts={**facts, "acquisition_matrix": (ny, nx)},
    )
