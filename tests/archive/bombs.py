"""Small files that claim or inflate to much, and what else lies in folders than images."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pydicom
import samples
from pydicom.data import get_testdata_file
from wrong_values import png_file

Rng = np.random.Generator


def png_bomb(to: Path, rng: Rng) -> None:
    squeeze = zlib.compressobj(9)
    pixels = b"".join(squeeze.compress(bytes(2**20)) for _ in range(130)) + squeeze.flush()
    png_file(5792, 5792, 8, 6, pixels, to, rng)


def gzip_zeros(n_mib: int) -> bytes:
    """A gzip member that inflates to so many MiB of zeros; 1/1000 of it is written."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return b"".join(squeeze.compress(bytes(2**20)) for _ in range(n_mib)) + squeeze.flush()


def nifti_bomb(shape: tuple[int, ...], dtype: type, n_mib: int, to: Path, rng: Rng) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    first = gzip.compress(header.binaryblock + bytes(4), mtime=0)
    one = gzip_zeros(min(n_mib, 64))
    (to / "bomb.nii.gz").write_bytes(first + one * max(1, n_mib // 64))


def deflated_dicom_bomb(to: Path, rng: Rng) -> None:
    """Pieces that inflate by themselves, repeated: 4 GiB of zeros behind a true header."""
    image = samples.dicom_image()
    image.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    memory = io.BytesIO()
    image.save_as(memory, enforce_file_format=True)
    data = memory.getvalue()
    start = data.index(b"1.2.840.10008.1.2.1.99")
    meta_end = 132 + 12 + struct.unpack("<I", data[140:144])[0]
    assert start < meta_end
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = squeeze.compress(zlib.decompress(data[meta_end:], -zlib.MAX_WBITS))
    head += squeeze.flush(zlib.Z_FULL_FLUSH)
    piece = squeeze.compress(bytes(64 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    (to / "bomb.dcm").write_bytes(data[:meta_end] + head + piece * 64 + squeeze.flush())


def rle_bomb(to: Path, rng: Rng) -> None:
    image = samples.dicom_image(Rows=4000, Columns=4000)
    image.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
    runs = b"\x81\0" * (2**23)  # each two bytes become 128
    head = struct.pack("<16I", 2, 64, 64 + len(runs), *[0] * 13)
    image.PixelData = pydicom.encaps.encapsulate([head + runs + runs])
    image["PixelData"].is_undefined_length = True
    image.save_as(to / "bomb.dcm", enforce_file_format=True)


def nested_sequences(to: Path, rng: Rng) -> None:
    image = samples.dicom_image()
    memory = io.BytesIO()
    image.save_as(memory, enforce_file_format=True)
    inner = b"".join(
        b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        for _ in range(20000)
    )
    data = memory.getvalue()
    at = data.index(b"\x08\x00\x60\x00CS")  # before the modality
    (to / "nested.dcm").write_bytes(data[:at] + inner + data[at:])


def other(kind: str, to: Path, rng: Rng) -> None:
    if kind == "empty folder":
        (to / "nothing" / "inside").mkdir(parents=True)
    elif kind == "empty file":
        (to / "empty.dcm").touch()
    elif kind == "text":
        (to / "text.dcm").write_text("not an image\n" * 30)
    elif kind == "circle":
        (to / "a" / "b").mkdir(parents=True)
        (to / "a" / "b" / "again").symlink_to(to)
        (to / "self").symlink_to(to / "self")
        samples.write_series(to / "a" / "scan", 3)
    elif kind == "dangling":
        (to / "gone.dcm").symlink_to(to / "nowhere")
    elif kind == "fifo":
        os.mkfifo(to / "pipe.dcm")
    elif kind == "device":
        (to / "zero.nii").symlink_to("/dev/zero")
    elif kind == "deep":
        folder = to
        for _ in range(250):
            folder = folder / "d"
        folder.mkdir(parents=True)
    elif kind == "strange names":
        for name in (b"\xff\xfe.dcm", b"new\nline.nii", b"\x1b[31m.png", "\u202e.h5".encode()):
            Path(os.fsdecode(os.fsencode(to) + b"/" + name)).write_bytes(b"nothing")
    elif kind == "dicomdir":
        path = Path(str(get_testdata_file("DICOMDIR")))
        (to / "DICOMDIR").write_bytes(path.read_bytes())
    elif kind in ("zip", "locked zip"):
        with zipfile.ZipFile(to / "scans.zip", "w") as packed:
            packed.writestr("a.dcm", bytes(2000))
        if kind == "locked zip":
            data = bytearray((to / "scans.zip").read_bytes())
            data[6] |= 1
            (to / "scans.zip").write_bytes(bytes(data))
    elif kind in ("tar.gz", "tar"):
        with tarfile.open(to / f"scans.{kind}", "w:gz" if kind == "tar.gz" else "w") as packed:
            info = tarfile.TarInfo("a.nii")
            info.size = 2000
            packed.addfile(info, io.BytesIO(bytes(2000)))
    elif kind == "gzip text":
        (to / "x.nii.gz").write_bytes(gzip.compress(b"text" * 900, mtime=0))
    elif kind == "jpeg":
        values = samples.head_values((40, 30)).astype(np.uint8)
        PIL.Image.fromarray(values).save(to / "x.jpg")
    elif kind == "two sizes":
        for n in (20, 21):
            samples.write_png(to / f"{n}.png", samples.head_values((n, 9)).astype(np.uint8))
    elif kind == "colour":
        samples.write_png(to / "c.png", samples.head_values((9, 8, 3)).astype(np.uint8))
    elif kind == "hdr alone":
        header = nibabel.Nifti1Header()
        header["magic"] = b"ni1"
        (to / "x.hdr").write_bytes(header.binaryblock)
    elif kind == "zeros":
        (to / "zeros.nii").write_bytes(bytes(5000))
    elif kind == "unreadable json":
        samples.write_nifti(to / "h.nii", samples.head_values())
        (to / "h.json").write_bytes(b"[" * 50000)


OTHER = (
    "empty folder", "empty file", "text", "circle", "dangling", "fifo", "device", "deep",
    "strange names", "dicomdir", "zip", "locked zip", "tar.gz", "tar", "gzip text", "jpeg",
    "two sizes", "colour", "hdr alone", "zeros", "unreadable json",
)  # fmt: skip

NIFTI = {  # shape, type, MiB that follow the header
    "of 4 GiB": ((1024, 1024, 1024), np.float32, 4096),
    "behind a small header": ((7, 5, 4), np.int16, 4096),
    "at the limit": ((512, 512, 512), np.int16, 256),
    "of volumes": ((512, 512, 64, 60), np.float32, 4096),
}
