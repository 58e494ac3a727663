"""The viewer in JupyterLab: notebooks 03 and 04 in a real browser, and talk with the kernel."""

from __future__ import annotations

import re

import numpy as np
import pytest
from viewer_hands import (
    assert_like,
    drag,
    end_of_colours,
    magnitude_and_phase,
    panel,
    pixels,
    point_at,
    set_range,
    settle,
)

from synthlib import widgets
from synthlib.figures import complexes
from synthlib.phase import sources

SHOWN = ["measured", "sinusoidal", "random", "zero"]  # sources that need no training
MEASURED = "Measured phase"


@pytest.fixture(scope="module")
def gallery(study):
    """The gallery of notebook 03, made here once more: same scans, same seed."""
    context = sources.open_context(None, study["gan"])
    return widgets.phase_gallery(study["test"] + study["val"], SHOWN, context, seed=2023)


def painted(gallery, source, slice_index, case, limits=None):
    stack = gallery._open(case).stacks[sources.label(source)]
    return complexes.paint("phase", stack, slice_index, 0, limits or complexes.Limits())


def message(page):
    return page.locator(".sv-message").first.inner_text()


def test_notebook_03_is_browsed_in_jupyterlab(lab, page, gallery):
    lab.open(page, "03_phase_gallery.ipynb")
    lab.run_all(page)
    panel(page, 0).locator(".sv-stage").wait_for()
    panel(page, 0).scroll_into_view_if_needed()
    case = page.get_by_label("scan", exact=True)
    assert case.locator("option").all_inner_texts() == list(gallery._cases)
    first, other = list(gallery._cases)[:2]

    # the slider, and the source of a panel
    panel(page, 2).locator(".sv-stack").select_option(sources.label("sinusoidal"))
    for slice_index in (0, 1):
        set_range(page, "slice", slice_index)
        assert_like(pixels(page, 1), painted(gallery, "measured", slice_index, first))
        assert_like(pixels(page, 2), painted(gallery, "sinusoidal", slice_index, first))

    # another scan, which comes from the kernel
    case.select_option(other)
    page.wait_for_function(
        "name => document.querySelector('.sv-stage').ariaLabel.includes(name)", arg=other
    )
    settle(page)
    assert_like(pixels(page, 1), painted(gallery, "measured", 1, other))

    # the window
    drag(page, 1, -0.5)
    end = np.pi * np.exp(-1)
    assert end_of_colours(page, 1, "Upper") == pytest.approx(end, rel=0.02)
    limits = complexes.Limits(phase=(-end, end))
    apart = np.abs(pixels(page, 1).astype(int) - painted(gallery, "measured", 1, other, limits))
    assert np.median(apart) == 0
    assert apart.max() < 12  # the mouse moved by whole pixels

    # the cursor
    point_at(page, 1, 21, 17)
    image = gallery._open(other).stacks[MEASURED].image(1, 0)[21, 17]
    size, phase = magnitude_and_phase(page, 1)
    assert size == pytest.approx(float(image.abs()), rel=2e-3)
    assert phase == pytest.approx(float(image.angle()), abs=0.006)

    # a new draw of the generator: its phase changes, its differences are plotted
    gan = panel(page, 2)
    gan.locator(".sv-stack").select_option(sources.label("gan"))
    settle(page)
    before, measured = pixels(page, 2), pixels(page, 1)
    page.get_by_role("button", name="New draw").click()
    page.get_by_text(re.compile(r"Draw 1, written in \d+ ms")).wait_for()
    settle(page)
    assert (pixels(page, 2) != before).mean() > 0.1
    assert (pixels(page, 1) == measured).all()
    page.locator(".sv-legend").filter(has_text="this draw less the one before").wait_for()

    # acceleration, computed by the kernel
    page.get_by_label("acceleration R").select_option("4")
    page.get_by_text(re.compile(r"R = [34]\.\d achieved")).wait_for()
    settle(page)
    assert (pixels(page, 1) != measured).mean() > 0.05
    page.get_by_role("button", name="New draw").click()
    page.get_by_text("set R to 1 first").wait_for()
    page.get_by_label("acceleration R").select_option("1 (all lines)")
    page.wait_for_function("!document.querySelector('.sv-message').textContent")
    settle(page)
    assert (pixels(page, 1) == measured).all()


