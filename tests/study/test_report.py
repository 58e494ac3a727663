"""What notebook 05 says of its results, against rows and histories made by hand."""

import re

import pytest

from synthlib import metrics
from synthlib.recon import grid, samples
from synthlib.study import marks, report, worth

LABELS = {grid.CG_SENSE: "CG-SENSE", "measured": "Measured", "gan": "GAN", "zero": "Zero"}


def row(source, psnr, seed=1, *, n_coils=8, r=4, patient="a", volume="t1"):
    values = {"PSNR": psnr, "NMSE": 1 / psnr, "SSIM": psnr / 100, "head_PSNR": psnr - 6}
    place = {"n_coils": n_coils, "acceleration": r, "source": source, "seed": seed}
    return {**place, "patient": patient, "volume": f"{patient} {volume}", **values}


def result(source, psnrs, seed=1, *, n_coils=8, r=4):
    """A training's result with the validation PSNR at equal shares of its steps."""
    shares = [(i + 1) / len(psnrs) for i in range(len(psnrs))]
    history = [{"share": s, "PSNR": value} for s, value in zip(shares, psnrs, strict=True)]
    place = {"n_coils": n_coils, "acceleration": r, "source": source, "seed": seed}
    return {**place, "history": history}


CLASSICAL = {**result(grid.CG_SENSE, []), "weight": 0.01}  # learns nothing
RESULTS = [
    CLASSICAL,
    result("gan", [20, 24, 25, 25.5]),
    result("gan", [21, 24.5, 26, 26.05], seed=2),
    result("zero", [20, 21, 22, 21.75]),
    result("zero", [10, 11, 12, 13], r=8),
]


# --- the paper's tables ---------------------------------------------------------------


def names_of(coil_counts):
    rows = [row("gan", 20.0 + n, n_coils=n) for n in coil_counts]
    return [table.name for table in report.paper_tables(rows, {"gan": "GAN"}, coil_counts)]


def test_the_smaller_of_two_coil_counts_has_the_odd_numbers():
    assert names_of([8, 4]) == [
        "tab_S1_PSNR_4coil", "tab_S2_PSNR_8coil", "tab_S3_NMSE_4coil", "tab_S4_NMSE_8coil",
        "tab_S5_SSIM_4coil", "tab_S6_SSIM_8coil", "tab_05_head_PSNR_4coil",
        "tab_05_head_PSNR_8coil",
    ]  # fmt: skip


@pytest.mark.parametrize(("n_coils", "numbers"), [(16, (1, 3, 5)), (8, (1, 3, 5)), (20, (2, 4, 6))])
def test_one_coil_count_is_the_papers_16_unless_it_is_20(n_coils, numbers):
    expected = [
        f"tab_S{k}_{metric}_{n_coils}coil" for k, metric in zip(numbers, metrics.NAMES, strict=True)
    ]
    assert names_of([n_coils]) == [*expected, f"tab_05_head_PSNR_{n_coils}coil"]
    figure = 3 if n_coils == 20 else 4
    assert report.figure_name(n_coils, [n_coils]) == f"fig_{figure}_reconstructions_{n_coils}coil"


def test_tables_hold_their_own_metric_and_coil_count_and_what_is_measured_is_never_bold():
    names = {name: name for name in (grid.CEILING, samples.GROUND_TRUTH, "measured", "gan", "zero")}
    levels = dict(zip(names, (40.0, 33.0, 32.0, 31.0, 30.0), strict=True))
    rows = [row(s, v + n, n_coils=n) for n in (4, 8) for s, v in levels.items()]
    made = {t.name: t.text["md"] for t in report.paper_tables(rows, names, [4, 8])}
    assert "| gan | **35.00** |" in made["tab_S1_PSNR_4coil"]
    assert "| gan | **39.00** |" in made["tab_S2_PSNR_8coil"]
    assert "| gan | **33.00** |" in made["tab_05_head_PSNR_8coil"]
    assert "| gan | **0.3500** |" in made["tab_S5_SSIM_4coil"]
    assert all(text.count("**") == 2 for text in made.values())
    made = {t.name: t.text["md"] for t in report.paper_tables(rows, names, [4, 8], {(8, 4, "gan")})}
    assert "| zero | **38.00** |" in made["tab_S2_PSNR_8coil"]
    assert "| gan | 39.00 † |" in made["tab_S2_PSNR_8coil"]
    assert "| gan | **35.00** |" in made["tab_S1_PSNR_4coil"]


