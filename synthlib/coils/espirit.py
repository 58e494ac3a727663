"""ESPIRiT: coil sensitivity maps from the centre of k-space.

Steps: (1) `calibration`: patches of the fully sampled centre, their Gram
matrix and its dominant eigenvectors, which are k-space kernels;
(2) `eigenmaps`: the kernels' summed autocorrelation, a trigonometric
polynomial of few terms, is a coil x coil matrix at every pixel; its dominant
eigenvector is the map, its eigenvalue is near 1 where there is an object; both
are solved on a coarse grid; (3) `gauge`: the phase that is left open;
(4) `outside`: a continuation into air; (5) splines to the full grid.
Source: Uecker et al., MRM 71:990 (2014).
"""

from __future__ import annotations

import dataclasses
import warnings

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.coils import automatic, calibration, eigenmaps, gauge, outside
from synthlib.coils.settings import CoilMaps, EspiritSettings

MEMORY_MB = 512.0
# An object folds where one more eigenvalue is this near 1; the user is told
# when that is more than some rim of the object.
FOLDED, FOLDED_SHARE = 0.97, 0.03


def espirit_maps(
    kspace: Tensor,
    settings: EspiritSettings | None = None,
    *,
    image_shape: tuple[int, int] | None = None,
    memory_mb: float = MEMORY_MB,
) -> CoilMaps:
    """Estimate the maps of one slice or of a batch of slices.

    Args:
        kspace: complex (..., coil, ky, kx), at least two coils, on any device;
            undersampled, too, as long as its centre is complete.
        settings: see :class:`EspiritSettings`.
        image_shape: (ny, nx) pixels in the middle of the field of view that are
            kept, for example without the readout's oversampling. The default is
            all of it.
        memory_mb: working memory beside the k-space and the maps; slices are
            worked on in blocks that fit, one at least. One slice on the default
            grid takes some 50 MB; where every pixel is solved, 12 times its maps.

    Returns:
        Maps on `image_shape`, unit root sum of squares in every pixel.

    Raises:
        ValueError: wrong shape, one coil, NaN or Inf, no signal, or a fully
            sampled centre too small for the kernel.

    Warns:
        RuntimeWarning: fewer samples than asked for; a coil without signal; a
            slice of nothing but noise, which gets no support; an object wider
            than the field of view, with the share of it that needs one more set.
    """
    settings = settings or EspiritSettings()
    shape = _check(kspace, image_shape, settings)
    leading = kspace.shape[:-3]
    slices = kspace.detach().resolve_conj().reshape(-1, *kspace.shape[-3:])
    for one in slices:
        arrays.require_finite("k-space for coil maps", one)
    calib = calibration.calibrate(slices, shape, settings)
    calib = calib / _peaks(calib)
    n_coils, n_sets = calib.shape[1], settings.n_sets
    maps = calib.new_empty((len(calib), n_sets, n_coils, *shape))
    values = torch.empty((len(calib), n_sets + 1, *shape), device=calib.device)
    numbers = []
    step = _slices_at_once(calib, shape, settings, memory_mb)
    for first in range(0, len(calib), step):
        part = slice(first, first + step)
        numbers.append(_estimate(calib[part], settings, memory_mb, maps[part], values[part]))
    threshold, crop = (torch.cat(parts) for parts in zip(*numbers, strict=True))
    support = values[:, 0] > crop[:, None, None]
    _warn_if_folded(values, crop, settings)
    _warn_if_noise(threshold)
    found = CoilMaps(
        maps if n_sets > 1 else maps[:, 0],
        values[:, :-1] if n_sets > 1 else values[:, 0],
        support,
        values[:, -1],
        threshold,
        crop,
        (calib.shape[-2], calib.shape[-1]),
    )
    return _unflatten(found, leading)


def _unflatten(found: CoilMaps, leading: torch.Size) -> CoilMaps:
    if len(leading) == 1:
        return found
    tensors = {name: getattr(found, name) for name in CoilMaps.tensors()}
    shaped = {
        name: tensor.reshape((*leading, *tensor.shape[1:])) for name, tensor in tensors.items()
    }
    return dataclasses.replace(found, **shaped)


