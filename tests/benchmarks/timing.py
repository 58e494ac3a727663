"""How long a call takes."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable


def best_of(function: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some calls, after one that warms up (none if it is called once)."""
    if repeats > 1:
        function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


@dataclasses.dataclass(frozen=True)
class Duel:
    """Two functions timed in turn: medians in seconds.

    Attributes:
        ours, theirs: of the processor's time, all threads together, which other
            programs on the machine disturb little.
        ours_wall, theirs_wall: by the clock on the wall.
        ratio: median over the turns of theirs / ours, of the processor's time.
    """

    ours: float
    theirs: float
    ours_wall: float
    theirs_wall: float
    ratio: float


def interleaved(ours: Callable[[], object], theirs: Callable[[], object], n: int) -> Duel:
    """Call both in turn, n times each after one call that warms up."""
    ours(), theirs()
    turns = [(*_seconds(ours), *_seconds(theirs)) for _ in range(n)]
    cpu, wall, their_cpu, their_wall = (
        statistics.median(column) for column in zip(*turns, strict=True)
    )
    ratio = statistics.median(turn[2] / turn[0] for turn in turns)
    return Duel(cpu, their_cpu, wall, their_wall, ratio)


def _seconds(function: Callable[[], object]) -> tuple[float, float]:
    """Processor's time and wall time of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall
