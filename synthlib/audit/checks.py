"""The questions that are asked of every volume, in the order of the findings."""

from __future__ import annotations

from synthlib.audit.findings import TOO_GOOD, Check

_ALL = (
    Check(
        name="zero_filled",
        title="Zero-filled interpolation",
        unit="dB",
        threshold=9.0,
        measure="drop of the log power of k-space at its edge, beyond the trend before it",
        advice="Crop to the true matrix (--repair); otherwise undersampled k-space would be that "
        "of a matrix that was never measured.",
        limits="Below 10 % of interpolation, or where phase is rough (gradient echoes at long TE) "
        "and air was masked, the edge drowns.",
        repairable=True,
        grade=TOO_GOOD,
    ),
    Check(
        name="corner_filter",
        title="Filter of k-space's corners",
        unit="",
        threshold=0.18,
        measure="share of the finest noise in the head that is missing; or noise in air correlated "
        "along both axes",
        advice="Prefer images without a filter; high frequencies and noise of these are damped.",
        limits="Fine anatomy of high SNR on a coarse grid hides the noise that tells it.",
        grade=TOO_GOOD,
    ),
    Check(
        name="partial_fourier",
        title="Partial Fourier",
        unit="correlation",
        threshold=0.005,
        measure="squared correlation of neighbouring noise in air along one axis, not the other",
        advice="Keep out of studies of phase: a side of its k-space was made up.",
        limits="The magnitude tells it by noise alone: 7/8 is missed two times in five, and "
        "where noise is uneven (parallel imaging) or was filtered it cannot be told.",
    ),
    Check(
        name="lossy",
        title="Lossy compression (JPEG)",
        unit="dB",
        threshold=2.5,
        measure="how much smaller 8 x 8 cosine coefficients are on the blocks' grid than off it",
        advice="Ask for the uncompressed images; blocks and missing coefficients are learned, too.",
        limits="JPEG 2000 and qualities above 95 leave no blocks; their header may tell.",
        grade=TOO_GOOD,
    ),
    Check(
        name="quantised",
        title="Few grey values, or clipped",
        unit="% of bright tissue",
        threshold=0.3,
        measure="step between grey values",
        advice="Where the images were exported with a display window or 8 bits, export them anew "
        "with 12 or 16; where the scanner stored so few values, count on their steps as noise.",
        limits="An 8-bit image that was smoothed or interpolated afterwards has many values.",
    ),
    Check(
        name="masked",
        title="Background masked or denoised",
        unit="% of air",
        threshold=10.0,
        measure="air that is exactly constant",
        advice="Noise of air is missing: use synthesis with noise in air (the default), and do not "
        "evaluate reconstructions on air.",
        limits="Air noise that was damped by less than four is taken for the scanner's own.",
    ),
    Check(
        name="skull_stripped",
        title="Skull stripped",
        unit="% of both sides",
        threshold=85.0,
        measure="brightness of the skull over the darker of scalp and brain",
        advice="Use the images before stripping: no scanner measures a brain without its head.",
        limits="Asked only where the background was masked.",
    ),
    Check(
        name="intensity_corrected",
        title="Intensity corrected",
        unit="",
        threshold=1.35,
        measure="noise in the head's centre over noise at its rim, or between places in air",
        advice="Prefer images without the correction: their noise is uneven, and sensitivities "
        "would be applied to a magnitude that is already even.",
        limits="Noise that parallel imaging makes uneven looks the same, and anatomy hides it: "
        "a factor of 3 is missed mostly; trust the header.",
    ),
    Check(
        name="resampled",
        title="Resampled in the plane",
        unit="dB",
        threshold=18.0,
        measure="highest periodic peak of the noise's local level over the median",
        advice="Use the images as the scanner stored them, before registration or correction.",
        limits="Shifts without a change of scale, and warps that differ from place to place, "
        "leave no peak; the header may tell a distortion correction.",
        grade=TOO_GOOD,
    ),
    Check(
        name="slices_interpolated",
        title="Slices interpolated",
        unit="correlation",
        threshold=0.1,
        measure="correlation of noise between neighbouring slices",
        advice="Take the original slices: neighbours here are not measured independently, so "
        "split by patient and do not count them twice.",
        limits="Needs two neighbouring slices.",
        grade=TOO_GOOD,
    ),
    Check(
        name="burned_in",
        title="Text in the pixels",
        unit="pixels",
        threshold=20.0,
        measure="thin bright strokes of one grey value outside the head",
        advice="Do not pass these images on: text may name a person. Ask for clean ones.",
        limits="Text over or close to the head, or dimmer than half of bright tissue, is not seen.",
    ),
)
CHECKS: dict[str, Check] = {check.name: check for check in _ALL}
