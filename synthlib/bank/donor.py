"""One donor: the coils of one scan, in the coordinates of its head."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.interpolate import BSpline, make_interp_spline
from torch import Tensor

from synthlib import arrays
from synthlib.bank.outline import Outline
from synthlib.formats import prepared_hdf5

POINTS = 64  # of the grid in head coordinates, along each axis
REACH = 2.0  # the grid goes to this many half axes on either side


@dataclass(frozen=True)
class Donor:
    """Coil maps and noise of one scan, made ready for other heads.

    Attributes:
        name: of the donor, from the hash of its raw file: no name of a file or person.
        n_coils, n_slices: what it holds.
        contrast, orientation, anatomy: as records.ImageVolume has them.
        field_t: nan if unknown.
        half_mm: (y, x) half axes of the widest slice, nan if pixel sizes are unknown.
        levels_mm: (slice,) distance from the widest slice, lowest first; nan if unknown.
        quality: numbers and flags that tell how good the maps are.
        path: of its file.
    """

    name: str
    n_coils: int
    n_slices: int
    contrast: str
    orientation: str
    anatomy: str
    field_t: float
    half_mm: tuple[float, float]
    levels_mm: tuple[float, ...]
    quality: dict[str, Any]
    path: Path

    @classmethod
    def open(cls, path: Path) -> Donor:
        """Read what a donor's file says of itself, but not its maps.

        Raises:
            ValueError: it is no donor's file, or damaged.
        """
        kept = prepared_hdf5.read_attributes(path)
        names = [field.name for field in dataclasses.fields(cls) if field.name != "path"]
        if not all(name in kept for name in names):
            raise ValueError(
                f"{path.name} is no donor of a coil bank, or damaged; expected a file that "
                "`synthlib bank` made. Make the bank again, or move the file away."
            )
        found = {name: kept[name] for name in names}
        for name in ("half_mm", "levels_mm"):
            found[name] = tuple(float("nan") if v is None else float(v) for v in found[name])
        found["field_t"] = float("nan") if found["field_t"] is None else float(found["field_t"])
        return cls(**found, path=path)

    @property
    def fingerprint(self) -> str:
        """Changes with the raw file's content, the settings and the code."""
        return str(prepared_hdf5.read_attributes(self.path)["fingerprint"])

    def read(self, n_coils: int) -> Coils:
        """The donor's coils, compressed to `n_coils` where it has more.

        Raises:
            ValueError: it has fewer coils, or its file was damaged.
        """
        if n_coils > self.n_coils:
            raise ValueError(
                f"donor {self.name} has {self.n_coils} coils; {n_coils} were asked for"
            )
        maps = prepared_hdf5.read(self.path, "maps")  # (slice, coil, POINTS, POINTS)
        covariance = prepared_hdf5.read(self.path, "covariance")
        if n_coils < self.n_coils:
            maps, covariance = compress(maps, covariance, n_coils)
        return Coils(maps, covariance)


@dataclass(frozen=True)
class Coils:
    """Maps of a donor in head coordinates, and the covariance of its receivers' noise.

    Attributes:
        maps: complex64 (slice, coil, POINTS, POINTS), REACH half axes on either side.
        covariance: complex64 (coil, coil), Hermitian, positive definite, mean of the diagonal 1.
    """

    maps: Tensor
    covariance: Tensor

    @cached_property
    def root(self) -> Tensor:
        """Complex64 (coil, coil) L with L L^H the covariance: white noise becomes theirs."""
        return torch.linalg.cholesky(self.covariance.to(torch.complex128)).to(torch.complex64)

    @cached_property
    def splines(self) -> np.ndarray:
        """Coefficients of cubic splines through the maps, for :func:`taps`.

        Returns:
            float32 (slice, POINTS, POINTS, coil, 2), the last axis real and imaginary part.
        """
        found = torch.view_as_real(self.maps).movedim(1, 3).numpy(force=True)
        for axis in (1, 2):
            found = np.moveaxis(make_interp_spline(_grid(), found, k=3, axis=axis).c, 0, axis)
        return np.ascontiguousarray(found, dtype=np.float32)


class Taps(NamedTuple):
    """Cubic splines along one axis: pixel i is the sum of weights[i, t] values[first[i] + t].

    Attributes:
        first: int64 (pixel,).
        weights: float32 (pixel, 4).
    """

    first: np.ndarray
    weights: np.ndarray


def compress(maps: Tensor, covariance: Tensor, n_coils: int) -> tuple[Tensor, Tensor]:
    """Fewer virtual coils that keep most of the maps' energy in the head.

    Args:
        maps: complex (slice, coil, y, x) in head coordinates.
        covariance: complex (coil, coil).
        n_coils: how many are kept.

    Returns:
        Maps of unit root sum of squares, and the covariance, mean of its diagonal 1.

    Source: Buehrer et al., MRM 57:1131 (2007); Huang et al., MRI 26:133 (2008).
    """
    inside = _radius() <= 1
    vectors = maps[..., inside].movedim(1, 0).flatten(1)  # (coil, everything)
    _, basis = torch.linalg.eigh(vectors @ vectors.mH)
    keep = basis[:, -n_coils:].flip(1)  # (coil, n_coils), the strongest first
    fewer = torch.einsum("cv,scyx->svyx", keep.conj(), maps)
    fewer = fewer / arrays.rss(fewer).clamp(min=1e-6)[:, None]
    smaller = keep.mH @ covariance @ keep
    return fewer, smaller / smaller.diagonal().real.mean()


