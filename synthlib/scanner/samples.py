"""A slice sampled finer than its pixels, where the body is, and the way back to pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner import anatomy, echoes
from synthlib.scanner.patient import FIELD_GRID_MM, Patient

BODY_MARGIN_MM = 6.0  # of air around the body that is sampled with it
CSF = anatomy.TISSUES.index("csf")


@dataclass(frozen=True)
class Samples:
    """A slice sampled finely where the body is: (through, y, x), positions (..., 3).

    Attributes:
        shares: (tissue, through, y, x); field_hz: at each tissue's own nuclei; smooth_hz: of
            a body of water, without jumps at tissue borders;
            water_hz: (y, x) its mean through the slice, which displaces;
            unrefocused: share of the signal that a refocusing pulse passes by.
        row_mm: from one row to the next.
    """

    points: Tensor
    shares: Tensor
    field_hz: Tensor
    smooth_hz: Tensor
    water_hz: Tensor
    conductive: Tensor
    shading: Tensor
    unrefocused: Tensor
    row_mm: float

    def coherent(self, dephasing_ms: float) -> Tensor:
        """What dephasing through its part of the slice leaves of each sample (through, y, x).

        sinc(t df), df the smooth field's change over the step through the slice: the mean of
        exp(2 pi i t f) over frequencies from f - df/2 to f + df/2; nothing beyond its first lobe.
        """
        if len(self.smooth_hz) == 1:
            return torch.ones_like(self.smooth_hz)
        (change,) = torch.gradient(self.smooth_hz, dim=0)
        return torch.sinc(change * dephasing_ms / 1000).clamp(min=0)


def sample(patient: Patient, points: Tensor, step_mm: float, row_mm: float) -> Samples:
    """The patient at points (through, y, x, 3), step_mm apart in the plane."""
    shares = anatomy.fractions_at(
        patient.head, points, step_mm, through=True
    )  # (tissue, through, y, x)
    steady, jump, conductive, _ = patient.fields.on_lattice(points)  # (through, y, x) each
    smooth_hz = steady + jump * patient.chi_hz[CSF]  # of a body of water: without its borders
    return Samples(
        points=points,
        shares=shares,
        smooth_hz=smooth_hz,
        field_hz=steady + jump * torch.tensordot(patient.chi_hz, shares, dims=1),
        water_hz=smooth_hz.mean(0),
        conductive=conductive,
        shading=patient.shading.at(points),
        unrefocused=echoes.unrefocused_share(patient.shading, points),
        row_mm=row_mm,
    )


def body_box(patient: Patient, points: Tensor, step_mm: float) -> tuple[slice, slice]:
    """Rows and columns of (through, y, x, 3) that hold the body and some air around it."""
    every = max(1, int(FIELD_GRID_MM / step_mm))
    body = patient.fields.on_lattice(points[:, ::every, ::every])[3].amax(0) > 0  # (y, x)
    found = []
    for axis, n in ((1, points.shape[1]), (0, points.shape[2])):
        there = body.any(axis).nonzero().flatten()
        margin = int(BODY_MARGIN_MM / step_mm) + every
        first, last = (int(there[0]), int(there[-1])) if len(there) else (0, 0)
        found.append(slice(max(0, first * every - margin), min(n, last * every + margin + 1)))
    return found[0], found[1]


def embed(part: Tensor, box: tuple[slice, slice], shape: tuple[int, int]) -> Tensor:
    """Put what was sampled in a box (..., y, x) into the whole picture, zeros around it."""
    whole = part.new_zeros((*part.shape[:-2], *shape))
    whole[..., box[0], box[1]] = part
    return whole


def to_pixels(fine: Tensor, finer: int, matrix: tuple[int, int]) -> Tensor:
    """Means over pixels of what is sampled `finer` times per pixel, (..., y, x)."""
    # the fine sample at index finer * (i - n // 2) + fine_n // 2 is the centre of pixel i
    for axis, n in ((-2, matrix[0]), (-1, matrix[1])):
        start = (finer * n) // 2 - finer * (n // 2) - finer // 2
        ends = finer % 2 == 0  # an even window takes half of either end
        total: Tensor | None = None
        for step in range(finer + ends):
            weight = 0.5 if ends and step in (0, finer) else 1.0
            index = (start + step + finer * torch.arange(n)).clamp(0, finer * n - 1)
            part = fine.index_select(axis, index.to(fine.device)) * (weight / finer)
            total = part if total is None else total + part
        assert total is not None
        fine = total
    return fine
