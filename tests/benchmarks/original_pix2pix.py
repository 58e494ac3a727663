"""pix2pix's training step as its authors order the work, in plain torch: the peer of ours.

Nested blocks, activations in place, D's gradients switched off for G's step,
Adam as torch builds it by default. Source: Isola et al., CVPR 2017, and their
PyTorch code (pix2pix_model.optimize_parameters).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """One level of the U-Net with the levels inside it; its input beside its output."""

    def __init__(
        self, outer: int, inner: int, inside: nn.Module | None, *, dropout: bool = False
    ) -> None:
        super().__init__()
        down = [nn.LeakyReLU(0.2, True), nn.Conv2d(outer, inner, 4, 2, 1, bias=False)]
        middle = [nn.BatchNorm2d(inner), inside] if inside else []
        width = 2 * inner if inside else inner
        up = [nn.ReLU(True), nn.ConvTranspose2d(width, outer, 4, 2, 1, bias=False)]
        last = [nn.BatchNorm2d(outer), *([nn.Dropout(0.5)] if dropout else [])]
        self.layers = nn.Sequential(*down, *middle, *up, *last)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], 1)


def generator(ngf: int, depth: int) -> nn.Module:
    """U-Net of one channel to one channel; depth at least 5."""
    block = Block(8 * ngf, 8 * ngf, None)
    for _ in range(depth - 5):
        block = Block(8 * ngf, 8 * ngf, block, dropout=True)
    for outer in (4, 2, 1):
        block = Block(outer * ngf, 2 * outer * ngf, block)
    first = nn.Conv2d(1, ngf, 4, 2, 1, bias=False)
    last = nn.ConvTranspose2d(2 * ngf, 1, 4, 2, 1)
    return nn.Sequential(first, block, nn.ReLU(True), last, nn.Tanh())


def discriminator(ndf: int) -> nn.Module:
    """70 x 70 patches of (magnitude, phase)."""
    layers: list[nn.Module] = [nn.Conv2d(2, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
        layers += [
            nn.Conv2d(ndf * before, ndf * after, 4, stride, 1, bias=False),
            nn.BatchNorm2d(ndf * after),
            nn.LeakyReLU(0.2, True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(8 * ndf, 1, 4, 1, 1))


class Trainer:
    """Both networks, their optimisers and the step."""

    def __init__(self, ngf: int, depth: int) -> None:
        self.g, self.d = generator(ngf, depth), discriminator(ngf)
        self.g_adam = torch.optim.Adam(self.g.parameters(), 2e-4, (0.5, 0.999))
        self.d_adam = torch.optim.Adam(self.d.parameters(), 2e-4, (0.5, 0.999))

    def step(self, magnitude: Tensor, target: Tensor) -> Tensor:
        """Losses of D, of G against D, and L1, of (1, 1, y, x) in [-1, 1]."""
        synthetic = self.g(magnitude)
        pair = torch.cat([magnitude, synthetic], 1)

        self.d.requires_grad_(True)
        self.d_adam.zero_grad()
        on_fake = _bce(self.d(pair.detach()), 0.0)
        d_loss = 0.5 * (on_fake + _bce(self.d(torch.cat([magnitude, target], 1)), 1.0))
        d_loss.backward()
        self.d_adam.step()

        self.d.requires_grad_(False)
        self.g_adam.zero_grad()
        g_gan = _bce(self.d(pair), 1.0)
        g_l1 = F.l1_loss(synthetic, target)
        (g_gan + 100 * g_l1).backward()
        self.g_adam.step()
        return torch.stack([d_loss, g_gan, g_l1]).detach()


def _bce(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def copy_weights(source: list[nn.Module], target: list[nn.Module]) -> None:
    """Give the convolutions and norms of one network another's; both in the order of the data."""
    for ours, theirs in zip(source, target, strict=True):
        theirs.load_state_dict(ours.state_dict(), strict=not isinstance(ours, nn.BatchNorm2d))


def layers_with_weights(network: nn.Module) -> list[nn.Module]:
    """Convolutions and norms, outside in and inside out again."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
    return [module for module in network.modules() if isinstance(module, kinds)]
