"""The same images under several conventions in use: how much PSNR and SSIM depend on them.

fastmri.evaluate and skimage.metrics compute every value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fastmri import evaluate
from skimage.metrics import structural_similarity
from torch import Tensor

from synthlib import arrays, coils, metrics, pairs
from synthlib.recon import grid, masks, samples
from synthlib.study import card

# convention to {"PSNR": dB, "SSIM": 0 to 1}
Scores = Mapping[str, Mapping[str, float]]

FASTMRI = "fastMRI"
SHOWN = ("PSNR", "SSIM")


@dataclass(frozen=True)
class Reconstructed:
    """One test volume and its reconstruction, before any crop.

    Attributes:
        patient_id: values are averaged by patient first.
        target: float (slice, y, x), root sum of squares of the full coil images.
        combined: float (slice, y, x), magnitude of their combination with the maps.
        image: float (slice, y, x), the reconstruction.
        head: bool (slice, y, x).
        crop: (ny, nx) of the scanner's own image.
    """

    patient_id: str
    target: Tensor
    combined: Tensor
    image: Tensor
    head: Tensor
    crop: tuple[int, int]

    def __post_init__(self) -> None:
        volumes = (self.target, self.combined, self.image, self.head)
        shapes = [tuple(volume.shape) for volume in volumes]
        if len(set(shapes)) > 1 or len(shapes[0]) != 3:
            raise ValueError(
                f"target, combined, image and head are {', '.join(map(str, shapes))}; expected "
                "four volumes (slice, y, x) of one shape. Give the image as it was reconstructed, "
                "before it is cropped."
            )
        dark = [k for k, signal in enumerate(self.target.flatten(1).amax(1)) if not signal > 0]
        if dark or not bool(self.head.any()):
            what = f"slice {dark[0]} of the target is all zero" if dark else "the head is empty"
            raise ValueError(f"{what}; expected signal in every slice. Leave this volume out.")


def reconstructed(
    volume: pairs.PreparedVolume, image: Tensor, mask: masks.Mask | None = None
) -> Reconstructed:
    """A scan's targets beside its reconstruction.

    Args:
        volume: a fully sampled test scan.
        image: float (slice, y, x) on RawVolume.image_shape, magnitude.
        mask: by which k-space was thinned. With it the image is continued over all
            that was acquired: rows that the readout's oversampling adds become the
            zero-filled root sum of squares (a mask of columns mixes the pixels of one
            row only, so that nothing of them reaches the others).

    Raises:
        ValueError: the image has another shape.
    """
    raw = volume.raw
    expected = (volume.n_slices, *raw.image_shape)
    if tuple(image.shape) != expected:
        raise ValueError(
            f"{volume.name}: image {tuple(image.shape)}; expected {expected}, the reconstruction "
            "before it is cropped to the scanner's own image"
        )
    acquired = int(raw.kspace.shape[-2]), int(raw.kspace.shape[-1])
    view = raw.image_shape if mask is None else acquired
    targets, combined, images = [], [], []
    covered = arrays.crop_or_pad_image(torch.ones(raw.image_shape, dtype=torch.bool), view)
    for index, own in enumerate(image.detach().cpu()):
        kspace = raw.signal(index)
        coil_images = arrays.crop_or_pad_image(arrays.ifft2c(kspace), view)
        together = coils.combine(raw.images_of(kspace), volume.maps(index)).abs()
        targets.append(arrays.rss(coil_images))
        combined.append(arrays.crop_or_pad_image(together, view))
        beyond = torch.zeros(view)
        if mask is not None:
            beyond = arrays.rss(arrays.ifft2c(kspace * mask.columns))
        images.append(torch.where(covered, arrays.crop_or_pad_image(own, view), beyond))
    slices = [volume.pair(index) for index in range(volume.n_slices)]
    return Reconstructed(
        patient_id=raw.patient_id,
        target=torch.stack(targets),
        combined=torch.stack(combined),
        image=torch.stack(images),
        head=metrics.volume_head(slices, view),
        crop=card.crop_of(volume),
    )


@dataclass(frozen=True)
class Convention:
    """How PSNR and SSIM are taken; the defaults are fastMRI's.

    Attributes:
        target: "rss", or "combined" (with the coil maps, as SENSE has it).
        view: "crop" to the scanner's own image, "full" for no crop, "box" around the head.
        data_range: "volume" for its maximum, "slice" for each slice's maximum, "span"
            for each slice's maximum less its minimum; with the latter two PSNR is
            taken slice by slice, too, and averaged.
        inside: only the head's pixels count, in SSIM those of its map.
        ssim: as skimage.metrics.structural_similarity takes it.
    """

    target: str = "rss"
    view: str = "crop"
    data_range: str = "volume"
    inside: bool = False
    ssim: Mapping[str, Any] = field(default_factory=dict)


# Source of the Gaussian window: Wang et al., IEEE Trans. Image Process. 13:600 (2004).
WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
CONVENTIONS = {
    FASTMRI: Convention(),
    "maximum of each slice": Convention(data_range="slice"),
    "no crop": Convention(view="full"),
    "crop to the head's box": Convention(view="box"),
    "head's pixels only": Convention(inside=True),
    "combined (SENSE) target": Convention(target="combined"),
    "skimage's defaults, slice by slice": Convention(data_range="span"),
    "Wang's SSIM (Gaussian window)": Convention(ssim=WANG),
}


def spread_of_cells(cells: Mapping[str, grid.Cell]) -> dict[str, dict[str, dict[str, float]]]:
    """:func:`convention_spread` of the test images of some cells, reconstructed once more.

    Args:
        cells: label to a cell that has run.
    """
    spreads = {}
    for name, cell in cells.items():
        method, volumes = grid.method_of(cell), []
        for volume in cell.test:
            slices = samples.measured_volume(volume, cell.acceleration, cell.center_fraction)
            image = torch.stack([method(sample) for sample in slices])
            volumes.append(reconstructed(volume, image, slices[0].mask))
        spreads[name] = convention_spread(volumes)
    return spreads


def convention_spread(volumes: Sequence[Reconstructed]) -> dict[str, dict[str, float]]:
    """PSNR (dB) and SSIM of the same images under every convention of CONVENTIONS.

    Means over each patient's volumes, then over patients. "no crop" is left out
    where no volume is larger than its crop: it would repeat fastMRI's.

    Args:
        volumes: by one reconstruction.
    """
    if not volumes:
        raise ValueError("no volumes to score; expected one or more that were reconstructed")
    cropped = any(tuple(volume.target.shape[-2:]) != volume.crop for volume in volumes)
    spread = {}
    for name, convention in CONVENTIONS.items():
        if convention.view == "full" and not cropped:
            continue
        by_patient: dict[str, list[tuple[float, float]]] = {}
        for volume in volumes:
            by_patient.setdefault(volume.patient_id, []).append(_score(volume, convention))
        means = np.mean([np.mean(values, axis=0) for values in by_patient.values()], axis=0)
        spread[name] = {"PSNR": float(means[0]), "SSIM": float(means[1])}
    return spread


def _score(volume: Reconstructed, convention: Convention) -> tuple[float, float]:
    """(PSNR, SSIM) of one volume."""
    target = volume.combined if convention.target == "combined" else volume.target
    truth, image, head = (
        _seen(part, volume, convention.view).numpy(force=True)
        for part in (target, volume.image, volume.head)
    )
    if convention.data_range == "volume":
        ranges = np.full(len(truth), truth.max())
        counted = head if convention.inside else np.ones_like(head)
        psnr = evaluate.psnr(truth[counted], image[counted], truth.max())
    else:
        lowest = truth.min((1, 2)) if convention.data_range == "span" else 0
        ranges = truth.max((1, 2)) - lowest
        psnr = np.mean([evaluate.psnr(truth[k], image[k], ranges[k]) for k in range(len(truth))])
    ssim = []
    for k in range(len(truth)):
        mean, by_pixel = structural_similarity(
            truth[k], image[k], data_range=ranges[k], full=True, **convention.ssim
        )
        if not convention.inside:
            ssim.append(mean)
        elif head[k].any():
            ssim.append(by_pixel[head[k]].mean())
    return float(psnr), float(np.mean(ssim))


def _seen(part: Tensor, volume: Reconstructed, view: str) -> Tensor:
    if view == "full":
        return part
    if view == "crop":
        return arrays.crop_or_pad_image(part, volume.crop)
    in_head = volume.head.any(0)
    rows, columns = (in_head.any(axis).nonzero().flatten() for axis in (1, 0))
    return part[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def spread_table(by_method: Mapping[str, Scores]) -> list[dict[str, str]]:
    """Rows: every convention with the PSNR and SSIM of every method.

    Args:
        by_method: label of a reconstruction to what :func:`convention_spread` gives for it.
    """
    first = next(iter(by_method.values()))
    rows = []
    for convention in first:
        row = {"convention": convention}
        for label, scores in by_method.items():
            row[f"{label}: PSNR (dB)"] = f"{scores[convention]['PSNR']:.2f}"
            row[f"{label}: SSIM"] = f"{scores[convention]['SSIM']:.3f}"
        rows.append(row)
    return rows


def spread_sentence(by_method: Mapping[str, Scores]) -> str:
    """What follows from the table: each method's spread, and that of the differences.

    Args:
        by_method: as :func:`spread_table` takes it; the first method is compared
            with every other.
    """
    sentences = []
    for label, scores in by_method.items():
        (low, high), (least, most) = (_range(s[name] for s in scores.values()) for name in SHOWN)
        sentences.append(
            f"{label}: the same images score {low:.2f} to {high:.2f} dB and SSIM {least:.3f} to "
            f"{most:.3f} under {len(scores)} conventions, a spread of {high - low:.2f} dB and "
            f"{most - least:.3f}."
        )
    (first, reference), *others = by_method.items()
    for label, scores in others:
        (low, high), (least, most) = (
            _range(reference[convention][name] - scores[convention][name] for convention in scores)
            for name in SHOWN
        )
        same = min(low, least) > 0 or max(high, most) < 0
        sentences.append(
            f"{first} less {label}: {low:+.2f} to {high:+.2f} dB, SSIM {least:+.3f} to "
            f"{most:+.3f}; {'every convention' if same else 'not every convention'} puts them in "
            "the same order."
        )
    return " ".join(sentences)


def _range(values: Iterable[float]) -> tuple[float, float]:
    """(smallest, largest)."""
    listed = list(values)
    return min(listed), max(listed)
