"""Signal of fast-spin-echo sequences from proton density, T1 and T2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner.anatomy import TISSUES

FIELDS_T = (1.5, 3.0)
# tissue: proton density, T1 in ms at each of FIELDS_T, T2 in ms.
# White and grey matter: Stanisz et al., MRM 54:507 (2005). Fat and muscle: Gold et al.,
# AJR 183:343 (2004). CSF: Rooney et al., MRM 57:308 (2007) for T1. Cortical bone has T2 below
# 1 ms (Du & Bydder, NMR Biomed 26:489, 2013) and stays dark.
TISSUE_TIMES = {
    "air": (0.0, (1000.0, 1000.0), (1.0, 1.0)),
    "csf": (1.00, (4300.0, 4300.0), (2000.0, 2000.0)),
    "grey": (0.82, (1124.0, 1820.0), (95.0, 99.0)),
    "white": (0.70, (884.0, 1084.0), (72.0, 69.0)),
    "bone": (0.15, (200.0, 220.0), (0.5, 0.4)),
    "fat": (0.90, (288.0, 371.0), (165.0, 133.0)),
    "muscle": (0.80, (1130.0, 1420.0), (35.0, 32.0)),
}
SPREAD = {"density": 0.02, "t1": 0.05, "t2": 0.05}  # relative s.d. between subjects


@dataclass(frozen=True)
class Protocol:
    """Timing of one sequence in ms.

    Attributes:
        tr_ms, te_ms: repetition time and effective echo time.
        ti_ms: time after the inversion pulse, None without one.
        fat: signal of fat that fat saturation leaves, 1 without.
    """

    tr_ms: float
    te_ms: float
    ti_ms: float | None = None
    fat: float = 1.0


# AXT1POST is timed like AXT1: contrast agent stays in vessels, which this head does not have.
PROTOCOLS = {
    "AXT1": Protocol(tr_ms=600.0, te_ms=10.0),
    "AXT1POST": Protocol(tr_ms=600.0, te_ms=10.0),
    "AXT2": Protocol(tr_ms=5500.0, te_ms=100.0),
    "AXFLAIR": Protocol(tr_ms=9000.0, te_ms=90.0, ti_ms=2500.0, fat=0.3),
}


def spin_echo(density: Tensor, t1_ms: Tensor, t2_ms: Tensor, protocol: Protocol) -> Tensor:
    """Steady-state signal of a 90-180 spin echo, with an inversion before it if asked for.

    Without inversion: PD (1 - 2 exp(-(TR - TE/2)/T1) + exp(-TR/T1)) exp(-TE/T2).
    With inversion:    PD (1 - 2 exp(-TI/T1) + exp(-TR/T1)) exp(-TE/T2), negative
    while the magnetisation is still inverted. TE is the effective echo time of
    the echo train.

    Args:
        density: proton density, any shape and unit; t1_ms, t2_ms: of the same shape.

    Returns:
        the signal, in units of density.

    Source: Bernstein, King, Zhou, Handbook of MRI Pulse Sequences (2004), 14.2, 16.4.
    """
    after_tr = torch.exp(-protocol.tr_ms / t1_ms)
    inverting = protocol.ti_ms
    recovering = protocol.tr_ms - protocol.te_ms / 2 if inverting is None else inverting
    longitudinal = 1 - 2 * torch.exp(-recovering / t1_ms) + after_tr
    return density * longitudinal * torch.exp(-protocol.te_ms / t2_ms)


def tissue_table(field_t: float, generator: torch.Generator | None = None) -> Tensor:
    """Proton density, T1 and T2 of every tissue, spread between subjects.

    Args:
        field_t: 1.5 or 3.0.
        generator: draws the subject's own values; None gives the literature's.

    Returns:
        float32 (3, tissue): density in units of water's, T1 in ms, T2 in ms.
    """
    column = FIELDS_T.index(field_t)
    entries = [TISSUE_TIMES[tissue] for tissue in TISSUES]
    table = torch.tensor([(pd, t1[column], t2[column]) for pd, t1, t2 in entries]).T
    if generator is None:
        return table
    spread = torch.tensor(list(SPREAD.values()))[:, None]
    return table * (1 + spread * torch.randn(table.shape, generator=generator).clamp(-2, 2))


def transmit_shading(points_mm: Tensor, field_t: float, generator: torch.Generator) -> Tensor:
    """Smooth signal factor of an uneven transmit field, near 1.

    At 3 T the field is strongest in the middle of the head; about 15 % from
    middle to rim (Sled & Pike, IEEE TMI 17:653, 1998, scaled with field), with
    a subject's own tilt.

    Args:
        points_mm: scanner positions (..., 3).

    Returns:
        float32 (...).
    """
    along = points_mm / 100.0
    middle = torch.exp(-along.square().sum(-1))  # 1 at the isocentre
    height = 0.08 * field_t * (0.7 + 0.6 * torch.rand(1, generator=generator))
    tilt = 0.04 * torch.randn(3, generator=generator).clamp(-2, 2)
    return 1 + height * (middle - 0.5) + along @ tilt


def magnitude_image(fractions: Tensor, table: Tensor, protocol: Protocol) -> Tensor:
    """Magnitude (slice, y, x) of mixed pixels, in units of water's proton density.

    Args:
        fractions: (tissue, slice, y, x); table: (3, tissue) as of :func:`tissue_table`.
    """
    signals = spin_echo(table[0], table[1], table[2], protocol)  # (tissue,)
    signals[TISSUES.index("fat")] *= protocol.fat
    return torch.tensordot(signals, fractions, dims=1).abs()
