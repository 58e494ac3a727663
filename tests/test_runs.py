"""Files that are whole or absent, seeds that stay apart, records that tell where from."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from synthlib import runs, tables

# --- files ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_keeps_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(error), runs.atomic_path(path) as scratch:
        scratch.write_text("half of the ne")
        raise error
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "old"


def test_the_new_file_appears_in_one_step(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    with runs.atomic_path(path) as scratch:
        assert scratch.parent == path.parent  # the same file system, so that renaming is one step
        scratch.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    child = os.fork()
    if child == 0:  # a real kill -9 in the middle of a write
        with runs.atomic_path(path) as scratch:
            scratch.write_text("half of the ne")
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2  # nobody could clean up
    runs.write_text(path, "new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "new"


def test_the_scratch_file_of_a_living_writer_is_left_alone(tmp_path):
    other = tmp_path / f".part-{os.getppid()}-table.csv"
    other.write_text("still at work")
    runs.write_text(tmp_path / "table.csv", "mine")
    assert other.read_text() == "still at work"


# Runs in a process of its own, for which no file may grow beyond the limit: writing
# more fails in the kernel, as on a full disk.
FULL_DISK = """
import json, resource, sys
from pathlib import Path
import torch
from synthlib import formats, runs
from synthlib.formats import prepared_hdf5

folder = Path(sys.argv[1])

def kspace(n):
    return torch.ones(2, 4, n, n - 7, dtype=torch.complex64)

