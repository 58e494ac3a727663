"""Phase of a spin echo: tissue conductivity, residual field, timing.

All phases are radians, not wrapped, and enter the image as exp(+i phase).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synthlib.scanner.anatomy import TISSUES
from synthlib.scanner.contrast import FIELDS_T

MU_0 = 4e-7 * math.pi  # V s / (A m)
LARMOR_HZ_PER_T = 42.577e6
# S/m at 64 and 128 MHz: Gabriel et al., Phys Med Biol 41:2271 (1996); muscle includes skin.
CONDUCTIVITY = {
    "air": (0.0, 0.0),
    "csf": (2.07, 2.14),
    "grey": (0.51, 0.59),
    "white": (0.29, 0.34),
    "bone": (0.06, 0.06),
    "fat": (0.07, 0.07),
    "muscle": (0.69, 0.72),
}
REFERENCE_MM = 120.0  # radius where a round object's transmit phase is zero: the coil
SINUS_MM = (0.0, 70.0, -40.0)
SINUS_RADIUS_MM = 14.0
AIR_MINUS_TISSUE = 9.4e-6  # susceptibility


def conductivity(fractions: Tensor, field_t: float, generator: torch.Generator) -> Tensor:
    """Conductivity in S/m (slice, y, x) of fractions (tissue, slice, y, x).

    Tissues spread by 5 % between subjects; mixed pixels take the mean of theirs.
    """
    column = FIELDS_T.index(field_t)
    values = torch.tensor([CONDUCTIVITY[tissue][column] for tissue in TISSUES])
    values = values * (1 + 0.05 * torch.randn(len(TISSUES), generator=generator).clamp(-2, 2))
    return torch.tensordot(values, fractions, dims=1)


def transmit_phase(sigma: Tensor, spacing_mm: tuple[float, float], field_t: float) -> Tensor:
    """Phase that conducting tissue gives a rotating field, from its Poisson equation.

    Solves laplacian(phase) = mu0 omega sigma in the slice (the field is taken
    as constant along z and its magnitude as flat), by convolution with the
    Green's function ln(r / R) / (2 pi) of the open plane, R the radius of the
    transmit coil; zero-padding keeps neighbouring copies out. Inside a
    homogeneous cylinder of radius a the phase is
    mu0 omega sigma (r^2 - a^2 + 2 a^2 ln(a / R)) / 4.

    Args:
        sigma: S/m, (..., y, x), zero at the grid's border.
        spacing_mm: (y, x) pixel size.

    Returns:
        float32 (..., y, x), radians.

    Source: Katscher et al., IEEE TMI 28:1365 (2009); van Lier et al., MRM 67:552 (2012).
    """
    ny, nx = sigma.shape[-2:]
    dy, dx = (spacing / 1000 for spacing in spacing_mm)
    y = torch.fft.fftfreq(2 * ny, 1 / (2 * ny)) * dy  # 0, 1, ..., -1 pixels, in m
    x = torch.fft.fftfreq(2 * nx, 1 / (2 * nx)) * dx
    squared = y[:, None].square() + x.square()
    squared[0, 0] = 1.0
    logarithm = 0.5 * squared.log()
    # its own pixel: the mean of ln(r) over its dy x dx rectangle
    ratio = dy / dx
    logarithm[0, 0] = 0.5 * (
        math.log((dy**2 + dx**2) / 4) - 3 + ratio * math.atan(1 / ratio) + math.atan(ratio) / ratio
    )
    green = (logarithm - math.log(REFERENCE_MM / 1000)) * dy * dx / (2 * math.pi)
    omega = 2 * math.pi * LARMOR_HZ_PER_T * field_t
    spectrum = torch.fft.rfft2(sigma, s=(2 * ny, 2 * nx)) * torch.fft.rfft2(green)
    return MU_0 * omega * torch.fft.irfft2(spectrum, s=(2 * ny, 2 * nx))[..., :ny, :nx]


def transceive_phase(sigma: Tensor, spacing_mm: tuple[float, float], field_t: float) -> Tensor:
    """Spin-echo phase of tissue conductivity: the transmit phase, twice.

    A spin echo carries the phase of transmission and, by reciprocity, the same
    again from reception through the tissue (the transceive phase assumption),
    so that its Laplacian is 2 mu0 omega sigma. The phase of the receive loops
    themselves is in receivers.
    """
    return 2 * transmit_phase(sigma, spacing_mm, field_t)


def residual_field_hz(points_mm: Tensor, field_t: float, generator: torch.Generator) -> Tensor:
    """A subject's shimmed B0 error in Hz at positions (..., 3).

    Harmonics of second and third order that the shims leave, about 15 Hz each
    at 10 cm and 3 T, and the dipole of an air-filled sphere behind the nose.
    """
    x, y, z = (points_mm / 100.0).unbind(-1)
    harmonics = torch.stack(
        [
            x * y,
            y * z,
            x * z,
            x * x - y * y,
            z * z - (x * x + y * y) / 2,
            y * (3 * x * x - y * y),
            z * (x * x - y * y),
            y * (4 * z * z - x * x - y * y),
        ],
        dim=-1,
    )
    strength = 5.0 * field_t * torch.randn(harmonics.shape[-1], generator=generator)
    away = points_mm - torch.tensor(SINUS_MM)
    distance = away.norm(dim=-1).clamp(min=SINUS_RADIUS_MM)
    dipole = (3 * (away[..., 2] / distance).square() - 1) * (SINUS_RADIUS_MM / distance) ** 3
    peak = LARMOR_HZ_PER_T * field_t * AIR_MINUS_TISSUE / 3
    size = 0.7 + 0.6 * torch.rand(1, generator=generator)
    return harmonics @ strength + peak * size * dipole


def background_phase(points_mm: Tensor, field_hz: Tensor, generator: torch.Generator) -> Tensor:
    """Smooth phase of one scan that the refocusing pulse leaves.

    The subject's field over the time by which this scan's readout misses the
    spin echo (0.5 ms s.d.), and the eddy currents of its gradients,
    of second order in the slice and of first order from slice to slice.

    Args:
        points_mm: (slice, y, x, 3); field_hz: (slice, y, x).
    """
    late_s = 0.5e-3 * torch.randn(1, generator=generator).clamp(-2, 2)
    x, y, z = (points_mm / 100.0).unbind(-1)
    orders = torch.stack([x * x, y * y, x * y, x * z, y * z, z], dim=-1)
    eddy = orders @ (0.35 * torch.randn(orders.shape[-1], generator=generator).clamp(-2, 2))
    return 2 * math.pi * field_hz * late_s + eddy


def timing_phase(
    points_mm: Tensor, fov_mm: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Constant and linear phase (slice, y, x) of one scan.

    The receiver's phase is arbitrary; an echo off the centre of the readout
    window by s samples gives s turns over the field of view (s.d. 0.4 along
    the readout y, 0.15 along x).
    """
    constant = math.pi * (2 * torch.rand(1, generator=generator) - 1)
    samples = torch.tensor([0.15, 0.4]) * torch.randn(2, generator=generator).clamp(-2, 2)
    turns = samples / torch.tensor([fov_mm[1], fov_mm[0]])  # per mm, along x and y
    return constant + 2 * math.pi * (points_mm[..., :2] @ turns)
