"""ESPIRiT beside SigPy and BART: time, accuracy and memory in one run.

    python -m tests.benchmarks.coils [--quick]

Simulated heads of 16 and 20 coils (640 x 320 raw) and, where there are any, the
measured heads in ../shared/real. Same calibration region, kernel and threshold
for all. BART (the Debian package `bart`) is left out where it is not installed.
Peers get the k-space of the field of view that is kept, ready made; ours starts
from the raw k-space.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sigpy.mri.app  # noqa: F401  # so that its import is not timed
import torch
from torch import Tensor

from synthlib import arrays, coils, formats, runs, scanner
from synthlib.coils import EspiritSettings, automatic, calibration, eigenmaps, gauge, outside
from tests.benchmarks.timing import best_of

BATCH = 16
THRESHOLD = 0.02
SETTINGS = EspiritSettings(threshold=THRESHOLD, crop=0.9)


# --- peers ---------------------------------------------------------------------------


def write_cfl(path: Path, array: Tensor) -> None:
    """One slice (coil, y, x) as BART reads it: (y, x, 1, coil), first axis fastest."""
    data = array.permute(1, 2, 0)[:, :, None].numpy()
    dims = " ".join(map(str, [*data.shape, *[1] * 12]))
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{dims}\n")
    data.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> Tensor:
    lines = path.with_suffix(".hdr").read_text().splitlines()
    dims = [int(n) for n in lines[1].split()]
    data = np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(dims, order="F")
    return torch.from_numpy(np.ascontiguousarray(data.squeeze().transpose(2, 0, 1)))


def bart(folder: Path) -> None:
    """One run of `bart ecalib` on folder/kspace; the whole process, as a user would.

    BART compares squared singular values with its threshold.
    """
    subprocess.run(
        ["bart", "ecalib", "-m", "1", "-r", str(SETTINGS.calib_width), "-k",
         str(SETTINGS.kernel_width), "-t", str(THRESHOLD**2), "-c", "0",
         str(folder / "kspace"), str(folder / "maps")],
        check=True, capture_output=True,
    )  # fmt: skip


# --- the reference: every pixel, double precision -------------------------------------


def reference(kspace: Tensor) -> tuple[Tensor, Tensor]:
    """Maps complex64 (coil, y, x), phase arbitrary, and eigenvalues (y, x), by the definition."""
    k = SETTINGS.kernel_width
    size = [min(SETTINGS.calib_width, n) for n in kspace.shape[-2:]]
    calib = arrays.crop_or_pad(kspace, (size[0], size[1])).to(torch.complex128)
    patches = calib.unfold(1, k, 1).unfold(2, k, 1).permute(1, 2, 0, 3, 4)
    _, singular, right = torch.linalg.svd(patches.flatten(2).flatten(0, 1), full_matrices=False)
    kernels = right[singular > THRESHOLD * singular[0]].reshape(-1, len(calib), k, k)
    steps = torch.arange(k, dtype=torch.float64)
    wave_y, wave_x = (
        torch.exp(2j * torch.pi * (torch.arange(n) - n // 2)[:, None] * steps / n)
        for n in kspace.shape[-2:]
    )
    maps, values = [], []
    along_x = torch.einsum("xe,kcde->kcdx", wave_x, kernels)
    for row in wave_y:
        images = torch.einsum("d,kcdx->xck", row, along_x) / k
        found, vectors = torch.linalg.eigh(images @ images.mH)
        maps.append(vectors[..., -1].mT)
        values.append(found[:, -1])
    return torch.stack(maps, 1).to(torch.complex64), torch.stack(values).float()


def compare(name: str, ours: Tensor, theirs: Tensor, inside: Tensor) -> str:
    """Alignment, and phase where both are in one gauge up to a constant."""
    close = coils.alignment(ours, theirs)[inside]
    inner = (ours.conj() * theirs).sum(0)[inside]
    turn = (inner * inner.mean().conj()).angle().abs()
    share, low = float((close > 0.999).float().mean()), float(close.quantile(0.01))
    return (
        f"  {name:24s} > 0.999: {share:7.2%}   1st percentile {low:.5f}   "
        f"phase, 99th percentile {float(turn.quantile(0.99)):.4f} rad"
    )


# --- one data set --------------------------------------------------------------------


def judge(name: str, raw: Tensor, shape: tuple[int, int], repeats: int, accuracy: bool) -> None:
    """Time and accuracy on raw k-space (slice, coil, ky, kx)."""
    one = raw[0]
    images = arrays.crop_or_pad(arrays.ifft2c(one), shape)
    kept = arrays.fft2c(images)
    print(f"\n{name}: {raw.shape[1]} coils, {raw.shape[2]} x {raw.shape[3]} raw, "
          f"{shape[0]} x {shape[1]} kept")  # fmt: skip
    batch = best_of(lambda: coils.espirit_maps(raw, SETTINGS, image_shape=shape), repeats)
    single = best_of(lambda: coils.espirit_maps(one, SETTINGS, image_shape=shape), repeats)
    per_slice = batch / len(raw)
    print(f"  synthlib, batch of {len(raw):2d}     {per_slice:8.4f} s a slice")
    own = best_of(lambda: coils.espirit_maps(raw, image_shape=shape), repeats) / len(raw)
    print(f"  ... automatic settings    {own:8.4f} s a slice")
    print(f"  synthlib, one slice       {single:8.4f} s")
    made: dict[str, Tensor] = {}

    def sigpy() -> None:
        made["SigPy"] = coils.sigpy_maps(kept, SETTINGS, THRESHOLD)

    taken = best_of(sigpy, 1)
    print(f"  SigPy                     {taken:8.4f} s   x {taken / per_slice:.0f}")
    if shutil.which("bart"):
        with tempfile.TemporaryDirectory() as folder:
            write_cfl(Path(folder) / "kspace", kept)
            taken = best_of(lambda: bart(Path(folder)), max(2, repeats))
            made["BART"] = read_cfl(Path(folder) / "maps")
        print(f"  BART, whole process       {taken:8.4f} s   x {taken / per_slice:.1f}")
    else:
        print("  BART is not installed (apt install bart): left out")
    if accuracy:
        report_accuracy(one, kept, images, shape, made)


def report_accuracy(
    one: Tensor, kept: Tensor, images: Tensor, shape: tuple[int, int], made: dict[str, Tensor]
) -> None:
    """All in one gauge, that of the first principal coil, inside the reference's support."""
    settings = dataclasses.replace(SETTINGS, gauge="bart")
    found = coils.espirit_maps(one, settings, image_shape=shape)
    maps, values = reference(kept)
    inside = values > SETTINGS.crop
    weights = gauge.principal_coil(arrays.crop_or_pad(kept, (24, 24)))
    exact = gauge.towards(maps, weights)
    print(compare("every pixel in float64", found.maps, exact, inside))
    same = dataclasses.replace(found, support=inside)
    ratio = coils.residual(images, same)
    ratio /= coils.residual(images, dataclasses.replace(same, maps=exact))
    differs = float((found.support != inside).float().mean())
    print(
        f"  residual x {ratio:.5f} of the reference's; support differs in {differs:.3%} of pixels"
    )
    if len(made) == 2:
        made["SigPy"] = gauge.towards(made["SigPy"], weights)  # BART's stay as it turned them
        agreed = inside & (coils.alignment(made["SigPy"], made["BART"]) > 0.999)
        share = float(agreed.sum() / inside.sum())
        print(f"  SigPy and BART agree within 0.999 in {share:.1%} of the support; there:")
        for peer in made:
            print(compare(peer, found.maps, made[peer], agreed))
        print(compare("SigPy beside BART", made["SigPy"], made["BART"], agreed))