def raw(path, n):
    formats.write_raw(
        path, kspace(n), contrast="AXT2", patient_id="p", recon_shape=(n // 2, n - 7)
    )

writers = {
    "text": lambda path: runs.write_text(path, 20_000 * "x"),
    "raw": lambda path: raw(path, 150),
    "prepared": lambda path: prepared_hdf5.write(path, {"maps": kspace(150)}, {}),
    "small raw": lambda path: raw(path, 20),  # fits into HDF5's own buffers until the end
}
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
outcome = {}
for name, write in writers.items():
    path = folder / name
    path.write_text("old")
    try:
        write(path)
        message = "no error"
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
    outcome[name] = [message, path.read_text()]
outcome["files"] = sorted(file.name for file in folder.iterdir())
print(json.dumps(outcome))
"""
WRITERS = ["text", "raw", "prepared", "small raw"]


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory) -> tuple[dict, subprocess.CompletedProcess]:
    folder = tmp_path_factory.mktemp("full")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder)], capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_says_so_and_keeps_the_old_file(full_disk, writer):
    message, content = full_disk[0][writer]
    assert re.match(r"OSError: .*the disk is full: writing .* failed.*Free some space", message)
    assert content == "old"


def test_a_full_disk_leaves_nothing_half_written(full_disk):
    assert full_disk[0]["files"] == sorted(WRITERS)


def test_a_full_disk_does_not_crash_the_interpreter(full_disk):
    assert full_disk[1].returncode == 0, full_disk[1].stderr


def test_json_comes_back(tmp_path):
    value = {"a": [1, 2.5, None], "ü": "π"}
    runs.write_json(tmp_path / "x.json", value)
    assert runs.read_json(tmp_path / "x.json") == value


def test_relative_paths_start_at_the_project_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (runs.resolve("pyproject.toml")).is_file()
    assert runs.resolve(tmp_path / "a") == tmp_path / "a"


# --- seeds ---------------------------------------------------------------------------


def test_a_named_generator_leaves_the_global_state_alone():
    before = torch.random.get_rng_state()
    torch.randn(5, generator=runs.rng(7, "noise"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_seeded_code_leaves_the_global_state_alone_even_when_it_fails():
    before = torch.random.get_rng_state()
    with pytest.raises(RuntimeError), runs.seeded(7, "dropout"):
        torch.randn(5)
        raise RuntimeError
    assert torch.equal(torch.random.get_rng_state(), before)


def test_seeded_code_draws_the_same_whatever_was_drawn_before():
    draws = []
    for _ in range(2):
        torch.rand(3)
        with runs.seeded(7, "dropout"):
            draws.append(torch.rand(4))
    assert torch.equal(*draws)


def test_every_name_and_seed_has_draws_of_its_own():
    names = [(7, "a"), (8, "a"), (7, "b"), (7, "a", "b"), (7, "ab"), (7, "a", 1), (7,), (71,)]
    seeds = [runs.seed_for(*name) for name in names]
    assert len(set(seeds)) == len(names)
    assert seeds == [runs.seed_for(*name) for name in names]
    first, again, other = (
        torch.rand(4, generator=runs.rng(*name)) for name in (names[0], names[0], names[2])
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# --- fingerprints --------------------------------------------------------------------


def test_a_fingerprint_changes_with_any_part_and_not_with_the_order_of_keys():
    base = runs.fingerprint({"a": 1, "b": [2, 3]}, "x")
    assert base == runs.fingerprint({"b": [2, 3], "a": 1}, "x")
    others = [
        runs.fingerprint({"a": 1, "b": [2, 4]}, "x"),
        runs.fingerprint({"a": 1, "b": [3, 2]}, "x"),
        runs.fingerprint({"a": 1.5, "b": [2, 3]}, "x"),
        runs.fingerprint({"a": 1, "b": [2, 3]}, "y"),
        runs.fingerprint({"a": 1, "b": [2, 3]}),
    ]
    assert len({base, *others}) == 6
    assert re.fullmatch("[0-9a-f]{16}", base)


@pytest.fixture
def fingerprints_of_a_copy(tmp_path, monkeypatch) -> Iterator[Callable[[str, str, str], list[str]]]:
    """Edit one file of a copy of the package, then fingerprint some of its rooms."""
    original = Path(runs.__file__).parent
    package = tmp_path / "synthlib"
    shutil.copytree(original, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(runs, "__file__", str(package / "runs.py"))

    def edited(name: str, old: str, new: str) -> list[str]:
        text = (package / name).read_text(encoding="utf-8")
        assert old in text
        (package / name).write_text(text.replace(old, new), encoding="utf-8")
        runs.code_fingerprint.cache_clear()
        return [runs.code_fingerprint(*rooms) for rooms in (("coils",), ("metrics",), ())]

    yield edited
    runs.code_fingerprint.cache_clear()


def test_the_fingerprint_of_code_changes_with_what_it_does_in_that_room(fingerprints_of_a_copy):
    name = "coils/combine.py"
    before = fingerprints_of_a_copy(name, "1e-12", "1e-12")
    after = fingerprints_of_a_copy(name, "1e-12", "1e-11")
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, False]


def test_comments_and_docstrings_do_not_change_the_fingerprint_of_code(fingerprints_of_a_copy):
    name = "coils/combine.py"
    before = fingerprints_of_a_copy(name, "1e-12", "1e-12")
    assert fingerprints_of_a_copy(name, "What each coil sees", "What every coil sees") == before
    assert fingerprints_of_a_copy(name, "    return", "    # said here\n    return") == before


@pytest.mark.parametrize("kind", ["js", "css"])
def test_what_the_browser_runs_changes_the_fingerprint_of_its_room(fingerprints_of_a_copy, kind):
    name = f"coils/look.{kind}"
    (Path(runs.__file__).parent / name).write_text("a { color: red }")
    before = fingerprints_of_a_copy(name, "red", "red")
    after = fingerprints_of_a_copy(name, "red", "blue")
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, False]


def test_every_fingerprint_of_code_is_of_rooms_that_exist():
    # the hash of no file at all would never change
    package = Path(runs.__file__).parent
    named = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("code_fingerprint"):
                named |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    assert named
    for room in named:
        place = package.joinpath(*room.split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file(), room


# --- records -------------------------------------------------------------------------


@pytest.fixture
def two_runs(tmp_path, monkeypatch) -> list[Path]:
    """The same figure, table and page made twice, in two folders and at two times of day."""
    folders = []
    for day, name in enumerate(("first", "second")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(86400 * day))
        run = runs.start("99_test", tmp_path / name, seed=7, data="simulated", matrix=[45, 38])
        run.add_inputs({"a.h5": "0123abcd"})
        figure, axes = plt.subplots()
        axes.plot([1, 3, 2])
        axes.set_title("phase (rad)")
        run.save_figure(figure, "fig")
        plt.close(figure)
        run.save_table(tables.render(["a", "b"], [["x", "1"]]), "tab")
        run.save_page("<!doctype html><p>µ</p>", "page")
        folders.append(run.out_dir)
    return folders


FILES = [f"figures/fig.{kind}" for kind in ("png", "pdf", "json")] + [
    f"tables/tab.{kind}" for kind in ("csv", "md", "tex", "json")
]
FILES += ["pages/page.html", "pages/page.json"]


def test_a_run_writes_every_kind_of_figure_table_and_page(two_runs):
    found = sorted(str(p.relative_to(two_runs[0])) for p in two_runs[0].rglob("*") if p.is_file())
    assert found == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_results_made_twice_are_the_same_bytes(two_runs, name):
    first, second = ((folder / name).read_bytes() for folder in two_runs)
    assert first == second


@pytest.mark.parametrize("name", FILES)
def test_results_name_no_path_of_this_machine(two_runs, name):
    content = (two_runs[0] / name).read_bytes()
    for path in (two_runs[0], runs.project_root(), sys.prefix, Path.cwd()):
        assert str(path).encode() not in content


def test_figures_tables_and_pages_carry_the_record(two_runs):
    folder = two_runs[0]
    record = runs.read_json(folder / "figures/fig.json")
    assert record["run"] == "99_test"
    assert record["parameters"] == {"seed": 7, "data": "simulated", "matrix": [45, 38]}
    assert record["inputs"] == {"a.h5": "0123abcd"}
    assert record["packages"]["torch"] == torch.__version__
    head = subprocess.run(
        ["git", "-C", str(runs.project_root()), "rev-parse", "HEAD"], capture_output=True, text=True
    )
    assert record["git_commit"].removesuffix("+changes") == (head.stdout.strip() or "unknown")
    assert runs.read_json(folder / "tables/tab.json") == record
    assert runs.read_json(folder / "pages/page.json") == record

    with Image.open(folder / "figures/fig.png") as picture:
        assert json.loads(picture.text["Description"]) == record
    pdf = (folder / "figures/fig.pdf").read_bytes()
    keywords = re.search(rb"/Keywords \((.*?)(?<!\\)\)", pdf, re.DOTALL)
    assert keywords is not None
    assert json.loads(re.sub(rb"\\([\\()])", rb"\1", keywords[1])) == record
    for kind in ("md", "tex"):
        text = (folder / f"tables/tab.{kind}").read_text()
        assert "record: tab.json" in text
        assert record["git_commit"] in text


def test_a_page_is_kept_as_it_is_and_the_notebook_shows_where(tmp_path):
    run = runs.start("99_test", tmp_path / "out", seed=7)
    page = "<!doctype html><p>µ</p>" + " " * 1_500_000
    shown = run.save_page(page, "page_99")
    assert (tmp_path / "out/pages/page_99.html").read_text(encoding="utf-8") == page
    assert "`pages/page_99.html` (1.5 MB)" in shown.data
    assert str(tmp_path) not in shown.data


# --- weights -------------------------------------------------------------------------


def test_the_same_weights_and_metadata_are_the_same_bytes_and_come_back(tmp_path):
    """The package alone writes the order of its metadata anew at every call."""
    draw = torch.Generator().manual_seed(3)
    weights = {
        "b.weight": torch.randn(3, 5, 2, generator=draw).permute(2, 0, 1),
        "a": torch.arange(7),
        "half": torch.ones(3, dtype=torch.bfloat16),
    }
    metadata = {"record": json.dumps({"ü": 1}), "architecture": "{}", "other": 'a "quoted" text'}
    contents = set()
    for number in range(24):
        path = tmp_path / f"{number}.safetensors"
        order = sorted(metadata, key=lambda name, n=number: runs.seed_for(n, name))
        runs.write_weights(path, weights, {name: metadata[name] for name in order})
        contents.add(path.read_bytes())
    assert len(contents) == 1
    with safe_open(path, "pt") as file:
        assert file.metadata() == metadata
        assert set(file.keys()) == set(weights)
        for name, value in weights.items():
            assert torch.equal(file.get_tensor(name), value)
            assert file.get_tensor(name).dtype == value.dtype
