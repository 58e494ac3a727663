"""From volumes, or a folder of raw files, to map files."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from synthlib import coils, formats, runs, tasks
from synthlib.formats import prepared_hdf5
from synthlib.mapstore import estimation
from synthlib.mapstore.files import MapFile, Store
from synthlib.records import RawVolume


@dataclasses.dataclass(frozen=True)
class _Job:
    """One volume's work; a volume that is not open yet is opened where the work is done."""

    name: str
    source: Path
    target: Path
    volume: RawVolume | None = None
    key: str = ""


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """How a job ended: well, with a reason why not, or as not asked for."""

    broken: str = ""
    other: tuple[str, int] | None = None  # contrast and coils, where others were asked for


@dataclasses.dataclass(frozen=True)
class _Choice:
    """Which contrasts and coil counts are asked for; empty takes all."""

    contrasts: tuple[str, ...] = ()
    n_coils: int | None = None

    def other(self, contrast: str, n_coils: int) -> tuple[str, int] | None:
        """What a volume is if it was not asked for, else None."""
        wanted = not self.contrasts or contrast in self.contrasts
        return None if wanted and self.n_coils in (None, n_coils) else (contrast, n_coils)


def build(
    volumes: Sequence[RawVolume],
    folder: str | Path,
    *,
    settings: coils.EspiritSettings | None = None,
    workers: int = 1,
    scheduler: str = "",
    device: str = "cpu",
) -> Store:
    """Estimate the maps of every volume, one file each: <folder>/<name>.h5.

    Args:
        volumes: multi-coil scans with files of their own, of different names.
        folder: of the map files, relative to the project root.
        settings: parameters of the maps.
        workers, scheduler: as tasks.run_all takes them.
        device: where the maps are estimated, "cpu" or "cuda".

    Returns:
        Store; a volume of one coil, with NaN, without signal or whose file is
        damaged is in its `broken`.

    Raises:
        ValueError: settings or a device that cannot be, two volumes of one
            name, a volume in memory only, or `folder` is that of the raw files.
        OSError: the disk is full.
    """
    for volume in volumes:
        if not volume.source:
            raise ValueError(
                f"{volume.name} lives in memory only; expected a volume that was read from a "
                "file. Write it with formats.write_raw, then read it."
            )
    twice = [name for name, n in Counter(volume.name for volume in volumes).items() if n > 1]
    if twice:
        raise ValueError(
            f"{len(twice)} volume names occur twice, for example {twice[0]}; maps are filed under "
            "them. Rename one of each, or give mapstore.build_folder the folder above them."
        )
    out = runs.resolve(folder)
    jobs = [_Job(v.name, Path(v.source), out / f"{v.name}.h5", v) for v in volumes]
    return _build(jobs, _Choice(), settings, workers, scheduler, device)


def build_folder(
    source: str | Path,
    folder: str | Path,
    *,
    contrasts: Sequence[str] = (),
    n_coils: int | None = None,
    settings: coils.EspiritSettings | None = None,
    workers: int = 1,
    scheduler: str = "",
    device: str = "cpu",
) -> Store:
    """Estimate the maps of every raw file below a folder; its subfolders come out alike.

    A volume's name is its path below `source` ("multicoil_val/file1000"), so
    that files of one name in two subfolders keep apart. Files are opened by the
    workers, and those that have current maps not at all.

    Args:
        source: folder of raw data of any format (see formats.reading), searched with its
            subfolders; also one file. Of a file that holds several volumes the first counts.
        folder: of the map files; if it lies in `source`, its files are not taken
            for raw data.
        contrasts, n_coils: keep these acquisition labels and this number of
            coils; none keeps all.
        settings, workers, scheduler, device: as :func:`build` takes them.

    Raises:
        FileNotFoundError: no such folder, or no file in it that fits.
        ValueError, OSError: as :func:`build` says.
    """
    source, out = runs.resolve(source).resolve(), runs.resolve(folder).resolve()
    ours = out if source in out.parents else None
    paths = [path for path in formats.raw_files(source) if ours not in path.parents]
    if not paths:
        what = "has no file of raw data" if source.is_dir() else "is not a folder"
        raise FileNotFoundError(f"{source} {what}; {formats.EXPECTED}. Check the path.")
    jobs = [
        _Job(name, path, out / f"{name}.h5")
        for name, path in formats.names_below(source, paths).items()
    ]
    choice = _Choice(tuple(contrasts), n_coils)
    return _build(jobs, choice, settings, workers, scheduler, device)


