"""The viewer as a page from disk: its pixels, numbers, keys, and the game, in a real browser."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy import stats
from viewer_hands import (
    end_of_colours,
    magnitude_and_phase,
    panel,
    pixels,
    point_at,
    readout,
    set_range,
    settle,
    show,
)

from synthlib import widgets
from synthlib.figures import complexes
from synthlib.widgets import Case, ComplexViewer, Limits, Stack

NY, NX = 41, 56
SPACING = (1.5, 0.8)  # mm; pixels are not square
NAMES = ["Measured", "Written", "Flat"]


def scene(seed):
    """Name to complex (3, 41, 56): an ellipse of tissue in noise, phases that wrap."""
    draw = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, NY), torch.linspace(-1, 1, NX), indexing="ij")
    slices = torch.arange(3)[:, None, None]
    tissue = ((x**2 + 1.4 * y**2) < 0.6 + 0.1 * slices) * (1 + 0.3 * torch.sin(7 * x + 3 * y))
    magnitude = 250 * (tissue + 0.05 * torch.rand(3, NY, NX, generator=draw))
    phases = {"Measured": 4 * x + slices, "Written": 5 * x - 2 * y**2, "Flat": 0 * x + 0 * slices}
    return {name: torch.polar(magnitude, phase.expand(3, NY, NX)) for name, phase in phases.items()}


@pytest.fixture(scope="module")
def viewer():
    coils = torch.stack([image * k for image in scene(1)["Measured"] for k in (1, 0.5)])
    coils = coils.reshape(3, 2, NY, NX)
    extra = {"Coils": coils, "Share": Stack(torch.rand(NY, NX), "", 1.0, 0.0, "viridis")}
    return ComplexViewer(
        {
            "first head": Case({**scene(1), **extra}, SPACING),
            "second head": Case(scene(2), SPACING),
        },
        guess=("Measured", "Written"),
        guess_seed=11,
    )


@pytest.fixture(scope="module")
def file(viewer, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "viewer.html"
    viewer.to_html(path, record={"seed": 1})
    assert "16 bits" in path.read_text()
    return path


@pytest.fixture
def opened(page, file):
    page.goto(file.as_uri())
    page.locator(".sv-stage").first.wait_for()
    settle(page)
    return page


def set_end(page, index, which, value):
    box = panel(page, index).get_by_label(f"{which} end of the colours")
    box.fill(str(value))
    box.press("Enter")
    settle(page)


def expected(
    viewer, stack, view, slice_index, *, coil=0, limits=None, align=True, case="first head"
):
    loaded = viewer._open(case)
    return complexes.paint(
        view, loaded.stacks[stack], slice_index, coil, limits or Limits(),
        reference=loaded.stacks["Measured"], align=align,
    )  # fmt: skip


def assert_close(found, wanted, *, all_but=0.0):
    """Equal, but for rounding at the edge between two neighbouring colours."""
    assert found.shape == wanted.shape
    apart = np.abs(found.astype(int) - wanted).max(-1)
    assert (apart > 0).mean() <= all_but, f"{(apart > 0).mean():.1%} of the pixels differ"


# --- what is painted --------------------------------------------------------------------


@pytest.mark.parametrize("view", list(complexes.VIEWS))
@pytest.mark.parametrize("slice_index", [0, 2])
def test_every_view_is_painted_in_the_colours_of_its_picture_of_record(
    opened, viewer, view, slice_index
):
    show(opened, 0, "Written", view)
    set_range(opened, "slice", slice_index)
    # cosines and logarithms of two libraries may differ in the last bit
    rounding = 0.005 if view in ("real", "imaginary", "kspace") else 0
    assert_close(
        pixels(opened, 0), expected(viewer, "Written", view, slice_index), all_but=rounding
    )


def test_phase_has_matplotlibs_twilight_where_there_is_signal(opened, viewer):
    """Against the arrays and matplotlib alone."""
    import matplotlib

    show(opened, 0, "Measured", "phase")
    set_range(opened, "slice", 1)
    image = scene(1)["Measured"][1]
    bright = (image.abs() > 150).numpy()
    share = (image.angle().double().numpy() + np.pi) / (2 * np.pi)
    wanted = matplotlib.colormaps["twilight"](share, bytes=True)[..., :3]
    assert_close(pixels(opened, 0)[bright], wanted[bright], all_but=0.02)
    air = (image.abs() < 12).numpy()
    assert air.sum() > 400
    assert (pixels(opened, 0)[air] == 128).all()


def test_a_coil_is_chosen_and_a_stack_without_coils_stays(opened, viewer):
    show(opened, 0, "Coils", "magnitude")
    show(opened, 1, "Measured", "magnitude")
    before = pixels(opened, 1)
    set_range(opened, "coil", 1)
    assert_close(pixels(opened, 0), expected(viewer, "Coils", "magnitude", 1, coil=1))
    assert (pixels(opened, 1) == before).all()


def test_a_real_stack_is_shown_in_its_own_colours_on_every_slice(opened, viewer):
    show(opened, 0, "Share", "magnitude")
    set_range(opened, "slice", 2)
    assert_close(pixels(opened, 0), expected(viewer, "Share", "magnitude", 2))
    assert panel(opened, 0).locator(".sv-view option").all_inner_texts() == [
        "Magnitude",
        "k-space (log)",
    ]


def test_another_case_is_painted_from_its_own_pixels(opened, viewer):
    show(opened, 0, "Written", "magnitude")
    opened.get_by_label("case").select_option("second head")
    settle(opened)
    wanted = expected(viewer, "Written", "magnitude", 1, case="second head")
    assert_close(pixels(opened, 0), wanted)


def test_the_constant_that_fits_best_can_be_left_in_a_difference(opened, viewer):
    show(opened, 0, "Flat", "difference")
    set_range(opened, "slice", 2)
    with_it = pixels(opened, 0)
    opened.get_by_label("less a constant").uncheck()
    settle(opened)
    assert_close(pixels(opened, 0), expected(viewer, "Flat", "difference", 2, align=False))
    assert (pixels(opened, 0) != with_it).any()


# --- window, zoom, cursor -----------------------------------------------------------------


def test_dragging_changes_window_and_level_of_all_panels_alike(opened, viewer):
    show(opened, 0, "Measured", "magnitude")
    show(opened, 1, "Written", "magnitude")
    before = pixels(opened, 0)
    box = panel(opened, 0).locator(".sv-stage").bounding_box()
    opened.mouse.move(box["x"] + 50, box["y"] + 50)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 50 - 0.25 * box["width"], box["y"] + 50 - 0.1 * box["height"])
    settle(opened)
    opened.mouse.up()
    width = np.exp(-0.5)
    ends = (0.6 - width / 2, 0.6 + width / 2)
    top = viewer.shown.stacks["Measured"].top
    low, high = (end_of_colours(opened, 0, which) for which in ("Lower", "Upper"))
    assert [low / top, high / top] == pytest.approx(ends, rel=0.02)
    limits = Limits(magnitude=(low / top, high / top))
    # the boxes show three digits: that moves a few pixels by one colour
    after = pixels(opened, 0)
    assert (
        np.abs(
            after.astype(int) - expected(viewer, "Measured", "magnitude", 1, limits=limits)
        ).max()
        <= 2
    )
    assert (after != before).any()
    assert (pixels(opened, 1) == after).all()  # the same magnitude
    opened.keyboard.press("0")
    settle(opened)
    assert (pixels(opened, 0) == before).all()


@pytest.mark.parametrize(
    ("view", "low", "high", "limits"),
    [
        ("magnitude", 50, 200, {"magnitude": (50, 200)}),
        ("phase", -1, 1, {"phase": (-1.0, 1.0)}),
        ("difference", -0.5, 0.5, {"difference": (-0.5, 0.5)}),
        ("kspace", -60, -10, {"kspace": (-60.0, -10.0)}),
    ],
)
def test_ends_of_the_colours_can_be_typed(opened, viewer, view, low, high, limits):
    show(opened, 0, "Written", view)
    set_end(opened, 0, "Lower", low)
    set_end(opened, 0, "Upper", high)
    if "magnitude" in limits:
        top = viewer.shown.stacks["Written"].top
        limits = {"magnitude": (low / top, high / top)}
    wanted = expected(viewer, "Written", view, 1, limits=Limits(**limits))
    assert_close(pixels(opened, 0), wanted, all_but=0.005)


def test_an_end_that_cannot_be_is_put_back(opened):
    show(opened, 0, "Written", "phase")
    set_end(opened, 0, "Lower", 5)
    assert panel(opened, 0).get_by_label("Lower end").input_value() == "-3.14"


def test_the_cursor_reads_magnitude_and_phase_in_every_panel(opened):
    set_range(opened, "slice", 2)
    y, x = 17, 33
    point_at(opened, 1, y, x)
    assert panel(opened, 0).locator(".sv-stack").input_value() == "Measured"
    for index, name in ((0, "Measured"), (1, "Measured"), (2, "Written"), (3, "Flat")):
        image = scene(1)[name][2, y, x]
        size, phase = magnitude_and_phase(opened, index)
        assert size == pytest.approx(float(image.abs()), rel=1e-3)
        assert phase == pytest.approx(float(image.angle()), abs=0.006)


def test_the_cursor_reads_a_difference_on_the_circle(opened):
    show(opened, 0, "Written", "difference")
    opened.get_by_label("less a constant").uncheck()
    found = set()
    for y, x in ((20, 5), (20, 28), (12, 50)):
        point_at(opened, 0, y, x)
        one, other = (scene(1)[name][1, y, x] for name in ("Written", "Measured"))
        shown = float(re.search(r"Δ (\S+) rad", readout(opened, 0))[1])
        assert shown == pytest.approx(float((one * other.conj()).angle()), abs=0.006)
        found.add(abs(float(one.angle() - other.angle())) > np.pi)
    assert found == {True, False}  # one of them went round


def test_zoom_and_pan_are_shared_and_the_cursor_follows_them(opened):
    stage = panel(opened, 0).locator(".sv-stage")
    stage.focus()
    for _ in range(5):
        opened.keyboard.press("+")
    opened.keyboard.press("Shift+ArrowRight")
    settle(opened)
    boxes = []
    for index in (0, 3):
        layer = panel(opened, index).locator(".sv-layer").bounding_box()
        around = panel(opened, index).locator(".sv-stage").bounding_box()
        assert layer["width"] / around["width"] == pytest.approx(1.25**5, rel=1e-3)
        boxes.append((layer["x"] - around["x"]) / around["width"])
    assert boxes[0] == pytest.approx(boxes[1], abs=1e-3)
    around = stage.bounding_box()
    layer = panel(opened, 0).locator(".sv-layer").bounding_box()
    opened.mouse.move(around["x"] + 40, around["y"] + 60)
    settle(opened)
    x = int((around["x"] + 40 - layer["x"]) / layer["width"] * NX)
    y = int((around["y"] + 60 - layer["y"]) / layer["height"] * NY)
    size = float(readout(opened, 0).split()[0])
    assert size == pytest.approx(float(scene(1)["Measured"][1, y, x].abs()), rel=1e-3)
    stage.dblclick()
    settle(opened)
    assert panel(opened, 2).locator(".sv-layer").bounding_box()["width"] == pytest.approx(
        panel(opened, 2).locator(".sv-stage").bounding_box()["width"]
    )


def test_pixels_have_their_true_aspect_and_the_scale_bar_its_length(opened):
    box = panel(opened, 0).locator(".sv-stage").bounding_box()
    aspect = NX * SPACING[1] / (NY * SPACING[0])
    assert box["width"] / box["height"] == pytest.approx(aspect, rel=0.01)
    bar = panel(opened, 0).locator(".sv-scale span")
    mm = float(bar.inner_text().removesuffix(" mm"))
    assert mm == complexes.nice_length(NX * SPACING[1])
    shown = bar.bounding_box()["width"] / box["width"] * NX * SPACING[1]
    assert shown == pytest.approx(mm, rel=0.03)


def test_wraps_are_drawn_where_the_phase_jumps(opened):
    show(opened, 0, "Measured", "phase")
    opened.get_by_label("wraps").check()
    settle(opened)
    path = panel(opened, 0).locator(".sv-wraps").last.get_attribute("d")
    edges = {(int(y), int(x)) for x, y in re.findall(r"M(\d+) (\d+)v1", path)}
    image = scene(1)["Measured"][1]
    bright = (image.abs() > 150).numpy()
    jump = np.abs(np.diff(image.angle().numpy(), axis=1)) > np.pi
    sure = jump & bright[:, 1:] & bright[:, :-1]
    assert sure.sum() > 10
    assert {(int(y), int(x) + 1) for y, x in zip(*np.nonzero(sure), strict=True)} <= edges
    for y, x in edges:
        assert jump[y, x - 1]


# --- plots --------------------------------------------------------------------------------


def test_a_profile_is_drawn_along_row_column_and_a_drawn_line(opened):
    point_at(opened, 0, 20, 28)
    for kind, length in (("row", (NX - 1) * SPACING[1]), ("column", (NY - 1) * SPACING[0])):
        opened.get_by_label("profile").select_option(kind)
        figure = opened.locator(".sv-figure").filter(has_text="Magnitude along the line")
        figure.wait_for()
        ticks = [text for text in figure.locator("text").all_text_contents() if text[0].isdigit()]
        across = [float(text) for text in ticks[: ticks.index("0", 1)]]  # then follow those upwards
        assert 0.6 * length < max(across) <= length
        assert figure.locator("path.sv-series").first.get_attribute("d").count("L") >= 40
    opened.get_by_label("drag to").select_option("line")
    box = panel(opened, 0).locator(".sv-stage").bounding_box()
    opened.mouse.move(box["x"] + 20, box["y"] + 20)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 120, box["y"] + 90)
    opened.mouse.up()
    settle(opened)
    assert opened.get_by_label("profile").input_value() == "line"
    assert panel(opened, 1).locator(".sv-line").get_attribute("d").startswith("M")


def test_the_histogram_states_the_mean_difference_in_the_head(opened):
    opened.get_by_label("histogram").check()
    figure = opened.locator(".sv-figure").filter(has_text="Differences of phase")
    figure.wait_for()
    text = figure.inner_text()
    shown = float(re.search(r"Flat less Measured: mean \|Δ\| (\S+) rad", text)[1])
    image, flat = (scene(1)[name][1] for name in ("Measured", "Flat"))
    weight = image.abs() ** 2
    apart = flat * image.conj()
    turned = apart * torch.polar(torch.tensor(1.0), -(weight * apart / apart.abs()).sum().angle())
    head = image.abs() > 60
    assert shown == pytest.approx(float(turned.angle().abs()[head].mean()), abs=0.03)


# --- keys, names, widths --------------------------------------------------------------------


def test_everything_can_be_reached_and_changed_with_keys_alone(opened, viewer):
    stage = panel(opened, 1).locator(".sv-stage")
    for _ in range(60):  # by Tab alone, from the top
        opened.keyboard.press("Tab")
        if stage.evaluate("e => e === document.activeElement"):
            break
    else:
        pytest.fail("Tab never reached the second image")
    opened.keyboard.press(".")
    opened.keyboard.press("v")
    settle(opened)
    assert opened.get_by_label("slice", exact=True).input_value() == "2"
    assert panel(opened, 1).locator(".sv-view").input_value() == "colour"
    assert_close(pixels(opened, 1), expected(viewer, "Measured", "colour", 2))
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowRight")
    settle(opened)
    image = scene(1)["Measured"][2, NY // 2 + 1, NX // 2 + 1]
    assert float(readout(opened, 0).split()[0]) == pytest.approx(float(image.abs()), rel=1e-3)
    for key, label in (("c", "wraps"), ("h", "histogram")):
        opened.keyboard.press(key)
        settle(opened)
        assert opened.get_by_label(label).is_checked()
    before = panel(opened, 1).get_by_label("Upper end").input_value()
    opened.keyboard.press("v")  # real part
    opened.keyboard.press("w")
    settle(opened)
    assert panel(opened, 1).get_by_label("Upper end").input_value() != before
    spoken = opened.locator(".sv-hidden")
    opened.keyboard.press("ArrowLeft")
    opened.wait_for_function(
        "document.querySelector('.sv-hidden').textContent.includes('Measured')"
    )
    assert re.search(r"y \d+, x \d+: Measured \S+ a\.u\., \S+ rad", spoken.inner_text())


def test_every_control_has_a_name_for_a_screen_reader(opened):
    nameless = opened.evaluate(
        """[...document.querySelectorAll('.synthlib-viewer :is(input, select, button, [tabindex])')]
        .filter(e => !(e.ariaLabel || e.labels?.[0]?.textContent.trim() || e.textContent.trim()))
        .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    label = panel(opened, 2).locator(".sv-stage").get_attribute("aria-label")
    assert label == "Written: Phase. first head, slice 1"


