"""What is said of measured scans: gains counted by hand from rows made by hand."""

import math

import pytest
from scipy import stats

from synthlib.recon import grid
from synthlib.study import head_report, heads

STRONG, CHOSEN = heads.STRONGEST, grid.L1_WAVELET
GAINS = {"t1": [[0.5, 1.5], [1.0, 3.0]], "mprage": [[-2.0, 0.0], [-1.0, -1.0]]}  # (mask, seed)


def by_hand(**changes):
    """Two scans, two masks, two seeds; l1-wavelet in hindsight 30 and 40 dB under the masks."""
    rows = []
    for scan, gains in GAINS.items():
        for mask, by_seed in enumerate(gains, start=1):
            level = 20.0 + 10 * mask
            classical = {STRONG: level, CHOSEN: level - 1}
            classical |= {grid.CG_SENSE: level - 4, grid.CG_SENSE + heads.HINDSIGHT: level - 2}
            place = {"scan": scan, "mask": mask}
            rows += [{**place, "source": s, "seed": 0, "PSNR": v} for s, v in classical.items()]
            rows += [
                {**place, "source": "gan", "seed": seed, "PSNR": level + gain}
                for seed, gain in enumerate(by_seed, start=1)
            ]
    return [{**row, "SSIM": row["PSNR"] / 100, "head_PSNR": row["PSNR"] - 5} for row in rows]


def test_gains_are_taken_mask_by_mask_and_averaged():
    lines = head_report.gain_table(by_hand(), ["gan"], STRONG)
    assert [(line["source"], line["scan"]) for line in lines] == [("gan", "t1"), ("gan", "mprage")]
    assert [line["mean"] for line in lines] == pytest.approx([1.5, -1.0])
    against_chosen = head_report.gain_table(by_hand(), ["gan"], CHOSEN)
    assert [line["mean"] for line in against_chosen] == pytest.approx([2.5, 0.0])
    in_head = head_report.gain_table(by_hand(), ["gan"], STRONG, "head_PSNR")
    assert [line["mean"] for line in in_head] == pytest.approx([1.5, -1.0])


def test_the_interval_is_over_masks_and_with_one_mask_there_is_none():
    rows = [row for row in by_hand() if row["seed"] in (0, 1)]
    line = head_report.gain_table(rows, ["gan"], STRONG)[0]
    expected = stats.ttest_1samp([0.5, 1.0], 0).confidence_interval(0.95)  # masks alone
    assert (line["low"], line["high"]) == pytest.approx((expected.low, expected.high))
    both = head_report.gain_table(by_hand(), ["gan"], STRONG)[0]
    assert both["low"] < 1.5 < both["high"]
    single = [row for row in by_hand() if row["mask"] == 1]
    line = head_report.gain_table(single, ["gan"], STRONG)[0]
    assert line["mean"] == pytest.approx(1.0)
    assert math.isnan(line["low"])
    assert math.isnan(line["high"])


def test_the_table_holds_means_over_masks_and_seeds_and_their_spread():
    lines = head_report.head_table(by_hand(), "PSNR", 2)
    by_method = {line["PSNR"]: line for line in lines}
    assert by_method["l1-wavelet, best weight in hindsight"]["t1"] == "35.00"
    assert by_method["CG-SENSE"]["mprage"] == "31.00"
    # seed 1: 35.75, seed 2: 37.25, s.d. 1.5 / sqrt(2)
    assert by_method["GAN (synthetic)"]["t1"] == "36.50 ± 1.06"
    names = [table.name for table in head_report.tables_of(by_hand())]
    assert names == [f"tab_05_measured_heads_{m}" for m in ("PSNR", "SSIM", "head_PSNR")]


def test_the_summary_counts_scans_and_names_the_worst():
    text = head_report.summary(by_hand(), ["gan"])
    assert "Networks trained on GAN (synthetic) against" in text
    lines = {line.strip().split(": ")[0]: line for line in text.splitlines()}
    assert "better in 1 of 2 scans, +0.25 dB in the mean, -1.00 dB (" in lines[
        "l1-wavelet, best weight in hindsight"
    ]  # fmt: skip
    # one scan gains 2.5 dB, one nothing: no gain is not better
    assert "better in 1 of 2 scans, +1.25 dB in the mean, +0.00 dB (" in lines["l1-wavelet"]
    assert "better in 2 of 2 scans, +4.25 dB" in lines["CG-SENSE"]
    assert all("in the worst (mprage)" in line for line in lines.values() if "better in" in line)
    assert "2 seeds x the scans' different masks (4 in all)" in text


def test_without_rows_it_says_where_to_get_scans():
    assert head_report.tables_of([]) == []
    assert head_report.summary([], ["zero"]) == head_report.NO_SCANS
    assert "test_data" in head_report.NO_SCANS
    assert "multicoil_val" in head_report.NO_SCANS  # where there are some
