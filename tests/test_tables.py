"""Tables: bold where it belongs, and three kinds that say the same."""

import csv
import io
import re

import pytest

from synthlib import tables

SOURCES = {
    "measured": "Measured",
    "generator": "GAN",
    "zero": "Zero",
    "random": "Random",
    "zero_filled": "Zero-filled",
}
SYNTHETIC = ["generator", "zero", "random"]
# means over two test volumes: measured is best of all, then for R = 4 the
# generator, for R = 8 zero phase; NMSE falls as PSNR rises
LEVELS = {
    4: {"measured": 36, "generator": 33, "zero": 32, "random": 28, "zero_filled": 20},
    8: {"measured": 31, "generator": 27, "zero": 29, "random": 26, "zero_filled": 35},
}


def rows(seeds: tuple[int, ...] = (1,), spread: float = 0.0) -> list[dict[str, object]]:
    return [
        {
            "n_coils": n_coils,
            "source": source,
            "acceleration": acceleration,
            "seed": seed,
            "volume": volume,
            "PSNR": level + offset + spread * seed - (100 if n_coils == 4 else 0),
            "NMSE": 1 / (level + offset),
            "SSIM": (level + offset) / 100,
        }
        for n_coils in (8, 4)
        for acceleration, levels in LEVELS.items()
        for source, level in levels.items()
        for seed in seeds
        for volume, offset in (("a", -1), ("b", 1))
    ]


def cells(table: dict[str, str]) -> list[list[str]]:
    return list(csv.reader(io.StringIO(table["csv"])))


def bold_cells(table: dict[str, str]) -> list[tuple[str, int]]:
    """(first cell of the row, column) of what Markdown shows bold."""
    found = []
    for line in table["md"].splitlines()[2:]:
        parts = [part.strip() for part in line.strip("|").split("|")]
        found += [(parts[0], i) for i, part in enumerate(parts) if part.startswith("**")]
    return sorted(found)


@pytest.mark.parametrize("metric", ["PSNR", "NMSE", "SSIM"])
def test_the_best_synthetic_source_of_each_acceleration_is_bold(metric):
    table = tables.benchmark(rows(), SOURCES, metric, 8, SYNTHETIC)
    assert bold_cells(table) == [("GAN", 1), ("Zero", 2)]
    lines = {line.split(" & ")[0]: line for line in table["tex"].splitlines() if " & " in line}
    assert re.findall(r"\\textbf\{[^}]*\}", lines["GAN"]) == [lines["GAN"].split(" & ")[1]]
    assert table["tex"].count("textbf") == 2


def test_cells_are_means_over_the_volumes_of_one_coil_count():
    found = cells(tables.benchmark(rows(), SOURCES, "PSNR", 8, SYNTHETIC))
    assert found[0] == ["PSNR (dB), 8 coils", "R = 4", "R = 8"]
    assert found[1:] == [
        [name, f"{LEVELS[4][source]:.2f}", f"{LEVELS[8][source]:.2f}"]
        for source, name in SOURCES.items()
    ]
    assert cells(tables.benchmark(rows(), SOURCES, "SSIM", 8, SYNTHETIC))[1][1] == "0.3600"


def test_several_seeds_show_half_their_span():
    table = tables.benchmark(rows((1, 2, 5), spread=0.5), SOURCES, "PSNR", 8, SYNTHETIC)
    assert cells(table)[1][1] == "37.33 ± 1.00"  # 36 + 0.5 * (1 + 2 + 5) / 3; half of 2.5 - 0.5
    assert "37.33 $\\pm$ 1.00" in table["tex"]


def test_a_source_that_was_not_run_shows_a_dash_and_is_not_bold():
    some = [row for row in rows() if row["source"] != "generator"]
    table = tables.benchmark(some, SOURCES, "NMSE", 8, SYNTHETIC)
    assert cells(table)[2] == ["GAN", "-", "-"]
    assert bold_cells(table) == [("Zero", 1), ("Zero", 2)]
    none = tables.benchmark(rows(), SOURCES, "NMSE", 20, SYNTHETIC)
    assert bold_cells(none) == []


def test_what_was_not_trained_enough_has_a_dagger_and_does_not_compete():
    excluded = {(8, 4, "generator"), (8, 8, "random"), (4, 8, "zero")}
    table = tables.benchmark(rows((1, 2), 0.5), SOURCES, "PSNR", 8, SYNTHETIC, excluded)
    by_name = {line[0]: line[1:] for line in cells(table)[1:]}
    assert by_name["GAN"] == ["33.75 ± 0.25 †", "27.75 ± 0.25"]
    assert by_name["Random"] == ["28.75 ± 0.25", "26.75 ± 0.25 †"]
    assert "†" not in "".join(by_name["Zero"])  # of another coil count
    assert bold_cells(table) == [("Zero", 1), ("Zero", 2)]  # GAN was the best at R = 4
    assert r"33.75 $\pm$ 0.25 $\dagger$" in table["tex"]
    assert table["md"].splitlines()[1] == "|---|---:|---:|"  # numbers still


def test_where_nothing_was_trained_enough_nothing_is_bold():
    excluded = {(8, r, source) for r in (4, 8) for source in SYNTHETIC}
    for metric in ("PSNR", "NMSE"):
        table = tables.benchmark(rows(), SOURCES, metric, 8, SYNTHETIC, excluded)
        assert bold_cells(table) == []


def test_csv_gives_back_what_went_in():
    columns = ["scan", "note"]
    lines = [["a,b", 'say "hi"'], ["two\nlines", "ü π"], ["", "1.5"]]
    assert cells(tables.render(columns, lines)) == [columns, *lines]


def test_bold_stays_out_of_the_csv():
    table = tables.render(["a", "b"], [["x", "1"], ["y", "2"]], bold=[(1, 1)])
    assert cells(table)[1:] == [["x", "1"], ["y", "2"]]
    assert "| y | **2** |" in table["md"]
    assert r"y & \textbf{2} \\" in table["tex"]


def test_markdown_aligns_names_left_and_numbers_right():
    lines = tables.render(["a", "b", "c"], [["x", "1", "2"]])["md"].splitlines()
    assert lines == ["| a | b | c |", "|---|---:|---:|", "| x | 1 | 2 |"]


def test_rows_of_dicts_keep_their_order():
    found = cells(tables.from_dicts([{"b": 1, "a": 2.5}, {"b": "x", "a": None}]))
    assert found == [["b", "a"], ["1", "2.5"], ["x", "None"]]


@pytest.mark.parametrize("sign", list("&%#_${}~^\\"))
def test_latex_shows_every_sign_as_it_is(sign):
    text = f"a{sign}b"
    tex = tables.render(["c", text], [[text, text]], bold=[(0, 1)])["tex"]
    shown = tex.splitlines()[4].removesuffix(r" \\").split(" & ")
    escaped = {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    expected = f"a{escaped.get(sign, chr(92) + sign)}b"
    assert shown == [expected, f"\\textbf{{{expected}}}"]
    assert tex.splitlines()[2] == f"c & {expected} \\\\"


def test_a_bar_in_a_cell_does_not_split_the_markdown_row():
    line = tables.render(["a", "b"], [["x|y", "1"]])["md"].splitlines()[2]
    assert len(re.findall(r"(?<!\\)\|", line)) == 3
