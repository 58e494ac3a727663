"""The things that flow from room to room, as frozen dataclasses."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from synthlib import arrays

UNKNOWN_MM = (float("nan"), float("nan"))
# What a header may say of how images were made; each is left out where it does not say.
FACTS = {
    "format": "dicom, nifti, fastmri or stack",
    "bits_stored": "bits of a stored pixel",
    "acquisition_matrix": "(rows, columns) of the stored image that were really encoded",
    "phase_encoding": "row or column of the stored image along which phase was encoded",
    "partial_fourier": "true if the header says so",
    "lossy": "true if the header, or the transfer syntax, says that lossy compression was used",
    "image_type": "codes of a fixed list (ORIGINAL, DERIVED, NORM, DIS2D ...)",
    "normalised": "true if the header tells an intensity correction",
    "distortion_corrected": "true if the header tells a resampling against distortion",
    "interpolated": "true if the header tells that the matrix was interpolated",
    "filtered": "true if the header tells a filter of k-space, false if it denies one",
    "averages": "how often every line of k-space was measured",
    "burned_in": "true if the header says that text is in the pixels",
    "te_ms": "echo time",
    "tr_ms": "repetition time",
    "ti_ms": "inversion time",
    "flip_deg": "flip angle",
    "vendor": "of the scanner, one of words.VENDORS",
    "pixel_bandwidth_hz": "of the readout, per pixel: one over the time that it took",
    "frequency_mhz": "of the protons, to 10 kHz: its further digits would tell the magnet",
}


class Slices(Protocol):
    """Slices read one at a time: a tensor in memory, or a data set in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, index: int) -> Tensor: ...


# fastMRI's brains and knees, as New York University names them.
UNDERSAMPLED = "undersampled"  # attribute of our files of scans that lack lines; zeros may not say
SYNTHETIC = "SYNTHETIC"  # attribute of every raw data file that was made of magnitude images
MADE_BY_US = "SYNTHETIC, made by synthlib of magnitude images"  # for messages
UPSIDE_DOWN = re.compile(r"file(_brain_[A-Z0-9]+_\d+_\d+|\d{7})")


def stored_upside_down(name: str, attributes: Mapping[str, object]) -> bool:
    """Whether rows of a fastMRI HDF5 file run the other way than in DICOM's views.

    So they do in the files of fastMRI itself, and in what synthlib made of them. A
    coil bank and a generator must know, for a head has a front and a back. An
    attribute upside_down of the file decides, where there is one; else its name.

    Args:
        name: of the file, without its ending; attributes: of the file.

    Source: Zhao et al., Scientific Data 9:152 (2022), fastMRI+, whose images were turned.
    """
    if "upside_down" in attributes:
        return bool(attributes["upside_down"])
    return bool(UPSIDE_DOWN.fullmatch(name))


