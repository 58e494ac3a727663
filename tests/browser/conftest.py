"""A browser that tells on every page: errors, and requests that leave this machine.

Helpers are methods of the fixtures, for test modules here cannot import one another.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import nbformat
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Playwright,
    sync_playwright,
)

from synthlib import runs

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PATIENCE = 120_000  # ms; a kernel that imports torch on a busy machine is slow
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


# --- the browser -----------------------------------------------------------------------


# Of a module, not of the session: while Playwright is open, an event loop counts as running in
# this thread, and what other modules test (papermill, Dask) starts loops of its own.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


def launch(playwright: Playwright) -> Browser | None:
    """Chromium or Chrome as the system has it; None where it has none."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        return None
    return playwright.chromium.launch(executable_path=path, args=list(FLAGS))


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    browser = launch(playwright)
    if browser is None:
        reason = (
            f"none of {', '.join(BROWSERS)} was found; expected one for the browser tests. "
            "Install it, on Debian: apt-get install chromium"
        )
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield browser
    browser.close()


@dataclass
class Watch:
    """What the pages of one test did that they should not."""

    said: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Let messages pass in which this regular expression is found."""
        self.allowed.append(pattern)

    @property
    def complaints(self) -> list[str]:
        return [s for s in self.said if not any(re.search(a, s) for a in self.allowed)]

    def follow(self, context: BrowserContext) -> None:
        """Record errors and outward requests of every page of a context, popups too."""
        context.on("request", lambda request: self._went(request.url))
        context.on("page", lambda page: page.on("websocket", lambda opened: self._went(opened.url)))
        context.on("weberror", lambda error: self._failed(error.error))
        context.on("console", self._printed)

    def _failed(self, error: Error) -> None:
        self.said.append(f"page error: {error.stack or error}")

    def _printed(self, line: ConsoleMessage) -> None:
        if line.type == "error":
            self.said.append(f"console: {line.text} ({line.location['url'][:200]})")

    def _went(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in LOOPBACK:
            self.said.append(f"request to {parts.hostname}: {url[:200]}")


@pytest.fixture
def watch() -> Watch:
    """For a test that must let a known harmless message pass: watch.allow(pattern)."""
    return Watch()


@pytest.fixture
def page(chromium: Browser, watch: Watch) -> Iterator[Page]:
    """A page of a context of its own; errors in it, and requests that leave, fail the test."""
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(PATIENCE / 4)
    watch.follow(context)
    yield context.new_page()
    context.close()
    assert not watch.complaints, "the page complained:\n" + "\n".join(watch.complaints)


# --- JupyterLab ------------------------------------------------------------------------


@dataclass(frozen=True)
class Lab:
    """A JupyterLab of its own, that serves a copy of the project's notebooks."""

    port: int
    token: str
    notebooks: Path

    def url(self, path: str = "lab") -> str:
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}"

    def write(self, name: str, *sources: str) -> None:
        """Put a notebook of these code cells beside the project's own."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
        # without it JupyterLab asks which kernel to start
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, self.notebooks / name)

    def open(self, page: Page, name: str, *, theme: str = "light") -> None:
        """Open a notebook and wait until its kernel is idle; no state of earlier visits is kept."""
        page.goto(self.url(f"lab/tree/{quote(name)}") + "&reset")
        page.wait_for_function("window.jupyterapp !== undefined", timeout=PATIENCE)
        page.evaluate("jupyterapp.restored.then(() => null)")
        if page.evaluate("document.body.dataset.jpThemeName") != THEMES[theme]:
            self.set_theme(page, theme)
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        self.wait_idle(page)

    def set_theme(self, page: Page, theme: str) -> None:
        """Change JupyterLab's theme to "light" or "dark" and wait until it is shown."""
        # it shows its splash again, and taking two away at once is an error in the page
        splash = page.locator("#jupyterlab-splash")
        splash.wait_for(state="detached")
        page.evaluate(
            "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", THEMES[theme]
        )
        page.locator(f'body[data-jp-theme-name="{THEMES[theme]}"]').wait_for(state="attached")
        splash.wait_for(state="detached")

    def run_all(self, page: Page) -> None:
        """Run all cells of the open notebook and wait for the last.

        Raises:
            AssertionError: a cell failed; the message is its traceback's end.
        """
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells').then(() => null)")
        self.wait_idle(page)
        page.wait_for_function(
            "() => { const cells = [...document.querySelectorAll('.jp-Notebook .jp-InputPrompt')];"
            " return !cells.some(cell => cell.innerText.includes('*')); }",
            timeout=PATIENCE,
        )
        failed = page.evaluate(
            "[...jupyterapp.shell.currentWidget.content.model.cells]"
            ".flatMap(cell => cell.toJSON().outputs || [])"
            ".filter(output => output.output_type === 'error')"
            ".map(output => output.ename + ': ' + output.evalue)"
        )
        assert not failed, f"a cell failed: {failed[0]}"

    def wait_idle(self, page: Page) -> None:
        """Wait until the open notebook's kernel has nothing to do."""
        page.wait_for_function(
            "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status"
            " === 'idle'",
            timeout=PATIENCE,
        )

    def save(self, page: Page) -> None:
        """Save the open notebook, for a test of what the file then holds."""
        page.evaluate("jupyterapp.commands.execute('docmanager:save').then(() => null)")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on loopback, running until the tests end."""
    with serve_lab(tmp_path_factory.mktemp("lab"), threads=1) as found:
        yield found


@contextmanager
def serve_lab(home: Path, threads: int | None = None) -> Iterator[Lab]:
    """JupyterLab on loopback, apart from the user's settings, which it keeps in `home`."""
    root = home / "notebooks"
    shutil.copytree(
        runs.project_root() / "notebooks", root, ignore=shutil.ignore_patterns(".ipynb_checkpoints")
    )
    for path in root.glob("*.ipynb"):
        # not into the project's results: nbval guards numbers of other threads there
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("results/tiny", str(home / "results")), encoding="utf-8")
    notification = home / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    notification.parent.mkdir(parents=True)
    notification.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    found = Lab(_free_port(), "a-token-of-the-tests", root)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": found.port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": root,
        "IdentityProvider.token": found.token,
        "LabApp.expose_app_in_browser": True,  # the tests ask it to run cells
        "LabApp.extension_manager": "readonly",
    }
    command += [f"--{name}={value}" for name, value in options.items()]
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    environment = {
        **os.environ,
        **{name: str(home / folder) for name, folder in folders.items()},
        **({"OMP_NUM_THREADS": str(threads)} if threads else {}),
    }
    log = home / "lab.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            command, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        _wait_for(found.url("api/status"), server, log)
        yield found
    finally:
        server.send_signal(signal.SIGTERM)  # it ends its kernels
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"JupyterLab did not answer; its last words:\n{log.read_text()[-2000:]}")
