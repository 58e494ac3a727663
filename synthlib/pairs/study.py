"""Scans of one coil count: opened, prepared, split by patient, and told about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from synthlib import coils, datasets, runs, scanner
from synthlib.pairs.prepared import PreparedVolume, prepare
from synthlib.records import PhasePair, RawVolume

PARTS = ("gan", "train", "val", "test")
HELD_FRACTION = 0.1  # of the patients, each for validation and for tests, as in the paper


def open_study(
    data: str,
    *,
    n_coils: int,
    out_dir: str | Path,
    gan_fraction: float,
    test_fraction: float = HELD_FRACTION,
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
        gan_fraction, test_fraction, seed: as :func:`split_by_patient` takes them.
        espirit, workers, scheduler: as :func:`prepare` takes them.

    Returns:
        Part ("gan", "train", "val", "test") to scans.

    Raises:
        FileNotFoundError, ValueError: no scans of that kind, or too few patients; before any
            coil map is made.
    """
    if data == datasets.SIMULATED and simulate is not None:
        require_patients(simulate.n_subjects, "the simulated scanner is asked for")
    raw = datasets.raw_volumes(
        data, n_coils=n_coils, contrasts=contrasts, simulate=simulate, workers=workers
    )
    n_patients = len({volume.patient_id for volume in raw})
    require_patients(n_patients, f"{len(raw)} scans of {n_coils} coils are those of")
    folder = Path(out_dir) / "prepared"  # coil maps take long: not before all is there
    ready = prepare(raw, folder, espirit=espirit, workers=workers, scheduler=scheduler)
    return split_by_patient(
        ready, gan_fraction=gan_fraction, test_fraction=test_fraction, seed=seed
    )


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
    volumes: Sequence[PreparedVolume],
    *,
    gan_fraction: float,
    test_fraction: float = HELD_FRACTION,
    seed: int,
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
        test_fraction: share of the rest for tests; more test patients narrow the
            intervals, and testing costs less than training.
        seed: of the shuffle.

    Raises:
        ValueError: too few patients for one in every part.
    """
    for name, share in (("gan_fraction", gan_fraction), ("test_fraction", test_fraction)):
        if not 0 < share < 1:
            raise ValueError(f"{name} is {share}; expected a share between 0 and 1")
    patients = sorted({volume.raw.patient_id for volume in volumes})
    require_patients(len(patients), f"{len(volumes)} scans are those of")
    order = torch.randperm(len(patients), generator=runs.rng(seed, "split")).tolist()
    n_gan = min(max(1, round(gan_fraction * len(patients))), len(patients) - 3)
    n_rest = len(patients) - n_gan
    n_val = max(1, round(HELD_FRACTION * n_rest))
    n_test = min(max(1, round(test_fraction * n_rest)), n_rest - n_val - 1)
    part_of = {}
    for rank, which in enumerate(order):
        if rank < n_gan:
            part = "gan"
        elif rank < n_gan + n_test:
            part = "test"
        elif rank < n_gan + n_test + n_val:
            part = "val"
        else:
            part = "train"
        part_of[patients[which]] = part
    return {
        part: [volume for volume in volumes if part_of[volume.raw.patient_id] == part]
        for part in PARTS
    }


def require_patients(n_patients: int, what: str) -> None:
    """Refuse fewer patients than there are parts.

    Args:
        n_patients: that there are.
        what: begins the message.

    Raises:
        ValueError: too few for one in every part.
    """
    if n_patients < len(PARTS):
        raise ValueError(
            f"{what} {n_patients} patients; expected at least {len(PARTS)}, one for each of "
            f"{', '.join(PARTS)}. Add patients, or check the attribute patient_id of the files: "
            "scans are split by it."
        )


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


def slices_of(volumes: Sequence[PreparedVolume]) -> list[tuple[PreparedVolume, int]]:
    """Every (volume, slice index) in order."""
    return [(volume, index) for volume in volumes for index in range(volume.n_slices)]


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
