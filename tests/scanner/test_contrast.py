"""Signal equations at their limits."""

import math
from dataclasses import replace

import pytest
import torch

from synthlib.scanner import contrast, tissues
from synthlib.scanner.anatomy import TISSUES
from synthlib.scanner.contrast import PROTOCOLS, Protocol, gradient_echo, inversion_train, spin_echo


def signals(name: str, field_t: float = 3.0) -> dict[str, float]:
    protocol = contrast.protocol_at(name, field_t)
    values = contrast.signals(contrast.tissue_table(field_t), protocol, field_t)
    return dict(zip(TISSUES, values.tolist(), strict=True))


def test_long_tr_without_te_shows_proton_density():
    density, t1, t2, _ = contrast.tissue_table(1.5)
    signal = spin_echo(density, t1, t2, Protocol(tr_ms=1e7, te_ms=0.0))
    torch.testing.assert_close(signal, density)


def test_without_te_the_signal_is_saturation_recovery():
    density, t1, t2, _ = contrast.tissue_table(3.0)
    signal = spin_echo(density, t1, t2, Protocol(tr_ms=700.0, te_ms=0.0))
    torch.testing.assert_close(signal, density * (1 - torch.exp(-700.0 / t1)))


def test_long_tr_decays_with_t2():
    density, t1, t2, _ = contrast.tissue_table(3.0)
    signal = spin_echo(density, t1, t2, Protocol(tr_ms=1e7, te_ms=80.0))
    torch.testing.assert_close(signal, density * torch.exp(-80.0 / t2))


def test_flair_nulls_fluid_at_t1_ln_2():
    t1 = torch.tensor(4300.0)
    null = Protocol(tr_ms=1e7, te_ms=90.0, ti_ms=float(t1) * math.log(2))
    assert spin_echo(torch.tensor(1.0), t1, torch.tensor(2000.0), null).abs() < 1e-5


def test_an_inversion_that_leaves_everything_as_it_is_is_none():
    t1, te, tr = torch.tensor([300.0, 900.0, 4000.0]), 20.0, 2500.0
    protocol = Protocol(tr_ms=tr, te_ms=te, ti_ms=700.0, inversion=-1.0)
    one, t2 = torch.ones(3), torch.full((3,), 1e9)
    plain = contrast.spin_echo(one, t1, t2, Protocol(tr_ms=tr, te_ms=te))
    torch.testing.assert_close(contrast.spin_echo(one, t1, t2, protocol), plain)
    # and half an inversion is the mean of none and a whole one where the steady state is forgotten
    long = [replace(protocol, tr_ms=1e6, inversion=share) for share in (1.0, 0.0, -1.0)]
    whole, half, none = (contrast.spin_echo(one, t1, t2, sequence) for sequence in long)
    torch.testing.assert_close(half, (whole + none) / 2)


def test_a_right_angle_gradient_echo_is_saturation_recovery_with_t2star():
    density, t1, _, t2star = contrast.tissue_table(3.0)
    right = Protocol(tr_ms=300.0, te_ms=15.0, flip_deg=90.0)
    expected = density * (1 - torch.exp(-300.0 / t1)) * torch.exp(-15.0 / t2star)
    torch.testing.assert_close(gradient_echo(density, t1, t2star, right), expected)


def test_a_gradient_echo_is_strongest_at_the_ernst_angle():
    t1, tr = 800.0, 30.0
    ernst = math.degrees(math.acos(math.exp(-tr / t1)))
    at = [
        gradient_echo(
            torch.tensor(1.0), torch.tensor(t1), torch.tensor(50.0), Protocol(tr, 0.0, flip_deg=deg)
        )
        for deg in (ernst - 2, ernst, ernst + 2)
    ]
    assert at[1] > at[0] and at[1] > at[2]


def test_a_small_flip_with_long_tr_gives_proton_density_times_its_sine():
    density, t1, _, t2star = contrast.tissue_table(1.5)
    signal = gradient_echo(density, t1, t2star, Protocol(tr_ms=1e7, te_ms=0.0, flip_deg=5.0))
    torch.testing.assert_close(signal, density * math.sin(math.radians(5.0)))


def test_a_gradient_echo_without_flip_angle_is_refused():
    one = torch.tensor(1.0)
    with pytest.raises(ValueError, match="no flip_deg; expected one"):
        gradient_echo(one, one, one, PROTOCOLS["AXT2"])


