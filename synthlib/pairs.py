"""Pairs of magnitude and phase: prepared once per scan, split by patient, scaled for a network.

The phase is that of sum_c conj(S_c) m_c, in the gauge of the coil maps S. The
magnitude is the root sum of squares that an archive would hold. Both keep the
scan's own matrix; the network takes any matrix (phase.pix2pix says how).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from synthlib import arrays, coils, datasets, runs, scanner, tasks
from synthlib.formats import prepared_hdf5
from synthlib.records import PhasePair, RawVolume

PARTS = ("gan", "train", "val", "test")


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
    def source_sha256(self) -> str:
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
    code = runs.code_fingerprint("coils", "pairs", "arrays", "records")
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
        partial(_prepare_one, settings=settings),
        todo,
        label="coil maps and pairs of scans",
        workers=workers,
        scheduler=scheduler,
    )
    return [PreparedVolume(volume, path) for volume, path, _ in work]


def _prepare_one(item: tuple[RawVolume, Path, str], *, settings: coils.EspiritSettings) -> None:
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
        {"key": key, "source_sha256": source_hash, "record": record},
    )


def open_study(
    data: str,
    *,
    n_coils: int,
    out_dir: str | Path,
    gan_fraction: float,
    seed: int,
    contrasts: Sequence[str] = (),
    simulate: scanner.ScanSettings | None = None,
    espirit: coils.EspiritSettings | None = None,
    workers: int = 1,
    scheduler: str = "",
) -> dict[str, list[PreparedVolume]]:
    """From the name of a data set to prepared scans in parts, as every notebook needs them.

    Args:
        data, n_coils, contrasts, simulate: as datasets.raw_volumes takes them.
        out_dir: prepared files go to its subfolder "prepared".
        gan_fraction, seed: as :func:`split_by_patient` takes them.
        espirit, workers, scheduler: as :func:`prepare` takes them.

    Returns:
        Part ("gan", "train", "val", "test") to scans.
    """
    raw = datasets.raw_volumes(
        data, n_coils=n_coils, contrasts=contrasts, simulate=simulate, workers=workers
    )
    folder = Path(out_dir) / "prepared"
    ready = prepare(raw, folder, espirit=espirit, workers=workers, scheduler=scheduler)
    return split_by_patient(ready, gan_fraction=gan_fraction, seed=seed)


def input_hashes(volumes: Sequence[PreparedVolume]) -> dict[str, str]:
    """One line for a record: how many raw files, and the hash over all their hashes."""
    digest = runs.fingerprint(sorted((v.name, v.source_sha256) for v in volumes))
    return {f"{len(volumes)} raw files of {volumes[0].raw.n_coils} coils": digest}


def study_hashes(studies: Mapping[int, Mapping[str, Sequence[PreparedVolume]]]) -> dict[str, str]:
    """:func:`input_hashes` of every coil count's scans."""
    found = {}
    for parts in studies.values():
        found.update(input_hashes([volume for part in parts.values() for volume in part]))
    return found


def split_by_patient(
    volumes: Sequence[PreparedVolume], *, gan_fraction: float, seed: int
) -> dict[str, list[PreparedVolume]]:
    """Part the scans so that no patient is in two parts.

    The phase generator learns from the "gan" patients; the reconstruction
    networks learn from "train", are watched on "val" and tested on "test",
    80 / 10 / 10 of the rest. The generator thus never saw the patients whose
    phase it writes, as in the paper (22,691 slices to learn from, 6541 others to
    write).

    Args:
        volumes: any number of scans, several per patient allowed.
        gan_fraction: share of patients for the generator, above 0 and below 1.
        seed: of the shuffle.

    Raises:
        ValueError: too few patients for one in every part.
    """
    if not 0 < gan_fraction < 1:
        raise ValueError(f"gan_fraction is {gan_fraction}; expected a share between 0 and 1")
    patients = sorted({volume.raw.patient_id for volume in volumes})
    if len(patients) < len(PARTS):
        raise ValueError(
            f"{len(volumes)} scans of {len(patients)} patients; expected at least {len(PARTS)} "
            f"patients, one for each of {', '.join(PARTS)}. Add patients, or check the attribute "
            "patient_id of the files: scans are split by it."
        )
    order = torch.randperm(len(patients), generator=runs.rng(seed, "split")).tolist()
    n_gan = min(max(1, round(gan_fraction * len(patients))), len(patients) - 3)
    n_rest = len(patients) - n_gan
    n_held = max(1, round(0.1 * n_rest))  # each of val and test
    part_of = {}
    for rank, which in enumerate(order):
        if rank < n_gan:
            part = "gan"
        elif rank < n_gan + n_held:
            part = "test"
        elif rank < n_gan + 2 * n_held:
            part = "val"
        else:
            part = "train"
        part_of[patients[which]] = part
    return {
        part: [volume for volume in volumes if part_of[volume.raw.patient_id] == part]
        for part in PARTS
    }


