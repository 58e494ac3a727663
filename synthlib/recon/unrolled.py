"""An unrolled network with given maps: sparse SENSE, then residual U-Nets and data consistency.

Source: Aggarwal et al. (MoDL), IEEE TMI 38:394 (2019). The U-Net works on half
the resolution in both axes, four pixels as channels (pixel shuffle, Shi et al.,
CVPR 2016), where most of the cost of a plain U-Net lies, with a thin refinement
at full resolution. Started from CG-SENSE, two such steps stay 1.5 dB behind
l1-wavelet at R = 4, which repeats its prior 50 times; started from there, one step
is enough to pass it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthlib.recon.sense import N_ITERATIONS, SenseRows
from synthlib.recon.sparse import linear_sense, sparse_sense

# Weight of the U-Net's image against the data, over the relative noise power. It is not learned:
# noise-free synthetic k-space teaches it to trust any data (it falls 400 times within 600 steps,
# and such networks lose 6 to 8 dB on measured scans of 4 and 8 coils).
WEIGHT_OF_NOISE = 16.0
SLOPE = 0.2  # of leaky ReLU
COARSEST = 8  # rows and columns are padded to a multiple of it


class ResidualUNet(nn.Module):
    """What is to be added to a complex image.

    Has neither biases nor norms: c times the input gives c times the output, so that
    what was learned on noisy scans holds for quiet ones, where there is less to mend
    (Mohan et al., ICLR 2020).

    In: (b, 4, y, x), real and imaginary parts of the image and of what the linear
    reconstruction has beyond it. Out: (b, 2, y, x).
    """

    def __init__(self, channels: int, fine_channels: int) -> None:
        super().__init__()
        self.down1 = _block(16, channels)
        self.down2 = _block(channels, 2 * channels)
        self.bottom = _block(2 * channels, 2 * channels)
        self.up2 = _block(4 * channels, channels)
        self.up1 = _block(2 * channels, channels)
        self.shuffled = _convolution(channels, 8)
        self.fine = nn.Sequential(
            _convolution(6, fine_channels),
            nn.LeakyReLU(SLOPE, inplace=True),
            _convolution(fine_channels, 2),
        )
        for name, value in self.named_parameters():  # training starts without any change
            if name.startswith(("shuffled.", "fine.2.")):
                nn.init.zeros_(value)

    def forward(self, image: Tensor) -> Tensor:
        ny, nx = image.shape[-2:]
        padded = functional.pad(image, (0, -nx % COARSEST, 0, -ny % COARSEST), mode="replicate")
        half = functional.pixel_unshuffle(padded, 2)  # (b, 16, y / 2, x / 2)
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
        layers += [_convolution(n, n_out), nn.LeakyReLU(SLOPE, inplace=True)]
    return nn.Sequential(*layers)


def _convolution(n_in: int, n_out: int) -> nn.Conv2d:
    layer = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, SLOPE)  # keeps the variance from layer to layer
    return layer


def _twice(image: Tensor) -> Tensor:
    return functional.interpolate(image, scale_factor=2.0)


class UnrolledSense(nn.Module):
    """Sparse SENSE; then, unroll by unroll, z = x + U-Net(x), x = argmin |A x - k|^2 + w |x - z|^2.

    Knows nothing of the number of coils or of the matrix: one network serves all.
    """

    def __init__(
        self, unrolls: int, channels: int, fine_channels: int, n_iterations: int = N_ITERATIONS
    ) -> None:
        super().__init__()
        self.denoisers = nn.ModuleList(
            ResidualUNet(channels, fine_channels) for _ in range(unrolls)
        )
        self.n_iterations = n_iterations

    def forward(
        self,
        kspace: Tensor,
        columns: Tensor,
        maps: Tensor,
        n_center: int = 0,
        start: Tensor | None = None,
        level: Tensor | None = None,
    ) -> Tensor:
        """Reconstruct slices.

        Args:
            kspace: complex (b, coil, ky, kx), zero where nothing was measured.
            columns: bool (b, kx).
            maps: complex (b, coil, y, x), unit root sum of squares.
            n_center: not needed here; networks that estimate maps need it.
            start: complex (b, 2, y, x), what :func:`start_of` gives; None: it is computed.
            level: float (b, 2), as SenseRows takes it.

        Returns:
            float (b, y, x), magnitude.
        """
        rows = SenseRows(kspace, columns, maps, level)
        if start is None:
            linear = linear_sense(rows)
            image = sparse_sense(rows, first=linear)
        else:
            image, linear = rows.roll(start).unbind(-3)
        weight = WEIGHT_OF_NOISE * rows.noise()  # the more noise, the less the data are trusted
        for denoise in self.denoisers:
            shown = rows.unroll(torch.stack((image, linear - image), -3))  # (b, 2, y, x)
            parts = torch.view_as_real(shown).permute(0, 1, 4, 2, 3).flatten(1, 2)
            change = denoise(parts.contiguous(memory_format=torch.channels_last)).float()
            change = torch.view_as_complex(change.permute(0, 2, 3, 1).contiguous())
            image = rows.solve(image + rows.roll(change), weight, self.n_iterations)
        return rows.unroll(image).abs()


def start_of(kspace: Tensor, columns: Tensor, maps: Tensor) -> Tensor:
    """The sparse and the linear image that the network starts from: complex (..., 2, y, x).

    No training changes them.
    """
    rows = SenseRows(kspace, columns, maps)
    linear = linear_sense(rows)
    return rows.unroll(torch.stack((sparse_sense(rows, first=linear), linear), -3))
