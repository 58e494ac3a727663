"""All checks on one volume."""

from __future__ import annotations

import math
from collections.abc import Sequence

from synthlib.audit import greys, grids, headers, heads, spectra, witnesses
from synthlib.audit.checks import CHECKS
from synthlib.audit.findings import Audit, Check, Finding, Reading
from synthlib.audit.view import View, look
from synthlib.records import ImageVolume


def examine(volume: ImageVolume) -> Audit:
    """Ask every question of CHECKS; nothing is changed, nothing is refused.

    The header alone never makes the true matrix smaller: k-space of the images must end
    there, too. At most 12 slices are looked at, evenly spread. A volume that says nothing
    (one small slice, all air masked) gets findings whose measure is nan.

    Args:
        volume: any valid one; facts of its header count as evidence.
    """
    view = look(volume)
    readings, shares = readings_of(view)
    grid = view.shape
    said = headers.evidence(volume.facts, grid)
    findings = tuple(
        _judge(check, readings[name], said.get(name, "")) for name, check in CHECKS.items()
    )
    rows, columns = (
        encoded if encoded < n and _ends_at(view, axis, encoded / n) else max(1, round(share * n))
        for axis, (encoded, n, share) in enumerate(
            zip(headers.encoded(volume.facts, grid), grid, shares, strict=True)
        )
    )
    return Audit(findings, grid, (rows, columns), view.index)


def _ends_at(view: View, axis: int, share: float) -> bool:
    """Whether the images' own k-space ends where the header says: nothing else may be cropped."""
    if min(view.shape) < witnesses.LEAST_MATRIX or not bool(view.window.any()):
        return False
    profile = witnesses.profile_db(view.spectrum, axis)
    return witnesses.find_edge(profile, near=share).drop_db > spectra.STEP_WITH_HEADER_DB


def readings_of(view: View) -> tuple[dict[str, list[Reading]], tuple[float, float]]:
    """All readings by check, and the shares of (ky, kx) that the images say were encoded."""
    found = witnesses.spectra(view)
    edges = [spectra.zero_filled(found, axis) for axis in (0, 1)]
    shares = tuple(
        found.edges[axis].at if reading.found else 1.0 for axis, reading in enumerate(edges)
    )
    both = (shares[0], shares[1])
    blocks, background = greys.lossy(view), heads.masked(view)
    planes = grids.resampled(view, blocks.found, min(both) < 1)
    readings = {
        "zero_filled": edges,
        "corner_filter": spectra.corner_filter(found, both),
        "partial_fourier": [spectra.partial_fourier(found, both)],
        "lossy": [blocks],
        "quantised": greys.quantised(view),
        "masked": background,
        "skull_stripped": [heads.skull_stripped(view, background[0])],
        "intensity_corrected": [heads.intensity_corrected(view), heads.uneven_air(view)],
        "resampled": [planes],
        "slices_interpolated": [grids.slices_interpolated(view)],
        "burned_in": [greys.burned_in(view)],
    }
    if blocks.found or planes.found:  # their noise is no longer the scanner's
        for name in ("corner_filter", "partial_fourier"):
            readings[name] = []
    if blocks.found:
        readings["intensity_corrected"] = []
    return readings, both


def _judge(check: Check, readings: Sequence[Reading], header: str) -> Finding:
    """The answer from the image's readings and from what the header says."""
    known = [reading for reading in readings if not math.isnan(reading.value)]
    said = [reading for reading in known if reading.found]
    if known:
        main = max(known, key=lambda reading: reading.value / reading.threshold)
    else:
        main = Reading(float("nan"), check.threshold, check.unit, "")
    parts = [reading.said for reading in said] + ([header] if header else [])
    evidence = " and ".join(
        name for name, there in (("image", bool(said)), ("header", bool(header))) if there
    )
    if header and not said:
        parts.append("the images themselves do not show it" if known else "the images cannot tell")
    elif not known:
        parts.append("the images do not allow this to be judged")
    elif not said:
        parts.append(
            f"nothing found: {main.value:.3g} {main.unit}, counted from {main.threshold:.3g} on"
        )
    detail = "; ".join(parts)
    found = bool(evidence)
    slices = sorted({at for reading in said for at in reading.slices})
    return Finding(
        check=check.name,
        found=found,
        measure=main.value,
        threshold=main.threshold,
        evidence=evidence,
        detail=detail[:1].upper() + detail[1:] + ".",
        advice=check.advice if found else "",
        slices=tuple(slices),
        unit=main.unit,
    )
