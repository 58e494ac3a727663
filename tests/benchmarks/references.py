"""Phase and signal of the simulated scanner beside packages that others wrote.

    python -m tests.benchmarks.references

Prints one row a comparison. The packages are no dependency of synthlib (`docs/references.md`
says how to install them); what is missing is left out. `tests/scanner/test_references.py` holds
the numbers to 1 %.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from synthlib import runs
from synthlib.scanner import anatomy, contrast, fields
from synthlib.scanner.anatomy import TISSUES
from synthlib.scanner.constants import LARMOR_HZ_PER_T
from synthlib.scanner.contrast import PROTOCOLS
from synthlib.scanner.volume import grid_points

GRID_MM, LOW_MM, HIGH_MM = 3.0, (-108.0, -132.0, -132.0), (108.0, 126.0, 111.0)
# Both codes sample a dipole's field, one in space, the other in k-space; they agree on what a
# grid can hold, so susceptibility is smoothed by so many voxels (s.d.) first.
BLUR_VOXELS = 1.0
FIELD_T, TE_MS = 3.0, 20.0
RF_SPOILED = "spoiled by phase"  # as scanners do it; the formula's spoiling is ideal
MARGIN_VOXELS = 30  # of air around the head, as periodic copies act through k-space


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def head_susceptibility(seed: int) -> tuple[Tensor, Tensor]:
    """A simulated head's susceptibility against air in ppm, smoothed, and where its brain is.

    Returns:
        float32 (z, y, x) on cubic voxels of GRID_MM, and bool (z, y, x).
    """
    head = anatomy.draw_head(runs.rng(seed, "head"))
    points = grid_points(LOW_MM, HIGH_MM, GRID_MM)
    shares = anatomy.fractions_at(head, points, GRID_MM)
    chi = torch.tensordot(fields.draw_susceptibility(runs.rng(seed, "chi")), shares, dims=1) * 1e6
    brain = anatomy.brain_share(head, shares, points) > 0.9
    below = torch.nn.functional.pad(chi, (MARGIN_VOXELS,) * 6)
    smooth = torch.from_numpy(ndimage.gaussian_filter(below.numpy(), BLUR_VOXELS))
    return smooth, torch.nn.functional.pad(brain, (MARGIN_VOXELS,) * 6)


def susceptibility_phase_error(seed: int = 1) -> tuple[float, float]:
    """Our phase of a head's susceptibility against qsm-forward's, same map and TE.

    Returns:
        rms of the difference in the brain, its mean taken off (scanners shim it away),
        over the rms of the reference's phase; and that rms in radians.
    """
    import qsm_forward  # type: ignore[import-not-found]

    chi, brain = head_susceptibility(seed)
    relative = fields.dipole_field(chi)  # ppm
    ours = 2 * math.pi * LARMOR_HZ_PER_T * 1e-6 * FIELD_T * relative * TE_MS / 1000
    theirs_ppm = qsm_forward.generate_field(chi.permute(2, 1, 0).double().numpy())  # (x, y, z)
    signal = qsm_forward.generate_signal(
        theirs_ppm, B0=FIELD_T, TE=TE_MS / 1000, TR=1e6, R1=1.0, R2star=0.0
    )
    theirs = torch.from_numpy(np.angle(signal)).permute(2, 1, 0)[brain]
    turned = torch.polar(torch.ones_like(theirs), ours[brain].double() - theirs)
    difference = (turned * turned.mean().conj()).angle()
    continuous = 2 * math.pi * 42.58 * FIELD_T * TE_MS / 1000 * torch.from_numpy(theirs_ppm)
    reference = continuous.permute(2, 1, 0)[brain]
    size = float(reference.std())
    return float(difference.square().mean().sqrt()) / size, size


def spin_echo_by_phase_graph(
    t1_ms: float, t2_ms: float, protocol: contrast.Protocol, n_echoes: int
) -> float:
    """Echo at te_ms in the steady state by EpyG: [180,] 90, then n_echoes times 180, all spoiled.

    te_ms is the last echo's; with an inversion TI runs from it to the 90. An inversion of a
    share n is a pulse whose angle has the cosine -n.
    """
    from epyg import EpyG, Operators  # type: ignore[import-not-found]

    graph = EpyG.epg(initial_size=8)
    excite = Operators.Transform(alpha=math.pi / 2, phi=0.0)
    refocus = Operators.Transform(alpha=math.pi, phi=math.pi / 2)
    invert = Operators.Transform(alpha=math.acos(-protocol.inversion), phi=0.0)
    spoil, dephase = Operators.Spoil(), Operators.Shift()
    tr_ms, te_ms, ti_ms = protocol.tr_ms, protocol.te_ms, protocol.ti_ms
    half_ms = te_ms / n_echoes / 2

    def wait(ms: float) -> None:
        Operators.Epsilon(ms / t1_ms, ms / t2_ms).apply(graph)

    echo = 0.0
    for _ in range(12):  # TRs, until nothing changes
        if ti_ms is not None:
            invert.apply(graph)
            spoil.apply(graph)
            wait(ti_ms)
            spoil.apply(graph)
        sign = float(np.sign(graph.get_z().real))
        excite.apply(graph)
        for _ in range(n_echoes):
            for step in (refocus, None):
                wait(half_ms)
                dephase.apply(graph)
                if step is not None:
                    step.apply(graph)
        echo = sign * abs(complex(graph.get_f()))
        wait(tr_ms - te_ms - (ti_ms or 0.0))
        spoil.apply(graph)
    return echo


def gradient_echo_by_phase_graph(
    t1_ms: float, t2star_ms: float, tr_ms: float, te_ms: float, flip_deg: float, rf_spoiling: bool
) -> float:
    """Steady-state gradient echo by EpyG, transverse states spoiled ideally, or by the RF's phase.

    With RF spoiling the phase grows quadratically by 117 degrees (Zur et al., MRM 21:251, 1991),
    and T2 is taken to be T2*.
    """
    from epyg import EpyG, Operators

    graph = EpyG.epg(initial_size=8 if not rf_spoiling else 2048)
    spoil, dephase = Operators.Spoil(), Operators.Shift(compact=1e-6)
    recover = Operators.Epsilon(tr_ms / t1_ms, tr_ms / t2star_ms)
    n_pulses = math.ceil(7 * t1_ms / tr_ms)
    echo = 0.0
    for pulse in range(n_pulses):
        phase = math.radians(117.0) * pulse * (pulse + 1) / 2 if rf_spoiling else 0.0
        Operators.Transform(alpha=math.radians(flip_deg), phi=phase).apply(graph)
        echo = abs(complex(graph.get_f())) * math.exp(-te_ms / t2star_ms)
        recover.apply(graph)
        (dephase if rf_spoiling else spoil).apply(graph)
    return echo


def train_by_phase_graph(t1_ms: float, t2star_ms: float, protocol: contrast.Protocol) -> float:
    """The middle echo of an inversion-prepared gradient-echo train by EpyG, spoiled ideally."""
    from epyg import EpyG, Operators

    assert protocol.ti_ms is not None
    assert protocol.flip_deg is not None
    graph = EpyG.epg(initial_size=8)
    invert = Operators.Transform(alpha=math.acos(-protocol.inversion), phi=0.0)
    excite = Operators.Transform(alpha=math.radians(protocol.flip_deg), phi=0.0)
    spoil = Operators.Spoil()

    def wait(ms: float) -> None:
        Operators.Epsilon(ms / t1_ms, ms / t2star_ms).apply(graph)
        spoil.apply(graph)

    before = protocol.ti_ms - protocol.train // 2 * protocol.spacing_ms
    echo = 0.0
    for _ in range(8):
        invert.apply(graph)
        wait(before)
        for pulse in range(protocol.train):
            sign = float(np.sign(graph.get_z().real))
            excite.apply(graph)
            if pulse == protocol.train // 2:
                echo = sign * abs(complex(graph.get_f())) * math.exp(-protocol.te_ms / t2star_ms)
            wait(protocol.spacing_ms)
        wait(protocol.tr_ms - before - protocol.train * protocol.spacing_ms)
    return echo


def signal_errors(field_t: float) -> Iterator[tuple[str, float, str]]:
    """Name of a comparison, the largest error over tissues by the largest signal, and of which."""
    names = [name for name in TISSUES if name not in ("air", "bone")]
    table = contrast.tissue_table(field_t)[:, [TISSUES.index(name) for name in names]]
    density, t1, t2, t2star = table
    rows = list(zip(t1.tolist(), t2.tolist(), t2star.tolist(), strict=True))

    def row(what: str, ours: Tensor, theirs: list[float]) -> tuple[str, float, str]:
        reference = density * torch.tensor(theirs)
        error = (ours - reference).abs() / reference.abs().max()
        return what, float(error.max()), names[int(error.argmax())]

    for name in ("AXT1", "AXT2", "AXFLAIR"):
        p = PROTOCOLS[name]
        ours = contrast.spin_echo(density, t1, t2, p)
        for n_echoes in sorted({1, p.train // 2 if p.train > 1 else 1}):
            theirs = [spin_echo_by_phase_graph(a, b, p, n_echoes) for a, b, _ in rows]
            yield row(f"{name}, echo {n_echoes} at {p.te_ms:g} ms", ours, theirs)
    for name in ("AXT1GRE", "AXGRE", "AXSWI"):
        p = contrast.protocol_at(name, field_t)
        assert p.flip_deg is not None
        ours = contrast.gradient_echo(density, t1, t2star, p)
        theirs = [
            gradient_echo_by_phase_graph(a, c, p.tr_ms, p.te_ms, p.flip_deg, False)
            for a, _, c in rows
        ]
        yield row(f"{name}, ideal spoiling", ours, theirs)
        theirs = [
            gradient_echo_by_phase_graph(a, c, p.tr_ms, p.te_ms, p.flip_deg, True)
            for a, _, c in rows
        ]
        yield row(f"{name}, {RF_SPOILED}", ours, theirs)
    p = contrast.protocol_at("AXMPRAGE", field_t)
    ours = contrast.inversion_train(density, t1, t2star, p)
    yield row("AXMPRAGE", ours, [train_by_phase_graph(a, c, p) for a, _, c in rows])


def main() -> None:
    if has("qsm_forward"):
        print(f"qsm-forward {importlib.metadata.version('qsm-forward')}")
        for seed in (1, 2, 3):
            error, size = susceptibility_phase_error(seed)
            print(
                f"  susceptibility phase, head {seed}, {FIELD_T:g} T, TE {TE_MS:g} ms: "
                f"normalised rms {100 * error:.2f} % of {size:.2f} rad"
            )
    else:
        print("qsm-forward is not installed: its comparison is left out")
    if has("epyg"):
        print(f"epyg {importlib.metadata.version('epyg')}")
        for field_t in contrast.FIELDS_T:
            for what, error, tissue in signal_errors(field_t):
                print(f"  {field_t:g} T  {what:28s} {100 * error:6.3f} %  ({tissue})")
    else:
        print("epyg is not installed: its comparisons are left out")


if __name__ == "__main__":
    main()
