"""An archive, not a file: thousands of series, one after the other or on a cluster."""

from __future__ import annotations

import dataclasses
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from synthlib import archive, bank, formats, runs, tasks
from synthlib.conversion import annotations as labelled
from synthlib.conversion import one, private, report
from synthlib.conversion.one import ASIDE, MADE, THERE, Job, Outcome
from synthlib.conversion.phase import demonstration_note, takes_global_state, writer_of
from synthlib.conversion.private import PARTS, pseudonym_salt, require_pseudonyms
from synthlib.conversion.settings import FOLDERS, IMAGES, MEASURED, Settings

MOST_ABREAST = 4  # series in memory at the same time


@dataclass(frozen=True)
class Result:
    """What a run made.

    Attributes:
        outcomes: of every series, in the archive's order.
        set_aside: what was not even a series.
        report: the HTML page; table: the CSV.
        jobs: of the outcomes, for :func:`synthlib.conversion.review`.
        paths: how messages may name each `where`, if that was asked for; never written.
        lost_boxes: rows of the annotations whose file is no series.
        index: list of the files by their numbers, in the user's own state folder; None where
            it cannot be written.
        labels: list of labels that numbers stand for, there too; None where there are none.
    """

    outcomes: tuple[Outcome, ...]
    set_aside: tuple[archive.SetAside, ...]
    report: Path
    table: Path
    jobs: tuple[Job, ...] = field(default=(), repr=False)
    paths: Mapping[str, str] = field(default_factory=dict, repr=False)
    lost_boxes: int = 0
    index: Path | None = field(default=None, repr=False)
    labels: Path | None = field(default=None, repr=False)

    def count(self, status: str) -> int:
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def whole(self) -> bool:
        """Every image of the asked kind is raw data now: something was made, nothing refused.

        What is of another kind (maps, localizers, phase, texts; with phase "measured" also series
        without) is no fault.
        """
        refused = [o for o in self.outcomes if o.status == ASIDE and o.reason != one.NO_PHASE]
        faults = [other for other in self.set_aside if other.fault]
        made = self.count(MADE) + self.count(THERE)
        return made > 0 and not refused and not faults


