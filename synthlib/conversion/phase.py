"""The phase of a series: as it was measured, or as a generator or another source writes it."""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from synthlib import arrays, runs
from synthlib.conversion.settings import MEASURED, PLAIN_SOURCES, WRITTEN, Settings
from synthlib.phase import shipped, sources
from synthlib.phase.flow import Conditions, PhaseFlow
from synthlib.phase.generator import demonstration
from synthlib.records import ImageVolume, PhasePair

FLOW, GAN = "flow", "gan"
LOOKED_AT = 5  # slices of a volume, to see whether it is a head
WIDE = 0.5  # of the largest area: slices that are looked at


def phase_source(volume: ImageVolume, settings: Settings) -> str:
    """ "measured", or what wrote the phase: "written: flow-head-v1", "written: zero" ..."""
    if volume.phase is not None:
        return MEASURED
    if settings.weights:
        return f"{WRITTEN}: {FLOW if isinstance(writer_of(settings), PhaseFlow) else GAN}"
    return f"{WRITTEN}: {settings.generator}"


def write_phase(volume: ImageVolume, pixels: str, index: int, settings: Settings) -> Tensor:
    """Phase of one slice, float32 (y, x), radians; the same whenever it is asked for.

    As it was measured, where the volume has it; else the generator's. The slices of a
    series share what belongs to a scan.

    Args:
        pixels: hash of the volume's magnitudes, which names every draw.
    """
    if volume.phase is not None:
        return volume.phase[index]
    magnitude, name = volume.magnitude[index], f"{pixels}#{index}"
    writer = writer_of(settings) if settings.network else None
    if writer is not None and not isinstance(writer, PhaseFlow):
        return writer.at_pixels(
            magnitude,
            volume.spacing_mm,
            seed=settings.seed,
            name=name,
            upside_down=volume.upside_down,
        )
    pair = PhasePair(
        name=name,
        volume=pixels,
        patient_id=volume.patient_id,
        contrast=volume.contrast,
        slice_index=index,
        position=index / (volume.n_slices - 1) if volume.n_slices > 1 else 0.5,
        magnitude=magnitude,
        phase=torch.zeros_like(magnitude),
        support=magnitude > 0,
        recon_shape=(magnitude.shape[0], magnitude.shape[1]),
        acquired=(0, magnitude.shape[1]),
        spacing_mm=volume.spacing_mm,
        upside_down=volume.upside_down,
    )
    context = sources.Context(
        flow=writer,
        conditions=conditions_of(volume),
        extent_mm=volume.step_mm * (volume.n_slices - 1),
    )
    plain = settings.generator in PLAIN_SOURCES
    return sources.write(settings.generator if plain else FLOW, pair, context, seed=settings.seed)


def conditions_of(volume: ImageVolume) -> Conditions:
    """What the header tells a flow of the scan."""

    def number(name: str) -> float:
        return float(str(volume.facts.get(name, math.nan)))

    return Conditions.of_label(
        volume.contrast,
        orientation=volume.orientation,
        te_ms=number("te_ms"),
        ti_ms=number("ti_ms"),
        flip_deg=number("flip_deg"),
        field_t=volume.field_t,
    )


def writer_of(settings: Settings) -> shipped.Writer:
    """The network that writes phase, read once."""
    assert settings.network
    path = settings.weights
    time = stamp(path) if path is not None and path.is_file() else 0
    return _writer(settings.network, time)


def takes_global_state(settings: Settings) -> bool:
    """Whether draws are a network's dropout, which takes torch's global state: one at a time."""
    return bool(settings.network) and not isinstance(writer_of(settings), PhaseFlow)


def generator_record(settings: Settings) -> dict[str, object]:
    """Of the network that wrote phase: which weights, and how it is built."""
    writer = writer_of(settings)
    path = settings.weights or shipped.path_of(settings.network)
    record: dict[str, object] = {"weights_sha256": _sha256(path, stamp(path))}
    if isinstance(writer, PhaseFlow):
        record["stages"] = [dataclasses.asdict(stage) for stage in writer.stages]
    else:
        record["architecture"] = dataclasses.asdict(writer.architecture)
    if note := demonstration_note(settings):
        record["demonstration"] = note
    return record


def demonstration_note(settings: Settings) -> str:
    """What to say of a network that learned from few scans; "" for any other, or for none."""
    return demonstration(writer_of(settings).record) if settings.network else ""


def phase_notes(volume: ImageVolume, settings: Settings) -> list[str]:
    """What to say of a volume that is unlike those that the network learned from.

    Some slices of it are looked at; by one in two beyond the limit it is told.
    """
    if volume.phase is not None or settings.generator in PLAIN_SOURCES:
        return []
    writer = writer_of(settings)
    if not isinstance(writer, PhaseFlow) or writer.familiar is None:
        return []
    level = arrays.dark_level(volume.magnitude)
    area = (volume.magnitude > level).sum((-2, -1))
    # a vertex, or an empty slice, tells little
    wide = torch.nonzero(area >= WIDE * area.max())[:, 0]
    places = torch.linspace(0, len(wide) - 1, LOOKED_AT + 2)[1:-1].round().int()
    chosen = sorted(set(wide[places].tolist()))
    apart = writer.unfamiliarity(
        volume.magnitude[chosen], volume.spacing_mm, upside_down=volume.upside_down
    )
    limit = writer.familiar.limit
    if float((apart > limit).float().mean()) < 0.5:
        return []
    return [
        f"unlike the heads that the flow learned from (distance {float(apart.median()):.1f}, "
        f"theirs is 1, limit {limit:.1f}): its phase is a guess; look at it, or take polynomial"
    ]


def stamp(path: Path) -> int:
    """Changes with the file, so that nothing of an older one is taken from a cache."""
    return path.stat().st_mtime_ns


@lru_cache(maxsize=2)
def _writer(name: str, stamp: int) -> shipped.Writer:
    return shipped.load(name)


@lru_cache(maxsize=2)
def _sha256(path: Path, stamp: int) -> str:
    return runs.sha256(path)