@pytest.mark.parametrize("width", [360, 700, 1400])
def test_nothing_runs_over_the_edge_of_a_window(opened, width):
    opened.set_viewport_size({"width": width, "height": 900})
    settle(opened)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    box = panel(opened, 3).locator(".sv-stage").bounding_box()
    assert box["width"] >= 140
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_panels_are_added_and_removed(opened, viewer):
    before = opened.locator(".sv-panel").count()
    opened.get_by_role("button", name="Add panel").click()
    settle(opened)
    assert opened.locator(".sv-panel").count() == before + 1
    panel(opened, 0).get_by_role("button", name="Remove").click()
    settle(opened)
    assert opened.locator(".sv-panel").count() == before
    assert_close(pixels(opened, 0), expected(viewer, "Measured", "phase", 1))


# --- the game ---------------------------------------------------------------------------------


def phases_shown(page, viewer):
    """Which of the two panels shows the measured phase, found from its pixels."""
    slice_index = int(page.get_by_label("slice", exact=True).input_value())
    found = []
    for index in (0, 1):
        painted = pixels(page, index)
        found += {
            name
            for name in NAMES
            for case in ("first head", "second head")
            if (painted == expected(viewer, name, "phase", slice_index, case=case)).all()
        }
    assert sorted(found) == ["Measured", "Written"]
    return found.index("Measured")


