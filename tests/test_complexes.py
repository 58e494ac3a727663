"""16-bit pixels and their colours, against matplotlib, numpy and the circle itself."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from synthlib import arrays, metrics
from synthlib.figures import complexes, pixels
from synthlib.figures.complexes import Limits, Panel
from synthlib.figures.pixels import Stack

NY, NX = 37, 26  # odd and even, not square: swapped axes and wrong centres must fail
WHERE = (1, 2)  # slice, coil
MOVED = Limits(
    magnitude=(0.15, 0.7), phase=(-1.0, 2.5), difference=(-0.6, 0.4), signed=0.4, kspace=(-50, -5),
    fade=0,
)  # fmt: skip


@pytest.fixture
def images(draw):
    """Complex (3, 4, 37, 26): sizes 0 to 7.3 au, phases anywhere on the circle."""
    size, turn = (
        7.3 * torch.rand((3, 4, NY, NX), generator=draw),
        torch.rand((3, 4, NY, NX), generator=draw),
    )
    return torch.polar(size, np.pi * (1 - 2 * turn))


@pytest.fixture
def other(images, draw):
    """A reference: other sizes, phases within 0.5 rad of the images' and a constant of 2 rad."""
    noise = torch.rand(images.shape, generator=draw)
    return torch.polar(images.abs() * (0.5 + noise), images.angle() + 2 + 0.5 * noise)


def on_circle(phase, reference):
    return torch.polar(torch.ones_like(phase), phase - reference).angle()


# --- 16 bits --------------------------------------------------------------------------


def test_magnitude_is_kept_to_half_a_step_of_65535(images):
    kept = pixels.quantise(images)
    assert kept.scale == pytest.approx(float(images.abs().max()), rel=1e-6)
    assert kept.magnitude.max() == 65535
    error = torch.tensor(kept.magnitude / 65535 * kept.scale) - images.abs()
    assert error.abs().max() < 0.51 * kept.scale / 65535


def test_phase_is_kept_to_half_a_step_of_the_circle(images):
    kept = pixels.quantise(images)
    error = on_circle(torch.tensor(kept.phase * np.pi / 32768), images.angle())
    assert error.abs().max() < 0.51 * np.pi / 32768


def test_phase_on_either_side_of_pi_differs_by_its_distance_on_the_circle():
    one, other = pixels.quantise_phase(torch.tensor([3.1, -3.1]))
    with np.errstate(over="ignore"):
        apart = np.int16(other) - np.int16(one)  # overflow is the wrap
    assert apart * pixels.PHASE_STEP == pytest.approx(2 * np.pi - 6.2, abs=pixels.PHASE_STEP)


def test_pi_and_minus_pi_are_one_angle():
    below = torch.tensor(np.pi - 1e-6)  # nearer to pi than to the last step before it
    words = pixels.quantise_phase(torch.stack([torch.tensor(torch.pi), below, -below]))
    assert words.tolist() == [-32768, -32768, -32768]
    assert pixels.quantise_phase(torch.tensor([0, torch.pi / 2, -torch.pi / 2])).tolist() == [
        0, 16384, -16384,
    ]  # fmt: skip


@pytest.mark.parametrize("keep", [(1, 2), (slice(None), 2), (slice(None), slice(None))])
def test_slice_and_coil_choose_the_image(images, keep):
    """(y, x) and (slice, y, x) are stacks of one slice or one coil, which they show always."""
    kept = pixels.quantise(images[keep])
    assert kept.shape == {2: (1, 1), 3: (3, 1), 4: (3, 4)}[images[keep].ndim] + (NY, NX)
    expected = images[1, 2]
    torch.testing.assert_close(kept.image(1, 2), expected, rtol=0, atol=1e-4 * kept.scale)
    assert not torch.allclose(kept.image(0, 0), expected) or kept.shape[:2] == (1, 1)
    size, turn = kept.at(1, 2)
    assert size.shape == turn.shape == (NY, NX)


