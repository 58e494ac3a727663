"""Stock fastMRI code on files of ours: do they load and train as measured files do?

Nothing of synthlib touches the data on the way: fastmri's own data set, mask,
transform, network and loss. recon.training is what experiments are made with.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastmri.data
import torch
from fastmri.data.subsample import EquiSpacedMaskFunc
from fastmri.data.transforms import VarNetDataTransform, center_crop_to_smallest
from fastmri.losses import SSIMLoss
from fastmri.models import VarNet

from synthlib import runs, tasks

SMALL = {"num_cascades": 2, "chans": 6, "pools": 2, "sens_chans": 3, "sens_pools": 2}


def train_some_steps(
    folder: str | Path, *, n_steps: int, acceleration: int = 4, seed: int, lr: float = 1e-3
) -> list[float]:
    """Train a small VarNet on every file of a folder, slice after slice.

    Args:
        folder: fastMRI HDF5 files.
        n_steps: of Adam, one slice each.
        acceleration: R; the centre fraction is 0.32 / R.
        seed: of weights and order.
        lr: learning rate.

    Returns:
        The SSIM loss (1 - SSIM) of every step.

    Raises:
        FileNotFoundError: no file in the folder.
    """
    mask = EquiSpacedMaskFunc(center_fractions=[0.32 / acceleration], accelerations=[acceleration])
    dataset: Any = fastmri.data.SliceDataset(
        root=Path(folder), transform=VarNetDataTransform(mask_func=mask), challenge="multicoil"
    )
    if len(dataset) == 0:
        raise FileNotFoundError(f"{folder} has no fastMRI HDF5 file; run the synthesis first")
    with runs.seeded(seed, "stock weights"):
        network = VarNet(**SMALL)
    adam, loss_of = torch.optim.Adam(network.parameters(), lr), SSIMLoss()
    with tasks.Progress("steps of stock training", n_steps, leave=False) as progress:
        losses = []
        for sample in _endless(dataset, runs.rng(seed, "stock order")):
            image = network(sample.masked_kspace[None], sample.mask[None])
            target, image = center_crop_to_smallest(sample.target[None], image)
            loss = loss_of(
                image[:, None],
                target[:, None],
                torch.tensor([sample.max_value], dtype=torch.float32),
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(float(loss.detach()))
            progress.step()
            if len(losses) == n_steps:
                break
    return losses


def _endless(dataset: Any, rng: torch.Generator) -> Iterator[Any]:
    while True:
        for index in torch.randperm(len(dataset), generator=rng).tolist():
            yield dataset[index]
