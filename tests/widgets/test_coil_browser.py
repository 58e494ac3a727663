"""The coil browser: maps of one slice for other parameters, and SigPy's beside them."""

import re

import numpy as np
import pytest
import torch
from sigpy.mri.app import EspiritCalib

from synthlib import arrays, coils, widgets
from synthlib.widgets.coil_browser import COMBINED, EIGENVALUE, IMAGE, LEFT, MAP, SIGPY


@pytest.fixture(scope="module")
def volumes(study):
    return study["test"][:2]


@pytest.fixture
def browser(volumes):
    return widgets.coil_browser(volumes)


def stack(browser, name):
    """(coil, y, x) or (1, y, x), as exact as 16 bits are."""
    kept = browser.shown.stacks[name]
    assert kept.shape[0] == 1  # the slice is a parameter
    return torch.stack([kept.image(0, coil) for coil in range(kept.shape[1])])


def change(browser, **values):
    browser.values = {**browser.values, **values}
    assert not browser._alarm, browser.message


def assert_shows(browser, images, settings):
    """The five stacks, from the maps that the library gives for these settings."""
    found = coils.espirit_maps(arrays.fft2c(images), settings)
    maps, values = found.maps.numpy(), images.numpy()
    combined = (maps.conj() * values).sum(0)  # maps of unit root sum of squares
    rest = np.sqrt((abs(values - maps * combined) ** 2).sum(0) / (abs(values) ** 2).sum(0))
    expected = {
        MAP: maps, IMAGE: values, COMBINED: combined[None],
        EIGENVALUE: found.eigenvalues.clamp(min=0).numpy()[None],
        LEFT: np.where(found.support.numpy(), rest, 0)[None],
    }  # fmt: skip
    assert set(expected) == set(browser.shown.stacks) - {SIGPY}
    for name, one in expected.items():
        shown = stack(browser, name).numpy()
        assert shown.shape == one.shape
        assert abs(shown - one).max() < 1e-4 * abs(one).max() + 1e-6, name


# --- the stacks -------------------------------------------------------------------------


def test_what_is_shown_are_the_maps_of_the_slice(browser, volumes):
    assert_shows(browser, volumes[0].raw.coil_images(0), coils.EspiritSettings())
    assert browser.shown.shape == (1, 8, 48, 40)
    assert browser._first[0]["spacing"] == pytest.approx(volumes[0].raw.spacing_mm)


@pytest.mark.parametrize(
    ("name", "value", "index", "settings"),
    [
        ("slice", 1, 1, {}),
        ("calib_width", 16, 0, {"calib_width": 16}),
        ("kernel_width", 4, 0, {"kernel_width": 4}),
        ("threshold", 0.2, 0, {"threshold": 0.2}),
        ("crop", 0.6, 0, {"crop": 0.6}),
    ],
)
def test_each_parameter_changes_what_is_shown_and_back(
    browser, volumes, name, value, index, settings
):
    start = browser.values[name]
    before = {one: stack(browser, one) for one in browser.shown.stacks}
    change(browser, **{name: value})
    after = {one: stack(browser, one) for one in browser.shown.stacks}
    differ = {one for one in before if not torch.equal(before[one], after[one])}
    everything = {MAP, COMBINED, EIGENVALUE, LEFT}
    expected = {"slice": everything | {IMAGE}}.get(name, everything)
    assert differ == expected
    assert_shows(browser, volumes[0].raw.coil_images(index), coils.EspiritSettings(**settings))
    change(browser, **{name: start})
    assert all(torch.equal(stack(browser, one), before[one]) for one in before)


def test_another_scan_shows_other_maps_for_the_same_parameters(browser, volumes, wire):
    change(browser, calib_width=16)
    tapped = wire(browser)
    name = volumes[1].name
    tapped.says(kind="need", case=name)
    tapped.sets(case=name)
    ((content, _),) = tapped.custom("case")
    assert content["layout"]["name"] == name
    assert_shows(browser, volumes[1].raw.coil_images(0), coils.EspiritSettings(calib_width=16))


def test_controls_offer_what_the_settings_allow(browser):
    specs = {one["name"]: one for one in browser._layout["controls"]}
    default = coils.EspiritSettings()
    for name in ("calib_width", "kernel_width", "threshold", "crop"):
        assert browser.values[name] == getattr(default, name)
    assert (specs["slice"]["min"], specs["slice"]["max"]) == (0, 1)
    for name in ("threshold", "crop"):
        assert specs[name]["options"][0] == coils.AUTO
        for value in specs[name]["options"]:
            coils.EspiritSettings(**{name: value}).check()


def test_no_scans_are_refused():
    with pytest.raises(ValueError, match="no scans were given; expected at least one"):
        widgets.coil_browser([])


# --- what is told -----------------------------------------------------------------------


