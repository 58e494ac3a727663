"""What turns the phase: susceptibility, conductivity, timing.

All phases are radians, not wrapped, and enter the image as exp(+i phase).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.scanner.anatomy import ORIENTATIONS, TISSUES
from synthlib.scanner.constants import LARMOR_HZ_PER_T, MU_0
from synthlib.scanner.contrast import FIELDS_T
from synthlib.scanner.volume import normal, uniform

# S/m at 64 and 128 MHz: Gabriel, Lau & Gabriel, Phys Med Biol 41:2271 (1996), from its Cole-Cole
# terms; muscle includes skin, a lesion is taken between grey matter and fluid.
CONDUCTIVITY = {
    "air": (0.0, 0.0),
    "csf": (2.07, 2.14),
    "grey": (0.51, 0.59),
    "white": (0.29, 0.34),
    "blood": (1.21, 1.25),
    "bone": (0.06, 0.067),
    "fat": (0.066, 0.070),
    "muscle": (0.69, 0.72),
    "eye": (1.50, 1.51),
    "lesion": (0.90, 1.00),
    "deep": (0.51, 0.59),
    "artery": (1.21, 1.25),
    "mucosa": (0.69, 0.72),
    "skin": (0.49, 0.52),
    "dura": (0.71, 0.74),
}
# Volume susceptibility in ppm (SI). Air, water, tissue: Schenck, Med Phys 23:815 (1996). Bone:
# Hopkins & Wehrli, MRM 37:494 (1997). Fat: Szczepaniak et al., MRM 47:607 (2002). Grey and white
# matter apart: Marques et al., MRM 86:526 (2021). Venous blood: 4 pi 0.27 Hct (1 - Y) above
# water's, Spees et al., MRM 45:533 (2001).
SUSCEPTIBILITY_PPM = {
    "air": 0.36,
    "csf": -9.05,
    "grey": -9.03,
    "white": -9.07,
    "blood": -8.55,
    "bone": -11.3,
    "fat": -8.4,
    "muscle": -9.03,
    "eye": -9.05,
    "lesion": -9.04,
    "deep": -8.99,
    "artery": -9.02,
    "mucosa": -9.05,
    "skin": -9.03,
    "dura": -9.05,
}
# S.d. of what a shim leaves, per 10 cm and per (10 cm)^2: rms over two measured heads at 3 T, 20 Hz
# each (hMRI-group/hMRI-toolbox-demodata, neurolabusc/dcm_qa_philips_enh; solid harmonics fitted
# 18 mm and more inside the outline).
SHIM_LINEAR_PPM, SHIM_QUADRATIC_PPM = 0.16, 0.16
# Turns over the field of view along the readout and the phase encoding, s.d. between scans: rms of
# five measured heads, 0.65 along x and 1.06 along y.
TURNS = (1.0, 0.65)
BORDER_VOXELS = 2  # around a voxel, where the direction of tissue borders is looked for
SPREAD = 0.05  # relative s.d. between subjects of conductivity, and of susceptibility from water


def conductivity(fractions: Tensor, field_t: float, rng: torch.Generator) -> Tensor:
    """Conductivity in S/m (...) of fractions (tissue, ...), the mean of mixed places."""
    column = FIELDS_T.index(field_t)
    values = torch.tensor([CONDUCTIVITY[tissue][column] for tissue in TISSUES])
    values = values * (1 + SPREAD * normal(rng, len(TISSUES)))
    return torch.tensordot(values.to(fractions.device), fractions, dims=1)


def draw_susceptibility(rng: torch.Generator) -> Tensor:
    """Susceptibility (tissue,) of one subject's tissues, SI and relative to air."""
    values = torch.tensor([SUSCEPTIBILITY_PPM[tissue] for tissue in TISSUES])
    water, air = SUSCEPTIBILITY_PPM["csf"], TISSUES.index("air")
    spread = SPREAD * normal(rng, len(TISSUES))
    spread[air] = 0  # air is the same for everybody
    values = water + (values - water) * (1 + spread)
    return (values - values[air]) * 1e-6


