"""Repair gives back the images that were measured, on the grid that was measured."""

import dataclasses

import pytest
import torch

from synthlib import arrays, audit
from synthlib.audit import defects, repairing, trials
from synthlib.records import ImageVolume, Placement


def report_of(grid, true):
    return dataclasses.replace(audit.Audit((), grid, true))


@pytest.mark.parametrize("factors", [(2.0, 1.5), (1.25, 1.0)])
def test_a_zero_filled_scan_comes_back(scan, factors):
    filled = trials.magnitude_of(defects.zero_fill(scan.kspace, factors))
    ny, nx = scan.magnitude.shape[-2:]
    volume = ImageVolume("a", "p", "AXT1", filled, spacing_mm=(0.5, 0.8))
    mended = audit.repair(volume, report_of(tuple(filled.shape[-2:]), (ny, nx)))
    assert mended.magnitude.shape == scan.magnitude.shape
    ratio = (mended.magnitude * scan.magnitude).sum() / scan.magnitude.square().sum()
    scale = ((ny * nx) / (filled.shape[-1] * filled.shape[-2])) ** 0.5  # of orthonormal transforms
    assert ratio == pytest.approx(scale, rel=0.01)
    inside = scan.head & (scan.magnitude > 0.5 * scan.magnitude[scan.head].median())
    error = (mended.magnitude / scale - scan.magnitude)[inside]
    assert error.square().mean().sqrt() < 0.02 * scan.magnitude[inside].mean()


def test_spacing_labels_and_notes_follow():
    labels = torch.zeros(2, 64, 96, dtype=torch.uint8)
    labels[:, 32:, 48:] = 5  # begins at the centre, which stays the centre
    volume = ImageVolume(
        "a", "p", "AXT1", torch.ones(2, 64, 96), spacing_mm=(1.0, 0.5), labels={"l": labels},
        facts={"interpolated": True, "te_ms": 3.0}, notes=("read",),
    )  # fmt: skip
    mended = audit.repair(volume, report_of((64, 96), (48, 41)))
    assert mended.spacing_mm == pytest.approx((64 / 48, 0.5 * 96 / 41))
    assert mended.labels["l"].shape == (2, 48, 41) and mended.labels["l"].dtype == torch.uint8
    assert (mended.labels["l"][:, 24:, 20:] == 5).all()
    assert not mended.labels["l"][:, :24].any() and not mended.labels["l"][:, :, :20].any()
    assert mended.notes[0] == "read" and "64x96 to the true matrix 48x41" in mended.notes[1]
    assert mended.facts == {"te_ms": 3.0}
    torch.testing.assert_close(mended.magnitude, torch.ones(2, 48, 41))
    assert volume.magnitude.shape == (2, 64, 96)


def test_nothing_is_done_where_there_is_nothing_to_do(scan):
    volume = ImageVolume("a", "p", "AXT1", scan.magnitude)
    report = audit.examine(volume)
    assert not report.repairable
    assert audit.repair(volume, report) is volume


def test_a_report_of_another_grid_is_refused(scan):
    volume = ImageVolume("a", "p", "AXT1", scan.magnitude)
    with pytest.raises(ValueError, match="the audit is of a grid of 64x64, a has 161x132"):
        audit.repair(volume, report_of((64, 64), (32, 32)))


def test_a_repaired_volume_is_not_repaired_again(scan):
    filled = trials.magnitude_of(defects.zero_fill(scan.kspace, (1.6, 1.6)))
    volume = ImageVolume("a", "p", "AXT1", filled)
    mended = audit.repair(volume, audit.examine(volume))
    assert not audit.examine(mended)["zero_filled"].found


def test_nearest_takes_the_label_below_each_new_pixel():
    labels = torch.arange(8)[None, None].expand(1, 3, 8)
    assert repairing.nearest(labels, (3, 4))[0, 0].tolist() == [0, 2, 4, 6]


def test_a_repaired_image_lies_where_it_lay():
    # a bright point at the pixel of zero frequency's origin is on that pixel of either grid
    magnitude = torch.zeros(1, 12, 9)
    magnitude[0, 6, 4] = 1
    placement = Placement((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), ((10.0, 20.0, 5.0),))
    volume = ImageVolume("v", "p", "AXT2", magnitude, (1.0, 2.0), placement=placement)
    small = arrays.resample(magnitude[0].to(torch.complex64), (7, 9)).abs()
    assert divmod(int(small.argmax()), 9) == (7 // 2, 9 // 2)
    fine = placement.centres_mm((12, 9), volume.spacing_mm)
    coarse = placement.centres_mm((7, 9), (12 / 7, 2.0))
    # the centre of the field of view less the way from pixel n // 2 to it, on either grid
    assert fine[0][1] == pytest.approx(20 - 0.5 * 1.0) and coarse[0][1] == pytest.approx(20.0)


def test_an_axis_that_the_header_shortens_and_the_image_does_not_is_named():
    facts = {"acquisition_matrix": (32, 41)}
    volume = ImageVolume("a", "p", "AXT1", torch.ones(2, 64, 96), facts=facts)
    mended = audit.repair(volume, report_of((64, 96), (64, 41)))
    assert "ky was left: the header says 32 encoded of 64, but" in mended.notes[0]
    assert "kx was left" not in mended.notes[0]
    assert "left" not in audit.repair(volume, report_of((64, 96), (32, 41))).notes[0]
