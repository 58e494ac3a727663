"""Words of docs/likeness.md: what was compared with what, and sentences from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from synthlib.likeness import Portrait
from synthlib.study import statistics
from synthlib.study.blind_look import nothing_carried_over

WANTED = 0.8  # at most, of the AUROC of phase patches
CONTROL, EARLIER_SCANNER = "control: ", "without the later mechanisms: "  # before a question
LONGER = "twice as many batches: "
MIDDLE = "TE in the middle of the train: "

INTRODUCTION = """\
Measured heads beside simulated twins of the same matrix, pixel, coils, level, kind of sequence
and SNR. (That of a twin is made that of its head, so SNR is not counted among the statistics.)

**Heads that the scanner was built in view of** (`synthlib/measured_heads.json`): five with phase,
from five scanners, and three of magnitudes. What agrees here is fitted, not predicted. Set by
them were: how steep the timing's plane is (rms of the five), the levels of slices (by eye), the
field of one head, the number of coils and the pixel size of another (its channels are
combinations, and its header makes it 167 mm long), the range of contrast between fat and white
matter, T2 of grey and white matter (so that their contrast is that of measured heads), the sizes
of the formers that loops lie on, what a shim leaves (two measured heads at 3 T), and which
mechanisms and statistics there are at all. Not set by them: susceptibilities, conductivities, the
other relaxation times, concomitant fields and noise of the receivers, which are from the
literature or in closed form. How much flow, eddy currents and crushers there is was chosen:
neither measured here nor, as an amount, taken from the literature.

