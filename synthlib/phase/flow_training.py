"""Training of the flow: straight paths from noise to the fine phase of simulated slices."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from synthlib import runs, tasks
from synthlib.phase.flow_examples import CONTRASTS, Example
from synthlib.phase.flow_network import FlowArchitecture, FlowNetwork

UNKNOWN = len(CONTRASTS)  # the label of a contrast that nobody named
SCALES = (1, 4, 16)  # pixels between the independent values of the noise's parts
NOISE_RAD = 0.5  # s.d. of the noise around no fine phase, about as wide as what it becomes
FLOOR = 0.02  # weight of what gives no signal: there the phase is to be none
BRIGHT = 0.99  # quantile of the head's magnitude that counts as 1
EMA = 0.998  # of the weights that are kept in the end
CHECKPOINT = "flow.ckpt"
EARLY = 1.5  # times are uniform numbers to this power


@dataclasses.dataclass(frozen=True)
class FlowSettings:
    """How the flow is trained.

    Attributes:
        steps: of the optimiser; batch: patches of each; patch: pixels of their edges.
        learning_rate: at its highest, after `warm_up` steps; it ends at nothing by a cosine.
        unknown: share of the patches whose contrast is not named.
        noise: smallest and largest s.d. of the noise in a magnitude, by its bright end.
        shading: s.d. of the logarithm of what receivers make uneven.
        save_every: steps between checkpoints.
    """

    architecture: FlowArchitecture = dataclasses.field(default_factory=FlowArchitecture)
    steps: int = 12_000
    batch: int = 8
    patch: int = 96
    learning_rate: float = 2e-3
    warm_up: int = 200
    unknown: float = 0.2
    noise: tuple[float, float] = (0.003, 0.06)
    shading: float = 0.25
    save_every: int = 250
    seed: int = 2023


@dataclasses.dataclass(frozen=True)
class Batch:
    """Patches: magnitude (image, 1, y, x), target (image, 2, y, x), weight (image, 1, y, x)."""

    magnitude: Tensor
    target: Tensor
    weight: Tensor
    label: Tensor
    log_mm: Tensor


def source_noise(shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    """Where paths start: (image, 2, y, x) around (1, 0), coarse and fine noise in equal parts.

    White noise alone would leave the low frequencies of the phase to few values.

    Args:
        shape: (image, y, x).
    """
    n, ny, nx = shape
    parts = []
    for scale in SCALES:
        coarse = torch.randn(n, 2, -(-ny // scale) + 1, -(-nx // scale) + 1, generator=rng)
        if scale > 1:
            coarse = functional.interpolate(coarse, scale_factor=scale, mode="bilinear")
        parts.append(coarse[..., :ny, :nx])
    noise = NOISE_RAD * sum(parts, torch.zeros(())) / len(SCALES) ** 0.5
    noise[:, 0] += 1
    return noise


def draw_batch(examples: Sequence[Example], settings: FlowSettings, step: int) -> Batch:
    """The patches of one step: examples, places, mirrors, noise and shading are drawn."""
    rng = runs.rng(settings.seed, "flow", "batch", step)
    drawn = [_patch(examples, settings, rng) for _ in range(settings.batch)]
    return Batch(*(torch.stack(values) for values in zip(*drawn, strict=True)))


def _patch(
    examples: Sequence[Example], settings: FlowSettings, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    def uniform() -> float:
        return float(torch.rand((), generator=rng))

    example = examples[int(torch.randint(len(examples), (), generator=rng))]
    size = settings.patch
    magnitude, fine, head = (
        functional.pad(image, _padding(image, size))
        for image in (example.magnitude, example.fine, example.head)
    )
    inside = example.magnitude[example.head]
    bright = float(inside.quantile(BRIGHT))
    rows, columns = torch.nonzero(head, as_tuple=True)
    centre = int(torch.randint(len(rows), (), generator=rng))
    top = min(max(int(rows[centre]) - size // 2, 0), head.shape[0] - size)
    left = min(max(int(columns[centre]) - size // 2, 0), head.shape[1] - size)
    cut = slice(top, top + size), slice(left, left + size)
    magnitude, fine, head = magnitude[cut] / bright, fine[cut], head[cut]
    weight = (magnitude * bright / float(inside.median())).clamp(max=1) * head
    target = torch.stack([torch.where(head, fine.cos(), 1.0), torch.where(head, fine.sin(), 0.0)])
    seen = _as_measured(magnitude, settings, rng)
    # a head has a front and a back: sagittal slices are not mirrored
    if uniform() < 0.5 and example.orientation != "sagittal":
        seen, target, weight = (image.flip(-1) for image in (seen, target, weight))
    label = UNKNOWN if uniform() < settings.unknown else CONTRASTS.index(example.contrast)
    log_mm = 0.5 * math.log2(example.spacing_mm[0] * example.spacing_mm[1])
    weight = (weight + FLOOR)[None]
    return seen[None], target, weight, torch.tensor(label), torch.tensor(log_mm)


def _as_measured(magnitude: Tensor, settings: FlowSettings, rng: torch.Generator) -> Tensor:
    """A magnitude (y, x) with the receivers' shading and noise, scaled a little wrongly."""
    coarse = torch.randn(1, 1, 3, 3, generator=rng)
    size = (magnitude.shape[0], magnitude.shape[1])
    uneven = functional.interpolate(coarse, size, mode="bicubic", align_corners=True)[0, 0]
    low, high = (math.log(value) for value in settings.noise)
    share, scale = torch.rand(2, generator=rng).tolist()
    noise = math.exp(low + (high - low) * share) * torch.randn(2, *size, generator=rng)
    shaded = magnitude * torch.exp(settings.shading * uneven) * 1.5 ** (scale - 0.5)
    return ((shaded + noise[0]).square() + noise[1].square()).sqrt()


