"""One Variational Network: trained on one kind of phase, tested on measured data.

The network is fastmri.models.VarNet. Source: Sriram et al., MICCAI 2020.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fastmri.losses import SSIMLoss
from fastmri.models import VarNet
from lightning_fabric import Fabric
from safetensors.torch import save
from torch import Tensor

from synthlib import arrays, metrics, pairs, runs, tasks
from synthlib.formats import prepared_hdf5
from synthlib.recon import samples

ZERO_FILLED = "zero_filled"
CHECKPOINT_EVERY = 500  # steps; minutes at the paper's size


@dataclasses.dataclass(frozen=True)
class VarNetSettings:
    """How a network is built and trained; the defaults are the paper's.

    Attributes:
        cascades, chans, pools, sens_chans, sens_pools: as fastmri.models.VarNet takes them.
        epochs: passes over the training slices.
        learning_rate: of Adam; its peak where the schedule is "one_cycle".
        center_fraction: of the masks.
        schedule: "constant" as in the paper, or "one_cycle", up for a fifth of
            the steps and down to 0, which gets more out of few steps.
        accelerator, precision: as Lightning Fabric takes them.
    """

    cascades: int = 12
    chans: int = 18
    pools: int = 4
    sens_chans: int = 8
    sens_pools: int = 4
    epochs: int = 10
    learning_rate: float = 3e-4
    center_fraction: float = 0.04
    schedule: str = "constant"
    accelerator: str = "auto"
    precision: str = "32-true"

    def build(self) -> VarNet:
        return VarNet(self.cascades, self.sens_chans, self.sens_pools, self.chans, self.pools)

    def rate(self, done: float) -> float:
        """The learning rate when this share of the steps (0 to 1) is done.

        Raises:
            ValueError: the schedule is unknown.
        """
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "one_cycle":
            rising = min(1.0, (done + 0.01) / 0.2)
            falling = 0.5 * (1 + math.cos(math.pi * max(0.0, done - 0.2) / 0.8))
            return self.learning_rate * rising * falling
        raise ValueError(f"schedule {self.schedule!r} is unknown; choose constant or one_cycle")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of the benchmark: its settings, its data and its folder.

    Attributes:
        n_coils, acceleration, seed: its place in the grid, with data.source.
        data: what the network learns from.
        val, test: scans whose measured k-space it is watched and tested on.
        settings: of the network.
        folder: results lie in a subfolder of it.
        key: from :func:`with_key`.
        show_progress: say how far the training is.
    """

    n_coils: int
    acceleration: int
    seed: int
    data: samples.TrainingData
    val: Sequence[pairs.PreparedVolume]
    test: Sequence[pairs.PreparedVolume]
    settings: VarNetSettings
    folder: Path
    key: str = ""
    show_progress: bool = False

    @property
    def label(self) -> str:
        return (
            f"{self.n_coils} coils, R = {self.acceleration}, {self.data.source}, seed {self.seed}"
        )

    @property
    def path(self) -> Path:
        name = f"{self.n_coils:02d}coil_R{self.acceleration}_{self.data.source}_seed{self.seed}"
        return self.folder / name / self.key


def with_key(cell: Cell, phases: str) -> Cell:
    """The cell with its key: a hash of all that its result rests on.

    Args:
        cell: any.
        phases: hash of the phases that it trains on.
    """
    lasting = dataclasses.asdict(cell.settings)
    lasting.pop("accelerator")
    hashes = [
        sorted((volume.name, volume.fingerprint) for volume in volumes)
        for volumes in (cell.data.volumes, cell.val, cell.test)
    ]
    rooms = ("recon.varnet", "recon.samples", "recon.masks", "synthesis", "metrics")
    code = runs.code_fingerprint(*rooms, "arrays")
    own = (cell.n_coils, cell.acceleration, cell.seed, cell.data.source, phases)
    return dataclasses.replace(cell, key=runs.fingerprint(own, lasting, hashes, code))


def run_cell(cell: Cell) -> dict[str, Any]:
    """Train (from where an earlier run stopped), test, and keep the result.

    Returns:
        The result as kept in result.json: "rows", one per test volume with
        PSNR, NMSE and SSIM; "val_ssim" after every epoch; the record.
    """
    result_file = cell.path / "result.json"
    if result_file.is_file():
        return runs.read_json(result_file)
    trained = None if cell.data.source == ZERO_FILLED else _train(cell)
    network, device = (trained[0], trained[1]) if trained else (None, torch.device("cpu"))
    rows = []
    for number, volume in enumerate(cell.test):
        slices = samples.measured_volume(volume, cell.acceleration, cell.settings.center_fraction)
        images = [_reconstruct(network, sample, device) for sample in slices]
        rows.append({"volume": volume.name, **_quality(slices, images)})
        if number == 0:
            _keep_example(cell, volume, slices, images)
    inputs = pairs.input_hashes([*cell.data.volumes, *cell.val, *cell.test])
    result = {
        "n_coils": cell.n_coils,
        "acceleration": cell.acceleration,
        "source": cell.data.source,
        "seed": cell.seed,
        "rows": rows,
        "val_ssim": trained[2] if trained else [],
        "record": runs.make_record({"varnet": dataclasses.asdict(cell.settings)}, inputs),
    }
    runs.write_json(result_file, result)
    return result


