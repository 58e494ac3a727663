"""What lies in an archive of magnitude images: series, or set aside with the reason.

Patients become pseudonyms; what headers and paths say of them gets no further.
"""

from synthlib.archive.finding import find
from synthlib.archive.names import natural
from synthlib.archive.reading import read
from synthlib.archive.series import Found, Series, SetAside, rows
from synthlib.archive.walking import Place, require_inputs

__all__ = [
    "Found",
    "Place",
    "Series",
    "SetAside",
    "find",
    "natural",
    "read",
    "require_inputs",
    "rows",
]
