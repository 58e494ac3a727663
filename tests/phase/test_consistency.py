"""The loss in k-space: closed forms, an FFT that is not ours, and gradients."""

import math

import numpy as np
import pytest
import torch

from synthlib import pairs
from synthlib.phase import consistency

SHAPE = (2, 19, 14)


@pytest.fixture
def slices(draw):
    """Scaled magnitude (2, 1, 19, 14) and phase (2, 19, 14) in (-pi, pi)."""
    magnitude = torch.rand(2, 1, *SHAPE[1:], generator=draw, dtype=torch.float64) * 2 - 1
    phase = (torch.rand(SHAPE, generator=draw, dtype=torch.float64) * 2 - 1) * 3.1
    return magnitude, phase


def loss(synthetic, target, magnitude, mode):
    of = [pairs.phase_to_target(phase, mode) for phase in (synthetic, target)]
    return consistency.kspace_loss(*of, magnitude, mode)


def mean_kspace(magnitude, phase):
    """Mean |k| by NumPy, which knows nothing of centres: its order does not change a mean."""
    image = (magnitude[:, 0].numpy() + 1) / 2 * np.exp(1j * phase.numpy())
    return float(np.abs(np.fft.fft2(image, norm="ortho")).mean())


@pytest.mark.parametrize("mode", ["scalar", "vector"])
def test_a_constant_error_costs_its_chord_times_the_mean_of_k_space(slices, mode):
    magnitude, phase = slices
    for error in (0.3, -1.2, math.pi):
        found = float(loss(torch.remainder(phase + error, 2 * math.pi), phase, magnitude, mode))
        expected = 2 * abs(math.sin(error / 2)) * mean_kspace(magnitude, phase)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("mode", ["scalar", "vector"])
def test_a_whole_turn_costs_nothing(slices, mode):
    magnitude, phase = slices
    assert float(loss(phase + 2 * math.pi, phase, magnitude, mode)) < 1e-12
    assert float(loss(phase, phase, magnitude, mode)) == 0


def test_another_phase_costs_what_an_fft_of_numpy_says(slices, draw):
    magnitude, phase = slices
    other = phase + torch.randn(SHAPE, generator=draw, dtype=torch.float64)
    signal = (magnitude[:, 0].numpy() + 1) / 2
    difference = signal * (np.exp(1j * other.numpy()) - np.exp(1j * phase.numpy()))
    expected = float(np.abs(np.fft.fft2(difference, norm="ortho")).mean())
    for mode in ("scalar", "vector"):
        assert float(loss(other, phase, magnitude, mode)) == pytest.approx(expected, rel=1e-9)


def test_air_without_signal_does_not_count(slices, draw):
    magnitude, phase = slices
    magnitude[..., :6] = -1
    other = phase.clone()
    other[..., :6] = torch.rand(2, 19, 6, generator=draw, dtype=torch.float64)
    assert float(loss(other, phase, magnitude, "scalar")) < 1e-12


def test_the_length_of_a_vector_does_not_count(slices):
    magnitude, phase = slices
    target = pairs.phase_to_target(phase, "vector")
    found = consistency.kspace_loss(0.01 * target, target, magnitude, "vector")
    assert float(found) < 1e-12


@pytest.mark.parametrize("mode", ["scalar", "vector"])
def test_gradients_are_finite_also_at_no_error_and_lead_to_less_loss(slices, mode):
    magnitude, phase = slices
    target = pairs.phase_to_target(phase, mode)
    for start in (target.clone(), torch.zeros_like(target)):
        synthetic = start.requires_grad_()
        consistency.kspace_loss(synthetic, target, magnitude, mode).backward()
        assert synthetic.grad.isfinite().all()
    synthetic = (0.5 * target).requires_grad_()
    if mode == "vector":
        synthetic = (0.5 * target + 0.2).detach().requires_grad_()
    before = consistency.kspace_loss(synthetic, target, magnitude, mode)
    before.backward()
    step = synthetic - 1e-3 * synthetic.grad / synthetic.grad.norm()
    assert consistency.kspace_loss(step, target, magnitude, mode) < before


def test_half_precision_is_computed_in_single(slices):
    magnitude, phase = slices
    target = pairs.phase_to_target(phase, "scalar").float()
    synthetic = (target * 0.9).to(torch.bfloat16)
    found = consistency.kspace_loss(synthetic, target, magnitude.float(), "scalar")
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(
        float(consistency.kspace_loss(synthetic.float(), target, magnitude.float(), "scalar"))
    )
