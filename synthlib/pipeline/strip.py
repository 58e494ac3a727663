"""What a notebook that is read without a kernel must not hold: dead widgets, paths of a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

from synthlib import runs

WIDGET = "application/vnd.jupyter.widget-view+json"
NEEDS_KERNEL = "An interactive view: run this cell to use it."


def settle(*paths: str | Path) -> None:
    """Make executed notebooks whole without their kernel, in place.

    A widget's view is an empty box once its kernel has gone: where an output
    has HTML or a picture beside the view, that is what stays; where it has
    none, a sentence says what stood there. The state of widgets and papermill's
    own notes, which hold paths of this machine, go.
    """
    for path in map(Path, paths):
        notebook = nbformat.read(path, as_version=4)
        for part in (notebook, *notebook.cells):
            part.metadata.pop("papermill", None)
        notebook.metadata.pop("widgets", None)
        for cell in notebook.cells:
            for output in cell.get("outputs", ()):
                if WIDGET in output.get("data", {}):
                    _settle_view(output)
        runs.write_text(path, nbformat.writes(notebook) + "\n")


def _settle_view(output: dict[str, Any]) -> None:
    data = output["data"]
    del data[WIDGET]
    output.get("metadata", {}).pop(WIDGET, None)
    if not any(kind != "text/plain" for kind in data):
        data["text/plain"] = NEEDS_KERNEL
