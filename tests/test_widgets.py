"""Sliders: they are there, and the picture follows them."""

import io
import re

import ipywidgets as ipw
import matplotlib.image
import pytest

from synthlib import widgets
from synthlib.phase import sources

NAMES = ["measured", "zero", "random", "sinusoidal", "other_patient", "polynomial"]


def inside(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


def one(widget, kind):
    (found,) = [part for part in inside(widget) if isinstance(part, kind)]
    return found


def control(widget, description):
    (found,) = [part for part in inside(widget) if getattr(part, "description", "") == description]
    return found


def picture(widget):
    """The PNG as it stands, and its pixels."""
    data = bytes(one(widget, ipw.Image).value)
    assert data.startswith(b"\x89PNG")
    pixels = matplotlib.image.imread(io.BytesIO(data), format="png")
    assert min(pixels.shape[:2]) > 100
    assert pixels[..., :3].std() > 0.05  # not one colour
    return data


def told(widget):
    return one(widget, ipw.HTML).value


@pytest.fixture(scope="module")
def volumes(study):
    return study["test"] + study["val"]


@pytest.fixture(scope="module")
def context(study):
    return sources.open_context(None, study["gan"])


@pytest.fixture(scope="module")
def gallery(volumes, context):
    return widgets.phase_gallery(volumes, NAMES, context, seed=1)


@pytest.fixture(scope="module")
def browser(volumes):
    browser = widgets.coil_browser(volumes)
    for name in ("threshold auto", "crop auto"):
        assert control(browser, name).value
        control(browser, name).value = False
    return browser


def test_the_gallery_offers_every_subject_contrast_slice_and_source(gallery, volumes):
    assert set(control(gallery, "subject").options) == {v.raw.patient_id for v in volumes}
    assert list(control(gallery, "contrast").options) == ["AXFLAIR", "AXT1", "AXT2"]
    assert (control(gallery, "slice").min, control(gallery, "slice").max) == (0, 1)
    assert [name for _, name in control(gallery, "phase").options] == NAMES
    picture(gallery)


@pytest.mark.parametrize(
    "description", ["subject", "contrast", "slice", "phase", "± rad", "brightness"]
)
def test_each_control_of_the_gallery_changes_the_picture_and_back(gallery, description):
    control(gallery, "phase").value = "sinusoidal"
    before = picture(gallery)
    handle = control(gallery, description)
    old = handle.value
    if isinstance(handle, ipw.Dropdown):
        values = [o[1] if isinstance(o, tuple) else o for o in handle.options]
        new = next(v for v in values if v != old)
    else:
        new = handle.min if handle.min != old else handle.max
    handle.value = new
    assert picture(gallery) != before
    handle.value = old
    assert picture(gallery) == before
    assert told(gallery) == ""


@pytest.mark.parametrize("name", NAMES)
def test_every_source_draws_its_own_picture(gallery, name):
    control(gallery, "phase").value = name
    mine = picture(gallery)
    control(gallery, "phase").value = NAMES[NAMES.index(name) - 1]
    assert picture(gallery) != mine
    assert told(gallery) == ""


def test_a_source_that_cannot_be_drawn_is_told_beside_the_last_picture(volumes):
    gallery = widgets.phase_gallery(volumes, ["zero", "gan"], sources.Context(), seed=1)
    before = picture(gallery)
    control(gallery, "phase").value = "gan"
    assert "needs a trained generator" in told(gallery)
    assert picture(gallery) == before
    control(gallery, "phase").value = "zero"
    assert told(gallery) == ""


def test_sliders_redraw_on_release(gallery, browser):
    sliders = [
        part
        for widget in (gallery, browser)
        for part in inside(widget)
        if isinstance(part, ipw.IntSlider | ipw.FloatSlider | ipw.FloatLogSlider)
    ]
    assert len(sliders) >= 8
    assert not any(slider.continuous_update for slider in sliders)


@pytest.mark.parametrize(
    ("description", "value"),
    [("slice", 1), ("calibration", 16), ("kernel", 4), ("threshold", 0.1), ("crop", 0.6)],
)
def test_each_parameter_of_the_maps_changes_the_picture(browser, description, value):
    before, handle = picture(browser), control(browser, description)
    old = handle.value
    assert old != value
    handle.value = value
    assert picture(browser) != before
    assert re.search(r"maps of \d+ coils in \d+ ms, threshold .*Flags: ", told(browser))
    handle.value = old
    assert picture(browser) == before


def test_another_coil_is_shown_without_a_new_estimate(browser):
    before, said = picture(browser), told(browser)
    control(browser, "coil").value = 3
    assert picture(browser) != before
    assert told(browser) == said  # the time is that of the one estimate
    control(browser, "coil").value = 0
    assert picture(browser) == before


def test_automatic_settings_are_chosen_and_told(browser):
    control(browser, "threshold auto").value = control(browser, "crop auto").value = True
    chosen = re.search(r"threshold ([\d.]+), crop (\d\.\d+)", told(browser))
    assert 0.009 < float(chosen[1]) < 0.21
    assert 0.49 < float(chosen[2]) < 0.96
    control(browser, "threshold auto").value = control(browser, "crop auto").value = False
    assert "threshold 0.020, crop 0.90" in told(browser)


def test_sigpy_stands_beside_on_demand(browser):
    before = picture(browser)
    control(browser, "SigPy beside ours (takes seconds)").value = True
    with_sigpy = picture(browser)
    assert len(with_sigpy) > 1.2 * len(before)  # a second row
    control(browser, "SigPy beside ours (takes seconds)").value = False
    assert picture(browser) == before


def test_settings_that_cannot_be_are_told_beside_the_last_picture(browser):
    before = picture(browser)
    control(browser, "kernel").value = 8
    control(browser, "calibration").value = 12
    assert "<b>calibration region of 12x12 samples (ky x kx) for a kernel of 8" in told(browser)
    control(browser, "calibration").value = 24
    control(browser, "kernel").value = 6
    assert picture(browser) == before


def test_another_scan_shows_other_maps(browser, volumes):
    assert list(control(browser, "scan").options) == [volume.name for volume in volumes]
    before = picture(browser)
    control(browser, "scan").value = volumes[-1].name
    assert picture(browser) != before
