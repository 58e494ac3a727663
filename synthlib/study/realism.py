"""The realism card: every source of phase beside measured phase, by what can be counted.

Written phase knows no noise; the product's receivers add it. So that noise gives nothing
away, every source without it gets that of the slice's own receivers before it is compared
with measured phase (:func:`with_noise`). Intervals and tests count patients or scans, not slices.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from synthlib import arrays, metrics, runs, tasks
from synthlib.phase import polynomial, scores, sources
from synthlib.phase.flow import Conditions, PhaseFlow
from synthlib.phase.flow.model import circular
from synthlib.records import PhasePair
from synthlib.study import discrimination, gan_matrix
from synthlib.study.gan_matrix import ScoredSlice
from synthlib.study.roc import Auroc

N_DRAWS = 7  # of a source for a slice: eight ranks
QUICK = discrimination.Settings()
SAID_RAD = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 4.0)  # bins of the flow's uncertainty
LEAST_PIXELS = 100  # of a bin
LEAST_PATIENTS = 4  # for an AUROC


@dataclasses.dataclass(frozen=True)
class Card:
    """What one source reached.

    Attributes:
        source: a name of phase.sources.
        means: of scores.LABELS, over slices and draws.
        correlations: patient to the mean correlation of fine parts with the truth.
        energy: mean energy score, nan for measured phase; see :func:`energy_score`.
        ranks: (scan,) rank of the measured phase among its draws at one pixel, 0 to N_DRAWS.
        auroc: of a network that is to distinguish it from measured phase, None where there
            are too few patients.
    """

    source: str
    means: Mapping[str, float]
    correlations: Mapping[str, float]
    energy: float
    ranks: tuple[int, ...]
    auroc: Auroc | None

    @property
    def ranks_p(self) -> float:
        """Of chi-square for equally frequent ranks; nan with fewer than one scan a rank."""
        if len(self.ranks) <= N_DRAWS:
            return math.nan
        counts = np.bincount(self.ranks, minlength=N_DRAWS + 1)
        return float(stats.chisquare(counts).pvalue)

    def correlation(self) -> tuple[float, float, float]:
        """Mean over patients of the fine part's correlation, and its 95 % t-interval."""
        values = np.array([v for v in self.correlations.values() if not math.isnan(v)])
        if len(values) < 2:
            return (float(values.mean()) if len(values) else math.nan, math.nan, math.nan)
        half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
        mean = float(values.mean())
        return mean, mean - float(half), mean + float(half)


def cards(
    names: Sequence[str],
    slices: Sequence[ScoredSlice],
    context: sources.Context,
    *,
    n_coils: int,
    seed: int,
    network: discrimination.Settings | None = QUICK,
) -> list[Card]:
    """A card for every source.

    Args:
        names: of phase.sources; "measured" stands for what the others are compared to.
        slices: of patients that no source has learned from.
        context: what sources draw on.
        n_coils: of the scans: they tell the noise from that of air.
        seed: of draws, noise and networks.
        network: that distinguishes; None leaves the AUROC out.

    Raises:
        ValueError: no slices.
    """
    if not slices:
        raise ValueError("no slices to look at; expected scans of patients nobody learned from")
    made = []
    with tasks.Progress("sources examined", len(names)) as progress:
        for name in names:
            made.append(_card(name, slices, context, n_coils, seed, network))
            progress.step(name)
    return made


