"""How good are maps: what they leave unexplained, and what else gives bad ones away."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays
from synthlib.coils import gauge
from synthlib.coils.combine import combine
from synthlib.coils.espirit import FOLDED, FOLDED_SHARE, espirit_maps
from synthlib.coils.settings import CoilMaps, EspiritSettings

# What no measured head of good maps comes near; each has a flag.
SUPPORT_LIMITS = (0.03, 0.97)  # share of the field of view
LOWEST_INSIDE = 0.85  # 5th percentile of the eigenvalues in bright tissue
HIGHEST_OUTSIDE = 0.8  # 10th percentile of the eigenvalues in dark air
EXCESS_RESIDUAL = 1.5  # times what the noise of the air explains
SMALL_RESIDUAL = 0.1  # below it, maps explain the signal however small the noise is
ROUGHEST = 40.0  # mean change of the maps per field of view
# Of SigPy's power iteration; after its default of 100 up to 2 % of a small head's pixels, at a
# bright scalp, are not at their eigenvector yet.
SIGPY_ITERATIONS = 300


@dataclasses.dataclass(frozen=True)
class SliceQuality:
    """How good the maps of one slice are.

    Attributes:
        slice_index: slice.
        support: share of the pixels in the support.
        inside: 5th percentile of the largest eigenvalue in bright tissue; near 1.
        outside: 10th percentile of it in dark air; far below crop.
        residual: |(1 - S S^H) m| / |m| in the support.
        noise: what `residual` would be if the maps were right and the noise that of the air.
        roughness: mean change of the maps from pixel to pixel in the support,
            whatever their phase, per field of view: sin of the angle over the step.
        folded: share of the support that one more set of maps would explain.
        poles: points in the support round which the phase of the maps turns;
            the target phase has them, too.
        not_finite: NaN and Inf in the maps.
        flags: what is wrong, in words; empty where nothing is.
    """

    slice_index: int
    support: float
    inside: float
    outside: float
    residual: float
    noise: float
    roughness: float
    folded: float
    poles: int
    not_finite: int
    flags: tuple[str, ...] = ()

    def row(self) -> dict[str, str]:
        """For a table."""
        return {
            "slice": str(self.slice_index),
            "support": f"{self.support:.2f}",
            "eigenvalue inside": f"{self.inside:.3f}",
            "eigenvalue outside": f"{self.outside:.2f}",
            "residual": f"{self.residual:.3f}",
            "of noise": f"{self.noise:.3f}",
            "roughness": f"{self.roughness:.1f}",
            "folded": f"{self.folded:.1%}",
            "poles": str(self.poles),
            "flags": "; ".join(self.flags) or "none",
        }


def judge(coil_images: Tensor, found: CoilMaps) -> list[SliceQuality]:
    """The quality of every slice of a batch.

    Args:
        coil_images: complex (slice, coil, y, x), fully sampled, on the grid of the maps.
        found: their maps, with a leading slice axis.
    """
    arrays.require_same_grid(coil_images=coil_images, maps=found.maps)
    return [_judge_one(index, coil_images[index], found[index]) for index in range(len(found))]


def _judge_one(index: int, coil_images: Tensor, found: CoilMaps) -> SliceQuality:
    several = found.maps.ndim == 4
    maps = found.maps if several else found.maps[None]  # (set, coil, y, x)
    values = found.eigenvalues[0] if several else found.eigenvalues
    inside, magnitude = found.support, arrays.rss(coil_images)
    # locally averaged, so that noise is level and can be taken off
    local = torch.nn.functional.avg_pool2d(
        magnitude.square()[None], 5, stride=1, padding=2, count_include_pad=False
    )[0]
    dark = local <= local.quantile(0.1)
    signal = local - local[dark].mean()
    bright = signal > 0.5**2 * signal.quantile(0.98)
    power = magnitude[inside].square().sum()
    # white noise in n coils; what lies along the maps is taken for signal
    n_coils, n_sets = coil_images.shape[-3], len(maps)
    noise = local[dark].mean() * (1 - n_sets / n_coils) * inside.sum()
    quality = SliceQuality(
        slice_index=index,
        support=float(inside.float().mean()),
        inside=float(values[bright].quantile(0.05)),
        outside=float(values[dark].quantile(0.1)),
        residual=residual(coil_images, found),
        noise=float((noise / power.clamp(min=1e-30)).sqrt()),
        roughness=_roughness(maps[0], inside),
        folded=float(((found.further > FOLDED) & inside).sum() / inside.sum().clamp(min=1)),
        poles=int((gauge.poles(maps[0]) & _loops(inside)).sum()),
        not_finite=int((~torch.isfinite(torch.view_as_real(found.maps))).sum()),
    )
    if float(found.threshold) == 1:
        return dataclasses.replace(quality, flags=("nothing but noise: leave it out",))
    dead = (coil_images.abs().amax((-2, -1)) == 0).nonzero().flatten().tolist()
    of_coils = (f"coil {c} of {n_coils} holds no signal: its map is zero" for c in dead)
    return dataclasses.replace(quality, flags=(*of_coils, *_flags(quality)))


def _flags(quality: SliceQuality) -> list[str]:
    found = {
        "NaN or Inf in the maps": quality.not_finite > 0,
        "hardly any support": quality.support < SUPPORT_LIMITS[0],
        "support everywhere: threshold too low for this noise": quality.support > SUPPORT_LIMITS[1],
        "low eigenvalues in the object: threshold too high": quality.inside < LOWEST_INSIDE,
        "high eigenvalues in air: threshold too low": quality.outside > HIGHEST_OUTSIDE,
        "residual above the noise": quality.residual
        > max(EXCESS_RESIDUAL * quality.noise, SMALL_RESIDUAL),
        "poles of phase in the object: take gauge virtual": quality.poles > 0,
        "rough maps": quality.roughness > ROUGHEST,
        "object wider than the field of view: one more set": quality.folded > FOLDED_SHARE,
    }
    return [name for name, bad in found.items() if bad]


def _loops(inside: Tensor) -> Tensor:
    """Loops of four pixels that are all inside: (y, x) to (y - 1, x - 1)."""
    return inside[:-1, :-1] & inside[:-1, 1:] & inside[1:, :-1] & inside[1:, 1:]


def _roughness(maps: Tensor, inside: Tensor) -> float:
    """Mean of sin(angle between neighbours' maps) over the step in fields of view."""
    steps = []
    for axis in (-2, -1):
        n = inside.shape[axis]
        near, far = (maps.narrow(axis, first, n - 1) for first in (0, 1))
        both = inside.narrow(axis, 0, n - 1) & inside.narrow(axis, 1, n - 1)
        together = (near.conj() * far).sum(0)[both].abs().clamp(max=1)
        steps.append((1 - together.square()).sqrt() * n)
    everything = torch.cat(steps)
    return float(everything.mean()) if len(everything) else 0.0


def worst(qualities: Sequence[SliceQuality]) -> int:
    """Position of the slice to look at first: most flags, then most signal beyond the noise."""
    return max(
        range(len(qualities)),
        key=lambda i: (len(qualities[i].flags), qualities[i].residual - qualities[i].noise),
    )


def residual(coil_images: Tensor, found: CoilMaps) -> float:
    """|(1 - S S^H) m| / |m| in the support: the share of the signal that the maps do not explain.

    Args:
        coil_images: complex (coil, y, x), the images that the maps were estimated from.
    """
    # what is left is at right angles to what the maps explain: powers subtract
    total = arrays.rss(coil_images).square()
    explained = torch.zeros_like(total)
    for maps in found.maps if found.maps.ndim == 4 else found.maps[None]:
        explained += combine(coil_images, maps).abs().square() * arrays.rss(maps).square()
    left = ((total - explained).clamp(min=0) * found.support).sum()
    return float((left / (total * found.support).sum().clamp(min=1e-30)).sqrt())


def unexplained(coil_images: Tensor, found: CoilMaps) -> Tensor:
    """(1 - S S^H) m: complex (coil, y, x), noise alone where the maps are right."""
    sets = found.maps if found.maps.ndim == 4 else found.maps[None]
    left = coil_images
    for maps in sets:  # they are orthogonal in every pixel
        left = left - maps * combine(coil_images, maps)
    return left


def parameter_table(coil_images: Tensor, base: EspiritSettings) -> list[dict[str, str]]:
    """Support and residual of one slice when one parameter at a time is changed.

    Args:
        coil_images: complex (coil, y, x).
        base: the settings to start from; the first row.
    """
    kspace = arrays.fft2c(coil_images)
    threshold = float(espirit_maps(kspace, base).threshold)
    changes: list[dict[str, Any]] = [
        {},
        {"threshold": round(threshold / 10, 4)},
        {"threshold": round(threshold * 5, 4)},
        {"threshold": "auto"},
        {"kernel_width": base.kernel_width - 2},
        {"calib_width": max(2 * base.kernel_width, base.calib_width * 2 // 3)},
        {"crop": 0.7},
        {"crop": 0.98},
        {"crop": "auto"},
    ]
    rows = []
    for change in changes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the table is there to show them fail
            found = espirit_maps(kspace, dataclasses.replace(base, **change))
        name = ", ".join(
            f"{key} auto: {float(getattr(found, key)):.3f}"
            if value == "auto"
            else f"{key} {value:g}"
            for key, value in change.items()
        )
        rows.append(
            {
                "settings": name or "as given",
                "support": f"{float(found.support.float().mean()):.2f}",
                "residual": f"{residual(coil_images, found):.3f}",
            }
        )
    return rows


def alignment(maps: Tensor, reference: Tensor) -> Tensor:
    """|<S, S'>| of every pixel, (y, x): 1 where two sets of unit maps agree up to a phase."""
    return (maps.conj() * reference).sum(-3).abs()


def sigpy_maps(kspace: Tensor, settings: EspiritSettings, threshold: float) -> Tensor:
    """SigPy's maps of one slice, complex64 (coil, y, x), uncropped, in coil 0's gauge.

    Args:
        kspace: complex (coil, ky, kx), fully sampled.
        threshold: singular values below this share are noise, as a number.
    """
    from sigpy.mri.app import EspiritCalib

    app = EspiritCalib(
        kspace.numpy(force=True),
        calib_width=settings.calib_width,
        thresh=threshold,
        kernel_width=settings.kernel_width,
        crop=0,
        max_iter=SIGPY_ITERATIONS,
        show_pbar=False,
    )
    return torch.from_numpy(np.asarray(app.run()))


def against_sigpy(kspace: Tensor, found: CoilMaps, settings: EspiritSettings) -> dict[str, str]:
    """Compare maps with SigPy's ESPIRiT on the same k-space, inside the support.

    Returns:
        One row: share of pixels aligned above 0.999, and the 1st percentile of alignment.
    """
    reference = sigpy_maps(kspace, settings, float(found.threshold))
    close = alignment(found.maps, reference)[found.support]
    return {
        "coils": str(kspace.shape[0]),
        "pixels in the support": str(close.numel()),
        "aligned above 0.999": f"{float((close > 0.999).float().mean()):.1%}",
        "1st percentile": f"{float(close.quantile(0.01)):.4f}",
    }
