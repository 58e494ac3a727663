"""What lies in an archive of magnitude images: series, or set aside with the reason.

Patients become pseudonyms; what headers and paths say of them gets no further.
"""

from synthlib.archive.finding import find
from synthlib.archive.reading import read
from synthlib.archive.series import Found, Series, SetAside

__all__ = ["Found", "Series", "SetAside", "find", "read"]
