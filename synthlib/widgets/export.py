"""A viewer as one page: state and pixels in the file, the same code, no kernel, no network."""

from __future__ import annotations

import base64
import html
import json
import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from synthlib.widgets.cases import Loaded, colour_tables

MB = 1e6
NOTE = 1000  # bytes at most of the sentences about the page itself
# bits of magnitude, bits of phase, how the page says it
DEPTHS = (
    (16, 16, "16 bits: magnitude in steps of 1/65535 of the maximum, phase of 0.0001 rad"),
    (16, 8, "magnitude in steps of 1/65535 of the maximum, phase of 0.025 rad (8 bits)"),
    (8, 8, "8 bits: magnitude in steps of 1/255 of the maximum, phase of 0.025 rad"),
)


def page(
    state: Mapping[str, Any],
    cases: Iterable[Loaded],
    *,
    esm: str,
    css: str,
    title: str,
    max_mb: float,
    thin: bool,
    record: Mapping[str, Any],
    level: int = 6,
) -> str:
    """The page of some cases.

    Args:
        state: traits of the viewer, without pixels.
        cases: in the order in which they are to fit.
        esm, css: the viewer's front end.
        title: of the page.
        max_mb: upper limit of its size.
        thin: leave cases out, and slices of the first, rather than raise.
        record: kept in the page.
        level: of zlib; 1 is some times faster, for a page that is made in passing.

    Raises:
        ValueError: the cases (with `thin`, one slice of the first) do not fit.
    """
    bare = {**state, "_layout": {**state["_layout"], "cases": []}}
    empty = _document(bare, [], {}, esm=esm, css=css, title=title, record=record)
    room = max_mb * MB - len(empty.encode()) - NOTE
    known = state["_colours"]
    chosen: list[Loaded] = []
    packed: list[dict[str, dict[str, str]]] = []
    depth, every = 0, 1
    for case in cases:
        found = _fit(
            [*chosen, case], packed, room, depth, deepest=1 if chosen and thin else 2, known=known,
            level=level,
        )  # fmt: skip
        while found is None and thin and not chosen and every < case.shape[0]:
            every *= 2
            found = _fit(
                [case.thinned(every, state["slice_index"])],
                [],
                room,
                2,
                deepest=2,
                known=known,
                level=level,
            )
        if found is None:
            if thin and chosen:
                break
            names = ", ".join(one.name for one in [*chosen, case])
            raise ValueError(
                f"the page of {names} is larger than {max_mb:g} MB even in 8 bits. Choose fewer "
                "cases, slices or stacks, or a higher max_mb."
            )
        chosen, packed, depth = found
    note = f"Pixels of this page have {DEPTHS[depth][2]}."
    if every > 1:
        note += f" Of the slices one in {every} is here; the notebook has all."
    left_out = len(state["_layout"]["cases"]) - len(chosen)
    if left_out:
        note += f" The notebook has {left_out} more."
    layout = {**state["_layout"], "note": note, "cases": [{"name": one.name} for one in chosen]}
    keyed = {f"{i} {key}": value for i, case in enumerate(packed) for key, value in case.items()}
    layouts = [_renamed(case.layout(), str(i)) for i, case in enumerate(chosen)]
    colours = dict(state["_colours"])
    for case in chosen:
        colours |= colour_tables(case)
    full = {**state, "_layout": layout, "_colours": colours, "case": chosen[0].name}
    full["slice_index"] = min(state["slice_index"] // every, chosen[0].shape[0] - 1)
    return _document(full, layouts, keyed, esm=esm, css=css, title=title, record=record)


def _fit(
    cases: list[Loaded],
    packed: list[dict[str, dict[str, str]]],
    room: float,
    depth: int,
    *,
    deepest: int,
    known: Collection[str],
    level: int,
) -> tuple[list[Loaded], list[dict[str, dict[str, str]]], int] | None:
    """Cases, packed, and the depth at which they fit; None if they do not.

    All cases of a page have one depth; those packed already have `depth`.
    """
    for trial in range(depth, max(depth, deepest) + 1):
        sample = cases[-1].thinned(max(1, cases[-1].shape[0] // 2))
        share = sample.shape[0] / cases[-1].shape[0]
        if _size([_pack(sample, DEPTHS[trial], 1)]) / share > 1.5 * room:
            continue  # far too large: not worth the time
        first = (
            packed if trial == depth else [_pack(one, DEPTHS[trial], level) for one in cases[:-1]]
        )
        whole = [*first, _pack(cases[-1], DEPTHS[trial], level)]
        if _size(whole) + sum(_around(case, known) for case in cases) <= room:
            return cases, whole, trial
    return None


def _around(case: Loaded, known: Collection[str]) -> int:
    """Bytes of a case in a page, pixels apart; `known` colours are in it anyway."""
    tables = sum(2 * len(table) for k, table in colour_tables(case).items() if k not in known)
    return len(_json(case.layout()).encode()) + 20 * len(case.stacks) + len(case.name) + 30 + tables


def _renamed(layout: dict[str, Any], prefix: str) -> dict[str, Any]:
    for stack in layout["stacks"]:
        for kind in ("magnitude", "phase"):
            if stack[kind] is not None:
                stack[kind] = f"{prefix} {stack[kind]}"
    return layout


def _size(packed: list[dict[str, dict[str, str]]]) -> int:
    return sum(len(one["data"]) + 60 for case in packed for one in case.values())


def _pack(case: Loaded, depth: tuple[int, int, str], level: int) -> dict[str, dict[str, str]]:
    """Arrays as differences of neighbours, deflated, in base64."""
    found = {}
    for key, array in case.pixels().items():
        is_phase = array.dtype == np.int16
        words = array.astype(np.int32)
        if depth[1 if is_phase else 0] == 8:
            # 16-bit steps of the 8-bit level; a phase beyond the last level is the first again
            words = (words + 128) // 256 if is_phase else (words + 128) // 257
            kind, words = "8", (words % 256).astype(np.uint8)
        else:
            kind, words = "16", (words % 65536).astype(np.uint16)
        step = np.diff(
            words, axis=-1, prepend=words.dtype.type(0)
        )  # overflow is undone in the page
        data = step.tobytes()
        if kind == "16":  # high bytes first: they hardly change
            data = data[1::2] + data[0::2]
        found[key] = {
            "kind": kind + (" phase" if is_phase else " magnitude"),
            "nx": str(array.shape[-1]),
            "data": base64.b64encode(zlib.compress(data, level)).decode(),
        }
    return found


UNPACK = """
const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
async function inflate(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
async function unpack({ kind, nx, data }) {
  const bytes = await inflate(data);
  const [bits, what] = kind.split(" ");
  const n = bits === "16" ? bytes.length / 2 : bytes.length;
  const words = new Uint16Array(n);
  for (let i = 0, sum = 0; i < n; i++) {
    if (i % Number(nx) === 0) sum = 0;
    sum = bits === "16" ? (sum + (bytes[i] << 8) + bytes[n + i]) & 0xffff : (sum + bytes[i]) & 0xff;
    words[i] = bits === "16" ? sum : what === "phase" ? sum << 8 : sum * 257;
  }
  return new Uint8Array(words.buffer);
}
const state = JSON.parse(document.getElementById("state").textContent);
for (const [name, text] of Object.entries(state._colours)) state._colours[name] = bytesOf(text);
const pixels = JSON.parse(document.getElementById("pixels").textContent);
await Promise.all(Object.entries(pixels).map(async ([k, v]) => (pixels[k] = await unpack(v))));
state._pixels = pixels;
const model = {
  get: (name) => state[name],
  set: (name, value) => (state[name] = value),
  save_changes() {}, on() {}, off() {}, send() {},
};
render({ model, el: document.getElementById("viewer") });
if (window.frameElement) {  // in a notebook's output: as high as its content
  window.frameElement.previousElementSibling?.remove();
  const around = getComputedStyle(parent.document.body).backgroundColor;
  const [r, g, b, alpha] = around.match(/[\\d.]+/g).map(Number);
  const dark = alpha !== 0 && r + g + b < 384;
  document.documentElement.style.colorScheme = dark ? "dark" : "light"; // as the page around it
  const fit = () => {
    try {
      window.frameElement.style.height = `${document.documentElement.offsetHeight + 4}px`;
    } catch { /* a frame that may not be resized scrolls */ }
  };
  new ResizeObserver(fit).observe(document.documentElement);
}
"""


def _document(
    state: Mapping[str, Any],
    layouts: list[dict[str, Any]],
    pixels: Mapping[str, Mapping[str, str]],
    *,
    esm: str,
    css: str,
    title: str,
    record: Mapping[str, Any],
) -> str:
    colours = {name: base64.b64encode(table).decode() for name, table in state["_colours"].items()}
    full = {**state, "_colours": colours, "_first": layouts, "_live": False, "message": ""}
    code = esm.replace("export default { render };", "") + UNPACK
    if "</script" in code.lower() or "</style" in css.lower():
        raise AssertionError("the viewer's code would end the page's script")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
:root {{ color-scheme: light dark; }}
html {{ background: light-dark(#ffffff, #16181b); }}
body {{ margin: 0; }}
{css}</style></head>
<body><noscript>The viewer needs JavaScript.</noscript><main id="viewer"></main>
<script type="application/json" id="record">{_json(record)}</script>
<script type="application/json" id="state">{_json(full)}</script>
<script type="application/json" id="pixels">{_json(pixels)}</script>
<script type="module">
{code}</script></body></html>
"""


def _json(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, default=str).replace("<", "\\u003c")
