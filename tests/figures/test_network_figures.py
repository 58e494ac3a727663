"""Figures of trainings and reconstructions: what is drawn, read back from the axes."""

import numpy as np
import pytest
import torch

from synthlib import figures, metrics

LABELS = {"cg_sense": "CG-SENSE", "gan": "GAN", "zero": "Zero"}
# (coils, source): R to PSNR by seed, of patient a; patient b has 2 dB more
LEVELS = {
    (8, "cg_sense"): {4: [26.0], 8: [21.0]},
    (8, "gan"): {4: [28.0, 30.0], 8: [24.0, 24.5]},
    (8, "zero"): {8: [20.0, 19.0]},  # was not run at R = 4
    (4, "gan"): {4: [29.0, 28.0]},
}


def rows():
    made = []
    for (n_coils, source), by_r in LEVELS.items():
        for r, by_seed in by_r.items():
            for seed, level in enumerate(by_seed):
                # two scans of patient b count as one
                for patient, more in (("a", 0.0), ("b", 1.0), ("b", 3.0)):
                    psnr = level + more
                    made.append(
                        {"n_coils": n_coils, "source": source, "acceleration": r, "seed": seed,
                         "patient": patient, "volume": f"{patient}{more}", "PSNR": psnr,
                         "NMSE": 1 / psnr, "SSIM": psnr / 100, "head_PSNR": psnr - 6}
                    )  # fmt: skip
    return made


def drawn(panel):
    """Label to (container, x, y) of the lines with error bars."""
    return {c.get_label(): (c, *map(np.asarray, c[0].get_data())) for c in panel.containers}


def spans(container):
    (bars,) = container[2]
    return [tuple(segment[:, 1]) for segment in bars.get_segments()]


def test_benchmark_curves_are_the_rows_means_with_the_span_of_seeds():
    figure = figures.benchmark_curves(
        rows(), LABELS, emphasis=["gan"], untrained=["cg_sense", "ceiling"]
    )
    panels = np.array(figure.axes).reshape(2, len(metrics.ALL_NAMES))
    assert [p.get_title() for p in panels[:, 0]] == ["PSNR, 4 coils", "PSNR, 8 coils"]
    lines = drawn(panels[1, 0])
    container, x, y = lines["GAN"]
    assert np.round(x).tolist() == [4, 8]
    assert abs(x - np.round(x)).max() < 0.3
    assert y.tolist() == pytest.approx([30.0, 25.25])  # 29 + 1, 24.25 + 1
    assert spans(container) == [pytest.approx((29, 31)), pytest.approx((25, 25.5))]
    _, x, y = lines["Zero"]  # R without results are passed over
    assert np.round(x).tolist() == [8]
    assert y.tolist() == pytest.approx([20.5])
    _, x, y = drawn(panels[0, 0])["GAN"]
    assert (np.round(x).tolist(), y.tolist()) == ([4], [pytest.approx(29.5)])
    assert all(len(drawn(panels[0, 0])[name][1]) == 0 for name in ("Zero", "CG-SENSE"))
    _, _, y = drawn(panels[1, 2])["CG-SENSE"]
    assert y.tolist() == pytest.approx([0.27, 0.22])  # SSIM
    _, _, y = drawn(panels[1, 3])["CG-SENSE"]
    assert y.tolist() == pytest.approx([21.0, 16.0])  # in the head


def test_methods_without_training_are_black_and_emphasis_is_thick():
    figure = figures.benchmark_curves(rows(), LABELS, emphasis=["gan"], untrained=["cg_sense"])
    for panel in figure.axes:
        lines = {name: container[0] for name, (container, _, _) in drawn(panel).items()}
        assert lines["CG-SENSE"].get_color() == "black"
        assert lines["GAN"].get_color() != "black"
        assert lines["GAN"].get_linewidth() > lines["Zero"].get_linewidth()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(LABELS.values())


def test_what_was_not_trained_enough_is_an_open_circle_on_its_line():
    excluded = {(8, 8, "zero"), (8, 4, "gan")}
    figure = figures.benchmark_curves(rows(), LABELS, excluded=excluded)
    plain = figures.benchmark_curves(rows(), LABELS)
    for panel, other in zip(figure.axes, plain.axes, strict=True):
        lines = drawn(panel)
        open_circles = [line for line in panel.lines if line.get_fillstyle() == "none"]
        assert not [line for line in other.lines if line.get_fillstyle() == "none"]
        if "4 coils" in panel.get_title():
            assert open_circles == []
            continue
        places = {(c.get_xdata()[0], c.get_ydata()[0]) for c in open_circles}
        assert places == {
            (lines[name][1][i], lines[name][2][i]) for name, i in (("Zero", 0), ("GAN", 0))
        }
        assert all(c.get_marker() == "o" for c in open_circles)


