"""Signal equations at their limits."""

import math
from dataclasses import replace

import pytest
import torch

from synthlib.scanner import contrast
from synthlib.scanner.anatomy import TISSUES
from synthlib.scanner.contrast import PROTOCOLS, Protocol, gradient_echo, spin_echo


def signals(name: str, field_t: float = 3.0) -> dict[str, float]:
    values = contrast.signals(contrast.tissue_table(field_t), PROTOCOLS[name])
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
    assert t1["fat"] > t1["white"] > t1["grey"] > t1["csf"]
    assert t2["csf"] > t2["lesion"] > t2["grey"] > t2["white"] > t2["muscle"] > t2["bone"]
    assert flair["lesion"] > flair["grey"] > flair["white"] > 10 * abs(flair["csf"])
    assert gre["grey"] > gre["blood"]
    assert t2["blood"] < 0.3 * t2["grey"]  # moving blood leaves the slice


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
