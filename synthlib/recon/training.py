"""One network: trained on one kind of data, watched on measured scans, its weights kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from fastmri.losses import SSIMLoss
from lightning_fabric import Fabric
from safetensors.torch import load
from torch import Tensor

from synthlib import arrays, pairs, runs, tasks
from synthlib.recon import networks, samples, testing

CHECKPOINT_EVERY = 500  # steps; minutes at the paper's size
WATCHED = (0.25, 0.5, 0.75, 1.0)  # shares of the steps at which validation scans are looked at
LOSSES = {"ssim": SSIMLoss, "l2": networks.RelativeL2}
BETAS = (0.9, 0.999)  # of Adam


@dataclasses.dataclass(frozen=True)
class Training:
    """What a network learns from and how.

    Attributes:
        data: what it learns from, all parts mixed.
        accelerations: R of the masks; with several, every sample draws one.
        seed: initial weights, order of slices and masks follow from it, and from
            nothing else: networks of other data share them.
        val: measured scans that are watched, never used to choose.
        settings: of the network.
        label: for the line of progress.
    """

    data: tuple[samples.TrainingData, ...]
    accelerations: tuple[int, ...]
    seed: int
    val: Sequence[pairs.PreparedVolume]
    settings: networks.NetworkSettings
    label: str = "network"


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network with the history of its training.

    Attributes:
        network, device: where its weights lie.
        history: {"share", "step", "PSNR", "SSIM"}, mean over the validation scans' middle slices.
    """

    network: torch.nn.Module
    device: torch.device
    history: list[dict[str, float]]


def late_gain(history: Sequence[dict[str, float]]) -> float:
    """PSNR in dB that the last quarter of a training gained on the validation scans."""
    if len(history) < 2:
        return float("nan")
    return history[-1]["PSNR"] - history[-2]["PSNR"]


def train(training: Training, folder: Path, *, show_progress: bool = False) -> Trained:
    """Train from where an earlier run stopped; or take the weights of a finished one.

    On a CPU the training takes one thread: sums then do not depend on the number
    of cores, and many networks side by side use the cores better.

    Args:
        training: see Training.
        folder: its own; checkpoint.pt, network.safetensors and history.json are kept in it.
        show_progress: say how far it is.
    """
    settings = training.settings
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=1,  # networks are independent: many devices work on many of them
        precision=settings.precision,  # type: ignore[arg-type]
    )
    with runs.seeded(training.seed, "network"):
        plain = settings.build()
    # Of a network that is read back, too: last bits depend on the layout of the weights.
    plain = plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if (folder / "network.safetensors").is_file():
        plain.load_state_dict(load((folder / "network.safetensors").read_bytes()))
        history = runs.read_json(folder / "history.json")
        return Trained(fabric.setup_module(plain), fabric.device, history)
    with tasks.threads_of_our_own(), _no_denormals():
        history, network = _steps(training, fabric, plain, folder, show_progress)
    runs.write_json(folder / "history.json", history)
    record = runs.make_record(
        {"network": dataclasses.asdict(settings), "label": training.label},
        pairs.input_hashes([v for part in training.data for v in part.volumes]),
    )
    metadata = {"record": json.dumps(record, sort_keys=True, default=str)}
    runs.write_weights(folder / "network.safetensors", plain.state_dict(), metadata)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return Trained(network, fabric.device, history)


def _steps(
    training: Training, fabric: Fabric, plain: torch.nn.Module, folder: Path, show: bool
) -> tuple[list[dict[str, float]], torch.nn.Module]:
    settings = training.settings
    plain = plain.to(fabric.device)
    adam = torch.optim.Adam(plain.parameters(), settings.learning_rate, BETAS, fused=True)
    network, optimiser = fabric.setup(plain, adam)
    loss_of = LOSSES[settings.loss]().to(fabric.device)
    checkpoint = folder / "checkpoint.pt"
    done, history = _resume(checkpoint, plain, adam)
    slices = samples.TrainingSamples(
        training.data,
        training.accelerations,
        settings.center_fraction,
        training.seed,
        rows=settings.rows,
        global_phases=settings.global_phases,
    )
    n_steps = settings.n_steps(len(slices))
    watched = {round(share * n_steps): share for share in WATCHED}
    with tasks.Progress(f"{training.label}: step", n_steps, done, leave=False) as progress:
        for step, sample in enumerate(samples.prefetched(slices, done, n_steps), start=done):
            for group in adam.param_groups:
                group["lr"] = settings.rate(step / n_steps)
            loss = _loss(network, sample, loss_of, fabric.device)
            optimiser.zero_grad()
            fabric.backward(loss)
            optimiser.step()
            if show:
                progress.step()
            if step + 1 in watched:
                scores = _validate(training, network, fabric.device)
                history.append({"share": watched[step + 1], "step": step + 1, **scores})
            if step + 1 in watched or (step + 1) % CHECKPOINT_EVERY == 0:
                state = {"network": plain.state_dict(), "adam": adam.state_dict()}
                runs.write_checkpoint(checkpoint, {**state, "done": step + 1, "history": history})
    return history, network


def _loss(network: Any, sample: samples.Sample, loss_of: Any, device: torch.device) -> Tensor:
    target = arrays.crop_or_pad_image(sample.target, sample.crop).to(device)
    image = networks.reconstruct(network, sample, device).float()
    image = arrays.crop_or_pad_image(image, sample.crop)
    data_range = torch.tensor([sample.data_range], device=device)
    return loss_of(image[None, None], target[None, None], data_range)


def _resume(
    checkpoint: Path, network: torch.nn.Module, adam: torch.optim.Optimizer
) -> tuple[int, list[dict[str, float]]]:
    """Load the latest state; how many steps it has done, and its validation scores."""
    state = runs.read_checkpoint(checkpoint)
    if state is None:
        return 0, []
    network.load_state_dict(state["network"])
    adam.load_state_dict(state["adam"])
    return int(state["done"]), list(state["history"])


def _validate(training: Training, network: Any, device: torch.device) -> dict[str, float]:
    """Mean over the middle slices of the validation scans, at the middle one of the accelerations.

    All their slices would take as long as a fifth of a training of 60 steps.
    """
    acceleration = sorted(training.accelerations)[len(training.accelerations) // 2]
    method = testing.learned(network, device)
    rows = testing.score_all(
        method,
        training.val,
        acceleration,
        training.settings.center_fraction,
        middle_slices=True,
    )
    return {
        name: sum(row[name] for row in rows) / len(rows) if rows else float("nan")
        for name in ("PSNR", "SSIM")
    }


@contextmanager
def _no_denormals() -> Iterator[None]:
    """Numbers too small for full precision count as zero: on them a CPU is ten times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
