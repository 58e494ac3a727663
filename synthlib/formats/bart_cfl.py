"""BART's pairs of .hdr (sizes) and .cfl (complex float, first axis fastest).

Readout ky is BART's dimension 0, phase encoding kx 1, coils 3, slices 13; the
centre of k-space is at n // 2, the scale that of `bart fft -u`. Beside the pair
<name> lie <name>.json, the header, label maps as pairs <name>_labels_<label>, and a scan of
the receivers' noise <name>_noise (samples in dimension 0), as `bart whiten` takes it.
<name>.hdr comes last: a set that has it is complete.
Source: BART 0.8, src/misc/mri.h; https://mrirecon.github.io/bart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synthlib import runs
from synthlib.formats import raw_header
from synthlib.formats.raw_header import RawHeader
from synthlib.formats.raw_writer import RawWriter
from synthlib.records import SYNTHETIC

N_DIMENSIONS = 16
READOUT, PHASE, COIL, SLICE = 0, 1, 3, 13
ENDINGS = (".hdr", ".cfl", ".json")
LABELS, NOISE = "_labels_", "_noise"  # of the names of further pairs
CREATOR = "synthlib"
MADE_BY_US = f"{CREATOR}: {SYNTHETIC}"  # of what was made of magnitude images
LARGEST_LABEL = 2**24  # whole numbers that a float32 keeps


class CflWriter(RawWriter):
    """BART's files of one scan under way; see :class:`RawWriter`.

    Args:
        path: <name>, also with one of its endings .hdr, .cfl, .json.
        shape, header: as in :class:`RawWriter`.

    Raises:
        ValueError: a label map holds more than a float32 keeps.
    """

    def __init__(
        self, path: str | Path, *, shape: tuple[int, int, int, int], header: RawHeader
    ) -> None:
        super().__init__(base(path), shape=shape, header=header)
        for name, labels in header.labels.items():
            largest = max(int(labels.max()), -int(labels.min()))
            if largest > LARGEST_LABEL:
                raise ValueError(
                    f"label map {name} holds {largest}; a .cfl file keeps whole numbers up to "
                    f"{LARGEST_LABEL}. Number the labels anew."
                )

    @contextmanager
    def _files(self) -> Iterator[None]:
        n_slices, n_coils, rows, columns = self.shape
        named: list[Path] = []
        try:
            with ExitStack() as stack:

                def scratch(suffix: str, part: str = "") -> Path:
                    path = beside(self.path, suffix, part)
                    stack.push(lambda error, *_: None if error else named.append(path))
                    return stack.enter_context(runs.atomic_path(path))

                # What is opened first gets its name last.
                creator = MADE_BY_US if self.header.synthetic else CREATOR
                scratch(".hdr").write_text(_hdr(rows, columns, n_coils, n_slices, creator))
                scratch(".json").write_text(self.header.to_json(), encoding="utf-8")
                for name, labels in self.header.labels.items():
                    sizes = (*self.header.recon_shape, 1, len(labels))
                    scratch(".hdr", LABELS + name).write_text(_hdr(*sizes, creator))
                    with scratch(".cfl", LABELS + name).open("wb") as file:
                        for label in labels:
                            file.write(_columns_first(label.numpy(force=True)))
                if self.header.noise is not None:
                    noise = self.header.noise.numpy(force=True).transpose(1, 0, 2)
                    samples = noise.reshape(n_coils, -1, 1)  # (coil, sample, 1)
                    scratch(".hdr", NOISE).write_text(
                        _hdr(samples.shape[1], 1, n_coils, 1, creator)
                    )
                    scratch(".cfl", NOISE).write_bytes(_columns_first(samples))
                data = scratch(".cfl")
                stack.enter_context(_removed_before_naming(self.path))
                self._file = stack.enter_context(data.open("wb"))
                yield
        except BaseException:
            for path in named:
                path.unlink(missing_ok=True)
            raise

    def _write(self, index: int, kspace: np.ndarray) -> None:
        self._file.seek(index * kspace.nbytes)
        self._file.write(_columns_first(kspace))


def base(path: str | Path) -> Path:
    """<name> from a path with or without one of the endings."""
    path = Path(path)
    return path.with_suffix("") if path.suffix in ENDINGS else path


def is_header(path: str | Path) -> bool:
    """Does a .hdr begin as BART's do? NIfTI and other programs have files of that name, too."""
    try:
        with Path(path).open("rb") as file:
            return file.read(1024).startswith(b"# Dimensions")
    except OSError:
        return False


def read_kspace(path: str | Path) -> Tensor:
    """K-space of a pair with no dimensions but readout, phase, coil and slice.

    Returns:
        complex64 (slice, coil, ky, kx).

    Raises:
        FileNotFoundError: there is no such pair.
        ValueError: the pair is damaged, or has other dimensions.
    """
    return torch.from_numpy(_read(base(path)))


