"""Phantoms are told from heads by evenness and outline together, noise by having no object."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from synthlib import archive, arrays, bank, formats, runs, scanner
from synthlib.records import ImageVolume

SHAPE = 112, 96


def volume(magnitude: Tensor, anatomy: str = "head") -> ImageVolume:
    return ImageVolume("x", "p", "AXT1", magnitude, (2.0, 2.0), anatomy=anatomy)


def scanned(objects: np.ndarray, snr: float = 30.0) -> Tensor:
    """Magnitudes of (slice, y, x) with a receiver's shading and noise, float32."""
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    shaded = torch.from_numpy(objects * (1 + 0.4 * (y**2 + x**2) + 0.2 * x))
    noise = torch.randn((2, *shaded.shape), generator=runs.rng(4, "noise"), dtype=torch.float64)
    return torch.hypot(shaded + noise[0] / snr, noise[1] / snr).float()


def vessels() -> dict[str, np.ndarray]:
    """Sphere, bottle, disc with structures as quality phantoms have them; 1 is water."""
    z, y, x = np.mgrid[-0.6:0.6:5j, -1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    sphere = (x**2 + y**2 + z**2 < 0.75**2) * 1.0
    bottle = ((abs(x) < 0.5) & (abs(y) < 0.75)) * 1.0
    disc = (np.hypot(x, y) < 0.8) * 1.0
    disc[(abs(x) < 0.3) & (abs(y) < 0.08)] = 0.2  # a wedge
    for k in range(-3, 4):  # bars
        disc[(abs(x - 0.12 * k) < 0.015) & (abs(y - 0.4) < 0.25)] = 0.05
    disc[np.hypot(x - 0.4, y) < 0.1] = 1.4  # another liquid
    return {"sphere": sphere, "bottle": bottle, "disc": disc}


@pytest.mark.parametrize("kind", ["sphere", "bottle", "disc"])
def test_phantoms_are_told_unless_the_header_says_another_part_of_the_body(kind):
    magnitude = scanned(vessels()[kind])
    assert "looks like a phantom" in bank.phantom_note(volume(magnitude))
    assert bank.phantom_note(volume(magnitude, "knee")) == ""
    bank.require_object(magnitude)  # and nothing is refused


@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal"])
def test_simulated_heads_are_no_phantoms_nor_are_their_vertex_and_their_brain(orientation):
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(4,), contrasts=("AXT1", "AXGRE"), orientation=orientation,
        positions_mm=(-40.0, 0.0, 40.0, 60.0), matrix=SHAPE, fov_mm=(256.0, 220.0), oversampling=1,
    )  # fmt: skip
    for scan in scanner.scan_subject(settings, scanner.subjects(settings)[0]):
        images = [arrays.rss(scan.volume.coil_images(i)) for i in range(4)]
        magnitude = torch.stack(images)
        brain = magnitude * (scan.truth["labels"] <= 3) * (scan.truth["labels"] > 0)
        for part in (magnitude, brain, magnitude[-1:], magnitude[1:2]):
            assert bank.phantom_note(volume(part)) == ""
            bank.require_object(part)


def test_measured_heads_are_no_phantoms_and_measured_phantoms_are(real):
    raws = [p for folder in ("multicoil", "singlecoil") for p in (real / folder).glob("*.h5")]
    for path in (*raws, *(real / "complex_t2").glob("subject[12]*.h5")):
        raw = formats.read_raw(path)
        magnitude = torch.stack([arrays.rss(raw.coil_images(i)) for i in range(raw.n_slices)])
        assert bank.phantom_note(volume(magnitude)) == "", path.stem
        bank.require_object(magnitude)
    notes = {}
    for folder in ("dicom_t1_axial", "nifti", "gre_head", "cases"):
        for series in archive.find([real / folder], salt=b"x").series:
            images = archive.read(series)
            bank.require_object(images.magnitude)
            notes[tuple(images.magnitude.shape), series.name] = bank.phantom_note(images)
    told = sorted(shape for (shape, _), note in notes.items() if note)
    # a phantom scanned four times, the same with another code, and one of the ACR
    assert told == [*5 * [(6, 64, 64)], (32, 64, 64)] and len(notes) > len(told)


@pytest.mark.parametrize("smooth", [False, True])
def test_noise_alone_is_refused_and_a_faint_head_is_not(smooth):
    noise = scanned(np.zeros((3, *SHAPE)), snr=1.0)
    if smooth:  # interpolated to twice its matrix
        noise = arrays.resample(noise, (2 * SHAPE[0], 2 * SHAPE[1])).abs()
    with pytest.raises(ValueError, match=r"nothing stands out in it: .* noise alone"):
        bank.require_object(noise)
    faint = scanned(vessels()["disc"] * 0.5, snr=3.0)
    bank.require_object(dataclasses.replace(volume(faint)).magnitude)