def test_guessing_hides_the_names_keeps_the_score_and_states_its_interval(opened, viewer):
    opened.get_by_role("button", name="Guess which is measured").click()
    settle(opened)
    right = 0
    sides = set()
    for asked in range(1, 8):
        settle(opened)
        text = opened.locator(".synthlib-viewer").inner_text()
        assert "Written" not in re.sub(r"against.*?any of them", "", text, flags=re.DOTALL)
        assert (
            panel(opened, 0).locator(".sv-stage").get_attribute("aria-label").startswith("A: Phase")
        )
        where = phases_shown(opened, viewer)
        sides.add(where)
        answer = where if asked != 4 else 1 - where
        opened.keyboard.press("ab"[answer])
        right += answer == where
        verdict = opened.locator(".sv-verdict").inner_text()
        assert verdict.startswith("Right" if answer == where else "Wrong")
        assert "Written" in verdict
        score = opened.locator(".sv-score").inner_text()
        low, high = stats.binomtest(right, asked).proportion_ci(0.95, "exact")
        assert f"{right} of {asked} right" in score
        shown = [float(x) for x in re.search(r"interval (\S+) to (\S+)\.", score).groups()]
        assert shown == pytest.approx([low, high], abs=0.006)
        opened.keyboard.press("n")
    assert sides == {0, 1}
    assert "No better than guessing" in opened.locator(".sv-score").inner_text()
    opened.get_by_role("button", name="Stop").click()
    settle(opened)
    assert panel(opened, 2).locator(".sv-stack").input_value() == "Written"