def test_real_images_have_no_phase(images):
    kept = pixels.quantise(images.abs())
    assert kept.phase is None
    torch.testing.assert_close(
        kept.image(*WHERE), images.abs()[WHERE] + 0j, rtol=0, atol=1e-4 * kept.scale
    )


def test_whole_numbers_and_double_precision_are_images_too(images):
    double = pixels.quantise(images.to(torch.complex128))
    assert on_circle(torch.tensor(double.phase * np.pi / 32768), images.angle()).abs().max() < 5e-5
    counts = pixels.quantise((100 * images.abs()).to(torch.int64))
    assert counts.scale == int(100 * images.abs().max())


def test_a_stack_says_its_own_window_dark_level_unit_and_colours(images):
    kept = pixels.quantise(Stack(images, "mT", 3.5, 0.0, "viridis"))
    assert (kept.unit, kept.top, kept.dark, kept.colours) == ("mT", 3.5, 0.0, "viridis")


def test_without_a_window_the_99th_percentile_is_white(images):
    assert pixels.quantise(images).top == pytest.approx(np.percentile(images.abs(), 99), rel=1e-4)


def test_an_image_with_hardly_any_signal_is_white_at_its_maximum():
    image = torch.zeros(NY, NX)
    image[3, 4] = 2.5
    assert pixels.quantise(image).top == 2.5


def test_all_zero_images_are_painted_without_a_warning():
    kept = pixels.quantise(torch.zeros((2, NY, NX), dtype=torch.complex64))
    assert kept.top > 0
    with np.errstate(all="raise"):
        for view in complexes.VIEWS:
            rgb = complexes.paint(view, kept, 0, 0, Limits(), reference=kept)
            assert len(np.unique(rgb.reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z[0, 0, 0], r"coil images is of shape \(26,\); expected \(y, x\), \(slice, y"),
        (lambda z: z[None], r"shape \(1, 3, 4, 37, 26\)"),
        (lambda z: z[..., :0], r"shape \(3, 4, 37, 0\)"),
        (lambda z: z * torch.tensor(float("nan")), "coil images holds 11544 NaN or Inf of 11544"),
        (lambda z: torch.where(z.abs() == z.abs().max(), torch.inf, z), "holds 1 NaN or Inf"),
        (lambda z: z.real, r"coil images is real and has negative pixels, -7\.\d+; expected"),
    ],
)
def test_what_is_no_image_is_refused_by_its_name(images, change, message):
    with pytest.raises(ValueError, match=message):
        pixels.quantise(change(images), "coil images")


# --- the dark level ---------------------------------------------------------------------


@pytest.fixture
def head_in_air(draw):
    """A disc of 3 in air of complex noise of 0.4 in each part: (y, x)."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 181), torch.linspace(-1, 1, 150), indexing="ij")
    disc = y**2 + x**2 < 0.5
    noise = 0.4 * torch.randn((2, 181, 150), generator=draw)
    return (3.0 * disc + torch.complex(*noise)).abs(), disc


def test_dark_level_is_that_of_the_air_in_closed_form(head_in_air):
    """Air is Rayleigh distributed: a share p of it is below sigma sqrt(-2 ln(1 - p))."""
    magnitude, disc = head_in_air
    share = 0.1 / float((~disc).float().mean())
    expected = 1.6 * 0.4 * np.sqrt(-2 * np.log(1 - share))
    assert arrays.dark_level(magnitude) == pytest.approx(expected, rel=0.03)


def test_dark_level_is_8_percent_of_tissue_where_air_was_set_to_zero(head_in_air):
    _, disc = head_in_air
    assert arrays.dark_level(3.0 * disc) == pytest.approx(0.24)


def test_dark_level_leaves_an_image_without_air_its_phase(draw):
    """All of it is tissue: at most 30 % of what is bright counts as dark."""
    tissue = 5 + torch.rand((3, 40, 31), generator=draw)
    assert arrays.dark_level(tissue) == pytest.approx(0.3 * np.percentile(tissue, 98), rel=1e-3)


def test_dark_level_goes_with_the_unit_and_not_with_the_number_of_slices(head_in_air):
    magnitude, _ = head_in_air
    level = arrays.dark_level(magnitude)
    assert arrays.dark_level(1e-5 * magnitude) == pytest.approx(1e-5 * level, rel=1e-4)
    assert arrays.dark_level(magnitude.expand(50, 181, 150)) == pytest.approx(level, rel=0.05)
    assert pixels.quantise(magnitude + 0j).dark == level


# --- colours ----------------------------------------------------------------------------


def as_matplotlib(values, view, kept, limits):
    """Float values by matplotlib's own mapping, between the ends that the colour bar prints."""
    colours, low, high, _ = complexes.bar_of(view, kept, limits)
    mappable = ScalarMappable(Normalize(low, high), colours)
    values = np.asarray(values, np.float64)
    if colours.startswith("twilight"):  # a window on the circle: the turn nearest its middle
        values = values - 2 * np.pi * np.round((values - (low + high) / 2) / (2 * np.pi))
    return mappable.to_rgba(values, bytes=True)[..., :3].astype(int)