def report_grids(name: str, kspace: Tensor) -> None:
    """What the coarse grid costs and gains on one slice (coil, ky, kx); 0 solves every pixel."""
    maps, values = reference(kspace)
    inside = values > SETTINGS.crop
    exact = gauge.towards(maps, gauge.principal_coil(arrays.crop_or_pad(kspace, (24, 24))))
    print(f"\nGrids, {name} {tuple(kspace.shape)}")
    for grid in (48, 64, 80, 96, 128, 0):
        settings = dataclasses.replace(SETTINGS, grid=grid, gauge="bart")
        taken = best_of(lambda s=settings: coils.espirit_maps(kspace, s), 3)
        found = coils.espirit_maps(kspace, settings)
        print(f"  {1e3 * taken:7.1f} ms" + compare(f"grid {grid}", found.maps, exact, inside))


# --- where the time goes -------------------------------------------------------------


def report_steps(raw: Tensor, shape: tuple[int, int]) -> None:
    """Share of each step in a batch, and the least that the step must move and compute."""
    spent: dict[str, float] = {}
    steps = [
        (calibration, "calibrate"), (calibration, "signal_kernels"), (eigenmaps, "correlation"),
        (eigenmaps, "low_resolution"), (eigenmaps, "solve"), (gauge, "principal_coil"),
        (gauge, "smoothest"), (outside, "extrapolate"), (automatic, "crop"),
        (eigenmaps, "interpolate"),
    ]  # fmt: skip
    from unittest import mock

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            result = function(*args, **kwargs)
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - begin
            return result

        return call

    coils.espirit_maps(raw, SETTINGS, image_shape=shape)
    patches = [
        mock.patch.object(module, name, timed(name, getattr(module, name)))
        for module, name in steps
    ]
    for patch in patches:
        patch.start()
    begin = time.perf_counter()
    coils.espirit_maps(raw, SETTINGS, image_shape=shape)
    total = time.perf_counter() - begin
    for patch in patches:
        patch.stop()
    least = operations(raw.shape[1], shape)
    flops, bandwidth = machine()
    print(f"\nSteps, {raw.shape[1]} coils, {shape[0]} x {shape[1]}: "
          f"{1e3 * total / len(raw):.1f} ms a slice. This machine: "
          f"products {flops / 1e9:.0f} Gflop/s, copies {bandwidth / 1e9:.1f} GB/s.")  # fmt: skip
    print(f"  {'step':16s} {'ms':>7s} {'share':>7s} {'Gflop':>7s} {'MB':>7s} {'floor, ms':>10s}")
    floor = 0.0
    rest = total - sum(spent.values())
    for name, taken in sorted({**spent, "rest": rest}.items(), key=lambda item: -item[1]):
        operation, moved = least.get(name, (0.0, 0.0))
        bound = max(operation / flops, moved / bandwidth)
        floor += bound
        print(
            f"  {name:16s} {1e3 * taken / len(raw):7.1f} {taken / total:7.1%} "
            f"{operation / 1e9:7.2f} {moved / 1e6:7.1f} {1e3 * bound:10.1f}"
        )
    print(
        f"  floors together {1e3 * floor:.1f} ms: {total / len(raw) / floor:.1f}x is left to gain"
    )


