"""From DICOM on the disk to HDF5 on the disk, beside writing the same bytes and one FFT of them.

Run as `python -m tests.benchmarks.conversion [--series N]`. Memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

from synthlib import arrays, conversion, runs, scanner
from synthlib.formats import dicom
from synthlib.records import ImageVolume

MATRIX, N_COILS, N_SLICES = (256, 256), 16, 10
WARM = 1  # series that are converted before the clock starts


def archive(folder: Path, n_series: int) -> None:
    """Series of simulated heads with noise of their own, 10 slices each."""
    settings = scanner.ScanSettings(
        n_subjects=1,
        coil_counts=(4,),
        contrasts=("AXT2",),
        positions_mm=tuple(np.linspace(-30, 60, N_SLICES)),
        matrix=MATRIX,
        fov_mm=(230.0, 230.0),
        oversampling=1,
    )
    scan = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]
    coil_images = [scan.volume.coil_images(index) for index in range(N_SLICES)]
    clean = torch.stack([arrays.rss(images) for images in coil_images])
    for number in range(n_series):
        noise = 0.02 * clean.max() * torch.randn(clean.shape, generator=runs.rng(1, number))
        volume = ImageVolume(
            name=f"v{number}",
            patient_id="x",
            contrast="AXT2",
            magnitude=(clean + noise).abs(),
            spacing_mm=settings.spacing_mm,
            thickness_mm=5.0,
            step_mm=10.0,
            orientation="axial",
            field_t=3.0,
            facts={"te_ms": 100.0, "tr_ms": 5500.0},
        )
        texts = {"PatientName": f"Example^{number}", "PatientID": str(number)}
        dicom.write_series(folder / f"patient-{number}", volume, texts)


def bare(folder: Path, n_series: int) -> float:
    """Seconds to write the same bytes by h5py, and one batched FFT of them, a series at a time."""
    folder.mkdir(parents=True)
    images = torch.randn(N_SLICES, N_COILS, *MATRIX, dtype=torch.complex64)
    begin = time.perf_counter()
    for number in range(n_series):
        kspace = torch.fft.fft2(images, norm="ortho")
        with h5py.File(folder / f"{number}.h5", "w") as file:
            file["kspace"] = kspace.numpy()
    return time.perf_counter() - begin


def ours(source: Path, folder: Path, generator: str, noise: str | float = "match") -> float:
    settings = conversion.Settings(generator=generator, n_coils=N_COILS, noise=noise)
    begin = time.perf_counter()
    result = conversion.synthesize([source], folder, settings, salt_file=source / "salt")
    seconds = time.perf_counter() - begin
    assert result.count(conversion.ASIDE) == 0, [outcome.reason for outcome in result.outcomes]
    return seconds


def measure(n_series: int) -> None:
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for name, n in (("warm", WARM), ("source", n_series)):
            archive(place / name, n)
            (place / name / "salt").write_bytes(b"0123456789abcdef")
        ours(place / "warm", place / "warm-out", "sinusoidal")
        bare(place / "bare-warm", WARM)
        n = n_series * N_SLICES
        print(f"{n_series} series of {N_SLICES} slices, {MATRIX[0]} x {MATRIX[1]}, {N_COILS} coils")
        print(f"{'round':>6} {'write + FFT':>12} {'ours':>8} {'ratio':>6}   (ms per slice)")
        ratios = []
        for number in range(5):
            # both write new files into a new folder, which is gone before the next round
            plain = 1e3 * bare(place / "bare", n_series) / n
            shutil.rmtree(place / "bare")
            own = 1e3 * ours(place / "source", place / "out", "sinusoidal") / n
            shutil.rmtree(place / "out")
            ratios.append(own / plain)
            print(f"{number:>6} {plain:>12.1f} {own:>8.1f} {own / plain:>6.2f}", flush=True)
        print(f"median ratio {np.median(ratios):.2f} (asked for: 1.5)")
        without = 1e3 * ours(place / "source", place / "quiet", "sinusoidal", "none") / n
        print(f"without noise {without:.1f} ms per slice")


def measure_generator(weights: str, n_series: int) -> None:
    """The same with a trained generator."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        archive(place / "source", n_series)
        (place / "source" / "salt").write_bytes(b"0123456789abcdef")
        seconds = ours(place / "source", place / "out", weights)
        print(f"with the generator {1e3 * seconds / n_series / N_SLICES:.1f} ms per slice")


PEAK = """
import json, sys
from pathlib import Path
from tests.benchmarks import conversion
from tests.peak_memory import peak_mib
conversion.ours(Path(sys.argv[1]), Path(sys.argv[2]), "zero")
print(json.dumps(peak_mib()))
"""


def measure_memory(few: int, many: int) -> None:
    """Peak of a process that converts few or many series of two small slices."""
    global MATRIX, N_SLICES
    kept = MATRIX, N_SLICES
    MATRIX, N_SLICES = (64, 64), 2
    peaks = []
    with tempfile.TemporaryDirectory() as scratch:
        for n in (few, many):
            place = Path(scratch) / str(n)
            archive(place, n)
            (place / "salt").write_bytes(b"0123456789abcdef")
            command = [sys.executable, "-c", PEAK, str(place), str(place) + "-out"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks.append(json.loads(done.stdout.splitlines()[-1]))
    MATRIX, N_SLICES = kept
    print(
        f"peak memory: {few} series {peaks[0]:.0f} MiB, {many} series {peaks[1]:.0f} MiB, "
        f"{100 * (peaks[1] / peaks[0] - 1):+.1f} % (asked for: within 10 %)"
    )


@dataclasses.dataclass
class Options:
    series: int = 12
    many: int = 1000
    weights: str = ""


def main(options: Options | None = None) -> None:
    options = options or Options()
    measure(options.series)
    if options.weights:
        measure_generator(options.weights, options.series)
    measure_memory(10, options.many)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=12)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--weights", default="")
    main(Options(**vars(parser.parse_args())))
