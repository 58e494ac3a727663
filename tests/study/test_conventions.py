"""PSNR and SSIM by several conventions, against closed forms, skimage and fastMRI."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from fastmri import evaluate
from skimage.metrics import structural_similarity

from synthlib import arrays, metrics
from synthlib.recon import grid, masks, samples
from synthlib.study import conventions


@pytest.fixture
def volume(draw):
    """Three slices of 47x40, of unlike brightness; the scanner's own image is 31x26."""
    y, x = torch.meshgrid(torch.arange(47) - 23.0, torch.arange(40) - 20.0, indexing="ij")
    head = (y / 13).square() + (x / 9).square() < 1
    target = (head + 0.05 + 0.2 * torch.rand(3, 47, 40, generator=draw)) * torch.tensor(
        [1.0, 3.0, 2.0]
    ).view(3, 1, 1)
    noise = torch.randn(3, 47, 40, generator=draw)
    return conventions.Reconstructed(
        patient_id="a",
        target=target,
        combined=0.9 * target + 0.05 * noise.abs(),
        image=target + 0.1 * noise,
        head=head.expand(3, 47, 40).clone(),
        crop=(31, 26),
    )


def cut(part):
    """The centre 31x26 of 47x40, by hand."""
    return part[:, 8:39, 7:33].numpy()


def skimage_ssim(target, image, ranges, **how):
    slices = zip(target, image, ranges, strict=True)
    return np.mean([structural_similarity(t, i, data_range=top, **how) for t, i, top in slices])


def psnr(error, top):
    return 10 * math.log10(float(top) ** 2 / float(np.mean(np.square(error, dtype=float))))


def test_fastmris_convention_is_that_of_the_projects_metrics(volume):
    scores = conventions.convention_spread([volume])[conventions.FASTMRI]
    target, image = cut(volume.target), cut(volume.image)
    assert scores["PSNR"] == pytest.approx(float(evaluate.psnr(target, image)), rel=1e-6)
    assert scores["SSIM"] == pytest.approx(evaluate.ssim(target, image).item(), rel=1e-6)
    quality = metrics.image_quality(torch.from_numpy(target), torch.from_numpy(image))
    assert scores == {name: pytest.approx(quality[name], rel=1e-6) for name in ("PSNR", "SSIM")}


def test_every_convention_is_what_its_name_says(volume):
    scores = conventions.convention_spread([volume])
    assert list(scores) == list(conventions.CONVENTIONS)
    t, i, c = cut(volume.target), cut(volume.image), cut(volume.combined)
    tops, spans = t.max((1, 2)), t.max((1, 2)) - t.min((1, 2))
    full_t, full_i = volume.target.numpy(), volume.image.numpy()
    box_t, box_i = full_t[:, 11:36, 12:29], full_i[:, 11:36, 12:29]  # |y| < 13, |x| < 9
    head = cut(volume.head)
    maps = [
        structural_similarity(*both, data_range=t.max(), full=True)[1]
        for both in zip(t, i, strict=True)
    ]
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = {
        "maximum of each slice": (
            np.mean([psnr(t[k] - i[k], tops[k]) for k in range(3)]),
            skimage_ssim(t, i, tops),
        ),
        "no crop": (
            psnr(full_t - full_i, full_t.max()),
            skimage_ssim(full_t, full_i, [full_t.max()] * 3),
        ),
        "crop to the head's box": (
            psnr(box_t - box_i, box_t.max()),
            skimage_ssim(box_t, box_i, [box_t.max()] * 3),
        ),
        "head's pixels only": (
            psnr((t - i)[head], t.max()),
            np.mean([maps[k][head[k]].mean() for k in range(3)]),
        ),
        "combined (SENSE) target": (psnr(c - i, c.max()), skimage_ssim(c, i, [c.max()] * 3)),
        "skimage's defaults, slice by slice": (
            np.mean([psnr(t[k] - i[k], spans[k]) for k in range(3)]),
            skimage_ssim(t, i, spans),
        ),
        "Wang's SSIM (Gaussian window)": (
            psnr(t - i, t.max()),
            skimage_ssim(t, i, [t.max()] * 3, **wang),
        ),
    }
    assert set(expected) == set(scores) - {conventions.FASTMRI}
    for name, (expected_psnr, expected_ssim) in expected.items():
        assert scores[name]["PSNR"] == pytest.approx(expected_psnr, abs=1e-4), name
        assert scores[name]["SSIM"] == pytest.approx(expected_ssim, abs=1e-6), name
    assert len({round(values["SSIM"], 6) for values in scores.values()}) == len(scores)


