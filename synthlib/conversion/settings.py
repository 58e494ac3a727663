"""What a conversion is asked to make."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from synthlib import bank
from synthlib.phase import sources

FORMATS = {"fastmri": ".h5", "mrd": ".mrd.h5", "cfl": ".hdr"}
# Folders of raw data and nothing else: stock loaders open all that is in one.
FOLDERS = {"fastmri": "multicoil", "mrd": "mrd", "cfl": "cfl"}
RAW = FOLDERS["fastmri"]
MATCH, NONE = "match", "none"
# Sources that need nothing but the slice itself.
PLAIN_SOURCES = ("sinusoidal", "random", "zero")


@dataclass(frozen=True)
class Settings:
    """How raw data are made of magnitude images.

    Attributes:
        generator: a file of weights (.safetensors) that notebook 02 left, or
            "sinusoidal", "random", "zero".
        maps: folder of a coil bank, or "simulated".
        n_coils: of the raw data.
        format: "fastmri", "mrd" or "cfl".
        noise: "match": receiver noise such that the result has the SNR of the
            image; a number: that SNR; "none".
        oversampling: of the readout (rows), 1 or more.
        pairing: of heads and donors, "matched" or "random".
        strict: images in which the audit finds something are set aside.
        repair: images that were interpolated are cropped to their true matrix.
        contrasts: keep these labels, for example ("AXT1", "AXT2"); none keeps all.
        seed: every draw follows from it and the volume's name.

    Raises:
        ValueError: a setting that cannot be.
    """

    generator: str
    maps: str = bank.SIMULATED
    n_coils: int = 16
    format: str = "fastmri"
    noise: float | str = MATCH
    oversampling: int = 1
    pairing: str = bank.MATCHED
    strict: bool = False
    repair: bool = False
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
        for name, least in (("n_coils", 2), ("oversampling", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        if self.noise not in (MATCH, NONE):
            number = isinstance(self.noise, (int, float)) and math.isfinite(self.noise)
            if not number or not float(self.noise) > 0:
                raise ValueError(
                    f"noise {self.noise!r}; expected {MATCH}, {NONE}, or an SNR above 0"
                )
        if self.weights is None and self.generator not in PLAIN_SOURCES:
            known = self.generator in sources.REGISTRY
            why = "needs measured phase, which images have not" if known else "is unknown"
            raise ValueError(
                f"generator {self.generator!r} {why}; expected a file of weights (.safetensors) of "
                f"notebook 02_gan_training, or one of {', '.join(PLAIN_SOURCES)}"
            )

    @property
    def weights(self) -> Path | None:
        """The file of a trained generator, if one is asked for."""
        return Path(self.generator) if self.generator.endswith(".safetensors") else None

    def key(self) -> dict[str, object]:
        """What changes the raw data; which series are taken does not."""
        return {name: v for name, v in self.record().items() if name not in ("strict", "contrasts")}

    def record(self) -> dict[str, object]:
        """For keys and records: no path, for a path may hold a name."""
        facts = dataclasses.asdict(self)
        facts["generator"] = "gan" if self.weights else self.generator
        facts["maps"] = self.maps if self.maps == bank.SIMULATED else "a folder"
        return facts
