// Hands: pointer, wheel and keys, and what they do to window, zoom, cursor and line.

const HELP = [
  ["arrow keys", "move the cursor (with Shift: pan)"], [", and . or PageUp, PageDown", "slice"],
  ["[ and ]", "coil"], ["+ and −, Ctrl + wheel", "zoom"], ["0 or double click", "whole image, first window"],
  ["w and W", "narrower and wider window"], ["l and L", "level down and up"],
  ["v and V", "next and previous view"], ["f and F", "fade more and less"],
  ["p", "profile along row, column, off"], ["d", "begin, then end a line of the profile at the cursor"], ["c", "wraps"], ["h", "histogram"],
  ["drag", "window (across) and level (up and down); pan or line as chosen; with Shift: pan"],
];

class Hands {
  constructor(viewer) {
    this.viewer = viewer;
    this.held = null; // where a drag began
  }

  /** Change width (times) and level (share of the width) of what a view is coloured by. */
  window(view, times, shift, from = this.viewer.s.limits) {
    const kind = LIMIT_OF[view];
    if (kind === "signed") {
      this.viewer.set("limits", { ...this.viewer.s.limits, signed: Math.min(10, Math.max(0.01, from.signed * times)) });
      return;
    }
    const [low, high] = from[kind];
    const most = { magnitude: 10, phase: 2 * Math.PI, difference: 2 * Math.PI, kspace: 160 }[kind];
    const width = Math.min(most, Math.max(most / 1000, (high - low) * times));
    let middle = (low + high) / 2 + shift * (high - low);
    if (kind === "phase" || kind === "difference") middle = Math.max(-Math.PI, Math.min(Math.PI, middle));
    this.viewer.set("limits", { ...this.viewer.s.limits, [kind]: [middle - width / 2, middle + width / 2] });
  }

  reset() {
    this.viewer.set("viewport", { zoom: 1, y: 0.5, x: 0.5 });
    this.viewer.set("limits", structuredClone(this.viewer.home.limits));
  }

  zoom(times, y = 0.5, x = 0.5) {
    const { viewport } = this.viewer.s;
    const zoom = Math.min(32, Math.max(1, viewport.zoom * times));
    const ratio = viewport.zoom / zoom;
    this.moveTo(zoom, y + (viewport.y - y) * ratio, x + (viewport.x - x) * ratio);
  }

  moveTo(zoom, y, x) {
    const half = 0.5 / zoom;
    const inside = (value) => Math.min(1 - half, Math.max(half, value));
    this.viewer.set("viewport", { zoom, y: inside(y), x: inside(x) });
  }

  // --- pointer and keys --------------------------------------------------------------

  pointerDown(event, panel) {
    panel.stage.setPointerCapture(event.pointerId);
    panel.stage.focus({ preventScroll: true });
    const drag = event.shiftKey || event.button === 1 ? "pan" : event.button === 2 ? "window" : this.viewer.s.drag;
    this.held = { drag, x: event.clientX, y: event.clientY, at: panel.fraction(event),
      limits: structuredClone(this.viewer.s.limits), viewport: { ...this.viewer.s.viewport } };
    event.preventDefault();
  }

  pointerMove(event, panel) {
    const { ny, nx } = this.viewer.shown;
    const at = panel.fraction(event);
    const pixel = ([y, x]) => [Math.floor(y * ny), Math.floor(x * nx)];
    if (!event.buttons) this.held = null; // it was let go elsewhere
    const { held } = this;
    if (held?.drag === "window") {
      const box = panel.stage.getBoundingClientRect();
      const across = (event.clientX - held.x) / box.width;
      const up = (held.y - event.clientY) / box.height;
      this.window(panel.view, Math.exp(2 * across), up, held.limits);
      return;
    }
    if (held?.drag === "pan") {
      const box = panel.layer.getBoundingClientRect();
      this.moveTo(held.viewport.zoom, held.viewport.y - (event.clientY - held.y) / box.height,
        held.viewport.x - (event.clientX - held.x) / box.width);
      return;
    }
    if (held?.drag === "line") {
      this.viewer.set("profile", "line");
      const inside = ([r, c]) => [Math.max(0, Math.min(ny - 1, r)), Math.max(0, Math.min(nx - 1, c))];
      this.viewer.set("line", [...inside(pixel(held.at)), ...inside(pixel(at))]);
    }
    const [y, x] = pixel(at);
    if (y >= 0 && y < ny && x >= 0 && x < nx) this.viewer.set("cursor", [y, x]);
  }

