"""Numbers of a portrait against constructed images whose answer physics gives; twins; tables."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from synthlib import arrays, figures, formats, likeness, runs, scanner, tables
from synthlib.likeness import comparison, matching, measures, portraits
from synthlib.records import ImageVolume, RawVolume

SHAPE = (61, 47)  # odd and unequal: swapped axes must fail


@pytest.fixture
def grid() -> tuple[Tensor, Tensor]:
    """Pixels (y, x) from the middle of SHAPE."""
    y, x = (torch.arange(n, dtype=torch.float32) - n // 2 for n in SHAPE)
    return y[:, None].expand(SHAPE), x.expand(SHAPE)


@pytest.fixture
def everywhere() -> Tensor:
    return torch.ones(SHAPE, dtype=torch.bool)


def disc(radius_y: float, radius_x: float, shape: tuple[int, int]) -> Tensor:
    y, x = (torch.arange(n, dtype=torch.float32) - n // 2 for n in shape)
    return (y[:, None] / radius_y).square() + (x / radius_x).square() <= 1


# --- phase ---------------------------------------------------------------------------


def test_a_ramp_has_its_gradient_in_every_pixel(grid, everywhere):
    phase = arrays.wrap(0.3 * grid[0] - 2.9 * grid[1])  # wraps every other pixel along x
    steps = measures.phase_gradient(phase, everywhere)
    assert steps.numel() == (SHAPE[0] - 1) * (SHAPE[1] - 1)
    torch.testing.assert_close(steps, torch.full_like(steps, math.hypot(0.3, 2.9)))


def test_gradients_count_inside_only(grid):
    inside = grid[1] < 0
    phase = torch.where(inside, 0.1 * grid[0], 1.7 * grid[1])
    steps = measures.phase_gradient(phase, inside)
    torch.testing.assert_close(steps, torch.full_like(steps, 0.1))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_vortex_is_one_residue(grid, everywhere, sign):
    squares = (SHAPE[0] - 1) * (SHAPE[1] - 1)
    vortex = torch.atan2(sign * (grid[0] - 3.5), grid[1] + 4.5)
    assert measures.residues_per_1000(vortex, everywhere) * squares / 1000 == pytest.approx(1)
    both = vortex - torch.atan2(sign * (grid[0] + 6.5), grid[1] - 2.5)  # and one that turns back
    assert measures.residues_per_1000(both, everywhere) * squares / 1000 == pytest.approx(2)
    assert measures.residues_per_1000(both, (grid[0] - 3.5).abs() > 2) > 0
    assert measures.residues_per_1000(vortex, (grid[0] - 3.5).abs() > 2) == 0


def test_smooth_phase_has_no_residue_however_often_it_wraps(grid, everywhere):
    assert measures.residues_per_1000(arrays.wrap(0.04 * grid[0] * grid[1]), everywhere) == 0


def test_the_polynomial_takes_off_smooth_phase_and_leaves_tissue(grid, draw):
    y, x = grid[0] / 30, grid[1] / 23
    smooth = 9 * y**2 * x - 12 * x**3 * y + 7 * y - 4 * x**2 + 2  # wraps
    weight = disc(25, 20, SHAPE).float() * (1 + 0.5 * y)
    left = arrays.wrap(smooth - measures.smooth_phase(arrays.wrap(smooth), weight))[weight > 0]
    assert left.abs().max() < 1e-3
    tissue = 0.3 * torch.randn(SHAPE, generator=draw)
    phase = arrays.wrap(smooth + tissue)
    left = arrays.wrap(phase - measures.smooth_phase(phase, weight))[weight > 0]
    # 15 of 1500 degrees of freedom go into the fit
    assert float(left.square().mean().sqrt()) == pytest.approx(0.3, rel=0.05)


# --- noise and spectrum --------------------------------------------------------------


@pytest.fixture(params=["air as measured", "air set to zero", "ghosts in air"])
def noisy(request: pytest.FixtureRequest, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Three smooth coil images (3, 121, 93) of an ellipse with noise of s.d. 0.02, and its mask."""
    shape = (121, 93)
    head = disc(50, 36, shape)
    y, x = torch.linspace(-1, 1, shape[0])[:, None], torch.linspace(-1, 1, shape[1])
    maps = torch.stack([torch.exp(1j * (a * x + y) - 0.5 * (y - a) ** 2) for a in (-1, 0, 1)])
    noise = 0.02 * torch.view_as_complex(torch.randn((3, *shape, 2), generator=draw))
    images = maps * head + noise
    if request.param == "air set to zero":
        images = images * head
    if request.param == "ghosts in air":
        images = images + 0.2 * (~head) * torch.sin(9 * x) * torch.exp(5j * y)
    return images, head


