"""Comparisons named in advance, Holm's correction over them, and what follows for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from synthlib import metrics
from synthlib.recon import grid
from synthlib.study import statistics
from synthlib.study.marks import FLOOR, excluded
from synthlib.study.paired import UNTRAINED, Row, places, sources_at

MARGINS_DB = {"PSNR": 0.3, "head_PSNR": 0.3}

BETTER, WORSE, EQUIVALENT = "better", "worse", "equivalent"
NOT_DECIDED, NOT_TRAINED_ENOUGH = "not decided", "not trained enough"
DIFFERENCE, EQUIVALENCE, NO_TEST = "difference", "equivalence", "-"  # what a p belongs to


@dataclass(frozen=True)
class Planned:
    """A comparison named before the results: is `first` superior or equivalent to `second`?"""

    first: str
    second: str
    equivalence: bool = False


PLANNED = (
    Planned("gan", "measured", equivalence=True),
    Planned("gan", "zero"),
    Planned("gan", "random"),
    Planned("gan", "sinusoidal"),
    Planned("gan", "polynomial"),
    Planned("gan", "other_patient"),
    Planned("zero_global_phase", "zero"),
    Planned("zero_global_phase", "gan_global_phase", equivalence=True),
    Planned("product", "measured", equivalence=True),
)
SENSITIVITY = 2.0  # margins that training must gain, or equivalence within one says nothing


@dataclass(frozen=True)
class Verdict:
    """What follows from one planned comparison at one coil count and R.

    Attributes:
        planned: the comparison; first_label and second_label name its sources.
        margin: of equivalence, units of the metric; None for superiority.
        difference: first less second; None where a source is excluded.
        p_value: of the test that the outcome rests on, both from the model of
            `difference`; 1 where excluded.
        test: which: EQUIVALENCE (TOST), DIFFERENCE (two-sided), NO_TEST where excluded.
        p_holm: the same after Holm's correction over the family of this place.
        outcome: BETTER, WORSE, EQUIVALENT, NOT_DECIDED, or NOT_TRAINED_ENOUGH.
        left_out: spread between trainings seen elsewhere, where the interval lacks it.
        gain: of the second source over what was not trained, for equivalence: where
            training itself gains no more than SENSITIVITY margins, nearness says
            nothing, and only a difference can be decided.
        gain_over: what that is: the untrained network where it was run, else the floor.
    """

    planned: Planned
    first_label: str
    second_label: str
    n_coils: int
    acceleration: int
    metric: str
    margin: float | None
    difference: statistics.Difference | None
    p_value: float
    p_holm: float
    outcome: str
    left_out: statistics.SeedVariance | None = None
    gain: statistics.Difference | None = None
    gain_over: str = ""
    test: str = NO_TEST

    @property
    def is_sensitive(self) -> bool:
        """Whether equivalence can mean anything here."""
        if self.gain is None or self.margin is None:
            return True
        return self.sure_gain > SENSITIVITY * self.margin

    @property
    def sure_gain(self) -> float:
        """The lower limit of `gain`, as an improvement; nan without it."""
        if self.gain is None:
            return float("nan")
        return self.gain.low if higher_is_better(self.metric) else -self.gain.high


def planned_comparisons(
    rows: Sequence[Row],
    labels: Mapping[str, str],
    *,
    metric: str = "PSNR",
    margin: float | None = None,
    planned: Sequence[Planned] = PLANNED,
    floor: str | None = FLOOR,
    use_other_places: bool = True,
    pooled: bool = False,
    untrained: Collection[str] = UNTRAINED,
) -> list[Verdict]:
    """Every planned comparison at every coil count and R whose two sources were run there.

    Holm's correction goes over the comparisons of one place. One with a source
    below the floor is not tested but stays in the family, with p = 1: leaving it
    out would make the others' correction depend on the results.

    Args:
        rows: one per network and test scan.
        labels: source to name.
        margin: of equivalence, units of the metric; None takes MARGINS_DB.
        floor: see marks.training_marks; None excludes nothing.
        use_other_places: where each source was trained once, widen the intervals by the
            spread between trainings seen at another R (else at another coil count).
        pooled: take that spread from all sources together; see
            statistics.pooled_seed_variance for what this assumes.

    Raises:
        ValueError: no margin for this metric, or as statistics.difference.
    """
    if margin is None:
        if metric not in MARGINS_DB:
            raise ValueError(
                f"no margin of equivalence is stated for {metric}; stated: "
                f"{', '.join(MARGINS_DB)}. Pass margin, chosen before looking at the results."
            )
        margin = MARGINS_DB[metric]
    below = excluded(rows, floor, untrained=untrained) if floor else set()
    study = _Study(
        rows, labels, metric, margin, planned, below, floor, use_other_places, pooled, untrained
    )
    verdicts = []
    for place in places(rows):
        run = sources_at(rows, *place)
        pairs = [pair for pair in planned if {pair.first, pair.second} <= run]
        verdicts += _decide([study.compare(pair, place) for pair in pairs])
    return verdicts


@dataclass(frozen=True)
class _Study:
    """The arguments of planned_comparisons, and one comparison at a time."""

    rows: Sequence[Row]
    labels: Mapping[str, str]
    metric: str
    margin: float
    planned: Sequence[Planned]
    below: Collection[tuple[int, int, str]]
    floor: str | None
    use_other_places: bool
    pooled: bool
    untrained: Collection[str]

    def compare(self, pair: Planned, place: tuple[int, int]) -> Verdict:
        """Difference and p before correction; the outcome is still open."""
        verdict = Verdict(
            planned=pair,
            first_label=self.labels.get(pair.first, pair.first),
            second_label=self.labels.get(pair.second, pair.second),
            n_coils=place[0],
            acceleration=place[1],
            metric=self.metric,
            margin=self.margin if pair.equivalence else None,
            difference=None,
            p_value=1.0,
            p_holm=1.0,
            outcome=NOT_TRAINED_ENOUGH,
        )
        if self._is_excluded(pair, place):
            return verdict
        not_trained = self._not_trained(place)
        if pair.equivalence and not_trained is not None:
            gain = self._difference(Planned(pair.second, not_trained), place)
            name = self.labels.get(not_trained, not_trained)
            over = "the untrained network" if not_trained == grid.UNTRAINED else name
            verdict = replace(verdict, gain=gain, gain_over=over)
        result = self._difference(pair, place)
        if result.own_seed_variance is not None:
            if self.pooled:
                result = self._difference(pair, place, self._pool(place))
            return replace(verdict, difference=result, outcome=NOT_DECIDED)
        other = None if result.seeds_seen else self._seed_variance_elsewhere(pair, place)
        if other is not None and self.use_other_places:
            result, other = self._difference(pair, place, other), None
        return replace(verdict, difference=result, outcome=NOT_DECIDED, left_out=other)

    def _not_trained(self, place: tuple[int, int]) -> str | None:
        """What a gain of training counts from; an end-to-end network has no start of use."""
        run = sources_at(self.rows, *place)
        return next((name for name in (grid.UNTRAINED, self.floor) if name in run), None)

    def _is_excluded(self, pair: Planned, place: tuple[int, int]) -> bool:
        return any((*place, source) in self.below for source in (pair.first, pair.second))

    def _difference(
        self,
        pair: Planned,
        place: tuple[int, int],
        seed_variance: statistics.SeedVariance | None = None,
    ) -> statistics.Difference:
        return statistics.difference(
            self.rows, pair.first, pair.second, metric=self.metric, n_coils=place[0],
            acceleration=place[1], seed_variance=seed_variance, untrained=self.untrained,
        )  # fmt: skip

    def _pool(self, place: tuple[int, int]) -> statistics.SeedVariance:
        run = sources_at(self.rows, *place) - set(self.untrained)
        named = {source for pair in self.planned for source in (pair.first, pair.second)}
        trained = sorted(s for s in run & named if (*place, s) not in self.below)
        return statistics.pooled_seed_variance(
            self.rows, trained, metric=self.metric, n_coils=place[0], acceleration=place[1]
        )

    def _seed_variance_elsewhere(
        self, pair: Planned, place: tuple[int, int]
    ) -> statistics.SeedVariance | None:
        """Of this comparison where it has seeds: the largest, at this coil count if possible."""
        for same_coils in (True, False):
            spreads = []
            for other in places(self.rows):
                run = {pair.first, pair.second} <= sources_at(self.rows, *other)
                if other == place or (other[0] == place[0]) != same_coils:
                    continue
                if not run or self._is_excluded(pair, other):
                    continue
                own = self._difference(pair, other).own_seed_variance
                if own is not None:
                    spreads.append(self._pool(other) if self.pooled else own)
            if spreads:
                return max(spreads, key=lambda spread: spread.variance)
        return None


def holm(p_values: Sequence[float], families: Sequence[int] | None = None) -> list[float]:
    """Holm's adjusted p values; all at most alpha are rejected, with familywise error alpha.

    Args:
        p_values: of the hypotheses.
        families: hypotheses with the same number contradict each other (no
            difference; a difference beyond the margin), so at most one of them is
            true, and together they count once. None: each counts.

    Returns:
        Adjusted p values in the order of p_values, at most 1.

    Source: Holm, Scand. J. Statist. 6:65 (1979); Shaffer, JASA 81:826 (1986) for
    hypotheses of which only some can be true together.
    """
    numbers = list(range(len(p_values))) if families is None else list(families)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        can_be_true = len({numbers[i] for i in order[rank:]})
        # One that contradicts a rejected hypothesis may still be true: it is in order[rank:].
        highest = min(1.0, max(highest, can_be_true * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _decide(family: Sequence[Verdict]) -> list[Verdict]:
    """Outcomes of one family, after Holm's correction."""
    p_values, families = [], []
    for number, verdict in enumerate(family):
        for p_value in _p_values(verdict):
            p_values.append(p_value)
            families.append(number)
    adjusted = iter(holm(p_values, families))
    return [_outcome(v, [(p, next(adjusted)) for p in _p_values(v)]) for v in family]


