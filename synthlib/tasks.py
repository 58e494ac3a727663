"""Many independent pieces of work: here, on this machine's cores, or on a Dask cluster."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

import torch

from synthlib import runs

Item = TypeVar("Item")
Result = TypeVar("Result")

EVERY_S = 1.0  # between two lines
LINE_EVERY_S = 30.0  # between lines where stderr is no terminal
MAX_THREADS = 8  # of spread: each has a piece of work in memory
PROGRESS_FILE = "SYNTHLIB_PROGRESS"  # environment: a file that holds the latest line of progress


class Progress:
    """One line that says how far a long piece of work is and how long it will still take.

    In a notebook the line is replaced in place, in a terminal, too; elsewhere (a log, a
    batch system) stderr gets a new one every LINE_EVERY_S, also while one piece takes
    longer. Where the environment names a SYNTHLIB_PROGRESS file, it goes there, too, so
    that a headless run can show it. As a context manager it falls silent at the end of the
    block, also when an error ends it.
    """

    def __init__(self, label: str, total: int, done: int = 0, *, leave: bool = True) -> None:
        """Begin with `done` of `total` pieces; with `leave` the last line stays in a notebook."""
        self.label, self.total, self.done = label, total, done
        self.leave = leave
        self._begin = time.monotonic()
        self._first = done  # what an earlier run had finished says nothing about speed
        self._shown = 0.0
        self._printed = self._begin  # lines of a log: short work prints none
        self._ended = threading.Event()
        self._handle = _notebook_display()
        if self._handle is None and total > done:
            self._show(self.text(0.0))  # the first piece may take minutes
            if PROGRESS_FILE not in os.environ:
                beat = threading.Thread(
                    target=_beat, args=(weakref.ref(self), self._ended), daemon=True
                )
                beat.start()

    def step(self, note: str = "") -> None:
        """Count one piece as done; `note` says what it was."""
        self.done += 1
        if self.done >= self.total:
            self._ended.set()
        now = time.monotonic()
        if now - self._shown >= EVERY_S or self.done >= self.total:
            self._shown = now
            self._show(self.text(now - self._begin) + (f" | {note}" if note else ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()  # an error's traceback would keep the thread talking

    def text(self, elapsed_s: float) -> str:
        line = f"{self.label} {self.done}/{self.total}"
        fresh = self.done - self._first
        if self.done >= self.total:
            return f"{line}, took {duration(elapsed_s)}"
        if fresh == 0:
            return line
        return f"{line}, {duration(elapsed_s / fresh * (self.total - self.done))} left"

    def beat(self) -> None:
        """Say that the work goes on, though no piece has ended since the last line."""
        elapsed_s = time.monotonic() - self._begin
        line = self.text(elapsed_s)
        if self.done == self._first:  # nothing to guess a time from
            line += f", {duration(elapsed_s)} so far"
        self._show(line)

    def _show(self, line: str) -> None:
        if PROGRESS_FILE in os.environ:
            runs.write_text(os.environ[PROGRESS_FILE], line + "\n")
        if self._handle is not None:
            kept = line if self.leave or self.done < self.total else ""
            self._handle.update({"text/plain": kept}, raw=True)
        elif sys.stderr.isatty():
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
            if self.done >= self.total:
                print(file=sys.stderr)
        elif PROGRESS_FILE not in os.environ:
            self._log(line)

    def _log(self, line: str) -> None:
        now = time.monotonic()
        has_lines = self._printed > self._begin
        if now - self._printed >= LINE_EVERY_S or (has_lines and self.done >= self.total):
            self._printed = now
            print(line, file=sys.stderr, flush=True)


def _beat(progress: weakref.ref[Progress], ended: threading.Event) -> None:
    """Let a progress speak up every LINE_EVERY_S, until it has ended or was given up."""
    while not ended.wait(LINE_EVERY_S):
        alive = progress()
        if alive is None:
            return
        alive.beat()
        del alive


def duration(seconds: float) -> str:
    """Seconds for people: "48 s", "3 min 20 s", "5 h 10 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _notebook_display() -> Any:
    """A display handle when running inside a notebook kernel, else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display({"text/plain": ""}, raw=True, display_id=True)


def run_all(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    label: str,
    workers: int = 1,
    scheduler: str = "",
    on_error: Callable[[Item, Exception], Result] | None = None,
) -> list[Result]:
    """Apply a function to every item and return the results in the items' order.

    Args:
        function: top-level function (it travels to other processes).
        items: picklable pieces of work, independent of each other.
        label: for the line of progress.
        workers: 1 works in this process; more start that many processes, each
            with its share of the CPU threads.
        scheduler: address of a Dask scheduler ("tcp://host:8786"); `workers` is
            then the scheduler's own affair.
        on_error: gives the result of an item whose function raised an error, or
            whose process died again and again (its KilledWorker error); it may
            raise the error to stop everything. The default does.

    Raises:
        The first error of any item, after the others under way have ended.
    """
    if not items:
        return []
    handle = on_error or _stop
    results: dict[int, Result] = {}
    if workers <= 1 and not scheduler:
        with Progress(label, len(items)) as progress:
            for index, item in enumerate(items):
                try:
                    results[index] = function(item)
                except Exception as error:
                    results[index] = handle(item, error)
                progress.step()
        return list(results.values())
    with _client(min(workers, len(items)), scheduler) as client:
        from dask.distributed import as_completed

        with Progress(label, len(items)) as progress:
            # pure=False: equal-looking items (a retry, say) are still run
            futures = client.map(function, items, pure=False)
            index_of = {future.key: index for index, future in enumerate(futures)}
            for future in as_completed(futures):
                index = index_of[future.key]
                try:
                    results[index] = future.result()
                except Exception as error:
                    results[index] = handle(items[index], error)
                progress.step()
        return [results[index] for index in range(len(items))]


@contextmanager
def torch_threads(n_threads: int) -> Iterator[int]:
    """Give torch so many CPU threads for what is done within; yields how many it had before.

    The last bits of sums, matrix products and FFTs depend on the number of
    threads. What is kept is therefore computed with one, whatever the machine has:
    `@torch_threads(1)` above a function says so.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def threads_of_our_own() -> AbstractContextManager[int]:
    """Number of threads for work that is spread over threads by hand; torch takes one in each.

    Small arrays gain little from torch's own threads, which wait for each other.
    Sums then do not depend on the number of cores, either.
    """
    return torch_threads(1)


