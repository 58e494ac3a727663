"""Files in and out. Each format's own module is the only door to its package."""

from synthlib.formats.fastmri_hdf5 import find_raw, read_raw, read_truth, write_raw

__all__ = ["find_raw", "read_raw", "read_truth", "write_raw"]
