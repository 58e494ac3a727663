"""The grid of the paper's Figure 5: sources of phase x accelerations x coil counts x seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from synthlib import metrics, pairs, runs, tables, tasks
from synthlib.formats import prepared_hdf5
from synthlib.phase import sources
from synthlib.recon import masks, phases, samples, varnet

# rows of a table that do not compete for the best synthetic phase
NEEDS_MEASURED_PHASE = (varnet.ZERO_FILLED, samples.GROUND_TRUTH, sources.MEASURED)


@dataclasses.dataclass(frozen=True)
class Grid:
    """What to compare.

    Attributes:
        sources: GROUND_TRUTH and names of phase sources.
        accelerations: R of the masks.
        seeds: each trains every network once more.
        repeat_sources, repeat_seeds: these sources are trained with these seeds,
            too, at the first acceleration, to show the spread between seeds
            where training everything twice would take too long.
    """

    sources: Sequence[str]
    accelerations: Sequence[int]
    seeds: Sequence[int]
    repeat_sources: Sequence[str] = ()
    repeat_seeds: Sequence[int] = ()

    def seeds_of(self, source: str, acceleration: int) -> list[int]:
        """Seeds of the networks of one source at one R."""
        if source == varnet.ZERO_FILLED:  # nothing is trained
            return list(self.seeds[:1])
        again = source in self.repeat_sources and acceleration == self.accelerations[0]
        return list(dict.fromkeys([*self.seeds, *(self.repeat_seeds if again else ())]))

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
    generator = weights if "gan" in grid.sources else None
    context = sources.open_context(generator, donors, settings.accelerator)
    depends_on = [v.fingerprint for v in donors] + ([runs.sha256(weights)] if weights else [])
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
            found += [
                varnet.with_key(
                    varnet.Cell(
                        n_coils=n_coils,
                        acceleration=acceleration,
                        seed=network_seed,
                        data=data,
                        val=parts["val"],
                        test=parts["test"],
                        settings=settings,
                        folder=folder / "networks",
                    ),
                    hashes,
                )
                for network_seed in grid.seeds_of(name, acceleration)
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


def label(name: str) -> str:
    """A source's name for figures and tables."""
    fixed = {samples.GROUND_TRUTH: "Ground truth", varnet.ZERO_FILLED: "Zero-filled"}
    return fixed.get(name) or sources.label(name)


def examples(
    run_cells: Sequence[varnet.Cell], n_coils: int, names: Sequence[str]
) -> dict[int, dict[str, dict[str, Tensor]]]:
    """One test slice by the networks of some sources, first seed.

    Args:
        run_cells: cells that have run.
        n_coils: which coil count.
        names: sources to show; where none of them was trained, the first two that were.

    Returns:
        R to label to {"target", "zero_filled", "image"} of (y, x).
    """
    trained = list(dict.fromkeys(cell.data.source for cell in run_cells))
    trained = [name for name in trained if name != varnet.ZERO_FILLED]
    names = [name for name in names if name in trained] or trained[:2]
    found: dict[int, dict[str, dict[str, Tensor]]] = {}
    for cell in run_cells:
        by_label = found.setdefault(cell.acceleration, {}) if cell.n_coils == n_coils else {}
        name = label(cell.data.source)
        if cell.n_coils == n_coils and cell.data.source in names and name not in by_label:
            by_label[name] = {
                kind: prepared_hdf5.read(cell.path / "example.h5", kind)
                for kind in ("target", "zero_filled", "image")
            }
    return {acceleration: by_label for acceleration, by_label in found.items() if by_label}


def mask_table(run_cells: Sequence[varnet.Cell]) -> list[dict[str, object]]:
    """Rows: the R that the test volumes' masks really reach."""
    found: dict[tuple[int, int], varnet.Cell] = {}
    for cell in run_cells:
        found.setdefault((cell.n_coils, cell.acceleration), cell)
    rows: list[dict[str, object]] = []
    for (n_coils, acceleration), cell in found.items():
        columns = cell.test[0].raw.image_shape[1]
        names = [volume.name for volume in cell.test]
        fraction = cell.settings.center_fraction
        reached = masks.mean_acceleration(columns, acceleration, names, center_fraction=fraction)
        rows.append(
            {
                "coils": n_coils,
                "columns": columns,
                "nominal R": acceleration,
                "achieved R": f"{reached:.2f}",
                "centre lines": round(columns * fraction),
            }
        )
    return rows