def dipole_field(chi: Tensor) -> Tensor:
    """Relative change of B0 by susceptibility, at the nuclei (Lorentz sphere taken off).

    Every voxel adds the field of a dipole along z,
    chi V (3 cos^2(theta) - 1) / (4 pi r^3), and nothing at its own centre. A
    sphere of chi then gives chi / 3 (a / r)^3 (3 cos^2(theta) - 1) outside and
    0 inside.

    Args:
        chi: (z, y, x) on an isotropic grid, SI, 0 beyond it.

    Returns:
        float32 (z, y, x), times B0 the field in tesla.

    Source: Salomir et al., Concepts Magn Reson B 19B:26 (2003); Marques & Bowtell, 25B:65 (2005).
    """
    return _convolve(chi, "dipole")


def jump_share(chi: Tensor) -> Tensor:
    """Which share of the susceptibility the field jumps by at the tissue borders nearby.

    Across a border with the unit normal n the field of :func:`dipole_field`
    jumps by chi (1/3 - n_z^2): up by a third where the border lies along B0,
    down by two thirds where it lies across. A grid blurs the jump; what is left
    when it is taken off varies slowly and can be interpolated.

    Args:
        chi: (z, y, x), any unit.

    Returns:
        float32 (z, y, x), -2/3 to 1/3; 0 where there is no border.
    """
    steps = torch.stack(torch.gradient(chi)).square()  # along z, y, x
    near = steps
    for axis in range(3):  # a mean over a cube is one of means along its edges
        size, reach = [1, 1, 1], [0, 0, 0]
        size[axis], reach[axis] = 2 * BORDER_VOXELS + 1, BORDER_VOXELS
        near = torch.nn.functional.avg_pool3d(near[None], size, 1, reach, count_include_pad=False)[
            0
        ]
    none = 1e-4 * chi.abs().max().square().clamp(min=1e-30)  # far below any border's
    return 1 / 3 - (near[0] + none / 3) / (near.sum(0) + none)


def transmit_phase(sigma: Tensor, spacing_mm: float, field_t: float) -> Tensor:
    """Phase that conducting tissue gives a rotating field, from its Poisson equation.

    Solves laplacian(phase) = mu0 omega sigma in free space, the magnitude of
    the field being taken as flat, by convolution with -1 / (4 pi r). Inside a
    homogeneous sphere of radius a the phase is mu0 omega sigma (r^2 - 3 a^2) / 6,
    in a long cylinder mu0 omega sigma r^2 / 4 and a constant.

    Args:
        sigma: S/m, (z, y, x), 0 beyond the grid.
        spacing_mm: edge of a voxel.

    Returns:
        float32 (z, y, x), radians.

    Source: Katscher et al., IEEE TMI 28:1365 (2009); van Lier et al., MRM 67:552 (2012).
    """
    omega = 2 * math.pi * LARMOR_HZ_PER_T * field_t
    return MU_0 * omega * (spacing_mm / 1000) ** 2 * _convolve(sigma, "poisson")


def transceive_phase(sigma: Tensor, spacing_mm: float, field_t: float) -> Tensor:
    """Spin-echo phase of tissue conductivity: the transmit phase, twice.

    An echo carries the phase of transmission and, by reciprocity, the same
    again from reception through the tissue (the transceive phase assumption).
    The phase of the receive loops themselves is in receivers.
    """
    return 2 * transmit_phase(sigma, spacing_mm, field_t)


def _convolve(source: Tensor, kernel: str) -> Tensor:
    """Open-boundary convolution (z, y, x): doubled grid, so that no copy of the head acts."""
    shape = source.shape
    size = tuple(_fast_length(2 * n - 1) for n in shape)
    spectrum = torch.fft.rfftn(source, s=size) * _spectrum(kernel, size, str(source.device))
    return torch.fft.irfftn(spectrum, s=size)[: shape[0], : shape[1], : shape[2]].contiguous()


