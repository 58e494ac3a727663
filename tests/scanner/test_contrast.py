"""Signal equations at their limits."""

import math

import torch

from synthlib.scanner import contrast
from synthlib.scanner.anatomy import TISSUES
from synthlib.scanner.contrast import PROTOCOLS, Protocol, spin_echo


def signals(name: str) -> dict[str, float]:
    table = contrast.tissue_table(3.0)
    values = spin_echo(table[0], table[1], table[2], PROTOCOLS[name])
    return dict(zip(TISSUES, values.tolist(), strict=True))


def test_long_tr_without_te_shows_proton_density():
    density, t1, t2 = contrast.tissue_table(1.5)
    signal = spin_echo(density, t1, t2, Protocol(tr_ms=1e7, te_ms=0.0))
    torch.testing.assert_close(signal, density)


def test_without_te_the_signal_is_saturation_recovery():
    density, t1, t2 = contrast.tissue_table(3.0)
    signal = spin_echo(density, t1, t2, Protocol(tr_ms=700.0, te_ms=0.0))
    torch.testing.assert_close(signal, density * (1 - torch.exp(-700.0 / t1)))


def test_long_tr_decays_with_t2():
    density, t1, t2 = contrast.tissue_table(3.0)
    signal = spin_echo(density, t1, t2, Protocol(tr_ms=1e7, te_ms=80.0))
    torch.testing.assert_close(signal, density * torch.exp(-80.0 / t2))


def test_flair_nulls_fluid_at_t1_ln_2():
    t1 = torch.tensor(4300.0)
    null = Protocol(tr_ms=1e7, te_ms=90.0, ti_ms=float(t1) * math.log(2))
    assert spin_echo(torch.tensor(1.0), t1, torch.tensor(2000.0), null).abs() < 1e-5


def test_tissues_are_ordered_as_in_the_clinic():
    t1, t2, flair = signals("AXT1"), signals("AXT2"), signals("AXFLAIR")
    assert t1["fat"] > t1["white"] > t1["grey"] > t1["csf"]
    assert t2["csf"] > t2["grey"] > t2["white"] > t2["bone"]
    assert flair["grey"] > flair["white"] > 10 * abs(flair["csf"])


def test_subjects_differ_in_their_tissues_by_a_few_percent():
    ratio = (
        contrast.tissue_table(3.0, torch.Generator().manual_seed(5))[:, 1:]
        / (contrast.tissue_table(3.0)[:, 1:])
    )
    assert 0.01 < (ratio - 1).abs().max() <= 0.1001


def test_mixed_pixels_mix_signals_not_relaxation_times():
    table = contrast.tissue_table(3.0)
    mixed = torch.zeros(len(TISSUES), 1, 1, 1)
    mixed[[TISSUES.index("grey"), TISSUES.index("csf")]] = 0.5
    found = contrast.magnitude_image(mixed, table, PROTOCOLS["AXT2"]).item()
    expected = (signals("AXT2")["grey"] + signals("AXT2")["csf"]) / 2
    assert abs(found - expected) < 1e-6
