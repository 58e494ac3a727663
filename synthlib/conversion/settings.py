"""What a conversion is asked to make."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from synthlib import bank
from synthlib.phase import shipped, sources

# Endings of what is written last: a result that has it is complete.
FORMATS = {
    "fastmri": ".h5",
    "mrd": ".mrd.h5",
    "cfl": ".hdr",
    "nifti": "_part-mag.nii.gz",
    "nifti-complex": "_complex.nii.gz",
}
# Folders of one kind of file and nothing else: stock loaders open all that is in one.
FOLDERS = {
    "fastmri": "multicoil",
    "mrd": "mrd",
    "cfl": "cfl",
    "nifti": "nifti",
    "nifti-complex": "nifti",
}
IMAGES = ("nifti", "nifti-complex")  # formats without coils
OF_COILS = ("maps", "n_coils", "noise", "oversampling", "pairing")  # settings that images lack
AUTO, MEASURED, WRITTEN = "auto", "measured", "written"
PHASES = (AUTO, MEASURED, WRITTEN)
RAW = FOLDERS["fastmri"]
MATCH, NONE = "match", "none"
# Sources that need no trained network.
POLYNOMIAL = "polynomial"
PLAIN_SOURCES = (POLYNOMIAL, "sinusoidal", "random", "zero")


@dataclass(frozen=True)
class Settings:
    """How raw data are made of magnitude images.

    Attributes:
        generator: weights that come with synthlib by name ("flow-head-v1"), a file of
            weights (.safetensors), or a source without a network: "polynomial",
            "sinusoidal", "random", "zero".
        maps: folder of a coil bank, or "simulated".
        n_coils: of the raw data.
        format: "fastmri", "mrd" or "cfl"; "nifti" (magnitude and phase) or
            "nifti-complex" for images without coils and noise.
        noise: "match": receiver noise such that the result has the SNR of the
            image; a number: that SNR; "none".
        oversampling: of the readout (rows), 1 or more.
        pairing: of heads and donors, "matched" or "random".
        strict: images in which the audit finds something are set aside.
        repair: images that were interpolated are cropped to their true matrix.
        phase: "auto": that of the archive where it was measured, else the
            generator's; "measured": series without are set aside; "written": always
            the generator's.
        contrasts: keep these labels, for example ("AXT1", "AXT2"); none keeps all.
        seed: every draw follows from it and the volume's name.

    Raises:
        ValueError: a setting that cannot be.
    """

    generator: str = shipped.DEFAULT
    maps: str = bank.SIMULATED
    n_coils: int = 16
    format: str = "fastmri"
    noise: float | str = MATCH
    oversampling: int = 1
    pairing: str = bank.MATCHED
    strict: bool = False
    repair: bool = False
    phase: str = AUTO
    contrasts: tuple[str, ...] = ()
    seed: int = 2023

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(
                f"format {self.format!r} is unknown; choose one of {', '.join(FORMATS)}"
            )
        if self.pairing not in bank.PAIRINGS:
            raise ValueError(
                f"pairing {self.pairing!r} is unknown; choose one of {', '.join(bank.PAIRINGS)}"
            )
        if self.phase not in PHASES:
            raise ValueError(
                f"phase {self.phase!r} is unknown; choose one of {', '.join(PHASES)}. What writes "
                "phase is chosen by generator"
            )
        for name, least in (("n_coils", 2), ("oversampling", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        if self.noise not in (MATCH, NONE):
            number = isinstance(self.noise, (int, float)) and math.isfinite(self.noise)
            if not number or not float(self.noise) > 0:
                raise ValueError(
                    f"noise {self.noise!r}; expected {MATCH}, {NONE}, or an SNR above 0"
                )
        if self.format in IMAGES and self.noise not in (MATCH, NONE):
            raise ValueError(
                f"noise {self.noise} with format {self.format}; noise is the coils', and images "
                "keep what they have. Leave noise out, or choose a format of raw data"
            )
        if self.weights is None and self.generator not in (*PLAIN_SOURCES, *shipped.SHA256):
            why = (
                "needs phase of other scans" if self.generator in sources.REGISTRY else "is unknown"
            )
            if self.generator == sources.MEASURED:
                why = f"is no generator: choose phase {MEASURED}, or {AUTO} beside a generator"
            known = ", ".join((*shipped.SHA256, *PLAIN_SOURCES))
            raise ValueError(
                f"generator {self.generator!r} {why}; expected one of {known}, or a file of "
                "weights (.safetensors)"
            )

    @property
    def weights(self) -> Path | None:
        """The user's file of weights, if one is asked for."""
        return Path(self.generator) if self.generator.endswith(shipped.SUFFIX) else None

    @property
    def network(self) -> str:
        """What shipped.load takes where weights are needed: also for a polynomial's statistics."""
        if self.generator == POLYNOMIAL:
            return shipped.DEFAULT
        return "" if self.generator in PLAIN_SOURCES else self.generator

    def key(self) -> dict[str, object]:
        """What changes the raw data; which series are taken does not."""
        return {name: v for name, v in self.record().items() if name not in ("strict", "contrasts")}

    def record(self) -> dict[str, object]:
        """For keys and records: no path, for a path may hold a name; nothing that is not used."""
        facts = dataclasses.asdict(self)
        facts["generator"] = "a file of weights" if self.weights else self.generator
        if self.phase == MEASURED:
            facts["generator"] = "none"
        facts["maps"] = self.maps if self.maps == bank.SIMULATED else "a folder"
        if self.format in IMAGES:
            return {name: value for name, value in facts.items() if name not in OF_COILS}
        return facts
