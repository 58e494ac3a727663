"""A limb with a knee in coronal slices, seen by the simulated scanner's loops: no measured knees
are at hand.

Ellipses of muscle with a rim of fat, femur and tibia of bright marrow in dark cortex, cartilage
between them. The loops are those of the head array with all lengths times SHRINK: Biot-Savart's
field does not ask for the scale. Nothing of a knee's physics is claimed beyond that.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synthlib import arrays, runs
from synthlib.records import RawVolume
from synthlib.scanner import receivers
from synthlib.scanner.volume import grid_points

SHRINK = 0.66  # a former of 77 x 90 mm half axes around the limb
MUSCLE, FAT, MARROW, CORTEX, CARTILAGE = 0.45, 1.0, 0.9, 0.05, 0.6
DEPTHS_MM = (-16.0, -8.0, 0.0, 8.0, 16.0)  # of the coronal slices, to the back
PIXEL_MM = (2.5, 2.2)
MATRIX = (71, 84)  # foot to head, left to right


def grid() -> Tensor:
    """(slice, y, x, 3) places in mm: to the left, to the back, to the head."""
    ny, nx = MATRIX
    z = -(torch.arange(ny) - ny // 2) * PIXEL_MM[0]
    x = (torch.arange(nx) - nx // 2) * PIXEL_MM[1]
    y, z, x = torch.meshgrid(torch.tensor(DEPTHS_MM), z, x, indexing="ij")
    return torch.stack([x, y, z], -1).float()


def proton_density(places_mm: Tensor, size: float) -> Tensor:
    """Brightness at places (..., 3) of a limb `size` times the usual."""
    x, y, z = (places_mm / size).unbind(-1)
    wide = 58 + 0.06 * z  # the thigh is thicker than the calf
    limb = (x / wide).square() + (y / (1.05 * wide)).square()
    image = torch.where(limb < 1, FAT, 0.0)
    image[limb < 0.8] = MUSCLE
    flare = 14 + 24 * torch.exp(-(z / 22).square())  # shafts that widen towards the joint
    bone = (x / flare).square() + ((y + 3) / (0.8 * flare)).square()
    image[(bone < 1) & (limb < 0.8)] = CORTEX
    image[(bone < 0.8) & (limb < 0.8)] = MARROW
    image[(bone < 1) & (z.abs() < 4)] = CARTILAGE
    return image


def knee(number: int, size: float, n_coils: int = 6) -> tuple[RawVolume, Tensor]:
    """A scan and its true maps, complex64 (slice, coil, y, x) of unit root sum of squares."""
    places = grid()
    magnitude = proton_density(places, size)
    sample = grid_points((-66.0,) * 3, (66.0,) * 3, 12.0)
    inside = (proton_density(sample, size) > 0).float()
    rng = runs.rng(number, "knee")
    array = receivers.build(n_coils, sample / SHRINK, 0.5 * inside, inside, rng)
    maps = array.sensitivities(places / SHRINK)
    phase = 0.8 * (places[..., 0] / 70) + 0.5 * (places[..., 2] / 80).square()
    kspace = arrays.fft2c(torch.polar(magnitude, phase)[:, None] * maps)
    root = torch.linalg.cholesky(array.covariance.to(torch.complex128)).to(torch.complex64)
    white = torch.randn(kspace.shape, dtype=torch.complex64, generator=rng)
    noise = torch.einsum("cd,sdyx->scyx", root, white) * 0.02 * math.sqrt(2)
    volume = RawVolume(
        name=f"knee-{number}",
        patient_id=f"k{number}",
        contrast="CORPD_FBK",
        kspace=kspace + noise,
        recon_shape=MATRIX,
        acquired=(0, MATRIX[1]),
        spacing_mm=PIXEL_MM,
    )
    return volume, maps / arrays.rss(maps)[:, None]
