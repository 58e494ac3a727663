"""Raw data that `synthlib synthesize` wrote, opened and reconstructed by stock clients.

Every client makes an image of the file at its defaults; it must be the magnitude that the file
was made of, in its place and not turned over. `make clients` runs this in an environment of its
own and prints the table of docs/clients.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openers
import pytest
import torch
from client_cases import MATRICES, TABLE

from synthlib.formats.fastmri_writer import FastmriWriter
from synthlib.formats.raw_header import RawHeader

ALIKE = 0.999  # a move by one pixel gives 0.9 or less
# name: format, program that must be there, and whether its own centre crop keeps index N // 2
CLIENTS: dict[str, tuple[str, str, bool]] = {
    "fastmri": ("fastmri", "", False),
    "monai": ("fastmri", "", True),
    "deepinv": ("fastmri", "", False),
    "sigpy": ("fastmri", "", True),
    "mrpro": ("mrd", "", False),
    "python-ismrmrd-server": ("mrd", "", False),
    "ismrmrd-tools": ("mrd", openers.ISMRMRD_TOOL, False),
    "bart": ("cfl", openers.BART, True),
}
OPEN: dict[str, Callable[[Path], np.ndarray]] = {
    "fastmri": openers.by_fastmri,
    "monai": openers.by_monai,
    "deepinv": openers.by_deepinv,
    "sigpy": openers.by_sigpy,
    "mrpro": openers.by_mrpro,
    "python-ismrmrd-server": openers.by_server_rules,
    "ismrmrd-tools": openers.by_ismrmrd_tool,
}


def correlation(image: np.ndarray, target: np.ndarray) -> float:
    return float(np.corrcoef(image.ravel(), target.ravel())[0, 1])


def moved(image: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    """By how many (rows, columns) the image lies beside the target, at most one each way."""
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return max(steps, key=lambda s: correlation(np.roll(image, (-s[0], -s[1]), (-2, -1)), target))


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("oversampling", [1, 2])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_stock_client_gets_the_magnitude_back(written, client, matrix, oversampling):
    layout, program, keeps_middle = CLIENTS[client]
    if program and not shutil.which(program):
        pytest.skip(f"{program} is not installed (Debian: apt install {client})")
    path, target, rows = written(layout, matrix, oversampling)
    image = openers.by_bart(path, matrix) if client == "bart" else OPEN[client](path)
    if len(image) == 1:  # the tool lays all slices over each other: the last one stays
        target = target[-1:]
    assert image.shape == target.shape
    step, whole = moved(image, target), correlation(image, target)
    # Between an even and a smaller odd grid a crop that keeps index N // 2 begins one row later
    # than fastMRI's and ISMRMRD's, on fastMRI's own files, too.
    beside = keeps_middle and rows % 2 == 0 and matrix[0] % 2 == 1
    assert step == ((-1, 0) if beside else (0, 0))
    back = image[:, :-1], target[:, 1:]
    alike = correlation(*back) if beside else whole
    TABLE[0:0] = [] if TABLE else [
        "| client | format | image | k-space | correlation | moved by (rows, columns) |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    TABLE.append(
        f"| {client} | {layout} | {matrix[0]} x {matrix[1]} | {rows} x {matrix[1]} | {whole:.4f} | "
        f"{step[0]}, {step[1]} |"
    )
    assert alike > ALIKE


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("oversampling", [1, 2])
def test_mrpros_default_combination_of_coils_gives_the_magnitude(written, oversampling):
    from mrpro.algorithms.reconstruction import DirectReconstruction
    from mrpro.data import KData
    from mrpro.data.traj_calculators import KTrajectoryCartesian

    path, target, _ = written("mrd", MATRICES[0], oversampling)
    kdata = KData.from_file(path, KTrajectoryCartesian())
    image = DirectReconstruction(kdata)(kdata).data.abs()[:, 0, 0].numpy().swapaxes(-1, -2)
    assert moved(image, target) == (0, 0)
    assert correlation(image, target) > 0.998  # maps by Walsh in place of the root sum of squares


@pytest.mark.usefixtures("torchvision")
def test_mrpro_whitens_with_the_noise_scan_and_knows_where_the_slices_lie(written):
    from mrpro.data import KData, KNoise
    from mrpro.data.traj_calculators import KTrajectoryCartesian
    from mrpro.operators import FourierOp

    (ny, nx), path = MATRICES[0], written("mrd", MATRICES[0], 2).path
    kdata = KData.from_file(path, KTrajectoryCartesian())
    position = kdata.header.acq_info.position
    # DICOM's first pixels lie at x = y = 0, slices 10 mm apart
    centre = [(nx - 1) / 2 * 198 / nx, (ny - 1) / 2 * 231 / ny]
    found = [1e3 * float(axis.flatten()[0]) for axis in (position.x, position.y)]
    assert found == pytest.approx(centre, abs=1e-3)
    assert [round(1e3 * z) for z in sorted(set(position.z.flatten().tolist()))] == [0, 10, 20]
    # MRpro takes every noise line for a covariance of its own: joined to one
    lines = KNoise.from_file(path).data  # (line, coil, 1, 1, sample)
    white = kdata.prewhiten(KNoise(lines.movedim(0, -2).reshape(1, 5, 1, 1, -1)))
    whole = FourierOp(kdata.header.encoding_matrix, kdata.header.encoding_matrix, kdata.traj)
    air = whole.adjoint(white.data)[0][..., :30].movedim(1, 0).flatten(1)  # above the head
    covariance = air @ air.mH / air.shape[1]
    level = covariance.diagonal().real.mean()
    torch.testing.assert_close(covariance / level, torch.eye(5) + 0j, atol=0.1, rtol=0)


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("client", ["fastmri", "monai", "deepinv", "sigpy"])
def test_labels_and_annotations_disturb_no_client_of_fastmris_layout(tmp_path, client):
    kspace = torch.randn(2, 3, 9, 8, dtype=torch.complex64, generator=torch.manual_seed(1))
    header = RawHeader(
        "AXT2", "p", (9, 8), labels={"tissue": torch.ones(2, 9, 8, dtype=torch.long)},
        annotations=[{"label": "lesion", "slice": 1}],
    )  # fmt: skip
    with FastmriWriter(tmp_path / "scan.h5", shape=(2, 3, 9, 8), header=header) as writer:
        for index in range(2):
            writer.put(index, kspace[index])
    assert OPEN[client](tmp_path / "scan.h5").shape == (2, 9, 8)
