"""Mosaics of United Imaging: all slices of a volume as tiles of one picture.

Its header keeps the place of every slice in a private sequence, in the order of the tiles, row
after row. Mosaics of Siemens keep theirs in a private header of its own syntax and are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from synthlib.formats.dicom.header import Header, frames
from synthlib.formats.refusals import Refusal

CREATOR = "Image Private Header"
N_SLICES, SLICES = Tag(0x0065, 0x1050), Tag(0x0065, 0x1051)


def images(header: Header) -> Iterator[Header]:
    """A header for every image of a file: its only one, its frames, or the slices of a mosaic.

    Raises:
        Refusal: several frames or slices without a place for each.
    """
    return tiles(header) if is_mosaic(header) else frames(header)


def is_mosaic(header: Header) -> bool:
    """Does the header of a file tell places of several slices in one picture?"""
    if "ImagePositionPatient" in header:
        return False
    texts = [layer.get((0x0065, 0x0010)) for layer in header.layers]
    creators = {str(text.value).strip() for text in texts if text is not None}
    return CREATOR in creators and any(SLICES in layer for layer in header.layers)


def tiles(header: Header) -> Iterator[Header]:
    """A header for every slice: its place and size laid above the file's own.

    Raises:
        Refusal: the tiles do not fill the picture as the header tells.
    """
    rows, columns = header.whole("Rows"), header.whole("Columns")
    slices = next(list(layer[SLICES].value or ()) for layer in header.layers if SLICES in layer)
    ny, nx = _tile_size(header, rows, columns, len(slices))
    for number, item in enumerate(slices):
        down, across = divmod(number, columns // nx)
        tile = Dataset()
        tile.Rows, tile.Columns = ny, nx
        layers = [tile, item, *header.layers]
        yield Header(layers, header.syntax, header.n_bytes, corner=(down * ny, across * nx))


def _tile_size(header: Header, rows: int, columns: int, n_slices: int) -> tuple[int, int]:
    """(rows, columns) of a tile: as many along both sides, with no empty row of tiles."""
    per_side = math.ceil(math.sqrt(n_slices)) if n_slices else 0
    matrix = header.numbers("AcquisitionMatrix", 4) or []
    sizes = sorted({int(n) for n in matrix if n > 0})
    fitting = [
        (ny, nx)
        for ny in sizes
        for nx in sizes
        if rows % ny == 0 and columns % nx == 0 and _fills(rows // ny, columns // nx, n_slices)
    ]
    if len(fitting) != 1 and per_side:
        down = math.ceil(n_slices / per_side)
        fits = rows % down == 0 and columns % per_side == 0
        fitting = [(rows // down, columns // per_side)] if fits else []
    if len(fitting) != 1:
        raise Refusal(
            f"a mosaic (many slices in one picture) of {n_slices} slices, whose tiles do not fill "
            "its picture; export it as single slices"
        )
    return fitting[0]


def _fills(down: int, across: int, n_slices: int) -> bool:
    return (down - 1) * across < n_slices <= down * across
