"""The conditional GAN's two networks and its losses.

A faithful pix2pix: 16-layer U-Net generator (8 down, 8 up at 256 x 256) and
70 x 70 PatchGAN discriminator. Source: Isola et al., CVPR 2017; used for phase
by Deveshwar et al., Bioengineering 10:358 (2023).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthlib.phase import norms, resizing
from synthlib.phase.convolutions import Conv2d

LEAST_DEPTH = 3  # layers down: an outermost, an innermost, and one between them


class UNetGenerator(nn.Module):
    """Magnitude to phase: (batch, 1, y, x) to (batch, out_channels, y, x), both in [-1, 1].

    Any matrix goes in and the same matrix comes out: a layer whose input has an
    odd number of rows or columns repeats the last one before it halves them,
    and the layer on the way up drops it again. Sizes that divide by 2^depth are
    thus pix2pix to the letter; 320 x 320 (which does not divide by 256) keeps
    every pixel.

    Dropout on the inner layers on the way up is the latent variable z: it stays
    on at inference, and so does batch norm with the statistics of the image
    itself. Do not call eval().

    Args:
        out_channels: 1 for phase / pi, 2 for (cos, sin).
        ngf: channels of the first layer; 64 in the paper.
        depth: layers down, as many up; 8 in the paper. Below 6 there is no layer
            with dropout, as in the original, and every draw is the same.
        upsampling, downsampling: see resizing; "transposed" and "strided" in the paper.
        norm: see norms; "batch" in the paper.
    """

    def __init__(
        self,
        out_channels: int = 1,
        ngf: int = 64,
        depth: int = 8,
        *,
        upsampling: str = "transposed",
        downsampling: str = "strided",
        norm: str = "batch",
    ) -> None:
        super().__init__()
        if depth < LEAST_DEPTH:
            raise ValueError(
                f"depth {depth}; expected at least {LEAST_DEPTH} layers down. The paper has 8."
            )
        widths = [ngf * min(2**level, 8) for level in range(depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, width in enumerate(widths):
            outermost, innermost = level == 0, level == depth - 1
            above = 1 if outermost else widths[level - 1]
            down: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2)]
            down.append(resizing.downsampling_layer(downsampling, above, width))
            if not (outermost or innermost):
                down.append(norms.generator_norm(norm, width))
            self.down.append(nn.Sequential(*down))

            # the way up gets the skip connection beside what comes from below
            inner = width if innermost else 2 * width
            target = out_channels if outermost else above
            up: list[nn.Module] = [
                nn.ReLU(),
                resizing.upsampling_layer(upsampling, inner, target, bias=outermost),
            ]
            if outermost:
                up.append(nn.Tanh())
            else:
                up.append(norms.generator_norm(norm, target))
                # the paper's three 512 -> 512 layers above the innermost
                if not innermost and width == above:
                    up.append(nn.Dropout(0.5))
            self.up.append(nn.Sequential(*up))

    def forward(self, magnitude: Tensor) -> Tensor:
        self._require_size(magnitude)
        skips = []
        x = magnitude
        for layer in self.down:
            skips.append(x)
            x = layer(_make_even(x))
        x = self.up[-1](x)
        x = x[..., : skips[-1].shape[-2], : skips[-1].shape[-1]]
        for layer, here, above in zip(
            reversed(self.up[:-1]), reversed(skips[1:]), reversed(skips[:-1]), strict=True
        ):
            x = layer(torch.cat([here, x], dim=1))
            x = x[..., : above.shape[-2], : above.shape[-1]]
        return x

    def _require_size(self, magnitude: Tensor) -> None:
        ny, nx = magnitude.shape[-2:]
        depth = len(self.down)
        if max(ny, nx) <= 2 ** (depth - 1):  # batch norm would see a single pixel
            raise ValueError(
                f"image of {ny}x{nx} for a U-Net of depth {depth}; expected an edge above "
                f"{2 ** (depth - 1)}. Choose a depth of at most {(max(ny, nx) - 1).bit_length()}."
            )


def _make_even(x: Tensor) -> Tensor:
    """Repeat the last row or column where their number is odd."""
    rows, columns = x.shape[-2] % 2, x.shape[-1] % 2
    return F.pad(x, (0, columns, 0, rows), mode="replicate") if rows or columns else x


class PatchDiscriminator(nn.Module):
    """Is each 70 x 70 patch of a (magnitude, phase) pair measured? Logits, 30 x 30 at 256 x 256.

    Args:
        in_channels: 1 for the magnitude plus the channels of the phase.
        ndf: channels of the first layer; 64 in the paper.
        norm: see norms; "batch" in the paper. Of "spectral", which has no norm of what
            passes, the weights are limited after they were initialised: norms.limit_spectrum.
    """

    def __init__(self, in_channels: int = 2, ndf: int = 64, *, norm: str = "batch") -> None:
        super().__init__()
        layers: list[nn.Module] = [
            Conv2d(in_channels, ndf, bias=True),
            nn.LeakyReLU(0.2),
        ]
        for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            layers += [
                # a norm takes off what a bias would add
                Conv2d(ndf * before, ndf * after, stride, bias=norm == "spectral"),
                norms.discriminator_norm(norm, ndf * after),
                nn.LeakyReLU(0.2),
            ]
        layers.append(Conv2d(ndf * 8, 1, stride=1, bias=True))
        self.layers = nn.Sequential(*layers)

    def forward(self, magnitude: Tensor, target: Tensor) -> Tensor:
        return self.layers(torch.cat([magnitude, target], dim=1))


def initialise(network: nn.Module) -> None:
    """Convolutions normal(0, 0.02), batch norm normal(1, 0.02), biases 0, from torch's state.

    The four pixels of a sub-pixel convolution begin alike (ICNR).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, resizing.SubPixelConv2d):
            module.align_subpixels()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean of the two binary cross entropies (halved, so that D learns slower than G)."""
    return 0.5 * (_bce(real_logits, 1.0) + _bce(fake_logits, 0.0))


def adversarial_loss(fake_logits: Tensor) -> Tensor:
    """How far the discriminator is from taking the synthetic phase for measured."""
    return _bce(fake_logits, 1.0)


def l1_loss(synthetic: Tensor, target: Tensor, magnitude: Tensor, weight: str) -> Tensor:
    """Mean absolute difference of (batch, channel, y, x).

    Args:
        magnitude: (batch, 1, y, x) in [-1, 1].
        weight: "uniform", every pixel counts, as in the paper; "signal", pixels
            count as far as they have signal: phase in air is noise that nobody
            can predict, and outweighs the head.
    """
    if weight == "uniform":
        return F.l1_loss(synthetic, target)
    share = signal_weight(magnitude)
    return ((synthetic - target).abs().mean(1, keepdim=True) * share).sum() / share.sum()


def signal_weight(magnitude: Tensor) -> Tensor:
    """1 where there is signal, down to 0 in air: (batch, 1, y, x) of a magnitude in [-1, 1].

    It grows with the magnitude up to half the median of what is brighter than a
    tenth of the maximum, which is below most tissue: fat counts no more than brain.
    """
    signal = (magnitude + 1) / 2
    lit = torch.where(signal > 0.1, signal, torch.nan).flatten(1)
    half = lit.nanmedian(dim=1).values.nan_to_num(1.0)[:, None, None, None] / 2
    return (signal / half).clamp(max=1)


def _bce(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