def synthesize(
    inputs: Sequence[str | Path],
    out: str | Path,
    settings: Settings,
    *,
    force: bool = False,
    workers: int = 1,
    scheduler: str = "",
    spacing_mm: tuple[float, float] | None = None,
    annotations: str | Path | None = None,
    salt_file: str | Path | None = None,
    show_names: bool = False,
) -> Result:
    """Turn magnitude images into multi-coil raw data, one file for each series.

    A series that was made before with the same settings is not made again; one
    that cannot be used is set aside with the reason and stops no other.

    Args:
        inputs: files and folders of DICOM, NIfTI, fastMRI HDF5, PNG or NPY; measured phase
            beside them (DICOM, NIfTI) is found with them.
        out: folder of the raw data (multicoil/) and the report (report.html, report.csv).
        settings: see Settings.
        force: replace raw data that are there, made with other settings.
        workers, scheduler: as tasks.run_all takes them.
        spacing_mm: (y, x) pixel size of PNG and NPY stacks.
        annotations: CSV with the columns file, slice, x, y, width, height, label;
            rows go to the series of that file's name. That of fastMRI+ is known by
            its column study_level: its boxes are turned as fastMRI's images are. Labels
            that are no words of annotations.LABELS become numbers.
        salt_file: secret that patients' pseudonyms are made with; without it one
            is drawn for this folder and kept in the user's own state folder.
        show_names: messages name files by their paths; never what is written.

    Raises:
        FileNotFoundError: no input, weights or bank of that name.
        ValueError: settings that cannot be, raw data of other pseudonyms in `out`, or
            nothing but raw data made otherwise; the report there stays.
        OSError: the disk is full.
    """
    out = Path(out).expanduser().absolute()  # other processes may stand elsewhere
    given = [inputs] if isinstance(inputs, (str, Path)) else inputs
    inputs = [Path(place).expanduser().absolute() for place in given]
    archive.require_inputs(inputs)
    salt = pseudonym_salt(out, salt_file)
    if settings.network and settings.phase != MEASURED:
        writer_of(settings)  # a wrong file is told before any work
        if note := demonstration_note(settings):
            warnings.warn(note, stacklevel=2)
    donors: list[str] = []
    if settings.maps != bank.SIMULATED:  # so is a wrong bank
        opened = bank.open_bank(settings.maps, n_coils=settings.n_coils).donors
        donors = [donor.fingerprint for donor in opened]
        bank.require_coils(opened, settings.n_coils)
    table_of_boxes = labelled.read(annotations, salt)
    found = archive.find(inputs, salt=salt, spacing_mm=spacing_mm)
    index = private.write_index(out, found.places)
    require_pseudonyms(out, salt)
    labels = private.keep_labels(out, table_of_boxes.texts) if table_of_boxes.texts else None
    runs.sweep(out / FOLDERS[settings.format])
    code = runs.code_fingerprint(
        "arrays", "records", "formats", "archive", "audit", "bank", "coils", "synthesis",
        "phase", "conversion", "scanner", "runs",
    )  # fmt: skip
    weights = runs.sha256(settings.weights) if settings.weights else settings.generator
    jobs, outcomes = [], {}
    for series in found.series:
        if settings.contrasts and series.contrast not in settings.contrasts:
            continue
        boxes_here = tuple(table_of_boxes.boxes.get(_stem(series), ()))
        asked = boxes_here, table_of_boxes.upright and bool(boxes_here)
        key = runs.fingerprint(series.stamp, settings.key(), donors, weights, code, asked)
        job = Job(series, settings, out, key, *asked)
        jobs.append(job)
        if (done := _earlier(job, force)) is not None:
            outcomes[series.name] = done
    if jobs and all(_is_other(outcomes.get(job.series.name)) for job in jobs):
        raise ValueError(
            f"{out.name} holds raw data of every series ({len(jobs)}), made otherwise (other "
            "settings, images or version); give --force to replace them, or another --out"
        )
    todo = [job for job in jobs if job.series.name not in outcomes]
    alone = workers <= 1 and not scheduler
    if todo and workers > 1 and settings.maps == bank.SIMULATED and settings.format not in IMAGES:
        bank.open_bank(settings.maps, n_coils=settings.n_coils)  # once, not by every worker
    together = settings.phase == MEASURED or not takes_global_state(settings)
    abreast = _Abreast(todo) if alone and todo and together else None
    with abreast or nullcontext():
        made = tasks.run_all(
            abreast or _convert_and_keep,
            todo,
            label="series",
            workers=workers,
            scheduler=scheduler,
            on_error=_lost,
        )
    outcomes |= {job.series.name: outcome for job, outcome in zip(todo, made, strict=True)}
    ordered = tuple(outcomes[job.series.name] for job in jobs)
    page, table = report.write(out, ordered, found.set_aside, _pictures(jobs), settings)
    paths = {}
    if show_names:
        named = archive.find(inputs, salt=salt, spacing_mm=spacing_mm, show_names=True)
        paths = dict(zip(_places(found), _places(named), strict=True))
    stems = {_stem(series) for series in found.series}
    lost = sum(len(rows) for stem, rows in table_of_boxes.boxes.items() if stem not in stems)
    return Result(ordered, found.set_aside, page, table, tuple(jobs), paths, lost, index, labels)


