"""Execute one notebook with papermill, and say how far it is."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import papermill
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from synthlib import runs, tasks
from synthlib.pipeline import strip
from synthlib.pipeline.profiles import Stage

# nbconvert's own page without what it would load from content delivery networks: require.js,
# MathJax, Mermaid and the manager of widgets. The notebooks have no use for any of them.
TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
"""


class StageError(RuntimeError):
    """A notebook stopped with an error; the message names the cell, the error and the copy."""


class _Engine(NBClientEngine):
    """papermill's own engine, which also says which cell it is at."""

    cell = 0
    n_cells = 0

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, *args: Any, **kwargs: Any) -> Any:
        begin = nb_man.cell_start
        cls.n_cells = len(nb_man.nb.cells)

        def cell_start(cell: Any, cell_index: int | None = None, **more: Any) -> Any:
            cls.cell = (cell_index or 0) + 1
            return begin(cell, cell_index, **more)

        nb_man.cell_start = cell_start
        return super().execute_managed_notebook(nb_man, *args, **kwargs)


papermill_engines.register("synthlib", _Engine)


def run_notebook(stage: Stage, folder: Path, position: str) -> tuple[Path, Path]:
    """Execute a copy of the notebook with the stage's parameters; make its HTML page.

    Args:
        stage: what to run.
        folder: the copy and the page go here under the notebook's name.
        position: "2/5", for the line of progress.

    Returns:
        The executed copy and its page.

    Raises:
        StageError: a cell failed; the copy is kept as <name>.failed.ipynb.
    """
    folder.mkdir(parents=True, exist_ok=True)
    running = folder / f".running_{stage.name}.ipynb"  # papermill saves it after every cell
    finished, page = folder / f"{stage.name}.ipynb", folder / f"{stage.name}.html"
    failed = folder / f"{stage.name}.failed.ipynb"
    failed.unlink(missing_ok=True)
    try:
        with _shown_progress(f"[{position}] {stage.name}"):
            papermill.execute_notebook(
                str(stage.notebook),
                str(running),
                parameters=stage.parameters,
                engine_name="synthlib",
                kernel_name="python3",
                progress_bar=False,
                # without its warning, at every start, that loopback is not encrypted
                extra_arguments=["--IPKernelApp.log_level=40"],
                cwd=str(runs.project_root()),
            )
        strip.settle(running)
        write_page(running, page)
        running.replace(finished)
    except PapermillExecutionError as error:
        running.replace(failed)
        raise StageError(
            f"{stage.name} stopped in cell {error.exec_count}: {error.ename}: {error.evalue}\n"
            f"The executed copy with the whole traceback is {short(failed)}."
        ) from error
    except DeadKernelError as error:
        running.replace(failed)
        raise StageError(
            f"{stage.name}: its process was killed in cell {_Engine.cell}, often for lack of "
            f"memory. Free some, or run with fewer workers, and start again: what is finished is "
            f"kept. The executed copy is {short(failed)}."
        ) from error
    finally:
        running.unlink(missing_ok=True)
    return finished, page


def write_page(notebook: Path, page: Path) -> None:
    """Export an executed notebook to one HTML file that asks for nothing from anywhere."""
    exporter = HTMLExporter(raw_template=TEMPLATE, embed_images=True)
    html, _ = exporter.from_filename(str(notebook))
    runs.write_text(page, html)


def short(path: Path) -> str:
    """A path for messages, from the project root where it lies below it."""
    root = runs.project_root()
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


@contextmanager
def _shown_progress(label: str) -> Iterator[None]:
    """Print the cell, and the latest line of progress from inside it, until the block ends."""
    ended = threading.Event()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder) / "progress"
        os.environ[tasks.PROGRESS_FILE] = str(inside)  # the kernel inherits it
        watcher = threading.Thread(target=_watch, args=(label, inside, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            os.environ.pop(tasks.PROGRESS_FILE, None)
    print_line(f"{label}: done in {tasks.duration(time.monotonic() - begin)}", last=True)


def _watch(label: str, inside: Path, ended: threading.Event) -> None:
    live = sys.stderr.isatty()
    previous = ""
    while not ended.wait(0.5 if live else 15):
        note = inside.read_text().strip() if inside.is_file() else ""
        line = f"{label}: cell {_Engine.cell}/{_Engine.n_cells}" + (f" | {note}" if note else "")
        if line != previous:
            print_line(line)
        previous = line


def print_line(line: str, *, last: bool = False) -> None:
    """One line of progress on stderr; in a terminal the next one takes its place."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="\n" if last else "", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)
