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
LIMIT = 0.99  # quantile of the slices kept back
# Measured heads (24 slices at hand) lie at 1.3 to 3.8 times the kept-back heads' median, where
# that quantile is 1.4: a limit of simulated heads alone would call most of them strange.
MARGIN = 3.0
PREFIX = "familiar."


@dataclass(frozen=True)
class Familiarity:
    """Of the training's heads.

    Attributes:
        mean: float32 (activation,); whitening: float32 (activation, activation): the length of
            its product with a difference is the distance.
        limit: distance that heads do not exceed.
    """

    mean: Tensor
    whitening: Tensor
    limit: float

    def distance(self, activations: Tensor) -> Tensor:
        """(image,): how far (image, activation) lie off; the median of heads kept back is 1."""
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
    unscaled = Familiarity(mean.float(), whitening.float(), float("inf"))
    distances = unscaled.distance(kept_back)
    usual = distances.median()
    limit = MARGIN * float(distances.quantile(LIMIT) / usual)
    return Familiarity(unscaled.mean, unscaled.whitening / usual, limit)


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
