"""What a coil array receives of a slice, in one pass: machine code by numba.

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
# numpy documents this way to its bit generators: any SFC64's next number, by its state's address.
NEXT = np.random.SFC64().ctypes.next_uint64


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
def draw(state: int, words: NDArray[np.uint64]) -> None:
    """The next random words of a numpy SFC64, whose state is at an address."""
    for i in range(len(words)):
        words[i] = NEXT(state)


@fast
def normals(words: NDArray[np.uint64], logs: Floats, first: Floats, second: Floats) -> None:
    """Standard normal numbers from random words, by Box and Muller (1958).

    Args:
        words: uint64 (n,), all bits random.
        logs: float32 (n,), scratch.
        first, second: float32 (n,), filled with numbers of up to 5.9 standard
            deviations.
    """
    n, halves = len(words), words.view(np.uint32)
    for i in range(n):  # uniform in (0, 1]
        logs[i] = (f4(np.int32(halves[i] >> np.uint32(8))) + f4(0.5)) * f4(2.0**-24)
    bits = logs.view(np.uint32)
    for i in range(n):
        exponent = f4(np.int32(bits[i] >> np.uint32(23)) - np.int32(127))
        x = f4(np.int32(bits[i] & MANTISSA)) * f4(2.0**-23)
        log = LOG[7] + x * LOG[8]
        log = LOG[3] + x * (LOG[4] + x * (LOG[5] + x * (LOG[6] + x * log)))
        log = LN2 * exponent + (LOG[0] + x * (LOG[1] + x * (LOG[2] + x * log)))
        radius = np.sqrt(max(f4(-2) * log, f4(0)))
        # An angle of half a circle, and which half by the word's last bit.
        angle = f4(np.int32(halves[n + i]) >> np.int32(7)) * f4(2.0**-24)
        half = f4(1) - f4(2) * f4(np.int32(halves[n + i] & np.uint32(1)))
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
    state: int,
    shift: tuple[int, int],
    across: np.float32,
    images: Floats,
    rss: Floats,
) -> None:
    """Coil images of one slice, and their root sum of squares.

    Args:
        few: float32 (POINTS, POINTS 2 coil), coefficients of the maps' splines in
            head coordinates, the real and imaginary part of one coil after the other.
        along_y, along_x: Taps of the rows and columns.
        mixing: float32 (2, coil, coil), real and imaginary part of a lower
            triangular matrix; the last axis is filled up to a multiple of
            UNROLLED with zeros.
        seen: Object.
        state: address of the state of a numpy SFC64, which the noise is drawn from
            and which must outlive the call; 0: no noise.
        shift: (y, x) that pixels move in the images, around their edges.
        across: 1 if the phase was measured, and has the noise across the signal; else 0.
        images: float32 (coil, ny, nx, 2), filled.
        rss: float32 (ny, nx), filled, not moved.
    """
    n_coils, ny, nx = images.shape[0], images.shape[1], images.shape[2]
    row = np.empty(few.shape[1], f4)
    points = row.reshape(len(few), 2 * n_coils)
    pixel = np.empty(2 * n_coils, f4)
    maps, noise = np.zeros((2 * n_coils, TILE), f4), np.zeros((2 * n_coils, TILE), f4)
    white = np.zeros((2, mixing.shape[2], TILE), f4)
    words, logs = np.empty(n_coils * TILE, np.uint64), np.empty(n_coils * TILE, f4)
    scale, power = np.zeros(TILE, f4), np.zeros(TILE, f4)
    re, im = np.zeros(TILE, f4), np.zeros(TILE, f4)
    turn = nx - shift[1]
    for y in range(ny):
        blend(few, along_y.first[y], along_y.weights[y], row)
        to_y, x = (y + shift[0]) % ny, 0
        while x < nx:
            n = min(TILE, (turn if x < turn else nx) - x)  # no tile goes around the edge
            to_x = (x + shift[1]) % nx
            for j in range(n):
                blend(points, along_x.first[x + j], along_x.weights[x + j], pixel)
                for part in range(2 * n_coils):
                    maps[part, j] = pixel[part]
            normalize(maps, scale)
            if state:
                draw(state, words)
                normals(words, logs, white[0].reshape(-1), white[1].reshape(-1))
                mix(mixing, white, noise)
                project(maps, noise, re, im)
            else:
                noise[:], re[:], im[:] = f4(0), f4(0), f4(0)
            for j in range(n):
                cos, sin = seen.cos[y, x + j], seen.sin[y, x + j]
                # Along the signal u = S exp(i phase) lies Re(u^H n), which a magnitude has already;
                # across it Im(u^H n), which measured phase has.
                share = seen.share[y, x + j] * scale[j]
                had = share * (cos * re[j] + sin * im[j])
                turned = -across * share * (cos * im[j] - sin * re[j]) * scale[j]
                image = (seen.signal[y, x + j] - had) * scale[j]
                re[j], im[j] = image * cos - turned * sin, image * sin + turned * cos
            power[:] = f4(0)
            for coil in range(n_coils):
                out = images[coil, to_y, to_x:]
                for j in range(n):
                    map_re, map_im = maps[2 * coil, j], maps[2 * coil + 1, j]
                    coil_re = noise[2 * coil, j] + map_re * re[j] - map_im * im[j]
                    coil_im = noise[2 * coil + 1, j] + map_re * im[j] + map_im * re[j]
                    out[j, 0], out[j, 1] = coil_re, coil_im
                    power[j] += coil_re * coil_re + coil_im * coil_im
            for j in range(n):
                rss[y, x + j] = np.sqrt(power[j])
            x += n


# Whole tiles, of a width that the compiler knows: it makes vector instructions of them.


@fast
def blend(values: Floats, first: int, weights: Floats, out: Floats) -> None:
    """The weighted sum of four neighbours along the first axis."""
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    for k in range(len(out)):
        out[k] = a * values[first, k] + b * values[first + 1, k]
        out[k] += c * values[first + 2, k] + d * values[first + 3, k]


@fast
def normalize(maps: Floats, scale: Floats) -> None:
    """What brings the maps' root sum of squares to 1."""
    scale[:] = f4(1e-30)
    for part in range(len(maps)):
        for j in range(TILE):
            scale[j] += maps[part, j] * maps[part, j]
    for j in range(TILE):
        scale[j] = f4(1) / np.sqrt(scale[j])


