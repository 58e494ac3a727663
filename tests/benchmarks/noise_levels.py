"""How well noise levels are estimated: simulated heads whose noise is known, air kept or masked.

`python -m tests.benchmarks.noise_levels` prints the accuracy on subjects that nothing
was fitted to; with `fit` it first prints the curves of synthlib.core.noise_level
as they come out on the other subjects.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays, runs, scanner
from synthlib.audit import view
from synthlib.core import noise_level
from tests.benchmarks.known_scans import CHOOSING, STATING, settings_of

COARSE_MM = (1.6, 1.8, 2.0, 2.4)
LEVELS = (0.0, 1.0, 2.5)  # of noise that is added, over that of the scan
WHITE = ((3, 90, 77), (2, 130, 111), (4, 161, 150))  # flat heads with nothing but noise
N_STATED = 48
WHITE_COUNTS = 3.0  # times as much as a simulated head
TOP = 4095.0  # largest grey value


@dataclasses.dataclass(frozen=True)
class Sample:
    """Magnitudes (slice, y, x) in whole grey values, the head in them, noise along the signal."""

    name: str
    magnitude: Tensor
    head: Tensor
    std: float


def design(seed: int, n_scans: int) -> Iterator[scanner.ScanSettings]:
    """Every scan of the audit's design, and again twice on a coarse grid."""
    for number in range(n_scans):
        settings = settings_of(number, seed)
        yield settings
        for again in range(2):
            pixel = COARSE_MM[(number // 3 + 2 * again) % 4]
            matrix = tuple(round(mm / pixel) for mm in settings.fov_mm)
            yield dataclasses.replace(
                settings,
                matrix=(matrix[0], matrix[1]),
                snr=(60.0, 120.0, 30.0, 200.0)[(number // 12 + again) % 4],
                seed=settings.seed + 500_000 + again,
            )


def samples(seed: int, n_scans: int) -> Iterator[Sample]:
    """Heads at three levels of their receivers' noise, then flat ones."""
    for settings in design(seed, n_scans):
        scan = next(iter(scanner.scans(settings, scanner.subjects(settings)[0])))
        images = torch.stack([scan.volume.coil_images(i) for i in range(1, 5)])
        covariance = scan.truth["noise_covariance"].to(images.dtype)
        factor = torch.linalg.cholesky(covariance)
        rng = runs.rng(settings.seed, "more noise")
        power = torch.einsum("scyx,cd,sdyx->syx", images.conj(), covariance, images).real
        variance = power / images.abs().square().sum(1) / 2
        for more in LEVELS:
            white = torch.randn(images.shape, dtype=images.dtype, generator=rng)
            noisy = images + more * torch.einsum("cd,sdyx->scyx", factor, white)
            magnitude = torch.stack([arrays.rss(one) for one in noisy])
            head = view.outline(magnitude)
            scale = TOP / float(magnitude.max())
            std = scale * math.sqrt(float(variance[head].mean()) * (1 + more**2))
            name = f"{settings.orientation} {settings.matrix} {settings.contrasts[0]} +{more:g}"
            yield Sample(name, (scale * magnitude).round(), head, std)
    for n_slices, ny, nx in WHITE:
        y, x = (torch.arange(n) - n // 2 for n in (ny, nx))
        disc = (y[:, None] / (0.37 * ny)).square() + (x / (0.34 * nx)).square() <= 1
        rng = runs.rng(seed, "flat head", ny)
        noise = 20.0 * torch.randn(2, n_slices, ny, nx, generator=rng)
        magnitude = torch.hypot(1000.0 * disc + noise[0], noise[1]).round()
        yield Sample("white", magnitude, disc.expand(n_slices, -1, -1), 20.0)


def _hats(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(value, knot) weights of linear interpolation, constant beyond the knots."""
    return np.stack([np.interp(values, knots, row) for row in np.eye(len(knots))], 1)


def fit(chosen: list[Sample]) -> None:
    """Print the two curves: least squares, their bends kept small."""
    rows = [noise_level.patch_structure(s.magnitude.numpy(), s.head.numpy()) for s in chosen]
    there = [at for at, row in enumerate(rows) if row is not None]
    least, varying, flat = np.array([rows[at] for at in there]).T
    target = np.log([chosen[at].std for at in there]) - np.log(least)
    weight = np.array([WHITE_COUNTS if chosen[at].name == "white" else 1.0 for at in there])
    curves = [np.array(noise_level.VARYING), np.array(noise_level.FLAT)]
    basis = np.concatenate([_hats(varying, curves[0]), _hats(flat, curves[1])], 1)
    bends = np.zeros((0, basis.shape[1]))
    for knots, before in zip(curves, (0, len(curves[0])), strict=True):
        rows_of = np.zeros((len(knots) - 2, basis.shape[1]))
        rows_of[:, before : before + len(knots)] = np.diff(np.eye(len(knots)), 2, axis=0)
        bends = np.concatenate([bends, rows_of])
    normal = (basis * weight[:, None] ** 2).T @ basis + 0.3 * bends.T @ bends
    normal += 1e-2 * np.eye(len(normal))
    found = np.linalg.solve(normal, (basis * weight[:, None] ** 2).T @ target)
    for name, knots, values in zip(
        ("VARYING", "FLAT"), curves, np.split(found, [len(curves[0])]), strict=True
    ):
        print(f"{name} {tuple(knots.tolist())}: {tuple(values.round(2).tolist())}")
    error = target - basis @ found
    for low, high in zip((-1, 0.05, 0.2, 0.4, 0.65), (0.05, 0.2, 0.4, 0.65, 9), strict=True):
        part = error[(varying >= low) & (varying < high)]
        print(f"  varying {low:g} to {high:g}: s.d. of log {part.std():.2f}, n = {len(part)}")


def accuracy(stated: list[Sample]) -> list[str]:
    """How far estimates are from the truth, with air and without: a line each."""
    lines = []
    for title, keep_air in (("air as it is", True), ("air masked", False)):
        ratios, inside = [], []
        for sample in stated:
            image = sample.magnitude if keep_air else sample.magnitude * sample.head
            level = noise_level.estimate_noise(image, sample.head)
            ratios.append(math.log(level.std / sample.std))
            inside.append(abs(ratios[-1]) < 2 * level.error)
        away = np.abs(ratios)
        lines.append(
            f"- {title}: n = {len(ratios)}, ratio to the truth {np.exp(np.median(ratios)):.2f} "
            f"(median), {np.exp(np.quantile(ratios, 0.05)):.2f} to "
            f"{np.exp(np.quantile(ratios, 0.95)):.2f} (5 to 95 %); beyond 1.3: "
            f"{100 * np.mean(away > math.log(1.3)):.0f} %; "
            f"within twice the stated error: {100 * np.mean(inside):.0f} %"
        )
    return lines


def report() -> None:
    torch.set_num_threads(1)
    if "fit" in sys.argv[1:]:
        fit(list(samples(CHOOSING, 48)))
    stated = list(samples(STATING, N_STATED))
    lines = [
        "# How well noise levels are estimated",
        "",
        f"{N_STATED} simulated subjects that nothing was fitted to, 0.5 to 2.4 mm, three scans of",
        "each at three levels of noise, and flat heads with nothing but noise. The coarse scans",
        "have SNR up to 200. Made by `python -m tests.benchmarks.noise_levels docs` at commit",
        f"{runs.git_commit()[:9]}.",
        "",
        *accuracy(stated),
    ]
    print("\n".join(lines))
    if "docs" in sys.argv[1:]:
        path = runs.project_root() / "docs" / "audit" / "noise_levels.md"
        runs.write_text(path, "\n".join(lines) + "\n")


if __name__ == "__main__":
    report()
