"""Signal of spin-echo and gradient-echo sequences from proton density, T1, T2 and T2*."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner.anatomy import TISSUES
from synthlib.scanner.volume import normal, uniform

FIELDS_T = (1.5, 3.0)


@dataclass(frozen=True)
class Tissue:
    """Proton density (water's is 1) and T1, T2, T2* in ms at each of FIELDS_T.

    The times hold at body temperature; `flow` is the share of the signal that
    is left of moving blood in a spin echo (the rest leaves the slice between
    the pulses).
    """

    density: float
    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]
    t2star_ms: tuple[float, float]
    flow: float = 1.0


# White and grey matter: T1 in vivo, Wright et al., MAGMA 21:121 (2008); T2, Stanisz et al., MRM
# 54:507 (2005); T2*, Peters et al., Magn Reson Imaging 25:748 (2007); water content,
# Oros-Peusquens et al., Front Neurol 10:1333 (2019). Muscle and fat: Gold et al., AJR 183:343
# (2004). CSF: Rooney et al., MRM 57:308 (2007); Spijkerman et al., MAGMA 31:415 (2018). Venous
# blood (haematocrit 0.42, oxygenation about 0.65): T1 at 3 T, Lu et al., MRM 52:679 (2004), at
# 1.5 T Stanisz; T2*, Zhao et al., MRM 58:592 (2007). Bone is its bound water (Du & Bydder, NMR
# Biomed 26:489, 2013).
# Vitreous humour and lesions (as in demyelination) are rough: published values scatter widely.
TISSUE_TIMES = {
    "air": Tissue(0.0, (1000.0, 1000.0), (1.0, 1.0), (1.0, 1.0)),
    "csf": Tissue(1.00, (4300.0, 4300.0), (2000.0, 2000.0), (1500.0, 1000.0)),
    "grey": Tissue(0.83, (1197.0, 1607.0), (95.0, 99.0), (84.0, 66.0)),
    "white": Tissue(0.70, (646.0, 838.0), (72.0, 69.0), (66.2, 53.2)),
    "blood": Tissue(0.85, (1441.0, 1584.0), (150.0, 80.0), (65.0, 22.0), flow=0.15),
    "bone": Tissue(0.20, (200.0, 220.0), (0.4, 0.4), (0.4, 0.4)),
    "fat": Tissue(0.90, (288.0, 371.0), (165.0, 133.0), (58.0, 40.0)),
    "muscle": Tissue(0.80, (1130.0, 1420.0), (35.0, 32.0), (30.0, 25.0)),
    "eye": Tissue(0.98, (4000.0, 4000.0), (600.0, 600.0), (400.0, 300.0)),
    "lesion": Tissue(0.86, (1300.0, 1700.0), (160.0, 150.0), (120.0, 100.0)),
    "deep": Tissue(0.80, (1000.0, 1350.0), (85.0, 78.0), (57.0, 36.0)),
    "artery": Tissue(0.85, (1441.0, 1664.0), (250.0, 165.0), (150.0, 90.0), flow=0.03),
    "mucosa": Tissue(0.90, (900.0, 1200.0), (110.0, 100.0), (60.0, 45.0)),
    "skin": Tissue(0.65, (700.0, 900.0), (30.0, 26.0), (20.0, 15.0)),
    "dura": Tissue(0.55, (700.0, 850.0), (9.0, 8.0), (5.0, 4.0)),
}
SPREAD = {"density": 0.02, "t1": 0.05, "t2": 0.05, "t2star": 0.05}  # relative s.d. of subjects


@dataclass(frozen=True)
class Protocol:
    """One sequence; times in ms.

    Attributes:
        tr_ms, te_ms: repetition time and (effective) echo time.
        ti_ms: time after the inversion pulse, None without one.
        flip_deg: of a spoiled gradient echo; None is a spin echo.
        fat: signal of fat that fat saturation leaves, 1 without.
        late_ms: how late the centre of the readout misses the spin echo: for so
            long field and chemical shift turn the phase of a spin echo. A
            property of sequence and scanner, the same in all subjects.
        bandwidth_khz: of the receiver over the field of view along the readout: fat
            is displaced by its share of it.
    """

    tr_ms: float
    te_ms: float
    ti_ms: float | None = None
    flip_deg: float | None = None
    fat: float = 1.0
    late_ms: float = 0.0
    bandwidth_khz: float = 70.0

    @property
    def is_spin_echo(self) -> bool:
        return self.flip_deg is None

    @property
    def dephasing_ms(self) -> float:
        """How long a frequency offset turns the phase: TE of a gradient echo, late_ms of others."""
        return self.late_ms if self.is_spin_echo else self.te_ms


# AXT1POST is timed like AXT1: contrast agent stays in vessels, which this head has few of.
PROTOCOLS = {
    "AXT1": Protocol(tr_ms=600.0, te_ms=10.0, late_ms=0.25),
    "AXT1POST": Protocol(tr_ms=600.0, te_ms=10.0, late_ms=0.25),
    "AXT2": Protocol(tr_ms=5500.0, te_ms=100.0, late_ms=-0.15),
    "AXFLAIR": Protocol(tr_ms=9000.0, te_ms=90.0, ti_ms=2500.0, fat=0.3, late_ms=0.2),
    # short TR as T1-weighted 3-D scans have, and a TE at which fat and water are in phase
    "AXT1GRE": Protocol(tr_ms=12.0, te_ms=4.6, flip_deg=12.0, bandwidth_khz=50.0),
    "AXGRE": Protocol(tr_ms=600.0, te_ms=20.0, flip_deg=20.0, bandwidth_khz=58.0),
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


def gradient_echo(density: Tensor, t1_ms: Tensor, t2star_ms: Tensor, protocol: Protocol) -> Tensor:
    """Steady-state signal of a spoiled gradient echo.

    PD sin(a) (1 - E1) / (1 - cos(a) E1) exp(-TE/T2*), E1 = exp(-TR/T1), a the flip angle.

    Args:
        density: proton density, any shape and unit; t1_ms, t2star_ms: of the same shape.

    Raises:
        ValueError: the protocol has no flip angle.

    Source: Bernstein, King, Zhou, Handbook of MRI Pulse Sequences (2004), 14.1.
    """
    if protocol.flip_deg is None:
        raise ValueError("the protocol has no flip_deg; expected one for a gradient echo")
    flip = math.radians(protocol.flip_deg)
    after_tr = torch.exp(-protocol.tr_ms / t1_ms)
    longitudinal = math.sin(flip) * (1 - after_tr) / (1 - math.cos(flip) * after_tr)
    return density * longitudinal * torch.exp(-protocol.te_ms / t2star_ms)


def tissue_table(field_t: float, rng: torch.Generator | None = None) -> Tensor:
    """Proton density, T1, T2 and T2* of every tissue, spread between subjects.

    Args:
        field_t: 1.5 or 3.0.
        rng: draws the subject's own values; None gives the literature's.

    Returns:
        float32 (4, tissue): density in units of water's, then T1, T2, T2* in ms.
    """
    column = FIELDS_T.index(field_t)
    rows = [
        (t.density, t.t1_ms[column], t.t2_ms[column], t.t2star_ms[column])
        for t in (TISSUE_TIMES[name] for name in TISSUES)
    ]
    table = torch.tensor(rows).T
    if rng is None:
        return table
    spread = torch.tensor(list(SPREAD.values()))[:, None]
    return table * (1 + spread * normal(rng, *table.shape))


def signals(table: Tensor, protocol: Protocol) -> Tensor:
    """Signal (tissue,) of every tissue in units of water's proton density; it may be negative.

    Args:
        table: (4, tissue) as of :func:`tissue_table`.
    """
    density, t1, t2, t2star = table
    if protocol.is_spin_echo:
        flow = torch.tensor([TISSUE_TIMES[name].flow for name in TISSUES])
        found = flow * spin_echo(density, t1, t2, protocol)
    else:
        found = gradient_echo(density, t1, t2star, protocol)
    found[TISSUES.index("fat")] *= protocol.fat
    return found


@dataclass(frozen=True)
class Shading:
    """A subject's uneven transmit field: how high its middle stands out, its tilt per 10 cm."""

    height: float
    tilt: Tensor

    def at(self, points_mm: Tensor) -> Tensor:
        """Signal factor near 1 at scanner positions (..., 3): float32 (...)."""
        along = points_mm / 100.0
        middle = torch.exp(-along.square().sum(-1))  # 1 at the isocentre
        return 1 + self.height * (middle - 0.5) + along @ self.tilt.to(points_mm.device)


def draw_shading(field_t: float, rng: torch.Generator) -> Shading:
    """A transmit field that is strongest in the middle of the head, growing with B0.

    At 3 T the signal falls by some 10 % to the rim of the brain: B1 itself varies
    by 30 % or so, of which a spin echo near 90 degrees shows a third.
    Source: Collins et al., JMRI 21:192 (2005).
    """
    height = 0.08 * field_t * float(uniform(rng, 0.7, 1.3))
    return Shading(height, 0.04 * normal(rng, 3))
