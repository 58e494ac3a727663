"""A DICOM file's header, its values taken straight from their bytes.

pydicom finds the elements; turning each into an object costs more than finding
them all, and warns with what it holds. So only the few that are asked for are
unpacked here, and what is no number is None.
"""

from __future__ import annotations

import functools
import io
import math
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pydicom
import pydicom.misc
import pydicom.pixels.decoders
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from synthlib.formats import quiet
from synthlib.formats.refusals import MAX_BYTES, Refusal

quiet.teach((pydicom.misc,), ("pydicom",))

MAX_INFLATED = 2**28
DEFLATED = b"1.2.840.10008.1.2.1.99"
IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # float, double, integer
BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "US or SS": "H"}
# The parts of an enhanced image's functional groups that are of use, each with one item.
GROUPS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "FrameContentSequence",
    "FrameAnatomySequence",
    "MREchoSequence",
    "MRImageFrameTypeSequence",
    "MRDiffusionSequence",
    "MRTimingAndRelatedParametersSequence",
    "MRModifierSequence",
    "MRImagingModifierSequence",
    "MRFOVGeometrySequence",
)


class Header:
    """Values by keyword; of several layers of elements, the first that has one tells it."""

    def __init__(self, layers: Sequence[Dataset], syntax: str, n_bytes: int = 0) -> None:
        """Begin with what one file holds.

        Args:
            layers: from the most to the least particular.
            syntax: UID of the transfer syntax.
            n_bytes: length of the file.
        """
        self.layers, self.syntax, self.n_bytes = layers, syntax, n_bytes

    def __contains__(self, keyword: str) -> bool:
        return self._element(keyword) is not None

    def texts(self, keyword: str) -> list[str]:
        """The values as text, without padding; none: []."""
        element = self._element(keyword)
        if element is None:
            return []
        value = element.value
        if isinstance(value, bytes):
            text = value.decode("utf-8", "replace")
        elif isinstance(value, str):
            text = value
        elif isinstance(value, Sequence):
            text = "\\".join(map(str, value))
        else:
            text = "" if value is None else str(value)
        parts = [part.strip(" \0\n\r\t") for part in text.split("\\")]
        return parts if any(parts) else []

    def text(self, keyword: str) -> str:
        return "\\".join(self.texts(keyword))

    def codes(self, keyword: str) -> list[str]:
        """Words in capitals."""
        return [text.upper() for text in self.texts(keyword)]

    def numbers(self, keyword: str, count: int | None = None) -> list[float] | None:
        """Finite numbers; None where there are none, other than `count`, or something else."""
        element = self._element(keyword)
        if element is None:
            return None
        values = self._binary(element) or [_number(text) for text in self.texts(keyword)]
        if not values or None in values or (count is not None and len(values) != count):
            return None
        return [value for value in values if value is not None]

    def number(self, keyword: str) -> float | None:
        """The first number."""
        values = self.numbers(keyword)
        return values[0] if values else None

    def whole(self, keyword: str, default: int = 0) -> int:
        """The first number, if it is whole."""
        value = self.number(keyword)
        return int(value) if value is not None and value == int(value) else default

    def items(self, keyword: str) -> list[Dataset]:
        """Items of a sequence."""
        tag = _tag(keyword)
        for layer in self.layers:
            if tag in layer:
                value = layer[tag].value
                return list(value) if layer[tag].VR == "SQ" and value else []
        return []

    def below(self, item: Dataset) -> Header:
        """The header of an item by itself."""
        return Header([item], self.syntax)

    def _element(self, keyword: str) -> pydicom.DataElement | RawDataElement | None:
        tag = _tag(keyword)
        for layer in self.layers:
            if tag in layer:
                element = layer.get_item(tag)
                if element is not None and element.value is not None:
                    return element
        return None

    @staticmethod
    def _binary(element: pydicom.DataElement | RawDataElement) -> list[float | None]:
        if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
            return []
        kind = element.VR if element.VR in BINARY else None
        if element.VR in (None, "UN"):
            kind = dictionary_VR(element.tag)
        if kind not in BINARY:
            return []
        code, order = BINARY[kind], "<" if element.is_little_endian else ">"
        count = len(element.value) // struct.calcsize(code)
        values = struct.unpack_from(f"{order}{count}{code}", element.value)
        return [float(value) if math.isfinite(value) else None for value in values]


