"""`synthlib gallery`, as a person sees it who opens no JupyterLab."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from viewer_hands import (
    assert_like,
    drag,
    magnitude_and_phase,
    pixels,
    point_at,
    set_range,
    show,
)

from synthlib import runs, widgets
from synthlib.figures import complexes
from synthlib.phase import sources

# the scans that other tests simulate, too: they are kept under data/
TINY = {
    "generator": "tiny",
    "n_subjects": "6",
    "n_slices": "2",
    "gan_fraction": "0.375",
    "matrix": "[48, 40]",
    "coil_counts": "[8]",
    "workers": "1",
}
SHOWN = ".synthlib-viewer .sv-stage"
PATIENCE = 120_000  # ms; the kernel imports torch and trains the tiny generator


@dataclass
class Gallery:
    url: str
    process: subprocess.Popen[str]


@contextmanager
def served(out, *options: str, **settings: str) -> Iterator[Gallery]:
    """The command, from its start to after its end."""
    command = [str(Path(sys.executable).with_name("synthlib")), "gallery", "params/demo"]
    command += ["--no-browser", "--out", str(out), *options]
    for name, value in {**TINY, **settings}.items():
        command += ["--set", f"{name}={value}"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=runs.project_root(),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C ends it" in line:
                break
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+/\?token=\S+", "".join(lines)) or [None]
        assert url, "".join(lines)
        yield Gallery(url, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=40)


def browse(page, study):
    """Slider, scan, source, window, cursor and a new draw, against the same gallery made here."""
    shown = ["measured", "sinusoidal"]
    context = sources.open_context(None, study["gan"])
    here = widgets.phase_gallery(study["test"] + study["val"], shown, context, seed=2023)
    scan = list(here._cases)[1]
    stacks = here._open(scan).stacks
    page.get_by_label("scan", exact=True).select_option(scan)
    page.locator(f'.sv-stage[aria-label*="{scan}"]').first.wait_for()
    show(page, 2, sources.label("sinusoidal"), "phase")
    for slice_index in (1, 0):
        set_range(page, "slice", slice_index)
        for index, name in ((1, "measured"), (2, "sinusoidal")):
            limits = complexes.Limits()
            wanted = complexes.paint("phase", stacks[sources.label(name)], slice_index, 0, limits)
            assert_like(pixels(page, index), wanted)
    before = pixels(page, 1)
    drag(page, 1, 0.0, 0.3)
    assert (pixels(page, 1) != before).mean() > 0.2
    point_at(page, 2, 20, 18)
    image = stacks[sources.label("sinusoidal")].image(0, 0)[20, 18]
    size, phase = magnitude_and_phase(page, 2)
    assert size == pytest.approx(float(image.abs()), rel=2e-3)
    assert phase == pytest.approx(float(image.angle()), abs=0.006)
    page.get_by_role("button", name="New draw").click()
    page.get_by_text(re.compile(r"Draw 1, written in \d+ ms")).wait_for()


def test_the_gallery_alone_is_shown_and_ctrl_c_leaves_nothing_behind(tmp_path, page, study):
    with served(tmp_path) as gallery:
        page.goto(gallery.url, timeout=PATIENCE)
        page.locator(SHOWN).first.wait_for(timeout=PATIENCE)
        assert page.title() == "Phase gallery"
        assert page.locator("h1").inner_text().startswith("Phase gallery")
        assert page.locator("body").get_attribute("data-jp-theme-light") == "true"
        text = page.locator("body").inner_text()
        assert "import" not in text  # no sources
        assert "other_patient " not in text  # nothing that the cells print
        browse(page, study)
        page.close()  # before its server

        root = gallery.url.partition("?")[0]
        with urllib.request.urlopen(root) as answer:
            assert urlsplit(answer.url).path == "/login"  # the token is needed

        below = psutil.Process(gallery.process.pid).children(recursive=True)
        assert below
        gallery.process.send_signal(signal.SIGINT)
        assert gallery.process.wait(timeout=40) == 0
        assert gallery.process.stdout.read().strip() == "The gallery is closed."
        assert psutil.wait_procs(below, timeout=5)[1] == []


def test_an_error_in_the_gallery_is_a_message_on_its_page_also_a_dark_one(tmp_path, page):
    settings = {"sources_shown": "[measured, nonsense]"}
    with served(tmp_path, "--theme", "dark", **settings) as gallery:
        page.goto(gallery.url, timeout=PATIENCE)
        message = page.locator(".gallery-error > p")
        message.wait_for(timeout=PATIENCE)
        assert "ValueError: phase source 'nonsense' is unknown" in message.inner_text()
        assert page.locator(SHOWN).count() == 0
        assert page.locator("body").get_attribute("data-jp-theme-light") == "false"
        back = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", back)[:3])) < 64
        page.close()  # before its server
