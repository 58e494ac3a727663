"""The flow in use: phase of slices and scans from their magnitude."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from synthlib import arrays, runs, tasks
from synthlib.phase import smooth
from synthlib.phase.flow import familiarity, grids
from synthlib.phase.flow.conditions import Conditions
from synthlib.phase.flow.network import FlowNetwork, Given
from synthlib.phase.flow.paths import COARSE, FINE, Stage, follow, start
from synthlib.records import UNKNOWN_MM

LEAST_RESULTANT = 1e-6  # squared, of draws that have nothing in common


@dataclasses.dataclass(frozen=True)
class PhaseFlow:
    """Writes phase for magnitude images; every seed is another draw.

    Attributes:
        coarse, fine: networks of the stages.
        smooth: statistics of scans by smooth.kind.
        familiar: what the heads looked like that it learned from, None if nobody noted it.
        record: of the training.
    """

    coarse: FlowNetwork
    fine: FlowNetwork
    stages: tuple[Stage, Stage] = (COARSE, FINE)
    smooth: dict[str, smooth.ScanStatistics] = dataclasses.field(default_factory=dict)
    familiar: familiarity.Familiarity | None = None
    record: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(
        self,
        magnitude: Tensor,
        *,
        seed: int,
        name: str = "",
        spacing_mm: tuple[float, float] = UNKNOWN_MM,
        conditions: Conditions | None = None,
    ) -> Tensor:
        """Phase of a slice (y, x) or of all slices of a scan (slice, y, x), of its shape.

        Args:
            magnitude: >= 0, any unit; the others as in :meth:`scan`.

        Raises:
            ValueError: neither a slice nor a scan.
        """
        if magnitude.ndim not in (2, 3):
            raise ValueError(
                f"magnitude of shape {tuple(magnitude.shape)}; expected a slice (y, x) or a scan "
                "(slice, y, x)"
            )
        stack = magnitude.reshape(-1, *magnitude.shape[-2:])
        phase = self.scan(stack, spacing_mm, seed=seed, name=name, conditions=conditions)
        return phase.reshape(magnitude.shape)

    @tasks.torch_threads(1)
    def scan(
        self,
        magnitude: Tensor,
        spacing_mm: tuple[float, float],
        *,
        seed: int,
        name: str,
        extent_mm: float = math.nan,
        conditions: Conditions | None = None,
        upside_down: bool = False,
    ) -> Tensor:
        """Phase of all slices of a scan: float32 (slice, y, x), radians in (-pi, pi].

        The slices share one smooth draw, and the coarse stage's noise, so that the volume hangs
        together; the fine stage's noise is each slice's own.

        Args:
            magnitude: (slice, y, x); the others as in :meth:`slice`.
        """
        last = len(magnitude) - 1
        return torch.stack(
            [
                self.slice(
                    image, spacing_mm, seed=seed, scan=name, index=index,
                    position=index / last if last else 0.5, extent_mm=extent_mm,
                    conditions=conditions, upside_down=upside_down,
                )
                for index, image in enumerate(magnitude)
            ]
        )  # fmt: skip

    @tasks.torch_threads(1)
    def slice(
        self,
        magnitude: Tensor,
        spacing_mm: tuple[float, float],
        *,
        seed: int,
        scan: str,
        index: int | str,
        position: float,
        extent_mm: float = math.nan,
        conditions: Conditions | None = None,
        upside_down: bool = False,
    ) -> Tensor:
        """Phase of one slice: float32 (y, x), radians in (-pi, pi].

        Args:
            magnitude: (y, x), >= 0, any unit; spacing_mm: (y, x) of a pixel, nan if unknown.
            seed, scan: choose what the scan's slices share; with the index what they do not.
            index: of the slice, or its name; position: 0 to 1 through the stack.
            extent_mm: from the first slice to the last; nan: a usual head's.
            conditions: of the scan; None is unknown.
            upside_down: rows run the other way than in DICOM's views.
        """
        conditions = conditions or Conditions()
        seen = magnitude.flip(0) if upside_down else magnitude
        phase = self.fine_phase(
            seen[None],
            spacing_mm,
            # neighbours are alike, and so are their phases where paths start alike
            runs.rng(seed, "flow", "coarse", scan),
            own=runs.rng(seed, "flow", "fine", scan, index),
            conditions=conditions,
        )[0]
        if self.smooth:
            shape = seen.shape[0], seen.shape[1]
            phase = phase + self.surface(
                shape, spacing_mm, seed=seed, scan=scan, position=position, extent_mm=extent_mm,
                conditions=conditions,
            )  # fmt: skip
        phase = arrays.wrap(phase)
        return phase.flip(0) if upside_down else phase

    def surface(
        self,
        shape: tuple[int, int],
        spacing_mm: tuple[float, float],
        *,
        seed: int,
        scan: str,
        position: float,
        extent_mm: float = math.nan,
        conditions: Conditions | None = None,
    ) -> Tensor:
        """The smooth part of a slice alone: float32 (y, x), radians, not wrapped.

        Args:
            shape: (y, x); the others as in :meth:`slice`. An unknown orientation is taken for
                axial, an unknown echo for a spin echo.
        """
        known = conditions or Conditions()
        usual = dataclasses.replace(known, orientation="")
        statistics = self.smooth.get(known.smooth_kind) or self.smooth[usual.smooth_kind]
        coefficients = statistics.draw(runs.rng(seed, "flow", "smooth", scan))
        height = smooth.height(position, extent_mm, known.orientation)
        return smooth.surface(coefficients, shape, spacing_mm, height)

    @torch.no_grad()
    def fine_phase(
        self,
        magnitude: Tensor,
        spacing_mm: tuple[float, float],
        rng: torch.Generator,
        *,
        own: torch.Generator | None = None,
        conditions: Conditions | None = None,
    ) -> Tensor:
        """A draw of the fine phase of slices at their own resolution: float32, radians.

        Args:
            magnitude: (slice, y, x), >= 0, any unit; spacing_mm: as in :meth:`slice`.
            rng: draws where the paths start; own: where those of the fine stage do, if given.

        Returns:
            (slice, y, x); each slice a draw of its own.
        """
        seen = _Seen.of(magnitude, spacing_mm)
        vector = (conditions or Conditions()).vector()
        pair = torch.zeros(len(magnitude), 2, *seen.coarse_shape)
        pair[:, 0] = 1  # no phase is the coarse stage's guess
        for network, stage, (shape, mm), draws in zip(
            (self.coarse, self.fine), self.stages, seen.grids(), (rng, own or rng), strict=True
        ):
            given = seen.given(shape, mm, pair, vector)
            pair = follow(network, given, start(given.guess, stage, draws), stage)
            pair = grids.unit(pair)
        return torch.atan2(pair[:, 1], pair[:, 0])

    @tasks.torch_threads(1)
    def uncertainty(
        self,
        magnitude: Tensor,
        spacing_mm: tuple[float, float],
        *,
        seed: int,
        conditions: Conditions | None = None,
        n_draws: int = 8,
    ) -> Tensor:
        """How much draws of the fine phase differ, pixel by pixel: float32 (y, x), radians.

        See :func:`circular`: 0 where the magnitude tells all, 3.7 at most.

        Args:
            magnitude: (y, x); spacing_mm, conditions: as in :meth:`slice`.
            n_draws: 2 or more.

        Raises:
            ValueError: fewer than two draws.
        """
        if n_draws < 2:
            raise ValueError(f"{n_draws} draws; expected two or more, 8 are usual")
        stack = magnitude.expand(n_draws, -1, -1)
        rng = runs.rng(seed, "flow", "uncertainty")
        draws = self.fine_phase(stack, spacing_mm, rng, conditions=conditions)
        return circular(draws)[0]

    @torch.no_grad()
    @tasks.torch_threads(1)
    def unfamiliarity(
        self, magnitude: Tensor, spacing_mm: tuple[float, float], *, upside_down: bool = False
    ) -> Tensor:
        """How unlike images are the heads that the flow learned from: (slice,), 1 is usual.

        Beyond familiar.limit lie few heads; see phase.flow.familiarity.

        Args:
            magnitude: (slice, y, x); the others as in :meth:`slice`.

        Raises:
            ValueError: weights that do not know what they learned from.
        """
        if self.familiar is None:
            raise ValueError("these weights do not know what they learned from; train them anew")
        images = magnitude.flip(1) if upside_down else magnitude
        return self.familiar.distance(
            torch.cat([self.activations(image[None], spacing_mm) for image in images])
        )

    @torch.no_grad()
    def activations(self, magnitude: Tensor, spacing_mm: tuple[float, float]) -> Tensor:
        """What the coarse network sees in (slice, y, x), told nothing else: (slice, activation)."""
        seen = _Seen.of(magnitude, spacing_mm)
        shape, mm = seen.grids()[0]
        pair = torch.zeros(len(magnitude), 2, *shape)
        pair[:, 0] = 1
        given = seen.given(shape, mm, pair, Conditions().vector())
        return self.coarse.activations(given.padded(self.coarse.multiple))


def circular(draws: Tensor) -> tuple[Tensor, Tensor]:
    """Circular standard deviation and mean direction (y, x), radians, of two draws or more.

    sqrt(-2 ln rho), with rho^2 freed of what few draws add to it.

    Args:
        draws: radians (draw, y, x).
    """
    n = len(draws)
    mean = torch.polar(torch.ones_like(draws), draws).mean(0)
    squared = (n * mean.abs().square() - 1) / (n - 1)
    return (-squared.clamp(LEAST_RESULTANT, 1).log()).sqrt(), mean.angle()


Grid = tuple[tuple[int, int], tuple[float, float]]  # (y, x) pixels, and mm of a pixel


@dataclasses.dataclass(frozen=True)
class _Seen:
    """Images as both stages look at them."""

    scaled: Tensor  # (slice, 1, y, x), 1 is bright
    views: list[grids.View]
    spacing_mm: tuple[float, float]

    @classmethod
    def of(cls, magnitude: Tensor, spacing_mm: tuple[float, float]) -> _Seen:
        images = magnitude.float()[:, None]
        known = smooth.known_spacing(spacing_mm, (magnitude.shape[1], magnitude.shape[2]))
        views = [grids.view(image[0], known) for image in images]
        bright = torch.tensor([view.bright for view in views])
        return cls(images / bright[:, None, None, None], views, known)

    @property
    def coarse_shape(self) -> tuple[int, int]:
        return self.grids()[0][0]

    def grids(self) -> tuple[Grid, Grid]:
        """The coarse grid and the images' own."""
        ny, nx = self.scaled.shape[-2:]
        coarse = grids.coarse_shape((ny, nx), self.spacing_mm)
        y, x = (n * mm / few for n, mm, few in zip((ny, nx), self.spacing_mm, coarse, strict=True))
        return (coarse, (y, x)), ((ny, nx), self.spacing_mm)

    def given(
        self, shape: tuple[int, int], mm: tuple[float, float], pair: Tensor, vector: Tensor
    ) -> Given:
        """On one of the grids, with (cos, sin) of the guess on any other."""
        return Given(
            grids.resize(self.scaled, shape),
            grids.unit(grids.resize(pair, shape)),
            torch.stack([grids.places(shape, mm, view.middle_mm) for view in self.views]),
            torch.cat([vector, torch.tensor([grids.log_mm(mm)])]).expand(len(self.views), -1),
        )