def test_slice_maxima_cost_what_the_closed_form_says(volume):
    # The same error in two slices whose maxima are 1 and 4: 20 log10(4) / 2 = 6.02 dB.
    target = torch.full((2, 31, 26), 0.5)
    target[0, 15, 13], target[1, 15, 13] = 1.0, 4.0
    image = target + 0.01
    pair = dataclasses.replace(
        volume, target=target, combined=target, image=image, head=target > 0.9
    )
    pair.head[:, 10:22, 8:20] = True  # a box that holds a window of 11 pixels
    scores = conventions.convention_spread([pair])
    whole, by_slice = scores[conventions.FASTMRI], scores["maximum of each slice"]
    assert whole["PSNR"] == pytest.approx(20 * math.log10(400), abs=1e-3)
    assert whole["PSNR"] - by_slice["PSNR"] == pytest.approx(10 * math.log10(4), abs=1e-3)
    assert "no crop" not in scores  # 31x26 is the crop


def test_air_without_error_makes_psnr_better_by_its_share_of_pixels(volume):
    inside = arrays.crop_or_pad(torch.ones(3, 31, 26, dtype=torch.bool), (47, 40))
    image = torch.where(inside, volume.image, volume.target)
    scores = conventions.convention_spread([dataclasses.replace(volume, image=image)])
    gain = scores["no crop"]["PSNR"] - scores[conventions.FASTMRI]["PSNR"]
    assert gain == pytest.approx(10 * math.log10(47 * 40 / (31 * 26)), abs=1e-3)


def test_the_mean_is_over_patients_not_over_volumes(volume):
    worse = dataclasses.replace(
        volume,
        patient_id="b",
        image=2 * volume.image - volume.target,  # twice the error
    )
    both = conventions.convention_spread([volume, volume, volume, worse])
    alone, other = (conventions.convention_spread([v]) for v in (volume, worse))
    for name, values in both.items():
        for metric in ("PSNR", "SSIM"):
            expected = (alone[name][metric] + other[name][metric]) / 2
            assert values[metric] == pytest.approx(expected, rel=1e-9)
    fastmri = both[conventions.FASTMRI]["PSNR"]
    assert fastmri == pytest.approx(
        alone[conventions.FASTMRI]["PSNR"] - 10 * math.log10(2), abs=1e-4
    )


def test_volumes_that_cannot_be_judged_are_refused(volume):
    with pytest.raises(ValueError, match="expected four volumes"):
        dataclasses.replace(volume, image=volume.image[:, :31])
    dark = volume.target.clone()
    dark[1] = 0
    with pytest.raises(ValueError, match="slice 1 of the target is all zero"):
        dataclasses.replace(volume, target=dark)
    with pytest.raises(ValueError, match="the head is empty"):
        dataclasses.replace(volume, head=torch.zeros_like(volume.head))
    with pytest.raises(ValueError, match="no volumes to score"):
        conventions.convention_spread([])


# --- from a scan --------------------------------------------------------------------------


