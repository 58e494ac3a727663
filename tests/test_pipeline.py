"""Profiles, headless notebooks and the command line.

How stages are run, kept and repeated is tested on notebooks of two cells; the
project's own are loaded with every profile and their first step is run.
"""

import ast
import json
import re
import shutil
import socket

import nbformat
import papermill
import pytest
import torch

from synthlib import cli, formats, pairs, pipeline, runs, scanner
from synthlib.pipeline import execute, page, profiles, serve, strip
from synthlib.study import experiments

ROOT = runs.project_root()
PROFILES = ["demo", "paper-16coil", "paper-20coil", "record"]
PARAMETERS = 'data = "simulated"\nout_dir = "results/out"\nn = 1\nfail = ""\n'
WORK = """
from pathlib import Path
if fail == "error":
    raise ValueError("the reason is told")
if fail == "killed":
    import os
    os.kill(os.getpid(), 9)
with (Path(out_dir) / "ran.txt").open("a") as file:
    file.write(f"{name} {n}\\n")
print(f"{name} ran with n = {n}")
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """The notebooks' processes share the cores with whatever else is tested."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def write_notebook(path, source):
    cells = [nbformat.v4.new_code_cell(PARAMETERS), nbformat.v4.new_code_cell(source)]
    cells[0].metadata["tags"] = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["kernelspec"] = kernel
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of two small notebooks and one profile."""
    runs.git_commit()  # of this project, before the root moves
    for name in ("01_first", "02_second"):
        notebook = tmp_path / "notebooks" / f"{name}.ipynb"
        write_notebook(notebook, f'name = "{name[:2]}"\n{WORK}')
        profile = tmp_path / "params" / "small" / f"{name}.yaml"
        profile.parent.mkdir(parents=True, exist_ok=True)
        profile.write_text("n: 2\nout_dir: results/small\n")
    (tmp_path / "results" / "small").mkdir(parents=True)
    monkeypatch.setattr(runs, "project_root", lambda: tmp_path)
    return tmp_path


def reproduce(*settings, **choice):
    return pipeline.reproduce(pipeline.Choice("params/small", settings=settings, **choice))


def ran(project):
    return (project / "results" / "small" / "ran.txt").read_text().splitlines()


# --- what is run and what is kept -----------------------------------------------------


def test_notebooks_run_in_order_and_only_what_changed_is_repeated(project, capfd):
    out = project / "results" / "small"
    index = reproduce()
    assert index == out / "index.html"
    assert ran(project) == ["01 2", "02 2"]
    for name in ("01_first", "02_second"):
        executed = nbformat.read(out / "notebooks" / f"{name}.ipynb", as_version=4)
        (output,) = executed.cells[-1].outputs
        assert output.text == f"{name[:2]} ran with n = 2\n"
        assert str(project) not in (out / "notebooks" / f"{name}.ipynb").read_text()
        assert "ran with n = 2" in (out / "notebooks" / f"{name}.html").read_text()
        record = runs.read_json(out / "stages" / f"{name}.json")
        assert record["parameters"] == {"n": 2, "out_dir": "results/small"}
    text = capfd.readouterr().err
    assert "[1/2] 01_first" in text
    assert "[2/2] 02_second" in text

    reproduce()
    assert ran(project) == ["01 2", "02 2"]
    assert capfd.readouterr().err.count("current, not repeated") == 2

    reproduce("02.n=5")  # only the second depends on it
    assert ran(project)[2:] == ["02 5"]

    notebook = project / "notebooks" / "01_first.ipynb"
    write_notebook(notebook, nbformat.read(notebook, 4).cells[1].source + "\nprint('more')")
    reproduce("02.n=5")  # later notebooks read what earlier ones left
    assert ran(project)[3:] == ["01 2", "02 5"]

    (out / "notebooks" / "02_second.html").unlink()
    reproduce("02.n=5")
    assert ran(project)[5:] == ["02 5"]

    reproduce("02.n=5", only=["01"], force=True)
    assert ran(project)[6:] == ["01 2"]


def test_changed_data_repeat_the_stages_that_read_them(project):
    data = project / "scans"
    data.mkdir()
    (data / "one.h5").write_bytes(b"1")
    reproduce(data="scans", only=["01"])
    reproduce(data="scans", only=["01"])
    assert ran(project) == ["01 2"]
    (data / "two.h5").write_bytes(b"2")
    reproduce(data="scans", only=["01"])
    assert ran(project) == ["01 2", "01 2"]


def test_an_error_in_a_notebook_is_exit_status_1_with_its_message_and_a_copy(project, capfd):
    out = project / "results" / "small"
    command = ["reproduce", "params/small", "--only", "01", "--set", "01.fail=error"]
    assert cli.main(command) == 1
    text = capfd.readouterr().err
    assert "01_first stopped in cell" in text
    assert "ValueError: the reason is told" in text
    assert "01_first.failed.ipynb" in text
    assert "Traceback" not in text
    failed = nbformat.read(out / "notebooks" / "01_first.failed.ipynb", as_version=4)
    assert any(o.get("ename") == "ValueError" for c in failed.cells for o in c.get("outputs", ()))
    left = {path.name for path in (out / "notebooks").iterdir()}
    assert left == {"01_first.failed.ipynb"}
    assert not (out / "stages" / "01_first.json").exists()

    assert cli.main(["reproduce", "params/small", "--only", "01"]) == 0
    left = {path.name for path in (out / "notebooks").iterdir()}
    assert left == {"01_first.ipynb", "01_first.html"}


def test_a_notebook_whose_process_is_killed_is_exit_status_1_with_a_message(project, capfd):
    command = ["reproduce", "params/small", "--only", "01", "--set", "01.fail=killed"]
    assert cli.main(command) == 1
    text = capfd.readouterr().err
    assert "synthlib: 01_first" in text
    assert "Traceback" not in text
    assert not (project / "results" / "small" / "stages" / "01_first.json").exists()


def test_ctrl_c_is_exit_status_130_and_says_that_work_is_kept(monkeypatch, capsys):
    def stopped(choice):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "reproduce", stopped)
    assert cli.main(["reproduce"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


# --- what readers without a kernel see ---------------------------------------------------

VIEW = {strip.WIDGET: {"model_id": "0"}}
BOTH = {**VIEW, "text/html": "<iframe srcdoc='&lt;p&gt;'></iframe>", "text/plain": "Viewer()"}


def write_outputs(path, *outputs):
    """A notebook that was executed where there were widgets, in a folder of that machine."""
    cell = nbformat.v4.new_code_cell("show()")
    cell.outputs = [nbformat.v4.new_output("display_data", data=data) for data in outputs]
    cell.metadata["papermill"] = {"duration": 1}
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["papermill"] = {"input_path": str(path)}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    nbformat.write(notebook, path)


def test_a_settled_notebook_shows_html_or_pictures_instead_of_dead_widgets(tmp_path):
    kept = {"text/markdown": "**kept**"}
    picture = {**VIEW, "image/png": "aaaa", "text/plain": "Viewer()"}
    write_outputs(tmp_path / "a.ipynb", BOTH, picture, {**VIEW, "text/plain": "VBox(...)"}, kept)
    strip.settle(tmp_path / "a.ipynb")
    text = (tmp_path / "a.ipynb").read_text()
    assert not any(word in text for word in ("widget", "papermill", "VBox", str(tmp_path)))
    (cell,) = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells
    html, png, words, same = (output.data for output in cell.outputs)
    assert html == {name: BOTH[name] for name in ("text/html", "text/plain")}
    assert set(png) == {"image/png", "text/plain"}
    assert words == {"text/plain": "An interactive view: run this cell to use it."}
    assert same == kept
    strip.settle(tmp_path / "a.ipynb")
    assert (tmp_path / "a.ipynb").read_text() == text


def test_the_committed_notebooks_are_settled(tmp_path):
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        copy = tmp_path / path.name
        shutil.copy(path, copy)
        strip.settle(copy)
        before, after = (nbformat.read(file, as_version=4) for file in (path, copy))
        is_settled = before == after  # a notebook in a failed comparison fills the screen
        assert is_settled, f"{path.name} holds what only its kernel could show: run make notebooks"


def test_the_executed_copy_and_its_page_hold_the_html_of_a_widget(project):
    shown = f"from IPython.display import display\ndisplay({BOTH!r}, raw=True)"
    write_notebook(project / "notebooks" / "01_first.ipynb", f'name = "01"\n{WORK}\n{shown}')
    reproduce(only=["01"])
    folder = project / "results" / "small" / "notebooks"
    (output,) = nbformat.read(folder / "01_first.ipynb", 4).cells[-1].outputs[1:]
    assert set(output.data) == {"text/html", "text/plain"}
    assert 'srcdoc="&lt;p&gt;"' in (folder / "01_first.html").read_text()


def test_the_index_links_pages_beside_what_their_notebook_made(tmp_path):
    for name in ("01_first", "02_second"):
        run = runs.start(name, tmp_path, seed=1)
        run.save_page("<p>" + "x" * 2_000_000, f"page_{name}")
        runs.write_json(tmp_path / "stages" / f"{name}.json", {"key": "0"})
        runs.write_text(tmp_path / "notebooks" / f"{name}.html", "")
    page.write_index(tmp_path, "params/small", ["01_first", "02_second"])
    first, second = assert_whole(tmp_path).split("<h2 ")[1:3]
    for name, part in (("01_first", first), ("02_second", second)):
        assert f'href="pages/page_{name}.html">Open page_{name}</a>' in part
        assert "works without a kernel, 2.0 MB" in part
    assert "page_02" not in first


# --- the gallery ------------------------------------------------------------------------


def test_the_gallery_is_the_tagged_cells_of_its_notebook_with_the_profiles_parameters():
    (stage,) = profiles.choose(profiles.load("params/demo"), ["03"])
    small = serve.gallery_notebook(stage, "params/demo")
    heading, defaults, injected, *cells = small.cells
    assert heading.source == "# Phase gallery\n\nparams/demo"
    assert defaults.metadata.tags == ["parameters"]
    values = {}
    exec(defaults.source + "\n" + injected.source, values)
    assert {name: values[name] for name in stage.parameters} == stage.parameters
    whole = nbformat.read(stage.notebook, as_version=4).cells
    tagged = [cell.source for cell in whole if "gallery" in cell.metadata.get("tags", ())]
    assert [cell.source for cell in cells] == tagged
    assert "widgets." in tagged[-1]


def gallery(capfd, *arguments):
    """Exit status and errors of a command that is expected to stop before it serves."""
    status = cli.main(["gallery", "params/demo", "--no-browser", *arguments])
    return status, capfd.readouterr().err


def test_a_gallery_without_its_trained_generator_says_how_to_make_it(tmp_path, capfd):
    status, text = gallery(capfd, "--out", str(tmp_path))
    assert status == 1
    assert text.startswith("synthlib: the gallery of params/demo shows the generator that notebook")
    assert "no generator_4coil.safetensors in" in text
    assert "`make reproduce PROFILE=params/demo`" in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("port", ["taken", "99999"])
def test_a_port_that_cannot_be_had_is_told(tmp_path, capfd, port):
    with socket.create_server((serve.HOST, 0)) as other:
        wanted = str(other.getsockname()[1]) if port == "taken" else port
        command = ["--out", str(tmp_path), "--set", "generator=tiny", "--port", wanted]
        status, text = gallery(capfd, *command)
    assert status == 1
    assert text.startswith(f"synthlib: port {wanted} cannot be had")
    assert "expected one that nothing else listens on" in text


def test_a_profile_without_the_gallerys_notebook_is_refused(project, capfd):
    assert cli.main(["gallery", "params/small"]) == 1
    assert "'03_phase_gallery' fits 0 of the profile" in capfd.readouterr().err


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["nonsense"], ["nonsense", "params/demo", "params/paper-16coil"]),
        (["params"], ["params/demo"]),
        (["--set", "05_varnet_benchmark.epoch=3"], ["no parameter epoch", "epochs"]),
        (["--set", "05.cascade=3"], ["05_varnet_benchmark has no parameter cascade"]),
        (["--set", "99.epochs=3"], ["'99' fits 0", "05_varnet_benchmark"]),
        (["--set", "0.epochs=3"], ["'0' fits"]),
        (["--only", "99"], ["'99' fits 0"]),
        (["--only", "varnet"], ["'varnet' fits 0"]),
        (["--set", "05.epochs"], ["expected NOTEBOOK.PARAMETER=VALUE"]),
        (["--set", ".epochs=3"], ["--set .epochs=3"]),
        (["--set", "05.=3"], ["expected NOTEBOOK.PARAMETER=VALUE"]),
        (["--set", "05.accelerations=[4, 8"], ["is not a YAML value"]),
        (["--set", "01.out_dir=results/else"], ["out_dir", "results/else"]),
    ],
)
def test_what_is_not_known_is_refused_before_anything_runs(
    arguments, messages, capsys, monkeypatch
):
    def fail(*args):
        raise AssertionError("a notebook was run")

    monkeypatch.setattr(execute, "run_notebook", fail)
    assert cli.main(["reproduce", *arguments]) == 1
    text = capsys.readouterr().err
    assert text.startswith("synthlib: ")
    assert all(message in text for message in messages), text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("03_third", "n: 1", "named after no notebook; expected one of 01_first, 02_second"),
        ("02_second", "n: [1", "is not YAML"),
        ("02_second", "- 1\n- 2", "holds list; expected name: value"),
        ("02_second", "m: 1", "has no parameter m"),
    ],
)
def test_a_broken_params_file_is_named(project, name, text, message):
    (project / "params" / "small" / f"{name}.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        profiles.load("params/small")
    assert name in str(caught.value)


def test_the_last_setting_wins_and_values_are_yaml(project):
    stages = profiles.load(
        "params/small", data="scans", out="results/o", settings=["01.n=[1, 2]", "01_first.n=null"]
    )
    assert stages[0].parameters == {"n": None, "out_dir": "results/o", "data": "scans"}
    assert stages[1].parameters == {"n": 2, "out_dir": "results/o", "data": "scans"}


# --- the project's own profiles -------------------------------------------------------


def test_every_profile_of_the_project_is_tested():
    assert sorted(p.name for p in (ROOT / "params").iterdir() if p.is_dir()) == PROFILES


@pytest.fixture(scope="module", params=PROFILES)
def loaded(request):
    return request.param, profiles.load(f"params/{request.param}")


def full_parameters(stage):
    """The notebook's defaults with the profile's values over them."""
    known = papermill.inspect_notebook(str(stage.notebook))
    defaults = {name: ast.literal_eval(entry["default"]) for name, entry in known.items()}
    return {**defaults, **stage.parameters}, defaults


def test_a_profile_loads_against_its_notebooks(loaded):
    name, stages = loaded
    numbers = [stage.name[:2] for stage in stages]
    assert numbers[:5] == ["01", "02", "03", "04", "05"]
    assert {stage.parameters["out_dir"] for stage in stages} == {f"results/{name}"}
    # in any order: 05 shows its first coil count in full
    assert len({json.dumps(sorted(stage.parameters["coil_counts"])) for stage in stages[:5]}) == 1
    assert len({stage.parameters["seed"] for stage in stages}) == 1
    assert len({stage.parameters["gan_fraction"] for stage in stages[:5]}) == 1


def test_values_of_a_profile_are_of_the_kind_of_the_notebooks_defaults(loaded):
    _, stages = loaded
    for stage in stages:
        _, defaults = full_parameters(stage)
        for name, value in stage.parameters.items():
            kinds = (int, float) if isinstance(defaults[name], float) else type(defaults[name])
            # YAML reads 2e-4 as text
            assert isinstance(value, kinds), f"{stage.name}.{name} is {value!r}"


@pytest.mark.parametrize("n_coils", [16, 20])
def test_paper_profiles_have_the_papers_settings(n_coils):
    stages = {s.name[:2]: s for s in profiles.load(f"params/paper-{n_coils}coil")}
    gan, _ = full_parameters(stages["02"])
    expected = {"mode": "scalar", "ngf": 64, "ndf": 64, "depth": 8, "epochs": 50, "batch_size": 1}
    expected |= {"learning_rate": 2e-4, "lambda_l1": 100.0, "coil_counts": [n_coils]}
    assert {name: gan[name] for name in expected} == expected
    grid, _ = full_parameters(stages["05"])
    expected = {"cascades": 12, "chans": 18, "pools": 4, "sens_chans": 8, "sens_pools": 4}
    expected |= {"epochs": 10, "center_fraction": 0.04, "accelerations": [4, 6, 8, 10]}
    expected |= {"network": "end_to_end", "loss": "ssim", "schedule": "constant", "steps": 0}
    expected |= {"learning_rate": 3e-4, "test_fraction": 0.1}
    assert {name: grid[name] for name in expected} == expected
    assert grid["generator"] == "trained"


def test_every_profile_compares_all_sources_and_the_product_at_r_4_to_10(loaded):
    _, stages = loaded
    grid, _ = full_parameters(next(stage for stage in stages if stage.name.startswith("05")))
    assert set(grid["training_sources"]) >= {
        "ground_truth", "measured", "gan", "product", "sinusoidal", "random", "zero",
        "other_patient", "polynomial",
    }  # fmt: skip
    assert grid["accelerations"] == [4, 6, 8, 10]


def test_what_05_meets_late_is_possible_in_every_profile(loaded):
    """Hours of training come before the curve of worth and the measured heads."""
    _, stages = loaded
    grid, _ = full_parameters(next(stage for stage in stages if stage.name.startswith("05")))
    late = [grid["worth_source"], *grid["head_sources"]]
    r = [grid["worth_acceleration"], *grid["head_accelerations"]]
    experiments.require_possible(grid["training_sources"] + late, r, grid["center_fraction"])
    # the classical methods' weights are those that this R of the grid chose
    n_shown = grid["coil_counts"][0]
    r_of_shown = grid["accelerations_of"].get(str(n_shown), grid["accelerations"])
    assert grid["worth_acceleration"] in r_of_shown
    assert n_shown not in [n_coils for n_coils, *_ in grid["head_sets"]]


def fastmri_folder(folder, n_coils):
    """Five patients in fastMRI's layout, and one of another coil count."""
    for count, n_subjects in ((n_coils, 5), (4, 1)):
        settings = scanner.ScanSettings(
            n_subjects=n_subjects,
            coil_counts=(count,),
            contrasts=("AXT2",),
            n_slices=2,
            matrix=(44, 36),
        )
        for person in scanner.subjects(settings):
            (scan,) = scanner.scan_subject(settings, person)
            raw = scan.volume
            formats.write_raw(
                folder / "multicoil_train" / f"file_{raw.name}.h5",
                torch.stack([raw.kspace[i] for i in range(raw.n_slices)]),
                contrast=raw.contrast,
                patient_id=raw.patient_id,
                recon_shape=raw.recon_shape,
            )


