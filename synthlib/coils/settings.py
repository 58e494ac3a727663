"""What ESPIRiT is told and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor

GAUGES = ("virtual", "bart", "coil0")
OUTSIDE = ("extrapolate", "estimate", "zero")
AUTO = "auto"
LEAST_GRID = 4


@dataclass(frozen=True)
class EspiritSettings:
    """Parameters of :func:`espirit_maps`.

    Attributes:
        calib_width: edge of the calibration region, in samples; less is taken
            where less was fully sampled.
        kernel_width: edge of a k-space kernel, in samples.
        threshold: singular values below this share of the largest are noise;
            "auto" puts it above the noise's own singular values (0.01 to 0.5).
        crop: pixels whose eigenvalue is below this are outside the support;
            "auto" puts it well below those of bright tissue (0.5 to 0.95).
        gauge: phase of the maps in each pixel. "virtual": that of a reference
            that follows the maps as evenly as can be (the Coulomb gauge) and is
            nowhere dark; "bart": that of the first principal component of the
            coils, as BART rotates; "coil0": that of the first coil, as SigPy
            does. The last two have poles where their coil is dark.
        outside: maps beyond the support. "extrapolate": smooth continuation;
            "estimate": the eigenvectors found there, noise in air; "zero".
        n_sets: sets of maps; two where the object is wider than the field of view.
        grid: points along the shorter axis (as dense along the other) at which
            eigenvectors are solved, with splines between; 0 solves every pixel.
    """

    calib_width: int = 24
    kernel_width: int = 6
    threshold: float | str = AUTO
    crop: float | str = AUTO
    gauge: str = "virtual"
    outside: str = "extrapolate"
    n_sets: int = 1
    grid: int = 64

    def check(self) -> None:
        """Raise ValueError for a value that means nothing."""
        _require("gauge", self.gauge, GAUGES)
        _require("outside", self.outside, OUTSIDE)
        for name in ("threshold", "crop"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and 0 < value < 1
            if value != AUTO and not number:
                raise ValueError(
                    f'{name} is {value!r}; expected a number between 0 and 1, or "{AUTO}"'
                )
        for name, least in (("calib_width", 1), ("kernel_width", 1), ("n_sets", 1), ("grid", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; expected a whole number, at least {least}")
        if 0 < self.grid < LEAST_GRID:
            raise ValueError(
                f"grid is {self.grid}; expected {LEAST_GRID} points or more for cubic splines, "
                "or 0 to solve every pixel"
            )


def _require(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")


@dataclass(frozen=True)
class CoilMaps:
    """Sensitivity maps; leading axes are those of the k-space they come from.

    With `n_sets` above 1 a set axis stands before the coils of `maps` and
    before y of `eigenvalues`.

    Attributes:
        maps: complex64 (..., coil, y, x), unit root sum of squares in every
            pixel; beyond the support as `outside` says.
        eigenvalues: float32 (..., y, x), about 1 in the object; in air a lower bound.
        support: bool (..., y, x), (first) eigenvalue above crop.
        further: float32 (..., y, x), the largest eigenvalue that the sets leave
            over: near 1 where the object folds onto itself and one more set is needed;
            elsewhere a lower bound.
        threshold, crop: float32 (...), the numbers that were used.
        calib_shape: (ky, kx) samples of the calibration region used.
    """

    maps: Tensor
    eigenvalues: Tensor
    support: Tensor
    further: Tensor
    threshold: Tensor
    crop: Tensor
    calib_shape: tuple[int, int]

    @classmethod
    def tensors(cls) -> list[str]:
        """Names of the fields that have the slices' leading axes."""
        return [field.name for field in fields(cls) if field.name != "calib_shape"]

    def __getitem__(self, index: int | slice | None) -> CoilMaps:
        """The maps of some slices of a batch; None puts a slice axis in front."""
        chosen: dict[str, Any] = {name: getattr(self, name)[index] for name in self.tensors()}
        return replace(self, **chosen)

    def __len__(self) -> int:
        return len(self.threshold)
