"""Training the conditional GAN: one loop, on one CPU core or many GPUs.

Every epoch leaves a row of losses (losses.csv), a picture of fixed samples and
a checkpoint; a run that is stopped goes on from the last one to the same
weights. Source of the procedure: Isola et al., CVPR 2017.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Subset

from synthlib import pairs, runs, tasks
from synthlib.phase import epochs, generator, jitter, norms, pix2pix, steps
from synthlib.phase.settings import GanSettings
from synthlib.records import PhasePair

# what a trained network rests on
CODE = (
    *(f"phase.{name}" for name in ("consistency", "convolutions", "epochs", "generator", "jitter")),
    *(f"phase.{name}" for name in ("norms", "pix2pix", "resizing", "settings", "steps")),
    "phase.training",
    "pairs.scaling",
)


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
    return runs.fingerprint(lasting, hashes, runs.code_fingerprint(*CODE))


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
    network, discriminator = _networks(settings)
    g, g_adam = fabric.setup(network, steps.adam(network, settings))
    d_adam = steps.adam(discriminator, settings, settings.discriminator_rate)
    d, d_adam = fabric.setup(discriminator, d_adam)
    parts = {
        "generator": network,
        "discriminator": discriminator,
        "g_adam": g_adam,
        "d_adam": d_adam,
    }
    rows = epochs.resume(folder / "checkpoint.pt", parts)
    if rows and fabric.is_global_zero:
        epochs.write_losses(folder, rows)  # the last run may have been killed just before it did

    gpus = [fabric.device] if fabric.device.type == "cuda" else []
    with tasks.Progress(f"{job.label}: epoch", settings.epochs, done=len(rows)) as progress:
        for epoch in range(len(rows), settings.epochs):
            loader: Any = fabric.setup_dataloaders(
                _loader(job, epoch, fabric), use_distributed_sampler=False
            )
            # Everything random in an epoch follows from its number: that is what
            # makes a resumed run the same as an uninterrupted one.
            with runs.seeded(settings.seed, "epoch", epoch, fabric.global_rank, devices=gpus):
                means: Any = torch.stack(
                    [
                        steps.train_step(fabric, g, d, g_adam, d_adam, batch, settings)
                        for batch in loader
                    ]
                ).mean(0)
            means = fabric.all_reduce(means, reduce_op="mean")
            if fabric.is_global_zero:
                error = epochs.show_samples(
                    network,
                    settings.architecture,
                    job.samples,
                    folder / "samples" / f"epoch_{epoch + 1:03d}.png",
                    seed=settings.seed,
                    title=f"{job.label}, epoch {epoch + 1}",
                )
                d_loss, g_gan, g_l1, *more = (float(value) for value in means)
                rows.append([epoch + 1, d_loss, g_gan, g_l1, error, *more])
                epochs.save(folder, parts, rows)
                progress.step(f"phase error of samples {error:.2f} rad" if error == error else "")
            fabric.barrier()
    if fabric.is_global_zero:
        record = _record(job)
        generator.save(_weights(folder, settings.epochs), network, settings.architecture, record)


def _networks(settings: GanSettings) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Generator and discriminator with the initial weights that follow from the seed."""
    with runs.seeded(settings.seed, "initial weights"):
        network, discriminator = settings.architecture.build(), settings.build_discriminator()
        pix2pix.initialise(network)
        pix2pix.initialise(discriminator)
        if settings.discriminator_norm == "spectral":
            norms.limit_spectrum(discriminator)
    return network, discriminator


def _record(job: Job) -> dict[str, Any]:
    """What the weights say of their training."""
    sources = pairs.input_hashes(list(job.volumes))
    pixels = torch.tensor([volume.raw.spacing_mm for volume in job.volumes]).median(0).values
    if job.settings.jitter:  # the network saw enlarged images
        pixels = pixels / jitter.ENLARGED
    turned = sum(volume.raw.upside_down for volume in job.volumes)
    if 0 < turned < len(job.volumes):
        warnings.warn(
            f"{turned} of {len(job.volumes)} training scans are upside down (fastMRI's own); "
            "expected all or none. The generator is told the side of most of them.",
            stacklevel=2,
        )
    parameters = {
        "gan": dataclasses.asdict(job.settings),
        generator.PIXELS: pixels.tolist(),
        generator.UPSIDE_DOWN: 2 * turned > len(job.volumes),
    }
    return runs.make_record(parameters, sources)


def _loader(job: Job, epoch: int, fabric: Fabric) -> DataLoader:
    """The slices of one epoch for this process, in an order that follows from the seed."""
    settings = job.settings
    alter = partial(jitter.jitter_pair, seed=settings.seed, epoch=epoch)
    dataset = pairs.PairDataset(
        job.volumes, settings.mode, settings.scale, alter if settings.jitter else None
    )
    order = torch.randperm(len(dataset), generator=runs.rng(settings.seed, "order", epoch)).tolist()
    world = fabric.world_size
    order += order[: -len(order) % world]  # every process takes as many steps
    return DataLoader(Subset(dataset, order[fabric.global_rank :: world]), settings.batch_size)


def losses(job: Job) -> list[dict[str, float]]:
    """The rows of losses.csv of a job."""
    return epochs.read_losses(job.path)


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