def assert_same_colours(rgb, expected, colours):
    """But for rounding to 16 bits: few pixels differ, and they by one colour of the map."""
    table = matplotlib.colormaps[colours](np.arange(matplotlib.colormaps[colours].N), bytes=True)
    table = table[:, :3].astype(int)
    most = abs(table - np.roll(table, 1, 0))[1:].max()
    if colours.startswith("twilight"):  # cyclic
        most = max(most, abs(table[0] - table[-1]).max())
    assert rgb.dtype == np.uint8
    assert rgb.shape == expected.shape
    apart = abs(rgb.astype(int) - expected).max(-1)
    assert apart.max() <= most
    assert (apart > 0).mean() < 0.02
    assert len(np.unique(expected.reshape(-1, 3), axis=0)) > 20  # not a picture of one colour


def decibels(image):
    axes = (-2, -1)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes), axes=axes), axes)
    return 20 * np.log10(abs(kspace) / abs(kspace).max())


VALUES = {
    "magnitude": lambda z, w: z.abs(),
    "phase": lambda z, w: z.angle(),
    "real": lambda z, w: z.real,
    "imaginary": lambda z, w: z.imag,
    "kspace": lambda z, w: decibels(z.numpy()),
    "difference": lambda z, w: metrics.phase_error(
        metrics.align_constant(z.angle(), w.angle(), z.abs() * w.abs()), w.angle()
    ),
}


@pytest.mark.parametrize("limits", [Limits(fade=0), MOVED], ids=["start", "moved"])
@pytest.mark.parametrize("view", VALUES)
def test_a_view_has_matplotlibs_colours(images, other, view, limits):
    kept, reference = pixels.quantise(images), pixels.quantise(other)
    rgb = complexes.paint(view, kept, *WHERE, limits, reference=reference)
    expected = as_matplotlib(VALUES[view](images[WHERE], other[WHERE]), view, kept, limits)
    assert_same_colours(rgb, expected, complexes.bar_of(view, kept, limits)[0])


def test_the_level_of_a_whole_turn_turns_the_colours_and_clips_nothing(images):
    kept = pixels.quantise(images)
    turned = Limits(phase=(0, 2 * np.pi), fade=0)
    by_pi = pixels.quantise(images * -1)
    expected = complexes.paint("phase", by_pi, *WHERE, Limits(fade=0))
    assert_same_colours(complexes.paint("phase", kept, *WHERE, turned), expected, "twilight")


def test_every_view_is_tested():
    assert set(VALUES) | {"colour"} == set(complexes.VIEWS)


def test_magnitude_has_the_stacks_own_colours_and_window(images):
    kept = pixels.quantise(Stack(images, top=3.0, colours="viridis"))
    rgb = complexes.paint("magnitude", kept, *WHERE, Limits())
    values = images[WHERE].abs().numpy()
    expected = matplotlib.colormaps["viridis"](values / 3.0, bytes=True)[..., :3].astype(int)
    assert_same_colours(rgb, expected, "viridis")