@pytest.mark.parametrize("field_t", contrast.FIELDS_T)
def test_tissues_are_ordered_as_in_the_clinic(field_t):
    t1, t2, flair, gre = (signals(n, field_t) for n in ("AXT1", "AXT2", "AXFLAIR", "AXGRE"))
    post, mprage, swi = (signals(n, field_t) for n in ("AXT1POST", "AXMPRAGE", "AXSWI"))
    assert t1["fat"] > t1["white"] > t1["grey"] > t1["csf"]
    assert t2["csf"] > t2["lesion"] > t2["grey"] > t2["white"] > t2["muscle"] > t2["bone"]
    # an adiabatic inversion leaves fluid a sixth of white matter's signal, as scans show it
    assert flair["lesion"] > flair["grey"] > flair["white"] > 5 * abs(flair["csf"])
    assert flair["white"] < 10 * abs(flair["csf"])
    assert gre["grey"] > gre["blood"]
    assert post["blood"] > post["mucosa"] > post["white"] > t1["blood"]  # agent
    assert post["grey"] == t1["grey"]  # agent stays in the brain's vessels
    assert mprage["fat"] > mprage["white"] > mprage["deep"] > mprage["grey"] > mprage["csf"] > 0
    assert swi["blood"] < min(swi["white"], swi["artery"])


def test_fluid_is_negative_before_its_null_and_positive_after():
    protocol = PROTOCOLS["AXFLAIR"]
    early, late = (
        contrast.signals(contrast.tissue_table(3.0), replace(protocol, ti_ms=ti))[
            TISSUES.index("csf")
        ]
        for ti in (2000.0, 3000.0)
    )
    assert early < 0 < late


def test_subjects_differ_in_their_tissues_by_a_few_percent():
    ratio = (
        contrast.tissue_table(3.0, torch.Generator().manual_seed(5))[:, 1:]
        / (contrast.tissue_table(3.0)[:, 1:])
    )
    assert 0.01 < (ratio - 1).abs().max() <= 0.1001


def test_transmit_field_is_strongest_in_the_middle_and_stronger_shaded_at_three_tesla():
    points = torch.tensor([[0.0, 0.0, 0.0], [80.0, 0.0, 0.0], [-80.0, 0.0, 0.0]])
    drop = []
    for field_t in contrast.FIELDS_T:
        shading = contrast.draw_shading(field_t, torch.Generator().manual_seed(2))
        middle, right, left = shading.at(points).tolist()
        drop.append(middle - (right + left) / 2)
    assert 0.03 < drop[0] < 0.08 < drop[1] < 0.16  # about 5 and 10 %


def test_a_gradient_echo_train_after_inversion_is_what_pulse_by_pulse_simulation_gives():
    density, t1, t2star = torch.tensor([0.8, 1.0, 0.3]), torch.tensor([838.0, 4300.0, 371.0]), 50.0
    protocol = Protocol(
        tr_ms=1900.0, te_ms=3.0, ti_ms=450.0, inversion=0.95, flip_deg=11.0, train=121,
        spacing_ms=7.1,
    )  # fmt: skip
    cos, sin = math.cos(math.radians(11.0)), math.sin(math.radians(11.0))

    def free(m, ms):
        return density.double() + (m - density.double()) * torch.exp(-ms / t1.double())

    m = density.double()
    for _ in range(40):  # TRs, until nothing changes
        m = free(-0.95 * m, 450.0 - 60 * 7.1)
        for pulse in range(121):
            if pulse == 60:
                expected = m * sin * math.exp(-3.0 / t2star)
            m = free(m * cos, 7.1)
        m = free(m, 1900.0 - (450.0 - 60 * 7.1) - 121 * 7.1)
    signal = inversion_train(density, t1, torch.full((3,), t2star), protocol)
    torch.testing.assert_close(signal.double(), expected, rtol=1e-4, atol=1e-6)
    assert signal[1] < 0  # fluid is still inverted


def test_a_train_without_pulses_is_inversion_recovery():
    density, t1, _, t2star = contrast.tissue_table(3.0)
    slow = Protocol(tr_ms=1e7, te_ms=0.0, ti_ms=700.0, flip_deg=90.0, train=1, spacing_ms=1.0)
    expected = density * (1 - 2 * torch.exp(-700.0 / t1))
    torch.testing.assert_close(inversion_train(density, t1, t2star, slow), expected)


