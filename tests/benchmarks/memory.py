"""What a piece of work and all processes that it starts hold in memory, and compute."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable

import psutil

EVERY_S = 0.25
MIB = 2**20
KINDS = ("rss", "pss", "uss")


@dataclasses.dataclass
class Tree:
    """This process and all below it, while a piece of work goes on.

    Attributes:
        peak_mib: most that all held together at one time: "rss", in which pages that several
            share count for each; "pss", in which they count once; "uss", without them.
        cpu_s: processor's time, that of processes which have ended as it was last seen.
    """

    peak_mib: dict[str, float]
    cpu_s: float = 0.0


def watched(work: Callable[[], object]) -> Tree:
    """Do the work, and look at all processes every quarter of a second."""
    tree, ended = Tree(dict.fromkeys(KINDS, 0.0)), threading.Event()
    me = psutil.Process()
    cpu_s = {me.pid: 0.0}  # of every process that was seen
    before_s = time.process_time()
    watching_s = 0.0

    def look() -> None:
        held = dict.fromkeys(KINDS, 0.0)
        for process in (me, *me.children(recursive=True)):
            try:
                memory = process.memory_full_info()
                cpu_s[process.pid] = sum(process.cpu_times()[:2])
            except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
                continue
            for kind in KINDS:
                held[kind] += getattr(memory, kind) / MIB
        tree.peak_mib = {kind: max(tree.peak_mib[kind], held[kind]) for kind in KINDS}

    def watch() -> None:
        nonlocal watching_s
        while not ended.wait(EVERY_S):
            look()
        watching_s = time.thread_time()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        work()
    finally:
        ended.set()
        watcher.join()
    cpu_s[me.pid] = time.process_time() - before_s - watching_s
    tree.cpu_s = sum(cpu_s.values())
    return tree
