"""Exported pages live in a browser with nothing behind them: no kernel, no server, no network."""

from __future__ import annotations

import html
import shutil

import nbformat
import pytest

from synthlib import runs
from synthlib.pipeline import execute, strip

# everything that an attribute, a parser or an exporter could damage
HARD = "<b>&amp; \"double\" 'single' \u00b5 \\ `${x}` </b>"
DATA = "A/+=" * 500_000  # a gallery's images are megabytes
INSIDE = f"""<!doctype html><meta charset="utf-8"><p id="said"></p><p id="size"></p>
<script type="application/json" id="data">"{DATA}"</script>
<script>
  // a comment ends with its line
  document.getElementById("said").textContent = {HARD!r};
  document.getElementById("size").textContent =
    JSON.parse(document.getElementById("data").textContent).length;
</script>"""


@pytest.fixture
def exported(tmp_path):
    """Settle and export a notebook; the address of its page."""

    def export(notebook):
        execute_copy, made = tmp_path / "notebook.ipynb", tmp_path / "page.html"
        nbformat.write(notebook, execute_copy)
        strip.settle(execute_copy)
        execute.write_page(execute_copy, made)
        return made.as_uri()

    return export


def with_output(**data):
    output = nbformat.v4.new_output("display_data", data={strip.WIDGET: {"model_id": "0"}, **data})
    cell = nbformat.v4.new_code_cell("viewer", outputs=[output])
    return nbformat.v4.new_notebook(cells=[cell])


def test_html_beside_a_widget_is_shown_and_its_script_runs_unharmed(exported, page):
    frame = f'<iframe srcdoc="{html.escape(INSIDE)}"></iframe>'
    page.goto(exported(with_output(**{"text/html": frame, "text/plain": "Viewer()"})))
    inside = page.frame_locator("iframe")
    assert inside.locator("#said").inner_text() == HARD
    assert inside.locator("#size").inner_text() == str(len(DATA))
    assert page.get_by_text("Viewer()").count() == 0


def test_a_widget_with_nothing_beside_it_leaves_a_sentence(exported, page):
    page.goto(exported(with_output(**{"text/plain": "VBox(children=...)"})))
    outputs = page.locator(".jp-OutputArea-output")
    assert outputs.all_inner_texts() == [strip.NEEDS_KERNEL]


NOTEBOOKS = sorted((runs.project_root() / "notebooks").glob("0*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_projects_notebooks_are_whole_without_a_network(path, tmp_path, page):
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    strip.settle(copy)
    execute.write_page(copy, tmp_path / "page.html")
    page.goto((tmp_path / "page.html").as_uri())  # the fixture sees every request
    assert page.locator("h1").first.inner_text().startswith(path.stem[:2])
    widths = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert widths and all(widths)
    assert page.locator(".jupyter-widgets").count() == 0
