// "Which is measured?": two unlabelled panels, the score, and what it means.

/** log of n choose k */
function logChoose(n, k) {
  let sum = 0;
  for (let i = 1; i <= k; i++) sum += Math.log(n - k + i) - Math.log(i);
  return sum;
}

/** P(X <= k) of a binomial of n tries. */
function atMost(k, n, share) {
  let sum = 0;
  for (let i = 0; i <= k; i++) {
    sum += Math.exp(logChoose(n, i) + i * Math.log(share) + (n - i) * Math.log1p(-share));
  }
  return sum;
}

/** Exact 95 % interval of a share (Clopper and Pearson, 1934). */
function binomialInterval(right, n) {
  const search = (above) => {
    let [low, high] = [0, 1];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (above(middle)) high = middle;
      else low = middle;
    }
    return (low + high) / 2;
  };
  return [
    right === 0 ? 0 : search((share) => 1 - atMost(right - 1, n, share) >= 0.025),
    right === n ? 1 : search((share) => atMost(right, n, share) <= 0.025),
  ];
}

/** The score in words. */
function scoreText(guesses) {
  const n = guesses.length;
  if (!n) return "No guess yet.";
  const right = guesses.filter((guess) => guess.right).length;
  const [low, high] = binomialInterval(right, n);
  const verdict = low > 0.5
    ? "You can tell them apart."
    : high < 0.5
      ? "You tell them apart, but the wrong way round."
      : "No better than guessing (0.50), as far as this many tell.";
  // who stops when the interval looks good has looked too often
  return `${right} of ${n} right; share ${(right / n).toFixed(2)}, 95 % interval ${low.toFixed(2)} to ${high.toFixed(2)}. ${verdict} Settle the number of pairs beforehand: an interval that is watched is too narrow.`;
}

class Guess {
  constructor(viewer) {
    this.viewer = viewer;
    const { others, against } = viewer.layout.guess;
    this.against = h("select", { "aria-label": "against", onchange: () => this.next() });
    options(this.against, [...others.map((name) => [name, name]), ["", "any of them"]], against);
    this.kind = h("select", { "aria-label": "shown as", onchange: () => this.arrange() });
    options(this.kind, viewer.layout.views.filter(([view]) => viewer.layout.guess.views.includes(view)), "phase");
    const button = (text, click, title) => h("button", { type: "button", title, onclick: click }, text);
    this.answers = ["A", "B"].map((letter, side) =>
      button(`${letter} is measured`, () => this.answer(side), `Key ${letter.toLowerCase()}`));
    this.nextButton = button("Next pair", () => this.next(), "Key n");
    this.verdict = h("p", { class: "sv-verdict", role: "status", "aria-live": "polite" });
    this.score = h("p", { class: "sv-score", role: "status", "aria-live": "polite" });
    this.answered = true; // there is no pair yet
    this.root = h("div", { class: "sv-guess", role: "group", "aria-label": "Guess which is measured" },
      h("p", {}, "One of the two was measured, the other was made up. Which was measured?"),
      h("div", { class: "sv-row" },
        h("label", {}, "against ", this.against), h("label", {}, "shown as ", this.kind),
        ...this.answers, this.nextButton,
        button("Start over", () => this.clear()), button("Stop", () => viewer.stopGuessing())),
      this.verdict, this.score);
    this.keys = (event) => this.key(event);
    viewer.root.addEventListener("keydown", this.keys);
    this.tell();
  }

  /** Draw case, slice, sides and the other source. */
  async next() {
    const { viewer } = this;
    const { layout } = viewer;
    const draw = (n) => Math.floor(this.viewer.random() * n);
    const names = layout.cases.map(({ name }) => name);
    const { measured, others } = layout.guess;
    let pool = [];
    for (let tries = 0; !pool.length && tries < 50; tries++) {
      await viewer.openCase(names[draw(names.length)]);
      if (viewer.guess !== this) return; // stopped while it was loading
      const { byName } = viewer.shown;
      pool = (this.against.value ? [this.against.value] : others)
        .filter((name) => byName.get(measured)?.p && byName.get(name)?.p);
    }
    if (!pool.length) {
      this.verdict.textContent = "No scan has both.";
      return;
    }
    viewer.set("slice_index", draw(viewer.shown.nSlices));
    this.other = pool[draw(pool.length)];
    this.side = draw(2); // where the measured phase is
    this.answered = false;
    this.arrange();
    this.tell();
    this.verdict.textContent = "";
    this.answers[0].focus(); // the button that was pressed is disabled now
  }

  /** The two that are compared. */
  stacks() {
    return [this.viewer.layout.guess.measured, this.other].map((name) => this.viewer.shown.stack(name));
  }

  stop() {
    this.viewer.root.removeEventListener("keydown", this.keys);
    this.root.remove();
  }

  arrange() {
    if (!this.other) return;
    const measured = this.viewer.layout.guess.measured;
    const stacks = this.side === 0 ? [measured, this.other] : [this.other, measured];
    this.viewer.showPanels(stacks.map((stack) => ({ stack, view: this.kind.value })),
      this.answered ? stacks : ["A", "B"]);
  }

  answer(side) {
    if (this.answered) return;
    this.answered = true;
    const { viewer } = this;
    const right = side === this.side;
    viewer.set("guesses", [...viewer.s.guesses, {
      case: viewer.s.case, slice: viewer.shown.number(viewer.s.slice_index), against: this.other, view: this.kind.value,
      measured_is: "AB"[this.side], answer: "AB"[side], right,
    }]);
    this.arrange();
    this.verdict.textContent = `${right ? "Right" : "Wrong"}: ${"AB"[this.side]} was measured, the other is “${this.other}”.`;
    this.tell();
    this.nextButton.focus();
  }

  tell() {
    for (const button of this.answers) button.disabled = this.answered;
    this.nextButton.disabled = !this.answered || !this.other;
    this.score.textContent = scoreText(this.viewer.s.guesses);
  }

  clear() {
    this.viewer.set("guesses", []);
    this.next();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (["INPUT", "SELECT"].includes(event.target.tagName)) return;
    const run = { a: () => this.answer(0), b: () => this.answer(1), n: () => this.answered && this.next() }[event.key.toLowerCase()];
    if (run) {
      run();
      event.preventDefault();
    }
  }
}
