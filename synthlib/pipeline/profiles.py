"""Profiles: a folder of YAML files, one for every notebook it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import papermill
import yaml

from synthlib import runs


@dataclass(frozen=True)
class Stage:
    """One notebook with the parameters it is run with."""

    name: str
    notebook: Path
    parameters: dict[str, Any]


def load(
    profile: str | Path,
    *,
    data: str | None = None,
    out: str | None = None,
    settings: Sequence[str] = (),
) -> list[Stage]:
    """The notebooks of a profile in order, parameters checked against each notebook.

    Args:
        profile: folder with <notebook>.yaml files, relative to the project root.
        data, out: replace the parameters `data` and `out_dir` everywhere.
        settings: "NOTEBOOK.PARAMETER=VALUE", the notebook in full or its number; or
            "PARAMETER=VALUE" for every notebook that has it.

    Raises:
        ValueError, FileNotFoundError: an unknown profile, notebook or
            parameter, or a setting or file that cannot be read.
    """
    folder = runs.resolve(profile)
    files = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    if not files:
        there = sorted(p.name for p in (runs.project_root() / "params").glob("*") if p.is_dir())
        raise FileNotFoundError(
            f"profile {profile} is not a folder of parameter files; "
            f"expected one of {', '.join(f'params/{name}' for name in there)}, or a copy of one"
        )
    stages = []
    for file in files:
        notebook = runs.project_root() / "notebooks" / f"{file.stem}.ipynb"
        if not notebook.is_file():
            raise ValueError(
                f"{file.name} is named after no notebook; expected one of {', '.join(_notebooks())}"
            )
        stages.append(Stage(file.stem, notebook, _read(file)))
    known = {stage.name: papermill.inspect_notebook(str(stage.notebook)) for stage in stages}
    for name, value in (("data", data), ("out_dir", out)):
        if value is not None:
            _set_everywhere(name, value, stages, known)
    for setting in settings:
        _apply(setting, stages, known)
    for stage in stages:
        _require_known(stage, known[stage.name])
    return stages


def choose(stages: Sequence[Stage], only: Sequence[str]) -> list[Stage]:
    """The stages whose name begins with one of `only`; all of them when it is empty.

    Raises:
        ValueError: a name that fits no stage.
    """
    for name in only:
        _find(name, stages)
    return [stage for stage in stages if not only or any(stage.name.startswith(n) for n in only)]


def _notebooks() -> list[str]:
    return sorted(p.stem for p in (runs.project_root() / "notebooks").glob("*.ipynb"))


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{file.name} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file.name} holds {type(values).__name__}; expected name: value lines")
    return values


def _apply(setting: str, stages: Sequence[Stage], known: Mapping[str, Mapping[str, Any]]) -> None:
    where, sign, text = setting.partition("=")
    name, dot, parameter = where.rpartition(".")
    if not (sign and parameter and bool(name) == bool(dot)):
        raise ValueError(
            f"--set {setting}: expected NOTEBOOK.PARAMETER=VALUE or PARAMETER=VALUE, "
            "for example 05_varnet_benchmark.epochs=3"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {setting}: {text!r} is not a YAML value") from error
    if dot:
        _find(name, stages).parameters[parameter] = value
    else:
        _set_everywhere(parameter, value, stages, known)


def _set_everywhere(
    parameter: str,
    value: Any,
    stages: Sequence[Stage],
    known: Mapping[str, Mapping[str, Any]],
) -> None:
    having = [stage for stage in stages if parameter in known[stage.name]]
    if not having:
        names = sorted({name for parameters in known.values() for name in parameters})
        raise ValueError(
            f"no notebook of the profile has a parameter {parameter!r}; they have "
            f"{', '.join(names)}"
        )
    for stage in having:
        stage.parameters[parameter] = value


def _find(name: str, stages: Sequence[Stage]) -> Stage:
    fitting = [stage for stage in stages if name and stage.name.startswith(name)]
    if len(fitting) != 1:
        raise ValueError(
            f"notebook {name!r} fits {len(fitting)} of the profile; expected one of "
            f"{', '.join(stage.name for stage in stages)}, or its number"
        )
    return fitting[0]


def _require_known(stage: Stage, known: Mapping[str, Any]) -> None:
    """papermill itself would only warn and run with the default."""
    unknown = sorted(set(stage.parameters) - set(known))
    if unknown:
        raise ValueError(
            f"{stage.name} has no parameter {', '.join(unknown)}; "
            f"it has {', '.join(sorted(known))}. Correct the name in the params file or in --set."
        )
