"""Noise of simulated receivers beside measured noise scans.

    python -m tests.benchmarks.receiver_noise [noise.npy [head.h5]]

noise.npy holds a measured noise scan, complex (sample, channel), head.h5 a measured head whose
corners are air; without them the numbers that `docs/references.md` keeps of them are printed.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from torch import Tensor

from synthlib import formats, runs, scanner
from synthlib.scanner import receiver_noise, receivers
from synthlib.scanner.loops import Loops
from synthlib.scanner.patient import admit
from synthlib.scanner.volume import grid_points, normal

SEEDS = (1, 2, 3, 4)
CORNER = 0.1  # of the image's edges, that holds air alone
# A scan of a hip (faa5115/reconstruction on GitHub) with 34 channels. Two groups of 18 and 16
# channels whose noise is alike within a group: an array of 3 x 6 elements above the body and one
# of 4 x 4 in the table, as vendors build them.
TRUNK_MM = (182.0, 120.0)  # semi-axes of an elliptic cylinder, 0.5 S/m
TRUNK_S_PER_M = 0.5
ABOVE_MM, BELOW_MM = 20.0, 20.0  # from the body to the wires
TRUNK_OWN_NOISE = 0.8
MEASURED = {
    "hip, 34 channels": (0.040, 0.146, 0.391, 1.97),
    "head, 8 channels, air": (0.139, 0.247, 0.303, 1.32),
}


def statistics(covariance: Tensor) -> tuple[float, float, float, float]:
    """|Correlation| of any two channels: median, 90 %, maximum; largest s.d. by the smallest."""
    sd = covariance.diagonal().real.sqrt()
    rows, columns = torch.triu_indices(len(sd), len(sd), 1)
    values = (covariance / sd / sd[:, None]).abs()[rows, columns]
    numbers = (values.median(), values.quantile(0.9), values.max(), sd.max() / sd.min())
    median, high, largest, ratio = (float(number) for number in numbers)
    return median, high, largest, ratio


def covariance_of(samples: Tensor) -> Tensor:
    """E[n n^H] (channel, channel) of noise (channel, sample)."""
    return samples @ samples.mH / samples.shape[1]


def trunk_loops(seed: int) -> tuple[Loops, Tensor]:
    """34 loops around a trunk, and the channels' gains (34,)."""
    rng = torch.Generator().manual_seed(seed)
    a, b = (axis + ABOVE_MM for axis in TRUNK_MM)
    centres, normals = [], []
    for z in (-118.0, 0.0, 118.0):
        for degrees in (-67.0, -40.2, -13.4, 13.4, 40.2, 67.0):
            x, y = a * math.sin(math.radians(degrees)), b * math.cos(math.radians(degrees))
            centres.append((x, y, z))
            normals.append((x / a**2, y / b**2, 0.0))
    for z in (-180.0, -60.0, 60.0, 180.0):
        for x in (-172.0, -57.0, 57.0, 172.0):
            centres.append((x, -TRUNK_MM[1] - BELOW_MM, z))
            normals.append((0.0, -1.0, 0.0))
    normal_of = torch.nn.functional.normalize(torch.tensor(normals), dim=1)
    n = len(centres)
    loops = Loops(
        centres_mm=torch.tensor(centres) + 4 * normal(rng, n, 3),
        normals=torch.nn.functional.normalize(normal_of + 0.03 * normal(rng, n, 3), dim=1),
        radii_mm=torch.tensor([56.0] * 18 + [66.0] * 16),
        heights_mm=torch.tensor([68.0] * 18 + [72.0] * 16),
    )
    return loops, 1 + receivers.GAIN_SPREAD * normal(rng, n)


def trunk_covariance(seed: int) -> Tensor:
    """Noise covariance of an 18 + 16 channel array around a trunk."""
    loops, gain = trunk_loops(seed)
    places = grid_points((-195, -135, -270), (195, 135, 270), 15.0)
    x, y, _ = places.unbind(-1)
    sigma = TRUNK_S_PER_M * ((x / TRUNK_MM[0]) ** 2 + (y / TRUNK_MM[1]) ** 2 < 1).float()
    coupling, noise = receiver_noise.noise_covariance(loops, places, sigma, TRUNK_OWN_NOISE)
    channels = gain[:, None] * coupling
    return channels @ noise.to(channels.dtype) @ channels.mH


def head_covariance(n_coils: int, field_t: float, number: int) -> Tensor:
    """Noise covariance of an array around a simulated head."""
    settings = scanner.ScanSettings(n_subjects=number, coil_counts=(n_coils,), field_t=field_t)
    subject = scanner.subjects(settings)[number - 1]
    return admit(settings, subject, torch.device("cpu")).array.covariance


def air_covariance(path: str) -> Tensor:
    """Covariance of the channels in the four corners of a measured image."""
    images = formats.read_raw(runs.resolve(path)).coil_images(0)
    down, right = (max(1, int(CORNER * n)) for n in images.shape[-2:])
    corners = [
        images[:, rows, columns].flatten(1)
        for rows in (slice(down), slice(-down, None))
        for columns in (slice(right), slice(-right, None))
    ]
    return covariance_of(torch.cat(corners, dim=1))


def _print(what: str, rows: list[tuple[float, float, float, float]]) -> None:
    median, high, largest, ratio = torch.tensor(rows).mean(0).tolist()
    print(f"{what:44s} {median:6.3f} {high:6.3f} {largest:6.3f} {ratio:6.2f}")


@torch.inference_mode()
def main() -> None:
    print(f"{'|correlation| of two channels':44s} median   90 %    max   s.d. ratio")
    hip, head = MEASURED.values()
    if len(sys.argv) > 1:
        samples = torch.from_numpy(np.load(runs.resolve(sys.argv[1]), allow_pickle=False))
        hip = statistics(covariance_of(samples.mT))
    if len(sys.argv) > 2:
        head = statistics(air_covariance(sys.argv[2]))
    _print("measured: hip, 34 channels", [hip])
    _print("simulated: trunk, 18 + 16 channels", [statistics(trunk_covariance(s)) for s in SEEDS])
    _print("measured: head, 8 channels, corners of air", [head])
    for n_coils, field_t in ((8, 1.5), (8, 3.0), (16, 3.0), (20, 3.0), (32, 3.0), (34, 3.0)):
        rows = [statistics(head_covariance(n_coils, field_t, number)) for number in SEEDS]
        _print(f"simulated: head, {n_coils} channels, {field_t:g} T", rows)


if __name__ == "__main__":
    main()