def _card(
    name: str,
    slices: Sequence[ScoredSlice],
    context: sources.Context,
    n_coils: int,
    seed: int,
    network: discrimination.Settings | None,
) -> Card:
    measured = name == sources.MEASURED
    rows, energies, noisy_first = [], [], []
    by_patient: dict[str, list[float]] = defaultdict(list)
    ranks: dict[str, int] = {}
    for scored in slices:
        pair = scored.pair
        if measured:
            clean = noisy = pair.phase[None]
        else:
            clean = draws_of(name, pair, context, seed=seed)
            rng = runs.rng(seed, "noise", pair.name)
            has_noise = sources.REGISTRY[name].noisy
            noisy = clean if has_noise else with_noise(clean, pair, n_coils, rng)
        row = scores.score(clean, pair, scored.known)
        row |= {
            "period_2": scores.period_index(noisy[0], pair.head, 2),
            "period_4": scores.period_index(noisy[0], pair.head, 4),
            "residues": scores.residues_per_1000(noisy[0], pair.head),
        }
        rows.append(row)
        by_patient[pair.patient_id].append(row["fine_correlation"])
        noisy_first.append(noisy[0])
        if not measured:
            weight = pair.magnitude * pair.head
            energies.append(energy_score(noisy, pair.phase, weight))
            # one pixel of a scan: its slices share a draw, its pixels a surface
            rng = runs.rng(seed, "pixel", pair.name)
            ranks.setdefault(pair.volume, rank(noisy, pair.phase, weight, rng))
    means = scores.mean_scores(rows)
    pairs = [scored.pair for scored in slices]
    if measured:
        means |= gan_matrix.patient_spreads(pairs)
    auroc = None
    # either part of the patients needs two of each kind; the control's are of one kind each
    fewest = 2 * LEAST_PATIENTS if measured else LEAST_PATIENTS
    if network is not None and len(by_patient) >= fewest:
        auroc = (
            discrimination.auroc_of_same(pairs, seed=seed, settings=network)
            if measured
            else discrimination.auroc(pairs, noisy_first, seed=seed, settings=network)
        )
    correlations = {who: _mean(values) for who, values in by_patient.items()}
    return Card(name, means, correlations, _mean(energies), tuple(ranks.values()), auroc)


def draws_of(
    name: str, pair: PhasePair, context: sources.Context, *, seed: int, n_draws: int = N_DRAWS
) -> Tensor:
    """Phases of a source for one slice, without noise: float32 (draw, y, x), radians."""
    seeds = [runs.seed_for(seed, "draw", i) for i in range(n_draws)]
    return torch.stack([sources.write(name, pair, context, seed=draw) for draw in seeds])


def with_noise(phases: Tensor, pair: PhasePair, n_coils: int, rng: torch.Generator) -> Tensor:
    """Phases turned as the receivers' noise would: float32 (draw, y, x), radians.

    A root sum of squares of n coils has rms sigma sqrt(2 n) in air; the image that unit maps
    combine has sigma across its phase: angle(m + i sigma n). Without air nothing is added.

    Args:
        phases: (draw, y, x), of the slice.
    """
    # what the maps cover beyond the head is air, too, and noise in it is that of all coils
    air = pair.magnitude[~pair.support]
    air = air[air > 0]  # where it was not masked
    if not len(air):
        return phases
    sigma = float(air.square().mean().sqrt()) / math.sqrt(2 * n_coils)
    across = sigma * torch.randn(phases.shape, generator=rng)
    return arrays.wrap(phases + torch.atan2(across, pair.magnitude.expand_as(phases)))


def energy_score(draws: Tensor, measured: Tensor, weight: Tensor) -> float:
    """How near draws are to the measured phase, less half of how near they are to each other.

    0 to 1, smaller is better; strictly proper: no other distribution is expected to do as well
    as that of the measured phase given the magnitude. The distance of two phases, whatever
    their constants, is sqrt(1 - |sum w exp(i (a - b))|^2 / (sum w)^2).

    Args:
        draws: (draw, y, x), two or more; measured: (y, x), radians; weight: >= 0 (y, x).

    Source: Gneiting & Raftery, J. Am. Stat. Assoc. 102:359 (2007), section 4.3.
    """
    weight = weight.double() / weight.double().sum()
    every = torch.cat([draws, measured[None]]).double()
    vectors = (weight.sqrt() * torch.polar(torch.ones_like(every), every)).flatten(1)
    apart = (1 - (vectors @ vectors.mH).abs().square()).clamp(min=0).sqrt()
    n = len(draws)
    return float(apart[:n, n].mean() - apart[:n, :n].sum() / (n * (n - 1)) / 2)


