// The whole: panels that share slice, window, zoom and cursor; guessing; and the kernel if any.

const SHARED = ["slice_index", "coil_index", "limits", "fade", "align", "contours", "histogram",
  "profile", "line", "viewport", "cursor", "panels", "guesses", "case", "values", "drag"];
const WAIT = 120; // ms between messages to the kernel while something is dragged
const KEPT = 8; // cases that stay in the browser while there is a kernel
const COMPUTING = "Computing …";
class Viewer {
  constructor(model, el) {
    this.model = model;
    this.layout = model.get("_layout");
    this.live = model.get("_live");
    this.colours = Object.fromEntries(
      Object.entries(model.get("_colours")).map(([name, bytes]) => [name, typed(bytes, Uint8Array)]));
    this.s = Object.fromEntries(SHARED.map((name) => [name, model.get(name)]));
    this.home = structuredClone({ limits: this.s.limits });
    this.cases = new Map();
    this.waiting = new Map();
    this.unsent = new Map();
    this.dirty = new Set();
    this.panels = [];
    this.previous = null; // the phase before the last new draw
    this.helpId = `sv-help-${Math.random().toString(36).slice(2)}`;
    this.takeCase(model.get("_first"), model.get("_pixels"));
    this.shown = this.cases.get(this.s.case) ?? this.cases.values().next().value;
    this.hands = new Hands(this);
    this.build(el);
    this.showPanels(this.s.panels);
    this.listen();
    const stale = this.live && this.layout.version !== model.get("_version");
    if (stale) this.cases.clear(); // another view has been shown newer pixels
    if (!this.cases.has(this.s.case)) this.openCase(this.s.case);
  }

  // --- cases -----------------------------------------------------------------------

  takeCase(layouts, pixels) {
    for (const layout of layouts) this.cases.set(layout.name, new Case(layout, pixels));
    if (!this.live) return;
    for (const [name, one] of this.cases) { // the kernel has them all
      if (this.cases.size > KEPT && one !== this.shown && name !== layouts[0].name) this.cases.delete(name);
    }
  }

  /** Show a case, after its pixels have come from the kernel if they are not here. */
  async openCase(name) {
    this.wanted = name;
    if (!this.cases.has(name)) {
      this.tell(`Loading ${name} …`);
      const came = await this.bring(name);
      if (this.wanted !== name) return; // something else was chosen meanwhile
      if (!came) {
        this.controls.cases.value = this.s.case;
        return;
      }
    }
    if (name === this.s.case) this.enterCase();
    else this.set("case", name);
  }

  /** Ask the kernel for a case; whether it came. */
  bring(name) {
    if (!this.waiting.has(name)) {
      const one = {};
      one.came = new Promise((resolve) => (one.resolve = resolve));
      this.waiting.set(name, one);
      if (!this.ask({ kind: "need", case: name })) this.arrived(name, false);
    }
    return this.waiting.get(name)?.came ?? false;
  }

  arrived(name, came) {
    this.waiting.get(name)?.resolve(came);
    this.waiting.delete(name);
  }

  /** Send a message; false, and told, where there is no kernel. */
  ask(message) {
    try {
      this.model.send(message);
      return true;
    } catch {
      this.tell("The kernel does not answer: run the notebook again.", true);
      return false;
    }
  }

  enterCase() {
    const next = this.cases.get(this.s.case);
    if (!next) {
      this.openCase(this.s.case);
      return;
    }
    this.shown = next;
    this.previous = null;
    this.set("slice_index", Math.min(this.s.slice_index, next.nSlices - 1));
    this.set("coil_index", Math.min(this.s.coil_index, next.nCoils - 1));
    const { cursor } = this.s;
    if (cursor?.length) this.s.cursor = [Math.min(cursor[0], next.ny - 1), Math.min(cursor[1], next.nx - 1)];
    for (const panel of this.panels) panel.fill();
    this.controls.show();
    this.tell(next.text);
    this.mark("paint", "place", "read");
  }

