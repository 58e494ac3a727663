"""Cells of an experiment: one reconstruction each, trained where it learns, tested, and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from synthlib import arrays, pairs, runs, tasks
from synthlib.formats import prepared_hdf5
from synthlib.recon import classical, samples, sense, testing, training, unrolled

ZERO_FILLED, CG_SENSE, L1_WAVELET = "zero_filled", "cg_sense", "l1_wavelet"
SPARSE = "sparse_start"  # what the unrolled networks start from, without training
UNTRAINED = "untrained_network"  # an unrolled network before its first step
CEILING = "ceiling"  # fully sampled, combined by the maps
CLASSICAL = (ZERO_FILLED, CG_SENSE, L1_WAVELET, SPARSE, UNTRAINED, CEILING)  # nothing is trained
WEIGHTS = {
    CG_SENSE: (1e-3, 2e-3, 4e-3, 7e-3, 1e-2, 1.4e-2, 2e-2, 4e-2),
    L1_WAVELET: (7e-4, 1e-3, 1.4e-3, 2e-3, 2.8e-3, 4e-3, 8e-3),
}
SMALLER_WEIGHTS = {  # for measured scans of higher SNR than the simulated ones
    CG_SENSE: (1e-4, 2e-4, 4e-4, 7e-4),
    L1_WAVELET: (2e-4, 3.5e-4, 5e-4),
}
N_VALIDATION_SLICES = 6  # that choose the weight of a classical method
PACKAGES = ("torch", "fastmri", "sigpy", "numpy", "scipy", "scikit-image", "PyWavelets")
ROOMS = (
    "runs", "tasks", "recon", "synthesis", "metrics", "arrays", "coils.combine", "pairs",
    "records", "formats.fastmri_hdf5",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Cell:
    """One reconstruction of one experiment.

    Attributes:
        experiment: a name for its rows and its folder.
        source: what the network learned from, or a name of CLASSICAL.
        n_coils, acceleration, seed: its place, with the source.
        training: of the network; None for a name of CLASSICAL.
        val, test: measured scans that it is watched and tested on.
        center_fraction: of the test masks.
        folder: results lie in a subfolder of it.
        phases: hash of the phases that it learns from.
        tags: further columns of its rows.
        show_progress: say how far the training is.
        key: a hash of all that its result rests on.
    """

    experiment: str
    source: str
    n_coils: int
    acceleration: int
    seed: int
    training: training.Training | None
    val: Sequence[pairs.PreparedVolume]
    test: Sequence[pairs.PreparedVolume]
    center_fraction: float
    folder: Path
    phases: str = ""
    tags: tuple[tuple[str, Any], ...] = ()
    show_progress: bool = False
    key: str = dataclasses.field(default="", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _key(self))

    @property
    def test_acceleration(self) -> int:
        """R of the test masks; 1, all columns, for the ceiling."""
        return 1 if self.source == CEILING else self.acceleration

    @property
    def path(self) -> Path:
        """The folder of its files."""
        place = f"{self.n_coils:02d}coil_R{self.acceleration}_{self.source}_seed{self.seed}"
        return self.folder / self.experiment / place / self.key


def _key(cell: Cell) -> str:
    learned: dict[str, Any] = {}
    volumes = [cell.val, cell.test]
    if cell.training is not None:
        learned = dataclasses.asdict(cell.training.settings)
        learned.pop("accelerator")
        learned["accelerations"] = cell.training.accelerations
        volumes += [part.volumes for part in cell.training.data]
        volumes += [part.measured for part in cell.training.data]  # their noise is learned with
        learned["sources"] = [part.source for part in cell.training.data]
    hashes = [[(v.name, v.fingerprint) for v in part] for part in volumes]  # order matters, too
    own = (cell.experiment, cell.source, cell.n_coils, cell.acceleration, cell.seed, cell.phases)
    code = runs.code_fingerprint(*ROOMS)
    versions = runs.package_versions(PACKAGES)
    return runs.fingerprint(own, cell.center_fraction, learned, hashes, code, versions)


def run_cell(cell: Cell) -> dict[str, Any]:
    """Train (from where an earlier run stopped), test, and keep the result.

    Returns:
        The result as kept in result.json: "rows", one per test scan, with its
        patient and metrics.ALL_NAMES; "history" of the training; "weight" of a
        classical method, and whether it lies at the end of what was tried; the record.
    """
    result_file = cell.path / "result.json"
    if result_file.is_file():
        return runs.read_json(result_file)
    history: list[dict[str, float]] = []
    chosen: dict[str, Any] = {}
    if cell.training is None:
        with tasks.threads_of_our_own():
            method, chosen = _classical(cell)
    else:
        trained = training.train(cell.training, cell.path, show_progress=cell.show_progress)
        method, history = testing.learned(trained.network, trained.device), trained.history
    with tasks.threads_of_our_own():
        rows = testing.score_all(method, cell.test, cell.test_acceleration, cell.center_fraction)
        _keep_example(cell, method)
    place = {name: getattr(cell, name) for name in ("experiment", "n_coils", "source")}
    place |= {"acceleration": cell.acceleration, "seed": cell.seed, **dict(cell.tags)}
    settings = dataclasses.asdict(cell.training.settings) if cell.training else {}
    parts = cell.training.data if cell.training else ()
    learned_from = [volume for part in parts for volume in part.volumes]
    record = runs.make_record(
        {"network": settings, **place}, pairs.input_hashes([*learned_from, *cell.val, *cell.test])
    )
    result = {
        **place,
        "rows": [{**place, **row} for row in rows],
        "history": history,
        **chosen,
        "record": record,
    }
    runs.write_json(result_file, result)
    return result


def _classical(cell: Cell) -> tuple[testing.Method, dict[str, Any]]:
    """A method that learns nothing but one weight, which validation slices choose."""
    if cell.source in UNWEIGHTED:
        return UNWEIGHTED[cell.source], {}
    if cell.source not in WEIGHTS:
        raise ValueError(
            f"{cell.source!r} is no classical method; expected one of {', '.join(CLASSICAL)}"
        )
    return _weighted(cell)


def zero_filled(sample: samples.Sample) -> torch.Tensor:
    """Root sum of squares (y, x) with zeros where nothing was measured."""
    return classical.zero_filled(sample.kspace)


def sparse_start(sample: samples.Sample) -> torch.Tensor:
    """Sparse SENSE with a threshold that follows the noise of the data."""
    return unrolled.start_of(sample.kspace, sample.mask.columns, sample.maps)[0].abs()


def _combined(sample: samples.Sample) -> torch.Tensor:
    return classical.sense_combined(sample.kspace, sample.maps)


def untrained_network(sample: samples.Sample) -> torch.Tensor:
    """The unrolled network before training: the sparse start, then data consistency once."""
    with runs.seeded(0, "untrained network"):
        network = unrolled.UnrolledSense(1, 2, 2)
    return testing.learned(network, torch.device("cpu"))(sample)


UNWEIGHTED = {
    ZERO_FILLED: zero_filled,
    SPARSE: sparse_start,
    UNTRAINED: untrained_network,
    CEILING: _combined,
}


def _weighted(cell: Cell) -> tuple[testing.Method, dict[str, Any]]:
    solve = SOLVERS[cell.source]
    validation = [
        sample
        for volume in cell.val
        for sample in samples.measured_volume(volume, cell.acceleration, cell.center_fraction)
    ]
    n_chosen = min(N_VALIDATION_SLICES, len(validation))
    spread = [validation[i * len(validation) // n_chosen] for i in range(n_chosen)]
    best = classical.best_weight(solve, spread, WEIGHTS[cell.source])
    chosen = {"weight": best.weight, "weight_at_end": best.at_end}
    return with_weight(cell.source, best.weight), chosen


def method_of(cell: Cell) -> testing.Method:
    """The reconstruction of a cell that has run: its network, or its weight, as it was kept."""
    if cell.training is not None:
        trained = training.train(cell.training, cell.path)
        return testing.learned(trained.network, trained.device)
    if cell.source in SOLVERS:
        return with_weight(cell.source, runs.read_json(cell.path / "result.json")["weight"])
    return _classical(cell)[0]


def with_weight(name: str, weight: float) -> testing.Method:
    """CG-SENSE or l1-wavelet with this weight."""
    return lambda sample: SOLVERS[name](sample, weight)


def _cg_sense(sample: samples.Sample, weight: float) -> torch.Tensor:
    return sense.cg_sense(sample.kspace, sample.mask.columns, sample.maps, weight).abs()


def _l1_wavelet(sample: samples.Sample, weight: float) -> torch.Tensor:
    image = classical.l1_wavelet(sample.kspace, sample.mask.columns, sample.maps, weight)
    return image.abs()


SOLVERS = {CG_SENSE: _cg_sense, L1_WAVELET: _l1_wavelet}


def _keep_example(cell: Cell, method: testing.Method) -> None:
    """The middle slice of the first test scan, for figures."""
    volume = cell.test[0]
    slices = samples.measured_volume(volume, cell.test_acceleration, cell.center_fraction)
    middle = len(slices) // 2
    shown = {"target": slices[middle].target, "image": method(slices[middle])}
    prepared_hdf5.write(
        cell.path / "example.h5",
        {
            name: arrays.crop_or_pad_image(image, slices[middle].crop)
            for name, image in shown.items()
        },
        {"volume": volume.name, "slice": middle},
    )


def run(
    cells: Sequence[Cell], *, label: str = "networks", workers: int = 1, scheduler: str = ""
) -> list[dict[str, Any]]:
    """Run every cell that has no result yet.

    Returns:
        The results of :func:`run_cell`, in the cells' order.
    """
    alone = workers <= 1 and not scheduler
    waiting = [
        dataclasses.replace(cell, show_progress=alone)
        for cell in cells
        if not (cell.path / "result.json").is_file()
    ]
    tasks.run_all(
        run_cell, waiting, label=f"{label} trained and tested", workers=workers, scheduler=scheduler
    )
    return [run_cell(cell) for cell in cells]  # read back


def rows_of(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows of some results: one per cell and test scan."""
    return [row for result in results for row in result["rows"]]
