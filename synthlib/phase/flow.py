"""Phase by factors: a smooth surface drawn for a scan, and fine phase by a conditional flow."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from synthlib import arrays, runs, tasks
from synthlib.phase import smooth
from synthlib.phase.flow_examples import CONTRASTS
from synthlib.phase.flow_network import FlowArchitecture, FlowNetwork
from synthlib.phase.flow_training import BRIGHT, UNKNOWN, source_noise
from synthlib.phase.generator import read_weights, require_fit

STEPS = 3  # of the way from noise to phase
USUAL = "axial"  # orientation of slices that do not say theirs


@dataclasses.dataclass(frozen=True)
class PhaseFlow:
    """Writes phase for magnitude images; every seed is another draw.

    Attributes:
        smooth: statistics by orientation.
        record: of the training.
    """

    network: FlowNetwork
    architecture: FlowArchitecture
    smooth: dict[str, smooth.ScanStatistics] = dataclasses.field(default_factory=dict)
    record: dict[str, Any] = dataclasses.field(default_factory=dict)

    @torch.no_grad()
    def fine(
        self,
        magnitude: Tensor,
        spacing_mm: tuple[float, float],
        rng: torch.Generator,
        *,
        contrast: str = "",
        steps: int = STEPS,
    ) -> Tensor:
        """A draw of the fine phase of slices at their own resolution: float32 (..., y, x), radians.

        Args:
            magnitude: (..., y, x), >= 0, any unit; spacing_mm: (y, x) of a pixel, nan if unknown.
            rng: draws where the path starts.
            contrast: a name of CONTRASTS; any other is unknown.
            steps: of Euler's method, 1 or more.

        Raises:
            ValueError: fewer than one step.
        """
        if steps < 1:
            raise ValueError(f"{steps} steps from noise to phase; expected 1 or more. 3 are usual.")
        images = magnitude.reshape(-1, *magnitude.shape[-2:]).float()
        n, ny, nx = images.shape
        scaled = torch.stack([image / _bright(image) for image in images])[:, None]
        multiple = self.network.multiple
        margin = (0, -nx % multiple, 0, -ny % multiple)
        seen = functional.pad(scaled, margin)
        state = functional.pad(source_noise((n, ny, nx), rng), margin)
        label = torch.full((n,), label_of(contrast))
        log_mm = torch.full((n,), _log_mm(spacing_mm))
        for step in range(steps):
            time = torch.full((n,), step / steps)
            expected = self.network(state, seen, time, label, log_mm)
            state = state + (expected - state) / (steps - step)
        fine = torch.atan2(state[:, 1], state[:, 0])[:, :ny, :nx]
        return fine.reshape(magnitude.shape)

    @tasks.torch_threads(1)
    def scan(
        self,
        magnitude: Tensor,
        spacing_mm: tuple[float, float],
        *,
        seed: int,
        name: str,
        contrast: str = "",
        orientation: str = USUAL,
    ) -> Tensor:
        """Phase of all slices of a scan: float32 (slice, y, x), radians in (-pi, pi].

        The slices share one smooth draw; each has a draw of its own of the fine part.

        Args:
            magnitude: (slice, y, x); the others as in :meth:`slice`.
        """
        last = len(magnitude) - 1
        return torch.stack(
            [
                self.slice(
                    image, spacing_mm, seed=seed, scan=name, index=index,
                    position=index / last if last else 0.5,
                    contrast=contrast, orientation=orientation,
                )
                for index, image in enumerate(magnitude)
            ]
        )  # fmt: skip

    @tasks.torch_threads(1)
    def slice(
        self,
        magnitude: Tensor,
        spacing_mm: tuple[float, float],
        *,
        seed: int,
        scan: str,
        index: int,
        position: float,
        contrast: str = "",
        orientation: str = USUAL,
    ) -> Tensor:
        """Phase of one slice: float32 (y, x), radians in (-pi, pi].

        Args:
            magnitude: (y, x), >= 0; spacing_mm: (y, x) of a pixel, nan if unknown.
            seed, scan: choose the scan's smooth part; with the index its fine part.
            index: of the slice; position: 0 to 1 through the stack.
            contrast: a name of CONTRASTS, or unknown; orientation: "axial", "coronal", "sagittal".
        """
        rng = runs.rng(seed, "flow", "fine", scan, index)
        phase = self.fine(magnitude, spacing_mm, rng, contrast=contrast)
        if self.smooth:
            statistics = self.smooth.get(orientation) or self.smooth[USUAL]
            coefficients = statistics.draw(runs.rng(seed, "flow", "smooth", scan))
            shape = (magnitude.shape[0], magnitude.shape[1])
            phase = phase + smooth.surface(coefficients, shape, spacing_mm, 2 * position - 1)
        return arrays.wrap(phase)


def label_of(contrast: str) -> int:
    """The network's number of a contrast."""
    return CONTRASTS.index(contrast) if contrast in CONTRASTS else UNKNOWN


def _log_mm(spacing_mm: tuple[float, float]) -> float:
    """log2 of a pixel's mm; 1 mm where nobody named its size."""
    area = spacing_mm[0] * spacing_mm[1]
    return 0.5 * math.log2(area) if math.isfinite(area) and area > 0 else 0.0


def _bright(image: Tensor) -> Tensor:
    """What counts as 1: the BRIGHT quantile of the pixels that are not dark."""
    lit = image[image > arrays.dark_level(image)]
    return lit.quantile(BRIGHT).clamp(min=1e-20) if len(lit) else image.new_ones(())


def save(path: str | Path, writer: PhaseFlow) -> None:
    """Write weights and statistics as safetensors, with architecture and record inside."""
    metadata = {
        "flow": json.dumps(dataclasses.asdict(writer.architecture)),
        "record": json.dumps(writer.record, sort_keys=True, default=str),
    }
    tensors = {**writer.network.state_dict(), **smooth.to_tensors(writer.smooth)}
    runs.write_weights(path, tensors, metadata)


def load(path: str | Path) -> PhaseFlow:
    """Read a file that :func:`save` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not safetensors, not a flow, or one of another architecture.
    """
    path = Path(path)
    metadata, tensors = read_weights(
        path,
        "a flow's weights (.safetensors). Train one with phase.flow_training.train_flow, and save "
        "it with phase.flow.save",
    )
    if "flow" not in metadata:
        raise ValueError(f"{path.name} holds no flow; expected a file that phase.flow.save wrote.")
    entries = json.loads(metadata["flow"])
    unknown = entries.keys() - {field.name for field in dataclasses.fields(FlowArchitecture)}
    if unknown:
        raise ValueError(
            f"{path.name} names {', '.join(sorted(unknown))} in its architecture, which this "
            "version of synthlib does not know. Update synthlib, or use weights of this version."
        )
    architecture = FlowArchitecture(**{**entries, "widths": tuple(entries["widths"])})
    network = architecture.build().eval().requires_grad_(False)
    weights = {name: value for name, value in tensors.items() if not name.startswith("smooth.")}
    require_fit(path.name, network, weights)
    network.load_state_dict(weights)
    record = json.loads(metadata.get("record", "{}"))
    return PhaseFlow(network, architecture, smooth.from_tensors(tensors), record)
