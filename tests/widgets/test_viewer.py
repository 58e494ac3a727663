"""ComplexViewer: what it takes, tells the browser, hears from it, and writes as a page."""

import errno
import html
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from synthlib.figures import complexes
from synthlib.figures.pixels import quantise
from synthlib.widgets import Case, ComplexViewer, Control, Limits, Stack

NY, NX = 21, 14


@pytest.fixture
def noise(draw):
    """Complex noise of any shape."""
    return lambda *shape: torch.randn(*shape, dtype=torch.complex64, generator=draw)


@pytest.fixture
def scan(noise):
    """Four slices: measured, the same magnitude with other phase, and a real image of one slice."""
    measured = noise(4, NY, NX)
    return {
        "measured": measured,
        "zero": torch.polar(measured.abs(), torch.zeros(4, NY, NX)),
        "truth": noise(1, NY, NX).abs(),
    }


def same(kept, images):
    """Within 16 bits."""
    step = 1e-4 * kept.scale
    for index in range(kept.shape[0]):
        torch.testing.assert_close(kept.image(index, 0), images[index] + 0j, rtol=0, atol=step)


# --- what it takes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((NY, NX), (1, 1)), ((4, NY, NX), (4, 1)), ((3, 2, NY, NX), (3, 2))],
)
def test_a_tensor_is_shown_as_magnitude_and_phase_of_its_middle_slice(noise, shape, expected):
    images = noise(*shape)
    viewer = ComplexViewer(images)
    assert viewer.shown.shape == (*expected, NY, NX)
    assert viewer.slice_index == expected[0] // 2
    assert viewer.panels == [
        {"stack": "images", "view": "magnitude"},
        {"stack": "images", "view": "phase"},
    ]
    (pixels,) = viewer.shown.stacks.values()
    whole = images.reshape(*expected, NY, NX)
    torch.testing.assert_close(
        pixels.image(expected[0] - 1, expected[1] - 1), whole[-1, -1], rtol=0, atol=1e-3
    )


def test_panels_begin_with_the_references_magnitude_and_real_images_have_no_phase(scan):
    viewer = ComplexViewer(scan, reference="zero")
    assert [(one["stack"], one["view"]) for one in viewer.panels] == [
        ("zero", "magnitude"), ("measured", "phase"), ("zero", "phase"),
    ]  # fmt: skip
    assert viewer._layout["reference"] == "zero"
    assert ComplexViewer(scan)._layout["reference"] == "measured"


def test_a_stack_brings_its_unit_window_dark_level_and_colours(noise):
    viewer = ComplexViewer(Stack(noise(NY, NX), "mT", 2.0, 0.5, "viridis"))
    (stack,) = viewer._first[0]["stacks"]
    assert {stack[k] for k in ("unit", "top", "dark", "colours")} == {"mT", 2.0, 0.5, "viridis"}
    assert viewer._colours["viridis"] == complexes.table("viridis").tobytes()
    assert set(viewer._colours) == {"gray", "twilight", "twilight_shifted", "viridis"}


def test_cases_have_their_own_images_and_pixel_size(noise):
    first, second = noise(3, NY, NX), noise(5, NX, NY)
    viewer = ComplexViewer(
        {"one": Case({"a": first}, (2.0, 0.7)), "two": {"a": second}}, spacing_mm=(1.0, 1.0)
    )
    assert viewer.case == "one"
    assert [one["name"] for one in viewer._layout["cases"]] == ["one", "two"]
    same(viewer.shown.stacks["a"], first)
    assert viewer._first[0]["spacing"] == [2.0, 0.7]
    viewer.case = "two"
    same(viewer.shown.stacks["a"], second)
    assert viewer.shown.layout()["spacing"] is None


def test_a_stack_of_one_coil_or_slice_stands_beside_one_of_several(noise):
    viewer = ComplexViewer({"maps": noise(2, 3, NY, NX), "image": noise(1, NY, NX)})
    assert viewer.shown.shape == (2, 3, NY, NX)
    assert [(s["slices"], s["coils"]) for s in viewer._first[0]["stacks"]] == [(2, 3), (1, 1)]
    viewer.slice_index, viewer.coil_index = 1, 2
    _, _, image = (axes for axes in viewer.picture().axes if axes.images)
    expected = complexes.paint("phase", viewer.shown.stacks["image"], 0, 0, Limits())
    assert np.array_equal(image.images[0].get_array(), expected)