def test_noise_of_known_sd_is_found_whatever_is_in_air(noisy):
    assert measures.noise_sd(*noisy) == pytest.approx(0.02, rel=0.05)


def test_one_coil_full_of_texture_does_not_make_noise(noisy):
    images, head = noisy
    stripes = torch.sin(torch.arange(93) * 1.3)
    images[1] += 0.5 * head * stripes
    assert measures.noise_sd(images, head) == pytest.approx(0.02, rel=0.07)


def test_snr_is_the_median_over_the_noise(draw):
    head = disc(50, 36, (121, 93))
    noise = 0.05 * torch.view_as_complex(torch.randn((1, 121, 93, 2), generator=draw))
    kspace = arrays.fft2c(3 * head + noise)[None]
    found = likeness.portrait(volume(kspace), 0)
    assert found.snr == pytest.approx(3 / 0.05, rel=0.06)
    assert found.n_coils == 1
    assert found.rank is None


def test_the_snr_alone_is_that_of_the_portrait(odd_scan):
    for index in range(odd_scan.volume.n_slices):
        alone = portraits.snr(odd_scan.volume, index)
        assert alone == likeness.portrait(odd_scan.volume, index).snr


def test_a_white_image_has_slope_0_and_a_power_law_its_exponent(draw):
    white = torch.view_as_complex(torch.randn((121, 93, 2), generator=draw))
    spectrum = measures.spectrum_db(measures.radial_power(white))
    assert spectrum.abs().max() < 2  # dB
    assert abs(measures.spectrum_slope(spectrum)) < 0.1
    waves = [torch.fft.fftshift(torch.fft.fftfreq(n)) for n in white.shape]
    frequency = torch.hypot(waves[0][:, None], waves[1]).clamp(min=1 / 121)
    coloured = arrays.ifft2c(white / frequency**1.5)
    slope = measures.spectrum_slope(measures.spectrum_db(measures.radial_power(coloured)))
    assert slope == pytest.approx(-3, abs=0.15)


def test_the_noise_floor_is_taken_off_and_what_lies_within_it_is_not_shown(draw):
    waves = [torch.fft.fftshift(torch.fft.fftfreq(n)) for n in (121, 93)]
    frequency = torch.hypot(waves[0][:, None], waves[1]).clamp(min=1 / 121)
    noise = torch.view_as_complex(torch.randn((121, 93, 2), generator=draw))  # power 2
    signal = torch.polar(0.05 / frequency**2, 6 * torch.rand(frequency.shape, generator=draw))
    power = measures.radial_power(arrays.ifft2c(signal + noise))
    seen, clean = (
        measures.spectrum_db(power, 2.0),
        measures.spectrum_db(measures.radial_power(arrays.ifft2c(signal))),
    )
    shown = seen.isfinite()
    assert shown[:6].all()
    assert not shown[-8:].any()
    torch.testing.assert_close(seen[:6], clean[:6], rtol=0, atol=1.5)


@pytest.mark.parametrize(("axis", "turns"), [(0, 7), (1, 15)])
def test_a_wave_lies_in_the_ring_of_its_frequency(axis, turns):
    shape = (63, 60)
    pixels = torch.arange(shape[axis]).unflatten(0, (-1, 1) if axis == 0 else (1, -1))
    wave = torch.exp(2j * math.pi * turns / shape[axis] * pixels).expand(shape)
    power = measures.radial_power(wave)
    low = measures.FREQUENCY_EDGES[int(power.argmax())]
    assert low < turns / shape[axis] < low + 0.02


# --- coils ---------------------------------------------------------------------------


def test_rank_of_a_constant_object_is_that_of_one_coil_however_many_there_are():
    image = torch.ones(SHAPE, dtype=torch.complex64)
    weights = torch.tensor([1, 0.5j, -0.3 + 0.2j])
    for n in (1, 3):
        kspace = arrays.fft2c(weights[:n, None, None] * image)
        assert measures.calibration_rank(kspace) == 36  # one for each place in the kernel


def test_rank_of_unrelated_coils_is_full(draw):
    kspace = torch.view_as_complex(torch.randn((2, *SHAPE, 2), generator=draw))
    assert measures.calibration_rank(kspace) == 2 * 36


