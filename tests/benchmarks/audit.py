"""How often the audit errs, on simulated subjects that its thresholds were not chosen on.

`python -m tests.benchmarks.audit` prints the rates, and the time of an audit on
one core. The thresholds rest on other seeds of the same scanner; measured images
have more faults (ghosts, flow, uneven noise of parallel imaging) than these.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from synthlib import audit, scanner
from synthlib.audit import trials
from synthlib.records import ImageVolume
from tests.benchmarks.timing import best_of

SEED = 77
BRAIN = [scanner.TISSUES.index(name) for name in ("csf", "grey", "white", "blood", "lesion")]
ALL = ("AXT1", "AXT2", "AXFLAIR", "AXGRE")
# (ny, nx), field of view in mm, coils, SNR, field in T, slice thickness and step in mm, contrasts
PROTOCOLS = (
    ((96, 80), (230.0, 192.0), 8, 30.0, 3.0, 5.0, ALL),
    ((96, 80), (230.0, 192.0), 4, 60.0, 1.5, 3.0, ALL),
    ((192, 160), (230.0, 192.0), 8, 30.0, 3.0, 4.0, ALL),
    ((192, 160), (230.0, 192.0), 12, 12.0, 1.5, 4.0, ALL),
    ((256, 208), (240.0, 195.0), 8, 20.0, 3.0, 3.0, ALL),
    ((256, 208), (240.0, 195.0), 4, 50.0, 1.5, 5.0, ("AXT1", "AXT2")),
    ((144, 160), (220.0, 244.0), 1, 25.0, 3.0, 4.0, ALL),
    ((256, 256), (250.0, 250.0), 8, 35.0, 3.0, 2.0, ("AXT2", "AXFLAIR", "AXGRE")),
)


def scans(seed: int = SEED) -> Iterator[trials.Clean]:
    """Clean scans of one subject for each protocol, one after the other."""
    for at, (matrix, fov, n_coils, snr, field_t, step, contrasts) in enumerate(PROTOCOLS):
        settings = scanner.ScanSettings(
            n_subjects=1,
            coil_counts=(n_coils,),
            contrasts=contrasts,
            matrix=matrix,
            fov_mm=fov,
            thickness_mm=step,
            positions_mm=tuple(-6.0 + step * i for i in range(6 if matrix[0] < 200 else 4)),
            field_t=field_t,
            snr=snr,
            seed=100 * seed + at,
        )
        for scan in scanner.scans(settings, scanner.subjects(settings)[0]):
            brain = torch.isin(scan.truth["labels"], torch.tensor(BRAIN, dtype=torch.uint8))
            yield trials.clean_scan(scan.volume, brain)


def report() -> None:
    """Print error rates of every check and defect, and milliseconds a slice."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begin = time.perf_counter()
        rows = trials.error_rates(trials.run(scans()))
        print(f"audit: error rates on simulated scans, {time.perf_counter() - begin:.0f} s")
        print(trials.as_text(rows))
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
    report()
