"""From an archive's magnitude images to raw data: one volume after the other, with a report."""

from synthlib.conversion.checking import Reviewed, review
from synthlib.conversion.look import Looked, look
from synthlib.conversion.one import ASIDE, MADE, THERE, Outcome
from synthlib.conversion.raw_files import Converted, convert_raw, require_raw_format
from synthlib.conversion.run import Result, pseudonym_salt, rows, summary, synthesize
from synthlib.conversion.settings import (
    AUTO,
    FORMATS,
    IMAGES,
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
    "IMAGES",
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
    "require_raw_format",
    "review",
    "rows",
    "summary",
    "synthesize",
]