def test_reconstructions_show_target_images_and_their_errors():
    target = torch.arange(63.0).reshape(9, 7)
    examples = {
        r: {name: {"target": target, "image": target + r * off} for name, off in OFFSETS.items()}
        for r in (4, 8)
    }
    figure = figures.reconstructions(examples)
    pictures = [ax for ax in figure.axes if ax.images]
    shown = [np.asarray(ax.images[0].get_array()) for ax in pictures]
    # a band: target and two images, then two errors
    assert len(shown) == 10
    for band, r in enumerate((4, 8)):
        images, errors = shown[5 * band : 5 * band + 3], shown[5 * band + 3 : 5 * band + 5]
        for image, offset in zip(images, (0, *OFFSETS.values()), strict=True):
            np.testing.assert_allclose(image, target + r * offset)
        for error, offset in zip(errors, OFFSETS.values(), strict=True):
            np.testing.assert_allclose(error, r * abs(offset))
        nmse = r**2 * 63 / float(target.square().sum())
        assert pictures[5 * band + 3].get_xlabel() == f"NMSE {nmse:.3f}"
    (limits,) = {ax.images[0].get_clim() for ax in pictures if "NMSE" in ax.get_xlabel()}
    assert limits == pytest.approx((0, 0.2 * pictures[0].images[0].get_clim()[1]))


OFFSETS = {"CG-SENSE": 1.0, "GAN": -0.5}


def test_convergence_has_a_line_for_every_network_and_a_label_for_every_source():
    def history(*values):
        return [{"share": (i + 1) / 4, "PSNR": value} for i, value in enumerate(values)]

    networks = {"GAN": [history(20, 24, 25, 25.5), history(21, 22, 23, 24)], "Zero": [history(1)]}
    figure = figures.convergence(networks)
    (panel,) = figure.axes
    values = [line.get_ydata().tolist() for line in panel.lines]
    assert values == [[20, 24, 25, 25.5], [21, 22, 23, 24], [1]]
    assert panel.lines[0].get_xdata().tolist() == [25, 50, 75, 100]
    first, second, third = (line.get_color() for line in panel.lines)
    assert first == second != third
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["GAN", "Zero"]


def worth_rows():
    # with nothing measured 20 dB, one patient more 1 dB, synthetic scans 3 dB
    levels = {(0, 6): 23.0, (1, 0): 21.0, (1, 6): 24.0, (3, 0): 22.0, (3, 6): 24.5}
    return [
        {"n_real": n, "n_synthetic": m, "seed": seed, "patient": patient, "volume": patient,
         "PSNR": level + seed + more}
        for (n, m), level in levels.items()
        for seed in (0, 1)
        for patient, more in (("a", -2.0), ("b", 2.0))
    ]  # fmt: skip


def test_curves_of_worth_go_through_the_means_and_show_every_seed():
    figure = figures.worth(worth_rows(), {"CG-SENSE": 21.7})
    (panel,) = figure.axes
    curves = {line.get_label(): line for line in panel.lines if line.get_marker() == "o"}
    measured, both = curves["measured scans only"], curves["with 6 synthetic scans"]
    assert list(zip(*map(list, measured.get_data()), strict=True)) == [(1, 21.5), (3, 22.5)]
    assert list(zip(*map(list, both.get_data()), strict=True)) == [
        (0, 23.5), (1, 24.5), (3, 25.0),
    ]  # fmt: skip
    points = [line for line in panel.lines if line.get_marker() == "."]
    seen = sorted((x, y) for line in points for x, y in zip(*line.get_data(), strict=True))
    assert seen == sorted(
        [(0, 23), (0, 24), (1, 21), (1, 22), (1, 24), (1, 25), (3, 22), (3, 23), (3, 24.5),
         (3, 25.5)]
    )  # fmt: skip
    (level,) = (line for line in panel.lines if line.get_color() == "black")
    assert set(level.get_ydata()) == {21.7}
    assert "CG-SENSE" in [text.get_text() for text in panel.texts]


