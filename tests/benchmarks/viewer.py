"""The viewer in headless Chromium: from the hand to the screen, beside matplotlib's redraw.

Five panels of 320 x 320, 16 slices. A drag's time is that from the input event's
time stamp until the frame that shows it was painted, on the page's own clock
(performance.now after the paint that follows the event); "on screen" is the
browser's trace, from the event's arrival to the frame's presentation, and has
in it the wait for the next of 60 frames a second, twice. One mouse move at a
time, at uneven intervals.
"""

from __future__ import annotations

import io
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from playwright.sync_api import Locator, Page, sync_playwright

from synthlib import runs
from synthlib.phase import generator
from synthlib.widgets import ComplexViewer
from tests.browser import conftest as browsers

NAMES = [f"source {k}" for k in range(5)]
MOVES = 120

STACKS = """
import torch
from synthlib.widgets import ComplexViewer
n, slices = 320, 16
y, x = torch.meshgrid(torch.linspace(-1, 1, n), torch.linspace(-1, 1, n), indexing="ij")
magnitude = ((x**2 + 1.3 * y**2) < 0.7) * (0.7 + 0.2 * torch.sin(9 * x) * torch.cos(7 * y))
magnitude = magnitude + 0.02 * torch.rand(slices, n, n)
turn = 0.3 * y * torch.arange(slices)[:, None, None]
stacks = {
    f"source {k}": torch.polar(magnitude, (k + 1) * 2 * x + turn + (k == 3) * 6 * torch.rand(n, n))
    for k in range(5)
}
viewer = ComplexViewer(
    stacks, panels=[(name, "phase") for name in stacks], spacing_mm=(0.7, 0.7)
)
"""
GALLERY = """
from synthlib import pairs, scanner, widgets
from synthlib.phase import generator, sources
parts = pairs.open_study(
    "simulated", n_coils=4, out_dir={out!r}, gan_fraction=0.375, seed=2023,
    simulate=scanner.ScanSettings(n_subjects=4, n_slices=3, matrix=(96, 80)),
)
context = sources.open_context({weights!r}, parts["gan"])
names = ["measured", "gan", "sinusoidal", "random", "zero"]
widgets.phase_gallery(parts["test"], names, context, seed=1)
"""
# The time from an event to the end of the paint that follows it: a message that is posted in the
# animation frame is taken up after the frame was painted.
HOOK = """() => {
  window.times = [];
  const note = (event) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      const measured = performance.measure("drag", { start: event.timeStamp });
      window.times.push(measured.duration);
    };
    port2.postMessage(0);
  });
  addEventListener("input", note, true);
  addEventListener("pointermove", (event) => {
    if (event.buttons && event.target.closest(".sv-stage")) note(event);
  }, true);
}"""


# When the largest message came over a WebSocket: the pixels.
ARRIVALS = """
const Native = WebSocket;
window.arrived = window.largest = 0;
window.WebSocket = class extends Native {
  constructor(...more) {
    super(...more);
    this.addEventListener("message", ({ data }) => {
      const size = data.byteLength ?? data.size ?? data.length;
      if (size < window.largest) return;
      [window.largest, window.arrived] = [size, performance.now()];
    });
  }
};
"""


def report() -> None:
    """Print the table."""
    print(f"viewer: {len(NAMES)} panels of 320 x 320, 16 slices, headless Chromium, no GPU")
    redraw = matplotlib_redraw()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        browser = browsers.launch(started)
        if browser is None:
            print(f"left out: none of {', '.join(browsers.BROWSERS)} is there")
            return
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        file = Path(folder) / "viewer.html"
        _viewer().to_html(file, max_mb=60)
        page.add_init_script(ARRIVALS)
        page.goto(file.as_uri())
        _drags("page from disk", page, redraw)
        with browsers.serve_lab(Path(folder)) as lab:
            lab.write("viewer.ipynb", STACKS, "viewer")
            lab.open(page, "viewer.ipynb")
            lab.run_all(page)
            page.locator(".sv-stage").first.wait_for()
            _drags("JupyterLab", page, redraw)
            _line("first paint after the data arrived", _first_paint(page))
            out, weights = str(Path(folder) / "study"), _weights(Path(folder))
            lab.write("gallery.ipynb", GALLERY.format(out=out, weights=str(weights)))
            lab.open(page, "gallery.ipynb")
            lab.run_all(page)
            page.locator(".sv-stage").first.wait_for()
            _line("gallery, first paint after the data arrived", _first_paint(page))
            _line("new phase of the demo's generator, from click", _new_draws(page))
        browser.close()


def _viewer() -> ComplexViewer:
    names: dict[str, Any] = {}
    exec(STACKS, names)  # the notebook's own cell
    viewer: ComplexViewer = names["viewer"]
    return viewer


def matplotlib_redraw() -> list[float]:
    """ms for the same change with matplotlib: five images get other pixels, drawn and encoded.

    The way to the browser and its decoding are left out; nothing but the images changes.
    """
    figure = Figure(figsize=(14, 3.6), dpi=100, layout="constrained")
    axes = figure.subplots(1, 5)
    stacks = [torch.rand(16, 320, 320).numpy() * 2 * np.pi - np.pi for _ in axes]
    shown = []
    for one, stack in zip(axes, stacks, strict=True):
        shown.append(one.imshow(stack[0], cmap="twilight", vmin=-np.pi, vmax=np.pi))
        one.set_axis_off()
        figure.colorbar(shown[-1], ax=one, orientation="horizontal", label="phase (rad)")
    figure.savefig(io.BytesIO(), format="png")
    figure.set_layout_engine("none")  # laid out once: that is the faster way
    times = []
    for k in range(15):
        begin = time.perf_counter()
        for image, stack in zip(shown, stacks, strict=True):
            image.set_data(stack[k + 1])
        figure.savefig(io.BytesIO(), format="png")
        times.append(1e3 * (time.perf_counter() - begin))
    return times