def test_numpy_arrays_are_shown_as_tensors_are(noise):
    images = noise(3, NY, NX)
    tensor, array = (ComplexViewer(one).shown.stacks["images"] for one in (images, images.numpy()))
    assert np.array_equal(tensor.magnitude, array.magnitude)
    assert np.array_equal(tensor.phase, array.phase)
    named = ComplexViewer({"a": images.numpy(), "mask": images.numpy().real > 0})
    assert list(named.shown.stacks) == ["a", "mask"]
    assert named.shown.stacks["mask"].phase is None


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (lambda z: [z], "list cannot be shown; expected complex images, or a mapping"),
        (lambda z: "image", "str cannot be shown"),
        (lambda z: {}, "dict cannot be shown"),
        (lambda z: {"sub-1": {}}, "sub-1 has no images"),
        (lambda z: {"a": z, "b": z.real}, "b is real and has negative pixels"),
        (lambda z: {"a": z, "b": z * float("nan")}, "b holds 1176 NaN or Inf"),
        (lambda z: {"a": z, "b": z.mT}, r"grids differ \(y x x\): a 21x14, b 14x21\. Bring"),
        (lambda z: {"a": z, "b": z[:3]}, "numbers of slices differ: a 4, b 3; expected equal"),
        (
            lambda z: {"a": z[:, None], "b": z[:, None].expand(4, 3, NY, NX), "c": z[None]},
            "numbers of coils differ: a 1, b 3, c 4",
        ),
    ],
)
def test_images_that_cannot_be_shown_are_refused_by_name(noise, images, message):
    with pytest.raises(ValueError, match=message):
        ComplexViewer(images(noise(4, NY, NX)))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"panels": [("gan", "phase")]}, "panel 'gan' is unknown; expected one of measured, zero"),
        ({"panels": [("zero", "fase")]}, "view 'fase' is unknown; expected one of magnitude, pha"),
        ({"reference": "gan"}, "reference 'gan' is unknown; expected one of measured"),
        ({"guess": ("measured", "gan")}, "guess 'gan' is unknown"),
    ],
)
def test_unknown_names_are_refused_with_those_that_are_known(scan, how, message):
    with pytest.raises(ValueError, match=message):
        ComplexViewer(scan, **how)


def test_nothing_wrong_can_be_set_later(scan):
    viewer = ComplexViewer(scan)
    with pytest.raises(ValueError, match="case 'two' is unknown; expected one of all"):
        viewer.case = "two"
    with pytest.raises(ValueError, match="view 'fase' is unknown"):
        viewer.panels = [{"stack": "zero", "view": "fase"}]
    assert viewer.case == "all"
    assert len(viewer.panels) == 3


def test_guessing_is_offered_against_all_the_others_that_have_a_phase(scan):
    viewer = ComplexViewer(scan, guess=("measured", "zero"), guess_seed=5)
    assert viewer._layout["guess"] == {
        "measured": "measured", "others": ["zero"], "against": "zero", "seed": 5,
        "views": ["phase", "colour"],
    }  # fmt: skip
    darker = {**scan, "zero": 0.5 * scan["zero"].flip(-1)}
    views = ComplexViewer(darker, guess=("measured", "zero"))._layout["guess"]["views"]
    assert "magnitude" in views  # two magnitudes can be told apart, one shared cannot
    assert ComplexViewer(scan)._layout["guess"] is None
    for pair in (("measured", "measured"), ("measured", "truth"), ("truth", "zero")):
        with pytest.raises(ValueError, match="expected two different complex stacks"):
            ComplexViewer(scan, guess=pair)


# --- what the browser gets --------------------------------------------------------------


def test_equal_magnitudes_travel_once(scan):
    viewer = ComplexViewer(scan)
    stacks = {stack["name"]: stack for stack in viewer._first[0]["stacks"]}
    assert stacks["measured"]["magnitude"] == stacks["zero"]["magnitude"]
    assert stacks["truth"]["magnitude"] != stacks["zero"]["magnitude"]
    assert stacks["truth"]["phase"] is None
    keys = {stack[kind] for stack in stacks.values() for kind in ("magnitude", "phase")} - {None}
    assert set(viewer._pixels) == keys
    assert len(keys) == 4
    for other in (2 * scan["measured"], scan["measured"].flip(-1)):  # alike, but not equal
        assert len(ComplexViewer({"a": scan["measured"], "b": other})._pixels) == 4


