"""The phase gallery: every source's phase for the scans' magnitudes, undersampled, drawn anew."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from fastmri.data.subsample import EquispacedMaskFractionFunc

from synthlib import arrays, widgets
from synthlib.phase import sources
from synthlib.widgets.gallery import FULL

NAMES = ["measured", "gan", "sinusoidal", "random", "zero", "other_patient", "polynomial"]
GAN = sources.label("gan")
SEED = 11


@pytest.fixture(scope="module")
def volumes(study):
    return study["test"][:2]


@pytest.fixture
def gallery(volumes, context):
    return widgets.phase_gallery(volumes, NAMES, context, seed=SEED)


def on_circle(phase, reference):
    return torch.polar(torch.ones_like(phase), phase - reference).angle()


def words_of(gallery, name):
    """The 16-bit phase (slice, y, x) that a view gets which opens now."""
    (first,) = gallery._first
    (stack,) = [one for one in first["stacks"] if one["name"] == name]
    shape = stack["slices"], *first["shape"][2:]
    return np.frombuffer(gallery._pixels[stack["phase"]], np.int16).reshape(shape).copy()


def press(tapped, case, index):
    tapped.says(kind="press", name="draw", case=case, slice=index)


# --- what is shown ----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_source_is_shown_with_the_phase_it_writes_and_the_scans_magnitude(
    gallery, volumes, context, name
):
    for case, volume in zip(gallery._cases, volumes, strict=True):
        gallery.case = case
        stack = gallery.shown.stacks[sources.label(name)]
        assert stack.shape == (2, 1, 48, 40)
        for index in range(volume.n_slices):
            pair = volume.pair(index)
            phase = sources.write(name, pair, context, seed=SEED)
            shown = stack.image(index, 0)
            assert (shown.abs() - pair.magnitude).abs().max() < 0.51 * stack.scale / 65535
            size, turn = stack.at(index, 0)
            error = on_circle(torch.tensor(turn * np.pi / 32768), phase)[torch.tensor(size > 0)]
            assert error.abs().max() < 0.52 * np.pi / 32768


def test_every_source_has_a_phase_of_its_own_and_all_share_one_magnitude(gallery):
    assert list(gallery.shown.stacks) == [sources.label(name) for name in NAMES]
    assert len(gallery._pixels) == 1 + len(NAMES)
    words = [words_of(gallery, sources.label(name)).tobytes() for name in NAMES]
    assert len(set(words)) == len(NAMES)


def test_scans_are_cases_by_patient_and_contrast(gallery, volumes):
    expected = [f"{volume.raw.patient_id}, {volume.raw.contrast}" for volume in volumes]
    assert list(gallery._cases) == expected
    assert gallery._first[0]["spacing"] == pytest.approx(volumes[0].raw.spacing_mm)


def test_several_scans_of_one_contrast_are_cases_by_name(volumes, context):
    again = dataclasses.replace(volumes[0].raw, name="scanned_again")
    several = [volumes[0], dataclasses.replace(volumes[0], raw=again)]
    gallery = widgets.phase_gallery(several, ["zero"], context, seed=SEED)
    assert list(gallery._cases) == [volumes[0].name, "scanned_again"]


def test_five_phases_stand_beside_the_magnitude(gallery):
    expected = [(sources.label("measured"), "magnitude")]
    expected += [(sources.label(name), "phase") for name in NAMES[:5]]
    assert [(one["stack"], one["view"]) for one in gallery.panels] == expected


def test_measured_is_guessed_against_the_gan_where_both_are_there(gallery, volumes, context):
    guess = gallery._layout["guess"]
    assert (guess["measured"], guess["against"]) == (sources.label("measured"), GAN)
    assert set(guess["others"]) == {sources.label(name) for name in NAMES[1:]}
    for names in (["measured", "zero"], ["gan", "zero"]):
        other = widgets.phase_gallery(volumes[:1], names, context, seed=SEED)
        assert other._layout["guess"] is None
        buttons = [one["name"] for one in other._layout["controls"] if one["kind"] == "button"]
        assert buttons == (["draw"] if "gan" in names else [])


def test_guesses_are_read_back(gallery, wire):
    wire(gallery).sets(guesses=[{"right": True, "slice": 1}])
    assert gallery.guesses == [{"right": True, "slice": 1}]


@pytest.mark.parametrize(
    ("names", "some", "message"),
    [
        (["measured", "gan"], 1, "'gan' needs a trained generator, none was given. Run notebook"),
        (["measured", "perlin"], 1, "'perlin' is unknown; expected one of measured, gan"),
        (["measured"], 0, "no scans were given; expected at least one"),
    ],
)
def test_what_cannot_be_shown_is_told_at_once(volumes, names, some, message):
    with pytest.raises(ValueError, match=message):
        widgets.phase_gallery(volumes[:some], names, sources.Context(), seed=SEED)


# --- undersampled -----------------------------------------------------------------------


def zero_filled(volume, index, phase, acceleration):
    """(image, achieved R), with numpy's FFT and fastMRI's mask, whose seed is the file's name."""
    seed = tuple(map(ord, f"{volume.name}.h5"))
    make = EquispacedMaskFractionFunc([0.04], [acceleration])
    columns = make((1, 40, 2), seed=seed)[0].numpy().ravel()
    maps = volume.maps(index).numpy()
    image = volume.pair(index).magnitude.numpy() * np.exp(1j * phase.numpy())
    kspace = np.fft.fft2(np.fft.ifftshift(image * maps, axes=(1, 2)))
    kspace = np.fft.fftshift(kspace, axes=(1, 2)) * columns
    coil_images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(1, 2))), axes=(1, 2))
    power = (abs(maps) ** 2).sum(0)
    return (maps.conj() * coil_images).sum(0) / power, len(columns) / columns.sum()


