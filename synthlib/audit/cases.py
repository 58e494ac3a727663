"""Clean scans with known defects put into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.audit import defects, view


@dataclass(frozen=True)
class Clean:
    """A scan without defects, in the forms that defects need.

    Attributes:
        name: of the scan.
        kspace: complex64 (slice, coil, ky, kx) on the image's grid, fully measured.
        brain: bool (slice, y, x), None if not known.
    """

    name: str
    kspace: Tensor
    brain: Tensor | None = None

    @cached_property
    def magnitude(self) -> Tensor:
        """Float32 (slice, y, x), root sum of squares."""
        return magnitude_of(self.kspace)

    @cached_property
    def head(self) -> Tensor:
        """Bool (slice, y, x)."""
        return view.outline(self.magnitude)


@dataclass(frozen=True)
class Case:
    """One defect at one strength.

    Attributes:
        check: that should find it.
        defect: in words; strength: in words.
        make: clean scan to magnitudes (slice, y, x).
    """

    check: str
    defect: str
    strength: str
    make: Callable[[Clean], Tensor]


def magnitude_of(kspace: Tensor) -> Tensor:
    """Root sum of squares (slice, y, x) of k-space (slice, coil, ky, kx)."""
    return torch.stack([arrays.rss(arrays.ifft2c(one)) for one in kspace])


def _kspace(defect: Callable[[Tensor], Tensor]) -> Callable[[Clean], Tensor]:
    return lambda scan: magnitude_of(defect(scan.kspace))


def _pixels(defect: Callable[[Tensor], Tensor]) -> Callable[[Clean], Tensor]:
    return lambda scan: defect(scan.magnitude)


def _damp_air(scan: Clean) -> Tensor:
    return torch.where(scan.head, scan.magnitude, scan.magnitude / 8)


def cases() -> list[Case]:
    """Every defect of synthlib.audit.defects, at several strengths."""
    return [*_kspace_cases(), *_pixel_cases(), *_grid_cases()]


def _kspace_cases() -> Iterator[Case]:
    d = defects
    for factor in (1.1, 1.25, 1.5, 2.0):
        zeros = _kspace(partial(d.zero_fill, factors=(factor, factor)))
        yield Case("zero_filled", "both axes", f"x {factor:g}", zeros)
    for factor in (1.15, 1.333, 1.524):
        zeros = _kspace(partial(d.zero_fill, factors=(1.0, factor)))
        yield Case("zero_filled", "one axis", f"x {factor:g}", zeros)
    yield Case("corner_filter", "elliptical", "", _kspace(d.elliptical))
    yield Case("corner_filter", "Fermi", "0.9, 0.06", _kspace(d.fermi))
    for strength in (0.5, 1.0):
        window = _kspace(partial(d.hamming, strength=strength))
        yield Case("corner_filter", "Hamming", f"{strength:g}", window)
    for share in (0.25, 0.5):
        window = _kspace(partial(d.tukey, share=share))
        yield Case("corner_filter", "Tukey", f"{share:g}", window)
    yield Case("corner_filter", "elliptical, air masked", "", _then_masked(d.elliptical))
    yield Case("corner_filter", "Hamming, air masked", "1", _then_masked(d.hamming))
    for eighths in (5, 6, 7):
        less = partial(d.partial_fourier, share=eighths / 8)
        filled = _kspace(partial(d.homodyne, share=eighths / 8))
        for name, make in (
            ("zero-filled", _kspace(less)),
            ("zero-filled, air masked", _then_masked(less)),
            ("homodyne", filled),
        ):
            yield Case("partial_fourier", name, f"{eighths}/8", make)


def _pixel_cases() -> Iterator[Case]:
    d = defects
    for quality in (50, 75, 90, 95):
        yield Case("lossy", "JPEG", f"quality {quality}", _pixels(partial(d.jpeg, quality=quality)))
    yield Case("lossy", "JPEG, cropped by 3 x 5", "quality 75", _cropped_jpeg)
    for levels in (64, 256):
        coarse = _pixels(partial(d.quantise, levels=levels))
        yield Case("quantised", "grey values", f"{levels}", coarse)
    for share in (0.001, 0.01):
        cut = _pixels(partial(d.clip, share=share))
        yield Case("quantised", "clipped", f"{100 * share:g} %", cut)
    yield Case("masked", "air set to zero", "", _masked)
    for share in (0.15, 0.3):
        yield Case("masked", "defaced", f"{100 * share:g} %", partial(_defaced, share=share))
    yield Case("masked", "air damped", "8 times", _damp_air)
    yield Case("skull_stripped", "brain alone", "", _strip)
    for contrast in (1.5, 2.0, 3.0):
        even = _pixels(partial(d.shade, contrast=contrast))
        yield Case("intensity_corrected", "centre over rim", f"x {contrast:g}", even)
    for height in (5, 10):
        text = _pixels(partial(d.burn_text, height=height))
        yield Case("burned_in", "text", f"{height} pixels high", text)


def _grid_cases() -> Iterator[Case]:
    d = defects
    for order, name in ((1, "linear"), (3, "cubic")):
        for factor in (0.9, 1.2, 1.5, 2.0):
            finer = _pixels(partial(d.zoom, factor=factor, order=order))
            yield Case("resampled", name, f"x {factor:g}", finer)
        turned = _pixels(partial(d.rotate, degrees=5.0, order=order))
        yield Case("resampled", f"turned, {name}", "5 degrees", turned)
    thick = partial(d.thick_slices, factor=2)
    yield Case("slices_interpolated", "from thicker", "x 2", _pixels(thick))
    yield Case("slices_interpolated", "from thicker, air masked", "x 2", _thick_and_masked)


def _then_masked(defect: Callable[[Tensor], Tensor]) -> Callable[[Clean], Tensor]:
    return lambda scan: defects.mask_background(magnitude_of(defect(scan.kspace)), scan.head)


def _masked(scan: Clean) -> Tensor:
    return defects.mask_background(scan.magnitude, scan.head)


def _thick_and_masked(scan: Clean) -> Tensor:
    return defects.thick_slices(_masked(scan), 2)


def _cropped_jpeg(scan: Clean) -> Tensor:
    return defects.jpeg(scan.magnitude, 75)[..., 3:, 5:]


def _defaced(scan: Clean, share: float) -> Tensor:
    return defects.deface(scan.magnitude, scan.head, share)


def _strip(scan: Clean) -> Tensor:
    if scan.brain is None:
        raise ValueError(
            f"{scan.name} has no brain mask; expected one to strip the skull. Leave the case out, "
            "or give masks to trials.clean_scan."
        )
    return defects.skull_strip(scan.magnitude, scan.brain)