def operations(n_coils: int, shape: tuple[int, int]) -> dict[str, tuple[float, float]]:
    """Step to (real operations, bytes to and from memory) that one slice cannot do without."""
    k, width, grid = SETTINGS.kernel_width, SETTINGS.calib_width, SETTINGS.grid
    patches, columns = (width - k + 1) ** 2, n_coils * k**2
    small, large = sorted((patches, columns))
    pixels = shape[0] * shape[1]
    points = grid**2 * max(shape) // min(shape)
    reach = 2 * k - 1
    squarings = eigenmaps.SQUARINGS * 8 * n_coils**3 * points
    rounds = 2 * 2 * 8 * n_coils**2 * points  # one round of two vectors, two products
    building = 8 * n_coils**2 * points * reach
    return {
        "signal_kernels": (8 * small**2 * large + 16 * small**3, 8.0 * small * large),
        "solve": (building + squarings + rounds, 8.0 * n_coils**2 * points),
        "interpolate": (4 * n_coils * grid * (grid * shape[1] + pixels), 8.0 * n_coils * pixels),
        "rest": (8.0 * n_coils * pixels, 2 * 8.0 * n_coils * pixels),  # unit size, in place
        "calibrate": (0.0, 8.0 * n_coils * 2 * pixels),  # every sample is looked at for NaN
    }


