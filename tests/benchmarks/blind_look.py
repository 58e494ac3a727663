"""How alike are measured heads and their simulated twins: statistics, and a blind look.

    python -m tests.benchmarks.blind_look FOLDER [SEED SEED ...]  > docs/likeness.md

FOLDER is laid out like the heads that likeness.heads.RAW and kept_back name. Every seed draws
fresh subjects, for the controls too, and trains networks of its own; seeds are 101 to 103 unless
named. It takes about twenty minutes of one core; progress goes to stderr.
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

import torch

from synthlib import likeness, runs, scanner, tables
from synthlib.likeness import Portrait, Twin, heads
from synthlib.study import blind_look, discrimination, patches
from synthlib.study.blind_look import Settings
from synthlib.study.patches import Look
from tests.benchmarks import kept_back, likeness_text
from tests.benchmarks.likeness_text import CONTROL, EARLIER_SCANNER, LONGER, MIDDLE, Result

SEEDS = (101, 102, 103)
SECOND_SLICE_MM = -7.0  # of a twin, from the level of its head
EARLIER = ("susceptibility", "conductivity", "receive", "timing", "chemical_shift", "noise")
# Twice as many batches raised AUROCs by up to 0.03 in trials; 200 left them 0.08 lower
NETWORK = discrimination.Settings(steps=1000, batch=64, n_networks=1)
OF_CONTROL = dataclasses.replace(NETWORK, batch=32)
TWICE = dataclasses.replace(NETWORK, steps=2000)
SHOWN = ("detail", "peak", "brain_phase_left", "brain_phase_tail", "brain_phase_kurtosis")


class Group(NamedTuple):
    """Measured heads with their twins.

    Attributes:
        name: for tables; unit: what is left out.
        portraits: of the measured heads; looks: those with phase.
        sets: for every seed two sets of twins, of other subjects than all other sets. The
            first has a twin of every head, the second of those with phase.
        otherwise: by the words before a question, two sets of the first seed's subjects,
            scanned otherwise.
    """

    name: str
    unit: str
    portraits: list[Portrait]
    looks: list[Look]
    sets: list[list[list[Twin]]]
    otherwise: dict[str, list[list[Twin]]]


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def in_sample(folder: Path, seeds: Sequence[int]) -> Group:
    """The heads that the scanner was built in view of."""
    portraits = likeness.measured()
    with_phase = [one for one in portraits if one.n_coils]
    looks = [patches.look_at(heads.read(folder, head), 0) for head in heads.RAW]
    sets = []
    for seed in seeds:
        say(f"seed {seed}: twins of the {len(portraits)} heads")
        first, second = subjects(seed)
        sets.append([_twins(portraits, first), _twins(with_phase, second)])
    say("twins without the later mechanisms")
    earlier = [_twins(with_phase, number, EARLIER) for number in subjects(seeds[0])]
    return Group("the five", "head", portraits, looks, sets, {EARLIER_SCANNER: earlier})


def subjects(seed: int) -> tuple[int, int]:
    """Seeds of the two sets of subjects that a seed of ours has."""
    return seed, runs.seed_for(seed, "second subjects")


def _twins(
    portraits: Sequence[Portrait],
    seed: int,
    mechanisms: Sequence[str] = scanner.ScanSettings.mechanisms,
) -> list[Twin]:
    twins = []
    for one in portraits:
        settings = dataclasses.replace(
            likeness.twin_settings(one, seed), mechanisms=tuple(mechanisms)
        )
        if one.n_coils:  # two slices for the blind look, the head's own in the middle of the list
            levels = (one.level_mm + SECOND_SLICE_MM, one.level_mm)
            settings = dataclasses.replace(settings, positions_mm=levels)
        twins.append(likeness.matched_twin(one, settings))
    return twins


def kept_back_group(folder: Path, view: kept_back.View, seeds: Sequence[int]) -> Group:
    """Four subjects that nothing in the scanner was set by, one orientation."""
    found = list(kept_back.measured(folder, view))
    looks = [
        patches.look_at(head.volume, index)
        for head in found
        for index in range(head.volume.n_slices)
    ]
    sets = []
    for seed in seeds:
        say(f"seed {seed}: {view.orientation} twins of the kept-back heads")
        sets.append([[kept_back.twin(head, number) for head in found] for number in subjects(seed)])
    say(f"{view.orientation} twins without the later mechanisms")
    earlier = [
        [kept_back.twin(head, number, EARLIER) for head in found] for number in subjects(seeds[0])
    ]
    portraits = [head.portrait for head in found]
    say(f"{view.orientation} twins by a train with TE in its middle")
    in_middle = [
        [kept_back.twin(head, number, contrast="AXT2") for head in found]
        for number in subjects(seeds[0])
    ]
    otherwise = {EARLIER_SCANNER: earlier, MIDDLE: in_middle}
    return Group(f"kept back, {view.orientation}", "subject", portraits, looks, sets, otherwise)


# --- blind look ------------------------------------------------------------------------


def asked(
    group: Group,
    question: str,
    network: discrimination.Settings,
    looks_of: Callable[[int], list[Look]],
    seeds: Sequence[int],
) -> Result:
    """AUROC of every head at every seed.

    Args:
        question: holds "phase" or "magnitude", which patches show.
        looks_of: the looks of a seed, by its place among the seeds.
    """
    settings = Settings(part="phase" if "phase" in question else "magnitude", network=network)
    by_head: dict[str, list[float]] = {}
    for number, seed in enumerate(seeds):
        say(f"{group.name}: {question}, seed {seed}")
        for head in blind_look.blind_look(looks_of(number), seed=seed, settings=settings).heads:
            by_head.setdefault(head.head, []).append(head.auroc)
    whole = {name: values for name, values in by_head.items() if len(values) == len(seeds)}
    return Result(group.name, question, whole)


def questions(group: Group, seeds: Sequence[int]) -> list[Result]:
    """AUROC of measured against simulated patches, and of simulated against simulated."""

    def against(number: int) -> list[Look]:  # two subjects of every head
        return group.looks + patches.twin_looks(group.sets[number])

    def playing(number: int) -> list[Look]:  # one subject plays the measured head
        return patches.control(patches.twin_looks(group.sets[number]))

    results = []
    for part in ("phase", "magnitude"):
        question = f"{part}, a {group.unit} left out"
        results.append(asked(group, question, NETWORK, against, seeds))
        results.append(asked(group, CONTROL + question, OF_CONTROL, playing, seeds))
    question = f"phase, a {group.unit} left out"
    for words, sets in group.otherwise.items():
        results.append(otherwise(group, words + question, sets, NETWORK, seeds))
    return results


def otherwise(
    group: Group,
    question: str,
    sets: list[list[Twin]],
    network: discrimination.Settings,
    seeds: Sequence[int],
) -> Result:
    """The measured heads against these sets of twins, at the first seed."""
    looks = group.looks + patches.twin_looks(sets)
    return asked(group, question, network, lambda _: looks, seeds[:1])


# --- document --------------------------------------------------------------------------


def result_rows(results: Sequence[Result]) -> list[dict[str, str]]:
    return [
        {
            "heads": result.group,
            "patches": result.question,
            "AUROC (95 % interval)": "{:.2f} ({:.2f} to {:.2f})".format(
                result.mean, *result.interval
            ),
            "seeds": ", ".join(f"{value:.2f}" for value in result.seeds),
            "single heads": ", ".join(f"{value:.2f}" for value in result.heads),
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
            made = [getattr(first[number].portrait, name) for first, _ in group.sets]
            row[labels[name].label] = (
                f"{getattr(one, name):.{digits}f} / "
                f"{min(made):.{digits}f} to {max(made):.{digits}f}"
            )
        rows.append(row)
    return rows


def statistics_of(group: Group) -> None:
    sets = [[twin.portrait for twin in first] for first, _ in group.sets]
    rows = [
        row
        for row in likeness.spread(group.portraits, *sets)
        if row["all twins inside"] != "-" or group.unit == "head"
    ]
    print(tables.from_dicts(rows)["md"])
    for line in likeness.spread_sentences(rows).splitlines():
        print(f"- {line}.")
    print(likeness_text.of_tails(group.name, group.portraits, [one for of in sets for one in of]))


def record_of(folder: Path, seeds: Sequence[int]) -> str:
    names = [head.path for head in heads.RAW]
    names += [path for view in kept_back.VIEWS for path in kept_back.paths(view)]
    inputs = {name: runs.sha256(folder / name)[:16] for name in names}
    record = runs.make_record({"seeds": list(seeds)}, inputs)
    return f"\n## Record\n\n```json\n{json.dumps(record, indent=1)}\n```"


def main() -> None:
    folder = Path(sys.argv[1])
    seeds = [int(word) for word in sys.argv[2:]] or list(SEEDS)
    if len(seeds) < 2:
        raise SystemExit(f"{len(seeds)} seed; expected at least 2, for intervals that count them")
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
    question = f"{LONGER}phase, a {groups[1].unit} left out"
    results.append(otherwise(groups[1], question, groups[1].sets[0], TWICE, seeds))
    words = likeness_text.BLIND_LOOK.format(earlier=", ".join(EARLIER).replace("_", " "))
    print(f"\n## Blind look\n\n{words}\n")
    print(tables.from_dicts(result_rows(results))["md"])
    print(likeness_text.of_blind_look(results))
    print(record_of(folder, seeds))
    say("done")


if __name__ == "__main__":
    main()
