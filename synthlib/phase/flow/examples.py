"""What the flow learns from: simulated slices whose fine phase is known, of many protocols."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from synthlib import runs, scanner
from synthlib.phase import polynomial, smooth
from synthlib.phase.flow import conditions
from synthlib.phase.generator import read_weights

LABELS = tuple(f"AX{contrast}" for contrast in conditions.CONTRASTS)  # of the scanner's protocols
PIXEL_MM = (0.7, 2.5)
ORIENTATIONS = ("axial", "axial", "axial", "coronal", "sagittal")  # three of five are axial
FOV_MM = {"axial": (230.0, 190.0), "coronal": (230.0, 190.0), "sagittal": (240.0, 230.0)}
N_SLICES = 3
CONTRASTS_EACH = 3


@dataclass(frozen=True)
class Example:
    """One slice without noise and its fine phase.

    Attributes:
        label: a name of LABELS; field_t: of the scan.
        spacing_mm: (y, x) of a pixel; orientation: of the slice.
        magnitude: float (y, x), of the object, without receivers' weighting.
        fine: float (y, x), radians: the phase less its smooth surface, wrapped.
        head: bool (y, x).
    """

    label: str
    field_t: float
    spacing_mm: tuple[float, float]
    orientation: str
    magnitude: Tensor
    fine: Tensor
    head: Tensor


def plan(number: int, *, seed: int) -> scanner.ScanSettings:
    """How subject `number` is scanned: field, contrasts, orientation, pixels, slices, all drawn."""
    rng = runs.rng(seed, "flow", "plan", number)

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=rng))

    def choose(n: int) -> int:
        return int(torch.randint(n, (), generator=rng))

    orientation = ORIENTATIONS[choose(len(ORIENTATIONS))]
    pixel_mm = math.exp(between(math.log(PIXEL_MM[0]), math.log(PIXEL_MM[1])))
    unequal = between(0.9, 1.1)
    fov_mm = FOV_MM[orientation]
    matrix = round(fov_mm[0] / pixel_mm * unequal), round(fov_mm[1] / pixel_mm / unequal)
    order = torch.randperm(len(LABELS), generator=rng)[:CONTRASTS_EACH].tolist()
    low, high = smooth.REACH_MM[orientation]
    return scanner.ScanSettings(
        n_subjects=number,
        coil_counts=(1,),
        contrasts=tuple(LABELS[i] for i in sorted(order)),
        positions_mm=tuple(between(low, high) for _ in range(N_SLICES)),
        orientation=orientation,
        matrix=matrix,
        fov_mm=fov_mm,
        thickness_mm=between(1.0, 6.0),
        oversampling=1,
        field_t=(1.5, 3.0, 3.0)[choose(3)],
        seed=runs.seed_for(seed, "flow", "scan", number),
    )


def examples(number: int, *, seed: int) -> Iterator[Example]:
    """The slices of one subject in all its contrasts.

    Args:
        number: of the subject, from 1; seed: of all draws.
    """
    settings = plan(number, seed=seed)
    subject = scanner.subjects(settings)[-1]
    for label, scan in zip(settings.contrasts, scanner.scans(settings, subject), strict=True):
        truth = scan.truth
        for magnitude, phase, labels in zip(
            truth["magnitude"], truth["phase"], truth["labels"], strict=True
        ):
            head = labels > 0
            if int(head.sum()) < 0.05 * head.numel():
                continue
            fine = polynomial.fine_part(phase, magnitude * head)
            yield Example(
                label, settings.field_t, settings.spacing_mm, settings.orientation,
                magnitude, fine, head,
            )  # fmt: skip


def write(path: Path, subject: Sequence[Example]) -> None:
    """Keep a subject's examples as safetensors, in half precision: 3e-3 rad at half a turn."""
    rows = [[one.label, one.field_t, list(one.spacing_mm), one.orientation] for one in subject]
    tensors = {}
    for index, one in enumerate(subject):
        scale = float(one.magnitude.max()) or 1.0  # halves end at 65504
        tensors[f"magnitude.{index}"] = (one.magnitude / scale).half()
        tensors[f"fine.{index}"] = one.fine.half()
        tensors[f"head.{index}"] = one.head
    runs.write_weights(path, tensors, {"examples": json.dumps(rows)})


def read(path: Path) -> list[Example]:
    """What :func:`write` kept; magnitudes and phases stay in half precision.

    Raises:
        FileNotFoundError, ValueError: no such file, or none of examples.
    """
    metadata, tensors = read_weights(path, "examples that phase.flow.examples.write kept")
    if "examples" not in metadata:
        raise ValueError(f"{path.name} holds no examples; expected a file of flow.examples.write.")
    return [
        Example(
            label, field_t, (spacing[0], spacing[1]), orientation,
            *(tensors[f"{part}.{index}"] for part in ("magnitude", "fine", "head")),
        )
        for index, (label, field_t, spacing, orientation) in enumerate(
            json.loads(metadata["examples"])
        )
    ]  # fmt: skip
