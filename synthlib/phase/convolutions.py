"""4 x 4 convolutions as matrix products, where that is faster on a CPU.

pix2pix's inner layers have millions of weights and few pixels: a library of
convolutions spends its time on bringing the weights into an order of its own,
once for every pass. A matrix product takes them as they lie. Layers that end in one
or two channels are too narrow for its vector registers. Everything between
stays with torch's convolutions, as does everything on a GPU; weights, names and
results (to rounding) are those of torch's layers, whose subclasses these are.
Under autocast these products stay in float32: they wait for memory, not for sums.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 4  # rows and columns of every convolution of pix2pix
MAX_POSITIONS = 80  # batch x pixels of the coarser grid; above it torch's convolution is faster
MAX_CHANNELS = 2  # of an image: magnitude, phase, cosine and sine


class Conv2d(nn.Conv2d):
    """torch's layer with a 4 x 4 kernel, padding 1: (batch, channel, y, x), stride 1 or 2."""

    def __init__(self, before: int, after: int, stride: int = 2, *, bias: bool = False) -> None:
        super().__init__(before, after, KERNEL, stride, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        stride = self.stride[0]
        ny, nx = ((n + 2 - KERNEL) // stride + 1 for n in x.shape[-2:])
        if self.out_channels == 1 and stride == 1:
            # what each pixel gives to the 16 around it, summed where it arrives
            taps = self.weight[0].flatten(1).flip(1).t()  # (16, c)
            y = F.fold(taps @ x.flatten(2), (ny, nx), KERNEL, padding=KERNEL - 2)
        elif len(x) * ny * nx <= MAX_POSITIONS:
            patches = F.unfold(x, KERNEL, padding=1, stride=stride)
            y = _rows_times(patches, self.weight.flatten(1).t()).unflatten(2, (ny, nx))
        else:
            return super().forward(x)
        return y if self.bias is None else y + self.bias[:, None, None]


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch's layer with a 4 x 4 kernel, stride 2, padding 1: twice as many rows and columns."""

    def __init__(self, before: int, after: int, *, bias: bool = False) -> None:
        super().__init__(before, after, KERNEL, 2, 1, bias=bias)

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        ny, nx = x.shape[-2:]
        few_pixels = len(x) * ny * nx <= MAX_POSITIONS
        if x.device.type != "cpu" or not (few_pixels or self.out_channels <= MAX_CHANNELS):
            return super().forward(x, output_size)
        weight = self.weight.flatten(1)  # (c, 16 c')
        x = x.flatten(2)
        patches = _rows_times(x, weight) if few_pixels else weight.t() @ x  # (b, 16 c', yx)
        y = F.fold(patches, (2 * ny, 2 * nx), KERNEL, padding=1, stride=2)
        return y if self.bias is None else y + self.bias[:, None, None]


def _rows_times(columns: Tensor, weight: Tensor) -> Tensor:
    """weight.T @ columns, (b, i, pixel) and (i, k) to (b, k, pixel), for few pixels."""
    rows = _Product.apply(columns.transpose(1, 2).contiguous(), weight)
    # contiguous, because torch 2.13's batch norm gives wrong gradients for a transposed batch of 1
    return rows.transpose(1, 2).contiguous()


class _Product(torch.autograd.Function):
    """Rows times weights, (b, row, i) x (i, k): gradients are gathered in rows, too.

    MKL is up to ten times slower where a matrix of few columns lies column by
    column, as torch would hand it the gradient that comes out of F.fold.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return rows @ weight

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_rows = gradient @ weight.t() if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return of_rows, None
        rows, gradient = rows.flatten(0, 1), gradient.flatten(0, 1)
        if weight.stride(0) == 1:  # a transposed view: its gradient is laid out as the weight is
            return of_rows, (gradient.t() @ rows).t()
        return of_rows, rows.t() @ gradient
