"""Noise that receive loops pick up: currents in the body, the loops' own losses, coupling."""

from __future__ import annotations

import torch
from torch import Tensor

from synthlib.scanner.induction import loop_potential, mutual_inductance
from synthlib.scanner.loops import Loops

# Share of the current that preamplifier decoupling lets flow in a neighbour's field, by
# inductances (Roemer et al., MRM 16:192, 1990). Chosen: it makes the covariance complex and
# hardly changes its size.
COUPLING = 0.25
MAX_STEPS = 300
RESIDUAL = 1e-2  # of the currents that end in a place by those without charges


def noise_covariance(
    loops: Loops, places_mm: Tensor, sigma: Tensor, own_noise: float, field_t: float = 3.0
) -> tuple[Tensor, Tensor]:
    """How loops around a body couple, and the noise of the loops themselves.

    To the noise of the body each loop adds its own, in proportion to its wire's
    length; the body's power grows with the frequency squared, a conductor's with its
    root. Mutual inductances couple the loops, C = (1 + i k M / L)^-1: signals become
    C s and the noise C R C^H, which is complex.

    Args:
        loops: n of them.
        places_mm: (z, y, x, 3) regular grid; sigma: S/m (z, y, x), 0 outside of the body.
        own_noise: mean noise power of a loop itself by that of the body at 3 T.

    Returns:
        C complex64 (loop, loop); R float32 (loop, loop), in ohm s^2.

    Source: Roemer et al., MRM 16:192 (1990); Hoult & Lauterbur, J Magn Reson 34:425 (1979).
    """
    own_noise *= (3.0 / field_t) ** 1.5
    resistance = body_resistance(loops, places_mm, sigma)
    wire = loops.circumferences_mm()
    own = own_noise * resistance.diagonal().mean() * wire / wire.mean()
    inductance = mutual_inductance(loops)
    relative = inductance / inductance.diagonal().mean()
    eye = torch.eye(len(wire), device=wire.device)
    coupling = torch.linalg.inv(torch.complex(eye, COUPLING * relative * (1 - eye)))
    return coupling, resistance + torch.diag(own)


def body_resistance(loops: Loops, places_mm: Tensor, sigma: Tensor) -> Tensor:
    """Resistance that a conducting body couples into loops, over the frequency squared.

    By reciprocity R_ij = integral of sigma E_i . E_j with one ampere in each loop.
    E is the loop's vector potential A and the field of charges, which gather
    where conductivity changes until no current ends there: div sigma (A - grad V) = 0.
    Quasi-static: waves in the body are left out.

    The body is a lattice: places of the grid, joined along the axes by the harmonic
    mean of their conductivities.

    Args:
        places_mm: (z, y, x, 3) regular grid of equal steps along x, y and z.
        sigma: S/m (z, y, x), 0 outside of the body.

    Returns:
        float32 (loop, loop) in ohm s^2.

    Source: Roemer et al., MRM 16:192 (1990).
    """
    step_m = float((places_mm[0, 0, 1] - places_mm[0, 0, 0]).norm()) / 1000
    inside = sigma > 0
    pairs, axis, conductance = _joints(sigma)
    potential = loop_potential(loops, places_mm[inside]).permute(2, 1, 0)  # (axis, place, loop)
    voltage = step_m * (potential[axis, pairs[0]] + potential[axis, pairs[1]]) / 2  # (joint, loop)
    n_joints, n_places = len(axis), int(inside.sum())
    joint = torch.arange(n_joints, device=sigma.device)
    ends = torch.ones_like(conductance)
    along = torch.sparse_coo_tensor(  # from places to differences along the joints
        torch.stack([joint.repeat(2), pairs.flatten()]),
        torch.cat([-ends, ends]),
        (n_joints, n_places),
        check_invariants=False,  # said, so that torch does not warn
    ).coalesce()
    charges = _without_ends(along, conductance[:, None], voltage)
    voltage = voltage - torch.sparse.mm(along, charges)
    return step_m * (voltage.mT @ (conductance[:, None] * voltage))


def _joints(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours in a body (2, joint), numbered as sigma[sigma > 0]; axis; conductivity between.

    Axes are 0, 1, 2 for x, y, z.
    """
    number = (sigma > 0).flatten().cumsum(0).reshape(sigma.shape) - 1
    pairs, axes, conductances = [], [], []
    for axis in range(3):
        n = sigma.shape[2 - axis]
        low, high = (sigma.narrow(2 - axis, start, n - 1) for start in (0, 1))
        joined = (low > 0) & (high > 0)
        pairs.append(
            torch.stack([number.narrow(2 - axis, start, n - 1)[joined] for start in (0, 1)])
        )
        low, high = low[joined], high[joined]
        conductances.append(2 * low * high / (low + high))
        axes.append(torch.full_like(pairs[-1][0], axis))
    return torch.cat(pairs, dim=1), torch.cat(axes), torch.cat(conductances)


def _without_ends(along: Tensor, conductance: Tensor, voltage: Tensor) -> Tensor:
    """Voltages of the places (place, loop) by which no current ends anywhere.

    Conjugate gradients on D^T g D v = D^T g u, preconditioned by the diagonal.
    """
    back = along.mT.coalesce()
    diagonal = torch.sparse.mm(back.pow(2), conductance).clamp(min=1e-12)
    residual = torch.sparse.mm(back, conductance * voltage)
    enough = RESIDUAL * residual.norm(dim=0)
    result = torch.zeros_like(residual)
    direction = torch.zeros_like(residual)
    before = torch.ones_like(enough)
    for _ in range(MAX_STEPS):
        scaled = residual / diagonal
        power = (residual * scaled).sum(0)
        direction = scaled + direction * (power / before)
        before = power.clamp(min=1e-30)
        ends = torch.sparse.mm(back, conductance * torch.sparse.mm(along, direction))
        length = power / (direction * ends).sum(0).clamp(min=1e-30)
        result = result + length * direction
        residual = residual - length * ends
        if bool((residual.norm(dim=0) <= enough).all()):
            break
    return result