def test_classical_methods_that_were_not_run_have_no_row_but_sources_show_a_dash():
    rows = [row("gan", 31.0, n_coils=8), row(grid.CG_SENSE, 30.0, n_coils=8)]
    names = {grid.UNTRAINED: "Untrained", grid.CG_SENSE: "CG-SENSE", "gan": "GAN", "zero": "Zero"}
    text = report.paper_tables(rows, names, [8])[0].text["md"]
    assert "Untrained" not in text
    assert re.search(r"\| CG-SENSE +\| +30", text) and re.search(r"\| Zero +\| +- \|", text)


# --- convergence ----------------------------------------------------------------------


def test_networks_that_still_improve_are_counted_and_classical_methods_are_not():
    # gains of the last quarter: 0.5, 0.05, -0.25, 1.0
    assert report.gains_of(RESULTS) == {
        (8, 4, "gan", 1): pytest.approx(0.5),
        (8, 4, "gan", 2): pytest.approx(0.05),
        (8, 4, "zero", 1): pytest.approx(-0.25),
        (8, 8, "zero", 1): pytest.approx(1.0),
    }
    sentence = report.convergence_sentence(RESULTS)
    assert sentence.startswith(f"2 of 4 networks gained more than {marks.CONVERGED_GAIN_DB} dB")
    assert "mean gain there was +0.325 dB" in sentence


def test_the_table_of_convergence_has_a_row_for_every_network():
    lines = report.convergence_rows(RESULTS, LABELS)
    assert len(lines) == 4
    assert lines[0] == {
        "coils": "8", "R": "4", "trained on": "GAN", "seed": "1", "25 %": "20.00", "50 %": "24.00",
        "75 %": "25.00", "100 %": "25.50", "last quarter (dB)": "+0.50", "flag": "still improving",
    }  # fmt: skip
    assert [line["flag"] for line in lines] == ["still improving", "", "falling", "still improving"]


def test_histories_are_those_of_one_place_by_label():
    shown = report.histories(RESULTS, LABELS, 8, 4)
    assert {name: len(networks) for name, networks in shown.items()} == {"GAN": 2, "Zero": 1}
    assert shown["Zero"] == [RESULTS[3]["history"]]
    assert report.histories(RESULTS, LABELS, 4, 4) == {}


# --- levels and floors ----------------------------------------------------------------

FLOORS = [
    *(row(grid.CG_SENSE, v, seed=0, patient=p) for p, v in (("a", 26.0), ("b", 28.0))),
    *(row(grid.L1_WAVELET, v, seed=0, patient=p) for p, v in (("a", 26.2), ("b", 28.6))),
    # of patient b two scans: patients count, 27.5 and not 27.67
    row("gan", 26.0), row("gan", 28.0, patient="b"), row("gan", 30.0, patient="b", volume="t2"),
    row("zero", 27.0), row("zero", 26.8, patient="b"),
    row(grid.CG_SENSE, 22.0, seed=0, r=8), row("gan", 21.0, r=8), row("gan", 23.5, 2, r=8),
    row("zero", 23.0, n_coils=4),
]  # fmt: skip


def test_floors_say_who_beats_cg_sense_and_who_does_not():
    lines = report.floor_sentences(FLOORS, LABELS, ["measured", "gan", "zero"])
    first, second = lines  # at 4 coils CG-SENSE was not run
    assert "CG-SENSE (27.00 dB), 1 better than the best" in first
    assert "without training (l1-wavelet, 27.40 dB)" in first
    assert "CG-SENSE (22.00 dB), 1 better than the best" in second
    assert "without training (CG-SENSE, 22.00 dB)" in second
    assert first.startswith(
        "PSNR, 8 coils, R = 4: 1 of 2 sources train networks better than CG-SENSE"
    )
    assert first.endswith("below it: Zero")
    assert second.startswith("PSNR, 8 coils, R = 8: 1 of 1 sources")  # 22.25 on the mean of seeds
    assert "not trained enough" not in second


