"""Smooth phase of whole scans against polynomials written out in millimetres."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from synthlib.phase import smooth
from synthlib.phase.flow import smooth_examples

SHAPE, SPACING_MM = (45, 38), (4.1, 5.3)
HEIGHTS = (-1.0, -0.4, 0.1, 1.0)
# i, j of (y / 100 mm)^i (x / 100 mm)^j in the order of the coefficients
ORDERS = [(i, j) for i in range(5) for j in range(5 - i) if i + j > 0]


def written_out(here, constant, shape, spacing_mm):
    """The polynomial by NumPy, from millimetres: float64 (y, x)."""
    y, x = (
        (np.arange(n) - n // 2)[:, None] * mm / 100 for n, mm in zip(shape, spacing_mm, strict=True)
    )
    terms = [value * y**i * x.T**j for value, (i, j) in zip(here, ORDERS, strict=True)]
    return np.sum(terms, axis=0) + constant


def coefficients(seed):
    """(2, 15): several turns across the head, a turn and more along the stack."""
    rng = np.random.default_rng(seed)
    middle, change = rng.normal(0, 3, 15), rng.normal(0, 0.5, 15)
    change[-1] = 1.4
    return torch.from_numpy(np.stack([middle, change]))


@pytest.mark.parametrize("height", HEIGHTS)
def test_the_surface_is_the_polynomial_in_millimetres(height):
    both = coefficients(1)
    here = (both[0] + height * both[1]).numpy()
    expected = written_out(here[:-1], here[-1], SHAPE, SPACING_MM)
    surface = smooth.surface(both, SHAPE, SPACING_MM, height)
    np.testing.assert_allclose(surface.numpy(), expected, atol=1e-5)


def test_finer_pixels_show_the_same_phase_at_the_same_place():
    both = coefficients(2)
    coarse = smooth.surface(both, (21, 17), (9.0, 7.5), 0.3)
    fine = smooth.surface(both, (63, 51), (3.0, 2.5), 0.3)
    torch.testing.assert_close(fine[1::3, 1::3], coarse, rtol=0, atol=1e-5)


@pytest.mark.parametrize("unknown", [(math.nan, math.nan), (0.0, 0.0), (math.inf, 2.0)])
def test_pixels_of_unknown_size_are_those_of_a_usual_field_of_view(unknown):
    both = coefficients(3)
    usual = smooth.USUAL_FOV_MM / max(SHAPE)
    torch.testing.assert_close(
        smooth.surface(both, SHAPE, unknown, 0.0), smooth.surface(both, SHAPE, (usual, usual), 0.0)
    )


def scan(both, seed):
    """Wrapped noisy slices of a scan, in another order than they lie, each turned as it came."""
    rng = np.random.default_rng(seed)
    slices = []
    for height in (0.1, 1.0, -1.0, -0.4):
        here = (both[0] + height * both[1]).numpy()
        phase = written_out(here[:-1], here[-1], SHAPE, SPACING_MM) + rng.normal(0, 0.02, SHAPE)
        wrapped = torch.from_numpy(np.angle(np.exp(1j * phase))).float()
        slices.append(smooth.SliceOfScan(wrapped, torch.ones(SHAPE), SPACING_MM, height))
    return slices


def test_a_fit_gives_back_what_a_scan_was_made_of():
    both = coefficients(4)
    values = smooth.fit_scan(scan(both, 5))
    assert values.shape == (29,)
    # as phase, for terms of high order trade against each other where the noise lets them
    for height in HEIGHTS:
        here = torch.cat([values[:14] + height * values[14:28], (height * values[28])[None]])
        fitted = smooth.surface(torch.stack([here, 0 * here]), SHAPE, SPACING_MM, 0.0)
        truth = smooth.surface(both, SHAPE, SPACING_MM, height)
        left = torch.polar(torch.ones_like(truth), fitted - truth + float(both[0, -1]))
        assert left.angle().abs().max() < 0.05


def test_a_small_slice_leaves_high_orders_to_the_large_ones():
    """Of a vertex 9 pixels wide nothing could be told beyond its middle."""
    both = 0.5 * coefficients(4)
    slices = scan(both, 5)
    small = torch.zeros(SHAPE)
    small[18:27, 15:24] = 1
    slices[1] = dataclasses.replace(slices[1], weight=small)
    values = smooth.fit_scan(slices)
    for height in (-1.0, 0.1):
        here = torch.cat([values[:14] + height * values[14:28], torch.zeros(1)])
        fitted = smooth.surface(torch.stack([here, 0 * here]), SHAPE, SPACING_MM, 0.0)
        truth = smooth.surface(both, SHAPE, SPACING_MM, height)
        off = torch.polar(torch.ones_like(truth), fitted - truth)
        off = off * off.mean().conj()
        assert off.angle().abs().max() < 0.15


def test_one_slice_is_no_scan():
    with pytest.raises(ValueError, match="1 slices of a scan"):
        smooth.fit_scan(scan(coefficients(6), 7)[:1])


def statistics(seed=8, n=400):
    rng = np.random.default_rng(seed)
    root = rng.normal(0, 1, (29, 29)) * rng.uniform(0, 1, 29)
    scans = torch.from_numpy(rng.normal(0, 1, (n, 29)) @ root + rng.normal(0, 2, 29))
    return scans, smooth.fit_statistics(list(scans))


def test_draws_have_the_statistics_of_the_scans():
    scans, fitted = statistics()
    draws = torch.stack([fitted.draw(torch.Generator().manual_seed(i)) for i in range(2000)])
    # at the middle, but for the constant, then the changes
    drawn = torch.cat([draws[:, 0, :-1], draws[:, 1]], 1).numpy()
    error = scans.numpy().std(0) / math.sqrt(2000)
    assert (np.abs(drawn.mean(0) - scans.numpy().mean(0)) < 4.5 * error).all()
    covariance, expected = np.cov(drawn.T), np.cov(scans.numpy().T)
    assert np.abs(covariance - expected).max() < 0.12 * expected.diagonal().max()
    constants = np.sort(draws[:, 0, -1].numpy()) / math.pi  # uniform on the circle
    assert np.abs(constants - np.linspace(-1, 1, 2000)).max() < 0.1


def test_a_scan_of_one_seed_is_one_scan():
    _, fitted = statistics()
    once, again = (fitted.draw(torch.Generator().manual_seed(3)) for _ in range(2))
    other = fitted.draw(torch.Generator().manual_seed(4))
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_statistics_are_written_and_read_back():
    _, fitted = statistics()
    tensors = smooth.to_tensors({"axial": fitted}) | {"enter.weight": torch.zeros(1)}
    back = smooth.from_tensors(tensors)
    assert list(back) == ["axial"]
    assert torch.equal(back["axial"].covariance, fitted.covariance)


def test_few_scans_have_no_statistics():
    scans, _ = statistics()
    with pytest.raises(ValueError, match="7 scans to learn"):
        smooth.fit_statistics(list(scans[:7]))


def test_simulated_scans_have_smooth_phase_that_repeats():
    named = list(smooth_examples.scans_of(1, "axial", seed=5))
    labels, scans = zip(*named, strict=True)
    assert len(set(labels)) == len(scans) == smooth_examples.CONTRASTS_EACH
    assert all(values.shape == (29,) and values.isfinite().all() for values in scans)
    assert torch.equal(scans[0], next(smooth_examples.scans_of(1, "axial", seed=5))[1])
    # timing, shim and receivers of each scan are its own: turns across the head, not hundredths
    across = [
        smooth.surface(torch.stack([torch.cat([values[:14], torch.zeros(1)]), torch.zeros(15)]),
                       (23, 19), (8.0, 8.0), 0.0)
        for values in scans
    ]  # fmt: skip
    assert all(0.2 < float(surface.std()) < 30 for surface in across)