@functools.cache
def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return BaseTag(tag)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read(path: str | Path, *, pixels: bool) -> tuple[Header, Dataset]:
    """The header of a file, and pydicom's data set, with or without its pixels.

    Raises:
        Refusal: not DICOM, damaged, or larger than what is held in memory.
        OSError: the file cannot be opened or read.
    """
    with quiet.hush(), Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise Refusal(f"a DICOM file of {size >> 20} MiB; at most {MAX_BYTES >> 20} are read")
        start = file.read(1024)
        file.seek(0)
        if DEFLATED in start:
            dataset, syntax = _inflated(file, pixels), DEFLATED.decode()
        else:
            dataset, syntax = _plain(file, start, pixels)
    return Header([dataset], syntax, size), dataset


def _plain(file: BinaryIO, start: bytes, pixels: bool) -> tuple[Dataset, str]:
    # a length may claim 4 GiB: what is in memory cannot be read beyond its end
    source = io.BytesIO(file.read()) if pixels else file
    try:
        dataset = pydicom.dcmread(source, stop_before_pixels=not pixels, force=looks_bare(start))
    except InvalidDicomError:
        raise Refusal("not a DICOM file") from None
    meta = dataset.file_meta.get_item(0x00020010) if hasattr(dataset, "file_meta") else None
    syntax = ""
    if meta is not None and meta.value:
        value = meta.value
        syntax = (
            value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        ).strip(" \0")
    return dataset, syntax


def _inflated(file: BinaryIO, pixels: bool) -> Dataset:
    """The elements of a deflated file; pydicom would inflate whatever it is given."""
    packed = io.BytesIO(file.read())
    packed.seek(132)
    read_dataset(packed, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = unpacker.decompress(packed.read(), MAX_INFLATED)
    except zlib.error:
        raise Refusal("a deflated file that is damaged; export it again") from None
    if not unpacker.eof and unpacker.unconsumed_tail:
        raise Refusal(f"a deflated file of more than {MAX_INFLATED >> 20} MiB; export it plainly")
    stop = None if pixels else (lambda tag, vr, length: tag in PIXELS)
    return read_dataset(io.BytesIO(plain), False, True, stop_when=stop)


def looks_bare(start: bytes) -> bool:
    """Do these first bytes look like elements without the preamble that files should have?"""
    if len(start) < 8 or start[128:132] == b"DICM":
        return False
    group, element, length = struct.unpack("<HHI", start[:8])
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return group in (0x0002, 0x0008) and element < 0x0100 and (explicit or length < 1024)


def frames(header: Header) -> Iterator[Header]:
    """A header for every frame: the file's own, or those of its functional groups laid above it.

    Raises:
        Refusal: several frames without a place for each.
    """
    count = header.whole("NumberOfFrames", 1)
    groups = header.items("PerFrameFunctionalGroupsSequence")
    if not groups:
        if count != 1:
            raise Refusal(f"a file of {count} frames that does not tell the place of each")
        yield header
        return
    if len(groups) != count:
        raise Refusal(f"{count} frames, but {len(groups)} places of frames")
    shared = [
        layer
        for item in header.items("SharedFunctionalGroupsSequence")[:1]
        for layer in _layers(header.below(item))
    ]
    for item in groups:
        layers = [*_layers(header.below(item)), *shared, *header.layers]
        yield Header(layers, header.syntax, header.n_bytes)


def _layers(group: Header) -> list[Dataset]:
    return [group.items(name)[0] for name in GROUPS if group.items(name)]