def _drags(where: str, page: Page, redraw: Sequence[float]) -> None:
    page.locator(".sv-stage").first.wait_for()
    page.wait_for_timeout(2000)
    page.evaluate(HOOK)
    slider = page.get_by_label("slice", exact=True)
    slider.scroll_into_view_if_needed()
    for what, target, step in (
        ("slice slider", slider, lambda k, w: 8 + (k % 16) * (w - 16) / 15),
        ("window", page.locator(".sv-stage").nth(1), lambda k, w: w / 2 + 60 * math.sin(k / 9)),
    ):
        painted, presented = _drag(page, target, step)
        median = statistics.median(painted)
        _line(f"{where}, {what}: until painted", painted)
        _line(f"{where}, {what}: on screen", presented)
        theirs = statistics.median(redraw)
        print(f"{'':52s} matplotlib's redraw {theirs:.0f} ms   x {theirs / median:.0f}")


def _drag(page: Page, target: Locator, step: Any) -> tuple[list[float], list[float]]:
    """ms until painted, ms until presented."""
    dice = random.Random(3)
    box = target.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + step(0, box["width"]), middle)
    page.mouse.down()
    for k in range(20):  # warm
        page.mouse.move(box["x"] + step(k, box["width"]), middle)
        page.wait_for_timeout(30)
    page.evaluate("() => { window.times.length = 0; }")
    trace = Trace(page)
    for k in range(MOVES):
        page.mouse.move(box["x"] + step(k + 1, box["width"]), middle)
        page.wait_for_timeout(25 + 20 * dice.random())
    page.wait_for_timeout(100)
    presented = trace.latencies()
    page.mouse.up()
    return list(page.evaluate("window.times")), presented


class Trace:
    """Chromium's own record of input events, from arrival to presentation."""

    def __init__(self, page: Page) -> None:
        self.events: list[dict[str, Any]] = []
        self.ended = False
        self.page = page
        self.session = page.context.new_cdp_session(page)
        self.session.on("Tracing.dataCollected", lambda data: self.events.extend(data["value"]))
        self.session.on("Tracing.tracingComplete", self._end)
        how = {"includedCategories": ["cc", "benchmark", "input"]}
        self.session.send("Tracing.start", {"traceConfig": how, "transferMode": "ReportEvents"})

    def _end(self, _: Any) -> None:
        self.ended = True

    def latencies(self) -> list[float]:
        """ms of the mouse moves with a button held."""
        self.session.send("Tracing.end")
        while not self.ended:
            self.page.wait_for_timeout(50)
        begun: dict[str, dict[str, Any]] = {}
        found = []
        for event in sorted(self.events, key=lambda one: one.get("ts", 0)):
            if event["name"] != "EventLatency":
                continue
            key = json.dumps([event["pid"], event.get("id2", event.get("id"))])
            if event["ph"] == "b":
                begun[key] = event
            elif event["ph"] == "e" and key in begun:
                start = begun.pop(key)
                kind = start["args"].get("event_latency", {}).get("event_type")
                if kind == "MOUSE_DRAGGED":
                    found.append((event["ts"] - start["ts"]) / 1e3)
        return found


def _first_paint(page: Page) -> list[float]:
    """ms from the arrival of the message with the pixels until they are painted."""
    name = "synthlib-viewer first paint"
    page.wait_for_function("name => performance.getEntriesByName(name).length", arg=name)
    script = """name => performance.getEntriesByName(name)
      .map(e => e.startTime + e.duration - window.arrived)"""
    return list(page.evaluate(script, name))


def _new_draws(page: Page) -> list[float]:
    """ms from a click on the button until its phase is painted."""
    page.get_by_role("button", name="New draw").scroll_into_view_if_needed()
    script = """() => { window.draws = []; let start = 0;
      const button = [...document.querySelectorAll('.sv-extra button')][0];
      button.addEventListener('click', (event) => { start = event.timeStamp; }, true);
      new MutationObserver(() => {
        if (!document.querySelector('.sv-message').textContent.startsWith('Draw')) return;
        requestAnimationFrame(() => { const c = new MessageChannel();
          c.port1.onmessage = () => draws.push(performance.now() - start); c.port2.postMessage(0);
        });
      }).observe(document.querySelector('.sv-message'), { childList: true }); }"""
    page.evaluate(script)
    for k in range(12):
        page.get_by_role("button", name="New draw").click()
        page.wait_for_function("k => window.draws.length > k", arg=k)
        page.wait_for_timeout(200)
    return list(page.evaluate("window.draws"))


def _weights(folder: Path) -> Path:
    """The demo's architecture with random weights: they do not change its time."""
    with runs.seeded(1, "weights"):
        architecture = generator.Architecture("scalar", 16, 6)
        network = architecture.build()
    path = folder / "generator.safetensors"
    generator.save(path, network, architecture, {})
    return path


def _line(what: str, times: Sequence[float]) -> None:
    high = sorted(times)[min(len(times) - 1, math.ceil(0.95 * len(times)) - 1)]
    n = len(times)
    print(f"{what:52s} median {statistics.median(times):6.1f} ms   95 % {high:6.1f} ms   n {n}")


if __name__ == "__main__":
    report()
