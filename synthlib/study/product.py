"""The product as training data: what `synthlib synthesize` makes of a study's magnitudes.

The magnitudes of prepared scans are written as an archive of NIfTI files, go through
conversion.synthesize as a user's images do (generator, coils of a donor, noise of its
receivers), and come back through pairs.prepare, which estimates coil maps from the
product's own k-space. What the steps cost, two choices tell apart: `coils` and `noise`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from synthlib import bank, conversion, formats, pairs, runs, scanner
from synthlib import coils as coil_maps
from synthlib.formats import nifti, prepared_hdf5
from synthlib.phase import shipped
from synthlib.records import RawVolume, orientation_of

DONOR, OWN = "donor", "own"
COILS = (DONOR, OWN)
SUFFIX = "_product"  # of a scan's name, so that it can stand beside the scan it was made of
UNKNOWN_STEP_MM = 5.0  # between slices, where no header tells a thickness
# Folders of the archive are named by the hash of a raw file, not by a person: there is nothing to
# guess back, and everybody may repeat these pseudonyms.
SALT = "pseudonyms of hashes of raw data"


def product_scans(
    volumes: Sequence[pairs.PreparedVolume],
    folder: str | Path,
    *,
    weights: str | Path,
    n_coils: int,
    seed: int,
    noise: float | str = conversion.MATCH,
    coils: str = DONOR,
    workers: int = 1,
    scheduler: str = "",
) -> list[pairs.PreparedVolume]:
    """Synthetic raw data of the magnitudes of some scans, prepared like measured ones.

    Each scan's phase follows from its pixels and the seed alone: it is the same for
    every choice of `coils` and `noise`. Nothing that the scans hold besides their
    magnitudes goes into the product, except with coils="own". With noise="none" the
    magnitude's own noise is seen by all coils as if it were signal, also in air.
    Files that are there and current are not made again.

    Args:
        volumes: axial scans; their magnitudes keep their units.
        folder: for archive, raw data and prepared files, relative to the project root.
        weights: as conversion.Settings takes its generator.
        n_coils: of the product.
        seed: every draw follows from it.
        noise: as conversion.Settings takes it: "match", "none", or an SNR.
        coils: "donor": those of another head, from the simulated bank, as a user gets
            them; "own": each scan serves as its own donor, a control.
        workers, scheduler: as tasks.run_all takes them.

    Returns:
        One scan for each of `volumes`, in their order, of the same patient_id and
        contrast; its name is that of the scan with "_product" behind. Files know the
        patients only by pseudonyms. Rows run from front to back also where those of
        the scan did not.

    Raises:
        ValueError: a scan is not axial, is a donor of the bank itself, or was set
            aside by the conversion.
        FileNotFoundError: no weights of that name.
    """
    if coils not in COILS:
        raise ValueError(f"coils {coils!r} are unknown; choose one of {', '.join(COILS)}")
    require_other_heads(volumes)
    folder = runs.resolve(folder)
    weights = str(weights)
    if weights.endswith(".safetensors"):
        weights = str(runs.resolve(weights))
    code = runs.code_fingerprint("study.product", "formats.nifti", "bank", "pairs")
    images = _write_archive(volumes, folder / f"images-{code}")
    settings = conversion.Settings(generator=weights, n_coils=n_coils, noise=noise, seed=seed)
    if settings.network:
        shipped.load(settings.network)  # a wrong file is refused before any work
    content = runs.sha256(weights) if settings.weights else weights
    out = folder / f"{coils}-{noise}-{runs.fingerprint(settings.record(), content)}"
    if coils == DONOR:
        raw_files = _synthesize(images, out, settings, workers, scheduler)
    else:
        raw_files = {}
        for volume, image in zip(volumes, images, strict=True):
            donor = _own_donor(volume, folder / "own_donors")
            own = dataclasses.replace(settings, maps=str(donor))
            raw_files |= _synthesize([image], out / image.stem, own, 1, "")
    raw = [
        _named_after(volume.raw, formats.read_raw(raw_files[image]))
        for volume, image in zip(volumes, images, strict=True)
    ]
    with warnings.catch_warnings():
        if noise == conversion.NONE:  # coherent air is what was asked for: maps fit everywhere
            warnings.simplefilter("ignore", RuntimeWarning)
        return pairs.prepare(raw, out / "prepared", workers=workers, scheduler=scheduler)


def require_other_heads(volumes: Sequence[pairs.PreparedVolume]) -> None:
    """Raise ValueError if a scan is of a head that the simulated bank's coils were taken from.

    A simulated head and its coils follow from the scanner's seed and the subject's
    name. Bank and studies name their subjects alike: they differ if their seeds do.
    """
    for volume in volumes:
        settings = _simulated_with(volume.raw)
        if settings is not None and settings.seed == bank.SIMULATED_SEED:
            raise ValueError(
                f"{volume.name} was simulated with seed {settings.seed}, with which the heads of "
                "the simulated coil bank were made: donors would be the study's own patients. "
                "Simulate the study with another seed."
            )


def _synthesize(
    images: Sequence[Path],
    out: Path,
    settings: conversion.Settings,
    workers: int,
    scheduler: str,
) -> dict[Path, Path]:
    """Image file to file of raw data."""
    salt_file = out / "salt"
    if not salt_file.is_file():
        runs.write_text(salt_file, SALT)
    result = conversion.synthesize(
        images,
        out,
        settings,
        force=True,  # the folder is ours: what older code made is replaced
        workers=workers,
        scheduler=scheduler,
        salt_file=salt_file,
    )
    reasons = [outcome.reason for outcome in result.outcomes if outcome.reason]
    reasons += [entry.reason for entry in result.set_aside]
    if reasons:
        raise ValueError(
            f"{len(reasons)} of {len(images)} scans were set aside: {reasons[0]}. Leave them out; "
            f"{result.report} lists them all."
        )
    return {Path(job.series.files[0]): job.target for job in result.jobs}


def _named_after(scan: RawVolume, product: RawVolume) -> RawVolume:
    """The product with the scan's name, patient and contrast, in memory alone."""
    return dataclasses.replace(
        product,
        name=scan.name + SUFFIX,
        patient_id=scan.patient_id,
        contrast=scan.contrast,
    )


