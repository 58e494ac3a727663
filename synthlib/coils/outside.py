"""Maps beyond the object: where nothing was measured, the smoothest continuation."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

MODES = 10  # cosines along each axis of the field of view
STIFFNESS = 1e-5  # weight of the curvature against the fit
FADE = 0.9  # share of `crop` at which an eigenvector is no longer believed at all


def extrapolate(maps: Tensor, eigenvalues: Tensor, crop: Tensor) -> Tensor:
    """Replace maps where there is no object by a smooth continuation of those where there is.

    Each coil's map is fitted by few cosines over the field of view with least
    curvature (a thin plate). At the rim, between `crop` and FADE * crop, map and
    fit change over smoothly; inside the support nothing changes.

    Args:
        maps: complex (slice, coil, y, x), in a gauge that is smooth.
        eigenvalues: (slice, y, x), the trust in each pixel.
        crop: (slice,), edge of the support.

    Returns:
        complex (slice, coil, y, x), about unit root sum of squares. A slice
        without any support keeps its maps as they were.
    """
    edge = crop[:, None, None]
    trust = ((eigenvalues - FADE * edge) / ((1 - FADE) * edge)).clamp(0, 1)
    trust = trust.square() * (3 - 2 * trust)  # smooth step
    fit = _fit(maps, trust.square())
    known = (eigenvalues > edge).flatten(1).any(1)[:, None, None]
    trust = torch.where(known, trust, torch.ones_like(trust))[:, None]
    return fit + trust * (maps - fit)


def _fit(maps: Tensor, weight: Tensor) -> Tensor:
    """Cosine series of least curvature that fits complex (slice, coil, y, x) where weighted."""
    basis_y, basis_x = (_cosines(n).to(weight) for n in maps.shape[-2:])  # (n, modes)
    order = torch.arange(MODES, device=maps.device, dtype=weight.dtype)
    bending = (order[:, None].square() + order.square()).square().flatten()  # (modes*modes,)
    # weighted normal equations, assembled one axis after the other
    products = (basis_x[:, :, None] * basis_x[:, None]).flatten(1)  # (x, modes*modes)
    inner = weight @ products  # (slice, y, modes*modes)
    pairs_y = (basis_y[:, :, None] * basis_y[:, None]).flatten(1)  # (y, modes*modes)
    normal = (pairs_y.mT @ inner).unflatten(2, (MODES, MODES)).unflatten(1, (MODES, MODES))
    normal = normal.permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)  # (slice, modes², modes²)
    scale = weight.mean((1, 2)).clamp(min=1e-6) * weight[0].numel()
    normal = normal / scale[:, None, None] + torch.diag(STIFFNESS * bending + 1e-6)
    weighted = torch.view_as_real(maps * weight[:, None]).permute(0, 1, 4, 2, 3)
    moments = basis_y.mT @ weighted @ basis_x  # (slice, coil, 2, modes, modes)
    moments = moments.flatten(3).flatten(1, 2) / scale[:, None, None]  # (slice, coil*2, modes²)
    factor = torch.linalg.cholesky(normal)
    series = torch.cholesky_solve(moments.mT, factor).mT.unflatten(1, (-1, 2))
    fit = basis_y @ series.unflatten(3, (MODES, MODES)) @ basis_x.mT  # (slice, coil, 2, y, x)
    return torch.complex(fit[:, :, 0], fit[:, :, 1])


@lru_cache(maxsize=16)
def _cosines(n: int) -> Tensor:
    """(n, MODES) cosines of 0, 1/2, 1, ... turns over the field of view."""
    at = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return (torch.pi * at[:, None] * torch.arange(MODES)).cos()
