"""ESPIRiT against SigPy, against the maps that the simulated scanner used, and its gauges."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from sigpy.mri.app import EspiritCalib
from torch import Tensor

from synthlib import arrays, coils, formats, scanner
from synthlib.coils import EspiritSettings


def numbers(**changes: Any) -> EspiritSettings:
    """Settings with the threshold and crop that others use, not those that follow the data."""
    return EspiritSettings(**({"threshold": 0.02, "crop": 0.9} | changes))


def espirit_maps(
    kspace: Tensor, settings: EspiritSettings | None = None, **options: Any
) -> coils.CoilMaps:
    return coils.espirit_maps(kspace, settings or numbers(), **options)


def poles(phase: Tensor, inside: Tensor) -> Tensor:
    """Bool (y - 1, x - 1): loops of 2x2 pixels, all inside, round which a phase gains a turn."""

    def loop(image: Tensor) -> list[Tensor]:
        return [image[:-1, :-1], image[:-1, 1:], image[1:, 1:], image[1:, :-1]]

    corners = loop(phase)
    steps = [arrays.wrap(corners[(i + 1) % 4] - corners[i]) for i in range(4)]
    return (sum(steps).abs() > 3) & torch.stack(loop(inside)).all(0)


def residues(phase: Tensor, inside: Tensor) -> int:
    return int(poles(phase, inside).sum())


def sigpy_maps(
    kspace: Tensor, settings: EspiritSettings, max_iter: int = 100
) -> tuple[Tensor, Tensor]:
    """Maps (coil, y, x) and eigenvalues (y, x)."""
    app = EspiritCalib(
        kspace.numpy(),
        calib_width=settings.calib_width,
        thresh=settings.threshold,
        kernel_width=settings.kernel_width,
        crop=0,
        max_iter=max_iter,
        output_eigenvalue=True,
        show_pbar=False,
    )
    maps, eigenvalues = app.run()
    return torch.from_numpy(np.asarray(maps)), torch.from_numpy(np.asarray(eigenvalues).real[0])


def aligned_share(maps: Tensor, reference: Tensor, inside: Tensor) -> float:
    """Share of pixels where two unit maps agree up to a phase, better than 0.999."""
    inner = torch.einsum("cyx,cyx->yx", maps.conj(), reference).abs()[inside]
    return float((inner > 0.999).float().mean())


@pytest.fixture(scope="module")
def scan_91x76() -> scanner.Scan:
    """2.5 mm pixels: at 5 mm the maps change within a pixel next to a loop."""
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(4,), contrasts=("AXT2",), n_slices=1, matrix=(91, 76)
    )
    return scanner.scan_subject(settings, scanner.subjects(settings)[0])[0]


def head_of(scan: scanner.Scan) -> Tensor:
    """Bool (y, x): tissue of the first slice that gives signal."""
    return (scan.truth["labels"][0] > 0) & (scan.truth["magnitude"][0] > 0.05)


@pytest.fixture
def noiseless(scan_91x76) -> tuple[Tensor, Tensor, Tensor]:
    """Coil images without noise, the true maps at unit root sum of squares, where there is head."""
    truth = scan_91x76.truth
    magnitude, phase, maps = (truth[name][0] for name in ("magnitude", "phase", "maps"))
    coil_images = torch.polar(magnitude, phase) * maps
    return coil_images, maps / arrays.rss(maps), head_of(scan_91x76)


@pytest.fixture
def brain(scan_91x76) -> Tensor:
    """Bool (y, x): what gives signal within the skull.

    Dark skin next to a loop is another matter: what few singular vectors tell of it lies below
    the threshold, whoever estimates.
    """
    labels = scan_91x76.truth["labels"][0]
    names = ("csf", "grey", "white", "deep", "blood", "artery")
    inside = torch.tensor([scanner.TISSUES.index(name) for name in names])
    return torch.isin(labels, inside.to(labels.dtype)) & head_of(scan_91x76)


@pytest.fixture
def kspace(odd_scan) -> Tensor:
    """The same slice as scanned, with noise: complex (4, 45, 38)."""
    return arrays.fft2c(odd_scan.volume.coil_images(0))


# --- against others ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("head_axial_t1_8coil", (115, 91)),  # the inner k-space, at odd sizes
        ("head_axial_mprage_4coil", (129, 127)),
        ("head_axial_16coil_lowres", (63, 58)),
    ],
)
def test_maps_of_measured_heads_are_those_of_sigpy(real, name, matrix):
    volume = formats.read_raw(real / "multicoil" / f"{name}.h5")
    kspace = arrays.crop_or_pad(volume.kspace[0], matrix)
    found = espirit_maps(kspace)
    assert found.support.float().mean() > 0.3
    reference, _ = sigpy_maps(kspace, numbers())
    # SigPy's power iteration does not settle everywhere at the rim
    assert aligned_share(found.maps, reference, found.support) > 0.99


@pytest.mark.parametrize(
    "settings",
    [numbers(), numbers(calib_width=21, kernel_width=5, threshold=0.05)],
    ids=["default", "smaller"],
)
def test_a_simulated_head_of_odd_size_gives_the_maps_and_eigenvalues_of_sigpy(kspace, settings):
    found = espirit_maps(kspace, settings)
    inside = found.support
    assert inside.float().mean() > 0.3
    reference, eigenvalues = sigpy_maps(kspace, settings, max_iter=300)
    assert aligned_share(found.maps, reference, inside) > 0.999
    torch.testing.assert_close(
        found.eigenvalues[inside], eigenvalues[inside], rtol=0, atol=2e-3, check_dtype=False
    )


def test_maps_are_the_scanners_own_up_to_a_phase_of_the_pixel(noiseless, brain):
    coil_images, truth, head = noiseless
    kspace = arrays.fft2c(coil_images)
    found = espirit_maps(kspace)
    assert found.support[head].all()
    assert brain.sum() > 0.6 * head.sum()
    assert aligned_share(found.maps, truth, brain) == 1
    # and so is the phase of every coil relative to the first, on the circle
    bright = head & (truth.abs().amin(0) > 0.1)
    relative, expected = (
        (maps[1:] * maps[0].conj())[:, bright].angle() for maps in (found.maps, truth)
    )
    error = arrays.wrap(relative - expected).abs()
    assert (bright & brain).sum() > 1000
    assert error[:, brain[bright]].max() < 0.1
    # in the scalp next to a loop as near as the reference implementation: there one coil has
    # nearly all of the map, and what it leaves to the others is a tenth of a dim pixel
    reference, _ = sigpy_maps(kspace, numbers(), max_iter=300)
    assert aligned_share(found.maps, reference, head) == 1
    assert torch.einsum("cyx,cyx->yx", found.maps.conj(), truth).abs()[head].min() > 0.99
    other = (reference[1:] * reference[0].conj())[:, bright].angle()
    assert arrays.wrap(relative - other).abs().max() < 0.02


def test_noise_moves_the_maps_little(scan_91x76, noiseless):
    _, truth, head = noiseless
    found = espirit_maps(arrays.fft2c(scan_91x76.volume.coil_images(0)))
    assert aligned_share(found.maps, truth, head) > 0.95


# --- what every map obeys ------------------------------------------------------------


@pytest.mark.parametrize("gauge", ["virtual", "coil0"])
def test_maps_have_unit_size_in_every_pixel(kspace, gauge):
    found = espirit_maps(kspace, numbers(gauge=gauge))
    assert found.maps.shape == kspace.shape
    assert found.maps.dtype == torch.complex64
    assert torch.view_as_real(found.maps).isfinite().all()
    assert found.eigenvalues.isfinite().all()
    size = arrays.rss(found.maps)
    torch.testing.assert_close(size, torch.ones_like(size), rtol=0, atol=1e-4)


def test_maps_of_a_masked_background_are_finite(odd_scan, noiseless):
    coil_images, _, head = noiseless  # exact zeros around the head
    found = espirit_maps(arrays.fft2c(coil_images * head))
    assert torch.view_as_real(found.maps).isfinite().all()


def test_support_is_where_the_eigenvalue_is_above_crop(kspace):
    loose, strict = (espirit_maps(kspace, numbers(crop=c)) for c in (0.7, 0.98))
    for found, crop in ((loose, 0.7), (strict, 0.98)):
        assert torch.equal(found.support, found.eigenvalues > crop)
    assert loose.support.sum() > strict.support.sum()
    assert loose.eigenvalues.max() < 1.001


def test_maps_do_not_depend_on_the_units(kspace):
    found, scaled = (espirit_maps(scale * kspace) for scale in (1, 1e-7))
    torch.testing.assert_close(scaled.eigenvalues, found.eigenvalues, rtol=0, atol=1e-3)
    inside = found.support
    torch.testing.assert_close(scaled.maps[:, inside], found.maps[:, inside], rtol=0, atol=2e-3)


# --- gauges --------------------------------------------------------------------------


def test_bart_gauge_makes_the_first_principal_coil_real(kspace):
    found = espirit_maps(kspace, numbers(gauge="bart"))
    calib = arrays.crop_or_pad(kspace, (24, 24)).flatten(1).numpy()
    weights = np.linalg.svd(calib, full_matrices=False)[0][:, 0]
    virtual = np.einsum("c,cyx->yx", weights.conj(), found.maps.numpy())[found.support.numpy()]
    sign = virtual.sum() / abs(virtual.sum())  # an SVD leaves one phase free for all pixels
    assert np.abs((virtual / sign).imag).max() < 1e-3
    assert (virtual / sign).real.min() > -1e-3


def test_coil0_gauge_makes_the_first_coil_real_and_positive(kspace):
    first = espirit_maps(kspace, numbers(gauge="coil0")).maps[0]
    assert first.imag.abs().max() < 1e-4
    assert first.real.min() > -1e-4


def test_a_gauge_changes_the_phase_of_pixels_and_nothing_else(kspace):
    virtual, coil0 = (espirit_maps(kspace, numbers(gauge=gauge)) for gauge in ("virtual", "coil0"))
    inner = (virtual.maps.conj() * coil0.maps).sum(0).abs()
    torch.testing.assert_close(inner, torch.ones_like(inner), rtol=0, atol=1e-4)
    assert torch.equal(virtual.eigenvalues, coil0.eigenvalues)


def test_residues_count_poles():
    y, x = torch.meshgrid(torch.arange(9) - 4.5, torch.arange(8) - 3.5, indexing="ij")
    everywhere = torch.ones(9, 8, dtype=torch.bool)
    assert residues(torch.atan2(y, x), everywhere) == 1
    assert residues(arrays.wrap(2.0 * x + y), everywhere) == 0


def test_virtual_gauge_leaves_no_pole_in_the_head(noiseless):
    coil_images, truth, head = noiseless
    found = espirit_maps(arrays.fft2c(coil_images))
    gauge = (found.maps * truth.conj()).sum(0).angle()  # against the scanner's smooth maps
    assert residues(gauge, head) == 0
    # bone that an echo train's ringing takes through zero has poles of its own
    target = coils.combine(coil_images, found.maps).angle()
    own = coils.combine(coil_images, truth).angle()
    assert not (poles(target, head) & ~poles(own, head)).any()


def test_target_phase_of_a_measured_head_has_no_pole(real):
    volume = formats.read_raw(real / "multicoil" / "head_axial_t1_8coil.h5")
    kspace = arrays.crop_or_pad(volume.kspace[0], (115, 91))
    found = espirit_maps(kspace)
    images = arrays.ifft2c(kspace)
    magnitude = arrays.rss(images)
    head = found.support & (magnitude > 0.15 * magnitude.quantile(0.98))
    assert head.float().mean() > 0.3
    assert residues(coils.combine(images, found.maps).angle(), head) == 0


def test_a_constant_phase_of_the_scan_goes_into_the_maps(kspace):
    turned = kspace * torch.polar(torch.tensor(1.0), torch.tensor(1.3))
    found, other = espirit_maps(kspace), espirit_maps(turned)
    target, same = (
        coils.combine(arrays.ifft2c(k), f.maps)[found.support]
        for k, f in ((kspace, found), (turned, other))
    )
    error = (same * target.conj()).angle().abs()
    assert (error * target.abs()).sum() / target.abs().sum() < 1e-3


def test_the_order_of_the_coils_does_not_matter(kspace):
    order = [2, 0, 3, 1]
    found, shuffled = espirit_maps(kspace), espirit_maps(kspace[order])
    inside = found.support
    torch.testing.assert_close(
        shuffled.maps[:, inside], found.maps[order][:, inside], rtol=0, atol=2e-3
    )


# --- what maps leave unexplained -----------------------------------------------------


def test_maps_explain_noiseless_coil_images(noiseless, brain):
    coil_images = noiseless[0]
    kspace = arrays.fft2c(coil_images)
    found = espirit_maps(kspace)
    assert coils.residual(coil_images, dataclasses.replace(found, support=brain)) < 0.01
    # in the whole head what the maps of the reference implementation leave, too
    reference, _ = sigpy_maps(kspace, numbers(), max_iter=300)
    left = coil_images - reference * coils.combine(coil_images, reference)
    share = (left * found.support).norm() / (coil_images * found.support).norm()
    assert coils.residual(coil_images, found) < 1.01 * share


def test_what_maps_leave_of_a_scan_is_its_noise(odd_scan):
    coil_images = odd_scan.volume.coil_images(0)
    # the oversampled readout sees nothing but noise beyond the field of view
    air = arrays.ifft2c(odd_scan.volume.kspace[0])[:, :20]
    found = espirit_maps(arrays.fft2c(coil_images))
    n_coils, inside = coil_images.shape[0], found.support
    noise = air.abs().square().mean() * (n_coils - 1) * inside.sum()  # one part of n is explained
    expected = float((noise / coil_images[:, inside].abs().square().sum()).sqrt())
    assert coils.residual(coil_images, found) == pytest.approx(expected, rel=0.1)


def test_the_notebooks_comparison_with_sigpy_tells_right_maps_from_wrong_ones(kspace):
    kspace, settings = arrays.crop_or_pad(kspace, (27, 26)), numbers()
    found = espirit_maps(kspace, settings)
    wrong = dataclasses.replace(found, maps=found.maps.roll(1, 0))
    right, other = (coils.against_sigpy(kspace, maps, settings) for maps in (found, wrong))
    assert (right["coils"], right["pixels in the support"]) == ("4", str(int(found.support.sum())))
    assert float(right["aligned above 0.999"].rstrip("%")) > 99
    assert float(other["aligned above 0.999"].rstrip("%")) < 50


def test_parameters_change_support_and_residual_as_they_should(noiseless):
    rows = coils.parameter_table(noiseless[0], numbers())
    assert rows[0]["settings"] == "as given"
    by_name = {row["settings"]: float(row["support"]) for row in rows}
    assert by_name["crop 0.7"] > by_name["as given"] > by_name["crop 0.98"]


# --- many slices, part of the field of view, little memory ---------------------------


def several(kspace: Tensor) -> Tensor:
    """Three different slices (3, 4, 45, 38)."""
    return torch.stack([kspace, 3 * kspace.flip(-1), kspace.roll(2, -2)])


def assert_same_maps(found: coils.CoilMaps, reference: coils.CoilMaps) -> None:
    """Up to the tolerance at which power iteration stops."""
    torch.testing.assert_close(found.eigenvalues, reference.eigenvalues, rtol=0, atol=1e-4)
    inside = reference.support
    assert (coils.alignment(found.maps, reference.maps)[inside] > 1 - 1e-5).all()
    turn = (found.maps.conj() * reference.maps).sum(-3).angle()[inside]
    assert turn.abs().max() < 5e-3


def test_a_batch_gives_the_maps_of_its_slices(kspace):
    batch = several(kspace)
    together = espirit_maps(batch)
    assert together.maps.shape == (3, 4, 45, 38)
    assert together.threshold.shape == (3,)
    assert len(together) == 3
    for index in range(3):
        assert_same_maps(together[index], espirit_maps(batch[index]))


def test_leading_axes_of_any_number_come_back(kspace):
    batch = several(kspace)
    flat = espirit_maps(batch)
    deep = espirit_maps(batch[None, :, None])
    assert deep.maps.shape == (1, 3, 1, 4, 45, 38)
    assert deep.support.shape == (1, 3, 1, 45, 38)
    assert deep.crop.shape == (1, 3, 1)
    assert torch.equal(deep.maps[0, :, 0], flat.maps)


def test_little_memory_gives_the_same_maps(kspace):
    batch = several(kspace)
    assert_same_maps(espirit_maps(batch, memory_mb=1), espirit_maps(batch))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # so much is cut off that the rest folds
def test_maps_of_the_middle_are_those_of_the_cropped_images(kspace):
    cropped = arrays.crop_or_pad(arrays.ifft2c(kspace), (31, 38))
    expected = espirit_maps(arrays.fft2c(cropped))
    assert_same_maps(espirit_maps(kspace, image_shape=(31, 38)), expected)


def test_a_coarse_grid_is_nearly_every_pixel(real):
    volume = formats.read_raw(real / "multicoil" / "head_axial_t1_8coil.h5")
    kspace = volume.kspace[0]
    every, coarse = (espirit_maps(kspace, numbers(grid=g, gauge="bart")) for g in (0, 96))
    inside = every.support
    close = coils.alignment(coarse.maps, every.maps)[inside]
    assert (close > 0.999).float().mean() > 0.99
    assert close.quantile(0.01) > 0.998
    turn = (coarse.maps.conj() * every.maps).sum(0).angle()[inside]
    assert turn.abs().quantile(0.99) < 0.02
    images = arrays.ifft2c(kspace)
    assert coils.residual(images, coarse) < 1.01 * coils.residual(images, every)


def test_every_pixel_is_what_double_precision_gives(kspace):
    """The definition, slowly: kernels as images, a dense eigenproblem in every pixel."""
    found = espirit_maps(kspace, numbers(grid=0))
    calib = arrays.crop_or_pad(kspace, (24, 24)).to(torch.complex128)
    patches = [
        calib[:, y : y + 6, x : x + 6].flatten() for y in range(24 - 5) for x in range(24 - 5)
    ]
    _, singular, right = torch.linalg.svd(torch.stack(patches), full_matrices=False)
    kernels = right[singular > 0.02 * singular[0]].reshape(-1, 4, 6, 6)
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in (45, 38))
    steps = torch.arange(6, dtype=torch.float64)
    waves = [torch.exp(2j * torch.pi * at[:, None] * steps / len(at)) for at in (y, x)]
    images = torch.einsum("yd,xe,kcde->kcyx", *waves, kernels) / 6
    values, vectors = torch.linalg.eigh(torch.einsum("kcyx,kdyx->yxcd", images, images.conj()))
    trusted = values[..., -1] > 0.84  # air is left before it has settled, at a lower bound
    largest = found.eigenvalues.double()
    torch.testing.assert_close(largest[trusted], values[..., -1][trusted], rtol=0, atol=1e-4)
    assert (largest < values[..., -1] + 1e-4).all()
    reference = vectors[..., -1].permute(2, 0, 1).to(torch.complex64)
    assert coils.alignment(found.maps, reference)[found.support].min() > 1 - 1e-5


def test_the_same_call_gives_the_same_bits(kspace):
    one, other = (espirit_maps(several(kspace)) for _ in range(2))
    assert torch.equal(one.maps, other.maps)


# --- a field of view smaller than the object -----------------------------------------


@pytest.fixture
def folded(noiseless) -> Tensor:
    """K-space (4, 91, 38): every other column, so that the head folds onto itself."""
    coil_images, _, _ = noiseless
    return arrays.fft2c(coil_images)[..., ::2].contiguous()


def test_a_folded_object_is_told_with_its_share(folded):
    with pytest.warns(RuntimeWarning, match=r"in \d+% of the object one more set.*n_sets=2"):
        found = espirit_maps(folded)
    twice = (found.further > 0.9) & found.support
    assert twice.float().mean() > 0.1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_two_sets_explain_what_one_cannot(folded):
    images = arrays.ifft2c(folded)
    one = espirit_maps(folded)
    two = espirit_maps(folded, numbers(n_sets=2))
    assert two.maps.shape == (2, 4, 91, 38)
    assert two.eigenvalues.shape == (2, 91, 38)
    assert coils.residual(images, two) < 0.3 * coils.residual(images, one)
    # the sets stand at right angles where both are there, and have unit size
    both = two.eigenvalues[1] > two.crop
    assert both.sum() > 100
    assert (two.maps[0].conj() * two.maps[1]).sum(0)[both].abs().max() < 1e-3
    assert two.maps[1][:, ~both].abs().max() == 0
    # the sum over the sets is the folded image
    parts = coils.combine(images, two.maps)
    again = coils.expand(parts, two.maps).sum(0)
    left = (again - images)[:, both].norm() / images[:, both].norm()
    assert left < 0.05


def test_an_unfolded_head_needs_no_second_set(kspace, odd_scan, recwarn):
    found = espirit_maps(kspace)
    head = head_of(odd_scan)  # in air next to a loop noise fills what a second set could hold
    assert found.support[head].all()
    assert not (found.further > 0.9)[head].any()
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


# --- dead coils ----------------------------------------------------------------------


def test_a_dead_coil_is_told_and_its_map_is_zero(kspace):
    dead = kspace.clone()
    dead[2] = 0
    alive = espirit_maps(kspace[[0, 1, 3]])
    with pytest.warns(RuntimeWarning, match="coil 2 of 4 holds no signal: its map is zero"):
        found = espirit_maps(dead)
    assert found.maps[2].abs().max() < 1e-6
    trusted = alive.eigenvalues > 0.84  # below, air is left before it has settled
    torch.testing.assert_close(
        found.eigenvalues[trusted], alive.eigenvalues[trusted], rtol=0, atol=2e-3
    )
    close = coils.alignment(found.maps[[0, 1, 3]], alive.maps)[alive.support]
    assert close.min() > 0.9999


def test_a_coil_that_is_dead_in_one_slice_is_told_with_the_slice(kspace):
    batch = several(kspace)
    batch[1, 3] = 0
    with pytest.warns(RuntimeWarning, match="coil 3 of 4 holds no signal in slice 1: its map is"):
        found = espirit_maps(batch)
    assert found.maps[1, 3].abs().max() < 1e-6
    assert found.maps[0, 3].abs().max() > 0.1
    quality = coils.judge(arrays.ifft2c(batch), found)[1]
    assert "coil 3 of 4 holds no signal: its map is zero" in quality.flags


def test_views_and_gradients_are_taken_as_the_numbers_they_are(kspace):
    expected = espirit_maps(kspace, numbers(grid=20))
    for given in (kspace.conj().resolve_conj().conj(), kspace.clone().requires_grad_()):
        assert torch.equal(espirit_maps(given, numbers(grid=20)).maps, expected.maps)


def test_one_living_coil_is_not_enough(kspace):
    dead = torch.zeros_like(kspace)
    dead[1] = kspace[1]
    with pytest.raises(ValueError, match="only 1 of 4 coils holds signal"):
        espirit_maps(dead)


def test_a_dead_first_coil_leaves_its_gauge_finite(kspace):
    dead = kspace.clone()
    dead[0] = 0
    with pytest.warns(RuntimeWarning):
        found = espirit_maps(dead, numbers(gauge="coil0"))
    assert torch.isfinite(torch.view_as_real(found.maps)).all()


# --- bad input -----------------------------------------------------------------------


def spoiled(kspace: Tensor, value: complex) -> Tensor:
    kspace = kspace.clone()
    kspace[1, 3, 5] = value
    return kspace


BAD = {
    "one coil": (lambda k: k[:1], numbers(), "one coil; coil maps need at least two"),
    "rank": (lambda k: k[0], numbers(), r"shape \(45, 38\).*expected complex"),
    "real": (lambda k: k.real, numbers(), "float32; expected complex"),
    "NaN": (lambda k: spoiled(k, complex("nan")), numbers(), "holds 1 NaN or Inf"),
    "Inf": (lambda k: spoiled(k, complex("inf")), numbers(), "holds 1 NaN or Inf"),
    "zero": (torch.zeros_like, numbers(), "24x24 calibration region is all zero"),
    "small region": (
        lambda k: k,
        numbers(calib_width=11),
        "of 11x11 samples.*for a kernel of 6; expected at least twice",
    ),
    "small matrix": (lambda k: k[:, :9], numbers(), "of 9x24 samples.*for a kernel of 6"),
    "gauge": (lambda k: k, numbers(gauge="body"), "'body' is unknown; choose .*virtual"),
    "outside": (lambda k: k, numbers(outside="air"), "'air' is unknown; choose .*zero"),
    "threshold": (lambda k: k, numbers(threshold=2.0), 'threshold is 2.0.*or "auto"'),
    "crop": (lambda k: k, numbers(crop="high"), "crop is 'high'; expected a number"),
    "grid": (lambda k: k, numbers(grid=-1), "grid is -1; expected a whole number, at least 0"),
    "coarse grid": (lambda k: k, numbers(grid=3), "grid is 3; expected 4 points or more"),
    "width": (lambda k: k, numbers(calib_width=24.0), "calib_width is 24.0; expected a whole"),
    "sets": (lambda k: k, numbers(n_sets=4), "4 sets of maps from 4 coils"),
    "silent slice": (
        lambda k: torch.stack([k, 0 * k]),
        numbers(),
        "region of slice 1 is all zero",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_kspace_and_settings_are_refused(kspace, kind):
    make, settings, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        espirit_maps(make(kspace), settings)


def test_an_empty_calibration_region_is_refused(kspace):
    kspace = kspace.clone()
    kspace[:, 10:34, 7:31] = 0  # 24x24 about the centre at [22, 19]
    with pytest.raises(ValueError, match=r"calibration region is all zero.*leave the slice out"):
        espirit_maps(kspace)


def test_settings_do_not_change_the_kspace(kspace):
    before = kspace.clone()
    espirit_maps(kspace)
    assert torch.equal(kspace, before)
