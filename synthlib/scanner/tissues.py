"""What tissues are made of: proton density and relaxation, fat's spectrum, contrast agent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner.anatomy import TISSUES
from synthlib.scanner.constants import LARMOR_HZ_PER_T
from synthlib.scanner.volume import normal

FIELDS_T = (1.5, 3.0)
FAT = TISSUES.index("fat")


@dataclass(frozen=True)
class Tissue:
    """Proton density (water's is 1) and T1, T2, T2* in ms at each of FIELDS_T, at 37 degrees.

    Attributes:
        bound: magnetisation transfer relative to white matter's.
        outside_cells: the share of its volume that contrast agent reaches through
            the vessels' walls or with the plasma.
    """

    density: float
    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]
    t2star_ms: tuple[float, float]
    bound: float = 0.0
    outside_cells: float = 0.0


# White and grey matter: T1 in vivo, Wright et al., MAGMA 21:121 (2008), but grey at 3 T between
# theirs (1607 ms) and that of Wansapura et al. (1331 ms); T2 between those in vivo of
# Cox & Gowland, MRM 64:1440 (2010; 80 and 87 ms at 1.5 T, 71 and 76 at 3 T), of Stanisz et al.,
# MRM 54:507 (2005; 72 and 95 at 1.5 T) and of Wansapura et al., JMRI 9:531 (1999; 80 and 110 at 3
# T), so that grey is 1.5 times white in a T2 scan (between the modes of an image's histogram,
# which pixels of both tissues draw together, 1.31 to 1.38; measured heads 1.35 and 1.40) and
# brighter in FLAIR; T2*, Peters et al., Magn Reson Imaging 25:748 (2007), of deep grey matter the
# mean of caudate nucleus and putamen there; water content, Oros-Peusquens et al., Front Neurol
# 10:1333 (2019: 0.69 and 0.84). Muscle and fat: Gold et al., AJR 183:343 (2004), fat's T2 being
# that of echo trains, whose pulses undo most of its J-coupling; Henkelman et al., JMRI 2:533
# (1992). CSF: T1 about Rooney et al., MRM 57:308 (2007); T2, Spijkerman et al., MAGMA 31:415
# (2018). Blood (haematocrit 0.42): T1 at 3 T of veins and arteries, Lu et al., MRM 52:679 (2004),
# at 1.5 T Stanisz; T2* of veins (oxygenation about 0.65) after Zhao et al., MRM 58:592 (2007).
# Bone is its bound water (Du & Bydder, NMR Biomed 26:489, 2013). Transfer: white against grey
# matter as their ratios in Stanisz.
# Chosen, for published values scatter or are few: vitreous humour, lesions (as in demyelination),
# T1 and T2 of deep grey matter (T1 below the 1.1 and 1.36 s of Wright, as it holds thalamus and
# pallidum, too), T2 and T2* of arteries, mucosa (water-rich, as glands are), skin (its dermis),
# dura (collagen), and the shares outside of cells.
TISSUE_TIMES = {
    "air": Tissue(0.0, (1000.0, 1000.0), (1.0, 1.0), (1.0, 1.0)),
    "csf": Tissue(1.00, (4300.0, 4300.0), (2000.0, 2000.0), (1500.0, 1000.0)),
    "grey": Tissue(0.83, (1197.0, 1470.0), (90.0, 88.0), (84.0, 66.0), bound=0.5),
    "white": Tissue(0.70, (646.0, 838.0), (78.0, 75.0), (66.2, 53.2), bound=1.0),
    "blood": Tissue(0.85, (1441.0, 1584.0), (150.0, 80.0), (65.0, 22.0), outside_cells=0.58),
    "bone": Tissue(0.20, (200.0, 220.0), (0.4, 0.4), (0.4, 0.4)),
    # lipid alone: its share of adipose tissue's volume, 0.77, times its protons per volume of
    # water's, 0.97 (triolein); the rest is ADIPOSE_WATER
    "fat": Tissue(0.74, (288.0, 371.0), (165.0, 133.0), (58.0, 40.0)),
    "muscle": Tissue(
        0.80, (1130.0, 1420.0), (35.0, 32.0), (30.0, 25.0), bound=1.0, outside_cells=0.12
    ),
    "eye": Tissue(0.98, (4000.0, 4000.0), (600.0, 600.0), (400.0, 300.0)),
    "lesion": Tissue(0.86, (1300.0, 1700.0), (160.0, 150.0), (120.0, 100.0), bound=0.3),
    "deep": Tissue(0.80, (1000.0, 1300.0), (83.0, 78.0), (57.0, 36.0), bound=0.6),
    "artery": Tissue(
        0.85,
        (1441.0, 1664.0),
        (250.0, 165.0),
        (150.0, 90.0),
        outside_cells=0.58,
    ),
    "mucosa": Tissue(0.85, (1050.0, 1300.0), (85.0, 75.0), (50.0, 38.0), outside_cells=0.4),
    "skin": Tissue(0.65, (700.0, 900.0), (30.0, 26.0), (20.0, 15.0), outside_cells=0.3),
    "dura": Tissue(0.55, (700.0, 850.0), (9.0, 8.0), (5.0, 4.0), outside_cells=0.4),
}
SPREAD = {"density": 0.02, "t1": 0.03, "t2": 0.03, "t2star": 0.05}  # relative s.d. of subjects

# Water of adipose tissue by volume (21 % of its mass; Woodard & White, Br J Radiol 59:1209, 1986);
# its times are taken to be muscle's.
ADIPOSE_WATER = 0.20
# Shift from the main peak in ppm and share of each peak of fat; Hamilton et al., NMR Biomed 24:784
# (2011).
LIPID_PEAKS = (
    (-0.40, 0.087), (0.0, 0.693), (0.80, 0.128), (1.46, 0.004), (3.01, 0.039), (4.00, 0.048),
)  # fmt: skip
# Relaxivity of gadobutrol in plasma at FIELDS_T, per mmol/l and s; Rohrer et al., Invest Radiol
# 40:715 (2005).
AGENT_R1, AGENT_R2 = (5.2, 5.0), (6.1, 7.1)
# A few minutes after 0.1 mmol/kg, spread over some 0.15 l/kg; rough.
PLASMA_MMOL_PER_L = 0.7


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


def with_agent(table: Tensor, field_t: float) -> Tensor:
    """The table (4, tissue) with contrast agent in vessels and where their walls let it through.

    1/T = 1/T0 + r C for T1, T2 and T2*, C the agent's concentration in plasma
    times the share of the tissue outside of cells. Brain has none.

    Source: Lauffer, Chem Rev 87:901 (1987).
    """
    column = FIELDS_T.index(field_t)
    share = torch.tensor([TISSUE_TIMES[name].outside_cells for name in TISSUES])
    density, *times = table
    changed = [
        1 / (1 / time + relaxivity[column] * PLASMA_MMOL_PER_L * share / 1000)
        for time, relaxivity in zip(times, (AGENT_R1, AGENT_R2, AGENT_R2), strict=True)
    ]
    return torch.stack([density, *changed])


def of_adipose_water(table: Tensor) -> Tensor:
    """Density, T1, T2, T2* (4,) of the water in fat tissue."""
    column = table[:, TISSUES.index("muscle")].clone()
    column[0] = ADIPOSE_WATER
    return column


def lipid_in_phase(dephasing_ms: float, field_t: float) -> float:
    """How much of fat's signal its own peaks leave of each other: |sum a exp(2 pi i f t)|, 0 to 1.

    Args:
        dephasing_ms: how long they ran apart: TE of a gradient echo.
    """
    hertz_per_ppm = LARMOR_HZ_PER_T * field_t / 1e6
    turns = [ppm * hertz_per_ppm * dephasing_ms / 1000 for ppm, _ in LIPID_PEAKS]
    total = sum(
        share * complex(math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn))
        for turn, (_, share) in zip(turns, LIPID_PEAKS, strict=True)
    )
    return abs(total) / sum(share for _, share in LIPID_PEAKS)
