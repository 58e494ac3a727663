"""Files that `synthlib synthesize` writes for the clients, and the table of what they made."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
import torch
from client_cases import MATRICES, TABLE

from synthlib import arrays, cli, scanner
from synthlib.formats import dicom
from synthlib.records import ImageVolume

FORMATS = {"fastmri": "multicoil/*.h5", "mrd": "mrd/*.h5", "cfl": "cfl/*.json"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in ("mrpro", "monai", "deepinv") if find_spec(name) is None]
    if missing:
        reason = f"{', '.join(missing)} not installed: `make clients` makes their environment"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of docs/clients.md, as it came out this time."""
    if TABLE:
        terminalreporter.write_line("")
        for line in TABLE:
            terminalreporter.write_line(line)


class Written(NamedTuple):
    """One file, and what a stock client should see in it."""

    path: Path
    target: np.ndarray  # (slice, y, x) of the magnitude, as fastMRI's layout stores it
    rows: int  # of k-space


@pytest.fixture(scope="session")
def torchvision() -> None:
    """PyPI's torchvision does not find its operators beside a torch without CUDA.

    No client uses them here, but their names must be there before it can be imported.
    """
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou) -> Tensor"
            )
        import_module("torchvision")


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Path]:
    """A DICOM series of three slices of a simulated head for each matrix."""
    return {
        matrix: _series(tmp_path_factory.mktemp("archive") / "series", matrix)
        for matrix in MATRICES
    }


def _series(folder: Path, matrix: tuple[int, int]) -> Path:
    settings = scanner.ScanSettings(
        n_subjects=1,
        coil_counts=(6,),
        contrasts=("AXT2",),
        positions_mm=(-10.0, 0.0, 10.0),
        matrix=matrix,
        fov_mm=(231.0, 198.0),
        oversampling=1,
        snr=25.0,
    )
    scan = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0].volume
    magnitude = torch.stack([arrays.rss(scan.coil_images(index)) for index in range(3)])
    volume = ImageVolume(
        name="head",
        patient_id="p",
        contrast="AXT2",
        magnitude=magnitude,
        spacing_mm=(231.0 / matrix[0], 198.0 / matrix[1]),
        thickness_mm=5.0,
        step_mm=10.0,
        orientation="axial",
        field_t=3.0,
        facts={"te_ms": 100.0, "tr_ms": 5500.0},
    )
    dicom.write_series(folder, volume, {"PatientID": "one", "Manufacturer": "SIEMENS"})
    return folder


@pytest.fixture(scope="session")
def written(series, tmp_path_factory):
    """The file of a format, a matrix and an oversampling; each is made once."""
    place, kept = tmp_path_factory.mktemp("written"), {}
    (place / "salt").write_bytes(b"0123456789abcdef")

    def make(name: str, matrix: tuple[int, int], oversampling: int) -> Path:
        key = name, matrix, oversampling
        if key not in kept:
            out = place / f"{name}-{matrix[0]}-{oversampling}"
            command = [
                "synthesize", str(series[matrix]), "--out", str(out), "--coils", "5",
                "--generator", "sinusoidal", "--format", name,
                "--oversampling", str(oversampling), "--salt-file", str(place / "salt"),
            ]  # fmt: skip
            assert cli.main(command) in (0, None)
            (kept[key],) = out.glob(FORMATS[name])
        return kept[key]

    def get(name: str, matrix: tuple[int, int], oversampling: int) -> Written:
        with h5py.File(make("fastmri", matrix, oversampling)) as file:
            target, rows = file["reconstruction_rss"][()], file["kspace"].shape[2]
        return Written(make(name, matrix, oversampling), target, rows)

    return get


@pytest.fixture(scope="session", autouse=True)
def quiet_threads() -> None:
    torch.set_num_threads(1)
