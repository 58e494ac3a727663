"""What a portrait is made of: numbers and curves of one slice, each from tensors alone."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from synthlib import arrays

BRIGHTNESS_EDGES = torch.linspace(0, 4, 41)  # magnitude / median
FREQUENCY_EDGES = torch.linspace(0, 0.5, 26)  # cycles/pixel
STEP_EDGES = torch.linspace(0, 1, 41)  # rad/pixel
REFERENCE_BELOW = 0.04  # cycles/pixel: power there is 0 dB
SLOPE_FROM, SLOPE_TO = 0.05, 0.25  # cycles/pixel
BLOCK, BLOCK_STEP = 8, 4  # pixels
# Lowest decile, over blocks of 8 x 8, of the median |difference| of white noise of unit s.d.
QUIET_DECILE = 0.5246
DEGREE = 4  # of the polynomial that stands for smooth phase
COVER_MM = 16.0  # scalp, skull and fluid around the brain
CEREBRUM_MM = 75.0  # from the vertex to the base of the skull, below which face and neck begin
DETAIL_PIXELS = (0.7, 2.5)  # s.d. of the Gaussians between which fine detail lies
HIGH_PASS_PIXELS = 3.0  # s.d. of the Gaussian that high-pass phase is taken against
FAR_RAD = 0.3  # phase beyond a smooth surface that counts as its tail
MOST_SHIFT = 4  # pixels that the midline may lie off the head's middle
SHADING = 0.13  # s.d. of the Gaussian that is taken for the coils' shading: 20 mm of a head
MOST_EVEN = 3.0  # a magnitude over its shading, so that single bright pixels do not decide
TURNED_BY = 0.1  # of an axial head's two asymmetries, their least difference if it is turned


def outline(magnitude: Tensor) -> Tensor:
    """The head with everything in it, skull and ventricles too: bool (y, x).

    Pixels that are bright in 3 x 3 medians (beside the brightest, and beside
    air), gaps closed, holes filled, thin tails cut, the largest piece.

    Args:
        magnitude: (y, x), >= 0, air around the head.

    Raises:
        ValueError: there is no bright piece.
    """
    smooth = ndimage.median_filter(magnitude.double().numpy(force=True), 3)
    air, bright = np.quantile(smooth, [0.1, 0.98])
    reach = max(1, round(0.02 * min(magnitude.shape)))
    disc = np.hypot(*np.ogrid[-reach : reach + 1, -reach : reach + 1]) <= reach + 0.5
    # a closing at the edge of the picture would eat what touches it
    padded = np.pad(smooth > max(0.15 * bright, min(1.6 * air, 0.3 * bright)), 2 * reach, "edge")
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(padded, disc))
    pieces, n_pieces = ndimage.label(ndimage.binary_opening(closed, disc))
    if not n_pieces or not bright > 0:
        raise ValueError(
            "no head stands out in this image; expected a bright object with air around it. "
            "Choose another slice."
        )
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    inner = slice(2 * reach, -2 * reach)
    return torch.from_numpy(pieces == largest)[inner, inner].clone()


def brain(head: Tensor, pixel_mm: tuple[float, float], orientation: str = "axial") -> Tensor:
    """What lies 16 mm and more inside the outline of a head: bool (y, x).

    Of a coronal or sagittal head, upright, only the upper 75 mm: below lie face and neck.

    Args:
        head: bool (y, x), as of :func:`outline`; pixel_mm: (y, x).
        orientation: "axial", "coronal" or "sagittal".
    """
    framed = np.pad(head.numpy(force=True), 1)  # what lies beyond the picture is not brain
    depth = ndimage.distance_transform_edt(framed, sampling=pixel_mm)[1:-1, 1:-1]
    inside = torch.from_numpy(depth > COVER_MM)
    if orientation != "axial" and bool(inside.any()):
        vertex = int(head.any(1).nonzero()[0])
        inside[vertex + round(CEREBRUM_MM / pixel_mm[0]) :] = False
    return inside


def lies_on_its_side(head: Tensor) -> bool:
    """Whether a coronal or sagittal head is cut by the left or right edge, and not below.

    Its neck goes on beyond the picture, and is to do so at the lower edge.

    Args:
        head: bool (y, x), as of :func:`outline`.
    """
    beside = bool(head[:, 0].any() or head[:, -1].any())
    return beside and not bool(head[-1].any())


def is_turned(magnitude: Tensor, head: Tensor, pixel_mm: tuple[float, float]) -> bool:
    """Whether an axial head is more like itself upside down than left to right.

    Shading by coils is divided away: a weak coil alone makes sides unlike.
    Upright measured heads are less alike upside down by 0.13 and more, measured necks that lie on
    their side more alike by 0.22 and more; in few pixels differences shrink, to 0.01 in 48 x 40.

    Args:
        magnitude: (y, x); head: bool (y, x), as of :func:`outline`; pixel_mm: (y, x).
    """
    size_mm = math.sqrt(float(head.sum()) * math.prod(pixel_mm))
    sigma = [SHADING * size_mm / mm for mm in pixel_mm]
    weight, values = head.double().numpy(force=True), magnitude.double().numpy(force=True)
    shading = ndimage.gaussian_filter(values * weight, sigma)
    shading = shading / ndimage.gaussian_filter(weight, sigma).clip(1e-3)
    even = torch.from_numpy(values / shading.clip(1e-6 * values.max())) * head
    even = even.clamp(max=MOST_EVEN)
    return asymmetry(even, head) > asymmetry(even.T, head.T) + TURNED_BY


def detail(magnitude: Tensor, inside: Tensor) -> float:
    """S.d. of a magnitude (y, x) between 0.7 and 2.5 pixels, over its median, inside a mask."""
    fine, coarse = (ndimage.gaussian_filter(magnitude.numpy(force=True), s) for s in DETAIL_PIXELS)
    band = torch.from_numpy(fine - coarse)[inside]
    return float(band.double().std() / magnitude[inside].median())


def asymmetry(magnitude: Tensor, inside: Tensor) -> float:
    """1 less the correlation of a magnitude (y, x) with its mirror image, inside a mask.

    The mirror stands in the mask's middle column or up to 4 pixels beside it, where the
    correlation is highest; details below 2 pixels are smoothed away with the noise.
    """
    smooth = torch.from_numpy(ndimage.gaussian_filter(magnitude.double().numpy(force=True), 2.0))
    columns = inside.any(0).nonzero().flatten()
    twice = int(columns[0] + columns[-1])  # a column and its mirror image add up to this
    best = -1.0
    index = torch.arange(inside.shape[1])
    for shift in range(-MOST_SHIFT, MOST_SHIFT + 1):
        partner = twice + shift - index
        there = (partner >= 0) & (partner < inside.shape[1])
        partner = partner.clamp(0, inside.shape[1] - 1)
        use = inside & inside[:, partner] & there
        pair = torch.stack([smooth[use], smooth[:, partner][use]])
        if pair.shape[1] > 2:
            best = max(best, float(torch.corrcoef(pair)[0, 1]))
    return 1 - best


def phase_tail(left: Tensor, inside: Tensor) -> float:
    """Share in % of the pixels inside whose phase lies beyond 0.3 rad of a smooth surface.

    Args:
        left: radians (y, x), what the surface leaves, on the circle.
    """
    return 100 * float((left[inside].abs() > FAR_RAD).double().mean())


def phase_kurtosis(image: Tensor, inside: Tensor) -> float:
    """Kurtosis (3 for a normal distribution) of the high-pass phase of an image inside a mask.

    High-pass phase is that against the complex image smoothed by a Gaussian of 3 pixels.

    Args:
        image: complex (y, x); inside: bool (y, x).
    """
    parts = [
        ndimage.gaussian_filter(part.double().numpy(force=True), HIGH_PASS_PIXELS)
        for part in (image.real, image.imag)
    ]
    smooth = torch.complex(*(torch.from_numpy(part) for part in parts))
    phase = (image.to(smooth.dtype) * smooth.conj()).angle()[inside]
    centred = phase - phase.mean()
    return float(centred.pow(4).mean() / centred.square().mean().square())


def noise_sd(images: Tensor, head: Tensor) -> float:
    """S.d. of the noise in the real part of one coil's image, the median over the coils.

    One estimator for every scan, also where air was set to zero or holds
    ghosts: the diagonal difference of neighbours (half of +a -b -c +d over 2 x 2
    pixels, which keeps the s.d. of white noise), its median absolute value in
    blocks of 8 x 8 inside the head, the lowest decile over a coil's blocks.
    There tissue is even, or the coil sees little of it. What texture is left
    makes the noise seem some ten percent too high; smoothing or interpolation
    of the data makes it seem too low.

    Args:
        images: complex (coil, y, x), or real for a magnitude.
        head: bool (y, x).
    """
    parts = torch.view_as_real(images) if images.is_complex() else images[..., None]
    parts = parts.movedim(-1, 1)  # (coil, part, y, x)
    detail = torch.diff(torch.diff(parts, dim=-1), dim=-2) / 2
    size = min(BLOCK, *detail.shape[-2:])
    blocks = detail.unfold(2, size, BLOCK_STEP).unfold(3, size, BLOCK_STEP)
    level = blocks.abs().flatten(-2).median(-1).values  # (coil, part, block y, block x)
    head = head[:-1, :-1].float().unfold(0, size, BLOCK_STEP).unfold(1, size, BLOCK_STEP)
    filled = head.mean((-2, -1))
    inside = filled >= min(0.99, float(filled.max()))
    quiet = torch.quantile(level[:, :, inside].flatten(1).double(), 0.1, dim=1)  # (coil,)
    return float(torch.quantile(quiet, 0.5)) / QUIET_DECILE


def radial_power(image: Tensor) -> Tensor:
    """Mean power of k-space (bin,) in rings of FREQUENCY_EDGES; nan where a ring is empty.

    Args:
        image: real or complex (y, x); frequency is in cycles/pixel along both axes.
    """
    power = arrays.fft2c(image).abs().square().flatten().double()
    waves = [torch.fft.fftshift(torch.fft.fftfreq(n, dtype=torch.float64)) for n in image.shape]
    ring = torch.bucketize(
        torch.hypot(waves[0][:, None], waves[1]).flatten(), FREQUENCY_EDGES.double(), right=True
    )
    n_rings = len(FREQUENCY_EDGES) - 1
    sums, counts = (
        torch.bincount(ring - 1, weights=weight, minlength=n_rings)[:n_rings]
        for weight in (power, torch.ones_like(power))
    )
    return sums / counts


def spectrum_db(power: Tensor, floor: float = 0.0) -> Tensor:
    """Power less the noise's, in dB of the mean below 0.04 cycles/pixel; nan within the noise.

    Args:
        power: (bin,) as of :func:`radial_power`.
        floor: power of the noise; rings less than 1.5 times as strong say nothing.
    """
    signal = torch.where(power > 1.5 * floor, power - floor, torch.nan)
    low = signal[_middles(FREQUENCY_EDGES) < REFERENCE_BELOW].nanmean()
    return 10 * torch.log10(signal / low)


def spectrum_slope(decibel: Tensor) -> float:
    """Exponent n of power ~ frequency^n, fitted from 0.05 to 0.25 cycles/pixel.

    Args:
        decibel: (bin,) as of :func:`spectrum_db`; rings of nan are left out.

    Returns:
        nan from fewer than three rings.
    """
    frequency = _middles(FREQUENCY_EDGES)
    use = (frequency > SLOPE_FROM) & (frequency < SLOPE_TO) & decibel.isfinite()
    if int(use.sum()) < 3:
        return float("nan")
    x, y = torch.log10(frequency[use]).double(), decibel[use].double() / 10
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def phase_gradient(phase: Tensor, inside: Tensor) -> Tensor:
    """|gradient| in rad/pixel of the pixels that are inside with their next ones: (pixel,).

    Args:
        phase: radians (y, x), wrapped or not; differences are taken on the circle.
        inside: bool (y, x).
    """
    down, right = (arrays.wrap(torch.diff(phase, dim=axis)) for axis in (0, 1))
    use = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:]
    return torch.hypot(down[:, :-1], right[:-1])[use]


def residues_per_1000(phase: Tensor, inside: Tensor) -> float:
    """Points that the phase winds round, per 1000 squares of 2 x 2 pixels that are inside.

    Args:
        phase: radians (y, x); inside: bool (y, x).

    Source: Ghiglia & Pritt, Two-Dimensional Phase Unwrapping (1998), chapter 2.
    """
    down, right = (arrays.wrap(torch.diff(phase.double(), dim=axis)) for axis in (0, 1))
    turns = (right[:-1] + down[:, 1:] - right[1:] - down[:, :-1]) / (2 * math.pi)
    use = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:] & inside[1:, 1:]
    return 1000 * float(turns[use].abs().round().sum()) / max(1, int(use.sum()))


def calibration_rank(kspace: Tensor, width: int = 24, kernel: int = 6, share: float = 0.02) -> int:
    """How many singular values of the calibration matrix exceed a share of the largest.

    Args:
        kspace: complex (coil, ky, kx), the zero frequency in the middle.
        width: edge of the calibration region; kernel: edge of its patches.

    Source: Uecker et al., MRM 71:990 (2014).
    """
    size = tuple(min(width, n) for n in kspace.shape[-2:])
    calib = arrays.crop_or_pad(kspace, (size[0], size[1])).to(torch.complex128)
    patches = calib.unfold(1, kernel, 1).unfold(2, kernel, 1)  # (coil, py, px, k, k)
    singular = torch.linalg.svdvals(patches.permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1))
    return int((singular > share * singular[0]).sum())


def map_roughness(maps: Tensor, support: Tensor, spacing_mm: tuple[float, float]) -> float:
    """Rms over the support of |grad S|, root sum of squares over coils and both axes: 1/cm.

    Args:
        maps: complex (coil, y, x).
        support: bool (y, x); differences count where both ends are in it.
        spacing_mm: (y, x) pixel size.
    """
    total = 0.0
    for axis, mm in ((0, spacing_mm[0]), (1, spacing_mm[1])):
        n = support.shape[axis]
        both = support.narrow(axis, 0, n - 1) & support.narrow(axis, 1, n - 1)
        slope = torch.diff(maps, dim=axis + 1)[:, both] / (mm / 10)
        total += float(slope.abs().square().sum(0).double().mean())
    return math.sqrt(total)


def smooth_phase(phase: Tensor, weight: Tensor) -> Tensor:
    """The polynomial of degree 4 in y and x closest to a wrapped phase: radians (y, x), unwrapped.

    First the coefficients that fit the differences of neighbours, which are
    taken on the circle, so that wraps do no harm; then a few steps that fit the
    phase itself, each from the wrapped remainder of the last.

    Args:
        phase: radians (y, x).
        weight: >= 0 (y, x), zero outside the head.
    """
    basis = _polynomials(phase.shape)  # (y, x, term), the first term is constant
    phase, weight = phase.double(), weight.double()
    rows, values = [], []
    for axis in (0, 1):
        n = phase.shape[axis]
        both = (weight.narrow(axis, 0, n - 1) * weight.narrow(axis, 1, n - 1)).sqrt()
        rows.append(torch.diff(basis[..., 1:], dim=axis)[both > 0] * both[both > 0][:, None])
        values.append((arrays.wrap(torch.diff(phase, dim=axis)) * both)[both > 0])
    slopes = arrays.least_squares(torch.cat(rows), torch.cat(values))
    fit = basis[..., 1:] @ slopes
    fit = fit + (weight * torch.exp(1j * (phase - fit))).sum().angle()
    use = weight > 0
    inverse = torch.linalg.pinv(basis[use] * weight[use][:, None])
    for _ in range(5):
        left = arrays.wrap(phase - fit)[use] * weight[use]
        fit = fit + basis @ (inverse @ left)
    return fit


def _polynomials(shape: torch.Size) -> Tensor:
    """Products of Legendre polynomials (y, x, term) of total degree 0 to DEGREE."""
    axes = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape]
    y, x = (
        [torch.special.legendre_polynomial_p(axis, order) for order in range(DEGREE + 1)]
        for axis in axes
    )
    orders = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    return torch.stack([y[i][:, None] * x[j] for i, j in orders], dim=-1)


def density(values: Tensor, edges: Tensor) -> Tensor:
    """Histogram (bin,) as density, 1 / unit of the values; those beyond the edges count, too."""
    counts = torch.histogram(values.float().cpu(), edges).hist
    return counts / (max(1, values.numel()) * torch.diff(edges))


def _middles(edges: Tensor) -> Tensor:
    return (edges[1:] + edges[:-1]) / 2