def test_a_train_that_does_not_fit_is_refused():
    one = torch.tensor(1.0)
    long = replace(PROTOCOLS["AXMPRAGE"], train=400)
    with pytest.raises(ValueError, match=r"400 echoes .* do not fit between inversions"):
        inversion_train(one, one, one, long)


@pytest.mark.parametrize("field_t", contrast.FIELDS_T)
def test_fat_is_as_bright_beside_white_matter_as_measured_scans_show_it(field_t):
    # 99.5th percentile by the brain's median, 2.3 to 2.8, over coils that see the scalp 1.7 to 2
    # times as well as the brain
    for name in ("AXT1", "AXT1GRE", "AXMPRAGE"):
        signal = signals(name, field_t)
        assert 0.9 < signal["fat"] / signal["white"] < 1.8, name
        assert 0.5 < signal["grey"] / signal["white"] < 0.85, name


@pytest.mark.parametrize("field_t", contrast.FIELDS_T)
def test_grey_matter_is_as_bright_beside_white_in_t2_as_measured_scans_show_it(field_t):
    # modes of measured histograms are 1.35 and 1.40 apart, and those of simulated images a tenth
    # nearer to each other than the tissues' signals
    t2, flair = signals("AXT2", field_t), signals("AXFLAIR", field_t)
    assert 1.4 < t2["grey"] / t2["white"] < 1.53
    assert 1.05 < flair["grey"] / flair["white"] < 1.3


def test_peaks_of_fat_run_apart_and_meet_again():
    assert tissues.lipid_in_phase(0.0, 3.0) == pytest.approx(1.0)
    # twice the field, half the time
    assert tissues.lipid_in_phase(2.3, 3.0) == pytest.approx(tissues.lipid_in_phase(4.6, 1.5))
    # the two largest peaks alone, 0.8 ppm apart, would be opposed at 1 / (2 * 102.2 Hz)
    opposed = tissues.lipid_in_phase(1000 / (2 * 0.8 * 42.577 * 3), 3.0)
    assert opposed < 0.7
    assert (0.693 - 0.128 - 0.178) < opposed < (0.693 - 0.128 + 0.178)


def test_single_echoes_and_displaced_slices_make_fat_darker():
    table = contrast.tissue_table(3.0)
    single = PROTOCOLS["AXT1"]
    dark, bright = (
        contrast.lipid_signal(table, replace(single, train=train), 3.0, displaced=False)
        for train in (1, 16)
    )
    t2 = float(table[2, TISSUES.index("fat")])
    assert dark / bright == pytest.approx(math.exp(-10.0 / t2 * (1 / contrast.SINGLE_ECHO_T2 - 1)))
    density, t1, t2, _ = table[:, TISSUES.index("fat")]
    whole = float(spin_echo(density, t1, t2, single))
    assert bright / whole == pytest.approx(tissues.lipid_in_phase(0.25, 3.0))
    khz = 3.4 * 42.577 * 3 / 1000
    for train, refocusing_khz in ((1, contrast.REFOCUSING_KHZ), (16, contrast.TRAIN_KHZ)):
        protocol = replace(single, train=train)
        beside, apart = (
            contrast.lipid_signal(table, protocol, 3.0, displaced=off) for off in (False, True)
        )
        thicknesses = khz / refocusing_khz - khz / contrast.EXCITATION_KHZ
        assert apart / beside == pytest.approx(1 - thicknesses)


def test_fat_saturation_leaves_the_water_of_fat_tissue():
    table = contrast.tissue_table(3.0)
    saturated = replace(PROTOCOLS["AXT2"], fat=0.0)
    left = contrast.signals(table, saturated)[TISSUES.index("fat")]
    muscle = spin_echo(*table[:3, TISSUES.index("muscle")], saturated)
    expected = muscle * tissues.ADIPOSE_WATER / table[0, TISSUES.index("muscle")]
    torch.testing.assert_close(left, expected)
    assert contrast.lipid_signal(table, saturated) == 0