def test_k_space_of_a_plane_wave_is_one_point_beside_the_centre():
    y, x = torch.meshgrid(torch.arange(NY), torch.arange(NX), indexing="ij")
    wave = torch.polar(torch.ones(NY, NX), 2 * torch.pi * (3 * y / NY - 5 * x / NX))
    rgb = complexes.paint("kspace", pixels.quantise(wave), 0, 0, Limits())
    bright = np.argwhere(rgb[..., 0] == 255)
    assert bright.tolist() == [[NY // 2 + 3, NX // 2 - 5]]


@pytest.mark.parametrize("limits", [Limits(), MOVED], ids=["start", "moved"])
def test_colour_is_hue_of_phase_times_brightness_of_magnitude(images, limits):
    kept = pixels.quantise(images)
    rgb = complexes.paint("colour", kept, *WHERE, limits).astype(int)
    hue = as_matplotlib(images[WHERE].angle(), "phase", kept, limits)
    low, high = limits.magnitude
    share = (images[WHERE].abs().numpy() / kept.top - low) / (high - low)
    bright = np.clip(share, 0, 1)[..., None]
    # 64 steps of brightness, and a rare hue of the next step
    assert (abs(rgb - hue * bright).max(-1) <= 255 / 63 + 1).mean() > 0.98
    assert (rgb[share <= 0] == 0).all()
    assert (abs(rgb - hue)[share >= 1].max(-1) == 0).mean() > 0.95


# --- noise ------------------------------------------------------------------------------


def test_phase_is_grey_below_the_dark_level_and_whole_half_as_far_above(images):
    kept = pixels.quantise(Stack(images, dark=2.0))
    plain = complexes.paint("phase", kept, *WHERE, Limits(fade=0)).astype(int)
    faded = complexes.paint("phase", kept, *WHERE, Limits(fade=1)).astype(int)
    size = images[WHERE].abs().numpy()
    assert (faded[size < 1.999] == 128).all()
    assert (faded[size > 3.001] == plain[size > 3.001]).all()
    # 17 equal steps between, mixed and rounded; a rare pixel is at the edge of a step
    share = np.clip(np.floor(17 * (size / 2 - 1) / 0.5), 0, 16)[..., None] / 16
    apart = abs(faded - (share * plain + (1 - share) * 128)).max(-1)
    assert (apart <= 0.5).mean() > 0.98
    assert apart.max() < 128 / 16 + 1


def test_fade_counts_in_dark_levels(images):
    twice, once = (pixels.quantise(Stack(images, dark=dark)) for dark in (2.0, 1.0))
    one, other = (
        complexes.paint("phase", kept, *WHERE, Limits(fade=fade))
        for kept, fade in ((twice, 1.0), (once, 2.0))
    )
    assert np.array_equal(one, other)
    assert not np.array_equal(one, complexes.paint("phase", once, *WHERE, Limits(fade=1.0)))


@pytest.mark.parametrize("change", [{"fade": 0.0}, {"fade": 1.0}])
def test_a_stack_without_noise_is_never_grey(images, change):
    kept = pixels.quantise(Stack(images, dark=0.0))
    rgb = complexes.paint("phase", kept, *WHERE, Limits(**change))
    assert not (rgb == 128).all(-1).any()


def test_a_difference_is_grey_where_either_image_is_noise(images, other):
    kept, reference = (
        pixels.quantise(Stack(stack, dark=dark)) for stack, dark in ((images, 1.0), (other, 2.0))
    )
    rgb = complexes.paint("difference", kept, *WHERE, Limits(), reference=reference)
    noise = (images[WHERE].abs() < 0.999) | (other[WHERE].abs() < 1.999)
    bright = (images[WHERE].abs() > 1.501) & (other[WHERE].abs() > 3.001)
    assert (rgb[noise.numpy()] == 128).all()
    plain = complexes.paint("difference", kept, *WHERE, Limits(fade=0), reference=reference)
    assert np.array_equal(rgb[bright.numpy()], plain[bright.numpy()])


# --- differences ------------------------------------------------------------------------


def test_the_best_constant_is_that_of_the_metrics(images, other):
    one, second = images[WHERE], other[WHERE]
    kept, reference = pixels.quantise(images), pixels.quantise(other)
    found = complexes.best_constant(kept.at(*WHERE), reference.at(*WHERE)) * np.pi / 32768
    turned = metrics.align_constant(one.angle(), second.angle(), one.abs() * second.abs())
    assert on_circle(turned, one.angle() + found).abs().max() < 2e-4
    assert abs(on_circle(torch.tensor(found), torch.tensor(2.25))) < 0.05


def test_a_constant_phase_is_no_difference_unless_it_is_asked_for(images):
    kept = pixels.quantise(images)
    turned = pixels.quantise(images * torch.polar(torch.tensor(1.0), torch.tensor(-1.1)))
    paint = {
        align: complexes.paint(
            "difference", turned, *WHERE, Limits(fade=0), reference=kept, align=align
        )
        for align in (True, False)
    }
    shifted = matplotlib.colormaps["twilight_shifted"]
    for align, value in ((True, 0.0), (False, -1.1)):
        expected = np.array(shifted((value + np.pi) / (2 * np.pi), bytes=True)[:3], int)
        assert abs(paint[align].astype(int) - expected).max() <= 4


def test_a_difference_across_pi_is_small(draw):
    size = torch.ones(NY, NX)
    one, second = (pixels.quantise(torch.polar(size, size * turn)) for turn in (3.1, -3.1))
    plus, minus = (
        complexes.paint("difference", first, 0, 0, Limits(fade=0), reference=of, align=False)
        for first, of in ((one, second), (second, one))
    )
    shifted = matplotlib.colormaps["twilight_shifted"]
    for rgb, value in ((plus, 6.2 - 2 * np.pi), (minus, 2 * np.pi - 6.2)):
        expected = np.array(shifted((value + np.pi) / (2 * np.pi), bytes=True)[:3], int)
        assert abs(rgb[0, 0].astype(int) - expected).max() <= 4
        near_zero = np.array(shifted(0.5, bytes=True)[:3], int)
        assert abs(rgb[0, 0].astype(int) - near_zero).max() < 25


def test_one_reference_image_serves_every_slice_and_coil(images, other):
    kept, reference = pixels.quantise(images), pixels.quantise(other[1, 2])
    whole = pixels.quantise(other)
    one, second = (
        complexes.paint("difference", kept, *WHERE, Limits(fade=0), reference=of)
        for of in (reference, whole)
    )
    assert (abs(one.astype(int) - second).max(-1) > 0).mean() < 0.02


def test_a_difference_without_a_reference_is_refused(images):
    with pytest.raises(ValueError, match="needs a reference"):
        complexes.paint("difference", pixels.quantise(images), *WHERE, Limits())


# --- the picture of record --------------------------------------------------------------


@pytest.fixture
def panels(images, other):
    kept = pixels.quantise(Stack(images, "mT", colours="viridis"))
    reference = pixels.quantise(other)
    return [Panel("mine", view, kept, reference) for view in complexes.VIEWS]


WORDS = {"kspace": "k-space", "real": "real part", "imaginary": "imaginary part"}
WORDS |= {"colour": "phase, brightness", "difference": "phase difference"}
WORDS = {view: WORDS.get(view, view) for view in complexes.VIEWS}


def parts(figure, panels):
    """(panel, its axes, its colour bar's axes) of a figure."""
    shown = [axes for axes in figure.axes if axes.images]
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    return list(zip(panels, shown, bars, strict=True))


@pytest.mark.parametrize("limits", [None, MOVED], ids=["start", "moved"])
def test_the_picture_of_record_shows_what_is_painted(panels, limits):
    figure = complexes.complex_panels(
        panels, slice_index=1, coil=2, limits=limits, align=False, title="sub-1, slice 1"
    )
    for panel, axes, _ in parts(figure, panels):
        rgb = complexes.paint(
            panel.view, panel.pixels, *WHERE, limits or Limits(), reference=panel.reference,
            align=False,
        )  # fmt: skip
        assert np.array_equal(axes.images[0].get_array(), rgb)
        name, view = axes.get_title().split("\n")
        assert name == "mine"
        assert view.lower().startswith(WORDS[panel.view])
    assert figure.get_suptitle() == "sub-1, slice 1"


def test_colour_bars_tell_their_ends_and_units(panels):
    top = panels[0].pixels.top
    expected = {
        "magnitude": (0.15 * top, 0.7 * top, "magnitude (mT)"),
        "phase": (-1.0, 2.5, "phase (rad)"),
        "colour": (-1.0, 2.5, "phase (rad)"),
        "real": (-0.4 * top, 0.4 * top, "real part (mT)"),
        "imaginary": (-0.4 * top, 0.4 * top, "imaginary part (mT)"),
        "kspace": (-50, -5, "dB of the largest"),
        "difference": (-0.6, 0.4, "difference (rad)"),
    }
    for panel, _, bar in parts(complexes.complex_panels(panels, limits=MOVED), panels):
        low, high, label = expected[panel.view]
        assert bar.get_xlim() == pytest.approx((low, high))
        assert bar.get_xlabel() == label
        ticks = [
            float(text.get_text().replace("\N{MINUS SIGN}", "-")) for text in bar.get_xticklabels()
        ]
        assert ticks == pytest.approx([low, (low + high) / 2, high], rel=6e-3, abs=1e-9)


def test_a_whole_turn_is_told_in_pi_and_a_stack_without_a_unit_has_none(images):
    kept = pixels.quantise(Stack(images, unit=""))
    panels = [Panel("mine", view, kept) for view in ("phase", "magnitude")]
    (_, _, phase), (_, _, size) = parts(complexes.complex_panels(panels), panels)
    assert [text.get_text() for text in phase.get_xticklabels()] == [r"$-\pi$", "0", r"$\pi$"]
    assert size.get_xlabel() == "magnitude"


def test_scale_bar_is_as_long_as_it_says_where_pixels_are_not_square(panels):
    spacing = (2.0, 0.7)  # mm, y and x
    figure = complexes.complex_panels(panels, spacing_mm=spacing)
    for panel, axes, _ in parts(figure, panels):
        assert axes.get_aspect() == pytest.approx(2.0 / 0.7)
        assert len(axes.lines) == (0 if panel.view == "kspace" else 2)
        for line in axes.lines:
            (x0, x1), (y0, y1) = line.get_xdata(), line.get_ydata()
            assert y0 == y1
            assert (x1 - x0) * 0.7 == pytest.approx(5)  # 26 pixels are 18.2 mm wide
            assert 0 < x0 < x1 < NX
            assert 0 < y0 < NY
        assert [text.get_text() for text in axes.texts] == ["5 mm"] * bool(axes.lines)


def test_without_a_pixel_size_there_is_no_scale_bar(panels):
    for _, axes, _ in parts(complexes.complex_panels(panels), panels):
        assert not axes.lines
        assert axes.get_aspect() == 1


def test_panels_stand_in_rows(panels, tmp_path):
    figure = complexes.complex_panels(panels, columns=3, spacing_mm=(2.0, 0.7))
    figure.savefig(tmp_path / "panels.png")
    places = [axes.get_position() for _, axes, _ in parts(figure, panels)]
    rows = [round(place.y1, 2) for place in places]
    assert len(set(rows)) == 3
    assert [rows.count(row) for row in sorted(set(rows), reverse=True)] == [3, 3, 1]
    assert rows == sorted(rows, reverse=True)
    for place in places:  # what is drawn has the head's true shape
        height = place.height * figure.get_figheight()
        width = place.width * figure.get_figwidth()
        assert height / width == pytest.approx(37 * 2.0 / (26 * 0.7), rel=0.02)


@pytest.mark.parametrize(
    ("width", "length"),
    [(300, 100), (299, 50), (220, 50), (150, 50), (149, 20), (60, 20), (59, 10), (3, 1),
     (2.9, 0.5), (0.3, 0.1), (0.61, 0.2), (3e5, 1e5)],
)  # fmt: skip
def test_scale_bars_have_lengths_that_one_can_say(width, length):
    assert complexes.nice_length(width) == pytest.approx(length)
