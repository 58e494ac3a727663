"""The phase of maps: a choice in every pixel, because no measurement fixes it."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def principal_coil(calib: Tensor) -> Tensor:
    """Weights (..., coil) of the first principal component of the coils.

    Args:
        calib: complex (..., coil, cy, cx), samples about the centre of k-space.
    """
    samples = calib.flatten(-2)
    _, vectors = torch.linalg.eigh((samples @ samples.mH).to(torch.complex128))
    return vectors[..., -1].to(torch.complex64)


def turn(maps: Tensor, weights: Tensor) -> Tensor:
    """Unit factors (..., y, x) that make the coil of some weights (..., coil) real.

    Args:
        maps: complex (..., coil, y, x).
    """
    return _unit((weights.conj()[..., None, None] * maps).sum(-3)).conj()


def towards(maps: Tensor, weights: Tensor) -> Tensor:
    """Maps (..., coil, y, x) in the gauge in which the coil of some weights (..., coil) is real."""
    return maps * turn(maps, weights).unsqueeze(-3)


def like(maps: Tensor, reference: Tensor) -> Tensor:
    """Maps (..., coil, y, x) with the phase, pixel by pixel, of others of the same coils."""
    return maps * _unit((maps.conj() * reference).sum(-3)).unsqueeze(-3)


def smoothest(maps: Tensor) -> Tensor:
    """Maps turned so that phase changes as evenly as can be: no poles, wherever maps are smooth.

    From a pixel to its neighbour the phase of <S, S'> is a vector field whose
    curl no gauge can change: coils that surround a head see its phase turn.
    Where that curl is large, any fixed combination of the coils, the principal
    component too, is dark somewhere inside and has a pole there. Here the curl
    is met by a field without divergence (the Coulomb gauge), and the rest of
    the phase is taken away. In an array of one symmetry this is the phase that
    its circularly polarised mode would see.

    Args:
        maps: complex (..., coil, y, x), defined everywhere, phase arbitrary.

    Returns:
        The same, with a phase that is unique up to a constant of the slice.
    """
    right = (maps[..., :-1].conj() * maps[..., 1:]).sum(-3).angle()  # (..., y, x-1)
    down = (maps[..., :-1, :].conj() * maps[..., 1:, :]).sum(-3).angle()  # (..., y-1, x)
    around = right[..., :-1, :] + down[..., 1:] - right[..., 1:, :] - down[..., :-1]
    curl = torch.remainder(around + torch.pi, 2 * torch.pi) - torch.pi  # a turn is a pole: not curl
    stream = torch.nn.functional.pad(_poisson(curl), (1, 1, 1, 1))
    right = stream[..., :-1, 1:-1] - stream[..., 1:, 1:-1] - right
    down = stream[..., 1:-1, 1:] - stream[..., 1:-1, :-1] - down
    # what is left has no curl: sum it along the first row, then down every column
    start = torch.nn.functional.pad(right[..., :1, :], (1, 0)).cumsum(-1)
    phase = torch.cat([start, down], -2).cumsum(-2)
    return maps * torch.polar(torch.ones_like(phase), phase).unsqueeze(-3)


def poles(maps: Tensor) -> Tensor:
    """Where the gauge has a pole: loops of four pixels round which the phase gains a turn.

    Args:
        maps: complex (..., coil, y, x).

    Returns:
        bool (..., y - 1, x - 1), pixel [y, x] being the loop's first corner.
    """
    right = (maps[..., :-1].conj() * maps[..., 1:]).sum(-3).angle()
    down = (maps[..., :-1, :].conj() * maps[..., 1:, :]).sum(-3).angle()
    around = right[..., :-1, :] + down[..., 1:] - right[..., 1:, :] - down[..., :-1]
    return around.abs() > torch.pi  # the maps' own curl is far less


def _poisson(source: Tensor) -> Tensor:
    """The field whose five-point Laplacian is `source` (..., y, x), zero around the grid."""
    (sines_y, modes_y), (sines_x, modes_x) = (_sines(n) for n in source.shape[-2:])
    sines_y, sines_x = sines_y.to(source), sines_x.to(source)
    modes = (modes_y[:, None] + modes_x).to(source)
    return sines_y @ ((sines_y @ source @ sines_x) / modes) @ sines_x


@lru_cache(maxsize=16)
def _sines(n: int) -> tuple[Tensor, Tensor]:
    """Orthonormal discrete sines (n, n), symmetric, and their second differences (n,)."""
    order = torch.arange(1, n + 1, dtype=torch.float64) * torch.pi / (n + 1)
    sines = (order[:, None] * torch.arange(1, n + 1)).sin() * (2 / (n + 1)) ** 0.5
    return sines, 2 * order.cos() - 2


def anchor(maps: Tensor, coil_images: Tensor) -> Tensor:
    """Maps turned by one constant a slice, so that the combined image's sum is real and positive.

    A constant phase of the scan (receiver and timing) thus goes into the maps
    and not into the target phase.

    Args:
        maps, coil_images: complex (..., coil, y, x) on one grid.
    """
    total = (maps.conj() * coil_images).sum((-3, -2, -1), keepdim=True)
    return maps * _unit(total)


def _unit(numbers: Tensor) -> Tensor:
    size = numbers.abs()
    return torch.where(size > 1e-20, numbers / size.clamp(min=1e-20), torch.ones_like(numbers))
