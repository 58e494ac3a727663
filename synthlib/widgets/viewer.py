"""ComplexViewer: complex images in the hand, in a notebook or as a page without a kernel."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from matplotlib.figure import Figure

from synthlib import runs
from synthlib.figures import complexes
from synthlib.figures.complexes import Limits
from synthlib.figures.pixels import Pixels
from synthlib.widgets import export
from synthlib.widgets.cases import (
    Case,
    Images,
    Loaded,
    as_bytes,
    as_case,
    colour_tables,
    load,
    named_cases,
)

FRONT = Path(__file__).parent / "viewer"
KEPT = 8  # cases that are kept in memory when they can be computed again
Made = Case | Mapping[str, Images]
Compute = Callable[..., Made | tuple[Made, str]]


@dataclass(frozen=True)
class Control:
    """Something to choose whose answer the kernel computes.

    Attributes:
        name: of the argument that the computation takes.
        values: a list to choose from, (low, high, step) of a slider, a bool for a
            checkbox, or None for a button.
        value: at the start; None: the first.
        label: shown; empty: the name.
    """

    name: str
    values: Sequence[Any] | tuple[float, float, float] | bool | None
    value: Any = None
    label: str = ""

    def spec(self) -> dict[str, Any]:
        """What the browser needs to draw it."""
        base = {"name": self.name, "label": self.label or self.name.replace("_", " ")}
        if self.values is None:
            return {**base, "kind": "button"}
        if isinstance(self.values, bool):
            return {**base, "kind": "check"}
        if isinstance(self.values, tuple):
            low, high, step = self.values
            return {**base, "kind": "range", "min": low, "max": high, "step": step}
        return {**base, "kind": "choice", "options": list(self.values)}

    def start(self) -> Any:
        """The value at the start."""
        if self.value is not None or self.values is None:
            return self.value
        return self.values if isinstance(self.values, bool) else self.values[0]


class ComplexViewer(anywidget.AnyWidget):
    """One or several complex stacks side by side.

    Magnitude, phase, phase in colour with magnitude as brightness, real and
    imaginary part, log k-space, and difference from a reference on the circle;
    slice, coil and case; window, zoom and cursor shared by all panels; profile,
    histogram, wraps. The pixels travel once, as 16 bits; everything but
    `controls` happens in the browser. Without a kernel the same viewer works in
    the page that :meth:`to_html` writes.

    Args:
        images: complex images (y, x), (slice, y, x) or (slice, coil, y, x); or a
            mapping of names to them; or a mapping of cases to Case or to such
            mappings; or, with `compute`, the names of the cases. A Stack instead of
            a tensor says its unit, window and colours.
        panels: (name, view) of each panel, views being those of
            figures.complexes.VIEWS; None: magnitude, then every stack's phase.
        reference: name of the stack that differences are taken from; None: the first.
        spacing_mm: (y, x) pixel size, for a scale bar; of cases it is their own.
        limits: ends of the colours at the start.
        controls: what `compute` depends on besides the case.
        compute: compute(case, **values of the controls) gives a case's images, or
            these and a line of text; called when a case is first shown, and again
            when a control has changed.
        guess: (name of the measured stack, the one it is against), to offer "guess
            which is measured".
        guess_seed: of its draws; None: nobody can foresee them.
        title: for screen readers and the page.
        keep_mb: the executed notebook keeps a working copy up to this size.

    Attributes:
        slice_index, coil_index, case, limits, fade, align, contours, histogram,
            profile, line, viewport, cursor, panels: what is shown; to be read and set.
        guesses: one dict for each guess made.

    Raises:
        ValueError: images that do not fit together, unknown names or views.
    """

    _esm = "\n".join(path.read_text(encoding="utf-8") for path in sorted(FRONT.glob("*.js")))
    _css = (FRONT / "viewer.css").read_text(encoding="utf-8")

    case = traitlets.Unicode().tag(sync=True)
    slice_index = traitlets.Int(0).tag(sync=True)
    coil_index = traitlets.Int(0).tag(sync=True)
    panels = traitlets.List(traitlets.Dict()).tag(sync=True)
    limits = traitlets.Dict().tag(sync=True)
    fade = traitlets.Float(1.0).tag(sync=True)
    align = traitlets.Bool(True).tag(sync=True)
    contours = traitlets.Bool(False).tag(sync=True)
    histogram = traitlets.Bool(False).tag(sync=True)
    profile = traitlets.Enum(["", "row", "column", "line"], "").tag(sync=True)
    line: traitlets.List[Any] = traitlets.List().tag(sync=True)
    drag = traitlets.Enum(["window", "pan", "line"], "window").tag(sync=True)
    viewport = traitlets.Dict({"zoom": 1, "y": 0.5, "x": 0.5}).tag(sync=True)
    cursor: traitlets.List[Any] = traitlets.List().tag(sync=True)
    guesses: traitlets.List[Any] = traitlets.List().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    _alarm = traitlets.Bool(False).tag(sync=True)
    _live = traitlets.Bool(True).tag(sync=True)
    _layout = traitlets.Dict().tag(sync=True)
    _colours = traitlets.Dict().tag(sync=True)
    _first: traitlets.List[Any] = traitlets.List().tag(sync=True)
    _pixels = traitlets.Dict().tag(sync=True)
    _version = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        images: Any,
        *,
        panels: Sequence[tuple[str, str]] | None = None,
        reference: str | None = None,
        spacing_mm: tuple[float, float] = (float("nan"), float("nan")),
        limits: Limits | None = None,
        controls: Sequence[Control] = (),
        compute: Compute | None = None,
        guess: tuple[str, str] | None = None,
        guess_seed: int | None = None,
        title: str = "Complex images",
        case_label: str = "case",
        keep_mb: float = 2.0,
    ) -> None:
        self._cases = named_cases(images, spacing_mm, named=compute is not None)
        self._loaded: dict[str, Loaded] = {}
        self._compute = compute
        self._title, self._keep_mb = title, keep_mb
        super().__init__(
            values={one.name: one.start() for one in controls if one.values is not None}
        )
        first = next(iter(self._cases))
        loaded = self._open(first)
        names = list(loaded.stacks)
        _require(reference, names, "reference")
        for name in guess or ():
            _require(name, names, "guess")
        limits = limits or Limits()
        self.case = first
        self.panels = _panels(panels, loaded, reference or names[0])
        self.limits = {k: _plain(v) for k, v in limits._asdict().items() if k != "fade"}
        self.fade = limits.fade
        self.slice_index = loaded.shape[0] // 2
        self._layout = {
            "cases": [{"name": name} for name in self._cases],
            "case_label": case_label,
            "views": [list(view) for view in complexes.VIEWS.items()],
            "reference": reference or names[0],
            "controls": [one.spec() for one in controls],
            "guess": _guess(guess, loaded, guess_seed),
            "title": title,
            "note": "",
            "version": 0,
        }
        self._colours = colour_tables(loaded)
        self._first = [loaded.layout()]
        self._pixels = as_bytes(loaded.pixels())
        self.on_msg(self._hear)
        self.observe(self._recompute, "values")

    # --- what is shown ---------------------------------------------------------------

    @property
    def shown(self) -> Loaded:
        """The case on show."""
        return self._open(self.case)

    @traitlets.validate("case")
    def _check_case(self, proposal: Any) -> str:
        _require(proposal["value"], list(self._cases), "case")
        return str(proposal["value"])

    @traitlets.validate("slice_index", "coil_index", "fade")
    def _check_not_negative(self, proposal: Any) -> Any:
        if proposal["value"] < 0:
            raise ValueError(f"{proposal['trait'].name} is {proposal['value']}; expected 0 or more")
        return proposal["value"]

    @traitlets.validate("cursor", "line")
    def _check_places(self, proposal: Any) -> list[int]:
        name, value = proposal["trait"].name, list(proposal["value"])
        if len(value) not in (0, {"cursor": 2, "line": 4}[name]):
            wanted = {"cursor": "[y, x]", "line": "[y0, x0, y1, x1]"}[name]
            raise ValueError(f"{name} is {value}; expected {wanted}, or [] for none")
        return value

    @traitlets.validate("limits")
    def _check_limits(self, proposal: Any) -> dict[str, Any]:
        """Ends that are left out keep their first values."""
        known = {k: _plain(v) for k, v in Limits()._asdict().items() if k != "fade"}
        for name in proposal["value"]:
            _require(name, list(known), "limit")
        return {**known, **{k: _plain(_tupled(v)) for k, v in proposal["value"].items()}}

    @traitlets.validate("panels")
    def _check_panels(self, proposal: Any) -> list[dict[str, str]]:
        if not proposal["value"]:
            raise ValueError("no panels were given; expected at least one {stack, view}")
        for one in proposal["value"]:
            if set(one) != {"stack", "view"}:
                raise ValueError(f"panel {dict(one)}; expected its stack and its view")
            _require(one["view"], list(complexes.VIEWS), "view")
        return list(proposal["value"])

    def picture(self, *, columns: int = 6) -> Figure:
        """The picture of record: what is shown, as a Figure of the same colours and limits."""
        loaded, layout = self.shown, self._layout
        reference = loaded.stacks.get(layout["reference"])
        slice_index = min(self.slice_index, loaded.shape[0] - 1)
        coil_index = min(self.coil_index, loaded.shape[1] - 1)
        coil = f", coil {coil_index}" if loaded.shape[1] > 1 else ""
        name = f"{self.case}, " if len(self._cases) > 1 else ""
        instead = next(iter(loaded.stacks))  # of a stack that this case lacks
        shown = [one["stack"] if one["stack"] in loaded.stacks else instead for one in self.panels]
        return complexes.complex_panels(
            [
                complexes.Panel(
                    stack,
                    _possible(one["view"], loaded.stacks[stack], reference),
                    loaded.stacks[stack],
                    reference,
                )
                for stack, one in zip(shown, self.panels, strict=True)
            ],
            slice_index=slice_index,
            coil=coil_index,
            limits=Limits(**{k: _tupled(v) for k, v in self.limits.items()}, fade=self.fade),
            align=self.align,
            spacing_mm=loaded.spacing_mm,
            title=f"{name}slice {slice_index}{coil}",
            columns=columns,
        )

    # --- without a kernel --------------------------------------------------------------

    def to_html(
        self,
        path: str | Path | None = None,
        *,
        cases: Sequence[str] | None = None,
        max_mb: float = 5.0,
        record: Mapping[str, Any] | None = None,
    ) -> str:
        """The viewer as one page that needs neither kernel nor network.

        Pixels have 16 bits where the page stays below `max_mb`, else 8 bits of
        phase (steps of 0.025 rad), else 8 bits of both; the page says which.

        Args:
            path: where to write it; None: only return it.
            cases: which; None: as many as fit, beginning with the one on show, of
                which slices are left out where it alone is too large.
            max_mb: upper limit of the size, MB (10^6 bytes).
            record: parameters, seeds, versions, to be kept in the page.

        Returns:
            The page's HTML.

        Raises:
            ValueError: the cases asked for do not fit.
        """
        for name in cases or ():
            _require(name, list(self._cases), "case")
        names = [self.case, *(name for name in self._cases if name != self.case)]
        page = self._page(cases or names, max_mb, thin=not cases, record=record or {})
        if path is not None:
            runs.write_text(path, page)
        return page

    def _page(
        self,
        cases: Sequence[str],
        max_mb: float,
        *,
        thin: bool,
        record: Mapping[str, Any],
        level: int = 6,
    ) -> str:
        told = self._alarm, self.message
        try:
            return export.page(
                self._state(),
                (self._open(name) for name in cases),
                esm=self._esm, css=self._css, title=self._title, max_mb=max_mb, thin=thin,
                record=record, level=level,
            )  # fmt: skip
        finally:
            self._alarm, self.message = told  # what was told of other cases is not of this one

    def _state(self) -> dict[str, Any]:
        names = [name for name, trait in self.traits(sync=True).items() if not name.startswith("_")]
        private = {"_layout": self._layout, "_colours": self._colours}
        shown = {name: getattr(self, name) for name in names if name not in self._page_ignores}
        return {**shown, **private}

    _page_ignores = ("layout", "comm", "keys", "tabbable", "tooltip", "message")

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """With the widget, a copy that works without a kernel, if it is not too large."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        try:
            page = self._page([self.case], self._keep_mb, thin=True, record={}, level=1)
        except ValueError:
            text = "<p>The viewer is too large to be kept here: viewer.to_html(path) writes it.</p>"
        else:
            text = (
                # JupyterLab takes the frame out of a notebook that is not trusted; where the frame
                # runs, it takes the sentence away
                "<p>The viewer works here once the notebook is trusted (in JupyterLab: Trust "
                "Notebook in the command palette) or its cells are run.</p>"
                f'<iframe srcdoc="{html.escape(page)}" title="{html.escape(self._title)}" '
                'style="width:100%;height:640px;border:0"></iframe>'
            )
        return {**data, "text/html": text}, metadata

    # --- with a kernel -----------------------------------------------------------------

    def _open(self, name: str) -> Loaded:
        if name not in self._loaded:
            text = ""
            if self._compute is None:
                case = self._cases[name]
            else:
                made = self._compute(name, **self.values)
                case, text = made if isinstance(made, tuple) else (made, "")
            self._loaded[name] = load(name, as_case(case), text)
            self.tell(text)
            if self._compute is not None and len(self._loaded) > KEPT:  # it can be made again
                del self._loaded[next(old for old in self._loaded if old not in (name, self.case))]
        return self._loaded[name]

    def replace(self, name: str, case: Case | Mapping[str, Images]) -> None:
        """Other images for a case, shown at once where it is on show."""
        loaded = load(name, as_case(case))
        _require(name, list(self._cases), "case")
        self._loaded[name] = loaded
        self._send_case(loaded)

    def _send_case(self, loaded: Loaded, *, forget: bool = False) -> None:
        """Send pixels to the browser, which forgets all other cases if they are out of date."""
        pixels = loaded.pixels()
        self._keep_first(loaded, forget)
        missing = {k: v for k, v in colour_tables(loaded).items() if k not in self._colours}
        if missing:
            self._colours = {**self._colours, **missing}
        self.send(
            {"kind": "case", "layout": loaded.layout(), "keys": list(pixels), "forget": forget},
            list(as_bytes(pixels).values()),
        )

    def _keep_first(self, loaded: Loaded, forget: bool = False) -> None:
        """What views that open later are sent; quietly, the open ones have it."""
        if forget or self._first[0]["name"] == loaded.name:
            self._version += 1  # views that open later see that their copy is old, and ask
            self._layout["version"] = self._version
            self._first[0] = loaded.layout()
            self._pixels.clear()
            self._pixels.update(as_bytes(loaded.pixels()))

    def tell(self, text: str, *, alarm: bool = False) -> None:
        """A line of text above the panels."""
        self._alarm = alarm
        self.message = text

    def _hear(self, _: Any, content: Mapping[str, Any], buffers: Any) -> None:
        kind = content.get("kind")
        try:
            if kind in ("need", "press"):
                _require(str(content["case"]), list(self._cases), self._layout["case_label"])
            if kind == "need":
                self._send_case(self._open(str(content["case"])))
            elif kind == "press":
                self.press(str(content["name"]), str(content["case"]), int(content["slice"]))
        except Exception as error:  # whatever a computation raises is told, not lost in a log
            self.send({"kind": "failed", "case": content.get("case"), "text": _words(error)})

    def press(self, name: str, case: str, slice_index: int) -> None:
        """What a button does; a viewer with buttons says it."""
        raise ValueError(f"nothing is done for the button {name!r}")

    def _recompute(self, _: Any) -> None:
        if self._compute is None:
            return
        kept, self._loaded = self._loaded, {}
        try:
            self._send_case(self._open(self.case), forget=True)
        except Exception as error:  # whatever a computation raises is told, not lost in a log
            self._loaded = kept
            self.tell("")  # the same error twice is told twice
            self.tell(_words(error), alarm=True)


