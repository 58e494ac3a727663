"""Files of an archive's inputs, each once, whatever the links say."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from synthlib.archive.names import natural
from synthlib.formats.refusals import reason_of

MAX_DEPTH = 200


class Place(NamedTuple):
    """A regular file: which input, which number within it (both from 1), its path."""

    input: int
    number: int
    path: str


Tell = Callable[[Place, str], None]


def files(inputs: Sequence[str | Path], tell: Tell) -> Iterator[list[Place]]:
    """The files of each folder together, in natural order of names; a file given by itself alone.

    Names that begin with a dot are passed by. Links to folders are followed,
    each real folder once, so that circles end.

    Args:
        inputs: files or folders.
        tell: called with what cannot be used, and why.
    """
    seen: set[tuple[int, int]] = set()
    for number, given in enumerate(inputs, 1):
        path = os.fspath(Path(given).expanduser())
        try:
            state = Path(path).stat()
        except OSError as error:
            tell(Place(number, 0, path), _absent(error))
            continue
        if stat.S_ISDIR(state.st_mode):
            counter = _Counter(number)
            yield from _folder(path, counter, seen, tell)
            if not counter.count:
                tell(Place(number, 0, path), "no file in this folder")
        elif not stat.S_ISREG(state.st_mode):
            tell(Place(number, 0, path), "neither a file nor a folder")
        elif (state.st_dev, state.st_ino) not in seen:
            seen.add((state.st_dev, state.st_ino))
            yield [Place(number, 1, path)]


def require_inputs(inputs: Sequence[str | Path] | str | Path) -> None:
    """Refuse inputs of which none is there: a mistyped path must replace no earlier result.

    Raises:
        FileNotFoundError: none is there.
    """
    inputs = [inputs] if isinstance(inputs, (str, Path)) else inputs
    problems = []
    for number, given in enumerate(inputs, 1):
        try:
            Path(given).expanduser().stat()
        except OSError as error:
            problems.append(f"input {number}: {_absent(error)}")
    if problems and len(problems) == len(inputs):
        raise FileNotFoundError(f"{'; '.join(problems)}. Nothing was written")


class _Counter:
    def __init__(self, input_number: int) -> None:
        self.input, self.count = input_number, 0

    def place(self, path: str) -> Place:
        self.count += 1
        return Place(self.input, self.count, path)


def _folder(
    top: str, counter: _Counter, seen: set[tuple[int, int]], tell: Tell
) -> Iterator[list[Place]]:
    waiting = [(top, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            state = Path(folder).stat()
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                names = sorted((e.name for e in entries if e.name[0] != "."), key=natural)
        except OSError as error:
            tell(counter.place(folder), f"a folder: {reason_of(error)}")
            continue
        here: list[Place] = []
        below: list[tuple[str, int]] = []
        for name in names:
            path = f"{folder.rstrip(os.sep)}{os.sep}{name}"
            try:
                state = Path(path).stat()
            except OSError as error:
                tell(counter.place(path), _absent(error))
                continue
            if stat.S_ISDIR(state.st_mode):
                if depth < MAX_DEPTH:
                    below.append((path, depth + 1))
                else:
                    tell(counter.place(path), f"a folder more than {MAX_DEPTH} folders deep")
            elif not stat.S_ISREG(state.st_mode):
                tell(counter.place(path), "neither a file nor a folder")
            elif (state.st_dev, state.st_ino) not in seen:
                seen.add((state.st_dev, state.st_ino))
                here.append(counter.place(path))
        if here:
            yield here
        waiting.extend(reversed(below))


def _absent(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder (a link that leads nowhere, or a wrong path)"
    return reason_of(error)
