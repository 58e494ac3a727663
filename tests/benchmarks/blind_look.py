"""How alike are measured heads and their simulated twins: statistics, and a blind look.

    python -m tests.benchmarks.blind_look FOLDER [SEED SEED SEED ...]  > docs/likeness.md

FOLDER is laid out like the heads that likeness.heads.RAW and kept_back name. Every seed draws
fresh subjects and trains networks of its own; seeds are 101 to 103 unless named. It takes
about ten minutes of one core; progress goes to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from synthlib import formats, likeness, runs, tables
from synthlib.likeness import Portrait, Twin, heads
from synthlib.study import blind_look, discrimination, patches
from synthlib.study.blind_look import BlindLook, Settings
from synthlib.study.patches import Look
from tests.benchmarks import kept_back, likeness_text
from tests.benchmarks.likeness_text import Result

SEEDS = (101, 102, 103)
SECOND_SLICE_MM = -7.0  # of a twin, from the level of its head
EARLIER = ("susceptibility", "conductivity", "receive", "timing", "chemical_shift", "noise")
NETWORK = discrimination.Settings(steps=200, batch=64, n_networks=1)
LEFT_OUT, HALVES = "left out", "halves"
SHOWN = ("detail", "peak", "brain_phase_left", "brain_phase_tail", "brain_phase_kurtosis")


class Group(NamedTuple):
    """Measured heads with their twins.

    Attributes:
        name: for tables; unit: what is left out.
        portraits: of the measured heads; looks: those with phase.
        sets: for every seed a twin of each.
    """

    name: str
    unit: str
    portraits: list[Portrait]
    looks: list[Look]
    sets: list[list[Twin]]


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def in_sample(folder: Path, seeds: Sequence[int]) -> Group:
    """The heads that the scanner was built in view of."""
    portraits = likeness.measured()
    looks = [patches.look_at(formats.read_raw(folder / head.path), 0) for head in heads.RAW]
    sets = []
    for seed in seeds:
        say(f"seed {seed}: twins of the {len(portraits)} heads")
        sets.append([_twin(one, seed) for one in portraits])
    return Group("the five", "head", portraits, looks, sets)


def _twin(one: Portrait, seed: int) -> Twin:
    settings = likeness.twin_settings(one, seed)
    if one.n_coils:  # two slices for the blind look, the head's own in the middle of the list
        levels = (one.level_mm + SECOND_SLICE_MM, one.level_mm)
        settings = dataclasses.replace(settings, positions_mm=levels)
    return likeness.matched_twin(one, settings)


def kept_back_group(folder: Path, view: kept_back.View, seeds: Sequence[int]) -> Group:
    """Four subjects that nothing was set by, one orientation."""
    found = list(kept_back.measured(folder, view))
    looks = [
        patches.look_at(head.volume, index)
        for head in found
        for index in range(head.volume.n_slices)
    ]
    sets = []
    for seed in seeds:
        say(f"seed {seed}: {view.orientation} twins of the kept-back heads")
        sets.append([kept_back.twin(head, seed) for head in found])
    portraits = [head.portrait for head in found]
    return Group(f"kept back, {view.orientation}", "subject", portraits, looks, sets)


# --- blind look ------------------------------------------------------------------------


def settings_of(part: str, hold_out: str, smooth_px: float = 0.0) -> Settings:
    return Settings(
        part="phase" if part == "phase" else "magnitude",
        hold_out="half" if hold_out == HALVES else "head",
        smooth_px=smooth_px,
        network=NETWORK,
    )


def asked(
    group: Group,
    question: str,
    settings: Settings,
    looks_of: Callable[[int], list[Look]],
    seeds: Sequence[int],
) -> Result:
    results: list[BlindLook] = []
    for number, seed in enumerate(seeds):
        say(f"{group.name}: {question}, seed {seed}")
        results.append(blind_look.blind_look(looks_of(number), seed=seed, settings=settings))
    by_head: dict[str, list[float]] = {head.head: [] for head in results[0].heads}
    for result in results:
        for head in result.heads:
            by_head[head.head].append(head.auroc)
    means = {name: float(np.mean(values)) for name, values in by_head.items()}
    return Result(group.name, question, means, [result.auroc for result in results])


def questions(group: Group, seeds: Sequence[int]) -> list[Result]:
    """AUROC of measured against simulated patches, and of simulated against simulated."""

    def against(number: int) -> list[Look]:  # two subjects of every head
        sets = [group.sets[(number + k) % len(group.sets)] for k in range(2)]
        return group.looks + patches.twin_looks(sets)

    def playing(number: int) -> list[Look]:  # one subject plays the measured, against two
        sets = [group.sets[(number + k) % len(group.sets)] for k in range(3)]
        return patches.control(patches.twin_looks(sets))

    results = []
    for part in ("phase", "magnitude"):
        a_unit = f"{part}, a {group.unit} left out"
        results += [
            asked(group, a_unit, settings_of(part, LEFT_OUT), against, seeds),
            asked(group, f"{part}, halves", settings_of(part, HALVES), against, seeds),
            asked(group, f"control: {a_unit}", settings_of(part, LEFT_OUT), playing, seeds),
        ]
    smoothed = settings_of("phase", LEFT_OUT, 2.0)
    label = f"phase, a {group.unit} left out, smoothed by 2 pixels"
    return [*results, asked(group, label, smoothed, against, seeds)]


def known_difference(group: Group, seeds: Sequence[int]) -> Result:
    """Simulated scans that lack the later mechanisms: what they lack is to be noticed."""
    say("twins without the later mechanisms")
    made = blind_look.simulated_looks(
        group.portraits, seed=seeds[0], n_twins=2, levels_mm=(0.0,), mechanisms=EARLIER
    )
    label = "known difference: phase, halves, without the later mechanisms"
    settings = settings_of("phase", HALVES)
    return asked(group, label, settings, lambda _: group.looks + made, seeds[:1])


# --- document --------------------------------------------------------------------------


def result_rows(results: Sequence[Result]) -> list[dict[str, str]]:
    return [
        {
            "heads": result.group,
            "patches": result.question,
            "AUROC (95 % interval over heads)": "{:.2f} ({:.2f} to {:.2f})".format(
                result.mean, *result.interval
            ),
            "seeds": ", ".join(f"{value:.2f}" for value in result.seeds),
            "single heads": ", ".join(f"{value:.2f}" for value in result.by_head.values()),
        }
        for result in results
    ]


def head_rows(group: Group) -> list[dict[str, str]]:
    """A row a head: measured number, then the range of its twins."""
    labels = {what.attribute: what for what in likeness.comparison.STATISTICS}
    rows = []
    for number, one in enumerate(group.portraits):
        row = {"head": one.name, "SNR": f"{one.snr:.0f}"}
        for name in SHOWN:
            digits = labels[name].digits
            made = [getattr(twins[number].portrait, name) for twins in group.sets]
            row[labels[name].label] = (
                f"{getattr(one, name):.{digits}f} / "
                f"{min(made):.{digits}f} to {max(made):.{digits}f}"
            )
        rows.append(row)
    return rows


def statistics_of(group: Group) -> None:
    sets = [[twin.portrait for twin in twins] for twins in group.sets]
    rows = [
        row
        for row in likeness.spread(group.portraits, *sets)
        if row["all twins inside"] != "-" or group.unit == "head"
    ]
    print(tables.from_dicts(rows)["md"])
    for line in likeness.spread_sentences(rows).splitlines():
        print(f"- {line}.")


def record_of(folder: Path, seeds: Sequence[int]) -> str:
    names = [head.path for head in heads.RAW]
    names += [path for view in kept_back.VIEWS for path in kept_back.paths(view)]
    inputs = {name: runs.sha256(folder / name)[:16] for name in names}
    record = runs.make_record({"seeds": list(seeds)}, inputs)
    return f"\n## Record\n\n```json\n{json.dumps(record, indent=1)}\n```"


def main() -> None:
    folder = Path(sys.argv[1])
    seeds = [int(word) for word in sys.argv[2:]] or list(SEEDS)
    if len(seeds) < 3:
        raise SystemExit(f"{len(seeds)} seeds; expected at least 3: one plays the measured heads")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    groups = [in_sample(folder, seeds)]
    groups += [kept_back_group(folder, view, seeds) for view in kept_back.VIEWS]
    print(f"# How alike measured heads and simulated twins are\n\n{likeness_text.INTRODUCTION}")
    print("\n## Statistics of the heads that the scanner was built in view of\n")
    print(f"{likeness_text.IF_ALIKE}\n")
    statistics_of(groups[0])
    for group in groups[1:]:
        print(f"\n## Statistics of heads {group.name}\n")
        statistics_of(group)
        print("\nEvery head, measured / range of its twins:\n")
        print(tables.from_dicts(head_rows(group))["md"])
    results = [result for group in groups for result in questions(group, seeds)]
    results.append(known_difference(groups[0], seeds))
    print(f"\n## Blind look\n\n{likeness_text.BLIND_LOOK}\n")
    print(tables.from_dicts(result_rows(results))["md"])
    print(likeness_text.of_blind_look(results))
    print(record_of(folder, seeds))
    say("done")


if __name__ == "__main__":
    main()
