"""What the audit says: of clean scans nothing, of known defects their name."""

import json
import math

import h5py
import pytest
import torch

from synthlib import arrays, audit
from synthlib.audit import defects, trials, view, witnesses
from synthlib.records import ImageVolume

NAMES = list(audit.CHECKS)


def volume(magnitude, **more):
    return ImageVolume("a", "p", "AXT1", magnitude, **more)


# --- any volume ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "magnitude",
    [
        torch.zeros(1, 16, 16),
        torch.ones(1, 16, 16),
        torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(1)),
        torch.rand(2, 17, 90, generator=torch.Generator().manual_seed(2)),
        torch.nn.functional.pad(torch.ones(3, 20, 30), (20, 20, 30, 30)),
        torch.ones(30, 64, 48).cumsum(1),
        torch.rand(1, 3, 2, generator=torch.Generator().manual_seed(3)),
    ],
    ids=["zeros", "ones", "tiny", "long", "block", "ramp", "six pixels"],
)
def test_every_volume_gets_an_answer_to_every_check(magnitude):
    report = audit.examine(volume(magnitude))
    assert [finding.check for finding in report.findings] == NAMES
    assert report.grid == tuple(magnitude.shape[-2:])
    for finding in report.findings:
        assert finding.detail.endswith(".") and finding.threshold > 0
        assert bool(finding.advice) == finding.found == bool(finding.evidence)
        assert set(finding.slices) <= set(range(len(magnitude)))
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["grid"] == list(report.grid)


def test_a_single_small_slice_says_what_it_cannot_tell():
    report = audit.examine(volume(torch.rand(1, 16, 16)))
    assert math.isnan(report["slices_interpolated"].measure)
    assert "do not allow" in report["zero_filled"].detail
    with pytest.raises(KeyError, match="no check is called 'sharpness'; expected one of zero"):
        report["sharpness"]


def test_neither_the_unit_of_brightness_nor_the_number_of_slices_changes_the_answer(scan):
    first = audit.examine(volume(scan.magnitude))
    other = audit.examine(volume(scan.magnitude * 1000))
    many = audit.examine(volume(scan.magnitude.repeat(6, 1, 1)))
    for one, two, three in zip(first.findings, other.findings, many.findings, strict=True):
        assert one.found == two.found
        assert one.measure == pytest.approx(two.measure, rel=0.02, abs=0.01, nan_ok=True)
        if one.check != "slices_interpolated":
            assert one.found == three.found
    assert len(many.slices) == 12


# --- headers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "check"),
    [
        ({"acquisition_matrix": (96, 80)}, "zero_filled"),
        ({"interpolated": True}, "zero_filled"),
        ({"partial_fourier": True}, "partial_fourier"),
        ({"lossy": True}, "lossy"),
        ({"bits_stored": 8}, "quantised"),
        ({"normalised": True}, "intensity_corrected"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "M", "NORM")}, "intensity_corrected"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "DIS2D")}, "resampled"),
        ({"distortion_corrected": True}, "resampled"),
        ({"burned_in": True}, "burned_in"),
    ],
)
def test_a_header_alone_is_enough_and_the_detail_says_that_the_image_is_silent(scan, facts, check):
    report = audit.examine(volume(scan.magnitude, facts=facts))
    assert [finding.check for finding in report.found] == [check]
    assert report[check].evidence == "header"
    finding = report[check]
    assert "the header says" in finding.detail.lower() and finding.header
    judged = not math.isnan(finding.measure)
    assert ("the images do not show it" if judged else "the images cannot tell") in finding.detail
    best = check in ("lossy", "burned_in")  # the images cannot show all of it
    assert finding.grade == (audit.CHECKS[check].grade if best else audit.NOTE)
    assert best or not report.serious  # a note: --strict lets it pass


