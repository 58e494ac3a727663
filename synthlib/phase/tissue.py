"""Does a generator learn the phase that belongs to the tissue? The simulated scanner knows it.

For scans without the phases that no magnitude tells (the receivers', the
timing's), what is left comes from susceptibility, conductivity and chemical
shift. A generator that has learned it comes closer to it than any smooth
surface can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays, datasets, metrics, pairs, scanner
from synthlib.phase import polynomial
from synthlib.phase.generator import PhaseGenerator
from synthlib.records import PhasePair

MECHANISMS = ("susceptibility", "conductivity", "chemical_shift", "noise")
BRAIN = ("csf", "grey", "white", "deep", "blood", "artery", "lesion")
MEAN_SURFACE = f"mean surface of the training scans, degree {polynomial.DEGREE}"
DEGREES = (2, polynomial.DEGREE, 6)
DRAWS = 8
GENERATOR = f"generator, mean of {DRAWS} draws"
MIDDLE_MM = (45.0, 35.0)  # half the (y, x) region around the isocentre where ventricles lie
FEWEST = 15  # pixels that count as ventricles


def best_name(degree: int) -> str:
    """Of a row of :func:`error_table`."""
    return f"best surface of this very slice, degree {degree}"


@dataclass(frozen=True)
class KnownSlice:
    """One slice and the truth about it.

    Attributes:
        pair: as measured, with noise.
        phase: (y, x) of the object, radians.
        weights: region ("brain", "head") to (y, x): the object's magnitude there, 0 elsewhere.
        ventricles, matter: bool (y, x), fluid and brain around the isocentre.
    """

    pair: PhasePair
    phase: Tensor
    weights: dict[str, Tensor]
    ventricles: Tensor
    matter: Tensor


def known_slices(volumes: Sequence[pairs.PreparedVolume]) -> list[KnownSlice]:
    """Every slice of simulated scans with its truth.

    Raises:
        ValueError: a scan was not simulated.
    """
    return [one for volume in volumes for one in _known(volume)]


def _known(volume: pairs.PreparedVolume) -> list[KnownSlice]:
    truth = datasets.truth(volume.raw)
    found = []
    for index in range(volume.n_slices):
        labels, magnitude = truth["labels"][index], truth["magnitude"][index]
        brain = torch.isin(labels, torch.tensor([scanner.TISSUES.index(name) for name in BRAIN]))
        ny, nx = labels.shape
        spacing = volume.raw.spacing_mm
        rows = (torch.arange(ny) - ny // 2).abs() * spacing[0] < MIDDLE_MM[0]
        columns = (torch.arange(nx) - nx // 2).abs() * spacing[1] < MIDDLE_MM[1]
        middle = rows[:, None] & columns
        found.append(
            KnownSlice(
                pair=volume.pair(index),
                phase=truth["phase"][index],
                weights={"brain": magnitude * brain, "head": magnitude * (labels > 0)},
                ventricles=middle & (labels == scanner.TISSUES.index("csf")),
                matter=middle & brain & (labels != scanner.TISSUES.index("csf")),
            )
        )
    return found


def error_table(
    slices: Sequence[KnownSlice],
    learned_from: Sequence[KnownSlice],
    writer: PhaseGenerator,
    *,
    seed: int,
) -> list[dict[str, object]]:
    """Weighted rms error of several guesses at the true phase, mean over the slices.

    A best surface is fitted to the true phase of the very slice and region it
    is judged on: no polynomial of its degree can be closer. The mean surface is
    that of the slices which the generator learned from: the best guess of one
    who has not seen this magnitude.

    Returns:
        Rows with "phase" and, for every region, radians after the best constant.
    """
    regions = tuple(slices[0].weights)
    means = {
        region: torch.stack(
            [polynomial.surface_fit(one.phase, one.weights[region]) for one in learned_from]
        ).mean(0)
        for region in regions
    }
    rows: dict[str, dict[str, list[float]]] = {}
    for one in slices:
        shape = (one.phase.shape[0], one.phase.shape[1])
        draws = draw_many(one.pair, writer, seed)
        for region, weight in one.weights.items():
            guesses = {
                "zero": torch.zeros_like(one.phase),
                MEAN_SURFACE: polynomial.surface(means[region], shape),
                **{
                    best_name(degree): best_surface(one.phase, weight, degree) for degree in DEGREES
                },
                "generator, one draw": draws[0].angle(),
                GENERATOR: draws.mean(0).angle(),
            }
            for name, guess in guesses.items():
                error = metrics.rms_phase_error(guess, one.phase, weight)
                rows.setdefault(name, {}).setdefault(region, []).append(error)
    return [
        {"phase": name, **{region: float(np.mean(errors)) for region, errors in found.items()}}
        for name, found in rows.items()
    ]


def rendered(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """The rows of :func:`error_table` as a table shows them."""
    return [
        {
            "phase": row["phase"],
            **{f"{name} (rad)": f"{value:.3f}" for name, value in row.items() if name != "phase"},
        }
        for row in rows
    ]


def verdict(rows: Sequence[dict[str, object]]) -> str:
    """What the rows of :func:`error_table` say, in words."""
    found = {str(row["phase"]): row for row in rows}
    lines = []
    for region in (name for name in rows[0] if name != "phase"):
        errors = {name: float(str(row[region])) for name, row in found.items()}
        rivals = [MEAN_SURFACE, *map(best_name, DEGREES)]
        beaten = [name for name in rivals if errors[GENERATOR] < errors[name]]
        lines.append(
            f"{region}: the generator ({errors[GENERATOR]:.3f} rad) is closer than "
            f"{len(beaten)} of {len(rivals)} surfaces"
            + (f", the last of them the {beaten[-1]}" if beaten else "")
        )
    return "\n".join(lines)


def one_of_each_contrast(slices: Sequence[KnownSlice]) -> list[KnownSlice]:
    """The slice with the most fluid around the isocentre, of every contrast."""
    best: dict[str, KnownSlice] = {}
    for one in sorted(slices, key=lambda one: int(one.ventricles.sum())):
        best[one.pair.contrast] = one
    return [best[name] for name in sorted(best)]


def draw_many(pair: PhasePair, writer: PhaseGenerator, seed: int) -> Tensor:
    """Several draws of a generator for one slice, as complex numbers of size 1: (draw, y, x)."""
    phases = [writer(pair.magnitude, seed=seed, name=f"{pair.name}/{i}") for i in range(DRAWS)]
    return torch.stack([torch.polar(torch.ones_like(phase), phase) for phase in phases])


def best_surface(phase: Tensor, weight: Tensor, degree: int = polynomial.DEGREE) -> Tensor:
    """The polynomial (y, x) closest to a phase where there is weight, but for its constant."""
    shape = (phase.shape[0], phase.shape[1])
    return polynomial.surface(polynomial.surface_fit(phase, weight, degree), shape, degree)


def fine_part(phase: Tensor, weight: Tensor) -> Tensor:
    """A phase less its best surface and constant, radians (y, x)."""
    left = arrays.wrap(phase - best_surface(phase, weight))
    return metrics.align_constant(left, torch.zeros_like(left), weight)


def shows_ventricles(one: KnownSlice) -> bool:
    """Whether a slice has enough fluid around the isocentre, and fluid has signal."""
    return int(one.ventricles.sum()) >= FEWEST and "FLAIR" not in one.pair.contrast


def ventricle_step(fine: Tensor, one: KnownSlice) -> float:
    """Mean of a fine phase over the ventricles less that over the brain around them: radians.

    Args:
        fine: (y, x), radians, for example :func:`fine_part` over the brain; negative steps
            are fluid that lags.
        one: the slice; its magnitude in the brain is the weight of a pixel.
    """
    weight = one.weights["brain"]
    fluid, matter = (
        float((weight * fine)[where].sum() / weight[where].sum())
        for where in (one.ventricles, one.matter)
    )
    return fluid - matter


def ventricle_table(
    slices: Sequence[KnownSlice], writer: PhaseGenerator, *, seed: int
) -> list[dict[str, object]]:
    """How much the phase of the ventricles differs from that of the brain around them.

    In each slice the best surface over the brain is taken off first; then the
    mean over the ventricles less that over the brain around the isocentre,
    weighted with the signal. In FLAIR fluid has no signal, and no phase.

    Returns:
        Rows with the mean over slices and its standard error, in radians, for
        the phase as measured (with noise), the true one, and the generator's.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for one in slices:
        if not shows_ventricles(one):
            continue
        mean = draw_many(one.pair, writer, seed).mean(0).angle()
        weight = one.weights["brain"]
        for name, phase in (("measured", one.pair.phase), ("true", one.phase), ("generator", mean)):
            step = ventricle_step(fine_part(phase, weight), one)
            found.setdefault(one.pair.contrast, {}).setdefault(name, []).append(step)
    return [
        {
            "contrast": contrast,
            "slices": len(by_name["true"]),
            **{f"{name} (rad)": _mean_and_error(values) for name, values in by_name.items()},
        }
        for contrast, by_name in sorted(found.items())
    ]


def _mean_and_error(values: Sequence[float]) -> str:
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):+.3f} ± {error:.3f}"


def pictures(
    slices: Sequence[KnownSlice], writer: PhaseGenerator, *, seed: int
) -> list[dict[str, Tensor]]:
    """What figures.tissue_phase shows of some slices."""
    found = []
    for one in slices:
        weight = one.weights["brain"]
        mean = draw_many(one.pair, writer, seed).mean(0).angle()
        zero = torch.zeros_like(mean)
        lit = one.pair.head
        shown = {"magnitude": one.pair.magnitude}
        for name, phase in (("true", one.phase), ("written", mean)):
            shown[name] = torch.where(lit, metrics.align_constant(phase, zero, weight), torch.nan)
            shown[f"{name}_fine"] = torch.where(weight > 0, fine_part(phase, weight), torch.nan)
        found.append(shown)
    return found