def test_notebook_04_estimates_coil_maps_again_when_a_parameter_changes(lab, page, study):
    lab.open(page, "04_coil_maps.ipynb")
    lab.run_all(page)
    panel(page, 0).scroll_into_view_if_needed()
    browser = widgets.coil_browser(study["test"] + study["val"])
    settle(page)
    wanted = complexes.paint("phase", browser.shown.stacks["Coil map"], 0, 0, complexes.Limits())
    assert_like(pixels(page, 1), wanted)
    assert "threshold" in message(page)
    set_range(page, "coil", 5)
    assert (pixels(page, 1) != wanted).mean() > 0.5
    before = pixels(page, 1)
    said = message(page)
    set_range(page, "kernel", 4)
    page.wait_for_function(
        """said => { const now = document.querySelector('.sv-message').textContent;
        return now !== said && now.includes('threshold'); }""",
        arg=said,
    )
    settle(page)
    assert (pixels(page, 1) != before).any()
    page.get_by_label("SigPy beside ours").check()
    page.get_by_text(re.compile(r"SigPy: \d+\.\d% of the support")).wait_for()
    for view in ("Phase", "Phase difference"):
        page.locator(f'.sv-stage[aria-label^="SigPy\'s map, our gauge: {view}."]').wait_for()
    assert page.locator(".sv-panel").count() == 7


TALK = """
import torch, ipywidgets
from synthlib.widgets import ComplexViewer, Control

def image(k):
    y, x = torch.meshgrid(torch.arange(31.0), torch.arange(23.0), indexing="ij")
    return torch.polar(1 + 0 * x, k * x / 10).expand(4, 31, 23)

def compute(case, factor):
    if factor == 3:
        raise ValueError("three is not allowed")
    return {"one": image(factor)}

plain = ComplexViewer({"one": image(1), "two": image(2)}, guess=("one", "two"))
computed = ComplexViewer(["only"], compute=compute, controls=[Control("factor", [1, 2, 3])])
heard = ipywidgets.Label("nothing yet")

def hear(change):
    right, n = sum(one["right"] for one in plain.guesses), len(plain.guesses)
    heard.value = f"slice {plain.slice_index}, cursor {plain.cursor}, right {right} of {n}"

plain.observe(hear, ["slice_index", "cursor", "guesses"])
set_it = ipywidgets.Button(description="set it")

def put(_):
    plain.slice_index, plain.contours, plain.panels = 3, True, [{"stack": "two", "view": "real"}]

set_it.on_click(put)
ipywidgets.VBox([plain, heard, set_it, computed])
"""


def test_browser_and_kernel_tell_each_other_what_is_shown(lab, page):
    lab.write("talk.ipynb", TALK)
    lab.open(page, "talk.ipynb", theme="dark")
    lab.run_all(page)
    plain = page.locator(".synthlib-viewer").first
    plain.locator(".sv-stage").first.wait_for()
    stage = plain.locator(".sv-stage").first
    stage.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.get_by_text("slice 0, cursor [16, 11], right 0 of 0").wait_for()
    page.get_by_role("button", name="set it").click()
    plain.locator('.sv-stage[aria-label^="two: Real part. "][aria-label$="slice 3"]').wait_for()
    assert plain.locator(".sv-panel").count() == 1
    assert plain.get_by_label("wraps").is_checked()
    plain.get_by_role("button", name="Guess which").click()
    plain.get_by_role("button", name="A is measured").click()
    page.get_by_text(re.compile(r"right [01] of 1")).wait_for()


