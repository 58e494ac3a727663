"""Notebook 03's gallery as a page of its own, for people who open no JupyterLab."""

from __future__ import annotations

import ast
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from synthlib.phase import training
from synthlib.pipeline import profiles
from synthlib.pipeline.reproduce import Choice

NOTEBOOK = "03_phase_gallery"
HOST = "127.0.0.1"
STARTS_WITHIN_S = 60
ENDS_WITHIN_S = 20

# Voilà's own page without what it would load from content delivery networks, and of the cells'
# outputs only widgets and errors. A widget's HTML is for readers without a kernel.
TEMPLATE = """
{%- extends 'voila/templates/lab/index.html.j2' -%}
{% import "spinner.macro.html.j2" as spinner %}
{% set widget = 'application/vnd.jupyter.widget-view+json' %}

{%- block notebook_css -%}
{{ resources.include_js("static/voila-style.js") }}
{{ spinner.css() }}
{{ resources.include_css("static/index.css") }}
{{ resources.include_css("static/theme-" ~ resources.theme ~ ".css") }}
<style>
body { background: var(--jp-layout-color0); }
a.anchor-link { display: none; }
.gallery-error { color: var(--jp-content-font-color1); border-left: 4px solid #d32f2f;
  padding: 0 1rem; overflow-x: auto; }
</style>
{%- endblock notebook_css -%}

{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block stream -%}{%- endblock -%}

{%- block codecell -%}
{%- set shown = namespace(any=false) -%}
{%- for output in cell.outputs -%}
{%- if output.output_type == 'error' or widget in output.get('data', {}) -%}
{%- set shown.any = true -%}
{%- endif -%}
{%- endfor -%}
{%- if shown.any -%}{{ super() }}{%- endif -%}
{%- endblock codecell -%}

{%- block data_priority scoped -%}
{%- if widget in output.data -%}
{%- set _ = output.data.pop('text/html', None) -%}
{{ super() }}
{%- endif -%}
{%- endblock data_priority -%}

{%- block error -%}
<div class="gallery-error">
<p><b>The gallery could not be shown. {{ output.ename | e }}:</b> {{ output.evalue | e }}</p>
<details><summary>where it happened</summary>
<pre>{%- for line in output.traceback -%}{{ line | ansi2html }}
{% endfor -%}</pre></details>
</div>
{%- endblock error -%}
"""


def serve(
    choice: Choice, *, port: int | None = None, browser: bool = True, theme: str = "light"
) -> None:
    """Show the gallery on a loopback address, with a token, until Ctrl-C.

    Args:
        choice: profile, data, out and settings, as for `reproduce`.
        port: None takes a free one.
        browser: open the page, too.
        theme: "light" or "dark".

    Raises:
        ValueError, OSError: something in the choice is not known, the profile's
            generator is not there, the port is taken, or Voilà does not start.
    """
    stages = profiles.load(
        choice.profile, data=choice.data, out=choice.out, settings=choice.settings
    )
    (stage,) = profiles.choose(stages, [NOTEBOOK])
    _require_generator(stage, choice.profile)
    port = _free_port(port)
    token = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="synthlib-gallery-") as name:
        folder = Path(name)
        nbformat.write(gallery_notebook(stage, choice.profile), folder / "gallery.ipynb")
        _write_settings(folder, port, token, theme)
        log_file = folder / "voila.log"
        with log_file.open("w") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "voila", "gallery.ipynb"],
                cwd=folder,
                env={**os.environ, "JUPYTER_PATH": _with(folder / "jupyter")},
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches it once, through us
            )
        try:
            # a closed terminal, or make that is ended, must not leave the server behind
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.default_int_handler)
            _wait_until_it_answers(server, port, log_file)
            url = f"http://{HOST}:{port}/?token={token}"
            print(f"The gallery of {choice.profile}:\n\n    {url}\n\nCtrl-C ends it.", flush=True)
            if browser:
                webbrowser.open(url)
            server.wait()
            raise OSError(f"Voilà stopped by itself; its last words:\n{_end_of(log_file)}")
        except KeyboardInterrupt:
            print("\nThe gallery is closed.", flush=True)
        finally:
            _end(server)


def gallery_notebook(stage: profiles.Stage, title: str) -> nbformat.NotebookNode:
    """The cells of the notebook that make the gallery, with the stage's parameters."""
    notebook = load_notebook_node(str(stage.notebook))

    def tagged(tag: str) -> list[nbformat.NotebookNode]:
        cells = [cell for cell in notebook.cells if tag in cell.metadata.tags]
        return [cell for cell in cells if cell.cell_type == "code"]

    if not tagged("gallery"):
        raise ValueError(
            f"no cell of {stage.name} has the tag gallery; expected it on the cells that are "
            "needed to show the gallery"
        )
    heading = nbformat.v4.new_markdown_cell(f"# Phase gallery\n\n{title}", metadata={"tags": []})
    notebook.cells = [heading, *tagged("parameters"), *tagged("gallery")]
    notebook.metadata["title"] = "Phase gallery"
    return parameterize_notebook(notebook, stage.parameters)


def _require_generator(stage: profiles.Stage, profile: str) -> None:
    known = papermill.inspect_notebook(str(stage.notebook))
    defaults = {name: ast.literal_eval(entry["default"]) for name, entry in known.items()}
    values: dict[str, Any] = {**defaults, **stage.parameters}
    if values["generator"] != "trained":
        return
    path = training.weights_path(values["out_dir"], values["coil_counts"][0])
    if not path.is_file():
        raise FileNotFoundError(
            f"the gallery of {profile} shows the generator that notebook 02 trains, and there is "
            f"no {path.name} in {values['out_dir']}/models. Make it with `make reproduce "
            f"PROFILE={profile}` (and the same DATA, OUT and ARGS), or look at one that is trained "
            "in seconds: --set generator=tiny"
        )


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except (OSError, OverflowError) as error:
            raise OSError(
                f"port {wanted} cannot be had ({error}); expected one that nothing else "
                "listens on. Name another, or none, to take a free one"
            ) from error
        return int(probe.getsockname()[1])


def _write_settings(folder: Path, port: int, token: str, theme: str) -> None:
    """Voilà's own template and settings; in a file, for others see a process's arguments."""
    template = folder / "jupyter" / "nbconvert" / "templates" / "gallery"
    template.mkdir(parents=True)
    (template / "index.html.j2").write_text(TEMPLATE, encoding="utf-8")
    (template / "conf.json").write_text(json.dumps({"base_template": "lab"}))
    settings = {
        "Voila": {
            "ip": HOST,
            "port": port,
            "port_retries": 0,
            "token": token,
            "open_browser": False,
            "log_level": "WARN",
        },
        "VoilaConfiguration": {
            "template": "gallery",
            "theme": theme,
            "allow_template_override": "NO",
            "allow_theme_override": "NO",
            "strip_sources": True,
            "show_tracebacks": True,
        },
    }
    (folder / "voila.json").write_text(json.dumps(settings))


def _with(folder: Path) -> str:
    """JUPYTER_PATH with one more folder."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("JUPYTER_PATH")]))


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until and server.poll() is None:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise OSError(f"Voilà did not start; its last words:\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def _end(server: subprocess.Popen[bytes]) -> None:
    """End Voilà, which ends its kernels."""
    server.terminate()
    try:
        server.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
