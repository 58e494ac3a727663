"""What a flow may be told of a scan besides its magnitude; all of it may be unknown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.phase import smooth
from synthlib.records import orientation_of
from synthlib.scanner.sequences import protocol_at

# Contrasts without the two letters that name the orientation of the slices.
CONTRASTS = ("T1", "T1POST", "T2", "T2LONG", "FLAIR", "T1GRE", "GRE", "MPRAGE", "SWI")
ORIENTATIONS = ("axial", "coronal", "sagittal")
USUAL_TE_MS, OCTAVES = 20.0, 3.0  # of the echo time: 2.5 to 160 ms is -1 to 1
USUAL_FIELD_T = 3.0
USUAL_ORIENTATION = "axial"
USUAL_LATE_MS = {"GRE": 20.0, "SWI": 20.0}  # of contrasts that need a late echo
LEAST_EXCITATION_DEG = 60.0  # of spin echoes; gradient echoes of short TR have less
GRADIENT_ECHO = {  # what a contrast tells of its echo
    "T1": False, "T1POST": False, "T2": False, "T2LONG": False, "FLAIR": False,
    "T1GRE": True, "GRE": True, "MPRAGE": True, "SWI": True,
}  # fmt: skip
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

    @classmethod
    def of_label(
        cls,
        label: str,
        *,
        orientation: str = "",
        te_ms: float = math.nan,
        ti_ms: float = math.nan,
        flip_deg: float = math.nan,
        field_t: float = math.nan,
    ) -> Conditions:
        """Of a scan's label ("AXT1POST", "SAGT2", "MPRAGE") and what a header may tell.

        A small flip angle is a gradient echo's; one that is T1-weighted is a T1GRE, or with
        an inversion an MPRAGE.

        Args:
            orientation: of the header; else the label's.
            ti_ms, flip_deg: nan if unknown, as the others.
        """
        orientation = orientation if orientation in ORIENTATIONS else orientation_of(label, "")
        name = label.upper()
        for start in ("SAG", "COR", "AX", "SA", "CO"):  # as labels begin
            if name.startswith(start):
                name = name.removeprefix(start)
                break
        name = {"T1PRE": "T1"}.get(name, name)
        known = math.isfinite(flip_deg) and flip_deg > 0
        echo = flip_deg < LEAST_EXCITATION_DEG if known else GRADIENT_ECHO.get(name)
        if name == "T1" and echo:
            name = "MPRAGE" if ti_ms > 0 else "T1GRE"
        return cls(name if name in CONTRASTS else "", orientation, echo, te_ms, field_t)

    @property
    def smooth_kind(self) -> str:
        """Whose statistics its smooth phase has; unknown is axial, and a spin echo."""
        return smooth.kind(
            self.orientation or USUAL_ORIENTATION,
            gradient_echo=bool(self.gradient_echo),
            te_ms=self.te_ms if math.isfinite(self.te_ms) else USUAL_LATE_MS.get(self.contrast, 0),
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
