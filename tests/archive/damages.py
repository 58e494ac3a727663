"""Ways to damage the bytes of a file, and the files: from measured data, pydicom's, and our own."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import samples
from pydicom.data import get_testdata_file

Rng = np.random.Generator
TESTS_OF_PYDICOM = (
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_truncated.dcm",
)


# Of each kind of trap among the cases of real scanners, one file.
CASES = (
    "adc_told_by_description", "enhanced_magnitude_and_field_map", "jpeg_lossless", "mp2rage_uni",
    "phase_told_by_comment", "single_slices_called_mosaic", "swi", "uih_mosaic",
)  # fmt: skip


def sources(real: Path) -> dict[str, tuple[str, bytes]]:
    """Name of the file and its bytes, by kind."""
    found: dict[str, tuple[str, bytes]] = {}
    for number, path in enumerate(sorted((real / "dicom_t1_axial").glob("*.dcm"))[:2]):
        found[f"dicom{number}"] = (path.name, path.read_bytes())
    for name in TESTS_OF_PYDICOM:
        found[name] = (name, Path(str(get_testdata_file(name))).read_bytes())
    memory = io.BytesIO()
    samples.enhanced(n_slices=5).save_as(memory, enforce_file_format=True)
    found["enhanced"] = ("enhanced.dcm", memory.getvalue())
    nii = (real / "nifti" / "gre_mag_te10.nii").read_bytes()
    found["nifti"] = ("head.nii", nii)
    found["nifti.gz"] = ("head.nii.gz", gzip.compress(nii, 1, mtime=0))
    raw = real / "singlecoil" / "head_sagittal_t1_1coil.h5"
    for case in CASES:
        path = sorted(path for path in (real / "cases" / case).rglob("*") if path.is_file())[0]
        found[case] = (f"{case}.dcm", path.read_bytes())
    packed = gzip.compress(found["dicom0"][1], 1, mtime=0)
    found["dicom.gz"] = ("slice.dcm.gz", packed)
    for name, values in (("NaN around", np.nan), ("ringing", -0.5)):
        found[name] = ("resampled.nii", _resampled(values))
    found["analyze"] = ("old.hdr", _analyze())
    found["mgh"] = ("head.mgh", _mgh())
    found["hdf5"] = (raw.name, raw.read_bytes())
    memory = io.BytesIO()
    np.save(memory, samples.head_values((6, 30, 20)))
    found["npy"] = ("stack.npy", memory.getvalue())
    memory = io.BytesIO()
    PIL.Image.fromarray(samples.head_values((60, 41)).astype(np.uint16)).save(memory, "png")
    found["png"] = ("slice1.png", memory.getvalue())
    return found


def _resampled(outside: float) -> bytes:
    """A NIfTI whose rim is of one value."""
    values = samples.head_values((9, 8, 6)).astype(np.float32)
    values[:2], values[:, -1] = outside, outside
    return nibabel.Nifti1Image(values, np.eye(4)).to_bytes()


def _analyze() -> bytes:
    header = nibabel.AnalyzeHeader()
    header.set_data_shape((9, 8, 6))
    header.set_data_dtype(np.int16)
    return header.binaryblock


def _mgh() -> bytes:
    return nibabel.MGHImage(samples.head_values((9, 8, 6)), np.eye(4)).to_bytes()


# --- how: bytes in, bytes out ------------------------------------------------------------


def truncated(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def truncated_early(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(0, min(2048, len(data))))]


def flipped(data: bytes, rng: Rng, end: int | None = None, n: int = 8) -> bytes:
    changed = bytearray(data)
    for at in rng.integers(0, min(end or len(data), len(data)), n):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def flipped_early(data: bytes, rng: Rng) -> bytes:
    return flipped(data, rng, 2048, int(rng.integers(1, 12)))


def blanked(data: bytes, rng: Rng) -> bytes:
    at, n = int(rng.integers(len(data))), int(rng.integers(1, 5000))
    return data[:at] + bytes(min(n, len(data) - at)) + data[at + n :]


def scrambled(data: bytes, rng: Rng) -> bytes:
    at, n = int(rng.integers(min(4096, len(data)))), int(rng.integers(1, 400))
    return data[:at] + rng.bytes(n) + data[at + n :]


def cut_out(data: bytes, rng: Rng) -> bytes:
    at, n = int(rng.integers(min(4096, len(data)))), int(rng.integers(1, 300))
    return data[:at] + data[at + n :]


def doubled(data: bytes, rng: Rng) -> bytes:
    at, n = int(rng.integers(min(4096, len(data)))), int(rng.integers(1, 300))
    return data[: at + n] + data[at:]


def huge_lengths(data: bytes, rng: Rng) -> bytes:
    """Four bytes that may be a length say 2 or 4 GiB, or something near."""
    changed = bytearray(data)
    for at in rng.integers(132, min(2048, len(data) - 4), 6) // 2 * 2:
        value = (0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0x80000000, 0)[int(rng.integers(5))]
        changed[at : at + 4] = struct.pack("<I", value)
    return bytes(changed)


DAMAGES = (
    truncated, truncated_early, flipped, flipped_early, blanked, scrambled, cut_out, doubled,
    huge_lengths,
)  # fmt: skip


def one_file(
    name: str, data: bytes, damage: Callable[[bytes, Rng], bytes], to: Path, rng: Rng
) -> None:
    (to / name).write_bytes(damage(data, rng))


def one_of_a_series(
    whole: tuple[str, bytes], hurt: tuple[str, bytes], damage: Callable, to: Path, rng: Rng
) -> None:
    (to / whole[0]).write_bytes(whole[1])
    (to / hurt[0]).write_bytes(damage(hurt[1], rng))


def longer(data: bytes, rng: Rng) -> bytes:
    return data + bytes(1000)


def preamble(data: bytes, rng: Rng) -> bytes:
    return rng.bytes(128) + data[128:]