def assert_whole(out):
    """Everything that the page shows or links to is there."""
    text = (out / "index.html").read_text()
    targets = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert targets
    assert [t for t in targets if not (out / t).is_file()] == []
    return text


@pytest.mark.parametrize(("profile", "n_coils"), [("paper-16coil", 16), ("paper-20coil", 20)])
def test_the_first_step_of_a_paper_profile_runs_on_a_folder_of_fastmri_files(
    profile, n_coils, tmp_path, capfd
):
    fastmri_folder(tmp_path / "brain", n_coils)
    out = tmp_path / "out"
    command = ["reproduce", f"params/{profile}", "--data", str(tmp_path / "brain")]
    command += ["--out", str(out), "--only", "01"]
    assert cli.main(command) == 0, capfd.readouterr().err
    assert "tab_01_scans" in assert_whole(out)
    table = (out / "tables" / "tab_01_scans.csv").read_text()
    (row,) = table.strip().splitlines()[1:]  # the file of four coils is left out
    assert row.startswith(f"AXT2,{n_coils},88x36,44x36")
    record = runs.read_json(out / "tables" / "tab_01_scans.json")
    assert record["parameters"]["coil_counts"] == [n_coils]
    assert list(record["inputs"]) == [f"5 raw files of {n_coils} coils"]
    files = {p: p.stat().st_mtime_ns for p in (out / "notebooks").iterdir()}
    capfd.readouterr()
    assert cli.main(command) == 0
    assert "current, not repeated" in capfd.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (out / "notebooks").iterdir()} == files


