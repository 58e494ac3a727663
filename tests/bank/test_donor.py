"""Coil maps in head coordinates: there and back, to other heads, and to fewer coils."""

import dataclasses
import itertools

import pytest
import torch

from synthlib import arrays, bank, coils
from synthlib.bank import building


def spread(few, head, index, shape):
    """Maps at pixels, as a receiver makes them."""
    wy, wx = bank.weights(head, index, shape)
    maps = torch.complex(wy @ few.real @ wx.T, wy @ few.imag @ wx.T)
    return maps / arrays.rss(maps)


def smooth_maps(v, u):
    """Five smooth maps as functions of head coordinates, complex (coil, y, x), unit norm."""
    v, u = v[:, None], u[None, :]
    maps = torch.stack(
        [
            torch.polar(1.2 + a * u + b * v, 0.7 * c * u - 0.5 * a * v)
            for a, b, c in (
                (0.3, 0.1, 1),
                (-0.3, 0.2, -1),
                (0.1, -0.4, 0.5),
                (0, 0.3, 2),
                (0.2, 0, 0),
            )
        ]
    )
    return maps / arrays.rss(maps)


def at(head, index, shape):
    """Head coordinates of rows and columns."""
    return [
        (torch.arange(n) - head.centre[index, axis]) / head.half[index, axis]
        for axis, n in enumerate(shape)
    ]


def outline_of(shape, centre, half):
    return bank.Outline(
        torch.tensor([centre]), torch.tensor([half]), torch.ones(1), torch.ones((1, *shape)).bool()
    )


def test_maps_travel_to_a_head_of_another_place_size_and_pixel():
    here = outline_of((77, 66), (40.0, 30.0), (30.0, 24.0))
    there = outline_of((131, 95), (60.2, 50.7), (41.0, 37.5))
    few = bank.to_head(smooth_maps(*at(here, 0, (77, 66))), here.centre[0], here.half[0])
    found = spread(few, there, 0, (131, 95))
    v, u = at(there, 0, (131, 95))
    expected = smooth_maps(v, u)
    # the donor's field of view ends at 1.2 half axes: beyond it maps are a mirror's
    inside = (v[:, None].abs() < 1.15) & (u.abs() < 1.15)
    assert (found - expected).abs()[:, inside].max() < 2e-3


def test_a_measured_head_keeps_its_maps_on_the_way_there_and_back(head_scan):
    images = head_scan.volume.coil_images(1)
    found = coils.espirit_maps(arrays.fft2c(images))
    head = bank.outline(arrays.rss(images)[None])
    few = bank.to_head(found.maps, head.centre[0], head.half[0])
    back = spread(few, head, 0, images.shape[-2:])
    alignment = (back.conj() * found.maps).sum(0)[found.support]
    assert alignment.abs().quantile(0.01) > 0.997
    assert alignment.angle().abs().quantile(0.99) < 0.01


def test_readout_oversampling_adds_rows_around_the_same_maps():
    head = outline_of((40, 33), (18.0, 17.0), (15.0, 12.0))
    few = bank.to_head(smooth_maps(*at(head, 0, (40, 33))), head.centre[0], head.half[0])
    plain, wide = spread(few, head, 0, (40, 33)), spread(few, head, 0, (80, 33))
    torch.testing.assert_close(arrays.crop_or_pad(wide, (40, 33)), plain)


