"""How unlike an image is the heads that the flow learned from: its distance in the network's eyes.

What a network has never seen it answers all the same. The mean activations of the coarse
network over an image are compared with those of the training's heads, by their covariance.

Source: Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and
Adversarial Attacks, NeurIPS 2018, with one class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib import tasks

SHRINK = 1e-2  # share of the mean variance that every direction is given
LIMIT = 0.99  # quantile of the heads kept back that counts as usual
PREFIX = "familiar."


@dataclass(frozen=True)
class Familiarity:
    """Of the training's heads.

    Attributes:
        mean: float32 (activation,); whitening: float32 (activation, activation), its product
            with a difference has unit covariance.
        limit: distance that few heads exceed.
    """

    mean: Tensor
    whitening: Tensor
    limit: float

    def distance(self, activations: Tensor) -> Tensor:
        """(image,): rms over directions of how far (image, activation) lie off, 1 is usual."""
        return ((activations - self.mean) @ self.whitening).square().mean(1).sqrt()


@tasks.torch_threads(1)
def fit(learned: Tensor, kept_back: Tensor) -> Familiarity:
    """From activations (image, activation) of heads, and of other subjects' for the limit.

    Raises:
        ValueError: fewer heads than activations.
    """
    n, width = learned.shape
    if n <= width:
        raise ValueError(f"{n} heads for {width} activations; expected more heads than activations")
    mean = learned.double().mean(0)
    covariance = (learned.double() - mean).mT.cov()
    covariance += SHRINK * covariance.diagonal().mean() * torch.eye(width, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(covariance)
    whitening = vectors * values.rsqrt() @ vectors.mT
    open_ended = Familiarity(mean.float(), whitening.float(), float("inf"))
    limit = float(open_ended.distance(kept_back).quantile(LIMIT))
    return Familiarity(open_ended.mean, open_ended.whitening, limit)


def to_tensors(familiar: Familiarity | None) -> dict[str, Tensor]:
    """As entries of a file of weights."""
    if familiar is None:
        return {}
    return {
        f"{PREFIX}mean": familiar.mean,
        f"{PREFIX}whitening": familiar.whitening,
        f"{PREFIX}limit": torch.tensor(familiar.limit),
    }


def from_tensors(tensors: Mapping[str, Tensor]) -> Familiarity | None:
    """The way back; None for weights without."""
    if f"{PREFIX}mean" not in tensors:
        return None
    mean, whitening, limit = (tensors[PREFIX + name] for name in ("mean", "whitening", "limit"))
    return Familiarity(mean, whitening, float(limit))
