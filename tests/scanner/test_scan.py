"""A whole scan: its grid, its noise, its phase by mechanism, its draws."""

import math
from dataclasses import replace
from functools import lru_cache, partial

import pytest
import torch
from fastmri.data import SliceDataset

from synthlib import arrays, formats, scanner
from synthlib.scanner import TISSUES, anatomy, lines, slices
from synthlib.scanner.acquisition import OBJECT_PHASES, CoilImages
from synthlib.scanner.contrast import PROTOCOLS, Protocol
from synthlib.scanner.kspace import acquire
from synthlib.scanner.measurement import draw_measurement
from synthlib.scanner.patient import admit
from synthlib.scanner.samples import to_pixels
from synthlib.scanner.settings import LINE_BY_LINE, USUAL
from synthlib.scanner.slices import _shift_fat
from synthlib.scanner.volume import Volume

NOISELESS = tuple(name for name in USUAL if name != "noise")
# what one image can hold
STEADY = tuple(name for name in NOISELESS if name not in LINE_BY_LINE)

SMALL = scanner.ScanSettings(
    n_subjects=2, coil_counts=(4,), contrasts=("AXT2", "AXFLAIR"), n_slices=2, matrix=(45, 38)
)


@lru_cache
def scan(settings: scanner.ScanSettings = SMALL, which: int = 0) -> scanner.Scan:
    """Kept: many tests look at the same scan, and none changes it."""
    return scanner.scan_subject(settings, scanner.subjects(settings)[0])[which]


@pytest.mark.parametrize("matrix", [(45, 38), (32, 41), (48, 40)])
@pytest.mark.parametrize("oversampling", [1, 2, 3])
def test_every_grid_is_that_asked_for(matrix, oversampling):
    volume = scan(replace(SMALL, matrix=matrix, oversampling=oversampling)).volume
    assert volume.kspace.shape == (2, 4, oversampling * matrix[0], matrix[1])
    assert volume.kspace[0].dtype == torch.complex64
    assert volume.image_shape == volume.recon_shape == matrix
    assert volume.acquired == (0, matrix[1])


def test_scans_carry_the_names_of_subject_and_contrast():
    settings = replace(SMALL, coil_counts=(4, 12))
    assert [s.patient_id for s in scanner.subjects(settings)] == [
        "sim-04coil-001",
        "sim-04coil-002",
        "sim-12coil-001",
        "sim-12coil-002",
    ]
    volume = scan(settings).volume
    assert (volume.name, volume.patient_id) == ("sim-04coil-001_AXT2", "sim-04coil-001")
    assert volume.spacing_mm == (230.0 / 45, 192.0 / 38)


def test_without_noise_the_truth_gives_the_coil_images():
    found = scan(replace(SMALL, mechanisms=STEADY))
    truth = found.truth
    image = torch.polar(truth["magnitude"], truth["phase"])
    expected = image[:, None] * truth["maps"]
    for index in range(2):
        torch.testing.assert_close(
            found.volume.coil_images(index), expected[index], rtol=0, atol=1e-5
        )
        torch.testing.assert_close(
            found.volume.rss[index], arrays.rss(expected)[index], rtol=0, atol=1e-5
        )
    assert not truth["noise_covariance"].any()


def test_readout_runs_along_the_first_axis_of_an_image():
    volume = scan(replace(SMALL, mechanisms=NOISELESS)).volume
    wide = arrays.ifft2c(volume.kspace[0])  # (coil, 2 * ny, nx)
    assert wide.shape[-2:] == (90, 38)
    outside = wide.clone()
    outside[:, 22:67] = 0  # from (90 - 45) // 2 on, as fastMRI crops
    assert outside.abs().max() < 1e-5 * wide.abs().max()


# --- noise ---------------------------------------------------------------------------


