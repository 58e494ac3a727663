"""A simulated head with its truth, of odd sizes."""

from __future__ import annotations

import pytest

from synthlib import scanner


@pytest.fixture(scope="session")
def head_scan() -> scanner.Scan:
    """Three axial slices 15 mm apart, 77x66, 8 coils."""
    settings = scanner.ScanSettings(
        n_subjects=1,
        coil_counts=(8,),
        contrasts=("AXT2",),
        positions_mm=(-15.0, 0.0, 15.0),
        matrix=(77, 66),
        fov_mm=(231.0, 198.0),
        oversampling=1,
        snr=50.0,
    )
    return scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]
