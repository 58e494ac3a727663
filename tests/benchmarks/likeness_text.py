"""Words of docs/likeness.md: what was compared with what, and sentences from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from synthlib.study.blind_look import nothing_carried_over

WANTED = 0.8  # at most, of the AUROC of phase patches

INTRODUCTION = """\
Measured heads beside simulated twins of the same matrix, pixel, coils, level, kind of sequence
and SNR. (That of a twin is made that of its head, so SNR is not counted among the statistics.)

**Heads that the scanner was built in view of** (`synthlib/measured_heads.json`): five with phase,
from five scanners, and three of magnitudes. What agrees here is fitted, not predicted. Set by
them were: how steep the timing's plane is (rms of the five), the levels of slices (by eye),
the field of one head, the number of coils and the pixel size of another (its channels are
combinations, and its header makes it 167 mm long), the range
of contrast between fat and white matter, the sizes of the formers that loops lie on, what a shim
leaves (two measured heads at 3 T), and which mechanisms and statistics there are at all. Not set
by them: susceptibilities, conductivities, relaxation times, flow, eddy currents, concomitant
fields and noise of the receivers, which are from the literature or in closed form.

**Heads kept back**: four subjects, T2, coronal and sagittal (SIAT_MRIdata200, SIAT, Chinese
Academy of Sciences), which nothing in the scanner was set by. Beside them: pixel sizes, which
the files do not tell, were taken so that heads are as large in the mean as simulated ones (0.67 mm
coronal, 0.81 mm sagittal); levels are by eye; 3 T and 5 mm slices are assumed. Their axial slices
are left out: they show skull base and neck, where a mask of the brain fails.

Their makers combined twelve coils adaptively, which takes smooth phase away. So twins are scanned
with twelve coils, noise is added to the raw data, the coils are combined adaptively (Inati et al.
2014; box of 15 pixels and 4 iterations, which leave twins as much smooth phase as the files have),
and then the same is done to both: the phase of the image after a Gaussian of 3 pixels is taken
off, and heads are turned upright. What is compared is therefore fine phase alone. The brain is what
lies 16 mm and more inside the outline, of coronal and sagittal heads the upper 75 mm of it. A
filter, an interpolation or a correction of distortion of the measured scans that nobody tells of
would still give them away. By eye, what lies beyond 0.3 rad in sagittal heads near
the midline is mostly the void of the sagittal sinus, which the mask of these heads holds."""

IF_ALIKE = """\
"If alike": of n + 1 values of one distribution, one lies in the range of the n others with a
probability of (n - 1) / (n + 1)."""

BLIND_LOOK = """\
A network of three convolutions sees patches of 24 x 24 pixels in the brain. "Left out": it learned
from the other heads (subjects) and is tested on this one. "Halves": it learned from the other half
of the same brains, against other simulated subjects. "Control": a simulated subject plays each
measured head, against two of other seeds, so 0.5 is expected. Of phase each patch's plane is taken
off; noise is added until all patches of a head have the same SNR. Every seed has its own twins (two
subjects a head, one of them shared with the next seed) and its own network. In brackets is the
95 % t-interval over heads, each of which counts with its mean over seeds.

Four subjects give three degrees of freedom, so an interval reaches 1.6 s.d. of the subjects to
either side; they are of one scanner and one sequence, and that they are four follows from the order
of the files alone. It says what to expect of further subjects of that scanner, not of another."""


class Result(NamedTuple):
    """AUROC of one question, over seeds.

    Attributes:
        by_head: of every head the mean over seeds; seeds: of every seed the mean over heads.
    """

    group: str
    question: str
    by_head: dict[str, float]
    seeds: list[float]

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.by_head.values())))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % t-interval over heads."""
        values = list(self.by_head.values())
        reach = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
        return max(0.0, self.mean - reach), min(1.0, self.mean + reach)


def of_blind_look(results: Sequence[Result]) -> str:
    """What the AUROCs say of the wanted 0.8, and of what carries over from head to head."""
    lines = []
    for result in results:
        if not result.question.startswith("phase") or "halves" in result.question:
            continue
        mean, (low, high) = result.mean, result.interval
        where = f"- {result.group}: {result.question}: {mean:.2f} ({low:.2f} to {high:.2f})"
        if high <= WANTED:
            verdict = f"at most {WANTED} with all of the interval"
        elif mean <= WANTED:
            verdict = f"at most {WANTED} in the mean, but the interval reaches beyond"
        else:
            verdict = f"above {WANTED}: told apart better than wanted"
        lines.append(f"{where}, {verdict}.")
        lines.append(f"  {nothing_carried_over(list(result.by_head.values()))}".rstrip())
    return "\n".join(line for line in lines if line)
