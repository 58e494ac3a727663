"""Image quality against fastMRI, phase errors on the circle, means by patient."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fastmri import evaluate
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from synthlib import arrays, metrics, tables
from synthlib.records import PhasePair


@pytest.fixture
def volumes(draw) -> tuple[torch.Tensor, torch.Tensor]:
    """A target (3, 45, 38) whose slices differ in brightness, and a noisy copy."""
    target = torch.rand(3, 45, 38, generator=draw) * torch.tensor([1.0, 0.3, 2.0])[:, None, None]
    return target, target + 0.1 * torch.randn(target.shape, generator=draw)


def test_image_quality_is_that_of_fastmri(volumes):
    target, image = volumes
    found = metrics.image_quality(target, image)
    truth, result = target.numpy(), image.numpy()
    assert found["PSNR"] == pytest.approx(float(evaluate.psnr(truth, result)), rel=1e-6)
    assert found["NMSE"] == pytest.approx(float(evaluate.nmse(truth, result)), rel=1e-6)
    assert found["SSIM"] == pytest.approx(evaluate.ssim(truth, result).item(), rel=1e-6)


def test_image_quality_follows_its_formulas(volumes):
    target, image = volumes
    found = metrics.image_quality(target, image)
    error = (image - target).double().square()
    assert found["NMSE"] == pytest.approx(
        float(error.sum() / target.double().square().sum()), rel=1e-5
    )
    assert found["PSNR"] == pytest.approx(
        10 * math.log10(float(target.max()) ** 2 / float(error.mean())), rel=1e-5
    )
    top = float(target.max())  # of the volume, not of the slice
    by_slice = [
        structural_similarity(t.numpy(), i.numpy(), win_size=7, data_range=top)
        for t, i in zip(target, image, strict=True)
    ]
    assert found["SSIM"] == pytest.approx(np.mean(by_slice), rel=1e-5)


def test_hand_computed_quality():
    target, image = torch.ones(1, 8, 8), torch.ones(1, 8, 8)
    image[0, 0, 0] = 3.0  # error 4 over 64 pixels of 1
    found = metrics.image_quality(target, image)
    assert found["NMSE"] == pytest.approx(4 / 64)
    assert found["PSNR"] == pytest.approx(10 * math.log10(16))
    assert metrics.image_quality(target, target)["SSIM"] == pytest.approx(1)


def test_volumes_that_do_not_fit_are_refused():
    volume = torch.ones(2, 9, 8)
    for target, image in ((volume, volume[:1]), (volume[0], volume[0]), (volume, volume.mT)):
        with pytest.raises(ValueError, match="expected two volumes"):
            metrics.image_quality(target, image)
    with pytest.raises(ValueError, match="target volume is all zero"):
        metrics.image_quality(torch.zeros(2, 9, 8), volume)


def test_head_psnr_leaves_air_out_and_keeps_the_range():
    target, image = torch.zeros(2, 9, 8), torch.zeros(2, 9, 8)
    head = torch.zeros(2, 9, 8, dtype=torch.bool)
    head[0, 2:6, 3:5], head[1, 4, 4:8] = True, True  # 8 + 4 pixels of 144
    target[head] = 2.0
    target[0, 0, 0] = 5.0  # the brightest pixel lies outside: it is the range of both
    image.copy_(target)
    image[head] += 0.5  # mean squared error 0.25 in the head
    quality = metrics.image_quality(target, image, head)
    assert quality["head_PSNR"] == pytest.approx(10 * math.log10(25 / 0.25))
    # what is without error, air, makes PSNR better by the share of pixels
    assert quality["PSNR"] - quality["head_PSNR"] == pytest.approx(10 * math.log10(144 / 12))
    image[~head] = -3.0  # an error in air alone
    worse = metrics.image_quality(target, image, head)
    assert worse["head_PSNR"] == pytest.approx(quality["head_PSNR"])
    assert worse["PSNR"] < quality["PSNR"] - 10


def test_head_psnr_is_that_of_skimage_with_the_volumes_maximum(volumes, draw):
    target, image = volumes
    head = torch.rand(target.shape, generator=draw) > 0.7
    quality = metrics.image_quality(target, image, head)
    expected = peak_signal_noise_ratio(
        target[head].numpy(), image[head].numpy(), data_range=float(target.max())
    )
    assert quality["head_PSNR"] == pytest.approx(expected, abs=1e-4)
    whole = metrics.image_quality(target, image, torch.ones_like(head))
    assert whole["head_PSNR"] == pytest.approx(whole["PSNR"], abs=1e-4)
    others = {name: quality[name] for name in metrics.NAMES}
    assert others == metrics.image_quality(target, image)


def test_the_range_cancels_when_two_reconstructions_are_compared(volumes):
    target, image = volumes
    head = target > 0.1
    target[1, 0, 0] = 0.0
    bright = target.clone()
    bright[1, 0, 0] = 50.0  # outside of the head
    head[1, 0, 0] = False
    better = 0.5 * (target + image)
    for volume in (target, bright):
        gain = (
            metrics.image_quality(volume, better, head)["head_PSNR"]
            - metrics.image_quality(volume, image, head)["head_PSNR"]
        )
        assert gain == pytest.approx(20 * math.log10(2), abs=1e-3)  # half of the error


def test_heads_that_do_not_fit_are_refused(volumes):
    target, image = volumes
    for head in (target[:1] > 0, target, torch.zeros(target.shape, dtype=torch.bool)):
        with pytest.raises(ValueError, match="expected a bool of the target's shape"):
            metrics.image_quality(target, image, head)


def test_the_head_of_a_volume_is_that_of_its_slices_on_the_metrics_grid():
    pair = ramp_pair(0.4)
    dark = replace(pair, magnitude=pair.magnitude * (torch.arange(38) != 19))
    head = metrics.volume_head([pair, dark], (31, 40))
    assert head.shape == (2, 31, 40)
    y, x = torch.meshgrid(torch.arange(31) - 15.0, torch.arange(40) - 20.0, indexing="ij")
    disc = y.square() + x.square() < 15**2
    assert torch.equal(head[0], disc)
    assert torch.equal(head[1], disc & (x != 0))


def test_every_metric_has_a_direction_a_label_a_unit_and_digits():
    assert metrics.NAMES == ("PSNR", "NMSE", "SSIM")  # the paper's Tables S1 to S6
    for names in (metrics.HIGHER_IS_BETTER, metrics.LABELS, metrics.UNITS, tables.DIGITS):
        assert set(names) == set(metrics.ALL_NAMES)
    rows = [
        {"n_coils": 8, "source": source, "acceleration": 4, "seed": 1, "volume": "a",
         "head_PSNR": value}
        for source, value in (("zero", 20.123), ("gan", 21.456))
    ]  # fmt: skip
    table = tables.benchmark(rows, {"zero": "Zero", "gan": "GAN"}, "head_PSNR", 8, ["zero", "gan"])
    lines = table["csv"].splitlines()
    assert lines == ['"PSNR in the head (dB), 8 coils",R = 4', "Zero,20.12", "GAN,21.46"]
    assert "| GAN | **21.46** |" in table["md"]


# --- phase ---------------------------------------------------------------------------


def test_phase_errors_are_taken_on_the_circle():
    phase, reference = torch.tensor([3.1, -3.1, 0.5, 3.0]), torch.tensor([-3.1, 3.1, 0.2, -0.5])
    turn = 2 * math.pi
    expected = torch.tensor([6.2 - turn, turn - 6.2, 0.3, 3.5 - turn])
    torch.testing.assert_close(metrics.phase_error(phase, reference), expected)


@pytest.mark.parametrize("offset", [0.4, 3.0, -2.9, math.pi])
def test_a_constant_offset_does_not_count(one_slice, offset):
    magnitude, phase, _ = one_slice
    turned = arrays.wrap(phase + offset)
    error = metrics.mean_abs_phase_error(turned, phase, magnitude)
    assert error < 1e-4
    aligned = metrics.align_constant(turned, phase, magnitude)
    torch.testing.assert_close(
        arrays.wrap(aligned - phase), torch.zeros_like(phase), rtol=0, atol=1e-4
    )
    assert aligned.max() <= torch.tensor(torch.pi)
    assert aligned.min() > -torch.tensor(torch.pi)


def test_mean_phase_error_is_weighted_and_symmetric():
    reference = torch.full((4, 4), 3.1)  # close to the wrap
    step = torch.zeros(4, 4)
    step[:2], step[2:] = 0.3, -0.3
    weight = torch.ones(4, 4)
    weight[:, 3] = 0  # what lies outside
    step[:, 3] = 2.0
    for sign in (1, -1):
        error = metrics.mean_abs_phase_error(
            arrays.wrap(reference + sign * step), reference, weight
        )
        assert error == pytest.approx(0.3, abs=1e-5)


def test_random_phase_is_half_pi_off_on_average(draw):
    phase = torch.pi * (2 * torch.rand(200, 201, generator=draw) - 1)
    weight = torch.ones_like(phase)
    error = metrics.mean_abs_phase_error(phase, torch.zeros_like(phase), weight)
    assert error == pytest.approx(math.pi / 2, abs=0.03)


def ramp_pair(step: float) -> PhasePair:
    """A disc in air; phase climbs by `step` per row and wraps many times."""
    y, x = torch.meshgrid(torch.arange(45) - 22.0, torch.arange(38) - 19.0, indexing="ij")
    disc = y.square() + x.square() < 15**2
    return PhasePair(
        name="ramp#0",
        volume="ramp",
        patient_id="p",
        contrast="AXT2",
        slice_index=0,
        position=0.0,
        magnitude=disc.float(),
        phase=arrays.wrap(step * y),
        support=disc,
        recon_shape=(45, 38),
        acquired=(0, 38),
    )


def test_phase_steps_are_those_of_neighbours_on_the_circle():
    pair = ramp_pair(0.4)
    steps = metrics.phase_steps([pair, pair])
    head = sorted({round(value, 3) for value in steps.head.tolist()})
    assert head == [0.0, 0.4]  # along rows and along columns, no jump at the wrap
    inside = pair.head
    n_both = sum(
        int((inside.narrow(a, 0, n) & inside.narrow(a, 1, n)).sum()) for a, n in ((0, 44), (1, 37))
    )
    assert steps.head.numel() == 2 * n_both
    outside = ~pair.support
    n_air = sum(
        int((outside.narrow(a, 0, n) & outside.narrow(a, 1, n)).sum())
        for a, n in ((0, 44), (1, 37))
    )
    assert steps.air.numel() == 2 * n_air


def test_a_row_about_a_source_counts_the_head_only():
    pair = ramp_pair(0.4)
    phase = torch.where(pair.head, arrays.wrap(pair.phase + 1.0), 0.0)
    row = metrics.phase_error_row("copy", [pair, replace(pair, phase=pair.phase)], [phase, phase])
    assert row == {
        "phase": "copy",
        "slices": "2",
        "mean difference (rad)": "0.00",
        "median step (rad)": row["median step (rad)"],
    }
    assert row["median step (rad)"] in ("0.00", "0.40")


# --- means ---------------------------------------------------------------------------


def test_seed_means_are_over_each_patients_scans_then_over_patients_in_order_of_seeds():
    def row(seed: int, value: float, patient: str = "a", **other: object) -> dict[str, object]:
        base = {"n_coils": 8, "source": "zero", "acceleration": 4, "seed": seed, "PSNR": value}
        return base | {"patient": patient, "volume": f"{patient} {value}"} | other

    rows = [
        row(2, 10.0),
        row(1, 1.0),
        row(2, 20.0, "b"),
        row(1, 3.0, "b"),
        row(1, 5.0, "b"),
        row(1, 9.0, "b"),
        row(1, 99.0, n_coils=4),
        row(1, 99.0, source="random"),
        row(1, 99.0, acceleration=8),
    ]
    # not 18 / 4: the three scans of one patient count as one
    assert metrics.seed_means(rows, 8, "zero", 4, "PSNR") == [(1 + 17 / 3) / 2, 15.0]
    assert metrics.seed_means(rows, 8, "measured", 4, "PSNR") == []
    assert metrics.means_of_seeds(rows, "PSNR")[1] == 15.0


def test_without_patients_every_volume_is_one():
    rows = [
        {"seed": 1, "volume": volume, "PSNR": value}
        for volume, value in (("a", 1.0), ("b", 3.0), ("b", 7.0))
    ]
    assert metrics.means_of_seeds(rows, "PSNR") == [3.0]