def _radius() -> Tensor:
    """(POINTS, POINTS) distance from the head's centre, 1 at the outline."""
    along = torch.linspace(-REACH, REACH, POINTS)
    return (along[:, None].square() + along.square()).sqrt()


def to_head(maps: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    """Maps of an image's pixels on the grid of head coordinates.

    Beyond the field of view the maps are mirrored, as their cosine series goes on.

    Args:
        maps: complex (coil, y, x), smooth everywhere.
        centre, half: (2,) of the outline, in pixels.

    Returns:
        complex64 (coil, POINTS, POINTS).
    """
    found = maps
    for axis, at in ((-2, 0), (-1, 1)):
        n = maps.shape[axis]
        wanted = float(centre[at]) + float(half[at]) * np.linspace(-REACH, REACH, POINTS)
        mirrored = np.abs((wanted + 0.5) % (2 * n))  # 0 to 2 n
        mirrored = np.where(mirrored > n, 2 * n - mirrored, mirrored) - 0.5
        found = _interpolate(found, axis, np.arange(n), np.clip(mirrored, 0, n - 1))
    return found / arrays.rss(found).clamp(min=1e-6)


def weights(outline: Outline, index: int, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Matrices that bring values from the grid of head coordinates to pixels.

    Args:
        outline: of the image; its grid may be smaller than `shape` (readout
            oversampling), and is then centred in it.
        index: slice.
        shape: (ny, nx) of the pixels.

    Returns:
        float32 (ny, POINTS) and (nx, POINTS): pixels = wy @ values @ wx.T.
    """
    cardinal = make_interp_spline(_grid(), np.eye(POINTS), k=3)
    wy, wx = (
        torch.from_numpy(
            cardinal(_head_coordinates(outline, index, shape, axis)).astype(np.float32)
        )
        for axis in (0, 1)
    )
    return wy, wx


def taps(outline: Outline, index: int, shape: tuple[int, int]) -> tuple[Taps, Taps]:
    """What :func:`weights` does, in four steps per pixel, on :attr:`Coils.splines`.

    Args:
        outline, index, shape: as :func:`weights` takes them.

    Returns:
        Of the rows, and of the columns.
    """
    rows, columns = (
        BSpline.design_matrix(_head_coordinates(outline, index, shape, axis), _knots(), 3)
        for axis in (0, 1)
    )
    along_y, along_x = (
        Taps(
            matrix.indices.reshape(-1, 4)[:, 0].astype(np.int64),
            matrix.data.reshape(-1, 4).astype(np.float32),
        )
        for matrix in (rows, columns)
    )
    return along_y, along_x


def _grid() -> np.ndarray:
    """(POINTS,) head coordinates of the maps' grid, along either axis."""
    return np.linspace(-REACH, REACH, POINTS)


@lru_cache(maxsize=1)
def _knots() -> np.ndarray:
    return np.asarray(make_interp_spline(_grid(), np.zeros(POINTS), k=3).t)


def _head_coordinates(
    outline: Outline, index: int, shape: tuple[int, int], axis: int
) -> np.ndarray:
    """(n,) of the pixels along an axis; the grid's edge for those beyond it."""
    n, inner = shape[axis], outline.mask.shape[1 + axis]
    pixels = np.arange(n) - arrays.image_shift(inner, n)  # in the outline's own pixels
    at = (pixels - float(outline.centre[index, axis])) / float(outline.half[index, axis])
    return np.clip(at, -REACH, REACH)


def maps_at(few: Tensor, outline: Outline, index: int, shape: tuple[int, int]) -> Tensor:
    """A donor's maps on the pixels of an image.

    Args:
        few: complex (coil, POINTS, POINTS), of one slice of a donor.
        outline, index, shape: as :func:`weights` takes them.

    Returns:
        complex64 (coil, ny, nx), unit root sum of squares.
    """
    wy, wx = weights(outline, index, shape)
    maps = torch.complex(wy @ few.real @ wx.T, wy @ few.imag @ wx.T)
    return maps / arrays.rss(maps).clamp(min=1e-6)


def _interpolate(values: Tensor, axis: int, at: np.ndarray, wanted: np.ndarray) -> Tensor:
    """Cubic spline along one axis of a complex tensor."""
    spline = make_interp_spline(at, values.numpy(force=True), k=min(3, len(at) - 1), axis=axis)
    return torch.from_numpy(spline(wanted).astype(np.complex64))
