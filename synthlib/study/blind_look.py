"""A blind look: can a small network tell patches of measured brains from simulated ones?

It sees single patches, either their phase or their magnitude. An AUROC of 0.5 means that it
guesses, 1 that it is never wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from scipy import ndimage, stats
from torch import Tensor

from synthlib import runs, tasks
from synthlib.study import discrimination, patches
from synthlib.study.discrimination import Example
from synthlib.study.patches import (
    Heads,
    Look,
    Patch,
    control,
    heads_of,
    measured_looks,
    twin_looks,
)
from synthlib.study.roc import area

__all__ = [
    "BlindLook",
    "HeadResult",
    "Heads",
    "Settings",
    "blind_look",
    "control",
    "heads_of",
    "measured_looks",
    "twin_looks",
]

PHASE_UNIT_RAD, FARTHEST_RAD = 0.2, 1.0  # phase is given to the network so, and clipped
FEWEST_HEADS = 3
OFTEN_OUTSIDE = (
    "which chance does more often than in one of twenty: all heads move together, and the interval "
    "does not count other subjects"
)
MIRRORED: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (1, 2))  # axes


@dataclass(frozen=True)
class Settings:
    """What the network sees and how it learns.

    Attributes:
        part: "phase", less each patch's plane, or "magnitude", over each patch's median.
        hold_out: "head": a head is tested by what was learned from the others. "half":
            the network learns from one half of every measured brain and is tested on the
            other, against subjects that it never saw, and the other way round; this finds
            what is peculiar to one scan, too.
        patch_px: edge of a patch; all of it lies in the brain.
        n_patches: at most, of a head and of its twins, drawn at random.
        snr: at which patches are looked at, lower where a head has less.
        smooth_px: s.d. of a Gaussian over the complex patches: what is told apart by fine
            structure alone no longer is.
        network: how it is built and trained; its test_share and smooth_px are not used.
    """

    part: Literal["phase", "magnitude"] = "phase"
    hold_out: Literal["head", "half"] = "head"
    patch_px: int = 24
    n_patches: int = 300
    snr: float = 30.0
    smooth_px: float = 0.0
    network: discrimination.Settings = field(
        default_factory=lambda: discrimination.Settings(steps=300, batch=64)
    )


@dataclass(frozen=True)
class HeadResult:
    """A head that was tested: AUROC, mean over networks, and its patches with their scores.

    Attributes:
        patches: (patch, y, x) as the network saw them; is_measured: (patch,) bool.
        scores: (patch,), the larger the more like measured, mean over networks.
        importance: (patch, y, x) |score's slope| around each pixel (a Gaussian of 1 pixel),
            over its mean.
    """

    head: str
    auroc: float
    patches: Tensor
    is_measured: np.ndarray
    scores: np.ndarray
    importance: Tensor


@dataclass(frozen=True)
class BlindLook:
    """AUROC of every head that was tested, their mean and its 95 % t-interval over heads.

    The interval is too narrow: it knows nothing of other networks and other subjects, and networks
    that are tested on different heads share most of those that they learned from.
    """

    part: str
    heads: list[HeadResult]

    @property
    def auroc(self) -> float:
        return float(np.mean([head.auroc for head in self.heads]))

    @property
    def interval(self) -> tuple[float, float]:
        values = [head.auroc for head in self.heads]
        reach = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
        return max(0.0, self.auroc - reach), min(1.0, self.auroc + reach)

    def rows(self) -> list[dict[str, str]]:
        """Rows for tables.from_dicts: every head, then the mean with its interval."""
        rows = [
            {
                "head": head.head,
                "AUROC": f"{head.auroc:.2f}",
                "measured patches": str(int(head.is_measured.sum())),
                "simulated patches": str(int((~head.is_measured).sum())),
            }
            for head in self.heads
        ]
        low, high = self.interval
        mean = f"{self.auroc:.2f} ({low:.2f} to {high:.2f})"
        totals = [str(sum(int(row[key]) for row in rows)) for key in list(rows[0])[2:]]
        return [*rows, dict(zip(rows[0], [f"mean of {len(rows)}", mean, *totals], strict=True))]

    def sentence(self, *, are_measured: bool) -> str:
        """The mean AUROC, and what it says.

        Args:
            are_measured: False where simulated subjects play the measured heads.
        """
        low, high = self.interval
        text = f"{self.part}: AUROC {self.auroc:.2f} ({low:.2f} to {high:.2f})"
        if not are_measured:
            inside = low <= 0.5 <= high
            reason = "as it is to be" if inside else OFTEN_OUTSIDE
            return f"{text}: 0.5 lies {'inside' if inside else 'outside'}, {reason}"
        return " ".join([f"{text}.", nothing_carried_over([head.auroc for head in self.heads])])

    def surest(self, n: int) -> dict[str, list[tuple[Tensor, Tensor]]]:
        """Patches that were called most surely measured or simulated, rightly or wrongly.

        Returns:
            "measured, called simulated" and so on to at most n pairs of patch and
            importance, (y, x) each, the surest first; heads are compared by ranks.
        """
        ranked: dict[str, list[tuple[float, Tensor, Tensor]]] = {}
        for head in self.heads:
            ranks = stats.rankdata(head.scores) / len(head.scores) - 0.5
            for index, (rank, is_measured) in enumerate(zip(ranks, head.is_measured, strict=True)):
                truth = "measured" if is_measured else "simulated"
                call = "measured" if rank > 0 else "simulated"
                ranked.setdefault(f"{truth}, called {call}", []).append(
                    (abs(float(rank)), head.patches[index], head.importance[index])
                )
        return {
            name: [entry[1:] for entry in sorted(entries, key=lambda entry: -entry[0])[:n]]
            for name, entries in sorted(ranked.items())
        }


def nothing_carried_over(aurocs: Sequence[float]) -> str:
    """A sentence on the heads in which the network is wrong more often than right; else "".

    Args:
        aurocs: of measured heads, each tested by what was learned from the others.
    """
    below = sum(value < 0.5 for value in aurocs)
    if not below:
        return ""
    return (
        f"In {below} of {len(aurocs)} heads the network is wrong more often than right: what it "
        "learned from the others does not carry over to them, which is no sign of likeness."
    )


def blind_look(looks: Sequence[Look], *, seed: int, settings: Settings | None = None) -> BlindLook:
    """Train networks to tell measured patches from simulated ones, and test them head by head.

    Args:
        looks: measured and simulated, of at least three heads with both; heads without
            patches on either side are left out.
        seed: of the choice of patches, of noise and of the networks.

    Raises:
        ValueError: fewer heads.
    """
    settings = settings or Settings()
    drawn = patches.draw(
        looks, size=settings.patch_px, n_patches=settings.n_patches, snr=settings.snr, seed=seed
    )
    with tasks.threads_of_our_own():
        if settings.hold_out == "half":
            sides = [_half_left_out(drawn, side, settings, seed) for side in (-1, 1)]
            names = _enough(sides[0].keys() & sides[1].keys())
            heads = [_joined(sides[0][name], sides[1][name]) for name in names]
            return BlindLook(settings.part, heads)
        names = _enough(_with_both(drawn))
        heads = []
        for name in names:
            learn = [p for p in drawn if p.look.head != name and p.look.head in names]
            networks = _networks(learn, settings, runs.seed_for(seed, name))
            heads.append(_tested(name, networks, drawn, settings))
    return BlindLook(settings.part, heads)


def seen(images: Tensor, settings: Settings) -> Tensor:
    """What a network sees of complex patches (patch, y, x): float32 (patch, y, x)."""
    if settings.smooth_px > 0:
        sigma = (0, settings.smooth_px, settings.smooth_px)
        images = torch.from_numpy(ndimage.gaussian_filter(images.numpy(force=True), sigma))
    if settings.part == "magnitude":
        magnitude = images.abs()
        median = magnitude.flatten(1).median(1).values.clamp(min=1e-20)
        return magnitude / median[:, None, None] - 1
    phase = patches.level_phase(images)
    return phase.clamp(-FARTHEST_RAD, FARTHEST_RAD) / PHASE_UNIT_RAD


def _with_both(drawn: Sequence[Patch]) -> set[str]:
    """Heads of which there are measured and simulated patches."""
    kinds = {(patch.look.head, patch.look.is_measured) for patch in drawn}
    return {name for name, _ in kinds if {(name, True), (name, False)} <= kinds}


def _enough(names: Iterable[str]) -> list[str]:
    names = sorted(names)
    if len(names) < FEWEST_HEADS:
        raise ValueError(
            f"{len(names)} heads have measured and simulated patches to learn from and to test; "
            f"expected at least {FEWEST_HEADS}. Add heads or twins, or make patches smaller."
        )
    return names


def _half_left_out(
    drawn: Sequence[Patch], side: int, settings: Settings, seed: int
) -> dict[str, HeadResult]:
    """Every head tested on one side of the measured brain, against half of the subjects."""
    subjects: dict[str, set[str]] = {}
    for patch in drawn:
        if not patch.look.is_measured:
            subjects.setdefault(patch.look.head, set()).add(patch.look.subject)
    unseen = {
        name
        for of_head in subjects.values()
        for which, name in enumerate(sorted(of_head))
        if which % 2 == (side + 1) // 2
    }
    learn: list[Patch] = []
    test: list[Patch] = []
    for patch in drawn:
        if not patch.look.is_measured:
            (test if patch.look.subject in unseen else learn).append(patch)
        elif patch.side:
            (test if patch.side == side else learn).append(patch)
    names = _with_both(learn) & _with_both(test)
    learn = [patch for patch in learn if patch.look.head in names]
    if not learn:
        return {}
    networks = _networks(learn, settings, runs.seed_for(seed, side))
    return {name: _tested(name, networks, test, settings) for name in names}


def _joined(one: HeadResult, other: HeadResult) -> HeadResult:
    return HeadResult(
        one.head,
        (one.auroc + other.auroc) / 2,
        torch.cat([one.patches, other.patches]),
        np.concatenate([one.is_measured, other.is_measured]),
        np.concatenate([one.scores, other.scores]),
        torch.cat([one.importance, other.importance]),
    )


def _networks(learn: Sequence[Patch], settings: Settings, seed: int) -> list[torch.nn.Module]:
    """Networks that learned from patches, their mirror images, and phase of the other sign.

    Files differ in the sign of their phase, which is no property of a scanner.
    """
    images = seen(torch.stack([patch.image for patch in learn]), settings)[:, None]
    examples = [
        Example(patch.look.head, patch.look.is_measured, sign * image.flip(axes))
        for patch, image in zip(learn, images, strict=True)
        for axes in MIRRORED
        for sign in ((1, -1) if settings.part == "phase" else (1,))
    ]
    return [
        discrimination.train(examples, settings.network, runs.seed_for(seed, "network", number))
        for number in range(settings.network.n_networks)
    ]


def _tested(
    head: str, networks: Sequence[torch.nn.Module], drawn: Sequence[Patch], settings: Settings
) -> HeadResult:
    """Networks on one head's patches."""
    test = [patch for patch in drawn if patch.look.head == head]
    truth = np.array([patch.look.is_measured for patch in test])
    images = seen(torch.stack([patch.image for patch in test]), settings)[:, None]
    areas, scores = [], np.zeros(len(test))
    importance = torch.zeros(images[:, 0].shape)
    for network in networks:
        shown = images.clone().requires_grad_()
        values = network(shown)[:, 0]
        (slope,) = torch.autograd.grad(values.sum(), shown)
        of_network = values.detach().double().numpy()
        areas.append(area(of_network[truth], of_network[~truth]))
        scores += of_network / len(networks)
        importance += slope[:, 0].abs() / len(networks)
    importance = torch.from_numpy(ndimage.gaussian_filter(importance.numpy(), (0, 1, 1)))
    importance = importance / importance.mean((1, 2), keepdim=True).clamp(min=1e-12)
    return HeadResult(head, float(np.mean(areas)), images[:, 0], truth, scores, importance)
