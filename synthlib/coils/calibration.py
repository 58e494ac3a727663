"""The calibration region of k-space, its noise, and the kernels that span its signal."""

from __future__ import annotations

import warnings
from functools import lru_cache

import torch
from torch import Tensor

from synthlib import arrays
from synthlib.coils.settings import AUTO, EspiritSettings

# Threshold "auto" stands this far above the largest singular value that noise
# alone would have, and within these limits.
NOISE_MARGIN = 1.5
THRESHOLD_LIMITS = (0.01, 0.5)
# Share of the largest singular value that noise alone explains, above which
# there is no signal to speak of.
NOTHING_BUT_NOISE = 0.5
# The share of singular values, from the smallest, that are surely noise; below
# ROUNDING of the largest they are none of it, but coils that are dead or mixed of others.
NOISE_QUANTILE, ROUNDING = 0.25, 5e-4


def find_region(kspace: Tensor, limits: tuple[int, int]) -> tuple[int, int]:
    """The largest fully sampled block about the centre of k-space, within limits.

    A sample counts as acquired where any coil is not zero, in every slice.

    Args:
        kspace: complex (..., coil, ky, kx).
        limits: (ky, kx) samples that are wanted.

    Returns:
        (ky, kx) samples of the block; (0, 0) where the centre itself is missing.
    """
    limits = (min(limits[0], kspace.shape[-2]), min(limits[1], kspace.shape[-1]))
    block = _centre(kspace, *limits)
    acquired = (block != 0).any(-3).reshape(-1, *limits).all(0)  # (ky, kx)
    if bool(acquired.all()):
        return limits
    size = [0, 0]
    # a square as large as can be, then each axis by itself
    for axes in ((0, 1), (0,), (1,)):
        while True:
            wider = [min(size[a] + (a in axes), limits[a]) for a in (0, 1)]
            # the block's own middle is the middle of k-space, at odd and even sizes alike
            if wider == size or not bool(_centre(acquired, *wider).all()):
                break
            size = wider
    return size[0], size[1]


def _centre(array: Tensor, height: int, width: int) -> Tensor:
    """The middle of the last two axes, as arrays.crop_or_pad cuts it, without a copy."""
    first_y, first_x = (
        n // 2 - m // 2 for n, m in zip(array.shape[-2:], (height, width), strict=True)
    )
    return array[..., first_y : first_y + height, first_x : first_x + width]