@dataclasses.dataclass(frozen=True)
class NamedTable:
    """A table as tables.render gives it, with the name of its file."""

    name: str
    text: dict[str, str]


def in_second_set(n_coils: int, coil_counts: Sequence[int]) -> bool:
    """Whether a coil count takes the place of the paper's 20-coil set, not of its 16-coil set.

    The larger of two counts does; of a single one, only 20 does.
    """
    return n_coils == 20 or (len(coil_counts) > 1 and n_coils == max(coil_counts))


def figure_name(n_coils: int, coil_counts: Sequence[int]) -> str:
    """Name for the reconstructions: the paper's Figure 3 is its 20-coil set, 4 its 16-coil set."""
    number = 3 if in_second_set(n_coils, coil_counts) else 4
    return f"fig_{number}_reconstructions_{n_coils}coil"


def paper_tables(
    rows: Sequence[dict[str, Any]], labels: dict[str, str], coil_counts: Sequence[int]
) -> list[NamedTable]:
    """Tables S1 to S6: odd numbers for the 16-coil set, even ones for the 20-coil set."""
    synthetic = [name for name in labels if name not in NEEDS_MEASURED_PHASE]
    found = []
    for row, metric in enumerate(metrics.NAMES):
        for n_coils in sorted(coil_counts):
            number = 2 * row + (2 if in_second_set(n_coils, coil_counts) else 1)
            text = tables.benchmark(rows, labels, metric, n_coils, synthetic)
            found.append(NamedTable(f"tab_S{number}_{metric}_{n_coils}coil", text))
    return found


def comparison_table(
    rows: Sequence[dict[str, Any]], first: str, labels: dict[str, str]
) -> list[dict[str, str]]:
    """Rows: PSNR of one source less that of every other, paired by coils, R, seed and volume."""
    values: dict[str, dict[tuple[Any, ...], float]] = {}
    for row in rows:
        at = (row["n_coils"], row["acceleration"], row["seed"], row["volume"])
        values.setdefault(row["source"], {})[at] = row["PSNR"]
    found = []
    for name in labels:
        places = sorted(values.get(first, {}).keys() & values.get(name, {}).keys())
        if name == first or len(places) < 2:
            continue
        result = metrics.compare_paired(
            [values[first][at] for at in places], [values[name][at] for at in places]
        )
        found.append(
            {
                f"{labels[first]} less": labels[name],
                "mean (dB)": f"{result.mean:+.2f}",
                "95 % interval": f"{result.low:+.2f} to {result.high:+.2f}",
                "Wilcoxon p": f"{result.p_value:.3f}" if result.p_value >= 0.001 else "< 0.001",
                "pairs": str(result.n),
            }
        )
    return found


def seed_spread(rows: Sequence[dict[str, Any]], metric: str) -> list[dict[str, str]]:
    """Rows: the spread between seeds (where there are several) beside that between sources.

    Both are ranges (largest less smallest) of means over the test volumes; the
    sources are those that are trained, by their first seed.
    """
    places = sorted({(row["n_coils"], row["acceleration"]) for row in rows})
    names = dict.fromkeys(row["source"] for row in rows if row["source"] != varnet.ZERO_FILLED)
    found = []
    for n_coils, acceleration in places:
        means = {
            name: metrics.seed_means(rows, n_coils, name, acceleration, metric) for name in names
        }
        spreads = [max(values) - min(values) for values in means.values() if len(values) > 1]
        firsts = [values[0] for values in means.values() if values]
        found.append(
            {
                "coils": str(n_coils),
                "R": str(acceleration),
                f"between seeds ({metric})": f"{max(spreads):.2f}" if spreads else "-",
                f"between sources ({metric})": f"{max(firsts) - min(firsts):.2f}",
            }
        )
    return found


def share_better(rows: Sequence[dict[str, Any]], first: str, second: str, metric: str) -> float:
    """Share of (coils, R, volume) where one source's mean over seeds beats the other's."""
    means: dict[str, dict[tuple[Any, ...], list[float]]] = {first: {}, second: {}}
    for row in rows:
        if row["source"] in means:
            at = (row["n_coils"], row["acceleration"], row["volume"])
            means[row["source"]].setdefault(at, []).append(row[metric])
    sign = 1 if metrics.HIGHER_IS_BETTER[metric] else -1
    places = means[first].keys() & means[second].keys()
    wins = [
        sign * (sum(means[first][at]) / len(means[first][at]))
        > sign * (sum(means[second][at]) / len(means[second][at]))
        for at in places
    ]
    return sum(wins) / len(wins) if wins else float("nan")