def test_seven_right_of_seven_is_telling_them_apart(opened, viewer):
    opened.get_by_role("button", name="Guess which is measured").click()
    for _ in range(7):
        settle(opened)
        opened.keyboard.press("ab"[phases_shown(opened, viewer)])
        opened.keyboard.press("n")
    score = opened.locator(".sv-score").inner_text()
    assert "7 of 7 right; share 1.00, 95 % interval 0.59 to 1.00. You can tell them apart." in score


# --- the page itself ---------------------------------------------------------------------------


def test_eight_bits_are_painted_within_their_own_steps(page, viewer, tmp_path):
    path = tmp_path / "small.html"
    limit = len(viewer.to_html(cases=["first head"], max_mb=50)) / 1e6
    while "8 bits: magnitude" not in viewer.to_html(path, cases=["first head"], max_mb=limit):
        limit -= 0.002
    assert path.stat().st_size <= 1e6 * limit
    page.goto(path.as_uri())
    page.locator(".sv-stage").first.wait_for()
    settle(page)
    assert "8 bits" in page.locator(".sv-note").inner_text()
    show(page, 0, "Written", "magnitude")
    found = pixels(page, 0).astype(int)
    assert np.abs(found - expected(viewer, "Written", "magnitude", 1)).max() <= 3
    point_at(page, 0, 20, 28)
    image = scene(1)["Written"][1, 20, 28]
    phase = float(re.search(r", (\S+) rad", readout(page, 0))[1])
    assert abs(np.angle(np.exp(1j * (phase - float(image.angle()))))) < 0.025


