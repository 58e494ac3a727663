"""The phase gallery: every source's phase for the same magnitudes; can you tell them apart?"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthlib import arrays, coils, metrics, pairs, runs, synthesis
from synthlib.figures import pixels
from synthlib.figures.pixels import Stack
from synthlib.phase import sources
from synthlib.recon import masks
from synthlib.records import PhasePair
from synthlib.study.patches import Heads
from synthlib.widgets.cases import Case
from synthlib.widgets.viewer import ComplexViewer, Control

GAN = "gan"
FULL = "1 (all lines)"
HEAD_MM = 22.0  # from the brain, as likeness.measures finds it, to beyond the skin


class PhaseGallery(ComplexViewer):
    """Scans with the phase of every source, in a :class:`ComplexViewer`.

    Args:
        volumes: scans to browse, one case each.
        names: phase sources, measured first.
        context: what the sources draw on.
        seed: of the draws.
        accelerations: R to choose from; the images are then the zero-filled
            reconstructions of the k-space that magnitude, phase and maps make.
        center_fraction: of the masks.
        more: as ComplexViewer takes them.
    """

    def __init__(
        self,
        volumes: Sequence[pairs.PreparedVolume],
        names: Sequence[str],
        context: sources.Context,
        *,
        seed: int,
        accelerations: Sequence[int] = (4, 6, 8, 10),
        center_fraction: float = 0.04,
        **more: Any,
    ) -> None:
        sources.require_known(names)
        if not volumes:
            raise ValueError("no scans were given; expected at least one to browse")
        self._volumes = {f"{v.raw.patient_id}, {v.raw.contrast}": v for v in volumes}
        if len(self._volumes) < len(volumes):  # several scans of one contrast
            self._volumes = {v.name: v for v in volumes}
        self._names, self._context, self._seed = list(names), context, seed
        self._center_fraction = center_fraction
        self._draws = 0
        self._drawn: dict[tuple[str, int], Tensor] = {}  # phase of the last draw for a slice
        controls = [Control("R", [FULL, *accelerations], label="acceleration R")]
        if GAN in names:
            controls.append(Control("draw", None, label="New draw of the generator"))
        both = sources.MEASURED in names and GAN in names
        first = sources.label(names[0])
        super().__init__(
            list(self._volumes),
            panels=[(first, "magnitude")] + [(sources.label(name), "phase") for name in names[:5]],
            controls=controls,
            compute=self._case,
            guess=(sources.label(sources.MEASURED), sources.label(GAN)) if both else None,
            title="Phase gallery",
            case_label="scan",
            **more,
        )

    def _case(self, case: str, R: Any) -> tuple[Case, str]:
        volume = self._volumes[case]
        slices = [volume.pair(index) for index in range(volume.n_slices)]
        written = sources.write_many(self._names, slices, self._context, seed=self._seed)
        for (drawn, index), phase in self._drawn.items():
            if drawn == case:
                written[GAN][index] = phase
        thin = None if R == FULL else self._mask(volume, int(R))
        images: dict[str, Stack] = {}
        for name in self._names:
            made = [
                torch.polar(p.magnitude, phase)
                for p, phase in zip(slices, written[name], strict=True)
            ]
            if thin is not None:
                made = [self._zero_filled(volume, k, image, thin) for k, image in enumerate(made)]
            images[sources.label(name)] = Stack(torch.stack(made))
        text = ""
        if thin is not None:
            text = f"Zero-filled reconstructions, R = {thin.acquired_acceleration:.1f} achieved."
        return Case(images, volume.raw.spacing_mm), text

    def _mask(self, volume: pairs.PreparedVolume, acceleration: int) -> masks.Mask:
        return masks.equispaced(
            volume.raw.image_shape[1], acceleration, center_fraction=self._center_fraction,
            seed=masks.seed_of(volume.name), acquired=volume.raw.acquired,
        )  # fmt: skip

    @staticmethod
    def _zero_filled(
        volume: pairs.PreparedVolume, index: int, image: Tensor, mask: masks.Mask
    ) -> Tensor:
        maps = volume.maps(index)
        kspace = synthesis.multicoil_kspace(image.abs(), image.angle(), maps) * mask.columns
        return coils.combine(arrays.ifft2c(kspace), maps)

    def press(self, name: str, case: str, slice_index: int) -> None:
        """A new draw of the generator's dropout for the slice on show."""
        if self.values["R"] != FULL:
            raise ValueError("a new draw is made for the whole image; set R to 1 first")
        volume, label = self._volumes[case], sources.label(GAN)
        if not 0 <= slice_index < volume.n_slices:
            raise ValueError(f"{case} has no slice {slice_index}; it has {volume.n_slices}")
        self._draws += 1
        pair = volume.pair(slice_index)
        begin = time.perf_counter()
        seed = runs.seed_for(self._seed, "draw", self._draws)
        phase = sources.write(GAN, pair, self._context, seed=seed)
        took = time.perf_counter() - begin
        loaded = self._open(case)
        kept = loaded.stacks[label].phase
        assert kept is not None  # every source's images are complex
        words = pixels.quantise_phase(phase)
        before = torch.from_numpy(kept[slice_index, 0] * pixels.PHASE_STEP)
        kept[slice_index, 0] = words
        self._drawn[case, slice_index] = phase
        self._keep_first(loaded)
        text = _about(self._draws, pair, phase, before.to(torch.float32), took)
        self.send(
            {"kind": "draw", "case": case, "slice": slice_index, "stack": label, "text": text},
            [np.ascontiguousarray(words).data.cast("B")],
        )


