"""Halving and doubling of a U-Net's grid, as pix2pix does it and without the marks that leaves.

A transposed convolution of stride 2 reaches odd and even pixels with different
weights, so that a period of two pixels can stay in what it writes. Here stand what
others put in its place, each of them a layer (batch, channel, y, x) that takes
twice as many rows and columns, and a layer that halves them without aliasing.

Sources: transposed convolutions, Isola et al., CVPR 2017; resizing before a
convolution, Odena et al., Distill 2016; sub-pixel convolutions, Shi et al., CVPR 2016,
with the initial weights of Aitken et al., arXiv 1707.02937; blur before subsampling,
Zhang, ICML 2019.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthlib.phase.convolutions import Conv2d, ConvTranspose2d

UPSAMPLING = ("transposed", "nearest", "bilinear", "subpixel")
DOWNSAMPLING = ("strided", "blur")


def upsampling_layer(kind: str, before: int, after: int, *, bias: bool) -> nn.Module:
    """A layer that doubles rows and columns.

    Args:
        kind: "transposed", pix2pix's 4 x 4 convolution of stride 2; "nearest" or
            "bilinear", enlarged so and then convolved 3 x 3; "subpixel", convolved
            3 x 3 to four times the channels, which become 2 x 2 pixels.
        before, after: channels.
        bias: whether the convolution has one.

    Raises:
        ValueError: unknown kind.
    """
    if kind == "transposed":
        return ConvTranspose2d(before, after, bias=bias)
    if kind == "subpixel":
        return SubPixelConv2d(before, after, bias=bias)
    if kind not in UPSAMPLING:
        raise ValueError(
            f"upsampling {kind!r} is unknown; expected one of {', '.join(UPSAMPLING)}. The paper's "
            "is transposed."
        )
    return ResizedConv2d(before, after, kind, bias=bias)


def downsampling_layer(kind: str, before: int, after: int) -> nn.Module:
    """A layer that halves rows and columns, both even.

    Args:
        kind: "strided", pix2pix's 4 x 4 convolution of stride 2; "blur", the same
            after a binomial filter.
        before, after: channels.

    Raises:
        ValueError: unknown kind.
    """
    if kind == "strided":
        return Conv2d(before, after)
    if kind == "blur":
        return BlurredConv2d(before, after)
    raise ValueError(
        f"downsampling {kind!r} is unknown; expected one of {', '.join(DOWNSAMPLING)}. The paper's "
        "is strided."
    )


class ResizedConv2d(nn.Conv2d):
    """Enlarged twice by "nearest" or "bilinear", then convolved 3 x 3 with zeros around."""

    def __init__(self, before: int, after: int, how: str, *, bias: bool) -> None:
        super().__init__(before, after, 3, padding=1, bias=bias)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "nearest":
            larger = F.interpolate(x, scale_factor=2, mode="nearest")
        else:
            larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return super().forward(larger)  # (b, after, 2 y, 2 x)


class SubPixelConv2d(nn.Conv2d):
    """Convolved 3 x 3 to 4 x `after` channels, of which every four become 2 x 2 pixels."""

    def __init__(self, before: int, after: int, *, bias: bool) -> None:
        super().__init__(before, 4 * after, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(x), 2)  # (b, after, 2 y, 2 x)

    @torch.no_grad()
    def align_subpixels(self) -> None:
        """Give the four pixels of a square the weights of the first: ICNR.

        The layer then begins as a convolution enlarged by "nearest", without a period
        that training would have to remove.
        """
        self.weight.copy_(self.weight[::4].repeat_interleave(4, dim=0))
        if self.bias is not None:
            self.bias.copy_(self.bias[::4].repeat_interleave(4))


class BlurredConv2d(Conv2d):
    """pix2pix's convolution of stride 2 after a binomial filter: rows and columns even.

    Zhang puts the filter between convolution and subsampling. Nothing that is not
    linear stands between them here, so that both orders are the same but for the
    border, and this one takes a quarter of the work. Weights are those of the
    convolution alone.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(binomial_blur(x))


def binomial_blur(x: Tensor) -> Tensor:
    """(1, 2, 1) / 4 along both axes of (batch, channel, y, x), each at least 2.

    What alternates from pixel to pixel is gone, also at the border, which is
    mirrored at its outermost pixel; what is constant stays.
    """
    x = F.pad(x, (1, 1, 1, 1), mode="reflect")
    x = (x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]) / 4
    return (x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]) / 4