def test_roughness_of_maps_is_their_gradient_per_cm(grid, everywhere):
    slopes = (0.05, -0.03), (0.02, 0.04)  # rad/pixel along y and x of two coils
    maps = torch.stack(
        [torch.exp(1j * (a * grid[0] + b * grid[1])) / math.sqrt(2) for a, b in slopes]
    )
    found = measures.map_roughness(maps, everywhere, (2.0, 5.0))
    per_cm = [(a / 0.2) ** 2 + (b / 0.5) ** 2 for a, b in slopes]
    assert found == pytest.approx(math.sqrt(sum(per_cm) / 2), rel=1e-3)


def test_roughness_of_a_scan_is_that_of_its_true_maps_in_the_head_whatever_air_says():
    settings = scanner.ScanSettings(
        coil_counts=(8,), contrasts=("AXT1GRE",), n_slices=1, matrix=(121, 104), snr=60.0, seed=3
    )
    person = scanner.subjects(settings)[0]
    scan = scanner.scan_subject(settings, person, "cpu")[0]
    found = likeness.portrait(scan.volume, 0).map_roughness
    head = measures.outline(arrays.rss(scan.volume.coil_images(0)))
    true = scan.truth["maps"][0] / arrays.rss(scan.truth["maps"][0])
    # whatever their common phase, maps of unit norm change by at least |dS|^2 - |S^H dS|^2;
    # the gauge of the estimated ones comes close to it
    least = 0.0
    for axis, mm in ((1, settings.spacing_mm[0]), (2, settings.spacing_mm[1])):
        n = true.shape[axis]
        low, high = true.narrow(axis, 0, n - 1), true.narrow(axis, 1, n - 1)
        step = (high - low).abs().square().sum(0)
        turned = ((high + low).conj() / 2 * (high - low)).sum(0).abs().square()
        both = head.narrow(axis - 1, 0, n - 1) & head.narrow(axis - 1, 1, n - 1)
        least += float((step - turned)[both].mean()) / (mm / 10) ** 2
    assert math.sqrt(least) < found < 1.15 * math.sqrt(least)


# --- magnitude -----------------------------------------------------------------------


def test_the_outline_holds_skull_and_ventricles_and_no_air(draw):
    shape = (121, 93)
    whole, skull, brain = (disc(50 - d, 36 - d, shape) for d in (0, 5, 9))
    ventricle = disc(8, 5, shape)
    magnitude = 1.5 * whole - 1.4 * skull + 0.9 * brain - 0.95 * ventricle
    magnitude = magnitude + 0.02 * torch.rand(shape, generator=draw)
    magnitude[:8, :8] += 1  # a bright thing beside the head
    found = measures.outline(magnitude)
    assert (found & ~whole).sum() < 0.03 * whole.sum()
    assert (whole & ~found).sum() < 0.01 * whole.sum()
    assert found[ventricle].all()
    assert not found[:8, :8].any()


def test_an_image_without_a_head_is_told():
    with pytest.raises(ValueError, match="no head stands out"):
        measures.outline(torch.zeros(SHAPE))


