"""Weights of a flow, in and out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from synthlib import runs
from synthlib.phase import smooth
from synthlib.phase.flow import familiarity
from synthlib.phase.flow.model import PhaseFlow
from synthlib.phase.flow.network import Architecture, FlowNetwork
from synthlib.phase.flow.paths import Stage
from synthlib.phase.generator import read_weights, require_fit

PARTS = ("coarse", "fine")


def save(path: str | Path, writer: PhaseFlow, *, half: bool = False) -> None:
    """Write weights and statistics as safetensors, with stages and record inside.

    Args:
        half: networks in half precision, for files that are shipped.
    """
    metadata = {
        "flow": json.dumps([dataclasses.asdict(stage) for stage in writer.stages]),
        "record": json.dumps(writer.record, sort_keys=True, default=str),
    }
    tensors = smooth.to_tensors(writer.smooth) | familiarity.to_tensors(writer.familiar)
    for part in PARTS:
        network: FlowNetwork = getattr(writer, part)
        for name, value in network.state_dict().items():
            tensors[f"{part}.{name}"] = value.half() if half else value
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
        "a flow's weights (.safetensors). Train one with python -m synthlib.phase.flow, or name "
        "one that comes with synthlib",
    )
    if "flow" not in metadata:
        raise ValueError(f"{path.name} holds no flow; expected a file that phase.flow.save wrote.")
    stages = [_stage(path.name, entries) for entries in json.loads(metadata["flow"])]
    networks = [
        _network(path.name, stage, part, tensors) for part, stage in zip(PARTS, stages, strict=True)
    ]
    record = json.loads(metadata.get("record", "{}"))
    return PhaseFlow(
        networks[0],
        networks[1],
        (stages[0], stages[1]),
        smooth.from_tensors(tensors),
        familiarity.from_tensors(tensors),
        record,
    )


def _stage(name: str, entries: dict[str, Any]) -> Stage:
    architecture = entries["architecture"]
    unknown = entries.keys() - {field.name for field in dataclasses.fields(Stage)}
    unknown |= architecture.keys() - {field.name for field in dataclasses.fields(Architecture)}
    if unknown:
        raise ValueError(
            f"{name} names {', '.join(sorted(unknown))} in its stages, which this version of "
            "synthlib does not know. Update synthlib, or use weights of this version."
        )
    built = Architecture(**{**architecture, "widths": tuple(architecture["widths"])})
    return Stage(**{**entries, "architecture": built, "scales": tuple(entries["scales"])})


def _network(name: str, stage: Stage, part: str, tensors: dict[str, Tensor]) -> FlowNetwork:
    with runs.seeded(0, "weights"):  # what is drawn now, the file's values replace
        network = stage.architecture.build()
    weights = {
        key.removeprefix(f"{part}."): value.float()
        for key, value in tensors.items()
        if key.startswith(f"{part}.")
    }
    require_fit(name, network, weights)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
