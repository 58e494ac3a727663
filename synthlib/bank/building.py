"""From raw volumes to donors, one file each."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays, coils, formats, runs, scanner, tasks
from synthlib.bank.donor import POINTS, Donor, to_head
from synthlib.bank.outline import Outline, outline
from synthlib.formats import prepared_hdf5, words
from synthlib.records import MADE_BY_US, ORIENTATIONS, RawVolume, orientation_of

SIMULATED = "simulated"  # the name of the embedded bank
BLOCK = 4  # slices estimated at once
AIR_FROM = 1.3  # half axes from the head's centre: beyond lies air
QUIETEST = 0.1  # of that air: its level is the noise's alone
QUIET = 1.5  # times that level: more is ringing or ghosts
FEW_SAMPLES = 20  # of noise per coil, at least, for its covariance
SHRINK = 0.01  # share of white noise in the covariance, so that it can be inverted
SIDEWAYS = (
    "its readout runs from side to side (axial, coronal) or front to back (sagittal), so that the "
    "head lies on its side. Expected one along the head's rows; leave it out of the bank"
)
# fastMRI's knees and brains are known by their acquisition.
KNEE = ("CORPD", "CORPDFS")
HEAD = ("AXT1", "AXT1PRE", "AXT1POST", "AXT2", "AXFLAIR")
# The embedded bank: a few heads from the base of the skull to the crown.
SIMULATED_SUBJECTS = 4
SIMULATED_SEED = 358
SIMULATED_LEVELS_MM = {
    "axial": tuple(float(mm) for mm in range(-50, 71, 10)),
    "coronal": tuple(float(mm) for mm in range(-60, 61, 12)),
    "sagittal": tuple(float(mm) for mm in range(-50, 51, 10)),
}
# Slices of an archive follow their normal (DICOM): coronal ones to the back, those of the simulated
# scanner to the front.
SLICES_TOWARDS = {"coronal": -1}
SIMULATED_PIXEL_MM = 2.5  # maps are smooth
SIMULATED_FOV_MM = {"axial": (256.0, 224.0), "coronal": (256.0, 224.0), "sagittal": (256.0, 256.0)}


@dataclasses.dataclass(frozen=True)
class Place:
    """What raw data do not say of themselves; empty values are taken from the header or label.

    Attributes:
        orientation: of all volumes, a word of ORIENTATIONS ("axial" ...).
        anatomy: of all volumes, a word of words.ANATOMIES ("head", "knee" ...).
        step_mm: between slice centres; what the file says of them, or the slice thickness,
            where it is nan.

    Raises:
        ValueError: another word for the orientation or the anatomy.
    """

    orientation: str = ""
    anatomy: str = ""
    step_mm: float = float("nan")

    def __post_init__(self) -> None:
        if self.orientation and self.orientation not in ORIENTATIONS.values():
            raise ValueError(
                f"orientation {self.orientation!r} is unknown; choose one of "
                f"{', '.join(ORIENTATIONS.values())}"
            )
        if self.anatomy and self.anatomy not in words.ANATOMIES:
            raise ValueError(
                f"anatomy {self.anatomy!r} is unknown; choose one of {', '.join(words.ANATOMIES)}"
            )


@dataclasses.dataclass(frozen=True)
class Bank:
    """Donors, sorted by name.

    Attributes:
        donors: of any number of coils.
        broken: what could not be used, with the reason.
        made: how many were made this time.
    """

    donors: tuple[Donor, ...]
    broken: tuple[str, ...] = ()
    made: int = 0


def build_folder(
    source: str | Path,
    folder: str | Path,
    *,
    place: Place | None = None,
    settings: coils.EspiritSettings | None = None,
    workers: int = 1,
    scheduler: str = "",
) -> Bank:
    """Make a donor of every multi-coil raw file below a folder.

    Donors that are there and current are not made again.

    Args:
        source: folder of raw data of any format (see formats.reading), searched with its
            subfolders; also one file.
        folder: of the bank.
        place: what the files do not say.
        settings: of the coil maps; they are always continued beyond the object.
        workers, scheduler: as tasks.run_all takes them.

    Raises:
        FileNotFoundError: no such folder, or no raw file in it.
        ValueError: settings that cannot be.
    """
    settings = dataclasses.replace(settings or coils.EspiritSettings(), outside="extrapolate")
    settings.check()
    out = Path(folder)
    paths = [path for path in formats.raw_files(source) if out.resolve() not in path.parents]
    if not paths:
        what = "has no file of raw data" if Path(source).is_dir() else "is not a folder"
        raise FileNotFoundError(
            f"{source} {what}; {formats.EXPECTED}. Check the path, or use the simulated bank, "
            "which needs no data."
        )
    place = place or Place()
    code = runs.code_fingerprint("bank", "coils", "arrays", "records")
    there = {prepared_hdf5.read_attributes(path).get("key"): path for path in out.glob("*.h5")}
    keys = [_key(path, settings, place, code) for path in paths]
    todo = [(p, k) for p, k in zip(paths, keys, strict=True) if k not in there]
    work = partial(_build_one, out=out, settings=settings, place=place, code=code)
    failed = tasks.run_all(
        work, todo, label="donors", workers=workers, scheduler=scheduler, on_error=_lost
    )
    broken = tuple(text for text in failed if text)
    return dataclasses.replace(
        _open(sorted(out.glob("*.h5"))), broken=broken, made=len(todo) - len(broken)
    )


def open_bank(
    bank: str | Path,
    *,
    n_coils: int,
    orientation: str = "axial",
    field_t: float = 3.0,
    workers: int = 1,
) -> Bank:
    """Open a bank: a folder that :func:`build_folder` filled, or the embedded simulated one.

    Args:
        bank: a folder, or "simulated": heads of the simulated scanner, made on
            first use (some 10 s) and kept in the user's cache folder (runs.cache_folder).
        n_coils, orientation, field_t: of the simulated heads; "unknown"
            orientation gives axial ones, an unknown field 3 T.

    Raises:
        FileNotFoundError: no such folder, or no donor in it.
        OSError: the user's cache folder cannot be written.
        ValueError: a file in it is no donor.
    """
    if str(bank) != SIMULATED:
        paths = sorted(Path(bank).glob("*.h5"))
        if not paths:
            what = "holds no donor" if Path(bank).is_dir() else "is not a folder"
            raise FileNotFoundError(
                f"coil bank {bank} {what}; expected a folder that `synthlib bank FOLDER --out "
                f'BANK` filled, or "{SIMULATED}"'
            )
        return _open(paths)
    if orientation not in SIMULATED_LEVELS_MM:
        orientation = "axial"
    levels = SIMULATED_LEVELS_MM[orientation]
    strength = min((1.5, 3.0), key=lambda t: abs(t - (field_t if field_t == field_t else 3.0)))
    fov_mm = SIMULATED_FOV_MM[orientation]
    scans = scanner.ScanSettings(
        n_subjects=SIMULATED_SUBJECTS,
        coil_counts=(n_coils,),
        contrasts=("AXT2",),
        positions_mm=levels,
        orientation=orientation,
        matrix=(round(fov_mm[0] / SIMULATED_PIXEL_MM), round(fov_mm[1] / SIMULATED_PIXEL_MM)),
        fov_mm=fov_mm,
        oversampling=1,
        field_t=strength,
        snr=60.0,
        seed=SIMULATED_SEED,
    )
    code = runs.code_fingerprint("bank", "coils", "arrays", "records", "scanner")
    folder = runs.cache_folder() / f"bank-{runs.fingerprint(dataclasses.asdict(scans), code)}"
    jobs = [
        (subject, folder / f"simulated-{n_coils:02d}coil-{subject.number:03d}-{orientation}.h5")
        for subject in scanner.subjects(scans)
    ]
    tasks.run_all(
        partial(
            _simulate_one,
            scans=scans,
            step_mm=SLICES_TOWARDS.get(orientation, 1) * (levels[1] - levels[0]),
            key=folder.name,
        ),
        [job for job in jobs if not job[1].is_file()],
        label=f"simulated donors of {n_coils} coils",
        workers=workers,
    )
    return _open([path for _, path in jobs])


def _simulate_one(
    job: tuple[scanner.Subject, Path], *, scans: scanner.ScanSettings, step_mm: float, key: str
) -> None:
    subject, path = job
    place = Place(scans.orientation, "head", step_mm)
    for scan in scanner.scans(scans, subject):
        volume = dataclasses.replace(scan.volume, attributes={"field_t": scans.field_t})
        settings = coils.EspiritSettings()
        make(path, volume, settings=settings, place=place, name=path.stem, key=key)


@tasks.torch_threads(1)
def make(
    path: Path,
    volume: RawVolume,
    *,
    settings: coils.EspiritSettings,
    place: Place,
    name: str,
    key: str,
) -> None:
    """Estimate one volume's coils and write the donor's file.

    Slices whose maps are flagged as bad are left out.

    Raises:
        ValueError: fewer than two coils, or no slice has maps that can be used.
    """
    magnitude = torch.stack(
        [arrays.rss(volume.coil_images(index)) for index in range(volume.n_slices)]
    )
    head = outline(magnitude)
    level = [math.nan] * volume.n_slices
    thickness, field_t = header_numbers(volume)
    field_t = float(str(volume.attributes.get("field_t", field_t)))
    thickness = float(str(volume.attributes.get("thickness_mm", thickness)))
    step = float(str(volume.attributes.get("step_mm", thickness)))
    step = place.step_mm if place.step_mm == place.step_mm else step
    if step == step:
        level = [(index - head.widest) * step for index in range(volume.n_slices)]
    kept, maps, flags, residuals = [], [], [], []
    noise = torch.zeros(volume.n_coils, volume.n_coils, dtype=torch.complex128)
    for first in range(0, volume.n_slices, BLOCK):
        indices = range(first, min(first + BLOCK, volume.n_slices))
        kspace = torch.stack([volume.signal(index) for index in indices])
        images = torch.stack([volume.images_of(one) for one in kspace])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the qualities say the same
            found = coils.espirit_maps(kspace, settings, image_shape=volume.image_shape)
        for row, quality in enumerate(coils.judge(images, found)):
            index = indices[row]
            noise += _covariance_sum(images[row], head, index)
            if quality.flags or not head.area[index]:
                flags.append(f"slice {index}: {'; '.join(quality.flags) or 'no head'}")
                continue
            kept.append(index)
            residuals.append(quality.residual)
            few = to_head(found.maps[row], head.centre[index], head.half[index])
            maps.append(few.flip(-2) if volume.upside_down else few)  # a bank's heads are upright
    if not kept:
        raise ValueError(
            f"no slice has maps that could serve another head ({'; '.join(flags[:3])}); leave this "
            "scan out of the bank"
        )
    covariance, noise_from = _covariance(noise, volume)
    widest = head.half[head.widest]
    asked = dataclasses.asdict(settings)
    source_hash = runs.sha256(volume.source) if volume.source else ""
    plane = str(volume.attributes.get("orientation", "unknown"))
    label = words.listed_contrast(volume.contrast, plane)  # MRD's is free text
    orientation = place.orientation or orientation_of(label, plane)
    anatomy = place.anatomy or anatomy_of(volume)
    attributes = {
        "key": key,
        "fingerprint": runs.fingerprint(source_hash, asked, key),
        "name": name,
        "n_coils": volume.n_coils,
        "n_slices": len(kept),
        "contrast": label,
        "orientation": orientation,
        "anatomy": anatomy,
        "field_t": _known(field_t),
        "half_mm": [_known(float(widest[at]) * volume.spacing_mm[at]) for at in (0, 1)],
        "levels_mm": [_known(level[index]) for index in kept],
        "quality": {
            "residual": round(float(np.median(residuals)), 4),
            "slices": f"{len(kept)} of {volume.n_slices}",
            "flags": flags,
            "noise": noise_from,
        },
        "source_sha256": source_hash,
        "record": runs.make_record({"espirit": asked, "points": POINTS}),
    }
    prepared_hdf5.write(path, {"maps": torch.stack(maps), "covariance": covariance}, attributes)


def _covariance_sum(images: Tensor, head: Outline, index: int) -> Tensor:
    """Sum of y y^H over the pixels in air far from the head, (coil, coil)."""
    ny, nx = images.shape[-2:]
    y = (torch.arange(ny) - head.centre[index, 0]) / head.half[index, 0]
    x = (torch.arange(nx) - head.centre[index, 1]) / head.half[index, 1]
    far = (y[:, None].square() + x.square()).sqrt() > AIR_FROM
    # ghosts and ringing, which coils see as they see the head, are brighter than noise
    power = torch.nn.functional.avg_pool2d(
        images.abs().square().sum(0)[None], 5, stride=1, padding=2, count_include_pad=False
    )[0]
    if bool(far.any()):
        far &= power < QUIET * power[far].quantile(QUIETEST)
    samples = images[:, far].to(torch.complex128)
    return samples @ samples.mH


def _covariance(total: Tensor, volume: RawVolume) -> tuple[Tensor, str]:
    """Covariance with a mean diagonal of 1, and where it is from."""
    source, scanned = "air", volume.noise_covariance()
    if scanned is not None:
        source, total = "noise scan", scanned
    elif not bool(total.diagonal().real.min() > 0):
        # a masked background: the ends of k-space are noise, too
        kspace = volume.signal(volume.n_slices // 2)
        first, end = volume.acquired
        rows = kspace.shape[-2] // 8
        ends = torch.cat([kspace[:, :rows, first:end], kspace[:, -rows:, first:end]], 1).flatten(1)
        ends = ends[:, ends.abs().amax(0) > 0].to(torch.complex128)
        source, total = "ends of k-space", ends @ ends.mH
        if ends.shape[1] < FEW_SAMPLES * volume.n_coils or not bool(
            total.diagonal().real.min() > 0
        ):
            source, total = "none found: taken as white", torch.eye(volume.n_coils).to(total)
    total = total / total.diagonal().real.mean()
    shrunk = (1 - SHRINK) * total + SHRINK * torch.eye(volume.n_coils).to(total)
    return shrunk.to(torch.complex64), source


def anatomy_of(volume: RawVolume) -> str:
    """The part of the body that raw data tell, a word of words.ANATOMIES, or "unknown".

    An attribute "anatomy", the header's bodyPartExamined, or the acquisition of
    fastMRI's brains and knees, whichever tells it first.
    """
    texts = [str(volume.attributes.get("anatomy", ""))]
    try:
        root = ElementTree.fromstring(volume.header)
        names = {"h": "http://www.ismrm.org/ISMRMRD"}
        path = "h:studyInformation/h:bodyPartExamined"
        texts.append(root.findtext(path, default="", namespaces=names))
    except ElementTree.ParseError:
        pass
    known = [part for part in map(words.anatomy, texts) if part != "unknown"]
    label = volume.contrast.upper()
    if known:
        return known[0]
    if label.split("_")[0] in KNEE:
        return "knee"
    return "head" if label in HEAD else "unknown"


def header_numbers(volume: RawVolume) -> tuple[float, float]:
    """Slice thickness (mm) and field (T) of the ISMRMRD header, nan if unknown."""
    found = []
    for path in (
        "h:encoding/h:reconSpace/h:fieldOfView_mm/h:z",
        "h:acquisitionSystemInformation/h:systemFieldStrength_T",
    ):
        try:
            root = ElementTree.fromstring(volume.header)
            text = root.findtext(path, namespaces={"h": "http://www.ismrm.org/ISMRMRD"})
            found.append(float(text or "nan"))
        except (ElementTree.ParseError, ValueError):
            found.append(math.nan)
    return found[0], found[1]


def _known(value: float) -> float | None:
    """JSON has no nan."""
    return float(value) if math.isfinite(value) else None


def _key(path: Path, settings: coils.EspiritSettings, place: Place, code: str) -> str:
    stat = path.stat()
    asked = dataclasses.asdict(settings), dataclasses.asdict(place)
    return runs.fingerprint(path.name, stat.st_size, stat.st_mtime_ns, str(asked), code)


def _build_one(
    job: tuple[Path, str], *, out: Path, settings: coils.EspiritSettings, place: Place, code: str
) -> str:
    """Make one donor; the reason why not, or ""."""
    path, key = job
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zero-padded columns matter to masks, not to maps
            volume = formats.read_raw(path)
        if volume.synthetic:
            return f"{path.name}: {MADE_BY_US}; its coils are a bank's already. Leave it out."
        if volume.attributes.get("sideways"):
            return f"{path.name}: {SIDEWAYS}"
        name = f"donor-{runs.sha256(path)[:8]}"
        make(out / f"{name}.h5", volume, settings=settings, place=place, name=name, key=key)
    except Exception as error:  # damaged HDF5 raises many kinds, and none may stop the others
        if isinstance(error, OSError) and error.errno in runs.DISK_FULL:
            raise
        known = isinstance(error, (ValueError, OSError))
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        return reason if reason.startswith(path.name) else f"{path.name}: {reason}"
    return ""


def _lost(job: tuple[Path, str], error: Exception) -> str:
    """A process of a cluster died under a volume; any other error is not the volume's."""
    if type(error).__name__ != "KilledWorker":
        raise error
    return f"{job[0].name}: the process that worked on it died; run again with fewer workers"


def _open(paths: Sequence[Path]) -> Bank:
    return Bank(tuple(sorted((Donor.open(path) for path in paths), key=lambda donor: donor.name)))
