"""What a coil array receives of some rows of a slice, in one pass: machine code by numba.

synthesis.model says it for one pixel. Done array by array the memory would be read and
written twenty times; here a tile of TILE pixels of all coils stays in the processor's
cache from the maps' splines to the coil images. numba compiles it once per process, in
about two seconds, and keeps nothing on the disk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from synthlib.bank import Taps

TILE = 64  # pixels of a row
UNROLLED = 4  # coils that are mixed at a time

f4 = np.float32
Floats = NDArray[np.float32]
fast = njit(nogil=True, fastmath=True)


def _polynomial(values: np.ndarray, at: np.ndarray, degree: int) -> tuple[np.float32, ...]:
    """Coefficients, lowest first, that fit values on [0, 1] to float32's precision."""
    fitted = np.polynomial.Chebyshev.fit(at, values, degree, domain=[0, 1])
    return tuple(fitted.convert(kind=np.polynomial.Polynomial).coef.astype(np.float32))


_AT = (1 - np.cos(np.pi * (np.arange(200) + 0.5) / 200)) / 2
LOG = _polynomial(np.log1p(_AT), _AT, 8)  # ln(1 + x)
SIN = _polynomial(np.sin(np.pi / 2 * np.sqrt(_AT)) / np.sqrt(_AT), _AT, 4)  # of (pi / 2) x, over x
COS = _polynomial(np.cos(np.pi / 2 * np.sqrt(_AT)), _AT, 5)  # both as functions of x squared
LN2 = f4(np.log(2))
MANTISSA = np.uint32(2**23 - 1)


class Object(NamedTuple):
    """What the coils see, all float32 (ny, nx).

    Attributes:
        signal: magnitude.
        share: of the noise along the signal that the signal has already.
        cos, sin: of its phase.
    """

    signal: Floats
    share: Floats
    cos: Floats
    sin: Floats


@fast
def normals(words: NDArray[np.uint32], logs: Floats, first: Floats, second: Floats) -> None:
    """Standard normal numbers from random words, by Box and Muller (1958).

    Args:
        words: uint32 (2 n,), all bits random.
        logs: float32, of n numbers or more, scratch.
        first, second: float32, of n numbers or more; n are filled, of up to 5.9
            standard deviations.
    """
    n = len(words) // 2
    for i in range(n):  # uniform in (0, 1]
        logs[i] = (f4(np.int32(words[i] >> np.uint32(8))) + f4(0.5)) * f4(2.0**-24)
    bits = logs.view(np.uint32)
    for i in range(n):
        exponent = f4(np.int32(bits[i] >> np.uint32(23)) - np.int32(127))
        x = f4(np.int32(bits[i] & MANTISSA)) * f4(2.0**-23)
        log = LOG[7] + x * LOG[8]
        log = LOG[3] + x * (LOG[4] + x * (LOG[5] + x * (LOG[6] + x * log)))
        log = LN2 * exponent + (LOG[0] + x * (LOG[1] + x * (LOG[2] + x * log)))
        radius = np.sqrt(max(f4(-2) * log, f4(0)))
        # An angle of half a circle, and which half by the word's last bit.
        angle = f4(np.int32(words[n + i]) >> np.int32(7)) * f4(2.0**-24)
        half = f4(1) - f4(2) * f4(np.int32(words[n + i] & np.uint32(1)))
        z = angle * angle
        sin = SIN[0] + z * (SIN[1] + z * (SIN[2] + z * (SIN[3] + z * SIN[4])))
        cos = COS[2] + z * (COS[3] + z * (COS[4] + z * COS[5]))
        first[i] = radius * angle * sin
        second[i] = radius * half * (COS[0] + z * (COS[1] + z * cos))


