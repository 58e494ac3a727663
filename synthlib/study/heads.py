"""Networks and classical methods on measured scans of any coil array and matrix.

Given maps make a network agnostic to both, so that networks trained on simulated
heads can be tested on measured ones, which alone show what simulation leaves out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthlib import datasets, metrics, pairs, runs, scanner, tasks
from synthlib.recon import grid, masks, networks, samples, testing
from synthlib.study.experiments import Study

HINDSIGHT = "_hindsight"  # a classical method with the weight of best PSNR of each very scan
UNWEIGHTED = grid.UNWEIGHTED  # floor, the networks' start, ceiling
CLASSICAL_ROWS = (grid.CG_SENSE, grid.L1_WAVELET)
N_TEST_SLICES = 4  # of a scan, evenly spread: whole volumes would take hours of l1-wavelet
TRAINING_ROWS = 64  # of a training step: large matrices then cost no more than small ones
STRONGEST = grid.L1_WAVELET + HINDSIGHT
ROOMS = ("study.heads", *grid.ROOMS)


def simulated_studies(
    study: Study,
    sets: Sequence[Sequence[float]],
    settings: networks.NetworkSettings,
    simulate: scanner.ScanSettings,
    *,
    out_dir: str | Path,
) -> list[Study]:
    """A study and further simulated scans, so that networks see more than one kind of scan.

    Args:
        study: whose training scans come first, with their generator.
        sets: (n_coils, ny, nx, SNR) of each further set.
        settings: of the networks.
        simulate: number of subjects, slices and all else of the further sets.
        out_dir: prepared files go to subfolders of it.

    Raises:
        ValueError: two sets of one coil count.
    """
    counts = [study.n_coils, *(int(n_coils) for n_coils, *_ in sets)]
    if len(set(counts)) < len(counts):
        raise ValueError(
            f"the study and the further sets have {', '.join(map(str, counts))} coils; expected "
            "different numbers: simulated people are named by theirs, so that two sets of one "
            "number are the same heads under the same file names. Change a set's coil count."
        )
    studies = [dataclasses.replace(study, settings=settings)]
    for n_coils, ny, nx, snr in sets:
        wanted = dataclasses.replace(
            simulate, coil_counts=(int(n_coils),), matrix=(int(ny), int(nx)), snr=float(snr)
        )
        raw = datasets.simulated_volumes(wanted, workers=study.workers)
        folder = Path(out_dir) / "prepared" / f"{int(n_coils)}coil_{int(ny)}x{int(nx)}_snr{snr:g}"
        scans = pairs.prepare(raw, folder, workers=study.workers, scheduler=study.scheduler)
        parts = {**study.parts, "train": scans}
        studies.append(dataclasses.replace(studies[0], parts=parts))
    return studies


@dataclasses.dataclass(frozen=True)
class HeadTest:
    """Measured scans, and how they are undersampled.

    Attributes:
        scans: from measured_scans.open_scans.
        acceleration, center_fraction: of the masks.
        mask_seeds: of their offsets, one mask each.
    """

    scans: Sequence[pairs.PreparedVolume]
    acceleration: int
    center_fraction: float
    mask_seeds: tuple[int, ...]

    @property
    def key(self) -> str:
        """Changes with the scans, the masks, the code and the packages that reconstruct."""
        return runs.fingerprint(
            sorted((scan.name, scan.fingerprint) for scan in self.scans),
            (self.acceleration, self.center_fraction, self.mask_seeds),
            runs.code_fingerprint(*ROOMS),
            runs.package_versions(grid.PACKAGES),
        )

    def samples(self, scan: pairs.PreparedVolume, mask_seed: int) -> list[samples.Sample]:
        """Up to N_TEST_SLICES undersampled slices of a scan."""
        return samples.measured_volume(
            scan, self.acceleration, self.center_fraction, mask_seed=mask_seed,
            indices=self.indices(scan),
        )  # fmt: skip

    def seeds_of(self, scan: pairs.PreparedVolume) -> list[int]:
        """The first of mask_seeds for each mask that they draw: equal masks count once."""
        drawn: dict[tuple[bool, ...], int] = {}
        for mask_seed in self.mask_seeds:
            mask = masks.equispaced(
                scan.raw.image_shape[1],
                self.acceleration,
                center_fraction=self.center_fraction,
                seed=mask_seed,
                acquired=scan.raw.acquired,
            )
            drawn.setdefault(tuple(mask.columns.tolist()), mask_seed)
        return list(drawn.values())

    @staticmethod
    def indices(scan: pairs.PreparedVolume) -> list[int]:
        """Of the slices that are looked at."""
        n = min(scan.n_slices, N_TEST_SLICES)
        return [round((i + 0.5) * scan.n_slices / n - 0.5) for i in range(n)]

    def score(
        self, method: testing.Method, scan: pairs.PreparedVolume, mask_seed: int
    ) -> dict[str, float]:
        """metrics.ALL_NAMES of a method on one scan under one mask."""
        slices = self.samples(scan, mask_seed)
        head = metrics.volume_head([scan.pair(i) for i in self.indices(scan)], slices[0].crop)
        return metrics.image_quality(
            testing.targets_of(slices), testing.images_of(method, slices), head
        )


def network_rows(test: HeadTest, cells: Sequence[grid.Cell]) -> list[dict[str, Any]]:
    """Rows of networks that were trained: scan, patient, source, seed, mask and the metrics.

    Rows are kept beside the networks.
    """
    waiting = [cell for cell in cells if not _kept(cell, test).is_file()]
    with tasks.Progress("networks tested on measured scans", len(waiting), leave=False) as progress:
        for cell in waiting:
            method = grid.method_of(cell)
            with tasks.threads_of_our_own():
                rows = [
                    {"scan": scan.name, "patient": scan.raw.patient_id, "source": cell.source,
                     "seed": cell.seed, "mask": mask_seed, **test.score(method, scan, mask_seed)}
                    for scan in test.scans
                    for mask_seed in test.seeds_of(scan)
                ]  # fmt: skip
            runs.write_json(_kept(cell, test), rows)
            progress.step()
    return [row for cell in cells for row in runs.read_json(_kept(cell, test))]


def _kept(cell: grid.Cell, test: HeadTest) -> Path:
    return cell.path / f"measured_scans_{test.key}.json"


def chosen_weights(
    results: Sequence[Mapping[str, Any]], n_coils: int, acceleration: int
) -> dict[str, float]:
    """Classical method to the weight that validation scans chose, from grid.run's results."""
    return {
        result["source"]: result["weight"]
        for result in results
        if (result["n_coils"], result["acceleration"]) == (n_coils, acceleration)
        and "weight" in result
    }


