"""Raw data written slice by slice: what the writers of all formats share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays
from synthlib.formats.raw_header import RawHeader


class RawWriter(ABC):
    """A file under way: slices are put in any order, each once, and none stays in memory.

    Nothing is under the final name until the block ends well and all slices
    were put; after an error nothing is left.

    Args:
        path: file to make.
        shape: (slice, coil, ky, kx) of the whole k-space.
        header: what the file says beside it.

    Raises:
        ValueError: the header does not fit the shape; at the end of the block:
            slices are missing.
        OSError: no space is left on the disk.
    """

    def __init__(
        self, path: str | Path, *, shape: tuple[int, int, int, int], header: RawHeader
    ) -> None:
        header.require_fits(shape)
        self.path = Path(path)
        n_slices, n_coils, rows, columns = map(int, shape)
        self.shape = (n_slices, n_coils, rows, columns)
        self.header = header
        self._open = False
        self._done: set[int] = set()
        self._session: AbstractContextManager[None] = self._until_complete()

    @abstractmethod
    def _files(self) -> AbstractContextManager[None]:
        """Open scratch files; finish and rename them when the block ends well."""

    @abstractmethod
    def _write(self, index: int, kspace: np.ndarray) -> None:
        """Write one slice, checked complex64 (coil, ky, kx)."""

    def put(self, index: int, kspace: Tensor, rss: Tensor | None = None) -> None:
        """Write one slice.

        Args:
            index: of the slice, from 0.
            kspace: complex (coil, ky, kx), on any device; zero outside the
                header's `acquired` columns.
            rss: float (y, x) on recon_shape, the root sum of squares of its coil
                images, if it is known already; formats without images pass it by.

        Raises:
            ValueError: wrong shape or type, NaN or Inf, signal in a column that
                was not acquired, or a slice that was put before.
            OSError: no space is left on the disk.
        """
        name = f"{self.path.name} slice {index}"
        if not self._open:
            raise ValueError(f"{name} was put outside of the writer's with block")
        if not 0 <= index < self.shape[0]:
            raise ValueError(f"{name}: expected slices 0 to {self.shape[0] - 1}")
        if index in self._done:
            raise ValueError(f"{name} was put twice; expected each slice once")
        if tuple(kspace.shape) != tuple(self.shape[1:]) or not kspace.is_complex():
            raise ValueError(
                f"{name}: k-space of shape {tuple(kspace.shape)}, {kspace.dtype}; expected "
                f"complex (coil, ky, kx) of {tuple(self.shape[1:])}, as the writer was told"
            )
        kspace = kspace.to(torch.complex64)
        arrays.require_finite(f"{name}: k-space", kspace)
        first, end = self.header.columns(self.shape[3])
        if bool(kspace[..., :first].any()) or bool(kspace[..., end:].any()):
            raise ValueError(
                f"{name}: k-space has signal outside of columns {first} to {end - 1}, the acquired "
                "ones; expected zeros there. Set them to zero, or widen the header's `acquired`."
            )
        self._write(index, kspace.numpy(force=True))
        self._done.add(index)

    def __enter__(self) -> Self:
        self._session.__enter__()
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._open = False
        return self._session.__exit__(kind, error, traceback)

    @contextmanager
    def _until_complete(self) -> Iterator[None]:
        with self._files():
            yield
            missing = sorted(set(range(self.shape[0])) - self._done)
            if missing:
                names = ", ".join(map(str, missing[:20])) + (" ..." if missing[20:] else "")
                raise ValueError(
                    f"{self.path.name}: {len(missing)} of {self.shape[0]} slices were not put: "
                    f"{names}. Nothing was written; put every slice before the block ends."
                )
