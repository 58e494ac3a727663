"""The metric card against counts by fastMRI's own masks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fastmri.data.subsample import EquispacedMaskFractionFunc
from fastmri.data.transforms import apply_mask

from synthlib import arrays, pairs
from synthlib.recon import samples
from synthlib.records import RawVolume
from synthlib.study import card


def scan(name, patient_id="a", n_slices=3, shape=(90, 77), recon=(45, 60), acquired=(10, 77)):
    """A scan whose k-space nobody looks at; files of pairs do not exist."""
    kspace = torch.zeros(n_slices, 2, *shape, dtype=torch.complex64)
    raw = RawVolume(name, patient_id, "AXT2", kspace, recon, acquired)
    return pairs.PreparedVolume(raw, Path("no such file"))


def value_of(rows, item):
    (value,) = [row["value"] for row in rows if row["item"] == item]
    return value


def counted(name, n_columns, nominal, acquired, fraction):
    """Measured columns, by fastMRI."""
    make = EquispacedMaskFractionFunc([fraction], [nominal])
    seed = tuple(map(ord, f"{name}.h5"))
    lines = torch.ones(1, n_columns, 2)
    return int(apply_mask(lines, make, seed=seed, padding=acquired)[0].sum()) // 2


def test_the_card_tells_both_accelerations_of_padded_scans():
    names = [f"scan{number}" for number in range(7)]
    rows = card.metric_card([scan(name) for name in names], [3, 8], 0.05)
    for item, n_columns in (("all", 77), ("acquired", 67)):
        parts = value_of(rows, f"achieved R, {item} columns").split("; ")
        for part, nominal in zip(parts, (3, 8), strict=True):
            reached = [n_columns / counted(n, 77, nominal, (10, 77), 0.05) for n in names]
            assert max(reached) > min(reached) + 0.01
            span = f" ({min(reached):.2f} to {max(reached):.2f})"
            assert part == f"R = {nominal}: {np.mean(reached):.2f}{span}"
    assert value_of(rows, "centre lines") == "4 of 77 columns"
    assert value_of(rows, "acquired columns") == "67 of 77"
    assert value_of(rows, "centre fraction") == "0.05"


def test_one_mask_has_no_range():
    rows = card.metric_card([scan("scan1")], [4], 0.05)
    reached = 67 / counted("scan1", 77, 4, (10, 77), 0.05)
    assert value_of(rows, "achieved R, acquired columns") == f"R = 4: {reached:.2f}"


def test_the_crop_is_that_of_the_samples():
    odd = scan("scan1", shape=(90, 77), recon=(45, 60))
    kspace = torch.ones(2, *odd.raw.image_shape)
    maps = torch.ones(2, *odd.raw.image_shape)
    expected = samples.undersample(kspace, maps, odd, card._mask(odd, 4, 0.05), 1.0).crop
    assert card.crop_of(odd) == expected == (45, 60)
    whole = scan("scan2", shape=(45, 38), recon=(50, 40), acquired=(0, 38))
    value = value_of(card.metric_card([odd, odd, whole], [4], 0.06), "crop")
    assert value == (
        "centre 45 x 60 of 90 x 77, the scanner's own image; none, 45 x 38 is all that was acquired"
    )


def test_many_matrices_are_counted_not_listed():
    many = [scan(f"s{n}", shape=(90, n), recon=(45, 60), acquired=(0, n)) for n in range(77, 84)]
    value = value_of(card.metric_card(many, [4], 0.05), "acquired columns")
    assert value == "77 of 77; 78 of 78; 79 of 79; 80 of 80; 3 others"


def test_patients_scans_and_slices_are_counted():
    scans = [scan("s1", "a"), scan("s2", "a", n_slices=1), scan("s3", "b")]
    assert (
        value_of(card.metric_card(scans, [4], 0.05), "test data") == "2 patients, 3 scans, 7 slices"
    )
    assert value_of(card.metric_card(scans[1:2], [4], 0.05), "test data") == (
        "1 patient, 1 scan, 1 slice"
    )


def test_tests_have_one_mask_a_volume_and_training_one_a_slice_as_the_card_says(study, tmp_path):
    volume = study["test"][0]
    (mask, *others) = [sample.mask for sample in samples.measured_volume(volume, 4, 0.04)]
    assert all(torch.equal(mask.columns, other.columns) for other in others)
    assert torch.equal(mask.columns, card._mask(volume, 4, 0.04).columns)
    data = samples.TrainingData(samples.GROUND_TRUTH, study["train"], tmp_path)
    slices, drawn = samples.TrainingSamples([data], [4], 0.04, 1), set()
    for slices.epoch in (0, 1):
        drawn |= {tuple(slices[k].mask.columns.tolist()) for k in range(4)}
    assert len(drawn) > 1


def test_the_target_is_the_rss_as_the_card_says(study):
    volume = study["test"][0]
    for index, sample in enumerate(samples.measured_volume(volume, 4, 0.04)):
        expected = arrays.rss(volume.raw.coil_images(index))
        torch.testing.assert_close(sample.target, expected, rtol=1e-4, atol=1e-9)


def test_a_card_of_nothing_is_refused():
    with pytest.raises(ValueError, match="0 scans and 1 accelerations"):
        card.metric_card([], [4], 0.04)
    with pytest.raises(ValueError, match="1 scans and 0 accelerations"):
        card.metric_card([scan("s")], [], 0.04)
    with pytest.raises(ValueError, match=r"R = 4 and centre fraction 0\.3"):
        card.metric_card([scan("s")], [4], 0.3)
