"""Files in and out. Each format's own module is the only door to its package."""

from synthlib.formats.fastmri_hdf5 import read_label, read_raw, read_truth, write_raw
from synthlib.formats.folders import find_raw, raw_files

__all__ = ["find_raw", "raw_files", "read_label", "read_raw", "read_truth", "write_raw"]