def test_fewer_coils_keep_more_of_the_maps_than_any_of_the_coils_do(head_scan):
    maps = head_scan.truth["maps"].to(torch.complex64)
    maps = maps / arrays.rss(maps)[:, None]
    head = bank.outline(head_scan.truth["magnitude"])
    few = torch.stack([bank.to_head(m, head.centre[i], head.half[i]) for i, m in enumerate(maps)])
    covariance = torch.eye(8, dtype=torch.complex64)
    inside = (torch.linspace(-2, 2, 64)[:, None].square() + torch.linspace(-2, 2, 64).square()) < 1
    fewer, smaller = bank.compress(few, covariance, 5)
    torch.testing.assert_close(arrays.rss(fewer), torch.ones(3, 64, 64), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(smaller, torch.eye(5, dtype=torch.complex64), rtol=0, atol=1e-5)
    vectors = few[..., inside].movedim(1, 0).flatten(1)  # (coil, pixels)
    left = torch.linalg.svd(vectors, full_matrices=False)[0][:, :5]
    best = torch.einsum("cv,scyx->svyx", left.conj(), few)
    best = best / arrays.rss(best)[:, None]
    # singular vectors are free up to a phase each: what each virtual coil sees is not
    torch.testing.assert_close(fewer.abs(), best.abs(), rtol=1e-2, atol=2e-3)
    strongest = vectors.abs().square().sum(1).argsort(descending=True)[:5]
    assert (left.mH @ vectors).norm() > 1.02 * vectors[strongest].norm()


def test_correlated_noise_stays_what_it_is_in_virtual_coils():
    """Coil images of noise, compressed, have the covariance that compress() tells."""
    rng = torch.Generator().manual_seed(4)
    mix = torch.randn(6, 6, dtype=torch.complex64, generator=rng)
    covariance = mix @ mix.mH / 6 + torch.eye(6)
    head = outline_of((40, 33), (18.0, 17.0), (15.0, 12.0))
    maps = torch.cat([smooth_maps(*at(head, 0, (40, 33))), torch.zeros(1, 40, 33)])
    few = bank.to_head(maps, head.centre[0], head.half[0])[None]
    _, smaller = bank.compress(few, covariance, 4)
    inside = (torch.linspace(-2, 2, 64)[:, None].square() + torch.linspace(-2, 2, 64).square()) <= 1
    vectors = few[..., inside].movedim(1, 0).flatten(1)
    left = torch.linalg.svd(vectors, full_matrices=False)[0][:, :4]
    expected = left.mH @ covariance @ left
    expected = expected / expected.diagonal().real.mean()
    # singular vectors are free up to a phase each: eigenvalues are not
    torch.testing.assert_close(
        torch.linalg.eigvalsh(smaller), torch.linalg.eigvalsh(expected), rtol=1e-3, atol=1e-3
    )


def test_noise_covariance_is_the_scanners_own(head_scan, tmp_path):
    path = tmp_path / "donor.h5"
    place = building.Place("axial", "head", 15.0)
    building.make(
        path, head_scan.volume, settings=coils.EspiritSettings(), place=place, name="d", key="k"
    )
    found = bank.Donor.open(path).read(8).covariance
    true = head_scan.truth["noise_covariance"].to(torch.complex64)
    true = true / true.diagonal().real.mean()
    assert (found - true).abs().max() < 0.1
    off = true - torch.diag(true.diagonal())
    assert off.abs().max() > 0.1  # else white noise would pass, too
    root = bank.Donor.open(path).read(8).root
    torch.testing.assert_close(root @ root.mH, found, rtol=1e-4, atol=1e-4)


def test_a_donor_tells_what_it_is(head_scan, tmp_path):
    path = tmp_path / "donor.h5"
    place = building.Place("axial", "head", 15.0)
    building.make(
        path, head_scan.volume, settings=coils.EspiritSettings(), place=place, name="d", key="k"
    )
    donor = bank.Donor.open(path)
    assert (donor.n_coils, donor.n_slices, donor.orientation) == (8, 3, "axial")
    steps = [b - a for a, b in zip(donor.levels_mm, donor.levels_mm[1:], strict=False)]
    assert steps == [15.0, 15.0] and 0.0 in donor.levels_mm
    assert donor.half_mm[0] == pytest.approx(100, abs=15)
    assert donor.quality["noise"] == "air"
    with pytest.raises(ValueError, match="8 coils; 9 were asked for"):
        donor.read(9)


def test_a_file_of_another_kind_is_no_donor(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match=r"x\.h5 is no donor of a coil bank, or damaged"):
        bank.Donor.open(path)


def test_coronal_donors_count_their_slices_to_the_back_as_archives_do(monkeypatch, tmp_path):
    monkeypatch.setattr(building.runs, "resolve", lambda path: tmp_path / path)
    monkeypatch.setattr(building, "SIMULATED_SUBJECTS", 1)
    (donor,) = bank.open_bank("simulated", n_coils=4, orientation="coronal").donors
    assert donor.orientation == "coronal"
    levels = donor.levels_mm
    assert all(later < earlier for earlier, later in itertools.pairwise(levels))


def test_a_donor_keeps_no_free_text_of_its_protocol(head_scan, tmp_path):
    volume = dataclasses.replace(head_scan.volume, contrast="MEIER^ANNA t2_tse_tra")
    building.make(
        tmp_path / "donor.h5", volume, settings=coils.EspiritSettings(), place=bank.Place(),
        name="donor", key="key",
    )  # fmt: skip
    donor = bank.Donor.open(tmp_path / "donor.h5")
    assert (donor.contrast, donor.orientation) == ("AXT2", "axial")
    assert b"MEIER" not in (tmp_path / "donor.h5").read_bytes()