def test_the_browser_gets_the_pixels_of_the_layout(scan):
    viewer = ComplexViewer(scan)
    for stack in viewer._first[0]["stacks"]:
        shape = (stack["slices"], stack["coils"], NY, NX)
        size = np.frombuffer(viewer._pixels[stack["magnitude"]], np.uint16).reshape(shape)
        images = scan[stack["name"]]
        expected = images.abs().numpy()[:, None]
        assert abs(size * stack["scale"] / 65535 - expected).max() < 1e-4 * stack["scale"]
        if stack["phase"] is not None:
            turn = np.frombuffer(viewer._pixels[stack["phase"]], np.int16).reshape(shape)
            apart = np.exp(1j * turn * np.pi / 32768) - np.exp(1j * images.angle()[:, None].numpy())
            assert abs(apart).max() < 1e-4


def test_state_set_in_python_reaches_the_browser_and_comes_back(scan, wire):
    viewer = ComplexViewer(scan)
    tapped = wire(viewer)
    viewer.slice_index = 3
    assert [message["state"] for message, _ in tapped.sent] == [{"slice_index": 3}]
    tapped.sets(slice_index=1, cursor=[3, 5], fade=0.5, guesses=[{"right": True}])
    assert (viewer.slice_index, viewer.cursor, viewer.fade) == (1, [3, 5], 0.5)
    assert viewer.guesses == [{"right": True}]
    updates = [message for message, _ in tapped.sent if message["method"] == "update"]
    assert len(updates) == 1  # the browser's own changes are not thrown back


def test_the_picture_of_record_follows_the_state(scan):
    viewer = ComplexViewer(scan, limits=Limits(magnitude=(0.1, 0.8)), spacing_mm=(2.0, 0.7))
    viewer.panels = [
        {"stack": "truth", "view": "magnitude"},
        {"stack": "measured", "view": "phase"},
        {"stack": "zero", "view": "difference"},
    ]
    viewer.slice_index, viewer.fade, viewer.align = 3, 0.0, False
    viewer.limits = {**viewer.limits, "phase": [-1.0, 2.0], "difference": [-0.5, 0.6]}
    figure = viewer.picture(columns=2)
    limits = Limits(magnitude=(0.1, 0.8), phase=(-1, 2), difference=(-0.5, 0.6), fade=0)
    kept = {name: quantise(images) for name, images in scan.items()}
    shown = [axes for axes in figure.axes if axes.images]
    for axes, panel in zip(shown, viewer.panels, strict=True):
        expected = complexes.paint(
            panel["view"], kept[panel["stack"]], 3, 0, limits, reference=kept["measured"],
            align=False,
        )  # fmt: skip
        assert np.array_equal(axes.images[0].get_array(), expected)
        assert axes.get_title().startswith(panel["stack"])
        assert axes.get_aspect() == pytest.approx(2.0 / 0.7)
    assert figure.get_suptitle() == "slice 3"


def test_the_picture_of_record_tells_case_and_coil(noise):
    viewer = ComplexViewer({"sub-1": {"a": noise(3, 2, NY, NX)}, "sub-2": {"a": noise(NY, NX)}})
    viewer.coil_index = 1
    assert viewer.picture().get_suptitle() == "sub-1, slice 1, coil 1"
    viewer.case, viewer.slice_index = "sub-2", 0
    assert viewer.picture().get_suptitle() == "sub-2, slice 0"


def test_a_case_that_is_needed_is_sent(noise, wire):
    second = noise(5, NX, NY)
    viewer = ComplexViewer({"one": {"a": noise(3, NY, NX)}, "two": {"a": Stack(second, top=9.0)}})
    tapped = wire(viewer)
    tapped.says(kind="need", case="two")
    ((content, buffers),) = tapped.custom("case")
    assert content["layout"]["name"] == "two"
    assert content["layout"]["shape"] == [5, 1, NX, NY]
    assert content["layout"]["stacks"][0]["top"] == 9.0
    assert not content["forget"]
    assert len(buffers) == len(content["keys"]) == 2
    by_key = dict(zip(content["keys"], buffers, strict=True))
    turn = np.frombuffer(by_key[content["layout"]["stacks"][0]["phase"]], np.int16)
    error = np.exp(1j * turn * np.pi / 32768) - np.exp(1j * second.angle().numpy().ravel())
    assert abs(error).max() < 1e-4
    assert viewer._first[0]["name"] == "one"  # what later views are sent


