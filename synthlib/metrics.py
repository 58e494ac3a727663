"""How good an image is, and how far a phase is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fastmri import evaluate
from torch import Tensor

from synthlib import arrays
from synthlib.records import PhasePair

NAMES = ("PSNR", "NMSE", "SSIM")  # the paper's
HEAD_PSNR = "head_PSNR"
ALL_NAMES = (*NAMES, HEAD_PSNR)
HIGHER_IS_BETTER = {"PSNR": True, "NMSE": False, "SSIM": True, HEAD_PSNR: True}
LABELS = {**dict(zip(NAMES, NAMES, strict=True)), HEAD_PSNR: "PSNR in the head"}
UNITS = {"PSNR": "dB", "NMSE": "", "SSIM": "", HEAD_PSNR: "dB"}


def image_quality(target: Tensor, image: Tensor, head: Tensor | None = None) -> dict[str, float]:
    """PSNR (dB), NMSE and SSIM of a reconstructed volume, as fastMRI defines them.

    PSNR and NMSE are taken over the volume, SSIM slice by slice (7x7 uniform
    window) and averaged; the data range is the target volume's maximum.

    head_PSNR is 10 log10(max(target)^2 / mean squared error over the head's
    pixels). Its range is the same maximum as PSNR's, scalp fat or not, for two
    reasons: it differs from PSNR by nothing but the air that is left out, and the
    range cancels in every difference of two reconstructions of one volume. Only
    PSNR of different volumes, or contrasts, should not be compared through it.

    Args:
        target: float (slice, y, x), the fully sampled root sum of squares.
        image: float (slice, y, x), the reconstruction.
        head: bool (slice, y, x), see :func:`volume_head`; None: without head_PSNR.

    Raises:
        ValueError: shapes differ, the target is all zero, or the head is not bool or empty.
    """
    if target.shape != image.shape or target.ndim != 3:
        raise ValueError(
            f"target {tuple(target.shape)}, image {tuple(image.shape)}; "
            "expected two volumes (slice, y, x) of one shape"
        )
    truth, result = target.numpy(force=True), image.numpy(force=True)
    if not truth.max() > 0:
        raise ValueError("the target volume is all zero; image quality is not defined for it")
    quality = {
        "PSNR": float(evaluate.psnr(truth, result, truth.max())),
        "NMSE": float(evaluate.nmse(truth, result)),
        "SSIM": float(np.squeeze(evaluate.ssim(truth, result, truth.max()))),
    }
    if head is not None:
        inside = _require_head(head, target).numpy(force=True)
        quality[HEAD_PSNR] = float(evaluate.psnr(truth[inside], result[inside], truth.max()))
    return quality


def _require_head(head: Tensor, target: Tensor) -> Tensor:
    if head.dtype != torch.bool or head.shape != target.shape or not bool(head.any()):
        raise ValueError(
            f"head {tuple(head.shape)} of {head.dtype} with {int(head.sum())} pixels, target "
            f"{tuple(target.shape)}; expected a bool of the target's shape that is true somewhere. "
            "Make it with metrics.volume_head from the volume's slices."
        )
    return head


def volume_head(slices: Sequence[PhasePair], shape: tuple[int, int]) -> Tensor:
    """The head in a volume: bool (slice, y, x).

    PhasePair.head of every slice, the coil maps' support less its dark pixels
    (bone, sinuses), which are mostly noise; centred on the grid of the metrics.

    Args:
        slices: of one volume, in order.
        shape: (ny, nx) that the metrics are taken over.
    """
    return torch.stack([arrays.crop_or_pad_image(pair.head, shape) for pair in slices])


def phase_error(phase: Tensor, reference: Tensor) -> Tensor:
    """Difference on the circle, radians in (-pi, pi]: 3.1 and -3.1 differ by 0.08, not by 6.2."""
    return arrays.wrap(phase - reference)


def align_constant(phase: Tensor, reference: Tensor, weight: Tensor) -> Tensor:
    """Turn a phase (y, x) by the constant that brings it closest to the reference.

    A constant phase carries no information about the object; comparing maps of
    phase should not be ruled by it. The constant is the weighted circular mean
    of the difference.
    """
    mean = (weight * torch.polar(torch.ones_like(phase), reference - phase)).sum()
    return arrays.wrap(phase + mean.angle())


def mean_abs_phase_error(phase: Tensor, reference: Tensor, weight: Tensor) -> float:
    """Weighted mean of |difference on the circle| in radians, after the best constant.

    Args:
        phase, reference: radians (y, x).
        weight: >= 0 (y, x), for example the magnitude inside the support.
    """
    error = phase_error(align_constant(phase, reference, weight), reference).abs()
    return float((weight * error).sum() / weight.sum())


def rms_phase_error(phase: Tensor, reference: Tensor, weight: Tensor) -> float:
    """The same as a weighted root mean square."""
    error = phase_error(align_constant(phase, reference, weight), reference)
    return float(((weight * error.square()).sum() / weight.sum()).sqrt())


def phase_error_row(
    label: str, pairs: Sequence[PhasePair], phases: Sequence[Tensor]
) -> dict[str, str]:
    """One row of a table about a source's phase on some slices, inside the head."""
    errors = [
        mean_abs_phase_error(phase, pair.phase, pair.magnitude * pair.head)
        for pair, phase in zip(pairs, phases, strict=True)
    ]
    steps = torch.cat([_steps(phase, pair.head) for pair, phase in zip(pairs, phases, strict=True)])
    return {
        "phase": label,
        "slices": str(len(errors)),
        "mean difference (rad)": f"{np.mean(errors):.2f}",
        "median step (rad)": f"{float(steps.median()):.2f}",
    }


def _steps(phase: Tensor, inside: Tensor) -> Tensor:
    """|difference| of neighbours on the circle, both of them inside: radians, one axis."""
    found = []
    for axis in (0, 1):
        n = phase.shape[axis]
        both = inside.narrow(axis, 0, n - 1) & inside.narrow(axis, 1, n - 1)
        found.append(arrays.wrap(torch.diff(phase, dim=axis)).abs()[both])
    return torch.cat(found)


@dataclass(frozen=True)
class PhaseSteps:
    """Steps of phase between neighbours: in the head and in air, radians."""

    head: Tensor
    air: Tensor

    @property
    def median_head(self) -> float:
        return float(self.head.median())


def phase_steps(pairs: Sequence[PhasePair]) -> PhaseSteps:
    """Steps of the measured phase of some slices."""
    return PhaseSteps(
        torch.cat([_steps(pair.phase, pair.head) for pair in pairs]),
        torch.cat([_steps(pair.phase, ~pair.support) for pair in pairs]),
    )


def seed_means(
    rows: Sequence[Mapping[str, Any]], n_coils: int, source: str, acceleration: int, metric: str
) -> list[float]:
    """Mean over each patient's scans, then over the patients: one number per seed, in order.

    Args:
        rows: one per reconstruction and test scan, as recon.grid.rows_of gives them.
    """
    wanted = (n_coils, source, acceleration)
    here = [r for r in rows if (r["n_coils"], r["source"], r["acceleration"]) == wanted]
    return means_of_seeds(here, metric)


def means_of_seeds(rows: Sequence[Mapping[str, Any]], metric: str) -> list[float]:
    """The same over all the rows given."""
    values: dict[int, dict[str, list[float]]] = {}
    for row in rows:
        by_patient = values.setdefault(row["seed"], {})
        by_patient.setdefault(row.get("patient", row["volume"]), []).append(row[metric])
    return [
        float(np.mean([np.mean(scans) for scans in values[seed].values()]))
        for seed in sorted(values)
    ]
