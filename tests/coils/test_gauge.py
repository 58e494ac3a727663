"""The phase of maps: where poles must be, and where none may be."""

import pytest
import torch
from torch import Tensor

from synthlib import arrays, coils, formats
from synthlib.coils import EspiritSettings, gauge

HEADS = ("head_axial_t1_8coil", "head_axial_mprage_4coil", "head_axial_16coil_lowres")


def poles(maps: Tensor, inside: Tensor) -> int:
    """Loops of 2x2 pixels, all inside, round which the phase of maps (coil, y, x) gains a turn.

    The sum of the phase of <S, S'> round a loop is the maps' own curl, which is
    small, plus whole turns, which are the gauge's fault.
    """
    right = (maps[..., :-1].conj() * maps[..., 1:]).sum(0).angle()
    down = (maps[:, :-1].conj() * maps[:, 1:]).sum(0).angle()
    around = right[:-1] + down[:, 1:] - right[1:] - down[:, :-1]
    whole = inside[:-1, :-1] & inside[:-1, 1:] & inside[1:, 1:] & inside[1:, :-1]
    return int(((around.abs() > torch.pi) & whole).sum())


def twisted(ny: int, nx: int, seed: int = 4) -> Tensor:
    """Two coils whose relative phase turns about the middle: (2, y, x), phases at random.

    On a sphere of states they cover all but a cap, so that any fixed
    combination of them is dark somewhere.
    """
    y, x = torch.meshgrid(torch.linspace(-1, 1, ny), torch.linspace(-1, 1, nx), indexing="ij")
    radius, angle = torch.sqrt(y**2 + x**2).clamp(max=1), torch.atan2(y, x)
    tilt = 0.46 * torch.pi * radius
    maps = torch.stack([tilt.cos() + 0j, torch.polar(tilt.sin(), angle)])
    turn = 2 * torch.pi * torch.rand((ny, nx), generator=torch.Generator().manual_seed(seed))
    return maps * torch.polar(torch.ones_like(turn), turn)


def test_poles_are_counted():
    y, x = torch.meshgrid(torch.arange(9) - 4.5, torch.arange(8) - 3.5, indexing="ij")
    everywhere = torch.ones(9, 8, dtype=torch.bool)
    for phase, expected in ((torch.atan2(y, x), 1), (0.4 * x + 0.2 * y, 0)):
        maps = torch.polar(torch.ones(1, 9, 8) / 1, phase[None].float())
        assert poles(maps, everywhere) == expected


def test_smoothest_gauge_has_no_pole_where_every_fixed_coil_has_one():
    maps = twisted(37, 42)
    everywhere = torch.ones(37, 42, dtype=torch.bool)
    for weights in ([1, 0], [0, 1], [0.6, 0.8], [0.6, 0.8j]):
        fixed = gauge.towards(maps, torch.tensor(weights, dtype=torch.complex64))
        if weights != [1, 0]:
            assert poles(fixed, everywhere) > 0
    assert poles(gauge.smoothest(maps), everywhere) == 0


def test_smoothest_gauge_does_not_depend_on_the_phase_it_starts_from():
    one, other = (gauge.smoothest(twisted(37, 42, seed)) for seed in (4, 5))
    turn = (one.conj() * other).sum(0)
    turn = turn / turn.mean() * turn.mean().abs()
    assert turn.angle().abs().max() < 1e-3


def test_smoothest_gauge_changes_least():
    """No smooth change of phase makes the steps from pixel to pixel smaller."""
    maps = gauge.smoothest(twisted(37, 42))

    def change(maps: Tensor) -> float:
        right = (maps[..., :-1].conj() * maps[..., 1:]).sum(0).angle()
        down = (maps[:, :-1].conj() * maps[:, 1:]).sum(0).angle()
        return float(right.square().sum() + down.square().sum())

    y, x = torch.meshgrid(torch.linspace(-1, 1, 37), torch.linspace(-1, 1, 42), indexing="ij")
    for phase in (0.1 * x, -0.1 * y, 0.05 * x * y, 0.05 * (x**2 - y)):
        turned = maps * torch.polar(torch.ones_like(phase), phase)
        assert change(turned) > change(maps)


