"""A scan's portrait: the numbers and curves by which scans are compared, without a pixel of it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from synthlib import arrays, coils, tasks
from synthlib.likeness import measures
from synthlib.records import ImageVolume, RawVolume, orientation_of

MEASURED, SIMULATED = "measured", "simulated"
FEWEST_PIXELS = 200  # of brain, that numbers are taken from
UNKNOWN_FIELD_T = 3.0  # scanners of today, where nobody said
CLEAR = 5.0  # of noise: this many times its s.d.
Curve = tuple[float | None, ...]


@dataclass(frozen=True)
class Portrait:
    """One slice of one scan in numbers; None where a number does not apply.

    The head is the outline with skull and ventricles in it. Phase is that of
    the coil-combined image (of the coil image where there is one coil), in the
    gauge of its maps, and counts where its magnitude is clear of noise.

    Attributes:
        name: of the scan; kind: "measured" or "simulated"; what: its contrast.
        n_coils: 0 where the file holds magnitudes only.
        matrix: (y, x); pixel_mm: (y, x), nan if unknown.
        source, licence: of measured data.
        level_mm: of the slice above mid-ventricle, where known; twins are cut there.
        field_t: of the scanner's magnet; UNKNOWN_FIELD_T where nobody said.
        n_elements: of the array, where its channels were compressed to n_coils; else None.
        brightness: density over measures.BRIGHTNESS_EDGES of the root sum of
            squares in the head divided by its median there.
        bright_tail: 98th percentile / median of the same.
        dark_share: share of the head below 0.3 of the median.
        snr: that median / s.d. of the real part of one coil's noise.
        spectrum_db: radial power over measures.FREQUENCY_EDGES of the combined
            complex image less its noise, or of the magnitude as it is, in dB of
            its low frequencies; None within the noise.
        spectrum_slope: exponent of the power from 0.05 to 0.25 cycles/pixel.
        steps: density over measures.STEP_EDGES of |phase gradient|, rad/pixel.
        step_median, step_high: its median and 95th percentile, rad/pixel.
        step_median_per_cm: its median in rad/cm.
        residues: points that the phase winds round, per 1000 pixels.
        phase_left: rms of what a polynomial of degree 4 leaves of the phase, rad.
        rank: singular values above 2 % of the 24 x 24 calibration matrix with
            6 x 6 kernels; rank_share: rank / (coils * 36).
        map_roughness: rms |gradient| of the coil maps in the head, 1/cm; in air and at the
            edge of the field of view, where the support goes on, maps fit noise.
        detail: of the brain alone (see measures.brain): s.d. of its magnitude between 0.7 and
            2.5 pixels, over its median.
        peak: 99.5th percentile of the head over the brain's median.
        asymmetry: 1 less the correlation of the brain with its mirror image; None where
            the slice is not known to have a left and a right.
        brain_phase_left: as phase_left, of the brain alone with a surface of its own, rad;
            brain_phase_tail: its share beyond 0.3 rad, %.
        brain_phase_kurtosis: of high-pass phase in the brain; 3 is a normal distribution's.
        b0_sd_hz, b0_gradient_median, b0_gradient_high: s.d. of the field in Hz;
            median and 95th percentile of its |gradient| in Hz/cm.
        delta_te_ms: between the two echoes that told the field.
    """

    name: str
    kind: str
    what: str
    n_coils: int
    matrix: tuple[int, int]
    pixel_mm: tuple[float, float]
    brightness: Curve
    bright_tail: float
    dark_share: float
    snr: float | None
    spectrum_db: Curve
    spectrum_slope: float | None
    steps: Curve | None = None
    step_median: float | None = None
    step_high: float | None = None
    step_median_per_cm: float | None = None
    residues: float | None = None
    phase_left: float | None = None
    rank: int | None = None
    rank_share: float | None = None
    map_roughness: float | None = None
    b0_sd_hz: float | None = None
    b0_gradient_median: float | None = None
    b0_gradient_high: float | None = None
    delta_te_ms: float | None = None
    detail: float | None = None
    peak: float | None = None
    asymmetry: float | None = None
    brain_phase_left: float | None = None
    brain_phase_tail: float | None = None
    brain_phase_kurtosis: float | None = None
    source: str = ""
    licence: str = ""
    level_mm: float = 0.0
    n_elements: int | None = None
    field_t: float = UNKNOWN_FIELD_T


class Combined(NamedTuple):
    """One slice with its coils combined.

    Attributes:
        coil_images: complex (coil, y, x); image: complex (y, x), in the gauge of the maps, its
            noise as large as one coil's; rss: (y, x); head: bool (y, x), see measures.outline.
        noise_sd: of the real part of one coil's noise; pixel_mm: (y, x).
        maps: None of one coil.
    """

    coil_images: Tensor
    image: Tensor
    rss: Tensor
    head: Tensor
    noise_sd: float
    pixel_mm: tuple[float, float]
    maps: coils.CoilMaps | None


def combine(volume: RawVolume, index: int) -> Combined:
    """Coils of one slice combined, on the columns that were measured on both sides.

    Columns of kx that were not measured are left out, with their mirror images:
    the zeros there would pass for smoothness.

    Raises:
        ValueError: the slice has no signal, no head, or NaN.
    """
    images, pixel_mm = _measured_images(volume, index)
    rss = arrays.rss(images)
    head = measures.outline(rss)
    image, maps = images[0], None
    if volume.n_coils > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a portrait takes heads as they are
            maps = coils.espirit_maps(arrays.fft2c(images))
        image = coils.combine(images, maps.maps)  # unit maps: noise stays as it is in one coil
    noise = measures.noise_sd(images, head)
    return Combined(images, image, rss, head, noise, pixel_mm, maps)


@tasks.torch_threads(1)
def portrait(volume: RawVolume, index: int, kind: str = MEASURED) -> Portrait:
    """Portrait of one slice of raw data, its coils combined as :func:`combine` does.

    Raises:
        ValueError: the slice has no signal, no head, or NaN.
    """
    images, image, rss, head, noise, pixel_mm, maps = combine(volume, index)
    n_coils = volume.n_coils
    of_maps: dict[str, Any] = {}
    if maps is not None:
        rank = measures.calibration_rank(arrays.fft2c(images))
        of_maps = {
            "rank": rank,
            "rank_share": rank / (n_coils * 36),
            "map_roughness": _number(
                measures.map_roughness(maps.maps, maps.support & head, pixel_mm)
            ),
        }
    spectrum = measures.spectrum_db(measures.radial_power(image), 2 * noise**2)
    clear = head & (image.abs() > max(CLEAR * noise, 0.1 * float(rss[head].median())))
    return replace(
        _of_magnitude(volume.name, volume.contrast, rss, head, noise, pixel_mm),
        kind=kind,
        n_coils=n_coils,
        spectrum_db=_curve(spectrum),
        spectrum_slope=_number(measures.spectrum_slope(spectrum)),
        **_of_phase(image, clear, pixel_mm),
        **_of_brain_phase(image, _brain(head, pixel_mm, volume.contrast), clear),
        **of_maps,
    )


@tasks.torch_threads(1)
def snr(volume: RawVolume, index: int) -> float | None:
    """The SNR of :func:`portrait`, in a fraction of its time.

    Raises:
        ValueError: the slice has no signal, no head, or NaN.
    """
    images, _ = _measured_images(volume, index)
    rss = arrays.rss(images)
    head = measures.outline(rss)
    return _snr(rss[head], measures.noise_sd(images, head))


def _snr(inside: Tensor, noise: float) -> float | None:
    return float(inside.median()) / noise if noise > 0 else None


@tasks.torch_threads(1)
def portrait_of_images(images: ImageVolume, index: int, kind: str = MEASURED) -> Portrait:
    """Portrait of one slice of magnitudes: brightness, spectrum and noise, nothing of phase.

    Raises:
        ValueError: the slice has no head.
    """
    magnitude = images.magnitude[index]
    head = measures.outline(magnitude)
    # where the object is bright, a magnitude's noise is that of the real part
    noise = measures.noise_sd(magnitude[None], head)
    found = _of_magnitude(images.name, images.contrast, magnitude, head, noise, images.spacing_mm)
    return replace(found, kind=kind)


@tasks.torch_threads(1)
def portrait_of_phase_difference(
    difference: Tensor,
    images: ImageVolume,
    index: int,
    delta_te_ms: float,
    kind: str = MEASURED,
) -> Portrait:
    """Portrait of one slice's field, from the phase between two echoes.

    Args:
        difference: radians (slice, y, x), wrapped or not.
        images: the magnitude of one of the echoes.
        index: which slice.
        delta_te_ms: time between the echoes.

    Raises:
        ValueError: grids differ, or the slice has no head.
    """
    arrays.require_same_grid(phase=difference, magnitude=images.magnitude)
    found = portrait_of_images(images, index, kind)
    magnitude = images.magnitude[index]
    head = measures.outline(magnitude)
    clear = head & (magnitude > 0.3 * magnitude[head].median())
    field = _of_field(difference[index], clear, images.spacing_mm, delta_te_ms)
    return replace(found, delta_te_ms=delta_te_ms, **field)


def _measured_images(volume: RawVolume, index: int) -> tuple[Tensor, tuple[float, float]]:
    """Coil images (coil, y, x) on the columns that were measured on both sides, and their pixel."""
    images = volume.coil_images(index)
    ny, nx = images.shape[-2:]
    below, above = nx // 2 - volume.acquired[0], volume.acquired[1] - nx // 2
    half = min(below, above)
    width = min(nx, 2 * half + (1 if below > half or above > half else 0))
    if width < nx:
        images = arrays.resample(images, (ny, width))
    return images, (volume.spacing_mm[0], volume.spacing_mm[1] * nx / width)


def _of_magnitude(
    name: str,
    what: str,
    magnitude: Tensor,
    head: Tensor,
    noise: float,
    pixel_mm: tuple[float, float],
) -> Portrait:
    inside = magnitude[head]
    median = inside.median()
    brain = _brain(head, pixel_mm, what)
    of_brain: dict[str, Any] = {}
    if int(brain.sum()) >= FEWEST_PIXELS:
        of_brain = {
            "detail": measures.detail(magnitude, brain),
            "peak": float(torch.quantile(inside, 0.995) / magnitude[brain].median()),
        }
        if orientation_of(what, "axial") == "axial":  # the others' left and right may be rows
            of_brain["asymmetry"] = measures.asymmetry(magnitude, brain)
    spectrum = measures.spectrum_db(measures.radial_power(magnitude))
    return Portrait(
        name=name,
        kind=MEASURED,
        what=what,
        n_coils=0,
        matrix=(magnitude.shape[0], magnitude.shape[1]),
        pixel_mm=pixel_mm,
        brightness=_curve(measures.density(inside / median, measures.BRIGHTNESS_EDGES)),
        bright_tail=float(torch.quantile(inside, 0.98) / median),
        dark_share=float((inside < 0.3 * median).float().mean()),
        snr=_snr(inside, noise),
        spectrum_db=_curve(spectrum),
        spectrum_slope=_number(measures.spectrum_slope(spectrum)),
        **of_brain,
    )


def _brain(head: Tensor, pixel_mm: tuple[float, float], what: str) -> Tensor:
    return measures.brain(head, pixel_mm, orientation_of(what, "axial"))


def _of_brain_phase(image: Tensor, brain: Tensor, clear: Tensor) -> dict[str, Any]:
    """Numbers of the phase of an image (y, x) in the brain, where it is clear of noise."""
    use = brain & clear
    if int(use.sum()) < FEWEST_PIXELS:
        return {}
    weight = image.abs() * use
    left = arrays.wrap(image.angle() - measures.smooth_phase(image.angle(), weight))
    return {
        "brain_phase_left": _number(float((weight * left.square()).sum() / weight.sum()) ** 0.5),
        "brain_phase_tail": measures.phase_tail(left, use),
        "brain_phase_kurtosis": _number(measures.phase_kurtosis(image, use)),
    }


def _of_phase(image: Tensor, clear: Tensor, pixel_mm: tuple[float, float]) -> dict[str, Any]:
    phase = image.angle()
    steps = measures.phase_gradient(phase, clear)
    median = _quantile(steps, 0.5)
    pixel_cm = math.sqrt(math.prod(pixel_mm)) / 10
    weight = image.abs() * clear
    left = arrays.wrap(phase - measures.smooth_phase(phase, weight))
    return {
        "steps": _curve(measures.density(steps, measures.STEP_EDGES)),
        "step_median": median,
        "step_high": _quantile(steps, 0.95),
        "step_median_per_cm": None if median is None else _number(median / pixel_cm),
        "residues": measures.residues_per_1000(phase, clear),
        "phase_left": _number(float((weight * left.square()).sum() / weight.sum()) ** 0.5),
    }


def _of_field(
    phase: Tensor, clear: Tensor, pixel_mm: tuple[float, float], te_ms: float
) -> dict[str, Any]:
    """Numbers of the field that turned a phase (y, x) in te_ms, in pixels that are clear."""
    to_hz = 1000 / (2 * math.pi * te_ms)  # Hz per rad
    steps = measures.phase_gradient(phase, clear) * to_hz / (math.sqrt(math.prod(pixel_mm)) / 10)
    fit = measures.smooth_phase(phase, clear.double())
    unwrapped = fit + arrays.wrap(phase.double() - fit)
    return {
        "b0_sd_hz": _number(float(unwrapped[clear].std()) * to_hz),
        "b0_gradient_median": _quantile(steps, 0.5),
        "b0_gradient_high": _quantile(steps, 0.95),
    }


def _quantile(values: Tensor, q: float) -> float | None:
    return float(torch.quantile(values, q)) if values.numel() else None


def _number(value: float) -> float | None:
    """None for nan: the pixel size is unknown, or nothing was there to count."""
    return value if math.isfinite(value) else None


def _curve(values: Tensor) -> Curve:
    return tuple(_number(value) for value in values.tolist())
