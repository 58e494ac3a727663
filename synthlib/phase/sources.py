"""Where phase can come from, by name: one function each, all with one signature.

A source takes the slice (its magnitude and, for the measured phase, its phase),
what the data set knows (Context) and a random generator, and gives radians
(y, x) in (-pi, pi]. To add one, write the function and put @source above it. Where
slices of a scan share a draw (by_scan), the generator is that of the scan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from synthlib import arrays, pairs, runs, tasks
from synthlib.phase import shipped
from synthlib.phase.flow import Conditions, PhaseFlow
from synthlib.phase.generator import PhaseGenerator, device_for, load
from synthlib.phase.polynomial import PolynomialStatistics, fit_statistics
from synthlib.records import PhasePair

MEASURED = "measured"
ENOUGH = 500  # slices tell the statistics of smooth phase


@dataclass(frozen=True)
class Context:
    """What sources may draw on besides the slice itself.

    Attributes:
        generator: the trained conditional GAN, for "gan".
        donors: scans of other patients than those to be written, for "other_patient".
        polynomial: statistics of measured phase, for "polynomial".
        flow: for "flow"; its statistics of scans for "polynomial" where there are no others.
        conditions: of the scan, for "flow"; None: what the slice's label tells.
        extent_mm: from the scan's first slice to its last, nan if unknown.
    """

    generator: PhaseGenerator | None = None
    donors: Sequence[pairs.PreparedVolume] = field(default_factory=tuple)
    polynomial: PolynomialStatistics | None = None
    flow: PhaseFlow | None = None
    conditions: Conditions | None = None
    extent_mm: float = math.nan


Source = Callable[[PhasePair, Context, torch.Generator], Tensor]


@dataclass(frozen=True)
class Entry:
    """A source with the label for figures and tables.

    Attributes:
        by_scan: its random generator is that of the scan, the same for all slices.
        noisy: it has receivers' noise in it.
    """

    label: str
    make: Source
    by_scan: bool = False
    noisy: bool = False


REGISTRY: dict[str, Entry] = {}


def source(
    name: str, label: str, *, by_scan: bool = False, noisy: bool = False
) -> Callable[[Source], Source]:
    """Register a function as the source of that name; by_scan, noisy: see Entry."""

    def register(function: Source) -> Source:
        REGISTRY[name] = Entry(label, function, by_scan, noisy)
        return function

    return register


def require_known(names: Sequence[str]) -> None:
    """Raise ValueError for a name that is not a source."""
    for name in names:
        if name not in REGISTRY:
            raise ValueError(
                f"phase source {name!r} is unknown; expected one of {', '.join(REGISTRY)}. A new "
                "source is one function with @source in synthlib/phase/sources.py."
            )


def label(name: str) -> str:
    """The name for figures and tables, for example "GAN (synthetic)"."""
    require_known([name])
    return REGISTRY[name].label


@tasks.torch_threads(1)
def write(name: str, pair: PhasePair, context: Context, *, seed: int) -> Tensor:
    """Phase of one slice from the named source.

    Args:
        name: a name of REGISTRY.
        pair: the slice.
        context: see Context.
        seed: with the slice's name it fixes every draw.

    Returns:
        float32 (y, x), radians in (-pi, pi].

    Raises:
        ValueError: unknown name, or the context lacks what the source needs.
    """
    require_known([name])
    entry = REGISTRY[name]
    drawn_for = pair.volume if entry.by_scan else pair.name
    phase = entry.make(pair, context, runs.rng(seed, "phase", name, drawn_for))
    arrays.require_same_grid(magnitude=pair.magnitude, phase=phase)
    return arrays.wrap(phase).to(torch.float32)


def write_many(
    names: Sequence[str], slices: Sequence[PhasePair], context: Context, *, seed: int
) -> dict[str, list[Tensor]]:
    """:func:`write` for several sources and slices: name to phases in the slices' order."""
    return {name: [write(name, pair, context, seed=seed) for pair in slices] for name in names}


