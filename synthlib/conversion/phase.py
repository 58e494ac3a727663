"""The phase of a series: as it was measured, or as a generator or another source writes it."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from synthlib import runs
from synthlib.conversion.settings import MEASURED, WRITTEN, Settings
from synthlib.phase import generator, sources
from synthlib.records import ImageVolume, PhasePair


def phase_source(volume: ImageVolume, settings: Settings) -> str:
    """ "measured", or what wrote the phase: "written: gan", "written: zero" ..."""
    if volume.phase is not None:
        return MEASURED
    return f"{WRITTEN}: {'gan' if settings.weights else settings.generator}"


def write_phase(volume: ImageVolume, pixels: str, index: int, settings: Settings) -> Tensor:
    """Phase of one slice, float32 (y, x), radians; the same whenever it is asked for.

    As it was measured, where the volume has it; else the generator's.
    """
    if volume.phase is not None:
        return volume.phase[index]
    magnitude, name = volume.magnitude[index], f"{pixels}#{index}"
    if settings.weights:
        write = _generator(settings.weights, stamp(settings.weights))
        return write.at_pixels(
            magnitude,
            volume.spacing_mm,
            seed=settings.seed,
            name=name,
            upside_down=volume.upside_down,
        )
    pair = PhasePair(
        name=name,
        volume=volume.name,
        patient_id=volume.patient_id,
        contrast=volume.contrast,
        slice_index=index,
        position=index / max(1, volume.n_slices - 1),
        magnitude=magnitude,
        phase=torch.zeros_like(magnitude),
        support=magnitude > 0,
        recon_shape=(magnitude.shape[0], magnitude.shape[1]),
        acquired=(0, magnitude.shape[1]),
        spacing_mm=volume.spacing_mm,
    )
    return sources.write(settings.generator, pair, sources.Context(), seed=settings.seed)


def generator_record(weights: Path) -> dict[str, object]:
    architecture = _generator(weights, stamp(weights)).architecture
    return {
        "weights_sha256": _sha256(weights, stamp(weights)),
        "architecture": dataclasses.asdict(architecture),
    }


def stamp(path: Path) -> int:
    """Changes with the file, so that nothing of an older one is taken from a cache."""
    return path.stat().st_mtime_ns


@lru_cache(maxsize=2)
def _generator(weights: Path, stamp: int) -> generator.PhaseGenerator:
    return generator.load(weights)


@lru_cache(maxsize=2)
def _sha256(path: Path, stamp: int) -> str:
    return runs.sha256(path)
