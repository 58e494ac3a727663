"""What each tissue looks like in each contrast, and what makes it uneven: B1 and pulsating CSF."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner.anatomy import TISSUES
from synthlib.scanner.constants import fat_shift_hz
from synthlib.scanner.sequences import (
    PROTOCOLS,
    Protocol,
    gradient_echo,
    inversion_train,
    protocol_at,
    spin_echo,
)
from synthlib.scanner.tissues import (
    FAT,
    FIELDS_T,
    LIPID_PEAKS,
    TISSUE_TIMES,
    lipid_in_phase,
    of_adipose_water,
    tissue_table,
    with_agent,
)
from synthlib.scanner.volume import normal, uniform

__all__ = [
    "FIELDS_T",
    "LIPID_PEAKS",
    "PROTOCOLS",
    "TISSUE_TIMES",
    "Protocol",
    "Pulsation",
    "Shading",
    "csf_motion",
    "draw_pulsation",
    "draw_shading",
    "gradient_echo",
    "inversion_train",
    "lipid_signal",
    "protocol_at",
    "signals",
    "spin_echo",
    "tissue_table",
]

# Bandwidths of a spin echo's pulses: fat's slice is displaced by its share of them, and only where
# both displaced slices overlap there is an echo; Ivanov et al., MRM 64:319 (2010). Usual values.
# Pulses of a train are shorter; their bandwidth is chosen, so that the brightest of the scalp is as
# bright as in T2 heads measured with as many coils: 2.4 to 2.6 times the brain's median in the
# mean of an orientation, 1.9 to 2.8 in single heads; measured 2.4 to 3.0, 1.8 to 4.2.
EXCITATION_KHZ, REFOCUSING_KHZ, TRAIN_KHZ = 2.0, 0.85, 1.6
# T2 of fat in a single spin echo by that in a train, whose pulses undo most of its J-coupling;
# Henkelman et al., JMRI 2:533 (1992); the amount is rough.
SINGLE_ECHO_T2 = 0.5
# Where CSF moves most, in the template's mm (x, y, z), with the width of each place along the axes:
# third ventricle, aqueduct, fourth ventricle (Bakshi et al., AJNR 21:503, 2000), around the stem,
# below the cerebellum, above the sella (Lisanti et al., AJR 188:716, 2007). Widths are chosen.
MOVING_CSF = (
    ((0.0, -12.0, 2.0), (5.0, 12.0, 9.0)),
    ((0.0, -33.0, -10.0), (4.0, 5.0, 8.0)),
    ((0.0, -46.0, -30.0), (9.0, 8.0, 13.0)),
    ((0.0, -18.0, -38.0), (18.0, 10.0, 16.0)),
    ((0.0, -50.0, -62.0), (16.0, 14.0, 14.0)),
    ((0.0, 2.0, -18.0), (12.0, 9.0, 6.0)),
)
# Of the CSF in the middle of such a place, in the one head in many where it is most: twice as
# bright as grey matter. Most have little or none; Bakshi saw it in part of his patients only.
MOST_INFLOW = 0.45
# What flows in mixes unevenly: wavelengths and number of waves of the mixture; chosen.
EDDIES_MM, N_EDDIES = (6.0, 20.0), 12


def signals(table: Tensor, protocol: Protocol, field_t: float = 3.0) -> Tensor:
    """Signal (tissue,) of every tissue in units of water's proton density; it may be negative.

    That of fat is of lipid and the water of fat tissue together, as if in phase; blood is at
    rest (flow.py moves it).

    Args:
        table: (4, tissue) as of :func:`tissue_table`.
        field_t: of the table.
    """
    if protocol.agent:
        table = with_agent(table, field_t)
    signal = _steady(table, protocol)
    bound = torch.tensor([TISSUE_TIMES[name].bound for name in TISSUES])
    signal = signal * (1 - protocol.transfer * bound)
    of_water = _steady(of_adipose_water(table), protocol)
    signal[FAT] = lipid_signal(table, protocol, field_t) + of_water
    return signal


def lipid_signal(
    table: Tensor, protocol: Protocol, field_t: float = 3.0, displaced: bool = True
) -> float:
    """Signal of the lipid in fat tissue, the part that precesses at fat's frequency.

    Fat saturation takes its share; J-coupling shortens T2 in single echoes; the
    peaks of fat's spectrum run apart in a gradient echo; in a spin echo the two
    slices that the pulses select are displaced differently, and what is excited
    is not refocused beside them.

    Args:
        table: (4, tissue) as of :func:`tissue_table`; field_t: its field.
        displaced: fat's slices are.
    """
    column = table[:, FAT].clone()
    if protocol.train == 1:
        column[2] *= SINGLE_ECHO_T2
    signal = float(_steady(column, protocol)) * protocol.fat
    signal *= lipid_in_phase(protocol.dephasing_ms, field_t)
    if protocol.is_spin_echo and displaced:
        khz = abs(fat_shift_hz(field_t)) / 1000
        refocusing_khz = REFOCUSING_KHZ if protocol.train == 1 else TRAIN_KHZ
        signal *= max(0.0, 1 - khz * abs(1 / refocusing_khz - 1 / EXCITATION_KHZ))
    return signal


def _steady(values: Tensor, protocol: Protocol) -> Tensor:
    """Signal (...) of density, T1, T2 and T2* (4, ...) in the protocol's sequence."""
    density, t1_ms, t2_ms, t2star_ms = values
    if protocol.is_spin_echo:
        return spin_echo(density, t1_ms, t2_ms, protocol)
    if protocol.ti_ms is not None:
        return inversion_train(density, t1_ms, t2star_ms, protocol)
    return gradient_echo(density, t1_ms, t2star_ms, protocol)