def bars(panel):
    """(x, y, (low, high)) of every point with a bar, along the axis of the bar."""
    made = []
    for container in panel.containers:
        ((x,), (y,)) = container[0].get_data()
        (segment,) = container[2][0].get_segments()
        made.append((float(x), float(y), segment))
    return made


def test_gains_are_drawn_scan_by_scan_with_their_intervals():
    lines = [
        {"source": s, "scan": scan, "mean": mean, "low": mean - 0.5, "high": mean + 1.5}
        for s, scan, mean in (
            ("gan", "t1", 1.0), ("gan", "mprage", -0.5), ("zero", "t1", -2.0),
            ("zero", "mprage", -3.0),
        )
    ]  # fmt: skip
    lines[0] |= {"low": float("nan"), "high": float("nan")}  # under one mask
    figure = figures.gains(lines, {"gan": "GAN", "zero": "Zero"}, "less l1-wavelet")
    (panel,) = figure.axes
    points = bars(panel)
    assert [x for x, _, _ in points] == [1.0, -0.5, -2.0, -3.0]
    for _, _, segment in points[1:]:
        assert np.ptp(segment[:, 0]) == pytest.approx(2.0)
    assert points[1][2][:, 0].tolist() == pytest.approx([-1.0, 1.0])
    rows_of = [round(-y) for _, y, _ in points]
    assert rows_of == [0, 0, 1, 1]  # the row of the source, from above
    assert len({y for _, y, _ in points}) == 4  # scans beside each other
    assert [t.get_text() for t in panel.get_yticklabels()] == ["GAN", "Zero"]
    assert panel.get_yticks().tolist() == [0, -1]
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["t1", "mprage"]


def test_a_scan_whose_first_gain_stands_at_the_edge_is_in_the_legend():
    lines = [
        {"source": s, "scan": scan, "mean": mean, "low": mean - 0.5, "high": mean + 0.5}
        for s, scan, mean in (
            ("gan", "t1", -9.0), ("gan", "mprage", 1.0), ("zero", "t1", -1.0),
            ("zero", "mprage", 0.5), ("zero", "flair", -7.0),
        )
    ]  # fmt: skip
    figure = figures.gains(lines, {"gan": "GAN", "zero": "Zero"}, "less l1-wavelet")
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["t1", "mprage", "flair"]
    assert {t.get_text() for t in figure.axes[0].texts} == {"-9.0 dB", "-7.0 dB"}


def test_no_two_of_many_sources_are_drawn_alike():
    names = {f"source {i}": f"Source {i}" for i in range(14)}
    made = [{**row, "source": name} for name in names for row in rows() if row["source"] == "gan"]
    thick = ["source 0", "source 10"]
    figure = figures.benchmark_curves(made, names, emphasis=thick)
    lines = [container[0] for container, _, _ in drawn(figure.axes[0]).values()]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(names)


def test_differences_have_a_legend_of_all_sources_also_of_those_that_start_at_a_later_r():
    lines = [
        {"n_coils": n, "acceleration": r, "source": s, "mean": mean, "low": mean - 1,
         "high": mean + 2, "seeds_seen": seen}
        for n, r, s, mean, seen in (
            (8, 4, "gan", 0.1, True), (8, 6, "gan", -0.2, False), (8, 6, "zero", -2.0, False),
            (4, 4, "gan", 0.3, False), (4, 4, "zero", -1.0, False),
        )
    ]  # fmt: skip
    figure = figures.differences(lines, LABELS, "measured phase")
    four, eight = figure.axes
    assert (four.get_title(), eight.get_title()) == ("4 coils", "8 coils")
    points = bars(eight)
    assert [y for _, y, _ in points] == [0.1, -0.2, -2.0]
    assert [round(x) for x, _, _ in points] == [0, 1, 1]
    assert points[0][2][:, 1].tolist() == pytest.approx([-0.9, 2.1])
    is_open = [c[0].get_markerfacecolor() == "white" for c in eight.containers]
    assert is_open == [False, True, True]
    assert [t.get_text() for t in eight.get_xticklabels()] == ["R = 4", "R = 6"]
    for shown in (lines, [line for line in lines if line["n_coils"] == 8]):
        (legend,) = figures.differences(shown, LABELS, "measured phase").legends
        assert [t.get_text() for t in legend.get_texts()] == ["GAN", "Zero"]
