"""What a file is, by its first bytes; its name is not believed."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from synthlib.formats import bart_cfl, fastmri_images, foreign, nifti, stacks
from synthlib.formats.dicom.header import looks_bare
from synthlib.formats.nifti.header import GZIP
from synthlib.formats.refusals import OtherKind, Refusal
from synthlib.records import MADE_BY_US

UNPACK = "unpack it first, and give the folder"
PACKED = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstandard file"),
)
# Of files that begin with their numbers; what begins with a text or a mark is known by it.
OF_ENDINGS = {
    ".rec": "the voxels of a Philips PAR/REC image; export DICOM or NIfTI",
    ".brik": "the voxels of an AFNI image (HEAD, BRIK); convert it to NIfTI",
    ".img": "voxels of an image without their header (.hdr); convert it to NIfTI",
    ".dat": "of no image format; if it is raw data of a Siemens scanner, export the images",
}
OTHER = "of no image format that synthlib reads (DICOM, NIfTI, fastMRI HDF5, PNG, NPY)"


def kind(path: str) -> str:
    """ "dicom", "nifti", "fastmri", "png" or "npy"; "part" for what belongs to another file.

    Raises:
        Refusal: of no kind that is read.
        OSError: it cannot be opened or read.
    """
    with Path(path).open("rb") as file:
        start = file.read(1024)
        size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise Refusal("an empty file")
    if start[128:132] == b"DICM":
        return "dicom"
    if start[:8] == fastmri_images.SIGNATURE:
        return "fastmri"
    if start[:8] == stacks.PNG:
        return "png"
    if start[:6] == stacks.NPY:
        return "npy"
    for magic, what in PACKED:
        if start.startswith(magic):
            locked = what.startswith("a zip") and len(start) > 6 and start[6] & 1
            raise OtherKind(f"{what}{', locked with a password' if locked else ''}; {UNPACK}")
    if start[257:262] == b"ustar":
        raise OtherKind(f"a tar archive; {UNPACK}")
    if start[:2] == GZIP:
        return _packed(start)
    if nifti.looks_like(start):
        return "nifti"
    if looks_bare(start):
        return "dicom"
    if _belongs(path):
        return "part"
    if bart_cfl.is_header(path) and Path(path).with_suffix(".cfl").is_file():
        if f"# Creator\n{bart_cfl.MADE_BY_US}".encode() in start:
            raise OtherKind(f"{MADE_BY_US}; keep the folder of results out of the inputs")
        made = ", written by synthlib" if b"# Creator\nsynthlib" in start else ""
        raise OtherKind(f"raw data of BART{made}; expected magnitude images")
    if path.lower().endswith((".nii", ".nii.gz", ".hdr")) and not foreign.is_analyze(start):
        raise Refusal("named as NIfTI, but its header is none")
    raise OtherKind(foreign.name(start) or _by_ending(path) or OTHER)


def _packed(start: bytes) -> str:
    try:
        inside = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, 1024)
    except zlib.error:
        raise Refusal("a gzip file that is damaged") from None
    if inside[257:262] == b"ustar":
        raise OtherKind(f"a packed tar archive (tar.gz); {UNPACK}")
    if nifti.looks_like(inside):
        return "nifti"
    if inside[128:132] == b"DICM":
        return "dicom"
    if foreign.name(inside):
        raise OtherKind(f"packed with gzip, {foreign.name(inside)}")
    raise Refusal("a gzip file that holds neither NIfTI nor DICOM; unpack it first")


def _by_ending(path: str) -> str:
    """What a file of numbers without any header belongs to, by its name alone."""
    name = Path(path).name.lower()
    if name == "2dseq" or name in ("fid", "ser", "rawdata.job0"):
        return "voxels or raw data of a Bruker ParaVision scan; export DICOM or NIfTI"
    return OF_ENDINGS.get(Path(name).suffix, "")


def _belongs(path: str) -> bool:
    """The .img or .cfl of a .hdr, or the .json of an image."""
    base, ending = os.path.splitext(path)  # noqa: PTH122 (a name may be no valid Path suffix)
    owners = {".img": (".hdr",), ".cfl": (".hdr",), ".json": (".nii", ".nii.gz", ".hdr")}
    beside = owners.get(ending.lower(), ())
    return any(Path(base + other).is_file() for other in beside)