def test_maps_of_one_phase_lose_it():
    size = torch.rand((3, 15, 18), generator=torch.Generator().manual_seed(6)) + 0.1
    y, x = torch.meshgrid(torch.linspace(-1, 1, 15), torch.linspace(-1, 1, 18), indexing="ij")
    phase = 4 * x * y + 2 * x**2
    found = gauge.smoothest(torch.polar(size, phase.expand(3, 15, 18)))
    found = found / found[0, 0, 0] * found[0, 0, 0].abs()
    torch.testing.assert_close(found, size + 0j, rtol=0, atol=1e-4)


def test_anchor_makes_the_combined_sum_real_and_positive(odd_scan):
    images = odd_scan.volume.coil_images(0)
    found = coils.espirit_maps(arrays.fft2c(images))
    turned = gauge.anchor(found.maps * torch.polar(torch.tensor(1.0), torch.tensor(2.0)), images)
    total = (turned.conj() * images).sum()
    assert abs(total.angle()) < 1e-4


@pytest.fixture(params=HEADS)
def measured(real, request) -> Tensor:
    """K-space (coil, ky, kx) of a measured head, odd inner part."""
    volume = formats.read_raw(real / "multicoil" / f"{request.param}.h5")
    ny, nx = volume.image_shape
    return arrays.crop_or_pad(volume.kspace[0], (min(ny, 115) - 1, min(nx, 103)))


def test_measured_heads_have_no_pole_by_default(measured):
    found = coils.espirit_maps(measured)
    assert found.support.float().mean() > 0.3
    assert poles(found.maps, found.support) == 0


@pytest.mark.parametrize(
    ("name", "head"), [("bart", "head_axial_mprage_4coil"), ("coil0", "head_axial_16coil_lowres")]
)
def test_fixed_coils_do_have_poles_inside_measured_heads(real, name, head):
    """Why the default is neither BART's rotation nor coil 0."""
    volume = formats.read_raw(real / "multicoil" / f"{head}.h5")
    kspace = arrays.crop_or_pad(volume.kspace[0], (115, 103))
    found = coils.espirit_maps(kspace, EspiritSettings(gauge=name))
    assert poles(found.maps, found.support) > 0
    assert int(coils.poles(found.maps)[found.support[:-1, :-1]].sum()) > 0


def test_gauges_differ_in_the_phase_of_pixels_alone(measured):
    by_name = {
        name: coils.espirit_maps(measured, EspiritSettings(gauge=name))
        for name in ("virtual", "bart", "coil0")
    }
    for found in by_name.values():
        inner = coils.alignment(found.maps, by_name["virtual"].maps)
        torch.testing.assert_close(inner, torch.ones_like(inner), rtol=0, atol=1e-4)
        assert torch.equal(found.eigenvalues, by_name["virtual"].eigenvalues)


def test_phase_of_the_combined_image_follows_the_gauge(measured):
    """Magnitude stays; the phases differ by that of the maps, on the circle."""
    images = arrays.ifft2c(measured)
    virtual, bart = (
        coils.espirit_maps(measured, EspiritSettings(gauge=name)) for name in ("virtual", "bart")
    )
    one, other = (coils.combine(images, found.maps) for found in (virtual, bart))
    torch.testing.assert_close(
        one.abs(), other.abs(), rtol=1e-3, atol=1e-3 * float(one.abs().max())
    )
    between = (virtual.maps.conj() * bart.maps).sum(0).angle()
    inside = virtual.support & (one.abs() > 0.1 * one.abs().max())
    error = arrays.wrap(one.angle() - other.angle() - between)[inside]
    assert error.abs().max() < 1e-2
