"""The largest memory that this process has held.

resource's ru_maxrss will not do: a new process begins with that of the one that started it,
so that after a long test run every child seems to have held as much.
"""

from __future__ import annotations

from pathlib import Path


def peak_mib() -> float:
    """MiB, of this process since its program began."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