@fast
def receive(
    few: Floats,
    along_y: Taps,
    along_x: Taps,
    mixing: Floats,
    seen: Object,
    words: NDArray[np.uint32],
    rows: tuple[int, int],
    shift: tuple[int, int],
    images: Floats,
    rss: Floats,
) -> None:
    """Coil images of some rows of one slice, and their root sum of squares.

    Args:
        few: float32 (POINTS, POINTS 2 coil), coefficients of the maps' splines in
            head coordinates, the real and imaginary part of one coil after the other.
        along_y, along_x: Taps of the rows and columns.
        mixing: float32 (2, coil, coil), real and imaginary part of a lower
            triangular matrix; the last axis is filled up to a multiple of
            UNROLLED with zeros.
        seen: Object.
        words: uint32 (2 coil pixels,), random bits for the noise of these rows;
            none: no noise.
        rows: (first, end).
        shift: (y, x) that pixels move in the images, around their edges.
        images: float32 (coil, ny, nx, 2), filled where the rows come to lie.
        rss: float32 (ny, nx), filled at the rows.
    """
    n_coils, ny, nx = images.shape[0], images.shape[1], images.shape[2]
    noisy = len(words) > 0
    row = np.empty(few.shape[1], f4)
    points = row.reshape(len(few), 2 * n_coils)
    pixel = np.empty(2 * n_coils, f4)
    maps, noise = np.empty((2 * n_coils, TILE), f4), np.zeros((2 * n_coils, TILE), f4)
    logs, white = np.empty(n_coils * TILE, f4), np.zeros((2, mixing.shape[2] * TILE), f4)
    scale, re, im, power = np.zeros((4, TILE), f4)
    used, turn = 0, nx - shift[1]
    for y in range(rows[0], rows[1]):
        blend(few, along_y.first[y], along_y.weights[y], row)
        to_y, x = (y + shift[0]) % ny, 0
        while x < nx:
            n = min(TILE, (turn if x < turn else nx) - x)  # no tile goes around the edge
            for j in range(n):
                blend(points, along_x.first[x + j], along_x.weights[x + j], pixel)
                for part in range(2 * n_coils):
                    maps[part, j] = pixel[part]
            normalize(maps, scale, n)
            if noisy:
                drawn = words[used : used + 2 * n_coils * n]
                normals(drawn, logs, white[0], white[1])
                mix(mixing, white, noise, n)
                project(maps, noise, re, im, n)
                used += len(drawn)
            for j in range(n):
                cos, sin = seen.cos[y, x + j], seen.sin[y, x + j]
                # Along the signal u = S exp(i phase) lies Re(u^H n): the image has it already.
                had = seen.share[y, x + j] * scale[j] * (cos * re[j] + sin * im[j])
                image = (seen.signal[y, x + j] - had) * scale[j]
                re[j], im[j], power[j] = image * cos, image * sin, f4(0)
            for coil in range(n_coils):
                out = images[coil, to_y, (x + shift[1]) % nx :]
                spread(maps[2 * coil :], noise[2 * coil :], re, im, power, out, n)
            for j in range(n):
                rss[y, x + j] = np.sqrt(power[j])
                re[j], im[j] = f4(0), f4(0)
            x += n


@fast
def blend(values: Floats, first: int, weights: Floats, out: Floats) -> None:
    """The weighted sum of four neighbours along the first axis."""
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    one, two, three, four = values[first], values[first + 1], values[first + 2], values[first + 3]
    for k in range(len(out)):
        out[k] = a * one[k] + b * two[k] + c * three[k] + d * four[k]


@fast
def normalize(maps: Floats, scale: Floats, n: int) -> None:
    """What brings the maps' root sum of squares to 1."""
    for j in range(n):
        scale[j] = f4(1e-30)
    for part in range(len(maps)):
        for j in range(n):
            scale[j] += maps[part, j] * maps[part, j]
    for j in range(n):
        scale[j] = f4(1) / np.sqrt(scale[j])


@fast
def mix(mixing: Floats, white: Floats, noise: Floats, n: int) -> None:
    """White noise to that of the coils; coil k's white noise begins at k n."""
    for coil in range(len(noise) // 2):
        re, im = noise[2 * coil], noise[2 * coil + 1]
        for j in range(n):
            re[j] = im[j] = f4(0)
        for k in range(0, coil + 1, UNROLLED):
            a, b, c, d = (
                mixing[0, coil, k],
                mixing[0, coil, k + 1],
                mixing[0, coil, k + 2],
                mixing[0, coil, k + 3],
            )
            e, f, g, h = (
                mixing[1, coil, k],
                mixing[1, coil, k + 1],
                mixing[1, coil, k + 2],
                mixing[1, coil, k + 3],
            )
            r, i = white[0, k * n :], white[1, k * n :]
            r1, r2, r3 = r[n:], r[2 * n :], r[3 * n :]
            i1, i2, i3 = i[n:], i[2 * n :], i[3 * n :]
            for j in range(n):
                re[j] += a * r[j] + b * r1[j] + c * r2[j] + d * r3[j]
                re[j] -= e * i[j] + f * i1[j] + g * i2[j] + h * i3[j]
                im[j] += a * i[j] + b * i1[j] + c * i2[j] + d * i3[j]
                im[j] += e * r[j] + f * r1[j] + g * r2[j] + h * r3[j]


@fast
def project(maps: Floats, noise: Floats, re: Floats, im: Floats, n: int) -> None:
    """S^H n, the noise that the coils' combination sees."""
    for coil in range(len(maps) // 2):
        map_re, map_im = maps[2 * coil], maps[2 * coil + 1]
        noise_re, noise_im = noise[2 * coil], noise[2 * coil + 1]
        for j in range(n):
            re[j] += map_re[j] * noise_re[j] + map_im[j] * noise_im[j]
            im[j] += map_re[j] * noise_im[j] - map_im[j] * noise_re[j]


@fast
def spread(
    maps: Floats, noise: Floats, re: Floats, im: Floats, power: Floats, out: Floats, n: int
) -> None:
    """One coil's image: its map times the object, and its noise."""
    for j in range(n):
        coil_re = maps[0, j] * re[j] - maps[1, j] * im[j] + noise[0, j]
        coil_im = maps[0, j] * im[j] + maps[1, j] * re[j] + noise[1, j]
        out[j, 0], out[j, 1] = coil_re, coil_im
        power[j] += coil_re * coil_re + coil_im * coil_im