  // --- state -----------------------------------------------------------------------

  /** Change something shared by the panels; the kernel hears of it a little later. */
  set(name, value) {
    if (JSON.stringify(value) === JSON.stringify(this.s[name])) return;
    this.s[name] = value;
    this.changed(name);
    this.unsent.set(name, value);
    this.timer ??= setTimeout(() => this.send(), WAIT);
  }

  send() {
    this.timer = null;
    for (const [name, value] of this.unsent) this.model.set(name, value);
    this.unsent.clear();
    try {
      this.model.save_changes();
    } catch { /* without a kernel the viewer goes on by itself */ }
  }

  /** What must be drawn again after a change. */
  changed(name) {
    const needs = {
      slice_index: ["paint", "read", "controls"], coil_index: ["paint", "read", "controls"],
      limits: ["paint", "read"], fade: ["paint", "controls"], align: ["paint", "read", "controls"],
      contours: ["paint", "controls"], histogram: ["controls", "plots"], profile: ["controls", "read"],
      line: ["read"], viewport: ["place"], cursor: ["read"], drag: ["controls"], values: ["controls"],
      guesses: [],
    }[name];
    if (name === "guesses") this.guess?.tell();
    if (name === "case") this.enterCase();
    else if (name === "panels") this.mark("panels");
    else this.mark(...needs);
  }

  mark(...what) {
    for (const one of what) this.dirty.add(one);
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = null;
    const { dirty } = this;
    this.dirty = new Set();
    if (dirty.has("panels") && !this.guess) {
      this.showPanels(this.s.panels);
      this.dirty.clear();
      for (const one of ["paint", "place", "read"]) dirty.add(one);
    }
    if (dirty.has("controls")) this.controls.show();
    if (dirty.has("paint")) {
      for (const panel of this.panels) {
        panel.paint();
        panel.paintBar();
      }
      this.ahead();
    }
    if (dirty.has("place")) for (const panel of this.panels) panel.place();
    if (dirty.has("read") || dirty.has("paint")) {
      for (const panel of this.panels) {
        panel.showCursor();
        panel.showLine();
      }
    }
    if (["paint", "read", "plots"].some((one) => dirty.has(one))) this.plotsLater();
  }

  /** Plots follow when the images have been painted. */
  plotsLater() {
    if (!this.s.profile && !this.s.histogram && !this.plots.firstChild) return;
    clearTimeout(this.plotTimer);
    this.plotTimer = setTimeout(() => this.drawPlots(), 30);
  }

  drawPlots() {
    const { s, shown } = this;
    const found = [];
    const stacks = [...new Set(this.panels.map((panel) => panel.stack))];
    const line = this.profileLine();
    if (line && !this.guess) found.push(...profiles(shown, stacks, s.slice_index, s.coil_index, line, s.fade));
    if (s.histogram && !this.guess) {
      const pairs = this.differences(stacks);
      found.push(pairs.length ? histogram(pairs) : h("p", {}, "No two phases to compare: show another image beside the reference."));
    }
    this.plots.replaceChildren(...found);
  }

  differences(stacks) {
    const { s, shown } = this;
    const where = [s.slice_index, s.coil_index];
    const dark = (stack) => (stack.dark / stack.scale) * LEVELS;
    const pairs = [];
    if (this.previous?.case === shown.name && this.previous.slice === s.slice_index) {
      const stack = shown.stack(this.previous.stack);
      const now = shown.at(stack, ...where);
      pairs.push({ name: `${stack.name}, this draw less the one before`, first: now,
        second: [now[0], this.previous.phase], darks: [dark(stack), dark(stack)], shift: 0 });
    }
    const reference = this.panels[0]?.reference;
    if (!reference) return pairs;
    for (const stack of stacks) {
      if (stack === reference || !stack.p) continue;
      pairs.push({ name: `${stack.name} less ${reference.name}`, first: shown.at(stack, ...where),
        second: shown.at(reference, ...where), darks: [dark(stack), dark(reference)],
        shift: s.align ? shown.constant(stack, reference, ...where) : 0 });
    }
    return pairs;
  }

