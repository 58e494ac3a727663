"""The flow in use: phase of slices and scans from their magnitude."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from synthlib import arrays, runs, tasks
from synthlib.phase import smooth
from synthlib.phase.flow import grids
from synthlib.phase.flow.conditions import Conditions
from synthlib.phase.flow.network import FlowNetwork, Given
from synthlib.phase.flow.paths import COARSE, FINE, Stage, follow, start
from synthlib.records import UNKNOWN_MM

USUAL = "axial"  # orientation of slices that do not say theirs


@dataclasses.dataclass(frozen=True)
class PhaseFlow:
    """Writes phase for magnitude images; every seed is another draw.

    Attributes:
        coarse, fine: networks of the stages.
        smooth: statistics of scans by orientation.
        record: of the training.
    """

    coarse: FlowNetwork
    fine: FlowNetwork
    stages: tuple[Stage, Stage] = (COARSE, FINE)
    smooth: dict[str, smooth.ScanStatistics] = dataclasses.field(default_factory=dict)
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
        conditions: Conditions | None = None,
        upside_down: bool = False,
    ) -> Tensor:
        """Phase of all slices of a scan: float32 (slice, y, x), radians in (-pi, pi].

        The slices share one smooth draw; each has a draw of its own of the fine part.

        Args:
            magnitude: (slice, y, x); the others as in :meth:`slice`.
        """
        last = len(magnitude) - 1
        return torch.stack(
            [
                self.slice(
                    image, spacing_mm, seed=seed, scan=name, index=index,
                    position=index / last if last else 0.5,
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
        conditions: Conditions | None = None,
        upside_down: bool = False,
    ) -> Tensor:
        """Phase of one slice: float32 (y, x), radians in (-pi, pi].

        Args:
            magnitude: (y, x), >= 0, any unit; spacing_mm: (y, x) of a pixel, nan if unknown.
            seed, scan: choose the scan's smooth part; with the index its fine part.
            index: of the slice, or its name; position: 0 to 1 through the stack.
            conditions: of the scan; None is unknown.
            upside_down: rows run the other way than in DICOM's views.
        """
        conditions = conditions or Conditions()
        seen = magnitude.flip(0) if upside_down else magnitude
        rng = runs.rng(seed, "flow", "fine", scan, index)
        phase = self.fine_phase(seen[None], spacing_mm, rng, conditions=conditions)[0]
        if self.smooth:
            shape = seen.shape[0], seen.shape[1]
            phase = phase + self.surface(
                shape, spacing_mm, seed=seed, scan=scan, position=position,
                orientation=conditions.orientation,
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
        orientation: str = USUAL,
    ) -> Tensor:
        """The smooth part of a slice alone: float32 (y, x), radians, not wrapped.

        Args:
            shape: (y, x); the others as in :meth:`slice`. Another orientation than those of
                `smooth` is taken for USUAL.
        """
        statistics = self.smooth.get(orientation) or self.smooth[USUAL]
        coefficients = statistics.draw(runs.rng(seed, "flow", "smooth", scan))
        return smooth.surface(coefficients, shape, spacing_mm, 2 * position - 1)

    @torch.no_grad()
    def fine_phase(
        self,
        magnitude: Tensor,
        spacing_mm: tuple[float, float],
        rng: torch.Generator,
        *,
        conditions: Conditions | None = None,
    ) -> Tensor:
        """A draw of the fine phase of slices at their own resolution: float32, radians.

        Args:
            magnitude: (slice, y, x), >= 0, any unit; spacing_mm: as in :meth:`slice`.
            rng: draws where the paths start.

        Returns:
            (slice, y, x); each slice a draw of its own.
        """
        images = magnitude.float()[:, None]
        n, ny, nx = magnitude.shape
        spacing_mm = grids.known_spacing(spacing_mm, (ny, nx))
        views = [grids.view(image[0], spacing_mm) for image in images]
        scaled = images / torch.tensor([view.bright for view in views])[:, None, None, None]
        vector = (conditions or Conditions()).vector()
        coarse_shape = grids.coarse_shape((ny, nx), spacing_mm)
        coarse_mm = tuple(
            count * mm / coarse
            for count, mm, coarse in zip((ny, nx), spacing_mm, coarse_shape, strict=True)
        )
        pair = torch.zeros(n, 2, *coarse_shape)
        pair[:, 0] = 1  # no phase is the coarse stage's guess
        for network, stage, shape, mm in (
            (self.coarse, self.stages[0], coarse_shape, (coarse_mm[0], coarse_mm[1])),
            (self.fine, self.stages[1], (ny, nx), spacing_mm),
        ):
            given = Given(
                grids.resize(scaled, shape),
                grids.unit(grids.resize(pair, shape)),
                torch.stack([grids.places(shape, mm, view.middle_mm) for view in views]),
                torch.cat([vector, torch.tensor([grids.log_mm(mm)])]).expand(n, -1),
            )
            pair = follow(network, given, start(given.guess, stage, rng), stage)
            pair = grids.unit(pair)
        return torch.atan2(pair[:, 1], pair[:, 0])
