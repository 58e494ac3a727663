"""fastMRI's end-to-end VarNet, the same function of the same weights in less time and memory.

The mask thins columns of kx, so that ky is transformed once, before the first
cascade. After it a cascade of the original changes multi-coil k-space h by

    h <- h - w M (h - ref) - F S u,     u = UNet(S^H F^H h)

with F the transform along x, M the mask, S the maps, w the learned weight. Two
images of one coil hold all of h, because it starts as ref = M ref:

    h = ref - M F S v - (1 - M) F S q,  q <- q + u,  v <- (1 - w) v + u

and S^H S = 1 makes the U-Net's input z - q - N(v - q) with z = S^H F^H ref and
N = S^H F^H M F S. So no multi-coil array lives from cascade to cascade. The
U-Nets' 8 and 18 channels are narrower than what convolutions of channel blocks
are made for: channels last is two to five times faster.

Source: Sriram et al., MICCAI 2020; fastmri.models.VarNet (fastmri 0.3.0).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from fastmri.models import VarNet
from fastmri.models.unet import Unet
from fastmri.models.varnet import NormUnet
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

SLOPE = 0.2  # of fastMRI's LeakyReLU
EPSILON = 1e-5  # of its instance norm
MAX_TILES = 64  # pixels side by side in one row of a sum


class EndToEndVarNet(VarNet):
    """fastmri.models.VarNet with its arguments, its weights and its images.

    Attributes:
        checkpointing: keep no activations of the U-Nets for the backward pass,
            compute them again: a quarter of the memory for a quarter more time.
    """

    def __init__(self, *args: Any, checkpointing: bool = False, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.checkpointing = checkpointing

    def forward(self, kspace: Tensor, columns: Tensor, n_center: int) -> Tensor:
        """Reconstruct one slice.

        Args:
            kspace: complex (coil, ky, kx), centred, zero outside the measured columns.
            columns: bool (kx,), the measured ones.
            n_center: how many columns around the centre are all measured; the
                coil maps are learned from them.

        Returns:
            Real (y, x): root sum of squares of the coil images, units of kspace
            under an orthonormal transform.

        Raises:
            ValueError: shapes do not fit, or there is no column in the centre.
        """
        _require_fit(kspace, columns, n_center)
        hybrid = _centred(torch.fft.ifft, kspace, -2)  # (coil, y, kx)
        maps = self._maps(hybrid, n_center).roll(-(maps_shift := kspace.shape[-1] // 2), -1)
        # From here on x and kx start at their zero, as torch's FFT wants it.
        mask = torch.fft.ifftshift(columns).to(kspace.real.dtype)
        measured = torch.fft.ifft(torch.fft.ifftshift(hybrid, dim=-1) * mask, norm="ortho")

        start = (maps.conj() * measured).sum(0)  # (y, x)
        q = v = torch.zeros_like(start)
        for number, cascade in enumerate(self.cascades):
            seen = start if number == 0 else start - q - _Normal.apply(v - q, maps, mask)
            update = self._run(cascade.model, seen.roll(maps_shift, -1)[None])[0]
            update = update.roll(-maps_shift, -1)
            q, v = q + update, (1 - cascade.dc_weight) * v + update
        coil_images = measured - _through_mask(maps * (v - q), mask) - maps * q
        return coil_images.abs().square().sum(0).sqrt().roll(maps_shift, -1)

    def _maps(self, hybrid: Tensor, n_center: int) -> Tensor:
        """Coil maps of unit root sum of squares, complex (coil, y, x), from (coil, y, kx)."""
        if self.sens_net.mask_center:
            begin = (hybrid.shape[-1] - n_center + 1) // 2
            centre = torch.zeros_like(hybrid)
            centre[..., begin : begin + n_center] = hybrid[..., begin : begin + n_center]
            hybrid = centre
        images = _centred(torch.fft.ifft, hybrid, -1)
        # On a CPU coil by coil: the activations of one stay in the cache.
        at_once = len(images) if images.is_cuda else 1
        network = self.sens_net.norm_unet
        maps = torch.cat([self._run(network, coils) for coils in images.split(at_once)])
        return maps / maps.abs().square().sum(0).sqrt()

    def _run(self, network: NormUnet, images: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(_norm_unet, network, images, use_reentrant=False)
        return _norm_unet(network, images)


def _require_fit(kspace: Tensor, columns: Tensor, n_center: int) -> None:
    if kspace.ndim != 3 or not kspace.is_complex() or columns.shape != kspace.shape[-1:]:
        raise ValueError(
            f"k-space {kspace.dtype} {tuple(kspace.shape)} with a mask of {tuple(columns.shape)}; "
            "expected complex (coil, ky, kx) and (kx,). Pass one slice and its mask's columns."
        )
    if not 1 <= n_center <= kspace.shape[-1]:
        raise ValueError(
            f"{n_center} centre columns of {kspace.shape[-1]}; expected at least 1: coil maps are "
            "learned from them. Raise the mask's centre fraction."
        )


def _centred(transform: Any, array: Tensor, axis: int) -> Tensor:
    """An orthonormal transform of one axis whose zero lies in its middle."""
    shifted = torch.fft.ifftshift(array, dim=axis)
    return torch.fft.fftshift(transform(shifted, dim=axis, norm="ortho"), dim=axis)


def _through_mask(coil_images: Tensor, mask: Tensor) -> Tensor:
    """F^H M F along x."""
    spectrum = torch.fft.fft(coil_images, norm="ortho")
    return torch.fft.ifft(spectrum * mask, norm="ortho")


class _Normal(torch.autograd.Function):
    """N d = S^H F^H M F S d, (y, x) to (y, x), by maps (coil, y, x) and a mask (x,).

    N is Hermitian, so that d's gradient is N of the gradient; autograd would keep
    four multi-coil arrays where this keeps one.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, maps: Tensor, mask: Tensor) -> Tensor:
        blurred = _through_mask(maps * image, mask)  # (coil, y, x)
        ctx.save_for_backward(image, maps, mask, blurred)
        return (maps.conj() * blurred).sum(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        image, maps, mask, blurred = ctx.saved_tensors
        of_coils = _through_mask(maps * gradient, mask)
        of_image = (maps.conj() * of_coils).sum(0)
        of_maps = (gradient.conj() * blurred).addcmul_(image.conj(), of_coils)
        return of_image, of_maps, None


# --- U-Nets in channels last ----------------------------------------------------------


def _norm_unet(network: NormUnet, images: Tensor) -> Tensor:
    """fastMRI's NormUnet of single-coil images: complex (n, y, x) to the same."""
    x = torch.view_as_real(images).permute(0, 3, 1, 2)  # (n, 2, y, x), channels last as it lies
    std, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
    x, pads = network.pad((x - mean) / std)
    x = _unet(network.unet, x.contiguous(memory_format=torch.channels_last))
    x = network.unpad(x, *pads).to(images.real.dtype) * std + mean
    return torch.view_as_complex(x.permute(0, 2, 3, 1).contiguous())


def _unet(unet: Unet, x: Tensor) -> Tensor:
    skips = []
    for layer in unet.down_sample_layers:
        x = _block(layer.layers, x)
        skips.append(x)
        x = F.avg_pool2d(x, 2)
    x = _block(unet.conv.layers, x)
    for up, convolutions in zip(unet.up_transpose_conv, unet.up_conv, strict=True):
        x = _block(up.layers, x)
        skip = skips.pop()
        rows, cols = skip.shape[-2] - x.shape[-2], skip.shape[-1] - x.shape[-1]
        if rows or cols:  # more pools than the padding to 16 was made for
            x = F.pad(x, (0, cols, 0, rows), "reflect")
        x = torch.cat([x, skip], dim=1)
        for layer in convolutions if isinstance(convolutions, nn.Sequential) else [convolutions]:
            x = layer(x) if isinstance(layer, nn.Conv2d) else _block(layer.layers, x)
    return x


def _block(layers: Any, x: Tensor) -> Tensor:
    """Convolutions, each followed by instance norm and LeakyReLU (fastMRI's dropout is 0)."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            x = _NormLeaky.apply(layer(x))
    return x


class _NormLeaky(torch.autograd.Function):
    """Instance norm and LeakyReLU of (n, channel, y, x) that lies channels last.

    Pixels times channels is a matrix: its sums are matrix products, and some
    pixels side by side make rows long enough for vector registers.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        n, channels, ny, nx = x.shape
        rows = x.permute(0, 2, 3, 1).contiguous()
        ctx.tiles = tiles = math.gcd(ny * nx, MAX_TILES)
        rows = rows.view(n, -1, tiles * channels)
        rows = rows - _mean(rows, tiles)
        scale = (_mean(rows.square(), tiles) + EPSILON).rsqrt()
        rows *= scale
        ctx.save_for_backward(rows, scale)
        return F.leaky_relu(rows, SLOPE).view(n, ny, nx, channels).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        rows, scale = ctx.saved_tensors
        n, channels, ny, nx = gradient.shape
        given = gradient.permute(0, 2, 3, 1).contiguous().view_as(rows)
        given = torch.ops.aten.leaky_relu_backward(given, rows, SLOPE, False)
        along = _mean(given * rows, ctx.tiles)
        given -= _mean(given, ctx.tiles)
        given.addcmul_(rows, along, value=-1)
        given *= scale
        return given.view(n, ny, nx, channels).permute(0, 3, 1, 2)


def _mean(rows: Tensor, tiles: int) -> Tensor:
    """Mean over the pixels of every channel, (n, row, tile x channel) to (n, 1, tile x channel)."""
    n, n_rows, width = rows.shape
    sums = rows.new_ones(1, n_rows) @ rows  # (n, 1, tile x channel)
    means = sums.view(n, 1, tiles, -1).sum(2, keepdim=True) / (n_rows * tiles)
    return means.expand(n, 1, tiles, width // tiles).reshape(n, 1, width)
