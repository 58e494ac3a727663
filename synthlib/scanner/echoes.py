"""Echo trains and imperfect refocusing: what differs between the echoes of one excitation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synthlib.scanner.contrast import Shading
from synthlib.scanner.sequences import Protocol

T2_CLASSES_MS = (30.0, 85.0, 1000.0)  # muscle and dura; brain, blood, fat; fluid
# B1 of a head at 3 T falls to 70 or 80 % of its middle at the rim of the brain (Collins et al.,
# JMRI 21:192, 2005), which is twice the fall of the shading that contrast.draw_shading draws.
B1_BY_SHADING = 2.0
# Of what a pulse does not refocus, how much is left by crushers, which turn it by several turns
# across the slice: a tenth, at its uneven edges, is chosen; more would paint fringes around air.
UNCRUSHED = 0.1
LEAST_REFOCUSED = 0.5  # share by which what is left is counted


def echo_numbers(n_lines: int, protocol: Protocol) -> Tensor:
    """Which echo (1 to train) measures each column of kx: (n_lines,), bands in rising order.

    Bands are as wide as can be, so that an image takes no more shots than it must. The echo
    nearest TE measures the centre; bands that lie before the first echo are the last echoes',
    bands behind the last echo the first echoes'.
    """
    middles = 2 * torch.arange(n_lines) + 1
    band = (middles * protocol.train).div(2 * n_lines, rounding_mode="floor")
    central = round(protocol.te_ms / protocol.spacing_ms)
    return (band - band[n_lines // 2] + central - 1) % protocol.train + 1


def line_times_ms(n_lines: int, protocol: Protocol, thickness_mm: float) -> Tensor:
    """When each column of kx is measured, from the first excitation on: (n_lines,).

    Single echoes measure a column each TR, of a slab in 3-D one after all its partitions; a
    train after an inversion holds the partitions of one column. In a spin-echo train every
    excitation measures one line of each echo's band (:func:`echo_numbers`), so that
    neighbouring lines are a TR apart.

    Args:
        thickness_mm: of a slice, or of a slab's partition.
    """
    if not protocol.is_spin_echo or protocol.train == 1:
        inner = round(protocol.slab_mm / thickness_mm) if protocol.slab_mm else 1
        if protocol.ti_ms is not None and not protocol.is_spin_echo:
            inner = 1
        return torch.arange(n_lines) * (protocol.tr_ms * max(1, inner))
    number = echo_numbers(n_lines, protocol)
    shot = torch.zeros(n_lines)
    for echo in number.unique():
        band = number == echo
        shot[band] = torch.arange(int(band.sum()), dtype=shot.dtype)
    return shot * protocol.tr_ms + number * protocol.spacing_ms


def decay(n_lines: int, protocol: Protocol, t2_ms: float) -> Tensor:
    """Signal of each column of kx by that at TE: exp(-(t - TE) / T2), t its echo's time (n_lines,).

    Source: Mulkern et al., Magn Reson Imaging 8:557 (1990).
    """
    late_ms = echo_numbers(n_lines, protocol) * protocol.spacing_ms - protocol.te_ms
    return torch.exp(-late_ms / t2_ms)


def through_train(
    images: Tensor, t2_ms: tuple[float, ...], protocol: Protocol, difference: Tensor | None
) -> Tensor:
    """Images whose columns of kx come from different echoes: complex (..., y, x), summed over T2.

    Args:
        images: complex (t2, ..., y, x); t2_ms: of each, inf where nothing decays.
        difference: (..., y, x) rad that echoes of the other parity than the central one have
            in addition; None where all are alike.
    """
    n = images.shape[-1]
    weights = torch.stack([decay(n, protocol, t2) for t2 in t2_ms]).to(images.device)
    weights = weights.reshape(len(t2_ms), *[1] * (images.dim() - 2), n)
    spectrum = lines(images) * weights
    if difference is not None:
        number = echo_numbers(n, protocol).to(images.device)
        other = (number - number[n // 2]) % 2 == 1
        turned = images * torch.polar(torch.ones_like(difference), difference)
        spectrum = torch.where(other, lines(turned) * weights, spectrum)
    return from_lines(spectrum.sum(0))


def lines(image: Tensor) -> Tensor:
    """Centred orthonormal FFT of the last axis: (..., x) to (..., kx)."""
    shifted = torch.fft.ifftshift(image, dim=-1)
    return torch.fft.fftshift(torch.fft.fft(shifted, norm="ortho"), dim=-1)


def from_lines(spectrum: Tensor) -> Tensor:
    """The inverse of :func:`lines`."""
    shifted = torch.fft.ifftshift(spectrum, dim=-1)
    return torch.fft.fftshift(torch.fft.ifft(shifted, norm="ortho"), dim=-1)


def weighted_lines(image: Tensor, weights: Tensor) -> Tensor:
    """Images (..., x) whose columns of kx are multiplied with weights (x,), centred."""
    # shifts of the image before and after cancel: only the weights have to be shifted
    return torch.fft.ifft(torch.fft.fft(image) * torch.fft.ifftshift(weights))


def unrefocused_share(shading: Shading, points_mm: Tensor) -> Tensor:
    """Which share (...) of the signal a refocusing pulse passes by, at positions (..., 3).

    cos^2(b / 2), b = 180 degrees times B1 by that at the isocentre, where it is calibrated.

    Source: Hennig, J Magn Reson 78:397 (1988).
    """
    middle = shading.at(torch.zeros(1, 3, device=points_mm.device))
    relative = 1 + B1_BY_SHADING * (shading.at(points_mm) - middle)
    return torch.cos(math.pi / 2 * relative).square()


def refocusing(share: Tensor, field_hz: Tensor, protocol: Protocol) -> Tensor:
    """Complex factor (...) of a spin echo of which a share s was not refocused, by the rest's.

    What is not refocused goes on turning by the field: during TE of a single echo, from one
    echo to the next in a train. Crushers leave c of it: 1 + c s / (1 - s) e^(i w t). That the
    echo itself is weaker is in contrast.Shading, which holds for the whole sequence, but falls
    no further where more than half is not refocused (at the chin): there 1 - s counts as half.

    Args:
        share: (...), 0 to 1; field_hz: (...).
    """
    left = UNCRUSHED * share / (1 - share).clamp(min=LEAST_REFOCUSED)
    angle = 2 * math.pi * field_hz * protocol.interval_ms / 1000
    return torch.complex(1 + left * torch.cos(angle), left * torch.sin(angle))
