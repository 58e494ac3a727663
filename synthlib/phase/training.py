"""Training the conditional GAN: one loop, on one CPU core or many GPUs.

Every epoch leaves a row of losses (losses.csv), a picture of fixed samples and
a checkpoint; a run that is stopped goes on from the last one to the same
weights. Source of the procedure: Isola et al., CVPR 2017.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from synthlib import figures, metrics, pairs, runs, tasks
from synthlib.phase import generator, pix2pix
from synthlib.records import PhasePair

L1_WEIGHTS = ("uniform", "signal")


@dataclasses.dataclass(frozen=True)
class GanSettings:
    """How a generator is trained; the defaults are the paper's.

    Attributes:
        mode, ngf, depth: see generator.Architecture.
        ndf: channels of the discriminator's first layer.
        epochs, batch_size, learning_rate, beta1, beta2, lambda_l1: as in the paper.
        l1_weight: "uniform" as in the paper, or "signal": see pix2pix.l1_loss.
        seed: initial weights, order of slices and dropout follow from it.
        accelerator, devices, precision: as Lightning Fabric takes them ("auto",
            "cpu", "cuda"; a number; "32-true", "bf16-mixed" ...).
        threads: of the CPU; the last bits of gradients, and so the weights, depend on
            their number. More than one only pays for large networks on idle cores.
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

    def __post_init__(self) -> None:
        if self.l1_weight not in L1_WEIGHTS:
            raise ValueError(
                f"l1_weight {self.l1_weight!r} is unknown; expected one of {', '.join(L1_WEIGHTS)}"
            )
        if self.threads < 1:
            raise ValueError(
                f"{self.threads} CPU threads were asked for; expected one or more. Set threads."
            )

    @property
    def architecture(self) -> generator.Architecture:
        return generator.Architecture(self.mode, self.ngf, self.depth)


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: what it learns from, what it shows on the way, where it leaves its files."""

    volumes: Sequence[pairs.PreparedVolume]
    samples: Sequence[PhasePair]
    folder: Path
    settings: GanSettings
    label: str = "generator"
    key: str = dataclasses.field(init=False)  # fixed here: it travels to other processes

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _key(self))

    @property
    def path(self) -> Path:
        """The folder of this training's files."""
        return self.folder / self.key


def train(job: Job) -> generator.PhaseGenerator:
    """Train to the last epoch, from where an earlier run of the same job stopped.

    Files lie in job.path, whose name is a hash of the settings and the data, so
    that another training never overwrites this one: losses.csv,
    samples/epoch_NNN.png, checkpoint.pt, and generator_epochNNN.safetensors at the end.

    Raises:
        ValueError: no slices; slices of several sizes in one batch; images too
            small for the depth.
    """
    settings = job.settings
    if not job.volumes:
        raise ValueError("there are no scans to train the generator on; expected at least one")
    sizes = {volume.raw.image_shape for volume in job.volumes}
    if settings.batch_size > 1 and len(sizes) > 1:
        raise ValueError(
            f"batch_size {settings.batch_size} with images of {len(sizes)} sizes {sorted(sizes)}; "
            "images of one batch must have one size. Use batch_size 1, as the paper does."
        )
    folder = job.path
    weights = _weights(folder, settings.epochs)
    if not weights.is_file():
        done = _epochs_done(folder)
        if done > settings.epochs:
            raise ValueError(
                f"{job.label}: an earlier run with these settings went on to epoch {done}, "
                f"{settings.epochs} epochs were asked for, and their weights were not kept. "
                f"Ask for {done} epochs or more, or choose another out_dir."
            )
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices,
            precision=settings.precision,  # type: ignore[arg-type]
            strategy=_strategy(settings),
        )
        fabric.launch(partial(_train_loop, job=job, folder=folder))
    return generator.load(weights)


def _key(job: Job) -> str:
    lasting = dataclasses.asdict(job.settings)
    for name in ("epochs", "accelerator", "devices"):  # these may change between two runs
        lasting.pop(name)
    hashes = sorted((volume.name, volume.fingerprint) for volume in job.volumes)
    code = runs.code_fingerprint(
        "phase.pix2pix", "phase.convolutions", "phase.training", "phase.generator", "pairs.scaling"
    )
    return runs.fingerprint(lasting, hashes, code)


def _epochs_done(folder: Path) -> int:
    table = folder / "losses.csv"
    return len(table.read_text().splitlines()) - 1 if table.is_file() else 0