def beyond_the_head(settings: scanner.ScanSettings) -> torch.Tensor:
    """Noise alone, complex (coil, sample): the oversampled readout sees nothing else there."""
    wide = arrays.ifft2c(scan(settings).volume.kspace[:])  # (slice, coil, 2 * ny, nx)
    return wide[:, :, : settings.matrix[0] // 2].transpose(0, 1).flatten(1)


def test_signal_to_noise_is_that_asked_for():
    settings = replace(SMALL, matrix=(64, 52), snr=25.0)
    noise, clean = beyond_the_head(settings), scan(replace(settings, mechanisms=NOISELESS))
    labels = clean.truth["labels"]
    brain = (labels == 2) | (labels == 3)
    signal = torch.stack([clean.volume.rss[i] for i in range(2)])[brain].mean()
    per_part = torch.view_as_real(noise).square().mean((1, 2))  # of every coil
    # 13000 samples per coil: within 2 %; hard labels against fractions: a few more
    assert per_part.mean().sqrt() * 25.0 / signal == pytest.approx(1, abs=0.05)
    assert noise.mean().abs() < 0.02 * noise.std()


def test_noise_has_the_covariance_that_the_truth_names():
    # steps of the receivers' gain, which the truth leaves out, would change it
    mechanisms = ("noise", "receive")
    settings = replace(SMALL, matrix=(64, 52), coil_counts=(5,), mechanisms=mechanisms)
    noise = beyond_the_head(settings).to(torch.complex128)
    found = noise @ noise.mH / noise.shape[1]
    asked = scan(settings).truth["noise_covariance"].to(torch.complex128)
    assert (found - asked).abs().max() < 0.05 * asked.diagonal().real.mean()
    off = asked - torch.diag(asked.diagonal())
    assert off.abs().max() > 0.1 * asked.diagonal().real.mean()  # so that the line above means it


def test_acquired_noise_of_any_covariance_is_that_asked_for():
    draw = torch.Generator().manual_seed(1)
    root = torch.randn(3, 3, dtype=torch.complex64, generator=draw)
    covariance = root @ root.mH
    covariance = covariance / covariance.diagonal().real.mean()
    kspace = acquire(torch.zeros(4, 3, 60, 50, dtype=torch.complex64), SMALL, 0.7, covariance, draw)
    noise = kspace.transpose(0, 1).flatten(1)
    found = noise @ noise.mH / noise.shape[1] / (2 * 0.7**2)
    assert (found - covariance).abs().max() < 0.04


# --- k-space -------------------------------------------------------------------------


@pytest.mark.parametrize("moves", [False, True])
def test_coil_images_made_one_by_one_are_those_of_all_slices_at_once(moves):
    draw = torch.Generator().manual_seed(1)
    maps = torch.randn(3, 4, 31, 27, dtype=torch.complex64, generator=draw)
    image, pulsatile = torch.randn(2, 3, 31, 27, dtype=torch.complex64, generator=draw)
    pulsatile[0, :9], pulsatile[1] = 0, 0  # other rows in each slice, none in one
    times_ms, modulation = 10.0 * torch.arange(27), torch.linspace(-1, 1, 27)
    motion = lines.draw_motion(draw, times_ms) if moves else None
    images = CoilImages(image, pulsatile, maps, modulation, motion, (1.0, 1.1), times_ms)
    expected = image[:, None] * maps
    if motion is not None:
        expected = lines.with_motion(image, maps, motion, (1.0, 1.1), times_ms)
    expected = expected + lines.ghosts(pulsatile, maps, modulation)
    assert torch.equal(torch.stack([images[i] for i in range(3)]), expected)  # bit for bit


def test_kspace_keeps_the_energy_of_the_object():
    image = torch.randn(2, 3, 21, 14, dtype=torch.complex64, generator=torch.Generator())
    kspace = acquire(image, SMALL, 0.0, torch.eye(3, dtype=torch.complex64), torch.Generator())
    torch.testing.assert_close(kspace.abs().square().sum(), image.abs().square().sum())


def test_partial_fourier_leaves_out_the_first_columns_and_says_so():
    whole, part = scan(), scan(replace(SMALL, partial_fourier=0.75))
    assert part.volume.acquired == (38 - 28, 38)  # round(0.75 * 38) is 28
    assert not part.volume.kspace[0][..., :10].any()
    assert torch.equal(part.volume.kspace[0][..., 10:], whole.volume.kspace[0][..., 10:])


def test_an_elliptical_scan_leaves_out_the_corners():
    kspace = scan(replace(SMALL, elliptical=True)).volume.kspace[0][0]
    measured = (kspace != 0).float()
    assert measured.mean() == pytest.approx(math.pi / 4, abs=0.03)
    assert measured[45].all() and measured[:, 19].all()  # through the centre
    assert not measured[:8, :8].any() and not measured[-8:, -8:].any()


def test_partial_fourier_is_in_the_header_that_loaders_read(tmp_path):
    volume = scan(replace(SMALL, partial_fourier=0.75)).volume
    formats.write_raw(
        tmp_path / "part.h5",
        volume.kspace[:],
        contrast="AXT2",
        patient_id="a",
        recon_shape=volume.recon_shape,
        acquired=volume.acquired,
    )
    with pytest.warns(UserWarning, match="10 of 38 columns .* as its header says"):
        assert formats.read_raw(tmp_path / "part.h5").acquired == (10, 38)
    _, _, _, attributes, _, _ = SliceDataset(tmp_path, "multicoil")[0]
    assert attributes["padding_left"] == 10
    assert attributes["padding_right"] == 38


def test_edges_ring_and_are_where_they_were():
    coarse, fine = (
        scan(replace(SMALL, matrix=matrix, mechanisms=())).truth["magnitude"][0]
        for matrix in ((48, 40), (192, 160))
    )
    blurred = arrays.resample(fine.to(torch.complex64), (48, 40)).abs()
    assert (coarse - blurred).abs().mean() < 0.02 * blurred.mean()
    air = fine[:40, :24].mean() + fine[-40:, -24:].mean()  # corners
    assert 0 < air < 0.05 * fine.max()  # ringing, but little


# --- phase by mechanism --------------------------------------------------------------


def amid(tissue: str, labels: torch.Tensor) -> torch.Tensor:
    """Pixels of a tissue whose eight neighbours are of it, too: (slice, y, x)."""
    other = (labels != TISSUES.index(tissue)).float()
    return torch.nn.functional.max_pool2d(other[:, None], 3, 1, 1)[:, 0] == 0


# where fluid is four times brighter than white matter, its ringing turns white matter's phase
RINGING_RAD = {"AXT2": 0.03}


@pytest.mark.parametrize("contrast", ["AXT1", "AXT2", "AXFLAIR", "AXGRE"])
def test_phases_of_the_mechanisms_add_up_to_that_of_the_image(contrast):
    # the lines of a train mix what their echoes show: see test_echoes
    alike = tuple(name for name in USUAL if name != "echo_train")
    settings = replace(SMALL, contrasts=(contrast,), matrix=(96, 80), mechanisms=alike)
    truth = scan(settings).truth
    white = amid("white", truth["labels"])
    parts = {name: truth[f"phase_{name}"] for name in OBJECT_PHASES}
    # the mixture is what the others leave: almost nothing within one tissue
    others = torch.stack([parts[name] for name in OBJECT_PHASES if name != "mixture"]).sum(0)
    left = arrays.wrap(truth["phase"] - others)[white].abs()
    assert left.median() < RINGING_RAD.get(contrast, 0.015)
    assert left.quantile(0.9) < 0.1
    assert parts["conductivity"][white].std() > 0.1 and parts["timing"][white].std() > 0.1


@pytest.mark.parametrize(
    ("contrast", "mechanism"),
    [
        ("AXGRE", "susceptibility"),
        ("AXT1", "conductivity"),
        ("AXT1", "timing"),
        ("AXT1", "eddy_currents"),
    ],
)
def test_a_mechanism_alone_gives_the_image_its_phase(contrast, mechanism):
    settings = replace(SMALL, contrasts=(contrast,), matrix=(96, 80), mechanisms=(mechanism,))
    truth = scan(settings).truth
    white = amid("white", truth["labels"])
    expected = truth[f"phase_{mechanism}"]
    assert expected[white].std() > 0.05
    difference = arrays.wrap(truth["phase"] - expected)[white].abs()
    assert difference.median() < 0.015
    for name in OBJECT_PHASES[:-1]:
        assert name == mechanism or not truth[f"phase_{name}"].any()


def test_phase_of_a_gradient_echo_is_two_pi_field_times_echo_time(monkeypatch):
    """Between two echoes, from the images alone, against the field from the head itself."""
    settings = replace(SMALL, contrasts=("AXGRE",), matrix=(96, 80), mechanisms=("susceptibility",))
    images = []
    for te_ms in (8.0, 10.0):
        monkeypatch.setitem(PROTOCOLS, "AXGRE", replace(PROTOCOLS["AXGRE"], te_ms=te_ms))
        truth = scan.__wrapped__(settings).truth
        images.append(torch.polar(truth["magnitude"], truth["phase"]))
    white = truth["labels"] == TISSUES.index("white")
    patient = admit(settings, scanner.subjects(settings)[0], torch.device("cpu"))
    points = anatomy.positions(settings.matrix, settings.fov_mm, settings.slice_positions_mm)
    steady, jump, *_ = patient.fields.at(points)
    field_hz = steady + jump * patient.chi_hz[TISSUES.index("white")]
    found = (images[1] * images[0].conj()).angle()[white]
    expected = 2 * math.pi * field_hz[white] * 0.002
    assert expected.std() > 0.03
    assert (found - expected).abs().median() < 0.05 * expected.std()


def test_fine_samples_average_to_the_pixel_they_belong_to():
    for n, finer in ((7, 2), (8, 2), (45, 3), (46, 3), (9, 4), (8, 5)):
        ramp = (torch.arange(finer * n) - (finer * n) // 2) / finer  # in pixels from the isocentre
        pooled = to_pixels(ramp.expand(1, 2 * finer, -1), finer, (2, n))
        expected = torch.arange(n) - n // 2
        assert (pooled[0, 0] - expected)[1:-1].abs().max() < 1e-5


def test_air_around_the_head_is_passed_by_without_a_trace(monkeypatch):
    settings = replace(SMALL, contrasts=("AXT2", "AXGRE"), n_lesions=2, positions_mm=(-40.0, 8.0))
    expected = scan(settings, which=1)
    monkeypatch.setattr("synthlib.scanner.samples.BODY_MARGIN_MM", 1000.0)
    found = scan.__wrapped__(settings, which=1)
    assert torch.equal(found.volume.kspace[:], expected.volume.kspace[:])
    for name, values in expected.truth.items():
        assert torch.equal(found.truth[name], values), name


def test_the_cord_is_no_brain():
    below = replace(SMALL, positions_mm=(-115.0,))
    with pytest.raises(ValueError, match="no brain in the slices at"):
        scan(below)


def test_slices_without_a_brain_are_refused_with_their_position():
    with pytest.raises(
        ValueError, match=r"no brain in the slices at \[110.0\] mm .* Move positions_mm"
    ):
        scan(replace(SMALL, positions_mm=(110.0,)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_scan():
    person = scanner.subjects(SMALL)[0]
    for ours, theirs in zip(
        scanner.scan_subject(SMALL, person, "cpu"),
        scanner.scan_subject(SMALL, person, "cuda"),
        strict=True,
    ):
        torch.testing.assert_close(
            ours.volume.kspace[:], theirs.volume.kspace[:], rtol=1e-3, atol=1e-4
        )


def test_without_receive_the_maps_are_real_and_of_the_same_magnitude():
    whole, less = scan().truth, scan(replace(SMALL, mechanisms=("conductivity",))).truth
    assert not less["maps"].imag.any()
    torch.testing.assert_close(less["maps"].real, whole["maps"].abs())


def test_without_mechanisms_the_object_is_real():
    # odd: an even grid has a highest frequency without its conjugate, and is real only nearly
    truth = scan(replace(SMALL, matrix=(45, 37), mechanisms=())).truth
    image = torch.polar(truth["magnitude"], truth["phase"])
    assert image.imag.abs().max() < 1e-5 * image.real.max()


def test_brain_is_shimmed_to_some_hertz_and_the_field_is_worst_at_its_base():
    settings = replace(SMALL, contrasts=("AXGRE",), positions_mm=(-25.0, 10.0))
    truth = scan(settings).truth
    field_hz = truth["phase_susceptibility"] / (2 * math.pi * 0.020)
    low, high = (
        field_hz[i][(truth["labels"][i] == 2) | (truth["labels"][i] == 3)].std() for i in (0, 1)
    )
    assert 4 < high < 20 and high < low < 40  # 12 to 25 Hz at 3 T over the whole brain


def test_an_imperfect_shim_adds_a_polynomial_of_second_order_to_the_field():
    settings = replace(SMALL, contrasts=("AXGRE",), positions_mm=(10.0,), matrix=(48, 40))
    without = replace(settings, mechanisms=tuple(n for n in USUAL if n != "shim"))
    imperfect, perfect = scan(settings).truth, scan(without).truth
    body = imperfect["labels"][0] > 0
    apart = (imperfect["phase_susceptibility"] - perfect["phase_susceptibility"])[0].double()
    y, x = torch.meshgrid(*(torch.arange(n).double() for n in body.shape), indexing="ij")
    basis = torch.stack([torch.ones_like(y), y, x, y * y, x * y, x * x], -1)[body]
    left = apart[body] - basis @ torch.linalg.lstsq(basis, apart[body, None]).solution[:, 0]
    assert apart[body].std() > 0.1
    assert left.std() < 0.02 * apart[body].std()  # means over pixels at the rim


def test_conductivity_spans_a_radian_over_the_brain_and_dips_in_the_ventricles():
    settings = replace(SMALL, contrasts=("AXT2",), positions_mm=(2.0,), matrix=(96, 80))
    truth = scan(settings).truth
    phase, labels = truth["phase_conductivity"][0], truth["labels"][0]
    brain = (labels >= 1) & (labels <= 3)
    assert 0.8 < phase[brain].max() - phase[brain].min() < 2.2
    # laplacian = 2 mu0 omega sigma: four times as much in fluid as in the brain
    laplacian = phase.diff(n=2, dim=0)[:, 1:-1] + phase.diff(n=2, dim=1)[1:-1]
    inner = labels[1:-1, 1:-1]
    middle = torch.zeros_like(inner, dtype=torch.bool)
    middle[30:65, 27:53] = True
    fluid, matter = (
        laplacian[middle & (inner == 1)].mean(),
        laplacian[middle & (inner >= 2) & (inner <= 3)].mean(),
    )
    assert fluid > 1.5 * matter > 0


def test_fat_is_displaced_along_the_readout_and_turned():
    fat_hz, late_s = -434.3, 0.4e-3
    two_pixels = Protocol(tr_ms=500.0, te_ms=10.0, bandwidth_khz=21 * 0.4343 / 2)
    image = torch.randn(21, 14, dtype=torch.complex64, generator=torch.Generator())
    found = _shift_fat(image, fat_hz, late_s, two_pixels)
    turn = torch.polar(torch.tensor(1.0), torch.tensor(2 * math.pi * fat_hz * late_s))
    torch.testing.assert_close(found, image.roll(-2, dims=0) * turn, rtol=0, atol=1e-5)


def test_scalp_shows_the_chemical_shift_and_brain_does_not():
    settings = replace(SMALL, contrasts=("AXT1",), matrix=(96, 80), mechanisms=("chemical_shift",))
    truth = scan(settings).truth
    phase, labels = truth["phase_chemical_shift"][0], truth["labels"][0]
    expected = arrays.wrap(torch.tensor(-2 * math.pi * 434.3 * PROTOCOLS["AXT1"].late_ms / 1000))
    # septa and skin in the scalp's pixels stay on resonance
    assert float(expected) - 0.1 < phase[labels == 6].median() < 0.6 * float(expected)
    assert phase[labels == 3].abs().median() < 0.03


def test_concomitant_fields_turn_the_image_by_their_part_and_twice_as_far_at_half_the_field():
    spread = []
    for field_t in (1.5, 3.0):
        settings = replace(
            SMALL, contrasts=("AXT1",), matrix=(96, 80), field_t=field_t, positions_mm=(50.0,)
        )
        off, on = (
            scan(replace(settings, mechanisms=names)).truth for names in ((), ("concomitant",))
        )
        white = amid("white", off["labels"])
        turned = arrays.wrap(on["phase"] - off["phase"])[white]
        expected = on["phase_concomitant"][white]
        assert (turned - expected).abs().median() < 0.02 * expected.abs().median()
        spread.append(float(expected.std()))
    assert spread[0] == pytest.approx(2 * spread[1], rel=0.02) and spread[0] > 0.004


def test_readouts_are_late_by_their_own_time_in_every_scan_of_spin_echoes():
    late = {name: [] for name in ("AXT1", "AXT2", "AXGRE")}
    for seed in range(60):
        settings = replace(SMALL, seed=seed, contrasts=tuple(late))
        person = scanner.subjects(settings)[0]
        for name, values in late.items():
            off = draw_measurement(settings, person, name).protocol.late_ms
            values.append(off - PROTOCOLS[name].late_ms)
    assert not any(late["AXGRE"])
    for name in ("AXT1", "AXT2"):
        values = torch.tensor(late[name])
        assert 0.06 < values.std() < 0.12 and values.mean().abs() < 0.04
    assert abs(torch.corrcoef(torch.tensor([late["AXT1"], late["AXT2"]]))[0, 1]) < 0.4
    still = replace(SMALL, mechanisms=("susceptibility",))
    assert draw_measurement(still, person, "AXT1").protocol == PROTOCOLS["AXT1"]


@pytest.mark.parametrize("name", ["AXT1GRE", "AXGRE"])
def test_vessels_alone_are_turned_by_flow_and_bright_in_gradient_echoes(name):
    settings = replace(SMALL, contrasts=(name,), matrix=(160, 134), positions_mm=(-20.0, 5.0))
    still, moving = (scan(replace(settings, mechanisms=names)).truth for names in ((), ("flow",)))
    white = amid("white", still["labels"])
    veins, arteries = (still["labels"] == TISSUES.index(of) for of in ("blood", "artery"))
    vessels = veins | arteries
    assert moving["phase"][vessels].abs().quantile(0.75) > 0.1  # blood in branches is slow
    assert arrays.wrap(moving["phase"] - still["phase"])[white].abs().median() < 0.01
    gain = moving["magnitude"] / still["magnitude"].clamp(min=1e-3)
    assert gain[white].median() == pytest.approx(1, abs=0.01)
    assert gain[arteries].max() > 1.05
    if PROTOCOLS[name].slab_mm is None:
        assert gain[veins].quantile(0.75) > 1.05
    else:  # blood of veins has rested in the slab
        assert gain[veins].median() < 1.02


def test_flow_voids_grow_towards_thin_slices_and_stay_where_flow_is_off():
    """Straight and sagittal sinus cross coronal slices; no moments turn the blood here."""
    settings = replace(
        SMALL,
        contrasts=("AXT1POST",),
        matrix=(144, 120),
        orientation="coronal",
        positions_mm=(-45.0,),
    )
    kept = []
    for thickness_mm in (2.0, 8.0):
        thick = replace(settings, thickness_mm=thickness_mm)
        still, moving = (scan(replace(thick, mechanisms=on)).truth for on in ((), ("flow",)))
        vein = still["labels"] == TISSUES.index("blood")
        kept.append((moving["magnitude"] / still["magnitude"])[vein].quantile(0.25))
    assert kept[0] < 0.9 * kept[1]
    assert kept[1] < 0.99


def test_fields_survive_in_spin_echoes_where_refocusing_is_worst():
    settings = replace(
        SMALL, contrasts=("AXT1",), matrix=(96, 80), positions_mm=(-30.0, 20.0),
        mechanisms=("refocusing",),
    )  # fmt: skip
    truth = scan(settings).truth
    brain = (truth["labels"] == 2) | (truth["labels"] == 3)
    low, high = (truth["phase_refocusing"][i][brain[i]].std() for i in (0, 1))
    assert low > high and 0.002 < low < 0.05
    white = amid("white", truth["labels"])
    left = arrays.wrap(truth["phase"] - truth["phase_refocusing"])[white].abs()
    assert left.median() < 0.015


def test_imperfect_refocusing_paints_no_fringes():
    """Fields of air turn many times within an eye; a spin echo's magnitude does not show it."""
    still = replace(
        SMALL, contrasts=("AXT2",), matrix=(128, 104), positions_mm=(-52.0, -20.0), mechanisms=()
    )
    plain, imperfect = (
        scan(replace(still, mechanisms=mechanisms)).truth["magnitude"]
        for mechanisms in ((), ("refocusing",))
    )
    bright = plain > 0.25 * plain.max()  # white matter, too
    ratio = imperfect[bright] / plain[bright]
    assert 0.5 < ratio.min() < 0.99  # the signal itself is smaller where refocusing is worse
    pool = partial(torch.nn.functional.max_pool2d, kernel_size=7, stride=1)
    whole = -pool(-bright.float()) > 0  # windows without a pixel of air or bone
    quotient = torch.where(bright, imperfect / plain, 1.0)
    span = (pool(quotient) + pool(-quotient))[whole]
    assert whole.sum() > 500
    assert span.max() < 0.2


def test_tissue_off_resonance_is_displaced_along_the_readout(monkeypatch):
    """A head in a constant field of one pixel's bandwidth appears a pixel further down."""
    settings = replace(SMALL, contrasts=("AXT1",), n_slices=1, mechanisms=())
    still = scan(settings).truth["magnitude"][0]
    per_pixel = 1000 * PROTOCOLS["AXT1"].bandwidth_khz / settings.matrix[0]
    sample = slices.sample

    def off_resonance(*values):
        samples = sample(*values)
        return replace(samples, water_hz=torch.full_like(samples.water_hz, per_pixel))

    monkeypatch.setattr(slices, "sample", off_resonance)
    moved = scan.__wrapped__(replace(settings, mechanisms=("distortion",))).truth["magnitude"][0]
    torch.testing.assert_close(moved[3:-3], still.roll(1, 0)[3:-3], atol=2e-3, rtol=0)


def test_conductivity_phase_belongs_to_the_subject_and_timing_to_the_scan():
    first, second = scan(which=0).truth, scan(which=1).truth
    assert torch.equal(first["phase_conductivity"], second["phase_conductivity"])
    assert torch.equal(first["maps"], second["maps"])
    assert not torch.allclose(first["phase_timing"], second["phase_timing"])


@pytest.mark.parametrize("orientation", ["coronal", "sagittal"])
def test_other_orientations_are_scanned_like_the_axial_one(orientation):
    found = scan(replace(SMALL, orientation=orientation, positions_mm=(0.0, 12.0)))
    assert found.volume.kspace.shape == (2, 4, 90, 38)
    labels = found.truth["labels"]
    assert {1, 2, 3, 5, 6} <= set(labels.unique().tolist())
    signal = found.volume.rss[0]
    assert signal[labels[0] == 3].mean() > 3 * signal[labels[0] == 0].mean()


def test_thin_slices_are_sharper_than_thick_ones():
    thin, thick = (
        scan(replace(SMALL, matrix=(96, 80), thickness_mm=mm, mechanisms=())).truth["magnitude"]
        for mm in (1.0, 10.0)
    )
    assert thin.diff(dim=1).abs().mean() > 1.03 * thick.diff(dim=1).abs().mean()


def test_a_volume_coil_gives_one_channel():
    settings = replace(SMALL, coil_counts=(1,))
    found = scan(settings)
    assert found.volume.kspace.shape == (2, 1, 90, 38)
    assert found.volume.patient_id == "sim-01coil-001"


def test_same_seed_same_numbers_and_another_seed_differs():
    again = scan.__wrapped__()  # not the kept one
    assert torch.equal(scan().volume.kspace[:], again.volume.kspace[:])
    other = replace(SMALL, seed=SMALL.seed + 1)
    assert not torch.allclose(scan().volume.kspace[:], scan(other).volume.kspace[:])


def test_more_subjects_and_other_contrasts_leave_a_scan_unchanged():
    alone = replace(SMALL, n_subjects=1, contrasts=("AXFLAIR",))
    more = replace(SMALL, n_subjects=5, coil_counts=(4, 8), contrasts=("AXT1", "AXFLAIR"))
    assert torch.equal(scan(alone).volume.kspace[:], scan(more, which=1).volume.kspace[:])


def test_scanning_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    scan.__wrapped__()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contrasts": ("AXPD",)}, "unknown contrast 'AXPD'; expected one of .*'AXT2'"),
        ({"mechanisms": ("magic",)}, "unknown mechanism 'magic'; expected one of .*'timing'"),
        ({"field_t": 7.0}, "unknown field_t 7.0; expected one of"),
        ({"coil_counts": (8, 0)}, r"coil_counts is \(8, 0\); expected at least 1"),
        ({"matrix": (96, 8)}, r"matrix is \(96, 8\); expected at least 16"),
        ({"oversampling": 0}, "oversampling is 0; expected at least 1"),
        ({"n_slices": 0}, "n_slices is 0; expected at least 1"),
        ({"snr": 0.0}, "snr is 0.0; expected a finite number of more than 0"),
        ({"orientation": "oblique"}, "unknown orientation 'oblique'; expected one of .*'sagittal'"),
        ({"partial_fourier": 0.5}, "partial_fourier is 0.5; expected a share above 0.5"),
        ({"positions_mm": (0.0, 300.0)}, "positions_mm holds 300.0; expected slices within 120 mm"),
        ({"n_lesions": -1}, "n_lesions is -1; expected at least 0"),
        ({"fov_mm": (math.inf, 200.0)}, r"fov_mm is \(inf, 200.0\); expected a finite number"),
        ({"contrasts": ("AXT1", "AXT1")}, "contrasts holds 'AXT1' twice"),
    ],
)
def test_settings_that_cannot_be_scanned_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize("orientation", list(anatomy.ORIENTATIONS))
@pytest.mark.parametrize("n_through", [1, 3])
def test_a_volume_read_on_a_lattice_is_what_it_is_anywhere(orientation, n_through):
    rng = torch.Generator().manual_seed(8)
    first, spacing = (-40.0, -31.0, -22.0), 5.0
    volume = Volume(torch.randn(3, 11, 14, 17, generator=rng), first, spacing)
    centres = torch.tensor([3.0, 9.5, 16.0])[:n_through]
    points = anatomy.positions((23, 31), (140.0, 120.0), centres, orientation)  # beyond it, too
    torch.testing.assert_close(volume.on_lattice(points), volume.at(points), rtol=0, atol=2e-5)
