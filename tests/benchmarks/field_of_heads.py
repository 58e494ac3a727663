"""The field in the brain of simulated heads beside a measured one's, from two gradient echoes.

    python -m tests.benchmarks.field_of_heads [folder]

The folder (default ../shared/real/gre_head) holds magnitude and phase of a whole head at 3 T,
TE 2.3 and 4.6 ms, on cubic voxels of 3 mm, rows from the front and slices from below; nothing of it
is kept. Measured and simulated heads go the same way: the field from the difference of two echoes,
less the harmonics up to second order that a shim could take; what lies deeper than 18 mm below the
skin, from 35 mm below to 45 mm above the head's widest slice, counts as brain.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from synthlib import arrays, runs
from synthlib.formats import nifti
from synthlib.scanner import ScanSettings, anatomy, contrast, fields, subjects
from synthlib.scanner import patient as patients
from synthlib.scanner.volume import grid_points

ECHOES_MS = (2.3, 4.6)
VOXEL_MM, FIELD_T = 3.0, 3.0
SKIN_MM, BELOW_MM, ABOVE_MM = 18.0, 35.0, 45.0
NAMES = "philips_3t_field_map_e{}{}.nii.gz"
PERCENTILES = (0.01, 0.05, 0.25, 0.75, 0.95, 0.99)


def measured(folder: Path) -> tuple[Tensor, Tensor]:
    """Complex images (echo, z, y, x) of the measured head, and the body, bool (z, y, x)."""
    echoes = []
    for echo in (1, 2):
        magnitude, phase = (
            nifti.read_values(folder / NAMES.format(echo, part))[0].float() for part in ("", "_ph")
        )
        echoes.append(torch.polar(magnitude, phase))
    images = torch.stack(echoes)
    return images, _body(images[0].abs())


def simulated(number: int) -> tuple[Tensor, Tensor]:
    """The same of a simulated subject: gradient echoes without receivers, timing and noise."""
    settings = ScanSettings(n_subjects=number, field_t=FIELD_T)
    patient = patients.admit(settings, subjects(settings)[number - 1], torch.device("cpu"))
    low, high = patients.FIELD_LOW_MM, patients.FIELD_HIGH_MM
    points = grid_points(low, high, VOXEL_MM)
    shares = anatomy.fractions_at(patient.head, points, VOXEL_MM)
    steady, jump, conductive, _ = patient.fields.at(points)
    field_hz = steady + jump * torch.tensordot(patient.chi_hz, shares, dims=1)
    protocol = contrast.PROTOCOLS["AXT1GRE"]
    magnitude = torch.tensordot(contrast.signals(patient.table, protocol), shares, dims=1)
    images = torch.stack(
        [
            torch.polar(magnitude, conductive + 2 * math.pi * field_hz * te_ms / 1000)
            for te_ms in ECHOES_MS
        ]
    ).flip(-2)  # rows from front to back, as in the measured images
    return images, _body(images[0].abs())


def _body(magnitude: Tensor) -> Tensor:
    """What is bright, its gaps and cavities filled slice by slice: bool (z, y, x)."""
    bright = (magnitude > 0.12 * magnitude.quantile(0.98)).numpy()
    filled = np.stack(
        [ndimage.binary_fill_holes(ndimage.binary_closing(part, iterations=3)) for part in bright]
    )
    pieces, _ = ndimage.label(filled)
    return torch.from_numpy(pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]))


def report(what: str, images: Tensor, body: Tensor) -> None:
    """Print the field's histogram, its gradient, and how linear in TE the phase is."""
    deep = torch.from_numpy(ndimage.distance_transform_edt(body.numpy())) * VOXEL_MM > SKIN_MM
    z, y, x = (torch.arange(n) * VOXEL_MM for n in body.shape)
    area = ndimage.gaussian_filter1d(body.sum((1, 2)).double().numpy(), 3)
    up = z - z[int(area.argmax())]
    here = ((up > -BELOW_MM) & (up < ABOVE_MM))[:, None, None]
    brain = deep & here & (images[0].abs() > 0.2 * images[0].abs()[deep].median())
    turned = images[1] * images[0].conj()
    to_hz = 1000 / (2 * math.pi * (ECHOES_MS[1] - ECHOES_MS[0]))  # Hz per rad
    # beside its mean the brain's field stays within half a turn, 217 Hz
    mean = turned[brain].sgn().sum().sgn()
    field_hz = (turned * mean.conj()).angle() * to_hz
    points = torch.stack(torch.meshgrid(z, y, x, indexing="ij")[::-1], dim=-1)  # (..., x y z)
    points = points - points[brain].mean(0)
    inside = (field_hz + fields.shim(field_hz, points, brain.float()))[brain]

    step, n = turned.angle(), tuple(slice(0, length - 1) for length in body.shape)
    steps = [arrays.wrap(step.diff(dim=axis))[_cut(n, axis)] for axis in range(3)]
    gradient = torch.stack(steps).square().sum(0).sqrt() * to_hz / (VOXEL_MM / 10)  # Hz/cm
    whole = brain & torch.stack([brain.roll(-1, axis) for axis in range(3)]).all(0)
    front = ((points[..., 2] < 0) & (points[..., 1] < 0))[n]
    whole = whole[n]

    # What is linear in TE is gone at TE = 0; transmission and reception are left, which are smooth.
    back = ECHOES_MS[0] / (ECHOES_MS[1] - ECHOES_MS[0])
    start = (images[0] * torch.polar(torch.ones_like(field_hz), -back * turned.angle())).sgn()
    off = (start * _smooth(start, brain).conj()).angle()[brain]

    columns = "  ".join(f"{float(inside.quantile(q)):7.1f}" for q in PERCENTILES)
    far = 100 * float((inside.abs() > 3 * inside.std()).float().mean())
    of_gradient = [
        float(values.quantile(q))
        for values, q in (
            (gradient[whole], 0.5),
            (gradient[whole & front], 0.95),
            (gradient[whole & ~front], 0.95),
        )
    ]
    print(
        f"{what:12s} {int(brain.sum()):6d} {columns}   {float(inside.std()):5.1f} {far:9.2f}   "
        + "  ".join(f"{value:7.1f}" for value in of_gradient)
        + f"   {float(off.abs().median()):.3f}"
    )


