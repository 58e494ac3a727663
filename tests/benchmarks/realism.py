"""Realism cards: `python -m tests.benchmarks.realism FOLDER HEADS`.

FOLDER is that of tests.benchmarks.downstream, whose study's test scans are looked at; HEADS
the folder of measured heads, which nothing was trained on. Cards of the simulated scans and of
each measured multi-coil head; then the fine part's correlation with measured phase alone, where
coils were combined by others: T2 of four subjects in two orientations (high-passed, as those
images are), and a gradient echo of a whole head at two echo times.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from synthlib import archive, arrays, phase, runs
from synthlib.conversion.phase import conditions_of
from synthlib.phase import flow, scores
from synthlib.phase.flow import Conditions
from synthlib.records import ImageVolume
from synthlib.study import discrimination, gan_matrix, measured_scans, realism
from tests.benchmarks import downstream, kept_back

NAMES = ("measured", "flow", "gan", "polynomial", "other_patient", "zero")
SEED = 5
N_DRAWS = 4
MAX_SLICES = 90
EVERY = 6  # slice of the gradient echo


def main(folder: Path, heads: Path) -> None:
    study = downstream.open_study(folder, 2)
    slices = gan_matrix.scored_slices(study.parts["test"], MAX_SLICES)
    network = discrimination.Settings()
    made = realism.cards(NAMES, slices, study.context, n_coils=8, seed=SEED, network=network)
    _print(f"simulated, {len(slices)} slices", realism.rendered(made))
    print(realism.verdict(made, "flow"), flush=True)
    writer = phase.load("flow-head-v1")
    assert isinstance(writer, flow.PhaseFlow)
    for row in realism.calibration(slices, writer, seed=SEED):
        print(row)
    for scan in measured_scans.open_scans(str(heads / "multicoil"), folder):
        chosen = gan_matrix.scored_slices([scan])[:8]
        made = realism.cards(
            NAMES, chosen, study.context, n_coils=scan.raw.n_coils, seed=SEED, network=None
        )
        _print(f"{scan.name}, {len(chosen)} slices", realism.rendered(made))
    for view in kept_back.VIEWS:
        per_head = [_high_passed(writer, head) for head in kept_back.measured(heads, view)]
        _interval(f"complex T2, {view.orientation}", per_head)
    for name in ("gre_head",):
        for volume in _with_phase(heads / name):
            values = _of_volume(writer, volume)
            print(
                f"{name} {volume.facts.get('te_ms')} ms: fine part's correlation "
                f"{np.nanmean(values):+.3f}, mean of {len(values)} slices of one head"
            )


def _print(title: str, rows: list[dict[str, str]]) -> None:
    print(f"\n{title}")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + " --- |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(row.values()) + " |", flush=True)


def _interval(title: str, values: list[float]) -> None:
    numbers = np.array([value for value in values if np.isfinite(value)])
    half = stats.t.ppf(0.975, len(numbers) - 1) * numbers.std(ddof=1) / len(numbers) ** 0.5
    print(
        f"{title}: fine part's correlation {numbers.mean():+.3f} "
        f"({numbers.mean() - half:+.3f} to {numbers.mean() + half:+.3f}), {len(numbers)} values",
        flush=True,
    )


def _high_passed(writer: flow.PhaseFlow, head: kept_back.KeptBack) -> float:
    """Mean correlation over slices and draws of a head whose smooth phase was taken off."""
    found = []
    known = Conditions("T2", head.view.orientation, False, 100.0, 3.0)
    for index in range(head.volume.n_slices):
        image = head.volume.coil_images(index)[0]
        magnitude = image.abs()
        draws = writer.fine_phase(
            magnitude.expand(N_DRAWS, -1, -1), head.volume.spacing_mm, runs.rng(SEED, index),
            conditions=known,
        )  # fmt: skip
        drawn = kept_back.without_smooth_phase(torch.polar(magnitude.expand_as(draws), draws))
        weight = magnitude * (magnitude > arrays.dark_level(magnitude))
        found += [scores.correlation(one.angle(), image.angle(), weight) for one in drawn]
    return float(np.mean(found))


def _with_phase(folder: Path) -> Iterator[ImageVolume]:
    for series in archive.find([folder], salt=b"benchmark").series:
        volume = archive.read(series)
        if volume.phase is not None:
            yield volume


def _of_volume(writer: flow.PhaseFlow, volume: ImageVolume) -> list[float]:
    assert volume.phase is not None
    found = []
    for index in range(EVERY, volume.n_slices - EVERY, EVERY):
        magnitude = volume.magnitude[index]
        draws = writer.fine_phase(
            magnitude.expand(N_DRAWS, -1, -1), volume.spacing_mm, runs.rng(SEED, index),
            conditions=conditions_of(volume),
        )  # fmt: skip
        weight = magnitude * (magnitude > arrays.dark_level(magnitude))
        found.append(
            float(np.mean([scores.fine_correlation(d, volume.phase[index], weight) for d in draws]))
        )
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
