"""From magnitude, phase and coil maps to raw data, and raw data to files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from synthlib import arrays, coils, formats, pairs
from synthlib.records import SYNTHETIC


def multicoil_kspace(magnitude: Tensor, phase: Tensor, maps: Tensor) -> Tensor:
    """Predict the k-space that a coil array would record of one slice.

    k[c] = F(magnitude * exp(i phase) * maps[c]), F being arrays.fft2c. No noise
    is added; maps that are not cropped keep the magnitude's own noise in air.

    Args:
        magnitude: real (..., y, x), >= 0, arbitrary units.
        phase: real (..., y, x), radians, wrapped or not.
        maps: complex (..., coil, y, x), unit root sum of squares.

    Returns:
        complex64 (..., coil, ky, kx), units of magnitude.

    Raises:
        ValueError: grids differ, a magnitude is negative, or something is not finite.

    Source: the SENSE signal model, Pruessmann et al., MRM 42:952 (1999).
    """
    arrays.require_same_grid(magnitude=magnitude, phase=phase, maps=maps)
    for name, array in (("magnitude", magnitude), ("phase", phase), ("maps", maps)):
        arrays.require_finite(name, array)
    if magnitude.min() < 0:
        raise ValueError(
            f"magnitude must be >= 0, its smallest is {float(magnitude.min()):.3g}; "
            "undo any rescaling to [-1, 1] first"
        )
    image = torch.polar(magnitude, phase)
    return arrays.fft2c(coils.expand(image, maps))


def add_noise(kspace: Tensor, std: float, rng: torch.Generator) -> Tensor:
    """Add white complex receiver noise.

    Args:
        kspace: complex (..., coil, ky, kx).
        std: standard deviation of the real part, and of the imaginary part.
    """
    if std < 0:
        raise ValueError(f"noise of standard deviation {std}; expected 0 or more")
    noise = torch.randn((*kspace.shape, 2), generator=rng).to(kspace.device)
    return kspace + std * torch.view_as_complex(noise)


def write_volume(
    path: str | Path,
    volume: pairs.PreparedVolume,
    phases: Tensor,
    *,
    record: Mapping[str, object],
    noise_std: float = 0.0,
    rng: torch.Generator | None = None,
) -> None:
    """Write a scan with other phase as a fastMRI file that stock loaders open.

    Args:
        path: file to make, ending in .h5.
        volume: gives magnitude and maps.
        phases: (slice, y, x) radians.
        record: what the phase was made from; kept in the file with "SYNTHETIC".
        noise_std: see :func:`add_noise`; above 0 it needs `rng`.

    Raises:
        ValueError: the number of slices or the grids differ.
    """
    if len(phases) != volume.n_slices:
        raise ValueError(f"{len(phases)} slices of phase for {volume.n_slices} of {volume.name}")
    slices = []
    for index, phase in enumerate(phases):
        pair = volume.pair(index)
        kspace = multicoil_kspace(pair.magnitude, phase, volume.maps(index))
        if noise_std > 0:
            if rng is None:
                raise ValueError("noise_std above 0 needs a random generator rng")
            kspace = add_noise(kspace, noise_std, rng)
        slices.append(kspace)
    ny, nx = slices[0].shape[-2:]
    recon = (min(ny, volume.raw.recon_shape[0]), min(nx, volume.raw.recon_shape[1]))
    formats.write_raw(
        path,
        torch.stack(slices),
        contrast=volume.raw.contrast,
        patient_id=volume.raw.patient_id,
        recon_shape=recon,
        spacing_mm=volume.raw.spacing_mm,
        field_t=float(str(volume.raw.attributes.get("field_t", "nan"))),
        record=record,
        attributes={SYNTHETIC: True, "upside_down": volume.raw.upside_down},
    )