def machine() -> tuple[float, float]:
    """Operations per second of large products, bytes per second of a copy (read and written)."""
    a = torch.randn(1500, 1500)
    flops = 2 * 1500**3 / best_of(lambda: a @ a, 5)
    big, copy = torch.zeros(2**25), torch.zeros(2**25)
    return flops, 2 * 4 * 2**25 / best_of(lambda: copy.copy_(big), 5)


# --- memory --------------------------------------------------------------------------


def report_memory(slice_: Tensor) -> None:
    """Peak memory above the input for one slice, in processes of their own."""
    print(f"\nPeak memory above the input, one slice {tuple(slice_.shape)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.npy"
        np.save(path, slice_.numpy())
        for name in ("synthlib", "SigPy"):
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.coils", "--memory", name, str(path)],
                check=True, capture_output=True, text=True, cwd=runs.project_root(),
            )  # fmt: skip
            print(f"  {name:10s} {done.stdout.strip()}")


def peak_of(name: str, path: str) -> None:
    """Run in a process of its own: how far the peak rises beyond what holds the input."""
    kspace = torch.from_numpy(np.load(path))

    def work(data: Tensor) -> None:
        if name == "synthlib":
            coils.espirit_maps(data, SETTINGS)
        else:
            coils.sigpy_maps(data, SETTINGS, THRESHOLD)

    warnings.simplefilter("ignore")
    work(torch.randn(kspace.shape[0], 48, 48, dtype=torch.complex64))  # libraries, their buffers
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the high-water mark
    before = _status("VmRSS")
    work(kspace)
    rise = (_status("VmHWM") - before) / 1e3
    print(f"{rise:6.0f} MB, of which {kspace.numel() * 8 / 1e6:.0f} MB are the maps")


def _status(field: str) -> int:
    """One line of /proc/self/status, kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


# --- all of it -----------------------------------------------------------------------


def simulated(n_coils: int) -> Tensor:
    """Raw k-space (16, coil, 640, 320): eight slices in two contrasts."""
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(n_coils,), contrasts=("AXT1", "AXT2"), n_slices=BATCH // 2,
        matrix=(320, 320), fov_mm=(230.0, 230.0),
    )  # fmt: skip
    scans = scanner.scan_subject(settings, scanner.subjects(settings)[0])
    return torch.cat([torch.stack([*slices(scan.volume)]) for scan in scans])


def slices(volume: Any) -> Iterator[Tensor]:
    for index in range(volume.n_slices):
        yield volume.kspace[index]


def report(quick: bool = False) -> None:
    warnings.simplefilter("ignore", RuntimeWarning)
    print(f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, torch {torch.__version__}")
    for n_coils in (16,) if quick else (16, 20):
        raw = simulated(n_coils)
        full = (raw.shape[2], raw.shape[3])
        judge("simulated head", raw, (320, 320), 3, accuracy=True)
        if not quick:
            judge("the same, oversampling kept", raw, full, 2, accuracy=True)
        report_steps(raw, (320, 320))
        kept = arrays.crop_or_pad(arrays.ifft2c(raw[0]), (320, 320))
        report_grids("simulated", arrays.fft2c(kept))
    report_memory(raw[0])
    real = runs.project_root().parent / "shared" / "real" / "multicoil"
    for path in sorted(real.glob("*.h5")):
        volume = formats.read_raw(path)
        raw = volume.kspace[0].expand(BATCH, -1, -1, -1)
        judge(path.stem, raw, volume.image_shape, 3, accuracy=True)
        report_grids(path.stem, volume.kspace[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="16 coils only")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.memory:
        peak_of(*chosen.memory)
    else:
        report(chosen.quick)


if __name__ == "__main__":
    main()
