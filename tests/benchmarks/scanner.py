"""Where the simulated scanner spends its time, stage by stage, for one subject on one core."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from synthlib import arrays, formats, runs, scanner
from synthlib.scanner import anatomy
from synthlib.scanner.kspace import acquire
from synthlib.scanner.measurement import draw_measurement
from synthlib.scanner.patient import admit
from synthlib.scanner.slices import image_slice

SETS = {  # of one contrast
    "128 x 128": scanner.ScanSettings(
        coil_counts=(16,), contrasts=("AXT2",), n_slices=8, matrix=(128, 128), fov_mm=(230.0, 230.0)
    ),
    "256 x 256": scanner.ScanSettings(
        coil_counts=(16,), contrasts=("AXT2",), n_slices=8, matrix=(256, 256), fov_mm=(230.0, 230.0)
    ),
}
SUBJECTS, CORES = 40, 2


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
