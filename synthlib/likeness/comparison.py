"""Simulated scans made after measured ones, and how the two compare."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from synthlib import arrays, runs, scanner
from synthlib.likeness.portraits import (
    SIMULATED,
    Portrait,
    portrait,
    portrait_of_images,
    portrait_of_phase_difference,
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


class Statistic(NamedTuple):
    """A number of a portrait, as tables show it."""

    attribute: str
    label: str
    digits: int


STATISTICS = (
    Statistic("snr", "SNR", 0),
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
    return [_equally_noisy(one, twin_settings(one, seed)) for one in portraits]


def _equally_noisy(one: Portrait, settings: scanner.ScanSettings) -> Portrait:
    """A twin with the measured SNR, as a portrait measures it: median of the head, noise of a coil.

    The scanner's own SNR is that of the brain in all coils; a first scan tells the ratio.
    """
    twin = _twin(one, settings)
    if one.snr and twin.snr:
        twin = _twin(one, dataclasses.replace(settings, snr=settings.snr * one.snr / twin.snr))
    return twin


def twin_scan(one: Portrait, settings: scanner.ScanSettings) -> scanner.Scan:
    """Scan the settings' subject; channels are compressed where the measured head's were."""
    scan = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]
    if one.n_elements is None:
        return scan
    return dataclasses.replace(scan, volume=compressed(scan.volume, one.n_coils))


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


def _twin(one: Portrait, settings: scanner.ScanSettings) -> Portrait:
    scan = twin_scan(one, settings)
    if one.n_coils:
        twin = dataclasses.replace(portrait(scan.volume, 0, SIMULATED), name=one.name)
        axial = settings.orientation == "axial"
        return twin if axial else dataclasses.replace(twin, asymmetry=None)
    magnitude = arrays.rss(scan.volume.coil_images(0))[None]
    images = ImageVolume(
        one.name, scan.volume.patient_id, scan.volume.contrast, magnitude, one.pixel_mm
    )
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


def rows(measured: Sequence[Portrait], simulated: Sequence[Portrait]) -> list[dict[str, str]]:
    """A row a head: its numbers, measured / simulated; "-" where there is none.

    Args:
        measured, simulated: in the same order.
    """
    return [
        {
            "head": one.name,
            "contrast": one.what,
            "coils": str(one.n_coils or "-"),
            **{what.label: _both(one, other, what) for what in STATISTICS},
        }
        for one, other in zip(measured, simulated, strict=True)
    ]


def spread(measured: Sequence[Portrait], *simulated: Sequence[Portrait]) -> list[dict[str, str]]:
    """A row a statistic: does each twin lie in the range of the measured heads, and each head
    in that of its twins?

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
