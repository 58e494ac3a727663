"""Statistics of measured and simulated scans side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from synthlib.likeness.portraits import Portrait


class Statistic(NamedTuple):
    """A number of a portrait, as tables show it."""

    attribute: str
    label: str
    digits: int


MADE_ALIKE = "SNR"  # of a twin and its head
STATISTICS = (
    Statistic("snr", MADE_ALIKE, 0),
    Statistic("bright_tail", "bright tail", 2),
    Statistic("dark_share", "dark share", 2),
    Statistic("spectrum_slope", "slope of power", 1),
    Statistic("step_median", "step (rad/pixel)", 2),
    Statistic("step_high", "95 % step (rad/pixel)", 2),
    Statistic("step_median_per_cm", "step (rad/cm)", 2),
    Statistic("residues", "residues per 1000", 1),
    Statistic("phase_left", "phase left (rad)", 2),
    Statistic("rank_share", "rank share", 2),
    Statistic("map_roughness", "map slope (1/cm)", 2),
    Statistic("detail", "fine detail of the brain", 3),
    Statistic("peak", "brightest over brain", 2),
    Statistic("asymmetry", "asymmetry of the brain", 2),
    Statistic("brain_phase_left", "brain phase left (rad)", 2),
    Statistic("brain_phase_tail", "brain phase beyond 0.3 rad (%)", 1),
    Statistic("brain_phase_kurtosis", "kurtosis of brain phase", 0),
    Statistic("b0_sd_hz", "B0 s.d. (Hz)", 0),
    Statistic("b0_gradient_median", "B0 slope (Hz/cm)", 0),
    Statistic("b0_gradient_high", "95 % B0 slope (Hz/cm)", 0),
)


def rows(measured: Sequence[Portrait], simulated: Sequence[Portrait]) -> list[dict[str, str]]:
    """A row a head: its numbers, measured / simulated; "-" where there is none.

    Args:
        measured, simulated: in the same order; statistics that none of them has are left out.
    """
    every = [*measured, *simulated]
    shown = [what for what in STATISTICS if any(_value(one, what) is not None for one in every)]
    return [
        {
            "head": one.name,
            "contrast": one.what,
            "coils": str(one.n_coils or "-"),
            **{what.label: _both(one, other, what) for what in shown},
        }
        for one, other in zip(measured, simulated, strict=True)
    ]


def spread(measured: Sequence[Portrait], *simulated: Sequence[Portrait]) -> list[dict[str, str]]:
    """A row a statistic: does each twin lie in the range of the measured heads, and each head
    in that of its twins? Statistics that no measured head has are left out.

    Of n + 1 values of one distribution, one lies in the range of the n others with a
    probability of (n - 1) / (n + 1): "if alike" says how many that would be.

    Args:
        measured: any heads; those without the number are passed by.
        simulated: sets of twins, in the order of the measured heads.
    """
    rows = []
    for what in STATISTICS:
        real = [value for head in measured if (value := _value(head, what)) is not None]
        made = [
            value
            for twins in simulated
            for twin in twins
            if (value := _value(twin, what)) is not None
        ]
        if not real:
            continue
        inside = [min(real) <= value <= max(real) for value in made] if len(real) > 1 else []
        caught = _caught(measured, simulated, what) if len(simulated) > 1 else []
        rows.append(
            {
                "statistic": what.label,
                "measured heads": str(len(real)),
                "measured": _range(real, what.digits),
                "simulated": _range(made, what.digits),
                "twins inside measured": _share(inside, len(real)),
                "measured inside its twins": _share(caught, len(simulated)),
                "all twins inside": _yes(inside, all(inside)),
                "as often as if alike": _yes(inside, sum(inside) >= _alike(inside, len(real))),
            }
        )
    return rows


def spread_sentences(rows: Sequence[Mapping[str, str]]) -> str:
    """In how many statistics twins lie inside, and the names of the others: two lines.

    Args:
        rows: of :func:`spread`; those of a single measured head are passed by, and the SNR,
            which is made alike.
    """
    decided = [
        row for row in rows if row["all twins inside"] != "-" and row["statistic"] != MADE_ALIKE
    ]
    lines = []
    for asked in ("all twins inside", "as often as if alike"):
        others = [row["statistic"] for row in decided if row[asked] == "no"]
        n_inside = len(decided) - len(others)
        names = f"; not: {', '.join(others)}" if others else ""
        lines.append(f"{asked}: {n_inside} of {len(decided)} statistics{names}")
    return "\n".join(lines)


def _caught(
    measured: Sequence[Portrait], simulated: Sequence[Sequence[Portrait]], what: Statistic
) -> list[bool]:
    """Of each measured head with the number: does it lie in the range of its own twins?"""
    caught = []
    for head, *twins in zip(measured, *simulated, strict=True):
        value = _value(head, what)
        own = [number for twin in twins if (number := _value(twin, what)) is not None]
        if value is not None and own:
            caught.append(min(own) <= value <= max(own))
    return caught


def _share(inside: Sequence[bool], n_others: int) -> str:
    """ "5 of 8 (6.2 if alike)"; "-" of none: one value has no range."""
    if not inside:
        return "-"
    return f"{sum(inside)} of {len(inside)} ({_alike(inside, n_others):.1f} if alike)"


def _alike(inside: Sequence[bool], n_others: int) -> float:
    """How many of these lie in the range of others of the same distribution, on average."""
    return len(inside) * (n_others - 1) / (n_others + 1)


def _yes(inside: Sequence[bool], so: bool) -> str:
    return ("yes" if so else "no") if inside else "-"


def _value(one: Portrait, what: Statistic) -> float | None:
    return getattr(one, what.attribute)


def _both(one: Portrait, other: Portrait, what: Statistic) -> str:
    values = _value(one, what), _value(other, what)
    if values == (None, None):
        return "-"
    return " / ".join("-" if v is None else f"{v:.{what.digits}f}" for v in values)


def _range(values: Sequence[float], digits: int) -> str:
    ends = [f"{end:.{digits}f}" for end in (min(values), max(values))] if values else ["-"]
    return " to ".join(dict.fromkeys(ends))