def test_colours_of_a_later_case_are_sent_with_it(noise, wire):
    later = Stack(noise(NY, NX), colours="magma")
    viewer = ComplexViewer({"one": {"a": noise(NY, NX)}, "two": {"a": later}})
    assert "magma" not in viewer._colours
    tapped = wire(viewer)
    tapped.says(kind="need", case="two")
    assert viewer._colours["magma"] == complexes.table("magma").tobytes()
    methods = [message["method"] for message, _ in tapped.sent]
    assert methods == ["update", "custom"]  # the colours are there when the case comes


@pytest.mark.parametrize(
    "content",
    [{"kind": "need", "case": "three"}, {"kind": "press", "name": "go", "case": "one", "slice": 0}],
)
def test_a_request_that_fails_is_told(noise, wire, content):
    viewer = ComplexViewer({"one": {"a": noise(NY, NX)}})
    tapped = wire(viewer)
    tapped.says(**content)
    ((told, _),) = tapped.custom("failed")
    assert told["case"] == content["case"]
    assert {"need": "three", "press": "'go'"}[content["kind"]] in told["text"]
    assert len(tapped.sent) == 1


def test_a_message_of_another_kind_is_passed_over(noise, wire):
    viewer = ComplexViewer(noise(NY, NX))
    tapped = wire(viewer)
    tapped.says(kind="hello")
    tapped.says()
    assert tapped.sent == []


def test_images_are_replaced_on_show_and_for_later_views(scan, noise, wire):
    viewer = ComplexViewer(scan)
    other = {"measured": noise(4, NY, NX)}
    tapped = wire(viewer)
    viewer.replace("all", other)
    ((content, buffers),) = tapped.custom("case")
    assert content["layout"] == viewer._first[0] == viewer.shown.layout()
    assert [bytes(viewer._pixels[key]) for key in content["keys"]] == buffers
    assert set(viewer._pixels) == set(content["keys"])
    same(viewer.shown.stacks["measured"], other["measured"])


def test_a_replacement_that_does_not_fit_changes_nothing(scan, noise):
    viewer = ComplexViewer(scan)
    with pytest.raises(ValueError, match="grids differ"):
        viewer.replace("all", {"a": noise(NY, NX), "b": noise(NX, NY)})
    with pytest.raises(ValueError, match="case 'other' is unknown"):
        viewer.replace("other", scan)
    same(viewer.shown.stacks["measured"], scan["measured"])


# --- what the kernel computes -----------------------------------------------------------


@pytest.fixture
def computed(noise):
    """A viewer of two cases whose images are of the size asked for, and the calls it made."""
    base, calls = {"one": noise(3, NY, NX), "two": noise(3, NY, NX)}, []

    def compute(case, size, mirrored):
        calls.append((case, size, mirrored))
        if size > 5:
            raise errors[size]
        images = size * base[case]
        return {"a": images.flip(-1) if mirrored else images}, f"{case} times {size}"

    errors = {6: ValueError("6 is too much"), 7: OSError("no such file"), 8: RuntimeError("torch")}
    viewer = ComplexViewer(
        ["one", "two"],
        compute=compute,
        controls=[
            Control("size", [2, 3, 6, 7, 8]), Control("mirrored", False),
            Control("go_on", None),
        ],
    )  # fmt: skip
    return viewer, base, calls


def test_controls_say_what_they_are():
    assert Control("R", [4, 8], label="acceleration").spec() == {
        "name": "R", "label": "acceleration", "kind": "choice", "options": [4, 8],
    }  # fmt: skip
    assert Control("calib_width", (12, 40, 1)).spec() == {
        "name": "calib_width", "label": "calib width", "kind": "range", "min": 12, "max": 40,
        "step": 1,
    }  # fmt: skip
    assert Control("sigpy", True).spec()["kind"] == "check"
    assert Control("draw", None).spec()["kind"] == "button"
    starts = [
        Control("a", [4, 8]), Control("a", [4, 8], 8), Control("a", (1, 5, 2)),
        Control("a", (1, 5, 2), 3), Control("a", True), Control("a", False),
    ]  # fmt: skip
    assert [one.start() for one in starts] == [4, 8, 1, 3, True, False]


