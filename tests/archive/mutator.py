"""A seeded maker of more than 500 damaged inputs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import bombs
import damages
import numpy as np
import wrong_values

Rng = np.random.Generator
Build = Callable[[Path, Rng], None]
HARMLESS = (
    ("dicom0", damages.longer),
    ("dicom0", damages.preamble),
    ("nifti", damages.longer),
    ("hdf5", damages.longer),
)


class Case(NamedTuple):
    """An input to make: `same` where the damage must not change what is read."""

    name: str
    build: Build
    same: bool = False


def cases(real: Path, per_damage: int = 3) -> list[Case]:
    """All of them, always in the same order.

    Args:
        real: the folder of measured data.
        per_damage: times that every file is damaged in every way.
    """
    return [*_damaged(damages.sources(real), per_damage), *_wrong(), *_swollen()]


def _damaged(files: dict[str, tuple[str, bytes]], per_damage: int) -> Iterator[Case]:
    for kind, (name, data) in files.items():
        for damage in damages.DAMAGES:
            for turn in range(per_damage):
                build: Build = partial(damages.one_file, name, data, damage)
                if kind in ("dicom0", "dicom1") and turn == 0:
                    build = partial(
                        damages.one_of_a_series, files["dicom0"], files["dicom1"], damage
                    )
                yield Case(f"{kind} {damage.__name__} {turn}", build)
    for kind, harmless in HARMLESS:
        build = partial(damages.one_file, *files[kind], harmless)
        yield Case(f"{kind} {harmless.__name__}", build, same=True)


def _wrong() -> Iterator[Case]:
    for word, value in wrong_values.DICOM_VALUES:
        yield Case(f"{word} {value!r}", partial(wrong_values.dicom_values, word, value))
    for word, value in wrong_values.NIFTI_VALUES:
        yield Case(f"{word} {value!r}", partial(wrong_values.nifti_values, word, value))
    for kind in wrong_values.HDF5:
        yield Case(f"hdf5 {kind}", partial(wrong_values.hdf5_file, kind))
    for header in wrong_values.NPY:
        yield Case(f"npy {header!r}", partial(wrong_values.npy_file, header))
    for sizes in wrong_values.PNG:
        pixels = zlib.compress(bytes(1000))
        yield Case(f"png {sizes}", partial(wrong_values.png_file, *sizes, pixels))
    for kind in bombs.OTHER:
        yield Case(kind, partial(bombs.other, kind))


def _swollen() -> Iterator[Case]:
    for name, (shape, dtype, n_mib) in bombs.NIFTI.items():
        yield Case(f"nifti bomb {name}", partial(bombs.nifti_bomb, shape, dtype, n_mib))
    yield Case("png bomb", bombs.png_bomb)
    yield Case("deflated dicom bomb", bombs.deflated_dicom_bomb)
    yield Case("rle bomb", bombs.rle_bomb)
    yield Case("nested sequences", bombs.nested_sequences)
