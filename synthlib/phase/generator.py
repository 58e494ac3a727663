"""A trained generator in use: weights in and out, magnitude to phase."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from synthlib import arrays, pairs, runs, tasks
from synthlib.phase.settings import Architecture

# In a record's parameters: (y, x) pixel size of the training images, and whether their rows
# run the other way than in DICOM's views.
PIXELS, UPSIDE_DOWN = "pixels_mm", "upside_down"
LEAST_EDGE = 16  # pixels of a resampled image
FEW_SCANS = 100  # fewer are a demonstration
ALIKE = 1.25  # pixel sizes that differ by less need no resampling


@dataclasses.dataclass(frozen=True)
class PhaseGenerator:
    """Writes phase for magnitude images; every draw of its dropout is another phase."""

    network: torch.nn.Module
    architecture: Architecture
    record: dict[str, Any] = dataclasses.field(default_factory=dict)

    @torch.no_grad()
    @tasks.torch_threads(1)
    def __call__(self, magnitude: Tensor, *, seed: int, name: str = "") -> Tensor:
        """Phase of one slice.

        Args:
            magnitude: float (y, x), >= 0, any unit.
            seed, name: choose the draw of dropout; the same pair gives the same phase.

        Returns:
            float32 (y, x), radians in (-pi, pi], on the matrix of the magnitude.
        """
        device = next(self.network.parameters()).device
        scaled = pairs.scale_magnitude(
            magnitude.to(device, torch.float32), self.architecture.scale
        )[None, None]
        gpus = [device] if device.type == "cuda" else []
        with runs.seeded(seed, "dropout", name, devices=gpus):
            target = self.network(scaled)[0]  # (channel, y, x)
        return arrays.wrap(pairs.target_to_phase(target, self.architecture.mode)).cpu()

    @tasks.torch_threads(1)
    def at_pixels(
        self,
        magnitude: Tensor,
        spacing_mm: tuple[float, float],
        *,
        seed: int,
        name: str = "",
        upside_down: bool = False,
    ) -> Tensor:
        """Phase of one slice whose pixels are not those that the generator was trained on.

        A network knows anatomy at one size, and from one side: rows are turned to
        run as in the training, and back. The magnitude is brought to the
        pixel size of the training, and the phase it gets, as exp(i phase), back:
        wrapped phase itself is never interpolated. Where either size is unknown,
        or they are alike, the network sees the image as it is.

        Args:
            magnitude: float (y, x), >= 0.
            spacing_mm: (y, x) of its pixels.
            seed, name: as in calling the generator.
            upside_down: rows of the magnitude run the other way than in DICOM's views.

        Returns:
            float32 (y, x), radians in (-pi, pi].
        """
        known = self.record.get("parameters", {})
        turn = upside_down != bool(known.get(UPSIDE_DOWN, upside_down))  # older ones do not tell
        image = magnitude.flip(0) if turn else magnitude
        phase = self._resampled(image, spacing_mm, known.get(PIXELS, (0, 0)), seed, name)
        return phase.flip(0) if turn else phase

    def _resampled(
        self,
        magnitude: Tensor,
        spacing_mm: tuple[float, float],
        trained: Sequence[float],
        seed: int,
        name: str,
    ) -> Tensor:
        factors = [of / to if to > 0 else 1.0 for of, to in zip(spacing_mm, trained, strict=True)]
        if not all(1 / ALIKE < f < ALIKE for f in factors) and all(f == f for f in factors):
            ny, nx = magnitude.shape
            shape = max(LEAST_EDGE, round(ny * factors[0])), max(LEAST_EDGE, round(nx * factors[1]))
            image = torch.complex(magnitude.float(), torch.zeros_like(magnitude.float()))
            seen = arrays.resample(image, shape).real.clamp(min=0)
            phase = self(seen, seed=seed, name=name)
            return arrays.resample(torch.polar(torch.ones_like(phase), phase), (ny, nx)).angle()
        return self(magnitude, seed=seed, name=name)


def save(
    path: str | Path, network: torch.nn.Module, architecture: Architecture, record: dict[str, Any]
) -> None:
    """Write weights as safetensors, with architecture and record inside."""
    metadata = {
        "architecture": json.dumps(dataclasses.asdict(architecture)),
        "record": json.dumps(record, sort_keys=True, default=str),
    }
    runs.write_weights(path, network.state_dict(), metadata)


def load(path: str | Path, device: str = "cpu") -> PhaseGenerator:
    """Read weights that :func:`save` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not safetensors, not a generator, weights of another architecture, or of
            one that only a newer version knows.
    """
    path = Path(path)
    metadata, weights = read_weights(
        path,
        "a generator's weights (.safetensors). Train one with notebook 02_gan_training, or name "
        "the file of an earlier training",
    )
    if "architecture" not in metadata:
        raise ValueError(
            f"{path.name} does not say which architecture its weights are for; expected a file "
            "written by notebook 02_gan_training."
        )
    architecture = _architecture(path.name, json.loads(metadata["architecture"]))
    with torch.device("meta"):  # no weights are drawn that the file's would replace
        network = architecture.build()
    require_fit(path.name, network, weights)
    network.load_state_dict(weights, assign=True)
    record = json.loads(metadata.get("record", "{}"))
    return PhaseGenerator(network.to(device), architecture, record)


def read_weights(path: Path, expected: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file of weights.

    Args:
        expected: what the file should be, and where it comes from, for the errors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not safetensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; expected {expected}.")
    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, weights
    except SafetensorError as error:
        raise ValueError(
            f"{path.name} is truncated or not safetensors ({error}); expected {expected}."
        ) from error


def _architecture(name: str, entries: dict[str, Any]) -> Architecture:
    """Of a file's metadata; what older files do not name is as it was then, the default."""
    unknown = entries.keys() - {field.name for field in dataclasses.fields(Architecture)}
    if unknown:
        raise ValueError(
            f"{name} names {', '.join(sorted(unknown))} in its architecture, which this version of "
            "synthlib does not know. Update synthlib, or use weights of this version."
        )
    return Architecture(**entries)


def demonstration(record: Mapping[str, Any]) -> str:
    """What to say of weights that learned from fewer than FEW_SCANS scans; "" for any other.

    Args:
        record: of a generator or a flow.
    """
    n_scans = int(record.get("parameters", {}).get("n_scans", 0)) or len(record.get("inputs", ()))
    if not 0 < n_scans < FEW_SCANS:
        return ""
    return (
        f"these weights learned from {n_scans} scans: they show how the chain works, and their "
        f"phase is not to be trained on. Take the default, or weights of {FEW_SCANS} scans or more"
    )


def device_for(accelerator: str) -> str:
    """The torch device that an accelerator of Lightning Fabric's names means for inference."""
    wants_gpu = accelerator in ("auto", "cuda", "gpu")
    return "cuda" if wants_gpu and torch.cuda.is_available() else "cpu"


def require_fit(name: str, network: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Raise ValueError, naming the first layer that differs, unless the weights fit."""
    wanted = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    found = {k: tuple(v.shape) for k, v in weights.items()}
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            raise ValueError(
                f"{name} holds weights of another architecture: {key} is "
                f"{found.get(key, 'missing')}, expected {wanted.get(key, 'nothing of that name')}. "
                "Use the settings it was trained with, or train again."
            )