def calibrate(kspace: Tensor, shape: tuple[int, int], settings: EspiritSettings) -> Tensor:
    """The calibration region on the k-space grid of the field of view that is kept.

    Args:
        kspace: complex (slice, coil, ky, kx).
        shape: (ny, nx) of the image's middle that is kept; where it is smaller
            than the k-space, samples of the smaller field of view are computed
            from the columns (rows) at the centre alone.

    Returns:
        complex64 (slice, coil, cy, cx), of one size for all slices.

    Raises:
        ValueError: too few samples about the centre for the kernel.

    Warns:
        RuntimeWarning: fewer samples than `calib_width` are fully sampled.
    """
    full = kspace.shape[-2:]
    limits = [n if m < n else settings.calib_width for n, m in zip(full, shape, strict=True)]
    _require_signal(_centre(kspace, *(min(a, b) for a, b in zip(limits, full, strict=True))))
    size = find_region(kspace, (limits[0], limits[1]))
    wanted = [
        min(settings.calib_width, s * m // n) for s, m, n in zip(size, shape, full, strict=True)
    ]
    if min(wanted) < 2 * settings.kernel_width:
        raise ValueError(
            f"calibration region of {wanted[0]}x{wanted[1]} samples (ky x kx) for a kernel of "
            f"{settings.kernel_width}; expected at least twice the kernel, fully sampled. Lower "
            "kernel_width, raise calib_width, or acquire more lines about the centre."
        )
    _warn_if_short(wanted, settings, shape)
    centres = []
    for one in _centre(kspace, *size):
        padded = [n if m < n else s for s, m, n in zip(size, shape, full, strict=True)]
        if padded != list(size):  # missing outer samples: zeros, or the field of view is not halved
            one = arrays.crop_or_pad(one, (padded[0], padded[1]))
        for axis, (m, n) in enumerate(zip(shape, full, strict=True), start=-2):
            if m < n:
                one = _shorten(one, axis, m)
        centres.append(_centre(one, wanted[0], wanted[1]).to(torch.complex64))
    return torch.stack(centres)


def _warn_if_short(wanted: list[int], settings: EspiritSettings, shape: tuple[int, int]) -> None:
    asked = [min(settings.calib_width, n) for n in shape]
    if wanted != asked:
        warnings.warn(
            f"calibrated by {wanted[0]}x{wanted[1]} samples (ky x kx) of the {asked[0]}x{asked[1]} "
            "asked for: no more about the centre are fully sampled in all slices given together",
            RuntimeWarning,
            stacklevel=4,
        )


def _require_signal(centre: Tensor) -> None:
    silent = (centre == 0).flatten(1).all(1).nonzero().flatten().tolist()
    if silent:
        which = f" of slice {', '.join(map(str, silent))}" if len(centre) > 1 else ""
        raise ValueError(
            f"the {centre.shape[-2]}x{centre.shape[-1]} calibration region{which} is all zero; "
            "expected the centre of k-space in the middle of the array. Check the file, or leave "
            "the slice out."
        )


def _shorten(kspace: Tensor, axis: int, kept: int) -> Tensor:
    """Samples of a smaller field of view along one axis, its middle as images are cropped."""
    n = kspace.shape[axis]
    image = torch.fft.fftshift(
        torch.fft.ifft(torch.fft.ifftshift(kspace, dim=axis), dim=axis, norm="ortho"), dim=axis
    )
    image = image.narrow(axis % kspace.ndim, -arrays.image_shift(n, kept), kept)
    return torch.fft.fftshift(
        torch.fft.fft(torch.fft.ifftshift(image, dim=axis), dim=axis, norm="ortho"), dim=axis
    )


def signal_kernels(calib: Tensor, settings: EspiritSettings) -> tuple[Tensor, Tensor]:
    """Dominant right singular vectors of the calibration matrix: kernels that span the signal.

    Args:
        calib: complex64 (slice, coil, cy, cx), largest sample 1.

    Returns:
        kernels, complex64 (slice, kernel, coil, k, k), zero beyond a slice's
        own number of them; and the threshold used, float32 (slice,), 1 for a
        slice whose threshold is "auto" and which holds nothing but noise.
    """
    k = settings.kernel_width
    patches = calib.unfold(-2, k, 1).unfold(-2, k, 1)  # (slice, coil, py, px, k, k)
    matrix = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)  # (slice, patch, coil*k*k)
    # A Gram matrix squares the singular values: where small ones are to be told
    # apart, double precision keeps them. The smaller of the two Gram matrices has them all.
    lowest = THRESHOLD_LIMITS[0] if settings.threshold == AUTO else float(settings.threshold)
    if lowest < 0.005:
        matrix = matrix.to(torch.complex128)
    wide = matrix.shape[1] < matrix.shape[2]
    values, vectors = torch.linalg.eigh(matrix @ matrix.mH if wide else matrix.mH @ matrix)
    singular = values.clamp(min=0).sqrt()  # (slice, n), ascending
    threshold = _threshold(singular, calib, settings)
    keep = singular > (threshold * singular[:, -1])[:, None]
    keep[:, -1] = True
    most = int(keep.sum(1).max())
    keep, singular, vectors = keep[:, -most:], singular[:, -most:], vectors[..., -most:]
    vectors = vectors * keep[:, None]
    if wide:
        vectors = matrix.mH @ (vectors / singular[:, None])
    # Patches are combinations of conjugated right singular vectors (rows of V^H).
    kernels = vectors.mT.conj().to(torch.complex64)
    return kernels.reshape(len(calib), most, calib.shape[1], k, k), threshold.float()


def _threshold(singular: Tensor, calib: Tensor, settings: EspiritSettings) -> Tensor:
    """The threshold of each slice; 1 for a slice of nothing but noise, which keeps one kernel.

    "auto" takes the noise to be white and about as strong in all coils.
    """
    if settings.threshold != AUTO:
        return torch.full_like(singular[:, 0], float(settings.threshold))
    k, levels = settings.kernel_width, []
    for one in singular:
        alive = one[one > ROUNDING * one[-1]]
        # fewer singular values than patches: they tell how many coils are independent
        n_coils = min(calib.shape[1], max(1, round(len(alive) / k**2)))
        if len(one) < calib.shape[1] * k**2:  # as many as patches, whatever the coils
            n_coils = int((calib != 0).flatten(2).any(2).any(0).sum())
        edge = _noise_edge(n_coils, calib.shape[-2], calib.shape[-1], k)
        levels.append(alive.quantile(NOISE_QUANTILE) * edge / one[-1])
    level = torch.stack(levels)
    threshold = (NOISE_MARGIN * level).clamp(*THRESHOLD_LIMITS)
    return torch.where(level > NOTHING_BUT_NOISE, 1.0, threshold)


@lru_cache
def _noise_edge(n_coils: int, height: int, width: int, k: int) -> float:
    """Largest singular value of a calibration matrix of white noise, over its lower quantile.

    The patches overlap, so that no formula for independent entries holds: one
    such matrix is drawn and solved.
    """
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn((n_coils, height, width), dtype=torch.complex128, generator=draw)
    patches = noise.unfold(1, k, 1).unfold(2, k, 1)
    matrix = patches.permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
    gram = matrix @ matrix.mH if matrix.shape[0] < matrix.shape[1] else matrix.mH @ matrix
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().flip(0)
    return float(singular[0] / singular.quantile(NOISE_QUANTILE))