def test_brightness_of_a_two_tissue_head_is_counted():
    shape = (121, 93)
    head, dark, bright = disc(50, 36, shape), disc(18, 13, shape), disc(50, 36, shape)
    bright[:, : 93 // 2 + 25] = False
    magnitude = head.float() - 0.8 * dark + 2.0 * bright
    images = ImageVolume("two", "p", "AXT1", magnitude[None], (1.0, 1.0))
    found = likeness.portrait_of_images(images, 0)
    assert found.dark_share == pytest.approx(float(dark.sum() / head.sum()), rel=0.05)
    assert found.bright_tail == pytest.approx(3)
    assert found.n_coils == 0
    assert found.steps is None
    assert found.residues is None
    assert found.rank is None
    width = float(measures.BRIGHTNESS_EDGES[1] - measures.BRIGHTNESS_EDGES[0])
    assert sum(found.brightness) * width == pytest.approx(1, rel=1e-3)


# --- portraits of raw data -----------------------------------------------------------


def volume(kspace: Tensor, **changes: object) -> RawVolume:
    """K-space (slice, coil, ky, kx) without oversampling, of 2 mm pixels."""
    shape = (kspace.shape[-2], kspace.shape[-1])
    whole = RawVolume("made", "p", "AXT2", kspace, shape, (0, shape[1]), (2.0, 2.0))
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def numbers(one: likeness.Portrait) -> dict[str, float]:
    found = dataclasses.asdict(one)
    return {name: value for name, value in found.items() if isinstance(value, float)}


def test_gain_and_constant_phase_of_the_receiver_change_nothing(odd_scan):
    before = likeness.portrait(odd_scan.volume, 0)
    kspace = odd_scan.volume.kspace[:]
    # a quarter turn: the estimate of noise sees the same numbers in other places
    turned = dataclasses.replace(odd_scan.volume, kspace=kspace * 3e-5j)
    after = likeness.portrait(turned, 0)
    assert numbers(after) == pytest.approx(numbers(before), rel=0.01, abs=1e-3)
    assert before.rank == after.rank
    assert before.matrix == (45, 38)
    assert before.pixel_mm == odd_scan.volume.spacing_mm
    assert None not in (before.steps, before.map_roughness, before.rank_share, before.phase_left)


@pytest.mark.parametrize(("left", "right"), [(6, 6), (5, 7), (7, 6)])
def test_columns_that_were_not_measured_do_not_count(odd_scan, left, right):
    kspace = arrays.fft2c(odd_scan.volume.coil_images(0))[None]
    padded = torch.nn.functional.pad(kspace, (left, right))
    n = padded.shape[-1]
    first = n // 2 - 38 // 2  # the centre of k-space stays the centre
    padded = torch.zeros_like(padded)
    padded[..., first : first + 38] = kspace
    spacing = (2.0, 2.0 * 38 / n)
    zeros = volume(padded, acquired=(first, first + 38), spacing_mm=spacing)
    found, plain = likeness.portrait(zeros, 0), likeness.portrait(volume(kspace), 0)
    assert found.matrix == plain.matrix
    assert found.pixel_mm == pytest.approx(plain.pixel_mm)
    assert numbers(found) == pytest.approx(numbers(plain), rel=0.01, abs=1e-3)


def test_a_pixel_of_unknown_size_gives_no_number_per_cm(odd_scan):
    unknown = dataclasses.replace(odd_scan.volume, spacing_mm=(math.nan, math.nan))
    found = likeness.portrait(unknown, 0)
    assert found.step_median is not None
    assert found.step_median_per_cm is None
    assert found.map_roughness is None
    with pytest.raises(ValueError, match="pixel size is unknown"):
        likeness.twin_settings(found, seed=1)


def test_field_of_a_ramp_is_its_gradient_in_hz_per_cm(grid):
    head = disc(26, 19, SHAPE)
    images = ImageVolume("echo", "p", "AXGRE", head[None].float(), (3.0, 3.0))
    hz = 24.0 * grid[0] + 18.0 * grid[1]  # per pixel of 0.3 cm: 30 Hz / 0.3 cm
    difference = arrays.wrap(2 * math.pi * hz * 2.5e-3)[None]  # wraps at 200 Hz
    found = likeness.portrait_of_phase_difference(difference, images, 0, delta_te_ms=2.5)
    assert found.b0_gradient_median == pytest.approx(100, rel=1e-3)
    assert found.b0_gradient_high == pytest.approx(100, rel=1e-3)
    clear = measures.outline(head.float()) & head
    assert found.b0_sd_hz == pytest.approx(float(hz[clear].std()), rel=0.01)
    assert found.delta_te_ms == 2.5


# --- measured heads ------------------------------------------------------------------


def test_the_stored_heads_say_where_they_come_from_and_hold_no_pixel():
    stored = likeness.measured()
    assert len(stored) == 8
    assert sum(one.n_coils > 1 for one in stored) == 3
    for one in stored:
        assert one.kind == "measured"
        assert one.source
        assert one.licence
        assert len(one.brightness) == len(measures.BRIGHTNESS_EDGES) - 1
        assert len(one.spectrum_db) == len(measures.FREQUENCY_EDGES) - 1
        assert (one.steps is None) == (one.n_coils == 0)


def test_the_stored_heads_are_those_of_the_measured_files(real):
    for found, kept in zip(likeness.measure_all(real), likeness.measured(), strict=True):
        fresh, stored = dataclasses.asdict(found), dataclasses.asdict(kept)
        for name, value in stored.items():
            if isinstance(value, tuple) and len(value) > 2:
                # dB and densities: nan where None
                pair = [torch.tensor([math.nan if v is None else v for v in c[name]])
                        for c in (fresh, stored)]  # fmt: skip
                torch.testing.assert_close(*pair, rtol=0.01, atol=0.1, equal_nan=True)
            elif isinstance(value, float | tuple):
                assert fresh[name] == pytest.approx(value, rel=0.01, abs=0.02), (kept.name, name)
            elif name == "rank" and value is not None:
                assert abs(fresh[name] - value) <= 1
            else:
                assert fresh[name] == value, (kept.name, name)


def test_what_is_stored_comes_back_with_four_digits(tmp_path, odd_scan):
    before = likeness.portrait(odd_scan.volume, 0)
    likeness.store([before], tmp_path / "heads.json")
    text = (tmp_path / "heads.json").read_text()
    assert "NaN" not in text
    stored = runs.read_json(tmp_path / "heads.json")[0]
    assert stored["snr"] == pytest.approx(before.snr, rel=5e-4)
    assert stored["matrix"] == [45, 38]


def write_head(folder, name, kspace, contrast="AXT2", spacing_mm=(2.0, 2.0)):
    formats.write_raw(
        folder / f"{name}.h5", kspace, contrast=contrast, patient_id=name,
        recon_shape=tuple(kspace.shape[-2:]), spacing_mm=spacing_mm,
    )  # fmt: skip


def test_a_folder_gives_the_middle_slices_of_at_most_twelve_heads(tmp_path, odd_scan):
    kspace = arrays.fft2c(odd_scan.volume.coil_images(0))[None]
    assert kspace.shape[1] == 4
    for number in range(14):
        n_coils = 2 if number == 9 else 4
        two = torch.cat([kspace * (1 + 1e-6 * number), kspace.flip(-1)])[:, :n_coils]
        write_head(tmp_path, f"head{number:02d}", two, "AXT1" if number == 13 else "AXT2")
    found = likeness.survey(tmp_path)
    names = [one.name for one in found.portraits]
    assert len(names) == 12 and names == sorted(names)
    assert {"head09", "head13"} < set(names)  # the only ones of their kinds
    assert [volume.name for volume in found.volumes] == names
    (line,) = found.left_out
    assert "head11, head12" in line and "at most 12" in line
    assert [one.name for one in likeness.measured(tmp_path)] == names  # the same ones each time
    with pytest.raises(FileNotFoundError, match=r"has no file of raw data"):
        likeness.measured(tmp_path / "absent")


def test_files_that_show_no_head_are_left_out_and_named(tmp_path, odd_scan, draw):
    images = odd_scan.volume.coil_images(0)
    kspace = arrays.fft2c(images)[None]
    noise = torch.view_as_complex(torch.randn((*kspace.shape, 2), generator=draw))
    write_head(tmp_path, "good", kspace)
    np.save(tmp_path / "unsized.npy", kspace.numpy())  # which has no header
    write_head(tmp_path, "mouse", kspace, spacing_mm=(0.3, 0.3))
    write_head(tmp_path, "noise", noise)
    write_head(tmp_path, "turned", arrays.fft2c(torch.rot90(images, 1, (1, 2)))[None])
    write_head(tmp_path, "lying", arrays.fft2c(images[..., 6:])[None], "SAT2", (4.0, 4.0))
    (tmp_path / "broken.h5").write_bytes(b"nothing")
    found = likeness.measured(tmp_path)
    assert [one.name for one in found] == ["good"]
    left_out = likeness.survey(tmp_path).left_out
    reasons = {
        "unsized": "pixel size is unknown",
        "mouse": "no brain",
        "noise": "is noise",
        "turned": "nose above or below",
        "lying": "stands upright",
        "broken": "",
    }
    assert len(left_out) == len(reasons)
    for name, reason in reasons.items():
        (line,) = [line for line in left_out if name in line]
        assert reason in line


def test_what_is_left_out_is_printed(tmp_path, odd_scan, capsys):
    kspace = arrays.fft2c(odd_scan.volume.coil_images(0))[None]
    write_head(tmp_path, "good", kspace)
    np.save(tmp_path / "unsized.npy", kspace.numpy())
    likeness.measured(tmp_path)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("left out: unsized:")
    (tmp_path / "good.h5").unlink()
    with pytest.raises(ValueError, match=r"none of its 1 files shows a head.*unsized"):
        likeness.survey(tmp_path)


# --- twins and tables ----------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> list[likeness.Portrait]:
    """A multi-coil, a magnitude and a field portrait, cut down to 48 x 40."""
    by_name = {one.name: one for one in likeness.measured()}
    return [
        dataclasses.replace(by_name[name], matrix=(48, 40), pixel_mm=(4.8, 4.8), **changes)
        for name, changes in (
            ("head_axial_t1_8coil", {"n_coils": 4}),
            ("head_t2w", {}),
            ("gre_phasediff", {}),
        )
    ]


@pytest.fixture(scope="module")
def made(small: list[likeness.Portrait]) -> list[likeness.Portrait]:
    return likeness.twins(small, seed=3)


@pytest.mark.parametrize(
    ("what", "contrast", "orientation"),
    [
        ("AXT1", "AXT1", "axial"),
        ("MPRAGE", "AXMPRAGE", "axial"),
        ("T1 GRE", "AXT1GRE", "axial"),
        ("AX", "AXT1", "axial"),
        ("SAGT1", "AXT1", "sagittal"),
        ("AXT1POST", "AXT1POST", "axial"),
        ("AXT2", "AXT2", "axial"),
        ("AXFLAIR", "AXFLAIR", "axial"),
        ("phase difference", "AXGRE", "axial"),
    ],
)
def test_a_twin_is_scanned_as_its_head_was(small, what, contrast, orientation):
    settings = likeness.twin_settings(dataclasses.replace(small[0], what=what), seed=3)
    assert settings.contrasts == (contrast,)
    assert settings.orientation == orientation
    assert settings.matrix == (48, 40)
    assert settings.spacing_mm == pytest.approx((4.8, 4.8))
    assert settings.coil_counts == (4,)
    assert settings.snr == small[0].snr
    assert settings.n_slices == 1


def test_every_head_has_a_subject_of_its_own(small):
    seeds = [likeness.twin_settings(one, seed).seed for one in small for seed in (3, 4)]
    assert len(set(seeds)) == len(seeds)
    assert scanner.subjects(likeness.twin_settings(small[1], 3))[0].n_coils == 1


def test_twins_have_the_numbers_of_their_heads(small, made):
    assert [one.name for one in made] == [one.name for one in small]
    assert {one.kind for one in made} == {"simulated"}
    for head, twin in zip(small, made, strict=True):
        assert twin.matrix == head.matrix
        assert twin.n_coils == head.n_coils
        for what in comparison.STATISTICS:
            has = [getattr(one, what.attribute) is not None for one in (head, twin)]
            assert has[0] == has[1], what.label


def test_a_sagittal_twin_has_no_left_and_right(small):
    sagittal = dataclasses.replace(small[0], what="SAGT1", asymmetry=None)
    assert likeness.twins([sagittal], seed=3)[0].asymmetry is None


def test_a_twin_is_cut_at_the_level_of_its_head(small):
    assert {one.level_mm for one in likeness.measured()} >= {-24.0, 0.0, 22.0}
    low = dataclasses.replace(small[0], level_mm=-24.0)
    assert likeness.twin_settings(low, seed=3).positions_mm == (-24.0,)


def test_compression_keeps_the_strongest_combinations_of_coils(odd_scan):
    volume = odd_scan.volume
    images = torch.cat([volume.coil_images(index) for index in range(volume.n_slices)], -1)
    energies = torch.linalg.svdvals(images.flatten(1)).square()  # of the best combinations
    for n in (1, volume.n_coils - 1, volume.n_coils):
        few = likeness.compressed(volume, n)
        assert few.n_coils == n and few.image_shape == volume.image_shape
        kept = torch.cat([few.coil_images(index) for index in range(few.n_slices)], -1)
        # all of k-space is measured without oversampling, or images hold nearly all of it
        assert float(kept.abs().square().sum() / energies[:n].sum()) == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(few.rss[0], arrays.rss(volume.coil_images(0)), rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="expected at least the"):
        likeness.compressed(volume, volume.n_coils + 1)


def test_a_head_of_compressed_channels_has_a_twin_of_compressed_channels(small):
    head = dataclasses.replace(small[0], n_coils=3, n_elements=6)
    settings = likeness.twin_settings(head, seed=3)
    assert settings.coil_counts == (6,)
    twin = likeness.matched_twin(head, settings)
    assert twin.volume.n_coils == 3 and twin.portrait.n_coils == 3


def test_a_twin_has_the_snr_of_its_head(small):
    for snr in (9.0, 30.0):
        head = dataclasses.replace(small[0], snr=snr)
        assert likeness.twins([head], seed=3)[0].snr == pytest.approx(snr, rel=0.05)


def test_noise_that_is_added_to_a_twin_is_that_of_its_receivers(small):
    settings = likeness.twin_settings(small[0], seed=3)
    scan = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]
    added = 5.0
    noisier = matching._noisier(scan, added, seed=7)
    noise = (noisier.kspace[0] - scan.volume.kspace[0]).flatten(1)  # (coil, sample)
    covariance = noise @ noise.mH / noise.shape[1]
    expected = added * scan.truth["noise_covariance"]
    assert noise.shape[1] > 3000
    worst = (covariance - expected).abs().max() / expected.diagonal().real.mean()
    assert worst < 6 / math.sqrt(noise.shape[1])
    torch.testing.assert_close(
        noisier.rss[0], arrays.rss(noisier.coil_images(0)), rtol=1e-4, atol=1e-6
    )


