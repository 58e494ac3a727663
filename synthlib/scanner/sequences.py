"""Signal equations of spin echoes, gradient echoes and inversion-prepared gradient-echo trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Protocol:
    """One sequence; times in ms.

    Attributes:
        tr_ms, te_ms: repetition time and (effective) echo time.
        ti_ms: time after the inversion pulse, None without one; of a gradient-echo
            train up to its middle.
        inversion: share of the magnetisation that the inversion pulse turns over, 1 is all.
        flip_deg: of a spoiled gradient echo; None is a spin echo.
        fat: signal of fat that fat saturation leaves, 1 without.
        late_ms: how late the centre of the readout misses the spin echo: for so
            long field and chemical shift turn the phase of a spin echo; its mean, from
            which every scan differs a little.
        bandwidth_khz: of the receiver over the field of view along the readout: fat
            is displaced by its share of it.
        agent: after contrast agent.
        transfer: share of white matter's signal that the pulses for other slices
            take by magnetisation transfer.
        train: echoes of one excitation (spin echoes) or inversion (gradient echoes).
        spacing_ms: time between them.
        slab_mm: what is excited in a 3-D scan; None is the slice.
        flow_compensated: the first moment of readout and slice selection is nulled.
    """

    tr_ms: float
    te_ms: float
    ti_ms: float | None = None
    inversion: float = 1.0
    flip_deg: float | None = None
    fat: float = 1.0
    late_ms: float = 0.0
    bandwidth_khz: float = 70.0
    agent: bool = False
    transfer: float = 0.0
    train: int = 1
    spacing_ms: float = 0.0
    flow_compensated: bool = False
    slab_mm: float | None = None

    @property
    def is_spin_echo(self) -> bool:
        return self.flip_deg is None

    @property
    def interval_ms(self) -> float:
        """From one echo to the next of a spin-echo train, or TE of a single echo."""
        return self.te_ms if self.train == 1 else self.spacing_ms

    @property
    def dephasing_ms(self) -> float:
        """How long a frequency offset turns the phase: TE of a gradient echo, late_ms of others."""
        return self.late_ms if self.is_spin_echo else self.te_ms


# Adiabatic inversions leave a few percent: 0.96 in Marques et al., NeuroImage 49:1271 (2010). Fluid
# whose TI is exact is then dark, not black.
INVERSION = 0.96
# Transfer: slices of spin echoes are excited in turn, each a pulse off resonance for the others;
# echo trains have more of them; Melki & Mulkern, MRM 24:122 (1992). Their amounts are rough.
T1_SPIN_ECHO = Protocol(tr_ms=600.0, te_ms=10.0, late_ms=0.25, transfer=0.06)
# Of nineteen echoes the tenth comes at TE, so that as many bands lie on either side of it.
T2_TRAIN = Protocol(
    tr_ms=5500.0, te_ms=100.0, late_ms=-0.15, transfer=0.12, train=19, spacing_ms=10.0
)
PROTOCOLS = {
    "AXT1": T1_SPIN_ECHO,
    # moments are nulled, as is usual after agent, for bright vessels to be seen where they are
    "AXT1POST": replace(T1_SPIN_ECHO, agent=True, flow_compensated=True),
    "AXT2": T2_TRAIN,
    # the tenth of thirty-three: beyond the first echoes' bands come the last echoes'
    "AXT2LONG": replace(T2_TRAIN, train=33),
    "AXFLAIR": Protocol(
        tr_ms=9000.0, te_ms=100.0, ti_ms=2500.0, inversion=INVERSION, fat=0.3, late_ms=0.2,
        transfer=0.12, train=19, spacing_ms=10.0,
    ),
    # short TR as T1-weighted 3-D scans have, and a TE at which fat and water are in phase
    "AXT1GRE": Protocol(tr_ms=12.0, te_ms=4.6, flip_deg=12.0, bandwidth_khz=50.0, slab_mm=150.0),
    "AXGRE": Protocol(tr_ms=600.0, te_ms=20.0, flip_deg=20.0, bandwidth_khz=58.0),
    # times and flip angle of van der Kouwe et al., NeuroImage 40:559 (2008), but a TE at which fat
    # and water are in phase
    "AXMPRAGE": Protocol(
        tr_ms=2530.0, te_ms=2.3, ti_ms=1200.0, inversion=INVERSION, flip_deg=7.0, train=176,
        spacing_ms=9.8, bandwidth_khz=80.0, slab_mm=176.0,
    ),
    # near those that Haacke et al., AJNR 30:19 (2009), recommend; at 1.5 T see AT_FIELD
    "AXSWI": Protocol(
        tr_ms=28.0, te_ms=20.0, flip_deg=15.0, bandwidth_khz=38.0, flow_compensated=True,
        slab_mm=100.0,
    ),
}  # fmt: skip
# Where another field than 3 T needs other times: veins turn as far at 1.5 T in twice the time,
# after which fat is in phase with water.
AT_FIELD = {
    ("AXMPRAGE", 1.5): replace(PROTOCOLS["AXMPRAGE"], te_ms=4.6),
    ("AXSWI", 1.5): replace(PROTOCOLS["AXSWI"], tr_ms=49.0, te_ms=40.0, flip_deg=20.0),
}


def protocol_at(name: str, field_t: float) -> Protocol:
    """The protocol of that name as it is run at a field.

    Raises:
        KeyError: no protocol has the name.
    """
    return AT_FIELD.get((name, field_t), PROTOCOLS[name])


def spin_echo(density: Tensor, t1_ms: Tensor, t2_ms: Tensor, protocol: Protocol) -> Tensor:
    """Steady-state signal of a 90-180 spin echo, with an inversion before it if asked for.

    Without inversion: PD (1 - 2 exp(-(TR - TE/2)/T1) + exp(-TR/T1)) exp(-TE/T2).
    With inversion of a share n:
    PD (1 - (1 + n) exp(-TI/T1) + n (2 exp(TE/2/T1) - 1) exp(-TR/T1)) exp(-TE/T2),
    negative while the magnetisation is still inverted. TE is the effective echo
    time of the echo train. Either way the 180 turns what has recovered by TE/2.

    Args:
        density: proton density, any shape and unit; t1_ms, t2_ms: of the same shape.

    Returns:
        the signal, in units of density.

    Source: Bernstein, King, Zhou, Handbook of MRI Pulse Sequences (2004), 14.2, 14.3, 16.4.
    """
    after_tr = torch.exp(-protocol.tr_ms / t1_ms)
    half_echo = protocol.te_ms / 2
    if protocol.ti_ms is None:
        longitudinal = 1 - 2 * torch.exp((half_echo - protocol.tr_ms) / t1_ms) + after_tr
    else:
        before = (2 * torch.exp(half_echo / t1_ms) - 1) * after_tr
        turned = protocol.inversion
        fresh = 1 - (1 + turned) * torch.exp(-protocol.ti_ms / t1_ms)
        longitudinal = fresh + turned * before
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
    flip = _flip(protocol)
    after_tr = torch.exp(-protocol.tr_ms / t1_ms)
    longitudinal = math.sin(flip) * (1 - after_tr) / (1 - math.cos(flip) * after_tr)
    return density * longitudinal * torch.exp(-protocol.te_ms / t2star_ms)


def inversion_train(
    density: Tensor, t1_ms: Tensor, t2star_ms: Tensor, protocol: Protocol
) -> Tensor:
    """Steady-state signal in the middle of a gradient-echo train after an inversion (MPRAGE).

    Every TR: an inversion of a share n, recovery until the train starts, `train`
    spoiled pulses `spacing_ms` apart with pulse train // 2 at TI, recovery. In
    the train the magnetisation before a pulse goes from what it is to
    M* = PD (1 - E) / (1 - cos(a) E) by the factor cos(a) E a pulse, E =
    exp(-spacing/T1); free recovery goes to PD by exp(-t/T1). All steps are linear,
    so the value that returns to itself after a TR is closed. Negative where the
    magnetisation is still inverted at TI.

    Args:
        density: proton density, any shape and unit; t1_ms, t2star_ms: of the same shape.

    Raises:
        ValueError: no flip angle or inversion, or a train that does not fit in.

    Source: Deichmann & Haase, J Magn Reson 96:608 (1992); Mugler & Brookeman, MRM 15:152 (1990).
    """
    flip = _flip(protocol)
    half, spacing = protocol.train // 2, protocol.spacing_ms
    before = -1.0 if protocol.ti_ms is None else protocol.ti_ms - half * spacing
    after = protocol.tr_ms - before - protocol.train * spacing
    if before < 0 or after < 0:
        raise ValueError(
            f"{protocol.train} echoes {spacing:g} ms apart do not fit between inversions: expected "
            f"half of them before ti_ms ({protocol.ti_ms}) and all within tr_ms "
            f"({protocol.tr_ms:g}). Shorten the train."
        )
    each = torch.exp(-spacing / t1_ms)
    kept = math.cos(flip) * each  # of the distance to M*, by a pulse
    driven = density * (1 - each) / (1 - kept)
    rest_before, rest_after = torch.exp(-before / t1_ms), torch.exp(-after / t1_ms)
    # one TR is m -> gain m + offset
    turned = protocol.inversion
    gain = -turned * rest_before * kept**protocol.train * rest_after
    start = density * (1 - rest_before)
    end = driven + (start - driven) * kept**protocol.train
    offset = density + (end - density) * rest_after
    steady = offset / (1 - gain)
    first = density - (density + turned * steady) * rest_before
    middle = driven + (first - driven) * kept**half
    return math.sin(flip) * middle * torch.exp(-protocol.te_ms / t2star_ms)


def _flip(protocol: Protocol) -> float:
    """The flip angle in radians."""
    if protocol.flip_deg is None:
        raise ValueError("the protocol has no flip_deg; expected one for a gradient echo")
    return math.radians(protocol.flip_deg)