@dataclass(frozen=True)
class Pulsation:
    """A subject's moving CSF.

    Attributes:
        inflow: (place,) the greatest share that flows in at each of MOVING_CSF.
        eddies: (wave, 4) wave vectors in rad/mm and phases of the mixture with what stays.
    """

    inflow: tuple[float, ...]
    eddies: tuple[tuple[float, ...], ...]

    def share(self, where_mm: Tensor) -> Tensor:
        """Share of the CSF at template positions (..., 3) that came in after the inversion."""
        missed = _outside_moving(where_mm, self.inflow)
        eddies = where_mm.new_tensor(self.eddies)
        turned = where_mm @ eddies[:, :3].T + eddies[:, 3]
        mixture = turned.cos().sum(-1) * (2 / len(eddies)) ** 0.5  # of s.d. 1
        return (1 - missed) * (0.5 + 0.5 * mixture).clamp(0, 1)

    def added_signal(self, where_mm: Tensor, table: Tensor, protocol: Protocol) -> Tensor:
        """What CSF at template positions (..., 3) gives beyond that of :func:`signals`.

        An inversion reaches the slice and little beyond it. CSF that flows in
        afterwards was never inverted: PD exp(-TE/T2) instead of next to
        nothing. Zero for other sequences than inverted spin echoes.

        Args:
            table: (4, tissue) as of :func:`tissue_table`.
        """
        if not protocol.is_spin_echo or protocol.ti_ms is None:
            return torch.zeros(where_mm.shape[:-1], device=where_mm.device)
        density, t1, t2, _ = table[:, TISSUES.index("csf")]
        fresh = density * torch.exp(-protocol.te_ms / t2)
        added = float(fresh - spin_echo(density, t1, t2, protocol))
        return added * self.share(where_mm)


def csf_motion(where_mm: Tensor) -> Tensor:
    """How much CSF at template positions (..., 3) moves, 0 to 1 where it moves most."""
    return 1 - _outside_moving(where_mm, (1.0,) * len(MOVING_CSF))


def _outside_moving(where_mm: Tensor, weights: tuple[float, ...]) -> Tensor:
    """1 far from MOVING_CSF, less by its weight in the middle of a place (...)."""
    left = torch.ones(where_mm.shape[:-1], device=where_mm.device)
    for weight, (centre, width) in zip(weights, MOVING_CSF, strict=True):
        away = (where_mm - where_mm.new_tensor(centre)) / where_mm.new_tensor(width)
        left = left * (1 - weight * torch.exp(-away.square().sum(-1) / 2))
    return left


def draw_pulsation(rng: torch.Generator) -> Pulsation:
    """How much CSF flows in at each place: of one heart for all places, at a third nothing.

    Hearts from 0.1 to 1, weak ones most often.
    """
    beat = 0.1 + 0.9 * float(uniform(rng, 0.0, 1.0)) ** 2
    shares = MOST_INFLOW * beat * uniform(rng, -0.5, 1.0, len(MOVING_CSF)).clamp(min=0)
    waves = torch.nn.functional.normalize(torch.randn(N_EDDIES, 3, generator=rng), dim=1)
    waves *= 2 * torch.pi / uniform(rng, *EDDIES_MM, N_EDDIES, 1)
    starts = uniform(rng, 0, 2 * torch.pi, N_EDDIES, 1)
    eddies = torch.cat([waves, starts], 1).tolist()
    return Pulsation(tuple(shares.tolist()), tuple(map(tuple, eddies)))


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
