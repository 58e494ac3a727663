"""ESPIRiT: coil sensitivity maps from the centre of k-space.

Steps: (1) patches of the calibration region, their Gram matrix and its
dominant eigenvectors, which are k-space kernels; (2) the kernels' summed
autocorrelation, a trigonometric polynomial of few terms, evaluated at every
pixel as a coil x coil matrix; (3) that matrix's dominant eigenvector: the map,
and its eigenvalue: near 1 where there is an object; (4) the gauge.
Source: Uecker et al., MRM 71:990 (2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib import arrays

GAUGES = ("virtual", "coil0")


@dataclass(frozen=True)
class EspiritSettings:
    """Parameters of :func:`espirit_maps`.

    Attributes:
        calib_width: edge of the calibration region, in samples.
        kernel_width: edge of a k-space kernel, in samples.
        threshold: singular values below this share of the largest are noise.
        crop: pixels whose eigenvalue is below this are outside the support.
        gauge: "virtual" gives the maps the phase at which the first principal
            component of the coils is real; "coil0" makes the first coil real,
            which has poles where that coil is dark.
        power_iterations: steps before the pixels that have not settled are solved exactly.
    """

    calib_width: int = 24
    kernel_width: int = 6
    threshold: float = 0.02
    crop: float = 0.9
    gauge: str = "virtual"
    power_iterations: int = 12


@dataclass(frozen=True)
class CoilMaps:
    """Sensitivity maps of one slice.

    Attributes:
        maps: complex64 (coil, y, x), unit root sum of squares in every pixel;
            not cropped, so that they also serve next to the object.
        eigenvalues: float32 (y, x), about 1 in the object.
        support: bool (y, x), eigenvalue above `crop`.
    """

    maps: Tensor
    eigenvalues: Tensor
    support: Tensor


def espirit_maps(kspace: Tensor, settings: EspiritSettings | None = None) -> CoilMaps:
    """Estimate one set of maps from a slice's fully sampled k-space.

    Args:
        kspace: complex (coil, ky, kx), at least two coils; the maps come on its grid.
        settings: see :class:`EspiritSettings`.

    Raises:
        ValueError: wrong rank, one coil, NaN or Inf, no signal in the
            calibration region, a region too small for the kernel, or an
            unknown gauge.
    """
    settings = settings or EspiritSettings()
    _check(kspace, settings)
    size = tuple(min(settings.calib_width, n) for n in kspace.shape[-2:])
    calib = arrays.crop_or_pad(kspace, (size[0], size[1])).to(torch.complex64)
    if not bool(calib.abs().max() > 0):
        raise ValueError(
            f"the {size[0]}x{size[1]} calibration region is all zero; expected the centre of "
            "k-space in the middle of the array. Check the file, or leave the slice out."
        )
    calib = calib / calib.abs().max()
    kernels = _kernels(calib, settings)
    correlation = _correlation(kernels)
    maps, eigenvalues = _dominant(correlation, kspace.shape[-2:], settings)
    maps = _set_gauge(maps, calib, settings.gauge)
    return CoilMaps(maps, eigenvalues, eigenvalues > settings.crop)


def _check(kspace: Tensor, settings: EspiritSettings) -> None:
    if kspace.ndim != 3 or not kspace.is_complex():
        raise ValueError(
            f"k-space of shape {tuple(kspace.shape)}, {kspace.dtype}; "
            "expected complex (coil, ky, kx)"
        )
    if kspace.shape[0] < 2:
        raise ValueError(
            "k-space of one coil; coil maps need at least two. Use multi-coil files: "
            "a single coil's sensitivity cannot be told from the object."
        )
    if settings.gauge not in GAUGES:
        raise ValueError(f"gauge {settings.gauge!r} is unknown; choose one of {', '.join(GAUGES)}")
    least = min(settings.calib_width, *kspace.shape[-2:])
    if settings.kernel_width < 1 or least < 2 * settings.kernel_width:
        raise ValueError(
            f"calibration region of {least} samples for a kernel of {settings.kernel_width}; "
            "expected at least twice the kernel. Raise calib_width or lower kernel_width."
        )
    arrays.require_finite("k-space for coil maps", kspace)


def _kernels(calib: Tensor, settings: EspiritSettings) -> Tensor:
    """Signal-space kernels (kernel, coil, k, k) of the calibration region (coil, cy, cx)."""
    k = settings.kernel_width
    patches = calib.unfold(1, k, 1).unfold(2, k, 1)  # (coil, py, px, k, k)
    matrix = patches.permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)  # (patch, coil*k*k)
    # The Gram matrix squares the singular values: double precision keeps the
    # small ones. The smaller of the two Gram matrices has them all.
    matrix = matrix.to(torch.complex128)
    wide = matrix.shape[0] < matrix.shape[1]
    values, vectors = torch.linalg.eigh(matrix @ matrix.mH if wide else matrix.mH @ matrix)
    singular = values.clamp(min=0).sqrt()
    keep = singular > settings.threshold * singular[-1]
    right = matrix.mH @ (vectors[:, keep] / singular[keep]) if wide else vectors[:, keep]
    # Patches are combinations of conjugated right singular vectors (rows of V^H).
    return right.mT.conj().to(torch.complex64).reshape(-1, calib.shape[0], k, k)


def _correlation(kernels: Tensor) -> Tensor:
    """Fourier coefficients (coil, coil, 2k-1, 2k-1) of the pixel matrices, zero shift mid-array."""
    k = kernels.shape[-1]
    wide = 2 * k - 1
    spectrum = torch.fft.fft2(kernels, s=(wide, wide))  # (kernel, coil, wide, wide)
    flat = spectrum.permute(2, 3, 1, 0).flatten(0, 1)  # (frequency, coil, kernel)
    power = (flat @ flat.mH).reshape(wide, wide, *flat.shape[1:2] * 2).permute(2, 3, 0, 1)
    # Unit eigenvalue for a perfectly consistent pixel: divide by the kernel's area.
    return torch.fft.fftshift(torch.fft.ifft2(power), dim=(-2, -1)) / k**2


def _dominant(
    correlation: Tensor, shape: torch.Size, settings: EspiritSettings
) -> tuple[Tensor, Tensor]:
    """Dominant eigenvector (coil, y, x) and eigenvalue (y, x) of every pixel's matrix."""
    n_coils, reach = correlation.shape[0], correlation.shape[-1] // 2
    waves_y, waves_x = (_waves(n, reach, correlation.device) for n in shape)  # (n, 2k-1) each
    along_x = torch.einsum("xe,ijde->xdij", waves_x, correlation).flatten(2)  # (x, 2k-1, coil*coil)
    maps = correlation.new_empty((n_coils, *shape))
    eigenvalues = torch.empty(tuple(shape), device=correlation.device)
    rows = max(1, 2**22 // (n_coils**2 * shape[1]))  # about 32 MB of pixel matrices at a time
    for first in range(0, shape[0], rows):
        block = slice(first, min(first + rows, shape[0]))
        matrices = (waves_y[block] @ along_x).unflatten(
            -1, (n_coils, n_coils)
        )  # (x, y, coil, coil)
        vectors, values = _dominant_pair(matrices.flatten(0, 1), settings)
        grid = matrices.shape[:2]
        maps[:, block] = vectors.unflatten(0, grid).permute(2, 1, 0)
        eigenvalues[block] = values.unflatten(0, grid).mT
    return maps, eigenvalues


def _waves(n: int, reach: int, device: torch.device) -> Tensor:
    """exp(2 pi i d y / n) for centred pixels y (rows) and shifts d = -reach..reach (columns)."""
    pixels = torch.arange(n, device=device, dtype=torch.float64) - n // 2
    shifts = torch.arange(-reach, reach + 1, device=device, dtype=torch.float64)
    angle = 2 * torch.pi * pixels[:, None] * shifts / n
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def _dominant_pair(matrices: Tensor, settings: EspiritSettings) -> tuple[Tensor, Tensor]:
    """Dominant eigenpairs of Hermitian (pixel, coil, coil): vectors (pixel, coil), values.

    Power iteration settles most of the object in a few steps; what has not
    settled at its rim is solved exactly. In air (eigenvalue below half of
    `crop`) there is no map to be right about and the last step stands.
    """
    vector = torch.ones_like(matrices[..., :1])
    for _ in range(max(1, settings.power_iterations)):
        moved = matrices @ vector
        value = torch.view_as_real(moved).square().sum((1, 2, 3)).sqrt()[:, None, None]
        moved = moved / value.clamp(min=1e-20)
        restless = (moved - vector).abs().amax((1, 2)) > 1e-4
        vector = moved
    vectors, values = vector[..., 0], value[:, 0, 0]
    restless &= values > settings.crop / 2
    if bool(restless.any()):
        exact_values, exact_vectors = torch.linalg.eigh(matrices[restless])
        vectors[restless], values[restless] = exact_vectors[..., -1], exact_values[:, -1]
    return vectors, values


def _set_gauge(maps: Tensor, calib: Tensor, gauge: str) -> Tensor:
    if gauge == "coil0":
        reference = maps[0]
    else:
        weights = virtual_coil(calib)
        reference = torch.einsum("c,cyx->yx", weights.conj(), maps)
    size = reference.abs()
    turn = torch.where(size > 1e-12, reference.conj() / size.clamp(min=1e-12), 1)
    return maps * turn


def virtual_coil(calib: Tensor) -> Tensor:
    """Weights (coil,) of the first principal component of the coils.

    Their common phase, which no measurement fixes, is chosen so that the
    virtual coil's image has a real, positive sum. A constant phase of the scan
    (receiver and timing) thus goes into the maps and not into the target phase.
    """
    samples = calib.flatten(1)
    _, vectors = torch.linalg.eigh((samples @ samples.mH).to(torch.complex128))
    weights = vectors[:, -1].to(torch.complex64)
    centre = calib[:, calib.shape[1] // 2, calib.shape[2] // 2]
    total = (weights.conj() * centre).sum()  # the sum of the image is k-space's centre
    return weights * torch.where(total.abs() > 0, total / total.abs().clamp(min=1e-20), 1)
