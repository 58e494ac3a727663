"""What is scanned, how, and who lies in the scanner."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthlib.scanner import anatomy, contrast

MECHANISMS = (
    "susceptibility", "conductivity", "receive", "timing", "chemical_shift", "noise",
    "distortion", "flow", "refocusing", "eddy_currents", "concomitant", "echo_train",
    "motion", "gain", "shim",
)  # fmt: skip
USUAL = tuple(name for name in MECHANISMS if name != "motion")
LINE_BY_LINE = ("flow", "motion", "gain")  # change while k-space is filled: no one image has them
SMALLEST_MATRIX = 16
LOWEST_MM, HIGHEST_MM = -14.0, 26.0  # of slice centres, from mid-ventricle
FURTHEST_MM = 120.0  # from the isocentre: there is no head beyond


@dataclass(frozen=True)
class ScanSettings:
    """What is scanned and how; the defaults are a small honest data set.

    Attributes:
        n_subjects: subjects for each coil count.
        coil_counts: number of receive coils; each has its own subjects.
        contrasts: names in contrast.PROTOCOLS.
        n_slices: slices, evenly spread over the cerebrum around the ventricles.
        positions_mm: slice centres from the isocentre (mid-ventricle) along the
            slices' normal; they replace n_slices when there are any.
        orientation: "axial", "coronal" or "sagittal".
        matrix: (ny, nx) of the reconstruction; y is the readout (axial: front to back).
        fov_mm: (y, x) field of view of the reconstruction.
        thickness_mm: slice thickness.
        oversampling: of the readout: k-space has oversampling * ny rows.
        field_t: 1.5 or 3.0.
        snr: mean over the brain's pixels of the noise-free root sum of squares
            over the coils, divided by the noise s.d. of the real part (and of
            the imaginary part) of a coil's image, its variance averaged over the coils.
        partial_fourier: share of the phase-encoding lines (kx) that is measured,
            above 0.5; the missing ones lie at the beginning and are zero.
        elliptical: leave the corners of k-space out, as 3-D scans do that encode
            both axes; here it stands for the filter that some scanners apply.
        n_lesions: lesions in the white matter of every subject, besides the small ones of age.
        mechanisms: what shapes phase, of MECHANISMS; all but "motion" unless said
            otherwise. Without "receive" the coil maps are real and positive; without
            "noise" there is none.
        seed: every draw follows from it, the subject and the contrast.

    Raises:
        ValueError: a setting that no scan can be made with.
    """

    n_subjects: int = 10
    coil_counts: tuple[int, ...] = (8,)
    contrasts: tuple[str, ...] = ("AXT1", "AXT2", "AXFLAIR")
    n_slices: int = 3
    positions_mm: tuple[float, ...] = ()
    orientation: str = "axial"
    matrix: tuple[int, int] = (96, 80)
    fov_mm: tuple[float, float] = (230.0, 192.0)
    thickness_mm: float = 5.0
    oversampling: int = 2
    field_t: float = 3.0
    snr: float = 30.0
    partial_fourier: float = 1.0
    elliptical: bool = False
    n_lesions: int = 0
    mechanisms: tuple[str, ...] = USUAL
    seed: int = 2023

    def __post_init__(self) -> None:
        for name, found, known in (
            ("contrast", self.contrasts, tuple(contrast.PROTOCOLS)),
            ("mechanism", self.mechanisms, MECHANISMS),
            ("field_t", (self.field_t,), contrast.FIELDS_T),
            ("orientation", (self.orientation,), tuple(anatomy.ORIENTATIONS)),
        ):
            unknown = [value for value in found if value not in known]
            if unknown:
                raise ValueError(
                    f"unknown {name} {unknown[0]!r}; expected one of {list(known)}. "
                    f"Correct the ScanSettings."
                )
        for name, least, value in (
            ("n_subjects", 0, self.n_subjects),
            ("coil_counts", 1, min(self.coil_counts, default=1)),
            ("n_slices", 1, self.n_slices),
            ("matrix", SMALLEST_MATRIX, min(self.matrix)),
            ("oversampling", 1, self.oversampling),
            ("n_lesions", 0, self.n_lesions),
        ):
            if value < least:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; expected at least {least} everywhere. "
                    f"Raise it in the ScanSettings."
                )
        sizes = {"fov_mm": self.fov_mm, "thickness_mm": (self.thickness_mm,), "snr": (self.snr,)}
        for name, numbers in sizes.items():
            if not all(0 < number < math.inf for number in numbers):
                raise ValueError(
                    f"{name} is {getattr(self, name)}; expected a finite number of more than 0. "
                    f"Correct the ScanSettings."
                )
        twice = [name for name in self.contrasts if self.contrasts.count(name) > 1]
        if twice:
            raise ValueError(
                f"contrasts holds {twice[0]!r} twice; expected each contrast once, for a scan is "
                f"known by its name. Correct the ScanSettings."
            )
        if not 0.5 < self.partial_fourier <= 1:
            raise ValueError(
                f"partial_fourier is {self.partial_fourier}; expected a share above 0.5 (the "
                "centre of k-space must be measured) and at most 1. Correct the ScanSettings."
            )
        beyond = [mm for mm in self.positions_mm if not abs(mm) <= FURTHEST_MM]
        if beyond:
            raise ValueError(
                f"positions_mm holds {beyond[0]}; expected slices within {FURTHEST_MM:g} mm of the "
                "isocentre, where the head is. Correct the ScanSettings."
            )

    @property
    def acquired(self) -> tuple[int, int]:
        """First and one-past-last column of kx that is measured."""
        n = self.matrix[1]
        return n - round(self.partial_fourier * n), n

    @property
    def spacing_mm(self) -> tuple[float, float]:
        return self.fov_mm[0] / self.matrix[0], self.fov_mm[1] / self.matrix[1]

    @property
    def slice_positions_mm(self) -> Tensor:
        """(slice,) slice centres from the isocentre, in the order given or lowest first."""
        if self.positions_mm:
            return torch.tensor(self.positions_mm)
        if self.n_slices == 1:
            return torch.zeros(1)
        return torch.linspace(LOWEST_MM, HIGHEST_MM, self.n_slices)


@dataclass(frozen=True)
class Subject:
    """Who is scanned: patient_id such as "sim-08coil-003", number from 1, n_coils of the array."""

    patient_id: str
    number: int
    n_coils: int


def subjects(settings: ScanSettings) -> list[Subject]:
    """Everybody to be scanned, by coil count, then by number."""
    return [
        Subject(f"sim-{n_coils:02d}coil-{number:03d}", number, n_coils)
        for n_coils in settings.coil_counts
        for number in range(1, settings.n_subjects + 1)
    ]
