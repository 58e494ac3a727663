"""Where the simulated scanner spends its time, stage by stage, for one subject on one core.

And what a data set takes, all processes together. That alone, for other numbers of subjects and
of workers: `python -m tests.benchmarks.scanner 40 2`.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from synthlib import arrays, datasets, formats, runs, scanner, tasks
from synthlib.scanner import anatomy
from synthlib.scanner.kspace import acquire
from synthlib.scanner.measurement import draw_measurement
from synthlib.scanner.patient import admit
from synthlib.scanner.slices import image_slice
from tests.benchmarks.memory import watched

SETS = {  # of one contrast
    "128 x 128": scanner.ScanSettings(
        coil_counts=(16,), contrasts=("AXT2",), n_slices=8, matrix=(128, 128), fov_mm=(230.0, 230.0)
    ),
    "256 x 256": scanner.ScanSettings(
        coil_counts=(16,), contrasts=("AXT2",), n_slices=8, matrix=(256, 256), fov_mm=(230.0, 230.0)
    ),
}
SUBJECTS, CORES = 40, 2
FEW_SUBJECTS = 8  # enough for the memory: a process keeps nothing of the last subject but one


def stages(settings: scanner.ScanSettings, folder: Path) -> dict[str, Callable[[], object]]:
    """Name of a stage to a call of it; what it needs is ready."""
    person = scanner.subjects(settings)[0]
    cpu = torch.device("cpu")
    patient = admit(settings, person, cpu)
    centres = settings.slice_positions_mm
    points = anatomy.positions(settings.matrix, settings.fov_mm, centres)
    measurements = {n: draw_measurement(settings, person, n) for n in settings.contrasts}
    maps = patient.array.sensitivities(points)
    images = torch.ones(len(centres), 1, *settings.matrix) * maps
    (scan,) = scanner.scan_subject(settings, person, "cpu")

    def write() -> None:
        formats.write_raw(
            folder / "scan.h5",
            scan.volume.kspace[:],  # type: ignore[index]
            contrast="AXT2",
            patient_id="a",
            recon_shape=settings.matrix,
            extra={f"truth/{name}": array for name, array in scan.truth.items()},
        )

    return {
        "head, B0 and conductivity, coils": lambda: admit(settings, person, cpu),
        "slices: anatomy, signal, phase": lambda: [
            image_slice(settings, patient, measurements, centre) for centre in centres
        ],
        "sensitivities": lambda: patient.array.sensitivities(points),
        "k-space and noise": lambda: acquire(
            images, settings, 0.03, patient.array.covariance, runs.rng(1, "noise")
        ),
        "  of this, the FFT alone": lambda: [
            torch.fft.fft2(arrays.crop_or_pad(one, (2 * settings.matrix[0], settings.matrix[1])))
            for one in images
        ],
        "file": write,
    }


def report(best_of: Callable[[Callable[[], object], int], float]) -> None:
    """Print seconds a stage, their sum, and what a data set of 40 subjects takes on two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, settings in SETS.items():
            with tempfile.TemporaryDirectory() as folder:
                times = {
                    stage: best_of(call, 2)
                    for stage, call in stages(settings, Path(folder)).items()
                }
            total = sum(time for stage, time in times.items() if not stage.startswith(" "))
            print(f"\nsimulated subject, 8 slices, 16 coils, {name}, one core")
            for stage, time in times.items():
                print(f"  {stage:34s} {time:7.2f} s")
            print(f"  {'all':34s} {total:7.2f} s")
            print(f"  {SUBJECTS} subjects on {CORES} cores: {SUBJECTS * total / CORES:.0f} s")
    finally:
        torch.set_num_threads(before)
    print()
    data_set(FEW_SUBJECTS, CORES)


def data_set(n_subjects: int, workers: int) -> None:
    """Print what a data set of 256 x 256 takes: seconds a subject, memory of all processes."""
    settings = dataclasses.replace(SETS["256 x 256"], n_subjects=n_subjects)
    people = scanner.subjects(settings)
    with tempfile.TemporaryDirectory() as folder:
        scan = partial(_scanned, folder=Path(folder), settings=settings)
        begin = time.perf_counter()
        tree = watched(
            lambda: tasks.run_all(scan, people, label="simulated subjects", workers=workers)
        )
        wall_s = time.perf_counter() - begin
    print(f"data set of {n_subjects} subjects, 8 slices, 16 coils, 256 x 256, {workers} workers")
    print(f"  {wall_s:.0f} s; {tree.cpu_s / n_subjects:.1f} s of a core a subject, with the start")
    held = ", ".join(f"{mib / 1024:.2f} GiB {kind.upper()}" for kind, mib in tree.peak_mib.items())
    print(f"  most memory of all processes together: {held}", flush=True)


def _scanned(person: scanner.Subject, *, folder: Path, settings: scanner.ScanSettings) -> None:
    """Scan one subject to files, and remove them: data sets are larger than many a disk."""
    datasets._scan_to_files(person, folder=folder, settings=settings)
    for path in datasets._files(folder, person, settings):
        path.unlink()


if __name__ == "__main__":
    data_set(*(int(number) for number in sys.argv[1:] or (FEW_SUBJECTS, CORES)))