def _p_values(verdict: Verdict) -> list[float]:
    """Of no difference, and where there is a margin of no equivalence."""
    if verdict.difference is None:
        return [1.0]
    p_values = [verdict.difference.p_value]
    if verdict.margin is not None:
        p_values.append(verdict.difference.p_equivalent(verdict.margin))
    return p_values


def _outcome(verdict: Verdict, tests: Sequence[tuple[float, float]]) -> Verdict:
    if verdict.difference is None:
        return verdict
    is_close = verdict.margin is not None and tests[-1][1] <= statistics.ALPHA
    if is_close and verdict.is_sensitive:
        return _with_test(verdict, EQUIVALENCE, tests[-1], EQUIVALENT)
    if tests[0][1] <= statistics.ALPHA:
        is_higher = verdict.difference.mean > 0
        outcome = BETTER if is_higher == higher_is_better(verdict.metric) else WORSE
        return _with_test(verdict, DIFFERENCE, tests[0], outcome)
    # Where equivalence could not be decided at all, its p would only mislead.
    if verdict.margin is None or not verdict.is_sensitive:
        return _with_test(verdict, DIFFERENCE, tests[0], NOT_DECIDED)
    return _with_test(verdict, EQUIVALENCE, tests[-1], NOT_DECIDED)


def _with_test(verdict: Verdict, test: str, p: tuple[float, float], outcome: str) -> Verdict:
    return replace(verdict, test=test, p_value=p[0], p_holm=p[1], outcome=outcome)


def higher_is_better(metric: str) -> bool:
    """Also for metrics inside the head, "head_PSNR"."""
    return metrics.HIGHER_IS_BETTER[metric.removeprefix("head_")]