@dataclass(frozen=True)
class RawVolume:
    """One scan's k-space and its header; slices are read when asked for.

    Attributes:
        name: file name without its ending, unique in a data set.
        patient_id: who was scanned, for splits by patient.
        contrast: acquisition label, for example "AXT2".
        kspace: [slice] gives complex64 (coil, ky, kx), centred orthonormal FFT.
        recon_shape: (ny, nx) of the scanner's own image.
        acquired: first and one-past-last column of kx that was measured; the
            columns outside are zero-padding.
        undersampled: columns between those are missing, too.
        noise: complex64 (coil, sample), what the receivers recorded without an
            object, scaled to the bandwidth and the averages of kspace; None if unknown.
        calibration: [slice] gives complex64 (coil, ky, kx): the lines measured to
            calibrate parallel imaging, zeros elsewhere; None if there are none apart.
        notes: what was found, averaged or left out on the way, one sentence each.
        spacing_mm: (y, x) pixel size of the scanner's image, nan if unknown.
        rss: [slice] gives the file's own magnitude (ny, nx), None if it has none.
        header: the ISMRMRD XML as found.
        attributes: the file's attributes as found.
        placement: where the slices lie in the patient, None if it is not told.
        source: the file's path, "" when the volume lives in memory.
    """

    name: str
    patient_id: str
    contrast: str
    kspace: Slices
    recon_shape: tuple[int, int]
    acquired: tuple[int, int]
    spacing_mm: tuple[float, float] = UNKNOWN_MM
    rss: Slices | None = None
    header: str = ""
    attributes: Mapping[str, object] = field(default_factory=dict)
    placement: Placement | None = None
    source: str = ""
    undersampled: bool = False
    noise: Tensor | None = None
    calibration: Slices | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_slices(self) -> int:
        return int(self.kspace.shape[0])

    @property
    def n_coils(self) -> int:
        return int(self.kspace.shape[1])

    @property
    def upside_down(self) -> bool:
        """As :func:`stored_upside_down` tells."""
        return stored_upside_down(self.name, self.attributes)

    @property
    def synthetic(self) -> bool:
        """Whether its k-space was made of magnitude images: no phase or coils to learn from."""
        return is_synthetic(self.attributes)

    @property
    def image_shape(self) -> tuple[int, int]:
        """(ny, nx) of :meth:`coil_images`: readout oversampling removed, all columns kept.

        The phase-encoding axis stays as acquired, so that a mask over kx thins
        lines that the scanner really measured.
        """
        ky, kx = self.kspace.shape[-2:]
        return min(int(ky), self.recon_shape[0]), int(kx)

    def signal(self, index: int) -> Tensor:
        """K-space of one slice, complex (coil, ky, kx), after a look at its values.

        Raises:
            ValueError: the slice's k-space has NaN, Inf, or no signal.
        """
        kspace = self.kspace[index]
        where = f"{self.name} slice {index}: k-space"
        arrays.require_finite(where, kspace)
        if not bool(kspace.any()):
            raise ValueError(f"{where} is all zero; expected signal. Leave this file out.")
        return kspace

    def calibration_signal(self, index: int) -> Tensor:
        """K-space of one slice for coil maps: its calibration lines, or all where none are apart.

        Raises:
            ValueError: as :meth:`signal` says.
        """
        if self.calibration is None:
            return self.signal(index)
        return dataclasses.replace(self, kspace=self.calibration).signal(index)

    def noise_covariance(self) -> Tensor | None:
        """Mean of n n^H over the noise samples, complex128 (coil, coil); None without a noise scan.

        It is that of one k-space sample, real and imaginary part together.
        """
        if self.noise is None:
            return None
        samples = self.noise.to(torch.complex128)
        return samples @ samples.mH / samples.shape[1]

    def images_of(self, kspace: Tensor) -> Tensor:
        """K-space (..., coil, ky, kx) to complex (..., coil, y, x) on :attr:`image_shape`."""
        return arrays.crop_or_pad_image(arrays.ifft2c(kspace), self.image_shape)

    def coil_images(self, index: int) -> Tensor:
        """Complex (coil, y, x) images of one slice on :attr:`image_shape`.

        Raises:
            ValueError: as :meth:`signal` says.
        """
        return self.images_of(self.signal(index))


# How labels of contrasts begin: AXT2, SAGT1, SAT2, CORT1, COT2.
ORIENTATIONS = {"AX": "axial", "SA": "sagittal", "CO": "coronal"}


def orientation_of(label: str, unknown: str) -> str:
    """The orientation that a contrast's label begins with, or `unknown`."""
    words = ORIENTATIONS.items()
    return next((word for start, word in words if label.upper().startswith(start)), unknown)


def is_synthetic(attributes: Mapping[str, object]) -> bool:
    """Whether a raw data file carries the mark that all of our outputs carry."""
    return bool(attributes.get(SYNTHETIC, False))


@dataclass(frozen=True)
class Placement:
    """Where the slices of a volume lie, in DICOM's axes: to the left, to the back, to the head.

    Attributes:
        along_row, along_column: unit vectors that columns and rows are counted along.
        middles_mm: of every slice the centre of pixel (ny // 2, nx // 2), where zero
            frequency's phase begins: a crop of k-space leaves it in its place.
    """

    along_row: tuple[float, float, float]
    along_column: tuple[float, float, float]
    middles_mm: tuple[tuple[float, float, float], ...]

    @property
    def normal(self) -> tuple[float, float, float]:
        """Of the slices: the cross product of the two directions."""
        (a, b, c), (d, e, f) = self.along_row, self.along_column
        return b * f - c * e, c * d - a * f, a * e - b * d

    @classmethod
    def of_centres(
        cls,
        along_row: Sequence[float],
        along_column: Sequence[float],
        centres_mm: Iterable[Sequence[float]],
        shape: tuple[int, int],
        spacing_mm: tuple[float, float],
    ) -> Placement:
        """The placement whose :meth:`centres_mm` these are; an unknown spacing is 1 mm."""
        row, column = _triple(along_row), _triple(along_column)
        step = _to_centre(row, column, shape, spacing_mm)
        middles = tuple(
            _triple([mm - s for mm, s in zip(centre, step, strict=True)]) for centre in centres_mm
        )
        return cls(row, column, middles)

    def centres_mm(
        self, shape: tuple[int, int], spacing_mm: tuple[float, float]
    ) -> list[tuple[float, ...]]:
        """The centre of every slice's field of view, for an image of (ny, nx) pixels."""
        step = _to_centre(self.along_row, self.along_column, shape, spacing_mm)
        return [tuple(m + s for m, s in zip(mm, step, strict=True)) for mm in self.middles_mm]


