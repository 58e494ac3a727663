"""Whose coils receive a series, and the noise that they have."""

from __future__ import annotations

import dataclasses
import math
import threading
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from synthlib import bank, runs, synthesis
from synthlib.conversion.phase import stamp
from synthlib.conversion.settings import MATCH, NONE, Settings
from synthlib.records import ImageVolume

NOISE_SAMPLES = 8192  # of each coil: a covariance to one per cent
_OPENING = threading.Lock()


def donors_for(settings: Settings, volume: ImageVolume) -> tuple[bank.Donor, ...]:
    if settings.maps == bank.SIMULATED:
        strength = 1.5 if abs(volume.field_t - 1.5) < 0.5 else 3.0
        with _OPENING:  # donors that are not there yet are simulated once
            return opened(settings.maps, settings.n_coils, volume.orientation, strength, ())
    stamps = tuple(stamp(path) for path in sorted(Path(settings.maps).glob("*.h5")))
    return opened(settings.maps, 0, "", 0.0, stamps)


@lru_cache(maxsize=16)
def opened(
    maps: str, n_coils: int, orientation: str, field_t: float, stamps: tuple[int, ...]
) -> tuple[bank.Donor, ...]:
    return bank.open_bank(maps, n_coils=n_coils, orientation=orientation, field_t=field_t).donors


@lru_cache(maxsize=8)
def coils_of(path: Path, n_coils: int, upside_down: bool, stamp: int) -> bank.Coils:
    found = bank.Donor.open(path).read(n_coils)
    return dataclasses.replace(found, maps=found.maps.flip(2)) if upside_down else found


def noise_std(settings: Settings, level: synthesis.NoiseLevel, mean: float) -> tuple[float, str]:
    """Noise along the signal that the result is to have, and what to say about it."""
    if settings.noise == NONE:
        return 0.0, ""
    if settings.noise == MATCH:
        return level.std, "" if level.std else "the images hold no noise; none was added"
    snr = float(settings.noise)
    return max(level.std, mean / snr), synthesis.require_reachable(snr, level)


def noise_scan(
    receiver: synthesis.Receiver, donor_slice: int, pixels: str, settings: Settings
) -> tuple[Tensor | None, Tensor | None]:
    """A header's noise and noise_covariance, as the widest slice has them.

    The gain of the receivers follows each slice of the donor, as the SNR of the image asks.
    """
    covariance = receiver.covariance(donor_slice)
    if not bool(covariance.any()):
        return None, None
    rng = runs.rng(settings.seed, "noise scan", pixels)
    n_samples = receiver.shape[0]  # of a line, as long as the others
    shape = math.ceil(NOISE_SAMPLES / n_samples), receiver.n_coils, n_samples
    white = torch.randn(shape, generator=rng, dtype=torch.complex64)
    root = torch.linalg.cholesky(covariance.to(torch.complex128)).to(torch.complex64)
    return root @ white, covariance