def spread(
    function: Callable[[Item], Result], items: Sequence[Item], *, at_most: int = MAX_THREADS
) -> Generator[Result, None, None]:
    """Results of a function for every item, in the items' order, made on threads of this process.

    There are as many threads as torch has now; within the function torch has
    one, so that results do not depend on their number.

    Args:
        function: safe to run at the same time as itself.
        items: pieces of work, independent of each other.
        at_most: threads; every one has a piece of work in memory, and a result
            that waits to be taken.

    Raises:
        The error of the first item that has one, after those under way have ended.
    """
    with threads_of_our_own() as n_threads:
        width = min(n_threads, len(items), at_most)
        if width <= 1:
            yield from map(function, items)
            return
        waiting: deque[Future[Result]] = deque()
        with ThreadPoolExecutor(width) as pool:
            try:
                for item in items:
                    if len(waiting) == 2 * width:
                        yield waiting.popleft().result()
                    waiting.append(pool.submit(function, item))
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def give_back_memory() -> None:
    """Let the system have what this process has freed, where its C library can (glibc).

    The allocator keeps freed pieces for the next array, in worker processes all of them (see
    MALLOC_TRIM_THRESHOLD_ below); between stages of different sizes they only lie about. Worth a
    call where hundreds of MB have become free, some times a minute: taking them again costs time.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _stop(item: object, error: Exception) -> NoReturn:
    raise error


@contextmanager
def _client(workers: int, scheduler: str) -> Iterator[Any]:
    import dask
    from dask.distributed import Client, LocalCluster

    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    scratch = Path(runs.project_root()) / "results" / ".dask"
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        # one death of a worker process is bad luck (memory), three are a fault to report
        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": 2,
                "distributed.nanny.pre-spawn-environ": {
                    "OMP_NUM_THREADS": threads,
                    # Dask's own setting gives memory back to the system after every
                    # operation; a training step then spends most of its time on page faults.
                    "MALLOC_TRIM_THRESHOLD_": 2**30,
                    "MALLOC_MMAP_THRESHOLD_": 2**30,
                },
            }
        ),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=str(scratch),
            silence_logs=40,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
