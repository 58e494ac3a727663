"""What several tests stand on: measured files, the notebooks' tiny study, one odd-sized slice."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from synthlib import pairs, runs, scanner
from synthlib.phase import generator, pix2pix, sources

# Small arrays: two threads wait for each other most of the time. And the last bits of sums depend
# on the number of threads.
torch.set_num_threads(1)
# A shell's background jobs ignore Ctrl-C, and so would what the tests start: a handler is not
# inherited, the default is.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Secrets and lists of files are kept for users, not for tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of measured data beside the project; it is never copied into the project."""
    folder = runs.project_root().parent / "shared" / "real"
    if not folder.is_dir():
        reason = f"measured data are needed in {folder}, and there are none"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[pairs.PreparedVolume]]:
    """The tiny study of the notebooks' defaults; its raw files are kept under data/."""
    return pairs.open_study(
        "simulated",
        n_coils=8,
        out_dir=tmp_path_factory.mktemp("study"),
        gan_fraction=0.375,
        seed=2023,
        simulate=scanner.ScanSettings(n_subjects=6, n_slices=2, matrix=(48, 40)),
    )


@pytest.fixture(scope="session")
def context(study: dict[str, list[pairs.PreparedVolume]]) -> sources.Context:
    """All that sources draw on, with an untrained generator that has dropout."""
    with runs.seeded(0, "weights"):
        architecture = generator.Architecture("scalar", ngf=4, depth=6)
        network = architecture.build()
        pix2pix.initialise(network)
    without = sources.open_context(None, study["gan"])
    return dataclasses.replace(without, generator=generator.PhaseGenerator(network, architecture))


@pytest.fixture(scope="session")
def odd_scan() -> scanner.Scan:
    """One slice of 45x38 (swapped axes and wrong centres must fail) of 4 coils, with its truth."""
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(4,), contrasts=("AXT2",), n_slices=1, matrix=(45, 38)
    )
    return scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]


@pytest.fixture
def one_slice(odd_scan: scanner.Scan) -> tuple[Tensor, Tensor, Tensor]:
    """True magnitude (45, 38), phase (45, 38) in (-pi, pi] and coil maps (4, 45, 38).

    The maps are the scanner's own: not of unit root sum of squares.
    """
    truth = odd_scan.truth
    return truth["magnitude"][0].clone(), truth["phase"][0].clone(), truth["maps"][0].clone()


@pytest.fixture
def draw() -> torch.Generator:
    """Seeded numbers of the test's own."""
    return torch.Generator().manual_seed(7)