@fast
def mix(mixing: Floats, white: Floats, noise: Floats) -> None:
    """White noise (2, coil, TILE) to that of the coils (2 coil, TILE)."""
    noise[:] = f4(0)
    for coil in range(len(noise) // 2):
        for k in range(0, coil + 1, UNROLLED):
            a, e = mixing[0, coil, k], mixing[1, coil, k]
            b, f = mixing[0, coil, k + 1], mixing[1, coil, k + 1]
            c, g = mixing[0, coil, k + 2], mixing[1, coil, k + 2]
            d, h = mixing[0, coil, k + 3], mixing[1, coil, k + 3]
            for j in range(TILE):
                r0, r1, r2, r3 = (
                    white[0, k, j],
                    white[0, k + 1, j],
                    white[0, k + 2, j],
                    white[0, k + 3, j],
                )
                i0, i1, i2, i3 = (
                    white[1, k, j],
                    white[1, k + 1, j],
                    white[1, k + 2, j],
                    white[1, k + 3, j],
                )
                re = a * r0 + b * r1 + c * r2 + d * r3 - e * i0 - f * i1 - g * i2 - h * i3
                im = a * i0 + b * i1 + c * i2 + d * i3 + e * r0 + f * r1 + g * r2 + h * r3
                noise[2 * coil, j] += re
                noise[2 * coil + 1, j] += im


@fast
def project(maps: Floats, noise: Floats, re: Floats, im: Floats) -> None:
    """S^H n, the noise that the coils' combination sees."""
    re[:] = f4(0)
    im[:] = f4(0)
    for coil in range(len(maps) // 2):
        for j in range(TILE):
            map_re, map_im = maps[2 * coil, j], maps[2 * coil + 1, j]
            noise_re, noise_im = noise[2 * coil, j], noise[2 * coil + 1, j]
            re[j] += map_re * noise_re + map_im * noise_im
            im[j] += map_re * noise_im - map_im * noise_re
