"""Whose coils for which head: donors by likeness, and slices by their place in the head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from synthlib import runs
from synthlib.bank.donor import Donor
from synthlib.bank.outline import Outline
from synthlib.records import ImageVolume

MATCHED, RANDOM = "matched", "random"
PAIRINGS = (MATCHED, RANDOM)
AMONG = 3  # the likeliest donors share the work, so that one array does not serve them all
FIELD_PENALTY = 0.3  # as much as a head 30 % larger or smaller


@dataclass(frozen=True)
class Match:
    """A donor for one volume.

    Attributes:
        donor: whose coils.
        slices: (slice,) the donor's slice for each slice of the volume.
        distance: 0 for a head of the same size and field; nan where sizes are unknown.
        notes: what does not fit, or is not known to fit.
    """

    donor: Donor
    slices: tuple[int, ...]
    distance: float
    notes: tuple[str, ...] = ()


def choose(
    name: str,
    volume: ImageVolume,
    head: Outline,
    donors: Sequence[Donor],
    *,
    n_coils: int,
    pairing: str,
    seed: int,
) -> Match:
    """A donor for every slice of a volume; one donor, for the coils do not change within a scan.

    "matched" draws among the three donors of the same anatomy and orientation
    whose head and field are nearest; "random" among all that have enough coils.

    Args:
        name: of the draw.
        volume, head: the images and their outline.
        n_coils: donors with fewer are passed by.
        seed: with the name it decides the draw.

    Raises:
        ValueError: no donor fits; what there is, is told.
    """
    if pairing not in PAIRINGS:
        raise ValueError(f"pairing {pairing!r} is unknown; choose one of {', '.join(PAIRINGS)}")
    fitting = [donor for donor in donors if donor.n_coils >= n_coils]
    if not fitting:
        most = max((donor.n_coils for donor in donors), default=0)
        raise ValueError(
            f"no donor of the bank has {n_coils} coils, the most is {most}; ask for fewer coils, "
            "or add scans to the bank"
        )
    rng = runs.rng(seed, "donor", name)
    if pairing == MATCHED:
        fitting = _same(volume, fitting)
        fitting.sort(key=lambda donor: (_distance(volume, head, donor, n_coils), donor.name))
        fitting = fitting[:AMONG]
    donor = fitting[int(torch.randint(len(fitting), (), generator=rng))]
    distance = _distance(volume, head, donor, n_coils)
    return Match(donor, _slices(volume, head, donor), distance, _notes(volume, donor))


def _same(volume: ImageVolume, donors: Sequence[Donor]) -> list[Donor]:
    """Donors of the volume's anatomy and orientation; what is unknown fits all."""
    for name in ("anatomy", "orientation"):
        wanted = getattr(volume, name)
        alike = [d for d in donors if "unknown" in (wanted, getattr(d, name)) or
                 getattr(d, name) == wanted]  # fmt: skip
        if not alike:
            there = ", ".join(sorted({getattr(donor, name) for donor in donors}))
            raise ValueError(
                f"no donor of the bank has {name} {wanted}, there is {there}. Make a bank of such "
                f"raw data (`synthlib bank FOLDER --out BANK --{name} {wanted}`) and give it to "
                f"--maps, or take coils that do not fit with --pairing {RANDOM}"
            )
        # a donor that is known to fit goes before one that is not
        donors = [d for d in alike if getattr(d, name) == wanted] or alike
    return list(donors)


def _notes(volume: ImageVolume, donor: Donor) -> tuple[str, ...]:
    """Whether the coils were made for this part of the body."""
    if volume.anatomy == donor.anatomy:
        return ()
    if volume.anatomy == "unknown":
        return (f"the part of the body is not told: received by coils around a {donor.anatomy}",)
    if donor.anatomy == "unknown":
        return (f"the bank does not tell whether its coils were around a {volume.anatomy}",)
    return (f"{volume.anatomy}, received by coils around a {donor.anatomy} as --pairing asks",)


def _distance(volume: ImageVolume, head: Outline, donor: Donor, n_coils: int) -> float:
    size = [float(head.half[head.widest, axis]) * volume.spacing_mm[axis] for axis in (0, 1)]
    apart = [abs(math.log(a / b)) for a, b in zip(size, donor.half_mm, strict=True) if a * b > 0]
    distance = sum(apart) if len(apart) == 2 else 0.0
    if abs(volume.field_t - donor.field_t) > 0.5:  # false where one is unknown
        distance += FIELD_PENALTY
    # many coils compressed to few are another kind of array
    return distance + 0.01 * (donor.n_coils - n_coils)


def _slices(volume: ImageVolume, head: Outline, donor: Donor) -> tuple[int, ...]:
    """By distance from the widest slice; by share of the stack where steps are unknown."""
    n = volume.n_slices
    levels = np.array(donor.levels_mm)
    if math.isfinite(volume.step_mm) and np.isfinite(levels).all():
        wanted = (np.arange(n) - head.widest) * volume.step_mm
        return tuple(int(np.abs(levels - mm).argmin()) for mm in wanted)
    share = np.arange(n) / max(1, n - 1) if n > 1 else np.array([0.5])
    return tuple(round(float(s) * (donor.n_slices - 1)) for s in share)