def test_where_header_and_images_disagree_the_finding_says_so(scan):
    filled = trials.magnitude_of(defects.zero_fill(scan.kspace, (1.5, 1.4)))
    ny, nx = filled.shape[-2:]
    report = audit.examine(volume(filled, facts={"acquisition_matrix": (ny, nx), "averages": 2}))
    finding = report["zero_filled"]
    assert finding.evidence == "image" and finding.grade == audit.TOO_GOOD
    assert f"yet the header says all of {ny} x {nx} encoded" in finding.detail
    assert report.remarks == ("2 averages",)
    facts = {"partial_fourier": False, "filtered": False, "lossy": False}
    clean = audit.examine(volume(scan.magnitude, facts=facts))
    assert not clean.found
    assert "the header says no partial Fourier" in clean["partial_fourier"].detail


def test_findings_are_one_line_each_worst_first(scan):
    clipped = defects.clip(trials.magnitude_of(defects.zero_fill(scan.kspace, (1.5, 1.4))), 0.01)
    report = audit.examine(volume(clipped, facts={"distortion_corrected": True}))
    grades = [finding.grade for finding in report.found]
    assert grades == sorted(grades, key=audit.GRADES.index)
    assert {audit.TOO_GOOD, audit.RISK, audit.NOTE} == set(grades)
    for finding in report.found:
        assert finding.line.startswith(f"{finding.check} ({finding.grade}): ")
        assert "\n" not in finding.line


def test_a_header_that_asks_for_more_or_for_nonsense_is_no_finding(scan):
    for matrix in ((322, 264), (161, 132), (0, 0), ("a", "b"), (90,), None, float("nan")):
        report = audit.examine(volume(scan.magnitude, facts={"acquisition_matrix": matrix}))
        assert not report.found
        assert report.true_matrix == (161, 132)


def test_the_true_matrix_is_the_headers_where_it_tells_one(scan):
    filled = trials.magnitude_of(defects.zero_fill(scan.kspace, (1.5, 1.5)))
    facts = {"acquisition_matrix": (160, 132)}
    report = audit.examine(volume(filled, facts=facts))
    assert report["zero_filled"].evidence == "image and header"
    assert report.true_matrix == (160, 132)


@pytest.mark.parametrize("matrix", [(64, 132), (161, 80), (110, 100)])
def test_what_kspace_holds_is_not_cropped_whatever_the_header_says(scan, matrix):
    """Headers are wrong, or read wrongly: a scan that nobody interpolated stays as it is."""
    report = audit.examine(volume(scan.magnitude, facts={"acquisition_matrix": matrix}))
    assert report["zero_filled"].evidence == "header"
    assert report.true_matrix == (161, 132) and not report.repairable


@pytest.mark.parametrize("factors", [(1.5, 1.0), (1.0, 1.4)])
def test_an_axis_that_was_interpolated_is_cropped_alone(scan, factors):
    filled = trials.magnitude_of(defects.zero_fill(scan.kspace, factors))
    swapped = tuple(round(n / by) for n, by in zip(filled.shape[-2:], factors[::-1], strict=True))
    report = audit.examine(volume(filled, facts={"acquisition_matrix": swapped}))
    for axis in (0, 1):  # the header names the other axis: the images alone decide
        assert report.true_matrix[axis] == pytest.approx((161, 132)[axis], rel=0.04)


# --- physics that the measures rest on -----------------------------------------------


@pytest.mark.parametrize("n_coils", [1, 6])
@pytest.mark.parametrize("share", [0.5, 0.75, 1.0])
def test_air_tells_the_share_of_kspace_whatever_the_coils(n_coils, share, draw):
    """Squared magnitudes of a band of noise correlate by sinc(share)^2: here without any head."""
    noise = torch.randn(3, n_coils, 128, 140, dtype=torch.complex64, generator=draw)
    magnitude = trials.magnitude_of(defects.partial_fourier(noise, share)) * 0.03
    magnitude[:, 50:80, 50:90] += 1
    found = witnesses.air_noise(view.look(volume(magnitude)))
    expected = (math.sin(math.pi * share) / (math.pi * share)) ** 2
    assert found.along[1][0] == pytest.approx(expected, abs=0.04 if n_coils == 1 else 0.03)
    assert found.along[0][0] == pytest.approx(0, abs=0.03)
    assert found.error < 0.01


