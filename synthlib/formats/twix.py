"""Siemens raw data (.dat, "twix") of VB, VD, VE and XA as raw volumes: the door to twixtools.

The layout of a file and its lines is twixtools'; the walk through the file is ours,
for it must end in a message where a file is damaged. Of the protocol a few values are
looked up by their names. What each line was measured for, and what is not done, is
as in formats.mrd_reader. Of a file of several measurements (VD and later) the last one
that has an image counts, with the noise scans of all.
Sources: twixtools (Ehses, MIT licence); Siemens' MDH as siemens_to_ismrmrd reads it.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthlib.formats import acquisitions, line_volumes, quiet, twix_protocol
from synthlib.formats.line_volumes import Scan
from synthlib.formats.mrd_reader import EPI
from synthlib.formats.twix_protocol import Protocol
from synthlib.records import RawVolume

with quiet.hush():
    from twixtools import hdr_def, mdh_def

MULTI = hdr_def.MultiRaidFileHeader  # the list of measurements, VD and later
MAX_LINES, MAX_MEASUREMENTS = 2**22, 64
NOISE_HZ_PER_PIXEL = 130.0  # of the noise scans that precede an image (siemens_to_ismrmrd)
NAME = re.compile(rb"[A-Za-z]\w{3,}\x00")  # of the header's first part
OVERWRITTEN = re.compile(r"(\D)\1*|(\d)\2{2,}", re.IGNORECASE)  # xxxx, ----, 000, but not 11
PASSED_BY = (
    "RTFEEDBACK", "HPFEEDBACK", "SYNCDATA", "REFPHASESTABSCAN", "PHASESTABSCAN", "PHASCOR",
    "TAGFLAG1", "CT_NORMALIZE", "SLICE_ACCEL_REFSCAN", "SLICE_ACCEL_PHASCOR", "RETRO_DUMMYSCAN",
    "B1_CONTROLLOOP", "noname60",
)  # fmt: skip
COUNTERS = {
    "line": "Lin", "partition": "Par", "slice": "Sli", "average": "Ave", "contrast": "Eco",
    "phase": "Phs", "repetition": "Rep", "set": "Set",
}  # fmt: skip


@dataclass(frozen=True)
class TwixLines:
    """Lines of a twix file by their row; the file is closed in between."""

    path: str
    starts: np.ndarray  # of each line's first channel, in bytes
    shapes: np.ndarray  # (row, 2): coils and samples
    channel_header: int  # bytes before the samples of each channel

    def read(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        with Path(self.path).open("rb") as file:
            for row in rows:
                n_coils, n_samples = (int(n) for n in self.shapes[row])
                channel = np.dtype(
                    [("header", f"V{self.channel_header}"), ("samples", "<c8", (n_samples,))]
                )
                file.seek(int(self.starts[row]))
                data = file.read(n_coils * channel.itemsize)
                if len(data) < n_coils * channel.itemsize:
                    raise broken(Path(self.path).name, "it is truncated")
                yield np.frombuffer(data, channel)["samples"]


@dataclass(frozen=True)
class _Measurement:
    """One measurement of a file: its protocol's text and its lines' headers."""

    protocol: str
    heads: np.ndarray
    starts: np.ndarray
    is_complete: bool


def is_twix(path: str | Path) -> bool:
    """Whether a file begins as Siemens raw data do; .dat files may be anything.

    Raises:
        OSError: it cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(MULTI.itemsize)
        offset = 0
        if len(start) < 64:
            return False
        if _is_multi(start):
            if len(start) < MULTI.itemsize:
                return False
            offset = int(np.frombuffer(start, MULTI)["entry"][0]["off_"][0])
        file.seek(min(offset, path.stat().st_size))
        return bool(NAME.match(file.read(64)[8:]))


def read_raw(path: str | Path, number: int = 0) -> RawVolume:
    """Open one volume of a twix file; its slices are read when asked for.

    Args:
        path: a .dat file.
        number: which volume, from 0, sorted by echo, phase, repetition and set.

    Raises:
        FileNotFoundError, PermissionError: there is no such file, or it may not be opened.
        ValueError: not twix, damaged, not Cartesian, or without an image.
        IndexError: the file has fewer volumes.
    """
    path = Path(path)
    with line_volumes.naming(path.name, broken):
        return line_volumes.raw_volume(path, path.stem, _scan(path), number)