def all_rows(
    test: HeadTest, cells: Sequence[grid.Cell], weights: Mapping[str, float], folder: Path
) -> list[dict[str, Any]]:
    """Classical methods and networks on all scans; nothing where there are no scans.

    Raises:
        ValueError: no weight was chosen for a method of CLASSICAL_ROWS.
    """
    if not test.scans:
        return []
    missing = [name for name in CLASSICAL_ROWS if name not in weights]
    if missing:
        raise ValueError(
            f"no weights of {', '.join(missing)} at R = {test.acceleration}; expected those that "
            "validation scans chose there. Measured scans are tested at worth_acceleration: let "
            "it be one of the accelerations of the grid."
        )
    return [*classical_rows(test, weights, folder), *network_rows(test, cells)]


def classical_rows(
    test: HeadTest, weights: Mapping[str, float], folder: Path
) -> list[dict[str, Any]]:
    """The same rows of classical methods, with two weights each.

    Args:
        test: see HeadTest.
        weights: name of a method to the weight that the simulated validation scans
            chose. Beside it stands, for each scan and mask, the weight of the highest
            PSNR in hindsight, which nobody could know: the highest PSNR of the tried
            weights, but not the best SSIM or PSNR in the head.
        folder: where rows are kept.
    """
    path = folder / f"classical_{runs.fingerprint(test.key, sorted(weights.items()))}.json"
    if path.is_file():
        return runs.read_json(path)
    rows: list[dict[str, Any]] = []
    with tasks.Progress(
        "classical methods on measured scans",
        sum(len(test.seeds_of(s)) for s in test.scans),
        leave=False,
    ) as progress:
        for scan in test.scans:
            for mask_seed in test.seeds_of(scan):
                place: dict[str, Any] = {"scan": scan.name, "patient": scan.raw.patient_id}
                place |= {"seed": 0, "mask": mask_seed}
                for name, method in UNWEIGHTED.items():
                    sampled = (
                        dataclasses.replace(test, acceleration=1) if name == grid.CEILING else test
                    )
                    rows.append({**place, "source": name, **sampled.score(method, scan, mask_seed)})
                for name, chosen in weights.items():
                    rows += [
                        {**place, **row} for row in _weighted(test, scan, mask_seed, name, chosen)
                    ]
                progress.step()
    runs.write_json(path, rows)
    return rows


def _weighted(
    test: HeadTest, scan: pairs.PreparedVolume, mask_seed: int, name: str, chosen: float
) -> list[dict[str, Any]]:
    """The chosen weight, and the one of best PSNR in a grid around and below it."""
    with tasks.threads_of_our_own():
        scores = {
            weight: test.score(grid.with_weight(name, weight), scan, mask_seed)
            for weight in sorted({chosen, *grid.WEIGHTS[name], *grid.SMALLER_WEIGHTS[name]})
        }
    best = max(scores, key=lambda weight: scores[weight]["PSNR"])
    at_end = best in (min(scores), max(scores))
    return [
        {"source": name, "weight": chosen, **scores[chosen]},
        {"source": name + HINDSIGHT, "weight": best, "weight_at_end": at_end, **scores[best]},
    ]
