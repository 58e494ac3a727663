"""How alike are measured heads and their simulated twins: statistics, and a blind look.

    python -m tests.benchmarks.blind_look FOLDER [SEED ...]  > docs/likeness.md

FOLDER is laid out like the heads that likeness.heads.RAW names. For every seed, fresh
subjects: a set of twins for the statistics, two subjects of three slices for each head with
phase for the blind look. Seeds are 101 to 104 unless named.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from synthlib import formats, likeness, runs, tables
from synthlib.likeness import heads
from synthlib.study import blind_look, patches
from synthlib.study.blind_look import BlindLook, Settings
from synthlib.study.patches import Look

SEEDS = (101, 102, 103, 104)
EARLIER = ("susceptibility", "conductivity", "receive", "timing", "chemical_shift", "noise")
ASKED = [
    ("phase, a head left out", Settings()),
    ("phase, halves", Settings(hold_out="half")),
    ("phase, halves, smoothed by 1 pixel", Settings(hold_out="half", smooth_px=1.0)),
    ("phase, halves, smoothed by 2 pixels", Settings(hold_out="half", smooth_px=2.0)),
    ("magnitude, a head left out", Settings(part="magnitude")),
    ("magnitude, halves", Settings(part="magnitude", hold_out="half")),
]


def measured(folder: Path) -> list[Look]:
    """Looks at the measured heads with phase."""
    return [patches.look_at(formats.read_raw(folder / head.path), 0) for head in heads.RAW]


def row(what: str, results: Sequence[BlindLook]) -> dict[str, str]:
    """Means over seeds: of the mean over heads, of its interval, and of every head."""
    mean = np.mean([result.auroc for result in results])
    low, high = np.mean([result.interval for result in results], axis=0)
    by_head: dict[str, list[float]] = {head.head: [] for head in results[0].heads}
    for result in results:
        for head in result.heads:
            by_head[head.head].append(head.auroc)
    return {
        "patches": what,
        "AUROC": f"{mean:.2f} ({low:.2f} to {high:.2f})",
        **{
            name.removeprefix("head_"): f"{np.mean(values):.2f}" for name, values in by_head.items()
        },
    }


def blind_rows(folder: Path, seeds: Sequence[int]) -> list[dict[str, str]]:
    """Every question of ASKED, and what it says where the answer is known."""
    portraits = likeness.measured()
    real = measured(folder)
    made = {seed: blind_look.simulated_looks(portraits, seed=seed) for seed in seeds}
    rows = [
        row(what, [blind_look.blind_look(real + made[s], seed=s, settings=how) for s in seeds])
        for what, how in ASKED
    ]
    first, halves = seeds[0], Settings(hold_out="half")
    others = blind_look.simulated_looks(portraits, seed=runs.seed_for(first, "as measured"))
    playing = [look for look in blind_look.control(others) if look.is_measured]
    earlier = blind_look.simulated_looks(portraits, seed=first, mechanisms=EARLIER)
    for what, looks in (
        ("control: phase, halves, simulated subjects play the measured", playing + made[first]),
        ("known difference: phase, halves, without the later mechanisms", real + earlier),
    ):
        rows.append(row(what, [blind_look.blind_look(looks, seed=first, settings=halves)]))
    return rows


def main() -> None:
    folder = Path(sys.argv[1])
    seeds = [int(word) for word in sys.argv[2:]] or list(SEEDS)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    portraits = likeness.measured()
    sets = [likeness.twins(portraits, seed=seed) for seed in seeds]
    print(f"# How alike measured heads and simulated twins are\n\n{INTRODUCTION}")
    print("\n## Statistics\n")
    print(tables.from_dicts(likeness.spread(portraits, *sets))["md"])
    print("\n## Blind look\n")
    print(tables.from_dicts(blind_rows(folder, seeds))["md"])
    inputs = {head.path: runs.sha256(folder / head.path)[:16] for head in heads.RAW}
    record = runs.make_record({"seeds": seeds}, inputs)
    print(f"\n## Record\n\n```json\n{json.dumps(record, indent=1)}\n```")


INTRODUCTION = """\
Measured heads (`synthlib/measured_heads.json`) beside twins of the same matrix, pixel, coils,
level and kind of sequence, and about the same SNR. The scanner was built in view of these
heads, so this is no independent test: levels, one field, one array's size, the timing's spread and
some contrasts were set by them. Three of the eight hold magnitudes alone
and serve for the statistics of magnitude.

"If alike": of n + 1 values of one distribution, one lies in the range of the n others with a
probability of (n - 1) / (n + 1).

Blind look: a network of three convolutions sees patches of 24 x 24 pixels in the brain. "A head
left out": it learned from the other heads. "Halves": it learned from the other half of the same
brains, against other simulated subjects. AUROC, mean over the heads, 95 % t-interval over heads in
brackets, both means over the seeds; then every head. Of phase each patch's plane is taken off, the
SNR of all patches of a head is the same. Below 0.5 the network is wrong more often than right:
what it learned from other heads points the other way in this one."""


if __name__ == "__main__":
    main()
