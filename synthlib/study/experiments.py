"""The experiments of notebook 05 as lists of cells: which networks are trained on what.

grid: every source of phase at every R. worth: measured patients with and without
synthetic scans. heads: networks for any coil array, tested on scans of any kind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from synthlib import pairs, runs
from synthlib.phase import sources
from synthlib.recon import grid, masks, networks, phases, samples, training
from synthlib.study import product

PRODUCT, OWN_COILS = "product", "product_own_coils"
PRODUCTS = {PRODUCT: product.DONOR, OWN_COILS: product.OWN}
# Suffix of a source: every training sample at a random global phase. A control, for fixed phases
# lack the arbitrary reference of a receiver; neither maps nor generator supply it.
GLOBAL_PHASE = "_global_phase"
OTHER_SCANS = "other_scans_global_phase"  # the measured scans of other patients than the test's
LABELS = {
    OTHER_SCANS: "Other measured scans",
    samples.GROUND_TRUTH: "Ground truth",
    PRODUCT: "Product (GAN, others' coils, noise)",
    OWN_COILS: "GAN, own coils, noise",
    grid.ZERO_FILLED: "Zero-filled",
    grid.CG_SENSE: "CG-SENSE",
    grid.L1_WAVELET: "l1-wavelet",
    grid.SPARSE: "l1-Haar, the networks' start",
    grid.UNTRAINED: "Untrained network",
    grid.CEILING: "Fully sampled SENSE",
}
GRID, WORTH, HEADS = "grid", "worth", "heads"


def label(name: str) -> str:
    """A source's or a classical method's name for figures and tables."""
    if name.endswith(GLOBAL_PHASE) and name not in LABELS:
        return f"{label(name.removesuffix(GLOBAL_PHASE))}, random global phase"
    return LABELS.get(name) or sources.label(name)


def require_possible(
    names: Sequence[str], accelerations: Sequence[int], center_fraction: float
) -> None:
    """Raise ValueError for an unknown source or an impossible mask, before hours of work."""
    made_here = (samples.GROUND_TRUTH, *PRODUCTS)
    for name in names:
        if name.removesuffix(GLOBAL_PHASE) not in (*made_here, *sources.REGISTRY):
            raise ValueError(
                f"source {name!r} is unknown; expected one of "
                f"{', '.join((*made_here, *sources.REGISTRY))}, or one of them with "
                f"{GLOBAL_PHASE!r} behind it. Correct the name."
            )
    for acceleration in accelerations:
        masks.require_possible(acceleration, center_fraction)


def require_seeds(**seeds_of: Sequence[int]) -> None:
    """Raise ValueError for a list of seeds that is empty or names one twice.

    Args:
        seeds_of: name of a parameter to its seeds.
    """
    for name, seeds in seeds_of.items():
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(
                f"{name} is {list(seeds)}; expected one or more seeds, all different, such as "
                f"[1, 2, 3]: one drawn twice would count twice. Correct {name}."
            )


def require_on_grid(acceleration: int, accelerations: Sequence[int], n_coils: int) -> None:
    """Raise ValueError if further experiments want an R at which nothing classical is run."""
    if acceleration not in accelerations:
        raise ValueError(
            f"worth_acceleration is {acceleration}, the grid of {n_coils} coils has R = "
            f"{', '.join(map(str, accelerations))}; expected one of these, for the weights of "
            "classical methods come from there. Change worth_acceleration or accelerations."
        )


@dataclasses.dataclass(frozen=True)
class Study:
    """Prepared scans of one coil count, and all that is made of them.

    Attributes:
        parts: from pairs.split_by_patient.
        weights: the generator's safetensors; needed for "gan" and the products.
        settings: of every network.
        folder: where phases, products and results go.
        seed: of phases and products.
        workers, scheduler: as tasks.run_all takes them.
    """

    parts: Mapping[str, Sequence[pairs.PreparedVolume]]
    weights: Path | None
    settings: networks.NetworkSettings
    folder: Path
    seed: int
    workers: int = 1
    scheduler: str = ""

    @property
    def n_coils(self) -> int:
        return self.parts["test"][0].raw.n_coils

    @cached_property
    def context(self) -> sources.Context:
        """What the sources draw on; donors are the generator's patients."""
        return sources.open_context(self.weights, self.parts["gan"], self.settings.accelerator)

    def training_data(
        self, source: str, volumes: Sequence[pairs.PreparedVolume]
    ) -> tuple[samples.TrainingData, str]:
        """Scans with the phase of a source, written where it is missing; and its hash.

        Args:
            source: GROUND_TRUTH, a name of PRODUCTS or of phase.sources.REGISTRY; the suffix
                GLOBAL_PHASE is ignored here: it changes the training, not the data.
            volumes: whose magnitudes (for GROUND_TRUTH: whose k-space) are learned from.

        Raises:
            ValueError: an unknown source, or one that needs a generator without one.
        """
        source = source.removesuffix(GLOBAL_PHASE)
        if source == samples.GROUND_TRUTH:
            return samples.TrainingData(source, volumes, self.folder), ""
        if source in PRODUCTS:
            return self._product(source, volumes), ""
        depends_on = [volume.fingerprint for volume in self.parts["gan"]]
        if self.weights:
            depends_on.append(runs.sha256(self.weights))
        place = phases.write_phases(
            source,
            volumes,
            self.context,
            self.folder / "phases" / f"{volumes[0].raw.n_coils}coil",
            seed=self.seed,
            depends_on=depends_on,
        )
        return samples.TrainingData(source, volumes, place), phases.fingerprint(place, volumes)

    def _product(
        self, source: str, volumes: Sequence[pairs.PreparedVolume]
    ) -> samples.TrainingData:
        if self.weights is None:
            raise ValueError(
                f"source {source!r} needs a trained generator, none was given. Run notebook "
                "02_gan_training first, or leave it out of the sources."
            )
        scans = product.product_scans(
            volumes,
            self.folder / "product",
            weights=self.weights,
            n_coils=volumes[0].raw.n_coils,
            seed=self.seed,
            coils=PRODUCTS[source],
            workers=self.workers,
            scheduler=self.scheduler,
        )
        return samples.TrainingData(samples.GROUND_TRUTH, scans, self.folder, measured=volumes)

    def cell(
        self,
        experiment: str,
        source: str,
        acceleration: int,
        seed: int,
        data: Sequence[tuple[samples.TrainingData, str]] = (),
        *,
        accelerations: Sequence[int] = (),
        **tags: object,
    ) -> grid.Cell:
        """A cell of a network trained on `data`, or of a classical method without any."""
        plan, settings = None, self.settings
        if source.endswith(GLOBAL_PHASE):
            settings = dataclasses.replace(settings, global_phases=True)
        if data:
            text = f"{self.n_coils} coils, R = {acceleration}, {source}, seed {seed}"
            plan = training.Training(
                data=tuple(part for part, _ in data),
                accelerations=tuple(accelerations) or (acceleration,),
                seed=seed,
                val=self.parts["val"],
                settings=settings,
                label=text,
            )
        return grid.Cell(
            experiment=experiment,
            source=source,
            n_coils=self.n_coils,
            acceleration=acceleration,
            seed=seed,
            training=plan,
            val=self.parts["val"],
            test=self.parts["test"],
            center_fraction=self.settings.center_fraction,
            folder=self.folder / "networks",
            phases=runs.fingerprint([key for _, key in data]),
            tags=tuple(sorted(tags.items())),
        )


