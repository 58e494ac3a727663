"""Reconstructions without training: the floor that a network must beat, and its ceiling."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays, coils, runs
from synthlib.formats import bart_cfl

N_ITERATIONS = 100  # SigPy's own default
WAVELET = "db2"  # BART's default, which it calls dau2
MAX_SHIFT = 16  # pixels; wavelets of three scales repeat after 8
MAX_BEYOND = 4  # weights beyond the end of a grid
BART_STEP = 0.95  # BART's default for data whose operator has a norm of one


def zero_filled(kspace: Tensor) -> Tensor:
    """Root sum of squares (..., y, x) of k-space (..., coil, ky, kx), zero where not measured."""
    return arrays.rss(arrays.ifft2c(kspace))


def sense_combined(kspace_full: Tensor, maps: Tensor) -> Tensor:
    """The ceiling of all methods that are given these maps, against the RSS target.

    |sum_c conj(S_c) m_c| / sum_c |S_c|^2 of the fully sampled coil images m_c. What the
    maps do not explain, noise in air above all, is missing from it.

    Args:
        kspace_full: complex (..., coil, ky, kx), every column measured.
        maps: complex (..., coil, y, x).

    Returns:
        real (..., y, x), units of the coil images.
    """
    return coils.combine(arrays.ifft2c(kspace_full), maps).abs()


def l1_wavelet(
    kspace: Tensor,
    columns: Tensor,
    maps: Tensor,
    weight: float,
    *,
    n_iterations: int = N_ITERATIONS,
    shifts: bool = True,
    wavelet: str = WAVELET,
) -> Tensor:
    """Compressed sensing with coil maps, by SigPy.

    Minimises 1/2 ||P F S x - y||^2 + weight ||W x||_1 by FISTA, from zero, y being the data
    divided by the largest magnitude of S^H F^H P y: a weight means the same for every scan.
    Same input, same bytes; no random state is touched, for the step is the inverse of the
    largest power of the maps (a bound of the operator's norm) instead of SigPy's power iteration.

    Args:
        kspace: complex64 (coil, ky, kx); only measured columns are looked at.
        columns: bool (kx,), true where a column is measured.
        maps: complex (coil, y, x), at most of unit root sum of squares as a rule.
        weight: >= 0, without a unit; 1e-3 to 3e-3 as a rule.
        n_iterations: of FISTA. The shifts keep moving the image by about 0.1 dB.
        shifts: shift the wavelets' grid at every iteration (cycle spinning), as BART does, by
            numbers that are the same for every image: less blocky, and about 1 dB better than
            one grid, which is what SigPy's L1WaveletRecon has.
        wavelet: PyWavelets' name.

    Returns:
        complex64 (y, x), in the maps' phase and the data's units.

    Raises:
        ValueError: sizes differ, or weight or n_iterations is too small.

    Source: Lustig et al., MRM 58:1182 (2007); Beck and Teboulle, SIAM J. Imaging Sci. 2:183
    (2009); cycle spinning: Coifman and Donoho, Lect. Notes Stat. 103:125 (1995).
    """
    from sigpy.mri.app import L1WaveletRecon

    _require_valid(kspace, columns, maps, weight, n_iterations)
    scale = _scale(kspace, columns, maps)
    if scale == 0:
        return kspace.new_zeros(maps.shape[-2:])
    sampled = columns.to(kspace.device).expand(kspace.shape).float()
    app = L1WaveletRecon(
        (kspace / scale).numpy(force=True),
        maps.numpy(force=True),
        float(weight),
        weights=sampled.numpy(force=True),
        wave_name=wavelet,
        alpha=1 / _power(maps),
        max_iter=n_iterations,
        show_pbar=False,
    )
    if shifts:
        app.alg.proxg = _ShiftedProx(app.alg.proxg)
    return torch.from_numpy(app.run()).to(kspace.device) * scale


class _ShiftedProx:
    """A proximal operator on a grid that is another one at every call."""

    def __init__(self, prox: Callable[[float, np.ndarray], np.ndarray]) -> None:
        self._prox = prox
        self._draw = runs.rng(0, "wavelet shifts")

    def __call__(self, step: float, image: np.ndarray) -> np.ndarray:
        dy, dx = torch.randint(MAX_SHIFT, (2,), generator=self._draw).tolist()
        shifted = self._prox(step, np.roll(image, (dy, dx), (0, 1)))
        return np.roll(shifted, (-dy, -dx), (0, 1))


def bart_l1_wavelet(
    kspace: Tensor,
    columns: Tensor,
    maps: Tensor,
    weight: float,
    *,
    n_iterations: int = N_ITERATIONS,
) -> Tensor:
    """The same problem, solved by BART's `pics`; see :func:`l1_wavelet`.

    BART runs on one thread, so that its result does not depend on the machine's cores.

    Raises:
        FileNotFoundError: BART is not installed.
        ValueError: as for l1_wavelet.
        RuntimeError: BART failed; the message holds what it printed last.

    Source: BART 0.8, https://mrirecon.github.io/bart.
    """
    program = shutil.which("bart")
    if program is None:
        raise FileNotFoundError(
            "the program bart is not on the PATH; expected BART 0.8 or later. Install it "
            "(Debian: apt install bart), or use l1_wavelet, which needs SigPy only."
        )
    _require_valid(kspace, columns, maps, weight, n_iterations)
    scale = _scale(kspace, columns, maps)
    if scale == 0:
        return kspace.new_zeros(maps.shape[-2:])
    sampled = columns.to(kspace.device).expand(1, *kspace.shape[-2:])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = kspace * sampled * _for_pics(kspace) / scale
        bart_cfl.write_array(folder / "kspace", data)
        bart_cfl.write_array(folder / "maps", maps)
        bart_cfl.write_array(folder / "pattern", sampled)
        # W:3:0 is wavelets over the first two dimensions; -w 1 keeps BART from scaling the data.
        options = f"-R W:3:0:{float(weight)} -i {n_iterations} -s {BART_STEP / _power(maps)} -w 1"
        command = [program, "pics", *options.split(), "-p", "pattern", "kspace", "maps", "image"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise RuntimeError(
                f"bart pics ended with {done.returncode}: {' '.join(last)}. "
                "Check `bart version` (0.8 or later), or use l1_wavelet."
            )
        image = bart_cfl.read_kspace(folder / "image")[0, 0]
    return image.contiguous().to(kspace.device) * scale


def _for_pics(kspace: Tensor) -> Tensor:
    """The phase (ky, kx) that k-space needs to be centred in `bart pics` at any size.

    With c = N // 2, a centred transform is conj(M) y = F(M x), F not centred and
    M_j = exp(2 pi i (j - c / 2) c / N). BART 0.8's pics takes M y = F(M x) instead: no more than
    a sign where N is even, another centre where it is odd (17 dB instead of 35). This is conj(M)^2.
    """
    ky, kx = (
        torch.polar(
            torch.ones(n, dtype=torch.float64),
            -4 * torch.pi * (torch.arange(n, dtype=torch.float64) - n // 2 / 2) * (n // 2 / n),
        )
        for n in kspace.shape[-2:]
    )
    return torch.outer(ky, kx).to(kspace)


class SliceWithTarget(Protocol):
    """What :func:`best_weight` looks at; samples.Sample is one.

    Attributes:
        target: real (y, x).
        data_range: maximum of the volume that the slice is from.
        crop: (ny, nx) that metrics look at.
    """

    @property
    def target(self) -> Tensor: ...
    @property
    def data_range(self) -> float: ...
    @property
    def crop(self) -> tuple[int, int]: ...


Slice = TypeVar("Slice", bound=SliceWithTarget)


@dataclass(frozen=True)
class BestWeight:
    """A regularisation weight chosen on validation slices.

    Attributes:
        weight: the one of the highest mean PSNR; of equals the largest, which is the most stable.
        psnr: that mean, dB.
        at_end: it is the smallest or largest weight tried: a better one may lie still beyond.
        curve: (weight, mean PSNR in dB) of all weights, in rising order.
    """

    weight: float
    psnr: float
    at_end: bool
    curve: tuple[tuple[float, float], ...]


def best_weight(
    reconstruct: Callable[[Slice, float], Tensor], slices: Sequence[Slice], weights: Sequence[float]
) -> BestWeight:
    """Choose a regularisation weight by the mean PSNR of slices. Never give it test slices.

    PSNR is that of each slice with its volume's range, within its crop; the mean is over slices.

    Args:
        reconstruct: (slice, weight) to the image (y, x), magnitude or complex.
        slices: validation slices, one at least.
        weights: the grid, in any order; where its end is the best, it is continued in the same
            ratio, MAX_BEYOND times at most.

    Raises:
        ValueError: no slices, no weights, or a PSNR that is not a number.
    """
    if not slices or not weights:
        raise ValueError(
            f"{len(slices)} validation slices and {len(weights)} weights; expected at least one "
            "of each. Choose weights on validation patients, never on those of the test."
        )
    means = {weight: _mean_psnr(reconstruct, slices, weight) for weight in map(float, weights)}
    for _ in range(MAX_BEYOND):
        beyond = _beyond(means)
        if beyond is None:
            break
        means[beyond] = _mean_psnr(reconstruct, slices, beyond)
    best = _best(means)
    curve = tuple(sorted(means.items()))
    return BestWeight(best, means[best], best in (curve[0][0], curve[-1][0]), curve)


def _best(means: Mapping[float, float]) -> float:
    return max(means, key=lambda weight: (means[weight], weight))


def _beyond(means: Mapping[float, float]) -> float | None:
    """The next weight of a grid whose best is at an end, in the ratio of that end."""
    tried, best = sorted(means), _best(means)
    if len(tried) < 2 or best not in (tried[0], tried[-1]):
        return None
    neighbour = tried[1] if best == tried[0] else tried[-2]
    if best == 0 or neighbour == 0:  # no ratio
        return None
    return best**2 / neighbour


def _mean_psnr(
    reconstruct: Callable[[Slice, float], Tensor], slices: Sequence[Slice], weight: float
) -> float:
    mean = float(np.mean([_psnr(sample, reconstruct(sample, weight)) for sample in slices]))
    if np.isnan(mean):
        raise ValueError(
            f"mean PSNR with weight {weight:g} is not a number; expected finite images and "
            "data ranges above zero. Check the slices, or leave this weight out."
        )
    return mean


def _psnr(sample: SliceWithTarget, image: Tensor) -> float:
    target, magnitude = (
        arrays.crop_or_pad_image(each, sample.crop).double()
        for each in (sample.target, image.abs())
    )
    error = (target - magnitude.to(target.device)).square().mean()
    return float(10 * torch.log10(sample.data_range**2 / error))


def _scale(kspace: Tensor, columns: Tensor, maps: Tensor) -> float:
    """The largest magnitude of the zero-filled combined image."""
    coil_images = arrays.ifft2c(kspace * columns.to(kspace.device))
    return float((maps.conj() * coil_images).sum(-3).abs().max())


def _power(maps: Tensor) -> float:
    """The largest sum of squares of the maps: no eigenvalue of the normal operator is larger."""
    return float(maps.abs().square().sum(-3).max())


def _require_valid(
    kspace: Tensor, columns: Tensor, maps: Tensor, weight: float, n_iterations: int
) -> None:
    if kspace.shape != maps.shape or kspace.ndim != 3 or columns.shape != kspace.shape[-1:]:
        raise ValueError(
            f"k-space {tuple(kspace.shape)}, maps {tuple(maps.shape)}, columns "
            f"{tuple(columns.shape)}; expected (coil, ky, kx), (coil, y, x) of the same sizes and "
            "(kx,). Give one slice, with maps of its grid."
        )
    if columns.dtype != torch.bool:
        raise ValueError(f"columns are {columns.dtype}; expected bool. Give Mask.columns.")
    if not weight >= 0 or n_iterations < 1:
        raise ValueError(
            f"weight {weight} and {n_iterations} iterations; expected a weight of 0 or more and "
            "at least one iteration"
        )
