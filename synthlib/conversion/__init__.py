"""From an archive's magnitude images to raw data: one volume after the other, with a report."""

from synthlib.conversion.checking import Reviewed, review
from synthlib.conversion.look import Looked, look
from synthlib.conversion.one import ASIDE, MADE, THERE, Outcome
from synthlib.conversion.raw_files import Converted, convert_raw
from synthlib.conversion.run import Result, pseudonym_salt, rows, summary, synthesize
from synthlib.conversion.settings import (
    AUTO,
    FORMATS,
    MATCH,
    MEASURED,
    NONE,
    PHASES,
    PLAIN_SOURCES,
    RAW,
    WRITTEN,
    Settings,
)

__all__ = [
    "ASIDE",
    "AUTO",
    "FORMATS",
    "MADE",
    "MATCH",
    "MEASURED",
    "NONE",
    "PHASES",
    "PLAIN_SOURCES",
    "RAW",
    "THERE",
    "WRITTEN",
    "Converted",
    "Looked",
    "Outcome",
    "Result",
    "Reviewed",
    "Settings",
    "convert_raw",
    "look",
    "pseudonym_salt",
    "review",
    "rows",
    "summary",
    "synthesize",
]
