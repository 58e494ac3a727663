"""What networks learn from each source of phase, beside those that learned from measured phase.

    python -m tests.benchmarks.downstream FOLDER [SOURCE ...] [--heads FOLDER]

The study is the demo's (8 coils, 96 x 80, 36 simulated patients), its unrolled networks are
trained for STEPS steps at each R from each of SEEDS, on the magnitudes of the
same training patients. They are tested on the simulated test patients' scans, and with --heads
on measured scans at each R. Networks that are there are not trained again.

Prints, for every source and R, the mean difference of PSNR from measured phase with its 95 %
t-interval: over simulated patients (means over seeds), and over measured patients.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from synthlib import pairs, scanner
from synthlib.phase import training
from synthlib.recon import grid, networks
from synthlib.study import experiments, heads, measured_scans

SOURCES = ("measured", "flow", "gan", "polynomial", "other_patient", "sinusoidal", "zero")
SEEDS, STEPS = (1, 2), 300
MARGIN_DB = 0.3  # within which a source is as good as measured phase
SEED = 2023


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("sources", nargs="*", default=list(SOURCES))
    parser.add_argument("--heads", default="")
    parser.add_argument("--accelerations", nargs="+", type=int, default=[4, 6], metavar="R")
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    folder = Path(chosen.folder).absolute()
    study = open_study(folder, chosen.workers)
    cells = [
        study.cell("downstream", source, acceleration, seed, [data])
        for source in chosen.sources
        for data in [study.training_data(source, study.parts["train"])]
        for acceleration in chosen.accelerations
        for seed in SEEDS
    ]
    rows = grid.rows_of(grid.run(cells, workers=chosen.workers))
    floor = [study.cell("downstream", grid.CG_SENSE, r, 0) for r in chosen.accelerations]
    _print("simulated", rows + grid.rows_of(grid.run(floor)), chosen.sources)
    if chosen.heads:
        scans = measured_scans.open_scans(chosen.heads, folder)
        of_heads: list[dict[str, Any]] = []
        for acceleration in chosen.accelerations:
            test = heads.HeadTest(scans, acceleration, study.settings.center_fraction, (1, 2))
            trained = [cell for cell in cells if cell.acceleration == acceleration]
            for row in heads.network_rows(test, trained):
                of_heads.append({"acceleration": acceleration, **row})
        _print("measured heads", of_heads, chosen.sources)


def open_study(folder: Path, workers: int) -> experiments.Study:
    """The demo's study, with its GAN, for networks of STEPS steps."""
    parts = pairs.open_study(
        "simulated", n_coils=8, out_dir=folder, gan_fraction=0.28, test_fraction=0.46, seed=SEED,
        simulate=scanner.ScanSettings(n_subjects=36, n_slices=3, matrix=(96, 80)), workers=workers,
    )  # fmt: skip
    gan = training.GanSettings(
        ngf=16, ndf=16, depth=6, epochs=16, seed=SEED, accelerator="cpu", threads=1
    )
    job = training.Job(parts["gan"], [], folder / "gan", gan, "the demo's GAN")
    path = training.publish(training.train(job), folder, 8)
    settings = networks.NetworkSettings(
        "unrolled", 1, 24, 12, pools=2, steps=STEPS, learning_rate=2e-3,
        schedule="one_cycle", loss="l2", accelerator="cpu",
    )  # fmt: skip
    return experiments.Study(parts, path, settings, folder / "benchmark", SEED, workers)


def _print(where: str, rows: Sequence[dict[str, Any]], sources: Sequence[str]) -> None:
    names = [*sources, *sorted({row["source"] for row in rows} - set(sources))]
    for acceleration in sorted({row["acceleration"] for row in rows}):
        means = {name: _patient_means(rows, name, acceleration) for name in names}
        patients = sorted(means["measured"])
        for name in names:
            values = np.array([means[name][who] for who in patients])
            base = np.array([means["measured"][who] for who in patients])
            off = values - base
            half = stats.t.ppf(0.975, len(off) - 1) * off.std(ddof=1) / len(off) ** 0.5
            low, high = off.mean() - half, off.mean() + half
            word = "equivalent" if low > -MARGIN_DB and high < MARGIN_DB else ""
            each = " ".join(f"{value:.2f}" for value in values) if len(values) < 8 else ""
            print(
                f"{where:15s} R={acceleration} {name:15s} {values.mean():6.2f} dB, "
                f"{off.mean():+.2f} ({low:+.2f} to {high:+.2f}), "
                f"{len(off)} patients {word} {each}",
                flush=True,
            )


def _patient_means(
    rows: Sequence[dict[str, Any]], source: str, acceleration: int
) -> dict[str, float]:
    by_patient: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if (row["source"], row["acceleration"]) == (source, acceleration):
            by_patient[row["patient"]].append(row["PSNR"])
    return {who: float(np.mean(values)) for who, values in by_patient.items()}


if __name__ == "__main__":
    main()
