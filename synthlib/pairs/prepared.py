"""A scan's pairs, made once and kept beside its coil maps."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from synthlib import arrays, coils, mapstore, runs, tasks
from synthlib.formats import prepared_hdf5
from synthlib.records import PhasePair, RawVolume


@dataclasses.dataclass(frozen=True)
class PreparedVolume:
    """A scan with its pairs and maps, read slice by slice.

    Attributes:
        raw: the scan.
        path: of the file with its pairs; its maps are in maps/ beside it.
    """

    raw: RawVolume
    path: Path

    @property
    def name(self) -> str:
        return self.raw.name

    @property
    def n_slices(self) -> int:
        return self.raw.n_slices

    @property
    def map_file(self) -> mapstore.MapFile:
        """The maps, their quality and settings."""
        return mapstore.MapFile(self.name, _maps_folder(self.path.parent) / self.path.name)

    def pair(self, index: int) -> PhasePair:
        """Magnitude and phase of one slice."""
        raw, read = self.raw, partial(prepared_hdf5.read, self.path, index=index)
        return PhasePair(
            name=f"{raw.name}#{index}",
            volume=raw.name,
            patient_id=raw.patient_id,
            contrast=raw.contrast,
            slice_index=index,
            position=index / max(1, raw.n_slices - 1),
            magnitude=read("magnitude"),
            phase=read("phase"),
            support=read("support"),
            recon_shape=raw.recon_shape,
            acquired=raw.acquired,
            spacing_mm=raw.spacing_mm,
            upside_down=raw.upside_down,
        )

    def maps(self, index: int) -> Tensor:
        """Complex64 (coil, y, x), uncropped, unit root sum of squares."""
        return self.map_file.maps(index)

    def eigenvalues(self, index: int) -> Tensor:
        """float32 (y, x)."""
        return self.map_file.eigenvalues(index)

    @property
    def fingerprint(self) -> str:
        """Changes with the raw file's content, the maps' parameters and their code."""
        return str(prepared_hdf5.read_attributes(self.path)["fingerprint"])

    @property
    def source_sha256(self) -> str:
        """Hash of the raw file."""
        return str(prepared_hdf5.read_attributes(self.path)["source_sha256"])


def prepare(
    volumes: Sequence[RawVolume],
    folder: str | Path,
    *,
    espirit: coils.EspiritSettings | None = None,
    workers: int = 1,
    scheduler: str = "",
) -> list[PreparedVolume]:
    """Estimate the maps and pairs of every scan; what is there and current stays.

    Maps are written to <folder>/maps by mapstore.build, pairs to <folder>, one
    file per scan each.

    Args:
        volumes: multi-coil scans.
        folder: where the prepared files go, relative to the project root.
        espirit: parameters of the maps; one set of them.
        workers, scheduler: as tasks.run_all takes them.

    Raises:
        ValueError: a scan of one coil, with NaN or without signal; the first is
            named, after the maps of all others were made.

    Warns:
        RuntimeWarning: what the estimation of the maps warned of, once.
    """
    settings = espirit or coils.EspiritSettings()
    if settings.n_sets != 1:
        raise ValueError(
            f"{settings.n_sets} sets of maps were asked for; a pair of magnitude and phase needs "
            "one set. Use n_sets=1, or mapstore.build for maps alone."
        )
    folder = runs.resolve(folder)
    store = mapstore.build(
        volumes, _maps_folder(folder), settings=settings, workers=workers, scheduler=scheduler
    )
    if store.broken:
        raise ValueError(next(iter(store.broken.values())))
    _repeat_warnings(store)
    code = runs.code_fingerprint("pairs.prepared", "mapstore", "coils", "arrays", "records")
    prepared = [PreparedVolume(volume, folder / f"{volume.name}.h5") for volume in volumes]
    work = [(volume, runs.fingerprint(volume.map_file.key, code)) for volume in prepared]
    tasks.run_all(
        partial(_prepare_one, code=code),
        [
            item
            for item in work
            if prepared_hdf5.read_attributes(item[0].path).get("key") != item[1]
        ],
        label="pairs of scans",
        workers=workers,
        scheduler=scheduler,
    )
    return prepared


def _maps_folder(folder: Path) -> Path:
    return folder / "maps"


def _repeat_warnings(store: mapstore.Store) -> None:
    texts = [f"{file.name}: {text}" for file in store.files for text in file.warnings]
    if texts:
        more = f" (and {len(texts) - 1} more warnings of coil maps)" if len(texts) > 1 else ""
        warnings.warn(texts[0] + more, RuntimeWarning, stacklevel=3)


@tasks.torch_threads(1)
def _prepare_one(item: tuple[PreparedVolume, str], *, code: str) -> None:
    volume, key = item
    map_file = volume.map_file
    kept: dict[str, list[Tensor]] = {name: [] for name in ("magnitude", "phase", "support")}
    for index in range(volume.n_slices):
        coil_images = volume.raw.coil_images(index)  # (coil, y, x)
        image = coils.combine(coil_images, map_file.maps(index))
        kept["magnitude"].append(arrays.rss(coil_images))
        kept["phase"].append(arrays.wrap(image.angle()))
        kept["support"].append(map_file.support(index))
    prepared_hdf5.write(
        volume.path,
        {name: torch.stack(slices) for name, slices in kept.items()},
        {
            "key": key,
            "fingerprint": runs.fingerprint(map_file.fingerprint, code),
            "source_sha256": map_file.source_sha256,
            "record": runs.make_record(
                {"espirit": dataclasses.asdict(map_file.settings)},
                {Path(volume.raw.source).name: map_file.source_sha256},
            ),
        },
    )