  profileLine() {
    const { profile, cursor, line } = this.s;
    const { ny, nx } = this.shown;
    if (profile === "line") return line?.length ? line : null;
    if (!profile || !cursor?.length) return null;
    return profile === "row" ? [cursor[0], 0, cursor[0], nx - 1] : [0, cursor[1], ny - 1, cursor[1]];
  }

  /** Compute the neighbours' k-space while nobody waits for it. */
  ahead() {
    if (!this.panels.some((panel) => panel.view === "kspace")) return;
    clearTimeout(this.aheadTimer);
    this.aheadTimer = setTimeout(() => {
      const { s, shown } = this;
      for (const step of [1, -1]) {
        const slice = s.slice_index + step;
        if (slice < 0 || slice >= shown.nSlices) continue;
        for (const panel of this.panels) {
          if (panel.view === "kspace") shown.kspace(panel.stack, slice, s.coil_index);
        }
      }
    }, 150);
  }

  // --- panels ----------------------------------------------------------------------

  showPanels(specs, labels = []) {
    this.panels = specs.map((spec, k) => new Panel(this, spec, labels[k]));
    this.grid.replaceChildren(...this.panels.map((panel) => panel.root));
    this.grid.style.setProperty("--sv-panels", this.panels.length);
    for (const panel of this.panels) this.observer?.observe(panel.stage);
    this.mark("paint", "place", "read");
  }

  keepPanels() {
    this.set("panels", this.panels.map(({ spec }) => ({ ...spec })));
    this.dirty.delete("panels");
  }

  setPanel(panel, change) {
    Object.assign(panel.spec, change);
    panel.fill();
    this.keepPanels();
    this.mark("paint", "place", "read");
  }

  setViews(view) {
    for (const panel of this.panels) {
      panel.spec.view = view;
      panel.fill();
    }
    this.keepPanels();
    this.mark("paint", "place", "read");
  }

  addPanel() {
    const used = new Set(this.panels.map(({ spec }) => spec.stack));
    const names = [...this.shown.byName.keys()];
    const last = this.panels.at(-1).spec;
    const stack = names.find((name) => !used.has(name)) ?? last.stack;
    this.showPanels([...this.panels.map(({ spec }) => spec), { stack, view: last.view }]);
    this.keepPanels();
    this.panels.at(-1).stage.focus();
  }

  removePanel(panel) {
    if (this.panels.length === 1) return;
    this.showPanels(this.panels.filter((one) => one !== panel).map(({ spec }) => spec));
    this.keepPanels();
    this.panels[0].stage.focus();
  }

  /** Tell a screen reader what the cursor reads, once it rests. */
  announce() {
    clearTimeout(this.announceTimer);
    this.announceTimer = setTimeout(() => {
      const [y, x] = this.s.cursor;
      const words = this.panels.map((panel) => `${panel.label || panel.stack.name} ${panel.read(y, x)}`);
      this.spoken.textContent = `y ${y}, x ${x}: ${words.join("; ")}`;
    }, 250);
  }

  tell(text, alarm = false) {
    this.message.textContent = text;
    this.message.classList.toggle("sv-alarm", alarm);
  }

  // --- guessing ----------------------------------------------------------------------