def _weights(folder: Path, epochs: int) -> Path:
    return folder / f"generator_epoch{epochs:03d}.safetensors"


def _strategy(settings: GanSettings) -> Any:
    if settings.devices == 1:
        return "auto"
    from lightning_fabric.strategies import DDPStrategy

    # Two passes through the discriminator before one backward pass: DDP must not
    # overwrite its batch norm buffers in between.
    return DDPStrategy(start_method="spawn", broadcast_buffers=False)


def _train_loop(fabric: Fabric, job: Job, folder: Path) -> None:
    with tasks.torch_threads(job.settings.threads):
        _train_epochs(fabric, job, folder)


def _train_epochs(fabric: Fabric, job: Job, folder: Path) -> None:
    settings = job.settings
    dataset = pairs.PairDataset(job.volumes, settings.mode)
    with runs.seeded(settings.seed, "initial weights"):
        network = settings.architecture.build()
        judge = pix2pix.PatchDiscriminator(1 + generator.MODES[settings.mode], settings.ndf)
        pix2pix.initialise(network)
        pix2pix.initialise(judge)
    g, g_adam = fabric.setup(network, _adam(network, settings))
    d, d_adam = fabric.setup(judge, _adam(judge, settings))
    parts = {"generator": network, "discriminator": judge, "g_adam": g_adam, "d_adam": d_adam}
    rows = _resume(folder / "checkpoint.pt", parts)
    if rows and fabric.is_global_zero:
        _write_losses(folder, rows)  # the last run may have been killed just before it did

    gpus = [fabric.device] if fabric.device.type == "cuda" else []
    with tasks.Progress(f"{job.label}: epoch", settings.epochs, done=len(rows)) as progress:
        for epoch in range(len(rows), settings.epochs):
            loader: Any = fabric.setup_dataloaders(
                _loader(dataset, settings, epoch, fabric), use_distributed_sampler=False
            )
            # Everything random in an epoch follows from its number: that is what
            # makes a resumed run the same as an uninterrupted one.
            with runs.seeded(settings.seed, "epoch", epoch, fabric.global_rank, devices=gpus):
                means: Any = torch.stack(
                    [_step(fabric, g, d, g_adam, d_adam, batch, settings) for batch in loader]
                ).mean(0)
            means = fabric.all_reduce(means, reduce_op="mean")
            if fabric.is_global_zero:
                error = _show_samples(network, job, folder, epoch)
                d_loss, g_gan, g_l1 = (float(value) for value in means)
                rows.append([epoch + 1, d_loss, g_gan, g_l1, error])
                _save_epoch(folder, parts, rows)
                progress.step(f"phase error of samples {error:.2f} rad" if error == error else "")
            fabric.barrier()
    if fabric.is_global_zero:
        sources = pairs.input_hashes(list(job.volumes))
        pixels = torch.tensor([volume.raw.spacing_mm for volume in job.volumes]).median(0).values
        turned = sum(volume.raw.upside_down for volume in job.volumes)
        if 0 < turned < len(job.volumes):
            warnings.warn(
                f"{turned} of {len(job.volumes)} training scans are upside down (fastMRI's own); "
                "expected all or none. The generator is told the side of most of them.",
                stacklevel=2,
            )
        parameters = {
            "gan": dataclasses.asdict(settings),
            generator.PIXELS: pixels.tolist(),
            generator.UPSIDE_DOWN: 2 * turned > len(job.volumes),
        }
        record = runs.make_record(parameters, sources)
        weights = _weights(folder, settings.epochs)
        generator.save(weights, network, settings.architecture, record)


def _adam(network: torch.nn.Module, settings: GanSettings) -> torch.optim.Adam:
    betas = (settings.beta1, settings.beta2)
    # fused: one pass over the weights instead of seven; at batch 1 that is a fifth of the step
    return torch.optim.Adam(network.parameters(), settings.learning_rate, betas, fused=True)


def _step(
    fabric: Fabric,
    g: Any,
    d: Any,
    g_adam: Any,
    d_adam: Any,
    batch: tuple[Tensor, Tensor],
    settings: GanSettings,
) -> Tensor:
    """One step of the discriminator, then one of the generator; their three losses."""
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
    g_adam.zero_grad()
    fabric.backward(g_gan + settings.lambda_l1 * g_l1)
    g_adam.step()
    return torch.stack([d_loss.detach(), g_gan.detach(), g_l1.detach()])


