"""How the layers of the GAN's two networks are normalised.

In batches of one, as in the paper, batch norm takes its statistics from the one
image that there is: what "instance" changes then is only that layers have no scale and
shift of their own to learn.

Sources: batch norm as in Isola et al., CVPR 2017; instance norm, Ulyanov et al.,
arXiv 1607.08022, without learned scale and shift, as in pix2pix's published code;
spectral norm, Miyato et al., ICLR 2018.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

GENERATOR_NORMS = ("batch", "instance")
DISCRIMINATOR_NORMS = ("batch", "instance", "spectral")


def generator_norm(kind: str, channels: int) -> nn.Module:
    """Norm of one of the generator's layers, always by the statistics of what it is given.

    Raises:
        ValueError: neither "batch" nor "instance".
    """
    require_norm("norm", kind, GENERATOR_NORMS)
    if kind == "instance":
        return nn.InstanceNorm2d(channels)
    # running statistics would never be used
    return nn.BatchNorm2d(channels, track_running_stats=False)


def discriminator_norm(kind: str, channels: int) -> nn.Module:
    """Norm of one of the discriminator's layers; none ("spectral" limits weights instead).

    Raises:
        ValueError: none of "batch", "instance", "spectral".
    """
    require_norm("discriminator_norm", kind, DISCRIMINATOR_NORMS)
    if kind == "spectral":
        return nn.Identity()
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.BatchNorm2d(channels)


def limit_spectrum(network: nn.Module) -> None:
    """Divide the weights of every convolution by their largest singular value, from now on.

    After the initial weights are drawn: their singular vectors are begun here, from
    torch's random state, and follow the weights by one power iteration a pass.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            spectral_norm(module)


def require_norm(name: str, kind: str, known: tuple[str, ...]) -> None:
    """Raise ValueError for a norm that is not known."""
    if kind not in known:
        raise ValueError(
            f"{name} {kind!r} is unknown; expected one of {', '.join(known)}. The paper's is batch."
        )
