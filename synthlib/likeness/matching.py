"""Simulated scans made after measured ones: twins of the same matrix, coils, noise and level."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from synthlib import arrays, runs, scanner
from synthlib.likeness.portraits import (
    SIMULATED,
    Portrait,
    portrait,
    portrait_of_images,
    portrait_of_phase_difference,
    snr,
)
from synthlib.records import ImageVolume, RawVolume, orientation_of

NOISE_FREE_SNR = 1000.0
CONTRASTS = {  # the first whose key is in the measured label
    "T1POST": "AXT1POST",
    "PHASE DIFFERENCE": "AXGRE",
    "GRE": "AXT1GRE",
    "MPRAGE": "AXMPRAGE",
    "T2": "AXT2",
    "FLAIR": "AXFLAIR",
}
THIN = {"AXT1GRE": 1.5, "AXMPRAGE": 1.5}  # mm; 3-D scans have thin slices
QUIETER = 3.0  # a twin is scanned with so many times the SNR, then noise is added
N_CORRECTIONS = 2  # of the noise that is added
Process = Callable[[RawVolume], RawVolume]


class Twin(NamedTuple):
    """A simulated scan made after a measured head, and its portrait, which bears the head's name.

    Attributes:
        volume: its middle slice is cut at the level of the head.
    """

    portrait: Portrait
    volume: RawVolume


def twin_settings(one: Portrait, seed: int) -> scanner.ScanSettings:
    """One simulated slice of the same matrix, pixel size, coils, noise, level and nearest contrast.

    Args:
        one: the measured head; magnitudes are taken for those of a volume coil.
        seed: every head draws its own subject from it.

    Raises:
        ValueError: the pixel size is unknown.
    """
    if not all(mm > 0 for mm in one.pixel_mm):
        raise ValueError(
            f"{one.name}: the pixel size is unknown; expected one in its header, for a simulated "
            "head of the same size. Leave this head out."
        )
    label = one.what.upper()
    names = [name for key, name in CONTRASTS.items() if key in label]
    contrast = names[0] if names else "AXT1"
    return scanner.ScanSettings(
        n_subjects=1,
        coil_counts=(one.n_elements or max(1, one.n_coils),),
        contrasts=(contrast,),
        n_slices=1,
        positions_mm=(one.level_mm,),
        matrix=one.matrix,
        fov_mm=(one.matrix[0] * one.pixel_mm[0], one.matrix[1] * one.pixel_mm[1]),
        field_t=one.field_t,
        thickness_mm=THIN.get(contrast, scanner.ScanSettings.thickness_mm),
        snr=one.snr or NOISE_FREE_SNR,
        seed=runs.seed_for(seed, "twin", one.name),
        orientation=orientation_of(label, "axial"),
    )


def twins(portraits: Sequence[Portrait], seed: int) -> list[Portrait]:
    """Portraits of a simulated scan for each measured head, in their order and under their names.

    Raises:
        ValueError: as :func:`twin_settings`.
    """
    return [twin.portrait for twin in twin_scans(portraits, seed)]


def twin_scans(portraits: Sequence[Portrait], seed: int) -> list[Twin]:
    """A simulated scan for each measured head, in their order.

    Raises:
        ValueError: as :func:`twin_settings`.
    """
    return [matched_twin(one, twin_settings(one, seed)) for one in portraits]


def matched_twin(
    one: Portrait, settings: scanner.ScanSettings, process: Process | None = None
) -> Twin:
    """A scan with the measured SNR, as a portrait measures it: median of the head, noise of a coil.

    The scanner's own SNR is that of the brain in all coils. So the scan is made with less
    noise, and as much is added as brings its portrait's SNR to the measured one.

    Args:
        process: what was done to the measured scan before it came to us, done to the
            twin's noisy k-space; None compresses channels where the measured ones were.
    """
    process = process or (lambda volume: _compressed_alike(one, volume))
    scan = _scanned(one, dataclasses.replace(settings, snr=QUIETER * settings.snr))
    added = QUIETER**2 - 1  # variance, in units of the scan's own: for the settings' SNR
    for _ in range(N_CORRECTIONS):
        volume = process(_noisier(scan, added, settings.seed))
        if one.n_coils:
            reached = snr(volume, volume.n_slices // 2)
        else:
            reached = _portrait_of_twin(one, scan, volume, settings).snr
        if not (one.snr and reached):
            break
        added = max(0.0, (1 + added) * (reached / one.snr) ** 2 - 1)
    volume = process(_noisier(scan, added, settings.seed))
    return Twin(_portrait_of_twin(one, scan, volume, settings), volume)


def _scanned(one: Portrait, settings: scanner.ScanSettings) -> scanner.Scan:
    """Scan the settings' subject; the measured label tells the orientation."""
    scan = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]
    return dataclasses.replace(scan, volume=dataclasses.replace(scan.volume, contrast=one.what))