def test_floors_and_daggers_agree():
    rows = [r for r in FLOORS if (r["n_coils"], r["acceleration"]) == (8, 4)]
    rows = [r for r in rows if r["volume"] != "b t2"]
    below = marks.excluded(rows)
    assert below == {(8, 4, "zero")}
    (line,) = report.floor_sentences(rows, LABELS, ["gan", "zero"])
    assert line.endswith("below it: Zero")  # GAN is level with the floor
    assert "0 of 2 sources train networks better than CG-SENSE (27.00 dB), 0 better" in line


def test_levels_are_means_over_patients_and_seeds_of_what_was_run():
    levels = report.levels(FLOORS, 8, 4, [grid.CG_SENSE, "gan", "random"])
    assert levels == {"CG-SENSE": 27.0, "GAN (synthetic)": pytest.approx(27.5)}
    assert report.levels(FLOORS, 8, 8, ["gan"]) == {"GAN (synthetic)": 22.25}


def test_networks_of_one_place_and_seed_are_all_counted_and_none_is_said():
    folds = [result("gan", [20, 24, 25, 25.5]), result("gan", [20, 24, 25, 25.0])]
    assert report.convergence_sentence(folds).startswith("1 of 2 networks gained more than")
    assert report.convergence_sentence([CLASSICAL]) == "No network was trained."


# --- seeds, worth, differences --------------------------------------------------------


def test_the_same_seeds_are_seen_at_every_place():
    rows = [row(s, 20, seed, r=r) for s in ("gan", "zero") for r in (4, 8) for seed in (1, 2)]
    rows.append(row(grid.CG_SENSE, 20, seed=0))
    assert report.same_seeds(rows, ["gan", "zero"])
    assert not report.same_seeds(rows[1:], ["gan", "zero"])  # GAN lacks seed 1 at R = 4
    assert not report.same_seeds(rows, ["gan", "zero", "random"])
    fewer = [r for r in rows if r["acceleration"] == 4 or r["seed"] == 1]  # at R = 8 one seed
    assert report.same_seeds(fewer, ["gan", "zero"])
    alone = [r for r in rows if (r["source"], r["acceleration"]) != ("gan", 8)]
    assert not report.same_seeds(alone, ["gan", "zero"])


def curve(numbers):
    """Rows of measured-only networks, 25 dB + their number, and of 6 synthetic scans at 26 dB."""
    levels = {(n, 0): 25.0 + n for n in numbers} | {(0, 6): 26.0}
    return [
        {**row("x", level + i, seed, patient=patient), "n_real": n, "n_synthetic": m}
        for (n, m), level in levels.items()
        for i, patient in enumerate(("a", "b"))
        for seed in (1, 2)
    ]


def test_the_sentence_of_worth_is_that_of_its_curve_and_one_number_is_no_curve():
    sentence = report.worth_sentence(curve([1, 3]), 2, 5)
    assert sentence.startswith(worth.exchange_rate(curve([1, 3]), 2).sentence())
    assert "learned from 5 other measured patients" in sentence
    assert sentence.startswith(
        "Synthetic scans of 2 patients (6 scans) are worth 1.0 measured patients"
    )
    assert "no curve" in report.worth_sentence(curve([3]), 2, 5)
    assert "worth_numbers" in report.worth_sentence(curve([3]), 2, 5)


def test_differences_are_of_one_place_each_and_single_trainings_are_marked():
    rows = [
        row(source, level + 2 * i, seed, r=r, patient=patient)
        for r, seeds in ((4, (1, 2)), (8, (1,)))
        for source, level in (("measured", 30.0), ("gan", 31.0 - r / 4), ("zero", 27.0))
        for i, patient in enumerate("abc")
        for seed in seeds
    ]
    rows += [row("zero", 20.0, n_coils=4, patient=patient) for patient in "abc"]
    lines = report.difference_lines(rows, ["measured", "gan", "random", "zero"], "measured")
    shown = [(x["n_coils"], x["acceleration"], x["source"], x["seeds_seen"]) for x in lines]
    assert shown == [
        (8, 4, "gan", True), (8, 4, "zero", True), (8, 8, "gan", False), (8, 8, "zero", False),
    ]  # fmt: skip
    assert [x["mean"] for x in lines] == pytest.approx([0.0, -3.0, -1.0, -3.0])
    assert all(x["low"] <= x["mean"] + 1e-9 and x["high"] >= x["mean"] - 1e-9 for x in lines)