def _panels(
    panels: Sequence[tuple[str, str]] | None, loaded: Loaded, reference: str
) -> list[dict[str, str]]:
    names = list(loaded.stacks)
    if panels is None:
        panels = [(reference, "magnitude")]
        panels += [(name, "phase") for name in names if loaded.stacks[name].phase is not None]
    for name, view in panels:
        _require(name, names, "panel")
        _require(view, list(complexes.VIEWS), "view")
    return [{"stack": name, "view": view} for name, view in panels]


def _require(name: str | None, known: Sequence[str], what: str) -> None:
    if name is not None and name not in known:
        raise ValueError(f"{what} {name!r} is unknown; expected one of {', '.join(known)}")


def _possible(view: str, pixels: Pixels, reference: Pixels | None) -> str:
    """The view that a stack is shown in, as the browser chooses it too."""
    has_it = pixels.phase is not None or view in ("magnitude", "kspace")
    return view if has_it and (view != "difference" or reference is not None) else "magnitude"


def _words(error: Exception) -> str:
    known = isinstance(error, ValueError | OSError)
    return str(error) if known else f"{type(error).__name__}: {error}"


def _guess(
    guess: tuple[str, str] | None, loaded: Loaded, seed: int | None
) -> dict[str, Any] | None:
    if guess is None:
        return None
    measured, against = guess
    complex_ones = [name for name, one in loaded.stacks.items() if one.phase is not None]
    if measured == against or not {measured, against} <= set(complex_ones):
        raise ValueError(
            f"guess is {measured!r} against {against!r}; expected two different complex stacks of "
            f"{', '.join(complex_ones)}"
        )
    others = [name for name in complex_ones if name != measured]
    # one magnitude for both would say nothing
    shared = loaded.keys[measured][0] == loaded.keys[against][0]
    views = ["phase", "colour"] if shared else ["phase", "magnitude", "colour"]
    return {
        "measured": measured,
        "others": others,
        "against": against,
        "seed": seed,
        "views": views,
    }


def _plain(value: Any) -> Any:
    return list(map(float, value)) if isinstance(value, tuple) else float(value)


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value