def test_a_case_is_computed_when_it_is_first_shown(computed, wire):
    viewer, base, calls = computed
    assert calls == [("one", 2, False)]
    assert viewer.values == {"size": 2, "mirrored": False}  # a button has no value
    assert viewer.message == "one times 2"
    same(viewer.shown.stacks["a"], 2 * base["one"])
    tapped = wire(viewer)
    tapped.says(kind="need", case="two")
    tapped.says(kind="need", case="two")
    assert calls == [("one", 2, False), ("two", 2, False)]
    assert [content["layout"]["name"] for content, _ in tapped.custom("case")] == ["two", "two"]
    assert viewer.message == "two times 2"


def test_a_changed_control_computes_the_shown_case_again_and_forgets_the_others(computed, wire):
    viewer, base, calls = computed
    tapped = wire(viewer)
    tapped.says(kind="need", case="two")
    tapped.sets(case="two")
    tapped.sets(values={"size": 3, "mirrored": True})
    assert calls[2:] == [("two", 3, True)]
    content, buffers = tapped.custom("case")[-1]
    assert content["forget"]
    assert content["layout"]["name"] == "two"
    expected = 3 * base["two"].flip(-1)
    same(viewer.shown.stacks["a"], expected)
    # views that open later show it, too
    assert viewer._first[0] == content["layout"]
    assert [bytes(viewer._pixels[key]) for key in content["keys"]] == buffers
    tapped.says(kind="need", case="one")
    assert calls[3:] == [("one", 3, True)]
    same(viewer._loaded["one"].stacks["a"], 3 * base["one"].flip(-1))


@pytest.mark.parametrize(
    ("size", "text"), [(6, "6 is too much"), (7, "no such file"), (8, "RuntimeError: torch")]
)
def test_an_error_of_the_computation_is_told_beside_the_old_images(computed, wire, size, text):
    viewer, base, _ = computed
    tapped = wire(viewer)
    tapped.sets(values={"size": size, "mirrored": False})
    assert viewer.message == text
    assert viewer._alarm
    assert tapped.custom("case") == []
    same(viewer.shown.stacks["a"], 2 * base["one"])
    viewer.values = {"size": size, "mirrored": True}  # again: told again
    told = [m["state"]["message"] for m, _ in tapped.sent if "message" in m.get("state", {})]
    assert [one for one in told if one] == [text, text]
    assert told.count("") >= 1  # between them: a browser is told of changes alone
    viewer.values = {"size": 3, "mirrored": False}
    assert viewer.message == "one times 3"
    assert not viewer._alarm
    same(viewer.shown.stacks["a"], 3 * base["one"])


def test_a_case_that_cannot_be_computed_is_told_and_the_one_on_show_stays(computed, wire):
    viewer, base, _ = computed
    viewer.values = {"size": 6, "mirrored": False}
    tapped = wire(viewer)
    tapped.says(kind="need", case="two")
    assert tapped.custom("failed") == [
        ({"kind": "failed", "case": "two", "text": "6 is too much"}, [])
    ]
    assert viewer.case == "one"
    same(viewer.shown.stacks["a"], 2 * base["one"])


def test_of_many_computed_cases_some_are_kept_and_always_the_one_on_show(noise, wire, monkeypatch):
    monkeypatch.setattr("synthlib.widgets.viewer.KEPT", 2)
    made, images = [], noise(NY, NX)

    def compute(case):
        made.append(case)
        return {"a": images}

    viewer = ComplexViewer(list("abcde"), compute=compute)
    tapped = wire(viewer)
    for case in "bcde":
        tapped.says(kind="need", case=case)
    assert len(viewer._loaded) == 2
    viewer.picture()
    assert made == list("abcde")
    tapped.says(kind="need", case="b")
    assert made == list("abcdeb")
    assert [content["layout"]["name"] for content, _ in tapped.custom("case")] == list("bcdeb")


def test_without_a_computation_values_change_nothing(noise, wire):
    viewer = ComplexViewer(noise(NY, NX), controls=[Control("size", [2, 3])])
    tapped = wire(viewer)
    tapped.sets(values={"size": 3})
    assert tapped.custom("case") == []
    assert viewer.values == {"size": 3}