def floor_cells(study: Study, accelerations: Sequence[int]) -> list[grid.Cell]:
    """Classical methods, the start of unrolled networks and the ceiling at every R."""
    names = [
        name
        for name in grid.CLASSICAL
        if name not in (grid.SPARSE, grid.UNTRAINED) or study.settings.network == networks.UNROLLED
    ]
    return [study.cell(GRID, name, r, 0) for r in accelerations for name in names]


def grid_cells(
    study: Study, names: Sequence[str], seeds_of: Mapping[int, Sequence[int]]
) -> list[grid.Cell]:
    """The paper's Figure 5: every source at every R.

    Args:
        study: one coil count.
        names: of the sources.
        seeds_of: R to the seeds of its networks; every source gets the same ones.
    """
    cells = []
    for name in names:
        data = study.training_data(name, study.parts["train"])
        cells += [
            study.cell(GRID, name, acceleration, seed, [data])
            for acceleration, seeds in seeds_of.items()
            for seed in seeds
        ]
    return cells


def worth_cells(
    study: Study,
    source: str,
    numbers: Sequence[int],
    acceleration: int,
    seeds: Sequence[int],
) -> list[grid.Cell]:
    """Networks trained on n measured patients, with and without synthetic scans of others.

    The training patients are halved: the first half can be measured, the second is
    the archive whose magnitudes the source makes k-space of.

    Args:
        study: one coil count.
        source: of the synthetic scans.
        numbers: of measured patients; 0 and all of the first half are added, those beyond
            it are left out.
        acceleration: R.
        seeds: of the networks.
    """
    patients = list(dict.fromkeys(v.raw.patient_id for v in study.parts["train"]))
    half = len(patients) // 2
    if half < 1:
        raise ValueError(
            f"{len(patients)} training patients; expected two or more, for one half is measured "
            "and the other synthetic. Add patients."
        )
    archive = [v for v in study.parts["train"] if v.raw.patient_id in patients[half:]]
    synthetic = study.training_data(source, archive)
    cells = []
    for n_real in sorted({0, *(n for n in numbers if 0 < n < half), half}):
        chosen = [v for v in study.parts["train"] if v.raw.patient_id in patients[:n_real]]
        measured = [study.training_data(samples.GROUND_TRUTH, chosen)] if chosen else []
        for data, m in ((measured, 0), ([*measured, synthetic], len(archive))):
            name = f"{n_real}_measured_{m}_{source}"
            cells += [
                study.cell(WORTH, name, acceleration, seed, data, n_real=n_real, n_synthetic=m)
                for seed in seeds
                if data
            ]
    return cells


def heads_cells(
    studies: Sequence[Study],
    names: Sequence[str],
    accelerations: Sequence[int],
    test_acceleration: int,
    seeds: Sequence[int],
) -> list[grid.Cell]:
    """Networks that have seen several coil arrays, matrices, SNRs and R.

    Args:
        studies: whose training scans are mixed; the first one's test scans are used.
        names: of the sources.
        accelerations: R of the training masks.
        test_acceleration: R of the tests.
        seeds: of the networks.
    """
    cells = []
    for name in names:
        data = [study.training_data(name, study.parts["train"]) for study in studies]
        cells += [
            studies[0].cell(HEADS, name, test_acceleration, seed, data, accelerations=accelerations)
            for seed in seeds
        ]
    return cells