def _check(
    kspace: Tensor, image_shape: tuple[int, int] | None, settings: EspiritSettings
) -> tuple[int, int]:
    """The shape of the maps."""
    settings.check()
    if kspace.ndim < 3 or not kspace.is_complex() or kspace.numel() == 0:
        raise ValueError(
            f"k-space of shape {tuple(kspace.shape)}, {kspace.dtype}; "
            "expected complex (..., coil, ky, kx)"
        )
    n_coils, ny, nx = kspace.shape[-3:]
    if n_coils < 2:
        raise ValueError(
            "k-space of one coil; coil maps need at least two. Use multi-coil files: "
            "a single coil's sensitivity cannot be told from the object."
        )
    if settings.n_sets >= n_coils:
        raise ValueError(
            f"{settings.n_sets} sets of maps from {n_coils} coils; expected fewer sets than coils"
        )
    shape = image_shape or (int(ny), int(nx))
    if not (0 < shape[0] <= ny and 0 < shape[1] <= nx):
        raise ValueError(
            f"maps of {shape[0]}x{shape[1]} were asked for from k-space of {ny}x{nx} (ky x kx); "
            "expected a part of its field of view. Pad k-space for smaller pixels."
        )
    return int(shape[0]), int(shape[1])


def _peaks(calib: Tensor) -> Tensor:
    """Largest sample of each slice, (slice, 1, 1, 1); dead coils are told."""
    size = calib.abs().amax((-2, -1))  # (slice, coil)
    alive = (size > 0).sum(1)
    if int(alive.min()) < 2:
        raise ValueError(
            f"only {int(alive.min())} of {size.shape[1]} coils holds signal"
            f"{_where(alive < 2)}; coil maps need at least two"
        )
    for coil in (size == 0).any(0).nonzero().flatten().tolist():
        warnings.warn(
            f"coil {coil} of {size.shape[1]} holds no signal{_where(size[:, coil] == 0)}: its map "
            "is zero",
            RuntimeWarning,
            stacklevel=3,
        )
    return size.amax(1)[:, None, None, None]


def _where(bad: Tensor) -> str:
    """ " in slice 2, 5" for a mask over the slices; nothing where all are meant."""
    if bool(bad.all()):
        return ""
    return f" in slice {', '.join(map(str, bad.nonzero().flatten().tolist()))}"


def _grid(shape: tuple[int, int], settings: EspiritSettings) -> tuple[int, int]:
    """Points at which eigenvectors are solved; sets cross between pixels, so all where many."""
    short = min(shape)
    if settings.grid == 0 or settings.n_sets > 1 or settings.grid >= short:
        return shape
    return round(settings.grid * shape[0] / short), round(settings.grid * shape[1] / short)


def _slices_at_once(
    calib: Tensor, shape: tuple[int, int], settings: EspiritSettings, memory_mb: float
) -> int:
    """How many slices' matrices and vectors fit into the working memory."""
    n_coils, (gy, gx) = calib.shape[1], _grid(shape, settings)
    k = settings.kernel_width
    patches = (calib.shape[2] - k + 1) * (calib.shape[3] - k + 1)
    gram = 8 * patches * (n_coils * k**2 + 3 * min(patches, n_coils * k**2))
    waves = 8 * n_coils**2 * (2 * k - 1) * (2 * k - 1 + gx)
    vectors = 8 * 6 * settings.n_sets * n_coils * gy * gx
    return max(1, int(memory_mb * 1e6 / 2 / (2 * gram + waves + vectors)))