SLOW = """
import time, torch, ipywidgets
from synthlib.widgets import ComplexViewer, Control

def compute(case, factor):
    time.sleep(0.6)
    return {"one": torch.full((2, 9, 7), 10.0 * factor + "abc".index(case), dtype=torch.complex64)}

slow = ComplexViewer(
    ["a", "b", "c"], compute=compute, controls=[Control("factor", [1, 2, 3])],
    panels=[("one", "magnitude")],
)
again, out = ipywidgets.Button(description="show it again"), ipywidgets.Output()
again.on_click(lambda _: out.append_display_data(slow))
ipywidgets.VBox([slow, again, out])
"""


def wait_for_magnitude(page, viewer, value):
    """The one value of a flat image stands beside its colour bar."""
    page.wait_for_function(
        """([index, value]) => { const one = document.querySelectorAll('.synthlib-viewer')[index];
        return one?.querySelectorAll('.sv-end')[1].value === value; }""",
        arg=[viewer, value],
    )


def test_what_was_chosen_last_is_shown_however_late_the_kernel_answers(lab, page):
    lab.write("slow.ipynb", SLOW)
    lab.open(page, "slow.ipynb")
    lab.run_all(page)
    viewer = page.locator(".synthlib-viewer").first
    case, factor = (viewer.get_by_label(name, exact=True) for name in ("case", "factor"))
    wait_for_magnitude(page, 0, "10")
    case.select_option("b")
    wait_for_magnitude(page, 0, "11")

    factor.select_option("2")  # b is computed again; a, which was here, is out of date
    case.select_option("a")
    wait_for_magnitude(page, 0, "20")

    case.select_option("c")  # the kernel takes its time; a is here
    case.select_option("a")
    page.wait_for_timeout(1500)
    assert case.input_value() == "a"
    wait_for_magnitude(page, 0, "20")

    page.get_by_role("button", name="show it again").click()  # a view that opens later
    wait_for_magnitude(page, 1, "20")
    case.select_option("c")
    for index in (0, 1):
        wait_for_magnitude(page, index, "22")


def test_errors_of_the_kernel_are_told_and_the_theme_is_jupyterlabs(lab, page):
    lab.write("talk.ipynb", TALK)
    lab.open(page, "talk.ipynb")
    lab.run_all(page)
    computed = page.locator(".synthlib-viewer").nth(1)
    factor, alarm = computed.get_by_label("factor"), computed.locator(".sv-alarm")
    quiet = """() => ![...document.querySelectorAll('.sv-message')]
    .some(one => one.textContent.includes('Computing'))"""
    factor.select_option("2")
    page.wait_for_function(quiet)
    settle(page)
    before = computed.evaluate("v => v.querySelector('canvas').toDataURL()")
    for _ in range(2):
        factor.select_option("3")
        alarm.wait_for()
        assert alarm.inner_text() == "three is not allowed"
        assert computed.evaluate("v => v.querySelector('canvas').toDataURL()") == before
        factor.select_option("2")
        alarm.wait_for(state="detached")

    for theme, background in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(33, 33, 33)")):
        lab.set_theme(page, theme)
        back, text = computed.evaluate(
            "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"
        )
        assert back == background
        levels = [np.mean([int(n) for n in re.findall(r"\d+", c)[:3]]) for c in (back, text)]
        assert abs(levels[0] - levels[1]) > 120  # legible


def test_the_committed_notebook_shows_the_viewer_without_a_run_once_it_is_trusted(lab, page):
    lab.open(page, "03_phase_gallery.ipynb")
    note = page.get_by_text("works here once the notebook is trusted")
    note.scroll_into_view_if_needed()
    assert page.locator("iframe[srcdoc]").count() == 0
    page.evaluate("jupyterapp.commands.execute('notebook:trust').then(() => null), null")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    frame = page.frame_locator("iframe[srcdoc]").first
    frame.locator(".sv-stage").first.wait_for()
    assert note.count() == 0
    frame.get_by_label("slice", exact=True).press("Home")
    label = frame.locator(".sv-stage").first
    settle(page)
    assert "slice 0" in label.get_attribute("aria-label")
    # as high as its content: no scroll bar in it
    heights = page.locator("iframe[srcdoc]").first.evaluate(
        "f => [f.clientHeight, f.contentDocument.documentElement.scrollHeight]"
    )
    assert heights[1] <= heights[0]