def slices_of(volumes: Sequence[PreparedVolume]) -> list[tuple[PreparedVolume, int]]:
    """Every (volume, slice index) in order."""
    return [(volume, index) for volume in volumes for index in range(volume.n_slices)]


def scale_magnitude(magnitude: Tensor) -> Tensor:
    """Magnitude (..., y, x) to [-1, 1], slice by slice: 0 to -1, the slice's maximum to 1."""
    top = magnitude.amax((-2, -1), keepdim=True).clamp(min=1e-20)
    return 2 * magnitude / top - 1


def phase_to_target(phase: Tensor, mode: str) -> Tensor:
    """Phase (..., y, x) to what the network learns, channels first: (..., channel, y, x).

    Args:
        phase: radians in (-pi, pi].
        mode: "scalar", phase / pi as in the paper; "vector", (cos, sin), which
            has no jump at the wrap.
    """
    if mode == "vector":
        return torch.stack([phase.cos(), phase.sin()], dim=-3)
    return (phase / torch.pi).unsqueeze(-3)


def target_to_phase(target: Tensor, mode: str) -> Tensor:
    """The way back: (..., channel, y, x) in [-1, 1] to radians (..., y, x)."""
    if mode == "vector":
        return torch.atan2(target[..., 1, :, :], target[..., 0, :, :])
    return target[..., 0, :, :] * torch.pi


def all_pairs(volumes: Sequence[PreparedVolume]) -> list[PhasePair]:
    """Every slice's pair, in order."""
    return [volume.pair(index) for volume, index in slices_of(volumes)]


def middle_pairs(volumes: Sequence[PreparedVolume], n: int) -> list[PhasePair]:
    """The middle slice of up to n scans, of different contrasts as far as there are."""
    return [volume.pair(volume.n_slices // 2) for volume in one_of_each(volumes, n)]


def one_of_each(volumes: Sequence[PreparedVolume], n: int) -> list[PreparedVolume]:
    """Up to n scans: first one of every contrast and coil count, then further ones."""
    kinds = set()
    first: list[PreparedVolume] = []
    later: list[PreparedVolume] = []
    for volume in volumes:
        kind = (volume.raw.contrast, volume.raw.n_coils)
        (later if kind in kinds else first).append(volume)
        kinds.add(kind)
    return (first + later)[:n]


def scan_table(volumes: Sequence[PreparedVolume]) -> list[dict[str, object]]:
    """Rows for a table: how many scans of each contrast, coil count and matrix."""
    groups: dict[tuple[str, int, tuple[int, ...], tuple[int, int]], list[RawVolume]] = {}
    for volume in volumes:
        raw = volume.raw
        key = (raw.contrast, raw.n_coils, tuple(raw.kspace.shape[-2:]), raw.recon_shape)
        groups.setdefault(key, []).append(raw)
    return [
        {
            "contrast": contrast,
            "coils": n_coils,
            "k-space (ky x kx)": "x".join(map(str, shape)),
            "image (y x x)": "x".join(map(str, recon)),
            "pixel (mm)": " x ".join(f"{mm:.1f}" for mm in found[0].spacing_mm),
            "patients": len({raw.patient_id for raw in found}),
            "scans": len(found),
            "slices": sum(raw.n_slices for raw in found),
        }
        for (contrast, n_coils, shape, recon), found in sorted(groups.items(), key=str)
    ]


class PairDataset(Dataset):
    """(scaled magnitude (1, y, x), target (channel, y, x)) of every slice, for the generator."""

    def __init__(self, volumes: Sequence[PreparedVolume], mode: str) -> None:
        self.slices = slices_of(volumes)
        self.mode = mode

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        volume, slice_index = self.slices[index]
        pair = volume.pair(slice_index)
        return scale_magnitude(pair.magnitude)[None], phase_to_target(pair.phase, self.mode)


def summary(parts: Mapping[str, Sequence[PreparedVolume]]) -> list[dict[str, object]]:
    """Rows for a table: patients, scans and slices of every part."""
    return [
        {
            "part": part,
            "patients": len({volume.raw.patient_id for volume in volumes}),
            "scans": len(volumes),
            "slices": sum(volume.n_slices for volume in volumes),
        }
        for part, volumes in parts.items()
    ]
