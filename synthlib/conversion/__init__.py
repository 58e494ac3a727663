"""From an archive's magnitude images to raw data: one volume after the other, with a report."""

from synthlib.conversion.look import Looked, look
from synthlib.conversion.one import ASIDE, MADE, THERE, Outcome
from synthlib.conversion.run import Result, summary, synthesize
from synthlib.conversion.settings import FORMATS, MATCH, NONE, PLAIN_SOURCES, Settings

__all__ = [
    "ASIDE",
    "FORMATS",
    "MADE",
    "MATCH",
    "NONE",
    "PLAIN_SOURCES",
    "THERE",
    "Looked",
    "Outcome",
    "Result",
    "Settings",
    "look",
    "summary",
    "synthesize",
]