def _padding(image: Tensor, size: int) -> tuple[int, int, int, int]:
    """Columns and rows that are missing to a patch, before and behind."""
    ny, nx = image.shape
    rows, columns = max(0, size - ny), max(0, size - nx)
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def loss_of(network: FlowNetwork, batch: Batch, rng: torch.Generator) -> Tensor:
    """Weighted mean square error of the phase that the network expects at the end of a path.

    Paths are straight, so that it gives the velocity, too; early times, where little but the
    magnitude tells the phase, are drawn more often.

    Source: Lipman et al., Flow Matching for Generative Modeling, ICLR 2023; Liu et al., ICLR 2023.
    """
    n, _, ny, nx = batch.target.shape
    start = source_noise((n, ny, nx), rng)
    time = torch.rand(n, generator=rng).pow(EARLY)
    state = start + time[:, None, None, None] * (batch.target - start)
    expected = network(state, batch.magnitude, time, batch.label, batch.log_mm)
    error = (expected - batch.target).square().sum(1, keepdim=True)
    return (error * batch.weight).sum() / batch.weight.sum()


@tasks.torch_threads(1)
def train_flow(
    examples: Sequence[Example], settings: FlowSettings, folder: Path
) -> tuple[FlowNetwork, list[float]]:
    """Train, or go on where a killed training of the same settings was.

    Args:
        examples: the slices to learn from; folder: of the checkpoint.

    Returns:
        the network with the mean weights of the last steps, and the loss, mean between
        checkpoints.

    Raises:
        ValueError: no examples, or a checkpoint of other settings, examples or code.
    """
    if not examples:
        raise ValueError("no examples to learn from; expected slices of flow_examples.examples")
    training = _Training.begin(settings, _key(examples, settings))
    checkpoint = folder / CHECKPOINT
    training.resume(checkpoint)
    recent: list[float] = []
    with tasks.Progress("flow", settings.steps, training.step) as progress:
        while training.step < settings.steps:
            recent.append(training.one_step(draw_batch(examples, settings, training.step)))
            progress.step()
            if training.step % settings.save_every == 0 or training.step == settings.steps:
                training.losses.append(sum(recent) / len(recent))
                recent = []
                runs.write_checkpoint(checkpoint, training.state())
    return training.mean, training.losses


def _key(examples: Sequence[Example], settings: FlowSettings) -> str:
    """Changes with all that the weights follow from."""
    content = hashlib.sha256()
    for example in examples:
        content.update(f"{example.contrast} {example.spacing_mm} {example.orientation}".encode())
        for image in (example.magnitude, example.fine, example.head):
            content.update(image.contiguous().numpy().tobytes())
    return runs.fingerprint(
        dataclasses.asdict(settings), content.hexdigest(), runs.code_fingerprint("phase")
    )


@dataclasses.dataclass
class _Training:
    """What changes from step to step."""

    settings: FlowSettings
    key: str
    network: FlowNetwork
    mean: FlowNetwork
    adam: torch.optim.AdamW
    step: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)

    @classmethod
    def begin(cls, settings: FlowSettings, key: str) -> _Training:
        with runs.seeded(settings.seed, "flow", "weights"):
            network = settings.architecture.build()
        mean = copy.deepcopy(network).eval().requires_grad_(False)
        adam = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=1e-2)
        return cls(settings, key, network, mean, adam)

    def one_step(self, batch: Batch) -> float:
        """Learn from a batch; its loss."""
        for group in self.adam.param_groups:
            group["lr"] = self.settings.learning_rate * _rate(self.step, self.settings)
        loss = loss_of(self.network, batch, runs.rng(self.settings.seed, "flow", "path", self.step))
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


def _rate(step: int, settings: FlowSettings) -> float:
    """Share of the learning rate at a step."""
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return 0.5 * (1 + math.cos(math.pi * done))