def n_volumes(path: str | Path) -> int:
    """How many volumes a twix file has; raises as :func:`read_raw`."""
    with line_volumes.naming(Path(path).name, broken):
        return len(acquisitions.volumes(_scan(Path(path)).table))


def _scan(path: Path) -> Scan:
    measurements, is_multi = _measurements(path)
    tables = [_table(measurement, is_multi) for measurement in measurements]
    images = [k for k, table in enumerate(tables) if len(acquisitions.volumes(table))]
    if not images:
        raise ValueError("it has no line of an image")
    last = images[-1]
    for k, table in enumerate(tables):
        if k != last:
            table["kind"][table["kind"] != acquisitions.NOISE] = acquisitions.OTHER
    chosen, table = measurements[last], np.concatenate(tables)
    shapes = np.stack([table["n_coils"], table["n_samples"]], 1)
    starts = np.concatenate([measurement.starts for measurement in measurements])
    sizes = mdh_def.Channel_header if is_multi else mdh_def.VB17_header
    protocol = Protocol(chosen.protocol)
    notes = () if chosen.is_complete else ("the file has no end mark: the scan was cut short",)
    if protocol.number("alRegridMode") >= 2:
        notes = (*notes, EPI)
    return Scan(
        table=table,
        source=TwixLines(str(path), starts, shapes, np.dtype(sizes).itemsize),
        encodings=(twix_protocol.encoding(protocol, tables[last], chosen.heads),),
        contrast=protocol.text("tProtocolName"),
        patient_id=_pseudonym(protocol),
        noise_bandwidth=math.nan,
        attributes=protocol.attributes(),
        notes=notes,
    )


def _pseudonym(protocol: Protocol) -> str:
    """The same for all files of one patient; "" where the file names nobody.

    A hash without a secret: who has the patient's number can find it again. Siemens' own
    anonymisation puts an x for every letter: such a number is that of all patients.
    """
    number = protocol.text("PatientID")
    if not number or OVERWRITTEN.fullmatch(number):
        return ""
    return f"patient-{hashlib.sha256(number.encode()).hexdigest()[:12]}"


# --- the walk through a file -------------------------------------------------------------


def _is_multi(start: bytes) -> bool:
    """VD and later: a list of measurements at the beginning. As twixtools tells it."""
    first, second = np.frombuffer(start, "<u4", 2)
    return bool(first < 10_000 and second <= MAX_MEASUREMENTS)


def _measurements(path: Path) -> tuple[list[_Measurement], bool]:
    if path.stat().st_size < 64:
        raise ValueError("it is truncated")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not _is_multi(data[:8]):
            return [_measurement(data, 0, len(data), False)], False
        if len(data) < MULTI.itemsize:
            raise ValueError("it is truncated")
        raid = np.frombuffer(data[: MULTI.itemsize], hdr_def.MultiRaidFileHeader)
        entries = raid["entry"][0][: int(raid["hdr"]["count_"][0])]
        parts = []
        for entry in entries:
            first = int(entry["off_"])
            last = first + int(entry["len_"]) if entry["len_"] else len(data)
            if last > len(data):
                raise ValueError("it is truncated")
            parts.append(_measurement(data, first, last, True))
        return parts, True


