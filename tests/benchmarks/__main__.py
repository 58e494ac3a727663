"""Time against peers, side by side in one run: `make bench`.

Prints ratios; nothing here is a test, because a busy machine would fail it.
Sizes: small is the demo's, full is fastMRI's. Each figure is the best of some
repetitions after one warm-up, on all cores that torch takes.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import fastmri
import numpy as np
import torch
from fastmri.data import SliceDataset, subsample, transforms

from synthlib import arrays, formats, pairs, scanner
from synthlib.recon import masks, samples
from synthlib.records import RawVolume
from tests.benchmarks import audit, conversion, training_steps, viewer
from tests.benchmarks import coils as coil_maps
from tests.benchmarks import scanner as scanner_stages
from tests.benchmarks.timing import best_of

SMALL = scanner.ScanSettings(n_subjects=1, coil_counts=(8,), contrasts=("AXT2",), n_slices=3)
FULL = scanner.ScanSettings(
    n_subjects=1, coil_counts=(16,), contrasts=("AXT2",), n_slices=1, matrix=(320, 320),
    fov_mm=(230.0, 230.0),
)  # fmt: skip


def row(what: str, ours: float, peer: str, theirs: float) -> None:
    left = f"{what:44s} {ours * 1e3:9.1f} ms   "
    print(f"{left}{peer:22s} {theirs * 1e3:9.1f} ms   x {theirs / ours:.1f}", flush=True)


def main() -> None:
    print(f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"{'what':44s} {'synthlib':>12s}   {'peer':22s} {'':>12s}   peer / synthlib")
    for size, settings, repeats in (("small", SMALL, 5), ("full", FULL, 2)):
        subject = scanner.subjects(settings)[0]
        volume = scanner.scan_subject(settings, subject)[0].volume
        coil_images = volume.coil_images(0)
        shape = "x".join(map(str, coil_images.shape))

        real = torch.view_as_real(coil_images).contiguous()
        ours = best_of(lambda c=coil_images: arrays.fft2c(c), 20)
        row(
            f"centred FFT, {size} {shape}", ours, "fastmri.fft2c",
            best_of(lambda r=real: fastmri.fft2c(r), 20),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            _loading(size, volume, Path(folder), repeats)
    scanner_stages.report(best_of)
    print()
    viewer.report()
    print()
    coil_maps.report()
    print()
    conversion.main()
    print()
    audit.report()
    print()
    training_steps.report()


def _loading(size: str, volume: RawVolume, folder: Path, repeats: int) -> None:
    """A measured training sample from disk: ours (readout cropped) and the stock loader's."""
    path = folder / "raw" / f"{volume.name}.h5"
    formats.write_raw(
        path,
        volume.kspace[:],  # type: ignore[index]
        contrast=volume.contrast,
        patient_id=volume.patient_id,
        recon_shape=volume.recon_shape,
    )
    prepared = pairs.prepare([formats.read_raw(path)], folder / "prepared")[0]
    data = samples.TrainingData(samples.GROUND_TRUTH, [prepared], folder)
    mask = masks.equispaced(volume.kspace.shape[-1], 4, seed=1)

    def ours() -> object:
        kspace = samples.full_kspace(data, prepared, 0)
        return samples.undersample(kspace, prepared.maps(0), prepared, mask, 1.0)

    make = subsample.EquispacedMaskFractionFunc([0.04], [4])
    stock = SliceDataset(path.parent, "multicoil", transforms.VarNetDataTransform(make))
    row(
        f"undersampled sample from disk, {size}", best_of(ours, repeats), "fastMRI SliceDataset",
        best_of(lambda: stock[0], repeats),
    )  # fmt: skip


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