# --- the page without a kernel ----------------------------------------------------------

DEPTHS = {  # as the page says it: largest error of magnitude (65535ths), of phase (steps of 2^15)
    "steps of 1/65535 of the maximum, phase of 0.0001 rad": (0, 0),
    "steps of 1/65535 of the maximum, phase of 0.025 rad": (0, 128),
    "steps of 1/255 of the maximum, phase of 0.025 rad": (129, 128),
}


def depth_of(page):
    (found,) = [depth for words, depth in DEPTHS.items() if words in page.note]
    return found


def assert_kept(page, viewer):
    """The pixels in the page are those of the viewer within the depth that the page tells."""
    most_size, most_turn = depth_of(page)
    images = page.images()
    assert images
    kinds = [one["kind"].split()[1] for one in page["pixels"].values()]
    assert len({one["kind"] for one in page["pixels"].values()}) == len(set(kinds))  # one depth
    for (case, name), (size, turn) in images.items():
        kept = viewer._open(case).stacks[name]
        keys = [key for key, _ in viewer._open(case).keys.values()]
        shared = keys.count(viewer._open(case).keys[name][0]) > 1  # equal but for rounding
        assert abs(size - kept.magnitude.astype(int)).max() <= most_size + shared
        assert (turn is None) == (kept.phase is None)
        if turn is not None:
            apart = (turn - kept.phase + 32768) % 65536 - 32768  # on the circle
            assert abs(apart).max() <= most_turn


def test_a_page_holds_pixels_state_and_record(scan, read_page, tmp_path):
    viewer = ComplexViewer(scan, title="Four slices", spacing_mm=(2.0, 0.7))
    viewer.slice_index, viewer.fade, viewer.cursor = 3, 0.25, [4, 5]
    viewer.panels = viewer.panels[1:]
    record = {"seed": 7, "file": Path("a/b.h5"), "parameters": {"R": [4, 8]}}
    text = viewer.to_html(tmp_path / "viewer.html", record=record)
    assert (tmp_path / "viewer.html").read_text(encoding="utf-8") == text
    page = read_page(text)
    assert page.title == "Four slices"
    assert page["record"] == {"seed": 7, "file": "a/b.h5", "parameters": {"R": [4, 8]}}
    state = page["state"]
    assert (state["slice_index"], state["fade"], state["cursor"]) == (3, 0.25, [4, 5])
    assert state["panels"] == viewer.panels
    assert state["limits"] == viewer.limits
    assert state["_live"] is False
    assert {(case, name) for case, name in page.images()} == {("all", name) for name in scan}
    assert depth_of(page) == (0, 0)
    assert_kept(page, viewer)
    (layout,) = state["_first"]
    for stack, mine in zip(layout["stacks"], viewer._first[0]["stacks"], strict=True):
        assert {k: stack[k] for k in ("scale", "top", "dark")} == {
            k: mine[k] for k in ("scale", "top", "dark")
        }


def test_a_page_needs_nothing_from_elsewhere(scan):
    page = ComplexViewer(scan).to_html()
    assert set(re.findall(r"\w+://[^\s\"'`)<]+", page)) == {"http://www.w3.org/2000/svg"}
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "import(", "@import", "url(", "srcset"):
        assert word not in page
    assert not re.search(r"<(link|img|iframe|base)\b|\bsrc\s*=|\bhref\s*=|^\s*import\s", page, re.M)


def test_names_cannot_break_out_of_the_page(noise, read_page):
    evil = "</script><script>alert('&amp;<b>\"x\"')//<!-- \u2028"
    viewer = ComplexViewer(
        {evil: {evil: Stack(noise(2, NY, NX), unit=evil)}}, title=evil, case_label=evil
    )
    plain = ComplexViewer({"x": {"x": noise(2, NY, NX)}}).to_html()
    text = viewer.to_html(record={evil: evil})
    page = read_page(text)
    assert page.elements == read_page(plain).elements
    assert page.title == evil
    assert page["record"] == {evil: evil}
    (case,) = page["state"]["_first"]
    assert case["name"] == case["stacks"][0]["name"] == case["stacks"][0]["unit"] == evil
    assert list(page.images()) == [(evil, evil)]
    assert text.count("<script") == plain.count("<script")
    bundle, _ = viewer._repr_mimebundle_()
    (document,) = re.findall(r'srcdoc="([^"]*)"', bundle["text/html"])
    assert read_page(html.unescape(document)).title == evil