def _measurement(data: mmap.mmap, first: int, last: int, is_multi: bool) -> _Measurement:
    """Walk from line to line, each header telling the length of its line."""
    if first + 8 > len(data):
        raise ValueError("it is truncated")
    length = int.from_bytes(data[first : first + 4], "little")
    if not 8 <= length <= last - first:
        raise ValueError("its header is damaged, or it is truncated")
    layout = np.dtype(mdh_def.Scan_header if is_multi else mdh_def.VB17_header)
    before = layout.itemsize if is_multi else 0  # VB repeats the header in each channel
    between = np.dtype(mdh_def.Channel_header).itemsize if is_multi else layout.itemsize
    place = first + length
    heads: list[bytes] = []
    starts: list[int] = []
    while place + layout.itemsize <= last:
        if len(heads) >= MAX_LINES:
            raise ValueError(f"it has more than {MAX_LINES} lines")
        text = data[place : place + layout.itemsize]
        head = np.frombuffer(text, layout)[0]
        flags = int(head["EvalInfoMask"])
        if flags & _bit("ACQEND"):
            return _measured(data, first, length, layout, heads, starts, True)
        if flags & _bit("SYNCDATA"):
            size = int(head["FlagsAndDMALength"]) % 2**25
            if size < layout.itemsize:
                raise ValueError("a line's header is damaged")
            place += size
            continue
        n_coils, n_samples = int(head["UsedChannels"]), int(head["SamplesInScan"])
        if not n_coils or not n_samples:
            raise ValueError("a line's header is damaged")
        size = before + n_coils * (between + 8 * n_samples)
        if place + size > last:
            raise ValueError("it is truncated")
        heads.append(text)
        starts.append(place + before)
        place += size
    return _measured(data, first, length, layout, heads, starts, False)


def _measured(
    data: mmap.mmap, first: int, length: int, layout: np.dtype, heads: list[bytes],
    starts: list[int], is_complete: bool,
) -> _Measurement:  # fmt: skip
    protocol = data[first : first + length].decode("latin1")
    table = np.frombuffer(b"".join(heads), layout)
    return _Measurement(protocol, table, np.array(starts, np.int64), is_complete)


def _bit(name: str) -> int:
    return 1 << mdh_def.mask_dict[name]


# --- what headers say --------------------------------------------------------------------


def _table(measurement: _Measurement, is_multi: bool) -> np.ndarray:
    heads = measurement.heads
    table = np.zeros(len(heads), acquisitions.ACQUISITION)
    for name, tag in COUNTERS.items():
        table[name] = heads["Counter"][tag]
    table["n_coils"], table["n_samples"] = heads["UsedChannels"], heads["SamplesInScan"]
    table["centre"] = heads["CenterCol"]
    table["pre"], table["post"] = heads["CutOff"]["Pre"], heads["CutOff"]["Post"]
    position = heads["SliceData"]["SlicePos"]
    table["position"] = np.stack([position[axis] for axis in ("Sag", "Cor", "Tra")], -1)
    table["slice_dir"] = _normals(heads["SliceData"]["Quaternion"].astype(float))
    flags = heads["EvalInfoMask"].astype(np.uint64)

    def has(*names: str) -> np.ndarray:
        return np.asarray((flags & np.uint64(sum(map(_bit, names)))) != 0)

    table["reversed"] = has("REFLECT")
    table["kind"] = np.select(
        [has("NOISEADJSCAN"), has(*PASSED_BY), has("PATREFANDIMASCAN"), has("PATREFSCAN")],
        [acquisitions.NOISE, acquisitions.OTHER, acquisitions.BOTH, acquisitions.CALIBRATION],
        acquisitions.IMAGE,
    )
    table["dwell_us"] = Protocol(measurement.protocol).number("sRXSPEC.alDwellTime[0]") / 1000
    noise = table["kind"] == acquisitions.NOISE
    table["dwell_us"] = np.nan_to_num(table["dwell_us"])
    table["dwell_us"][noise] = 1e6 / NOISE_HZ_PER_PIXEL / table["n_samples"][noise]
    return table


def _normals(quaternions: np.ndarray) -> np.ndarray:
    """Directions of the slices' normals, the third column of the rotation of (w, x, y, z)."""
    w, x, y, z = quaternions.T
    normal = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], -1)
    is_known = np.abs(quaternions).max(-1, keepdims=True) > 0
    return np.where(is_known, normal, 0)


def broken(name: str, problem: str) -> ValueError:
    return ValueError(
        f"{name}: {problem}. Expected Siemens raw data (.dat) of a Cartesian scan. Export it "
        "again, or leave it out."
    )
