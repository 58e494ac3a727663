"""All checks on one volume."""

from __future__ import annotations

import math
from collections.abc import Sequence

from synthlib.audit import greys, grids, headers, heads, spectra, witnesses
from synthlib.audit.checks import CHECKS
from synthlib.audit.findings import NOTE, Audit, Check, Finding, Reading
from synthlib.audit.view import View, look
from synthlib.records import ImageVolume

AIR_TELLS = ("corner_filter", "partial_fourier")  # where an axis was zero-filled, air alone does


def examine(volume: ImageVolume) -> Audit:
    """Ask every question of CHECKS; nothing is changed, nothing is refused.

    The header alone never makes the true matrix smaller: k-space of the images must end
    there, too. At most 12 slices are looked at, evenly spread. A volume that says nothing
    (one small slice, all air masked) gets findings whose measure is nan.

    Args:
        volume: any valid one; facts of its header count as evidence.
    """
    view = look(volume)
    grid = view.shape
    said = headers.statements(volume.facts, grid)
    statement = said.get("zero_filled")
    matrix = headers.encoded(volume.facts, grid) if statement else None
    one_sided = said.get("partial_fourier")
    readings, shares = readings_of(
        view,
        matrix,
        denied=bool(statement and not statement.affirms),
        one_sided=bool(one_sided and one_sided.affirms),
    )
    findings = tuple(
        _finding(check, readings[name], said.get(name)) for name, check in CHECKS.items()
    )
    rows, columns = (
        max(1, min(n, round(share * n))) for n, share in zip(grid, shares, strict=True)
    )
    remarks = headers.remarks(volume.facts)
    noise = view.level.scaled(view.bright)
    return Audit(findings, grid, (rows, columns), view.index, remarks, noise)


def readings_of(
    view: View,
    matrix: tuple[int, int] | None = None,
    denied: bool = False,
    one_sided: bool = False,
) -> tuple[dict[str, list[Reading]], tuple[float, float]]:
    """All readings by check, and the shares of (ky, kx) that the images say were encoded.

    Args:
        matrix: (rows, columns) that the header says were encoded; None if it does not say.
        denied: the header says that the whole grid was encoded.
        one_sided: the header says that a side of k-space was left out.
    """
    header = tuple(n / size for n, size in zip(matrix or view.shape, view.shape, strict=True))
    evidence = witnesses.spectra(view)
    edges = [
        spectra.zero_filled(evidence, axis, header[axis] if matrix else None, denied, one_sided)
        for axis in (0, 1)
    ]
    shares = tuple(reading.share if reading.found else 1.0 for reading in edges)
    both = (shares[0], shares[1])
    filled = (min(shares[0], header[0]), min(shares[1], header[1]))  # of what noise can fill
    blocks, background = greys.lossy(view), heads.masked(view)
    planes = grids.resampled(view, blocks.found, min(both) < 1)
    readings = {
        "zero_filled": edges,
        "corner_filter": spectra.corner_filter(evidence, filled),
        "partial_fourier": [spectra.partial_fourier(evidence, filled)],
        "lossy": [blocks],
        "quantised": greys.quantised(view),
        "masked": background,
        "skull_stripped": [heads.skull_stripped(view, background[0])],
        "intensity_corrected": [heads.intensity_corrected(view), heads.uneven_air(view)],
        "resampled": [planes],
        "slices_interpolated": [grids.slices_interpolated(view)],
        "burned_in": [greys.burned_in(view)],
    }
    if min(filled) < 1 and all(
        any(reading.found for reading in readings[name]) for name in AIR_TELLS
    ):  # along both axes, and along one alone: zero-filling accounts for the one or the other
        readings |= {name: [] for name in AIR_TELLS}
    if blocks.found or planes.found:  # their noise is no longer the scanner's
        readings |= {name: [] for name in AIR_TELLS}
    if blocks.found:
        readings["intensity_corrected"] = []
    return readings, both


def _finding(
    check: Check, readings: Sequence[Reading], header: headers.Statement | None
) -> Finding:
    """The answer from the image's readings, and beside it what the header says."""
    judged = [reading for reading in readings if not math.isnan(reading.value)]
    seen = [reading for reading in judged if reading.found]
    main = max(
        judged,
        key=lambda reading: reading.value / reading.threshold,
        default=Reading(float("nan"), check.threshold, check.unit, ""),
    )
    affirmed = header is not None and header.affirms
    found = bool(seen) or affirmed
    agreed = affirmed and not (seen and all(reading.against_header for reading in seen))
    evidence = " and ".join(
        name for name, there in (("image", bool(seen)), ("header", agreed)) if there
    )
    grade = check.grade if found else ""
    if (affirmed and not seen and check.name not in headers.KNOWS_BEST) or (
        seen and all(reading.harmless for reading in seen)
    ):
        grade = NOTE
    detail = _detail(check.name, main, seen, bool(judged), header)
    return Finding(
        check=check.name,
        found=found,
        measure=main.value,
        threshold=main.threshold,
        evidence=evidence,
        detail=detail[:1].upper() + detail[1:] + ".",
        advice=check.advice if found else "",
        slices=tuple(sorted({at for reading in seen for at in reading.slices})),
        unit=main.unit,
        grade=grade,
        header=header.text if header else "",
    )


def _detail(
    check: str,
    main: Reading,
    seen: Sequence[Reading],
    judged: bool,
    header: headers.Statement | None,
) -> str:
    """One sentence: what the images show, what the header says, and whether they agree."""
    says = f"the header says {header.text}" if header else ""
    if seen:
        image = "; ".join(reading.said for reading in seen)
        if not header:
            return image
        agrees = header.affirms and not all(reading.against_header for reading in seen)
        return f"{image}; {says if agrees else f'yet {says}'}"
    numbers = f"{main.value:.3g} {main.unit}".strip()
    if main.unit == CHECKS[check].unit:  # else it is a second measure, whose unit tells it
        numbers = f"{CHECKS[check].measure}: {numbers}"
    if header and header.affirms:
        shown = f"the images do not show it ({numbers}, counted from {main.threshold:.3g} on)"
        return f"{says}; {shown if judged else 'the images cannot tell'}"
    image = f"nothing found: {numbers}, counted from {main.threshold:.3g} on"
    if not judged:
        image = "the images do not allow this to be judged"
    return f"{image}; {says}" if header else image