@pytest.mark.parametrize("acceleration", [4, 8])
def test_undersampled_images_are_zero_filled_reconstructions(
    gallery, volumes, context, wire, acceleration
):
    tapped = wire(gallery)
    tapped.sets(values={"R": acceleration})
    for name in ("measured", "gan", "random"):
        stack = gallery.shown.stacks[sources.label(name)]
        for index in range(2):
            phase = sources.write(name, volumes[0].pair(index), context, seed=SEED)
            expected, achieved = zero_filled(volumes[0], index, phase, acceleration)
            error = stack.image(index, 0).numpy() - expected
            assert abs(error).max() < 2e-4 * stack.scale
    assert gallery.message == f"Zero-filled reconstructions, R = {achieved:.1f} achieved."
    ((content, _),) = tapped.custom("case")
    assert content["forget"]


def test_with_all_lines_the_image_is_whole_again(gallery, volumes):
    whole = {name: stack.magnitude for name, stack in gallery.shown.stacks.items()}
    gallery.values = {"R": 4}
    aliased = gallery.shown.stacks
    assert all(abs(aliased[n].magnitude / 65535 - whole[n] / 65535).max() > 0.01 for n in aliased)
    gallery.values = {"R": FULL}
    for name, stack in gallery.shown.stacks.items():
        assert np.array_equal(stack.magnitude, whole[name])
    assert gallery.message == ""


def test_a_mask_that_cannot_be_is_told_beside_the_old_images(volumes, context):
    gallery = widgets.phase_gallery(
        volumes[:1], ["measured"], context, seed=SEED, accelerations=(4, 30)
    )
    before = words_of(gallery, sources.label("measured"))
    gallery.values = {"R": 30}
    assert "R = 30" in gallery.message
    assert gallery._alarm
    assert np.array_equal(words_of(gallery, sources.label("measured")), before)


# --- new draws --------------------------------------------------------------------------


def test_a_new_draw_changes_the_gans_phase_of_that_slice_alone(gallery, wire):
    tapped = wire(gallery)
    before = {name: words_of(gallery, sources.label(name)) for name in NAMES}
    press(tapped, gallery.case, 1)
    ((content, (words,)),) = tapped.custom("draw")
    assert {k: content[k] for k in ("case", "slice", "stack")} == {
        "case": gallery.case, "slice": 1, "stack": GAN,
    }  # fmt: skip
    after = {name: words_of(gallery, sources.label(name)) for name in NAMES}
    for name in NAMES:
        assert np.array_equal(after[name][0], before[name][0])
        assert np.array_equal(after[name][1], before[name][1]) == (name != "gan")
    assert after["gan"][1].tobytes() == words  # views that open later show the draw, too
    assert np.array_equal(gallery.shown.stacks[GAN].phase[1, 0], after["gan"][1])