def test_a_scans_targets_are_its_rss_and_its_combination(study):
    scan = study["test"][0]
    slices = samples.measured_volume(scan, 4, 0.04)
    image = torch.stack([grid.zero_filled(sample) for sample in slices])
    judged = conventions.reconstructed(scan, image)
    assert torch.equal(judged.image, image)
    for index in range(scan.n_slices):
        coil_images, maps = scan.raw.coil_images(index).numpy(), scan.maps(index).numpy()
        rss = np.sqrt((abs(coil_images) ** 2).sum(0))
        np.testing.assert_allclose(judged.target[index], rss, rtol=1e-4)
        combined = abs((maps.conj() * coil_images).sum(0))  # maps of unit root sum of squares
        np.testing.assert_allclose(
            judged.combined[index], combined, rtol=1e-3, atol=1e-3 * rss.max()
        )
        assert (combined <= rss * (1 + 1e-5)).all()  # Cauchy and Schwarz
        assert torch.equal(judged.head[index], scan.pair(index).head)
    scores = conventions.convention_spread([judged])
    quality = metrics.image_quality(
        torch.stack([sample.target for sample in slices]), image, judged.head
    )
    assert scores[conventions.FASTMRI]["PSNR"] == pytest.approx(quality["PSNR"], abs=1e-3)
    assert scores["head's pixels only"]["PSNR"] == pytest.approx(quality["head_PSNR"], abs=1e-3)
    assert "no crop" not in scores


def test_with_a_mask_the_image_is_continued_over_all_that_was_acquired(study, draw):
    scan = study["test"][0]
    raw = scan.raw
    assert raw.kspace.shape[-2] == 2 * raw.image_shape[0]  # the readout is oversampled
    mask = masks.of_volume(scan.name, raw.image_shape[1], 4, center_fraction=0.04)
    own = torch.rand(scan.n_slices, *raw.image_shape, generator=draw)
    judged = conventions.reconstructed(scan, own, mask)
    assert judged.image.shape == (scan.n_slices, *raw.kspace.shape[-2:])
    assert torch.equal(arrays.crop_or_pad(judged.image, raw.image_shape), own)
    thinned = raw.signal(1).numpy() * mask.columns.numpy()
    coil_images = np.fft.ifft2(np.fft.ifftshift(thinned, axes=(1, 2)), norm="ortho")
    zero_filled = np.fft.fftshift(np.sqrt((abs(coil_images) ** 2).sum(0)))
    first = raw.image_shape[0] // 2  # of 2n rows the centre n begin at n / 2
    np.testing.assert_allclose(judged.image[1, :first], zero_filled[:first], rtol=1e-3, atol=1e-9)
    alone = conventions.convention_spread([conventions.reconstructed(scan, own)])
    spread = conventions.convention_spread([judged])
    assert set(spread) == set(alone) | {"no crop"}
    for name, values in alone.items():  # more air is seen by nothing else
        assert values == {m: pytest.approx(spread[name][m], abs=1e-4) for m in values}


def test_an_image_that_was_cropped_already_is_refused(study):
    scan = study["test"][0]
    with pytest.raises(ValueError, match=r"expected \(2, 48, 40\), the reconstruction before"):
        conventions.reconstructed(scan, torch.ones(2, 48, 38))


# --- table and sentence -------------------------------------------------------------------

SENSE = {"x": {"PSNR": 25.0, "SSIM": 0.7}, "y": {"PSNR": 28.125, "SSIM": 0.65}}
ZERO = {"x": {"PSNR": 21.0, "SSIM": 0.6}, "y": {"PSNR": 26.0, "SSIM": 0.64}}


def test_the_table_has_a_row_for_every_convention():
    assert conventions.spread_table({"SENSE": SENSE, "Zero": ZERO})[1] == {
        "convention": "y",
        "SENSE: PSNR (dB)": "28.12",
        "SENSE: SSIM": "0.650",
        "Zero: PSNR (dB)": "26.00",
        "Zero: SSIM": "0.640",
    }


def test_the_sentence_tells_the_spread_and_whether_the_order_stays():
    assert conventions.spread_sentence({"SENSE": SENSE}) == (
        "SENSE: the same images score 25.00 to 28.12 dB and SSIM 0.650 to 0.700 under 2 "
        "conventions, a spread of 3.12 dB and 0.050."
    )
    both = conventions.spread_sentence({"SENSE": SENSE, "Zero": ZERO})
    assert both.endswith(
        "SENSE less Zero: +2.12 to +4.00 dB, SSIM +0.010 to +0.100; every convention puts them in "
        "the same order."
    )
    turned = {**ZERO, "y": {"PSNR": 26.0, "SSIM": 0.66}}  # SSIM alone changes its mind
    both = conventions.spread_sentence({"SENSE": SENSE, "Zero": turned})
    assert both.endswith("not every convention puts them in the same order.")
