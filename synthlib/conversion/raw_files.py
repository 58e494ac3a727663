"""From raw data of any format to another format: one volume a file, slice by slice.

K-space stays as it is, bit by bit; what the source says of itself is kept, and what it
does not say stays unknown. Scans of lines (MRD, Siemens) come as sorted, averaged
k-space, 3-D ones after the FFT along kz.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from synthlib import arrays, coils, formats, runs, tasks
from synthlib.conversion.settings import FORMATS
from synthlib.formats import own_facts, reading
from synthlib.formats.fastmri_writer import SingleCoilWriter
from synthlib.formats.raw_header import RawHeader
from synthlib.formats.writers import WRITERS
from synthlib.records import RawVolume

KINDS = {"fastmri": reading.FASTMRI, "mrd": reading.MRD, "cfl": reading.CFL}
RECORD = "convert_raw"  # entry of the record in every file that is made here
WRITTEN, PRESENT, FAILED = "written", "present", "failed"
ZERO_FILLED = "undersampled: its reconstruction_rss is the zero-filled image"


@dataclasses.dataclass(frozen=True)
class Converted:
    """What became of one volume.

    Attributes:
        name: of the volume, without an ending.
        status: WRITTEN, PRESENT (by an earlier run) or FAILED.
        reason: why it failed.
        notes: what is worth knowing of the volume.
    """

    name: str
    status: str
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Settings:
    format: str
    single_coil: bool
    force: bool
    code: str


@dataclasses.dataclass(frozen=True)
class _Job:
    """One file: the names of its volumes, why it cannot be used ("": it can), and those of the
    names that other files would take, too, with all who would."""

    path: Path
    names: tuple[str, ...]
    problem: str = ""
    shared: dict[str, list[str]] = dataclasses.field(default_factory=dict)


def convert_raw(
    source: str | Path,
    out: str | Path,
    *,
    format: str,
    single_coil: bool = False,
    force: bool = False,
    workers: int = 1,
    scheduler: str = "",
) -> list[Converted]:
    """Write every volume of raw files to a file of its own in another format.

    A file of several volumes becomes <name>, <name>_v2, <name>_v3 ... Where two files would
    take one name, neither does. What is there and current is not written again; a file that
    cannot be used stops no other.

    Args:
        source: a file, or a folder, searched with its subfolders, which come out alike.
        out: folder of the new files; those in it are not taken for sources.
        format: "fastmri", "mrd" or "cfl".
        single_coil: one coil that stands for all, as fastMRI emulates it; fastmri only.
        force: replace files that are there and were made otherwise.
        workers, scheduler: as tasks.run_all takes them.

    Returns:
        One entry for each volume, and one for each file that could not be opened.

    Raises:
        FileNotFoundError: no such folder, or no raw data in it.
        ValueError: an unknown format, single coil in another format than fastmri.
        OSError: the disk is full.
    """
    require_raw_format(format, single_coil)
    source, out = Path(source), Path(out)
    if source.is_dir() and out.resolve() == source.resolve():
        raise ValueError(
            f"--out is the folder of the raw data, {out}; expected another one, so that no later "
            "run takes new files for sources. Give a folder below it, or beside it."
        )
    paths = [path for path in formats.raw_files(source) if not _is_below(path, out, source)]
    if not paths:
        what = "has no file of raw data" if source.is_dir() else "is not a folder"
        raise FileNotFoundError(f"{source} {what}; {formats.EXPECTED}. Check the path.")
    code = runs.code_fingerprint("formats", "coils", "arrays", "records", "conversion.raw_files")
    work = partial(_convert_file, out=out, settings=_Settings(format, single_coil, force, code))
    named = list(formats.names_below(source, paths).items())
    counts = tasks.run_all(
        _n_volumes, named, label="files opened", workers=workers, scheduler=scheduler,
        on_error=_uncounted,
    )  # fmt: skip
    jobs = _jobs(named, counts)
    done = tasks.run_all(
        work, jobs, label="raw files", workers=workers, scheduler=scheduler, on_error=_lost
    )
    return [entry for entries in done for entry in entries]


def require_raw_format(format: str, single_coil: bool = False) -> None:
    """Raise a ValueError for a format that is not written, or that has no single coil."""
    if format not in WRITERS:
        raise ValueError(f"format is {format!r}; expected one of {', '.join(WRITERS)}")
    if single_coil and format != "fastmri":
        raise ValueError(
            f"a single coil was asked for in the format {format}; expected fastmri, whose loaders "
            "know such files. Choose --format fastmri, or leave --single-coil out."
        )


def _is_below(path: Path, out: Path, source: Path) -> bool:
    """Whether a file was written by an earlier run into a folder within the source."""
    inner = source.is_dir() and source.resolve() in out.resolve().parents
    return inner and out.resolve() in path.resolve().parents


def _n_volumes(named: tuple[str, Path]) -> int | str:
    """How many volumes a file has, or why it cannot be used."""
    try:
        return formats.n_volumes(named[1])
    except Exception as error:  # damaged files raise many kinds, and none may stop the others
        return _reason(error, named[1])


def _jobs(named: Sequence[tuple[str, Path]], counts: Sequence[int | str]) -> list[_Job]:
    """The files with the names of their volumes, and those names that two files would take."""
    jobs = [
        _Job(path, (name,), problem=count)
        if isinstance(count, str)
        else _Job(path, tuple(name if i == 0 else f"{name}_v{i + 1}" for i in range(count)))
        for (name, path), count in zip(named, counts, strict=True)
    ]
    sources: dict[str, list[str]] = {}
    for job in jobs:
        for name in job.names:
            sources.setdefault(name, []).append(job.path.name)
    return [
        dataclasses.replace(
            job, shared={name: sources[name] for name in job.names if len(sources[name]) > 1}
        )
        for job in jobs
    ]


def _convert_file(job: _Job, *, out: Path, settings: _Settings) -> list[Converted]:
    if job.problem:
        return [Converted(job.names[0], FAILED, job.problem)]
    entries = []
    for number, name in enumerate(job.names):
        target = out / f"{name}{FORMATS[settings.format]}"
        try:
            if name in job.shared:
                raise ValueError(
                    f"{' and '.join(job.shared[name])} would both become {target.name}; expected "
                    "one source for each new file. Rename one of them, or convert them into "
                    "different folders (--out)."
                )
            entries.append(_convert(job.path, number, name, target, settings))
        except Exception as error:  # damaged files raise many kinds, and none may stop the others
            entries.append(Converted(name, FAILED, _reason(error, job.path)))
    return entries


def _convert(path: Path, number: int, name: str, target: Path, settings: _Settings) -> Converted:
    key = _key(path, number, settings)
    if target.exists():
        if target.resolve() in (path.resolve(), path.with_suffix(".hdr").resolve()):
            raise ValueError(
                f"{path.name}: the new file would overwrite it; choose another folder for --out"
            )
        record = own_facts.record_of(target, KINDS[settings.format])
        if record.get(RECORD, {}).get("key") == key:
            return Converted(name, PRESENT)
        if not settings.force:
            raise ValueError(
                f"{target.name} is there and was made otherwise (another source, settings or "
                "version); give --force to replace it, or another --out"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notes say the same
        volume = formats.read_raw(path, undersampled=True, number=number)
    volume = dataclasses.replace(volume, name=Path(name).name)
    if settings.single_coil and volume.n_coils < 2:
        raise ValueError(f"{path.name}: it has one coil; a single coil is emulated from several")
    if settings.single_coil and volume.undersampled:
        raise ValueError(f"{path.name}: it is undersampled; a single coil needs all lines")
    header = own_facts.header_of(volume)
    record = {**header.record, RECORD: {"key": key, "single_coil": settings.single_coil}}
    header = dataclasses.replace(header, record=record)
    if settings.single_coil:  # the noise of several coils is not that of their sum
        header = dataclasses.replace(header, noise=None, noise_covariance=None)
    try:
        _write(target, volume, header, settings)
    except ValueError:
        if header.acquired is None:
            raise
        # columns that are empty in the middle slice are not in another
        _write(target, volume, dataclasses.replace(header, acquired=None), settings)
    return Converted(name, WRITTEN, notes=_notes(volume, header, settings))


def _notes(volume: RawVolume, header: RawHeader, settings: _Settings) -> tuple[str, ...]:
    """What was found in the source, and what of it is not in the new file."""
    notes = [note for note in volume.notes if "convert-raw" not in note]  # which is what happens
    if volume.undersampled and settings.format == "fastmri":
        notes.append(ZERO_FILLED)
    if volume.calibration is not None:
        notes.append("lines measured for calibration alone are not in the new file")
    if volume.noise is not None and settings.format == "fastmri":
        notes.append("the noise scan is not in the new file")
    if header.noise_covariance is not None and settings.format != "fastmri":
        notes.append("the covariance of the receivers' noise is not in the new file")
    return tuple(notes)


def _write(target: Path, volume: RawVolume, header: RawHeader, settings: _Settings) -> None:
    n_slices, n_coils, rows, columns = volume.kspace.shape
    if settings.single_coil:
        with SingleCoilWriter(target, shape=(n_slices, 1, rows, columns), header=header) as writer:
            for index in range(volume.n_slices):
                kspace = volume.kspace[index]
                one_coil = coils.emulated_kspace(kspace, volume.recon_shape)
                writer.put(index, one_coil, _rss(volume, index, kspace))
        return
    sizes = n_slices, n_coils, rows, columns
    with WRITERS[settings.format](target, shape=sizes, header=header) as plain:
        for index in range(volume.n_slices):
            rss = None if volume.rss is None or volume.n_coils == 1 else volume.rss[index]
            plain.put(index, volume.kspace[index], rss)


def _rss(volume: RawVolume, index: int, kspace: Tensor) -> Tensor:
    if volume.rss is not None:
        return volume.rss[index]
    return arrays.rss(arrays.crop_or_pad_image(arrays.ifft2c(kspace), volume.recon_shape))


def _key(path: Path, number: int, settings: _Settings) -> str:
    stat = path.stat()
    asked = settings.format, settings.single_coil, settings.code
    return runs.fingerprint(path.name, stat.st_size, stat.st_mtime_ns, number, *asked)


def _reason(error: Exception, path: Path) -> str:
    """Why a file failed; a full disk stops everything."""
    if isinstance(error, OSError) and error.errno in runs.DISK_FULL:
        raise error
    if isinstance(error, OSError):
        text = error.strerror or str(error)
    elif isinstance(error, ValueError):
        text = str(error)
    else:
        text = f"{type(error).__name__}; the file is damaged, or of a kind that is not known"
    return text.removeprefix(f"{path.name}: ")


def _uncounted(named: tuple[str, Path], error: Exception) -> str:
    return _death(error)


def _lost(job: _Job, error: Exception) -> list[Converted]:
    reason = _death(error)
    return [Converted(name, FAILED, reason) for name in job.names]


def _death(error: Exception) -> str:
    """A process of a cluster died under a file; any other error is not the file's."""
    if type(error).__name__ != "KilledWorker":
        raise error
    return "the process that worked on it died; run again with fewer workers"
