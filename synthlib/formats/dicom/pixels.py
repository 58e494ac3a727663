"""Pixels of one frame: unpacked here where they are plain, else by pydicom's decoders."""

from __future__ import annotations

import numpy as np
from pydicom import pixels
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import UID

from synthlib.formats import quiet
from synthlib.formats.dicom.header import BIG_ENDIAN, DEFLATED, Header
from synthlib.formats.refusals import Refusal, by, require_voxels

PLAIN = {"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED.decode()}
RLE = "1.2.840.10008.1.2.5"
MAX_RLE = 2**24  # bytes of a frame: what a damaged one can swell to is 64 times as much
JPEG = "1.2.840.10008.1.2.4."
DECODERS = {  # name and the packages that pydicom can use
    f"{JPEG}50": ("JPEG baseline", "pillow"),
    f"{JPEG}51": ("JPEG of 12 bits", "python-gdcm"),
    f"{JPEG}57": ("lossless JPEG", "python-gdcm"),
    f"{JPEG}70": ("lossless JPEG", "python-gdcm"),
    f"{JPEG}80": ("JPEG-LS", "python-gdcm"),
    f"{JPEG}81": ("JPEG-LS", "python-gdcm"),
    f"{JPEG}90": ("JPEG 2000", "pillow"),
    f"{JPEG}91": ("JPEG 2000", "pillow"),
    f"{JPEG}201": ("high-throughput JPEG 2000", "pylibjpeg and pylibjpeg-openjpeg"),
    f"{JPEG}202": ("high-throughput JPEG 2000", "pylibjpeg and pylibjpeg-openjpeg"),
    f"{JPEG}203": ("high-throughput JPEG 2000", "pylibjpeg and pylibjpeg-openjpeg"),
    RLE: ("RLE", "pydicom"),
}
LOSSY = {f"{JPEG}{number}" for number in (50, 51, 81, 91, 203)}


def magnitude(frame: Header, dataset: Dataset, index: int) -> np.ndarray:
    """Frame `index` of a file, slope and intercept applied.

    Args:
        frame: the frame's header.
        dataset: of the whole file, with pixels.

    Returns:
        float32 (y, x).

    Raises:
        Refusal: no pixels, too few, of a kind that is not read, or no decoder.
    """
    stored = stored_numbers(frame, dataset, index)
    slope, intercept = frame.number("RescaleSlope"), frame.number("RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    values = stored.astype(np.float32)
    padding = frame.number("PixelPaddingValue")
    if padding is not None and frame.whole("PixelRepresentation") == 1 and padding >= 2**15:
        padding -= 2**16  # unpacked as if it had no sign
    if (slope, intercept) != (1.0, 0.0):
        values = values * np.float32(slope) + np.float32(intercept)
    if padding is not None and padding < 0:
        values[stored == padding] = 0  # outside of the picture; a padding of 0 is air anyway
    return values


def shape(frame: Header) -> tuple[int, int]:
    """(rows, columns); refused if there are none or too many."""
    size = frame.whole("Rows"), frame.whole("Columns")
    require_voxels(*size)
    return size


def is_lossy(syntax: str) -> bool:
    return syntax in LOSSY


def stored_numbers(frame: Header, dataset: Dataset, index: int) -> np.ndarray:
    """One slice as it is stored, whole numbers (y, x), also of a picture of many slices."""
    if frame.corner is None:
        return _stored(frame, dataset, index)
    (top, left), (ny, nx) = frame.corner, shape(frame)
    picture = _stored(Header([dataset], frame.syntax, frame.n_bytes), dataset, 0)
    return picture[top : top + ny, left : left + nx]


def _stored(frame: Header, dataset: Dataset, index: int) -> np.ndarray:
    size = shape(frame)
    allocated, bits = frame.whole("BitsAllocated"), frame.whole("BitsStored")
    high, signed = frame.whole("HighBit", bits - 1), frame.whole("PixelRepresentation") == 1
    if 0x7FE00010 not in dataset:
        floats = any(tag in dataset for tag in (0x7FE00008, 0x7FE00009))
        raise Refusal("pixels stored as floating point" if floats else "no pixels")
    if (
        allocated not in (8, 16, 32)
        or not 1 <= bits <= allocated
        or not bits <= high + 1 <= allocated
    ):
        raise Refusal(
            f"pixels of {bits} in {allocated} bits; expected 8, 16 or 32 bits for a pixel"
        )
    if frame.syntax in PLAIN:
        stored = _plain(dataset, size, allocated, index, frame.syntax == BIG_ENDIAN)
        return _used_bits(stored, allocated, bits, high, signed)
    return _decoded(frame, dataset, size, index)


def _plain(
    dataset: Dataset, size: tuple[int, int], allocated: int, index: int, big_endian: bool
) -> np.ndarray:
    value = dataset.get_item(0x7FE00010).value
    data = value if isinstance(value, bytes) else b""
    count, width = size[0] * size[1], allocated // 8
    if len(data) < (index + 1) * count * width:
        raise Refusal(
            f"pixels that cannot be decoded: {len(data)} bytes for frame {index + 1} of {by(size)} "
            f"pixels of {allocated} bits; the file is truncated"
        )
    if big_endian and width == 1:  # words of two bytes, as the standard's OW stores them
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    kind = np.dtype(f"{'>' if big_endian else '<'}u{width}")
    return np.frombuffer(data, kind, count, index * count * width).reshape(size)


def _used_bits(
    stored: np.ndarray, allocated: int, bits: int, high: int, signed: bool
) -> np.ndarray:
    """Without what overlays may keep in the unused bits, and with its sign."""
    width = stored.dtype.itemsize
    stored = stored.astype(f"=u{width}", copy=False)
    if bits == allocated:
        return stored.view(f"=i{width}") if signed else stored
    if not signed:
        return (stored >> (high + 1 - bits)) & ((1 << bits) - 1)
    left = stored << (allocated - 1 - high)
    return left.view(f"=i{width}") >> (allocated - bits)


def _decoded(frame: Header, dataset: Dataset, size: tuple[int, int], index: int) -> np.ndarray:
    name, packages = DECODERS.get(frame.syntax, ("an unknown transfer syntax", ""))
    if not packages:
        raise Refusal("pixels in an unknown transfer syntax; export the images uncompressed")
    missing = Refusal(
        f"pixels compressed with {name}, for which no decoder is installed; install {packages}, or "
        "export the images uncompressed"
    )
    decoder = pixels.get_decoder(UID(frame.syntax))
    if not decoder.is_available:
        raise missing
    try:
        with quiet.hush():
            data = get_frame(
                dataset.PixelData, index, number_of_frames=frame.whole("NumberOfFrames", 1)
            )
            found = stream_size(data)
            if found not in (None, size):
                raise Refusal(
                    f"a compressed picture of {by(found or ())} pixels in one of {by(size)}"
                )
            largest = size[0] * size[1] * frame.whole("BitsAllocated") // 8
            if frame.syntax == RLE and (largest > MAX_RLE or len(data) > 1.1 * largest + 1024):
                raise Refusal(f"{len(data)} bytes of RLE for a picture of {by(size)} pixels")
            stored, _ = decoder.as_array(dataset, index=index, raw=True)
    except Refusal:
        raise
    except Exception:  # every decoder has its own kinds; one that cannot do 12 bits says so here
        if frame.syntax == f"{JPEG}51":
            raise missing from None
        raise Refusal(f"pixels that cannot be decoded: damaged {name}") from None
    if stored.shape != size:
        raise Refusal(f"a compressed picture of {by(stored.shape)} pixels in one of {by(size)}")
    return stored


def stream_size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG or JPEG 2000 stream claims; None if it is neither."""
    start = data.find(b"\xff\x4f\xff\x51", 0, 512)  # JPEG 2000: start of stream, then its size
    if start >= 0 and len(data) >= start + 24:
        x, y, x0, y0 = (
            int.from_bytes(data[start + at : start + at + 4], "big") for at in (8, 12, 16, 20)
        )
        return y - y0, x - x0
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of a frame
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(
                data[at + 7 : at + 9], "big"
            )
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None
