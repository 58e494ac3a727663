"""Verdicts in words and as rows of tables: every number comes from the verdicts themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synthlib.recon import grid
from synthlib.study.marks import FLOOR, Mark
from synthlib.study.paired import Row, mean_of, sources_at
from synthlib.study.statistics import ALPHA, Difference, SeedVariance
from synthlib.study.verdicts import (
    BETTER,
    EQUIVALENT,
    NOT_DECIDED,
    SENSITIVITY,
    WORSE,
    Verdict,
    higher_is_better,
)

ORIENTATION = (grid.UNTRAINED, grid.L1_WAVELET)  # named in every sentence where they were run
PHRASES = {
    EQUIVALENT: "equivalent to",
    BETTER: "better than",
    WORSE: "worse than",
    NOT_DECIDED: "not decided against",
}


def summaries(
    verdicts: Sequence[Verdict],
    rows: Sequence[Row],
    labels: Mapping[str, str],
    *,
    marks: Sequence[Mark] = (),
    floor: str = FLOOR,
    ceiling: str = grid.CEILING,
) -> list[dict[str, str]]:
    """One sentence for every coil count and R: what follows there, and what does not.

    Args:
        verdicts: from verdicts.planned_comparisons.
        rows: the same, for the levels of the first source, the floor and the ceiling.
        labels: source to name.
        marks: from marks.training_marks.
        floor, ceiling: sources named for orientation where they were run.

    Returns:
        Rows with coils, R and "what follows".
    """
    by_place: dict[tuple[int, int], list[Verdict]] = {}
    for verdict in verdicts:
        by_place.setdefault((verdict.n_coils, verdict.acceleration), []).append(verdict)
    sentences = []
    for (n_coils, acceleration), family in sorted(by_place.items()):
        metric, run = family[0].metric, sources_at(rows, n_coils, acceleration)
        levels = {
            source: mean_of(rows, source, metric=metric, n_coils=n_coils, acceleration=acceleration)
            for source in (family[0].planned.first, *ORIENTATION, floor, ceiling)
            if source in run
        }
        level = ", ".join(f"{labels.get(s, s)} {_value(v, metric)}" for s, v in levels.items())
        here = [m for m in marks if (m.n_coils, m.acceleration) == (n_coils, acceleration)]
        firsts = dict.fromkeys(verdict.planned.first for verdict in family)
        outcomes = [
            text
            for first in firsts
            for text in _outcomes([v for v in family if v.planned.first == first])
        ]
        parts = [level, *dict.fromkeys(outcomes), *_caveats(here, labels)]
        text = f"{_place(family[0])}: " + "; ".join(parts)
        sentences.append({"coils": str(n_coils), "R": str(acceleration), "what follows": text})
    return sentences


def sentence(verdict: Verdict) -> str:
    """One comparison: "GAN minus zero phase, R = 4, 8 coils: +1.90 dB (95 % interval ...)"."""
    head = f"{verdict.first_label} minus {_lower(verdict.second_label)}, {_place(verdict)}"
    if verdict.difference is None:
        return f"{head}: {verdict.outcome}"
    return (
        f"{head}: {_numbers(verdict, verdict.difference)} "
        f"({_design([verdict])}; {_p_sentence(verdict.p_holm)} of {verdict.test} after Holm): "
        f"{_phrase(verdict)}"
    )


def comparison_rows(verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """Rows of a table of comparisons, for tables.from_dicts."""
    return [_comparison_row(verdict) for verdict in verdicts]


def _comparison_row(verdict: Verdict) -> dict[str, str]:
    result, unit = verdict.difference, _unit(verdict.metric)
    digits = _digits(verdict.metric)
    in_unit = f" ({unit})" if unit else ""
    margin = "" if verdict.margin is None else f" within {verdict.margin:g}{_spaced(unit)}"
    cells = dict.fromkeys(
        ("difference", "interval", "detectable", "patient", "seed", "residual", "design", "p"), "-"
    )
    if result is not None:
        cells = {
            "difference": f"{result.mean:+.{digits}f}",
            "interval": f"{result.low:+.{digits}f} to {result.high:+.{digits}f}",
            "detectable": f"{result.smallest_detectable:.{digits}f}",
            "patient": _deviation(result.patient, digits),
            "seed": _deviation(result.seed, digits),
            "residual": _deviation(result.residual, digits),
            "design": _counts(result),
            "p": _p(verdict.p_holm),
        }
    return {
        "coils": str(verdict.n_coils),
        "R": str(verdict.acceleration),
        f"{verdict.metric} of": verdict.first_label,
        "less that of": verdict.second_label,
        f"difference{in_unit}": cells["difference"],
        "95 % interval": cells["interval"],
        "p (Holm)": cells["p"],
        "p is of": verdict.test,
        "verdict": verdict.outcome + (margin if verdict.outcome == EQUIVALENT else ""),
        f"detectable difference{in_unit}": cells["detectable"],
        "s.d. of patients": cells["patient"],
        "of seeds": cells["seed"],
        "of the rest": cells["residual"],
        "patients x seeds": cells["design"],
    }


def _outcomes(family: Sequence[Verdict]) -> list[str]:
    """What was decided, by outcome, and what the intervals count."""
    tested = [verdict for verdict in family if verdict.difference is not None]
    if not tested:
        return ["nothing follows"]
    groups = []
    for outcome in PHRASES:
        group = [
            f"{_lower(v.second_label)}{_within(v)} ({_numbers(v, v.difference)}{_reservation(v)})"
            for v in tested
            if v.outcome == outcome and v.difference is not None
        ]
        if group:
            groups.append(f"{PHRASES[outcome]} {', '.join(group)}")
    return [f"{family[0].first_label} is {'; '.join(groups)}", _design(tested)]


def _caveats(marks: Sequence[Mark], labels: Mapping[str, str]) -> list[str]:
    """What was not compared, and what might still change."""
    clauses = []
    below = [f"{labels.get(m.source, m.source)} {m.mean:.2f} dB" for m in marks if m.excluded]
    if below:
        floor = next(mark.floor_mean for mark in marks if mark.excluded)
        clauses.append(
            f"not trained enough and not compared (below the floor's PSNR of {floor:.2f} dB): "
            + ", ".join(below)
        )
    improving = [
        f"{labels.get(m.source, m.source)} {m.gain:+.2f} dB" for m in marks if m.still_improving
    ]
    if improving:
        clauses.append("still improving in the last quarter of training: " + ", ".join(improving))
    return clauses


def _design(verdicts: Sequence[Verdict]) -> str:
    """What was drawn, and whether the intervals hold the spread between trainings."""
    results = [v.difference for v in verdicts if v.difference is not None]
    counts = "; ".join(dict.fromkeys(_counts(result) for result in results))
    given = [v for result in results if (v := result.given_seed_variance) is not None]
    if all(result.n_seeds != 1 for result in results):
        if given:
            return (
                f"{counts}, both counted as drawn, trainings of all sources taken to spread alike"
            )
        return f"{counts}, both counted as drawn" if results[0].n_seeds else counts
    if given:
        return (
            f"{counts}, the spread between trainings ({_spread(given)}) taken from {_from(given)}"
        )
    left_out = [v.left_out for v in verdicts if v.left_out is not None]
    known_spread = (
        f"which at {_from(left_out)} was {_spread(left_out)}"
        if left_out
        else "which was not measured"
    )
    return f"{counts}: the interval leaves out the spread between trainings, {known_spread}"


def _spread(variances: Sequence[SeedVariance]) -> str:
    """Smallest and largest spread, "0.08 to 0.15 dB"."""
    low, high = (f"{f(v.spread for v in variances):.2f}" for f in (min, max))
    return f"{low} dB" if low == high else f"{low} to {high} dB"


def _from(variances: Sequence[SeedVariance]) -> str:
    return " and ".join(dict.fromkeys(variance.origin for variance in variances))


def _counts(result: Difference) -> str:
    patients = f"{result.n_patients} patients"
    if result.n_seeds == 0:
        return patients
    return f"{patients}, one training each" if result.n_seeds == 1 else (
        f"{patients} x {result.n_seeds} seeds"
    )  # fmt: skip


def _phrase(verdict: Verdict) -> str:
    return f"{verdict.outcome}{_within(verdict)}{_reservation(verdict)}"


def _within(verdict: Verdict) -> str:
    if verdict.margin is None or verdict.outcome != EQUIVALENT:
        return ""
    text = f" within {verdict.margin:g}{_spaced(_unit(verdict.metric))}"
    result = verdict.difference
    if result is not None and not result.low <= 0 <= result.high:
        is_better = (result.mean > 0) == higher_is_better(verdict.metric)
        text += f", though {'better' if is_better else 'worse'}"
    return text


def _reservation(verdict: Verdict) -> str:
    """What training itself gains where that is little; what an undecided comparison detects."""
    text = ""
    if not verdict.is_sensitive and verdict.gain is not None:
        gain, sure = (
            _value(each, verdict.metric) for each in (verdict.gain.mean, verdict.sure_gain)
        )
        wanted = _value(SENSITIVITY * (verdict.margin or 0.0), verdict.metric)
        text = (
            f"; {_lower(verdict.second_label)} itself gains {gain} (at least {sure}) over "
            f"{verdict.gain_over}, and where it does not gain {wanted} equivalence says "
            "nothing"
        )
    if verdict.outcome != NOT_DECIDED or verdict.difference is None:
        return text
    detectable = _value(verdict.difference.smallest_detectable, verdict.metric)
    text += f"; the smallest difference that this design detects is {detectable}"
    if verdict.p_value <= ALPHA:
        text += f"; {_p_sentence(verdict.p_value)} alone, {_p(verdict.p_holm)} after Holm"
    return text


def _numbers(verdict: Verdict, result: Difference) -> str:
    digits = _digits(verdict.metric)
    return (
        f"{result.mean:+.{digits}f}{_spaced(_unit(verdict.metric))}, 95 % interval "
        f"{result.low:+.{digits}f} to {result.high:+.{digits}f}"
    )


def _place(verdict: Verdict) -> str:
    metric = "" if verdict.metric == "PSNR" else f", {verdict.metric.replace('_', ' ')}"
    return f"R = {verdict.acceleration}, {verdict.n_coils} coils{metric}"


def _value(value: float, metric: str) -> str:
    return f"{value:.{_digits(metric)}f}{_spaced(_unit(metric))}"


def _unit(metric: str) -> str:
    return "dB" if metric.endswith("PSNR") else ""


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""


def _digits(metric: str) -> int:
    return 2 if metric.endswith("PSNR") else 4


def _deviation(variance: float, digits: int) -> str:
    """A standard deviation, "-" where the design cannot see it."""
    return f"{variance**0.5:.{digits}f}" if variance == variance else "-"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _p_sentence(value: float) -> str:
    return f"p = {_p(value)}" if value >= 0.001 else f"p {_p(value)}"


def _lower(label: str) -> str:
    """A label inside a sentence: "Measured phase" loses its capital, "GAN" does not."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label