def test_agent_shortens_times_by_its_relaxivity():
    table = contrast.tissue_table(1.5)
    changed = tissues.with_agent(table, 1.5)
    vein, grey = TISSUES.index("blood"), TISSUES.index("grey")
    rate = 1000 / table[1, vein] + 5.2 * 0.7 * 0.58  # 1/s
    assert float(changed[1, vein]) == pytest.approx(1000 / float(rate), rel=1e-5)
    torch.testing.assert_close(changed[:, grey], table[:, grey])
    torch.testing.assert_close(changed[0], table[0])
    assert (changed[1:] <= table[1:] * (1 + 1e-6)).all()


def test_magnetisation_transfer_takes_white_matter_first():
    table, protocol = contrast.tissue_table(3.0), PROTOCOLS["AXT1"]
    off = contrast.signals(table, replace(protocol, transfer=0.0))
    ratio = contrast.signals(table, replace(protocol, transfer=0.2)) / off
    at = {name: float(ratio[TISSUES.index(name)]) for name in ("white", "grey", "csf", "fat")}
    assert at == pytest.approx({"white": 0.8, "grey": 0.9, "csf": 1.0, "fat": 1.0})


def test_veins_turn_as_far_at_both_fields_in_a_susceptibility_weighted_scan():
    low, high = (contrast.protocol_at("AXSWI", field_t) for field_t in contrast.FIELDS_T)
    assert low.te_ms * 1.5 == high.te_ms * 3.0
    assert high.flow_compensated
    assert contrast.protocol_at("AXT2", 1.5) == PROTOCOLS["AXT2"]


def places(*centres_mm, spread_mm=3.0):
    """(place, 343, 3): a cube of positions around each."""
    steps = torch.linspace(-spread_mm, spread_mm, 7)
    cube = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    return torch.tensor(centres_mm)[:, None] + cube


def test_csf_that_flows_in_is_bright_in_flair_around_the_stem_and_nowhere_else():
    table, flair = contrast.tissue_table(3.0), PROTOCOLS["AXFLAIR"]
    where = places([0.0, -46.0, -30.0], [0.0, -12.0, 2.0], [40.0, 20.0, 55.0])
    drawn = [contrast.draw_pulsation(torch.Generator().manual_seed(s)) for s in range(40)]
    shares = torch.stack([pulsation.share(where) for pulsation in drawn])  # (head, place, 343)
    fourth, third, convexity = shares.mean(-1).T
    assert 0.01 < fourth.mean() < 0.1 and 0.01 < third.mean() < 0.1
    assert convexity.max() < 1e-4
    pulsation = drawn[int(fourth.argmax())]
    added, share = pulsation.added_signal(where, table, flair), pulsation.share(where)
    still = contrast.signals(table, flair)[TISSUES.index("csf")]
    fresh = math.exp(-flair.te_ms / 2000)  # fluid that no pulse has met
    torch.testing.assert_close(still + added, still * (1 - share) + fresh * share)
    assert pulsation.added_signal(where, table, PROTOCOLS["AXT2"]).abs().max() == 0


@pytest.mark.parametrize("field_t", contrast.FIELDS_T)
def test_fluid_that_flows_in_is_darker_than_grey_matter_in_most_heads_and_uneven(field_t):
    """Bright artefacts are those of part of the patients; Bakshi et al., AJNR 21:503 (2000)."""
    table, flair = contrast.tissue_table(field_t), PROTOCOLS["AXFLAIR"]
    signal = dict(zip(TISSUES, contrast.signals(table, flair, field_t).tolist(), strict=True))
    where = places([0.0, -46.0, -30.0], spread_mm=5.0)
    drawn = [contrast.draw_pulsation(torch.Generator().manual_seed(s)) for s in range(100)]
    added = torch.stack([pulsation.added_signal(where, table, flair)[0] for pulsation in drawn])
    brightness = (signal["csf"] + added) / signal["grey"]  # (head, position)
    brighter = (brightness.quantile(0.9, dim=1) > 1).float().mean()
    assert 0.03 < brighter < 0.25
    assert brightness.max() < 2.5
    moving = added.mean(1) > 0.01
    assert 0.3 < moving.float().mean() < 0.9
    assert (added.std(1) / added.mean(1))[moving].median() > 0.4


def test_pulsation_differs_between_subjects_and_repeats_with_the_seed():
    first, second, again = (
        contrast.draw_pulsation(torch.Generator().manual_seed(seed)) for seed in (1, 2, 1)
    )
    assert first == again
    assert first != second
    assert max(first.inflow) <= contrast.MOST_INFLOW
