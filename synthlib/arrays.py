"""Grids and transforms: everything here takes tensors and touches no file."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

IMAGE_AXES = (-2, -1)


def fft2c(image: Tensor) -> Tensor:
    """Image to k-space: centred, orthonormal 2-D FFT of the last two axes.

    Args:
        image: complex or real (..., y, x).

    Returns:
        complex (..., ky, kx), zero frequency at [ny // 2, nx // 2]; the sum of
        squares is that of the image.
    """
    shifted = torch.fft.ifftshift(image, dim=IMAGE_AXES)
    return torch.fft.fftshift(torch.fft.fft2(shifted, norm="ortho"), dim=IMAGE_AXES)


def ifft2c(kspace: Tensor) -> Tensor:
    """K-space (..., ky, kx) to image (..., y, x): the inverse of :func:`fft2c`."""
    shifted = torch.fft.ifftshift(kspace, dim=IMAGE_AXES)
    return torch.fft.fftshift(torch.fft.ifft2(shifted, norm="ortho"), dim=IMAGE_AXES)


def crop_or_pad(array: Tensor, shape: tuple[int, int]) -> Tensor:
    """Centre k-space, or anything else around index n // 2, on another grid, zeros outside.

    Index n // 2 of the old grid lands on index n' // 2 of the new one, so that the
    centre of k-space stays the centre at odd and even sizes alike. For images see
    :func:`crop_or_pad_image`.

    Args:
        array: any dtype, (..., y, x).
        shape: (ny, nx) wanted, each >= 1.

    Returns:
        (..., ny, nx), a new tensor.
    """
    return _placed(array, shape, [new // 2 - old // 2 for old, new in _sizes(array, shape)])


def crop_or_pad_image(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """Centre images on a grid of another size as fastMRI and ISMRMRD crop them, zeros outside.

    The smaller grid starts at (larger - smaller) // 2 of the larger one. Between an even
    grid and a smaller odd one that is a pixel before the place that :func:`crop_or_pad`
    takes, which keeps the centre of k-space: images of the scanner's field of view
    must be cut where stock readers cut them. Padding is undone by cropping.

    Args:
        image: any dtype, (..., y, x).
        shape: (ny, nx) wanted, each >= 1.

    Returns:
        (..., ny, nx), a new tensor.

    Source: fastmri.data.transforms.center_crop; the readout's crop of ISMRMRD's tools.
    """
    return _placed(image, shape, [image_shift(old, new) for old, new in _sizes(image, shape)])


def image_shift(old: int, new: int) -> int:
    """Where pixel 0 of an image of `old` pixels lies on a grid of `new` around it; < 0: cut off."""
    return (new - old) // 2 if new >= old else -((old - new) // 2)


def _sizes(array: Tensor, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """(old, new) of both axes."""
    if min(shape) < 1:
        raise ValueError(f"a grid of {shape[0]}x{shape[1]} was asked for; both must be >= 1")
    return list(zip(array.shape[-2:], shape, strict=True))


def _placed(array: Tensor, shape: tuple[int, int], shifts: Sequence[int]) -> Tensor:
    """Old index 0 at `shifts` of the new grid, along both axes."""
    result = array.new_zeros((*array.shape[:-2], *shape))
    source, target = [], []
    for (old, new), shift in zip(_sizes(array, shape), shifts, strict=True):
        source.append(slice(max(0, -shift), min(old, new - shift)))
        target.append(slice(max(0, shift), min(new, old + shift)))
    result[..., target[0], target[1]] = array[..., source[0], source[1]]
    return result


def resample(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resample a complex image by cropping or zero-padding its k-space.

    The field of view stays, the pixel size changes and intensities stay. This
    is how phase changes resolution: wrapped phase itself must never be
    interpolated.

    Args:
        image: complex (..., y, x).
        shape: (ny, nx) wanted.
    """
    old = image.shape[-2] * image.shape[-1]
    scale = (shape[0] * shape[1] / old) ** 0.5  # orthonormal FFTs of two sizes
    return ifft2c(crop_or_pad(fft2c(image), shape)) * scale


def rss(coil_images: Tensor) -> Tensor:
    """Root sum of squares over the coil axis: (..., coil, y, x) to (..., y, x)."""
    return coil_images.abs().square().sum(-3).sqrt()


def wrap(phase: Tensor) -> Tensor:
    """Phase in radians, brought into (-pi, pi]."""
    turn = 2 * torch.pi
    wrapped = phase - turn * torch.ceil((phase - torch.pi) / turn)
    # far from zero, rounding can leave a value just beyond either end
    pi = torch.as_tensor(torch.pi, dtype=wrapped.dtype, device=wrapped.device)
    return torch.where(wrapped <= -pi, pi, wrapped.clamp(max=pi))


def least_squares(columns: Tensor, values: Tensor) -> Tensor:
    """Coefficients (term,) with which the columns come closest to the values.

    By the normal equations in double precision, their eigenvalues below
    rounding left out: right for columns that are nearly orthogonal (Legendre
    polynomials, harmonics), and the same to the last bit at every call, as
    torch.linalg.lstsq is not.

    Args:
        columns: (equation, term); values: (equation,).

    Returns:
        float64; the shortest of all solutions where the columns leave a choice.
    """
    columns, values = columns.double(), values.double()
    strength, vectors = torch.linalg.eigh(columns.mT @ columns)
    floor = len(strength) * torch.finfo(strength.dtype).eps * strength[-1]
    inverse = torch.where(strength > floor, 1 / strength, 0.0)
    return vectors @ (inverse * (vectors.mT @ (columns.mT @ values)))


def require_same_grid(**named: Tensor) -> None:
    """Raise ValueError unless all the arrays end in the same (y, x)."""
    grids = {name: tuple(array.shape[-2:]) for name, array in named.items()}
    if len(set(grids.values())) > 1:
        found = ", ".join(f"{name} {y}x{x}" for name, (y, x) in grids.items())
        raise ValueError(
            f"grids differ (y x x): {found}. Bring them to one grid first: "
            "arrays.crop_or_pad_image for the field of view, arrays.resample for the pixel size."
        )


def require_finite(name: str, array: Tensor) -> None:
    """Raise ValueError when an array holds NaN or Inf."""
    if bool(array.sum().isfinite()):
        return  # one pass; a sum is not finite if a value is not, and rarely otherwise
    bad = int((~torch.isfinite(array)).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} NaN or Inf of {array.numel()} values; expected finite numbers. "
            "Export the file again, or leave it out."
        )


def dark_level(magnitude: Tensor) -> float:
    """The magnitude below which a pixel of a head's image is mostly noise.

    1.6 times the 10th percentile, which is air in a picture of a head; or, where
    air was set to zero, 8 % of bright tissue.

    Args:
        magnitude: real, any shape, >= 0.
    """
    flat = magnitude.flatten()
    flat = flat[:: max(1, flat.numel() // 2**20)]  # torch.quantile refuses many values
    air, bright = torch.quantile(
        flat, torch.tensor([0.1, 0.98], dtype=flat.dtype, device=flat.device)
    )
    return float(torch.maximum(0.08 * bright, torch.minimum(1.6 * air, 0.3 * bright)))
