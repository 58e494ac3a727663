"""MRD files of any program as raw volumes: scans of lines, sorted by their headers.

Read with h5py alone, so that a damaged file ends in a message and not in another
package. What each line was measured for is told by its flags: noise scans give
RawVolume.noise, lines for calibration alone RawVolume.calibration; navigators,
phase correction, feedback, dummies and the like are passed by. Averages are
averaged; contrasts, phases, repetitions and sets are volumes of their own.
Not done: gridding (non-Cartesian scans are refused), correction of EPI's ghosts
and ramp sampling, decompression.
Source: Inati et al., MRM 77:411 (2017); ismrmrd.h of ISMRMRD 1.15.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from synthlib.formats import acquisitions, hdf5_heaps, ismrmrd_xml, line_volumes, mrd, raw_header
from synthlib.formats.ismrmrd_xml import Facts
from synthlib.formats.line_volumes import Scan
from synthlib.formats.mrd_heads import ismrmrd
from synthlib.formats.raw_header import NUMBERS, RawHeader
from synthlib.records import SYNTHETIC, UNDERSAMPLED, RawVolume


def _bits(*names: str) -> int:
    return sum(1 << (getattr(ismrmrd, f"ACQ_{name}") - 1) for name in names)


NOISE = _bits("IS_NOISE_MEASUREMENT")
BOTH = _bits("IS_PARALLEL_CALIBRATION_AND_IMAGING")
CALIBRATION = _bits("IS_PARALLEL_CALIBRATION")
REVERSED = _bits("IS_REVERSE")
PASSED_BY = _bits(
    "IS_NAVIGATION_DATA",
    "IS_PHASECORR_DATA",
    "IS_HPFEEDBACK_DATA",
    "IS_DUMMYSCAN_DATA",
    "IS_RTFEEDBACK_DATA",
    "IS_SURFACECOILCORRECTIONSCAN_DATA",
    "IS_PHASE_STABILIZATION_REFERENCE",
    "IS_PHASE_STABILIZATION",
)
COMPRESSED = _bits("COMPRESSION1", "COMPRESSION2", "COMPRESSION3", "COMPRESSION4")
COUNTERS = {
    "line": "kspace_encode_step_1",
    "partition": "kspace_encode_step_2",
    **{name: name for name in ("slice", "average", "contrast", "phase", "repetition", "set")},
}
FIELDS = {
    "n_coils": "active_channels",
    "n_samples": "number_of_samples",
    "centre": "center_sample",
    "pre": "discard_pre",
    "post": "discard_post",
    "encoding": "encoding_space_ref",
    "dwell_us": "sample_time_us",
    **{name: name for name in ("position", "read_dir", "phase_dir", "slice_dir")},
}
MAX_LINES = 2**22  # whose headers are held in memory
EPI = (
    "echo-planar: lines of odd echoes are turned round; ghosts are not corrected, ramp samples "
    "not regridded"
)


@dataclass(frozen=True)
class MrdLines:
    """Lines of an MRD file by their row; the file is closed in between."""

    path: str
    group: str
    shapes: np.ndarray  # (row, 2): coils and samples

    def read(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        with _opened(Path(self.path)) as file:
            stored = file[self.group]["data"]
            # h5py hands out the bytes of such numbers as the file has them, in whatever order
            number = h5py.check_vlen_dtype(stored.dtype["data"])
            if number is None or number.kind != "f" or number.itemsize != 4:
                raise _broken(Path(self.path).name, f"its samples are {number} numbers")
            data = stored.fields("data")
            for span in _spans(rows):
                numbers = data[span]
                for row, values in zip(
                    range(*span.indices(len(self.shapes))), numbers, strict=True
                ):
                    n_coils, n_samples = (int(n) for n in self.shapes[row])
                    if len(values) != 2 * n_coils * n_samples:
                        raise _broken(
                            Path(self.path).name,
                            f"line {row} has {len(values)} numbers where {n_coils} coils of "
                            f"{n_samples} samples were told",
                        )
                    plain = np.ascontiguousarray(values.view(number), np.float32)
                    yield plain.view(np.complex64).reshape(n_coils, n_samples)


def read_raw(path: str | Path, number: int = 0) -> RawVolume:
    """Open one volume of an MRD file; its slices are read when asked for.

    Args:
        path: an HDF5 file with groups of "xml" and "data".
        number: which volume, from 0, sorted by encoded space, contrast, phase, repetition
            and set.

    Raises:
        FileNotFoundError, PermissionError: there is no such file, or it may not be opened.
        ValueError: not MRD, damaged, not Cartesian, compressed, or without an image.
        IndexError: the file has fewer volumes.
    """
    path = Path(path)
    scan, own, header = _scan(path)
    name = raw_header.volume_name(path)
    with line_volumes.naming(path.name, _broken):
        volume = line_volumes.raw_volume(path, name, scan, number)
        volume = dataclasses.replace(volume, header=header)
        if "position" in ismrmrd_xml.lenient(header).user.get("assumed", "").split():
            volume = dataclasses.replace(volume, placement=None)  # by us, in MrdWriter
        return volume if own is None else raw_header.applied(volume, own)


def n_volumes(path: str | Path) -> int:
    """How many volumes an MRD file has; raises as :func:`read_raw`."""
    return len(acquisitions.volumes(_scan(Path(path))[0].table))


def _scan(path: Path) -> tuple[Scan, RawHeader | None, str]:
    """The scan, the header that synthlib wrote (if it did), and the XML."""
    with _opened(path) as file:
        if not hdf5_heaps.are_whole(path):
            raise _broken(path.name, "it is truncated or damaged")
        group = _group(path.name, file)
        header = _xml(path.name, file[group]["xml"])
        data = file[group]["data"]
        if data.ndim != 1 or data.shape[0] > MAX_LINES:
            raise _broken(path.name, f"it claims lines of shape {data.shape}")
        try:
            heads = data.fields("head")[:]
        except (ValueError, TypeError) as error:
            raise _broken(path.name, "its lines are not those of MRD") from error
        own = mrd.OWN in file or mrd.OWN_BEFORE in file
    with line_volumes.naming(path.name, _broken):
        facts = ismrmrd_xml.facts(header)
        notes = _require_cartesian(facts, heads)
        table = _table(heads)
    written = mrd.read_header(path) if own else None
    shapes = np.stack([table["n_coils"], table["n_samples"]], 1)
    scan = Scan(
        table=table,
        source=MrdLines(str(path), group, shapes),
        encodings=facts.encodings,
        contrast=facts.contrast,
        patient_id=facts.patient_id,
        noise_bandwidth=facts.noise_bandwidth,
        attributes=_attributes(facts),
        notes=notes,
    )
    return scan, written, header.decode(errors="replace")


def _attributes(facts: Facts) -> dict[str, object]:
    values = {name: getattr(facts, name, float("nan")) for name in NUMBERS}
    known: dict[str, object] = {name: value for name, value in values.items() if value == value}
    # our marks, where only the XML was kept
    if facts.user.get("synthetic") == SYNTHETIC:
        known[SYNTHETIC] = True
    if facts.user.get(UNDERSAMPLED) == "1":
        known[UNDERSAMPLED] = True
    return known


def _table(heads: np.ndarray) -> np.ndarray:
    table = np.zeros(len(heads), acquisitions.ACQUISITION)
    try:
        for name, tag in COUNTERS.items():
            table[name] = heads["idx"][tag]
        for name, tag in FIELDS.items():
            table[name] = heads[tag]
        flags = heads["flags"].astype(np.uint64)
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError("the headers of its lines are not those of MRD") from error

    def has(bits: int) -> np.ndarray:
        return (flags & np.uint64(bits)) != 0

    table["reversed"] = has(REVERSED)
    table["kind"] = np.select(
        [has(PASSED_BY), has(NOISE), has(BOTH), has(CALIBRATION)],
        [acquisitions.OTHER, acquisitions.NOISE, acquisitions.BOTH, acquisitions.CALIBRATION],
        acquisitions.IMAGE,
    )
    return table


def _require_cartesian(facts: Facts, heads: np.ndarray) -> tuple[str, ...]:
    """Notes; ValueError for scans that no FFT reconstructs."""
    if not len(heads):
        raise ValueError("it has no line")
    if not facts.encodings:
        raise ValueError("its header has no encoded space")
    others = sorted({name or "unnamed" for name in facts.trajectories} - {"cartesian", "epi"})
    if others:
        raise ValueError(f"its trajectory is {' and '.join(others)}, and only Cartesian is read")
    if (
        "flags" in (heads.dtype.names or ())
        and (heads["flags"].astype(np.uint64) & np.uint64(COMPRESSED)).any()
    ):
        raise ValueError("its lines are compressed, which is not read")
    return (EPI,) if "epi" in facts.trajectories else ()


def _group(name: str, file: Mapping[str, Any]) -> str:
    """The group of the scan: "dataset", else the first that has what it takes."""
    groups = [mrd.GROUP, *(key for key in sorted(file) if key != mrd.GROUP)]
    for key in groups:
        group = file.get(key)
        if isinstance(group, h5py.Group) and all(
            isinstance(group.get(name), h5py.Dataset) for name in ("xml", "data")
        ):
            return key
    raise _broken(name, "it has no group of xml and data")


def _xml(name: str, stored: h5py.Dataset) -> bytes:
    value = stored[()]
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size else b""
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes):
        raise _broken(name, "its xml is no text")
    return value


def _spans(rows: np.ndarray) -> Iterator[slice]:
    """Rows as few slices: one where the steps are even (interleaved slices), else the runs."""
    steps = np.diff(rows)
    if len(rows) == 1 or (steps == steps[0]).all():
        step = int(steps[0]) if len(rows) > 1 else 1
        yield slice(int(rows[0]), int(rows[-1]) + 1, step)
        return
    for run in np.split(rows, np.flatnonzero(steps != 1) + 1):
        yield slice(int(run[0]), int(run[-1]) + 1)


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; expected an MRD file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except PermissionError:
        raise
    except (OSError, RuntimeError, KeyError) as error:  # HDF5 tells of damage in all three ways
        if getattr(error, "errno", None) in (errno.EAGAIN, errno.EACCES, errno.EPERM):
            raise
        raise _broken(path.name, "it is truncated or damaged") from error


def _broken(name: str, problem: str) -> ValueError:
    return ValueError(
        f"{name}: {problem}. Expected an MRD file of a Cartesian scan: a group of xml and data. "
        "Export or convert it again, or leave it out."
    )
