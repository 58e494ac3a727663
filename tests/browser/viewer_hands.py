"""How a test takes hold of a viewer: in a page from disk, in JupyterLab and in Voilà alike."""

from __future__ import annotations

import base64
import re

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page

PIXELS = """canvas => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let text = "";
  for (const byte of data) text += String.fromCharCode(byte);
  return [height, width, btoa(text)];
}"""


def settle(page: Page) -> None:
    """Wait until what was asked for is painted."""
    page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")


def panel(page: Page, index: int) -> Locator:
    return page.locator(".synthlib-viewer .sv-panel").nth(index)


def stage(page: Page, index: int) -> Locator:
    """The image of a panel, that takes pointer and keys."""
    return panel(page, index).locator(".sv-stage")


def show(page: Page, index: int, stack: str, view: str) -> None:
    panel(page, index).locator(".sv-stack").select_option(stack)
    panel(page, index).locator(".sv-view").select_option(view)
    settle(page)


def pixels(page: Page, index: int) -> NDArray[np.uint8]:
    """The painted canvas of a panel, (y, x, 3)."""
    ny, nx, data = panel(page, index).locator("canvas.sv-canvas").evaluate(PIXELS)
    rgba = np.frombuffer(base64.b64decode(data), np.uint8).reshape(ny, nx, 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def set_range(page: Page, label: str, value: float) -> None:
    """Move a slider there and let it go."""
    for event in ("input", "change"):
        page.get_by_label(label, exact=True).evaluate(
            f"(e, v) => {{ e.value = v; e.dispatchEvent(new Event('{event}')); }}", value
        )
    settle(page)


def drag(page: Page, index: int, across: float, up: float = 0.0) -> None:
    """Drag over an image by shares of its width and height."""
    box = stage(page, index).bounding_box()
    assert box is not None
    x, y = box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across * box["width"], y - up * box["height"])
    settle(page)
    page.mouse.up()


def point_at(page: Page, index: int, y: int, x: int) -> None:
    """Move the mouse over the middle of a pixel of an image that is shown whole."""
    box = stage(page, index).bounding_box()
    ny, nx, _ = pixels(page, index).shape
    assert box is not None
    page.mouse.move(
        box["x"] + (x + 0.5) / nx * box["width"], box["y"] + (y + 0.5) / ny * box["height"]
    )
    settle(page)


def readout(page: Page, index: int) -> str:
    """What the cursor reads in a panel, minus signs as Python writes them."""
    text = panel(page, index).locator(".sv-readout").inner_text()
    return text.replace("\N{MINUS SIGN}", "-")


def magnitude_and_phase(page: Page, index: int) -> tuple[float, float]:
    found = re.match(r"(\S+) a\.u\., (\S+) rad", readout(page, index))
    assert found, readout(page, index)
    return float(found[1]), float(found[2])


def end_of_colours(page: Page, index: int, which: str) -> float:
    """The "Lower" or "Upper" end beside a panel's colour bar."""
    return float(panel(page, index).get_by_label(f"{which} end").input_value())


def assert_like(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> None:
    """Equal, but for last bits of coil maps, which depend on the number of threads."""
    assert found.shape == wanted.shape
    assert (np.abs(found.astype(int) - wanted).max(-1) <= 8).mean() > 0.99
