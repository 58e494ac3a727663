"""What every notebook must be; that their numbers stay the same is nbval's part."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(str(cell.outputs) for cell in code_cells(notebook))


def test_the_suite_is_complete() -> None:
    assert [path.stem for path in NOTEBOOKS]== [
        "01_data_exploration",
        "02_gan_training",
        "03_phase_gallery",
        "04_coil_maps",
        "05_varnet_benchmark",
        "06_synthesize_your_images",
    ]


def test_the_first_code_cell_holds_the_parameters(notebook: nbformat.NotebookNode) -> None:
    tagged = [
        index
        for index, cell in enumerate(code_cells(notebook))
        if "parameters" in cell.metadata.get("tags", [])
    ]
    assert tagged == [0]


def test_it_is_committed_executed_in_order_and_without_an_error(
    notebook: nbformat.NotebookNode,
) -> None:
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output.output_type for cell in cells for output in cell.outputs]
    assert "error" not in kinds
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)


def test_it_prints_numbers_that_nbval_guards(notebook: nbformat.NotebookNode) -> None:
    guarded = [
        output.text
        for cell in code_cells(notebook)
        if "nbval-ignore-output" not in cell.metadata.get("tags", [])
        for output in cell.outputs
        if output.output_type == "stream"
    ]
    assert re.search(r"\d", "".join(guarded))


def test_it_defines_no_function_and_plots_through_synthlib(
    notebook: nbformat.NotebookNode,
) -> None:
    for cell in code_cells(notebook):
        assert not re.search(r"^\s*(def|class) |plt\.|pyplot|\blambda\b", cell.source, re.MULTILINE)


def test_it_says_its_question_and_what_was_learned(notebook: nbformat.NotebookNode) -> None:
    text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert "**Question:**" in text[0]
    assert "**What we learned.**" in text[-1]


def test_its_outputs_hold_no_path_of_this_machine(notebook: nbformat.NotebookNode) -> None:
    root = str(Path(__file__).parents[2])
    assert root not in outputs(notebook)
    assert str(Path.home()) not in outputs(notebook)
