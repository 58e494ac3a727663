// Controls: the rows above the panels, and those whose answers the kernel computes.

const PROFILES = [["", "off"], ["row", "row"], ["column", "column"], ["line", "drawn line"]];
const DRAGS = [["window", "window, level"], ["pan", "pan"], ["line", "draw a line"]];

const button = (text, click, title = null) => h("button", { type: "button", title, onclick: click }, text);

class Controls {
  constructor(viewer) {
    this.viewer = viewer;
    const { layout, s } = viewer;
    const set = (name, value) => viewer.set(name, value);
    this.sliders = {};
    this.checks = {};
    this.choices = {};
    const slider = (name, text, most = 0, step = 1) => {
      const input = h("input", { type: "range", min: 0, max: most, step, "aria-label": text,
        oninput: () => set(name, Number(input.value)) });
      const value = h("span", { class: "sv-value" });
      const label = h("label", { class: "sv-slider" }, h("span", {}, text), input, value);
      this.sliders[name] = { input, value, label };
      return label;
    };
    const check = (name, text, title) => {
      const input = h("input", { type: "checkbox", onchange: () => set(name, input.checked) });
      this.checks[name] = input;
      return h("label", { title }, input, ` ${text}`);
    };
    const choice = (name, text, entries) => {
      const select = h("select", { "aria-label": text, onchange: () => set(name, select.value) });
      options(select, entries, s[name]);
      this.choices[name] = select;
      return h("label", {}, `${text} `, select);
    };
    this.cases = h("select", { "aria-label": layout.case_label, onchange: () => viewer.openCase(this.cases.value) });
    options(this.cases, layout.cases.map(({ name }) => [name, name]), s.case);
    this.guess = layout.guess ? button("Guess which is measured", () => viewer.startGuessing()) : null;
    const all = h("select", { class: "sv-all", "aria-label": "all panels", onchange: () => {
      viewer.setViews(all.value);
      all.value = "";
    } });
    options(all, [["", "choose …"], ...layout.views], "");
    this.where = h("div", { class: "sv-row sv-where" },
      layout.cases.length > 1 ? h("label", { class: "sv-case" }, `${layout.case_label} `, this.cases) : null,
      slider("slice_index", "slice"), slider("coil_index", "coil"), this.guess);
    this.how = h("div", { class: "sv-row sv-how" },
      h("label", {}, "all panels ", all),
      slider("fade", "fade noise", 3, 0.05),
      check("contours", "wraps", "Lines across which the phase jumps by a whole turn"),
      check("align", "less a constant", "Differences without the constant phase that fits best"),
      check("histogram", "histogram", "Differences from the reference in the head"),
      choice("profile", "profile", PROFILES), choice("drag", "drag to", DRAGS),
      button("Add panel", () => viewer.addPanel()),
      button("Reset", () => viewer.hands.reset(), "Whole image and first window: key 0"));
    this.kernel = h("div", { class: "sv-row sv-extra", role: "group", "aria-label": "What the kernel computes" });
    this.inputs = new Map();
    if (viewer.live) for (const control of layout.controls) this.kernel.append(this.ask(control));
    this.kernel.hidden = !this.kernel.firstChild;
  }

  /** One control whose answer the kernel computes. */
  ask(control) {
    const { viewer } = this;
    const { name, kind, label } = control;
    if (kind === "button") {
      return button(label, () => {
        viewer.tell(COMPUTING);
        viewer.ask({ kind: "press", name, case: viewer.s.case, slice: viewer.s.slice_index });
      });
    }
    const change = (value) => {
      viewer.tell(COMPUTING);
      viewer.set("values", { ...viewer.s.values, [name]: value });
      viewer.send();
    };
    const value = h("span", { class: "sv-value" });
    let input;
    if (kind === "choice") {
      input = h("select", { "aria-label": label, onchange: () => change(control.options[input.selectedIndex]) });
      options(input, control.options.map((one) => [String(one), String(one)]), String(viewer.s.values[name]));
    } else if (kind === "check") {
      input = h("input", { type: "checkbox", onchange: () => change(input.checked) });
    } else {
      input = h("input", { type: "range", min: control.min, max: control.max, step: control.step, "aria-label": label,
        oninput: () => (value.textContent = input.value), onchange: () => change(Number(input.value)) });
    }
    this.inputs.set(name, { input, value, kind });
    return h("label", { class: kind === "range" ? "sv-slider" : "" },
      h("span", {}, label), input, kind === "range" ? value : null);
  }

  /** Bring the controls to the state. */
  show() {
    const { s, shown } = this.viewer;
    for (const [name, count] of [["slice_index", shown.nSlices], ["coil_index", shown.nCoils]]) {
      const { input, value, label } = this.sliders[name];
      input.max = count - 1;
      input.value = s[name];
      const number = (k) => (name === "slice_index" ? shown.number(k) : k);
      input.setAttribute("aria-valuetext", `${number(s[name])}, the last is ${number(count - 1)}`);
      value.textContent = `${number(s[name])} / ${number(count - 1)}`;
      label.hidden = count < 2;
    }
    const { input, value } = this.sliders.fade;
    input.value = s.fade;
    value.textContent = s.fade ? `× ${Number(s.fade.toFixed(2))}` : "off";
    input.setAttribute("aria-valuetext", value.textContent);
    this.cases.value = s.case;
    for (const [name, check] of Object.entries(this.checks)) check.checked = s[name];
    for (const [name, select] of Object.entries(this.choices)) select.value = s[name];
    for (const [name, one] of this.inputs) {
      if (one.kind === "check") one.input.checked = s.values[name];
      else one.input.value = String(s.values[name]);
      one.value.textContent = s.values[name];
    }
  }
}
