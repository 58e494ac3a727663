"""Pictures of the audit: one panel a check, red where something was found."""

import torch
from matplotlib.colors import to_rgb

from synthlib import audit
from synthlib.audit import defects
from synthlib.figures import audits
from synthlib.records import ImageVolume


def test_every_check_has_its_picture_and_findings_are_red(scan):
    volume = ImageVolume("a", "p", "AXT1", defects.burn_text(scan.magnitude, height=5))
    report = audit.examine(volume)
    figure = audits.audit_pictures(volume, report)
    titles = {axes.get_title(): axes.title.get_color() for axes in figure.axes}
    for name, check in audit.CHECKS.items():
        (title,) = [title for title in titles if check.title in title]
        assert title.startswith("FOUND") == report[name].found
        red, green, _ = to_rgb(titles[title])
        assert (red > 2 * green) == report[name].found
    assert report["burned_in"].found


def test_a_note_is_no_finding_and_numbers_are_no_fractions(scan):
    volume = ImageVolume("a", "p", "AXT1", scan.magnitude, facts={"distortion_corrected": True})
    report = audit.examine(volume)
    assert report["resampled"].grade == audit.NOTE
    figure = audits.audit_pictures(volume, report)
    titles = [axes.get_title() for axes in figure.axes]
    (title,) = [title for title in titles if audit.CHECKS["resampled"].title in title]
    assert title.startswith("note: ") and not any("FOUND" in title for title in titles)
    assert "dB (limit" in title and " of " not in title.splitlines()[1]
    ticks = [tick.get_text() for axes in figure.axes for tick in axes.get_xticklabels()
             if axes.get_xlabel() == "lag (pixels)"]  # fmt: skip
    assert ticks == ["1", "2"]


def test_a_panel_without_anything_to_draw_says_why():
    volume = ImageVolume("a", "p", "x", torch.zeros(1, 16, 16))
    figure = audits.audit_pictures(volume, audit.examine(volume))
    blank = [axes for axes in figure.axes if not axes.axison and axes.get_title()]
    assert blank and all(axes.texts for axes in blank if not axes.images)


def test_pictures_of_an_empty_slice_can_be_drawn(tmp_path):
    volumes = [ImageVolume("a", "p", "x", torch.zeros(1, 16, 16)) for _ in range(2)]
    reports = [audit.examine(volume) for volume in volumes]
    audits.audit_pictures(volumes[0], reports[0]).savefig(tmp_path / "a.png")
    overview = audits.audit_overview(volumes, reports)
    overview.savefig(tmp_path / "b.png")
    assert len(overview.axes) == 2