  pointerUp() {
    this.held = null;
  }

  wheel(event, panel) {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    const [y, x] = panel.fraction(event);
    this.zoom(Math.exp(-event.deltaY / 300), y, x);
  }

  key(event, panel) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { s, shown } = this.viewer;
    const step = (name, by, most) => this.viewer.set(name, Math.max(0, Math.min(most - 1, s[name] + by)));
    const move = (dy, dx) => {
      if (event.shiftKey) {
        const { zoom, y, x } = s.viewport;
        this.moveTo(zoom, y + (0.1 * dy) / zoom, x + (0.1 * dx) / zoom);
        return;
      }
      const [y, x] = s.cursor?.length ? s.cursor : [shown.ny >> 1, shown.nx >> 1];
      this.viewer.set("cursor", [Math.max(0, Math.min(shown.ny - 1, y + dy)), Math.max(0, Math.min(shown.nx - 1, x + dx))]);
      this.viewer.announce();
    };
    const turnView = (by) => {
      const views = [...panel.viewSelect.options].map((option) => option.value);
      const next = views[(views.indexOf(panel.view) + by + views.length) % views.length];
      if (!this.viewer.guess) this.viewer.setPanel(panel, { view: next });
    };
    const middle = [s.viewport.y, s.viewport.x];
    const view = panel.view;
    const run = {
      ArrowUp: () => move(-1, 0), ArrowDown: () => move(1, 0),
      ArrowLeft: () => move(0, -1), ArrowRight: () => move(0, 1),
      ",": () => step("slice_index", -1, shown.nSlices), ".": () => step("slice_index", 1, shown.nSlices),
      PageUp: () => step("slice_index", -1, shown.nSlices), PageDown: () => step("slice_index", 1, shown.nSlices),
      Home: () => this.viewer.set("slice_index", 0), End: () => this.viewer.set("slice_index", shown.nSlices - 1),
      "[": () => step("coil_index", -1, shown.nCoils), "]": () => step("coil_index", 1, shown.nCoils),
      "+": () => this.zoom(1.25, ...middle), "=": () => this.zoom(1.25, ...middle),
      "-": () => this.zoom(0.8, ...middle), 0: () => this.reset(),
      w: () => this.window(view, 0.9, 0), W: () => this.window(view, 1 / 0.9, 0),
      l: () => this.window(view, 1, -0.05), L: () => this.window(view, 1, 0.05),
      v: () => turnView(1), V: () => turnView(-1),
      f: () => this.viewer.set("fade", Math.min(3, s.fade + 0.25)), F: () => this.viewer.set("fade", Math.max(0, s.fade - 0.25)),
      p: () => this.viewer.set("profile", { "": "row", row: "column" }[s.profile] ?? ""),
      d: () => {
        if (!s.cursor?.length) return;
        if (!this.begun) {
          this.begun = s.cursor;
          this.viewer.tell("The line begins here; move the cursor and press d again.");
          return;
        }
        this.viewer.set("profile", "line");
        this.viewer.set("line", [...this.begun, ...s.cursor]);
        this.begun = null;
        this.viewer.tell(shown.text);
      },
      c: () => this.viewer.set("contours", !s.contours), h: () => this.viewer.set("histogram", !s.histogram),
    }[event.key];
    if (!run || (this.viewer.guess && "fFcChHpPdvV".includes(event.key))) return; // they would tell
    run();
    event.preventDefault();
    event.stopPropagation();
  }
}