def rank(draws: Tensor, measured: Tensor, weight: Tensor, rng: torch.Generator) -> int:
    """How many draws have less phase than the measured one at a pixel that is drawn, 0 to n.

    All lose their constants, and are seen from their common mean on the circle; draws like
    the measured phase give every rank equally often.

    Source: Hamill, Mon. Weather Rev. 129:550 (2001).
    """
    pixel = int(torch.multinomial(weight.flatten().double(), 1, generator=rng))
    zero = torch.zeros_like(measured)
    every = [metrics.align_constant(phase, zero, weight) for phase in (measured, *draws)]
    values = torch.stack([phase.flatten()[pixel] for phase in every]).double()
    middle = torch.polar(torch.ones_like(values), values).mean().angle()
    around = arrays.wrap(values - middle)
    return int((around[1:] < around[0]).sum())


def _mean(values: Sequence[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def rendered(made: Sequence[Card]) -> list[dict[str, str]]:
    """The cards as a table shows them."""

    def cell(value: float, digits: int = 2, sign: str = "") -> str:
        return "-" if math.isnan(value) else f"{value:{sign}.{digits}f}"

    rows = []
    for card in made:
        mean, low, high = card.correlation()
        interval = "" if math.isnan(low) else f" ({low:+.2f} to {high:+.2f})"
        means = card.means
        rows.append(
            {
                "phase": sources.label(card.source),
                "period-2 index": cell(means["period_2"], 3),
                "residues per 1000": cell(means["residues"]),
                "fine part's correlation (95 %)": cell(mean, 2, "+") + interval,
                "ventricles (rad)": cell(means["ventricle_step"], 3, "+"),
                "spread (rad)": cell(means["spread"]),
                "energy score": cell(card.energy, 3),
                "ranks flat (p)": cell(card.ranks_p),
                "AUROC (95 %)": "-"
                if card.auroc is None
                else f"{card.auroc.value:.2f} ({card.auroc.low:.2f} to {card.auroc.high:.2f})",
            }
        )
    return rows


def verdict(made: Sequence[Card], source: str) -> str:
    """What one source reached beside the others, in words: a line for each question.

    Raises:
        ValueError: no card of that source.
    """
    by_name = {card.source: card for card in made}
    if source not in by_name:
        raise ValueError(f"no card of {source!r}; expected one of {', '.join(by_name)}")
    card = by_name[source]
    controls = [c for c in made if c.source not in (source, sources.MEASURED)]
    lines = []
    mean, low, _ = card.correlation()
    others = [c.correlation()[0] for c in controls if not math.isnan(c.correlation()[0])]
    best = f"best of the others {max(others):+.2f}" if others else "the others have no fine part"
    lines.append(
        f"fine part's correlation with the truth {mean:+.2f}, "
        f"{'above' if low > 0 else 'not above'} zero by its interval; {best}"
    )
    energies = {c.source: c.energy for c in controls if not math.isnan(c.energy)}
    if energies:
        nearest = min(energies, key=lambda name: energies[name])
        word = "below" if card.energy < energies[nearest] else "not below"
        lines.append(
            f"energy score {card.energy:.3f}, {word} that of every other "
            f"({sources.label(nearest)}: {energies[nearest]:.3f})"
        )
    measured = by_name.get(sources.MEASURED)
    if measured is not None:
        spread, wanted = card.means["spread"], measured.means["spread"]
        if not math.isnan(wanted):
            lines.append(
                f"spread of draws {spread:.2f} rad, between patients {wanted:.2f} rad "
                f"({100 * (spread / wanted - 1):+.0f} %)"
            )
        step, true = card.means["ventricle_step"], measured.means["ventricle_step"]
        if not math.isnan(step * true):
            word = "the same" if step * true > 0 else "another"
            lines.append(
                f"step at the ventricles {step:+.3f} rad, {word} sign as measured ({true:+.3f})"
            )
    if card.auroc is not None:
        word = "is" if card.auroc.is_distinguished else "is not"
        lines.append(f"{word} distinguished from measured phase: AUROC {card.auroc.value:.2f}")
    return "\n".join(lines)


# --- the flow's own doubt --------------------------------------------------------------


def calibration(
    slices: Sequence[ScoredSlice], writer: PhaseFlow, *, seed: int, n_draws: int = 12
) -> list[dict[str, str]]:
    """Does the flow err as much as it says? Rows for tables.from_dicts, by what it says.

    One half of the draws tells the uncertainty of a pixel. Of the other half, the distance
    sqrt(2 mean(1 - cos)), radians where small, is taken to each other and to the truth, the fine
    part of the object's noise-free phase: both are alike where the truth could be a draw. With
    one half for both, chance would make the sure surer than they are.

    Args:
        slices: simulated ones.
        n_draws: 4 or more.

    Raises:
        ValueError: no slice whose truth is known.
    """
    said, seen, expected = [], [], []
    half = n_draws // 2
    for scored in slices:
        if scored.known is None:
            continue
        pair, weight = scored.pair, scored.pair.magnitude * scored.pair.head
        image = pair.magnitude.flip(0) if pair.upside_down else pair.magnitude
        rng = runs.rng(seed, "calibration", pair.name)
        known = Conditions.of_label(pair.contrast)
        stack = image.expand(n_draws, -1, -1)
        draws = writer.fine_phase(stack, pair.spacing_mm, rng, conditions=known)
        draws = draws.flip(-2) if pair.upside_down else draws
        others = draws[half:]
        truth = polynomial.fine_part(scored.known.phase, weight)
        middle = torch.polar(torch.ones_like(draws), draws).mean(0).angle()
        truth = metrics.align_constant(truth, middle, weight)
        pairs_of = itertools.combinations(range(len(others)), 2)
        among = torch.stack([1 - (others[i] - others[j]).cos() for i, j in pairs_of]).mean(0)
        said.append(circular(draws[:half])[0][pair.head])
        seen.append((1 - (truth - others).cos()).mean(0)[pair.head])
        expected.append(among[pair.head])
    if not said:
        raise ValueError("no slice whose truth is known; expected simulated scans")
    sds, found, wanted = torch.cat(said), torch.cat(seen), torch.cat(expected)
    rows = []
    for low, high in itertools.pairwise(SAID_RAD):
        chosen = (sds >= low) & (sds < high)
        if int(chosen.sum()) < LEAST_PIXELS:
            continue
        between, apart = (float((2 * of[chosen].mean()).sqrt()) for of in (wanted, found))
        rows.append(
            {
                "uncertainty (rad)": f"{low:g} to {high:g}",
                "between draws": f"{between:.3f}",
                "draws to truth": f"{apart:.3f}",
                "share of the head": f"{100 * float(chosen.float().mean()):.1f} %",
            }
        )
    return rows


def pictures(
    slices: Sequence[ScoredSlice], context: sources.Context, writer: PhaseFlow, *, seed: int
) -> tuple[list[dict[str, Tensor]], list[str]]:
    """One slice of each contrast as figures.flow_phase shows it, and its label."""
    by_contrast = {scored.pair.contrast: scored.pair for scored in reversed(slices)}
    made, labels = [], []
    for contrast, pair in sorted(by_contrast.items()):
        weight = pair.magnitude * pair.head
        flow, again = draws_of("flow", pair, context, seed=seed, n_draws=2)
        phases = {"measured": pair.phase, "flow": flow, "again": again}
        phases["gan"] = draws_of("gan", pair, context, seed=seed, n_draws=1)[0]
        shown = dict(phases)
        for name in ("measured", "flow", "gan"):
            shown[f"{name}_fine"] = polynomial.fine_part(phases[name], weight)
        image = pair.magnitude.flip(0) if pair.upside_down else pair.magnitude
        unsure = writer.uncertainty(
            image, pair.spacing_mm, seed=seed, conditions=Conditions.of_label(contrast)
        )
        shown["uncertainty"] = unsure.flip(0) if pair.upside_down else unsure
        masked = {name: torch.where(pair.head, phase, torch.nan) for name, phase in shown.items()}
        made.append({"magnitude": pair.magnitude, **masked})
        labels.append(contrast)
    return made, labels