def test_depth_falls_as_the_page_must_be_smaller_until_it_is_refused(noise, read_page, tmp_path):
    viewer = ComplexViewer({f"source {k}": noise(4, 61, 46) for k in range(3)})
    depths = []
    for max_mb in np.arange(0.36, 0.1, -0.01):
        try:
            text = viewer.to_html(cases=["all"], max_mb=max_mb)
        except ValueError as error:
            message = str(error)
            break
        assert len(text.encode()) <= max_mb * 1e6
        page = read_page(text)
        assert_kept(page, viewer)
        depths.append(depth_of(page))
    assert list(dict.fromkeys(depths)) == list(DEPTHS.values())
    assert re.fullmatch(
        rf"the page of all .*{max_mb:g} MB.* in 8 bits.* Choose fewer cases, slices or stacks, or "
        r"a higher max_mb\.",
        message,
    )


def test_slices_are_left_out_where_one_case_is_too_large(noise, read_page):
    viewer = ComplexViewer({"a": noise(6, 61, 46), "truth": noise(61, 46).abs()})
    viewer.slice_index = 2
    text = viewer.to_html(max_mb=0.115)
    assert len(text.encode()) <= 0.115e6
    page = read_page(text)
    size, turn = page.images()["all", "a"]
    kept = viewer.shown.stacks["a"]
    assert len(size) == 3
    for index, mine in enumerate((0, 2, 4)):
        assert abs(size[index] - kept.magnitude[mine].astype(int)).max() <= 129
        assert abs((turn[index] - kept.phase[mine] + 32768) % 65536 - 32768).max() <= 128
    assert page.images()["all", "truth"][0].shape == (1, 1, 61, 46)
    assert page["state"]["slice_index"] == 1  # the slice on show is on show
    assert page["state"]["_first"][0]["shape"][0] == 3
    assert "slices" in page.note
    assert viewer.shown.shape[0] == 6
    with pytest.raises(ValueError, match="Choose fewer"):
        viewer.to_html(cases=["all"], max_mb=0.115)


