// Line profiles and histograms, as small SVG plots with axes.

const INKS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1"];
const DASHES = ["", "6 3", "2 2", "8 3 2 3"];

function ticks(low, high, most = 5) {
  const rough = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high * (1 + 1e-9); k++) found.push(Number((k * step).toPrecision(6)));
  return found;
}

/**
 * @param series [{name, points: [[x, y] or null (a gap)]}]
 * @param axes {x: [low, high], y: [low, high], xLabel, yLabel, xTicks}
 */
function plot(title, series, axes) {
  const [width, height, left, bottom, top] = [430, 190, 48, 34, 8];
  const [x0, x1] = axes.x;
  const [y0, y1] = axes.y[1] > axes.y[0] ? axes.y : [axes.y[0], axes.y[0] + 1];
  const X = (x) => left + ((x - x0) / (x1 - x0 || 1)) * (width - left - 10);
  const Y = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - bottom - top);
  const svg = h("svg:svg", { viewBox: `0 0 ${width} ${height}`, class: "sv-plot", role: "img", "aria-label": title });
  for (const x of axes.xTicks ?? ticks(x0, x1)) {
    svg.append(h("svg:path", { class: "sv-grid", d: `M${X(x)} ${top}V${height - bottom}` }),
      h("svg:text", { x: X(x), y: height - bottom + 13, "text-anchor": "middle" }, pad(Number(x.toPrecision(3)))));
  }
  for (const y of ticks(y0, y1, 4)) {
    svg.append(h("svg:path", { class: "sv-grid", d: `M${left} ${Y(y)}H${width - 10}` }),
      h("svg:text", { x: left - 5, y: Y(y) + 4, "text-anchor": "end" }, pad(y)));
  }
  svg.append(
    h("svg:text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, axes.xLabel),
    h("svg:text", { transform: `translate(11 ${(height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, axes.yLabel));
  series.forEach(({ points }, k) => {
    let move = true;
    const path = points.map((point) => {
      if (!point) {
        move = true;
        return "";
      }
      const text = `${move ? "M" : "L"}${X(point[0]).toFixed(1)} ${Y(point[1]).toFixed(1)}`;
      move = false;
      return text;
    }).join("");
    svg.append(h("svg:path", { class: "sv-series", d: path, stroke: INKS[k % 7], "stroke-dasharray": DASHES[Math.floor(k / 2) % 4] }));
  });
  const legend = h("ul", { class: "sv-legend" }, ...series.map(({ name }, k) =>
    h("li", {}, h("svg:svg", { viewBox: "0 0 24 6", "aria-hidden": "true" },
      h("svg:path", { d: "M0 3H24", class: "sv-series", stroke: INKS[k % 7], "stroke-dasharray": DASHES[Math.floor(k / 2) % 4] })), name)));
  return h("figure", { class: "sv-figure" }, h("figcaption", {}, title), svg, legend);
}

/** Magnitude and phase of the stacks along a line [y0, x0, y1, x1]. */
function profiles(shown, stacks, slice, coil, line, fade) {
  const [ya, xa, yb, xb] = line;
  const n = Math.max(2, Math.ceil(Math.hypot(yb - ya, xb - xa)) + 1);
  const [my, mx] = shown.spacing ?? [1, 1];
  const length = Math.hypot((yb - ya) * my, (xb - xa) * mx);
  const unit = shown.spacing ? "mm" : "pixels";
  const sizes = [];
  const turns = [];
  let most = 0;
  for (const stack of stacks) {
    const [m, p] = shown.at(stack, slice, coil);
    const size = [];
    const turn = [];
    let before = null;
    for (let k = 0; k < n; k++) {
      const share = k / (n - 1);
      const y = Math.round(ya + share * (yb - ya));
      const x = Math.round(xa + share * (xb - xa));
      const at = Math.max(0, Math.min(shown.ny - 1, y)) * shown.nx + Math.max(0, Math.min(shown.nx - 1, x));
      const value = (m[at] * stack.scale) / LEVELS;
      most = Math.max(most, value);
      size.push([share * length, value]);
      const noise = value < fade * stack.dark;
      if (noise || (before !== null && Math.abs(p[at] - before) > HALF_TURN)) turn.push(null); // a wrap is no line
      if (!noise) turn.push([share * length, p[at] * STEP]);
      before = noise ? null : p[at];
    }
    const equal = stacks.filter((other) => other.magnitude === stack.magnitude);
    const all = equal.length > 1 && equal.length === stacks.length;
    const name = all ? "the same in all images" : equal.map((one) => one.name).join(", ");
    if (equal[0] === stack) sizes.push({ name, points: size });
    if (stack.p) turns.push({ name: stack.name, points: turn });
  }
  const axes = { x: [0, length], xLabel: `along the line (${unit})` };
  const unitOf = new Set(stacks.map((stack) => stack.unit));
  return [
    plot("Magnitude along the line", sizes, { ...axes, y: [0, most], yLabel: [...unitOf].join(", ") }),
    plot("Phase along the line", turns, { ...axes, y: [-Math.PI, Math.PI], yLabel: "rad" }),
  ];
}

/**
 * Differences of phase on the circle, where neither image is dark.
 * @param pairs [{name, first: [m, p], second: [m, p], darks: [16-bit, 16-bit], shift}]
 */
function histogram(pairs) {
  const bins = 64;
  let most = 0;
  const series = pairs.map(({ name, first, second, darks, shift }) => {
    const counts = new Float64Array(bins);
    let total = 0;
    let sum = 0;
    for (let i = 0; i < first[0].length; i++) {
      if (first[0][i] < darks[0] || second[0][i] < darks[1]) continue;
      const apart = ((first[1][i] - second[1][i] + shift) << 16) >> 16;
      counts[(apart + HALF_TURN) >> 10]++;
      sum += Math.abs(apart) * STEP;
      total++;
    }
    const points = [];
    for (let k = 0; k < bins; k++) {
      const share = total ? (100 * counts[k]) / total : 0;
      most = Math.max(most, share);
      const edge = -Math.PI + (2 * Math.PI * k) / bins;
      points.push([edge, share], [edge + (2 * Math.PI) / bins, share]);
    }
    const mean = total ? (sum / total).toFixed(2) : "–";
    return { name: `${name}: mean |Δ| ${mean} rad`, points };
  });
  return plot("Differences of phase where both images are bright", series, {
    x: [-Math.PI, Math.PI], y: [0, most], xTicks: [-3, -2, -1, 0, 1, 2, 3],
    xLabel: "difference on the circle (rad)", yLabel: "% of pixels",
  });
}