def _train(cell: Cell) -> tuple[torch.nn.Module, torch.device, list[float]]:
    settings = cell.settings
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=1,  # cells are independent: many devices work on many cells
        precision=settings.precision,  # type: ignore[arg-type]
    )
    with runs.seeded(cell.seed, "varnet"):
        plain = settings.build()
    network, adam = fabric.setup(
        plain, torch.optim.Adam(plain.parameters(), settings.learning_rate)
    )
    ssim_loss = SSIMLoss().to(fabric.device)
    checkpoint = cell.path / "checkpoint.pt"
    done, val_ssim = _resume(checkpoint, plain, adam)

    n_slices = sum(volume.n_slices for volume in cell.data.volumes)
    steps = n_slices * settings.epochs
    progress = None
    if cell.show_progress:
        progress = tasks.Progress(f"{cell.label}: step", steps, done, leave=False)
    for step in range(done, steps):
        epoch, number = divmod(step, n_slices)
        if step == done or number == 0:
            epoch_samples = _epoch_samples(cell, epoch)
            order = torch.randperm(n_slices, generator=runs.rng(cell.seed, "order", epoch)).tolist()
        for group in adam.param_groups:
            group["lr"] = settings.rate(step / steps)
        sample = epoch_samples[order[number]]
        target = arrays.crop_or_pad(sample.target, sample.crop).to(fabric.device)
        image = arrays.crop_or_pad(_forward(network, sample, fabric.device), sample.crop)
        data_range = torch.tensor([sample.data_range], device=fabric.device)
        loss = ssim_loss(image[None, None], target[None, None], data_range)
        adam.zero_grad()
        fabric.backward(loss)
        adam.step()
        if progress:
            progress.step()
        if number + 1 == n_slices:
            val_ssim.append(_validate(cell, network, fabric.device))
        if number + 1 == n_slices or (step + 1) % CHECKPOINT_EVERY == 0:
            state = {"network": plain.state_dict(), "adam": adam.state_dict()}
            progress_made = {"done": step + 1, "val_ssim": val_ssim}
            runs.write_checkpoint(checkpoint, {**state, **progress_made})
    _save_weights(cell, plain)
    return network, fabric.device, val_ssim


def _resume(checkpoint: Path, network: torch.nn.Module, adam: Any) -> tuple[int, list[float]]:
    """Load the latest state; how many steps it has done, and its validation scores."""
    state = runs.read_checkpoint(checkpoint)
    if state is None:
        return 0, []
    network.load_state_dict(state["network"])
    adam.load_state_dict(state["adam"])
    return int(state["done"]), list(state["val_ssim"])


def _epoch_samples(cell: Cell, epoch: int) -> samples.TrainingSamples:
    fraction = cell.settings.center_fraction
    return samples.TrainingSamples(cell.data, cell.acceleration, fraction, cell.seed, epoch)


def _forward(network: Any, sample: samples.Sample, device: torch.device) -> Tensor:
    """Reconstruct one slice: float (y, x)."""
    kspace = torch.view_as_real(sample.kspace)[None].to(device)  # (1, coil, ky, kx, 2)
    mask = sample.mask.columns.view(1, 1, 1, -1, 1).to(device)
    return network(kspace, mask, sample.mask.n_center)[0]


@torch.no_grad()
def _reconstruct(network: Any, sample: samples.Sample, device: torch.device) -> Tensor:
    if network is None:
        return samples.zero_filled(sample)
    return _forward(network, sample, device).cpu()


def _quality(slices: Sequence[samples.Sample], images: Sequence[Tensor]) -> dict[str, float]:
    crop = slices[0].crop
    return metrics.image_quality(
        torch.stack([arrays.crop_or_pad(sample.target, crop) for sample in slices]),
        torch.stack([arrays.crop_or_pad(image, crop) for image in images]),
    )


def _validate(cell: Cell, network: Any, device: torch.device) -> float:
    """Mean SSIM over the measured validation volumes; watched, never used to choose."""
    scores = []
    for volume in cell.val:
        slices = samples.measured_volume(volume, cell.acceleration, cell.settings.center_fraction)
        images = [_reconstruct(network, sample, device) for sample in slices]
        scores.append(_quality(slices, images)["SSIM"])
    return sum(scores) / len(scores)


def _keep_example(
    cell: Cell,
    volume: pairs.PreparedVolume,
    slices: Sequence[samples.Sample],
    images: Sequence[Tensor],
) -> None:
    """The middle slice of the first test volume, for the figures."""
    middle = len(slices) // 2
    crop = slices[middle].crop
    shown = {
        "target": slices[middle].target,
        "zero_filled": samples.zero_filled(slices[middle]),
        "image": images[middle],
    }
    prepared_hdf5.write(
        cell.path / "example.h5",
        {name: arrays.crop_or_pad(image, crop) for name, image in shown.items()},
        {"volume": volume.name, "slice": middle},
    )


def _save_weights(cell: Cell, network: torch.nn.Module) -> None:
    record = runs.make_record({"varnet": dataclasses.asdict(cell.settings), "cell": cell.label})
    metadata = {"record": json.dumps(record, sort_keys=True, default=str)}
    weights = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    runs.write_bytes(cell.path / "varnet.safetensors", save(weights, metadata))
