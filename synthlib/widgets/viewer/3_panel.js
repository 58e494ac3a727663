// One panel: a stack and a view of it, with its colour bar and what the cursor reads.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (on...) and children. */
function h(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:")
    ? document.createElementNS(SVG, tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function options(select, entries, value) {
  select.replaceChildren(
    ...entries.map(([key, text]) => h("option", { value: key, selected: key === value }, text)),
  );
  select.value = value;
}

const figures = (value, digits) => pad(Number(value.toPrecision(digits)));
const radians = (value) => pad(value.toFixed(2));

/** Which of the viewer's limits a view is coloured by. */
const LIMIT_OF = {
  magnitude: "magnitude", colour: "magnitude", phase: "phase", difference: "difference",
  real: "signed", imaginary: "signed", kspace: "kspace",
};

class Panel {
  constructor(viewer, spec, label = "") {
    this.viewer = viewer;
    this.spec = { ...spec };
    this.label = label; // stands for the stack's name while somebody guesses
    this.stackSelect = h("select", {
      class: "sv-stack", "aria-label": "Image of this panel",
      onchange: () => viewer.setPanel(this, { stack: this.stackSelect.value }),
    });
    this.viewSelect = h("select", {
      class: "sv-view", "aria-label": "View of this panel",
      onchange: () => viewer.setPanel(this, { view: this.viewSelect.value }),
    });
    this.close = h("button", {
      type: "button", class: "sv-close", title: "Remove this panel",
      "aria-label": "Remove this panel", onclick: () => viewer.removePanel(this),
    }, "×");
    this.canvas = h("canvas", { class: "sv-canvas" });
    this.wraps = ["sv-wraps sv-under", "sv-wraps"].map((name) => h("svg:path", { class: name }));
    this.cross = h("svg:path", { class: "sv-cross" });
    this.line = h("svg:path", { class: "sv-line" });
    this.svg = h("svg:svg", { class: "sv-overlay", preserveAspectRatio: "none", "aria-hidden": "true" },
      ...this.wraps, this.line, this.cross);
    this.layer = h("div", { class: "sv-layer" }, this.canvas, this.svg);
    this.scale = h("div", { class: "sv-scale", "aria-hidden": "true" }, h("span"));
    this.stage = h("div", {
      class: "sv-stage", tabindex: "0", role: "application",
      "aria-roledescription": "complex image", "aria-describedby": viewer.helpId,
      onpointerdown: (event) => viewer.hands.pointerDown(event, this),
      onpointermove: (event) => viewer.hands.pointerMove(event, this),
      onpointerup: (event) => viewer.hands.pointerUp(event),
      onpointercancel: (event) => viewer.hands.pointerUp(event),
      ondblclick: () => viewer.hands.reset(),
      onwheel: (event) => viewer.hands.wheel(event, this),
      onkeydown: (event) => viewer.hands.key(event, this),
      oncontextmenu: (event) => event.preventDefault(),
    }, this.layer, this.scale);
    this.bar = h("canvas", { class: "sv-bar", width: "256", height: "1", "aria-hidden": "true" });
    const end = (which, text) => h("input", {
      type: "number", class: "sv-end", "aria-label": text, step: "any",
      onchange: (event) => this.setEnd(which, event.target.valueAsNumber),
    });
    this.low = end(0, "Lower end of the colours");
    this.high = end(1, "Upper end of the colours");
    this.unit = h("span", { class: "sv-unit" });
    this.readout = h("span", { class: "sv-readout" });
    this.root = h("section", { class: "sv-panel" },
      h("div", { class: "sv-head" }, this.stackSelect, this.close, this.viewSelect),
      this.stage,
      h("div", { class: "sv-colours" }, this.low, this.bar, this.high),
      this.unit,
      this.readout);
    this.fill();
  }

  get stack() {
    return this.viewer.shown.stack(this.spec.stack);
  }

  get reference() {
    const { layout, shown } = this.viewer;
    return layout.reference && shown.byName.has(layout.reference) ? shown.stack(layout.reference) : null;
  }

  /** The lists of stacks and views, after the case has changed. */
  fill() {
    const { shown, layout } = this.viewer;
    if (this.label) {
      this.stackSelect.replaceWith(h("strong", { class: "sv-guess-label" }, this.label));
      this.viewSelect.remove();
      this.close.remove();
    }
    options(this.stackSelect, [...shown.byName.keys()].map((name) => [name, name]), this.stack.name);
    const views = layout.views.filter(
      ([view]) => (view !== "difference" || this.reference) && (this.stack.p || view === "magnitude" || view === "kspace"));
    this.view = views.some(([view]) => view === this.spec.view) ? this.spec.view : "magnitude";
    options(this.viewSelect, views, this.view);
    if (this.canvas.width !== shown.nx || this.canvas.height !== shown.ny) {
      this.canvas.width = shown.nx;
      this.canvas.height = shown.ny;
      this.context = this.canvas.getContext("2d", { willReadFrequently: true });
      this.image = this.context.createImageData(shown.nx, shown.ny);
      this.out = new Uint32Array(this.image.data.buffer);
      this.svg.setAttribute("viewBox", `0 0 ${shown.nx} ${shown.ny}`);
    }
    this.stage.style.aspectRatio = `${shown.nx * this.pixel[1]} / ${shown.ny * this.pixel[0]}`;
  }

  /** Pixel size (y, x) in mm, or 1 by 1. */
  get pixel() {
    return this.viewer.shown.spacing ?? [1, 1];
  }

  paint() {
    const { shown, s, colours } = this.viewer;
    const { stack, out } = this;
    const { limits } = s;
    const where = [s.slice_index, s.coil_index];
    const [m, p] = shown.at(stack, ...where);
    const view = this.view;
    if (view === "magnitude") {
      const name = stack.colours;
      paintMagnitude(out, m, magnitudeTable(name, colours[name], stack, limits.magnitude));
    } else if (view === "phase") {
      const hues = colours.twilight;
      const n = hues.length / 3;
      paintHue(out, m, p, fadeRow(stack, s.fade, n), hueIndex(n, limits.phase), fadedHues("twilight", hues));
    } else if (view === "colour") {
      const hues = colours.twilight;
      const n = hues.length / 3;
      paintHue(out, m, p, brightRow(stack, limits.magnitude, n), hueIndex(n, limits.phase),
        brightHues("twilight", hues));
    } else if (view === "difference") {
      const hues = colours.twilight_shifted;
      const n = hues.length / 3;
      const other = this.reference;
      const shift = s.align ? shown.constant(stack, other, ...where) : 0;
      paintDifference(out, [m, p], shown.at(other, ...where), shift,
        [fadeRow(stack, s.fade, n), fadeRow(other, s.fade, n)],
        hueIndex(n, limits.difference), fadedHues("twilight_shifted", hues));
    } else if (view === "kspace") {
      paintDecibels(out, shown.kspace(stack, ...where).decibels, limits.kspace, colours.gray);
    } else {
      paintSigned(out, m, p, stack, view, limits.signed, colours.gray);
    }
    if (this.label) this.hideAir();
    this.context.putImageData(this.image, 0, 0);
    const drawn = s.contours && stack.p && view !== "kspace" && view !== "difference";
    const path = drawn ? shown.wraps(stack, ...where, s.fade || 1) : "";
    if (path !== this.path) {
      this.path = path;
      for (const one of this.wraps) one.setAttribute("d", path);
    }
    this.name();
  }

  /** While somebody guesses: noise outside the head would tell which phase was measured. */
  hideAir() {
    const { shown, s, guess } = this.viewer;
    const inside = shown.mainPart(guess.stacks(), s.slice_index, s.coil_index);
    const grey = rgba(GREY, GREY, GREY);
    for (let i = 0; i < inside.length; i++) if (!inside[i]) this.out[i] = grey;
  }

  /** What a screen reader says the panel is. */
  name() {
    const { shown, s, layout } = this.viewer;
    const view = layout.views.find(([key]) => key === this.view)[1];
    const coil = this.stack.coils > 1 && !this.label ? `, coil ${s.coil_index}` : "";
    const text = `${this.label || this.stack.name}: ${view}. ${this.label ? "" : `${shown.name}, `}slice ${shown.number(s.slice_index)}${coil}`;
    if (text !== this.named) this.stage.setAttribute("aria-label", (this.named = text));
  }

  /** [colours, low, high, unit] of the colour bar. */
  ends() {
    const { limits } = this.viewer.s;
    const { stack } = this;
    const top = stack.top;
    const unit = stack.unit ? ` (${stack.unit})` : "";
    return {
      magnitude: () => [stack.colours, limits.magnitude[0] * top, limits.magnitude[1] * top, `magnitude${unit}`],
      phase: () => ["twilight", ...limits.phase, "phase (rad)"],
      colour: () => ["twilight", ...limits.phase, "phase (rad)"],
      difference: () => ["twilight_shifted", ...limits.difference, "difference (rad)"],
      real: () => ["gray", -limits.signed * top, limits.signed * top, `real part${unit}`],
      imaginary: () => ["gray", -limits.signed * top, limits.signed * top, `imaginary part${unit}`],
      kspace: () => ["gray", ...limits.kspace, "dB of the largest"],
    }[this.view]();
  }

  paintBar() {
    const [name, low, high, unit] = this.ends();
    const key = `${name} ${low} ${high} ${unit}`;
    if (key === this.barKey) return;
    this.barKey = key;
    const hue = packed(this.viewer.colours[name]);
    const context = this.bar.getContext("2d");
    const image = context.createImageData(256, 1);
    const out = new Uint32Array(image.data.buffer);
    for (let i = 0; i < 256; i++) out[i] = hue[Math.floor((i / 256) * hue.length)];
    context.putImageData(image, 0, 0);
    const text = (value) => String(Number(value.toPrecision(3)));
    this.low.value = text(low);
    this.high.value = text(high);
    this.unit.textContent = unit;
  }

  /** Move an end of the colours to a number typed beside the bar. */
  setEnd(which, value) {
    const { viewer, stack, view } = this;
    const kind = view === "colour" ? "phase" : LIMIT_OF[view]; // its bar is that of the hue
    const { limits } = viewer.s;
    this.barKey = null; // what cannot be is put back
    viewer.mark("paint");
    if (!Number.isFinite(value)) return;
    if (kind === "signed") {
      if (value) viewer.set("limits", { ...limits, signed: Math.abs(value) / stack.top });
      return;
    }
    const ends = [...limits[kind]];
    ends[which] = kind === "magnitude" ? value / stack.top : value;
    if (ends[1] - ends[0] > 1e-6) viewer.set("limits", { ...limits, [kind]: ends });
  }

  /** Zoom and pan: the layer is larger than the stage, which crops it. */
  place() {
    const { zoom, y, x } = this.viewer.s.viewport;
    this.layer.style.width = this.layer.style.height = `${100 * zoom}%`;
    this.layer.style.left = `${100 * (0.5 - x * zoom)}%`;
    this.layer.style.top = `${100 * (0.5 - y * zoom)}%`;
    const { nx } = this.viewer.shown;
    const width = this.stage.clientWidth;
    if (!width) return;
    const perPixel = (width * zoom) / nx;
    this.canvas.classList.toggle("sv-smooth", perPixel < 1);
    const mm = this.viewer.shown.spacing?.[1];
    const bar = this.scale.firstChild;
    if (!mm || this.view === "kspace") {
      this.scale.hidden = true;
      return;
    }
    this.scale.hidden = false;
    const across = (nx * mm) / zoom;
    const length = niceLength(across);
    bar.style.width = `${(width * length) / across}px`;
    bar.textContent = `${length} mm`;
  }

  /** What stands under the cursor, in words. */
  read(y, x) {
    const { shown, s } = this.viewer;
    const where = [s.slice_index, s.coil_index];
    const at = y * shown.nx + x;
    if (this.view === "kspace") {
      const { decibels, phase } = shown.kspace(this.stack, ...where);
      return `${pad(decibels[at].toFixed(1))} dB, ${radians(phase[at])} rad`;
    }
    const { stack } = this;
    const [m, p] = shown.at(stack, ...where);
    const size = `${figures((m[at] * stack.scale) / LEVELS, 4)} ${stack.unit}`.trim();
    if (!stack.p) return size;
    let text = `${size}, ${radians(p[at] === -HALF_TURN ? Math.PI : p[at] * STEP)} rad`;
    if (this.view === "difference") {
      const other = this.reference;
      const shift = s.align ? shown.constant(stack, other, ...where) : 0;
      const apart = ((p[at] - shown.at(other, ...where)[1][at] + shift) << 16) >> 16;
      text += `, Δ ${radians(apart * STEP)} rad`;
    }
    return text;
  }

  showCursor() {
    const { cursor } = this.viewer.s;
    const { ny, nx } = this.viewer.shown;
    if (!cursor?.length) {
      this.readout.textContent = " ";
      this.cross.setAttribute("d", "");
      return;
    }
    const [y, x] = cursor;
    this.readout.textContent = this.label ? " " : this.read(y, x); // numbers would tell
    const gap = 2.5;
    this.cross.setAttribute("d",
      `M0 ${y + 0.5}H${x + 0.5 - gap}M${x + 0.5 + gap} ${y + 0.5}H${nx}` +
      `M${x + 0.5} 0V${y + 0.5 - gap}M${x + 0.5} ${y + 0.5 + gap}V${ny}`);
  }

  showLine() {
    const line = this.viewer.profileLine();
    this.line.setAttribute("d", line
      ? `M${line[1] + 0.5} ${line[0] + 0.5}L${line[3] + 0.5} ${line[2] + 0.5}` : "");
  }

  /** Image coordinates of a pointer: [y, x] as fractions of the image. */
  fraction(event) {
    const box = this.layer.getBoundingClientRect();
    return [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
  }
}

/** The largest of 1, 2, 5, 10, ... mm that is at most a third of a width. */
function niceLength(across) {
  const power = 10 ** Math.floor(Math.log10(across / 3));
  return Math.max(...[1, 2, 5].filter((k) => k * power <= (across / 3) * (1 + 1e-9))) * power;
}
