"""Training of the flow's two stages on simulated slices."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from synthlib import runs, tasks
from synthlib.phase.flow.batches import (
    Batch,
    Degrading,
    Prepared,
    coarse_batch,
    fine_batch,
    prepare,
)
from synthlib.phase.flow.examples import Example
from synthlib.phase.flow.network import FlowNetwork
from synthlib.phase.flow.paths import COARSE, FINE, Stage, loss_of

STAGES = {"coarse": COARSE, "fine": FINE}
EMA = 0.998  # of the weights that are kept in the end


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a stage is trained.

    Attributes:
        name: "coarse" or "fine"; stage: its network and noise.
        steps: of the optimiser; batch: images of each.
        learning_rate: at its highest, after `warm_up` steps; it ends at nothing by a cosine.
        save_every: steps between checkpoints.
        half: convolutions in bfloat16, twice as fast where the processor has it.
    """

    name: str = "coarse"
    stage: Stage = COARSE
    steps: int = 8_000
    batch: int = 12
    learning_rate: float = 2e-3
    warm_up: int = 200
    degrading: Degrading = dataclasses.field(default_factory=Degrading)
    save_every: int = 250
    half: bool = True
    seed: int = 2023

    def __post_init__(self) -> None:
        if self.name not in STAGES:
            raise ValueError(f"stage {self.name!r}; expected one of {', '.join(STAGES)}")

    def draw(self, prepared: Sequence[Prepared], step: int) -> Batch:
        """The images of one step: examples, places, mirrors, noise and shading are drawn."""
        make = coarse_batch if self.name == "coarse" else fine_batch
        return make(prepared, self.batch, self.degrading, self.seed, step)


@tasks.torch_threads(1)
def train(
    examples: Sequence[Example], settings: TrainingSettings, folder: Path, device: str = "cpu"
) -> tuple[FlowNetwork, list[float]]:
    """Train, or go on where a killed training of the same settings was.

    Args:
        examples: the slices to learn from; folder: of the checkpoint.
        device: "cpu" or "cuda".

    Returns:
        the network with the mean weights of the last steps, and the loss, mean between
        checkpoints.

    Raises:
        ValueError: no examples, or a checkpoint of other settings, examples or code.
    """
    if not examples:
        raise ValueError("no examples to learn from; expected slices of flow.examples.examples")
    training = _Training.begin(settings, _key(examples, settings), device)
    checkpoint = folder / f"{settings.name}.ckpt"
    training.resume(checkpoint)
    prepared = [prepare(example, native=settings.name == "fine") for example in examples]
    recent: list[float] = []
    with tasks.Progress(f"flow, {settings.name}", settings.steps, training.step) as progress:
        while training.step < settings.steps:
            recent.append(training.one_step(settings.draw(prepared, training.step)))
            progress.step()
            if training.step % settings.save_every == 0 or training.step == settings.steps:
                training.losses.append(sum(recent) / len(recent))
                recent = []
                runs.write_checkpoint(checkpoint, training.state())
    return training.mean, training.losses


def _key(examples: Sequence[Example], settings: TrainingSettings) -> str:
    """Changes with all that the weights follow from."""
    content = hashlib.sha256()
    for example in examples:
        facts = example.label, example.field_t, example.spacing_mm, example.orientation
        content.update(str(facts).encode())
        for image in (example.magnitude, example.fine, example.head):
            content.update(image.contiguous().numpy().tobytes())
    return runs.fingerprint(
        dataclasses.asdict(settings), content.hexdigest(), runs.code_fingerprint("phase.flow")
    )


@dataclasses.dataclass
class _Training:
    """What changes from step to step."""

    settings: TrainingSettings
    key: str
    network: FlowNetwork
    mean: FlowNetwork
    adam: torch.optim.AdamW
    step: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)

    @classmethod
    def begin(cls, settings: TrainingSettings, key: str, device: str) -> _Training:
        with runs.seeded(settings.seed, "flow", settings.name, "weights"):
            network = settings.stage.architecture.build()
        network = network.to(device)
        mean = copy.deepcopy(network).eval().requires_grad_(False)
        adam = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=1e-2)
        return cls(settings, key, network, mean, adam)

    def one_step(self, batch: Batch) -> float:
        """Learn from a batch; its loss."""
        settings = self.settings
        for group in self.adam.param_groups:
            group["lr"] = settings.learning_rate * _rate(self.step, settings)
        rng = runs.rng(settings.seed, "flow", settings.name, "path", self.step)
        device = next(self.network.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.half):
            loss = loss_of(
                self.network,
                batch.given.to(device),
                batch.target.to(device),
                batch.weight.to(device),
                settings.stage,
                rng,
            )
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.adam.step()
        decay = min(EMA, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
        self.step += 1
        return loss.item()

    def state(self) -> dict[str, object]:
        return {
            "key": self.key,
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "adam": self.adam.state_dict(),
            "step": self.step,
            "losses": self.losses,
        }

    def resume(self, checkpoint: Path) -> None:
        state = runs.read_checkpoint(checkpoint)
        if state is None:
            return
        if state["key"] != self.key:
            raise ValueError(
                f"{checkpoint.name} in {checkpoint.parent.name} is of a training with other "
                "settings, examples or code. Delete it, or train in another folder."
            )
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        self.adam.load_state_dict(state["adam"])
        self.step, self.losses = state["step"], state["losses"]


def _rate(step: int, settings: TrainingSettings) -> float:
    """Share of the learning rate at a step."""
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return 0.5 * (1 + math.cos(math.pi * done))
