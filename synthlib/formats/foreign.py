"""Formats that are not read, named by their first bytes, so that a user knows what to convert."""

from __future__ import annotations

import struct

NIFTI = "convert it to NIfTI"
DICOM = "export DICOM or NIfTI"
PICTURES = "export DICOM, NIfTI or PNG"
# Where in the file, which bytes, what it is, what to do; the first that fits is told.
_STARTS = (
    (0, b"NRRD", "an NRRD image", NIFTI),
    (0, b"CDF\x01", "a MINC image (MINC 1)", NIFTI),
    (0, b"CDF\x02", "a MINC image (MINC 1)", NIFTI),
    (0, b"##TITLE", "parameters of a Bruker ParaVision scan", DICOM),
    (0, b"# === DATA DESCRIPTION FILE", "the header of a Philips PAR/REC image", DICOM),
    (0, b"ObjectType", "a MetaImage (MHA, MHD)", NIFTI),
    (0, b"NDims", "a MetaImage (MHA, MHD)", NIFTI),
    (0, b"MATLAB", "a MATLAB file", "save the images as NIfTI or NPY"),
    (0, b"GIF8", "a GIF picture", DICOM),
    (0, b"BM", "a BMP picture", DICOM),
    (0, b"II*\0", "a TIFF picture", DICOM),
    (0, b"MM\0*", "a TIFF picture", DICOM),
    (0, b"\xff\xd8\xff", "a JPEG picture, which has lost what counts", PICTURES),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", PICTURES),
    (4, b"jP  ", "a JPEG 2000 picture", PICTURES),
    (0, b"%PDF", "a PDF document", "leave it out"),
    (0, b"<?xml", "an XML document", "leave it out"),
    (0, b"<!DOCTYPE", "a web page", "leave it out"),
    (0, b"SQLite format 3", "a data base", "leave it out"),
    (0, b"\x7fELF", "a program", "leave it out"),
    (0, b"MZ", "a program", "leave it out"),
)
READ_ELSEWHERE = (
    (128, b"DICM", "a DICOM image"),
    (344, b"n+1\0", "a NIfTI image"),
    (344, b"ni1\0", "a NIfTI image"),
    (4, b"n+2\0", "a NIfTI image"),
    (0, b"\x1f\x8b", "packed with gzip"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\x93NUMPY", "a NPY array"),
)
MGH_TYPES = (0, 1, 3, 4)  # unsigned bytes, integers, floats, short integers
TEXT_BYTES = frozenset(range(32, 256)) | {9, 10, 12, 13}


def name(start: bytes) -> str:
    """What the first bytes of a file say it is, and what to do; "" where they say nothing."""
    for offset, magic, what, advice in _STARTS:
        if start[offset : offset + len(magic)] == magic:
            return f"{what}; {advice}"
    if is_analyze(start):
        return (
            f"an Analyze 7.5 image, which does not tell the patient's left from right; {NIFTI}, "
            "with the right directions"
        )
    if is_mgh(start):
        return f"a FreeSurfer image (MGH, MGZ); {NIFTI} (mri_convert)"
    if b"type" in start[:32] and b"-attribute" in start[:64]:
        return f"the header of an AFNI image (HEAD, BRIK); {NIFTI}"
    if start and set(start) <= TEXT_BYTES:
        return "a text file; leave it out"
    return ""


def any_name(start: bytes) -> str:
    """As :func:`name`, without advice, and of formats that are read elsewhere, too."""
    for offset, magic, what in READ_ELSEWHERE:
        if start[offset : offset + len(magic)] == magic:
            return what
    return name(start).partition(";")[0]


def is_analyze(start: bytes) -> bool:
    """348 bytes long by its own words, with three or four axes, and without NIfTI's mark."""
    if len(start) < 348 or start[344:348] in (b"n+1\0", b"ni1\0"):
        return False
    for order in "<>":
        (size,) = struct.unpack(f"{order}i", start[:4])
        n_axes, *axes = struct.unpack(f"{order}8h", start[40:56])
        if size == 348 and 2 <= n_axes <= 7 and min(axes[: min(n_axes, 3)]) > 0:
            return True
    return False


def is_mgh(start: bytes) -> bool:
    """Version 1, four axes and a type of numbers, all big-endian."""
    if len(start) < 28:
        return False
    version, *axes, kind, _ = struct.unpack(">7i", start[:28])
    return version == 1 and min(axes) > 0 and max(axes) < 2**15 and kind in MGH_TYPES


def hdf5_name(groups: set[str]) -> str:
    """What the names at the top of an HDF5 file say it is; "" where they say nothing."""
    if "minc-2.0" in groups:
        return f"a MINC image (MINC 2); {NIFTI}"
    if "#refs#" in groups:
        return "a MATLAB file (7.3); save the images as NIfTI or NPY"
    if "dataset" in groups:
        return "raw data of ISMRMRD (MRD); expected magnitude images"
    if "maps" in groups:
        return "coil maps; expected magnitude images"
    return ""
