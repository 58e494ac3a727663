"""The learned reconstructions by name, built and called in one way.

Every network takes undersampled k-space, the mask, coil maps and the number of
centre lines, and gives a magnitude image; what it does not need it passes by.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import fastmri
import torch
from fastmri.models.varnet import NormUnet, VarNetBlock
from torch import Tensor, nn

from synthlib.recon.end_to_end import EndToEndVarNet
from synthlib.recon.samples import Sample
from synthlib.recon.unrolled import UnrolledSense, start_of

UNROLLED, GIVEN_MAPS, END_TO_END = "unrolled", "varnet_given_maps", "end_to_end"
NETWORKS = (UNROLLED, GIVEN_MAPS, END_TO_END)
SCHEDULES = ("constant", "one_cycle")
LOSSES = ("ssim", "l2")
MAX_START_PIXELS = 2**25  # of test slices that are kept in memory: 256 MB
_STARTS: dict[str, Tensor] = {}
RISING = 0.1  # share of the steps in which one_cycle goes up


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """How a network is built and trained; the defaults are the paper's.

    Attributes:
        network: "end_to_end", fastMRI's VarNet, which estimates maps from
            the centre lines; "varnet_given_maps", its cascades with the maps the scan
            has; "unrolled", sparse SENSE with given maps, then small U-Nets and
            conjugate gradients.
        cascades: how often data consistency and U-Net take turns.
        chans: channels of the U-Net's first layer.
        fine_chans: of the refinement at full resolution, "unrolled" alone.
        pools, sens_chans, sens_pools: as fastmri.models.VarNet takes them.
        epochs: passes over the training slices; steps: of Adam instead, if above 0.
        learning_rate: of Adam; its peak where the schedule is "one_cycle".
        center_fraction: of the masks.
        schedule: "constant" as in the paper, or "one_cycle", up for a tenth of
            the steps and down to 0, which gets more out of few steps.
        loss: "ssim" as in the paper, or "l2", the error's norm over the target's, which
            no dark air rules and which takes quiet scans as seriously as noisy ones.
        rows: a training step looks at so many neighbouring rows at random, 0: at
            all; the mask thins kx, so that rows do not depend on each other.
        global_phases: every training sample is turned by a phase of its own, for the
            reference of a receiver's phase is arbitrary; the paper does not say.
        checkpointing: "end_to_end" computes its cascades once more on the way back
            instead of keeping them: less memory, more time, the same gradients.
        accelerator, precision: as Lightning Fabric takes them.

    Raises:
        ValueError: an unknown network, schedule or loss.
    """

    network: str = END_TO_END
    cascades: int = 12
    chans: int = 18
    fine_chans: int = 12
    pools: int = 4
    sens_chans: int = 8
    sens_pools: int = 4
    epochs: int = 10
    steps: int = 0
    learning_rate: float = 3e-4
    center_fraction: float = 0.04
    schedule: str = "constant"
    loss: str = "ssim"
    rows: int = 0
    global_phases: bool = False
    checkpointing: bool = False
    accelerator: str = "auto"
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("network", self.network, NETWORKS),
            ("schedule", self.schedule, SCHEDULES),
            ("loss", self.loss, LOSSES),
        ):
            if value not in choices:
                raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(choices)}")

    def build(self) -> nn.Module:
        """A network with weights drawn from torch's global state (see runs.seeded)."""
        if self.network == UNROLLED:
            return UnrolledSense(self.cascades, self.chans, self.fine_chans)
        if self.network == GIVEN_MAPS:
            return GivenMapsVarNet(self.cascades, self.chans, self.pools)
        return BatchedEndToEnd(
            self.cascades,
            self.sens_chans,
            self.sens_pools,
            self.chans,
            self.pools,
            checkpointing=self.checkpointing,
        )

    def n_steps(self, n_slices: int) -> int:
        """Steps of a training on so many slices."""
        return self.steps or n_slices * self.epochs

    def rate(self, done: float) -> float:
        """The learning rate when this share of the steps (0 to 1) is done."""
        if self.schedule == "constant":
            return self.learning_rate
        rising = min(1.0, (done + 0.01) / RISING)
        falling = 0.5 * (1 + math.cos(math.pi * max(0.0, done - RISING) / (1 - RISING)))
        return self.learning_rate * rising * falling


class GivenMapsVarNet(nn.Module):
    """The cascades of fastMRI's VarNet, with the coil maps that the scan has."""

    def __init__(self, cascades: int, chans: int, pools: int) -> None:
        super().__init__()
        self.cascades = nn.ModuleList(VarNetBlock(NormUnet(chans, pools)) for _ in range(cascades))

    def forward(
        self,
        kspace: Tensor,
        columns: Tensor,
        maps: Tensor,
        n_center: int,
        start: Tensor | None = None,
        level: Tensor | None = None,
    ) -> Tensor:
        """See unrolled.UnrolledSense.forward."""
        measured = torch.view_as_real(kspace)  # (b, coil, ky, kx, 2)
        mask = columns[:, None, None, :, None]
        sensitivities = torch.view_as_real(maps.resolve_conj())
        current = measured.clone()
        for cascade in self.cascades:
            current = cascade(current, measured, mask, sensitivities)
        return fastmri.rss(fastmri.complex_abs(fastmri.ifft2c(current)), dim=1)


class BatchedEndToEnd(nn.Module):
    """end_to_end.EndToEndVarNet behind the call that all networks share."""

    def __init__(self, *sizes: int, checkpointing: bool = False) -> None:
        super().__init__()
        self.varnet = EndToEndVarNet(*sizes, checkpointing=checkpointing)

    def forward(
        self,
        kspace: Tensor,
        columns: Tensor,
        maps: Tensor,
        n_center: int,
        start: Tensor | None = None,
        level: Tensor | None = None,
    ) -> Tensor:
        """See unrolled.UnrolledSense.forward; `maps`, `start` and `level` are not looked at."""
        images = [
            self.varnet(slice_kspace, slice_mask, n_center)
            for slice_kspace, slice_mask in zip(kspace, columns, strict=True)
        ]
        return torch.stack(images)


class RelativeL2(nn.Module):
    """|image - target| / |target| of images (1, 1, y, x); the data range is not looked at."""

    def forward(self, image: Tensor, target: Tensor, data_range: Tensor) -> Tensor:
        return (image - target).norm() / target.norm().clamp(min=1e-20)


def reconstruct(network: Any, sample: Sample, device: torch.device) -> Tensor:
    """One slice through a network: float (y, x) on the device."""
    arguments = [sample.kspace, sample.mask.columns, sample.maps]
    batch = [array[None].to(device) for array in arguments]
    start, level = None, sample.level
    if level is not None:
        level = level[None].to(device)
    if sample.name and isinstance(_plain(network), UnrolledSense):
        start = _start(sample)[None].to(device)
    return network(*batch, sample.mask.n_center, start, level)[0]


def _plain(network: Any) -> nn.Module:
    """The network itself, where Fabric has wrapped it."""
    return getattr(network, "module", network)


def _start(sample: Sample) -> Tensor:
    """Of a test slice, which many networks are tested on: computed once in a process."""
    if sample.name not in _STARTS:
        kept = sum(start.numel() for start in _STARTS.values())
        while _STARTS and kept + 2 * sample.target.numel() > MAX_START_PIXELS:
            kept -= next(iter(_STARTS.values())).numel()
            _STARTS.pop(next(iter(_STARTS)))
        _STARTS[sample.name] = start_of(sample.kspace, sample.mask.columns, sample.maps)
    return _STARTS[sample.name]
