"""The grid of the paper's Figure 5: sources of phase x accelerations x coil counts x seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from synthlib import pairs, runs, tasks
from synthlib.formats import prepared_hdf5
from synthlib.phase import generator, polynomial, sources
from synthlib.recon import masks, phases, samples, varnet


@dataclasses.dataclass(frozen=True)
class Grid:
    """What to compare.

    Attributes:
        sources: GROUND_TRUTH and names of phase sources.
        accelerations: R of the masks.
        seeds: each trains every network once more, to show the spread.
    """

    sources: Sequence[str]
    accelerations: Sequence[int]
    seeds: Sequence[int]

    def require_possible(self, center_fraction: float) -> None:
        """Raise ValueError for an unknown source or an impossible mask, before hours of work."""
        sources.require_known([name for name in self.sources if name != samples.GROUND_TRUTH])
        for acceleration in self.accelerations:
            masks.require_possible(acceleration, center_fraction)


def cells(
    grid: Grid,
    parts: dict[str, list[pairs.PreparedVolume]],
    settings: varnet.VarNetSettings,
    folder: Path,
    *,
    weights: Path | None,
    seed: int,
) -> list[varnet.Cell]:
    """Write the phases for one coil count, and list the networks to train.

    Args:
        grid: what to compare.
        parts: from pairs.split_by_patient, one coil count.
        settings: of every network.
        folder: where phases and cells go.
        weights: the generator's safetensors; needed for "gan".
        seed: of the phases.

    Raises:
        ValueError: an unknown source, an impossible mask, or a missing generator.
    """
    grid.require_possible(settings.center_fraction)
    n_coils = parts["test"][0].raw.n_coils
    donors = parts["gan"]
    context = sources.Context(
        generator=generator.load(weights) if weights and "gan" in grid.sources else None,
        donors=donors,
        polynomial=polynomial.fit_statistics([v.pair(i) for v, i in pairs.slices_of(donors)])
        if "polynomial" in grid.sources
        else None,
    )
    depends_on = [v.source_sha256 for v in donors] + ([runs.sha256(weights)] if weights else [])
    found = []
    for name in [varnet.ZERO_FILLED, *grid.sources]:
        data = samples.TrainingData(
            name, parts["train"], folder / "phases" / f"{n_coils}coil" / name
        )
        hashes = ""
        if name in sources.REGISTRY:
            at = phases.write_phases(
                name,
                parts["train"],
                context,
                data.phases.parent,
                seed=seed,
                depends_on=depends_on,
            )
            hashes = phases.fingerprint(at, parts["train"])
        for acceleration in grid.accelerations:
            seeds = grid.seeds[:1] if name == varnet.ZERO_FILLED else grid.seeds
            found += [
                varnet.Cell(
                    n_coils=n_coils,
                    acceleration=acceleration,
                    seed=network_seed,
                    data=data,
                    val=parts["val"],
                    test=parts["test"],
                    settings=settings,
                    folder=folder / "networks",
                    depends_on=hashes,
                )
                for network_seed in seeds
            ]
    return found


def run(
    cells_to_run: Sequence[varnet.Cell], *, workers: int = 1, scheduler: str = ""
) -> list[dict[str, Any]]:
    """Train and test every cell that has no result yet; rows of results, one per test volume.

    Returns:
        Dicts with n_coils, source, acceleration, seed, volume, PSNR, NMSE, SSIM.
    """
    alone = workers <= 1 and not scheduler
    todo = [
        dataclasses.replace(cell, show_progress=alone)
        for cell in cells_to_run
        if not (cell.path / "result.json").is_file()
    ]
    tasks.run_all(
        varnet.run_cell, todo, label="networks trained and tested", workers=workers,
        scheduler=scheduler,
    )  # fmt: skip
    rows = []
    for cell in cells_to_run:
        result = varnet.run_cell(cell)  # read back
        shared = {name: result[name] for name in ("n_coils", "source", "acceleration", "seed")}
        rows += [{**shared, **row} for row in result["rows"]]
    return rows


def example(cell: varnet.Cell) -> dict[str, Tensor]:
    """Images (y, x) of one test slice: "target", "zero_filled" and the network's "image"."""
    names = ("target", "zero_filled", "image")
    return {name: prepared_hdf5.read(cell.path / "example.h5", name) for name in names}


def label(name: str) -> str:
    """A source's name for figures and tables."""
    fixed = {samples.GROUND_TRUTH: "Ground truth", varnet.ZERO_FILLED: "Zero-filled"}
    return fixed.get(name) or sources.label(name)


def achieved_accelerations(
    cells_to_run: Sequence[varnet.Cell],
) -> dict[tuple[int, int], float]:
    """(coil count, nominal R) to the R that the test masks really reach."""
    found = {}
    for cell in cells_to_run:
        columns = cell.test[0].raw.image_shape[1]
        found[cell.n_coils, cell.acceleration] = masks.mean_acceleration(
            columns,
            cell.acceleration,
            [volume.name for volume in cell.test],
            center_fraction=cell.settings.center_fraction,
        )
    return found
