"""An unrolled network with given maps: sparse SENSE, then residual U-Nets and data consistency.

Source: Aggarwal et al. (MoDL), IEEE TMI 38:394 (2019). The U-Net works on half
the resolution in both axes, four pixels as channels (pixel shuffle, Shi et al.,
CVPR 2016), where most of the cost of a plain U-Net lies, with a thin refinement
at full resolution. Started from CG-SENSE, two such steps stay 1.5 dB behind
l1-wavelet at R = 4, which repeats its prior 50 times; started from there, one step
is enough to pass it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthlib.recon.sense import N_ITERATIONS, SenseRows
from synthlib.recon.sparse import sparse_sense

STEP_WEIGHT = 0.03  # of the U-Net's image against the data at REFERENCE_NOISE, before training
REFERENCE_NOISE = 0.006  # relative noise power of a head of SNR 30
START_EXPONENT = 1.5  # weights follow the noise by this power, before training; above 1, since
# samples far from the centre hold some signal, too, the more so the less noise there is
SCALAR_RATE = 10.0  # the few weights and exponents learn so much faster than the U-Nets
SLOPE = 0.2  # of leaky ReLU
COARSEST = 8  # rows and columns are padded to a multiple of it


class ResidualUNet(nn.Module):
    """What is to be added to a complex image: (..., 2, y, x) real and imaginary part in and out."""

    def __init__(self, channels: int, fine_channels: int) -> None:
        super().__init__()
        self.down1 = _block(8, channels)
        self.down2 = _block(channels, 2 * channels)
        self.bottom = _block(2 * channels, 2 * channels)
        self.up2 = _block(4 * channels, channels)
        self.up1 = _block(2 * channels, channels)
        self.shuffled = nn.Conv2d(channels, 8, 3, padding=1)
        self.fine = nn.Sequential(
            nn.Conv2d(4, fine_channels, 3, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(fine_channels, 2, 3, padding=1),
        )
        for name, value in self.named_parameters():  # training starts without any change
            if name.startswith(("shuffled.", "fine.2.")):
                nn.init.zeros_(value)

    def forward(self, image: Tensor) -> Tensor:
        ny, nx = image.shape[-2:]
        padded = functional.pad(image, (0, -nx % COARSEST, 0, -ny % COARSEST), mode="replicate")
        half = functional.pixel_unshuffle(padded, 2)  # (b, 8, y / 2, x / 2)
        first = self.down1(half)
        second = self.down2(functional.avg_pool2d(first, 2))
        bottom = self.bottom(functional.avg_pool2d(second, 2))
        up = self.up2(torch.cat([second, _twice(bottom)], 1))
        up = self.up1(torch.cat([first, _twice(up)], 1))
        coarse = functional.pixel_shuffle(self.shuffled(up), 2)
        change = coarse + self.fine(torch.cat([padded, coarse], 1))
        return change[..., :ny, :nx]


def _block(n_in: int, n_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in (n_in, n_out):
        layers += [
            nn.Conv2d(n, n_out, 3, padding=1, bias=False),
            nn.InstanceNorm2d(n_out),
            nn.LeakyReLU(SLOPE, inplace=True),
        ]
    return nn.Sequential(*layers)


def _twice(image: Tensor) -> Tensor:
    return functional.interpolate(image, scale_factor=2.0)


class UnrolledSense(nn.Module):
    """Sparse SENSE; then, unroll after unroll, z = x + U-Net(x), x = argmin |Ax - k|^2 + w |x - z|^2.

    Knows nothing of the number of coils or of the matrix: one network serves all.
    """

    def __init__(
        self, unrolls: int, channels: int, fine_channels: int, n_iterations: int = N_ITERATIONS
    ) -> None:
        super().__init__()
        self.denoisers = nn.ModuleList(
            ResidualUNet(channels, fine_channels) for _ in range(unrolls)
        )
        self.log_weights = nn.Parameter(torch.full((unrolls,), math.log(STEP_WEIGHT)))
        self.exponents = nn.Parameter(torch.full((unrolls,), START_EXPONENT))
        self.n_iterations = n_iterations

    def forward(
        self,
        kspace: Tensor,
        columns: Tensor,
        maps: Tensor,
        n_center: int = 0,
        start: Tensor | None = None,
    ) -> Tensor:
        """Reconstruct slices.

        Args:
            kspace: complex (b, coil, ky, kx), zero where nothing was measured.
            columns: bool (b, kx).
            maps: complex (b, coil, y, x), unit root sum of squares.
            n_center: not needed here; networks that estimate maps need it.
            start: complex (b, y, x), what :func:`start_of` gives; None: it is computed.

        Returns:
            float (b, y, x), magnitude.
        """
        rows = SenseRows(kspace, columns, maps)
        image = sparse_sense(rows) if start is None else rows.roll(start)
        # instance norm sees any scale, but the change that is added needs the image's own
        scale = image.abs().mean((-2, -1), keepdim=True).clamp(min=1e-20) * 4
        weights = self._weights(rows.noise())
        for denoise, weight in zip(self.denoisers, weights, strict=True):
            centred = rows.unroll(image) / scale
            parts = torch.view_as_real(centred).permute(0, 3, 1, 2)
            change = denoise(parts.contiguous(memory_format=torch.channels_last)).float()
            change = torch.view_as_complex(change.permute(0, 2, 3, 1).contiguous())
            prior = rows.roll(centred + change) * scale
            image = rows.solve(prior, weight, self.n_iterations)
        return rows.unroll(image).abs()

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """For an optimiser; "rate" scales the learning rate of a group."""
        scalars = [self.log_weights, self.exponents]
        return [
            {"params": list(self.denoisers.parameters()), "lr": learning_rate, "rate": 1.0},
            {"params": scalars, "lr": learning_rate, "rate": SCALAR_RATE},
        ]

    def _weights(self, noise: Tensor) -> Tensor:
        """(unroll, b, 1, 1): how far data are trusted depends on their noise."""
        relative = (noise / REFERENCE_NOISE).log()
        shape = (-1, *[1] * noise.ndim)
        return (self.log_weights.view(shape) + self.exponents.view(shape) * relative).exp()


def start_of(kspace: Tensor, columns: Tensor, maps: Tensor) -> Tensor:
    """What the network starts from, complex (..., y, x): no training changes it."""
    rows = SenseRows(kspace, columns, maps)
    return rows.unroll(sparse_sense(rows))
