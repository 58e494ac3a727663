"""Sliders over complex images in a notebook: the only door to ipywidgets.

Every widget draws with a function of `figures`, so that its picture of record
in an executed notebook is the same picture.
"""

from __future__ import annotations

import html
import io
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import ipywidgets as ipw
from matplotlib.figure import Figure
from torch import Tensor

from synthlib import arrays, coils, figures, pairs
from synthlib.phase import sources


def phase_gallery(
    volumes: Sequence[pairs.PreparedVolume],
    names: Sequence[str],
    context: sources.Context,
    *,
    seed: int,
) -> ipw.Widget:
    """Magnitude, phase and difference side by side, with sliders.

    Args:
        volumes: scans to browse; subject and contrast choose among them.
        names: phase sources to choose from.
        context: what the sources draw on.
        seed: of the draws.

    Returns:
        A widget: subject, contrast, slice, phase source, range of the phase
        colours, and brightness of the magnitude.
    """
    by_name = {(v.raw.patient_id, v.raw.contrast): v for v in volumes}
    subject = ipw.Dropdown(options=sorted({key[0] for key in by_name}), description="subject")
    contrast = ipw.Dropdown(options=_contrasts(by_name, subject.value), description="contrast")
    most = max(volume.n_slices for volume in volumes) - 1
    controls: dict[str, Any] = {
        "subject": subject,
        "contrast": contrast,
        "slice_index": _slider("slice", 0, most, most // 2),
        "name": ipw.Dropdown(
            options=[(sources.label(name), name) for name in names], description="phase"
        ),
        "limit": ipw.FloatSlider(
            value=3.14, min=0.2, max=3.14, step=0.01, description="± rad", continuous_update=False
        ),
        "brightness": ipw.FloatSlider(
            value=1.0, min=0.2, max=3.0, step=0.1, description="brightness", continuous_update=False
        ),
    }

    def choose_contrasts(change: Mapping[str, Any]) -> None:
        contrast.options = _contrasts(by_name, change["new"])

    subject.observe(choose_contrasts, "value")
    made: dict[tuple[str, str], Tensor] = {}

    def draw(
        subject: str, contrast: str, slice_index: int, name: str, limit: float, brightness: float
    ) -> Figure:
        volume = by_name[subject, contrast]
        pair = volume.pair(min(slice_index, volume.n_slices - 1))
        if (pair.name, name) not in made:
            made[pair.name, name] = sources.write(name, pair, context, seed=seed)
        phase = made[pair.name, name]
        label = sources.label(name)
        return figures.phase_view(pair, phase, label, limit=limit, brightness=brightness)

    return _live(draw, controls)


def _contrasts(by_name: Mapping[tuple[str, str], Any], subject: str | None) -> list[str]:
    return sorted(contrast for patient, contrast in by_name if patient == subject)


def coil_browser(volumes: Sequence[pairs.PreparedVolume]) -> ipw.Widget:
    """Coil maps with their four parameters, estimated again whenever one changes.

    Args:
        volumes: scans to browse.

    Returns:
        A widget: scan, slice, coil, the four parameters, "auto" for two of
        them, and SigPy's maps beside ours (seconds, so on demand).
    """
    by_name = {volume.name: volume for volume in volumes}
    most_slices = max(volume.n_slices for volume in volumes) - 1
    most_coils = max(volume.raw.n_coils for volume in volumes) - 1
    default = coils.EspiritSettings()
    controls: dict[str, Any] = {
        "name": ipw.Dropdown(options=list(by_name), description="scan"),
        "slice_index": _slider("slice", 0, most_slices, most_slices // 2),
        "coil": _slider("coil", 0, most_coils, 0),
        "beside": ipw.Checkbox(value=False, description="SigPy beside ours (takes seconds)"),
        "calib_width": _slider("calibration", 12, 40, default.calib_width),
        "kernel_width": _slider("kernel", 3, 8, default.kernel_width),
        "threshold": ipw.FloatLogSlider(
            value=0.02, min=-3.0, max=-0.5, description="threshold",
            continuous_update=False,
        ),
        "threshold_auto": ipw.Checkbox(value=True, description="threshold auto"),
        "crop": ipw.FloatSlider(
            value=0.9, min=0.5, max=0.99, step=0.01, description="crop",
            continuous_update=False,
        ),
        "crop_auto": ipw.Checkbox(value=True, description="crop auto"),
    }  # fmt: skip

    @lru_cache(maxsize=4)
    def images(name: str, slice_index: int) -> Tensor:
        return by_name[name].raw.coil_images(min(slice_index, by_name[name].n_slices - 1))

    @lru_cache(maxsize=4)
    def estimate(
        name: str, slice_index: int, settings: coils.EspiritSettings
    ) -> tuple[coils.CoilMaps, str]:
        kspace = arrays.fft2c(images(name, slice_index))
        begin = time.perf_counter()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", RuntimeWarning)
            found = coils.espirit_maps(kspace, settings)
        took = time.perf_counter() - begin
        said = [f"maps of {len(kspace)} coils in {1e3 * took:.0f} ms"]
        said += [f"threshold {float(found.threshold):.3f}, crop {float(found.crop):.2f}"]
        (quality,) = coils.judge(images(name, slice_index)[None], found[None])
        flags = "; ".join(quality.flags) or "none"
        return found, ", ".join(said) + f". Flags: {flags}. " + " ".join(
            str(one.message) for one in told
        )

    @lru_cache(maxsize=4)
    def sigpy(
        name: str, slice_index: int, settings: coils.EspiritSettings, threshold: float
    ) -> Tensor:
        return coils.sigpy_maps(arrays.fft2c(images(name, slice_index)), settings, threshold)

    def draw(
        name: str, slice_index: int, coil: int, beside: bool, calib_width: int, kernel_width: int,
        threshold: float, threshold_auto: bool, crop: float, crop_auto: bool,
    ) -> tuple[Figure, str]:  # fmt: skip
        settings = coils.EspiritSettings(
            calib_width, kernel_width,
            coils.AUTO if threshold_auto else threshold, coils.AUTO if crop_auto else crop,
        )  # fmt: skip
        found, said = estimate(name, slice_index, settings)
        reference = None
        if beside:
            reference = sigpy(name, slice_index, settings, float(found.threshold))
        seen = images(name, slice_index)
        return figures.coil_view(found, min(coil, len(seen) - 1), seen, reference), said

    return _live(draw, controls)


def _slider(name: str, low: int, high: int, value: int) -> ipw.IntSlider:
    return ipw.IntSlider(value=value, min=low, max=high, description=name, continuous_update=False)


def _live(draw: Callable[..., Figure | tuple[Figure, str]], controls: dict[str, Any]) -> ipw.Widget:
    """Controls above a picture, and words if any, drawn again when one of them changes."""
    picture = ipw.Image(format="png")
    message = ipw.HTML()

    def update(_: object = None) -> None:
        values = {name: control.value for name, control in controls.items()}
        try:
            drawn = draw(**values)
        except (ValueError, KeyError) as error:  # a choice that cannot be drawn is told, not lost
            message.value = f"<b>{html.escape(str(error))}</b>"
            return
        figure, words = drawn if isinstance(drawn, tuple) else (drawn, "")
        message.value = html.escape(words)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90)
        picture.value = buffer.getvalue()

    for control in controls.values():
        control.observe(update, "value")
    update()
    rows = list(controls.values())
    half = (len(rows) + 1) // 2
    panel = ipw.HBox([ipw.VBox(rows[:half]), ipw.VBox(rows[half:])])
    return ipw.VBox([panel, message, picture])
