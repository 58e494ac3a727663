"""Loss in k-space: does the phase, with its magnitude, give the k-space that was measured?"""

from __future__ import annotations

import torch
from torch import Tensor

from synthlib import arrays

SHORTEST = 1e-3  # of a vector (cos, sin) that is brought to length one: gradients stay finite


def kspace_loss(synthetic: Tensor, target: Tensor, magnitude: Tensor, mode: str) -> Tensor:
    """Mean |difference| of two images' k-space, which differ in their phase alone.

    L = mean |F(m exp(i synthetic)) - F(m exp(i target))|, with F the centred,
    orthonormal 2-D FFT. As phases enter through exp(i phase), a step of 2 pi costs
    nothing, and air counts as far as it has signal.

    Args:
        synthetic, target: (batch, channel, y, x) in [-1, 1], as pairs.phase_to_target
            makes them.
        magnitude: (batch, 1, y, x) in [-1, 1].
        mode: "scalar" or "vector".

    Returns:
        a number, in units of the scaled magnitude, which is 0 to 1 here.

    Source: the future work of Deveshwar et al., Bioengineering 10:358 (2023), a loss
    that keeps k-space consistent; the form is ours.
    """
    # there is no FFT of half precision
    dtype = torch.promote_types(synthetic.dtype, torch.float32)
    signal = (magnitude[:, 0].to(dtype) + 1) / 2
    difference = unit_phasor(synthetic.to(dtype), mode) - unit_phasor(target.to(dtype), mode)
    return arrays.fft2c(signal * difference).abs().mean()


def unit_phasor(target: Tensor, mode: str) -> Tensor:
    """exp(i phase), complex (batch, y, x), of what a network writes (batch, channel, y, x)."""
    if mode == "vector":
        phasor = torch.complex(target[:, 0], target[:, 1])
        return phasor / phasor.abs().clamp(min=SHORTEST)
    angle = target[:, 0] * torch.pi
    return torch.complex(angle.cos(), angle.sin())