def test_a_twin_is_processed_as_its_head_was(small):
    head = dataclasses.replace(small[0], n_coils=1, n_elements=4)
    settings = likeness.twin_settings(head, seed=3)
    seen = []

    def first_coil(volume):
        seen.append(volume.n_coils)
        kspace = volume.kspace[:][:, :1]
        return dataclasses.replace(volume, kspace=kspace, rss=None)

    twin = likeness.matched_twin(head, settings, first_coil)
    assert set(seen) == {4}
    assert twin.volume.n_coils == twin.portrait.n_coils == 1
    assert twin.portrait.name == head.name


def test_twins_are_repeatable(small, made):
    assert likeness.twins(small[2:], seed=3) == made[2:]


def test_a_field_twin_shows_what_two_echoes_show(small, made):
    # tens of Hz at 3 T after shimming, not hundreds, and not the noise
    assert 3 < made[2].b0_sd_hz < 150
    assert 1 < made[2].b0_gradient_median < made[2].b0_gradient_high < 500


def test_rows_hold_both_numbers_side_by_side(small, made):
    found = likeness.rows(small, made)
    assert [row["head"] for row in found] == [one.name for one in small]
    assert found[0]["coils"] == "4"
    assert found[0]["bright tail"] == f"{small[0].bright_tail:.2f} / {made[0].bright_tail:.2f}"
    assert found[1]["residues per 1000"] == "-"
    assert "|" in tables.from_dicts(found)["md"]