def open_context(
    weights: Path | None, donors: Sequence[pairs.PreparedVolume], accelerator: str = "cpu"
) -> Context:
    """All that the sources draw on, from the generator's weights and the donors' scans."""
    places = pairs.slices_of(donors)
    some = places[:: max(1, len(places) // ENOUGH)]
    return Context(
        generator=load(weights, device_for(accelerator)) if weights else None,
        donors=donors,
        polynomial=fit_statistics([volume.pair(index) for volume, index in some])
        if len(some) > 1
        else None,
        flow=_shipped_flow(),
    )


def _shipped_flow() -> PhaseFlow:
    writer = shipped.load(shipped.DEFAULT)
    assert isinstance(writer, PhaseFlow)
    return writer


@source(MEASURED, "Measured phase", noisy=True)
def measured(pair: PhasePair, context: Context, rng: torch.Generator) -> Tensor:
    """The scan's own phase: what all the others are to stand in for."""
    return pair.phase


@source("gan", "GAN (synthetic)")
def gan(pair: PhasePair, context: Context, rng: torch.Generator) -> Tensor:
    """The conditional GAN's phase for this magnitude. Deveshwar et al. (2023)."""
    if context.generator is None:
        raise ValueError(
            "phase source 'gan' needs a trained generator, none was given. Run notebook "
            "02_gan_training first, or leave gan out of the sources."
        )
    draw = int(torch.randint(2**53, (), generator=rng))
    return context.generator.at_pixels(pair.magnitude, pair.spacing_mm, seed=draw)


@source("flow", "Flow (synthetic)", by_scan=True)
def flow(pair: PhasePair, context: Context, rng: torch.Generator) -> Tensor:
    """A smooth surface that the scan's slices share, and fine phase by a conditional flow.

    It learned from simulated heads alone; see phase.flow.
    """
    if context.flow is None:
        raise ValueError(
            "phase source 'flow' needs a flow, none was given; take phase.load("
            f"{shipped.DEFAULT!r}), or leave flow out of the sources."
        )
    return context.flow.slice(
        pair.magnitude,
        pair.spacing_mm,
        seed=int(torch.randint(2**53, (), generator=rng)),
        scan=pair.volume,
        index=pair.name,
        position=pair.position,
        extent_mm=context.extent_mm,
        conditions=context.conditions or Conditions.of_label(pair.contrast),
        upside_down=pair.upside_down,
    )


@source("sinusoidal", "Sinusoidal")
def sinusoidal(pair: PhasePair, context: Context, rng: torch.Generator) -> Tensor:
    """pi sin(2 pi (fx x / W + fy y / H) + p0), up to two periods along each axis.

    Source: after Dar et al., MRM 84:663 (2020) and Knoll et al., MRM 81:116
    (2019), who do not print a formula; f is uniform in [-2, 2], p0 in [0, 2 pi).
    """
    ny, nx = pair.magnitude.shape
    fy, fx = (4 * torch.rand(2, generator=rng) - 2).tolist()
    p0 = 2 * math.pi * float(torch.rand((), generator=rng))
    y = torch.arange(ny, dtype=torch.float32)[:, None] / ny
    x = torch.arange(nx, dtype=torch.float32)[None, :] / nx
    return math.pi * torch.sin(2 * math.pi * (fx * x + fy * y) + p0)


@source("random", "Random")
def random(pair: PhasePair, context: Context, rng: torch.Generator) -> Tensor:
    """Every pixel its own phase, uniform on the circle."""
    return math.pi * (1 - 2 * torch.rand(pair.magnitude.shape, generator=rng))


@source("zero", "Zero")
def zero(pair: PhasePair, context: Context, rng: torch.Generator) -> Tensor:
    """No phase: the complex image is the magnitude."""
    return torch.zeros_like(pair.magnitude)


@source("other_patient", "Another patient's", noisy=True)
def other_patient(pair: PhasePair, context: Context, rng: torch.Generator) -> Tensor:
    """Control: the measured phase of another patient at about the same slice.

    The same contrast is taken where there is one. All the statistics of measured
    phase but no relation to this anatomy: what a source gains over this one, it
    owes to the anatomy.
    """
    others = [volume for volume in context.donors if volume.raw.patient_id != pair.patient_id]
    if not others:
        raise ValueError(
            "phase source 'other_patient' needs scans of another patient, none was given; "
            "add patients to the data, or leave other_patient out of the sources."
        )
    alike = [volume for volume in others if volume.raw.contrast == pair.contrast] or others
    volume = alike[int(torch.randint(len(alike), (), generator=rng))]
    donor = volume.pair(round(pair.position * (volume.n_slices - 1)))
    # Another matrix: resample the complex image, never the wrapped phase.
    return arrays.resample(donor.image, (pair.magnitude.shape[0], pair.magnitude.shape[1])).angle()


@source("polynomial", "Smooth polynomial", by_scan=True)
def polynomial(pair: PhasePair, context: Context, rng: torch.Generator) -> Tensor:
    """Control: a smooth random polynomial with the statistics of measured phase.

    Slices of a scan share it: all of it with statistics of slices, its course along the
    stack with those of scans, which a flow has.
    """
    shape = pair.magnitude.shape[0], pair.magnitude.shape[1]
    if context.polynomial is not None:
        return context.polynomial.draw(shape, rng)
    if context.flow is None:
        raise ValueError(
            "phase source 'polynomial' needs statistics of measured phase, none were given; "
            "fit them with phase.polynomial.fit_statistics, or leave polynomial out."
        )
    known = context.conditions or Conditions.of_label(pair.contrast)
    surface = context.flow.surface(
        shape, pair.spacing_mm, seed=int(torch.randint(2**53, (), generator=rng)),
        scan=pair.volume, position=pair.position, extent_mm=context.extent_mm, conditions=known,
    )  # fmt: skip
    return surface.flip(0) if pair.upside_down else surface