def test_a_page_that_is_refused_leaves_the_old_file(noise, tmp_path):
    path = tmp_path / "viewer.html"
    path.write_text("before")
    with pytest.raises(ValueError, match="Choose fewer"):
        ComplexViewer(noise(4, 61, 46)).to_html(path, max_mb=0.08)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_that_cannot_be_written_leaves_the_old_file(scan, tmp_path, monkeypatch):
    path = tmp_path / "viewer.html"
    path.write_text("before")

    def half(self, data):
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="the disk is full"):
        ComplexViewer(scan).to_html(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_worst_phase_gallery_fits_in_5_mb(draw, read_page):
    """Eight slices of 256x256, five sources: noise in the air, and one of noise everywhere."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 256), torch.linspace(-1, 1, 256), indexing="ij")
    shape = (8, 256, 256)
    head = (y**2 + x**2 < 0.6) * (2 + torch.sin(9 * y) * torch.cos(7 * x))
    noise = 0.1 * torch.randn((2, *shape), generator=draw)
    smooth = 2 * y + x**2 + torch.arange(8)[:, None, None] / 3
    measured = torch.polar(head.expand(shape), smooth.expand(shape)) + torch.complex(*noise)
    size = measured.abs()
    phases = {
        "measured": measured.angle(),
        "gan": smooth + 0.3 * torch.randn(shape, generator=draw),
        "sinusoidal": (3 * torch.sin(5 * y + 3 * x)).expand(shape),
        "zero": torch.zeros(shape),
        "random": 2 * torch.pi * torch.rand(shape, generator=draw),
    }
    viewer = ComplexViewer({name: torch.polar(size, phase) for name, phase in phases.items()})
    begin = time.perf_counter()
    text = viewer.to_html(cases=["all"], max_mb=5)
    assert time.perf_counter() - begin < 20
    assert len(text.encode()) < 5e6
    page = read_page(text)
    assert len(page["pixels"]) == 6  # one magnitude
    assert_kept(page, viewer)
    assert page["state"]["_first"][0]["shape"] == [8, 1, 256, 256]
    assert depth_of(page)[1] == 128  # 16 bits would not fit


@pytest.mark.parametrize(("max_mb", "depth"), [(0.21, (0, 0)), (0.19, (0, 128))])
def test_as_many_cases_as_fit_beginning_with_the_one_on_show(noise, read_page, max_mb, depth):
    viewer = ComplexViewer({name: {"a": noise(4, 61, 46)} for name in ("one", "two", "three")})
    viewer.case = "two"
    whole = read_page(viewer.to_html(max_mb=5))
    assert [case for case, _ in whole.images()] == ["two", "one", "three"]
    assert "more" not in whole.note
    assert_kept(whole, viewer)
    text = viewer.to_html(max_mb=max_mb)
    assert len(text.encode()) <= max_mb * 1e6
    page = read_page(text)
    left = [case for case, _ in page.images()]
    assert left == ["two", "one"]
    assert [one["name"] for one in page["state"]["_layout"]["cases"]] == left
    assert page["state"]["case"] == "two"
    assert re.search(r"\b1 more", page.note)
    assert depth_of(page) == depth
    assert_kept(page, viewer)


def test_many_small_cases_keep_to_the_limit(noise):
    """What is told about the stacks counts, too."""
    names = [f"stack number {k}" for k in range(6)]
    viewer = ComplexViewer(
        {f"case {k}": {name: noise(1, 9, 7) for name in names} for k in range(40)}
    )
    for max_mb in (0.12, 0.18):
        assert len(viewer.to_html(max_mb=max_mb).encode()) <= max_mb * 1e6


def test_cases_that_were_asked_for_are_all_there_or_refused(noise, read_page):
    viewer = ComplexViewer({name: {"a": noise(4, 61, 46)} for name in ("one", "two", "three")})
    page = read_page(viewer.to_html(cases=["three", "one"], max_mb=5))
    assert [case for case, _ in page.images()] == ["three", "one"]
    assert page["state"]["case"] == "three"
    with pytest.raises(ValueError, match=r"the page of two, one .*0\.125 MB"):
        viewer.to_html(cases=["two", "one"], max_mb=0.125)
    with pytest.raises(ValueError, match="case 'four' is unknown; expected one of one, two, three"):
        viewer.to_html(cases=["one", "four"])


def test_a_page_has_the_colours_of_all_its_cases(noise, read_page):
    viewer = ComplexViewer(
        {"one": {"a": noise(NY, NX)}, "two": {"a": Stack(noise(NY, NX), colours="magma")}}
    )
    state = read_page(viewer.to_html())["state"]
    used = {stack["colours"] for case in state["_first"] for stack in case["stacks"]}
    assert used == {"gray", "magma"}
    assert used <= set(state["_colours"])


def test_a_page_of_computed_cases_computes_them(computed, read_page):
    viewer, base, calls = computed
    page = read_page(viewer.to_html())
    assert calls == [("one", 2, False), ("two", 2, False)]
    size, _ = page.images()["two", "a"]
    scale = page["state"]["_first"][1]["stacks"][0]["scale"]
    error = size[:, 0] / 65535 * scale - 2 * base["two"].abs().numpy()
    assert abs(error).max() < 1e-4 * scale


# --- in an executed notebook ------------------------------------------------------------


def test_an_executed_notebook_keeps_a_working_copy_of_the_case_on_show(noise, read_page):
    viewer = ComplexViewer({name: {"a": noise(3, NY, NX)} for name in ("one", "two")}, title="T<")
    viewer.case, viewer.slice_index = "two", 2
    data, _ = viewer._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == viewer.model_id
    assert 'title="T&lt;"' in data["text/html"]
    (document,) = re.findall(r'srcdoc="([^"]*)"', data["text/html"])
    page = read_page(html.unescape(document))
    assert [case for case, _ in page.images()] == ["two"]
    assert page["state"]["slice_index"] == 2
    assert_kept(page, viewer)
    json.dumps(data)


def test_an_executed_notebook_says_where_a_large_viewer_went(noise):
    viewer = ComplexViewer(noise(4, 61, 46), keep_mb=0.08)
    data, _ = viewer._repr_mimebundle_()
    assert "<iframe" not in data["text/html"]
    assert "viewer.to_html(path)" in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data