def write_array(path: str | Path, array: Tensor) -> None:
    """A bare pair for a call of BART: no header, labels or record beside it.

    Args:
        path: <name>, also with .hdr or .cfl.
        array: real or complex (coil, y, x), also (coil, ky, kx); kept as complex64.
    """
    n_coils, rows, columns = array.shape
    path = base(path)
    runs.write_bytes(beside(path, ".cfl"), _columns_first(array.numpy(force=True)))
    runs.write_text(beside(path, ".hdr"), _hdr(rows, columns, n_coils, 1, CREATOR))


def read_header(path: str | Path) -> RawHeader:
    """The header, labels and record of a set that :class:`CflWriter` wrote.

    Raises:
        FileNotFoundError: a file of the set is missing.
        ValueError: one is damaged.
    """
    path = base(path)
    text = _existing(beside(path, ".json")).read_bytes()

    def labels(name: str) -> Tensor:
        return torch.from_numpy(_read(beside(path, "", LABELS + name))[:, 0].real.astype(np.int64))

    return raw_header.from_json(text, labels)


def read_noise(path: str | Path) -> Tensor | None:
    """The noise scan beside a pair, complex64 (1, coil, sample); None if there is none.

    Raises:
        ValueError: it is damaged.
    """
    stem = beside(base(path), "", NOISE)
    if not beside(stem, ".hdr").is_file():
        return None
    return torch.from_numpy(_read(stem)[..., 0])


def beside(path: Path, suffix: str, part: str = "") -> Path:
    """Another file of a set: its ending, and LABELS with a name, or NOISE."""
    return path.with_name(path.name + part + suffix)


@contextmanager
def _removed_before_naming(path: Path) -> Iterator[None]:
    """An older set goes: its .hdr would make the first new files look complete, and no label map
    of it belongs to the new images."""
    labels = _labels_of(beside(path, ".json"))
    yield
    beside(path, ".hdr").unlink(missing_ok=True)
    for part in (NOISE, *(LABELS + label for label in labels)):
        for suffix in (".hdr", ".cfl"):
            beside(path, suffix, part).unlink(missing_ok=True)


def _labels_of(header: Path) -> list[str]:
    """Names of the label maps that a set's header tells, if it is there and whole."""
    try:
        names = [str(name) for name in json.loads(header.read_bytes())["labels"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in names if raw_header.NAME.fullmatch(name)]


def _hdr(rows: int, columns: int, n_coils: int, n_slices: int, creator: str) -> str:
    sizes = [1] * N_DIMENSIONS
    sizes[READOUT], sizes[PHASE], sizes[COIL], sizes[SLICE] = rows, columns, n_coils, n_slices
    return f"# Dimensions\n{' '.join(map(str, sizes))}\n# Creator\n{creator}\n"


def _columns_first(array: np.ndarray) -> memoryview:
    """(..., y, x) as BART's bytes: y runs fastest, then x, then what stands before."""
    return np.ascontiguousarray(array.swapaxes(-1, -2).astype(np.complex64, copy=False)).data


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file; expected the .hdr, .cfl and .json of one scan side by side"
        )
    return path


def read_sizes(path: Path, dimensions: Collection[int]) -> tuple[list[int], str]:
    """The sizes of a pair's dimensions, and who made it ("" where nobody is named).

    Args:
        path: <name>, without an ending.
        dimensions: those that may be larger than 1.

    Raises:
        FileNotFoundError: a file of the pair is missing.
        ValueError: there are no sizes, other dimensions, or other bytes than they ask for.
    """
    header, data = _existing(beside(path, ".hdr")), _existing(beside(path, ".cfl"))
    lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        sizes = [int(n) for n in lines[lines.index("# Dimensions") + 1].split()]
    except (ValueError, IndexError) as error:
        raise broken(header.name, "it has no line of sizes after '# Dimensions'") from error
    sizes += [1] * (N_DIMENSIONS - len(sizes))
    others = [n for dimension, n in enumerate(sizes) if dimension not in dimensions]
    if min(sizes) < 1 or set(others) - {1}:
        raise broken(header.name, f"its sizes are {sizes[: 2 * N_DIMENSIONS]}")
    del sizes[N_DIMENSIONS:]  # all 1
    expected = 8 * math.prod(sizes)
    if data.stat().st_size != expected:
        raise broken(data.name, f"it has {data.stat().st_size} bytes where {expected} belong")
    following = lines[lines.index("# Creator") + 1 :] if "# Creator" in lines else []
    return sizes, following[0].strip() if following else ""


def _read(path: Path) -> np.ndarray:
    """A pair as complex64 (slice, coil, y, x)."""
    sizes, _ = read_sizes(path, (READOUT, PHASE, COIL, SLICE))
    shape = sizes[SLICE], sizes[COIL], sizes[PHASE], sizes[READOUT]
    return np.fromfile(beside(path, ".cfl"), np.complex64).reshape(shape).swapaxes(-1, -2)


def broken(name: str, problem: str) -> ValueError:
    return ValueError(
        f"{name}: {problem}. Expected BART's sizes of readout, phase, coil (dimension {COIL}) and "
        f"slice ({SLICE}) and as many complex floats. Write it again, or leave it out."
    )
