"""Smooth random phase against polynomials written with numpy."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from synthlib import pairs
from synthlib.phase import polynomial

SHAPE = (45, 38)
N_TERMS = 14  # x^i y^j of total degree 1 to 4


def smooth_phase(shape):
    """A polynomial of total degree 4 in monomials, several turns across the field of view."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    smooth = 6 * y - 4 * x + 5 * x * y - 3 * y**2 + 2 * x**3 - 2.5 * x**2 * y + 1.5 * y**4
    return torch.from_numpy(smooth + x**3 * y)


def turned(phase, reference, weight=1.0):
    """Difference on the circle after the best constant: what is left has no meaning of its own."""
    error = (phase - reference).double()
    difference = torch.polar(torch.ones_like(error), error)
    mean = (weight * difference).sum()
    return (difference * mean.conj() / mean.abs()).angle()


def drawn_once(coefficients, shape=SHAPE, seed=1):
    """The phase of given coefficients, by statistics that have no spread."""
    n = len(coefficients)
    fixed = polynomial.PolynomialStatistics(
        coefficients.double(), torch.zeros(n, n, dtype=torch.float64)
    )
    return fixed.draw(shape, torch.Generator().manual_seed(seed))


def test_a_known_polynomial_is_recovered_from_its_wrapped_phase():
    truth = smooth_phase(SHAPE)
    wrapped = torch.atan2(truth.sin(), truth.cos()).float()
    assert (torch.diff(wrapped, dim=0).abs() > math.pi).any()  # it does wrap
    coefficients = polynomial.fit(wrapped, torch.ones(SHAPE))
    assert coefficients.shape == (N_TERMS,)
    assert turned(drawn_once(coefficients), truth).abs().max() < 1e-3


def test_air_without_weight_does_not_disturb_the_fit():
    truth = smooth_phase(SHAPE)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    inside = (y / 0.8) ** 2 + (x / 0.7) ** 2 < 1
    noise = math.pi * (1 - 2 * torch.rand(SHAPE, generator=torch.Generator().manual_seed(2)))
    phase = torch.where(inside, torch.atan2(truth.sin(), truth.cos()).float(), noise)
    fitted = drawn_once(polynomial.fit(phase, inside.float()))
    assert turned(fitted, truth, inside)[inside].abs().max() < 1e-2


def test_tissue_of_another_sign_does_not_pull_the_surface_aside():
    """Signals that are negative turn the phase by half a turn, and noise decides how it steps."""
    truth = smooth_phase(SHAPE)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    fluid = ((y + 0.1) / 0.3) ** 2 + ((x - 0.2) / 0.4) ** 2 < 1
    fat = y**2 + x**2 > 1.4  # off resonance, by 0.8 rad
    phase = (truth + math.pi * fluid + 0.8 * fat).float()
    noise = 0.05 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    phase = torch.remainder(phase + noise + math.pi, 2 * math.pi) - math.pi
    assert 0.08 < fluid.float().mean() < 0.12 and 0.05 < fat.float().mean() < 0.1
    left = turned(phase, drawn_once(polynomial.fit(phase, torch.ones(SHAPE))))[~fluid & ~fat]
    assert left.square().mean().sqrt() < 0.25  # differences of neighbours alone leave 1.4


def test_a_slice_without_a_head_has_no_surface_and_stops_nothing():
    coefficients = polynomial.fit(smooth_phase(SHAPE).float(), torch.zeros(SHAPE))
    assert coefficients.shape == (N_TERMS,) and not coefficients.any()


def test_the_polynomial_of_another_matrix_covers_the_same_field_of_view():
    coefficients = polynomial.fit(smooth_phase(SHAPE), torch.ones(SHAPE))
    other = (31, 62)
    assert turned(drawn_once(coefficients, other), smooth_phase(other)).abs().max() < 1e-3


