// Stacks: 16-bit pixels as they came, and what is computed from them.

const pad = (text) => String(text).replace("-", "−"); // a minus sign as wide as a plus

/** Typed pixels from what a kernel sends (a view of bytes that may start anywhere). */
function typed(bytes, Kind) {
  if (bytes instanceof Kind) return bytes;
  const start = bytes.byteOffset ?? 0;
  const buffer = bytes.buffer ?? bytes;
  const length = bytes.byteLength / Kind.BYTES_PER_ELEMENT;
  if (start % Kind.BYTES_PER_ELEMENT === 0) return new Kind(buffer, start, length);
  return new Kind(buffer.slice(start, start + bytes.byteLength));
}

/** One case: stacks on one grid. */
class Case {
  /**
   * @param layout {name, shape: [slice, coil, y, x], spacing, stacks: [{name, magnitude, phase, ...}]}
   * @param pixels key to pixels as bytes; magnitude and phase of a stack are such keys
   */
  constructor(layout, pixels) {
    Object.assign(this, layout);
    [this.nSlices, this.nCoils, this.ny, this.nx] = layout.shape;
    this.n = this.ny * this.nx;
    this.none = new Int16Array(this.n);
    this.computed = new Memo(120);
    this.byName = new Map();
    for (const stack of layout.stacks) {
      const m = typed(pixels[stack.magnitude], Uint16Array);
      const p = stack.phase ? typed(pixels[stack.phase], Int16Array) : null;
      this.byName.set(stack.name, { ...stack, m, p });
    }
  }

  stack(name) {
    return this.byName.get(name) ?? this.byName.values().next().value;
  }

  /** Magnitude and phase (y, x) of one slice and coil; a stack of one of them shows it always. */
  at(stack, slice, coil) {
    const s = Math.min(slice, stack.slices - 1);
    const c = Math.min(coil, stack.coils - 1);
    const start = (s * stack.coils + c) * this.n;
    const m = stack.m.subarray(start, start + this.n);
    return [m, stack.p ? stack.p.subarray(start, start + this.n) : this.none];
  }

  /** Steps of phase that bring a stack closest to the reference. */
  constant(stack, reference, slice, coil) {
    return this.computed.get(`c ${stack.name} ${reference.name} ${slice} ${coil}`, () => {
      const [m, p] = this.at(stack, slice, coil);
      const [m2, p2] = this.at(reference, slice, coil);
      let re = 0;
      let im = 0;
      for (let i = 0; i < this.n; i++) {
        const weight = m[i] * m2[i];
        const apart = (p2[i] - p[i]) & 0xffff;
        re += weight * COSINES[apart];
        im += weight * SINES[apart];
      }
      return Math.round(Math.atan2(im, re) / STEP);
    });
  }

  /** {decibels, phase} of k-space (ky, kx): log magnitude below the largest, radians. */
  kspace(stack, slice, coil) {
    return this.computed.get(`k ${stack.name} ${slice} ${coil}`, () => {
      const [m, p] = this.at(stack, slice, coil);
      return logKspace(m, p, this.ny, this.nx);
    });
  }

  /** Pixel edges across which the phase wraps, as the path of an SVG. */
  wraps(stack, slice, coil, fade) {
    return this.computed.get(`w ${stack.name} ${slice} ${coil} ${fade}`, () => {
      const [m, p] = this.at(stack, slice, coil);
      const least = ((fade * stack.dark) / stack.scale) * LEVELS;
      const path = [];
      for (let y = 0, i = 0; y < this.ny; y++) {
        for (let x = 0; x < this.nx; x++, i++) {
          if (m[i] < least) continue;
          const right = i + 1;
          const below = i + this.nx;
          if (x + 1 < this.nx && m[right] >= least && Math.abs(p[right] - p[i]) > HALF_TURN) {
            path.push(`M${x + 1} ${y}v1`);
          }
          if (y + 1 < this.ny && m[below] >= least && Math.abs(p[below] - p[i]) > HALF_TURN) {
            path.push(`M${x} ${y + 1}h1`);
          }
        }
      }
      return path.join("");
    });
  }

  /** The number that a slice has in its scan: a page may hold only every second one. */
  number(slice) {
    return this.first + slice * this.every;
  }

  /** 1 in the largest connected part that is bright in all the stacks, else 0. */
  mainPart(stacks, slice, coil) {
    const key = `h ${stacks.map(({ name }) => name).join("|")} ${slice} ${coil}`;
    return this.computed.get(key, () => {
      const part = new Int32Array(this.n).fill(-1); // bright, of no part yet
      for (const stack of stacks) {
        const [m] = this.at(stack, slice, coil);
        const least = ((1.2 * stack.dark) / stack.scale) * LEVELS;
        for (let i = 0; i < this.n; i++) if (m[i] < least) part[i] = 0;
      }
      let [best, most] = [1, 0];
      for (let i = 0, id = 0; i < this.n; i++) {
        if (part[i] !== -1) continue;
        id++;
        const queue = [i];
        part[i] = id;
        for (let k = 0; k < queue.length; k++) {
          const at = queue[k];
          const x = at % this.nx;
          for (const to of [x > 0 ? at - 1 : -1, x + 1 < this.nx ? at + 1 : -1, at - this.nx, at + this.nx]) {
            if (part[to] === -1) { // outside the image it is undefined
              part[to] = id;
              queue.push(to);
            }
          }
        }
        if (queue.length > most) [best, most] = [id, queue.length];
      }
      return Uint8Array.from(part, (id) => (id === best ? 1 : 0));
    });
  }

