"""What the generator is given and what it is to learn, in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from synthlib import arrays
from synthlib.pairs.prepared import PreparedVolume
from synthlib.pairs.study import slices_of
from synthlib.records import PhasePair

SCALES = ("maximum", "percentile")
HEAD_SHARE = 0.99  # of the head's pixels that "percentile" leaves below 1


def scale_magnitude(magnitude: Tensor, scale: str = "maximum") -> Tensor:
    """Magnitude (..., y, x) to [-1, 1], slice by slice: 0 to -1, a bright pixel to 1.

    Args:
        magnitude: >= 0, any unit.
        scale: which pixel that is. "maximum", the slice's brightest, as in pix2pix: one
            vessel may leave all of the brain near -1. "percentile", the 99th of the
            head's pixels, those above arrays.dark_level; brighter ones are 1, too.

    Raises:
        ValueError: unknown scale.
    """
    if scale == "maximum":
        top = magnitude.amax((-2, -1), keepdim=True).clamp(min=1e-20)
        return 2 * magnitude / top - 1
    if scale != "percentile":
        raise ValueError(
            f"scale {scale!r} of magnitudes is unknown; expected one of {', '.join(SCALES)}. The "
            "paper's is maximum."
        )
    slices = magnitude.flatten(0, -3) if magnitude.ndim > 2 else magnitude[None]
    tops = torch.stack([_bright_level(image) for image in slices])
    top = tops.reshape(*magnitude.shape[:-2], 1, 1).clamp(min=1e-20)
    return (2 * magnitude / top - 1).clamp(max=1)


def _bright_level(magnitude: Tensor) -> Tensor:
    """The 99th percentile of the pixels of (y, x) that are not dark; 0 where none is lit."""
    lit = magnitude[magnitude > arrays.dark_level(magnitude)]
    return torch.quantile(lit, HEAD_SHARE) if len(lit) else magnitude.new_zeros(())


def phase_to_target(phase: Tensor, mode: str) -> Tensor:
    """Phase (..., y, x) to what the network learns, channels first: (..., channel, y, x).

    Args:
        phase: radians in (-pi, pi].
        mode: "scalar", phase / pi as in the paper; "vector", (cos, sin), which
            has no jump at the wrap.
    """
    if mode == "vector":
        return torch.stack([phase.cos(), phase.sin()], dim=-3)
    return (phase / torch.pi).unsqueeze(-3)


def target_to_phase(target: Tensor, mode: str) -> Tensor:
    """The way back: (..., channel, y, x) in [-1, 1] to radians (..., y, x)."""
    if mode == "vector":
        return torch.atan2(target[..., 1, :, :], target[..., 0, :, :])
    return target[..., 0, :, :] * torch.pi


class PairDataset(Dataset):
    """(scaled magnitude (1, y, x), target (channel, y, x)) of every slice, for the generator.

    Args:
        volumes: the scans.
        mode: see phase_to_target; scale: see scale_magnitude.
        alter: makes of a slice and its number the (magnitude, phase) that are learned
            from in its place, float (y, x) each; None: they are the slice's own.
    """

    def __init__(
        self,
        volumes: Sequence[PreparedVolume],
        mode: str,
        scale: str = "maximum",
        alter: Callable[[PhasePair, int], tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.slices = slices_of(volumes)
        self.mode = mode
        self.scale = scale
        self.alter = alter

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        volume, slice_index = self.slices[index]
        pair = volume.pair(slice_index)
        magnitude, phase = pair.magnitude, pair.phase
        if self.alter is not None:
            magnitude, phase = self.alter(pair, index)
        return scale_magnitude(magnitude, self.scale)[None], phase_to_target(phase, self.mode)
