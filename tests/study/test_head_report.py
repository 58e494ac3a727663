"""What is said of measured scans: gains counted by hand from rows made by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from synthlib.recon import grid
from synthlib.study import experiments, head_report, heads, statistics

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
            place = {"scan": scan, "patient": f"patient {scan}", "mask": mask}
            place["weight_at_end"] = False
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
    assert by_method["l1-wavelet, best PSNR in hindsight"]["t1"] == "35.00"
    assert by_method["CG-SENSE"]["mprage"] == "31.00"
    # seed 1: 35.75, seed 2: 37.25, s.d. 1.5 / sqrt(2)
    assert by_method["GAN (synthetic)"]["t1"] == "36.50 ± 1.06"
    names = [table.name for table in head_report.tables_of(by_hand())]
    assert names == [f"tab_05_measured_heads_{m}" for m in ("PSNR", "SSIM", "head_PSNR")]


def test_the_summary_counts_scans_and_names_the_worst():
    text = head_report.summary(by_hand(), ["gan"])
    assert "Networks trained on GAN (synthetic) against" in text
    lines = {line.strip().split(": ")[0]: line for line in text.splitlines()}
    assert "better in 1 of 2 scans, +0.25 dB (" in lines[
        "l1-wavelet, best PSNR in hindsight"
    ]  # fmt: skip
    # one scan gains 2.5 dB, one nothing: no gain is not better
    assert "better in 1 of 2 scans, +1.25 dB (" in lines["l1-wavelet"]
    assert "better in 2 of 2 scans, +4.25 dB" in lines["CG-SENSE"]
    assert ") in the mean, -1.00 dB in the worst" in lines["l1-wavelet, best PSNR in hindsight"]
    assert all("in the worst (mprage)" in line for line in lines.values() if "better in" in line)
    assert "2 patients x 2 seeds. Masks: 4 in all." in text
    assert "smallest or largest" not in text
    ended = [{**row, "weight_at_end": row["mask"] == 1} for row in by_hand()]
    assert "CG-SENSE 2 of 4 times, l1-wavelet 2 of 4 times." in head_report.summary(ended, ["gan"])


def test_the_mean_gain_counts_patients_and_seeds():
    gain = head_report.mean_gain(by_hand(), "gan", STRONG)
    expected = statistics.crossed(np.array([[0.75, 2.25], [-1.5, -0.5]]))  # means over masks
    assert gain.mean == pytest.approx(0.25)
    assert gain.interval == pytest.approx((expected.low, expected.high))
    # two scans of a patient count once
    more = [{**row, "scan": "t1 again"} for row in by_hand() if row["scan"] == "t1"]
    assert head_report.mean_gain([*by_hand(), *more], "gan", STRONG) == gain
    one_seed = [row for row in by_hand() if row["seed"] in (0, 1)]
    text = head_report.summary(one_seed, ["gan"])
    assert "2 patients alone; one seed: the spread between trainings is left out" in text


def test_a_single_scan_has_the_interval_of_its_masks_and_one_mask_none():
    single = [row for row in by_hand() if row["scan"] == "t1"]
    gain = head_report.mean_gain(single, "gan", STRONG)
    (line,) = head_report.gain_table(single, ["gan"], STRONG)
    assert gain.interval == pytest.approx((line["low"], line["high"]))
    assert gain.drawn == "2 masks of one scan x 2 seeds"
    one_mask = [row for row in single if row["mask"] == 1]
    text = head_report.summary(one_mask, ["gan"])
    assert "+1.00 dB (one mask: no interval) in the mean" in text
    assert "nan" not in text
    same_patient = [{**row, "patient": "a"} for row in by_hand()]
    assert head_report.mean_gain(same_patient, "gan", STRONG).interval is None


def test_without_rows_it_says_where_to_get_scans():
    assert head_report.tables_of([]) == []
    assert head_report.summary([], ["zero"]) == head_report.NO_SCANS
    assert "test_data" in head_report.NO_SCANS
    assert "multicoil_val" in head_report.NO_SCANS  # where there are some


def test_networks_of_other_scans_are_counted_by_patients_alone():
    """Every fold has networks of its own: what differs between patients holds their spread, too."""
    name = experiments.OTHER_SCANS
    rows = [{**row, "source": name} if row["source"] == "gan" else row for row in by_hand()]
    gain = head_report.mean_gain(rows, name, STRONG)
    expected = stats.ttest_1samp([1.5, -1.0], 0).confidence_interval(0.95)
    assert gain.mean == pytest.approx(0.25)
    assert gain.interval == pytest.approx((expected.low, expected.high))
    assert gain.drawn == "2 patients, tested by networks of their own"