  /** A number in [0, 1) that nobody can foresee, unless a seed was asked for. */
  random() {
    const { seed } = this.layout.guess;
    if (seed === null) return crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;
    this.dice = ((this.dice ?? seed) + 0x6d2b79f5) | 0; // mulberry32
    let t = Math.imul(this.dice ^ (this.dice >>> 15), 1 | this.dice);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  startGuessing() {
    this.guess = new Guess(this);
    this.root.classList.add("sv-guessing");
    this.grid.before(this.guess.root);
    this.guess.next();
  }

  stopGuessing() {
    this.guess.stop();
    this.guess = null;
    this.root.classList.remove("sv-guessing");
    this.showPanels(this.s.panels);
    this.controls.guess.focus();
  }

  // --- the frame ---------------------------------------------------------------------

  build(el) {
    const { layout } = this;
    this.controls = new Controls(this);
    this.grid = h("div", { class: "sv-grid-of-panels" });
    this.plots = h("div", { class: "sv-plots" });
    this.message = h("p", { class: "sv-message", role: "status", "aria-live": "polite" });
    this.spoken = h("p", { class: "sv-hidden", "aria-live": "polite" });
    this.root = h("div", { class: "synthlib-viewer", role: "region", "aria-label": layout.title,
      "data-lm-suppress-shortcuts": "true" },
      this.controls.where, this.controls.kernel, this.controls.how,
      this.message, this.grid, this.plots, this.spoken,
      h("details", { class: "sv-help" }, h("summary", {}, "Keys and mouse"),
        h("dl", { id: this.helpId }, ...HELP.flatMap(([key, what]) => [h("dt", {}, key), h("dd", {}, what)]))),
      layout.note ? h("p", { class: "sv-note" }, layout.note) : null);
    // the notebook has keys of its own
    this.root.addEventListener("keydown", (event) => event.stopPropagation());
    this.observer = new ResizeObserver(() => this.mark("place"));
    el.replaceChildren(this.root);
    this.controls.show();
  }

  // --- the kernel ----------------------------------------------------------------------

  listen() {
    const { model } = this;
    this.listeners = SHARED.map((name) => {
      const heard = () => {
        const value = model.get(name);
        if (this.unsent.has(name) || JSON.stringify(value) === JSON.stringify(this.s[name])) return;
        this.s[name] = value;
        this.changed(name);
      };
      model.on(`change:${name}`, heard);
      return [`change:${name}`, heard];
    });
    const told = () => this.tell(model.get("message") || this.shown.text, model.get("_alarm"));
    const custom = (content, buffers) => this.receive(content, buffers);
    model.on("change:message", told);
    model.on("msg:custom", custom);
    this.listeners.push(["change:message", told], ["msg:custom", custom]);
    told();
  }

  receive(content, buffers) {
    if (content.kind === "case") {
      const pixels = Object.fromEntries(content.keys.map((key, k) => [key, buffers[k]]));
      if (content.forget) this.cases.clear();
      this.takeCase([content.layout], pixels);
      const { name } = content.layout;
      const asked = this.waiting.has(name);
      this.arrived(name, true);
      if (name === this.s.case && !asked) this.enterCase();
      // what is shown was computed for other values of the controls
      if (content.forget && !this.cases.has(this.s.case)) this.openCase(this.s.case);
    } else if (content.kind === "draw") {
      const about = this.cases.get(content.case);
      if (!about) return; // it comes with the case when that is asked for again
      const phase = about.replace(content.stack, content.slice, buffers[0]);
      this.previous = { case: content.case, slice: content.slice, stack: content.stack, phase };
      this.set("histogram", true);
      this.mark("paint", "read", "plots");
      this.tell(content.text);
    } else if (content.kind === "failed") {
      this.arrived(content.case, false);
      this.tell(content.text, true);
    }
  }

  close() {
    for (const [name, heard] of this.listeners) this.model.off(name, heard);
    this.observer.disconnect();
  }
}

/** Leave the time of the first paint on the page's performance timeline. */
function measureFirstPaint(start) {
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => performance.measure("synthlib-viewer first paint", { start });
    port2.postMessage(0); // taken up when the frame has been painted
  });
}

function render({ model, el }) {
  const start = performance.now();
  const viewer = new Viewer(model, el);
  measureFirstPaint(start);
  return () => viewer.close();
}

export default { render };