def _write_archive(volumes: Sequence[pairs.PreparedVolume], folder: Path) -> list[Path]:
    """One image for each scan, in one folder for each patient: sub-<hash of the first raw file>."""
    digests: dict[str, str] = {}
    for volume in sorted(volumes, key=lambda volume: volume.name):
        digests.setdefault(volume.raw.patient_id, volume.source_sha256[:12])
    return [
        _write_image(volume, folder / f"sub-{digests[volume.raw.patient_id]}" / "anat")
        for volume in volumes
    ]


def _write_image(volume: pairs.PreparedVolume, folder: Path) -> Path:
    """The magnitudes as a NIfTI file of BIDS names with its sidecar."""
    raw, label = volume.raw, volume.raw.contrast.upper()
    if orientation_of(label, "axial") != "axial":
        raise ValueError(
            f"{volume.name} is {label}; expected axial scans. Choose them by their contrasts "
            "when the study is opened."
        )
    weight = label.removeprefix("AX")
    path = folder / f"{folder.parent.name}_acq-{volume.fingerprint[:12]}_{weight}.nii"
    if path.is_file():
        return path
    magnitude = torch.stack([volume.pair(index).magnitude for index in range(volume.n_slices)])
    runs.write_json(path.with_suffix(".json"), _facts(raw))
    upright = magnitude.flip(1) if raw.upside_down else magnitude
    nifti.write(path, upright, _pixel_mm(raw), step_mm(raw))
    return path


def _facts(raw: RawVolume) -> dict[str, float]:
    """Field strength and timing, where the scan tells them, as BIDS names them (T, s)."""
    header = {"field_t": bank.header_numbers(raw)[1]}
    header |= {
        name: float(str(raw.attributes[name]))
        for name in ("field_t", "te_ms", "tr_ms")
        if name in raw.attributes
    }
    keywords = {
        "MagneticFieldStrength": ("field_t", 1.0),
        "EchoTime": ("te_ms", 1e-3),
        "RepetitionTime": ("tr_ms", 1e-3),
    }
    return {
        keyword: scale * header[name]
        for keyword, (name, scale) in keywords.items()
        if math.isfinite(header.get(name, math.nan))
    }


def _pixel_mm(raw: RawVolume) -> tuple[float, float]:
    if not all(math.isfinite(mm) for mm in raw.spacing_mm):
        raise ValueError(
            f"{raw.name} does not tell its pixel size; expected it in the ISMRMRD header, for "
            "donors are chosen by the size of heads. Leave the scan out."
        )
    return raw.spacing_mm


def step_mm(raw: RawVolume) -> float:
    """Distance of slice centres: of the simulation, or the slice thickness of the header."""
    settings = _simulated_with(raw)
    if settings is not None and raw.n_slices > 1:
        places = torch.as_tensor(settings.slice_positions_mm)
        return float((places[1] - places[0]).abs())
    thickness = bank.header_numbers(raw)[0]
    return thickness if math.isfinite(thickness) else UNKNOWN_STEP_MM


def _simulated_with(raw: RawVolume) -> scanner.ScanSettings | None:
    """Where a simulated scan's slices lie, and its seed; None for measured scans."""
    record = json.loads(str(raw.attributes.get("record", "{}")))
    header = record.get("parameters", {}).get("simulated")
    if not isinstance(header, dict):
        return None
    return scanner.ScanSettings(
        n_slices=int(header["n_slices"]),
        positions_mm=tuple(header["positions_mm"]),
        seed=int(header["seed"]),
    )


def _own_donor(volume: pairs.PreparedVolume, folder: Path) -> Path:
    """A coil bank whose one donor is the scan itself."""
    own = folder / volume.fingerprint[:12]
    path = own / "own.h5"
    code = runs.code_fingerprint("bank", "coils", "arrays", "records")
    key = runs.fingerprint(volume.source_sha256, code)
    if prepared_hdf5.read_attributes(path).get("key") != key:
        place = bank.Place("axial", "head", step_mm(volume.raw))
        settings = coil_maps.EspiritSettings()
        bank.make(path, volume.raw, settings=settings, place=place, name="own", key=key)
    return own
