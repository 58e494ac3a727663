"""All notebooks of a profile, one after the other; what is finished and current is not repeated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from synthlib import datasets, formats, runs, tasks
from synthlib.pipeline import data, execute, page, profiles


@dataclass(frozen=True)
class Choice:
    """What to run.

    Attributes:
        profile: folder of parameter files, for example "params/demo".
        data: replaces the parameter `data` of every notebook.
        out: replaces `out_dir` of every notebook.
        only: notebooks to run, by name or number; empty runs all.
        settings: "NOTEBOOK.PARAMETER=VALUE" lines.
        force: repeat stages even when they are finished and current.
    """

    profile: str = "params/demo"
    data: str | None = None
    out: str | None = None
    only: Sequence[str] = field(default_factory=tuple)
    settings: Sequence[str] = field(default_factory=tuple)
    force: bool = False


def reproduce(choice: Choice) -> Path:
    """Run the notebooks and make index.html.

    Returns:
        The path of index.html.

    Raises:
        ValueError, FileNotFoundError: something in the choice is not known.
        execute.StageError: a notebook failed.
    """
    stages = profiles.load(
        choice.profile, data=choice.data, out=choice.out, settings=choice.settings
    )
    chosen = {stage.name for stage in profiles.choose(stages, choice.only)}
    out = _common_out(stages)
    data.require([stage for stage in stages if stage.name in chosen])
    before: list[str] = []
    begin = time.monotonic()
    for number, stage in enumerate(stages, start=1):
        key = _key(stage, before)
        before.append(key)
        if stage.name not in chosen:
            continue
        position = f"{number}/{len(stages)}"
        note = out / "stages" / f"{stage.name}.json"
        if not choice.force and _is_current(note, key, out):
            execute.print_line(f"[{position}] {stage.name}: current, not repeated", last=True)
            continue
        start = time.monotonic()
        made = execute.run_notebook(stage, out / "notebooks", position)
        runs.write_json(
            note,
            {
                "key": key,
                "made": [str(path.relative_to(out)) for path in made],
                "seconds": round(time.monotonic() - start, 1),
                **runs.make_record(stage.parameters),
            },
        )
    index = page.write_index(out, choice.profile, [stage.name for stage in stages])
    took = tasks.duration(time.monotonic() - begin)
    execute.print_line(f"finished in {took}: {execute.short(index)}", last=True)
    return index


def _common_out(stages: Sequence[profiles.Stage]) -> Path:
    outs = {str(stage.parameters.get("out_dir")) for stage in stages}
    if len(outs) != 1 or "None" in outs:
        raise ValueError(
            f"the profile's notebooks name the out_dir {', '.join(sorted(outs))}; expected one and "
            "the same in all, because later notebooks read what earlier ones left"
        )
    return runs.resolve(outs.pop())


def _key(stage: profiles.Stage, before: Sequence[str]) -> str:
    """Changes with the notebook's text, its parameters, the code, the data and earlier stages."""
    cells = [cell.source for cell in nbformat.read(stage.notebook, as_version=4).cells]
    source = str(stage.parameters.get("data", datasets.SIMULATED))
    return runs.fingerprint(
        cells, stage.parameters, runs.code_fingerprint(), _listing(source), list(before)
    )


def _listing(source: str) -> list[tuple[str, int, int]]:
    if source == datasets.SIMULATED:
        return []
    files = formats.raw_files(runs.resolve(source))
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _is_current(note: Path, key: str, out: Path) -> bool:
    try:
        kept: dict[str, Any] = runs.read_json(note)
    except (OSError, ValueError):
        return False
    return kept.get("key") == key and all((out / path).is_file() for path in kept["made"])