def _about(draw: int, pair: PhasePair, phase: Tensor, before: Tensor, took: float) -> str:
    weight = pair.magnitude * pair.head
    apart = metrics.phase_error(phase, before).abs()
    mean = float((weight * apart).sum() / weight.sum())
    return (
        f"Draw {draw}, written in {1e3 * took:.0f} ms; from the draw before it differs by "
        f"{mean:.3f} rad in the head (weighted mean)."
    )


def phase_gallery(
    volumes: Sequence[pairs.PreparedVolume],
    names: Sequence[str],
    context: sources.Context,
    *,
    seed: int,
    **more: Any,
) -> PhaseGallery:
    """Browse phase against magnitude; see :class:`PhaseGallery`."""
    return PhaseGallery(volumes, names, context, seed=seed, **more)


def guess_heads(heads: Heads, **more: Any) -> ComplexViewer:
    """Guess which head is measured, by magnitude or by phase: each beside a simulated twin.

    Args:
        heads: of patches.heads_of; where simulated subjects play the measured ones, their
            name says so.
        more: as ComplexViewer takes them.

    Raises:
        ValueError: no head has both.
    """
    measured = "measured" if heads.are_measured else "plays measured"
    cases: dict[str, Case] = {}
    for look in heads.looks:
        twin = next((o for o in heads.looks if o.head == look.head and not o.is_measured), None)
        if look.is_measured and twin is not None:
            rows, columns = _around(look.brain | twin.brain, look.pixel_mm)
            stacks = {
                name: (one.image / one.image.abs()[one.brain].median())[rows, columns]
                for name, one in ((measured, look), ("simulated", twin))
            }
            cases.setdefault(look.head, Case(stacks, look.pixel_mm))
    if not cases:
        raise ValueError(
            f"none of {len(heads.looks)} looks is that of a {measured} head that has a simulated "
            "twin, so there is nothing to guess; expected both of at least one head. Make them "
            "with blind_look.heads_of."
        )
    return ComplexViewer(cases, guess=(measured, "simulated"), title="Which head?", **more)


def _around(brain: Tensor, pixel_mm: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns of a brain with the head around it: most of the air is cut off."""
    spans = []
    for axis, mm in enumerate(pixel_mm):
        inside = brain.any(1 - axis).nonzero().flatten()
        margin = math.ceil(HEAD_MM / mm)
        spans.append(slice(max(0, int(inside[0]) - margin), int(inside[-1]) + margin + 1))
    return spans[0], spans[1]