def _loader(
    dataset: pairs.PairDataset, settings: GanSettings, epoch: int, fabric: Fabric
) -> DataLoader:
    """The slices of one epoch for this process, in an order that follows from the seed."""
    order = torch.randperm(len(dataset), generator=runs.rng(settings.seed, "order", epoch)).tolist()
    world = fabric.world_size
    order += order[: -len(order) % world]  # every process takes as many steps
    return DataLoader(Subset(dataset, order[fabric.global_rank :: world]), settings.batch_size)


def _resume(checkpoint: Path, parts: dict[str, Any]) -> list[list[float]]:
    """Load the last epoch's state into the parts; the rows of losses so far."""
    state = runs.read_checkpoint(checkpoint)
    if state is None:
        return []
    generator.require_fit(checkpoint.name, parts["generator"], state["generator"])
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return list(state["rows"])


def _save_epoch(folder: Path, parts: dict[str, Any], rows: list[list[float]]) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    runs.write_checkpoint(folder / "checkpoint.pt", {**state, "rows": rows})
    _write_losses(folder, rows)


def _write_losses(folder: Path, rows: list[list[float]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", "d_loss", "g_gan_loss", "g_l1_loss", "sample_phase_error_rad"])
    writer.writerows([int(row[0]), *(f"{value:.6f}" for value in row[1:])] for row in rows)
    runs.write_text(folder / "losses.csv", text.getvalue())


def _show_samples(network: torch.nn.Module, job: Job, folder: Path, epoch: int) -> float:
    """Picture of the samples after this epoch; their mean phase error in radians."""
    writer = generator.PhaseGenerator(network, job.settings.architecture)
    phases = [
        writer(pair.magnitude, seed=job.settings.seed, name=pair.name) for pair in job.samples
    ]
    if not phases:
        return float("nan")
    figure = figures.phase_samples(job.samples, phases, title=f"{job.label}, epoch {epoch + 1}")
    with runs.atomic_path(folder / "samples" / f"epoch_{epoch + 1:03d}.png") as scratch:
        figure.savefig(scratch, format="png", dpi=100)
    errors = [
        metrics.mean_abs_phase_error(phase, pair.phase, pair.magnitude * pair.head)
        for pair, phase in zip(job.samples, phases, strict=True)
    ]
    return sum(errors) / len(errors)


def losses(job: Job) -> list[dict[str, float]]:
    """The rows of losses.csv of a job."""
    with (job.path / "losses.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def train_all(
    jobs: Sequence[Job], *, workers: int = 1, scheduler: str = ""
) -> list[generator.PhaseGenerator]:
    """Train several generators, side by side where there are workers."""
    return tasks.run_all(
        train, jobs, label="generators trained", workers=workers, scheduler=scheduler
    )


def weights_path(out_dir: str | Path, n_coils: int) -> Path:
    """Where :func:`publish` puts the weights of one coil count."""
    return runs.resolve(out_dir) / "models" / f"generator_{n_coils}coil.safetensors"


def publish(trained: generator.PhaseGenerator, out_dir: str | Path, n_coils: int) -> Path:
    """Copy a generator to where other notebooks look for it."""
    path = weights_path(out_dir, n_coils)
    generator.save(path, trained.network, trained.architecture, trained.record)
    return path


def find_or_train(
    which: str, parts: dict[str, list[pairs.PreparedVolume]], out_dir: str | Path, seed: int
) -> Path:
    """The weights that a notebook asks for.

    Args:
        which: "trained", what notebook 02 left in out_dir; "tiny", a small
            generator trained here for seconds, which shows that the chain works
            and no more; or the path of a safetensors file, in which "{n_coils}"
            stands for the coil count.
        parts: scans of one coil count.
        out_dir: relative to the project root.
        seed: of the tiny training.

    Raises:
        FileNotFoundError: the weights are not there.
    """
    n_coils = parts["gan"][0].raw.n_coils
    if which == "trained":
        path = weights_path(out_dir, n_coils)
    elif which == "tiny":
        settings = GanSettings(ngf=8, ndf=8, depth=6, epochs=2, seed=seed, accelerator="cpu")
        folder = runs.resolve(out_dir) / "models" / f"tiny_{n_coils}coil"
        return publish(train(Job(parts["gan"], [], folder, settings)), folder, n_coils)
    else:
        path = runs.resolve(which.replace("{n_coils}", str(n_coils)))
    if not path.is_file():
        raise FileNotFoundError(
            f"no generator for {n_coils} coils at {path}. Run notebook 02_gan_training with "
            f"{n_coils} among its coil_counts and this out_dir, or name a file of weights."
        )
    return path
