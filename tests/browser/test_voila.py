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

from synthlib import runs

# the scans that other tests simulate, too: they are kept under data/
TINY = {
    "generator": "tiny",
    "n_subjects": "4",
    "n_slices": "2",
    "matrix": "[48, 40]",
    "coil_counts": "[8]",
    "workers": "1",
}
SHOWN = ".jupyter-widgets, .synthlib-viewer"
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


def test_the_gallery_alone_is_shown_and_ctrl_c_leaves_nothing_behind(tmp_path, page):
    with served(tmp_path) as gallery:
        page.goto(gallery.url, timeout=PATIENCE)
        page.locator(SHOWN).first.wait_for(timeout=PATIENCE)
        assert page.title() == "Phase gallery"
        assert page.locator("h1").inner_text().startswith("Phase gallery")
        assert page.locator("body").get_attribute("data-jp-theme-light") == "true"
        text = page.locator("body").inner_text()
        assert "import" not in text  # no sources
        assert "other_patient " not in text  # nothing that the cells print
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
