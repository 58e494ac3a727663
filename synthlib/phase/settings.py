"""The settings of the conditional GAN; the defaults are the paper's (Deveshwar et al., 2023).

What is known to cure the faults of the paper's GAN is a setting beside it, off by
default; study.gan_matrix trains and scores one of each.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from synthlib import pairs
from synthlib.phase import norms, pix2pix, resizing

MODES = {"scalar": 1, "vector": 2}  # channels that each way to write phase needs
L1_WEIGHTS = ("uniform", "signal")


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What must agree for weights to fit, and to be used as they were trained.

    Attributes:
        mode: "scalar" regresses phase / pi as the paper does; "vector" regresses
            (cos, sin), which has no jump at the wrap.
        ngf, depth: of the U-Net; 64 and 8 in the paper.
        upsampling: "transposed" as in the paper, "nearest", "bilinear" or "subpixel":
            see resizing.upsampling_layer.
        downsampling: "strided" as in the paper, or "blur": see resizing.downsampling_layer.
        norm: "batch" as in the paper, or "instance": see norms.generator_norm.
        scale: what of a slice's magnitude is 1 for the network: its "maximum", or the
            99th "percentile" of the head; see pairs.scale_magnitude.

    Raises:
        ValueError: a word that is unknown, a size that is too small.
    """

    mode: str = "scalar"
    ngf: int = 64
    depth: int = 8
    upsampling: str = "transposed"
    downsampling: str = "strided"
    norm: str = "batch"
    scale: str = "maximum"

    def __post_init__(self) -> None:
        _require_word("mode", self.mode, tuple(MODES))
        _require_word("upsampling", self.upsampling, resizing.UPSAMPLING)
        _require_word("downsampling", self.downsampling, resizing.DOWNSAMPLING)
        _require_word("norm", self.norm, norms.GENERATOR_NORMS)
        _require_word("scale", self.scale, pairs.SCALES)
        _require_at_least("ngf", self.ngf, 1, "channels")
        _require_at_least("depth", self.depth, pix2pix.LEAST_DEPTH, "layers down")

    def build(self) -> pix2pix.UNetGenerator:
        """The generator's network with torch's own initial weights."""
        return pix2pix.UNetGenerator(
            MODES[self.mode],
            self.ngf,
            self.depth,
            upsampling=self.upsampling,
            downsampling=self.downsampling,
            norm=self.norm,
        )


@dataclasses.dataclass(frozen=True)
class GanSettings:
    """How a generator is trained; the defaults are the paper's.

    Attributes:
        mode, ngf, depth: see Architecture.
        ndf: channels of the discriminator's first layer.
        epochs, batch_size, learning_rate, beta1, beta2, lambda_l1: as in the paper.
        l1_weight: "uniform" as in the paper, or "signal": see pix2pix.l1_loss.
        seed: initial weights, order of slices, dropout and jitter follow from it.
        accelerator, devices, precision: as Lightning Fabric takes them ("auto",
            "cpu", "cuda"; a number; "32-true", "bf16-mixed" ...).
        threads: of the CPU; the last bits of gradients, and so the weights, depend on
            their number. More than one only pays for large networks on idle cores.
        upsampling, downsampling, norm, scale: see Architecture.
        discriminator_norm: "batch" as in the paper, "instance", or "spectral": see norms.
        discriminator_rate: the discriminator's learning rate, None for that of the
            generator; with two time scales it is the larger one (Heusel et al., NeurIPS 2017).
        lambda_kspace: weight of consistency.kspace_loss, 0 in the paper.
        jitter: enlarge, cut and mirror every slice anew in every epoch, as pix2pix does
            and the paper does not say it does: see jitter.

    Raises:
        ValueError: what was found, what was expected and what to do.
    """

    mode: str = "scalar"
    ngf: int = 64
    depth: int = 8
    ndf: int = 64
    epochs: int = 50
    batch_size: int = 1
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    lambda_l1: float = 100.0
    l1_weight: str = "uniform"
    seed: int = 0
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    threads: int = 1
    upsampling: str = "transposed"
    downsampling: str = "strided"
    norm: str = "batch"
    scale: str = "maximum"
    discriminator_norm: str = "batch"
    discriminator_rate: float | None = None
    lambda_kspace: float = 0.0
    jitter: bool = False

    def __post_init__(self) -> None:
        _require_word("l1_weight", self.l1_weight, L1_WEIGHTS)
        _require_word("discriminator_norm", self.discriminator_norm, norms.DISCRIMINATOR_NORMS)
        _require_at_least("threads", self.threads, 1, "CPU threads")
        _require_at_least("epochs", self.epochs, 1, "passes through the slices")
        _require_at_least("batch_size", self.batch_size, 1, "slices")
        _require_at_least("ndf", self.ndf, 1, "channels")
        _require_at_least("lambda_l1", self.lambda_l1, 0, "times the adversarial loss")
        _require_at_least("lambda_kspace", self.lambda_kspace, 0, "times the adversarial loss")
        for name in ("learning_rate", "discriminator_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate < math.inf:
                raise ValueError(
                    f"{name} is {rate}; expected a number above 0. The paper's is 2e-4."
                )
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; expected a number from 0 to below 1. "
                    "The paper's are 0.5 and 0.999."
                )
        self.architecture  # noqa: B018  # its own checks

    @property
    def architecture(self) -> Architecture:
        return Architecture(
            self.mode,
            self.ngf,
            self.depth,
            self.upsampling,
            self.downsampling,
            self.norm,
            self.scale,
        )

    def build_discriminator(self) -> pix2pix.PatchDiscriminator:
        """Its network with torch's own initial weights, whose spectrum is not limited yet."""
        return pix2pix.PatchDiscriminator(
            1 + MODES[self.mode], self.ndf, norm=self.discriminator_norm
        )


def _require_word(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(
            f"{name} {value!r} is unknown; expected one of {', '.join(known)}. "
            f"The paper's is {known[0]}."
        )


def _require_at_least(name: str, value: float, least: float, unit: str) -> None:
    if not least <= value < math.inf:
        raise ValueError(f"{name} is {value}; expected {least} {unit} or more. Set {name}.")