def _cut(slices: tuple[slice, ...], axis: int) -> tuple[slice, ...]:
    """Of differences along an axis: those where the other axes have differences, too."""
    return tuple(slice(None) if i == axis else part for i, part in enumerate(slices))


def _smooth(start: Tensor, inside: Tensor) -> Tensor:
    """Mean of complex (z, y, x) around each voxel (12 mm s.d.), of what is inside alone."""
    weight = inside.double().numpy()
    parts = [
        ndimage.gaussian_filter(part.double().numpy() * weight, 12.0 / VOXEL_MM)
        for part in (start.real, start.imag)
    ]
    return torch.complex(*(torch.from_numpy(part).float() for part in parts))


def main(folder: Path) -> None:
    print("field in Hz; gradient in Hz/cm: median, 95 % in the lower front, above the sinuses, and")
    print("elsewhere; last, median |phase at TE 0 less its mean over 12 mm| in rad")
    columns = "  ".join(f"{100 * q:5.0f} %" for q in PERCENTILES)
    print(f"{'head':12s} voxels {columns}    s.d.  > 3 s.d. %   gradient")
    if folder.is_dir():
        report("measured", *measured(folder))
    else:
        print(f"{folder} is not there: simulated heads alone")
    for number in (1, 2, 3, 4):
        report(f"simulated {number}", *simulated(number))


if __name__ == "__main__":
    real = runs.project_root().parent / "shared" / "real" / "gre_head"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else real)