def with_dark_share(head, *shares):
    return [dataclasses.replace(head, dark_share=share) for share in shares]


def of_dark_share(rows):
    return {row["statistic"]: row for row in rows}["dark share"]


def test_spread_counts_the_twins_inside_the_measured_range(small):
    real = with_dark_share(small[0], 0.1, 0.3, 0.2, 0.2)
    row = of_dark_share(likeness.spread(real, with_dark_share(small[0], 0.05, 0.1, 0.25, 0.31)))
    assert row == {
        "statistic": "dark share",
        "measured heads": "4",
        "measured": "0.10 to 0.30",
        "simulated": "0.05 to 0.31",
        "twins inside measured": "2 of 4 (2.4 if alike)",
        "measured inside its twins": "-",
        "all twins inside": "no",
        "as often as if alike": "no",
    }
    row = {row["statistic"]: row for row in likeness.spread(small, small)}["B0 s.d. (Hz)"]
    assert row["all twins inside"] == "-"  # one measured head is no spread


def test_spread_counts_the_measured_heads_inside_the_range_of_their_own_twins(small):
    real = with_dark_share(small[0], 0.1, 0.3)
    twins = [with_dark_share(small[0], *shares) for shares in ((0.1, 0.1), (0.2, 0.2), (0.3, 0.25))]
    row = of_dark_share(likeness.spread(real, *twins))
    assert row["measured inside its twins"] == "1 of 2 (1.0 if alike)"
    assert row["twins inside measured"] == "6 of 6 (2.0 if alike)"
    assert row["all twins inside"] == row["as often as if alike"] == "yes"


