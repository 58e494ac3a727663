"""How good are maps: what they leave unexplained, and whether another implementation agrees."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays
from synthlib.coils.combine import combine, expand
from synthlib.coils.espirit import CoilMaps, EspiritSettings, espirit_maps


def residual(coil_images: Tensor, found: CoilMaps) -> float:
    """|(1 - S S^H) m| / |m| in the support: the share of the signal that the maps do not explain.

    Args:
        coil_images: complex (coil, y, x), the images that the maps were estimated from.
    """
    left = coil_images - expand(combine(coil_images, found.maps), found.maps)
    inside = found.support
    return float(left[:, inside].norm() / coil_images[:, inside].norm())


def parameter_table(coil_images: Tensor, base: EspiritSettings) -> list[dict[str, str]]:
    """Support and residual of one slice when one parameter at a time is changed.

    Args:
        coil_images: complex (coil, y, x).
        base: the settings to start from; the first row.
    """
    changes: list[dict[str, float]] = [
        {},
        {"threshold": base.threshold / 10},
        {"threshold": base.threshold * 5},
        {"kernel_width": base.kernel_width - 2},
        {"calib_width": max(2 * base.kernel_width, base.calib_width * 2 // 3)},
        {"crop": 0.7},
        {"crop": 0.98},
    ]
    kspace = arrays.fft2c(coil_images)
    rows = []
    for change in changes:
        settings = dataclasses.replace(base, **change)  # type: ignore[arg-type]
        found = espirit_maps(kspace, settings)
        name = ", ".join(f"{key} {value:g}" for key, value in change.items()) or "as given"
        rows.append(
            {
                "settings": name,
                "support": f"{float(found.support.float().mean()):.2f}",
                "residual": f"{residual(coil_images, found):.3f}",
            }
        )
    return rows


def alignment(maps: Tensor, reference: Tensor) -> Tensor:
    """|<S, S'>| of every pixel, (y, x): 1 where two sets of unit maps agree up to a phase."""
    return (maps.conj() * reference).sum(-3).abs()


def against_sigpy(kspace: Tensor, found: CoilMaps, settings: EspiritSettings) -> dict[str, str]:
    """Compare maps with SigPy's ESPIRiT on the same k-space, inside the support.

    Returns:
        One row: share of pixels aligned above 0.999, and the 1st percentile of alignment.
    """
    from sigpy.mri.app import EspiritCalib

    app = EspiritCalib(
        kspace.numpy(force=True),
        calib_width=settings.calib_width,
        thresh=settings.threshold,
        kernel_width=settings.kernel_width,
        crop=0,
        show_pbar=False,
    )
    reference = torch.from_numpy(np.asarray(app.run()))
    close = alignment(found.maps, reference)[found.support]
    return {
        "coils": str(kspace.shape[0]),
        "pixels in the support": str(close.numel()),
        "aligned above 0.999": f"{float((close > 0.999).float().mean()):.1%}",
        "1st percentile": f"{float(close.quantile(0.01)):.4f}",
    }
