"""What a flow may be told of a scan besides its magnitude; all of it may be unknown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner.sequences import protocol_at

# Contrasts without the two letters that name the orientation of the slices.
CONTRASTS = ("T1", "T1POST", "T2", "T2LONG", "FLAIR", "T1GRE", "GRE", "MPRAGE", "SWI")
ORIENTATIONS = ("axial", "coronal", "sagittal")
USUAL_TE_MS, OCTAVES = 20.0, 3.0  # of the echo time: 2.5 to 160 ms is -1 to 1
USUAL_FIELD_T = 3.0
# Places of a vector that are known or unknown together.
GROUPS = (
    slice(0, len(CONTRASTS)),
    slice(len(CONTRASTS), len(CONTRASTS) + 3),
    slice(len(CONTRASTS) + 3, len(CONTRASTS) + 5),
    slice(len(CONTRASTS) + 5, len(CONTRASTS) + 7),
    slice(len(CONTRASTS) + 7, len(CONTRASTS) + 9),
)
LENGTH = GROUPS[-1].stop


@dataclass(frozen=True)
class Conditions:
    """How a scan was made.

    Attributes:
        contrast: a name of CONTRASTS; any other is unknown.
        orientation: a name of ORIENTATIONS; any other is unknown.
        gradient_echo: False is a spin echo, None unknown.
        te_ms: the (effective) echo time, nan if unknown.
        field_t: nan if unknown.
    """

    contrast: str = ""
    orientation: str = ""
    gradient_echo: bool | None = None
    te_ms: float = math.nan
    field_t: float = math.nan

    @classmethod
    def of_protocol(cls, label: str, orientation: str, field_t: float) -> Conditions:
        """Of one of the simulated scanner's protocols, for example "AXT2"."""
        protocol = protocol_at(label, field_t)
        return cls(
            label[2:], orientation, not protocol.is_spin_echo, protocol.te_ms, float(field_t)
        )

    def vector(self) -> Tensor:
        """Float32 (LENGTH,); what is unknown is all zero."""
        values = torch.zeros(LENGTH)
        contrast, orientation, echo, te, field = GROUPS
        if self.contrast in CONTRASTS:
            values[contrast.start + CONTRASTS.index(self.contrast)] = 1
        if self.orientation in ORIENTATIONS:
            values[orientation.start + ORIENTATIONS.index(self.orientation)] = 1
        if self.gradient_echo is not None:
            values[echo.start + int(self.gradient_echo)] = 1
        if math.isfinite(self.te_ms) and self.te_ms > 0:
            octaves = math.log2(self.te_ms / USUAL_TE_MS) / OCTAVES
            values[te] = torch.tensor([1.0, max(-1.5, min(1.5, octaves))])
        if math.isfinite(self.field_t) and self.field_t > 0:
            values[field] = torch.tensor([1.0, min(3.0, self.field_t / USUAL_FIELD_T)])
        return values


def forget(vector: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """A vector of which each group, and now and then all, is unknown with probability `share`."""
    values = vector.clone()
    drawn = torch.rand(len(GROUPS) + 1, generator=rng) < share
    for group, lost in zip(GROUPS, drawn[1:].tolist(), strict=True):
        if lost or bool(drawn[0]):
            values[group] = 0
    return values
