"""One step of training: the discriminator, then the generator. Isola et al., CVPR 2017."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from synthlib.phase import consistency, pix2pix
from synthlib.phase.settings import GanSettings


def adam(
    network: torch.nn.Module, settings: GanSettings, rate: float | None = None
) -> torch.optim.Adam:
    """The paper's optimiser, with the settings' learning rate or one of its own."""
    betas = (settings.beta1, settings.beta2)
    rate = settings.learning_rate if rate is None else rate
    # fused: one pass over the weights instead of seven; at batch 1 that is a fifth of the step
    return torch.optim.Adam(network.parameters(), rate, betas, fused=True)


def train_step(
    fabric: Fabric,
    g: Any,
    d: Any,
    g_adam: Any,
    d_adam: Any,
    batch: tuple[Tensor, Tensor],
    settings: GanSettings,
) -> Tensor:
    """One step of the discriminator, then one of the generator; their losses.

    Args:
        fabric: for the backward passes.
        g, d, g_adam, d_adam: the two networks and their optimisers, changed in place.
        batch: scaled magnitude (batch, 1, y, x) and target (batch, channel, y, x).
        settings: weights of the losses.

    Returns:
        (3,): discriminator, adversarial, L1; (4,) with that in k-space where it has a weight.
    """
    magnitude, target = batch
    synthetic = g(magnitude)

    d.requires_grad_(True)
    d_loss = pix2pix.discriminator_loss(d(magnitude, target), d(magnitude, synthetic.detach()))
    d_adam.zero_grad()
    fabric.backward(d_loss)
    d_adam.step()

    d.requires_grad_(False)  # the generator's step needs no gradients of D's weights
    g_gan = pix2pix.adversarial_loss(d(magnitude, synthetic))
    g_l1 = pix2pix.l1_loss(synthetic, target, magnitude, settings.l1_weight)
    losses = [d_loss, g_gan, g_l1]
    total = g_gan + settings.lambda_l1 * g_l1
    if settings.lambda_kspace > 0:
        losses.append(consistency.kspace_loss(synthetic, target, magnitude, settings.mode))
        total = total + settings.lambda_kspace * losses[-1]
    g_adam.zero_grad()
    fabric.backward(total)
    g_adam.step()
    return torch.stack([loss.detach() for loss in losses])
