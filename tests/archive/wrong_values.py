"""Well-formed files with a wrong value in the right place."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import samples

Rng = np.random.Generator


def dicom_values(word: str, value: object, to: Path, rng: Rng) -> None:
    """A series of two with a wrong value, also where its type does not allow it."""
    for number in range(2):
        image = samples.dicom_image(number)
        with pydicom.config.disable_value_validation():
            try:
                setattr(image, word, value)
            except (ValueError, OverflowError):  # as text, which may say anything
                texts = value if isinstance(value, list) else [value]
                image.add_new(word, "LO", [str(text) for text in texts])
            image.save_as(to / f"{number}.dcm", enforce_file_format=True)


DICOM_VALUES: tuple[tuple[str, object], ...] = (
    ("Rows", 0), ("Rows", 65535), ("Columns", 65535), ("Columns", 1), ("NumberOfFrames", 2**31 - 1),
    ("NumberOfFrames", -1), ("NumberOfFrames", 0), ("NumberOfFrames", "many"),
    ("BitsAllocated", 12), ("BitsAllocated", 64), ("BitsAllocated", 0), ("BitsStored", 0),
    ("BitsStored", 40), ("HighBit", 3), ("HighBit", 60), ("PixelRepresentation", 9),
    ("SamplesPerPixel", 3), ("PhotometricInterpretation", "RGB"),
    ("PhotometricInterpretation", ""),
    ("RescaleSlope", "nan"), ("RescaleSlope", "1e308"), ("RescaleSlope", "-1"),
    ("RescaleIntercept", "-1e30"), ("RescaleIntercept", "inf"), ("PixelSpacing", [0, 0]),
    ("PixelSpacing", ["1", "x"]), ("PixelSpacing", [-1, 1e300]), ("SliceThickness", "thin"),
    ("ImagePositionPatient", [0, 0]), ("ImagePositionPatient", ["nan", 0, 0]),
    ("ImagePositionPatient", [1e30, 0, 0]), ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
    ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
    ("ImageOrientationPatient", [2, 0, 0, 0, 2, 0]),
    ("Modality", "CT"), ("Modality", ""), ("SOPClassUID", "1.2.3"), ("SeriesInstanceUID", ""),
    ("PixelData", b""), ("PixelData", b"\1"), ("PixelData", bytes(70)), ("EchoTime", "-5"),
    ("AcquisitionMatrix", [0, 0, 0, 0]), ("AcquisitionMatrix", [65535] * 4),
    ("MagneticFieldStrength", "strong"), ("ImageType", ["\\"]), ("ImageType", []),
    ("SpecificCharacterSet", "NONSENSE"), ("InstanceNumber", "1.5.2"),
    ("PixelPaddingValue", 65535), ("TemporalPositionIdentifier", 2**31 - 1),
)  # fmt: skip


def nifti_values(word: str, value: object, to: Path, rng: Rng) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((7, 5, 4))
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    with np.errstate(all="ignore"):
        header[word] = value
    data = header.binaryblock + bytes(4) + samples.head_values().tobytes()
    (to / "head.nii").write_bytes(data)
    (to / "head2.nii.gz").write_bytes(gzip.compress(data, 1, mtime=0))


NIFTI_VALUES: tuple[tuple[str, object], ...] = (
    ("dim", [3, 32767, 32767, 32767, 1, 1, 1, 1]), ("dim", [4, 7, 5, 4, 32767, 1, 1, 1]),
    ("dim", [7, 32767, 32767, 32767, 32767, 32767, 32767, 32767]),
    ("dim", [3, 7, -5, 4, 1, 1, 1, 1]),
    ("dim", [3, 0, 5, 4, 1, 1, 1, 1]), ("dim", [0, 7, 5, 4, 1, 1, 1, 1]),
    ("dim", [99, 7, 5, 4, 1, 1, 1, 1]), ("dim", [2, 7, 20, 1, 1, 1, 1, 1]),
    ("dim", [3, 8, 5, 4, 1, 1, 1, 1]), ("datatype", 0), ("datatype", 999), ("datatype", 64),
    ("datatype", 32), ("datatype", 128), ("datatype", 1536), ("datatype", 1), ("bitpix", 7),
    ("vox_offset", np.nan), ("vox_offset", np.inf), ("vox_offset", -50), ("vox_offset", 1e30),
    ("vox_offset", 353), ("scl_slope", np.inf), ("scl_slope", -1), ("scl_slope", 3e38),
    ("scl_inter", np.nan), ("scl_inter", 3e38), ("srow_x", [np.nan] * 4), ("srow_x", [0] * 4),
    ("srow_y", [1e30, 0, 0, 0]), ("srow_z", [1, 0, 0, 0]), ("pixdim", [1, 0, 0, 0, 0, 0, 0, 0]),
    ("sizeof_hdr", 0), ("sizeof_hdr", 540), ("magic", b"ni1"), ("magic", b"n+9"),
    ("xyzt_units", 255), ("dim_info", 255), ("sform_code", -7), ("qform_code", 32767),
)  # fmt: skip


def hdf5_file(kind: str, to: Path, rng: Rng) -> None:
    with h5py.File(to / "scan.h5", "w") as file:
        if kind == "huge":
            file.create_dataset(
                "reconstruction_rss", (10**6, 10**6, 10**6), "f4", chunks=(1, 64, 64)
            )
        elif kind == "huge kspace":
            file.create_dataset("kspace", (4, 64, 4096, 4096), "c8", chunks=(1, 1, 64, 64))
        elif kind == "swollen":  # nothing is stored, all is fill value
            file.create_dataset("reconstruction_rss", (8, 4096, 4096), "f4", chunks=(1, 64, 64))
        elif kind == "huge chunk":
            file.create_dataset(
                "reconstruction_rss", (2, 20000, 20000), "f4", chunks=(1, 20000, 20000)
            )
        elif kind == "external":
            file["reconstruction_rss"] = h5py.ExternalLink("/etc/passwd", "/x")
        elif kind == "circle":
            file["reconstruction_rss"] = h5py.SoftLink("/reconstruction_rss")
        elif kind == "group":
            file.create_group("reconstruction_rss")
        elif kind == "texts":
            file["reconstruction_rss"] = np.array([[["a", "b"]]], dtype=h5py.string_dtype())
        elif kind == "complex":
            file["reconstruction_rss"] = np.ones((2, 3, 4), np.complex64)
        elif kind == "flat":
            file["reconstruction_rss"] = np.ones(5, np.float32)
        elif kind == "nan":
            file["reconstruction_rss"] = np.full((2, 3, 4), np.nan, np.float32)
        elif kind == "header bomb":
            file["reconstruction_rss"] = np.ones((2, 3, 4), np.float32)
            lines = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
            file["ismrmrd_header"] = f'<!DOCTYPE x [<!ENTITY a0 "ha">{lines}]><x>&a11;</x>'
        elif kind == "odd header":
            file["reconstruction_rss"] = np.ones((2, 3, 4), np.float32)
            file["ismrmrd_header"] = np.arange(5)
            file.attrs["patient_id"] = np.arange(4)
            file.attrs["acquisition"] = np.void(b"\1\2")


HDF5 = (
    "huge", "huge kspace", "swollen", "huge chunk", "external", "circle", "group", "texts",
    "complex", "flat", "nan", "empty", "header bomb", "odd header",
)  # fmt: skip


def npy_file(header: bytes, to: Path, rng: Rng) -> None:
    header = header.ljust(117) + b"\n"
    data = (
        b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + samples.head_values().tobytes()
    )
    (to / "x.npy").write_bytes(data)


NPY = (
    b"{'descr': '<i2', 'fortran_order': False, 'shape': (99999, 99999, 99999)}",
    b"{'descr': '<i2', 'fortran_order': False, 'shape': (-7, 5, 4)}",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (7, 5, 4)}",
    b"{'descr': '<c8', 'fortran_order': False, 'shape': (7, 5)}",
    b"{'descr': '<i2', 'fortran_order': True, 'shape': (7, 5, 5)}",
    b"{'descr': '<i2', 'fortran_order': False, 'shape': 7}",
    b"{'descr': '<i2', 'fortran_order': False, 'shape': (7, 5, 4), 'more': 1}",
    b"__import__('os').system('touch owned')",
    b"[" * 110,
    b"",
)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(
    width: int, height: int, depth: int, colour: int, pixels: bytes, to: Path, rng: Rng
) -> None:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    (to / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)


PNG = (  # width, height, bits, colour type
    (2**31 - 1, 2**31 - 1, 8, 0), (40000, 40000, 1, 0), (5000, 5000, 8, 6), (0, 9, 8, 0),
    (9, 9, 3, 7),
)  # fmt: skip