def test_a_new_draw_tells_how_far_it_is_from_the_draw_before(gallery, volumes, wire):
    tapped, pair = wire(gallery), volumes[0].pair(0)
    weight = (pair.magnitude * pair.head).numpy()
    drawn = [words_of(gallery, GAN)[0]]
    for _ in range(2):
        press(tapped, gallery.case, 0)
        drawn.append(words_of(gallery, GAN)[0])
    for k, (content, _) in enumerate(tapped.custom("draw")):
        turns = np.exp(1j * (drawn[k + 1].astype(float) - drawn[k]) * np.pi / 32768)
        mean = (weight * abs(np.angle(turns))).sum() / weight.sum()
        assert mean > 0.01
        told = re.fullmatch(
            rf"Draw {k + 1}, written in \d+ ms; from the draw before it differs by (\S+) rad in "
            r"the head \(weighted mean\)\.",
            content["text"],
        )
        assert float(told[1]) == pytest.approx(mean, abs=1e-3)


def test_draws_follow_from_the_seed_and_their_number(volumes, context, wire):
    drawn = {}
    for run, seed in enumerate((SEED, SEED, SEED + 1)):
        gallery = widgets.phase_gallery(volumes, ["measured", "gan"], context, seed=seed)
        tapped = wire(gallery)
        for _ in range(3):
            press(tapped, gallery.case, 1)
        first, second, third = (words for _, (words,) in tapped.custom("draw"))
        assert len({first, second, third}) == 3
        drawn[run] = first, second, third
    assert drawn[0] == drawn[1]
    assert not set(drawn[0]) & set(drawn[2])


def test_a_draw_is_for_the_magnitude_of_the_case_and_slice_asked_for(volumes, wire):
    asked = []

    class Pretend:
        def at_pixels(self, magnitude, spacing_mm, *, seed):
            asked.append((magnitude, seed))
            return arrays.wrap(magnitude / magnitude.max() + seed % 1000)

    pretend = Pretend()
    gallery = widgets.phase_gallery(volumes, ["gan"], sources.Context(generator=pretend), seed=SEED)
    tapped = wire(gallery)
    other = list(gallery._cases)[1]
    before = words_of(gallery, GAN)
    tapped.says(kind="need", case=other)
    asked.clear()
    press(tapped, other, 1)
    ((magnitude, seed),) = asked
    torch.testing.assert_close(magnitude, volumes[1].pair(1).magnitude)
    ((content, (words,)),) = tapped.custom("draw")
    assert (content["case"], content["slice"]) == (other, 1)
    turn = torch.tensor(np.frombuffer(words, np.int16).reshape(48, 40) * np.pi / 32768)
    error = on_circle(turn, (magnitude / magnitude.max() + seed % 1000).double())
    assert error.abs().max() < 1e-3
    assert np.array_equal(words_of(gallery, GAN), before)  # of the first case
    tapped.says(kind="need", case=other)
    content, buffers = tapped.custom("case")[-1]
    key = content["layout"]["stacks"][0]["phase"]
    sent = np.frombuffer(buffers[content["keys"].index(key)], np.int16).reshape(2, 48, 40)
    assert sent[1].tobytes() == words


def test_no_new_draw_of_an_undersampled_image(gallery, wire):
    gallery.values = {"R": 4}
    before = words_of(gallery, GAN)
    tapped = wire(gallery)
    press(tapped, gallery.case, 1)
    assert tapped.custom("failed") == [
        (
            {"kind": "failed", "case": gallery.case,
             "text": "a new draw is made for the whole image; set R to 1 first"},
            [],
        )
    ]  # fmt: skip
    assert tapped.custom("draw") == []
    assert np.array_equal(words_of(gallery, GAN), before)


def test_a_page_of_the_gallery_shows_the_draw_on_show(gallery, wire, read_page):
    press(wire(gallery), gallery.case, 1)
    page = read_page(gallery.to_html())
    _, turn = page.images()[gallery.case, GAN]
    assert np.array_equal(turn[:, 0], words_of(gallery, GAN))
    assert [case for case, name in page.images() if name == GAN] == list(gallery._cases)
    assert page["state"]["_layout"]["guess"]["against"] == GAN