def test_the_first_step_of_the_demo_runs(study, tmp_path, capfd):
    """With the tiny study's scans, which the simulated scanner keeps."""
    settings = ["coil_counts=[8]", "n_subjects=4", "n_slices=2", "matrix=[48, 40]", "workers=1"]
    command = ["reproduce", "params/demo", "--out", str(tmp_path / "out"), "--only", "01"]
    command += [word for setting in settings for word in ("--set", f"01.{setting}")]
    assert cli.main(command) == 0, capfd.readouterr().err
    assert "tab_01_split" in assert_whole(tmp_path / "out")
    executed = (tmp_path / "out" / "notebooks" / "01_data_exploration.ipynb").read_text()
    assert "12 scans of 4 patients" in executed


def test_data_that_are_not_there_are_told(tmp_path, capfd):
    command = ["reproduce", "params/paper-16coil", "--data", str(tmp_path / "none")]
    command += ["--out", str(tmp_path / "out"), "--only", "01"]
    assert cli.main(command) == 1
    text = capfd.readouterr().err
    assert "is not a folder; expected raw data" in text
    assert "Traceback" not in text
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["coil_counts=[16, 8]"], "no file of the data has 8 coils; there are 4 coils: 1 patients"),
        (["coil_counts=[4]"], "scans of 4 coils are those of 1 patients; expected at least 4"),
        (["contrasts=[AXT1]"], "no file of the data has one of the contrasts ['AXT1']"),
        (["data=simulated", "n_subjects=3"], "n_subjects of 01_data_exploration is 3 patients"),
    ],
)
def test_what_the_data_lack_is_told_before_anything_runs(
    settings, message, tmp_path, capfd, monkeypatch
):
    kspace = torch.randn(1, 16, 24, 20, dtype=torch.complex64)
    for number, n_coils in enumerate((16, 16, 16, 16, 4)):
        formats.write_raw(
            tmp_path / "brain" / f"file{number}.h5", kspace[:, :n_coils], contrast="AXT2",
            patient_id=f"p{number}", recon_shape=(24, 20),
        )  # fmt: skip

    def fail(*_):
        raise AssertionError("a notebook was run, or maps were made")

    monkeypatch.setattr(execute, "run_notebook", fail)
    command = ["reproduce", "params/paper-16coil", "--data", str(tmp_path / "brain")]
    command += ["--out", str(tmp_path / "out"), "--only", "01"]
    assert cli.main(command + [word for text in settings for word in ("--set", f"01.{text}")]) == 1
    assert message in capfd.readouterr().err
    monkeypatch.setattr(pairs.study, "prepare", fail)
    with pytest.raises(ValueError, match=r"1 scans of 4 coils are those of 1 patients"):
        pairs.open_study(
            str(tmp_path / "brain"), n_coils=4, out_dir=tmp_path, gan_fraction=0.3, seed=1
        )
