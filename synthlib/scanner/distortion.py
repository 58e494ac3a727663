"""Where a readout puts what is off resonance."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 4  # of the fixed-point iteration for the place that a sample comes from
STRETCHED = 4.0  # at most so many times brighter or wider: beyond, the image folds onto itself


def displace(images: Tensor, samples: Tensor) -> Tensor:
    """Images (..., y, x) whose every sample moves along y by `samples` (y, x), towards higher y.

    What is at y appears at y + s(y): the image at y' is that at y = y' - s(y), times
    dy/dy', so that a column's sum stays. Interpolated by cubic convolution; right for
    displacements that vary smoothly, as fields do.

    Source: Chang & Fitzpatrick, IEEE TMI 11:319 (1992); kernel: Keys, IEEE TASSP 29:1153 (1981).
    """
    back = -samples
    for _ in range(ROUNDS):
        back = -_read(samples, back, _linear)
    stretch = 1 + torch.gradient(back, dim=0)[0]
    return _read(images, back, _cubic) * stretch.clamp(0, STRETCHED)


def _read(values: Tensor, away: Tensor, kernel: object) -> Tensor:
    """Values (..., y, x) read `away` (y, x) samples further down each column."""
    n = values.shape[-2]
    whole = away.floor()
    # relative to each sample, so that the same field reads the same numbers in any frame
    first = torch.arange(n, device=away.device)[:, None] + whole.long()
    result = torch.zeros_like(values)
    for offset, weight in kernel(away - whole):  # type: ignore[operator]
        index = (first + offset).clamp(0, n - 1).expand(values.shape)
        result += torch.gather(values, -2, index) * weight
    return result


def _linear(share: Tensor) -> list[tuple[int, Tensor]]:
    return [(0, 1 - share), (1, share)]


def _cubic(share: Tensor) -> list[tuple[int, Tensor]]:
    """Weights of four neighbours, a = -1/2: exact for parabolas."""
    rest = 1 - share
    return [
        (-1, -0.5 * share * rest * rest),
        (0, rest * (1 + share - 1.5 * share * share)),
        (1, share * (1 + rest - 1.5 * rest * rest)),
        (2, -0.5 * rest * share * share),
    ]