def test_the_page_follows_the_readers_light_or_dark_preference(page, file):
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(file.as_uri())
        page.locator(".sv-stage").first.wait_for()
        colours.append(
            page.locator(".synthlib-viewer").evaluate("e => getComputedStyle(e).backgroundColor")
        )
    assert colours == ["rgb(255, 255, 255)", "rgb(22, 24, 27)"]


def test_what_needs_a_kernel_is_not_offered_without_one(page, tmp_path):
    viewer = widgets.ComplexViewer(
        ["only"],
        compute=lambda case, R: scene(1),
        controls=[widgets.Control("R", [1, 4]), widgets.Control("press", None)],
    )
    viewer.to_html(tmp_path / "page.html")
    page.goto((tmp_path / "page.html").as_uri())
    page.locator(".sv-stage").first.wait_for()
    assert page.locator(".sv-extra").is_hidden()


@pytest.mark.parametrize("view", ["phase", "difference"])
def test_a_moved_level_of_phase_is_painted_as_in_the_picture_of_record(opened, viewer, view):
    show(opened, 0, "Written", view)
    set_end(opened, 0, "Upper", 5.5)
    set_end(opened, 0, "Lower", 1.0)
    wanted = expected(viewer, "Written", view, 1, limits=Limits(**{view: (1.0, 5.5)}))
    assert_close(pixels(opened, 0), wanted, all_but=0.005)


def test_guessing_shows_no_noise_and_no_numbers_that_would_tell(opened):
    opened.get_by_role("button", name="Guess which is measured").click()
    settle(opened)
    point_at(opened, 0, 20, 28)
    for key in "FFFFhpcv":
        opened.keyboard.press(key)
    settle(opened)
    slice_index = int(opened.get_by_label("slice", exact=True).input_value())
    air = [scene(seed)["Measured"][slice_index].abs().numpy() < 20 for seed in (1, 2)]
    for index in (0, 1):
        assert (pixels(opened, index)[air[0] & air[1]] == 128).all()
        assert not readout(opened, index).strip()
    assert opened.locator(".sv-figure").count() == 0
    opened.keyboard.press("Control+a")
    assert "No guess yet" in opened.locator(".sv-score").inner_text()
