"""What a viewer shows: cases of stacks on one grid, brought to 16 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from synthlib.figures import complexes
from synthlib.figures.pixels import Pixels, Stack, quantise

Images = Tensor | np.ndarray | Stack


@dataclass(frozen=True)
class Case:
    """Stacks on one grid.

    Attributes:
        stacks: name to complex images (y, x), (slice, y, x) or (slice, coil, y, x).
        spacing_mm: (y, x) pixel size, nan if unknown.
    """

    stacks: Mapping[str, Images]
    spacing_mm: tuple[float, float] = (float("nan"), float("nan"))


@dataclass
class Loaded:
    """A case in 16 bits, under the keys by which the browser knows its pixels."""

    name: str
    stacks: dict[str, Pixels]
    spacing_mm: tuple[float, float]
    keys: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    text: str = ""
    first: int = 0
    every: int = 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        shapes = [pixels.shape for pixels in self.stacks.values()]
        slices, n_coils = (max(shape[axis] for shape in shapes) for axis in (0, 1))
        return slices, n_coils, shapes[0][2], shapes[0][3]

    def thinned(self, every: int, keep: int = 0) -> Loaded:
        """Every 2nd, 3rd, ... slice only, among them `keep`."""
        first = keep % every
        stacks = {
            name: replace(
                pixels,
                magnitude=pixels.magnitude[first::every],
                phase=None if pixels.phase is None else pixels.phase[first::every],
            )
            if pixels.shape[0] > 1
            else pixels
            for name, pixels in self.stacks.items()
        }
        return replace(self, stacks=stacks, first=first, every=every)

    def layout(self) -> dict[str, Any]:
        known = bool(np.isfinite(self.spacing_mm).all())
        return {
            "name": self.name,
            "shape": list(self.shape),
            "spacing": list(self.spacing_mm) if known else None,
            "text": self.text,
            "first": self.first,
            "every": self.every,
            "stacks": [
                {
                    "name": name, "magnitude": self.keys[name][0], "phase": self.keys[name][1],
                    "slices": pixels.shape[0], "coils": pixels.shape[1], "scale": pixels.scale,
                    "top": pixels.top, "dark": pixels.dark, "unit": pixels.unit,
                    "colours": pixels.colours,
                }
                for name, pixels in self.stacks.items()
            ],
        }  # fmt: skip

    def pixels(self) -> dict[str, np.ndarray]:
        """Key to 16-bit array; equal magnitudes are there once."""
        found: dict[str, np.ndarray] = {}
        for name, pixels in self.stacks.items():
            magnitude, phase = self.keys[name]
            found[magnitude] = pixels.magnitude
            if phase is not None and pixels.phase is not None:
                found[phase] = pixels.phase
        return found


def load(name: str, case: Case, text: str = "") -> Loaded:
    """Bring a case to 16 bits; `text` is told while it is shown.

    Raises:
        ValueError: no stacks, or stacks that do not fit together.
    """
    if not all(mm > 0 or np.isnan(mm) for mm in case.spacing_mm):
        raise ValueError(f"spacing_mm of {name} is {case.spacing_mm}; expected mm above 0, or nan")
    if not case.stacks:
        raise ValueError(f"{name} has no images; expected a name and complex images for each")
    stacks = {label: quantise(one, label) for label, one in case.stacks.items()}
    grids = {label: one.shape[2:] for label, one in stacks.items()}
    if len(set(grids.values())) > 1:
        found = ", ".join(f"{label} {ny}x{nx}" for label, (ny, nx) in grids.items())
        raise ValueError(
            f"grids differ (y x x): {found}. Bring the complex images to one grid first: "
            "arrays.crop_or_pad_image for the field of view, arrays.resample for the pixel size."
        )
    for axis, what in ((0, "slices"), (1, "coils")):
        counts = {label: one.shape[axis] for label, one in stacks.items()}
        if len(set(counts.values()) - {1}) > 1:
            found = ", ".join(f"{label} {count}" for label, count in counts.items())
            raise ValueError(f"numbers of {what} differ: {found}; expected equal numbers, or one")
    loaded = Loaded(name, stacks, case.spacing_mm, text=text)
    first: list[tuple[str, Pixels]] = []
    for number, (label, pixels) in enumerate(stacks.items()):
        key = next((key for key, other in first if _same_magnitude(pixels, other)), f"m{number}")
        first.append((key, pixels))
        loaded.keys[label] = key, None if pixels.phase is None else f"p{number}"
    return loaded


def _same_magnitude(one: Pixels, other: Pixels) -> bool:
    """Apart by no more than the rounding of a complex number's magnitude."""
    if one.shape != other.shape or abs(one.scale / other.scale - 1) > 1e-5:
        return False
    return bool(np.abs(one.magnitude.astype(np.int32) - other.magnitude).max() <= 1)


def named_cases(images: Any, spacing_mm: tuple[float, float], *, named: bool) -> dict[str, Any]:
    """Case name to what is in it; nothing yet, where only their names are given."""
    if named and isinstance(images, Sequence) and images and not isinstance(images, str):
        return {str(name): None for name in images}
    if _are_images(images):
        images = {"images": images}
    if not isinstance(images, Mapping) or not images:
        raise ValueError(
            f"{type(images).__name__} cannot be shown; expected complex images, or a mapping of "
            "names to them, or of cases to such mappings"
        )
    if _are_images(next(iter(images.values()))):
        return {"all": Case(images, spacing_mm)}
    return {str(name): case for name, case in images.items()}


def _are_images(value: Any) -> bool:
    return isinstance(value, Stack) or hasattr(value, "__array__")


def as_case(case: Case | Mapping[str, Images]) -> Case:
    return case if isinstance(case, Case) else Case(case)


def as_bytes(arrays: Mapping[str, np.ndarray]) -> dict[str, memoryview]:
    return {k: np.ascontiguousarray(v).data.cast("B") for k, v in arrays.items()}


def colour_tables(loaded: Loaded) -> dict[str, bytes]:
    names = {"gray", "twilight", "twilight_shifted"}
    names |= {pixels.colours for pixels in loaded.stacks.values()}
    return {name: complexes.table(name).tobytes() for name in sorted(names)}
