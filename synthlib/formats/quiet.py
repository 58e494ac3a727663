"""Silence for packages that warn and log with what a header says.

Python's own warnings.catch_warnings changes the whole process, so that a thread
hears of what another one silences, or is silenced itself. Here only the thread
that asks is silent, and only the packages that it names.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_thread = threading.local()


class _Warnings:
    """Stands in a package's module for the module `warnings`."""

    def warn(
        self, message: Any, category: Any = None, stacklevel: int = 1, source: Any = None
    ) -> None:
        if not _is_silent():
            warnings.warn(message, category, stacklevel + 1, source)

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)


def _is_silent() -> bool:
    return getattr(_thread, "depth", 0) > 0


def _passes(record: logging.LogRecord) -> bool:
    return not _is_silent()


def teach(modules: tuple[ModuleType, ...], loggers: tuple[str, ...]) -> None:
    """Let these modules' warnings and these loggers, with all below them, obey :func:`hush`."""
    for module in modules:
        if isinstance(module.__dict__.get("warnings"), ModuleType):
            module.__dict__["warnings"] = _Warnings()
    below = tuple(f"{name}." for name in loggers)
    known = [name for name in logging.root.manager.loggerDict if name.startswith(below)]
    for name in (*loggers, *known):
        logger = logging.getLogger(name)
        if _passes not in logger.filters:
            logger.addFilter(_passes)


@contextmanager
def hush() -> Iterator[None]:
    """Inside, what was taught stays silent in this thread."""
    _thread.depth = getattr(_thread, "depth", 0) + 1
    try:
        yield
    finally:
        _thread.depth -= 1