def test_values_of_one_distribution_lie_inside_as_often_as_it_says(small):
    draw = torch.Generator().manual_seed(5)
    n_trials, n = 400, 4
    inside = sum(
        int(row["twins inside measured"].split()[0])
        for _ in range(n_trials)
        for row in [
            of_dark_share(
                likeness.spread(
                    with_dark_share(small[0], *torch.rand(n, generator=draw).tolist()),
                    with_dark_share(small[0], *torch.rand(n, generator=draw).tolist()),
                )
            )
        ]
    )
    assert inside / (n * n_trials) == pytest.approx((n - 1) / (n + 1), abs=0.05)


def test_the_statistics_that_stand_out_are_named(small):
    real = with_dark_share(small[0], 0.1, 0.3, 0.2, 0.2)
    rows = likeness.spread(real, with_dark_share(small[0], 0.05, 0.1, 0.25, 0.31))
    decided = [row for row in rows if row["all twins inside"] != "-" and row["statistic"] != "SNR"]
    every, often = likeness.spread_sentences(rows).splitlines()
    n = len(decided)
    assert every == f"all twins inside: {n - 1} of {n} statistics; not: dark share"
    assert often == f"as often as if alike: {n - 1} of {n} statistics; not: dark share"
    rows = likeness.spread(real, real)
    assert "not:" not in likeness.spread_sentences(rows)
    assert "B0 s.d. (Hz)" not in {row["statistic"] for row in rows}  # no head has it


def test_the_figure_has_a_column_for_every_head(small, made):
    figure = figures.likeness(small, made)
    assert len(figure.axes) == 3 * len(small)
    assert [panel.get_xlabel() for panel in figure.axes[::3]] == [
        "x median", "cycles/pixel", "rad/pixel",
    ]  # fmt: skip
    assert figure.axes[0].get_title() == "T1 GRE\n4 coils\n48 x 40"
    assert len(figure.legends) == 1
    figure.savefig(io.BytesIO(), format="png")


