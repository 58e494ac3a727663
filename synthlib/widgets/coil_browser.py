"""Coil maps in the hand: their parameters, what they explain, and SigPy's beside ours."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from synthlib import arrays, coils, pairs
from synthlib.figures.pixels import Stack
from synthlib.widgets.cases import Case
from synthlib.widgets.viewer import ComplexViewer, Control

MAP, IMAGE, COMBINED = "Coil map", "Coil image", "Combined image"
EIGENVALUE, LEFT, SIGPY = "Largest eigenvalue", "Not explained", "SigPy's map, our gauge"
AUTO = coils.AUTO


class CoilBrowser(ComplexViewer):
    """Maps of a slice, estimated again whenever one of their parameters changes.

    Args:
        volumes: scans to browse, one case each.
        more: as ComplexViewer takes them.
    """

    def __init__(self, volumes: Sequence[pairs.PreparedVolume], **more: Any) -> None:
        if not volumes:
            raise ValueError("no scans were given; expected at least one to browse")
        self._volumes = {volume.name: volume for volume in volumes}
        default = coils.EspiritSettings()
        most = max(volume.n_slices for volume in volumes) - 1
        self._images = lru_cache(maxsize=4)(self._read)
        self._reference = lru_cache(maxsize=4)(self._sigpy)
        super().__init__(
            list(self._volumes),
            panels=[
                (MAP, "magnitude"), (MAP, "phase"), (EIGENVALUE, "magnitude"),
                (LEFT, "magnitude"), (COMBINED, "phase"),
            ],
            controls=[
                Control("slice", (0, most, 1), value=most // 2),
                Control("calib_width", (12, 40, 1), value=default.calib_width, label="calibration"),
                Control("kernel_width", (3, 8, 1), value=default.kernel_width, label="kernel"),
                Control("threshold", [AUTO, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2]),
                Control("crop", [AUTO, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]),
                Control("sigpy", False, label="SigPy beside ours (seconds)"),
            ],
            compute=self._case,
            reference=MAP,
            title="Coil maps",
            case_label="scan",
            **more,
        )  # fmt: skip

    def _read(self, name: str, index: int) -> Tensor:
        return self._volumes[name].raw.coil_images(index)

    def _sigpy(
        self, name: str, index: int, settings: coils.EspiritSettings, threshold: float
    ) -> Tensor:
        return coils.sigpy_maps(arrays.fft2c(self._images(name, index)), settings, threshold)

    def _case(self, case: str, **values: Any) -> tuple[Case, str]:
        volume = self._volumes[case]
        index = min(values["slice"], volume.n_slices - 1)
        settings = coils.EspiritSettings(
            values["calib_width"], values["kernel_width"], values["threshold"], values["crop"]
        )
        images = self._images(case, index)
        begin = time.perf_counter()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", RuntimeWarning)
            found = coils.espirit_maps(arrays.fft2c(images), settings)
        took = time.perf_counter() - begin
        stacks = _stacks(images, found)
        text = _about(case, index, images, found, took)
        text += " ".join(str(one.message) for one in told)
        if values["sigpy"]:
            reference = self._reference(case, index, settings, float(found.threshold))
            stacks[SIGPY] = Stack(_in_gauge(reference, found.maps)[None], "", 1.0, 0.0, "viridis")
            agreed = (coils.alignment(found.maps, reference)[found.support] > 0.999).float().mean()
            text += f" SigPy: {float(agreed):.1%} of the support aligned above 0.999."
            if all(one["stack"] != SIGPY for one in self.panels):
                more = [{"stack": SIGPY, "view": view} for view in ("phase", "difference")]
                self.panels = [*self.panels, *more]
        elif any(one["stack"] == SIGPY for one in self.panels):
            kept = [one for one in self.panels if one["stack"] != SIGPY]
            self.panels = kept or [{"stack": MAP, "view": "phase"}]
        return Case(stacks, volume.raw.spacing_mm), text


def _stacks(images: Tensor, found: coils.CoilMaps) -> dict[str, Stack | Tensor]:
    left = arrays.rss(coils.unexplained(images, found)) / arrays.rss(images).clamp(min=1e-20)
    return {
        MAP: Stack(found.maps[None], "", 1.0, 0.0, "viridis"),
        IMAGE: Stack(images[None]),
        COMBINED: Stack(coils.combine(images, found.maps)),
        EIGENVALUE: Stack(found.eigenvalues.clamp(min=0), "", 1.0, 0.0, "viridis"),
        LEFT: Stack(torch.where(found.support, left, 0), "share of signal", 0.5, 0.0, "magma"),
    }


def _in_gauge(reference: Tensor, maps: Tensor) -> Tensor:
    """Somebody else's maps turned, pixel by pixel, to the phase of ours."""
    turn = (reference.conj() * maps).sum(0)
    return reference * torch.polar(torch.ones_like(turn.abs()), turn.angle())


def _about(case: str, index: int, images: Tensor, found: coils.CoilMaps, took: float) -> str:
    (quality,) = coils.judge(images[None], found[None])
    return (
        f"{case}, slice {index}: maps of {len(images)} coils in {1e3 * took:.0f} ms, threshold "
        f"{float(found.threshold):.3f}, crop {float(found.crop):.2f}, residual in the support "
        f"{coils.residual(images, found):.3f}. Flags: {'; '.join(quality.flags) or 'none'}. "
    )


def coil_browser(volumes: Sequence[pairs.PreparedVolume], **more: Any) -> CoilBrowser:
    """Inspect coil maps; see :class:`CoilBrowser`."""
    return CoilBrowser(volumes, **more)