def _build(
    jobs: Sequence[_Job],
    choice: _Choice,
    settings: coils.EspiritSettings | None,
    workers: int,
    scheduler: str,
    device: str,
) -> Store:
    settings = settings or coils.EspiritSettings()
    settings.check()
    if not scheduler:  # a cluster's workers have devices of their own
        _require_device(device)
    for job in jobs:
        raw = job.source.resolve() == job.target.resolve()
        if raw or prepared_hdf5.is_foreign(job.target):
            raise ValueError(
                f"the maps of {job.name} would overwrite {job.target}, which is no map file. "
                "Choose a folder for the maps that holds no raw data."
            )
    code = runs.code_fingerprint("mapstore", "coils", "arrays", "records")
    jobs = [dataclasses.replace(job, key=_key(job.source, settings, code)) for job in jobs]
    outcomes = {job.name: outcome for job in jobs if (outcome := _current(job, choice))}
    todo = [job for job in jobs if job.name not in outcomes]
    done = tasks.run_all(
        partial(_build_one, choice=choice, settings=settings, code=code, device=device),
        todo,
        label="coil maps of volumes",
        workers=workers,
        scheduler=scheduler,
        on_error=_lost,
    )
    outcomes |= {job.name: outcome for job, outcome in zip(todo, done, strict=True)}
    good = [job for job in jobs if outcomes[job.name] == _Outcome()]
    broken = {job.name: text for job in jobs if (text := outcomes[job.name].broken)}
    others = [other for job in jobs if (other := outcomes[job.name].other)]
    if others and not good and not broken:
        raise FileNotFoundError(
            f"no file has contrasts {list(choice.contrasts) or 'any'} with "
            f"{choice.n_coils or 'any number of'} coils; there are: {_listing(others)}. Choose "
            "contrasts and coil counts that are there."
        )
    made = frozenset(job.name for job in good) & frozenset(job.name for job in todo)
    return Store([MapFile(job.name, job.target) for job in good], broken, made, _listing(others))


def _require_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'device "{device}" cannot be used ({reason}); expected "cpu", or "cuda" where there '
            "is a GPU and a torch that was built for it"
        ) from error


def _listing(others: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{n} x {c} {k} coils" for (c, k), n in sorted(Counter(others).items()))


def _key(source: Path, settings: coils.EspiritSettings, code: str) -> str:
    """Of size and time, quick to compare before anything is read; "" for a file that is gone."""
    try:
        stat = source.stat()
    except OSError:
        return ""
    parts = (source.name, stat.st_size, stat.st_mtime_ns, dataclasses.asdict(settings), code)
    return runs.fingerprint(*parts)


def _current(job: _Job, choice: _Choice) -> _Outcome | None:
    """The outcome of an earlier run, if its maps are still what they would be now."""
    kept = prepared_hdf5.read_attributes(job.target)
    if kept.get("key") != job.key:
        return None
    return _Outcome(other=choice.other(kept["contrast"], kept["n_coils"]))


def _build_one(
    job: _Job, *, choice: _Choice, settings: coils.EspiritSettings, code: str, device: str
) -> _Outcome:
    try:
        volume = job.volume or _open(job)
        if other := choice.other(volume.contrast, volume.n_coils):
            return _Outcome(other=other)
        source_hash, asked = runs.sha256(job.source), dataclasses.asdict(settings)
        attributes = {
            "key": job.key,
            "fingerprint": runs.fingerprint(source_hash, asked, code),
            "source_sha256": source_hash,
            "record": runs.make_record({"espirit": asked}, {job.source.name: source_hash}),
        }
        estimation.write_maps(job.target, volume, settings, device=device, attributes=attributes)
    except Exception as error:  # damaged HDF5 raises many kinds, and none may stop the others
        if isinstance(error, OSError) and error.errno in runs.DISK_FULL:
            raise
        known = isinstance(error, (ValueError, OSError))
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        reason = reason.removeprefix(f"{job.source.name}: ")
        return _Outcome(reason if reason.startswith(job.name) else f"{job.name}: {reason}")
    return _Outcome()


def _open(job: _Job) -> RawVolume:
    with estimation.caught_warnings():  # zero-padded columns matter to masks, not to maps
        volume = formats.read_raw(job.source, undersampled=True)
    return dataclasses.replace(volume, name=job.name)


def _lost(job: _Job, error: Exception) -> _Outcome:
    """A process of a cluster died under a volume; any other error is not the volume's."""
    if type(error).__name__ != "KilledWorker":
        raise error
    return _Outcome(
        f"{job.name}: the process that worked on it died, again and again; most often memory runs "
        "out. Run again with fewer workers, or leave the file out."
    )