class _Abreast:
    """In one process: a few series at the same time, each with its share of the threads.

    Were the slices of one series all that runs, cores would idle while it is read and audited.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._context = ExitStack()
        self._stop = threading.Event()
        self._futures: dict[str, Future[Outcome]] = {}

    def __enter__(self) -> _Abreast:
        n_threads = self._context.enter_context(tasks.threads_of_our_own())
        width = max(1, min(n_threads, len(self._jobs), MOST_ABREAST))
        pool = self._context.enter_context(ThreadPoolExecutor(width))
        self._context.callback(pool.shutdown, cancel_futures=True)
        last = len(self._jobs) % width  # so many are left for a last round
        for left, job in zip(range(len(self._jobs), 0, -1), self._jobs, strict=True):
            threads = max(1, n_threads // (width if left > last else last))
            future = pool.submit(_convert_and_keep, job, threads, self._stop)
            self._futures[job.series.name] = future
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()  # Ctrl-C and a full disk wait for slices, not for series
        self._context.close()

    def __call__(self, job: Job) -> Outcome:
        return self._futures[job.series.name].result()


def _convert_and_keep(job: Job, n_threads: int = 0, stop: threading.Event | None = None) -> Outcome:
    """Convert, and keep what the report shows; the picture stays on the disk."""
    _part(job).unlink(missing_ok=True)  # of what is replaced now
    outcome = one.convert(job, n_threads, stop)
    if outcome.status == MADE:
        runs.write_json(_part(job), dataclasses.asdict(outcome))
    return dataclasses.replace(outcome, picture="")


def _lost(job: Job, error: Exception) -> Outcome:
    """A process of a cluster died under a series; any other error stops the run."""
    if type(error).__name__ != "KilledWorker":
        raise error
    series = job.series
    reason = (
        "the process that worked on it died, again and again; most often memory runs out. Run "
        "again with fewer workers, or leave the series out."
    )
    return Outcome(series.name, series.patient_id, series.contrast, series.where, ASIDE, reason)


def _part(job: Job) -> Path:
    return job.out / PARTS / f"{job.target.name}.json"


def _pictures(jobs: Sequence[Job]) -> report.Picture:
    parts = {job.series.name: _part(job) for job in jobs}

    def of(name: str) -> str:
        try:
            return str(runs.read_json(parts[name])["picture"])
        except (OSError, ValueError, KeyError):
            return ""

    return of


def _earlier(job: Job, force: bool) -> Outcome | None:
    """The outcome of an earlier run, or of one whose result must not be replaced."""
    if not job.target.exists():
        return None
    try:
        kept = runs.read_json(_part(job))
    except (OSError, ValueError):
        kept = {}
    series = job.series
    if not kept and _own_key(job.target) == job.key:
        # the run was killed between the file and what it notes of it
        return Outcome(
            series.name, series.patient_id, series.contrast, series.where, THERE, key=job.key
        )
    if kept.get("key") == job.key:
        return dataclasses.replace(
            Outcome(**kept), status=THERE, picture="", where=series.where, seconds=0.0
        )
    if force:
        return None
    reason = (
        f"{job.target.name} is there and was made otherwise (other settings, images or version); "
        "give --force to replace it, or another --out"
    )
    return Outcome(series.name, series.patient_id, series.contrast, series.where, ASIDE, reason)


def _is_other(outcome: Outcome | None) -> bool:
    """Whether raw data are there that must not be replaced."""
    return outcome is not None and outcome.status == ASIDE


def _places(found: archive.Found) -> list[str]:
    return [series.where for series in found.series] + [other.where for other in found.set_aside]


def _own_key(target: Path) -> str:
    """The key that a fastMRI file carries itself; "" for what has none."""
    try:
        return str(formats.read_raw(target).attributes.get("key", ""))
    except (ValueError, OSError):
        return ""


def _stem(series: archive.Series) -> str:
    """Of the first file: "file_brain_AXT2_200" of file_brain_AXT2_200.h5 or .nii.gz."""
    return labelled.stem(series.files[0])


def rows(result: Result) -> list[dict[str, object]]:
    """Rows for a table: what was made, of what, with whose coils."""
    return [
        {
            "input": outcome.where,
            "contrast": outcome.contrast,
            **{name: outcome.facts.get(name, "") for name in report.FACTS},
            "audit": len(outcome.findings),
            "set aside": outcome.reason or "-",
        }
        for outcome in sorted(result.outcomes, key=lambda outcome: archive.natural(outcome.where))
    ]


def summary(result: Result) -> Iterator[str]:
    """Lines for the end of a run."""
    made, there, aside = (result.count(status) for status in (MADE, THERE, ASIDE))
    yield f"series: {len(result.outcomes)}, of which {made} made, {there} already there, " + (
        f"{aside} set aside"
    )
    others = sum(one.n_files for one in result.set_aside)
    if others:
        yield f"files that are no series: {others}"
    if result.lost_boxes:
        yield f"rows of the annotations whose file is no series: {result.lost_boxes}"
