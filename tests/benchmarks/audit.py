"""How often the audit errs, on scans of known k-space that its thresholds were not chosen on.

`python -m tests.benchmarks.audit` prints the rates with 95 % intervals, and the time of an audit
on one core; with `docs` it also writes docs/audit. Simulated scans are 96 subjects of the design
in known_scans, one scan each, so that intervals may count them; measured heads, where
shared/real is there, are 9 persons in 17 scans, printed scan by scan.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import torch

from synthlib import audit, runs
from synthlib.audit import heads, trials, view
from synthlib.core.noise_level import estimate_noise
from synthlib.records import ImageVolume
from tests.benchmarks.known_scans import STATING, known_scans
from tests.benchmarks.timing import best_of

N_SCANS = 96
COLUMNS = (
    "check",
    "defect",
    "strength",
    "scans",
    "not judged",
    "errors",
    "rate (%)",
    "95 % interval (%)",
    "also found in most",
)


def simulated(n_scans: int) -> Iterator[trials.Clean]:
    for known in known_scans(STATING, n_scans):
        yield known.clean


def measured() -> Iterator[trials.Clean]:
    """Measured heads, all of their k-space measured; none where shared/real is not there."""
    folder = runs.project_root().parent / "shared" / "real"
    for path in sorted([*folder.glob("*coil/*.h5"), *folder.glob("complex_t2/*.h5")]):
        with h5py.File(path) as file:
            kspace = torch.from_numpy(file["kspace"][()])
        yield trials.Clean(path.stem, kspace if kspace.ndim == 4 else kspace[:, None])


def cells(row: trials.Row) -> list[object]:
    """One row of the table."""
    low, high = (100 * share for share in row.interval)
    rate = f"{100 * row.n_errors / row.n:.0f}" if row.n else "-"
    kind = "no defect (false alarms)" if row.defect == trials.CLEAN else row.defect
    return [
        row.check, kind, row.strength, row.n, row.n_unjudged, row.n_errors, rate,
        f"{low:.0f} to {high:.0f}", ", ".join(row.others),
    ]  # fmt: skip


def write(folder: Path, rows: list[trials.Row], n_scans: int, heads: list[str]) -> None:
    """docs/audit: error_rates.csv and error_rates.md."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(cells(row) for row in rows)
    runs.write_text(folder / "error_rates.csv", text.getvalue())
    lines = [
        "# How often the audit errs",
        "",
        f"{n_scans} simulated subjects, one scan each (0.5 to 1.2 mm, axial, coronal and sagittal,",
        "T1, T2, FLAIR and gradient echo, 1 to 16 coils, SNR 10 to 120, whole numbers of 12 bits),",
        "none of which any threshold was chosen on. Errors are defects that were missed, or false",
        "alarms where there is none; intervals are exact (Clopper and Pearson) over subjects.",
        "Simulated scans have ghosts of pulsation, echo trains and steps of gain, but no motion.",
        f"Made by `python -m tests.benchmarks.audit docs` at commit {runs.git_commit()[:9]}.",
        "",
        *heads,
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + " --- |" * len(COLUMNS),
        *("| " + " | ".join(str(cell) for cell in cells(row)) + " |" for row in rows),
    ]
    runs.write_text(folder / "error_rates.md", "\n".join(lines) + "\n")


def quiet_air(folder: Path | None, n_scans: int = 48) -> None:
    """False alarms of masked air where noise is few grey values: whole numbers are often alike."""
    levels = (0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
    alarms, shares = dict.fromkeys(levels, 0), dict.fromkeys(levels, 0.0)
    for clean in simulated(n_scans):
        air_std = view.AIR_SD * estimate_noise(clean.magnitude, clean.head).air_std
        for level in levels:
            image = (clean.magnitude * (level / air_std)).round()
            finding = audit.examine(ImageVolume("a", "a", "a", image))["masked"]
            seen = heads.constant_air(view.look(ImageVolume("a", "a", "a", image)))
            alarms[level] += finding.found
            shares[level] = max(shares[level], float(seen.sum() / (~clean.head).sum()))
    lines = [
        "# Whole numbers of quiet air taken for masked air",
        "",
        f"{n_scans} simulated subjects, air untouched.",
        f"Made by `python -m tests.benchmarks.audit air` at commit {runs.git_commit()[:9]}.",
        "",
        "| s.d. of air (grey values) | false alarms | 95 % interval (%) | largest share (%) |",
        "| --- | --- | --- | --- |",
    ]
    for level in levels:
        low, high = trials.exact_interval(alarms[level], n_scans)
        lines.append(
            f"| {level:g} | {alarms[level]} of {n_scans} | {100 * low:.0f} to {100 * high:.0f} "
            f"| {100 * shares[level]:.1f} |"
        )
    print("\n".join(lines))
    if folder is not None:
        runs.write_text(folder / "masked_air.md", "\n".join(lines) + "\n")


def report(n_scans: int = N_SCANS) -> None:
    """Print error rates of every check and defect, and milliseconds a slice."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begin = time.perf_counter()
        rows = trials.error_rates(trials.run(simulated(n_scans)))
        print(f"audit: error rates on simulated scans, {time.perf_counter() - begin:.0f} s")
        print(trials.as_text(rows))
        found = {
            scan.name: [
                finding.check for finding in trials.examined(scan.name, scan.magnitude).found
            ]
            for scan in measured()
        }
        alarms = sorted(f"{name}: {', '.join(names)}" for name, names in found.items() if names)
        measured_heads = [
            f"Of {len(found)} measured scans whose k-space is whole, {len(alarms)} have a finding"
            f"{': ' if alarms else ''}{'; '.join(alarms)}. Thresholds were chosen with them in",
            "view.",
        ]
        print("\n".join(measured_heads))
        if "docs" in sys.argv[1:]:
            write(runs.project_root() / "docs" / "audit", rows, n_scans, measured_heads)
        print("\naudit of 10 slices, one core")
        for size in (128, 256, 384):
            draw = torch.Generator().manual_seed(1)
            ramp = torch.linspace(-1, 1, size)
            head = (ramp[:, None] ** 2 + ramp**2 < 0.5).float()
            noise = torch.randn(2, 10, size, size, generator=draw) * 0.03
            volume = ImageVolume("a", "a", "a", torch.hypot(head + noise[0], noise[1]))
            seconds = best_of(lambda v=volume: audit.examine(v), 5)  # type: ignore[misc]
            print(f"  {size} x {size}: {100 * seconds:.1f} ms a slice")
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    if "air" in sys.argv[1:]:
        quiet_air(runs.project_root() / "docs" / "audit")
    else:
        report()