def test_drawn_phases_have_the_mean_and_covariance_asked_for():
    rng = np.random.default_rng(3)
    mean = rng.normal(0, 0.1, N_TERMS)
    # rank 5, as from five scans; smooth enough to be fitted without doubt
    mixing = rng.normal(0, 0.1, (N_TERMS, 5))
    asked = polynomial.PolynomialStatistics(
        torch.from_numpy(mean), torch.from_numpy(mixing @ mixing.T)
    )
    draw, n, shape = torch.Generator().manual_seed(4), 300, (18, 15)
    fits = np.stack(
        [polynomial.fit(asked.draw(shape, draw), torch.ones(shape)).numpy() for _ in range(n)]
    )
    covariance = mixing @ mixing.T
    standard_error = np.sqrt(np.diag(covariance) / n)
    assert (np.abs(fits.mean(0) - mean) < 4 * standard_error + 1e-3).all()
    found = np.cov(fits.T)
    error = np.linalg.norm(found - covariance) / np.linalg.norm(covariance)
    assert error < 0.25
    values = np.linalg.eigvalsh(found)[::-1]
    assert values[5] < 1e-3 * values[4]  # nothing in directions that no scan had


def test_the_constant_of_drawn_phases_is_uniform_on_the_circle():
    flat = polynomial.PolynomialStatistics(
        torch.zeros(N_TERMS, dtype=torch.float64),
        torch.zeros(N_TERMS, N_TERMS, dtype=torch.float64),
    )
    draw = torch.Generator().manual_seed(5)
    images = [flat.draw((3, 4), draw) for _ in range(400)]
    assert all(bool((image == image[0, 0]).all()) for image in images)
    constants = np.array([float(image[0, 0]) for image in images])
    assert stats.kstest(constants, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 0.01


def test_statistics_of_scans_are_those_of_their_fits(study):
    slices = pairs.all_pairs(study["gan"])[:5]
    found = polynomial.fit_statistics(slices)
    fits = np.stack(
        [polynomial.fit(pair.phase, pair.magnitude * pair.head).numpy() for pair in slices]
    )
    np.testing.assert_allclose(found.mean.numpy(), fits.mean(0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.covariance.numpy(), np.cov(fits.T), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("contrast", ["AXT1", "AXT2", "AXFLAIR"])
def test_a_fit_to_measured_phase_explains_much_of_it(study, contrast):
    # decay along an echo train turns the phase at every edge of tissue
    pair = next(one for one in study["gan"] if one.raw.contrast == contrast).pair(1)
    weight = pair.magnitude * pair.head
    fitted = drawn_once(polynomial.fit(pair.phase, weight), tuple(pair.phase.shape))
    zero = torch.zeros_like(fitted)

    def left(phase):
        return float((weight * turned(pair.phase, phase, weight).abs()).sum() / weight.sum())

    assert left(fitted) < 0.5 * left(zero)


def test_one_slice_is_too_few_for_statistics(study):
    with pytest.raises(ValueError, match=r"1 slices .* two or more"):
        polynomial.fit_statistics([study["gan"][0].pair(0)])


def test_a_draw_does_not_hang_on_the_sign_of_eigenvectors(monkeypatch):
    """Which LAPACK chooses as it likes: another machine would draw other phases."""
    matrix = torch.randn(N_TERMS, 9, generator=torch.Generator().manual_seed(3)).double()
    statistics = polynomial.PolynomialStatistics(torch.zeros(N_TERMS).double(), matrix @ matrix.mT)
    expected = statistics.draw(SHAPE, torch.Generator().manual_seed(1))
    eigh = torch.linalg.eigh
    signs = (-1.0) ** torch.arange(N_TERMS)
    monkeypatch.setattr(torch.linalg, "eigh", lambda m: (eigh(m)[0], eigh(m)[1] * signs))
    phase = statistics.draw(SHAPE, torch.Generator().manual_seed(1))
    assert turned(phase, expected).abs().max() < 1e-5