def test_the_brain_keeps_away_from_the_edge_of_the_picture_too():
    head = torch.zeros(60, 50, dtype=torch.bool)
    head[5:55, :] = True  # as wide as the field of view
    brain = measures.brain(head, (2.0, 3.0))
    rows, columns = brain.any(1).nonzero().flatten(), brain.any(0).nonzero().flatten()
    # more than 16 mm: the 9th row and the 6th column from the first one outside
    assert (int(rows[0]), int(rows[-1])) == (5 + 8, 54 - 8)
    assert (int(columns[0]), int(columns[-1])) == (5, 44)


@pytest.mark.parametrize("orientation", ["coronal", "sagittal"])
def test_the_brain_of_an_upright_head_ends_where_the_face_begins(orientation):
    head = torch.zeros(90, 70, dtype=torch.bool)
    head[4:, 10:60] = True  # with face and neck
    brain = measures.brain(head, (2.5, 2.0), orientation)
    rows = brain.any(1).nonzero().flatten()
    # from more than 16 mm below the vertex to 75 mm below it: 30 rows of 2.5 mm
    assert (int(rows[0]), int(rows[-1])) == (4 + 6, 4 + 30 - 1)
    whole = measures.brain(head, (2.5, 2.0))
    assert torch.equal(brain[:34], whole[:34]) and not brain[34:].any()
    assert not measures.brain(torch.zeros_like(head), (2.5, 2.0), orientation).any()


@pytest.mark.parametrize("pixel_mm", [(1.0, 1.0), (0.8, 1.3)])
def test_an_axial_head_on_its_side_is_told_from_one_beside_a_coil(pixel_mm):
    shape = (201, 171)
    y, x = ((torch.arange(n) - n // 2) * mm for n, mm in zip(shape, pixel_mm, strict=True))  # mm
    y, x = y[:, None], x[None]
    head = (y / 78).square() + (x / 62).square() <= 1
    eyes = ((y + 40).square() + (x.abs() - 25).square()) < 12**2
    ventricles = ((y - 15) / 20).square() + ((x.abs() - 12) / 5).square() < 1
    image = head + 0.8 * eyes - 0.5 * ventricles  # alike left and right, not above and below
    near = 1 / (1 + ((x + 80) / 60).square() + (y / 60).square())  # one coil at the left
    for coil in (1.0, near, near.flip(1)):
        upright = image * coil
        assert not measures.is_turned(upright, head, pixel_mm)
        assert not measures.is_turned(upright.flip(0), head.flip(0), pixel_mm)
        for turns in (1, 3):
            on_side = torch.rot90(upright, turns), torch.rot90(head, turns)
            assert measures.is_turned(*on_side, pixel_mm[::-1])
    shaded = image * near  # without its shading taken off, the coil decides
    assert measures.asymmetry(shaded, head) > measures.asymmetry(shaded.T, head.T)


@pytest.mark.parametrize("number", [1, 4])
def test_measured_necks_that_lie_on_their_side_are_left_out(real, number, tmp_path):
    name = f"subject{number}_axial.h5"
    (tmp_path / name).symlink_to(real / "complex_t2" / name)
    with pytest.raises(ValueError, match="more alike than those beside"):
        likeness.survey(tmp_path)


def test_a_head_whose_neck_leaves_the_picture_sideways_lies_on_its_side():
    head = torch.zeros(60, 50, dtype=torch.bool)
    head[8:, 12:40] = True
    assert not measures.lies_on_its_side(head)
    for turns in (1, 3):
        assert measures.lies_on_its_side(torch.rot90(head, turns))
    head[20:30, :] = True  # nose and occiput may be cut, too
    assert not measures.lies_on_its_side(head)
    assert not measures.lies_on_its_side(torch.zeros_like(head))


def test_a_header_that_makes_no_head_is_corrected_wherever_it_is_read(real):
    by_name = {head.name: head for head in likeness.survey(real / "multicoil").portraits}
    assert by_name["head_axial_mprage_4coil"].pixel_mm == (1.0, 1.0)
    assert by_name["head_axial_t1_8coil"].pixel_mm == pytest.approx((0.957, 0.957), abs=1e-3)
    by_path = {head.path: likeness.heads.read(real, head) for head in likeness.heads.RAW}
    assert by_path["multicoil/head_axial_mprage_4coil.h5"].spacing_mm == (1.0, 1.0)