def displaced_lines(kspace, axis):
    """Lines by which k-space lies off its centre in nine tenths of the bright places, at most.

    A phase that turns d times over the field of view displaces the k-space of its place by d.
    """
    images, n = arrays.ifft2c(kspace), kspace.shape[axis]
    steps = (images.narrow(axis, 1, n - 1) * images.narrow(axis, 0, n - 1).conj()).sum(1)
    bright = steps.abs() > steps.abs().quantile(0.7)
    return float((steps.angle()[bright].abs() * n / (2 * math.pi)).quantile(0.9))


@pytest.mark.parametrize("factors", [(1.5, 1.25), (2.0, 2.0), (1.0, 1.4)])
def test_the_true_matrix_is_found_within_four_percent(scans, singles, factors):
    """Or as far off as phase takes k-space: n lines, d off the centre, are n + 2 d less a side."""
    for scan in [*scans, *singles]:
        if "GRE" in scan.name:
            continue  # its phase is rough: the edge is seen, its place is not
        filled = trials.magnitude_of(defects.zero_fill(scan.kspace, factors))
        report = audit.examine(volume(filled))
        for axis in (-2, -1):
            found, true = report.true_matrix[axis], scan.kspace.shape[axis]
            further = max(0.04 * true, 2 * displaced_lines(scan.kspace, axis))
            assert 0.99 * true <= found <= true + further  # what was measured stays


# --- error rates ---------------------------------------------------------------------

SEEN = {  # defects that must be found in at least so large a share of scans
    ("zero_filled", "both axes"): 0.75,
    ("zero_filled", "one axis"): 0.7,
    ("corner_filter", "elliptical"): 0.8,
    ("corner_filter", "Hamming"): 0.8,
    ("corner_filter", "Fermi"): 0.8,
    ("partial_fourier", "zero-filled"): 0.6,
    ("lossy", "JPEG"): 0.9,
    ("quantised", "grey values"): 1.0,
    ("quantised", "clipped"): 0.9,
    ("masked", "air set to zero"): 1.0,
    ("masked", "defaced"): 1.0,
    ("masked", "air damped"): 0.8,
    ("skull_stripped", "brain alone"): 0.8,
    ("resampled", "linear"): 0.9,
    ("resampled", "cubic"): 0.8,
    ("slices_interpolated", "from thicker"): 1.0,
    ("slices_interpolated", "from thicker, air masked"): 0.8,
    ("burned_in", "text"): 0.5,
}


@pytest.fixture(scope="module")
def rates(scans):
    chosen = [case for case in trials.cases() if (case.check, case.defect) in SEEN]
    return trials.error_rates(trials.run(scans, chosen))


def test_clean_scans_are_called_clean(rates):
    false = {row.check: row.false_positives for row in rates if row.defect == trials.CLEAN}
    assert list(false) == NAMES
    assert sum(share > 0 for share in false.values()) <= 1, false
    assert max(false.values()) <= 0.2, false


@pytest.mark.parametrize("defect", SEEN, ids=" ".join)
def test_a_defect_is_found(rates, defect):
    rows = [row for row in rates if (row.check, row.defect) == defect]
    missed = [row.false_negatives for row in rows]
    assert sum(row.n for row in rows) >= 4
    assert 1 - sum(missed) / len(missed) >= SEEN[defect], [(r.strength, r.measure) for r in rows]


def test_masks_are_told_from_stripped_skulls(scans):
    for scan in scans:
        masked = audit.examine(volume(defects.mask_background(scan.magnitude, scan.head)))
        assert masked["masked"].found and "as masking or skull" in masked["masked"].detail
        assert not masked["skull_stripped"].found
        defaced = audit.examine(volume(defects.deface(scan.magnitude, scan.head, 0.15)))
        assert "defacing" in defaced["masked"].detail


def test_slices_with_text_are_named(scan):
    magnitude = scan.magnitude.clone()
    magnitude[2] = defects.burn_text(magnitude[2:3], height=5)[0]
    finding = audit.examine(volume(magnitude))["burned_in"]
    assert finding.found and finding.slices == (2,)


