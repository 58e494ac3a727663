"""The blind look: what it must and must not tell apart, and what it makes alike beforehand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from synthlib import figures, formats, likeness, runs, scanner, tables
from synthlib.study import blind_look, discrimination, patches
from synthlib.study.blind_look import Settings
from synthlib.study.patches import Look

SHAPE = (78, 91)
QUICK = Settings(
    patch_px=16, n_patches=80,
    network=discrimination.Settings(channels=(8, 16, 24), steps=60, batch=32, n_networks=1),
)  # fmt: skip


def look(head, subject, is_measured, *, dots=0.0, noise_sd=0.02, pixel_mm=(0.9, 1.0)):
    """A brain of random, smooth magnitude and phase, with noise and dots of other phase."""
    draw = runs.rng(5, head, subject, is_measured)
    y = torch.linspace(-1, 1, SHAPE[0])[:, None]
    x = torch.linspace(-1, 1, SHAPE[1])
    a, b, c = torch.randn(3, generator=draw)
    phase = a + 3 * b * y + 2 * c * x + 0.5 * y * x
    phase = phase + 0.6 * (torch.rand(SHAPE, generator=draw) < dots)
    image = torch.polar(1 + 0.2 * torch.cos(4 * y + a) * torch.cos(3 * x + b), phase)
    noise = torch.view_as_complex(torch.randn((*SHAPE, 2), generator=draw))
    brain = (y.square() + x.square()) < 0.9
    return Look(head, subject, is_measured, image + noise_sd * noise, brain, noise_sd, pixel_mm)


def looks(dots=0.0, **changes):
    """Four measured heads with three twins each; the measured ones have more or fewer dots."""
    heads = [f"head {number}" for number in range(4)]
    measured = [look(head, head, True, dots=dots, **changes) for head in heads]
    return measured + [
        look(head, f"{head} {number}", False) for head in heads for number in range(3)
    ]


@pytest.mark.parametrize("hold_out", ["head", "half"])
def test_phase_of_the_same_distribution_is_a_guess(hold_out):
    settings = dataclasses.replace(QUICK, hold_out=hold_out)
    result = blind_look.blind_look(looks(), seed=1, settings=settings)
    assert len(result.heads) == 4
    assert 0.35 < result.auroc < 0.65
    assert result.interval[0] < 0.5 < result.interval[1]


@pytest.mark.parametrize("hold_out", ["head", "half"])
def test_dots_of_another_phase_are_told_apart_and_not_by_magnitude(hold_out):
    settings = dataclasses.replace(QUICK, hold_out=hold_out)
    result = blind_look.blind_look(looks(dots=0.03), seed=1, settings=settings)
    assert result.auroc > 0.97
    assert result.interval[0] > 0.9
    magnitude = dataclasses.replace(settings, part="magnitude")
    assert blind_look.blind_look(looks(dots=0.03), seed=1, settings=magnitude).auroc < 0.7


def test_more_noise_gives_nobody_away():
    # the measured heads have half the SNR: patches are brought to the same
    noisy = looks(noise_sd=0.05)
    result = blind_look.blind_look(noisy, seed=1, settings=QUICK)
    assert 0.35 < result.auroc < 0.65


def test_smoothing_hides_what_is_fine():
    fine = dataclasses.replace(QUICK, smooth_px=3.0)
    sharp, smooth = (
        blind_look.blind_look(looks(dots=0.01), seed=1, settings=settings).auroc
        for settings in (QUICK, fine)
    )
    assert smooth < sharp - 0.1


def test_all_patches_of_a_head_have_the_same_noise():
    flat = [
        dataclasses.replace(one, image=one.image / one.image * scale + one.image * 0)
        for one, scale in zip(looks()[::4], (1.0, 2.0, 3.0, 4.0), strict=True)
    ]
    alike = [
        dataclasses.replace(one, head="same", noise_sd=sd)
        for one, sd in zip(flat, (0.01, 0.05, 0.02, 0.3), strict=True)
    ]  # levels 0.01, 0.025, 0.007 and 0.075
    drawn = patches.draw(alike, size=16, n_patches=1000, snr=20.0, seed=3)
    levels = {patch.level for patch in drawn}
    assert len(levels) == 1
    added = {}
    for patch in drawn:
        real = (patch.image - patch.image.mean()).real.square().mean()
        added.setdefault(patch.look.subject, []).append(float(real))
    for one in alike:
        own = one.noise_sd / float(one.image.abs().median())
        if one.subject in added:  # what was added to an image without any noise
            spread = math.sqrt(sum(added[one.subject]) / len(added[one.subject]))
            expected = math.sqrt(levels.copy().pop() ** 2 - own**2)
            assert spread == pytest.approx(expected, rel=0.05, abs=1e-6)
    assert len(added) >= 3


def test_patches_lie_in_the_brain_and_on_the_side_that_they_say():
    one = look("head", "head", True)
    column = torch.arange(SHAPE[1]).expand(SHAPE).float()
    drawn = patches.draw(
        [dataclasses.replace(one, image=torch.complex(column + 1, column * 0), noise_sd=1e-9)],
        size=16, n_patches=1000, snr=1e9, seed=1,
    )  # fmt: skip
    sides = {-1: 0, 0: 0, 1: 0}
    for patch in drawn:
        # columns run from c to c + 15 over their median, c + 7.5 (torch takes the lower: c + 7)
        slope = float(patch.image.real.diff(dim=1).mean())
        first = 1 / slope - 8
        middle = (SHAPE[1] - 1) / 2
        side = 1 if first >= middle else -1 if first + 16 <= middle else 0
        sides[side] += 1
        assert patch.side == side
    assert min(sides.values()) > 0


def test_large_pixels_are_interpolated_alike():
    drawn = patches.draw(
        [look("head", name, name == "a", pixel_mm=(2.1, 2.1)) for name in "ab"],
        size=24, n_patches=500, snr=30.0, seed=1,
    )  # fmt: skip
    assert {patch.look.image.shape for patch in drawn} == {(2 * SHAPE[0], 2 * SHAPE[1])}
    assert {patch.look.pixel_mm for patch in drawn} == {(1.05, 1.05)}


def test_a_plane_of_phase_is_taken_off_on_the_circle():
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(20.0), indexing="ij")
    bump = 0.3 * torch.exp(-((y - 12) ** 2 + (x - 9) ** 2) / 8)
    tilts = torch.tensor([[0.0, 0.0], [0.9, -0.4], [-1.7, 1.1]])  # rad a pixel: many turns
    phase = tilts[:, :1, None] * y + tilts[:, 1:, None] * x + 2.5
    plain, *tilted = patches.level_phase(torch.polar(torch.ones_like(phase), phase + bump))
    for one in tilted:
        torch.testing.assert_close(one, plain, atol=2e-4, rtol=0)
    assert plain.max() > 0.2 and plain.abs().max() < 0.35


def test_the_surest_patches_are_ordered_and_have_their_truth():
    result = blind_look.blind_look(looks(dots=0.03), seed=1, settings=QUICK)
    surest = result.surest(3)
    assert set(surest) >= {"measured, called measured", "simulated, called simulated"}
    for shown in surest.values():
        assert 1 <= len(shown) <= 3
        for patch, importance in shown:
            assert patch.shape == importance.shape == (16, 16)
            assert float(importance.mean()) == pytest.approx(1, rel=1e-4)
    figure = figures.blind_look(surest, "phase")
    drawn = [panel.images[0].get_array() for panel in figure.axes if panel.images]
    assert len(drawn) == 2 * sum(map(len, surest.values()))
    first = next(iter(surest.values()))[0][0]
    assert torch.equal(torch.as_tensor(drawn[0].data), first)
    # dots of 0.6 rad are three of the network's units
    dotted, plain = (
        torch.stack([patch for patch, _ in surest[f"{kind}, called {kind}"]]).max()
        for kind in ("measured", "simulated")
    )
    assert dotted > 2 > plain


def test_rows_have_every_head_and_the_mean():
    rows = blind_look.blind_look(looks(), seed=1, settings=QUICK).rows()
    assert [row["head"] for row in rows[:-1]] == [f"head {number}" for number in range(4)]
    assert rows[-1]["head"] == "mean of 4"
    assert "|" in tables.from_dicts(rows)["md"]


def test_it_is_repeatable_and_leaves_the_global_state_alone():
    before = torch.random.get_rng_state()
    first, second = (blind_look.blind_look(looks(), seed=1, settings=QUICK) for _ in range(2))
    assert [head.auroc for head in first.heads] == [head.auroc for head in second.heads]
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("hold_out", ["head", "half"])
def test_too_few_heads_are_refused(hold_out):
    settings = dataclasses.replace(QUICK, hold_out=hold_out)
    few = [one for one in looks() if one.head in ("head 0", "head 1")]
    with pytest.raises(ValueError, match="2 heads have measured and simulated patches"):
        blind_look.blind_look(few, seed=1, settings=settings)
    measured_alone = [one for one in looks() if one.is_measured]
    with pytest.raises(ValueError, match="0 heads"):
        blind_look.blind_look(measured_alone, seed=1, settings=settings)


def small_heads():
    """Two stored heads, one of magnitudes alone, at 45 x 40."""
    by_name = {one.name: one for one in likeness.measured()}
    return [
        dataclasses.replace(by_name[name], matrix=(45, 40), pixel_mm=(5.0, 5.0))
        for name in ("head_axial_t2_1coil", "head_t2w")
    ]


def test_without_measured_heads_the_first_twins_play_them():
    sets = [likeness.twin_scans(small_heads(), seed=seed) for seed in (4, 5, 6)]
    heads = blind_look.heads_of([], sets)
    assert not heads.are_measured and "No folder of measured heads" in heads.text
    assert "against 2 simulated subjects" in heads.text
    name = "head_axial_t2_1coil"  # the other has no phase
    assert [(one.head, one.subject, one.is_measured) for one in heads.looks] == [
        (name, f"{name} 0", True), (name, f"{name} 1", False), (name, f"{name} 2", False),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"sets of simulated twins: 1; expected one, and another"):
        blind_look.heads_of([], sets[:1])


def test_measured_heads_are_set_against_their_twins(tmp_path):
    settings = scanner.ScanSettings(
        n_subjects=1, coil_counts=(2,), contrasts=("AXT2",), n_slices=3, matrix=(45, 40)
    )
    volume = scanner.scan_subject(settings, scanner.subjects(settings)[0])[0].volume
    formats.write_raw(
        tmp_path / "scan.h5", volume.kspace[:], contrast="AXT2", patient_id="somebody",
        recon_shape=(45, 40), spacing_mm=volume.spacing_mm,
    )  # fmt: skip
    survey = likeness.survey(tmp_path)
    heads = blind_look.heads_of(survey.volumes, [likeness.twin_scans(survey.portraits, seed=4)])
    assert heads.are_measured
    assert heads.text == "1 measured head, each against 1 simulated subject"
    first, second = heads.looks
    assert first.is_measured and not second.is_measured
    assert first.head == second.head == "scan" and first.subject == "somebody"
    assert first.image.shape == second.image.shape == (45, 40)


def test_every_slice_of_a_twin_is_looked_at():
    head = small_heads()[0]
    settings = dataclasses.replace(likeness.twin_settings(head, 4), positions_mm=(-7.0, 0.0))
    twin = likeness.matched_twin(head, settings)
    made = blind_look.twin_looks([[twin], [twin]])
    assert [one.subject[-1] for one in made] == ["0", "0", "1", "1"]
    assert not torch.equal(made[0].image, made[1].image)


def result_of(*aurocs):
    empty = torch.zeros(0, 16, 16)
    none = torch.zeros(0).numpy()
    heads = [
        blind_look.HeadResult(str(number), value, empty, none > 0, none, empty)
        for number, value in enumerate(aurocs)
    ]
    return blind_look.BlindLook("phase", heads)


def test_less_than_a_guess_is_not_called_likeness():
    mixed = result_of(0.2, 0.3, 0.7, 0.75).sentence(are_measured=True)
    assert "AUROC 0.49" in mixed
    assert "In 2 of 4 heads the network is wrong more often than right" in mixed
    assert "wrong" not in result_of(0.6, 0.7, 0.8).sentence(are_measured=True)
    assert "0.5 lies inside" in result_of(0.2, 0.3, 0.7, 0.75).sentence(are_measured=False)
    assert "0.5 lies outside, which chance does more often" in result_of(0.90, 0.91, 0.92).sentence(
        are_measured=False
    )