def _compressed_alike(one: Portrait, volume: RawVolume) -> RawVolume:
    return volume if one.n_elements is None else compressed(volume, one.n_coils)


def _noisier(scan: scanner.Scan, added: float, seed: int) -> RawVolume:
    """With noise of the receivers of so many times the variance that the scan has already."""
    volume = scan.volume
    kspace = torch.stack([volume.kspace[index] for index in range(volume.n_slices)])
    covariance = scan.truth["noise_covariance"].to(torch.complex128) / 2  # of the real part
    mixing = torch.linalg.cholesky(added * covariance).to(kspace.dtype) if added > 0 else None
    if mixing is None:
        return volume
    white = torch.randn((*kspace.shape, 2), generator=runs.rng(seed, "noise of a twin"))
    kspace = kspace + torch.einsum("vc,sckx->svkx", mixing, torch.view_as_complex(white))
    images = arrays.crop_or_pad_image(arrays.ifft2c(kspace), volume.recon_shape)
    return dataclasses.replace(volume, kspace=kspace, rss=arrays.rss(images))


def compressed(volume: RawVolume, n_coils: int) -> RawVolume:
    """The combinations of coils that hold most of a scan's energy.

    Raises:
        ValueError: fewer coils than that.

    Source: Buehrer et al., MRM 57:1131 (2007).
    """
    if not 1 <= n_coils <= volume.n_coils:
        raise ValueError(
            f"{volume.name} has {volume.n_coils} coils; expected at least the {n_coils} that it "
            "is to be compressed to. Name fewer."
        )
    kspace = torch.stack([volume.kspace[index] for index in range(volume.n_slices)])
    lines = kspace.movedim(1, 0).flatten(1)  # (coil, sample)
    _, vectors = torch.linalg.eigh(lines @ lines.mH)  # rising
    strongest = vectors[:, -n_coils:].mH
    mixed = torch.einsum("vc,sckx->svkx", strongest, kspace)
    images = arrays.crop_or_pad_image(arrays.ifft2c(mixed), volume.recon_shape)
    return dataclasses.replace(volume, kspace=mixed, rss=arrays.rss(images))


def _portrait_of_twin(
    one: Portrait, scan: scanner.Scan, volume: RawVolume, settings: scanner.ScanSettings
) -> Portrait:
    middle = volume.n_slices // 2
    if one.n_coils:
        return dataclasses.replace(portrait(volume, middle, SIMULATED), name=one.name)
    magnitude = arrays.rss(volume.coil_images(middle))[None]
    images = ImageVolume(one.name, volume.patient_id, volume.contrast, magnitude, one.pixel_mm)
    if one.delta_te_ms is None:
        return portrait_of_images(images, 0, SIMULATED)
    difference = _second_echo(scan, magnitude, one.delta_te_ms, settings)
    return portrait_of_phase_difference(difference, images, 0, one.delta_te_ms, SIMULATED)


def _second_echo(
    scan: scanner.Scan, magnitude: torch.Tensor, delta_te_ms: float, settings: scanner.ScanSettings
) -> torch.Tensor:
    """Phase (1, y, x) that a second echo would show beside the first, with the noise of both.

    A gradient echo's phase of susceptibility grows with time from the
    excitation, that of fat by its own frequency; the rest is the same in both.
    """
    te_ms = float(str(scan.volume.attributes["te_ms"]))
    fat = scan.truth["labels"] == scanner.TISSUES.index("fat")
    fat_turns = scanner.fat_shift_hz(settings.field_t) * delta_te_ms / 1000
    turned = scan.truth["phase_susceptibility"] * (delta_te_ms / te_ms)
    turned = turned + 2 * math.pi * fat_turns * fat
    noise_sd = float(magnitude[scan.truth["labels"] > 0].median()) / settings.snr
    draw = torch.randn(magnitude.shape, generator=runs.rng(settings.seed, "second echo"))
    noise = math.sqrt(2) * draw * noise_sd / magnitude.clamp(min=noise_sd)
    return arrays.wrap(turned + noise)