def test_time_threshold_crop_residual_and_flags_are_told(browser, volumes):
    images = volumes[0].raw.coil_images(0)
    found = coils.espirit_maps(arrays.fft2c(images))
    told = re.match(
        r"(\S+), slice 0: maps of 8 coils in (\d+) ms, threshold (\S+), crop (\S+), residual in "
        r"the support (\S+)\. Flags: none\.",
        browser.message,
    )
    assert told[1] == volumes[0].name
    assert 0 < int(told[2]) < 60_000
    assert float(told[3]) == pytest.approx(float(found.threshold), abs=6e-4)
    assert float(told[4]) == pytest.approx(float(found.crop), abs=6e-3)
    maps, inside = found.maps, found.support
    rest = images - maps * (maps.conj() * images).sum(0)
    share = rest[:, inside].norm() / images[:, inside].norm()
    assert float(told[5]) == pytest.approx(float(share), abs=1e-3)


def test_numbers_that_were_chosen_are_told_and_flags_named(browser):
    change(browser, threshold=0.2, crop=0.99, slice=1)
    assert ", slice 1: maps" in browser.message
    assert "threshold 0.200, crop 0.99" in browser.message
    change(browser, crop=0.5, threshold=0.005)
    assert "threshold 0.005, crop 0.50" in browser.message
    flags = re.search(r"Flags: ([^.]*)\.", browser.message)[1]
    assert "threshold too low" in flags  # noise explains everything


def test_a_warning_of_the_estimation_is_told(browser, volumes, monkeypatch):
    images = volumes[0].raw.coil_images(0).clone()
    images[3] = 0
    monkeypatch.setattr(browser, "_images", lambda name, index: images)
    change(browser, calib_width=16)
    told = "coil 3 of 8 holds no signal: its map is zero"
    assert browser.message.count(told) == 2  # among the flags, and as the estimation warned


def test_parameters_that_cannot_be_are_told_beside_the_old_maps(browser, wire):
    change(browser, calib_width=12)
    before = stack(browser, MAP)
    tapped = wire(browser)
    tapped.sets(values={**browser.values, "kernel_width": 8})
    assert browser._alarm
    assert "calibration region of 12x12 samples (ky x kx) for a kernel of 8" in browser.message
    assert torch.equal(stack(browser, MAP), before)
    assert tapped.custom("case") == []
    change(browser, kernel_width=6)
    assert torch.equal(stack(browser, MAP), before)
    assert "maps of 8 coils" in browser.message


# --- SigPy ------------------------------------------------------------------------------


def test_sigpys_maps_stand_beside_ours_in_our_gauge(browser, volumes):
    """Between coils the phase is SigPy's, on the whole that of our maps."""
    assert SIGPY not in browser.shown.stacks
    change(browser, sigpy=True)
    images = volumes[0].raw.coil_images(0)
    found = coils.espirit_maps(arrays.fft2c(images))
    reference = torch.as_tensor(
        EspiritCalib(
            arrays.fft2c(images).numpy(), calib_width=24, kernel_width=6,
            thresh=float(found.threshold), crop=0, show_pbar=False,
        ).run()
    )  # fmt: skip
    shown, ours = stack(browser, SIGPY), stack(browser, MAP)
    between = shown[1:] * shown[:1].conj()
    expected = reference[1:] * reference[:1].conj()
    assert (between - expected).abs().max() < 1e-3
    together = (ours.conj() * shown).sum(0)  # (y, x)
    inside = found.support
    assert together[inside].angle().abs().max() < 1e-3
    strong = inside & (ours.abs() > 0.2)
    error = torch.polar(torch.ones_like(ours.abs()), shown.angle() - ours.angle()).angle()
    assert error[strong].abs().median() < 0.02
    share = ((found.maps.conj() * reference).sum(0).abs()[inside] > 0.999).float().mean()
    assert f"SigPy: {float(share):.1%} of the support aligned above 0.999" in browser.message


def test_sigpys_panels_come_and_go(browser):
    own = [*browser.panels[:2], {"stack": COMBINED, "view": "colour"}]
    browser.panels = own
    change(browser, sigpy=True)
    assert browser.panels == [
        *own, {"stack": SIGPY, "view": "phase"}, {"stack": SIGPY, "view": "difference"}
    ]  # fmt: skip
    change(browser, crop=0.9)
    assert len(browser.panels) == 5
    browser.picture()
    change(browser, sigpy=False)
    assert browser.panels == own
    assert SIGPY not in browser.shown.stacks
    assert "SigPy" not in browser.message


def test_sigpy_is_asked_once_for_the_same_parameters(browser, monkeypatch):
    asked, sigpy_maps = [], coils.sigpy_maps

    def count(kspace, settings, threshold):
        asked.append((settings.calib_width, threshold))
        return sigpy_maps(kspace, settings, threshold)

    monkeypatch.setattr(coils, "sigpy_maps", count)
    for sigpy in (False, True, False, True):
        change(browser, sigpy=sigpy)
    assert len(asked) == 1
    change(browser, calib_width=16)
    assert [width for width, _ in asked] == [24, 16]
