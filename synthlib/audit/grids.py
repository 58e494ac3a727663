"""Interpolation: in the plane, and between slices."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synthlib.audit.findings import Reading
from synthlib.audit.view import View, mean_box

PEAK_DB = 18.0
PEAK_DAMPED_DB = 24.0  # where other processing left little noise between the peaks
SLOWEST = 0.06  # cycles/pixel: below, anatomy makes peaks
SLOW, SLOW_DB = 0.12, 4.0  # cycles/pixel: below, gyri do, up to 22 dB, and more is asked for
SMALLEST = 80  # pixels: in smaller images anatomy makes peaks
ANATOMY = 1.8  # times the noise: details of the head that are stronger are anatomy
CORRELATED = 0.1
LEAST_AIR = 400


def level_spectrum(view: View) -> Tensor:
    """Power (ky, kx) of the local level of details, centred: peaks tell interpolation.

    Interpolated pixels are means of their neighbours with weights that repeat
    across the picture; noise and details are damped where the weights are even.
    Source: Popescu & Farid, IEEE Trans Signal Process 53:758 (2005); Gallagher,
    Proc CRV (2005).
    """
    bent = view.detail[:, 1:] - view.detail[:, :-1]
    bent = (bent[:, :, 1:] - bent[:, :, :-1]).abs()  # second differences along both axes
    seen = bent > 1e-7
    level = torch.where(seen, (bent + 1e-4).log(), 0.0)
    mean = mean_box(level, 9) / mean_box(seen.float(), 9).clamp(min=1e-3)
    flat = torch.where(seen, level - mean, 0.0).clamp(-3, 3)
    together = flat.sum(0) / seen.sum(0).clamp(min=1).sqrt()
    taper = [torch.hann_window(n, periodic=False) for n in together.shape]
    kspace = torch.fft.fftshift(torch.fft.fft2(together * taper[0][:, None] * taper[1]))
    return kspace.abs().square()


def resampled(view: View, blocks: bool, filled: bool) -> Reading:
    """How far does a periodic pattern of the noise's level stand out?

    Args:
        blocks: JPEG was found; multiples of 1/8 cycles/pixel are its own.
        filled: zero-filling was found.
    """
    threshold = PEAK_DAMPED_DB if blocks or filled else PEAK_DB
    if min(view.shape) < SMALLEST or view.bright == 0:
        return Reading(float("nan"), PEAK_DB, "dB", "")
    power = level_spectrum(view)
    waves = [torch.fft.fftshift(torch.fft.fftfreq(n)).abs() for n in power.shape]
    fast = torch.hypot(waves[0][:, None], waves[1]) > SLOWEST
    if blocks:
        for axis, wave in enumerate(waves):
            ours = ((wave * 8 - (wave * 8).round()).abs() < 16 / len(wave)) & (wave > SLOWEST)
            fast &= ~(ours[:, None] if axis == 0 else ours)
    values = power[fast]
    level = values.median()
    if not level > 0:
        return Reading(float("nan"), PEAK_DB, "dB", "")
    slow = torch.hypot(waves[0][:, None], waves[1]) < SLOW
    peaks = torch.where(fast, torch.where(slow, power / 10 ** (SLOW_DB / 10), power), 0)
    value = 10 * math.log10(float(peaks.max() / level))
    at = int(peaks.argmax())
    fy, fx = (
        float(waves[axis][at // power.shape[1] if axis == 0 else at % power.shape[1]])
        for axis in (0, 1)
    )
    return Reading(
        value,
        threshold,
        "dB",
        f"the noise's level repeats itself with {fy:.3f} x {fx:.3f} cycles/pixel",
    )


def slices_interpolated(view: View) -> Reading:
    """How much noise do neighbouring slices share?"""
    unknown = Reading(float("nan"), CORRELATED, "correlation", "")
    pairs = [at for at in range(len(view.index) - 1) if view.index[at + 1] == view.index[at] + 1]
    if not pairs:
        return unknown
    pattern, mask, where = view.air_pattern, view.air, "air"
    if int(mask.sum()) < LEAST_AIR * len(mask):
        pattern, mask, where = view.detail, view.quiet, "the head"
        if view.anatomy > ANATOMY:  # neighbours share it
            return unknown
    value, n_both = _shared(pattern, mask, pairs, 1)
    if n_both < LEAST_AIR:
        return unknown
    apart = max(3, len(view.index) // 2)
    distant = list(range(len(view.index) - apart))
    if distant:  # what all slices share (a resampled plane) is not interpolation between them
        common, n_common = _shared(pattern, mask, distant, apart)
        value -= max(common, 0.0) if n_common >= LEAST_AIR else 0.0
    return Reading(
        value,
        CORRELATED + 3 * n_both**-0.5,
        "correlation",
        f"neighbouring slices share their noise in {where} (correlation {value:.2f})",
    )


def _shared(pattern: Tensor, mask: Tensor, first: list[int], apart: int) -> tuple[float, int]:
    """Correlation of slices with those `apart` places further, and the pixels it rests on."""
    at = torch.tensor(first)
    both = mask[at] & mask[at + apart]
    one, other = pattern[at] * both, pattern[at + apart] * both
    norm = (one.square().sum() * other.square().sum()).sqrt().clamp(min=1e-12)
    return float((one * other).sum() / norm), int(both.sum())
