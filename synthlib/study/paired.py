"""Rows of results as tables of patient means that fit together: same patients, scans and seeds."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthlib.recon import grid

Row = Mapping[str, Any]
Table = NDArray[np.float64]

UNTRAINED = grid.CLASSICAL
MAX_LISTED = 4
UNSEEDED = 0


def patient_tables(
    rows: Sequence[Row],
    sources: Sequence[str],
    *,
    metric: str,
    n_coils: int,
    acceleration: int,
    untrained: Collection[str] = UNTRAINED,
) -> Table:
    """Means over each patient's scans.

    A scan that stands in several rows (copies, or several masks) counts once, by
    its mean; patients count alike however many scans they have. Sources
    without seeds have the same value for every seed.

    Args:
        rows: one per network and test scan, in any order.
        sources: which, in the result's order.
        untrained: sources without seeds.

    Returns:
        (source, patient, seed), patients and seeds sorted.

    Raises:
        ValueError: a source lacks scans or seeds that another one has, or a value is not finite.
    """
    where = f"{n_coils} coils, R = {acceleration}"
    here = [r for r in rows if (r["n_coils"], r["acceleration"]) == (n_coils, acceleration)]
    scans = {
        source: _scan_means([r for r in here if r["source"] == source], metric, where)
        for source in sources
    }
    for source, values in scans.items():
        if not values:
            there = ", ".join(sorted({str(r["source"]) for r in here})) or "none"
            raise ValueError(
                f"no rows of source {source!r} at {where}; sources there: {there}. Run its "
                "networks, or leave it out of the comparison."
            )
    seeds = sorted({k[2] for s in sources if s not in untrained for k in scans[s]}) or [UNSEEDED]
    for source in sources:
        if source in untrained:
            scans[source] = _for_every_seed(scans[source], seeds)
    pairs = sorted({key[:2] for values in scans.values() for key in values})
    _require_complete(scans, pairs, seeds, where)
    patients = sorted({patient for patient, _ in pairs})
    volumes = {p: [volume for patient, volume in pairs if patient == p] for p in patients}
    return np.array(
        [
            [[np.mean([scans[s][p, v, seed] for v in volumes[p]]) for seed in seeds]
             for p in patients]
            for s in sources
        ]
    )  # fmt: skip


def difference_table(
    rows: Sequence[Row],
    first: str,
    second: str,
    *,
    metric: str = "PSNR",
    n_coils: int,
    acceleration: int,
    untrained: Collection[str] = UNTRAINED,
) -> Table:
    """First less second, (patient, seed); see :func:`patient_tables`."""
    a, b = patient_tables(
        rows, [first, second], metric=metric, n_coils=n_coils, acceleration=acceleration,
        untrained=untrained,
    )  # fmt: skip
    return a - b


def mean_of(
    rows: Sequence[Row], source: str, *, metric: str = "PSNR", n_coils: int, acceleration: int
) -> float:
    """Mean over seeds and patients, each patient by the mean of its scans.

    Raises:
        ValueError: as :func:`patient_tables`.
    """
    table = patient_tables(
        rows, [source], metric=metric, n_coils=n_coils, acceleration=acceleration
    )
    return float(table.mean())


def places(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """(n_coils, acceleration) that occur, sorted."""
    return sorted({(row["n_coils"], row["acceleration"]) for row in rows})


def sources_at(rows: Sequence[Row], n_coils: int, acceleration: int) -> set[str]:
    """Sources that were run there."""
    place = (n_coils, acceleration)
    return {row["source"] for row in rows if (row["n_coils"], row["acceleration"]) == place}


def _scan_means(rows: Sequence[Row], metric: str, where: str) -> dict[tuple[str, str, int], float]:
    """(patient, volume, seed) to the mean of its rows."""
    values: dict[tuple[str, str, int], list[float]] = {}
    for row in rows:
        if metric not in row:
            raise ValueError(
                f"a row of source {row['source']!r} at {where} has no {metric!r}; it has "
                f"{', '.join(map(str, row))}. Test again with this metric, or choose another."
            )
        value = float(row[metric])
        if not math.isfinite(value):
            raise ValueError(
                f"{metric} of source {row['source']!r}, scan {row['volume']}, seed {row['seed']} "
                f"at {where} is {value}; expected a number. Look at this reconstruction."
            )
        values.setdefault((str(row["patient"]), str(row["volume"]), row["seed"]), []).append(value)
    # Sorted: the mean of the same numbers in another order may differ in its last bit.
    return {key: float(np.mean(sorted(numbers))) for key, numbers in values.items()}


def _for_every_seed(
    values: Mapping[tuple[str, str, int], float], seeds: Sequence[int]
) -> dict[tuple[str, str, int], float]:
    """An untrained source's scans, the same for every seed."""
    by_scan: dict[tuple[str, str], list[float]] = {}
    for (patient, volume, _), value in sorted(values.items()):
        by_scan.setdefault((patient, volume), []).append(value)
    return {
        (patient, volume, seed): float(np.mean(numbers))
        for (patient, volume), numbers in by_scan.items()
        for seed in seeds
    }


def _require_complete(
    scans: Mapping[str, Mapping[tuple[str, str, int], float]],
    pairs: Sequence[tuple[str, str]],
    seeds: Sequence[int],
    where: str,
) -> None:
    missing = [
        f"{source} with seed {seed} on scan {volume} of patient {patient}"
        for source, values in scans.items()
        for seed in seeds
        for patient, volume in pairs
        if (patient, volume, seed) not in values
    ]
    if missing:
        more = f" and {len(missing) - MAX_LISTED} more" if len(missing) > MAX_LISTED else ""
        raise ValueError(
            f"rows are missing at {where}: {'; '.join(missing[:MAX_LISTED])}{more}. Sources are "
            "compared on the same scans with the same seeds: run what is missing, or leave out "
            "the scans, seeds or sources that are not complete."
        )
