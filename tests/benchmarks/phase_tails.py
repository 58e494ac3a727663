"""Brain phase beyond a smooth surface: simulated spin echoes beside measured heads.

    python -m tests.benchmarks.phase_tails [folder of measured data] [picture.png]

Of every head: rms of what a magnitude-weighted surface of degree 4 leaves in the eroded
outline, the share of pixels beyond 0.3 rad, and the kurtosis of the high-pass phase.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from scipy import ndimage
from torch import Tensor

from synthlib import arrays, coils, formats, scanner
from synthlib.likeness import measures
from synthlib.records import RawVolume

ERODED_MM = 16.0  # from the outline of the head to the brain
HIGH_PASS_PIXELS = 2.0  # s.d. of the Gaussian that is taken off
TAIL_RAD = 0.3
MEASURED = (
    "multicoil/head_axial_t1_8coil.h5",
    "multicoil/head_axial_mprage_4coil.h5",
    "multicoil/head_axial_16coil_lowres.h5",
    "singlecoil/head_axial_t2_1coil.h5",
    "singlecoil/head_sagittal_t1_1coil.h5",
)
SIMULATED = scanner.ScanSettings(
    n_subjects=6, coil_counts=(8,), contrasts=("AXT1", "AXT2", "AXFLAIR"), n_slices=1,
    matrix=(240, 200), fov_mm=(230.0, 192.0), positions_mm=(0.0,), snr=30.0, seed=17,
)  # fmt: skip
PLACES_MM = (-14.0, -4.0, 6.0, 16.0, 26.0, 36.0)
COILS = (8, 4, 16, 1, 8, 12)


@dataclass(frozen=True)
class Tails:
    """rms_rad; share beyond TAIL_RAD; kurtosis (3 of a Gaussian); what phase is left."""

    rms_rad: float
    share: float
    kurtosis: float
    left: Tensor
    magnitude: Tensor


def tails(image: Tensor, magnitude: Tensor, spacing_mm: float) -> Tails:
    """Of a complex image (y, x) and the magnitude that shows its outline."""
    head = measures.outline(magnitude)
    pixels = max(1, round(ERODED_MM / spacing_mm))
    distance = torch.from_numpy(ndimage.distance_transform_edt(head.numpy()))
    brain = distance > pixels
    brain &= magnitude > 0.3 * magnitude[brain].median()
    weight = image.abs() * brain
    left = arrays.wrap(image.angle() - measures.smooth_phase(image.angle(), weight))
    values = left[brain]
    turned = torch.polar(weight.double(), left.double())
    low = torch.complex(
        *(
            torch.from_numpy(ndimage.gaussian_filter(part.numpy(), HIGH_PASS_PIXELS))
            for part in (turned.real, turned.imag)
        )
    )
    fine = (turned * low.conj()).angle()[brain]
    fine = fine - fine.mean()
    kurtosis = float(fine.pow(4).mean() / fine.square().mean() ** 2)
    rms = float((weight * left.square()).sum() / weight.sum()) ** 0.5
    shown = torch.where(distance > 0, left, torch.nan)
    return Tails(rms, float((values.abs() > TAIL_RAD).double().mean()), kurtosis, shown, magnitude)


def of_volume(volume: RawVolume, index: int) -> Tails:
    """As :func:`tails`, coils combined with their estimated maps."""
    images = volume.coil_images(index)
    image = images[0]
    if len(images) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            image = coils.combine(images, coils.espirit_maps(arrays.fft2c(images)).maps)
    return tails(image, arrays.rss(images), max(volume.spacing_mm))


def simulated(settings: scanner.ScanSettings = SIMULATED) -> dict[str, Tails]:
    """Six heads, contrasts in turn, each at its own place and with its own number of coils."""
    result = {}
    for index, (place, n_coils) in enumerate(zip(PLACES_MM, COILS, strict=True)):
        name = settings.contrasts[index % len(settings.contrasts)]
        own = replace(
            settings, positions_mm=(place,), contrasts=(name,), coil_counts=(n_coils,),
            seed=settings.seed + index,
        )  # fmt: skip
        (scan,) = scanner.scan_subject(own, scanner.subjects(own)[0])
        result[f"{name} {place:+.0f} mm {n_coils} coils"] = of_volume(scan.volume, 0)
    return result


def measured(folder: Path) -> dict[str, Tails]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {Path(name).stem: of_volume(formats.read_raw(folder / name), 0) for name in MEASURED}


def picture(rows: list[dict[str, Tails]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    n = max(map(len, rows))
    figure, axes = plt.subplots(2 * len(rows), n, figsize=(4 * n, 8.5 * len(rows)), squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    for row, heads in enumerate(rows):
        for column, (name, head) in enumerate(heads.items()):
            top = float(torch.quantile(head.magnitude.flatten(), 0.99))
            axes[2 * row, column].imshow(head.magnitude, cmap="gray", vmin=0, vmax=top)
            axes[2 * row, column].set_title(name, fontsize=9)
            axes[2 * row + 1, column].imshow(head.left, cmap="RdBu_r", vmin=-0.6, vmax=0.6)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=60)


def report(heads: dict[str, Tails]) -> None:
    for name, head in heads.items():
        print(
            f"  {name:34s} {head.rms_rad:6.3f} rad {100 * head.share:6.2f} % {head.kurtosis:7.1f}"
        )


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    if len(sys.argv) > 1:
        rows.append(measured(Path(sys.argv[1])))
        print("measured")
        report(rows[-1])
    bases = ("susceptibility", "conductivity", "receive", "timing", "chemical_shift", "noise")
    for title, settings in (
        ("simulated, all mechanisms", SIMULATED),
        ("simulated, without the later ones", replace(SIMULATED, mechanisms=bases)),
    ):
        rows.append(simulated(settings))
        print(title)
        report(rows[-1])
    if len(sys.argv) > 2:
        picture(rows, sys.argv[2])


if __name__ == "__main__":
    main()
