"""Folders of raw files: found, opened, chosen by contrast and coils."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from synthlib.formats import bart_cfl, npy_header
from synthlib.formats.raw_header import volume_name
from synthlib.formats.reading import ENDINGS, EXPECTED, HDF5, read_raw
from synthlib.records import MADE_BY_US, RawVolume


def raw_files(folder: str | Path) -> list[Path]:
    """Every file of a folder and its subfolders that may be raw data, sorted by name.

    Those of HDF5 (.h5, .hdf5, .mrd) and BART's pairs (by their .cfl) by their endings alone;
    of .npy and .dat files, which may be anything, those that begin as raw data do. Half of a
    pair and files that cannot be read come along, so that their reader says what is wrong.
    Label maps and noise beside our own pairs and files under way are left out.

    Args:
        folder: also one file, which is then the only one; of a pair its .cfl or .hdr.
    """
    folder = Path(folder)
    if folder.is_file():
        data = folder.with_suffix(".cfl")
        return [data if folder.suffix.lower() == ".hdr" and data.is_file() else folder]
    paths = [
        path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and _may_be_raw(path)
    ]
    return sorted(paths, key=lambda path: (path.stem, path))


def passed_by(folder: str | Path) -> list[Path]:
    """The .npy and .dat files of a folder that :func:`raw_files` leaves out as no raw data."""
    paths = (path for path in Path(folder).rglob("*") if path.suffix.lower() in (".npy", ".dat"))
    return sorted(path for path in paths if not _may_be_raw(path))


def _may_be_raw(path: Path) -> bool:
    if path.name.startswith(".") or path.is_dir():  # a file under way
        return False
    if path.suffix.lower() in HDF5:
        return True
    if path.suffix.lower() in (".cfl", ".hdr"):
        return _is_of_pair(path)
    try:
        if path.suffix.lower() == ".npy":
            shape, dtype, _ = npy_header.read(path)
            return dtype.kind == "c" and len(shape) in (3, 4)
        from synthlib.formats import twix  # its package is needed for no other format

        return twix.is_twix(path)
    except (ValueError, OSError):
        return path.is_file()


def _is_of_pair(path: Path) -> bool:
    """The .cfl of a pair, or a .hdr of BART that has lost it; no label map or noise of ours."""
    owner, mark, _ = path.stem.partition(bart_cfl.LABELS)
    if not mark:
        owner = path.stem.removesuffix(bart_cfl.NOISE)
    if owner != path.stem and path.with_name(f"{owner}.cfl").is_file():
        return False
    if path.suffix.lower() == ".cfl":
        return True
    return not path.with_suffix(".cfl").is_file() and bart_cfl.is_header(path)


def names_below(source: str | Path, paths: Sequence[Path]) -> dict[str, Path]:
    """Files by their names below a folder: without ending, but where two formats have one name.

    Args:
        source: the folder, or the only file; paths: from :func:`raw_files`.
    """
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    bare = [path.relative_to(folder).with_name(volume_name(path)) for path in paths]
    twice = {name for name, n in Counter(bare).items() if n > 1}
    return {
        str(path.relative_to(folder) if name in twice else name): path
        for name, path in zip(bare, paths, strict=True)
    }


def find_raw(
    folder: str | Path,
    *,
    contrasts: Iterable[str] = (),
    n_coils: int | None = None,
    skip_broken: bool = False,
) -> list[RawVolume]:
    """Open every file of raw data below a folder, sorted by name.

    Args:
        folder: searched with its subfolders (multicoil_train, multicoil_val ...); also one file.
        contrasts: keep these acquisition labels, for example ("AXT1", "AXT2"); none: all.
        n_coils: keep this number of coils; None: all, as long as they agree.
        skip_broken: warn about files that cannot be used instead of stopping.

    Raises:
        FileNotFoundError: no such folder, or no file in it that fits.
        ValueError: broken files (all are named), files of one name, or coil
            counts that differ where none was chosen.
    """
    folder = Path(folder)
    paths = raw_files(folder)
    if not paths:
        what = "has no file of raw data" if folder.is_dir() else "is not a folder"
        raise FileNotFoundError(
            f"{folder} {what}; {EXPECTED}. "
            'Check the path, or use data = "simulated" for the embedded scanner.'
        )
    volumes, broken = [], []
    notes: dict[str, list[str]] = {}
    for path in paths:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                volume = read_raw(path)
            except ValueError as error:
                broken.append(str(error))
            else:
                if volume.synthetic:
                    broken.append(f"{path.name}: {MADE_BY_US}; expected measured k-space")
                else:
                    volumes.append(volume)
        for warning in caught:
            text = str(warning.message)
            padding = "zero-padding" in text  # its numbers differ from file to file
            kind = "zero-padding" if padding else text.removeprefix(f"{path.name}: ")
            notes.setdefault(kind, []).append(text)
    if broken:
        text = f"{len(broken)} of {len(paths)} files cannot be used:\n  " + "\n  ".join(broken)
        if not skip_broken:
            raise ValueError(f"{text}\nMove them away, or set skip_broken to leave them out.")
        warnings.warn(text, stacklevel=2)
    for texts in notes.values():
        more = f" (and {len(texts) - 1} more files like it)" if len(texts) > 1 else ""
        warnings.warn(texts[0] + more, stacklevel=2)
    return _choose(volumes, folder.name, tuple(contrasts), n_coils)


def _choose(
    volumes: list[RawVolume], folder: str, contrasts: tuple[str, ...], n_coils: int | None
) -> list[RawVolume]:
    there = Counter((volume.contrast, volume.n_coils) for volume in volumes)
    kept = [
        volume
        for volume in volumes
        if (not contrasts or volume.contrast in contrasts) and n_coils in (None, volume.n_coils)
    ]
    listing = ", ".join(
        f"{n} x {label} {coils} coils" for (label, coils), n in sorted(there.items())
    )
    if not kept:
        wanted = f"contrasts {list(contrasts) or 'any'} with {n_coils or 'any number of'} coils"
        raise FileNotFoundError(
            f"no file in {folder} has {wanted}; there are: {listing or 'none'}. "
            "Choose contrasts and coil counts that are there."
        )
    if len({volume.n_coils for volume in kept}) > 1:
        raise ValueError(
            f"files in {folder} mix coil counts: {listing}. One network is trained for one count: "
            "choose it with n_coils (coil_counts in a params file)."
        )
    twice = [name for name, n in Counter(volume.name for volume in kept).items() if n > 1]
    if twice:
        raise ValueError(
            f"{len(twice)} file names in {folder} occur twice, for example {twice[0]}.h5; "
            "names must be unique because results are filed under them. Rename one of each."
        )
    return kept
