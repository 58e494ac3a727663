"""What the generator is given and what it is to learn, in [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from synthlib.pairs.prepared import PreparedVolume
from synthlib.pairs.study import slices_of


def scale_magnitude(magnitude: Tensor) -> Tensor:
    """Magnitude (..., y, x) to [-1, 1], slice by slice: 0 to -1, the slice's maximum to 1."""
    top = magnitude.amax((-2, -1), keepdim=True).clamp(min=1e-20)
    return 2 * magnitude / top - 1


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
    """(scaled magnitude (1, y, x), target (channel, y, x)) of every slice, for the generator."""

    def __init__(self, volumes: Sequence[PreparedVolume], mode: str) -> None:
        self.slices = slices_of(volumes)
        self.mode = mode

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        volume, slice_index = self.slices[index]
        pair = volume.pair(slice_index)
        return scale_magnitude(pair.magnitude)[None], phase_to_target(pair.phase, self.mode)
