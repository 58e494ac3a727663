// Colours: from 16-bit magnitude and phase to the pixels of a panel.
//
// The same tables and the same rounding as figures/complexes.py, so that a
// picture of record shows what the viewer shows. Every painter is one loop of
// table look-ups: that is what makes dragging a window smooth.

const LEVELS = 65535; // steps of magnitude, 0 to a stack's scale
const HALF_TURN = 32768; // steps of phase in pi
const STEP = Math.PI / HALF_TURN;
const FADES = 16;
const BRIGHTS = 63;
const GREY = 128;

const COSINES = new Float64Array(2 * HALF_TURN);
const SINES = new Float64Array(2 * HALF_TURN);
for (let q = 0; q < 2 * HALF_TURN; q++) {
  COSINES[q] = Math.cos(STEP * q);
  SINES[q] = Math.sin(STEP * q);
}

const rgba = (r, g, b) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;

/** Index into n colours, as matplotlib counts: the upper end is the last colour. */
function level(value, low, high, n) {
  const index = Math.floor(((value - low) / Math.max(high - low, 1e-12)) * n);
  return index < 0 ? 0 : index >= n ? n - 1 : index;
}

/** Colours are bytes r, g, b, r, g, b...; one 32-bit pixel each. */
function packed(colours) {
  const table = new Uint32Array(colours.length / 3);
  for (let i = 0; i < table.length; i++) {
    table[i] = rgba(colours[3 * i], colours[3 * i + 1], colours[3 * i + 2]);
  }
  return table;
}

/** A table that is made again only when what it depends on has changed. */
class Memo {
  constructor(most = 64) {
    this.kept = new Map();
    this.most = most;
  }
  get(key, make) {
    let value = this.kept.get(key);
    if (value === undefined) {
      value = make();
      if (this.kept.size >= this.most) this.kept.delete(this.kept.keys().next().value);
    } else {
      this.kept.delete(key); // the latest stays longest
    }
    this.kept.set(key, value);
    return value;
  }
}

const tables = new Memo(96);

/** Pixel of every magnitude. */
function magnitudeTable(name, colours, stack, [low, high]) {
  const share = stack.scale / LEVELS / stack.top;
  return tables.get(`m ${name} ${share} ${low} ${high}`, () => {
    const hue = packed(colours);
    const table = new Uint32Array(LEVELS + 1);
    for (let q = 0; q <= LEVELS; q++) table[q] = hue[level(q * share, low, high, hue.length)];
    return table;
  });
}

/**
 * Row of a hue table for every phase; the index is the phase's 16 bits, unsigned.
 * The window lies on the circle: what is outside takes the colour of the nearer end.
 */
function hueIndex(n, [low, high]) {
  return tables.get(`h ${n} ${low} ${high}`, () => {
    const table = new Uint16Array(2 * HALF_TURN);
    const middle = Math.round((low + high) / 2 / STEP);
    const half = (high - low) / 2;
    for (let q = -HALF_TURN; q < HALF_TURN; q++) {
      const apart = ((q - middle) << 16) >> 16;
      table[q & 0xffff] = level(apart * STEP, -half, half, n);
    }
    return table;
  });
}

/** Hues in steps: pixel [step * n + hue]; `mix` gives a channel's byte at a step. */
function steppedHues(key, colours, steps, mix) {
  return tables.get(key, () => {
    const n = colours.length / 3;
    const table = new Uint32Array((steps + 1) * n);
    for (let s = 0; s <= steps; s++) {
      for (let i = 0; i < n; i++) {
        const [r, g, b] = colours.subarray(3 * i, 3 * i + 3);
        table[s * n + i] = rgba(mix(r, s), mix(g, s), mix(b, s));
      }
    }
    return table;
  });
}

/** Hues mixed with grey, step 0 (grey) to 16. */
const fadedHues = (name, colours) => steppedHues(`f ${name}`, colours, FADES,
  (c, s) => Math.floor((c * s + GREY * (FADES - s) + FADES / 2) / FADES));

/** Hues by brightness, step 0 (black) to 63. */
const brightHues = (name, colours) => steppedHues(`b ${name}`, colours, BRIGHTS,
  (c, s) => Math.floor((c * s + Math.floor(BRIGHTS / 2)) / BRIGHTS));

/** Start of a row of fadedHues for every magnitude. */
function fadeRow(stack, fade, n) {
  const dark = ((fade * stack.dark) / stack.scale) * LEVELS;
  return tables.get(`d ${dark} ${n}`, () => {
    const table = new Uint16Array(LEVELS + 1).fill(FADES * n);
    if (dark <= 0) return table;
    for (let q = 0; q <= LEVELS; q++) {
      const step = Math.floor(((q / dark - 1) / 0.5) * (FADES + 1));
      table[q] = n * Math.max(0, Math.min(FADES, step));
    }
    return table;
  });
}

function brightRow(stack, [low, high], n) {
  const share = stack.scale / LEVELS / stack.top;
  return tables.get(`r ${share} ${low} ${high} ${n}`, () => {
    const table = new Uint16Array(LEVELS + 1);
    for (let q = 0; q <= LEVELS; q++) table[q] = n * level(q * share, low, high, BRIGHTS + 1);
    return table;
  });
}

// --- painters: out is one 32-bit pixel each, m magnitude, p phase ----------------------

function paintMagnitude(out, m, table) {
  for (let i = 0; i < out.length; i++) out[i] = table[m[i]];
}

function paintHue(out, m, p, row, index, hues) {
  for (let i = 0; i < out.length; i++) out[i] = hues[row[m[i]] + index[p[i] & 0xffff]];
}

function paintDifference(out, own, other, shift, rows, index, hues) {
  const [m, p] = own;
  const [m2, p2] = other;
  for (let i = 0; i < out.length; i++) {
    const first = rows[0][m[i]];
    const second = rows[1][m2[i]];
    const row = first < second ? first : second;
    out[i] = hues[row + index[(p[i] - p2[i] + shift) & 0xffff]]; // 16 bits wrap as phase does
  }
}

function paintSigned(out, m, p, stack, part, end, colours) {
  const hue = packed(colours);
  const parts = part === "real" ? COSINES : SINES;
  const share = stack.scale / LEVELS / stack.top;
  for (let i = 0; i < out.length; i++) {
    out[i] = hue[level(m[i] * share * parts[p[i] & 0xffff], -end, end, hue.length)];
  }
}

function paintDecibels(out, decibels, [low, high], colours) {
  const hue = packed(colours);
  for (let i = 0; i < out.length; i++) out[i] = hue[level(decibels[i], low, high, hue.length)];
}
