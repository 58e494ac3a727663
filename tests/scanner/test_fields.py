"""Phase mechanisms against their closed forms."""

import math

import pytest
import torch

from synthlib.scanner import anatomy, fields

OMEGA = 2 * math.pi * 42.577e6 * 3.0


def cylinder(ny: int, nx: int, spacing: tuple[float, float], radius: float) -> torch.Tensor:
    """Fraction of each pixel inside a centred circle, from 8 x 8 sub-positions."""
    points = anatomy.positions((ny, nx), (ny * spacing[0], nx * spacing[1]), torch.zeros(1), 8)
    inside = (points[..., :2].norm(dim=-1) < radius).float()
    return torch.nn.functional.avg_pool2d(inside, 8)[0]


@pytest.mark.parametrize("spacing", [(2.0, 2.0), (1.5, 2.5)])
def test_phase_of_a_conducting_cylinder_is_the_closed_form(spacing):
    sigma, radius, reach = 0.6, 60.0, fields.REFERENCE_MM
    fraction = cylinder(121, 90, spacing, radius)
    phase = fields.transmit_phase(sigma * fraction, spacing, 3.0)
    fov = (121 * spacing[0], 90 * spacing[1])
    r = anatomy.positions((121, 90), fov, torch.zeros(1))[0, ..., :2].norm(dim=-1)  # mm
    inside = r**2 - radius**2 + 2 * radius**2 * math.log(radius / reach)
    outside = 2 * radius**2 * (r / reach).clamp(min=1e-3).log()
    expected = 4e-7 * math.pi * OMEGA * sigma / 4 * 1e-6 * torch.where(r < radius, inside, outside)
    assert expected.max() - expected.min() > 1
    assert (phase - expected).abs().max() < 2e-3


def test_spin_echo_carries_the_transmit_phase_twice():
    sigma = 0.5 * cylinder(40, 33, (4.0, 4.0), 50.0)
    once = fields.transmit_phase(sigma, (4.0, 4.0), 3.0)
    torch.testing.assert_close(fields.transceive_phase(sigma, (4.0, 4.0), 3.0), 2 * once)


def test_timing_phase_is_a_plane():
    points = anatomy.positions((31, 24), (200.0, 180.0), torch.tensor([-5.0, 5.0]))
    phase = fields.timing_phase(points, (200.0, 180.0), torch.Generator().manual_seed(1))
    assert phase.diff(n=2, dim=1).abs().max() < 1e-5
    assert phase.diff(n=2, dim=2).abs().max() < 1e-5
    assert phase.diff(dim=1).abs().max() > 1e-4


def test_residual_field_without_air_obeys_laplace(monkeypatch):
    monkeypatch.setattr(fields, "AIR_MINUS_TISSUE", 0.0)
    axis = torch.linspace(-1, 1, 9).double() * 60
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    field = fields.residual_field_hz(
        torch.stack([x, y, z], -1).float(), 3.0, torch.Generator().manual_seed(1)
    )
    middle = slice(1, -1)
    laplacian = (
        field[:, middle, middle].diff(n=2, dim=0)
        + field[middle, :, middle].diff(n=2, dim=1)
        + field[middle, middle, :].diff(n=2, dim=2)
    )
    assert field.abs().max() > 1
    assert laplacian.abs().max() < 1e-4 * field.abs().max()


def test_field_of_the_air_filled_sinus_is_a_dipole(monkeypatch):
    steps = torch.tensor([[0.0, 0.0, 40.0], [40.0, 0.0, 0.0]])  # along B0, across B0
    points = torch.tensor(fields.SINUS_MM) + steps
    with_air = fields.residual_field_hz(points, 3.0, torch.Generator().manual_seed(1))
    monkeypatch.setattr(fields, "AIR_MINUS_TISSUE", 0.0)
    along, across = with_air - fields.residual_field_hz(
        points, 3.0, torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(along, -2 * across, rtol=1e-3, atol=0)
    assert along > 1
