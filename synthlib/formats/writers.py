"""The writers of multi-coil raw data, by the names of their formats."""

from __future__ import annotations

from synthlib.formats.bart_cfl import CflWriter
from synthlib.formats.fastmri_writer import FastmriWriter
from synthlib.formats.mrd import MrdWriter
from synthlib.formats.raw_writer import RawWriter

WRITERS: dict[str, type[RawWriter]] = {"fastmri": FastmriWriter, "mrd": MrdWriter, "cfl": CflWriter}