def measured(real):
    """Names and k-space (slice, coil, ky, kx) of measured heads, all of it measured."""
    for path in sorted([*real.glob("*coil/*.h5"), *real.glob("complex_t2/*.h5")]):
        with h5py.File(path) as file:
            kspace = torch.from_numpy(file["kspace"][()])
        yield path.stem, kspace if kspace.ndim == 4 else kspace[:, None]


def test_measured_heads_whose_kspace_is_whole_have_no_findings(real):
    scans = list(measured(real))
    assert len(scans) == 17
    for name, kspace in scans:
        assert not trials.examined(name, trials.magnitude_of(kspace)).found, name


@pytest.mark.parametrize("axis", [-2, -1])
def test_empty_lines_around_a_measured_kspace_are_zero_filling_and_no_partial_fourier(real, axis):
    """44 + 44 of 256 lines, as many of every other axis."""
    seen = total = 0
    for name, kspace in measured(real):
        n = kspace.shape[axis]
        if n < 128:  # without air and below 100 lines the images cannot tell
            continue
        outside = (torch.arange(n) - n // 2).abs() > round(84 / 256 * n)
        empty = kspace.masked_fill(outside if axis == -1 else outside[:, None], 0)
        report = trials.examined(name, trials.magnitude_of(empty))
        assert not report["partial_fourier"].found, name
        seen, total = seen + report["zero_filled"].found, total + 1
        if report["zero_filled"].found:
            assert report.true_matrix[axis] == pytest.approx(round(168 / 256 * n), abs=0.03 * n)
            assert report.true_matrix[-3 - axis] == kspace.shape[-3 - axis]
    assert total == 16 and seen >= 15


@pytest.mark.parametrize("factors", [(2.0, 2.0), (1.0, 2.0)])
def test_beside_zero_filling_air_does_not_say_one_thing_and_its_contrary(scans, factors):
    """Blurred and folded air, correlated more than zero-filling alone makes it."""
    for scan in scans:
        filled = trials.magnitude_of(defects.zero_fill(scan.kspace, factors))
        for shift in (1, 2):
            ghost = (filled.square() + filled.roll(shift, -1).square()).sqrt()
            ghost = (ghost.square() + 0.5 * ghost.roll(1, -2).square()).sqrt()
            facts = {"acquisition_matrix": tuple(scan.kspace.shape[-2:])}
            report = audit.examine(volume(ghost, facts=facts))
            pair = report["corner_filter"].found, report["partial_fourier"].found
            assert not all(pair), (scan.name, shift)


def test_a_measured_zero_filled_scan_has_no_consequences_of_it_as_findings(real):
    from synthlib import archive

    case = real / "cases" / "acquisition_matrix_other_slots"
    image = archive.read(archive.find([case], salt=b"s" * 16).series[0])
    names = [finding.check for finding in audit.examine(image).found]
    assert "zero_filled" in names
    assert "corner_filter" not in names and "partial_fourier" not in names


def test_a_missing_side_of_a_measured_kspace_is_no_zero_filling(real):
    for name, kspace in measured(real):
        for share in (5 / 8, 6 / 8, 7 / 8):
            less = defects.partial_fourier(kspace, share)
            report = trials.examined(name, trials.magnitude_of(less))
            assert not report["zero_filled"].found, (name, share)


@pytest.mark.parametrize("says", [0.05, -0.04])
def test_a_header_that_is_off_crops_nothing_that_was_measured(scans, says):
    for scan in scans:
        filled = trials.magnitude_of(defects.zero_fill(scan.kspace, (1.0, 1.25)))
        ny, nx = filled.shape[-2:]
        facts = {"acquisition_matrix": (ny, round((0.8 - says) * nx))}
        report = audit.examine(volume(trials.stored(filled), facts=facts))
        assert report.true_matrix[0] == ny
        assert report.true_matrix[1] >= scan.kspace.shape[-1] - 1


@pytest.mark.parametrize("share", [0.95, 0.875, 0.75])
def test_a_header_that_counts_measured_lines_crops_no_partial_fourier(trains, singles, share):
    for scan in [*trains, *singles]:
        ny, nx = scan.kspace.shape[-2:]
        less = defects.partial_fourier(scan.kspace, share)
        facts = {"acquisition_matrix": (ny, round(share * nx)), "partial_fourier": True}
        report = audit.examine(volume(trials.stored(trials.magnitude_of(less)), facts=facts))
        assert report.true_matrix == (ny, nx)


@pytest.mark.parametrize("share", [0.95, 0.75])
def test_zero_filling_of_partial_fourier_is_cropped_where_kspace_ends(singles, share):
    lost = []
    for scan in singles:
        less = defects.partial_fourier(scan.kspace, share)
        filled = trials.magnitude_of(defects.zero_fill(less, (1.0, 1.333)))
        report = audit.examine(volume(trials.stored(filled)))
        lost.append(scan.kspace.shape[-1] - report.true_matrix[1])
        assert report.true_matrix[0] == scan.kspace.shape[-2]
    # one of these scans falls towards its edge, and loses a second line (1.5 % of k-space)
    assert sum(lines > 1 for lines in lost) <= 1 and max(lost) <= 2


@pytest.mark.parametrize(
    ("share", "least", "whole", "seen"),
    [(0.95, 0.9, 0.6, 6), (0.875, 0.98, 0.8, 1), (0.75, 0.99, 0.8, 8)],
)
def test_where_an_echo_trains_kspace_ends_is_told_but_for_the_last_lines(
    trains, share, least, whole, seen
):
    """What few lines the mirror image of a short missing side leaves out may be cropped.

    They are the last echoes': 8 dB and more below the lines within, as far as a phase of a
    few turns smears the edge anyway (4 or 5 lines), so that no spectrum tells them from it. With
    an eighth missing most are not seen at all.
    """
    kept, n_seen = [], 0
    for scan in trains:
        ny, n = scan.kspace.shape[-2:]
        filled = defects.zero_fill(defects.partial_fourier(scan.kspace, share), (1.0, 1.333))
        report = audit.examine(volume(trials.stored(trials.magnitude_of(filled))))
        assert report.true_matrix[0] == ny
        assert report.true_matrix[1] >= least * n - 1
        kept.append(report.true_matrix[1] >= n - 1)
        n_seen += report["zero_filled"].found
    assert len(kept) == 9 and sum(kept) >= whole * len(kept)
    assert n_seen >= seen


@pytest.mark.parametrize("decay", [1.0, 1.4])
def test_the_weak_side_of_an_echo_train_is_not_cropped(singles, decay):
    """The early echoes' side is missing; what was measured lies far below its mirror image."""
    seen = 0
    for scan in singles:
        n = scan.kspace.shape[-1]
        late = (torch.arange(n) - n // 2) / (n / 2)
        less = defects.partial_fourier(scan.kspace * torch.exp(-decay * late), 0.75)
        filled = trials.magnitude_of(defects.zero_fill(less, (1.0, 1.333)))
        report = audit.examine(volume(trials.stored(filled)))
        assert report.true_matrix[1] >= n - 1
        if report["zero_filled"].found:
            assert report.true_matrix[1] <= 1.04 * n
            seen += 1
    assert seen >= 3


def test_a_header_that_names_the_other_axis_does_not_count_as_agreement(scan):
    filled = trials.magnitude_of(defects.zero_fill(scan.kspace, (1.0, 1.4)))
    ny, nx = filled.shape[-2:]
    report = audit.examine(volume(filled, facts={"acquisition_matrix": (round(0.7 * ny), nx)}))
    finding = report["zero_filled"]
    assert finding.evidence == "image" and "of kx" in finding.detail and "yet" in finding.detail


def test_a_rim_of_skin_is_no_text_and_a_word_is(scan):
    rim = scan.magnitude.clone()
    top = float(rim.max())
    rim[:, 3, 20:60] = top  # a bright line, longer than any letter
    assert not audit.examine(volume(rim))["burned_in"].found
    written = defects.burn_text(scan.magnitude, height=5)
    assert audit.examine(volume(written))["burned_in"].found