def _estimate(
    calib: Tensor,
    settings: EspiritSettings,
    memory_mb: float,
    maps: Tensor,
    values: Tensor,
) -> tuple[Tensor, Tensor]:
    """Fill maps (slice, set, coil, y, x) and values (slice, set + 1, y, x) of some slices.

    Returns:
        threshold and crop of each slice.
    """
    shape = (maps.shape[-2], maps.shape[-1])
    kernels, threshold = calibration.signal_kernels(calib, settings)
    estimate = settings.outside == "estimate"  # maps of air, too, are wanted as they are found
    coarse = eigenmaps.low_resolution(calib, shape, _grid(shape, settings))
    vectors, at = eigenmaps.solve(
        eigenmaps.correlation(kernels),
        coarse,
        shape,
        n_sets=settings.n_sets,
        floor=automatic.lowest_crop(settings) * (0.5 if estimate else outside.FADE),
        memory_mb=memory_mb,
    )
    del kernels
    crop = automatic.crop(at[:, 0], coarse, settings)
    crop = torch.where(threshold == 1, 1.0, crop)  # noise has no support
    principal = gauge.principal_coil(calib)
    fixed = torch.stack([
        _turned(vectors[:, one], at[:, one], crop, coarse, principal, settings)
        for one in range(settings.n_sets)
    ], 1)  # fmt: skip
    for index in range(len(calib)):  # slice by slice, so that what is worked on stays in the cache
        eigenmaps.interpolate(at[index], shape, out=values[index])
        for one in range(settings.n_sets):
            full = eigenmaps.interpolate(fixed[index, one], shape, out=maps[index, one])
            _finish(full, values[index, one], one, principal[index], float(crop[index]), settings)
    return threshold, crop


def _turned(
    vectors: Tensor,
    values: Tensor,
    crop: Tensor,
    coarse: Tensor,
    principal: Tensor,
    settings: EspiritSettings,
) -> Tensor:
    """One set (slice, coil, y, x) in the smooth gauge, continued beyond the support."""
    # The continuation wants a smooth gauge, and the smooth gauge wants maps
    # everywhere: first with the principal component's few poles, then without.
    rough = outside.extrapolate(gauge.towards(vectors, principal), values, crop)
    smooth = gauge.anchor(gauge.smoothest(rough), coarse)
    turned = gauge.like(vectors, smooth)
    return turned if settings.outside == "estimate" else outside.extrapolate(turned, values, crop)


def _finish(
    maps: Tensor,
    values: Tensor,
    one: int,
    principal: Tensor,
    crop: float,
    settings: EspiritSettings,
) -> None:
    """Unit size, another gauge, zeros, on the full grid (coil, y, x), in place."""
    power = torch.zeros_like(values)
    for coil_map in maps:  # one at a time: the memory of one coil
        power.addcmul_(coil_map.real, coil_map.real).addcmul_(coil_map.imag, coil_map.imag)
    factor = power.clamp(min=1e-20).rsqrt()
    if settings.outside == "zero" or one > 0:  # a second set says nothing where nothing folds
        factor = factor * (values > crop)
    if settings.gauge == "virtual":
        maps *= factor
        return
    weights = principal
    if settings.gauge == "coil0":
        weights = torch.zeros_like(principal)
        weights[0] = 1
    maps *= gauge.turn(maps, weights) * factor


def _warn_if_folded(values: Tensor, crop: Tensor, settings: EspiritSettings) -> None:
    inside = (values[:, 0] > crop[:, None, None]).flatten(1)
    folded = (values[:, -1] > FOLDED).flatten(1) & inside
    share = folded.sum(1) / inside.sum(1).clamp(min=1)
    if bool((share > FOLDED_SHARE).any()):
        warnings.warn(
            f"in {float(share.max()):.0%} of the object{_where(share > FOLDED_SHARE)} one more set "
            "of maps explains the data: the object is wider than the field of view and folds onto "
            f"itself. Use n_sets={settings.n_sets + 1}, or a larger field of view.",
            RuntimeWarning,
            stacklevel=3,
        )


def _warn_if_noise(threshold: Tensor) -> None:
    silent = threshold == 1
    if bool(silent.any()):
        warnings.warn(
            f"nothing stands above the noise{_where(silent)}. The maps there mean nothing and have "
            "no support (threshold 1); leave such slices out.",
            RuntimeWarning,
            stacklevel=3,
        )
