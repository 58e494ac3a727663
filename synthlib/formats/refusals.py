"""Why an image cannot be taken: reasons of fixed phrases and numbers, safe to show and to log."""

from __future__ import annotations

import errno
from math import prod

import torch
from torch import Tensor

MAX_VOXELS = 2**27  # of one volume: 512 MiB as float32
LEAST_TOP, MOST_TOP = 1e-12, 1e15  # of a volume's highest value
MAX_BYTES = 2**29  # of one file that is held in memory


class Refusal(ValueError):
    """A reason without any text of a file: no name, no path, nothing that a header says."""


def require_voxels(*shape: int) -> None:
    """Refuse a volume without voxels, or with more than 2**27, before room is made for it."""
    if min(shape, default=0) < 1:
        raise Refusal(f"an image of {by(shape)} pixels; expected at least one along each axis")
    if prod(shape) > MAX_VOXELS:
        raise Refusal(
            f"a volume of {by(shape)} voxels; at most {MAX_VOXELS} are read. Cut it into parts"
        )


def require_magnitude(values: Tensor) -> None:
    """Refuse values that no magnitude has: NaN or Inf, negative ones, only zeros, far too large."""
    smallest, largest = (float(value) for value in torch.aminmax(values))
    if not torch.isfinite(torch.tensor([smallest, largest])).all():
        n_bad = values.numel() - sum(int(torch.isfinite(part).sum()) for part in values)
        raise Refusal(f"{n_bad} NaN or Inf of {values.numel()} values; expected finite numbers")
    if smallest < 0:
        raise Refusal(
            f"negative values (from {smallest:.4g} to {largest:.4g}); expected a magnitude. A "
            "phase or difference image cannot be taken; make values zero that interpolation left"
        )
    if largest <= 0:
        raise Refusal("only zeros; expected a magnitude image")
    if not LEAST_TOP < largest < MOST_TOP:
        raise Refusal(
            f"values up to {largest:.4g}, whose squares single precision cannot hold; expected a "
            f"highest value between {LEAST_TOP:g} and {MOST_TOP:g}. Rescale the images"
        )


def reason_of(error: BaseException) -> str:
    """A fixed phrase for what a package or the system raised; its own text is not repeated."""
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory for what it claims to hold"
    if isinstance(error, OSError) and error.errno is not None:
        told = {
            errno.ENOENT: "the file is no longer there",
            errno.EACCES: "the file may not be opened; check its permissions",
            errno.EPERM: "the file may not be opened; check its permissions",
            errno.ELOOP: "links that lead in a circle",
            errno.EISDIR: "a folder where a file was expected",
            errno.EIO: "the disk cannot read the file",
        }
        if error.errno in told:
            return told[error.errno]
    return "the file is damaged, or of a kind that is not known; export it again or leave it out"


def by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
