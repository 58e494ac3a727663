"""A scan's pairs and coil maps, made once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from synthlib import arrays, coils, runs, tasks
from synthlib.formats import prepared_hdf5
from synthlib.records import PhasePair, RawVolume


@dataclasses.dataclass(frozen=True)
class PreparedVolume:
    """A scan with its pairs and maps, read slice by slice from the prepared file."""

    raw: RawVolume
    path: Path

    @property
    def name(self) -> str:
        return self.raw.name

    @property
    def n_slices(self) -> int:
        return self.raw.n_slices

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
        )

    def maps(self, index: int) -> Tensor:
        """Complex64 (coil, y, x), uncropped, unit root sum of squares."""
        return prepared_hdf5.read(self.path, "maps", index)

    def eigenvalues(self, index: int) -> Tensor:
        """float32 (y, x)."""
        return prepared_hdf5.read(self.path, "eigenvalues", index)

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
    """Estimate the maps and pairs of every scan, one file each; what is there and current stays.

    Args:
        volumes: multi-coil scans.
        folder: where the prepared files go, relative to the project root.
        espirit: parameters of the maps.
        workers, scheduler: as tasks.run_all takes them.

    Raises:
        ValueError: a scan of one coil, with NaN or without signal; it is named.
    """
    settings = espirit or coils.EspiritSettings()
    code = runs.code_fingerprint(
        "pairs.prepared", "coils", "arrays", "records"
    )
    work = []
    for volume in volumes:
        source = Path(volume.source)
        stat = source.stat()
        key = runs.fingerprint(
            source.name, stat.st_size, stat.st_mtime_ns, dataclasses.asdict(settings), code
        )
        work.append((volume, runs.resolve(folder) / f"{volume.name}.h5", key))
    todo = [item for item in work if prepared_hdf5.read_attributes(item[1]).get("key") != item[2]]
    tasks.run_all(
        partial(_prepare_one, settings=settings, code=code),
        todo,
        label="coil maps and pairs of scans",
        workers=workers,
        scheduler=scheduler,
    )
    return [PreparedVolume(volume, path) for volume, path, _ in work]


def _prepare_one(
    item: tuple[RawVolume, Path, str], *, settings: coils.EspiritSettings, code: str
) -> None:
    volume, path, key = item
    kept: dict[str, list[Tensor]] = {
        name: [] for name in ("magnitude", "phase", "support", "maps", "eigenvalues")
    }
    for index in range(volume.n_slices):
        try:
            coil_images = volume.coil_images(index)  # (coil, y, x)
            found = coils.espirit_maps(arrays.fft2c(coil_images), settings)
        except ValueError as error:
            if volume.name in str(error):
                raise
            raise ValueError(f"{volume.name} slice {index}: {error}") from error
        image = coils.combine(coil_images, found.maps)
        kept["magnitude"].append(arrays.rss(coil_images))
        kept["phase"].append(arrays.wrap(image.angle()))
        kept["support"].append(found.support)
        kept["maps"].append(found.maps)
        kept["eigenvalues"].append(found.eigenvalues)
    source_hash = runs.sha256(volume.source)
    record = runs.make_record(
        {"espirit": dataclasses.asdict(settings)}, {Path(volume.source).name: source_hash}
    )
    prepared_hdf5.write(
        path,
        {name: torch.stack(slices) for name, slices in kept.items()},
        {
            "key": key,  # of size and time, quick to compare before anything is read
            "fingerprint": runs.fingerprint(source_hash, dataclasses.asdict(settings), code),
            "source_sha256": source_hash,
            "record": record,
        },
    )