@lru_cache(maxsize=4)
def _spectrum(kernel: str, size: tuple[int, int, int], device: str) -> Tensor:
    """FFT of a kernel in units of voxels, its centre at [0, 0, 0]."""
    z, y, x = (torch.fft.fftfreq(n, 1 / n, device=device) for n in size)
    squared = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2
    squared[0, 0, 0] = 1.0
    if kernel == "dipole":
        values = (3 * z[:, None, None] ** 2 / squared - 1) / (4 * math.pi * squared**1.5)
        values[0, 0, 0] = 0.0
    else:
        values = -1 / (4 * math.pi * squared.sqrt())
        # its own voxel: the mean of 1/r over a unit cube seen from the cube's centre
        values[0, 0, 0] = -CUBE_MEAN_INVERSE / (4 * math.pi)
    return torch.fft.rfftn(values)


CUBE_MEAN_INVERSE = 6 * math.asinh(1 / math.sqrt(2)) - math.pi / 2  # 2.38008


def _fast_length(n: int) -> int:
    """The next length whose FFT is fast: only factors 2, 3 and 5."""
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1


def shim(field: Tensor, points_mm: Tensor, weight: Tensor) -> Tensor:
    """What shim coils add: the solid harmonics up to second order that flatten a field best.

    Args:
        field: (z, y, x), any unit.
        points_mm: (z, y, x, 3).
        weight: (z, y, x), 0 to 1: where above 0.5, the field is to be flat: the brain.

    Returns:
        (z, y, x), in the unit of field, to be added to it.
    """
    harmonics = _harmonics(points_mm)
    here = weight > 0.5
    solution = arrays.least_squares(harmonics[here], field[here])
    return -(harmonics @ solution).to(field.dtype)


def draw_shim_error(field_t: float, rng: torch.Generator) -> Tensor:
    """Hz (8,) at 10 cm of the first- and second-order harmonics that a shim leaves.

    Scanners shim a box from a coarse field map, and often to first order alone.
    """
    size = torch.tensor([SHIM_LINEAR_PPM] * 3 + [SHIM_QUADRATIC_PPM] * 5)
    return 1e-6 * LARMOR_HZ_PER_T * field_t * size * normal(rng, 8)


def shim_error(coefficients_hz: Tensor, points_mm: Tensor) -> Tensor:
    """Hz (...) at positions (..., 3) of coefficients (8,): x, y, z, xy, yz, xz, x2-y2, 2z2-x2-y2.

    All are zero at the isocentre, where the scanner takes its frequency.
    """
    harmonics = _harmonics(points_mm)[..., 1:]
    return (harmonics @ coefficients_hz.to(harmonics)).to(points_mm.dtype)


def _harmonics(points_mm: Tensor) -> Tensor:
    """Solid harmonics (..., 9) up to second order, of positions (..., 3) in units of 10 cm."""
    x, y, z = (points_mm.double() / 100).unbind(-1)
    return torch.stack(
        [
            torch.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y,
            2 * z * z - x * x - y * y,
        ],
        dim=-1,
    )  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """Constant (rad) and slope (3,) along x, y, z (rad per mm) that one scan's timing leaves."""

    constant: float
    slope: Tensor

    def at(self, points_mm: Tensor) -> Tensor:
        """Phase at scanner positions (..., 3): float32 (...)."""
        return self.constant + points_mm @ self.slope.to(points_mm.device)


def draw_timing(fov_mm: tuple[float, float], orientation: str, rng: torch.Generator) -> Timing:
    """The receiver's arbitrary phase, and an echo off the centre of the readout window.

    Off by s samples it gives s turns over the field of view: s.d. TURNS along the
    readout (rows) and the phase encoding.

    Args:
        fov_mm: (y, x) of the image; orientation: a name of anatomy.ORIENTATIONS.
    """
    constant = math.pi * float(uniform(rng, -1, 1))
    down, right, _ = (torch.tensor(axis) for axis in ORIENTATIONS[orientation])
    along_x, along_y = (torch.tensor(TURNS[::-1]) * normal(rng, 2)).tolist()
    slope = along_y / fov_mm[0] * down + along_x / fov_mm[1] * right
    return Timing(constant, 2 * math.pi * slope)
