"""The metric card: under every table of results, how its numbers came about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from synthlib import metrics, pairs
from synthlib.recon import masks

MAX_LISTED = 4  # different matrices that a card names


def metric_card(
    volumes: Sequence[pairs.PreparedVolume], accelerations: Sequence[int], center_fraction: float
) -> list[dict[str, str]]:
    """Rows (item, value) for under a table of results: how its numbers came about.

    Args:
        volumes: the test scans.
        accelerations: nominal R of the table.
        center_fraction: of the masks.

    Raises:
        ValueError: no scans or no accelerations, or as masks.equispaced says.
    """
    if not volumes or not accelerations:
        raise ValueError(
            f"a metric card of {len(volumes)} scans and {len(accelerations)} accelerations; "
            "expected the test scans and the accelerations of the table"
        )
    drawn = {
        nominal: [_mask(volume, nominal, center_fraction) for volume in volumes]
        for nominal in accelerations
    }
    thinned = drawn[accelerations[0]]
    card = {
        "target": "root sum of squares of the fully sampled coil images",
        "crop": _listed(_crop_text(volume) for volume in volumes),
        "data range": "maximum of the target volume, all of its slices, after the crop",
        "PSNR, NMSE": "over the volume at once",
        metrics.LABELS[metrics.HEAD_PSNR]: (
            "mean squared error over the head's pixels alone, the same data range"
        ),
        "SSIM": "7x7 uniform window, sample covariance, K1 = 0.01, K2 = 0.03; mean over slices",
        "coil maps": "ESPIRiT of the fully sampled scan, for every method that is given maps",
        "mask": "fastMRI's equispaced_fraction along kx; zero-padded columns stay empty",
        "offset of the mask": (
            "tests: from the name of the volume's file, one mask for all slices; "
            "training: random, a new one for every slice and epoch"
        ),
        "centre fraction": f"{center_fraction:g}",
        "centre lines": _listed(f"{m.n_center} of {len(m.columns)} columns" for m in thinned),
        "acquired columns": _listed(f"{m.n_acquired} of {len(m.columns)}" for m in thinned),
        "achieved R, all columns": "; ".join(
            _reached(nominal, [mask.acceleration for mask in drawn[nominal]]) for nominal in drawn
        ),
        "achieved R, acquired columns": "; ".join(
            _reached(nominal, [mask.acquired_acceleration for mask in drawn[nominal]])
            for nominal in drawn
        ),
        "aggregation": "mean of each patient's volumes, then mean over patients",
        "test data": _count_text(volumes),
    }
    return [{"item": item, "value": value} for item, value in card.items()]


def _mask(volume: pairs.PreparedVolume, acceleration: int, center_fraction: float) -> masks.Mask:
    raw = volume.raw
    return masks.of_volume(
        volume.name,
        raw.image_shape[1],
        acceleration,
        center_fraction=center_fraction,
        acquired=raw.acquired,
    )


def _crop_text(volume: pairs.PreparedVolume) -> str:
    size = crop_of(volume)
    full = tuple(int(n) for n in volume.raw.kspace.shape[-2:])
    if size == full:
        return f"none, {size[0]} x {size[1]} is all that was acquired"
    return f"centre {size[0]} x {size[1]} of {full[0]} x {full[1]}, the scanner's own image"


def crop_of(volume: pairs.PreparedVolume) -> tuple[int, int]:
    """(ny, nx) that metrics look at, as recon.samples has it."""
    (ny, nx), (own_y, own_x) = volume.raw.image_shape, volume.raw.recon_shape
    return min(ny, own_y), min(nx, own_x)


def _listed(texts: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(texts))
    more = len(distinct) - MAX_LISTED
    return "; ".join(distinct[:MAX_LISTED]) + (f"; {more} others" if more > 0 else "")


def _reached(nominal: int, values: Sequence[float]) -> str:
    """Mean over the volumes, and the range where it is not one value."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    span = f" ({low} to {high})" if low != high else ""
    return f"R = {nominal}: {np.mean(values):.2f}{span}"


def _count_text(volumes: Sequence[pairs.PreparedVolume]) -> str:
    counts = {
        "patient": len({volume.raw.patient_id for volume in volumes}),
        "scan": len(volumes),
        "slice": sum(volume.n_slices for volume in volumes),
    }
    return ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items())
