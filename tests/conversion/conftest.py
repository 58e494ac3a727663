"""An archive of small simulated heads, and what stands on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from synthlib import arrays, conversion, runs, scanner
from synthlib.formats import dicom
from synthlib.records import ImageVolume

SALT = b"0123456789abcdef"


@pytest.fixture(scope="session")
def head() -> ImageVolume:
    """Three slices of 77x66 pixels."""
    settings = scanner.ScanSettings(
        n_subjects=1,
        coil_counts=(6,),
        contrasts=("AXT2",),
        positions_mm=(-10.0, 0.0, 10.0),
        matrix=(77, 66),
        fov_mm=(231.0, 198.0),
        oversampling=1,
        snr=25.0,
    )
    volume = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0].volume
    magnitude = torch.stack([arrays.rss(volume.coil_images(index)) for index in range(3)])
    return ImageVolume(
        name="head",
        patient_id="p",
        contrast="AXT2",
        magnitude=magnitude,
        spacing_mm=(3.0, 3.0),
        thickness_mm=5.0,
        step_mm=10.0,
        orientation="axial",
        field_t=3.0,
        facts={"te_ms": 100.0, "tr_ms": 5500.0},
    )


@pytest.fixture
def place(tmp_path: Path, head: ImageVolume) -> Path:
    """Two patients' series, and a salt beside them."""
    for name in ("one", "two"):
        noise = torch.randn(head.magnitude.shape, generator=runs.rng(1, name))
        shaken = (head.magnitude + 0.002 * head.magnitude.max() * noise).abs()
        volume = ImageVolume(**{**vars(head), "name": name, "magnitude": shaken})
        texts = {"PatientID": name, "PatientName": f"Name^{name}"}
        dicom.write_series(tmp_path / "archive" / name, volume, texts)
    (tmp_path / "salt").write_bytes(SALT)
    return tmp_path


@pytest.fixture
def make(place: Path):
    """Run a conversion of the archive with some settings."""

    def run(out: str = "out", inputs=None, n_coils: int = 5, generator: str = "sinusoidal", **how):
        names = ("force", "workers", "annotations", "spacing_mm", "show_names", "scheduler")
        calling = {name: how.pop(name) for name in names if name in how}
        settings = conversion.Settings(generator=generator, n_coils=n_coils, **how)
        return conversion.synthesize(
            inputs or [place / "archive"], place / out, settings,
            salt_file=place / "salt", **calling,
        )  # fmt: skip

    return run
