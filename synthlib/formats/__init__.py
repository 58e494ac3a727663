"""Files in and out. Each format's own module is the only door to its package."""

from synthlib.formats.fastmri_hdf5 import read_label, read_truth, write_raw
from synthlib.formats.folders import find_raw, names_below, passed_by, raw_files
from synthlib.formats.raw_header import volume_name
from synthlib.formats.reading import EXPECTED, n_volumes, read_raw

__all__ = [
    "EXPECTED",
    "find_raw",
    "n_volumes",
    "names_below",
    "passed_by",
    "raw_files",
    "read_label",
    "read_raw",
    "read_truth",
    "volume_name",
    "write_raw",
]
