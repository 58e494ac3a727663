"""Why an image cannot be taken: reasons of fixed phrases and numbers, safe to show and to log."""

from __future__ import annotations

import errno
import math
from math import prod

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

MAX_VOXELS = 2**27  # of one volume: 512 MiB as float32
LEAST_TOP, MOST_TOP = 1e-12, 1e15  # of a volume's highest value
MAX_BYTES = 2**29  # of one file that is held in memory
# Negative values as interpolation leaves them: their depth as a share of the highest value, their
# energy as a share of all, the share of voxels deeper than a thousandth. Splines and sinc on three
# measured heads, hard masked too: at most 0.23, 0.0020, 0.15; differences of echoes: 0.32, 0.0011,
# 0.12 and 0.46, 0.011, 0.15.
MOST_RINGING_DEPTH, MOST_RINGING_ENERGY, MOST_RINGING_SHARE = 0.25, 2.5e-3, 0.16


class Refusal(ValueError):
    """A reason without any text of a file: no name, no path, nothing that a header says."""


class OtherKind(Refusal):
    """Not damaged, and no magnitude image by its own account: the rule in archives, no fault."""


def require_voxels(*shape: int) -> None:
    """Refuse a volume without voxels, or with more than 2**27, before room is made for it."""
    if min(shape, default=0) < 1:
        raise Refusal(f"an image of {by(shape)} pixels; expected at least one along each axis")
    if prod(shape) > MAX_VOXELS:
        raise Refusal(
            f"a volume of {by(shape)} voxels; at most {MAX_VOXELS} are read. Cut it into parts"
        )


def require_magnitude(values: Tensor) -> tuple[str, ...]:
    """Refuse what no magnitude is; make zero, in place, what resampling left around and in one.

    A program that turns or interpolates an image may write NaN where it had no data, and
    small negative values beside sharp edges: both are zero for all that counts. NaN within the
    object, and negative values as phase, difference and real images have them, are refused.

    Args:
        values: float (slice, y, x).

    Returns:
        What was made zero, for notes.

    Raises:
        Refusal: NaN or Inf in the object, negative values, one value everywhere, or values far
            too large.
    """
    notes = []
    smallest, largest = (float(value) for value in torch.aminmax(values))
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        n_bad = _blank_background(values)
        smallest, largest = (float(value) for value in torch.aminmax(values))
        notes.append(f"{n_bad} NaN or Inf around the object were made 0")
    if smallest < 0 < largest and _is_ringing(values, smallest, largest):
        n_negative = int((values < 0).sum())
        notes.append(
            f"{n_negative} small negative values, as interpolation leaves them (down to "
            f"{100 * smallest / largest:.2g} % of the highest), were made 0"
        )
        values.clamp_(min=0)
        smallest = 0.0
    if smallest < 0:
        raise Refusal(
            f"negative values (from {smallest:.4g} to {largest:.4g}); expected a magnitude. A "
            "phase or difference image cannot be taken"
        )
    if largest <= 0:
        raise Refusal("only zeros; expected a magnitude image")
    if smallest == largest and values.numel() > 1:
        raise Refusal("one value everywhere; expected a magnitude image")
    if not LEAST_TOP < largest < MOST_TOP:
        raise Refusal(
            f"values up to {largest:.4g}, whose squares single precision cannot hold; expected a "
            f"highest value between {LEAST_TOP:g} and {MOST_TOP:g}. Rescale the images"
        )
    return tuple(notes)


def _blank_background(values: Tensor) -> int:
    """Make NaN and Inf zero that hang together with the rim of a slice; how many there were."""
    bad = ~torch.isfinite(values).numpy(force=True)
    parts, n_parts = ndimage.label(bad)  # neighbours in slices above and below count, too
    outside = np.zeros(n_parts + 1, bool)
    for rim in (parts[:, 0], parts[:, -1], parts[..., 0], parts[..., -1]):
        outside[np.unique(rim)] = True
    outside[0] = True
    n_bad, n_inside = int(bad.sum()), int((~outside[parts]).sum())
    if n_inside or n_bad == bad.size:
        where = "" if n_inside in (0, n_bad) else f", {n_inside} of them within the object"
        raise Refusal(f"{n_bad} NaN or Inf of {bad.size} values{where}; expected finite numbers")
    values[torch.from_numpy(bad)] = 0
    return n_bad


def _is_ringing(values: Tensor, smallest: float, largest: float) -> bool:
    """Are negative values as few and small as splines and sinc functions make them at edges?"""
    if smallest < -MOST_RINGING_DEPTH * largest:
        return False
    share = sum(int((part < -1e-3 * largest).sum()) for part in values) / values.numel()
    negative = (float(part.clamp(max=0).double().square().sum()) for part in values)
    energy = (float(part.double().square().sum()) for part in values)
    return share < MOST_RINGING_SHARE and sum(negative) < MOST_RINGING_ENERGY * sum(energy)


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