**Heads kept back**: four subjects, T2, coronal and sagittal (SIAT_MRIdata200, SIAT, Chinese
Academy of Sciences), which nothing in the scanner was set by. Beside them: pixel sizes, which the
files do not tell, were taken so that heads are as large in the mean as simulated ones (0.67 mm
coronal, 0.81 mm sagittal); levels are by eye; 3 T and 5 mm slices are assumed; which echo of a
train measures which line is read from the files; and the box of the twins' combination of coils
(below) was set after these heads had been looked at. The order of echoes decides: decay along a
train makes an odd part of k-space, a fine phase across phase encoding, which ends at 0.6 of the
highest frequency in these files, as where the last echoes measure what lies beyond the lines of
the first. It was found after networks had told twins by a train with TE in its middle better ("TE
in the middle of the train", below). The box decides little: boxes of 7 to 31 pixels change the
brain phase left by at most 0.002 rad and its share beyond 0.3 rad by 0.04 %. Their axial slices
are left out: they show skull base and neck, turned by a quarter, where a mask of the brain fails.

Their makers combined twelve coils adaptively, which takes smooth phase away. So twins are scanned
with twelve coils, noise is added to the raw data, the coils are combined adaptively (Inati et al.
2014; box of 15 pixels and 4 iterations, which leave twins as much smooth phase as the files
have), and then the same is done to both: the phase of the image after a Gaussian of 3 pixels is
taken off, and heads are turned upright. What is compared is therefore fine phase alone. The brain
is what lies 16 mm and more inside the outline, of coronal and sagittal heads the upper 75 mm of
it. A filter, an interpolation or a correction of distortion of the measured scans that nobody
tells of would still give them away. By eye, what lies beyond 0.3 rad in sagittal heads near the
midline is mostly the void of the sagittal sinus, which the mask of these measured heads holds."""

IF_ALIKE = """\
"If alike": of n + 1 values of one distribution, one lies in the range of the n others with a
probability of (n - 1) / (n + 1), so this is the number expected in the mean. "As often as if
alike" compares with that mean, which about half of the statistics would miss by chance though
they were truly alike: read the names, not the number."""

BLIND_LOOK = """\
A network of three convolutions sees patches of 24 x 24 pixels in the brain. It learned from the
other heads (subjects) in 1000 batches of 64 and is tested on the one left out. "Control": a
simulated subject plays each measured head, against another one, in batches of 32, so 0.5 is
expected. "Without the later mechanisms": twins with {earlier} alone, as the scanner had them
earlier. "TE in the middle of the train": twins by another order of echoes (above). "Twice as many
batches" says how much more a network learns. Of phase each patch's plane
is taken off; noise is added until all patches of a head have the same SNR. Every seed has
subjects of its own (two a head, in controls, too) and its own networks.

In brackets is the 95 % interval that takes heads and seeds as random (a crossed model); where
there is one seed, over heads alone. It is still too narrow in one respect: networks that are
tested on different heads share most of the heads that they learned from, and other measured heads
to learn from would move all of them together.

Heads of one seed move together, in controls most visibly: of four pairs of like subjects, two may
differ one way and two the other, and then whatever three of them teach is wrong in the fourth, in
every turn. So a control is 0.5 in the mean of many seeds, not in each, and an interval over heads
alone would miss it far more often than in one of twenty.

Four subjects are few; they are of one scanner and one sequence, and that they are four follows
from the order of the files alone. The interval says what to expect of further subjects of that
scanner, not of another."""


class Result(NamedTuple):
    """AUROC of one question: of every head a number for every seed."""

    group: str
    question: str
    by_head: dict[str, list[float]]

    @property
    def table(self) -> np.ndarray:
        """(head, seed)."""
        return np.array(list(self.by_head.values()))

    @property
    def mean(self) -> float:
        return float(self.table.mean())

    @property
    def heads(self) -> list[float]:
        """Of every head the mean over seeds."""
        return [float(value) for value in self.table.mean(1)]

    @property
    def seeds(self) -> list[float]:
        """Of every seed the mean over heads."""
        return [float(value) for value in self.table.mean(0)]

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, heads and seeds taken as random; over heads where there is one seed."""
        both = statistics.crossed(self.table)
        return max(0.0, both.low), min(1.0, both.high)

    @property
    def text(self) -> str:
        low, high = self.interval
        return f"{self.group}: {self.question}: {self.mean:.2f} ({low:.2f} to {high:.2f})"


def of_blind_look(results: Sequence[Result]) -> str:
    """What the AUROCs say of the wanted 0.8, of what carries over, and of the controls."""
    phase = [result for result in results if result.question.startswith("phase")]
    lines = []
    for result in phase:
        _, high = result.interval
        if high <= WANTED:
            verdict = f"at most {WANTED} with all of the interval"
        elif result.mean <= WANTED:
            verdict = f"at most {WANTED} in the mean, but the interval reaches beyond"
        else:
            verdict = f"above {WANTED}: told apart better than wanted"
        lines.append(f"- {result.text}, {verdict}.")
        lines.append(f"  {nothing_carried_over(result.heads)}".rstrip())
        lines += [f"  {line}" for line in _beside(result, results)]
    return "\n".join([*filter(None, lines), *_of_controls(results)])


def _beside(result: Result, results: Sequence[Result]) -> list[str]:
    """The same question asked otherwise, at the first seed."""
    lines = []
    for prefix, name in (
        (EARLIER_SCANNER, "Without the later mechanisms"),
        (LONGER, "After twice as many batches"),
        (MIDDLE, "By a train with TE in its middle"),
    ):
        for other in results:
            if (other.group, other.question) == (result.group, prefix + result.question):
                low, high = other.interval
                lines.append(
                    f"{name}: {other.mean:.2f} ({low:.2f} to {high:.2f} over heads), against "
                    f"{result.seeds[0]:.2f} of the same seed."
                )
    return lines


def _of_controls(results: Sequence[Result]) -> list[str]:
    controls = [result for result in results if result.question.startswith(CONTROL)]
    missing = [result for result in controls if not result.interval[0] <= 0.5 <= result.interval[1]]
    if not controls:
        return []
    count = len(controls) - len(missing)
    seeds = [value for result in controls for value in result.seeds]
    lines = [
        f"- Controls: 0.5 lies in the interval of {count} of {len(controls)}; single seeds give "
        f"{min(seeds):.2f} to {max(seeds):.2f}."
    ]
    for result in missing:
        lines.append(
            f"  {result.text}: the interval misses 0.5, though nothing is to be told apart. Chance "
            f"does that in one of twenty; otherwise AUROCs of {result.group} are off by as much."
        )
    return lines


def of_tails(
    name: str, measured: Sequence[Portrait], simulated: Sequence[Portrait], digits: int = 1
) -> str:
    """A line: do twins reach the measured shares of brain phase beyond 0.3 rad?"""
    real = [one.brain_phase_tail for one in measured if one.brain_phase_tail is not None]
    made = [one.brain_phase_tail for one in simulated if one.brain_phase_tail is not None]
    ranges = [f"{min(values):.{digits}f} to {max(values):.{digits}f} %" for values in (real, made)]
    n_reaching = sum(value >= min(real) for value in made)
    verdict = f"{n_reaching} of {len(made)} twins reach the least measured one"
    if not n_reaching:
        verdict = "no twin reaches the measured tails"
        if "sagittal" in name:
            verdict += ", which are mostly the voids of the sagittal sinus"
    return (
        f"- Tails, {name}: brain phase beyond 0.3 rad is {ranges[0]} measured, {ranges[1]} "
        f"simulated: {verdict}."
    )