  /** Another phase for one slice of a stack, for the moment it is shown. */
  replace(name, slice, bytes) {
    const stack = this.byName.get(name);
    stack.p = stack.p.slice(); // other views of the viewer stand on the same bytes
    const phase = typed(bytes, Int16Array);
    const [, old] = this.at(stack, slice, 0);
    const before = old.slice();
    old.set(phase);
    this.computed = new Memo(120);
    return before;
  }
}

// --- Fourier ---------------------------------------------------------------------------

const transforms = new Memo(16);

/** A Fourier transform of n samples, n of any factors: Stockham, one pass a factor. */
function transform(n) {
  return transforms.get(n, () => {
    const factors = [];
    let rest = n;
    for (const factor of [4, 2, 3, 5]) {
      while (rest % factor === 0) {
        factors.push(factor);
        rest /= factor;
      }
    }
    for (let factor = 7; rest > 1; factor += 2) {
      while (rest % factor === 0) {
        factors.push(factor);
        rest /= factor;
      }
    }
    const passes = [];
    for (let k = 0, length = n, stride = 1; k < factors.length; k++) {
      const r = factors[k];
      const m = length / r;
      const cos = new Float64Array(m * r * r); // [j, p, q]: the pass's turns
      const sin = new Float64Array(m * r * r);
      for (let at = 0; at < cos.length; at++) {
        const [j, p, q] = [Math.floor(at / (r * r)), Math.floor(at / r) % r, at % r];
        const turn = (-2 * Math.PI * ((p * q * (n / r) + j * p * stride) % n)) / n;
        cos[at] = Math.cos(turn);
        sin[at] = Math.sin(turn);
      }
      passes.push({ r, m, stride, cos, sin });
      length = m;
      stride *= r;
    }
    let [xr, xi, yr, yi] = [0, 0, 0, 0].map(() => new Float64Array(n));
    return (re, im) => {
      xr.set(re);
      xi.set(im);
      for (const { r, m, stride, cos, sin } of passes) {
        for (let jp = 0; jp < m * r; jp++) {
          const first = stride * ((jp - (jp % r)) / r);
          for (let k = 0; k < stride; k++) {
            let sr = 0;
            let si = 0;
            for (let q = 0; q < r; q++) {
              const from = first + k + stride * m * q;
              const w = jp * r + q;
              sr += xr[from] * cos[w] - xi[from] * sin[w];
              si += xr[from] * sin[w] + xi[from] * cos[w];
            }
            yr[stride * jp + k] = sr;
            yi[stride * jp + k] = si;
          }
        }
        [xr, xi, yr, yi] = [yr, yi, xr, xi];
      }
      return [xr, xi];
    };
  });
}

/** Centred Fourier transform of an image: zero frequency at [ny >> 1, nx >> 1]. */
function logKspace(m, p, ny, nx) {
  const re = new Float64Array(ny * nx);
  const im = new Float64Array(ny * nx);
  const along = (length, count, place) => {
    const middle = length >> 1;
    const run = transform(length);
    const lineRe = new Float64Array(length);
    const lineIm = new Float64Array(length);
    for (let line = 0; line < count; line++) {
      for (let k = 0; k < length; k++) {
        const from = place(line, (k + middle) % length);
        lineRe[k] = re[from];
        lineIm[k] = im[from];
      }
      const [outRe, outIm] = run(lineRe, lineIm);
      for (let k = 0; k < length; k++) {
        const to = place(line, (k + middle) % length);
        re[to] = outRe[k];
        im[to] = outIm[k];
      }
    }
  };
  for (let i = 0; i < re.length; i++) {
    re[i] = m[i] * COSINES[p[i] & 0xffff];
    im[i] = m[i] * SINES[p[i] & 0xffff];
  }
  along(nx, ny, (y, x) => y * nx + x);
  along(ny, nx, (x, y) => y * nx + x);
  const decibels = new Float32Array(re.length);
  let most = 1e-30;
  for (let i = 0; i < re.length; i++) {
    decibels[i] = Math.sqrt(re[i] * re[i] + im[i] * im[i]);
    if (decibels[i] > most) most = decibels[i];
  }
  const phase = new Float32Array(re.length);
  for (let i = 0; i < re.length; i++) {
    phase[i] = Math.atan2(im[i], re[i]);
    decibels[i] = 20 * Math.log10(Math.max(decibels[i] / most, 1e-8));
  }
  return { decibels, phase };
}