def _to_centre(
    along_row: Sequence[float],
    along_column: Sequence[float],
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
) -> list[float]:
    """From the centre of pixel (ny // 2, nx // 2) to that of the field of view, in mm."""
    y, x = ((n - 1) / 2 - n // 2 for n in shape)
    mm_y, mm_x = (mm if mm == mm else 1.0 for mm in spacing_mm)
    return [
        y * mm_y * column + x * mm_x * row
        for row, column in zip(along_row, along_column, strict=True)
    ]


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


@dataclass(frozen=True)
class ImageVolume:
    """Magnitude images, their geometry and, where it was measured, their phase.

    Nothing in it names a person: texts of headers stay with the readers.

    Attributes:
        name, patient_id, contrast: as in :class:`RawVolume`.
        magnitude: float32 (slice, y, x), >= 0.
        spacing_mm: (y, x) pixel size, nan if unknown.
        thickness_mm: of a slice; step_mm: between the centres of neighbours; nan if unknown.
        orientation: "axial", "coronal", "sagittal", or "unknown".
        anatomy: "head", another part of the body in one word, or "unknown".
        field_t: of the magnet, nan if unknown.
        upside_down: rows run the other way than in DICOM's views; see stored_upside_down.
        facts: what the header says of how the images were made, by names of
            FACTS; numbers, flags and words of fixed lists only.
        labels: integer (slice, y, x) label maps by name, on the magnitude's grid.
        phase: float32 (slice, y, x), radians in (-pi, pi], as measured with the magnitude;
            None where the archive has none. It goes through every change of the grid that
            the magnitude goes through: as the complex image, never by itself.
        notes: what was found and mended or left out on the way, for the report.
        placement: where the slices lie in the patient, None if it is not told.
    """

    name: str
    patient_id: str
    contrast: str
    magnitude: Tensor
    spacing_mm: tuple[float, float] = UNKNOWN_MM
    thickness_mm: float = float("nan")
    step_mm: float = float("nan")
    orientation: str = "unknown"
    anatomy: str = "unknown"
    field_t: float = float("nan")
    upside_down: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    phase: Tensor | None = None
    notes: tuple[str, ...] = ()
    placement: Placement | None = None

    @property
    def n_slices(self) -> int:
        return len(self.magnitude)


@dataclass(frozen=True)
class PhasePair:
    """Magnitude and phase of one slice in the gauge of its coil maps.

    Attributes:
        name: volume name and slice, for example "sub-003_AXT2_16coil#2".
        volume, patient_id, contrast: where it comes from.
        slice_index: slice in its volume; position: 0 to 1 through the volume.
        magnitude: float32 (y, x), root sum of squares of the coils, >= 0.
        phase: float32 (y, x), radians in (-pi, pi], target phase
            angle(sum_c conj(S_c) m_c).
        support: bool (y, x), where the maps say there is an object.
        recon_shape: (ny, nx) of the scanner's image, for metrics.
        acquired: measured columns of kx, as in :class:`RawVolume`.
        spacing_mm: (y, x) pixel size.
        upside_down: rows run the other way than in DICOM's views.
    """

    name: str
    volume: str
    patient_id: str
    contrast: str
    slice_index: int
    position: float
    magnitude: Tensor
    phase: Tensor
    support: Tensor
    recon_shape: tuple[int, int]
    acquired: tuple[int, int]
    spacing_mm: tuple[float, float] = UNKNOWN_MM
    upside_down: bool = False

    @property
    def head(self) -> Tensor:
        """Bool (y, x): the support less its dark pixels, where phase is mostly noise."""
        return self.support & (self.magnitude > arrays.dark_level(self.magnitude))

    @property
    def image(self) -> Tensor:
        """Complex (y, x): magnitude * exp(i phase)."""
        return torch.polar(self.magnitude, self.phase)
