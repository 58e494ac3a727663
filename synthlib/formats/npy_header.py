"""The first bytes of a .npy file: what it holds and where it starts; nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synthlib.formats import quiet

MAX_HEADER = 10_000


def read(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and the place of the first number.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not .npy, or of a version that NumPy never wrote for numbers.
    """
    with path.open("rb") as file:
        try:
            with quiet.hush():
                version = np.lib.format.read_magic(file)
                header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                shape, _, dtype = header(file, max_header_size=MAX_HEADER)
            return tuple(int(n) for n in shape), dtype, file.tell()
        except Exception:  # numpy raises whatever its header's text makes Python raise
            raise ValueError("a damaged NPY file, or one of a version that is not read") from None
